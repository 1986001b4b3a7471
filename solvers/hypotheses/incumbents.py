"""Hypotheses by policy iteration on the bank: quick, often right, never a proof.

With one action a_i chosen for each datum, the weights that fit r_i + <u_i, theta> = 0 best are a least-squares problem;
with the weights given, the best action is the one of the largest discriminant (of the smallest in absolute value, where
policies other than the optimal one count). Alternating the two is policy iteration on the visited states. On generic
data it finds theta* from about 1.5 d data; where data are few it may settle on any consistent weights, such as zero on
a needle in a haystack, so its answers are offered to :class:`~lookahead_rl.solvers.hypotheses.tree.HypothesisTree` as
incumbents and nothing more.
"""

import numpy as np

from .bank import FloatArray, IntArray
from .program import Hypotheses, Program

MOST_ITERATIONS = 30
RIDGE = 1e-3
"""Weight of ||theta||^2 where rewards and increments are estimates."""


def bank_policy_iteration(program: Program, start: FloatArray) -> FloatArray:
    """Weights at which policy iteration on the bank comes to rest, begun from those of ``start`` (d,).

    They need not satisfy the program.
    """
    theta, chosen = start, np.full(len(program.bank), -1)
    for _ in range(MOST_ITERATIONS):
        actions = best_actions(program, theta)
        if (actions == chosen).all():
            break
        theta, chosen = fitted_weights(program, actions), actions
    return theta


def best_actions(program: Program, theta: FloatArray) -> IntArray:
    """The action (N,) that the weights favour at each datum."""
    discriminants = program.bank.discriminants(theta)
    if program.hypotheses is Hypotheses.OPTIMAL:
        return discriminants.argmax(axis=1)
    return (np.abs(discriminants) - program.bank.slack).argmin(axis=1)


def fitted_weights(program: Program, actions: IntArray) -> FloatArray:
    """Least-squares weights (d,) with Delta = 0 at the chosen actions; ridge regression where data are estimates."""
    bank = program.bank
    chosen = np.arange(len(bank)), actions
    u, r = bank.increments[chosen], bank.rewards[chosen]
    if bank.slack.any():
        u, r = np.vstack([u, RIDGE * np.eye(bank.dim)]), np.append(r, np.zeros(bank.dim))
    return np.linalg.lstsq(u, -r, rcond=None)[0].astype(np.float64)
