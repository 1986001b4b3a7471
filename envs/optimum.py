"""The optimal values of single states, read off an exact solution.

    q*(s, a) = r(s, a) + gamma sum_s' P(s' | s, a) v*(s')          v*(s) = max_a q*(s, a)

with h and h + 1 for the stages of a finite horizon, where gamma = 1, and q*_h(s, a) = <phi(s, a), w_h> in a
linear MDP and u_h(s) - w(s) gap(s, a) in a large-action MDP. Nothing here takes time that grows with the number of
states, nor with that of the actions of a large-action MDP.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import FiniteHorizonMDP, LargeActionMDP, TabularMDP
from ..models.linear import LinearMDP
from ..models.outcomes import TransitionMatrix
from .observations import DecisionProcess, Playable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def optimal_values(model: Playable, solution: Any, codes: IntArray) -> FloatArray:
    """v* of states (n,) given by code."""
    if isinstance(model, TabularMDP):
        return solution.value[codes]
    if isinstance(model, FiniteHorizonMDP | LargeActionMDP):
        return solution.value.reshape(-1)[codes]
    values = np.empty(codes.size)
    for h in np.unique(codes // model.n_states).tolist():
        at_stage = codes // model.n_states == h
        values[at_stage] = solution.value(codes[at_stage] % model.n_states, h)
    return values


def optimal_action_values(model: DecisionProcess, solution: Any, code: int) -> FloatArray:
    """q* of all actions (A,) in the state of that code; zero where the episode is over."""
    A = model.n_actions
    if isinstance(model, TabularMDP):
        return model.r[code] + model.gamma * (_rows(model.P_rows, code * A, A) @ solution.value)
    h, s = divmod(code, model.n_states)
    if isinstance(model, LinearMDP):
        return solution.action_values(np.array([s]), h)[0]
    if h == model.horizon:
        return np.zeros(A)
    row = (code if model.has_staged_law else s) * A
    r = model.r[s] if model.r.ndim == 2 else model.r[h, s]
    return r + _rows(model.P_rows, row, A) @ solution.value[h + 1]


def target_action_values(model: LargeActionMDP, code: int, n_right: IntArray) -> FloatArray:
    """q* (n,) of actions whose first ``n_right`` digits are those of the target and whose other digits are wrong."""
    h, s = divmod(code, model.n_states)
    if h == model.horizon:
        return np.zeros(n_right.size)
    right = np.arange(model.n_digits) < n_right[:, None]
    digits = np.where(right, model.target[s], (model.target[s] + 1) % model.base)
    return model.value[h, s] - model.w[s] * model.gap(np.full(n_right.size, s), digits)


def regret(model: Playable, solution: Any, code: int, action: Any) -> float:
    """v*(s) - q*(s, a) of an action, a number or its digits, in the state of that code; 0 where the episode is over."""
    if isinstance(model, LargeActionMDP):
        h, s = divmod(code, model.n_states)
        digits = np.array([action]) if np.ndim(action) else model.digits_of(np.array([action]))
        return float(model.w[s] * model.gap(np.array([s]), digits)[0]) if h < model.horizon else 0.0
    q = optimal_action_values(model, solution, code)
    return float(q.max() - q[action])


def _rows(P: TransitionMatrix, first: int, count: int) -> TransitionMatrix:
    return P[first : first + count]
