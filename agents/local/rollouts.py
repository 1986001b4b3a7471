"""Rollouts: one step of policy improvement on uniform play, by simulation.

    q(s, a) = E [ r(s, a) + gamma G ],    G = sum_{k < L} gamma^k r_k, the return of uniform play from s'
    act by argmax_a q_hat(s, a)

q_hat averages n returns of each action. Sources: Tesauro, Galperin, On-line Policy Improvement using Monte-Carlo Search
(NIPS 1996); Bertsekas, Tsitsiklis, Wu, Rollout Algorithms for Combinatorial Optimization (Journal of Heuristics 3,
1997).

Guarantee: q_hat -> q^u, the action values of uniform play u, and acting greedily in q^u is at least as good as u from
every state (Howard 1960). With |q_hat - q^u| <= eps everywhere at most 2 eps is lost at each stage. It says nothing of
the optimum. Where the budget does not reach the end, rollouts are cut (Tesauro and Galperin's truncated rollouts).
"""

from typing import Any, final

import numpy as np

from ...wrappers.access import AccessTerms, LocalAccess, StateHandle, Visit
from .agent import LocalPlanningAgent
from .planner import queries_left, stages_ahead
from .search import DecisionTimePlanner, any_best


@final
class RolloutImprovement(DecisionTimePlanner):
    """Plays the action after which uniform play does best.

    A decision's queries are shared equally by the actions. Rollouts reach the end of the episode, if one for each
    action fits, and are as many as fit.
    """

    def least_queries(self, terms: AccessTerms) -> int:
        """One for each action."""
        return terms.n_actions

    def search(self, access: LocalAccess, visit: Visit, rng: np.random.Generator) -> int:
        """The action of largest mean return; ties are broken at random."""
        terms = access.terms
        depth, n = rollout_shape(access, visit)
        q = np.zeros(terms.n_actions)
        for action in range(terms.n_actions):
            reached = access.query(visit.handle, action, n)
            q[action] = reached.rewards.sum()
            for handle in (reached.handles[i] for i in np.flatnonzero(~reached.terminated)):
                q[action] += terms.gamma * uniform_return(access, handle, depth - 1, rng)
        return any_best(q, rng)


def rollout_shape(access: LocalAccess, visit: Visit) -> tuple[int, int]:
    """Depth of rollouts, and their number for each action, that the queries left allow.

    Raises:
        BudgetExceeded: There is not one query for each action.
    """
    n_actions = access.terms.n_actions
    each = queries_left(access, n_actions) // n_actions
    depth = min(stages_ahead(access.terms, visit.stage), each)
    return depth, each // depth


def uniform_return(access: LocalAccess, handle: StateHandle, length: int, rng: np.random.Generator) -> float:
    """Discounted return of at most ``length`` steps of uniform play."""
    total, weight, gamma = 0.0, 1.0, access.terms.gamma
    for action in rng.integers(access.terms.n_actions, size=length).tolist():
        reached = access.query(handle, action)
        total += weight * float(reached.rewards[0])
        if reached.terminated[0]:
            break
        handle, weight = reached.handles[0], weight * gamma
    return total


@final
class RolloutAgent(LocalPlanningAgent):
    """Tries every action, follows it by uniform play, and takes the best mean (:class:`RolloutImprovement`).

    Args:
        env: An environment of this package whose states have features.
        budget: Queries an episode may take.
        bernoulli_rewards: Let the simulator pay 0 or 1 with the model's rewards as means.
        seed: Seed of the simulator's randomness and the planner's.

    Raises:
        AgentError: The budget is too small to try each action once at every decision.
        ModelError: The environment has no such model, or the budget is no whole number.
    """

    def __init__(self, env: Any, *, budget: int = 10_000, bernoulli_rewards: bool = False, seed: int = 0) -> None:
        super().__init__(env, RolloutImprovement(), budget=budget, bernoulli_rewards=bernoulli_rewards, seed=seed)

    def knobs(self) -> dict[str, Any]:
        """None."""
        return {}
