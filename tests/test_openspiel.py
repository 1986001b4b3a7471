"""OpenSpiel's games, imported: values agree with what OpenSpiel's own nodes give, and laws with our own rules."""

import importlib.util
import re
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import binomtest

from lookahead_rl.models import (
    GameTable,
    GoofspielRules,
    GoofspielState,
    MarkovGame,
    ModelError,
    OshiZumoRules,
    OshiZumoState,
    SoccerRules,
    SoccerState,
    from_openspiel,
    openspiel_table,
    same_model,
    tabulate,
)
from lookahead_rl.models.soccer import OPENSPIEL_GRID
from lookahead_rl.solvers import solve_game

pyspiel = pytest.importorskip("pyspiel", reason="the extra openspiel is not installed")

TURN_BASED = ["tic_tac_toe", "nim(pile_sizes=1;3;2)", "pig(winscore=8,diceoutcomes=3)"]
GAMES = {
    "goofspiel(num_cards=3)": 1.0,
    "goofspiel(num_cards=4,points_order=descending)": 1.0,
    "goofspiel(num_cards=4,points_order=ascending,returns_type=point_difference)": 0.9,
    "oshi_zumo(coins=6,size=2,min_bid=1)": 1.0,
    "oshi_zumo(coins=4,size=1,alesia=true)": 0.9,
    "markov_soccer": 0.9,
    "matrix_rpsw": 1.0,
    "zerosum(game=matrix_pd())": 1.0,
    "nim(pile_sizes=1;3;2)": 1.0,
    "tic_tac_toe": 1.0,
    "pig(winscore=8,diceoutcomes=3)": 0.95,
}
"""Games and the discount to solve them with; those with cycles need one."""


def lp_value(payoffs: np.ndarray) -> float:
    """Value of a matrix game by linear programming: maximise v with v <= x'A e_j for all columns j."""
    n_rows, n_columns = payoffs.shape
    found = linprog(
        np.append(np.zeros(n_rows), -1.0),
        A_ub=np.hstack((-payoffs.T, np.ones((n_columns, 1)))),
        b_ub=np.zeros(n_columns),
        A_eq=[np.append(np.ones(n_rows), 0.0)],
        b_eq=[1.0],
        bounds=[(0, None)] * n_rows + [(None, None)],
    )
    return -found.fun


def expectation(node: Any, of: Any) -> float:
    """The mean of a function of the nodes behind chance."""
    if not node.is_chance_node():
        return of(node)
    return sum(chance * expectation(node.child(move), of) for move, chance in node.chance_outcomes())


def successors(node: Any) -> list[list[Any]]:
    """The nodes after each pair of moves; a player who is not to move has one row or column."""
    if not node.is_simultaneous_node():
        after = [node.child(move) for move in node.legal_actions()]
        return [after] if node.current_player() else [[child] for child in after]
    children = []
    for first in node.legal_actions(0):
        row = [node.clone() for _ in node.legal_actions(1)]
        for child, second in zip(row, node.legal_actions(1), strict=True):
            child.apply_actions([first, second])
        children.append(row)
    return children


def nodes_of(game: Any) -> dict[str, Any]:
    """One node for each string, found depth first."""
    found: dict[str, Any] = {}
    waiting = [game.new_initial_state()]
    while waiting:
        node = waiting.pop()
        if node.is_chance_node():
            waiting += [node.child(move) for move, _ in node.chance_outcomes()]
        elif not node.is_terminal() and str(node) not in found:
            found[str(node)] = node
            waiting += [child for row in successors(node) for child in row]
    return found


def backed_up(node: Any, of: Any) -> float:
    """The value of the matrix game at a node, by linear programming unless one player moves."""
    payoffs = np.array([[expectation(child, of) for child in row] for row in successors(node)])
    if 1 in payoffs.shape:
        return payoffs.max(axis=0).min()
    return lp_value(payoffs)


def backward_induction(game: Any) -> dict[str, float]:
    """Values of all unfinished nodes of a game without cycles, by recursion over OpenSpiel's own nodes."""
    values: dict[str, float] = {}

    def value(node: Any) -> float:
        if node.is_terminal():
            return node.player_return(0)
        if str(node) not in values:
            values[str(node)] = backed_up(node, value)
        return values[str(node)]

    expectation(game.new_initial_state(), value)
    return values


def values_by_label(table: GameTable[Any, Any]) -> dict[str, float]:
    solution = solve_game(table.game, 1e-9)
    assert solution.certificate.gap <= 1e-9
    return dict(zip(table.states, solution.value, strict=True))


