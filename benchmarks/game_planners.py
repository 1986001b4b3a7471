"""Solving zero-sum Markov games to an error of 1e-6: solve_game beside the planners people use, in one process.

Three races, on one thread, compilation apart:

    garnet    1000 states, 5 x 5 actions, 10 successors, gamma 0.99, which mixes fast
    pursuit   an n x n grid (n = 6 and 10), n^4 states, 5 x 5 actions, gamma 0.99, which mixes slowly
    linprog   a Garnet of 100 states, gamma 0.9, beside Shapley iteration with a loop over scipy's linprog

"Shapley, quantecon" is plain Shapley iteration in compiled code, each stage game solved by quantecon's minmax; it stops
when gamma / (1 - gamma) |T v - v| is within the tolerance, or after as many sweeps as plain Shapley iteration of ours
needed. All others are this package's own. Contenders take turns; numbers are medians of processor time; read the
ratios. The error is that of each answer's value, against solve_game at a thousandth of the tolerance.

And growth: a Garnet of 10^5 and of 10^6 states (4 x 4 actions, 5 successors), with the peak memory of the solution.

    python benchmarks/game_planners.py [--json FILE] [--turns 5] [--only garnet pursuit linprog growth]
"""

import argparse
import json
import math
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from quantecon.optimize import minmax
from scipy.optimize import linprog

from lookahead_rl.models import MarkovGame, pursuit_game
from lookahead_rl.models.generators import garnet_game
from lookahead_rl.solvers import (
    hoffman_karp,
    joint_action_values,
    lookahead_policy_iteration,
    naive_policy_iteration,
    residual_conditioned_policy_iteration,
    shapley_iteration,
    solve_game,
)

Array = NDArray[np.float64]
Contender = Callable[[MarkovGame], Array]
"""Solves a game; returns its value."""

TOL = 1e-6


def ours(solver: Callable[..., Any], **options: Any) -> Contender:
    return lambda game: solver(game, TOL, **options).value


@njit
def quantecon_sweep(data, indices, indptr, r, gamma, v, value):
    n_states, n_0, n_1 = r.shape
    q = np.empty((n_0, n_1))
    change = 0.0
    for s in range(n_states):
        for a in range(n_0):
            for b in range(n_1):
                row = (s * n_0 + a) * n_1 + b
                expected = 0.0
                for k in range(indptr[row], indptr[row + 1]):
                    expected += data[k] * v[indices[k]]
                q[a, b] = r[s, a, b] + gamma * expected
        value[s] = minmax(q)[0]
        change = max(change, abs(value[s] - v[s]))
    return change


def quantecon_shapley(sweeps: int) -> Contender:
    def run(game: MarkovGame) -> Array:
        v, value = np.zeros(game.n_states), np.empty(game.n_states)
        for _ in range(sweeps):
            change = quantecon_sweep(game.P.data, game.P.indices, game.P.indptr, game.r, game.gamma, v, value)
            v, value = value, v
            if game.gamma / (1 - game.gamma) * change <= TOL:
                break
        return v

    return run


def linprog_shapley(game: MarkovGame) -> Array:
    v, n_0, n_1 = np.zeros(game.n_states), *game.r.shape[1:]
    cost, total = np.append(np.zeros(n_0), -1.0), np.append(np.ones(n_0), 0.0)[None]
    bounds = [(0, None)] * n_0 + [(None, None)]
    while True:
        stages = joint_action_values(game, v)
        constraints = [np.hstack([-q.T, np.ones((n_1, 1))]) for q in stages]
        value = np.array([-linprog(cost, c, np.zeros(n_1), total, [1.0], bounds).fun for c in constraints])
        change, v = np.abs(value - v).max(), value
        if game.gamma / (1 - game.gamma) * change <= TOL:
            return v


def contenders(game: MarkovGame) -> dict[str, Contender]:
    plain = shapley_iteration(game, 2 * TOL, macqueen=False).iterations
    return {
        "solve_game": ours(solve_game),
        "lookahead PI, H = 1, m = 10": ours(lookahead_policy_iteration, lookahead=1, rollout=10),
        "lookahead PI, H = 2, m = 50": ours(lookahead_policy_iteration, lookahead=2, rollout=50),
        "naive PI (unsafe)": ours(naive_policy_iteration),
        "residual-conditioned PI": ours(residual_conditioned_policy_iteration),
        "Shapley + MacQueen": ours(shapley_iteration),
        "Hoffman-Karp": ours(hoffman_karp),
        "Shapley, our kernel": ours(shapley_iteration, macqueen=False),
        "Shapley, quantecon": quantecon_shapley(plain),
    }


