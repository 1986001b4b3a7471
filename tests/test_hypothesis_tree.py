"""The hypothesis tree finds the optimum of every program, proves it, and goes on where it stood when data come."""

from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import needle_mdp, realizable_mdp
from lookahead_rl.models.finite import FiniteHorizonMDP
from lookahead_rl.solvers.hypotheses import relaxation
from lookahead_rl.solvers.hypotheses.affine import solve_affine
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.certificates import OptimismCertificate, Split
from lookahead_rl.solvers.hypotheses.incumbents import bank_policy_iteration
from lookahead_rl.solvers.hypotheses.mixed_integer import solve_mixed_integer
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Optimum, Outcome, Program
from lookahead_rl.solvers.hypotheses.tree import HypothesisTree
from lookahead_rl.solvers.hypotheses.verification import Verified, verify

Array = NDArray[np.float64]

GENTLE = ("generic", "integer", "repeated", "foreign")
HARSH = ("short", "rounding", "parallel", "repeated")


def increments(kind: str, rng: np.random.Generator, A: int, d: int, last: Array | None) -> Array:
    """The u of a datum, by kind.

    ``integer`` ones make ties and intersections by the dozen; ``short`` ones have norms down to 1e-12; ``rounding``
    ones may be shorter than rounding errors; ``parallel`` ones differ from those before by 1e-13 to 1e-3.
    """
    if kind == "integer":
        return rng.integers(-2, 3, (A, d)).astype(np.float64)
    u = rng.normal(size=(A, d))
    if last is not None and kind in ("parallel", "repeated") and rng.random() < 0.7:
        return last + (10.0 ** rng.uniform(-13, -3) * u if kind == "parallel" else 0.0)
    shortest = {"short": -12.0, "rounding": -18.0}.get(kind, 0.0)
    return u * 10.0 ** rng.uniform(shortest, 0.0, (A, 1))


def program_of(
    kind: str, rng: np.random.Generator, dim: int, n_actions: int, n_data: int, *, hypotheses: Hypotheses,
    value_range: bool, slack: float, radius: float, norm: float,
) -> tuple[Program, Array]:  # fmt: skip
    """A program, and the weights its data come from: consistent, unless outside the ball or the data are foreign.

    A slack applies to two data in three. A third of the data has two equal actions. The objective is random, zero, an
    axis or one of the data.
    """
    theta = rng.normal(size=dim)
    theta *= norm * radius / np.linalg.norm(theta)
    if kind == "integer":
        theta = np.round(theta)
    bank, u = Bank(n_actions, dim), None
    for _ in range(n_data):
        u, phi, widths = increments(kind, rng, n_actions, dim, u), rng.normal(size=dim), np.zeros(n_actions)
        phi = np.round(phi) if kind == "integer" else phi / np.linalg.norm(phi)
        phi *= 1.0 if phi @ theta >= 0 else -1.0
        widths[:] = slack * (rng.random() < 2 / 3)
        loss, best = np.ceil(3 * rng.random(n_actions)) / 3, int(rng.integers(n_actions))
        loss[best] = rng.uniform(-1.0, 1.0) * widths[best]
        if hypotheses is Hypotheses.ANY:
            loss *= rng.choice([-1.0, 1.0], n_actions)
        if n_actions > 1 and rng.random() < 1 / 3:
            u[best - 1], loss[best - 1] = u[best], loss[best]
        rewards = rng.normal(size=n_actions) if kind == "foreign" else -loss - u @ theta
        bank.add(Datum(phi, u, rewards, max(0.0, float(phi @ theta)) + rng.random(), widths))
    objectives = [rng.normal(size=dim)] * 2 + [np.zeros(dim), np.eye(dim)[0]]
    if n_data:
        objectives += [bank.increments[0, 0].copy(), bank.features[-1].copy()]
    return Program(objectives[rng.integers(len(objectives))], radius, bank, hypotheses, value_range), theta


