"""Model files: one .npz of plain arrays with one JSON header, read without running code.

A file holds the member ``header.npy`` (UTF-8 JSON as bytes) and one member for each array. The header names
the format, its version and the model as a tree: a number stands for itself, ``{"array": name}`` for an
array, ``{"csr": name, "shape": [rows, columns]}`` for the arrays ``name.data``, ``name.indices`` and
``name.indptr``, and ``{"class": name, "fields": {...}}`` for a model or one of its parts. ``numpy.load`` opens
such a file too.

Reading trusts nothing. Members are stored, never compressed, so that what is read is no larger than the file
itself; each array is of one of five plain types, its header agrees with its size, and its checksum with its
bytes; the tree may name the classes listed here and no others; and the model's own constructor checks the
numbers. What fails is refused with a :class:`ModelError` that names the file. Files are written beside
their target and moved into place, so that a reader never meets half of one.
"""

import dataclasses
import json
import math
import os
import re
import secrets
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._checks import ModelError, whole_number
from .constrained import ConstrainedLinearMDP, ConstrainedMDP
from .features import HashedSimplexFeatures, TableFeatures
from .finite import FiniteHorizonMDP
from .game import MarkovGame
from .linear import LinearMarkovGame, LinearMDP
from .measures import FiniteSupportMeasures
from .tabular import TabularMDP

FORMAT = "lookahead_rl.model"
VERSION = 1
FILE_BYTES = 4 * 2**30
"""Default limit on the size of a file to load: 4 GiB."""

Model = (
    TabularMDP | FiniteHorizonMDP | MarkovGame | LinearMDP | LinearMarkovGame | ConstrainedMDP | ConstrainedLinearMDP
)
Array = NDArray[Any]

_PROCESSES = (TabularMDP, FiniteHorizonMDP, MarkovGame, LinearMDP, LinearMarkovGame)
_MODELS = {cls.__name__: cls for cls in (*_PROCESSES, ConstrainedMDP, ConstrainedLinearMDP)}
_PARTS = {
    cls.__name__: cls
    for cls in (TableFeatures, HashedSimplexFeatures, FiniteSupportMeasures, FiniteHorizonMDP, LinearMDP)
}
_DTYPES = ("<f8", "<i8", "<i4", "|b1", "|u1")
_CSR_KINDS = {"data": "f", "indices": "i", "indptr": "i"}
_HEADER = "header"
_HEADER_BYTES = 2**16
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': False, 'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\), \} *\n"
)


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model to exactly this path, replacing what was there in one step.

    Args:
        model: A TabularMDP, FiniteHorizonMDP, MarkovGame, LinearMDP, LinearMarkovGame, ConstrainedMDP or
            ConstrainedLinearMDP.
        path: Where; nothing is appended to the name, by habit it ends in ``.npz``.

    Raises:
        ModelError: The model, or its feature map, is of a type that files do not hold.
        OSError: The file cannot be written; what was there is left as it was.
    """
    arrays: dict[str, Array] = {}
    header = {"format": FORMAT, "version": VERSION, "model": _packed(model, _MODELS, "model", arrays)}
    arrays[_HEADER] = np.frombuffer(json.dumps(header, allow_nan=False).encode(), dtype=np.uint8)
    target = Path(path).resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as stream:
            _write(stream, arrays)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def load_model(path: str | os.PathLike[str], *, max_bytes: int = FILE_BYTES) -> Model:
    """Read a model that :func:`save_model` wrote; every field is the same bit for bit.

    Args:
        path: The file; it is only read.
        max_bytes: The largest file to read. Reading needs up to about three times the file in memory.

    Raises:
        ModelError: The file is too large, damaged, of another format or version, or describes no valid
            model, and the message names the file and the fault; or ``max_bytes`` is no integer >= 0.
        OSError: The file cannot be opened.
    """
    max_bytes = whole_number("max_bytes", max_bytes, 0)
    with Path(path).open("rb") as stream:
        try:
            return _read(stream, max_bytes)
        except ModelError as error:
            raise ModelError(f"{os.fspath(path)} cannot be loaded: {error}") from error
        except _UNREADABLE as error:
            fault = f"{type(error).__name__}: {error}"
            raise ModelError(f"{os.fspath(path)} is damaged or no model file ({fault}); get an intact copy") from error


def same_model(one: Model, other: Model) -> bool:
    """Whether two models are of one class and agree in every field, bit for bit."""
    arrays: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
    trees = [_packed(model, _MODELS, "model", held) for model, held in zip((one, other), arrays, strict=True)]
    return trees[0] == trees[1] and all(_same_bits(array, arrays[1][name]) for name, array in arrays[0].items())


# What zipfile, json, scipy and the constructors may raise on bytes that are no model.
_UNREADABLE = (
    zipfile.BadZipFile,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _same_bits(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(np.array_equal(one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8)))


def _write(stream: BinaryIO, arrays: dict[str, Array]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            plain = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, plain, version=(1, 0), allow_pickle=False)


def _packed(value: object, classes: dict[str, Any], name: str, arrays: dict[str, Array]) -> Any:
    """The node of the header that stands for a value; its arrays are put into ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays[name] = cast("Array", value)
        return {"array": name}
    if isinstance(value, sp.csr_array):
        matrix = cast("Any", value)  # the stubs leave its arrays' types open
        arrays |= {f"{name}.{part}": getattr(matrix, part) for part in _CSR_KINDS}
        return {"csr": name, "shape": [int(n) for n in matrix.shape]}
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, tuple):
        return list(cast("tuple[int, ...]", value))
    if type(value).__name__ not in classes or type(value) is not classes[type(value).__name__]:
        raise ModelError(
            f"{name} is a {type(value).__name__}; files hold {', '.join(classes)} "
            "(features of one's own can be saved as TableFeatures, or the model after to_tabular())"
        )
    fields = {
        field: _packed(part, _PARTS, f"{name}.{field}", arrays) for field, part in _constructor_arguments(value).items()
    }
    return {"class": type(value).__name__, "fields": fields}


