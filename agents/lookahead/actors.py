"""Laws over actions: what the agent samples, scores and fits.

An actor handles *codes*, tensors of fixed width that stand for actions:

* Discrete, MultiDiscrete and MultiBinary actions are rows of digits, and their law is autoregressive,

      pi(a | s) = prod_j pi_j(a_j | s, a_1, ..., a_{j-1}),      logits_j = W_j relu(t(s) + sum_{i<j} e_i(a_i)) + b_j,

  so that any law over n_1 n_2 ... n_d actions has a place without one being enumerated;
* Box actions are Gaussian vectors u cut off at the faces of [-1, 1]^d, and stand for low + (u + 1) (high - low) / 2.
  The mean is a tanh and the deviation a sigmoid between STD_RANGE: in the units of actions, so that neither can leave
  what is of use. (Squashing the Gaussian instead lets its mean drift where the squashing is flat, and there no bound on
  the deviation keeps actions from being all the same.)

*Mutation* is what finds actions that the law has given up: a run of adjacent digits (coordinates) is replaced by
uniform ones, of length l with probability proportional to 1/l. Where several digits have to be right together a run
changes them together, and leaves alone the rest, which may be right already.

Masks say which values of each digit are allowed, flat over digits: (B, n_1 + ... + n_d). A forbidden value has
probability exactly 0, in mutations too.
"""

# torch leaves many of its types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from abc import ABC, abstractmethod
from typing import Any, cast, final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from ..base import Space
from ..errors import AgentError
from .weights import draw

STD_RANGE = (0.1, 1.0)


