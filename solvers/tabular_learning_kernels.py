# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Compiled passes of :mod:`.tabular_learning`, where the equations stand.

Shapes: H stages, S states, A actions; C is H where each stage has a law of its own, else 1. Rows are (c*S + s)*A + a.
The successors that were seen of a row are a chain of slots: ``head[row]`` is the first, and a column of ``slots``,
(3, n), holds the next slot (-1: none), the next state, and how often it followed. A next state S ends the episode.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEXT, SUCCESSOR, SEEN = 0, 1, 2
"""Rows of ``slots``."""


@njit(cache=True)
def add_transitions(
    stages: IntArray,
    states: IntArray,
    actions: IntArray,
    next_states: IntArray,
    rewards: FloatArray,
    visits: IntArray,
    paid: FloatArray,
    arrivals: IntArray,
    head: IntArray,
    slots: IntArray,
    n_slots: int,
) -> int:
    """Count m transitions, and return the number of slots in use.

    Args:
        stages: (m,).
        states: (m,).
        actions: (m,).
        next_states: (m,).
        rewards: (m,).
        visits: Changed: (C, S, A) how often each row was played.
        paid: Changed: (C, S, A) sums of rewards.
        arrivals: Changed: (H, S) how often each state was met at each stage.
        head: Changed: (C*S*A,).
        slots: Changed: (3, n), with room for m more.
        n_slots: Slots in use.
    """
    n_laws, n_states, n_actions = visits.shape
    for i in range(stages.size):
        c = stages[i] if n_laws > 1 else 0
        visits[c, states[i], actions[i]] += 1
        paid[c, states[i], actions[i]] += rewards[i]
        arrivals[stages[i], states[i]] += 1
        row = (c * n_states + states[i]) * n_actions + actions[i]
        slot = head[row]
        while slot >= 0 and slots[SUCCESSOR, slot] != next_states[i]:
            slot = slots[NEXT, slot]
        if slot < 0:
            slot, n_slots = n_slots, n_slots + 1
            slots[NEXT, slot], slots[SUCCESSOR, slot], slots[SEEN, slot] = head[row], next_states[i], 0
            head[row] = slot
        slots[SEEN, slot] += 1
    return n_slots


@njit(inline="always", cache=True)
def _bernstein(
    first: int, n: int, mean: float, slots: IntArray, v: FloatArray, doubt: FloatArray, width: float, log_term: float
) -> float:
    """The bonus "BF" of a row that was played n times, its chain beginning with slot ``first``."""
    variance, unknown, slot = 0.0, 0.0, first
    while slot >= 0:
        s_next, seen = slots[SUCCESSOR, slot], slots[SEEN, slot]
        variance += seen * (v[s_next] - mean) ** 2
        unknown += seen * doubt[s_next]
        slot = slots[NEXT, slot]
    return (math.sqrt(8.0 * log_term * variance) + math.sqrt(8.0 * unknown)) / n + 14.0 * width * log_term / (3.0 * n)


@njit(inline="always", cache=True)
def _fill_doubt(arrivals: IntArray, uncertainty: float, most: float, doubt: FloatArray) -> None:
    """Write min{uncertainty / N(s'), most} (S + 1,); nothing is doubtful of the end of the episode."""
    for s in range(arrivals.size):
        doubt[s] = most
        if arrivals[s] > 0:
            doubt[s] = min(uncertainty / arrivals[s], most)
    doubt[arrivals.size] = 0.0


@njit(cache=True)
def optimistic_backup(
    has_variance: bool,
    factor: float,
    most: float,
    width: float,
    log_term: float,
    uncertainty: float,
    visits: IntArray,
    paid: FloatArray,
    arrivals: IntArray,
    head: IntArray,
    slots: IntArray,
    q: FloatArray,
    v: FloatArray,
    choice: IntArray,
) -> None:
    """Optimistic action values backwards over the stages.

    Args:
        has_variance: Whether bonuses are Bernstein's; else Hoeffding's.
        factor: Bonuses are multiplied by it.
        most: Greatest reward; with h stages to go, h times that is to be had at most.
        width: H times the range of rewards.
        log_term: L.
        uncertainty: 100^2 H^3 S^2 A L^2 times the squared range of rewards.
        visits: As in :func:`add_transitions`, and so are the others of these names.
        paid: See there.
        arrivals: See there.
        head: See there.
        slots: See there.
        q: Changed: (H, S, A) action values, lowered where the data allow.
        v: Written: (H + 1, S + 1) values; zero at stage H and at the end of the episode.
        choice: Written: (H, S) the first maximising action.
    """
    n_stages, n_states, n_actions = q.shape
    doubt = np.zeros(n_states + 1)
    v[n_stages, :] = 0.0
    for h in range(n_stages - 1, -1, -1):
        c = h if visits.shape[0] > 1 else 0
        v[h, n_states] = 0.0
        if has_variance and h + 1 < n_stages:
            _fill_doubt(arrivals[h + 1], uncertainty, width * width, doubt)
        for s in range(n_states):
            choice[h, s] = 0
            for a in range(n_actions):
                n = visits[c, s, a]
                if n > 0:
                    first = int(head[(c * n_states + s) * n_actions + a])
                    mean, slot = 0.0, first
                    while slot >= 0:
                        mean += slots[SEEN, slot] * v[h + 1, slots[SUCCESSOR, slot]] / n
                        slot = slots[NEXT, slot]
                    bonus = 7.0 * width * log_term / math.sqrt(n)
                    if has_variance:
                        bonus = _bernstein(first, n, mean, slots, v[h + 1], doubt, width, log_term)
                    estimate = paid[c, s, a] / n + mean + factor * bonus
                    q[h, s, a] = min(q[h, s, a], (n_stages - h) * most, estimate)
                if q[h, s, a] > q[h, s, choice[h, s]]:
                    choice[h, s] = a
            v[h, s] = q[h, s, choice[h, s]]
        doubt[:] = 0.0


@njit(cache=True)
def expected_return(
    choice: IntArray,
    indptr: IntArray,
    next_states: IntArray,
    probabilities: FloatArray,
    rewards: FloatArray,
    rho: FloatArray,
    v: FloatArray,
) -> float:
    """Exact expected return of the actions (H, S).

    Args:
        choice: (H, S).
        indptr: (C*S*A + 1,) where the outcomes of each row begin.
        next_states: Of each outcome.
        probabilities: Of each outcome.
        rewards: (C, S, A).
        rho: (S,).
        v: Overwritten: (2, S).
    """
    n_stages = choice.shape[0]
    n_laws, n_states, n_actions = rewards.shape
    v[n_stages % 2, :] = 0.0
    for h in range(n_stages - 1, -1, -1):
        c = h if n_laws > 1 else 0
        for s in range(n_states):
            row = (c * n_states + s) * n_actions + choice[h, s]
            value = rewards[c, s, choice[h, s]]
            for i in range(indptr[row], indptr[row + 1]):
                value += probabilities[i] * v[(h + 1) % 2, next_states[i]]
            v[h % 2, s] = value
    total = 0.0
    for s in range(n_states):
        total += rho[s] * v[0, s]
    return total
