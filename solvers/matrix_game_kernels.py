"""The matrix-game kernel: one rescaled, condensed simplex tableau a game.

Shifting and scaling the payoffs of a game to K in [1, 2] changes neither player's optimal policies. The
column player's problem then reads (Dantzig 1951; Chvatal, Linear Programming, 1983, chapter 15)

    maximise sum_b q(b)   subject to   K q <= 1, q >= 0,          value(K) = 1 / sum(q), nu = q / sum(q),

and the dual variables p give mu = p / sum(p). The basis of slacks is feasible, so one phase suffices, and the
tableau holds the non-basic columns only: m + 1 rows, the last of prices, by n + 1 columns, the first the
right-hand side. Variables have labels: a for the slack of row a, A + b for q(b). Since every K lies in [1, 2],
fixed tolerances mean the same in every game.

A cold start is at the minimax entry; looking for it finds a saddle point in pure policies where there is one. The
column with the lowest price enters (Dantzig's rule) and the row leaves by Harris's test; after a run of degenerate
pivots Bland's rule chooses both, under which the simplex method cannot cycle (Bland, Mathematics of Operations
Research 2, 1977). Small games are first tried in lockstep, by :mod:`.matrix_game_lockstep_kernels`.

A basis marks the rows whose slacks are non-basic and, as many of them, the columns that are basic. On those rows R
and columns C it solves both problems (Shapley and Snow 1950): p K[R, C] = 1 and K[R, C] q = 1. A warm start tries
exactly that. Where the basis is no longer optimal, the tableau is built there, largest pivots first, and goes on by
the dual simplex method if no price is negative, or by the primal one if no right-hand side is, or else starts cold.

Nothing that the pivots left behind is trusted, so neither is a start: the duality gap
max_a (M nu)(a) - min_b (mu M)(b) is evaluated on the payoffs themselves, less their minimum, a subtraction that
loses nothing when the offset is large. It alone decides whether an answer stands. Where rounding has spoilt the gap,
the tableau is built again at the basis reached.
"""

from typing import Any

import numpy as np
from numba import njit

from ..models._checks import BoolArray
from .matrix_game_lockstep_kernels import (
    FEASIBILITY_TOLERANCE,
    OPTIONS,
    PIVOT_TOLERANCE,
    PRICE_TOLERANCE,
    SMALLEST_NUMBER,
    SMALLEST_RANGE,
    solve_in_lockstep,
)
from .solution import FloatArray, IntArray

DEGENERATE_LIMIT = 20  # degenerate pivots in a row before Bland's rule takes over
REBUILD_GAP = 1e-11  # relative duality gap above which the next attempt is made
SUPPORT, COLD, ROUNDS = -2, 0, 3  # attempts at a game: the basis given, its tableau, and three from a cold start
PIVOTS_PER_ACTION = 500  # a hundred times what random games need

# Measured: where the lockstep beats one game after another, from 2 x 2 to 50 x 50.
LOCKSTEP_GAMES = 8  # fewer games do not fill enough lanes
LOCKSTEP_PAYOFFS = 1024  # with more of them a game, its rows are long enough for vector instructions
LOCKSTEP_PAYOFFS_WARM = 36  # with more of them a game, starting from a basis saves more

