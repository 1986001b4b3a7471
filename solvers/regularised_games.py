"""Entropy-regularised zero-sum matrix games: their saddle points, as smooth functions of the payoffs.

For payoffs Q (A x B) and a temperature tau > 0 the game

    max_mu min_nu  mu Q nu + tau H(mu) - tau H(nu),        H(p) = - sum_i p_i log p_i,

has a single saddle point, in which each policy is the softmax of its payoffs against the other,

    mu ~ exp(Q nu / tau),        nu ~ exp(-mu Q / tau):

the logit equilibrium (McKelvey, Palfrey, Games and Economic Behavior 10, 1995). With LSE(x) = log sum_i exp(x_i),

    upper(nu) = tau LSE(Q nu / tau) - tau H(nu)        lower(mu) = tau H(mu) - tau LSE(-mu Q / tau)

bound its value from both sides, and upper(nu) - lower(mu) = tau KL(mu | softmax(Q nu / tau)) + tau KL(nu |
softmax(-mu Q / tau)) is the duality gap of any pair.

What the gap says. upper is tau-strongly convex relative to negative entropy, and so is -lower, hence
KL(mu | mu*) + KL(nu | nu*) <= gap / tau, and by Pinsker |mu - mu*|_1^2 + |nu - nu*|_1^2 <= 2 gap / tau.

Nearness to the game without entropy. 0 <= H <= log of the number of actions, so the value moves by at most
tau max(log A, log B); and mu* guarantees at least val(Q) - tau (log A + log B), since min_b (mu Q)_b >= lower(mu) -
tau H(mu) and max lower >= val(Q) - tau log B. Likewise for nu*.

Smoothness. |mu* - mu'*|_1 + |nu* - nu'*|_1 <= 2 max |Q - Q'| / tau. *Proof.* Let F_Q(mu, nu) = (tau log mu - Q nu,
tau log nu + mu Q), which is constant on each player's actions at the saddle point z; let z' be that of Q', and
d = z - z'. Then <F_Q(z) - F_Q(z'), d> = tau (KL(mu|mu') + KL(mu'|mu) + KL(nu|nu') + KL(nu'|nu)), at least
tau (|d_mu|_1^2 + |d_nu|_1^2) by Pinsker; and it equals <F_Q'(z') - F_Q(z'), d>, at most max |Q - Q'| (|d_mu|_1 +
|d_nu|_1). As (x + y)^2 <= 2 (x^2 + y^2), the claim follows. QED.

Method. Newton's method for the minimum of upper in the logits y of nu: with M = Q / tau and
C = M^T (diag mu - mu mu^T) M,

    (I + C (diag nu - nu nu^T)) e = -(y + mu M),        y <- y + t e.

The matrix has no eigenvalue below one, and e is a direction of descent, along which t is halved until upper falls;
small temperatures are approached through larger ones. All games take their steps together. From policies of nearby
games, where a planner has them, two or three steps at the temperature wanted are enough; games that take more than
WARM_STEPS begin anew.
"""

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from ..models._checks import (
    PROBABILITY_TOLERANCE,
    BoolArray,
    ModelError,
    entry,
    first,
    real_array,
    real_number,
    require_shape,
)
from .bellman import UNIT_ROUNDOFF
from .matrix_games import require_games
from .solution import FloatArray, IntArray

RELATIVE_GAP = 1e-10
"""Largest duality gap of an answer, as a fraction of the range of the game's payoffs plus the temperature."""

COLDEST = 1e-7
"""Lowest temperature that float64 payoffs resolve, as a fraction of their range."""

# The first temperature is this fraction of the range; each further one so many times smaller, down to the one wanted.
FIRST_TEMPERATURE = 0.25
COOLING = 2.0
# On the way down a temperature is left when Newton's decrement is below this.
NEAR = 0.1
MOST_STEPS = 2000
# So many steps from a start that was passed, before it is given up.
WARM_STEPS = 12
MOST_HALVINGS = 50
# The least normal number: smaller probabilities of a start count as this.
LEAST = float(np.finfo(np.float64).tiny)


