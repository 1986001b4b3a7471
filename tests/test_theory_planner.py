"""TensorPlan with the constants of its proof: run for real, refused when the budget could fall short."""

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from lookahead_rl.agents.errors import AgentError
from lookahead_rl.agents.local.literal import LiteralPlan
from lookahead_rl.agents.local.theory import TheoryConstants
from lookahead_rl.agents.local.theory_planner import MOST_QUERIES, TheoryPlan, TheoryReport, TheoryTensorPlan
from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.models import FiniteHorizonMDP, GenerativeModel, ModelError, Planted, TabularMDP, realizable_mdp
from lookahead_rl.solvers.hypotheses.program import Hypotheses
from lookahead_rl.solvers.hypotheses.verification import verify
from lookahead_rl.wrappers import BernoulliRewards, ExpectationAccess, LocalAccess, Visit, model_features

Model = FiniteHorizonMDP | TabularMDP
RNG = np.random.default_rng
PLENTY = 10**25
S, A, H, B, DELTA, FAILURE = 4, 2, 2, 3.0, 0.5, 0.1


def local(
    model: Model, seed: int = 0, budget: int | None = PLENTY, simulator: Any = None, **kwargs: Any
) -> LocalAccess:
    finite = isinstance(model, FiniteHorizonMDP)
    return LocalAccess(
        BernoulliRewards(TabularSimulator(model)) if simulator is None else simulator,
        model_features(model),
        rng=RNG(seed),
        horizon=model.horizon if finite else None,
        gamma=1.0 if finite else model.gamma,
        budget=budget,
        **kwargs,
    )


def planned(
    model: Model, radius: float = B, delta: float = DELTA, seed: int = 0, **options: Any
) -> tuple[TheoryPlan, TheoryReport]:
    access = local(model, seed)
    plan = TheoryTensorPlan(radius, delta, failure=FAILURE, **options).plan(access, access.begin(), RNG(0))
    assert isinstance(plan, TheoryPlan)
    assert plan.report is not None
    assert plan.report.queries == access.queries
    return plan, plan.report


def instance(seed: int) -> Planted[FiniteHorizonMDP, Any]:
    return realizable_mdp(S, A, H, 2, seed, stochastic=True)


def played_value(plan: TheoryPlan, model: FiniteHorizonMDP, seed: int) -> float:
    """v^pi_0(s_0) of the actions that the plan plays, by backward recursion over all states."""
    key = object()
    access = local(model, seed, budget=None, referee=key)
    law, value = model.P.toarray().reshape(H, S, A, S), np.zeros(S)
    for h in reversed(range(H)):
        visits = [access.hand_out(h * S + s, h, referee=key) for s in range(S)] if h else None
        actions = np.empty(S, dtype=np.int64)
        for s in range(S):
            visit = access.hand_out(s, 0, referee=key) if visits is None else visits[s]
            actions[s] = plan.action(access, visit)
        value = model.r[h, np.arange(S), actions] + law[h, np.arange(S), actions] @ value
    return float(value[0])


def one_state(r: Any, features: float = 1.0) -> FiniteHorizonMDP:
    """One decision in one state, actions paying Bernoulli(r)."""
    rewards = np.atleast_2d(r)
    return FiniteHorizonMDP(
        np.ones((1, rewards.size, 1)), rewards, 1, np.ones(1), features=np.array([[[features]], [[0.0]]])
    )


# The guarantee


@pytest.mark.parametrize("seed", range(8))
def test_plans_are_within_delta_of_the_optimum(seed: int) -> None:
    planted = instance(seed)
    plan, report = planned(planted.model, seed=seed)
    best = float(planted.value[0, 0])
    assert plan.theta @ planted.model.features[0, 0] >= best - report.constants.sigma
    assert played_value(plan, planted.model, 100 + seed) >= best - DELTA


def test_delta_is_less_than_bad_plans_lose() -> None:
    """By the worst actions everywhere, in most of the instances above."""
    losses = []
    for seed in range(8):
        planted = instance(seed)
        law, worst = planted.model.P.toarray().reshape(H, S, A, S), np.zeros(S)
        for h in reversed(range(H)):
            worst = (planted.model.r[h] + law[h] @ worst).min(axis=1)
        losses.append(planted.value[0, 0] - worst[0])
    assert np.median(losses) > DELTA


def test_an_action_that_loses_more_than_delta_is_not_played() -> None:
    """Of rewards .8 and .1 the optimist hopes for 1: contradicted, as tau = 1/8; then .8 is left to hope for."""
    plan, report = planned(one_state([0.8, 0.1]), 1.0)
    assert len(report.thetas) == 1
    assert abs(plan.theta[0] - 0.8) <= 2 * report.constants.eps_d
    access = local(one_state([0.8, 0.1]), 1)
    assert plan.action(access, access.begin()) == 0


