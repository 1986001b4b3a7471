"""Promises of the simulators and the scalar environments."""

import hashlib
import importlib
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from scipy.stats import chisquare

import lookahead_rl
from lookahead_rl.envs.observations import MOST_INDICATORS
from lookahead_rl.envs.registration import GYMNASIUM, register_environments
from lookahead_rl.envs.simulators import LinearSimulator, TabularSimulator, simulator_of
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.models import (
    ConstrainedProblem,
    FiniteHorizonMDP,
    GenerativeModel,
    LargeActionMDP,
    LinearMDP,
    MarkovGame,
    ModelError,
    TableFeatures,
    TabularMDP,
    garnet_mdp,
    random_linear_game,
    random_linear_mdp,
    river_swim,
    same_model,
    save_model,
    van_der_wal,
)

IDS = [registration.id for registration in GYMNASIUM]
KINDS = ["state", "features"]
SEED = 20


def dirichlet(rng: np.random.Generator, *lead: int, n: int, dead: int = 1) -> np.ndarray:
    """Distributions over n outcomes, the first ``dead`` of them impossible."""
    return np.concatenate([np.zeros((*lead, dead)), rng.dirichlet(np.ones(n - dead), size=lead)], axis=-1)


def dense_mdp() -> TabularMDP:
    rng = np.random.default_rng(SEED)
    P, r = dirichlet(rng, 4, 3, n=4), rng.normal(size=(4, 3))
    P[3], r[3] = np.eye(4)[3], 0.0
    return TabularMDP(P, r, 0.9, dirichlet(rng, n=4), np.arange(4) == 3)


def outcome_mdp() -> TabularMDP:
    """A sparse law whose row 0 names state 1 twice, with a reward of its own for every outcome."""
    P = sp.csr_array((np.array([0.2, 0.3, 0.5, 1.0]), np.array([1, 1, 0, 1]), np.array([0, 3, 4])), shape=(2, 2))
    return TabularMDP(P, np.array([5.0, 7.0, -1.0, 2.0]), 0.9, np.array([1.0, 0.0]))


def finite_mdp(staged_law: bool, staged_rewards: bool) -> FiniteHorizonMDP:
    rng = np.random.default_rng(SEED)
    lead = (3,) if staged_law else ()
    P, r = dirichlet(rng, *lead, 4, 2, n=4, dead=0), rng.normal(size=((3,) if staged_rewards else ()) + (4, 2))
    P[..., 3, :, :], r[..., 3, :] = np.eye(4)[3], 0.0
    return FiniteHorizonMDP(P, r, 3, dirichlet(rng, n=4), np.arange(4) == 3)


def ragged_game() -> MarkovGame:
    rng = np.random.default_rng(SEED)
    P, r = dirichlet(rng, 3, 2, 3, n=3), rng.normal(size=(3, 2, 3))
    P[1, 1], r[1, 1] = 0.0, 0.0
    return MarkovGame(P, r, 0.9, dirichlet(rng, n=3), np.array([2, 1, 2]))


def signed_linear_mdp() -> LinearMDP:
    """A kernel through features of both signs: phi = (1, +-1), mu = (mean, difference)."""
    rng = np.random.default_rng(SEED)
    phi = np.stack([np.ones((5, 2)), rng.choice([-1.0, 1.0], size=(5, 2))], axis=-1)
    one, other = dirichlet(rng, 2, 2, n=5)
    mu = np.stack([(one + other) / 2, (one - other) / 2], axis=1)
    return LinearMDP(TableFeatures(phi), mu, np.array([0.5, 0.1]), np.eye(5)[0], 2)


def table_linear_mdp() -> LinearMDP:
    rng = np.random.default_rng(SEED)
    phi = TableFeatures(rng.dirichlet(np.ones(3), size=(6, 2)))
    return LinearMDP(phi, dirichlet(rng, 3, n=6), rng.random((4, 3)), dirichlet(rng, n=6), 4)


def finite_support_linear_mdp() -> LinearMDP:
    return random_linear_mdp(50, 3, 4, 3, SEED, support=4)


