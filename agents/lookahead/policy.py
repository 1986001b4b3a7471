"""The networks of the agent under stable-baselines3's policy interface.

Actor, advantages and value each have features of their own: three losses pull in three directions, and for vectors the
features are the observation itself.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any, ClassVar, Never, cast, final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from ..base import Space
from ..errors import AgentError
from .actors import DigitActor, GaussianActor, make_actor
from .critics import AdvantageEnsemble, ValueFunction

NetArch = list[int] | dict[str, list[int]]


class LookaheadPolicy(BasePolicy):
    """Actor, advantage ensemble and value function with their optimisers; subclasses say how observations are read.

    Args:
        observation_space: Any that stable-baselines3's features extractors take.
        action_space: Discrete, MultiDiscrete, MultiBinary or Box.
        lr_schedule: Learning rate of the three optimisers.
        net_arch: Hidden layers of all networks, or of each: ``{"pi": ..., "vf": ..., "af": ...}``.
        activation_fn: Between the hidden layers of actor and value.
        n_critics: Size of the advantage ensemble.
        initial_value: What V begins as, up to small weights: above what can be had, unseen states attract.
        features_extractor_class, features_extractor_kwargs, normalize_images: As in stable-baselines3.
        optimizer_class, optimizer_kwargs: As in stable-baselines3; by default Adam in its fused form.
    """

    extractor: ClassVar[type[BaseFeaturesExtractor]]
    actor: DigitActor | GaussianActor

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        lr_schedule: Schedule,
        net_arch: NetArch | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        n_critics: int = 2,
        initial_value: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if optimizer_kwargs is None:
            optimizer_kwargs = {"fused": True} if optimizer_class is torch.optim.Adam else {}
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or self.extractor,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            normalize_images=normalize_images,
        )
        arch = _layers(net_arch)
        self.actor_features = self.make_features_extractor()
        self.value_features = self.make_features_extractor()
        self.advantage_features = self.make_features_extractor()
        n = self.actor_features.features_dim
        self.actor = make_actor(n, action_space, arch["pi"], activation_fn)
        self.value = ValueFunction(n, arch["vf"], activation_fn, initial_value)
        self.advantage = AdvantageEnsemble(n, action_space, n_critics, arch["af"])
        rate = lr_schedule(1)
        self.actor_optimizer = self._optimizer(rate, self.actor_features, self.actor)
        self.value_optimizer = self._optimizer(rate, self.value_features, self.value)
        self.advantage_optimizer = self._optimizer(rate, self.advantage_features, self.advantage)

    def features_for_actor(self, observations: PyTorchObs) -> Tensor:
        """Features (B, n) the actor sees."""
        return self.extract_features(observations, self.actor_features)

    def features_for_advantage(self, observations: PyTorchObs) -> Tensor:
        """Features (B, n) the advantages see."""
        return self.extract_features(observations, self.advantage_features)

    def values(self, observations: PyTorchObs) -> Tensor:
        """V (B,)."""
        return self.value(self.extract_features(observations, self.value_features))

    def value_loss(self, observations: PyTorchObs, returns: Tensor) -> Tensor:
        """Mean squared error of V against ``returns`` (B,), in their standard deviations."""
        return self.value.loss(self.extract_features(observations, self.value_features), returns)

    def advantages(self, observations: PyTorchObs, codes: Tensor) -> Tensor:
        """Advantages (n_critics, B, m) of ``codes`` (B, m, width)."""
        scale = cast("Tensor", self.advantage.scale)
        return scale * self.advantage(self.features_for_advantage(observations)[None], codes[None])

    def action_probabilities(self, observations: PyTorchObs) -> Tensor:
        """The law of a Discrete action (B, n).

        Raises:
            AgentError: The action space is not Discrete.
        """
        if not (isinstance(self.action_space, spaces.Discrete) and isinstance(self.actor, DigitActor)):
            raise AgentError(f"actions are in {self.action_space}; only a Discrete law can be listed")
        return self.actor.log_law(self.features_for_actor(observations)).exp()

    @torch.no_grad()
    def act(self, observations: PyTorchObs, deterministic: bool, masks: Tensor | None) -> NDArray[Any]:
        """A batch of actions: the mode, or draws from the policy."""
        features = self.features_for_actor(observations)
        if deterministic:
            return self.actor.decode(self.actor.mode(features, masks))
        return self.actor.decode(self.actor.sample(features, 1, masks)[:, 0])

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for one observation or a batch.

        Args:
            observation: One observation, or a batch with one more leading axis.
            state: Returned as it came.
            episode_start: Ignored; there is no memory.
            deterministic: Take the mode: the first most likely value of each digit in turn, or the mean of a Box.
            action_masks: Allowed values, flat over digits: (n_1 + ... + n_d,) or a batch of these.

        Raises:
            AgentError: A mask has another shape or forbids every value of a digit.
        """
        self.set_training_mode(False)
        tensors, vectorized = self.obs_to_tensor(observation)
        actions = self.act(tensors, deterministic, self.masks_to_tensor(action_masks))
        return (actions if vectorized else actions[0]), state

    def masks_to_tensor(self, masks: Any) -> Tensor | None:
        """Masks as a checked batch of booleans, or None."""
        return None if masks is None else torch.as_tensor(checked_masks(masks, self.actor), device=self.device)

    def save(self, path: str) -> Never:
        """Refused: stable-baselines3's files of policies hold code; :meth:`KSampleLookahead.save` writes none.

        Raises:
            AgentError: Always.
        """
        raise AgentError(f"{path} was not written: a policy is saved with its algorithm; use KSampleLookahead.save")

    @classmethod
    def load(cls, path: str, device: torch.device | str = "auto") -> Never:
        """Refused: to read stable-baselines3's files of policies is to run what they hold.

        Raises:
            AgentError: Always.
        """
        raise AgentError(f"{path} was not read: a policy is loaded with its algorithm; use KSampleLookahead.load")

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return torch.as_tensor(self.act(observation, deterministic, None))

    def _optimizer(self, rate: float, *modules: nn.Module) -> torch.optim.Optimizer:
        parameters = [parameter for module in modules for parameter in module.parameters()]
        make = cast("Callable[..., torch.optim.Optimizer]", self.optimizer_class)
        return make(parameters, lr=rate, **self.optimizer_kwargs)


