"""Affine branch and bound finds the most optimistic hypothesis of class ANY, whatever the data."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.models import ModelError
from lookahead_rl.solvers.hypotheses.affine import AffineTree, solve_affine
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.mixed_integer import solve_mixed_integer
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Outcome, Program

SEEDS = st.integers(0, 2**32)


def add(bank: Bank, increments: np.ndarray, rewards: np.ndarray, slack: float = 0.0) -> None:
    bank.add(Datum(np.zeros(bank.dim), increments, rewards, 1.0, np.full(bank.n_actions, slack)))


def program(increments: np.ndarray, rewards: np.ndarray, objective: np.ndarray, radius: float) -> Program:
    bank = Bank(*increments.shape[1:])
    for u, r in zip(increments, rewards, strict=True):
        add(bank, u, r)
    return Program(objective, radius, bank, Hypotheses.ANY, value_range=False)


def generic(d: int, A: int, N: int, rng: np.random.Generator, radius: float = 2.0) -> tuple[Program, np.ndarray]:
    """Random data that a planted theta* of norm 3/2 satisfies."""
    theta = rng.normal(size=d)
    theta *= 1.5 / np.linalg.norm(theta)
    increments, rewards = rng.normal(size=(N, A, d)), rng.random((N, A))
    chosen = np.arange(N), rng.integers(0, A, N)
    rewards[chosen] = -(increments[chosen] @ theta)
    return program(increments, rewards, rng.normal(size=d), radius), theta


def degenerate(d: int, A: int, N: int, rng: np.random.Generator, radius: float = 1.37) -> Program:
    """Small integers: parallel, repeated and vanishing rows, few of the programs consistent."""
    increments = rng.integers(-1, 2, (N, A, d)).astype(float)
    return program(increments, rng.integers(-1, 2, (N, A)) / 2, rng.integers(-1, 3, d).astype(float), radius)


def brute_force(program: Program) -> float:
    """The largest of all A^N closed forms; -inf where each is empty."""
    bank, best = program.bank, -np.inf
    rows = np.arange(len(bank))
    for choice in product(range(bank.n_actions), repeat=len(bank)):
        U, r = bank.increments[rows, list(choice)], bank.rewards[rows, list(choice)]
        p = np.linalg.lstsq(U, -r, rcond=1e-10)[0]
        left = program.radius**2 - p @ p
        if left < 0.0 or (np.abs(U @ p + r) > 1e-9).any():
            continue
        rest = program.objective - np.linalg.pinv(U, rcond=1e-10) @ (U @ program.objective)
        best = max(best, float(program.objective @ p + np.sqrt(left) * np.linalg.norm(rest)))
    return best


def agrees_with_brute_force(program: Program) -> Outcome:
    answer, best = solve_affine(program), brute_force(program)
    if answer.outcome is Outcome.INFEASIBLE:
        assert (answer.theta, answer.lower, answer.upper, best) == (None, -np.inf, -np.inf, -np.inf)
        return answer.outcome
    assert answer.outcome is Outcome.OPTIMAL
    assert answer.theta is not None
    assert answer.lower == pytest.approx(best, abs=1e-7)
    assert answer.lower <= answer.upper <= answer.lower + 1e-7
    assert answer.lower == float(program.objective @ answer.theta)
    assert program.violation(answer.theta) <= 1e-9
    return answer.outcome


# Against every choice of actions


@settings(max_examples=200)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 5), SEEDS)
def test_generic_programs_agree_with_brute_force(d: int, A: int, N: int, seed: int) -> None:
    assert agrees_with_brute_force(generic(d, A, N, np.random.default_rng(seed))[0]) is Outcome.OPTIMAL


@settings(max_examples=400)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 5), SEEDS)
def test_degenerate_programs_agree_with_brute_force(d: int, A: int, N: int, seed: int) -> None:
    agrees_with_brute_force(degenerate(d, A, N, np.random.default_rng(seed)))


def test_degenerate_programs_are_of_both_kinds() -> None:
    rng = np.random.default_rng(0)
    outcomes = [agrees_with_brute_force(degenerate(3, 2, 4, rng)) for _ in range(50)]
    assert {Outcome.OPTIMAL, Outcome.INFEASIBLE} == set(outcomes)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), SEEDS, st.booleans())
def test_agrees_with_mixed_integer_programming(d: int, A: int, N: int, seed: int, is_generic: bool) -> None:
    rng = np.random.default_rng(seed)
    question = generic(d, A, N, rng)[0] if is_generic else degenerate(d, A, N, rng)
    ours, theirs = solve_affine(question), solve_mixed_integer(question)
    assert ours.outcome is theirs.outcome
    assert ours.lower == pytest.approx(theirs.lower, abs=1e-7 * (1 + question.radius))


# By hand


def test_no_data_leave_the_whole_ball() -> None:
    answer = solve_affine(program(np.empty((0, 2, 2)), np.empty((0, 2)), np.array([3.0, 4.0]), 2.0))
    assert answer.theta == pytest.approx([1.2, 1.6])
    assert (answer.lower, answer.nodes) == (pytest.approx(10.0), 1)


def test_the_ball_decides_between_the_points_of_one_dimension() -> None:
    # theta = -1/2 or theta = 3; the second lies outside for B < 3.
    data = np.ones((1, 2, 1)), np.array([[0.5, -3.0]])
    assert solve_affine(program(*data, np.ones(1), 2.0)).theta == pytest.approx([-0.5])
    assert solve_affine(program(*data, np.ones(1), 4.0)).theta == pytest.approx([3.0])
    assert solve_affine(program(*data, np.ones(1), 0.25)).outcome is Outcome.INFEASIBLE


def test_a_point_on_the_sphere_is_found() -> None:
    answer = solve_affine(program(np.array([[[0.6, 0.8]]]), np.array([[-2.0]]), np.array([1.0, -1.0]), 2.0))
    assert answer.theta == pytest.approx([1.2, 1.6], abs=1e-4)  # the section is one point: a root of rounding decides


def test_an_objective_of_zero_is_a_question_of_consistency() -> None:
    rng = np.random.default_rng(1)
    question = Program(np.zeros(6), 2.0, generic(6, 2, 12, rng)[0].bank, Hypotheses.ANY, value_range=False)
    answer = solve_affine(question)
    assert answer.theta is not None
    assert (answer.lower, question.violation(answer.theta) < 1e-9) == (0.0, True)


def test_constant_discriminants_hold_always_or_never() -> None:
    u, c = np.array([[[0.0, 0.0], [1.0, 0.0]]]), np.array([1.0, 0.0])
    assert solve_affine(program(u, np.array([[0.0, 1.0]]), c, 2.0)).lower == pytest.approx(2.0)
    assert solve_affine(program(u, np.array([[1.0, 1.0]]), c, 2.0)).lower == pytest.approx(-1.0)


# What the tree promises


@settings(max_examples=50)
@given(st.integers(2, 6), st.integers(2, 3), SEEDS)
def test_a_tree_that_grows_with_its_bank_answers_as_a_new_one(d: int, A: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, theta = generic(d, A, 10, rng)
    bank = Bank(A, d)
    growing = Program(source.objective, source.radius, bank, Hypotheses.ANY, value_range=False)
    tree, before = AffineTree(growing), np.inf
    for u, r in zip(source.bank.increments, source.bank.rewards, strict=True):
        add(bank, u, r)
        answer = tree.solve()
        assert answer.lower == pytest.approx(solve_affine(growing).lower, abs=1e-8)
        assert growing.objective @ theta - 1e-8 <= answer.lower <= before + 1e-8
        before = answer.lower


def test_answers_satisfy_their_data_to_rounding() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        question, theta = generic(9, 2, 14, rng)
        answer = solve_affine(question)
        assert answer.theta is not None
        assert question.violation(answer.theta) <= 1e-12
        assert answer.lower >= question.objective @ theta - 1e-9


def test_a_limit_leaves_a_true_bound_and_work_that_can_go_on() -> None:
    question, _ = generic(9, 3, 16, np.random.default_rng(4))
    exact = solve_affine(question)
    assert exact.nodes > 50
    tree = AffineTree(question)
    first = tree.solve(max_nodes=10)
    assert (first.outcome, first.theta, first.nodes, first.lower) == (Outcome.LIMIT, None, 10, -np.inf)
    assert first.upper > exact.upper
    resumed = tree.solve()
    assert (resumed.lower, resumed.nodes) == (exact.lower, exact.nodes)


def test_products_of_coordinates_take_few_of_their_subspaces() -> None:
    """theta_j theta_k = 0 for all pairs: the sections are the 2^d coordinate subspaces."""
    d = 8
    pairs = [(j, k) for j in range(d) for k in range(j)]
    increments = np.array([np.eye(d)[list(pair)] for pair in pairs])
    rng = np.random.default_rng(5)
    answer = solve_affine(program(increments, np.zeros((len(pairs), 2)), rng.random(d), 1.0))
    assert answer.theta is not None
    assert np.count_nonzero(np.abs(answer.theta) > 1e-9) == 1
    assert answer.nodes <= 2 * d


def test_hyperplanes_shared_by_many_data_are_combined_once() -> None:
    """Without that it takes three times the nodes to exhaust such programs."""
    nodes = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        normals, offsets = rng.normal(size=(20, 10)), 0.3 * rng.random(20)
        rows = np.array([rng.choice(20, 2, replace=False) for _ in range(60)])
        answer = solve_affine(program(normals[rows], offsets[rows], rng.normal(size=10), 2.0))
        assert answer.outcome is Outcome.INFEASIBLE
        nodes += answer.nodes
    assert nodes < 3000


def test_repeated_data_cost_no_nodes() -> None:
    question, _ = generic(7, 2, 9, np.random.default_rng(6))
    bank, once = question.bank, solve_affine(question)
    for u, r in zip(bank.increments.copy(), bank.rewards.copy(), strict=True):
        add(bank, 0.5 * u, 0.5 * r)
    twice = solve_affine(question)
    assert twice.lower == pytest.approx(once.lower, abs=1e-9)
    assert twice.nodes <= once.nodes


def test_reward_scale_and_radius_do_not_matter() -> None:
    question, _ = generic(6, 2, 9, np.random.default_rng(7))
    bank = question.bank
    large = program(bank.increments, 1e4 * bank.rewards, question.objective, 1e4 * question.radius)
    assert solve_affine(large).lower == pytest.approx(1e4 * solve_affine(question).lower, rel=1e-9)


# Bad input


def test_other_classes_are_refused_with_the_solver_to_use() -> None:
    question, _ = generic(3, 2, 2, np.random.default_rng(8))
    for hypotheses, value_range in ((Hypotheses.OPTIMAL, False), (Hypotheses.ANY, True)):
        other = Program(question.objective, 1.0, question.bank, hypotheses, value_range)
        with pytest.raises(ModelError, match="use HypothesisTree or solve_mixed_integer"):
            solve_affine(other)


def test_slack_is_refused_naming_the_datum() -> None:
    question, _ = generic(3, 2, 2, np.random.default_rng(9))
    add(question.bank, np.ones((2, 3)), np.ones(2), slack=0.1)
    with pytest.raises(ModelError, match=r"datum 2 of the bank has slack 0.1; .* use HypothesisTree"):
        solve_affine(question)


@pytest.mark.parametrize("tol", [0.0, -1.0, 0.1, float("nan")])
def test_tolerance_must_be_small_and_positive(tol: float) -> None:
    with pytest.raises(ModelError, match="tol"):
        AffineTree(generic(3, 2, 2, np.random.default_rng(0))[0], tol=tol)


def test_limit_must_be_a_count() -> None:
    with pytest.raises(ModelError, match="max_nodes"):
        solve_affine(generic(3, 2, 2, np.random.default_rng(0))[0], max_nodes=0)
