"""Linear relaxations of the optimistic program: a set of chosen actions, the rest of the disjunctions dropped.

Once an action is chosen for some data, what is left of the program is linear but for the ball ||theta||_2 <= B. The
relaxation puts the box |theta_j| <= B around it and is solved by the dual simplex method
(:mod:`~lookahead_rl.solvers.hypotheses.simplex_kernels`), each from the optimal basis of the one before.

The ball comes back twice. The multipliers y of the rows bound the program by sum_k y_k b_k + B ||c - sum_k y_k a_k||_2,
which is never more than the bound with the box's own multipliers. And where the box's solution lies outside the ball,
:meth:`Relaxation.in_ball` maximises over the ball itself: the point of least norm with <c, theta> >= t is a least
distance problem (Lawson, Hanson, Solving Least Squares Problems, 1974, chapter 23), whose multipliers bound the
program by some t' <= t; from t the iteration t <- t' is Newton's and converges from above.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np
from scipy.optimize import nnls

from . import simplex_kernels as kernels
from .bank import FloatArray, IntArray
from .certificates import Constraint, Leaf
from .program import Hypotheses, Program

FEASIBILITY = 1e-9
"""Rows are satisfied up to this, relative to 1 + B."""

PERTURBATION = 1e-9
"""Norm of what is added to the objective. A start whose value is at most its cap makes every basis with that row
optimal for many multipliers at once; a generic objective keeps the simplex from wandering among them. The bounds are
computed for the objective itself."""

BACK = 1e-8
"""How far below a bound, relative to 1 + B, a point that attains it is looked for: bounds carry rounding."""

MOST_PIVOTS = 20_000
NEWTON_STEPS = 30


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Signed multipliers of rows: positive at the upper side, negative at the lower one.

    Attributes:
        rows: Rows (k,) of the relaxation.
        values: Their multipliers (k,).
        bound: What they prove: an upper bound on the objective, or -inf where there is no hypothesis.
    """

    rows: IntArray
    values: FloatArray
    bound: float


@dataclass(frozen=True, eq=False)
class Vertex:
    """A solved relaxation.

    Attributes:
        point: theta (d,); where ``is_solved``, a maximiser over the box, or over the ball.
        basis: Rows of the optimal basis (d,), as the kernel names them.
        side: +1 or -1 (d,): which side of its row each holds.
        multipliers: Proof of the bound.
        is_solved: False where the simplex was stopped, or emptiness could not be proved beyond rounding; then the
            point means little, but the multipliers still prove their bound.
    """

    point: FloatArray
    basis: IntArray
    side: IntArray
    multipliers: Multipliers
    is_solved: bool

    @property
    def bound(self) -> float:
        """Upper bound on the objective; -inf where the relaxation is empty."""
        return self.multipliers.bound


