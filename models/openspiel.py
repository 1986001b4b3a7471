"""OpenSpiel's games as models.

OpenSpiel (Lanctot et al., OpenSpiel: A Framework for Reinforcement Learning in Games, arXiv 1908.09453, 2019) describes
a game by a tree of states in which players and chance move. Two-player zero-sum games of perfect information become
exact Markov games:

* a state of the model is a node in which players move, at the same time or one of them; in the latter the other player
  has one action, so that its matrix game is a maximum or a minimum;
* chance is folded into the transitions, at the root into rho;
* the reward is the increment of player 0's return, and all ends of the game are one terminal state;
* one step of the model is one move, or one pair of simultaneous moves, discounted by gamma; OpenSpiel has no discount.

**States by their strings.** Nodes with the same string and the same player to move are one state, as in OpenSpiel's own
value iteration; so a game with cycles, such as ``markov_soccer``, has finitely many. The string must then tell all
that matters for the future. The import is refused where a finished and an unfinished game have one string, and where
two histories with one string differ in their moves or in what these lead to: each state that several histories reach is
compared on two of them, on all pairs of moves or on 64 of them. A counter of moves, which strings often leave out, may
escape: a horizon that is reached only by going round in circles is thereby lifted. With ``merge=False`` every history
is a state of its own; the table is the whole game tree then.

Needs the extra ``openspiel``.
"""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, final

from ._checks import ModelError, flag
from .game import MarkovGame
from .rules import MOST_BYTES, MOST_STATES, GameTable, tabulate

MoveLabel = int | None

MOST_COMPARED = 64
"""Pairs of moves on which two histories are compared: few beside the thousands of a game of large bids."""


def from_openspiel(
    game: object,
    gamma: float = 1.0,
    *,
    merge: bool = True,
    max_states: int = MOST_STATES,
    max_bytes: int = MOST_BYTES,
) -> MarkovGame:
    """A two-player zero-sum game of perfect information from OpenSpiel, exactly.

    Args:
        game: A ``pyspiel.Game``, or a name that ``pyspiel.load_game`` takes, such as
            ``"goofspiel(num_cards=4,points_order=descending)"``.
        gamma: Discount of a move, in [0, 1]. With 1 play must end whatever the players do.
        merge: Whether nodes with the same string are one state (see :mod:`lookahead_rl.models.openspiel`).
        max_states: Explore at most so many states.
        max_bytes: Build a table of at most so many bytes.

    Raises:
        ModelError: The game is unknown, is for another number of players, is not zero-sum, hides information, samples
            its chance moves, or exceeds a limit; or its strings do not tell its states apart; or an argument is out
            of range.
        ImportError: OpenSpiel is not installed.
    """
    return openspiel_table(game, gamma, merge=merge, max_states=max_states, max_bytes=max_bytes).game


def openspiel_table(
    game: object,
    gamma: float = 1.0,
    *,
    merge: bool = True,
    max_states: int = MOST_STATES,
    max_bytes: int = MOST_BYTES,
) -> GameTable[str, MoveLabel]:
    """The game of :func:`from_openspiel` with OpenSpiel's names of states and actions.

    Arguments and errors are those of :func:`from_openspiel`.

    Returns:
        In ``states`` OpenSpiel's strings of the states (with ``merge=False`` of the histories); in ``actions_0`` and
        ``actions_1`` its action numbers, None for a player who is not to move.
    """
    rules = _OpenSpielRules(_loaded(game), flag("merge", merge))
    table = tabulate(rules, gamma, max_states=max_states, max_bytes=max_bytes)
    rules.compare()
    labels = tuple(None if node is None else node.label for node in table.states)
    return GameTable(table.game, labels, table.actions_0, table.actions_1)


@final
@dataclass(frozen=True)
class _Node:
    """A node of the game tree, identified by its label and the player to move."""

    label: str
    player: int
    state: Any = field(compare=False, repr=False)
    returned: float = field(compare=False)

    def __str__(self) -> str:
        return repr(self.label)


