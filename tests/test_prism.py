"""Games read from PRISM's explicit files: known values, exact round trips, and refusals that say what is wrong."""

import re
import time
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookahead_rl.models import MarkovGame, ModelError, from_prism
from lookahead_rl.solvers import shapley_iteration

PENNIES = """# Transitions (CSG)
1:2 4 4
0 0 0 1 [heads,heads]
0 1 0 1 [heads,tails]
0 2 0 1 [tails,heads]
0 3 0 1 [tails,tails]
"""
PENNIES_REWARDS = """# Reward structure "even"
# Transition rewards
1 4 2
0 0 0 3
0 3 0 1
"""
# In state 0 the first player takes the 3 of state 2, or goes on to state 1, where the second leaves it the 3 as well or
# three chances in four of the 8 of state 3. State 4 is the end.
TURNS = """# Transitions (SMG)
5:2 7 8
0:0 0 2 1 take
0:0 1 1 1 go
1:1 0 3 0.75 toss
1:1 0 4 1/4 toss
1:1 1 2 1
2:0 0 4 1
3:1 0 4 1
4:0 0 4 1
"""
TURNS_REWARDS = "5 2\n2 3\n3 8\n"
TURNS_LABELS = '# Labels\n0="init" 1="deadlock" 2="toll"\n0: 0\n2: 2\n3: 2\n4: 1\n'
TURNS_STATES = "# States\n(at,done)\n0:(0,false)\n1:(1,false)\n2:(2,false)\n3:(3,false)\n4:(4,true)\n"
# The third player has one action in state 0; in state 1 all idle.
THREE = """2:3 5 6
0 0 0 1 [a,x,u]
0 1 1 1 [a,y,u]
0 2 1 1 [b,x,u]
0 3 0 0.25 [b,y,u]
0 3 1 0.75 [b,y,u]
1 0 1 1 [-,-,-]
"""


@pytest.fixture
def files(tmp_path):
    """A function that writes each text under its name and returns the paths by name."""

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return {name: tmp_path / name for name in texts}

    return write


def csg(game):
    """The transitions and the transition rewards of a game, as a concurrent one."""
    return tables(game, lambda s, a, b: (str(s), f" [a{a},b{b}]"))


def smg(game):
    """The same of a turn-based game, as one."""
    owner = np.where(game.n_actions_1 > 1, 1, 0)
    return tables(game, lambda s, a, b: (f"{s}:{owner[s]}", ""))


def tables(game, spelled):
    S, A, B = game.r.shape
    P = game.P_rows.toarray().reshape(S, A, B, S) if game.is_sparse else game.P
    transitions, rewards, n_choices = [], [], 0
    for s in range(S):
        pairs = list(product(range(game.n_actions_0[s]), range(game.n_actions_1[s])))
        n_choices += len(pairs)
        for choice, (a, b) in enumerate(pairs):
            state, action = spelled(s, a, b)
            for s_next in np.flatnonzero(P[s, a, b]):
                transitions.append(f"{state} {choice} {s_next} {float(P[s, a, b, s_next])!r}{action}")
                rewards.append(f"{s} {choice} {s_next} {float(game.r[s, a, b])!r}")
    return {
        "transitions": "\n".join([f"{S}:2 {n_choices} {len(transitions)}", *transitions]),
        "transition_rewards": "\n".join([f"{S} {n_choices} {len(rewards)}", *rewards]),
    }


