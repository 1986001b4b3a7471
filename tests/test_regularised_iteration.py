"""Soft, KL-regularised and mirror descent value iteration: literal recursions, closed forms, rates, true bounds."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from numpy.typing import NDArray

from lookahead_rl.models import FiniteHorizonMDP, ModelError, TabularMDP, garnet_mdp
from lookahead_rl.solvers import (
    Regularisation,
    Status,
    certify_regularised,
    certify_regularised_stages,
    evaluate_policy,
    regularised_error_bound,
    regularised_iteration,
    regularised_rate,
    regularised_sweeps,
    regularised_value_iteration,
    soft_backward_induction,
    value_iteration,
)
from lookahead_rl.solvers.bellman import decision_rows
from lookahead_rl.solvers.regularised_iteration import RegularisedSolution
from lookahead_rl.solvers.regularised_kernels import soft_sweep

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**31)
TEMPERATURES = st.floats(-3, 2).map(lambda x: 10.0**x)
WEIGHTS = [(0.0, 0.1), (0.02, 0.1), (0.1, 0.1), (0.9, 0.1), (2.0, 0.1), (0.5, 0.0)]


def log_sum_exp(x: Array) -> Array:
    best = x.max(axis=-1, keepdims=True)
    return best[..., 0] + np.log(np.exp(x - best).sum(axis=-1))


def garnet(gamma: float = 0.9, *, ends: bool = False, sparse: bool = False, seed: int = 0, n: int = 20) -> TabularMDP:
    """A Garnet of n states and 4 actions; with ``ends`` its last two states are terminal."""
    model = garnet_mdp(n, 4, 3, seed, gamma=gamma, rewards="normal")
    P, r, terminal = np.array(model.P), np.array(model.r), np.zeros(n, dtype=np.bool_)
    if ends:
        terminal[-2:] = True
        P[-2:], r[-2:] = 0.0, 0.0
        P[[-2, -1], :, [-2, -1]] = 1.0
    law = sp.csr_array(P.reshape(-1, n)) if sparse else P
    return TabularMDP(law, r, gamma, model.rho, terminal)


def soft_bellman(model: TabularMDP, tau: float, v: Array) -> Array:
    q = model.r + model.gamma * np.asarray(model.P_rows @ v).reshape(model.r.shape)
    return np.where(model.terminal, 0.0, tau * log_sum_exp(q / tau))


# ------------------------------------------------------------------------------------- the recursions, written out


def literal_mirror_descent(model: TabularMDP, regularisation: Regularisation) -> Iterator[Array]:
    """log pi_1, log pi_2, ... with a table of policies in memory, maximising over them by definition."""
    eta, tau, n_actions = regularisation.eta, regularisation.tau, model.n_actions
    log_pi = np.full(model.r.shape, -np.log(n_actions))
    q = model.r + eta * np.log(n_actions)
    while True:
        logits = (q + eta * log_pi) / (eta + tau)
        before, log_pi = log_pi, logits - log_sum_exp(logits)[:, None]
        pi = np.exp(log_pi)
        divergence, entropy = (pi * (log_pi - before)).sum(axis=1), -(pi * log_pi).sum(axis=1)
        v = np.where(model.terminal, 0.0, (pi * q).sum(axis=1) - eta * divergence + tau * entropy)
        q = model.r + model.gamma * np.asarray(model.P_rows @ v).reshape(q.shape)
        yield log_pi


def literal_munchausen(model: TabularMDP, alpha: float, temperature: float) -> Iterator[Array]:
    """log pi_1, log pi_2, ... by q <- r + alpha tau log pi + gamma P E_pi (q - tau log pi), pi = softmax(q / tau)."""
    q = np.array(model.r)
    while True:
        log_pi = q / temperature - log_sum_exp(q / temperature)[:, None]
        yield log_pi
        v = np.where(model.terminal, 0.0, (np.exp(log_pi) * (q - temperature * log_pi)).sum(axis=1))
        q = model.r + alpha * temperature * log_pi + model.gamma * np.asarray(model.P_rows @ v).reshape(q.shape)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_sweeps_make_the_policies_of_mirror_descent(weights: tuple[float, float], ends: bool) -> None:
    model, regularisation = garnet(ends=ends, sparse=ends), Regularisation(*weights)
    sweeps, live = regularised_sweeps(model, regularisation), ~model.terminal
    for sweep, log_pi in islice(zip(sweeps, literal_mirror_descent(model, regularisation), strict=False), 60):
        np.testing.assert_allclose(sweep.log_policy[live], log_pi[live], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 1.0])
def test_munchausen_is_the_same_iteration(alpha: float) -> None:
    model = garnet()
    sweeps = regularised_sweeps(model, Regularisation.munchausen(alpha, 0.3))
    for sweep, log_pi in islice(zip(sweeps, literal_munchausen(model, alpha, 0.3), strict=False), 60):
        np.testing.assert_allclose(sweep.log_policy, log_pi, rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("weights", [(0.0, 0.3), (0.4, 0.3)])
def test_a_bandit_is_worth_its_log_partition_function(weights: tuple[float, float]) -> None:
    r = np.array([[0.3, -1.0, 2.0, 0.0]])
    bandit = TabularMDP(np.ones((1, 4, 1)), r, 0.8, [1.0])
    solution = regularised_value_iteration(bandit, Regularisation(*weights), 1e-10)
    np.testing.assert_allclose(solution.value, 0.3 * log_sum_exp(r / 0.3) / (1 - 0.8), atol=1e-10)
    np.testing.assert_allclose(solution.log_policy, r / 0.3 - log_sum_exp(r / 0.3), atol=1e-9)


@pytest.mark.parametrize("tau", [0.05, 0.5, 5.0])
def test_the_soft_value_of_a_walk_is_the_binomial_theorem(tau: float) -> None:
    """exp(V/tau) sums exp(return/tau) over all 2^H walks: sum_k C(H, k) exp(k x/tau) = (1 + exp(x/tau))^H."""
    H, x = 30, 0.7
    walk = FiniteHorizonMDP(np.ones((1, 2, 1)), [[0.0, x]], H, [1.0])
    solution = soft_backward_induction(walk, tau)
    steps_left = np.arange(H, -1, -1)
    np.testing.assert_allclose(solution.value[:, 0], steps_left * tau * np.log1p(np.exp(x / tau)), rtol=1e-13)
    assert solution.status is Status.CONVERGED


def test_without_randomness_or_discount_the_exponentiated_value_solves_linear_equations() -> None:
    """z = exp(V/tau) obeys z(s) = sum_a exp(r(s, a)/tau) z(s') (Todorov, PNAS 106, 2009): a sum over all paths."""
    rng, n, tau = np.random.default_rng(1), 12, 0.4
    ahead = np.array([[rng.integers(s + 1, n) if s < n - 1 else s for _ in range(3)] for s in range(n)])
    r = np.where(np.arange(n)[:, None] < n - 1, rng.normal(size=(n, 3)), 0.0)
    maze = TabularMDP(np.eye(n)[ahead], r, 1.0, np.full(n, 1 / n), np.arange(n) == n - 1)
    matrix = np.zeros((n, n))
    for s in range(n - 1):
        np.add.at(matrix[s], ahead[s], np.exp(r[s] / tau))
    z = np.linalg.solve(np.eye(n) - matrix, np.eye(n)[-1])
    for eta in (0.0, 0.2):
        solution = regularised_value_iteration(maze, Regularisation(eta, tau), 1e-10)
        assert solution.status is Status.CONVERGED
        np.testing.assert_allclose(solution.value, tau * np.log(z), atol=1e-10)


# ------------------------------------------------------------------------------------- independent methods


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_an_exponential_cone_programme_has_the_same_solution(tau: float, ends: bool) -> None:
    """V*_tau is the least v with v(s) >= tau log sum_a exp((r + gamma P v)(s, a) / tau) (Ziebart's thesis, 2010)."""
    import cvxpy as cp

    model = garnet(ends=ends, n=6, seed=4)
    v = cp.Variable(model.n_states)
    bounds = [v[model.terminal] == 0] if ends else []
    live = np.flatnonzero(~model.terminal)
    bounds += [tau * cp.log_sum_exp((model.r[s] + model.gamma * model.P[s] @ v) / tau) <= v[s] for s in live]
    cp.Problem(cp.Minimize(cp.sum(v)), bounds).solve(solver=cp.CLARABEL, tol_gap_rel=1e-9, tol_gap_abs=1e-9)
    solution = regularised_value_iteration(model, Regularisation(0.2, tau), 1e-10)
    np.testing.assert_allclose(solution.value, v.value, atol=1e-6)


def exact_soft_value(model: TabularMDP, tau: float, log_policy: Array | None = None) -> list[mpf]:
    """V^pi_tau, or V*_tau by Newton's method, which is soft policy iteration, on the float64 numbers to 50 digits."""
    S, A, gamma, tau = model.n_states, model.n_actions, mpf(model.gamma), mpf(tau)
    P, r = np.asarray(model.P_rows.todense() if model.is_sparse else model.P_rows), model.r

    def action_values(v: list[mpf], s: int) -> list[mpf]:
        return [mpf(r[s, a]) + gamma * mp.fsum(mpf(P[s * A + a, t]) * v[t] for t in range(S)) for a in range(A)]

    v = [mpf(0)] * S
    for _ in range(60):
        system, right = mp.eye(S), mp.zeros(S, 1)
        for s in np.flatnonzero(~model.terminal).tolist():
            logits = [x / tau for x in action_values(v, s)] if log_policy is None else map(mpf, log_policy[s])
            weights = [mp.exp(x) for x in logits]
            law = [w / mp.fsum(weights) for w in weights]
            right[s] = mp.fsum(p * (mpf(r[s, a]) - tau * mp.log(p)) for a, p in enumerate(law) if p)
            for t in range(S):
                system[s, t] -= gamma * mp.fsum(law[a] * mpf(P[s * A + a, t]) for a in range(A))
        before, v = v, list(mp.lu_solve(system, right))
        moved = max(abs(a - b) for a, b in zip(v, before, strict=True))
        if log_policy is not None or moved <= mpf(10) ** -40 * max(map(abs, v)):
            return v
    raise AssertionError("Newton's method did not converge")


def encloses(lower: Array, exact: list[mpf], upper: Array) -> bool:
    return all(a <= x <= b for a, x, b in zip(lower.tolist(), exact, upper.tolist(), strict=True))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("ends", [False, True])
def test_bounds_hold_in_fifty_digits_however_the_answer_is_corrupted(ends: bool, scale: float) -> None:
    rng, tau = np.random.default_rng(3), 0.2 * scale
    model = garnet(ends=ends, n=4, seed=2, gamma=0.8)
    model = TabularMDP(model.P, scale * model.r, model.gamma, model.rho, model.terminal)
    with mp.workdps(50):
        optimum = exact_soft_value(model, tau)
        for eta in (0.0, 0.3 * scale):
            answer = regularised_value_iteration(model, Regularisation(eta, tau), 1e-13 * scale)
            certificate = answer.certificate
            assert certificate.gap <= 1e-12 * scale
            worth = exact_soft_value(model, tau, answer.log_policy)
            assert encloses(certificate.lower, worth, certificate.upper)
            assert encloses(certificate.lower, optimum, certificate.upper)
        settled = answer.value
        for _ in range(300):  # until T v = v in float64, where nothing but the bound on rounding is left
            settled = soft_bellman(model, tau, settled)
        bounds = certify_regularised(model, tau, settled, answer.log_policy)
        assert encloses(bounds.lower, optimum, bounds.upper)
        for size in (1e-9, 1e-3, 10.0):
            value = answer.value + scale * size * rng.normal(size=4) * ~model.terminal
            logits = answer.log_policy + size * rng.normal(size=(4, 4))
            log_policy = logits - log_sum_exp(logits)[:, None]
            bounds = certify_regularised(model, tau, value, log_policy)
            worth = exact_soft_value(model, tau, log_policy)
            assert encloses(bounds.lower, worth, np.asarray(optimum))
            assert encloses(bounds.lower, optimum, bounds.upper)
            missed = max(abs(mpf(a) - b) for a, b in zip(value.tolist(), optimum, strict=True))
            assert bounds.gap >= missed
            assert bounds.gap >= max(b - a for a, b in zip(worth, optimum, strict=True))
            assert ((bounds.lower <= value) & (value <= bounds.upper)).all()
            bounds = certify_regularised(model, tau, answer.value, log_policy)  # the policy alone is wrong
            assert encloses(bounds.lower, worth, bounds.upper)
            assert encloses(bounds.lower, optimum, bounds.upper)


def test_a_policy_that_leaves_actions_out_is_certified() -> None:
    model, tau = garnet(n=4), 0.2
    log_policy = np.full((4, 4), -np.inf)
    log_policy[np.arange(4), [0, 3, 1, 1]] = 0.0
    value = evaluate_policy(model, np.array([0, 3, 1, 1])).value  # certainty has no entropy
    bounds = certify_regularised(model, tau, value, log_policy)
    np.testing.assert_allclose(bounds.lower, value, atol=1e-10)
    assert (bounds.upper >= regularised_value_iteration(model, Regularisation(0.0, tau)).value).all()


def test_a_value_of_a_terminal_state_widens_the_bounds() -> None:
    model = garnet(ends=True)
    answer = regularised_value_iteration(model, Regularisation(0.0, 0.1))
    bounds = certify_regularised(model, 0.1, answer.value + 3.0 * model.terminal, answer.log_policy)
    assert bounds.gap >= 3.0
    assert not bounds.lower[model.terminal].any()


# ------------------------------------------------------------------------------------- rates and limits


@pytest.mark.parametrize("eta", [0.0, 0.02, 0.1, 0.5, 0.9, 2.0])
def test_errors_keep_to_the_proven_bound_and_shrink_at_the_proven_rate(eta: float) -> None:
    """A 20-state Garnet, gamma = .9, tau = .1: the rates are .9 up to eta = .9, then eta / (eta + tau) = .952."""
    model, regularisation = garnet_mdp(20, 4, 3, 0, gamma=0.9), Regularisation(eta, 0.1)
    best = regularised_value_iteration(model, regularisation, 1e-12)
    start_error, size = np.abs(best.value).max(), np.abs(model.r).max()
    errors = []
    for sweep in islice(regularised_sweeps(model, regularisation), 300):
        errors.append(np.abs(sweep.value - best.value).max())
        bound = regularised_error_bound(sweep.k, 0.9, regularisation, start_error, size)
        assert errors[-1] <= bound * (1 + 1e-9) + 1e-11
    rate = (errors[199] / errors[99]) ** (1 / 100)
    proven = regularised_rate(0.9, regularisation)
    assert proven == max(0.9, eta / (eta + 0.1))
    assert abs(rate - proven) <= (0.012 if eta == 0.9 else 0.002)  # at alpha = gamma the bound is k gamma^k
    np.testing.assert_allclose(best.log_policy, best.q / 0.1 - log_sum_exp(best.q / 0.1)[:, None], atol=1e-8)


def test_alone_the_divergence_averages_values_and_ends_greedy() -> None:
    model, eta = garnet(), 0.5
    v = value_iteration(model, 1e-12).value
    constant = (0.9 * np.abs(v).max() + eta * np.log(4)) / (1 - 0.9)
    errors = [
        np.abs(sweep.value - v).max() for sweep in islice(regularised_sweeps(model, Regularisation(eta, 0.0)), 400)
    ]
    k = np.arange(1, 401)
    assert (errors * k <= constant).all()
    assert 1.8 <= errors[199] / errors[399] <= 2.2  # no better than 1/k
    solution = regularised_value_iteration(model, Regularisation(eta, 0.0), 1e-9)
    assert solution.status is Status.CONVERGED
    assert np.abs(solution.value - v).max() <= 1e-9
    greedy = value_iteration(model, 1e-12).policy
    assert (solution.policy.argmax(axis=1) == greedy).all()
    assert (solution.policy.max(axis=1) >= 1 - 1e-9).all()


def test_tied_actions_share_the_limit() -> None:
    r = np.array([[1.0, 1.0, 0.5]])
    solution = regularised_value_iteration(TabularMDP(np.ones((1, 3, 1)), r, 0.9, [1.0]), Regularisation(0.2, 0.0))
    np.testing.assert_allclose(solution.policy, [[0.5, 0.5, 0.0]], atol=1e-8)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("ends", [False, True])
def test_both_certificates_are_true_and_narrow(weights: tuple[float, float], ends: bool) -> None:
    model, regularisation = garnet(ends=ends), Regularisation(*weights)
    optimum = value_iteration(model, 1e-12).value
    solution = regularised_value_iteration(model, regularisation, 1e-9)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-9
    plain = solution.unregularised
    worth = evaluate_policy(model, solution.policy).value
    np.testing.assert_allclose(solution.policy_value, worth, atol=1e-10)
    assert (plain.lower <= worth + 1e-12).all()
    assert (worth <= optimum + 1e-12).all()
    assert (optimum <= plain.upper + 1e-12).all()
    assert (worth - plain.lower <= 1e-10).all()
    allowed = regularisation.tau * np.log(4) / (1 - 0.9)
    assert (optimum - worth <= allowed + 1e-9).all()
    q = model.r + 0.9 * np.asarray(model.P_rows @ solution.value).reshape(solution.q.shape)
    np.testing.assert_allclose(solution.q, q, atol=1e-12)


@settings(max_examples=12)
@given(SEEDS, TEMPERATURES, st.floats(0, 3))
def test_the_soft_value_is_the_fixed_point_and_moves_as_it_should(seed: int, tau: float, eta: float) -> None:
    """Fixed point; rewards + c add c/(1 - gamma); rewards and weights scale it; it rises with tau, from v*."""
    model = garnet(seed=seed, n=5, gamma=0.8)
    tol = 1e-9 * (1 + tau)

    def value(weights: Regularisation, c: float = 0.0, scale: float = 1.0) -> Array:
        moved = TabularMDP(model.P, scale * (model.r + c), model.gamma, model.rho)
        solution = regularised_value_iteration(moved, weights, tol)
        assert solution.status is Status.CONVERGED
        return solution.value

    v = value(Regularisation(eta * tau, tau))
    np.testing.assert_allclose(v, soft_bellman(model, tau, v), atol=tol)
    np.testing.assert_allclose(value(Regularisation(0.0, tau)), v, atol=2 * tol)
    np.testing.assert_allclose(value(Regularisation(0.0, tau), c=1.0), v + 5.0, atol=2 * tol)
    np.testing.assert_allclose(value(Regularisation(0.0, 2 * tau), scale=2.0), 2 * v, atol=6 * tol)
    assert (value(Regularisation(0.0, 2 * tau)) >= v - 4 * tol).all()
    optimum = value_iteration(model).value
    assert ((v >= optimum - 2 * tol) & (v <= optimum + tau * np.log(4) / 0.2 + 2 * tol)).all()


@settings(max_examples=20)
@given(SEEDS, TEMPERATURES)
def test_the_operator_is_monotone_and_a_contraction(seed: int, tau: float) -> None:
    model, rng = garnet(seed=seed, n=6), np.random.default_rng(seed)
    v, w = rng.normal(size=(2, 6)) * 10.0 ** rng.uniform(-2, 3)
    first, second = (next(regularised_sweeps(model, Regularisation(0.0, tau), x)).value for x in (v, w))
    rounding = 1e-13 * (np.abs(v).max() + np.abs(w).max() + tau)
    assert np.abs(first - second).max() <= 0.9 * np.abs(v - w).max() + rounding
    above = next(regularised_sweeps(model, Regularisation(0.0, tau), np.maximum(v, w))).value
    assert (above >= np.maximum(first, second) - rounding).all()


@pytest.mark.parametrize(
    ("weights", "far"),
    [((0.0, 0.1), 1e9), ((0.0, 0.1), 1e12), ((0.3, 0.1), -1e308), ((0.0, 0.1), 1e308), ((0.3, 0.0), 1e9)],
)
def test_a_start_far_off_costs_no_digits(weights: tuple[float, float], far: float) -> None:
    model, regularisation = garnet(), Regularisation(*weights)
    near = regularised_value_iteration(model, regularisation, 1e-9)
    answer = regularised_value_iteration(model, regularisation, 1e-9, start=np.full(20, far))
    assert answer.status is Status.CONVERGED
    assert answer.certificate.gap <= 1e-9
    np.testing.assert_allclose(answer.value, near.value, atol=2e-9)


def test_the_sweeps_do_not_depend_on_what_is_written_into_them() -> None:
    model, regularisation = garnet(), Regularisation(0.1, 0.1)
    kept = [sweep.value for sweep in islice(regularised_sweeps(model, regularisation), 3)]
    for sweep, value in zip(regularised_sweeps(model, regularisation), kept, strict=False):
        np.testing.assert_array_equal(sweep.value, value)
        sweep.value[:] = 99.0


def test_a_start_at_the_answer_is_done_at_once() -> None:
    model, regularisation = garnet(), Regularisation(0.0, 0.1)
    solution = regularised_value_iteration(model, regularisation, 1e-10)
    again = regularised_value_iteration(model, regularisation, 1e-9, start=solution.value)
    assert again.iterations == 1


# ------------------------------------------------------------------------------------- finite horizons, gamma = 1


def stages(H: int = 7, seed: int = 0) -> FiniteHorizonMDP:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(5), size=(H, 5, 3))
    r = rng.normal(size=(H, 5, 3))
    P[:, 4], r[:, 4] = np.eye(5)[4], 0.0
    return FiniteHorizonMDP(P, r, H, np.full(5, 0.2), np.arange(5) == 4)


