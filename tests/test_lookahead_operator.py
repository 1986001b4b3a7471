"""The lookahead operator has the law of the best of K draws, composes, keeps its bounds, and loses no digits."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import chisquare

from lookahead_rl.models import ModelError
from lookahead_rl.solvers import best_of_k, compositions_needed, lookahead, lookahead_log_policy, lookahead_policy
from lookahead_rl.solvers.lookahead import (
    approximation_loss,
    chi_square_bound,
    density_ratio_bound,
    improvement_bound,
    kl_bound,
    sampler_of,
    scorer_of,
    total_variation_bound,
    win_rate_bound,
)

Array = NDArray[np.float64]

RULES = ["samples", "order"]
DRAWS = st.one_of(st.floats(1.0, 50.0), st.sampled_from([1.0, 2.0, 3.0, 1e3, 1e9]))
WEIGHTS = st.one_of(st.floats(0.01, 1.0), st.sampled_from([0.0, 1e-300, 1e-17, 1e-9, 1.0]))


@st.composite
def problems(draw: st.DrawFn, weights: st.SearchStrategy[float] = WEIGHTS) -> tuple[Array, Array]:
    """Laws pi (n, A) and action values q (n, A) of few different values."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 7)))
    mass = draw(arrays(np.float64, shape, elements=weights))
    assume((mass.max(axis=1) >= 0.01).all())
    q = draw(arrays(np.int64, shape, elements=st.integers(-2, 2))).astype(np.float64)
    return mass / mass.sum(axis=1, keepdims=True), q


def expectation(law: Array, q: Array) -> Array:
    return (law * q).sum(axis=1)


def below_and_at(pi: Array, q: Array) -> tuple[Array, Array]:
    """pi{q < q(a)} and pi{q = q(a)}, (n, A) each."""
    less = (q[:, None, :] < q[:, :, None]) @ pi[:, :, None]
    same = (q[:, None, :] == q[:, :, None]) @ pi[:, :, None]
    return less[:, :, 0], same[:, :, 0]


# ------------------------------------------------------------------------------------------------ the law


def brute_force(pi: list[Fraction], q: list[int], K: int, ties: str) -> list[Fraction]:
    """The law of the best of K draws, summed over all A^K outcomes."""
    law = [Fraction(0)] * len(pi)
    for drawn in product(range(len(pi)), repeat=K):
        chance = math.prod((pi[a] for a in drawn), start=Fraction(1))
        top = [a for a in drawn if q[a] == max(q[b] for b in drawn)]
        for a in top if ties == "samples" else [min(top)]:
            law[a] += chance / (len(top) if ties == "samples" else 1)
    return law


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from(RULES),
)
def test_the_law_is_that_of_the_best_of_K_draws(actions: list[tuple[int, int]], K: int, ties) -> None:
    total = sum(weight for weight, _ in actions)
    assume(total > 0)
    pi, q = [Fraction(weight, total) for weight, _ in actions], [value for _, value in actions]
    law = lookahead_policy([[float(p) for p in pi]], [q], K, ties)
    np.testing.assert_allclose(law[0], [float(p) for p in brute_force(pi, q, K, ties)], rtol=0, atol=1e-15)


def decimal_logarithms(pi: Array, q: Array, K: float, ties: str) -> Array:
    """log L_K pi (A,) with 340 digits, of the law pi divided by its exact sum."""
    with localcontext(prec=340):
        mass = [Decimal(p) for p in pi.tolist()]
        law, logs = [p / sum(mass) for p in mass], np.full(pi.size, -np.inf)
        rank = q.tolist() if ties == "samples" else [(value, -a) for a, value in enumerate(q)]
        for a in np.flatnonzero(pi):
            same = sum((p for p, r in zip(law, rank, strict=True) if r == rank[a]), start=Decimal(0))
            above = sum((p for p, r in zip(law, rank, strict=True) if r > rank[a]), start=Decimal(0))
            low = 1 - above - same if any(r < rank[a] for r in rank) else Decimal(0)
            missed = (Decimal(K) * (low / (1 - above)).ln()).exp() if low > 0 else Decimal(0)
            logs[a] = float(Decimal(K) * (1 - above).ln() + (1 - missed).ln() + (law[a] / same).ln())
    return logs


