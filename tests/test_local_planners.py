"""Local planners as agents, and the baselines: hard budgets, policies that are functions, values that theory knows."""

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import AgentError, load_agent, make_agent
from lookahead_rl.agents.local.agent import LocalPlanningAgent
from lookahead_rl.agents.local.lsvi import LSVI, LinearPlan
from lookahead_rl.agents.local.planner import (
    Access,
    LocalPlanner,
    Plan,
    PlanningBudgetExceeded,
    queries_left,
    sampled,
    stages_ahead,
)
from lookahead_rl.agents.local.rollouts import RolloutImprovement, uniform_return
from lookahead_rl.agents.local.search import any_best
from lookahead_rl.agents.local.sparse_sampling import SparseSampling, lookahead_values, tree_queries
from lookahead_rl.agents.local.uct import UCT
from lookahead_rl.agents.storage import read_archive, write_archive
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.models import FiniteHorizonMDP, ModelError, TabularMDP, planted_mdp, realizable_mdp
from lookahead_rl.solvers import backward_induction, evaluate_policy, value_iteration
from lookahead_rl.wrappers import (
    AccessTerms,
    BernoulliRewards,
    BudgetExceeded,
    ExpectationAccess,
    LocalAccess,
    QueryCounter,
    Visit,
)

SEARCHES = ("UCT-v0", "SparseSampling-v0", "RolloutPlanner-v0")
BASELINES = ("LSVI-v0", *SEARCHES)
PLANNERS = {"LSVI": LSVI, "UCT": UCT, "SparseSampling": SparseSampling, "RolloutImprovement": RolloutImprovement}


def realizable(seed: int = 0, **kwargs: Any) -> FiniteHorizonMDP:
    sizes = {"n_states": 6, "n_actions": 3, "horizon": 4, "dim": 3} | kwargs
    return realizable_mdp(rng=seed, **sizes).model


def discounted(seed: int = 0, branching: int = 2, gamma: float = 0.7) -> TabularMDP:
    return planted_mdp(8, 3, branching, seed, gamma=gamma, dim=3).model


def with_starts(model: FiniteHorizonMDP, rho: Any) -> FiniteHorizonMDP:
    return FiniteHorizonMDP(model.P, model.r, model.horizon, rho, features=model.features)


def access_of(model: Any, rng: int = 0, **kwargs: Any) -> LocalAccess:
    return LocalAccess.from_env(ModelEnv(model), rng=np.random.default_rng(rng), **kwargs)


def play(agent: LocalPlanningAgent, env: gym.Env[Any, Any], seed: int = 0) -> float:
    shown, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        shown, reward, terminated, truncated, _ = env.step(agent.predict(shown)[0])
        total, over = total + float(reward), terminated or truncated
    return total


def action_values(model: FiniteHorizonMDP, v: np.ndarray) -> np.ndarray:
    """r + P v, (H, S, A), for values (H + 1, S)."""
    stages = map(model.stage, range(model.horizon))
    return np.stack([r + (P @ v[h + 1]).reshape(r.shape) for h, (P, r) in enumerate(stages)])


def live_codes(model: FiniteHorizonMDP) -> np.ndarray:
    return np.arange(model.horizon * model.n_states)


# budgets


@given(st.sampled_from(BASELINES), st.integers(0, 10**6), st.integers(0, 400), st.booleans())
@settings(max_examples=40)
def test_an_episode_never_takes_more_than_the_budget(agent_id: str, seed: int, extra: int, stochastic: bool):
    env = ModelEnv(realizable(seed % 7, stochastic=stochastic))
    least = 4 * 3 * (4 if agent_id == "SparseSampling-v0" and stochastic else 1)
    agent = make_agent(agent_id, env, budget=least + extra, seed=seed).learn(0)
    play(agent, env, seed)
    if agent_id == "LSVI-v0":
        assert least + extra - 3 < agent.planning_queries <= least + extra
        assert agent.execution_queries == 0
    else:
        assert 0 < agent.execution_queries <= least + extra
        assert agent.planning_queries == 0


@given(st.sampled_from(SEARCHES), st.integers(0, 60), st.integers(0, 10**6))
@settings(max_examples=30)
def test_a_discounted_decision_never_takes_more_than_its_share(agent_id: str, extra: int, seed: int):
    agent = make_agent(agent_id, ModelEnv(discounted(gamma=0.5)), budget=7 * (12 + extra), seed=seed)
    agent.predict(seed % 8)
    assert 0 < agent.execution_queries <= 12 + extra


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("model", [realizable(stochastic=True), discounted()], ids=["horizon", "discounted"])
def test_the_count_is_that_of_the_simulator(name: str, model: Any):
    env = ModelEnv(model)
    counter = QueryCounter(env.simulator)
    terms = access_of(model).terms
    access = LocalAccess(
        counter,
        lambda codes: np.ones((codes.size, 2)),
        rng=np.random.default_rng(0),
        horizon=terms.horizon,
        gamma=terms.gamma,
        budget=500,
    )
    start = access.begin()
    PLANNERS[name]().plan(access, start, np.random.default_rng(1)).action(access, start)
    assert 300 < counter.queries == access.queries <= 500


