"""Promises of the constrained solvers: optimal within the budget, certified, and agreed on by independent methods."""

import itertools
import pickle
from fractions import Fraction
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.models import (
    ConstrainedLinearMDP,
    ConstrainedMDP,
    FiniteHorizonMDP,
    FiniteSupportMeasures,
    LinearMDP,
    ModelError,
    random_constrained_linear_mdp,
)
from lookahead_rl.solvers import (
    ConstrainedSolution,
    InfeasibleError,
    StagedPolicy,
    Status,
    backward_induction,
    certify_constrained,
    constrained,
    constrained_optimum,
    evaluate_constrained,
    evaluate_policy,
    lagrangian_optimum,
    safest_policy,
    solve,
)

METHODS = [constrained_optimum, lagrangian_optimum]


def random_problem(seed: int, S: int = 3, A: int = 2, H: int = 2, share: float | None = None) -> ConstrainedMDP:
    """A dense random problem with a law of its own at each stage; its budget lies above the least cost, a share of the
    way to what the best policy without a budget spends (of a tenth, where that policy is the safest itself)."""
    rng = np.random.default_rng(seed)
    P, r, c = rng.dirichlet(np.full(S, 0.7), (H, S, A)), rng.normal(size=(H, S, A)), rng.random((H, S, A))
    mdp = FiniteHorizonMDP(P, r, H, rng.dirichlet(np.ones(S)))
    loose = ConstrainedMDP(mdp, c, float(H))
    least = safest_policy(loose).evaluation.cost
    bold = evaluate_constrained(loose, backward_induction(mdp).policy).cost
    share = rng.uniform(0.02, 0.98) if share is None else share
    return ConstrainedMDP(mdp, c, least + share * max(bold - least, 0.1))


def with_budget(model: Any, budget: float) -> Any:
    costs = model.c if isinstance(model, ConstrainedMDP) else model.theta_cost
    return type(model)(model.mdp, costs, budget)


def totals(model: ConstrainedMDP, law: np.ndarray) -> tuple[float, float]:
    """Value and cost of a law (H, S, A) by passing the distribution of states forwards."""
    met, totals = model.mdp.rho, np.zeros(2)
    for h in range(model.horizon):
        P, r = model.mdp.stage(h)
        x = met[:, None] * law[h]
        totals += [(x * r).sum(), (x * model.stage_costs(h)).sum()]
        met = x.reshape(-1) @ P
    return float(totals[0]), float(totals[1])


def brute_force(model: ConstrainedMDP) -> float:
    """The best mixture of two deterministic policies within the budget, all pairs tried."""
    S, A, H = model.n_states, model.n_actions, model.horizon
    points = np.array(
        [
            totals(model, np.eye(A)[np.array(actions).reshape(H, S)])
            for actions in itertools.product(range(A), repeat=H * S)
        ]
    )
    within, above = points[points[:, 1] <= model.budget], points[points[:, 1] > model.budget]
    best = within[:, 0].max()
    if len(above):
        share = (model.budget - within[:, None, 1]) / (above[None, :, 1] - within[:, None, 1])
        best = max(best, ((1 - share) * within[:, None, 0] + share * above[None, :, 0]).max())
    return float(best)


def by_cvxpy(model: ConstrainedMDP) -> tuple[float, float]:
    """Optimum and price of cost of the linear program in occupancies, as cvxpy states and Clarabel solves it."""
    x = [cp.Variable((model.n_states, model.n_actions), nonneg=True) for _ in range(model.horizon)]
    flows, earned, spent, arriving = [], 0, 0, model.mdp.rho
    for h in range(model.horizon):
        P, r = model.mdp.stage(h)
        flows.append(cp.sum(x[h], axis=1) == arriving)
        earned += cp.sum(cp.multiply(x[h], r))
        spent += cp.sum(cp.multiply(x[h], model.stage_costs(h)))
        dense = P if isinstance(P, np.ndarray) else P.toarray()
        arriving = sum(x[h][:, a] @ dense[a :: model.n_actions] for a in range(model.n_actions))
    budget = spent <= model.budget
    problem = cp.Problem(cp.Maximize(earned), [*flows, budget])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return float(problem.value), float(budget.dual_value)


