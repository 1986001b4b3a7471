"""What every solver returns: an answer, its certificate, and what happened.

A certificate is a pair of bounds recomputed from the model and the answer alone, never from the solver's
own bookkeeping, so that a wrong solver cannot certify itself: for every state

    lower(s) <= v^policy(s) <= v*(s) <= upper(s)

holds in exact arithmetic, the rounding of the computation included, and ``value`` lies between the bounds too,
so that a wrong entry of it widens them by as much as it is wrong. (In games lower and upper enclose the Nash
value, and lower is guaranteed to player_0, upper to player_1, by the returned pair. Where a policy is
evaluated, they enclose v^policy.)
"""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..models.summaries import Summarised

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Policy = TypeVar("Policy")


class Status(Enum):
    """How a solver ended; the text tells a person what happened and what to do."""

    CONVERGED = "converged: the certified gap is within the tolerance"
    ITERATION_LIMIT = (
        "stopped at the iteration limit before the tolerance was met; the answer is the best one found and its "
        "certificate is true: raise max_iterations, or accept the certified gap"
    )
    INTERRUPTED = (
        "interrupted by the user; the answer is the best one found so far and its certificate is true: "
        "run again to go on"
    )
    CYCLING = (
        "cycles: the iterates came back to where they had been, so the method would go on for ever; the answer is the "
        "best one found and its certificate is true: solve_game converges on every game"
    )
    STALLED = (
        "stalled: the line search found no step that helps, on which the method depends; the answer is the best one "
        "found and its certificate is true: solve_game converges on every game"
    )
    SETTLED = (
        "settled: one more step moves no value by more than the tolerance, but what the features can hold lies off the "
        "optimal value, by at most the certified gap: add features, or look further ahead"
    )
    STATIONARY = (
        "stationary: one more round would move neither the policy nor what it is made from, but the optimum is not "
        "certified; the answer is the best one found and its certificate is true: evaluate again, or mix in "
        "the first policy by eps that decrease to 0"
    )
    DIVERGED = (
        "diverges: the iterates outgrew every value there is; the answer is the best one found on the way and its "
        "certificate is true: raise lookahead or rollout, or fit other features on other states"
    )
    PRECISION_LIMIT = (
        "stopped where float64 rounding prevents a smaller certified gap: ask for a larger tol, or rescale the rewards"
    )
    BUDGET_UNRESOLVED = (
        "float64 rounding hides whether any policy keeps within the budget, which is the least cost there is or next "
        "to it; nothing is certain below and the upper bound is true: raise the budget a little, by 1e-12 of itself say"
    )
    NOT_CERTIFIED = (
        "not certified: with gamma = 1 some policies go on for ever, at no cost or at a gain that others make good, so "
        "the optimality equation alone does not bound v* from above; the finite bounds are true, an infinite one "
        "says nothing: use gamma < 1 for a two-sided certificate"
    )

    def __str__(self) -> str:
        """The text itself."""
        return self.value


@dataclass(frozen=True, eq=False, repr=False)
class Certificate(Summarised):
    """Bounds on the optimal (or Nash) value, state by state.

    Attributes:
        lower: Lower bounds, of the shape of the value; attained by the returned policy.
        upper: Upper bounds, of the same shape; infinite where nothing is certified.
    """

    shown: ClassVar[tuple[str, ...]] = ("gap",)

    lower: FloatArray
    upper: FloatArray

    @property
    def gap(self) -> float:
        """Largest difference between upper and lower bound over the states; equal infinities differ by zero."""
        equal = self.upper == self.lower
        return float(np.max(np.where(equal, 0.0, self.upper) - np.where(equal, 0.0, self.lower)))


@dataclass(frozen=True)
class GameWork:
    """Exact counts of what a planner of games did.

    Attributes:
        sweeps: Applications of the Shapley operator to all states.
        matrix_games: Matrix games solved.
        mixed_games: Those among them without a saddle point in pure actions, which took more than comparisons.
        evaluations: Applications of the operator of one policy, or one pair of policies, to all states; exact
            evaluations, which solve a linear system instead, are not among them.
        exact_evaluations: Policies, or pairs of policies, whose value was solved for.
    """

    sweeps: int
    matrix_games: int
    mixed_games: int
    evaluations: int
    exact_evaluations: int


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Summarised, Generic[Policy]):
    """A solver's answer.

    Attributes:
        value: Optimal value: (S,), or (H + 1, S) with a finite horizon.
        policy: Actions (S,) or (H, S) of a greedy policy; in games the pair (mu, nu) of shapes (S, A), (S, B).
        certificate: Bounds recomputed from value and policy.
        status: How the solver ended.
        iterations: Number of sweeps over the states, or of policy improvements, as the solver says.
        history: The solver's stopping quantity after each iteration, for plots.
        work: Counts of what was done, where the model is a game; None elsewhere.
    """

    value: FloatArray
    policy: Policy
    certificate: Certificate
    status: Status
    iterations: int
    history: tuple[float, ...]
    work: GameWork | None = None


def exactness(certificate: Certificate, value: FloatArray) -> Status:
    """The status of a direct computation: whether its gap is as small, beside the value, as float64 should make it."""
    if not np.isfinite(certificate.gap):
        return Status.NOT_CERTIFIED
    size = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
    return Status.CONVERGED if certificate.gap <= 1e-8 * size + 1e-300 else Status.PRECISION_LIMIT