@pytest.mark.parametrize("tau", [0.01, 0.3, 10.0])
def test_backward_induction_agrees_with_sweeps_over_the_unrolled_model(tau: float) -> None:
    model = stages()
    solution = soft_backward_induction(model, tau)
    unrolled = regularised_value_iteration(model.to_tabular(), Regularisation(0.1, tau), 1e-9)
    assert unrolled.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value.ravel(), unrolled.value, atol=1e-9)
    np.testing.assert_allclose(solution.policy_value.ravel(), unrolled.policy_value, atol=1e-7)
    assert solution.status is Status.CONVERGED
    plain = solution.unregularised
    v = np.asarray([evaluate_policy(model, solution.policy).value])
    assert ((plain.lower <= v + 1e-12) & (v <= plain.upper)).all()


def test_bounds_over_stages_widen_with_a_corrupted_answer() -> None:
    model, tau = stages(), 0.3
    best = soft_backward_induction(model, tau)
    for size in (-0.5, 0.5):
        value = best.value.copy()
        value[3, 2] += size
        bounds = certify_regularised_stages(model, tau, value, best.log_policy)
        assert bounds.gap >= 0.5
        assert ((bounds.lower <= best.value) & (best.value <= bounds.upper)).all()
    uniform = np.full_like(best.log_policy, -np.log(3))
    bounds = certify_regularised_stages(model, tau, best.value, uniform)
    paid = np.where(model.terminal[:, None], 0.0, model.r + tau * np.log(3))
    worth = evaluate_policy(FiniteHorizonMDP(model.P, paid, 7, model.rho, model.terminal), np.exp(uniform)).value
    assert (best.value - worth).max() > 0.01
    assert ((bounds.lower <= worth) & (best.value <= bounds.upper)).all()
    with pytest.raises(ValueError, match=r"exp\(log_policy\)\[2, 0\] sums to 1.10"):
        certify_regularised_stages(model, tau, value, np.where(np.eye(7)[2][:, None, None] > 0, -1.0, uniform))


