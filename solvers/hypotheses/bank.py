"""What queries have told about the weights of a linear value function: a list of disjunctions.

At a state s of stage h with features phi = phi_h(s), a query of action a tells r_a and P_a phi', the expected features
of the next state (zero after the last stage). The value function v_h = <phi_h, theta> agrees with action a there if

    Delta_a(theta) = r_a + <u_a, theta> = 0,    u_a = gamma P_a phi' - phi    (gamma = 1 with a finite horizon),

and it is *locally consistent* if some action does: the datum of the state is a disjunction over actions. The weights of
the value function of any deterministic policy satisfy every datum, those of v* the Bellman inequalities
Delta_a(theta) <= 0 for all actions besides (Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On
Query-Efficient Planning in MDPs under Linear Realizability of the Optimal State-Value Function, COLT 2021).

Where r_a and u_a are estimates, Delta_a = 0 is widened to the slab |Delta_a| <= slack.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ...models._checks import whole_number

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Datum:
    """What is known of one state.

    Attributes:
        features: phi (d,).
        increments: u_a = gamma P_a phi' - phi, (A, d).
        rewards: r_a (A,).
        cap: Largest possible value of the state: H - h, or 1 / (1 - gamma). The least is zero.
        slack: Half the width of each action's slab, (A,); zero where the queries are exact.
    """

    features: FloatArray
    increments: FloatArray
    rewards: FloatArray
    cap: float
    slack: FloatArray


@final
class Bank:
    """The data gathered so far; it only grows.

    Args:
        n_actions: A >= 1.
        dim: d >= 1.

    Raises:
        ModelError: A count is no whole number >= 1.
    """

    def __init__(self, n_actions: int, dim: int) -> None:
        self.n_actions = whole_number("n_actions", n_actions, 1)
        self.dim = whole_number("dim", dim, 1)
        self._size = 0
        self._room = {name: np.zeros((0, *shape)) for name, shape in self._shapes().items()}

    def __len__(self) -> int:
        return self._size

    def add(self, datum: Datum) -> int:
        """Append a datum; returns its index.

        Raises:
            ValueError: An array has the wrong shape, a number is not finite, or a slack or the cap is negative.
        """
        parts = {name: np.asarray(getattr(datum, name), dtype=np.float64) for name in self._room}
        for name, shape in self._shapes().items():
            part = parts[name]
            if part.shape != shape:
                raise ValueError(f"{name} of a datum has shape {part.shape}; expected {shape}")
            if not np.isfinite(part).all() or (name in ("cap", "slack") and (part < 0).any()):
                raise ValueError(f"{name} of a datum must be finite{' and >= 0' if name in ('cap', 'slack') else ''}")
        for name, part in parts.items():
            if self._size == len(self._room[name]):
                room = self._room[name]
                self._room[name] = np.concatenate([room, np.zeros((max(64, len(room)), *room.shape[1:]))])
            self._room[name][self._size] = part
        self._size += 1
        return self._size - 1

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each part of a datum."""
        A, d = self.n_actions, self.dim
        return {"features": (d,), "increments": (A, d), "rewards": (A,), "cap": (), "slack": (A,)}

    @property
    def features(self) -> FloatArray:
        """phi of every datum, (N, d); a view."""
        return self._room["features"][: self._size]

    @property
    def increments(self) -> FloatArray:
        """u of every datum and action, (N, A, d); a view."""
        return self._room["increments"][: self._size]

    @property
    def rewards(self) -> FloatArray:
        """r of every datum and action, (N, A); a view."""
        return self._room["rewards"][: self._size]

    @property
    def caps(self) -> FloatArray:
        """Largest possible value of every datum's state, (N,); a view."""
        return self._room["cap"][: self._size]

    @property
    def slack(self) -> FloatArray:
        """Half widths of the slabs, (N, A); a view."""
        return self._room["slack"][: self._size]

    def discriminants(self, theta: FloatArray) -> FloatArray:
        """Delta_a(theta) of every datum and action, (N, A)."""
        return self.rewards + self.increments @ theta

    def inconsistency(self, theta: FloatArray) -> FloatArray:
        """By how much theta misses the nearest slab of each datum, max(0, min_a |Delta_a| - slack_a), (N,)."""
        return np.maximum(0.0, (np.abs(self.discriminants(theta)) - self.slack).min(axis=1))
