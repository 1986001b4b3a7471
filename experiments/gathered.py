"""Runs of many sources, gathered by environment: curves over the seeds, and where each run ended.

A row is part of a run if it names an ``agent`` and an ``env_id`` and has a numeric ``value``. Rows of one agent, task,
source and seed are one run, told along the first of ``steps``, ``budget`` and ``queries`` that grows within any run. A
curve is the mean over the runs that share its places, its band reaches from the least to the largest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import numpy as np

from ..evaluation.plots import ScoreCurve
from ..evaluation.report import Cell, Row
from .sources import mapping_of

ALONG = {"steps": "environment steps", "budget": "queries allowed", "queries": "queries of the simulator"}
COLUMNS = ("agent", "seed", *ALONG, "value", "low", "high", "kind", "regret", "exploitability", "score")
_NAMED = ("agent", "env_id", "env_kwargs", "agent_kwargs", "source", "optimal_value", "uniform_value", "checkpoint")


@dataclass(frozen=True)
class Task:
    """What agents did in one environment.

    Attributes:
        name: The environment, with those of its arguments in which it differs from others.
        along: What curves are told along, a key of :data:`ALONG`, or None where there are none.
        curves: One for each agent's name.
        last: The last row of each run.
        optimal: The optimal value, if all rows agree on one.
        uniform: The value of uniform play, likewise.
    """

    name: str
    along: str | None
    curves: Mapping[str, ScoreCurve]
    last: Sequence[Row]
    optimal: float | None
    uniform: float | None

    @property
    def measure(self) -> str:
        """``"score"``, or ``"value"`` where a run has no score."""
        return "score" if all(isinstance(row.get("score"), int | float) for row in self.last) else "value"

    def summary(self) -> list[Row]:
        """For each agent the mean of its runs' last values and scores, and the spread of the latter."""
        rows: list[Row] = []
        for agent in dict.fromkeys(str(row["agent"]) for row in self.last):
            ends = [row for row in self.last if row["agent"] == agent]
            measured = np.array([row[self.measure] for row in ends], dtype=np.float64)
            row: dict[str, Cell] = {"agent": agent, "runs": len(ends)}
            if self.measure == "score":
                row["value"] = float(np.mean([cast("float", end["value"]) for end in ends]))
            row |= {self.measure: float(measured.mean()), "least": float(measured.min())}
            rows.append({**row, "largest": float(measured.max())})
        return rows

    def finals(self) -> dict[str, float]:
        """The means of :meth:`summary` by agent, as far as they are finite."""
        means = {str(row["agent"]): cast("float", row[self.measure]) for row in self.summary()}
        return {agent: mean for agent, mean in means.items() if np.isfinite(mean)}

    def table(self) -> list[Row]:
        """The last rows, without what is missing everywhere, and without details in which they do not differ."""
        names = list(dict.fromkeys(name for row in self.last for name in row))
        details = [name for name in names if name not in (*COLUMNS, *_NAMED)]
        details = [name for name in (*details, "source") if len({row.get(name) for row in self.last}) > 1]
        known = [name for name in COLUMNS if any(row.get(name) is not None for row in self.last)]
        return [{name: row.get(name) for name in (*known, *details)} for row in self.last]

    @property
    def meaning(self) -> str | None:
        """What the values are, if all rows say so alike."""
        told = {row.get("meaning") for row in self.last}
        (only,) = told if len(told) == 1 else (None,)
        return only if isinstance(only, str) else None


def is_of_a_run(row: Row) -> bool:
    """Whether a row tells what an agent was worth in an environment."""
    value = row.get("value")
    named = all(isinstance(row.get(name), str) for name in ("agent", "env_id"))
    return named and isinstance(value, int | float) and not isinstance(value, bool)