def processor_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def race(name: str, game: MarkovGame, running: dict[str, Contender], turns: int) -> list[dict[str, Any]]:
    exact = solve_game(game, 1e-3 * TOL).value
    times: dict[str, list[float]] = {label: [] for label in running}
    errors: dict[str, float] = {}
    for turn in range(turns):
        for label, run in running.items():
            if turn and times[label][0] > 20:  # one turn is enough for those
                continue
            seconds, value = processor_seconds(lambda run=run: run(game))
            times[label].append(seconds)
            errors[label] = float(np.abs(value - exact).max())
    first = median(times["solve_game"])
    rows = [
        {
            "race": name,
            "solver": label,
            "seconds": median(taken),
            "ratio": median(taken) / first,
            "turns": len(taken),
            "error": errors[label],
        }
        for label, taken in times.items()
    ]
    print(f"\n{name}\n{'solver':32} {'seconds':>10} {'x solve_game':>13} {'error':>9}")
    for row in rows:
        print(f"{row['solver']:32} {row['seconds']:10.4f} {row['ratio']:13.1f} {row['error']:9.1e}")
    return rows


def growth(turns: int) -> list[dict[str, Any]]:
    rows = []
    for n_states in (10**5, 10**6):
        game = garnet_game(n_states, 4, 4, 5, 0, gamma=0.99, sparse=True)
        taken = [processor_seconds(lambda game=game: solve_game(game, TOL)) for _ in range(turns)]
        tracemalloc.start()
        solution = solve_game(game, TOL)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append(
            {
                "race": "growth",
                "states": n_states,
                "seconds": median(seconds for seconds, _ in taken),
                "sweeps": solution.work.sweeps,
                "certified_gap": solution.certificate.gap,
                "peak_memory_per_model": 1.0 + peak / game.nbytes,
            }
        )
    for row in rows:
        row["ratio"] = row["seconds"] / rows[0]["seconds"]
    print(f"\ngrowth\n{'states':>9} {'seconds':>9} {'ratio':>7} {'sweeps':>7} {'gap':>9} {'peak / model':>13}")
    for row in rows:
        numbers = f"{row['seconds']:9.3f} {row['ratio']:7.2f} {row['sweeps']:7} {row['certified_gap']:9.1e}"
        print(f"{row['states']:9} {numbers} {row['peak_memory_per_model']:13.2f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    races = ("garnet", "pursuit", "linprog", "growth")
    parser.add_argument("--only", nargs="+", choices=races, default=races)
    options = parser.parse_args()

    begun = time.perf_counter()
    small = garnet_game(20, 3, 3, 3, 0, sparse=True)
    for run in contenders(small).values():
        run(small)
    print(f"compiling, or loading what is compiled: {time.perf_counter() - begun:.1f} s")
    rows: list[dict[str, Any]] = []
    if "garnet" in options.only:
        game = garnet_game(1000, 5, 5, 10, 0, gamma=0.99, sparse=True)
        rows += race("garnet, 1000 states, gamma 0.99", game, contenders(game), options.turns)
    if "pursuit" in options.only:
        for n in (6, 10):
            game = pursuit_game(n)
            running = contenders(game)
            if n == 10:
                running = {label: run for label, run in running.items() if "Shapley, " not in label}
            rows += race(f"pursuit, {n} x {n}, {n**4} states, gamma 0.99", game, running, options.turns)
    if "linprog" in options.only:
        game = garnet_game(100, 5, 5, 10, 0, gamma=0.9, sparse=True)
        running = {"solve_game": ours(solve_game), "Shapley, scipy's linprog": linprog_shapley}
        rows += race("garnet, 100 states, gamma 0.9", game, running, options.turns)
    if "growth" in options.only:
        rows += growth(min(3, options.turns))
    assert all(math.isfinite(row["seconds"]) for row in rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
