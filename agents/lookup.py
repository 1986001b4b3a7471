"""From states to observations: a law of actions known by state, asked by what the state shows."""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import BoolArray, FloatArray, IntArray
from .errors import AgentError

BLOCK = 1024  # states observed at a time


def one_hot(actions: IntArray, n_actions: int) -> FloatArray:
    """Laws (n, A) that put all mass on the given actions (n,).

    Raises:
        AgentError: They are not actions from 0 to A - 1.
    """
    if actions.dtype.kind not in "iu" or actions.ndim != 1 or ((actions < 0) | (actions >= n_actions)).any():
        raise AgentError(f"a plan holds no list of actions from 0 to {n_actions - 1}; plan again with learn(0)")
    law = np.zeros((actions.size, n_actions))
    law[np.arange(actions.size), actions] = 1.0
    return law


def look_up(
    observe: Callable[[IntArray], NDArray[Any]], law: FloatArray, terminal: BoolArray
) -> Callable[[NDArray[Any]], FloatArray]:
    """The law of actions as a function of observations (n, ...).

    Args:
        observe: What a batch of states shows.
        law: Action probabilities (S, A) in each state.
        terminal: Mask (S,) of states in which the episode is over; any action will do there, the law is uniform.

    Returns:
        The map to action probabilities (n, A); it raises AgentError for what no state shows.

    Raises:
        AgentError: Two states look the same but need different actions; no policy of the observation can do both.
            Or the law is one of another number of states.
    """
    if law.shape[:1] != terminal.shape:
        raise AgentError(f"a plan for {len(law)} states does not fit a model of {terminal.size}; plan again")
    law = np.where(terminal[:, None], 1.0 / law.shape[1], law)
    # Live states first: a terminal state may look like one of them, and then the live one's action is meant.
    rows, known = _index(observe, np.argsort(terminal, kind="stable"))
    confused = ~terminal & (law[known] != law).any(axis=1)
    if confused.any():
        state = int(np.argmax(confused))
        raise AgentError(
            f"states {known[state]} and {state} look the same but need different actions; make the environment "
            'with observation="state", or leave out the wrapper that hides the difference'
        )
    return lambda observations: law[_states_in(rows, observations)]


def state_lookup(
    observe: Callable[[IntArray], NDArray[Any]], n_states: int, terminal: BoolArray | None = None
) -> Callable[[NDArray[Any]], IntArray]:
    """The states (n,) as a function of observations (n, ...).

    Args:
        observe: What a batch of states shows.
        n_states: Number of states.
        terminal: Mask (S,) of states in which the episode is over, if they may look like others: the live state, or
            the first of them, is meant.

    Returns:
        The map; it raises AgentError for what no state shows.

    Raises:
        AgentError: Two states look the same.
    """
    over = np.zeros(n_states, dtype=np.bool_) if terminal is None else terminal
    rows, known = _index(observe, np.argsort(over, kind="stable"))
    confused = ~over & (known != np.arange(n_states))
    if confused.any():
        state = int(np.argmax(confused))
        raise AgentError(f"states {known[state]} and {state} look the same; what is learnt in one would be lost")
    return lambda observations: _states_in(rows, observations)


def _index(observe: Callable[[IntArray], NDArray[Any]], order: IntArray) -> tuple[dict[bytes, int], IntArray]:
    """The first state, in this order, that shows each observation: by observation, and for each state (S,)."""
    rows: dict[bytes, int] = {}
    known = np.empty_like(order)
    for states in np.array_split(order, 1 + order.size // BLOCK):
        keys = _keys(observe(states))
        known[states] = [rows.setdefault(key, int(state)) for state, key in zip(states, keys, strict=True)]
    return rows, known


def _states_in(rows: dict[bytes, int], observations: NDArray[Any]) -> IntArray:
    """The states (n,) that observations show."""
    found = np.array([rows.get(key, -1) for key in _keys(observations)], dtype=np.int64)
    if (found < 0).any():
        i = int(np.argmin(found))
        raise AgentError(f"observation {i} of the batch, {observations[i]}, is shown by no state of the model")
    return found


def _keys(observations: NDArray[Any]) -> list[bytes]:
    """Digests of a batch of observations, equal for equal ones (0.0 and -0.0 among them)."""
    size = math.prod(observations.shape[1:])
    rows = np.ascontiguousarray(observations + observations.dtype.type(0)).reshape(len(observations), size)
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
