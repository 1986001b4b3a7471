"""A certificate is accepted if and only if it is a proof, and what it proves is true, rounding included."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from lookahead_rl.models import ModelError
from lookahead_rl.solvers.hypotheses import verification
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.certificates import Constraint, Leaf, OptimismCertificate, Split
from lookahead_rl.solvers.hypotheses.mixed_integer import solve_mixed_integer
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Outcome, Program
from lookahead_rl.solvers.hypotheses.verification import InvalidCertificate, Verified, verify

Array = NDArray[np.float64]
Path = frozenset[tuple[int, int]]
BELOW, ABOVE, CAP, SIGN = Constraint
RADIUS, DIM, N_ACTIONS, N_DATA = 2.0, 3, 3, 3


def make_program(seed: int) -> tuple[Program, Array | None]:
    """A random program, and the weights its data come from. By the seed: class, value range, slack, equal actions,
    and whether there are no such weights."""
    is_any, has_range, is_wide, has_twins, is_foreign = (seed >> k & 1 == 1 for k in range(5))
    rng = np.random.default_rng(seed)
    theta, bank = rng.normal(size=DIM), Bank(N_ACTIONS, DIM)
    theta *= 0.8 * RADIUS / np.linalg.norm(theta)
    for _ in range(N_DATA):
        phi, u, loss = rng.normal(size=DIM), rng.normal(size=(N_ACTIONS, DIM)), rng.random(N_ACTIONS)
        phi *= np.sign(phi @ theta)
        best = int(rng.integers(N_ACTIONS))
        loss[best] = 0.0
        if has_twins:
            u[best - 1], loss[best - 1] = u[best], loss[best]
        rewards = -3.0 - np.abs(loss) if is_foreign else -loss - u @ theta
        if is_foreign:
            u *= 0.5 / np.linalg.norm(u, axis=1, keepdims=True)
        bank.add(Datum(phi, u, rewards, float(phi @ theta) + 0.5, np.full(N_ACTIONS, 0.1 * is_wide)))
    hypotheses = Hypotheses.ANY if is_any else Hypotheses.OPTIMAL
    return Program(rng.normal(size=DIM), RADIUS, bank, hypotheses, has_range), None if is_foreign else theta


def side(program: Program, kind: int, i: int, a: int) -> tuple[Array, float]:
    """The constraint <row, theta> <= bound of this kind."""
    bank = program.bank
    u, r, slack = bank.increments[i, a], float(bank.rewards[i, a]), float(bank.slack[i, a])
    sides = {BELOW: (u, slack - r), ABOVE: (-u, slack + r), CAP: (bank.features[i], float(bank.caps[i])),
             SIGN: (-bank.features[i], 0.0)}  # fmt: skip
    return sides[Constraint(kind)]


def holds(program: Program, kind: int, i: int, a: int, path: Path) -> bool:
    """Whether a constraint holds where the choices of a path were made."""
    if kind in (CAP, SIGN):
        return program.value_range and a == 0
    return (i, a) in path or (kind == BELOW and program.hypotheses is Hypotheses.OPTIMAL)


def dual_value(program: Program, leaf: Leaf) -> float:
    """sum_k y_k b_k + B ||c - sum_k y_k a_k||, with c = 0 where the leaf is said to be empty."""
    rest = program.objective.copy() if leaf.bound > -np.inf else np.zeros(DIM)
    value = 0.0
    for kind, i, a, y in zip(leaf.kinds, leaf.data, leaf.actions, leaf.multipliers, strict=True):
        row, bound = side(program, kind, i, a)
        value, rest = value + y * bound, rest - y * row
    return value + program.radius * float(np.linalg.norm(rest))


def closed(program: Program, path: Path) -> tuple[Leaf, Array | None]:
    """The leaf of a path and the best point of its linear relaxation in the box, by linear programming."""
    keys = [(kind, i, a) for kind in Constraint for i in range(len(program.bank)) for a in range(N_ACTIONS)
            if holds(program, kind, i, a, path)]  # fmt: skip
    if not keys:
        empty = np.zeros(0, np.int64)
        leaf = Leaf(empty.astype(np.int8), empty, empty, np.zeros(0), 0.0)
        return replace(leaf, bound=dual_value(program, leaf)), RADIUS * np.sign(program.objective)
    rows, sides = (np.array(part) for part in zip(*(side(program, *key) for key in keys), strict=True))
    box = [(-RADIUS, RADIUS)] * DIM
    best = linprog(-program.objective, rows, sides, bounds=box)
    if best.status == 2:  # minimise the worst excess; its multipliers show that it is positive
        elastic = np.column_stack([rows, -np.ones(len(rows))])
        best = linprog(np.eye(DIM + 1)[DIM], elastic, sides, bounds=[*box, (0.0, None)])
        best.status = 2
    y = -best.ineqlin.marginals
    kinds, data, actions = np.array(keys)[y > 1e-12].reshape(-1, 3).T
    leaf = Leaf(kinds.astype(np.int8), data, actions, y[y > 1e-12], -np.inf if best.status == 2 else 0.0)
    if best.status == 2:
        return leaf, None
    return replace(leaf, bound=dual_value(program, leaf)), best.x


def certified(program: Program, theta: Array | None) -> OptimismCertificate:
    """A certificate by splitting the data in their order, wherever the relaxation promises more than theta."""
    lower = -np.inf if theta is None else float(program.objective @ theta)
    nodes: list[Any] = []

    def grow(path: Path, depth: int) -> int:
        index = len(nodes)
        nodes.append(None)
        leaf, _ = closed(program, path)
        if leaf.bound <= lower or depth == len(program.bank):
            nodes[index] = leaf
            return index
        rows = np.column_stack([part[depth] for part in (program.bank.increments, program.bank.rewards)])
        first = [int((rows == row).all(axis=1).argmax()) for row in rows]
        children = {a: grow(path | {(depth, b) for b in range(N_ACTIONS) if first[b] == a}, depth + 1)
                    for a in sorted(set(first))}  # fmt: skip
        nodes[index] = Split(depth, tuple(children[a] for a in first))
        return index

    grow(frozenset(), 0)
    upper = max(node.bound for node in nodes if isinstance(node, Leaf))
    violation = 0.0 if theta is None else program.violation(theta)
    return OptimismCertificate(theta, lower, upper, violation, tuple(nodes), len(program.bank))


@lru_cache(maxsize=64)
def example(seed: int) -> tuple[Program, OptimismCertificate]:
    program, theta = make_program(seed)
    return program, certified(program, theta)


def is_proof(program: Program, certificate: OptimismCertificate) -> bool:
    """The definition of a proof once more, by plain recursion and with a wide tolerance, to judge mutants."""
    nodes, n_data, seen = certificate.nodes, certificate.n_data, set[int]()

    def proves(index: int, path: Path) -> bool:
        if index in seen:
            return False
        seen.add(index)
        node = nodes[index]
        if isinstance(node, Leaf):
            entries = list(zip(node.kinds, node.data, node.actions, strict=True))
            if not all(i < n_data and holds(program, kind, i, a, path) for kind, i, a in entries):
                return False
            value = dual_value(program, node)
            return value < 0.0 if node.bound == -np.inf else abs(value - node.bound) <= 1e-9 * (1.0 + abs(value))
        bank, i, turns = program.bank, node.datum, dict[int, list[int]]()
        if i >= n_data:
            return False
        for a, child in enumerate(node.children):
            turns.setdefault(child, []).append(a)
        rows = np.column_stack([bank.increments[i], bank.rewards[i], bank.slack[i]])
        return all(
            (rows[actions] == rows[actions[0]]).all() and proves(child, path | {(i, a) for a in actions})
            for child, actions in turns.items()
        )

    bounds = [node.bound for node in nodes if isinstance(node, Leaf)]
    is_consistent = certificate.theta is None or certificate.violation == Program(
        program.objective, program.radius, first_data(program.bank, n_data), program.hypotheses, program.value_range
    ).violation(certificate.theta)
    return proves(0, frozenset()) and len(seen) == len(nodes) and certificate.upper == max(bounds) and is_consistent


def first_data(bank: Bank, n: int) -> Bank:
    fewer = Bank(bank.n_actions, bank.dim)
    for i in range(n):
        fewer.add(Datum(bank.features[i], bank.increments[i], bank.rewards[i], float(bank.caps[i]), bank.slack[i]))
    return fewer


SEEDS = st.integers(0, 63)


# What holds of an honest certificate


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_an_honest_certificate_is_accepted_and_its_bound_is_true(seed: int) -> None:
    program, certificate = example(seed)
    verified = verify(program, certificate)
    optimum = solve_mixed_integer(program)
    assert optimum.lower <= verified.upper + 1e-7
    assert (optimum.outcome is Outcome.INFEASIBLE) == (verified.upper == -np.inf)
    assert certificate.upper <= verified.upper <= certificate.upper + 1e-12
    assert certificate.lower - 1e-12 <= verified.lower <= certificate.lower
    assert verified.lower <= verified.relaxed_upper


@given(SEEDS)
@settings(max_examples=64, deadline=None)
def test_rational_arithmetic_stays_within_the_allowance_for_rounding(seed: int) -> None:
    program, certificate = example(seed)
    floats, exact = verify(program, certificate), verify(program, certificate, exact=True)
    assert floats.lower <= exact.lower <= exact.relaxed_upper <= floats.relaxed_upper
    assert exact.upper <= floats.upper
    if certificate.theta is not None:
        value = sum(Fraction(c) * Fraction(x) for c, x in zip(program.objective, certificate.theta, strict=True))
        assert Fraction(exact.lower) <= value < Fraction(float(np.nextafter(np.nextafter(exact.lower, 9.0), 9.0)))
    assert exact.violation <= floats.violation <= exact.violation + 1e-12


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 6, 7, 10, 11, 32, 35])
def test_no_point_promises_more_than_the_bound_relaxed_by_its_violation(seed: int) -> None:
    program, certificate = example(seed)
    rng = np.random.default_rng(seed)
    for k in range(30):
        point = certificate.theta + rng.choice([0.05, 1.0, 4.0]) * rng.normal(size=DIM)
        moved = replace(certificate, theta=point, lower=float(program.objective @ point))
        moved = replace(moved, violation=program.violation(point))
        verified = verify(program, moved)
        assert verified.lower <= verified.relaxed_upper
        assert moved.violation <= verified.violation <= moved.violation + 1e-12
        if k < 10:
            exact = verify(program, moved, exact=True)
            assert exact.relaxed_upper <= verified.relaxed_upper <= exact.relaxed_upper + 1e-9


@pytest.mark.parametrize("exact", [False, True])
def test_the_ball_is_relaxed_as_well(exact: bool) -> None:
    c, empty = np.array([3.0, 4.0]), np.zeros(0, np.int64)
    leaf = Leaf(empty.astype(np.int8), empty, empty, np.zeros(0), 10.0)
    certificate = OptimismCertificate(np.array([1.8, 2.4]), 15.0, 10.0, 1.0, (leaf,), 0)  # of norm 3, one too long
    verified = verify(Program(c, 2.0, Bank(1, 2)), certificate, exact=exact)
    assert (verified.upper, verified.relaxed_upper) == (pytest.approx(10.0, abs=1e-12), pytest.approx(15.0, abs=1e-12))


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_later_data_leave_a_certificate_valid(seed: int) -> None:
    program, certificate = make_program(seed)[0], example(seed)[1]
    contradiction = np.zeros((N_ACTIONS, DIM))
    program.bank.add(Datum(np.ones(DIM), contradiction, np.full(N_ACTIONS, -1.0), 1.0, np.zeros(N_ACTIONS)))
    assert verify(program, certificate) == verify(*example(seed))


def line(rewards: list[float], multipliers: list[float], bound: float) -> tuple[Program, OptimismCertificate]:
    """-r_0 >= theta >= -r_1 on the real line, with one leaf that multiplies both."""
    bank, nothing = Bank(1, 1), np.zeros(1)
    for r in rewards:
        bank.add(Datum(nothing, np.ones((1, 1)), np.array([r]), 1.0, nothing))
    leaf = Leaf(np.array([0, 1], np.int8), np.array([0, 1]), np.array([0, 0]), np.array(multipliers), bound)
    nodes = (Split(1, (1,)), leaf)
    return Program(np.ones(1), 2.0, bank), OptimismCertificate(None, -np.inf, bound, 0.0, nodes, 2)


def test_emptiness_that_rounding_may_hide_is_left_to_rational_arithmetic() -> None:
    program, certificate = line([0.1 + 0.2, 0.3], [1.0, 1.0], -np.inf)  # theta <= -.30000000000000004, theta >= -.3
    with pytest.raises(InvalidCertificate, match="node 1 is said to be empty"):
        verify(program, certificate)
    assert verify(program, certificate, exact=True).upper == -np.inf
    for rewards in ([0.3, 0.3], [0.3, 0.1 + 0.2]):  # one point; more than one
        with pytest.raises(InvalidCertificate, match="node 1 is said to be empty"):
            verify(*line(rewards, [1.0, 1.0], -np.inf), exact=True)


def test_where_emptiness_hangs_on_less_than_the_violation_nothing_bounds_what_is_nearly_consistent() -> None:
    program, certificate = line([0.301, 0.3], [1.0, 1.0], -np.inf)  # theta <= -.301, theta >= -.3
    theta = np.array([-0.3])
    nearly = replace(certificate, theta=theta, lower=-0.3, violation=program.violation(theta))
    for exact in (False, True):
        verified = verify(program, nearly, exact=exact)
        assert (verified.upper, verified.relaxed_upper) == (-np.inf, np.inf)
        assert verified.lower == pytest.approx(-0.3, abs=1e-14)


@pytest.mark.parametrize("part", [3, 7, 9, 11, 13, 17])
def test_rational_bounds_are_rounded_outwards(part: int) -> None:
    y, r = 1.0 / part, 0.3  # sup over |theta| <= 2 of theta, given theta <= -r with multiplier y, is no float
    program, certificate = line([r, r], [y, 0.0], 2.0 - 2.0 * y - y * r)
    truth = 2 * (1 - Fraction(y)) - Fraction(y) * Fraction(r)
    upper = verify(program, certificate, exact=True).upper
    assert Fraction(upper) >= truth > Fraction(np.nextafter(np.nextafter(upper, -1.0), -1.0))
    assert Fraction(verify(program, certificate).upper) >= truth


@given(st.fractions(0, 10**9))
def test_roots_of_rationals_are_enclosed(square: Fraction) -> None:
    low, high = verification._roots(square)
    assert low**2 <= square <= high**2
    assert square == 0 or (high - low) <= Fraction(1, 2**70) * high
    assert square == low**2 or square < high**2


def test_a_proof_of_any_depth_is_walked_without_recursion() -> None:
    program, _ = make_program(2)
    depth, empty = 1_500, np.zeros(0, np.int64)
    bound = RADIUS * float(np.linalg.norm(program.objective))
    leaf = Leaf(empty.astype(np.int8), empty, empty, np.zeros(0), bound)
    splits = [Split(k % N_DATA, (3 * k + 3, 3 * k + 1, 3 * k + 2)) for k in range(depth)]
    nodes = (*(node for split in splits for node in (split, leaf, leaf)), leaf)
    certificate = OptimismCertificate(None, -np.inf, bound, 0.0, nodes, N_DATA)
    assert verify(program, certificate).upper == pytest.approx(bound, abs=1e-12)


def test_a_choice_ends_with_its_subtree() -> None:
    program, certificate = make_program(1)[0], example(1)[1]
    chosen = next(node for node in certificate.nodes if isinstance(node, Leaf) and (node.kinds == ABOVE).any())
    used = int(chosen.data[chosen.kinds == ABOVE][0]), int(chosen.actions[chosen.kinds == ABOVE][0])
    above = Leaf(np.array([1], np.int8), np.array([used[0]]), np.array([used[1]]), np.array([0.5]), 0.0)
    above = replace(above, bound=dual_value(program, above))
    nodes = (Split(used[0], (1, 2, 3)), above, above, above)
    with pytest.raises(InvalidCertificate, match="does not hold on the path"):
        verify(program, OptimismCertificate(None, -np.inf, above.bound, 0.0, nodes, N_DATA))


def test_actions_share_a_child_only_if_their_rows_are_equal() -> None:
    program, empty = make_program(1)[0], np.zeros(0, np.int64)
    bound = RADIUS * float(np.linalg.norm(program.objective))
    leaf = Leaf(empty.astype(np.int8), empty, empty, np.zeros(0), bound)
    certificate = OptimismCertificate(None, -np.inf, bound, 0.0, (Split(0, (1, 1, 2)), leaf, leaf), N_DATA)
    with pytest.raises(InvalidCertificate, match=r"node 0: actions \[0, 1\] of datum 0 share node 1"):
        verify(program, certificate)
    twins = Bank(N_ACTIONS, DIM)
    row, nothing = np.ones((N_ACTIONS, DIM)), np.zeros(N_ACTIONS)
    row[2] = 2.0
    twins.add(Datum(np.ones(DIM), row, nothing, 1.0, nothing))
    verify(Program(program.objective, RADIUS, twins), replace(certificate, n_data=1))


@pytest.mark.parametrize(("kind", "change"), [(BELOW, {"hypotheses": Hypotheses.ANY}), (CAP, {"value_range": False})])
def test_a_constraint_is_used_only_where_the_class_of_hypotheses_has_it(
    kind: Constraint, change: dict[str, Any]
) -> None:
    program, zero = make_program(2)[0], np.zeros(1, np.int64)
    leaf = Leaf(np.array([kind], np.int8), zero, zero, np.array([0.5]), 0.0)
    leaf = replace(leaf, bound=dual_value(program, leaf))
    certificate = OptimismCertificate(None, -np.inf, leaf.bound, 0.0, (leaf,), N_DATA)
    verify(program, certificate)
    with pytest.raises(InvalidCertificate, match=f"constraint 0, {kind.name} of datum 0 .* does not hold on the path"):
        verify(replace(program, **change), certificate)


@pytest.mark.parametrize("flag", [1, 0, None, "no", np.ones(2)])
def test_a_program_has_a_value_range_or_none(flag: Any) -> None:
    with pytest.raises(ModelError, match=r"value_range is .*; pass True or False"):
        replace(make_program(0)[0], value_range=flag)


# What holds of a mutant


class Agreeable(float):
    """Compares as one likes to hear."""

    def _yes(self, other: object) -> bool:
        return True

    def _no(self, other: object) -> bool:
        return False

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _yes
    __ne__ = _no
    __hash__ = float.__hash__


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", ["lower", "upper", "violation", "bound"])
def test_numbers_are_compared_by_what_they_are(name: str, exact: bool) -> None:
    program, certificate = example(2)
    last = len(certificate.nodes) - 1
    for number in (-1e6, 1e6):
        liar = Agreeable(number)
        if name == "bound":
            assert isinstance(certificate.nodes[last], Leaf)
            mutant = with_node(certificate, last, replace(certificate.nodes[last], bound=liar))
        else:
            mutant = replace(certificate, **{name: liar})
        with pytest.raises(InvalidCertificate):
            verify(program, mutant, exact=exact)


@pytest.mark.parametrize("exact", [False, True])
def test_a_violation_is_never_negative(exact: bool) -> None:
    program, certificate = example(2)
    with pytest.raises(InvalidCertificate, match="violation is -1e-300; it cannot be negative"):
        verify(program, replace(certificate, violation=-1e-300), exact=exact)


def leaf_indices(certificate: OptimismCertificate, *, with_multipliers: bool = False) -> list[int]:
    return [k for k, node in enumerate(certificate.nodes)
            if isinstance(node, Leaf) and (node.multipliers.size > 0 or not with_multipliers)]  # fmt: skip


def split_indices(certificate: OptimismCertificate) -> list[int]:
    return [k for k, node in enumerate(certificate.nodes) if isinstance(node, Split)]


def with_node(certificate: OptimismCertificate, index: int, node: Any) -> OptimismCertificate:
    nodes = list(certificate.nodes)
    nodes[index] = node
    return replace(certificate, nodes=tuple(nodes))


def with_entry(draw: Any, certificate: OptimismCertificate, field: str, change: Callable[[Any], Any]) -> Any:
    """One entry of one array of one leaf changed."""
    index = draw(st.sampled_from(leaf_indices(certificate, with_multipliers=True) or [-1]))
    assume(index >= 0)
    leaf = certificate.nodes[index]
    array = getattr(leaf, field).copy()
    k = draw(st.integers(0, len(array) - 1))
    array[k] = change(array[k])
    return with_node(certificate, index, replace(leaf, **{field: array}))


def shifted(draw: Any, number: float) -> float:
    """Another number, far enough from this one to be told from rounding."""
    if not np.isfinite(number):
        return draw(st.floats(-10.0, 10.0))
    step = draw(st.floats(1e-9, 10.0)) * (1.0 + abs(number))
    return draw(st.sampled_from([number + step, number - step, np.inf, np.nan]))


def mutated_field(name: str) -> Callable[[Any, OptimismCertificate], OptimismCertificate]:
    return lambda draw, c: replace(c, **{name: shifted(draw, getattr(c, name))})


def mutated_theta(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    if c.theta is None:
        return replace(c, theta=np.zeros(DIM))
    theta = c.theta.copy()
    j = draw(st.integers(0, DIM - 1))
    theta[j] = shifted(draw, theta[j])
    return replace(c, theta=draw(st.sampled_from([theta, None, theta[:-1], theta.astype(np.float32), theta.tolist()])))


def mutated_bound(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    index = draw(st.sampled_from(leaf_indices(c)))
    return with_node(c, index, replace(c.nodes[index], bound=shifted(draw, c.nodes[index].bound)))


def impossible_multiplier(draw: Any, c: OptimismCertificate) -> Any:
    return with_entry(draw, c, "multipliers", lambda y: draw(st.sampled_from([-y, np.nan, np.inf, -np.inf, 1e308])))


def impossible_index(draw: Any, c: OptimismCertificate) -> Any:
    field, end = draw(st.sampled_from([("kinds", 4), ("data", N_DATA), ("actions", N_ACTIONS)]))
    return with_entry(draw, c, field, lambda _: draw(st.sampled_from([-1, -2, end, end + 1])))


def uneven_leaf(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    index = draw(st.sampled_from(leaf_indices(c)))
    field = draw(st.sampled_from(["kinds", "data", "actions", "multipliers"]))
    array = getattr(c.nodes[index], field)
    longer = np.append(array, array.dtype.type(0))
    wrong = [longer, array.tolist(), array[:, None], array.astype(np.complex128), None]
    return with_node(c, index, replace(c.nodes[index], **{field: draw(st.sampled_from(wrong))}))


def mutated_child(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    index = draw(st.sampled_from(split_indices(c) or [-1]))
    assume(index >= 0)
    children = list(c.nodes[index].children)
    a = draw(st.integers(0, N_ACTIONS - 1))
    others = [k for k in range(-1, len(c.nodes) + 1) if k != children[a]]
    children[a] = draw(st.sampled_from([*others, float(children[a]), True, None]))
    mutants = [tuple(children), c.nodes[index].children[:-1], (*c.nodes[index].children, 1), list(children)]
    return with_node(c, index, replace(c.nodes[index], children=draw(st.sampled_from(mutants))))


def mutated_list(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    k = draw(st.integers(0, len(c.nodes) - 1))
    without, twice = c.nodes[:k] + c.nodes[k + 1 :], c.nodes[: k + 1] + c.nodes[k:]
    odd = (*c.nodes[:k], draw(st.sampled_from([None, 0, "leaf", c])), *c.nodes[k + 1 :])
    wrong = [without, twice, odd, list(c.nodes), (), None]
    return replace(c, nodes=draw(st.sampled_from(wrong)))


def wrong_type(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    name = draw(st.sampled_from(["lower", "upper", "violation", "n_data"]))
    return replace(c, **{name: draw(st.sampled_from([None, "0", True, 1j, np.ones(2), N_DATA + 1, np.nan]))})


NEVER_PROOFS: dict[str, Callable[[Any, OptimismCertificate], OptimismCertificate]] = {
    "lower": mutated_field("lower"),
    "upper": mutated_field("upper"),
    "violation": mutated_field("violation"),
    "theta": mutated_theta,
    "bound of a leaf": mutated_bound,
    "impossible multiplier": impossible_multiplier,
    "impossible index": impossible_index,
    "uneven leaf": uneven_leaf,
    "child": mutated_child,
    "list of nodes": mutated_list,
    "type": wrong_type,
}


@pytest.mark.parametrize("name", NEVER_PROOFS)
@given(SEEDS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_certificate_with_any_single_part_changed_is_refused(name: str, seed: int, data: Any) -> None:
    program, certificate = example(seed)
    mutant = NEVER_PROOFS[name](data.draw, certificate)
    for exact in (False, True):
        with pytest.raises(InvalidCertificate):
            verify(program, mutant, exact=exact)


def other_multiplier(draw: Any, c: OptimismCertificate) -> Any:
    return with_entry(draw, c, "multipliers", lambda y: draw(st.sampled_from([0.0, y + 1.0, y * 2.0, y * 0.99])))


def other_row(draw: Any, c: OptimismCertificate) -> Any:
    field, end = draw(st.sampled_from([("kinds", 4), ("data", N_DATA), ("actions", N_ACTIONS)]))
    return with_entry(draw, c, field, lambda old: (old + draw(st.integers(1, end - 1))) % end)


def without_row(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    index = draw(st.sampled_from(leaf_indices(c, with_multipliers=True) or [-1]))
    assume(index >= 0)
    leaf = c.nodes[index]
    k = draw(st.integers(0, leaf.multipliers.size - 1))
    parts = {name: np.delete(getattr(leaf, name), k) for name in ("kinds", "data", "actions", "multipliers")}
    return with_node(c, index, replace(leaf, **parts))


def other_datum(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    index = draw(st.sampled_from(split_indices(c) or [-1]))
    assume(index >= 0)
    node = c.nodes[index]
    return with_node(c, index, replace(node, datum=(node.datum + draw(st.integers(1, N_DATA - 1))) % N_DATA))


def swapped(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    assume(len(c.nodes) > 1)
    i, j = draw(st.lists(st.integers(0, len(c.nodes) - 1), min_size=2, max_size=2, unique=True))
    return with_node(with_node(c, i, c.nodes[j]), j, c.nodes[i])


def emptied(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    index = draw(st.sampled_from(leaf_indices(c)))
    assume(c.nodes[index].bound > -np.inf)
    return with_node(c, index, replace(c.nodes[index], bound=-np.inf))


def fewer_data(draw: Any, c: OptimismCertificate) -> OptimismCertificate:
    return replace(c, n_data=draw(st.integers(0, N_DATA - 1)))


SELDOM_PROOFS: dict[str, Callable[[Any, OptimismCertificate], OptimismCertificate]] = {
    # Rows that still have a negative sum prove emptiness too; a multiplier of a constraint that is tight at the best
    # point of the ball moves the bound to second order only.
    "multiplier": other_multiplier,
    # Equal actions, or a row of the same value; in an empty leaf as above.
    "kind, datum or action": other_row,
    "dropped row": without_row,
    # A split whose choices no leaf below needs may be over any datum.
    "datum of a split": other_datum,
    # Two leaves that need none of their choices may change places.
    "swapped nodes": swapped,
    # A leaf may be closed by a bound that is low because the leaf is empty.
    "bound removed": emptied,
    # Data that no leaf names need not have been there.
    "fewer data": fewer_data,
}


@pytest.mark.parametrize("name", SELDOM_PROOFS)
@given(SEEDS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_certificate_is_refused_unless_the_change_left_it_a_proof(name: str, seed: int, data: Any) -> None:
    program, certificate = example(seed)
    mutant = SELDOM_PROOFS[name](data.draw, certificate)
    assume(not is_proof(program, mutant))
    for exact in (False, True):
        with pytest.raises(InvalidCertificate):
            verify(program, mutant, exact=exact)


@pytest.mark.parametrize("thing", [None, 3, "certificate", Verified(0.0, 0.0, 0.0, 0.0), Split(0, (1, 2, 3))])
def test_what_is_no_certificate_is_refused(thing: Any) -> None:
    with pytest.raises(InvalidCertificate, match="expected an OptimismCertificate"):
        verify(example(0)[0], thing)


def test_the_node_at_fault_is_named() -> None:
    program, certificate = example(0)
    index = leaf_indices(certificate, with_multipliers=True)[0]
    leaf = certificate.nodes[index]
    multipliers = np.append(leaf.multipliers[:-1], -1.0)
    mutant = with_node(certificate, index, replace(leaf, multipliers=multipliers))
    with pytest.raises(InvalidCertificate, match=rf"node {index}: multipliers\[{len(multipliers) - 1}\] is -1.0"):
        verify(program, mutant)
    mutant = with_node(certificate, index, replace(leaf, multipliers=multipliers * np.nan))
    with pytest.raises(InvalidCertificate, match=rf"node {index}: multipliers\[0\] is not finite"):
        verify(program, mutant)
