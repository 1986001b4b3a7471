"""Matrix games per second: our kernel beside quantecon's minmax and a loop over scipy's linprog.

All solve the same uniform random n x n games in one process on one thread; compilation is timed apart. Ours and
quantecon's run inside compiled code, as a planner calls them; "public" is solve_matrix_games, which checks the
payoffs and allocates the answer. A warm start is the basis of the games before each payoff moved by up to 1e-4 of its
range. Each number is the median CPU time of several runs, taken in turn; read the ratios, which a busy machine moves
less than the times.

    python benchmarks/matrix_games.py [--json FILE] [--sizes 2 3 5 10 20 50] [--repeats 15]
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

from lookahead_rl.models._checks import frozen
from lookahead_rl.solvers import MatrixGameSolutions, solve_matrix_games
from lookahead_rl.solvers.matrix_game_kernels import solve_batch

Games = NDArray[np.float64]
Bases = NDArray[np.bool_]


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


def cpu_seconds(works: list[Callable[[], object]], repeats: int) -> list[float]:
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, times, strict=True):
            begun = time.process_time()
            work()
            taken.append(time.process_time() - begun)
    return [median(taken) for taken in times]


def compile_seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def kernel(games: Games, start: Bases | None) -> Callable[[], object]:
    """A call of the compiled kernel, its arrays made beforehand."""
    n_games, n, _ = games.shape
    counts = frozen(np.full(n_games, n, dtype=np.int64))
    values, gaps, mu, nu = np.empty(n_games), np.empty(n_games), np.empty((n_games, n)), np.empty((n_games, n))
    bases = np.zeros((n_games, 2 * n), dtype=np.bool_)

    def solve() -> None:
        if start is not None:
            bases[:] = start
        solve_batch(games, counts, counts, values, mu, nu, gaps, bases, start is not None)

    return solve


def measure(n: int, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    before = rng.uniform(size=(max(100, int(4e5 / n**2.2)), n, n))
    games = before + 1e-4 * rng.uniform(-1.0, 1.0, size=before.shape)
    few, start = games[: max(3, 200 // n)], solve_matrix_games(before).basis
    works = [
        kernel(games, None),
        kernel(games, start),
        lambda: solve_matrix_games(games),
        lambda: quantecon_values(games),
    ]
    cold, warm, public, quantecon = (seconds / len(games) for seconds in cpu_seconds(works, repeats))
    scipy = cpu_seconds([lambda: scipy_values(few)], max(1, repeats // 5))[0] / len(few)
    answers = [solve_matrix_games(games), solve_matrix_games(games, start=start)]
    expected = quantecon_values(games)
    return {
        "n": n,
        "games": len(games),
        "microseconds": 1e6 * cold,
        "warm_microseconds": 1e6 * warm,
        "public_microseconds": 1e6 * public,
        "quantecon_microseconds": 1e6 * quantecon,
        "scipy_microseconds": 1e6 * scipy,
        "times_quantecon": quantecon / cold,
        "warm_times_quantecon": quantecon / warm,
        "public_times_quantecon": quantecon / public,
        "times_scipy": scipy / public,
        "bases_kept": float((answers[1].basis == start).all(axis=1).mean()),
        "largest_relative_gap": max(largest_relative_gap(games, answer) for answer in answers),
        "largest_difference_from_quantecon": max(float(np.abs(a.values - expected).max()) for a in answers),
    }


def largest_relative_gap(games: Games, answer: MatrixGameSolutions) -> float:
    above = np.einsum("kab,kb->ka", games, answer.nu).max(axis=1)
    below = np.einsum("kab,ka->kb", games, answer.mu).min(axis=1)
    return float(((above - below) / np.ptp(games, axis=(1, 2))).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 17, 20, 25, 32, 33, 50]
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warm_up = np.random.default_rng(1).uniform(size=(1, 3, 3))
    compiled = {
        "compile_or_load_seconds": compile_seconds(lambda: solve_matrix_games(warm_up)),
        "quantecon_compile_or_load_seconds": compile_seconds(lambda: quantecon_values(warm_up)),
    }
    print(f"compile, or load from numba's cache: ours {compiled['compile_or_load_seconds']:.2f} s, ", end="")
    print(f"quantecon {compiled['quantecon_compile_or_load_seconds']:.2f} s")
    print("microseconds a game, and how many times faster than quantecon (q) and scipy (s)")
    print(f"{'n':>4} {'cold':>8} {'warm':>8} {'public':>8} {'quantecon':>10} {'scipy':>8}", end=" ")
    print(f"{'cold/q':>7} {'warm/q':>7} {'public/q':>8} {'public/s':>8} {'rel. gap':>9}")
    rows: list[dict[str, float]] = []
    for n in options.sizes:
        row = measure(n, options.repeats)
        rows.append(row | compiled)
        print(
            f"{n:4} {row['microseconds']:8.3f} {row['warm_microseconds']:8.3f} {row['public_microseconds']:8.3f} "
            f"{row['quantecon_microseconds']:10.3f} {row['scipy_microseconds']:8.0f} {row['times_quantecon']:7.2f} "
            f"{row['warm_times_quantecon']:7.2f} {row['public_times_quantecon']:8.2f} {row['times_scipy']:8.0f} "
            f"{row['largest_relative_gap']:9.1e}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
