"""What the agent knows of values: V(s), and an ensemble of advantages A(s, a).

The advantage of a row of digits starts from a sum, A(s, a) = f(W s + b + sum_j e_j(a_j; s)): each value of each digit
has an embedding that is linear in the state, and the layers above find how digits interact. A Box action enters as the
vector in [-1, 1]. Members of the ensemble share nothing but their batch; all are evaluated by batched products.

V is the output of a network scaled and shifted to the returns' standard deviation and mean, A is scaled to that of its
targets. When these change, the last layer changes with them so that V and A stay what they were (van Hasselt et al.,
Learning values across many orders of magnitude, NeurIPS 2016).
"""

# torch leaves many of its types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from itertools import pairwise
from typing import cast, final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from gymnasium import spaces
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from ..base import Space
from ..errors import AgentError
from .actors import Digits

RANK = 16
SPREAD = 0.3
MOST_STATEFUL = 1024


@final
class AdvantageEnsemble(nn.Module):
    """``n_members`` networks A(s, a) / scale, evaluated together.

    Args:
        features_dim: Width of the features.
        action_space: Which actions there are.
        n_members: Size of the ensemble.
        net_arch: Widths of the hidden layers; without any, A is the sum of one number for each digit, linear in the
            features.

    Raises:
        AgentError: The space is a Box and there is no hidden layer.
    """

    def __init__(self, features_dim: int, action_space: Space, n_members: int, net_arch: list[int]) -> None:
        super().__init__()
        self.n_members = n_members
        width = (net_arch or [1])[0]
        self.actions: _DigitInputs | _BoxInputs
        if not isinstance(action_space, spaces.Box):
            self.actions = _DigitInputs(Digits(action_space).nvec, n_members, features_dim, width)
        elif net_arch:
            self.actions = _BoxInputs(math.prod(action_space.shape), n_members, features_dim, width)
        else:
            raise AgentError("net_arch['af'] is empty; in a Box the advantages need a hidden layer")
        widths = [features_dim, *net_arch, 1] if net_arch else [features_dim, 1]
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList(_uniform((n_members, i, o), i) for i, o in pairs)
        self.biases = nn.ParameterList(_uniform((n_members, 1, o), i) for i, o in pairs)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """A / scale (n, B, m) of ``codes`` (1 or n, B, m, width) in states of ``features`` (1 or n, B, features_dim).

        A leading 1 shows all members the same batch.
        """
        features = features.expand(self.n_members, -1, -1)
        first = torch.baddbmm(self.biases[0], features, self.weights[0])
        hidden = first[:, :, None] + self.actions(features, codes)
        n, B, m, _ = hidden.shape
        hidden = hidden.flatten(1, 2)
        for weight, bias in list(zip(self.weights, self.biases, strict=True))[1:]:
            hidden = torch.baddbmm(bias, F.relu(hidden), weight)
        return hidden.view(n, B, m)

    @torch.no_grad()
    def rescale(self, scale: Tensor) -> None:
        """Give A in units of ``scale`` from now on, A staying what it was."""
        ratio = cast("Tensor", self.scale) / scale
        last = [self.weights[-1], self.biases[-1]]
        for parameter in last if len(self.weights) > 1 else [*last, *self.actions.parameters()]:
            parameter.mul_(ratio)
        cast("Tensor", self.scale).copy_(scale)


@final
class _DigitInputs(nn.Module):
    """Sum of the digits' embeddings, for each member.

    An embedding is linear in the state, e_j(a; s) = e_j(a) + U_{j,a} x(s), of RANK entries that a linear map widens: so
    one layer tells which digits suit this state, and the layers above have only to count and combine them. Digits with
    more than MOST_STATEFUL values together keep e_j alone.
    """

    def __init__(self, nvec: tuple[int, ...], n_members: int, features_dim: int, width: int) -> None:
        super().__init__()
        self.total, self.rank = sum(nvec), min(RANK, width)
        self.is_stateful = self.total <= MOST_STATEFUL
        self.table = nn.Parameter(torch.empty(n_members, 1, self.total * self.rank).uniform_(-SPREAD, SPREAD))
        if self.is_stateful:
            self.by_state = _uniform((n_members, features_dim, self.total * self.rank), features_dim, SPREAD)
        if width > 1:
            self.widen = _uniform((n_members, self.rank, width), self.rank)
        self.is_widened = width > 1
        self.register_buffer("offsets", torch.tensor([0, *nvec[:-1]]).cumsum(0), persistent=False)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        n, B, _ = features.shape
        table = torch.baddbmm(self.table, features, self.by_state) if self.is_stateful else self.table
        first = torch.arange(n * B, device=codes.device).view(n, B, 1, 1)
        first = first if self.is_stateful else first // B
        places = codes + cast("Tensor", self.offsets) + self.total * first
        summed = F.embedding_bag(places.flatten(0, 2), table.reshape(-1, self.rank), mode="sum")
        summed = summed.view(n, -1, self.rank)
        return (torch.bmm(summed, self.widen) if self.is_widened else summed).view(n, B, codes.shape[2], -1)


@final
class _BoxInputs(nn.Module):
    """A linear map of the action in [-1, 1]^d, for each member."""

    def __init__(self, dimension: int, n_members: int, features_dim: int, width: int) -> None:
        super().__init__()
        self.weight = _uniform((n_members, 1, dimension, width), features_dim + dimension)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        return codes @ self.weight


@final
class ValueFunction(nn.Module):
    """V(s) = mean + scale times a network."""

    def __init__(
        self, features_dim: int, net_arch: list[int], activation_fn: type[nn.Module], initial_value: float
    ) -> None:
        super().__init__()
        layers = create_mlp(features_dim, 1, net_arch, activation_fn)
        self.network, self._last = nn.Sequential(*layers), cast("nn.Linear", layers[-1])
        self.register_buffer("mean", torch.tensor(float(initial_value)))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Values (B,) in units of the returns."""
        mean, scale = cast("Tensor", self.mean), cast("Tensor", self.scale)
        return mean + scale * self.network(features).squeeze(-1)

    def loss(self, features: Tensor, returns: Tensor) -> Tensor:
        """Mean squared error in units of ``scale``."""
        return ((self(features) - returns) / cast("Tensor", self.scale)).square().mean()

    @torch.no_grad()
    def rescale(self, returns: Tensor) -> None:
        """Take over mean and standard deviation of ``returns``, V staying what it was."""
        mean, scale = cast("Tensor", self.mean), cast("Tensor", self.scale)
        std = returns.std(correction=0)
        new_mean, new_scale = returns.mean(), torch.where(std > 0, std, 1.0)
        self._last.weight.mul_(scale / new_scale)
        self._last.bias.copy_((scale * self._last.bias + mean - new_mean) / new_scale)
        mean.copy_(new_mean)
        scale.copy_(new_scale)


def _uniform(shape: tuple[int, ...], fan_in: int, spread: float = 1.0) -> nn.Parameter:
    """Entries uniform within spread / sqrt(fan_in); with a spread of 1 as torch starts its linear layers."""
    bound = spread / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