def test_play_that_need_not_end_is_refused_without_discount() -> None:
    model = garnet(1.0, ends=True)
    with pytest.raises(ValueError, match=r"model has gamma = 1, but play around state \d+ need not end"):
        regularised_value_iteration(model, Regularisation(0.0, 0.1))
    with pytest.raises(ValueError, match="model has gamma = 1"):
        certify_regularised(model, 0.1, np.zeros(20), np.full((20, 4), -np.log(4)))


# ------------------------------------------------------------------------------------- how it ends


def test_an_interrupt_keeps_the_best_answer_with_true_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    model, regularisation = garnet(), Regularisation(0.5, 0.1)
    best = regularised_value_iteration(model, regularisation)
    original = regularised_iteration.soft_maximum
    for last in (0, 7):
        calls = iter(range(100))

        def stop(q: Array, temperature: float, last: int = last, calls: Iterator[int] = calls) -> Array:
            if next(calls) == last:
                raise KeyboardInterrupt
            return original(q, temperature)

        with monkeypatch.context() as patch:
            patch.setattr(regularised_iteration, "soft_maximum", stop)
            answer = regularised_value_iteration(model, regularisation)
        assert answer.status is Status.INTERRUPTED
        assert answer.iterations == last
        bounds = answer.certificate
        assert ((bounds.lower <= best.value) & (best.value <= bounds.upper)).all()


