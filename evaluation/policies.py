"""Policies as tables: what a policy does in given states, as exact action probabilities.

Anything that acts can be asked: an agent or any object with ``action_probabilities``, an algorithm or policy of
stable-baselines3, an object that only has ``predict``, or an array. Policies are asked about all states in a few
batched passes; none is sampled. Laws in float16 or float32 are normalised within the rounding of their type.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..agents import Agent
from ..envs.observations import Playable
from ..models import ConstrainedProblem, ModelError, TabularMDP
from ..models._checks import plain_array
from ..solvers.games.operators import double_precision
from ..wrappers.opponents import Predicts, StatesItsLaw, actions_table, prediction, require_instance, require_law

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Space = spaces.Space[Any]

# States are observed in blocks of about this many numbers (as networks see them: one for each value of a Discrete).
BLOCK_ENTRIES = 2**22


def action_table(
    policy: object,
    observe: Callable[[IntArray], Any],
    space: Space,
    states: IntArray,
    n_actions: int,
) -> FloatArray:
    """The action probabilities (n, A) of a policy in states (n,).

    Args:
        policy: An object that acts, see the module. One that only has ``predict`` is taken by its deterministic
            predictions.
        observe: What a batch of states shows.
        space: Space of one observation.
        states: Codes (n,), at least one.
        n_actions: Number of actions A.

    Raises:
        ModelError: The policy observes another space, keeps a memory, gives no laws or actions of the right shape, or
            is no policy at all.
    """
    ask = _asker(policy, space, n_actions)
    n_blocks = 1 + states.size * spaces.flatdim(space) // BLOCK_ENTRIES
    blocks = np.array_split(states, min(n_blocks, states.size))
    return np.concatenate([_checked_law(ask(observe(block)), (block.size, n_actions)) for block in blocks])


def array_table(policy: NDArray[Any], model: Playable | ConstrainedProblem, states: IntArray) -> FloatArray:
    """The action probabilities (n, A) that an array gives states (n,).

    Args:
        policy: Actions (S,) or action probabilities (S, A), S counting observed states; with a finite horizon also
            one of these for each stage.
        model: The model.
        states: Codes (n,).

    Raises:
        ModelError: Naming the shape or entry at fault.
    """
    law = policy if policy.dtype.kind == "f" else actions_table("policy", policy, model.n_actions)
    if isinstance(model, TabularMDP):
        shape, staged, index = (model.n_observations, model.n_actions), (), (model.observations[states],)
    else:
        shape, staged, index = (model.n_states, model.n_actions), (model.horizon,), np.divmod(states, model.n_states)
    if law.shape == shape:
        return _checked_law(double_precision("policy", law[index[-1]]), (states.size, model.n_actions))
    if staged and law.shape == (*staged, *shape):
        return _checked_law(double_precision("policy", law[index]), (states.size, model.n_actions))
    options = [shape[:1], shape] + ([(*staged, *shape[:1]), (*staged, *shape)] if staged else [])
    raise ModelError(
        f"policy has dtype {policy.dtype} and shape {policy.shape}; expected integer actions or float action "
        f"probabilities of one of the shapes {', '.join(map(str, options))}"
    )


@dataclass(frozen=True, eq=False)
class Predictor:
    """A policy of which only the actions are asked.

    Attributes:
        predict: Its ``predict``, or that of the policy within an algorithm.
        seen: What it is shown of a batch of observations.
        samples: Whether it has a law to sample from; one that only has ``predict`` is taken by its deterministic
            predictions.
        name: What to call it in messages.
    """

    predict: Callable[..., object]
    seen: Callable[[Any], Any]
    samples: bool
    name: str

    def __call__(self, observations: Any, deterministic: bool) -> Any:
        """Its actions (n, ...) on a batch of n observations.

        Raises:
            ModelError: It keeps a memory, or predicts no actions.
        """
        answer = self.predict(self.seen(observations), deterministic=deterministic)
        actions, state = prediction(self.name, answer)
        if state is not None:
            raise ModelError(
                f"{self.name} keeps a memory (predict returned a state), so what it does is no function of the "
                "observation and its value cannot be computed by enumeration; estimate it by simulation"
            )
        return actions


def predictor(policy: object, space: Space) -> Predictor:
    """How to ask a policy for actions.

    Args:
        policy: An agent, an algorithm or policy of stable-baselines3, or an object with ``predict``.
        space: Space of one observation.

    Raises:
        ModelError: It observes another space, or is no policy at all.
    """
    require_instance("policy", policy)
    found, name = _stable_baselines_model(policy, space), f"policy {type(policy).__name__}"
    if isinstance(policy, Agent):
        _require_space(policy.observation_space, space)
        return Predictor(policy.predict, _unchanged if found is None else found[1], True, name)
    if found is not None:
        return Predictor(found[0].predict, found[1], True, name)
    if not isinstance(policy, Predicts):
        raise ModelError(
            f"{name} has no predict(observations); pass an agent, a model of stable-baselines3, or an array"
        )
    return Predictor(policy.predict, _unchanged, isinstance(policy, StatesItsLaw), name)


def _unchanged(observations: Any) -> Any:
    return observations


def _checked_law(law: FloatArray, shape: tuple[int, int]) -> FloatArray:
    if law.shape != shape:
        raise ModelError(f"policy gives action probabilities of shape {law.shape}; expected (n, A) = {shape}")
    require_law("policy", law)
    return law


def _asker(policy: object, space: Space, n_actions: int) -> Callable[[Any], FloatArray]:
    """The map from batches of observations to action probabilities."""
    require_instance("policy", policy)
    stable_baselines = stable_baselines_law(policy, space)
    if stable_baselines is not None:
        return stable_baselines
    if isinstance(policy, Agent):
        _require_space(policy.observation_space, space)
    if isinstance(policy, StatesItsLaw):
        return lambda observations: _stated(policy, observations)
    if isinstance(policy, Predicts):
        ask = predictor(policy, space)
        return lambda observations: _predicted(ask, observations, n_actions)
    raise ModelError(
        f"policy is {type(policy).__name__}; pass an agent, a model of stable-baselines3, an object with "
        "action_probabilities(observations) or predict(observations), or an array of actions or action probabilities"
    )


def stable_baselines_law(policy: object, space: Space) -> Callable[[Any], FloatArray] | None:
    """The law (n, A) of a stable-baselines3 model as a function of n observations, or None for other policies.

    Args:
        policy: Anything.
        space: Space of one observation.

    Raises:
        ModelError: It is such a model, and observes another space.
    """
    found = _stable_baselines_model(policy, space)
    if found is None:
        return None
    from ..agents.stable_baselines import action_law

    acts, seen = found
    return lambda observations: action_law(acts, seen(observations))


def _stable_baselines_model(policy: object, space: Space) -> tuple[Any, Callable[[Any], Any]] | None:
    """A policy of stable-baselines3 and what it is shown of observations; None for other policies.

    An algorithm's own ``predict`` may explore (DQN's does); its policy's does not.
    """
    if "stable_baselines3" not in sys.modules:
        return None  # then the policy is none of its models, and importing it (and torch) would be for nothing
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

    from ..agents.stable_baselines import StableBaselinesAgent

    model = policy.model if isinstance(policy, StableBaselinesAgent) else policy
    if not isinstance(model, BaseAlgorithm | BasePolicy):
        return None
    _require_space(cast("Space", model.observation_space), space)
    normalizer = model.get_vec_normalize_env() if isinstance(model, BaseAlgorithm) else None
    # Trained behind VecNormalize, the networks expect normalised observations.
    seen = _unchanged if normalizer is None else normalizer.normalize_obs
    return model.policy if isinstance(model, BaseAlgorithm) else model, seen


def _require_space(expected: Space, shown: Space) -> None:
    # stable-baselines3 moves the channels of images to the front, and back when it predicts.
    is_image = isinstance(shown, spaces.Box) and len(shown.shape) == 3
    if expected != shown and not is_image:
        raise ModelError(
            f"policy observes {expected}, but the environment shows {shown}; pass the environment with the "
            "observations (and the wrappers) the policy was made for"
        )


def _stated(policy: StatesItsLaw, observations: Any) -> FloatArray:
    return double_precision("policy", plain_array("policy", policy.action_probabilities(observations)))


def _predicted(ask: Predictor, observations: Any, n_actions: int) -> FloatArray:
    """One-hot laws (n, A) of deterministic predictions."""
    name = "policy.predict(...)"
    return actions_table(name, plain_array(name, ask(observations, True)), n_actions)
