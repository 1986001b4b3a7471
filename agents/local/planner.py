"""What a local planner is: called first with the initial state of an episode, then with each state on its way.

    plan = planner.plan(access, start, rng)    # stage 0: may query, within the access's budget
    action = plan.action(access, visit)        # stages 0, 1, ...: may query again

This is the protocol of Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári (COLT 2021): states are opaque
handles, features are seen only where the planner has been, queries are counted by the access and its budget is hard.

Planners of two kinds share it: those that plan ahead and keep what they found, and those that search at every decision
and keep nothing (:mod:`~lookahead_rl.agents.local.search`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models import ModelError
from ...wrappers.access import AccessTerms, BudgetExceeded, ExpectationAccess, LocalAccess, Visit

Access = LocalAccess | ExpectationAccess

TAIL = 0.01
"""Share of the largest possible value that may lie beyond the effective horizon of a discounted problem."""


class Plan(ABC):
    """How to act for the rest of an episode."""

    @abstractmethod
    def action(self, access: Access, visit: Visit) -> int:
        """The action in a state of the episode.

        Args:
            access: Where to query from ``visit``: the access of :meth:`LocalPlanner.plan`, or another one of the same
                environment.
            visit: The state, handed out by ``access``.

        Raises:
            BudgetExceeded: The queries needed do not fit the budget.
        """

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of the plan, as named arrays: what :meth:`LocalPlanner.restore` makes it from again.

        ``theta`` and ``weights``, where there are such, weigh features along their last axis.
        """


class LocalPlanner(ABC):
    """Plans from the first state of an episode."""

    @abstractmethod
    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> Plan:
        """Plan for the episode that begins at ``start``.

        Args:
            access: The planner's only view of the environment.
            start: The initial state, at stage 0.
            rng: The planner's own randomness.

        Raises:
            PlanningBudgetExceeded: The budget ran out; the best plan so far is attached.
            BudgetExceeded: The budget does not suffice for any plan.
        """

    @abstractmethod
    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Plan:
        """The plan that a planner of equal parameters gave these :meth:`Plan.arrays`.

        Raises:
            KeyError: An array is missing.
            ValueError: An array is not that of a plan.
        """


@final
class PlanningBudgetExceeded(BudgetExceeded):
    """The budget ran out while planning, but not without result.

    Attributes:
        plan: The best plan so far.
    """

    def __init__(self, cause: BudgetExceeded, plan: Plan) -> None:
        super().__init__(cause.budget, cause.used, cause.requested)
        self.plan = plan


class RepeatedContradiction(RuntimeError):
    """A datum that is banked contradicts the optimiser's answer: a bug, or data too nearly degenerate for float64."""


def sampled(access: Access) -> LocalAccess:
    """The access, if it answers with samples.

    Raises:
        ModelError: It is an expectation oracle, which planners that average samples have no use for.
    """
    if isinstance(access, ExpectationAccess):
        raise ModelError("this planner averages samples; give it a LocalAccess instead of an ExpectationAccess")
    return access


def queries_left(access: Access, least: int = 0) -> int:
    """Queries that still fit the budget.

    Raises:
        BudgetExceeded: They are less than ``least``.
        ModelError: The access has no budget.
    """
    budget = access.terms.budget
    if budget is None:
        raise ModelError("this planner queries until its budget is spent; give the access a budget")
    if budget - access.queries < least:
        raise BudgetExceeded(budget, access.queries, least)
    return budget - access.queries


def stages_ahead(terms: AccessTerms, stage: int, tail: float = TAIL) -> int:
    """Stages from here on that matter: H - h; if discounted the least L with gamma^L <= ``tail``.

    Raises:
        ModelError: Neither a horizon nor gamma < 1 is declared.
    """
    if terms.horizon is not None:
        return terms.horizon - stage
    if not terms.gamma < 1.0:
        raise ModelError(f"gamma is {terms.gamma} and there is no horizon; declare a horizon or gamma < 1")
    return 1 if terms.gamma <= tail else math.ceil(math.log(tail) / math.log(terms.gamma))
