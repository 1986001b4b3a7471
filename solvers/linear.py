"""Exact solution of linear MDPs of any size.

With v_H = 0 the action values of a linear MDP are q_h(s, a) = <phi(s, a), w_h>, where

    w_h = theta_h + sum_{s'} mu_h(s') v_{h+1}(s'),        v_h(s) = max_a <phi(s, a), w_h>

(Jin, Yang, Wang, Jordan, COLT 2020, Proposition 2.3). The sum runs over the support of mu_h, so the recursion
evaluates phi in the states that some measure names and nowhere else: its time and memory do not depend on the
number of states. Linear games: :mod:`.games.linear`.

The certificate is recomputed from the weights alone. In the states that can be met at stage h let v_h be greedy in
w_h, and let w'_h be one step of the recursion from v_{h+1}. If max_a <phi, w'_h> - v_h <= d_h for all of them, then
v*_0 <= v_0 + d_0 + ... + d_{H-1}; and below, with the greedy action in place of the maximum, for the value of the
greedy policy. Rounding is bounded a priori, as in :mod:`.certificates`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..models import LinearMDP
from ..models.features import FeatureMap
from ..models.linear import NEGATIVE_TOLERANCE, LinearLaw
from ..models.summaries import Summarised
from .bellman import UNIT_ROUNDOFF
from .certificates import OUTWARDS, widened
from .solution import Certificate, FloatArray, IntArray, Status, exactness

# Features are evaluated for about this many numbers at a time.
BLOCK_ENTRIES = 2**20


@dataclass(frozen=True, eq=False, repr=False)
class LinearSolution(Summarised):
    """The optimum of a linear MDP, in H*d numbers.

    Attributes:
        phi: The model's features.
        weights: w_h of every stage (H, d); q_h(s, a) = <phi(s, a), w_h>.
        initial_states: The states (n,) in which an episode can begin.
        certificate: Bounds (n,) on the values of these states at stage 0: lower <= v^policy <= v* <= upper.
        status: How the solver ended.
        iterations: Number of stages.
        history: Empty.
    """

    phi: FeatureMap
    weights: FloatArray
    initial_states: IntArray
    certificate: Certificate
    status: Status
    iterations: int
    history: tuple[float, ...] = ()

    def action_values(self, states: IntArray, h: int) -> FloatArray:
        """q*_h of all actions (n, A) in states (n,); zero at stage H.

        Raises:
            ValueError: h is not a stage.
        """
        horizon = len(self.weights)
        if not 0 <= h <= horizon:
            raise ValueError(f"h is {h}; stages run from 0 to {horizon}")
        if h == horizon:
            return np.zeros((len(states), *self.phi.action_shape))
        return self.phi(states) @ self.weights[h]

    def value(self, states: IntArray, h: int) -> FloatArray:
        """v*_h (n,) of states (n,); zero at stage H."""
        return self.action_values(states, h).max(axis=1)

    def policy(self, states: IntArray, h: int) -> IntArray:
        """An optimal action (n,) in states (n,) at stage h: the first maximiser."""
        return self.action_values(states, h).argmax(axis=1)


def linear_backward_induction(model: LinearMDP) -> LinearSolution:
    """Optimal weights w_h of a linear MDP."""
    weights = np.empty((model.horizon, model.dim))
    for h in range(model.horizon - 1, -1, -1):
        law = model.stage(h)
        weights[h] = law.theta
        if h < model.horizon - 1:
            weights[h] += law.mu @ _greedy_values(model.phi, law.support, weights[h + 1])
    states, certificate = certify_weights(model, weights)
    status = exactness(certificate, np.abs(certificate.upper))
    return LinearSolution(model.phi, weights, states, certificate, status, model.horizon)


def _greedy_values(phi: FeatureMap, states: IntArray, w: FloatArray) -> FloatArray:
    return np.concatenate([(features @ w).max(axis=1) for features in _blocks(phi, states)])


def _blocks(phi: FeatureMap, states: IntArray) -> Iterator[FloatArray]:
    """Features (n, A, d) of the states, some at a time."""
    step = max(1, BLOCK_ENTRIES // (int(np.prod(phi.action_shape)) * phi.dim))
    for begin in range(0, states.size, step):
        yield phi(states[begin : begin + step])


def certify_weights(model: LinearMDP, weights: FloatArray) -> tuple[IntArray, Certificate]:
    """The states (n,) in which an episode can begin, and bounds (n,) on v* and on the greedy policy there.

    Args:
        model: The model.
        weights: Any weights (H, d).
    """
    below = above = 0.0
    states, values = np.zeros(0, dtype=np.int64), np.zeros(0)
    for h in range(model.horizon - 1, -1, -1):
        law, states = model.stage(h), met_states(model, h)
        stage = _residuals(model, law, states, weights[h], values)
        below = (stage.low + stage.mass * below) * OUTWARDS
        above = (stage.high + stage.mass * above) * OUTWARDS
        values = stage.values
    lower, upper = np.nextafter(values + below, -np.inf), np.nextafter(values + above, np.inf)
    return states, Certificate(lower, upper)


def met_states(model: LinearMDP, h: int) -> IntArray:
    """The states (n,) in which an episode can be at stage h."""
    if h > 0:
        return model.stage(h - 1).support
    rho = model.initial_distribution()
    return np.unique(rho.states[rho.weights > 0.0])


@dataclass(frozen=True, eq=False)
class _Residuals:
    """Greedy values (n,) of a stage; how far one step of the recursion may lie below and above; the mass it carries."""

    values: FloatArray
    low: float
    high: float
    mass: float


def _residuals(model: LinearMDP, law: LinearLaw, states: IntArray, w: FloatArray, later: FloatArray) -> _Residuals:
    reached = law.mu[:, : later.size]  # nothing is reached after the last stage
    backed_w, size = law.theta + reached @ later, np.abs(law.theta) + np.abs(reached) @ np.abs(later)
    total = law.mu.sum(axis=1)
    values: list[FloatArray] = []
    change: list[tuple[FloatArray, FloatArray]] = []
    scale = mass = 0.0
    for features in _blocks(model.phi, states):
        q, backed = features @ w, features @ backed_w
        choice = q.argmax(axis=1)[:, None]
        values.append(q.max(axis=1))
        change.append((np.take_along_axis(backed, choice, 1)[:, 0] - values[-1], backed.max(axis=1) - values[-1]))
        scale = max(scale, float((np.abs(features) @ (size + np.abs(w))).max()))
        mass = max(mass, float((features @ total).max()))
    # Four times the bound on a sum of products: a tie may be broken otherwise in a batch of another size.
    error = 4 * (law.support.size + model.dim + 8) * UNIT_ROUNDOFF * scale
    if not model.is_mixture:
        error += NEGATIVE_TOLERANCE * law.support.size * float(np.abs(later).max(initial=0.0))
    followed, best = (np.concatenate(column) for column in zip(*change, strict=True))
    low, high = widened(followed, error)[0], widened(best, error)[1]
    return _Residuals(
        np.concatenate(values), low, high, mass * (1 + 4 * (model.dim + law.support.size) * UNIT_ROUNDOFF)
    )
