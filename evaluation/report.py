"""Results as one self-contained HTML page, readable on a phone, by keyboard, on paper, in the dark.

A page is a title, a line of facts and sections; a section is text, a table of flat rows, figures and what they were
made with. All text is escaped; figures are SVG elements made by :mod:`lookahead_rl.evaluation.plots`.

The page needs nothing else, and its content security policy forbids it the network: only the script that it carries
(``page.js``) may run, named there by its hash. The script lets tables sort, filter and download, and plots tell their
numbers; without it everything can still be read.
"""

import base64
import hashlib
import html
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .plots import GRID, INK

Cell = str | int | float | None
Row = Mapping[str, Cell]

WIDE = 420.0
"""Points; a wider figure scrolls in its box on a phone, or its letters would be too small to read."""
LONG = 40
"""Letters; longer text in a cell is broken into lines."""
MOST_TOLD = 100
"""Rows of a table with such text that is laid out to be read through; longer ones scroll in a box."""


@dataclass(frozen=True)
class Figure:
    """A picture with its caption, which also stands for it where it cannot be seen."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page: a heading, paragraphs, a table, figures.

    Attributes:
        title: The heading.
        paragraphs: Text.
        rows: The table, a mapping of columns to cells each; a column that a row has not is empty there.
        figures: Pictures.
        configuration: What the numbers of this section were made with, shown folded as JSON.
    """

    title: str
    paragraphs: Sequence[str]
    rows: Sequence[Row] = ()
    figures: Sequence[Figure] = ()
    configuration: Mapping[str, Any] | None = None


def format_cell(value: Cell) -> str:
    """A number to five significant digits (small ones in powers of ten), other things as they are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-4 else f"{value:,.5g}"
    return f"{value:,}" if isinstance(value, int) else value


def write_page(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    *,
    configuration: Mapping[str, Any] | None = None,
) -> None:
    """Write the page to ``path``, replacing an earlier one in one step.

    Args:
        path: Where to.
        title: Title of the page.
        lead: The line under it.
        sections: What the page holds, in order.
        configuration: What all numbers were made with, shown folded as JSON beside the command line.

    Raises:
        OSError: The folder does not exist or cannot be written.
    """
    style, script = _part("page.css"), _part("page.js")
    body = "\n".join(_section(i, section) for i, section in enumerate(sections))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<main id="content" tabindex="-1">
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
{_contents(sections)}
{body}
{_provenance(configuration)}
<footer>{html.escape(versions())}</footer>
</main>
<script>{script}</script>
</body>
</html>
"""
    replace_text(path, page)


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step: a reader, or a kill, never sees half of it."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


@cache
def versions() -> str:
    """The software and machine behind the numbers, in one line."""
    names = ("lookahead-rl", "gymnasium", "pettingzoo", "stable-baselines3", "torch", "numpy", "scipy", "numba")
    installed = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    known = [f"{name} {installed[name]}" for name in names if name in installed]
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return f"Made with {', '.join(known)}; Python {platform.python_version()} on {platform.system()} ({machine})."


def _part(name: str) -> str:
    """A file of the page, which is installed beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """What the page may do: apply its own style, run its own script, show pictures that it holds itself."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = ("default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'", "img-src data:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _contents(sections: Sequence[Section]) -> str:
    """Links to the sections, where there are so many that one would look for them."""
    if len(sections) < 4:
        return ""
    links = (f'<li><a href="#section-{i}">{html.escape(one.title)}</a></li>' for i, one in enumerate(sections))
    return f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>'


def _section(i: int, section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.paragraphs]
    if section.rows:
        parts.append(_table(section.title, section.rows))
    if section.figures:
        parts.append(f'<div class="figures">{"".join(_figure(figure) for figure in section.figures)}</div>')
    if section.configuration is not None:
        parts.append(_details("Configuration of these numbers", _json(section.configuration)))
    return f'<section id="section-{i}">\n{chr(10).join(parts)}\n</section>'


def _provenance(configuration: Mapping[str, Any] | None) -> str:
    """The command line of this process, and the configuration."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    parts = f'<p>Command line</p>\n<pre class="command">{html.escape(command)}</pre>'
    if configuration is not None:
        parts += f"\n<p>Configuration</p>\n{_json(configuration)}"
    return f"<section>{_details('How these numbers were made', parts)}</section>"


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>\n{content}\n</details>"


def _json(configuration: Mapping[str, Any]) -> str:
    # What JSON does not know, paths above all, stands as text: this is to be read, not loaded.
    text = json.dumps(configuration, indent=2, ensure_ascii=False, default=str)
    return f'<pre tabindex="0">{html.escape(text)}</pre>'


def _table(title: str, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {name: all(_is_number(row.get(name)) for row in rows) for name in columns}
    css = {name: ' class="number"' if numeric[name] else "" for name in columns}
    head = "".join(f'<th scope="col"{css[name]}>{html.escape(name)}</th>' for name in columns)
    tells = len(rows) <= MOST_TOLD and any(len(format_cell(cell)) > LONG for row in rows for cell in row.values())
    if tells:  # on a phone each cell stands under its column's name
        css = {name: f'{css[name]} data-head="{html.escape(name)}"' for name in columns}
    body = "\n".join(
        f"<tr>{''.join(_cell(row.get(name), css[name], first=i == 0) for i, name in enumerate(columns))}</tr>"
        for row in rows
    )
    label = html.escape(title)
    return (
        f'<div class="table{" told" * tells}" data-name="{_file_name(title)}">'
        f'<div class="scroll" role="region" aria-label="{label}">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></div>"
    )


def _is_number(value: Cell) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Cell, css: str, *, first: bool) -> str:
    """A cell; the exact number stands beside the one that is shown, where they differ."""
    shown, exact = format_cell(value), "" if value is None else str(value)
    data = "" if shown == exact or isinstance(value, bool) else f' data-value="{html.escape(exact)}"'
    css += ' class="long"' if len(shown) > LONG and not _is_number(value) else ""
    content = f"{css}{data}>{html.escape(shown)}"
    return f'<th scope="row"{content}</th>' if first else f"<td{content}</td>"


def _file_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()[:60] or "table"


def _figure(figure: Figure) -> str:
    caption = html.escape(figure.caption)
    width = re.search(r'viewBox="\S+ \S+ (\S+) ', figure.svg)
    wide = ' class="wide"' if width is not None and float(width[1]) > WIDE else ""
    svg = figure.svg.replace("<svg", f'<svg{wide} role="img" aria-label="{caption}"', 1)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--grid)")  # so that they follow the page into the dark
    return f'<figure><div class="plot"><div class="scroll">{svg}</div></div><figcaption>{caption}</figcaption></figure>'