def test_a_decision_gets_its_share_of_an_episode():
    env = ModelEnv(realizable())
    agent = make_agent("RolloutPlanner-v0", env, budget=4 * 36 + 3)
    agent.predict(0)
    assert agent.execution_queries == 36  # 3 actions, 3 rollouts each, 4 stages
    env = ModelEnv(discounted(gamma=0.5))
    agent = make_agent("SparseSampling-v0", env, budget=7 * 12, width=1)
    agent.predict(0)
    assert agent.execution_queries == 12  # 0.5^7 < 1% <= 0.5^6; a tree of depth 2 has 3 + 9 queries


@pytest.mark.parametrize(
    ("agent_id", "model", "least"),
    [
        ("UCT-v0", realizable(), 12),
        ("RolloutPlanner-v0", realizable(stochastic=True), 12),
        ("SparseSampling-v0", realizable(), 12),
        ("SparseSampling-v0", realizable(stochastic=True), 48),
        ("UCT-v0", discounted(gamma=0.5), 21),
    ],
)
def test_a_budget_too_small_to_search_is_refused_with_the_number_needed(agent_id: str, model: Any, least: int):
    env = ModelEnv(model)
    for budget in (least - 1, 0, None):
        with pytest.raises(AgentError, match=rf"budget is {budget}, but .* takes a budget of {least} at least"):
            make_agent(agent_id, env, budget=budget)
    make_agent(agent_id, env, budget=least).predict(0)


def test_a_budget_of_less_than_one_episode_gives_lsvi_no_data():
    agent = make_agent("LSVI-v0", ModelEnv(realizable()), budget=11)
    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="the budget is 11 queries and 0 are used; 12 more would exceed it"):
            agent.learn(0)
        with pytest.raises(BudgetExceeded):
            agent.predict(0)
    with pytest.raises(ModelError, match="give the access a budget"):
        make_agent("LSVI-v0", ModelEnv(realizable()), budget=None).learn(0)


def test_needles_are_out_of_reach_of_every_baseline():
    env = gym.make("NeedleMDP-v0", n_actions=4, horizon=100, dim=60, mdp_seed=3)
    for agent_id in BASELINES:
        agent = make_agent(agent_id, env, budget=10_000).learn(0)
        assert audit(agent, env, reachable=True).value == 0.0
        assert 8_000 <= agent.planning_queries + agent.execution_queries <= 10_000


# the policy is a function of the state


@pytest.mark.parametrize("agent_id", BASELINES)
@pytest.mark.parametrize("observation", ["state", "features"])
def test_the_order_of_questions_does_not_matter(agent_id: str, observation: str):
    model = realizable(stochastic=True)
    env, codes = ModelEnv(model, observation), live_codes(model)
    expected = make_agent(agent_id, env, budget=500, seed=5).learn(0).action_probabilities(env.observe(codes))
    other = make_agent(agent_id, env, budget=500, seed=5)
    order = np.random.default_rng(0).permutation(codes)
    np.testing.assert_array_equal(other.action_probabilities(env.observe(order)), expected[order])
    spent = other.planning_queries, other.execution_queries
    other.action_probabilities(env.observe(order))
    assert (other.planning_queries, other.execution_queries) == spent
    for code in codes[::-1]:
        assert expected[code, other.predict(env.observe(codes[[code]])[0])[0]] == 1.0


@pytest.mark.parametrize("agent_id", BASELINES)
def test_what_is_audited_is_what_is_played(agent_id: str):
    env = ModelEnv(realizable(3))
    agent = make_agent(agent_id, env, budget=300, seed=2).learn(0)
    assert play(agent, env) == pytest.approx(audit(agent, env).value, abs=1e-12)


@pytest.mark.parametrize("agent_id", BASELINES)
def test_other_seeds_draw_other_samples(agent_id: str):
    env = ModelEnv(realizable(stochastic=True))
    agents = [make_agent(agent_id, env, budget=100, bernoulli_rewards=True, seed=seed) for seed in range(3)]
    assert len({agent.action_probabilities(live_codes(env.model)).tobytes() for agent in agents}) == 3


def actions_of_all() -> list[list[int]]:
    """What each baseline does at stage 0."""
    env = ModelEnv(realizable(stochastic=True))
    agents = [make_agent(agent_id, env, budget=500, seed=4) for agent_id in BASELINES]
    return [agent.action_probabilities(live_codes(env.model)).argmax(axis=1).tolist() for agent in agents]


