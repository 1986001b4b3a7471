"""Stochastic games that PRISM-games has built and exported, read from its explicit text files.

PRISM-games (Kwiatkowska, Norman, Parker, Santos, PRISM-games 3.0: Stochastic Game Verification with Concurrency,
Equilibria and Time, CAV 2020) writes a built model as a group of files (``-exportmodel out.all``). Lines beginning with
``#`` are comments. The transitions (.tra) open with ``states:players choices transitions``; every further line is one
outcome of one choice, which is a joint action in a concurrent game (csg) and an action of the state's owner in a
turn-based one (smg). States, players and choices count from 0; the action ``-`` is idling.

    csg     state choice successor probability [action,action]
    smg     state:owner choice successor probability action        (the action may be missing)

State rewards (.srew) open with ``states entries`` and list ``state reward``. Transition rewards (.trew) open with
``states choices entries`` and list ``state choice successor reward``: the reward is the choice's, repeated for each of
its successors. Labels (.lab) open with ``0="init" 1="deadlock"`` and list ``state: label label``. States (.sta) open
with ``(variable,variable)`` and list ``state:(value,value)``.

So PRISM-games' io.PrismExplicitExporter and prism.JointAction write them, and its tests functionality/export/csg and
functionality/export/smg show them. Transitions that name no players are those of a decision process and are refused.
Nothing is guessed and nothing is repaired: a line that has not the form of its file, or that contradicts another, is
refused.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import numpy as np
import scipy.sparse as sp

from ._checks import (
    PROBABILITY_TOLERANCE,
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    discount,
    require_room,
    whole_number,
)
from .game import MarkovGame
from .linear import TABULAR_BYTES
from .prism_text import (
    CONCURRENT,
    GAME,
    LABELLED,
    LABELS,
    NO_GAME,
    STATE,
    STATE_REWARD,
    STATE_REWARDS,
    TRANSITION_REWARD,
    TRANSITION_REWARDS,
    TURN_BASED,
    VARIABLES,
    PrismText,
)

File = str | os.PathLike[str]


def from_prism(
    *,
    transitions: File,
    states: File | None = None,
    labels: File | None = None,
    state_rewards: File | None = None,
    transition_rewards: File | None = None,
    gamma: float = 0.99,
    players: Iterable[int] = (0,),
    rho: FloatArray | None = None,
    max_bytes: int = TABULAR_BYTES,
) -> MarkovGame:
    """A concurrent or turn-based game of PRISM-games as a sparse zero-sum :class:`MarkovGame`.

    States keep their numbers. The actions of a side are numbered in each state in the order in which that state's
    choices first name them; a side that idles has one action. Rewards, of states and of transitions together, are paid
    to player_0. A state that no choice leaves and in which nothing is paid is terminal, such as a deadlock that PRISM
    has given a loop.

    Args:
        transitions: The .tra file.
        states: The .sta file. A game has no place for variables: the file is only checked against the transitions.
        labels: The .lab file, which names the initial state. None: play begins in state 0. With ``rho`` the file is
            only checked.
        state_rewards: The .srew file of a reward structure. None: states pay nothing.
        transition_rewards: Its .trew file. None: choices pay nothing.
        gamma: Discount in [0, 1]; the files have none.
        players: The players of the file, counted from 0, who together are player_0; the others are player_1.
        rho: Initial distribution (S,), needed where the labels name no initial state or several.
        max_bytes: The largest game to build.

    Raises:
        ModelError: A file is not of the form above, holds no game, or contradicts itself or another; the message names
            the file, the line or the state, and the remedy. Or an argument is out of range, or the game would be larger
            than ``max_bytes``, and has not been allocated then.
        OSError: A file cannot be read.
    """
    gamma = discount(gamma)
    text = _read("transitions", transitions)
    table, n_players = _read_choices(text)
    sides = _sides(text, table, _player_numbers(players, n_players))
    shape = (len(table), int(sides.counts_0.max()), int(sides.counts_1.max()))
    _require_room(text, shape, table, whole_number("max_bytes", max_bytes, 0))
    if states is not None:
        _check_states(_read("states", states), text, len(table))
    initial = _initial(labels, len(table), rho)
    s = np.repeat(np.arange(len(table)), [len(choices) for choices in table])
    r = np.zeros(shape)
    r[s, sides.a, sides.b] = _rewards(text, table, state_rewards, transition_rewards)
    P = _law(table, np.ravel_multi_index((s, sides.a, sides.b), shape), math.prod(shape))
    return MarkovGame(P, r, gamma, initial, sides.counts_0, sides.counts_1, _over(table, r))


def _read(name: str, file: object) -> PrismText:
    """The lines of the file that an argument names."""
    if not isinstance(file, str | os.PathLike):
        raise ModelError(f"{name} is {file!r}; pass the path of a file")
    return PrismText.read(cast("File", file))


_Actions = tuple[tuple[int, str], ...]
"""(player, action) for each player who acts."""


class _Choice(NamedTuple):
    """Who does what, and the probability of each successor."""

    actions: _Actions
    law: dict[int, float]


_Table = list[list[_Choice]]
"""The choices of each state, by number."""


# the transitions


class _Outcome(NamedTuple):
    """A line of the transitions."""

    state: int
    choice: int
    actions: _Actions
    successor: int
    probability: float


def _read_choices(text: PrismText) -> tuple[_Table, int]:
    """The choices of all states, and the number of players."""
    if NO_GAME.pattern.fullmatch(text.lines[0][1]):
        raise ModelError(
            f"{text.path} names no players: it holds a Markov chain or a decision process, to be built as a "
            "TabularMDP, or a game from a release of PRISM-games that did not write 'states:players'; export it with "
            "one that does"
        )
    n_states, n_players, n_choices, n_transitions = text.header(GAME)
    if not int(n_states):
        raise text.fault(text.lines[0][0], "it announces 0 states; a game has one at least")
    text.require_count("transitions", len(text.lines) - 1, n_transitions)
    found: dict[tuple[int, int], _Choice] = {}
    for line, outcome in _outcomes(text, int(n_states), int(n_players)):
        choice = found.setdefault((outcome.state, outcome.choice), _Choice(outcome.actions, {}))
        if choice.actions != outcome.actions:
            raise text.fault(
                line, f"choice {outcome.choice} of state {outcome.state} had another action or owner; keep one"
            )
        if outcome.successor in choice.law:
            raise text.fault(line, f"the choice has successor {outcome.successor} already; add the two up")
        choice.law[outcome.successor] = outcome.probability
    text.require_count("choices", len(found), n_choices)
    return _by_state(text, int(n_states), found), int(n_players)


def _outcomes(text: PrismText, n_states: int, n_players: int) -> Iterator[tuple[int, _Outcome]]:
    """The lines of a game of either kind, which the first of them tells."""
    turn_based = len(text.lines) > 1 and ":" in text.lines[1][1].split(" ")[0]
    for line, parts in text.body(TURN_BASED if turn_based else CONCURRENT):
        if turn_based:
            state, owner, choice, successor, digits = parts
            actions = ((text.index(line, "player", owner, n_players), choice),)
        else:
            state, choice, successor, digits, joint = parts
            actions = _joint_action(text, line, joint, n_players)
        s, s_next = text.index(line, "state", state, n_states), text.index(line, "state", successor, n_states)
        yield line, _Outcome(s, int(choice), actions, s_next, _probability(text, line, digits))


def _joint_action(text: PrismText, line: int, joint: str, n_players: int) -> _Actions:
    actions = joint.split(",")
    if len(actions) != n_players or not all(actions):
        raise text.fault(
            line, f"[{joint[:60]}] is not one action for each of {n_players} players; write '-' for idling"
        )
    return tuple(enumerate(actions))


def _probability(text: PrismText, line: int, digits: str) -> float:
    probability = text.number(line, digits)
    if not 0.0 <= probability <= 1.0:
        raise text.fault(line, f"{digits[:40]} is no probability; it must lie in [0, 1]")
    return probability


def _by_state(text: PrismText, n_states: int, found: dict[tuple[int, int], _Choice]) -> _Table:
    """The choices in order, once every state has some, numbered 0, 1, ..., and each is a distribution."""
    if n_states > len(found):  # asked before anything of that length is made
        raise ModelError(
            f"{text.path} has {n_states} states but {len(found)} choices, and every state needs one; export the model "
            "with its deadlocks fixed, as PRISM does unless told -nofixdl"
        )
    table: _Table = [[] for _ in range(n_states)]
    for s, j in sorted(found):
        if j != len(table[s]):
            raise ModelError(
                f"{text.path}: state {s} has a choice {j} but no choice {len(table[s])}; count them from 0"
            )
        table[s].append(found[s, j])
        total = math.fsum(found[s, j].law.values())
        if abs(total - 1.0) > PROBABILITY_TOLERANCE:
            raise ModelError(
                f"{text.path}: the probabilities of choice {j} of state {s} sum to {total:.12g}, not 1; export them "
                "with all their digits (-exportmodelprecision 17)"
            )
    return table


# the players


class _Sides(NamedTuple):
    """The choices as pairs of actions: a and b of each (C,), and how many actions each side has in each state (S,)."""

    a: IntArray
    b: IntArray
    counts_0: IntArray
    counts_1: IntArray


def _player_numbers(players: object, n_players: int) -> frozenset[int]:
    if not isinstance(players, Iterable):
        raise ModelError(f"players is {players!r}; pass the numbers of the players, such as (0,)")
    listed = cast("Iterable[object]", players)
    numbers = frozenset(whole_number(f"players[{i}]", player, 0) for i, player in enumerate(listed))
    if numbers and max(numbers) >= n_players:
        raise ModelError(f"players has {max(numbers)}; the file has {n_players} players, counted from 0")
    return numbers


def _sides(text: PrismText, table: _Table, maximisers: frozenset[int]) -> _Sides:
    pairs: list[tuple[int, int]] = []
    counts: list[tuple[int, int]] = []
    for s, choices in enumerate(table):
        moves = [_split(choice.actions, maximisers) for choice in choices]
        number_0 = {move: i for i, move in enumerate(dict.fromkeys(mine for mine, _ in moves))}
        number_1 = {move: i for i, move in enumerate(dict.fromkeys(theirs for _, theirs in moves))}
        _require_joint_actions(text, s, choices, len(number_0) * len(number_1))
        pairs.extend((number_0[mine], number_1[theirs]) for mine, theirs in moves)
        counts.append((len(number_0), len(number_1)))
    return _Sides(*np.array(pairs, dtype=np.int64).T, *np.array(counts, dtype=np.int64).T)


def _split(actions: _Actions, maximisers: frozenset[int]) -> tuple[_Actions, _Actions]:
    """The actions of player_0 and those of player_1."""
    return (
        tuple(action for action in actions if action[0] in maximisers),
        tuple(action for action in actions if action[0] not in maximisers),
    )


def _require_joint_actions(text: PrismText, state: int, choices: list[_Choice], n_pairs: int) -> None:
    """Raise unless a state has one owner, and each action of the one side meets each of the other exactly once."""
    where = f"{text.path}: state {state}"
    if len({tuple(player for player, _ in choice.actions) for choice in choices}) > 1:
        raise ModelError(f"{where} has choices of different owners; give it one")
    distinct = len({choice.actions for choice in choices})
    if distinct < len(choices):
        raise ModelError(f"{where} has the same joint action in two choices; name their actions apart")
    if distinct < n_pairs:
        raise ModelError(f"{where} has {distinct} of its {n_pairs} joint actions; every one needs a choice")


# the model


def _require_room(text: PrismText, shape: tuple[int, int, int], table: _Table, max_bytes: int) -> None:
    S, A, B = shape
    outcomes = sum(len(choice.law) for choices in table for choice in choices)
    # Rewards and the ends of rows; outcomes; rho, the mask and the counts.
    needed = 16 * S * A * B + 16 * outcomes + 25 * S + 8
    what = f"the game of {text.path}, of {S:,} states with {A:,} x {B:,} actions,"
    require_room(what, needed, max_bytes, "raise max_bytes, or build a smaller model")


def _law(table: _Table, rows: IntArray, n_rows: int) -> sp.csr_array:
    """P as CSR with the choices in these rows (C,), next states ascending in each."""
    laws = [choice.law for choices in table for choice in choices]
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    indptr[rows + 1] = [len(law) for law in laws]
    order: list[int] = np.argsort(rows).tolist()
    next_states = np.array([s_next for i in order for s_next in sorted(laws[i])])
    probabilities = np.array([laws[i][s_next] for i in order for s_next in sorted(laws[i])])
    return sp.csr_array((probabilities, next_states, np.cumsum(indptr)), shape=(n_rows, len(table)))


def _over(table: _Table, r: FloatArray) -> BoolArray:
    """Mask (S,) of the states that are never left and pay nothing."""
    kept = [all(set(choice.law) == {s} for choice in choices) for s, choices in enumerate(table)]
    return np.array(kept) & (r == 0).all(axis=(1, 2))


# rewards, labels and states


def _rewards(game: PrismText, table: _Table, of_states: File | None, of_transitions: File | None) -> FloatArray:
    """What each choice pays (C,)."""
    lengths = [len(choices) for choices in table]
    paid = np.zeros(sum(lengths))
    if of_states is not None:
        paid += np.repeat(_state_rewards(_read("state_rewards", of_states), game, len(table)), lengths)
    if of_transitions is not None:
        with np.errstate(over="ignore"):  # an infinite sum is refused below, not warned about
            paid += _transition_rewards(_read("transition_rewards", of_transitions), game, table)
    finite = np.isfinite(paid)
    if not finite.all():
        state = np.repeat(np.arange(len(table)), lengths)[np.argmin(finite)]
        raise ModelError(
            f"the rewards of state {state} in {of_states} and {of_transitions} add up beyond the range of float64; "
            "give them a smaller unit"
        )
    return paid


def _state_rewards(text: PrismText, game: PrismText, n_states: int) -> FloatArray:
    states, entries = text.header(STATE_REWARDS)
    text.require_same("states", states, game, n_states)
    text.require_count("rewards", len(text.lines) - 1, entries)
    found: dict[int, float] = {}
    for line, (state, digits) in text.body(STATE_REWARD):
        s = text.index(line, "state", state, n_states)
        if s in found:
            raise text.fault(line, f"state {s} has a reward already; keep one")
        found[s] = text.number(line, digits)
    return np.array([found.get(s, 0.0) for s in range(n_states)])


def _transition_rewards(text: PrismText, game: PrismText, table: _Table) -> FloatArray:
    states, choices, entries = text.header(TRANSITION_REWARDS)
    text.require_same("states", states, game, len(table))
    text.require_same("choices", choices, game, sum(map(len, table)))
    text.require_count("rewards", len(text.lines) - 1, entries)
    found: dict[tuple[int, int], dict[int, float]] = {}
    for line, (state, choice, successor, digits) in text.body(TRANSITION_REWARD):
        s = text.index(line, "state", state, len(table))
        j, s_next = text.index(line, "choice", choice, len(table[s])), int(successor)
        paid = found.setdefault((s, j), {})
        if s_next not in table[s][j].law or s_next in paid:
            what = "has a reward already" if s_next in paid else "is not among the transitions"
            raise text.fault(
                line, f"choice {j} of state {s} with successor {s_next} {what}; use the files of one export"
            )
        paid[s_next] = text.number(line, digits)
    rewards = [_of_choice(text, s, j, found.get((s, j)), c) for s, cs in enumerate(table) for j, c in enumerate(cs)]
    return np.array(rewards)


def _of_choice(text: PrismText, state: int, number: int, paid: dict[int, float] | None, choice: _Choice) -> float:
    """The reward of a choice, which every one of its successors must repeat; 0 where none is listed."""
    if paid is None:
        return 0.0
    (reward, *others) = set(paid.values())
    if others or len(paid) < len(choice.law):
        raise ModelError(
            f"{text.path}: the rewards of choice {number} of state {state} differ from one successor to another; a "
            "choice has one reward, listed for all of its successors"
        )
    return reward


def _initial(labels: File | None, n_states: int, rho: FloatArray | None) -> FloatArray:
    """``rho``, or where it is None that of the one initial state (S,); the labels are checked all the same."""
    initial = {0} if labels is None else _labelled(_read("labels", labels), "init", n_states)
    if rho is not None:
        return rho
    if len(initial) != 1:
        raise ModelError(
            f"{labels} labels {len(initial)} states as initial; pass rho, the distribution over the states"
        )
    return np.isin(np.arange(n_states), list(initial)).astype(np.float64)


def _labelled(text: PrismText, wanted: str, n_states: int) -> set[int]:
    """The states with a label."""
    (declared,) = text.header(LABELS)
    names: list[str] = []
    for number, name in re.findall(r'(\d+)="([^"]+)"', declared):
        if number != str(len(names)):
            raise text.fault(
                text.lines[0][0],
                f'label "{name[:60]}" has number {number[:20]} where {len(names)} belongs; count labels from 0',
            )
        names.append(name)
    found: set[int] = set()
    for line, (state, labels) in text.body(LABELLED):
        s = text.index(line, "state", state, n_states)
        if wanted in {names[text.index(line, "label", label, len(names))] for label in labels.split()}:
            found.add(s)
    return found


def _check_states(text: PrismText, game: PrismText, n_states: int) -> None:
    """Raise unless the file lists the values of the variables in states 0, ..., S - 1."""
    if len(text.lines) - 1 != n_states:
        raise ModelError(
            f"{text.path} lists {len(text.lines) - 1} states, but {game.path} has {n_states}; "
            "use the files of one export"
        )
    (variables,) = text.header(VARIABLES)
    for s, (line, (state, values)) in enumerate(text.body(STATE)):
        if int(state) != s:
            raise text.fault(line, f"state {state} stands where state {s} belongs; export the model again")
        if len(values.split(",")) != len(variables.split(",")):
            raise text.fault(line, f"({values[:60]}) is not one value for each of ({variables[:60]})")
