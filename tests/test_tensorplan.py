"""TensorPlan, as planner and as agent: optimal within few queries, proved, honest where it is not, never stuck."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import AgentError, load_agent, make_agent
from lookahead_rl.agents.local import tensorplan
from lookahead_rl.agents.local.literal import LiteralTensorPlan
from lookahead_rl.agents.local.planner import Access, PlanningBudgetExceeded, RepeatedContradiction
from lookahead_rl.agents.local.tensorplan import (
    NoHypothesisError,
    PlanReport,
    PlanStatus,
    TensorPlan,
    TensorPlanPlan,
    TensorPlanSettings,
)
from lookahead_rl.agents.local.tensorplan_agent import TensorPlanAgent
from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.models import (
    FiniteHorizonMDP,
    ModelError,
    TabularMDP,
    Transitions,
    needle_mdp,
    planted_mdp,
    realizable_mdp,
)
from lookahead_rl.solvers import backward_induction
from lookahead_rl.solvers.hypotheses.affine import solve_affine
from lookahead_rl.solvers.hypotheses.mixed_integer import solve_mixed_integer
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Optimum, Outcome, Program
from lookahead_rl.solvers.hypotheses.verification import verify
from lookahead_rl.wrappers import BudgetExceeded, ExpectationAccess, LocalAccess, QueryCounter
from lookahead_rl.wrappers.access import model_features

Model = FiniteHorizonMDP | TabularMDP


def local(model: Model, simulator: Any = None, **options: Any) -> LocalAccess:
    """Local access that declares keys and determinism, unless told otherwise."""
    time = (
        {"gamma": model.gamma, "horizon": None}
        if isinstance(model, TabularMDP)
        else {"gamma": 1.0, "horizon": model.horizon}
    )
    return LocalAccess(
        TabularSimulator(model) if simulator is None else simulator,
        model_features(model),
        rng=np.random.default_rng(0),
        **({"state_key": int, "is_deterministic": True} | time | options),
    )


def planned(access: Access, **settings: Any) -> TensorPlanPlan:
    return TensorPlan(TensorPlanSettings(**settings)).plan(access, access.begin(), np.random.default_rng(1))


def report_of(plan: Any) -> PlanReport:
    assert isinstance(plan, TensorPlanPlan)
    assert plan.report is not None
    return plan.report


def report_within(budget: int, access: Callable[[int], Access], **settings: Any) -> PlanReport:
    """What is known when a budget is spent, whether or not that sufficed."""
    try:
        return report_of(planned(access(budget), **settings))
    except PlanningBudgetExceeded as error:
        return report_of(error.plan)


def learnt(model: Model, **options: Any) -> TensorPlanAgent:
    agent = make_agent("TensorPlan-v0", ModelEnv(model), **options).learn(0)
    assert isinstance(agent, TensorPlanAgent)
    return agent


def deterministic(
    S: int, A: int, H: int, d: int, seed: int, r: float | None = None, phi: Any = None
) -> FiniteHorizonMDP:
    """A deterministic world whose features, random unless given, were chosen without regard to values."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(H + 1, S, d))
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    if phi is not None:
        features[:] = phi
    features[H] = 0.0
    P, rewards = np.eye(S)[rng.integers(0, S, (H, S, A))], rng.random((H, S, A))
    return FiniteHorizonMDP(P, rewards if r is None else np.full((H, S, A), r), H, np.eye(S)[0], features=features)


def policy_realizing_mdp(seed: int, S: int = 10, A: int = 3, H: int = 5, d: int = 4) -> tuple[FiniteHorizonMDP, float]:
    """A deterministic world in which v^pi of a random deterministic pi is linear and v* is not; and v^pi(s_0)."""
    bare, rng = deterministic(S, A, H, d, seed), np.random.default_rng(seed)
    policy, value, P = rng.integers(0, A, (H, S)), np.zeros((H + 1, S)), np.reshape(bare.P_rows, (H, S, A, S))
    for h in reversed(range(H)):
        value[h] = bare.r[h, np.arange(S), policy[h]] + P[h, np.arange(S), policy[h]] @ value[h + 1]
    direction = np.eye(d)[0]
    across = rng.normal(size=(H + 1, S, d)) * (1.0 - direction)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    along = (value / (1.5 * H))[..., None]
    features = along * direction + np.sqrt(1.0 - along**2) * across
    features[H] = 0.0
    return FiniteHorizonMDP(P, bare.r, H, bare.rho, features=features), float(value[0, 0])