def assert_certified(model: Any, solution: ConstrainedSolution, gap: float = 1e-8):
    assert solution.status is Status.CONVERGED
    assert solution.evaluation.is_safe
    assert solution.cost <= model.budget
    assert solution.certificate.lower <= solution.value <= solution.certificate.upper
    assert 0 <= solution.certificate.gap <= gap
    assert solution.multiplier >= 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [0.0, 0.3, 1.0, 2.5, 3.0, 4.0])
def test_one_state_mixes_two_actions(method: Any, budget: float):
    """One state, three stages, a dull action (0, 0) and a bold one that earns and costs 1: the optimum is
    min(budget, 3), each unit of budget is worth 1 until it is no longer needed (Altman, Constrained Markov Decision
    Processes, 1999, chapter 1: constrained optima randomise)."""
    r = np.array([[0.0, 1.0]])
    model = ConstrainedMDP(FiniteHorizonMDP(np.ones((1, 2, 1)), r, 3, np.ones(1)), r, budget)
    solution = method(model)
    assert_certified(model, solution)
    assert solution.value == pytest.approx(min(budget, 3.0), abs=1e-12)
    assert solution.policy.table()[:, 0, 1].sum() == pytest.approx(min(budget, 3.0), abs=1e-12)
    if budget not in (0.0, 3.0):
        assert solution.multiplier == pytest.approx(1.0 if budget < 3 else 0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_programs_prices_cvxpy_and_brute_force_agree(seed: int):
    model = random_problem(seed)
    expected = brute_force(model)
    value, price = by_cvxpy(model)
    assert value == pytest.approx(expected, abs=1e-7)
    for method in METHODS:
        solution = method(model)
        assert_certified(model, solution)
        assert solution.value == pytest.approx(expected, abs=1e-9)
        assert solution.multiplier == pytest.approx(price, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_value_iteration_at_the_price_gives_the_optimum(method: Any):
    for seed in range(5):
        model = random_problem(seed, 6, 3, 4)
        solution = method(model)
        priced = backward_induction(model.weighted(1.0, -solution.multiplier))
        bound = model.mdp.rho @ priced.value[0] + solution.multiplier * model.budget
        assert solution.value == pytest.approx(bound, abs=1e-9)


@pytest.mark.parametrize("support", [None, 5])
@pytest.mark.parametrize("seed", range(3))
def test_linear_problems_are_solved_like_their_tables(support: int | None, seed: int):
    model = random_constrained_linear_mdp(40, 3, 4, 4, seed, support=support)
    value, _ = by_cvxpy(model.to_tabular())
    for one in (model, model.to_tabular()):
        for method in METHODS:
            solution = method(one)
            assert_certified(one, solution)
            assert solution.value == pytest.approx(value, abs=1e-7)
    found = [method(model).value for method in METHODS]
    assert found[0] == pytest.approx(found[1], abs=1e-8)


def signed_problem() -> ConstrainedLinearMDP:
    """A linear problem in other coordinates than those in which its law is a mixture: features and measures signed."""
    plain = random_constrained_linear_mdp(12, 3, 4, 3, 5)
    turn = np.random.default_rng(1).normal(size=(4, 4))
    back = np.linalg.inv(turn)
    mdp = plain.mdp
    turned = LinearMDP(
        mdp.phi(np.arange(12)) @ turn, back @ np.asarray(mdp.mu), mdp.theta @ back.T, np.eye(12)[0], mdp.horizon
    )
    return ConstrainedLinearMDP(turned, plain.theta_cost @ back.T, plain.budget)


def test_signed_features_make_no_difference():
    model, plain = signed_problem(), random_constrained_linear_mdp(12, 3, 4, 3, 5)
    assert not model.mdp.is_mixture
    for method in METHODS:
        solution = method(model)
        assert_certified(model, solution)
        assert solution.value == pytest.approx(method(plain).value, abs=1e-8)


def test_sparse_laws_terminal_states_and_starts_apart_are_solved():
    rng = np.random.default_rng(3)
    P, c = rng.dirichlet(np.ones(6), (6, 2)), rng.random((6, 2))
    P[P < 0.1] = 0.0
    P /= P.sum(axis=-1, keepdims=True)
    r = rng.random((6, 2))
    P[5], r[5], c[5] = np.eye(6)[5], 0.0, 0.0
    rho = np.array([0.5, 0.0, 0.5, 0.0, 0.0, 0.0])
    for law in (P, sp.csr_array(P.reshape(-1, 6))):
        mdp = FiniteHorizonMDP(law, r, 5, rho, np.arange(6) == 5)
        loose = ConstrainedMDP(mdp, c, 5.0)
        model = with_budget(loose, 1.1 * safest_policy(loose).evaluation.cost)
        value, _ = by_cvxpy(model)
        for method in METHODS:
            solution = method(model)
            assert_certified(model, solution)
            assert solution.value == pytest.approx(value, abs=1e-7)
            assert totals(model, solution.policy.table()) == pytest.approx((solution.value, solution.cost), abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_that_does_not_bind_costs_nothing(method: Any):
    model = with_budget(random_problem(4, 5, 3, 3), 3.0)
    solution = method(model)
    assert_certified(model, solution)
    assert solution.multiplier == 0.0
    assert solution.value == pytest.approx(model.mdp.rho @ backward_induction(model.mdp).value[0], abs=1e-10)


def test_no_linear_program_is_needed_in_a_billion_states():
    model = random_constrained_linear_mdp(10**9, 3, 5, 6, 0, support=5, threshold=0.95)
    program, prices = constrained_optimum(model), lagrangian_optimum(model)
    assert program.mixture is None  # the linear program's own answer, not that of prices
    assert_certified(model, program)
    assert_certified(model, prices, 1e-11)
    assert prices.multiplier > 0
    assert program.value == pytest.approx(prices.value, abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_mixture_is_drawn_per_episode_and_worth_the_policy(seed: int):
    model = random_problem(seed, 5, 3, 4, share=0.4)
    solution = lagrangian_optimum(model)
    mixture = solution.mixture
    assert mixture is not None
    assert sum(mixture.weights) == pytest.approx(1.0, abs=1e-15)
    cautious, bold = mixture.values
    assert cautious[1] <= model.budget < bold[1]
    np.testing.assert_allclose(mixture.weights @ mixture.values, [solution.value, solution.cost], atol=1e-12)
    for policy, values in zip(mixture.policies, mixture.values, strict=True):
        assert np.isin(policy.table(), (0.0, 1.0)).all()
        assert totals(model, policy.table()) == pytest.approx(tuple(values), abs=1e-12)
    rng = np.random.default_rng(0)
    drawn = np.mean([mixture.draw(rng) is mixture.policies[1] for _ in range(2000)])
    assert abs(drawn - mixture.weights[1]) < 5 * np.sqrt(mixture.weights[0] * mixture.weights[1] / 2000)


def test_one_policy_suffices_where_the_budget_does_not_bind():
    mixture = lagrangian_optimum(with_budget(random_problem(1), 2.0)).mixture
    assert mixture is not None
    assert mixture.weights == (1.0,)
    assert mixture.draw(np.random.default_rng(0)) is mixture.policies[0]


def test_an_optimal_vertex_randomises_once():
    for seed in range(5):
        law = constrained_optimum(random_problem(seed, 5, 3, 4, share=0.5)).policy.table()
        assert np.count_nonzero((law > 1e-9).sum(axis=2) > 1) == 1


@pytest.mark.parametrize("method", METHODS)
def test_an_infeasible_budget_is_refused_with_the_least_cost(method: Any):
    model = random_problem(2, 4, 3, 3)
    least = -float(model.mdp.rho @ backward_induction(model.weighted(0.0, -1.0)).value[0])
    with pytest.raises(
        InfeasibleError, match=rf"budget {0.5 * least:.6g}\d*: an episode costs at least {least:.6g}"
    ) as e:
        method(with_budget(model, 0.5 * least))
    assert isinstance(e.value, ValueError)
    low, high = e.value.least_cost
    assert low <= least + 1e-14
    assert least - 1e-14 <= high < low + 1e-12
    again = pickle.loads(pickle.dumps(e.value))
    assert (str(again), again.budget) == (str(e.value), 0.5 * least)
    assert_certified(with_budget(model, high), method(with_budget(model, high)))


@pytest.mark.parametrize("method", METHODS)
def test_where_rounding_hides_feasibility_nothing_is_claimed_below(method: Any):
    """Three tenths, thrice rounded, are and are not a tenth and two tenths."""
    c = np.array([[0.1]])
    mdp = FiniteHorizonMDP(np.ones((1, 1, 1)), np.ones((1, 1)), 3, np.ones(1))
    solution = method(ConstrainedMDP(mdp, c, 0.3))
    assert solution.certificate.lower == -np.inf
    assert solution.certificate.upper >= 3.0 - 1e-12
    assert solution.status is Status.BUDGET_UNRESOLVED
    assert "raise the budget" in str(solution.status)
    assert solution.value == pytest.approx(3.0)
    assert_certified(ConstrainedMDP(mdp, c, 0.3 + 1e-12), method(ConstrainedMDP(mdp, c, 0.3 + 1e-12)))


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_of_nothing_allows_what_is_free(method: Any):
    rng = np.random.default_rng(8)
    c = rng.random((3, 5, 3))
    c[:, :, 1:] = 0.0
    mdp = FiniteHorizonMDP(rng.dirichlet(np.ones(5), (5, 3)), rng.random((5, 3)), 3, np.eye(5)[0])
    model = ConstrainedMDP(mdp, c, 0.0)
    solution = method(model)
    assert_certified(model, solution)
    assert solution.evaluation.cost_bounds == (0.0, 0.0)
    free = FiniteHorizonMDP(mdp.P[:, 1:], mdp.r[:, 1:], 3, mdp.rho)
    assert solution.value == pytest.approx(backward_induction(free).value[0, 0], abs=1e-9)


def test_a_search_cut_short_says_so_and_is_right():
    model = random_constrained_linear_mdp(60, 3, 5, 4, 1)
    full, cut = lagrangian_optimum(model), lagrangian_optimum(model, max_iterations=2)
    assert cut.status is Status.ITERATION_LIMIT
    assert (cut.iterations, len(cut.history)) == (2, 2)
    assert cut.evaluation.is_safe
    assert cut.certificate.lower <= full.value <= cut.certificate.upper
    assert full.iterations == len(full.history) < 20
    with pytest.raises(ModelError, match="max_iterations is 0"):
        lagrangian_optimum(model, max_iterations=0)


def test_the_safest_policy_costs_least():
    for seed in range(5):
        model = random_problem(seed, 5, 3, 4)
        safest = safest_policy(with_budget(model, 0.0))
        cheapest = backward_induction(model.weighted(0.0, -1.0))
        assert safest.evaluation.cost == pytest.approx(-float(model.mdp.rho @ cheapest.value[0]), abs=1e-12)
        assert safest.least_cost <= safest.evaluation.cost_bounds[1]
        assert safest.evaluation.cost == pytest.approx(safest.least_cost, abs=1e-12)
        assert totals(model, safest.policy.table())[1] == pytest.approx(safest.evaluation.cost, abs=1e-12)


def test_of_equally_safe_actions_the_safest_policy_takes_what_pays():
    r = np.array([[0.1, 0.7, 0.9]])
    model = ConstrainedMDP(FiniteHorizonMDP(np.ones((1, 3, 1)), r, 4, np.ones(1)), np.array([[0.2, 0.2, 0.5]]), 1.0)
    assert safest_policy(model).evaluation.value == pytest.approx(2.8)


def test_policies_are_evaluated_as_elsewhere():
    rng = np.random.default_rng(6)
    model = random_problem(3, 5, 3, 4)
    law = rng.dirichlet(np.ones(3), (4, 5))
    actions = rng.integers(0, 3, (4, 5))
    for policy in (law, law[0], actions, actions[0], StagedPolicy(5, (np.arange(5),) * 4, tuple(law))):
        array = policy.table() if isinstance(policy, StagedPolicy) else policy
        found = evaluate_constrained(model, policy)
        for process, bounds, number in (
            (model.mdp, found.value_bounds, found.value),
            (model.weighted(0.0, 1.0), found.cost_bounds, found.cost),
        ):
            expected = float(model.mdp.rho @ evaluate_policy(process, array).value[0])
            assert number == pytest.approx(expected, abs=1e-13)
            assert bounds[0] <= expected <= bounds[1]
        assert found.violation == found.cost - model.budget


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.zeros((2, 2), int), r"shape \(2, 2\); expected integer actions \(3,\) or \(2, 3\)"),
        (np.zeros((3, 3)), r"float action probabilities \(3, 2\) or \(2, 3, 2\)"),
        (np.array([0, 2, 0]), r"policy\[1\] is 2; actions run from 0 to 1"),
        (np.full((3, 2), 0.4), r"policy\[0\] sums to 0.8"),
        (np.array([[0.5, 0.5], [0.5, np.nan], [1.0, 0.0]]), r"policy\[1, 1\] is nan; probabilities must be >= 0"),
        (StagedPolicy(3, (np.arange(3),) * 2, (np.full((3, 3), 1 / 3),) * 2), "3 states, 3 actions and 2 stages"),
        (
            StagedPolicy(3, (np.arange(3),) * 2, (np.full((3, 2), 0.5), np.full((3, 2), 0.6))),
            r"policy.laws\[1\]\[0\] sums to 1.2",
        ),
        (StagedPolicy(4, (np.arange(4),) * 2, (np.full((4, 2), 0.5),) * 2), "policy is one of 4 states, 2 act"),
    ],
)
def test_what_is_no_policy_of_the_problem_is_named(policy: Any, message: str):
    with pytest.raises(ModelError, match=message):
        evaluate_constrained(random_problem(0), policy)


def test_policies_answer_for_codes_and_are_uniform_where_nobody_comes():
    model = random_constrained_linear_mdp(10**9, 3, 5, 4, 0, support=5)
    policy = constrained_optimum(model).policy
    for h, (states, law) in enumerate(zip(policy.states, policy.laws, strict=True)):
        np.testing.assert_array_equal(policy.action_probabilities(h * 10**9 + states), law)
    np.testing.assert_array_equal(policy.action_probabilities([1, 4 * 10**9]), np.full((2, 3), 1 / 3))
    for codes, fault in (
        ([0, 5 * 10**9], r"observations\[1\] is 5000000000"),
        ([-1], r"observations\[0\] is -1"),
        ([0.5], "dtype float64"),
        (1, r"shape \(\)"),
        ([[0, 1]], r"shape \(1, 2\)"),
        (["a"], "dtype <U1"),
        ([None], "dtype object"),
    ):
        with pytest.raises(ModelError, match=rf"{fault}.*; pass integers h\*S \+ s in \[0, 5000000000\)"):
            policy.action_probabilities(codes)
    with pytest.raises(ModelError, match="max_bytes"):
        policy.table()


def test_corrupted_answers_widen_the_certificate():
    model = random_problem(5, 5, 3, 4, share=0.5)
    solution = lagrangian_optimum(model)
    honest = certify_constrained(model, solution.policy, solution.multiplier)
    assert honest.gap == pytest.approx(solution.certificate.gap, abs=1e-14)
    for price in (0.5 * solution.multiplier, 2 * solution.multiplier, 0.0):
        assert certify_constrained(model, solution.policy, price).upper > honest.upper + 1e-4
    law = solution.policy.table()
    law[0] = np.roll(law[0], 1, axis=1)
    moved = certify_constrained(model, law, solution.multiplier)
    assert moved.lower == -np.inf or moved.lower < honest.lower - 1e-4
    bold = certify_constrained(model, backward_induction(model.mdp).policy, solution.multiplier)
    assert bold.lower == -np.inf
    with pytest.raises(ValueError, match="multiplier is -1"):
        certify_constrained(model, law, -1)


def test_every_problem_has_its_solver():
    model = random_problem(0)
    assert solve(model).value == lagrangian_optimum(model).value
    linear = random_constrained_linear_mdp(20, 2, 3, 3, 0)
    assert isinstance(solve(linear), ConstrainedSolution)


seeds = st.integers(0, 2**32 - 1)


def exactly(model: ConstrainedMDP, law: np.ndarray) -> tuple[Fraction, Fraction]:
    """Value and cost of a law (H, S, A) in rational arithmetic."""
    v = [(Fraction(0), Fraction(0))] * model.n_states
    for h in reversed(range(model.horizon)):
        P, r = model.mdp.stage(h)
        c, rows = model.stage_costs(h), P.reshape(model.n_states, model.n_actions, -1)
        v = [
            tuple(
                sum(
                    Fraction(law[h, s, a])
                    * (Fraction(pay[s, a]) + sum(Fraction(p) * v[t][i] for t, p in enumerate(rows[s, a])))
                    for a in range(model.n_actions)
                )
                for i, pay in enumerate((r, c))
            )
            for s in range(model.n_states)
        ]
    start = [Fraction(p) for p in model.mdp.rho]
    return tuple(sum(p * pair[i] for p, pair in zip(start, v, strict=True)) for i in range(2))


def dual_exactly(model: ConstrainedMDP, price: float) -> Fraction:
    """g(y) in rational arithmetic."""
    y, v = Fraction(price), [Fraction(0)] * model.n_states
    for h in reversed(range(model.horizon)):
        P, r = model.mdp.stage(h)
        c, rows = model.stage_costs(h), P.reshape(model.n_states, model.n_actions, -1)
        v = [
            max(
                Fraction(r[s, a]) - y * Fraction(c[s, a]) + sum(Fraction(p) * v[t] for t, p in enumerate(rows[s, a]))
                for a in range(model.n_actions)
            )
            for s in range(model.n_states)
        ]
    return sum(Fraction(p) * x for p, x in zip(model.mdp.rho, v, strict=True)) + y * Fraction(model.budget)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(METHODS))
