"""One contract for every registered agent, and what single agents promise beyond it."""

import contextlib
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium import spaces

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import Agent, AgentError, agent_ids, load_agent, make_agent
from lookahead_rl.agents.base import sample_rows
from lookahead_rl.agents.storage import read_archive, write_archive
from lookahead_rl.models import ModelError

ROLLOUT = 32


@dataclass(frozen=True)
class Case:
    """What the contract needs to know of an agent: where it plays, and quick hyperparameters."""

    make_env: Callable[[], Any] = lambda: gym.make("FrozenLake-v1")
    kwargs: dict[str, Any] = field(default_factory=dict)
    side: str | None = None
    is_additive: bool = True


def game() -> Any:
    return pettingzoo.make("parallel", "lookahead_rl/RandomMarkovGame-v0", game_seed=1)


def realizable() -> Any:
    return gym.make("RealizableMDP-v0", n_states=8, horizon=3)


def budgeted() -> Any:
    return gym.make("ConstrainedLinearMDP-v0", n_states=8, n_actions=2, dim=3, horizon=3)


SMALL = {"policy_kwargs": {"net_arch": [8]}}
OFF_POLICY = {"buffer_size": 500, "learning_starts": 20, "batch_size": 8, "train_freq": 8, **SMALL}
CASES = {
    "A2C": Case(kwargs={"hyperparameters": {"n_steps": 8, **SMALL}}),
    "BackwardInduction-v0": Case(lambda: gym.make("DeepSea-v0")),
    "BestResponse-v0": Case(game, side="player_0"),
    # DQN's exploration rate falls over the steps known at each call of learn.
    "DQN": Case(kwargs={"hyperparameters": OFF_POLICY}, is_additive=False),
    "FictitiousPlay-v0": Case(game, {"side": "player_0", "knows_model": False}, side="player_0"),
    "GamePolicyIteration-v0": Case(game, side="player_0"),
    "HardViolationSoftmax-v0": Case(budgeted),
    "KSampleLookahead-v0": Case(
        kwargs={"hyperparameters": {"n_steps": ROLLOUT, "batch_size": 16, "advantage_epochs": 2, **SMALL}}
    ),
    "LSVI-v0": Case(realizable, {"budget": 300}),
    "LSVIUCB-v0": Case(lambda: gym.make("LinearMDP-v0", horizon=3)),
    "MinimaxQ-v0": Case(game, side="player_0"),
    "NashPlanner-v0": Case(game, side="player_0"),
    "PPO": Case(kwargs={"hyperparameters": {"n_steps": ROLLOUT, "batch_size": 16, "n_epochs": 2, **SMALL}}),
    "RolloutPlanner-v0": Case(realizable, {"budget": 300}),
    "SAC": Case(lambda: gym.make("Pendulum-v1"), {"hyperparameters": OFF_POLICY}),
    "SafeOptimisticPessimistic-v0": Case(budgeted),
    "SoftmaxPrimalDual-v0": Case(budgeted),
    "SparseSampling-v0": Case(realizable, {"budget": 300}),
    "TensorPlan-v0": Case(realizable, {"budget": 300}),
    "UCT-v0": Case(realizable, {"budget": 300}),
    "UCBVI-v0": Case(lambda: gym.make("DeepSea-v0"), {"reward_range": [-0.01, 1.0]}),
    "UniformGame-v0": Case(game, side="player_0"),
}


@pytest.fixture(params=agent_ids())
def case(request: pytest.FixtureRequest) -> tuple[str, Case]:
    return request.param, CASES.get(request.param, Case())


def made(case: tuple[str, Case], seed: int = 0) -> Agent:
    return make_agent(case[0], case[1].make_env(), seed=seed, **case[1].kwargs)


def learnt(case: tuple[str, Case], seed: int = 0, steps: int = 2 * ROLLOUT) -> Agent:
    return made(case, seed).learn(steps)


def observations(case: tuple[str, Case], n: int = 6) -> np.ndarray:
    """n observations that occur: the first ones of n episodes, and one after a step."""
    env, seen = case[1].make_env(), []
    for i in range(n - 1):
        shown, _ = env.reset(seed=i)
        seen.append(shown if case[1].side is None else shown[case[1].side])
    return np.stack([*seen, seen[0]])


