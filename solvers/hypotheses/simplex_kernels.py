# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""A dense dual simplex method for few variables and many rows, made to be started again and again.

    maximise <c, x>    subject to    lo <= G x <= hi,    |x_j| <= B

A basis is a set of d rows (of G, or bounds of single variables) that hold with equality: M x = b. Its multipliers solve
y M = c; it is dual feasible if y >= 0 at upper bounds and y <= 0 at lower ones, either sign where lo = hi. Then
<c, x> = <y, b> bounds the maximum, and the simplex keeps it so while it trades the rows of the basis for violated ones
(Lemke, The dual method of solving the linear programming problem, Naval Research Logistics Quarterly 1, 1954). Rows
added or tightened leave a basis dual feasible: every node of a search tree starts from its parent's.

The inverse of M is kept explicitly (d x d) and updated by rank one; a pivot costs O(d^2) and the search for a violated
row one product G x. The ratio test is Harris's (Mathematical Programming 5, 1973): among the rows that block within a
tolerance it takes the largest pivot.

Rows of the basis are named by their index in G; -1 - j names the bounds of variable j.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OPTIMAL = 0
INFEASIBLE = 1
STOPPED = 2

REFACTOR_EVERY = 60
SMALLEST_PIVOT = 1e-9
DUAL_TOLERANCE = 1e-13


@njit(cache=True, inline="always")
def bound_of(row: int, side: int, lo: FloatArray, hi: FloatArray, B: float) -> float:
    """The right-hand side of a row of the basis."""
    if row < 0:
        return side * B
    return hi[row] if side > 0 else lo[row]


@njit(cache=True)
def invert(M: FloatArray, inverse: FloatArray) -> None:
    """Gauss and Jordan's inverse of M (destroyed), with partial pivoting: LAPACK's takes ten seconds to compile."""
    d = len(M)
    for i in range(d):
        for j in range(d):
            inverse[i, j] = 1.0 if i == j else 0.0
    for k in range(d):
        p = k
        for i in range(k + 1, d):
            if abs(M[i, k]) > abs(M[p, k]):
                p = i
        for j in range(d):
            M[k, j], M[p, j] = M[p, j], M[k, j]
            inverse[k, j], inverse[p, j] = inverse[p, j], inverse[k, j]
        scale = 1.0 / M[k, k] if M[k, k] != 0.0 else np.inf
        for j in range(d):
            M[k, j] *= scale
            inverse[k, j] *= scale
        for i in range(d):
            factor = M[i, k]
            if i != k and factor != 0.0:
                for j in range(k, d):
                    M[i, j] -= factor * M[k, j]
                for j in range(d):
                    inverse[i, j] -= factor * inverse[k, j]


@njit(cache=True)
def factorise(
    G: FloatArray,
    lo: FloatArray,
    hi: FloatArray,
    c: FloatArray,
    B: float,
    basis: IntArray,
    side: IntArray,
    inverse: FloatArray,
    x: FloatArray,
    y: FloatArray,
) -> None:
    """Compute the inverse of the basis, its point x and its multipliers y anew, in place."""
    d = c.size
    M = np.zeros((d, d))
    b = np.empty(d)
    for k in range(d):
        row = basis[k]
        if row < 0:
            M[k, -1 - row] = 1.0
        else:
            for j in range(d):
                M[k, j] = G[row, j]
        b[k] = bound_of(row, side[k], lo, hi, B)
    invert(M, inverse)
    x[:], y[:] = 0.0, 0.0
    for i in range(d):
        for j in range(d):
            x[i] += inverse[i, j] * b[j]
            y[j] += c[i] * inverse[i, j]


@njit(cache=True)
def most_violated(
    G: FloatArray, lo: FloatArray, hi: FloatArray, B: float, weights: FloatArray, x: FloatArray, tol: float
) -> tuple[int, int, float]:
    """(row, direction, activity) of the worst violation, in units of the rows' norms; direction 0 if there is none."""
    worst, row, direction, activity = tol, 0, 0, 0.0
    g = np.dot(G, x)
    for k in range(g.size):
        above = (g[k] - hi[k]) * weights[k]
        below = (lo[k] - g[k]) * weights[k]
        if above > worst:
            worst, row, direction, activity = above, k, 1, g[k]
        if below > worst:
            worst, row, direction, activity = below, k, -1, g[k]
    for j in range(x.size):
        if abs(x[j]) - B > worst:
            worst, row, direction, activity = abs(x[j]) - B, -1 - j, (1 if x[j] > 0 else -1), x[j]
    return row, direction, activity


@njit(cache=True)
def coefficients(G: FloatArray, row: int, inverse: FloatArray, alpha: FloatArray) -> None:
    """Write the coefficients of a row in the basis to ``alpha``."""
    d = alpha.size
    for j in range(d):
        alpha[j] = inverse[-1 - row, j] if row < 0 else 0.0
    if row >= 0:
        for i in range(d):
            for j in range(d):
                alpha[j] += G[row, i] * inverse[i, j]


