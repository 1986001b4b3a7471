"""Best responses in zero-sum Markov games, and how far a pair of policies is from equilibrium.

A policy mu of player_0 leaves player_1 a decision problem, with rewards and transitions averaged over mu,

    r_mu(s, b) = sum_a mu(a | s) r(s, a, b),        P_mu(s' | s, b) = sum_a mu(a | s) P(s' | s, a, b),

and the same the other way round. Its optimal value is what mu guarantees. The distance from equilibrium is

    NashConv(mu, nu) = max_mu' v^{mu', nu} - min_nu' v^{mu, nu'}  >=  0,

zero in every state exactly at a Nash equilibrium (Lanctot et al., NeurIPS 2017). The value v^{mu, nu} lies between the
two terms, which enclose the Nash value as well. All three are computed by exact methods for decision problems
and come with certified bounds.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ...models import MarkovGame, TabularMDP
from ...models.summaries import Summarised
from ..dynamic_programming import evaluate_policy, policy_iteration
from ..solution import Certificate, FloatArray, IntArray, Solution
from .operators import action_counts, available, require_player, require_policy


@dataclass(frozen=True, eq=False, repr=False)
class NashGap(Summarised):
    """How far a pair of policies is from equilibrium, state by state.

    Attributes:
        value: v^{mu, nu} (S,), paid to player_0.
        best_response_0: Best response of player_0 to nu; its value (S,) is max_mu' v^{mu', nu}.
        best_response_1: Best response of player_1 to mu; its value (S,) is min_nu' v^{mu, nu'}.
    """

    shown: ClassVar[tuple[str, ...]] = ("largest",)

    value: FloatArray
    best_response_0: Solution[IntArray]
    best_response_1: Solution[IntArray]

    @property
    def nash_conv(self) -> FloatArray:
        """NashConv (S,): the sum of what the two players could gain by deviating alone, never below zero."""
        return np.maximum(0.0, self.best_response_0.value - self.best_response_1.value)

    @property
    def certificate(self) -> Certificate:
        """Bounds (S,) on NashConv; the lower one is never below zero."""
        best_0, best_1 = self.best_response_0.certificate, self.best_response_1.certificate
        lower = np.maximum(0.0, np.nextafter(best_0.lower - best_1.upper, -np.inf))
        return Certificate(lower, np.nextafter(best_0.upper - best_1.lower, np.inf))

    @property
    def largest(self) -> float:
        """Largest NashConv over the states."""
        return float(self.nash_conv.max())


def nash_gap(game: MarkovGame, mu: ArrayLike, nu: ArrayLike, tol: float = 1e-8) -> NashGap:
    """The distance of a pair of policies from equilibrium.

    Args:
        game: The game.
        mu: Policy of player_0 (S, A).
        nu: Policy of player_1 (S, B).
        tol: Wanted bound on the certified gap of each best response.

    Raises:
        ValueError: Naming the entry of mu or nu at fault; as :func:`best_response`.
    """
    mu, nu = require_policy(game, 0, mu), require_policy(game, 1, nu)
    value = evaluate_policy(fix_policy(game, 0, mu), nu).value
    return NashGap(value, best_response(game, 0, nu, tol), best_response(game, 1, mu, tol))


def best_response(game: MarkovGame, player: int, opponent: ArrayLike, tol: float = 1e-8) -> Solution[IntArray]:
    """Best response of one player to a fixed policy of the other.

    Args:
        game: The game.
        player: Who responds: 0 maximises, 1 minimises.
        opponent: Policy of the other player, (S, B) where player is 0, (S, A) where it is 1.
        tol: Wanted bound on the certified gap.

    Returns:
        policy (S,), actions of the player, and value (S,), what player_0 is paid under them; the certificate bounds
        that value and the optimal one, which is a maximum for player 0 and a minimum for player 1.

    Raises:
        ValueError: A bad player or policy, naming mu[s, a] or nu[s, b]; with gamma = 1, responses that never end.
    """
    responder = require_player(player)
    weights = require_policy(game, 1 - responder, opponent)
    problem = remaining_problem(game, 1 - responder, weights, -1.0 if responder else 1.0)
    solution = policy_iteration(problem, tol)
    # Actions that the player lacks are copies of action 0.
    inside = solution.policy < action_counts(game, responder)
    response = replace(solution, policy=np.where(inside, solution.policy, 0))
    if responder == 0:
        return response
    bounds = Certificate(-solution.certificate.upper, -solution.certificate.lower)
    return replace(response, value=-solution.value, certificate=bounds)


def fix_policy(game: MarkovGame, player: int, policy: ArrayLike) -> TabularMDP:
    """The decision problem that remains when one player's policy is fixed.

    Rewards stay what player_0 is paid, so that player_1 minimises. In states where the remaining player has
    fewer actions than elsewhere, the missing ones are copies of action 0.

    Args:
        game: The game.
        player: Whose policy is fixed, 0 or 1.
        policy: Its action probabilities, (S, A) for player 0, (S, B) for player 1.

    Raises:
        ValueError: A bad player or policy, naming mu[s, a] or nu[s, b].
    """
    return remaining_problem(game, player, require_policy(game, player, policy), 1.0)


def remaining_problem(game: MarkovGame, player: int, weights: FloatArray, sign: float) -> TabularMDP:
    """What remains of the game when ``player`` plays ``weights``, with rewards times ``sign``."""
    mix = mixing_matrix(game, player, weights)
    n_actions = game.r.shape[2 - player]
    r = sign * (mix @ game.r.reshape(-1)).reshape(-1, n_actions)
    rows = mix @ game.P_rows
    P = rows if sp.issparse(rows) else np.asarray(rows).reshape(*r.shape, game.n_states)
    return TabularMDP(P, r, game.gamma, game.rho, game.terminal)


def mixing_matrix(game: MarkovGame, player: int, weights: FloatArray) -> sp.csr_array:
    """CSR matrix that averages rows (s, a, b) over the player's actions, (S * other's actions, S * A * B)."""
    n_fixed, n_others = weights.shape[1], game.r.shape[2 - player]
    pairs = np.arange(game.r.size, dtype=np.int64).reshape(game.r.shape)
    data = np.repeat(weights, n_others, axis=0).reshape(-1)
    indptr = np.arange(0, pairs.size + 1, n_fixed, dtype=np.int64)
    shape = (game.n_states * n_others, pairs.size)
    mix = sp.csr_array((data, np.moveaxis(pairs, 1 + player, 2).reshape(-1), indptr), shape=shape)
    mix.eliminate_zeros()
    if not game.is_ragged:
        return mix
    rows = np.arange(shape[0], dtype=np.int64).reshape(-1, n_others)
    return mix[np.where(available(game, 1 - player), rows, rows[:, :1]).reshape(-1)]