def is_discrete(agent: Agent) -> bool:
    return isinstance(agent.action_space, spaces.Discrete)


# acting


def test_one_observation_gives_one_action_and_a_batch_gives_a_batch(case: tuple[str, Case]):
    agent, batch = learnt(case), observations(case)
    for deterministic in (False, True):
        one, state = agent.predict(batch[0], deterministic=deterministic)
        many, _ = agent.predict(batch, deterministic=deterministic)
        assert state is None
        assert np.shape(one) == agent.action_space.shape
        assert many.shape == (len(batch), *agent.action_space.shape)
        assert agent.action_space.contains(one)
        assert all(agent.action_space.contains(action) for action in many)


def test_an_action_can_be_handed_to_the_environment(case: tuple[str, Case]):
    agent, env = learnt(case), case[1].make_env()
    shown, _ = env.reset(seed=0)
    if case[1].side is None:
        env.step(agent.predict(shown)[0])
    else:
        other = make_agent("UniformGame-v0", env, side="player_1")
        env.step({"player_0": agent.predict(shown["player_0"])[0], "player_1": other.predict(shown["player_1"])[0]})


def test_what_is_no_observation_is_refused(case: tuple[str, Case]):
    agent = learnt(case)
    with pytest.raises(ValueError, match="shape"):
        agent.predict(np.zeros((2, 3, 5, 7)))


def test_action_probabilities_are_distributions_or_refused(case: tuple[str, Case]):
    agent, batch = learnt(case), observations(case)
    if not is_discrete(agent):
        with pytest.raises(AgentError, match="Box"):
            agent.action_probabilities(batch)
        return
    law = agent.action_probabilities(batch)
    assert law.shape == (len(batch), agent.action_space.n)
    assert (law >= 0).all()
    np.testing.assert_allclose(law.sum(axis=1), 1.0, atol=1e-12)


def test_predict_draws_from_the_action_probabilities(case: tuple[str, Case]):
    agent, n = learnt(case), 4000
    if not is_discrete(agent):
        pytest.skip("a density has no frequencies to compare")
    one = observations(case)[:1]
    law = agent.action_probabilities(one)[0]
    actions, _ = agent.predict(np.repeat(one, n, axis=0))
    frequencies = np.bincount(actions, minlength=law.size) / n
    assert (np.abs(frequencies - law) <= 4 * np.sqrt(law * (1 - law) / n) + 1e-9).all()


def test_deterministic_predictions_are_the_first_most_likely_actions(case: tuple[str, Case]):
    agent, batch = learnt(case), observations(case)
    first, _ = agent.predict(batch, deterministic=True)
    np.testing.assert_array_equal(first, agent.predict(batch, deterministic=True)[0])
    if is_discrete(agent):
        np.testing.assert_array_equal(first, agent.action_probabilities(batch).argmax(axis=1))


# randomness


def global_states() -> tuple[Any, list[Any]]:
    return random.getstate(), [part.tolist() for part in map(np.asarray, np.random.get_state())]  # noqa: NPY002


def test_equal_seeds_act_equally_whatever_else_draws(case: tuple[str, Case]):
    batch = observations(case)
    first = learnt(case, seed=3)
    expected = [first.predict(batch)[0] for _ in range(4)]
    random.random()
    second = learnt(case, seed=3)
    for actions in expected:
        np.random.random(5)  # noqa: NPY002 - the global state, which must not matter
        np.testing.assert_array_equal(second.predict(batch)[0], actions)


def test_global_random_states_are_left_alone(case: tuple[str, Case]):
    before = global_states()
    learnt(case).predict(observations(case))
    assert global_states() == before


# learning


def test_learning_twice_is_learning_once_twice_as_long(case: tuple[str, Case]):
    if not case[1].is_additive:
        pytest.skip("documented: its schedules run over the steps known at each call")
    batch = observations(case)
    once, twice = learnt(case, steps=4 * ROLLOUT), learnt(case).learn(2 * ROLLOUT)
    np.testing.assert_array_equal(once.predict(batch)[0], twice.predict(batch)[0])
    if is_discrete(once):
        np.testing.assert_array_equal(once.action_probabilities(batch), twice.action_probabilities(batch))