class RegularisedGameSolutions(NamedTuple):
    """Saddle points of N regularised matrix games.

    Attributes:
        values: Values (N,), entropies included, in the unit of the payoffs.
        mu: Policies of the row player, who maximises (N, A); zero outside the action set only, but for underflow.
        nu: Policies of the column player, who minimises (N, B).
        gaps: Duality gaps (N,) evaluated from mu and nu, rounding included: |mu - mu*|_1^2 + |nu - nu*|_1^2 is at most
            2 gap / temperature, and the values are exact to half of the gap (and a rounding of their own size).
    """

    values: FloatArray
    mu: FloatArray
    nu: FloatArray
    gaps: FloatArray


def regularised_matrix_games(
    payoffs: ArrayLike,
    temperature: float,
    n_actions_0: ArrayLike | None = None,
    n_actions_1: ArrayLike | None = None,
    *,
    start: tuple[ArrayLike, ArrayLike] | None = None,
) -> RegularisedGameSolutions:
    """Saddle points of N entropy-regularised zero-sum matrix games.

    Args:
        payoffs: (N, A, B), paid to player_0, the row player, who maximises.
        temperature: tau > 0, in the unit of the payoffs.
        n_actions_0: (N,) number of rows in play, which are the first ones. None: A in every game.
        n_actions_1: (N,) number of columns in play. None: B in every game.
        start: Policies mu (N, A) and nu (N, B) to start from, such as those of games nearby. They make no difference to
            what is guaranteed. None: the method's own start.

    Raises:
        ModelError: Naming the payoff that is not finite, the action count out of bounds, or the entry of start that is
            no probability; a temperature that is not positive and finite, or below COLDEST times the range of a game
            (named).
        ArithmeticError: Naming a game whose answer misses the guarantee RELATIVE_GAP; no answer is returned then.
    """
    games, counts_0, counts_1 = require_games(payoffs, n_actions_0, n_actions_1)
    tau = require_temperature(temperature)
    batch = _Batch.of(games, tau, _live(counts_0, games.shape[1]), _live(counts_1, games.shape[2]))
    _require_warmth(batch, tau)
    y_mu, y_nu = (None, None) if start is None else _start_logits(batch, *start)
    if games.shape[1] < games.shape[2]:  # the unknowns are the logits of the player with fewer actions
        y = _saddle_logits(batch.turned(), y_mu)
        mu = _softmax(y, batch.live_0)
        nu = _softmax(-_left(mu, batch.M), batch.live_1)
    else:
        y = _saddle_logits(batch, y_nu)
        nu = _softmax(y, batch.live_1)
        mu = _softmax(_right(batch.M, nu), batch.live_0)
    return _evaluated(batch, tau, mu, nu)


def require_temperature(temperature: float) -> float:
    """tau as a float.

    Raises:
        ModelError: It is not positive and finite.
    """
    tau = real_number("temperature", temperature)
    if tau <= 0.0:
        raise ModelError(f"temperature is {tau}; pass a positive number, or use solve_matrix_games for temperature 0")
    return tau


def _require_warmth(batch: "_Batch", tau: float) -> None:
    cold = ~(COLDEST * batch.extent <= 1.0)
    if cold.any():
        k = int(np.argmax(cold))
        raise ModelError(
            f"temperature is {tau:.3g}, below {COLDEST:g} of the range {tau * batch.extent[k]:.3g} of payoffs[{k}]; "
            "raise it, or use solve_matrix_games"
        )


