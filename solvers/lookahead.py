"""The K-sample lookahead operator: draw K actions from a policy and take one of greatest action value.

Let F(a) = pi{b : q(b) <= q(a)} and F-(a) = pi{b : q(b) < q(a)} in a state. The best of K independent draws has
value at most q(a) with probability F(a)^K, so the class c of the actions that tie with a gets

    L_K pi(c) = F(a)^K - F-(a)^K.

Only the order of q matters. The rule for ties decides how a class shares its mass:

    "samples"   every one of the K draws that attain the maximum is equally likely to be taken, so that
                L_K pi(a) = L_K pi(c) pi(a) / pi(c);
    "order"     the action of lowest index is taken, so that every action is a class of its own.

Both compose, L_{K1} L_{K2} pi = L_{K1 K2} pi for the same q, because the distribution function of q under L_K pi is F^K
and, with "samples", the shares within a class stay as they are. (Choosing uniformly among the *distinct* actions that
tie does not compose.) The law is as good for real K >= 1, and L_1 pi = pi.

**Bounds.** L_K pi is the image, under the quantile function of q, of the law with density K u^(K-1) on [0, 1], as pi is
the image of the uniform law. So no f-divergence of L_K pi from pi exceeds that of the two laws on [0, 1] (the
data-processing inequality), which is where :func:`kl_bound`, :func:`total_variation_bound` and
:func:`chi_square_bound` come from. All are approached as the largest atom of pi vanishes. For K > 1 a law with atoms
attains none of them but total variation's, and that where a class ends at the u with K u^(K-1) = 1. For the divergence
log K - (K - 1)/K, often stated as an equality, this is Theorem 3.1 of Beirami et al., Theoretical Guarantees on the
Best-of-n Alignment Policy, ICML 2025 (arXiv 2401.01879), who bound the win rate in section 5; Gui, Garbacea and
Veitch, BoNBoN Alignment, NeurIPS 2024 (arXiv 2406.00832), have both as equalities for continuous laws, where best of
K all but maximises the win rate at its divergence.

**Improvement.** 1 - F^K is nondecreasing and concave in K, hence so is E_{L_K pi} q; :func:`improvement_bound` says by
how much it rises. By the performance difference lemma (Kakade and Langford, ICML 2002) the policy L_K(pi, q^pi) is
worth at least pi in every state; with estimated action values, see :func:`approximation_loss`.

**Numbers.** Everything is computed from logarithms: with p = pi(c) and G the mass above c,

    log L_K pi(c) = K log F + log(1 - (1 - p/F)^K),        log F = log1p(-G) where G < 1/2,

by expm1 and log1p, so that neither K = 10^9 beside p = 1e-300 nor a probability far below the least float costs
digits. A law whose sum misses one by rounding is not renormalised.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models._checks import (
    BoolArray,
    ModelError,
    entry,
    first,
    plain_array,
    real_array,
    real_number,
    require_distributions,
    require_shape,
    require_unit_sums,
    unit_number,
    whole_number,
)
from ..models.generators import as_generator
from .solution import FloatArray, IntArray

Ties = Literal["samples", "order"]
"""Which of the draws that attain the maximum is taken: any, equally likely, or that of lowest index."""

Sampler = Callable[[int, np.random.Generator], NDArray[Any]]
"""``sampler(m, rng)``: m independent actions in each of n states, (n, m, ...)."""

Scorer = Callable[[NDArray[Any]], NDArray[Any]]
"""``scorer(actions)``: the action values (n, m) of actions (n, m, ...)."""

LOG_HALF = -math.log(2.0)

# Below e^-37 < 2^-53, log1p(-x) and expm1(-x) are -x in float64.
LOG_NEGLIGIBLE = -37.0


# ------------------------------------------------------------------------------------------------ the exact operator


def lookahead_policy(pi: ArrayLike, q: ArrayLike, K: float, ties: Ties = "samples") -> FloatArray:
    """The law L_K pi of the best of K draws, in each of n states.

    Args:
        pi: Laws (n, A), each summing to one.
        q: Action values (n, A). Only their order counts; infinite ones are allowed.
        K: Number of draws, any real number >= 1.
        ties: Whether tied draws are equally likely ("samples"), or the lowest index is taken ("order").

    Returns:
        Laws (n, A). Probabilities below 5e-324 are zero: :func:`lookahead_log_policy` keeps them.

    Raises:
        ModelError: Naming the entry of pi or q, or the row of pi, at fault; K below 1; an unknown rule for ties.
    """
    law = require_laws("pi", pi)
    with np.errstate(divide="ignore"):
        log_law = np.log(law)
    return np.exp(best_of_draws(log_law, require_scores(q, law.shape), require_draws(K), require_ties(ties)))


def lookahead_log_policy(log_pi: ArrayLike, q: ArrayLike, K: float, ties: Ties = "samples") -> FloatArray:
    """log L_K pi (n, A) from log pi (n, A): :func:`lookahead_policy` for probabilities of any size.

    Args:
        log_pi: Logarithms of laws; -inf where an action is never drawn.
        q: Action values (n, A), as in :func:`lookahead_policy`.
        K: Number of draws, any real number >= 1.
        ties: As in :func:`lookahead_policy`.

    Raises:
        ModelError: As :func:`lookahead_policy`.
    """
    log_law = _numbers("log_pi", log_pi)
    _require_matrix("log_pi", log_law)
    with np.errstate(over="ignore"):
        require_unit_sums("exp(log_pi)", np.exp(log_law).sum(axis=1))
    return best_of_draws(log_law, require_scores(q, log_law.shape), require_draws(K), require_ties(ties))


def best_of_draws(log_pi: FloatArray, q: FloatArray, K: float, ties: Ties) -> FloatArray:
    """:func:`lookahead_log_policy` for arguments known to be in order.

    Actions are sorted by q, and a class of ties is a run of them; all sums run over flattened runs.
    """
    n_actions = q.shape[1]
    # Ascending, and the lowest index last among ties.
    order = n_actions - 1 - np.argsort(q[:, ::-1], axis=1, kind="stable")
    law = np.take_along_axis(log_pi, order, axis=1)
    opens = _class_starts(np.take_along_axis(q, order, axis=1), ties).ravel()
    start = np.flatnonzero(opens)
    end = np.append(start[1:], opens.size) - 1
    mass = np.logaddexp.reduceat(law.ravel(), start)
    below = _log_sums_before(law).ravel()[start]
    above = _log_sums_before(law[:, ::-1])[:, ::-1].ravel()[end]
    drawn = mass > -np.inf
    factor = np.zeros(start.size)
    factor[drawn] = _log_class_mass(below[drawn], mass[drawn], above[drawn], K) - mass[drawn]
    result = np.empty_like(law)
    np.put_along_axis(result, order, law + factor[np.cumsum(opens) - 1].reshape(law.shape), axis=1)
    return result


def _class_starts(ranked: FloatArray, ties: Ties) -> BoolArray:
    """Where a class of ties begins in sorted action values (n, A)."""
    starts = np.ones(ranked.shape, dtype=np.bool_)
    if ties == "samples":
        starts[:, 1:] = ranked[:, 1:] > ranked[:, :-1]
    return starts


def _log_sums_before(law: FloatArray) -> FloatArray:
    """Logarithms (n, A) of what the entries before each one sum to."""
    sums = np.full(law.shape, -np.inf)
    np.logaddexp.accumulate(law[:, :-1], axis=1, out=sums[:, 1:])
    return sums


def _log_class_mass(below: FloatArray, mass: FloatArray, above: FloatArray, K: float) -> FloatArray:
    """log(F^K - F-^K) from the logarithms of F- = ``below``, p = ``mass`` > 0 and G = ``above``."""
    # Far from one a sum of small terms is exact enough, near one only its distance from one is.
    log_F = np.where(above < LOG_HALF, np.log1p(-np.exp(np.minimum(above, LOG_HALF))), np.logaddexp(below, mass))
    ratio = np.minimum(mass - log_F, 0.0)
    # x = -K log(F- / F); the branches not taken may divide by zero or overflow.
    with np.errstate(divide="ignore", over="ignore"):
        drop = np.where(ratio > LOG_HALF, log_F - below, -np.log1p(-np.exp(np.minimum(ratio, LOG_HALF))))
        log_x = math.log(K) + ratio
        x = np.where(ratio < LOG_NEGLIGIBLE, np.exp(log_x), K * drop)
        chance = np.where(log_x < LOG_NEGLIGIBLE, log_x, np.log(-np.expm1(-x)))
        return K * log_F + chance


# ------------------------------------------------------------------------------------------------ what is guaranteed


def kl_bound(K: float) -> float:
    """Bound log K - (K - 1)/K on KL(L_K pi | pi), in nats; approached as the atoms of pi vanish.

    Raises:
        ModelError: K is below 1.
    """
    draws = require_draws(K)
    return math.log(draws) - (draws - 1.0) / draws


def total_variation_bound(K: float) -> float:
    """Bound K^(-1/(K-1)) (1 - 1/K) on the total variation distance sup |L_K pi - pi|.

    Attained by the law that splits [0, 1] at u = K^(-1/(K-1)), where the density K u^(K-1) is 1.

    Raises:
        ModelError: K is below 1.
    """
    draws = require_draws(K)
    return math.exp(-math.log(draws) / (draws - 1.0)) * (1.0 - 1.0 / draws) if draws > 1.0 else 0.0


def chi_square_bound(K: float) -> float:
    """Bound K^2/(2K - 1) - 1 on sum (L_K pi - pi)^2 / pi; approached as the atoms of pi vanish.

    Raises:
        ModelError: K is below 1.
    """
    draws = require_draws(K)
    return (draws - 1.0) * ((draws - 1.0) / (2.0 * draws - 1.0))


def density_ratio_bound(K: float, F: ArrayLike = 1.0) -> FloatArray:
    """Bound K F^(K-1) on L_K pi(a) / pi(a), where F = pi{q <= q(a)}; approached as the atom of a vanishes.

    With F = 1, the default, the bound K on all ratios.

    Args:
        K: Number of draws, any real number >= 1.
        F: Numbers in [0, 1], of any shape.

    Raises:
        ModelError: K is below 1, or naming the entry of F outside [0, 1].
    """
    draws = require_draws(K)
    return draws * _unit_array("F", F) ** (draws - 1.0)


def win_rate_bound(K: float) -> float:
    """Bound K/(K + 1) on the chance that a draw of L_K pi beats one of pi, ties counting one half.

    Approached as the atoms of pi vanish; attained by every law for K = 1.

    Raises:
        ModelError: K is below 1.
    """
    draws = require_draws(K)
    return draws / (draws + 1.0)


def improvement_bound(value: ArrayLike, best: ArrayLike, p: ArrayLike, K: float) -> FloatArray:
    """Lower bound v + (1 - (1 - p)^(K-1)) (max q - v) on E_{L_K pi} q, where v = E_pi q.

    max q - E_{L_K pi} q is the integral of F(t)^K over t < max q, where F(t) = pi{q <= t} <= 1 - p and so
    F^K <= (1 - p)^(K-1) F. Attained where q takes two values only.

    Args:
        value: v, of any shape.
        best: Greatest action value among those that pi draws, of the same shape.
        p: Probability that pi draws an action of that value.
        K: Number of draws, any real number >= 1.

    Raises:
        ModelError: K is below 1; a shape differs; or naming the entry that is not finite or not a probability.
    """
    more = require_draws(K) - 1.0
    v, top, chance = real_array("value", value), real_array("best", best), _unit_array("p", p)
    require_shape("best", top, v.shape, "the shape of value")
    require_shape("p", chance, v.shape, "the shape of value")
    if more == 0.0:
        return v
    with np.errstate(divide="ignore"):  # p = 1 gains everything
        return v - np.expm1(more * np.log1p(-chance)) * (top - v)


def approximation_loss(eps: float, gamma: float) -> float:
    """Bound 2 eps / (1 - gamma) on how much less than pi the policy L_K(pi, q) can be worth, in any state.

    It holds for every K where |q - q^pi| <= eps on the actions that pi draws: E_{L_K pi} q^pi >= E_{L_K pi} q - eps
    >= E_pi q - eps >= v^pi - 2 eps, so that T_{L_K pi} v^pi >= v^pi - 2 eps. It is approached, as K grows and pi
    concentrates on an action that is underrated by eps, where another is overrated by eps and now just better.

    Raises:
        ModelError: eps is negative or not finite, or gamma is outside [0, 1).
    """
    eps, gamma = real_number("eps", eps), unit_number("gamma", gamma)
    if eps < 0.0:
        raise ModelError(f"eps is {eps}; an error is at least 0")
    if gamma == 1.0:
        raise ModelError("gamma is 1, where the errors of one step add up without bound; pass gamma < 1")
    return 2.0 * eps / (1.0 - gamma)


def compositions_needed(p: float, K: float, delta: float) -> int:
    """Least number n of lookaheads, one upon the other, after which the best actions have mass at least 1 - delta.

    They are one lookahead of K^n draws, so n is the least with (1 - p)^(K^n) <= delta: about
    log_K(log(1/delta) / p), which for a uniform law over N actions, one of them best, is log_K(N log(1/delta)).
    It depends on p and not on N otherwise.

    It is decided for the numbers as float64 stores them, with 420 digits, since the smallest p changes 1 - p from the
    324th on; logarithms that agree to 60 digits count as equal.

    Args:
        p: Mass in (0, 1] of the best actions under the first law.
        K: Number of draws of each lookahead.
        delta: Wanted bound in (0, 1) on the mass elsewhere.

    Raises:
        ModelError: p or delta is out of range, K is below 1, or K is 1 and one draw is not enough.
    """
    p, delta, factor = unit_number("p", p), unit_number("delta", delta), require_draws(K)
    if p == 0.0:
        raise ModelError("p is 0; a lookahead never takes an action that the policy never draws: mix some in first")
    if delta in (0.0, 1.0):
        raise ModelError(f"delta is {delta}; pass a number strictly between 0 and 1")
    with localcontext(prec=420):
        rest = 1 - Decimal(p)
        if rest <= Decimal(delta):
            return 0
        if factor == 1.0:
            raise ModelError("K is 1, and looking ahead with one draw changes nothing; pass K > 1")
        draws = Decimal(delta).ln() / rest.ln()
        n = draws.ln() / Decimal(factor).ln()
        nearest = n.to_integral_value()
        if abs(n - nearest) <= Decimal("1e-60") * max(1, nearest):
            return int(nearest)
        return math.ceil(n)


# ------------------------------------------------------------------------------------------------ the sampled operator


def best_of_k(sampler: Sampler, scorer: Scorer, K: int, rng: np.random.Generator | int) -> NDArray[Any]:
    """One draw of L_K pi in each of n states, for any policy that can be sampled and any action values.

    Ties go to the first of the draws that attain the maximum, which for independent draws has the law of "samples":
    every order of the draws is equally likely.

    Args:
        sampler: ``sampler(K, rng)`` draws K independent actions in each state, (n, K, ...); see :func:`sampler_of`.
        scorer: ``scorer(actions)`` gives their action values (n, K); see :func:`scorer_of`.
        K: Number of draws, a whole number >= 1; n K actions are held at once.
        rng: A seed, or where the randomness comes from.

    Returns:
        Actions (n, ...), of the sampler's dtype.

    Raises:
        ModelError: K is not a whole number >= 1; the sampler did not return K actions a state, or the scorer not one
            number for each; naming the state and draw whose action value is nan; or ``rng`` is neither.
    """
    n_draws = whole_number("K", K, 1)
    actions = plain_array("sampler(K, rng)", sampler(n_draws, as_generator(rng)))
    if actions.ndim < 2 or actions.shape[1] != n_draws:
        raise ModelError(f"sampler(K, rng) returned shape {actions.shape}; expected (n, K, ...) with K = {n_draws}")
    values = _numbers("scorer(actions)", scorer(actions))
    require_shape("scorer(actions)", values, actions.shape[:2], "(n, K)")
    return actions[np.arange(len(actions)), values.argmax(axis=1)]


def sampler_of(pi: ArrayLike) -> Sampler:
    """The sampler of laws (n, A): actions 0, ..., A - 1, drawn by inverting the distribution function.

    Raises:
        ModelError: Naming the entry or the row of pi at fault.
    """
    law = require_laws("pi", pi)
    cumulative = law.cumsum(axis=1)
    # Rounding leaves the sums a little off one; the last action that has mass takes what is missing.
    last = law.shape[1] - 1 - np.argmax(law[:, ::-1] > 0.0, axis=1)

    def sample(m: int, rng: np.random.Generator) -> IntArray:
        u = rng.random((len(law), m))
        drawn = np.empty(u.shape, dtype=np.int64)
        for s, row in enumerate(cumulative):
            drawn[s] = np.searchsorted(row, u[s], side="right")
        return np.minimum(drawn, last[:, None])

    return sample


def scorer_of(q: ArrayLike) -> Scorer:
    """The scorer of action values (n, A) for actions (n, m) among 0, ..., A - 1.

    Raises:
        ModelError: Naming the entry of q that is nan; the scorer: where actions are not such numbers.
    """
    values = _numbers("q", q)
    _require_matrix("q", values)

    def score(actions: NDArray[Any]) -> FloatArray:
        n, A = values.shape
        if actions.ndim != 2 or len(actions) != n or actions.dtype.kind not in "iu":
            raise ModelError(f"actions has dtype {actions.dtype} and shape {actions.shape}; pass integers ({n}, m)")
        bad = (actions < 0) | (actions >= A)
        if bad.any():
            raise ModelError(f"{entry('actions', first(bad))} is {actions[bad][0]}; actions run from 0 to {A - 1}")
        return np.take_along_axis(values, actions, axis=1)

    return score


# ------------------------------------------------------------------------------------------------ checks


def require_draws(K: float, name: str = "K") -> float:
    """K as a float, refusing what is not a finite number >= 1."""
    number = real_number(name, K)
    if number < 1.0:
        raise ModelError(f"{name} is {number}; a lookahead takes the best of at least one draw: pass {name} >= 1")
    return number


def require_ties(ties: str) -> Ties:
    """``ties``, refusing what is not a rule."""
    match ties:
        case "samples" | "order":
            return ties
        case _:
            raise ModelError(f'ties is {ties!r}; pass "samples" or "order"')


def require_scores(q: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Action values of this shape (n, A), without nan."""
    values = _numbers("q", q)
    require_shape("q", values, shape, "the shape of the policy")
    return values


def require_laws(name: str, laws: ArrayLike) -> FloatArray:
    """A float64 copy of laws (n, A), each summing to one."""
    array = real_array(name, laws)
    _require_matrix(name, array)
    require_distributions(name, array)
    return array


def _require_matrix(name: str, array: FloatArray) -> None:
    if array.ndim != 2 or not array.size:
        raise ModelError(f"{name} has shape {array.shape}; expected (n, A), nonempty, a single law being {name}[None]")


def _numbers(name: str, data: ArrayLike) -> FloatArray:
    """Real data as float64, infinities included, nan refused."""
    raw = plain_array(name, data)
    if raw.dtype.kind not in "fiub":
        raise ModelError(f"{name} has dtype {raw.dtype}; pass real numbers (float64)")
    array = raw.astype(np.float64)
    if np.isnan(array).any():
        index = first(np.isnan(array))
        raise ModelError(f"{entry(name, index)} is nan, which has no rank; find out where it was computed")
    return array


def _unit_array(name: str, data: ArrayLike) -> FloatArray:
    """Finite numbers in [0, 1]."""
    array = real_array(name, data)
    bad = (array < 0.0) | (array > 1.0)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; it must lie in [0, 1]")
    return array
