"""The networks of the agent under stable-baselines3's policy interface.

Actor, advantages and value each have features of their own: three losses pull in three directions, and for vectors the
features are the observation itself. V and A as others see them are averages over what their networks were in the last
gradient steps, as slow as asked.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Never, cast, final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn

from ..base import Space
from ..errors import AgentError
from ..torch_memory import activation
from .actors import DigitActor, GaussianActor, make_actor, require_law
from .critics import AdvantageEnsemble, ValueFunction

Layers = Sequence[int]
NetArch = Layers | Mapping[str, Layers]

_CRITICS = ("value_features", "value", "advantage_features", "advantage")


class LookaheadPolicy(BasePolicy):
    """Actor, advantage ensemble and value function with their optimisers; subclasses say how observations are read.

    Args:
        observation_space: Any that stable-baselines3's features extractors take.
        action_space: Discrete, MultiDiscrete, MultiBinary or Box.
        lr_schedule: Learning rate of the three optimisers.
        net_arch: Hidden layers of all networks, or of each: ``{"pi": ..., "vf": ..., "af": ...}``.
        activation_fn: Between the hidden layers of actor and value: a module, or the name of one of torch.nn.
        n_critics: Size of the advantage ensemble.
        initial_value: What V begins as, up to small weights: above what can be had, unseen states attract.
        features_extractor_class, features_extractor_kwargs, normalize_images: As in stable-baselines3.
        optimizer_class, optimizer_kwargs: As in stable-baselines3; by default Adam in its fused form.

    Raises:
        AgentError: The observations are none that the extractor reads, or the layers are not whole numbers.
    """

    extractor: ClassVar[type[BaseFeaturesExtractor]]
    actor: DigitActor | GaussianActor

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        lr_schedule: Schedule,
        net_arch: NetArch | None = None,
        activation_fn: type[nn.Module] | str = nn.ReLU,
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
        extractor = features_extractor_class or self.extractor
        require_observations(observation_space)
        _require_subclass("features_extractor_class", extractor, BaseFeaturesExtractor)
        _require_subclass("optimizer_class", optimizer_class, torch.optim.Optimizer)
        _require_number("initial_value", initial_value)
        _require_extractor(extractor, observation_space, normalize_images)
        super().__init__(
            observation_space,
            action_space,
            extractor,
            features_extractor_kwargs,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            normalize_images=normalize_images,
        )
        arch, activation_class = _layers(net_arch), activation(activation_fn)
        self.actor_features = self.make_features_extractor()
        self.value_features = self.make_features_extractor()
        self.advantage_features = self.make_features_extractor()
        n = self.actor_features.features_dim
        self.actor = make_actor(n, action_space, arch["pi"], activation_class)
        self.value = ValueFunction(n, arch["vf"], activation_class, initial_value)
        self.advantage = AdvantageEnsemble(n, action_space, n_critics, arch["af"])
        self.slow = nn.ModuleDict({name: copy.deepcopy(getattr(self, name)) for name in _CRITICS})
        self.slow.requires_grad_(False)
        rate = lr_schedule(1)
        self.actor_optimizer = self._optimizer(rate, self.actor_features, self.actor)
        self.value_optimizer = self._optimizer(rate, self.value_features, self.value)
        self.advantage_optimizer = self._optimizer(rate, self.advantage_features, self.advantage)

    def features_for_actor(self, observations: PyTorchObs) -> Tensor:
        """Features (B, n) the actor sees."""
        return self.extract_features(observations, self.actor_features)

    def values(self, observations: PyTorchObs) -> Tensor:
        """V (B,), averaged."""
        value, extractor = cast("ValueFunction", self.slow["value"]), self.slow["value_features"]
        return value(self.extract_features(observations, cast("BaseFeaturesExtractor", extractor)))

    def value_loss(self, observations: PyTorchObs, returns: Tensor) -> Tensor:
        """Mean squared error of V, not averaged, against ``returns`` (B,), in their standard deviations."""
        return self.value.loss(self.extract_features(observations, self.value_features), returns)

    def advantages(self, observations: PyTorchObs, codes: Tensor) -> Tensor:
        """Advantages (n_critics, B, m) of ``codes`` (B, m, width), averaged."""
        advantage = cast("AdvantageEnsemble", self.slow["advantage"])
        extractor = cast("BaseFeaturesExtractor", self.slow["advantage_features"])
        features = self.extract_features(observations, extractor)
        return cast("Tensor", advantage.scale) * advantage(features[None], codes[None])

    def features_for_advantage(self, observations: PyTorchObs) -> Tensor:
        """Features (B, n) the advantages being fitted see."""
        return self.extract_features(observations, self.advantage_features)

    def rescale_value(self, returns: Tensor) -> None:
        """Take over mean and standard deviation of ``returns``, V and its average staying what they were."""
        self.value.rescale(returns)
        cast("ValueFunction", self.slow["value"]).rescale(returns)

    def rescale_advantage(self, scale: Tensor) -> None:
        """Give A in units of ``scale``, A and its average staying what they were."""
        self.advantage.rescale(scale)
        cast("AdvantageEnsemble", self.slow["advantage"]).rescale(scale)

    def average(self, critic: str, tau: float) -> None:
        """Move the average of ``"value"`` or ``"advantage"`` a share ``tau`` of the way to what the networks are."""
        for name in (critic, f"{critic}_features"):
            network, slow = cast("nn.Module", getattr(self, name)), self.slow[name]
            polyak_update(network.parameters(), slow.parameters(), tau)
            for kept, newest in zip(slow.buffers(), network.buffers(), strict=True):
                kept.copy_(newest)

    def set_training_mode(self, mode: bool) -> None:
        """As in stable-baselines3; the averages are evaluated only."""
        super().set_training_mode(mode)
        self.slow.train(False)

    def action_probabilities(self, observations: PyTorchObs) -> Tensor:
        """The law of a Discrete action (B, n).

        Raises:
            AgentError: The action space is not Discrete, or the law is not finite.
        """
        if not (isinstance(self.action_space, spaces.Discrete) and isinstance(self.actor, DigitActor)):
            raise AgentError(f"actions are in {self.action_space}; only a Discrete law can be listed")
        return require_law(self.actor.log_law(self.features_for_actor(observations)).exp())

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
            action_masks: Allowed values, flat over digits: (n_1 + ... + n_d,), or one of these for each observation.

        Raises:
            AgentError: A mask has another shape or other entries than 0 and 1, or forbids every value of a digit; there
                are more or fewer masks than observations; or the policy's law is not finite.
        """
        self.set_training_mode(False)
        tensors, vectorized = self.obs_to_tensor(observation)
        masks = self.masks_to_tensor(action_masks)
        n = len(next(iter(tensors.values())) if isinstance(tensors, dict) else tensors)
        if masks is not None and len(masks) != n:
            raise AgentError(f"there are {len(masks)} action masks for {n} observations; pass one for each")
        actions = self.act(tensors, deterministic, masks)
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
        AgentError: They have another shape or other entries than 0 and 1, forbid every value of a digit, or mask a
            Box.
    """
    if isinstance(actor, GaussianActor):
        raise AgentError("a Box has no action masks; only digits have")
    n = sum(actor.nvec)
    try:
        array = np.asarray(masks)
    except ValueError as error:
        raise AgentError(f"action masks have different lengths; each has {n} entries") from error
    if array.size % n or array.shape not in ((n,), (array.size // n, n)):
        raise AgentError(f"action masks have shape {array.shape}; expected ({n},), or (batch, {n})")
    if array.dtype.kind not in "biu" or ((array != 0) & (array != 1)).any():
        raise AgentError(
            f"action masks hold {array.dtype} such as {array.ravel()[:3]}; pass booleans, or integers 0 (forbidden) "
            "and 1 (allowed)"
        )
    array = array.reshape(-1, n).astype(bool)
    starts = np.cumsum([0, *actor.nvec[:-1]])
    left = np.add.reduceat(array, starts, axis=1, dtype=np.int64)
    if not left.all():
        i, digit = (int(index) for index in np.argwhere(left == 0)[0])
        raise AgentError(f"the action mask of environment {i} forbids every value of digit {digit}; allow one")
    return array


def require_observations(space: Space) -> None:
    """Refuse observation spaces that stable-baselines3 cannot turn into numbers.

    Raises:
        AgentError: It is not a Box with axes, a Discrete or a flat MultiDiscrete from 0, a MultiBinary, or a Dict of
            these; or it is empty.
    """
    if isinstance(space, spaces.Dict):
        parts = cast("Mapping[str, Space]", space.spaces)
        is_known = bool(parts) and not any(isinstance(part, spaces.Dict) for part in parts.values())
        if is_known:
            for part in parts.values():
                require_observations(part)
    elif isinstance(space, spaces.Discrete):
        is_known = space.start == 0
    elif isinstance(space, spaces.MultiDiscrete):
        is_known = len(space.shape) == 1 and not space.start.any() and space.nvec.size > 0
    else:
        is_known = isinstance(space, spaces.Box | spaces.MultiBinary) and math.prod(space.shape) > 0 < len(space.shape)
    if not is_known:
        raise AgentError(
            f"observations are in {space}; KSampleLookahead reads a Box of one number or more and with an axis, "
            "Discrete and MultiDiscrete (of one axis) that count from 0, MultiBinary, and a Dict of these, not nested: "
            "change the observations by gymnasium.wrappers.TransformObservation or FlattenObservation"
        )


def require_policy_kwargs(policy: type[LookaheadPolicy], policy_kwargs: object) -> None:
    """Refuse arguments of a policy that it has not, or that are its algorithm's to give.

    Raises:
        AgentError: Naming the argument.
    """
    if not isinstance(policy_kwargs, Mapping):
        raise AgentError(f"policy_kwargs is {policy_kwargs!r}; pass a dictionary, such as {{'net_arch': [64, 64]}}")
    given = cast("Mapping[str, object]", policy_kwargs)
    parameters = inspect.signature(policy.__init__).parameters
    known = set(parameters) - {"self", "observation_space", "action_space", "lr_schedule", "n_critics"}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in given:
        if name == "n_critics":
            raise AgentError("n_critics stands in policy_kwargs; pass it to KSampleLookahead itself")
        if name not in known and not takes_any:
            raise AgentError(f"policy_kwargs has {name!r}, but {policy.__name__} takes {', '.join(sorted(known))}")


def _require_subclass(name: str, given: object, kind: type) -> None:
    if not (isinstance(given, type) and issubclass(given, kind)):
        raise AgentError(f"{name} is {given!r}; pass a class derived from {kind.__name__}")


def _require_number(name: str, given: object) -> None:
    if not (isinstance(given, int | float) and math.isfinite(given)):
        raise AgentError(f"{name} is {given!r}; pass a finite number")


def _require_extractor(extractor: type[BaseFeaturesExtractor], space: Space, normalize_images: bool) -> None:
    if isinstance(space, spaces.Dict) != (extractor is CombinedExtractor) and extractor in _EXTRACTORS:
        right = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy or CnnPolicy"
        raise AgentError(f"observations are in {space}; use {right}, not {_EXTRACTORS[extractor]}")
    if extractor is NatureCNN and not is_image_space(space, normalized_image=not normalize_images):
        raise AgentError(
            f"observations are in {space}, which holds no images (a Box of uint8 from 0 to 255 with three axes); use "
            "MlpPolicy, or normalize_images=False in policy_kwargs for images in other numbers"
        )


_EXTRACTORS = {FlattenExtractor: "MlpPolicy", NatureCNN: "CnnPolicy", CombinedExtractor: "MultiInputPolicy"}


def _layers(net_arch: NetArch | None) -> dict[str, list[int]]:
    """Hidden layers of actor, value and advantage."""
    arch: dict[str, Layers] = {"pi": [128, 128], "vf": [128, 128], "af": [64, 64]}
    if isinstance(net_arch, Mapping):
        arch |= net_arch
    elif net_arch is not None:
        arch = dict.fromkeys(arch, net_arch)
    if set(arch) != {"pi", "vf", "af"}:
        raise AgentError(f"net_arch has the networks {sorted(arch)}; they are pi, vf and af")
    return {name: _whole_widths(name, layers) for name, layers in arch.items()}


def _whole_widths(name: str, layers: object) -> list[int]:
    widths = list(cast("Sequence[object]", layers)) if isinstance(layers, list | tuple) else [None]
    if not all(isinstance(width, int | np.integer) and not isinstance(width, bool) and width >= 1 for width in widths):
        raise AgentError(f"net_arch for {name} is {layers!r}; pass whole numbers of at least 1, such as [64, 64]")
    return [int(cast("int", width)) for width in widths]
