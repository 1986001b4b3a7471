# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Compiled passes of :mod:`.linear_learning`, where the equations stand.

Shapes: J channels, G signals, H stages, at most n states known at a stage, A actions, d features. States come last in
what is swept, so that a sum over features is one pass over neighbouring numbers, which the compiler vectorises. No sum
is reordered: what a state gets does not depend on how many there are.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@njit(cache=True)
def add_transitions(
    stages: IntArray,
    rows: IntArray,
    actions: IntArray,
    next_rows: IntArray,
    signals: FloatArray,
    features: FloatArray,
    gram: FloatArray,
    inverse: FloatArray,
    sums: FloatArray,
    arrivals: FloatArray,
) -> None:
    """Add m transitions to the statistics; the inverse by Sherman and Morrison.

    Args:
        stages: (m,).
        rows: (m,) state, by its row at its stage.
        actions: (m,).
        next_rows: (m,) next state, by its row at the next stage; -1 where there is none.
        signals: (m, G) what was observed.
        features: (H, A, d, n).
        gram: Changed: (H, d, d).
        inverse: Changed: (H, d, d).
        sums: Changed: (G, H, d).
        arrivals: Changed: (H, d, n).
    """
    d = gram.shape[1]
    x, u = np.empty(d), np.empty(d)
    for i in range(stages.size):
        h = stages[i]
        for k in range(d):
            x[k] = features[h, actions[i], k, rows[i]]
        scale = 1.0
        for k in range(d):
            u[k] = 0.0
            for m in range(d):
                u[k] += inverse[h, k, m] * x[m]
            scale += x[k] * u[k]
        for k in range(d):
            for m in range(d):
                gram[h, k, m] += x[k] * x[m]
                inverse[h, k, m] -= u[k] * u[m] / scale
        for g in range(signals.shape[1]):
            for k in range(d):
                sums[g, h, k] += signals[i, g] * x[k]
        if next_rows[i] >= 0:
            for k in range(d):
                arrivals[h + 1, k, next_rows[i]] += x[k]


@njit(cache=True)
def _norm(phi: FloatArray, n: int, inverse: FloatArray, b: FloatArray) -> None:
    """Write |phi_i| in the norm of the inverse, sqrt(phi_i' inverse phi_i), for the first n columns of phi (d, n)."""
    for i in range(n):
        b[i] = 0.0
    for k in range(phi.shape[0]):
        for m in range(k + 1):
            twice = inverse[k, m] if m == k else 2.0 * inverse[k, m]
            for i in range(n):
                b[i] += twice * phi[k, i] * phi[m, i]
    for i in range(n):
        b[i] = math.sqrt(max(b[i], 0.0))


@njit(cache=True)
def norms(features: FloatArray, counts: IntArray, inverse: FloatArray, bonus: FloatArray) -> None:
    """Write |phi(s, a)| in the norm of the inverse for all known states, (H, A, n)."""
    for h in range(counts.size):
        for a in range(features.shape[1]):
            _norm(features[h, a], counts[h], inverse[h], bonus[h, a])


@njit(cache=True)
def _add_multiple(factor: float, x: FloatArray, n: int, total: FloatArray) -> None:
    """total += factor x in the first n entries; nothing at all where the factor is 0."""
    if factor != 0.0:
        for i in range(n):
            total[i] += factor * x[i]


@njit(cache=True)
def _action_values(
    phi: FloatArray, n: int, b: FloatArray, inner: float, outer: float, low: float, high: float,
    known: FloatArray, w: FloatArray, q: FloatArray,
) -> None:  # fmt: skip
    """Write outer b + clip(<w, phi_i> + inner b, low, high) + <known, phi_i>, for the first n columns of phi (d, n)."""
    for i in range(n):
        q[i] = 0.0
    for k in range(w.size):
        _add_multiple(w[k], phi[k], n, q)
    for i in range(n):
        q[i] = outer * b[i] + min(max(q[i] + inner * b[i], low), high)
    for k in range(w.size):
        _add_multiple(known[k], phi[k], n, q)


