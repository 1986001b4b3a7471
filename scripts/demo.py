"""``lookahead-rl demo``: exact optima, and what PPO and DQN make of the same environments.

On Gymnasium's FrozenLake-v1 and Taxi-v4 as they ship and on LinearMDP-v0: the optimum with its certificate, then
stable-baselines3's PPO and DQN with their default hyperparameters, each audited exactly while it learns. Then a
random Markov game: its Nash value, and how much uniform play can be exploited beside the Nash pair. Every number is
computed when the command runs.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pettingzoo
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from rich.console import Console

from ..agents import make_agent
from ..envs.games import MarkovGameEnv
from ..evaluation import AnyAudit, audit, exploitability
from ..evaluation.plots import Curve, bars, learning_curves, value_map
from ..evaluation.report import Figure, Row, Section, write_page
from ..models import MarkovGame, TabularMDP, from_gymnasium
from ..models._checks import whole_number
from ..solvers import Solution, solve
from .io import print_table, require_writable, write_json

LEARNERS = ("PPO", "DQN")
AUDITS = 10
GAME = "lookahead_rl/RandomMarkovGame-v0"


@dataclass(frozen=True)
class Task:
    """One environment of the demo; ``gamma`` is the discount where its table carries none."""

    env_id: str
    note: str
    gamma: float | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)


TASKS = (
    Task("FrozenLake-v1", "Gymnasium's frozen lake as it ships: 4 x 4, slippery.", gamma=0.99),
    Task("Taxi-v4", "Gymnasium's taxi as it ships: 500 states, 6 actions.", gamma=0.99),
    Task(
        "LinearMDP-v0",
        "A random linear MDP (Jin et al. 2020); agents see the features of the state and the stage.",
        env_kwargs={"observation": "features"},
    ),
)


@dataclass(frozen=True)
class Demo:
    """Solve three environments exactly, train PPO and DQN on them, audit both; then solve a game."""

    total_timesteps: int = 20_480
    """Environment steps for each agent on each environment."""
    seed: int = 0
    """Seed of the agents and of the game."""
    out: Path = Path("demo.html")
    """The page with tables and plots."""
    json: Path | None = None
    """Also write the rows of all tables to this file."""

    def run(self) -> None:
        """Run the demo, print its tables and write the page."""
        whole_number("total_timesteps", self.total_timesteps, 0)
        whole_number("seed", self.seed, 0)
        require_writable(self.out, self.json)  # now, not after minutes of training
        console = Console()
        started = time.perf_counter()
        rows: list[Row] = []
        sections = [_frozen_lake(console)]
        for task in TASKS:
            section, task_rows = self._task(console, task)
            sections.append(section)
            rows += task_rows
        section, game_rows = self._game(console)
        sections.append(section)
        write_page(
            self.out,
            "Environments with known answers",
            f"PPO and DQN of stable-baselines3, default hyperparameters, {self.total_timesteps:,} environment steps "
            f"each, seed {self.seed}; every value below is exact, none is an average of episodes.",
            sections,
            configuration=asdict(self),
        )
        if self.json is not None:
            write_json(self.json, [*rows, *game_rows])
        console.print(f"Wrote {self.out} in {time.perf_counter() - started:.0f} s.")

    def _task(self, console: Console, task: Task) -> tuple[Section, list[Row]]:
        """Solve one environment, train and audit the learners on it."""
        env = gym.make(task.env_id, **task.env_kwargs)
        truth = audit(make_agent("Random-v0", env, seed=self.seed), env, gamma=task.gamma)
        rows = [_row("optimum", task, self.seed, 0, truth.optimal_value, truth, 0.0)]
        rows.append(_row("uniform play", task, self.seed, 0, truth.value, truth, 0.0))
        curves: dict[str, Curve] = {}
        for name in LEARNERS:
            began = time.perf_counter()
            console.print(f"{name} on {task.env_id}, {self.total_timesteps:,} steps")
            curves[name] = self._train(name, task)
            seconds = time.perf_counter() - began
            rows.append(_row(name, task, self.seed, curves[name].steps[-1], curves[name].values[-1], truth, seconds))
        print_table(console, f"{task.env_id}: {_certified(truth)}", [_shown(row) for row in rows])
        svg = learning_curves(curves, truth.optimal_value, truth.value)
        caption = f"{task.env_id}: exact value of each agent's policy while it learns."
        text = (
            f"From the initial distribution {_certified(truth)} The score is 0 for uniform play and 1 for the optimum."
        )
        return Section(task.env_id, [task.note, text], [_shown(row) for row in rows], [Figure(svg, caption)]), rows

    def _train(self, name: str, task: Task) -> Curve:
        """Exact values of one learner's policy, before, during and after training."""
        import torch

        from ..evaluation.callbacks import AuditCallback

        torch.set_num_threads(1)  # networks this small train several times slower with two
        env = gym.make(task.env_id, **task.env_kwargs)
        callback = AuditCallback(env, max(1, self.total_timesteps // AUDITS), gamma=task.gamma)
        agent = make_agent(name, gym.make(task.env_id, **task.env_kwargs), seed=self.seed)
        agent.learn(self.total_timesteps, callback=callback, progress_bar=True)
        return Curve(callback.steps, [result.value for result in callback.audits])

    def _game(self, console: Console) -> tuple[Section, list[Row]]:
        """Solve a random Markov game and measure how far uniform play and the Nash pair can be exploited."""
        env = pettingzoo.make("parallel", GAME, game_seed=self.seed)
        solved = cast("MarkovGameEnv", env.unwrapped)
        solution, game = solved.solution(), cast("MarkovGame", solved.model)
        pairs = {"uniform against uniform": (None, None), "the Nash pair": solution.policy}
        results = {name: exploitability(env, *pair) for name, pair in pairs.items()}
        rows: list[Row] = [
            {
                "agent": name,
                "env_id": GAME,
                "seed": self.seed,
                "value": result.value,
                "optimal_value": result.nash_value,
                "exploitability": result.gap,
            }
            for name, result in results.items()
        ]
        columns = ("agent", "value", "optimal_value", "exploitability")
        shown = [{name: row[name] for name in columns} for row in rows]
        print_table(console, f"{GAME}: {game.n_states} states", shown)
        text = (
            f"{game.n_states} states, {game.r.shape[1]} x {game.r.shape[2]} actions chosen at the same time, discount "
            f"{game.gamma:g}. Exploitability is what both players together gain by best responses (NashConv), computed "
            f"exactly; the solver's certificate encloses the Nash value to {solution.certificate.gap:.1e}."
        )
        figure = Figure(
            bars({name: result.gap for name, result in results.items()}, "exploitability"),
            "Exact exploitability of uniform play and of the Nash pair.",
        )
        return Section("A random Markov game", [text], shown, [figure]), rows


def _frozen_lake(console: Console) -> Section:
    """FrozenLake's success probability beside its discounted value, each with its certificate."""
    env = gym.make("FrozenLake-v1")
    solved = {gamma: _solved(env, gamma) for gamma in (1.0, 0.99)}
    rows: list[Row] = [
        {
            "gamma": gamma,
            "value of the start": float(solution.value[0]),
            "certified gap": solution.certificate.gap,
            "iterations": solution.iterations,
            "status": solution.status.name.lower().replace("_", " "),
        }
        for gamma, (_, solution) in solved.items()
    ]
    print_table(console, "FrozenLake-v1, solved exactly", rows)
    model, solution = solved[1.0]
    letters = cast("FrozenLakeEnv", env.unwrapped).desc.astype(str).ravel()
    arrows = np.where(model.terminal, letters, np.array(["\u2190", "\u2193", "\u2192", "\u2191"])[solution.policy])
    text = (
        "With gamma = 1 the value of the start is the largest probability of reaching the goal at all, with no limit "
        "on time; with gamma = 0.99 the goal is worth less the later it comes."
    )
    figure = Figure(
        value_map(np.where(model.terminal, np.nan, solution.value).reshape(4, 4), arrows.reshape(4, 4).tolist()),
        "Largest probability of success from each cell, and an action that attains it (the ice is slippery); "
        "H: hole, G: goal.",
    )
    return Section("What is the best one can do on the frozen lake?", [text], rows, [figure])


def _solved(env: gym.Env[Any, Any], gamma: float) -> tuple[TabularMDP, Solution[Any]]:
    model = from_gymnasium(env, gamma=gamma)
    return model, solve(model, 1e-10)


def _row(agent: str, task: Task, seed: int, steps: int, value: float, truth: AnyAudit, seconds: float) -> Row:
    """One flat row; the score is 0 for uniform play and 1 for the optimum."""
    return {
        "agent": agent,
        "env_id": task.env_id,
        "seed": seed,
        "steps": steps,
        "value": value,
        "optimal_value": truth.optimal_value,
        "regret": truth.optimal_value - value,
        "score": (value - truth.value) / (truth.optimal_value - truth.value),
        "seconds": round(seconds, 1),
    }


def _shown(row: Row) -> Row:
    """The part of a row that a table under the environment's name needs."""
    return {name: row[name] for name in ("agent", "steps", "value", "regret", "score", "seconds")}


def _certified(truth: AnyAudit) -> str:
    return (
        f"the optimum is worth {truth.optimal_value:.6g}, certified to {truth.certificate.gap:.1e}; "
        f"uniform play {truth.value:.6g}."
    )
