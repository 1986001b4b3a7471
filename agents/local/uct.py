"""UCT: upper confidence bounds applied to trees (Kocsis, Szepesvári, Bandit based Monte-Carlo Planning, ECML 2006).

    a = argmax_a  q(n, a) + c V_k sqrt(2 ln N(n) / N(n, a)),    untried actions first

Every simulation descends by this rule from the state to be decided, adds one node, goes on with uniform play, and adds
its return to the means q of all the actions it took. The bonus is that of UCB1 (Auer, Cesa-Bianchi, Fischer, Machine
Learning 47, 2002), stated for rewards in [0, 1] and scaled here by V_k, the largest return from depth k on: the stages
left, or their discounted sum. The action of largest mean is played.

A node is a state at a depth where the access declares which states are equal, and otherwise a sequence of actions,
whose statistics average over the states it leads to (open loop; exact where transitions are deterministic).

Guarantee: with c = 1 and rewards in [0, 1] the probability of a suboptimal action vanishes as the number of simulations
grows (Theorem 6; the rate stated there asks for a larger bonus: Shah, Xie, Xu, Non-Asymptotic Analysis of Monte Carlo
Tree Search, SIGMETRICS 2020). It may take long: regret can be doubly exponential in the depth (Coquelin, Munos, Bandit
Algorithms for Tree Search, UAI 2007).
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models import ModelError
from ...models._checks import real_number
from ...wrappers.access import AccessTerms, LocalAccess, StateHandle, Visit
from .agent import LocalPlanningAgent
from .planner import queries_left
from .rollouts import rollout_shape, uniform_return
from .search import DecisionTimePlanner, any_best

FloatArray = NDArray[np.float64]


@final
class UCT(DecisionTimePlanner):
    """Searches a tree by upper confidence bounds.

    A decision's queries go into as many whole simulations as fit. These reach the end of the episode where one for each
    action fits; otherwise they are cut at the depth at which one for each action does.

    Args:
        exploration: The factor c >= 0 of the bonus; 1 is UCB1's for rewards in [0, 1].

    Raises:
        ModelError: ``exploration`` is no finite number >= 0.
    """

    def __init__(self, exploration: float = 1.0) -> None:
        self._exploration = real_number("exploration", exploration)
        if self._exploration < 0.0:
            raise ModelError(f"exploration is {self._exploration}; it must be at least 0")

    def least_queries(self, terms: AccessTerms) -> int:
        """One for each action."""
        return terms.n_actions

    def search(self, access: LocalAccess, visit: Visit, rng: np.random.Generator) -> int:
        """The action of largest mean return; ties are broken at random."""
        depth, _ = rollout_shape(access, visit)
        tree = _Tree(access, self._exploration * _largest_returns(depth, access.terms.gamma), rng)
        while queries_left(access) >= depth:
            tree.simulate(visit.handle)
        return any_best(tree.means(visit.handle), rng)


@dataclass(slots=True, eq=False)
class _Node:
    """Statistics of the actions of a node: how often taken (A,), and the sum of the returns (A,)."""

    counts: FloatArray
    totals: FloatArray

    def choose(self, scale: float, rng: np.random.Generator) -> int:
        """An untried action at random, or the one of largest upper confidence bound."""
        untried = np.flatnonzero(self.counts == 0.0)
        if untried.size:
            return int(untried[rng.integers(untried.size)])
        bonus = scale * np.sqrt(2.0 * math.log(self.counts.sum()) / self.counts)
        return int((self.totals / self.counts + bonus).argmax())


class _Tree:
    """The tree of one search.

    Args:
        access: Where to query.
        scales: c V_k for the depths k from 0 (L,).
        rng: Randomness of uniform play.
    """

    def __init__(self, access: LocalAccess, scales: FloatArray, rng: np.random.Generator) -> None:
        self._access, self._scales, self._rng = access, scales.tolist(), rng
        self._gamma, self._n_actions = access.terms.gamma, access.terms.n_actions
        self._nodes: dict[Hashable, _Node] = {}

    def means(self, root: StateHandle) -> FloatArray:
        """Mean returns (A,) of the root's actions, -inf where an action is untried."""
        node = self._nodes[self._name(root, ())]
        return np.where(node.counts > 0, node.totals / np.maximum(node.counts, 1.0), -np.inf)

    def simulate(self, handle: StateHandle) -> None:
        """One simulation, of at most as many queries as there are depths."""
        path: list[tuple[_Node, int, float]] = []
        history: tuple[int, ...] = ()
        tail = 0.0
        for k, scale in enumerate(self._scales):
            node, is_new = self._node(self._name(handle, history))
            action = node.choose(scale, self._rng)
            reached = self._access.query(handle, action)
            path.append((node, action, float(reached.rewards[0])))
            if reached.terminated[0]:
                break
            handle, history = reached.handles[0], (*history, action)
            if is_new:
                tail = uniform_return(self._access, handle, len(self._scales) - k - 1, self._rng)
                break
        for node, action, reward in reversed(path):
            tail = reward + self._gamma * tail
            node.counts[action] += 1.0
            node.totals[action] += tail

    def _name(self, handle: StateHandle, history: tuple[int, ...]) -> Hashable:
        """What makes two places of the tree one."""
        return (self._access.key(handle), len(history)) if self._access.has_keys else history

    def _node(self, name: Hashable) -> tuple[_Node, bool]:
        """The node of this name, and whether it is new."""
        if name in self._nodes:
            return self._nodes[name], False
        self._nodes[name] = node = _Node(np.zeros(self._n_actions), np.zeros(self._n_actions))
        return node, True


def _largest_returns(depth: int, gamma: float) -> FloatArray:
    """V_k = 1 + gamma + ... + gamma^(L - k - 1) for k = 0, ..., L - 1: the largest returns for rewards in [0, 1]."""
    return np.power(gamma, np.arange(depth, dtype=np.float64)).cumsum()[::-1]


@final
class UCTAgent(LocalPlanningAgent):
    """Searches a tree of simulations by upper confidence bounds, at every decision (:class:`UCT`).

    States are told apart, so nodes are states at depths.

    Args:
        env: An environment of this package whose states have features (which UCT does not look at).
        budget: Queries an episode may take.
        exploration: The factor c >= 0 of the bonus.
        bernoulli_rewards: Let the simulator pay 0 or 1 with the model's rewards as means.
        seed: Seed of the simulator's randomness and the planner's.

    Raises:
        AgentError: The budget is too small to try each action once at every decision.
        ModelError: The environment has no such model, or an argument is no such number.
    """

    def __init__(
        self,
        env: Any,
        *,
        budget: int = 10_000,
        exploration: float = 1.0,
        bernoulli_rewards: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(env, UCT(exploration), budget=budget, bernoulli_rewards=bernoulli_rewards, seed=seed)
        self._exploration = exploration

    def knobs(self) -> dict[str, Any]:
        """The factor of the bonus."""
        return {"exploration": self._exploration}
