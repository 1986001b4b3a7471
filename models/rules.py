"""Games given by their rules, and their exact tables.

Rules say where a game starts, what each player may do in a state, and what then happens. :func:`tabulate` explores
every state that can be reached from the start, breadth first, and writes the transition law down as a sparse
:class:`MarkovGame`: state s is the s-th state discovered, action a the a-th that the rules list there, and each
outcome keeps its own reward. All ends of play are one terminal state. Nothing is sampled and nothing is rounded:
probabilities are added up only where two outcomes agree in both next state and reward.

A state is whatever the rules can hash. Two histories share a state exactly if the rules give them equal ones, so
equal states must have the same future.
"""

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Generic, Protocol, TypeVar

import numpy as np
import scipy.sparse as sp

from ._checks import PROBABILITY_TOLERANCE, BoolArray, IntArray, ModelError, discount, whole_number
from .game import MarkovGame

MOST_STATES = 100_000
"""Default limit on the number of states that are explored."""

MOST_BYTES = 2**30
"""Default limit on the size of a table: 1 GiB."""

State = TypeVar("State", bound=Hashable)
Action = TypeVar("Action", bound=Hashable)


class GameRules(Protocol[State, Action]):
    """The rules of a two-player zero-sum game with simultaneous moves. The state None means that play is over."""

    def start(self) -> Iterable[tuple[float, State | None]]:
        """The states that play starts in, with their probabilities."""
        ...

    def actions(self, state: State, /) -> tuple[Sequence[Action], Sequence[Action]]:
        """The actions of player_0 and of player_1, at least one each; a player without a choice has one."""
        ...

    def outcomes(
        self, state: State, action_0: Action, action_1: Action, /
    ) -> Iterable[tuple[float, State | None, float]]:
        """Each outcome's probability, next state, and reward of player_0."""
        ...


@dataclass(frozen=True, eq=False)
class GameTable(Generic[State, Action]):
    """A game with what its numbers stand for.

    Attributes:
        game: The model.
        states: The state of the rules for each state of the model, None for the terminal one.
        actions_0: For each state player_0's actions: ``actions_0[s][a]`` is what a stands for in s; (None,) in the
            terminal state.
        actions_1: The same for player_1.
    """

    game: MarkovGame
    states: tuple[State | None, ...]
    actions_0: tuple[tuple[Action | None, ...], ...]
    actions_1: tuple[tuple[Action | None, ...], ...]

    @cached_property
    def index(self) -> Mapping[State | None, int]:
        """The number of each state."""
        return {state: s for s, state in enumerate(self.states)}


def tabulate(
    rules: GameRules[State, Action], gamma: float, *, max_states: int = MOST_STATES, max_bytes: int = MOST_BYTES
) -> GameTable[State, Action]:
    """The exact table of a game.

    Args:
        rules: The game.
        gamma: Discount in [0, 1]. With 1, play must end whatever the players do; the solvers check it.
        max_states: Explore at most so many states, the terminal one included.
        max_bytes: Build a table of at most so many bytes.

    Raises:
        ModelError: A limit is exceeded, and the message says how far the exploration has come; or the rules give a
            player no action, or probabilities that do not sum to one; or an argument is out of range.
    """
    gamma = discount(gamma)
    most = whole_number("max_states", max_states, 1), whole_number("max_bytes", max_bytes, 1)
    found = _Exploration(rules, *most)
    start = [(found.number(state), probability) for probability, state in rules.start()]
    for state in found.states:  # grows while it is run through
        found.expand(state)
    return _table(found, start, gamma)