class _Batch(NamedTuple):
    """Games in units of the temperature.

    Attributes:
        M: (Q - middle) / tau (N, A, B); zero outside the action sets.
        middle: (N,) middles of the payoffs' ranges.
        extent: (N,) ranges of the payoffs over tau.
        live_0: Mask (N, A) of the rows in play.
        live_1: Mask (N, B) of the columns in play.
    """

    M: FloatArray
    middle: FloatArray
    extent: FloatArray
    live_0: BoolArray
    live_1: BoolArray

    @staticmethod
    def of(games: FloatArray, tau: float, live_0: BoolArray, live_1: BoolArray) -> "_Batch":
        live = live_0[:, :, None] & live_1[:, None, :]
        least = np.where(live, games, np.inf).min(axis=(1, 2))
        most = np.where(live, games, -np.inf).max(axis=(1, 2))
        middle = 0.5 * least + 0.5 * most
        M = np.where(live, (games - middle[:, None, None]) / tau, 0.0)
        return _Batch(M, middle, (most - least) / tau, live_0, live_1)

    def turned(self) -> "_Batch":
        """The same games with the players' roles exchanged."""
        return _Batch(-self.M.transpose(0, 2, 1), -self.middle, self.extent, self.live_1, self.live_0)

    def some(self, k: IntArray) -> "_Batch":
        """The games of these indices."""
        return _Batch(self.M[k], self.middle[k], self.extent[k], self.live_0[k], self.live_1[k])

    def heated(self, cold: FloatArray) -> "_Batch":
        """The same games at the temperatures tau / cold, with ``cold`` (N,) at most one."""
        return self._replace(M=self.M * cold[:, None, None])


def _start_logits(batch: _Batch, mu: ArrayLike, nu: ArrayLike) -> tuple[FloatArray, FloatArray]:
    return _logits("start mu", mu, batch.live_0), _logits("start nu", nu, batch.live_1)


def _logits(name: str, policy: ArrayLike, live: BoolArray) -> FloatArray:
    """Logits (N, B) of a policy to start from; what float64 holds no longer gets the least one it does."""
    law = real_array(name, policy)
    require_shape(name, law, live.shape, "one law for each game")
    bad = ~((law >= 0.0) & (law <= 1.0 + PROBABILITY_TOLERANCE))
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {law[index]:.6g}; pass a probability")
    return np.where(live, np.log(np.maximum(law, LEAST)), 0.0)


def _saddle_logits(batch: _Batch, start: FloatArray | None) -> FloatArray:
    """Logits (N, B) of nu at the saddle points."""
    far = 1.0 / np.maximum(1.0, FIRST_TEMPERATURE * batch.extent)
    y = np.zeros(batch.live_1.shape) if start is None else start
    cold = far.copy() if start is None else np.ones_like(far)
    going = np.arange(len(y))
    for steps in range(MOST_STEPS):
        if start is not None and steps == WARM_STEPS:
            y[going], cold[going] = 0.0, far[going]
        games = batch.some(going).heated(cold[going])
        step, decrement, gap = _newton_step(games, y[going])
        y[going] = _descend(games, y[going], step, decrement)
        # The step just taken squares the distance that is left, so that here it is the last one.
        settled = (cold[going] == 1.0) & (gap <= 64 * UNIT_ROUNDOFF * (1.0 + batch.extent[going]))
        near = going[decrement <= NEAR]
        cold[near] = np.minimum(1.0, COOLING * cold[near])
        going = going[~settled]
        if not going.size:
            break
    return y