MODELS = {
    "dense": dense_mdp(),
    "sparse, one state named twice": outcome_mdp(),
    "Garnet": garnet_mdp(12, 3, 4, SEED, sparse=True),
    "finite, stationary": finite_mdp(False, False),
    "finite, staged rewards": finite_mdp(False, True),
    "finite, staged law": finite_mdp(True, False),
    "finite, staged": finite_mdp(True, True),
    "game": ragged_game(),
    "linear, finite support": finite_support_linear_mdp(),
    "linear, table of measures": table_linear_mdp(),
    "linear, signed": signed_linear_mdp(),
    "linear game": random_linear_game(20, 2, 3, 4, SEED, support=3),
}
PROCESSES = {name: model for name, model in MODELS.items() if "game" not in name}


def tabular(model: Any) -> TabularMDP | MarkovGame:
    """The model over its state codes, written out by the models themselves."""
    while not isinstance(model, TabularMDP | MarkovGame):
        model = model.to_tabular()
    return model


def law_of(model: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P (codes, actions, codes), expected rewards (codes, actions) and rho (codes,)."""
    table = tabular(model)
    S = table.n_states
    P = table.P_rows if isinstance(table.P_rows, np.ndarray) else table.P_rows.toarray()
    return P.reshape(S, -1, S), table.r.reshape(S, -1), table.rho


def assert_drawn_from(draws: np.ndarray, p: np.ndarray) -> None:
    """Chi-square at level 1e-4: one test in ten thousand would fail by chance, and the seeds are fixed."""
    counts = np.bincount(draws, minlength=p.size)
    assert counts[p == 0].sum() == 0
    if (p > 0).sum() > 1:
        assert chisquare(counts[p > 0], draws.size * p[p > 0] / p.sum()).pvalue > 1e-4


def some_pairs(P: np.ndarray, count: int = 12) -> list[tuple[int, int]]:
    """States and actions to test, among those that exist."""
    legal = np.argwhere(P.sum(axis=2) > 0)
    chosen = np.random.default_rng(SEED).permutation(len(legal))[:count]
    return [(int(s), int(a)) for s, a in legal[chosen]]


# the simulator


@pytest.mark.parametrize("name", MODELS)
def test_samples_follow_the_transition_law(name: str):
    P, _, rho = law_of(MODELS[name])
    simulator, rng = simulator_of(MODELS[name]), np.random.default_rng(SEED)
    assert isinstance(simulator, GenerativeModel)
    assert (simulator.n_states, simulator.n_actions) == P.shape[:2]
    for s, a in some_pairs(P):
        moved = simulator.sample(np.full(4000, s), np.full(4000, a), rng)
        assert_drawn_from(moved.next_states, P[s, a])
    assert_drawn_from(simulator.initial_states(4000, rng), rho)


@pytest.mark.parametrize("name", MODELS)
def test_sampled_rewards_terminations_and_probabilities_are_those_of_the_model(name: str):
    P, r, _ = law_of(MODELS[name])
    terminal = tabular(MODELS[name]).terminal
    simulator, rng = simulator_of(MODELS[name]), np.random.default_rng(SEED)
    states, actions = np.array(some_pairs(P, 60)).T
    moved = simulator.sample(states, actions, rng)
    np.testing.assert_array_equal(moved.terminated, terminal[moved.next_states])
    if "twice" in name:
        table = {(0, 0): {(5.0, 0.2, 1), (7.0, 0.3, 1), (-1.0, 0.5, 0)}, (1, 0): {(2.0, 1.0, 1)}}
        outcomes = zip(moved.rewards, moved.probabilities, moved.next_states, strict=True)
        assert all(o in table[s, a] for o, s, a in zip(outcomes, states.tolist(), actions.tolist(), strict=True))
    else:
        np.testing.assert_allclose(moved.rewards, r[states, actions], atol=1e-12)
        np.testing.assert_allclose(moved.probabilities, P[states, actions, moved.next_states], atol=1e-12)


def test_a_batch_is_no_different_from_its_parts():
    simulator = simulator_of(MODELS["Garnet"])
    states, actions = np.array([3, 1, 4]), np.array([0, 2, 1])
    whole = simulator.sample(states, actions, np.random.default_rng(SEED))
    rng = np.random.default_rng(SEED)
    parts = [simulator.sample(states[i : i + 1], actions[i : i + 1], rng).next_states[0] for i in range(3)]
    np.testing.assert_array_equal(whole.next_states, parts)


def test_a_finite_horizon_is_not_unrolled():
    rng = np.random.default_rng(SEED)
    P, r, rho = rng.dirichlet(np.ones(30), size=(30, 4)), rng.random((30, 4)), np.full(30, 1 / 30)
    short, long = (TabularSimulator(FiniteHorizonMDP(P, r, H, rho)) for H in (2, 10**6))
    assert short._law.outcomes.nbytes == long._law.outcomes.nbytes
    moved = long.sample(np.array([30 * 999_998, 30 * 999_999]), np.zeros(2, int), rng)
    assert moved.terminated.tolist() == [False, True]


@pytest.mark.parametrize(
    ("states", "actions", "message"),
    [
        ([0, 12], [0, 0], r"states\[1\] is 12; states run from 0 to 11"),
        ([-1, 0], [0, 0], r"states\[0\] is -1"),
        ([0, 1], [0, 3], r"actions\[1\] is 3; actions run from 0 to 2"),
        ([0.0], [0], r"states has dtype float64; pass integers"),
        ([0], [True], r"actions has dtype bool"),
        ([[0]], [[0]], r"states has shape \(1, 1\)"),
        ([0, 1], [0], r"2 states but 1 actions"),
    ],
)
@pytest.mark.parametrize("linear", [False, True])
def test_illegal_states_and_actions_are_named(states: list, actions: list, message: str, linear: bool):
    model = random_linear_mdp(4, 3, 3, 2, SEED, support=2) if linear else garnet_mdp(12, 3, 4, SEED)
    with pytest.raises(ModelError, match=message):
        simulator_of(model).sample(states, actions, np.random.default_rng(SEED))


def test_actions_outside_a_games_action_sets_are_refused():
    with pytest.raises(
        ModelError, match=r"actions\[0\] is the pair \(1, 1\); in state 1 the action of player_0 must be 0 to 0"
    ):
        simulator_of(ragged_game()).sample([1], [4], np.random.default_rng(SEED))


def test_signed_features_are_no_mixture_to_draw_from():
    with pytest.raises(ModelError, match=r"no mixture to sample from; use model\.to_tabular\(\)"):
        LinearSimulator(signed_linear_mdp())


def test_codes_beyond_int64_are_refused():
    with pytest.raises(ModelError, match="codes beyond int64"):
        simulator_of(random_linear_mdp(2**60, 2, 2, 10, SEED))


# the environments


@pytest.mark.parametrize("observation", KINDS)
@pytest.mark.parametrize("env_id", IDS)
def test_every_environment_passes_both_checkers_without_a_warning(env_id: str, observation: str):
    from stable_baselines3.common.env_checker import check_env as sb3_check_env  # slow, and not needed by a rollout

    env = gym.make(env_id, observation=observation, render_mode="ansi")
    check_env(env.unwrapped)
    sb3_check_env(env, skip_render_check=False)


@pytest.mark.parametrize("observation", KINDS)
@pytest.mark.parametrize("env_id", IDS)
def test_returns_have_the_types_that_every_checker_wants(env_id: str, observation: str):
    env = gym.make(env_id, observation=observation)
    first, info = env.reset(seed=SEED)
    second, reward, terminated, truncated, step_info = env.step(env.action_space.sample())
    for shown in (first, second):
        assert isinstance(shown, np.int64 if observation == "state" else np.ndarray)
        assert observation == "state" or (shown.dtype == np.float32 and shown.base is None)
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
    costs = {"cost": 0.0} if isinstance(env.unwrapped.model, ConstrainedProblem) else {}
    assert info == {"prob": 1.0} | costs
    assert step_info.keys() == info.keys()
    assert all(type(told) is float for told in step_info.values())


@pytest.mark.parametrize("env_id", IDS)
def test_observations_are_never_aliased(env_id: str):
    env = gym.make(env_id, observation="features")
    zero = np.zeros(env.action_space.shape, int)
    shown = [env.reset(seed=SEED)[0]] + [env.step(zero)[0] for _ in range(3)]
    kept = [array.copy() for array in shown]
    for array in shown:
        array[:] = -7.0
    assert not any(np.shares_memory(a, b) for i, a in enumerate(shown) for b in shown[:i])
    again = [env.reset(seed=SEED)[0]] + [env.step(zero)[0] for _ in range(3)]
    for array, copy in zip(again, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_state_observation_is_a_number_of_its_own():
    env = gym.make("RandomMDP-v0")
    before = env.reset(seed=SEED)[0]
    kept = int(before)
    env.step(0)
    assert before == kept


@pytest.mark.parametrize("name", PROCESSES)
def test_steps_follow_the_transition_law(name: str):
    P, _, rho = law_of(MODELS[name])
    env = ModelEnv(PROCESSES[name])
    env.reset(seed=SEED)
    for s, a in some_pairs(P, 3):
        draws = []
        for _ in range(600):
            env.reset(options={"state": s})
            env.step(a)
            draws.append(env.state)
        assert_drawn_from(np.array(draws), P[s, a])
    assert_drawn_from(np.array([env.reset() and env.state for _ in range(600)]), rho)


@pytest.mark.parametrize(
    "env_id", ["LinearMDP-v0", "HardLinearMDP-v0", "RealizableMDP-v0", "NeedleMDP-v0", "DeepSea-v0"]
)
def test_the_last_stage_terminates_and_nothing_truncates(env_id: str):
    env = gym.make(env_id)
    model = env.unwrapped.model
    env.reset(seed=SEED)
    for h in range(model.horizon):
        assert env.unwrapped.state // model.n_states == h
        _, _, terminated, truncated, _ = env.step(0)
        assert (terminated, truncated) == (h == model.horizon - 1, False)


def test_discounted_environments_truncate_at_the_time_limit():
    env = gym.make("RandomMDP-v0", max_episode_steps=5)
    env.reset(seed=SEED)
    assert [env.step(0)[2:4] for _ in range(5)] == [(False, False)] * 4 + [(False, True)]


def test_entering_a_terminal_state_terminates():
    env = ModelEnv(dense_mdp())
    for seed in range(20):
        env.reset(seed=seed)
        while not env.step(0)[2]:
            assert env.state != 3
        assert env.state == 3
        assert env.step(1)[1:4] == (0.0, True, False)


def test_an_episode_begins_in_the_state_asked_for():
    env = ModelEnv(finite_mdp(True, True))
    assert env.reset(options={"state": 6})[0] == 6
    assert env.state == 6
    for state, message in (
        (16, r"states\[0\] is 16"),
        (-1, r"states\[0\] is -1"),
        (1.5, "dtype float64"),
        ([1, 2], "2 codes"),
    ):
        with pytest.raises(ModelError, match=message):
            env.reset(options={"state": state})
    with pytest.raises(ModelError, match="options has 'sate'; reset knows 'state'"):
        env.reset(options={"sate": 6})
    assert env.state == 6


def test_misuse_is_explained():
    env = ModelEnv(dense_mdp())
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    env.reset(seed=SEED)
    with pytest.raises(ModelError, match="actions run from 0 to 2"):
        env.step(3)
    with pytest.raises(ModelError, match="actions has dtype float64; pass integers"):
        env.step(0.5)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="observation is 'pixels'"):
        ModelEnv(dense_mdp(), observation="pixels")
    with pytest.raises(ModelError, match="render_mode is 'human'"):
        ModelEnv(dense_mdp(), render_mode="human")
    with pytest.raises(ModelError, match=r"states\[1\] is 4; states run from 0 to 3"):
        env.observe([0, 4])
    with pytest.raises(TypeError, match="n_sates"):
        gym.make("RandomMDP-v0", n_sates=3)


# observations


def test_features_are_those_of_the_model():
    env = gym.make("RealizableMDP-v0", observation="features").unwrapped
    model = env.model
    shown, _ = env.reset(options={"state": 2 * model.n_states + 5})
    np.testing.assert_array_equal(shown, model.features[2, 5].astype(np.float32))


def test_linear_features_show_every_action_and_the_stage():
    env = gym.make("LinearMDP-v0", observation="features").unwrapped
    model = env.model
    shown, _ = env.reset(options={"state": 3 * model.n_states + 17})
    np.testing.assert_array_equal(shown[: -model.horizon - 1], model.phi(np.array([17])).reshape(-1).astype(np.float32))
    np.testing.assert_array_equal(shown[-model.horizon - 1 :], np.eye(model.horizon + 1)[3])


def test_models_without_features_show_indicators_of_state_and_stage():
    env = ModelEnv(finite_mdp(False, False), observation="features")
    np.testing.assert_array_equal(env.reset(options={"state": 6})[0], [0, 0, 1, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(ModelEnv(dense_mdp(), "features").observe([2]), [[0, 0, 1, 0]])


def test_indicators_of_many_states_are_refused():
    many = garnet_mdp(MOST_INDICATORS + 1, 1, 1, SEED)
    with pytest.raises(ModelError, match=r"give the model features, or use observation=\"state\""):
        ModelEnv(many, observation="features")
    assert ModelEnv(many).reset(seed=SEED)[0] in range(many.n_states)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("observation", KINDS)
def test_every_state_is_shown_by_a_point_of_the_space(name: str, observation: str):
    env = ModelEnv(PROCESSES[name], observation)
    shown = env.observe(np.arange(env.simulator.n_states))
    assert all(point in env.observation_space for point in shown)


@pytest.mark.parametrize("env_id", ["CliffWalking-v1", "Taxi-v4"])
def test_terminal_twins_show_the_state_of_the_source(env_id: str):
    source = gym.make(env_id).unwrapped
    env = gym.make("TabularMDP-v0", env_id=env_id).unwrapped
    assert env.observation_space.n == source.observation_space.n < env.model.n_states
    s, a, s_next = next(
        (s, a, row[0][1]) for s, rows in source.P.items() for a, row in rows.items() if row[0][3] and row[0][1] != s
    )
    env.reset(seed=SEED, options={"state": s})
    shown, _, terminated, _, _ = env.step(a)
    assert (shown, terminated) == (s_next, True)
    assert env.state >= source.observation_space.n


# what is known of an environment


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "Taxi-v4", "CliffWalking-v1"])
def test_tables_are_shown_as_gymnasium_shows_them(env_id: str):
    source, env = gym.make(env_id).unwrapped, gym.make("TabularMDP-v0", env_id=env_id).unwrapped
    np.testing.assert_array_equal(env.initial_state_distrib, source.initial_state_distrib)
    assert all(list(env.P[s][a]) == [tuple(o) for o in source.P[s][a]] for s in source.P for a in source.P[s])


def test_the_table_of_a_finite_horizon_is_over_codes():
    env = ModelEnv(finite_mdp(True, True))
    assert {s for _, s, _, _ in env.P[5][1]} <= set(range(8, 12))
    assert env.P[8 + 2][0][0][3] is True
    assert env.initial_state_distrib.shape == (16,)


@pytest.mark.parametrize("registration", GYMNASIUM, ids=IDS)
def test_reward_thresholds_are_the_computed_optimum_of_the_default_instance(registration: Any):
    env = gym.make(registration.id).unwrapped
    assert (registration.reward_threshold is None) == (registration.max_episode_steps is not None)
    if registration.reward_threshold is not None:
        assert registration.reward_threshold == pytest.approx(initial_value(env), abs=1e-12)


def initial_value(env: Any) -> float:
    """rho . v*_0, by backward induction on the written-out table; over some of the actions where there are too many."""
    if isinstance(env.model, LargeActionMDP):
        return initial_value_of_large(env.model)
    if isinstance(env.model, ConstrainedProblem):
        return initial_value_within_budget(env.model)
    return initial_value_of_process(env.model)


def initial_value_of_process(process: Any) -> float:
    model = tabular(process)
    v = np.zeros(model.n_states)
    for _ in range(process.horizon):
        v = (model.r + (model.P_rows @ v).reshape(model.r.shape)).max(axis=1)
    return float(model.rho @ v)


def initial_value_within_budget(model: ConstrainedProblem) -> float:
    """The least of v*_{r - y c} + y budget over the prices y, searched for by thirds."""

    def bound(price: float) -> float:
        return initial_value_of_process(model.weighted(1.0, -price)) + price * model.budget

    low, high = 0.0, 10.0
    for _ in range(80):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if bound(left) <= bound(right) else (left, high)
    return bound(low)


def initial_value_of_large(model: LargeActionMDP) -> float:
    """rho . v*_0 by backward induction over the targets of all states and random actions, in every state."""
    S = model.n_states
    words = np.concatenate([model.target, np.random.default_rng(SEED).integers(0, model.base, (500, model.n_digits))])
    states, digits = np.arange(S).repeat(len(words)), np.tile(words, (S, 1))
    v = np.zeros(S)
    for h in reversed(range(model.horizon)):
        expected = (1 - model.slip) * v[model.next_states(states, digits)] + model.slip * v.mean()
        v = (model.rewards(np.full_like(states, h), states, digits) + expected).reshape(S, -1).max(axis=1)
    return float(model.rho @ v)


def test_other_instances_have_no_reward_threshold():
    assert gym.make("DeepSea-v0", render_mode="ansi").spec.reward_threshold == 0.99
    assert gym.make("DeepSea-v0", size=4).spec.reward_threshold is None
    assert gym.make_vec("DeepSea-v0", num_envs=2, size=4).spec.reward_threshold is None


@pytest.mark.parametrize("env_id", IDS)
def test_the_exact_solution_is_computed_once(env_id: str):
    env = gym.make(env_id).unwrapped
    assert env.solution() is env.solution()
    assert env.solution().certificate.gap < 1e-6


def test_the_optimum_of_frozen_lake():
    """14/17 at gamma = 1 (FrozenLake-v1, 4x4, slippery)."""
    env = gym.make("TabularMDP-v0", env_id="FrozenLake-v1", gamma=1.0).unwrapped
    assert env.solution().value[0] == pytest.approx(14 / 17, abs=1e-9)


def test_a_billion_states_are_stepped():
    env = gym.make("LinearMDP-v0", n_states=10**9).unwrapped
    _, done = env.reset(seed=SEED), False
    while not done:
        shown, reward, done, _, info = env.step(1)
        assert shown in env.observation_space
        assert 0 <= reward <= 1
        assert 0 < info["prob"] <= 1
    assert env.state // 10**9 == env.model.horizon
    assert env.solution().certificate.gap < 1e-9


# making, registering, reproducing


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("RandomMDP-v0", {"n_states": 7, "branching": 2, "gamma": 0.5, "mdp_seed": 3}),
        ("LinearMDP-v0", {"n_states": 10**9, "horizon": 3, "observation": "features"}),
        ("HardLinearMDP-v0", {"horizon": 4, "dim": 3}),
        ("RealizableMDP-v0", {"stochastic": True}),
        ("NeedleMDP-v0", {"n_actions": 3}),
        ("RiverSwim-v0", {"n_states": 9}),
        ("DeepSea-v0", {"size": 4}),
        ("TabularMDP-v0", {"env_id": "FrozenLake-v1", "env_kwargs": {"map_name": "8x8"}, "gamma": 0.9}),
    ],
)
def test_specs_survive_json(env_id: str, kwargs: dict[str, Any]):
    env = gym.make(env_id, **kwargs)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert same_model(env.unwrapped.model, again.unwrapped.model)
    assert env.observation_space == again.observation_space


def test_seeds_choose_the_instance():
    models = [gym.make("RandomMDP-v0", mdp_seed=seed).unwrapped.model for seed in (1, 1, 2)]
    assert same_model(models[0], models[1])
    assert not same_model(models[0], models[2])


def test_a_model_file_becomes_an_environment(tmp_path: Path):
    path = str(tmp_path / "river.npz")
    save_model(river_swim(9), path)
    env = gym.make("TabularMDP-v0", model_path=path)
    assert same_model(env.unwrapped.model, river_swim(9))
    with pytest.raises(ModelError, match="model_path goes alone"):
        gym.make("TabularMDP-v0", model_path=path, gamma=0.5)
    save_model(ragged_game(), path)
    with pytest.raises(ModelError, match="holds a MarkovGame; games are PettingZoo environments"):
        gym.make("TabularMDP-v0", model_path=path)


def test_registering_again_changes_nothing():
    before = dict(gym.registry)
    register_environments()
    importlib.reload(importlib.import_module("lookahead_rl.envs.registration")).register_environments()
    importlib.reload(lookahead_rl)
    assert dict(gym.registry) == before


def test_the_prefix_registers_without_a_warning():
    code = (
        "import gymnasium as gym; env = gym.make('lookahead_rl:LinearMDP-v0', mdp_seed=3); print(env.reset(seed=1)[0])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == gym.make("LinearMDP-v0", mdp_seed=3).reset(seed=1)[0]


def rollout_digests() -> dict[str, str]:
    """A digest of everything a seeded rollout returns, of every environment, scalar and vector."""
    digests = {}
    for env_id in IDS:
        for env in (gym.make(env_id, observation="features"), gym.make_vec(env_id, num_envs=3)):
            digest = hashlib.sha256()
            env.action_space.seed(SEED)
            digest.update(env.reset(seed=SEED)[0].tobytes())
            for _ in range(30):
                shown, reward, terminated, truncated, info = env.step(env.action_space.sample())
                for part in (shown, reward, terminated, truncated, info["prob"]):
                    digest.update(np.asarray(part).tobytes())
                if isinstance(env, gym.Env) and (terminated or truncated):
                    digest.update(env.reset()[0].tobytes())
            digests[f"{env_id} {type(env.unwrapped).__name__}"] = digest.hexdigest()
    return digests


def test_equal_seeds_give_equal_rollouts_across_processes():
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=False, env={"PYTHONHASHSEED": "7"}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == rollout_digests()


if __name__ == "__main__":
    warnings.simplefilter("error")
    print(json.dumps(rollout_digests()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("env_id", IDS)
def test_pickled_environments_go_on_alike(env_id, kind):
    env = gym.make(env_id, observation=kind)
    env.reset(seed=SEED)
    copied = pickle.loads(pickle.dumps(env))
    for number in (0, 1, 0):
        action = np.full(env.action_space.shape, number)
        (one, *rest), (other, *same) = env.step(action), copied.step(action)
        np.testing.assert_array_equal(one, other)
        assert rest == same


@pytest.mark.parametrize("action", [None, "0", 0.0, True, [0], np.array([0]), 10**30])
def test_actions_that_are_no_integer_are_refused(action):
    env = ModelEnv(dense_mdp())
    env.reset(seed=SEED)
    with pytest.raises(ModelError, match=r"actions has (dtype|shape)"):
        env.step(action)


@pytest.mark.parametrize("env_id", [i for i in IDS if i not in ("RiverSwim-v0", "TabularMDP-v0")])
@pytest.mark.parametrize("seed", [None, -1, 0.5, True])
def test_a_wrong_seed_of_the_instance_is_named_as_given(env_id, seed):
    with pytest.raises(ModelError, match="mdp_seed is"):
        gym.make(env_id, mdp_seed=seed)


def test_games_and_other_things_are_no_decision_processes():
    for model in (van_der_wal(), None, "RandomMDP-v0"):
        with pytest.raises(ModelError, match=f"model is a {type(model).__name__}; pass a TabularMDP"):
            ModelEnv(model)
    with pytest.raises(ModelError, match="model is a NoneType; pass one of the models"):
        simulator_of(None)


def test_an_empty_env_id_is_not_taken_for_none():
    with pytest.raises(gym.error.Error):
        gym.make("TabularMDP-v0", env_id="")


@pytest.mark.parametrize("options", [5, "state", ["state"]])
def test_options_are_a_dictionary(options):
    with pytest.raises(ModelError, match=r"options is .*; pass a dictionary"):
        ModelEnv(dense_mdp()).reset(options=options)