@final
class MlpPolicy(LookaheadPolicy):
    """Observations flattened into a vector."""

    extractor = FlattenExtractor


@final
class CnnPolicy(LookaheadPolicy):
    """Observations that are images."""

    extractor = NatureCNN


@final
class MultiInputPolicy(LookaheadPolicy):
    """Observations in a Dict."""

    extractor = CombinedExtractor


def checked_masks(masks: Any, actor: DigitActor | GaussianActor) -> NDArray[np.bool_]:
    """Masks (B, n_1 + ... + n_d) that leave each digit a value.

    Raises:
        AgentError: They have another shape, forbid every value of a digit, or mask a Box.
    """
    if isinstance(actor, GaussianActor):
        raise AgentError("a Box has no action masks; only digits have")
    n = sum(actor.nvec)
    array = np.asarray(masks, dtype=bool)
    if array.size % n or array.shape not in ((n,), (array.size // n, n)):
        raise AgentError(f"action masks have shape {array.shape}; expected ({n},), or (batch, {n})")
    array = array.reshape(-1, n)
    starts = np.cumsum([0, *actor.nvec[:-1]])
    left = np.add.reduceat(array, starts, axis=1, dtype=np.int64)
    if not left.all():
        i, digit = (int(index) for index in np.argwhere(left == 0)[0])
        raise AgentError(f"the action mask of environment {i} forbids every value of digit {digit}; allow one")
    return array


def _layers(net_arch: NetArch | None) -> dict[str, list[int]]:
    """Hidden layers of actor, value and advantage."""
    if isinstance(net_arch, list):
        return _require_layers({"pi": net_arch, "vf": net_arch, "af": net_arch})
    return _require_layers({"pi": [128, 128], "vf": [128, 128], "af": [64, 64]} | (net_arch or {}))


def _require_layers(arch: dict[str, list[int]]) -> dict[str, list[int]]:
    if set(arch) != {"pi", "vf", "af"}:
        raise AgentError(f"net_arch has the networks {sorted(arch)}; they are pi, vf and af")
    return arch
