"""Soccer, Goofspiel, Oshi-Zumo, and the tables that are made from rules."""

import tracemalloc
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import api_test, parallel_api_test
from scipy.optimize import linprog

from lookahead_rl.models import (
    GoofspielRules,
    GoofspielState,
    MarkovGame,
    ModelError,
    OshiZumoRules,
    OshiZumoState,
    SoccerRules,
    SoccerState,
    goofspiel_game,
    load_model,
    oshi_zumo_game,
    same_model,
    save_model,
    soccer_game,
    tabulate,
)
from lookahead_rl.models.soccer import OPENSPIEL_GRID, STEPS
from lookahead_rl.solvers import best_response, evaluate_policy, fix_policy, solve_game

ORDERS = ["random", "descending", "ascending"]
PAYOFFS = ["win_loss", "point_difference"]


def lp_value(payoffs: Any) -> float:
    """Value of a matrix game by linear programming: maximise v with v <= x'A e_j for all columns j."""
    matrix = np.array(payoffs, dtype=float)
    n_rows, n_columns = matrix.shape
    found = linprog(
        np.append(np.zeros(n_rows), -1.0),
        A_ub=np.hstack((-matrix.T, np.ones((n_columns, 1)))),
        b_ub=np.zeros(n_columns),
        A_eq=[np.append(np.ones(n_rows), 0.0)],
        b_eq=[1.0],
        bounds=[(0, None)] * n_rows + [(None, None)],
    )
    return -found.fun


def values_of(rules: Any, gamma: float) -> dict[Any, float]:
    table = tabulate(rules, gamma)
    solution = solve_game(table.game, 1e-9)
    assert solution.certificate.gap <= 1e-9
    return dict(zip(table.states, solution.value, strict=True))


def pure(choices: Any, n_actions: int) -> np.ndarray:
    return np.eye(n_actions)[choices]


# Soccer


def played(rules: SoccerRules, state: SoccerState, action_0: str, action_1: str) -> Counter[Any]:
    """Probabilities of (next state, reward)."""
    found: Counter[Any] = Counter()
    for probability, next_state, reward in rules.outcomes(state, action_0, action_1):
        found[next_state, reward] += probability
    return found


def turned(state: SoccerState) -> SoccerState:
    """The position with the board turned by 180 degrees and the players exchanged."""
    (row_0, column_0), (row_1, column_1) = state.player_0, state.player_1
    ball = 1 - state.ball if isinstance(state.ball, int) else (3 - state.ball[0], 4 - state.ball[1])
    return SoccerState((3 - row_1, 4 - column_1), (3 - row_0, 4 - column_0), ball)


def test_soccer_has_littmans_760_states() -> None:
    """Littman 1994: 20 x 19 places of the players, times two for the ball."""
    game = soccer_game()
    assert game.r.shape == (760, 5, 5)
    assert not game.terminal.any()
    assert game.gamma == 0.9


@pytest.mark.parametrize("rules", [SoccerRules(), SoccerRules(OPENSPIEL_GRID, kick_off_again=False)])
def test_soccer_is_antisymmetric_and_worth_nothing_at_kick_off(rules: SoccerRules) -> None:
    values = values_of(rules, 0.9)
    assert values.pop(None, 0.0) == 0.0
    for state, value in values.items():
        assert value == pytest.approx(-values[turned(state)], abs=1e-9)
    assert sum(probability * values[state] for probability, state in rules.start()) == pytest.approx(0.0, abs=1e-9)


def test_whoever_has_the_ball_before_the_open_goal_scores() -> None:
    values = values_of(SoccerRules(), 0.9)
    assert values[SoccerState((1, 4), (3, 0), 0)] == pytest.approx(1.0, abs=1e-9)
    assert values[SoccerState((0, 4), (2, 0), 1)] == pytest.approx(-1.0, abs=1e-9)


def test_no_pure_policy_brings_the_attacker_anything() -> None:
    """Littman 1994, section 5.1: a deterministic offence scores nothing against the best defence."""
    table = tabulate(SoccerRules(), 0.9)
    solution = solve_game(table.game)
    start = table.index[SoccerState((2, 1), (1, 3), 0)]
    assert solution.value[start] > 0.2
    rng = np.random.default_rng(0)
    choices = [solution.policy[0].argmax(axis=1), *rng.integers(5, size=(3, 760))]
    for choice in choices:
        assert best_response(table.game, 1, pure(choice, 5)).value[start] <= 1e-9