def gather_tasks(rows: Iterable[Row]) -> list[Task]:
    """Rows of runs, each with its ``source``, by environment, in the order of their appearance."""
    found = [dict(row) for row in rows]
    for row, agent, env in zip(
        found, _names(found, "agent", "agent_kwargs"), _names(found, "env_id", "env_kwargs"), strict=True
    ):
        row["agent"], row["env_id"] = agent, env
    tasks: dict[str, list[dict[str, Cell]]] = {}
    for row in found:
        tasks.setdefault(str(row["env_id"]), []).append(row)
    return [_task(name, members) for name, members in tasks.items()]


def _names(rows: Sequence[Row], name: str, arguments: str) -> list[str]:
    """The name in each row, with the arguments in which rows of that name differ."""
    given = [_arguments(row.get(arguments)) for row in rows]
    varied: dict[str, dict[str, set[str]]] = {}
    for row, pairs in zip(rows, given, strict=True):
        for key in pairs:
            varied.setdefault(str(row[name]), {}).setdefault(key, set())
    for row, pairs in zip(rows, given, strict=True):
        for key, values in varied.get(str(row[name]), {}).items():
            values.add(pairs.get(key, ""))
    names: list[str] = []
    for row, pairs in zip(rows, given, strict=True):
        values = varied.get(str(row[name]), {})
        told = [f"{key}={pairs[key]}" for key in pairs if len(values[key]) > 1]
        names.append(" ".join([str(row[name]), *told]))
    return names


def _arguments(cell: Cell) -> dict[str, str]:
    """The arguments in a cell: a JSON mapping, or key=value pairs."""
    text = cell if isinstance(cell, str) else ""
    if text.startswith("{"):
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in mapping_of(text).items()}
    pairs = (pair.partition("=") for pair in text.split())
    return {key: value for key, _, value in pairs}


def _task(name: str, rows: Sequence[dict[str, Cell]]) -> Task:
    def run_of(row: Row) -> tuple[str, ...]:
        return tuple(str(row.get(key)) for key in ("agent", "source", "seed"))

    order = {run: i for i, run in enumerate(dict.fromkeys(map(run_of, rows)))}
    ordered = sorted(rows, key=lambda row: order[run_of(row)])  # stable
    runs = [list(members) for _, members in groupby(ordered, key=run_of)]
    along = next((key for key in ALONG if any(len(_places(run, key)) > 1 for run in runs)), None)
    if along is None:
        return Task(name, None, {}, [row for run in runs for row in run], *_levels(rows))
    by_agent: dict[str, list[dict[float, float]]] = {}
    last: list[Row] = []
    for run in runs:
        places = _places(run, along)
        end = max(places) if places else None
        last.append(next((row for row in reversed(run) if row.get(along) == end), run[-1]))
        by_agent.setdefault(str(run[0]["agent"]), []).append(places)
    curves = {label: _curve(own) for label, own in by_agent.items() if any(len(places) > 1 for places in own)}
    return Task(name, along, {label: curve for label, curve in curves.items() if curve.at}, last, *_levels(rows))


def _places(run: Sequence[Row], along: str) -> dict[float, float]:
    """Value by place of a run."""
    return {
        float(place): float(cast("float", row["value"]))
        for row in run
        if isinstance(place := row.get(along), int | float)
    }


def _curve(runs: Sequence[Mapping[float, float]]) -> ScoreCurve:
    shared = set.intersection(*(set(run) for run in runs))
    at = sorted(place for place in shared if all(np.isfinite(run[place]) for run in runs))
    values = np.array([[run[place] for place in at] for run in runs]).reshape(len(runs), len(at))
    if len(runs) == 1:
        return ScoreCurve(at, values[0].tolist())
    low, high = values.min(axis=0), values.max(axis=0)
    return ScoreCurve(at, values.mean(axis=0).tolist(), low.tolist(), high.tolist())


def _levels(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Optimal value and that of uniform play, where all rows that tell it agree."""
    levels: list[float | None] = []
    for name in ("optimal_value", "uniform_value"):
        told = [float(level) for row in rows if isinstance(level := row.get(name), int | float)]
        agree = bool(told) and max(told) - min(told) <= 1e-6 * max(1.0, abs(told[0]))
        levels.append(told[0] if agree else None)
    return levels[0], levels[1]
