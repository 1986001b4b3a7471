"""Shapley iteration: value iteration for zero-sum Markov games.

Repeat v <- T v, where T v(s) is the value of the matrix game Q_v(s) (Shapley, Stochastic Games, PNAS 39, 1953). With
gamma < 1, T is a contraction of modulus gamma in the supremum norm, so

    |T v - v*|  <=  gamma / (1 - gamma) |T v - v|.

Because T is monotone and T(v + c) = T v + gamma c, the span of T v - v contracts too, usually faster, and the
bounds of MacQueen follow from it (:mod:`.planning`): with them far fewer sweeps are needed.

With gamma = 1 every pair of policies must terminate. Then T contracts in the supremum norm weighted by the longest
expected play (:mod:`.certificates`).
"""

from collections.abc import Iterator

from numpy.typing import ArrayLike

from ...models import MarkovGame
from ...models._checks import flag
from ..solution import FloatArray, Solution
from .planning import Pair, plan
from .sweeps import GameBackup, GameSweeps


def shapley_iteration(
    game: MarkovGame,
    tol: float = 1e-8,
    *,
    macqueen: bool = True,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by Shapley iteration.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        macqueen: Whether to stop by MacQueen's bounds; otherwise by the supremum norm, as Shapley did.
        max_iterations: Largest number of sweeps, at least 1.
        start: Value (S,) to start from. None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each sweep: the gap it promises.
        certificate.lower is guaranteed to player_0 by mu, certificate.upper to player_1 by nu.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    return plan(game, shapley_iterates, tol, max_iterations, start, macqueen=flag("macqueen", macqueen))


def shapley_iterates(sweeps: GameSweeps, v: FloatArray) -> Iterator[GameBackup]:
    """v, T v, T^2 v, ..."""
    while True:
        backup = sweeps.backup(v)
        yield backup
        v = backup.value
