"""Validation shared by all models.

A model is checked once, when it is built, so that every later computation may trust it. Each check names
the entry at fault (``P[17, 3] sums to 0.98, not 1``) and what to do; nothing is repaired silently.

Probabilities may miss one by at most :data:`PROBABILITY_TOLERANCE`, which admits the rounding of a sum
of float64 terms and nothing else.
"""

import math
import sys
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

PROBABILITY_TOLERANCE = 1e-9

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class ModelError(ValueError):
    """A model's data are inconsistent; the message names the entry and the remedy."""


def entry(name: str, index: Sequence[int | np.intp]) -> str:
    """``P[17, 3]`` for ``("P", (17, 3))``."""
    return f"{name}[{', '.join(str(int(i)) for i in index)}]" if len(index) else name


def first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Index of the first true entry of a mask that has one."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, made read-only."""
    array.flags.writeable = False
    return array


def plain_array(name: str, data: ArrayLike) -> NDArray[Any]:
    """``np.asarray``, its refusal of what has no shape told with the argument's name."""
    try:
        return np.asarray(data)
    except ValueError as error:
        raise ModelError(f"{name} has rows of different lengths; pass a rectangular array") from error


def real_array(name: str, data: ArrayLike) -> FloatArray:
    """A fresh C-ordered float64 copy of real, finite data."""
    array = _float_copy(name, data)
    require_finite(name, array)
    return array


def _float_copy(name: str, data: ArrayLike) -> FloatArray:
    raw = plain_array(name, data)
    if raw.dtype.kind not in "fiub":
        raise ModelError(f"{name} has dtype {raw.dtype}; pass real numbers (float64)")
    return np.array(raw, dtype=np.float64, order="C")


def require_finite(name: str, array: FloatArray) -> None:
    """Raise unless every entry is finite."""
    bad = ~np.isfinite(array)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; every entry must be finite")


def require_shape(name: str, array: NDArray[Any] | sp.csr_array, shape: tuple[int, ...], meaning: str) -> None:
    """Raise unless ``array`` has exactly this shape, described by ``meaning`` (such as ``"(S, A)"``)."""
    if array.shape != shape:
        raise ModelError(f"{name} has shape {array.shape}; expected {meaning} = {shape}")


def require_positive(name: str, count: int, what: str) -> None:
    """Raise unless a count is at least one."""
    if count < 1:
        raise ModelError(f"{name} describes {count} {what}; at least one is needed")


def require_room(what: str, needed: int, max_bytes: int, remedy: str) -> None:
    """Raise where ``what`` would need more than ``max_bytes``; to be asked before anything is allocated."""
    if needed > max_bytes:
        # Python writes no number of more than 4,300 digits.
        amount = f"{needed:,}" if needed < 10**100 else "10^100 or more"
        raise ModelError(f"{what} needs up to {amount} bytes, more than max_bytes = {max_bytes:,}; {remedy}")


def whole_number(name: str, value: object, least: int) -> int:
    """``value`` as a Python int, refusing floats, bools and numbers below ``least``."""
    # numpy registers its scalars with numbers.Integral and numbers.Real, its booleans with neither.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ModelError(f"{name} is {value!r}; pass an integer >= {least}")
    if value < least:
        raise ModelError(f"{name} is {int(value)}; it must be at least {least}")
    return int(value)


def real_number(name: str, value: object) -> float:
    """``value`` as a finite float, refusing bools."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ModelError(f"{name} is {value!r}; pass a finite number")
    try:
        number = float(value)
    except OverflowError as error:  # of integers and fractions alone, which Python may refuse to write out
        most = f"{sys.float_info.max:.0e}"
        raise ModelError(f"{name} is a whole number that float64 cannot hold; pass one up to {most}") from error
    if not math.isfinite(number):
        raise ModelError(f"{name} is {value!r}; pass a finite number")
    return number


def unit_number(name: str, value: object) -> float:
    """``value`` as a float in [0, 1], refusing bools."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ModelError(f"{name} is {value!r}; pass a number in [0, 1]")
    if not 0 <= cast("float", value) <= 1:  # before it becomes a float, which a huge integer cannot
        raise ModelError(f"{name} is {value}; it must lie in [0, 1]")
    return float(value)


def discount(value: object) -> float:
    """``gamma`` as a float in [0, 1]."""
    return unit_number("gamma", value)


def flag(name: str, value: object) -> bool:
    """``value`` as a bool, refusing whatever else Python takes for true or false."""
    if not isinstance(value, bool | np.bool_):
        raise ModelError(f"{name} is {value!r}; pass True or False")
    return bool(cast("bool", value))


def require_distributions(name: str, probabilities: FloatArray, live: BoolArray | None = None) -> None:
    """Raise unless the last axis holds probability distributions.

    Args:
        name: What to call the array in the message.
        probabilities: Shape (..., n).
        live: Shape (...,), the rows to check for their sum; the others must be all zero. None: all rows.
    """
    bad = ~(probabilities >= 0)  # true of nan, too
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {probabilities[index]:.6g}; probabilities must be >= 0")
    with np.errstate(over="ignore"):  # an infinite sum is refused below, not warned about
        sums = np.asarray(probabilities.sum(axis=-1))
    require_unit_sums(name, sums, live)


