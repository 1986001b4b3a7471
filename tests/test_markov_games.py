"""Markov games: known Nash values, certificates that cannot be fooled, exact best responses."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog

from lookahead_rl.models import MarkovGame, TabularMDP
from lookahead_rl.models.classic import (
    big_match,
    deep_lookahead_cycle,
    filar_tolwinski_failure,
    matching_pennies,
    matrix_game,
    rock_paper_scissors,
    turn_based_cycle,
    van_der_wal,
)
from lookahead_rl.models.generators import garnet_game
from lookahead_rl.models.planted import planted_game
from lookahead_rl.solvers import (
    Solution,
    Status,
    best_response,
    certify_game,
    evaluate_policy,
    fix_policy,
    joint_action_values,
    nash_gap,
    policy_iteration,
    shapley_iteration,
    shapley_operator,
)

Array = NDArray[np.float64]
SEEDS = st.integers(0, 2**31)


def ragged_game(seed: int, *, sparse: bool = False, gamma: float = 0.9, n_states: int = 6) -> MarkovGame:
    rng = np.random.default_rng(seed)
    whole = garnet_game(n_states, 3, 4, 2, rng, gamma=gamma, sparse=False)
    counts_0, counts_1 = rng.integers(1, 4, n_states), rng.integers(1, 5, n_states)
    live = (np.arange(3) < counts_0[:, None])[:, :, None] & (np.arange(4) < counts_1[:, None])[:, None, :]
    P = np.asarray(whole.P_rows) * live.reshape(-1, 1)
    law = sp.csr_array(P) if sparse else P.reshape(*whole.r.shape, n_states)
    return MarkovGame(law, whole.r * live, gamma, whole.rho, counts_0, counts_1)


def random_pair(game: MarkovGame, rng: np.random.Generator) -> tuple[Array, Array]:
    mu, nu = np.zeros(game.r.shape[:2]), np.zeros((game.n_states, game.r.shape[2]))
    for s in range(game.n_states):
        mu[s, : game.n_actions_0[s]] = rng.dirichlet(np.ones(game.n_actions_0[s]))
        nu[s, : game.n_actions_1[s]] = rng.dirichlet(np.ones(game.n_actions_1[s]))
    return mu, nu


def stopping_game(r: list[list[float]], stop: float) -> MarkovGame:
    """One live state, gamma = 1, which ends with probability ``stop`` after each move."""
    rewards = np.zeros((2, *np.shape(r)))
    rewards[0] = r
    P = np.zeros((*rewards.shape, 2))
    P[0, :, :, 0], P[0, :, :, 1], P[1, :, :, 1] = 1 - stop, stop, 1
    return MarkovGame(P, rewards, 1.0, np.array([1.0, 0.0]), terminal=np.array([False, True]))


def contains(solution: Solution[tuple[Array, Array]], value: Array, slack: float = 0.0) -> bool:
    bounds = solution.certificate
    return bool((bounds.lower <= value + slack).all() and (value <= bounds.upper + slack).all())


# ---------------------------------------------------------------------------------------------- known values


@pytest.mark.parametrize(
    ("game", "value"),
    [
        (van_der_wal(), [8, 0]),  # van der Wal, JOTA 25, 1978
        (deep_lookahead_cycle(), [10 / 0.325, 0]),
        (filar_tolwinski_failure(), [-(2**-0.5) - 0.75, -1.25, 1.25]),  # Badger, Huang, Petrik 2025, Example 4.1
        (turn_based_cycle(), [0, 1.33, 3, 3.7]),
        (big_match(), [5, 10, 0]),  # Blackwell and Ferguson 1968: 1/2 a day for every discount
        (matching_pennies(gamma=0.9), [0]),
        (rock_paper_scissors(), [0]),
        (matrix_game([[-2, 3], [3, -4]], gamma=0.5), [1 / 6]),  # a repeated game: val / (1 - gamma)
        (stopping_game([[2, 0], [0, 2]], 0.25), [4, 0]),  # gamma = 1: val / stop
    ],
)
def test_known_values(game: MarkovGame, value: list[float]) -> None:
    solution = shapley_iteration(game, 1e-10)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-10
    np.testing.assert_allclose(solution.value, value, atol=1e-10)
    assert contains(solution, np.array(value), 1e-14)


def test_big_match_policies() -> None:
    """Blackwell and Ferguson 1968: absorb with probability (1 - gamma) / (2 - gamma); the opponent mixes evenly."""
    mu, nu = shapley_iteration(big_match(gamma=0.9), 1e-10).policy
    np.testing.assert_allclose(mu[0], [1 / 1.1, 0.1 / 1.1], atol=1e-9)
    np.testing.assert_allclose(nu[0], [0.5, 0.5], atol=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_planted_games(seed: int, sparse: bool) -> None:
    planted = planted_game(40, 4, 5, 3, seed, gamma=0.95, sparse=sparse)
    solution = shapley_iteration(planted.model, 1e-9)
    assert solution.status is Status.CONVERGED
    assert contains(solution, planted.value, 1e-13)
    np.testing.assert_allclose(solution.value, planted.value, atol=1e-9)
    np.testing.assert_allclose(solution.policy[0], planted.policy[0], atol=1e-6)
    np.testing.assert_allclose(solution.policy[1], planted.policy[1], atol=1e-6)


# ---------------------------------------------------------------------------------------------- other methods


def highs_shapley(game: MarkovGame) -> Array:
    """The fixed point of T by linear programs of an independent solver."""
    v = np.zeros(game.n_states)
    for _ in range(200):
        q = joint_action_values(game, v)
        v = np.array([highs_value(q[s, : game.n_actions_0[s], : game.n_actions_1[s]]) for s in range(game.n_states)])
    return v


def highs_value(payoffs: Array) -> float:
    m, n = payoffs.shape
    answer = linprog(
        np.append(np.zeros(m), -1.0),
        A_ub=np.hstack([-payoffs.T, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(m), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * m + [(None, None)],
    )
    return float(-answer.fun)


@pytest.mark.parametrize("seed", range(2))
def test_the_certificate_contains_the_value_found_by_linear_programs(seed: int) -> None:
    game = ragged_game(seed, gamma=0.8, n_states=3)
    solution = shapley_iteration(game)
    expected = highs_shapley(game)
    np.testing.assert_allclose(solution.value, expected, atol=1e-7)
    assert contains(solution, expected, 1e-7)


@settings(max_examples=25)
@given(SEEDS)
def test_sparse_and_dense_games_have_one_answer(seed: int) -> None:
    dense, sparse = (shapley_iteration(ragged_game(seed, sparse=sparse), 1e-10) for sparse in (False, True))
    np.testing.assert_allclose(dense.value, sparse.value, atol=1e-10)


@settings(max_examples=25)
@given(SEEDS)
def test_a_game_with_one_player_is_a_decision_problem(seed: int) -> None:
    alone = garnet_game(7, 4, 1, 3, seed, gamma=0.9, sparse=False)
    mdp = TabularMDP(np.asarray(alone.P)[:, :, 0], alone.r[:, :, 0], 0.9, alone.rho)
    np.testing.assert_allclose(shapley_iteration(alone).value, policy_iteration(mdp).value, atol=2e-8)
    flipped = MarkovGame(np.swapaxes(np.asarray(alone.P), 1, 2), -np.swapaxes(alone.r, 1, 2), 0.9, alone.rho)
    np.testing.assert_allclose(shapley_iteration(flipped).value, -policy_iteration(mdp).value, atol=2e-8)


def test_a_turn_based_game_is_solved_in_pure_policies() -> None:
    mu, nu = shapley_iteration(turn_based_cycle()).policy
    assert set(np.concatenate([mu.ravel(), nu.ravel()])) == {0.0, 1.0}


# ---------------------------------------------------------------------------------------------- operators


@settings(max_examples=30)
@given(SEEDS)
def test_the_operator_is_a_monotone_contraction_that_commutes_with_constants(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = ragged_game(seed)
    v, w = rng.normal(size=(2, game.n_states))
    t_v, t_w = shapley_operator(game, v).values, shapley_operator(game, w).values
    assert np.abs(t_v - t_w).max() <= 0.9 * np.abs(v - w).max() + 1e-12
    assert (shapley_operator(game, np.maximum(v, w)).values >= np.maximum(t_v, t_w) - 1e-12).all()
    np.testing.assert_allclose(shapley_operator(game, v + 3.0).values, t_v + 2.7, atol=1e-12)


def test_action_values_are_the_definition() -> None:
    game = garnet_game(4, 2, 3, 2, 0, gamma=0.7, sparse=False)
    v = np.arange(4.0)
    expected = game.r + 0.7 * np.einsum("sabt,t->sab", np.asarray(game.P), v)
    np.testing.assert_allclose(joint_action_values(game, v), expected)


# ---------------------------------------------------------------------------------------------- certificates


@settings(max_examples=40)
@given(SEEDS, st.booleans())
def test_the_certificate_of_any_answer_contains_the_value_and_what_the_policies_guarantee(
    seed: int, sparse: bool
) -> None:
    rng = np.random.default_rng(seed)
    game = ragged_game(seed, sparse=sparse)
    best = shapley_iteration(game, 1e-10).value
    value = best + rng.normal(size=best.size) * 10.0 ** rng.uniform(-12, 2)
    mu, nu = random_pair(game, rng)
    bounds = certify_game(game, value, mu, nu)
    assert (bounds.lower <= value).all()
    assert (value <= bounds.upper).all()
    gap = nash_gap(game, mu, nu)
    assert (bounds.lower <= gap.best_response_1.certificate.upper).all()
    assert (gap.best_response_0.certificate.lower <= bounds.upper).all()
    assert (bounds.lower <= best + 1e-10).all()
    assert (best <= bounds.upper + 1e-10).all()


@pytest.mark.parametrize(
    "game", [ragged_game(1), ragged_game(2, sparse=True), van_der_wal(), stopping_game([[1, 0]], 0.5)]
)
def test_a_corrupted_answer_widens_its_certificate(game: MarkovGame) -> None:
    solution = shapley_iteration(game, 1e-9)
    mu, nu = solution.policy
    rng = np.random.default_rng(0)
    for s in range(game.n_states):
        for error in (1e-3, -1e-3):
            value = solution.value.copy()
            value[s] += error
            assert certify_game(game, value, mu, nu).gap >= 1e-3
    worse_mu, worse_nu = random_pair(game, rng)
    gap = nash_gap(game, worse_mu, worse_nu)
    assert gap.largest > 1e-3
    assert certify_game(game, solution.value, worse_mu, worse_nu).gap >= gap.largest - 1e-8


def test_the_certificate_is_recomputed_from_the_answer() -> None:
    game = ragged_game(3)
    solution = shapley_iteration(game)
    again = certify_game(game, solution.value, *solution.policy)
    np.testing.assert_array_equal(again.lower, solution.certificate.lower)
    np.testing.assert_array_equal(again.upper, solution.certificate.upper)


# ---------------------------------------------------------------------------------------------- stopping


def test_the_bounds_save_most_sweeps() -> None:
    """The span of Shapley iteration shrinks faster than gamma: far fewer sweeps than log(1 / tol) / (1 - gamma)."""
    solution = shapley_iteration(garnet_game(200, 4, 4, 5, 0, gamma=0.999), 1e-6)
    assert solution.status is Status.CONVERGED
    assert solution.iterations < 100
    assert len(solution.history) == solution.iterations


def test_a_start_at_the_value_ends_at_once_and_the_limit_is_told() -> None:
    game = garnet_game(30, 3, 3, 4, 0, gamma=0.95)
    full = shapley_iteration(game, 1e-9)
    warm = shapley_iteration(game, 1e-6, start=full.value)
    assert (warm.status, warm.iterations) == (Status.CONVERGED, 1)
    cut = shapley_iteration(game, 1e-9, max_iterations=3)
    assert (cut.status, cut.iterations) == (Status.ITERATION_LIMIT, 3)
    assert cut.certificate.gap > 1e-9
    assert contains(cut, full.value)


def test_an_unreachable_tolerance_is_told() -> None:
    solution = shapley_iteration(garnet_game(30, 3, 3, 4, 0, gamma=0.99), 1e-15)
    assert solution.status is Status.PRECISION_LIMIT
    assert solution.certificate.gap < 1e-9
    assert solution.iterations < 300


# ---------------------------------------------------------------------------------------------- gamma = 1


def test_without_discount_a_chain_of_states_is_exact() -> None:
    """Ten rounds of odd or even, worth 1/12 each; every pair of policies ends after ten."""
    P, r = np.zeros((11, 2, 2, 11)), np.zeros((11, 2, 2))
    for s in range(10):
        P[s, :, :, s + 1], r[s] = 1.0, [[-2, 3], [3, -4]]
    P[10, :, :, 10] = 1.0
    game = MarkovGame(P, r, 1.0, np.eye(11)[0], terminal=np.arange(11) == 10)
    solution = shapley_iteration(game, 1e-10)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, np.arange(10, -1, -1) / 12, atol=1e-12)
    assert contains(solution, np.arange(10, -1, -1) / 12, 1e-15)
    assert nash_gap(game, *solution.policy).largest <= 1e-10


@pytest.mark.parametrize("named", [False, True])
def test_without_discount_play_that_need_not_end_is_refused(named: bool) -> None:
    """Matching pennies until the pennies match: a player who knows the other's penny can go on for ever."""
    P = np.zeros((2, 2, 2, 2))
    P[0, [0, 1], [0, 1], 1] = P[0, [0, 1], [1, 0], 0] = P[1, :, :, 1] = 1.0
    game = MarkovGame(P, np.zeros((2, 2, 2)), 1.0, [1, 0], terminal=np.array([False, True]) if named else None)
    with pytest.raises(ValueError, match=r"gamma = 1, but play around state 0 need not end.*gamma < 1"):
        shapley_iteration(game)


