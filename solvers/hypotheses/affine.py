"""Branch and bound over affine subspaces: the optimistic program of exact data, in closed form at every node.

Choosing the action that vanishes, for some of the data, leaves of the ball a section by an affine subspace, on which
the maximum of <c, theta> is known in closed form. The tree branches over the actions of one datum at a time:

* *Bounds.* A node's maximum without the remaining data bounds its subtree; the node with the largest bound is next.
  When its maximiser satisfies all data it solves the program, since every other node promises less.
* *Propagation.* A datum none of whose actions can vanish in the section closes the node; where one can, it must.
* *Branching* is strong: every child of every violated datum is bounded, and the datum with the fewest children wins,
  among those the one with the smallest sum of bounds. Each child has one dimension less, so that no path is longer
  than d.
* *No node twice.* The child in which action a vanishes may leave to its elder siblings all theta at which an action
  a' < a of the same datum vanishes as well. So a node in whose section such an a' vanishes everywhere is empty of
  theta of its own, and is closed. That rids the tree of every repetition: the paths to two nodes of one section part
  at some datum with a' < a, and a' vanishes throughout the section of both.

In the worst case the number of nodes is exponential in d.

Data may be added to the bank between two calls of :meth:`AffineTree.solve`. They only remove hypotheses, so all bounds
stay true and the search goes on where it stood.
"""

from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from ...models._checks import ModelError, real_number, whole_number
from . import affine_kernels as kernels
from .bank import FloatArray
from .program import Hypotheses, Optimum, Outcome, Program

Number = TypeVar("Number", np.float64, np.int64)

EXAMINATIONS_A_CALL = 4096
"""Python looks up between so many nodes, for interrupts."""

SMALLEST_NORM = 1e-14
"""Increments shorter than this are constant: no theta of sensible norm changes their discriminant."""


def solve_affine(program: Program, *, max_nodes: int | None = None, tol: float = 1e-9) -> Optimum:
    """Solve an optimistic program of exact data; see :class:`AffineTree`.

    Raises:
        ModelError: As :class:`AffineTree`; ``max_nodes`` is no whole number >= 1.
    """
    return AffineTree(program, tol=tol).solve(max_nodes=max_nodes)


@final
class AffineTree:
    """A branch and bound tree over affine subspaces that lasts while its bank grows.

    Args:
        program: Of class ``ANY``, without value range, over data without slack.
        tol: A discriminant counts as zero within tol * (1 + B). The theta of an answer is then moved to the nearest
            point where the chosen discriminants vanish, which leaves rounding.

    Raises:
        ModelError: The program is of another class, or ``tol`` is not in (0, 1e-3].
    """

    def __init__(self, program: Program, *, tol: float = 1e-9) -> None:
        if program.hypotheses is not Hypotheses.ANY or program.value_range:
            raise ModelError(
                "sections in closed form know equations only, not the inequalities of "
                f"hypotheses={program.hypotheses.name}, value_range={program.value_range}; "
                "use HypothesisTree or solve_mixed_integer, or pass Hypotheses.ANY and value_range=False"
            )
        if not 0.0 < real_number("tol", tol) <= 1e-3:
            raise ModelError(f"tol is {tol}; pass a number in (0, 1e-3]")
        self._program, self._tol = program, tol
        self._tree = kernels.Tree(
            np.zeros(1024, np.int64), np.zeros(1024, np.int64), np.zeros(1024), np.zeros(1024, np.int64)
        )
        self._tree.heap_bounds[0] = program.radius * np.linalg.norm(program.objective)
        self._counts = np.array([1, 1, 0])

    @property
    def nodes(self) -> int:
        """Nodes examined so far."""
        return int(self._counts[2])

    def solve(self, *, max_nodes: int | None = None) -> Optimum:
        """The most optimistic hypothesis for the data that are in the bank now.

        Args:
            max_nodes: Nodes to examine in this call; None: as many as it takes. An answer with outcome ``LIMIT`` has
                no theta, and the largest bound of an open node as upper bound.

        Raises:
            ModelError: A datum has slack, or ``max_nodes`` is no whole number >= 1.
        """
        program, theta = self._program, np.empty(self._program.objective.size)
        left = np.inf if max_nodes is None else whole_number("max_nodes", max_nodes, 1)
        rows, status = self._rows(), kernels.PAUSED
        while status in (kernels.PAUSED, kernels.FULL) and left > 0:
            before, most = self.nodes, int(min(left, EXAMINATIONS_A_CALL))
            status = kernels.search(self._tree, self._counts, rows, program.objective, program.radius, most, theta)
            left -= self.nodes - before
            if status == kernels.FULL:
                self._make_room()
        if status == kernels.EMPTY:
            return Optimum(None, -np.inf, -np.inf, Outcome.INFEASIBLE, self.nodes)
        upper = float(self._tree.heap_bounds[0])
        if status != kernels.SOLVED:
            return Optimum(None, -np.inf, upper, Outcome.LIMIT, self.nodes)
        theta = _polished(program, theta)
        value = float(program.objective @ theta)
        return Optimum(theta, value, max(upper, value), Outcome.OPTIMAL, self.nodes)

    def _rows(self) -> kernels.Rows:
        """The bank's discriminants, scaled to unit normals."""
        program, bank = self._program, self._program.bank
        if bank.slack.any():
            i = int(np.argmax(bank.slack.any(axis=1)))
            raise ModelError(
                f"datum {i} of the bank has slack {bank.slack[i].max():.6g}; sections in closed form need exact data: "
                "use HypothesisTree or solve_mixed_integer"
            )
        normals = bank.increments.reshape(-1, bank.dim)
        norms = np.linalg.norm(normals, axis=1)
        is_constant = norms < SMALLEST_NORM
        scale = np.where(is_constant, 1.0, norms)
        unit = np.where(is_constant[:, None], 0.0, normals / scale[:, None])
        tolerances = self._tol * (1.0 + program.radius) / scale
        return kernels.Rows(unit, bank.rewards.reshape(-1) / scale, tolerances, bank.n_actions)

    def _make_room(self) -> None:
        parents, rows, bounds, nodes = self._tree
        self._tree = kernels.Tree(_doubled(parents), _doubled(rows), _doubled(bounds), _doubled(nodes))


def _doubled(array: NDArray[Number]) -> NDArray[Number]:
    """A longer array with the same beginning."""
    return np.concatenate([array, np.zeros_like(array)])


def _polished(program: Program, theta: FloatArray) -> FloatArray:
    """The point nearest theta where the discriminants nearest zero vanish, if that violates the program less."""
    discriminants = program.bank.discriminants(theta)
    chosen = np.abs(discriminants).argmin(axis=1)
    picked = np.arange(len(program.bank)), chosen
    step = np.linalg.lstsq(program.bank.increments[picked], -discriminants[picked], rcond=1e-6)[0]
    polished = theta + step
    return polished if program.violation(polished) < program.violation(theta) else theta