# What is imported is OpenSpiel's game


@pytest.mark.parametrize("name", GAMES)
def test_one_sweep_over_openspiels_nodes_leaves_the_value_as_it_is(name: str) -> None:
    """Shapley: v = T v has one solution, so the import and OpenSpiel's nodes are the same game to v."""
    gamma = GAMES[name]
    nodes = nodes_of(pyspiel.load_game(name))
    values = values_by_label(openspiel_table(name, gamma))
    assert values.pop(None) == 0.0
    assert values.keys() == nodes.keys()

    def worth(node: Any) -> float:
        return node.player_return(0) if node.is_terminal() else gamma * values[str(node)]

    sample = list(nodes)[:: 1 + len(nodes) // 100]
    found = [backed_up(nodes[label], worth) for label in sample]
    np.testing.assert_allclose(found, [values[label] for label in sample], atol=1e-8)


@pytest.mark.parametrize(
    "name", ["goofspiel(num_cards=3)", "goofspiel(num_cards=4,points_order=descending)", "oshi_zumo(coins=6,min_bid=1)"]
)
def test_values_are_those_of_backward_induction(name: str) -> None:
    expected = backward_induction(pyspiel.load_game(name))
    found = values_by_label(openspiel_table(name))
    assert found.keys() == {*expected, None}
    np.testing.assert_allclose([found[label] for label in expected], [*expected.values()], atol=1e-8)


@pytest.mark.parametrize(
    ("name", "cyclic"),
    [
        ("goofspiel(num_cards=3)", False),
        pytest.param("goofspiel(num_cards=4,points_order=descending)", False, marks=pytest.mark.slow),
        ("oshi_zumo(coins=4,min_bid=1)", False),
        ("tic_tac_toe", True),  # a position met again need not be gone through again
    ],
)
def test_values_are_those_of_openspiels_value_iteration(name: str, cyclic: bool) -> None:
    pytest.importorskip("cvxpy", reason="OpenSpiel's value iteration needs cvxpy")
    pytest.importorskip("ecos", reason="OpenSpiel's value iteration needs ecos, for which newer Pythons have no wheel")
    value_iteration = pytest.importorskip("open_spiel.python.algorithms.value_iteration").value_iteration
    expected = value_iteration(pyspiel.load_game(name), depth_limit=-1, threshold=1e-4, cyclic_game=cyclic)
    found = values_by_label(openspiel_table(name))
    live = [label for label in found if label is not None]
    np.testing.assert_allclose([found[label] for label in live], [expected[label] for label in live], atol=1e-5)


def test_chance_at_the_root_gives_the_initial_distribution() -> None:
    table = openspiel_table("goofspiel(num_cards=3)")
    starts = [table.states[s] for s in np.flatnonzero(table.game.rho)]
    assert [re.findall(r"sequence: (\d)", label) for label in starts] == [["1"], ["2"], ["3"]]
    np.testing.assert_allclose(table.game.rho[table.game.rho > 0], 1 / 3)


def test_markov_soccer_is_played_as_openspiel_plays_it() -> None:
    """Each sampled move has the probability that the table gives it: even odds wherever the order matters."""
    table = openspiel_table("markov_soccer", 0.9)
    game, rng = pyspiel.load_game("markov_soccer"), np.random.default_rng(0)
    outcomes, A, B = table.game.outcomes(), table.game.r.shape[1], table.game.r.shape[2]
    state, firsts, contested = game.new_initial_state(), 0, 0
    for _ in range(4000):
        if state.is_chance_node():
            state.apply_action(int(rng.choice([move for move, _ in state.chance_outcomes()])))
            continue
        a, b = (int(rng.integers(n)) for n in (A, B))
        row = (table.index[str(state)] * A + a) * B + b
        state.apply_actions([a, b])
        state.apply_action(int(rng.choice([move for move, _ in state.chance_outcomes()])))
        reached = table.index[None if state.is_terminal() else str(state)]
        row_outcomes = slice(outcomes.indptr[row], outcomes.indptr[row + 1])
        (place,) = np.flatnonzero(outcomes.next_states[row_outcomes] == reached)
        assert outcomes.rewards[row_outcomes][place] == state.player_return(0)
        if outcomes.probabilities[row_outcomes][place] < 1.0:
            assert outcomes.probabilities[row_outcomes][place] == 0.5
            firsts, contested = firsts + (place == 0), contested + 1
        if state.is_terminal():
            state = game.new_initial_state()
    assert contested > 100
    assert binomtest(firsts, contested).pvalue > 1e-3


EXPLICIT = pyspiel.GameType.ChanceMode.EXPLICIT_STOCHASTIC


def game_type(name: str, dynamics: Any, chance_mode: Any = EXPLICIT) -> Any:
    kinds = pyspiel.GameType
    return kinds(
        short_name=f"python_{name.lower()}",
        long_name=name,
        dynamics=dynamics,
        chance_mode=chance_mode,
        information=kinds.Information.PERFECT_INFORMATION,
        utility=kinds.Utility.ZERO_SUM,
        reward_model=kinds.RewardModel.REWARDS,
        max_num_players=2,
        min_num_players=2,
        provides_information_state_string=False,
        provides_information_state_tensor=False,
        provides_observation_string=False,
        provides_observation_tensor=False,
    )


STAKES_INFO = pyspiel.GameInfo(
    num_distinct_actions=2,
    max_chance_outcomes=2,
    num_players=2,
    min_utility=-12.0,
    max_utility=12.0,
    max_game_length=2,
)


class Stakes(pyspiel.Game):
    """Two rounds; in each two coins set the stake, 1, 2 or 3, and [[2, 0], [0, 1]] is played for it and paid."""

    def __init__(self, chance_mode: Any = EXPLICIT) -> None:
        super().__init__(game_type("Stakes", pyspiel.GameType.Dynamics.SIMULTANEOUS, chance_mode), STAKES_INFO, {})

    def new_initial_state(self) -> "StakesState":
        return StakesState(self)


class StakesState(pyspiel.State):
    def __init__(self, game: Stakes) -> None:
        super().__init__(game)
        self.rounds, self.coins, self.paid = 0, [], 0

    def current_player(self) -> Any:
        if self.is_terminal():
            return pyspiel.PlayerId.TERMINAL
        return pyspiel.PlayerId.CHANCE if len(self.coins) < 2 else pyspiel.PlayerId.SIMULTANEOUS

    def _legal_actions(self, player: int) -> list[int]:
        return [0, 1]

    def chance_outcomes(self) -> list[tuple[int, float]]:
        return [(0, 0.5), (1, 0.5)]

    def _apply_action(self, action: int) -> None:
        self.coins.append(action)

    def _apply_actions(self, actions: list[int]) -> None:
        self.paid += (1 + sum(self.coins)) * [[2, 0], [0, 1]][actions[0]][actions[1]]
        self.rounds, self.coins = self.rounds + 1, []

    def _action_to_string(self, player: int, action: int) -> str:
        return f"{player}:{action}"

    def is_terminal(self) -> bool:
        return self.rounds == 2

    def returns(self) -> list[float]:
        return [self.paid, -self.paid]

    def __str__(self) -> str:
        return f"round {self.rounds}, stake {1 + sum(self.coins)}"  # and not what has been paid so far


class Forgetful(pyspiel.Game):
    """Player 0 moves twice; what it may do the second time, and is paid for it, is what it did the first time."""

    def __init__(self) -> None:
        super().__init__(game_type("Forgetful", pyspiel.GameType.Dynamics.SEQUENTIAL), STAKES_INFO, {})

    def new_initial_state(self) -> "ForgetfulState":
        return ForgetfulState(self)


class ForgetfulState(pyspiel.State):
    def __init__(self, game: Forgetful) -> None:
        super().__init__(game)
        self.moves: list[int] = []

    def current_player(self) -> Any:
        return pyspiel.PlayerId.TERMINAL if self.is_terminal() else 0

    def _legal_actions(self, player: int) -> list[int]:
        return self.moves or [0, 1]

    def _apply_action(self, action: int) -> None:
        self.moves.append(action)

    def _action_to_string(self, player: int, action: int) -> str:
        return str(action)

    def is_terminal(self) -> bool:
        return len(self.moves) == 2

    def returns(self) -> list[float]:
        paid = self.moves[1] if self.is_terminal() else 0
        return [paid, -paid]

    def __str__(self) -> str:
        return "board" if len(self.moves) == 1 else f"moves {self.moves}"


def test_rewards_are_increments_and_chance_moves_in_a_row_are_one() -> None:
    """The matrix [[2, 0], [0, 1]] has value 2/3; the mean stake is 2."""
    table = openspiel_table(Stakes(), 0.5)
    solution = solve_game(table.game)
    assert table.game.rho[[table.index[f"round 0, stake {stake}"] for stake in (1, 2, 3)]].tolist() == [0.25, 0.5, 0.25]
    assert table.game.n_states == 3 + 3 + 1
    for stake in (1, 2, 3):
        now, later = (solution.value[table.index[f"round {r}, stake {stake}"]] for r in (0, 1))
        assert later == pytest.approx(2 / 3 * stake, abs=1e-9)
        assert now == pytest.approx(2 / 3 * (stake + 0.5 * 2), abs=1e-9)


# The same games by our own rules


def soccer_state(label: str) -> SoccerState:
    squares = {mark: divmod(label.replace("\n", "").index(mark), 5) for mark in set(label) - set(".\n")}
    ball = 0 if "A" in squares else 1 if "B" in squares else squares["O"]
    return SoccerState(squares.get("A") or squares["a"], squares.get("B") or squares["b"], ball)


def oshi_zumo_state(label: str) -> OshiZumoState:
    coins_0, coins_1, board = re.fullmatch(r"Coins: (\d+) (\d+), Field: (\S+)\n", label).groups()
    return OshiZumoState(int(coins_0), int(coins_1), board.index("W") - len(board) // 2)


def goofspiel_state(label: str) -> tuple[GoofspielState, int]:
    """Our state, which forgets points and the order of past prizes, and the points of player_0 beyond player_1's."""
    hand_0, hand_1, shown, points = ([int(n) for n in line.split(":")[1].split()] for line in label.strip().split("\n"))
    n_cards = len(hand_0) + len(shown) - 1
    later = tuple(prize for prize in range(1, n_cards + 1) if prize not in shown)
    lead = points[0] - points[1]
    return GoofspielState(tuple(hand_0), tuple(hand_1), shown[-1], later, lead), lead


def law_of(game: MarkovGame, order: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(P, r, rho, action counts) with the states in another order."""
    P = game.P_rows.toarray().reshape(*game.r.shape, game.n_states)
    counts = np.stack((game.n_actions_0, game.n_actions_1))
    return P[order][..., order], game.r[order], game.rho[order], counts[:, order]


@pytest.mark.parametrize(
    ("name", "rules", "gamma", "state_of"),
    [
        ("oshi_zumo(coins=9,size=2,min_bid=1)", OshiZumoRules(9, 2), 1.0, oshi_zumo_state),
        ("oshi_zumo(coins=5,size=3,alesia=true)", OshiZumoRules(5, 3, 0, alesia=True), 0.9, oshi_zumo_state),
        ("oshi_zumo(coins=6,size=2,min_bid=2)", OshiZumoRules(6, 2, 2), 1.0, oshi_zumo_state),
        (
            "goofspiel(num_cards=4,points_order=descending)",
            GoofspielRules(4, "descending"),
            1.0,
            lambda label: goofspiel_state(label)[0],
        ),
    ],
)
def test_our_rules_make_openspiels_game(name: str, rules: Any, gamma: float, state_of: Any) -> None:
    """One state for one state: equal transition probabilities, rewards, action sets, start and values."""
    ours, theirs = tabulate(rules, gamma), openspiel_table(name, gamma)
    order = [ours.index[None if label is None else state_of(label)] for label in theirs.states]
    assert sorted(order) == list(range(ours.game.n_states))
    for mine, imported in zip(law_of(ours.game, order), law_of(theirs.game, list(range(len(order)))), strict=True):
        np.testing.assert_array_equal(mine, imported)
    np.testing.assert_allclose(solve_game(ours.game).value[order], solve_game(theirs.game).value, atol=1e-8)


def test_our_soccer_is_openspiels_markov_soccer() -> None:
    ours = tabulate(SoccerRules(OPENSPIEL_GRID, kick_off_again=False), 0.9)
    theirs = openspiel_table("markov_soccer", 0.9)
    order = [ours.index[None if label is None else soccer_state(label)] for label in theirs.states]
    assert sorted(order) == list(range(1445))
    rows = (np.array(order)[:, None] * 25 + np.arange(25)).reshape(-1)
    assert abs(ours.game.P[rows][:, order] - theirs.game.P).max() == 0.0
    np.testing.assert_array_equal(ours.game.r[order], theirs.game.r)
    np.testing.assert_array_equal(ours.game.rho[order], theirs.game.rho)
    np.testing.assert_allclose(solve_game(ours.game).value[order], solve_game(theirs.game).value, atol=1e-8)


@pytest.mark.parametrize("n_cards", [3, 4])
@pytest.mark.parametrize("order", ["random", "descending", "ascending"])
@pytest.mark.parametrize("payoff", ["win_loss", "point_difference"])
def test_our_goofspiel_has_openspiels_values(n_cards: int, order: Any, payoff: Any) -> None:
    """OpenSpiel's states remember the order of past prizes; its point difference is half of ours, paid at the end."""
    theirs = values_by_label(
        openspiel_table(f"goofspiel(num_cards={n_cards},points_order={order},returns_type={payoff})")
    )
    ours = values_by_label(tabulate(GoofspielRules(n_cards, order, payoff), 1.0))
    for label, value in theirs.items():
        if label is None:
            continue
        state, lead = goofspiel_state(label)
        expected = ours[state] if payoff == "win_loss" else (lead + ours[state._replace(lead=0)]) / 2
        assert value == pytest.approx(expected, abs=1e-8)


@pytest.mark.slow
def test_our_goofspiel_has_openspiels_values_with_five_cards() -> None:
    theirs = values_by_label(openspiel_table("goofspiel(num_cards=5,points_order=descending)"))
    ours = values_by_label(tabulate(GoofspielRules(5, "descending"), 1.0))
    for label in theirs.keys() - {None}:
        assert theirs[label] == pytest.approx(ours[goofspiel_state(label)[0]], abs=1e-8)


# Turn-based games


@pytest.mark.parametrize("name", TURN_BASED)
def test_the_player_who_is_not_to_move_has_one_action(name: str) -> None:
    table = openspiel_table(name, 0.9)
    counts = np.stack((table.game.n_actions_0, table.game.n_actions_1))
    assert (counts.min(axis=0) == 1).all()
    for actions_0, actions_1 in zip(table.actions_0, table.actions_1, strict=True):
        assert actions_0 == (None,) or actions_1 == (None,)


def test_tic_tac_toe_is_a_draw_and_has_4520_unfinished_positions() -> None:
    """Of 5478 positions 958 are finished; they are one terminal state here."""
    table = openspiel_table("tic_tac_toe")
    solution = solve_game(table.game)
    assert table.game.n_states == 4520 + 1
    assert solution.value @ table.game.rho == 0.0
    assert set(np.round(solution.value, 9)) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize(
    ("piles", "value"), [("1;2;3", -1.0), ("1;2;4", 1.0), ("2;2", -1.0), ("2;3", 1.0), ("1;1;1", -1.0)]
)
def test_nim_is_won_as_bouton_says(piles: str, value: float) -> None:
    """Misere Nim: the first player loses if the piles add to 0 without carry, reversed if no pile exceeds one
    (Bouton, Nim, A Game with a Complete Mathematical Theory, Annals of Mathematics 3, 1902)."""
    game = from_openspiel(f"nim(pile_sizes={piles})")
    assert solve_game(game).value @ game.rho == value


def test_piglet_is_won_with_probability_four_sevenths() -> None:
    """Neller, Presser, Optimal Play of the Dice Game Pig, UMAP Journal 25, 2004: Piglet, goal 2. There is no
    discount, so gamma is all but one."""
    game = from_openspiel("pig(piglet=true,diceoutcomes=2,winscore=2)", 1 - 1e-6)
    assert solve_game(game, 1e-7).value @ game.rho == pytest.approx(2 * 4 / 7 - 1, abs=1e-5)


@pytest.mark.parametrize(
    "name", ["goofspiel(num_cards=4,points_order=descending)", "nim(pile_sizes=1;2;2)", "oshi_zumo(coins=4,min_bid=1)"]
)
def test_whole_trees_have_the_value_of_the_merged_game(name: str) -> None:
    merged, tree = from_openspiel(name), from_openspiel(name, merge=False)
    assert tree.n_states > merged.n_states
    assert solve_game(tree).value @ tree.rho == pytest.approx(solve_game(merged).value @ merged.rho, abs=1e-8)


NOISY = "add_noise(epsilon=1.,seed=1,game=nim(pile_sizes=1;2;2))"


def test_rewards_that_depend_on_more_than_the_string_are_refused() -> None:
    """The noise of an end depends on all moves before it."""
    with pytest.raises(
        ModelError, match=r"same string, '.*after the moves '0, 4' and '4, 0' what follows .*merge=False"
    ):
        from_openspiel(NOISY)
    game = pyspiel.load_game(NOISY)  # draws the noise of an end when it is first asked for, and keeps it
    expected = backward_induction_on_the_tree(game.new_initial_state())
    tree = from_openspiel(game, merge=False)
    assert solve_game(tree).value @ tree.rho == pytest.approx(expected, abs=1e-8)


def backward_induction_on_the_tree(node: Any) -> float:
    return node.player_return(0) if node.is_terminal() else backed_up(node, backward_induction_on_the_tree)


def test_a_string_that_forgets_which_moves_there_are_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'board', .*after the moves '0' and '1' the moves differ; pass merge=False"):
        from_openspiel(Forgetful())
    game = from_openspiel(Forgetful(), merge=False)
    assert solve_game(game).value @ game.rho == 1.0


def test_whole_trees_know_the_horizon() -> None:
    """Two rounds of bids of 0 or 1, which the horizon ends before all coins are spent."""
    name = "oshi_zumo(coins=4,size=2,horizon=2)"
    with pytest.raises(ModelError, match=r"finished and an unfinished state with the same string.*merge=False"):
        from_openspiel(name)
    game = from_openspiel(name, merge=False)
    assert solve_game(game).value @ game.rho == pytest.approx(0.0, abs=1e-9)


# The function's own promises


def test_labels_are_openspiels() -> None:
    table = openspiel_table("goofspiel(num_cards=3,points_order=descending)")
    assert table.states[0] == str(
        pyspiel.load_game("goofspiel(num_cards=3,points_order=descending)").new_initial_state()
    )
    assert (table.actions_0[0], table.actions_1[0]) == ((0, 1, 2), (0, 1, 2))
    assert same_model(table.game, from_openspiel(pyspiel.load_game("goofspiel(num_cards=3,points_order=descending)")))


@pytest.mark.parametrize(
    ("game", "message"),
    [
        ("kuhn_poker", "kuhn_poker.* is a game of IMPERFECT_INFORMATION"),
        ("goofspiel(num_cards=3,imp_info=true)", "IMPERFECT_INFORMATION"),
        ("goofspiel(players=3,num_cards=3)", "has 3 players"),
        ("catch", "has 1 players"),
        ("matrix_pd", r"matrix_pd\(\) is GENERAL_SUM.*'zerosum\(game=matrix_pd\(\)\)'"),
        ("no_such_game", "game is 'no_such_game', which OpenSpiel cannot load: Unknown game 'no_such_game'"),
        (3, "game is a int; pass a pyspiel.Game"),
        ("nfg_game", "game is 'nfg_game', which OpenSpiel cannot load, because a parameter is missing; pass name"),
        ("zerosum(game=nfg_game())", "because a parameter is missing"),
        ("python_no_game", "Unknown game 'python_no_game'.* import open_spiel.python.games first, which registers"),
        ("markov_soccer(horizon=5)", "merge=False, or a greater horizon"),
    ],
)
def test_games_that_are_no_small_markov_games_are_refused(game: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_openspiel(game)


def test_constant_sum_games_are_refused_with_the_remedy() -> None:
    game = pyspiel.create_matrix_game([[1, 2], [3, 4]], [[4, 3], [2, 1]])
    with pytest.raises(ModelError, match=r"CONSTANT_SUM.*zerosum.*constant sum"):
        from_openspiel(game)


def test_sampled_chance_is_refused() -> None:
    with pytest.raises(ModelError, match="samples its chance moves"):
        from_openspiel(Stakes(pyspiel.GameType.ChanceMode.SAMPLED_STOCHASTIC))


def test_games_that_are_too_large_are_refused_with_the_count() -> None:
    with pytest.raises(
        ModelError, match=r"connect_four\(\) has more than 1,000 states.*by exploring 2\d\d of them.*raise max_states"
    ):
        from_openspiel("connect_four", max_states=1000)
    with pytest.raises(ModelError, match=r"at least [\d,]+ bytes.*max_bytes = 100,000; .*raise max_bytes"):
        from_openspiel("tic_tac_toe", max_bytes=100_000)


@pytest.mark.parametrize("kwargs", [{"max_states": 0}, {"max_bytes": 1.5}, {"gamma": 1.1}, {"merge": 1}])
def test_bad_arguments_are_named(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(kwargs))):
        from_openspiel("matrix_rps", **kwargs)


def test_without_openspiel_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'lookahead-rl\[openspiel\]'"):
        from_openspiel("tic_tac_toe")
