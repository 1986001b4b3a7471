"""Exact planners as agents: they read the environment's model, solve it once, and act by the solution.

They are the yardstick of every comparison: what acting optimally looks like under the same contract. ``learn``
takes no environment step, whatever ``total_timesteps`` says.

A policy acts on observations, a solution on states. The planners know what each state shows
(:func:`~lookahead_rl.wrappers.exact_view.exact_view`) and look an observation up; where two states look the same
but need different actions no policy of the observation is optimal, and the planner refuses.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self, cast, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..envs.games import PLAYERS
from ..models import LinearMarkovGame, LinearMDP, TabularMDP
from ..solvers.policies import require_tolerance
from ..wrappers.exact_view import GameView, exact_view, game_view
from .base import DiscreteAgent, FloatArray, Space, checked_batch, require_callback, require_steps
from .errors import AgentError
from .lookup import look_up, one_hot


class PlanningAgent(DiscreteAgent):
    """An agent that plans once. Subclasses say how to plan and how to look the plan up.

    The plan is a dictionary of arrays, which is also all that is saved.
    """

    def __init__(self, observation_space: Space, action_space: Space, seed: int) -> None:
        super().__init__(observation_space, action_space, seed)
        self._seed = seed
        self._law: Callable[[NDArray[Any]], FloatArray] | None = None
        self._plan: dict[str, NDArray[Any]] = {}

    @abstractmethod
    def plan(self) -> dict[str, NDArray[Any]]:
        """Solve the model."""

    @abstractmethod
    def law_of(self, plan: dict[str, NDArray[Any]]) -> Callable[[NDArray[Any]], FloatArray]:
        """The map from observations (n, ...) to action probabilities (n, A) that a plan means."""

    @final
    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Plan, unless that was done. No step is taken; the callback is called once, when the plan stands."""
        require_steps(total_timesteps)
        call = require_callback(callback)
        if self._law is None:
            self._plan = self.plan()
            self._law = self.law_of(self._plan)
        if call is not None:
            call(self, 0)
        return self

    @final
    def action_probabilities(self, observations: Any) -> FloatArray:
        """The plan's action probabilities (n, A)."""
        if self._law is None:
            raise AgentError(f"{type(self).__name__} has not planned yet; call learn(0)")
        return self._law(checked_batch(observations, self.observation_space))

    @final
    def memory(self) -> dict[str, Any]:
        """The plan and the generator's state."""
        return {"plan": self._plan, "rng": self.rng.bit_generator.state}

    @final
    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over a plan and a generator's state."""
        self._plan = dict(memory["plan"])
        self._law = self.law_of(self._plan) if self._plan else None
        self.rng.bit_generator.state = memory["rng"]


@final
class ValueIterationAgent(PlanningAgent):
    """Acts optimally in a discounted MDP, planned by value iteration (Puterman 1994, section 6.3).

    Args:
        env: A Gymnasium environment with a known discounted model, or with a table ``P``.
        gamma: Discount; None: the model's own (0.99 for Gymnasium's tables, which have none).
        tol: Certified accuracy of the value.
        seed: Seed of the contract; the policy is deterministic.

    Raises:
        AgentError: The model is not a discounted MDP.
        ModelError: The environment has no model that can be seen.
        ValueError: ``tol`` is no positive number.
    """

    def __init__(self, env: Any, *, gamma: float | None = None, tol: float = 1e-8, seed: int = 0) -> None:
        self._view = exact_view(env, gamma)
        if not isinstance(self._view.model, TabularMDP):
            raise AgentError(
                f"value iteration needs a discounted TabularMDP, but the model is a {type(self._view.model).__name__} "
                "with a finite horizon; make BackwardInduction-v0"
            )
        super().__init__(self._view.observation_space, cast("Space", env.action_space), seed)
        self._model, self._gamma, self._tol = self._view.model, gamma, require_tolerance(tol)

    def plan(self) -> dict[str, NDArray[Any]]:
        """Actions of the greedy policy in each state (S,)."""
        from ..solvers import value_iteration

        return {"actions": value_iteration(self._model, self._tol).policy}

    def law_of(self, plan: dict[str, NDArray[Any]]) -> Callable[[NDArray[Any]], FloatArray]:
        """One-hot laws, looked up by observation."""
        law = one_hot(plan["actions"], self._model.n_actions)
        return look_up(self._view.observe, law, self._model.terminal)

    def config(self) -> dict[str, Any]:
        """Discount, accuracy and seed."""
        return {"gamma": self._gamma, "tol": self._tol, "seed": self._seed}


