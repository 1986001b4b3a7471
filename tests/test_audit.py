"""audit: the exact value of any policy, beside the optimum."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from gymnasium import spaces, wrappers
from hypothesis import given, settings
from hypothesis import strategies as st

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import AgentError, make_agent
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.evaluation.linear_support import reachable_states, support_values
from lookahead_rl.evaluation.policies import action_table
from lookahead_rl.models import FiniteHorizonMDP, LinearMDP, ModelError, TabularMDP, from_gymnasium
from lookahead_rl.wrappers.opponents import mode

SMALL = {"policy_kwargs": {"net_arch": [16]}}
QUICK = {
    "PPO": {"n_steps": 64, "batch_size": 32, "n_epochs": 4, **SMALL},
    "DQN": {"buffer_size": 500, "learning_starts": 20, **SMALL},
}


def learner(name: str, env: Any, steps: int = 256, seed: int = 0) -> Any:
    return make_agent(name, env, seed=seed, hyperparameters=QUICK[name]).learn(steps)


def simulated(policy: Any, make_env: Callable[[], Any], gamma: float, lanes: int, steps: int) -> tuple[float, float]:
    """Mean discounted return of episodes cut after some steps, and its standard error."""
    envs = [make_env().unwrapped for _ in range(lanes)]
    shown = np.stack([env.reset(seed=i)[0] for i, env in enumerate(envs)])
    returns, live = np.zeros(lanes), np.ones(lanes, dtype=bool)
    for t in range(steps):
        actions, _ = policy.predict(shown)
        for i in np.flatnonzero(live):
            shown[i], reward, over, _, _ = envs[i].step(actions[i])
            returns[i] += gamma**t * float(reward)
            live[i] = not over
    return float(returns.mean()), float(returns.std() / np.sqrt(lanes))


class OnlyPredicts:
    """A policy of the least surface: always the same action; its samples, if asked for, are noise."""

    def __init__(self, action: int, *, state: Any = None) -> None:
        self.action, self.state = action, state

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        assert deterministic
        return np.full(len(observation), self.action), self.state


def corridor(gamma: float = 0.9) -> TabularMDP:
    """Three states in a row: action 1 walks right with probability 1/2, action 0 stays and pays 0.1; the end pays 1."""
    P, r = np.zeros((3, 2, 3)), np.zeros((3, 2))
    for s in range(2):
        P[s, 0, s], r[s, 0] = 1.0, 0.1
        P[s, 1, s] = P[s, 1, s + 1] = 0.5
    r[1, 1] = 0.5
    P[2, :, 2] = 1.0
    return TabularMDP(P, r, gamma, np.array([0.75, 0.25, 0.0]), np.array([False, False, True]))


def corridor_env(gamma: float = 0.9) -> gym.Env[Any, Any]:
    return ModelEnv(corridor(gamma))


# values


def test_a_value_worked_out_by_hand():
    """Always walking: v(1) = 1/2 + 9/20 v(1) = 10/11, v(0) = 9/20 (v(0) + v(1)) = 90/121; always staying pays 1."""
    env = corridor_env()
    walk, stay = audit(np.array([1, 1, 0]), env), audit(np.array([0, 0, 0]), env)
    np.testing.assert_allclose(walk.values, [90 / 121, 10 / 11, 0.0], rtol=1e-12)
    assert walk.value == pytest.approx(0.75 * 90 / 121 + 0.25 * 10 / 11, rel=1e-12)
    np.testing.assert_allclose(stay.values, [1.0, 1.0, 0.0], rtol=1e-12)
    # The best of both worlds: staying for ever pays 1, more than walking on from either state.
    np.testing.assert_allclose(walk.optimal_values, [1.0, 1.0, 0.0], atol=1e-7)
    assert walk.regret == pytest.approx(1.0 - walk.value, abs=1e-7)
    assert stay.regret == pytest.approx(0.0, abs=1e-7)
    assert walk.gamma == 0.9
    assert walk.horizon is None


def test_a_law_of_actions_is_mixed_and_its_mode_is_not():
    """Half staying, half walking: v(1) = 1/2 (1/10 + 9/10 v(1)) + 1/2 (1/2 + 9/20 v(1)), so v(1) = 12/13."""
    env, law = corridor_env(), np.array([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]])
    assert audit(law, env).values[1] == pytest.approx(12 / 13, rel=1e-12)
    greedy = audit(law, env, deterministic=True)
    np.testing.assert_array_equal(greedy.policy[:2], [[0.0, 1.0], [1.0, 0.0]])
    assert greedy.values[1] == pytest.approx(1.0, rel=1e-12)
    assert greedy.deterministic


def test_a_horizon_gives_the_expected_return_of_episodes_cut_there():
    """Two undiscounted steps of walking from state 0 pay 1/2 with probability 1/2, from state 1 1/2 + 1/4."""
    result = audit(np.array([1, 1, 0]), corridor_env(), horizon=2)
    np.testing.assert_allclose(result.values, [0.25, 0.75, 0.0], rtol=1e-12)
    # One step ahead of the end the best from state 1 is walking, which pays 1/2; from state 0 staying.
    np.testing.assert_allclose(result.optimal_values, [0.3, 0.75, 0.0], rtol=1e-12)
    assert (result.gamma, result.horizon) == (1.0, 2)
    discounted = audit(np.array([1, 1, 0]), corridor_env(), horizon=2, gamma=0.5)
    np.testing.assert_allclose(discounted.values, [0.125, 0.5 + 0.125, 0.0], rtol=1e-12)


def test_frozen_lake_is_solved_as_the_literature_says():
    """The optimal success probability of the 4 x 4 lake is 14/17; uniform play in it is worth far less."""
    env = gym.make("FrozenLake-v1")
    result = audit(make_agent("Random-v0", env), env, gamma=1.0)
    assert result.optimal_value == pytest.approx(14 / 17, abs=1e-9)
    assert 0.0 < result.value < 0.02


def test_the_optimal_policy_has_no_regret_anywhere():
    for env_id in ("FrozenLake-v1", "Taxi-v4", "CliffWalking-v1", "RiverSwim-v0", "RandomMDP-v0"):
        env = gym.make(env_id)
        result = audit(make_agent("ValueIteration-v0", env).learn(0), env)
        assert np.abs(result.regrets).max() <= 1e-7, env_id
        assert result.regret_bounds[0] == 0.0
        assert result.regret_bounds[1] <= 1e-7
    for env_id in ("DeepSea-v0", "LinearMDP-v0", "HardLinearMDP-v0", "RealizableMDP-v0", "NeedleMDP-v0"):
        env = gym.make(env_id)
        assert np.abs(audit(make_agent("BackwardInduction-v0", env).learn(0), env).regrets).max() <= 1e-12, env_id


# independent methods


def occupancy(model: TabularMDP, law: np.ndarray) -> np.ndarray:
    """Expected discounted visits (S,) of the policy, by a dense solve of the transposed equation."""
    P = model.P_rows if isinstance(model.P, np.ndarray) else model.P_rows.toarray()
    chain = np.einsum("sa,sat->st", law, P.reshape(*law.shape, -1)) * ~model.terminal[:, None]
    return np.linalg.solve(np.eye(len(law)) - model.gamma * chain.T, model.rho)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), gamma=st.sampled_from([None, 0.5, 0.99]))
def test_value_and_regret_agree_with_the_visits_of_the_policy(seed: int, gamma: float | None):
    """value = <visits, r_pi>, and regret = <visits, losses> (Kakade, Langford, ICML 2002, Lemma 6.1)."""
    env = gym.make("RandomMDP-v0", n_states=12, n_actions=3, mdp_seed=seed % 1000)
    model = env.unwrapped.model
    law = np.random.default_rng(seed).dirichlet(np.ones(3), size=12)
    result = audit(law, env, gamma=gamma)
    model = TabularMDP(model.P, model.r, result.gamma, model.rho, model.terminal)
    visits = occupancy(model, law)
    P = model.P_rows if isinstance(model.P, np.ndarray) else model.P_rows.toarray()
    q = model.r + model.gamma * (P @ result.optimal_values).reshape(model.r.shape)
    losses = (result.optimal_values[:, None] - q) * law
    assert result.value == pytest.approx(visits @ (law * model.r).sum(axis=1), rel=1e-9)
    assert result.regret == pytest.approx(visits @ losses.sum(axis=1), abs=1e-6)
    low, high = result.value_bounds
    assert low <= result.value <= high <= low + 1e-6


LEARNT_ON = [
    ("PPO", "FrozenLake-v1", {}, 0.9),
    ("DQN", "FrozenLake-v1", {}, 0.9),
    ("PPO", "Taxi-v4", {}, 0.8),
    ("PPO", "RandomMDP-v0", {"observation": "features"}, 0.8),
    ("DQN", "RiverSwim-v0", {}, 0.8),
    ("DQN", "DeepSea-v0", {}, None),
    ("PPO", "LinearMDP-v0", {"observation": "features"}, None),
    ("PPO", "LinearMDP-v0", {"observation": "features", "n_states": 10**9}, None),
]


@pytest.mark.parametrize(("name", "env_id", "kwargs", "gamma"), LEARNT_ON)
def test_audit_agrees_with_simulated_returns(name: str, env_id: str, kwargs: dict[str, Any], gamma: float | None):
    """Within four standard errors, and what the cut of long episodes can hide."""
    env = gym.make(env_id, **kwargs)
    agent = learner(name, env)
    exact = audit(agent, env, gamma=gamma)
    steps = exact.horizon or 60
    mean, error = simulated(agent, lambda: gym.make(env_id, **kwargs), exact.gamma, 200, steps)
    cut = 0.0 if gamma is None else gamma**steps * np.abs(exact.values).max()
    assert abs(exact.value - mean) <= 4 * error + cut + 1e-6
    # The bare algorithm and its policy are audited alike.
    assert audit(agent.model, env, gamma=gamma).value == exact.value
    assert audit(agent.model.policy, env, gamma=gamma).value == exact.value


def test_a_horizon_is_what_episode_returns_average():
    env = gym.make("Taxi-v4")
    agent = learner("PPO", env, 64)
    exact = audit(agent, env, horizon=20)
    mean, error = simulated(agent, lambda: gym.make("Taxi-v4"), 1.0, 200, 20)
    assert abs(exact.value - mean) <= 4 * error


def test_deterministic_audits_what_deterministic_predictions_do():
    env = gym.make("FrozenLake-v1", is_slippery=False)
    agent = learner("PPO", env)
    actions, _ = agent.predict(np.arange(16), deterministic=True)
    result = audit(agent, env, deterministic=True)
    assert result.value == audit(actions, env).value
    live = ~from_gymnasium(env).terminal
    np.testing.assert_array_equal(result.policy.argmax(axis=1)[live], actions[live])


def test_a_linear_mdp_is_audited_alike_on_its_support_and_written_out():
    env = gym.make("LinearMDP-v0", n_states=40, n_actions=3, horizon=5, mdp_seed=4)
    model = env.unwrapped.model
    assert isinstance(model, LinearMDP)
    law = np.random.default_rng(1).dirichlet(np.ones(3), size=(5, 40))
    result, table = audit(law, env), model.to_tabular()
    v = np.zeros(40)
    for h in range(4, -1, -1):
        P, r = table.stage(h)
        v = np.einsum("sa,sa->s", law[h], r + np.asarray(P @ v).reshape(40, 3))
        here = result.states // 40 == h
        np.testing.assert_allclose(result.values[here], v[result.states[here] % 40], rtol=1e-12)
        assert (result.value_certificate.lower[here] <= v[result.states[here] % 40]).all()
        assert (result.value_certificate.upper[here] >= v[result.states[here] % 40]).all()
    assert result.value == pytest.approx(table.rho @ v, rel=1e-12)
    assert result.optimal_value == pytest.approx(table.rho @ _optimum(table)[0], rel=1e-12)


def _optimum(model: FiniteHorizonMDP) -> np.ndarray:
    v = np.zeros((model.horizon + 1, model.n_states))
    for h in range(model.horizon - 1, -1, -1):
        P, r = model.stage(h)
        v[h] = (r + np.asarray(P @ v[h + 1]).reshape(r.shape)).max(axis=1)
    return v


def test_a_billion_states_are_audited_where_the_policy_can_be():
    env = gym.make("LinearMDP-v0", n_states=10**9, observation="features", mdp_seed=7)
    result, model = audit(make_agent("Random-v0", env), env), env.unwrapped.model
    assert result.states.size < 10_000
    assert result.optimal_value == pytest.approx(float(_start_value(model, env.unwrapped.solution())), rel=1e-12)
    assert 0.0 < result.regret <= result.regret_bounds[1] < result.regret + 1e-9
    assert audit(make_agent("BackwardInduction-v0", env).learn(0), env).regret == pytest.approx(0.0, abs=1e-12)
    values = support_values(model, reachable_states(model))
    assert np.concatenate(values.values).tolist() == result.optimal_values.tolist()


def _start_value(model: LinearMDP, solution: Any) -> float:
    rho = model.initial_distribution()
    return rho.weights @ solution.value(rho.states, 0)


# certificates


def test_certificates_enclose_the_values_and_widen_when_these_are_wrong():
    result = audit(np.array([[0.3, 0.7]] * 3), corridor_env())
    for bounds, values in ((result.value_certificate, result.values), (result.certificate, result.optimal_values)):
        assert (bounds.lower <= values).all()
        assert (values <= bounds.upper).all()
        assert bounds.gap < 1e-7
    low, high = result.regret_bounds
    assert 0.0 < low <= result.regret <= high


def test_without_discount_a_policy_that_never_ends_is_told_apart():
    """Taxi pays -1 a step: driving round for ever is worth minus infinity."""
    result = audit(np.zeros(500, dtype=np.int64), gym.make("Taxi-v4"), gamma=1.0)
    assert result.value == -np.inf
    assert result.regret == np.inf
    assert result.optimal_value == pytest.approx(7.93, abs=1e-6)


# what can be audited


def test_a_policy_that_only_predicts_is_taken_by_its_deterministic_predictions():
    env = gym.make("FrozenLake-v1")
    assert audit(OnlyPredicts(2), env).value == audit(np.full(16, 2), env).value


def test_a_policy_with_a_memory_is_refused():
    with pytest.raises(ModelError, match=r"keeps a memory .*estimate it by simulation"):
        audit(OnlyPredicts(2, state=(np.zeros(1),)), gym.make("FrozenLake-v1"))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (object(), "policy is object; pass an agent"),
        (OnlyPredicts(4), r"policy.predict\(...\)\[0\] is 4; actions run from 0 to 3"),
        (np.zeros(15, dtype=np.int64), r"shape \(15,\); expected .* \(16,\), \(16, 4\)"),
        (np.full(16, 4), r"policy\[0\] is 4; actions run from 0 to 3"),
        (np.full((16, 4), 0.3), r"policy\[0\] sums to 1.2, not 1"),
        (np.full((16, 3), 1 / 3), r"shape \(16, 3\)"),
        (np.full((16, 4), np.nan), "is nan; every entry must be finite"),
        (np.zeros(16, dtype=bool), "has dtype bool; actions are integers"),
    ],
)
def test_what_is_no_policy_for_the_environment_is_refused(policy: Any, message: str):
    with pytest.raises(ModelError, match=message):
        audit(policy, gym.make("FrozenLake-v1"))


def test_arrays_follow_what_is_observed_with_and_without_stages():
    """Taxi's model has terminal twins of the states passengers are set down in; a policy has one row for both."""
    taxi = gym.make("Taxi-v4")
    assert from_gymnasium(taxi).n_states > 500
    law = np.full((500, 6), 1 / 6)
    assert audit(law, taxi).value == pytest.approx(audit(make_agent("Random-v0", taxi), taxi).value, rel=1e-12)
    sea = gym.make("DeepSea-v0")
    model = sea.unwrapped.model
    right = np.ones(model.n_states, dtype=np.int64)
    staged = np.ones((model.horizon, model.n_states), dtype=np.int64)
    assert audit(right, sea).value == audit(staged, sea).value
    with pytest.raises(ModelError, match="expected integer actions or float action probabilities of one of the shapes"):
        audit(np.ones((model.horizon + 1, model.n_states), dtype=np.int64), sea)