def test_certificates_hold_in_exact_arithmetic(seed: int, method: Any):
    model = random_problem(seed)
    solution = method(model)
    found = solution.evaluation
    value, cost = exactly(model, solution.policy.table())
    assert Fraction(found.value_bounds[0]) <= value <= Fraction(found.value_bounds[1])
    assert Fraction(found.cost_bounds[0]) <= cost <= Fraction(found.cost_bounds[1])
    assert cost <= Fraction(model.budget)
    assert dual_exactly(model, solution.multiplier) <= Fraction(float(solution.certificate.upper))


def late_and_gone(rng: np.random.Generator) -> np.ndarray:
    """Rewards (12, 2, 2) of which those of the last two stages are large and cancel."""
    r = rng.random((12, 2, 2))
    r[10:] += 1e6 * rng.random() * np.array([1.0, -1.0])[:, None, None]
    return r


def gone_at_once(rng: np.random.Generator) -> np.ndarray:
    """Rewards (1, 2, 2) of two actions that cancel if the second is played nine times as often."""
    return 1e6 * rng.random((1, 2, 1)) * np.array([9.0, -1.0])


@pytest.mark.parametrize("rewards", [late_and_gone, gone_at_once])
@pytest.mark.parametrize("seed", range(8))
def test_bounds_hold_where_large_numbers_cancel(seed: int, rewards: Any):
    """Values near 0 whose rounding errors are those of 10^6."""
    rng = np.random.default_rng(seed)
    r = rewards(rng)
    H = len(r)
    mdp = FiniteHorizonMDP(rng.dirichlet(np.ones(2), (H, 2, 2)), r, H, np.array([1.0, 0.0]))
    model, law = ConstrainedMDP(mdp, rng.random((H, 2, 2)), H / 2), np.full((H, 2, 2), [0.1, 0.9])
    found, (value, cost) = evaluate_constrained(model, law), exactly(model, law)
    assert abs(value) < 20
    assert Fraction(found.value_bounds[0]) <= value <= Fraction(found.value_bounds[1])
    assert Fraction(found.cost_bounds[0]) <= cost <= Fraction(found.cost_bounds[1])
    assert found.value_bounds[1] - found.value_bounds[0] < 1e-6
    for price in (0.0, 0.7, 1e6):
        bound, exact = certify_constrained(model, law, price).upper, dual_exactly(model, price)
        assert exact <= Fraction(float(bound)) <= exact + Fraction(1, 10**5)


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_the_optimum_grows_with_the_budget_ever_more_slowly_at_the_price(seed: int, one: float, other: float):
    low, high = (random_problem(seed, 4, 3, 3, share) for share in sorted((one, other)))
    below, above = lagrangian_optimum(low), lagrangian_optimum(high)
    middle = lagrangian_optimum(with_budget(low, (low.budget + high.budget) / 2))
    assert above.value >= below.value - 1e-11
    assert middle.value >= (below.value + above.value) / 2 - 1e-11
    assert below.multiplier >= above.multiplier - 1e-8
    # The prices are slopes: the optimum lies below each tangent.
    assert above.value <= below.value + below.multiplier * (high.budget - low.budget) + 1e-10
    assert below.value <= above.value - above.multiplier * (high.budget - low.budget) + 1e-10


