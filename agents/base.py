"""The contract of every agent.

An agent is made for an environment, learns, predicts actions, and can be written to a file and read back:

    agent = make_agent("PPO", env, seed=0).learn(10_000)
    actions, _ = agent.predict(observations)

The surface is stable-baselines3's (Raffin et al., JMLR 22, 2021), so that its callbacks, its evaluation
helpers and its users' code take any agent of ours, and ours any of its. Beyond it an agent states the *law* of
its actions, :meth:`Agent.action_probabilities`: what exact evaluation needs instead of samples.

Three promises hold for every agent and are tested for every registered one:

* equal seeds and equal calls give equal results, whatever else the process does, and an agent leaves the
  global random states (numpy, torch, random) as it found them;
* ``predict`` draws from ``action_probabilities``; with ``deterministic=True`` it takes the first most likely action;
* ``load(path, env)`` after ``save(path)`` gives an agent that predicts the same actions, samples included, and
  can go on learning. Reading a file never runs code from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, cast, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..models._checks import whole_number
from .errors import AgentError
from .storage import read_archive, write_archive

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Space = spaces.Space[Any]
RecurrentState = tuple[NDArray[Any], ...]
Callback = Callable[["Agent", int], bool | None]


class KeepsExperience(ABC):
    """What learns from the same experience many times, and keeps it apart from what it has learnt."""

    @abstractmethod
    def experience_memory(self) -> dict[str, Any]:
        """The experience: nested dictionaries of numpy arrays and plain JSON values."""

    @abstractmethod
    def remember_experience(self, experience: Mapping[str, Any]) -> None:
        """Take over what :meth:`experience_memory` of one with equal hyperparameters returned.

        Raises:
            AgentError: It has other sizes.
        """


class Agent(ABC):
    """What every agent offers. Subclasses are abstract or final; a final one is registered by name.

    Attributes:
        observation_space: Space of one observation.
        action_space: Space of one action.
    """

    observation_space: Space
    action_space: Space

    @abstractmethod
    def __init__(self, env: Any, *, seed: int = 0) -> None:
        """Every agent is made from an environment and keyword arguments, ``seed`` among them."""

    @abstractmethod
    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Learn from ``total_timesteps`` more environment steps.

        Learning 10,000 steps twice is learning 20,000 steps once, except where the agent's documentation says
        otherwise. An agent that plans on a known model takes no steps and plans once.

        Args:
            total_timesteps: Environment steps to take, at least 0.
            callback: ``callback(agent, steps)``, called with the environment steps taken so far, after each step
                (once, with 0, where none are taken); returning False stops the learning. Agents of
                stable-baselines3 also take its callbacks.
            progress_bar: Show progress on the terminal, where there is any to show.

        Raises:
            ModelError: ``total_timesteps`` is not a whole number >= 0.
            AgentError: ``callback`` cannot be called.
        """

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: RecurrentState | None = None,
        episode_start: BoolArray | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], RecurrentState | None]:
        """Actions for one observation, or for a batch (told apart by the observation space).

        Args:
            observation: One observation, or a batch with one more leading axis.
            state: Memory of a recurrent policy; returned as it came by agents without memory.
            episode_start: (n,) where episodes start; ignored by agents without memory.
            deterministic: Take the first most likely action instead of sampling.

        Returns:
            The action (or a batch of them) and the next state.

        Raises:
            AgentError: The observation has neither shape, or the agent has to learn first.
        """

    @abstractmethod
    def action_probabilities(self, observations: Any) -> FloatArray:
        """Law of the action ``predict`` samples: (n, A) for a batch of n observations.

        Raises:
            AgentError: The action space is not Discrete, or the agent has to learn first.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Keyword arguments that, with the environment, make this agent anew; plain JSON values."""

    @abstractmethod
    def memory(self) -> dict[str, Any]:
        """All that was learnt: nested dictionaries of numpy arrays and plain JSON values."""

    @abstractmethod
    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over what :meth:`memory` of an agent of equal :meth:`config` returned."""

    @final
    def save(self, path: str | Path, *, with_experience: bool = False) -> None:
        """Write the agent to ``path``: arrays and JSON, replacing an earlier file in one step.

        Args:
            path: File to write.
            with_experience: Also write what the agent learns from again and again, such as a replay buffer, if it
                keeps anything of the kind (:class:`KeepsExperience`): large, and needed only to go on learning exactly
                as if nothing had happened.

        Raises:
            AgentError: Something that it learnt or keeps is nothing that a file can hold.
        """
        content = {
            "agent": entry_point_of(type(self)),
            "observation_space": repr(self.observation_space),
            "action_space": repr(self.action_space),
            "config": self.config(),
            "memory": self.memory(),
        }
        if with_experience and isinstance(self, KeepsExperience):
            content["experience"] = self.experience_memory()
        write_archive(Path(path), content)

    @final
    @classmethod
    def load(cls, path: str | Path, env: Any) -> Self:
        """Read an agent of this class from ``path``, to act and learn in ``env``.

        Raises:
            AgentError: The file is damaged, holds another kind of agent, or was written for other spaces.
            FileNotFoundError: There is no such file.
        """
        content = read_archive(Path(path))
        expected = entry_point_of(cls)
        if content.get("agent") != expected:
            raise AgentError(f"{path} holds an agent of {content.get('agent')!r}, not of {expected!r}")
        try:
            agent = cls(env, **content["config"])
            _require_spaces(str(path), content, agent)
            agent.remember(content["memory"])
            if isinstance(agent, KeepsExperience) and "experience" in content:
                agent.remember_experience(content["experience"])
        except AgentError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
            raise AgentError(f"{path} does not hold all of its agent, or holds it wrongly: {error!r}") from error
        return agent


class DiscreteAgent(Agent):
    """An agent with a Discrete action space and without memory: its law of actions says all.

    Subclasses implement ``action_probabilities``; ``predict`` samples from it with the agent's own generator.
    """

    def __init__(self, observation_space: Space, action_space: Space, seed: int) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.rng = np.random.default_rng(require_seed(seed))

    @final
    def predict(
        self,
        observation: Any,
        state: RecurrentState | None = None,
        episode_start: BoolArray | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], RecurrentState | None]:
        """Sample from ``action_probabilities``, or take its first most likely action."""
        n = batch_size(observation, self.observation_space)
        law = self.action_probabilities(as_batch(observation, self.observation_space))
        actions = law.argmax(axis=1) if deterministic else sample_rows(law, self.rng)
        return (actions[0] if n is None else actions), state


def entry_point_of(cls: type[Agent]) -> str:
    """``"package.module:Class"``, as the registry writes it."""
    return f"{cls.__module__}:{cls.__qualname__}"


def batch_size(observation: Any, space: Space) -> int | None:
    """Number of observations in a batch, or None for a single one.

    Raises:
        AgentError: The shape is neither that of one observation nor that of a batch.
    """
    if isinstance(space, spaces.Dict):
        key = next(iter(cast("Mapping[str, Space]", space)))
        return batch_size(observation[key], space[key])
    if space.shape is None:
        raise AgentError(f"observations in {space} have no shape; flatten them (gymnasium.wrappers.FlattenObservation)")
    shape = np.shape(observation)
    if shape == space.shape:
        return None
    if shape[1:] == space.shape and len(shape) == len(space.shape) + 1:
        return shape[0]
    raise AgentError(f"observation has shape {shape}; expected {space.shape}, or {('n', *space.shape)} for a batch")


def as_batch(observation: Any, space: Space) -> Any:
    """The observation itself if it is a batch, else a batch of one."""
    if batch_size(observation, space) is not None:
        return observation
    if isinstance(space, spaces.Dict):
        return {key: np.asarray(observation[key])[None] for key in space}
    return np.asarray(observation)[None]


def checked_batch(observations: Any, space: Space) -> NDArray[Any]:
    """A batch of observations in the type of its space, nothing being rounded.

    Raises:
        AgentError: It is no batch, or not of that kind of numbers.
    """
    array = np.asarray(observations)
    if batch_size(array, space) is None:
        raise AgentError(f"observations has the shape {array.shape} of a single one; pass a batch")
    dtype = np.dtype(cast("Any", space.dtype))
    whole = array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool((array == np.round(array)).all()))
    if not whole and not (array.dtype.kind == dtype.kind == "f"):
        raise AgentError(f"observations has dtype {array.dtype}; pass {dtype}, as {space} says")
    return array.astype(dtype)


def sample_rows(law: FloatArray, rng: np.random.Generator) -> IntArray:
    """One draw from each row of ``law`` (n, A), by inversion: (n,)."""
    cumulative = law.cumsum(axis=1)
    # Scaling by the row's own sum keeps rounding in the last digit from selecting an action of probability zero.
    thresholds = rng.random(len(law)) * cumulative[:, -1]
    return (cumulative <= thresholds[:, None]).sum(axis=1)


def require_seed(seed: object) -> int:
    """``seed`` as an int >= 0; None would hide what was drawn."""
    return whole_number("seed", seed, 0)


def require_steps(total_timesteps: object) -> int:
    """``total_timesteps`` as an int >= 0."""
    return whole_number("total_timesteps", total_timesteps, 0)


def require_callback(callback: Any) -> Callback | None:
    """``callback`` if it can be called with (agent, steps), or None."""
    if callback is not None and not callable(callback):
        raise AgentError(
            f"callback is {type(callback).__name__}, which cannot be called; this agent takes a function "
            "callback(agent, steps) -> bool (stable-baselines3's callbacks work with its own algorithms)"
        )
    return cast("Callback | None", callback)


def require_called_back(agent: Agent, was_called: bool) -> None:
    """Raise where an agent has learnt without calling the callback that it was given, as :meth:`Agent.learn` promises.

    Raises:
        AgentError: It has.
    """
    if not was_called:
        raise AgentError(
            f"{type(agent).__name__}.learn never called its callback, so nobody can tell what it has learnt when; call "
            "callback(agent, steps) after each environment step, or once with 0 where none are taken (SteppingAgent "
            "does it for you)"
        )


def _require_spaces(path: str, content: Mapping[str, Any], agent: Agent) -> None:
    for name, space in (("observation_space", agent.observation_space), ("action_space", agent.action_space)):
        if content.get(name) != repr(space):
            raise AgentError(f"{path} was written for {name} {content.get(name)}, but the environment has {space!r}")