@st.composite
def programs(draw: st.DrawFn, kinds: tuple[str, ...], largest: int = 3) -> tuple[Program, Array | None]:
    """A program of at most so many dimensions, and weights that are consistent, if some are known to be."""
    kind, dim = draw(st.sampled_from(kinds)), draw(st.integers(1, largest))
    norm = draw(st.sampled_from([0.5, 0.8, 0.8, 1.3]))
    program, theta = program_of(
        kind, np.random.default_rng(draw(st.integers(0, 2**32))), dim, draw(st.integers(1, 3)),
        draw(st.integers(0, 4 if dim == 3 else 6)), norm=norm, slack=draw(st.sampled_from([0.0, 0.0, 0.2])),
        hypotheses=draw(st.sampled_from(Hypotheses)), value_range=draw(st.booleans()),
        radius=draw(st.sampled_from([0.3, 2.0, 1e4] if kinds == HARSH else [0.3, 1.0, 2.0])),
    )  # fmt: skip
    return program, theta if program.violation(theta) <= 1e-13 * (1.0 + program.radius) else None


def maximum(program: Program) -> float:
    """The optimum of a program of few dimensions, or -inf, as the largest of finitely many candidates.

    The optimum over all choices of actions is the optimum of one: of a polyhedron and the ball. It is attained at the
    best point of the ball's section with some independent faces, or, where the objective does not tell points of the
    section apart, at the point of the section that is best for a generic direction.
    """
    bank, d, B = program.bank, program.bank.dim, program.radius
    normals = np.concatenate([bank.increments.reshape(-1, d)] * 2 + [bank.features] * 2)
    sides = [(bank.slack - bank.rewards).ravel(), (-bank.slack - bank.rewards).ravel(), bank.caps, np.zeros(len(bank))]
    norms = np.linalg.norm(normals, axis=1)
    faces = np.column_stack([normals, np.concatenate(sides)])[norms > 1e-12] / norms[norms > 1e-12, None]
    faces, points = np.unique(faces.round(13), axis=0), []
    for k in range(min(d, len(faces)) + 1):
        sets = np.array(list(combinations(range(len(faces)), k)), dtype=np.int64).reshape(comb(len(faces), k), k)
        G, h = faces[sets, :-1], faces[sets, -1]
        inverse = np.linalg.pinv(G) if k else np.zeros((len(sets), d, 0))
        nearest = np.einsum("sdk,sk->sd", inverse, h)
        for direction in (program.objective, np.random.default_rng(0).normal(size=d)):
            along = direction - np.einsum("sdk,ske,e->sd", inverse, G, direction)
            length = np.linalg.norm(along, axis=1, keepdims=True)
            along = np.where(length > 1e-9, along / np.maximum(length, 1e-9), 0.0)
            points.append(nearest + along * np.sqrt(np.maximum(B**2 - (nearest**2).sum(1, keepdims=True), 0.0)))
    candidates = np.concatenate(points)
    return float((candidates @ program.objective)[are_consistent(program, candidates)].max(initial=-np.inf))


def are_consistent(program: Program, points: Array) -> NDArray[np.bool_]:
    """Which points lie within 1e-9 (1 + B) of every constraint, written out from the definition of the program."""
    bank, tol = program.bank, 1e-9 * (1.0 + program.radius)
    sizes, lengths = np.linalg.norm(bank.increments, axis=2), np.linalg.norm(bank.features, axis=1)
    delta = bank.rewards + np.einsum("nad,pd->pna", bank.increments, points)
    values = points @ bank.features.T
    fits = (np.abs(delta) <= bank.slack + tol * sizes).any(axis=2).all(axis=1)
    if program.hypotheses is Hypotheses.OPTIMAL:
        fits &= (delta <= bank.slack + tol * sizes).all(axis=(1, 2))
    if program.value_range:
        fits &= ((values >= -tol * lengths) & (values <= bank.caps + tol * lengths)).all(axis=1)
    return fits & (np.linalg.norm(points, axis=1) <= program.radius + tol)


def widened(program: Program, by: float) -> Program:
    """The program with every constraint wider by at least so much; of values the lower side stays."""
    bank, wide = program.bank, Bank(program.bank.n_actions, program.bank.dim)
    for i in range(len(bank)):
        cap, slack = float(bank.caps[i]) + by, bank.slack[i] + by
        wide.add(Datum(bank.features[i], bank.increments[i], bank.rewards[i], cap, slack))
    return Program(program.objective, program.radius + by, wide, program.hypotheses, program.value_range)