@pytest.mark.parametrize("seed", range(3))
def test_hypotheses_restricted_to_optimal_values_give_the_guarantee_too(seed: int) -> None:
    planted = instance(seed)
    plan, report = planned(planted.model, seed=seed, hypotheses=Hypotheses.OPTIMAL)
    assert report.program.hypotheses is Hypotheses.OPTIMAL
    assert played_value(plan, planted.model, 100 + seed) >= planted.value[0, 0] - DELTA


def test_discounted_plans_find_what_pays() -> None:
    """In state 0 action 1 moves to state 1, which pays; both actions of state 1 may lead back."""
    P = np.array([[[0.9, 0.1], [0.1, 0.9]], [[0.2, 0.8], [0.9, 0.1]]])
    r = np.array([[0.1, 0.0], [0.9, 0.9]])
    value = np.zeros(2)
    for _ in range(200):
        value = (r + 0.5 * P @ value).max(axis=1)
    model = TabularMDP(P, r, 0.5, np.array([1.0, 0.0]), features=np.eye(2))
    plan, report = planned(model, 2.0, 0.5)
    assert report.constants.horizon is None
    assert plan.theta[0] >= value[0] - report.constants.sigma
    access = local(model, 7)
    assert plan.action(access, access.begin()) == 1


@dataclass
class Sampling:
    """A generative model that cannot count."""

    inner: GenerativeModel

    @property
    def n_states(self) -> int:
        return self.inner.n_states

    @property
    def n_actions(self) -> int:
        return self.inner.n_actions

    def sample(self, states: Any, actions: Any, rng: np.random.Generator) -> Any:
        return self.inner.sample(states, actions, rng)

    def initial_states(self, n: int, rng: np.random.Generator) -> Any:
        return self.inner.initial_states(n, rng)


def test_simulators_that_sample_one_by_one_will_do() -> None:
    model = one_state([0.7])
    access = local(model, simulator=Sampling(BernoulliRewards(TabularSimulator(model))))
    plan = TheoryTensorPlan(1.0, 1.0, failure=FAILURE).plan(access, access.begin(), RNG(0))
    assert isinstance(plan, TheoryPlan)
    assert plan.report is not None
    c = plan.report.constants
    assert len(plan.report.thetas) == 1  # theta = 1 promises .3 too much, which tau = 1/4 does not let pass
    assert access.queries == (2 + c.m - 1) * c.n_c + c.m + c.n_d
    assert abs(plan.theta[0] - 0.7) <= 2 * c.eps_d


def test_what_a_simulator_shows_at_the_horizon_counts_for_nothing() -> None:
    """phi_H = 0 by definition, though this simulator says that episodes go on, and shows features."""

    @dataclass
    class Endless(Sampling):
        def sample(self, states: Any, actions: Any, rng: np.random.Generator) -> Any:
            return replace(self.inner.sample(states, actions, rng), terminated=np.zeros(len(states), dtype=np.bool_))

    simulator = Endless(BernoulliRewards(TabularSimulator(one_state([0.7]))))
    access = LocalAccess(simulator, lambda codes: np.ones((codes.size, 1)), rng=RNG(0), horizon=1, budget=PLENTY)
    plan = TheoryTensorPlan(1.0, 1.0).plan(access, access.begin(), RNG(0))
    assert isinstance(plan, TheoryPlan)
    assert plan.theta[0] == pytest.approx(0.7, abs=0.02)


# The algorithm


@pytest.mark.parametrize("seed", range(3))
def test_no_sample_is_used_twice(seed: int) -> None:
    """Each test of each state of each rollout, each step and each cut has paid for samples of its own."""
    _, report = planned(instance(seed).model, seed=seed)
    c, stages = report.constants, H - report.program.bank.caps
    clean = report.rollouts - len(report.thetas)
    tests, steps = clean * H + (stages + 1).sum(), clean * H + stages.sum()
    assert report.queries == tests * A * c.n_c + steps + len(report.thetas) * A * c.n_d