def test_equal_seeds_act_equally_in_every_process():
    code = f"import runpy; print(runpy.run_path({__file__!r})['actions_of_all']())"
    run = [sys.executable, "-c", code]
    told = subprocess.run(run, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(actions_of_all())


# initial states


def test_each_initial_state_has_its_own_plan_and_other_states_none():
    model = with_starts(realizable(), [0.5, 0.0, 0.5, 0.0, 0.0, 0.0])
    agent = make_agent("LSVI-v0", ModelEnv(model), budget=120).learn(0)
    assert agent.planning_queries == 120
    agent.action_probabilities(live_codes(model))
    assert agent.planning_queries == 240
    assert sorted(agent.memory()["plans"]) == ["0", "2"]
    agent.predict(2)
    assert agent.memory()["start"] == 2
    agent.predict(6 + 5)  # on the way: the plan of the episode goes on
    assert agent.memory()["start"] == 2
    agent.predict(0)
    assert agent.memory()["start"] == 0
    assert agent.planning_queries == 240


def test_actions_on_the_way_are_those_of_the_plan_of_the_episode():
    model = with_starts(realizable(n_states=2, dim=2), [0.5, 0.5])
    features = np.array(model.features)
    features[0] = [[0.0, 1.0], [1.0, 0.0]]
    agent = PointingAgent(ModelEnv(FiniteHorizonMDP(model.P, model.r, 4, model.rho, features=features)))
    for start in (0, 1, 0):
        assert agent.predict(start)[0] == start
        assert agent.predict(2 + 1)[0] == start


def test_a_discounted_problem_has_one_plan():
    env = ModelEnv(discounted())
    agent = make_agent("LSVI-v0", env, budget=500).learn(0)
    agent.action_probabilities(np.arange(8))
    assert len(agent.memory()["plans"]) == 1


def test_learning_again_plans_nothing_anew_and_tells_the_callback_once():
    told: list[tuple[int, int]] = []
    agent = make_agent("LSVI-v0", ModelEnv(realizable()), budget=120)
    for _ in range(2):
        agent.learn(1000, callback=lambda agent, steps: told.append((agent.planning_queries, steps)))
    assert told == [(120, 0), (120, 0)]


# planners in the adapter


class Constant(Plan):
    """Plays one action."""

    def __init__(self, a: int) -> None:
        self.a = a

    def action(self, access: Access, visit: Visit) -> int:
        return self.a

    def arrays(self) -> dict[str, np.ndarray]:
        return {"a": np.array(self.a)}


class Faltering(LocalPlanner):
    """Queries until the budget runs out, and has a plan by then."""

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> Plan:
        try:
            while True:
                sampled(access).query(start.handle, 0)
        except BudgetExceeded as cause:
            raise PlanningBudgetExceeded(cause, Constant(1)) from cause

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Plan:
        return Constant(int(arrays["a"]))


class Pointing(LocalPlanner):
    """Plays the action that the first feature of the initial state says."""

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> Plan:
        return Constant(int(start.features[0]))

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Plan:
        return Constant(int(arrays["a"]))


class Greedy(Plan):
    """Plays the action of largest expected reward."""

    def action(self, access: Access, visit: Visit) -> int:
        assert isinstance(access, ExpectationAccess)
        return int(np.argmax([access.query(visit.handle, a).reward for a in range(access.terms.n_actions)]))

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


class Myopic(LocalPlanner):
    """Plans nothing."""

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> Plan:
        assert access.queries == 0
        return Greedy()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Plan:
        return Greedy()


class FalteringAgent(LocalPlanningAgent):
    def __init__(self, env: Any, *, budget: int | None = 10, bernoulli_rewards: bool = False, seed: int = 0) -> None:
        super().__init__(env, Faltering(), budget=budget, bernoulli_rewards=bernoulli_rewards, seed=seed)

    def knobs(self) -> dict[str, Any]:
        return {}


class PointingAgent(LocalPlanningAgent):
    def __init__(self, env: Any, *, seed: int = 0) -> None:
        super().__init__(env, Pointing(), budget=None, seed=seed)

    def knobs(self) -> dict[str, Any]:
        return {}


class MyopicAgent(LocalPlanningAgent):
    def __init__(self, env: Any, *, oracle: str = "expectations", seed: int = 0) -> None:
        super().__init__(env, Myopic(), budget=None, oracle=oracle, seed=seed)

    def knobs(self) -> dict[str, Any]:
        return {"oracle": self.oracle}


def test_a_plan_cut_short_by_the_budget_is_kept_and_acted_by(tmp_path: Path):
    env = ModelEnv(with_starts(realizable(), np.full(6, 1 / 6)))
    agent = FalteringAgent(env)
    with pytest.raises(PlanningBudgetExceeded, match="the budget is 10 queries and 10 are used"):
        agent.learn(0)
    assert agent.planning_queries == 10
    assert agent.learn(0).predict(6 + 1)[0] == 1
    assert agent.planning_queries == 10
    assert (agent.action_probabilities(live_codes(env.model)).argmax(axis=1) == 1).all()
    assert agent.planning_queries == 60  # the other five initial states
    agent.save(tmp_path / "agent")
    twin = FalteringAgent.load(tmp_path / "agent", env)
    assert twin.predict(3)[0] == 1
    assert twin.planning_queries == 60


@pytest.mark.parametrize("model", [realizable(stochastic=True), discounted()], ids=["horizon", "discounted"])
def test_an_expectation_oracle_is_named_and_needs_no_samples(model: Any):
    agent = MyopicAgent(ModelEnv(model)).learn(0)
    assert agent.oracle == "expectations"
    rewards = np.asarray(model.r).reshape(-1, 3)
    codes = np.arange(len(rewards))
    np.testing.assert_array_equal(agent.action_probabilities(codes).argmax(axis=1), rewards.argmax(axis=1))
    assert agent.execution_queries == 3 * len(rewards)
    with pytest.raises(AgentError, match="oracle is 'dreams'; pass 'samples' or 'expectations'"):
        MyopicAgent(ModelEnv(model), oracle="dreams")


def test_baselines_average_samples_and_refuse_expectations():
    access = ExpectationAccess(realizable(), rng=np.random.default_rng(0), budget=100)
    start, rng = access.begin(), np.random.default_rng(0)
    for planner in (LSVI(), UCT(), SparseSampling(), RolloutImprovement()):
        with pytest.raises(ModelError, match="give it a LocalAccess"):
            planner.plan(access, start, rng).action(access, start)


def test_bernoulli_rewards_are_what_the_simulator_pays():
    env = ModelEnv(realizable(horizon=1))
    plans = [
        make_agent("LSVI-v0", env, budget=3, bernoulli_rewards=noisy, ridge=1e-9).learn(0) for noisy in (True, False)
    ]
    noisy, plain = (
        next(iter(plan.memory()["plans"].values()))["weights"][0] @ env.model.features[0, 0] for plan in plans
    )
    np.testing.assert_allclose(plain, env.model.r.reshape(-1, 6, 3)[0, 0], atol=1e-6)
    np.testing.assert_allclose(noisy * (1 - noisy), 0.0, atol=1e-6)


# files


def test_a_search_keeps_nothing_but_its_generator(tmp_path: Path):
    env = ModelEnv(realizable())
    agent = make_agent("UCT-v0", env, budget=100).learn(0)
    agent.predict(0)
    assert agent.memory()["plans"] == {}
    assert agent.memory()["start"] is None


def test_a_loaded_plan_costs_no_queries(tmp_path: Path):
    env = ModelEnv(realizable())
    agent = make_agent("LSVI-v0", env, budget=201, ridge=0.5).learn(0)
    agent.save(tmp_path / "agent")
    twin = load_agent(tmp_path / "agent", env)
    codes = live_codes(env.model)
    np.testing.assert_array_equal(twin.action_probabilities(codes), agent.action_probabilities(codes))
    assert twin.planning_queries == 201
    assert twin.config() == {"budget": 201, "bernoulli_rewards": False, "seed": 0, "ridge": 0.5}


@pytest.mark.parametrize(
    "memory",
    [
        {"start": 1},
        {"start": -1},
        {"plans": {"0": {}}},
        {"plans": {"zero": {"weights": np.zeros((4, 3, 3))}}},
        {"plans": {"0": {"weights": np.zeros(3)}}},
        {"plans": {"0": {"weights": np.full((4, 3, 3), np.nan)}}},
        {"planning_queries": -1},
    ],
)
def test_a_file_without_a_plan_of_this_kind_is_refused(memory: dict[str, Any], tmp_path: Path):
    env, path = ModelEnv(realizable()), tmp_path / "agent"
    make_agent("LSVI-v0", env, budget=200).learn(0).save(path)
    content = read_archive(path)
    write_archive(path, {**content, "memory": {**content["memory"], **memory}})
    with pytest.raises(AgentError):
        load_agent(path, env)


@pytest.mark.parametrize("model", [realizable(), discounted()], ids=["horizon", "discounted"])
@pytest.mark.parametrize("name", ["-1", "99", "x", "", "5", "00", "1_0", "\u0660"])
def test_a_plan_from_a_state_in_which_no_episode_begins_is_refused(model: Any, name: str, tmp_path: Path):
    rho = np.eye(model.n_states)[0]
    changed = {"rho": rho, "features": model.features}
    if isinstance(model, TabularMDP):
        env = ModelEnv(TabularMDP(model.P, model.r, model.gamma, **changed))
    else:
        env = ModelEnv(FiniteHorizonMDP(model.P, model.r, model.horizon, **changed))
    path = tmp_path / "agent"
    make_agent("LSVI-v0", env, budget=600).learn(0).save(path)
    load_agent(path, env)
    content = read_archive(path)
    plans = content["memory"]["plans"]
    write_archive(path, {**content, "memory": {**content["memory"], "plans": {**plans, name: plans["0"]}}})
    with pytest.raises(AgentError, match=r"a plan is from state .*, in which no episode begins; plan again"):
        load_agent(path, env)


@pytest.mark.parametrize(
    ("agent_id", "knobs", "name"),
    [
        ("LSVI-v0", {}, "weights"),
        ("TensorPlan-v0", {}, "theta"),
        ("TensorPlan-v0", {"mode": "theory", "radius": 8.0}, "theta"),
        ("TensorPlan-v0", {"mode": "literal", "radius": 8.0}, "theta"),
    ],
)
def test_a_plan_for_other_features_is_refused(agent_id: str, knobs: dict[str, Any], name: str, tmp_path: Path):
    env, path = ModelEnv(realizable()), tmp_path / "agent"
    make_agent(agent_id, env, budget=600, **knobs).learn(0).save(path)
    load_agent(path, env)
    content = read_archive(path)
    arrays = content["memory"]["plans"]["0"]
    for wrong in (np.zeros((*arrays[name].shape[:-1], 2)), np.array(0.0)):
        plans = {"0": {**arrays, name: wrong}}
        write_archive(path, {**content, "memory": {**content["memory"], "plans": plans}})
        with pytest.raises(AgentError):
            load_agent(path, env)


def test_weights_of_another_shape_are_not_acted_by():
    access = access_of(realizable())
    with pytest.raises(ModelError, match=r"weights has shape \(4, 3, 2\); expected \(4, 3, 3\): plan again"):
        LinearPlan(np.zeros((4, 3, 2))).action(access, access.begin())


def test_a_plan_to_search_is_made_again_from_its_seed():
    planner, model = UCT(), realizable(stochastic=True)

    def actions(plan: Plan) -> list[int]:
        fresh = [access_of(model, k, budget=40) for k in range(20)]
        return [plan.action(access, access.begin()) for access in fresh]

    plan = planner.plan(access_of(model), access_of(model).begin(), np.random.default_rng(3))
    assert actions(planner.restore(plan.arrays())) == actions(plan)


# values: all


def sooner_or_later(gamma: float) -> TabularMDP:
    """Action 0 pays 0.6 and ends, action 1 leads where every action pays 1 and ends; the end looks like the start."""
    P = np.zeros((3, 2, 3))
    P[0, 0, 2] = P[0, 1, 1] = 1.0
    P[1:, :, 2] = 1.0
    r = np.array([[0.6, 0.0], [1.0, 1.0], [0.0, 0.0]])
    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    return TabularMDP(P, r, gamma, [1.0, 0.0, 0.0], terminal=[False, False, True], features=features)


@pytest.mark.parametrize("agent_id", BASELINES)
@pytest.mark.parametrize(("gamma", "action"), [(0.5, 0), (0.8, 1)])
def test_later_rewards_count_by_their_discount(agent_id: str, gamma: float, action: int):
    for observation in ("state", "features"):
        env = ModelEnv(sooner_or_later(gamma), observation)
        agent = make_agent(agent_id, env, budget=2_000)
        assert agent.predict(env.observe(np.array([0]))[0])[0] == action


def test_lsvi_values_the_end_of_an_episode_at_zero():
    access = access_of(sooner_or_later(0.8), budget=500)
    weights = LSVI(1e-9).plan(access, access.begin(), np.random.default_rng(0)).weights
    np.testing.assert_allclose(weights[0].T, [[0.6, 0.8], [1.0, 1.0]], atol=1e-6)


# values: UCT


@pytest.mark.parametrize("agent_id", ["UCT-v0", "SparseSampling-v0"])
@pytest.mark.parametrize("seed", range(3))
def test_with_a_large_budget_a_small_tree_is_searched_to_its_optimum(agent_id: str, seed: int):
    env = ModelEnv(realizable(seed, n_actions=2, horizon=3))
    agent = make_agent(agent_id, env, budget=6_000)
    assert audit(agent, env, reachable=True).regret == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("keys", [None, int])
def test_nodes_are_states_where_they_are_told_apart_and_histories_elsewhere(keys: Any):
    model = realizable(1, n_actions=2, horizon=3)
    access = access_of(model, budget=3_000, state_key=keys)
    action = UCT().search(access, access.begin(), np.random.default_rng(0))
    assert action == backward_induction(model).policy[0, 0]
    assert 3_000 - 3 < access.queries <= 3_000


def test_uct_reaches_the_optimum_of_a_discounted_problem():
    model = discounted(branching=1, gamma=0.5)
    env = ModelEnv(model)
    agent = make_agent("UCT-v0", env, budget=7 * 600)
    assert audit(agent, env).regret <= 0.02


class Recorder:
    """A simulator that writes down what it is asked for."""

    def __init__(self, simulator: Any) -> None:
        self.simulator, self.asked = simulator, []
        self.n_states, self.n_actions = simulator.n_states, simulator.n_actions
        self.initial_states = simulator.initial_states

    def sample(self, states: Any, actions: Any, rng: np.random.Generator) -> Any:
        self.asked += zip(states.tolist(), actions.tolist(), strict=True)
        return self.simulator.sample(states, actions, rng)


def test_on_a_bandit_it_is_ucb1_and_keeps_its_bound():
    # Auer, Cesa-Bianchi, Fischer (2002), Theorem 1: E[pulls of an arm] <= 8 ln(n) / gap^2 + 1 + pi^2 / 3.
    means, n, pulls = np.array([0.9, 0.5, 0.2]), 1_000, np.zeros(3)
    bandit = FiniteHorizonMDP(np.ones((1, 3, 1)), means[None], 1, [1.0], features=np.zeros((2, 1, 1)))
    for run in range(10):
        simulator = Recorder(BernoulliRewards(ModelEnv(bandit).simulator))
        access = LocalAccess(
            simulator, lambda codes: np.zeros((codes.size, 1)), rng=np.random.default_rng(run), horizon=1, budget=n
        )
        assert UCT().search(access, access.begin(), np.random.default_rng(run)) == 0
        pulls += np.bincount([action for _, action in simulator.asked], minlength=3) / 10
    gaps = 0.9 - means[1:]
    assert (pulls[1:] <= 8 * np.log(n) / gaps**2 + 1 + np.pi**2 / 3).all()
    assert (pulls[1:] >= np.log(n) / (2 * gaps**2)).all()  # it does explore: 2 ln(N) / n(a) stays near gap^2
    assert pulls.sum() == pytest.approx(n)


def test_the_bonus_has_the_size_of_the_returns_still_possible():
    # The bandit again, then the same followed by three stages without reward: the range of returns is four times as
    # large, and a suboptimal arm is pulled up to sixteen times as often.
    pulls = []
    for horizon in (1, 4):
        r = np.zeros((horizon, 1, 2))
        r[0, 0] = [0.9, 0.1]
        bandit = FiniteHorizonMDP(np.ones((1, 2, 1)), r, horizon, [1.0], features=np.zeros((horizon + 1, 1, 1)))
        simulator = Recorder(ModelEnv(bandit).simulator)
        access = LocalAccess(
            simulator,
            lambda codes: np.zeros((codes.size, 1)),
            rng=np.random.default_rng(0),
            horizon=horizon,
            budget=2_000 * horizon,
        )
        UCT().search(access, access.begin(), np.random.default_rng(0))
        pulls.append(sum(action == 1 for state, action in simulator.asked if state == 0))
    assert 15 < pulls[0] < 30  # 2 ln(2000) / 0.8^2 = 24, less where the better arm's bonus counts
    assert 6 * pulls[0] < pulls[1] < 16 * pulls[0]


# values: sparse sampling


def lookahead(model: FiniteHorizonMDP, depth: int) -> np.ndarray:
    """q_D(0, .) at stage 0, by dynamic programming."""
    v = np.zeros(model.n_states)
    for h in reversed(range(depth)):
        P, r = model.stage(h)
        q = r + (P @ v).reshape(r.shape)
        v = q.max(axis=1)
    return q[0]


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=30)
def test_with_deterministic_transitions_sparse_sampling_is_exact_lookahead(seed: int, depth: int, n_actions: int):
    model = realizable(seed, n_actions=n_actions)
    access = access_of(model)
    q = lookahead_values(access, access.begin().handle, 1, depth)
    np.testing.assert_allclose(q, lookahead(model, depth), atol=1e-12)
    assert access.queries == tree_queries(n_actions, depth)


