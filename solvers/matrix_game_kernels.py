"""The matrix-game kernel: one rescaled, condensed simplex tableau a game.

Shifting and scaling the payoffs of a game to K in [1, 2] changes neither player's optimal policies. The
column player's problem then reads (Dantzig 1951; Chvatal, Linear Programming, 1983, chapter 15)

    maximise sum_b q(b)   subject to   K q <= 1, q >= 0,          value(K) = 1 / sum(q), nu = q / sum(q),

and the dual variables p give mu = p / sum(p). The basis of slacks is feasible, so one phase suffices, and the
tableau holds the non-basic columns only: m + 1 rows, the last of prices, by n + 1 columns, the first the
right-hand side. Variables have labels: b for q(b), n + a for the slack of row a. Since every K lies in [1, 2],
fixed tolerances mean the same in every game.

The start is the minimax entry; looking for it finds a saddle point in pure policies where there is one. The
column with the lowest price enters (Dantzig's rule) and the row leaves by Harris's test; after a run of degenerate
pivots Bland's rule chooses both, under which the simplex method cannot cycle (Bland, Mathematics of Operations
Research 2, 1977).

Nothing that the pivots left behind is trusted: the duality gap max_a (M nu)(a) - min_b (mu M)(b) is evaluated on
the payoffs themselves, less their minimum, a subtraction that loses nothing when the offset is large. Where
rounding has spoilt the gap, the tableau is built again at the basis reached, largest pivots first, and goes on.
"""

from typing import Any

import numpy as np
from numba import njit

from ..models._checks import BoolArray
from .solution import FloatArray, IntArray

PRICE_TOLERANCE = 1e-12  # a column enters if its price lies below minus this; at the start all prices are -1
PIVOT_TOLERANCE = 1e-10  # no smaller entry becomes a pivot
FEASIBILITY_TOLERANCE = 1e-13  # a right-hand side may fall this far below zero; a step this short is degenerate
DEGENERATE_LIMIT = 20  # degenerate pivots in a row before Bland's rule takes over
REBUILD_GAP = 1e-11  # relative duality gap above which the tableau is built again
ROUNDS = 3  # tableaus built for one game
SMALLEST_RANGE = 1e-307  # ranges below this, whose inverses overflow, count as this
PIVOTS_PER_ACTION = 500  # a hundred times what random games need

# Sums may be reordered and multiply-adds fused, so that loops become vector code. The helpers are inlined because
# passing arrays costs more than small games do.
_OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
_compiled: Any = njit(cache=True, **_OPTIONS)
_inlined: Any = njit(inline="always", **_OPTIONS)


@_compiled
def solve_batch(
    payoffs: FloatArray,
    counts_0: IntArray,
    counts_1: IntArray,
    values: FloatArray,
    mu: FloatArray,
    nu: FloatArray,
    gaps: FloatArray,
    bases: BoolArray,
    is_warm: bool,
) -> None:
    """Solve every game of a batch.

    Args:
        payoffs: (N, A, B) paid to the row player.
        counts_0: (N,) the first so many rows are in play.
        counts_1: (N,) the first so many columns are in play.
        values: (N,) out: midpoints of the intervals that mu and nu guarantee.
        mu: (N, A) out: policies of the row player, zero outside the game.
        nu: (N, B) out: policies of the column player.
        gaps: (N,) out: duality gaps divided by the range of the payoffs.
        bases: (N, A + B) in and out: the rows of positive price, and from A on the basic columns.
        is_warm: Whether the bases passed in are worth starting from.
    """
    n_games, most_0, most_1 = payoffs.shape
    tableau = np.empty((most_0 + 1, _stride(most_1)))
    row_buffer = np.empty(_stride(most_1))
    columns = np.empty(most_1)
    basic = np.empty(most_0, np.int64)
    nonbasic = np.empty(most_1 + 1, np.int64)
    basis = np.empty(most_0 + most_1, np.bool_)
    for k in range(n_games):
        M, m, n, x, y = payoffs[k], counts_0[k], counts_1[k], mu[k], nu[k]
        _clear(x, most_0)
        _clear(y, most_1)
        low, high, row, column = _pure_guarantees(M, m, n, columns)
        inverse_range = 1.0 / max(high - low, SMALLEST_RANGE)
        _minimax_basis(M, m, n, column, basis)
        below, above = 0.0, 0.0
        for _ in range(ROUNDS):
            if row >= 0:
                x[row] = 1.0
                y[column] = 1.0
            elif m == 2 and n == 2:
                _solve_2x2(M, x, y)
            else:
                _fill(tableau, M, m, n, low, inverse_range, basic, nonbasic)
                _enter_basis(tableau, row_buffer, m, n, basic, nonbasic, basis)
                _simplex(tableau, row_buffer, m, n, basic, nonbasic)
                _extract(tableau, m, n, basic, nonbasic, basis, x, y)
            below, above = _guarantees(M, m, n, low, x, y, columns)
            if (above - below) * inverse_range <= REBUILD_GAP:
                break
        values[k] = low + 0.5 * (below + above)
        gaps[k] = (above - below) * inverse_range
        for i in range(m):
            bases[k, i] = not basis[n + i]
        for j in range(n):
            bases[k, most_0 + j] = basis[j]


