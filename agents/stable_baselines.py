"""Agents of stable-baselines3 (Raffin et al., JMLR 22, 2021) under the contract of this package.

One class wraps any algorithm of stable-baselines3 or of a package built on it; ``agent.model`` is the algorithm
itself. Registering another algorithm is one call:

    register_agent("QRDQN", "lookahead_rl.agents.stable_baselines:StableBaselinesAgent",
                   kwargs={"algorithm": "sb3_contrib:QRDQN"})

What the wrapper adds to ``algorithm.learn`` and ``algorithm.predict``:

* the policy's law of actions (:func:`action_law`), for exact evaluation;
* files without pickle: the tensors of networks and optimisers as arrays, everything else as JSON. Replay
  buffers are written when asked for (``save(path, with_experience=True)``); without one, an off-policy algorithm fills
  a new one after loading;
* random states of its own. These algorithms draw from the global generators of numpy, torch and Python; the
  wrapper exchanges those for the agent's while it works, so that agents disturb neither each other nor their
  caller. On a GPU torch's device generator remains shared.

The policy is what the algorithm learnt: DQN's epsilon-greedy exploration belongs to its training, not to its
policy, so ``predict`` and ``action_law`` are greedy (``agent.model.predict`` explores).

``learn`` continues where it stopped. PPO, A2C and SAC take whole rollouts, so learning n steps twice equals
learning 2n steps once where n is a multiple of a rollout (PPO: ``n_steps`` times the number of environments).
Schedules (DQN's exploration, ``lin_`` rates) run over the steps known at each call, so there it does not, unless
``run_schedules_over`` says how many steps there will be in all.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import difflib
import importlib
import inspect
import random
import types
import typing
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Self, cast, final

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from ..models._checks import whole_number
from .base import (
    Agent,
    FloatArray,
    KeepsExperience,
    RecurrentState,
    Space,
    require_callback,
    require_seed,
    require_steps,
)
from .errors import AgentError
from .lookahead.policy import LookaheadPolicy
from .registry import agent_ids, agent_spec
from .stepping import step_bars
from .torch_memory import (
    activation,
    algorithm_memory,
    experience_memory,
    remember_algorithm,
    remember_experience,
    require_plain,
)

# stable-baselines3 shows a Discrete observation to its networks as a vector with one entry for each value.
MAX_ONE_HOT = 100_000


@final
class StableBaselinesAgent(Agent, KeepsExperience):
    """An algorithm of stable-baselines3.

    Args:
        env: A Gymnasium environment, or a VecEnv of stable-baselines3.
        algorithm: ``"module:Class"`` of the algorithm; one that is registered.
        seed: Seed of the algorithm, its networks, and the environment while it trains.
        policy: ``"MlpPolicy"`` and so on; None takes MultiInputPolicy for Dict observations, else MlpPolicy.
        hyperparameters: Arguments of the algorithm as plain data, such as ``{"n_steps": 512, "policy_kwargs":
            {"net_arch": [64, 64], "activation_fn": "ReLU"}}``. A rate ``"lin_3e-4"`` falls linearly to 0.
        device: torch device.

    Attributes:
        model: The algorithm, an instance of stable-baselines3's BaseAlgorithm.

    Raises:
        AgentError: The algorithm is not registered, a hyperparameter is unknown or not plain data, or the
            environment does not suit it.
    """

    def __init__(
        self,
        env: Any,
        *,
        algorithm: str,
        seed: int = 0,
        policy: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        algorithm_class = _algorithm_class(algorithm)
        _require_environment(env, algorithm_class)
        self._config: dict[str, Any] = {
            "algorithm": algorithm,
            "seed": require_seed(seed),
            "policy": policy or _default_policy(env.observation_space),
            "hyperparameters": copy.deepcopy(dict(hyperparameters or {})),
            "device": device,
        }
        # Algorithms write into the dictionaries they are given.
        arguments = _arguments(algorithm_class, copy.deepcopy(self._config["hyperparameters"]))
        self._randomness = _Randomness()
        with self._randomness.installed():
            self.model = _build(algorithm_class, self._config["policy"], env, arguments, seed, device)
        self.observation_space = cast("Space", self.model.observation_space)
        self.action_space = cast("Space", self.model.action_space)

    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Train for at least ``total_timesteps`` more environment steps (whole rollouts).

        ``callback`` is a function (agent, steps), or a callback of stable-baselines3, or a list of these.

        Raises:
            AgentError: The algorithm finds its hyperparameters unfit only now, or its networks are no longer finite.
        """
        total_timesteps = require_steps(total_timesteps)
        given = cast("list[Any]", callback) if isinstance(callback, list) else [callback]
        callbacks = [self._as_callback(one) for one in given if one is not None]
        if progress_bar:
            callbacks.append(_ProgressBar())
        with self._randomness.installed(), _told(self.model):
            self.model.learn(total_timesteps, CallbackList(callbacks), reset_num_timesteps=False)
        return self

    def predict(
        self,
        observation: Any,
        state: RecurrentState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], RecurrentState | None]:
        """Actions of the policy; a single Discrete action is a numpy scalar."""
        with self._randomness.installed():
            actions, state = self.model.policy.predict(observation, state, episode_start, deterministic)
        return actions[()], state

    def action_probabilities(self, observations: Any) -> FloatArray:
        """Law of the policy's actions (n, A), exact."""
        return action_law(self.model, observations)

    def config(self) -> dict[str, Any]:
        """Algorithm, policy, hyperparameters, seed and device."""
        return self._config

    def memory(self) -> dict[str, Any]:
        """Tensors of networks and optimisers, counters, and random states."""
        return algorithm_memory(self.model) | {
            "actions_rng": self.action_space.np_random.bit_generator.state,
            "randomness": self._randomness.memory(),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over tensors, counters and random states."""
        remember_algorithm(self.model, memory)
        self.action_space.np_random.bit_generator.state = memory["actions_rng"]
        self._randomness.remember(memory["randomness"])

    def experience_memory(self) -> dict[str, Any]:
        """The replay buffer's filled part or the rollouts kept, and the last episodes that logs show."""
        return experience_memory(self.model)

    def remember_experience(self, experience: Mapping[str, Any]) -> None:
        """Take over the experience of an equal algorithm with as many environments."""
        remember_experience(self.model, experience)

    def run_schedules_over(self, total_timesteps: int) -> None:
        """Let schedules run over so many steps from the beginning, whatever ``learn`` is asked for at a time.

        For training in parts: n parts are then as one. Not written to files.

        Args:
            total_timesteps: Steps of the whole training, at least 1.
        """
        total = whole_number("total_timesteps", total_timesteps, 1)
        update = type(self.model)._update_current_progress_remaining  # pyright: ignore[reportPrivateUsage]

        def update_over_all(steps: int, _: int) -> None:
            update(self.model, steps, total)

        vars(self.model)["_update_current_progress_remaining"] = update_over_all

    def _as_callback(self, callback: object) -> BaseCallback:
        if isinstance(callback, BaseCallback):
            return callback
        function = cast("Callable[[Agent, int], bool | None]", require_callback(callback))
        return _FunctionCallback(lambda steps: function(self, steps))


def action_law(model: BaseAlgorithm | BasePolicy, observations: Any) -> FloatArray:
    """The law of a policy's actions (n, A) on a batch of n observations, in one pass through its network.

    On-policy algorithms (PPO, A2C) and lookahead state their action probabilities; others choose one action (DQN:
    the greedy one), which has probability one.

    Raises:
        AgentError: The action space is not Discrete.
    """
    policy = model if isinstance(model, BasePolicy) else model.policy
    if not isinstance(policy.action_space, spaces.Discrete):
        raise AgentError(
            f"actions are in {policy.action_space}; only a policy over a Discrete space has a law that can be listed"
        )
    policy.set_training_mode(False)
    if isinstance(policy, ActorCriticPolicy | LookaheadPolicy):
        law = _stated_law(policy, observations)
        # Softmax in float32 misses one by about 1e-7.
        return law / law.sum(axis=1, keepdims=True)
    actions, _ = policy.predict(observations, deterministic=True)
    return np.eye(int(policy.action_space.n))[actions]


@torch.no_grad()
def _stated_law(policy: ActorCriticPolicy | LookaheadPolicy, observations: Any) -> FloatArray:
    tensor, _ = policy.obs_to_tensor(observations)
    if isinstance(policy, LookaheadPolicy):
        probabilities = policy.action_probabilities(tensor)
    else:
        probabilities = cast("torch.distributions.Categorical", policy.get_distribution(tensor).distribution).probs
    return probabilities.cpu().numpy().astype(np.float64)


@contextmanager
def _told(model: BaseAlgorithm) -> Generator[None]:
    """Tell as ours what an algorithm finds wrong only while it learns."""
    name = type(model).__name__
    try:
        yield
    except AssertionError as error:
        raise AgentError(f"{name} cannot learn with these hyperparameters: {error}") from error
    except ValueError as error:  # torch's laws refuse what is not finite
        if all(bool(torch.isfinite(tensor).all()) for tensor in model.policy.state_dict().values()):
            raise
        raise AgentError(
            f"{name} diverged: after {model.num_timesteps:,} steps its networks are not finite; choose a smaller "
            "learning_rate"
        ) from error


@final
class _Randomness:
    """States of the global generators (random, numpy, torch on the CPU) that belong to one agent."""

    def __init__(self) -> None:
        self._states = _global_states()

    @contextmanager
    def installed(self) -> Generator[None]:
        """Exchange the global states for the agent's, and back."""
        outside = _global_states()
        _set_global_states(self._states)
        try:
            yield
        finally:
            self._states = _global_states()
            _set_global_states(outside)

    def memory(self) -> dict[str, Any]:
        """The states as arrays and plain values."""
        (version, words, gauss), numpy_state, torch_state = self._states
        return {
            "python": [version, np.array(words, dtype=np.int64), gauss],
            "numpy": list(numpy_state),
            "torch": torch_state.numpy(),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over states written by :meth:`memory`."""
        version, words, gauss = memory["python"]
        python_state = (version, tuple(words.tolist()), gauss)
        self._states = (python_state, tuple(memory["numpy"]), torch.from_numpy(memory["torch"]))


def _global_states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - kept, never drawn from


def _set_global_states(states: tuple[Any, Any, torch.Tensor]) -> None:
    python_state, numpy_state, torch_state = states
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002 - put back, never drawn from
    torch.set_rng_state(torch_state)


@final
class _FunctionCallback(BaseCallback):
    """Calls a function with the number of environment steps taken so far."""

    def __init__(self, function: Callable[[int], bool | None]) -> None:
        super().__init__()
        self._function = function

    def _on_step(self) -> bool:
        return self._function(self.num_timesteps) is not False


@final
class _ProgressBar(BaseCallback):
    """Environment steps taken, on the terminal; stable-baselines3's own bar needs tqdm."""

    def _on_training_start(self) -> None:
        self._start = self.model.num_timesteps
        self._progress = step_bars()
        self._progress.start()
        total = self.locals["total_timesteps"] - self._start
        self._task = self._progress.add_task(type(self.model).__name__, total=total)

    def _on_step(self) -> bool:
        self._progress.update(self._task, completed=self.num_timesteps - self._start)
        return True

    def _on_training_end(self) -> None:
        self._progress.stop()


def _algorithm_class(algorithm: str) -> type[BaseAlgorithm]:
    """The class of a registered algorithm; others are not imported, since the name may come from a file."""
    registered = {str(agent_spec(name).kwargs.get("algorithm")) for name in agent_ids()}
    if algorithm not in registered:
        raise AgentError(f"the algorithm {algorithm!r} is not registered; pass it to register_agent in kwargs first")
    module_name, _, class_name = algorithm.partition(":")
    algorithm_class = vars(importlib.import_module(module_name)).get(class_name)
    if not (isinstance(algorithm_class, type) and issubclass(algorithm_class, BaseAlgorithm)):
        raise AgentError(f"{algorithm} is not an algorithm of stable-baselines3 (a subclass of its BaseAlgorithm)")
    return algorithm_class


def _require_environment(env: object, algorithm_class: type[BaseAlgorithm]) -> None:
    name = algorithm_class.__name__
    if not isinstance(env, gym.Env | VecEnv):
        raise AgentError(
            f"{name} plays one agent's side of a Gymnasium environment (or of a VecEnv of stable-baselines3), not "
            f"{type(env).__name__}; make one with gymnasium.make, or put lookahead_rl.agents.vec_env."
            "StableBaselinesVecEnv around what gymnasium.make_vec returns"
        )
    space = cast("Space", env.observation_space)
    if isinstance(space, spaces.Discrete) and int(space.n) > MAX_ONE_HOT:
        raise AgentError(
            f"{name} would see {space} as vectors of {int(space.n):,} entries, more than {MAX_ONE_HOT:,}; make the "
            'environment with observation="features", or wrap its observations'
        )


def _default_policy(observation_space: Space) -> str:
    return "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"


def _build(
    algorithm_class: type[BaseAlgorithm], policy: str, env: Any, arguments: dict[str, Any], seed: int, device: str
) -> BaseAlgorithm:
    """Construct an algorithm, its refusal of an environment told as ours."""
    try:
        return algorithm_class(policy, env, seed=seed, device=device, **arguments)
    except (AssertionError, MemoryError, NotImplementedError, TypeError, ValueError) as error:
        raise AgentError(
            f"{algorithm_class.__name__} refuses observations in {env.observation_space}, actions in "
            f"{env.action_space}, or its hyperparameters: {error}"
        ) from error


def _arguments(algorithm_class: type[BaseAlgorithm], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters as the algorithm takes them, from plain data."""
    own = {"self", "policy", "env", "seed", "device", "_init_setup_model"}
    taken = inspect.signature(algorithm_class.__init__).parameters
    known = sorted(set(taken) - own)
    for name, value in hyperparameters.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3) or known
            raise AgentError(f"{algorithm_class.__name__} has no hyperparameter {name!r}; near are: {', '.join(near)}")
        require_plain(f"hyperparameters[{name!r}]", value)
        _require_type(name, _argument(name, value), taken[name].annotation)
    return {name: _argument(name, value) for name, value in hyperparameters.items()}


def _argument(name: str, value: Any) -> Any:
    if isinstance(value, str) and value.startswith("lin_"):
        try:
            return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
        except ValueError as error:
            raise AgentError(
                f"hyperparameters[{name!r}] is {value!r}; write 'lin_' and a number: 'lin_3e-4'"
            ) from error
    if name == "train_freq" and isinstance(value, list):
        return tuple(cast("list[Any]", value))
    if name == "policy_kwargs":
        named = cast("dict[str, Any]", value)
        return {key: activation(item) if key == "activation_fn" else item for key, item in named.items()}
    return value


def _require_type(name: str, value: Any, annotation: Any) -> None:
    """Refuse a number, text or truth value where the algorithm says that it takes none."""
    kinds = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    fitting = {bool: (bool,), int: (int, float), float: (float,), str: (str,)}.get(type(value))
    if fitting is None or not all(isinstance(kind, type | types.GenericAlias) or _is_callable(kind) for kind in kinds):
        return
    if not any(kind in fitting for kind in kinds):
        wanted = [kind.__name__ for kind in kinds if kind in (bool, int, float, str)]
        raise AgentError(
            f"hyperparameters[{name!r}] is {value!r}, of type {type(value).__name__}; pass "
            f"{' or '.join(wanted) or str(annotation)}"
        )


def _is_callable(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Callable
