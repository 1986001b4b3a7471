"""The pursuit game: its law against a slow and obvious one, its symmetries, its value where it follows by hand."""

from collections import defaultdict
from itertools import product

import numpy as np
import pettingzoo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from lookahead_rl.models import ModelError, pursuit_game
from lookahead_rl.solvers import certify_game, shapley_iteration

STAY, NORTH, EAST, SOUTH, WEST = range(5)


def walk(n, cell, action):
    """Where one player's move leads if it does not slip."""
    row, column = divmod(cell, n)
    row += {NORTH: -1, SOUTH: 1}.get(action, 0)
    column += {EAST: 1, WEST: -1}.get(action, 0)
    return row * n + column if 0 <= row < n and 0 <= column < n else cell


def obvious_law(n, slip, state, a, b):
    """{s': probability} of a state and pair of actions, one event at a time."""
    p, e = divmod(state, n * n)
    law = defaultdict(float)
    if p == e:
        top_left, top_right, bottom_left, bottom_right = 0, n - 1, n * (n - 1), n * n - 1
        for one, other in ((top_left, bottom_right), (top_right, bottom_left)):
            law[one * n * n + other] += 0.25
            law[other * n * n + one] += 0.25
        return law
    for p_slips, e_slips in product((False, True), repeat=2):
        chance = (slip if p_slips else 1 - slip) * (slip if e_slips else 1 - slip)
        p_next = p if p_slips else walk(n, p, a)
        e_next = e if e_slips else walk(n, e, b)
        law[p_next * n * n + e_next] += chance
    return law


def on_board(game, values):
    """An array over states, by row and column of the pursuer and of the evader."""
    n = round(game.n_states**0.25)
    return np.reshape(values, (n, n, n, n))


def matrix_value(payoffs):
    """The value of a matrix game by linear programming."""
    A, B = payoffs.shape
    done = linprog(
        np.append(np.zeros(A), -1.0),
        A_ub=np.column_stack((-payoffs.T, np.ones(B))),
        b_ub=np.zeros(B),
        A_eq=np.append(np.ones(A), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * A + [(None, None)],
    )
    return -done.fun


# the law


@pytest.mark.parametrize(("n", "slip"), [(2, 0.1), (3, 0.1), (3, 0.0), (3, 1.0), (3, 0.75), (4, 0.3)])
def test_the_law_is_the_obvious_one(n, slip):
    game = pursuit_game(n, slip=slip)
    P = game.P.toarray().reshape(n**4, 5, 5, n**4)
    expected = np.zeros_like(P)
    for state, a, b in product(range(n**4), range(5), range(5)):
        for s_next, probability in obvious_law(n, slip, state, a, b).items():
            expected[state, a, b, s_next] = probability
    np.testing.assert_allclose(P, expected, rtol=0, atol=1e-15)


@given(n=st.integers(2, 6), slip=st.floats(0, 1))
def test_every_row_is_a_distribution_on_distinct_ascending_states(n, slip):
    P = pursuit_game(n, slip=slip).P
    np.testing.assert_allclose(P.sum(axis=1), 1.0, rtol=0, atol=1e-15)
    assert (P.data > 0).all()
    row = np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))
    assert ((np.diff(P.indices) > 0) | (np.diff(row) > 0)).all()


def test_the_flow_into_opposite_corners_is_what_is_counted_by_hand():
    game = pursuit_game(4, slip=0.1)
    flow = np.asarray(game.P.sum(axis=0)).reshape(16, 16)
    assert flow.sum() == pytest.approx(25 * 4**4)
    # One player, summed over its cells and actions: in the corner three actions keep it there and two do so by a
    # slip; from either neighbour one action leads there.
    to_corner = (3 + 2 * 0.1) + 2 * 0.9
    captures = 16 * 25 * 0.25
    assert flow[0, 15] == pytest.approx(to_corner**2 + captures)


def test_rewards_are_captures():
    game = pursuit_game(3)
    np.testing.assert_array_equal(game.r, np.broadcast_to(np.eye(9).reshape(81, 1, 1), (81, 5, 5)))


def test_play_begins_in_opposite_corners():
    n = 4
    game = pursuit_game(n)
    rows = np.argwhere(on_board(game, game.rho))
    np.testing.assert_array_equal(rows[:, :2], n - 1 - rows[:, 2:])
    assert set(rows.ravel()) == {0, n - 1}
    np.testing.assert_array_equal(game.rho[game.rho > 0], np.full(4, 0.25))


def test_the_law_is_the_same_for_both_players():
    game = pursuit_game(3, slip=0.2)
    P = game.P.toarray().reshape(9, 9, 5, 5, 9, 9)
    np.testing.assert_array_equal(P, P.transpose(1, 0, 3, 2, 5, 4))


# the value


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("slip", [0.0, 1.0])
def test_nobody_is_caught_without_slips_or_without_moves(n, slip):
    game = pursuit_game(n, slip=slip, gamma=0.9)
    met = np.eye(n * n).ravel()
    np.testing.assert_allclose(shapley_iteration(game, tol=1e-10).value, met, rtol=0, atol=1e-10)


def test_the_evader_has_a_move_out_of_reach_in_every_state():
    """The argument for slip = 0, on the boards themselves."""
    for n in range(2, 7):
        reach = [{walk(n, cell, a) for a in range(5)} for cell in range(n * n)]
        assert all(reach[e] - reach[p] for p, e in product(range(n * n), repeat=2) if p != e)