@pytest.mark.slow
@settings(max_examples=300)
@example((np.array([[1.0 - 1e-9, 1e-9, 1e-300]]), np.array([[0.0, 1.0, 2.0]])), 1e9, "samples")
@example((np.array([[1.0, 1e-17]]), np.array([[0.0, 1.0]])), 1e18, "samples")
@example((np.array([[1.0, 1e-300, 1e-300]]), np.array([[1.0, 0.0, 0.0]])), 1e9, "order")
@given(problems(), DRAWS, st.sampled_from(RULES))
def test_no_digit_is_lost_beside_340_digit_arithmetic(problem: tuple[Array, Array], K: float, ties) -> None:
    """Logarithms to 1e-13, where the difference of two powers in float64 would leave no digit of p = 1e-17."""
    pi, q = problem
    with np.errstate(divide="ignore"):
        logs = lookahead_log_policy(np.log(pi), q, K, ties)
    for row, law, values in zip(logs, pi, q, strict=True):
        np.testing.assert_allclose(row, decimal_logarithms(law, values, K, ties), rtol=1e-13, atol=1e-13)


@settings(max_examples=300)
@given(problems(), DRAWS, st.sampled_from(RULES))
def test_the_answer_is_a_law_and_respects_the_support(problem: tuple[Array, Array], K: float, ties) -> None:
    pi, q = problem
    law = lookahead_policy(pi, q, K, ties)
    np.testing.assert_allclose(law.sum(axis=1), 1.0, rtol=0, atol=1e-14)
    assert (law >= 0).all()
    assert (law[pi == 0] == 0).all()
    np.testing.assert_allclose(lookahead_policy(pi, q, 1, ties), pi, rtol=1e-13, atol=1e-16)


@settings(max_examples=300)
@given(problems(), DRAWS, st.sampled_from(RULES))
def test_only_the_order_of_the_action_values_counts(problem: tuple[Array, Array], K: float, ties) -> None:
    pi, q = problem
    law = lookahead_policy(pi, q, K, ties)
    np.testing.assert_array_equal(lookahead_policy(pi, np.exp(3 * q), K, ties), law)
    np.testing.assert_array_equal(lookahead_policy(pi, np.where(q == -2, -np.inf, q), K, ties), law)


def test_probabilities_below_the_least_float_survive_as_logarithms() -> None:
    """A best action of mass p gets K p, the worst one p^K, whatever p is."""
    for log_p in (-1e3, -1e5, -1e12):
        up = lookahead_log_policy([[0.0, log_p]], [[0.0, 1.0]], 1e9)
        np.testing.assert_allclose(up[0], [0.0, math.log(1e9) + log_p], rtol=1e-15, atol=1e-300)
        down = lookahead_log_policy([[0.0, log_p]], [[1.0, 0.0]], 1e9)
        np.testing.assert_allclose(down[0], [0.0, 1e9 * log_p], rtol=1e-15, atol=1e-300)
    most = lookahead_log_policy([[0.0, -740.0]], [[0.0, 1.0]], 1e307)  # e^-740 has but two digits in float64
    np.testing.assert_allclose(most[0, 1], math.log(1e307) - 740.0, rtol=1e-13)
    twice = lookahead_log_policy(lookahead_log_policy([[0.0, -1e5, -2e5]], [[1, 2, 0]], 7.0), [[1, 2, 0]], 11.0)
    np.testing.assert_allclose(twice, lookahead_log_policy([[0.0, -1e5, -2e5]], [[1, 2, 0]], 77.0), rtol=1e-14)


# ------------------------------------------------------------------------------------------------ composition


@settings(max_examples=300)
@given(problems(), DRAWS, DRAWS, st.sampled_from(RULES))
def test_lookaheads_compose_to_one_with_the_product_of_their_draws(
    problem: tuple[Array, Array], K1: float, K2: float, ties
) -> None:
    pi, q = problem
    twice = lookahead_policy(lookahead_policy(pi, q, K2, ties), q, K1, ties)
    np.testing.assert_allclose(twice, lookahead_policy(pi, q, K1 * K2, ties), rtol=0, atol=1e-14)


