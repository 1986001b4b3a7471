"""What the runs of a comparison say: scores, values, learning curves, and how sure one may be of each.

Everything is computed from rows of runs (:mod:`.runs`) and equal for equal rows; the draws of the bootstrap come from
a generator of their own. Scores of an agent are an array (runs, tasks): one run from each seed on each task.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ..evaluation.plots import ScoreCurve
from ..evaluation.report import Row
from ..evaluation.statistics import (
    interquartile_mean,
    interquartile_mean_interval,
    performance_profile,
    performance_profile_band,
    probability_of_improvement,
    probability_of_improvement_interval,
)
from ..models import ModelError
from .jobs import Job
from .measurement import EXACT

FloatArray = NDArray[np.float64]

INSTANCE_SEEDS = ("mdp_seed", "game_seed")
"""Arguments by which environments choose an instance."""
ENOUGH_SEEDS = 5
"""With fewer a bootstrap interval is narrower than it says."""
PROFILE_POINTS = 400
"""Thresholds of performance profiles, at most."""
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Run:
    """A job that was run.

    Attributes:
        job: The job.
        rows: Its rows, one for each checkpoint.
        seconds: Wall time of learning.
    """

    job: Job
    rows: Sequence[Row]
    seconds: float

    @property
    def last(self) -> Row:
        """The row of the last policy."""
        return self.rows[-1]


@dataclass(frozen=True)
class Estimate:
    """A statistic of runs, with its interval where there is more than one run of a task."""

    middle: float
    low: float | None
    high: float | None

    def cells(self, name: str) -> dict[str, float | None]:
        """As cells of a row: ``name``, ``low``, ``high``."""
        return {name: self.middle, "low": self.low, "high": self.high}


def task_name(job: Job) -> str:
    """An environment with its arguments, the instance among them."""
    return " ".join([job.env_id, *(f"{name}={value}" for name, value in sorted(job.env_kwargs.items()))])


def family_name(job: Job) -> str:
    """An environment with its arguments, whatever the instance."""
    others = {name: value for name, value in sorted(job.env_kwargs.items()) if name not in INSTANCE_SEEDS}
    return " ".join([job.env_id, *(f"{name}={value}" for name, value in others.items())])


@dataclass(frozen=True)
class Standings:
    """Runs of several agents on the same tasks from the same seeds.

    Attributes:
        runs: All of them.

    Raises:
        ModelError: There are none, or an agent lacks a run that another one has.
    """

    runs: Sequence[Run]

    def __post_init__(self) -> None:
        """Check that nothing is missing."""
        found = {agent: {(task_name(r.job), r.job.seed) for r in self.of(agent)} for agent in self.agents}
        if not found or any(those != found[self.agents[0]] for those in found.values()):
            raise ModelError("agents can be compared where each has a run on every task from every seed")

    @cached_property
    def agents(self) -> tuple[str, ...]:
        """Agents in the order of their runs."""
        return tuple(dict.fromkeys(run.job.agent for run in self.runs))

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order of their runs."""
        return tuple(dict.fromkeys(task_name(run.job) for run in self.runs))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds, sorted."""
        return tuple(sorted({run.job.seed for run in self.runs}))

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Tasks that have no scores, with the reason."""
        reasons: dict[str, str] = {}
        for run in self.runs:
            if run.last["score"] is None:
                known = run.last["kind"] == EXACT
                why = "uniform play is optimal" if known else "its values are estimates, and its optimum is not known"
                reasons.setdefault(task_name(run.job), why)
        return reasons

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """Tasks that have scores."""
        return tuple(task for task in self.tasks if task not in self.left_out)

    def of(self, agent: str) -> list[Run]:
        """The runs of one agent."""
        return [run for run in self.runs if run.job.agent == agent]

    def overall(self) -> list[Row]:
        """For each agent the interquartile mean of its final scores, all tasks with scores pooled."""
        return [
            {
                "agent": agent,
                "tasks": len(self.scored),
                "runs": len(self.scored) * len(self.seeds),
                **_middle(self._final(agent, self.scored)).cells("score"),
                **_costs([run for run in self.of(agent) if task_name(run.job) in self.scored]),
            }
            for agent in self.agents
            if self.scored
        ]

    def by_environment(self) -> list[Row]:
        """For each environment and agent the same over its instances; what is a number of each run is a mean."""
        rows: list[Row] = []
        for family, tasks in self._families(self.scored).items():
            for agent in self.agents:
                runs = [run for run in self.of(agent) if task_name(run.job) in tasks]
                rows.append(
                    {
                        "env_id": family,
                        "agent": agent,
                        "instances": len(tasks),
                        "steps": _mean(runs, "steps"),
                        "value": _mean(runs, "value"),
                        "optimal_value": _mean(runs, "optimal_value"),
                        "uniform_value": _mean(runs, "uniform_value"),
                        "kind": str(runs[0].last["kind"]),
                        "meaning": str(runs[0].last["meaning"]),
                        **_middle(self._final(agent, tasks)).cells("score"),
                        "violation": _mean(runs, "violation"),
                        **_costs(runs),
                    }
                )
        return rows

    def unscored(self) -> list[Row]:
        """For each task without scores and each agent the interquartile mean of its final values."""
        rows: list[Row] = []
        for task in self.left_out:
            for agent in self.agents:
                runs = [run for run in self.of(agent) if task_name(run.job) == task]
                values = self._final(agent, [task], "value")
                rows.append(
                    {
                        "env_id": task,
                        "agent": agent,
                        "steps": _mean(runs, "steps"),
                        **_middle(values).cells("value"),
                        "optimal_value": _mean(runs, "optimal_value"),
                        "uniform_value": _mean(runs, "uniform_value"),
                        "kind": str(runs[0].last["kind"]),
                        "meaning": str(runs[0].last["meaning"]),
                        **_costs(runs),
                    }
                )
        return rows

    def improvements(self) -> list[Row]:
        """For each ordered pair of agents the probability that a run of the first ends above one of the second.

        Values stand in for scores where no task has any: the probability compares within tasks alone.
        """
        results = {agent: self._compared(agent) for agent in self.agents}
        rows: list[Row] = []
        for x, y in combinations(self.agents, 2):
            found = _improvement(results[x], results[y])
            rows.append({"agent": x, "other": y, **found.cells("probability")})
            low, high = (None if limit is None else 1.0 - limit for limit in (found.high, found.low))
            rows.append({"agent": y, "other": x, **Estimate(1.0 - found.middle, low, high).cells("probability")})
        return rows

    def curves(self, family: str | None = None) -> dict[str, ScoreCurve]:
        """Interquartile means of scores against steps, all tasks pooled, or those of one environment.

        An agent that takes no steps, a planner, is worth the same throughout.
        """
        tasks = self.scored if family is None else self._families(self.scored)[family]
        return self._curves("score", tasks) if tasks else {}

    def value_curves(self, task: str) -> dict[str, ScoreCurve]:
        """The same of values, on a task without scores."""
        return self._curves("value", [task])

    def levels(self, task: str) -> tuple[float | None, float | None]:
        """The optimal value and that of uniform play on a task, means over all runs; None where not known."""
        runs = [run for run in self.runs if task_name(run.job) == task]
        return _mean(runs, "optimal_value"), _mean(runs, "uniform_value")

    def profiles(self) -> dict[str, ScoreCurve]:
        """For each agent the fraction of its runs whose final score exceeds tau, as a function of tau."""
        if not self.scored:
            return {}
        final = {agent: self._final(agent, self.scored) for agent in self.agents}
        taus = _thresholds(np.concatenate(list(final.values()), axis=None))
        curves: dict[str, ScoreCurve] = {}
        for agent, scores in final.items():
            limits = None
            if len(scores) > 1:
                limits = performance_profile_band(scores, taus, np.random.default_rng(_BOOTSTRAP_SEED))
            fractions = performance_profile(scores, taus).tolist()
            low, high = (None, None) if limits is None else (limits[0].tolist(), limits[1].tolist())
            curves[agent] = ScoreCurve(taus.tolist(), fractions, low, high)
        return curves

    def families(self) -> list[str]:
        """Environments with scores."""
        return list(self._families(self.scored))

    def final_rows(self) -> list[Row]:
        """A row for each run: that of its last policy, with its wall time."""
        return [{**run.last, "seconds": round(run.seconds, 3)} for run in self.runs]

    def parquet(self) -> bytes:
        """All rows of all runs as the bytes of a Parquet file, times left out: equal for equal rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([dict(row) for run in self.runs for row in run.rows]), buffer)
        return buffer.getvalue()

    def caution(self) -> str:
        """What the intervals mean, in words."""
        n = len(self.seeds)
        if n == 1:
            return "There is one seed, so there are no intervals: another seed may turn every order round."
        meaning = (
            f"Intervals hold the middle 95% of a statistic when the {n} seeds are drawn anew with replacement within "
            "each task (stratified bootstrap)."
        )
        if n < ENOUGH_SEEDS:
            meaning += (
                f" With fewer than {ENOUGH_SEEDS} seeds they are narrower than they say: read them as the spread that "
                "was seen, and no more."
            )
        return meaning

    def _families(self, tasks: Sequence[str]) -> dict[str, list[str]]:
        """Those of these tasks that are instances of one environment."""
        families: dict[str, list[str]] = {}
        for task, family in {task_name(run.job): family_name(run.job) for run in self.runs}.items():
            if task in tasks:
                families.setdefault(family, []).append(task)
        return families

    def _curves(self, name: str, tasks: Sequence[str]) -> dict[str, ScoreCurve]:
        """Interquartile means of a column against steps."""
        curves: dict[str, ScoreCurve] = {}
        for agent in self.agents:
            cells = self._table(agent, tasks, name)
            found = [_middle(cells[:, :, k]) for k in range(cells.shape[2])]
            low = [estimate.low for estimate in found if estimate.low is not None]
            high = [estimate.high for estimate in found if estimate.high is not None]
            middle = [estimate.middle for estimate in found]
            curves[agent] = ScoreCurve(self._steps(cells.shape[2]), middle, low or None, high or None)
        return curves

    def _steps(self, n: int) -> list[float]:
        """Environment steps at n checkpoints."""
        total = max(run.job.total_timesteps for run in self.runs)
        return [total * k / max(n - 1, 1) for k in range(n)]

    def _table(self, agent: str, tasks: Sequence[str], name: str) -> FloatArray:
        """A column (runs, tasks, checkpoints); what an agent without steps has once is repeated."""
        n = max(len(run.rows) for run in self.runs)
        found = {(task_name(run.job), run.job.seed): [row[name] for row in run.rows] for run in self.of(agent)}
        table = [[_extended(found[task, seed], n) for task in tasks] for seed in self.seeds]
        return np.array(table, dtype=np.float64)

    def _final(self, agent: str, tasks: Sequence[str], name: str = "score") -> FloatArray:
        """A column (runs, tasks) of the last policies."""
        return self._table(agent, tasks, name)[:, :, -1]

    def _compared(self, agent: str) -> FloatArray:
        """What decides which of two runs is better (runs, tasks)."""
        return self._final(agent, self.scored) if self.scored else self._final(agent, self.tasks, "value")


def _thresholds(scores: FloatArray) -> FloatArray:
    """Where profiles are known: at every score, where they fall, and at a few points beside; or evenly, if too many."""
    low, high = min(0.0, float(scores.min())), max(1.0, float(scores.max()))
    steps = np.unique(np.concatenate([scores, [low - 0.05 * (high - low), low, high]]))
    return steps if steps.size <= PROFILE_POINTS else np.linspace(low, high, PROFILE_POINTS)


def _extended(scores: Sequence[object], n: int) -> list[object]:
    return [*scores, *[scores[-1]] * (n - len(scores))]


def _middle(scores: FloatArray) -> Estimate:
    """The interquartile mean of scores (runs, tasks)."""
    if len(scores) == 1:
        return Estimate(interquartile_mean(scores), None, None)
    interval = interquartile_mean_interval(scores, np.random.default_rng(_BOOTSTRAP_SEED))
    return Estimate(interval.estimate, interval.low, interval.high)


def _improvement(x: FloatArray, y: FloatArray) -> Estimate:
    if len(x) == 1:
        return Estimate(probability_of_improvement(x, y), None, None)
    interval = probability_of_improvement_interval(x, y, np.random.default_rng(_BOOTSTRAP_SEED))
    return Estimate(interval.estimate, interval.low, interval.high)


def _mean(runs: Sequence[Run], name: str) -> float | int | None:
    """Mean of a column over the last rows; None where it is missing."""
    cells = [run.last[name] for run in runs]
    numbers = [cell for cell in cells if isinstance(cell, int | float)]
    if len(numbers) < len(cells):
        return None
    return round(fmean(numbers)) if all(isinstance(number, int) for number in numbers) else fmean(numbers)


def _costs(runs: Sequence[Run]) -> dict[str, float | int | None]:
    """Mean queries and wall time of a run."""
    return {"queries": _mean(runs, "queries"), "seconds": round(fmean(run.seconds for run in runs), 2)}
