"""Results of the comparison as lines of JSON, each found by a digest of everything it depends on.

A line is appended in one write to the end of the file, which systems keep apart from the writes of other processes: so
workers, and commands that run at the same time, share a file. Lines are not changed afterwards. Of two lines with one
key the later counts, and a line whose configuration nobody asks for any more is not used.
"""

import ast
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lookahead_rl.agents import stable_baselines
from lookahead_rl.evaluation.report import replace_text

Row = dict[str, Any]


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a file by their keys; none where there is no file.

    Raises:
        ValueError: A line is not JSON, as after a full disk.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = (_parsed(path, number, line) for number, line in enumerate(lines, 1))
    return {row["key"]: row for row in rows}


def _parsed(path: Path, number: int, line: str) -> Row:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} of {path} is not JSON ({error}); delete that line") from error


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the end of the file, whoever else does so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write((json.dumps(row) + "\n").encode())


def prune_rows(path: Path, keys: Collection[str]) -> int:
    """Keep only the rows that count and have one of these keys; returns how many are left."""
    kept = [row for key, row in read_rows(path).items() if key in keys]
    replace_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return len(kept)


def digest(configuration: Mapping[str, Any]) -> str:
    """Names a configuration."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]


def our_code() -> str:
    """A digest of our algorithm's source, comments and docstrings aside: it tells which version made a row."""
    files = sorted(Path(stable_baselines.__file__).with_name("lookahead").glob("*.py"))
    return digest({file.name: _statements(file.read_text(encoding="utf-8")) for file in files})[:12]


def _statements(source: str) -> str:
    """Source without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.unparse(tree)
