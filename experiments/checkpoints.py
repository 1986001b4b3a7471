"""The folder of a training run: its configuration, a lock, and checkpoints that a kill at any moment leaves whole.

    config.json             the whole configuration and the versions of what computes
    checkpoints/000003/     state.json, agent.zip with its experience, positions.zip, copies of logs
    agent.zip               the final agent
    result.json             written last: the run is finished

A checkpoint is written under another name and renamed when it is whole and on the disk. ``state.json`` holds the digest
of every file of it, and the sizes of the logs that only grow; going on from a checkpoint cuts these back, and puts the
copies of the other logs in their place. The last two checkpoints are kept.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast, final

from ..evaluation.report import replace_text

FORMAT, VERSION = "lookahead-rl training run", 1
KEPT = 2

_CONFIG, _RESULT, _LOCK, _CHECKPOINTS, _STATE = "config.json", "result.json", ".lock", "checkpoints", "state.json"
_OURS = {_CONFIG, _LOCK, f"{_CONFIG}.part"}
_DIGITS = 6


class RunFolderError(OSError):
    """The folder of a run cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes:
        part: How many parts of the run are done.
        steps: Environment steps taken.
        is_over: Whether there is nothing left to learn.
        evaluations: How often the policy has been measured.
        seconds: Wall time of all parts.
        sizes: Bytes of each log that only grows.
        events: Names of the event files.
        digests: SHA-256 of each file of the checkpoint.
    """

    part: int = 0
    steps: int = 0
    is_over: bool = False
    evaluations: int = 0
    seconds: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    events: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its folder and its state."""

    folder: Path
    state: State


