"""Matrix games per second: solve_matrix_games beside quantecon's minmax and a loop over scipy's linprog.

All three solve the same uniform random n x n games in one process on one thread; compilation is timed apart. Each
number is the median CPU time of several runs; read the ratios, which a busy machine moves less than the times.

    python benchmarks/matrix_games.py [--json FILE] [--sizes 2 3 5 10 20 50] [--repeats 9]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numba import njit
from numpy.typing import NDArray
from quantecon.optimize import minmax
from scipy.optimize import linprog

from lookahead_rl.solvers import solve_matrix_games

Games = NDArray[np.float64]


@njit
def quantecon_values(games: Games) -> NDArray[np.float64]:
    values = np.empty(games.shape[0])
    for k in range(games.shape[0]):
        values[k], _, _ = minmax(games[k])
    return values


def scipy_values(games: Games) -> NDArray[np.float64]:
    n_games, m, n = games.shape
    values = np.empty(n_games)
    cost, total = np.append(np.zeros(m), -1.0), np.append(np.ones(m), 0.0)[None]
    bounds = [(0, None)] * m + [(None, None)]
    for k, game in enumerate(games):
        constraints = np.hstack([-game.T, np.ones((n, 1))])
        values[k] = -linprog(cost, constraints, np.zeros(n), total, [1.0], bounds).fun
    return values


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return median(times)


def compile_seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def measure(n: int, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    games = rng.uniform(size=(max(100, int(4e5 / n**2.2)), n, n))
    few = games[: max(3, 200 // n)]
    ours = cpu_seconds(lambda: solve_matrix_games(games), repeats) / len(games)
    quantecon = cpu_seconds(lambda: quantecon_values(games), repeats) / len(games)
    scipy = cpu_seconds(lambda: scipy_values(few), max(1, repeats // 3)) / len(few)
    values, mu, nu, _ = solve_matrix_games(games)
    above, below = np.einsum("kab,kb->ka", games, nu).max(axis=1), np.einsum("kab,ka->kb", games, mu).min(axis=1)
    return {
        "n": n,
        "games": len(games),
        "microseconds": 1e6 * ours,
        "quantecon_microseconds": 1e6 * quantecon,
        "scipy_microseconds": 1e6 * scipy,
        "times_quantecon": quantecon / ours,
        "times_scipy": scipy / ours,
        "largest_relative_gap": float(((above - below) / np.ptp(games, axis=(1, 2))).max()),
        "largest_difference_from_quantecon": float(np.abs(values - quantecon_values(games)).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 3, 5, 10, 20, 50])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warm_up = np.random.default_rng(1).uniform(size=(1, 3, 3))
    compiled = {
        "compile_or_load_seconds": compile_seconds(lambda: solve_matrix_games(warm_up)),
        "quantecon_compile_or_load_seconds": compile_seconds(lambda: quantecon_values(warm_up)),
    }
    print(f"compile, or load from numba's cache: ours {compiled['compile_or_load_seconds']:.2f} s, ", end="")
    print(f"quantecon {compiled['quantecon_compile_or_load_seconds']:.2f} s")
    print(f"{'n':>4} {'us/game':>9} {'quantecon':>10} {'scipy':>9} {'ratio q':>8} {'ratio s':>8} {'rel. gap':>9}")
    rows: list[dict[str, float]] = []
    for n in options.sizes:
        row = measure(n, options.repeats)
        rows.append(row | compiled)
        print(
            f"{n:4} {row['microseconds']:9.3f} {row['quantecon_microseconds']:10.3f} {row['scipy_microseconds']:9.1f} "
            f"{row['times_quantecon']:8.2f} {row['times_scipy']:8.0f} {row['largest_relative_gap']:9.1e}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
