"""Certificates, held against exact rational arithmetic on the float64 numbers as stored, and against corruption."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import FiniteHorizonMDP, TabularMDP, from_gymnasium
from lookahead_rl.models.classic import gamblers_problem, small_gridworld
from lookahead_rl.models.generators import garnet_mdp
from lookahead_rl.models.planted import planted_mdp
from lookahead_rl.solvers import (
    Certificate,
    Solution,
    Status,
    backward_induction,
    certificates,
    certify,
    certify_policy,
    certify_stage_policy,
    certify_stages,
    evaluate_policy,
    policy_iteration,
    value_iteration,
)

Array = NDArray[np.float64]
Actions = NDArray[np.int64]
Rational = list[Fraction]

SEEDS = st.integers(0, 2**31)
GAMMAS = st.sampled_from([0.0, 0.3, 0.99, 0.999999, 1.0])
REWARD_SCALES = st.sampled_from([1e-12, 1.0, 1e12])
SOLVERS = [value_iteration, policy_iteration]


# ---------------------------------------------------------------------------------------------- exact arithmetic


def rationals(array: Array) -> Rational:
    return [Fraction(x) for x in array.tolist()]


def solved(matrix: list[Rational], right: Rational) -> Rational:
    """The solution of a linear system, by Gaussian elimination on rationals."""
    n = len(right)
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    for k in range(n):
        pivot = next(i for i in range(k, n) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        for i in range(n):
            if i != k and rows[i][k]:
                factor = rows[i][k] / rows[k][k]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[k], strict=True)]
    return [row[n] / row[i] for i, row in enumerate(rows)]


def exact_action_values(model: TabularMDP, v: Rational) -> list[Rational]:
    P, gamma = np.asarray(model.P), Fraction(model.gamma)
    backed = [[sum(p * x for p, x in zip(rationals(law), v, strict=True)) for law in laws] for laws in P]
    return [
        [r + gamma * x for r, x in zip(rationals(rewards), row, strict=True)]
        for rewards, row in zip(model.r, backed, strict=True)
    ]


def exact_policy_value(model: TabularMDP, policy: Array | Actions) -> Rational:
    """v^pi of a policy (S,), or (S, A) with its probabilities as stored; it must end where gamma = 1."""
    weights = np.eye(model.n_actions)[policy] if policy.ndim == 1 else policy
    S, gamma = model.n_states, Fraction(model.gamma)
    matrix, right = [], []
    for s in range(S):
        mix = rationals(weights[s])
        law = [sum(w * Fraction(p) for w, p in zip(mix, column, strict=True)) for column in np.asarray(model.P)[s].T]
        live = 0 if model.terminal[s] else 1
        matrix.append([int(s == t) - live * gamma * law[t] for t in range(S)])
        right.append(live * sum(w * r for w, r in zip(mix, rationals(model.r[s]), strict=True)))
    return solved(matrix, right)


def exact_optimum(model: TabularMDP) -> Rational:
    """v* by Howard's policy iteration on rationals; every policy must end where gamma = 1."""
    policy = np.zeros(model.n_states, dtype=np.int64)
    while True:
        v = exact_policy_value(model, policy)
        improved = policy.copy()
        for s, q in enumerate(exact_action_values(model, v)):
            if max(q) > q[policy[s]]:
                improved[s] = q.index(max(q))
        if (improved == policy).all():
            return v
        policy = improved


def exact_stage_values(model: FiniteHorizonMDP, policy: Actions | None) -> list[Rational]:
    """v_h of a policy (H, S), or the optimal ones, for h = 0, ..., H."""
    values = [[Fraction(0)] * model.n_states]
    for h in reversed(range(model.horizon)):
        P, r = model.stage(h)
        stage = TabularMDP(np.asarray(P).reshape(*r.shape, -1), r, 1.0, model.rho)
        q = exact_action_values(stage, values[0])
        values.insert(0, [max(row) if policy is None else row[policy[h, s]] for s, row in enumerate(q)])
    return values


def all_leq(left: Sequence[Fraction | float], right: Sequence[Fraction | float]) -> bool:
    """Whether left <= right in exact arithmetic, entry by entry; infinite bounds count."""
    return all(a <= b for a, b in zip(left, right, strict=True))


