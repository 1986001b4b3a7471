"""Softmax and regularised greedy policies in one state: their laws, their values, and how far from greedy they are.

**Softmax.** For action values q of A actions, a temperature tau > 0 and pi ~ exp(q / tau), with Z = sum_a exp(-d_a),
d_a = (max q - q(a)) / tau:

    max q - E_pi q = tau sum_a d_a exp(-d_a) / Z = tau Ent(pi) - tau log Z,

and Z >= 1; so the gap is at most tau Ent(pi), and that at most tau log A. The least bound that knows A alone is

    max q - E_pi q <= tau W(A),        W(A) = W0((A - 1)/e),

W0 being Lambert's function: w = W(A) is the number with w e^w = (A - 1)/e. *Proof.* Let action 1 have d_1 = 0. The
claim, sum_a d_a exp(-d_a) <= w Z, reads sum_{a > 1} (d_a - w) exp(-d_a) <= w. The function (d - w) exp(-d) of d has
its only maximum at d = 1 + w, where it is exp(-1 - w). So the sum is at most (A - 1) exp(-1 - w), which is w. QED.
Equality holds where all actions but one are worse than it by (1 + w) tau, and nowhere else.

**Over a horizon.** Let every state's gap for q be at most g. With steps = 1/(1 - gamma), or H,

    v* - v^pi <= steps g    for q = q*, the optimal action values, and for q = q^pi, the policy's own,

the first by the performance difference lemma, v* - v^pi being the expected (discounted) sum along pi of max q* -
E_pi q* (Kakade and Langford, ICML 2002); the second because T v^pi - v^pi <= g. A q within eps of either in the
supremum norm adds 2 eps to g. With g = tau W(A) the first is attained by one state with two levels of reward.

The entropy-regularised optimum, q = r + P V and V = tau log sum_a exp(q / tau) at each stage, is another matter: its
policy keeps to steps tau log A, not to steps tau W(A). Over H stages its least bound is

    v* - v^pi <= tau W(A^H),

*Proof.* Say that (b, f) is *of n paths* if 0 <= b <= log n and 0 <= f <= F_n(b) = (1 - e^-b) log((n - 1)/(e^b - 1)).
By concavity of x log(1/x), F_n(b) is the largest of sum_i c_i exp(-c_i) / sum_i exp(-c_i) over costs c >= 0 of n paths
with c_1 = 0 and sum_i exp(-c_i) = e^b; so F_n <= W(n), as shown above. F_n' = e^-b log((n - 1)/(e^b - 1)) - 1 falls,
so these pairs are a convex set. By induction (V - v*, v* - v^pi)/tau is of A^j paths in every state with j stages left:
what action a leads to is an average of pairs of A^(j-1) paths, hence such a pair; replace it by the best costs with its
b, raised by d_a = (v* - q*(a))/tau. Taking an action first and one of its paths next is a softmax over all A^j paths,
with the same b, and no smaller f. QED. It is attained where transitions are deterministic, no two paths meet, and all
but one are worse than it by (1 + W(A^H)) tau.

**Regularised greedy.** For a law mu and eta, tau >= 0 with kappa = eta + tau > 0,

    max_pi E_pi q - eta KL(pi | mu) + tau Ent(pi) = kappa log sum_a mu(a)^(eta/kappa) exp(q(a) / kappa),

attained by pi ~ mu^(eta/kappa) exp(q / kappa) alone (Geist, Scherrer, Pietquin, A Theory of Regularized Markov Decision
Processes, ICML 2019; Vieillard et al., Leverage the Average, NeurIPS 2020): the objective is that value less
kappa KL(. | pi). With x = q + eta log mu it is a softmax of x at temperature kappa. The exponent eta/kappa on mu is
essential: kappa log sum_a mu(a) exp(q(a) / kappa) is the value for all q and mu only if tau = 0.

**Perturbation.** For two such problems, with the same eta and tau, values V, V' and policies pi, pi',

    E_pi' (x - x') <= V - V' <= E_pi (x - x'),        hence |V - V'| <= max_a |x(a) - x'(a)|,

since pi is feasible in the other problem, or by the log-sum inequality. Where mu(a) = 0 < mu'(a), x - x' is infinite.
If the references are themselves softmaxes, mu ~ exp(p / t) and mu' ~ exp(p' / t), then log mu - log mu' lies between
-span(p - p')/t and span(p - p')/t, so that |V - V'| <= max |q - q'| + (eta/t) span(p - p').

**Smoothness.** Let the softmax policies of q and q' at temperature tau be pi and pi'. Then

    |pi - pi'|_1 <= 2 tanh(span(q - q') / (4 tau)) <= 2 tanh(max |q - q'| / (2 tau)) <= max |q - q'| / tau.

*Proof.* |pi - pi'|_1 = 2 (pi(B) - pi'(B)) for the set B of actions on which pi is the larger. The log-odds of B, a
difference of two log-sum-exps over tau, move by at most m = span(q - q')/tau; and the logistic function rises by at
most tanh(m/4) over a length of m, around zero. QED. Attained by every number A >= 2 of actions: one of them against the
rest, its log-odds going from m/2 to -m/2. So the Lipschitz constant 1/tau is the least one, met as q' tends to q.

**Covering.** Optimistic constrained agents act by the softmax pi of Q_r + Y Q_g and evaluate E_pi Q_r and E_pi Q_g,
where Q_j = <w_j, phi> + (phi^T M phi)^(1/2), cut to [0, H]. Let V, V' be two such values, both for j. As |V - V'| <=
max |Q_j - Q_j'| + (H/2)|pi - pi'|_1, the smoothness above turns covers of the parameters into one of the values
(:class:`DualSoftmaxValues`); the logarithm of its size grows as log(1/tau). With the greedy policy in place of the
softmax, E_pi Q_g jumps where Q_r + Y Q_g has ties, at different Y in different states, and over infinitely many states
there is no finite cover at all. (max_a of the sum does not jump, which is why unconstrained agents may be greedy.)

**Numbers.** Everything is computed from logarithms and differences from the largest entry, so that neither q = 1e300
beside tau = 1e-300 nor a reference below the least float overflows. A logarithm below -1.8e308 is -inf.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import wrightomega

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
from .solution import FloatArray

Values = Literal["optimal", "soft"]
"""Action values of the problem itself, or of the problem regularised by entropy."""

# Where exponents are this small, a logarithm of a sum near one is had from log1p without losing its digits.
SMALL_EXPONENT = 0.5

# More stages than this would overflow beside the logarithm of a number of actions.
MOST_STAGES = 1e300

# Up to so many balls are counted one by one.
COUNTED = 1e15


@dataclass(frozen=True)
class Regularisation:
    """Weights of the two regularisers, E_pi q - eta KL(pi | mu) + tau Ent(pi), in the unit of the action values.

    Attributes:
        eta: Weight of the Kullback-Leibler divergence from the reference mu; at least 0.
        tau: Weight of the entropy, the temperature; at least 0, and positive where eta is 0.

    Raises:
        ModelError: A weight is negative or not finite, both are 0, or their sum overflows.
    """

    eta: float
    tau: float

    def __post_init__(self) -> None:
        """Check the weights."""
        for name in ("eta", "tau"):
            weight = real_number(name, getattr(self, name))
            if weight < 0.0:
                raise ModelError(f"{name} is {weight}; a regulariser's weight is at least 0")
            object.__setattr__(self, name, weight)
        if self.kappa == 0.0:
            raise ModelError("eta and tau are both 0, which regularises nothing: raise one, or act greedily")
        if math.isinf(self.kappa):
            raise ModelError(f"eta + tau overflows with eta = {self.eta:g} and tau = {self.tau:g}; lower them")

    @property
    def kappa(self) -> float:
        """kappa = eta + tau, the temperature of the greedy policy's softmax."""
        return self.eta + self.tau

    @property
    def alpha(self) -> float:
        """alpha = eta / kappa in [0, 1], the exponent of the reference."""
        return self.eta / self.kappa

    @classmethod
    def munchausen(cls, alpha: float, temperature: float) -> "Regularisation":
        """The weights of Munchausen value iteration: kappa = temperature and eta = alpha temperature.

        Adding alpha temperature log pi to the reward of soft value iteration is regularising by these (Vieillard,
        Pietquin, Geist, Munchausen Reinforcement Learning, NeurIPS 2020, Theorem 1).

        Raises:
            ModelError: alpha is outside [0, 1], or temperature not positive and finite.
        """
        share, kappa = unit_number("alpha", alpha), require_positive_temperature(temperature)
        return cls(share * kappa, kappa - share * kappa)


