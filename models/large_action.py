"""Decision processes with more actions than can be listed, and a known optimum.

An action is a word of d digits in base b, so there are N = b^d of them. Every state s has one right word, the *target*
t(s), and a word is the worse the further it is from the target:

    gap(s, a) = .5 broken + .2 wrong + .3 [a != t(s)]                         in [0, 1]

with ``wrong`` the fraction of the digits that are wrong. The word is cut into blocks of two digits (the last block of
an odd number of digits is a single one), and ``broken`` is the fraction of the blocks that are not wholly right. The
quality 1 - gap is no sum over digits: what a digit is worth depends on its partner and on all the others.
In the *deceptive* variant a half right block (of two digits just one is right) is worse than a wholly wrong one:

    gap(s, a) = .7 broken + .1 half + .3 [a != t(s)]                          in [0, 1.1]

so that a learner who corrects one digit at a time is led away. Either gap is 0 at the target and at least .3 elsewhere.

The first k digits decide where to go: with probability 1 - slip to ``successors[s, first digits]``, else to a uniformly
drawn state. The optimum is planted. With any values u_h(s), u_H = 0, and prices w(s) > 0, stage h pays

    r_h(s, a) = u_h(s) - E[u_{h+1}(s') | s, a] - w(s) gap(s, a).

**Proposition.** V*_h = u_h, the target is the only optimal action at every stage and state, and for every policy
u_h(s) - V^pi_h(s) = E_pi[sum_{i >= h} w(s_i) gap(s_i, a_i) | s_h = s].

*Proof.* By backward induction from V*_H = 0 = u_H. If V*_{h+1} = u_{h+1}, then q*_h(s, a) = r_h(s, a) +
E[u_{h+1}(s') | s, a] = u_h(s) - w(s) gap(s, a), which is u_h(s) at the target and smaller elsewhere. For a policy,
subtract its Bellman equation from u_h = r_h + w gap + E[u_{h+1}]: the difference is w gap now plus the difference at
the next state, and 0 at stage H.

So regret is what the gaps cost, and the value of the uniform policy is known in closed form: with d digits in m blocks,
f of them of two digits, E[wrong] = 1 - 1/b, E[broken] = 1 - (f b^-2 + (m - f) b^-1) / m, P[a != t] = 1 - b^-d and
E[half] = (f / m) 2 (b - 1) / b^2.

Nothing here is as large as N: a model holds S d + S b^k + (H + 3) S numbers.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    FloatArray,
    IntArray,
    ModelError,
    entry,
    first,
    flag,
    frozen,
    initial_distribution,
    plain_array,
    real_array,
    require_room,
    require_shape,
    unit_number,
    whole_number,
)
from .finite import FiniteHorizonMDP
from .generators import as_generator
from .immutable import Immutable
from .linear import TABULAR_BYTES

ActionKind = Literal["digits", "index"]

MOST_INDICES = 100_000
"""Actions beyond which they are written as digits only: networks and tables have an entry for each index."""

MOST_WORDS = 2**63 - 1
"""Words beyond which they have no index in int64; digits have no such bound."""


@dataclass(frozen=True, eq=False, repr=False)
class LargeActionMDP(Immutable):
    """A finite-horizon MDP over words of digits with a planted optimum, in validated, read-only arrays.

    Attributes:
        target: The right digits (S, d) of each state, in 0, ..., b - 1.
        base: b >= 2, the number of values of a digit.
        successors: Where the first k digits lead, (S, b^k) states; their word's index says which column, most
            significant digit first. k <= d; k = 0 where actions do not move the state.
        slip: Probability of a uniformly drawn next state instead.
        w: Price (S,) of a gap, positive.
        value: Optimal values u (H + 1, S), zero at stage H.
        rho: Distribution (S,) of the state at stage 0.
        deceptive: Which gap.
        actions: How an environment of the model takes its actions: ``"digits"`` or ``"index"``, the number that the
            digits write, most significant digit first.

    Raises:
        ModelError: Naming the entry at fault: shapes, a digit or state out of range, a price that is not positive,
            values that do not end at zero; or indices of more than :data:`MOST_INDICES` actions.
    """

    target: IntArray
    base: int
    successors: IntArray
    slip: float
    w: FloatArray
    value: FloatArray
    rho: FloatArray
    deceptive: bool = False
    actions: ActionKind = "digits"

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        set_field = object.__setattr__
        set_field(self, "base", whole_number("base", self.base, 2))
        set_field(self, "target", _whole_table("target", self.target, self.base, "digits"))
        set_field(self, "successors", _whole_table("successors", self.successors, self.n_states, "states"))
        require_shape("successors", self.successors, (self.n_states, self.base**self.n_moving), "(S, b^k)")
        set_field(self, "slip", unit_number("slip", self.slip))
        set_field(self, "w", _prices(self.w, self.n_states))
        set_field(self, "value", _values(self.value, self.n_states))
        set_field(self, "rho", initial_distribution(self.rho, self.n_states))
        set_field(self, "deceptive", flag("deceptive", self.deceptive))
        _require_action_kind(self.actions, self.base, self.n_digits)

    @property
    def n_states(self) -> int:
        """Number of states S at each stage."""
        return self.target.shape[0]

    @property
    def n_digits(self) -> int:
        """Number of digits d of an action."""
        return self.target.shape[1]

    @property
    def n_actions(self) -> int:
        """Number of actions N = b^d, of any size."""
        return self.base**self.n_digits

    @property
    def n_moving(self) -> int:
        """The number k of leading digits that decide where to go."""
        k, columns = 0, self.successors.shape[1]
        while k < self.n_digits and self.base**k < columns:
            k += 1
        return k

    @property
    def horizon(self) -> int:
        """Number of stages H."""
        return self.value.shape[0] - 1

    @property
    def nbytes(self) -> int:
        """Bytes held by the model's arrays."""
        return sum(array.nbytes for array in (self.target, self.successors, self.w, self.value, self.rho))

    def gap(self, states: IntArray, digits: IntArray) -> FloatArray:
        """How far actions are from the targets, (n,): 0 there, at least .3 elsewhere.

        Args:
            states: (n,) states.
            digits: (n, d) actions.
        """
        right = digits == self.target[states]
        one, other = right[:, self._blocks[0]], right[:, self._blocks[1]]
        broken, missed = _share(~(one & other)), ~right.all(axis=1)
        if self.deceptive:
            return 0.7 * broken + 0.1 * _share(one ^ other) + 0.3 * missed
        return 0.5 * broken + 0.2 * _share(~right) + 0.3 * missed

    def next_states(self, states: IntArray, digits: IntArray) -> IntArray:
        """The states (n,) that actions lead to unless they slip; arguments as in :meth:`gap`."""
        return self.successors[states, digits[:, : self._place_values.size] @ self._place_values]

    def rewards(self, stages: IntArray, states: IntArray, digits: IntArray) -> FloatArray:
        """r_h(s, a) (n,).

        Args:
            stages: (n,) stages below H.
            states: (n,) states.
            digits: (n, d) actions.
        """
        later = self.value[stages + 1, self.next_states(states, digits)]
        expected = (1.0 - self.slip) * later + self.slip * self._mean_values[stages + 1]
        return self.value[stages, states] - expected - self.w[states] * self.gap(states, digits)

    def digits_of(self, indices: IntArray) -> IntArray:
        """The digits (n, d) of actions given by index (n,), most significant first.

        Raises:
            ModelError: There are more actions than int64 has numbers, or indices are not whole numbers (n,) in range.
        """
        if self.n_actions > MOST_WORDS:
            raise ModelError(f"{self.base}^{self.n_digits} actions have indices beyond int64; pass their digits (n, d)")
        codes = plain_array("actions", indices)
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise ModelError(f"actions has dtype {codes.dtype} and shape {codes.shape}; pass integers (n,)")
        outside = (codes < 0) | (codes >= self.n_actions)
        if outside.any():
            i = int(np.argmax(outside))
            raise ModelError(f"actions[{i}] is {codes[i]}; actions run from 0 to {self.n_actions - 1}")
        return codes.astype(np.int64, copy=False)[:, None] // place_values(self.base, self.n_digits) % self.base

    @property
    def optimal_value(self) -> float:
        """Expected return of the optimal policy, sum_s rho(s) u_0(s)."""
        return float(self.rho @ self.value[0])

    @property
    def uniform_value(self) -> float:
        """Expected return of the policy that draws every digit uniformly, exactly."""
        return float(self.rho @ self.uniform_values[0])

    @cached_property
    def uniform_values(self) -> FloatArray:
        """Values (H + 1, S) of the policy that draws every digit uniformly, exactly."""
        lost, price = np.zeros(self.n_states), self.w * self._uniform_gap
        values = self.value.copy()
        for h in range(self.horizon - 1, -1, -1):
            lost = price + (1.0 - self.slip) * lost[self.successors].mean(axis=1) + self.slip * lost.mean()
            values[h] -= lost
        return frozen(values)

    def to_tabular(self, max_bytes: int = TABULAR_BYTES) -> FiniteHorizonMDP:
        """The same problem with every action's law and rewards written out, actions in the order of their indices.

        Args:
            max_bytes: The largest result to build.

        Raises:
            ModelError: The result would be larger; nothing has been allocated then.
        """
        S, H, N = self.n_states, self.horizon, self.n_actions
        count = _count_in_words(self.base, self.n_digits)
        remedy = "nothing needs it written out: the optimum is the model's value, any policy is audited without"
        require_room(f"a table of {count} actions", 8 * S * N * (S + H), max_bytes, remedy)
        states, digits = np.repeat(np.arange(S), N), np.tile(self.digits_of(np.arange(N)), (S, 1))
        P = np.full((S * N, S), self.slip / S)
        P[np.arange(S * N), self.next_states(states, digits)] += 1.0 - self.slip
        r = np.stack([self.rewards(np.full_like(states, h), states, digits) for h in range(H)])
        return FiniteHorizonMDP(P.reshape(S, N, S), r.reshape(H, S, N), H, self.rho)

    @cached_property
    def _blocks(self) -> tuple[IntArray, IntArray]:
        """The two digits of every block, which are one where it has only one."""
        one = np.arange(0, self.n_digits, 2)
        return one, np.minimum(one + 1, self.n_digits - 1)

    @cached_property
    def _place_values(self) -> IntArray:
        """What the digits that decide where to go count, (k,)."""
        return place_values(self.base, self.n_moving)

    @cached_property
    def _mean_values(self) -> FloatArray:
        """Mean of u_h over the states, (H + 1,)."""
        return self.value.mean(axis=1)

    @property
    def _uniform_gap(self) -> float:
        """Expected gap of uniform digits."""
        one, other = self._blocks
        m, f, b = one.size, int(np.count_nonzero(one != other)), self.base
        broken = 1.0 - (f / b**2 + (m - f) / b) / m
        missed = -math.expm1(-self.n_digits * math.log(b))
        if self.deceptive:
            return 0.7 * broken + 0.1 * (f / m) * 2 * (b - 1) / b**2 + 0.3 * missed
        return 0.5 * broken + 0.2 * (1.0 - 1.0 / b) + 0.3 * missed


