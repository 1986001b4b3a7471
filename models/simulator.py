"""What a planner may ask of a simulator: the types that tell access levels apart.

Planning theory distinguishes three levels. *Online* access plays episodes (reset and step). *Local* access
samples only from states it has been handed, which are opaque to it. *Generative* access samples any action
in any state, in batches (Kearns, Mansour, Ng, Machine Learning 49, 2002, call it a generative model). The
level an algorithm needs is the type it takes; nothing is found out by trying.

States are int64 codes: s itself, or h*S + s where the horizon is finite.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ._checks import BoolArray, FloatArray, IntArray

BATCH = 1 << 16
"""Transitions sampled at once where they are only counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """A batch of n sampled transitions.

    Attributes:
        next_states: (n,) int64 codes.
        rewards: (n,) float64.
        terminated: (n,) bool: whether the episode ends there.
        probabilities: (n,) probability of the sampled outcome.
    """

    next_states: IntArray
    rewards: FloatArray
    terminated: BoolArray
    probabilities: FloatArray


@runtime_checkable
class GenerativeModel(Protocol):
    """Samples transitions of any state and action, in batches.

    In a game an action is the pair (a, b) coded as a*B + b.
    """

    @property
    def n_states(self) -> int:
        """Number of state codes."""
        ...

    @property
    def n_actions(self) -> int:
        """Number of actions (of pairs of actions, in a game)."""
        ...

    def sample(self, states: IntArray, actions: IntArray, rng: np.random.Generator) -> Transitions:
        """One transition for each state and action.

        Args:
            states: (n,) codes.
            actions: (n,) actions.
            rng: Where the randomness comes from.

        Raises:
            ModelError: A state or action is out of range (named with its index).
        """
        ...

    def initial_states(self, n: int, rng: np.random.Generator) -> IntArray:
        """n independent draws from rho, as codes (n,)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """n independent transitions of one state and action, equal ones counted together.

    Attributes:
        transitions: The transitions that occurred, k of them.
        counts: (k,) how often each did, positive; they sum to n.
    """

    transitions: Transitions
    counts: IntArray


@runtime_checkable
class TallyingModel(GenerativeModel, Protocol):
    """Also draws how often each outcome occurs in n transitions, in a time that does not grow with n."""

    def tally(self, state: int, action: int, n: int, rng: np.random.Generator) -> Tally:
        """n independent transitions, counted: the law of :meth:`sample`, whatever numbers it takes from the generator.

        Args:
            state: A code.
            action: An action.
            n: Number of transitions, at least 1 and below 2^63.
            rng: Where the randomness comes from.

        Raises:
            ModelError: The state or action is out of range.
        """
        ...


def tally_transitions(simulator: GenerativeModel, state: int, action: int, n: int, rng: np.random.Generator) -> Tally:
    """n independent transitions of any generative model, counted; one that cannot count is sampled in batches.

    Args:
        simulator: The generative model.
        state: A code.
        action: An action.
        n: Number of transitions, at least 1 and below 2^63.
        rng: Where the randomness comes from.

    Raises:
        ModelError: The state or action is out of range.
    """
    if isinstance(simulator, TallyingModel):
        return simulator.tally(state, action, n, rng)
    none = np.empty(0, np.int64)
    seen = Tally(Transitions(none, np.empty(0), np.empty(0, np.bool_), np.empty(0)), none)
    for begun in range(0, n, BATCH):
        states = np.full(min(BATCH, n - begun), state, np.int64)
        seen = _joined(seen, simulator.sample(states, np.full_like(states, action), rng))
    return seen


def _joined(seen: Tally, drawn: Transitions) -> Tally:
    """A tally with one more batch, equal transitions together."""
    counts = np.append(seen.counts, np.ones(drawn.rewards.size, np.int64))
    before = seen.transitions
    columns = (
        np.append(before.next_states, drawn.next_states),
        np.append(before.rewards, drawn.rewards),
        np.append(before.terminated, drawn.terminated),
        np.append(before.probabilities, drawn.probabilities),
    )
    order = np.lexsort(columns)
    differs = np.logical_or.reduce([column[order][1:] != column[order][:-1] for column in columns])
    begins = np.flatnonzero(np.append(True, differs))
    kept = order[begins]
    transitions = Transitions(columns[0][kept], columns[1][kept], columns[2][kept], columns[3][kept])
    return Tally(transitions, np.add.reduceat(counts[order], begins))