def test_wide_trees_come_near_exact_lookahead():
    model = realizable(stochastic=True)
    access = access_of(model)
    q = lookahead_values(access, access.begin().handle, 60, 2)
    # Hoeffding for the rewards of the second stage, in [0, 1]; taking a maximum moves no more.
    np.testing.assert_allclose(q, lookahead(model, 2), atol=np.sqrt(np.log(2 * 3 / 1e-4) / (2 * 60)))
    assert access.queries == tree_queries(3 * 60, 2)


@given(st.integers(1, 5), st.integers(1, 5))
def test_the_queries_of_a_tree_are_those_of_its_levels(fan: int, depth: int):
    assert tree_queries(fan, depth) == sum(fan**k for k in range(1, depth + 1))


@given(st.integers(1, 3), st.integers(0, 3_000), st.booleans())
@settings(max_examples=40)
def test_the_largest_complete_tree_is_searched(width: int, extra: int, stochastic: bool):
    model = realizable(stochastic=stochastic, horizon=5)
    access = access_of(model, budget=3 * width + extra)
    SparseSampling(width).search(access, access.begin(), np.random.default_rng(0))
    sizes = {(w, d): tree_queries(3 * w, d) for w, d in itertools.product(range(width, 1002), range(1, 6))}
    fitting = [(d, w) for (w, d), size in sizes.items() if size <= 3 * width + extra]
    deepest = max(d for d, _ in fitting)
    widest = max(w for d, w in fitting if d == deepest) if stochastic else width
    assert access.queries == sizes[widest, deepest]