def _newton_step(games: _Batch, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The step e (N, B) from logits y, the decrement (N,), minus the slope of ``upper`` along it, and the gap (N,).

    C has entries as large as the square of M's; so e is found together with the change f of mu's logits, from
    f = M (diag nu - nu nu^T) e and e + M^T (diag mu - mu mu^T) f = -residual.
    """
    nu = _softmax(y, games.live_1)
    against_nu = _right(games.M, nu)
    mu = _softmax(against_nu, games.live_0)
    against_mu = _left(mu, games.M)
    residual = np.where(games.live_1, _centred(y + against_mu, nu), 0.0)
    A, B = mu.shape[1], nu.shape[1]
    system = np.broadcast_to(np.eye(A + B), (len(y), A + B, A + B)).copy()
    system[:, :A, A:] = (against_nu[:, :, None] - games.M) * nu[:, None, :]
    system[:, A:, :A] = ((games.M - against_mu[:, None, :]) * mu[:, :, None]).transpose(0, 2, 1)
    right = np.concatenate([np.zeros_like(mu), -residual], axis=1)
    solved = cast("FloatArray", np.linalg.solve(system, right[:, :, None]))
    e = _centred(solved[:, A:, 0], nu)
    gap = _log_sum_exp(_logarithm(y, games.live_1) - residual, games.live_1)
    return e, -(nu * e * residual).sum(axis=1), gap


def _centred(x: FloatArray, nu: FloatArray) -> FloatArray:
    return x - (nu * x).sum(axis=1, keepdims=True)


def _logarithm(y: FloatArray, live: BoolArray) -> FloatArray:
    """log nu of logits y."""
    return y - _log_sum_exp(y, live)[:, None]


def _descend(games: _Batch, y: FloatArray, step: FloatArray, decrement: FloatArray) -> FloatArray:
    """y + t e with the first of t = 1, 1/2, 1/4, ... at which ``upper`` falls enough, game by game."""
    before, slack = _upper(games, y), 8 * UNIT_ROUNDOFF * (1.0 + np.abs(games.M).max(axis=(1, 2)))
    t = np.ones(len(y))
    for _ in range(MOST_HALVINGS):
        after = _upper(games, y + t[:, None] * step)
        high = ~(after <= before - 1e-4 * t * decrement + slack)
        if not high.any():
            break
        t[high] *= 0.5
    return y + t[:, None] * step


def _upper(games: _Batch, y: FloatArray) -> FloatArray:
    """upper(nu) / tau of logits y, (N,)."""
    nu = _softmax(y, games.live_1)
    return _log_sum_exp(_right(games.M, nu), games.live_0) - _entropy(nu)


def _evaluated(batch: _Batch, tau: float, mu: FloatArray, nu: FloatArray) -> RegularisedGameSolutions:
    """Values and gaps from the policies alone."""
    upper = _log_sum_exp(_right(batch.M, nu), batch.live_0) - _entropy(nu)
    lower = _entropy(mu) - _log_sum_exp(-_left(mu, batch.M), batch.live_1)
    terms = mu.shape[1] + nu.shape[1]
    rounding = 4 * (terms + 8) * UNIT_ROUNDOFF * (batch.extent + 2.0 + np.log(terms))
    gaps = np.maximum(upper - lower, 0.0) + rounding
    missed = ~(gaps <= RELATIVE_GAP * (batch.extent + 1.0))
    if missed.any():
        k = int(np.argmax(missed))
        raise ArithmeticError(
            f"payoffs[{k}]: the duality gap {tau * gaps[k]:.3g} misses the guarantee of {RELATIVE_GAP:g} of range plus "
            f"temperature, at a range of {batch.extent[k]:.3g} temperatures; raise temperature"
        )
    return RegularisedGameSolutions(batch.middle + 0.5 * tau * (upper + lower), mu, nu, tau * gaps)


def _live(counts: IntArray, most: int) -> BoolArray:
    return np.arange(most) < counts[:, None]


def _right(M: FloatArray, nu: FloatArray) -> FloatArray:
    return (M @ nu[:, :, None])[:, :, 0]


def _left(mu: FloatArray, M: FloatArray) -> FloatArray:
    return (mu[:, None, :] @ M)[:, 0, :]


def _softmax(x: FloatArray, live: BoolArray) -> FloatArray:
    x = np.where(live, x, -np.inf)
    weights = np.exp(x - x.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _log_sum_exp(x: FloatArray, live: BoolArray) -> FloatArray:
    x = np.where(live, x, -np.inf)
    largest = x.max(axis=1)
    return largest + np.log(np.exp(x - largest[:, None]).sum(axis=1))


def _entropy(p: FloatArray) -> FloatArray:
    return -(p * np.log(np.where(p > 0.0, p, 1.0))).sum(axis=1)