def first_data(bank: Bank, start: int, end: int, into: Bank) -> None:
    """Copy data start, ..., end - 1 into another bank."""
    for i in range(start, end):
        into.add(Datum(bank.features[i], bank.increments[i], bank.rewards[i], float(bank.caps[i]), bank.slack[i]))


def tolerance(program: Program) -> float:
    """By how much the bounds of an optimum may differ."""
    return 1e-7 * (1.0 + program.radius)


def proof(tree: HypothesisTree) -> tuple[OptimismCertificate, Verified]:
    """The certificate of this moment, checked."""
    certificate = tree.certificate()
    verified = verify(tree.program, certificate)
    assert certificate.n_data == len(tree.program.bank)
    assert certificate.lower == tree.lower
    assert certificate.upper <= tree.upper or certificate.upper <= tree.lower + tolerance(tree.program)
    assert tree.upper <= max(certificate.upper, tree.lower)
    assert verified.lower <= verified.relaxed_upper
    return certificate, verified


def assert_exact(program: Program) -> Optimum:
    """The tree's answer is the optimum of brute force, and its certificate proves it."""
    tree, best, tol = HypothesisTree(program), maximum(program), tolerance(program)
    optimum = tree.solve()
    certificate, verified = proof(tree)
    assert verified.upper >= best - 1e-8 * (1.0 + program.radius)
    assert optimum.outcome in ((Outcome.INFEASIBLE, Outcome.LIMIT) if best == -np.inf else (Outcome.OPTIMAL,))
    if optimum.outcome is Outcome.OPTIMAL:
        assert optimum.upper - optimum.lower <= tol
        assert program.violation(optimum.theta) <= tol
        # No more than the program allows that is wider by as much as theta misses it.
        assert optimum.lower <= best + tol or optimum.lower <= tol + maximum(
            widened(program, certificate.violation * (1.0 + 1e-6) + 1e-12)
        )
    elif optimum.outcome is Outcome.INFEASIBLE:
        assert (optimum.theta, optimum.lower, optimum.upper) == (None, -np.inf, -np.inf)
    else:  # the last point may leave the program by less than the tolerance
        assert maximum(widened(program, 2.0 * tol)) > -np.inf
    return optimum


# The optimum


@given(programs(GENTLE))
@settings(max_examples=250)
def test_optima_are_those_of_brute_force(drawn: tuple[Program, Array | None]) -> None:
    assert_exact(drawn[0])


@pytest.mark.slow
@given(programs(GENTLE))
@settings(max_examples=4000)
def test_thousands_of_optima_are_those_of_brute_force(drawn: tuple[Program, Array | None]) -> None:
    assert_exact(drawn[0])


@given(programs(("generic", "repeated", "foreign"), largest=5))
@settings(max_examples=60)
def test_optima_are_those_of_mixed_integer_programming(drawn: tuple[Program, Array | None]) -> None:
    program, _ = drawn
    ours, theirs = HypothesisTree(program).solve(), solve_mixed_integer(program, time_limit=2.0)
    assert theirs.outcome in (ours.outcome, Outcome.LIMIT)  # HiGHS is slow where the ball binds
    assert ours.lower <= theirs.upper + 2.0 * tolerance(program)
    assert theirs.lower <= ours.upper + 2.0 * tolerance(program)


@given(st.integers(0, 2**32), st.integers(2, 7), st.integers(2, 3), st.integers(0, 14))
@settings(max_examples=60)
def test_optima_of_exact_data_are_those_of_sections_in_closed_form(seed: int, dim: int, A: int, n_data: int) -> None:
    program, _ = program_of(
        "generic", np.random.default_rng(seed), dim, A, n_data,
        hypotheses=Hypotheses.ANY, value_range=False, slack=0.0, radius=2.0, norm=0.8,
    )  # fmt: skip
    ours, theirs = HypothesisTree(program).solve(), solve_affine(program)
    assert ours.outcome is theirs.outcome is Outcome.OPTIMAL
    assert ours.lower == pytest.approx(theirs.lower, abs=3e-7)