# values: LSVI


def indicators(model: FiniteHorizonMDP) -> FiniteHorizonMDP:
    features = np.tile(np.eye(model.n_states), (model.horizon + 1, 1, 1))
    features[-1] = 0.0
    return FiniteHorizonMDP(model.P, model.r, model.horizon, model.rho, features=features)


@pytest.mark.parametrize("seed", range(3))
def test_lsvi_is_exact_where_action_values_are_linear(seed: int):
    env = ModelEnv(indicators(realizable(seed, n_states=3)))
    agent = make_agent("LSVI-v0", env, budget=3_000, ridge=1e-9).learn(0)
    assert audit(agent, env, reachable=True).regret == pytest.approx(0.0, abs=1e-12)
    weights = agent.memory()["plans"]["0"]["weights"]
    assert weights.shape == (4, 3, 3)
    q = action_values(env.model, backward_induction(env.model).value)
    met = weights.transpose(0, 2, 1) != 0.0
    assert met.mean() > 0.5
    np.testing.assert_allclose(weights.transpose(0, 2, 1)[met], q[met], atol=1e-6)


def test_lsvi_comes_near_the_optimum_of_a_random_table():
    env = ModelEnv(indicators(realizable(n_states=4, stochastic=True)))
    regrets = [
        audit(make_agent("LSVI-v0", env, budget=budget, bernoulli_rewards=True).learn(0), env).regret
        for budget in (60, 12_000)
    ]
    assert regrets[1] <= 0.02 < regrets[0]


