r"""Optimistic values under a softmax policy, at the least price whose estimated cost keeps within the budget.

Ghosh, Zhou, Shroff, Towards Achieving Sub-linear Regret and Hard Constraint Violation in Model-free RL, AISTATS 2024.
Estimates are those of :mod:`.primal_dual`; but the price starts from 0 in every episode and rises until the estimated
cost v^c_0 <= budget, or up to sqrt K. What is summed is max(cost - budget, 0): no episode pays for another. With

    alpha = log A sqrt K / (4 H),    beta = C_1 d H sqrt(log(4 log A d K H / p)),

regret and this sum are both O~(sqrt(d^3 H^4 K)) with probability 1 - p. The estimate of cost is optimistic, so policies
overspend while they learn.

The paper raises the price in steps of d^{1-H} K^{-1.5 H} (log A)^{-H}: more steps than can be counted. Here a price is
found by *bisection* of [0, sqrt K] instead, as in the experiments of Kitamura et al. (2025) with this algorithm. The
estimated cost need not fall with the price, so the price found need not be the least; but the policy played at it has
an estimated cost within the budget, which is what bounds the violation. The bound on regret is not proven of it.
"""

from typing import Any, final

import numpy as np

from ...solvers.linear_learning import LinearPlan
from .learner import ConstrainedLearner, log_actions
from .primal_dual import optimistic_bonuses

PRACTICAL_TEMPERATURE = 0.005
"""1 / alpha for practical constants, in units of reward."""


@final
class HardViolationSoftmaxAgent(ConstrainedLearner):
    """Learns a policy within the budget, each episode's excess over it being summed.

    The module says how.

    The price of each episode is found by bisection instead of the paper's exponentially fine grid.

    Args:
        env: An environment of a ConstrainedLinearMDP, its rewards in [0, 1].
        n_episodes: Number of episodes announced, K; it enters all constants. Learning goes on beyond it with the same
            ones, the promise does not.
        constants: ``"theory"``: those of the module, with C_1 = 1 (the paper names none). ``"practical"`` (the
            default): those of :func:`~.primal_dual.optimistic_bonuses`, and 1 / alpha = 0.005, for which nothing is
            proven.
        delta: p, the probability with which the promise may fail.
        record: Whether the exact worth of each episode's policy is recorded.
        seed: Seed of the contract.

    Attributes:
        reward_bonus: beta, of rewards.
        cost_bonus: beta, of costs.
        ceiling: sqrt K, the largest price.
        temperature: 1 / alpha.

    Raises:
        AgentError: The environment has no costs, its model is not linear or not normalised, or an argument is out of
            range; in :meth:`learn`, a reward is outside [0, 1].
        InfeasibleError: No policy keeps within the budget; the least cost that is achievable is named.
        ModelError: The environment has no model that can be seen.
    """

    def __init__(
        self,
        env: Any,
        *,
        n_episodes: int = 10_000,
        constants: str = "practical",
        delta: float = 0.05,
        record: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(env, n_episodes, constants, delta, record, seed)
        self.reward_bonus, self.cost_bonus = optimistic_bonuses(self.problem, n_episodes, constants, delta)
        self.ceiling = float(np.sqrt(n_episodes))
        proven = 4.0 * self.problem.horizon / (log_actions(self.problem.n_actions) * self.ceiling)
        self.temperature = proven if constants == "theory" else PRACTICAL_TEMPERATURE
        self._plans = self.optimistic_plans(self.reward_bonus, self.cost_bonus, self.temperature)
        self.new_policy()

    def plan(self) -> tuple[float, LinearPlan]:
        """The plan at price 0 if it keeps within the budget, else at the price found."""
        if self._plans.is_within(free := self._plans.at(0.0)):
            return 0.0, free
        if not self._plans.is_within(dearest := self._plans.at(self.ceiling)):
            return self.ceiling, dearest
        price = self._plans.least_price(self.ceiling)
        return price, self._plans.at(price)
