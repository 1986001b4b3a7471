"""A linear MDP of 10^9 states beside one of 10^4: making, resetting, stepping, solving.

Both have the same dimension, horizon, actions and supports; nothing in either takes time or memory that grows with the
number of states. The two take turns; times are medians, memory is the peak that tracemalloc saw while each was
made, played for an episode and solved.

    python benchmarks/huge_linear.py [--json FILE] [--turns 15]
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments

SIZES = (10**4, 10**9)
HORIZON = 10
ENV_KWARGS = {"n_actions": 4, "dim": 8, "horizon": HORIZON, "support": 8}


def seconds(work: Callable[[], Any], times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times


def make(n_states: int) -> gym.Env:
    return gym.make("LinearMDP-v0", n_states=n_states, **ENV_KWARGS)


def episode(env: gym.Env) -> None:
    env.reset()
    for _ in range(HORIZON):
        env.step(1)


def one_turn(n_states: int) -> dict[str, float]:
    """Seconds of each job, once."""
    env = make(n_states)
    return {
        "make": seconds(lambda: make(n_states), 10),
        "reset": seconds(env.reset, 200),
        "episode": seconds(lambda: episode(env), 20),
        "solve": seconds(make(n_states).unwrapped.solution, 1),
    }


def peak_memory(n_states: int) -> int:
    """Bytes at the peak of making, playing and solving."""
    tracemalloc.start()
    env = make(n_states)
    episode(env)
    env.unwrapped.solution()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def measure(turns: int) -> list[dict[str, object]]:
    """One row for each job, with both sizes and their ratio."""
    for n_states in SIZES:
        one_turn(n_states)
        peak_memory(n_states)
    seen: dict[int, list[dict[str, float]]] = {n_states: [] for n_states in SIZES}
    for _ in range(turns):
        for n_states in SIZES:
            seen[n_states].append(one_turn(n_states))
    medians = {n: {job: median(turn[job] for turn in seen[n]) for job in seen[n][0]} for n in SIZES}
    for n_states in SIZES:
        medians[n_states]["memory"] = peak_memory(n_states)
    small, large = (medians[n_states] for n_states in SIZES)
    return [
        {
            "benchmark": "huge_linear",
            "job": job,
            "unit": "bytes" if job == "memory" else "seconds",
            "at_10^4_states": small[job],
            "at_10^9_states": large[job],
            "ratio": large[job] / small[job],
            "target": 2,
        }
        for job in small
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--turns", type=int, default=15, help="turns of each size")
    arguments = parser.parse_args()
    table = measure(arguments.turns)
    for row in table:
        print(
            f"{row['job']:8} {row['at_10^4_states']:12.6g} {row['unit']} at 10^4 states"
            f" {row['at_10^9_states']:12.6g} at 10^9   ratio {row['ratio']:.2f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
