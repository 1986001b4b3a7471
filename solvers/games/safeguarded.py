"""Safeguarded lookahead policy iteration: the planner of zero-sum Markov games that one should use.

From V, with T V and its greedy pair (mu, nu) at hand:

    1.  Stop if the bounds of T V - V are within tol of each other.
    2.  Propose X: T_{mu,nu} applied to T V until its changes are nearly the same in all states, then moved by the
        constant towards which they add up. Accept V <- X if |T X - X| <= beta |T V - V|.
    3.  Otherwise V <- T V, as many times in a row as there have been rejections in a row, doubled: 1, 2, 4, ..., 64.

|T V - V| is a seminorm that T contracts by beta < 1 (:mod:`.sweeps`): half the span, with beta = gamma; the
supremum norm where there are terminal states.

*Theorem.* From every start, on every game, after k iterations |T V - V| <= beta^k |T V_0 - V_0|, so the bounds close
and the method stops. It takes at most two sweeps an iteration. *Proof.* An accepted step multiplies |T V - V| by at
most beta, by the test. A Shapley step does so because T contracts the seminorm: for the span, T V - V <= c pointwise
gives T T V <= T(V + c) = T V + gamma c, and likewise from below; for the supremum norms it is the contraction of T.
Each iteration takes one sweep, and a rejected proposal one more, of which there is at most one for each Shapley
step. QED. (The bound is that of Shapley iteration with MacQueen's bounds; seldom is it approached.)

Newton's method (naive policy iteration) is the case of an exact evaluation without the test, and cycles on some games;
residual-conditioned policy iteration (:mod:`.residual_conditioned`) has the test in the supremum norm.
"""

from collections.abc import Iterator

from numpy.typing import ArrayLike

from ...models import MarkovGame
from ..solution import FloatArray, Solution
from .planning import Operators, Pair, plan
from .sweeps import GameBackup

LONGEST_RETREAT = 64


def solve_game(
    game: MarkovGame, tol: float = 1e-8, *, max_iterations: int = 100_000, start: ArrayLike | None = None
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies, by safeguarded lookahead policy iteration.

    The greedy pair of the present value is followed for some steps; where that leads nearer to the optimum than an
    application of the Shapley operator is bound to, it is the next value, and else the operator is applied. It
    converges on every game; the docstring of :mod:`lookahead_rl.solvers.games.safeguarded` proves it.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        max_iterations: Largest number of sweeps that are compared, at least 1.
        start: Value (S,) to start from. None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each sweep: the gap it promises.
        certificate.lower is guaranteed to player_0 by mu, certificate.upper to player_1 by nu.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    return plan(game, safeguarded_iterates, tol, max_iterations, start)


def safeguarded_iterates(operators: Operators, v: FloatArray) -> Iterator[GameBackup]:
    """T applied to V_0, V_1, ...: to accepted proposals and Shapley steps."""
    backup, retreat = operators.backup(v), 1
    yield backup
    while True:
        proposal = operators.backup(operators.propose(backup))
        if operators.distance(proposal) <= operators.modulus * operators.distance(backup):
            backup, retreat = proposal, 1
            yield backup
            continue
        for _ in range(retreat):
            backup = operators.backup(backup.value)
            yield backup
        retreat = min(2 * retreat, LONGEST_RETREAT)
