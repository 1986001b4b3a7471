"""Residual-conditioned policy iteration (Badger, Huang, Petrik, arXiv:2508.06661).

Naive policy iteration, whose step is taken only where it does no less than Shapley iteration would: with the greedy
pair (mu, nu) of V and its exact value w = v^{mu,nu},

    accept  V <- w            if |T w - w| <= gamma |T V - V|,
    else    V <- T V,         or, repairing w,  V <- T^n w  for the least n with |T^{n+1} w - T^n w| <= gamma |T V - V|.

T contracts the residual by gamma in the supremum norm, so every iteration does too, and the method converges on every
game; near v*, where the stage games keep their solutions, it is Newton's method. (With gamma = 1 the residual is
measured in the weighted norm that T contracts, :mod:`.sweeps`.)
"""

import math
from collections.abc import Iterator
from functools import partial

from numpy.typing import ArrayLike

from ...models import MarkovGame
from ...models._checks import flag
from ..solution import FloatArray, Solution
from .planning import Pair, plan
from .sweeps import GameBackup, GameSweeps


def residual_conditioned_policy_iteration(
    game: MarkovGame,
    tol: float = 1e-8,
    *,
    repair: bool = False,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by residual-conditioned policy iteration.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        repair: Whether T is applied to a rejected w until its residual is small enough; otherwise to V, once.
        max_iterations: Largest number of iterations, at least 1.
        start: V_0 (S,). None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each iteration: the gap it promises.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    return plan(game, partial(residual_conditioned_iterates, repair=flag("repair", repair)), tol, max_iterations, start)


def residual_conditioned_iterates(sweeps: GameSweeps, v: FloatArray, *, repair: bool) -> Iterator[GameBackup]:
    """T applied to V_0, V_1, ..."""
    backup = sweeps.backup(v)
    while True:
        yield backup
        bound = sweeps.modulus * sweeps.residual(backup)
        candidate = sweeps.backup(sweeps.evaluate(backup, math.inf))
        if repair:
            candidate = _repaired(sweeps, candidate, bound)
        backup = candidate if sweeps.residual(candidate) <= bound else sweeps.backup(backup.value)


def _repaired(sweeps: GameSweeps, candidate: GameBackup, bound: float) -> GameBackup:
    """T applied until the residual is within the bound, or, where rounding sets the pace, no longer falls."""
    while sweeps.residual(candidate) > bound:
        following = sweeps.backup(candidate.value)
        if sweeps.residual(following) >= sweeps.residual(candidate):
            break
        candidate = following
    return candidate
