"""Hoffman-Karp policy iteration: one player improves, the other responds best.

    mu_k  greedy for V_k,        V_{k+1} = min_nu v^{mu_k, nu}

(Hoffman, Karp, On nonterminating stochastic games, Management Science 12, 1966). V_{k+1} is the fixed point of T_mu,
the optimal value of the decision problem that mu_k leaves to player_1; it is found to a small fraction of |T V - V|.
Since T_mu V_k = T V_k and T_mu <= T, from k = 1 on V_k <= T V_k <= V_{k+1} <= v* up to that fraction: the values rise
to v*, at least as fast as those of Shapley iteration. In turn-based games the number of iterations is strongly
polynomial for fixed gamma (Hansen, Miltersen, Zwick, Journal of the ACM 60, 2013). From the other side, with nu_k
greedy and player_0 responding, the values fall to v*.
"""

from collections.abc import Iterator
from functools import partial

from numpy.typing import ArrayLike

from ...models import MarkovGame
from ..dynamic_programming import policy_iteration, value_iteration
from ..solution import FloatArray, Solution
from .best_responses import remaining_problem
from .operators import require_player
from .planning import Pair, plan
from .sweeps import GameBackup, GameSweeps

# A response is found to this fraction of the step that led to it.
EXACTNESS = 1e-3


def hoffman_karp(
    game: MarkovGame,
    tol: float = 1e-8,
    *,
    player: int = 0,
    max_iterations: int = 10_000,
    start: ArrayLike | None = None,
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by Hoffman-Karp policy iteration.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        player: Who improves, 0 or 1; the other responds.
        max_iterations: Largest number of improvements, at least 1.
        start: V_0 (S,). None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each improvement: the gap it promises.

    Raises:
        ValueError: A bad player, tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    return plan(game, partial(hoffman_karp_iterates, player=require_player(player)), tol, max_iterations, start)


def hoffman_karp_iterates(sweeps: GameSweeps, v: FloatArray, *, player: int) -> Iterator[GameBackup]:
    """T applied to V_0, V_1, ..."""
    while True:
        backup = sweeps.backup(v)
        yield backup
        v = _answered(sweeps, backup, player)


def _answered(sweeps: GameSweeps, backup: GameBackup, player: int) -> FloatArray:
    """The value (S,) of the player's greedy policy against a best response."""
    sign = 1.0 if player else -1.0
    problem = remaining_problem(sweeps.game, player, backup.nu if player else backup.mu, sign)
    tol = max(EXACTNESS * backup.residual, 1e-300)
    sweeps.count(exact=1)
    if sweeps.game.gamma == 1.0:
        return sign * policy_iteration(problem, tol).value
    return sign * value_iteration(problem, tol, start=sign * backup.value).value