def test_choosing_uniformly_among_distinct_ties_would_not_compose() -> None:
    """Two actions that tie, pi = (.9, .1): both are drawn unless all K draws agree, and then each is taken half."""

    def uniform_among_distinct(p: float, K: int) -> float:
        return p**K + 0.5 * (1.0 - p**K - (1.0 - p) ** K)

    assert uniform_among_distinct(0.9, 3) == pytest.approx(0.864, abs=1e-12)
    assert uniform_among_distinct(uniform_among_distinct(0.9, 3), 3) == pytest.approx(0.8212, abs=5e-5)
    assert uniform_among_distinct(0.9, 9) == pytest.approx(0.6937, abs=5e-5)
    for K in (3, 9):
        np.testing.assert_allclose(lookahead_policy([[0.9, 0.1]], [[5, 5]], K), [[0.9, 0.1]], rtol=1e-15)
        order = lookahead_policy([[0.1, 0.9]], [[5, 5]], K, "order")
        np.testing.assert_allclose(order, [[1 - 0.9**K, 0.9**K]], rtol=1e-14)


@pytest.mark.parametrize(
    ("p", "K", "delta", "n"),
    [
        (1e-6, 2, 0.5, 20),
        (1e-6, 2, 0.05, 22),
        (1e-6, 8, 0.5, 7),
        (1e-6, 8, 0.05, 8),
        (0.5, 2, 2.0**-8, 3),  # 2^-(2^3): equality counts
        (0.5, 2, math.nextafter(2.0**-8, 0.0), 4),
        (0.5, 2, math.nextafter(2.0**-8, 1.0), 3),
        (0.5, 2, 2.0**-2, 1),
        (0.5, 3, 2.0**-9, 2),
        (0.75, 4, 2.0**-8, 1),
        (0.75, 2, 0.25, 0),
        (0.75, 2, math.nextafter(0.25, 0.0), 1),
        (1.0, 1, 1e-300, 0),
        (1e-300, 2, 0.5, 997),  # log_2(ln 2) + 300 log_2 10 = 996.05
        (1e-300, 2, 1.0 - 2.0**-53, 944),  # log_2(-log1p(-2^-53)) = -53 in place of log_2(ln 2)
        (1e-300, 10, 5e-324, 303),  # log_10(744.4) + 300 = 302.87
        (5e-324, 2, 0.5, 1074),  # 1074 + log_2(ln 2) = 1073.47
    ],
)
def test_the_number_of_compositions_is_exact(p: float, K: float, delta: float, n: int) -> None:
    assert compositions_needed(p, K, delta) == n


@settings(max_examples=300)
@given(st.floats(0.01, 1.0), st.integers(2, 5), st.floats(1e-6, 1.0, exclude_max=True))
def test_so_many_compositions_are_enough_and_one_fewer_is_not(p: float, K: int, delta: float) -> None:
    n, rest = compositions_needed(p, K, delta), 1 - Fraction(p)
    assert rest ** (K**n) <= Fraction(delta)
    assert n == 0 or rest ** (K ** (n - 1)) > Fraction(delta)


def test_a_thousand_compositions_find_an_action_of_mass_1e_300() -> None:
    log_pi, q, wanted = np.array([[0.0, math.log(1e-300)]]), [[0.0, 1.0]], compositions_needed(1e-300, 2, 0.5)
    for n in range(1, wanted + 1):
        log_pi = lookahead_log_policy(log_pi, q, 2)
        assert (np.exp(log_pi[0, 1]) >= 0.5) == (n == wanted)


# ------------------------------------------------------------------------------------------------ bounds

TOLERANCE = 1e-12


