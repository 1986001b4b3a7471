"""Bellman operators: the definition, its order, its contraction, one answer for every way of storing a model."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import TabularMDP
from lookahead_rl.models.generators import garnet_mdp
from lookahead_rl.solvers import (
    bellman,
    bellman_operator,
    greedy_policy,
    policy_operator,
    q_values,
    solve,
)

Array = NDArray[np.float64]
Operator = Callable[[Array], Array]

SEEDS = st.integers(0, 2**31)
GAMMAS = st.sampled_from([0.0, 0.5, 0.95, 0.999999, 1.0])
STORED = ["dense", "csr", "csr with doubled outcomes"]


def random_mdp(seed: int, gamma: float = 0.9, *, n_states: int = 6, n_actions: int = 3) -> TabularMDP:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(n_states, 0.5), size=(n_states, n_actions))
    return TabularMDP(P, rng.normal(size=(n_states, n_actions)), gamma, np.full(n_states, 1 / n_states))


def stored_as(model: TabularMDP, kind: str) -> TabularMDP:
    """The same model, its law stored otherwise; a doubled outcome is stored in two unequal parts."""
    if kind == "dense":
        return model
    P = sp.csr_array(np.asarray(model.P_rows))
    if kind == "csr with doubled outcomes":
        data = (P.data[:, None] * [0.25, 0.75]).ravel()
        P = sp.csr_array((data, np.repeat(P.indices, 2), 2 * P.indptr), shape=P.shape)
    return TabularMDP(P, model.r, model.gamma, model.rho, model.terminal)


def operators(model: TabularMDP, rng: np.random.Generator) -> list[Operator]:
    """T, and T_pi of a deterministic and of a stochastic policy."""
    actions = rng.integers(0, model.n_actions, model.n_states)
    mixed = rng.dirichlet(np.ones(model.n_actions), size=model.n_states)
    return [
        lambda v: bellman_operator(model, v),
        lambda v: policy_operator(model, actions, v),
        lambda v: policy_operator(model, mixed, v),
    ]


# ---------------------------------------------------------------------------------------------- the definition


def test_action_values_by_hand() -> None:
    """Two states, gamma = 1/2, v = (8, 16): q(0, .) = 1 + 4, 2 + 6; q(1, .) = 0 + 8, -1 + 4."""
    P = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]])
    model = TabularMDP(P, np.array([[1.0, 2.0], [0.0, -1.0]]), 0.5, np.array([1.0, 0.0]))
    v = np.array([8.0, 16.0])
    np.testing.assert_array_equal(q_values(model, v), [[5.0, 8.0], [8.0, 3.0]])
    np.testing.assert_array_equal(bellman_operator(model, v), [8.0, 8.0])
    np.testing.assert_array_equal(greedy_policy(model, v), [1, 0])
    np.testing.assert_array_equal(policy_operator(model, np.array([0, 1]), v), [5.0, 3.0])
    np.testing.assert_array_equal(policy_operator(model, np.array([[0.5, 0.5], [1.0, 0.0]]), v), [6.5, 8.0])


@pytest.mark.parametrize("kind", STORED)
@settings(max_examples=20)
@given(seed=SEEDS, gamma=GAMMAS)
def test_action_values_are_the_definition(kind: str, seed: int, gamma: float) -> None:
    model = random_mdp(seed, gamma)
    v = np.random.default_rng(seed).normal(size=6)
    expected = model.r + gamma * np.einsum("sat,t->sa", np.asarray(model.P), v)
    np.testing.assert_allclose(q_values(stored_as(model, kind), v), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", STORED)
def test_rewards_of_outcomes_count_by_their_probability(kind: str) -> None:
    model = random_mdp(3)
    paid = np.random.default_rng(3).normal(size=(6, 3, 6))
    expected = np.einsum("sat,sat->sa", np.asarray(model.P), paid)
    if kind == "dense":
        given_so = TabularMDP(model.P, paid, 0.9, model.rho)
    else:
        law = stored_as(model, kind).P_rows
        times = law.nnz // paid.size
        given_so = TabularMDP(law, np.repeat(paid.ravel(), times), 0.9, model.rho)
    np.testing.assert_allclose(q_values(given_so, np.zeros(6)), expected, atol=1e-14)


def test_of_equal_actions_the_first_is_greedy() -> None:
    P = np.ones((1, 4, 1))
    model = TabularMDP(P, np.array([[0.0, 2.0, 1.0, 2.0]]), 0.9, np.ones(1))
    assert greedy_policy(model, np.zeros(1))[0] == 1


def test_operators_leave_their_arguments_as_they_were() -> None:
    model, v = random_mdp(0), np.arange(6.0)
    policy, r = np.full((6, 3), 1 / 3), model.r.copy()
    for _ in range(2):
        bellman_operator(model, v)
        policy_operator(model, policy, v)
    np.testing.assert_array_equal(v, np.arange(6.0))
    np.testing.assert_array_equal(model.r, r)
    np.testing.assert_array_equal(policy, np.full((6, 3), 1 / 3))


# ---------------------------------------------------------------------------------------------- Puterman, section 6.2


@settings(max_examples=40)
@given(SEEDS, GAMMAS, st.sampled_from(STORED))
def test_operators_are_monotone(seed: int, gamma: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    model = stored_as(random_mdp(seed, gamma), kind)
    v = rng.normal(size=6)
    above = v + rng.exponential(size=6)
    for operator in operators(model, rng):
        assert (operator(above) >= operator(v) - 1e-13).all()


@settings(max_examples=40)
@given(SEEDS, GAMMAS, st.sampled_from(STORED))
def test_operators_contract_by_gamma_in_the_supremum_norm_and_in_span(seed: int, gamma: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    model = stored_as(random_mdp(seed, gamma), kind)
    v, w = rng.normal(size=(2, 6)) * 10
    for operator in operators(model, rng):
        moved = operator(v) - operator(w)
        assert np.abs(moved).max() <= gamma * np.abs(v - w).max() + 1e-12
        assert np.ptp(moved) <= gamma * np.ptp(v - w) + 1e-12


@settings(max_examples=40)
@given(SEEDS, GAMMAS, st.floats(-1e3, 1e3))
def test_a_constant_passes_through_discounted(seed: int, gamma: float, c: float) -> None:
    rng = np.random.default_rng(seed)
    model = random_mdp(seed, gamma)
    v = rng.normal(size=6)
    for operator in operators(model, rng):
        np.testing.assert_allclose(operator(v + c), operator(v) + gamma * c, atol=1e-12 * (1 + abs(c)))


@settings(max_examples=40)
@given(SEEDS, GAMMAS)
def test_no_policy_operator_exceeds_the_optimality_operator_and_the_greedy_one_attains_it(
    seed: int, gamma: float
) -> None:
    rng = np.random.default_rng(seed)
    model = random_mdp(seed, gamma)
    v = rng.normal(size=6)
    best, deterministic, mixed = (operator(v) for operator in operators(model, rng))
    assert (best >= deterministic).all()
    assert (best >= mixed - 1e-13).all()
    np.testing.assert_array_equal(policy_operator(model, greedy_policy(model, v), v), best)
    one_hot = np.eye(model.n_actions)[greedy_policy(model, v)]
    np.testing.assert_allclose(policy_operator(model, one_hot, v), best, atol=1e-14)


@settings(max_examples=15)
@given(SEEDS, st.sampled_from([0.0, 0.5, 0.95]))
def test_the_optimal_value_is_the_fixed_point(seed: int, gamma: float) -> None:
    model = random_mdp(seed, gamma)
    v = solve(model, 1e-11).value
    np.testing.assert_allclose(bellman_operator(model, v), v, atol=1e-10)
    w = np.random.default_rng(seed).normal(size=6)
    for _ in range(3):
        further = bellman_operator(model, w)
        assert np.abs(further - v).max() <= gamma * np.abs(w - v).max() + 1e-10
        w = further


# ---------------------------------------------------------------------------------------------- storage and kernels


@settings(max_examples=30)
@given(SEEDS, GAMMAS, st.booleans())
def test_every_way_of_storing_a_model_has_one_answer(seed: int, gamma: float, mostly_zero: bool) -> None:
    full = random_mdp(seed, gamma, n_states=9)
    model = garnet_mdp(9, 3, 1, seed, gamma=gamma, sparse=False) if mostly_zero else full
    v = np.random.default_rng(seed).normal(size=9)
    expected = model.r + gamma * np.einsum("sat,t->sa", np.asarray(model.P), v)
    for kind in STORED:
        np.testing.assert_allclose(q_values(stored_as(model, kind), v), expected, atol=1e-13)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_sweep_is_the_numpy_sweep(monkeypatch: pytest.MonkeyPatch, seed: int, uneven: bool) -> None:
    """Also where states own different numbers of rows, and where two rows of a state are equally good."""
    model = garnet_mdp(50, 4, 3, seed, sparse=True)
    rows = bellman.decision_rows(replace_rewards(model, np.round(model.r, 1)))
    if uneven:
        first = np.concatenate([[0], np.sort(np.random.default_rng(seed).permutation(199)[:49]) + 1, [200]])
        rows = replace(rows, first=first)
    v = np.random.default_rng(seed).integers(0, 3, 50).astype(float)
    plain = bellman.backup(rows, v)
    monkeypatch.setattr(bellman, "COMPILED_FROM", 0)
    compiled = bellman.backup(rows, v)
    np.testing.assert_allclose(compiled.value, plain.value, atol=1e-13)
    q = bellman.row_values(rows, v)
    np.testing.assert_allclose(q[compiled.choice], plain.value, atol=1e-13)
    np.testing.assert_array_equal(rows.owner[compiled.choice], np.arange(50))
    assert (compiled.low, compiled.high) == (pytest.approx(plain.low), pytest.approx(plain.high))
    assert (plain.low, plain.high) == ((plain.value - v).min(), (plain.value - v).max())


def replace_rewards(model: TabularMDP, r: Array) -> TabularMDP:
    return TabularMDP(model.P, r, model.gamma, model.rho, model.terminal)


@settings(max_examples=20)
@given(SEEDS)
def test_best_rows_of_uneven_states(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = np.concatenate([[0], np.cumsum(rng.integers(1, 5, 7))])
    rows = bellman.DecisionRows(np.zeros((first[-1], 7)), np.zeros(first[-1]), first, 1.0, np.zeros(7, dtype=bool))
    q = rng.integers(0, 3, first[-1]).astype(float)
    best, choice = bellman.best_rows(rows, q)
    for s in range(7):
        own = q[first[s] : first[s + 1]]
        assert best[s] == own.max()
        assert choice[s] == first[s] + own.argmax()


# ---------------------------------------------------------------------------------------------- rounding


@settings(max_examples=40)
@given(SEEDS, GAMMAS, st.sampled_from(STORED), st.integers(-12, 12), st.integers(-12, 12))
def test_rounding_is_bounded_in_exact_arithmetic(seed: int, gamma: float, kind: str, pay: int, scale: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_mdp(seed, gamma, n_states=4, n_actions=2)
    model = stored_as(replace_rewards(model, model.r * 10.0**pay), kind)
    v = rng.normal(size=4) * 10.0**scale
    rows = bellman.decision_rows(model)
    computed, error = bellman.row_values(rows, v), Fraction(bellman.rounding_error(rows, v))
    least, most = (Fraction(bound) for bound in rows.mass)
    P = sp.csr_array(rows.P)
    for row, q in enumerate(computed):
        outcomes = slice(P.indptr[row], P.indptr[row + 1])
        law = [(Fraction(p), Fraction(v[t])) for p, t in zip(P.data[outcomes], P.indices[outcomes], strict=True)]
        exact = Fraction(rows.r[row]) + Fraction(gamma) * sum(p * x for p, x in law)
        assert abs(Fraction(q) - exact) <= error
        assert least <= sum(p for p, _ in law) <= most
    assert float(error) <= 1e-14 * (10.0**pay * 5 + 10.0**scale * 5)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("v", "message"),
    [
        (np.zeros(5), r"v has shape \(5,\); expected \(6,\)"),
        (np.zeros((6, 1)), r"v has shape \(6, 1\); expected \(6,\)"),
        (np.array([0, 0, np.nan, 0, 0, 0]), r"v\[2\] is nan; every entry must be finite"),
        (np.array([0, -np.inf, 0, 0, 0, 0]), r"v\[1\] is -inf"),
    ],
)
def test_bad_values_are_named(v: Array, message: str) -> None:
    model = random_mdp(0)
    for operator in (q_values, bellman_operator, greedy_policy):
        with pytest.raises(ValueError, match=message):
            operator(model, v)
    with pytest.raises(ValueError, match=message):
        policy_operator(model, np.zeros(6, dtype=int), v)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([0, 0, 0, -1, 0, 0], r"policy\[3\] is -1; actions are 0..2"),
        ([0, 0, 3, 0, 0, 0], r"policy\[2\] is 3; actions are 0..2"),
        ([0, 0, 0], r"policy has shape \(3,\); expected one action for each state, \(6,\)"),
        (np.zeros((6, 3)), r"policy\[0\] sums to 0, not 1; normalise that row"),
        (np.full(6, 0.5), r"policy has dtype float and shape \(6,\); expected action probabilities"),
    ],
)
def test_bad_policies_are_named(policy: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy_operator(random_mdp(0), policy, np.zeros(6))
