"""The optimistic program as a mixed-integer linear program, solved by HiGHS.

A binary variable z_ia says that datum i is consistent with action a:

    sum_a z_ia = 1,    -slack_ia - M_ia (1 - z_ia) <= Delta_ia(theta) <= slack_ia + M'_ia (1 - z_ia),

with M' = 0 for the class of optimal value functions, where the upper side always holds. The constants are the least
that the ball and the datum's own value range allow: the extremes of <u, theta> over ||theta||_2 <= B and
0 <= <phi, theta> <= cap, which lie in the plane of u and phi and are known in closed form.

The ball is outer approximated (Duran, Grossmann, An outer-approximation algorithm for a class of mixed-integer
nonlinear programs, Mathematical Programming 36, 1986). The box |theta_j| <= B comes first. Each solution's actions are
then fixed, and the program that is left is solved by linear programs alone, to which the half-space tangent to the
ball before their solution is added until that lies in the ball. The rows with a multiplier tell early where that ends:
the best point of the ball on their common face, if it is feasible and no worse. The tangents stay for the next
mixed-integer program. In a few dimensions that takes a few rounds. Where the ball binds in many it is slow: a tangent
helps few choices but the one it was made for, and it takes many half-spaces to resemble a ball.

HiGHS accepts binaries and rows that miss by 1e-6. What counts is the linear program with fixed actions, solved to
``tol``: it decides whether the actions are possible and what they promise. If the bounds have not met then, the
choices among these actions that its multipliers name are excluded together, since no theta with all of them promises
more, and HiGHS is asked again. The upper bound is HiGHS's word; a proof that can be checked comes from
:class:`~lookahead_rl.solvers.hypotheses.tree.HypothesisTree`.
"""

import time
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from ...models._checks import ModelError, real_number
from .bank import Bank, FloatArray, IntArray
from .program import Hypotheses, Optimum, Outcome, Program

GAP = 1e-7
"""The bounds agree if they differ by at most this, relative to 1 + B."""

OBJECTIVE_SCALE = 1e3
"""HiGHS stops at an absolute gap of 1e-6, which scipy does not let one change: the objective is scaled instead."""


def solve_mixed_integer(program: Program, *, time_limit: float | None = None, tol: float = 1e-9) -> Optimum:
    """Solve an optimistic program by HiGHS's branch and cut.

    For cross-checks and as a fallback. Exponential time in the worst case; slow as well where the ball
    ||theta||_2 <= B binds and the dimension is large.

    Args:
        program: The program.
        time_limit: Seconds, which HiGHS keeps to roughly; None: no limit.
        tol: theta satisfies every constraint up to tol (1 + B) or a little more, at least 1e-10 and at most 1e-6.

    Returns:
        The optimum. The outcome is OPTIMAL if the bounds differ by at most 1e-7 (1 + B), and LIMIT if time ran out:
        then theta may be None.

    Raises:
        ModelError: A bad time limit or tol.
        RuntimeError: HiGHS fails.
    """
    if not 1e-10 <= real_number("tol", tol) <= 1e-6:
        raise ModelError(f"tol is {tol}; it must lie in [1e-10, 1e-6], what HiGHS can do in floating point")
    if time_limit is not None and not real_number("time_limit", time_limit) > 0.0:
        raise ModelError(f"time_limit is {time_limit}; pass a positive number of seconds")
    return _OuterApproximation(program, np.inf if time_limit is None else time_limit, tol).solve()


@dataclass(frozen=True, eq=False)
class _Choice:
    """Actions fixed and what they promise.

    Attributes:
        point: theta / (1 + B), or None where the actions are impossible.
        value: The objective there, in the same unit; -inf where impossible.
        reasons: Columns of the choices that the value rests on.
    """

    point: FloatArray | None
    value: float
    reasons: IntArray


