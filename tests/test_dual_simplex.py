"""The dual simplex method agrees with HiGHS, starts again from any parent's basis, and proves what it says."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from lookahead_rl.solvers.hypotheses import simplex_kernels as kernels

Array = NDArray[np.float64]
TOLERANCE = 1e-9


@dataclass
class Linear:
    """maximise <c, x> subject to lo <= G x <= hi, |x_j| <= B."""

    G: Array
    lo: Array
    hi: Array
    c: Array
    B: float


@dataclass
class Solved:
    status: int
    pivots: int
    x: Array
    y: Array
    basis: NDArray[np.int64]
    side: NDArray[np.int64]
    ray: Array
    row: int
    direction: int


def start(program: Linear) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The best corner of the box."""
    return -1 - np.arange(program.c.size), np.where(program.c > 0, 1, -1)


def solve_all(
    program: Linear, rows: list[int], lo: Array, hi: Array, basis: Array, side: Array, most_pivots: int = 5000
) -> list[Solved]:
    """For each of some rows the program with its bounds replaced."""
    n, d = len(rows), program.c.size
    bases, sides = np.empty((n, d), np.int64), np.empty((n, d), np.int64)
    x, y, rays, results = np.empty((n, d)), np.empty((n, d)), np.empty((n, d)), np.empty((n, 4), np.int64)
    weights = 1.0 / np.maximum(np.linalg.norm(program.G, axis=1), 1.0)
    kernels.solve_children(
        program.G, program.lo, program.hi, program.c, program.B, weights, basis, side, np.array(rows), lo, hi,
        TOLERANCE * (1.0 + program.B), most_pivots, bases, sides, x, y, rays, results,
    )  # fmt: skip
    return [
        Solved(
            int(results[k, 0]), int(results[k, 1]), x[k], y[k], bases[k], sides[k], rays[k], *results[k, 2:].tolist()
        )
        for k in range(n)
    ]


def solve(program: Linear, most_pivots: int = 5000) -> Solved:
    return solve_all(program, [0], program.lo[:1], program.hi[:1], *start(program), most_pivots=most_pivots)[0]


def highs(program: Linear) -> float:
    """The maximum, or -inf."""
    above, below = np.isfinite(program.hi), np.isfinite(program.lo)
    answer = linprog(
        -program.c,
        np.concatenate([program.G[above], -program.G[below]]),
        np.concatenate([program.hi[above], -program.lo[below]]),
        bounds=(-program.B, program.B),
    )
    assert answer.status in (0, 2)
    return -answer.fun if answer.status == 0 else -np.inf


def dual_bound(program: Linear, solved: Solved) -> float:
    """What the multipliers prove of programs with these bounds: <y, b>, its signs checked."""
    bounds = np.array([
        side * program.B if row < 0 else (program.hi[row] if side > 0 else program.lo[row])
        for row, side in zip(solved.basis, solved.side, strict=True)
    ])  # fmt: skip
    is_equation = np.array([row >= 0 and program.lo[row] == program.hi[row] for row in solved.basis])
    assert (is_equation | (solved.y * solved.side >= -1e-9)).all()
    rows = np.array([program.G[row] if row >= 0 else np.eye(program.c.size)[-1 - row] for row in solved.basis])
    assert solved.y @ rows == pytest.approx(program.c, abs=1e-7)
    return float(solved.y @ bounds)


