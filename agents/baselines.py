"""Uniform play: the agent every other one should beat."""

# The types of gymnasium's spaces are generic in their dtypes, which they leave open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping
from typing import Any, Self, final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..envs.games import PLAYERS
from ..models import LinearMarkovGame
from ..wrappers.exact_view import GameView, game_view
from ..wrappers.opponents import uniform_law
from .base import (
    Agent,
    DiscreteAgent,
    FloatArray,
    RecurrentState,
    Space,
    batch_size,
    checked_batch,
    require_callback,
    require_seed,
    require_steps,
)
from .errors import AgentError
from .lookup import look_up


@final
class RandomAgent(Agent):
    """Draws each action uniformly from the action space; ``deterministic=True`` takes the least one.

    Args:
        env: A Gymnasium environment whose actions are Discrete, MultiDiscrete, MultiBinary or a bounded Box.
        seed: Seed of its draws.

    Raises:
        AgentError: The action space is none of these.
    """

    def __init__(self, env: gym.Env[Any, Any], *, seed: int = 0) -> None:
        self.observation_space: Space = env.observation_space
        self.action_space: Space = env.action_space
        self._bounds = _bounds(self.action_space)
        self._seed = require_seed(seed)
        self._rng = np.random.default_rng(self._seed)

    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Nothing is learnt and no step is taken; the callback is called once."""
        require_steps(total_timesteps)
        if (call := require_callback(callback)) is not None:
            call(self, 0)
        return self

    def predict(
        self,
        observation: Any,
        state: RecurrentState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], RecurrentState | None]:
        """Uniform draws, or the least action."""
        n = batch_size(observation, self.observation_space)
        low, high = self._bounds
        shape = (1 if n is None else n, *low.shape)
        if deterministic:
            actions = np.broadcast_to(low, shape).copy()
        elif low.dtype.kind == "f":
            actions = self._rng.uniform(low, high, shape).astype(low.dtype)
        else:
            actions = self._rng.integers(low, high, shape, endpoint=True, dtype=low.dtype)
        return (actions[0] if n is None else actions), state

    def action_probabilities(self, observations: Any) -> FloatArray:
        """1 / A for each action, (n, A)."""
        n = batch_size(observations, self.observation_space)
        if n is None or not isinstance(self.action_space, spaces.Discrete):
            raise AgentError(f"actions in {self.action_space} of a batch of observations cannot be listed")
        n_actions = int(self.action_space.n)
        return np.full((n, n_actions), 1.0 / n_actions)

    def config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self._seed}

    def memory(self) -> dict[str, Any]:
        """State of the generator."""
        return {"rng": self._rng.bit_generator.state}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Set the generator's state."""
        self._rng.bit_generator.state = memory["rng"]


@final
class UniformGameAgent(DiscreteAgent):
    """Plays one side of a Markov game uniformly over the actions available in each state.

    Args:
        env: A PettingZoo game of this package.
        side: ``"player_0"`` or ``"player_1"``.
        seed: Seed of its draws.

    Attributes:
        side: The side it plays.

    Raises:
        ModelError: The environment is no such game, or there is no such side.
    """

    def __init__(self, env: Any, *, side: str = "player_0", seed: int = 0) -> None:
        view = game_view(env, side)
        super().__init__(view.observation_space, view.action_space, seed)
        self.side, self._seed = side, seed
        self._law = _uniform_law(view, side)

    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Nothing is learnt and no step is taken; the callback is called once."""
        require_steps(total_timesteps)
        if (call := require_callback(callback)) is not None:
            call(self, 0)
        return self

    def action_probabilities(self, observations: Any) -> FloatArray:
        """One over the number of available actions for each of these, (n, A)."""
        return self._law(checked_batch(observations, self.observation_space))

    def config(self) -> dict[str, Any]:
        """Side and seed."""
        return {"side": self.side, "seed": self._seed}

    def memory(self) -> dict[str, Any]:
        """State of the generator."""
        return {"rng": self.rng.bit_generator.state}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Set the generator's state."""
        self.rng.bit_generator.state = memory["rng"]


def _uniform_law(view: GameView, side: str) -> Callable[[NDArray[Any]], FloatArray]:
    """Action probabilities as a function of observations."""
    game, n_actions = view.model, view.n_actions
    if isinstance(game, LinearMarkovGame) or not game.is_ragged:
        return lambda observations: np.full((len(observations), n_actions), 1.0 / n_actions)
    return look_up(view.observe, uniform_law(game, PLAYERS.index(side)), game.terminal)


def _bounds(space: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Least and greatest action, both included, as arrays of the space's type."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        counts = space.n if isinstance(space, spaces.Discrete) else space.nvec
        low = np.asarray(space.start, dtype=space.dtype)
        return low, low + np.asarray(counts, dtype=space.dtype) - 1
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, np.int8), np.ones(space.shape, np.int8)
    if isinstance(space, spaces.Box) and space.is_bounded("both"):
        return space.low, space.high
    raise AgentError(
        f"no uniform draw from the actions {space}; Random-v0 plays Discrete, MultiDiscrete, MultiBinary, bounded Box"
    )