def rolled_out(dim: int, n_data: int, seed: int, *, needle: bool = False) -> tuple[Program, Array, float]:
    """Data of random episodes of a planted MDP with A = 4 and H = 20, its weights and v* at the start."""
    planted = needle_mdp(4, 20, dim, seed) if needle else realizable_mdp(1000, 4, 20, dim, seed)
    model, theta = planted.model, planted.theta
    assert isinstance(model, FiniteHorizonMDP)
    assert theta is not None
    assert model.features is not None
    H, S, A = model.horizon, model.n_states, model.n_actions
    next_states = model.P_rows.indices.reshape(H, S, A)
    start, rng, bank = int(model.rho.argmax()), np.random.default_rng(seed), Bank(A, dim)
    while len(bank) < n_data:
        s = start
        for h in range(min(H, n_data - len(bank))):
            u = model.features[h + 1, next_states[h, s]] - model.features[h, s]
            bank.add(Datum(model.features[h, s], u, model.r[h, s], float(H - h), np.zeros(A)))
            s = int(next_states[h, s, rng.integers(A)])
    radius = 1.05 * float(np.linalg.norm(theta))
    return Program(model.features[0, start], radius, bank), theta, float(planted.value[0, start])


def assert_solved_by_data(dim: int, n_data: int, most_expansions: int) -> None:
    """Data of a generic MDP as many as that leave v* alone."""
    program, _, value = rolled_out(dim, n_data, 0)
    tree = HypothesisTree(program)
    optimum = tree.solve(max_expansions=most_expansions)
    assert optimum.outcome is Outcome.OPTIMAL
    assert optimum.lower == pytest.approx(value, abs=1e-8)
    assert value - 1e-9 <= proof(tree)[1].upper <= value + tolerance(program)


def test_sixty_dimensions_are_solved_to_the_optimal_value() -> None:
    assert_solved_by_data(60, 180, 200)  # 17 are enough


@pytest.mark.slow
def test_a_hundred_dimensions_are_solved_to_the_optimal_value() -> None:
    assert_solved_by_data(100, 300, 2000)


def test_policy_iteration_on_the_bank_finds_the_weights_that_the_tree_proves_best() -> None:
    program, theta, _ = rolled_out(40, 120, 1)
    guess = bank_policy_iteration(program, np.zeros(40))
    assert guess == pytest.approx(theta, abs=1e-8)
    cold, warm = HypothesisTree(program), HypothesisTree(program)
    assert warm.offer(guess)
    assert warm.solve().upper == pytest.approx(cold.solve().upper, abs=tolerance(program))
    assert warm.expansions <= cold.expansions


def test_a_needle_is_solved_although_data_leave_many_weights() -> None:
    program, theta, value = rolled_out(20, 60, 0, needle=True)
    tree = HypothesisTree(program)
    optimum = tree.solve(max_expansions=500)
    assert optimum.outcome is Outcome.OPTIMAL
    assert proof(tree)[1].upper >= program.objective @ theta == pytest.approx(value)


# Bounds at every moment


def grow(drawn: tuple[Program, Array | None], steps: list[int]) -> HypothesisTree:
    """A tree that gains its data one by one and splits so many nodes between two; bounds checked at every moment."""
    full, theta = drawn
    program = replace(full, bank=Bank(full.bank.n_actions, full.bank.dim))
    tree, tol = HypothesisTree(program), tolerance(full)
    for n in range(len(full.bank) + 1):
        if n:
            first_data(full.bank, n - 1, n, program.bank)
        optimum = tree.solve(max_expansions=steps[n % len(steps)])
        certificate, verified = proof(tree)
        assert optimum.upper == tree.upper
        assert optimum.lower == tree.lower
        if theta is not None:  # the planted weights are never cut off
            assert min(certificate.upper, verified.upper, optimum.upper) >= program.objective @ theta - tol
        if optimum.theta is not None:
            assert program.violation(optimum.theta) <= tol
    return tree


@given(programs(HARSH), st.lists(st.integers(0, 3), min_size=1, max_size=3))
@settings(max_examples=250)
def test_planted_weights_are_never_cut_off_however_ill_conditioned(
    drawn: tuple[Program, Array | None], steps: list[int]
) -> None:
    grow(drawn, steps)