# ------------------------------------------------------------------------------------------------ softmax


def softmax_policy(q: ArrayLike, temperature: float, live: ArrayLike | None = None) -> FloatArray:
    """The softmax policy pi ~ exp(q / temperature), in each of any number of states.

    Args:
        q: Action values (..., A).
        temperature: tau > 0, in the unit of q.
        live: Mask (..., A) of the actions there are; entries of q elsewhere do not matter. None: all.

    Returns:
        Laws (..., A), exactly zero outside the mask. Probabilities below 5e-324 are zero:
        :func:`softmax_log_policy` keeps them.

    Raises:
        ModelError: Naming the entry of q that is not finite, or the state without actions; a temperature that is not
            positive and finite; a wrong shape.
    """
    return np.exp(softmax_log_policy(q, temperature, live))


def softmax_log_policy(q: ArrayLike, temperature: float, live: ArrayLike | None = None) -> FloatArray:
    """log pi (..., A) of :func:`softmax_policy`, with the same arguments and errors; -inf outside the mask."""
    tau = require_positive_temperature(temperature)
    values, mask = require_action_values("q", q, live)
    return _normalised(_scaled_differences(values, mask, tau))


# ------------------------------------------------------------------------------------------------ certificates


class GapBounds(NamedTuple):
    """How much a softmax policy loses in one state, max q - E_pi q, and three bounds on it, in the unit of q.

    Attributes:
        gap: What it loses (...).
        entropy: tau Ent(pi) (...), which the policy alone tells.
        sharp: tau W(A) (...), A being the number of actions: the least bound that holds for all q.
        log_actions: tau log A (...), the bound usually quoted.
    """

    gap: FloatArray
    entropy: FloatArray
    sharp: FloatArray
    log_actions: FloatArray