def test_fitted_q_iteration_is_exact_on_a_discounted_table():
    model = discounted(branching=1)
    table = TabularMDP(model.P, model.r, model.gamma, model.rho, features=np.eye(8))
    env = ModelEnv(table)
    agent = make_agent("LSVI-v0", env, budget=3_000, ridge=1e-9).learn(0)
    (plan,) = agent.memory()["plans"].values()
    v = value_iteration(table).value
    q = table.r + table.gamma * (table.P_rows @ v).reshape(8, 3)
    met = (plan["weights"][0].T != 0.0).all(axis=1)
    assert met.sum() >= 4
    np.testing.assert_allclose(plan["weights"][0].T[met], q[met], atol=0.01 / 0.3)  # what lies beyond the horizon


def test_fitted_q_iteration_stays_bounded_where_without_truncation_it_diverges():
    # After Tsitsiklis, Van Roy (Machine Learning 22, 1996): two states with features 1 and 2, equally often in the
    # data, both going on to the second. Without truncation the weight grows by 6/5 gamma in each round.
    P = np.zeros((3, 2, 3))
    P[:, 0, 1], P[:, 1, 2], P[2, 0] = 1.0, 1.0, [0.0, 0.0, 1.0]
    r = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    terminal, features = [False, False, True], np.array([[1.0], [2.0], [0.0]])
    model = TabularMDP(P, r, 0.99, [1.0, 0.0, 0.0], terminal=terminal, features=features)
    access = access_of(model, budget=2_000)
    weights = LSVI().plan(access, access.begin(), np.random.default_rng(0)).weights
    assert 10.0 < np.abs(weights).max() <= 1 / (1 - 0.99)