def test_a_callback_is_told_the_steps_and_can_stop(case: tuple[str, Case]):
    told: list[int] = []

    def stop_after_ten(agent: Agent, steps: int) -> bool:
        assert isinstance(agent, Agent)
        told.append(steps)
        return steps < 10

    made(case).learn(10 * ROLLOUT, callback=stop_after_ten)
    assert told == sorted(told)
    assert told == [0] or (len(told) <= 11 and told[-1] >= 10)


def test_bad_arguments_of_learn_are_refused_before_anything_is_learnt(case: tuple[str, Case]):
    agent = made(case)
    for steps in (-1, 2.5, True, "10"):
        with pytest.raises(ValueError, match="total_timesteps is"):
            agent.learn(steps)  # type: ignore[arg-type]
    with pytest.raises(AgentError, match="callback is int, which cannot be called"):
        agent.learn(10, callback=3)


# files


def test_a_loaded_agent_acts_as_the_saved_one_and_learns_on(case: tuple[str, Case], tmp_path: Path):
    agent, batch, path = learnt(case), observations(case), tmp_path / "agent"
    agent.predict(batch)
    agent.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["agent"]
    twin = type(agent).load(path, case[1].make_env())
    for deterministic in (False, False, True):
        expected = agent.predict(batch, deterministic=deterministic)[0]
        np.testing.assert_array_equal(twin.predict(batch, deterministic=deterministic)[0], expected)
    assert type(load_agent(path, case[1].make_env())) is type(agent)
    assert twin.learn(ROLLOUT) is twin
    twin.predict(batch)