def exact_side(bounds: Array) -> list[Fraction | float]:
    return [Fraction(x) if np.isfinite(x) else x for x in bounds.tolist()]


# ---------------------------------------------------------------------------------------------- models


def ending_mdp(seed: int, gamma: float, size: float = 1.0) -> TabularMDP:
    """Three live states, three actions, and a terminal state that every action reaches with probability > 0."""
    rng = np.random.default_rng(seed)
    P, r = np.zeros((4, 3, 4)), np.zeros((4, 3))
    P[:3] = rng.dirichlet(np.ones(4), size=(3, 3))
    P[3, :, 3] = 1.0
    r[:3] = rng.normal(size=(3, 3)) * size
    return TabularMDP(P, r, gamma, np.full(4, 0.25), np.arange(4) == 3)


def lasting_mdp(seed: int, gamma: float, size: float = 1.0) -> TabularMDP:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(3, 0.4), size=(3, 2))
    return TabularMDP(P, rng.normal(size=(3, 2)) * size, gamma, np.full(3, 1 / 3))


def small_mdp(seed: int, gamma: float, size: float = 1.0) -> TabularMDP:
    ends = gamma == 1.0 or seed % 2
    return ending_mdp(seed, gamma, size) if ends else lasting_mdp(seed, gamma, size)


def staged_mdp(seed: int, *, staged: bool = True) -> FiniteHorizonMDP:
    rng = np.random.default_rng(seed)
    lead = (4, 3, 2) if staged else (3, 2)
    P, r = rng.dirichlet(np.ones(3), size=lead), rng.normal(size=lead)
    P[..., 2, :, :], r[..., 2, :] = np.eye(3)[2], 0.0
    return FiniteHorizonMDP(P, r, 4, np.full(3, 1 / 3), np.arange(3) == 2)


# ---------------------------------------------------------------------------------------------- truth


@settings(max_examples=120)
@given(SEEDS, GAMMAS, REWARD_SCALES)
def test_bounds_of_any_answer_enclose_its_policy_the_optimum_and_the_value(
    seed: int, gamma: float, size: float
) -> None:
    rng = np.random.default_rng(seed)
    model = small_mdp(seed, gamma, size)
    best = exact_optimum(model)
    policy = rng.integers(0, model.n_actions, model.n_states)
    near = np.array([float(x) for x in best])
    error = rng.normal(size=near.size) * size * 10.0 ** rng.uniform(-17, 3)
    value = np.where(rng.random(near.size) < 0.5, near, near + error)
    bounds = certify(model, value, policy)
    lower, upper = exact_side(bounds.lower), exact_side(bounds.upper)
    assert all_leq(lower, exact_policy_value(model, policy))
    assert all_leq(best, upper)
    assert all_leq(lower, rationals(value))
    assert all_leq(rationals(value), upper)


@settings(max_examples=60)
@given(SEEDS, GAMMAS, REWARD_SCALES, st.booleans())
def test_bounds_of_an_evaluated_policy_enclose_its_exact_value(
    seed: int, gamma: float, size: float, mixed: bool
) -> None:
    rng = np.random.default_rng(seed)
    model = small_mdp(seed, gamma, size)
    weights = rng.dirichlet(np.ones(model.n_actions), size=model.n_states)
    policy = weights if mixed else weights.argmax(axis=1)
    exact = exact_policy_value(model, policy)
    evaluated = evaluate_policy(model, policy)
    given_so = certify_policy(model, evaluated.value + size * rng.normal() * 10.0 ** rng.uniform(-17, 3), policy)
    for bounds in (evaluated.certificate, given_so, certify(model, evaluated.value, policy)):
        assert all_leq(exact_side(bounds.lower), exact)
    for bounds in (evaluated.certificate, given_so):
        assert all_leq(exact, exact_side(bounds.upper))
    assert evaluated.certificate.gap <= 2e-8 * (size + max(abs(float(x)) for x in exact))


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=40)
@given(seed=SEEDS, gamma=st.sampled_from([0.0, 0.3, 0.99, 1.0]), size=REWARD_SCALES)
def test_solvers_find_the_rational_optimum(solver, seed: int, gamma: float, size: float) -> None:
    model = small_mdp(seed, gamma, size)
    best = exact_optimum(model)
    solution = solver(model, 1e-7 * size)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-7 * size
    assert all_leq(exact_side(solution.certificate.lower), exact_policy_value(model, solution.policy))
    assert all_leq(best, exact_side(solution.certificate.upper))
    np.testing.assert_allclose(solution.value, [float(x) for x in best], atol=1e-7 * size)


