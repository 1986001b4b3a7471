"""Certificates: bounds on values, computed from a model and an answer alone.

Let v be any value (zero in terminal states), pi any policy, and xi a bound on expected numbers of steps: a
function with xi >= 1 + gamma P_a xi for every action a (of pi only, for the lower bound). T is monotone and
T(v + c xi) <= T v + c (xi - 1) for c >= 0, so with c = max(0, max(T v - v)) the function v + c xi lies above its
image under T. Hence v* <= v + c xi, and in the same way for the policy:

    v + min(0, min(T_pi v - v)) xi  <=  v^pi  <=  v*  <=  v + max(0, max(T v - v)) xi.

With gamma < 1 and P stochastic, xi = 1 / (1 - gamma) will do, and these are the bounds of MacQueen (Journal of
Mathematical Analysis and Applications 14, 1966) and Porteus (Management Science 18, 1971; Puterman, Markov
Decision Processes, 1994, Theorem 6.6.3), widened where they would not hold v itself. So a corrupted entry
of v widens them by at least its distance from v*, and a corrupted policy by at least what it loses.
With gamma = 1, xi of the policy is computed from its chain, and xi of all policies that matter from a potential
(:mod:`.total_reward`).

The bounds hold in exact arithmetic for the matrices as stored, whose rows need not sum to one exactly (with
gamma = 1 for the rows as normalised, too, since without that end components have no meaning): the rounding of T v is
bounded a priori, and every later operation is rounded outwards.
"""

from collections.abc import Sequence

import numpy as np

from ..models import FiniteHorizonMDP, TabularMDP
from ..models._checks import BoolArray
from .bellman import UNIT_ROUNDOFF, DecisionRows, best_values, decision_rows, defect, rounding_error, row_values
from .chains import fate, policy_chain, solve_chain
from .policies import (
    Rule,
    policy_rule,
    require_value,
    rule_backup,
    rule_error,
    rule_mass,
    stage_rules,
    stages_backwards,
)
from .solution import Certificate, FloatArray, IntArray
from .total_reward import Quotient, quotient

# Products of a few factors are scaled by this to make up for their own rounding.
OUTWARDS = 1.0 + 16 * UNIT_ROUNDOFF
TINY = float(np.finfo(np.float64).tiny)


def certify(model: TabularMDP, value: FloatArray, policy: IntArray | FloatArray) -> Certificate:
    """Bounds lower <= v^policy <= v* <= upper, between which ``value`` lies too.

    Args:
        model: The model.
        value: Any value (S,); the closer to v*, the narrower the bounds.
        policy: Any policy: actions (S,), or action probabilities (S, A).

    Raises:
        ValueError: Naming the entry of value or policy that is out of shape or range.
    """
    rows = decision_rows(model)
    rule = policy_rule(model, policy)
    return certify_rows(quotient(model), require_value("value", value, rows.n_states), rule)


def certify_rows(problem: Quotient, value: FloatArray, rule: Rule) -> Certificate:
    """:func:`certify` for a policy given as rows of the model, with the analysis of the model at hand."""
    lower = policy_bounds(problem.model_rows, value, rule).lower
    upper = _upper(problem, value, lower)
    return Certificate(np.minimum(lower, value), np.maximum(upper, value))


def certify_policy(model: TabularMDP, value: FloatArray, policy: IntArray | FloatArray) -> Certificate:
    """Bounds lower <= v^policy <= upper, between which ``value`` lies too; arguments as in :func:`certify`."""
    v = require_value("value", value, model.n_states)
    bounds = policy_bounds(decision_rows(model), v, policy_rule(model, policy))
    return Certificate(np.minimum(bounds.lower, v), np.maximum(bounds.upper, v))


def policy_bounds(rows: DecisionRows, value: FloatArray, rule: Rule) -> Certificate:
    """Two-sided bounds on v^pi; infinite where gamma = 1 and the policy's total reward is, or may be, infinite."""
    if rows.gamma < 1.0:
        steps = np.full(rows.n_states, steps_bound(rows.gamma * rule_mass(rows, rule)))
        return _bounds_around(rows, value, rule, rows.terminal, steps)
    fates = fate(rows, rule)
    settled = fates.settled
    v = np.where(settled, 0.0, value)
    bounds = _bounds_around(rows, v, rule, settled, _chain_steps(rows, rule, settled))
    lower = np.where(fates.to_minus, -np.inf, np.where(fates.to_plus, np.inf, bounds.lower))
    upper = np.where(fates.to_plus, np.inf, np.where(fates.to_minus, -np.inf, bounds.upper))
    return Certificate(lower, upper)


def _bounds_around(
    rows: DecisionRows, value: FloatArray, rule: Rule, ended: BoolArray, steps: FloatArray
) -> Certificate:
    """v + min(0, min(T_pi v - v)) xi and v + max(0, max(T_pi v - v)) xi, where the chain has not ended."""
    v = np.where(ended, 0.0, value)
    if ended.all():
        return Certificate(v, v.copy())
    change = (rule_backup(rows, rule, v) - v)[~ended]
    low, high = widened(change, rule_error(rows, rule, v) + defect(rows, v))
    lower = np.where(ended, 0.0, np.nextafter(v + low * steps * OUTWARDS, -np.inf))
    upper = np.where(ended, 0.0, np.nextafter(v + high * steps * OUTWARDS, np.inf))
    return Certificate(lower, upper)


