"""Linear games are solved in the space of weights, at a cost that does not depend on the number of states."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import (
    FiniteSupportMeasures,
    HashedSimplexFeatures,
    LinearMarkovGame,
    MarkovGame,
    ModelError,
    van_der_wal,
)
from lookahead_rl.models.generators import random_linear_game
from lookahead_rl.solvers import (
    LinearGameSolution,
    Status,
    certify_game,
    linear_policy_iteration,
    shapley_iteration,
    shapley_operator,
    solve,
    solve_linear_game,
    solve_matrix_games,
)
from lookahead_rl.solvers.games import linear as module
from lookahead_rl.solvers.games.linear import (
    certify_game_weights,
    choose_design,
    identified_law,
    met_game,
    met_states,
    reached_law,
)
from lookahead_rl.solvers.games.lookahead import lookahead_iterates

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**31)


def signed_game(seed: int) -> LinearMarkovGame:
    """The law of a hashed game in rotated features, which are signed, and so are the measures."""
    game = random_linear_game(9, 3, 2, 3, seed, gamma=0.8, support=3)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    phi = game.phi(np.arange(9)) @ turn
    return LinearMarkovGame(phi, turn.T @ game.mu.dense(9), turn.T @ game.theta, 0.8, np.full(9, 1 / 9))


def tables(game: MarkovGame) -> LinearMarkovGame:
    """Any game as a linear one, with a unit vector for each triple."""
    S, A, B = game.r.shape
    return LinearMarkovGame(
        np.eye(S * A * B).reshape(S, A, B, -1), game.P.reshape(-1, S), game.r.reshape(-1), game.gamma, game.rho
    )


def algorithm_1(game: MarkovGame, lookahead: int, rollout: float) -> Iterator[Array]:
    """V_1, V_2, ... of Algorithm 1 on all states, written out."""
    v = np.zeros(game.n_states)
    P, states = (game.P_rows @ np.eye(game.n_states)).reshape(*game.r.shape, -1), np.eye(game.n_states)
    while True:
        for _ in range(lookahead - 1):
            v = shapley_operator(game, v).values
        _, mu, nu, _ = shapley_operator(game, v)
        r = np.einsum("sa,sab,sb->s", mu, game.r, nu)
        P_pair = np.einsum("sa,sabt,sb->st", mu, P, nu)
        if math.isinf(rollout):
            v = np.linalg.solve(states - game.gamma * P_pair, r)
        else:
            for _ in range(int(rollout)):
                v = r + game.gamma * P_pair @ v
        yield v


def weight_space_iterates(game: LinearMarkovGame, lookahead: int, rollout: float) -> Iterator[Array]:
    """The same on S_D, from the rows of the law at D."""
    sweeps = module._Sweeps(game, identified_law(game, choose_design(game)))
    for backup in lookahead_iterates(sweeps, np.zeros(sweeps.n_states), lookahead=lookahead, rollout=rollout):
        yield sweeps.evaluate(backup, rollout)


# ---------------------------------------------------------------------------------------------- Algorithm 1


@settings(max_examples=25)
@given(SEEDS, st.integers(1, 4), st.sampled_from([1, 2, 7, math.inf]), st.booleans())
def test_iterates_are_those_of_algorithm_1_on_all_states(seed: int, H: int, m: float, signed: bool) -> None:
    game = signed_game(seed) if signed else random_linear_game(12, 2, 3, 3, seed, gamma=0.8)
    reached = identified_law(game, choose_design(game)).support
    tabular = islice(algorithm_1(game.to_tabular(), H, m), 4)
    for v, small in zip(tabular, weight_space_iterates(game, H, m), strict=False):
        np.testing.assert_allclose(small, v[reached], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("planner", [solve_linear_game, linear_policy_iteration])
@settings(max_examples=15)
@given(SEEDS, st.booleans())
def test_the_value_is_the_tabular_one_in_every_state_met_or_not(planner: object, seed: int, signed: bool) -> None:
    game = signed_game(seed) if signed else random_linear_game(40, 2, 3, 3, seed, gamma=0.8, support=3)
    solution, tabular = planner(game, 1e-9), game.to_tabular()
    exact = shapley_iteration(tabular, 1e-10)
    every = np.arange(game.n_states)
    np.testing.assert_allclose(solution.value(every), exact.value, atol=2e-9)
    certificate = certify_game(tabular, solution.value(every), *solution.policy(every))
    assert certificate.gap <= 1e-7
    assert solution.status is Status.CONVERGED


def test_the_count_of_matrix_games_is_that_of_the_reached_states() -> None:
    """d = 5, |S| = 40, H = 6, m = 7: |S_D| games a sweep in place of 40."""
    game = random_linear_game(40, 3, 3, 5, 3, gamma=0.9, support=3)
    solution = linear_policy_iteration(game, lookahead=6, rollout=7)
    policies = solution.support.iterations
    assert solution.reached.size <= 15
    assert solution.matrix_games == 6 * policies * solution.reached.size
    assert solution.tabular_matrix_games == 6 * policies * 40
    assert solution.support.work.evaluations == 6 * (policies - 1)  # the first of each m is T W
    exact = linear_policy_iteration(game, lookahead=1, rollout=math.inf).support
    assert (exact.work.sweeps, exact.work.exact_evaluations) == (exact.iterations, exact.iterations - 1)


@pytest.mark.parametrize("planner", [solve_linear_game, linear_policy_iteration])
def test_the_cost_does_not_depend_on_the_number_of_states(planner: object) -> None:
    solutions = [planner(on_states(n_states)) for n_states in (10**4, 10**9, 2**62)]
    works = [solution.support.work for solution in solutions]
    assert works[0] == works[1] == works[2]
    assert [s.tabular_matrix_games for s in solutions] == [works[0].sweeps * n for n in (10**4, 10**9, 2**62)]
    np.testing.assert_array_equal(solutions[0].weights, solutions[1].weights)
    np.testing.assert_array_equal(solutions[0].value(np.array([77])), solutions[2].value(np.array([77])))


def on_states(n_states: int) -> LinearMarkovGame:
    """The same measures, rewards, support and features of each state whatever the number of states."""
    rng = np.random.default_rng(3)
    mu = FiniteSupportMeasures(rng.integers(0, 1000, (6, 5)), rng.dirichlet(np.ones(5), size=6))
    rho = FiniteSupportMeasures(np.array([3, 900, 5]), np.array([0.5, 0.5, 0.0]))
    return LinearMarkovGame(HashedSimplexFeatures(n_states, (3, 3), 6, 11), mu, rng.random(6), 0.9, rho)


def test_a_thousand_million_states_have_the_value_of_the_game_on_the_states_met() -> None:
    game = random_linear_game(10**9, 3, 3, 4, 0, gamma=0.9)
    states, small = met_game(game)
    exact = shapley_iteration(small, 1e-10)
    for solution in (solve(game), linear_policy_iteration(game)):
        np.testing.assert_array_equal(solution.states, states)
        np.testing.assert_allclose(solution.support.value, exact.value, atol=1e-9)
        assert solution.status is Status.CONVERGED
        far = np.random.default_rng(0).integers(0, 10**9, 50)
        q = game.phi(far) @ (game.theta + 0.9 * game.law.mu @ exact.value[np.searchsorted(states, game.law.support)])
        np.testing.assert_allclose(solution.value(far), solve_matrix_games(q).values, atol=1e-9)


def test_what_play_reaches_does_not_depend_on_the_design() -> None:
    game = random_linear_game(30, 2, 2, 4, 1)
    for seed in range(3):
        drawn = np.random.default_rng(seed).permutation(120)[:4]
        solution = linear_policy_iteration(game, design=(drawn // 4, drawn % 4))
        np.testing.assert_array_equal(solution.reached, reached_law(game).support)
        np.testing.assert_allclose(solution.weights, solve(game).weights, atol=1e-7)


# ---------------------------------------------------------------------------------------------- convergence


def test_naive_policy_iteration_says_that_it_cycles_where_the_safeguarded_method_converges() -> None:
    game = tables(van_der_wal())
    naive = linear_policy_iteration(game, lookahead=1, rollout=math.inf)
    assert naive.status is Status.CYCLING
    assert naive.certificate.gap > 1e-3
    exact = shapley_iteration(van_der_wal(), 1e-10)
    assert (naive.certificate.lower <= exact.value + 1e-9).all()
    assert (exact.value <= naive.certificate.upper + 1e-9).all()
    for solution in (solve_linear_game(game), linear_policy_iteration(game, lookahead=6, rollout=2)):
        assert solution.status is Status.CONVERGED
        np.testing.assert_allclose(solution.support.value, exact.value, atol=1e-8)


@settings(max_examples=20)
@given(SEEDS, st.floats(0.0, 0.999))
def test_the_safeguarded_method_converges_on_random_games(seed: int, gamma: float) -> None:
    solution = solve_linear_game(random_linear_game(10**6, 3, 4, 5, seed, gamma=gamma))
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-8


def test_a_stopped_planner_returns_its_best_answer_with_a_true_certificate() -> None:
    game = random_linear_game(50, 3, 3, 4, 2, gamma=0.99)
    exact = shapley_iteration(met_game(game)[1], 1e-9)
    stopped = linear_policy_iteration(game, lookahead=1, rollout=1, max_iterations=3)
    assert stopped.status is Status.ITERATION_LIMIT
    assert stopped.support.iterations == 3
    assert (stopped.certificate.lower <= exact.certificate.upper).all()
    assert (exact.certificate.lower <= stopped.certificate.upper).all()


def test_an_interrupted_planner_returns_its_best_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Array:
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Sweeps, "evaluate", interrupted)
    assert solve(random_linear_game(50, 3, 3, 4, 2)).status is Status.INTERRUPTED


def test_a_tolerance_below_rounding_ends_at_the_precision_limit() -> None:
    assert solve(random_linear_game(50, 3, 3, 4, 2), 1e-300).status is Status.PRECISION_LIMIT


def test_redundant_features_are_solved_where_no_design_is_asked_for() -> None:
    """Two states, one action each, in five dimensions."""
    game = random_linear_game(2, 1, 1, 5, 0, support=2)
    exact = shapley_iteration(game.to_tabular(), 1e-10)
    np.testing.assert_allclose(solve(game).value(np.arange(2)), exact.value, atol=1e-9)


# ---------------------------------------------------------------------------------------------- certificates


@settings(max_examples=25)
@given(SEEDS, st.booleans(), st.floats(-12, 1))
def test_bounds_of_any_weights_hold_in_every_state_that_play_can_meet(seed: int, signed: bool, size: float) -> None:
    game = signed_game(seed) if signed else random_linear_game(15, 2, 3, 3, seed, gamma=0.8)
    weights = solve(game).weights + 10.0**size * np.random.default_rng(seed).normal(size=3)
    states, bounds = certify_game_weights(game, weights)
    exact = shapley_iteration(game.to_tabular(), 1e-9).certificate
    np.testing.assert_array_equal(states, met_states(game))
    assert (bounds.lower <= exact.upper[states]).all()
    assert (exact.lower[states] <= bounds.upper).all()
    mu, nu = (solve_matrix_games(game.phi(states) @ weights)[k] for k in (1, 2))
    small = certify_game(met_game(game)[1], solve_matrix_games(game.phi(states) @ weights).values, mu, nu)
    np.testing.assert_allclose(bounds.lower, small.lower, atol=1e-9 * (1 + 10**size))
    np.testing.assert_allclose(bounds.upper, small.upper, atol=1e-9 * (1 + 10**size))


def test_the_certificate_is_recomputed_from_the_weights() -> None:
    game = random_linear_game(1000, 3, 3, 4, 0)
    solution = linear_policy_iteration(game)
    states, bounds = certify_game_weights(game, solution.weights)
    np.testing.assert_array_equal(states, solution.states)
    np.testing.assert_array_equal(bounds.lower, solution.certificate.lower)
    np.testing.assert_array_equal(bounds.upper, solution.certificate.upper)
    corrupted = certify_game_weights(game, solution.weights + 1e-3)[1]
    assert corrupted.gap >= 1e-3


def test_a_wrong_law_at_the_design_cannot_certify_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    game = random_linear_game(1000, 3, 3, 4, 0)
    truth = identified_law(game, choose_design(game))
    wrong = replace(truth, theta=truth.theta + 0.01)
    monkeypatch.setattr(module, "identified_law", lambda *_: wrong)
    solution = linear_policy_iteration(game)
    assert solution.certificate.gap >= 0.01
    assert solution.status is not Status.CONVERGED


# ---------------------------------------------------------------------------------------------- designs


def test_a_design_identifies_the_law() -> None:
    game = random_linear_game(30, 2, 3, 4, 5)
    design, law = choose_design(game), reached_law(game)
    found = identified_law(game, design)
    np.testing.assert_allclose(found.theta, law.theta, atol=1e-11)
    np.testing.assert_allclose(found.mu, law.mu, atol=1e-11)
    assert design.states.shape == design.joint_actions.shape == (4,)
    rows = game.phi(law.support).reshape(-1, 4)
    expected = np.abs(rows @ np.linalg.inv(game.phi.at(design.states, design.joint_actions))).sum(axis=1).max()
    assert abs(design.amplification - expected) <= 1e-9 * expected


def test_pivoting_amplifies_less_than_most_designs_do() -> None:
    game = random_linear_game(10**9, 3, 3, 6, 0)
    chosen = choose_design(game)
    rng, others = np.random.default_rng(0), []
    for _ in range(20):
        design = rng.choice(reached_law(game).support, 6, replace=False), rng.integers(0, 9, 6)
        others.append(linear_policy_iteration(game, design=design).design.amplification)
    assert chosen.amplification < np.quantile(others, 0.1)


def test_further_states_are_asked_where_those_reached_do_not_span() -> None:
    """All moves lead to state 0, whose features are a corner each."""
    phi = np.zeros((3, 1, 2, 3))
    phi[0, 0, :, 0] = phi[1, 0, :, 1] = phi[2, 0, :, 2] = 1.0
    game = LinearMarkovGame(phi, np.eye(3)[[0, 0, 0]], np.array([1.0, 2.0, 3.0]), 0.5, np.full(3, 1 / 3))
    solution = linear_policy_iteration(game)
    np.testing.assert_array_equal(solution.reached, [0])
    np.testing.assert_allclose(solution.weights, [2.0, 3.0, 4.0], atol=1e-9)


def test_features_without_full_rank_are_refused_with_their_rank() -> None:
    redundant = random_linear_game(20, 2, 2, 2, 0)
    phi = np.concatenate([0.5 * redundant.phi(np.arange(20))] * 2, axis=-1)
    mu = np.concatenate([redundant.mu.dense(20)] * 2)
    game = LinearMarkovGame(phi, mu, np.concatenate([redundant.theta] * 2), 0.9, np.full(20, 1 / 20))
    with pytest.raises(ModelError, match=r"phi has rank 2 on the \d+ candidate triples, below d = 4"):
        linear_policy_iteration(game)
    np.testing.assert_allclose(
        solve(game).value(np.arange(20)), shapley_iteration(game.to_tabular(), 1e-10).value, atol=1e-8
    )


def test_designs_and_candidates_that_do_not_span_are_refused() -> None:
    game = random_linear_game(10**9, 3, 3, 4, 0)
    one = np.array([5, 5, 5, 5]), np.array([0, 1, 2, 2])
    with pytest.raises(ModelError, match="phi has rank 3 on the 4 triples of D, below d = 4"):
        linear_policy_iteration(game, design=one)
    with pytest.raises(ModelError, match="phi has rank 3 on the 4 candidate triples, below d = 4"):
        linear_policy_iteration(game, candidates=one)
    with pytest.raises(ModelError, match=r"actions\[1\] is 9"):
        linear_policy_iteration(game, design=(np.arange(4), np.array([0, 9, 0, 0])))


def test_candidates_and_seeds_are_followed() -> None:
    game = random_linear_game(10**9, 3, 3, 4, 0)
    states = np.arange(7)
    chosen = choose_design(game, (np.repeat(states, 2), np.tile([0, 8], 7)))
    assert set(chosen.states) <= set(states.tolist())
    assert set(chosen.joint_actions) <= {0, 8}
    solution: LinearGameSolution = linear_policy_iteration(game, candidates=(np.arange(40), np.zeros(40, np.int64)))
    assert solution.design is not None
    assert solution.status is Status.CONVERGED


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lookahead": 0}, "lookahead is 0"),
        ({"rollout": 0}, "rollout is 0"),
        ({"tol": 0.0}, "tol is 0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"rng": -1}, "rng is -1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    phi = np.zeros((3, 1, 1, 3))
    phi[[0, 1, 2], 0, 0, [0, 1, 2]] = 1.0
    game = LinearMarkovGame(phi, np.eye(3)[[0, 0, 0]], np.ones(3), 0.5, np.full(3, 1 / 3))
    with pytest.raises(ValueError, match=message):
        linear_policy_iteration(game, **arguments)


@pytest.mark.parametrize("planner", [solve_linear_game, linear_policy_iteration])
def test_a_game_without_discount_is_refused(planner: object) -> None:
    with pytest.raises(ValueError, match="gamma = 1"):
        planner(random_linear_game(20, 2, 2, 3, 0, gamma=1.0))


def test_features_too_large_for_memory_are_refused_before_they_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABULAR_BYTES", 1000)
    with pytest.raises(ModelError, match=r"features of 20 states needs up to \d,\d+ bytes, more than"):
        solve(random_linear_game(10**9, 3, 3, 4, 0))