@njit(cache=True)
def leaving_row(
    alpha: FloatArray, direction: int, y: FloatArray, basis: IntArray, side: IntArray, lo: FloatArray, hi: FloatArray
) -> int:
    """Position in the basis of the row that leaves, by Harris's ratio test; -1 where nothing blocks."""
    largest_step = np.inf
    for k in range(y.size):
        pivot = direction * alpha[k] * side[k]
        is_equation = basis[k] >= 0 and lo[basis[k]] == hi[basis[k]]
        if pivot > SMALLEST_PIVOT and not is_equation:
            largest_step = min(largest_step, (max(y[k] * side[k], 0.0) + DUAL_TOLERANCE) / pivot)
    best, chosen = 0.0, -1
    for k in range(y.size):
        pivot = direction * alpha[k] * side[k]
        is_equation = basis[k] >= 0 and lo[basis[k]] == hi[basis[k]]
        if pivot > SMALLEST_PIVOT and not is_equation and y[k] * side[k] <= largest_step * pivot and pivot > best:
            best, chosen = pivot, k
    return chosen


@njit(cache=True)
def exchange(inverse: FloatArray, alpha: FloatArray, q: int) -> None:
    """Replace row q of the basis by the row whose coefficients in the basis are alpha."""
    d = alpha.size
    for i in range(d):
        factor = inverse[i, q] / alpha[q]
        if factor != 0.0:
            for j in range(d):
                inverse[i, j] -= factor * alpha[j]
        inverse[i, q] = factor


@njit(cache=True)
def dual_simplex(
    G: FloatArray,
    lo: FloatArray,
    hi: FloatArray,
    c: FloatArray,
    B: float,
    weights: FloatArray,
    basis: IntArray,
    side: IntArray,
    inverse: FloatArray,
    x: FloatArray,
    y: FloatArray,
    tol: float,
    most_pivots: int,
    ray: FloatArray,
) -> tuple[int, int, int, int]:
    """Reoptimise from a dual feasible basis, in place.

    Returns (status, pivots, row, direction). Where the status is INFEASIBLE, ``ray`` holds the coefficients of that
    row in the basis, which prove it.
    """
    alpha = np.empty(c.size)
    for pivots in range(most_pivots):
        row, direction, activity = most_violated(G, lo, hi, B, weights, x, tol)
        if direction == 0:
            return OPTIMAL, pivots, 0, 0
        coefficients(G, row, inverse, alpha)
        q = leaving_row(alpha, direction, y, basis, side, lo, hi)
        if q < 0:
            ray[:] = alpha
            return INFEASIBLE, pivots, row, direction
        target = bound_of(row, direction, lo, hi, B)
        step = (target - activity) / alpha[q]
        multiplier = y[q] / alpha[q]
        for k in range(x.size):
            x[k] += step * inverse[k, q]
            y[k] -= multiplier * alpha[k]
        y[q] = multiplier
        exchange(inverse, alpha, q)
        basis[q], side[q] = row, direction
        if pivots % REFACTOR_EVERY == REFACTOR_EVERY - 1:
            factorise(G, lo, hi, c, B, basis, side, inverse, x, y)
    return STOPPED, most_pivots, 0, 0


@njit(cache=True)
def solve_children(
    G: FloatArray,
    lo: FloatArray,
    hi: FloatArray,
    c: FloatArray,
    B: float,
    weights: FloatArray,
    basis: IntArray,
    side: IntArray,
    rows: IntArray,
    new_lo: FloatArray,
    new_hi: FloatArray,
    tol: float,
    most_pivots: int,
    out_basis: IntArray,
    out_side: IntArray,
    out_x: FloatArray,
    out_y: FloatArray,
    out_ray: FloatArray,
    out_result: IntArray,
) -> None:
    """Reoptimise once for each row of ``rows``, whose bounds become [new_lo, new_hi], from one parent's basis.

    A bound that the basis holds must stay as it is: the parent's point rests on it.
    ``out_result`` (n, 4) holds status, pivots, row and direction of :func:`dual_simplex`.
    """
    d = c.size
    inverse, x, y = np.empty((d, d)), np.empty(d), np.empty(d)
    factorise(G, lo, hi, c, B, basis, side, inverse, x, y)
    for n in range(rows.size):
        k = rows[n]
        old_lo, old_hi = lo[k], hi[k]
        lo[k], hi[k] = new_lo[n], new_hi[n]
        out_basis[n], out_side[n], out_x[n], out_y[n] = basis, side, x, y
        status, pivots, row, direction = dual_simplex(
            G,
            lo,
            hi,
            c,
            B,
            weights,
            out_basis[n],
            out_side[n],
            inverse.copy(),
            out_x[n],
            out_y[n],
            tol,
            most_pivots,
            out_ray[n],
        )
        out_result[n, 0], out_result[n, 1], out_result[n, 2], out_result[n, 3] = status, pivots, row, direction
        lo[k], hi[k] = old_lo, old_hi
