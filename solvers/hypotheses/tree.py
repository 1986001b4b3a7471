"""Best-first branch and bound over linear relaxations, which outlives the data it was started with.

A node is a set of choices, "at datum i action a is consistent"; its relaxation bounds what hypotheses with these
choices promise. The node of the largest bound is taken up: if its point satisfies every datum, it is the optimum; else
it is split at a datum, one child for each action that is not a copy of another: at the one its point misses most, among
those whose rows hold the bound where it is, if there are such. Nodes whose bound is
no better than the incumbent's value stay where they are and close the tree.

More data only remove hypotheses, so the tree goes on when the bank grows: the bounds of all nodes stay valid, and a
node taken up again is solved anew from its own basis only if its point violates something new. What is proved at any
moment is in :meth:`HypothesisTree.certificate`, every leaf with the multipliers of its bound
(:mod:`~lookahead_rl.solvers.hypotheses.verification` checks it).
"""

import heapq
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from .bank import FloatArray
from .certificates import Leaf, OptimismCertificate, Split
from .program import Optimum, Outcome, Program
from .relaxation import Relaxation, Vertex

CONSISTENCY = 1e-7
"""A hypothesis satisfies its constraints up to this, relative to 1 + B."""


NEGLIGIBLE = 1e-6
"""Multipliers of this share of the largest one come from the perturbed objective, see the relaxation."""


@dataclass(eq=False)
class _Node:
    """A node of the tree; ``datum`` and ``children`` are set when it is split."""

    vertex: Vertex
    choices: tuple[int, ...]
    n_data: int
    datum: int = -1
    children: dict[int, int] = field(default_factory=dict[int, int])


