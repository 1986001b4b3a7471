"""How models and answers introduce themselves: arrays by their shape and range, numbers by value.

A prompt that prints a model of 10^5 states, or the audit of a policy on it, wants a line of text, not the arrays.
"""

from dataclasses import fields
from enum import Enum
from typing import Any, ClassVar, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

# Arrays and tuples of at most so many entries are shown in full.
FEW = 4


class Summarised:
    """Base of dataclasses with large fields; they are declared with ``repr=False``.

    Attributes:
        shown: Properties to show before the fields; inside something larger they stand for the whole.
    """

    shown: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        names = (*self.shown, *(field.name for field in fields(cast("Any", self))))
        return self._listed(tuple(dict.fromkeys(names)))

    def _listed(self, names: tuple[str, ...]) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={summary(getattr(self, name))}' for name in names)})"

    def in_short(self) -> str:
        """What stands for it within something larger."""
        return self._listed(self.shown) if self.shown else repr(self)


def summary(value: object) -> str:
    """A value in a few words."""
    if isinstance(value, np.ndarray):
        return _array_summary(cast("NDArray[Any]", value))
    if isinstance(value, sp.csr_array):
        matrix = cast("Any", value)
        return f"<CSR {matrix.shape}, {matrix.nnz:,} entries>"
    if isinstance(value, Summarised):
        return value.in_short()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return _tuple_summary(cast("tuple[Any, ...]", value))
    return repr(value)


def _array_summary(array: NDArray[Any]) -> str:
    if array.ndim <= 1 and array.size <= FEW:
        return np.array2string(array, separator=", ", precision=6)
    text = f"{array.dtype} {array.shape}"
    if not array.size or array.dtype.kind not in "iuf":
        return f"<{text}>"
    return f"<{text}, {summary(array.min().item())} to {summary(array.max().item())}>"


def _tuple_summary(items: tuple[Any, ...]) -> str:
    if len(items) > FEW:
        return f"<{len(items)} entries, the last {summary(items[-1])}>"
    return f"({', '.join(map(summary, items))}{',' if len(items) == 1 else ''})"
