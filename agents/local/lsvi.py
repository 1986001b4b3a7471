"""Least-squares value iteration with local access.

    w_{h,a} = argmin_w  sum_i ( <phi_i, w> - r_{i,a} - T max_b <phi'_{i,a}, w_{h+1,b}> )^2 + lambda ||w||^2

over the states i visited at stage h, backwards from w_H = 0; act by argmax_a <phi_h(s), w_{h,a}>. T truncates values to
the sums that rewards of the size met can have in the stages left. Local access means that states are reached by playing
only: episodes begin at the initial state, every action of each state met is queried once, and one of them, drawn
uniformly, goes on. In discounted problems one w_a serves all stages and the regression is repeated on all data, which
is fitted Q iteration; truncation keeps it from diverging.

Sources: Bradtke, Barto, Linear Least-Squares Algorithms for Temporal Difference Learning (Machine Learning 22, 1996);
Osband, Van Roy, Wen, Generalization and Exploration via Randomized Value Functions (ICML 2016), for the name; Ernst,
Geurts, Wehenkel, Tree-Based Batch Mode Reinforcement Learning (JMLR 6, 2005), for fitted Q iteration.

Guarantee: where q*_h(s, a) = <phi_h(s), w_{h,a}> for all states and the states met span the features, the policy is
optimal as lambda -> 0 with deterministic answers, and as the data grow with random ones. That v* is linear in phi does
not give this: errors of fit then enter the targets of earlier stages and may grow with each (Munos, Szepesvári,
Finite-Time Bounds for Fitted Value Iteration, JMLR 9, 2008), and nothing is learnt where uniform play does not lead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models import ModelError
from ...models._checks import real_array, real_number
from ...wrappers.access import LocalAccess, Successors, Visit
from .agent import LocalPlanningAgent
from .planner import Access, LocalPlanner, Plan, queries_left, sampled, stages_ahead

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Queried:
    """What was queried in n states, every action once.

    Attributes:
        stages: (n,).
        features: (n, d).
        rewards: (n, A).
        next_features: (n, A, d), zero where the episode ends.
    """

    stages: IntArray
    features: FloatArray
    rewards: FloatArray
    next_features: FloatArray

    @property
    def extremes(self) -> FloatArray:
        """Least and largest reward, zero among them, (2,)."""
        return np.array([min(0.0, float(self.rewards.min())), max(0.0, float(self.rewards.max()))])

    def targets(self, weights: FloatArray, gamma: float, bounds: FloatArray) -> FloatArray:
        """r + gamma T max_b <phi', w_b>, (n, A), for weights (A, d), T to ``bounds`` (2,)."""
        return self.rewards + gamma * (self.next_features @ weights.T).max(axis=-1).clip(*bounds)

    def at(self, stage: int) -> "Queried":
        """The states of one stage."""
        here = self.stages == stage
        return Queried(self.stages[here], self.features[here], self.rewards[here], self.next_features[here])