@pytest.mark.parametrize("slip", [0.1, 0.4, 0.8])
def test_on_four_cells_the_value_depends_on_the_distance_alone(slip):
    """The game of distances 0, 1, 2: three values, one small matrix game for each, solved by linear programming."""
    n, gamma = 2, 0.9
    distance = np.array([[0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0]])
    example = {0: 0, 1: 0 * 4 + 1, 2: 0 * 4 + 3}  # a state at each distance

    def backup(v, d):
        laws = [[obvious_law(n, slip, example[d], a, b) for b in range(5)] for a in range(5)]
        expected = [[sum(q * v[distance[divmod(s, 4)]] for s, q in law.items()) for law in row] for row in laws]
        return matrix_value((d == 0) + gamma * np.array(expected))

    v = np.zeros(3)
    for _ in range(150):
        v = np.array([backup(v, d) for d in range(3)])
    solution = shapley_iteration(pursuit_game(n, slip=slip, gamma=gamma), tol=1e-9)
    np.testing.assert_allclose(solution.value, v[distance].ravel(), rtol=0, atol=1e-5)
    assert v[0] > v[1] > v[2] > 0.01


@pytest.fixture(scope="module")
def solved():
    game = pursuit_game(4, slip=0.3, gamma=0.95)
    return game, shapley_iteration(game, tol=1e-9)


@pytest.mark.parametrize("move", [np.rot90, np.fliplr, np.flipud, np.transpose])
def test_the_value_has_the_symmetries_of_the_square(solved, move):
    _, solution = solved
    cells = move(np.arange(16).reshape(4, 4)).ravel()
    v = solution.value.reshape(16, 16)
    np.testing.assert_allclose(v[np.ix_(cells, cells)], v, rtol=0, atol=1e-8)


def test_the_value_lies_between_the_best_and_the_worst_that_can_happen(solved):
    game, solution = solved
    met = np.eye(16).ravel() == 1
    assert (solution.value > 0).all()
    # A capture takes a step of its own and at least n - 1 moves from opposite corners.
    assert (solution.value[met] <= 1 / (1 - game.gamma**4) + 1e-9).all()
    assert solution.value[met].min() > solution.value[~met].max()
    assert np.ptp(solution.value[met]) <= 1e-8


def test_the_solution_is_certified(solved):
    game, solution = solved
    certificate = certify_game(game, solution.value, *solution.policy)
    assert certificate.gap <= 1e-8


def test_the_environment_is_the_game():
    env = pettingzoo.make("parallel", "lookahead_rl/Pursuit-v0", n=3, slip=0.25, gamma=0.9)
    game = pursuit_game(3, slip=0.25, gamma=0.9)
    model = env.unwrapped.model
    assert (model.P != game.P).nnz == 0
    np.testing.assert_array_equal(model.r, game.r)
    assert (model.gamma, env.action_space("player_0").n, env.action_space("player_1").n) == (0.9, 5, 5)


# sizes and bad arguments


def test_a_hundred_million_outcomes_would_be_refused_before_allocation():
    with pytest.raises(ModelError, match=r"810,000 states needs up to 1,\d{3},\d{3},\d{3} bytes, more than max_bytes"):
        pursuit_game(30, max_bytes=10**9)
    with pytest.raises(ModelError, match="pass a smaller n, or raise max_bytes"):
        pursuit_game(10**6)


@pytest.mark.parametrize(("n", "bytes_a_state"), [(5, 1525), (68, 1525), (69, 2025)])
def test_the_room_it_asks_for_is_what_its_page_says(n, bytes_a_state):
    """The integers that count 100 n^4 outcomes take eight bytes from n = 69 on."""
    with pytest.raises(ModelError, match=f"needs up to {bytes_a_state * n**4:,} bytes"):
        pursuit_game(n, max_bytes=1)
    assert f"{bytes_a_state:,} n^4" in pursuit_game.__doc__


def test_the_discount_is_checked_before_the_room():
    with pytest.raises(ModelError, match=r"gamma is 2\.0"):
        pursuit_game(10**6, gamma=2.0)


@pytest.mark.parametrize(("n", "slip"), [(2, 0.5), (5, 0.1), (6, 0.9), (6, 0.0)])
def test_a_game_is_never_larger_than_what_it_asks_for(n, slip):
    size = pursuit_game(n, slip=slip).nbytes
    with pytest.raises(ModelError, match="max_bytes"):
        pursuit_game(n, slip=slip, max_bytes=size - 1)


def test_indices_take_four_bytes():
    P = pursuit_game(5).P
    assert (P.indices.dtype, P.indptr.dtype) == (np.int32, np.int32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "n is 1; it must be at least 2"),
        ({"n": 3.0}, "n is 3.0; pass an integer >= 2"),
        ({"n": 3, "slip": 1.5}, r"slip is 1.5; it must lie in \[0, 1\]"),
        ({"n": 3, "slip": float("nan")}, r"slip is nan; it must lie in \[0, 1\]"),
        ({"n": 3, "slip": "0.1"}, r"slip is '0.1'; pass a number in \[0, 1\]"),
        ({"n": 3, "gamma": -0.1}, r"gamma is -0.1; it must lie in \[0, 1\]"),
        ({"n": 3, "max_bytes": -1}, "max_bytes is -1; it must be at least 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ModelError, match=message):
        pursuit_game(**arguments)
