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