def test_the_price_is_the_slope_of_the_optimum():
    for seed in range(6):
        model = random_problem(seed, 5, 3, 4, share=0.5)
        for method, step in ((constrained_optimum, 1e-5), (lagrangian_optimum, 1e-6)):
            up, down = (method(with_budget(model, model.budget + sign * step)).value for sign in (1, -1))
            assert (up - down) / (2 * step) == pytest.approx(method(model).multiplier, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([(3, 2, 3), (6, 3, 4), (2, 5, 6)]))
def test_both_methods_close_their_gap(seed: int, sizes: tuple[int, int, int]):
    assert_closed(seed, sizes)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(seeds, st.sampled_from([(3, 2, 3), (6, 3, 4), (2, 5, 6), (12, 4, 8), (1, 9, 2)]))
def test_both_methods_close_their_gap_on_many_problems(seed: int, sizes: tuple[int, int, int]):
    assert_closed(seed, sizes)


def assert_closed(seed: int, sizes: tuple[int, int, int]):
    model = random_problem(seed, *sizes)
    program, prices = constrained_optimum(model), lagrangian_optimum(model)
    assert_certified(model, program)
    assert_certified(model, prices)
    assert program.certificate.lower <= prices.certificate.upper
    assert prices.certificate.lower <= program.certificate.upper


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0.0, 5.0))
def test_no_policy_and_no_price_certify_a_falsehood(seed: int, price: float):
    model = random_problem(seed)
    rng = np.random.default_rng(seed)
    law = rng.dirichlet(np.full(2, 0.3), (2, 3))
    bounds, optimum = certify_constrained(model, law, price), lagrangian_optimum(model)
    assert bounds.lower <= optimum.certificate.upper
    assert bounds.upper >= optimum.certificate.lower