@pytest.mark.slow
@given(programs(HARSH), st.lists(st.integers(0, 3), min_size=1, max_size=3))
@settings(max_examples=4000)
def test_planted_weights_are_never_cut_off_in_thousands_of_ill_conditioned_programs(
    drawn: tuple[Program, Array | None], steps: list[int]
) -> None:
    grow(drawn, steps)


@given(programs(HARSH))
@settings(max_examples=40)
def test_proofs_of_ill_conditioned_programs_hold_in_rational_arithmetic(drawn: tuple[Program, Array | None]) -> None:
    tree = HypothesisTree(drawn[0])
    tree.solve(max_expansions=20)
    certificate = tree.certificate()
    assert verify(drawn[0], certificate, exact=True).upper <= verify(drawn[0], certificate).upper


@given(programs(GENTLE), st.lists(st.integers(0, 3), min_size=1, max_size=3))
@settings(max_examples=150)
def test_a_tree_grown_with_its_data_ends_where_a_fresh_one_does(
    drawn: tuple[Program, Array | None], steps: list[int]
) -> None:
    grown, fresh = grow(drawn, steps), HypothesisTree(drawn[0])
    ours, theirs = grown.solve(), fresh.solve()
    proof(grown)
    tol = tolerance(drawn[0])
    if maximum(drawn[0]) == -np.inf and Outcome.LIMIT in (ours.outcome, theirs.outcome):
        return  # what is consistent but for the tolerance is settled by the order of the data
    assert ours.outcome is theirs.outcome
    if ours.theta is not None:  # the two may accept different rounding errors
        widest = maximum(widened(drawn[0], max(map(drawn[0].violation, (ours.theta, theirs.theta))) + 1e-12))
        assert abs(ours.lower - theirs.lower) <= max(2.0 * tol, widest - maximum(drawn[0]) + 2.0 * tol)


@given(programs(GENTLE))
@settings(max_examples=100)
def test_stopped_at_any_moment_the_bounds_are_true_and_only_improve(drawn: tuple[Program, Array | None]) -> None:
    program, _ = drawn
    tree, best, upper, lower = HypothesisTree(program), maximum(program), np.inf, -np.inf
    for most in (0, 1, 1, 2, 3):
        before = tree.expansions
        optimum = tree.solve(max_expansions=most)
        _, verified = proof(tree)
        assert tree.expansions - before <= most
        assert best - 1e-8 * (1.0 + program.radius) <= verified.upper
        assert optimum.lower <= verified.relaxed_upper
        assert optimum.upper <= upper + tolerance(program)
        assert optimum.lower >= lower
        upper, lower = optimum.upper, optimum.lower
        if optimum.outcome is not Outcome.LIMIT:
            break


@given(programs(GENTLE), st.sampled_from([1e-3, 0.1, 1.0, np.inf]))
@settings(max_examples=100)
def test_a_gap_stops_early_with_true_bounds(drawn: tuple[Program, Array | None], gap: float) -> None:
    program, _ = drawn
    tree, exact = HypothesisTree(program), HypothesisTree(program)
    optimum, best = tree.solve(gap=gap), maximum(program)
    exact.solve()
    assert proof(tree)[1].upper >= best - 1e-8 * (1.0 + program.radius)
    assert tree.expansions <= exact.expansions
    if optimum.outcome is Outcome.OPTIMAL:
        assert optimum.upper - optimum.lower <= gap
    if optimum.outcome is Outcome.INFEASIBLE:
        assert best == -np.inf


def test_a_wide_gap_saves_expansions() -> None:
    program, theta, value = rolled_out(40, 60, 0)
    tree, exact = HypothesisTree(program), HypothesisTree(program)
    tree.offer(theta)
    optimum = tree.solve(gap=1.0)
    assert exact.solve(max_expansions=500).upper >= value - 1e-9
    assert tree.expansions < exact.expansions
    assert value - 1e-9 <= optimum.upper <= optimum.lower + 1.0


# Incumbents