def test_states_that_look_the_same_are_treated_the_same():
    """A policy of what is seen has one row for the two live states of the corridor."""
    whole = corridor()
    blurred = TabularMDP(whole.P, whole.r, whole.gamma, whole.rho, whole.terminal, observations=np.array([0, 0, 1]))
    seen, law = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([[0.25, 0.75], [0.25, 0.75], [0.5, 0.5]])
    assert audit(seen, ModelEnv(blurred)).value == audit(law, ModelEnv(whole)).value
    assert audit(make_agent("Random-v0", ModelEnv(blurred)), ModelEnv(blurred)).policy.shape == (3, 2)


def test_continuous_actions_are_refused_with_the_reason():
    env = gym.make("FrozenLake-v1")
    agent = make_agent("SAC", gym.make("Pendulum-v1"), hyperparameters={"buffer_size": 10, **SMALL})
    with pytest.raises(ModelError, match=r"policy observes Box.*, but the environment shows Discrete\(16\)"):
        audit(agent, env)
    box = wrappers.TransformObservation(env, lambda s: np.full(3, s, np.float32), agent.observation_space)
    with pytest.raises(AgentError, match="only a policy over a Discrete space has a law that can be listed"):
        audit(agent, box)


def test_a_policy_is_refused_where_it_cannot_see_what_it_was_made_for():
    agent = learner("PPO", gym.make("RandomMDP-v0", observation="features"), 64)
    with pytest.raises(ModelError, match=r"policy observes Box.* but the environment shows Discrete"):
        audit(agent, gym.make("RandomMDP-v0"))


