"""Certificates of entropy-regularised problems: bounds on soft values, computed from a model and an answer alone.

At temperature tau > 0, with LSE(x) = log sum_a exp(x_a) and Ent the entropy, a policy's soft value and the soft
Bellman operators are

    V^pi_tau(s)       = E[sum_t gamma^t (r(s_t, a_t) + tau Ent(pi(. | s_t))) | s_0 = s]
    T_{pi,tau} v(s)   = sum_a pi(a | s) (q(s, a) - tau log pi(a | s)),        q = r + gamma P v
    T_tau v(s)        = max_pi T_{pi,tau} v(s) = tau LSE(q(s, .) / tau)

in states that are not terminal; terminal ones are worth 0, entropy included. Like T both are monotone, and adding
c xi to v adds at most c (xi - 1) to them for a bound xi >= 1 + gamma P_a xi on expected numbers of steps, since
LSE(x + c) = LSE(x) + c and P averages. So the argument of :mod:`.certificates` goes through word for word:

    v + min(0, min(T_{pi,tau} v - v)) xi  <=  V^pi_tau  <=  V*_tau  <=  v + max(0, max(T_tau v - v)) xi,

with xi = 1 / (1 - gamma) for gamma < 1. With gamma = 1 the entropy of a play that need not end would be infinite; xi is
then the longest expected play, the optimal value of staying in play, and every policy must terminate. A corrupted entry
of v widens the bounds by at least its distance from V*_tau; a corrupted policy by what it loses, tau times its
divergence from the softmax of q.

The bounds hold in exact arithmetic for the matrices as stored and for the policy exp(log pi) divided by its sums.
Rounding is bounded a priori. LSE moves by no more than its arguments do; an argument d = (q - max q) / tau is off by a
fraction 2 u of itself and weighs exp(d), and sum_a exp(d) |d| / sum_a exp(d) <= log A; so the errors of exp, sum and
log come to a few (A + const) (1 + log A) tau u. Every later operation is rounded outwards.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ..models import FiniteHorizonMDP, TabularMDP
from ..models._checks import ModelError, entry, first, require_shape, require_unit_sums
from .bellman import UNIT_ROUNDOFF, DecisionRows, decision_rows, rounding_error, row_values
from .certificates import OUTWARDS, steps_bound, widened
from .games.certificates import longest_play
from .policies import require_value, stages_backwards
from .regularised import real_numbers, require_positive_temperature
from .solution import Certificate, FloatArray


@dataclass(frozen=True, eq=False)
class SoftProblem:
    """A decision process at a temperature.

    Attributes:
        rows: Its rows, the same number for every state.
        temperature: tau > 0.
    """

    rows: DecisionRows
    temperature: float

    @cached_property
    def steps(self) -> FloatArray:
        """Bounds xi (S,) on expected discounted steps, 0 in terminal states.

        Raises:
            ValueError: gamma = 1 and some policy need never terminate; the message names a state.
        """
        if self.rows.gamma == 1.0:
            return longest_play(self.rows, "model")
        return np.where(self.rows.terminal, 0.0, steps_bound(self.rows.gamma * self.rows.mass[1]))

    def action_values(self, v: FloatArray) -> FloatArray:
        """q (S, A) of v (S,)."""
        return row_values(self.rows, v).reshape(self.rows.n_states, -1)

    def best(self, q: FloatArray) -> FloatArray:
        """tau LSE(q / tau) (S,), zero in terminal states."""
        return np.where(self.rows.terminal, 0.0, soft_maximum(q, self.temperature))

    def under(self, log_policy: FloatArray, q: FloatArray) -> FloatArray:
        """E_pi q + tau Ent(pi) (S,) for pi ~ exp(log_policy), zero in terminal states."""
        weights = np.exp(log_policy)
        mass = weights.sum(axis=1)
        surprise = np.where(weights > 0.0, log_policy, 0.0)
        mean = (weights * (q - self.temperature * surprise)).sum(axis=1) / mass
        return np.where(self.rows.terminal, 0.0, mean + self.temperature * np.log(mass))

    def error(self, v: FloatArray) -> float:
        """Bound on the rounding error of :meth:`best` and :meth:`under` at the action values of v."""
        n_actions = self.rows.r.size // self.rows.n_states
        size = self.rows.reward_size + self.rows.gamma * self.rows.mass[1] * float(np.abs(v).max())
        size += self.temperature * (1.0 + np.log(n_actions))
        return rounding_error(self.rows, v) + 4 * (n_actions + 12) * UNIT_ROUNDOFF * size


def soft_maximum(q: FloatArray, temperature: float) -> FloatArray:
    """temperature LSE(q / temperature) over the last axis of q (..., A)."""
    best = q.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        total = np.exp((q - best) / temperature).sum(axis=-1)
    return best[..., 0] + temperature * np.log(total)


def require_tabular(model: object) -> TabularMDP:
    """The model itself.

    Raises:
        TypeError: It is no TabularMDP.
    """
    if not isinstance(model, TabularMDP):
        raise TypeError(
            f"model is a {type(model).__name__}; pass a TabularMDP "
            "(for a FiniteHorizonMDP: soft_backward_induction, for a MarkovGame: regularised_shapley_iteration)"
        )
    return model


def require_stages(model: object) -> FiniteHorizonMDP:
    """The model itself.

    Raises:
        TypeError: It is no FiniteHorizonMDP.
    """
    if not isinstance(model, FiniteHorizonMDP):
        raise TypeError(
            f"model is a {type(model).__name__}; pass a FiniteHorizonMDP "
            "(for a TabularMDP: regularised_value_iteration)"
        )
    return model


def certify_regularised(model: TabularMDP, temperature: float, value: ArrayLike, log_policy: ArrayLike) -> Certificate:
    """Bounds lower <= V^pi_tau <= V*_tau <= upper, between which ``value`` lies too.

    Args:
        model: The model; with gamma = 1, one in which every policy terminates.
        temperature: tau > 0.
        value: Any value (S,); the closer to V*_tau, the narrower the bounds.
        log_policy: Logarithms (S, A) of any policy, -inf for actions that it never takes.

    Raises:
        ValueError: Naming the entry of value or log_policy that is out of shape or range, or the row that does not sum
            to one; a temperature that is not positive and finite; gamma = 1 and play that need not end.
        TypeError: A model of another kind.
    """
    problem = SoftProblem(decision_rows(require_tabular(model)), require_positive_temperature(temperature))
    v = require_value("value", real_numbers("value", value), model.n_states)
    return certify_soft(problem, v, require_log_policy("log_policy", log_policy, *model.r.shape))


def certify_soft(problem: SoftProblem, value: FloatArray, log_policy: FloatArray) -> Certificate:
    """:func:`certify_regularised` for checked arguments, with the problem's analysis at hand."""
    live = ~problem.rows.terminal
    v = np.where(live, value, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows makes the bounds infinite
        q, error = problem.action_values(v), problem.error(v)
        low, _ = widened(np.append(0.0, (problem.under(log_policy, q) - v)[live]), error)
        _, high = widened(np.append(0.0, (problem.best(q) - v)[live]), error)
        lower = np.where(live, np.nextafter(v + low * problem.steps * OUTWARDS, -np.inf), 0.0)
        upper = np.where(live, np.nextafter(v + high * problem.steps * OUTWARDS, np.inf), 0.0)
    return Certificate(np.minimum(lower, value), np.maximum(upper, value))


def certify_regularised_stages(
    model: FiniteHorizonMDP, temperature: float, value: ArrayLike, log_policy: ArrayLike
) -> Certificate:
    """Bounds lower <= V^pi_tau <= V*_tau <= upper for values (H + 1, S), with ``value`` between them.

    If T_{tau,h} v_{h+1} <= v_h + d_h for every stage, then V*_h <= v_h + d_h + d_{h+1} + ..., and likewise below.

    Args:
        model: The model.
        temperature: tau > 0.
        value: Any values (H + 1, S).
        log_policy: Logarithms (H, S, A) of any policy.

    Raises:
        ValueError: As :func:`certify_regularised`.
        TypeError: A model of another kind.
    """
    tau, live = require_positive_temperature(temperature), ~require_stages(model).terminal
    given = require_value("value", real_numbers("value", value), model.horizon + 1, model.n_states)
    laws = require_log_policy("log_policy", log_policy, model.horizon, model.n_states, model.n_actions)
    v = np.where(live, given, 0.0)
    v[-1] = 0.0
    lower, upper = np.zeros_like(v), np.zeros_like(v)
    below = above = 0.0
    for h, rows in stages_backwards(model):
        problem = SoftProblem(rows, tau)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows makes the bounds infinite
            q, error = problem.action_values(v[h + 1]), problem.error(v[h + 1])
            low, _ = widened(problem.under(laws[h], q) - v[h], error)
            _, high = widened(problem.best(q) - v[h], error)
            below, above = (low + rows.mass[1] * below) * OUTWARDS, (high + rows.mass[1] * above) * OUTWARDS
            lower[h] = np.where(live, np.nextafter(v[h] + below, -np.inf), 0.0)
            upper[h] = np.where(live, np.nextafter(v[h] + above, np.inf), 0.0)
    return Certificate(np.minimum(lower, given), np.maximum(upper, given))


def require_log_policy(name: str, log_policy: ArrayLike, *shape: int) -> FloatArray:
    """Logarithms of action probabilities as float64, of this shape.

    Raises:
        ModelError: Naming the entry that is nan, or the row whose probabilities do not sum to one; no real numbers.
    """
    array = real_numbers(name, log_policy)
    require_shape(name, array, shape, "(S, A)" if len(shape) == 2 else "(H, S, A)")
    if np.isnan(array).any():
        raise ModelError(f"{entry(name, first(np.isnan(array)))} is nan; pass a logarithm, or -inf for probability 0")
    with np.errstate(over="ignore"):
        require_unit_sums(f"exp({name})", np.asarray(np.exp(array).sum(axis=-1)))
    return array
