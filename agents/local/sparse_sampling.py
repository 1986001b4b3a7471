"""Sparse sampling: lookahead in a tree of samples.

    q_D(s, a) = (1/C) sum_{i <= C} [ r_i + gamma max_b q_{D-1}(s'_i, b) ],    q_0 = 0
    act by argmax_a q_D(s, a)

C fresh samples (r_i, s'_i) of every action in every node: a tree of A C + (A C)^2 + ... + (A C)^D queries, whatever the
number of states. Source: Kearns, Mansour, Ng, A Sparse Sampling Algorithm for Near-Optimal Planning in Large Markov
Decision Processes (Machine Learning 49, 2002).

Guarantee (Theorem 1): for C and D large enough, in terms of gamma, the accuracy and log A alone, the policy is within
that accuracy of the optimum from every state. D is logarithmic in the accuracy, the tree exponential in D. Where
transitions are deterministic C = 1 loses nothing: q_D is exact lookahead of depth D, optimal if D reaches the horizon.
"""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models._checks import whole_number
from ...wrappers.access import AccessTerms, LocalAccess, StateHandle, Visit
from .agent import LocalPlanningAgent
from .planner import queries_left, stages_ahead
from .search import DecisionTimePlanner, any_best

FloatArray = NDArray[np.float64]

WIDTH = 4
"""Samples of each action where transitions are random, if none are asked for."""


@final
class SparseSampling(DecisionTimePlanner):
    """Looks ahead in the largest complete tree that fits: the deepest of the given width, then the widest so deep.

    Args:
        width: Least number C of samples of each action in each node. None: 1 where transitions and rewards are
            deterministic, which also is the most that is of use there; else :data:`WIDTH`.

    Raises:
        ModelError: ``width`` is no whole number >= 1.
    """

    def __init__(self, width: int | None = None) -> None:
        self._width = None if width is None else whole_number("width", width, 1)

    def least_queries(self, terms: AccessTerms) -> int:
        """A tree of depth one."""
        return terms.n_actions * self._least_width(terms)

    def search(self, access: LocalAccess, visit: Visit, rng: np.random.Generator) -> int:
        """The action of largest estimated value; ties are broken at random."""
        terms = access.terms
        left, width = queries_left(access, self.least_queries(terms)), self._least_width(terms)
        depth = _deepest(left, terms.n_actions * width, stages_ahead(terms, visit.stage))
        if not terms.is_deterministic:
            width = _widest(left, terms.n_actions, depth)
        return any_best(lookahead_values(access, visit.handle, width, depth), rng)

    def _least_width(self, terms: AccessTerms) -> int:
        if self._width is not None:
            return self._width
        return 1 if terms.is_deterministic else WIDTH


def lookahead_values(access: LocalAccess, handle: StateHandle, width: int, depth: int) -> FloatArray:
    """q_D(s, .) of (A,) from ``width`` samples of each action in each node.

    Raises:
        BudgetExceeded: The tree does not fit.
    """
    q = np.empty(access.terms.n_actions)
    for action in range(q.size):
        reached = access.query(handle, action, width)
        total = float(reached.rewards.sum())
        if depth > 1:
            alive = (reached.handles[i] for i in np.flatnonzero(~reached.terminated))
            futures = (float(lookahead_values(access, after, width, depth - 1).max()) for after in alive)
            total += access.terms.gamma * sum(futures)
        q[action] = total / width
    return q


def tree_queries(fan: int, depth: int) -> int:
    """fan + fan^2 + ... + fan^depth, the queries of a complete tree with ``fan`` = A C."""
    return depth if fan == 1 else fan * (fan**depth - 1) // (fan - 1)


def _deepest(queries: int, fan: int, stages: int) -> int:
    """The largest depth, at most ``stages``, of which a complete tree fits; at least 1."""
    depth = 1
    while depth < stages and tree_queries(fan, depth + 1) <= queries:
        depth += 1
    return depth


def _widest(queries: int, n_actions: int, depth: int) -> int:
    """The largest width of which a complete tree of this depth fits."""
    width = int(queries ** (1.0 / depth)) // n_actions + 1  # the last level alone asks for (A C)^D
    while tree_queries(n_actions * width, depth) > queries:
        width -= 1
    return width


@final
class SparseSamplingAgent(LocalPlanningAgent):
    """Looks ahead in a tree of samples, at every decision (:class:`SparseSampling`).

    Args:
        env: An environment of this package whose states have features (which sparse sampling does not look at).
        budget: Queries an episode may take.
        width: Least number of samples of each action in each node, or None.
        bernoulli_rewards: Let the simulator pay 0 or 1 with the model's rewards as means.
        seed: Seed of the simulator's randomness and the planner's.

    Raises:
        AgentError: The budget is too small for trees of depth one at every decision.
        ModelError: The environment has no such model, or an argument is no such number.
    """

    def __init__(
        self,
        env: Any,
        *,
        budget: int = 10_000,
        width: int | None = None,
        bernoulli_rewards: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(env, SparseSampling(width), budget=budget, bernoulli_rewards=bernoulli_rewards, seed=seed)
        self._width = width

    def knobs(self) -> dict[str, Any]:
        """The least width."""
        return {"width": self._width}
