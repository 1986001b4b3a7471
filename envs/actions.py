"""How agents tell an environment what they do: one number an action, or its digits.

An action is a number, 0 to A - 1, in every environment but those of a LargeActionMDP, which take the digits of a word:
a point of ``MultiDiscrete([b] * d)``. A model whose ``actions`` are ``"index"`` takes the number that the digits write.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from ..models import LargeActionMDP
from .simulators import Model, Simulator, code_array, digit_array

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Actions:
    """The actions of an environment.

    Attributes:
        space: Space of one action.
        read: A batch of actions as the simulator takes them, int64 (n,) or (n, d). It refuses what has another shape
            or no integers; actions out of range are left to the simulator.
    """

    space: spaces.Space[Any]
    read: Callable[[ArrayLike], IntArray]


def actions_of(model: Model, simulator: Simulator) -> Actions:
    """The actions of an environment of this model."""
    if isinstance(model, LargeActionMDP) and model.actions == "digits":
        space = spaces.MultiDiscrete(np.full(model.n_digits, model.base))
        return Actions(space, partial(digit_array, "actions", n_digits=model.n_digits))
    return Actions(spaces.Discrete(simulator.n_actions), partial(code_array, "actions"))
