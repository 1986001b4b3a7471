"""Logit equilibria of Markov games: fixed points, true bounds, and how far from Nash they are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import root

from lookahead_rl.models import MarkovGame, ModelError, TabularMDP, garnet_game
from lookahead_rl.solvers import (
    Regularisation,
    Status,
    certify_game,
    certify_regularised_game,
    joint_action_values,
    regularised_games,
    regularised_matrix_games,
    regularised_shapley_iteration,
    regularised_value_iteration,
    solve_game,
)
from lookahead_rl.solvers.games import regularised

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**31)
TEMPERATURES = st.floats(-3, 1).map(lambda x: 10.0**x)


def game_of(seed: int = 0, gamma: float = 0.8, *, ends: bool = False, shape: tuple[int, int] = (3, 2)) -> MarkovGame:
    """A Garnet game of 5 states; with ``ends`` the last is terminal and reached from everywhere."""
    game = garnet_game(5, *shape, 2, seed, gamma=gamma, rewards="normal")
    P, r, terminal = np.array(game.P), np.array(game.r), np.zeros(5, dtype=np.bool_)
    if ends:
        terminal[-1] = True
        P *= 0.8
        P[..., -1] += 0.2
        P[-1], r[-1] = np.eye(5)[-1], 0.0
    return MarkovGame(P, r, gamma, game.rho, terminal=terminal)


def softmax(x: Array) -> Array:
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def entropy(p: Array) -> Array:
    return -(p * np.log(p)).sum(axis=-1)


# ------------------------------------------------------------------------------------- what is found


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("tau", [0.2, 1.0, 5.0])
def test_a_general_root_finder_agrees(tau: float, ends: bool) -> None:
    """The equations mu = softmax(Q_v nu/tau), nu = softmax(-mu Q_v/tau), v = mu Q_v nu + tau Ent(mu) - tau Ent(nu)."""
    game = game_of(ends=ends)

    def equations(x: Array) -> Array:
        v, y = x[:5] * ~game.terminal, x[5:].reshape(5, 2)
        q, nu = joint_action_values(game, v), softmax(y)
        mu = softmax((q @ nu[:, :, None])[:, :, 0] / tau)
        against = (mu[:, None, :] @ q)[:, 0, :]
        value = (against * nu).sum(axis=1) + tau * (entropy(mu) - entropy(nu))
        return np.concatenate([value * ~game.terminal - x[:5], (-against / tau - y).ravel()])

    found = root(equations, np.zeros(15), tol=1e-12)
    assert found.success
    solution = regularised_shapley_iteration(game, tau, 1e-9)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, found.x[:5], atol=1e-8)
    np.testing.assert_allclose(solution.policy[1], softmax(found.x[5:].reshape(5, 2)), atol=1e-6)


def test_a_repeated_game_is_worth_its_stage_over_one_minus_gamma() -> None:
    r = np.random.default_rng(0).normal(size=(1, 3, 4))
    repeated = MarkovGame(np.ones((1, 3, 4, 1)), r, 0.9, [1.0])
    stage = regularised_matrix_games(r, 0.3)
    solution = regularised_shapley_iteration(repeated, 0.3)
    np.testing.assert_allclose(solution.value, stage.values / (1 - 0.9), atol=1e-8)
    np.testing.assert_allclose(solution.policy[0], stage.mu, atol=1e-8)


@pytest.mark.parametrize("ends", [False, True])
def test_without_an_opponent_it_is_soft_value_iteration(ends: bool) -> None:
    alone = game_of(ends=ends, shape=(3, 1))
    model = TabularMDP(alone.P[:, :, 0], alone.r[:, :, 0], alone.gamma, alone.rho, alone.terminal)
    expected = regularised_value_iteration(model, Regularisation(0.0, 0.2), 1e-10)
    solution = regularised_shapley_iteration(alone, 0.2, 1e-9)
    np.testing.assert_allclose(solution.value, expected.value, atol=2e-9)
    live = ~alone.terminal
    np.testing.assert_allclose(solution.policy[0][live], expected.policy[live], atol=1e-7)


@settings(max_examples=5)
@given(SEEDS, TEMPERATURES, st.booleans())
def test_the_bounds_are_narrow_and_the_players_exchangeable(seed: int, tau: float, ends: bool) -> None:
    game = game_of(seed, ends=ends)
    solution = regularised_shapley_iteration(game, tau, 1e-7)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-7
    turned = MarkovGame(game.P.transpose(0, 2, 1, 3), -game.r.transpose(0, 2, 1), 0.8, game.rho, terminal=game.terminal)
    other = regularised_shapley_iteration(turned, tau, 1e-7)
    np.testing.assert_allclose(other.value, -solution.value, atol=2e-7)


# ------------------------------------------------------------------------------------- how far from Nash


@settings(max_examples=5)
@given(SEEDS, TEMPERATURES, st.booleans())
def test_the_nash_gap_keeps_to_the_proven_bound(seed: int, tau: float, ends: bool) -> None:
    """tau (log A + log B) / (1 - gamma), and the certified gap; values move by tau max(log A, log B) / (1 - gamma)."""
    game = game_of(seed, ends=ends)
    solution, nash = regularised_shapley_iteration(game, tau, 1e-7), solve_game(game, 1e-7)
    proven = tau * np.log(3 * 2) / (1 - 0.8)
    assert (solution.nash_bound <= proven * (1 + 1e-12) + 1e-7).all()
    assert (solution.nash.certificate.upper <= solution.nash_bound + 1e-7).all()
    assert (np.abs(solution.value - nash.value) <= tau * np.log(3) / (1 - 0.8) + 2e-7).all()
    plain = certify_game(game, nash.value, *solution.policy)
    assert (plain.upper - plain.lower >= solution.nash.certificate.lower - 1e-9).all()


def test_the_nash_gap_vanishes_with_the_temperature() -> None:
    gaps = [regularised_shapley_iteration(game_of(), tau, 1e-9).nash.largest for tau in (1.0, 0.1, 0.01, 0.001)]
    assert all(after <= 0.3 * before for before, after in pairwise(gaps))


# ------------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("size", [1e-8, 1e-3, 3.0])
def test_a_corrupted_answer_widens_its_bounds_and_they_stay_true(size: float, ends: bool) -> None:
    game, tau, rng = game_of(ends=ends), 0.2, np.random.default_rng(1)
    best = regularised_shapley_iteration(game, tau, 1e-11)
    value = best.value + size * rng.normal(size=5) * ~game.terminal
    bounds = certify_regularised_game(game, tau, value, *best.policy)
    assert bounds.gap >= np.abs(value - best.value).max() - 1e-10
    for k, sign in enumerate((1.0, -1.0)):
        pair = list(best.policy)
        pair[k] = softmax(np.log(pair[k]) + size * rng.normal(size=pair[k].shape))
        bounds = certify_regularised_game(game, tau, value, *pair)
        assert (bounds.lower <= best.certificate.upper).all()
        assert (best.certificate.lower <= bounds.upper).all()
        # what the corrupted policy guarantees: the other one's soft optimum against it
        worth = guaranteed(game, tau, k, pair[k])
        assert (sign * (worth - (bounds.lower if k == 0 else bounds.upper)) >= -1e-9).all()
        assert (sign * (best.value - worth) >= -1e-9).all()


def guaranteed(game: MarkovGame, tau: float, player: int, policy: Array) -> Array:
    """What a policy guarantees to its player, entropies included, by soft value iteration for the opponent."""
    sign, (P, r) = (-1.0 if player == 0 else 1.0), (game.P, game.r)
    mixed_P = np.einsum("sa,sabt->sbt" if player == 0 else "sb,sabt->sat", policy, P)
    mixed_r = np.einsum("sa,sab->sb" if player == 0 else "sb,sab->sa", policy, r)
    paid = np.where(game.terminal, 0.0, tau * entropy(policy))[:, None]
    model = TabularMDP(mixed_P, sign * mixed_r - paid, game.gamma, game.rho, game.terminal)
    return sign * regularised_value_iteration(model, Regularisation(0.0, tau), 1e-11).value


def test_deterministic_policies_are_certified() -> None:
    game = game_of()
    mu, nu = np.eye(3)[[0, 1, 2, 0, 1]], np.eye(2)[[0, 1, 0, 1, 0]]
    bounds = certify_regularised_game(game, 0.5, np.zeros(5), mu, nu)
    best = regularised_shapley_iteration(game, 0.5)
    assert ((bounds.lower <= best.value) & (best.value <= bounds.upper)).all()


def test_ragged_games_and_games_without_discount_are_solved() -> None:
    game = game_of(gamma=1.0, ends=True)
    r = np.array(game.r)
    P, counts = np.array(game.P), np.array([3, 2, 1, 3, 3])
    for s, n in enumerate(counts):
        P[s, n:], r[s, n:] = 0.0, 0.0
    ragged = MarkovGame(P, r, 1.0, game.rho, counts, np.full(5, 2), game.terminal)
    solution = regularised_shapley_iteration(ragged, 0.3, 1e-8)
    assert solution.status is Status.CONVERGED
    assert not solution.policy[0][1, 2:].any()
    np.testing.assert_allclose(solution.policy[0][2], [1.0, 0.0, 0.0])
    q = joint_action_values(ragged, solution.value)
    stage = regularised_matrix_games(q, 0.3, ragged.n_actions_0, ragged.n_actions_1)
    np.testing.assert_allclose(solution.value, np.where(game.terminal, 0.0, stage.values), atol=1e-8)
    with pytest.raises(ValueError, match="game has gamma = 1, but play around state"):
        regularised_shapley_iteration(game_of(gamma=1.0), 0.3)


# ------------------------------------------------------------------------------------- how it ends


def test_an_interrupt_keeps_the_best_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    game, calls = game_of(), iter(range(100))
    best = regularised_shapley_iteration(game, 0.2)

    def stop(*args: object, **kwargs: object) -> object:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return regularised_matrix_games(*args, **kwargs)

    monkeypatch.setattr(regularised, "regularised_matrix_games", stop)
    answer = regularised_shapley_iteration(game, 0.2)
    assert (answer.status, answer.iterations) == (Status.INTERRUPTED, 3)
    assert ((answer.certificate.lower <= best.value) & (best.value <= answer.certificate.upper)).all()
    calls = iter([3])
    with pytest.raises(KeyboardInterrupt):
        regularised_shapley_iteration(game, 0.2)


def test_limits_are_told() -> None:
    short = regularised_shapley_iteration(game_of(), 0.2, max_iterations=2)
    assert (short.status, short.iterations) == (Status.ITERATION_LIMIT, 2)
    assert short.certificate.gap <= short.history[-1] * (1 + 1e-9)
    fine = regularised_shapley_iteration(game_of(), 0.2, 1e-300)
    assert fine.status is Status.PRECISION_LIMIT
    assert fine.certificate.gap <= 1e-10


def test_a_warm_start_changes_the_work_and_not_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    games = np.random.default_rng(0).normal(size=(40, 4, 3))
    cold = regularised_matrix_games(games, 0.02)
    steps = []
    original = regularised_games._newton_step
    monkeypatch.setattr(regularised_games, "_newton_step", lambda *args: (steps.append(1), original(*args))[1])
    near = regularised_matrix_games(games + 1e-4, 0.02, start=(cold.mu, cold.nu))
    warm_steps = len(steps)
    np.testing.assert_allclose(near.values, cold.values + 1e-4, atol=1e-10)
    regularised_matrix_games(games, 0.02)
    assert 3 * warm_steps <= len(steps) - warm_steps
    assert warm_steps <= 3
    far = regularised_matrix_games(games, 0.02, start=(np.eye(4)[[1] * 40], np.eye(3)[[2] * 40]))
    np.testing.assert_allclose(far.values, cold.values, atol=1e-10)
    np.testing.assert_allclose(far.mu, cold.mu, atol=1e-6)


# ------------------------------------------------------------------------------------- bad input


def test_bad_input_is_named() -> None:
    game = game_of()
    mu, nu = np.full((5, 3), 1 / 3), np.full((5, 2), 1 / 2)
    for tau in (0.0, -1.0, np.nan, True):
        with pytest.raises(ModelError, match="temperature is"):
            regularised_shapley_iteration(game, tau)
    with pytest.raises(ModelError, match=r"temperature is 1e-12, below .* payoffs\[\d\]"):
        regularised_shapley_iteration(game, 1e-12)
    with pytest.raises(TypeError, match="game is a float"):
        regularised_shapley_iteration(0.1, 0.1)
    with pytest.raises(ValueError, match="tol is -1"):
        regularised_shapley_iteration(game, 0.1, -1)
    with pytest.raises(ValueError, match="max_iterations is 0"):
        regularised_shapley_iteration(game, 0.1, max_iterations=0)
    with pytest.raises(ValueError, match=r"start has shape \(2,\)"):
        regularised_shapley_iteration(game, 0.1, start=[0, 0])
    with pytest.raises(ValueError, match=r"mu\[0\] sums to 2"):
        certify_regularised_game(game, 0.1, np.zeros(5), 2 * mu, nu)
    with pytest.raises(ValueError, match=r"value\[1\] is inf"):
        certify_regularised_game(game, 0.1, np.where(np.arange(5) == 1, np.inf, 0), mu, nu)
    payoffs = np.zeros((5, 3, 2))
    with pytest.raises(ModelError, match=r"start nu has shape \(5, 3\); expected one law for each game = \(5, 2\)"):
        regularised_matrix_games(payoffs, 0.1, start=(mu, mu))
    with pytest.raises(ModelError, match=r"start mu\[0, 0\] is -0\.333"):
        regularised_matrix_games(payoffs, 0.1, start=(-mu, nu))
