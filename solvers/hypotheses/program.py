"""The optimistic program: the largest value at the start that the data do not contradict.

    maximise  <c, theta>    subject to    ||theta||_2 <= B,
        for every datum i there is an action a with |Delta_ia(theta)| <= slack_ia,

where c is the feature vector of the first state (TensorPlan's theta+, Weisz et al., COLT 2021). What else is required
is the *class* of hypotheses:

* ``ANY`` deterministic policy whose value function is linear: nothing more;
* ``OPTIMAL`` value functions: the Bellman inequalities Delta_ia(theta) <= slack_ia for all actions a;

and in both, where ``value_range`` is set, that values are possible: 0 <= <phi_i, theta> <= cap_i.

The maximum is over a union of up to A^N convex sets. Deciding whether it is empty is NP-hard already for three actions
(Kane, Liu, Lovett, Mahajan, Computational-Statistical Gaps in Reinforcement Learning, COLT 2022, rule out polynomial
planners altogether): the solvers are exact and may take exponential time.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ...models._checks import ModelError, flag, real_array
from .bank import Bank, FloatArray


class Hypotheses(Enum):
    """Which value functions are hypotheses; the text says what a planner may then claim."""

    ANY = "competes with every deterministic policy whose value function is linear in the features"
    OPTIMAL = "competes with the optimal policy, whose value function must be linear in the features"


class Outcome(Enum):
    """How an optimiser ended."""

    OPTIMAL = "optimal: lower and upper bound agree within the tolerance"
    INFEASIBLE = "infeasible: no theta of norm at most B is consistent with the data"
    LIMIT = "stopped at the limit of its work; the bounds are true"


@dataclass(frozen=True, eq=False)
class Program:
    """An optimistic program over a bank of data.

    The bank may grow; what was proved about the program before stays true, since data only remove hypotheses.

    Attributes:
        objective: c (d,), the features of the first state.
        radius: B > 0, bound on ||theta||_2.
        bank: The data.
        hypotheses: Class of hypotheses.
        value_range: Whether 0 <= <phi, theta> <= cap is required at every datum.

    Raises:
        ModelError: c is not finite or not of the bank's dimension, B is not positive and finite, or ``value_range`` is
            neither True nor False.
    """

    objective: FloatArray
    radius: float
    bank: Bank
    hypotheses: Hypotheses = Hypotheses.OPTIMAL
    value_range: bool = True

    def __post_init__(self) -> None:
        """Check the objective, the radius and the flag."""
        objective = real_array("objective", self.objective)
        if objective.shape != (self.bank.dim,):
            raise ModelError(f"objective has shape {objective.shape}; expected {(self.bank.dim,)}, as the bank's data")
        if not 0.0 < self.radius < np.inf:
            raise ModelError(f"radius is {self.radius!r}; pass a positive number, a bound on the norm of theta")
        object.__setattr__(self, "objective", objective)
        object.__setattr__(self, "value_range", flag("value_range", self.value_range))

    def violation(self, theta: FloatArray) -> float:
        """By how much theta misses the worst of all constraints; 0 where it satisfies them."""
        bank = self.bank
        worst = [float(np.linalg.norm(theta)) - self.radius, float(bank.inconsistency(theta).max(initial=0.0))]
        if self.hypotheses is Hypotheses.OPTIMAL:
            worst.append(float((bank.discriminants(theta) - bank.slack).max(initial=0.0)))
        if self.value_range:
            values = bank.features @ theta
            worst += [float((-values).max(initial=0.0)), float((values - bank.caps).max(initial=0.0))]
        return max(0.0, *worst)


@dataclass(frozen=True, eq=False)
class Optimum:
    """An optimiser's answer.

    Attributes:
        theta: The best hypothesis found (d,), or None.
        lower: <c, theta>; -inf without one.
        upper: What no hypothesis exceeds, as the optimiser says; -inf where there is none.
        outcome: How the optimiser ended.
        nodes: Nodes of its search tree.
    """

    theta: FloatArray | None
    lower: float
    upper: float
    outcome: Outcome
    nodes: int