def large_action_mdp(
    n_states: int,
    base: int,
    digits: int,
    horizon: int,
    rng: np.random.Generator | int,
    *,
    deceptive: bool = False,
    slip: float = 0.2,
    transition_digits: int | None = None,
    actions: ActionKind = "digits",
    max_bytes: int = TABULAR_BYTES,
) -> LargeActionMDP:
    """A random instance with uniform targets, successors and starts, prices in U[.5, 1.5], about one a stage to gain.

    The values are u_h(s) = (H - h) + (H - h) / H zeta(s) with zeta(s) in U[0, 1].

    Args:
        n_states: S.
        base: b >= 2.
        digits: d.
        horizon: H.
        rng: A seed, or where the randomness comes from.
        deceptive: Which gap.
        slip: Probability of a uniformly drawn next state.
        transition_digits: How many leading digits decide where to go, 0 to d. None: two, or d if that is less.
        actions: How an environment takes its actions.
        max_bytes: The largest model to build.

    Raises:
        ModelError: A number out of range, or a model that would be larger; nothing has been allocated then.
    """
    rng = as_generator(rng)
    S, b, d = whole_number("n_states", n_states, 1), whole_number("base", base, 2), whole_number("digits", digits, 1)
    H = whole_number("horizon", horizon, 1)
    k = min(2, d) if transition_digits is None else whole_number("transition_digits", transition_digits, 0)
    if k > d:
        raise ModelError(f"transition_digits is {k}, but an action has {d} digits; pass at most {d}")
    require_room("a model", 8 * S * (d + b**k + H + 3), max_bytes, "lower base, transition_digits or n_states")
    target = rng.integers(0, b, (S, d))
    w, zeta = rng.uniform(0.5, 1.5, S), rng.uniform(0.0, 1.0, S)
    successors = rng.integers(0, S, (S, b**k))
    left = np.arange(H, -1, -1.0)[:, None]
    value = left + left / H * zeta
    return LargeActionMDP(target, b, successors, slip, w, value, np.full(S, 1.0 / S), deceptive, actions)


