"""K-sample lookahead beside PPO, A2C, DQN and SAC at equal environment steps.

Ten runs of each algorithm on each task; run i has seed FIRST_SEED + i and, where a task has instances, that instance.
Hyperparameters are in ``lookahead_data/hyperparameters.json``, one line for each algorithm and task with its source:
rl_zoo3's published ones, those found by ``lookahead_tuning.py``, or chosen by hand, the last two on other seeds. Tables
show interquartile means with stratified bootstrap intervals.

The score on LargeActionMDP is exact: 0 for uniform play, 1 for the planted optimum, of the deterministic policy. Taxi's
and FrozenLake's is the exact expected return of an episode; elsewhere it is the mean return of twenty episodes, which
are the same for every run.

    python -m benchmarks.lookahead [--quick | --report] [--only GROUP ...] [--tasks TASK ...] [--algorithms NAME ...]
                                   [--seeds 10] [--steps N] [--jobs 2] [--minutes M] [--renew] [--prune]
                                   [--rows lookahead_data/runs.jsonl] [--output build/lookahead]

Every run is a row of ``lookahead_data/runs.jsonl`` as soon as it is done, seed 0 of everything first, then seed 1: the
same command goes on where it was stopped, and ``--report`` alone draws tables and plots from the rows there are. A row
counts for exactly the configuration it was made with. All of it takes many hours of one core; ``--quick`` takes minutes
and shows less, from rows of its own.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ._lookahead_report import write_report
from ._lookahead_rows import Row, our_code, prune_rows, read_rows
from ._lookahead_runs import AGENTS, OURS, Run, Setting, Task, perform, plan_run
from ._lookahead_time import contenders, measure_paces, pace_key

FIRST_SEED = 100
"""Seeds and instances below belong to those who choose hyperparameters by hand, those from 1000 on to the search."""

DATA = Path(__file__).parent / "lookahead_data"
ROWS = DATA / "runs.jsonl"

LARGE = {
    f"LargeActionMDP 10^{d}": Task(
        "LargeActionMDP-v0",
        steps=200_000,
        every=10_000,
        measure="planted",
        options={"n_states": 50, "base": 10, "digits": d, "horizon": 20, "observation": "features"},
        instances=True,
    )
    for d in (2, 4, 6)
}
GYM = {
    "CartPole-v1": Task("CartPole-v1", steps=20_000, every=2_500),
    "Acrobot-v1": Task("Acrobot-v1", steps=100_000, every=10_000),
    "MountainCar-v0": Task("MountainCar-v0", steps=100_000, every=10_000),
    "FrozenLake-v1 8x8": Task(
        "FrozenLake-v1", steps=100_000, every=10_000, measure="audit", options={"map_name": "8x8"}
    ),
    "Taxi-v4": Task(
        "Taxi-v4",
        steps=200_000,
        every=20_000,
        measure="audit",
        note="The action masks Taxi gives are hidden from all algorithms: those of stable-baselines3 cannot use them.",
    ),
    "LunarLander-v3": Task("LunarLander-v3", steps=200_000, every=20_000),
}
# SAC takes a gradient step for every environment step, so it is not trained for as long.
PENDULUM = {
    "Pendulum-v1": Task("Pendulum-v1", steps=10_000, every=1_000),
    "Pendulum-v1, longer": Task(
        "Pendulum-v1", steps=50_000, every=5_000, entry="Pendulum-v1", algorithms=("PPO", OURS)
    ),
}
ABLATED = "LargeActionMDP 10^4"
ABLATIONS: dict[str, Mapping[str, Any]] = {
    "as in the comparison": {},
    "K = 2": {"K": 2.0},
    "K = 16": {"K": 16.0},
    "K = 64": {"K": 64.0},
    "evaluate every 4 iterations": {"evaluate_every": 4},
    "evaluate the first policy only": {"evaluate_every": None},
    "lambda target": {"target": "lambda"},
    "Monte-Carlo target": {"target": "lambda", "gae_lambda": 1.0},
    "4 advantage epochs": {"advantage_epochs": 4},
    "critics averaged, tau = .1": {"tau": 0.1},
    "no mutation of candidates": {"mutation": 0.0},
    "no exploration": {"exploration": 0.0},
}
GROUPS = {"large": LARGE, "gym": GYM, "pendulum": PENDULUM}
TASKS = {name: task for group in GROUPS.values() for name, task in group.items()}
BOX2D = "LunarLander-v3"
QUICK = ("LargeActionMDP 10^2", "LargeActionMDP 10^4", "CartPole-v1")
TIMED = ("CartPole-v1", "LargeActionMDP 10^4", "LargeActionMDP 10^6")


@cache
def settings() -> dict[str, dict[str, Setting]]:
    """The setting of every algorithm for every task that has its own, from the data folder."""
    data = json.loads((DATA / "hyperparameters.json").read_text(encoding="utf-8"))
    return {task: {name: Setting(**given) for name, given in row.items()} for task, row in data.items()}


def settings_text(data: Mapping[str, Mapping[str, Any]]) -> str:
    """Settings as JSON with one line for each algorithm and task."""
    tasks = []
    for task, row in data.items():
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(given)}" for name, given in row.items())
        tasks.append(f"  {json.dumps(task)}: {{\n{lines}\n  }}")
    return "{\n" + ",\n".join(tasks) + "\n}\n"


def planned(asked: argparse.Namespace) -> list[Run]:
    """The runs asked for, seed by seed, so that whatever was done before a kill can be compared."""
    runs = []
    for seed in range(FIRST_SEED, FIRST_SEED + asked.seeds):
        for group in asked.only:
            for name, task in GROUPS.get(group, {}).items():
                runs += compared(asked, group, name, task, seed) if name in asked.tasks else []
        runs += ablated(asked, seed) if "ablations" in asked.only else []
    return runs


def compared(asked: argparse.Namespace, group: str, name: str, task: Task, seed: int) -> list[Run]:
    """Every algorithm asked for that has a setting for the task."""
    return [
        plan_run(name, shortened(task, asked), algorithm, setting, seed, group=group)
        for algorithm, setting in settings()[task.entry or name].items()
        if algorithm in asked.algorithms and algorithm in (task.algorithms or AGENTS)
    ]


def ablated(asked: argparse.Namespace, seed: int) -> list[Run]:
    """Our algorithm with one thing changed at a time."""
    task = shortened(replace(LARGE[ABLATED], steps=50_000, every=12_500), asked)
    base = settings()[ABLATED][OURS]
    runs = []
    for label, changed in ABLATIONS.items():
        setting = replace(base, hyperparameters={**base.hyperparameters, **changed})
        runs.append(plan_run(f"Ablations, {ABLATED}", task, OURS, setting, seed, group="ablations", label=label))
    return runs


def shortened(task: Task, asked: argparse.Namespace) -> Task:
    """The task within the steps asked for."""
    steps = min(task.steps, asked.steps or task.steps)
    return replace(task, steps=steps, every=min(task.every, steps))


def train_missing(runs: Sequence[Run], path: Path, jobs: int, until: float, renew: bool) -> None:
    """Train what has no row, in order and ``jobs`` at a time; none is begun after ``until``."""
    known = read_rows(path)
    missing = {run.key: run for run in runs if not counts(run, known, renew)}
    print(f"{len(missing)} of {len(runs)} runs are not in {path} yet", flush=True)
    if find_spec("Box2D") is None and any(run.env_id == BOX2D for run in missing.values()):
        print(f"{BOX2D} is not trained: it needs Box2D (pip install Box2D)", flush=True)
        missing = {key: run for key, run in missing.items() if run.env_id != BOX2D}
    if jobs == 1:
        for run in missing.values():
            told(perform(run, path, until))
    elif missing:
        # Read by numerical libraries when a worker loads them: one thread each, or the workers fight for cores.
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(perform, run, path, until) for run in missing.values()]):
                told(done.result())


def counts(run: Run, known: Mapping[str, Row], renew: bool) -> bool:
    """Whether a run need not be trained; with ``renew`` ours only if this version of its code made the row."""
    row = known.get(run.key)
    return row is not None and (not renew or run.algorithm != OURS or row["code"] == our_code())


def told(row: Row | None) -> None:
    if row is not None:
        run, measured = row["run"], row["checkpoints"]
        score, seconds = measured["score"][-1], measured["seconds"][-1]
        print(f"{run['task']}, {run['label']}, seed {run['seed']}: {score:.4g} after {seconds:.0f} s", flush=True)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = (*GROUPS, "ablations", "time")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="two seeds, 20,000 steps, three tasks, two algorithms")
    what.add_argument("--report", action="store_true", help="train nothing: tables and plots from the rows there are")
    parser.add_argument("--only", nargs="+", choices=groups, default=groups)
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=tuple(TASKS))
    parser.add_argument("--algorithms", nargs="+", choices=tuple(AGENTS), default=tuple(AGENTS))
    parser.add_argument("--seeds", type=int, default=10, help="runs of each algorithm on each task")
    parser.add_argument("--steps", type=int, help="environment steps of a run, where a task has more")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one core")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so many")
    parser.add_argument("--renew", action="store_true", help="train ours anew where other code than today's made a row")
    parser.add_argument("--prune", action="store_true", help="only drop rows that the whole comparison has no use for")
    parser.add_argument("--rows", type=Path, help="where rows are kept")
    parser.add_argument("--output", type=Path, help="folder of tables and plots")
    asked = parser.parse_args(arguments)
    asked.output = asked.output or Path("build/lookahead-quick" if asked.quick else "build/lookahead")
    asked.rows = asked.rows or (asked.output / "runs.jsonl" if asked.quick else ROWS)
    if asked.quick:
        asked.seeds, asked.steps, asked.tasks, asked.renew = 2, 20_000, QUICK, True
        asked.only, asked.algorithms = ("large", "gym"), ("PPO", OURS)
    return asked


def turns_of(asked: argparse.Namespace) -> dict[str, dict[str, Run]]:
    """The contenders on each task whose steps are timed, by the key of their row."""
    timed = [name for name in TIMED if name in asked.tasks] if "time" in asked.only else []
    pairs = [contenders(name, TASKS[name], settings()[name]) for name in timed]
    return {pace_key(pair): pair for pair in pairs}


def prune(path: Path) -> None:
    """Drop the rows that the whole comparison does not use."""
    whole = parsed([])
    left = prune_rows(path, {*turns_of(whole), *(run.key for run in planned(whole))})
    print(f"{left} rows are left in {path}")


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parsed(arguments)
    if asked.prune:
        return prune(asked.rows)
    runs, turns, until = planned(asked), turns_of(asked), time.time() + 60 * asked.minutes
    if not asked.report:
        train_missing(runs, asked.rows, asked.jobs, until, asked.renew)
        for key, pair in turns.items():
            if time.time() < until and key not in read_rows(asked.rows):
                measure_paces(pair, asked.rows)
    rows = read_rows(asked.rows)
    found = [(run, rows[run.key]) for run in runs if run.key in rows]
    pace = [line for key in turns if key in rows for line in rows[key]["pace"]]
    notes = {name: task.note for name, task in TASKS.items() if task.note}
    asked.output.mkdir(parents=True, exist_ok=True)
    print(write_report(found, pace, notes, asked.output))
    return None


if __name__ == "__main__":
    main()
