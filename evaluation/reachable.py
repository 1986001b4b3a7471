"""The states that a policy meets, found by asking it only there.

From the states of rho the policy's own actions lead to the next ones, and so on until nothing new comes up: the
smallest set that holds the support of rho and is closed under the policy,

    R_0 = {s : rho(s) > 0},     R_{t+1} = {s' : P(s' | s, a) > 0 for some s in R_t and a with pi(a | s) > 0}.

On it v^pi depends on nothing else, so a policy whose every answer is expensive, as a planner's, need not be asked
elsewhere. With a finite horizon the sets are those of the stages; a deterministic policy in a deterministic world that
starts in one state is asked H times.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..models import FiniteHorizonMDP, TabularMDP
from ..models.outcomes import TransitionMatrix

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Table = Callable[[IntArray], FloatArray]
"""A policy's action probabilities (n, A) in states (n,)."""


def met_states(model: TabularMDP | FiniteHorizonMDP, table: Table) -> tuple[BoolArray, FloatArray]:
    """The states that a policy meets when episodes begin in rho, and what it does there.

    Args:
        model: The model.
        table: The policy, which is asked once in each state met where the episode goes on.

    Returns:
        Mask (N,) of the states met, terminal ones among them, and action probabilities (N, A), uniform where the
        policy was not asked. N counts the states S, or the codes H*S of the stages before the last.
    """
    over = model.terminal if isinstance(model, TabularMDP) else model.terminal_codes()
    met = np.zeros(over.size, dtype=np.bool_)
    law = np.full((over.size, model.n_actions), 1.0 / model.n_actions)
    front = np.flatnonzero(model.rho)
    while front.size:
        met[front] = True
        live = front[~over[front]]
        if not live.size:
            break
        law[live] = table(live)
        reached = _reached(model, live, law[live])
        front = reached[~met[reached]]
    asked = slice(over.size if isinstance(model, TabularMDP) else model.horizon * model.n_states)
    return met[asked], law[asked]


def _reached(model: TabularMDP | FiniteHorizonMDP, states: IntArray, law: FloatArray) -> IntArray:
    """Where actions of positive probability lead from states (n,), which share their stage if there are stages."""
    if isinstance(model, TabularMDP):
        return _support(model.P_rows, states, law)
    stage = int(states[0]) // model.n_states
    return (stage + 1) * model.n_states + _support(model.stage(stage)[0], states % model.n_states, law)


def _support(P: TransitionMatrix, states: IntArray, law: FloatArray) -> IntArray:
    """Next states of positive probability, sorted, under the rows s*A + a of P with law[s, a] > 0."""
    chosen, actions = np.nonzero(law)
    rows = states[chosen] * law.shape[1] + actions
    if isinstance(P, np.ndarray):
        return np.flatnonzero(P[rows].any(axis=0))
    reached = cast("sp.csr_array", P[rows])
    return np.unique(reached.indices[reached.data > 0]).astype(np.int64)
