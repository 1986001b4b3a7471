"""Plans at a price of cost, and the least price at which the estimated cost keeps within the budget.

A plan's last channel estimates what an episode costs, or what it *saves*, the sum of 1 - cost over its H steps; the
policy follows the sum of the other channels, minus y times the cost or plus y times the saving. The cost of the softmax
policy of exact values falls with y (Kitamura et al., 2025, Lemma 6); an estimate, clipped, need not. So bisection keeps
an invariant rather than finds a root: at the upper end of its interval the estimate always keeps within the budget, and
it is the upper end that is played.
"""

from dataclasses import dataclass

import numpy as np

from ...solvers.linear_learning import Channels, LinearPlan, LinearStatistics
from ..base import FloatArray

HALVINGS = 24
"""How often an interval of prices is halved: to 6e-8 of its length."""


@dataclass(frozen=True, eq=False)
class PricedPlans:
    """The plans that data make at any price of cost.

    Attributes:
        data: The statistics, which may grow between calls.
        channels: J of them, the last of which estimates what an episode costs or saves.
        is_saving: Whether it is what it saves.
        temperature: Of the softmax.
        first: (n_0, A, d) features of the states in which an episode can begin, as they are shown.
        rho: (n_0,) their probabilities.
        horizon: H.
        budget: What an episode may cost.
    """

    data: LinearStatistics
    channels: Channels
    is_saving: bool
    temperature: float
    first: FloatArray
    rho: FloatArray
    horizon: int
    budget: float

    def at(self, price: float) -> LinearPlan:
        """The plan at this price, 0 or more."""
        return self.data.plan(self.channels, self._mix(price), self.temperature)

    def cost(self, plan: LinearPlan) -> float:
        """What a plan estimates that its episode costs."""
        start = np.zeros(self.rho.size, dtype=np.int64)
        estimate = float(self.rho @ plan.values(start, self.first)[-1])
        return self.horizon - estimate if self.is_saving else estimate

    def is_within(self, plan: LinearPlan) -> bool:
        """Whether that keeps within the budget."""
        return self.cost(plan) <= self.budget

    def least_price(self, enough: float) -> float:
        """A price whose plan keeps within the budget, by bisection of [0, enough], whose upper end must."""
        from .bisection_kernels import halve

        offset = float(self.horizon) if self.is_saving else 0.0
        return halve(
            *self.channels, self._mix(enough), self.temperature, *self.data.tables(), self.first, self.rho, self._sign,
            offset, self.budget, enough, HALVINGS,
        )  # fmt: skip

    @property
    def _sign(self) -> float:
        """What a price is multiplied by in what the policy follows."""
        return 1.0 if self.is_saving else -1.0

    def _mix(self, price: float) -> FloatArray:
        mix = np.ones(self.channels.inner.size)
        mix[-1] = self._sign * price
        return mix