@settings(max_examples=30)
@given(SEEDS, st.booleans())
def test_bounds_of_staged_answers_enclose_the_rational_values(seed: int, staged: bool) -> None:
    rng = np.random.default_rng(seed)
    model = staged_mdp(seed, staged=staged)
    best = np.array(exact_stage_values(model, None))
    solution = backward_induction(model)
    np.testing.assert_allclose(solution.value, best.astype(float), atol=1e-14)
    policy = rng.integers(0, 2, (4, 3))
    followed = np.array(exact_stage_values(model, policy))
    value = solution.value + rng.normal(size=(5, 3)) * 10.0 ** rng.uniform(-17, 1)
    bounds, two_sided = certify_stages(model, value, policy), certify_stage_policy(model, value, policy)
    for answer in (bounds, two_sided, solution.certificate):
        v_pi = best if answer is solution.certificate else followed
        assert all_leq(exact_side(answer.lower.ravel()), v_pi.ravel())
    assert all_leq(best.ravel(), exact_side(bounds.upper.ravel()))
    assert all_leq(best.ravel(), exact_side(solution.certificate.upper.ravel()))
    assert all_leq(followed.ravel(), exact_side(two_sided.upper.ravel()))
    for answer in (bounds, two_sided):
        assert (answer.lower <= value).all()
        assert (value <= answer.upper).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_bounds_hold_a_planted_optimum(sparse: bool) -> None:
    planted = planted_mdp(300, 4, 5, 0, gamma=0.99, sparse=sparse)
    for solver in SOLVERS:
        bounds = solver(planted.model, 1e-9).certificate
        assert (bounds.lower <= planted.value + 1e-12).all()
        assert (planted.value <= bounds.upper + 1e-12).all()


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.5, -1.0, np.nan])
@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_true_even_if_the_expected_numbers_of_steps_are_computed_wrongly(
    monkeypatch: pytest.MonkeyPatch, factor: float, seed: int
) -> None:
    """With gamma = 1 they come from a linear solver, which is checked, not trusted."""
    model = ending_mdp(seed, 1.0)
    plain = certificates.solve_chain
    monkeypatch.setattr(certificates, "solve_chain", lambda *arguments: factor * plain(*arguments))
    policy = np.random.default_rng(seed).integers(0, 3, 4)
    exact = exact_policy_value(model, policy)
    value = np.array([float(x) for x in exact]) + np.array([0.5, -0.5, 0.25, 0.0])
    bounds = certify_policy(model, value, policy)
    assert all_leq(exact_side(bounds.lower), exact)
    assert all_leq(exact, exact_side(bounds.upper))


def test_an_exact_answer_has_a_gap_of_rounding_size() -> None:
    """So the bounds are worth something: a few roundings, times the horizon."""
    for gamma in (0.0, 0.9, 0.999):
        model = lasting_mdp(1, gamma)
        policy = policy_iteration(model).policy
        value = np.array([float(x) for x in exact_policy_value(model, policy)])
        assert certify(model, value, policy).gap <= 200 * 2.0**-53 * (1 + np.abs(value).max()) / (1 - gamma)
    model = staged_mdp(1)
    assert backward_induction(model).certificate.gap <= 1e-13


