"""Softmax and regularised greedy policies: their laws to the last digits, certified gaps, perturbations, covers."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import lambertw

from lookahead_rl.models import ModelError, garnet_mdp
from lookahead_rl.solvers import (
    DualSoftmaxValues,
    Regularisation,
    evaluate_policy,
    perturbation_bounds,
    policy_iteration,
    q_values,
    regularised_greedy,
    regularised_log_greedy,
    softmax_gap_bounds,
    softmax_log_policy,
    softmax_policy,
    temperature_for_gap,
)
from lookahead_rl.solvers.regularised import (
    gap_constant,
    log_law,
    over_horizon,
    softmax_modulus,
    softmax_reference_bound,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed
from benchmarks.covering import (
    covering_bound,
    greedy_covering_number,
    largest_movement,
    random_action_values,
    softmax_covering_number,
    utility_of,
)

sys.path.pop(0)

Array = NDArray[np.float64]

many_draws = pytest.mark.parametrize("draws", [100, pytest.param(20_000, marks=pytest.mark.slow)])
"""An inequality is tried so often: a few times in every run of the tests, 20,000 times where slow ones run too."""

SEEDS = st.integers(0, 2**63)
"""A draw is a seed, and what it stands for is made by numpy: 20,000 draws then take seconds."""


def random_values(rng: np.random.Generator, n_actions: int) -> Array:
    """Action values (A,): normal ones, two levels, ties, one far ahead."""
    match rng.integers(4):
        case 0:
            return 10.0 ** rng.uniform(-2, 1) * rng.normal(size=n_actions)
        case 1:
            return 3.0 * rng.random() * (rng.random(n_actions) < 0.5)
        case 2:
            return rng.integers(-2, 3, n_actions).astype(np.float64)
        case _:
            return np.where(np.arange(n_actions) == rng.integers(n_actions), 40.0, rng.normal(size=n_actions))


def random_log_law(rng: np.random.Generator, n_actions: int) -> Array:
    """Logarithms (A,) of a law; some may be far below the least float, or -inf."""
    x = rng.choice([1.0, 10.0, 1e3, 1e5]) * rng.normal(size=n_actions)
    if rng.random() < 0.3:
        x[rng.random(n_actions) < 0.4] = -np.inf
        x[rng.integers(n_actions)] = 0.0
    return x - log_sum_exp(x)


def log_sum_exp(x: Array) -> float:
    return float(x.max() + np.log(np.exp(x - x.max()).sum()))


def random_temperature(rng: np.random.Generator) -> float:
    return float(10.0 ** rng.uniform(-3.0, 2.0))


def random_weights(rng: np.random.Generator) -> Regularisation:
    eta, tau = random_temperature(rng), random_temperature(rng)
    match rng.integers(5):
        case 0:
            return Regularisation(0.0, tau)
        case 1:
            return Regularisation(eta, 0.0)
        case _:
            return Regularisation(eta, tau)


@dataclass(frozen=True, eq=False)
class Problem:
    """Two regularised greedy problems of the same actions, and a temperature; printed where a test fails."""

    seed: int
    q: Array
    log_mu: Array
    other_q: Array
    other_log_mu: Array
    weights: Regularisation
    temperature: float


def problem_of(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    one, other = ((random_values(rng, n), random_log_law(rng, n)) for _ in range(2))
    return Problem(seed, *one, *other, random_weights(rng), random_temperature(rng))


PROBLEMS = SEEDS.map(problem_of)


def entropy(p: Array) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def divergence(p: Array, log_mu: Array) -> float:
    return float((p[p > 0] * (np.log(p[p > 0]) - log_mu[p > 0])).sum())


def repeated(draws: int, check: Callable[..., None], strategy: st.SearchStrategy[Any] = PROBLEMS) -> None:
    settings(max_examples=draws)(given(strategy)(check))()


def at_extremes(**changes: object) -> Problem:
    return replace(problem_of(0), **changes)


# ------------------------------------------------------------------------------------------------ laws and values


def decimal_greedy(q: Array, log_mu: Array, weights: Regularisation) -> tuple[Array, float]:
    """Log policy and value of a state with 60 digits, from the reference divided by its exact sum."""
    with localcontext(prec=60):
        eta, tau = Decimal(weights.eta), Decimal(weights.tau)
        live = np.flatnonzero(log_mu > -np.inf) if eta else np.arange(q.size)
        total = sum((Decimal(x).exp() for x in log_mu[log_mu > -np.inf]), start=Decimal(0)).ln()
        x = [(Decimal(q[a]) + (eta * (Decimal(log_mu[a]) - total) if eta else 0)) / (eta + tau) for a in live]
        log_Z = max(x) + sum(((y - max(x)).exp() for y in x), start=Decimal(0)).ln()
        log_pi = np.full(q.size, -np.inf)
        log_pi[live] = [float(y - log_Z) for y in x]
        return log_pi, float((eta + tau) * log_Z)


HALVES = np.log([0.5, 0.5])


@settings(max_examples=100)
@example(at_extremes(q=np.array([0.0, 1.0]), log_mu=np.log([0.9, 0.1]), weights=Regularisation(1e12, 1.0)))
@example(at_extremes(q=np.array([0.0, 1.0]), log_mu=np.array([0.0, -1e5]), weights=Regularisation(1e9, 1e-3)))
@example(at_extremes(q=np.array([1e300, -1e300]), log_mu=HALVES, weights=Regularisation(1e-300, 1e-300)))
@given(PROBLEMS)
def test_policy_and_value_agree_with_60_digit_arithmetic(problem: Problem) -> None:
    """However large eta is: the value's rounding is of the size of q and tau log mu, never of kappa."""
    q, log_mu, weights = problem.q, problem.log_mu, problem.weights
    log_pi, value = regularised_log_greedy(q, log_mu, weights)
    expected, exact = decimal_greedy(q, log_mu, weights)
    expected[expected < -1.8e308] = -np.inf
    np.testing.assert_allclose(log_pi, expected, rtol=1e-13, atol=1e-13)
    size = np.abs(q).max() + weights.tau * (1.0 + np.abs(log_mu[log_mu > -np.inf]).max()) + abs(exact)
    assert abs(value - exact) <= 4e-15 * size + 1e-50


