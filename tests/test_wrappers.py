"""The truth in info, the functional view, and local access to environments."""

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import chisquare

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.models import FiniteHorizonMDP, ModelError, TabularMDP, deep_sea, river_swim, van_der_wal
from lookahead_rl.models.generators import garnet_mdp, random_linear_mdp
from lookahead_rl.wrappers import GroundTruth, LocalAccess, ModelFuncEnv


def two_rewards() -> TabularMDP:
    """State 0 stays with reward 0 or 1, or ends with reward 5; the rewards of staying share one next state."""
    P = sp.csr_array(([0.2, 0.3, 0.5, 1.0], [0, 0, 1, 1], [0, 3, 4]), shape=(2, 2))
    return TabularMDP(P, np.array([0.0, 1.0, 5.0, 0.0]), 0.9, np.array([1.0, 0.0]), np.array([False, True]))


def staged() -> FiniteHorizonMDP:
    rng = np.random.default_rng(4)
    return FiniteHorizonMDP(
        rng.dirichlet(np.ones(4), size=(3, 4, 2)), rng.random((3, 4, 2)), 3, np.full(4, 0.25), features=None
    )


# The truth


def test_truth_is_the_optimal_value_and_the_regret_of_the_action() -> None:
    env = GroundTruth(ModelEnv(garnet_mdp(6, 3, 2, 0, gamma=0.9)))
    solution, model = env.unwrapped.solution(), env.unwrapped.model
    q = model.r + model.gamma * (model.P_rows @ solution.value).reshape(6, 3)
    s, info = env.reset(seed=0)
    assert info == {"prob": 1.0, "v_star": solution.value[s]}
    for action in (0, 1, 2, 1, 0):
        s_next, _, _, _, info = env.step(action)
        assert info["v_star"] == solution.value[s_next]
        assert info["regret"] == pytest.approx(q[s].max() - q[s, action], abs=1e-9)
        s = s_next


def test_discounted_regrets_of_an_episode_add_up_to_the_loss() -> None:
    """The performance difference lemma, on a deterministic problem where no expectation is needed."""
    env = GroundTruth(gym.make("DeepSea-v0", size=6, mdp_seed=1))
    _, info = env.reset(seed=0)
    loss, total, over = info["v_star"], 0.0, False
    while not over:
        _, reward, terminated, truncated, info = env.step(0)
        loss, total, over = loss - float(reward), total + info["regret"], terminated or truncated
    assert total == pytest.approx(loss, abs=1e-12)
    assert total > 0.5
    assert info["v_star"] == 0.0


@pytest.mark.parametrize("env_id", ["RandomMDP-v0", "LinearMDP-v0", "NeedleMDP-v0"])
def test_optimal_actions_have_no_regret(env_id: str) -> None:
    env = GroundTruth(gym.make(env_id))
    env.reset(seed=0)
    regrets = []
    for _ in range(8):
        states = np.array([env.unwrapped.state])
        solution, model = env.unwrapped.solution(), env.unwrapped.model
        if isinstance(model, TabularMDP):
            action = solution.policy[states[0]]
        else:
            h, s = divmod(int(states[0]), model.n_states)
            action = (
                solution.policy[h, s] if isinstance(model, FiniteHorizonMDP) else solution.policy(np.array([s]), h)[0]
            )
        _, _, terminated, truncated, info = env.step(action)
        regrets.append(info["regret"])
        if terminated or truncated:
            env.reset()
    assert max(regrets) < 1e-8


def test_the_wrapper_is_part_of_the_recorded_spec() -> None:
    env = GroundTruth(gym.make("RiverSwim-v0"))
    again = gym.make(env.spec)
    _, info = again.reset(seed=0)
    assert "v_star" in info
    assert env.spec.additional_wrappers[-1].name == "GroundTruth"


def test_truth_needs_a_known_model() -> None:
    with pytest.raises(ModelError, match="CartPoleEnv"):
        GroundTruth(gym.make("CartPole-v1"))


def test_nothing_but_the_wrapper_tells_the_truth() -> None:
    env = gym.make("RandomMDP-v0")
    _, info = env.reset(seed=0)
    assert set(info) == {"prob"}
    assert set(env.step(0)[4]) == {"prob"}


# The functional view