@final
@dataclass(eq=False)
class _OpenSpielRules:
    """The rules of a game, and what has been met of it so far.

    Attributes:
        game: The game.
        merge: Whether nodes with the same string are one.
        live: Labels of unfinished states.
        over: Labels of finished states.
        first: Each node as it was met first; None once it has been met by another history.
        again: Each of the latter as it was met first and as it was met then.
    """

    game: Any
    merge: bool
    live: set[str] = field(default_factory=set[str])
    over: set[str] = field(default_factory=set[str])
    first: dict[_Node, _Node | None] = field(default_factory=dict[_Node, _Node | None])
    again: list[tuple[_Node, _Node]] = field(default_factory=list[tuple[_Node, _Node]])

    def __str__(self) -> str:
        return str(self.game)

    def start(self) -> Iterator[tuple[float, _Node | None]]:
        for probability, state in _after_chance(self.game.new_initial_state()):
            yield probability, self._node(state)

    def actions(self, node: _Node) -> tuple[Sequence[MoveLabel], Sequence[MoveLabel]]:
        if node.state.is_simultaneous_node():
            return node.state.legal_actions(0), node.state.legal_actions(1)
        moves, idle = node.state.legal_actions(), [None]
        return (idle, moves) if node.player else (moves, idle)

    def outcomes(
        self, node: _Node, action_0: MoveLabel, action_1: MoveLabel
    ) -> Iterator[tuple[float, _Node | None, float]]:
        if node.state.is_simultaneous_node():
            moved = node.state.clone()
            moved.apply_actions([action_0, action_1])
        else:
            moved = node.state.child(action_1 if action_0 is None else action_0)
        for probability, state in _after_chance(moved):
            yield probability, self._node(state), state.player_return(0) - node.returned

    def compare(self) -> None:
        """Raise unless nodes that were met by two histories have the same moves, which lead to the same nodes."""
        for one, other in self.again:  # grows while it is run through
            moves = self.actions(one)
            if moves != self.actions(other):
                raise self._told_apart(one, other, "the moves")
            for a, b in _spread([*product(*moves)]):
                if not self._agree(one, other, a, b):
                    named = " against ".join(str(move) for move in (a, b) if move is not None)
                    raise self._told_apart(one, other, f"what follows the move {named}")

    def _agree(self, one: _Node, other: _Node, action_0: MoveLabel, action_1: MoveLabel) -> bool:
        """Whether probabilities of the next nodes and mean rewards are the same but for rounding."""
        law, same = self._law(one, action_0, action_1), self._law(other, action_0, action_1)
        rounding = 1e-9 * max(1.0, abs(one.returned), abs(other.returned))
        return law.keys() == same.keys() and all(
            math.isclose(x, y, rel_tol=1e-9, abs_tol=rounding)
            for node in law
            for x, y in zip(law[node], same[node], strict=True)
        )

    def _law(self, node: _Node, action_0: MoveLabel, action_1: MoveLabel) -> dict[_Node | None, tuple[float, float]]:
        """For each next node its probability and that times its mean reward."""
        law: dict[_Node | None, tuple[float, float]] = {}
        for probability, after, reward in self.outcomes(node, action_0, action_1):
            total, paid = law.get(after, (0.0, 0.0))
            law[after] = total + probability, paid + probability * reward
        return law

    def _told_apart(self, one: _Node, other: _Node, what: str) -> ModelError:
        return ModelError(
            f"{self.game} has states with the same string, {one}, that are not the same: after the moves "
            f"{one.state.history_str()!r} and {other.state.history_str()!r} {what} differ; pass merge=False"
        )

    def _node(self, state: Any) -> _Node | None:
        """The node of a state in which players move, or None where the game is over."""
        label = str(state) if self.merge else state.history_str()
        kind, other = (self.over, self.live) if state.is_terminal() else (self.live, self.over)
        if label in other:
            raise ModelError(
                f"{self.game} has a finished and an unfinished state with the same string, {label!r}, which must leave "
                "something out (such as a count of moves); pass merge=False, or a greater horizon where it has one"
            )
        kind.add(label)
        if state.is_terminal():
            return None
        node = _Node(label, state.current_player(), state, state.player_return(0))
        first = self.first.setdefault(node, node)
        if first is not None and first.state.history() != state.history():
            self.first[node] = None
            self.again.append((first, node))
        return node


