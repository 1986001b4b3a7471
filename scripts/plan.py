"""``lookahead-rl plan``: planners that see an environment through local access, compared at equal numbers of queries.

Each planner is made anew for each budget and seed; see :mod:`lookahead_rl.experiments.trials`.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..agents import AgentError, agent_class
from ..envs.tabular import ModelEnv
from ..evaluation import AnyAudit
from ..evaluation.plots import QueryCurve, query_curves
from ..evaluation.report import Figure, Row, Section, format_cell, replace_text, write_page
from ..experiments.environments import is_game
from ..experiments.trials import UNIFORM, Ending, Result, Trial, require_local_planner, uniform_play
from ..models import ModelError
from ..models._checks import whole_number
from .arguments import make_env, parse_pairs
from .io import print_table, require_writable, write_json

HALVINGS = 6

SET_HERE = {
    "env": "--env-id",
    "budget": "--budgets",
    "seed": "--seeds",
    "samples": "--samples",
    "bernoulli_rewards": "--bernoulli-rewards",
}
"""Arguments of planners that have an option of their own."""

MOST_QUERIES = 10**9
"""Queries of a planner. Searches make some 40,000 a second and spend all of their budget: this takes hours."""
MOST_TALLIED = 10**18
"""Queries of TensorPlan with the constants of its theorem, which asks for that many, drawn as counts at once."""

NEEDED = (
    "Planners need an environment of this package whose states have features, such as NeedleMDP-v0; games cannot be "
    "planned"
)


@dataclass(frozen=True)
class Plan:
    """Compare planners that see an environment only through its simulator, at equal numbers of queries."""

    env_id: str = "NeedleMDP-v0"
    """An environment of this package whose states have features."""
    env_kwargs: tuple[str, ...] = ()
    """Its arguments, as key=value pairs: n_actions=4 horizon=100 dim=60 mdp_seed=3."""
    agents: tuple[str, ...] = ("TensorPlan-v0", "UCT-v0")
    """Local planners by name. Random-v0, which plays uniformly and asks nothing, is always beside them."""
    budget: int = 1000
    """Queries that each planner may make: for its plan or, if it searches at every decision, in an episode."""
    budgets: tuple[int, ...] = ()
    """Several such numbers, instead of --budget and its halves down to a 64th of it."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the planners. The instance is chosen by mdp_seed among --env-kwargs."""
    samples: int | None = None
    """Queries of each state and action where the simulator answers at random, for the planners that take this."""
    bernoulli_rewards: bool = False
    """Let the simulator pay 0 or 1 with the model's rewards as means."""
    agent_kwargs: tuple[str, ...] = ()
    """More arguments, as key=value pairs, each for the planners that take it."""
    out: Path | None = None
    """Write a page with the table and a plot of value against queries (needs the extra report)."""
    plot: Path | None = None
    """Write the plot alone, as SVG (needs the extra report)."""
    json: Path | None = None
    """Write one row for each planner, budget and seed."""

    def run(self) -> None:
        """Run every planner, print the table and write the files."""
        trials = self._trials()
        self._require_outputs()
        env = self._env()
        for trial in {trial.agent: trial for trial in trials}.values():
            trial.make(env)  # with the largest budget; what is refused here is refused for good
        console = Console()
        uniform, row = uniform_play(env)
        results = [row, *_run_all(trials, env, uniform, console)]
        n = len({*self.seeds})
        title = f"{self.env_id}: the optimum is worth {format_cell(uniform.optimal_value)}"
        title += f"; means over {n} seeds" if n > 1 else ""
        print_table(console, title, [{k: cell for k, cell in row.items() if k != "acting"} for row in _means(results)])
        refused = [result for result in results if result.status is Ending.NO_HYPOTHESIS]
        for agent, message in {result.agent: result.message for result in refused}.items():
            console.print(f"{agent} has no hypothesis: {message}", markup=False, highlight=False)
        if self.json is not None:
            place: Row = {"env_id": self.env_id, "env_kwargs": " ".join(self.env_kwargs)}
            write_json(self.json, [{**place, **result.row()} for result in results])
        if self.out is not None or self.plot is not None:
            self._draw(results, uniform)
        written = [str(path) for path in (self.out, self.plot, self.json) if path is not None]
        if written:
            console.print(f"Wrote {', '.join(written)}.", markup=False, highlight=False)

    def _env(self) -> gym.Env[Any, Any]:
        """The environment.

        Raises:
            ModelError: There is none of this id, it does not take its arguments, or it is not of this package.
        """
        try:
            env = make_env(self.env_id, self.env_kwargs)
        except ModelError as error:
            if is_game(self.env_id) or isinstance(error.__cause__, gym.error.Error):  # a game, or nothing of this id
                raise ModelError(f"{str(error).rstrip('.')}. {NEEDED}") from error
            raise
        if not isinstance(env.unwrapped, ModelEnv):
            raise ModelError(f"{self.env_id} is not of this package. {NEEDED}")
        return env

    def _trials(self) -> list[Trial]:
        """What is to be run, in the order of planners, budgets and seeds."""
        budgets = self.budgets or tuple({self.budget >> k for k in range(HALVINGS + 1)} - {0})
        for name, numbers, least in (("budget", (self.budget, *budgets), 1), ("seeds", self.seeds, 0)):
            for number in numbers:
                whole_number(name, number, least)
        if not (self.agents and self.seeds):
            raise AgentError("--agents or --seeds is empty; give at least one of each")
        options = self._options()
        for agent, taken in options.items():
            _require_payable(agent, taken, max(budgets))
        return [
            Trial(agent, budget, seed, options[agent])
            for agent in options
            for budget in sorted({*budgets})
            for seed in sorted({*self.seeds})
        ]

    def _options(self) -> dict[str, dict[str, Any]]:
        """For each planner the arguments that it takes.

        Raises:
            AgentError: There is none, one is no local planner, nobody takes an argument, or it has its own option.
        """
        given: dict[str, Any] = {**parse_pairs("--agent-kwargs", self.agent_kwargs)}
        for name in sorted(given.keys() & SET_HERE.keys()):
            raise AgentError(f"--agent-kwargs holds {name}, which has an option of its own: use {SET_HERE[name]}")
        given |= {} if self.samples is None else {"samples": self.samples}
        given |= {"bernoulli_rewards": True} if self.bernoulli_rewards else {}
        options: dict[str, dict[str, Any]] = {}
        for agent in (name for name in self.agents if name != UNIFORM):
            require_local_planner(agent)
            takes = inspect.signature(agent_class(agent)).parameters
            options[agent] = {name: value for name, value in given.items() if name in takes}
        if nobody := given.keys() - {name for taken in options.values() for name in taken}:
            raise AgentError(f"none of these planners takes {', '.join(sorted(nobody))}")
        return options

    def _require_outputs(self) -> None:
        """Raise now, not after minutes of planning, unless the files can be written."""
        require_writable(self.out, self.plot, self.json)
        if self.plot is not None and self.plot.suffix != ".svg":
            raise ModelError(f"--plot writes SVG, but {self.plot} is named otherwise; name a file ending in .svg")
        if (self.out is not None or self.plot is not None) and find_spec("matplotlib") is None:
            raise ImportError('--out and --plot need matplotlib: pip install "lookahead-rl[report]"')

    def _draw(self, results: Sequence[Result], uniform: AnyAudit) -> None:
        """Write the plot and the page."""
        svg = query_curves(_curves(results), uniform.optimal_value, uniform.value)
        if self.plot is not None:
            replace_text(self.plot, svg)
        if self.out is None:
            return
        n = len({*self.seeds})
        numbers = "" if n == 1 else f" Numbers are means over {n} seeds."
        text = (
            "Each planner had each budget of queries anew. Values are exact, those of the policies the planners ended "
            f"with.{numbers} Acting tells the queries made while one episode is played: beyond the budget where a plan "
            "was made ahead, within it where every decision is searched for."
        )
        figure = Figure(svg, "Exact value of each planner's policy against the queries it made of its budget.")
        sections = [Section("Value against queries", [text], _means(results), [figure])]
        write_page(
            self.out, f"Planning in {self.env_id}", " ".join(self.env_kwargs), sections, configuration=asdict(self)
        )