def joint_counts(pairs: list[tuple[int, float]]) -> dict[tuple[int, float], int]:
    counts: dict[tuple[int, float], int] = {}
    for pair in pairs:
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def test_functional_steps_have_the_law_of_the_environment() -> None:
    model, n = two_rewards(), 6000
    func, rng = ModelFuncEnv(model), np.random.default_rng(2)
    pairs = []
    for _ in range(n):
        s_next = func.transition(0, 0, rng)
        pairs.append((s_next, func.reward(0, 0, s_next, rng)))
    counts = joint_counts(pairs)
    law = {(0, 0.0): 0.2, (0, 1.0): 0.3, (1, 5.0): 0.5}
    assert set(counts) == set(law)
    assert chisquare([counts[key] for key in law], [n * p for p in law.values()]).pvalue > 1e-3
    env = ModelEnv(model)
    env.reset(seed=3)
    played = []
    for _ in range(n):
        env.reset(options={"state": 0})
        s_next, reward, *_ = env.step(0)
        played.append((int(s_next), reward))
    counts = joint_counts(played)
    assert chisquare([counts[key] for key in law], [n * p for p in law.values()]).pvalue > 1e-3


@pytest.mark.parametrize("model", [staged(), random_linear_mdp(9, 2, 3, 3, 1)])
def test_functional_episodes_run_through_the_stages(model) -> None:
    func, rng = ModelFuncEnv(model), np.random.default_rng(0)
    state = func.initial(rng)
    assert state < model.n_states
    for h in range(3):
        assert not func.terminal(state, rng)
        s_next = func.transition(state, 1, rng)
        reward = func.reward(state, 1, s_next, rng)
        expected = ModelEnv(model).simulator.sample(np.array([state]), np.array([1]), rng).rewards[0]
        assert reward == expected
        assert s_next // model.n_states == h + 1
        state = s_next
    assert func.terminal(state, rng)


def test_functional_terminal_states_are_the_models() -> None:
    func, rng = ModelFuncEnv(two_rewards()), np.random.default_rng(0)
    assert [func.terminal(s, rng) for s in (0, 1)] == [False, True]
    assert func.initial(rng) == 0


def test_functional_observations_are_the_environments() -> None:
    model = garnet_mdp(5, 2, 2, 0)
    for observation in ("state", "features"):
        func, env = ModelFuncEnv(model, observation), ModelEnv(model, observation)
        assert func.observation_space == env.observation_space
        assert func.action_space == env.action_space
        shown = func.observation(3, np.random.default_rng(0))
        np.testing.assert_array_equal(shown, env.observe(np.array([3]))[0])
        assert func.observation_space.contains(shown)


@pytest.mark.parametrize(("state", "action", "next_state"), [(2, 0, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)])
def test_impossible_transitions_are_refused(state: int, action: int, next_state: int) -> None:
    with pytest.raises(ModelError):
        ModelFuncEnv(two_rewards()).reward(state, action, next_state, np.random.default_rng(0))


# Local access to environments


def test_local_access_to_an_environment_shows_its_models_features() -> None:
    env = gym.make("RealizableMDP-v0", mdp_seed=3)
    model = env.unwrapped.model
    access = LocalAccess.from_env(env, rng=np.random.default_rng(0), budget=50)
    assert (access.terms.n_actions, access.terms.horizon, access.terms.budget) == (model.n_actions, model.horizon, 50)
    visit = access.begin()
    for _ in range(model.horizon):
        reached = access.query(visit.handle, 0)
        visit = type(visit)(reached.handles[0], reached.features[0], reached.stage)
    assert reached.terminated.all()
    assert not reached.features.any()
    assert access.queries == model.horizon


def test_local_access_needs_features_and_an_environment_of_this_package() -> None:
    with pytest.raises(ModelError, match="no state features"):
        LocalAccess.from_env(gym.make("RandomMDP-v0"), rng=np.random.default_rng(0))
    with pytest.raises(ModelError, match="CartPoleEnv"):
        LocalAccess.from_env(gym.make("CartPole-v1"), rng=np.random.default_rng(0))


@pytest.mark.parametrize("state", [-1, 10**6, 0.5, True, None, "0"])
def test_a_functional_environment_refuses_states_that_are_none(state):
    for model in (river_swim(), deep_sea(4, 0)):
        for observation in ("state", "features"):
            functional = ModelFuncEnv(model, observation)
            for ask in (functional.observation, functional.terminal):
                with pytest.raises(ModelError, match="states"):
                    ask(state, np.random.default_rng(0))


def test_a_functional_environment_is_one_of_a_decision_process():
    with pytest.raises(ModelError, match="model is a MarkovGame; pass a TabularMDP"):
        ModelFuncEnv(van_der_wal())