def one_step(r: Any, c: Any, budget: float, horizon: int = 1) -> ConstrainedMDP:
    """One state, an action for each entry of r and of c."""
    mdp = FiniteHorizonMDP(np.ones((1, len(r), 1)), np.array([r]), horizon, np.ones(1))
    return ConstrainedMDP(mdp, np.array([c]), budget)


@pytest.mark.parametrize("miss", [9e-10, -9e-10])
def test_a_law_that_misses_one_certifies_what_its_normalised_law_does(miss: float):
    law = np.array([[1.0 + miss]])
    bounds = certify_constrained(one_step([1.0], [0.5], 0.6), law, 0.0)
    assert bounds.lower <= 1.0 <= bounds.upper
    for policy in (law, StagedPolicy(1, (np.zeros(1, int),), (law,))):
        found = evaluate_constrained(one_step([1.0], [0.5], 0.4999999999), policy)
        assert found.cost_bounds[0] <= 0.5 <= found.cost_bounds[1]
        assert not found.is_safe


@pytest.mark.parametrize("linear", [False, True])
def test_what_underflows_is_not_free(linear: bool):
    """A cost of 1 behind two steps of probability 1e-200: 1e-400 in all, and nothing on the other way."""
    P, c = np.zeros((3, 2, 3)), np.zeros((3, 2))
    P[[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 2, 2]] = 1.0
    P[0, 1, 1] = P[1, :, 2] = 1e-200
    c[2] = 1.0
    r = np.zeros((3, 3, 2))
    r[0, 0, 1] = 1.0
    table = ConstrainedMDP(FiniteHorizonMDP(P, r, 3, np.eye(3)[0]), c, 0.0)
    process = LinearMDP(np.eye(6).reshape(3, 2, 6), P.reshape(6, 3), r.reshape(3, 6), np.eye(3)[0], 3)
    model = ConstrainedLinearMDP(process, c.reshape(6), 0.0) if linear else table
    for policy, free in ((np.ones(3, int), False), (np.zeros(3, int), True)):
        assert evaluate_constrained(model, policy).is_safe is free
    for method in METHODS:
        solution = method(model)
        assert exactly(table, solution.policy.table())[1] == 0 or not solution.evaluation.is_safe
    half = ConstrainedMDP(FiniteHorizonMDP(np.eye(2)[:, None], np.ones((2, 1)), 1, [0.5, 0.5]), [[5e-324], [0.0]], 0.0)
    assert not safest_policy(half).evaluation.is_safe