@njit(cache=True)
def _regress(
    inverse: FloatArray, start: FloatArray, arrivals: FloatArray, n: int, v: FloatArray, w: FloatArray
) -> None:
    """Write w = inverse (start + sum_{s'} arrivals(s') v(s')) over n states s'; arrivals are (d, n)."""
    target = start.copy()
    for i in range(n):
        for k in range(target.size):
            target[k] += arrivals[k, i] * v[i]
    for k in range(target.size):
        w[k] = 0.0
        for m in range(target.size):
            w[k] += inverse[k, m] * target[m]


@njit(cache=True)
def _greedy(mixed: FloatArray, n: int, laws: FloatArray) -> None:
    """Write the laws (n, A) of the first maximisers of mixed (A, n)."""
    best, choice = np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    for a in range(mixed.shape[0]):
        for i in range(n):
            better = mixed[a, i] > best[i]
            best[i] = mixed[a, i] if better else best[i]
            choice[i] = a if better else choice[i]
    for i in range(n):
        for a in range(mixed.shape[0]):
            laws[i, a] = 1.0 if a == choice[i] else 0.0


@njit(cache=True)
def _softmax(mixed: FloatArray, i: int, temperature: float, laws: FloatArray) -> float:
    """Write the softmax of mixed (A, n) in state i, laws_i, and return its entropy."""
    best, total, mean = mixed[:, i].max(), 0.0, 0.0
    for a in range(laws.shape[1]):
        exponent = (mixed[a, i] - best) / temperature
        laws[i, a] = math.exp(exponent)
        total += laws[i, a]
        if laws[i, a] > 0.0:
            mean += laws[i, a] * exponent
    for a in range(laws.shape[1]):
        laws[i, a] /= total
    return math.log(total) - mean / total


@njit(cache=True)
def _settle(
    q: FloatArray, n: int, mix: FloatArray, temperature: float, entropy: FloatArray, laws: FloatArray, v: FloatArray
) -> None:
    """Write laws (n, A) and values (J, n) of the first n states for action values q (J, A, n)."""
    n_channels, n_actions, _ = q.shape
    mixed, spread = np.zeros((n_actions, n)), np.zeros(n)
    for j in range(n_channels):
        for a in range(n_actions):
            _add_multiple(mix[j], q[j, a], n, mixed[a])
    if temperature == 0.0:
        _greedy(mixed, n, laws)
    else:
        for i in range(n):
            spread[i] = _softmax(mixed, i, temperature, laws)
    for j in range(n_channels):
        for i in range(n):
            v[j, i] = entropy[j] * spread[i]
        for a in range(n_actions):
            for i in range(n):
                v[j, i] += laws[i, a] * q[j, a, i]


@njit(cache=True)
def backward(
    signal: IntArray,
    inner: FloatArray,
    outer: FloatArray,
    entropy: FloatArray,
    low: FloatArray,
    high: FloatArray,
    known: FloatArray,
    mix: FloatArray,
    temperature: float,
    features: FloatArray,
    counts: IntArray,
    bonus: FloatArray,
    inverse: FloatArray,
    sums: FloatArray,
    arrivals: FloatArray,
    values: FloatArray,
    w: FloatArray,
    laws: FloatArray,
) -> None:
    """Regress values backwards over the stages; write the weights (J, H, d) and what is done in known states.

    Args:
        signal: (J,) which signal a channel regresses; -1: none.
        inner: (J,) times the bonus, inside of the clip.
        outer: (J,) times the bonus, outside.
        entropy: (J,) times the entropy of the law, added to values.
        low: (J, H).
        high: (J, H).
        known: (J, H, d).
        mix: (J,) weights of the channels in what the policy follows.
        temperature: Of the softmax; 0: greedy, ties to the first action.
        features: (H, A, d, n).
        counts: (H,) states known.
        bonus: (H, A, n).
        inverse: (H, d, d).
        sums: (G, H, d).
        arrivals: (H, d, n).
        values: Overwritten: (2, J, n), those of a stage and of the next.
        w: Written.
        laws: Written: (H, n, A).
    """
    n_channels, n_stages, d = w.shape
    n_actions, nothing = features.shape[1], np.zeros(d)
    q = np.empty((n_channels, n_actions, features.shape[3]))
    for h in range(n_stages - 1, -1, -1):
        later = min(h + 1, n_stages - 1)
        n, n_later = counts[h], counts[later] if h < later else 0
        for j in range(n_channels):
            start = sums[signal[j], h] if signal[j] >= 0 else nothing
            _regress(inverse[h], start, arrivals[later], n_later, values[(h + 1) % 2, j], w[j, h])
            for a in range(n_actions):
                _action_values(
                    features[h, a], n, bonus[h, a], inner[j], outer[j], low[j, h], high[j, h], known[j, h], w[j, h],
                    q[j, a],
                )  # fmt: skip
        _settle(q, n, mix, temperature, entropy, laws[h], values[h % 2])


