"""The exact optimum of a decision problem as episodes see it: a number, its certified bounds, and how it was found.

What solvers certify state by state, v_low <= v* <= v_high, an episode that begins in rho sees as

    sum_s rho(s) v_low(s)  <=  sum_s rho(s) v*(s)  <=  sum_s rho(s) v_high(s),

here with the rounding of the sums. In a zero-sum game v* is the Nash value, paid to player_0; within a budget it is the
best that any policy whose expected cost keeps within it can earn.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..envs.games import MarkovGameEnv
from ..models import (
    ConstrainedLinearMDP,
    ConstrainedMDP,
    ConstrainedProblem,
    FiniteHorizonMDP,
    LargeActionMDP,
    LinearMarkovGame,
    LinearMDP,
    MarkovGame,
    ModelError,
    TabularMDP,
)
from ..solvers import (
    ConstrainedSolution,
    LinearGameSolution,
    backward_induction,
    constrained_optimum,
    filar_tolwinski,
    hoffman_karp,
    lagrangian_optimum,
    lookahead_policy_iteration,
    naive_policy_iteration,
    planted_optimum,
    policy_iteration,
    residual_conditioned_policy_iteration,
    shapley_iteration,
    solve,
    solve_game,
    solve_linear_game,
    two_pair_policy_iteration,
    value_iteration,
)
from ..solvers.games.linear import met_game
from ..solvers.policies import require_tolerance
from ..solvers.solution import Certificate, Status
from ..wrappers.exact_view import constrained_view, exact_view, game_view, large_action_view
from .report import Row

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Solver = Callable[[Any, float], Any]
AnyModel = (
    TabularMDP | FiniteHorizonMDP | LinearMDP | LargeActionMDP | MarkovGame | LinearMarkovGame | ConstrainedProblem
)

AUTOMATIC = "automatic"
_WITHIN_A_BUDGET: Mapping[str, Solver] = {
    "lagrangian": lambda model, _: lagrangian_optimum(model),
    "linear-program": lambda model, _: constrained_optimum(model),
}
METHODS: Mapping[type[Any], Mapping[str, Solver]] = {
    TabularMDP: {"value-iteration": value_iteration, "policy-iteration": policy_iteration},
    FiniteHorizonMDP: {"backward-induction": lambda model, _: backward_induction(model)},
    LinearMDP: {"backward-induction": lambda model, _: backward_induction(model)},
    LargeActionMDP: {"planted": lambda model, _: planted_optimum(model)},
    ConstrainedMDP: _WITHIN_A_BUDGET,
    ConstrainedLinearMDP: _WITHIN_A_BUDGET,
    LinearMarkovGame: {"safeguarded": solve_linear_game},
    MarkovGame: {
        "safeguarded": solve_game,
        "shapley": shapley_iteration,
        "lookahead": lookahead_policy_iteration,
        "hoffman-karp": hoffman_karp,
        "naive": naive_policy_iteration,
        "filar-tolwinski": filar_tolwinski,
        "residual-conditioned": residual_conditioned_policy_iteration,
        "two-pair": two_pair_policy_iteration,
    },
}
"""For each kind of model the solvers that can be asked for by name; which is best is left to ``solve``."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimum of a model over its initial distribution.

    Attributes:
        model: The model.
        method: The solver asked for, or ``"automatic"``.
        value: Expected return of an optimal policy; in games the Nash value, paid to player_0.
        low: Certified lower bound, attained by the solver's policy.
        high: Certified upper bound; infinite where nothing is certified.
        status: How the solver ended.
        iterations: Its sweeps, improvements or stages.
        seconds: Wall time of solving.
        solution: The solver's whole answer.
        states: The states (n,) in which an episode can be at stage 0 or, without stages, at all; empty within a budget.
        rho: Probability (n,) that an episode begins there.
        values: Their optimal values (n,).
        bounds: Certified bounds (n,) on these.
    """

    model: AnyModel
    method: str
    value: float
    low: float
    high: float
    status: Status
    iterations: int
    seconds: float
    solution: Any
    states: IntArray
    rho: FloatArray
    values: FloatArray
    bounds: Certificate

    @property
    def gap(self) -> float:
        """How tightly the value is enclosed."""
        return self.high - self.low

    @property
    def history(self) -> FloatArray:
        """The solver's stopping quantity after each iteration; empty where there is none."""
        whole = self.solution.support if isinstance(self.solution, LinearGameSolution) else self.solution
        return np.asarray(whole.history, dtype=np.float64)

    @property
    def solved(self) -> str:
        """How the solver ended, in a word or two."""
        return self.status.name.lower().replace("_", " ")

    def row(self) -> Row:
        """The optimum as one flat row."""
        model = self.model
        facts: dict[str, Any] = {
            "agent": "Nash pair" if isinstance(model, MarkovGame | LinearMarkovGame) else "optimum",
            "model": type(model).__name__,
            "n_states": model.n_states,
            "value": self.value,
            "optimal_value": self.value,
            "low": self.low,
            "high": self.high,
            "gap": self.gap,
            "status": self.solved,
            "method": self.method,
            "iterations": self.iterations,
            "seconds": self.seconds,
        }
        if isinstance(model, TabularMDP | MarkovGame | LinearMarkovGame):
            facts["gamma"] = model.gamma
        if isinstance(model, FiniteHorizonMDP | LinearMDP | LargeActionMDP):
            facts["horizon"] = model.horizon
        if isinstance(model, ConstrainedProblem):
            facts |= {"cost": self.solution.cost, "budget": model.budget, "multiplier": self.solution.multiplier}
        return facts

    def state_rows(self, most: int) -> list[Row]:
        """A row for each of the ``most`` states in which episodes are likeliest to begin, in their order."""
        kept = np.sort(np.argsort(-self.rho, kind="stable")[:most])
        return [
            {
                "state": int(self.states[i]),
                "initial probability": float(self.rho[i]),
                "value": float(self.values[i]),
                "low": float(self.bounds.lower[i]),
                "high": float(self.bounds.upper[i]),
                "gap": float(self.bounds.upper[i] - self.bounds.lower[i]),
            }
            for i in kept
        ]


