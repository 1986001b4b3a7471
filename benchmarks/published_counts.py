"""How many iterations planners of zero-sum Markov games take, beside published counts.

Badger, Huang and Petrik (arXiv:2508.06661) count iterations on random games: 20 to 100 states, numbers of actions drawn
from {1, 2, 3, 5, 10} in every state for either player, rewards uniform in [-10, 10], next states a fifth of all
states, with normalised exponential weights; from v = 0 until the residual |T v - v| is at most 1e-3, the last v
included. Here such games are drawn anew, and the iterates of each method counted. Their row of lookahead policy
iteration, 12 and 107, is said to be made with H = 10 and m = 100; it is what H = 2 and m = 4 give.

    python benchmarks/published_counts.py [--json FILE] [--games 20]
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp

from lookahead_rl.models import MarkovGame
from lookahead_rl.solvers.games.filar_tolwinski import filar_tolwinski_iterates
from lookahead_rl.solvers.games.hoffman_karp import hoffman_karp_iterates
from lookahead_rl.solvers.games.lookahead import lookahead_iterates
from lookahead_rl.solvers.games.residual_conditioned import residual_conditioned_iterates
from lookahead_rl.solvers.games.safeguarded import safeguarded_iterates
from lookahead_rl.solvers.games.shapley import shapley_iterates
from lookahead_rl.solvers.games.sweeps import GameBackup, GameSweeps

RESIDUAL = 1e-3
MOST = 20_000

Iterates = Callable[..., Iterator[GameBackup]]

METHODS: dict[str, tuple[Iterates, tuple[int | None, int | None]]] = {
    "Shapley": (shapley_iterates, (62, 636)),
    "naive PI": (partial(lookahead_iterates, lookahead=1, rollout=math.inf), (4, 4)),
    "Hoffman-Karp": (partial(hoffman_karp_iterates, player=0), (6, 7)),
    "Filar-Tolwinski": (filar_tolwinski_iterates, (None, None)),
    "residual-conditioned PI": (partial(residual_conditioned_iterates, repair=False), (4, 4)),
    "lookahead PI, H = 2, m = 4": (partial(lookahead_iterates, lookahead=2, rollout=4), (12, 107)),
    "lookahead PI, H = 10, m = 100": (partial(lookahead_iterates, lookahead=10, rollout=100), (12, 107)),
    "solve_game": (safeguarded_iterates, (None, None)),
}
"""Each method's iterates, and the published counts for gamma 0.9 and 0.99."""


def random_game(rng: np.random.Generator, gamma: float) -> MarkovGame:
    n_states = int(rng.integers(20, 101))
    counts_0, counts_1 = rng.choice([1, 2, 3, 5, 10], (2, n_states))
    live = (np.arange(10) < counts_0[:, None])[:, :, None] & (np.arange(10) < counts_1[:, None])[:, None, :]
    n_rows, support = n_states * 100, max(1, n_states // 5)
    columns = np.argsort(rng.random((n_rows, n_states)), axis=1)[:, :support]
    weights = rng.exponential(size=(n_rows, support))
    weights *= live.reshape(-1, 1) / weights.sum(axis=1, keepdims=True)
    P = sp.csr_array((weights.ravel(), columns.ravel(), np.arange(0, n_rows * support + 1, support)))
    P.resize((n_rows, n_states))
    P.eliminate_zeros()
    r = rng.uniform(-10, 10, (n_states, 10, 10)) * live
    return MarkovGame(P, r, gamma, np.full(n_states, 1 / n_states), counts_0, counts_1)


def count(game: MarkovGame, iterates: Iterates) -> int:
    """Number of iterates from v = 0 to the first of small residual."""
    for number, backup in enumerate(iterates(GameSweeps(game), np.zeros(game.n_states)), start=1):
        if backup.residual <= RESIDUAL or number >= MOST:
            return number
    return MOST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--games", type=int, default=20)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for which, gamma in enumerate((0.9, 0.99)):
        games = [random_game(np.random.default_rng([which, k]), gamma) for k in range(options.games)]
        print(f"\ngamma {gamma}, {options.games} games\n{'method':32} {'median':>7} {'range':>12} {'published':>10}")
        for method, (iterates, published) in METHODS.items():
            counts = [count(game, iterates) for game in games]
            row = {"gamma": gamma, "method": method, "median": median(counts), "published": published[which]}
            rows.append(row | {"least": min(counts), "most": max(counts)})
            shown = "" if published[which] is None else published[which]
            print(f"{method:32} {median(counts):7} {min(counts):5} to {max(counts):3} {shown!s:>10}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
