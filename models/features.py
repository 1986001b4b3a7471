"""Feature maps phi(s, a) of linear models: a table, or a hash that costs no memory.

A linear model is known through features phi(s, a) in R^d (in games phi(s, a, b)). On the simplex,
phi(s, a) >= 0 and sum_i phi_i(s, a) = 1, any d probability measures mu_i make
P(. | s, a) = sum_i phi_i(s, a) mu_i a transition law, whatever the number of states. So features may be
computed where they are asked for: :class:`HashedSimplexFeatures` draws phi(s, a) from Dirichlet(1, ..., 1)
as the gaps of d - 1 sorted uniform numbers (Devroye, Non-Uniform Random Variate Generation, 1986,
chapter V), each number a hash of (seed, s, a, i) and nothing else.

The hash is SplitMix64 (Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014)
used as a tree: output s of the generator seeded by ``seed`` seeds a generator, output a of which seeds a
generator, output i of which is the number. Its 53 high bits are a multiple of 2^-53 in [0, 1), so sorting
and subtracting are exact: features agree bit for bit on every platform and sum to one exactly.
"""

import math
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import (
    PROBABILITY_TOLERANCE,
    FloatArray,
    IntArray,
    ModelError,
    entry,
    first,
    frozen,
    plain_array,
    real_array,
    require_positive,
    whole_number,
)
from .immutable import Immutable

MOST_STATES = 2**62
"""Largest number of states of hashed features; states are int64."""

HashArray = NDArray[np.uint64]


@runtime_checkable
class FeatureMap(Protocol):
    """Features of every state and action, in batches.

    In a game an action is a pair; where one number is asked for, (a, b) is coded as a*B + b.
    """

    @property
    def n_states(self) -> int:
        """Number of states S."""
        ...

    @property
    def action_shape(self) -> tuple[int, ...]:
        """(A,), or (A, B) in a game."""
        ...

    @property
    def dim(self) -> int:
        """Dimension d."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...

    @property
    def on_simplex(self) -> bool:
        """Whether all features are non-negative and sum to one; a map other than a table must vouch for it."""
        ...

    def __call__(self, states: ArrayLike) -> FloatArray:
        """Features of all actions of n states, (n, A, d), or (n, A, B, d) in a game.

        Raises:
            ModelError: A state is out of range (named with its position).
        """
        ...

    def at(self, states: ArrayLike, actions: ArrayLike) -> FloatArray:
        """Features (n, d) of n states and actions.

        Raises:
            ModelError: A state or an action is out of range (named with its position).
        """
        ...


@dataclass(frozen=True, eq=False, repr=False)
class TableFeatures(Immutable):
    """Features listed one by one.

    Attributes:
        table: (S, A, d), or (S, A, B, d) in a game.

    Raises:
        ModelError: Wrong shape, an empty axis, or an entry that is not finite.
    """

    table: FloatArray

    def __post_init__(self) -> None:
        """Check the table and replace it by a read-only copy."""
        table = real_array("phi", self.table)
        if table.ndim not in (3, 4):
            raise ModelError(f"phi has shape {table.shape}; expected (S, A, d), or (S, A, B, d) in a game")
        for count, what in zip((*table.shape[:-1], table.shape[-1]), _axes(table.ndim), strict=True):
            require_positive("phi", count, what)
        object.__setattr__(self, "table", frozen(table))

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.table.shape[0]

    @property
    def action_shape(self) -> tuple[int, ...]:
        """(A,), or (A, B) in a game."""
        return self.table.shape[1:-1]

    @property
    def dim(self) -> int:
        """Dimension d."""
        return self.table.shape[-1]

    @property
    def nbytes(self) -> int:
        """Bytes held by the table."""
        return self.table.nbytes

    @property
    def rows(self) -> FloatArray:
        """The table as (S*A, d), or (S*A*B, d) in a game; a view."""
        return self.table.reshape(-1, self.dim)

    @property
    def on_simplex(self) -> bool:
        """Whether all features are non-negative and sum to one."""
        sums = self.table.sum(axis=-1)
        return bool((self.table >= 0).all() and (np.abs(sums - 1.0) <= PROBABILITY_TOLERANCE).all())

    def __call__(self, states: ArrayLike) -> FloatArray:
        """Features of all actions of n states, (n, A, d), or (n, A, B, d) in a game."""
        return self.table[_indices("states", states, self.n_states)]

    def at(self, states: ArrayLike, actions: ArrayLike) -> FloatArray:
        """Features (n, d) of n states and actions."""
        s, a = _pairs(states, actions, self)
        return self.rows[s * _n_pairs(self) + a]


@dataclass(frozen=True)
class HashedSimplexFeatures:
    """Dirichlet(1, ..., 1) features, independent across states and actions, computed and never stored.

    Attributes:
        n_states: Number of states S, up to 2^62.
        n_actions: A, or (A, B) in a game.
        dim: Dimension d.
        seed: Which features; 0 <= seed < 2^64.

    Raises:
        ModelError: A number is not an integer or out of range.
    """

    n_states: int
    n_actions: int | tuple[int, int]
    dim: int
    seed: int

    def __post_init__(self) -> None:
        """Check every field."""
        set_field = object.__setattr__
        set_field(self, "n_states", _at_most("n_states", whole_number("n_states", self.n_states, 1), MOST_STATES))
        set_field(self, "n_actions", _action_counts(self.n_actions))
        set_field(self, "dim", whole_number("dim", self.dim, 1))
        set_field(self, "seed", _at_most("seed", whole_number("seed", self.seed, 0), 2**64 - 1))

    @property
    def action_shape(self) -> tuple[int, ...]:
        """(A,), or (A, B) in a game."""
        return (self.n_actions,) if isinstance(self.n_actions, int) else self.n_actions

    @property
    def nbytes(self) -> int:
        """Bytes held: none."""
        return 0

    @property
    def on_simplex(self) -> bool:
        """True."""
        return True

    def __call__(self, states: ArrayLike) -> FloatArray:
        """Features of all actions of n states, (n, A, d), or (n, A, B, d) in a game."""
        s = _indices("states", states, self.n_states)
        phi = self._features(s[:, None], np.arange(_n_pairs(self))[None, :])
        return phi.reshape(s.size, *self.action_shape, self.dim)

    def at(self, states: ArrayLike, actions: ArrayLike) -> FloatArray:
        """Features (n, d) of n states and actions."""
        return self._features(*_pairs(states, actions, self))

    def _features(self, states: IntArray, actions: IntArray) -> FloatArray:
        """Gaps of sorted uniforms, for index arrays that broadcast against each other."""
        keys = splitmix64(splitmix64(np.array(self.seed, dtype=np.uint64), states), actions)
        uniforms = np.ones((*keys.shape, self.dim))
        uniforms[..., :-1] = np.sort(unit_interval(splitmix64(keys[..., None], np.arange(self.dim - 1))), axis=-1)
        return np.diff(uniforms, axis=-1, prepend=0.0)


def splitmix64(seeds: HashArray, index: IntArray) -> HashArray:
    """Output ``index`` (0, 1, ...) of the SplitMix64 generators with these seeds; the arrays broadcast."""
    steps = np.atleast_1d(index).astype(np.uint64) + np.uint64(1)  # arrays wrap modulo 2^64 silently, scalars warn
    z = seeds + steps * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return cast("HashArray", z ^ (z >> np.uint64(31)))


def unit_interval(bits: HashArray) -> FloatArray:
    """The 53 high bits of each number as a multiple of 2^-53 in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _axes(ndim: int) -> tuple[str, ...]:
    actions = ("actions",) if ndim == 3 else ("actions of player_0", "actions of player_1")
    return ("states", *actions, "features")