def assert_certified(report: PlanReport) -> None:
    """The certificate is accepted by the checker, and what the plan promises is what it bounds."""
    proved = verify(report.program, report.certificate)
    assert report.status is PlanStatus.CERTIFIED
    assert proved.lower <= report.promised + 1e-9
    assert report.promised <= proved.upper + 1e-9
    assert proved.upper - proved.lower <= 2e-7 * (1.0 + report.program.radius)


# Optimal, within few queries, proved


@pytest.mark.parametrize("mdp_seed", [0, 3, 7])
def test_a_needle_among_4_to_the_100_is_found_in_under_1000_queries_and_proved(mdp_seed: int):
    env = gym.make("NeedleMDP-v0", n_actions=4, horizon=100, dim=60, mdp_seed=mdp_seed)
    agent = make_agent("TensorPlan-v0", env, budget=999).learn(0)
    assert_certified(report_of(agent.plan))
    assert audit(agent, env, reachable=True).value == 1.0


@pytest.mark.parametrize("dim", [20, 40, 60, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mdp_seed", [0, 1])
def test_generic_worlds_are_planned_optimally_in_20_d_queries(dim: int, mdp_seed: int):
    env = gym.make("RealizableMDP-v0", n_states=1000, n_actions=4, horizon=20, dim=dim, mdp_seed=mdp_seed)
    agent = make_agent("TensorPlan-v0", env, budget=20 * dim).learn(0)
    report, value = report_of(agent.plan), audit(agent, env, reachable=True)
    assert agent.planning_queries == report.queries <= 20 * dim
    assert_certified(report)
    assert value.regret == pytest.approx(0.0, abs=1e-6)
    assert report.promised == pytest.approx(value.value, abs=1e-4)


def test_queries_are_those_of_the_simulator():
    model = realizable_mdp(50, 3, 6, 8, 0).model
    counter = QueryCounter(TabularSimulator(model))
    report = report_of(planned(local(model, counter)))
    assert report.queries == counter.queries == 3 * len(report.program.bank)


@pytest.mark.parametrize("seed", range(3))
def test_expectations_make_random_transitions_plannable(seed: int):
    model = realizable_mdp(40, 3, 5, 6, seed, stochastic=True).model
    tested = report_of(learnt(model, oracle="expectations", rollouts=30).plan)
    assert tested.status is PlanStatus.TESTED  # 30 rollouts are no proof
    agent = learnt(model, oracle="expectations")
    report = report_of(agent.plan)
    assert report.is_exact
    assert agent.oracle == report.oracle == "expectations"
    assert_certified(report)
    assert audit(agent, ModelEnv(model), reachable=True).regret <= 1e-5


@pytest.mark.parametrize("seed", range(40))
def test_what_is_certified_is_optimal_also_where_rollouts_rarely_go(seed: int):
    model = realizable_mdp(3 + seed % 5, 2, 4, 5, seed, stochastic=True).model
    agent = learnt(model, oracle="expectations", seed=seed)
    assert report_of(agent.plan).status is PlanStatus.CERTIFIED
    assert audit(agent, ModelEnv(model)).regret <= 1e-6


def test_a_state_met_once_in_ten_episodes_is_tested():
    S, H = 3, 6
    P, r = np.zeros((H, S, 2, S)), np.zeros((H, S, 2))
    P[:, 1, :, 1] = P[:, 2, :, 2] = 1.0
    P[:, 0] = [[0.0, 0.9, 0.1], [0.0, 1.0, 0.0]]
    r[:, 2, 0], r[:, 1, 0] = 1.0, 0.1
    bare = FiniteHorizonMDP(P, r, H, np.eye(S)[0])
    value = backward_induction(bare).value
    features = np.zeros((H + 1, S, 3))
    features[:H, :, 0] = value[:H] / 10.0
    features[:H, :, 1:] = np.random.default_rng(0).uniform(-0.5, 0.5, (H, S, 2))
    model = replace(bare, features=features)
    for seed in range(10):
        agent = learnt(model, oracle="expectations", seed=seed, radius=20.0)
        assert report_of(agent.plan).status is PlanStatus.CERTIFIED
        assert audit(agent, ModelEnv(model)).regret <= 1e-6


def test_without_a_budget_what_is_known_is_known_of_one_episode_only():
    model = realizable_mdp(40, 3, 6, 5, 1).model
    agent = learnt(model, oracle="expectations", budget=None)
    assert audit(agent, ModelEnv(model)).regret <= 1e-6
    access = local(model)
    plan = planned(access)
    for _ in range(2):
        visit, spent = access.begin(), access.queries
        plan.action(access, visit)
        assert access.queries == spent + 3


@pytest.mark.parametrize("seed", range(20))
def test_what_is_tested_comes_with_a_hypothesis(seed: int):
    report = report_of(learnt(realizable_mdp(8, 2, 4, 4, seed, stochastic=True).model, samples=10, seed=seed).plan)
    assert report.status is PlanStatus.TESTED
    assert report.certificate.theta is not None
    assert report.certificate.gap <= 0.4 + 1e-5
    assert report.program.violation(report.theta) <= 1e-7 * (1.0 + report.program.radius)


def far_reward(n: int, gamma: float) -> TabularMDP:
    """A corridor of n states, a reward for ever at its end, and a way out at each step; one-hot features."""
    P, r = np.zeros((n + 1, 2, n + 1)), np.zeros((n + 1, 2))
    for s in range(n):
        P[s, 1, min(s + 1, n - 1)] = P[s, 0, n] = 1.0
    P[n, :, n] = r[n - 1, 1] = 1.0
    return TabularMDP(P, r, gamma, np.eye(n + 1)[0], None, np.eye(n + 1))


def test_rewards_beyond_the_effective_horizon_are_found():
    model = far_reward(60, 0.9)
    agent = learnt(model, radius=40.0, budget=5000)
    assert_certified(report_of(agent.plan))
    assert audit(agent, ModelEnv(model)).regret <= 1e-9
    with pytest.raises(NoHypothesisError, match=r"one of norm 22\.9"):
        learnt(model, radius=20.0, budget=5000)


def test_rounded_features_are_no_proof_unless_their_width_is_declared():
    model = realizable_mdp(30, 3, 8, 8, 0).model
    assert model.features is not None
    features = model.features.astype(np.float32).astype(np.float64)
    rounded = replace(model, features=features / max(1.0, np.linalg.norm(features, axis=-1).max()))
    assert report_of(learnt(rounded).plan).status is PlanStatus.ROUNDED
    report = report_of(learnt(rounded, width=1e-5).plan)
    assert report.status is PlanStatus.CERTIFIED
    assert report.certificate.upper >= backward_induction(model).value[0, 0] - 1e-6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("branching", "oracle"), [(1, "samples"), (2, "expectations")])
def test_discounted_plans_are_optimal(seed: int, branching: int, oracle: str):
    model = planted_mdp(30, 3, branching, seed, gamma=0.8, dim=5).model
    agent = learnt(model, oracle=oracle)
    assert_certified(report_of(agent.plan))
    assert report_of(agent.plan).oracle == oracle
    assert audit(agent, ModelEnv(model), reachable=True).regret <= 1e-5


def test_a_plan_acts_step_by_step_as_its_audit_says():
    env = gym.make("NeedleMDP-v0", n_actions=3, horizon=20, dim=10, mdp_seed=1)
    agent = make_agent("TensorPlan-v0", env)
    observation, _ = env.reset(seed=0)
    paid, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(agent.predict(observation)[0])
        paid, over = paid + float(reward), terminated or truncated
    assert paid == audit(agent, env, reachable=True).value == 1.0
    assert agent.execution_queries == 3 * 20


def test_states_without_keys_are_recognised_by_what_they_tell():
    model = realizable_mdp(6, 2, 4, 3, 0).model
    keyed, keyless = (report_of(planned(local(model, state_key=key))) for key in (int, None))
    assert keyed.queries <= keyless.queries
    assert keyed.promised == pytest.approx(keyless.promised)
    parts = np.concatenate([keyless.program.bank.increments.reshape(-1, 6), keyless.program.bank.rewards], axis=1)
    assert len(np.unique(parts, axis=0)) == len(parts)


# The truth is never cut off


def worlds() -> Iterator[Any]:
    for seed in range(2):
        deterministic_world = realizable_mdp(30, 3, 6, 8, seed)
        start = deterministic_world.value[0, 0]
        yield pytest.param(deterministic_world, start, "samples", id=f"deterministic-{seed}")
        stochastic_world = realizable_mdp(30, 3, 6, 8, seed, stochastic=True)
        yield pytest.param(stochastic_world, stochastic_world.value[0, 0], "expectations", id=f"stochastic-{seed}")
        needle = needle_mdp(3, 12, 8, seed)
        yield pytest.param(needle, 1.0, "samples", id=f"needle-{seed}")
        discounted = planted_mdp(30, 3, 2, seed, gamma=0.8, dim=6)
        one_start = replace_start(discounted.model)
        yield pytest.param(
            replace(discounted, model=one_start), discounted.value[0], "expectations", id=f"discounted-{seed}"
        )


def replace_start(model: TabularMDP) -> TabularMDP:
    return TabularMDP(model.P, model.r, model.gamma, np.eye(model.n_states)[0], features=model.features)


@pytest.mark.parametrize(("planted", "value", "oracle"), [*worlds()])
def test_at_every_moment_the_certificate_bounds_the_optimal_value(planted: Any, value: float, oracle: str):
    def access(budget: int) -> Access:
        if oracle == "samples":
            return local(planted.model, budget=budget)
        return ExpectationAccess(planted.model, rng=np.random.default_rng(0), budget=budget, state_key=int)

    ended, budget = False, 3
    while not ended:
        report = report_within(budget, access)
        proved, tolerance = verify(report.program, report.certificate), 1e-7 * (1.0 + report.program.radius)
        assert report.certificate.upper >= value - tolerance
        assert proved.upper >= value - tolerance
        assert report.program.violation(planted.theta) <= tolerance
        assert report.queries <= budget
        ended, budget = report.status is not PlanStatus.OUT_OF_BUDGET, budget + 12
    assert report.certificate.upper == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_weights_whose_norm_is_the_radius_exactly_are_found(seed: int):
    planted = realizable_mdp(20, 3, 6, 8, seed)
    report = report_of(learnt(planted.model, radius=float(np.linalg.norm(planted.theta))).plan)
    assert report.promised == pytest.approx(planted.value[0, 0], abs=1e-5)


# Competing with policies whose value is linear


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("hypotheses", ["any", "v*"])
def test_plans_compete_with_a_policy_of_linear_value_where_the_optimum_is_not_linear(seed: int, hypotheses: str):
    model, value = policy_realizing_mdp(seed)
    optimal = backward_induction(model).value[:5].reshape(-1)
    rows = model.features[:5].reshape(-1, 4)
    assert np.abs(rows @ np.linalg.lstsq(rows, optimal)[0] - optimal).max() > 0.1
    agent = learnt(model, hypotheses=hypotheses)
    report = report_of(agent.plan)
    assert report.hypotheses is report.program.hypotheses is Hypotheses.ANY
    assert_certified(report)
    assert report.promised >= value - 1e-5
    assert audit(agent, ModelEnv(model), reachable=True).value == pytest.approx(report.promised, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_three_optimisers_and_the_literal_algorithm_agree_on_what_is_promised(seed: int):
    model, value = policy_realizing_mdp(seed)
    report = report_of(learnt(model, hypotheses="any").plan)
    program = report.program
    free = Program(program.objective, program.radius, program.bank, Hypotheses.ANY, value_range=False)
    assert solve_mixed_integer(program).lower == pytest.approx(report.promised, abs=1e-5)
    assert solve_affine(free).lower >= report.promised - 1e-5
    literal = learnt(model, mode="literal", radius=10.0)
    assert literal.plan.value >= value - 1e-5
    planted = realizable_mdp(10, 3, 5, 4, seed)
    practical, other = learnt(planted.model), learnt(planted.model, mode="literal", radius=10.0)
    assert report_of(practical.plan).hypotheses is Hypotheses.OPTIMAL
    assert report_of(practical.plan).promised == pytest.approx(other.plan.value, abs=1e-5)


# Sampling


def test_sampled_plans_are_good_within_their_budget():
    regrets = []
    for seed in range(6):
        model = realizable_mdp(6, 2, 3, 3, seed, stochastic=True).model
        agent = learnt(model, budget=20_000, samples=200, bernoulli_rewards=True, seed=seed)
        report = report_of(agent.plan)
        states = len(report.program.bank)
        assert not report.is_exact
        # Each action of each state 200 times, and once more for every step of a rollout.
        assert 2 * 200 * states < report.queries <= min(20_000, 2 * 200 * states + 3 * report.rollouts)
        assert 0.0 <= report.certificate.gap <= 0.3 + 1e-9
        verify(report.program, report.certificate)
        regrets.append(audit(agent, ModelEnv(model), reachable=True).regret)
    assert np.mean(regrets) <= 0.05


@pytest.mark.slow
def test_sampled_plans_of_30_dimensions_lose_little_within_350000_queries():
    regrets = []
    for mdp_seed in range(10):
        env = gym.make(
            "RealizableMDP-v0", n_states=30, n_actions=3, horizon=8, dim=30, stochastic=True, mdp_seed=mdp_seed
        )
        agent = make_agent("TensorPlan-v0", env, budget=350_000, samples=1000, bernoulli_rewards=True).learn(0)
        regrets.append(audit(agent, env, reachable=True).regret)
    assert np.mean(regrets) <= 0.05


def test_slabs_too_thin_for_any_hypothesis_are_widened():
    model = realizable_mdp(6, 2, 3, 3, 0, stochastic=True).model
    report = report_of(learnt(model, samples=100, width=1e-4, bernoulli_rewards=True).plan)
    assert report.width in 1e-4 * 2.0 ** np.arange(4, 14)
    assert (report.program.bank.slack == report.width).all()
    assert report.status is PlanStatus.TESTED


SAMPLED = """
import numpy as np
import lookahead_rl
from lookahead_rl.agents import make_agent
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.models import realizable_mdp
model = realizable_mdp(6, 2, 3, 3, 0, stochastic=True).model
agent = make_agent("TensorPlan-v0", ModelEnv(model), samples=50, bernoulli_rewards=True, seed=4).learn(0)
print(agent.plan.report.theta.tobytes().hex(), agent.planning_queries, agent.predict(np.arange(18))[0].tolist())
"""


def test_equal_seeds_plan_equally_in_another_process():
    run = [sys.executable, "-W", "error", "-c", SAMPLED]
    first, second = (subprocess.run(run, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first == second != ""


# Budgets


def test_a_budget_that_runs_out_leaves_the_best_plan_and_a_true_certificate():
    model = realizable_mdp(200, 4, 10, 30, 0).model
    agent = make_agent("TensorPlan-v0", ModelEnv(model), budget=100)
    with pytest.raises(PlanningBudgetExceeded, match="the budget is 100 queries and 100 are used") as caught:
        agent.learn(0)
    report = report_of(caught.value.plan)
    assert caught.value.plan is agent.plan
    assert agent.planning_queries == report.queries == 100
    assert report.status is PlanStatus.OUT_OF_BUDGET
    assert "raise the budget" in str(report.status)
    assert report.certificate.n_data == len(report.program.bank) == 25
    proved, value = verify(report.program, report.certificate), realizable_mdp(200, 4, 10, 30, 0).value[0, 0]
    assert value - 1e-5 <= proved.upper <= 10.0 + 1e-5
    spent = agent.planning_queries
    assert 0.0 < audit(agent, ModelEnv(model), reachable=True).value <= value + 1e-9
    assert agent.planning_queries == spent


def test_a_budget_of_less_than_one_state_is_refused_with_the_number_needed():
    model = realizable_mdp(6, 3, 3, 3, 0, stochastic=True).model
    with pytest.raises(BudgetExceeded, match="the budget is 299 queries and 0 are used; 300 more would exceed it"):
        make_agent("TensorPlan-v0", ModelEnv(model), budget=299, samples=100).learn(0)
    with pytest.raises(BudgetExceeded, match="the budget is 2 queries and 0 are used; 3 more would exceed it"):
        make_agent("TensorPlan-v0", ModelEnv(realizable_mdp(6, 3, 3, 3, 0).model), budget=2).learn(0)


# What the data refuse


def test_a_radius_too_small_is_said_as_such_with_a_norm_that_would_do():
    planted = realizable_mdp(20, 3, 6, 8, 0)
    for radius in (4.5, 8.9):
        with pytest.raises(NoHypothesisError, match=rf"radius is {radius}, too small: .* but one of norm 9 is"):
            learnt(planted.model, radius=radius)
    learnt(planted.model, radius=9.0)


@pytest.mark.parametrize("radius", [None, 1.0, 1e4])
@pytest.mark.parametrize("hypotheses", ["v*", "any"])
def test_features_in_which_no_value_is_linear_are_refused(radius: float | None, hypotheses: str):
    for model in (
        deterministic(20, 3, 5, 3, 0),
        deterministic(4, 2, 4, 2, 0, phi=[1.0, 0.0]),
        deterministic(4, 2, 4, 2, 0, phi=0.0),
        deterministic(4, 2, 4, 2, 0, r=1.0, phi=[0.6, 0.8]),
    ):
        with pytest.raises(NoHypothesisError, match=r"no deterministic policy linear: .* add features"):
            learnt(model, radius=radius, hypotheses=hypotheses)


def test_a_larger_radius_is_not_advised_for_its_larger_tolerance():
    model = deterministic(1, 1, 2, 1, 0, r=4e-4, phi=1.0)  # theta would be both r and 2 r
    with pytest.raises(NoHypothesisError, match=r"no deterministic policy linear: .* add features"):
        learnt(model)


def with_parts(model: FiniteHorizonMDP, scale: float = 1.0, more: float = 0.0) -> FiniteHorizonMDP:
    assert model.features is not None
    return FiniteHorizonMDP(model.P_rows, model.r + more, model.horizon, model.rho, features=scale * model.features)


@pytest.mark.parametrize("mode", ["practical", "literal"])
def test_what_local_access_promises_is_checked(mode: str):
    model, options = realizable_mdp(4, 2, 3, 3, 0).model, {"mode": mode, "radius": 5.0}
    with pytest.raises(ModelError, match=r"features shown at stage 0 have norm 1\.1; norms must be at most 1: divide"):
        learnt(with_parts(model, scale=1.1), **options)
    with pytest.raises(ModelError, match=r"stage 0 paid 1\.\d+; rewards must lie in \[0, 1\]: rescale"):
        learnt(with_parts(model, more=1.0), **options)
    with pytest.raises(ModelError, match=r"stage 0 paid -0\.\d+; rewards must lie in \[0, 1\]"):
        learnt(with_parts(model, more=-1.0), **options)


def test_states_of_one_key_must_show_the_same_features():
    with pytest.raises(ModelError, match=r"one declared key was shown with features .* declare a finer state_key"):
        planned(local(realizable_mdp(4, 2, 3, 3, 0).model, state_key=lambda _: 0))


def test_a_planner_is_called_at_stages_of_the_episode():
    referee = object()
    access = local(realizable_mdp(4, 2, 3, 3, 0).model, referee=referee)
    with pytest.raises(ModelError, match="stage is 3; planners are called at stages 0 to 2"):
        access.hand_out(12, 3, referee=referee)
    with pytest.raises(ModelError, match="state 4 belongs to stage 1, not 0"):
        access.hand_out(4, 0, referee=referee)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fast"}, "mode is 'fast'; pass 'practical', 'literal' or 'theory'"),
        ({"mode": "literal"}, "mode 'literal' needs radius"),
        ({"mode": "theory"}, "mode 'theory' needs radius"),
        ({"hypotheses": "q*"}, r"hypotheses is 'q\*'; pass 'v\*' or 'any'"),
        ({"oracle": "gradients"}, "oracle is 'gradients'; pass 'samples' or 'expectations'"),
        ({"radius": 0.0}, "radius is 0.0; pass a positive number"),
        ({"radius": float("nan")}, "radius is nan; pass a finite number"),
        ({"radius": 1e6}, r"radius is 1e\+06, at which rounding hides rewards; pass at most 25000"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2.5}, "samples is 2.5"),
        ({"width": -0.1}, "width is -0.1; pass a positive number"),
        ({"width": 0.0}, "width is 0.0; pass a positive number"),
        ({"width": float("inf")}, "width is inf; pass a finite number"),
        ({"slack": -1.0}, "slack is -1.0; pass a number >= 0"),
        ({"slack": float("nan")}, "slack is nan; pass a finite number"),
        ({"rollouts": 0}, "rollouts is 0"),
        ({"budget": -1}, "budget is -1"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str):
    with pytest.raises((AgentError, ModelError), match=message):
        learnt(realizable_mdp(4, 2, 3, 3, 0).model, **options)


def test_a_bad_limit_of_expansions_is_named():
    with pytest.raises(ModelError, match="max_expansions is 0"):
        TensorPlanSettings(max_expansions=0)


# Hostile simulators, and a solver that errs


class Fickle:
    """Pays something new at each query."""

    def __init__(self, model: Model) -> None:
        self._inner, self._rng = TabularSimulator(model), np.random.default_rng(1)
        self.n_states, self.n_actions = self._inner.n_states, self._inner.n_actions

    def initial_states(self, n: int, rng: np.random.Generator) -> Any:
        return self._inner.initial_states(n, rng)

    def sample(self, states: Any, actions: Any, rng: np.random.Generator) -> Transitions:
        reached = self._inner.sample(states, actions, rng)
        return replace(reached, rewards=self._rng.random(reached.rewards.shape))


@pytest.mark.parametrize("key", [int, None])
def test_answers_that_change_although_they_were_declared_not_to_end_in_an_error(key: Any):
    model = realizable_mdp(20, 3, 6, 4, 0).model
    with pytest.raises(NoHypothesisError):
        planned(local(model, Fickle(model), state_key=key))


@pytest.mark.parametrize("key", [int, None])
def test_a_banked_datum_that_contradicts_again_raises(key: Any, monkeypatch: pytest.MonkeyPatch):
    class Forgetful(tensorplan.HypothesisTree):  # type: ignore[misc]
        theta = np.array([0.0, 0.0, 0.0, 7.0])
        incumbent = theta

        def solve(self, **options: Any) -> Optimum:
            return Optimum(self.theta, 0.0, 0.0, Outcome.OPTIMAL, 1)

    monkeypatch.setattr(tensorplan, "HypothesisTree", Forgetful)
    with pytest.raises(RepeatedContradiction, match="a datum of stage 0 contradicts a hypothesis it had admitted"):
        planned(local(realizable_mdp(8, 2, 5, 4, 0).model, state_key=key))


def test_a_tree_that_comes_to_a_halt_is_left_for_the_mixed_integer_solver(monkeypatch: pytest.MonkeyPatch):
    class Stuck(tensorplan.HypothesisTree):  # type: ignore[misc]
        def solve(self, **options: Any) -> Optimum:
            return Optimum(None, -np.inf, 6.0, Outcome.LIMIT, 1)

    monkeypatch.setattr(tensorplan, "HypothesisTree", Stuck)
    planted = realizable_mdp(8, 2, 4, 4, 0)
    report = report_of(planned(local(planted.model), max_expansions=200))
    assert report.status is PlanStatus.UNPROVED
    assert report.promised == pytest.approx(planted.value[0, 0], abs=1e-5)
    with pytest.raises(NoHypothesisError, match="no deterministic policy linear"):
        planned(local(deterministic(20, 3, 5, 3, 0)), max_expansions=200)


def test_a_limit_of_expansions_leaves_the_plan_right_and_says_that_it_is_unproved():
    model, value = policy_realizing_mdp(0, d=6)
    report = report_of(planned(local(model), max_expansions=1, hypotheses=Hypotheses.ANY))
    assert report.status is PlanStatus.UNPROVED
    proved = verify(report.program, report.certificate)
    assert proved.upper >= report.promised - 1e-6 >= value - 1e-5
    assert solve_mixed_integer(report.program).lower == pytest.approx(report.promised, abs=1e-5)


# Small and odd worlds


@pytest.mark.parametrize("hypotheses", ["v*", "any"])
@pytest.mark.parametrize("radius", [None, 1e4])
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(deterministic(1, 1, 1, 1, 0), id="one of everything"),
        pytest.param(deterministic(1, 1, 1, 5, 0), id="d above all data"),
        pytest.param(deterministic(2, 2, 1, 50, 0), id="H=1"),
        pytest.param(deterministic(3, 2, 2, 50, 0), id="H=2"),
        pytest.param(deterministic(3, 1, 3, 12, 0), id="A=1"),
        pytest.param(deterministic(1, 2, 1, 1, 0), id="d=1"),
        pytest.param(deterministic(6, 3, 4, 3, 0, r=0.0), id="nothing is paid"),
        pytest.param(deterministic(1, 3, 4, 6, 0, r=1.0), id="everything is paid"),
        pytest.param(deterministic(4, 2, 4, 2, 0, r=0.0, phi=0.0), id="zero features"),
        pytest.param(deterministic(4, 2, 1, 2, 0, phi=[0.6, 0.8]), id="constant features"),
        pytest.param(realizable_mdp(5, 2, 4, 2, 0).model, id="d=2"),
    ],
)
def test_odd_worlds_are_planned_optimally(model: FiniteHorizonMDP, radius: float | None, hypotheses: str):
    agent = learnt(model, radius=radius, hypotheses=hypotheses)
    report = report_of(agent.plan)
    assert_certified(report)
    allowed = 4e-6 * (1.0 + report.program.radius) * model.horizon
    assert audit(agent, ModelEnv(model), reachable=True).regret <= allowed


def test_copies_of_actions_are_branched_on_once():
    planted = realizable_mdp(20, 2, 5, 6, 0)
    P = planted.model.P_rows.toarray().reshape(5, 20, 2, 20).repeat(3, axis=2)
    model = FiniteHorizonMDP(
        P, planted.model.r.repeat(3, axis=2), 5, planted.model.rho, features=planted.model.features
    )
    report = report_of(learnt(model).plan)
    assert_certified(report)
    assert report.promised == pytest.approx(planted.value[0, 0], abs=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99])
