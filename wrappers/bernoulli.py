"""Rewards as coin tosses: the same decision problem, seen through more noise.

A reward r in [0, 1] becomes a draw from Bernoulli(r). Means are unchanged, hence so are all values and optimal
policies; the variance r (1 - r) is the largest that a reward in [0, 1] with mean r can have (Bhatia, Davis, A Better
Bound on the Variance, American Mathematical Monthly 107, 2000). Planners that are analysed for random rewards in
[0, 1] meet their hardest noise here.
"""

from typing import final

import numpy as np
from numpy.typing import NDArray

from ..models import GenerativeModel, ModelError, Tally, Transitions, tally_transitions
from ..models._checks import entry, first

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROUNDING = 1e-9  # as far as probabilities of a model may miss one


@final
class BernoulliRewards:
    """A generative model whose rewards are draws of 0 or 1 with the rewards of another as means.

    Args:
        simulator: The generative model whose rewards lie in [0, 1].
    """

    def __init__(self, simulator: GenerativeModel) -> None:
        self._simulator = simulator

    @property
    def n_states(self) -> int:
        """Number of state codes."""
        return self._simulator.n_states

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self._simulator.n_actions

    def sample(self, states: IntArray, actions: IntArray, rng: np.random.Generator) -> Transitions:
        """One transition for each state and action, with a reward of 0 or 1.

        ``probabilities`` are those of next state and reward together. One more uniform number is drawn for each
        transition, after those of the simulator.

        Raises:
            ModelError: A state or action is out of range, or a reward lies outside [0, 1].
        """
        moved = self._simulator.sample(states, actions, rng)
        require_means("rewards", moved.rewards)
        wins = rng.random(moved.rewards.size) < moved.rewards
        chances = np.clip(np.where(wins, moved.rewards, 1.0 - moved.rewards), 0.0, 1.0)  # rounding alone is clipped
        return Transitions(moved.next_states, wins.astype(np.float64), moved.terminated, moved.probabilities * chances)

    def tally(self, state: int, action: int, n: int, rng: np.random.Generator) -> Tally:
        """n transitions of one state and action, counted, with rewards of 0 or 1.

        Raises:
            ModelError: The state or action is out of range, or a reward lies outside [0, 1].
        """
        seen = tally_transitions(self._simulator, state, action, n, rng)
        moved = seen.transitions
        require_means("rewards", moved.rewards)
        means = np.clip(moved.rewards, 0.0, 1.0)  # rounding alone is clipped
        wins = rng.binomial(seen.counts, means)
        counts, chances = np.append(wins, seen.counts - wins), np.append(means, 1.0 - means)
        paid = np.repeat([1.0, 0.0], wins.size)
        met = np.flatnonzero(counts)
        source = np.tile(np.arange(wins.size), 2)[met]
        joint = moved.probabilities[source] * chances[met]
        return Tally(Transitions(moved.next_states[source], paid[met], moved.terminated[source], joint), counts[met])

    def initial_states(self, n: int, rng: np.random.Generator) -> IntArray:
        """n independent initial states, those of the simulator."""
        return self._simulator.initial_states(n, rng)


def require_means(name: str, rewards: FloatArray) -> None:
    """Raise unless every reward is a mean that a draw of 0 or 1 can have.

    Raises:
        ModelError: A reward is not in [0, 1], up to rounding.
    """
    outside = ~((rewards >= -ROUNDING) & (rewards <= 1.0 + ROUNDING))
    if outside.any():
        index = first(outside)
        raise ModelError(
            f"{entry(name, index)} is {rewards[index]:.6g}; the mean of a draw of 0 or 1 lies in [0, 1]: "
            "rescale the rewards"
        )