def _n_pairs(phi: FeatureMap) -> int:
    return math.prod(phi.action_shape)


def _at_most(name: str, value: int, most: int) -> int:
    if value > most:
        raise ModelError(f"{name} is {value}; it must be at most {most}")
    return value


def _action_counts(n_actions: object) -> int | tuple[int, int]:
    if isinstance(n_actions, tuple | list):
        counts = tuple(whole_number("n_actions", count, 1) for count in cast("list[object]", n_actions))
        if len(counts) != 2:
            raise ModelError(f"n_actions is {n_actions!r}; pass A, or (A, B) in a game")
        return counts
    return whole_number("n_actions", n_actions, 1)


def _indices(name: str, values: ArrayLike, count: int) -> IntArray:
    """Values (n,) as int64 indices in [0, count)."""
    array = plain_array(name, values)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ModelError(f"{name} has dtype {array.dtype} and shape {array.shape}; pass integers of shape (n,)")
    bad = (array < 0) | (array >= count)
    if np.count_nonzero(bad):  # of few entries, as here in every step, several times as fast as any()
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; it must lie in [0, {count})")
    return array.astype(np.int64, copy=False)


def _pairs(states: ArrayLike, actions: ArrayLike, phi: FeatureMap) -> tuple[IntArray, IntArray]:
    s = _indices("states", states, phi.n_states)
    a = _indices("actions", actions, _n_pairs(phi))
    if s.shape != a.shape:
        raise ModelError(f"states has shape {s.shape} but actions {a.shape}; pass one action for each state")
    return s, a
