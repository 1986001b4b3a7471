"""``lookahead_rl/Goofspiel-v0``: the game of pure strategy."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import GoofspielRules, GoofspielState, MarkovGame, goofspiel_game
from ..models.bidding_games import Payoff, PrizeOrder
from .game_looks import Look, Looks, LooksOfRules, Square
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
    ``infos[player]["action_mask"]`` says which actions there are; in the vector environment it has a row for each lane.
    PettingZoo's ``api_test`` heeds that mask, but its ``parallel_api_test`` reads masks from observations only, so it
    tries actions that are not there and fails here.

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


def looks(arguments: Mapping[str, Any]) -> Looks:
    """Both hands and the prizes, the one that is turned up marked; and the lead, where it matters."""
    rules = GoofspielRules(arguments["n_cards"], arguments["prize_order"], arguments["payoff"])
    return LooksOfRules(rules, partial(_look, rules))


def _look(rules: GoofspielRules, state: GoofspielState, ours: Sequence[int], theirs: Sequence[int]) -> Look:
    cards = range(1, rules.n_cards + 1)
    prizes = (state.prize, *state.later_prizes)
    board = (
        tuple(Square(str(card), 1) if card in theirs else Square() for card in cards),
        tuple(Square(str(card), marked=card == state.prize) if card in prizes else Square() for card in cards),
        tuple(Square(str(card), 0) if card in ours else Square() for card in cards),
    )
    facts = (f"lead of player 0: {state.lead}",) if rules.payoff == "win_loss" else ()
    return Look(_names(ours), _names(theirs), board, ("player 1", "prizes", "player 0"), facts)


def _names(hand: Sequence[int]) -> list[str]:
    return [f"card {card}" for card in hand]


parallel_env = parallel_fn(game, "goofspiel_v0", looks)
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game, looks)
