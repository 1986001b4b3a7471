from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from lookahead_rl.models import (
    ModelError,
    big_match,
    car_rental,
    chain,
    deep_lookahead_cycle,
    deep_sea,
    filar_tolwinski_failure,
    gamblers_problem,
    gridworld,
    hard_linear_mdp,
    matching_pennies,
    matrix_game,
    river_swim,
    rock_paper_scissors,
    small_gridworld,
    taxicab,
    toymaker,
    turn_based_cycle,
    two_state_mdp,
    van_der_wal,
)

# ---- decision processes: exact values by linear algebra --------------------------------------------------


def chain_of(model, policy):
    """P and r of a policy given as probabilities (S, A)."""
    return np.einsum("sa,sat->st", policy, model.P), np.einsum("sa,sa->s", policy, model.r)


def evaluate(model, policy):
    """v^pi of actions (S,) or probabilities (S, A): the solution of (I - gamma P) v = r on live states."""
    policy = np.eye(model.n_actions)[policy] if np.ndim(policy) == 1 else policy
    P, r = chain_of(model, policy)
    live = ~model.terminal
    v = np.zeros(model.n_states)
    v[live] = np.linalg.solve(np.eye(live.sum()) - model.gamma * P[np.ix_(live, live)], r[live])
    return v


def improvements(model, policy):
    """The policies of Howard's policy iteration from a policy on; an action is kept unless another is better."""
    states, policies = np.arange(model.n_states), [policy]
    while True:
        q = model.r + model.gamma * model.P @ evaluate(model, policies[-1])
        better = q.max(axis=1) > q[states, policies[-1]] + 1e-9
        if not better.any():
            return policies
        policies.append(np.where(better, q.argmax(axis=1), policies[-1]))


def optimal_value(model):
    return evaluate(model, improvements(model, np.zeros(model.n_states, dtype=int))[-1])


def gain(model, actions):
    """Average reward a step of a unichain policy, from its stationary distribution."""
    P, r = chain_of(model, np.eye(model.n_actions)[actions])
    n = model.n_states
    return np.linalg.lstsq(np.vstack((P.T - np.eye(n), np.ones(n))), np.append(np.zeros(n), 1.0), rcond=None)[0] @ r


def best_gain(model):
    return max(gain(model, list(actions)) for actions in product(range(model.n_actions), repeat=model.n_states))


def backward_recursion(model):
    v = np.zeros(model.n_states)
    for h in reversed(range(model.horizon)):
        P, r = model.stage(h)
        v = (r + (P @ v).reshape(r.shape)).max(axis=1)
    return v


def test_gridworld_has_the_optimal_values_of_sutton_and_barto():
    # Sutton, Barto 2018, Figure 3.5 (Example 3.8).
    published = [
        [22.0, 24.4, 22.0, 19.4, 17.5],
        [19.8, 22.0, 19.8, 17.8, 16.0],
        [17.8, 19.8, 17.8, 16.0, 14.4],
        [16.0, 17.8, 16.0, 14.4, 13.0],
        [14.4, 16.0, 14.4, 13.0, 11.7],
    ]
    np.testing.assert_array_equal(optimal_value(gridworld()).reshape(5, 5).round(1), published)


def test_gridworld_has_the_random_policys_values_of_sutton_and_barto():
    # Sutton, Barto 2018, Figure 3.2 (Example 3.5).
    published = [
        [3.3, 8.8, 4.4, 5.3, 1.5],
        [1.5, 3.0, 2.3, 1.9, 0.5],
        [0.1, 0.7, 0.7, 0.4, -0.4],
        [-1.0, -0.4, -0.4, -0.6, -1.2],
        [-1.9, -1.3, -1.2, -1.4, -2.0],
    ]
    values = evaluate(gridworld(), np.full((25, 4), 0.25)).reshape(5, 5)
    np.testing.assert_array_equal(values.round(1), published)


def test_small_gridworld_has_the_values_of_sutton_and_barto():
    # Sutton, Barto 2018, Figure 4.1 (Example 4.1), k = infinity.
    published = [[0, -14, -20, -22], [-14, -18, -20, -20], [-20, -20, -18, -14], [-22, -20, -14, 0]]
    model = small_gridworld()
    np.testing.assert_allclose(evaluate(model, np.full((16, 4), 0.25)).reshape(4, 4), published, atol=1e-12)
    row, column = np.divmod(np.arange(16), 4)
    nearest = np.minimum(row + column, 6 - row - column)
    homing = np.where(row + column <= 3, np.where(row > 0, 0, 3), np.where(row < 3, 1, 2))
    np.testing.assert_allclose(evaluate(model, homing), -nearest)
    assert len(improvements(model, homing)) == 1