def test_normalised_observations_are_normalised_for_the_audit():
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env = gym.make("RandomMDP-v0", observation="features")
    normalised = VecNormalize(
        DummyVecEnv([lambda: gym.make("RandomMDP-v0", observation="features")]), norm_reward=False
    )
    agent = learner("PPO", normalised)
    codes = np.arange(env.unwrapped.model.n_states)
    shown = normalised.normalize_obs(env.unwrapped.observe(codes))
    np.testing.assert_allclose(audit(agent, env).policy, agent.action_probabilities(shown), atol=1e-12)


# asking only where the policy goes


class Expensive:
    """A law that keeps a list of the states it is asked in."""

    def __init__(self, law: np.ndarray) -> None:
        self.law, self.asked = law, []

    def action_probabilities(self, observations: np.ndarray) -> np.ndarray:
        self.asked += observations.tolist()
        return self.law[observations]


def assert_same_where_met(part: Any, whole: Any) -> None:
    """Values agree; bounds hold in both; each is as tight."""
    where = part.states
    np.testing.assert_allclose(part.values, whole.values[where], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(part.optimal_values, whole.optimal_values[where])
    np.testing.assert_allclose(part.value_certificate.lower, whole.value_certificate.lower[where], atol=1e-6)
    np.testing.assert_allclose(part.value_certificate.upper, whole.value_certificate.upper[where], atol=1e-6)
    assert (part.value_certificate.lower <= part.values).all()
    assert (part.values <= part.value_certificate.upper).all()
    np.testing.assert_array_equal(part.rho, whole.rho[where])
    assert part.value == pytest.approx(whole.value, rel=1e-9)
    assert part.optimal_value == pytest.approx(whole.optimal_value, rel=1e-12)


def sparse_law(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Action probabilities with zeros."""
    law = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]) * (rng.random(shape) < 0.5)
    law[..., 0] += law.sum(axis=-1) == 0
    return law / law.sum(axis=-1, keepdims=True)


def closure(model: TabularMDP, law: np.ndarray) -> np.ndarray:
    """The states met, by powers of the policy's chain."""
    chain = np.einsum("sa,sat->st", law > 0, model.P) > 0
    met = model.rho > 0
    for _ in range(model.n_states):
        met = met | (met @ chain)
    return np.flatnonzero(met)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_policy_asked_only_where_it_goes_has_the_same_audit_there(seed: int):
    rng = np.random.default_rng(seed)
    n_states, n_actions = int(rng.integers(2, 9)), int(rng.integers(1, 4))
    P = sparse_law(rng, n_states, n_actions, n_states)
    terminal = rng.random(n_states) < 0.2
    P[terminal] = np.eye(n_states)[terminal][:, None]
    r = rng.normal(size=(n_states, n_actions)) * ~terminal[:, None]
    rows = sp.csr_array(P.reshape(-1, n_states))
    rho, law = sparse_law(rng, n_states), sparse_law(rng, n_states, n_actions)
    model = TabularMDP(P, r, 0.9, rho, terminal)
    for env in (ModelEnv(model), ModelEnv(TabularMDP(rows, r, 0.9, rho, terminal))):
        policy = Expensive(law)
        part = audit(policy, env, reachable=True)
        assert part.states.tolist() == closure(model, law).tolist()
        assert sorted(policy.asked) == [s for s in part.states.tolist() if not terminal[s]]
        assert_same_where_met(part, audit(law, env))
        assert_same_where_met(audit(law, env, horizon=3, reachable=True), audit(law, env, horizon=3))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_with_stages_the_states_met_are_those_of_each_stage(seed: int):
    rng = np.random.default_rng(seed)
    n_states, n_actions, horizon = int(rng.integers(2, 7)), int(rng.integers(1, 4)), int(rng.integers(1, 5))
    lead = (horizon,) if rng.random() < 0.5 else ()
    P, r = sparse_law(rng, *lead, n_states, n_actions, n_states), rng.random((*lead, n_states, n_actions))
    model = FiniteHorizonMDP(P, r, horizon, sparse_law(rng, n_states))
    law = sparse_law(rng, horizon, n_states, n_actions)
    unrolled = model.to_tabular()
    dense = TabularMDP(unrolled.P.toarray().reshape(unrolled.n_states, n_actions, -1), unrolled.r, 1.0, unrolled.rho)
    everywhere = np.concatenate([law.reshape(-1, n_actions), np.eye(n_actions)[np.zeros(n_states, int)]])
    part = audit(law, ModelEnv(model), reachable=True)
    met = closure(dense, everywhere)
    assert part.states.tolist() == met[met < horizon * n_states].tolist()
    assert_same_where_met(part, audit(law, ModelEnv(model)))


def test_a_deterministic_world_is_asked_about_once_a_stage():
    """A needle among 4^100: the policy is asked in 100 states."""
    env = gym.make("NeedleMDP-v0", n_actions=4, horizon=100, dim=60, mdp_seed=3)
    best = env.unwrapped.solution().policy.reshape(-1)
    policy = Expensive(np.eye(4)[best])
    result = audit(policy, env, reachable=True)
    assert len(policy.asked) == result.states.size == 100
    assert result.value == 1.0
    assert result.regret_bounds[1] < 1e-12


def test_where_episodes_are_over_nobody_is_asked():
    policy = Expensive(np.array([[0.0, 1.0]] * 3))
    result = audit(policy, corridor_env(), reachable=True)
    assert sorted(policy.asked) == [0, 1]
    assert result.states.tolist() == [0, 1, 2]
    assert result.policy[2].tolist() == [0.5, 0.5]
    stay = Expensive(np.array([[1.0, 0.0]] * 3))
    assert audit(stay, corridor_env(), reachable=True).states.tolist() == [0, 1]
    over = TabularMDP(np.ones((1, 1, 1)), np.zeros((1, 1)), 0.9, np.ones(1), np.ones(1, bool))
    assert audit(Expensive(np.ones((1, 1))), ModelEnv(over), reachable=True).values.tolist() == [0.0]


def test_without_discount_what_is_done_elsewhere_does_no_harm():
    """Elsewhere is a corridor of 60 states that any wrong step begins anew: chance alone takes 2^60 steps."""
    n_states = 62
    P, r, over = np.zeros((n_states, 2, n_states)), np.full((n_states, 2), -1.0), np.arange(n_states) == n_states - 1
    corridor_states = np.arange(1, n_states - 1)
    P[corridor_states, 0, 1] = P[corridor_states, 1, corridor_states + 1] = P[0, :, -1] = P[-1, :, -1] = 1.0
    r[0], r[-1] = 1.0, 0.0
    env = ModelEnv(TabularMDP(P, r, 1.0, np.eye(n_states)[0], over))
    result = audit(np.zeros(n_states, np.int64), env, reachable=True)
    assert result.states.tolist() == [0, n_states - 1]
    assert result.value == 1.0
    assert result.value_certificate.gap < 1e-9
    assert audit(np.zeros(n_states, np.int64), env).values[1] == -np.inf


def test_reachable_is_a_yes_or_no():
    with pytest.raises(ModelError, match="reachable is 1; pass True or False"):
        audit(np.zeros(4, np.int64), gym.make("RandomMDP-v0", n_states=4), reachable=1)


# wrappers


def test_observation_wrappers_show_the_policy_what_they_show():
    plain = gym.make("FrozenLake-v1")
    flat = wrappers.FlattenObservation(plain)
    seen = wrappers.DtypeObservation(
        wrappers.TransformObservation(flat, lambda x: x * 2, flat.observation_space), np.int32
    )

    class Doubled:
        def action_probabilities(self, observations: np.ndarray) -> np.ndarray:
            assert observations.dtype == np.int32
            assert (observations.sum(axis=1) == 2).all()
            return mode(observations[:, :4] + np.arange(4) / 10)

    expected = np.where(np.arange(16) < 4, np.arange(16) % 4, 3)
    assert audit(Doubled(), seen).value == audit(expected, plain).value


def test_wrappers_that_only_watch_are_looked_through():
    from stable_baselines3.common.monitor import Monitor

    from lookahead_rl.wrappers import GroundTruth

    env = gym.make("RandomMDP-v0")
    watched = Monitor(wrappers.TransformReward(wrappers.RecordEpisodeStatistics(GroundTruth(env)), lambda r: r / 10))
    uniform = make_agent("Random-v0", env)
    assert audit(uniform, watched).value == audit(uniform, env).value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: wrappers.TransformAction(env, lambda a: 3 - a, env.action_space),
        lambda env: wrappers.StickyAction(env, 0.5),
        lambda env: wrappers.DelayObservation(env, 2),
        wrappers.TimeAwareObservation,
        lambda env: wrappers.FrameStackObservation(env, 2),
        lambda env: wrappers.NormalizeObservation(wrappers.FlattenObservation(env)),
    ],
)
def test_wrappers_that_make_another_problem_are_refused_by_name(wrap: Callable[[Any], Any]):
    env = wrap(gym.make("FrozenLake-v1"))
    name = type(env).__name__
    with pytest.raises(ModelError, match=f"the wrapper {name} changes actions or remembers the past"):
        audit(OnlyPredicts(0), env)


