"""``lookahead_rl/Pursuit-v0``: pursuit and evasion on a grid where moves may slip."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame
from ..models.pursuit import pursuit_game
from .game_looks import Look, Looks, Square, board_of
from .game_modules import parallel_fn, raw_aec_fn, vector_fn

ACTIONS = ("stay", "north", "east", "south", "west")


def game(n: int = 5, slip: float = 0.1, gamma: float = 0.99) -> MarkovGame:
    """Pursuit on an n x n grid: player_0 chases player_1.

    ## Description
    Both players move at the same time and each slips with probability ``slip``, which leaves it where it is. A
    pursuer who shares the evader's cell is paid 1, whatever the two do then, and they are set in opposite corners
    (:func:`~lookahead_rl.models.pursuit.pursuit_game`). An evader whose moves never slip is never caught.

    ## Agents
    player_0, the pursuer, who maximises, and player_1, the evader, who minimises: player_1 receives minus player_0's
    reward.

    ## Action Spaces
    Discrete(5) for both: stay, north, east, south, west. A move off the grid stays.

    ## Observation Spaces
    The indicator of the state, Box(0, 1, (n^4,), float32); with ``observation="state"`` Discrete(n^4). State
    p n^2 + e has the pursuer in cell p and the evader in cell e, counted row by row.

    ## Starting State
    Opposite corners, uniform over the four placements.

    ## Episode End
    There are no terminal states; an episode is truncated after ``max_cycles`` steps (100 unless told otherwise).

    Args:
        n: Rows and columns, at least 2.
        slip: Probability that a player does not move.
        gamma: Discount.
    """
    return pursuit_game(n, slip=slip, gamma=gamma)


def looks(arguments: Mapping[str, Any]) -> Looks:
    """The grid with the pursuer P and the evader E."""
    return partial(_look, arguments["n"])


def _look(n: int, state: int) -> Look:
    p, e = (divmod(cell, n) for cell in divmod(state, n * n))
    if p == e:
        squares, fact = {p: Square("PE", 0, marked=True)}, "caught: this step pays 1"
    else:
        squares, fact = {p: Square("P", 0), e: Square("E", 1)}, "P pursues E"
    return Look(ACTIONS, ACTIONS, board_of(n, n, squares), facts=(fact,))


parallel_env = parallel_fn(game, "pursuit_v0", looks)
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game, looks)