@pytest.mark.parametrize("p", [0.1, 0.4, 0.5])
def test_bold_play_is_optimal_in_the_gamblers_problem(p):
    # Dubins, Savage 1965, chapter 5: bold play is optimal for p <= 1/2. The values at 25, 50 and 75 are derived: bold
    # play wins from 50 at once, from 25 after two wins, from 75 at once or from 50.
    model = gamblers_problem(p)
    capital = np.arange(101)
    bold = np.clip(np.minimum(capital, 100 - capital) - 1, 0, None)
    value = evaluate(model, bold)
    q = model.r + model.P @ value
    assert (q[1:100] <= value[1:100, None] + 1e-12).all()
    np.testing.assert_allclose(value[[25, 50, 75]], [p**2, p, p + (1 - p) * p], rtol=1e-12)
    if p == 0.5:
        np.testing.assert_allclose(value[1:100], capital[1:100] / 100)


def test_every_policy_ends_the_gamblers_problem():
    model = gamblers_problem(0.4, 9)
    stays = model.P[np.arange(10), :, np.arange(10)]
    assert (stays[1:9] == 0).all()
    assert model.terminal.tolist() == [True] + [False] * 8 + [True]


def test_policy_iteration_solves_the_car_rental_in_four_improvements():
    # Sutton, Barto 2018, Figure 4.2: policies pi_0 to pi_4, the last one optimal and with regions from 5 to -4.
    model = car_rental()
    policies = improvements(model, np.full(441, 5))
    assert len(policies) == 5
    first, second = np.divmod(np.arange(441), 21)
    moved = np.clip(policies[-1] - 5, -second, first).reshape(21, 21)
    assert (moved.max(), moved.min()) == (5, -4)
    assert (moved[20, 0], moved[0, 20], moved[0, 0]) == (5, -4, 0)


def test_a_day_at_the_car_rental_obeys_its_poisson_laws():
    # Derived: with 20 cars at each place requests are hardly ever refused, so the income is 10 (3 + 4); returns to
    # an empty place are Poisson(3).
    model = car_rental()
    np.testing.assert_allclose(model.r[20 * 21 + 20, 5], 70.0, atol=1e-6)
    np.testing.assert_allclose(model.r[0, 5], 0.0, atol=1e-12)
    stays_empty = model.P[0, 5].reshape(21, 21).sum(axis=1)
    np.testing.assert_allclose(stays_empty[:4], np.exp(-3) * np.array([1, 3, 4.5, 4.5]), rtol=1e-12)
    np.testing.assert_allclose(model.r[5 * 21 + 0, 10], model.r[5, 5] - 10.0)  # five cars are moved for 2 each
    np.testing.assert_allclose(model.P[5 * 21, 10], model.P[5, 5])


def test_taxicab_has_howards_gain_and_policies():
    # Howard 1960, chapter 5: fares expected of the first action, gain 13.34, the cab stand in every town.
    model = taxicab()
    np.testing.assert_allclose(model.r[:, 0], [8.0, 16.0, 7.0])
    np.testing.assert_allclose(best_gain(model), 13.34, atol=0.005)
    np.testing.assert_allclose(gain(model, [1, 1, 1]), best_gain(model))
    # Chapter 7: the stand is taken first in B, then in C, then in A as the discount grows.
    start = np.zeros(3, dtype=int)
    optimal = [improvements(taxicab(gamma=gamma), start)[-1].tolist() for gamma in (0.05, 0.3, 0.7, 0.9)]
    assert optimal == [[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]]
    # Derived, from the three equations of that policy.
    np.testing.assert_allclose(optimal_value(model), [121.65, 135.31, 122.84], atol=0.005)


def test_toymaker_has_howards_values():
    # Howard 1960, chapter 7, at gamma = 0.9: (15.5, 5.6) for policy (0, 0), v* = (22.2, 12.3); chapter 4: gain 2.
    model = toymaker()
    policies = improvements(model, np.zeros(2, dtype=int))
    np.testing.assert_array_equal(evaluate(model, policies[0]).round(1), [15.5, 5.6])
    np.testing.assert_array_equal(evaluate(model, policies[-1]).round(1), [22.2, 12.3])
    assert policies[-1].tolist() == [1, 1]
    np.testing.assert_allclose(best_gain(model), 2.0)
    np.testing.assert_allclose(gain(model, [0, 0]), 1.0)


def test_two_state_mdp_has_putermans_values():
    # Puterman 1994, Example 6.2.1: v* = (-8.571, -20) at lambda = 0.95.
    np.testing.assert_allclose(optimal_value(two_state_mdp()), [-60 / 7, -20.0], rtol=1e-12)


