# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Compiled sweeps of soft value iteration over CSR rows; the equation stands in :mod:`.regularised_iteration`.

A block of states at a time, its action values kept in the first-level cache with one row for each action, so that
exponentials, sums and logarithms run along states in vector registers. The library's exp and log are scalar calls and
would take longer than the transitions; the ones here are straight-line code, exact to four roundings. No guarantee
rests on that: certificates are computed apart.

Unsigned indices spare the test for negative ones; numpy's error model spares the test for division by zero, which would
keep loops out of vector registers.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.int32] | NDArray[np.int64]

OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

# So many action values are worked on at a time: 16 KiB.
BLOCK = 2048

# 2^-1021 is nearly the least normal number; less adds nothing to a sum of at least one.
DEEPEST = -1021.0

# Added to a number below 2^51 in size, this leaves the nearest integer in the last bits.
ROUNDER = 1.5 * 2.0**52
ROUNDER_BITS = 0x4338000000000000

LOG2_E = 1.4426950408889634
# log 2 in two parts; the first has so few bits that its multiples by exponents are exact.
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10

# Bits of about 1/sqrt(2), where the significands begin that _log takes, of one, and of any fraction.
ROOT_BITS = 0x3FE6A09E00000000
ONE_BITS = 0x3FF0000000000000
FRACTION_BITS = 0x000FFFFFFFFFFFFF


@njit(**OPTIONS)
def _exp2(x: float) -> float:
    """2^x for x in [DEEPEST, 0]: 2^n for the nearest integer n, times a polynomial in the rest.

    The polynomial interpolates at the Chebyshev points of [-1/2, 1/2], with relative error 2e-17.
    """
    shifted = x + ROUNDER
    f = x - (shifted - ROUNDER)
    f2 = f * f
    f4 = f2 * f2
    low = (1.0 + f * 0.6931471805599453) + f2 * (0.24022650695910158 + f * 0.055504108664821625)
    middle = (0.009618129107587256 + f * 0.001333355814640647) + f2 * (
        0.00015403530463724353 + f * 1.5252733841556773e-05
    )
    high = (1.3215432535912375e-06 + f * 1.0178057087733941e-07) + f2 * (
        7.074194297288521e-09 + f * 4.4558179083360645e-10
    )
    power = (np.float64(shifted).view(np.int64) + 1023) << 52
    return (low + f4 * (middle + f4 * high)) * np.int64(power).view(np.float64)


@njit(**OPTIONS)
def _log(x: float) -> float:
    """log x for x >= 1: n log 2 + 2 artanh((m - 1) / (m + 1)), where x = 2^n m with m between 1/sqrt(2) and sqrt(2)."""
    bits = np.float64(x).view(np.int64) + (ONE_BITS - ROOT_BITS)
    n = np.int64(((bits >> 52) - 1023) + ROUNDER_BITS).view(np.float64) - ROUNDER
    f = np.int64((bits & FRACTION_BITS) + ROOT_BITS).view(np.float64) - 1.0
    z = f / (2.0 + f)
    w = z * z
    w2 = w * w
    w4 = w2 * w2
    low = (1.0 / 3.0 + w * (1.0 / 5.0)) + w2 * (1.0 / 7.0 + w * (1.0 / 9.0))
    high = (1.0 / 11.0 + w * (1.0 / 13.0)) + w2 * (1.0 / 15.0 + w * (1.0 / 17.0))
    series = low + w4 * (high + w4 * (1.0 / 19.0 + w * (1.0 / 21.0)))
    return n * LN2_HIGH + (n * LN2_LOW + 2.0 * (z + z * w * series))


@njit(cache=True, **OPTIONS)
def soft_sweep(
    data: FloatArray,
    indices: IndexArray,
    indptr: IndexArray,
    r: FloatArray,
    terminal: BoolArray,
    weight: float,
    discount: float,
    temperature: float,
    v: FloatArray,
    value: FloatArray,
) -> tuple[float, float]:
    """Write temperature LSE((weight r + discount P v) / temperature) for each state, zero for terminal ones.

    Args:
        data: Probabilities of the CSR matrix P (S*A, S), with ``indices`` and ``indptr``.
        indices: Columns of P.
        indptr: Row ends of P.
        r: Rewards (S*A,).
        terminal: Mask (S,).
        weight: Factor of the rewards.
        discount: Factor of P v.
        temperature: Positive.
        v: Value (S,).
        value: (S,) out.

    Returns:
        The least and greatest entry of value - v.
    """
    n_states, n_actions = v.size, r.size // v.size
    width = max(1, BLOCK // n_actions)
    q, best, total = np.empty((n_actions, width)), np.empty(width), np.empty(width)
    coldness = LOG2_E / max(temperature, 1e-300)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for begin in range(0, n_states, width):
        end = min(begin + width, n_states)
        size = end - begin
        _action_values(data, indices, indptr, r, weight, discount, v, begin, q, best[:size])
        total[:size] = 0.0
        for a in range(n_actions):
            _add_exponentials(q[a, :size], best[:size], coldness, total[:size])
        _log_sums(best[:size], temperature, terminal[begin:end], total[:size], value[begin:end])
        _spread(value[begin:end], v[begin:end], low[:size], high[:size])
    return low.min(), high.max()


@njit(**OPTIONS)
def _action_values(
    data: FloatArray,
    indices: IndexArray,
    indptr: IndexArray,
    r: FloatArray,
    weight: float,
    discount: float,
    v: FloatArray,
    begin: int,
    q: FloatArray,
    best: FloatArray,
) -> None:
    """Write the action values of the states from ``begin`` on to the columns of q, and their maxima to ``best``."""
    row = np.uint64(begin * q.shape[0])
    start = np.uint64(indptr[row])
    for s in range(np.uint64(best.size)):
        greatest = -np.inf
        for a in range(np.uint64(q.shape[0])):
            end = np.uint64(indptr[row + np.uint64(1)])
            expected = 0.0
            for i in range(start, end):
                expected += data[i] * v[np.uint64(indices[i])]
            q[a, s] = weight * r[row] + discount * expected
            greatest = max(greatest, q[a, s])
            row += np.uint64(1)
            start = end
        best[s] = greatest


@njit(**OPTIONS)
def _add_exponentials(q: FloatArray, best: FloatArray, coldness: float, total: FloatArray) -> None:
    """total += 2^((q - best) coldness)."""
    for s in range(best.size):
        x = (q[s] - best[s]) * coldness
        if not x > DEEPEST:
            x = DEEPEST
        term = _exp2(x)
        total[s] = total[s] + term


@njit(**OPTIONS)
def _log_sums(best: FloatArray, temperature: float, terminal: BoolArray, total: FloatArray, value: FloatArray) -> None:
    """value = best + temperature log(total), zero where terminal."""
    for s in range(best.size):
        total[s] = best[s] + temperature * _log(total[s])
    for s in range(best.size):
        value[s] = 0.0 if terminal[s] else total[s]


@njit(**OPTIONS)
def _spread(value: FloatArray, v: FloatArray, low: FloatArray, high: FloatArray) -> None:
    """Lower low, and raise high, to value - v, entry by entry: one minimum for all would wait for itself."""
    for s in range(v.size):
        change = value[s] - v[s]
        low[s] = change if change < low[s] else low[s]
        high[s] = change if change > high[s] else high[s]
