"""The comparison's tables and plots, made from stored results.

``table.json`` holds every number as flat rows, ``table.md`` what to read, PNG files the learning curves with bootstrap
bands and the steps to half of the optimum.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lookahead_rl.evaluation.plots import COLOURS, STYLE
from lookahead_rl.evaluation.report import format_cell, replace_text
from lookahead_rl.evaluation.statistics import interquartile_mean_interval, probability_of_improvement_interval

from ._lookahead_rows import Row, our_code
from ._lookahead_runs import AGENTS, OURS, Run

FloatArray = NDArray[np.float64]
Result = tuple[Run, Row]
"""A run and the row it left."""

MOST_COLUMNS = 3
"""Panels beside each other in a figure."""

HALF = 0.5
"""The score whose price in environment steps is told, half way from uniform play to the optimum."""


@dataclass(frozen=True)
class Curves:
    """All runs of one algorithm on one task.

    Attributes:
        group: Which figure they are drawn in.
        task: Name of the task.
        label: Name of the algorithm, or of its variant.
        planted: Whether scores are normalised, against a planted optimum.
        steps: Environment steps (n,) of the checkpoints.
        measured: What was measured, each (n_runs, n).
    """

    group: str
    task: str
    label: str
    planted: bool
    steps: NDArray[np.int64]
    measured: Mapping[str, FloatArray]

    @cached_property
    def rows(self) -> list[Row]:
        """A flat row for everything measured at every checkpoint."""
        rng = np.random.default_rng(0)
        rows = []
        for measure, values in self.measured.items():
            for steps, runs in zip(self.steps.tolist(), values.T, strict=True):
                rows.append(
                    {
                        "task": self.task,
                        "algorithm": self.label,
                        "measure": measure,
                        "steps": steps,
                        "seeds": len(runs),
                        **_middle(runs, rng),
                        "worst": float(runs.min()),
                        "best": float(runs.max()),
                    }
                )
        return rows

    @property
    def scores(self) -> list[Row]:
        """The rows of the scores alone."""
        return [row for row in self.rows if row["measure"] == "score"]

    def steps_to(self, level: float) -> FloatArray:
        """Environment steps (n_runs,) until the score first reaches a level, infinite where it never does.

        Linear between checkpoints; before the first checkpoint nothing is known, so that one counts.
        """
        return np.array([_first_reach(self.steps, scores, level) for scores in self.measured["score"]])


def _middle(runs: FloatArray, rng: np.random.Generator) -> Row:
    """Interquartile mean of runs (n,) with its interval; one run has none."""
    if len(runs) == 1:
        return {"iqm": float(runs[0]), "low": None, "high": None}
    interval = interquartile_mean_interval(runs[:, None], rng)
    return {"iqm": interval.estimate, "low": interval.low, "high": interval.high}


def _first_reach(steps: NDArray[np.int64], scores: FloatArray, level: float) -> float:
    reached = np.flatnonzero(scores >= level)
    if not reached.size:
        return np.inf
    i = int(reached[0])
    return float(steps[0] if i == 0 else np.interp(level, scores[i - 1 : i + 1], steps[i - 1 : i + 1]))


def write_report(results: Sequence[Result], pace: Sequence[Row], notes: Mapping[str, str], folder: Path) -> str:
    """Write table and plots into the folder; returns the table as Markdown."""
    curves = curves_of(results)
    rows = [row for curve in curves for row in curve.rows]
    replace_text(folder / "table.json", json.dumps({"scores": rows, "pace": pace}, indent=1) + "\n")
    timed = _markdown("Wall time of an environment step", pace)
    text = "\n\n".join((*_tables(curves, notes), *timed, *_origins(results))) + "\n"
    replace_text(folder / "table.md", text)
    for name, drawn in _plots(curves).items():
        with rc_context(STYLE):
            drawn.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
    return text


def _origins(results: Sequence[Result]) -> list[str]:
    """Which versions the runs were made with, and a warning where those of ours are of another than today's."""
    ours = [row for run, row in results if run.algorithm == OURS]
    old = sum(row["code"] != our_code() for row in ours)
    warning = f"{old} of {len(ours)} runs of {OURS} were made by other code of it than today's; --renew repeats them."
    return [warning] * (old > 0) + list(dict.fromkeys(row["made_with"] for _, row in results))


def curves_of(results: Iterable[Result]) -> list[Curves]:
    """Runs gathered by task and label, tasks and labels in the order in which they first appear."""
    found: dict[str, dict[str, list[Result]]] = {}
    for run, row in results:
        found.setdefault(run.task, {}).setdefault(run.label, []).append((run, row))
    return [_curves(runs) for labels in found.values() for runs in labels.values()]


def _curves(results: Sequence[Result]) -> Curves:
    """The runs of one algorithm on one task."""
    run, columns = results[0][0], results[0][1]["checkpoints"]
    names = [name for name in columns if name != "steps"]
    measured = {name: np.array([row["checkpoints"][name] for _, row in results]) for name in names}
    return Curves(run.group, run.task, run.label, run.measure == "planted", np.array(columns["steps"]), measured)


def _by_task(curves: Iterable[Curves]) -> dict[str, list[Curves]]:
    tasks: dict[str, list[Curves]] = {}
    for curve in curves:
        tasks.setdefault(curve.task, []).append(curve)
    return tasks


# tables


