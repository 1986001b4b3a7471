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
that matters for the future. What it often leaves out is a counter of moves: a horizon that is reached only by going
round in circles is thereby lifted, and where the lack shows, in one string for a finished and an unfinished game, the
import is refused. With ``merge=False`` every history is a state of its own; the table is the whole game tree then.

Needs the extra ``openspiel``.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from ._checks import ModelError, flag
from .game import MarkovGame
from .rules import MOST_BYTES, MOST_STATES, GameTable, tabulate

MoveLabel = int | None


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
            its chance moves, or exceeds a limit; or its strings do not tell its states apart.
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
    """The rules of a game; ``live`` and ``over`` hold the labels of the unfinished and finished states met so far."""

    game: Any
    merge: bool
    live: set[str] = field(default_factory=set[str])
    over: set[str] = field(default_factory=set[str])

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
        return None if state.is_terminal() else _Node(label, state.current_player(), state, state.player_return(0))


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
        try:
            game = spiel.load_game(game)
        except spiel.SpielError as error:
            reason = str(error).partition(" Available games")[0]
            raise ModelError(f"game is {game!r}, which OpenSpiel cannot load: {reason}") from error
    if not isinstance(game, spiel.Game):
        raise ModelError(f"game is a {type(game).__name__}; pass a pyspiel.Game or the name of one")
    _require_markov_game(game, spiel.GameType)
    return game


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
