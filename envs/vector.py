"""The native vector environment: many episodes of one decision process, stepped together.

All lanes share one generator and one call of the simulator a step. What happens when a lane's episode ends is
Gymnasium's AutoresetMode, as SyncVectorEnv does it:

    NEXT_STEP   the next step resets the lane: its action is ignored, its reward is 0, its observation a first one
    SAME_STEP   the step itself resets it: the observation is a first one, infos keep final_obs and final_info
    DISABLED    nothing does: the lane must be reset with reset(options={"reset_mask": mask}) before the next step
"""

from typing import Any, final

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from ..models import ConstrainedProblem, MarkovGame, ModelError, Transitions
from ..models._checks import whole_number
from . import sampling_kernels as kernels
from .game_looks import Looks
from .game_observations import action_masks
from .model_backed import RENDER_MODES, ModelBacked, known_options
from .rendering import Frame
from .simulators import Model

MODES = {
    AutoresetMode.NEXT_STEP: kernels.NEXT_STEP,
    AutoresetMode.SAME_STEP: kernels.SAME_STEP,
    AutoresetMode.DISABLED: kernels.DISABLED,
}
NO_LIMIT = np.iinfo(np.int64).max


@final
class VectorModelEnv(  # pyright: ignore[reportIncompatibleVariableOverride]  spec is a property here
    ModelBacked[Model | ConstrainedProblem], VectorEnv[Any, NDArray[np.int64], NDArray[Any]]
):
    """Episodes of a decision process in ``num_envs`` lanes; or of a game, with joint actions a*B + b.

    Args:
        model: The decision process or game, or a constrained problem.
        num_envs: Number of lanes.
        max_episode_steps: Steps after which a lane truncates; None or -1: never. ``gymnasium.make_vec`` passes the
            registered number.
        autoreset_mode: A member of AutoresetMode or its value, ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``.
        observation: ``"state"`` or ``"features"``, see :mod:`~lookahead_rl.envs.observations`.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.
        looks: What the states of a game look like in a drawing (:mod:`~lookahead_rl.envs.game_looks`).

    Raises:
        ModelError: An argument is none of these.
    """

    def __init__(
        self,
        model: Model | ConstrainedProblem,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        observation: str = "state",
        render_mode: str | None = None,
        looks: Looks | None = None,
    ) -> None:
        num_envs = whole_number("num_envs", num_envs, 1)
        super().__init__(model, observation, render_mode, num_envs, looks)
        self.num_envs = num_envs
        mode = _autoreset_mode(autoreset_mode)
        self.metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4, "autoreset_mode": mode}
        self.single_observation_space = self._observer.space
        self.single_action_space = self._actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._mode, self._limit = MODES[mode], _step_limit(max_episode_steps)
        self._is_ragged = isinstance(model, MarkovGame) and model.is_ragged
        self._elapsed = np.zeros(num_envs, np.int64)
        self._finished = np.zeros(num_envs, np.bool_)

    @property
    def states(self) -> NDArray[np.int64]:
        """The lanes' current states (num_envs,), as codes.

        Raises:
            ResetNeeded: No episode has begun.
        """
        return self._current.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin an episode in every lane.

        Args:
            seed: Seed of the generator that all lanes share; None goes on with the present one.
            options: ``"state"``: a code, or one for each lane to reset, to begin in instead of drawing from rho.
                ``"reset_mask"``: a boolean array (num_envs,) of the lanes to reset, the others going on.

        Raises:
            ModelError: An option of another name, no such state, or a mask that selects no lane.
            ResetNeeded: A mask before the first reset of all lanes.
        """
        chosen = known_options(options, "state", "reset_mask")
        mask = self._reset_mask(chosen.get("reset_mask"))
        super().reset(seed=seed)
        codes = np.zeros(self.num_envs, np.int64) if mask.all() else self._current.copy()
        codes[mask] = self._starts(int(np.count_nonzero(mask)), chosen.get("state"), self.np_random)
        self._begin(codes, mask)
        self._elapsed[mask], self._finished[mask] = 0, False
        costs = np.zeros(self.num_envs) if isinstance(self._model, ConstrainedProblem) else None
        return self._observer.observe(codes), self._infos(codes, mask.astype(np.float64), mask, costs)

    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step every lane; ``infos["prob"]`` holds the probabilities of the outcomes.

        Of a constrained problem ``infos["cost"]`` holds what the actions cost (num_envs,), 0 for lanes that are reset.

        In a game whose states offer different numbers of actions, ``infos[player]["action_mask"]`` holds the masks
        (num_envs, n) of the player's actions, int8, as Gymnasium lays out what a single environment would say.

        Raises:
            ModelError: The actions are not integers of shape (num_envs,), or digits (num_envs, d) where these are their
                form; or one is out of range.
            ResetNeeded: No episode has begun, or autoreset is disabled and a lane has ended.
        """
        actions = self._accepted(actions)
        before = self._current
        moved = self._advance(actions, self.np_random)
        costs = self._costs(before, actions)
        truncated = np.empty(self.num_envs, np.bool_)
        restarts = kernels.settle(
            self._mode, self._limit, self._elapsed, self._finished,
            moved.rewards, moved.terminated, moved.probabilities, truncated,
        )  # fmt: skip
        infos = self._restart(moved, costs) if restarts else {}
        infos |= self._infos(moved.next_states, moved.probabilities, np.ones(self.num_envs, np.bool_), costs)
        return self._observer.observe(moved.next_states), moved.rewards, moved.terminated, truncated, infos

    def render(self) -> tuple[Frame, ...] | None:
        """The frames of all lanes, as the scalar environment draws them."""
        return self._frames()

    def _accepted(self, actions: ArrayLike) -> NDArray[np.int64]:
        """The actions to play, those of lanes that are about to be reset replaced by 0."""
        actions = self._actions.read(actions)
        if len(actions) != self.num_envs:
            raise ModelError(f"actions has shape {actions.shape}; pass one action for each of {self.num_envs} lanes")
        if self._mode == kernels.SAME_STEP or not np.count_nonzero(self._finished):
            return actions
        if self._mode == kernels.DISABLED:
            lanes = np.flatnonzero(self._finished).tolist()
            raise ResetNeeded(f'lanes {lanes} have ended; call reset(options={{"reset_mask": mask}}) with their mask')
        accepted = actions.copy()
        accepted[self._finished] = 0
        return accepted

    def _restart(self, moved: Transitions, costs: NDArray[np.float64] | None) -> dict[str, Any]:
        """Begin new episodes in the lanes that settle has chosen: first codes into ``moved``, zeros into ``costs``."""
        fresh = self._elapsed == 0
        infos: dict[str, Any] = {}
        if self._mode == kernels.SAME_STEP:
            infos = self._final_infos(moved, fresh, costs)
            moved.probabilities[fresh] = 1.0
        if costs is not None:
            costs[fresh] = 0.0
        moved.next_states[fresh] = self._starts(int(np.count_nonzero(fresh)), None, self.np_random)
        self._begin(moved.next_states, fresh)
        return infos

    def _final_infos(
        self, moved: Transitions, ended: NDArray[np.bool_], costs: NDArray[np.float64] | None
    ) -> dict[str, Any]:
        """What ended lanes observed last, as SyncVectorEnv lays it out."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        final_obs[ended] = np.fromiter(self._observer.each(moved.next_states[ended]), dtype=object)
        costs = None if costs is None else np.where(ended, costs, 0.0)
        final_info = self._infos(moved.next_states, np.where(ended, moved.probabilities, 0.0), ended.copy(), costs)
        return {
            "final_obs": final_obs,
            "_final_obs": ended,
            "final_info": final_info,
            "_final_info": ended.copy(),
        }

    def _infos(
        self,
        codes: NDArray[np.int64],
        prob: NDArray[np.float64],
        told: NDArray[np.bool_],
        costs: NDArray[np.float64] | None,
    ) -> dict[str, Any]:
        """What the lanes of the mask ``told`` are told in these states, beside keys that name those lanes."""
        infos: dict[str, Any] = {"prob": prob, "_prob": told}
        if costs is not None:
            infos |= {"cost": costs, "_cost": told.copy()}
        if isinstance(self._model, MarkovGame) and self._is_ragged:
            for player, masks in action_masks(self._model, codes).items():
                masks[~told] = 0
                infos |= {player: {"action_mask": masks, "_action_mask": told.copy()}, f"_{player}": told.copy()}
        return infos

    def _reset_mask(self, mask: Any) -> NDArray[np.bool_]:
        """The lanes to reset, as a mask of our own."""
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ModelError(f'options["reset_mask"] is {mask!r}; pass a boolean array of shape ({self.num_envs},)')
        if not mask.any():
            raise ModelError('options["reset_mask"] selects no lane; call reset only when there is one to reset')
        return mask.copy()


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    names = [member.value for member in AutoresetMode]
    if mode not in names:
        raise ModelError(f"autoreset_mode is {mode!r}; pass a member of AutoresetMode, or one of {names}")
    return AutoresetMode(mode)


def _step_limit(max_episode_steps: int | None) -> int:
    if max_episode_steps is None or max_episode_steps == -1:
        return NO_LIMIT
    limit = whole_number("max_episode_steps", max_episode_steps, 1)
    if limit > NO_LIMIT:
        raise ModelError(f"max_episode_steps is {limit}; pass at most {NO_LIMIT}, or -1 for no limit")
    return limit