def test_a_step_into_the_other_player_gives_the_ball_away() -> None:
    rules = SoccerRules()
    state = SoccerState((1, 2), (1, 3), 0)
    assert played(rules, state, "east", "stand") == {(state._replace(ball=1), 0.0): 1.0}
    assert played(rules, state._replace(ball=1), "east", "stand") == {(state._replace(ball=1), 0.0): 1.0}
    # The order decides: player_1 leaves first, or player_0 runs into it.
    assert played(rules, state, "east", "north") == {
        (SoccerState((1, 3), (0, 3), 0), 0.0): 0.5,
        (SoccerState((1, 2), (0, 3), 1), 0.0): 0.5,
    }


def test_a_ball_that_is_given_away_can_be_scored_with_at_once() -> None:
    rules = SoccerRules(kick_off_again=False)
    state = SoccerState((1, 4), (1, 3), 1)
    assert played(rules, state, "east", "east") == {(None, 1.0): 0.5, (state._replace(ball=0), 0.0): 0.5}


@pytest.mark.parametrize("row", range(4))
def test_goals_are_the_middle_rows_of_the_far_edge(row: int) -> None:
    rules = SoccerRules(kick_off_again=False)
    scored = {(None, 1.0): 1.0}
    state = SoccerState((row, 4), (3 - row, 1), 0)
    assert played(rules, state, "east", "stand") == (scored if row in (1, 2) else {(state, 0.0): 1.0})
    assert played(rules, SoccerState((row, 0), (0, 2), 0), "west", "stand").keys() == {
        (SoccerState((row, 0), (0, 2), 0), 0.0)
    }
    assert played(rules, state._replace(ball=1), "east", "stand").keys() == {(state._replace(ball=1), 0.0)}


def test_a_goal_is_followed_by_a_kick_off_with_either_in_possession() -> None:
    found = played(SoccerRules(), SoccerState((1, 0), (1, 4), 0), "stand", "stand")
    assert found == {(SoccerState((1, 0), (1, 4), 0), 0.0): 1.0}
    found = played(SoccerRules(), SoccerState((3, 3), (2, 0), 1), "stand", "west")
    assert found == {(SoccerState((2, 1), (1, 3), ball), -1.0): 0.5 for ball in (0, 1)}


def test_a_free_ball_belongs_to_who_comes_first() -> None:
    rules = SoccerRules(OPENSPIEL_GRID)
    state = SoccerState((1, 1), (1, 3), (1, 2))
    assert played(rules, state, "east", "west") == {
        (SoccerState((1, 2), (1, 3), 0), 0.0): 0.5,
        (SoccerState((1, 1), (1, 2), 1), 0.0): 0.5,
    }
    assert played(rules, SoccerState((1, 2), (1, 3), (3, 3)), "east", "stand").keys() == {
        (SoccerState((1, 2), (1, 3), (3, 3)), 0.0)
    }


