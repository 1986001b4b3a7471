"""``lookahead-rl report``: one page of tables and plots from what other commands have left."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ..evaluation.report import Figure, Row, Section, write_page
from ..experiments.gathered import ALONG, Task, gather_tasks, is_of_a_run
from ..experiments.sources import Source, read_source
from ..models import ModelError
from .io import print_table, require_writable, write_json

MOST_ROWS = 2000
"""Rows of one table of the page."""


@dataclass(frozen=True)
class Report:
    """Make one page of what other commands have left: tables that sort, plots that tell their numbers."""

    sources: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of sweeps, comparisons and training runs, and files written by --json; several are told together."""
    out: Path = Path("report.html")
    """The page."""
    title: str = "Results"
    """Its title."""
    json: Path | None = None
    """Also write the last row of each run to this file."""

    def run(self) -> None:
        """Read the sources, write the page and print how the runs ended."""
        if not self.sources:
            raise ModelError("name at least one source: a folder that a command wrote to, or a file written by --json")
        require_writable(self.out, self.json)
        if find_spec("matplotlib") is None:
            raise ImportError('report needs matplotlib: pip install "lookahead-rl[report]"')
        sources = [read_source(path) for path in self.sources]
        rows: list[Row] = [{**row, "source": source.name} for source in sources for row in source.rows]
        tasks = gather_tasks(filter(is_of_a_run, rows))
        console = Console()
        for task in tasks:
            print_table(console, task.name, task.summary())
        sections = [_task_section(task) for task in tasks]
        sections += [section for source in sources if (section := _other_rows(source)) is not None]
        configuration = {source.name: source.configuration for source in sources if source.configuration}
        write_page(self.out, self.title, _lead(sources, tasks), sections, configuration=configuration or None)
        if self.json is not None:
            write_json(self.json, [row for task in tasks for row in task.last])
        written = [str(path) for path in (self.out, self.json) if path is not None]
        console.print(f"Wrote {', '.join(written)}.", markup=False, highlight=False)


def _task_section(task: Task) -> Section:
    from ..evaluation.plots import bars, value_curves

    figures: list[Figure] = []
    if task.curves and task.along is not None:
        svg = value_curves(task.curves, ALONG[task.along], task.optimal, task.uniform).svg
        bands = any(curve.low is not None for curve in task.curves.values())
        caption = " Lines are means over the seeds, bands reach from the least to the largest." if bands else ""
        figures.append(Figure(svg, f"{task.name}: value against {ALONG[task.along]}.{caption}"))
    finals = task.finals()
    if len(finals) > 1:
        caption = f"{task.name}: {task.measure} at the end of the runs, means over the seeds."
        figures.append(Figure(bars(finals, task.measure), caption))
    text = [] if task.optimal is None else [f"The optimum is worth {task.optimal:.6g}."]
    text += [f"Uniform play is worth {task.uniform:.6g}."] if task.uniform is not None else []
    text += [] if task.meaning is None else [f"Values: {task.meaning}."]
    rows = task.table()
    text.append(f"The table shows how {_told(len(rows), 'run')} ended.")
    return Section(task.name, [" ".join(text)], rows[:MOST_ROWS], figures)


def _told(n: int, what: str) -> str:
    """How many there are and, where a table would grow too long, how many it shows."""
    return f"the first {MOST_ROWS:,} of {n:,} {what}s" if n > MOST_ROWS else f"{n:,} {what}{'' if n == 1 else 's'}"


def _other_rows(source: Source) -> Section | None:
    """The rows of a source that are not those of runs."""
    rows = [row for row in source.rows if not is_of_a_run(row)]
    if not rows:
        return None
    text = f"{_told(len(rows), 'row').capitalize()} that tell no agent's value in an environment."
    return Section(source.name, [text], rows[:MOST_ROWS])


def _lead(sources: Sequence[Source], tasks: Sequence[Task]) -> str:
    runs = sum(len(task.last) for task in tasks)
    failed = sum(source.failed for source in sources)
    told = f"{_told(runs, 'run')} in {_told(len(tasks), 'environment')}" if tasks else "Rows"
    told += f", {failed} more failed" if failed else ""
    return f"{told}, read from {', '.join(source.name for source in sources)}."
