"""Proofs that no hypothesis promises more: trees of disjunctions whose leaves are closed by weak duality.

The root stands for the whole program. A :class:`Split` at datum i has one child for each action a, which adds the
choice |Delta_ia(theta)| <= slack_ia; together the children hold everything the parent holds. A :class:`Leaf` carries
multipliers y >= 0 of constraints <a_k, theta> <= b_k that hold on its path. As ||theta|| <= B,

    <c, theta> = sum_k y_k <a_k, theta> + <c - sum_k y_k a_k, theta> <= sum_k y_k b_k + B ||c - sum_k y_k a_k||,

so the right-hand side bounds the leaf's value, whatever the multipliers; with c = 0 and a negative right-hand side the
leaf is empty. The largest bound of a leaf bounds the program. :mod:`~lookahead_rl.solvers.hypotheses.verification`
recomputes all of this from the data and the proof alone.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .bank import FloatArray, IntArray


class Constraint(IntEnum):
    """Kinds of constraints <a, theta> <= b of a datum i (and action a)."""

    BELOW = 0
    """Delta_ia <= slack: a = u_ia, b = slack_ia - r_ia. Holds where (i, a) was chosen, and always for OPTIMAL."""
    ABOVE = 1
    """-Delta_ia <= slack: a = -u_ia, b = slack_ia + r_ia. Holds where (i, a) was chosen."""
    CAP = 2
    """<phi_i, theta> <= cap_i, where the program has a value range; the action is 0."""
    SIGN = 3
    """-<phi_i, theta> <= 0, where the program has a value range; the action is 0."""


@dataclass(frozen=True, eq=False)
class Split:
    """A datum's disjunction.

    Attributes:
        datum: Its index i in the bank.
        children: For each action the index of its node in the proof. Two actions may share a node only if their rows
            (u, r and slack) are equal.
    """

    datum: int
    children: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Leaf:
    """A closed node.

    Attributes:
        kinds: :class:`Constraint` of each multiplier, (k,).
        data: Index of its datum, (k,).
        actions: Its action, (k,).
        multipliers: y >= 0, (k,).
        bound: The bound they give; -inf where they show that the node is empty.
    """

    kinds: NDArray[np.int8]
    data: IntArray
    actions: IntArray
    multipliers: FloatArray
    bound: float


@dataclass(frozen=True, eq=False)
class OptimismCertificate:
    """Bounds on the value of an optimistic program, with the proof of the upper one.

    Attributes:
        theta: The hypothesis (d,) that attains the lower bound, or None.
        lower: <c, theta>, or -inf.
        upper: The largest bound of a leaf; -inf where no hypothesis is consistent.
        violation: By how much theta misses the worst of its constraints (rounding; 1e-7 is usual), or 0 without theta.
        nodes: The proof; node 0 is the root.
        n_data: Number of data in the bank when the certificate was issued. Later data cannot raise the upper bound.
    """

    theta: FloatArray | None
    lower: float
    upper: float
    violation: float
    nodes: tuple[Split | Leaf, ...]
    n_data: int

    @property
    def gap(self) -> float:
        """upper - lower; 0 where both are -inf."""
        return 0.0 if self.upper == self.lower else self.upper - self.lower
