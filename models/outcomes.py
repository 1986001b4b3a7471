"""Outcomes: the transition law as a list of weighted events.

Row k (one state and action, or one state and pair of actions) has the outcomes
``indptr[k] : indptr[k + 1]``; outcome i leads to ``next_states[i]`` with probability
``probabilities[i]`` and pays ``rewards[i]``. Two outcomes of a row may share their next state and differ
in reward, as in Gymnasium's tables ``P[s][a] -> [(probability, s', reward, terminated), ...]``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ._checks import (
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    csr_rows,
    entry,
    first,
    frozen,
    real_array,
    require_csr_probabilities,
    require_distributions,
    require_shape,
)

TransitionMatrix = FloatArray | sp.csr_array


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Flat outcome lists of all rows; zero-probability outcomes are left out.

    Attributes:
        indptr: (rows + 1,) where each row's outcomes begin.
        next_states: (n,) state reached.
        probabilities: (n,) in (0, 1], summing to one over each row.
        rewards: (n,) paid with the outcome.
    """

    indptr: IntArray
    next_states: IntArray
    probabilities: FloatArray
    rewards: FloatArray


@dataclass(frozen=True, eq=False)
class Law:
    """A checked transition law: P as stored, expected rewards, and rewards of single outcomes if any differ."""

    P: TransitionMatrix
    r: FloatArray
    outcome_rewards: FloatArray | None


def check_law(P: Any, r: ArrayLike, lead: tuple[int, ...], n_states: int, live: BoolArray | None = None) -> Law:
    """Check transition probabilities and rewards and copy them into read-only arrays.

    Args:
        P: Dense ``lead + (S,)``, or a scipy sparse matrix of shape (prod(lead), S) whose stored entries
            are outcomes.
        r: Expected rewards of shape ``lead``, or one reward per outcome: ``lead + (S,)`` beside a dense
            P, (nnz,) in the order of ``P.data`` beside a sparse one.
        lead: Shape of the index of a row: (S, A), or (S, A, B) in games.
        n_states: Number of states S.
        live: Mask of shape ``lead``: rows inside the action sets. None: all of them.

    Raises:
        ModelError: Naming the entry that is not a probability, not finite, or out of shape.
    """
    rows = _check_transitions(P, lead, n_states, live)
    rewards = real_array("r", r)
    if rewards.shape == lead:
        _require_no_reward_outside(rewards, live)
        return Law(rows, frozen(rewards), None)
    stored = rows.data if sp.issparse(rows) else rows
    if rewards.shape != stored.shape:
        raise ModelError(
            f"r has shape {rewards.shape}; expected {lead}, or one reward per outcome of P: {stored.shape}"
        )
    return Law(rows, frozen(_expected_rewards(rows, rewards, lead)), frozen(rewards))


def _check_transitions(P: Any, lead: tuple[int, ...], n_states: int, live: BoolArray | None) -> TransitionMatrix:
    if sp.issparse(P):
        rows = csr_rows("P", P)
        require_shape("P", rows, (int(np.prod(lead)), n_states), f"({' * '.join('SAB'[: len(lead)])}, S)")
        require_csr_probabilities("P", rows, lead, live)
        return rows
    array = real_array("P", P)
    require_shape("P", array, (*lead, n_states), f"({', '.join('SAB'[: len(lead)])}, S)")
    require_distributions("P", array, live)
    return frozen(array)


def _require_no_reward_outside(r: FloatArray, live: BoolArray | None) -> None:
    if live is not None and (r[~live] != 0).any():
        index = first((r != 0) & ~live)
        raise ModelError(f"{entry('r', index)} is {r[index]:.6g}, but lies outside the action set; leave it zero")


def _expected_rewards(P: TransitionMatrix, rewards: FloatArray, lead: tuple[int, ...]) -> FloatArray:
    if isinstance(P, np.ndarray):
        return np.einsum("...t,...t->...", P, rewards)
    weighted = sp.csr_array((P.data * rewards, P.indices, P.indptr), shape=P.shape)
    return np.asarray(weighted @ np.ones(P.shape[1])).reshape(lead)


def outcomes_of(P: TransitionMatrix, r: FloatArray, outcome_rewards: FloatArray | None) -> Outcomes:
    """The outcome lists of a law; rows are numbered in C order of their index."""
    if isinstance(P, np.ndarray):
        flat = P.reshape(-1, P.shape[-1])
        row, column = np.nonzero(flat)
        probabilities = flat[row, column]
        paid = None if outcome_rewards is None else outcome_rewards.reshape(flat.shape)[row, column]
    else:
        keep = P.data > 0
        row = np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))[keep]
        column, probabilities = P.indices[keep], P.data[keep]
        paid = None if outcome_rewards is None else outcome_rewards[keep]
    rewards = r.reshape(-1)[row] if paid is None else paid
    indptr = np.zeros(r.size + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=r.size), out=indptr[1:])
    return Outcomes(
        frozen(indptr), frozen(column.astype(np.int64)), frozen(probabilities.copy()), frozen(rewards.copy())
    )


def law_nbytes(P: TransitionMatrix, *others: NDArray[Any] | None) -> int:
    """Bytes held by a law's arrays."""
    held = (P,) if isinstance(P, np.ndarray) else (P.data, P.indices, P.indptr)
    return sum(array.nbytes for array in (*held, *others) if array is not None)


def require_absorbing(outcomes: Outcomes, terminal: BoolArray) -> None:
    """Raise unless each terminal state stays put and pays nothing, whatever is done there."""
    if not terminal.any():
        return
    rows_per_state = (outcomes.indptr.size - 1) // terminal.size
    row = np.repeat(np.arange(outcomes.indptr.size - 1), np.diff(outcomes.indptr))
    state = row // rows_per_state
    leaves = terminal[state] & (outcomes.next_states != state)
    if leaves.any():
        (i,) = first(leaves)
        raise ModelError(
            f"state {state[i]} is terminal, but goes to state {outcomes.next_states[i]} with probability "
            f"{outcomes.probabilities[i]:.6g}; make each of its rows stay put, or do not call it terminal"
        )
    pays = terminal[state] & (outcomes.rewards != 0)
    if pays.any():
        (i,) = first(pays)
        raise ModelError(f"state {state[i]} is terminal, but pays {outcomes.rewards[i]:.6g}; set its rewards to 0")