def softmax_gap_bounds(q: ArrayLike, temperature: float, live: ArrayLike | None = None) -> GapBounds:
    """The gap of softmax(q / temperature) in each state and its three certificates; arguments as softmax_policy's.

    Raises:
        ModelError: As :func:`softmax_policy`.
    """
    tau = require_positive_temperature(temperature)
    values, mask = require_action_values("q", q, live)
    x = _scaled_differences(values, mask, tau)
    log_Z = np.log(np.exp(x).sum(axis=-1))
    pi = np.exp(x - log_Z[..., None])
    gap = -(pi * np.where(pi > 0.0, x, 0.0)).sum(axis=-1)
    n_actions = mask.sum(axis=-1).astype(np.float64)
    log_others = np.log(np.maximum(n_actions - 1.0, 1.0))
    sharp = np.where(n_actions > 1.0, cast("FloatArray", wrightomega(log_others - 1.0)), 0.0)
    with np.errstate(over="ignore"):  # an infinite bound is true
        return GapBounds(tau * gap, tau * (gap + log_Z), tau * sharp, tau * np.log(n_actions))


def gap_constant(n_actions: int, horizon: int = 1) -> float:
    """W(A^H) = W0((A^H - 1)/e): in units of the temperature, the most that softmax loses among A^H actions.

    Over H stages it is the most that the entropy-regularised optimum loses, in any state of any MDP.

    Raises:
        ModelError: A number is not a whole number >= 1, or horizon above MOST_STAGES.
    """
    A, H = whole_number("n_actions", n_actions, 1), _stages(horizon)
    if A == 1:
        return 0.0
    log_paths = H * math.log(A)
    return float(wrightomega(log_paths + math.log1p(-math.exp(-log_paths)) - 1.0))


