"""Promises of the native vector environment: Gymnasium's semantics, the scalar environment's law."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from scipy.stats import chisquare

from lookahead_rl.envs.registration import GYMNASIUM
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.envs.vector import VectorModelEnv
from lookahead_rl.models import (
    ConstrainedMDP,
    FiniteHorizonMDP,
    LinearMDP,
    ModelError,
    TableFeatures,
    TabularMDP,
    garnet_mdp,
)

IDS = [registration.id for registration in GYMNASIUM]
MODES = list(AutoresetMode)
LANES, LIMIT, SEED = 5, 4, 20


def scripted_mdp() -> TabularMDP:
    """A deterministic chain 0, ..., 5: action 0 stays, 1 goes on, 2 ends the episode in state 5; distinct rewards."""
    next_states = np.array([[s, min(s + 1, 5), 5] for s in range(5)] + [[5, 5, 5]])
    r = np.arange(18.0).reshape(6, 3)
    r[5] = 0.0
    return TabularMDP(np.eye(6)[next_states], r, 0.9, np.eye(6)[0], np.arange(6) == 5)


def scripted_finite() -> FiniteHorizonMDP:
    """The same chain for three stages."""
    chain = scripted_mdp()
    return FiniteHorizonMDP(chain.P, chain.r, 3, chain.rho, chain.terminal)


def scripted_linear() -> LinearMDP:
    """Three stages on which action i leads to state i."""
    phi = np.tile(np.eye(3), (3, 1, 1))
    return LinearMDP(TableFeatures(phi), np.eye(3), np.array([0.1, 0.2, 0.3]), np.eye(3)[0], 3)


def scripted_coins() -> TabularMDP:
    """The chain with every outcome written twice, each with probability 1/2: as deterministic, but for ``prob``."""
    chain = scripted_mdp()
    next_states = chain.P.reshape(18, 6).argmax(axis=1).repeat(2)
    P = sp.csr_array((np.full(36, 0.5), next_states, np.arange(0, 37, 2)), shape=(18, 6))
    return TabularMDP(P, chain.r, 0.9, chain.rho, chain.terminal)


def scripted_constrained() -> ConstrainedMDP:
    """The finite chain, on which going on costs more at each stage."""
    c = np.zeros((3, 6, 3))
    c[:, :5, 1] = np.array([[0.1], [0.2], [0.3]])
    return ConstrainedMDP(scripted_finite(), c, 0.25)


MODELS = {
    "constrained": scripted_constrained(),
    "discounted": scripted_mdp(),
    "coins": scripted_coins(),
    "finite": scripted_finite(),
    "linear": scripted_linear(),
}


def pair(model: Any, mode: AutoresetMode, observation: str = "state") -> tuple[SyncVectorEnv, VectorModelEnv]:
    """Gymnasium's vector environment of our scalar one, and ours."""
    sync = SyncVectorEnv([lambda: TimeLimit(ModelEnv(model, observation), LIMIT)] * LANES, autoreset_mode=mode)
    return sync, VectorModelEnv(model, LANES, LIMIT, mode, observation)