@pytest.mark.parametrize("stage", [0, 1])
def test_states_named_often_add_up_within_the_bounds(stage: int):
    weights = np.full(3000, 1 / 3000)
    crowd, one = FiniteSupportMeasures(np.zeros(3000, int), weights), FiniteSupportMeasures([0], [1.0])
    pays = np.array([[1.0], [0.0]]) if stage == 0 else np.array([[0.0], [1.0]])
    mu = FiniteSupportMeasures(np.zeros((1, 3000), int), weights[None])
    mdp = LinearMDP(np.ones((1, 1, 1)), mu, pays, crowd if stage == 0 else one, 2)
    model, exact = ConstrainedLinearMDP(mdp, pays, 2.0), sum(map(Fraction, weights.tolist()))
    found = evaluate_constrained(model, [0])
    for low, high in (found.cost_bounds, found.value_bounds):
        assert Fraction(low) <= exact <= Fraction(high)
        assert high - low < 1e-13
    assert constrained_optimum(model).certificate.upper >= exact


@pytest.mark.parametrize(
    ("rewards", "costs"), [(1e-300, 1.0), (1e250, 1.0), (1.0, 1e-9), (1.0, 1e-100), (1e-9, 1e-310)]
)
def test_units_of_rewards_and_costs_make_no_difference(rewards: float, costs: float):
    plain = random_problem(0, 6, 3, 4, share=0.4)
    mdp = FiniteHorizonMDP(plain.mdp.P, plain.mdp.r * rewards, plain.horizon, plain.mdp.rho)
    model = ConstrainedMDP(mdp, plain.c * costs, plain.budget * costs)
    for method in METHODS:
        expected, solution = method(plain), method(model)
        assert solution.status is Status.CONVERGED
        assert solution.evaluation.is_safe
        assert solution.value / rewards == pytest.approx(expected.value, rel=1e-10)
        assert solution.cost / costs == pytest.approx(expected.cost, rel=1e-10)
        assert solution.multiplier * costs == pytest.approx(expected.multiplier * rewards, rel=1e-9) or costs < 1e-300
        assert solution.certificate.gap <= 1e-8 * abs(expected.value) * rewards


