"""Lookahead policy iteration: generalised policy iteration for zero-sum Markov games (Winnicki, Srikant, 2023).

From V_0, with a lookahead of H steps and a rollout of m steps (Algorithm 1 of arXiv:2303.09716):

    W_k = T^{H-1} V_k
    (mu, nu)  greedy for W_k:  T_{mu,nu} W_k = T W_k
    V_{k+1} = T_{mu,nu}^m W_k,        m = inf:  V_{k+1} = v^{mu,nu}

H = 1 and m = inf is naive policy iteration (Pollatschek, Avi-Itzhak 1969), which may cycle; m = 1 is Shapley iteration.
Lookahead cures the cycling: T_{mu,nu}^m W - v* is T W - v* plus the sum over i = 1, ..., m - 1 of
T_{mu,nu}^{i+1} W - T_{mu,nu}^i W, whose norm is at most gamma^i |T W - W| <= gamma^i (1 + gamma) |W - v*|. Hence

    |V_{k+1} - v*|  <=  c |V_k - v*|,        c = gamma^{H-1} (2 gamma - gamma^m (1 + gamma)) / (1 - gamma),

and the iteration converges from every start if c < 1. The constant is attained (for H = 1 by a decision problem of two
states). It is smaller than that of the paper's Theorem 1,

    c_paper = gamma^{H-1} (2 + gamma^m (1 + gamma)) / (1 - gamma),

which excludes value iteration. Both are sufficient, not necessary: H = 2 to 4 converges on almost all games, and the
method is watched for cycles where c does not forbid them (:mod:`.planning`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Integral

from numpy.typing import ArrayLike

from ...models import MarkovGame
from ...models._checks import discount, whole_number
from ..solution import FloatArray, Solution
from .planning import Operators, Pair, plan
from .sweeps import GameBackup

LONGEST_ROLLOUT = 10**9


@dataclass(frozen=True)
class Contraction:
    """What is proved about a lookahead and a rollout.

    Attributes:
        sharp: c, by which one iteration brings V_k closer to v* at least: convergence is certain if it is below one.
        paper: The constant of Theorem 1 of the source.
        smallest_lookahead: The least H with which c is below one for this rollout.
        smallest_lookahead_paper: The same for the source's constant.
    """

    sharp: float
    paper: float
    smallest_lookahead: int
    smallest_lookahead_paper: int


def contraction(gamma: float, lookahead: int, rollout: float) -> Contraction:
    """The contraction constants of lookahead policy iteration.

    Args:
        gamma: Discount, below 1.
        lookahead: H, at least 1.
        rollout: m, at least 1, or ``math.inf``.

    Raises:
        ValueError: gamma is not in [0, 1), lookahead or rollout below 1.
    """
    gamma, lookahead, rollout = discount(gamma), require_lookahead(lookahead), require_rollout(rollout)
    if gamma == 1.0:
        raise ValueError("gamma is 1; T contracts in the supremum norm only with gamma < 1")
    sharp = (2 * gamma - gamma**rollout * (1 + gamma)) / (1 - gamma)
    paper = (2 + gamma**rollout * (1 + gamma)) / (1 - gamma)
    smallest = [_smallest_lookahead(gamma, factor) for factor in (sharp, paper)]
    scale = gamma ** (lookahead - 1)
    return Contraction(scale * sharp, scale * paper, *smallest)


def _smallest_lookahead(gamma: float, factor: float) -> int:
    """The least H >= 1 with gamma^{H-1} factor < 1."""
    if factor < 1.0:
        return 1
    least = 2 if gamma == 0.0 else max(1, math.floor(math.log(factor) / -math.log(gamma)))
    while gamma ** (least - 1) * factor >= 1.0:
        least += 1
    return least


def lookahead_policy_iteration(
    game: MarkovGame,
    tol: float = 1e-8,
    *,
    lookahead: int = 2,
    rollout: float = 10,
    max_iterations: int = 10_000,
    start: ArrayLike | None = None,
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by lookahead policy iteration (Winnicki, Srikant 2023, Algorithm 1).

    Repeat: apply the Shapley operator H - 1 times, take the policies that are greedy for the result, and follow them
    for m steps. :mod:`lookahead_rl.solvers.games.lookahead` has the equations and what is proved of them.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        lookahead: H, at least 1: applications of T to each iterate, the last of which gives the policies.
        rollout: m, at least 1, or ``math.inf``: steps for which the pair of policies is evaluated.
        max_iterations: Largest number of policies, at least 1.
        start: V_0 (S,). None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each pair of policies: the gap it
        promises. What is proved for H and m: :func:`contraction`. Status.CYCLING says that the iterates recur.

    Raises:
        ValueError: A bad argument, lookahead or rollout below 1 included; gamma = 1 and play that need not terminate.
    """
    algorithm = partial(lookahead_iterates, lookahead=require_lookahead(lookahead), rollout=require_rollout(rollout))
    return plan(game, algorithm, tol, max_iterations, start, may_cycle=rollout > 1)


def naive_policy_iteration(
    game: MarkovGame, tol: float = 1e-8, *, max_iterations: int = 1000, start: ArrayLike | None = None
) -> Solution[Pair]:
    """Naive policy iteration (Pollatschek, Avi-Itzhak, Management Science 15, 1969): Newton's method for T v = v.

    Each pair of greedy policies is evaluated exactly: lookahead policy iteration with H = 1 and m = inf. It is fast
    where it converges, and may cycle for ever (van der Wal, Journal of Optimization Theory and Applications 25, 1978).

    Args:
        game: The game.
        tol: Wanted bound on the certified gap.
        max_iterations: Largest number of policies, at least 1.
        start: V_0 (S,). None: zero.

    Returns:
        As :func:`lookahead_policy_iteration`; Status.CYCLING says that the iterates recur.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    algorithm = partial(lookahead_iterates, lookahead=1, rollout=math.inf)
    return plan(game, algorithm, tol, max_iterations, start, may_cycle=True)


def lookahead_iterates(operators: Operators, v: FloatArray, *, lookahead: int, rollout: float) -> Iterator[GameBackup]:
    """T applied to W_k = T^{H-1} V_k, for k = 0, 1, ..."""
    while True:
        for _ in range(lookahead - 1):
            v = operators.backup(v).value
        backup = operators.backup(v)
        yield backup
        v = operators.evaluate(backup, rollout)


def require_lookahead(lookahead: int) -> int:
    """H as an int of at least 1.

    Raises:
        ValueError: It is none.
    """
    return whole_number("lookahead", lookahead, 1)


def require_rollout(rollout: float) -> float:
    """m as a number of at least 1, or infinity.

    Raises:
        ValueError: It is neither.
    """
    if rollout == math.inf:
        return math.inf
    if isinstance(rollout, bool) or not isinstance(rollout, Integral) or not 1 <= rollout <= LONGEST_ROLLOUT:
        raise ValueError(f"rollout is {rollout!r}; pass an integer from 1 to {LONGEST_ROLLOUT:,}, or math.inf")
    return int(rollout)