@pytest.mark.parametrize("mass", [1.0 + 9e-10, 1.0 - 9e-10])
def test_a_law_that_misses_one_is_certified_as_normalised(mass: float) -> None:
    """So that nothing is claimed above v*, though a law may miss one by the rounding of a sum."""
    law, r = np.full((1, 2), 0.5 * mass), np.array([[1.0, 1.0]])
    discounted = TabularMDP(np.ones((1, 2, 1)), r, 0.5, np.ones(1))
    staged = FiniteHorizonMDP(np.ones((1, 2, 1)), r, 2, np.ones(1))
    for bounds in (certify(discounted, np.array([2.0]), law), evaluate_policy(discounted, law).certificate):
        assert 2.0 - 1e-12 <= bounds.lower[0] <= 2.0 <= bounds.upper[0] <= 2.0 + 1e-12
    for bounds in (
        certify_stages(staged, np.array([[2.0], [1.0], [0.0]]), law),
        evaluate_policy(staged, law).certificate,
    ):
        assert 2.0 - 1e-12 <= bounds.lower[0, 0] <= 2.0 <= bounds.upper[0, 0] <= 2.0 + 1e-12


@pytest.mark.parametrize("reward", [1.0, 0.0, -1.0])
def test_where_the_discount_is_within_rounding_of_one_the_bounds_are_true_if_infinite(reward: float) -> None:
    gamma = 1.0 - 2.0**-53
    model = TabularMDP(np.ones((1, 1, 1)), np.full((1, 1), reward), gamma, np.ones(1))
    for value in (0.0, reward * 2.0**53):
        bounds = certify(model, np.array([value]), np.zeros(1, dtype=np.int64))
        assert bounds.lower[0] <= reward * 2.0**53 <= bounds.upper[0]


# ---------------------------------------------------------------------------------------------- mutation


def discounted() -> TabularMDP:
    return garnet_mdp(12, 3, 3, 5, gamma=0.9, rewards="normal", sparse=False)


def frozen_lake() -> TabularMDP:
    return from_gymnasium(gym.make("FrozenLake-v1"), gamma=1.0)


CORRUPTED = [
    discounted,
    lambda: garnet_mdp(12, 3, 3, 6, gamma=0.9, sparse=True),
    lambda: ending_mdp(7, 0.95),
    lambda: ending_mdp(8, 1.0),
    lambda: gamblers_problem(0.4, 8),
    small_gridworld,
    frozen_lake,
]


@pytest.mark.parametrize("make", CORRUPTED)
@pytest.mark.parametrize("error", [1e-3, -1e-3, 1e6])
def test_a_corrupted_value_widens_the_bounds_by_its_error_wherever_it_stands(make, error: float) -> None:
    model = make()
    solution = policy_iteration(model, 1e-9)
    assert solution.certificate.gap <= 1e-9
    for s in range(model.n_states):
        value = solution.value.copy()
        value[s] += error
        bounds = certify(model, value, solution.policy)
        assert bounds.upper[s] - bounds.lower[s] >= abs(error) * (1 - 1e-9) - 1e-9
        two_sided = certify_policy(model, value, solution.policy)
        assert two_sided.upper[s] - two_sided.lower[s] >= abs(error) * (1 - 1e-9) - 1e-9
        for answer in (bounds, two_sided):
            assert (answer.lower <= solution.certificate.upper).all()
            assert (solution.certificate.lower <= answer.upper).all()


@pytest.mark.parametrize("make", CORRUPTED)
def test_a_corrupted_action_widens_the_bounds_by_what_it_loses(make) -> None:
    model = make()
    solution = policy_iteration(model, 1e-9)
    harmful = 0
    for s, a in product(range(model.n_states), range(model.n_actions)):
        policy = solution.policy.copy()
        policy[s] = a
        loss = solution.value - evaluate_policy(model, policy).value
        bounds = certify(model, solution.value, policy)
        assert (bounds.upper - bounds.lower >= loss - 1e-9).all()
        harmful += loss.max() > 1e-6
    assert harmful > 0


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("error", [1e-3, -1e-3])
def test_a_corrupted_staged_value_widens_the_bounds_by_its_error_wherever_it_stands(staged: bool, error: float) -> None:
    model = staged_mdp(11, staged=staged)
    solution = backward_induction(model)
    for h, s in np.ndindex(solution.value.shape):
        value = solution.value.copy()
        value[h, s] += error
        for bounds in (
            certify_stages(model, value, solution.policy),
            certify_stage_policy(model, value, solution.policy),
        ):
            assert bounds.upper[h, s] - bounds.lower[h, s] >= 1e-3 - 1e-12
            assert (bounds.lower <= solution.certificate.upper).all()
            assert (solution.certificate.lower <= bounds.upper).all()


