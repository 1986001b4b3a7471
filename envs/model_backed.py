"""What every environment of a decision process has: its model, its simulator, its exact solution, its lanes.

The model, the simulator and the solution are attributes of ``env.unwrapped``, in scalar and vector environments alike;
nothing of them enters observations or infos. A scalar environment is one lane.

An environment of a constrained problem plays its process. What a step costs is in ``info["cost"]`` (the convention of
Safety-Gymnasium: Ji et al., NeurIPS 2023), 0 on resetting, so that an episode's costs add up to what the budget is
about. Rendering shows the values of the process at the best price of cost.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from gymnasium import logger
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from ..models import (
    ConstrainedProblem,
    FiniteHorizonMDP,
    GenerativeModel,
    LargeActionMDP,
    LinearMarkovGame,
    MarkovGame,
    ModelError,
    Transitions,
)
from ..models.constrained import process_of
from ..models.gymnasium_tables import GymnasiumTable, Table, table_of
from ..models.linear import LinearMDP
from .actions import actions_of
from .game_looks import Looks
from .game_observations import game_observer
from .game_rendering import GameRenderer
from .observations import Observer, observer_of
from .rendering import Frame, Renderer, Tape
from .simulators import Model, simulator_of, state_codes

RENDER_MODES = ("ansi", "rgb_array")
SAME_INSTANCE = {"observation", "render_mode", "max_episode_steps", "autoreset_mode", "num_envs", "vectorization_mode"}
"""Arguments of an environment that leave its model as it is."""

ModelT = TypeVar("ModelT", bound=Model | ConstrainedProblem)


class ModelBacked(ABC, Generic[ModelT]):
    """The base of the environments of a decision process.

    Args:
        model: The decision process.
        observation: What agents see, as :mod:`~lookahead_rl.envs.observations` says.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.
        n_lanes: Number of episodes played side by side.
        looks: What the states of a game look like in a drawing; None: their numbers.
    """

    render_mode: str | None

    def __init__(
        self, model: ModelT, observation: str, render_mode: str | None, n_lanes: int, looks: Looks | None = None
    ) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise ModelError(f'render_mode is {render_mode!r}; pass None, "ansi" or "rgb_array"')
        self._model, self._process = model, process_of(model)
        self._simulator = simulator_of(self._process)
        self._observer = _observer_of(self._process, observation)
        self._actions = actions_of(self._process, self._simulator)
        self._codes: NDArray[np.int64] | None = None
        self._tape = None if render_mode is None else Tape(n_lanes)
        self.render_mode, self._looks = render_mode, looks
        self._spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's record of how the environment was made.

        The registered reward_threshold is the optimum of the default instance; other instances have none.
        """
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and not spec.kwargs.keys() <= SAME_INSTANCE:
            spec = replace(spec, reward_threshold=None)
        self._spec = spec

    @property
    def model(self) -> ModelT:
        """The frozen model."""
        return self._model

    @property
    def simulator(self) -> GenerativeModel:
        """The model's generative model: batched ``sample(states, actions, rng)``, which the environment itself uses."""
        return self._simulator

    def solution(self) -> Any:
        """The exact solution of the model with its certificate (:class:`~lookahead_rl.solvers.Solution`), cached."""
        return self._solution

    def observe(self, states: ArrayLike) -> NDArray[Any]:
        """What an agent sees in these states.

        Args:
            states: (n,) codes.

        Returns:
            A fresh array, int64 (n,) or float32 (n, d), of points of the observation space.

        Raises:
            ModelError: A code is out of range.
        """
        return self._observer.observe(self._valid(states))

    @property
    def P(self) -> Table:
        """The law as Gymnasium's toy-text environments show it: P[s][a] = [(probability, s', reward, terminated)]."""
        return self._table.P

    @property
    def initial_state_distrib(self) -> NDArray[np.float64]:
        """Distribution of the first observation, beside :attr:`P`."""
        return self._table.initial_state_distrib

    @cached_property
    def _solution(self) -> Any:
        from ..solvers import solve

        return solve(self._model)

    @cached_property
    def _table(self) -> GymnasiumTable:
        model: Model = self._process
        if isinstance(model, LinearMDP | LinearMarkovGame | LargeActionMDP):
            model = model.to_tabular()
        if isinstance(model, MarkovGame):
            raise ModelError("a game has no table P[s][a]; see model.outcomes()")
        return table_of(model.to_tabular() if isinstance(model, FiniteHorizonMDP) else model)

    @cached_property
    def _renderer(self) -> Renderer | GameRenderer:
        if isinstance(self._model, MarkovGame | LinearMarkovGame):
            return GameRenderer(self._model, self.solution(), self._looks)
        if isinstance(self._model, ConstrainedProblem):
            from ..solvers import solve

            priced = self._model.weighted(1.0, -self.solution().multiplier)
            return Renderer(priced, solve(priced))
        return Renderer(self._process, self.solution())

    @property
    def _current(self) -> NDArray[np.int64]:
        """The lanes' codes; not to be changed in place, and not to be handed out."""
        if self._codes is None:
            raise ResetNeeded("no episode has begun; call reset() first")
        return self._codes

    def _valid(self, states: ArrayLike) -> NDArray[np.int64]:
        return state_codes(states, self._simulator.n_states)

    def _starts(self, n: int, state: ArrayLike | None, rng: np.random.Generator) -> NDArray[np.int64]:
        """n codes to begin in: drawn from rho, or those asked for by ``options["state"]``."""
        if state is None:
            return self._simulator.initial_states(n, rng)
        starts = self._valid(np.full(n, state) if np.ndim(state) == 0 else state)
        if starts.size != n:
            raise ModelError(f'options["state"] has {starts.size} codes; pass one, or one for each of {n} lanes')
        return starts

    def _begin(self, codes: NDArray[np.int64], fresh: NDArray[np.bool_]) -> None:
        """Make these the lanes' codes; the lanes marked fresh begin an episode."""
        self._codes = codes
        if self._tape is not None:
            self._tape.begin(fresh)

    def _advance(self, actions: NDArray[np.int64], rng: np.random.Generator) -> Transitions:
        """Sample one transition of every lane and make its next codes the lanes' codes."""
        moved = self._simulator.sample(self._current, actions, rng)
        if self._tape is not None:
            self._tape.record(self._current, actions, moved.rewards)
        self._codes = moved.next_states
        return moved

    def _costs(self, codes: NDArray[np.int64], actions: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What legal actions (n,) in states (n,) cost; None where the model knows no costs."""
        return self._model.costs(codes, actions) if isinstance(self._model, ConstrainedProblem) else None

    def _frames(self) -> tuple[Frame, ...] | None:
        """One frame for each lane, or None (with a warning) without a render mode."""
        if self._tape is None or self.render_mode is None:
            logger.warn('render() without a render mode; make the environment with render_mode="ansi" or "rgb_array"')
            return None
        return tuple(self._renderer.draw(self.render_mode, scene) for scene in self._tape.scenes(self._current))


def _observer_of(model: Model, kind: str) -> Observer:
    return game_observer(model, kind) if isinstance(model, MarkovGame | LinearMarkovGame) else observer_of(model, kind)


def known_options(options: Mapping[str, Any] | None, *names: str) -> Mapping[str, Any]:
    """The options of ``reset``, none of them unknown.

    Raises:
        ModelError: Naming the option that is not one of ``names``; or options are no mapping.
    """
    if not isinstance(options, Mapping | None):
        raise ModelError(f"options is {options!r}; pass a dictionary, or None")
    for name in options or {}:
        if name not in names:
            raise ModelError(f"options has {name!r}; reset knows {', '.join(map(repr, names))}")
    return options or {}
