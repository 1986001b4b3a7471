# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Compiled loops over the CSR rows of a game; the equations stand in :mod:`.sweeps`.

Unsigned indices spare the test for negative ones, which halves the time.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int32] | NDArray[np.int64]


@njit(cache=True, nogil=True)
def stage_payoffs(
    data: FloatArray,
    indices: IndexArray,
    indptr: IndexArray,
    r: FloatArray,
    gamma: float,
    v: FloatArray,
    first: int,
    payoffs: FloatArray,
) -> None:
    """Q_v of the states from ``first`` on, as many as ``payoffs`` (n, A, B) has room for.

    Args:
        data: Probabilities of the CSR matrix P (S*A*B, S), with ``indices`` and ``indptr``.
        indices: Columns of P.
        indptr: Row ends of P.
        r: Rewards (S*A*B,).
        gamma: Discount.
        v: Value (S,).
        first: First state.
        payoffs: (n, A, B) out.
    """
    flat = payoffs.reshape(-1)
    offset = np.uint64(first * payoffs.shape[1] * payoffs.shape[2])
    for i in range(np.uint64(flat.size)):
        row = offset + i
        expected = 0.0
        for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + np.uint64(1)])):
            expected += data[k] * v[np.uint64(indices[k])]
        flat[i] = r[row] + gamma * expected


@njit(cache=True, nogil=True)
def pair_sizes(indptr: IndexArray, mu: FloatArray, nu: FloatArray, ends: IndexArray) -> None:
    """Row ends (S + 1,) of the chain of a pair: one entry for each outcome of each pair of actions played."""
    n_states, n_0, n_1 = mu.shape[0], mu.shape[1], nu.shape[1]
    ends[0] = 0
    for s in range(n_states):
        entries = 0
        for a in range(n_0):
            if mu[s, a] > 0.0:
                for b in range(n_1):
                    if nu[s, b] > 0.0:
                        row = (s * n_0 + a) * n_1 + b
                        entries += np.int64(indptr[row + 1]) - np.int64(indptr[row])
        ends[s + 1] = ends[s] + entries


@njit(cache=True, nogil=True)
def pair_rows(
    data: FloatArray,
    indices: IndexArray,
    indptr: IndexArray,
    r: FloatArray,
    mu: FloatArray,
    nu: FloatArray,
    chain_data: FloatArray,
    chain_indices: IndexArray,
    chain_r: FloatArray,
) -> None:
    """Entries of P_{mu,nu} and r_{mu,nu}, row after row, as :func:`pair_sizes` has counted them."""
    n_states, n_0, n_1 = mu.shape[0], mu.shape[1], nu.shape[1]
    place = np.uint64(0)
    for s in range(n_states):
        reward = 0.0
        for a in range(n_0):
            if mu[s, a] > 0.0:
                for b in range(n_1):
                    weight = mu[s, a] * nu[s, b]
                    if nu[s, b] > 0.0:
                        row = (s * n_0 + a) * n_1 + b
                        reward += weight * r[row]
                        for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                            chain_data[place] = weight * data[k]
                            chain_indices[place] = indices[k]
                            place += np.uint64(1)
        chain_r[s] = reward


@njit(cache=True, nogil=True)
def chain_step(
    data: FloatArray,
    indices: IndexArray,
    indptr: IndexArray,
    r: FloatArray,
    gamma: float,
    v: FloatArray,
    out: FloatArray,
) -> tuple[float, float]:
    """Write r + gamma P v; return the least and the greatest entry of the change r + gamma P v - v."""
    low, high = np.inf, -np.inf
    for s in range(np.uint64(r.size)):
        expected = 0.0
        for k in range(np.uint64(indptr[s]), np.uint64(indptr[s + np.uint64(1)])):
            expected += data[k] * v[np.uint64(indices[k])]
        out[s] = r[s] + gamma * expected
        change = out[s] - v[s]
        low, high = min(low, change), max(high, change)
    return low, high
