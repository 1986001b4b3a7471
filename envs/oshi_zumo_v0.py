"""``lookahead_rl/OshiZumo-v0``: a wrestler pushed by sealed bids."""

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame, oshi_zumo_game
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
    ``infos[player]["action_mask"]`` says which actions there are; a player with less than min_bid bids all.

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


parallel_env = parallel_fn(game, "oshi_zumo_v0")
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game)