def _require_payable(agent: str, options: Mapping[str, Any], budget: int) -> None:
    """Raise where a planner could not spend its budget in any sensible time."""
    most = MOST_TALLIED if options.get("mode") == "theory" else MOST_QUERIES
    if budget > most:
        exception = "" if agent != "TensorPlan-v0" else f" (mode=theory, whose queries are counts, {MOST_TALLIED:,})"
        raise AgentError(f"budget is {budget:,}, more than {agent} could query; pass at most {most:,}{exception}")


def _run_all(trials: Sequence[Trial], env: gym.Env[Any, Any], uniform: AnyAudit, console: Console) -> list[Result]:
    """The results of all trials, with a bar while they run."""
    results: list[Result] = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(trials))
        for trial in trials:
            progress.update(bar, description=f"{trial.agent}, {trial.budget:,} queries")
            results.append(trial.run(env, uniform))
            progress.advance(bar)
    return results


def _means(results: Sequence[Result]) -> list[Row]:
    """What people read: for each planner and budget the means over the seeds."""
    rows: list[Row] = []
    for (agent, budget), group in groupby(results, key=lambda result: (result.agent, result.budget)):
        trials = list(group)
        values, losses = [t.value for t in trials], [t.suboptimality for t in trials]
        rows.append(
            {
                "agent": agent,
                "budget": budget,
                "queries": round(mean(trial.queries for trial in trials)),
                "acting": round(mean(trial.execution_queries for trial in trials)),
                "value": _mean(values),
                "regret": _mean(losses),
                "seconds": round(mean(trial.seconds for trial in trials), 2),
                "status": ", ".join(dict.fromkeys(trial.status.name.lower().replace("_", " ") for trial in trials)),
            }
        )
    return rows


def _mean(numbers: Sequence[float | None]) -> float | None:
    """The mean, None where a number is missing."""
    present = [number for number in numbers if number is not None]
    return mean(present) if len(present) == len(numbers) else None


def _curves(results: Sequence[Result]) -> dict[str, QueryCurve]:
    """One curve for each planner; uniform play, which comes first, is drawn as the floor."""
    curves: dict[str, QueryCurve] = {}
    for agent, group in groupby(results[1:], key=lambda result: result.agent):
        trials = sorted(group, key=lambda result: (result.seed, result.budget))
        shape = (len({trial.seed for trial in trials}), -1)
        queries = np.array([trial.queries for trial in trials], dtype=np.float64).reshape(shape)
        values = np.array([np.nan if trial.value is None else trial.value for trial in trials]).reshape(shape)
        curves[agent] = QueryCurve(queries, values)
    return curves
