"""The planted optimum of a large-action MDP, and exact values of policies on it.

The optimum is given with the model (:mod:`lookahead_rl.models.large_action`): V*_h = u_h, however many actions there
are. What a policy pi loses against it obeys, from zero at stage H,

    D_h(s) = w(s) g_h(s) + (1 - slip) sum_{s'} A_h(s, s') D_{h+1}(s') + slip mean(D_{h+1})

with g_h(s) the expected gap of its action and A_h(s, .) the law of the state it aims at. So a policy is evaluated from
H S numbers g and H matrices A, and V^pi = u - D. A deterministic policy needs one action for each stage and state,
N being as large as it may.

The certificates hold for the rewards as computed in float64, which the environments pay. Each of the operations of one
stage is wrong by at most one unit of roundoff, a mean or sum of k numbers by k of them (Higham, Accuracy and Stability
of Numerical Algorithms, 2nd ed., section 3.1), and errors of the stages add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..models import LargeActionMDP, ModelError
from ..models._checks import plain_array
from .bellman import UNIT_ROUNDOFF
from .certificates import OUTWARDS
from .solution import Certificate, FloatArray, IntArray, Solution, exactness

LARGEST_GAP = 1.1


@dataclass(frozen=True, eq=False)
class Conduct:
    """What a policy does at every stage and state, as far as its value depends on it.

    Attributes:
        gaps: Expected gaps (H, S) of its actions.
        aims: For each stage the laws of the state that it aims at, CSR (S, S).
    """

    gaps: FloatArray
    aims: Sequence[sp.csr_array]


def planted_optimum(model: LargeActionMDP) -> Solution[IntArray]:
    """The optimum of a large-action MDP.

    Returns:
        value (H + 1, S); policy, the digits (S, d) of the target, at every stage; no iterations, no history.
    """
    certificate = _around(model.value, np.cumsum(_reward_errors(model)[::-1])[::-1])
    return Solution(model.value, model.target, certificate, exactness(certificate, model.value), 0, ())


def evaluate_digits(model: LargeActionMDP, policy: IntArray) -> Solution[IntArray]:
    """The exact value of a deterministic policy, with bounds on both sides.

    Args:
        model: The model.
        policy: Digits (S, d), or one such table for each stage, (H, S, d).

    Returns:
        value (H + 1, S); policy as passed. No iterations, no history.

    Raises:
        ModelError: The policy has another shape, is not of integers, or names a digit that there is not.
    """
    digits = plain_array("policy", policy)
    staged = (model.horizon, model.n_states, model.n_digits)
    if digits.shape not in (staged, staged[1:]) or digits.dtype.kind not in "iu":
        raise ModelError(
            f"policy has dtype {digits.dtype} and shape {digits.shape}; expected integer digits (S, d) = {staged[1:]} "
            f"or (H, S, d) = {staged}"
        )
    outside = (digits < 0) | (digits >= model.base)
    if outside.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(outside)), digits.shape))
        raise ModelError(f"policy{list(index)} is {digits[index]}; digits run from 0 to {model.base - 1}")
    states = np.arange(model.n_states)
    stages = np.broadcast_to(digits, staged)
    gaps = np.stack([model.gap(states, stage) for stage in stages])
    value, certificate = evaluate_conduct(model, Conduct(gaps, [_aims(model, states, stage) for stage in stages]))
    return Solution(value, digits, certificate, exactness(certificate, value), 0, ())


def _aims(model: LargeActionMDP, states: IntArray, digits: IntArray) -> sp.csr_array:
    """Where deterministic actions aim, as a CSR matrix (S, S)."""
    S = states.size
    return sp.csr_array((np.ones(S), model.next_states(states, digits), np.arange(S + 1)), shape=(S, S))


def evaluate_conduct(model: LargeActionMDP, conduct: Conduct) -> tuple[FloatArray, Certificate]:
    """The exact value (H + 1, S) of a policy and bounds on it."""
    S, H = model.n_states, model.horizon
    lost, errors = np.zeros((H + 1, S)), _reward_errors(model)
    for h in range(H - 1, -1, -1):
        aims, later, now = conduct.aims[h], lost[h + 1], model.w * conduct.gaps[h]
        lost[h] = now + (1.0 - model.slip) * (aims @ later) + model.slip * later.mean()
        size = float(now.max() + np.abs(later).max(initial=0.0))
        # The laws are meant to sum to one; what rounding leaves of that is part of the error.
        defect = float(np.abs(aims.sum(axis=1) - 1.0).max()) * (LARGEST_GAP * float(model.w.max()) + size)
        errors[h] += (2 * S + 16) * UNIT_ROUNDOFF * (size + float(np.abs(model.value[h]).max())) + defect
    value = model.value - lost
    return value, _around(value, np.cumsum(errors[::-1])[::-1])


def _reward_errors(model: LargeActionMDP) -> FloatArray:
    """Bounds (H,) on |r_h(s, a) + E[u_{h+1}] + w gap - u_h| over all states and actions."""
    size = np.abs(model.value).max(axis=1)
    return (model.n_states + 16) * UNIT_ROUNDOFF * (size[:-1] + size[1:] + LARGEST_GAP * float(model.w.max()))


def _around(value: FloatArray, errors: FloatArray) -> Certificate:
    """Bounds (H + 1, S) at the distances (H,) of the stages."""
    reach = np.append(errors * OUTWARDS, 0.0)[:, None]
    lower, upper = np.nextafter(value - reach, -np.inf), np.nextafter(value + reach, np.inf)
    lower[-1] = upper[-1] = 0.0
    return Certificate(lower, upper)
