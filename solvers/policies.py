"""What a caller may pass as a policy or a value, checked, and its action on values.

Inside the solvers a *rule* says which rows the states use: one chosen row for each, (S,), or a :class:`Mix`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models import FiniteHorizonMDP, MarkovGame, TabularMDP
from ..models._checks import PROBABILITY_TOLERANCE, entry, first
from .bellman import UNIT_ROUNDOFF, DecisionRows, best_values, rounding_error, row_values
from .solution import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Mix:
    """A rule that mixes rows: a weight for each row (R,), summing to one over the rows of each state."""

    weights: FloatArray


Rule = IntArray | Mix


def rule_backup(rows: DecisionRows, rule: Rule | None, v: FloatArray) -> FloatArray:
    """T_pi v (S,); T v where there is no rule."""
    q = row_values(rows, v)
    if rule is None:
        return best_values(rows, q)
    return state_sums(rows, rule.weights * q) if isinstance(rule, Mix) else q[rule]


def state_sums(rows: DecisionRows, terms: NDArray[Any]) -> NDArray[Any]:
    """Sums (S,) of terms (R,) over the rows of each state."""
    return np.add.reduceat(terms, rows.first[:-1])


def rule_mass(rows: DecisionRows, rule: Rule | None) -> float:
    """Bound on the mass that one step under the rule carries on: one, rounding apart."""
    if not isinstance(rule, Mix):
        return rows.mass[1]
    most = float(state_sums(rows, rule.weights).max())
    return rows.mass[1] * most * (1 + (rows.most_rows + 2) * UNIT_ROUNDOFF)


def rule_error(rows: DecisionRows, rule: Rule | None, v: FloatArray) -> float:
    """Bound on the rounding error of every entry of :func:`rule_backup`."""
    error = rounding_error(rows, v)
    if not isinstance(rule, Mix):
        return error
    size = float(np.abs(rows.r).max()) + rows.gamma * rows.mass[1] * float(np.abs(v).max())
    weight = rule_mass(rows, rule) / rows.mass[1]
    return 2 * weight * (error + (rows.most_rows + 2) * UNIT_ROUNDOFF * size)


def require_value(name: str, value: ArrayLike, *shape: int) -> FloatArray:
    """A float64 copy of a finite value of this shape.

    Raises:
        ValueError: Naming the entry at fault.
    """
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    if not np.isfinite(array).all():
        index = first(~np.isfinite(array))
        raise ValueError(f"{entry(name, index)} is {array[index]}; every entry must be finite")
    return array


def require_start(start: ArrayLike | None, model: TabularMDP | MarkovGame) -> FloatArray:
    """A value (S,) to start from: zero by default, and always zero in terminal states."""
    if start is None:
        return np.zeros(model.n_states)
    array = require_value("start", start, model.n_states)
    wrong = model.terminal & (array != 0.0)
    if wrong.any():
        index = first(wrong)
        raise ValueError(f"{entry('start', index)} is {array[index]}, but the state is terminal; its value is 0")
    return array


def require_tolerance(tol: float) -> float:
    """``tol`` as a float, refusing what is not positive and finite."""
    if isinstance(tol, bool) or not isinstance(tol, Real) or not 0.0 < tol < np.inf:
        raise ValueError(f"tol is {tol!r}; pass a positive number, such as 1e-8")
    return float(tol)


def policy_rule(model: TabularMDP, policy: ArrayLike, name: str = "policy") -> Rule:
    """The rule of a policy of actions (S,), or of action probabilities (S, A).

    Raises:
        ValueError: Naming the entry that is out of shape or range, or does not sum to one.
    """
    return _rule(name, np.asarray(policy), model.n_states, model.n_actions, ())


def stage_rules(model: FiniteHorizonMDP, policy: ArrayLike) -> list[Rule]:
    """H rules, of a policy (S,) or (H, S) of actions, or (S, A) or (H, S, A) of action probabilities."""
    array = np.asarray(policy)
    S, A, H = model.n_states, model.n_actions, model.horizon
    if array.ndim != (2 if _are_actions(array) else 3):
        return [_rule("policy", array, S, A, ())] * H
    if len(array) != H:
        expected = (H, S) if _are_actions(array) else (H, S, A)
        raise ValueError(f"policy has shape {array.shape}; expected {expected}, one rule for each stage")
    return [_rule("policy", array[h], S, A, (h,)) for h in range(H)]


def _are_actions(policy: NDArray[np.generic]) -> bool:
    return policy.dtype.kind in "iu"


def _rule(name: str, policy: NDArray[np.generic], n_states: int, n_actions: int, stage: tuple[int, ...]) -> Rule:
    if _are_actions(policy):
        return _action_rule(name, policy.astype(np.int64), n_states, n_actions, stage)
    if policy.dtype.kind != "f":
        raise ValueError(f"{name} has dtype {policy.dtype}; pass integer actions, or float action probabilities")
    return _mixed_rule(name, policy.astype(np.float64), n_states, n_actions, stage)


def _action_rule(name: str, actions: IntArray, n_states: int, n_actions: int, stage: tuple[int, ...]) -> IntArray:
    if actions.shape != (n_states,):
        raise ValueError(f"{name} has shape {actions.shape}; expected one action for each state, {(n_states,)}")
    bad = (actions < 0) | (actions >= n_actions)
    if bad.any():
        index = first(bad)
        raise ValueError(f"{entry(name, (*stage, *index))} is {actions[index]}; actions are 0..{n_actions - 1}")
    return np.arange(n_states) * n_actions + actions


def _mixed_rule(name: str, weights: FloatArray, n_states: int, n_actions: int, stage: tuple[int, ...]) -> Mix:
    if weights.shape != (n_states, n_actions):
        raise ValueError(
            f"{name} has dtype float and shape {weights.shape}; expected action probabilities of shape "
            f"{(n_states, n_actions)}, or integer actions of shape {(n_states,)}"
        )
    bad = ~(weights >= 0.0)
    if bad.any():
        index = first(bad)
        raise ValueError(f"{entry(name, (*stage, *index))} is {weights[index]}; probabilities must be >= 0")
    off = np.abs(weights.sum(axis=1) - 1.0) > PROBABILITY_TOLERANCE
    if off.any():
        index = first(off)
        total = float(weights[index].sum())
        raise ValueError(f"{entry(name, (*stage, *index))} sums to {total:.12g}, not 1; normalise that row")
    # Bounds on v* are bounds on the values of laws, which sum to one.
    return Mix((weights / weights.sum(axis=1, keepdims=True)).reshape(-1))


def stages_backwards(model: FiniteHorizonMDP) -> Iterator[tuple[int, DecisionRows]]:
    """(h, rows of stage h) for h = H - 1, ..., 0."""
    first_row = np.arange(model.n_states + 1) * model.n_actions
    rows = None
    for h in range(model.horizon - 1, -1, -1):
        if rows is None or not model.is_stationary:
            P, r = model.stage(h)
            rows = DecisionRows(P, r.reshape(-1), first_row, 1.0, model.terminal)
        yield h, rows