def test_soccer_keeps_the_reward_of_each_outcome(tmp_path: Path) -> None:
    game = soccer_game()
    assert set(game.outcome_rewards) == {-1.0, 0.0, 1.0}
    assert 0.5 in game.r
    save_model(game, tmp_path / "soccer.npz")
    assert same_model(load_model(tmp_path / "soccer.npz"), game)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("...\n.A.\n...", "grid has 0 squares 'B'"),
        ("AB.\n.A.\n...", "grid has 2 squares 'A'"),
        ("A.B\n...", "at least three rows"),
        ("A.B\n..\n...", "equal length"),
        ("A.B\n.X.\n...", "'O'"),
        (5, "grid is 5; draw, in one string, at least three rows"),
        (None, "grid is None; draw"),
        (["A.B", "...", "..."], r"grid is \['A.B', .*; draw"),
    ],
)
def test_bad_grids_are_refused(grid: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        soccer_game(grid=grid)


def test_a_pitch_too_large_is_refused_by_its_size() -> None:
    rows = ["." * 400] * 400
    with pytest.raises(ModelError, match="soccer on a grid of 401 x 400 squares has more than 10 states") as caught:
        tabulate(SoccerRules("\n".join([*rows, "AB" + "." * 398])), 0.9, max_states=10)
    assert len(str(caught.value)) < 300


# Goofspiel


@pytest.mark.parametrize(("order", "payoff"), [*product(ORDERS, PAYOFFS)])
@pytest.mark.parametrize("n_cards", [2, 3, 4])
def test_goofspiel_is_fair_and_antisymmetric(n_cards: int, order: Any, payoff: Any) -> None:
    values = values_of(GoofspielRules(n_cards, order, payoff), 1.0)
    assert values.pop(None) == 0.0
    for state, value in values.items():
        exchanged = state._replace(hand_0=state.hand_1, hand_1=state.hand_0, lead=-state.lead)
        assert value == pytest.approx(-values[exchanged], abs=1e-8)


def test_goofspiel_has_the_values_of_rhoads_and_bartholdis_recursion() -> None:
    """f(V, Y, P), the mean over the upturned prize k of val[ k sgn(i - j) + f(V - i, Y - j, P - k) ] (Rhoads,
    Bartholdi, Games 3, 2012, section 3), by linear programming down to the empty hand."""

    @cache
    def turned_up(ours: frozenset[int], theirs: frozenset[int], prizes: frozenset[int]) -> float:
        return sum(upturned(ours, theirs, prizes - {k}, k) for k in prizes) / len(prizes) if prizes else 0.0

    @cache
    def upturned(ours: frozenset[int], theirs: frozenset[int], rest: frozenset[int], k: int) -> float:
        return lp_value(
            [
                [k * np.sign(i - j) + turned_up(ours - {i}, theirs - {j}, rest) for j in sorted(theirs)]
                for i in sorted(ours)
            ]
        )

    values = values_of(GoofspielRules(4, "random", "point_difference"), 1.0)
    del values[None]
    for state, value in list(values.items())[::4]:
        hands = frozenset(state.hand_0), frozenset(state.hand_1), frozenset(state.later_prizes)
        assert value == pytest.approx(upturned(*hands, state.prize), abs=1e-8)


@pytest.mark.parametrize("n_cards", [2, 3, 4, 5])
def test_the_prizes_own_number_is_the_best_bid_against_random_bids(n_cards: int) -> None:
    """Ross 1971, for a random order and the difference of points."""
    table = tabulate(GoofspielRules(n_cards, "random", "point_difference"), 1.0)
    game, n_bids = table.game, table.game.n_actions_1[:, None]
    uniform = (np.arange(game.r.shape[2]) < n_bids) / n_bids
    # Who always bids the prize's number still has it.
    matching = [
        state.hand_0.index(state.prize) if state is not None and state.prize in state.hand_0 else 0
        for state in table.states
    ]
    matched = evaluate_policy(fix_policy(game, 0, pure(matching, game.r.shape[1])), uniform)
    assert matched.value @ game.rho == pytest.approx(best_response(game, 0, uniform).value @ game.rho, abs=1e-9)


@pytest.mark.parametrize("n_cards", [4, 5])
def test_every_pure_policy_loses_points_in_goofspiel(n_cards: int) -> None:
    """Rhoads, Bartholdi 2012, section 2: no deterministic bids succeed. Bidding one more than each, and the lowest
    card against the highest, wins all prizes but one, which is worth at most n."""
    game = goofspiel_game(n_cards, prize_order="descending", payoff="point_difference")
    rng = np.random.default_rng(0)
    for _ in range(20):
        mu = pure(rng.integers(game.n_actions_0), game.r.shape[1])
        assert best_response(game, 1, mu).value @ game.rho <= 2 * n_cards - sum(range(1, n_cards + 1))


def test_the_last_prize_is_settled_with_the_one_before() -> None:
    rules = GoofspielRules(3, "descending")
    state = GoofspielState((1, 3), (2, 3), 2, (1,), 0)
    assert list(rules.outcomes(state, 3, 2)) == [(1.0, None, 1.0)]  # wins 2, loses 1
    assert list(rules.outcomes(state, 1, 3)) == [(1.0, None, -1.0)]  # loses 2, wins 1
    points = GoofspielRules(3, "descending", "point_difference")
    assert list(points.outcomes(state, 3, 2)) == [(1.0, None, 1.0)]
    assert list(points.outcomes(state, 3, 3)) == [(1.0, None, -1.0)]


@pytest.mark.parametrize(("n_cards", "n_states"), [(3, 58), (4, 1549), pytest.param(5, 28478, marks=pytest.mark.slow)])
def test_goofspiel_has_as_many_states_as_its_page_says(n_cards: int, n_states: int) -> None:
    assert goofspiel_game(n_cards).n_states == n_states


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_cards": 1}, "n_cards is 1"),
        ({"n_cards": 2.0}, "n_cards is 2.0"),
        ({"prize_order": "up"}, "prize_order is 'up'; pass one of 'random', 'descending', 'ascending'"),
        ({"payoff": "total_points"}, "payoff is 'total_points'"),
        ({"gamma": 2}, "gamma"),
        ({"n_cards": 10}, "n_cards is 10, which makes at least 184,656 states, more than 100,000; pass 2 to 9, or tab"),
        ({"n_cards": 13}, "n_cards is 13, which makes at least 10,400,431 states"),
        ({"n_cards": 10**9}, "n_cards is 1000000000; it must be at most 52"),
        ({"n_cards": 6}, r"has more than 100,000 states.*raise max_states, an argument of tabulate and from_openspiel"),
    ],
)
def test_bad_goofspiel_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        goofspiel_game(**kwargs)