def test_rewards_too_large_to_add_up_are_refused_and_prices_too_high_bound_little():
    huge = one_step([1e308, 0.0], [1.0, 0.0], 1.5, horizon=3)
    for method in (constrained_optimum, lagrangian_optimum, safest_policy):
        with pytest.raises(ModelError, match="3 stages may earn more than the largest float64; divide the rewards"):
            method(huge)
    assert lagrangian_optimum(one_step([1e308, 0.0], [1.0, 0.0], 0.5)).value == pytest.approx(5e307)
    for model in (one_step([1.0], [1.0], 3.0), one_step([1e300], [1e-9], 3.0)):
        assert certify_constrained(model, [0], 1e308).upper >= model.mdp.r[0, 0]


@pytest.mark.parametrize("model", [one_step([1.0], [1.0], 3.0).mdp, None, 3])
def test_what_is_no_constrained_problem_is_refused(model: Any):
    for solver in (constrained_optimum, lagrangian_optimum, safest_policy, lambda m: evaluate_constrained(m, [0])):
        with pytest.raises(ModelError, match=f"model is {type(model).__name__}; pass a ConstrainedMDP"):
            solver(model)
    with pytest.raises(ModelError, match="multiplier is a whole number that float64 cannot hold"):
        certify_constrained(one_step([1.0], [1.0], 3.0), [0], 10**400)


def test_a_program_left_with_a_gap_is_finished_by_prices(monkeypatch: pytest.MonkeyPatch):
    model = random_problem(0, 5, 3, 4, share=0.5)
    uniform = [np.full((5, 3), 1 / 15)] * 4
    monkeypatch.setattr(constrained, "_solve_program", lambda problem: (uniform, 0.1, 7))
    assert_certified(model, constrained_optimum(model))


def test_an_infeasible_budget_is_told_apart_from_the_least_cost():
    with pytest.raises(InfeasibleError, match=r"budget 0.9999999999998\d+: .* costs at least 0.999999999999996"):
        constrained_optimum(one_step([1.0], [1.0], 1.0 - 1e-13))
