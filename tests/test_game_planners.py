"""Planners of zero-sum Markov games: all find the same certified value, and those that can fail say so."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import MarkovGame
from lookahead_rl.models.classic import (
    big_match,
    deep_lookahead_cycle,
    filar_tolwinski_failure,
    matching_pennies,
    rock_paper_scissors,
    turn_based_cycle,
    van_der_wal,
)
from lookahead_rl.models.generators import garnet_game
from lookahead_rl.models.planted import planted_game
from lookahead_rl.solvers import (
    Solution,
    Status,
    certify_game,
    contraction,
    filar_tolwinski,
    hoffman_karp,
    lookahead_policy_iteration,
    naive_policy_iteration,
    nash_gap,
    residual_conditioned_policy_iteration,
    shapley_iteration,
    shapley_operator,
    solve_game,
    two_pair_policy_iteration,
)
from lookahead_rl.solvers.games.lookahead import lookahead_iterates
from lookahead_rl.solvers.games.sweeps import GameBackup, GameSweeps

Array = NDArray[np.float64]
Planner = Callable[..., Solution[tuple[Array, Array]]]
SEEDS = st.integers(0, 2**31)

SAFE: dict[str, Planner] = {
    "solve_game": solve_game,
    "shapley": shapley_iteration,
    "shapley, supremum norm": partial(shapley_iteration, macqueen=False),
    "hoffman_karp": hoffman_karp,
    "hoffman_karp, player_1": partial(hoffman_karp, player=1),
    "residual_conditioned": residual_conditioned_policy_iteration,
    "residual_conditioned, repair": partial(residual_conditioned_policy_iteration, repair=True),
    "lookahead, m = 1": partial(lookahead_policy_iteration, lookahead=3, rollout=1),
}
UNSAFE: dict[str, Planner] = {
    "naive": naive_policy_iteration,
    "filar_tolwinski": filar_tolwinski,
    "lookahead, H = 2": lookahead_policy_iteration,
    "lookahead, H = 4, m = inf": partial(lookahead_policy_iteration, lookahead=4, rollout=math.inf),
}
DISCOUNTED: dict[str, Planner] = {"two_pair": two_pair_policy_iteration}

safe = pytest.mark.parametrize("planner", SAFE.values(), ids=SAFE)
every = pytest.mark.parametrize("planner", (every_one := SAFE | UNSAFE | DISCOUNTED).values(), ids=every_one)


def random_game(seed: int, *, sparse: bool, gamma: float = 0.9, n_states: int = 6) -> MarkovGame:
    """A game with different numbers of actions and, where gamma is 1, certain termination."""
    rng = np.random.default_rng(seed)
    whole = garnet_game(n_states, 3, 4, 2, rng, gamma=gamma, sparse=False)
    counts_0, counts_1 = rng.integers(1, 4, n_states), rng.integers(1, 5, n_states)
    live = (np.arange(3) < counts_0[:, None])[:, :, None] & (np.arange(4) < counts_1[:, None])[:, None, :]
    P, r, terminal = np.array(whole.P) * live[..., None], whole.r * live, np.zeros(n_states, dtype=np.bool_)
    if gamma == 1.0:
        P *= 0.8
        P[..., -1] += 0.2 * live
        P[-1], r[-1], terminal[-1] = 0.0, 0.0, True
        P[-1, ..., -1] = live[-1]
    law = sp.csr_array(P.reshape(-1, n_states)) if sparse else P
    return MarkovGame(law, r, gamma, whole.rho, counts_0, counts_1, terminal)


def contains(solution: Solution[Any], value: Array, slack: float = 1e-13) -> bool:
    bounds = solution.certificate
    return bool((bounds.lower <= value + slack).all() and (value <= bounds.upper + slack).all())


# ---------------------------------------------------------------------------------------------- one value for all


KNOWN = {
    "van der Wal 1978": (van_der_wal(), [8, 0]),
    "H = 3 cycles": (deep_lookahead_cycle(), [10 / 0.325, 0]),
    "turn-based": (turn_based_cycle(), [0, 1.33, 3, 3.7]),
    "Badger, Huang, Petrik 2025, example 4.1": (filar_tolwinski_failure(), [-(2**-0.5) - 0.75, -1.25, 1.25]),
    "the Big Match": (big_match(), [5, 10, 0]),
    "matching pennies": (matching_pennies(gamma=0.9), [0]),
    "rock, paper, scissors": (rock_paper_scissors(gamma=0.99), [0]),
}


@pytest.mark.parametrize(("game", "value"), KNOWN.values(), ids=KNOWN)
@every
def test_known_values(planner: Planner, game: MarkovGame, value: list[float]) -> None:
    """Whoever converges has it; whoever need not may stop, but says so, and its bounds hold."""
    solution = planner(game, 1e-9)
    assert contains(solution, np.array(value, dtype=np.float64))
    if planner in UNSAFE.values() and solution.status is not Status.CONVERGED:
        assert solution.status in (Status.CYCLING, Status.STALLED)
    else:
        assert solution.status is Status.CONVERGED
        assert solution.certificate.gap <= 1e-9
        np.testing.assert_allclose(solution.value, value, atol=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
@every
def test_planted_values(planner: Planner, sparse: bool) -> None:
    planted = planted_game(30, 4, 5, 3, 7, gamma=0.95, sparse=sparse)
    solution = planner(planted.model, 1e-9)
    assert solution.status is Status.CONVERGED
    assert contains(solution, planted.value)
    np.testing.assert_allclose(solution.value, planted.value, atol=1e-9)
    assert nash_gap(planted.model, *solution.policy).largest <= solution.certificate.gap + 1e-12


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
@safe
def test_every_safe_planner_certifies_the_value_that_hoffman_karp_finds(
    planner: Planner, seed: int, sparse: bool, gamma: float
) -> None:
    game = random_game(seed, sparse=sparse, gamma=gamma)
    solution, other = planner(game, 1e-7), hoffman_karp(random_game(seed, sparse=not sparse, gamma=gamma), 1e-10)
    assert solution.status is Status.CONVERGED
    assert contains(solution, other.value, 1e-10)
    assert nash_gap(game, *solution.policy).largest <= solution.certificate.gap + 1e-9


def exact_turn_based_value(game: MarkovGame) -> list[Fraction]:
    """v* = max_f min_g v^{f, g} over the deterministic policies of a turn-based game, in rational arithmetic."""
    P, r, gamma = np.asarray(game.P), game.r, Fraction(game.gamma)
    choices = [range(int(n)) for n in game.n_actions_0], [range(int(n)) for n in game.n_actions_1]
    best: list[Fraction] | None = None
    for f in product(*choices[0]):
        values = [
            solved([[Fraction(float(p)) for p in P[s, f[s], g[s]]] for s in range(len(f))],
                   [Fraction(float(r[s, f[s], g[s]])) for s in range(len(f))], gamma)
            for g in product(*choices[1])
        ]  # fmt: skip
        worst = [min(column) for column in zip(*values, strict=True)]
        best = worst if best is None else [max(pair) for pair in zip(best, worst, strict=True)]
    assert best is not None
    return best


def solved(P: list[list[Fraction]], r: list[Fraction], gamma: Fraction) -> list[Fraction]:
    """(I - gamma P)^-1 r by elimination."""
    n = len(r)
    rows = [[Fraction(int(i == j)) - gamma * P[i][j] for j in range(n)] + [r[i]] for i in range(n)]
    for i in range(n):
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([0.5, 0.9, 0.99]))
def test_bounds_hold_in_rational_arithmetic_on_turn_based_games(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    mine = rng.integers(0, 2, 3)
    counts_0, counts_1 = np.where(mine == 0, 2, 1), np.where(mine == 1, 2, 1)
    live = (np.arange(2) < counts_0[:, None])[:, :, None] & (np.arange(2) < counts_1[:, None])[:, None, :]
    P = rng.dirichlet(np.ones(3), (3, 2, 2)) * live[..., None]
    game = MarkovGame(P, rng.integers(-3, 4, (3, 2, 2)) * live, gamma, np.ones(3) / 3, counts_0, counts_1)
    exact = exact_turn_based_value(game)
    for planner in every_one.values():
        bounds = planner(game, 1e-9).certificate
        assert all(Fraction(low) <= value for low, value in zip(bounds.lower.tolist(), exact, strict=True))
        assert all(value <= Fraction(high) for high, value in zip(bounds.upper.tolist(), exact, strict=True))


def test_turn_based_games_take_comparisons_only() -> None:
    rng = np.random.default_rng(0)
    mine = rng.integers(0, 2, 200)
    counts_0, counts_1 = np.where(mine == 0, 5, 1), np.where(mine == 1, 5, 1)
    live = (np.arange(5) < counts_0[:, None])[:, :, None] & (np.arange(5) < counts_1[:, None])[:, None, :]
    whole = garnet_game(200, 5, 5, 4, rng, gamma=0.99, sparse=False)
    game = MarkovGame(np.asarray(whole.P) * live[..., None], whole.r * live, 0.99, whole.rho, counts_0, counts_1)
    for planner in every_one.values():
        solution = planner(game, 1e-6)
        assert solution.status is Status.CONVERGED
        assert solution.work is not None
        assert solution.work.matrix_games >= 200
        assert solution.work.mixed_games == 0


# ---------------------------------------------------------------------------------------------- cycles, told


def test_naive_policy_iteration_cycles_on_van_der_wals_game() -> None:
    """12, 4, 12, 4, ... from 0 (van der Wal 1978)."""
    iterates = lookahead_iterates(GameSweeps(van_der_wal()), np.zeros(2), lookahead=1, rollout=math.inf)
    seen = [next(iterates).v[0] for _ in range(7)]
    np.testing.assert_allclose(seen, [0, 12, 4, 12, 4, 12, 4], atol=1e-12)
    solution = naive_policy_iteration(van_der_wal())
    assert solution.status is Status.CYCLING
    assert solution.iterations < 10
    assert contains(solution, np.array([8.0, 0.0]))


@pytest.mark.parametrize("rollout", [1, 2, 3, 5, 7, 10, 50, math.inf])
def test_rollouts_of_seven_and_more_cycle_on_van_der_wals_game_without_lookahead(rollout: float) -> None:
    solution = lookahead_policy_iteration(van_der_wal(), lookahead=1, rollout=rollout)
    assert solution.status is (Status.CYCLING if rollout >= 7 else Status.CONVERGED)


@pytest.mark.parametrize("lookahead", [2, 3, 4])
@pytest.mark.parametrize("rollout", [1, 2, 3, 5, 10, 50])
def test_lookahead_of_two_converges_on_van_der_wals_game(lookahead: int, rollout: float) -> None:
    solution = lookahead_policy_iteration(van_der_wal(), lookahead=lookahead, rollout=rollout)
    assert solution.status is Status.CONVERGED


def test_lookahead_of_three_may_cycle_and_of_four_cures_it() -> None:
    three, four = (lookahead_policy_iteration(deep_lookahead_cycle(), lookahead=H, rollout=math.inf) for H in (3, 4))
    assert three.status is Status.CYCLING
    assert four.status is Status.CONVERGED
    iterates = lookahead_iterates(GameSweeps(deep_lookahead_cycle()), np.zeros(2), lookahead=3, rollout=math.inf)
    backups = [next(iterates) for _ in range(4)]
    evaluations = [GameSweeps(deep_lookahead_cycle()).evaluate(backup, math.inf)[0] for backup in backups]
    np.testing.assert_allclose(evaluations, [70, 0, 70, 0], atol=1e-9)


def test_naive_policy_iteration_cycles_on_a_turn_based_game() -> None:
    solution = naive_policy_iteration(turn_based_cycle())
    assert solution.status is Status.CYCLING
    assert contains(solution, np.array([0, 1.33, 3, 3.7]))


def test_the_line_search_of_filar_and_tolwinski_fails_at_a_kink() -> None:
    solution = filar_tolwinski(filar_tolwinski_failure())
    assert (solution.status, solution.iterations) == (Status.STALLED, 1)
    assert solution.work is not None
    assert solution.work.sweeps == 41


def naive_cycles(n_games: int, seed: int, gamma: float) -> list[MarkovGame]:
    """Those of random games of two states and 2 x 2 actions on which naive iteration has not settled after 60 steps.

    Next states are drawn, rewards are 0 to 6. By an implementation of its own: closed forms, all games at a time.
    """
    rng = np.random.default_rng(seed)
    to = rng.integers(0, 2, (n_games, 2, 2, 2))
    r = rng.integers(0, 7, (n_games, 2, 2, 2)).astype(np.float64)
    v = np.zeros((n_games, 2))
    each = np.arange(n_games)[:, None, None, None]
    for _ in range(60):
        x, y = saddles(r + gamma * v[each, to])
        weight = x[..., :, None] * y[..., None, :]
        pays, stays = (weight * r).sum((-1, -2)), (weight * (to == 0)).sum((-1, -2))
        system = np.eye(2) - gamma * np.stack([stays, 1 - stays], axis=-1)
        last, v = v, np.linalg.solve(system, pays[..., None])[..., 0]
    failed = np.flatnonzero(np.abs(v - last).max(axis=1) > 1e-6)
    return [MarkovGame(np.eye(2)[to[k]], r[k], gamma, np.ones(2) / 2) for k in failed]


def saddles(q: Array) -> tuple[Array, Array]:
    """Saddle points of games (..., 2, 2): pure where the lower and the upper pure value agree."""
    a, b, c, d = q[..., 0, 0], q[..., 0, 1], q[..., 1, 0], q[..., 1, 1]
    lows, highs = q.min(axis=-1), q.max(axis=-2)
    is_pure = lows.max(axis=-1) >= highs.min(axis=-1)
    total = np.where(is_pure, 1.0, a - b - c + d)
    x = np.where(is_pure, lows[..., 0] >= lows[..., 1], (d - c) / total)
    y = np.where(is_pure, highs[..., 0] <= highs[..., 1], (d - b) / total)
    return np.stack([x, 1 - x], axis=-1), np.stack([y, 1 - y], axis=-1)


@pytest.mark.parametrize(
    ("gamma", "n_games", "at_least"),
    [(0.75, 4000, 15), (0.99, 2500, 40), pytest.param(0.95, 45000, 1000, marks=pytest.mark.slow)],
)
def test_solve_game_converges_wherever_naive_policy_iteration_cycles(gamma: float, n_games: int, at_least: int) -> None:
    games = naive_cycles(n_games, 5, gamma)
    assert len(games) >= at_least
    told = 0
    for game in games[: max(at_least, 1)]:
        solution = solve_game(game, 1e-8)
        assert solution.status is Status.CONVERGED
        told += naive_policy_iteration(game, 1e-8).status is Status.CYCLING
    assert told >= 0.8 * at_least  # ties, broken otherwise there, may lead naive iteration out


# ---------------------------------------------------------------------------------------------- what is proved


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.3, 0.6, 0.9]), st.integers(1, 3), st.sampled_from([1, 2, 3, 7, math.inf]))
def test_one_iteration_contracts_by_the_constant(seed: int, gamma: float, lookahead: int, rollout: float) -> None:
    steps = contraction_steps(seed, gamma, lookahead, rollout)
    constants = contraction(gamma, lookahead, rollout)
    assert constants.sharp <= constants.paper
    assert max(after - constants.sharp * before for before, after in steps) <= 1e-10


@pytest.mark.slow
def test_ten_thousand_iterations_contract_by_the_constant() -> None:
    checks, greatest = 0, 0.0
    for seed, gamma, lookahead, rollout in product(range(60), (0.3, 0.6, 0.9), (1, 2, 3), (1, 2, 3, 7, math.inf)):
        constant = contraction(gamma, lookahead, rollout).sharp
        for before, after in contraction_steps(seed, gamma, lookahead, rollout):
            checks += 1
            assert after <= constant * before + 1e-10
            greatest = max(greatest, after / (constant * before))
    assert checks >= 10_000
    assert greatest > 0.5


def contraction_steps(seed: int, gamma: float, lookahead: int, rollout: float) -> list[tuple[float, float]]:
    """Errors before and after one iteration, from some random values."""
    rng = np.random.default_rng(seed)
    game = garnet_game(int(rng.integers(2, 6)), 3, 3, 2, rng, gamma=gamma)
    exact, sweeps = solve_game(game, 1e-12).value, GameSweeps(game)
    steps = []
    for _ in range(5):
        v = exact + rng.choice([-1.0, 1.0], game.n_states) * rng.uniform(0.5, 1.0, game.n_states)
        backup = next(lookahead_iterates(sweeps, v, lookahead=lookahead, rollout=rollout))
        after = sweeps.evaluate(backup, rollout)
        steps.append((float(np.abs(v - exact).max()), float(np.abs(after - exact).max())))
    return steps


@pytest.mark.parametrize("gamma", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("rollout", [1, 2, 3, 10, math.inf])
def test_the_contraction_constant_is_attained(gamma: float, rollout: float) -> None:
    """player_1 alone moves: it stays in state 0 and pays 2 gamma, or ends the game for nothing; W = (-1, 1)."""
    P, r = np.zeros((2, 1, 2, 2)), np.zeros((2, 1, 2))
    P[0, 0, 0, 0] = P[0, 0, 1, 1] = P[1, 0, :, 1] = 1.0
    r[0, 0, 0] = 2 * gamma
    game = MarkovGame(P, r, gamma, [1.0, 0.0])
    sweeps = GameSweeps(game)
    after = sweeps.evaluate(sweeps.backup(np.array([-1.0, 1.0])), rollout)
    assert np.abs(after).max() == pytest.approx(contraction(gamma, 1, rollout).sharp, rel=1e-9)
    np.testing.assert_array_equal(solve_game(game).value.round(7), [0, 0])


def test_the_smallest_lookahead_that_is_sure_to_converge() -> None:
    expected = {
        (0.5, 1): (1, 4), (0.5, 5): (2, 4), (0.5, 20): (2, 4), (0.5, math.inf): (3, 4),
        (0.75, 1): (1, 10), (0.75, 5): (7, 9), (0.75, math.inf): (8, 9),
        (0.9, 1): (1, 36), (0.9, 5): (20, 34), (0.9, 20): (28, 31), (0.9, math.inf): (29, 30),
        (0.95, 5): (42, 84), (0.95, math.inf): (72, 73),
        (0.99, 5): (217, 595), (0.99, 20): (356, 588), (0.99, math.inf): (528, 529),
    }  # fmt: skip
    for (gamma, rollout), smallest in expected.items():
        constants = contraction(gamma, 1, rollout)
        assert (constants.smallest_lookahead, constants.smallest_lookahead_paper) == smallest
        H = constants.smallest_lookahead
        assert contraction(gamma, H, rollout).sharp < 1.0
        assert H == 1 or contraction(gamma, H - 1, rollout).sharp >= 1.0
    assert contraction(0.9, 1, 1).sharp == pytest.approx(0.9)
    assert contraction(0.0, 1, 3).sharp == 0.0
    assert contraction(0.0, 1, 3).smallest_lookahead_paper == 2


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from([0.6, 0.9, 1.0]), st.booleans())
def test_the_safeguard_contracts_the_seminorm_at_every_step(seed: int, gamma: float, ends: bool) -> None:
    from lookahead_rl.solvers.games.safeguarded import safeguarded_iterates

    game = random_game(seed, sparse=True, gamma=gamma)
    if ends and gamma < 1.0:
        stops = random_game(seed, sparse=True, gamma=1.0)
        game = MarkovGame(stops.P, stops.r, gamma, stops.rho, stops.n_actions_0, stops.n_actions_1, stops.terminal)
    sweeps = GameSweeps(game)
    start = np.random.default_rng(seed).normal(size=game.n_states) * ~game.terminal
    iterates = safeguarded_iterates(sweeps, start)
    distances = [sweeps.distance(next(iterates)) for _ in range(8)]
    for before, after in pairwise(distances):
        assert after <= sweeps.modulus * before + 1e-12


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(0, 4))
def test_two_pairs_in_turns_are_shapley_iteration(seed: int, evaluations: int) -> None:
    game = random_game(seed, sparse=False, gamma=0.8)
    start = np.random.default_rng(seed).normal(size=game.n_states, scale=3.0)
    one = two_pair_policy_iteration(game, 1e-8, evaluations=evaluations, start=start)
    other = shapley_iteration(game, 1e-8, start=start)
    np.testing.assert_allclose(one.history[:20], other.history[:20], rtol=1e-6, atol=1e-9)


def test_values_of_hoffman_karp_rise_to_the_nash_value() -> None:
    from lookahead_rl.solvers.games.hoffman_karp import hoffman_karp_iterates

    game = random_game(3, sparse=True)
    for player, sign in ((0, 1.0), (1, -1.0)):
        iterates = hoffman_karp_iterates(GameSweeps(game), np.zeros(6), player=player)
        next(iterates)
        values = np.array([sign * next(iterates).v for _ in range(5)])
        assert (np.diff(values, axis=0) >= -1e-2 * np.abs(np.diff(values, axis=0)).max(axis=1, keepdims=True)).all()


# ---------------------------------------------------------------------------------------------- operators, counted


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([0.9, 1.0]))
def test_a_sweep_is_the_shapley_operator_and_its_chain_the_pair(seed: int, sparse: bool, gamma: float) -> None:
    game, rng = random_game(seed, sparse=sparse, gamma=gamma), np.random.default_rng(seed)
    sweeps = GameSweeps(game)
    for _ in range(3):
        v = rng.normal(size=6) * ~game.terminal
        backup, plain = sweeps.backup(v), shapley_operator(game, v)
        np.testing.assert_allclose(backup.value, plain.values, atol=1e-12)
        chain = sweeps.chain(backup.mu, backup.nu)
        np.testing.assert_allclose(chain.step(v), backup.value, atol=1e-9)
        np.testing.assert_allclose(np.asarray(chain.P @ np.ones(6)), ~game.terminal, atol=1e-12)
        assert (backup.low, backup.high) == ((backup.value - v).min(), (backup.value - v).max())
    assert sweeps.work.sweeps == 3


def test_work_is_counted() -> None:
    game = garnet_game(20, 3, 3, 3, 0, gamma=0.9)
    solution = lookahead_policy_iteration(game, 1e-8, lookahead=3, rollout=4)
    work, pairs = solution.work, solution.iterations
    assert work is not None
    assert (work.sweeps, work.matrix_games) == (3 * pairs, 60 * pairs)
    assert (work.evaluations, work.exact_evaluations) == (3 * (pairs - 1), 0)
    assert 0 < work.mixed_games <= work.matrix_games
    exact = naive_policy_iteration(game).work
    assert exact is not None
    assert exact.exact_evaluations == exact.sweeps - 1


# ---------------------------------------------------------------------------------------------- stopped early


@every
def test_at_the_iteration_limit_the_best_answer_has_true_bounds(planner: Planner) -> None:
    game = garnet_game(30, 3, 3, 2, 0, gamma=0.99)
    solution = planner(game, 1e-9, max_iterations=2)
    assert (solution.status, solution.iterations) == (Status.ITERATION_LIMIT, 2)
    assert contains(solution, solve_game(game, 1e-10).value, 1e-9)


@every
def test_an_interrupt_returns_the_best_answer_with_true_bounds(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = garnet_game(30, 3, 3, 2, 0, gamma=0.99)
    exact, backup, calls = solve_game(game, 1e-10).value, GameSweeps.backup, []

    def interrupted(self: GameSweeps, v: Array) -> GameBackup:
        calls.append(v)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return backup(self, v)

    monkeypatch.setattr(GameSweeps, "backup", interrupted)
    solution = planner(game, 1e-9)
    assert solution.status is Status.INTERRUPTED
    assert 1 <= solution.iterations <= 3
    assert contains(solution, exact, 1e-9)


def test_an_interrupt_before_the_first_answer_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: GameSweeps, v: Array) -> GameBackup:
        raise KeyboardInterrupt

    monkeypatch.setattr(GameSweeps, "backup", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve_game(van_der_wal())


@safe
def test_a_tolerance_below_rounding_is_told(planner: Planner) -> None:
    solution = planner(garnet_game(20, 3, 3, 3, 0, gamma=0.9), 1e-16)
    assert solution.status is Status.PRECISION_LIMIT
    assert solution.certificate.gap < 1e-11
    assert solution.iterations < 1000


# ---------------------------------------------------------------------------------------------- bad input


@every
def test_bad_arguments_are_named(planner: Planner) -> None:
    for kwargs, message in (
        ({"tol": 0.0}, "tol is 0"),
        ({"tol": math.nan}, "tol is nan"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"max_iterations": 2.5}, "max_iterations is 2.5"),
        ({"start": [0.0]}, r"start has shape \(1,\)"),
        ({"start": [math.inf, 0.0]}, r"start\[0\] is inf"),
        ({"start": [0.0, 1.0]}, r"start\[1\] is 1.0, but the state is terminal"),
    ):
        with pytest.raises(ValueError, match=message):
            planner(van_der_wal(), **kwargs)


@every
def test_without_discount_play_that_need_not_end_is_refused(planner: Planner) -> None:
    P = np.zeros((2, 2, 2, 2))
    P[0, [0, 1], [0, 1], 1] = P[0, [0, 1], [1, 0], 0] = P[1, :, :, 1] = 1.0
    game = MarkovGame(P, np.zeros((2, 2, 2)), 1.0, [1, 0], terminal=np.array([False, True]))
    with pytest.raises(ValueError, match="gamma = 1"):
        planner(game)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"lookahead": 0}, "lookahead is 0"),
        ({"lookahead": 1.5}, "lookahead is 1.5"),
        ({"rollout": 0}, "rollout is 0"),
        ({"rollout": 2.5}, "rollout is 2.5"),
        ({"rollout": math.nan}, "rollout is nan"),
        ({"rollout": -math.inf}, "rollout is -inf"),
    ],
)
def test_lookahead_and_rollout_are_checked(kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lookahead_policy_iteration(van_der_wal(), **kwargs)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        contraction(0.9, **({"lookahead": 1, "rollout": 1} | kwargs))  # type: ignore[arg-type]


def test_bad_players_discounts_and_evaluations_are_refused() -> None:
    with pytest.raises(ValueError, match="player is 2"):
        hoffman_karp(van_der_wal(), player=2)
    with pytest.raises(ValueError, match="gamma is 1; T contracts"):
        contraction(1.0, 1, 1)
    with pytest.raises(ValueError, match=r"gamma is 1\.5"):
        contraction(1.5, 1, 1)
    with pytest.raises(ValueError, match="evaluations is -1"):
        two_pair_policy_iteration(van_der_wal(), evaluations=-1)


# ---------------------------------------------------------------------------------------------- what once went wrong


def offset_game(seed: int, offset: float, gamma: float = 0.9) -> MarkovGame:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(4), (4, 2, 2))
    return MarkovGame(P, offset + rng.normal(size=(4, 2, 2)), gamma, np.ones(4) / 4)


@pytest.mark.parametrize("seed", range(12))
def test_repairs_end_where_rounding_sets_the_pace(seed: int) -> None:
    solution = residual_conditioned_policy_iteration(offset_game(seed, 1e9), repair=True, max_iterations=200)
    assert solution.status is Status.PRECISION_LIMIT
    assert solution.certificate.gap <= 1e-3


@pytest.mark.parametrize("planner", [solve_game, shapley_iteration, lookahead_policy_iteration, naive_policy_iteration])
def test_a_far_start_and_rows_short_of_one_are_no_precision_limit(planner: Planner) -> None:
    game = garnet_game(5, 3, 3, 3, 3, gamma=0.99)
    assert planner(game, 1e-8, start=np.full(5, 1e10)).status is Status.CONVERGED
    short = MarkovGame(np.full((3, 2, 2, 3), 0.3333333333), 1 + np.asarray(game.r[:3, :2, :2]), 0.99, np.ones(3) / 3)
    assert planner(short, 1e-8).status is Status.CONVERGED


def test_a_line_search_that_ends_in_rounding_has_not_stalled() -> None:
    assert filar_tolwinski(offset_game(0, 0.0, 0.5), 1e-300).status is Status.PRECISION_LIMIT


def test_slow_contraction_is_no_cycle() -> None:
    """Two states that swap: v alternates on its way, by far more than it approaches."""
    P = np.zeros((2, 1, 1, 2))
    P[0, 0, 0, 1] = P[1, 0, 0, 0] = 1.0
    game = MarkovGame(P, [[[1.0]], [[-1.0]]], 0.9999995, [1, 0])
    options = {"lookahead": 1, "rollout": 2, "start": [100, -100], "max_iterations": 200}
    assert lookahead_policy_iteration(game, **options).status is Status.ITERATION_LIMIT


def test_nothing_is_certified_beyond_the_range_of_float64() -> None:
    game = MarkovGame(np.ones((1, 2, 1, 1)), [[[-1e308], [1e308]]], 0.9, [1.0])
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = certify_game(game, [1.7e308], [[1, 0]], [[1]])
    assert (bounds.lower[0], bounds.upper[0]) == (-math.inf, math.inf)
    solution = solve_game(MarkovGame(np.ones((1, 1, 1, 1)), [[[1e308]]], 0.1, [1.0]))
    assert solution.value[0] == pytest.approx(1e308 / 0.9)


def test_work_done_beside_the_sweeps_is_counted_too() -> None:
    game = random_game(1, sparse=True)
    work = two_pair_policy_iteration(game, max_iterations=4, evaluations=3).work
    assert work is not None
    assert work.sweeps == 4
    assert work.matrix_games == 6 * (4 + 3)  # the game of step (b) once between improvements
    assert work.evaluations == 2 * 3 * (3 + 2)  # (a) and (c), after (b) and, from the second time on, before it


def test_a_hub_is_no_obstacle() -> None:
    """A state next to all others makes the bandwidth as large as the game, and an ordering of it slow to find."""
    n = 20_000
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(4 * n), 2)
    columns = np.stack([np.full(4 * n, n - 1), rng.integers(0, n - 1, 4 * n)], axis=1).ravel()
    columns[-8:] = n - 1
    P = sp.csr_array((np.tile([0.1, 0.9], 4 * n), (rows, columns)), shape=(4 * n, n))
    r = rng.random((n, 2, 2))
    r[-1] = 0.0
    game = MarkovGame(P, r, 1.0, np.full(n, 1 / n), terminal=np.arange(n) == n - 1)
    for planner in (solve_game, naive_policy_iteration):
        assert planner(game, 1e-6).status is Status.CONVERGED


@every
def test_wrong_types_are_named(planner: Planner) -> None:
    with pytest.raises(TypeError, match="game is a int; pass a MarkovGame"):
        planner(5)
    for tol in ("x", None, True, 1j):
        with pytest.raises(ValueError, match="tol is"):
            planner(van_der_wal(), tol)