@final
class _OuterApproximation:
    """Mixed-integer programs with more and more half-spaces and fewer and fewer choices.

    The unit of theta is 1 + B, so that HiGHS's absolute tolerances are relative to that. Column k of the binaries
    stands for datum ``data[k]`` and action ``actions[k]``; copies of an action have no column.
    """

    def __init__(self, program: Program, time_limit: float, tol: float) -> None:
        self._program, self._tol = program, tol
        self._deadline = time.monotonic() + time_limit
        self._unit = 1.0 + program.radius
        self._radius = program.radius / self._unit
        self._data, self._actions = _distinct(program.bank)
        self._rows, self._sides = self._always()
        self._tangents: list[FloatArray] = []
        self._excluded: list[IntArray] = []
        self._disjunctions = self._choices()

    def solve(self) -> Optimum:
        """Alternate between choosing actions and evaluating them, until the bounds meet."""
        best = _Choice(None, -np.inf, np.empty(0, np.int64))
        upper, nodes = self._radius * float(np.linalg.norm(self._program.objective)), 0
        while (left := self._deadline - time.monotonic()) > 0.0:
            result = self._mixed_integer(left)
            nodes += int(result.mip_node_count or 0)
            if result.status == 2:
                upper = best.value
                break
            if result.mip_dual_bound is not None:
                upper = min(upper, max(best.value, -float(result.mip_dual_bound) / OBJECTIVE_SCALE))
            if result.x is not None:
                choice = self._evaluated(np.flatnonzero(result.x[self._program.bank.dim :] > 0.5))
                if choice is None:
                    break
                best = choice if choice.value > best.value else best
                upper = upper if choice.reasons.size else best.value  # without reasons it holds of all choices
                self._excluded.append(choice.reasons)
            if upper <= best.value + GAP:
                break
        return self._optimum(best, upper, nodes)

    def _optimum(self, best: _Choice, upper: float, nodes: int) -> Optimum:
        if best.point is None:
            outcome = Outcome.INFEASIBLE if upper == -np.inf else Outcome.LIMIT
            return Optimum(None, -np.inf, upper * self._unit, outcome, nodes)
        theta = best.point * self._unit
        lower = float(self._program.objective @ theta)
        outcome = Outcome.OPTIMAL if upper <= best.value + GAP else Outcome.LIMIT
        return Optimum(theta, lower, max(lower, upper * self._unit), outcome, nodes)

    def _always(self) -> tuple[FloatArray, FloatArray]:
        """Rows and sides of ``rows @ x <= sides``, the constraints that hold whatever the choices."""
        bank, rows, sides = self._program.bank, [np.empty((0, self._program.bank.dim))], [np.empty(0)]
        if self._program.hypotheses is Hypotheses.OPTIMAL:
            rows.append(bank.increments[self._data, self._actions])
            sides.append((bank.slack - bank.rewards)[self._data, self._actions])
        if self._program.value_range:
            rows += [bank.features, -bank.features]
            sides += [bank.caps, np.zeros(len(bank))]
        return np.concatenate(rows), np.concatenate(sides) / self._unit

    def _chosen(self, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """Rows and sides of what choices add: first all lower sides of their slabs, then the upper ones where new."""
        bank, data, actions = self._program.bank, self._data[columns], self._actions[columns]
        u, r, slack = bank.increments[data, actions], bank.rewards[data, actions], bank.slack[data, actions]
        if self._program.hypotheses is Hypotheses.OPTIMAL:
            return -u, (slack + r) / self._unit
        return np.concatenate([-u, u]), np.concatenate([slack + r, slack - r]) / self._unit

    def _choices(self) -> LinearConstraint | None:
        """The rows of all disjunctions over (x, z)."""
        every = np.arange(self._data.size)
        if not every.size:
            return None
        rows, sides = self._chosen(every)
        data = self._data[np.arange(len(rows)) % every.size]
        largest = np.maximum(self._largest(rows, data) - sides, 0.0)  # what the row exceeds its side by at most
        columns = np.arange(len(rows)) % every.size
        relaxed = sp.csr_array((largest, (np.arange(len(rows)), columns)), shape=(len(rows), every.size))
        one_each = sp.csr_array((np.ones(every.size), (self._data, every)), shape=(len(self._program.bank), every.size))
        nothing = sp.csr_array((len(self._program.bank), rows.shape[1]))
        matrix = sp.vstack([sp.hstack([sp.csr_array(rows), relaxed]), sp.hstack([nothing, one_each])])
        low = np.concatenate([np.full(len(rows), -np.inf), np.ones(len(self._program.bank))])
        high = np.concatenate([sides + largest + self._tol, np.ones(len(self._program.bank))])
        return LinearConstraint(matrix.tocsr(), low, high)

    def _largest(self, rows: FloatArray, data: IntArray) -> FloatArray:
        """The maximum of each row over the ball and, if the program has it, the value range of its datum."""
        norms = np.linalg.norm(rows, axis=1)
        if not self._program.value_range:
            return self._radius * norms
        phi = self._program.bank.features[data]
        squares = np.maximum(np.einsum("kj,kj->k", phi, phi), np.finfo(np.float64).tiny)
        products = np.einsum("kj,kj->k", rows, phi)
        # <phi, x> at the maximiser over the ball, moved into the range; the rest is orthogonal to phi.
        free = self._radius * products / np.where(norms > 0.0, norms, 1.0)
        value = np.clip(free, 0.0, self._program.bank.caps[data] / self._unit)
        across = np.linalg.norm(rows - (products / squares)[:, None] * phi, axis=1)
        left = np.sqrt(np.maximum(self._radius**2 - value**2 / squares, 0.0))
        return np.minimum(self._radius * norms, products / squares * value + left * across)

    def _mixed_integer(self, time_limit: float) -> Any:
        """HiGHS's answer to the program of today."""
        d, n = self._program.bank.dim, self._data.size
        constraints = [] if self._disjunctions is None else [self._disjunctions]
        rows, sides = self._linear()
        if len(rows):
            constraints.append(
                LinearConstraint(sp.hstack([sp.csr_array(rows), sp.csr_array((len(rows), n))]), ub=sides)
            )
        for reasons in self._excluded:
            together = np.zeros((1, d + n))
            together[0, d + reasons] = 1.0
            constraints.append(LinearConstraint(together, ub=reasons.size - 1.0))
        result = cast("Any", milp)(
            np.concatenate([-OBJECTIVE_SCALE * self._program.objective, np.zeros(n)]),
            integrality=np.repeat([0, 1], [d, n]),
            bounds=Bounds(np.repeat([-self._radius, 0.0], [d, n]), np.repeat([self._radius, 1.0], [d, n])),
            constraints=constraints,
            options={"mip_rel_gap": 0.0} | ({} if time_limit == np.inf else {"time_limit": time_limit}),
        )
        if result.status not in (0, 1, 2):
            raise RuntimeError(f"HiGHS failed: {result.message}")
        return result

    def _linear(self) -> tuple[FloatArray, FloatArray]:
        """Rows and sides that hold whatever the choices, tangents included."""
        tangents = np.array(self._tangents).reshape(-1, self._program.bank.dim)
        sides = np.full(len(tangents), self._radius)
        return np.concatenate([self._rows, tangents]), np.concatenate([self._sides, sides])

    def _evaluated(self, columns: IntArray) -> _Choice | None:
        """What chosen actions promise, tangents being added until the point lies in the ball; None if time runs out."""
        chosen, chosen_sides = self._chosen(columns)
        widening = 0.0
        while time.monotonic() < self._deadline:
            rows, sides = self._linear()
            rows, sides = np.concatenate([chosen, rows]), np.concatenate([chosen_sides, sides])
            result = self._linear_program(self._program.objective, rows, sides + widening)
            if result is None:
                excess, multipliers = self._least_excess(rows, sides)
                if excess > self._tol or widening > 0.0:
                    return _Choice(None, -np.inf, _named(multipliers[: len(chosen)], columns))
                widening = self._tol
                continue
            point, multipliers = result
            value, reasons = float(self._program.objective @ point), _named(multipliers[: len(chosen)], columns)
            if float(np.linalg.norm(point)) <= self._radius + self._tol:
                return _Choice(point, value, reasons)
            self._tangents.append(point / np.linalg.norm(point))
            held = np.flatnonzero(multipliers[: len(chosen) + len(self._rows)] > 1e-12)
            best = self._best_on(rows[held], sides[held] + widening)
            if best is None:
                continue
            is_feasible = bool((rows @ best <= sides + widening + self._tol).all())
            if is_feasible and self._program.objective @ best >= value - self._tol:
                return _Choice(best, float(self._program.objective @ best), reasons)
            self._tangents.append(best / max(float(np.linalg.norm(best)), np.finfo(np.float64).tiny))
        return None

    def _best_on(self, rows: FloatArray, sides: FloatArray) -> FloatArray | None:
        """The best point of the ball where these rows are equations; None if there is none.

        Where the linear program's solution lies on the faces on which the best point of the ball lies, this is it.
        """
        objective = self._program.objective
        nearest = np.linalg.lstsq(rows, sides, rcond=None)[0]
        along = objective - rows.T @ np.linalg.lstsq(rows.T, objective, rcond=None)[0]
        left, length = self._radius**2 - float(nearest @ nearest), float(np.linalg.norm(along))
        if left < 0.0:
            return None
        return nearest + along * (np.sqrt(left) / length if length > 1e-9 * np.linalg.norm(objective) else 0.0)

    def _least_excess(self, rows: FloatArray, sides: FloatArray) -> tuple[float, FloatArray]:
        """By how much every point misses some row at least, and the multipliers that show it.

        HiGHS's presolve may call a program infeasible that misses by less than the tolerance it is given.
        """
        elastic = np.column_stack([rows, -np.ones(len(rows))])
        result = self._linear_program(np.append(np.zeros(rows.shape[1]), -1.0), elastic, sides)
        if result is None:
            raise RuntimeError("HiGHS failed: a linear program that is feasible was called infeasible")
        return float(result[0][-1]), result[1]

    def _linear_program(
        self, objective: FloatArray, rows: FloatArray, sides: FloatArray
    ) -> tuple[FloatArray, FloatArray] | None:
        """Maximiser and multipliers of a linear program in the box, or None if it is infeasible.

        A variable beyond x is the excess of the elastic program, which is at least 0.
        """
        d = self._program.bank.dim
        bounds = [(-self._radius, self._radius)] * d + [(0.0, None)] * (objective.size - d)
        options = {"primal_feasibility_tolerance": self._tol, "dual_feasibility_tolerance": 1e-10}
        result = cast("Any", linprog)(-objective, rows, sides, bounds=bounds, method="highs", options=options)
        if result.status == 2:
            return None
        if result.status != 0:
            raise RuntimeError(f"HiGHS failed: {result.message}")
        return result.x, -result.ineqlin.marginals


def _distinct(bank: Bank) -> tuple[IntArray, IntArray]:
    """Data and actions (i, a) without those whose row (u, r, slack) an earlier action of the datum has."""
    rows = np.concatenate([bank.increments, bank.rewards[..., None], bank.slack[..., None]], axis=2)
    same = (rows[:, :, None] == rows[:, None]).all(axis=3)
    earlier = np.tril(np.ones((bank.n_actions, bank.n_actions), dtype=np.bool_), -1)
    data, actions = np.nonzero(~(same & earlier).any(axis=2))
    return data.astype(np.int64), actions.astype(np.int64)


def _named(multipliers: FloatArray, columns: IntArray) -> IntArray:
    """The columns of the choices that have a multiplier at one of their sides."""
    used = np.flatnonzero(np.abs(multipliers) > 1e-12)
    return columns[np.unique(used % max(1, columns.size))]
