"""Littman's soccer: two players, one ball and a grid.

Littman, Markov Games as a Framework for Multi-Agent Reinforcement Learning, ICML 1994, section 5.1, on a grid of 4 x 5
squares. Both players choose to go north, south, west or east, or to stand (actions 0 to 4); then the two moves are made
in random order, each order with probability 1/2:

* a step into the other player's square does not take place, and the ball is the other player's, whoever had it;
* a step off the grid does not take place, except that the player with the ball scores in its goal: player_0 at the
  right edge and player_1 at the left edge of the rows 1 and 2, counted from 0;
* nothing happens after a goal; it pays 1 to the player who scored.

A pure policy of the attacker can always be blocked, so optimal play is random.

**Kick-off.** A grid is drawn as in OpenSpiel's ``markov_soccer`` (Lanctot et al., OpenSpiel, arXiv 1908.09453, 2019): A
and B are the squares of player_0 and player_1 at kick-off. Either player then has the ball with probability 1/2, as in
Littman; or, if there are squares O, the ball lies on one of them, each as likely, and belongs to the first player who
steps there, as in OpenSpiel. After a goal Littman's players kick off anew, and OpenSpiel's game is over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

from ._checks import ModelError, flag
from .game import MarkovGame
from .rules import tabulate

Square = tuple[int, int]

LITTMAN_GRID = ".....\n...B.\n.A...\n....."
"""The players as OpenSpiel places them; one of them has the ball."""

OPENSPIEL_GRID = ".....\n..OB.\n.AO..\n....."
"""The default grid of OpenSpiel's ``markov_soccer``: the ball is free."""

STEPS = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1), "stand": (0, 0)}
"""Row and column steps of the actions, in OpenSpiel's order."""

GOAL_ROWS = (1, 2)


class SoccerState(NamedTuple):
    """Where the players are, and who has the ball: player 0, player 1, or the square on which it lies."""

    player_0: Square
    player_1: Square
    ball: int | Square


@final
@dataclass(frozen=True)
class SoccerRules:
    """The rules of soccer.

    Attributes:
        grid: Rows of equal length, from north to south; see the module.
        kick_off_again: Whether a goal is followed by a new kick-off; else play is over.

    Raises:
        ModelError: The grid is none.
    """

    grid: str = LITTMAN_GRID
    kick_off_again: bool = True

    def __post_init__(self) -> None:
        """Check the grid."""
        flag("kick_off_again", self.kick_off_again)
        if not _is_board(self.grid):
            raise ModelError(
                f"grid is {self.grid!r}; draw, in one string, at least three rows of equal length with '.', 'A', 'B' "
                f"and 'O', such as {LITTMAN_GRID!r}"
            )
        for player in "AB":
            if self.grid.count(player) != 1:
                raise ModelError(f"grid has {self.grid.count(player)} squares {player!r}; it needs one")

    def __str__(self) -> str:
        height, width = self._size
        return f"soccer on a grid of {height} x {width} squares"

    def start(self) -> list[tuple[float, SoccerState]]:
        """The positions after kick-off."""
        (ours,), (theirs,) = self._squares("A"), self._squares("B")
        balls = self._squares("O") or [0, 1]
        return [(1 / len(balls), SoccerState(ours, theirs, ball)) for ball in balls]

    def actions(self, state: SoccerState) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The five steps, of either player."""
        return tuple(STEPS), tuple(STEPS)

    def outcomes(
        self, state: SoccerState, action_0: str, action_1: str
    ) -> Iterator[tuple[float, SoccerState | None, float]]:
        """Both orders of the two moves."""
        moves = ((0, STEPS[action_0]), (1, STEPS[action_1]))
        for order in (moves, moves[::-1]):
            after, reward = state, 0.0
            for player, step in order:
                if reward == 0.0:
                    after, reward = self._moved(after, player, step)
            if reward == 0.0:
                yield 0.5, after, 0.0
            elif self.kick_off_again:
                yield from ((0.5 * probability, kicked_off, reward) for probability, kicked_off in self.start())
            else:
                yield 0.5, None, reward

    def _moved(self, state: SoccerState, player: int, step: Square) -> tuple[SoccerState, float]:
        """The state after one player's move, and what it pays player_0."""
        squares = [state.player_0, state.player_1]
        (row, column), ball = squares[player], state.ball
        row, column = row + step[0], column + step[1]
        height, width = self._size
        if not (0 <= row < height and 0 <= column < width):
            scores = ball == player and row in GOAL_ROWS and column == (-1 if player else width)
            return state, (-1.0 if player else 1.0) if scores else 0.0
        if (row, column) == squares[1 - player]:
            return state._replace(ball=1 - player if ball == player else ball), 0.0
        squares[player] = row, column
        return SoccerState(squares[0], squares[1], player if ball == (row, column) else ball), 0.0

    @cached_property
    def _size(self) -> Square:
        rows = self.grid.split("\n")
        return len(rows), len(rows[0])

    def _squares(self, mark: str) -> list[Square]:
        rows = self.grid.split("\n")
        return [(r, c) for r, row in enumerate(rows) for c, drawn in enumerate(row) if drawn == mark]


def _is_board(grid: object) -> bool:
    if not isinstance(grid, str):
        return False
    rows = grid.split("\n")
    return len(rows) >= 3 and len({len(row) for row in rows}) == 1 and set(grid) <= set(".ABO\n")


def soccer_game(*, grid: str = LITTMAN_GRID, kick_off_again: bool = True, gamma: float = 0.9) -> MarkovGame:
    """Littman's soccer: 760 states, five actions each, gamma = 0.9.

    Turned by 180 degrees the board exchanges the players, so the values of a state and of its image add up to zero,
    and kick-off is worth nothing. With ``grid=OPENSPIEL_GRID, kick_off_again=False`` the game is OpenSpiel's
    ``markov_soccer``, the horizon apart: there play also ends after 1000 moves.

    Args:
        grid: The board (:mod:`lookahead_rl.models.soccer`).
        kick_off_again: Whether a goal is followed by a new kick-off; else play is over.
        gamma: Discount.

    Raises:
        ModelError: An argument out of range, or a grid so large that there are more than 100,000 states or 1 GiB of
            table; :func:`~lookahead_rl.models.tabulate` takes other limits.
    """
    return tabulate(SoccerRules(grid, kick_off_again), gamma).game