def assert_same(one: Any, other: Any) -> None:
    """Equal in structure, types, dtypes, shapes and values."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray) and one.dtype == object:
        assert one.shape == other.shape
        assert other.dtype == object
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("observation", ["state", "features"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_every_step_is_that_of_gymnasiums_sync_vector_env(mode: AutoresetMode, name: str, observation: str):
    sync, ours = pair(MODELS[name], mode, observation)
    rng = np.random.default_rng(SEED)
    assert_same(sync.reset(seed=1), ours.reset(seed=1))
    endings = 0
    for _ in range(60):
        actions = rng.choice(3, size=LANES, p=[0.3, 0.6, 0.1])
        expected, actual = sync.step(actions), ours.step(actions)
        assert_same(expected, actual)
        ended = actual[2] | actual[3]
        endings += ended.sum()
        if mode is AutoresetMode.DISABLED and ended.any():
            options = [{"reset_mask": ended.copy()} for _ in range(2)]
            assert_same(sync.reset(options=options[0]), ours.reset(options=options[1]))
    assert endings > 20


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_lanes_can_be_reset_by_mask_in_every_mode(mode: AutoresetMode):
    sync, ours = pair(MODELS["discounted"], mode)
    sync.reset(seed=1), ours.reset(seed=1)
    for k in range(12):
        actions = np.arange(LANES) % 3
        assert_same(sync.step(actions), ours.step(actions))
        mask = np.arange(LANES) == k % LANES
        assert_same(sync.reset(options={"reset_mask": mask.copy()}), ours.reset(options={"reset_mask": mask}))


def test_stepping_an_ended_lane_is_an_error_where_nothing_resets():
    sync, ours = pair(MODELS["discounted"], AutoresetMode.DISABLED)
    ending = np.array([1, 2, 1, 2, 1])
    for env in (sync, ours):
        env.reset(seed=1)
        env.step(ending)
    with pytest.raises(AssertionError):
        sync.step(ending)
    with pytest.raises(ResetNeeded, match=r"lanes \[1, 3\] have ended; call reset"):
        ours.step(ending)


def test_the_action_of_a_lane_about_to_be_reset_is_ignored():
    env = VectorModelEnv(scripted_mdp(), 2)
    env.reset(seed=1)
    env.step([2, 1])
    shown, rewards, _, _, _ = env.step([-99, 1])
    assert (shown.tolist(), rewards.tolist()) == ([0, 2], [0.0, 4.0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", IDS)
def test_every_id_makes_a_native_vector_environment(env_id: str, mode: AutoresetMode):
    env = gym.make_vec(env_id, num_envs=3, autoreset_mode=mode.value)
    scalar = gym.make(env_id)
    assert isinstance(env, VectorModelEnv)
    assert env.metadata["autoreset_mode"] is mode
    assert env.single_observation_space == scalar.observation_space
    assert env.single_action_space == scalar.action_space
    assert env.action_space == batch_space(scalar.action_space, 3)
    shown, _ = env.reset(seed=SEED)
    assert shown in env.observation_space
    shown, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
    assert shown in env.observation_space
    assert [x.dtype for x in (rewards, terminated, truncated)] == [np.float64, np.bool_, np.bool_]


def test_the_registered_time_limit_reaches_the_lanes():
    env = gym.make_vec("RandomMDP-v0", num_envs=2)
    env.reset(seed=SEED)
    truncated = [env.step([0, 0])[3].tolist() for _ in range(100)]
    assert truncated == [[False, False]] * 99 + [[True, True]]
    unlimited = gym.make_vec("RandomMDP-v0", num_envs=2, max_episode_steps=-1)
    unlimited.reset(seed=SEED)
    assert not any(unlimited.step([0, 0])[3].any() for _ in range(150))


def test_truncation_and_termination_can_meet():
    env = VectorModelEnv(scripted_mdp(), 2, max_episode_steps=1)
    env.reset(seed=1)
    _, _, terminated, truncated, _ = env.step([2, 1])
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [True, True])


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_lanes_follow_the_law_of_the_model(mode: AutoresetMode):
    """Chi-square of next states given state and action, and of first states, over one long rollout."""
    model = garnet_mdp(4, 2, 3, SEED)
    env = VectorModelEnv(model, 64, 7, mode)
    rng = np.random.default_rng(SEED)
    before, _ = env.reset(seed=SEED)
    moves, starts, ended = np.zeros((4, 2, 4)), np.bincount(before, minlength=4), np.zeros(64, bool)
    for _ in range(300):
        actions = rng.integers(2, size=64)
        shown, _, terminated, truncated, infos = env.step(actions)
        fresh = ended if mode is AutoresetMode.NEXT_STEP else terminated | truncated
        reached = shown.copy()
        if "final_obs" in infos:
            reached[fresh] = infos["final_obs"][fresh].astype(int)
        played = ~fresh if mode is AutoresetMode.NEXT_STEP else np.ones(64, bool)
        np.add.at(moves, (before[played], actions[played], reached[played]), 1)
        starts += np.bincount(shown[fresh], minlength=4)
        before, ended = shown, terminated | truncated
    for s in range(4):
        for a in range(2):
            p = model.P[s, a]
            assert moves[s, a][p == 0].sum() == 0
            assert chisquare(moves[s, a][p > 0], moves[s, a].sum() * p[p > 0]).pvalue > 1e-4
    assert chisquare(starts, starts.sum() * model.rho).pvalue > 1e-4


def test_equal_seeds_give_equal_rollouts():
    rollouts = []
    for seed in (3, 3, 4):
        env = gym.make_vec("RandomMDP-v0", num_envs=4, max_episode_steps=5)
        first, _ = env.reset(seed=seed)
        rollouts.append(np.concatenate([first, *(env.step([0, 1, 2, 3])[0] for _ in range(12))]))
    np.testing.assert_array_equal(rollouts[0], rollouts[1])
    assert (rollouts[0] != rollouts[2]).any()


@pytest.mark.parametrize("observation", ["state", "features"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_what_is_returned_is_never_touched_again(mode: AutoresetMode, observation: str):
    env = VectorModelEnv(scripted_mdp(), 3, 2, mode, observation)
    returned = [env.reset(seed=1), *(env.step([0, 1, 2]) for _ in range(6))]
    arrays = [a for parts in returned for a in flatten(parts)]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    for array in arrays:
        array.flags.writeable = False
    for _ in range(6):
        env.step([0, 1, 2])


def flatten(parts: Any) -> list[np.ndarray]:
    """Every numeric array in nested tuples, dicts and object arrays."""
    if isinstance(parts, np.ndarray) and parts.dtype != object:
        return [parts]
    inner = parts.values() if isinstance(parts, dict) else parts
    return [a for part in inner if isinstance(part, np.ndarray | dict | tuple) for a in flatten(part)]


def test_lanes_begin_in_the_states_asked_for():
    env = VectorModelEnv(scripted_mdp(), 3)
    assert env.reset(options={"state": 2})[0].tolist() == [2, 2, 2]
    assert env.reset(options={"state": [3, 0, 4]})[0].tolist() == [3, 0, 4]
    mask = np.array([True, False, True])
    assert env.reset(options={"state": [1, 2], "reset_mask": mask})[0].tolist() == [1, 0, 2]
    assert env.states.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": [1, 2]}, r'options\["state"\] has 2 codes; pass one, or one for each of 3 lanes'),
        ({"state": 6}, r"states\[0\] is 6"),
        ({"reset_mask": np.array([True, False])}, r"pass a boolean array of shape \(3,\)"),
        ({"reset_mask": [True, False, True]}, r"pass a boolean array"),
        ({"reset_mask": np.zeros(3, bool)}, "selects no lane"),
        ({"mask": np.ones(3, bool)}, "options has 'mask'; reset knows 'state', 'reset_mask'"),
    ],
)
def test_bad_options_are_named_and_change_nothing(options: dict[str, Any], message: str):
    env = VectorModelEnv(scripted_mdp(), 3)
    env.reset(options={"state": 1})
    with pytest.raises(ModelError, match=message):
        env.reset(options=options)
    assert env.states.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1], r"actions has shape \(2,\); pass one action for each of 3 lanes"),
        ([0, 1, 3], r"actions\[2\] is 3; actions run from 0 to 2"),
        ([0.0, 1.0, 2.0], "actions has dtype float64"),
        (1, r"actions has shape \(\)"),
    ],
)
def test_bad_actions_are_named_and_change_nothing(actions: Any, message: str):
    env = VectorModelEnv(scripted_mdp(), 3, max_episode_steps=2)
    env.reset(seed=1)
    with pytest.raises(ModelError, match=message):
        env.step(actions)
    assert env.states.tolist() == [0, 0, 0]
    assert env.step([1, 1, 1])[3].tolist() == [False, False, False]


def test_bad_arguments_are_named():
    for kwargs, message in (
        ({"num_envs": 0}, "num_envs is 0"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"autoreset_mode": "Never"}, "autoreset_mode is 'Never'; pass a member of AutoresetMode"),
        ({"observation": "pixels"}, "observation is 'pixels'"),
    ):
        with pytest.raises(ModelError, match=message):
            VectorModelEnv(scripted_mdp(), **kwargs)  # type: ignore[arg-type]
    with pytest.raises(ResetNeeded, match="call reset"):
        VectorModelEnv(scripted_mdp(), 2).step([0, 0])
    with pytest.raises(ResetNeeded, match="call reset"):
        VectorModelEnv(scripted_mdp(), 2).reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_gymnasiums_vector_wrappers_count_episodes(mode: AutoresetMode):
    env = RecordEpisodeStatistics(VectorModelEnv(scripted_mdp(), 2, 3, mode))
    env.reset(seed=1)
    lengths = []
    for _ in range(12):
        infos = env.step(np.array([1, 2]))[-1]
        if "episode" in infos:
            lengths.append((infos["episode"]["l"] * infos["_episode"]).tolist())
    assert (
        lengths[:3] == [[0, 1], [3, 1], [0, 1]] if mode is AutoresetMode.NEXT_STEP else lengths[:2] == [[0, 1], [0, 1]]
    )


def test_a_billion_states_in_many_lanes():
    env = gym.make_vec("LinearMDP-v0", num_envs=100, n_states=10**9)
    env.reset(seed=SEED)
    for h in range(1, 9):
        shown, rewards, terminated, _, _ = env.step(np.arange(100) % 4)
        assert (shown // 10**9 == h).all()
        assert ((rewards >= 0) & (rewards <= 1)).all()
        assert (terminated == (h == 8)).all()


def test_a_limit_beyond_int64_is_refused():
    with pytest.raises(ModelError, match=r"max_episode_steps is .*; pass at most"):
        gym.make_vec("RandomMDP-v0", num_envs=2, max_episode_steps=2**70)


def test_pickled_vector_environments_go_on_alike():
    env = gym.make_vec("DeepSea-v0", num_envs=3, observation="features")
    env.reset(seed=0)
    copied = pickle.loads(pickle.dumps(env))
    for one, other in zip(env.step([0, 1, 0]), copied.step([0, 1, 0]), strict=True):
        np.testing.assert_equal(one, other)
