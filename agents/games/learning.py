"""Learning from play: tables over the states of a game, changed by one joint action after the other.

A learner drives the environment it was made for: it chooses the actions of both players and changes its tables by what
follows. Of the model it reads the sizes, the discount and which states are terminal; transitions and rewards only where
it says so, and without a discount, to see that play ends.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray

from ...envs.games import PLAYERS
from ...models import MarkovGame
from ...solvers.games.certificates import analyse_play
from ...wrappers.exact_view import game_view
from ...wrappers.versus import as_parallel
from ..base import FloatArray, checked_batch
from ..errors import AgentError
from ..lookup import state_lookup
from ..stepping import SteppingAgent
from .planning import tabular_game


class GameLearner(SteppingAgent):
    """A tabular learner. Subclasses say what is played, how the tables change, and which policy they mean.

    The environment is the learner's while it learns. Episodes begin with seeds from the learner's own generator, so
    that equal seeds learn equally; one that is under way when the agent is saved is not continued after loading.

    Attributes:
        side: The side it plays.
    """

    def __init__(self, env: Any, side: str, seed: int) -> None:
        view = game_view(env, side)
        super().__init__(view.observation_space, view.action_space, seed)
        self.side, self._seed = side, seed
        self.game: MarkovGame = tabular_game(view.model, "what is learnt")
        self._env = as_parallel(env)
        self._states_of = state_lookup(view.observe, self.game.n_states)
        self._state: int | None = None

    @abstractmethod
    def joint_action(self, s: int) -> tuple[int, int]:
        """The actions (a, b) to play in state s while learning."""

    @abstractmethod
    def update(self, s: int, a: int, b: int, reward: float, s_next: int) -> None:
        """Change the tables after (a, b) was played in s, paid ``reward`` to player_0 and led to s_next."""

    @abstractmethod
    def tables(self) -> dict[str, NDArray[Any]]:
        """All that was learnt, by name: the arrays themselves, which ``update`` changes in place."""

    @abstractmethod
    def policy(self) -> FloatArray:
        """The policy learnt for this side (S, A)."""

    @final
    def action_probabilities(self, observations: Any) -> FloatArray:
        """The learnt policy (n, A)."""
        return self.policy()[self._states_of(checked_batch(observations, self.observation_space))]

    @final
    def memory(self) -> dict[str, Any]:
        """The tables, the number of steps and the generator's state."""
        return {"tables": self.tables(), "steps": self.steps, "rng": self.rng.bit_generator.state}

    @final
    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over tables of the same game."""
        for name, table in self.tables().items():
            saved = cast("NDArray[Any]", memory["tables"][name])
            if saved.shape != table.shape or saved.dtype != table.dtype:
                raise AgentError(f"the table {name} has shape {saved.shape}, but the game needs {table.shape}")
            table[...] = saved
        self.steps, self._state = int(memory["steps"]), None
        self.rng.bit_generator.state = memory["rng"]

    @final
    def take_step(self) -> None:
        """One joint action, after a reset where no episode is under way."""
        if self._state is None:
            observations, _ = self._env.reset(seed=int(self.rng.integers(2**31)))
            self._state = self._seen(observations)
        s = self._state
        a, b = self.joint_action(s)
        observations, rewards, *_ = self._env.step({PLAYERS[0]: a, PLAYERS[1]: b})
        s_next = self._seen(observations)
        self.update(s, a, b, float(rewards[PLAYERS[0]]), s_next)
        self._state = s_next if self._env.agents else None

    def _seen(self, observations: Mapping[str, Any]) -> int:
        return int(self._states_of(np.asarray(observations[self.side])[None])[0])


def require_fraction(name: str, value: object) -> float:
    """``value`` as a float in [0, 1].

    Raises:
        AgentError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
        raise AgentError(f"{name} is {value!r}; pass a number in [0, 1]")
    return float(value)


def require_discount(game: MarkovGame, gamma: object) -> float:
    """``gamma`` as a float in [0, 1], below 1 where play need not end: there payoffs would grow without end.

    Raises:
        AgentError: It is none.
        ValueError: It is 1 and play need not end; a state is named.
    """
    checked = require_fraction("gamma", gamma)
    if checked == 1.0:
        analyse_play(replace(game, gamma=1.0))
    return checked