@final
class Relaxation:
    """All relaxations of one program. Row i*(A + 1) + a is Delta_ia, row i*(A + 1) + A the value of datum i.

    Args:
        program: The program; its bank may grow between calls, see :meth:`refresh`.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        d = program.bank.dim
        self.tolerance = FEASIBILITY * (1.0 + program.radius)
        direction = np.random.default_rng(0).uniform(-1.0, 1.0, d)  # any fixed generic direction
        self._objective = program.objective + PERTURBATION * direction / np.linalg.norm(direction)
        self.refresh()

    def refresh(self) -> None:
        """Take over the data that the bank has gained."""
        bank, program = self.program.bank, self.program
        N, A, d = len(bank), bank.n_actions, bank.dim
        self._rows = np.concatenate([bank.increments, bank.features[:, None]], axis=1).reshape(N * (A + 1), d)
        norms = np.linalg.norm(self._rows, axis=1)
        # Rounding errors alone may be all of an increment that should be zero: short rows are not scaled up, and the
        # shortest, on which the ball changes nothing, are constants to the solvers.
        self._weights = 1.0 / np.maximum(norms, 1.0)
        self._normals = np.where((norms > FEASIBILITY)[:, None], self._rows, 0.0)
        low, high = np.full((N, A + 1), -np.inf), np.full((N, A + 1), np.inf)
        if program.hypotheses is Hypotheses.OPTIMAL:
            high[:, :A] = bank.slack - bank.rewards
        if program.value_range:
            low[:, A], high[:, A] = 0.0, bank.caps
        self._low, self._high = low.reshape(-1), high.reshape(-1)
        chosen = np.zeros((N, A + 1)), np.zeros((N, A + 1))
        chosen[0][:, :A], chosen[1][:, :A] = -bank.slack - bank.rewards, bank.slack - bank.rewards
        self._chosen_low, self._chosen_high = chosen[0].reshape(-1), chosen[1].reshape(-1)
        constants = np.concatenate([np.abs(bank.rewards) + bank.slack, bank.caps[:, None]], axis=1).reshape(-1)
        self._sizes = constants + program.radius / self._weights

    def row(self, datum: int, action: int) -> int:
        """The row of Delta_ia."""
        return datum * (self.program.bank.n_actions + 1) + action

    def root(self) -> Vertex:
        """The relaxation without choices."""
        d = self.program.bank.dim
        basis, side = -1 - np.arange(d), np.where(self._objective > 0, 1, -1)
        start = Multipliers(np.empty(0, np.int64), np.empty(0), np.inf)
        return self.again(Vertex(np.zeros(d), basis, side, start, is_solved=False), ())

    def again(self, vertex: Vertex, choices: Sequence[int]) -> Vertex:
        """The relaxation of a vertex solved once more, with the data that came since.

        Args:
            vertex: An earlier solution under the same choices.
            choices: Rows chosen.
        """
        if not len(self._rows):
            return self._without_data(vertex)
        if not choices:
            return self._reoptimise(vertex, (), np.zeros(1, np.int64), self._low[:1], self._high[:1])[0]
        last = np.array(choices[-1:])
        return self._reoptimise(vertex, choices, last, self._chosen_low[last], self._chosen_high[last])[0]

    def children(self, vertex: Vertex, choices: Sequence[int], rows: Sequence[int]) -> list[Vertex]:
        """The relaxations with one more row chosen each.

        Args:
            vertex: The solution with ``choices``.
            choices: Rows chosen so far.
            rows: The rows to choose, one a child.
        """
        added = np.asarray(rows, dtype=np.int64)
        return self._reoptimise(vertex, choices, added, self._chosen_low[added], self._chosen_high[added])

    def in_ball(self, vertex: Vertex, choices: Sequence[int]) -> Vertex:
        """The maximum over the ball instead of the box, for a vertex that lies outside the ball."""
        low, high = self._bounds(choices)
        is_plane = self._normals.any(axis=1)
        above, below = np.isfinite(high) & is_plane, np.isfinite(low) & is_plane
        A = np.concatenate([-self._rows[above], self._rows[below]])
        b = np.concatenate([-high[above], low[below]])
        rows = np.concatenate([np.flatnonzero(above), -1 - np.flatnonzero(below)])
        point, multipliers = vertex.point, vertex.multipliers
        for _ in range(NEWTON_STEPS):
            target = multipliers.bound - BACK * (1.0 + self.program.radius)
            nearest = _least_norm(A, b, self.program.objective, target)
            if nearest is None:
                break
            point, weights, weight = nearest
            if np.linalg.norm(point) <= self.program.radius * (1 + FEASIBILITY):
                break
            used = np.flatnonzero(weights)
            signed = np.where(rows[used] >= 0, weights[used], -weights[used]) / (weight or 1.0)
            named = np.where(rows[used] >= 0, rows[used], -1 - rows[used])
            better = self._multipliers(named, signed, low, high, is_ray=weight == 0.0)
            if weight == 0.0:  # the nearest point of the rows alone lies outside the ball
                if better.bound < 0.0:
                    multipliers = Multipliers(better.rows, better.values, -np.inf)
                break
            if not better.bound < multipliers.bound - self.tolerance * 1e-3:
                break
            multipliers = better
        return Vertex(point, vertex.basis, vertex.side, multipliers, vertex.is_solved)

    def excess(self, point: FloatArray, choices: Sequence[int]) -> float:
        """By how much a point violates the worst row under these choices."""
        low, high = self._bounds(choices)
        activity = self._rows @ point
        return float(np.maximum(activity - high, low - activity).max(initial=0.0))

    def leaf(self, multipliers: Multipliers) -> Leaf:
        """The multipliers as a leaf of a certificate."""
        A = self.program.bank.n_actions
        data, column = np.divmod(multipliers.rows, A + 1)
        is_value, is_above = column == A, multipliers.values > 0
        kinds = np.where(
            is_value,
            np.where(is_above, Constraint.CAP, Constraint.SIGN),
            np.where(is_above, Constraint.BELOW, Constraint.ABOVE),
        )
        actions = np.where(is_value, 0, column)
        return Leaf(kinds.astype(np.int8), data, actions, np.abs(multipliers.values), multipliers.bound)

    def _bounds(self, choices: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Lower and upper sides of all rows under these choices."""
        low, high = self._low.copy(), self._high.copy()
        rows = list(choices)
        low[rows], high[rows] = self._chosen_low[rows], self._chosen_high[rows]
        return low, high

    def _without_data(self, vertex: Vertex) -> Vertex:
        """The best point of the ball."""
        c, radius = self.program.objective, self.program.radius
        norm = float(np.linalg.norm(c))
        point = np.asarray(radius / norm * c if norm > 0 else np.zeros(c.size), dtype=np.float64)
        none = Multipliers(np.empty(0, np.int64), np.empty(0), radius * norm)
        return Vertex(point, vertex.basis, vertex.side, none, is_solved=True)

    def _reoptimise(
        self, vertex: Vertex, choices: Sequence[int], rows: IntArray, new_low: FloatArray, new_high: FloatArray
    ) -> list[Vertex]:
        """Solve once for each row of ``rows``, given these bounds, from the vertex's basis."""
        low, high = self._bounds(choices)
        n, d = rows.size, self.program.bank.dim
        bases, sides = np.empty((n, d), np.int64), np.empty((n, d), np.int64)
        points, duals, rays = np.empty((n, d)), np.empty((n, d)), np.empty((n, d))
        results = np.empty((n, 4), np.int64)
        kernels.solve_children(
            self._normals, low, high, self._objective, self.program.radius, self._weights, vertex.basis, vertex.side,
            rows, new_low, new_high, self.tolerance, MOST_PIVOTS, bases, sides, points, duals, rays, results,
        )  # fmt: skip
        solved: list[Vertex] = []
        for k, row in enumerate(rows.tolist()):
            low[row], high[row], kept = new_low[k], new_high[k], (low[row], high[row])
            solved.append(self._vertex(vertex, points[k], bases[k], sides[k], duals[k], rays[k], results[k], low, high))
            low[row], high[row] = kept
        return solved

    def _vertex(
        self, parent: Vertex, point: FloatArray, basis: IntArray, side: IntArray, dual: FloatArray, ray: FloatArray,
        result: IntArray, low: FloatArray, high: FloatArray,
    ) -> Vertex:  # fmt: skip
        """What one run of the simplex means."""
        status, _, row, direction = cast("tuple[int, int, int, int]", tuple(result.tolist()))
        if status == kernels.INFEASIBLE:
            rows, values = np.append(basis, row), direction * np.append(-ray, 1.0)
            proof = self._signed(rows, values, np.append(side, direction), low, high, is_ray=True)
            if proof.bound < 0:
                empty = Multipliers(proof.rows, proof.values, -np.inf)
                return Vertex(point, basis, side, empty, is_solved=True)
        proof = self._signed(basis, dual, side, low, high)
        best = proof if proof.bound < parent.bound else parent.multipliers
        return Vertex(point, basis, side, best, is_solved=status == kernels.OPTIMAL)

    def _signed(
        self,
        rows: IntArray,
        values: FloatArray,
        side: IntArray,
        low: FloatArray,
        high: FloatArray,
        is_ray: bool = False,
    ) -> Multipliers:
        """Multipliers of the rows of a basis: those of single variables left out, those of a wrong sign too."""
        kept = rows >= 0
        rows, values, side = rows[kept], values[kept], side[kept]
        allowed = (values * side > 0) | ((low[rows] == high[rows]) & (values != 0))
        return self._multipliers(rows[allowed], values[allowed], low, high, is_ray)

    def _multipliers(
        self, rows: IntArray, values: FloatArray, low: FloatArray, high: FloatArray, is_ray: bool = False
    ) -> Multipliers:
        """Multipliers with the bound that they prove; of a ray, the value whose being negative proves emptiness."""
        sides = np.where(values > 0, high[rows], low[rows])
        objective = np.zeros(self.program.bank.dim) if is_ray else self.program.objective
        rest = objective - values @ self._rows[rows]
        bound = float(values @ sides) + self.program.radius * float(np.linalg.norm(rest))
        if is_ray:  # beyond what rounding may hide
            bound += 4 * (2 * rows.size + rest.size + 10) * 2.0**-53 * float(np.abs(values) @ self._sizes[rows])
        return Multipliers(rows, values, bound)


def _least_norm(A: FloatArray, b: FloatArray, c: FloatArray, t: float) -> tuple[FloatArray, FloatArray, float] | None:
    """The point of least norm with A x >= b, <c, x> >= t, and the multipliers of A x >= b and of <c, x>; None if lost.

    Lawson and Hanson's reduction to non-negative least squares.
    """
    stacked = np.vstack([np.vstack([A, c]).T, np.append(b, t)])
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    try:
        weights = cast("FloatArray", cast("Any", nnls)(stacked, target, maxiter=20 * stacked.shape[1])[0])
    except RuntimeError:  # it cycles
        return None
    rest = 1.0 - stacked[-1] @ weights
    if rest <= 1e-14:
        return None
    return np.asarray((stacked[:-1] @ weights) / rest, dtype=np.float64), weights[:-1], float(weights[-1])