def test_chain_earns_what_the_literature_reports():
    # Poupart et al. 2006, Table 1: 3677 in 1000 steps, the gain of always moving on.
    np.testing.assert_allclose(1000 * best_gain(chain()), 3677, atol=0.5)
    np.testing.assert_allclose(best_gain(chain(4, slip=0.1)), 10 * 0.9**4 + 2 * 0.1, rtol=1e-12)
    np.testing.assert_allclose(gain(chain(3, slip=0.0), [1, 1, 1]), 2.0)


def test_river_swim_rewards_swimming_against_the_current():
    # Derived. Birth and death balance: pi_0 0.6 = pi_1 0.05, pi_i 0.35 = pi_{i+1} 0.05, pi_{n-2} 0.35 = pi_{n-1} 0.4.
    model = river_swim(6)
    weights = np.cumprod([1.0, 0.6 / 0.05, 7.0, 7.0, 7.0, 0.35 / 0.4])
    np.testing.assert_allclose(gain(model, [1] * 6), weights[-1] / weights.sum(), rtol=1e-10)
    np.testing.assert_allclose(best_gain(model), weights[-1] / weights.sum(), rtol=1e-10)
    # Resting at the left bank: 0.005 / (1 - gamma), which is optimal for the impatient.
    np.testing.assert_allclose(evaluate(model, np.zeros(6, dtype=int))[0], 0.1)
    assert optimal_value(river_swim(6, gamma=0.5))[0] == pytest.approx(0.01)
    assert optimal_value(model)[0] > 0.2


@pytest.mark.parametrize("size", [1, 2, 10, 50])
def test_deep_sea_has_optimal_return_099(size):
    # bsuite (Osband et al., ICLR 2020), deep sea: the optimal return is 0.99.
    model = deep_sea(size, 0)
    assert backward_recursion(model)[0] == pytest.approx(0.99, abs=1e-12)
    assert model.horizon == size
    assert model.rho[0] == 1.0


def test_one_plan_in_all_finds_the_treasure_of_deep_sea():
    model, returns = deep_sea(6, 1), []
    for actions in product(range(2), repeat=6):
        state, total = 0, 0.0
        for h, a in enumerate(actions):
            P, r = model.stage(h)
            total += r[state, a]
            state = P.indices[2 * state + a]
        returns.append(total)
    assert sum(value > 0 for value in returns) == 1
    assert max(returns) == pytest.approx(0.99)


def test_the_meaning_of_actions_in_deep_sea_is_drawn_for_each_cell():
    def right(seed):
        model = deep_sea(20, seed, move_cost=0.5)
        return np.array([model.stage(h)[1].argmin(axis=1) for h in range(19)])

    assert 0.4 < right(0).mean() < 0.6
    assert (right(0) == right(0)).all()
    assert (right(0) != right(1)).any()


@pytest.mark.parametrize(
    ("horizon", "dim", "episodes", "value"), [(5, 4, 100, 1.790157), (10, 6, 1000, 3.714646), (8, 8, 500, 3.066209)]
)
def test_hard_linear_mdp_has_the_value_of_its_closed_form(horizon, dim, episodes, value):
    # Derived from Zhou, Gu, Szepesvári, COLT 2021: v*_1(x_1) = sum_h (H - h) p (1 - p)^(h-1).
    model = hard_linear_mdp(horizon, dim, episodes, 0)
    p = 1 / horizon + (dim - 1) * np.sqrt(1 / (horizon * episodes)) / (4 * np.sqrt(2))
    h = np.arange(1, horizon)
    assert np.sum((horizon - h) * p * (1 - p) ** (h - 1)) == pytest.approx(value, abs=5e-7)
    assert backward_recursion(model.to_tabular())[0] == pytest.approx(value, abs=5e-7)
    assert model.is_normalised
    np.testing.assert_allclose(np.linalg.norm(model.phi.table, axis=2), 1.0)
    assert model.n_actions == 2 ** (dim - 1)


def test_each_stage_of_the_hard_linear_mdp_has_its_own_best_action():
    table = hard_linear_mdp(12, 5, 100, 3).to_tabular()
    best = []
    for h in range(12):
        P, _ = table.stage(h)
        to_goal = P.reshape(14, 16, 14)[h, :, -1]
        best.append(to_goal.argmax())
        assert (to_goal == to_goal.max()).sum() == 1
        np.testing.assert_allclose(to_goal.mean(), 1 / 12)
    assert len(set(best)) > 1


# ---- zero-sum games: matrix games by linear programming, joint policies by brute force -------------------


