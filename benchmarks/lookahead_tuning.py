"""Equal tuning for every algorithm of the comparison where nobody published hyperparameters.

Random search by successive halving (Jamieson and Talwalkar, AISTATS 2016), the same for every algorithm and task:
eight trials are trained for a few steps, the best two of them again for longer (:data:`RUNGS`). A trial's score is
the mean of its run's scores over the later half of the checkpoints. Trial 0 is the algorithm's defaults. Trials are
drawn from :func:`scopes` with a fixed seed, and train on instances from 1000 on, which the comparison never sees. Every
rate may fall linearly to 0, and where states are shown as indices every network may be a table.

Every trial is appended to ``lookahead_data/search.jsonl`` when it is done, so the search goes on where it stopped; the
best ones are written into ``lookahead_data/hyperparameters.json`` by ``--adopt``.

    python -m benchmarks.lookahead_tuning [--tasks TASK ...] [--algorithms NAME ...] [--minutes M] [--adopt]
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._lookahead_rows import append_row
from ._lookahead_runs import OURS, Setting, plan_run, train
from .lookahead import DATA, TASKS, settings, settings_text

SEARCH = DATA / "search.jsonl"
FIRST_INSTANCE = 1000
"""Seeds and instances of the search; the comparison never uses them."""

SEED = 5
RUNGS = ((8, 25_000), (2, 100_000))
"""Trials and environment steps of each round."""

CHECKPOINTS = 10
"""Checkpoints of each trial; the later half counts."""

TUNED = ("LargeActionMDP 10^6", "LargeActionMDP 10^4", "LargeActionMDP 10^2", "FrozenLake-v1 8x8", "Taxi-v4")


@dataclass(frozen=True)
class LogUniform:
    """A number whose logarithm is uniform, rounded to two digits."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One number."""
        return float(f"{np.exp(rng.uniform(np.log(self.low), np.log(self.high))):.1e}")


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    values: Sequence[Any]

    def draw(self, rng: np.random.Generator) -> Any:
        """One value."""
        return self.values[rng.integers(len(self.values))]


NETWORKS = OneOf(([64, 64], [128, 128], [256, 256]))
ACTIVATIONS = OneOf(("Tanh", "ReLU"))
GAMMAS = OneOf((0.4, 0.6, 0.8, 0.95, 0.99, 1.0))
"""A horizon ends the episodes, so 1 is possible; less than the true discount lets noisy values matter less (Jiang,
Kulesza, Singh and Lewis, AAMAS 2015)."""

NORMALIZE = OneOf((False, {"norm_obs": False, "norm_reward": True}))
SCHEDULES = OneOf(("constant", "linear"))

TABULAR: dict[str, OneOf] = {"net_arch": OneOf(([], [64, 64], [256, 256])), "gamma": OneOf((0.95, 0.97, 0.99, 1.0))}
"""Where states are shown as indices; a network without hidden layers is then a table."""

TABLE_RATE = 30.0
"""Rates of tables in units of those of networks: a step moves the entries of the states in its batch alone."""

