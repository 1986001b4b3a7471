"""``lookahead_rl/OshiZumo-v0``: a wrestler pushed by sealed bids."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame, OshiZumoRules, OshiZumoState, oshi_zumo_game
from .game_looks import Look, Looks, LooksOfRules, Square
from .game_modules import parallel_fn, raw_aec_fn, vector_fn


def game(coins: int = 10, size: int = 3, min_bid: int = 1, alesia: bool = False, gamma: float = 1.0) -> MarkovGame:
    """Oshi-Zumo (Buro, Solving the Oshi-Zumo Game, Advances in Computer Games 10, 2003).

    ## Description
    A wrestler stands in the middle of 2 * size + 1 places. Both players pay a sealed bid out of their coins, and the
    higher bid pushes him one place towards the other player (:mod:`~lookahead_rl.models.bidding_games`). The value at
    the start is 0.

    ## Agents
    player_0, who maximises, and player_1, who minimises: the winner receives 1 from the other.

    ## Action Spaces
    Discrete(coins - min_bid + 1) for both: action a bids min_bid + a coins. Coins run out, so
    ``infos[player]["action_mask"]`` says which actions there are, in the vector environment with a row for each lane; a
    player with less than min_bid bids all. PettingZoo's ``api_test`` heeds that mask, but its ``parallel_api_test``
    reads masks from observations only, so it tries actions that are not there and fails here.

    ## Observation Spaces
    The indicator of the state, Box(0, 1, (341,), float32) by default; with ``observation="state"`` Discrete(341).

    ## Starting State
    All coins, and the wrestler in the middle.

    ## Episode End
    When the wrestler is pushed off the board, or all coins are spent: then the side on which he stands loses, and the
    middle is a draw.

    Args:
        coins: Coins of each player.
        size: Places on either side of the middle.
        min_bid: Least bid; with 0 take gamma < 1, because play may then go on for ever.
        alesia: Whether a wrestler still on the board when all coins are spent makes a draw.
        gamma: Discount.
    """
    return oshi_zumo_game(coins, size=size, min_bid=min_bid, alesia=alesia, gamma=gamma)


def looks(arguments: Mapping[str, Any]) -> Looks:
    """The wrestler W on his places, player_0 on the left, and the coins."""
    coins, size, min_bid, alesia = (arguments[name] for name in ("coins", "size", "min_bid", "alesia"))
    return LooksOfRules(OshiZumoRules(coins, size, min_bid, alesia), partial(_look, size))


def _look(size: int, state: OshiZumoState, ours: Sequence[int], theirs: Sequence[int]) -> Look:
    board = (tuple(Square("W", marked=True) if place == state.place else Square() for place in range(-size, size + 1)),)
    facts = (
        f"coins {state.coins_0} and {state.coins_1}",
        f"place {state.place} of {-size} to {size}",
        "player 0 pushes right",
    )
    return Look([f"bid {bid}" for bid in ours], [f"bid {bid}" for bid in theirs], board, facts=facts)


parallel_env = parallel_fn(game, "oshi_zumo_v0", looks)
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game, looks)
