"""Gymnasium's vector environments as stable-baselines3 takes them.

stable-baselines3 trains on a ``VecEnv`` of its own; its ``DummyVecEnv`` steps a list of environments one after the
other. An environment that steps all its lanes at once need not wait for that:

    env = StableBaselinesVecEnv(gymnasium.make_vec("LargeActionMDP-v0", num_envs=8, observation="features",
                                                   autoreset_mode="SameStep"))
    PPO("MlpPolicy", VecMonitor(env)).learn(100_000)

What is returned is what ``DummyVecEnv`` would return: of a lane that ended the first observation of its next episode,
with the last one in ``infos[i]["terminal_observation"]``, and ``infos[i]["TimeLimit.truncated"]`` true where it was cut
short but not over. ``VecMonitor`` around it adds returns and lengths of episodes.
"""

# stable-baselines3 leaves many of its types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from typing import Any, Never, cast, final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from .errors import AgentError

Infos = list[dict[str, Any]]


@final
class StableBaselinesVecEnv(VecEnv):
    """A vector environment of Gymnasium as a VecEnv of stable-baselines3.

    ``seed`` and ``set_options`` work at the next ``reset``, as in every VecEnv. The lanes share one environment, so
    attributes are that environment's, the same for each lane, and lanes have no methods of their own to call.

    Args:
        env: A vector environment that resets its lanes in the step that ends their episode.

    Attributes:
        env: The vector environment.

    Raises:
        AgentError: It is no vector environment, or resets its lanes at another time.
    """

    env: VectorEnv[Any, Any, Any]

    def __init__(self, env: Any) -> None:
        if not isinstance(env, VectorEnv):
            raise AgentError(f"env is {type(env).__name__}; pass what gymnasium.make_vec returns")
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise AgentError(
                f"the vector environment's autoreset_mode is {mode}; stable-baselines3 needs lanes that are reset in "
                'the step that ends them: gymnasium.make_vec(..., autoreset_mode="SameStep")'
            )
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Begin an episode in every lane; returns the first observations."""
        if any(options != self._options[0] for options in self._options):
            raise AgentError("the lanes were given different options; pass set_options one dictionary for all")
        observations, infos = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self.reset_infos = _told(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions (n, ...) of the next step."""
        self._chosen = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], Infos]:
        """Step every lane: observations, rewards (n,), which lanes ended (n,), and infos."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._chosen)
        lanes, dones = _told(infos, self.num_envs), terminated | truncated
        for i in np.flatnonzero(dones).tolist():
            last, final_info = lanes[i].pop("final_obs"), lanes[i].pop("final_info")
            self.reset_infos[i], lanes[i] = lanes[i], final_info | {"terminal_observation": last}
        for info, cut in zip(lanes, (truncated & ~terminated).tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        return observations, rewards.astype(np.float32), dones, lanes

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """The lanes' pictures, where render_mode is "rgb_array"."""
        return list(cast("Any", self.env.render())) if self.render_mode == "rgb_array" else [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The vector environment's attribute, once for each lane asked for."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> Never:
        """Refused: lanes have no attributes of their own."""
        raise AgentError(f"lanes of a native vector environment share {attr_name}; set it on env.env, for all of them")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> Never:
        """Refused: lanes have no methods of their own."""
        raise AgentError(
            f"lanes of a native vector environment have no method {method_name} of their own; call env.env's, or make "
            "a DummyVecEnv of single environments"
        )

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """False for each lane asked for: wrappers of single environments are not around lanes."""
        return [False] * len(list(self._get_indices(indices)))


def _told(infos: Mapping[str, Any], n_lanes: int) -> Infos:
    """What each lane is told, out of Gymnasium's dictionary of columns beside masks named with an underscore."""
    lanes: Infos = [{} for _ in range(n_lanes)]
    for name, column in infos.items():
        if name.startswith("_"):
            continue
        values = _told(cast("dict[str, Any]", column), n_lanes) if isinstance(column, dict) else list(column)
        for i in np.flatnonzero(infos.get(f"_{name}", np.ones(n_lanes))).tolist():
            lanes[i][name] = values[i]
    return lanes
