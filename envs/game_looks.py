"""What the states of a game look like: the words in which a game's module says it.

A look is plain data: squares on a board, lines of text, and what the actions are called. Text and images are both made
from it (:mod:`~lookahead_rl.envs.game_rendering`, :mod:`~lookahead_rl.envs.game_pictures`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar, cast, final

from ..models import GameRules, GameTable, tabulate

State = TypeVar("State", bound=Hashable)
Action = TypeVar("Action", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Square:
    """A square of a board.

    Attributes:
        text: One or two characters; nothing on an empty square.
        player: Whose piece stands there, 0 or 1; None: nobody's.
        marked: Whether the eye should fall on it, such as on the player with the ball.
    """

    text: str = ""
    player: int | None = None
    marked: bool = False


Board = tuple[tuple[Square, ...], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What a state looks like.

    Attributes:
        actions_0: What player_0's actions are called there, in order.
        actions_1: What player_1's actions are called there.
        board: Rows of squares, from top to bottom; none where there is no board.
        rows: A name for each row of the board, or no names.
        facts: Short lines of text.
    """

    actions_0: Sequence[str]
    actions_1: Sequence[str]
    board: Board = ()
    rows: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


Looks = Callable[[int], Look]
"""What each state of a game looks like; terminal states are not asked for. Part of environments, so to be pickled."""


def numbered(n_actions_0: int, n_actions_1: int) -> Look:
    """The look of a state of which nothing is known but the numbers of actions."""
    return Look([f"a={a}" for a in range(n_actions_0)], [f"b={b}" for b in range(n_actions_1)])


def board_of(height: int, width: int, squares: Mapping[tuple[int, int], Square]) -> Board:
    """A board with these squares, by row and column, and otherwise empty."""
    return tuple(tuple(squares.get((row, column), Square()) for column in range(width)) for row in range(height))


@final
class LooksOfRules(Generic[State, Action]):
    """The looks of a game given by its rules, tabulated again when the first state is drawn.

    Args:
        rules: The rules of which the model is the table.
        look: The look of a state of the rules, given both players' actions there.
    """

    def __init__(
        self,
        rules: GameRules[State, Action],
        look: Callable[[State, Sequence[Action], Sequence[Action]], Look],
    ) -> None:
        self._rules, self._look = rules, look

    def __call__(self, state: int) -> Look:
        """The look of the state of this number, which is not terminal."""
        ours, theirs = self._table.actions_0[state], self._table.actions_1[state]
        return self._look(
            cast("State", self._table.states[state]),
            cast("Sequence[Action]", ours),
            cast("Sequence[Action]", theirs),
        )

    @cached_property
    def _table(self) -> GameTable[State, Action]:
        return tabulate(self._rules, 1.0)