@_inlined
def _clear(array: FloatArray, length: int) -> None:
    """Zero the first entries; compiled slice assignments cost more than small games."""
    for i in range(length):
        array[i] = 0.0


@_inlined
def _stride(n: int) -> int:
    """Length of a tableau row of n + 1 entries: whole vectors, once rows are long."""
    return n + 1 if n < 16 else (n + 8) // 8 * 8


@_inlined
def _pure_guarantees(M: FloatArray, m: int, n: int, column_highs: FloatArray) -> tuple[float, float, int, int]:
    """Lowest and highest payoff and the pure saddle point (row, column); row is -1 where there is none.

    Without a saddle point, column is the minimax column.
    """
    low, high = np.inf, -np.inf
    maximin, best_row = -np.inf, 0
    for j in range(n):
        column_highs[j] = -np.inf
    for i in range(m):
        row_low = np.inf
        for j in range(n):
            row_low = min(row_low, M[i, j])
            column_highs[j] = max(column_highs[j], M[i, j])
        low = min(low, row_low)
        if row_low > maximin:
            maximin, best_row = row_low, i
    minimax, best_column = np.inf, 0
    for j in range(n):
        high = max(high, column_highs[j])
        if column_highs[j] < minimax:
            minimax, best_column = column_highs[j], j
    return low, high, best_row if maximin == minimax else -1, best_column


@_inlined
def _minimax_basis(M: FloatArray, m: int, n: int, column: int, basis: BoolArray) -> None:
    """Marks of the basic labels: q(column) in place of the slack of the column's highest row."""
    row = 0
    for i in range(1, m):
        if M[i, column] > M[row, column]:
            row = i
    for label in range(n + m):
        basis[label] = label >= n
    basis[column] = True
    basis[n + row] = False


@_inlined
def _solve_2x2(M: FloatArray, x: FloatArray, y: FloatArray) -> None:
    """The mixed solution of a 2 x 2 game without saddle point: each player makes the other indifferent."""
    total = (M[0, 0] - M[0, 1]) + (M[1, 1] - M[1, 0])
    x[0] = (M[1, 1] - M[1, 0]) / total
    x[1] = (M[0, 0] - M[0, 1]) / total
    y[0] = (M[1, 1] - M[0, 1]) / total
    y[1] = (M[0, 0] - M[1, 0]) / total


@_inlined
def _fill(
    T: FloatArray, M: FloatArray, m: int, n: int, low: float, inverse_range: float, basic: IntArray, nonbasic: IntArray
) -> None:
    """The tableau of the slack basis."""
    stride = _stride(n)
    for i in range(m):
        T[i, 0] = 1.0
        for j in range(n):
            T[i, j + 1] = (M[i, j] - low) * inverse_range + 1.0
        for j in range(n + 1, stride):
            T[i, j] = 0.0
        basic[i] = n + i
    T[m, 0] = 0.0
    for j in range(1, stride):
        T[m, j] = -1.0 if j <= n else 0.0
    for j in range(n):
        nonbasic[j + 1] = j


@_inlined
def _pivot(
    T: FloatArray, row_buffer: FloatArray, m: int, n: int, r: int, c: int, basic: IntArray, nonbasic: IntArray
) -> None:
    """Exchange the basic variable of row r and the non-basic one of column c.

    Two rows at a time against a copy of the pivot row: half the loads, and no pointers that may overlap.
    """
    stride = _stride(n)
    inverse = 1.0 / T[r, c]
    for j in range(stride):
        row_buffer[j] = T[r, j] * inverse
    row_buffer[c] = inverse
    for i in range(0, m, 2):
        f, g = T[i, c], T[i + 1, c]
        T[i, c] = 0.0
        T[i + 1, c] = 0.0
        for j in range(stride):
            T[i, j] -= f * row_buffer[j]
            T[i + 1, j] -= g * row_buffer[j]
    if m % 2 == 0:
        f = T[m, c]
        T[m, c] = 0.0
        for j in range(stride):
            T[m, j] -= f * row_buffer[j]
    for j in range(stride):
        T[r, j] = row_buffer[j]
    basic[r], nonbasic[c] = nonbasic[c], basic[r]