@dataclass(eq=False)
class _Exploration(Generic[State, Action]):
    """What is known of a game so far; outcomes stand in the order of states, then of the pairs of their actions."""

    rules: GameRules[State, Action]
    max_states: int
    max_bytes: int
    states: list[State | None] = field(default_factory=list[State | None])
    numbers: dict[State | None, int] = field(default_factory=dict[State | None, int])
    actions_0: list[tuple[Action | None, ...]] = field(default_factory=list[tuple[Action | None, ...]])
    actions_1: list[tuple[Action | None, ...]] = field(default_factory=list[tuple[Action | None, ...]])
    counts: "array[int]" = field(default_factory=lambda: array("q"))  # of the outcomes of each pair of actions
    probabilities: "array[float]" = field(default_factory=lambda: array("d"))
    next_states: "array[int]" = field(default_factory=lambda: array("q"))
    rewards: "array[float]" = field(default_factory=lambda: array("d"))
    most_0: int = 1
    most_1: int = 1

    def number(self, state: State | None) -> int:
        """The number of a state, new or known."""
        known = self.numbers.get(state)
        if known is not None:
            return known
        if len(self.states) == self.max_states:
            raise ModelError(
                f"{self.rules} has more than {self.max_states:,} states: so many were found by "
                f"exploring {len(self.actions_0):,} of them; {_remedy('max_states')}"
            )
        self.numbers[state] = len(self.states)
        self.states.append(state)
        self._require_room()
        return len(self.states) - 1

    def expand(self, state: State | None) -> None:
        """Write down the outcomes of every pair of actions in a state."""
        if state is None:
            self._add_actions((None,), (None,))
            self._add_outcomes([(1.0, None, 0.0)])
            return
        ours, theirs = self.rules.actions(state)
        if not (len(ours) and len(theirs)):
            raise ModelError(f"{self.rules} gives a player no action in {state}; a player without a choice has one")
        self.most_0, self.most_1 = max(self.most_0, len(ours)), max(self.most_1, len(theirs))
        self._require_room(len(ours) * len(theirs))  # asked before anything of that length is made
        self._add_actions(tuple(ours), tuple(theirs))
        for a, b in product(ours, theirs):
            total = self._add_outcomes(self.rules.outcomes(state, a, b))
            if not abs(total - 1.0) <= PROBABILITY_TOLERANCE:
                raise ModelError(
                    f"the outcomes of {a} against {b} in {state} have probabilities that sum to {total:.12g}, not 1; "
                    "list every outcome"
                )
        self._require_room()

    def _add_actions(self, ours: tuple[Action | None, ...], theirs: tuple[Action | None, ...]) -> None:
        self.actions_0.append(ours)
        self.actions_1.append(theirs)

    def _add_outcomes(self, outcomes: Iterable[tuple[float, State | None, float]]) -> float:
        """The sum of the probabilities."""
        weights: dict[tuple[int, float], float] = {}
        for probability, next_state, reward in outcomes:
            outcome = self.number(next_state), float(reward)
            weights[outcome] = weights.get(outcome, 0.0) + probability
        self.counts.append(len(weights))
        self.probabilities.extend(weights.values())
        for next_state, reward in weights:
            self.next_states.append(next_state)
            self.rewards.append(reward)
        return sum(weights.values())

    def _require_room(self, more: int = 0) -> None:
        """Raise where the table, with so many more pairs of actions in it, has outgrown its limit."""
        # In a MarkovGame a pair of actions has entries of r and indptr; an outcome, at least one for each pair, has
        # probability, reward and next state.
        size = (8 + 4) * len(self.states) * self.most_0 * self.most_1 + (8 + 8 + 4) * (len(self.rewards) + more)
        if size > self.max_bytes:
            raise ModelError(
                f"{self.rules} needs a table of at least {size:,} bytes, for the {len(self.states):,} states found so "
                f"far and up to {self.most_0} x {self.most_1} actions; the limit is max_bytes = {self.max_bytes:,}; "
                f"{_remedy('max_bytes')}"
            )


def _remedy(limit: str) -> str:
    return f"take a smaller game, or raise {limit}, an argument of tabulate and from_openspiel"


def _table(
    found: _Exploration[State, Action], start: list[tuple[int, float]], gamma: float
) -> GameTable[State, Action]:
    """The table of all that was found."""
    n_actions_0, n_actions_1 = (np.array([*map(len, rows)]) for rows in (found.actions_0, found.actions_1))
    rho = np.zeros(len(found.states))
    for state, probability in start:
        rho[state] += probability
    terminal = np.array([state is None for state in found.states])
    law = _law(found, n_actions_0, n_actions_1)
    game = MarkovGame(law, np.array(found.rewards), gamma, rho, n_actions_0, n_actions_1, terminal)
    return GameTable(game, tuple(found.states), tuple(found.actions_0), tuple(found.actions_1))


def _law(found: _Exploration[State, Action], n_actions_0: IntArray, n_actions_1: IntArray) -> sp.csr_array:
    """The transition law (S*A*B, S)."""
    inside_0: BoolArray = np.arange(found.most_0) < n_actions_0[:, None]
    inside_1: BoolArray = np.arange(found.most_1) < n_actions_1[:, None]
    live = (inside_0[:, :, None] & inside_1[:, None, :]).reshape(-1)
    indptr = np.zeros(live.size + 1, dtype=np.int64)
    indptr[1:][live] = found.counts
    parts = np.array(found.probabilities), np.array(found.next_states), np.cumsum(indptr)
    return sp.csr_array(parts, shape=(live.size, n_actions_0.size))