@given(programs(("generic",)), st.integers(0, 2**32))
@settings(max_examples=100)
def test_an_incumbent_is_taken_only_if_it_is_consistent_and_better(
    drawn: tuple[Program, Array | None], seed: int
) -> None:
    program, theta = drawn
    tree = HypothesisTree(program)
    for guess in np.random.default_rng(seed).uniform(-program.radius, program.radius, (5, program.bank.dim)):
        before, is_better = tree.lower, program.objective @ guess > tree.lower
        assert tree.offer(guess) == (is_better and program.violation(guess) <= tree.tolerance)
        assert tree.lower >= before
    if theta is not None:
        tree.offer(theta)
        assert tree.lower >= program.objective @ theta
        assert not tree.offer(theta)
        assert tree.solve().lower >= program.objective @ theta


def test_an_incumbent_that_new_data_contradict_is_dropped() -> None:
    bank = Bank(2, 2)
    program = Program(np.array([1.0, 0.0]), 1.0, bank, Hypotheses.ANY, value_range=False)
    tree = HypothesisTree(program)
    assert tree.solve().theta == pytest.approx([1.0, 0.0], abs=1e-3)
    bank.add(Datum(np.zeros(2), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([-0.25, 2.0]), 1.0, np.zeros(2)))
    assert tree.top_point() is not None
    assert tree.incumbent is None
    assert tree.solve().lower == pytest.approx(0.25, abs=1e-7)
    bank.add(Datum(np.zeros(2), np.zeros((2, 2)), np.ones(2), 1.0, np.zeros(2)))  # 1 = 0 whatever theta is
    assert tree.solve().outcome is Outcome.INFEASIBLE
    assert tree.top_point() is None
    assert proof(tree)[1].upper == -np.inf


def test_an_offered_array_may_change_afterwards() -> None:
    tree, theta = HypothesisTree(Program(np.ones(2), 1.0, Bank(1, 2))), np.array([0.5, 0.5])
    assert tree.offer(theta)
    theta[:] = 9.0
    assert tree.lower == 1.0


# Particular programs


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0])
@pytest.mark.parametrize("radius", [1e-3, 1.0, 1e4])
def test_without_data_the_optimum_is_the_ball_in_the_direction_of_the_objective(scale: float, radius: float) -> None:
    c = scale * np.array([3.0, -4.0, 12.0])
    program = Program(c, radius, Bank(2, 3))
    optimum = HypothesisTree(program).solve()
    assert optimum.outcome is Outcome.OPTIMAL
    assert optimum.upper == pytest.approx(13.0 * scale * radius)
    assert optimum.lower == pytest.approx(13.0 * scale * radius, abs=tolerance(program))
    assert program.violation(optimum.theta) <= 1e-8 * (1.0 + radius)


def test_a_ball_too_small_for_the_data_is_proved_empty() -> None:
    # theta = (3/2, 3/2) is forced: within the box of B = 2, but of norm 2.12.
    bank = Bank(1, 2)
    for j in range(2):
        bank.add(Datum(np.zeros(2), np.eye(2)[j : j + 1], np.array([-1.5]), 1.0, np.zeros(1)))
    for c in (np.array([1.0, 0.5]), np.array([-1.0, 0.2]), np.zeros(2)):
        tree = HypothesisTree(Program(c, 2.0, bank))
        assert tree.solve().outcome is Outcome.INFEASIBLE
        certificate = tree.certificate()
        assert verify(tree.program, certificate).upper == -np.inf
        assert verify(tree.program, certificate, exact=True).upper == -np.inf
    assert HypothesisTree(Program(np.ones(2), 2.2, bank)).solve().lower == pytest.approx(3.0, abs=1e-6)


@pytest.mark.parametrize("hypotheses", Hypotheses)
@pytest.mark.parametrize("size", [1e-18, 1e-16, 1e-13])
def test_an_increment_of_rounding_errors_is_no_equation(hypotheses: Hypotheses, size: float) -> None:
    # A state that returns to itself without reward: u = phi' - phi is zero but for rounding, and tells nothing.
    rng = np.random.default_rng(0)
    for _ in range(20):
        bank, theta = Bank(2, 3), rng.normal(size=3)
        theta *= 1.5 / np.linalg.norm(theta)
        for _ in range(3):
            u = rng.normal(size=(2, 3))
            u[0] *= size
            bank.add(Datum(np.zeros(3), u, np.array([0.0, -u[1] @ theta - 0.5]), 1.0, np.zeros(2)))
        program = Program(theta, 2.0, bank, hypotheses, value_range=False)
        tree = HypothesisTree(program)
        optimum = tree.solve()
        assert proof(tree)[1].upper >= theta @ theta - tolerance(program)
        assert optimum.outcome is Outcome.OPTIMAL
        if hypotheses is Hypotheses.ANY:
            assert optimum.upper == pytest.approx(3.0)