@settings(max_examples=300)
@given(problems(), DRAWS, st.sampled_from(RULES))
def test_no_law_leaves_the_bounds(problem: tuple[Array, Array], K: float, ties) -> None:
    pi, q = problem
    with np.errstate(divide="ignore"):
        log_pi = np.log(pi)
    logs = lookahead_log_policy(log_pi, q, K, ties)
    law, live = np.exp(logs), pi > 0
    log_ratio = np.subtract(logs, log_pi, out=np.zeros_like(pi), where=live)
    assert ((law * log_ratio).sum(axis=1) <= kl_bound(K) + TOLERANCE).all()
    assert (0.5 * np.abs(law - pi).sum(axis=1) <= total_variation_bound(K) + TOLERANCE).all()
    chi_square = (pi * np.expm1(log_ratio) ** 2).sum(axis=1)
    assert (chi_square <= chi_square_bound(K) * (1 + TOLERANCE) + TOLERANCE).all()
    less, same = below_and_at(pi, q)
    ratio = np.exp(log_ratio)[live]
    assert (ratio <= K * (1 + 1e-9)).all()
    if ties == "samples":  # F itself is rounded, which its power multiplies by K
        bound = density_ratio_bound(K, np.minimum(less + same, 1.0))[live]
        assert (ratio <= bound * (1 + TOLERANCE + 1e-14 * K) + 1e-300).all()
    assert ((law * (less + 0.5 * same)).sum(axis=1) <= win_rate_bound(K) + TOLERANCE).all()


@settings(max_examples=300)
@given(problems(), DRAWS, st.sampled_from(RULES))
def test_the_expected_action_value_rises_as_promised(problem: tuple[Array, Array], K: float, ties) -> None:
    pi, q = problem
    best = np.where(pi > 0, q, -np.inf).max(axis=1)
    p = np.minimum((pi * (q == best[:, None])).sum(axis=1), 1.0)
    bound = improvement_bound(expectation(pi, q), best, p, K)
    reached = expectation(lookahead_policy(pi, q, K, ties), q)
    assert (reached >= bound - TOLERANCE).all()
    assert (bound >= expectation(pi, q) - TOLERANCE).all()
    assert (reached <= best + TOLERANCE).all()


@settings(max_examples=300)
@given(problems(), st.floats(1.0, 20.0), st.floats(0.01, 10.0))
def test_the_expected_action_value_is_nondecreasing_and_concave_in_K(
    problem: tuple[Array, Array], K: float, step: float
) -> None:
    pi, q = problem
    values = [expectation(lookahead_policy(pi, q, K + i * step), q) for i in range(3)]
    assert (values[1] >= values[0] - TOLERANCE).all()
    assert (values[2] - values[1] <= values[1] - values[0] + TOLERANCE).all()


@settings(max_examples=300)
@given(st.floats(0.0, 1.0), DRAWS, st.floats(-5.0, 5.0), st.floats(0.0, 5.0))
def test_the_improvement_bound_is_attained_by_two_values(p: float, K: float, low: float, rise: float) -> None:
    pi, q = np.array([[1.0 - p, p]]), np.array([[low, low + rise]])
    bound = improvement_bound(expectation(pi, q), q[:, 1], np.array([p]), K)
    # p = 0 draws no best action, and q(a) = q(b) ties: both are the trivial bound.
    np.testing.assert_allclose(expectation(lookahead_policy(pi, q, K), q), bound, rtol=0, atol=1e-12)


@pytest.mark.parametrize("K", [1.0, 1.5, 2.0, 8.0])
def test_the_bounds_are_approached_as_atoms_vanish(K: float) -> None:
    """Uniform laws over more and more actions of different value; all bounds but total variation's stay strict."""
    errors = []
    for n_actions in (100, 20_000):
        pi, q = np.full((1, n_actions), 1.0 / n_actions), np.arange(float(n_actions))[None]
        law = lookahead_policy(pi, q, K)
        less, same = q / n_actions, pi
        reached = np.array(
            [
                (law * np.log(law / pi)).sum(),
                0.5 * np.abs(law - pi).sum(),
                (law**2 / pi).sum() - 1.0,
                (law / pi).max(),
                (law * (less + 0.5 * same)).sum(),
            ]
        )
        bounds = [kl_bound(K), total_variation_bound(K), chi_square_bound(K), float(density_ratio_bound(K))]
        errors.append(np.array([*bounds, win_rate_bound(K)]) - reached)
    assert (np.abs(errors[1]) < 3e-3).all()
    if K > 1.0:
        strict = np.array([True, False, True, True, True])
        assert (errors[0][strict] > 0).all()
        assert (errors[1][strict] < errors[0][strict]).all()
    else:
        np.testing.assert_allclose(errors, 0.0, atol=1e-11)