def _constructor_arguments(value: Any) -> dict[str, object]:
    """What rebuilds a model or part; where single outcomes have rewards, they are its r."""
    arguments = {name: getattr(value, name) for name in _field_names(type(value))}
    if isinstance(value, TabularMDP | MarkovGame) and value.outcome_rewards is not None:
        arguments["r"] = value.outcome_rewards
    return arguments


def _field_names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _read(stream: BinaryIO, max_bytes: int) -> Model:
    size = stream.seek(0, os.SEEK_END)
    if size > max_bytes:
        raise ModelError(f"it has {size:,} bytes, more than max_bytes = {max_bytes:,}; raise max_bytes to read it")
    with zipfile.ZipFile(stream) as archive:
        members = _members(archive, size)
        if _HEADER not in members or members[_HEADER].file_size > _HEADER_BYTES:
            raise ModelError("it has no header of this format; write it with save_model")
        header = json.loads(_array(archive, members.pop(_HEADER)).tobytes().decode())
        arrays = {name: _array(archive, member) for name, member in members.items()}
    return _model(header, arrays)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their names without ``.npy``, once their declared sizes fit into the file."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in members or name == member.filename:
            raise ModelError(f"member {member.filename!r} is named twice or no array; write the file with save_model")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ModelError(
                f"member {member.filename!r} is compressed; write the file with save_model, which does not"
            )
        members[name] = member
    total = sum(member.file_size for member in members.values())
    if total > size:
        raise ModelError(f"its members claim {total:,} bytes, but the file has {size:,}; get an undamaged copy")
    return members


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """A C-ordered array of a plain type, whose header agrees with the size of its member."""
    content = archive.read(member)
    length = int.from_bytes(content[8:10], "little")
    header = _NPY_HEADER.fullmatch(content, 10, 10 + length)
    if content[:8] != b"\x93NUMPY\x01\x00" or header is None or header[1].decode() not in _DTYPES:
        raise ModelError(f"member {member.filename!r} is no plain array of type {', '.join(_DTYPES)}")
    dtype = np.dtype(header[1].decode())
    shape = tuple(int(n) for n in header[2].split(b",") if n.strip())
    expected, held = math.prod(shape) * dtype.itemsize, len(content) - 10 - length
    if expected != held:
        raise ModelError(f"member {member.filename!r} of shape {shape} needs {expected:,} bytes, but holds {held:,}")
    array = np.frombuffer(content, dtype, offset=10 + length).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _model(header: Any, arrays: dict[str, Array]) -> Model:
    if not isinstance(header, dict) or cast("dict[str, Any]", header).get("format") != FORMAT:
        raise ModelError(f"its header is not that of the format {FORMAT}; write it with save_model")
    tree = cast("dict[str, Any]", header)
    if tree.get("version") != VERSION:
        raise ModelError(
            f"it has version {tree.get('version')!r} of the format, but this release reads version {VERSION}; "
            "load it with the release that wrote it"
        )
    model = _unpacked(tree["model"], _MODELS, arrays)
    if not isinstance(model, Model):
        raise ModelError(f"its header describes no model, but {type(model).__name__}")
    if arrays:
        raise ModelError(f"member {min(arrays)!r} is no part of the model")
    return model


def _unpacked(node: Any, classes: dict[str, Any], arrays: dict[str, Array]) -> Any:
    """The value that a node of the header stands for; its arrays are taken out of ``arrays``."""
    if isinstance(node, list):
        return tuple(cast("list[Any]", node))
    if not isinstance(node, dict):
        return node
    tree = cast("dict[str, Any]", node)
    if "array" in tree:
        return _taken(tree["array"], arrays)
    if "csr" in tree:
        parts = [_taken(f"{tree['csr']}.{part}", arrays) for part in _CSR_KINDS]
        if [part.dtype.kind for part in parts] != list(_CSR_KINDS.values()):
            raise ModelError(f"the arrays of {tree['csr']!r} are not float data, integer indices and integer indptr")
        return sp.csr_array(tuple(parts), shape=tuple(tree["shape"]))
    cls, fields = classes.get(tree["class"]), tree["fields"]
    if cls is None:
        raise ModelError(f"it names the class {tree['class']!r}; expected one of {', '.join(classes)}")
    if sorted(fields) != sorted(_field_names(cls)):
        raise ModelError(f"its {tree['class']} has the fields {sorted(fields)}; expected {sorted(_field_names(cls))}")
    return cls(**{name: _unpacked(part, _PARTS, arrays) for name, part in fields.items()})


def _taken(name: Any, arrays: dict[str, Array]) -> Array:
    if name not in arrays:
        raise ModelError(f"array {name!r} is missing or used twice")
    return arrays.pop(name)