# values: rollouts


@pytest.mark.parametrize("model", [realizable(2, stochastic=True), discounted()], ids=["horizon", "discounted"])
def test_returns_of_uniform_play_average_to_its_value(model: Any):
    access, rng = access_of(model), np.random.default_rng(0)
    start, length = access.begin(), stages_ahead(access_of(model).terms, 0)
    returns = [uniform_return(access, start.handle, length, rng) for _ in range(2_000)]
    code = int(ModelEnv(model).simulator.initial_states(1, np.random.default_rng(0))[0])
    law = np.full((*((model.horizon,) if isinstance(model, FiniteHorizonMDP) else ()), model.n_states, 3), 1 / 3)
    v = evaluate_policy(model, law).value.reshape(-1)[code]
    beyond = 0.0 if isinstance(model, FiniteHorizonMDP) else 0.01 / 0.3
    assert abs(np.mean(returns) - v) <= beyond + 4 * np.std(returns) / np.sqrt(2_000)


@pytest.mark.parametrize("make_model", [lambda k: realizable(k, stochastic=True), discounted])
def test_rollouts_improve_on_uniform_play(make_model: Any):
    for seed in range(2):
        env = ModelEnv(make_model(seed))
        uniform = audit(make_agent("Random-v0", env), env)
        improved = audit(make_agent("RolloutPlanner-v0", env, budget=2_000), env)
        assert improved.value > uniform.value
        best = uniform_improvement(env)
        assert improved.value >= uniform.value + 0.5 * (best - uniform.value)


