"""Many small matrix games at once: the simplex method of :mod:`.matrix_game_kernels` in lockstep.

A tableau of a few dozen entries is too small for vector instructions, and which entry is the pivot is too hard to
predict for the processor. So game after game takes a lane: every array here ends in an axis of lanes, every inner loop
runs along it without a branch, and all lanes pivot together, each at a place of its own. A lane whose prices are
nonnegative hands in its answer and its place goes to the last lane in use, so that the loops shrink with the work.

What is rare is left to the tableau of a single game: Bland's rule, rebuilding, and starting from a basis. Whether a
game has to go there is read off its duality gap, which is evaluated on the payoffs as for every other answer.

Pivoting at row r and column c with pivot p reads here: take out column c, leaving zeros, and row r divided by p,
leaving zeros; put 1 and 1 / p where they crossed; add F R, the outer product of minus that column and that row.
Games with fewer actions than the batch has room for are filled up with copies of their first row and column, which
change no minimum or maximum, and the tableau with zeros, which are never pivots.
"""

from typing import Any

import numpy as np
from numba import njit

from ..models._checks import BoolArray
from .solution import FloatArray, IntArray

# Games in lockstep: enough to hide the cost of a loop. This many numbers, and as many as smaller batches need, fill an
# odd number of cache lines, so that the lanes' entries do not crowd into a few sets of the cache.
LANES = 104
PIVOTS_PER_ACTION = 8  # a lane that has not finished then may be cycling

PRICE_TOLERANCE = 1e-12  # a column enters if its price lies below minus this; at the start all prices are -1
PIVOT_TOLERANCE = 1e-10  # no smaller entry becomes a pivot
FEASIBILITY_TOLERANCE = 1e-13  # a right-hand side may fall this far below zero; a step this short is degenerate
SMALLEST_RANGE = 1e-307  # ranges below this, whose inverses overflow, are scaled as this one
SMALLEST_NUMBER = 5e-324

# Sums may be reordered and multiply-adds fused, so that loops become vector code.
OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
_compiled: Any = njit(cache=True, **OPTIONS)


