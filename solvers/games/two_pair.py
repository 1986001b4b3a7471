"""Bertsekas's two-pair policy iteration, for games that naive policy iteration cannot solve.

One player moves first, the other answers knowing the move: with simultaneous moves player_1 announces a mixed action u,
a distribution over its actions. With a scale beta > 1 such that gamma beta < 1 the value splits into two,

    J2*(s, u) = max_a sum_b [r(s, a, b) + gamma beta sum_s' P(s' | s, a, b) J1*(s')] u(b),
    J1*(s) = min_u J2*(s, u) / beta,        v* = beta J1*,

and each player keeps a pair of estimates: V1 and J1 of J1*, V2 and J2 of J2*, of which V is set by policy improvement
only, J by improvement and evaluation. Everyone evaluates their own policy on the safer of the other's pair:

    (a)  J1(s) <- max(V2, J2)(s, nu(s)) / beta                     player_1's policy nu, evaluated
    (b)  J1(s) = V1(s) <- min_u max(V2, J2)(s, u) / beta,          nu(s) <- the minimiser
    (c)  J2(s, u) <- sum_b q(s, mu(s), b) u(b),                    q = r + gamma beta P min(V1, J1)
    (d)  J2(s, u) = V2(s, u) <- max_a sum_b q(s, a, b) u(b),       mu(s) <- player_0's optimal policy in the game q(s)

Only J follows the policies, and min(V1, J1), max(V2, J2) keep a bad policy from leading astray: any order converges in
which each step recurs (Bertsekas, arXiv:2107.10406; Abstract Dynamic Programming, 3rd ed., section 5.5). Here (d) and
(b) alternate, with evaluations (a), (c) after each. V2(s, .) is kept as the payoffs q(s) of (d). Since mu(s) does not
depend on u, J2(s, .) is linear, and (b) is a matrix game: q(s) with J2(s, .) as one more row.

*The price of the safeguard.* In turns over all states at once the method is Shapley iteration, whatever the number of
evaluations. For suppose v = beta V1 <= beta J1 at (d), so q = Q_v. Later min(V1, J1) <= V1, so J2(s, nu) <= mu Q_v nu,
which is at most T v(s) where nu is optimal in q(s): the row J2 adds nothing to the value of (b), beta V1 <- T v. And
after (b) every (a) gives beta J1 >= max_a (q nu)(a) >= T v = beta V1, so that (d) comes upon the next v = T v. What
the method offers is asynchronism: players and states may be processed in any order, by different machines.
"""

from collections.abc import Iterator
from functools import partial
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from ...models import MarkovGame
from ...models._checks import frozen, whole_number
from ..matrix_games import solve_checked
from ..solution import FloatArray, Solution
from .best_responses import mixing_matrix
from .operators import available, joint_action_values
from .planning import Pair, plan, require_game
from .sweeps import GameBackup, GameSweeps

# The policies are evaluated so many times after each improvement.
EVALUATIONS = 5


def two_pair_policy_iteration(
    game: MarkovGame,
    tol: float = 1e-8,
    *,
    evaluations: int = EVALUATIONS,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by Bertsekas's two-pair policy iteration, with beta = gamma^(-1/2).

    Args:
        game: The game, with gamma < 1.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        evaluations: Evaluations of both policies after each improvement, at least 0.
        max_iterations: Largest number of improvements, at least 1.
        start: beta V1 = beta J1 (S,) at the start. None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each improvement: the gap it promises.

    Raises:
        ValueError: gamma is 0 or 1; a bad tol, evaluations, max_iterations or start.
    """
    if require_game(game).gamma in (0.0, 1.0):
        raise ValueError(f"game has gamma = {game.gamma}; two-pair policy iteration needs 0 < gamma < 1")
    algorithm = partial(two_pair_iterates, evaluations=whole_number("evaluations", evaluations, 0))
    return plan(game, algorithm, tol, max_iterations, start)


def two_pair_iterates(sweeps: GameSweeps, v: FloatArray, *, evaluations: int) -> Iterator[GameBackup]:
    """T applied to beta min(V1, J1), once for each improvement (d)."""
    beta = sweeps.game.gamma**-0.5
    improved = evaluated = v / beta
    nu: FloatArray | None = None
    while True:
        backup = sweeps.backup(beta * np.minimum(improved, evaluated))
        yield backup
        second = _SecondPair(sweeps, backup)
        if nu is not None:
            _alternate(second, beta, nu, improved, evaluated, evaluations)
        paid, nu = second.minimised()
        improved = paid / beta
        evaluated = _alternate(second, beta, nu, improved, improved, evaluations)


def _alternate(
    second: "_SecondPair", beta: float, nu: FloatArray, improved: FloatArray, evaluated: FloatArray, evaluations: int
) -> FloatArray:
    """J1 after steps (a) and (c), so many times, from V1 and J1."""
    for _ in range(evaluations):
        evaluated = second.at(nu) / beta
        second.evaluate(beta * np.minimum(improved, evaluated))
    return evaluated


@final
class _SecondPair:
    """V2 and J2 as functions of player_1's mixed action u: the greatest row of q(s) u, and one more row of payoffs.

    Args:
        sweeps: The game's operators.
        backup: The improvement (d) at some v: q = Q_v, and mu is optimal in it.
    """

    def __init__(self, sweeps: GameSweeps, backup: GameBackup) -> None:
        game = sweeps.game
        self._sweeps, self._game = sweeps, game
        self._payoffs = joint_action_values(game, backup.v)
        self._row = (backup.mu[:, None, :] @ self._payoffs)[:, 0, :]
        mix = mixing_matrix(game, 0, backup.mu)
        self._P, self._r = mix @ game.P_rows, mix @ game.r.reshape(-1)

    def at(self, u: FloatArray) -> FloatArray:
        """max(V2, J2)(s, u(s)), (S,)."""
        self._sweeps.count(evaluations=1)
        paid = (self._payoffs @ u[:, :, None])[:, :, 0]
        if self._game.is_ragged:
            paid = np.where(available(self._game, 0), paid, -np.inf)
        return np.maximum(paid.max(axis=1), (self._row * u).sum(axis=1))

    def evaluate(self, v: FloatArray) -> None:
        """Step (c), with gamma beta min(V1, J1) = gamma v."""
        self._sweeps.count(evaluations=1)
        self._row = (self._r + self._game.gamma * (self._P @ v)).reshape(self._row.shape)

    def minimised(self) -> tuple[FloatArray, FloatArray]:
        """min_u max(V2, J2)(s, u), (S,), and the minimisers (S, B)."""
        games = np.concatenate([self._payoffs, np.zeros_like(self._payoffs[:, :1])], axis=1)
        games[np.arange(len(games)), self._game.n_actions_0] = self._row
        solved = solve_checked(games, frozen(self._game.n_actions_0 + 1), self._game.n_actions_1)
        self._sweeps.count(matrix_games=len(games), mixed_games=solved.n_mixed)
        return solved.values, solved.nu
