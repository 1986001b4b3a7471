"""The PettingZoo environment of a zero-sum Markov game.

Both players see the state and choose at the same time; player_0 receives r(s, a, b), player_1 receives -r(s, a, b),
and the state moves. A step is one sample of the game's generative model, in which the pair (a, b) is coded as a*B + b.

Players see features unless told otherwise (see :mod:`~lookahead_rl.envs.game_observations`), because PettingZoo's
``api_test`` asks for arrays that are never all zero, which no bare number of a state can be. ``state()`` is
[state, cycle] whatever the players see, the cycle counted from 1.
"""

from functools import cached_property
from typing import Any, final

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from ..models import GenerativeModel, MarkovGame, ModelError, Transitions
from ..models._checks import whole_number
from ..solvers import solve
from .game_looks import Looks
from .game_observations import PLAYERS, Game, action_counts, action_masks, game_observer, joint_shape
from .game_rendering import GameRenderer
from .rendering import Frame, Tape
from .simulators import simulator_of, state_codes

RENDER_MODES = ("human", "ansi", "rgb_array")

ByPlayer = dict[str, Any]


@final
class MarkovGameEnv(ParallelEnv[str, Any, Any]):
    """A zero-sum Markov game as a ParallelEnv.

    An episode ends with a terminal state, terminated, or after ``max_cycles`` steps, truncated. Where some states
    offer fewer actions than others, ``infos[player]["action_mask"]`` (int8) says which are available, and any other
    action is an error. ``infos[player]["prob"]`` is the probability of the sampled outcome.

    Args:
        game: The model.
        max_cycles: Steps after which an episode is truncated; may be assigned at any time.
        observation: ``"features"`` or ``"state"``.
        render_mode: None, ``"human"`` (prints the text), ``"ansi"`` or ``"rgb_array"``.
        name: What to call the environment.
        looks: What the states look like in a drawing, and what actions are called there; None: by their numbers.

    Raises:
        ModelError: ``observation``, ``render_mode`` or ``max_cycles`` is none of what it may be.
    """

    def __init__(
        self,
        game: Game,
        *,
        max_cycles: int = 100,
        observation: str = "features",
        render_mode: str | None = None,
        name: str = "markov_game_v0",
        looks: Looks | None = None,
    ) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise ModelError(f"render_mode is {render_mode!r}; pass None or one of {', '.join(RENDER_MODES)}")
        self._game, self._simulator, self._observer = game, simulator_of(game), game_observer(game, observation)
        self._shape, self._is_ragged = joint_shape(game), isinstance(game, MarkovGame) and game.is_ragged
        self.metadata = {"name": name, "render_modes": list(RENDER_MODES), "render_fps": 2, "is_parallelizable": True}
        self.render_mode, self._looks = render_mode, looks
        self.max_cycles = max_cycles
        self.possible_agents = list(PLAYERS)
        self.agents: list[str] = []
        self.state_space = spaces.Box(
            np.array([0, 1]), np.array([max(game.n_states - 1, 1), np.iinfo(np.int64).max]), dtype=np.int64
        )
        self._observation_spaces = {player: game_observer(game, observation).space for player in PLAYERS}
        self._action_spaces = dict(zip(PLAYERS, map(spaces.Discrete, self._shape), strict=True))
        self._rng, _ = seeding.np_random()
        self._state, self._cycle = 0, 0  # cycle 0: no episode has begun
        self._tape = Tape(1)

    @property
    def model(self) -> Game:
        """The frozen model."""
        return self._game

    @property
    def simulator(self) -> GenerativeModel:
        """The generative model the environment itself uses; the joint action (a, b) is coded as a*B + b."""
        return self._simulator

    def solution(self) -> Any:
        """The exact solution of the game with its certificate (:class:`~lookahead_rl.solvers.Solution`), cached."""
        return self._solution

    def observe(self, states: NDArray[np.int64]) -> ByPlayer:
        """What each player sees in these states.

        Args:
            states: (n,) states.

        Returns:
            For each player a fresh array, int64 (n,) or float32 (n, d), of points of its observation space.

        Raises:
            ModelError: A state is out of range.
        """
        checked = state_codes(states, self._game.n_states)
        return {player: self._observer.observe(checked) for player in PLAYERS}

    @property
    def max_cycles(self) -> int:
        """Steps after which an episode is truncated."""
        return self._max_cycles

    @max_cycles.setter
    def max_cycles(self, cycles: int) -> None:
        self._max_cycles = whole_number("max_cycles", cycles, 1)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """The space of a player's observations, the same object at each call."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """The space of a player's actions, the same object at each call."""
        return self._action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByPlayer, ByPlayer]:
        """Begin an episode.

        Args:
            seed: Seed of the environment's generator; None goes on with the present one.
            options: ``{"state": s}`` begins in state s instead of drawing from rho; PettingZoo lets other options pass.

        Raises:
            ModelError: There is no such state.
        """
        if seed is not None:
            self._rng, _ = seeding.np_random(seed)
        self._state = self._start((options or {}).get("state"))
        self._cycle = 1
        self._tape.begin(np.ones(1, dtype=np.bool_))
        self.agents = list(PLAYERS)
        self._show_if_human()
        return self._observations(), self._infos(1.0)

    def step(self, actions: ByPlayer) -> tuple[ByPlayer, ByPlayer, ByPlayer, ByPlayer, ByPlayer]:
        """Play one action of each player.

        Raises:
            ModelError: A player's action is missing, or not available in this state; or there is no such player.
            ResetNeeded: No episode is going on.
        """
        moved = self._advance(self._joint(actions))
        reward, terminated, truncated = (
            float(moved.rewards[0]),
            bool(moved.terminated[0]),
            self._cycle > self.max_cycles,
        )
        self.agents = [] if terminated or truncated else self.agents
        self._show_if_human()
        rewards = {"player_0": reward, "player_1": 0.0 - reward}
        ends = dict.fromkeys(PLAYERS, terminated), dict.fromkeys(PLAYERS, truncated)
        return self._observations(), rewards, *ends, self._infos(float(moved.probabilities[0]))

    def state(self) -> NDArray[np.int64]:
        """[state, cycle], the cycle counted from 1.

        Raises:
            ResetNeeded: No episode has begun.
        """
        if self._cycle == 0:
            raise ResetNeeded("no episode has begun; call reset() first")
        return np.array([self._state, self._cycle])

    def render(self) -> Frame | None:
        """The state, the last actions, and the game q*(s, a, b) played there, as ``render_mode`` asks.

        Raises:
            ResetNeeded: No episode has begun.
        """
        if self._cycle == 0:
            raise ResetNeeded("no episode has begun; call reset() first")
        if self.render_mode is None:
            return None
        (scene,) = self._tape.scenes(np.array([self._state]))
        frame = self._renderer.draw("ansi" if self.render_mode == "human" else self.render_mode, scene)
        if self.render_mode != "human":
            return frame
        print(frame)
        return None

    def close(self) -> None:
        """Nothing to release."""

    @cached_property
    def _solution(self) -> Any:
        return solve(self._game)

    @cached_property
    def _renderer(self) -> GameRenderer:
        return GameRenderer(self._game, self.solution(), self._looks)

    def _show_if_human(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _start(self, state: object) -> int:
        """The state to begin in: drawn from rho, or the one asked for."""
        if state is None:
            return int(self._simulator.initial_states(1, self._rng)[0])
        start = _index("options['state']", state)
        if not 0 <= start < self._game.n_states:
            raise ModelError(f"options['state'] is {start}; states run from 0 to {self._game.n_states - 1}")
        return start

    def _joint(self, actions: ByPlayer) -> NDArray[np.int64]:
        """The players' actions (a, b), checked and coded."""
        if not self.agents:
            raise ResetNeeded("no episode is going on; call reset() first")
        for player in actions:
            if player not in PLAYERS:
                raise ModelError(f"actions has an entry for {player!r}; the players are {', '.join(PLAYERS)}")
        counts = action_counts(self._game, self._state)
        a, b = (_available(actions, player, count, self._state) for player, count in zip(PLAYERS, counts, strict=True))
        return np.array([a * self._shape[1] + b])

    def _advance(self, joint: NDArray[np.int64]) -> Transitions:
        """Sample the transition and go to its next state."""
        states = np.array([self._state])
        moved = self._simulator.sample(states, joint, self._rng)
        self._tape.record(states, joint, moved.rewards)
        self._state, self._cycle = int(moved.next_states[0]), self._cycle + 1
        return moved

    def _observations(self) -> ByPlayer:
        shown = self.observe(np.array([self._state]))
        return {player: batch[0].copy() for player, batch in shown.items()}  # a copy, not a view of the batch

    def _infos(self, prob: float) -> ByPlayer:
        infos: ByPlayer = {player: {"prob": prob} for player in PLAYERS}
        if self._is_ragged:
            for player, masks in action_masks(self._game, np.array([self._state])).items():
                infos[player]["action_mask"] = masks[0].copy()
        return infos


def _available(actions: ByPlayer, player: str, count: int, state: int) -> int:
    if player not in actions:
        raise ModelError(f"actions has no entry for {player}; pass an action for each of {', '.join(PLAYERS)}")
    action = _index(f"actions[{player!r}]", actions[player])
    if not 0 <= action < count:
        raise ModelError(f"actions[{player!r}] is {action}; in state {state} it must be 0 to {count - 1}")
    return action


def _index(name: str, value: object) -> int:
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise ModelError(f"{name} is {value!r}; pass an integer")
    return int(number)
