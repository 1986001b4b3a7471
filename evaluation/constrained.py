"""What a policy earns and what it costs, beside the best that its budget allows.

In a constrained problem value and cost of a policy are exact, found by backward recursion over the states that can be
met (:mod:`lookahead_rl.solvers.stages`), and so is the optimum within the budget. A policy that overspends may earn
more than that optimum, so the regret alone says little: it may be negative, though never by much. With the price y of
cost at the optimum, weak duality gives

    regret >= -y * violation        for every policy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ..models import ConstrainedMDP, ConstrainedProblem
from ..models.summaries import Summarised
from ..solvers.constrained import ConstrainedSolution, ConstrainedValue, evaluate_laws
from ..solvers.solution import Certificate, Status
from ..solvers.stages import StagedPolicy, StagedProblem, normalised, staged_policy, staged_problem

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Bounds = tuple[float, float]


@final
@dataclass(frozen=True, eq=False, repr=False)
class ConstrainedAudit(Summarised):
    """The exact value and cost of a policy beside the constrained optimum. All bounds are certain.

    Attributes:
        value: Expected return of an episode.
        value_bounds: Bounds on it.
        cost: Expected cost of an episode.
        cost_bounds: Bounds on it.
        budget: What an episode may cost in expectation.
        optimal_value: Value of the best policy within the budget.
        certificate: Bounds on that, as arrays of no axes.
        multiplier: The price of cost at the optimum.
        status: How the optimum was found.
        policy: What was audited, in the states that can be met.
        deterministic: Whether the policy's most likely actions were audited instead of its laws.
    """

    shown: ClassVar[tuple[str, ...]] = ("value", "optimal_value", "regret", "cost", "budget", "violation")

    value: float
    value_bounds: Bounds
    cost: float
    cost_bounds: Bounds
    budget: float
    optimal_value: float
    certificate: Certificate
    multiplier: float
    status: Status
    policy: StagedPolicy
    deterministic: bool

    @property
    def regret(self) -> float:
        """optimal_value - value. Negative for a policy that earns more than the optimum, which then overspends."""
        return self.optimal_value - self.value

    @property
    def regret_bounds(self) -> Bounds:
        """Bounds on ``regret``; infinite where nothing is certified."""
        low, high = self.value_bounds
        return float(np.nextafter(self.certificate.lower - high, -np.inf)), float(
            np.nextafter(self.certificate.upper - low, np.inf)
        )

    @property
    def violation(self) -> float:
        """cost - budget: positive for a policy that overspends."""
        return self.cost - self.budget

    @property
    def violation_bounds(self) -> Bounds:
        """Bounds on ``violation``."""
        low, high = (cost - self.budget for cost in self.cost_bounds)
        return float(np.nextafter(low, -np.inf)), float(np.nextafter(high, np.inf))

    @property
    def is_safe(self) -> bool:
        """Whether the cost is certain not to exceed the budget."""
        return self.cost_bounds[1] <= self.budget


def audit_constrained(
    model: ConstrainedProblem,
    table: Callable[[IntArray], FloatArray],
    optimum: ConstrainedSolution,
    deterministic: bool,
) -> ConstrainedAudit:
    """Value and cost of a policy, and the optimum.

    Args:
        model: The problem.
        table: The policy's action probabilities (n, A) in states given by code (n,). It is asked once, in the states
            that some policy can meet while the episode goes on.
        optimum: The optimum of the problem.
        deterministic: Whether the table is that of the policy's most likely actions.
    """
    problem = staged_problem(model)
    laws = _laws(model, problem, table)
    found: ConstrainedValue = evaluate_laws(problem, laws)
    return ConstrainedAudit(
        value=found.value,
        value_bounds=found.value_bounds,
        cost=found.cost,
        cost_bounds=found.cost_bounds,
        budget=model.budget,
        optimal_value=optimum.value,
        certificate=optimum.certificate,
        multiplier=optimum.multiplier,
        status=optimum.status,
        policy=staged_policy(problem, laws),
        deterministic=deterministic,
    )


def _laws(
    model: ConstrainedProblem, problem: StagedProblem, table: Callable[[IntArray], FloatArray]
) -> list[FloatArray]:
    """For each stage the policy's laws, uniform where the episode is over."""
    codes = np.concatenate([h * model.n_states + stage.states for h, stage in enumerate(problem.stages)])
    law = np.ones((codes.size, model.n_actions))
    live = np.ones(codes.size, dtype=np.bool_)
    if isinstance(model, ConstrainedMDP):
        live = ~model.mdp.terminal[codes % model.n_states]
    if live.any():
        law[live] = table(codes[live])
    return np.split(normalised(law), np.cumsum([stage.states.size for stage in problem.stages])[:-1])