@settings(max_examples=300)
@given(st.floats(1.001, 1e6))
def test_total_variation_is_attained_where_the_density_crosses_one_between_atoms(K: float) -> None:
    u = K ** (-1 / (K - 1))
    law = lookahead_policy([[u, 1 - u]], [[0, 1]], K)
    assert law[0, 1] - (1 - u) == pytest.approx(total_variation_bound(K), abs=1e-12)


@pytest.mark.parametrize("K", [1.001, 1.5, 2.0, 7.3])
def test_the_bounds_are_the_divergences_of_the_density_K_u_to_the_K_minus_1(K: float) -> None:
    def density(u: float) -> float:
        return K * u ** (K - 1.0)

    def integral(f: Callable[[float], float]) -> float:
        return quad(f, 0.0, 1.0, epsabs=1e-12, limit=200)[0]

    assert kl_bound(K) == pytest.approx(integral(lambda u: density(u) * math.log(density(u))), abs=1e-9)
    assert total_variation_bound(K) == pytest.approx(integral(lambda u: 0.5 * abs(density(u) - 1.0)), abs=1e-7)
    assert chi_square_bound(K) == pytest.approx(integral(lambda u: (density(u) - 1.0) ** 2), abs=1e-9)
    assert win_rate_bound(K) == pytest.approx(integral(lambda u: u * density(u)), abs=1e-9)
    assert density_ratio_bound(K, [0.0, 0.3, 1.0]) == pytest.approx([density(0.0), density(0.3), K])


def test_known_values_of_the_bounds() -> None:
    """K = 2: the density is 2u, which exceeds 1 on half of [0, 1]."""
    assert kl_bound(2) == pytest.approx(math.log(2) - 0.5)
    assert total_variation_bound(2) == pytest.approx(0.25)
    assert chi_square_bound(2) == pytest.approx(1 / 3)
    assert win_rate_bound(2) == pytest.approx(2 / 3)
    assert [kl_bound(1), total_variation_bound(1), chi_square_bound(1), win_rate_bound(1)] == [0, 0, 0, 0.5]
    assert approximation_loss(0.1, 0.9) == pytest.approx(2.0)


@settings(max_examples=300)
@given(problems(), DRAWS, st.floats(0.0, 2.0), st.integers(0, 2**31))
def test_estimated_action_values_cost_at_most_twice_their_error_a_step(
    problem: tuple[Array, Array], K: float, eps: float, seed: int
) -> None:
    """One state with gamma = 0; several steps are tested with the iteration."""
    pi, q = problem
    estimated = q + eps * np.random.default_rng(seed).uniform(-1, 1, q.shape)
    worth = expectation(lookahead_policy(pi, estimated, K), q)
    assert (worth >= expectation(pi, q) - approximation_loss(eps, 0.0) - TOLERANCE).all()


def test_the_approximation_bound_is_approached() -> None:
    """pi plays the action of value 1 all but always; the other, of value just above 1 - 2 eps, looks better."""
    eps, gamma, q = 0.1, 0.9, np.array([[1.0, 0.8 + 1e-9]])
    law = lookahead_policy([[1.0 - 1e-6, 1e-6]], q + np.array([[-eps, eps]]), 1e9)
    loss = (1.0 - expectation(law, q)[0]) / (1.0 - gamma)  # a bandit played for ever
    assert approximation_loss(eps, gamma) * (1 - 1e-6) < loss <= approximation_loss(eps, gamma)


# ------------------------------------------------------------------------------------------------ samples