# ---------------------------------------------------------------------------------------------- best responses


def every_response(mdp: TabularMDP, counts: NDArray[np.int64]) -> Array:
    """Values (n, S) of all deterministic policies, by linear systems."""
    P, S = np.asarray(mdp.P), np.arange(mdp.n_states)
    choices = (np.array(choice) for choice in product(*(range(n) for n in counts)))
    return np.array([np.linalg.solve(np.eye(S.size) - mdp.gamma * P[S, a], mdp.r[S, a]) for a in choices])


@pytest.mark.parametrize("seed", range(5))
def test_best_responses_are_best_among_all_policies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    game = ragged_game(seed, n_states=4)
    mu, nu = random_pair(game, rng)
    against_nu = every_response(fix_policy(game, 1, nu), game.n_actions_0)
    against_mu = every_response(fix_policy(game, 0, mu), game.n_actions_1)
    gap = nash_gap(game, mu, nu)
    np.testing.assert_allclose(gap.best_response_0.value, against_nu.max(axis=0), atol=1e-9)
    np.testing.assert_allclose(gap.best_response_1.value, against_mu.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(gap.nash_conv, against_nu.max(axis=0) - against_mu.min(axis=0), atol=1e-9)
    assert (gap.certificate.lower <= gap.nash_conv).all()
    assert (gap.nash_conv <= gap.certificate.upper).all()
    assert (gap.best_response_0.policy < game.n_actions_0).all()
    assert (gap.best_response_1.policy < game.n_actions_1).all()


@settings(max_examples=30)
@given(SEEDS, st.booleans())
def test_the_value_of_a_pair_does_not_depend_on_who_is_fixed(seed: int, sparse: bool) -> None:
    game = ragged_game(seed, sparse=sparse)
    mu, nu = random_pair(game, np.random.default_rng(seed))
    by_mu, by_nu = evaluate_policy(fix_policy(game, 0, mu), nu), evaluate_policy(fix_policy(game, 1, nu), mu)
    np.testing.assert_allclose(by_mu.value, by_nu.value, atol=1e-12)
    gap = nash_gap(game, mu, nu)
    np.testing.assert_allclose(gap.value, by_mu.value, atol=1e-12)
    assert (gap.best_response_1.value <= gap.value + 1e-9).all()
    assert (gap.value <= gap.best_response_0.value + 1e-9).all()


def test_a_player_who_always_plays_rock_loses_every_round() -> None:
    game = rock_paper_scissors(gamma=0.9)
    rock = np.array([[1.0, 0.0, 0.0]])
    response = best_response(game, 1, rock)
    assert response.policy[0] == 1
    assert response.value[0] == pytest.approx(-10)
    gap = nash_gap(game, rock, rock)
    assert (gap.value[0], gap.largest) == (pytest.approx(0), pytest.approx(20))
    assert nash_gap(game, np.full((1, 3), 1 / 3), np.full((1, 3), 1 / 3)).largest <= 1e-14


def test_a_solution_has_no_nash_gap() -> None:
    game = garnet_game(50, 4, 3, 5, 1, gamma=0.95)
    solution = shapley_iteration(game, 1e-8)
    gap = nash_gap(game, *solution.policy)
    assert gap.largest <= solution.certificate.gap
    assert gap.certificate.lower.max() <= gap.largest


# ---------------------------------------------------------------------------------------------- bad input


def test_bad_policies_are_named() -> None:
    game = ragged_game(0)
    mu, nu = random_pair(game, np.random.default_rng(0))
    s = int(np.argmin(game.n_actions_0))
    assert game.n_actions_0[s] < 3
    cases = []
    for entries, message in (
        ({(1, 0): -0.25}, r"mu\[1, 0\] is -0.25; probabilities must be >= 0"),
        ({(1, 0): np.nan}, r"mu\[1, 0\] is nan"),
        ({(1, 0): 2.0}, r"mu\[1\] sums to .*, not 1; normalise that row"),
        ({(s, 2): 0.5}, rf"mu\[{s}, 2\] is 0.5, but state {s} has only {game.n_actions_0[s]} actions"),
    ):
        bad = mu.copy()
        for index, weight in entries.items():
            bad[index] = weight
        cases.append((bad, message))
    cases.append((mu[:-1], r"mu has shape \(5, 3\); expected action probabilities of shape \(6, 3\)"))
    for bad, message in cases:
        with pytest.raises(ValueError, match=message):
            nash_gap(game, bad, nu)
        with pytest.raises(ValueError, match=message):
            best_response(game, 1, bad)
        with pytest.raises(ValueError, match=message):
            certify_game(game, np.zeros(6), bad, nu)
    with pytest.raises(ValueError, match=r"nu has shape"):
        nash_gap(game, mu, mu)


def test_bad_arguments_are_named() -> None:
    game = van_der_wal()
    for kwargs, message in (
        ({"tol": 0.0}, "tol is 0"),
        ({"tol": np.nan}, "tol is nan"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"max_iterations": 2.5}, "max_iterations is 2.5"),
        ({"start": [0.0]}, r"start has shape \(1,\)"),
        ({"start": [np.inf, 0.0]}, r"start\[0\] is inf"),
        ({"start": [0.0, 1.0]}, r"start\[1\] is 1.0, but the state is terminal"),
    ):
        with pytest.raises(ValueError, match=message):
            shapley_iteration(game, **kwargs)
    with pytest.raises(ValueError, match="player is 2; pass 0"):
        best_response(game, 2, np.ones((2, 2)) / 2)


def test_results_are_frozen() -> None:
    gap = nash_gap(van_der_wal(), *shapley_iteration(van_der_wal()).policy)
    with pytest.raises(AttributeError):
        gap.value = np.zeros(2)  # type: ignore[misc]
    assert replace(gap, value=np.zeros(2)).value.sum() == 0
