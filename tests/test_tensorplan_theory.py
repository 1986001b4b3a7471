"""The constants of TensorPlan's analysis: their formulas, their events by simulation, their bound by search."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.agents.local.theory import TheoryConstants, hoeffding_samples, most_contradictions
from lookahead_rl.models import ModelError

EXAMPLE = TheoryConstants(dim=2, n_actions=2, horizon=5, B=5.0, delta=0.5, zeta_total=0.1)
DISCOUNTED = TheoryConstants(dim=3, n_actions=2, horizon=None, B=4.0, delta=0.3, zeta_total=0.05, gamma=0.8)
SMALLEST = TheoryConstants(dim=1, n_actions=1, horizon=1, B=1.0, delta=1.0, zeta_total=0.5)

constants = st.builds(
    TheoryConstants,
    dim=st.integers(1, 40),
    n_actions=st.integers(1, 6),
    horizon=st.integers(1, 50),
    B=st.floats(0.1, 50.0),
    delta=st.floats(0.01, 1.0),
    zeta_total=st.floats(1e-6, 0.5),
) | st.builds(
    TheoryConstants,
    dim=st.integers(1, 40),
    n_actions=st.integers(1, 6),
    horizon=st.none(),
    B=st.floats(0.1, 50.0),
    delta=st.floats(0.01, 1.0),
    zeta_total=st.floats(1e-6, 0.5),
    gamma=st.floats(0.0, 0.99),
)


# Formulas


def test_the_example_worked_out_by_hand() -> None:
    """M = 11, g = 1/80, mu = g^2 / 2, k = 6; everything else from these."""
    c = EXAMPLE
    assert (c.T, c.W, c.M, c.tau, c.sigma, c.k) == (5, 5, 11, 0.025, 0.125, 6)
    mu = (1 / 80) ** 2 / 2
    assert c.E == 182
    assert 181 * math.log(3) < 6 * math.log(1 + 4 * 181 * 11**4 / (6 * mu**2))
    assert 182 * math.log(3) > 6 * math.log(1 + 4 * 182 * 11**4 / (6 * mu**2))
    assert c.eps_d == pytest.approx(mu / (2 * math.sqrt(182) * 11))
    assert 183 * (c.m * 5 * 2 + 1) + 2 * 182 * 2 == c.N
    assert c.zeta == pytest.approx(0.1 / c.N)
    assert c.m == math.ceil(4 * 5 * math.log(1 / c.zeta) / 0.5)
    assert c.n_c == pytest.approx(32 * 121 * 25 * math.log(2 / c.zeta) / 0.25, rel=1e-6)
    assert c.n_d == pytest.approx(121 * math.log(2 / c.zeta) / (2 * c.eps_d**2), rel=1e-6)
    assert c.queries_to_plan == pytest.approx(183 * c.m * 5 * (2 * c.n_c + 1) + 182 * 2 * c.n_d)
    assert c.queries_to_execute == 5 * 2 * c.n_c
    assert 1e18 < c.total_queries < 1e19


@given(constants)
@settings(max_examples=150, deadline=None)
def test_every_loss_is_within_its_share_of_delta(c: TheoryConstants) -> None:
    """3/8 for the test, 1/4 for missed failures, 1/16 for wrong estimates, 1/16 for the end, 1/4 for the optimiser."""
    error = c.M * math.sqrt((math.log(2) + c.log_odds) / (2 * c.n_c))
    failures = c.log_odds / c.m
    shares = [
        c.W * (c.tau + error),
        c.B * failures,
        c.B * c.T * c.n_actions * c.zeta,
        c.gamma**c.T * c.B if c.horizon is None else 0.0,
        c.sigma,
    ]
    for share, of_delta in zip(shares, (3 / 8, 1 / 4, 1 / 16, 1 / 16, 1 / 4), strict=True):
        assert share <= of_delta * c.delta * (1 + 1e-12)
    assert sum(shares) <= c.delta * (1 + 1e-12)


@given(constants)
@settings(max_examples=150, deadline=None)
def test_every_step_of_the_count_of_contradictions_holds(c: TheoryConstants) -> None:
    """A cut leaves theta*, keeps the product of what it contradicted above mu, and that of survivors below eta."""
    log_M, log_mu = math.log(c.M), c.n_actions * math.log(c.delta / (8 * c.W)) - math.log(2)
    log_eta = c.log_eps_d + (c.n_actions - 1) * log_M
    assert math.log(c.E) + 2 * log_eta <= 2 * log_mu - math.log(4) + 1e-9
    assert c.E >= 14
    if c.eps_d > 1e-300 and math.isfinite(c.n_d):
        assert c.M * math.sqrt((math.log(2) + c.log_odds) / (2 * c.n_d)) <= c.eps_d * (1 + 1e-12)
        assert c.n_actions * math.log(c.delta / (8 * c.W) - c.eps_d) >= log_mu


@given(constants)
@settings(max_examples=100, deadline=None)
def test_all_events_together_fail_no_more_often_than_allowed(c: TheoryConstants) -> None:
    assert pytest.approx(c.zeta_total) == c.N * c.zeta
    assert (c.E + 1) * (c.m * c.T * c.n_actions + 1) <= c.N


def test_rollouts_are_the_fewest_that_satisfy_both_equations() -> None:
    c = EXAMPLE
    fewest = next(m for m in range(1, 10_000) if 40 * math.log((183 * (10 * m + 1) + 728) / 0.1) <= m)
    assert c.m == fewest


# Monotone, and inside float64


@given(constants)
@settings(max_examples=100, deadline=None)
def test_a_harder_problem_needs_more_queries(c: TheoryConstants) -> None:
    harder: list[dict[str, Any]] = [
        {"dim": c.dim + 1},
        {"n_actions": c.n_actions + 1},
        {"B": c.B * 1.1},
        {"delta": c.delta * 0.9},
        {"zeta_total": c.zeta_total * 0.5},
        {"horizon": c.horizon + 1} if c.horizon is not None else {"gamma": c.gamma + (1 - c.gamma) / 10},
    ]
    for change in harder:
        assert replace(c, **change).total_queries > c.total_queries, change


def test_counts_beyond_float64_are_infinite() -> None:
    for c in (
        replace(EXAMPLE, n_actions=300, dim=100),
        replace(EXAMPLE, n_actions=5000, dim=5000),
        replace(EXAMPLE, delta=1e-320),
        replace(EXAMPLE, B=1e308),
    ):
        assert c.total_queries == math.inf
        assert not c.feasible(None)
        assert not c.feasible(10**40)
        assert "inf queries" in c.refusal(None)
        assert len(c.describe()) == 15


def test_a_discount_needs_as_many_stages_as_the_norm_takes_to_fade() -> None:
    c = DISCOUNTED
    assert pytest.approx(5.0) == c.W
    assert pytest.approx(1 + 1.8 * 4) == c.M
    assert 0.8**c.T * 4 <= 0.3 / 16 < 0.8 ** (c.T - 1) * 4
    assert replace(c, gamma=0.0).T == 1
    assert replace(c, B=1e-3).T == 1


# Hoeffding and clean rollouts, by simulation


@pytest.mark.parametrize("zeta", [0.02, 0.2])
def test_means_of_that_many_samples_seldom_err_by_more(zeta: float) -> None:
    """Samples of the largest variance, -M/2 or M/2; a tenth as many fail."""
    M, error, rng = 11.0, 0.7, np.random.default_rng(0)
    n = int(hoeffding_samples(M, math.log(error), -math.log(zeta)))

    def violations(n: int) -> float:
        means = M * (rng.binomial(n, 0.5, size=20_000) / n - 0.5)
        return float((np.abs(means) > error).mean())

    assert violations(n) <= zeta
    assert violations(n // 10) > zeta


def test_a_test_of_that_many_samples_separates_consistent_from_contradicted() -> None:
    """At the constants themselves: Delta = 0 passes, |Delta| > 3 delta / (8 H) does not."""
    c, rng = EXAMPLE, np.random.default_rng(0)
    for delta, passes in ((0.0, True), (3 / 8 * c.delta / c.W, False), (c.delta / (8 * c.W), True)):
        means = c.M * (rng.binomial(int(c.n_c), 0.5 + delta / c.M, size=2_000) / c.n_c - 0.5)
        assert ((np.abs(means) <= c.tau) == passes).all()


def test_a_theta_that_fails_too_often_is_seldom_accepted() -> None:
    """With m rollouts for zeta = .1, failing with probability ln(1 / zeta) / m slips through a tenth of the time."""
    zeta, B, delta, rng = 0.1, 3.0, 0.5, np.random.default_rng(0)
    m = math.ceil(4 * B * math.log(1 / zeta) / delta)
    p = math.log(1 / zeta) / m
    assert B * p <= delta / 4
    assert (rng.binomial(m, p, size=20_000) == 0).mean() <= zeta
    assert (rng.binomial(m, p / 4, size=20_000) == 0).mean() > zeta


# Contradictions


def follows(x: np.ndarray, f: np.ndarray, mu: float, eta: float) -> bool:
    """Whether each f_i is far from orthogonal to x_i and nearly orthogonal to all x before."""
    products = np.abs(x @ f.T)
    return bool((np.diag(products) >= mu).all() and (np.tril(products.T, -1) <= eta).all())


def long_sequence(k: int, size: float, mu: float, n_max: int) -> tuple[np.ndarray, np.ndarray]:
    """Ever longer x_i and ever shorter f_i along each axis: as many contradictions as a line can hold, k times."""
    eta = mu / (2 * math.sqrt(n_max))
    n = 1 + int(math.log(size / mu) / math.log(mu / eta))
    lengths = (mu / eta) ** np.arange(n)
    x = np.concatenate([np.outer(mu * lengths / math.sqrt(size), e) for e in np.eye(k)])
    f = np.concatenate([np.outer(math.sqrt(size) / lengths, e) for e in np.eye(k)])
    return x * (1 + 1e-9), f


@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("ratio", [2.0, 1e3, 1e9, 1e30])
def test_the_longest_sequences_known_are_within_the_bound(k: int, ratio: float) -> None:
    """||x|| ||f|| <= ratio, mu = 1."""
    bound = most_contradictions(float(k), 2 * math.log(ratio))
    x, f = long_sequence(k, ratio, 1.0, int(bound))
    eta = 1 / (2 * math.sqrt(bound))
    assert follows(x, f, 1.0, eta * (1 + 1e-6))
    assert np.linalg.norm(x, axis=1).max() * np.linalg.norm(f, axis=1).max() <= ratio * (1 + 1e-6)
    assert k <= len(x) <= bound


@given(st.integers(0, 10_000), st.integers(1, 3), st.floats(1.5, 1e4))
@settings(max_examples=60, deadline=None)
def test_no_sequence_found_by_search_is_longer_than_the_bound(seed: int, k: int, ratio: float) -> None:
    """Short steps first, then orthogonal ones: random candidates, the first that fits is kept."""
    rng, bound = np.random.default_rng(seed), most_contradictions(float(k), 2 * math.log(ratio))
    eta, x, f = 1 / (2 * math.sqrt(bound)), np.zeros((0, k)), np.zeros((0, k))
    for _ in range(400):
        candidate, other = rng.normal(size=(2, k))
        if len(x) and rng.random() < 0.7:
            _, s, axes = np.linalg.svd(x, full_matrices=True)
            candidate = axes[min(k - 1, int(np.argmin(s)) if len(s) == k else k - 1)]
        f_new = candidate / np.linalg.norm(candidate)
        longest = np.abs(x @ f_new).max(initial=0.0)
        f_new = f_new * min(math.sqrt(ratio), eta / longest if longest > 0 else math.inf)
        x_new = f_new / (f_new @ f_new) * (1 + 1e-9) + 0.01 * other
        if abs(x_new @ f_new) >= 1 and np.linalg.norm(x_new) <= math.sqrt(ratio):
            x, f = np.vstack([x, x_new]), np.vstack([f, f_new])
    assert follows(x, f, 1.0, eta * (1 + 1e-9))
    assert 0 < len(x) <= bound
    V = np.eye(k) / (4 * ratio)
    for x_i, f_i in zip(x, f, strict=True):
        assert f_i @ V @ f_i <= 0.5 + 1e-9
        assert x_i @ np.linalg.solve(V, x_i) >= 2 - 1e-6
        V = V + np.outer(x_i, x_i)
    assert len(x) * math.log(3) <= np.linalg.slogdet(V * 4 * ratio)[1] + 1e-6
    assert np.linalg.slogdet(V * 4 * ratio)[1] <= k * math.log1p(4 * len(x) * ratio**2 / k) + 1e-9


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4), st.floats(0.1, 30.0), st.floats(0.0, 1.0))
@settings(max_examples=100, deadline=None)
def test_products_of_discriminants_are_as_small_as_the_scaled_norms_say(
    seed: int, d: int, A: int, B: float, gamma: float
) -> None:
    """|prod_a Delta_a| = |<x, F>| <= ||x|| ||F|| <= M^A after scaling u by c = sqrt(B / (1 + gamma))."""
    rng, M = np.random.default_rng(seed), 1 + (1 + gamma) * B
    u = rng.normal(size=(A, d))
    u *= (1 + gamma) / np.linalg.norm(u, axis=1, keepdims=True)
    theta = rng.normal(size=d)
    theta *= B / np.linalg.norm(theta)
    r, c = rng.random(A), math.sqrt(B / (1 + gamma))
    x, f = np.ones(1), np.ones(1)
    for a in range(A):
        x, f = np.kron(x, np.append(r[a], c * u[a])), np.kron(f, np.append(1.0, theta / c))
    assert x @ f == pytest.approx(float(np.prod(r + u @ theta)), abs=1e-9 * M**A)
    assert np.linalg.norm(x) * np.linalg.norm(f) <= M**A * (1 + 1e-12)


def test_the_bound_is_the_largest_solution_of_its_inequality() -> None:
    for k, log_ratio in ((1.0, 0.0), (6.0, 28.5), (285.0, 80.0), (1e12, 900.0)):
        n = most_contradictions(k, log_ratio)

        def exceeds(n: float, k: float = k, log_ratio: float = log_ratio) -> float:
            return n * math.log(3) - k * np.logaddexp(0, math.log(4 * n / k) + log_ratio)

        assert exceeds(n) >= 0
        assert exceeds(n * (1 - 1e-6) - 1) < 0


# What the planner says


def test_what_fits_the_budget_is_feasible() -> None:
    assert SMALLEST.total_queries < 1e9
    assert SMALLEST.feasible(10**9)
    assert SMALLEST.feasible(None)
    assert not SMALLEST.feasible(1000)


def test_the_refusal_names_the_cost_the_budget_and_the_way_out() -> None:
    text = EXAMPLE.refusal(10**6)
    assert text.startswith("mode='theory' needs 5.4e+18 queries (182 contradictions")
    assert "the budget is 1000000: use mode='practical'" in text
    assert "there is no limit" in EXAMPLE.refusal(None)


def test_the_table_names_formula_value_and_reason_of_every_constant() -> None:
    rows = {row.name: row for row in EXAMPLE.describe()}
    for name in ("T", "W", "M", "sigma", "tau", "k", "E", "eps_d", "m", "N", "zeta", "n_c", "n_d"):
        assert rows[name].value == getattr(EXAMPLE, name)
        assert rows[name].formula
        assert rows[name].reason
    assert rows["planning"].value + rows["execution"].value == EXAMPLE.total_queries
    assert len(str(EXAMPLE).splitlines()) == len(rows)
    assert "H" in rows["W"].formula
    assert "gamma" in {row.name: row for row in DISCOUNTED.describe()}["W"].formula


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim is 0"),
        ({"n_actions": 0}, "n_actions is 0"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": None}, r"horizon is None and gamma is 1\.0; pass a horizon, or a gamma below 1"),
        ({"gamma": 0.5}, r"horizon is 5 and gamma is 0\.5"),
        ({"B": 0.0}, "B is 0.0; pass a positive bound"),
        ({"B": math.inf}, "B is inf"),
        ({"delta": 0.0}, r"delta is 0\.0; it must lie in \(0, 5\]"),
        ({"delta": 5.1}, r"delta is 5\.1"),
        ({"zeta_total": 1.0}, r"zeta_total is 1\.0"),
        ({"zeta_total": 0.0}, r"zeta_total is 0\.0"),
    ],
)
def test_numbers_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        replace(EXAMPLE, **change)