@pytest.mark.parametrize("weights", [(0.0, 0.1), (1.0, 0.0)])
def test_the_iteration_limit_and_the_limit_of_precision_are_told(weights: tuple[float, float]) -> None:
    model, regularisation = garnet(), Regularisation(*weights)
    short = regularised_value_iteration(model, regularisation, max_iterations=3)
    assert (short.status, short.iterations, len(short.history)) == (Status.ITERATION_LIMIT, 3, 3)
    assert np.isnan(short.measured_rate)
    fine = regularised_value_iteration(model, regularisation, 1e-300)
    assert fine.status is Status.PRECISION_LIMIT
    assert fine.certificate.gap <= 1e-11


def test_what_each_sweep_promises_is_kept() -> None:
    """Stopped anywhere, the certified gap is at most the last entry of history, up to rounding."""
    for weights in [(0.0, 0.1), (0.3, 0.1), (2.0, 0.02)]:
        for ends in (False, True):
            for limit in (1, 2, 5, 20, 60):
                model = garnet(ends=ends)
                answer = regularised_value_iteration(model, Regularisation(*weights), 1e-12, max_iterations=limit)
                assert answer.certificate.gap <= answer.history[-1] * (1 + 1e-9) + 1e-11


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("weights", [(0.0, 0.1), (0.3, 0.1), (0.3, 0.0)])
def test_values_without_a_bound_on_steps_are_finite_between_infinite_bounds(
    weights: tuple[float, float], compiled: bool, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled:
        monkeypatch.setattr(regularised_iteration, "COMPILED_FROM", 0)
    model = garnet(float(np.nextafter(1.0, 0.0)), ends=ends, sparse=compiled)
    answer = regularised_value_iteration(model, Regularisation(*weights), max_iterations=300)
    live = ~model.terminal
    assert np.isfinite(answer.value).all()
    assert np.isfinite(answer.policy_value).all()
    assert (answer.certificate.lower[live] == -np.inf).all()
    assert (answer.certificate.upper[live] == np.inf).all()
    assert answer.status is not Status.CONVERGED


@pytest.mark.parametrize("weights", [(0.0, 0.1), (0.3, 0.1), (0.3, 0.0)])
def test_without_a_bound_on_steps_the_sweeps_go_on_until_float64_tells_them_apart_no_more(
    weights: tuple[float, float],
) -> None:
    law = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.0, 1.0], [0.0, 1.0]]])
    exact, near = (
        regularised_value_iteration(
            TabularMDP(law, [[1.0, 0.5], [0.0, 0.0]], gamma, [1.0, 0.0], [False, True]), Regularisation(*weights)
        )
        for gamma in (1.0, float(np.nextafter(1.0, 0.0)))
    )
    assert exact.status is Status.CONVERGED
    assert near.status is Status.PRECISION_LIMIT
    np.testing.assert_allclose(near.value, exact.value, rtol=1e-8)


