"""Named instances from the literature, with the values that their sources publish or that follow by hand.

Decision processes first, zero-sum games after them. Where a source gives a state fewer actions than another,
the spare actions repeat one of the state's own, so that no value changes. Games keep their ragged action sets.
"""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from ._checks import BoolArray, FloatArray, IntArray, ModelError, real_array, real_number, unit_number, whole_number
from .features import TableFeatures
from .finite import FiniteHorizonMDP
from .game import MarkovGame
from .generators import as_generator, deterministic_law
from .linear import LinearMDP
from .tabular import TabularMDP

MOVES = np.array([(-1, 0), (1, 0), (0, 1), (0, -1)])
"""Row and column steps of the gridworlds' actions: north, south, east, west."""


def gridworld(*, gamma: float = 0.9) -> TabularMDP:
    """The 5x5 gridworld of Sutton, Barto, Reinforcement Learning, 2nd ed. 2018, Examples 3.5 and 3.8.

    States row by row; actions north, south, east, west. A step off the grid stays and pays -1. Every action
    in (0, 1) pays 10 and leads to (4, 1); in (0, 3) it pays 5 and leads to (2, 3). At gamma = 0.9 the top
    row of v* is 22.0, 24.4, 22.0, 19.4, 17.5 (Figure 3.5). The initial distribution is uniform.
    """
    next_states, blocked = _grid_moves(5)
    r = np.where(blocked, -1.0, 0.0)
    next_states[1], r[1] = 21, 10.0
    next_states[3], r[3] = 13, 5.0
    return TabularMDP(_to_dense(next_states), r, gamma, np.full(25, 1 / 25))


def small_gridworld() -> TabularMDP:
    """The 4x4 gridworld of Sutton, Barto 2018, Example 4.1: reward -1 a step until a corner, gamma = 1.

    States row by row; actions north, south, east, west; the corners 0 and 15 are terminal. v*(s) is minus
    the distance to the nearer one; the uniform policy has value -14, -20, -22 along the top row (Figure
    4.1). Episodes start in a uniformly drawn non-terminal state.
    """
    next_states, _ = _grid_moves(4)
    terminal = np.isin(np.arange(16), (0, 15))
    next_states[terminal] = np.flatnonzero(terminal)[:, None]
    r = np.where(terminal, 0.0, -1.0)[:, None].repeat(4, axis=1)
    return TabularMDP(_to_dense(next_states), r, 1.0, np.where(terminal, 0.0, 1 / 14), terminal)


