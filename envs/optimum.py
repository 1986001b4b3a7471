"""The optimal values of single states, read off an exact solution.

    q*(s, a) = r(s, a) + gamma sum_s' P(s' | s, a) v*(s')          v*(s) = max_a q*(s, a)

with h and h + 1 for the stages of a finite horizon, where gamma = 1, and q*_h(s, a) = <phi(s, a), w_h> in a
linear MDP. Nothing here takes time that grows with the number of states.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import FiniteHorizonMDP, TabularMDP
from ..models.linear import LinearMDP
from ..models.outcomes import TransitionMatrix
from .observations import DecisionProcess

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def optimal_values(model: DecisionProcess, solution: Any, codes: IntArray) -> FloatArray:
    """v* of states (n,) given by code."""
    if isinstance(model, TabularMDP):
        return solution.value[codes]
    if isinstance(model, FiniteHorizonMDP):
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


def _rows(P: TransitionMatrix, first: int, count: int) -> TransitionMatrix:
    return P[first : first + count]