@st.composite
def games(draw, turn_based=False):
    """Sparse random games with ragged action sets, loops without pay among their states."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    S, A, B = (draw(st.integers(1, most)) for most in (5, 3, 3))
    counts_0, counts_1 = rng.integers(1, A + 1, S), rng.integers(1, B + 1, S)
    if turn_based:
        owner = rng.integers(0, 2, S)
        counts_0, counts_1 = np.where(owner == 0, counts_0, 1), np.where(owner == 1, counts_1, 1)
    live = (np.arange(A) < counts_0[:, None])[:, :, None] & (np.arange(B) < counts_1[:, None])[:, None, :]
    live = live[:, : counts_0.max(), : counts_1.max()]
    P = rng.random((*live.shape, S)) * (rng.random((*live.shape, S)) < 0.7)
    P[P.sum(axis=-1) == 0] = np.eye(1, S)[0]
    P = np.where(live[..., None], P / P.sum(axis=-1, keepdims=True), 0.0)
    r = np.where(live, rng.normal(size=live.shape) * 10.0 ** rng.integers(-9, 9), 0.0)
    over = rng.random(S) < 0.2
    P[over], r[over] = np.where(live[over][..., None], np.eye(S)[over][:, None, None, :], 0.0), 0.0
    rho = rng.dirichlet(np.ones(S))
    return MarkovGame(P, r, 0.9, rho, counts_0, counts_1, over)


def require_equal(game, other):
    """Equal bit for bit, however P is stored."""
    np.testing.assert_array_equal(other.P_rows.toarray().ravel(), game.P.ravel())
    for name in ("r", "gamma", "rho", "n_actions_0", "n_actions_1", "terminal"):
        np.testing.assert_array_equal(getattr(other, name), getattr(game, name), err_msg=name)


# what a file means


def test_a_concurrent_game_has_its_value(files):
    """Even pennies, paying 3 or 1: value 3/4, the first player on heads with 1/4."""
    game = from_prism(**files(transitions=PENNIES, transition_rewards=PENNIES_REWARDS), gamma=0.5)
    np.testing.assert_array_equal(game.r, [[[3, 0], [0, 1]]])
    solution = shapley_iteration(game, tol=1e-10)
    np.testing.assert_allclose(solution.value, [1.5], atol=1e-9)
    np.testing.assert_allclose(solution.policy[0], [[0.25, 0.75]], atol=1e-9)


def test_rock_paper_scissors_is_worth_nothing(files):
    hands = ("rock", "paper", "scissors")
    lines = [f"0 {3 * a + b} 0 1 [{hands[a]},{hands[b]}]" for a, b in product(range(3), repeat=2)]
    wins = [f"0 {3 * a + b} 0 {(0, 1, -1)[(a - b) % 3]}" for a, b in product(range(3), repeat=2)]
    texts = {"transitions": ["1:2 9 9", *lines], "transition_rewards": ["1 9 9", *wins]}
    game = from_prism(**files(**{name: "\n".join(text) for name, text in texts.items()}))
    solution = shapley_iteration(game, tol=1e-10)
    np.testing.assert_allclose(solution.value, 0.0, atol=1e-9)
    for policy in solution.policy:
        np.testing.assert_allclose(policy, np.full((1, 3), 1 / 3), atol=1e-9)


def test_a_turn_based_game_has_its_value(files):
    """The second player leaves the 3, which is less than 6; the first has it a step sooner by taking it."""
    paths = files(transitions=TURNS, state_rewards=TURNS_REWARDS, labels=TURNS_LABELS, states=TURNS_STATES)
    game = from_prism(**paths, gamma=0.9)
    np.testing.assert_array_equal(game.n_actions_0, [2, 1, 1, 1, 1])
    np.testing.assert_array_equal(game.n_actions_1, [1, 2, 1, 1, 1])
    np.testing.assert_array_equal(game.terminal, [False, False, False, False, True])
    np.testing.assert_array_equal(game.rho, [1, 0, 0, 0, 0])
    expected = [0.9 * 3, 0.9 * 3, 3, 8, 0]
    np.testing.assert_allclose(shapley_iteration(game, tol=1e-10).value, expected, atol=1e-9)


def test_players_says_who_maximises(files):
    """The second player now prefers the toss, worth 6; the first pays less by taking the 3."""
    game = from_prism(**files(transitions=TURNS, state_rewards=TURNS_REWARDS), gamma=0.9, players=[1])
    np.testing.assert_array_equal(game.n_actions_1, [2, 1, 1, 1, 1])
    np.testing.assert_allclose(shapley_iteration(game, tol=1e-10).value, [2.7, 5.4, 3, 8, 0], atol=1e-9)


def test_a_coalition_plays_its_joint_actions(files):
    paths = files(transitions=THREE)
    game = from_prism(**paths, players=(0, 2))
    np.testing.assert_array_equal([game.n_actions_0, game.n_actions_1], [[2, 1], [2, 1]])
    np.testing.assert_array_equal(
        game.P_rows.toarray().reshape(2, 2, 2, 2)[0], [[[1, 0], [0, 1]], [[0, 1], [0.25, 0.75]]]
    )
    together = from_prism(**paths, players=(0, 1, 2))
    np.testing.assert_array_equal([together.n_actions_0, together.n_actions_1], [[4, 1], [1, 1]])
    nobody = from_prism(**paths, players=())
    np.testing.assert_array_equal([nobody.n_actions_0, nobody.n_actions_1], [[1, 1], [4, 1]])


def test_rewards_of_states_and_transitions_add_up(files):
    paths = files(transitions=PENNIES, transition_rewards=PENNIES_REWARDS, state_rewards="1 1\n0 -1/4\n")
    np.testing.assert_array_equal(from_prism(**paths).r, [[[2.75, -0.25], [-0.25, 0.75]]])


@pytest.mark.parametrize(("reward", "terminal"), [("0", True), ("1e-300", False)])
def test_a_loop_is_terminal_only_if_it_pays_nothing(files, reward, terminal):
    game = from_prism(**files(transitions=THREE, state_rewards=f"2 1\n1 {reward}\n"))
    np.testing.assert_array_equal(game.terminal, [False, terminal])


@pytest.mark.parametrize(
    ("digits", "value"), [("1/3", 1 / 3), ("2/7", 2 / 7), (".5", 0.5), ("5e-1", 0.5), ("0.1", 0.1), ("00.250", 0.25)]
)
def test_numbers_are_read_to_the_nearest_float(files, digits, value):
    text = f"2:2 2 3\n0 0 0 {digits} [a,x]\n0 0 1 {1 - value!r} [a,x]\n1 0 1 1 [a,x]\n"
    assert from_prism(**files(transitions=text)).P[0, 0] == value


def test_the_order_of_lines_comments_and_line_ends_do_not_matter(files):
    game = from_prism(**files(transitions=TURNS, state_rewards=TURNS_REWARDS))
    _, header, *lines = TURNS.splitlines()
    shuffled = "\r\n".join(["# a", "", "# b", header, *lines[::-1], "  ", ""])
    other = from_prism(**files(transitions=shuffled, state_rewards="# c\n5 2\n3 8\n2 3"))
    assert (game.P != other.P).nnz == 0
    np.testing.assert_array_equal(game.r, other.r)
    np.testing.assert_array_equal(game.n_actions_1, other.n_actions_1)


def test_play_begins_where_the_labels_say(files):
    one = files(transitions=THREE, labels='0="init" 1="deadlock"\n1: 0\n')
    np.testing.assert_array_equal(from_prism(**one).rho, [0, 1])
    both = files(transitions=THREE, labels='0="init"\n0: 0\n1: 0\n')
    with pytest.raises(ModelError, match="labels 2 states as initial; pass rho"):
        from_prism(**both)
    np.testing.assert_array_equal(from_prism(**both, rho=np.array([0.25, 0.75])).rho, [0.25, 0.75])
    with pytest.raises(ModelError, match="labels 0 states as initial; pass rho"):
        from_prism(**files(transitions=THREE, labels='0="goal"\n1: 0\n'))


# there and back


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(game=games())
def test_a_concurrent_game_comes_back_bit_for_bit(files, game):
    require_equal(game, from_prism(**files(**csg(game)), gamma=0.9, rho=game.rho))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(game=games(turn_based=True))
def test_a_turn_based_game_comes_back_bit_for_bit(files, game):
    require_equal(game, from_prism(**files(**smg(game)), gamma=0.9, rho=game.rho))


# what is refused


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "0 1 0 1 [heads,tails]",
            "0 1 0 [heads,tails]",
            "line 4: '0 1 0 [heads,tails]' is not of the form 'state choice",
        ),
        ("0 1 0 1 [heads,tails]", "0 1 0 1", "line 4: '0 1 0 1' is not of the form"),
        ("0 1 0 1 [heads,tails]", "0:0 1 0 1 tails", "line 4: '0:0 1 0 1 tails' is not of the form"),
        ("0 1 0 1 [heads,tails]", "0 1 0 [0.9,1] [heads,tails]", "line 4: "),
        ("0 1 0 1 [heads,tails]", "0 1 0 nan [heads,tails]", "line 4: "),
        ("0 1 0 1 [heads,tails]", "0 1 0 1_0 [heads,tails]", "line 4: "),
        ("0 1 0 1 [heads,tails]", "0 1 0 0x1 [heads,tails]", "line 4: "),
        ("0 1 0 1 [heads,tails]", "0 1 0 １ [heads,tails]", "line 4: "),
        ("0 1 0 1 [heads,tails]", "0 1 0 1/0 [heads,tails]", "line 4: 1/0 divides by zero"),
        ("0 1 0 1 [heads,tails]", "0 1 0 -1 [heads,tails]", "line 4: -1 is no probability"),
        ("0 1 0 1 [heads,tails]", "0 1 0 3/2 [heads,tails]", "line 4: 3/2 is no probability"),
        ("0 1 0 1 [heads,tails]", "0 1 0 1 [heads]", "line 4: [heads] is not one action for each of 2 players"),
        ("0 1 0 1 [heads,tails]", "0 1 0 1 [heads,]", "line 4: [heads,] is not one action for each of 2 players"),
        ("0 1 0 1 [heads,tails]", "0 1 0 1 [heads,heads]", "state 0 has the same joint action in two choices"),
        ("0 1 0 1 [heads,tails]", "0 1 0 1 [edge,tails]", "state 0 has 4 of its 6 joint actions; every one needs a"),
        ("0 1 0 1 [heads,tails]", "0 1 1 1 [heads,tails]", "line 4: there is no state 1; there are 1, counted from 0"),
        ("0 1 0 1 [heads,tails]", "1 1 0 1 [heads,tails]", "line 4: there is no state 1; there are 1, counted from 0"),
        ("0 1 0 1 [heads,tails]", "0 0 0 1 [heads,tails]", "line 4: choice 0 of state 0 had another action or owner"),
        ("0 1 0 1 [heads,tails]", "0 0 0 1 [heads,heads]", "line 4: the choice has successor 0 already"),
        ("0 1 0 1 [heads,tails]", "0 7 0 1 [heads,tails]", "state 0 has a choice 2 but no choice 1; count them from 0"),
        ("0 1 0 1 [heads,tails]", "0 1 0 0.999999 [heads,tails]", "choice 1 of state 0 sum to 0.999999, not 1; export"),
        ("0 1 0 1 [heads,tails]\n", "", "line 2: it announces 4 transitions, but the file has 3"),
        ("1:2 4 4", "1:2 3 4", "line 2: it announces 3 choices, but the file has 4"),
        ("1:2 4 4", "5:2 4 4", "has 5 states but 4 choices, and every state needs one; export the model with its dead"),
        ("1:2 4 4", "1 4 4", "names no players: it holds a Markov chain or a decision process"),
        ("1:2 4 4", "1 4", "names no players: it holds a Markov chain"),
        ("1:2 4 4", "0:2 4 4", "line 2: it announces 0 states; a game has one at least"),
        ("0 1 0 1 [heads,tails]", "0 1\t0 1 [heads,tails]", "; write spaces for its tabs"),
        ("1:2 4 4", "1:2 ? ?", "line 2: '1:2 ? ?' is not of the form 'states:players choices transitions'"),
        ("1:2 4 4", "1:3 4 4", "line 3: [heads,heads] is not one action for each of 3 players"),
    ],
)
def test_a_wrong_line_of_a_concurrent_game_is_refused(files, old, new, message):
    assert PENNIES.count(old) == 1
    with pytest.raises(ModelError, match=re.escape(message)):
        from_prism(**files(transitions=PENNIES.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1:1 1 2 1\n", "1:0 1 2 1\n", "state 1 has choices of different owners; give it one"),
        ("1:1 0 4 1/4 toss", "1:0 0 4 1/4 toss", "line 6: choice 0 of state 1 had another action or owner"),
        ("1:1 1 2 1\n", "1:2 1 2 1\n", "line 7: there is no player 2; there are 2, counted from 0"),
        ("1:1 1 2 1\n", "1 1 2 1\n", "line 7: '1 1 2 1' is not of the form 'state:owner choice successor probability"),
        ("1:1 1 2 1\n", "1:1 1 2 1 give up\n", "line 7: '1:1 1 2 1 give up' is not of the form"),
    ],
)
def test_a_wrong_line_of_a_turn_based_game_is_refused(files, old, new, message):
    assert TURNS.count(old) == 1
    with pytest.raises(ModelError, match=re.escape(message)):
        from_prism(**files(transitions=TURNS.replace(old, new)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("state_rewards", "5 2\n2 3\n", "line 1: it announces 2 rewards, but the file has 1"),
        ("state_rewards", "4 1\n2 3\n", "line 1: it announces 4 states, but {transitions} has 5; use the files of one"),
        ("transition_rewards", "4 7 1\n2 0 4 1\n", "line 1: it announces 4 states, but {transitions} has 5"),
        ("state_rewards", "5 1\n5 3\n", "line 2: there is no state 5"),
        ("state_rewards", "5 2\n2 3\n2 3\n", "line 3: state 2 has a reward already"),
        ("state_rewards", "5 1\n2 1e999\n", "line 2: 1e999 is beyond the range of float64"),
        ("state_rewards", "5 1\n2 inf\n", "line 2: '2 inf' is not of the form 'state reward'"),
        ("transition_rewards", "5 7 1\n2 0 3 1\n", "line 2: choice 0 of state 2 with successor 3 is not among"),
        ("transition_rewards", "5 7 1\n2 1 4 1\n", "line 2: there is no choice 1; there are 1"),
        ("transition_rewards", "5 6 1\n2 0 4 1\n", "line 1: it announces 6 choices, but {transitions} has 7"),
        (
            "transition_rewards",
            "5 7 2\n2 0 4 1\n2 0 4 1\n",
            "line 3: choice 0 of state 2 with successor 4 has a reward",
        ),
        (
            "transition_rewards",
            "5 7 1\n1 0 3 1\n",
            "rewards of choice 0 of state 1 differ from one successor to another",
        ),
        ("transition_rewards", "5 7 2\n1 0 3 1\n1 0 4 2\n", "rewards of choice 0 of state 1 differ from one successor"),
        ("labels", '0="init"\n0: 1\n', "line 2: there is no label 1; there are 1"),
        ("labels", '0="init"\n9: 0\n', "line 2: there is no state 9"),
        ("labels", "0: 0\n", "line 1: '0: 0' is not of the form"),
        ("labels", '0="init"\n0 0\n', "line 2: '0 0' is not of the form 'state: label label'"),
        ("labels", '1="init" 0="deadlock"\n0: 1\n', 'line 1: label "init" has number 1 where 0 belongs; count labels'),
        ("labels", '0="init" 0="deadlock"\n0: 0\n', 'line 1: label "deadlock" has number 0 where 1 belongs'),
        ("labels", '0="init" 2="deadlock"\n0: 0\n', 'line 1: label "deadlock" has number 2 where 1 belongs'),
        ("labels", '0="deadlock" 01="init"\n0: 1\n', 'line 1: label "init" has number 01 where 1 belongs'),
        ("states", "(at)\n0:(0)\n", "states lists 1 states, but {transitions} has 5; use the files of one export"),
        ("states", TURNS_STATES.replace("3:(", "7:("), "line 6: state 7 stands where state 3 belongs"),
        ("states", TURNS_STATES.replace("(3,false)", "(3)"), "line 6: (3) is not one value for each of (at,done)"),
    ],
)
def test_a_wrong_file_beside_the_transitions_is_refused(files, name, text, message):
    paths = files(transitions=TURNS, **{name: text})
    with pytest.raises(
        ModelError, match=re.escape(message.replace("{transitions}", str(paths["transitions"])))
    ) as caught:
        from_prism(**paths)
    assert f"/{name}" in str(caught.value)


def test_labels_are_checked_beside_a_distribution_too(files):
    with pytest.raises(ModelError, match="line 2: there is no label 1"):
        from_prism(**files(transitions=TURNS, labels='0="init"\n0: 1\n'), rho=np.eye(5)[0])


def test_rewards_that_overflow_together_are_refused_by_file(files):
    paths = files(transitions=TURNS, state_rewards="5 1\n2 1e308\n", transition_rewards="5 7 1\n2 0 4 1e308\n")
    named = f"the rewards of state 2 in {paths['state_rewards']} and {paths['transition_rewards']} add up beyond"
    with pytest.raises(ModelError, match=re.escape(named)):
        from_prism(**paths)


@pytest.mark.parametrize("name", ["transitions", "states", "labels", "state_rewards", "transition_rewards"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is no text"),
        (b"# only this\n\n", "is empty"),
        (b"\xef\xbb\xbf1 1\n", "begins with a byte order mark; save it as UTF-8 without one"),
    ],
)
def test_what_is_no_text_is_refused(files, name, content, message):
    with pytest.raises(ModelError, match=f"{name} {message}"):
        from_prism(**files(**{"transitions": TURNS, name: content}))


@pytest.mark.parametrize("name", ["transitions", "states", "labels", "state_rewards", "transition_rewards"])
def test_what_is_no_path_is_refused_by_name(files, name):
    with pytest.raises(ModelError, match=f"{name} is 5; pass the path of a file"):
        from_prism(**{**files(transitions=TURNS), name: 5})


def test_the_discount_is_checked_before_the_files_are_read(tmp_path):
    with pytest.raises(ModelError, match=r"gamma is 2\.0"):
        from_prism(transitions=tmp_path / "nothing.tra", gamma=2.0)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_prism(transitions=tmp_path / "nothing.tra")


@pytest.mark.parametrize(
    "text",
    [
        "999999999999999999:2 1 1\n0 0 0 1 [a,x]\n",
        "1:999999999999999999 1 1\n0 0 0 1 [a,x]\n",
        "1:2 1 1\n0 0 0 " + "1" * 10**6 + " [a,x]\n",
        "1:2 1 1\n0 0 0 1" + " " * 10**6 + "\n",
        "1:2 1 1\n0 0 0 1e" + "9" * 10**6 + " [a,x]\n",
        "1:2 1 1\n" + "0 " * 10**6 + "\n",
        "1:2 1 1\n0 0 0 1 [" + "a," * 10**6 + "]\n",
        "9" * 10**6 + ":2 1 1\n",
    ],
)
def test_a_hostile_file_is_refused_at_once(files, text):
    begin = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        from_prism(**files(transitions=text))
    assert time.perf_counter() - begin < 2.0
    assert len(str(caught.value)) < 1000


def test_names_are_inert(files):
    text = PENNIES.replace("heads", "__import__('os').abort()")
    assert from_prism(**files(transitions=text)).r.shape == (1, 2, 2)


def test_a_game_too_large_is_refused_with_its_size(files):
    """A few lines may announce a large table: one state with many actions, many states with one."""
    n = 300
    wide = [f"0:0 {j} 1 1" for j in range(n)] + [f"1:1 {j} 0 1" for j in range(n)]
    text = "\n".join([f"{n}:2 {3 * n - 2} {3 * n - 2}", *wide, *(f"{s}:0 0 0 1" for s in range(2, n))])
    paths = files(transitions=text)
    with pytest.raises(ModelError, match=r"of 300 states with 300 x 300 actions, needs up to 432,\d{3},\d{3} bytes"):
        from_prism(**paths, max_bytes=10**8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"players": [2]}, "players has 2; the file has 2 players, counted from 0"),
        ({"players": ["0"]}, r"players\[0\] is '0'; pass an integer >= 0"),
        ({"players": [0, -1]}, r"players\[1\] is -1; it must be at least 0"),
        ({"players": 5}, r"players is 5; pass the numbers of the players, such as \(0,\)"),
        ({"players": None}, "players is None; pass the numbers"),
        ({"gamma": 1.5}, r"gamma is 1.5; it must lie in \[0, 1\]"),
        ({"rho": np.ones(2)}, r"rho has shape \(2,\)"),
        ({"max_bytes": 10.5}, "max_bytes is 10.5; pass an integer"),
        ({"max_bytes": 10}, r"needs up to \d+ bytes, more than max_bytes = 10; raise max_bytes"),
    ],
)
def test_bad_arguments_are_refused_by_name(files, arguments, message):
    with pytest.raises(ModelError, match=message):
        from_prism(**files(transitions=PENNIES), **arguments)
