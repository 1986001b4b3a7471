"""TensorPlan to the letter: few contradictions, sound plans, and errors that say what is wrong."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from lookahead_rl.agents.errors import AgentError
from lookahead_rl.agents.local import literal
from lookahead_rl.agents.local.literal import LiteralPlan, LiteralTensorPlan, RepeatedContradiction
from lookahead_rl.agents.local.measurement import Observer
from lookahead_rl.agents.local.planner import Access
from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.models import FiniteHorizonMDP, ModelError, TabularMDP, needle_mdp, planted_mdp, realizable_mdp
from lookahead_rl.solvers.hypotheses.program import Optimum, Outcome
from lookahead_rl.solvers.hypotheses.tensor import are_triangular, contradiction_bound
from lookahead_rl.wrappers.access import BudgetExceeded, ExpectationAccess, LocalAccess, StateKey, model_features

Model = FiniteHorizonMDP | TabularMDP


def local(model: Model, *, exact: bool = True, key: StateKey | None = int, budget: int | None = None) -> LocalAccess:
    return LocalAccess(
        TabularSimulator(model),
        model_features(model),
        rng=np.random.default_rng(0),
        horizon=model.horizon if isinstance(model, FiniteHorizonMDP) else None,
        gamma=model.gamma if isinstance(model, TabularMDP) else 1.0,
        is_deterministic=exact,
        state_key=key,
        budget=budget,
    )


def plan(access: Access, radius: float, **options: Any) -> LiteralPlan:
    return LiteralTensorPlan(radius, **options).plan(access, access.begin(), np.random.default_rng(1))


def played(access: LocalAccess, plan: LiteralPlan, stages: int) -> float:
    """Discounted return of an episode of a deterministic simulator."""
    visit, total, rng = access.begin(), 0.0, np.random.default_rng(0)
    for h in range(stages):
        action = plan.action(access, visit)
        observer = Observer(access)
        measured = observer.measure(visit)
        total += access.terms.gamma**h * measured.rewards[action]
        reached = observer.follow(measured, action, rng)
        if reached is None:
            break
        visit = reached
    return total


def stage_values(model: FiniteHorizonMDP, policy: np.ndarray) -> np.ndarray:
    """v^pi (H + 1, S) of a deterministic policy (H, S)."""
    H, S = policy.shape
    value, states = np.zeros((H + 1, S)), np.arange(S)
    for h in reversed(range(H)):
        value[h] = model.r[h, states, policy[h]] + model.P[h, states, policy[h]] @ value[h + 1]
    return value


def policy_realizing_mdp(
    S: int, A: int, H: int, d: int, rng: np.random.Generator
) -> tuple[FiniteHorizonMDP, np.ndarray, np.ndarray]:
    """A deterministic MDP with unit features in which the value of a random policy is linear: (model, v^pi, theta)."""
    P = np.eye(S)[rng.integers(0, S, (H, S, A))]
    bare = FiniteHorizonMDP(P, rng.random((H, S, A)), H, np.eye(S)[0])
    value = stage_values(bare, rng.integers(0, A, (H, S)))
    direction = rng.normal(size=d)
    direction /= np.linalg.norm(direction)
    across = rng.normal(size=(H + 1, S, d))
    across -= (across @ direction)[..., None] * direction
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    along = (value / (1.5 * H))[..., None]
    features = along * direction + np.sqrt(1.0 - along**2) * across
    features[H] = 0.0
    return FiniteHorizonMDP(bare.P, bare.r, H, bare.rho, None, features), value, 1.5 * H * direction


# Contradictions


def test_contradictions_stay_below_the_bound_and_are_about_d_plus_one() -> None:
    counts = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        d, A = int(rng.integers(2, 5)), int(rng.integers(2, 4))
        planted = realizable_mdp(8, A, 5, d, rng)
        found = plan(local(planted.model), 8.0)
        assert found.bound == contradiction_bound(d, A)
        assert len(found.contradictions) == len(found.thetas) <= found.bound
        assert are_triangular(found.contradictions, found.thetas, found.tol)
        counts.append(len(found.contradictions) - d)
    assert 0.0 <= np.mean(counts) <= 2.0


def test_a_needle_is_found() -> None:
    planted = needle_mdp(4, 12, 6, 3)
    access = local(planted.model)
    found = plan(access, 3.0)
    assert found.value == pytest.approx(1.0, abs=1e-6)
    assert found.queries <= 4 * 12 * (len(found.contradictions) + 1)
    assert played(local(planted.model), found, 12) == 1.0


# Soundness


@pytest.mark.parametrize("seed", range(20))
def test_plans_are_optimal_where_the_optimal_value_is_realizable(seed: int) -> None:
    planted = realizable_mdp(6, 2, 4, 3, seed)
    found = plan(local(planted.model), 6.0)
    best = planted.value[0, 0]
    assert found.value >= best - 1e-6
    assert played(local(planted.model), found, 4) == pytest.approx(found.value, abs=1e-5)
    assert played(local(planted.model), found, 4) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_plans_compete_with_a_realizable_policy_where_the_optimal_value_is_not_realizable(seed: int) -> None:
    model, value, theta = policy_realizing_mdp(10, 3, 5, 4, np.random.default_rng(seed))
    assert model.features is not None
    optimal = np.zeros((6, 10))
    for h in reversed(range(5)):
        optimal[h] = (model.r[h] + model.P[h] @ optimal[h + 1]).max(axis=1)
    rows = model.features[:5].reshape(-1, 4)
    misfit = rows @ np.linalg.lstsq(rows, optimal[:5].ravel())[0] - optimal[:5].ravel()
    assert np.abs(misfit).max() > 0.1
    found = plan(local(model), float(np.linalg.norm(theta)))
    earned = played(local(model), found, 5)
    assert earned >= value[0, 0] - 1e-5
    assert earned == pytest.approx(found.value, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_plans_reach_the_best_of_all_realizable_deterministic_policies(seed: int) -> None:
    radius = 6.0
    model, _, _ = policy_realizing_mdp(2, 2, 3, 4, np.random.default_rng(seed))
    assert model.features is not None
    rows, best = model.features[:3].reshape(-1, 4), -np.inf
    for actions in product(range(2), repeat=6):
        value = stage_values(model, np.reshape(actions, (3, 2)))
        theta = np.linalg.lstsq(rows, value[:3].ravel())[0]
        if np.linalg.norm(theta) <= radius and np.allclose(rows @ theta, value[:3].ravel(), atol=1e-9):
            best = max(best, value[0, 0])
    assert best > 0.0
    assert played(local(model), plan(local(model), radius), 3) >= best - 1e-5


def test_discounted_plans_are_sound_up_to_delta() -> None:
    for seed in range(5):
        planted = planted_mdp(12, 2, 1, seed, gamma=0.7, dim=3)
        access = local(planted.model)
        planner = LiteralTensorPlan(10 / 3, delta=0.01)
        start = access.begin()
        found = planner.plan(access, start, np.random.default_rng(0))
        state = int(np.abs(planted.model.features - start.features).sum(axis=1).argmin())
        stages = planner.stages(access)
        assert 0.7**stages * (10 / 3 + 10 / 3) <= 0.005
        assert found.value >= planted.value[state] - 1e-6
        again = local(planted.model)  # the same seed: the same start
        assert played(again, found, stages) >= planted.value[state] - 0.01


@pytest.mark.parametrize("seed", range(5))
def test_expectations_of_random_transitions_suffice(seed: int) -> None:
    planted = realizable_mdp(6, 2, 4, 3, seed, stochastic=True)
    model = planted.model
    found = plan(ExpectationAccess(model, rng=np.random.default_rng(seed), state_key=int), 6.0, rollouts=200)
    assert model.features is not None
    following = np.einsum("hsat,htd->hsad", model.P_rows.toarray().reshape(4, 6, 2, 6), model.features[1:])
    q = model.r + following @ found.theta
    policy = np.abs(q - (model.features[:4] @ found.theta)[..., None]).argmin(axis=2)
    dense = FiniteHorizonMDP(model.P_rows.toarray().reshape(4, 6, 2, 6), model.r, 4, model.rho)
    assert stage_values(dense, policy)[0, 0] >= planted.value[0, 0] - 6.0 * np.log(1e3) / 200
    assert found.rollouts >= 200


# What a plan keeps


def test_only_contradictions_are_kept_and_each_costs_a_rollout() -> None:
    planted = realizable_mdp(8, 2, 5, 4, 0)
    found = plan(local(planted.model), 8.0)
    assert found.rollouts == len(found.contradictions) + 1
    assert found.contradictions.inconsistency(found.theta).max() <= found.tol
    assert (found.contradictions.slack == 0).all()


def test_keys_save_queries_and_change_nothing_else() -> None:
    planted = realizable_mdp(4, 2, 5, 4, 0)
    keyed, keyless = plan(local(planted.model), 8.0), plan(local(planted.model, key=None), 8.0)
    assert keyed.queries < keyless.queries
    assert np.array_equal(keyed.theta, keyless.theta)


def test_plans_survive_as_arrays() -> None:
    planted = realizable_mdp(8, 2, 5, 4, 0)
    found = plan(local(planted.model), 8.0)
    restored = LiteralTensorPlan(8.0).restore(found.arrays())
    assert {k: v.tolist() for k, v in restored.arrays().items()} == {k: v.tolist() for k, v in found.arrays().items()}
    assert restored.bound == found.bound
    with pytest.raises(ModelError, match="not those of a plan"):
        LiteralTensorPlan(8.0).restore(found.arrays() | {"thetas": np.zeros((1, 4))})


# Bad input


def with_features(model: FiniteHorizonMDP, scale: float) -> FiniteHorizonMDP:
    assert model.features is not None
    return FiniteHorizonMDP(model.P_rows, model.r, model.horizon, model.rho, None, scale * model.features)


def test_sampling_a_simulator_not_known_to_be_deterministic_is_refused() -> None:
    model = realizable_mdp(4, 2, 3, 3, 0).model
    with pytest.raises(AgentError, match=r"not known to be deterministic.*ExpectationAccess.*TensorPlan-v0"):
        plan(local(model, exact=False), 5.0)
    found = plan(local(model), 5.0)
    access = local(model, exact=False)
    with pytest.raises(AgentError, match="not known to be deterministic"):
        found.action(access, access.begin())


def test_a_radius_too_small_for_any_hypothesis_is_said_as_such() -> None:
    model = realizable_mdp(6, 2, 4, 3, 0).model
    with pytest.raises(AgentError, match=r"no theta of norm at most B = 0\.5 is consistent"):
        plan(local(model), 0.5)


def test_features_of_norm_above_one_are_refused() -> None:
    with pytest.raises(ModelError, match=r"features shown at stage 0 have norm 1\.1; .* divide"):
        plan(local(with_features(realizable_mdp(4, 2, 3, 3, 0).model, 1.1)), 5.0)


def test_rewards_outside_the_unit_interval_are_refused() -> None:
    model = realizable_mdp(4, 2, 3, 3, 0).model
    paid = FiniteHorizonMDP(model.P_rows, model.r + 1.0, 3, model.rho, None, model.features)
    with pytest.raises(ModelError, match=r"at stage 0 paid 1\.\d+; rewards must lie in \[0, 1\]"):
        plan(local(paid), 5.0)


def test_states_of_one_key_must_show_the_same_features() -> None:
    with pytest.raises(ModelError, match="one declared key was shown with features"):
        plan(local(realizable_mdp(4, 2, 3, 3, 0).model, key=lambda _: 0), 5.0)


def test_planning_begins_at_stage_0() -> None:
    access = local(realizable_mdp(4, 2, 3, 3, 0).model)
    start = access.begin()
    observer = Observer(access)
    visit = observer.follow(observer.measure(start), 0, np.random.default_rng(0))
    assert visit is not None
    with pytest.raises(AgentError, match=r"plan\(\) was called at stage 1"):
        LiteralTensorPlan(5.0).plan(access, visit, np.random.default_rng(0))


def test_a_budget_is_hard() -> None:
    with pytest.raises(BudgetExceeded):
        plan(local(realizable_mdp(6, 2, 4, 3, 0).model, budget=5), 6.0)


def test_a_limit_of_nodes_is_reported() -> None:
    with pytest.raises(AgentError, match="examined max_nodes = 2 nodes"):
        plan(local(realizable_mdp(8, 3, 5, 5, 0).model), 8.0, max_nodes=2)


def test_a_banked_datum_that_contradicts_again_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful:
        def __init__(self, program: Any, *, tol: float) -> None:
            self.theta = program.radius * program.objective / np.linalg.norm(program.objective)

        def solve(self, *, max_nodes: int | None) -> Optimum:
            return Optimum(self.theta, 0.0, 0.0, Outcome.OPTIMAL, 1)

    monkeypatch.setattr(literal, "AffineTree", Forgetful)
    with pytest.raises(RepeatedContradiction, match="datum 0 of the bank contradicts theta"):
        plan(local(realizable_mdp(8, 2, 5, 4, 0).model), 8.0)


def test_a_rollout_that_contradicts_by_a_banked_datum_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literal, "_consistent_action", lambda measurement, theta: (0, 1.0))
    with pytest.raises(RepeatedContradiction, match="datum 0 of the bank, with which theta"):
        plan(local(realizable_mdp(8, 2, 5, 4, 0).model), 8.0)


@pytest.mark.parametrize(
    ("radius", "options", "named"),
    [
        (0.0, {}, "radius"),
        (float("nan"), {}, "radius"),
        (1.0, {"rollouts": 0}, "rollouts"),
        (1.0, {"delta": 0.0}, "delta"),
        (1.0, {"tol": 1e-12}, "tol"),
        (1.0, {"max_nodes": 0}, "max_nodes"),
    ],
)
def test_bad_parameters_are_named(radius: float, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        LiteralTensorPlan(radius, **options)


# Measuring one state


def test_measurements_are_the_models_own_numbers() -> None:
    planted = realizable_mdp(6, 3, 4, 3, 0, stochastic=True)
    model = planted.model
    assert model.features is not None
    access = ExpectationAccess(model, rng=np.random.default_rng(0))
    measured = Observer(access).measure(access.begin())
    following = model.P_rows[:3].toarray() @ model.features[1]
    assert measured.rewards == pytest.approx(model.r[0, 0])
    assert measured.next_features == pytest.approx(following)
    assert measured.increments == pytest.approx(following - model.features[0, 0])
    assert measured.cap == 4.0
    assert measured.discriminants(planted.theta).max() == pytest.approx(0.0, abs=1e-9)


def test_sampled_measurements_are_means_and_counted() -> None:
    model = realizable_mdp(6, 2, 4, 3, 0, stochastic=True).model
    access = local(model, exact=False)
    start = access.begin()
    observer = Observer(access, samples=5_000)
    measured, again = observer.measure(start), observer.measure(start)
    assert access.queries == 20_000
    assert not np.array_equal(measured.next_features, again.next_features)
    oracle = ExpectationAccess(model, rng=np.random.default_rng(0))
    told = Observer(oracle).measure(oracle.begin())
    assert measured.next_features == pytest.approx(told.next_features, abs=0.05)
    assert observer.follow(measured, 0, np.random.default_rng(0)).stage == 1
    assert access.queries == 20_001


def test_features_of_the_last_stage_and_of_ended_episodes_count_for_zero() -> None:
    model = realizable_mdp(4, 2, 1, 3, 0).model
    access = local(model)
    observer = Observer(access)
    measured = observer.measure(access.begin())
    assert (measured.next_features == 0).all()
    assert observer.follow(measured, 0, np.random.default_rng(0)) is None
    ending = TabularMDP(np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), np.array([[0.5], [0.0]]), 0.9, np.array([1.0, 0.0]),
                        np.array([False, True]), np.array([[0.6, 0.8], [1.0, 0.0]]))  # fmt: skip
    measured = Observer(access := local(ending)).measure(access.begin())
    assert measured.increments.tolist() == [[-0.6, -0.8]]
    assert measured.cap == pytest.approx(10.0)


def test_values_that_need_not_be_finite_are_refused() -> None:
    model = realizable_mdp(4, 2, 3, 3, 0).model
    access = LocalAccess(TabularSimulator(model), model_features(model), rng=np.random.default_rng(0))
    with pytest.raises(ModelError, match="values need not be finite"):
        Observer(access)