@final
@dataclass(frozen=True, eq=False)
class LinearPlan(Plan):
    """Acts greedily in values linear in the features of states.

    Attributes:
        weights: (H, A, d) by stage; (1, A, d) where one stage stands for all.
    """

    weights: FloatArray

    def action(self, access: Access, visit: Visit) -> int:
        """The first action of largest value; no query is made."""
        stages, rows = access.terms.horizon or 1, (access.terms.n_actions, visit.features.size)
        if self.weights.shape != (stages, *rows):
            raise ModelError(f"weights has shape {self.weights.shape}; expected {(stages, *rows)}: plan again")
        stage = 0 if access.terms.horizon is None else visit.stage
        return int((self.weights[stage] @ visit.features).argmax())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights."""
        return {"weights": self.weights}


@final
class LSVI(LocalPlanner):
    """Least-squares value iteration.

    The budget is spent on data, the last episode as far as it goes.

    Args:
        ridge: The penalty lambda > 0; 1 is that of Jin, Yang, Wang, Jordan (COLT 2020).

    Raises:
        ModelError: ``ridge`` is no finite number > 0.
    """

    def __init__(self, ridge: float = 1.0) -> None:
        self._ridge = real_number("ridge", ridge)
        if self._ridge <= 0.0:
            raise ModelError(f"ridge is {self._ridge}; it must be positive")

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> LinearPlan:
        """The plan from data of uniform play.

        Raises:
            BudgetExceeded: The budget is less than one episode.
            ModelError: The access has no budget, or shows no features.
        """
        if start.features.size == 0:
            raise ModelError("the access shows no features; least-squares value iteration needs features of states")
        access = sampled(access)
        data = gather(access, start, rng)
        if access.terms.horizon is None:
            return LinearPlan(self._fixed_point(data, access.terms.gamma, stages_ahead(access.terms, 0)))
        return LinearPlan(self._backwards(data, access.terms.horizon))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> LinearPlan:
        """The plan of these weights."""
        weights = real_array("weights", arrays["weights"])
        if weights.ndim != 3 or not np.isfinite(weights).all():
            raise ModelError(f"weights of shape {weights.shape} are not those of a plan, which are finite, (H, A, d)")
        return LinearPlan(weights)

    def _backwards(self, data: Queried, horizon: int) -> FloatArray:
        """Weights (H, A, d), stage by stage."""
        weights = np.zeros((horizon + 1, *data.next_features.shape[1:]))
        for h in reversed(range(horizon)):
            here, bounds = data.at(h), (horizon - h - 1) * data.extremes
            weights[h] = (self._regression(here.features) @ here.targets(weights[h + 1], 1.0, bounds)).T
        return weights[:-1]

    def _fixed_point(self, data: Queried, gamma: float, rounds: int) -> FloatArray:
        """Weights (1, A, d) after as many rounds as stages matter."""
        regression, bounds = self._regression(data.features), data.extremes / (1.0 - gamma)
        weights = np.zeros(data.next_features.shape[1:])
        for _ in range(rounds):
            weights = (regression @ data.targets(weights, gamma, bounds)).T
        return weights[None]

    def _regression(self, features: FloatArray) -> FloatArray:
        """(Phi^T Phi + lambda I)^{-1} Phi^T, (d, n): targets to weights."""
        gram = features.T @ features + self._ridge * np.eye(features.shape[1])
        return np.linalg.solve(gram, features.T).astype(np.float64, copy=False)


def gather(access: LocalAccess, start: Visit, rng: np.random.Generator) -> Queried:
    """Episodes of uniform play from ``start`` in which every action of each state met is queried, until none fits.

    Raises:
        BudgetExceeded: The budget is less than one episode.
        ModelError: The access has no budget.
    """
    length, n_actions = stages_ahead(access.terms, 0), access.terms.n_actions
    queries_left(access, length * n_actions)
    stages: list[int] = []
    features: list[FloatArray] = []
    answers: list[Successors] = []
    while queries_left(access) >= n_actions:
        here: Visit | None = start
        for h, action in enumerate(rng.integers(n_actions, size=length).tolist()):
            if here is None or queries_left(access) < n_actions:
                break
            stages.append(h)
            features.append(here.features)
            answers += [access.query(here.handle, a) for a in range(n_actions)]
            taken = answers[int(action) - n_actions]
            here = None if taken.terminated[0] else Visit(taken.handles[0], taken.features[0], h + 1)
    rewards = np.array([reached.rewards[0] for reached in answers]).reshape(-1, n_actions)
    after = np.array([np.where(reached.terminated, 0.0, reached.features[0]) for reached in answers])
    return Queried(np.array(stages), np.array(features), rewards, after.reshape(*rewards.shape, -1))


@final
class LSVIAgent(LocalPlanningAgent):
    """Plans by least-squares value iteration on the features of states it sampled, and queries nothing when it acts.

    Args:
        env: An environment of this package whose states have features.
        budget: Queries a plan may take, at least those of one episode: A for each stage.
        ridge: The penalty lambda > 0.
        bernoulli_rewards: Let the simulator pay 0 or 1 with the model's rewards as means.
        seed: Seed of the simulator's randomness and the planner's.

    Raises:
        ModelError: The environment has no such model, or an argument is no such number.
    """

    def __init__(
        self,
        env: Any,
        *,
        budget: int = 10_000,
        ridge: float = 1.0,
        bernoulli_rewards: bool = False,
        seed: int = 0,
    ) -> None:
        planner = LSVI(ridge)
        super().__init__(env, planner, budget=budget, bernoulli_rewards=bernoulli_rewards, seed=seed)
        self._ridge = ridge

    def knobs(self) -> dict[str, Any]:
        """The penalty."""
        return {"ridge": self._ridge}
