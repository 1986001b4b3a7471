"""Certificates of zero-sum Markov games: what each player's policy guarantees.

Let v be any value (zero in terminal states), (mu, nu) any pair of policies, and xi a bound on expected numbers of
discounted steps: a function with xi >= 1 + gamma P_ab xi for every pair of actions. T_mu is monotone, and
T_mu(v - c xi) >= T_mu v - c (xi - 1) for c >= 0, so with c = max(0, max(v - T_mu v)) the function v - c xi lies
below its image under T_mu, hence below the value that mu guarantees against every opponent. Likewise above for nu:

    v - max(0, max(v - T_mu v)) xi  <=  v^{mu, best}  <=  v*  <=  v^{best, nu}  <=  v + max(0, max(T^nu v - v)) xi.

With gamma < 1, xi = 1 / (1 - gamma): the bounds of MacQueen (Journal of Mathematical Analysis and Applications 14,
1966), read for the two one-player problems that the pair leaves. With gamma = 1, xi is the longest expected
play, the optimal value of the decision problem in which both players together prolong the game; it is finite
exactly where every pair of policies terminates, which is demanded.

The bounds hold in exact arithmetic for the game as stored: rounding is bounded a priori and pushed outwards.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ...models import MarkovGame
from ..bellman import UNIT_ROUNDOFF, DecisionRows, best_rows, rounding_error, row_values
from ..certificates import OUTWARDS, steps_bound, widened
from ..howard import UnboundedRewardError, choice_towards, howard
from ..policies import require_value
from ..solution import Certificate, FloatArray
from .operators import available, guarantees, require_policy


@dataclass(frozen=True, eq=False)
class Play:
    """How long a game can last, and how exactly its operators are computed.

    Attributes:
        rows: Every pair of actions in play as one row of a decision problem.
        steps: xi (S,): bounds on expected discounted steps, 0 in terminal states.
    """

    rows: DecisionRows
    steps: FloatArray

    @property
    def longest(self) -> float:
        """Largest entry of xi, between 1 and 1e300."""
        return min(max(1.0, float(self.steps.max())), 1e300)

    @cached_property
    def _most_pairs(self) -> int:
        return int(np.diff(self.rows.first).max())

    def error(self, v: FloatArray) -> float:
        """Bound on the rounding error of T_mu v and T^nu v."""
        return rounding_error(self.rows, v) + (self._most_pairs + 4) * UNIT_ROUNDOFF * self._size(v)

    def defect(self, policy: FloatArray, v: FloatArray) -> float:
        """Bound on what normalising a policy exactly would change in T_mu v or T^nu v."""
        sums = policy.sum(axis=1)
        return (float(np.abs(sums - 1.0).max()) + policy.shape[1] * UNIT_ROUNDOFF) * self._size(v)

    def _size(self, v: FloatArray) -> float:
        """Bound on action values of v."""
        return self.rows.reward_size + self.rows.gamma * self.rows.mass[1] * float(np.abs(v).max())


def analyse_play(game: MarkovGame) -> Play:
    """The bounds that all certificates of a game share.

    Raises:
        ValueError: gamma = 1 and some pair of policies need never terminate; the message names a state.
    """
    rows = joint_rows(game)
    if game.gamma == 1.0:
        return Play(rows, longest_play(rows, "game"))
    steps = steps_bound(game.gamma * rows.mass[1])
    return Play(rows, np.where(game.terminal, 0.0, steps))


def joint_rows(game: MarkovGame) -> DecisionRows:
    """The decision problem in which one player chooses both actions; pairs outside the action sets are left out."""
    first_row = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(game.n_actions_0 * game.n_actions_1)])
    rows = DecisionRows(game.P_rows, game.r.reshape(-1), first_row, game.gamma, game.terminal)
    if not game.is_ragged:
        return rows
    inside = available(game, 0)[:, :, None] & available(game, 1)[:, None, :]
    live = np.flatnonzero(inside.reshape(-1))
    return replace(rows, P=rows.P[live], r=rows.r[live])


def certify_game(game: MarkovGame, value: ArrayLike, mu: ArrayLike, nu: ArrayLike) -> Certificate:
    """Bounds on the Nash value that a pair of policies attains.

    Args:
        game: The game.
        value: Any value (S,); the closer to v*, the narrower the bounds.
        mu: A policy of player_0 (S, A).
        nu: A policy of player_1 (S, B).

    Returns:
        lower, which mu guarantees to player_0, and upper, which nu guarantees to player_1; value lies between.

    Raises:
        ValueError: Naming the entry of value, mu or nu at fault; gamma = 1 and play that need not terminate.
    """
    v = require_value("value", value, game.n_states)
    return certify_pair(game, analyse_play(game), v, require_policy(game, 0, mu), require_policy(game, 1, nu))


def certify_pair(game: MarkovGame, play: Play, value: FloatArray, mu: FloatArray, nu: FloatArray) -> Certificate:
    """:func:`certify_game` for checked arguments, with the analysis of the game at hand."""
    live = ~game.terminal
    v = np.where(live, value, 0.0)
    below, above = guarantees(game, mu, nu, v)
    low, _ = widened(np.append(0.0, (below - v)[live]), play.error(v) + play.defect(mu, v))
    _, high = widened(np.append(0.0, (above - v)[live]), play.error(v) + play.defect(nu, v))
    lower = np.where(live, np.nextafter(v + low * play.steps * OUTWARDS, -np.inf), 0.0)
    upper = np.where(live, np.nextafter(v + high * play.steps * OUTWARDS, np.inf), 0.0)
    return Certificate(np.minimum(lower, value), np.maximum(upper, value))


def longest_play(rows: DecisionRows, name: str) -> FloatArray:
    """xi (S,) with xi >= 1 + P xi on all rows of states in play: the optimal value of staying in play, verified.

    If 1 + max P y - y <= e < 1, then xi = y / (1 - e) is one.

    Args:
        rows: The rows, gamma = 1.
        name: What to call them in errors.

    Raises:
        ValueError: Some policy need never terminate; the message names a state.
    """
    live = ~rows.terminal
    counting = rows.with_rewards(live[rows.owner].astype(np.float64))
    choice = choice_towards(rows, rows.terminal, np.ones(rows.r.size, dtype=np.bool_))
    if (choice < 0).any():
        raise _endless(name, int(np.argmax(choice < 0)))
    y = np.zeros(rows.n_states)
    try:
        for evaluated in howard(counting, choice, y, 0.01):
            y = np.where(live, evaluated.value, 0.0)
    except UnboundedRewardError as error:
        raise _endless(name, error.state) from None
    longer, _ = best_rows(counting, row_values(counting, y))
    _, excess = widened(longer - y, rounding_error(counting, y))
    if not excess < 1.0:
        raise _endless(name, int(np.argmax(longer - y)))
    return np.where(live, y * OUTWARDS / (1.0 - excess), 0.0)


def _endless(name: str, state: int) -> ValueError:
    return ValueError(
        f"{name} has gamma = 1, but play around state {state} need not end: some actions keep it from terminal states "
        "for ever; name the terminal states, or use gamma < 1"
    )