def model_of(env: Any, gamma: float | None = None) -> AnyModel:
    """The model behind an environment.

    Args:
        env: One of this package, one of Gymnasium's with a transition table, or a PettingZoo game of this package.
        gamma: Discount of a discounted model. None: the model's own; for Gymnasium's tables 0.99.

    Raises:
        ModelError: There is no model to see, or ``gamma`` is given for one that has no such discount.
    """
    if isinstance(env.unwrapped, MarkovGameEnv):
        return discounted(game_view(env, "player_0").model, gamma)
    for view in (large_action_view(env), constrained_view(env)):
        if view is not None:
            return discounted(view.model, gamma)
    return exact_view(env, gamma).model


def discounted(model: AnyModel, gamma: float | None) -> AnyModel:
    """A discounted model with another discount; None: as it is.

    Raises:
        ModelError: ``gamma`` is given for a model of another kind, or out of range.
    """
    if gamma is None:
        return model
    if isinstance(model, TabularMDP | MarkovGame | LinearMarkovGame):
        return replace(model, gamma=gamma)
    raise ModelError(f"gamma is {gamma}, but a {type(model).__name__} has no discount of its own; leave it out")


def find_optimum(model: AnyModel, tol: float = 1e-8, method: str = AUTOMATIC) -> Optimum:
    """Solve a model.

    Args:
        model: Any model.
        tol: Wanted bound on the certified gap of iterative solvers, in the worst state.
        method: ``"automatic"``, or one of :data:`METHODS` for this kind of model.

    Raises:
        ModelError: There is no such method for this kind of model.
        ValueError: As the solvers do: a bad ``tol``; with gamma = 1, a state from which no policy terminates, or an
            unbounded total reward; no policy keeps within a budget.
    """
    solver, tol = _solver(model, method), require_tolerance(tol)  # also for solvers that need none
    began = time.perf_counter()
    solution = solver(model, tol)
    seconds = time.perf_counter() - began
    if isinstance(solution, ConstrainedSolution):
        bounds = solution.certificate
        low, high = float(bounds.lower), float(bounds.upper)
        value, states, rho, values = solution.value, np.empty(0, np.int64), np.empty(0), np.empty(0)
    else:
        states, rho, values, bounds = _seen_from_the_start(model, solution)
        value = float(rho @ values)
        low, high = _expected_bounds(rho, bounds)
    iterations = solution.support.iterations if isinstance(solution, LinearGameSolution) else solution.iterations
    return Optimum(
        model, method, value, low, high, solution.status, iterations, seconds, solution, states, rho, values, bounds
    )


def _solver(model: AnyModel, method: str) -> Solver:
    if method == AUTOMATIC:
        return solve
    for kind, methods in METHODS.items():
        if isinstance(model, kind):
            if method in methods:
                return methods[method]
            names = ", ".join((AUTOMATIC, *methods))
            raise ModelError(f"method is {method!r}; for a {type(model).__name__} choose {names}")
    raise ModelError(f"model is a {type(model).__name__}; pass one of the models of lookahead_rl.models")


def _seen_from_the_start(model: AnyModel, solution: Any) -> tuple[IntArray, FloatArray, FloatArray, Certificate]:
    """States (n,), their initial probabilities, their optimal values and the bounds on these."""
    certificate: Certificate = solution.certificate
    match model:
        case TabularMDP() | MarkovGame():
            return np.arange(model.n_states), model.rho, solution.value, certificate
        case FiniteHorizonMDP() | LargeActionMDP():
            bounds = Certificate(certificate.lower[0], certificate.upper[0])
            return np.arange(model.n_states), model.rho, solution.value[0], bounds
        case LinearMarkovGame():
            states, game = met_game(model)
            return states, game.rho, solution.support.value, certificate
        case _:
            linear, states = cast("LinearMDP", model), solution.initial_states
            start = linear.initial_distribution()
            likely = start.weights > 0
            places = np.searchsorted(states, start.states[likely])
            rho: FloatArray = np.bincount(places, start.weights[likely], minlength=states.size).astype(np.float64)
            return states, rho, solution.value(states, 0), certificate


def _expected_bounds(rho: FloatArray, bounds: Certificate) -> tuple[float, float]:
    """Expected bounds, moved outwards by what the rounding of a sum of n products may hide."""
    starts = rho > 0  # bounds may be infinite elsewhere
    rho, lower, upper = rho[starts], bounds.lower[starts], bounds.upper[starts]
    rounding = (rho.size + 2) * 2.0**-53
    low, high = float(rho @ lower), float(rho @ upper)
    return low - rounding * float(rho @ np.abs(lower)), high + rounding * float(rho @ np.abs(upper))