def _spread(pairs: list[tuple[MoveLabel, MoveLabel]]) -> list[tuple[MoveLabel, MoveLabel]]:
    """The pairs, or where there are too many some of them at equal distances, the first and the last included."""
    if len(pairs) <= MOST_COMPARED:
        return pairs
    return [pairs[i * (len(pairs) - 1) // (MOST_COMPARED - 1)] for i in range(MOST_COMPARED)]


def _after_chance(state: Any) -> Iterator[tuple[float, Any]]:
    """The states that chance leads to, with their probabilities, where a player moves or the game is over."""
    waiting = [(1.0, state)]
    while waiting:
        probability, node = waiting.pop()
        if node.is_terminal() or not node.is_chance_node():
            yield probability, node
        else:
            waiting += [(probability * chance, node.child(move)) for move, chance in reversed(node.chance_outcomes())]


def _loaded(game: object) -> Any:
    """A ``pyspiel.Game`` that can be a Markov game."""
    if importlib.util.find_spec("pyspiel") is None:
        raise ImportError("from_openspiel needs open_spiel: pip install 'lookahead-rl[openspiel]'")
    import pyspiel  # pyright: ignore[reportMissingModuleSource, reportMissingImports]

    spiel: Any = pyspiel
    if isinstance(game, str):
        game = _by_name(spiel, game)
    if not isinstance(game, spiel.Game):
        raise ModelError(f"game is a {type(game).__name__}; pass a pyspiel.Game or the name of one")
    _require_markov_game(game, spiel.GameType)
    return game


def _by_name(spiel: Any, name: str) -> Any:
    try:
        return spiel.load_game(name)
    except IndexError as error:  # how a missing parameter of nfg_game shows
        raise ModelError(
            f"game is {name!r}, which OpenSpiel cannot load, because a parameter is missing; pass name(parameter=value)"
        ) from error
    except spiel.SpielError as error:
        reason = str(error).partition(" Available games")[0]
        if reason.startswith("Unknown game 'python_"):
            reason += " import open_spiel.python.games first, which registers the games written in Python"
        raise ModelError(f"game is {name!r}, which OpenSpiel cannot load: {reason}") from error


def _require_markov_game(game: Any, known: Any) -> None:
    kind = game.get_type()
    if game.num_players() != 2:
        raise ModelError(f"{game} has {game.num_players()} players; only games of two can be imported")
    if kind.dynamics not in (known.Dynamics.SIMULTANEOUS, known.Dynamics.SEQUENTIAL):
        raise ModelError(f"{game} has dynamics {kind.dynamics.name}; only SIMULTANEOUS and SEQUENTIAL can be imported")
    if kind.utility != known.Utility.ZERO_SUM:
        raise ModelError(
            f"{game} is {kind.utility.name}, not ZERO_SUM; 'zerosum(game={game})' pays each player its return minus "
            "their mean, which is the same game if their returns have a constant sum"
        )
    if kind.information not in (known.Information.PERFECT_INFORMATION, known.Information.ONE_SHOT):
        raise ModelError(
            f"{game} is a game of {kind.information.name}: the players do not see the state, so it is no Markov game; "
            "only PERFECT_INFORMATION and ONE_SHOT can be imported"
        )
    if kind.chance_mode == known.ChanceMode.SAMPLED_STOCHASTIC:
        raise ModelError(
            f"{game} samples its chance moves and tells no probabilities; only explicit chance can be imported"
        )
