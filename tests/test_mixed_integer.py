"""HiGHS agrees with brute force on every small program, and never cuts off the weights the data came from."""

import time
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import ModelError
from lookahead_rl.solvers.hypotheses import mixed_integer
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.mixed_integer import solve_mixed_integer
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Outcome, Program

Array = NDArray[np.float64]
RADIUS = 2.0


def planted(
    seed: int, dim: int, n_actions: int, n_data: int, *, hypotheses: Hypotheses = Hypotheses.OPTIMAL,
    value_range: bool = True, slack: float = 0.0, norm: float = 0.8 * RADIUS, twins: bool = False,
) -> tuple[Program, Array]:  # fmt: skip
    """A program whose data theta* satisfies, and theta*; with ``twins`` each datum has two equal actions."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=dim)
    theta *= norm / np.linalg.norm(theta)
    bank = Bank(n_actions, dim)
    for _ in range(n_data):
        phi, u = rng.normal(size=dim), rng.normal(size=(n_actions, dim))
        phi *= np.sign(phi @ theta) / np.linalg.norm(phi)
        loss = rng.random(n_actions)
        best = int(rng.integers(n_actions))
        loss[best] = rng.uniform(-slack, slack)
        if hypotheses is Hypotheses.ANY:
            loss *= rng.choice([-1.0, 1.0], n_actions)
        if twins:
            u[best - 1], loss[best - 1] = u[best], loss[best]
        bank.add(Datum(phi, u, -loss - u @ theta, float(phi @ theta + rng.random()), np.full(n_actions, slack)))
    return Program(rng.normal(size=dim), RADIUS, bank, hypotheses, value_range), theta


def arbitrary(seed: int, dim: int, n_actions: int, n_data: int, **kwargs: Any) -> Program:
    """A program of data that come from no weights, mostly infeasible for want of some."""
    program, _ = planted(seed, dim, n_actions, n_data, **kwargs)
    rng, bank = np.random.default_rng(seed + 1), Bank(n_actions, dim)
    for i in range(n_data):
        old, rewards = program.bank, rng.normal(size=n_actions)
        bank.add(Datum(old.features[i], old.increments[i], rewards, 1.0, old.slack[i]))
    return Program(program.objective, RADIUS, bank, program.hypotheses, program.value_range)


def brute_force(program: Program) -> float:
    """The optimum of a program of small dimension, or -inf: a maximum over points that are known in closed form.

    The optimum is one of a convex program over a polyhedron and the ball. There the best point is the best one of the
    ball's section with some linearly independent faces; where several are best, one of them is best for another,
    generic direction in a section. So the candidates are the maximisers, in both directions, of the section with
    every set of at most d faces.
    """
    bank, d, B = program.bank, program.bank.dim, program.radius
    normals = np.concatenate([bank.increments.reshape(-1, d)] * 2 + [bank.features] * 2)
    sides = np.concatenate(
        [(bank.slack - bank.rewards).ravel(), (-bank.slack - bank.rewards).ravel(), bank.caps, np.zeros(len(bank))]
    )
    faces = np.unique(np.column_stack([normals, sides]), axis=0)
    points: list[Array] = []
    for k in range(min(d, len(faces)) + 1):
        sets = np.array(list(combinations(range(len(faces)), k)), dtype=np.int64).reshape(comb(len(faces), k), k)
        G, h = faces[sets, :-1], faces[sets, -1]
        inverse = np.linalg.pinv(G) if k else np.zeros((len(sets), d, 0))
        nearest = np.einsum("sdk,sk->sd", inverse, h)
        for direction in (program.objective, np.random.default_rng(0).normal(size=d)):
            along = direction - np.einsum("sdk,ske,e->sd", inverse, G, direction)
            length = np.linalg.norm(along, axis=1, keepdims=True)
            along = np.where(length > 1e-9, along / np.where(length > 1e-9, length, 1.0), 0.0)
            points.append(nearest + along * np.sqrt(np.maximum(B**2 - (nearest**2).sum(1, keepdims=True), 0.0)))
    candidates = np.concatenate(points)
    return float((candidates @ program.objective)[feasible(program, candidates)].max(initial=-np.inf))


def feasible(program: Program, points: Array, tol: float = 1e-8) -> NDArray[np.bool_]:
    """Which points satisfy all constraints, written out from the definition of the program."""
    bank = program.bank
    delta = bank.rewards + np.einsum("nad,pd->pna", bank.increments, points)
    values = points @ bank.features.T
    fits = (np.abs(delta) <= bank.slack + tol).any(axis=2).all(axis=1)
    if program.hypotheses is Hypotheses.OPTIMAL:
        fits &= (delta <= bank.slack + tol).all(axis=(1, 2))
    if program.value_range:
        fits &= ((values >= -tol) & (values <= bank.caps + tol)).all(axis=1)
    return fits & (np.linalg.norm(points, axis=1) <= program.radius + tol)


@st.composite
def programs(draw: st.DrawFn) -> tuple[Program, Array | None]:
    """A small program with the weights its data come from, or with data that come from none.

    The objective may be the first datum's features, as a planner's is: where its cap binds, many optima are equal.
    """
    dim, n_actions = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    seed, n_data = draw(st.integers(0, 10**6)), draw(st.integers(0, 4 if dim == 3 else 6))
    kind: dict[str, Any] = {
        "hypotheses": draw(st.sampled_from(Hypotheses)),
        "value_range": draw(st.booleans()),
        "slack": draw(st.sampled_from([0.0, 0.1, 0.3])),
        "twins": n_actions > 1 and draw(st.booleans()),
    }
    if draw(st.integers(0, 3)) == 0:
        program, theta = arbitrary(seed, dim, n_actions, n_data, **kind), None
    else:
        program, theta = planted(seed, dim, n_actions, n_data, norm=RADIUS * draw(st.sampled_from([0.8, 1.0])), **kind)
    if n_data > 0 and draw(st.booleans()):
        program = replace(program, objective=program.bank.features[0])
    return program, theta


@given(programs())
@settings(max_examples=150, deadline=None)
def test_optima_are_those_of_brute_force(drawn: tuple[Program, Array | None]) -> None:
    program, planted_theta = drawn
    optimum, best = solve_mixed_integer(program), brute_force(program)
    if best == -np.inf:
        assert planted_theta is None
        assert (optimum.outcome, optimum.theta, optimum.upper) == (Outcome.INFEASIBLE, None, -np.inf)
        return
    assert optimum.outcome is Outcome.OPTIMAL
    assert abs(optimum.lower - best) <= 1e-7
    assert best - 1e-7 <= optimum.upper <= best + 1e-6
    assert program.violation(optimum.theta) <= 1e-8
    assert planted_theta is None or optimum.upper >= program.objective @ planted_theta - 1e-8


@pytest.mark.parametrize("hypotheses", Hypotheses)
@pytest.mark.parametrize("value_range", [False, True])
@pytest.mark.parametrize(("dim", "n_data"), [(2, 25), (4, 12), (6, 9)])
def test_planted_weights_are_never_cut_off(hypotheses: Hypotheses, value_range: bool, dim: int, n_data: int) -> None:
    for slack in (0.0, 0.05):
        program, theta = planted(
            dim, dim, 2, n_data, hypotheses=hypotheses, value_range=value_range, slack=slack, norm=RADIUS
        )  # fmt: skip
        optimum = solve_mixed_integer(program)
        assert optimum.outcome is Outcome.OPTIMAL
        assert optimum.lower >= program.objective @ theta - 1e-7
        assert program.violation(optimum.theta) <= 1e-8


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 4]))
@settings(max_examples=40, deadline=None)
def test_big_m_is_the_maximum_over_the_ball_and_the_value_range(seed: int, dim: int) -> None:
    program, _ = planted(seed, dim, 2, 3, hypotheses=Hypotheses.ANY)
    rows, data = program.bank.increments.reshape(-1, dim), np.repeat(np.arange(3), 2)
    bounds = mixed_integer._OuterApproximation(program, np.inf, 1e-9)._largest(rows, data) * (1.0 + RADIUS)
    points = np.random.default_rng(seed).normal(size=(2000, dim))
    points *= (RADIUS / np.linalg.norm(points, axis=1))[:, None]
    for row, i, bound in zip(rows, data, bounds, strict=True):
        free = Program(row, RADIUS, range_only(program.bank, i), Hypotheses.ANY)
        assert bound == pytest.approx(brute_force(free), abs=1e-7)
        values = points @ program.bank.features[i]
        fits = (values >= 0) & (values <= program.bank.caps[i])
        assert (points[fits] @ row).max(initial=-np.inf) <= bound + 1e-9


def range_only(bank: Bank, i: int) -> Bank:
    """Datum i without its discriminants: only its value range is left."""
    alone = Bank(1, bank.dim)
    nothing = np.zeros(1)
    alone.add(Datum(bank.features[i], np.zeros((1, bank.dim)), nothing, float(bank.caps[i]), nothing))
    return alone


@pytest.mark.parametrize("dim", [2, 4, 30])
def test_the_ball_binds_to_the_last_digit(dim: int) -> None:
    # Without data the optimum is B ||c||; with one equation <e_0, theta> = 1 it is c_0 + ||c_rest|| sqrt(B^2 - 1).
    bank, c = Bank(1, dim), np.random.default_rng(dim).normal(size=dim)
    assert solve_mixed_integer(Program(c, RADIUS, bank)).lower == pytest.approx(RADIUS * np.linalg.norm(c), abs=1e-8)
    bank.add(Datum(np.zeros(dim), np.eye(dim)[:1], np.array([-1.0]), 1.0, np.zeros(1)))
    optimum = solve_mixed_integer(Program(c, RADIUS, bank))
    assert optimum.lower == pytest.approx(c[0] + np.linalg.norm(c[1:]) * np.sqrt(3.0), abs=1e-8)
    assert np.linalg.norm(optimum.theta) <= RADIUS * (1 + 1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_data_within_the_tolerance_of_consistent_ones_are_consistent(seed: int) -> None:
    exact, theta = planted(seed, 3, 3, 15)
    noise = 8e-10 * np.random.default_rng(seed).uniform(-1, 1, (15, 3))
    bank, old = Bank(3, 3), exact.bank
    for i in range(15):
        bank.add(Datum(old.features[i], old.increments[i], old.rewards[i] + noise[i], float(old.caps[i]), old.slack[i]))
    optimum = solve_mixed_integer(Program(exact.objective, RADIUS, bank))
    assert optimum.outcome is Outcome.OPTIMAL
    assert optimum.lower == pytest.approx(exact.objective @ theta, abs=1e-6)


def test_data_beyond_the_tolerance_are_not() -> None:
    bank, nothing = Bank(1, 1), np.zeros(1)
    for r in (0.3, 0.3 + 1e-6):  # what HiGHS itself lets pass
        bank.add(Datum(nothing, np.ones((1, 1)), np.array([r]), 1.0, nothing))
    assert solve_mixed_integer(Program(np.ones(1), RADIUS, bank)).outcome is Outcome.INFEASIBLE


def test_a_time_limit_leaves_a_true_upper_bound() -> None:
    program, theta = planted(1, 12, 3, 24, hypotheses=Hypotheses.ANY)
    start = time.monotonic()
    optimum = solve_mixed_integer(program, time_limit=0.3)
    assert time.monotonic() - start < 5.0
    assert optimum.outcome is Outcome.LIMIT
    assert program.objective @ theta <= optimum.upper <= RADIUS * np.linalg.norm(program.objective) + 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time_limit": 0}, "time_limit is 0"),
        ({"time_limit": "1"}, "time_limit is '1'"),
        ({"tol": 1e-12}, "tol is 1e-12"),
        ({"tol": float("nan")}, "tol is nan"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        solve_mixed_integer(planted(0, 2, 2, 2)[0], **arguments)