def over_horizon(gap: ArrayLike, *, gamma: float | None = None, horizon: int | None = None) -> float:
    """Bound on v* - v^pi in all states from bounds on what pi loses in each state, against q* or against q^pi.

    Args:
        gap: Bounds on max q - E_pi q, at least 0: one number, (S,), or (H, S) for the stages of a finite horizon.
        gamma: Discount below 1 of a discounted problem; or
        horizon: the number of stages H.

    Returns:
        max gap / (1 - gamma), or H max gap, or the sum of the stages' greatest gaps.

    Raises:
        ModelError: Naming the gap that is negative or not finite; a wrong shape; both gamma and horizon, or neither.
    """
    gaps, steps = real_array("gap", gap), _steps(gamma, horizon)
    if not gaps.size or (gaps.ndim > 1 and (horizon is None or gaps.shape[0] != horizon or gaps.ndim > 2)):
        raise ModelError(f"gap has shape {gaps.shape}; expected one number, (S,), or (H, S) with horizon = H")
    if (gaps < 0.0).any():
        index = first(gaps < 0.0)
        raise ModelError(f"{entry('gap', index)} is {gaps[index]}; a bound on what is lost is at least 0")
    return float(gaps.max(axis=1).sum()) if gaps.ndim == 2 else steps * float(gaps.max())


def temperature_for_gap(
    eps: float,
    n_actions: int,
    *,
    gamma: float | None = None,
    horizon: int | None = None,
    values: Values = "optimal",
) -> float:
    """The largest temperature that guarantees a gap of eps: in one state, or over a horizon if one is passed.

    Args:
        eps: Wanted bound on max q - E_pi q, or on v* - v^pi in all states; positive.
        n_actions: The most actions A that a state has; infinitely hot will do if it is 1.
        gamma: Discount below 1 of a discounted problem; or
        horizon: the number of stages H.
        values: Which action values the policy is the softmax of: q* ("optimal", or q^pi), or those of the
            entropy-regularised problem ("soft"), which do not differ in one state.

    Returns:
        eps / (steps W(A)); for soft values over a horizon eps / W(A^H), or (1 - gamma) eps / log A. At any temperature
        above one of the first two some problem breaks the guarantee.

    Raises:
        ModelError: A number is out of range, gamma and horizon are both passed, or values is another word.
    """
    allowed = real_number("eps", eps)
    if allowed <= 0.0:
        raise ModelError(f"eps is {allowed}; only a greedy policy loses nothing: pass eps > 0")
    A, single = whole_number("n_actions", n_actions, 1), gamma is None and horizon is None
    steps = 1.0 if single else _steps(gamma, horizon)
    match values:
        case "optimal":
            loss = steps * gap_constant(A)
        case "soft" if gamma is None:
            loss = gap_constant(A, 1 if horizon is None else horizon)
        case "soft":
            loss = steps * math.log(A)
        case _:
            raise ModelError(f'values is {values!r}; pass "optimal" or "soft"')
    return allowed / loss if loss > 0.0 else math.inf


def _steps(gamma: float | None, horizon: int | None) -> float:
    """1 / (1 - gamma), or H."""
    if gamma is not None and horizon is None:
        if (discount := unit_number("gamma", gamma)) == 1.0:
            raise ModelError("gamma is 1, where losses add up without bound; pass gamma < 1, or horizon")
        return 1.0 / (1.0 - discount)
    if horizon is not None and gamma is None:
        return _stages(horizon)
    raise ModelError("pass one of gamma and horizon")


def _stages(horizon: int) -> float:
    """The number of stages H as a float."""
    H = whole_number("horizon", horizon, 1)
    if H > MOST_STAGES:
        raise ModelError(f"horizon is above {MOST_STAGES:g}, too many stages for float64; pass fewer")
    return float(H)


# ------------------------------------------------------------------------------------------------ regularised greedy


