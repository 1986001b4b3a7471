"""Exact values in a linear MDP over the states that can be met.

At stage 0 an episode is in the support of rho, at stage h + 1 in the support of mu_h, whatever the policy. On these
states, with v_H = 0,

    w_h = theta_h + sum_{s'} mu_h(s') v_{h+1}(s'),        q_h(s, a) = <phi(s, a), w_h>,
    v^pi_h(s) = sum_a pi_h(a | s) q_h(s, a),               v*_h(s) = max_a q_h(s, a)

(Jin, Yang, Wang, Jordan, COLT 2020, Proposition 2.3). The sum runs over the next stage's support, so all of it costs
the same in a billion states as in a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models import LinearMDP
from ..solvers.solution import Certificate

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UNIT_ROUNDOFF = 2.0**-53
MASS = 1.0 + 1e-8  # probabilities of a model or a policy may miss one by 1e-9

# Features are computed for about this many numbers at a time.
BLOCK_ENTRIES = 2**22


@dataclass(frozen=True, eq=False)
class SupportValues:
    """Values on the states that can be met, stage by stage.

    Attributes:
        values: For each stage its values (n_h,).
        errors: For each stage a bound on the rounding error of its values.
    """

    values: Sequence[FloatArray]
    errors: Sequence[float]

    def flat(self) -> tuple[FloatArray, Certificate]:
        """All values (n,), and their bounds."""
        values = np.concatenate(self.values)
        errors = np.repeat(self.errors, [len(v) for v in self.values])
        return values, Certificate(values - errors, values + errors)


def reachable_states(model: LinearMDP) -> list[IntArray]:
    """The states (n_h,) that can be met at stages h = 0, ..., H - 1."""
    rho = model.initial_distribution()
    later = [model.stage(h).support for h in range(model.horizon - 1)]
    return [np.unique(rho.states[rho.weights > 0]), *later]


def support_values(
    model: LinearMDP, states: Sequence[IntArray], laws: Sequence[FloatArray] | None = None
) -> SupportValues:
    """v^pi of a policy, or v*, on the states that can be met.

    Args:
        model: The model.
        states: As :func:`reachable_states` returns them.
        laws: The policy's action probabilities (n_h, A) in these states. None: the optimum.
    """
    values: list[FloatArray] = []
    errors: list[float] = []
    v, error = np.zeros(0), 0.0
    for h in range(model.horizon - 1, -1, -1):
        law = model.stage(h)
        last = h == model.horizon - 1
        w = law.theta.copy() if last else law.theta + law.mu @ v
        size = np.abs(law.theta) if last else np.abs(law.theta) + np.abs(law.mu) @ np.abs(v)
        v, largest = _backup(model, states[h], w, size, None if laws is None else laws[h])
        # A sum of k products is wrong by at most k u / (1 - k u) times the sum of their sizes (Higham, Accuracy and
        # Stability of Numerical Algorithms, 2nd ed., section 3.1).
        terms = law.support.size + model.dim + model.n_actions + 8
        error = MASS * MASS * error + 2.0 * terms * UNIT_ROUNDOFF * largest
        values.append(v)
        errors.append(error)
    return SupportValues(values[::-1], errors[::-1])


def _backup(
    model: LinearMDP, states: IntArray, w: FloatArray, size: FloatArray, law: FloatArray | None
) -> tuple[FloatArray, float]:
    """v_h (n,) from w_h (d,), and the greatest of <|phi|, size>, which bounds the numbers summed."""
    n_blocks = 1 + states.size * model.n_actions * model.dim // BLOCK_ENTRIES
    parts: list[FloatArray] = []
    largest = 0.0
    for rows in np.array_split(np.arange(states.size), min(n_blocks, states.size)):
        phi = model.phi(states[rows])
        q = phi @ w
        parts.append(q.max(axis=1) if law is None else np.einsum("na,na->n", law[rows], q))
        largest = max(largest, float((np.abs(phi) @ size).max()))
    return np.concatenate(parts), largest
