"""Saddle points of entropy-regularised matrix games: certified, smooth in the payoffs, near the game's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

from lookahead_rl.models import ModelError
from lookahead_rl.solvers import solve_matrix_games
from lookahead_rl.solvers.regularised_games import COLDEST, RELATIVE_GAP, regularised_matrix_games

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**31)
TEMPERATURES = st.floats(-5, 3).map(lambda x: 10.0**x)


def softmax(x: Array) -> Array:
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def log_sum_exp(x: Array) -> float:
    return float(x.max() + np.log(np.exp(x - x.max()).sum()))


def entropy(p: Array) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def duality_gap(Q: Array, tau: float, mu: Array, nu: Array) -> float:
    upper = tau * log_sum_exp(Q @ nu / tau) - tau * entropy(nu)
    return upper - (tau * entropy(mu) - tau * log_sum_exp(-(mu @ Q) / tau))


def random_games(seed: int, n_games: int = 6) -> Array:
    """Normal, integer, constant, duplicated rows; of any shape."""
    rng = np.random.default_rng(seed)
    games = rng.normal(size=(n_games, *rng.integers(1, 6, 2)))
    games[0] = np.round(2 * games[0])
    games[1] = 3.0
    games[2, -1] = games[2, 0]
    return games


# ---------------------------------------------------------------------------------------------- what is returned


@settings(max_examples=60)
@given(SEEDS, TEMPERATURES)
def test_the_gap_is_small_and_bounds_the_one_evaluated_from_the_answer(seed: int, tau: float) -> None:
    games = random_games(seed)
    solved = regularised_matrix_games(games, tau)
    extents = np.ptp(games, axis=(1, 2))
    assert (solved.gaps <= RELATIVE_GAP * (extents + tau)).all()
    for Q, value, mu, nu, gap in zip(games, *solved, strict=True):
        assert abs(mu.sum() - 1) <= 1e-12
        assert abs(nu.sum() - 1) <= 1e-12
        rounding = 1e-15 * (np.abs(Q).max() + tau)  # of the evaluation here
        assert duality_gap(Q, tau, mu, nu) <= gap + rounding
        assert abs(mu @ Q @ nu + tau * (entropy(mu) - entropy(nu)) - value) <= gap + rounding


@settings(max_examples=30)
@given(SEEDS, st.floats(-2, 2).map(lambda x: 10.0**x))
def test_each_policy_is_the_logit_response_to_the_other(seed: int, tau: float) -> None:
    games = random_games(seed)
    solved = regularised_matrix_games(games, tau)
    for Q, mu, nu in zip(games, solved.mu, solved.nu, strict=True):
        np.testing.assert_allclose(mu, softmax(Q @ nu / tau), atol=1e-9)
        np.testing.assert_allclose(nu, softmax(-(mu @ Q) / tau), atol=1e-9)


@pytest.mark.parametrize("tau", [0.05, 0.5, 5.0])
def test_a_general_minimiser_finds_no_lower_upper_bound_and_the_same_policy(tau: float) -> None:
    rng = np.random.default_rng(1)
    games = rng.normal(size=(5, 4, 3))
    solved = regularised_matrix_games(games, tau)
    for Q, value, nu in zip(games, solved.values, solved.nu, strict=True):

        def upper(y: Array, Q: Array = Q) -> float:
            return tau * log_sum_exp(Q @ softmax(y) / tau) - tau * entropy(softmax(y))

        found = minimize(upper, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
        assert abs(found.fun - value) <= 1e-8
        np.testing.assert_allclose(softmax(found.x), nu, atol=1e-4)


@pytest.mark.parametrize("tau", [0.01, 0.3, 4.0])
def test_matching_pennies_is_uniform_at_every_temperature(tau: float) -> None:
    solved = regularised_matrix_games([[[1.0, -1.0], [-1.0, 1.0]]], tau)
    np.testing.assert_allclose([solved.mu[0], solved.nu[0]], 0.5, atol=1e-12)
    assert abs(solved.values[0]) <= 1e-12


@pytest.mark.parametrize("tau", [0.02, 0.3, 4.0])
def test_a_two_by_two_game_solves_its_one_equation(tau: float) -> None:
    """log p/(1-p) = (r q + s)/tau and log q/(1-q) = -(r p + c)/tau for Q = [[a, b], [c, d]]: one root in p."""
    a, b, c, d = 2.0, -1.0, -1.5, 1.0
    slope = a - b - c + d

    def second(p: float) -> float:
        return 1 / (1 + np.exp((slope * p + c - d) / tau))

    p = brentq(lambda p: np.log(p / (1 - p)) - (slope * second(p) + b - d) / tau, 1e-15, 1 - 1e-15, xtol=1e-15)
    solved = regularised_matrix_games([[[a, b], [c, d]]], tau)
    np.testing.assert_allclose(solved.mu[0], [p, 1 - p], atol=1e-10)
    np.testing.assert_allclose(solved.nu[0], [second(p), 1 - second(p)], atol=1e-9)


def test_a_player_without_a_choice_leaves_a_softmax() -> None:
    row = np.array([[[0.3, -1.0, 2.0]]])
    solved = regularised_matrix_games(row, 0.5)
    np.testing.assert_allclose(solved.nu[0], softmax(-row[0, 0] / 0.5), rtol=1e-12)
    assert abs(solved.values[0] + 0.5 * log_sum_exp(-row[0, 0] / 0.5)) <= 1e-13


# ---------------------------------------------------------------------------------------------- dependence on the game


@settings(max_examples=40)
@given(SEEDS, st.floats(-3, 1).map(lambda x: 10.0**x), st.floats(-6, 0).map(lambda x: 10.0**x))
def test_policies_are_lipschitz_in_the_payoffs(seed: int, tau: float, size: float) -> None:
    """|d mu|_1 + |d nu|_1 <= 2 max |dQ| / tau, up to what the gaps leave open."""
    games = random_games(seed)
    moved = games + size * np.random.default_rng(seed).uniform(-1, 1, games.shape)
    one, other = regularised_matrix_games(games, tau), regularised_matrix_games(moved, tau)
    distance = np.abs(one.mu - other.mu).sum(axis=1) + np.abs(one.nu - other.nu).sum(axis=1)
    open_ = 2 * np.sqrt(one.gaps / tau) + 2 * np.sqrt(other.gaps / tau)
    assert (distance <= 2 * np.abs(games - moved).max(axis=(1, 2)) / tau + open_).all()


@settings(max_examples=30)
@given(SEEDS)
def test_as_temperature_falls_value_and_policies_tend_to_those_of_the_game(seed: int) -> None:
    games = random_games(seed)
    n_0, n_1 = games.shape[1:]
    value = solve_matrix_games(games).values
    for tau in (1.0, 1e-2, 1e-4, 1e-5):
        solved = regularised_matrix_games(games, tau)
        assert (np.abs(solved.values - value) <= tau * np.log(max(n_0, n_1)) + 1e-8).all()
        lost = value - (solved.mu[:, None, :] @ games)[:, 0, :].min(axis=1)
        allowed = (games @ solved.nu[:, :, None])[:, :, 0].max(axis=1) - value
        assert (np.maximum(lost, allowed) <= tau * np.log(n_0 * n_1) + 1e-8).all()


@settings(max_examples=30)
@given(SEEDS, st.floats(-3, 2).map(lambda x: 10.0**x), st.floats(-6, 6).map(lambda x: 10.0**x))
def test_scaling_payoffs_and_temperature_together_scales_the_value_alone(seed: int, tau: float, scale: float) -> None:
    games = random_games(seed)
    one, other = regularised_matrix_games(games, tau), regularised_matrix_games(scale * games + scale, scale * tau)
    np.testing.assert_allclose(other.values, scale * (one.values + 1), atol=1e-9 * scale * (tau + 10))
    np.testing.assert_allclose(other.mu, one.mu, atol=1e-6)


@settings(max_examples=30)
@given(SEEDS, st.floats(-3, 2).map(lambda x: 10.0**x))
def test_exchanging_the_players_exchanges_the_answer(seed: int, tau: float) -> None:
    games = random_games(seed)
    one, other = regularised_matrix_games(games, tau), regularised_matrix_games(-games.transpose(0, 2, 1), tau)
    np.testing.assert_allclose(other.values, -one.values, atol=1e-10 * (tau + 10))
    np.testing.assert_allclose(other.mu, one.nu, atol=1e-6)


def test_ragged_games_are_solved_on_their_own_actions() -> None:
    games = np.random.default_rng(2).normal(size=(3, 4, 3))
    games[1, 2:], games[1, :, 1:], games[2, 3:] = 1e9, -1e9, 7.0
    counts_0, counts_1 = np.array([4, 2, 3]), np.array([3, 1, 3])
    whole = regularised_matrix_games(games, 0.2, counts_0, counts_1)
    for k, (m, n) in enumerate(zip(counts_0, counts_1, strict=True)):
        alone = regularised_matrix_games(games[k : k + 1, :m, :n], 0.2)
        np.testing.assert_allclose(whole.values[k], alone.values[0], atol=1e-12)
        np.testing.assert_allclose(whole.mu[k], np.append(alone.mu[0], np.zeros(4 - m)), atol=1e-10)
        np.testing.assert_allclose(whole.nu[k], np.append(alone.nu[0], np.zeros(3 - n)), atol=1e-10)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("tau", [0.0, -1.0, np.inf, np.nan, True, "hot"])
def test_a_temperature_that_is_not_positive_is_refused(tau: object) -> None:
    with pytest.raises(ModelError, match="temperature is"):
        regularised_matrix_games([[[1.0, 0.0]]], tau)


def test_a_temperature_below_what_float64_resolves_is_refused() -> None:
    with pytest.raises(ModelError, match=r"below 1e-07 of the range 4 of payoffs\[1\]; .* solve_matrix_games"):
        regularised_matrix_games([[[1.0, 0.0]], [[4.0, 0.0]]], 2 * COLDEST)


def test_a_wrong_answer_is_found_out_and_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = regularised_matrix_games.__globals__
    monkeypatch.setitem(solver, "_saddle_logits", lambda batch, start: np.zeros(batch.live_1.shape))
    with pytest.raises(ArithmeticError, match=r"payoffs\[0\]: the duality gap .* misses the guarantee"):
        regularised_matrix_games([[[1.0, 0.0], [0.0, 3.0]]], 0.1)


def test_bad_payoffs_and_counts_are_named() -> None:
    with pytest.raises(ModelError, match=r"payoffs\[0, 0, 1\] is nan"):
        regularised_matrix_games([[[1.0, np.nan]]], 1.0)
    with pytest.raises(ModelError, match=r"payoffs has shape \(1, 2\)"):
        regularised_matrix_games([[1.0, 2.0]], 1.0)
    with pytest.raises(ModelError, match=r"n_actions_1\[0\] is 3"):
        regularised_matrix_games([[[1.0, 2.0]]], 1.0, None, [3])
