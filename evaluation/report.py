"""Results as one self-contained HTML page: no network, no scripts, readable on a phone.

A page is a title, a line of facts and sections; a section is text, a table of flat rows and figures. All text
is escaped; figures are SVG elements made by :mod:`lookahead_rl.evaluation.plots`.
"""

import html
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

Cell = str | int | float | None
Row = Mapping[str, Cell]

CSS = """
:root { --ink: #1f2733; --soft: #5c6775; --line: #dfe3e8; --paper: #ffffff; --wash: #f5f7f9; --accent: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.2rem 1.2rem 3rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.lead { color: var(--soft); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 1.3rem 1.4rem;
  margin-top: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
th, td { padding: .38rem .8rem .38rem 0; white-space: nowrap; }
td { border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; }
.number + td:not(.number), .number + th:not(.number) { padding-left: 1.2rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem; }
figure { margin: 0; flex: 1 1 20rem; max-width: 33rem; }
figure svg { width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .88rem; }
footer { color: var(--soft); font-size: .85rem; margin-top: 1.4rem; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Figure:
    """A picture with its caption, which also stands for it where it cannot be seen."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page: a heading, paragraphs, a table of rows that share their keys, figures."""

    title: str
    paragraphs: Sequence[str]
    rows: Sequence[Row] = ()
    figures: Sequence[Figure] = ()


def format_cell(value: Cell) -> str:
    """A number to five significant digits (small ones in powers of ten), other things as they are."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-4 else f"{value:,.5g}"
    return f"{value:,}" if isinstance(value, int) else value


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page to ``path``, replacing an earlier one in one step.

    Raises:
        OSError: The folder does not exist or cannot be written.
    """
    body = "\n".join(_section(section) for section in sections)
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
{body}
<footer>{html.escape(versions())}</footer>
</main>
</body>
</html>
"""
    replace_text(path, page)


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step: a reader, or a kill, never sees half of it."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def versions() -> str:
    """The software and machine behind the numbers, in one line."""
    names = ("lookahead-rl", "gymnasium", "pettingzoo", "stable-baselines3", "torch", "numpy", "scipy", "numba")
    installed = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    known = [f"{name} {installed[name]}" for name in names if name in installed]
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return f"Made with {', '.join(known)}; Python {platform.python_version()} on {platform.system()} ({machine})."


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.paragraphs]
    if section.rows:
        parts.append(_table(section.rows))
    if section.figures:
        parts.append(f'<div class="figures">{"".join(_figure(figure) for figure in section.figures)}</div>')
    return f"<section>\n{chr(10).join(parts)}\n</section>"


def _table(rows: Sequence[Row]) -> str:
    columns = list(rows[0])
    numeric = {name: all(isinstance(row[name], int | float | None) for row in rows) for name in columns}
    css = {name: ' class="number"' if numeric[name] else "" for name in columns}
    head = "".join(f'<th scope="col"{css[name]}>{html.escape(name)}</th>' for name in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td{css[name]}>{html.escape(format_cell(row[name]))}</td>" for name in columns) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _figure(figure: Figure) -> str:
    caption = html.escape(figure.caption)
    svg = figure.svg.replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"
