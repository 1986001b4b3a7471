"""What the agent has seen, as it saw it.

The rollouts are kept raw: each transition with its own next observation (that of the finished episode, not the first of
the next one), whether the episode *terminated* there or merely ended (a time limit is no property of the state, so V
continues beyond it), and the code of the action. Targets are computed from these whenever the value has changed.

All of it lies in tensors on the device, (window, n_steps, n_envs, ...), which the newest rollout overwrites in a ring.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

Observations = Tensor | dict[str, Tensor]


@final
@dataclass(frozen=True)
class Transitions:
    """Transitions with any leading axes, called (...).

    Attributes:
        observations: Observations before the action (..., shape of one), or a dictionary of these.
        next_observations: Observations after it.
        codes: Actions as the actor codes them (..., width).
        rewards: (...).
        terminated: Whether the process ended (...), 0 or 1.
        ends: Whether the episode ended, terminated or cut off (...), 0 or 1.
        masks: Allowed values before the action, flat over digits, or None.
    """

    observations: Observations
    next_observations: Observations
    codes: Tensor
    rewards: Tensor
    terminated: Tensor
    ends: Tensor
    masks: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Transitions":
        """The same transitions with ``function`` applied to every tensor."""
        return Transitions(
            map_observations(function, self.observations),
            map_observations(function, self.next_observations),
            function(self.codes),
            function(self.rewards),
            function(self.terminated),
            function(self.ends),
            None if self.masks is None else function(self.masks),
        )

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, in a fixed order."""
        for observations in (self.observations, self.next_observations):
            yield from observations.values() if isinstance(observations, dict) else (observations,)
        yield from (self.codes, self.rewards, self.terminated, self.ends)
        if self.masks is not None:
            yield self.masks

    def split(self, n: int) -> Iterator["Transitions"]:
        """Flat transitions ``n`` at a time."""
        for start in range(0, len(self.rewards), n):
            yield self.map(lambda tensor, start=start: tensor[start : start + n])

    def flat(self) -> "Transitions":
        """Steps and environments merged into one axis."""
        return self.map(lambda tensor: tensor.flatten(0, 1))


@final
class Experience:
    """The last ``window`` rollouts.

    Memory is reserved when the first rollout comes: all of it on a GPU; on a CPU it is taken up as it fills.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.n_rollouts = 0
        self._storage: Transitions | None = None

    def append(self, rollout: Transitions) -> None:
        """Keep a rollout of tensors (n_steps, n_envs, ...), forgetting the oldest if the window is full."""
        if self._storage is None:
            self._storage = rollout.map(lambda tensor: tensor.new_empty((self.window, *tensor.shape)))
        slot = self.n_rollouts % self.window
        for stored, new in zip(self._storage.tensors(), rollout.tensors(), strict=True):
            stored[slot] = new
        self.n_rollouts += 1

    def drop_newest(self) -> None:
        """Forget the last rollout, as if it had never come; what it overwrote is gone."""
        kept = self.newest(self.window)[:-1]
        self._storage, self.n_rollouts = None, 0
        for rollout in kept:
            self.append(rollout)

    def memory(self) -> dict[str, Any]:
        """The rollouts kept, as tensors (n, n_steps, n_envs, ...) in the order of their slots, and how many came."""
        if self._storage is None:
            return {"n_rollouts": 0, "rollouts": {}}
        kept = self._storage.map(lambda tensor: tensor[: min(self.n_rollouts, self.window)])
        return {"n_rollouts": self.n_rollouts, "rollouts": dict(vars(kept))}

    def remember(self, n_rollouts: int, rollouts: Transitions | None) -> None:
        """Take over rollouts in the order of their slots, of which ``n_rollouts`` came; None: none did."""
        self.n_rollouts, self._storage = n_rollouts, None
        if rollouts is not None:
            self._storage = rollouts.map(lambda tensor: tensor.new_empty((self.window, *tensor.shape[1:])))
            for stored, kept in zip(self._storage.tensors(), rollouts.tensors(), strict=True):
                stored[: len(kept)] = kept

    @property
    def size(self) -> int:
        """Number of transitions kept."""
        n_steps, n_envs = self._stored.rewards.shape[1:]
        return min(self.n_rollouts, self.window) * n_steps * n_envs

    def rows(self, index: Tensor) -> Transitions:
        """Transitions by their places in 0, ..., ``size`` - 1."""
        return self._stored.map(lambda tensor: tensor.flatten(0, 2)[index])

    def newest(self, n: int = 1) -> list[Transitions]:
        """The last ``n`` rollouts, or as many as there are, oldest first; views (n_steps, n_envs, ...)."""
        stored, count = self._stored, min(n, self.n_rollouts, self.window)
        slots = [i % self.window for i in range(self.n_rollouts - count, self.n_rollouts)]
        return [stored.map(lambda tensor, slot=slot: tensor[slot]) for slot in slots]

    @property
    def _stored(self) -> Transitions:
        if self._storage is None:
            raise IndexError("there is no experience yet")
        return self._storage


def map_observations(function: Callable[[Tensor], Tensor], observations: Observations) -> Observations:
    """``function`` of the tensor, or of each in a dictionary."""
    if isinstance(observations, dict):
        return {key: function(tensor) for key, tensor in observations.items()}
    return function(observations)


def take(observations: Observations, rows: Tensor) -> Observations:
    """The given rows."""
    return map_observations(lambda tensor: tensor[rows], observations)


def combine(function: Callable[[list[Tensor]], Tensor], parts: list[Transitions]) -> Transitions:
    """Each tensor made of those of all ``parts``, by torch.cat or torch.stack."""
    columns = [part.tensors() for part in parts]
    return parts[0].map(lambda _: function([next(column) for column in columns]))
