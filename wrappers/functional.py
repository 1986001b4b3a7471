"""Our models as Gymnasium's functional environments.

A ``gymnasium.experimental.functional.FuncEnv`` keeps no state: it is the tuple of functions

    s_0 = initial(rng)    s' = transition(s, a, rng)    r = reward(s, a, s', rng)    terminal(s)    observation(s, rng)

which an algorithm calls as it likes. States are the int codes of the simulator, s or h*S + s with a finite horizon;
rng is a numpy Generator. Where two outcomes share (s, a, s') and differ in reward, ``reward`` draws from their
conditional law, so that (s', r) has the law of one step of the environment.
"""

from typing import Any, final

import numpy as np
from gymnasium.experimental.functional import FuncEnv
from numpy.typing import NDArray

from ..envs.actions import actions_of
from ..envs.observations import Playable, observer_of
from ..envs.simulators import simulator_of, state_codes
from ..models import FiniteHorizonMDP, ModelError, TabularMDP


@final
class ModelFuncEnv(FuncEnv[int, Any, int, float, bool, Any, Any]):
    """A decision process as a FuncEnv.

    Args:
        model: The decision process.
        observation: ``"state"`` or ``"features"``, as in the environments.

    Raises:
        ModelError: ``observation`` is neither, or ``model`` is no decision process.
    """

    def __init__(self, model: Playable, observation: str = "state") -> None:
        super().__init__()
        self._model = model
        self._simulator = simulator_of(model)
        self._observer = observer_of(model, observation)
        self._outcomes = model.outcomes() if isinstance(model, TabularMDP) else None
        self.observation_space = self._observer.space
        self.action_space = actions_of(model, self._simulator).space

    def initial(self, rng: np.random.Generator, params: Any = None) -> int:
        """A draw from rho."""
        return int(self._simulator.initial_states(1, rng)[0])

    def transition(self, state: int, action: int, rng: np.random.Generator, params: Any = None) -> int:
        """A draw from P(. | state, action).

        Raises:
            ModelError: The state or action is out of range.
        """
        return int(self._simulator.sample(np.array([state]), np.array([action]), rng).next_states[0])

    def reward(self, state: int, action: int, next_state: int, rng: np.random.Generator, params: Any = None) -> float:
        """A draw from the law of the reward given the transition.

        Raises:
            ModelError: The state or action is out of range, or a tabular model never makes this transition.
        """
        states, actions = np.array([state]), np.array([action])
        sampled = self._simulator.sample(states, actions, rng)  # which refuses what is out of range
        if self._outcomes is None:  # such a model pays r_h(s, a) whatever the outcome
            return float(sampled.rewards[0])
        row = int(state) * self._model.n_actions + int(action)  # numpy's narrow integers would wrap around
        first, last = self._outcomes.indptr[row : row + 2]
        among = first + np.flatnonzero(self._outcomes.next_states[first:last] == next_state)
        if not among.size:
            raise ModelError(f"next_state is {next_state}, which never follows state {state} and action {action}")
        weights = self._outcomes.probabilities[among]
        return float(self._outcomes.rewards[rng.choice(among, p=weights / weights.sum())])

    def terminal(self, state: int, rng: np.random.Generator, params: Any = None) -> bool:
        """Whether an episode is over in this state.

        Raises:
            ModelError: The state is out of range.
        """
        model, state = self._model, int(self._codes(state)[0])
        if isinstance(model, TabularMDP):
            return bool(model.terminal[state])
        h, s = divmod(state, model.n_states)
        return h == model.horizon or (isinstance(model, FiniteHorizonMDP) and bool(model.terminal[s]))

    def observation(self, state: int, rng: np.random.Generator, params: Any = None) -> Any:
        """What an agent sees: np.int64, or a float32 vector.

        Raises:
            ModelError: The state is out of range.
        """
        return self._observer.observe(self._codes(state))[0].copy()

    def _codes(self, state: int) -> NDArray[np.int64]:
        return state_codes([state], self._simulator.n_states)