def test_a_file_holds_arrays_and_json_and_nothing_else(case: tuple[str, Case], tmp_path: Path):
    path = tmp_path / "agent"
    learnt(case).save(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist()[0] == "agent.json"
        for name in archive.namelist()[1:]:
            with archive.open(name) as member:
                np.load(member, allow_pickle=False)


def test_a_damaged_file_is_refused_and_left_as_it_was(case: tuple[str, Case], tmp_path: Path):
    path = tmp_path / "agent"
    learnt(case).save(path)
    whole = path.read_bytes()
    for damaged in (
        b"",
        whole[:100],
        whole[: len(whole) // 2],
        whole.replace(b'"version": 1', b'"version": 2'),
        whole.replace(b'"config"', b'"confix"'),
    ):
        path.write_bytes(damaged)
        with pytest.raises(AgentError):
            load_agent(path, case[1].make_env())
        assert path.read_bytes() == damaged


def test_a_file_that_lacks_a_part_is_refused(case: tuple[str, Case], tmp_path: Path):
    path = tmp_path / "agent"
    learnt(case).save(path)
    content = read_archive(path)
    for part in ("config", "memory"):
        write_archive(path, {key: value for key, value in content.items() if key != part})
        with pytest.raises(AgentError, match="does not hold all of its agent"):
            load_agent(path, case[1].make_env())
    write_archive(path, {**content, "config": {**content["config"], "extra": 1}})
    with pytest.raises(AgentError, match="does not hold all of its agent"):
        load_agent(path, case[1].make_env())


def test_a_file_is_refused_for_other_spaces_and_other_kinds(case: tuple[str, Case], tmp_path: Path):
    path = tmp_path / "agent"
    agent = learnt(case)
    agent.save(path)
    content = read_archive(path)
    write_archive(path, {**content, "action_space": "Discrete(17)"})
    with pytest.raises(AgentError, match=r"was written for action_space Discrete\(17\), but the environment has"):
        load_agent(path, case[1].make_env())
    write_archive(path, {**content, "agent": "somewhere:Else"})
    with pytest.raises(AgentError, match="holds an agent of 'somewhere:Else', not of"):
        type(agent).load(path, case[1].make_env())


# environments that do not fit


@pytest.mark.parametrize(
    ("agent_id", "make_env", "message"),
    [
        ("DQN", lambda: gym.make("Pendulum-v1"), r"DQN refuses .*only supports .*Discrete"),
        ("SAC", lambda: gym.make("FrozenLake-v1"), r"SAC refuses .*only supports .*Box"),
        ("PPO", game, "PPO plays one agent's side of a Gymnasium environment"),
        ("PPO", lambda: "FrozenLake-v1", "not str; make one with gymnasium.make"),
        ("PPO", lambda: gym.make_vec("CartPole-v1", num_envs=2), "StableBaselinesVecEnv around what"),
        (
            "PPO",
            lambda: gym.make("LinearMDP-v0", n_states=10**9, observation="state"),
            'more than 100,000; make the environment with observation="features"',
        ),
        ("ValueIteration-v0", lambda: gym.make("DeepSea-v0"), "make BackwardInduction-v0"),
        ("ValueIteration-v0", lambda: gym.make("CartPole-v1"), "CartPoleEnv has no attribute P"),
        ("ValueIteration-v0", game, "pass a single Gymnasium environment"),
        ("BackwardInduction-v0", lambda: gym.make("FrozenLake-v1"), "make ValueIteration-v0"),
        ("NashPlanner-v0", lambda: gym.make("FrozenLake-v1"), "pass a Markov game with a known model"),
        ("UniformGame-v0", lambda: None, "env is NoneType; pass a Markov game"),
        (
            "Random-v0",
            lambda: gym.wrappers.TransformAction(
                gym.make("Pendulum-v1"), lambda a: a, spaces.Box(-np.inf, np.inf, (1,))
            ),
            "no uniform draw from the actions",
        ),
    ],
)
def test_an_environment_that_does_not_fit_is_refused_with_the_reason(
    agent_id: str, make_env: Callable[[], Any], message: str
):
    with pytest.raises((AgentError, ModelError), match=message):
        make_agent(agent_id, make_env())


def test_a_game_has_two_sides():
    with pytest.raises(ModelError, match="side is 'player_2'; pass 'player_0' or 'player_1'"):
        make_agent("NashPlanner-v0", game(), side="player_2")


# planners


def play(agent: Agent, env: gym.Env[Any, Any], seed: int) -> float:
    shown, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        shown, reward, terminated, truncated, _ = env.step(agent.predict(shown, deterministic=True)[0])
        total, over = total + float(reward), terminated or truncated
    return total


@pytest.mark.parametrize("observation", ["state", "features"])
def test_backward_induction_finds_the_treasure_of_the_deep_sea(observation: str):
    env = gym.make("DeepSea-v0", observation=observation)
    agent = make_agent("BackwardInduction-v0", env).learn(0)
    optimum = env.unwrapped.solution()
    assert play(agent, env, 0) == pytest.approx(env.unwrapped.model.rho @ optimum.value[0])


@pytest.mark.parametrize("observation", ["state", "features"])
def test_the_linear_plan_needs_no_list_of_states(observation: str):
    env = gym.make("LinearMDP-v0", n_states=10**9, observation=observation, mdp_seed=2)
    agent, model = make_agent("BackwardInduction-v0", env).learn(0), env.unwrapped.model
    weights = env.unwrapped.solution().weights
    states = np.random.default_rng(0).integers(0, model.n_states, 50)
    stages = np.arange(50) % model.horizon
    best = np.einsum("nad,nd->na", model.phi(states), weights[stages]).argmax(axis=1)
    shown = env.unwrapped.observe(stages * model.n_states + states)
    np.testing.assert_array_equal(agent.predict(shown, deterministic=True)[0], best)
    play(agent, env, 0)


def test_planners_act_through_observation_wrappers():
    env = gym.wrappers.FlattenObservation(gym.make("Taxi-v4"))
    wrapped = make_agent("ValueIteration-v0", env).learn(0)
    plain = make_agent("ValueIteration-v0", gym.make("Taxi-v4")).learn(0)
    codes = np.arange(500)
    np.testing.assert_array_equal(wrapped.action_probabilities(np.eye(500)[codes]), plain.action_probabilities(codes))
    assert play(wrapped, env, 1) == play(plain, gym.make("Taxi-v4"), 1)


@pytest.mark.parametrize("tol", ["a", None, 0.0])
def test_a_tolerance_is_checked_when_the_agent_is_made(tol: Any):
    with pytest.raises(ValueError, match=r"tol is .*; pass a positive number"):
        make_agent("ValueIteration-v0", gym.make("FrozenLake-v1"), tol=tol)


def test_states_that_look_the_same_and_need_different_actions_are_refused():
    env = gym.wrappers.TransformObservation(gym.make("FrozenLake-v1"), lambda s: s // 8, spaces.Discrete(2))
    with pytest.raises(AgentError, match="states 0 and 1 look the same but need different actions"):
        make_agent("ValueIteration-v0", env).learn(0)


def test_an_observation_that_no_state_shows_is_refused():
    agent = make_agent("ValueIteration-v0", gym.make("FrozenLake-v1")).learn(0)
    with pytest.raises(AgentError, match="observation 1 of the batch, 16, is shown by no state of the model"):
        agent.predict(np.array([3, 16]))


def test_a_planner_that_has_not_planned_says_so():
    with pytest.raises(AgentError, match=r"has not planned yet; call learn\(0\)"):
        make_agent("ValueIteration-v0", gym.make("FrozenLake-v1")).predict(0)


# uniform draws


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=2),
        spaces.MultiDiscrete([2, 5]),
        spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[1, 1], [0, 7]]),
        spaces.MultiBinary(4),
        spaces.Box(-2.0, 3.0, (2,)),
        spaces.Box(0, 255, (2, 2), np.uint8),
    ],
    ids=str,
)
def test_random_play_covers_every_bounded_action_space(space: spaces.Space[Any]):
    env = gym.make("FrozenLake-v1").unwrapped
    env.action_space = space
    agent = make_agent("Random-v0", env, seed=1)
    actions, _ = agent.predict(np.zeros(500, dtype=np.int64))
    assert actions.dtype == space.dtype
    assert all(space.contains(action) for action in actions)
    assert len(np.unique(actions, axis=0)) > 2
    assert space.contains(agent.predict(0, deterministic=True)[0])


