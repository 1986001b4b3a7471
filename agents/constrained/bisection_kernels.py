# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""The compiled search of :mod:`.bisection`.

Shapes: J channels, G signals, H stages, n states known at a stage at most, A actions, d features, n_0 first states.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...solvers.linear_learning_kernels import act, backward

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@njit(cache=True)
def halve(
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
    first: FloatArray,
    rho: FloatArray,
    sign: float,
    offset: float,
    budget: float,
    price_high: float,
    n_halvings: int,
) -> float:
    """The upper end of [0, price_high] after n halvings; the lower half is kept if its end is within the budget.

    Args:
        signal: As in :func:`~lookahead_rl.solvers.linear_learning_kernels.backward`; so are those down to arrivals.
        inner: See there.
        outer: See there.
        entropy: See there.
        low: See there.
        high: See there.
        known: See there.
        mix: Overwritten in its last entry, the price times ``sign``.
        temperature: See there.
        features: See there.
        counts: See there.
        bonus: See there.
        inverse: See there.
        sums: See there.
        arrivals: See there.
        first: (n_0, A, d) features of first states.
        rho: (n_0,) their probabilities.
        sign: -1 where the last channel is the cost; 1 where it is what is saved.
        offset: The estimated cost is offset - sign * value of the last channel at the start.
        budget: What that may be.
        price_high: A price at which it is.
        n_halvings: How often the interval is halved.
    """
    n_channels, n_start = mix.size, rho.size
    n_stages, n_actions, d, room = features.shape
    w, laws = np.empty((n_channels, n_stages, d)), np.empty((n_stages, room, n_actions))
    values, stages = np.empty((2, n_channels, room)), np.zeros(n_start, dtype=np.int64)
    q, v = np.empty((n_channels, n_start, n_actions)), np.empty((n_channels, n_start))
    first_laws = np.empty((n_start, n_actions))
    price_low = 0.0
    for _ in range(n_halvings):
        price = (price_low + price_high) / 2.0
        mix[-1] = sign * price
        backward(
            signal, inner, outer, entropy, low, high, known, mix, temperature, features, counts, bonus, inverse, sums,
            arrivals, values, w, laws,
        )  # fmt: skip
        act(
            signal, inner, outer, entropy, low, high, known, mix, temperature, stages, first, inverse, w, q, v,
            first_laws,
        )  # fmt: skip
        estimate = 0.0
        for i in range(n_start):
            estimate += rho[i] * v[-1, i]
        if offset - sign * estimate <= budget:
            price_high = price
        else:
            price_low = price
    return price_high