RANGES: dict[str, dict[str, LogUniform | OneOf]] = {
    "PPO": {
        "learning_rate": LogUniform(1e-4, 3e-3),
        "ent_coef": OneOf((0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
        "n_steps": OneOf((32, 64, 128, 256)),
        "batch_size": OneOf((64, 128, 256)),
        "n_epochs": OneOf((4, 10, 20)),
        "clip_range": OneOf((0.1, 0.2, 0.3)),
        "gae_lambda": OneOf((0.8, 0.9, 0.95, 0.98)),
        "gamma": GAMMAS,
        "net_arch": NETWORKS,
        "activation_fn": ACTIVATIONS,
        "normalize": NORMALIZE,
        "schedule": SCHEDULES,
    },
    "A2C": {
        "learning_rate": LogUniform(2e-4, 5e-3),
        "ent_coef": OneOf((0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
        "n_steps": OneOf((5, 8, 16, 32)),
        "vf_coef": OneOf((0.25, 0.5)),
        "use_rms_prop": OneOf((True, False)),
        "normalize_advantage": OneOf((True, False)),
        "gae_lambda": OneOf((0.9, 0.95, 1.0)),
        "gamma": GAMMAS,
        "net_arch": NETWORKS,
        "activation_fn": ACTIVATIONS,
        "normalize": NORMALIZE,
        "schedule": SCHEDULES,
    },
    "DQN": {
        "learning_rate": LogUniform(1e-4, 3e-3),
        "batch_size": OneOf((32, 64, 128)),
        "buffer_size": OneOf((20_000, 100_000)),
        "learning_starts": OneOf((500, 2000)),
        "train_freq": OneOf((1, 2, 4)),  # in steps of all eight environments together
        "gradient_steps": OneOf((1, 2, 4)),
        "target_update_interval": OneOf((250, 1000, 4000)),
        "exploration_fraction": OneOf((0.1, 0.25, 0.5)),
        "exploration_final_eps": OneOf((0.01, 0.05, 0.1)),
        "gamma": GAMMAS,
        "net_arch": NETWORKS,
        "normalize": NORMALIZE,
        "schedule": SCHEDULES,
    },
    OURS: {
        "learning_rate": LogUniform(3e-4, 3e-3),
        "K": OneOf((2.0, 4.0, 8.0, 16.0)),
        "n_candidates": OneOf((8, 16, 32)),
        "exploration": OneOf((0.05, 0.3, 0.6, 0.9)),
        "mutation": OneOf((0.1, 0.25, 0.5)),
        "n_steps": OneOf((64, 128, 256)),
        "batch_size": OneOf((128, 256, 512)),
        "gae_lambda": OneOf((0.8, 0.9, 0.95, 0.98)),
        "gamma": GAMMAS,
        "advantage_epochs": OneOf((12, 24, 48)),
        "value_epochs": OneOf((5, 10, 20)),
        "actor_epochs": OneOf((2, 4, 8)),
        "schedule": SCHEDULES,
    },
}


@dataclass(frozen=True)
class Trial:
    """One setting of one algorithm on one task, tried for a rung's steps."""

    task: str
    algorithm: str
    number: int
    rung: int

    @property
    def steps(self) -> int:
        """Environment steps."""
        return RUNGS[self.rung][1]

    @property
    def drawn(self) -> tuple[dict[str, Any], bool | Mapping[str, Any]]:
        """Hyperparameters and normalisation."""
        return drawn(self.task, self.algorithm, self.number)

    def setting(self) -> Setting:
        """What is tried; the task's own way of running the environment stays."""
        base = settings()[self.task][self.algorithm]
        hyperparameters, normalize = self.drawn
        return replace(base, source="tried", hyperparameters=hyperparameters, normalize=normalize)

    def score(self) -> dict[str, Any]:
        """Train; the flat row that goes into the search's file."""
        setting = self.setting()
        task = replace(TASKS[self.task], steps=self.steps, every=self.steps // CHECKPOINTS)
        run = plan_run(self.task, task, self.algorithm, setting, FIRST_INSTANCE + self.rung)
        measured = train(run)
        scores = [point["score"] for point in measured]
        return {
            **vars(self),
            "steps": self.steps,
            "seed": run.seed,
            "score": float(np.mean(scores[len(scores) // 2 :])),
            "scores": [round(score, 4) for score in scores],
            "seconds": round(measured[-1]["seconds"], 1),
            "normalize": setting.normalize,
            "hyperparameters": setting.hyperparameters,
        }


def scopes(task: str, algorithm: str) -> dict[str, LogUniform | OneOf]:
    """What is searched."""
    return RANGES[algorithm] | (TABULAR if TASKS[task].measure == "audit" else {})


def drawn(task: str, algorithm: str, number: int) -> tuple[dict[str, Any], bool | Mapping[str, Any]]:
    """Hyperparameters and normalisation of a trial; trial 0 is the defaults."""
    if number == 0:
        return {}, False
    rng = np.random.default_rng([SEED, number, *algorithm.encode()])
    found = {name: scope.draw(rng) for name, scope in scopes(task, algorithm).items()}
    normalize, schedule = found.pop("normalize", False), found.pop("schedule")
    networks = {name: found.pop(name) for name in ("net_arch", "activation_fn") if name in found}
    rate = found["learning_rate"] * (TABLE_RATE if networks.get("net_arch") == [] else 1.0)
    found["learning_rate"] = f"lin_{rate:.1e}" if schedule == "linear" else float(f"{rate:.1e}")
    return {**found, **({"policy_kwargs": networks} if networks else {})}, normalize


def search(task: str, algorithm: str) -> Iterator[Trial]:
    """The trials still to be run, in order; a rung's follow from the scores of the one before."""
    numbers = list(range(RUNGS[0][0]))
    for rung, (width, _) in enumerate(RUNGS):
        numbers = numbers[:width]
        for number in numbers:
            trial = Trial(task, algorithm, number, rung)
            if trial not in recorded():
                yield trial
        scores = {number: recorded()[Trial(task, algorithm, number, rung)]["score"] for number in numbers}
        numbers.sort(key=scores.__getitem__, reverse=True)


def recorded() -> dict[Trial, dict[str, Any]]:
    """The rows of the search so far, but for those drawn from other ranges than today's."""
    lines = SEARCH.read_text(encoding="utf-8").splitlines() if SEARCH.exists() else []
    rows = {Trial(row["task"], row["algorithm"], row["number"], row["rung"]): row for row in map(json.loads, lines)}
    return {trial: row for trial, row in rows.items() if (row["hyperparameters"], row["normalize"]) == trial.drawn}


def adopt() -> None:
    """Write the best trial of every finished search into the comparison's hyperparameters."""
    path = DATA / "hyperparameters.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    last = len(RUNGS) - 1
    finals = [row for trial, row in recorded().items() if trial.rung == last]
    for task, algorithm in sorted({(row["task"], row["algorithm"]) for row in finals}):
        if next(search(task, algorithm), None) is None:
            rows = [row for row in finals if (row["task"], row["algorithm"]) == (task, algorithm)]
            best = max(rows, key=lambda row: row["score"])
            source = f"random search, trial {best['number']} of {RUNGS[0][0]} (search.jsonl)"
            taken = {name: best[name] for name in ("normalize", "hyperparameters")}
            data[task][algorithm] |= {"source": source, **taken}
            print(f"{task}, {algorithm}: {source}")
    path.write_text(settings_text(data), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TUNED, choices=TUNED)
    parser.add_argument("--algorithms", nargs="+", default=tuple(RANGES), choices=tuple(RANGES))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no trial after so many")
    parser.add_argument("--adopt", action="store_true", help="only write the best trials into hyperparameters.json")
    asked = parser.parse_args(arguments)
    if asked.adopt:
        return adopt()
    began = time.monotonic()
    known = settings()
    for algorithm in asked.algorithms:
        for task in asked.tasks:
            for trial in search(task, algorithm) if algorithm in known[task] else ():
                if time.monotonic() - began > 60 * asked.minutes:
                    return None
                record(trial.score())
    return None


def record(row: Mapping[str, Any]) -> None:
    """Append one row and say so."""
    append_row(SEARCH, row)
    print(*(f"{row[name]}" for name in ("task", "algorithm", "number", "steps", "score", "seconds")), flush=True)


if __name__ == "__main__":
    main()