@pytest.mark.parametrize("n_cards", [2, 3, 4, 5])
def test_the_fewest_states_are_counted_right(n_cards: int) -> None:
    """Two equally large hands of two cards or more, whatever they are, and the end: C(2n, n) - n^2."""
    game = goofspiel_game(n_cards, prize_order="descending", payoff="point_difference")
    assert game.n_states == comb(2 * n_cards, n_cards) - n_cards**2


# Oshi-Zumo


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(0, 3), st.booleans(), st.sampled_from([0, 1]))
def test_oshi_zumo_is_fair_and_antisymmetric(coins: int, size: int, alesia: bool, min_bid: int) -> None:
    rules = OshiZumoRules(coins, size, min_bid, alesia)
    values = values_of(rules, 1.0 if min_bid else 0.9)
    values.pop(None)
    for state, value in values.items():
        assert value == pytest.approx(-values[OshiZumoState(state.coins_1, state.coins_0, -state.place)], abs=1e-8)
    assert values[OshiZumoState(coins, coins, 0)] == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("alesia", [False, True])
def test_oshi_zumo_has_the_values_of_direct_recursion(alesia: bool) -> None:
    @cache
    def value(mine: int, yours: int, place: int) -> float:
        if abs(place) > 2:
            return float(np.sign(place))
        if mine == yours == 0:
            return 0.0 if alesia else float(np.sign(place))
        bids, answers = (range(min(1, coins), coins + 1) for coins in (mine, yours))
        return lp_value([[value(mine - a, yours - b, place + int(np.sign(a - b))) for b in answers] for a in bids])

    values = values_of(OshiZumoRules(6, 2, 1, alesia), 1.0)
    del values[None]
    for state, found in values.items():
        assert found == pytest.approx(value(*state), abs=1e-8)


def test_a_player_without_the_least_bid_bids_all() -> None:
    assert OshiZumoRules(9, min_bid=3).actions(OshiZumoState(2, 5, 0)) == (range(2, 3), range(3, 6))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"coins": 0}, "coins is 0"),
        ({"size": -1}, "size is -1"),
        ({"coins": 3, "min_bid": 4}, "min_bid is 4, but the players have 3 coins"),
        ({"alesia": 1}, "alesia is 1"),
        ({"coins": 10**30}, "coins is 1000000000000000000000000000000; it must be at most 1,000,000,000"),
        ({"coins": 400}, "needs a table of at least.*raise max_bytes, an argument of tabulate and from_openspiel"),
    ],
)
def test_bad_oshi_zumo_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        oshi_zumo_game(**kwargs)


@pytest.mark.parametrize(("coins", "size"), [(10**8, 3), (10**8, 0), (5000, 0)])
def test_more_bids_than_a_table_holds_are_refused_before_they_are_listed(coins: int, size: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=rf"up to {coins} x {coins} actions.*take a smaller game, or raise max_by"):
            oshi_zumo_game(coins, size=size)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_fortune_that_must_be_bid_at_once_is_no_large_game() -> None:
    assert oshi_zumo_game(10**9, min_bid=10**9 - 1).n_states == 5


def test_bids_of_nothing_for_ever_are_refused_without_a_discount() -> None:
    with pytest.raises(ValueError, match="play around state 0 need not end"):
        solve_game(oshi_zumo_game(4, min_bid=0))


# Tables from rules


@dataclass
class Coin:
    """Two states and the end; the outcomes of "flip" are given."""

    flips: list[tuple[float, Any, float]] = field(
        default_factory=lambda: [(0.25, "b", 1.0), (0.25, "b", 1.0), (0.5, None, 2.0)]
    )
    moves: tuple[str, ...] = ("flip", "stay")

    def start(self) -> list[tuple[float, Any]]:
        return [(0.5, "a"), (0.25, "b"), (0.25, "a")]

    def actions(self, state: str) -> Any:
        return (self.moves, (None,)) if state == "a" else ((None,), ("go", "flip", "end"))

    def outcomes(self, state: str, action_0: Any, action_1: Any) -> Any:
        return self.flips if "flip" in (action_0, action_1) else [(1.0, None if action_1 == "end" else "a", 0.0)]