@final
class BackwardInductionAgent(PlanningAgent):
    """Acts optimally in a finite-horizon MDP, planned by backward induction (Puterman 1994, section 4.5).

    In a LinearMDP the plan is the weights w_h of q_h(s, a) = <phi(s, a), w_h>, H*d numbers whatever the number
    of states, and an action costs one evaluation of phi. Where the environment shows features, phi is read from
    the observation, in its float32: actions whose values agree to seven digits may then be confused.

    Args:
        env: A Gymnasium environment with a known finite-horizon model.
        seed: Seed of the contract; the policy is deterministic.

    Raises:
        AgentError: The model has no finite horizon, or a wrapper changes the observations of a LinearMDP.
        ModelError: The environment has no model that can be seen.
    """

    def __init__(self, env: Any, *, seed: int = 0) -> None:
        self._view = exact_view(env)
        if isinstance(self._view.model, TabularMDP):
            raise AgentError(
                f"backward induction needs a finite horizon, but the model is discounted (gamma = "
                f"{self._view.model.gamma}); make ValueIteration-v0"
            )
        super().__init__(self._view.observation_space, cast("Space", env.action_space), seed)
        if isinstance(self._view.model, LinearMDP) and self.observation_space != env.unwrapped.observation_space:
            raise AgentError("a wrapper changes what the states of a LinearMDP show; leave it out")
        self._model = self._view.model

    def plan(self) -> dict[str, NDArray[Any]]:
        """Actions at stages and states (H, S), or the weights (H, d) of a LinearMDP."""
        from ..solvers import backward_induction

        if isinstance(self._model, LinearMDP):
            return {"weights": backward_induction(self._model).weights}
        return {"actions": backward_induction(self._model).policy}

    def law_of(self, plan: dict[str, NDArray[Any]]) -> Callable[[NDArray[Any]], FloatArray]:
        """One-hot laws, looked up by observation, or greedy in phi."""
        if isinstance(self._model, LinearMDP):
            return _linear_law(self._model, plan["weights"], isinstance(self.observation_space, spaces.Discrete))
        # After the last stage nothing is decided; the codes of stage H get an action that is never taken.
        actions = np.append(plan["actions"].reshape(-1), np.zeros(self._model.n_states, dtype=np.int64))
        return look_up(self._view.observe, one_hot(actions, self._model.n_actions), self._model.terminal_codes())

    def config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self._seed}


class GamePlanningAgent(PlanningAgent):
    """An agent that plans its side of a Markov game. Subclasses say how.

    The plan is the mixed policy of this side, ``"policy"`` (S, A). In a LinearMarkovGame it is the weights w of
    q(s, a, b) = <phi(s, a, b), w>, ``"weights"`` (d,), d numbers whatever the number of states, and each decision
    solves the matrix game of its state; where players see features, phi is read from the observation, in its float32,
    which costs about 1e-7 of the value.

    Attributes:
        side: The side it plays.
    """

    def __init__(self, view: GameView, side: str, seed: int) -> None:
        super().__init__(view.observation_space, view.action_space, seed)
        self.side, self._view, self._game = side, view, view.model

    @final
    def law_of(self, plan: dict[str, NDArray[Any]]) -> Callable[[NDArray[Any]], FloatArray]:
        """Mixed actions, looked up by observation, or those of the stage games <phi, w>."""
        if isinstance(self._game, LinearMarkovGame):
            shows_codes = isinstance(self.observation_space, spaces.Discrete)
            return _linear_game_law(self._game, plan["weights"], self.side, shows_codes)
        return look_up(self._view.observe, plan["policy"], self._game.terminal)


@final
class NashPlannerAgent(GamePlanningAgent):
    """Plays one side of a Markov game by a Nash equilibrium (Shapley, Stochastic Games, PNAS 39, 1953).

    The equilibrium is the environment's own ``solution()``: the exact yardstick of other agents.

    Args:
        env: A PettingZoo game of this package.
        side: ``"player_0"`` (maximises) or ``"player_1"`` (minimises).
        seed: Seed of the draws from the mixed policy.

    Attributes:
        side: The side it plays.

    Raises:
        ModelError: The environment is no such game, or there is no such side.
    """

    def __init__(self, env: Any, *, side: str = "player_0", seed: int = 0) -> None:
        super().__init__(game_view(env, side), side, seed)

    def plan(self) -> dict[str, NDArray[Any]]:
        """The mixed policy of this side (S, A), or the weights (d,) of a LinearMarkovGame."""
        solution = self._view.solution()
        if isinstance(self._game, LinearMarkovGame):
            return {"weights": solution.weights}
        return {"policy": solution.policy[PLAYERS.index(self.side)]}

    def config(self) -> dict[str, Any]:
        """Side and seed."""
        return {"side": self.side, "seed": self._seed}


def _linear_law(model: LinearMDP, weights: FloatArray, shows_codes: bool) -> Callable[[NDArray[Any]], FloatArray]:
    """Greedy laws of q_h = <phi, w_h> from codes h*S + s, or from observations (phi(s, .), e_h)."""
    A, d = model.n_actions, model.dim
    # Nothing is decided after the last stage; its weights are zero, its law takes the first action.
    padded = np.concatenate([weights, np.zeros((1, d))])

    def law(observations: NDArray[Any]) -> FloatArray:
        if shows_codes:
            stage, phi = observations // model.n_states, model.phi(observations % model.n_states)
        else:
            stage, phi = observations[:, A * d :].argmax(axis=1), observations[:, : A * d].reshape(-1, A, d)
        return one_hot(np.einsum("nad,nd->na", phi, padded[stage]).argmax(axis=1), A)

    return law


def _linear_game_law(
    game: LinearMarkovGame, weights: FloatArray, side: str, shows_codes: bool
) -> Callable[[NDArray[Any]], FloatArray]:
    """Optimal mixed actions in the matrix games <phi(s, ., .), w>, from states or from observations of phi."""
    from ..solvers import solve_matrix_games

    def law(observations: NDArray[Any]) -> FloatArray:
        phi = game.phi(observations) if shows_codes else observations.reshape(-1, *game.n_actions, game.dim)
        games = solve_matrix_games(phi @ weights)
        return games.mu if side == "player_0" else games.nu

    return law
