"""Games of sealed bids: Goofspiel and Oshi-Zumo.

**Goofspiel**, the game of pure strategy (Ross, Goofspiel: The Game of Pure Strategy, Journal of Applied Probability 8,
1971; Rhoads, Bartholdi, Computer Solution to the Game of Pure Strategy, Games 3, 2012). Either player holds the cards
1, ..., n, and the prizes 1, ..., n are turned up one after another. For each prize both players bid a card at the same
time; the higher card takes the prize, equal cards let it go to nobody, and both cards are spent. The last prize is won
by what is left in the hands, so it is settled together with the one before.

**Oshi-Zumo** (Buro, Solving the Oshi-Zumo Game, Advances in Computer Games 10, 2003). A wrestler stands in the middle
of 2 K + 1 places. Both players pay a sealed bid out of N coins, and the higher bid pushes the wrestler one place
towards the other player; whoever pushes him off the board wins. When all coins are spent, the side he stands on
decides.

Both are symmetric, so fair at the start; both need mixed bids.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, final, get_args

from ._checks import ModelError, flag, whole_number
from .game import MarkovGame
from .rules import MOST_STATES, tabulate

Cards = tuple[int, ...]
PrizeOrder = Literal["random", "descending", "ascending"]
Payoff = Literal["win_loss", "point_difference"]

MOST_CARDS = 52
"""Cards in a hand at most."""

MOST_COINS = 10**9
"""Coins of a player at most."""


class GoofspielState(NamedTuple):
    """A round of Goofspiel.

    Attributes:
        hand_0: Cards of player_0, in increasing order.
        hand_1: Cards of player_1.
        prize: The prize that is turned up.
        later_prizes: The prizes still to come, in increasing order.
        lead: Points of player_0 minus those of player_1; always 0 where the points themselves are paid.
    """

    hand_0: Cards
    hand_1: Cards
    prize: int
    later_prizes: Cards
    lead: int


@final
@dataclass(frozen=True)
class GoofspielRules:
    """The rules of Goofspiel.

    Attributes:
        n_cards: Cards in each hand n, 2 to 52, and prizes.
        prize_order: ``"random"``, each order being equally likely, ``"descending"`` or ``"ascending"``.
        payoff: ``"win_loss"`` pays 1 at the end to the player with more points, and 0 for equal points.
            ``"point_difference"`` pays each prize when it is won, so no state needs to know the points.

    Raises:
        ModelError: An argument is none of what it may be.
    """

    n_cards: int
    prize_order: PrizeOrder = "random"
    payoff: Payoff = "win_loss"

    def __post_init__(self) -> None:
        """Check the arguments."""
        if whole_number("n_cards", self.n_cards, 2) > MOST_CARDS:
            raise ModelError(f"n_cards is {self.n_cards}; it must be at most {MOST_CARDS}")
        for name, value, known in (
            ("prize_order", self.prize_order, get_args(PrizeOrder)),
            ("payoff", self.payoff, get_args(Payoff)),
        ):
            if value not in known:
                raise ModelError(f"{name} is {value!r}; pass one of {', '.join(map(repr, known))}")

    def start(self) -> Iterator[tuple[float, GoofspielState]]:
        """Full hands and the first prize."""
        cards = tuple(range(1, self.n_cards + 1))
        for probability, prize, later in self._turned_up(cards):
            yield probability, GoofspielState(cards, cards, prize, later, 0)

    def actions(self, state: GoofspielState) -> tuple[Cards, Cards]:
        """The cards in the hands."""
        return state.hand_0, state.hand_1

    def outcomes(
        self, state: GoofspielState, action_0: int, action_1: int
    ) -> Iterator[tuple[float, GoofspielState | None, float]]:
        """The prize goes to the higher card, and another one is turned up."""
        hand_0, hand_1 = _without(state.hand_0, action_0), _without(state.hand_1, action_1)
        won = state.prize * _sign(action_0 - action_1)
        if len(hand_0) == 1:
            won += state.later_prizes[0] * _sign(hand_0[0] - hand_1[0])
            yield 1.0, None, float(won if self.payoff == "point_difference" else _sign(state.lead + won))
            return
        reward, lead = (won, 0) if self.payoff == "point_difference" else (0, state.lead + won)
        for probability, prize, later in self._turned_up(state.later_prizes):
            yield probability, GoofspielState(hand_0, hand_1, prize, later, lead), float(reward)

    def _turned_up(self, prizes: Cards) -> Iterator[tuple[float, int, Cards]]:
        """Probability of each next prize, the prize, and those that then remain."""
        candidates = {"random": prizes, "descending": prizes[-1:], "ascending": prizes[:1]}[self.prize_order]
        for prize in candidates:
            yield 1 / len(candidates), prize, _without(prizes, prize)


def goofspiel_game(
    n_cards: int = 4, *, prize_order: PrizeOrder = "random", payoff: Payoff = "win_loss", gamma: float = 1.0
) -> MarkovGame:
    """Goofspiel with n cards; it ends after n - 1 rounds.

    Action a is the a-th lowest card in the hand. The value at the start is 0. Against a player who bids at random and a
    random order of prizes, bidding the prize's own number is optimal for the difference of points (Ross 1971).

    OpenSpiel's ``goofspiel`` is the same game: with its ``returns_type=win_loss`` value for value; its
    ``point_difference`` pays half of the difference, all at the end, which with gamma = 1 makes half the sum of the
    points so far and the value here.

    Args:
        n_cards: n, 2 to 9. With ``payoff="win_loss"`` and a random order, 3, 4, 5 cards make 58, 1549, 28478 states.
        prize_order: ``"random"``, ``"descending"`` or ``"ascending"``.
        payoff: ``"win_loss"`` or ``"point_difference"`` (:class:`GoofspielRules`).
        gamma: Discount.

    Raises:
        ModelError: An argument out of range, or so many cards that there are more than 100,000 states or 1 GiB of
            table; :func:`~lookahead_rl.models.tabulate` takes other limits.
    """
    rules = GoofspielRules(n_cards, prize_order, payoff)
    # Two hands of j cards meet in some state, whatever they are, for j = 2, ..., n; and there is the end.
    least = math.comb(2 * n_cards, n_cards) - n_cards**2
    if least > MOST_STATES:
        raise ModelError(
            f"n_cards is {n_cards}, which makes at least {least:,} states, more than {MOST_STATES:,}; pass 2 to 9, or "
            "tabulate GoofspielRules with a greater max_states"
        )
    return tabulate(rules, gamma).game


class OshiZumoState(NamedTuple):
    """The players' coins, and the wrestler's place: 0 is the middle, more is nearer to player_1."""

    coins_0: int
    coins_1: int
    place: int


@final
@dataclass(frozen=True)
class OshiZumoRules:
    """The rules of Oshi-Zumo.

    Attributes:
        coins: Coins N of each player, 1 to 10^9.
        size: Places K >= 0 on either side of the middle.
        min_bid: Least bid, 0 to N; a player with fewer coins bids all of them. With 0 nothing may happen for ever, so
            a discount below 1 is needed.
        alesia: Whether a wrestler who is still on the board when all coins are spent makes a draw.

    Raises:
        ModelError: An argument out of range.
    """

    coins: int
    size: int = 3
    min_bid: int = 1
    alesia: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        coins = whole_number("coins", self.coins, 1)
        if coins > MOST_COINS:
            raise ModelError(f"coins is {coins}; it must be at most {MOST_COINS:,}")
        whole_number("size", self.size, 0)
        if whole_number("min_bid", self.min_bid, 0) > coins:
            raise ModelError(f"min_bid is {self.min_bid}, but the players have {coins} coins; pass 0 to {coins}")
        flag("alesia", self.alesia)

    def start(self) -> list[tuple[float, OshiZumoState]]:
        """All coins, and the wrestler in the middle."""
        return [(1.0, OshiZumoState(self.coins, self.coins, 0))]

    def actions(self, state: OshiZumoState) -> tuple[range, range]:
        """The bids that the players can pay."""
        return self._bids(state.coins_0), self._bids(state.coins_1)

    def outcomes(
        self, state: OshiZumoState, action_0: int, action_1: int
    ) -> list[tuple[float, OshiZumoState | None, float]]:
        """The wrestler moves, and the bids are paid."""
        coins_0, coins_1 = state.coins_0 - action_0, state.coins_1 - action_1
        place = state.place + _sign(action_0 - action_1)
        if abs(place) > self.size:
            return [(1.0, None, float(_sign(place)))]
        if coins_0 == coins_1 == 0:
            return [(1.0, None, 0.0 if self.alesia else float(_sign(place)))]
        return [(1.0, OshiZumoState(coins_0, coins_1, place), 0.0)]

    def _bids(self, coins: int) -> range:
        return range(min(self.min_bid, coins), coins + 1)


def oshi_zumo_game(
    coins: int = 10, *, size: int = 3, min_bid: int = 1, alesia: bool = False, gamma: float = 1.0
) -> MarkovGame:
    """Oshi-Zumo with N coins and 2 K + 1 places; a win pays 1.

    Action a is the bid ``min_bid + a``, or all coins where there are fewer. The value at the start is 0. OpenSpiel's
    ``oshi_zumo`` is the same game, its horizon apart: there a game is also over after 1000 rounds.

    Args:
        coins: N, 1 to 10^9; Buro solves N = 50.
        size: K >= 0.
        min_bid: Least bid; with 0 take gamma < 1.
        alesia: Whether a wrestler still on the board when all coins are spent makes a draw.
        gamma: Discount.

    Raises:
        ModelError: An argument out of range, or so many coins that there are more than 100,000 states or 1 GiB of
            table; :func:`~lookahead_rl.models.tabulate` takes other limits.
    """
    return tabulate(OshiZumoRules(coins, size, min_bid, alesia), gamma).game


def _without(cards: Cards, card: int) -> Cards:
    return tuple(other for other in cards if other != card)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