def regularised_greedy(
    q: ArrayLike, mu: ArrayLike, regularisation: Regularisation, live: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """The policy that attains max_pi E_pi q - eta KL(pi | mu) + tau Ent(pi), and the maximum.

    An action with mu(a) = 0 is never played where eta > 0; where eta = 0 the reference does not matter. Rounding is of
    the size of q and tau log mu, however large eta is.

    Args:
        q: Action values (..., A).
        mu: Reference laws (..., A), each summing to one up to rounding, which is divided out.
        regularisation: eta and tau.
        live: Mask (..., A) of the actions there are; entries of q elsewhere do not matter. None: all.

    Returns:
        log pi (..., A), -inf where the policy is zero, and the values (...).

    Raises:
        ModelError: Naming the entry of q or mu, or the row of mu, at fault; a state in which no action may be played;
            a wrong shape.
        TypeError: A regularisation of another kind.
    """
    return _checked_greedy(q, "mu", log_law(mu), regularisation, live)


def regularised_log_greedy(
    q: ArrayLike, log_mu: ArrayLike, regularisation: Regularisation, live: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """:func:`regularised_greedy` from log mu (..., A), for references of any size; -inf where mu is zero."""
    return _checked_greedy(q, "log_mu", _require_log_laws("log_mu", log_mu), regularisation, live)


def log_law(mu: ArrayLike, name: str = "mu") -> FloatArray:
    """Logarithms of laws (..., A), each divided by its sum, which rounding moves off one; -inf where a law is zero.

    Raises:
        ModelError: Naming the entry that is negative or not finite, or the row that does not sum to one.
    """
    law = real_array(name, mu)
    if not law.ndim or not law.size:
        raise ModelError(f"{name} has shape {law.shape}; expected (..., A), nonempty")
    require_distributions(name, law)
    with np.errstate(divide="ignore"):
        return np.log(law / law.sum(axis=-1, keepdims=True))


def _checked_greedy(
    q: ArrayLike, name: str, log_mu: FloatArray, regularisation: Regularisation, live: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    require_regularisation(regularisation)
    values, mask = require_action_values("q", q, live)
    require_shape(name, log_mu, values.shape, "the shape of q")
    if regularisation.eta > 0.0:
        playable = mask & (log_mu > -np.inf)
        stuck = np.asarray(~playable.any(axis=-1))
        if stuck.any():
            raise ModelError(
                f"{entry(name, first(stuck))} has no mass on the actions there are; pass a reference that has"
            )
        mask = playable
    return greedy_within(values, log_mu, regularisation, mask)


def greedy_within(
    q: FloatArray, log_mu: FloatArray, regularisation: Regularisation, live: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """:func:`regularised_log_greedy` for arguments known to be in order, the mask leaving out where mu is zero."""
    eta, tau, kappa = regularisation.eta, regularisation.tau, regularisation.kappa
    best = np.where(live, q, -np.inf).max(axis=-1)
    gain = _scaled_differences(q, live, kappa)
    if eta == 0.0:
        return _normalised(gain), best + kappa * _log_sum_exp(gain)
    known = np.where(live, log_mu, 0.0)
    x = gain + regularisation.alpha * known
    # What is left of the exponent when mu is taken out: if small, log sum mu exp(rest) is near zero, and multiplied by
    # a kappa that may be large.
    rest = np.where(live, gain - (tau / kappa) * known, 0.0)
    excess = (np.exp(log_mu) * np.where(live, np.expm1(np.clip(rest, -1.0, 1.0)), -1.0)).sum(axis=-1)
    near = (np.abs(rest).max(axis=-1) <= SMALL_EXPONENT) & (np.abs(excess) <= SMALL_EXPONENT)
    total = np.where(near, np.log1p(np.where(near, excess, 0.0)), _log_sum_exp(x))
    return _normalised(x), best + kappa * total


# ------------------------------------------------------------------------------------------------ perturbation


class PerturbationBounds(NamedTuple):
    """Bounds on the difference V - V' of two regularised values with the same eta and tau; infinite where they must be.

    Attributes:
        lower: E_pi' (x - x') (...), with x = q + eta log mu.
        upper: E_pi (x - x') (...).
        supremum: max |x - x'| (...), which bounds |V - V'|; infinite where eta > 0 and the references' supports differ.
    """

    lower: FloatArray
    upper: FloatArray
    supremum: FloatArray


def perturbation_bounds(
    q: ArrayLike,
    log_mu: ArrayLike,
    other_q: ArrayLike,
    other_log_mu: ArrayLike,
    regularisation: Regularisation,
    live: ArrayLike | None = None,
) -> PerturbationBounds:
    """How far apart the values of :func:`regularised_greedy` can be for (q, mu) and (q', mu').

    Args:
        q: Action values (..., A).
        log_mu: Logarithms of the reference laws (..., A), -inf where one is zero; see :func:`log_law`.
        other_q: q' (..., A).
        other_log_mu: log mu' (..., A).
        regularisation: eta and tau.
        live: Mask (..., A) of the actions there are. None: all.

    Raises:
        ModelError: As :func:`regularised_log_greedy`.
        TypeError: A regularisation of another kind.
    """
    values, mask = require_action_values("q", q, live)
    other_values, _ = require_action_values("other_q", other_q, mask)
    laws, other_laws = _require_log_laws("log_mu", log_mu), _require_log_laws("other_log_mu", other_log_mu)
    log_pi, _ = _checked_greedy(values, "log_mu", laws, regularisation, mask)
    other_log_pi, _ = _checked_greedy(other_values, "other_log_mu", other_laws, regularisation, mask)
    change = values - other_values
    played = other_played = mask
    if regularisation.eta > 0.0:
        played, other_played = mask & (laws > -np.inf), mask & (other_laws > -np.inf)
        neither = ~(played | other_played)
        moved = np.where(neither, 0.0, laws) - np.where(neither, 0.0, other_laws)
        change = change + regularisation.eta * moved
    return PerturbationBounds(
        _mean(other_log_pi, change, other_played),
        _mean(log_pi, change, played),
        np.where(played | other_played, np.abs(change), 0.0).max(axis=-1),
    )


def _mean(log_pi: FloatArray, x: FloatArray, played: BoolArray) -> FloatArray:
    """E_pi x over the actions that pi plays, infinite where x is on one of them, however rarely it is played."""
    infinite = played & np.isinf(x)
    finite: FloatArray = (np.exp(log_pi) * np.where(played & ~infinite, x, 0.0)).sum(axis=-1)
    return finite + np.where(infinite, x, 0.0).sum(axis=-1)


def softmax_reference_bound(
    change: ArrayLike, reference_change: ArrayLike, temperature: float, regularisation: Regularisation
) -> FloatArray:
    """Bound max |q - q'| + (eta/t) span(p - p') on |V - V'| where mu = softmax(p / t) and mu' = softmax(p' / t).

    Finite whatever the references, unless eta/t or the bound itself overflows. Approached where the policies settle on
    an action at one end of the span, the references on one at the other end.

    Args:
        change: q - q' (..., A).
        reference_change: p - p' (..., A).
        temperature: t > 0.
        regularisation: eta and tau.

    Raises:
        ModelError: Naming the entry that is not finite, or the shape.
        TypeError: A regularisation of another kind.
    """
    eta, t = require_regularisation(regularisation).eta, require_positive_temperature(temperature)
    dq, _ = require_action_values("change", change, None)
    dp, _ = require_action_values("reference_change", reference_change, None)
    require_shape("reference_change", dp, dq.shape, "the shape of change")
    half_span = 0.5 * dp.max(axis=-1) - 0.5 * dp.min(axis=-1)
    with np.errstate(over="ignore"):
        moved = 2.0 * (eta / t * np.where(half_span > 0.0, half_span, 1.0))
        return np.abs(dq).max(axis=-1) + np.where(half_span > 0.0, moved, 0.0)


# ------------------------------------------------------------------------------------------------ smoothness and covers


def softmax_modulus(span: ArrayLike, temperature: float) -> FloatArray:
    """The most by which softmax policies can differ, 2 tanh(span / (4 tau)) in the 1-norm, at most span / (2 tau).

    Attained for every span by any number of actions from two on.

    Args:
        span: max (q - q') - min (q - q'), of any shape; at most twice max |q - q'|.
        temperature: tau > 0.

    Raises:
        ModelError: Naming the span that is negative or not finite, or the temperature.
    """
    spans, tau = real_array("span", span), require_positive_temperature(temperature)
    if (spans < 0.0).any():
        index = first(spans < 0.0)
        raise ModelError(f"{entry('span', index)} is {spans[index]}; a span is at least 0")
    with np.errstate(over="ignore"):
        return 2.0 * np.tanh(0.25 * (spans / tau))


@dataclass(frozen=True)
class DualSoftmaxValues:
    """The values E_pi Q_r and E_pi Q_g of optimistic constrained agents, pi = softmax((Q_r + Y Q_g) / tau).

    Q_j(s, a) = min(max(<w_j, phi> + (phi^T M phi)^(1/2), 0), H) for j = r, g, with phi = phi(s, a) of norm at most 1.

    Attributes:
        dim: d, the dimension of phi.
        horizon: H, the largest value there is.
        weight_norm: Bound on |w_r| and |w_g|.
        bonus_norm: Bound on the Frobenius norm of M, which is symmetric and positive semidefinite, such as
            beta^2 d^(1/2) / lambda for M = beta^2 Lambda^-1.
        dual_bound: The largest Y.
        temperature: tau.

    Raises:
        ModelError: A bound is negative, or dim, horizon or temperature not positive.
    """

    dim: int
    horizon: float
    weight_norm: float
    bonus_norm: float
    dual_bound: float
    temperature: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        whole_number("dim", self.dim, 1)
        require_positive_temperature(self.temperature)
        for name in ("horizon", "weight_norm", "bonus_norm", "dual_bound"):
            bound = real_number(name, getattr(self, name))
            if bound < 0.0 or (name == "horizon" and bound == 0.0):
                raise ModelError(
                    f"{name} is {bound}; pass a {'positive' if name == 'horizon' else 'nonnegative'} number"
                )

    def resolution(self, eps: float) -> tuple[float, float]:
        """How near (max |Q_j - Q_j'|, |Y - Y'|) parameters have to be for values within eps, half of it for either.

        |V - V'| <= e_Q + (H/2)(e_Q (1 + Y) + H e_Y) / tau. A number below the least float is 0.

        Raises:
            ModelError: eps is not positive and finite.
        """
        if (wanted := real_number("eps", eps)) <= 0.0:
            raise ModelError(f"eps is {wanted}; pass a positive number")
        H, tau = self.horizon, self.temperature
        return 0.5 * wanted / (1.0 + 0.5 * H * (1.0 + self.dual_bound) / tau), (wanted / H) * (tau / H)

    def log_covering_number(self, eps: float) -> float:
        """Bound on the logarithm of the number of balls of radius eps in the supremum norm that cover these values.

        A ball of radius R in n dimensions is covered by (1 + 2R/e)^n of radius e; |Q_j - Q_j'| <= |w_j - w_j'| +
        |M - M'|^(1/2), so half of e_Q is left to each of w_r and w_g (d dimensions), the square of half to M, which has
        d(d + 1)/2. (After Jin et al., COLT 2020, Lemma D.6, on max Q of one reward, and Ghosh, Zhou, Shroff, NeurIPS
        2022, on this class.)

        Raises:
            ModelError: eps is not positive and finite.
        """
        _, e_Y = self.resolution(eps)
        log_eps, log_H, log_tau = math.log(eps), math.log(self.horizon), math.log(self.temperature)
        colder = log_H + math.log1p(self.dual_bound) - math.log(2.0) - log_tau
        log_e_Q = log_eps - math.log(2.0) - _log_of_one_more(colder)
        weights = 2 * self.dim * _log_of_one_more(_log(4.0) + _log(self.weight_norm) - log_e_Q)
        bonuses = self.dim * (self.dim + 1) / 2 * _log_of_one_more(_log(8.0) + _log(self.bonus_norm) - 2.0 * log_e_Q)
        if self.dual_bound < 2.0 * COUNTED * e_Y:
            return weights + bonuses + math.log(max(1, math.ceil(self.dual_bound / (2.0 * e_Y))))
        return weights + bonuses + max(0.0, _log(self.dual_bound) - math.log(2.0) - log_eps - log_tau + 2.0 * log_H)


# ------------------------------------------------------------------------------------------------ numbers and checks


def _log(x: float) -> float:
    """log x, which is -inf for 0."""
    return math.log(x) if x > 0.0 else -math.inf


def _log_of_one_more(x: float) -> float:
    """log(1 + exp(x))."""
    return float(np.logaddexp(0.0, x))


def require_regularisation(regularisation: object) -> Regularisation:
    """The regularisation itself.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(regularisation, Regularisation):
        raise TypeError(f"regularisation is {regularisation!r}; pass Regularisation(eta, tau)")
    return regularisation


def require_positive_temperature(temperature: float) -> float:
    """The temperature as a float.

    Raises:
        ModelError: It is not positive and finite.
    """
    tau = real_number("temperature", temperature)
    if tau <= 0.0:
        raise ModelError(f"temperature is {tau}; pass a positive number: its limit 0 is the greedy policy")
    return tau


def require_action_values(name: str, q: ArrayLike, live: ArrayLike | None) -> tuple[FloatArray, BoolArray]:
    """Action values (..., A) as float64, zero outside the mask, and the mask.

    Raises:
        ModelError: Naming the entry within the mask that is not finite, or the state without actions; a wrong shape or
            type.
    """
    values = real_numbers(name, q)
    if not values.ndim or not values.size:
        raise ModelError(f"{name} has shape {values.shape}; expected (..., A), nonempty")
    mask = np.ones(values.shape, dtype=np.bool_) if live is None else plain_array("live", live)
    if mask.dtype != np.bool_:
        raise ModelError(f"live has dtype {mask.dtype}; pass a boolean mask of the shape of {name}")
    require_shape("live", mask, values.shape, f"the shape of {name}")
    bad = mask & ~np.isfinite(values)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {values[index]}; every action value must be finite")
    empty = np.asarray(~mask.any(axis=-1))
    if empty.any():
        raise ModelError(f"{entry('live', first(empty))} has no action; every state needs one")
    return np.where(mask, values, 0.0), mask


def real_numbers(name: str, data: ArrayLike) -> FloatArray:
    """A float64 copy of real data, which need not be finite.

    Raises:
        ModelError: Rows of different lengths, or data that are not real numbers.
    """
    raw = plain_array(name, data)
    if raw.dtype.kind not in "fiub":
        raise ModelError(f"{name} has dtype {raw.dtype}; pass real numbers (float64)")
    return raw.astype(np.float64)


def _require_log_laws(name: str, log_laws: ArrayLike) -> FloatArray:
    """Logarithms (..., A) of laws, nan refused, less the logarithms of their sums."""
    array = real_numbers(name, log_laws)
    if not array.ndim or not array.size:
        raise ModelError(f"{name} has shape {array.shape}; expected (..., A), nonempty")
    if np.isnan(array).any():
        raise ModelError(f"{entry(name, first(np.isnan(array)))} is nan; find out where it was computed")
    with np.errstate(over="ignore"):
        require_unit_sums(f"exp({name})", np.asarray(np.exp(array).sum(axis=-1)))
    return _normalised(array)


def _scaled_differences(q: FloatArray, live: BoolArray, scale: float) -> FloatArray:
    """(q - max q) / scale (..., A), at most 0; -inf outside the mask, and below -1.8e308."""
    best: FloatArray = np.where(live, q, -np.inf).max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        difference = q - best
        # The difference of the halves never overflows.
        halved = 2.0 * ((0.5 * q - 0.5 * best) / scale)
        scaled = np.where(np.isinf(difference), halved, difference / scale)
    return np.where(live, scaled, -np.inf)


def _normalised(x: FloatArray) -> FloatArray:
    """x - log sum_a exp(x) (..., A), the largest x being finite; its exponentials sum to one to the last digits."""
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def _log_sum_exp(x: FloatArray) -> FloatArray:
    """log sum_a exp(x) (...), the largest x being finite."""
    largest = x.max(axis=-1)
    return largest + np.log(np.exp(x - largest[..., None]).sum(axis=-1))