def test_a_corrupted_staged_action_widens_the_bounds_by_what_it_loses() -> None:
    model = staged_mdp(12)
    solution = backward_induction(model)
    harmful = 0
    for h, s in np.ndindex(solution.policy.shape):
        policy = solution.policy.copy()
        policy[h, s] = 1 - policy[h, s]
        loss = solution.value - evaluate_policy(model, policy).value
        bounds = certify_stages(model, solution.value, policy)
        assert (bounds.upper - bounds.lower >= loss - 1e-12).all()
        harmful += loss.max() > 1e-6
    assert harmful >= 4


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("make", CORRUPTED)
def test_solvers_certificates_are_recomputed_from_the_answer(solver, make) -> None:
    solution: Solution[Actions] = solver(make(), 1e-9)
    again = certify(make(), solution.value, solution.policy)
    np.testing.assert_array_equal(again.lower, solution.certificate.lower)
    np.testing.assert_array_equal(again.upper, solution.certificate.upper)
    assert (again.lower <= solution.value).all()
    assert (solution.value <= again.upper).all()


def test_the_gap_is_the_widest_and_equal_infinities_do_not_count() -> None:
    infinite = np.array([np.inf, -np.inf, 1.0, 0.0])
    assert Certificate(infinite, infinite + np.array([0.0, 0.0, 0.5, 2.0])).gap == 2.0
    assert Certificate(np.zeros(2), np.array([1.0, np.inf])).gap == np.inf


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("certifier", [certify, certify_policy])
@pytest.mark.parametrize(
    ("value", "policy", "message"),
    [
        (np.zeros(3), np.zeros(4, dtype=int), r"value has shape \(3,\); expected \(4,\)"),
        ([0.0, np.nan, 0.0, 0.0], np.zeros(4, dtype=int), r"value\[1\] is nan; every entry must be finite"),
        ([0.0, 0.0, -np.inf, 0.0], np.zeros(4, dtype=int), r"value\[2\] is -inf"),
        (np.zeros(4), [0, 0, 3, 0], r"policy\[2\] is 3; actions are 0..2"),
        (np.zeros(4), [0, -1, 0, 0], r"policy\[1\] is -1; actions are 0..2"),
        (np.zeros(4), np.zeros(5, dtype=int), r"policy has shape \(5,\); expected one action for each state, \(4,\)"),
        (np.zeros(4), np.zeros(4), r"policy has dtype float and shape \(4,\); expected action probabilities"),
        (np.zeros(4), np.zeros(4, dtype=bool), "policy has dtype bool; pass integer actions"),
        (np.zeros(4), np.full((4, 3), 0.3), r"policy\[0\] sums to 0.9, not 1; normalise that row"),
        (np.zeros(4), np.tile([1.5, -0.5, 0.0], (4, 1)), r"policy\[0, 1\] is -0.5; probabilities must be >= 0"),
        (np.zeros(4), np.full((4, 3), np.nan), r"policy\[0, 0\] is nan"),
    ],
)
def test_bad_answers_are_named(certifier, value, policy, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certifier(ending_mdp(0, 0.9), np.array(value), np.array(policy))


@pytest.mark.parametrize("certifier", [certify_stages, certify_stage_policy])
@pytest.mark.parametrize(
    ("value", "policy", "message"),
    [
        (np.zeros((4, 3)), np.zeros((4, 3), dtype=int), r"value has shape \(4, 3\); expected \(5, 3\)"),
        (np.full((5, 3), np.inf), np.zeros((4, 3), dtype=int), r"value\[0, 0\] is inf"),
        (np.zeros((5, 3)), np.zeros((3, 3), dtype=int), r"policy has shape \(3, 3\); expected \(4, 3\), one rule"),
        (np.zeros((5, 3)), np.full((4, 3), 2), r"policy\[3, 0\] is 2|policy\[0, 0\] is 2"),
        (np.zeros((5, 3)), np.ones((4, 3, 2)), r"policy\[0, 0\] sums to 2, not 1"),
    ],
)
def test_bad_staged_answers_are_named(certifier, value, policy, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certifier(staged_mdp(0), value, policy)