@settings(max_examples=100)
@given(PROBLEMS)
def test_softmax_is_the_regularised_policy_without_divergence(problem: Problem) -> None:
    q, log_mu, tau = problem.q, problem.log_mu, problem.temperature
    log_pi = softmax_log_policy(q, tau)
    np.testing.assert_allclose(log_pi, decimal_greedy(q, log_mu, Regularisation(0.0, tau))[0], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(softmax_policy(q, tau), np.exp(log_pi), rtol=1e-15)
    np.testing.assert_array_equal(regularised_log_greedy(q, log_mu, Regularisation(0.0, tau))[0], log_pi)


def test_nothing_overflows() -> None:
    np.testing.assert_array_equal(softmax_policy([1e300, -1e300, 1e300], 1e-300), [0.5, 0.0, 0.5])
    np.testing.assert_allclose(
        softmax_log_policy([1.7e308, -1.7e308], 1e308), [-math.log1p(math.exp(-3.4)), -3.43282848]
    )
    np.testing.assert_allclose(softmax_policy([0.0, 5e-324], 5e-324), [0.26894142, 0.73105858])
    log_pi, value = regularised_greedy(
        [[1e300, 0.0], [1e300, 0.0]], [[0, 1], [0.5, 0.5]], Regularisation(1e-300, 1e-300)
    )
    np.testing.assert_array_equal(log_pi, [[-np.inf, 0.0], [0.0, -np.inf]])
    np.testing.assert_array_equal(value, [0.0, 1e300])
    log_pi, value = regularised_greedy([3.0, 1.0], [0.25, 0.75], Regularisation(1e307, 0.0))
    np.testing.assert_allclose([*np.exp(log_pi), value], [0.25, 0.75, 1.5], rtol=1e-15)


@settings(max_examples=100)
@given(PROBLEMS)
def test_actions_outside_the_mask_do_not_exist(problem: Problem) -> None:
    """The law and value of a state with a mask are those of the state without the other actions."""
    q, log_mu, weights, rng = problem.q, problem.log_mu, problem.weights, np.random.default_rng(problem.seed)
    places = np.sort(rng.permutation(q.size + 3)[: q.size])
    live, wide_q, wide_mu = (
        np.zeros(q.size + 3, dtype=np.bool_),
        np.full(q.size + 3, np.nan),
        np.full(q.size + 3, -np.inf),
    )
    live[places], wide_q[places], wide_mu[places] = True, q, log_mu
    log_pi, value = regularised_log_greedy(wide_q, wide_mu, weights, live)
    expected, exact = regularised_log_greedy(q, log_mu, weights)
    np.testing.assert_allclose(log_pi[places], expected, rtol=1e-14, atol=1e-14)
    assert (log_pi[~live] == -np.inf).all()
    assert value == pytest.approx(exact, rel=1e-13, abs=1e-13)
    narrow = softmax_gap_bounds(q, weights.kappa)
    for wide, bound in zip(softmax_gap_bounds(wide_q, weights.kappa, live), narrow, strict=True):
        assert wide == pytest.approx(bound, rel=1e-12, abs=1e-14)


def test_mass_of_the_reference_outside_the_mask_counts_as_divergence() -> None:
    """KL(pi | mu) of the law on the first action alone is -log mu(0); with much eta the value is far below q."""
    for eta in (0.1, 1.0, 1e6):
        log_pi, value = regularised_greedy([2.0, 5.0], [0.7, 0.3], Regularisation(eta, 0.0), [True, False])
        np.testing.assert_allclose(log_pi, [0.0, -np.inf], atol=1e-15)
        assert value == pytest.approx(2.0 + eta * math.log(0.7), rel=1e-14)


def test_a_zero_of_the_reference_is_never_played_unless_there_is_no_divergence() -> None:
    q, mu = [[0.0, 1.0, 50.0]], [[0.5, 0.5, 0.0]]
    for eta in (1e-320, 1e-9, 1.0, 1e9):
        log_pi, _ = regularised_greedy(q, mu, Regularisation(eta, 0.1))
        assert log_pi[0, 2] == -np.inf
    log_pi, value = regularised_greedy(q, mu, Regularisation(0.0, 0.1))
    other, same = regularised_greedy(q, [[0.1, 0.2, 0.7]], Regularisation(0.0, 0.1))
    np.testing.assert_array_equal(log_pi, other)
    assert value[0] == same[0] == pytest.approx(50.0, abs=1e-15)


def test_rows_are_states_whatever_the_shape() -> None:
    rng = np.random.default_rng(0)
    q, mu = rng.normal(size=(2, 3, 4)), rng.dirichlet(np.ones(4), size=(2, 3))
    log_pi, value = regularised_greedy(q, mu, Regularisation(0.3, 0.2))
    assert log_pi.shape == (2, 3, 4)
    assert value.shape == (2, 3)
    for index in np.ndindex(2, 3):
        one, number = regularised_greedy(q[index], mu[index], Regularisation(0.3, 0.2))
        np.testing.assert_array_equal(log_pi[index], one)
        assert value[index] == number


@many_draws
def test_no_policy_is_worth_more_and_each_loses_kappa_times_its_divergence(draws: int) -> None:
    """E_p q - eta KL(p | mu) + tau Ent(p) = value - kappa KL(p | pi) for every law p on the support."""

    def check(problem: Problem) -> None:
        q, log_mu, weights = problem.q, problem.log_mu, problem.weights
        log_pi, value = regularised_log_greedy(q, log_mu, weights)
        live = log_pi > -np.inf
        p = np.zeros(q.size)
        p[live] = np.random.default_rng(problem.seed).dirichlet(np.full(live.sum(), 0.5))
        worth = p @ q + weights.tau * entropy(p)
        if weights.eta > 0.0:
            worth -= weights.eta * divergence(p, log_mu)
        lost = weights.kappa * divergence(p, log_pi)
        assert lost >= -1e-13 * weights.kappa
        assert worth == pytest.approx(value - lost, rel=1e-12, abs=1e-12 * (1.0 + weights.kappa + lost))

    repeated(draws, check)


@pytest.mark.parametrize("seed", range(12))
def test_a_conic_solver_finds_the_same_policy_and_value(seed: int) -> None:
    """cvxpy with Clarabel, on the exponential cone."""
    rng = np.random.default_rng(seed)
    n_actions = int(rng.integers(2, 7))
    q, mu = rng.normal(size=n_actions), rng.dirichlet(np.ones(n_actions))
    eta, tau = [(0.5, 0.5), (0.0, 0.3), (0.7, 0.0), (0.05, 0.2)][seed % 4]
    live = np.arange(n_actions) >= seed % 2  # every other time the first action has no mass
    mu = mu * live / mu[live].sum()
    p = cp.Variable(n_actions)
    constraints = [cp.sum(p) == 1, p >= 0] + ([p[~live] == 0] if eta and not live.all() else [])
    objective = q @ p + tau * cp.sum(cp.entr(p)) - eta * cp.sum(cp.rel_entr(p[live], mu[live]))
    best = cp.Problem(cp.Maximize(objective), constraints).solve(
        cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9
    )
    log_pi, value = regularised_greedy(q, mu, Regularisation(eta, tau))
    assert value == pytest.approx(best, abs=1e-6)
    np.testing.assert_allclose(np.exp(log_pi), p.value, atol=1e-4)


def test_the_formula_without_the_exponent_on_the_reference_is_wrong() -> None:
    """kappa log sum mu exp(q / kappa) is the value where tau = 0, and not elsewhere."""
    mu, q, eta, tau = np.array([0.9, 0.1]), np.array([0.0, 1.0]), 0.5, 0.5
    kappa = eta + tau
    log_pi, value = regularised_greedy(q, mu, Regularisation(eta, tau))
    pi = np.exp(log_pi)
    assert value == pytest.approx(0.5924, abs=5e-5)
    assert value == pytest.approx(kappa * np.log((mu ** (eta / kappa) * np.exp(q / kappa)).sum()), rel=1e-15)
    assert pi @ q - eta * divergence(pi, np.log(mu)) + tau * entropy(pi) == pytest.approx(value, rel=1e-15)
    wrong = kappa * np.log((mu * np.exp(q / kappa)).sum())
    assert wrong == pytest.approx(0.1586, abs=5e-5)
    assert regularised_greedy(q, mu, Regularisation(kappa, 0.0))[1] == pytest.approx(wrong, rel=1e-15)


@settings(max_examples=100)
@given(PROBLEMS)
def test_the_fixed_points_are_softmaxes_on_their_supports(problem: Problem) -> None:
    """pi = greedy(q, pi) where pi ~ exp(q / tau) on any support; with tau = 0, where q is constant on the support."""
    q, weights = np.resize(problem.q, 4), problem.weights
    for support in ([True] * 4, [True, False, True, False]):
        live = np.array(support)
        if weights.tau == 0.0:
            live &= q == q[live].max()
            log_pi = np.where(live, -math.log(live.sum()), -np.inf)
        else:
            log_pi = softmax_log_policy(q, weights.tau, live)
        if weights.eta > 0.0:
            np.testing.assert_allclose(regularised_log_greedy(q, log_pi, weights)[0], log_pi, rtol=1e-12, atol=1e-12)


def test_with_eta_alone_every_law_on_the_best_actions_is_a_fixed_point_and_no_other() -> None:
    best, mixed = [0.2, 0.8, 0.0], [0.2, 0.7, 0.1]
    for mu, fixed in ((best, True), (mixed, False)):
        log_pi, _ = regularised_greedy([1.0, 1.0, 0.0], mu, Regularisation(0.5, 0.0))
        assert np.allclose(np.exp(log_pi), mu, rtol=1e-14, atol=0.0) == fixed


def test_munchausen_is_the_same_regularisation_by_other_names() -> None:
    """The reward gains alpha tau_M log mu, the entropy counts tau_M: the maximum and its policy are the same."""
    weights = Regularisation.munchausen(0.9, 0.03)
    assert (weights.eta, weights.kappa, weights.alpha) == (0.9 * 0.03, 0.03, pytest.approx(0.9, rel=1e-15))
    q, mu = np.array([0.3, 0.1, 0.2]), np.array([0.2, 0.5, 0.3])
    log_pi, value = regularised_greedy(q, mu, weights)
    soft = q + 0.9 * 0.03 * np.log(mu)
    np.testing.assert_allclose(log_pi, softmax_log_policy(soft, 0.03), rtol=1e-14)
    assert value == pytest.approx(0.03 * log_sum_exp(soft / 0.03), rel=1e-14)
    assert Regularisation.munchausen(1.0, 0.5) == Regularisation(0.5, 0.0)
    assert Regularisation.munchausen(0.0, 0.5) == Regularisation(0.0, 0.5)


# ------------------------------------------------------------------------------------------------ softmax gaps


def worst_values(n_actions: int, temperature: float) -> Array:
    """One best action, the others worse by (1 + W(A)) temperatures."""
    q = np.zeros(n_actions)
    q[0] = (1.0 + gap_constant(n_actions)) * temperature
    return q


@many_draws
def test_no_softmax_loses_more_than_its_certificates_say(draws: int) -> None:
    def check(problem: Problem) -> None:
        q, tau = problem.q, problem.temperature
        pi, bounds = softmax_policy(q, tau), softmax_gap_bounds(q, tau)
        slack = 1e-13 * (tau + np.abs(q).max())
        assert bounds.gap == pytest.approx(q.max() - pi @ q, abs=slack)
        assert bounds.entropy == pytest.approx(tau * entropy(pi), abs=slack)
        assert bounds.log_actions == tau * math.log(q.size)
        assert 0.0 <= bounds.gap <= min(bounds.entropy, bounds.sharp) + slack
        assert max(bounds.entropy, bounds.sharp) <= bounds.log_actions + slack

    repeated(draws, check)


@pytest.mark.parametrize(("n_actions", "constant"), [(2, 0.2785), (10, 1.101), (1000, 4.4205)])
def test_the_sharp_constant_is_lamberts_and_two_levels_attain_it(n_actions: int, constant: float) -> None:
    w = gap_constant(n_actions)
    assert w == pytest.approx(constant, abs=5e-5)
    assert w == pytest.approx(lambertw((n_actions - 1) / math.e).real, rel=1e-14)
    assert w * math.exp(w) == pytest.approx((n_actions - 1) / math.e, rel=1e-14)
    for tau in (1e-3, 1.0, 40.0):
        bounds = softmax_gap_bounds(worst_values(n_actions, tau), tau)
        assert bounds.gap == pytest.approx(tau * w, rel=1e-13)
        assert bounds.sharp == pytest.approx(tau * w, rel=1e-14)
    for level in (0.9, 1.1):
        assert softmax_gap_bounds(level * worst_values(n_actions, 1.0), 1.0).gap < w


@pytest.mark.parametrize("n_actions", [2, 3, 7])
def test_climbing_from_anywhere_ends_at_the_sharp_constant(n_actions: int) -> None:
    rng = np.random.default_rng(n_actions)
    for _ in range(3):
        start = 3.0 * rng.random(n_actions - 1)
        climbed = minimize(lambda d: -float(softmax_gap_bounds(np.append(0.0, -np.abs(d)), 1.0).gap), start, tol=1e-12)
        assert -climbed.fun == pytest.approx(gap_constant(n_actions), abs=1e-9)
        np.testing.assert_allclose(np.abs(climbed.x), 1.0 + gap_constant(n_actions), atol=1e-4)


def test_the_constant_survives_more_paths_than_floats_count() -> None:
    assert gap_constant(1) == gap_constant(1, 50) == 0.0
    assert gap_constant(2, 3) == pytest.approx(gap_constant(8), rel=1e-14)
    w = gap_constant(10, 1000)  # w + log w = 1000 log 10 - 1
    assert w + math.log(w) == pytest.approx(1000 * math.log(10) - 1, rel=1e-14)


def test_all_the_same_is_worth_the_same() -> None:
    bounds = softmax_gap_bounds([[7.0] * 5], 2.0)
    np.testing.assert_allclose(bounds.gap, 0.0)
    np.testing.assert_allclose(bounds.entropy, 2.0 * math.log(5))
    np.testing.assert_array_equal(softmax_gap_bounds([[1e300]], 1e-300), np.zeros((4, 1)))


# ------------------------------------------------------------------------------------------------ over a horizon


@pytest.mark.parametrize("seed", range(8))
def test_softmax_of_the_optimal_action_values_keeps_every_certificate_over_the_horizon(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gamma = float(rng.uniform(0.0, 0.97))
    model = garnet_mdp(12, int(rng.integers(2, 6)), 3, rng, gamma=gamma, rewards="normal")
    best = policy_iteration(model, 1e-11).certificate.upper
    for tau in (0.01, 0.1, 1.0, 10.0):
        q = q_values(model, best)
        lost = best - evaluate_policy(model, softmax_policy(q, tau)).value
        for bound in softmax_gap_bounds(q, tau):
            assert (lost <= over_horizon(bound, gamma=gamma) + 1e-9).all()


@pytest.mark.parametrize("seed", range(8))
def test_softmax_of_any_action_values_loses_twice_their_error_more(seed: int) -> None:
    """Against q* and against the policy's own action values; the latter, iterated, come near their own softmax."""
    rng = np.random.default_rng(seed)
    model = garnet_mdp(8, 3, 3, rng, gamma=0.8, rewards="normal")
    best = policy_iteration(model, 1e-11).value
    q, tau = q_values(model, best) + rng.normal(size=(8, 3)) * rng.uniform(0, 0.5), float(rng.choice([0.05, 0.5, 3.0]))
    nearest = np.inf
    for _ in range(30):
        pi = softmax_policy(q, tau)
        value = evaluate_policy(model, pi).value
        own, gap = q_values(model, value), softmax_gap_bounds(q, tau)
        for true in (q_values(model, best), own):
            error = np.abs(q - true).max()
            for bound in gap:
                assert (best - value <= over_horizon(bound + 2.0 * error, gamma=0.8) + 1e-9).all()
        nearest, q = min(nearest, float(np.abs(q - own).max())), 0.5 * q + 0.5 * own
    assert nearest < 0.02


def test_one_state_with_two_levels_of_reward_attains_the_sharp_bound_over_every_horizon() -> None:
    tau, r = 0.3, worst_values(4, 0.3)
    lost = r.max() - softmax_policy(r, tau) @ r  # at every step; q* - r is the same for all actions
    assert over_horizon(lost, horizon=7) == pytest.approx(7 * tau * gap_constant(4), rel=1e-13)
    assert over_horizon([0.1, lost], gamma=0.9) == pytest.approx(10 * tau * gap_constant(4), rel=1e-13)
    assert over_horizon([[0.1, 0.2], [0.4, 0.3]], horizon=2) == pytest.approx(0.6, rel=1e-15)


Stages = list[tuple[Array, Array]]
"""Laws (S, A, S) and rewards (S, A) of the stages, the last one first."""


def soft_loss(stages: Stages, tau: float) -> Array:
    """v* - v^pi (S,) at the first stage, pi being the optimum with entropy."""
    soft = best = value = np.zeros(len(stages[0][0]))
    for P, r in stages:
        log_pi, next_soft = regularised_greedy(r + P @ soft, np.full(r.shape, 1 / r.shape[1]), Regularisation(0.0, tau))
        best, value = (r + P @ best).max(axis=1), (np.exp(log_pi) * (r + P @ value)).sum(axis=1)
        soft = next_soft
    return best - value


def random_stages(seed: int) -> Stages:
    rng = np.random.default_rng(seed)
    n_states, n_actions, horizon = rng.integers(1, 5), rng.integers(1, 4), rng.integers(1, 5)
    shape, spread, scale = (n_states, n_actions), 10.0 ** rng.uniform(-2, 0.5), 10.0 ** rng.uniform(-1, 1)
    return [
        (
            rng.dirichlet(np.full(n_states, spread), size=shape),
            scale * rng.normal(size=shape) * (rng.random(shape) < 0.5),
        )
        for _ in range(horizon)
    ]


@many_draws
def test_the_optimum_with_entropy_loses_no_more_than_a_softmax_over_paths(draws: int) -> None:
    def check(seed: int) -> None:
        stages = random_stages(seed)
        n_actions, horizon = stages[0][1].shape[1], len(stages)
        assert (soft_loss(stages, 1.0) <= gap_constant(n_actions, horizon) + 1e-12).all()

    repeated(draws, check, SEEDS)


def path_tree(n_actions: int, horizon: int, reward: Callable[[Array], Array]) -> Stages:
    """A tree without chance: state s at stage h is a path of h actions, and action a leads to A s + a; a path's reward
    is paid at its end."""
    n_states = n_actions ** (horizon - 1)
    children = np.arange(n_states * n_actions).reshape(n_states, n_actions)
    P = np.eye(n_states)[children % n_states]
    return [(P, reward(children) if h == 0 else np.zeros(children.shape)) for h in range(horizon)]


@pytest.mark.parametrize(("n_actions", "horizon"), [(2, 1), (2, 2), (2, 6), (3, 3), (10, 2)])
def test_a_tree_attains_that_bound_which_is_above_the_one_for_optimal_action_values(
    n_actions: int, horizon: int
) -> None:
    tau, w = 0.7, gap_constant(n_actions, horizon)
    lost = soft_loss(path_tree(n_actions, horizon, lambda path: np.where(path > 0, -(1.0 + w) * tau, 0.0)), tau)[0]
    assert lost == pytest.approx(tau * w, rel=1e-12)
    steps = horizon * gap_constant(n_actions)
    assert w == steps if horizon == 1 else w > steps + 0.04
    assert w < horizon * math.log(n_actions)


@many_draws
def test_the_entropy_of_the_regularised_policy_bounds_its_loss_with_a_discount(draws: int) -> None:
    """v* - v^pi <= tau log A / (1 - gamma) for pi of soft value iteration, run to its fixed point."""

    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        n_actions, gamma = int(rng.integers(1, 5)), float(rng.uniform(0.0, 0.9))
        model = garnet_mdp(4, n_actions, 2, rng, gamma=gamma, rewards="normal")
        soft, best = np.zeros(4), policy_iteration(model, 1e-10).value
        uniform = np.full((4, n_actions), 1 / n_actions)
        for _ in range(int(30 / -math.log(max(gamma, 1e-3)))):
            log_pi, soft = regularised_greedy(q_values(model, soft), uniform, Regularisation(0.0, 0.5))
        lost = best - evaluate_policy(model, np.exp(log_pi)).value
        entropies = -(np.exp(log_pi) * log_pi).sum(axis=1)
        assert (lost <= over_horizon(0.5 * entropies, gamma=gamma) + 1e-8).all()
        assert (lost <= over_horizon(0.5 * math.log(n_actions), gamma=gamma) + 1e-8).all()

    repeated(max(20, draws // 100), check, SEEDS)


def test_the_temperature_for_a_gap_is_the_largest_one() -> None:
    for n_actions in (2, 5, 1000):
        tau = temperature_for_gap(0.2, n_actions)
        assert softmax_gap_bounds(worst_values(n_actions, tau), tau).gap == pytest.approx(0.2, rel=1e-13)
        assert softmax_gap_bounds(worst_values(n_actions, 1.01 * tau), 1.01 * tau).gap > 0.2
        assert temperature_for_gap(0.2, n_actions, horizon=8) == pytest.approx(tau / 8, rel=1e-15)
        assert temperature_for_gap(0.2, n_actions, gamma=0.75) == pytest.approx(tau / 4, rel=1e-15)
        assert temperature_for_gap(0.2, n_actions, values="soft") == tau
        assert temperature_for_gap(0.2, n_actions, horizon=1, values="soft") == tau
        discounted = temperature_for_gap(0.2, n_actions, gamma=0.75, values="soft")
        assert discounted == pytest.approx(0.2 * 0.25 / math.log(n_actions), rel=1e-15)
    tau = temperature_for_gap(0.2, 3, horizon=3, values="soft")
    tree = path_tree(3, 3, lambda path: np.where(path > 0, -(1.0 + gap_constant(3, 3)) * tau, 0.0))
    assert soft_loss(tree, tau)[0] == pytest.approx(0.2, rel=1e-12)
    assert temperature_for_gap(0.2, 1) == temperature_for_gap(0.2, 1, gamma=0.5, values="soft") == math.inf


# ------------------------------------------------------------------------------------------------ perturbation


@many_draws
def test_values_of_two_problems_differ_no_more_than_the_bounds_say(draws: int) -> None:
    def check(problem: Problem) -> None:
        q, log_mu, other_q, other_log_mu = problem.q, problem.log_mu, problem.other_q, problem.other_log_mu
        weights = problem.weights
        value = regularised_log_greedy(q, log_mu, weights)[1]
        other = regularised_log_greedy(other_q, other_log_mu, weights)[1]
        bounds = perturbation_bounds(q, log_mu, other_q, other_log_mu, weights)
        slack = 1e-12 * (1.0 + abs(value) + abs(other))
        assert bounds.lower - slack <= value - other <= bounds.upper + slack
        assert abs(value - other) <= bounds.supremum + slack
        assert max(bounds.upper, -bounds.lower) <= bounds.supremum * (1 + 1e-12)
        infinite = weights.eta > 0.0 and ((log_mu > -np.inf) != (other_log_mu > -np.inf)).any()
        assert np.isinf(bounds.supremum) == infinite

    repeated(draws, check)


@settings(max_examples=100)
@given(PROBLEMS)
def test_adding_a_constant_attains_all_three_bounds(problem: Problem) -> None:
    q, log_mu, weights, c = problem.q, problem.log_mu, problem.weights, problem.other_q[0]
    bounds = perturbation_bounds(q + c, log_mu, q, log_mu, weights)
    assert bounds.lower == pytest.approx(c, abs=1e-12)
    assert bounds.upper == pytest.approx(c, abs=1e-12)
    assert bounds.supremum == pytest.approx(abs(c), abs=1e-12)


def test_the_one_sided_bounds_are_first_order_exact() -> None:
    """Their distance is of second order in the change, the supremum's of first."""
    rng = np.random.default_rng(0)
    q, mu, direction, weights = (
        rng.normal(size=5),
        log_law(rng.dirichlet(np.ones(5))),
        rng.normal(size=5),
        Regularisation(0.3, 0.4),
    )
    for t in (1e-2, 1e-3, 1e-4):
        bounds = perturbation_bounds(q + t * direction, mu, q, mu, weights)
        assert 0.0 < bounds.upper - bounds.lower < 5 * t**2
        assert bounds.supremum - bounds.upper > 0.1 * t


def test_bounds_are_infinite_exactly_where_supports_say_so() -> None:
    """With no mass where the other reference has some, one side is lost; an action that neither plays is none."""
    q, whole, part = [0.0, 1.0, 9.0], log_law([0.5, 0.5, 0.0]), log_law([1.0, 0.0, 0.0])
    bounds = perturbation_bounds(q, whole, q, part, Regularisation(0.5, 0.1))
    assert bounds.upper == bounds.supremum == np.inf
    assert bounds.lower == pytest.approx(0.5 * math.log(0.5), rel=1e-14)
    bounds = perturbation_bounds(q, part, q, whole, Regularisation(0.5, 0.1))
    assert bounds.lower == -np.inf
    assert bounds.upper == pytest.approx(-0.5 * math.log(0.5), rel=1e-14)
    rare = perturbation_bounds([0.0, -1e9, 0.0], whole, q, part, Regularisation(0.5, 0.1))
    assert rare.upper == np.inf  # that action is played with a probability below the least float
    for bound in perturbation_bounds(q, whole, q, part, Regularisation(0.0, 0.1)):
        assert bound == 0.0


@many_draws
def test_references_that_are_softmaxes_have_a_bound_that_is_never_infinite(draws: int) -> None:
    def check(problem: Problem) -> None:
        q, p, other_q, other_p = problem.q, problem.log_mu, problem.other_q, problem.other_log_mu
        p, other_p = (np.maximum(x, -50.0) for x in (p, other_p))  # the logarithms serve as action values
        weights, t = problem.weights, problem.temperature
        references = softmax_log_policy(p, t), softmax_log_policy(other_p, t)
        bound = softmax_reference_bound(q - other_q, p - other_p, t, weights)
        value = regularised_log_greedy(q, references[0], weights)[1]
        other = regularised_log_greedy(other_q, references[1], weights)[1]
        slack = 1e-11 * (1.0 + abs(value) + abs(other) + bound)
        assert abs(value - other) <= bound + slack
        assert perturbation_bounds(q, references[0], other_q, references[1], weights).supremum <= bound + slack

    repeated(draws, check)


def test_the_bound_for_softmax_references_is_a_number_however_cold_they_are() -> None:
    weights = Regularisation(1e300, 0.0)
    assert softmax_reference_bound([1.0, 0.0], [0.0, 0.0], 1e-300, weights) == 1.0
    assert softmax_reference_bound([1.0, 0.0], [1.0, 0.0], 1e-300, weights) == math.inf
    assert softmax_reference_bound([0.0, 0.0], [1e308, -1e308], 1e300, Regularisation(0.0, 1.0)) == 0.0


def test_the_bound_for_softmax_references_is_approached() -> None:
    """The policy on the action whose reference falls, the reference on the other: 1 for q, eta/t for each end."""
    weights, t, change = Regularisation(0.2, 0.05), 0.1, np.array([1.0, -1.0])
    q, p = np.array([40.0, 0.0]), np.array([-5.0, 5.0])
    moved = [
        regularised_log_greedy(q + s * 0.5, softmax_log_policy(p + s * change, t), weights)[1] for s in (0.5, -0.5)
    ]
    bound = softmax_reference_bound([0.5, 0.5], change, t, weights)
    assert bound == 0.5 + 2.0 * 2.0
    assert moved[0] - moved[1] == pytest.approx(bound, rel=1e-12)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "log x": np.log,
    "x": lambda x: x,
    "sqrt x": np.sqrt,
    "exp x": np.exp,
    "-1/x": lambda x: -1.0 / x,
    "x log x": lambda x: x * np.log(x),
}


def log_sum_sides(f: Callable[[Array], Array], a: Array, b: Array) -> tuple[float, float]:
    return float((a * f(a / b)).sum()), float(a.sum() * f(a.sum() / b.sum()))


@many_draws
def test_the_log_sum_inequality_holds_for_every_f_with_x_f_of_x_convex(draws: int) -> None:
    """sum a f(a/b) >= (sum a) f(sum a / sum b): Theorem 1 of arXiv 2005.03272, with b > 0. Equality for constant a/b.

    x^2 log x is convex above e^-3/2 = .22 only, where all ratios are here.
    """

    def check(seed: int) -> None:
        a, b = np.random.default_rng(seed).uniform(1.0, 4.0, size=(2, 4))
        for name, f in FUNCTIONS.items():
            left, right = log_sum_sides(f, a, b)
            assert left >= right - 1e-12 * (1.0 + abs(left) + abs(right)), name
            left, right = log_sum_sides(f, 1.5 * b, b)
            assert left == pytest.approx(right, rel=1e-12), name

    repeated(draws, check, SEEDS)


# ------------------------------------------------------------------------------------------------ smoothness and covers


@many_draws
def test_softmaxes_differ_no_more_than_the_modulus_says(draws: int) -> None:
    def check(problem: Problem) -> None:
        q, other, tau = problem.q, problem.other_q, problem.temperature
        moved = np.abs(softmax_policy(q, tau) - softmax_policy(other, tau)).sum()
        change = q - other
        assert moved <= softmax_modulus(np.ptp(change), tau) + 1e-13
        assert softmax_modulus(np.ptp(change), tau) <= softmax_modulus(2 * np.abs(change).max(), tau) * (1 + 1e-14)
        assert softmax_modulus(2 * np.abs(change).max(), tau) <= np.abs(change).max() / tau * (1 + 1e-14)

    repeated(draws, check)


@pytest.mark.parametrize("n_actions", [2, 3, 8, 1000])
def test_any_number_of_actions_attains_the_modulus_and_the_lipschitz_constant_one(n_actions: int) -> None:
    odds = np.zeros(n_actions)
    odds[0] = math.log(n_actions - 1)
    for tau in (0.1, 3.0):
        for d in (1e-6, 0.1, 1.0, 30.0):
            half = np.full(n_actions, -0.5 * d * tau)
            half[0] *= -1.0
            moved = np.abs(softmax_policy(odds * tau + half, tau) - softmax_policy(odds * tau - half, tau)).sum()
            assert moved == pytest.approx(2.0 * math.tanh(d / 2), rel=1e-8)
            assert softmax_modulus(2 * d * tau, tau) == pytest.approx(2.0 * math.tanh(d / 2), rel=1e-14)
            if d == 1e-6:
                assert moved == pytest.approx(d, rel=1e-8)


def test_a_search_finds_the_modulus_and_nothing_above() -> None:
    for d in (0.5, 2.0):
        found = largest_movement(4, d, np.random.default_rng(0), draws=500)
        assert found == pytest.approx(2.0 * math.tanh(d / 2), rel=1e-5)
        assert found <= 2.0 * math.tanh(d / 2) + 1e-15


def dual_action_values(phi: Array, weights: Array, M: Array, horizon: float) -> Array:
    """Q_r and Q_g (2, n, A) from features (n, A, d)."""
    bonus = np.sqrt(np.maximum(np.einsum("sai,ij,saj->sa", phi, M, phi), 0.0))
    return np.clip(np.einsum("sai,ji->jsa", phi, weights) + bonus, 0.0, horizon)


def dual_values(Q: Array, Y: float, tau: float) -> Array:
    """E_pi Q_r and E_pi Q_g (2, n)."""
    return (softmax_policy(Q[0] + Y * Q[1], tau) * Q).sum(axis=2)


@many_draws
def test_parameters_within_the_resolution_have_values_within_eps(draws: int) -> None:
    def check(seed: int) -> None:
        rng = np.random.default_rng(seed)
        d, H, tau, eps = (
            int(rng.integers(1, 5)),
            float(rng.integers(1, 6)),
            random_temperature(rng),
            10.0 ** rng.uniform(-4, 0),
        )
        e_Q, e_Y = DualSoftmaxValues(d, H, 3.0 * H, 10.0, 2.0, tau).resolution(eps)
        phi = rng.normal(size=(3, 4, d))
        phi /= np.maximum(1.0, np.linalg.norm(phi, axis=2, keepdims=True))
        weights, root = H * rng.normal(size=(2, d)), rng.normal(size=(d, d))
        step, along, Y = rng.normal(size=(2, d)), rng.normal(size=d), float(rng.uniform(0.0, 2.0))
        near = weights + 0.5 * e_Q * step / np.linalg.norm(step, axis=1, keepdims=True)
        M = root @ root.T
        near_M = M + 0.25 * e_Q**2 * np.outer(along, along) / (along @ along)
        near_Y = min(2.0, max(0.0, Y + e_Y * float(rng.choice([-1.0, 1.0]))))
        Q, near_Q = dual_action_values(phi, weights, M, H), dual_action_values(phi, near, near_M, H)
        assert np.abs(Q - near_Q).max() <= e_Q * (1 + 1e-9) + 1e-13 * H
        change = np.abs(dual_values(Q, Y, tau) - dual_values(near_Q, near_Y, tau)).max()
        assert change <= eps * (1 + 1e-9) + 1e-12 * H / tau

    repeated(draws, check, SEEDS)


def test_the_covering_number_is_that_of_its_parts_and_grows_with_the_logarithm_of_one_over_tau() -> None:
    values = DualSoftmaxValues(2, 4.0, 5.0, 7.0, 3.0, 0.1)
    e_Q, e_Y = values.resolution(0.5)
    assert e_Q == pytest.approx(0.25 / (1 + 4 * 4 / 0.2), rel=1e-15)
    assert e_Y == pytest.approx(0.5 * 0.1 / 16, rel=1e-15)
    parts = 4 * math.log(1 + 2 * 5 / (e_Q / 2)) + 3 * math.log(1 + 2 * 7 / (e_Q / 2) ** 2) + math.log(480)
    assert values.log_covering_number(0.5) == pytest.approx(parts, rel=1e-14)
    cold = [DualSoftmaxValues(2, 4.0, 5.0, 7.0, 3.0, t).log_covering_number(0.5) for t in (1e-8, 1e-9, 1e-10)]
    np.testing.assert_allclose(np.diff(cold), (2 * 2 + 2 * 3 + 1) * math.log(10), rtol=1e-5)
    assert DualSoftmaxValues(1, 1.0, 0.0, 0.0, 0.0, 1.0).log_covering_number(0.1) == 0.0


@pytest.mark.parametrize(
    ("change", "of_q", "of_M", "of_Y"),
    [
        ({"horizon": 1e200}, 1, 2, 2),
        ({"temperature": 1e-300}, 1, 2, 1),
        ({"temperature": 1e-170, "dual_bound": 0.0}, 1, 2, 0),
        ({"dual_bound": 1e308, "temperature": 1e-10}, 0, 0, 0),
        ({"eps": 1e-300}, 1, 2, 1),
    ],
)
def test_covering_numbers_do_not_overflow(change: dict[str, float], of_q: int, of_M: int, of_Y: int) -> None:
    """Ten times a number that is far from one adds so many log 10 for each dimension."""

    def size(factor: float) -> float:
        numbers = {"horizon": 4.0, "dual_bound": 1.0, "temperature": 0.1, "eps": 0.1} | change
        name, value = next(iter(change.items()))
        numbers[name] = value * factor
        eps = numbers.pop("eps")
        return DualSoftmaxValues(2, weight_norm=5.0, bonus_norm=7.0, **numbers).log_covering_number(eps)

    assert math.isfinite(size(1.0))
    if of_q:
        assert abs(size(1.0) - size(0.1)) == pytest.approx((4 * of_q + 3 * of_M + of_Y) * math.log(10), rel=1e-9)


def test_covering_numbers_count_on_where_balls_are_too_many_to_be_counted() -> None:
    values = DualSoftmaxValues(1, 1.0, 0.0, 0.0, 1e20, 0.5)
    assert values.log_covering_number(1.0) == pytest.approx(math.log(1e20), rel=1e-15)


def test_the_greedy_policys_utility_jumps_where_the_weighed_values_tie_and_their_maximum_does_not() -> None:
    """Q_r = (0, 1), Q_g = (1, 0), and Y moves by 1e-12 around 1; a softmax moves by no more than its modulus."""
    q_r, q_g = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
    low, high = 1.0 - 1e-12, 1.0 + 1e-12
    assert utility_of(q_r, q_g, low, 0.0)[0] == 0.0
    assert utility_of(q_r, q_g, high, 0.0)[0] == 1.0
    assert (q_r + high * q_g).max() - (q_r + low * q_g).max() == pytest.approx(1e-12, rel=1e-3)
    pi, other = (np.eye(2)[(q_r + Y * q_g).argmax(axis=1)] for Y in (low, high))
    assert np.abs(pi - other).sum() == 2.0
    smooth = utility_of(q_r, q_g, high, 0.01)[0] - utility_of(q_r, q_g, low, 0.01)[0]
    assert 0.0 < smooth <= 0.5 * softmax_modulus(2e-12, 0.01) * (1 + 1e-3)


@pytest.mark.parametrize("n_states", [1, 2, 17, 400])
def test_greedy_values_along_one_parameter_need_one_more_ball_than_there_are_states(n_states: int) -> None:
    """Where the greedy action changes at a Y of its own in each state, and the utility by one."""
    y = (np.arange(n_states) + 0.5) / n_states
    q_r, q_g = np.stack([0 * y, y], axis=1), np.stack([0 * y + 1, 0 * y], axis=1)
    for eps in (0.1, 0.49):
        assert greedy_covering_number(q_r, q_g, eps) == n_states + 1
    assert greedy_covering_number(q_r, q_g, 0.5) == 1
    for tau in (0.03, 0.1):
        assert softmax_covering_number(q_r, q_g, tau, 0.1) <= covering_bound(tau, 0.1)


def test_enough_thresholds_need_as_many_softmax_balls_as_are_proven_to_do() -> None:
    y = np.linspace(0.0, 1.0, 1001)
    q_r, q_g = np.stack([0 * y, y], axis=1), np.stack([0 * y + 1, 0 * y], axis=1)
    for tau in (0.1, 0.03):
        assert softmax_covering_number(q_r, q_g, tau, 0.1) == covering_bound(tau, 0.1)


def balls_from_the_left(values: Array, eps: float) -> int:
    """How many balls cover values (n, S) that do not decrease, each ball taking as many as it can."""
    balls, start = 1, values[0]
    for value in values:
        if (value - start).max() > 2 * eps:
            balls, start = balls + 1, value
    return balls


@pytest.mark.parametrize("seed", range(4))
def test_the_covers_are_those_of_values_on_a_grid(seed: int) -> None:
    """Greedy values between all crossings of two actions in any state; softmax values on grids from either side."""
    q_r, q_g = random_action_values(9, np.random.default_rng(seed))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = (q_r[:, :, None] - q_r[:, None, :]) / (q_g[:, None, :] - q_g[:, :, None])
    edges = np.concatenate([[0.0], np.unique(crossings[(crossings > 0) & (crossings < 1)]), [1.0]])
    greedy = np.array([utility_of(q_r, q_g, Y, 0.0) for Y in 0.5 * (edges[1:] + edges[:-1])])
    smooth = np.array([utility_of(q_r, q_g, Y, 0.1) for Y in np.linspace(0.0, 1.0, 1001)])
    assert (np.diff(greedy, axis=0) >= 0.0).all()
    assert (np.diff(smooth, axis=0) > 0.0).all()
    for eps in (0.03, 0.1, 0.3):
        assert greedy_covering_number(q_r, q_g, eps) == balls_from_the_left(greedy, eps)
        steps = np.diff(smooth, axis=0).max()
        few, many = balls_from_the_left(smooth, eps), balls_from_the_left(smooth, eps - steps)
        assert few <= softmax_covering_number(q_r, q_g, 0.1, eps) <= many <= few + 1


# ------------------------------------------------------------------------------------------------ bad input

Q, MU, SOME = [[0.0, 1.0]], [[0.5, 0.5]], Regularisation(0.5, 0.5)
LOG_MU = np.log(MU)

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "zero temperature": (lambda: softmax_policy(Q, 0.0), r"temperature is 0.0; pass a positive number"),
    "negative temperature": (lambda: softmax_policy(Q, -1.0), r"temperature is -1.0"),
    "nan temperature": (lambda: softmax_gap_bounds(Q, math.nan), r"temperature is nan; pass a finite"),
    "infinite temperature": (lambda: softmax_policy(Q, math.inf), r"temperature is inf; pass a finite"),
    "true": (lambda: softmax_policy(Q, True), r"temperature is True"),
    "nan q": (lambda: softmax_policy([[0.0], [math.nan]], 1.0), r"q\[1, 0\] is nan"),
    "infinite q": (lambda: regularised_greedy([[0.0, math.inf]], MU, SOME), r"q\[0, 1\] is inf; every action value"),
    "words": (lambda: softmax_policy([["a"]], 1.0), r"q has dtype"),
    "ragged": (lambda: softmax_policy([[0.0], [1.0, 2.0]], 1.0), r"q has rows of different lengths"),
    "scalar q": (lambda: softmax_policy(0.0, 1.0), r"q has shape \(\); expected \(..., A\)"),
    "empty q": (lambda: softmax_policy(np.zeros((2, 0)), 1.0), r"q has shape \(2, 0\)"),
    "mask of numbers": (lambda: softmax_policy(Q, 1.0, [[1, 0]]), r"live has dtype int64; pass a boolean mask"),
    "mask of another shape": (lambda: softmax_policy(Q, 1.0, [True, True]), r"live has shape \(2,\)"),
    "no actions": (lambda: softmax_policy(Q, 1.0, [[False, False]]), r"live\[0\] has no action"),
    "negative eta": (lambda: Regularisation(-0.1, 1.0), r"eta is -0.1"),
    "negative tau": (lambda: Regularisation(1.0, -0.1), r"tau is -0.1"),
    "nan eta": (lambda: Regularisation(math.nan, 1.0), r"eta is nan"),
    "nothing": (lambda: Regularisation(0.0, 0.0), r"eta and tau are both 0, which regularises nothing"),
    "too much": (lambda: Regularisation(1e308, 1e308), r"eta \+ tau overflows"),
    "munchausen alpha": (lambda: Regularisation.munchausen(1.1, 1.0), r"alpha is 1.1"),
    "munchausen temperature": (lambda: Regularisation.munchausen(0.5, 0.0), r"temperature is 0.0"),
    "no law": (lambda: regularised_greedy(Q, [[0.5, 0.6]], SOME), r"mu\[0\] sums to 1.1, not 1"),
    "no law without eta": (lambda: regularised_greedy(Q, [[0.5, 0.6]], Regularisation(0.0, 1.0)), r"mu\[0\] sums"),
    "negative mu": (lambda: regularised_greedy(Q, [[1.5, -0.5]], SOME), r"mu\[0, 1\] is -0.5"),
    "nan mu": (lambda: regularised_greedy(Q, [[math.nan, 1.0]], SOME), r"mu\[0, 0\] is nan"),
    "mu of another shape": (
        lambda: regularised_greedy(Q, [0.5, 0.5], SOME),
        r"mu has shape \(2,\); expected the shape",
    ),
    "scalar mu": (lambda: regularised_greedy(Q, 1.0, SOME), r"mu has shape \(\)"),
    "mu off the mask": (
        lambda: regularised_greedy(Q, [[1.0, 0.0]], SOME, [[False, True]]),
        r"mu\[0\] has no mass on the actions there are",
    ),
    "log mu of no law": (lambda: regularised_log_greedy(Q, [[0.0, 0.0]], SOME), r"exp\(log_mu\)\[0\] sums to 2"),
    "log mu without mass": (lambda: regularised_log_greedy(Q, [[-math.inf, -math.inf]], SOME), r"sums to 0"),
    "nan log mu": (lambda: regularised_log_greedy(Q, [[math.nan, 0.0]], SOME), r"log_mu\[0, 0\] is nan"),
    "infinite log mu": (lambda: regularised_log_greedy(Q, [[math.inf, 0.0]], SOME), r"sums to inf"),
    "other q": (lambda: perturbation_bounds(Q, LOG_MU, [[0.0]], LOG_MU, SOME), r"live has shape|other_q has shape"),
    "nan other q": (lambda: perturbation_bounds(Q, LOG_MU, [[0.0, math.nan]], LOG_MU, SOME), r"other_q\[0, 1\] is nan"),
    "other mu": (lambda: perturbation_bounds(Q, LOG_MU, Q, [[0.0, 0.0]], SOME), r"exp\(other_log_mu\)\[0\] sums"),
    "change": (lambda: softmax_reference_bound([1.0, math.inf], [0.0, 0.0], 1.0, SOME), r"change\[1\] is inf"),
    "reference change": (lambda: softmax_reference_bound([1.0], [0.0, 0.0], 1.0, SOME), r"reference_change has shape"),
    "no gap allowed": (lambda: temperature_for_gap(0.0, 2), r"eps is 0.0; only a greedy policy loses nothing"),
    "no actions at all": (lambda: temperature_for_gap(1.0, 0), r"n_actions is 0"),
    "half an action": (lambda: gap_constant(1.5), r"n_actions is 1.5"),  # type: ignore[arg-type]
    "gamma 1": (lambda: temperature_for_gap(1.0, 2, gamma=1.0), r"gamma is 1, where losses add up"),
    "gamma 2": (lambda: over_horizon(1.0, gamma=2.0), r"gamma is 2.0"),
    "gamma and horizon": (lambda: over_horizon(1.0, gamma=0.9, horizon=3), r"pass one of gamma and horizon"),
    "neither": (lambda: over_horizon(1.0), r"pass one of gamma and horizon"),
    "no stages": (lambda: over_horizon(1.0, horizon=0), r"horizon is 0"),
    "another word": (lambda: temperature_for_gap(1.0, 2, values="hard"), r'pass "optimal" or "soft"'),  # type: ignore[arg-type]
    "negative gap": (lambda: over_horizon([0.0, -1.0], horizon=3), r"gap\[1\] is -1.0"),
    "stages that are none": (lambda: over_horizon([[0.0, 1.0]], horizon=3), r"gap has shape \(1, 2\)"),
    "no gaps": (lambda: over_horizon([], horizon=3), r"gap has shape \(0,\)"),
    "negative span": (lambda: softmax_modulus([1.0, -1.0], 1.0), r"span\[1\] is -1.0"),
    "no dimension": (lambda: DualSoftmaxValues(0, 1.0, 1.0, 1.0, 1.0, 1.0), r"dim is 0"),
    "no horizon": (lambda: DualSoftmaxValues(1, 0.0, 1.0, 1.0, 1.0, 1.0), r"horizon is 0.0; pass a positive"),
    "negative bound": (lambda: DualSoftmaxValues(1, 1.0, 1.0, 1.0, -1.0, 1.0), r"dual_bound is -1.0"),
    "cold values": (lambda: DualSoftmaxValues(1, 1.0, 1.0, 1.0, 1.0, 0.0), r"temperature is 0.0"),
    "stages without number": (lambda: gap_constant(2, 10**400), r"horizon is above 1e\+300, too many stages"),
    "horizon without number": (lambda: temperature_for_gap(1.0, 2, horizon=10**400), r"horizon is above 1e\+300"),
    "weight without number": (lambda: Regularisation(10**5000, 1.0), r"eta is a whole number that float64 cannot hold"),
    "no radius": (lambda: DualSoftmaxValues(1, 1.0, 1.0, 1.0, 1.0, 1.0).log_covering_number(0.0), r"eps is 0.0"),
}


@pytest.mark.parametrize("call", [regularised_greedy, regularised_log_greedy])
def test_another_kind_of_regularisation_is_refused(call: Callable[..., object]) -> None:
    for wrong in (None, (1, 1), 0.5):
        with pytest.raises(TypeError, match=r"regularisation is .*; pass Regularisation\(eta, tau\)"):
            call(Q, MU if call is regularised_greedy else LOG_MU, wrong)
        with pytest.raises(TypeError, match=r"pass Regularisation"):
            perturbation_bounds(Q, LOG_MU, Q, LOG_MU, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"pass Regularisation"):
            softmax_reference_bound(Q, Q, 1.0, wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_with_its_place(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        call()