@st.composite
def programs(draw: st.DrawFn) -> Linear:
    """Linear programs, half of them with small integers: degenerate, with equal rows, zero rows, equations."""
    d, n = draw(st.integers(1, 6)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    is_integer, is_feasible = draw(st.booleans()), draw(st.integers(0, 3)) > 0
    if is_integer:
        G, x, B = rng.integers(-2, 3, (n, d)).astype(np.float64), rng.integers(-2, 3, d).astype(np.float64), 3.0
        room = rng.integers(0, 3, (2, n)).astype(np.float64)
    else:
        G, x, B = rng.normal(size=(n, d)), rng.uniform(-1.0, 1.0, d), draw(st.sampled_from([1.0, 50.0]))
        room = rng.random((2, n))
    room[:, rng.random(n) < draw(st.sampled_from([0.0, 0.3]))] = 0.0
    middle = G @ x if is_feasible else G @ x + np.round(rng.normal(size=n), 0 if is_integer else 6)
    lo, hi = middle - room[0], middle + room[1]
    lo[rng.random(n) < 0.3], hi[rng.random(n) < 0.2] = -np.inf, np.inf
    twin = int(rng.integers(n))
    G[twin], lo[twin], hi[twin] = G[0], lo[0], hi[0]
    c = [rng.normal(size=d), G[int(rng.integers(n))].copy(), np.zeros(d), rng.integers(-1, 2, d).astype(np.float64)]
    return Linear(G, lo, hi, c[draw(st.integers(0, 3))], B)


@given(programs())
@settings(max_examples=500)
def test_maxima_are_those_of_highs(program: Linear) -> None:
    solved, best = solve(program), highs(program)
    if best == -np.inf:
        assert solved.status == kernels.INFEASIBLE
        return
    assert solved.status == kernels.OPTIMAL
    scale = 1.0 + program.B
    activity = program.G @ solved.x
    assert (activity <= program.hi + 1e-7 * scale).all()
    assert (activity >= program.lo - 1e-7 * scale).all()
    assert (np.abs(solved.x) <= program.B + 1e-7 * scale).all()
    assert program.c @ solved.x == pytest.approx(best, abs=1e-6 * scale)
    assert dual_bound(program, solved) == pytest.approx(best, abs=1e-6 * scale)


@given(programs(), st.integers(0, 2**32))
@settings(max_examples=200)
def test_children_that_start_from_their_parents_basis_equal_cold_solutions(program: Linear, seed: int) -> None:
    parent = solve(program)
    if parent.status != kernels.OPTIMAL:
        return
    rows = np.flatnonzero(np.isinf(program.lo) & np.isfinite(program.hi)).tolist()[:3]
    if not rows:
        return
    hi, kept = program.hi[rows], program.lo.copy()
    lo = hi - np.random.default_rng(seed).choice([0.0, 0.5], len(rows))  # as the choice of an action does
    children = solve_all(program, rows, lo, hi, parent.basis, parent.side)
    assert (program.lo == kept).all()
    for k, row in enumerate(rows):
        new_lo = kept.copy()
        new_lo[row] = lo[k]
        child = Linear(program.G, new_lo, program.hi, program.c, program.B)
        cold, best = solve(child), highs(child)
        assert (children[k].status == kernels.INFEASIBLE) == (cold.status == kernels.INFEASIBLE) == (best == -np.inf)
        if best > -np.inf:
            assert children[k].status == cold.status == kernels.OPTIMAL
            assert program.c @ children[k].x == pytest.approx(program.c @ cold.x, abs=1e-6 * (1.0 + program.B))


@given(programs())
@settings(max_examples=400)
def test_rays_prove_emptiness_in_rational_arithmetic(program: Linear) -> None:
    solved = solve(program)
    if solved.status != kernels.INFEASIBLE:
        return
    d, B = program.c.size, Fraction(program.B)
    rest, total = [Fraction(0)] * d, Fraction(0)
    named = [*solved.basis.tolist(), solved.row]
    values = solved.direction * np.append(-solved.ray, 1.0)
    for row, y in zip(named, values.tolist(), strict=True):
        normal = np.eye(d)[-1 - row] if row < 0 else program.G[row]
        lo, hi = (-program.B, program.B) if row < 0 else (program.lo[row], program.hi[row])
        bound = hi if y > 0 else lo
        if np.isfinite(bound):  # an infinite one has a multiplier of rounding, whose loss the rest takes over
            total += Fraction(y) * Fraction(float(bound))
            rest = [r + Fraction(y) * Fraction(float(g)) for r, g in zip(rest, normal, strict=True)]
    # sum_k y_k <g_k, x> <= sum_k y_k b_k: at x in the box the left side is at least -B ||sum_k y_k g_k||_1.
    assert total + B * sum(map(abs, rest)) < 0


@given(programs(), st.integers(1, 8))
@settings(max_examples=200)
def test_multipliers_bound_the_maximum_whenever_the_simplex_is_stopped(program: Linear, most_pivots: int) -> None:
    solved = solve(program, most_pivots)
    assert solved.pivots <= most_pivots
    if solved.status == kernels.STOPPED:
        assert dual_bound(program, solved) >= highs(program) - 1e-7 * (1.0 + program.B)


def test_the_dual_bound_falls_with_every_pivot() -> None:
    rng = np.random.default_rng(0)
    G, x = rng.normal(size=(60, 8)), rng.normal(size=8)
    program = Linear(G, G @ x - rng.random(60), G @ x + rng.random(60), rng.normal(size=8), 5.0)
    pivots = solve(program).pivots
    assert pivots > 8
    bounds = [dual_bound(program, solve(program, k)) for k in range(1, pivots)]
    assert (np.diff(bounds) <= 1e-9).all()


def test_many_pivots_leave_no_trace_of_rounding() -> None:
    # Far more pivots than the inverse lasts between two factorisations.
    rng = np.random.default_rng(1)
    d, n = 40, 600
    G, x = rng.normal(size=(n, d)), rng.uniform(-1.0, 1.0, d)
    program = Linear(G, np.full(n, -np.inf), G @ x + 0.1 * rng.random(n), rng.normal(size=d), 10.0)
    solved = solve(program)
    assert solved.pivots > 2 * kernels.REFACTOR_EVERY
    assert program.c @ solved.x == pytest.approx(highs(program), abs=1e-9)
    assert (program.G @ solved.x <= program.hi + 1e-8).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_one_variable_is_solved_by_hand(scale: float) -> None:
    # 2 x <= 3, -x <= 1, x = x: the maximum of x is 3/2, of -x it is 1; 0 x >= 1 is impossible.
    G, inf = np.array([[2.0], [-1.0], [0.0]]), np.inf
    lo, hi = np.array([-inf, -inf, -inf]), scale * np.array([3.0, 1.0, 0.0])
    assert solve(Linear(G, lo, hi, np.ones(1), 9.0 * scale)).x == pytest.approx(1.5 * scale)
    assert solve(Linear(G, lo, hi, -np.ones(1), 9.0 * scale)).x == pytest.approx(-scale)
    lo[2] = hi[2] = 1.0 + scale
    assert solve(Linear(G, lo, hi, np.ones(1), 9.0 * scale)).status == kernels.INFEASIBLE
