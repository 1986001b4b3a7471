"""The solver that fits a model.

Discounted MDPs get value iteration and policy iteration in turns, each going on from the other's answer: the one
closes its bounds fast where chains mix fast, the other jumps where they do not, and where improvements spread
only one state at a time, as along a corridor, sweeps are the cheaper way to spread them. Turns grow fourfold, so
this takes a small multiple of what the better of the two takes. Without discount policy iteration is the method of
choice. Finite horizons are solved by backward induction, linear models on the states they can meet, games by
safeguarded lookahead policy iteration, constrained problems by a search over prices of cost; a large-action MDP comes
with its optimum.
"""

from typing import Any, overload

from ..models import (
    ConstrainedLinearMDP,
    ConstrainedMDP,
    ConstrainedProblem,
    FiniteHorizonMDP,
    LargeActionMDP,
    LinearMarkovGame,
    LinearMDP,
    MarkovGame,
    TabularMDP,
)
from .constrained import ConstrainedSolution, lagrangian_optimum
from .dynamic_programming import backward_induction, policy_iteration, value_iteration
from .games.linear import LinearGameSolution, solve_linear_game
from .games.planning import Pair
from .games.safeguarded import solve_game
from .large_action import planted_optimum
from .linear import LinearSolution
from .solution import IntArray, Solution, Status


@overload
def solve(model: TabularMDP | FiniteHorizonMDP | LargeActionMDP, tol: float = 1e-8) -> Solution[IntArray]: ...
@overload
def solve(model: MarkovGame, tol: float = 1e-8) -> Solution[Pair]: ...
@overload
def solve(model: LinearMDP, tol: float = 1e-8) -> LinearSolution: ...
@overload
def solve(model: ConstrainedProblem, tol: float = 1e-8) -> ConstrainedSolution: ...
@overload
def solve(model: LinearMarkovGame, tol: float = 1e-8) -> LinearGameSolution: ...
def solve(model: Any, tol: float = 1e-8) -> Any:
    """The exact solution of any model, by the solver that fits it.

    Args:
        model: A TabularMDP, FiniteHorizonMDP, LinearMDP, LargeActionMDP, MarkovGame, LinearMarkovGame, ConstrainedMDP
            or ConstrainedLinearMDP.
        tol: Wanted bound on the certified gap of the iterative solvers.

    Returns:
        Solution; for linear models :class:`LinearSolution` or :class:`LinearGameSolution`, for constrained problems
        :class:`ConstrainedSolution`.

    Raises:
        TypeError: The model is of none of these types.
        ValueError: As the solvers do.
    """
    match model:
        case TabularMDP():
            return _solve_mdp(model, tol)
        case FiniteHorizonMDP() | LinearMDP():
            return backward_induction(model)
        case LargeActionMDP():
            return planted_optimum(model)
        case MarkovGame():
            return solve_game(model, tol)
        case LinearMarkovGame():
            return solve_linear_game(model, tol)
        case ConstrainedMDP() | ConstrainedLinearMDP():
            return lagrangian_optimum(model)
        case _:
            raise TypeError(f"model is a {type(model).__name__}; pass one of the models of lookahead_rl.models")


def _solve_mdp(model: TabularMDP, tol: float) -> Solution[IntArray]:
    if model.gamma == 1.0:
        return policy_iteration(model, tol)
    sweeps, policies, value = _first_sweeps(model), 20, None
    while True:
        quick = value_iteration(model, tol, max_iterations=sweeps, start=value)
        if quick.status is not Status.ITERATION_LIMIT:
            return quick
        exact = policy_iteration(model, tol, max_iterations=policies, start=quick.policy)
        if exact.status is not Status.ITERATION_LIMIT:
            return exact
        sweeps, policies, value = 4 * sweeps, 4 * policies, exact.value


def _first_sweeps(model: TabularMDP) -> int:
    """Sweeps that cost about as much as a few exact evaluations of a policy."""
    return 100 if model.is_sparse else 10 + model.n_states // (10 * model.n_actions)