@pytest.mark.filterwarnings("error")
def test_rows_that_sum_to_more_than_one_beside_no_discount_are_survived() -> None:
    mass = 1 + 9e-10
    model = TabularMDP(np.full((2, 2, 2), 0.5 * mass), [[0.0, 1.0], [1.0, 2.0]], 1 - 1e-10, [1.0, 0.0])
    answer = regularised_value_iteration(model, Regularisation(0.0, 0.1))
    assert np.isfinite(answer.value).all()
    assert answer.certificate.gap == np.inf
    assert answer.history[-1] == np.inf


@pytest.mark.filterwarnings("error")
def test_bounds_that_overflow_are_infinite() -> None:
    model, halves = TabularMDP(np.ones((1, 2, 1)), [[0.0, 1e308]], 0.9, [1.0]), np.log([[0.5, 0.5]])
    for tau, value in [(1.0, 1e308), (1e308, 0.0), (1.7e308, -1e308)]:
        bounds = certify_regularised(model, tau, [value], halves)
        assert (bounds.lower <= value).all()
        assert (bounds.upper == np.inf).all()
    walk = FiniteHorizonMDP(np.ones((1, 2, 1)), [[0.0, 1e308]], 3, [1.0])
    assert certify_regularised_stages(walk, 1e308, np.zeros((4, 1)), np.tile(halves, (3, 1, 1))).upper[0, 0] == np.inf


