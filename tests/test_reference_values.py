"""Solvers, through their public names, reproduce values published elsewhere; each certificate encloses them."""

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.models import (
    big_match,
    car_rental,
    deep_sea,
    filar_tolwinski_failure,
    from_gymnasium,
    gamblers_problem,
    gridworld,
    hard_linear_mdp,
    matching_pennies,
    rock_paper_scissors,
    small_gridworld,
    toymaker,
    two_state_mdp,
    van_der_wal,
)
from lookahead_rl.solvers import (
    Status,
    backward_induction,
    evaluate_policy,
    policy_iteration,
    shapley_iteration,
    solve,
    value_iteration,
)

SOLVERS = [value_iteration, policy_iteration]


def assert_encloses(solution, published, atol):
    """The certificate lies within ``atol`` of what was published, and the value within the certificate."""
    certificate = solution.certificate
    assert (certificate.lower <= solution.value).all()
    assert (solution.value <= certificate.upper).all()
    np.testing.assert_allclose(certificate.lower, published, atol=atol)
    np.testing.assert_allclose(certificate.upper, published, atol=atol)


@pytest.mark.parametrize("solver", SOLVERS)
def test_sutton_and_bartos_gridworld(solver):
    # Sutton, Barto, Reinforcement Learning, 2nd ed. 2018, Figure 3.5 (Example 3.8).
    published = [
        [22.0, 24.4, 22.0, 19.4, 17.5],
        [19.8, 22.0, 19.8, 17.8, 16.0],
        [17.8, 19.8, 17.8, 16.0, 14.4],
        [16.0, 17.8, 16.0, 14.4, 13.0],
        [14.4, 16.0, 14.4, 13.0, 11.7],
    ]
    assert_encloses(solver(gridworld(), 1e-9), np.ravel(published), 0.05)


def test_random_walk_in_sutton_and_bartos_gridworld():
    # Sutton, Barto 2018, Figure 3.2 (Example 3.5), top row.
    evaluated = evaluate_policy(gridworld(), np.full((25, 4), 0.25))
    np.testing.assert_allclose(evaluated.value[:5], [3.3, 8.8, 4.4, 5.3, 1.5], atol=0.05)


def test_undiscounted_random_walk_in_sutton_and_bartos_small_gridworld():
    # Sutton, Barto 2018, Figure 4.1 (Example 4.1), k = infinity.
    published = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    evaluated = evaluate_policy(small_gridworld(), np.full((16, 4), 0.25))
    assert_encloses(evaluated, np.ravel(published), 1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_gamblers_problem_without_discount_is_certified(solver):
    # Dubins, Savage, How to Gamble If You Must, 1965, chapter 5: bold play is optimal; from 50 it wins with
    # probability p, from 25 with p^2 (Sutton, Barto 2018, Example 4.3, has p = 0.4).
    solution = solver(gamblers_problem(0.4), 1e-10)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-10
    np.testing.assert_allclose(solution.value[[25, 50, 75]], [0.16, 0.4, 0.64], atol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("gamma", "value"), [(1.0, 14 / 17), (0.99, 0.54203)])
def test_frozen_lake(solver, gamma, value):
    # 14/17 with unlimited time and .54203 at gamma = .99 are known from many courses' exercises on this map.
    solution = solver(from_gymnasium(gym.make("FrozenLake-v1"), gamma=gamma), 1e-10)
    assert solution.value[0] == pytest.approx(value, abs=5e-6)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-10


@pytest.mark.parametrize("solver", SOLVERS)
def test_taxi_without_discount_is_worth_its_best_ride(solver):
    # Derived: the taxi's moves are certain, so v* is the best path's total reward, found by relaxing every move.
    model = from_gymnasium(gym.make("Taxi-v4"), gamma=1.0)
    solution = solver(model, 1e-9)
    next_state = model.P.indices.reshape(model.n_states, model.n_actions)
    best = np.where(model.terminal, 0.0, -np.inf)
    for _ in range(60):
        best = np.where(model.terminal, 0.0, (model.r + best[next_state]).max(axis=1))
    np.testing.assert_allclose(solution.value, best, atol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_toymaker(solver):
    # Howard, Dynamic Programming and Markov Processes, 1960, chapter 7: v* = (22.2, 12.3) at gamma = 0.9.
    assert_encloses(solver(toymaker(), 1e-9), [22.2, 12.3], 0.05)


@pytest.mark.parametrize("solver", SOLVERS)
def test_putermans_two_state_example(solver):
    # Puterman, Markov Decision Processes, 1994, Example 6.2.1: v* = (-8.571, -20) at lambda = 0.95.
    assert_encloses(solver(two_state_mdp(), 1e-9), [-8.571, -20.0], 5e-4)


def test_car_rental_moves_as_in_sutton_and_barto():
    # Sutton, Barto 2018, Figure 4.2: the optimal policy moves up to 5 cars one way and 4 the other.
    solution = policy_iteration(car_rental(), 1e-6)
    first, second = np.divmod(np.arange(441), 21)
    moved = np.clip(solution.policy - 5, -second, first)
    assert (moved.max(), moved.min()) == (5, -4)


def test_deep_sea_returns_099():
    # bsuite (Osband et al., ICLR 2020): the optimal return is 0.99.
    assert backward_induction(deep_sea(20, 0)).value[0, 0] == pytest.approx(0.99, abs=1e-12)


@pytest.mark.parametrize(
    ("horizon", "dim", "episodes", "value"), [(5, 4, 100, 1.790157), (10, 6, 1000, 3.714646), (8, 8, 500, 3.066209)]
)
def test_hard_linear_mdp(horizon, dim, episodes, value):
    # Derived from Zhou, Gu, Szepesvari, COLT 2021: v*_1(x_1) = sum_h (H - h) p (1 - p)^(h - 1).
    solution = solve(hard_linear_mdp(horizon, dim, episodes, 0))
    assert float(np.max(solution.value(np.zeros(1, dtype=np.int64), 0))) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize(
    ("game", "published", "atol"),
    [
        (van_der_wal(), [8.0, 0.0], 1e-6),  # Van der Wal 1978
        (filar_tolwinski_failure(), [-1.4571, -1.25, 1.25], 5e-5),  # Badger, Huang, Petrik 2025, Example 4.1
        (big_match(gamma=0.9), [5.0, 10.0, 0.0], 1e-6),  # Blackwell, Ferguson 1968: 1/2 a day
    ],
)
def test_games_of_the_literature(game, published, atol):
    solution = shapley_iteration(game, 1e-9)
    assert solution.status is Status.CONVERGED
    assert_encloses(solution, published, atol)


@pytest.mark.parametrize("game", [matching_pennies(), rock_paper_scissors()])
def test_symmetric_games_are_worth_nothing(game):
    assert_encloses(shapley_iteration(game, 1e-9), np.zeros(game.n_states), 1e-8)


def test_van_der_wals_environment_knows_its_value():
    env = pettingzoo.make("parallel", "lookahead_rl/VanDerWal-v0")
    np.testing.assert_allclose(env.unwrapped.solution().value, [8.0, 0.0], atol=1e-6)