@final
class RunFolder:
    """The folder of a run, held by one process at a time: a context manager.

    Args:
        path: The folder; made if it is missing.
        configuration: All that the result depends on.
        versions: Of what computes it, by name.
        tell: Called with a line for people where something unusual is done.

    Raises:
        RunFolderError: It holds something else than this very run, or another process is writing there.
    """

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], versions: Mapping[str, str], tell: Callable[[str], None]
    ) -> None:
        self.path, self._tell = path, tell
        self._content = {
            "format": FORMAT,
            "version": VERSION,
            "configuration": dict(configuration),
            "versions": dict(versions),
        }
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file; name a folder for the run")
        if (path / _CONFIG).exists():
            self._require_same_run()
        elif path.is_dir() and (others := sorted({entry.name for entry in path.iterdir()} - _OURS)):
            raise RunFolderError(f"{path} holds {others[0]} and no run; name an empty or a new folder")

    def __enter__(self) -> Self:
        """Make the folder, lock it, and write the configuration if it is new."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / _LOCK).open("a")
        try:
            self._claim()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock the folder."""
        self._lock.close()

    def result(self) -> dict[str, Any] | None:
        """What a finished run found; None where it is not finished, or its agent is not the one it wrote."""
        path = self.path / _RESULT
        if not path.exists():
            return None
        agent, found = self.path / "agent.zip", dict[str, Any]()
        with suppress(ValueError):
            found = dict(json.loads(path.read_text()))
        if agent.exists() and _digest(agent) == found.get("agent_digest"):
            return found
        self._tell(f"{agent} is missing or is not what the run wrote; it is written again from the last checkpoint")
        return None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down that the run is finished, and what it found."""
        content = {**result, "agent_digest": _digest(self.path / "agent.zip")}
        replace_text(self.path / _RESULT, json.dumps(content, indent=1) + "\n")

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint, or None where there has been none.

        Raises:
            RunFolderError: There are checkpoints, and every one is damaged.
        """
        names = sorted(entry.name for entry in self._checkpoints().glob("[0-9]*") if entry.suffix != ".part")
        for name in reversed(names):
            folder = self._checkpoints() / name
            fault = _fault(folder)
            if fault is None:
                return Checkpoint(folder, _read_state(folder))
            self._tell(f"the checkpoint {folder} is damaged ({fault}); the one before it is used")
        if names:
            raise RunFolderError(
                f"every checkpoint in {self._checkpoints()} is damaged; delete {self.path} to begin again, or name "
                "another folder"
            )
        return None

    def restore(self, checkpoint: Checkpoint | None, copies: tuple[str, ...], growing: tuple[str, ...]) -> None:
        """Bring the logs to what they were at a checkpoint, or at the very beginning (None).

        Args:
            checkpoint: It.
            copies: Logs of which checkpoints hold a copy.
            growing: Logs that only grow.

        Raises:
            RunFolderError: One of those that only grow is shorter than it was.
        """
        sizes = {} if checkpoint is None else checkpoint.state.sizes
        for name in growing:
            _cut(self.path / name, sizes.get(name))
        for name in copies:
            source = None if checkpoint is None else checkpoint.folder / name
            if source is None or not source.exists():
                (self.path / name).unlink(missing_ok=True)
            else:
                shutil.copyfile(source, self.path / f"{name}.part")
                (self.path / f"{name}.part").replace(self.path / name)

    def write(self, state: State, fill: Callable[[Path], None]) -> Checkpoint:
        """Write a checkpoint, and forget those before the last.

        Args:
            state: Its state, the digests left out.
            fill: Writes its other files into the folder that it is given.
        """
        folder = self._checkpoints() / f"{state.part:0{_DIGITS}d}"
        draft = folder.with_suffix(".part")
        for old in (draft, folder):
            if old.exists():  # left by a kill, or damaged
                shutil.rmtree(old)
        draft.mkdir(parents=True)
        fill(draft)
        digests = {entry.name: _digest(entry) for entry in sorted(draft.iterdir())}
        content = {**asdict(state), "digests": digests}
        (draft / _STATE).write_text(json.dumps({**content, "sum": _sum(content)}, indent=1) + "\n")
        # Everything is on the disk before the checkpoint has its name, and that before an older one is forgotten.
        for path in (*draft.iterdir(), draft, *(self.path / name for name in state.sizes)):
            _sync(path)
        draft.replace(folder)
        _sync(self._checkpoints())
        for old in sorted(self._checkpoints().iterdir()):
            if old.name < folder.name and old.name != f"{state.part - KEPT + 1:0{_DIGITS}d}":
                shutil.rmtree(old)
        return Checkpoint(folder, _read_state(folder))

    def _claim(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"another process is training in {self.path}; wait for it, or stop it") from None
        if (self.path / _CONFIG).exists():
            self._require_same_run()  # another process may have been faster
        else:
            replace_text(self.path / _CONFIG, json.dumps(self._content, indent=1) + "\n")
            for path in (self.path / _CONFIG, self.path):
                _sync(path)

    def _checkpoints(self) -> Path:
        return self.path / _CHECKPOINTS

    def _require_same_run(self) -> None:
        path = self.path / _CONFIG
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged ({error}); name another folder") from error
        if not isinstance(found, dict) or cast("dict[str, Any]", found).get("format") != FORMAT:
            raise RunFolderError(f"{path} is no training run's; name another folder")
        if found.get("version") != VERSION:
            raise RunFolderError(f"{self.path} is of format {found.get('version')}, not {VERSION}; name another folder")
        for kind in ("configuration", "versions"):
            if differences := _differences(found.get(kind), json.loads(json.dumps(self._content[kind]))):
                raise RunFolderError(
                    f"{self.path} holds a run of other {kind} ({'; '.join(differences)}); name another folder"
                )


def _differences(there: Any, here: Any, where: str = "") -> list[str]:
    """What differs between two nested dictionaries, a few words each."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = sorted(there.keys() | here.keys())
        pairs = [(there.get(name), here.get(name), f"{where}.{name}" if where else str(name)) for name in names]
        return [one for a, b, name in pairs for one in _differences(a, b, name)]
    return [] if there == here else [f"{where} {there!r} there, {here!r} here"]


def _cut(path: Path, size: int | None) -> None:
    """Cut a file back to a size; None: there was none yet."""
    if size is None:
        path.unlink(missing_ok=True)
        return
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        raise RunFolderError(f"{path} has {found} bytes, but had {size} at the checkpoint; the folder was changed")
    os.truncate(path, size)


def _sync(path: Path) -> None:
    """Wait until the system has put a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        content = json.loads((folder / _STATE).read_text())
        total = content.pop("sum")
        if total != _sum(content):
            return f"{_STATE} was changed"
        broken = [name for name, digest in content["digests"].items() if _digest(folder / name) != digest]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return repr(error)
    return f"{broken[0]} was changed" if broken else None


def _read_state(folder: Path) -> State:
    content = json.loads((folder / _STATE).read_text())
    del content["sum"]
    return State(**{**content, "events": tuple(content["events"])})


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
