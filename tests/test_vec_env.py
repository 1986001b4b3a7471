"""Promises of Gymnasium's vector environments as stable-baselines3's."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from lookahead_rl.agents.errors import AgentError
from lookahead_rl.agents.vec_env import StableBaselinesVecEnv
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.envs.vector import VectorModelEnv
from lookahead_rl.models import TabularMDP

ENV_ID = "LargeActionMDP-v0"
SAME_STEP: dict[str, Any] = {"autoreset_mode": "SameStep"}


def chain() -> TabularMDP:
    """A deterministic chain 0, ..., 4: action 0 stays, 1 goes on, 2 ends the episode in state 4; distinct rewards."""
    next_states = np.array([[s, min(s + 1, 4), 4] for s in range(4)] + [[4, 4, 4]])
    r = np.arange(15.0).reshape(5, 3)
    r[4] = 0.0
    return TabularMDP(np.eye(5)[next_states], r, 0.9, np.eye(5)[0], np.arange(5) == 4)


@pytest.mark.parametrize("observation", ["state", "features"])
def test_every_step_is_that_of_dummy_vec_env(observation: str):
    dummy = DummyVecEnv([lambda: TimeLimit(ModelEnv(chain(), observation), 3)] * 4)
    ours = StableBaselinesVecEnv(VectorModelEnv(chain(), 4, 3, "SameStep", observation))
    rng, cut = np.random.default_rng(0), 0
    np.testing.assert_array_equal(dummy.reset(), ours.reset())
    for _ in range(40):
        actions = rng.integers(3, size=4)
        expected, actual = dummy.step(actions), ours.step(actions)
        for one, other in zip(expected[:3], actual[:3], strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(one, other)
        np.testing.assert_equal(expected[3], actual[3])
        np.testing.assert_equal(dummy.reset_infos, ours.reset_infos)
        cut += sum(info["TimeLimit.truncated"] for info in actual[3])
    assert cut > 5


def test_any_vector_environment_will_do():
    env = StableBaselinesVecEnv(SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3, autoreset_mode="SameStep"))
    env.seed(0)
    first = env.reset()
    again = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 3)
    again.seed(0)
    np.testing.assert_array_equal(first, again.reset())


def test_algorithms_train_on_it():
    env = VecMonitor(
        StableBaselinesVecEnv(gym.make_vec(ENV_ID, num_envs=4, digits=2, observation="features", **SAME_STEP))
    )
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0, device="cpu").learn(256)
    assert model.num_timesteps == 256
    assert {episode["l"] for episode in model.ep_info_buffer} == {20}


def test_seeds_and_options_work_at_the_next_reset_and_once():
    env = StableBaselinesVecEnv(gym.make_vec(ENV_ID, num_envs=3, **SAME_STEP))
    env.seed(3)
    first = env.reset()
    env.seed(3)
    np.testing.assert_array_equal(first, env.reset())
    env.set_options({"state": 4})
    assert env.reset().tolist() == [4, 4, 4]
    assert env.reset().tolist() != [4, 4, 4]
    env.set_options([{"state": 4}, {"state": 4}, {}])
    with pytest.raises(AgentError, match="pass set_options one dictionary for all"):
        env.reset()


def test_lanes_share_one_environment():
    env = StableBaselinesVecEnv(gym.make_vec(ENV_ID, num_envs=3, render_mode="rgb_array", **SAME_STEP))
    assert env.get_attr("model", [0, 2]) == [env.env.unwrapped.model] * 2
    assert env.env_is_wrapped(TimeLimit) == [False] * 3
    env.reset()
    assert [image.shape for image in env.get_images()] == [(420, 680, 3)] * 3
    with pytest.raises(AgentError, match="share w; set it on env"):
        env.set_attr("w", 1)
    with pytest.raises(AgentError, match="no method solution of their own"):
        env.env_method("solution")
    with pytest.raises(AttributeError):
        env.get_attr("no_such_attribute")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gym.make(ENV_ID), r"env is .*; pass what gymnasium\.make_vec returns"),
        (lambda: gym.make_vec(ENV_ID, num_envs=2), r"autoreset_mode is .*NEXT_STEP.*autoreset_mode=\"SameStep\""),
    ],
)
def test_what_it_cannot_wrap_is_refused(make: Any, message: str):
    with pytest.raises(AgentError, match=message):
        StableBaselinesVecEnv(make())