def uniform_improvement(env: ModelEnv) -> float:
    """Value of acting greedily in the exact action values of uniform play."""
    model = env.model
    if isinstance(model, TabularMDP):
        v = evaluate_policy(model, np.full((model.n_states, 3), 1 / 3)).value
        return audit((model.r + model.gamma * (model.P_rows @ v).reshape(-1, 3)).argmax(axis=1), env).value
    v = evaluate_policy(model, np.full((model.horizon, model.n_states, 3), 1 / 3)).value
    return audit(action_values(model, v).argmax(axis=2), env).value


# bad input


@pytest.mark.parametrize(
    ("agent_id", "knobs", "message"),
    [
        ("LSVI-v0", {"ridge": np.nan}, "ridge is nan; pass a finite number"),
        ("LSVI-v0", {"ridge": 0.0}, "ridge is 0.0; it must be positive"),
        ("UCT-v0", {"exploration": np.nan}, "exploration is nan"),
        ("UCT-v0", {"exploration": -1.0}, "exploration is -1.0; it must be at least 0"),
        ("SparseSampling-v0", {"width": 0}, "width is 0; it must be at least 1"),
        ("SparseSampling-v0", {"width": 1.5}, "width is 1.5; pass an integer"),
        ("RolloutPlanner-v0", {"budget": 1e4}, "budget is 10000.0; pass an integer"),
        ("RolloutPlanner-v0", {"budget": True}, "budget is True; pass an integer"),
        ("UCT-v0", {"bernoulli_rewards": 1}, "bernoulli_rewards is 1; pass True or False"),
        ("UCT-v0", {"seed": -1}, "seed is -1"),
    ],
)
def test_a_knob_out_of_range_is_named(agent_id: str, knobs: dict[str, Any], message: str):
    with pytest.raises(ModelError, match=message):
        make_agent(agent_id, ModelEnv(realizable()), **knobs)


@pytest.mark.parametrize("agent_id", BASELINES)
def test_an_environment_without_features_or_model_is_refused(agent_id: str):
    with pytest.raises(ModelError, match="has no state features"):
        make_agent(agent_id, gym.make("RandomMDP-v0"))
    with pytest.raises(ModelError, match="the simulator of FrozenLakeEnv is not known"):
        make_agent(agent_id, gym.make("FrozenLake-v1"))


def test_an_access_that_shows_no_features_is_refused_by_lsvi():
    simulator = ModelEnv(realizable()).simulator
    access = LocalAccess(simulator, lambda codes: np.zeros((codes.size, 0)), rng=np.random.default_rng(0), horizon=4)
    with pytest.raises(ModelError, match="the access shows no features"):
        LSVI().plan(access, access.begin(), np.random.default_rng(0))


def test_states_that_look_the_same_are_refused():
    model = realizable()
    features = np.array(model.features)
    features[1, 2] = features[1, 4]
    twins = FiniteHorizonMDP(model.P, model.r, model.horizon, model.rho, features=features)
    with pytest.raises(AgentError, match="states 8 and 10 look the same"):
        make_agent("UCT-v0", ModelEnv(twins, "features"))
    make_agent("UCT-v0", ModelEnv(twins, "state"))


def test_an_episode_without_end_needs_a_discount():
    terms = AccessTerms(3, None, 1.0, None, False)
    with pytest.raises(ModelError, match=r"gamma is 1\.0 and there is no horizon"):
        stages_ahead(terms, 0)
    with pytest.raises(ModelError, match="give the access a budget"):
        queries_left(access_of(realizable()))


def test_the_effective_horizon_leaves_one_percent():
    for gamma in (0.0, 0.005, 0.01, 0.3, 0.9, 0.999):
        length = stages_ahead(AccessTerms(3, None, gamma, None, False), 7)
        assert gamma**length <= 0.01 + 1e-15
        assert length == 1 or gamma ** (length - 1) > 0.01


def test_ties_are_broken_evenly():
    rng = np.random.default_rng(0)
    drawn = np.bincount([any_best(np.array([1.0, 0.0, 1.0]), rng) for _ in range(1_000)], minlength=3)
    assert drawn[1] == 0
    assert abs(drawn[0] - 500) < 80
