"""An environment seen exactly: its model, and what an agent observes in each of its states.

Exact planning and exact evaluation ask about every state at once. They need the model of the innermost
environment and, for wrapped environments, the observation each state shows through all wrappers: an
ObservationWrapper is a function of the observation, so it can be applied to any state's. Wrappers that only
watch, limit time or render change nothing of this. Wrappers that change actions, or that remember (frame
stacks, running normalisation), make another decision problem of the environment and are refused.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces, wrappers
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv

from ..envs.game_observations import joint_shape
from ..envs.games import PLAYERS, MarkovGameEnv
from ..envs.model_backed import ModelBacked
from ..models import (
    ConstrainedProblem,
    FiniteHorizonMDP,
    LargeActionMDP,
    LinearMarkovGame,
    LinearMDP,
    MarkovGame,
    ModelError,
    TabularMDP,
)
from ..models.gymnasium_tables import from_gymnasium
from .truth import GroundTruth

IntArray = NDArray[np.int64]
DecisionProcess = TabularMDP | FiniteHorizonMDP | LinearMDP

# They overwrite ``step`` or ``reset`` and change neither observations nor actions of an episode.
WATCHING = (
    GroundTruth,
    wrappers.Autoreset,
    wrappers.HumanRendering,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    wrappers.RecordVideo,
    wrappers.RenderCollection,
    wrappers.TimeLimit,
)


@dataclass(frozen=True, eq=False)
class ExactView:
    """What an environment is and shows.

    Attributes:
        model: The decision process.
        observation_space: Space of the observations, through all wrappers.
        observe: Observations of a batch of state codes (n,), batched as the observation space says: an array
            with one more leading axis, or a dictionary of such.
        solution: Exact solution of the model (kept by environments of this package).
    """

    model: DecisionProcess
    observation_space: spaces.Space[Any]
    observe: Callable[[IntArray], Any]
    solution: Callable[[], Any]


@dataclass(frozen=True, eq=False)
class LargeActionView:
    """What an environment with more actions than can be listed is and shows.

    Attributes:
        model: The large-action MDP.
        observation_space: Space of the observations, through all wrappers.
        observe: As in :class:`ExactView`.
    """

    model: LargeActionMDP
    observation_space: spaces.Space[Any]
    observe: Callable[[IntArray], Any]


@dataclass(frozen=True, eq=False)
class ConstrainedView:
    """What an environment of a constrained problem is and shows.

    Attributes:
        model: The constrained problem.
        observation_space: Space of the observations, through all wrappers.
        observe: As in :class:`ExactView`.
        solution: Its optimum, kept by the environment.
    """

    model: ConstrainedProblem
    observation_space: spaces.Space[Any]
    observe: Callable[[IntArray], Any]
    solution: Callable[[], Any]


class KnownProcess(ABC):
    """An environment that is not built on a model, but knows the decision process it amounts to."""

    @property
    @abstractmethod
    def model(self) -> TabularMDP:
        """The decision process."""

    @abstractmethod
    def solution(self) -> Any:
        """Its exact solution, cached."""

    @abstractmethod
    def observe(self, states: IntArray) -> NDArray[Any]:
        """What an agent sees in these states (n,)."""


def exact_view(env: Any, gamma: float | None = None) -> ExactView:
    """The exact view of a Gymnasium environment.

    Args:
        env: An environment of this package, or one with a transition table ``P`` (FrozenLake, Taxi,
            CliffWalking and their like), possibly wrapped. A large-action MDP whose actions are indices is seen
            written out.
        gamma: Discount in [0, 1]. None: the model's own; for Gymnasium's tables, which carry none, 0.99.

    Raises:
        ModelError: There is no model to see, it has a finite horizon and a discount is given, its actions are digits or
            too many to write out, it has a budget, which what asks for this view would ignore, or a wrapper makes
            another decision problem of it (named, with the remedy).
    """
    _require_single(env)
    layers = _observation_layers(env)
    base = env.unwrapped
    if isinstance(base, ModelBacked | KnownProcess):
        model, solution = _discounted(base, gamma)
        observe = base.observe
    else:
        model = from_gymnasium(base) if gamma is None else from_gymnasium(base, gamma)
        solution = _solver(model)
        observe = model.observations.__getitem__
    return ExactView(model, env.observation_space, _layered(layers, observe, env.observation_space), solution)


def large_action_view(env: Any) -> LargeActionView | None:
    """The view of an environment of a large-action MDP; None where the model is another, or not known.

    Raises:
        ModelError: It is no single Gymnasium environment, or a wrapper makes another decision problem of it.
    """
    _require_single(env)
    base = env.unwrapped
    if not isinstance(base, ModelBacked) or not isinstance(base.model, LargeActionMDP):
        return None
    observe = _layered(_observation_layers(env), base.observe, env.observation_space)
    return LargeActionView(base.model, env.observation_space, observe)


def constrained_view(env: Any) -> ConstrainedView | None:
    """The view of an environment of a constrained problem; None where the model is another, or not known.

    Raises:
        ModelError: It is no single Gymnasium environment, or a wrapper makes another decision problem of it.
    """
    _require_single(env)
    base = env.unwrapped
    if not isinstance(base, ModelBacked) or not isinstance(base.model, ConstrainedProblem):
        return None
    observe = _layered(_observation_layers(env), base.observe, env.observation_space)
    return ConstrainedView(base.model, env.observation_space, observe, base.solution)


def _require_single(env: Any) -> None:
    if not isinstance(env, gym.Env):
        raise ModelError(
            f"env is {type(env).__name__}; pass a single Gymnasium environment, such as gymnasium.make(...), not a "
            "vector environment or a game"
        )


@dataclass(frozen=True, eq=False)
class GameView:
    """What a game is and shows to one player.

    Attributes:
        model: The game.
        observation_space: Space of the player's observations.
        action_space: Space of the player's actions, Discrete.
        n_actions: Their number.
        observe: What the player sees in a batch of states (n,).
        solution: Exact solution of the game, kept by the environment.
    """

    model: MarkovGame | LinearMarkovGame
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    n_actions: int
    observe: Callable[[IntArray], NDArray[Any]]
    solution: Callable[[], Any]


def game_view(env: Any, side: str) -> GameView:
    """The exact view that one player has of a game of this package.

    Args:
        env: A PettingZoo environment of this package, parallel or AEC.
        side: ``"player_0"`` (maximises) or ``"player_1"`` (minimises).

    Raises:
        ModelError: It is no such environment, a wrapper changed what players see or do, or there is no such side.
    """
    base = cast("object", env.unwrapped if isinstance(env, ParallelEnv | AECEnv) else env)
    if not isinstance(base, MarkovGameEnv):
        raise ModelError(
            f"env is {type(env).__name__}; pass a Markov game with a known model, such as "
            'pettingzoo.make("parallel", "lookahead_rl/RandomMarkovGame-v0")'
        )
    if side not in PLAYERS:
        raise ModelError(f"side is {side!r}; pass {' or '.join(map(repr, PLAYERS))}")
    observed, acted = env.observation_space(side), env.action_space(side)
    if (observed, acted) != (base.observation_space(side), base.action_space(side)):
        raise ModelError(f"a wrapper of {base} changed what {side} sees or does; leave it out")
    n_actions = joint_shape(base.model)[PLAYERS.index(side)]
    return GameView(base.model, observed, acted, n_actions, lambda states: base.observe(states)[side], base.solution)


def _discounted(base: ModelBacked | KnownProcess, gamma: float | None) -> tuple[DecisionProcess, Callable[[], Any]]:
    """The model of one of our environments under another discount, if one is given, and its solution."""
    model = base.model
    if isinstance(model, ConstrainedProblem):
        raise ModelError(
            "the environment has a budget, which an agent of unconstrained problems would ignore; solve(env.unwrapped"
            ".model) is the optimum within it, and ModelEnv(env.unwrapped.model.mdp) the environment without it"
        )
    if isinstance(model, LargeActionMDP):
        table = _written_out(model)
        model, solution = table, _solver(table)
    else:
        solution = base.solution
    if not isinstance(model, TabularMDP):
        if gamma not in (None, 1.0):
            raise ModelError(f"gamma is {gamma}, but a finite horizon has no discount; leave it out")
        return model, solution
    if gamma is None or gamma == model.gamma:
        return model, solution
    other = replace(model, gamma=gamma)
    return other, _solver(other)


def _written_out(model: LargeActionMDP) -> FiniteHorizonMDP:
    if model.actions == "digits":
        raise ModelError(
            "the actions of this large-action MDP are digits, which no table lists; make the environment with "
            'actions="index" (few actions), or use what takes digits: env.unwrapped.solution(), audit(policy, env)'
        )
    return model.to_tabular()


def _solver(model: TabularMDP | FiniteHorizonMDP) -> Callable[[], Any]:
    from ..solvers import solve

    return lambda: solve(model)


def _observation_layers(env: gym.Env[Any, Any]) -> list[gym.ObservationWrapper[Any, Any, Any]]:
    """The wrappers that change observations, innermost first."""
    layers: list[gym.ObservationWrapper[Any, Any, Any]] = []
    while isinstance(env, gym.Wrapper):
        if _is_observation_function(env):
            layers.append(cast("gym.ObservationWrapper[Any, Any, Any]", env))
        elif not _leaves_the_problem(env):
            raise ModelError(
                f"the wrapper {type(env).__name__} changes actions or remembers the past, which makes another decision "
                "problem of the environment; leave it out (env.unwrapped is the environment itself)"
            )
        env = env.env
    return layers[::-1]


def _is_observation_function(wrapper: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether a wrapper maps observations and has no other part in the episode."""
    kind = type(wrapper)
    if isinstance(wrapper, wrappers.AddRenderObservation):
        return False  # shows the environment's present picture, whatever it is given
    if isinstance(wrapper, wrappers.NormalizeObservation) and wrapper.update_running_mean:
        return False  # every observation moves the mean of the next
    return kind.step is gym.ObservationWrapper.step and kind.reset is gym.ObservationWrapper.reset


def _leaves_the_problem(wrapper: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether a wrapper changes neither observations nor actions; rewards are the model's in any case."""
    kind = type(wrapper)
    steps = (gym.Wrapper.step, gym.RewardWrapper.step)
    if isinstance(wrapper, WATCHING) or (kind.step in steps and kind.reset is gym.Wrapper.reset):
        return True
    # stable-baselines3's Monitor, if that library is in use at all; it is not imported for the question.
    monitor = sys.modules.get("stable_baselines3.common.monitor")
    return monitor is not None and isinstance(wrapper, monitor.Monitor)


def _layered(
    layers: list[gym.ObservationWrapper[Any, Any, Any]], observe: Callable[[IntArray], Any], space: spaces.Space[Any]
) -> Callable[[IntArray], Any]:
    """Observations through wrappers, state by state."""
    if not layers:
        return observe

    def observe_through(states: IntArray) -> Any:
        seen = list(observe(states))
        for layer in layers:
            seen = [layer.observation(observation) for observation in seen]
        return concatenate(space, seen, create_empty_array(space, len(seen)))

    return observe_through