# ------------------------------------------------------------------------------------- the compiled sweeps


@pytest.mark.parametrize("n_actions", [1, 3, 5000])
@pytest.mark.parametrize("tau", [1e-300, 1e-3, 1.0, 1e300])
def test_the_compiled_sweep_is_exact(tau: float, n_actions: int) -> None:
    n = 30
    rows = decision_rows(garnet_mdp(n, n_actions, 3, 0, sparse=True, rewards="normal"))
    P, v, out, terminal = rows.P, 10 * np.random.default_rng(0).normal(size=n), np.empty(n), np.arange(n) == 7
    terminal.flags.writeable = False  # as in every model, for which there is compiled code
    low, high = soft_sweep(P.data, P.indices, P.indptr, rows.r, terminal, 0.7, 0.9, tau, v, out)
    q = (0.7 * rows.r + 0.9 * (P @ v)).reshape(n, -1)
    best = q.max(axis=1)
    with np.errstate(over="ignore"):
        expected = best + tau * np.log(np.exp((q - best[:, None]) / tau).sum(axis=1))
    expected[7] = 0.0
    np.testing.assert_allclose(out, expected, rtol=1e-15, atol=1e-14 * (10 + min(tau, 1.0)))
    assert (low, high) == ((out - v).min(), (out - v).max())