def place_values(base: int, n_digits: int) -> IntArray:
    """What each digit of a number counts, (n_digits,), most significant first."""
    return np.array([base**i for i in reversed(range(n_digits))], dtype=np.int64)


def _share(marked: np.ndarray) -> FloatArray:
    """The fraction of marked entries in each row; exactly 0 where there is none."""
    return marked.sum(axis=1) / marked.shape[1]


def _whole_table(name: str, table: ArrayLike, below: int, what: str) -> IntArray:
    """A read-only int64 copy (S, n) of integers in [0, below)."""
    array = plain_array(name, table)
    if array.ndim != 2 or 0 in array.shape:
        raise ModelError(f"{name} has shape {array.shape}; expected (S, n), at least one of each")
    if array.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {array.dtype}; pass integers")
    bad = (array < 0) | (array >= below)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; {what} run from 0 to {below - 1}")
    return frozen(array.astype(np.int64))


def _prices(w: ArrayLike, n_states: int) -> FloatArray:
    array = real_array("w", w)
    require_shape("w", array, (n_states,), "(S,)")
    if (array <= 0).any():
        index = first(array <= 0)
        raise ModelError(f"{entry('w', index)} is {array[index]}; prices must be positive, for the target to be best")
    return frozen(array)


def _values(value: ArrayLike, n_states: int) -> FloatArray:
    array = real_array("value", value)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] != n_states:
        raise ModelError(f"value has shape {array.shape}; expected (H + 1, S) with S = {n_states} and H >= 1")
    if array[-1].any():
        index = (array.shape[0] - 1, *first(array[-1] != 0))
        raise ModelError(f"{entry('value', index)} is {array[index]}; after the last stage every value is 0")
    return frozen(array)


def _count_in_words(base: int, n_digits: int) -> str:
    """The number of actions, as a power where it has no index: Python writes no number of more than 4,300 digits."""
    return f"{base**n_digits:,}" if base**n_digits <= MOST_WORDS else f"{base}^{n_digits}"


def _require_action_kind(actions: object, base: int, n_digits: int) -> None:
    if actions not in ("digits", "index"):
        raise ModelError(f'actions is {cast("str", actions)!r}; pass "digits" or "index"')
    if actions == "index" and base**n_digits > MOST_INDICES:
        raise ModelError(
            f'actions is "index", but there are {_count_in_words(base, n_digits)} of them; indices go up to '
            f'{MOST_INDICES:,}: use "digits"'
        )
