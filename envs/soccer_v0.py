"""``lookahead_rl/Soccer-v0``: Littman's soccer."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame, SoccerRules, SoccerState, soccer_game
from ..models.soccer import LITTMAN_GRID
from .game_looks import Look, Looks, LooksOfRules, Square, board_of
from .game_modules import parallel_fn, raw_aec_fn, vector_fn


def game(grid: str = LITTMAN_GRID, kick_off_again: bool = True, gamma: float = 0.9) -> MarkovGame:
    """Soccer on a grid of 4 x 5 squares (Littman, ICML 1994).

    ## Description
    Two players and a ball. Both choose a step, and the steps are made in random order. A step into the other player's
    square does not take place, and gives away the ball. player_0 scores by stepping off the right edge with the ball in
    row 1 or 2, player_1 off the left edge (:mod:`~lookahead_rl.models.soccer`). The value at kick-off is 0, and every
    optimal policy is random.

    ## Agents
    player_0, who maximises, and player_1, who minimises: a goal pays 1 to the one who scores and -1 to the other.

    ## Action Spaces
    Discrete(5) and Discrete(5): north, south, west, east, stand.

    ## Observation Spaces
    The indicator of the state, Box(0, 1, (760,), float32); with ``observation="state"`` Discrete(760).

    ## Starting State
    player_0 in row 2, column 1, player_1 in row 1, column 3, counted from 0; either has the ball with probability 1/2.

    ## Episode End
    After a goal there is a new kick-off; an episode is truncated after ``max_cycles`` steps (100 unless told
    otherwise). With ``kick_off_again=False`` a goal ends the episode.

    Args:
        grid: The board, with A and B where the players start and O where the ball may lie.
        kick_off_again: Whether a goal is followed by a new kick-off.
        gamma: Discount.
    """
    return soccer_game(grid=grid, kick_off_again=kick_off_again, gamma=gamma)


def looks(arguments: Mapping[str, Any]) -> Looks:
    """The grid with player_0, A, and player_1, B; the one with the ball is marked, or the ball, o."""
    grid: str = arguments["grid"]
    size = len(grid.split("\n")), grid.index("\n")
    return LooksOfRules(SoccerRules(grid, arguments["kick_off_again"]), partial(_look, size))


def _look(size: tuple[int, int], state: SoccerState, ours: Sequence[str], theirs: Sequence[str]) -> Look:
    squares = {
        state.player_0: Square("A", 0, marked=state.ball == 0),
        state.player_1: Square("B", 1, marked=state.ball == 1),
    }
    if isinstance(state.ball, tuple):
        squares[state.ball] = Square("o", marked=True)
        fact = "the ball is free"
    else:
        fact = f"{'AB'[state.ball]} has the ball"
    return Look(ours, theirs, board_of(*size, squares), facts=(fact, "A scores right, B left"))


parallel_env = parallel_fn(game, "soccer_v0", looks)
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game, looks)