@pytest.mark.parametrize("weights", [(0.0, 0.1), (0.4, 0.1), (0.4, 0.0)])
def test_compiled_and_other_sweeps_agree(weights: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    model, regularisation = garnet(sparse=True, n=60, ends=True), Regularisation(*weights)
    plain = [sweep.value for sweep in islice(regularised_sweeps(model, regularisation), 20)]
    monkeypatch.setattr(regularised_iteration, "COMPILED_FROM", 0)
    compiled = [sweep.value for sweep in islice(regularised_sweeps(model, regularisation), 20)]
    np.testing.assert_allclose(compiled, plain, atol=1e-13)


@pytest.mark.parametrize("most_sweeps", [0, 1000])
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("weights", [(0.4, 0.1), (0.4, 0.0)])
def test_large_models_are_solved_as_small_ones(
    weights: tuple[float, float], ends: bool, most_sweeps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, regularisation = garnet(sparse=True, n=60, ends=ends), Regularisation(*weights)
    small = regularised_value_iteration(model, regularisation, 1e-7)
    monkeypatch.setattr(regularised_iteration, "COMPILED_FROM", 0)
    monkeypatch.setattr(regularised_iteration, "MOST_SWEEPS", most_sweeps)
    large = regularised_value_iteration(model, regularisation, 1e-7)
    assert small.status is large.status is Status.CONVERGED
    np.testing.assert_allclose(large.value, small.value, atol=1e-7)
    np.testing.assert_allclose(large.policy_value, evaluate_policy(model, large.policy).value, atol=1e-8)
    assert abs(large.unregularised.gap - small.unregularised.gap) <= 1e-6


# ------------------------------------------------------------------------------------- bad input


def test_bad_input_is_named() -> None:
    model, regularisation = garnet(), Regularisation(0.0, 0.1)
    with pytest.raises(ModelError, match="eta is -1"):
        Regularisation(-1.0, 0.1)
    with pytest.raises(ModelError, match="eta and tau are both 0"):
        Regularisation(0.0, 0.0)
    with pytest.raises(TypeError, match=r"regularisation is 0\.1; pass Regularisation\(eta, tau\)"):
        regularised_value_iteration(model, 0.1)
    with pytest.raises(TypeError, match=r"model is a FiniteHorizonMDP; .* soft_backward_induction"):
        regularised_value_iteration(stages(), regularisation)
    with pytest.raises(TypeError, match="model is a TabularMDP; pass a FiniteHorizonMDP"):
        soft_backward_induction(model, 0.1)
    with pytest.raises(ValueError, match="tol is 0"):
        regularised_value_iteration(model, regularisation, 0)
    with pytest.raises(ValueError, match="max_iterations is 0"):
        regularised_value_iteration(model, regularisation, max_iterations=0)
    with pytest.raises(ValueError, match=r"start\[3\] is nan"):
        regularised_value_iteration(model, regularisation, start=np.where(np.arange(20) == 3, np.nan, 0))
    with pytest.raises(ModelError, match="temperature is -1"):
        soft_backward_induction(stages(), -1.0)
    with pytest.raises(ModelError, match="tau = 0"):
        regularised_error_bound(3, 0.9, Regularisation(1.0, 0.0), 1.0, 1.0)
    for wrong, message in [([1j] * 20, "complex"), (["a"] * 20, "dtype"), ([[1], [1, 2]], "rows of different lengths")]:
        with pytest.raises(ModelError, match=f"start has .*{message}"):
            regularised_value_iteration(model, regularisation, start=wrong)
        with pytest.raises(ModelError, match=f"value has .*{message}"):
            certify_regularised(model, 0.1, wrong, np.full((20, 4), -np.log(4)))


def test_models_of_another_kind_are_refused_by_certificates() -> None:
    for wrong in (3, stages()):
        with pytest.raises(TypeError, match="pass a TabularMDP"):
            certify_regularised(wrong, 0.1, np.zeros(20), np.zeros((20, 1)))
    with pytest.raises(TypeError, match="model is a TabularMDP; pass a FiniteHorizonMDP"):
        certify_regularised_stages(garnet(), 0.1, np.zeros((2, 20)), np.zeros((1, 20, 1)))


def test_values_that_would_overflow_are_refused_with_the_argument_to_change() -> None:
    bandit = TabularMDP(np.ones((1, 2, 1)), [[0.0, 1e308]], 0.9, [1.0])
    walk = FiniteHorizonMDP(np.ones((1, 2, 1)), [[0.0, 1.0]], 3, [1.0])
    with pytest.raises(ModelError, match=r"model.r is up to 1e\+308 .* divide rewards and regularisation.tau"):
        regularised_value_iteration(bandit, Regularisation(0.0, 0.1))
    with pytest.raises(ModelError, match=r"regularisation.eta is 1e\+308"):
        regularised_value_iteration(garnet(), Regularisation(1e308, 0.0))
    with pytest.raises(ModelError, match=r"temperature is 1e\+308, so that values over 3 steps may exceed"):
        soft_backward_induction(walk, 1e308)


def test_weights_near_the_least_float_are_as_good_as_greedy() -> None:
    model, least = garnet(), float(np.nextafter(0.0, 1.0))
    for weights in [(least, 0.0), (0.0, least)]:
        answer = regularised_value_iteration(model, Regularisation(*weights))
        np.testing.assert_allclose(answer.value, value_iteration(model).value, atol=2e-8)


# ------------------------------------------------------------------------------------- the error bound by itself


@settings(max_examples=60)
@given(st.integers(0, 60), st.floats(0, 0.999), st.sampled_from([0.0, 1e-9, 0.1, 0.9, 5.0]), st.floats(0, 5))
def test_the_error_bound_is_its_sum(k: int, gamma: float, eta: float, size: float) -> None:
    regularisation = Regularisation(eta, 0.1)
    alpha = regularisation.alpha
    total = gamma**k * 3.0 + sum(gamma ** (k - j) * alpha**j for j in range(1, k + 1)) * size
    bound = regularised_error_bound(k, gamma, regularisation, 3.0, size)
    np.testing.assert_allclose(bound, total, rtol=1e-12, atol=1e-307)


def test_the_error_bound_is_quick_positive_and_refuses_what_is_out_of_range() -> None:
    some = Regularisation(0.9, 0.1)
    for k in (10**9, 10**400):
        assert 0.0 < regularised_error_bound(k, 0.9, some, 1.0, 1.0) <= 1e-300
    assert regularised_error_bound(7200, 0.9, some, 1e300, 0.0) == pytest.approx(0.9**3600 * 1e300 * 0.9**3600)
    assert regularised_error_bound(5, 0.9, some, 0.0, 0.0) == 0.0
    for arguments, message in [
        ((1.0, 1.0, 1.0), "gamma is 1"),
        ((0.9, -1.0, 1.0), "start_error is -1"),
        ((0.9, 1.0, -2.0), "reward_size is -2"),
    ]:
        with pytest.raises(ModelError, match=message):
            regularised_error_bound(5, arguments[0], some, *arguments[1:])
    for call in (lambda: regularised_rate(0.9, None), lambda: regularised_error_bound(5, 0.9, "x", 1.0, 1.0)):
        with pytest.raises(TypeError, match="pass Regularisation"):
            call()


@pytest.mark.parametrize(
    ("log_policy", "message"),
    [
        (np.zeros((20, 3)), r"log_policy has shape \(20, 3\); expected \(S, A\) = \(20, 4\)"),
        (np.full((20, 4), np.nan), r"log_policy\[0, 0\] is nan"),
        (np.zeros((20, 4)), r"exp\(log_policy\)\[0\] sums to 4"),
        (np.full((20, 4), np.inf), r"exp\(log_policy\)\[0\] sums to inf"),
        (np.full((20, 4), -np.log(4) + 0j), "log_policy has dtype complex128"),
        (np.full((20, 4), "a"), "log_policy has dtype <U1"),
    ],
)
def test_a_bad_policy_is_named(log_policy: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        certify_regularised(garnet(), 0.1, np.zeros(20), log_policy)


def test_an_answer_introduces_itself_in_a_few_words() -> None:
    solution = regularised_value_iteration(garnet(), Regularisation(0.1, 0.1))
    assert isinstance(solution, RegularisedSolution)
    assert len(repr(solution)) < 700