def saddle(Q):
    """Value and an optimal (x, y) of the zero-sum matrix game Q, by two linear programs."""

    def guarantee(M):
        rows, columns = M.shape
        result = linprog(
            np.append(np.zeros(rows), -1.0),
            A_ub=np.hstack((-M.T, np.ones((columns, 1)))),
            b_ub=np.zeros(columns),
            A_eq=np.append(np.ones(rows), 0.0)[None],
            b_eq=[1.0],
            bounds=[(0, None)] * rows + [(None, None)],
        )
        return result.x[:-1], -result.fun

    (x, value), (y, _) = guarantee(Q), guarantee(-Q.T)
    return value, x, y


def solve_states(game, v):
    """Tv and a greedy pair (mu (S, A), nu (S, B))."""
    Q = game.r + game.gamma * game.P @ v
    values, mu, nu = np.zeros(game.n_states), np.zeros(game.r.shape[:2]), np.zeros(game.r.shape[::2])
    for s, (a, b) in enumerate(zip(game.n_actions_0, game.n_actions_1, strict=True)):
        values[s], mu[s, :a], nu[s, :b] = saddle(Q[s, :a, :b])
    return values, mu, nu


def evaluate_pair(game, mu, nu):
    r = np.einsum("sa,sab,sb->s", mu, game.r, nu)
    P = np.einsum("sa,sabt,sb->st", mu, game.P, nu)
    live = ~game.terminal
    v = np.zeros(game.n_states)
    v[live] = np.linalg.solve(np.eye(live.sum()) - game.gamma * P[np.ix_(live, live)], r[live])
    return v


def naive_policy_iteration(game, v, lookahead, n_iterations):
    """Values of the joint policies greedy for T^(lookahead - 1) v, each evaluated exactly."""
    values = []
    for _ in range(n_iterations):
        for _ in range(lookahead - 1):
            v = solve_states(game, v)[0]
        v = evaluate_pair(game, *solve_states(game, v)[1:])
        values.append(v)
    return np.array(values)


@pytest.mark.parametrize(
    ("game", "value"),
    [
        (van_der_wal(), [8.0, 0.0]),  # Van der Wal 1978
        (deep_lookahead_cycle(), [10 / 0.325, 0.0]),  # derived: v = 10 + 0.9 (3/4) v
        (turn_based_cycle(), [0.0, 1.33, 3.0, 3.7]),  # derived: 0, -2 + 0.9 (3.7), 3 + 0.9 (0), 1 + 0.9 (3)
        (filar_tolwinski_failure(), [-1.4571, -1.25, 1.25]),  # Badger, Huang, Petrik 2025, Example 4.1
        (big_match(gamma=0.9), [5.0, 10.0, 0.0]),  # Blackwell, Ferguson 1968: 1/2 a day
        (big_match(gamma=0.99), [50.0, 100.0, 0.0]),
        (matching_pennies(), [0.0]),
        (rock_paper_scissors(gamma=0.5), [0.0]),
        (matrix_game([[3, 0], [1, 2]], gamma=0.5), [3.0]),  # derived: value 3/2 by x = (1/4, 3/4), twice
    ],
)
def test_the_known_value_of_a_game_solves_shapleys_equation(game, value):
    np.testing.assert_allclose(solve_states(game, np.array(value))[0], value, atol=5e-5)


def test_naive_policy_iteration_cycles_on_van_der_wals_game():
    values = naive_policy_iteration(van_der_wal(), np.zeros(2), 1, 6)
    np.testing.assert_allclose(values[:, 0], [12, 4, 12, 4, 12, 4], atol=1e-9)
    np.testing.assert_allclose(naive_policy_iteration(van_der_wal(), np.zeros(2), 3, 10)[-1], [8, 0], atol=1e-9)


def test_three_steps_of_lookahead_do_not_stop_the_deep_cycle_and_four_do():
    game = deep_lookahead_cycle()
    values = naive_policy_iteration(game, np.zeros(2), 3, 6)[:, 0]
    np.testing.assert_allclose(sorted(set(values.round(6))), [0.0, 70.0], atol=1e-6)
    assert (values[1:] != values[:-1]).all()
    np.testing.assert_allclose(naive_policy_iteration(game, np.zeros(2), 4, 6)[-1, 0], 10 / 0.325, rtol=1e-9)


def test_naive_policy_iteration_cycles_with_period_three_on_the_turn_based_game():
    game = turn_based_cycle()
    mu, nu = np.eye(2)[[0, 0, 0, 0]], np.eye(2)[[1, 0, 0, 1]]
    start = evaluate_pair(game, mu, nu)
    np.testing.assert_allclose(start, [0.0, 10.0, 3.0, 3.7], atol=1e-9)
    values = naive_policy_iteration(game, start, 1, 6)
    np.testing.assert_allclose(values[[2, 5]], [start, start], atol=1e-9)
    assert np.abs(values[0] - values[1]).max() > 1