@njit(cache=True)
def act(
    signal: IntArray,
    inner: FloatArray,
    outer: FloatArray,
    entropy: FloatArray,
    low: FloatArray,
    high: FloatArray,
    known: FloatArray,
    mix: FloatArray,
    temperature: float,
    stages: IntArray,
    features: FloatArray,
    inverse: FloatArray,
    w: FloatArray,
    q: FloatArray,
    values: FloatArray,
    laws: FloatArray,
) -> None:
    """What a plan thinks and does in n states: action values (J, n, A), values (J, n), laws (n, A).

    Args:
        signal: As in :func:`backward`, and so are the others of these names.
        inner: See there.
        outer: See there.
        entropy: See there.
        low: See there.
        high: See there.
        known: See there.
        mix: See there.
        temperature: See there.
        stages: (n,).
        features: (n, A, d).
        inverse: (H, d, d).
        w: (J, H, d).
        q: Written.
        values: Written.
        laws: Written.
    """
    n, n_actions, d = features.shape
    b, thought, v = np.empty(1), np.empty((mix.size, n_actions, 1)), np.empty((mix.size, 1))
    for i in range(n):
        h = stages[i]
        for a in range(n_actions):
            phi = features[i, a].reshape(d, 1)
            _norm(phi, 1, inverse[h], b)
            for j in range(mix.size):
                _action_values(
                    phi, 1, b, inner[j], outer[j], low[j, h], high[j, h], known[j, h], w[j, h], thought[j, a]
                )
        _settle(thought, 1, mix, temperature, entropy, laws[i : i + 1], v)
        q[:, i], values[:, i] = thought[:, :, 0], v[:, 0]


@njit(cache=True)
def expected_totals(
    laws: FloatArray,
    features: FloatArray,
    ends: IntArray,
    reached: FloatArray,
    parameters: FloatArray,
    rho: FloatArray,
    v: FloatArray,
    totals: FloatArray,
) -> None:
    """Write what each of G signals adds up to in expectation over an episode.

    Args:
        laws: (N, A) laws of actions, stage by stage.
        features: (A, d, N).
        ends: (H + 1,) where the stages end in N; ends[0] = 0.
        reached: (d, N) the measures' weights of each state; of stage 0 they are not read.
        parameters: (G, H, d) each signal is <phi, parameters>.
        rho: (n_0,) the start.
        v: Overwritten: (2, N).
        totals: Written: (G,).
    """
    n_actions, d, _ = features.shape
    w = np.empty(d)
    for g in range(totals.size):
        for h in range(ends.size - 2, -1, -1):
            for k in range(d):
                w[k] = parameters[g, h, k]
            if h + 2 < ends.size:
                for i in range(ends[h + 1], ends[h + 2]):
                    for k in range(d):
                        w[k] += reached[k, i] * v[0, i]
            first, n = ends[h], ends[h + 1] - ends[h]
            total, q = v[0, first : first + n], v[1, first : first + n]
            total[:] = 0.0
            for a in range(n_actions):
                q[:] = 0.0
                for k in range(d):
                    phi = features[a, k, first : first + n]
                    for i in range(n):
                        q[i] += w[k] * phi[i]
                for i in range(n):
                    total[i] += laws[first + i, a] * q[i]
        totals[g] = 0.0
        for i in range(rho.size):
            totals[g] += rho[i] * v[0, i]
