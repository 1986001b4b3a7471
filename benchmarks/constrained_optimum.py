"""Exact optima of constrained problems: the linear program in occupancies beside the search over prices.

Both certify their answer; the gap is that between the two bounds of the certificate. Times are medians over turns, in
which the two methods alternate.

    python benchmarks/constrained_optimum.py [--json FILE] [--turns 3]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lookahead_rl.models import ConstrainedMDP, FiniteHorizonMDP, random_constrained_linear_mdp
from lookahead_rl.models.generators import random_law
from lookahead_rl.solvers import ConstrainedSolution, constrained_optimum, lagrangian_optimum, safest_policy

METHODS = {"program": constrained_optimum, "prices": lagrangian_optimum}


def garnet(n_states: int, n_actions: int, horizon: int, seed: int) -> ConstrainedMDP:
    """A sparse law with five next states, uniform rewards and costs, a budget well above the least cost."""
    rng = np.random.default_rng(seed)
    law = random_law(n_states * n_actions, n_states, 5, rng)
    r, c = rng.random((2, n_states, n_actions))
    mdp = FiniteHorizonMDP(law, r, horizon, np.full(n_states, 1.0 / n_states))
    least = safest_policy(ConstrainedMDP(mdp, c, float(horizon))).evaluation.cost
    return ConstrainedMDP(mdp, c, least + 0.1 * horizon)


PROBLEMS: dict[str, Callable[[], Any]] = {
    "linear, S = 100, H = 4 (the environment's default)": lambda: random_constrained_linear_mdp(100, 3, 5, 4, 0),
    "linear, S = 10^9, d = 8, H = 10, measures on 8 states": lambda: random_constrained_linear_mdp(
        10**9, 4, 8, 10, 0, support=8, threshold=0.95
    ),
    "sparse, S = 100, A = 4, H = 10": lambda: garnet(100, 4, 10, 0),
    "sparse, S = 300, A = 4, H = 10": lambda: garnet(300, 4, 10, 0),
}


def timed(method: Callable[[Any], ConstrainedSolution], model: Any) -> tuple[float, ConstrainedSolution]:
    begun = time.perf_counter()
    solution = method(model)
    return time.perf_counter() - begun, solution


def measure(turns: int) -> list[dict[str, object]]:
    """One row for each problem and method."""
    rows: list[dict[str, object]] = []
    for name, build in PROBLEMS.items():
        model = build()
        runs = [{label: timed(method, model) for label, method in METHODS.items()} for _ in range(turns)]
        for label in METHODS:
            solution = runs[-1][label][1]
            rows.append(
                {
                    "benchmark": "constrained_optimum",
                    "problem": name,
                    "method": label,
                    "seconds": median(run[label][0] for run in runs),
                    "value": solution.value,
                    "gap": solution.certificate.gap,
                    "multiplier": solution.multiplier,
                    "iterations": solution.iterations,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--turns", type=int, default=3, help="turns of each method")
    arguments = parser.parse_args()
    rows = measure(arguments.turns)
    for row in rows:
        print(
            f"{row['problem']:<54} {row['method']:<8} {row['seconds']:9.4f} s  gap {row['gap']:.1e}"
            f"  price {row['multiplier']:.4f}  {row['iterations']} iterations"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