def test_what_has_no_model_is_refused():
    with pytest.raises(ModelError, match="CartPoleEnv has no attribute P"):
        audit(OnlyPredicts(0), gym.make("CartPole-v1"))
    with pytest.raises(ModelError, match="pass a single Gymnasium environment"):
        audit(OnlyPredicts(0), gym.make_vec("RandomMDP-v0", num_envs=2))
    with pytest.raises(ModelError, match=r"gamma is 0\.9, but a finite horizon has no discount"):
        audit(OnlyPredicts(0), gym.make("DeepSea-v0"), gamma=0.9)
    with pytest.raises(ModelError, match="horizon is 3, but the model already ends after 10 steps"):
        audit(OnlyPredicts(0), gym.make("DeepSea-v0"), horizon=3)
    with pytest.raises(ModelError, match="horizon is 0"):
        audit(OnlyPredicts(0), gym.make("FrozenLake-v1"), horizon=0)


def test_auditing_imports_neither_torch_nor_stable_baselines3():
    code = (
        "import sys, gymnasium as gym, lookahead_rl\n"
        "from lookahead_rl.agents import make_agent\n"
        "from lookahead_rl.evaluation import audit\n"
        "env = gym.make('FrozenLake-v1'); audit(make_agent('Random-v0', env), env)\n"
        "print('torch' in sys.modules, 'stable_baselines3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_ten_thousand_states_take_a_few_batched_passes():
    calls: list[int] = []

    class Counting:
        def action_probabilities(self, observations: np.ndarray) -> np.ndarray:
            calls.append(len(observations))
            return np.full((len(observations), 4), 0.25)

    states = np.arange(10_000)
    action_table(Counting(), lambda codes: codes, spaces.Box(-1.0, 1.0, (64,)), states, 4)
    assert calls == [10_000]
    # A network would see a Discrete observation as 10,000 numbers: in blocks, so that they fit the memory.
    action_table(Counting(), lambda codes: codes, spaces.Discrete(10_000), states, 4)
    assert sum(calls) == 20_000
    assert len(calls) <= 26


@pytest.mark.parametrize("answer", [None, np.zeros(4, np.int64), (np.zeros(4, np.int64),)])
def test_a_prediction_that_is_no_pair_is_refused(answer):
    class Odd:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return answer

    with pytest.raises(ModelError, match=r"policy Odd predicts .*, not \(actions, state\)"):
        audit(Odd(), gym.make("RandomMDP-v0", n_states=4))


@pytest.mark.parametrize("law", [[["a"]], [[1.0], [0.5, 0.5]], np.full((4, 4), 0.25 + 0j), None])
def test_action_probabilities_that_are_no_numbers_are_refused(law):
    class Odd:
        def action_probabilities(self, observations):
            return law

    with pytest.raises(ModelError, match="policy"):
        audit(Odd(), gym.make("RandomMDP-v0", n_states=4))


def test_lists_of_unequal_lengths_are_no_policy():
    with pytest.raises(ModelError, match="policy has rows of different lengths"):
        audit([[0], [0, 0]], gym.make("RandomMDP-v0", n_states=4))


def test_deterministic_is_a_yes_or_no():
    with pytest.raises(ModelError, match="deterministic is 'no'; pass True or False"):
        audit(np.zeros(4, np.int64), gym.make("RandomMDP-v0", n_states=4), deterministic="no")