def gamblers_problem(p_heads: float = 0.4, goal: int = 100) -> TabularMDP:
    """Betting on coin flips until ruin or the goal; gamma = 1 (Sutton, Barto 2018, Example 4.3).

    State s is the capital; 0 and ``goal`` are terminal, and reaching the goal pays 1. Action a stakes
    min(a + 1, s, goal - s), so every stake is at least 1 and every policy ends. v* is the probability of
    success. For p <= 1/2 bold play, staking min(s, goal - s), is optimal (Dubins, Savage, How to Gamble If
    You Must, 1965, chapter 5); so v*(goal/2) = p, v*(goal/4) = p^2, v*(3 goal/4) = p + (1 - p) p. The initial
    capital is uniform on 1, ..., goal - 1.

    Args:
        p_heads: Probability p that the stake is won, in [0, 1].
        goal: An integer >= 2.

    Raises:
        ModelError: An argument out of range.
    """
    p_heads, goal = unit_number("p_heads", p_heads), whole_number("goal", goal, 2)
    capital = np.arange(goal + 1)
    stake = np.minimum(np.arange(1, goal // 2 + 1), np.minimum(capital, goal - capital)[:, None])
    P = p_heads * _to_dense(capital[:, None] + stake) + (1 - p_heads) * _to_dense(capital[:, None] - stake)
    terminal = (capital == 0) | (capital == goal)
    r = np.where(terminal[:, None], 0.0, P[:, :, goal])
    return TabularMDP(P, r, 1.0, np.where(terminal, 0.0, 1 / (goal - 1)), terminal)


def car_rental(*, gamma: float = 0.9) -> TabularMDP:
    """Jack's car rental (Sutton, Barto 2018, Example 4.2).

    State 21*i + j: i cars at the first and j at the second location at the end of a day, 0 to 20. Action a
    moves a - 5 cars overnight from the first to the second location, as far as there are any, for 2 a car;
    cars beyond 20 at a location are lost. Then Poisson many cars are asked for (means 3 and 4), each one
    there is earns 10, and Poisson many come back (means 3 and 2). The Poisson laws are exact: all that
    exceeds a limit is counted at the limit. From the policy that moves nothing, policy iteration reaches
    the optimum in four improvements (Figure 4.2). The initial distribution is uniform.
    """
    cars_0, cars_1 = np.divmod(np.arange(441)[:, None], 21)
    moved = np.clip(np.arange(-5, 6), -cars_1, cars_0)
    morning_0, morning_1 = np.minimum(cars_0 - moved, 20), np.minimum(cars_1 + moved, 20)
    law_0, income_0 = _rental_day(3.0, 3.0)
    law_1, income_1 = _rental_day(4.0, 2.0)
    P = np.einsum("sai,saj->saij", law_0[morning_0], law_1[morning_1]).reshape(441, 11, 441)
    r = income_0[morning_0] + income_1[morning_1] - 2.0 * np.abs(moved)
    return TabularMDP(P, r, gamma, np.full(441, 1 / 441))


def taxicab(*, gamma: float = 0.9) -> TabularMDP:
    """Howard's taxicab (Howard, Dynamic Programming and Markov Processes, 1960, chapters 5 and 7).

    States: towns A, B, C. Actions: cruise, drive to the cab stand, wait for a radio call; B has no radio,
    there action 2 repeats action 1. Rewards depend on the next town. The cab stand everywhere is optimal on
    average, with a gain of 13.34 a trip, and at gamma = 0.9, with v* = (121.65, 135.31, 122.84). The initial
    distribution is uniform.
    """
    stand_of_b, fares_of_b = [1 / 16, 7 / 8, 1 / 16], [8, 16, 8]
    P = [
        [[1 / 2, 1 / 4, 1 / 4], [1 / 16, 3 / 4, 3 / 16], [1 / 4, 1 / 8, 5 / 8]],
        [[1 / 2, 0, 1 / 2], stand_of_b, stand_of_b],
        [[1 / 4, 1 / 4, 1 / 2], [1 / 8, 3 / 4, 1 / 8], [3 / 4, 1 / 16, 3 / 16]],
    ]
    fares = [
        [[10, 4, 8], [8, 2, 4], [4, 6, 4]],
        [[14, 0, 18], fares_of_b, fares_of_b],
        [[10, 2, 8], [6, 4, 2], [4, 0, 8]],
    ]
    return TabularMDP(np.array(P), np.array(fares), gamma, np.full(3, 1 / 3))


def toymaker(*, gamma: float = 0.9) -> TabularMDP:
    """Howard's toymaker (Howard 1960, chapters 4 and 7).

    States: a successful toy, an unsuccessful one. Action 1 advertises or does research, action 0 saves that
    cost. Rewards depend on the next state. At gamma = 0.9 the policy (0, 0) has value (15.5, 5.6) and
    v* = (22.2, 12.3), that of (1, 1). Starts with a successful toy.
    """
    P = [[[0.5, 0.5], [0.8, 0.2]], [[0.4, 0.6], [0.7, 0.3]]]
    r = [[[9, 3], [4, 4]], [[3, -7], [1, -19]]]
    return TabularMDP(np.array(P), np.array(r), gamma, np.array([1.0, 0.0]))


def two_state_mdp(*, gamma: float = 0.95) -> TabularMDP:
    """The two-state example of Puterman, Markov Decision Processes, 1994, sections 3.1 and 6.2.

    In state 0 action 0 pays 5 and stays with probability 1/2, action 1 pays 10 and leaves; state 1 pays -1
    for ever, whatever is done. At gamma = 0.95, v* = (-60/7, -20) = (-8.571, -20), by action 0. Starts in
    state 0.
    """
    P = np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    return TabularMDP(P, np.array([[5.0, 10.0], [-1.0, -1.0]]), gamma, np.array([1.0, 0.0]))


def chain(n_states: int = 5, *, slip: float = 0.2, gamma: float = 0.99) -> TabularMDP:
    """The chain of Dearden, Friedman, Russell, Bayesian Q-Learning, AAAI 1998; Strens, ICML 2000.

    Action 0 moves one state on, action 1 returns to state 0, and with probability ``slip`` the effect is
    the other action's. A return pays 2; moving on in the last state stays there and pays 10. Starts in
    state 0. Always moving on is optimal, with a gain of 10 (1 - slip)^n + 2 slip = 3.6768 a step at the
    defaults: the 3677 in 1000 steps that the literature compares with (Poupart, Vlassis, Hoey, Regan, An
    Analytic Solution to Discrete Bayesian Reinforcement Learning, ICML 2006, Table 1).

    Args:
        n_states: Length n >= 2.
        slip: Probability in [0, 1].
        gamma: Discount.

    Raises:
        ModelError: An argument out of range.
    """
    n, slip = whole_number("n_states", n_states, 2), unit_number("slip", slip)
    P = np.zeros((n, 2, n))
    onward = np.array([1.0 - slip, slip])
    P[np.arange(n), :, np.minimum(np.arange(1, n + 1), n - 1)] = onward
    P[:, :, 0] = 1.0 - onward
    r = np.zeros((n, 2, n))
    r[:, :, 0], r[n - 1, :, n - 1] = 2.0, 10.0
    return TabularMDP(P, r, gamma, np.eye(1, n)[0])


def river_swim(n_states: int = 6, *, gamma: float = 0.95) -> TabularMDP:
    """RiverSwim (Strehl, Littman, An Analysis of Model-Based Interval Estimation for Markov Decision
    Processes, Journal of Computer and System Sciences 74, 2008) with the numbers of Osband, Russo, Van Roy,
    (More) Efficient Reinforcement Learning via Posterior Sampling, NeurIPS 2013, Figure 1.

    Action 0 swims left with the current and always succeeds. Action 1 swims right: from the left bank it
    stays with probability 0.4 and moves with 0.6; in the middle it falls back with 0.05, stays with 0.6,
    moves with 0.35; at the right bank it falls back with 0.4 and stays with 0.6. Left at the left bank pays 0.005,
    right at the right bank pays 1. Starts at the left bank. Osband et al. play episodes of 20 steps:
    ``FiniteHorizonMDP(m.P, m.r, 20, m.rho)``.

    Args:
        n_states: Length of the river, at least 2.
        gamma: Discount.

    Raises:
        ModelError: Fewer than two states.
    """
    n = whole_number("n_states", n_states, 2)
    P, r = np.zeros((n, 2, n)), np.zeros((n, 2))
    middle = np.arange(1, n - 1)
    P[np.arange(n), 0, np.maximum(np.arange(n) - 1, 0)] = 1.0
    P[0, 1, :2] = 0.4, 0.6
    P[middle, 1, middle - 1], P[middle, 1, middle], P[middle, 1, middle + 1] = 0.05, 0.6, 0.35
    P[n - 1, 1, n - 2 :] = 0.4, 0.6
    r[0, 0], r[n - 1, 1] = 0.005, 1.0
    return TabularMDP(P, r, gamma, np.eye(1, n)[0])


def deep_sea(size: int, rng: np.random.Generator | int, *, move_cost: float = 0.01) -> FiniteHorizonMDP:
    """DeepSea (Osband, Van Roy, Russo, Wen, Deep Exploration via Randomized Value Functions, JMLR 20, 2019;
    bsuite, Osband et al., ICLR 2020).

    A diver sinks one row a stage through a size x size grid and moves a column left or right; a state is a
    column, a stage a row. Moving right costs move_cost / size, and in the last row and column it finds
    the treasure, 1. Which action moves right is drawn for each cell. Only always moving right, one of
    2^size plans, finds the treasure: v*_0(0) = 1 - move_cost, 0.99 by default.

    Args:
        size: Rows, columns and stages, at least 1.
        rng: A seed, or where the meaning of the actions comes from.
        move_cost: Total cost of always moving right.

    Raises:
        ModelError: ``size`` below 1, ``move_cost`` no finite number, or ``rng`` neither a seed nor a Generator.
    """
    n = whole_number("size", size, 1)
    right = as_generator(rng).integers(0, 2, (n, n))[:, :, None] == np.arange(2)
    column = np.arange(n)[:, None]
    next_states = np.where(right, np.minimum(column + 1, n - 1), np.maximum(column - 1, 0))
    r = np.where(right, -real_number("move_cost", move_cost) / n, 0.0)
    r[n - 1, n - 1] += right[n - 1, n - 1]
    return FiniteHorizonMDP(deterministic_law(next_states, n), r, n, np.eye(1, n)[0])


def hard_linear_mdp(horizon: int, dim: int, n_episodes: int, rng: np.random.Generator | int) -> LinearMDP:
    """The hard linear MDP of Zhou, Gu, Szepesvári, Nearly Minimax Optimal Reinforcement Learning for Linear
    Mixture Markov Decision Processes, COLT 2021 (their lower bound), a combination lock of H linear bandits.

    States x_1, ..., x_{H+1} have index 0, ..., H; the last index, H + 1, is the goal, which pays 1 a stage and is
    never left. At stage h action a in {-1, 1}^(d-1) reaches the goal with probability
    1/H + <mu_h, a>, else x_{h+1}, with random signs mu_h in {-Delta, Delta}^(d-1) and
    Delta = sqrt(1/(H K)) / (4 sqrt(2)), too small to be learnt in K episodes. With features of dimension
    d + 1 and norm 1, phi = (alpha, beta a, 0) in x_h and (0, 0, 1) at the goal. Actions are numbered in
    lexicographic order; the optimal one has the signs of mu_h, so with p = 1/H + (d - 1) Delta

        v*_1(x_1) = sum_{h=1}^{H-1} (H - h) p (1 - p)^(h-1).

    Args:
        horizon: H >= 2; episodes start in x_1.
        dim: d, 2 to 21; there are 2^(d-1) actions.
        n_episodes: K >= (d - 1)^2 H / 32, which keeps the probabilities in [0, 2/H].
        rng: A seed, or where the signs come from.

    Raises:
        ModelError: A number out of range.
    """
    H, n_signs = whole_number("horizon", horizon, 2), whole_number("dim", dim, 2) - 1
    if n_signs > 20:
        raise ModelError(f"dim is {dim}, which makes 2^{n_signs} actions; pass at most 21")
    fewest = int(np.ceil(n_signs**2 * H / 32))
    gap = np.sqrt(1 / (H * whole_number("n_episodes", n_episodes, max(1, fewest)))) / (4 * np.sqrt(2))
    alpha, beta = np.sqrt([1 / (1 + gap * n_signs), gap / (1 + gap * n_signs)])
    actions = np.array(list(product((-1.0, 1.0), repeat=n_signs)))
    phi = np.zeros((H + 2, actions.shape[0], dim + 1))
    phi[:-1, :, 0], phi[:-1, :, 1:-1], phi[-1, :, -1] = alpha, beta * actions, 1.0
    mu = np.zeros((H, dim + 1, H + 2))
    signs = gap * (2.0 * as_generator(rng).integers(0, 2, (H, n_signs)) - 1.0)
    stages = np.arange(H)
    mu[:, 0, -1], mu[:, 1:-1, -1], mu[:, -1, -1] = 1 / H / alpha, signs / beta, 1.0
    mu[stages, 0, stages + 1], mu[stages, 1:-1, stages + 1] = (1 - 1 / H) / alpha, -signs / beta
    return LinearMDP(TableFeatures(phi), mu, np.eye(1, dim + 1, dim)[0], np.eye(1, H + 2)[0], H)


def van_der_wal() -> MarkovGame:
    """Van der Wal's game, on which naive policy iteration cycles; gamma = 3/4, V* = (8, 0).

    One live state with r = [[3, 6], [2, 1]]; (row 0, column 1) ends the game with probability 2/3. The
    saddle point is pure, (row 0, column 1). From V = 0, solving the matrix games and evaluating the joint
    policy gives V(0) = 12, 4, 12, 4, ... (Van der Wal, Discounted Markov Games: Generalized Policy
    Iteration Method, Journal of Optimization Theory and Applications 25, 1978, pp. 125-138).
    """
    return _one_live_state(np.array([[3.0, 6.0], [2.0, 1.0]]), np.array([[1.0, 1 / 3], [1.0, 1.0]]), 0.75)


def deep_lookahead_cycle() -> MarkovGame:
    """A game on which policy iteration with three steps of lookahead cycles; gamma = 0.9, V* = (10/0.325, 0).

    One live state with r = [[0, 3], [10, 7]]; (row 1, column 0) ends the game with probability 1/4 and is
    the saddle point. Evaluating exactly the policies greedy for T^2 V gives V(0) = 0, 70, 0, 70, ...;
    greedy for T^3 V it converges. Found by random search.
    """
    return _one_live_state(np.array([[0.0, 3.0], [10.0, 7.0]]), np.array([[1.0, 1.0], [0.75, 1.0]]), 0.9)


def turn_based_cycle() -> MarkovGame:
    """A deterministic game of perfect information on which naive policy iteration cycles; gamma = 0.9.

    State 2 is player_0's, the others are player_1's; the other player has one action. V* = (0, 1.33, 3, 3.7).
    From the joint policy that takes actions (1, 0, 0, 1), evaluating and then solving each state repeats
    with period 3, and no state is ever tied. Found by random search. Starts in state 0.
    """
    next_states = ((3, 0), (1, 3), (0, 1), (2, 2))
    rewards = ((0.0, 0.0), (1.0, -2.0), (3.0, -5.0), (4.0, 1.0))
    P, r = np.zeros((4, 2, 2, 4)), np.zeros((4, 2, 2))
    for s in range(4):
        for choice in range(2):
            a, b = (choice, 0) if s == 2 else (0, choice)
            P[s, a, b, next_states[s][choice]], r[s, a, b] = 1.0, rewards[s][choice]
    return MarkovGame(P, r, 0.9, np.eye(1, 4)[0], np.array([1, 1, 2, 1]), np.array([2, 2, 1, 2]))


def filar_tolwinski_failure() -> MarkovGame:
    """A game on which the line search of Filar and Tolwinski finds no step; gamma = 0.6.

    In state 0 player_1 alone chooses: either way -sqrt(2)/2 is paid, then column 0 leads to state 2, which pays 1/2
    for ever, and column 1 to state 1, which pays -1/2 for ever. V* = (-sqrt(2)/2 - 3/4, -5/4, 5/4)
    = (-1.4571, -1.25, 1.25). At V = 0 both columns are optimal; broken in favour of column 0, the tie makes
    the Newton direction one of ascent (Badger, Huang, Petrik, arXiv 2508.06661, 2025, Example 4.1). Starts
    in state 0.
    """
    P, r = np.zeros((3, 1, 2, 3)), np.zeros((3, 1, 2))
    P[0, 0, 0, 2] = P[0, 0, 1, 1] = P[1, 0, 0, 1] = P[2, 0, 0, 2] = 1.0
    r[0, 0], r[1, 0, 0], r[2, 0, 0] = -np.sqrt(0.5), -0.5, 0.5
    return MarkovGame(P, r, 0.6, np.eye(1, 3)[0], n_actions_1=np.array([2, 1, 1]))


def big_match(*, gamma: float = 0.9) -> MarkovGame:
    """The Big Match (Gillette 1957; Blackwell, Ferguson, Annals of Mathematical Statistics 39, 1968).

    Each day player_0 predicts whether player_1 plays 0 or 1 and earns 1 if right. Predicting 1 fixes that
    day's payoff for ever: state 1 pays 1 a day, state 2 nothing. For every gamma < 1 the game is worth 1/2
    a day: V* = (1/2, 1, 0) / (1 - gamma). In state 0 player_0 predicts 1 with probability
    (1 - gamma) / (2 - gamma), and player_1 plays 1/2, 1/2. Starts in state 0.
    """
    P, r = np.zeros((3, 2, 2, 3)), np.zeros((3, 2, 2))
    P[0, 0, :, 0] = P[0, 1, 0, 2] = P[0, 1, 1, 1] = 1.0
    P[1, 0, 0, 1] = P[2, 0, 0, 2] = 1.0
    r[0], r[1, 0, 0] = np.eye(2), 1.0
    ones = np.array([2, 1, 1])
    return MarkovGame(P, r, gamma, np.eye(1, 3)[0], ones, ones)


def matrix_game(payoffs: ArrayLike, *, gamma: float = 0.0) -> MarkovGame:
    """One matrix game as a one-state Markov game, repeated if gamma > 0: V* = val(payoffs) / (1 - gamma).

    Args:
        payoffs: (A, B), paid by player_1 to player_0.
        gamma: Discount; 0 plays the game once.

    Raises:
        ModelError: ``payoffs`` is not a matrix of finite numbers.
    """
    matrix = real_array("payoffs", payoffs)
    if matrix.ndim != 2:
        raise ModelError(f"payoffs has shape {matrix.shape}; expected (A, B)")
    return MarkovGame(np.ones((1, *matrix.shape, 1)), matrix[None], gamma, np.ones(1))


def matching_pennies(*, gamma: float = 0.0) -> MarkovGame:
    """Player_0 wins 1 if the pennies match, else loses 1: value 0, both players mix (1/2, 1/2)."""
    return matrix_game([[1, -1], [-1, 1]], gamma=gamma)


def rock_paper_scissors(*, gamma: float = 0.0) -> MarkovGame:
    """Rock, paper, scissors for 1: value 0, both players mix (1/3, 1/3, 1/3)."""
    return matrix_game([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], gamma=gamma)


def _grid_moves(width: int) -> tuple[IntArray, BoolArray]:
    """Next cells (width^2, 4) of all moves on a square grid, and whether its edge blocks them."""
    cells = np.stack(np.divmod(np.arange(width * width), width), axis=1)
    target = cells[:, None] + MOVES
    inside = np.clip(target, 0, width - 1)
    return inside @ np.array([width, 1]), (inside != target).any(axis=2)


def _to_dense(next_states: IntArray) -> FloatArray:
    """The deterministic law (S, A, S) of next states (S, A)."""
    return np.eye(next_states.shape[0])[next_states]


def _rental_day(requests: float, returns: float) -> tuple[FloatArray, FloatArray]:
    """Law (21, 21) from morning to evening of one location's cars, and expected income (21,)."""
    after_rentals, after_returns, income = np.zeros((21, 21)), np.zeros((21, 21)), np.zeros(21)
    for cars in range(21):
        rented = _capped_poisson(requests, cars)
        after_rentals[cars, : cars + 1] = rented[::-1]
        after_returns[cars, cars:] = _capped_poisson(returns, 20 - cars)
        income[cars] = 10.0 * (rented @ np.arange(cars + 1))
    return after_rentals @ after_returns, income


def _capped_poisson(mean: float, most: int) -> FloatArray:
    """Law (most + 1,) of min(X, most), X Poisson."""
    law = np.exp(-mean) * np.cumprod(np.concatenate(([1.0], mean / np.arange(1, most + 1))))
    law[most] = 1.0 - law[:most].sum()
    return law


def _one_live_state(r: FloatArray, stay: FloatArray, gamma: float) -> MarkovGame:
    """A game that stays in state 0 with probabilities ``stay`` and else ends in the terminal state 1."""
    P = np.zeros((2, *r.shape, 2))
    P[0, :, :, 0], P[0, :, :, 1], P[1, :, :, 1] = stay, 1.0 - stay, 1.0
    return MarkovGame(P, np.stack((r, np.zeros_like(r))), gamma, np.array([1.0, 0.0]), terminal=np.array([False, True]))
