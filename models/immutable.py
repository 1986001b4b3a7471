"""Data that stay as they were checked.

A model is checked once; nothing may change it afterwards, so a copy of it is the model itself, and what pickle
brings to another process (as Gymnasium's AsyncVectorEnv does) is read-only again.
"""

from typing import Any, Self, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._checks import frozen
from .summaries import Summarised


class Immutable(Summarised):
    """Base of the frozen dataclasses whose arrays are read-only."""

    def __copy__(self) -> Self:
        """The object itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The object itself."""
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            for array in _arrays(value):
                frozen(array)
        self.__dict__.update(state)


def _arrays(value: object) -> tuple[NDArray[Any], ...]:
    """The arrays that a field holds: itself, or the parts of a sparse one."""
    if isinstance(value, sp.csr_array):
        matrix = cast("Any", value)
        return matrix.data, matrix.indices, matrix.indptr
    return (cast("NDArray[Any]", value),) if isinstance(value, np.ndarray) else ()