@final
class HypothesisTree:
    """The optimistic program of a growing bank, solved to proven optimality or as far as asked.

    Args:
        program: The program; its bank may grow between calls.

    Attributes:
        expansions: Nodes split so far.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.tolerance = CONSISTENCY * (1.0 + program.radius)
        self.expansions = 0
        self._relaxation = Relaxation(program)
        self._n_data = len(program.bank)
        self._nodes = [_Node(self._relaxation.again(self._relaxation.root(), ()), (), self._n_data)]
        self._heap = [(-self._nodes[0].vertex.bound, 0)]
        self._incumbent: FloatArray | None = None
        self._given_up: list[int] = []

    @property
    def upper(self) -> float:
        """What no hypothesis exceeds; -inf where none is left."""
        given_up = max((self._nodes[index].vertex.bound for index in self._given_up), default=-np.inf)
        return max(self.lower, given_up, -self._heap[0][0] if self._heap else -np.inf)

    @property
    def lower(self) -> float:
        """The value of the best hypothesis known; -inf without one."""
        return -np.inf if self._incumbent is None else float(self.program.objective @ self._incumbent)

    @property
    def incumbent(self) -> FloatArray | None:
        """The best hypothesis known, or None."""
        return self._incumbent

    def offer(self, theta: FloatArray) -> bool:
        """Take a hypothesis as incumbent if it satisfies the program and beats the present one."""
        self._refresh()
        if not float(self.program.objective @ theta) > self.lower or self.program.violation(theta) > self.tolerance:
            return False
        self._incumbent = theta.copy()
        return True

    def solve(self, *, gap: float = 0.0, max_expansions: int | None = None) -> Optimum:
        """Expand the best nodes until the bounds meet.

        Args:
            gap: Stop when upper - lower is at most this (or the tolerance of 1e-7 (1 + B), if that is more).
            max_expansions: Stop after this many more splits; None: no limit.

        Returns:
            The best hypothesis with its bounds; with outcome LIMIT, theta may be None.
        """
        self._refresh()
        last = None if max_expansions is None else self.expansions + max_expansions
        gap = max(gap, self.tolerance)
        while self._heap and -self._heap[0][0] - gap > self.lower:
            index = self._settle()
            if index is None:
                continue
            if self.offer(self._nodes[index].vertex.point):
                continue
            if last is not None and self.expansions >= last:
                return self._optimum(Outcome.LIMIT)
            datum = self._worst_datum(self._nodes[index])
            datum = datum if datum >= 0 else self._unchosen_datum(self._nodes[index])
            if datum < 0:
                self._give_up(index)
                continue
            self._split(index, datum)
        if self._incumbent is None:
            return self._optimum(Outcome.LIMIT if self.upper > -np.inf else Outcome.INFEASIBLE)
        return self._optimum(Outcome.LIMIT if self.upper - gap > self.lower else Outcome.OPTIMAL)

    def top_point(self) -> FloatArray | None:
        """The point of the node with the largest bound: the most optimistic guess; None where no hypothesis is left."""
        self._refresh()
        while self._heap:
            index = self._settle()
            if index is not None:
                return self._nodes[index].vertex.point
        return None

    def certificate(self) -> OptimismCertificate:
        """The bounds and the proof of the upper one, for the data so far."""
        self._refresh()
        order = self._reachable()
        numbers = {index: number for number, index in enumerate(order)}
        proof = tuple(self._proof_node(self._nodes[index], numbers) for index in order)
        upper = max((node.bound for node in proof if isinstance(node, Leaf)), default=-np.inf)
        violation = 0.0 if self._incumbent is None else self.program.violation(self._incumbent)
        return OptimismCertificate(self._incumbent, self.lower, upper, violation, proof, self._n_data)

    def _reachable(self) -> list[int]:
        order: list[int] = []
        queue = [0]
        while queue:
            index = queue.pop()
            order.append(index)
            queue.extend(sorted(set(self._nodes[index].children.values()), reverse=True))
        return order

    def _proof_node(self, node: _Node, numbers: dict[int, int]) -> Split | Leaf:
        if node.datum < 0:
            return self._relaxation.leaf(node.vertex.multipliers)
        first = self._first_equal(node.datum)
        return Split(node.datum, tuple(numbers[node.children[a]] for a in first))

    def _refresh(self) -> None:
        """Take over new data; the incumbent goes if they contradict it, and what was given up comes back."""
        if self._n_data == len(self.program.bank):
            return
        self._n_data = len(self.program.bank)
        self._relaxation.refresh()
        if self._incumbent is not None and self.program.violation(self._incumbent) > self.tolerance:
            self._incumbent = None
        for index in self._given_up:
            heapq.heappush(self._heap, (-self._nodes[index].vertex.bound, index))
        self._given_up.clear()

    def _settle(self) -> int | None:
        """Bring the top node up to date: its index, or None if its bound fell and another may be on top."""
        bound, index = self._heap[0]
        node = self._nodes[index]
        if node.n_data < self._n_data and self._misses(node):
            node.vertex = self._relaxation.again(node.vertex, node.choices)
        node.n_data = self._n_data
        is_outside = np.linalg.norm(node.vertex.point) > self.program.radius + self.tolerance
        if node.vertex.bound > -np.inf and is_outside and self._worst_datum(node) < 0:
            node.vertex = self._relaxation.in_ball(node.vertex, node.choices)
        if node.vertex.bound == -bound:
            return index
        heapq.heappop(self._heap)
        if node.vertex.bound > -np.inf:
            heapq.heappush(self._heap, (-node.vertex.bound, index))
        return None

    def _misses(self, node: _Node) -> bool:
        """Whether the point of a node violates the relaxation with the data of today."""
        return not node.vertex.is_solved or self._relaxation.excess(node.vertex.point, node.choices) > self.tolerance

    def _holding(self, node: _Node) -> NDArray[np.bool_]:
        """Which data hold the node's bound where it is, (N,): those whose rows have a multiplier worth the name."""
        multipliers, A = node.vertex.multipliers, self.program.bank.n_actions
        size = np.abs(multipliers.values)
        holding = np.zeros(self._n_data, dtype=np.bool_)
        holding[multipliers.rows[size > NEGLIGIBLE * size.max(initial=0.0)] // (A + 1)] = True
        return holding

    def _worst_datum(self, node: _Node) -> int:
        """The datum without a choice that the node's point misses most, among those that hold its bound if possible.

        A choice elsewhere moves the point and leaves the bound. -1 if no datum is missed.
        """
        missed = self.program.bank.inconsistency(node.vertex.point)
        A = self.program.bank.n_actions
        missed[[row // (A + 1) for row in node.choices]] = 0.0
        holding = self._holding(node)
        if (missed[holding] > self.tolerance).any():
            missed[~holding] = 0.0
        worst = int(missed.argmax()) if missed.size else -1
        return worst if worst >= 0 and missed[worst] > self.tolerance else -1

    def _unchosen_datum(self, node: _Node) -> int:
        """Some datum without a choice; -1 if there is none. Rounding may refuse a point that misses no datum."""
        chosen = {row // (self.program.bank.n_actions + 1) for row in node.choices}
        return next((i for i in range(self._n_data) if i not in chosen), -1)

    def _give_up(self, index: int) -> None:
        """Leave a node that rounding keeps from being settled; its bound stays."""
        heapq.heappop(self._heap)
        self._given_up.append(index)

    def _split(self, index: int, datum: int) -> None:
        node = self._nodes[index]
        heapq.heappop(self._heap)
        self.expansions += 1
        actions = sorted(set(self._first_equal(datum)))
        rows = [self._relaxation.row(datum, a) for a in actions]
        node.datum = datum
        vertices = self._relaxation.children(node.vertex, node.choices, rows)
        for action, row, vertex in zip(actions, rows, vertices, strict=True):
            node.children[action] = len(self._nodes)
            if vertex.bound > -np.inf:
                heapq.heappush(self._heap, (-vertex.bound, len(self._nodes)))
            self._nodes.append(_Node(vertex, (*node.choices, row), self._n_data))

    def _first_equal(self, datum: int) -> list[int]:
        """For each action of a datum the first one with the same row."""
        bank = self.program.bank
        rows = np.column_stack([bank.increments[datum], bank.rewards[datum], bank.slack[datum]])
        return [int((rows == row).all(axis=1).argmax()) for row in rows]

    def _optimum(self, outcome: Outcome) -> Optimum:
        return Optimum(self._incumbent, self.lower, self.upper, outcome, len(self._nodes))