def require_unit_sums(name: str, sums: FloatArray, live: BoolArray | None = None) -> None:
    """Raise unless sums of probabilities are one (zero where ``live`` is false)."""
    target = np.ones_like(sums) if live is None else live.astype(np.float64)
    bad = np.abs(sums - target) > PROBABILITY_TOLERANCE
    if not bad.any():
        return
    index = first(bad)
    total = f"{float(sums[index]):.12g}"
    if target[index] == 0.0:
        raise ModelError(f"{entry(name, index)} sums to {total}, but lies outside the action set; leave such rows zero")
    raise ModelError(f"{entry(name, index)} sums to {total}, not 1; normalise that row or fix the entry at fault")


def initial_distribution(rho: ArrayLike, n_states: int, name: str = "rho") -> FloatArray:
    """``rho`` checked to be a distribution over ``n_states`` states, read-only."""
    array = real_array(name, rho)
    require_shape(name, array, (n_states,), "(S,)")
    require_distributions(name, array)
    return frozen(array)


def terminal_mask(terminal: ArrayLike | None, n_states: int) -> BoolArray:
    """``terminal`` as a read-only boolean mask of shape (S,); None means no terminal states."""
    if terminal is None:
        return frozen(np.zeros(n_states, dtype=np.bool_))
    array = np.array(plain_array("terminal", terminal))
    if array.dtype != np.bool_:
        raise ModelError(f"terminal has dtype {array.dtype}; pass a boolean mask of shape (S,)")
    require_shape("terminal", array, (n_states,), "(S,)")
    return frozen(array)


def state_features(features: ArrayLike | None, leading: tuple[int, ...], meaning: str) -> FloatArray | None:
    """Feature vectors of shape ``leading + (d,)`` with d >= 1, read-only, or None."""
    if features is None:
        return None
    array = real_array("features", features)
    if array.ndim != len(leading) + 1 or array.shape[:-1] != leading or array.shape[-1] < 1:
        raise ModelError(f"features has shape {array.shape}; expected {meaning} with {leading} first and d >= 1")
    return frozen(array)


def state_observations(observations: ArrayLike | None, n_states: int) -> IntArray:
    """``observations`` as read-only int64 indices (S,) in [0, S); None means that each state shows itself."""
    if observations is None:
        return frozen(np.arange(n_states, dtype=np.int64))
    array = np.array(plain_array("observations", observations))
    if array.dtype.kind not in "iu":
        raise ModelError(f"observations has dtype {array.dtype}; pass one integer a state")
    require_shape("observations", array, (n_states,), "(S,)")
    bad = (array < 0) | (array >= n_states)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry('observations', index)} is {array[index]}; it must lie in [0, {n_states})")
    return frozen(array.astype(np.int64))


def csr_rows(name: str, matrix: Any) -> sp.csr_array:
    """A read-only float64 CSR copy in which stored entries keep their order and duplicates stay apart.

    The entries themselves are left to :func:`require_csr_probabilities`, which can name them.
    """
    source = matrix if matrix.format == "csr" else matrix.tocsr()
    data = _float_copy(name, source.data)
    # int32 indices halve the memory of a model; scipy falls back to int64 where they do not reach.
    index_dtype = np.int32 if max(data.size, *source.shape) < 2**31 else np.int64
    indices, indptr = source.indices.astype(index_dtype), source.indptr.astype(index_dtype)
    _require_csr(name, indices, indptr, source.shape, data.size)
    parts = (frozen(data), frozen(indices), frozen(indptr))
    return sp.csr_array(parts, shape=(source.shape[0], source.shape[1]))


def _require_csr(name: str, indices: NDArray[Any], indptr: NDArray[Any], shape: tuple[int, int], nnz: int) -> None:
    if indptr.shape != (shape[0] + 1,) or indptr[0] != 0 or indptr[-1] != nnz or (np.diff(indptr) < 0).any():
        raise ModelError(f"{name}.indptr does not describe {shape[0]} rows of {nnz} entries; rebuild the matrix")
    if indices.shape != (nnz,) or (nnz and not 0 <= int(indices.min()) <= int(indices.max()) < shape[1]):
        raise ModelError(f"{name}.indices leave [0, {shape[1]}); rebuild the matrix")


def require_csr_probabilities(name: str, rows: sp.csr_array, lead: tuple[int, ...], live: BoolArray | None) -> None:
    """Raise unless each row of a CSR matrix is a distribution; ``lead`` is the shape of the rows' index."""
    bad = ~(np.isfinite(rows.data) & (rows.data >= 0))
    if bad.any():
        position = int(np.argmax(bad))
        row = int(np.searchsorted(rows.indptr, position, side="right")) - 1
        index = (*np.unravel_index(row, lead), int(rows.indices[position]))
        raise ModelError(f"{entry(name, index)} is {rows.data[position]:.6g}; probabilities must be finite and >= 0")
    sums = np.asarray(rows @ np.ones(rows.shape[1])).reshape(lead)
    require_unit_sums(name, sums, live)
