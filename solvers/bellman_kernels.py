# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Compiled Bellman sweeps over CSR rows; the equation stands in :mod:`.bellman`."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.int32] | NDArray[np.int64]


@njit(cache=True)
def csr_backup(
    data: FloatArray,
    indices: IndexArray,
    indptr: IndexArray,
    r: FloatArray,
    first: IntArray,
    gamma: float,
    v: FloatArray,
    value: FloatArray,
    choice: IntArray,
) -> tuple[float, float]:
    """Write T v and a maximising row for each state; return the least and greatest entry of T v - v.

    Unsigned indices spare the test for negative ones, which halves the time.
    """
    low, high = np.inf, -np.inf
    for s in range(v.size):
        best, best_row = -np.inf, first[s]
        for row in range(np.uint64(first[s]), np.uint64(first[s + 1])):
            expected = 0.0
            for i in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                expected += data[i] * v[np.uint64(indices[i])]
            q = r[row] + gamma * expected
            if q > best:
                best, best_row = q, np.int64(row)
        value[s] = best
        choice[s] = best_row
        low = min(low, best - v[s])
        high = max(high, best - v[s])
    return low, high
