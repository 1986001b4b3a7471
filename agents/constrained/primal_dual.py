r"""Optimistic values under a softmax policy, and a projected step of the price after each episode.

Ghosh, Zhou, Shroff, Provably Efficient Model-Free Constrained RL with Linear Function Approximation, NeurIPS 2022
(arXiv 2206.11889, Algorithm 1), in costs, with prices Y. Before episode k, backwards over the stages, with
Lambda_h = I + sum phi phi^T over all earlier episodes and b_h = |phi| in the norm of its inverse,

    Q^r_h = min{phi^T Lambda_h^{-1} sum phi (r + v^r_{h+1}(s')) + beta b_h, H - h},
    Q^c_h = max{phi^T Lambda_h^{-1} sum phi (c + v^c_{h+1}(s')) - beta b_h, 0},
    pi_h  ~ exp(alpha (Q^r_h - Y_k Q^c_h)),    v^j_h = sum_a pi_h Q^j_h.

The episode is played by pi, and with v^c_0 of the first state

    Y_{k+1} = min{max{Y_k + eta (v^c_0 - budget), 0}, xi}.

The paper has a utility g with values in [0, 1] and asks for b of it; this is g = -c, b = -budget, where -1 <= g <= 0,
and its Q^g = min{... + beta b_h, H} becomes -Q^c, cut at 0, which bounds v^g as truly as H does where g >= 0. (With
g = 1 - c the shrinking of ridge regression would work against optimism, see :mod:`.learner`.) The paper cuts Q^r at H;
with h stages gone by, H - h is as true.

If some policy costs at most budget - gamma (Slater's condition), the constants of the paper,

    xi = 2 H / gamma,                         eta = xi / (H sqrt K),
    alpha = K log A / (2 (1 + xi + H)),       beta = C_1 d H sqrt(log(4 log A d T / p)),

make the sum of regrets and that of violations O~(sqrt(d^3 H^3 T)), T = K H, with probability 1 - p. Violations are
summed with their signs: an episode that saves pays for one that overspends. That xi is *twice* the bound H / gamma on
the best price is what such a proof needs: an excess over the budget counts xi times in the Lagrangian and is worth at
most H / gamma of reward, so half of it is left over to bound the excess.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import numpy as np

from ...models import ConstrainedLinearMDP
from ...models._checks import real_number
from ...solvers.linear_learning import LinearPlan
from ..errors import AgentError
from .learner import ConstrainedLearner, log_actions


class Bonuses(NamedTuple):
    """beta of rewards and of costs; the papers have one for both."""

    reward: float
    cost: float


def optimistic_bonuses(problem: ConstrainedLinearMDP, n_episodes: int, constants: str, delta: float) -> Bonuses:
    """Of the theory d H sqrt(log(4 log A d T / delta)), T = n_episodes * H, which is C_1 = 1 (the papers name none).

    The practical ones are H and 0.025 H. A feature of norm 1 to which nothing seen is similar has b = 1, so a bonus of
    H makes it as good as anything can be. That of costs was chosen by experiment, on instances apart from those that
    benchmarks report: where both share one, policies either overspend for long or explore little.
    """
    H, d = problem.horizon, problem.dim
    if constants == "practical":
        return Bonuses(float(H), 0.025 * H)
    beta = d * H * float(np.sqrt(np.log(4.0 * log_actions(problem.n_actions) * d * n_episodes * H / delta)))
    return Bonuses(beta, beta)


@final
class SoftmaxPrimalDualAgent(ConstrainedLearner):
    """Learns a policy whose costs keep within the budget on average over episodes.

    The module says how.

    Args:
        env: An environment of a ConstrainedLinearMDP, its rewards in [0, 1].
        n_episodes: Number of episodes announced, K; it enters all constants. Learning goes on beyond it with the same
            ones, the promise does not.
        constants: ``"theory"``: those of the module, with C_1 = 1. ``"practical"`` (the default): the bonuses are those
            of :func:`optimistic_bonuses`, for which nothing is proven.
        slater: gamma, how much less than the budget some policy costs; prior knowledge. None: that of a safest policy,
            read from the model.
        delta: p, the probability with which the promise may fail.
        record: Whether the exact worth of each episode's policy is recorded.
        seed: Seed of the contract.

    Attributes:
        reward_bonus: beta, of rewards.
        cost_bonus: beta, of costs.
        ceiling: xi, the largest price.
        step: eta, the step of the price.
        temperature: 1 / alpha.
        price: Y of the next episode.

    Raises:
        AgentError: The environment has no costs, its model is not linear or not normalised, no policy costs less than
            the budget, or an argument is out of range; in :meth:`learn`, a reward is outside [0, 1].
        InfeasibleError: No policy keeps within the budget; the least cost that is achievable is named.
        ModelError: The environment has no model that can be seen.
    """

    def __init__(
        self,
        env: Any,
        *,
        n_episodes: int = 10_000,
        constants: str = "practical",
        slater: float | None = None,
        delta: float = 0.05,
        record: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(env, n_episodes, constants, delta, record, seed)
        H, A = self.problem.horizon, self.problem.n_actions
        self._slater = slater
        self.reward_bonus, self.cost_bonus = optimistic_bonuses(self.problem, n_episodes, constants, delta)
        self.ceiling = 2.0 * H / (self.slater_margin() if slater is None else _positive("slater", slater))
        self.step = self.ceiling / (H * float(np.sqrt(n_episodes)))
        self.temperature = 2.0 * (1.0 + self.ceiling + H) / (n_episodes * log_actions(A))
        self.price, self._cost = 0.0, 0.0
        self._plans = self.optimistic_plans(self.reward_bonus, self.cost_bonus, self.temperature)
        self.new_policy()

    def plan(self) -> tuple[float, LinearPlan]:
        """One pass at the present price."""
        plan = self._plans.at(self.price)
        self._cost = self._plans.cost(plan)
        return self.price, plan

    def after_episode(self) -> None:
        """The step of the price: up by what the estimated cost exceeds the budget."""
        super().after_episode()
        self.price = min(max(self.price + self.step * (self._cost - self.problem.budget), 0.0), self.ceiling)

    def statistics_memory(self) -> dict[str, Any]:
        """The statistics, and the price."""
        return super().statistics_memory() | {"price": self.price}

    def remember_statistics(self, memory: Mapping[str, Any]) -> None:
        """Take over both."""
        super().remember_statistics(memory)
        self.price = real_number("price", memory["price"])

    def config(self) -> dict[str, Any]:
        """All arguments but the environment."""
        return super().config() | {"slater": self._slater}


def _positive(name: str, value: object) -> float:
    if not (number := real_number(name, value)) > 0.0:
        raise AgentError(f"{name} is {number}; it must be positive")
    return number