class Actor(nn.Module, ABC):
    """A law over actions given features (B, features_dim)."""

    width: int

    @abstractmethod
    def sample(self, features: Tensor, n: int, masks: Tensor | None = None) -> Tensor:
        """``n`` codes for each state: (B, n, width).

        Raises:
            AgentError: The law is not finite.
        """

    @abstractmethod
    def uniform(self, codes: Tensor, masks: Tensor | None = None) -> Tensor:
        """Codes drawn uniformly from what is allowed, as many as ``codes`` (B, n, width)."""

    @final
    def mutate(self, codes: Tensor, share: float, masks: Tensor | None = None) -> Tensor:
        """``codes`` (B, n, width), each with probability ``share`` mutated."""
        if share == 0:
            return codes
        chosen = torch.rand(codes.shape[:-1], device=codes.device) < share
        return torch.where(chosen[..., None] & runs(codes), self.uniform(codes, masks), codes)

    @abstractmethod
    def mode(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """The first most likely value of each digit in turn, or the mean: (B, width).

        Raises:
            AgentError: The law is not finite.
        """

    @abstractmethod
    def log_prob(self, features: Tensor, codes: Tensor, masks: Tensor | None = None) -> Tensor:
        """Log probability (or density, before the cut) of ``codes`` (B, n, width): (B, n)."""

    @abstractmethod
    def cross_entropy(
        self, features: Tensor, codes: Tensor, weights: Tensor, n_labels: int, masks: Tensor | None = None
    ) -> Tensor:
        """Mean of -log pi under the laws ``weights`` (B, n) on ``codes`` (B, n, width), or an estimate from draws."""

    @abstractmethod
    def decode(self, codes: Tensor) -> NDArray[Any]:
        """Codes (B, width) as a batch of actions in the space's shape and dtype."""


@final
class DigitActor(Actor):
    """Autoregressive law over digits; a Discrete action is one digit.

    Args:
        features_dim: Width of the features.
        digits: Which digits there are.
        net_arch: Widths of the hidden layers; without any, logits are linear in the features.
        activation_fn: Between the hidden layers.
    """

    def __init__(
        self, features_dim: int, digits: "Digits", net_arch: list[int], activation_fn: type[nn.Module]
    ) -> None:
        super().__init__()
        self.digits, self.nvec, self.width = digits, digits.nvec, len(digits.nvec)
        hidden, largest = (net_arch or [features_dim])[-1], max(self.nvec)
        self.trunk = nn.Sequential(*create_mlp(features_dim, hidden, net_arch[:-1], activation_fn) if net_arch else ())
        self.activation = nn.ReLU() if net_arch else nn.Identity()
        self.embedding = nn.Parameter(0.1 * torch.randn(self.width - 1, largest, hidden))
        self.weight = nn.Parameter(0.01 * torch.randn(self.width, hidden, largest))
        self.bias = nn.Parameter(torch.zeros(self.width, largest))
        places = [torch.arange(n) + j * largest for j, n in enumerate(self.nvec)]
        self.register_buffer("exists", torch.arange(largest) < torch.tensor(self.nvec)[:, None], persistent=False)
        self.register_buffer("places", torch.cat(places), persistent=False)

    def sample(self, features: Tensor, n: int, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        allowed, trunk = self._allowed(masks), self.trunk(features)
        codes, hidden = [draw(require_law(self._logits(trunk, 0, allowed).softmax(-1)), n)], trunk[:, None]
        for j in range(1, self.width):
            hidden = hidden + self.embedding[j - 1][codes[-1]]
            logits = self._logits(hidden, j, None if allowed is None else allowed[:, None])
            codes.append(draw(require_law(logits.softmax(-1)), 1).squeeze(-1))
        return torch.stack(codes, dim=-1)

    def uniform(self, codes: Tensor, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        allowed = self._allowed(masks)
        if allowed is not None:
            return draw(allowed.double(), codes.shape[1]).transpose(1, 2)
        sizes = torch.tensor(self.nvec, device=codes.device)
        return (torch.rand(codes.shape, dtype=torch.float64, device=codes.device) * sizes).long()

    def mode(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        allowed, hidden = self._allowed(masks), self.trunk(features)
        codes: list[Tensor] = []
        for j in range(self.width):
            if j > 0:
                hidden = hidden + self.embedding[j - 1][codes[-1]]
            logits = self._logits(hidden, j, allowed)
            require_law(logits.softmax(-1))
            codes.append(logits.argmax(-1))
        return torch.stack(codes, dim=-1)

    def log_prob(self, features: Tensor, codes: Tensor, masks: Tensor | None = None) -> Tensor:
        """All digits at once: what precedes each is known."""
        allowed, (B, n, d) = self._allowed(masks), codes.shape
        trunk = self.trunk(features)[:, None].expand(-1, n, -1).reshape(1, B * n, -1)
        offsets = torch.arange(d - 1, device=codes.device)[:, None] * max(self.nvec)
        preceding = codes.view(B * n, d)[:, :-1].T + offsets
        prefixes = F.embedding(preceding, self.embedding.flatten(0, 1)).cumsum(0)
        hidden = torch.cat([trunk, trunk + prefixes])
        logits = torch.baddbmm(self.bias[:, None], self.activation(hidden), self.weight)
        if min(self.nvec) < max(self.nvec):
            logits = logits.masked_fill(~cast("Tensor", self.exists)[:, None], -math.inf)
        if allowed is not None:
            logits = logits.masked_fill(~allowed.repeat_interleave(n, dim=0).transpose(0, 1), -math.inf)
        chosen = logits.log_softmax(-1).gather(-1, codes.view(B * n, d).T[..., None])
        return chosen.squeeze(-1).sum(0).view(B, n)

    def log_law(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """Log probabilities of all actions (B, n), where there is one digit."""
        return self._logits(self.trunk(features), 0, self._allowed(masks)).log_softmax(-1)

    def mutated(self, law: Tensor, share: float, masks: Tensor | None) -> Tensor:
        """The law (B, n) of a mutated action, where there is one digit."""
        allowed = torch.ones_like(law) if masks is None else masks.to(law.dtype)
        return (1 - share) * law + share * allowed / allowed.sum(-1, keepdim=True)

    def cross_entropy(
        self, features: Tensor, codes: Tensor, weights: Tensor, n_labels: int, masks: Tensor | None = None
    ) -> Tensor:
        """Estimated from ``n_labels`` draws: each costs a pass through the digits."""
        labels = draw(weights, n_labels)[..., None].expand(-1, -1, self.width)
        return -self.log_prob(features, codes.gather(1, labels), masks).mean()

    def decode(self, codes: Tensor) -> NDArray[Any]:
        """See :class:`Actor`."""
        return self.digits.decode(codes.cpu().numpy())

    def _allowed(self, masks: Tensor | None) -> Tensor | None:
        """Flat masks with every digit padded to the largest: (B, d, max n)."""
        if masks is None:
            return None
        padded = masks.new_zeros(len(masks), self.width * max(self.nvec))
        padded[:, cast("Tensor", self.places)] = masks
        return padded.view(len(masks), self.width, -1)

    def _logits(self, hidden: Tensor, j: int, allowed: Tensor | None) -> Tensor:
        n = self.nvec[j]
        logits = self.activation(hidden) @ self.weight[j, :, :n] + self.bias[j, :n]
        return logits if allowed is None else logits.masked_fill(~allowed[..., j, :n], -math.inf)


@final
class GaussianActor(Actor):
    """Independent Gaussians in [-1, 1]^d, cut off at its faces."""

    def __init__(self, features_dim: int, box: spaces.Box, net_arch: list[int], activation_fn: type[nn.Module]) -> None:
        super().__init__()
        self.box, self.width = box, math.prod(box.shape)
        layers = create_mlp(features_dim, 2 * self.width, net_arch, activation_fn)
        self.head = nn.Sequential(*layers)
        nn.init.normal_(cast("nn.Linear", layers[-1]).weight, 0.0, 0.01)
        nn.init.zeros_(cast("nn.Linear", layers[-1]).bias)

    def sample(self, features: Tensor, n: int, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        mean, std = (require_law(part) for part in self._mean_and_std(features))
        noise = torch.randn(len(mean), n, self.width, dtype=mean.dtype, device=mean.device)
        return (mean[:, None] + std[:, None] * noise).clamp(-1, 1)

    def uniform(self, codes: Tensor, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        return 2 * torch.rand_like(codes) - 1

    def mode(self, features: Tensor, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        return require_law(self._mean_and_std(features)[0])

    def log_prob(self, features: Tensor, codes: Tensor, masks: Tensor | None = None) -> Tensor:
        """See :class:`Actor`."""
        mean, std = (part[:, None] for part in self._mean_and_std(features))
        errors = (codes - mean) / std
        return -(0.5 * errors**2 + std.log() + 0.5 * math.log(2 * math.pi)).sum(-1)

    def cross_entropy(
        self, features: Tensor, codes: Tensor, weights: Tensor, n_labels: int, masks: Tensor | None = None
    ) -> Tensor:
        """Exact: all codes share one pass."""
        return -(weights * self.log_prob(features, codes)).sum(-1).mean()

    def decode(self, codes: Tensor) -> NDArray[Any]:
        """See :class:`Actor`."""
        low, high = (np.asarray(bound, dtype=np.float64) for bound in (self.box.low, self.box.high))
        unit = codes.detach().double().cpu().numpy().reshape(-1, *self.box.shape)
        actions = (low + (unit + 1) / 2 * (high - low)).astype(self.box.dtype)
        # Rounding alone can lead out of the box.
        return actions.clip(self.box.low, self.box.high)

    def _mean_and_std(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.head(features).chunk(2, dim=-1)
        least, most = STD_RANGE
        return torch.tanh(mean), least + (most - least) * torch.sigmoid(spread)


@final
class Digits:
    """The actions of a Discrete, MultiDiscrete or MultiBinary space as rows of digits from 0.

    Attributes:
        nvec: Number of values of each digit.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._start: Any = 0
        if isinstance(space, spaces.Discrete):
            self.nvec: tuple[int, ...] = (int(space.n),)
            self._start = int(space.start)
        elif isinstance(space, spaces.MultiDiscrete):
            self.nvec = tuple(int(n) for n in space.nvec.flatten())
            self._start = space.start
        elif isinstance(space, spaces.MultiBinary):
            self.nvec = (2,) * math.prod(space.shape)
        else:
            raise AgentError(f"{space} has no digits")

    def decode(self, digits: NDArray[Any]) -> NDArray[Any]:
        """Digits (B, d) as actions in the space's shape and dtype."""
        shape, dtype = self._space.shape, cast("Any", self._space.dtype)
        return (digits.reshape(-1, *cast("tuple[int, ...]", shape)) + self._start).astype(dtype)


def runs(codes: Tensor) -> Tensor:
    """A run of adjacent places in each code (B, n, width), as booleans; of length l with weight 1/l, anywhere."""
    width, device = codes.shape[-1], codes.device
    lengths = torch.arange(1, width + 1, device=device, dtype=torch.float64)
    length = 1 + draw((1 / lengths).expand(*codes.shape[:-1], -1), 1)
    start = (torch.rand(length.shape, device=device) * (width - length + 1)).long()
    places = torch.arange(width, device=device)
    return (places >= start) & (places < start + length)


def make_actor(
    features_dim: int, action_space: Space, net_arch: list[int], activation_fn: type[nn.Module]
) -> DigitActor | GaussianActor:
    """The actor for an action space; see :func:`require_actions`."""
    if isinstance(action_space, spaces.Box):
        return GaussianActor(features_dim, action_space, net_arch, activation_fn)
    return DigitActor(features_dim, Digits(action_space), net_arch, activation_fn)


def require_law(law: Tensor) -> Tensor:
    """``law``, refused where it is not finite: what is drawn from nan is no action.

    Raises:
        AgentError: An entry is not finite.
    """
    if not bool(law.isfinite().all()):
        raise AgentError(
            "the policy's law is not finite: the observations are too large for its networks, or their parameters are "
            "not finite; scale the observations (stable-baselines3's VecNormalize), or load an earlier file"
        )
    return law


def require_actions(space: Space) -> None:
    """Refuse action spaces that have no actor.

    Raises:
        AgentError: It is not Discrete, MultiDiscrete, MultiBinary, or a Box of bounded real numbers; or it is empty.
    """
    if isinstance(space, spaces.Box):
        is_real = np.dtype(cast("Any", space.dtype)).kind == "f"
        with np.errstate(over="ignore", invalid="ignore"):
            is_known = is_real and bool(np.isfinite(np.subtract(space.high, space.low, dtype=np.float64)).all())
    else:
        is_known = isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)
    if not (is_known and math.prod(space.shape or ()) > 0):
        raise AgentError(
            f"actions are in {space}; KSampleLookahead acts in Discrete, MultiDiscrete and MultiBinary spaces, and in "
            "a Box of real numbers with finite bounds, of one number or digit at least"
        )