@_compiled
def solve_in_lockstep(
    payoffs: FloatArray,
    counts_0: IntArray,
    counts_1: IntArray,
    values: FloatArray,
    mu: FloatArray,
    nu: FloatArray,
    gaps: FloatArray,
    bases: BoolArray,
    is_mixed: BoolArray,
) -> None:
    """Try every game from a cold start; the arguments are those of ``solve_batch``.

    Where a game defeats the lockstep, its gap is large or infinite and its policies mean nothing; is_mixed (N,) out
    tells the games without a pure saddle point.
    """
    n_games, m, n = payoffs.shape
    width = min(LANES, (n_games + 7) // 16 * 16 + 8)
    K, T = np.empty((m, n, width)), np.empty((m + 1, n + 1, width))
    F, R = np.empty((m + 1, width)), np.empty((n + 1, width))
    weights = np.empty((m + n, width))
    basic, nonbasic = np.empty((m, width), np.int64), np.empty((n + 1, width), np.int64)
    row, column, origin = np.empty(width, np.int64), np.empty(width, np.int64), np.empty(width, np.int64)
    low, high, inverse_range, lowest = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    below, above, total_0, total_1 = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    for first in range(0, n_games, width):
        live = used = min(width, n_games - first)
        _load(payoffs, counts_0, counts_1, first, used, K)
        _extremes(K, used, R, low, high, below, above, row, column, lowest)
        _first_row(K, used, below, above, column, row)
        for lane in range(used):
            inverse_range[lane] = 1.0 / max(high[lane] - low[lane], SMALLEST_RANGE)
            is_mixed[first + lane] = below[lane] != above[lane]
        _fill(K, used, low, inverse_range, T, basic, nonbasic, origin)
        _cut_out(T, counts_0, counts_1, first, used)
        _take_column(T, column, live, F)
        for _ in range(PIVOTS_PER_ACTION * (m + n)):
            _take_row(T, row, column, live, F, R, lowest, basic, nonbasic)
            _add_product(F, R, live, T)
            _entering(T, live, column, lowest)
            live = _hand_in(T, live, column, origin, basic, nonbasic, weights, bases[first:], row)
            if live == 0:
                break
            _take_column(T, column, live, F)
            _leaving(T, F, live, row, lowest, above)
        for lane in range(live):
            weights[:, origin[lane]] = 0.0
        _normalise(weights[:m], used, total_0)
        _normalise(weights[m:], used, total_1)
        _guarantees(K, low, weights, used, R, below, above, lowest)
        for lane in range(used):
            k = first + lane
            values[k] = low[lane] + 0.5 * (below[lane] + above[lane])
            found = (0.0 < total_0[lane] < np.inf) & (0.0 < total_1[lane] < np.inf)
            extent = max(high[lane] - low[lane], SMALLEST_NUMBER)
            gaps[k] = (above[lane] - below[lane]) / extent if found and extent < np.inf else np.inf
        _store(weights, first, used, mu, nu)


@_compiled
def _load(payoffs: FloatArray, counts_0: IntArray, counts_1: IntArray, first: int, used: int, K: FloatArray) -> None:
    """Payoffs with the games along the last axis, missing rows and columns being copies of the first ones."""
    _, m, n = payoffs.shape
    source, target = payoffs.reshape(-1), K.reshape(-1)
    size, width = np.uint64(m * n), np.uint64(K.shape[2])
    start = np.uint64(first) * size
    for entry in range(size):
        for lane in range(np.uint64(used)):
            target[entry * width + lane] = source[start + lane * size + entry]
    for lane in range(used):
        m_lane, n_lane = counts_0[first + lane], counts_1[first + lane]
        if m_lane < m or n_lane < n:
            for i in range(m):
                for j in range(n):
                    K[i, j, lane] = payoffs[first + lane, i if i < m_lane else 0, j if j < n_lane else 0]


@_compiled
def _extremes(
    K: FloatArray,
    used: int,
    highs: FloatArray,
    low: FloatArray,
    high: FloatArray,
    maximin: FloatArray,
    minimax: FloatArray,
    row: IntArray,
    column: IntArray,
    lowest: FloatArray,
) -> None:
    """Lowest and highest payoff, the maximin row, the minimax column (counted from 1) and what they guarantee."""
    m, n, _ = K.shape
    highs[:, :used] = -np.inf
    low[:used], maximin[:used], row[:used] = np.inf, -np.inf, 0
    high[:used], minimax[:used], column[:used] = -np.inf, np.inf, 0
    for i in range(m):
        lowest[:used] = np.inf
        for j in range(n):
            for lane in range(used):
                lowest[lane] = min(lowest[lane], K[i, j, lane])
                highs[j, lane] = max(highs[j, lane], K[i, j, lane])
        for lane in range(used):
            better = lowest[lane] > maximin[lane]
            maximin[lane] = lowest[lane] if better else maximin[lane]
            row[lane] = i if better else row[lane]
            low[lane] = min(low[lane], lowest[lane])
    for j in range(n):
        for lane in range(used):
            better = highs[j, lane] < minimax[lane]
            minimax[lane] = highs[j, lane] if better else minimax[lane]
            column[lane] = j + 1 if better else column[lane]
            high[lane] = max(high[lane], highs[j, lane])


@_compiled
def _first_row(
    K: FloatArray, used: int, maximin: FloatArray, minimax: FloatArray, column: IntArray, row: IntArray
) -> None:
    """Row of the first pivot: the saddle point's, or else that of the minimax column's highest payoff."""
    for i in range(K.shape[0] - 1, -1, -1):
        for lane in range(used):
            highest = (K[i, np.uint64(column[lane] - 1), lane] == minimax[lane]) & (maximin[lane] != minimax[lane])
            row[lane] = i if highest else row[lane]


@_compiled
def _fill(
    K: FloatArray,
    used: int,
    low: FloatArray,
    inverse_range: FloatArray,
    T: FloatArray,
    basic: IntArray,
    nonbasic: IntArray,
    origin: IntArray,
) -> None:
    """The tableau of the slack basis."""
    m, n, _ = K.shape
    for i in range(m):
        for lane in range(used):
            T[i, 0, lane] = 1.0
        for lane in range(used):
            basic[i, lane] = i
        for j in range(n):
            for lane in range(used):
                T[i, j + 1, lane] = (K[i, j, lane] - low[lane]) * inverse_range[lane] + 1.0
    for lane in range(used):
        T[m, 0, lane] = 0.0
    for lane in range(used):
        origin[lane] = lane
    for j in range(1, n + 1):
        for lane in range(used):
            T[m, j, lane] = -1.0
        for lane in range(used):
            nonbasic[j, lane] = m + j - 1


@_compiled
def _cut_out(T: FloatArray, counts_0: IntArray, counts_1: IntArray, first: int, used: int) -> None:
    """Zeros for the actions that a game does not have."""
    m, n = T.shape[0] - 1, T.shape[1] - 1
    for lane in range(used):
        m_lane, n_lane = counts_0[first + lane], counts_1[first + lane]
        for i in range(m_lane, m):
            for j in range(1, n + 1):
                T[i, j, lane] = 0.0
        for j in range(n_lane + 1, n + 1):
            for i in range(m + 1):
                T[i, j, lane] = 0.0


@_compiled
def _take_column(T: FloatArray, column: IntArray, live: int, F: FloatArray) -> None:
    for i in range(T.shape[0]):
        for lane in range(live):
            c = np.uint64(column[lane])
            F[i, lane] = -T[i, c, lane]
            T[i, c, lane] = 0.0


@_compiled
def _take_row(
    T: FloatArray,
    row: IntArray,
    column: IntArray,
    live: int,
    F: FloatArray,
    R: FloatArray,
    inverse: FloatArray,
    basic: IntArray,
    nonbasic: IntArray,
) -> None:
    for lane in range(live):
        r, c = np.uint64(row[lane]), np.uint64(column[lane])
        inverse[lane] = -1.0 / F[r, lane]
        F[r, lane] = 1.0
        basic[r, lane], nonbasic[c, lane] = nonbasic[c, lane], basic[r, lane]
    for j in range(T.shape[1]):
        for lane in range(live):
            r = np.uint64(row[lane])
            R[j, lane] = T[r, j, lane] * inverse[lane]
            T[r, j, lane] = 0.0
    for lane in range(live):
        R[np.uint64(column[lane]), lane] = inverse[lane]


@_compiled
def _add_product(F: FloatArray, R: FloatArray, live: int, T: FloatArray) -> None:
    for i in range(T.shape[0]):
        for j in range(T.shape[1]):
            for lane in range(live):
                T[i, j, lane] += F[i, lane] * R[j, lane]


@_compiled
def _entering(T: FloatArray, live: int, column: IntArray, lowest: FloatArray) -> None:
    """Column of the lowest price below the tolerance, or 0."""
    m, n = T.shape[0] - 1, T.shape[1] - 1
    for lane in range(live):
        lowest[lane] = -PRICE_TOLERANCE
        column[lane] = 0
    for j in range(1, n + 1):
        for lane in range(live):
            better = T[m, j, lane] < lowest[lane]
            lowest[lane] = T[m, j, lane] if better else lowest[lane]
            column[lane] = j if better else column[lane]


@_compiled
def _leaving(T: FloatArray, F: FloatArray, live: int, row: IntArray, step: FloatArray, largest: FloatArray) -> None:
    """Row that leaves by Harris's test; where there is none, a pivot that is none spoils the lane."""
    m = T.shape[0] - 1
    for lane in range(live):
        step[lane] = np.inf
        largest[lane] = PIVOT_TOLERANCE
        row[lane] = 0
    for i in range(m):
        for lane in range(live):
            pivot = -F[i, lane]
            ratio = (T[i, 0, lane] + FEASIBILITY_TOLERANCE) / pivot
            ratio = ratio if pivot > PIVOT_TOLERANCE else np.inf
            step[lane] = min(step[lane], ratio)
    for i in range(m):
        for lane in range(live):
            pivot = -F[i, lane]
            better = (pivot > largest[lane]) & (T[i, 0, lane] <= step[lane] * pivot)
            largest[lane] = pivot if better else largest[lane]
            row[lane] = i if better else row[lane]


@_compiled
def _hand_in(
    T: FloatArray,
    live: int,
    column: IntArray,
    origin: IntArray,
    basic: IntArray,
    nonbasic: IntArray,
    weights: FloatArray,
    bases: BoolArray,
    done: IntArray,
) -> int:
    """Write down the weights of finished lanes by label, and close the ranks; the number of lanes still in use."""
    m, n = T.shape[0] - 1, T.shape[1] - 1
    n_done = 0
    for lane in range(live):
        done[n_done] = lane
        n_done += column[lane] == 0
    for index in range(n_done - 1, -1, -1):
        lane = np.uint64(done[index])
        game = np.uint64(origin[lane])
        for i in range(m):
            label = np.uint64(basic[i, lane])
            is_column = label >= np.uint64(m)
            weights[label, game] = max(T[i, 0, lane], 0.0) * is_column
            bases[game, label] = is_column
        for j in range(1, n + 1):
            label = np.uint64(nonbasic[j, lane])
            is_row = label < np.uint64(m)
            weights[label, game] = max(T[m, j, lane], 0.0) * is_row
            bases[game, label] = is_row
        live -= 1
        last = np.uint64(live)
        if lane < last:
            origin[lane], column[lane] = origin[last], column[last]
            for i in range(m + 1):
                for j in range(n + 1):
                    T[i, j, lane] = T[i, j, last]
            for i in range(m):
                basic[i, lane] = basic[i, last]
            for j in range(1, n + 1):
                nonbasic[j, lane] = nonbasic[j, last]
    return live


@_compiled
def _normalise(weights: FloatArray, used: int, total: FloatArray) -> None:
    """Make weights probabilities; their former totals."""
    total[:used] = 0.0
    for i in range(weights.shape[0]):
        for lane in range(used):
            total[lane] += weights[i, lane]
    for i in range(weights.shape[0]):
        for lane in range(used):
            weights[i, lane] /= total[lane]


@_compiled
def _guarantees(
    K: FloatArray,
    low: FloatArray,
    weights: FloatArray,
    used: int,
    columns: FloatArray,
    below: FloatArray,
    above: FloatArray,
    row: FloatArray,
) -> None:
    """min_b (mu M)(b) and max_a (M nu)(a), both less the lowest payoff."""
    m, n, _ = K.shape
    above[:used], below[:used], columns[:, :used] = -np.inf, np.inf, 0.0
    for i in range(m):
        row[:used] = 0.0
        for j in range(n):
            for lane in range(used):
                shifted = K[i, j, lane] - low[lane]
                row[lane] += shifted * weights[m + j, lane]
                columns[j, lane] += shifted * weights[i, lane]
        for lane in range(used):
            above[lane] = max(above[lane], row[lane])
    for j in range(n):
        for lane in range(used):
            below[lane] = min(below[lane], columns[j, lane])


@_compiled
def _store(weights: FloatArray, first: int, used: int, mu: FloatArray, nu: FloatArray) -> None:
    m, n = mu.shape[1], nu.shape[1]
    for i in range(m):
        for lane in range(used):
            mu[first + lane, i] = weights[i, lane]
    for j in range(n):
        for lane in range(used):
            nu[first + lane, j] = weights[m + j, lane]
