"""Agents on disk: a zip archive of ``agent.json`` and one ``.npy`` file for each array, uncompressed.

Reading runs no code (no pickle) and takes memory in proportion to the file: members are stored uncompressed,
so none can unfold into more than the file holds, and an array's declared size is checked against its bytes
before anything is allocated. Writing goes through a draft that replaces the old file in one step.
"""

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .errors import AgentError

FORMAT = "lookahead-rl agent"
VERSION = 1

_CONTENT = "agent.json"
_ARRAY = "$array"

# Bytes from which on an archive has to be told of an array's size in advance.
_LARGE = 2**30


def write_archive(path: Path, content: Mapping[str, Any]) -> None:
    """Write nested dictionaries and lists of arrays and JSON values; equal contents make equal files.

    Raises:
        AgentError: A value is neither an array nor plain JSON (named with where it stands).
    """
    arrays: list[NDArray[Any]] = []
    document = {"format": FORMAT, "version": VERSION, "content": _pack(content, "agent", arrays)}
    draft = path.with_name(f"{path.name}.part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        # Without dates, so that equal agents make equal files.
        archive.writestr(zipfile.ZipInfo(_CONTENT), json.dumps(document))
        for i, array in enumerate(arrays):
            with archive.open(zipfile.ZipInfo(_member(i)), "w", force_zip64=array.nbytes >= _LARGE) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    draft.replace(path)


def read_archive(path: Path) -> dict[str, Any]:
    """Read what :func:`write_archive` wrote.

    Raises:
        AgentError: The file is not such an archive, is damaged, or comes from a later version.
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                document = json.loads(_member_bytes(archive, _CONTENT))
                return _unpack(_content(document), archive)
        except _UNREADABLE as error:
            raise AgentError(f"{path} is not an agent file, or is damaged: {error}") from error
        except ValueError as error:
            raise AgentError(f"{path}: {error}") from error


# What zipfile, json and numpy may raise on bytes that are no agent, beside ValueError; damaged offsets give OSError.
_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    UnicodeDecodeError,
)


def _member(i: int) -> str:
    return f"arrays/{i}.npy"


def _pack(value: Any, where: str, arrays: list[NDArray[Any]]) -> Any:
    """``value`` as JSON, its arrays moved to ``arrays`` and replaced by their number."""
    if isinstance(value, np.ndarray):
        if cast("NDArray[Any]", value).dtype.hasobject:
            raise AgentError(f"{where} is an array of Python objects, which a file cannot hold")
        arrays.append(cast("NDArray[Any]", value))
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, Mapping):
        return {key: _pack(item, f"{where}[{key!r}]", arrays) for key, item in _items(value, where)}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return [_pack(item, f"{where}[{i}]", arrays) for i, item in enumerate(items)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise AgentError(f"{where} is {value!r}, which a file cannot hold; use numbers, text, lists and dictionaries")


def _items(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    for key, item in cast("Mapping[object, Any]", value).items():
        if not isinstance(key, str) or key == _ARRAY:
            raise AgentError(f"{where} has the key {key!r}; keys are text other than {_ARRAY!r}")
        yield key, item


def _unpack(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_unpack(item, archive) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    if _ARRAY not in value:
        return {key: _unpack(item, archive) for key, item in cast("dict[str, Any]", value).items()}
    return _read_array(_member_bytes(archive, _member(int(cast("Any", value[_ARRAY])))))


def _member_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise AgentError(f"its member {name} is compressed; agent files are not, so that none can fill the memory")
    return archive.read(info)


def _read_array(data: bytes) -> NDArray[Any]:
    """The array in the bytes of a ``.npy`` file, refusing objects and sizes that do not match."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise AgentError(f"an array of .npy version {version} is not written by this package")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise AgentError(f"an array of shape {shape} and dtype {dtype} does not match its {len(data)} bytes")
    flat = np.frombuffer(data, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()


def _content(document: Any) -> dict[str, Any]:
    """The content of a document of this format."""
    found = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if found.get("format") != FORMAT:
        raise AgentError("it is not an agent file")
    if found.get("version") != VERSION:
        raise AgentError(f"it has version {found.get('version')!r}; this package reads version {VERSION}")
    if not isinstance(found.get("content"), dict):
        raise AgentError("it has no content")
    return cast("dict[str, Any]", found["content"])
