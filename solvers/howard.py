"""Howard's policy iteration on decision rows.

Evaluate the policy, v = r_pi + gamma P_pi v; in each state where some action is better than the policy's own
by more than rounding explains, take the best one; repeat. The values rise, so no policy returns and the
iteration ends (Puterman, Markov Decision Processes, 1994, Theorem 6.4.2).

With gamma = 1 it starts from a policy that terminates. Let pi terminate and let pi' differ from it only where
it is strictly better. A closed class of pi' holds a changed state, since pi leaves every set; averaging
r + P v - v >= 0 over the stationary law of the class, with > 0 in the changed state, gives a positive mean
reward. So pi' terminates as well, or the total reward is unbounded: :class:`UnboundedRewardError`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..models._checks import BoolArray
from .bellman import DecisionRows, as_csr, best_rows, rounding_error, row_values
from .chains import closed_classes, policy_chain, solve_chain, step_towards
from .solution import FloatArray, IntArray


class UnboundedRewardError(ValueError):
    """With gamma = 1 a policy collects reward for ever."""

    def __init__(self, state: int) -> None:
        super().__init__(f"a policy collects reward for ever around state {state}")
        self.state = state


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A policy and its value.

    Attributes:
        choice: The policy, one row for each state (S,).
        value: Its value (S,).
        low: Least entry of T_pi v - v, the error of the evaluation.
        high: Greatest entry of T v - v.
    """

    choice: IntArray
    value: FloatArray
    low: float
    high: float


def howard(rows: DecisionRows, choice: IntArray, start: FloatArray, target: float) -> Iterator[Evaluated]:
    """Policies of rising value, from ``choice`` on, until none is better by more than rounding.

    Args:
        rows: The process.
        choice: One row for each state (S,); with gamma = 1 it must terminate.
        start: Where iterative evaluation starts (S,).
        target: Residual to which the last policies are evaluated. Iterative evaluation of the earlier ones
            stops at a fiftieth of what improvement promises (inexact Newton steps, which is what policy
            iteration is: Puterman and Brumelle, Mathematics of Operations Research 4, 1979).

    Raises:
        UnboundedRewardError: gamma = 1 and a policy collects reward for ever.
    """
    value, promise = start, float(np.abs(rows.r).max()) if rows.gamma < 1.0 else 0.0
    while True:
        inner = max(target, 0.02 * promise)
        value = _evaluate(rows, choice, value, inner)
        q = row_values(rows, value)
        best, better = best_rows(rows, q)
        residual = q[choice] - value
        yield Evaluated(choice, value, float(residual.min()), float((best - value).max()))
        improves = best - q[choice] > 4 * rounding_error(rows, value) + np.abs(residual).max()
        if not improves.any() and inner == target:
            return
        promise = float((best - q[choice]).max()) if improves.any() and rows.gamma < 1.0 else 0.0
        choice = np.where(improves, better, choice)


def _evaluate(rows: DecisionRows, choice: IntArray, start: FloatArray, target: float) -> FloatArray:
    chain = policy_chain(rows, choice, rows.terminal)
    if rows.gamma == 1.0:
        closed = closed_classes(as_csr(chain.P), rows.terminal) >= 0
        if closed.any():
            raise UnboundedRewardError(int(np.argmax(closed)))
    return solve_chain(chain, start, target)


def choice_towards(rows: DecisionRows, targets: BoolArray, allowed: BoolArray) -> IntArray:
    """One row for each state (S,) such that following them reaches ``targets`` almost surely.

    Each row takes, with positive probability, one step along a shortest path, and no state that has a row
    can be left for one that has none as long as the allowed rows never do that.

    Args:
        rows: The process.
        targets: Mask (S,); targets get their first row.
        allowed: Mask (R,) of the rows that may be taken.

    Returns:
        The rows, -1 in states from which the targets cannot be reached.
    """
    P = as_csr(rows.P)
    row = np.repeat(np.arange(rows.r.size), np.diff(P.indptr))
    keep = (P.data > 0) & allowed[row]
    row, tail, head = row[keep], rows.owner[row[keep]], P.indices[keep]
    graph = sp.csr_array((np.ones(row.size), (tail, head)), shape=(rows.n_states, rows.n_states))
    step = step_towards(graph, targets)
    choice = np.full(rows.n_states, -1, dtype=np.int64)
    follows = (head == step[tail]) & ~targets[tail]
    choice[tail[follows]] = row[follows]
    choice[targets] = rows.first[:-1][targets]
    return choice
