"""Planning at decision time: nothing is kept, each state is searched anew from where it is.

Sutton, Barto, Reinforcement Learning (2018), section 8.8, name the kind; UCT, sparse sampling and rollouts are of it.
A search spends the budget of the access it is given, and no more; whoever calls it says, by that budget, what a
decision may cost.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models._checks import whole_number
from ...wrappers.access import AccessTerms, LocalAccess, Visit
from .planner import Access, LocalPlanner, Plan, sampled

FloatArray = NDArray[np.float64]


class DecisionTimePlanner(LocalPlanner):
    """Searches at every decision. Subclasses say how."""

    @abstractmethod
    def least_queries(self, terms: AccessTerms) -> int:
        """Queries without which a decision cannot be made."""

    @abstractmethod
    def search(self, access: LocalAccess, visit: Visit, rng: np.random.Generator) -> int:
        """The action in a state, found with the queries that are left in the access's budget.

        Raises:
            BudgetExceeded: They are less than :meth:`least_queries`.
            ModelError: The access has no budget.
        """

    @final
    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> Plan:
        """Search in each state of the episode; nothing is queried before."""
        return Searches(self, int(rng.integers(2**63)))

    @final
    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Plan:
        """The plan to search again, its randomness at its beginning."""
        return Searches(self, whole_number("seed", arrays["seed"][()], 0))


@final
class Searches(Plan):
    """A search at every decision.

    Args:
        planner: How to search.
        seed: Seed of the searches' randomness.
    """

    def __init__(self, planner: DecisionTimePlanner, seed: int) -> None:
        self._planner, self._seed = planner, seed
        self._rng = np.random.default_rng(seed)

    def action(self, access: Access, visit: Visit) -> int:
        """Search, with all that is left of the access's budget."""
        return self._planner.search(sampled(access), visit, self._rng)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The seed."""
        return {"seed": np.array(self._seed)}


def any_best(values: FloatArray, rng: np.random.Generator) -> int:
    """An action of largest value (A,), drawn uniformly among them."""
    best = np.flatnonzero(values == values.max())
    return int(best[0] if best.size == 1 else best[rng.integers(best.size)])
