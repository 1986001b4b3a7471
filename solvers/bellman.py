"""A finite MDP as the solvers see it: rows, and the Bellman operator on them.

State s owns the *decision rows* ``first[s] : first[s + 1]`` of P and r, one for each of its actions:

    q(row) = r(row) + gamma sum_s' P(row, s') v(s')        (T v)(s) = max of q over the rows of s

In a model every state owns A rows; where states have been merged (:mod:`.total_reward`), or actions left out,
they own different numbers of them.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ..models import TabularMDP
from ..models._checks import BoolArray
from ..models.outcomes import TransitionMatrix
from .solution import FloatArray, IntArray

UNIT_ROUNDOFF = 2.0**-53

# Below this many outcomes numpy is quick enough, and numba's start-up would show.
COMPILED_FROM = 100_000


@dataclass(frozen=True, eq=False)
class DecisionRows:
    """A decision process as rows, one for each action of each state.

    Attributes:
        P: Transition probabilities (R, S), dense or CSR.
        r: Expected rewards (R,).
        first: (S + 1,); state s owns the rows ``first[s] : first[s + 1]``, at least one.
        gamma: Discount in [0, 1].
        terminal: Mask (S,) of states whose rows stay put and pay 0.
    """

    P: TransitionMatrix
    r: FloatArray
    first: IntArray
    gamma: float
    terminal: BoolArray

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.terminal.size

    @property
    def n_actions(self) -> int:
        """Number of rows of each state where all have the same number, else 0."""
        n_actions = self.r.size // self.n_states
        return n_actions if self._is_even else 0

    @cached_property
    def _is_even(self) -> bool:
        return bool((np.diff(self.first) == self.r.size // self.n_states).all())

    @cached_property
    def owner(self) -> IntArray:
        """State (R,) that owns each row."""
        return np.repeat(np.arange(self.n_states), np.diff(self.first))

    @cached_property
    def longest(self) -> int:
        """Largest number of outcomes of a row."""
        if isinstance(self.P, np.ndarray):
            return int(np.count_nonzero(self.P, axis=1).max())
        return int(np.diff(self.P.indptr).max())

    @cached_property
    def most_rows(self) -> int:
        """Largest number of rows of a state."""
        return int(np.diff(self.first).max())

    @cached_property
    def mass(self) -> tuple[float, float]:
        """Bounds on every row's sum of probabilities, true in exact arithmetic."""
        sums = _row_sums(self.P)
        slack = (self.longest + 2) * UNIT_ROUNDOFF
        return float(sums.min()) * (1 - slack), float(sums.max()) * (1 + slack)

    @cached_property
    def reward_size(self) -> float:
        """Largest absolute reward."""
        return float(np.abs(self.r).max())

    def with_rewards(self, r: FloatArray) -> "DecisionRows":
        """The same process with other rewards (R,)."""
        return replace(self, r=r)


def _row_sums(P: TransitionMatrix) -> FloatArray:
    """The sum of each row (R,); scipy's own multiplies with ones, which takes a large sparse P twice as long."""
    if isinstance(P, np.ndarray) or not np.diff(P.indptr).all():
        return np.asarray(P.sum(axis=1), dtype=np.float64)
    return np.add.reduceat(P.data, P.indptr[:-1])


@dataclass(frozen=True, eq=False)
class Backup:
    """One application of T.

    Attributes:
        value: T v, (S,).
        choice: A row (S,) that attains the maximum, the first one.
        low: Least entry of T v - v.
        high: Greatest entry of T v - v.
    """

    value: FloatArray
    choice: IntArray
    low: float
    high: float


def decision_rows(model: TabularMDP) -> DecisionRows:
    """The rows of a model; a dense P that is mostly zero becomes a CSR array, nothing else is copied."""
    first = np.arange(model.n_states + 1) * model.n_actions
    return DecisionRows(_lighter(model.P_rows), model.r.reshape(-1), first, model.gamma, model.terminal)


def _lighter(P: TransitionMatrix) -> TransitionMatrix:
    """P itself, or as a CSR array where that is at most half as large."""
    if not isinstance(P, np.ndarray) or 3 * np.count_nonzero(P) > P.size:
        return P
    return sp.csr_array(P)


def row_values(rows: DecisionRows, v: FloatArray) -> FloatArray:
    """q as one number for each row, (R,)."""
    q = np.asarray(rows.P @ v)
    q *= rows.gamma
    q += rows.r
    return q


def best_values(rows: DecisionRows, q: FloatArray) -> FloatArray:
    """Greatest entry of q (R,) in each state, (S,)."""
    return np.maximum.reduceat(q, rows.first[:-1])


def best_rows(rows: DecisionRows, q: FloatArray) -> tuple[FloatArray, IntArray]:
    """Greatest entry of q (R,) in each state and the first row that attains it, both (S,)."""
    if rows.n_actions:
        choice = rows.first[:-1] + q.reshape(rows.n_states, -1).argmax(axis=1)
        return q[choice], choice
    best = best_values(rows, q)
    ties = np.flatnonzero(q == best[rows.owner])
    return best, ties[np.diff(rows.owner[ties], prepend=-1) > 0]


def backup(rows: DecisionRows, v: FloatArray) -> Backup:
    """Apply T to v (S,)."""
    if isinstance(rows.P, np.ndarray) or rows.P.nnz < COMPILED_FROM:
        value, choice = best_rows(rows, row_values(rows, v))
        change = value - v
        return Backup(value, choice, float(change.min()), float(change.max()))
    from .bellman_kernels import csr_backup

    value, choice = np.empty_like(v), np.empty(v.size, dtype=np.int64)
    P = rows.P
    low, high = csr_backup(P.data, P.indices, P.indptr, rows.r, rows.first, rows.gamma, v, value, choice)
    return Backup(value, choice, low, high)


def rounding_error(rows: DecisionRows, v: FloatArray) -> float:
    """Bound on the error of every entry of :func:`row_values`, whatever the order of summation.

    A sum of k products is wrong by at most k u / (1 - k u) sum |p| |v| (Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed., section 3.1), and two more operations follow.
    """
    size = rows.reward_size + rows.gamma * rows.mass[1] * float(np.abs(v).max())
    return (rows.longest + 4) * UNIT_ROUNDOFF * size + float(np.finfo(np.float64).tiny)


def defect(rows: DecisionRows, v: FloatArray) -> float:
    """Bound on what normalising each row of P exactly would change in P v, with gamma = 1; else 0.

    A chain that need not end is only defined by rows that sum to one, not by the float64 numbers that stand for them,
    so with gamma = 1 bounds are meant for the rows as stored and as normalised.
    """
    least, most = rows.mass
    return max(1.0 - least, most - 1.0) * float(np.abs(v).max()) if rows.gamma == 1.0 else 0.0


def as_csr(P: TransitionMatrix) -> sp.csr_array:
    """P as a CSR array; a CSR P is returned itself."""
    return sp.csr_array(P) if isinstance(P, np.ndarray) else P