def _tables(curves: Sequence[Curves], notes: Mapping[str, str]) -> list[str]:
    parts = []
    for task, several in _by_task(curves).items():
        parts += _markdown(task, [_summary(curve) for curve in several])
        parts += [notes[task]] if task in notes else []
    large = [curve for curve in curves if curve.group == "large"]
    parts += _markdown(f"Environment steps to a score of {HALF}", [_price(curve) for curve in large])
    return parts + _markdown(f"Probability that a run of {OURS} ends above one of another", _improvements(curves))


def _summary(curve: Curves) -> Row:
    """One line: the score at a quarter, at half and at all of the steps, and the extremes at the end."""
    at = sorted({round(len(curve.scores) * part) - 1 for part in (0.25, 0.5, 1.0)} - {-1})
    shown = {f"{curve.scores[i]['steps']:,} steps": _interval(curve.scores[i]) for i in at}
    last = curve.scores[-1]
    seconds = float(np.median(curve.measured["seconds"][:, -1]))
    return {
        "algorithm": curve.label,
        "seeds": last["seeds"],
        **shown,
        "worst run": last["worst"],
        "best run": last["best"],
        "CPU seconds": round(seconds, 1),
    }


def _interval(row: Row) -> str:
    if row["low"] is None:
        return f"{row['iqm']:.3g}"
    return f"{row['iqm']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def _price(curve: Curves) -> Row:
    steps = curve.steps_to(HALF)
    middle = float(np.median(steps))
    return {
        "task": curve.task,
        "algorithm": curve.label,
        "median steps": f"{middle:,.0f}" if np.isfinite(middle) else f"above {curve.steps[-1]:,}",
        "runs that reach it": f"{np.isfinite(steps).sum()} of {steps.size}",
    }


def _improvements(curves: Sequence[Curves]) -> list[Row]:
    rows, rng = [], np.random.default_rng(0)
    for task, several in _by_task(curves).items():
        last = {curve.label: curve.measured["score"][:, -1:] for curve in several}
        named = {label: scores for label, scores in last.items() if len(scores) > 1}
        if OURS in named:
            for other in (label for label in named if label != OURS):
                interval = probability_of_improvement_interval(named[OURS], named[other], rng)
                shown = f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
                rows.append({"task": task, "other": other, "probability": shown})
    return rows


def _markdown(title: str, rows: Sequence[Row]) -> list[str]:
    """A heading and a table, or nothing where there are no rows."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(format_cell(row.get(name)) for name in names)} |" for row in rows]
    return [f"## {title}", "\n".join((f"| {' | '.join(names)} |", "|---" * len(names) + "|", *lines))]


# plots


def _plots(curves: Sequence[Curves]) -> dict[str, Figure]:
    """Figures by name: learning curves of each group, and the price of half the optimum."""
    groups = dict.fromkeys(curve.group for curve in curves)
    figures = {f"curves-{group}": _learning_curves([c for c in curves if c.group == group]) for group in groups}
    large = [curve for curve in curves if curve.group == "large"]
    return figures | ({"steps-to-half": _prices(large)} if large else {})


def _learning_curves(curves: Sequence[Curves]) -> Figure:
    tasks = _by_task(curves)
    n_columns = min(MOST_COLUMNS, len(tasks))
    n_rows = -(-len(tasks) // n_columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6 * n_columns, 3.4 * n_rows), layout="constrained")
        panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for empty in panels[len(tasks) :]:
            empty.remove()
        for axes, (task, several) in zip(panels, tasks.items(), strict=False):
            for i, curve in enumerate(several):
                _band(axes, curve, _colour(curve.label, i))
            axes.set_title(task, fontsize=10)
            axes.set_xlabel("environment steps")
            axes.set_ylabel("normalised score" if several[0].planted else "return of an episode")
            axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
            axes.legend(loc="best", fontsize=8)
    return figure


def _band(axes: Axes, curve: Curves, colour: str) -> None:
    low, middle, high = (np.array([row[name] for row in curve.scores], float) for name in ("low", "iqm", "high"))
    axes.plot(curve.steps, middle, "o-", markersize=3, color=colour, label=curve.label)
    axes.fill_between(curve.steps, low, high, color=colour, alpha=0.2, linewidth=0)


def _prices(curves: Sequence[Curves]) -> Figure:
    """Median steps to half of the optimum for each task; where most runs never get there, nothing is drawn."""
    tasks = list(_by_task(curves))
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
        for label in dict.fromkeys(curve.label for curve in curves):
            prices = {c.task: float(np.median(c.steps_to(HALF))) for c in curves if c.label == label}
            drawn = {tasks.index(task): price for task, price in prices.items() if np.isfinite(price)}
            axes.plot(list(drawn), list(drawn.values()), "o-", color=_colour(label, 0), label=label)
        axes.set_yscale("log")
        axes.set_xticks(range(len(tasks)), [task.partition(" ")[2] or task for task in tasks])
        axes.set_xlabel("actions")
        axes.set_ylabel(f"environment steps to a score of {HALF}")
        axes.legend(loc="best", fontsize=8)
    return figure


def _colour(label: str, place: int) -> str:
    """An algorithm's own colour wherever it is drawn; variants by their place."""
    names = (OURS, *(name for name in AGENTS if name != OURS))
    return COLOURS[(names.index(label) if label in names else place) % len(COLOURS)]