_compiled: Any = njit(cache=True, **OPTIONS)


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
) -> int:
    """Solve every game of a batch; return how many had no saddle point in pure policies.

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
    is_mixed = np.zeros(n_games, np.bool_)
    gaps[:] = np.inf
    most_payoffs = LOCKSTEP_PAYOFFS_WARM if is_warm else LOCKSTEP_PAYOFFS
    in_lockstep = n_games >= LOCKSTEP_GAMES and most_0 * most_1 <= most_payoffs
    if in_lockstep:
        solve_in_lockstep(payoffs, counts_0, counts_1, values, mu, nu, gaps, bases, is_mixed)
    tableau = np.empty((most_0 + 1, _stride(most_1)))
    row_buffer, columns = np.empty(_stride(most_1)), np.empty(most_1)
    basic, nonbasic = np.empty(most_0, np.int64), np.empty(most_1 + 1, np.int64)
    for k in range(n_games):
        if gaps[k] <= REBUILD_GAP:
            continue
        M, m, n, x, y, basis = payoffs[k], counts_0[k], counts_1[k], mu[k], nu[k], bases[k]
        low, high, row, column = _pure_guarantees(M, m, n, columns)
        inverse_range = 1.0 / max(high - low, SMALLEST_RANGE)
        is_mixed[k] = row < 0
        is_given = row < 0 and (is_warm or in_lockstep) and _is_basis(basis, m, n, most_0)
        below, above = 0.0, np.inf
        for attempt in range(SUPPORT if is_given else COLD, ROUNDS):
            _clear(x, most_0)
            _clear(y, most_1)
            if attempt == COLD:
                _minimax_basis(M, m, most_0, row, column, basis)
            if attempt == SUPPORT or row >= 0:
                found = _solve_support(tableau, M, m, n, low, inverse_range, basic, nonbasic, basis, x, y)
            else:
                _fill(tableau, M, m, n, most_0, low, inverse_range, basic, nonbasic)
                _enter_basis(tableau, row_buffer, m, n, most_0, basic, nonbasic, basis)
                if attempt < COLD:
                    _dual_simplex(tableau, row_buffer, m, n, basic, nonbasic)
                _simplex(tableau, row_buffer, m, n, basic, nonbasic)
                found = _extract(tableau, m, n, most_0, basic, nonbasic, basis, x, y)
            is_finite = found and high - low < np.inf
            below, above = _guarantees(M, m, n, low, x, y, columns) if is_finite else (0.0, np.inf)
            if above - below <= REBUILD_GAP * (high - low):
                break
        values[k] = low + 0.5 * (below + above)
        gaps[k] = (above - below) / max(high - low, SMALLEST_NUMBER)
    return int(is_mixed.sum())


@_compiled
def _clear(array: FloatArray, length: int) -> None:
    """Zero the first entries; a slice assignment costs more than a small game."""
    for i in range(length):
        array[i] = 0.0


@_compiled
def _stride(n: int) -> int:
    """Length of a tableau row of n + 1 entries: whole vectors, once rows are long."""
    return n + 1 if n < 16 else (n + 8) // 8 * 8


@_compiled
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


@_compiled
def _minimax_basis(M: FloatArray, m: int, most_0: int, saddle_row: int, column: int, basis: BoolArray) -> None:
    """The saddle point, or else the minimax entry."""
    row = max(saddle_row, 0)
    if saddle_row < 0:
        for i in range(1, m):
            if M[i, column] > M[row, column]:
                row = i
    for label in range(basis.size):
        basis[label] = False
    basis[row] = True
    basis[most_0 + column] = True


@_compiled
def _is_basis(basis: BoolArray, m: int, n: int, most_0: int) -> bool:
    """Whether as many rows of the game as columns are marked, and nothing outside it."""
    rows, columns, marks = 0, 0, 0
    for label in range(basis.size):
        marks += basis[label]
    for i in range(m):
        rows += basis[i]
    for j in range(n):
        columns += basis[most_0 + j]
    return rows == columns and marks == rows + columns and marks > 0


@_compiled
def _solve_support(
    T: FloatArray,
    M: FloatArray,
    m: int,
    n: int,
    low: float,
    inverse_range: float,
    rows: IntArray,
    columns: IntArray,
    basis: BoolArray,
    x: FloatArray,
    y: FloatArray,
) -> bool:
    """Equalise over the marked rows and columns, x K = 1 and K y = 1; whether that gives policies."""
    size = _marked(basis, 0, m, rows)
    _marked(basis, x.size, n, columns)
    for i in range(size):
        for j in range(size):
            T[i, j] = (M[rows[i], columns[j]] - low) * inverse_range + 1.0
    _factorise(T, size, rows)
    for i in range(size):
        right = 1.0
        for j in range(i):
            right -= T[i, j] * y[columns[j]]
        y[columns[i]] = right
    for i in range(size - 1, -1, -1):
        right = y[columns[i]]
        for j in range(i + 1, size):
            right -= T[i, j] * y[columns[j]]
        y[columns[i]] = right / T[i, i]
    for i in range(size):
        right = 1.0
        for j in range(i):
            right -= T[j, i] * x[rows[j]]
        x[rows[i]] = right / T[i, i]
    for i in range(size - 1, -1, -1):
        right = x[rows[i]]
        for j in range(i + 1, size):
            right -= T[j, i] * x[rows[j]]
        x[rows[i]] = right
    return _normalise(x, m) & _normalise(y, n)


@_compiled
def _marked(basis: BoolArray, start: int, length: int, places: IntArray) -> int:
    """The places of the marks from start on; their number."""
    size = 0
    for i in range(length):
        if basis[start + i]:
            places[size] = i
            size += 1
    return size


@_compiled
def _factorise(T: FloatArray, size: int, rows: IntArray) -> None:
    """LU factors in place, rows being exchanged for the largest pivots."""
    for c in range(size):
        r = c
        for i in range(c + 1, size):
            if abs(T[i, c]) > abs(T[r, c]):
                r = i
        if r != c:
            for j in range(size):
                T[r, j], T[c, j] = T[c, j], T[r, j]
            rows[r], rows[c] = rows[c], rows[r]
        inverse = 1.0 / T[c, c]
        for i in range(c + 1, size):
            T[i, c] *= inverse
            for j in range(c + 1, size):
                T[i, j] -= T[i, c] * T[c, j]


@_compiled
def _normalise(weights: FloatArray, length: int) -> bool:
    """Make weights probabilities, negative ones being zero; whether that could be done."""
    total = 0.0
    for i in range(length):
        weights[i] = max(weights[i], 0.0)
        total += weights[i]
    for i in range(length):
        weights[i] /= total
    return 0.0 < total < np.inf


@_compiled
def _fill(
    T: FloatArray,
    M: FloatArray,
    m: int,
    n: int,
    most_0: int,
    low: float,
    inverse_range: float,
    basic: IntArray,
    nonbasic: IntArray,
) -> None:
    """The tableau of the slack basis."""
    stride = _stride(n)
    for i in range(m):
        T[i, 0] = 1.0
        for j in range(n):
            T[i, j + 1] = (M[i, j] - low) * inverse_range + 1.0
        for j in range(n + 1, stride):
            T[i, j] = 0.0
        basic[i] = i
    T[m, 0] = 0.0
    for j in range(1, stride):
        T[m, j] = -1.0 if j <= n else 0.0
    for j in range(n):
        nonbasic[j + 1] = most_0 + j


@_compiled
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
        one, other = T[i], T[i + 1]
        f, g = one[c], other[c]
        one[c], other[c] = 0.0, 0.0
        for j in range(stride):
            one[j] -= f * row_buffer[j]
            other[j] -= g * row_buffer[j]
    if m % 2 == 0:
        f = T[m, c]
        T[m, c] = 0.0
        for j in range(stride):
            T[m, j] -= f * row_buffer[j]
    for j in range(stride):
        T[r, j] = row_buffer[j]
    basic[r], nonbasic[c] = nonbasic[c], basic[r]


@_compiled
def _enter_basis(
    T: FloatArray,
    row_buffer: FloatArray,
    m: int,
    n: int,
    most_0: int,
    basic: IntArray,
    nonbasic: IntArray,
    basis: BoolArray,
) -> None:
    """Pivot from the slack basis to the marked one, largest pivots first, as far as the pivots allow."""
    for _ in range(m):
        largest, r, c = PIVOT_TOLERANCE, -1, -1
        for i in range(m):
            if basic[i] < most_0 and basis[basic[i]]:
                for j in range(1, n + 1):
                    if nonbasic[j] >= most_0 and basis[nonbasic[j]] and abs(T[i, j]) > largest:
                        largest, r, c = abs(T[i, j]), i, j
        if r < 0:
            return
        _pivot(T, row_buffer, m, n, r, c, basic, nonbasic)


@_compiled
def _dual_simplex(T: FloatArray, row_buffer: FloatArray, m: int, n: int, basic: IntArray, nonbasic: IntArray) -> None:
    """Where no price is negative, pivot until no right-hand side is; gives up after a few pivots."""
    for j in range(1, n + 1):
        if T[m, j] < -PRICE_TOLERANCE:
            return
    for _ in range(m + n):
        lowest, r = -FEASIBILITY_TOLERANCE, -1
        for i in range(m):
            if T[i, 0] < lowest:
                lowest, r = T[i, 0], i
        if r < 0:
            return
        step, c = np.inf, -1
        for j in range(1, n + 1):
            if T[r, j] < -PIVOT_TOLERANCE and T[m, j] < -step * T[r, j]:
                step, c = T[m, j] / -T[r, j], j
        if c < 0:
            return
        _pivot(T, row_buffer, m, n, r, c, basic, nonbasic)


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
def _extract(
    T: FloatArray,
    m: int,
    n: int,
    most_0: int,
    basic: IntArray,
    nonbasic: IntArray,
    basis: BoolArray,
    x: FloatArray,
    y: FloatArray,
) -> bool:
    """Policies from the right-hand sides and the prices, and the marks of the basis; whether they are policies."""
    for i in range(m):
        label = basic[i]
        basis[label] = label >= most_0
        if label >= most_0:
            y[label - most_0] = T[i, 0]
    for j in range(1, n + 1):
        label = nonbasic[j]
        basis[label] = label < most_0
        if label < most_0:
            x[label] = T[m, j]
    return _normalise(x, m) & _normalise(y, n)


@_compiled
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
