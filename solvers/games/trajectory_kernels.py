# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Compiled play of a pair of policies, and the m-step returns seen on the way."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@njit(inline="always", cache=True)
def _pick(weights: FloatArray, first: int, end: int, u: float) -> int:
    """Index i of the weight with sum_{first <= j < i} w_j <= u < sum_{first <= j <= i} w_j, the sums of all being one.

    Where rounding leaves none, it is the last positive one.
    """
    total, last = 0.0, first
    for i in range(first, end):
        if weights[i] > 0.0:
            last = i
            total += weights[i]
            if u < total:
                break
    return last


@njit(cache=True)
def play(
    indptr: IntArray,
    next_states: IntArray,
    probabilities: FloatArray,
    rewards: FloatArray,
    terminal: BoolArray,
    mu: FloatArray,
    nu: FloatArray,
    uniforms: FloatArray,
    visited: IntArray,
    paid: FloatArray,
    ends: IntArray,
) -> None:
    """Play trajectories on from ``visited[:, 0]``, to their full length or a terminal state.

    Args:
        indptr: Where the outcomes of row (s*A + a)*B + b begin.
        next_states: State each outcome leads to.
        probabilities: Probability of each outcome.
        rewards: What each outcome pays.
        terminal: Mask (S,).
        mu: Policy of player_0 (S, A).
        nu: Policy of player_1 (S, B).
        uniforms: Independent uniform numbers (n, T, 3).
        visited: States (n, T + 1), of which the first column is given and the others are written.
        paid: Written: rewards (n, T).
        ends: Written: number of steps made (n,).
    """
    n_0, n_1 = mu.shape[1], nu.shape[1]
    flat_mu, flat_nu = mu.reshape(-1), nu.reshape(-1)
    for i in range(ends.size):
        ends[i] = 0
        for t in range(paid.shape[1]):
            s = int(visited[i, t])
            if terminal[s]:
                break
            pair = _pick(flat_mu, s * n_0, (s + 1) * n_0, uniforms[i, t, 0])  # s*A + a
            b = _pick(flat_nu, s * n_1, (s + 1) * n_1, uniforms[i, t, 1]) - s * n_1
            row = pair * n_1 + b
            k = _pick(probabilities, int(indptr[row]), int(indptr[row + 1]), uniforms[i, t, 2])
            visited[i, t + 1], paid[i, t] = next_states[k], rewards[k]
            ends[i] += 1


@njit(cache=True)
def first_visit_returns(
    visited: IntArray,
    paid: FloatArray,
    ends: IntArray,
    rollout: int,
    gamma: float,
    w: FloatArray,
    totals: FloatArray,
    counts: IntArray,
) -> None:
    """Sum the m-step returns from the first visit of each state, and count them.

    A visit at time t is worth sum_{j < m} gamma^j r_{t+j} + gamma^m W(s_{t+m}). Visits at times 0, ..., T - m, the
    ones with m steps to go, are looked at; a terminal state cuts returns short, W being 0 there.

    Args:
        visited: States (n, T + 1).
        paid: Rewards (n, T).
        ends: Number of steps made (n,).
        rollout: m.
        gamma: Discount.
        w: W (S,).
        totals: Written: sums of returns (S,), over the trajectories that visit the state.
        counts: Written: number of those trajectories (S,).
    """
    totals[:] = 0.0
    counts[:] = 0
    last_seen = np.full(counts.size, -1)
    for i in range(ends.size):
        for t in range(min(paid.shape[1] - rollout + 1, ends[i])):
            s = visited[i, t]
            if last_seen[s] == i:
                continue
            last_seen[s] = i
            end = min(t + rollout, ends[i])
            value = w[visited[i, end]]
            for j in range(end - 1, t - 1, -1):
                value = paid[i, j] + gamma * value
            totals[s] += value
            counts[s] += 1
