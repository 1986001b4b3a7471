"""``lookahead-rl sweep``: the jobs of a YAML file, run many at a time, their results kept as they come.

See :mod:`lookahead_rl.experiments.grids` for the file, :mod:`lookahead_rl.experiments.store` for the folder.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tyro.conf import Positional

from ..evaluation.report import Cell, Row
from ..experiments.engines import Summary, require_engine, run_jobs
from ..experiments.grids import Grid, read_grid
from ..experiments.runs import perform
from ..experiments.store import (
    KEY,
    SECONDS,
    Record,
    Store,
    open_store,
    read_store,
    require_library,
    require_room,
    require_sql,
)
from ..models import ModelError
from .io import print_table, require_writable, write_json

if TYPE_CHECKING:
    import pyarrow as pa

LISTED = 10
"""Failures that are told one by one."""

SUMMARY = """
WITH ends AS (SELECT * FROM results QUALIFY row_number() OVER (PARTITION BY job_key ORDER BY steps DESC) = 1)
SELECT agent, env_id, count(*) AS jobs, avg(value) AS value, avg(optimal_value) AS optimum, avg(score) AS score
FROM ends GROUP BY ALL ORDER BY ALL
"""
"""What is told in the end: means over the last checkpoints."""


@dataclass(frozen=True)
class Sweep:
    """Run the jobs of a YAML file, thousands of them; run it again, and it does what is missing."""

    file: Positional[Path]
    """The jobs. Lists stand for each of their entries, {range: [0, 10]} for 0 to 9; see docs/sweeps.md."""
    out: Path
    """Folder of the results. What it holds already is not run again; table.parquet in it is the final table."""
    engine: Literal["joblib", "loop", "ray"] = "joblib"
    """Processes on this machine; this process alone; a Ray cluster, begun here if there is none."""
    n_jobs: int | None = None
    """Jobs at a time: one for each core unless told otherwise."""
    address: str | None = None
    """The Ray cluster to join, as ray.init has it, such as ray://head:10001."""
    query: str | None = None
    """A question to duckdb, such as "SELECT agent, avg(score) FROM results GROUP BY agent". There are also timings and
    failures, joined by job_key. It replaces the table of means."""
    json: Path | None = None
    """Write the answer to --query or, without one, every row of the results."""
    dry_run: bool = False
    """Check the file and tell what is missing, and run nothing; --query sees what is there."""

    def run(self) -> None:
        """Run what is missing, print a table and write the files; end with status 1 if a job failed."""
        self._require_options()
        try:
            failures = self._sweep()
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        if failures:
            raise SystemExit(1)

    def _require_options(self) -> None:
        """Raise now, not after hours, unless everything can be done."""
        if self.json is not None:
            require_writable(self.json)
        require_engine(self.engine, self.n_jobs)
        if self.address is not None and self.engine != "ray":
            raise ModelError(f"--address is for --engine ray, not {self.engine}")
        for name in ("pyarrow", "duckdb"):
            require_library(name)
        if self.query is not None:
            require_sql(self.query)

    def _sweep(self) -> bool:
        """Do it; whether a job failed."""
        console = Console()
        grid = read_grid(self.file)
        there = _keys_in(self.out)
        missing = [placed for placed in grid.jobs if placed.job.key not in there]
        self._tell(console, grid, len(missing))
        with _bar(console, "checking") as progress:
            grid.check(missing, progress)
        if self.dry_run:
            if (self.out / "store.json").exists():
                self._answer(console, read_store(self.out))
            return False
        with open_store(self.out) as store:
            summary = self._run(console, grid, store)
            store.compact()
            path = store.write_table()
            self._answer(console, store)
        console.print(f"Wrote {path}.", markup=False, highlight=False, soft_wrap=True)
        if summary.failures:
            _tell_failures(console, summary.failures)
        return bool(summary.failures)

    def _tell(self, console: Console, grid: Grid, missing: int) -> None:
        """Say what there is to do."""
        repeated = f" ({grid.repeated:,} more are repetitions)" if grid.repeated else ""
        found = len(grid.jobs) - missing
        text = (
            f"{self.file}: {len(grid.jobs):,} jobs{repeated}, {found:,} with results in {self.out}, {missing:,} to run"
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _run(self, console: Console, grid: Grid, store: Store) -> Summary:
        """Run what is missing; after Ctrl-C say how to go on."""
        jobs = [placed.job for placed in grid.jobs]
        try:
            with _bar(console, "running") as progress:
                return run_jobs(
                    jobs,
                    store,
                    perform,
                    engine=self.engine,
                    n_jobs=self.n_jobs,
                    address=self.address,
                    progress=lambda finished, failed: progress(finished + failed, len(jobs)),
                )
        except KeyboardInterrupt:
            done = len(store.keys() & {job.key for job in jobs})
            text = f"Stopped with the results of {done:,} of {len(jobs):,} jobs; the same command goes on from there."
            console.print(text, markup=False, highlight=False, soft_wrap=True)
            raise

    def _answer(self, console: Console, store: Store) -> None:
        """Print the answer to the query, or means, and write what programs read."""
        answer = _plain(store.query(self.query or SUMMARY)) if self.query or store.keys() else []
        if answer:
            print_table(console, "Answer" if self.query else "Means over jobs, of their last checkpoints", answer)
        elif self.query:
            console.print("The answer has no rows.")
        if self.json is not None:
            write_json(self.json, answer if self.query else _timed_rows(store))


def _keys_in(folder: Path) -> frozenset[str]:
    """Keys of the jobs with results in a folder that is a store or may become one."""
    require_room(folder)
    return read_store(folder).keys() if (folder / "store.json").exists() else frozenset()


def _plain(answer: "pa.Table") -> list[Row]:
    """The rows of an answer in text and numbers: duckdb's sums of whole numbers are decimals, and it knows dates."""
    return [{name: _cell(value) for name, value in row.items()} for row in answer.to_pylist()]


def _cell(value: object) -> Cell:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _timed_rows(store: Store) -> list[Row]:
    """The rows of the results, each with the time that its job took."""
    seconds = {row[KEY]: row[SECONDS] for row in store.timings().to_pylist()}
    return [{**row, "seconds": seconds[row[KEY]]} for row in store.rows()]


def _tell_failures(console: Console, failures: Sequence[Record]) -> None:
    """Say which jobs failed, and how."""
    lines = [f"{len(failures):,} jobs failed; the same command runs them again:"]
    lines += [f"  {failure.configuration}\n    {failure.error}" for failure in failures[:LISTED]]
    if len(failures) > LISTED:
        lines.append(f'  and {len(failures) - LISTED:,} more; --query "SELECT * FROM failures" tells all')
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar while something runs: called with how many are done, and of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, refresh_per_second=4, disable=hidden) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
