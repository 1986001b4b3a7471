"""Constrained Markov decision processes: the most reward whose cost keeps within a budget.

A step pays a reward r_h(s, a) and costs c_h(s, a), a number in [0, 1]. With

    v(pi) = E_pi[sum_h r_h(s_h, a_h)],     cost(pi) = E_pi[sum_h c_h(s_h, a_h)],     s_0 ~ rho,

the problem is to maximise v(pi) over all policies with cost(pi) <= budget (Altman, Constrained Markov Decision
Processes, 1999). The expectation is that of a whole episode, and a best policy may have to randomise.

A constrained problem *has* a process, its ``mdp``, which holds the law, the rewards, the horizon and rho; the
constraint adds the costs and the budget. So whatever takes a process, a simulator, an observer, a planner, takes
``model.mdp`` as it is, and what ignores the constraint has to say so by naming it.

Where papers ask for a utility of at least b, take c = 1 - u and budget = H - b. In a linear process the one is linear
where the other is, since <phi(s, a), mu(S)> = 1.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    entry,
    first,
    frozen,
    real_array,
    real_number,
    whole_number,
)
from .features import TableFeatures
from .finite import FiniteHorizonMDP
from .immutable import Immutable
from .linear import TABULAR_BYTES, LinearMDP

COST_TOLERANCE = 1e-12
"""A cost <phi, theta_cost> may round to this far outside of [0, 1]; it is used as it is."""

Process = TypeVar("Process", FiniteHorizonMDP, LinearMDP)


@dataclass(frozen=True, eq=False, repr=False)
class ConstrainedModel(Immutable, ABC, Generic[Process]):
    """What constrained problems share: a process, and costs of its steps."""

    mdp: Process

    @property
    def n_states(self) -> int:
        """Number of states S of the process."""
        return self.mdp.n_states

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self.mdp.n_actions

    @property
    def horizon(self) -> int:
        """Number of stages H."""
        return self.mdp.horizon

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes held by the process and the costs."""

    @abstractmethod
    def costs(self, codes: IntArray, actions: IntArray) -> FloatArray:
        """Costs (n,) of actions (n,) in the states of codes h*S + s (n,); 0 where the episode is over."""

    @abstractmethod
    def weighted(self, reward: float, cost: float) -> Process:
        """The process that pays reward * r + cost * c instead of r.

        weighted(1, -y) pays what the Lagrangian with multiplier y adds up, weighted(0, -1) what a safest policy
        maximises.
        """


@dataclass(frozen=True, eq=False, repr=False)
class ConstrainedMDP(ConstrainedModel[FiniteHorizonMDP]):
    """A constrained finite-horizon MDP in validated, read-only arrays.

    Attributes:
        mdp: The process.
        c: Costs (S, A), or (H, S, A), in [0, 1]; 0 in terminal states.
        budget: What an episode may cost in expectation; finite, at least 0. Whether any policy keeps within it is
            found out by solving, not here.

    Raises:
        ModelError: Naming the entry at fault: shapes, a cost outside [0, 1] or of a terminal state, a budget that is
            negative or no finite number, an mdp of another type.
    """

    c: FloatArray
    budget: float

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        _require_type("mdp", self.mdp, FiniteHorizonMDP)
        object.__setattr__(self, "c", _cost_table(self.c, self.mdp))
        object.__setattr__(self, "budget", _budget(self.budget))

    @property
    def nbytes(self) -> int:
        """Bytes held by the process and the costs."""
        return self.mdp.nbytes + self.c.nbytes

    def stage_costs(self, h: int) -> FloatArray:
        """Costs (S, A) of stage h."""
        _require_stage(h, self.horizon)
        return self.c if self.c.ndim == 2 else self.c[h]

    def costs(self, codes: IntArray, actions: IntArray) -> FloatArray:
        """Costs (n,) of actions (n,) in the states of codes h*S + s (n,); 0 where the episode is over."""
        h, s = np.divmod(codes, self.n_states)
        over = h == self.horizon
        c = self.c[s, actions] if self.c.ndim == 2 else self.c[np.where(over, 0, h), s, actions]
        return np.where(over, 0.0, c)

    def weighted(self, reward: float, cost: float) -> FiniteHorizonMDP:
        """The process that pays reward * r + cost * c instead of r."""
        reward, cost = real_number("reward", reward), real_number("cost", cost)
        return replace(self.mdp, r=reward * self.mdp.r + cost * self.c)


