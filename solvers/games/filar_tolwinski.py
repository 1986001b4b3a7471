"""The algorithm of Filar and Tolwinski: naive policy iteration with a line search.

The squared Bellman residual psi(V) = |T V - V|_2^2 is differentiable where the stage games have unique solutions. The
Newton direction d = v^{mu,nu} - V of the greedy pair is one of descent: d' grad psi = -2 psi(V), because
(I - gamma P_{mu,nu}) d = T V - V. The step along d is the first of 1, 1/2, 1/4, ... with

    psi(V + step d)  <=  psi(V) + delta step d' grad psi(V)

(Armijo's rule; Filar, Tolwinski, On the algorithm of Pollatschek and Avi-Itzhak, in Stochastic Games and Related
Topics, 1991). The claim that this always converges is false: at a kink of psi, where stage games have several
solutions, d need not descend, and no step is accepted (Badger, Huang, Petrik, arXiv:2508.06661, example 4.1). The
solver then ends with ``Status.STALLED``.
"""

import math
from collections.abc import Iterator

from numpy.typing import ArrayLike

from ...models import MarkovGame
from ..solution import FloatArray, Solution
from .planning import Pair, plan
from .sweeps import GameBackup, GameSweeps

DELTA = 1e-3
HALVINGS = 40


def filar_tolwinski(
    game: MarkovGame, tol: float = 1e-8, *, max_iterations: int = 10_000, start: ArrayLike | None = None
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by the algorithm of Filar and Tolwinski.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        max_iterations: Largest number of steps, at least 1.
        start: V_0 (S,). None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each step: the gap it promises.
        Status.STALLED says that the line search failed.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    return plan(game, filar_tolwinski_iterates, tol, max_iterations, start)


def filar_tolwinski_iterates(sweeps: GameSweeps, v: FloatArray) -> Iterator[GameBackup]:
    """T applied to V_0, V_1, ..., until the line search fails."""
    backup: GameBackup | None = sweeps.backup(v)
    while backup is not None:
        yield backup
        backup = _searched(sweeps, backup)


def _searched(sweeps: GameSweeps, backup: GameBackup) -> GameBackup | None:
    """T applied to the first acceptable point along the Newton direction, or None where there is none."""
    direction = sweeps.evaluate(backup, math.inf) - backup.v
    psi, step = _squared_residual(backup), 1.0
    for _ in range(HALVINGS):
        trial = sweeps.backup(backup.v + step * direction)
        if _squared_residual(trial) <= (1.0 - 2.0 * DELTA * step) * psi:
            return trial
        step *= 0.5
    return None


def _squared_residual(backup: GameBackup) -> float:
    change = backup.value - backup.v
    return float(change @ change)