@pytest.mark.parametrize("seed", range(3))
def test_what_is_banked_contradicted_theta_and_what_is_accepted_passes(seed: int) -> None:
    planted = instance(seed)
    plan, report = planned(planted.model, seed=seed)
    c, bank = report.constants, report.program.bank
    assert report.rollouts >= c.m
    assert (bank.slack == c.eps_d).all()
    for i, theta in enumerate(report.thetas):
        misses = np.abs(bank.discriminants(theta)).min(axis=1)
        assert misses[i] > c.tau / 2 - c.eps_d
        assert (misses[:i] <= c.eps_d + 1e-6).all()
    assert (np.abs(bank.discriminants(planted.theta)).min(axis=1) <= c.eps_d).all()
    features, law = planted.model.features, planted.model.P.toarray().reshape(H, S, A, S)
    exact = planted.model.r[0, 0] + law[0, 0] @ features[1] @ plan.theta - features[0, 0] @ plan.theta
    assert np.abs(exact).min() <= 1.5 * c.tau
    assert np.linalg.norm(plan.theta) <= B * (1 + 1e-12)


@pytest.mark.parametrize(("shortfall", "is_contradicted"), [(0.24, False), (0.26, True)])
def test_the_test_is_passed_within_tau(shortfall: float, is_contradicted: bool) -> None:
    """tau = 1/4 at delta = 1; the optimist promises 1, the reward is not random."""
    model = one_state([1.0 - shortfall])
    access = local(model, simulator=TabularSimulator(model))
    plan = TheoryTensorPlan(1.0, 1.0).plan(access, access.begin(), RNG(0))
    assert isinstance(plan, TheoryPlan)
    assert plan.report is not None
    assert len(plan.report.thetas) == is_contradicted


def test_the_certificate_of_the_last_program_is_a_proof() -> None:
    _, report = planned(instance(0).model)
    assert report.certificate.gap <= report.constants.sigma
    verify(report.program, report.certificate)


def test_every_action_is_tested_with_fresh_samples() -> None:
    model = instance(0).model
    plan, report = planned(model)
    access = local(model, 3)
    visit = access.begin()
    for calls in (1, 2):
        plan.action(access, visit)
        assert access.queries == calls * A * report.constants.n_c


# What is told beforehand


def test_the_table_of_constants_is_written_before_the_first_query() -> None:
    model, stream = instance(0).model, io.StringIO()
    access = local(model, budget=10**6)
    planner = TheoryTensorPlan(B, DELTA, failure=FAILURE, stream=stream)
    with pytest.raises(AgentError):
        planner.plan(access, access.begin(), RNG(0))
    expected = TheoryConstants(2, A, H, B, DELTA, FAILURE)
    assert planner.constants(access.terms, 2) == expected
    assert stream.getvalue() == f"{expected}\n"
    assert access.queries == 0


@pytest.mark.parametrize("spent", [0, 7])
def test_a_budget_that_could_fall_short_is_refused_in_the_words_of_the_constants(spent: int) -> None:
    constants, model = TheoryConstants(2, A, H, B, DELTA, FAILURE), instance(0).model
    needed = int(constants.total_queries)
    for budget in (needed + spent - 1, needed + spent):
        access = local(model, budget=budget)
        start = access.begin()
        if spent:
            access.query(start.handle, 0, spent)
        planner = TheoryTensorPlan(B, DELTA, failure=FAILURE)
        if budget == needed + spent:
            planner.plan(access, start, RNG(0))
            continue
        with pytest.raises(AgentError) as caught:
            planner.plan(access, start, RNG(0))
        assert str(caught.value) == constants.refusal(needed - 1)


def test_without_a_budget_queries_are_limited_and_the_refusal_says_so() -> None:
    access = local(instance(0).model, budget=None)
    with pytest.raises(AgentError, match=rf"the budget is {MOST_QUERIES}: .*no budget was given"):
        TheoryTensorPlan(B, DELTA).plan(access, access.begin(), RNG(0))
    cheap = local(one_state([0.7]), budget=None)
    TheoryTensorPlan(1.0, 1.0).plan(cheap, cheap.begin(), RNG(0))


# Exact answers


def test_a_deterministic_simulator_is_planned_for_to_the_letter() -> None:
    planted, stream = realizable_mdp(S, A, 3, 3, 0), io.StringIO()
    access = local(planted.model, simulator=TabularSimulator(planted.model), is_deterministic=True, budget=None)
    plan = TheoryTensorPlan(4.5, 0.1, stream=stream).plan(access, access.begin(), RNG(0))
    assert isinstance(plan, LiteralPlan)
    assert plan.rollouts == len(plan.contradictions) + 1
    assert plan.value >= planted.value[0, 0] - 1e-6
    assert "m         1 " in stream.getvalue()


def test_an_expectation_oracle_needs_the_rollouts_that_delta_and_failure_ask_for() -> None:
    """m = B ln((C(4, 2) - 1 + 1) / failure) / delta = 3 ln 60 / .5 = 24.6, each with two states."""
    planted = instance(1)
    access = ExpectationAccess(planted.model, rng=RNG(0))
    plan = TheoryTensorPlan(B, DELTA, failure=FAILURE).plan(access, access.begin(), RNG(0))
    assert isinstance(plan, LiteralPlan)
    assert plan.rollouts >= 25
    assert plan.value >= planted.value[0, 0] - 1e-6


