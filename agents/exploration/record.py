"""What each episode's policy was worth, exactly."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...models.summaries import Summarised
from ..base import FloatArray
from ..errors import AgentError


@dataclass(frozen=True, eq=False, repr=False)
class LearningRecord(Summarised):
    """Exact values of the policies of K episodes, in the order they were played; an episode counts from its first step.

    Values are those of an episode that begins in rho, computed from the model; no return that was observed enters. The
    regret that papers bound is measured from each episode's own first state, and has these sums as its expectation.

    Attributes:
        values: Expected return (K,) of the policy of each episode.
        optimal_value: What they are measured against: the best policy's expected return, in constrained problems
            that of the best policy that keeps within the budget, as the agent's page says.
        costs: Expected cost (K,) of the policy of each episode; None where steps cost nothing.
        budget: What an episode may cost in expectation; None where steps cost nothing.
    """

    shown: ClassVar[tuple[str, ...]] = ("n_episodes", "total_regret")

    values: FloatArray
    optimal_value: float
    costs: FloatArray | None = None
    budget: float | None = None

    @property
    def n_episodes(self) -> int:
        """K."""
        return self.values.size

    @property
    def regrets(self) -> FloatArray:
        """optimal_value - values (K,); negative where a policy gains by breaking the constraint."""
        return self.optimal_value - self.values

    @property
    def cumulative_regrets(self) -> FloatArray:
        """Sums of the regrets of the first 1, ..., K episodes (K,)."""
        return np.cumsum(self.regrets)

    @property
    def total_regret(self) -> float:
        """Sum of all regrets."""
        return float(self.regrets.sum())

    @property
    def violations(self) -> FloatArray:
        """costs - budget (K,), negative where the policy keeps within the budget.

        Raises:
            AgentError: Steps cost nothing.
        """
        if self.costs is None or self.budget is None:
            raise AgentError("the steps of this environment cost nothing, so there is no budget to violate")
        return self.costs - self.budget

    @property
    def hard_violations(self) -> FloatArray:
        """max(costs - budget, 0) (K,): what one episode saves does not pay for another."""
        return np.maximum(self.violations, 0.0)

    @property
    def cumulative_violations(self) -> FloatArray:
        """Sums of the violations of the first 1, ..., K episodes (K,)."""
        return np.cumsum(self.violations)

    @property
    def cumulative_hard_violations(self) -> FloatArray:
        """Sums of the hard violations of the first 1, ..., K episodes (K,)."""
        return np.cumsum(self.hard_violations)
