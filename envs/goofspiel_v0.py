"""``lookahead_rl/Goofspiel-v0``: the game of pure strategy."""

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame, goofspiel_game
from ..models.bidding_games import Payoff, PrizeOrder
from .game_modules import parallel_fn, raw_aec_fn, vector_fn


def game(
    n_cards: int = 4, prize_order: PrizeOrder = "random", payoff: Payoff = "win_loss", gamma: float = 1.0
) -> MarkovGame:
    """Goofspiel: sealed bids for prizes (Ross, Journal of Applied Probability 8, 1971).

    ## Description
    Either player holds the cards 1, ..., n, and bids one of them for each of the prizes 1, ..., n; the higher card
    takes the prize, equal cards discard it, and both are spent (:mod:`~lookahead_rl.models.bidding_games`). The value
    at the start is 0.

    ## Agents
    player_0, who maximises, and player_1, who minimises: with ``payoff="win_loss"`` the one with more points wins 1 at
    the end, with ``"point_difference"`` each prize is paid when it is won.

    ## Action Spaces
    Discrete(n_cards) and Discrete(n_cards): action a is the a-th lowest card in the hand. Hands shrink, so
    ``infos[player]["action_mask"]`` says which actions there are.

    ## Observation Spaces
    The indicator of the state, Box(0, 1, (1549,), float32) for four cards; with ``observation="state"``
    Discrete(1549).

    ## Starting State
    Full hands; in a random order each prize is equally likely to come first.

    ## Episode End
    When all prizes are won: after n_cards - 1 rounds, because the last one leaves no choice.

    Args:
        n_cards: Cards in each hand.
        prize_order: ``"random"``, ``"descending"`` or ``"ascending"``.
        payoff: ``"win_loss"`` or ``"point_difference"``.
        gamma: Discount.
    """
    return goofspiel_game(n_cards, prize_order=prize_order, payoff=payoff, gamma=gamma)


parallel_env = parallel_fn(game, "goofspiel_v0")
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game)