@_inlined
def _enter_basis(
    T: FloatArray, row_buffer: FloatArray, m: int, n: int, basic: IntArray, nonbasic: IntArray, basis: BoolArray
) -> None:
    """Pivot from the slack basis to the marked one, largest pivots first, as far as the pivots allow."""
    for _ in range(m):
        largest, r, c = PIVOT_TOLERANCE, -1, -1
        for i in range(m):
            if not basis[basic[i]]:
                for j in range(1, n + 1):
                    if basis[nonbasic[j]] and abs(T[i, j]) > largest:
                        largest, r, c = abs(T[i, j]), i, j
        if r < 0:
            return
        _pivot(T, row_buffer, m, n, r, c, basic, nonbasic)


@_inlined
def _simplex(T: FloatArray, row_buffer: FloatArray, m: int, n: int, basic: IntArray, nonbasic: IntArray) -> None:
    """Pivot until no price is negative; gives up where rounding has left no pivot, or after very many."""
    degenerate = 0
    for _ in range(PIVOTS_PER_ACTION * (m + n)):
        bland = degenerate >= DEGENERATE_LIMIT
        c = _entering(T, m, n, nonbasic, bland)
        if c < 0:
            return
        r = _leaving(T, m, c, basic, bland)
        if r < 0:
            return
        degenerate = degenerate + 1 if T[r, 0] <= FEASIBILITY_TOLERANCE * T[r, c] else 0
        _pivot(T, row_buffer, m, n, r, c, basic, nonbasic)


@_inlined
def _entering(T: FloatArray, m: int, n: int, nonbasic: IntArray, bland: bool) -> int:
    """Column of the lowest price (Bland: of the lowest label) below the tolerance, or -1."""
    best, column = -PRICE_TOLERANCE, -1
    for j in range(1, n + 1):
        if T[m, j] < best:
            if not bland:
                best, column = T[m, j], j
            elif column < 0 or nonbasic[j] < nonbasic[column]:
                column = j
    return column


@_inlined
def _leaving(T: FloatArray, m: int, c: int, basic: IntArray, bland: bool) -> int:
    """Row that leaves as column c enters, or -1 where no entry may be a pivot.

    Harris's two passes (Mathematical Programming 5, 1973): the longest step that keeps every right-hand side above
    minus the tolerance; then, of the rows which that step brings to zero, the largest pivot (Bland: lowest label).
    """
    step = np.inf
    for i in range(m):
        if T[i, c] > PIVOT_TOLERANCE:
            step = min(step, (T[i, 0] + FEASIBILITY_TOLERANCE) / T[i, c])
    row = -1
    for i in range(m):
        limits = T[i, c] > PIVOT_TOLERANCE and T[i, 0] <= step * T[i, c]
        if limits and (row < 0 or ((basic[i] < basic[row]) if bland else (T[i, c] > T[row, c]))):
            row = i
    return row


@_inlined
def _extract(
    T: FloatArray, m: int, n: int, basic: IntArray, nonbasic: IntArray, basis: BoolArray, x: FloatArray, y: FloatArray
) -> None:
    """Policies from the right-hand sides and the prices, and the marks of the basic labels."""
    _clear(x, m)
    _clear(y, n)
    for label in range(n + m):
        basis[label] = False
    total = 0.0
    for i in range(m):
        basis[basic[i]] = True
        if basic[i] < n:
            y[basic[i]] = max(T[i, 0], 0.0)
            total += y[basic[i]]
    for j in range(n):
        y[j] /= total
    total = 0.0
    for j in range(1, n + 1):
        if nonbasic[j] >= n:
            x[nonbasic[j] - n] = max(T[m, j], 0.0)
            total += x[nonbasic[j] - n]
    for i in range(m):
        x[i] /= total


@_inlined
def _guarantees(
    M: FloatArray, m: int, n: int, low: float, x: FloatArray, y: FloatArray, columns: FloatArray
) -> tuple[float, float]:
    """min_b (x M)(b) and max_a (M y)(a), both less the lowest payoff."""
    above = -np.inf
    _clear(columns, n)
    for i in range(m):
        row = 0.0
        for j in range(n):
            shifted = M[i, j] - low
            row += shifted * y[j]
            columns[j] += shifted * x[i]
        above = max(above, row)
    below = np.inf
    for j in range(n):
        below = min(below, columns[j])
    return below, above
