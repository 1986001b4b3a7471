"""What the commands share: tables for people, rows for programs."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..evaluation.report import Row, format_cell, replace_text
from ..models import ModelError


def print_table(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Print rows that share their keys as one table."""
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for name in rows[0]:
        numeric = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(format_cell(value)) for value in row.values()))  # "[red]" is no markup here
    console.print(table)


def require_writable(*paths: Path | None) -> None:
    """Raise OSError unless a file can be written to each of these paths, or ModelError if two are the same one."""
    given = [path for path in paths if path is not None]
    for path in given:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; name a file in it")
        if not os.access(path.absolute().parent, os.W_OK):
            raise FileNotFoundError(f"the folder of {path} is missing or cannot be written; make it first")
    if len({path.resolve() for path in given}) < len(given):
        raise ModelError(f"{given[-1]} is named twice, and one file would replace the other; name two files")


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a JSON list of flat objects, replacing an earlier file in one step."""
    replace_text(path, json.dumps(list(rows), indent=1) + "\n")