def test_rows_are_sampled_by_their_probabilities_and_never_at_zero():
    law = np.array([[0.0, 0.25, 0.0, 0.75, 0.0]])
    draws = sample_rows(np.repeat(law, 8000, axis=0), np.random.default_rng(0))
    counts = np.bincount(draws, minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert counts[1] == pytest.approx(2000, abs=4 * np.sqrt(8000 * 0.25 * 0.75))


# stable-baselines3


def ppo(env: Any = None, **hyperparameters: Any) -> Agent:
    quick = {"n_steps": ROLLOUT, "batch_size": 16, "n_epochs": 1, **hyperparameters}
    return make_agent("PPO", env or gym.make("FrozenLake-v1"), hyperparameters=quick)


def test_the_wrapped_algorithm_learns_what_stable_baselines3_learns():
    from stable_baselines3 import PPO

    agent = ppo().learn(3 * ROLLOUT)
    alone = PPO(
        "MlpPolicy", gym.make("FrozenLake-v1"), n_steps=ROLLOUT, batch_size=16, n_epochs=1, seed=0, device="cpu"
    )
    alone.learn(3 * ROLLOUT)
    ours, theirs = agent.model.policy.state_dict(), alone.policy.state_dict()
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_stable_baselines3_callbacks_and_helpers_take_our_agents():
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    env = Monitor(gym.make("FrozenLake-v1"))
    evaluation = EvalCallback(env, eval_freq=ROLLOUT, n_eval_episodes=2, verbose=0)
    agent = ppo().learn(2 * ROLLOUT, callback=[evaluation, lambda agent, steps: True])
    assert evaluation.n_calls == 2 * ROLLOUT
    for other in (agent, make_agent("Random-v0", env)):
        mean, _ = evaluate_policy(other, env, n_eval_episodes=3)
        assert 0.0 <= mean <= 1.0


def test_several_environments_train_one_agent():
    from stable_baselines3.common.env_util import make_vec_env

    agent = ppo(make_vec_env("FrozenLake-v1", n_envs=3), n_steps=8, batch_size=12).learn(24)
    assert agent.model.num_timesteps == 24
    assert agent.predict(np.arange(16))[0].shape == (16,)


def test_dictionary_observations_get_the_policy_for_them():
    space = spaces.Dict({"state": spaces.Discrete(16), "twice": spaces.Box(0.0, 32.0, (1,))})
    env = gym.wrappers.TransformObservation(
        gym.make("FrozenLake-v1"), lambda s: {"state": s, "twice": np.array([2.0 * s], np.float32)}, space
    )
    agent = ppo(env).learn(ROLLOUT)
    batch = {"state": np.arange(3), "twice": np.zeros((3, 1), np.float32)}
    assert agent.predict(batch)[0].shape == (3,)
    assert np.shape(agent.predict({key: value[0] for key, value in batch.items()})[0]) == ()
    assert make_agent("Random-v0", env).predict(batch)[0].shape == (3,)


def test_hyperparameters_are_plain_data_from_the_start():
    from torch import nn

    agent = ppo(learning_rate="lin_1e-3", policy_kwargs={"activation_fn": "ReLU", "net_arch": [4]})
    assert agent.model.policy_kwargs["activation_fn"] is nn.ReLU
    assert agent.model.lr_schedule(0.5) == pytest.approx(5e-4)
    with pytest.raises(AgentError, match=r"hyperparameters\['policy_kwargs'\]\['activation_fn'\] is <class"):
        ppo(policy_kwargs={"activation_fn": nn.ReLU})
    with pytest.raises(AgentError, match=r"activation_fn'\] is 'Linnear'; pass a module of torch.nn that is made"):
        ppo(policy_kwargs={"activation_fn": "Linnear"})
    with pytest.raises(AgentError, match="PPO has no hyperparameter 'learning_rat'; near are: learning_rate"):
        ppo(learning_rat=1)
    with pytest.raises(AgentError, match=r"PPO refuses .* `batch_size` must be greater than 1"):
        ppo(batch_size=1)


def test_a_file_cannot_choose_the_algorithm_to_import(tmp_path: Path):
    path = tmp_path / "agent"
    ppo().save(path)
    content = read_archive(path)
    write_archive(path, {**content, "config": {**content["config"], "algorithm": "os:system"}})
    with pytest.raises(AgentError, match="the algorithm 'os:system' is not registered"):
        load_agent(path, gym.make("FrozenLake-v1"))


@pytest.mark.parametrize("agent_id", ["PPO", "A2C", "DQN", "SAC"])
def test_a_file_keeps_networks_optimisers_and_counters(agent_id: str, tmp_path: Path):
    import torch

    case, path = CASES[agent_id], tmp_path / "agent"
    agent = make_agent(agent_id, case.make_env(), **case.kwargs).learn(2 * ROLLOUT)
    agent.save(path)
    twin = load_agent(path, case.make_env())
    ours, theirs = agent.model.get_parameters(), twin.model.get_parameters()
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
    optimisers = [name for name in ours if name.endswith("optimizer")]
    assert optimisers
    assert all(ours[name]["state"] for name in optimisers)
    assert twin.model.num_timesteps == agent.model.num_timesteps == 2 * ROLLOUT
    assert twin.model._n_updates == agent.model._n_updates > 0
    if agent_id == "SAC":
        assert twin.model.log_ent_coef.item() == agent.model.log_ent_coef.item() != 0.0


def test_networks_of_another_shape_are_refused(tmp_path: Path):
    path = tmp_path / "agent"
    ppo(policy_kwargs={"net_arch": [4]}).save(path)
    content = read_archive(path)
    content["config"]["hyperparameters"]["policy_kwargs"]["net_arch"] = [5]
    write_archive(path, content)
    with pytest.raises(AgentError, match=r"shape \(4, 4\); expected float32 of shape \(4, 5\)"):
        load_agent(path, gym.make("FrozenLake-v1"))


def test_the_progress_bar_counts_every_step(capsys: pytest.CaptureFixture[str]):
    ppo().learn(2 * ROLLOUT, progress_bar=True)
    assert f"{2 * ROLLOUT}/{2 * ROLLOUT}" in capsys.readouterr().out


# archives


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def archive_with(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_hostile_archive_is_refused_without_running_code_or_filling_memory(tmp_path: Path):
    import io

    document = b'{"format": "lookahead-rl agent", "version": 1, "content": {"x": {"$array": 0}}}'
    pickled, huge = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([Bomb()], dtype=object), allow_pickle=True)
    np.lib.format.write_array_header_1_0(huge, {"shape": (2**45,), "fortran_order": False, "descr": "<f8"})
    hostile = {
        "does not match its": {"agent.json": document, "arrays/0.npy": pickled.getvalue()},
        "does not match": {"agent.json": document, "arrays/0.npy": huge.getvalue() + b"\0" * 80},
        "is not an agent file, or is damaged": {"agent.json": document},
        "not an agent file": {"agent.json": b'{"format": "something else"}'},
        "it has version 99": {"agent.json": document.replace(b"1,", b"99,")},
        "recursion": {"agent.json": b"[" * 100_000},
    }
    path = tmp_path / "hostile"
    for message, members in hostile.items():
        archive_with(path, members)
        with pytest.raises(AgentError, match=message):
            read_archive(path)
    archive_with(path, {"agent.json": document + b" " * 10**7}, zipfile.ZIP_DEFLATED)
    with pytest.raises(AgentError, match="is compressed"):
        read_archive(path)
    assert not Path("exploded").exists()


def test_what_a_file_cannot_hold_is_named(tmp_path: Path):
    path = tmp_path / "x"
    path.write_text("kept")
    for content, message in (
        ({"a": [1, {"b": object()}]}, r"agent\['a'\]\[1\]\['b'\] is <object"),
        ({"a": {3: 1}}, r"agent\['a'\] has the key 3; keys are text"),
        ({"a": np.array([object()])}, r"agent\['a'\] is an array of Python objects"),
    ):
        with pytest.raises(AgentError, match=message):
            write_archive(path, content)
    assert path.read_text() == "kept"
    content = {"a": [1, 2.5, None, True, "x", {"b": np.arange(6).reshape(2, 3)}], "c": np.array(3.0)}
    write_archive(path, content)
    read = read_archive(path)
    assert read["a"][:5] == content["a"][:5]
    np.testing.assert_array_equal(read["a"][5]["b"], np.arange(6).reshape(2, 3))
    assert read["c"].shape == ()


@pytest.mark.parametrize("seed", [None, -1, 0.5, True, "0"])
@pytest.mark.parametrize("name", ["Random-v0", "ValueIteration-v0", "PPO"])
def test_a_seed_is_a_whole_number(name, seed):
    with pytest.raises(ModelError, match="seed is"):
        make_agent(name, gym.make("RandomMDP-v0"), seed=seed)


@pytest.mark.parametrize("observation", [1.5, np.nan, None, "1", [1.5]])
def test_a_planner_rounds_no_observation(observation):
    agent = make_agent("ValueIteration-v0", gym.make("RandomMDP-v0")).learn(0)
    with pytest.raises(AgentError, match="observations has dtype"):
        agent.predict(observation)
    with pytest.raises(AgentError, match="observations has"):
        agent.action_probabilities(observation)


def test_a_planner_answers_an_empty_batch():
    agent = make_agent("ValueIteration-v0", gym.make("RandomMDP-v0")).learn(0)
    assert agent.action_probabilities(np.empty(0, np.int64)).shape == (0, 4)


@pytest.mark.parametrize(
    "actions",
    [np.array(3), np.zeros((4, 5), np.int64), np.ones(20, bool), np.full(20, -1), np.full(20, 4), np.zeros(3)],
)
def test_a_file_with_a_plan_for_something_else_is_refused(actions, tmp_path):
    env, path = gym.make("RandomMDP-v0"), tmp_path / "agent.zip"
    make_agent("ValueIteration-v0", env).learn(0).save(path)
    content = read_archive(path)
    content["memory"]["plan"]["actions"] = actions
    write_archive(path, content)
    with pytest.raises(AgentError):
        load_agent(path, env)


@pytest.mark.parametrize("content", [None, [], 3, {"memory": {"$array": None}}, {"memory": {"$array": 1e400}}])
def test_an_archive_with_a_hostile_tree_is_refused(content, tmp_path):
    path = tmp_path / "agent.zip"
    document = {"format": "lookahead-rl agent", "version": 1, "content": content}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("agent.json", json.dumps(document))
    with pytest.raises(AgentError):
        load_agent(path, gym.make("RandomMDP-v0"))


def test_no_flipped_bytes_get_past_the_agent_error(tmp_path):
    env, path = gym.make("RandomMDP-v0"), tmp_path / "agent.zip"
    make_agent("ValueIteration-v0", env).learn(0).save(path)
    intact, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(intact)
        for at in rng.integers(0, len(damaged), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(AgentError):
            load_agent(path, env)
