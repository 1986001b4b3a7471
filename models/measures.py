"""Probability measures of finite support on a state space too large to list.

A measure mu = sum_j w_j delta_{x_j} on k states costs 2k numbers whatever the number of states, and an
expectation is E_mu[v] = sum_j w_j v(x_j): a linear model whose d measures have such supports needs its
values at d*k states at most.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    FloatArray,
    IntArray,
    ModelError,
    entry,
    first,
    frozen,
    plain_array,
    real_array,
    require_distributions,
    require_positive,
    require_shape,
)
from .immutable import Immutable


@dataclass(frozen=True, eq=False, repr=False)
class FiniteSupportMeasures(Immutable):
    """A family of probability measures, each on at most k states.

    Attributes:
        states: (..., k) int64 states; the leading axes index the family (none: a single measure).
        weights: (..., k) their probabilities, summing to one over the last axis. A state may be named
            twice, its weights add up.

    Raises:
        ModelError: Naming the entry at fault: a negative state, a weight that is not a probability, weights
            that do not sum to one, unequal shapes, an empty support.
    """

    states: IntArray
    weights: FloatArray

    def __post_init__(self) -> None:
        """Check both arrays and replace them by read-only copies."""
        weights = real_array("weights", self.weights)
        states = _states(self.states)
        require_shape("states", states, weights.shape, "that of weights")
        require_positive("weights", states.shape[-1] if states.ndim else 0, "states of the support")
        require_distributions("weights", weights)
        object.__setattr__(self, "states", frozen(states))
        object.__setattr__(self, "weights", frozen(weights))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the family's index: () for a single measure."""
        return self.weights.shape[:-1]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.states.nbytes + self.weights.nbytes

    def support(self) -> IntArray:
        """The states that some measure names, sorted, each once."""
        return np.unique(self.states)

    def dense(self, n_states: int) -> FloatArray:
        """The probabilities of all states, (..., S)."""
        return scattered(self.states, self.weights, n_states)


def scattered(columns: IntArray, weights: FloatArray, width: int) -> FloatArray:
    """Weights (..., k) added up at their columns, (..., width), each sum rounded once."""
    n_rows = math.prod(weights.shape[:-1])
    row = np.repeat(np.arange(n_rows), weights.shape[-1])
    return added_up(row * width + columns.reshape(-1), weights.reshape(-1), n_rows * width).reshape(
        *weights.shape[:-1], width
    )


def added_up(places: IntArray, weights: FloatArray, n_places: int) -> FloatArray:
    """Weights (n,) added up at their places, (n_places,).

    Each sum is rounded once, so that bounds on rounding errors need not know how often a place is named.
    """
    total = np.bincount(places, weights, n_places).astype(np.float64)
    (crowded,) = np.nonzero(np.bincount(places, minlength=n_places) > 2)
    if crowded.size:
        order = np.argsort(places)
        begins, ends = (np.searchsorted(places[order], crowded, side) for side in ("left", "right"))
        for place, begin, end in zip(crowded, begins, ends, strict=True):
            total[place] = math.fsum(weights[order[begin:end]])
    return total


def require_states_below(name: str, measures: FiniteSupportMeasures, n_states: int) -> None:
    """Raise unless a family lives on the states 0, ..., n_states - 1."""
    bad = measures.states >= n_states
    if bad.any():
        index = first(bad)
        state = measures.states[index]
        raise ModelError(f"{entry(name + '.states', index)} is {state}; states run from 0 to {n_states - 1}")


def _states(states: ArrayLike) -> IntArray:
    raw = plain_array("states", states)
    if raw.dtype.kind not in "iu":
        raise ModelError(f"states has dtype {raw.dtype}; pass int64 states")
    if (raw < 0).any() or (raw > np.iinfo(np.int64).max).any():
        index = first((raw < 0) | (raw > np.iinfo(np.int64).max))
        raise ModelError(f"{entry('states', index)} is {raw[index]}; states are int64 numbers >= 0")
    return np.array(raw, dtype=np.int64, order="C")