@pytest.mark.parametrize("K", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_samples_have_the_exact_law(K: int, seed: int) -> None:
    rng, repeats = np.random.default_rng(seed), 20_000
    pi, q = rng.dirichlet(np.ones(6)), rng.integers(0, 3, 6).astype(float)
    sampler, scorer = sampler_of(np.tile(pi, (repeats, 1))), scorer_of(np.tile(q, (repeats, 1)))
    actions = best_of_k(sampler, scorer, K, rng)
    expected = repeats * lookahead_policy(pi[None], q[None], K)[0]
    often = expected > 5.0  # rarer actions are counted together
    counts = np.bincount(actions, minlength=6)
    pooled = [np.append(x[often], x[~often].sum()) for x in (counts, expected)]
    observed, wanted = (x if x[-1] > 0 else x[:-1] for x in pooled)
    assert chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


@settings(max_examples=20)
@given(problems(), st.integers(1, 5), st.integers(0, 2**31))
def test_samples_agree_with_the_expected_action_value(problem: tuple[Array, Array], K: int, seed: int) -> None:
    """By Hoeffding's inequality the mean of 4000 values in [-2, 2] is off by .2 in one run of 10^8 at most."""
    pi, q = (np.repeat(x[:1], 4000, axis=0) for x in problem)
    actions = best_of_k(sampler_of(pi), scorer_of(q), K, np.random.default_rng(seed))
    mean = np.take_along_axis(q, actions[:, None], axis=1).mean()
    assert mean == pytest.approx(expectation(lookahead_policy(pi[:1], q[:1], K), q[:1])[0], abs=0.2)
    assert (pi[0, actions] > 0).all()


def test_any_policy_and_any_action_value_will_do() -> None:
    """Gaussian actions in the plane, scored by their first coordinate: the greatest of K normal numbers."""
    rng = np.random.default_rng(0)
    best = best_of_k(lambda m, rng: rng.normal(size=(5000, m, 2)), lambda actions: actions[..., 0], 3, rng)
    assert best.shape == (5000, 2)
    assert best[:, 0].mean() == pytest.approx(1.5 / math.sqrt(math.pi), abs=0.05)  # David and Nagaraja, section 3.2
    assert best[:, 1].mean() == pytest.approx(0.0, abs=0.06)


def test_a_sampler_never_draws_what_has_no_mass() -> None:
    class Extremes(np.random.Generator):
        def random(self, size=None):
            return np.broadcast_to(np.array([0.0, 1.0 - 2.0**-53]), size).copy()

    pi = [[0.0, 0.3, 0.7 - 1e-10, 0.0], [1.0, 0.0, 0.0, 0.0]]
    drawn = sampler_of(pi)(2, Extremes(np.random.PCG64(0)))
    np.testing.assert_array_equal(drawn, [[1, 2], [0, 0]])


# ------------------------------------------------------------------------------------------------ bad input

LAW, Q = [[0.5, 0.5], [0.2, 0.8]], [[0.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lookahead_policy(LAW, Q, 0.5), r"K is 0.5; .* pass K >= 1"),
        (lambda: lookahead_policy(LAW, Q, np.inf), r"K is inf; pass a finite number"),
        (lambda: lookahead_policy(LAW, Q, True), r"K is True; pass a finite number"),
        (lambda: lookahead_policy(LAW, Q, 2, "first"), r"ties is 'first'; pass \"samples\" or \"order\""),
        (lambda: lookahead_policy(LAW, [[0, 1], [np.nan, 2]], 2), r"q\[1, 0\] is nan, which has no rank"),
        (lambda: lookahead_policy([[0.5, 0.5], [0.2, 0.7]], Q, 2), r"pi\[1\] sums to 0.9, not 1; normalise that row"),
        (lambda: lookahead_policy([[0.5, 0.5], [-0.2, 1.2]], Q, 2), r"pi\[1, 0\] is -0.2; probabilities must be >= 0"),
        (lambda: lookahead_policy([0.5, 0.5], Q, 2), r"pi has shape \(2,\); .* a single law being pi\[None\]"),
        (lambda: lookahead_policy(np.zeros((0, 2)), np.zeros((0, 2)), 2), r"pi has shape \(0, 2\)"),
        (lambda: lookahead_policy(LAW, [[0, 1, 2], [0, 1, 2]], 2), r"q has shape \(2, 3\); expected the shape of the"),
        (lambda: lookahead_policy(LAW, [["a", "b"], ["c", "d"]], 2), r"q has dtype"),
        (lambda: lookahead_log_policy([[0.0, 0.0]], [[0, 1]], 2), r"exp\(log_pi\)\[0\] sums to 2, not 1"),
        (lambda: lookahead_log_policy([[np.nan, 0.0]], [[0, 1]], 2), r"log_pi\[0, 0\] is nan"),
        (lambda: lookahead_log_policy([[1000.0, 0.0]], [[0, 1]], 2), r"exp\(log_pi\)\[0\] sums to inf"),
        (lambda: kl_bound(0), r"K is 0.0"),
        (lambda: density_ratio_bound(2, [0.5, 1.5]), r"F\[1\] is 1.5; it must lie in \[0, 1\]"),
        (lambda: improvement_bound([0.0], [1.0, 2.0], [0.5], 2), r"best has shape \(2,\)"),
        (lambda: improvement_bound([0.0], [1.0], [2.0], 2), r"p\[0\] is 2.0"),
        (lambda: approximation_loss(0.1, 1.0), r"gamma is 1, .* pass gamma < 1"),
        (lambda: approximation_loss(-0.1, 0.5), r"eps is -0.1"),
        (lambda: compositions_needed(0.0, 2, 0.5), r"p is 0; .* mix some in"),
        (lambda: compositions_needed(0.1, 1, 0.5), r"K is 1, .* pass K > 1"),
        (lambda: compositions_needed(0.1, 2, 0.0), r"delta is 0.0; pass a number strictly between"),
        (lambda: compositions_needed(0.1, 2, 1.0), r"delta is 1.0; pass a number strictly between"),
        (lambda: best_of_k(sampler_of(LAW), scorer_of(Q), 0, np.random.default_rng(0)), r"K is 0; it must be at least"),
        (lambda: best_of_k(sampler_of(LAW), scorer_of(Q), 2.0, np.random.default_rng(0)), r"K is 2.0; pass an integer"),
        (
            lambda: best_of_k(lambda m, rng: np.zeros((3, m + 1)), lambda a: a, 2, np.random.default_rng(0)),
            r"sampler\(K, rng\) returned shape \(3, 3\); expected \(n, K, ...\) with K = 2",
        ),
        (
            lambda: best_of_k(sampler_of(LAW), lambda a: a[:, 0], 2, np.random.default_rng(0)),
            r"scorer\(actions\) has shape \(2,\); expected \(n, K\)",
        ),
        (
            lambda: best_of_k(sampler_of(LAW), lambda a: np.full(a.shape, np.nan), 2, np.random.default_rng(0)),
            r"scorer\(actions\)\[0, 0\] is nan",
        ),
        (lambda: scorer_of([1.0]), r"q has shape \(1,\)"),
    ],
)
def test_bad_input_is_named_with_its_remedy(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        call()


def test_arguments_are_left_alone() -> None:
    pi, q = np.array(LAW), np.array(Q)
    kept = pi.copy(), q.copy()
    lookahead.lookahead_policy(pi, q, 3)
    np.testing.assert_array_equal(pi, kept[0])
    np.testing.assert_array_equal(q, kept[1])


@pytest.mark.parametrize(
    ("sampler", "scorer", "rng", "message"),
    [
        (lambda m, _: 5, lambda a: a, 0, r"sampler\(K, rng\) returned shape \(\)"),
        (lambda m, _: np.full((1, m), 7), scorer_of([[0.0, 1.0]]), 0, r"actions\[0, 0\] is 7; actions run from 0 to 1"),
        (lambda m, _: np.full((1, m), 0.5), scorer_of([[0.0, 1.0]]), 0, "actions has dtype float64"),
        (sampler_of([[0.5, 0.5]]), scorer_of([[0.0, 1.0]]), "zero", "rng is 'zero'"),
    ],
)
def test_what_is_no_sampler_scorer_or_rng_is_named(sampler, scorer, rng, message):
    with pytest.raises(ModelError, match=message):
        best_of_k(sampler, scorer, 3, rng)