@dataclass(frozen=True, eq=False, repr=False)
class ConstrainedLinearMDP(ConstrainedModel[LinearMDP]):
    """A linear MDP whose costs are linear too, c_h(s, a) = <phi(s, a), theta_cost_h>, of any number of states.

    Attributes:
        mdp: The process.
        theta_cost: Cost parameters (d,), or (H, d).
        budget: As in :class:`ConstrainedMDP`.

    Raises:
        ModelError: As :class:`ConstrainedMDP`. Costs are checked state by state where phi is a table; other features
            lie on the simplex, any point of which may be one, so there the entries of theta_cost are.
    """

    theta_cost: FloatArray
    budget: float

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        _require_type("mdp", self.mdp, LinearMDP)
        object.__setattr__(self, "theta_cost", _cost_parameters(self.theta_cost, self.mdp))
        object.__setattr__(self, "budget", _budget(self.budget))

    @property
    def dim(self) -> int:
        """Dimension d of the features."""
        return self.mdp.dim

    @property
    def nbytes(self) -> int:
        """Bytes held by the process and the cost parameters."""
        return self.mdp.nbytes + self.theta_cost.nbytes

    def stage_theta_cost(self, h: int) -> FloatArray:
        """Cost parameters (d,) of stage h."""
        _require_stage(h, self.horizon)
        return self.theta_cost if self.theta_cost.ndim == 1 else self.theta_cost[h]

    def costs(self, codes: IntArray, actions: IntArray) -> FloatArray:
        """Costs (n,) of actions (n,) in the states of codes h*S + s (n,); 0 where the episode is over."""
        h, s = np.divmod(codes, self.n_states)
        over = h == self.horizon
        theta = self.theta_cost if self.theta_cost.ndim == 1 else self.theta_cost[np.where(over, 0, h)]
        return np.where(over, 0.0, (self.mdp.phi.at(s, actions) * theta).sum(axis=1))

    def weighted(self, reward: float, cost: float) -> LinearMDP:
        """The process that pays reward * r + cost * c instead of r."""
        reward, cost = real_number("reward", reward), real_number("cost", cost)
        return replace(self.mdp, theta=reward * self.mdp.theta + cost * self.theta_cost)

    def to_tabular(self, max_bytes: int = TABULAR_BYTES) -> ConstrainedMDP:
        """The same problem with its law and costs written out.

        Args:
            max_bytes: The largest process to build, see :meth:`LinearMDP.to_tabular`.

        Raises:
            ModelError: The process would be larger; nothing has been allocated then.
        """
        mdp = self.mdp.to_tabular(max_bytes)
        phi = self.mdp.phi(np.arange(self.n_states))
        return ConstrainedMDP(mdp, np.einsum("sad,...d->...sa", phi, self.theta_cost), self.budget)


ConstrainedProblem = ConstrainedMDP | ConstrainedLinearMDP
"""Either kind."""


def process_of(model: Any) -> Any:
    """The process of a constrained problem; any other model is a process itself."""
    return model.mdp if isinstance(model, ConstrainedProblem) else model


def _require_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise ModelError(f"{name} is a {type(value).__name__}; pass a {kind.__name__}")


def _require_stage(h: int, horizon: int) -> None:
    if whole_number("h", h, 0) >= horizon:
        raise ModelError(f"h is {h}; stages run from 0 to {horizon - 1}")


def _budget(budget: object) -> float:
    number = real_number("budget", budget)
    if number < 0:
        raise ModelError(f"budget is {number}; costs are at least 0, so pass a number >= 0")
    return number


def _cost_table(c: ArrayLike, mdp: FiniteHorizonMDP) -> FloatArray:
    array = real_array("c", c)
    stage = (mdp.n_states, mdp.n_actions)
    if array.shape not in (stage, (mdp.horizon, *stage)):
        raise ModelError(
            f"c has shape {array.shape}; expected (S, A) = {stage}, or (H, S, A) = {(mdp.horizon, *stage)}"
        )
    bad = _outside(array)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry('c', index)} is {array[index]:.12g}; costs must lie in [0, 1]")
    paid = (array != 0) & mdp.terminal[:, None]
    if paid.any():
        index = first(paid)
        raise ModelError(f"{entry('c', index)} is {array[index]:.6g}, but state {index[-2]} is terminal; set it to 0")
    return frozen(array)


def _cost_parameters(theta_cost: ArrayLike, mdp: LinearMDP) -> FloatArray:
    array = real_array("theta_cost", theta_cost)
    if array.shape not in ((mdp.dim,), (mdp.horizon, mdp.dim)):
        raise ModelError(
            f"theta_cost has shape {array.shape}; expected (d,) = {(mdp.dim,)}, or (H, d) = {(mdp.horizon, mdp.dim)}"
        )
    for h, theta in enumerate(np.atleast_2d(array)):
        stage = (h,) if array.ndim == 2 else ()
        if isinstance(mdp.phi, TableFeatures):
            _require_costs(mdp.phi, theta, stage)
        elif _outside(theta).any():
            index = (*stage, *first(_outside(theta)))
            raise ModelError(
                f"{entry('theta_cost', index)} is {array[index]:.12g}; features on the simplex may be any point of it, "
                "so every entry must lie in [0, 1]"
            )
    return frozen(array)


def _require_costs(phi: TableFeatures, theta: FloatArray, stage: tuple[int, ...]) -> None:
    costs = phi.table @ theta
    bad = _outside(costs)
    if bad.any():
        s, a = first(bad)
        at = f" at h = {stage[0]}" if stage else ""
        raise ModelError(
            f"the cost <phi(s, a), theta_cost> of s = {s}, a = {a}{at} is {costs[s, a]:.12g}; costs must lie in "
            "[0, 1]: scale or shift theta_cost"
        )


def _outside(costs: FloatArray) -> BoolArray:
    return ~((costs >= -COST_TOLERANCE) & (costs <= 1.0 + COST_TOLERANCE))