# Broken promises


def test_a_radius_that_is_too_small_is_named() -> None:
    access = local(one_state([0.5]))
    with pytest.raises(AgentError, match=r"no theta of norm at most B = 0\.25 .* event of probability 0\.05"):
        TheoryTensorPlan(0.25, 0.5).plan(access, access.begin(), RNG(0))


def test_more_contradictions_than_possible_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheoryConstants, "E", 0.0)
    monkeypatch.setattr(TheoryConstants, "eps_d", 0.01)
    monkeypatch.setattr(TheoryConstants, "n_d", 10.0)
    access = local(one_state([0.5]))
    with pytest.raises(AgentError, match=r"more than E = 0 contradictions.*an event of probability 0\.05"):
        TheoryTensorPlan(1.0, 1.0).plan(access, access.begin(), RNG(0))


@pytest.mark.parametrize(
    ("radius", "delta", "failure", "message"),
    [
        (0.0, 0.5, 0.1, r"radius is 0\.0; pass a positive number"),
        (1.0, -0.5, 0.1, r"delta is -0\.5; pass a positive number"),
        (1.0, 0.5, 0.0, r"failure is 0\.0; pass a probability between 0 and 1"),
        (1.0, 0.5, 1.0, r"failure is 1\.0; pass a probability between 0 and 1"),
    ],
)
def test_numbers_out_of_range_are_named(radius: float, delta: float, failure: float, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        TheoryTensorPlan(radius, delta, failure=failure)


def test_what_the_simulator_must_not_show_is_named() -> None:
    for model, message in (
        (one_state([1.5]), r"paid 1\.5; rewards must lie in \[0, 1\]"),
        (one_state([0.5], 1.1), r"features shown at stage 0 have norm 1\.1"),
    ):
        access = local(model, simulator=TabularSimulator(model))
        with pytest.raises(ModelError, match=message):
            TheoryTensorPlan(1.0, 1.0).plan(access, access.begin(), RNG(0))
    planted = instance(0)
    features = np.array(planted.model.features)
    features[1] *= 2.0
    long = FiniteHorizonMDP(planted.model.P, planted.model.r, H, planted.model.rho, features=features)
    access = local(long)
    with pytest.raises(ModelError, match="features shown at stage 1 have norm 2"):
        TheoryTensorPlan(B, DELTA).plan(access, access.begin(), RNG(0))


def test_a_delta_beyond_all_values_and_a_later_stage_are_refused() -> None:
    access = local(instance(0).model)
    start = access.begin()
    with pytest.raises(ModelError, match=r"delta is 2\.5; it must lie in \(0, 2\]"):
        TheoryTensorPlan(B, 2.5).plan(access, start, RNG(0))
    later = access.query(start.handle, 0)
    visit = Visit(later.handles[0], later.features[0], later.stage)
    with pytest.raises(AgentError, match="called at stage 1; plan at stage 0"):
        TheoryTensorPlan(B, DELTA).plan(access, visit, RNG(0))


# Files


def test_a_restored_plan_plays_the_same() -> None:
    model = instance(0).model
    plan, _ = planned(model)
    again = TheoryTensorPlan(B, DELTA).restore(plan.arrays())
    assert isinstance(again, TheoryPlan)
    np.testing.assert_array_equal(again.theta, plan.theta)
    assert (again.samples, again.report) == (plan.samples, None)
    access, other = local(model, 5), local(model, 5)
    assert plan.action(access, access.begin()) == again.action(other, other.begin())


def test_a_plan_from_exact_answers_is_restored_as_what_it_is() -> None:
    planner, access = TheoryTensorPlan(B, DELTA), ExpectationAccess(instance(0).model, rng=RNG(0))
    plan = planner.plan(access, access.begin(), RNG(0))
    again = planner.restore(plan.arrays())
    assert isinstance(again, LiteralPlan)
    assert all(np.array_equal(array, again.arrays()[name]) for name, array in plan.arrays().items())


def test_arrays_of_no_plan_are_refused() -> None:
    planner = TheoryTensorPlan(B, DELTA)
    with pytest.raises(ModelError, match=r"theta has shape \(1, 1\)"):
        planner.restore({"theta": np.ones((1, 1)), "samples": np.array(3)})
    with pytest.raises(ModelError, match="samples"):
        planner.restore({"theta": np.ones(1), "samples": np.array(0)})
