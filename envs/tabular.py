"""The Gymnasium environment of a decision process."""

from typing import Any, SupportsIndex, final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..models import ConstrainedProblem
from ..models.constrained import process_of
from .model_backed import RENDER_MODES, ModelBacked, known_options
from .observations import Playable, require_playable
from .rendering import Frame


@final
class ModelEnv(ModelBacked[Playable | ConstrainedProblem], gym.Env[Any, Any]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """Episodes of a decision process, one at a time.

    A step samples ``simulator`` once. A finite horizon ends with its last stage, terminated; a discounted model never
    truncates by itself: the TimeLimit that ``gymnasium.make`` puts around it does.

    Args:
        model: The decision process, or a constrained problem.
        observation: ``"state"`` or ``"features"``, see :mod:`~lookahead_rl.envs.observations`.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.

    Raises:
        ModelError: An argument is none of these.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012  declared by gymnasium.Env

    def __init__(
        self, model: Playable | ConstrainedProblem, observation: str = "state", render_mode: str | None = None
    ) -> None:
        require_playable(process_of(model))
        super().__init__(model, observation, render_mode, 1)
        self.observation_space = self._observer.space
        self.action_space = self._actions.space

    @property
    def state(self) -> int:
        """The current state's code.

        Raises:
            ResetNeeded: No episode has begun.
        """
        return int(self._current[0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of the environment's generator; None goes on with the present one.
            options: ``{"state": s}`` begins in the state of that code instead of drawing from rho.

        Raises:
            ModelError: An option of another name, or no such state.
        """
        state = known_options(options, "state").get("state")
        super().reset(seed=seed)
        self._begin(self._starts(1, state, self.np_random), np.ones(1, np.bool_))
        (observation,) = self._observer.each(self._current)
        return observation, {"prob": 1.0} | ({"cost": 0.0} if isinstance(self._model, ConstrainedProblem) else {})

    def step(self, action: SupportsIndex | NDArray[np.int64]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Sample one transition; ``info["prob"]`` is the probability of its outcome, and of a constrained problem
        ``info["cost"]`` what the action costs.

        Raises:
            ModelError: It is no integer (no digits, where these are its form), or there is no such action.
            ResetNeeded: No episode has begun.
        """
        actions = self._actions.read(np.array([action]))
        before = self._current
        moved = self._advance(actions, self.np_random)
        costs = self._costs(before, actions)
        info = {"prob": float(moved.probabilities[0])} | ({} if costs is None else {"cost": float(costs[0])})
        (observation,) = self._observer.each(moved.next_states)
        return observation, float(moved.rewards[0]), bool(moved.terminated[0]), False, info

    def render(self) -> Frame | None:  # type: ignore[override]  # Gymnasium's RenderFrame is Any
        """The current state and its value against the optimum: text, or an image (height, width, 3) of uint8.

        The first call solves the model.
        """
        frames = self._frames()
        return None if frames is None else frames[0]
