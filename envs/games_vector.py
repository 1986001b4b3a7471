"""Many episodes of one zero-sum Markov game, stepped together.

PettingZoo has no vector environments, so this one is Gymnasium's: the action of a lane is the pair (a, b) of both
players' actions, and its reward is player_0's; player_1 receives minus that. Where some states offer fewer actions
than others, ``infos[player]["action_mask"]`` has a row for each lane. Inside is the
:class:`~lookahead_rl.envs.vector.VectorModelEnv` of every other model, playing the joint action a*B + b: one kernel,
one meaning of the AutoresetModes.
"""

from typing import final

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorActionWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from ..models import ModelError
from ..models._checks import plain_array
from .game_looks import Looks
from .game_observations import Game, joint_shape
from .vector import VectorModelEnv


@final
class VectorGameEnv(VectorActionWrapper):
    """A zero-sum Markov game in ``num_envs`` lanes; actions are int64 (num_envs, 2) with columns a and b.

    Args:
        game: The model.
        num_envs: Number of lanes.
        max_episode_steps: Steps after which a lane truncates; None or -1: never.
        autoreset_mode: A member of AutoresetMode or its value.
        observation: ``"features"`` or ``"state"``, as in the scalar environment.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.
        looks: What the states look like in a drawing, and what actions are called there; None: by their numbers.

    Raises:
        ModelError: An argument is none of these.
    """

    def __init__(
        self,
        game: Game,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        observation: str = "features",
        render_mode: str | None = None,
        looks: Looks | None = None,
    ) -> None:
        super().__init__(
            VectorModelEnv(game, num_envs, max_episode_steps, autoreset_mode, observation, render_mode, looks)
        )
        self._shape = joint_shape(game)
        self.single_action_space = spaces.MultiDiscrete(list(self._shape))
        self.action_space = batch_space(self.single_action_space, num_envs)

    def actions(self, actions: ArrayLike) -> NDArray[np.int64]:
        """The joint actions a*B + b (num_envs,) of pairs (num_envs, 2).

        Raises:
            ModelError: They are not integers of that shape, or one is out of range.
        """
        pairs = plain_array("actions", actions)
        if pairs.shape != (self.num_envs, 2) or pairs.dtype.kind not in "iu":
            raise ModelError(
                f"actions has dtype {pairs.dtype} and shape {pairs.shape}; pass integers ({self.num_envs}, 2)"
            )
        outside = (pairs < 0) | (pairs >= self._shape)
        if outside.any():
            lane, player = np.unravel_index(int(np.argmax(outside)), pairs.shape)
            raise ModelError(
                f"actions[{lane}, {player}] is {pairs[lane, player]}; it must be 0 to {self._shape[player] - 1}"
            )
        joint = pairs.astype(np.int64)  # narrow integers would wrap around
        return joint[:, 0] * self._shape[1] + joint[:, 1]