@pytest.mark.parametrize(("S", "A", "d"), [(1, 1, 1), (1, 3, 4), (3, 2, 20)])
def test_small_discounted_worlds_are_planned_optimally(S: int, A: int, d: int, gamma: float):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(S, d))
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    P = np.eye(S)[rng.integers(0, S, (S, A))]
    model = TabularMDP(P, rng.random((S, A)), gamma, np.eye(S)[0], features=features)
    agent = learnt(model)
    assert_certified(report_of(agent.plan))
    assert audit(agent, ModelEnv(model), reachable=True).regret <= 1e-4 / (1.0 - gamma)


# Files


@pytest.mark.parametrize("options", [{}, {"hypotheses": "any"}, {"mode": "literal", "radius": 6.0}], ids=str)
def test_plans_survive_in_files_without_their_reports(options: dict[str, Any], tmp_path: Path):
    env = ModelEnv(realizable_mdp(8, 3, 4, 4, 0).model)
    agent = make_agent("TensorPlan-v0", env, seed=3, **options).learn(0)
    agent.save(tmp_path / "plan")
    twin = load_agent(tmp_path / "plan", env)
    assert isinstance(twin, TensorPlanAgent)
    assert twin.config() == agent.config()
    assert twin.planning_queries == agent.planning_queries > 0
    np.testing.assert_array_equal(twin.action_probabilities(np.arange(32)), agent.action_probabilities(np.arange(32)))
    assert twin.planning_queries == agent.planning_queries
    assert agent.plan is not None
    assert twin.plan is not None
    before, after = agent.plan.arrays(), twin.plan.arrays()
    assert {name: array.tolist() for name, array in after.items()} == {n: array.tolist() for n, array in before.items()}
    if isinstance(twin.plan, TensorPlanPlan):
        assert twin.plan.report is None


