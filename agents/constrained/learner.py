r"""What learners within a budget share.

Papers ask for a utility of at least b; here an episode may cost ``budget`` in expectation. What a learner regresses is
then a choice: costs c, or what a step *saves*, g = 1 - c, with a budget of H - b. Exactly, and with h stages gone by,

    v^c_h = (H - h) - v^g_h,

but ridge regression shrinks towards zero: with Phat v = phi^T Lambda^{-1} sum phi v(s') and n stages after this one

    n - Phat v^g = Phat v^c + n (1 - Phat 1),

where Phat 1 stands in for the law's 1. A regression of costs charges nothing for the mass 1 - Phat 1 that the data do
not account for, a regression of savings charges as much as an episode can cost. The first is optimistic, the second is
pessimistic, and each algorithm here regresses what suits it: a pessimistic one that regressed costs would think unseen
actions safe.

What is known beforehand: features, horizon and number of actions, as to every learner here; the budget; and the law rho
of the first state, over which estimates are averaged (the papers begin every episode in one state). That some policy
keeps within the budget is checked in the model when an agent is made. Each agent's page says what else it is told.

With ``record=True`` value, cost, regret and violation of each episode's policy are computed from the model
(:class:`~lookahead_rl.agents.exploration.record.LearningRecord`). Regret is measured against the best policy within
the budget; a policy that overspends can have a negative one.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models import ConstrainedLinearMDP
from ...models._checks import real_array, whole_number
from ...solvers.constrained import InfeasibleError, SafestPolicy, lagrangian_optimum, safest_policy
from ...solvers.linear_learning import Channel, Channels, stack
from ..base import FloatArray
from ..errors import AgentError
from ..exploration.episodes import require_constants, require_delta, require_range
from ..exploration.linear import LinearLearner, LinearPolicy
from .bisection import PricedPlans

REWARD, COST = 0, 1
"""The signals of a step."""


class ConstrainedLearner(LinearLearner):
    """A learner within a budget. Subclasses say at which price each episode is planned, and how.

    Args:
        env: An environment of a ConstrainedLinearMDP, its rewards in [0, 1].
        n_episodes: Number of episodes announced, K.
        constants: ``"theory"`` or ``"practical"``.
        delta: Probability with which a promise may fail.
        record: Whether the exact worth of each episode's policy is recorded.
        seed: Seed of the contract.

    Attributes:
        problem: The constrained problem.

    Raises:
        AgentError: The environment has no costs, its model is not linear or not normalised, or an argument is out of
            range; in :meth:`learn`, a reward is outside [0, 1].
        InfeasibleError: No policy keeps within the budget; the least cost that is achievable is named.
        ModelError: The environment has no model that can be seen.
    """

    def __init__(self, env: Any, n_episodes: int, constants: str, delta: float, record: bool, seed: int) -> None:
        super().__init__(env, 2, seed, record)
        if self.task.constraint is None:
            raise AgentError(
                "the steps of this environment cost nothing: there is no budget to keep; make ConstrainedLinearMDP-v0, "
                "or another environment of a ConstrainedLinearMDP, or learn without a budget by LSVIUCB-v0"
            )
        self.problem: ConstrainedLinearMDP = self.task.constraint
        self._n_episodes, self._delta = whole_number("n_episodes", n_episodes, 1), require_delta(delta)
        self._constants = require_constants(constants)
        self._price, self._prices = 0.0, list[float]()
        least = self._safest.least_cost
        if least > self.problem.budget:
            raise InfeasibleError(self.problem.budget, (least, self._safest.evaluation.cost_bounds[1]))

    @abstractmethod
    def plan(self) -> tuple[float, LinearPolicy]:
        """The price and the policy of the next episode; a price of nan: none was found, the policy is another."""

    @final
    def make_policy(self) -> LinearPolicy:
        """The policy of the next episode."""
        self._price, policy = self.plan()
        return policy

    @property
    @final
    def prices(self) -> FloatArray:
        """Prices of cost (K,) at which the episodes begun so far were planned; nan where none was found."""
        under_way = [self._price] if self.episodes > len(self._prices) else []
        return np.array([*self._prices, *under_way])

    @final
    def signals(self, reward: float, info: Mapping[str, Any]) -> tuple[float, ...]:
        """The reward and the cost."""
        return require_range("reward", reward, 0.0, 1.0, "scale the model's theta"), float(info["cost"])

    def after_episode(self) -> None:
        """Note the price of the episode that has ended."""
        self._prices.append(self._price)

    @final
    def yardstick(self) -> float:
        """The value of the best policy within the budget."""
        return self._constrained_value

    def statistics_memory(self) -> dict[str, Any]:
        """The statistics, the states met, and the prices of the episodes that have ended."""
        return super().statistics_memory() | {"prices": np.array(self._prices, dtype=np.float64)}

    def remember_statistics(self, memory: Mapping[str, Any]) -> None:
        """Take over all of these."""
        super().remember_statistics(memory)
        prices: NDArray[np.float64] = memory["prices"]
        if prices.shape != (self.data.episodes,) or prices.dtype != np.float64:
            raise AgentError(f"there are {prices.shape} prices of {self.data.episodes} episodes; the file is damaged")
        self._prices = prices.tolist()

    def config(self) -> dict[str, Any]:
        """The arguments that all learners within a budget have."""
        return {
            "n_episodes": self._n_episodes,
            "constants": self._constants,
            "delta": self._delta,
            "record": self._records,
            "seed": self._seed,
        }

    @final
    def priced_plans(self, channels: Channels, is_saving: bool, temperature: float) -> PricedPlans:
        """The plans that the statistics make at any price, by channels the last of which is the cost or the saving."""
        rho = self.task.model.initial_distribution()
        weights = rho.weights > 0.0
        first = self.task.read(self.task.observe(rho.states[weights])).features
        start = (real_array("phi", first), rho.weights[weights])
        return PricedPlans(
            self.data, channels, is_saving, temperature, *start, self.problem.horizon, self.problem.budget
        )

    @final
    def optimistic_plans(self, reward_bonus: float, cost_bonus: float, temperature: float) -> PricedPlans:
        """Plans of estimates that are too good: rewards with a bonus on top, costs with one off."""
        H = self.problem.horizon
        reward = Channel(REWARD, reward_bonus, high=np.arange(H, 0, -1.0))
        cost = Channel(COST, -cost_bonus, low=0.0)
        return self.priced_plans(stack([reward, cost], H, self.problem.dim), False, temperature)

    @final
    def slater_margin(self) -> float:
        """How much less than the budget a safest policy costs, from the model.

        Raises:
            AgentError: It costs no less.
        """
        margin = self.problem.budget - self._safest.evaluation.cost_bounds[1]
        if margin <= 0.0:
            raise AgentError(
                f"no policy is certain to cost less than the budget {self.problem.budget:.12g}, but this needs "
                "one that does (Slater's condition); raise the budget"
            )
        return margin

    @cached_property
    def _safest(self) -> SafestPolicy:
        return safest_policy(self.problem)

    @cached_property
    def _constrained_value(self) -> float:
        return lagrangian_optimum(self.problem).value


def log_actions(n_actions: int) -> float:
    """log A, of at least two actions: with a single one every constant does."""
    return float(np.log(max(n_actions, 2)))