def test_the_turn_based_game_has_no_ties_on_its_cycle():
    game = turn_based_cycle()
    v = evaluate_pair(game, np.eye(2)[[0, 0, 0, 0]], np.eye(2)[[1, 0, 0, 1]])
    for _ in range(3):
        Q = game.r + game.gamma * game.P @ v
        gaps = [abs(Q[s, 1, 0] - Q[s, 0, 0]) if s == 2 else abs(Q[s, 0, 1] - Q[s, 0, 0]) for s in range(4)]
        assert min(gaps) > 0.02
        v = evaluate_pair(game, *solve_states(game, v)[1:])


def test_the_line_search_of_filar_and_tolwinski_finds_no_step():
    # Badger, Huang, Petrik 2025, Theorem 4.2: from v = 0 with the tie broken to column 0.
    game = filar_tolwinski_failure()
    direction = evaluate_pair(game, np.ones((3, 1)), np.eye(2)[[0, 0, 0]])

    def merit(v):
        return np.sum((solve_states(game, v)[0] - v) ** 2)

    Q = game.r + game.gamma * game.P @ np.zeros(3)
    assert Q[0, 0, 0] == Q[0, 0, 1]  # the tie
    assert all(merit(0.5**i * direction) > merit(np.zeros(3)) for i in range(20))
    other = evaluate_pair(game, np.ones((3, 1)), np.eye(2)[[1, 0, 0]])
    assert merit(other) < 1e-20  # broken the other way, the full step solves the game


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99])
def test_the_equilibrium_of_the_big_match_is_that_of_its_docstring(gamma):
    game = big_match(gamma=gamma)
    Q = (game.r + gamma * game.P @ (np.array([0.5, 1.0, 0.0]) / (1 - gamma)))[0]
    p = (1 - gamma) / (2 - gamma)
    np.testing.assert_allclose(np.array([1 - p, p]) @ Q, 0.5 / (1 - gamma))
    np.testing.assert_allclose(Q @ [0.5, 0.5], 0.5 / (1 - gamma))


def test_action_sets_are_ragged_where_the_source_gives_fewer_actions():
    assert turn_based_cycle().n_actions_0.tolist() == [1, 1, 2, 1]
    assert turn_based_cycle().n_actions_1.tolist() == [2, 2, 1, 2]
    assert filar_tolwinski_failure().n_actions_1.tolist() == [2, 1, 1]
    assert big_match().n_actions_0.tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: gamblers_problem(1.2), "p_heads is 1.2; it must lie in"),
        (lambda: gamblers_problem(0.4, 1), "goal is 1; it must be at least 2"),
        (lambda: chain(1), "n_states is 1; it must be at least 2"),
        (lambda: chain(slip=-0.1), "slip is -0.1; it must lie in"),
        (lambda: river_swim(1), "n_states is 1; it must be at least 2"),
        (lambda: deep_sea(0, 0), "size is 0; it must be at least 1"),
        (lambda: deep_sea(4, None), "rng is None"),
        (lambda: gridworld(gamma=2), "gamma is 2"),
        (lambda: matrix_game([1, 2]), r"payoffs has shape \(2,\); expected \(A, B\)"),
        (lambda: matrix_game([[np.nan]]), r"payoffs\[0, 0\] is nan"),
        (lambda: hard_linear_mdp(8, 8, 12, 0), "n_episodes is 12; it must be at least 13"),
        (lambda: hard_linear_mdp(8, 22, 10**6, 0), r"dim is 22, which makes 2\^21 actions; pass at most 21"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ModelError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: gamblers_problem("half"), "p_heads is 'half'; pass a number"),
        (lambda: chain(slip=None), "slip is None; pass a number"),
        (lambda: chain(slip=[0.5]), r"slip is \[0.5\]; pass a number"),
        (lambda: deep_sea(4, 0, move_cost=None), "move_cost is None; pass a finite number"),
        (lambda: deep_sea(4, 0, move_cost=np.inf), "move_cost is inf; pass a finite number"),
    ],
)
def test_arguments_that_are_no_numbers_are_named(build, message):
    with pytest.raises(ModelError, match=message):
        build()


def test_a_goal_may_be_an_unsigned_integer():
    np.testing.assert_array_equal(gamblers_problem(0.4, np.uint64(8)).P, gamblers_problem(0.4, 8).P)