def widened(change: FloatArray, error: float) -> tuple[float, float]:
    """min(0, min change) and max(0, max change), moved outwards by what rounding may hide.

    Neither is zero, so that times an infinite number of steps each is infinite. Where the change overflows, nothing
    is known.
    """
    if not np.isfinite(change).all():
        return -np.inf, np.inf
    low, high = float(change.min()), float(change.max())
    low -= error + 2 * UNIT_ROUNDOFF * abs(low)
    high += error + 2 * UNIT_ROUNDOFF * abs(high)
    return min(-TINY, low), max(TINY, high)


def _upper(problem: Quotient, value: FloatArray, lower: FloatArray) -> FloatArray:
    """v + max(0, max(T v - v)) xi on the quotient, read on the model's states (S,)."""
    rows = problem.rows
    v = problem.merge_value(value)
    if rows.terminal.all():
        return v[problem.merged]
    _, high = widened(
        (best_values(rows, row_values(rows, v)) - v)[~rows.terminal], rounding_error(rows, v) + defect(rows, v)
    )
    potential = problem.potential if rows.gamma == 1.0 else None
    if potential is not None:
        distance = np.maximum(potential.h - problem.merge_value(lower), 0.0)
        upper = np.minimum(v + high * OUTWARDS * distance / potential.slack, potential.h)
    elif rows.gamma == 1.0:
        upper = np.full(v.size, np.inf)
    else:
        upper = v + high * OUTWARDS * steps_bound(rows.gamma * rows.mass[1])
    return np.where(rows.terminal, 0.0, np.nextafter(upper, np.inf))[problem.merged]


def steps_bound(modulus: float) -> float:
    """1 / (1 - modulus), rounded up; infinite where the modulus may reach one."""
    room = 1.0 - modulus * OUTWARDS - 2 * UNIT_ROUNDOFF
    return OUTWARDS / room if room > 0.0 else np.inf


def _chain_steps(rows: DecisionRows, rule: Rule, ended: BoolArray) -> FloatArray:
    """xi (S,) with xi >= 1 + P_pi xi where the chain has not ended: a solution of y = 1 + P_pi y, then verified.

    If 1 + P_pi y - y <= e < 1, then xi = y / (1 - e) is one.
    """
    counting = rows.with_rewards(np.ones_like(rows.r))
    live = ~ended
    y = solve_chain(policy_chain(counting, rule, ended), np.zeros(rows.n_states), 0.01)
    y = np.where(ended, 0.0, y)
    if ended.all() or not (np.isfinite(y).all() and (y >= 0.0).all()):
        return np.where(ended, 0.0, np.inf)
    _, excess = widened((rule_backup(counting, rule, y) - y)[live], rule_error(counting, rule, y) + defect(counting, y))
    return y * OUTWARDS / (1.0 - excess) if excess < 1.0 else np.where(ended, 0.0, np.inf)


def certify_stages(model: FiniteHorizonMDP, value: FloatArray, policy: IntArray | FloatArray) -> Certificate:
    """Bounds lower <= v^policy <= v* <= upper for values (H + 1, S), with ``value`` between them.

    If T_h v_{h+1} <= v_h + d_h for every stage, then v*_h <= v_h + d_h + d_{h+1} + ..., and likewise below.

    Args:
        model: The model.
        value: Any values (H + 1, S).
        policy: Actions (H, S) or (S,), or action probabilities (H, S, A) or (S, A).

    Raises:
        ValueError: Naming the entry of value or policy that is out of shape or range.
    """
    v = require_value("value", value, model.horizon + 1, model.n_states)
    lower, _ = _stage_bounds(model, v, stage_rules(model, policy))
    _, upper = _stage_bounds(model, v, [None] * model.horizon)
    return Certificate(lower, upper)


def certify_stage_policy(model: FiniteHorizonMDP, value: FloatArray, policy: IntArray | FloatArray) -> Certificate:
    """Bounds lower <= v^policy <= upper for values (H + 1, S); arguments as in :func:`certify_stages`."""
    v = require_value("value", value, model.horizon + 1, model.n_states)
    return Certificate(*_stage_bounds(model, v, stage_rules(model, policy)))


def _stage_bounds(
    model: FiniteHorizonMDP, value: FloatArray, rules: Sequence[Rule | None]
) -> tuple[FloatArray, FloatArray]:
    """Bounds on the value of a staged policy, or on v* where the rules are None, (H + 1, S) each."""
    live = ~model.terminal
    v = np.where(live, value, 0.0)
    v[-1] = 0.0
    lower, upper = np.zeros_like(v), np.zeros_like(v)
    below = above = 0.0
    for h, rows in stages_backwards(model):
        change = np.where(live, rule_backup(rows, rules[h], v[h + 1]) - v[h], 0.0)
        low, high = widened(change, rule_error(rows, rules[h], v[h + 1]))
        mass = rule_mass(rows, rules[h])
        below, above = (low + mass * below) * OUTWARDS, (high + mass * above) * OUTWARDS
        lower[h] = np.where(live, np.nextafter(v[h] + below, -np.inf), 0.0)
        upper[h] = np.where(live, np.nextafter(v[h] + above, np.inf), 0.0)
    return np.minimum(lower, value), np.maximum(upper, value)