@pytest.mark.parametrize("hypotheses", Hypotheses)
def test_differences_of_nearly_equal_features_do_not_contradict_each_other(hypotheses: Hypotheses) -> None:
    # u = phi' - phi of size 1e-8 carries errors of 1e-16: more such data than dimensions agree only up to those.
    rng = np.random.default_rng(0)
    for _ in range(20):
        bank, theta = Bank(1, 3), rng.normal(size=3)
        theta *= 1.5 / np.linalg.norm(theta)
        for _ in range(8):
            u = 1e-8 * rng.normal(size=(1, 3))
            bank.add(Datum(np.zeros(3), u + 1e-16 * rng.normal(size=3), -u @ theta, 1.0, np.zeros(1)))
        tree = HypothesisTree(Program(theta, 2.0, bank, hypotheses, value_range=False))
        assert tree.solve().outcome is Outcome.OPTIMAL
        assert proof(tree)[1].upper >= theta @ theta - tolerance(tree.program)


def test_rows_of_any_size_keep_their_certificates_valid() -> None:
    # Emptiness by a hair, rows as long as a million: what the tree calls empty, the checker calls empty.
    rng = np.random.default_rng(1)
    for k in range(60):
        size, hair = 10.0 ** rng.uniform(-3, 6), 10.0 ** rng.uniform(-14, -2)
        u, bank = size * rng.normal(size=3), Bank(1, 3)
        for r in (1.0, 1.0 + hair):
            bank.add(Datum(np.zeros(3), u[None], np.array([r]), 1.0, np.full(1, 0.25 * hair * (k % 3))))
        tree = HypothesisTree(Program(rng.normal(size=3), 2.0, bank))
        tree.solve()
        proof(tree)


def test_equal_actions_share_a_node() -> None:
    bank, u = Bank(4, 2), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    bank.add(Datum(np.zeros(2), u, np.full(4, -0.5), 1.0, np.zeros(4)))
    tree = HypothesisTree(Program(np.ones(2), 2.0, bank, Hypotheses.ANY, value_range=False))
    tree.solve()
    assert tree.expansions == 1
    split = tree.certificate().nodes[0]
    assert isinstance(split, Split)
    assert split.children == (1, 2, 1, 2)
    proof(tree)


def test_repeated_data_cost_no_expansions() -> None:
    program, _, _ = rolled_out(12, 36, 3)
    once = HypothesisTree(program)
    optimum = once.solve()
    for _ in range(5):
        first_data(program.bank, 0, 36, program.bank)
    often = HypothesisTree(program)
    assert often.solve().lower == pytest.approx(optimum.lower, abs=1e-8)
    assert often.expansions <= 2 * once.expansions


def lost(*_: Any, **__: Any) -> None:
    raise RuntimeError("Maximum number of iterations reached.")


def test_where_least_squares_fail_the_bounds_stay_true(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(20):
        program, theta = program_of(
            "generic", np.random.default_rng(seed), 3, 2, 4,
            hypotheses=Hypotheses.ANY, value_range=True, slack=0.2, radius=1.0, norm=0.9,
        )  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(relaxation, "nnls", lost)
            tree = HypothesisTree(program)
            optimum = tree.solve()
            assert optimum.outcome in (Outcome.LIMIT, Outcome.OPTIMAL)
            assert proof(tree)[1].upper >= maximum(program) - 1e-8
            assert optimum.upper >= program.objective @ theta - 1e-9
        # With new data the nodes that were given up come back.
        first_data(program.bank, 0, 1, program.bank)
        again, fresh = tree.solve(), HypothesisTree(program).solve()
        assert again.outcome is fresh.outcome is Outcome.OPTIMAL
        assert again.lower == pytest.approx(fresh.lower, abs=tolerance(program))