def test_a_file_keeps_every_setting(tmp_path: Path):
    env = ModelEnv(realizable_mdp(6, 2, 3, 3, 0).model)
    options = {
        "budget": 5000, "mode": "practical", "radius": 7.0, "hypotheses": "any", "samples": 40, "width": 0.3,
        "slack": 0.2, "max_expansions": 5_000,
        "rollouts": 3, "delta": 0.7, "failure": 0.2, "oracle": "samples", "bernoulli_rewards": True,
        "seed": 5,
    }  # fmt: skip
    agent = make_agent("TensorPlan-v0", env, **options)
    agent.save(tmp_path / "agent")
    assert agent.config() == load_agent(tmp_path / "agent", env).config() == options
    agent.learn(0)
    report, steps = report_of(agent.plan), agent.planning_queries - 2 * 40 * len(report_of(agent.plan).program.bank)
    assert report.width in 0.3 * 2.0 ** np.arange(9)
    assert report.program.radius == 7.0
    assert 0 < steps <= 3 * report.rollouts


def test_damaged_plans_are_refused():
    plan = planned(local(realizable_mdp(8, 3, 4, 4, 0).model))
    for theta in (np.zeros((2, 2)), np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match="theta is no vector of finite weights"):
            TensorPlan().restore(plan.arrays() | {"theta": theta})
    with pytest.raises(KeyError, match="is_greedy"):
        TensorPlan().restore({"theta": np.zeros(2)})


def test_the_planner_of_a_mode_is_the_one_it_names(capsys: pytest.CaptureFixture[str]):
    model = realizable_mdp(8, 3, 4, 4, 0).model
    literal = learnt(model, mode="literal", radius=6.0)
    direct = LiteralTensorPlan(6.0, rollouts=10).plan(access := local(model), access.begin(), np.random.default_rng(0))
    assert literal.plan.value == pytest.approx(direct.value)
    assert literal.plan.arrays().keys() == direct.arrays().keys()
    assert capsys.readouterr().out == ""
    theory = learnt(model, mode="theory", radius=6.0)
    assert "clean rollouts" in capsys.readouterr().out
    assert audit(theory, ModelEnv(model), reachable=True).regret <= 0.5


def test_as_many_rollouts_as_asked_for_are_free_of_contradictions():
    model = realizable_mdp(40, 3, 5, 6, 0, stochastic=True).model
    few, many = (report_of(learnt(model, oracle="expectations", rollouts=m).plan) for m in (1, 40))
    assert many.rollouts >= 40 + many.contradictions
    assert few.rollouts < 40