def test_tables_number_states_and_actions_as_the_rules_list_them() -> None:
    table = tabulate(Coin(), 0.5)
    game = table.game
    assert table.states == ("a", "b", None)
    assert dict(table.index) == {"a": 0, "b": 1, None: 2}
    assert table.actions_0 == (("flip", "stay"), (None,), (None,))
    assert table.actions_1 == ((None,), ("go", "flip", "end"), (None,))
    assert game.r.shape == (3, 2, 3)
    assert (game.n_actions_0.tolist(), game.n_actions_1.tolist()) == ([2, 1, 1], [1, 3, 1])
    assert game.rho.tolist() == [0.75, 0.25, 0.0]
    assert game.terminal.tolist() == [False, False, True]
    P = game.P.toarray().reshape(3, 2, 3, 3)
    assert P[0, 0, 0].tolist() == P[1, 0, 1].tolist() == [0.0, 0.5, 0.5]
    assert P[0, 1, 0].tolist() == P[1, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert game.r[0, 0, 0] == game.r[1, 0, 1] == 1.5
    assert game.P.nnz == 2 + 1 + 1 + 2 + 1 + 1  # equal outcomes are one


def test_outcomes_with_different_rewards_stay_apart() -> None:
    game = tabulate(Coin([(0.5, "b", 1.0), (0.5, "b", -1.0)]), 0.5).game
    outcomes = game.outcomes()
    assert outcomes.rewards[: outcomes.indptr[1]].tolist() == [1.0, -1.0]
    assert game.r[0, 0, 0] == 0.0


@pytest.mark.parametrize(
    ("rules", "limits", "message"),
    [
        (
            Coin(),
            {"max_states": 2},
            "Coin.*has more than 2 states: so many were found by exploring 1 of them",
        ),
        (
            Coin(),
            {"max_bytes": 100},
            r"at least \d+ bytes, for the 3 states found so far and up to 2 x 1 actions.* max_bytes = 100; take",
        ),
        (Coin([(0.5, "b", 1.0)]), {}, "outcomes of flip against None in a have probabilities that sum to 0.5, not 1"),
        (Coin([(np.nan, "b", 1.0)]), {}, "sum to nan"),
        (Coin([(1.0, "b", np.inf)]), {}, "r.* is inf"),
        (Coin([(1.5, "b", 0.0), (-0.5, "a", 0.0)]), {}, "P.* is -0.5"),
        (Coin(moves=()), {}, "gives a player no action in a"),
    ],
)
def test_bad_rules_and_too_large_games_are_refused(rules: Coin, limits: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tabulate(rules, 0.5, **limits)


@pytest.mark.parametrize("gamma", [1.5, "0.5", None])
def test_the_discount_is_checked_before_the_game_is_explored(gamma: Any) -> None:
    class Untouchable(Coin):
        def start(self) -> Any:
            raise AssertionError("explored")

    with pytest.raises(ModelError, match=f"gamma is {gamma!r}"):
        tabulate(Untouchable(), gamma)


@pytest.mark.parametrize("name", ["Goofspiel", "OshiZumo"])
def test_pettingzoos_tests_treat_masks_as_the_page_says(name: str) -> None:
    env_id = f"lookahead_rl/{name}-v0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api_test(pettingzoo.make("aec", env_id), num_cycles=50)
    with pytest.raises(ModelError, match=r"actions\['player_\d'\] is"):
        parallel_api_test(pettingzoo.make("parallel", env_id), num_cycles=200)
    page = import_module(f"lookahead_rl.envs.{'goofspiel' if name == 'Goofspiel' else 'oshi_zumo'}_v0").game.__doc__
    assert "parallel_api_test" in page


def test_every_soccer_move_is_among_the_outcomes_of_its_pair() -> None:
    assert tabulate(SoccerRules(), 0.9).actions_0[0] == tuple(STEPS)


# Outcome rewards beside a sparse law


def test_sparse_games_take_one_reward_an_outcome() -> None:
    game = tabulate(Coin(), 0.5).game
    copy = MarkovGame(
        game.P, game.outcome_rewards, game.gamma, game.rho, game.n_actions_0, game.n_actions_1, game.terminal
    )
    assert same_model(game, copy)
    with pytest.raises(ModelError, match="one reward per outcome and both n_actions_0 and n_actions_1"):
        MarkovGame(game.P, game.outcome_rewards, game.gamma, game.rho, game.n_actions_0)
    with pytest.raises(ModelError, match="r has shape"):
        MarkovGame(game.P, game.outcome_rewards[1:], game.gamma, game.rho, game.n_actions_0, game.n_actions_1)
    with pytest.raises(ModelError, match="n_actions_1 has dtype"):
        MarkovGame(game.P, game.outcome_rewards, game.gamma, game.rho, game.n_actions_0, np.ones(3))
