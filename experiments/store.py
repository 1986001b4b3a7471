"""Results of many runs in one folder, written so that a kill at any moment costs what was in flight and nothing else.

A store is a folder:

    store.json                          what it is: format, version, package, experiment
    store.lock                          whoever holds this file's lock may write
    parts/000000000-000000031.parquet   the results of commits 0 to 31
    parts/000000032-000000032.parquet   those of commit 32

*A commit* writes its part under another name, has the system put it on the disk, and renames it. Renaming is one step:
a part is there whole or not at all. All that a commit says of a job is in one part, so no job is there by halves.

*Merging.* Thirty-two parts are merged into one, whose name holds the range of its commits, and then deleted. A part
whose range lies within another's is not read. So from the moment at which the merged part has its name its sources do
not count, whether or not they are deleted yet: no result is read twice, and none is missed. Parts of equal rank are
merged, as digits are carried in base 32, so each result is written about log_32(commits) times, and a store of
thousands of commits is a few dozen files.

*One writer.* It holds the lock (flock) of ``store.lock``, which the system releases when a process ends, however it
ends: there is nothing stale to clean up. Readers need no lock.

*The same table.* Rows are sorted by what they say, then by job and place within it, and columns are ordered by name; so
the table depends on the results alone, not on the order in which they came or how often that was interrupted.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from ..evaluation.report import Cell, Row
from ..models import ModelError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FORMAT = "lookahead-rl results"
VERSION = 1
RUNS = "runs"
"""The experiment whose rows are those of single runs of agents."""

FAN_IN = 32
"""Parts of equal rank that are merged into one."""

LEADING = ("agent", "env_id", "env_kwargs", "agent_kwargs", "seed", "steps", "queries", "value", "kind")
"""Columns that open a table; the others follow by name. By the first five it is sorted."""
_SORTED_BY = LEADING[:5]

KEY, CONFIGURATION, SECONDS, ERROR, TRACE, PLACE = (
    f"job_{name}" for name in ("key", "configuration", "seconds", "error", "trace", "row")
)
_OWN = (KEY, CONFIGURATION, SECONDS, ERROR, TRACE, PLACE)
_FILE, _LOCK, _PARTS, _DRAFT = "store.json", "store.lock", "parts", ".draft"
_PART = re.compile(r"(\d{9})-(\d{9})\.parquet")
_FIRST = (_LOCK, _PARTS, f"{_FILE}{_DRAFT}")  # what a store holds before it has its description
_WHOLE, _EXACT = (1 << 63) - 1, 1 << 53
"""The largest whole numbers that a table holds, and that its reals hold."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Record:
    """What is kept of one job.

    Attributes:
        key: Its name; equal keys are the same job.
        configuration: All that it depends on, as text.
        rows: Its results, flat: equal however often the job is run. A failed job has none.
        seconds: How long it took.
        error: What a failed job said; None of one that has results.
        trace: Where it failed.
    """

    key: str
    configuration: str
    rows: Sequence[Row] = ()
    seconds: float = 0.0
    error: str | None = None
    trace: str | None = None


@dataclass(frozen=True, order=True)
class _Part:
    """The file with the results of the commits from ``first`` to ``last``."""

    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.first:09d}-{self.last:09d}.parquet"

    @property
    def rank(self) -> int:
        """The largest k with at least 32^k commits."""
        k, commits = 0, self.last - self.first + 1
        while FAN_IN ** (k + 1) <= commits:
            k += 1
        return k

    def replaces(self, other: "_Part") -> bool:
        return self != other and self.first <= other.first and other.last <= self.last


def open_store(folder: str | Path, experiment: str = RUNS) -> "Store":
    """The store in a folder, made if there is none, for writing; nobody else can write until it is closed.

    Args:
        folder: Where it is or is to be.
        experiment: What its rows are about: stores of other experiments are refused.

    Raises:
        ModelError: The folder holds other things, or a store of another version or experiment; someone else writes.
        ImportError: pyarrow is missing.
        OSError: The folder cannot be written.
    """
    require_library("pyarrow")
    place = Path(folder)
    require_room(place, experiment)
    (place / _PARTS).mkdir(parents=True, exist_ok=True)
    lock = _locked(place)
    try:
        require_room(place, experiment)  # again: another process may have made it meanwhile
        if not (place / _FILE).exists():
            with _replacing(place / _FILE) as file:
                file.write(json.dumps(_description(experiment), indent=1).encode())
        return Store(place, lock)
    except BaseException:
        os.close(lock)
        raise


def read_store(folder: str | Path, experiment: str = RUNS) -> "Store":
    """The store in a folder, for reading: another process may write to it meanwhile.

    Raises:
        ModelError: There is none, or it is of another format version or experiment.
        ImportError: pyarrow is missing.
    """
    require_library("pyarrow")
    place = Path(folder)
    if not (place / _FILE).exists():
        raise ModelError(f"{place} holds no results: there is no {_FILE} in it")
    _require_description(place, {**_description(experiment), "package": None})
    if not (place / _PARTS).is_dir():
        raise ModelError(f"{place} has lost its folder {_PARTS}, and the results with it; choose another folder")
    return Store(place)


def require_room(folder: Path, experiment: str = RUNS) -> None:
    """Raise unless the folder holds such a store or nothing, or what is left of a store killed in its making.

    Raises:
        ModelError: It holds other things, or a store of another version or experiment.
    """
    if (folder / _FILE).exists():
        _require_description(folder, _description(experiment))
        return
    if folder.exists():
        strange = sorted(path.name for path in folder.iterdir() if path.name not in _FIRST)
        if not strange and (folder / _PARTS).exists():
            strange = sorted(f"{_PARTS}/{path.name}" for path in (folder / _PARTS).iterdir())
        if strange:
            names = ", ".join(strange[:3])
            raise ModelError(f"{folder} is no folder of results and not empty (it holds {names}); choose another")


def require_library(name: str) -> None:
    """Raise unless a library of the extra experiments is installed.

    Raises:
        ImportError: It is not; the message says how to install it.
    """
    if find_spec(name) is None:
        raise ImportError(f'stored results need {name}: pip install "lookahead-rl[experiments]"')


def require_sql(sql: str) -> None:
    """Raise unless this is a question that duckdb can parse.

    Raises:
        ModelError: It is not; duckdb's message is passed on.
        ImportError: duckdb is missing.
    """
    require_library("duckdb")
    import duckdb

    with duckdb.connect() as connection:
        try:
            connection.extract_statements(sql)
        except duckdb.Error as error:
            raise ModelError(f"the query cannot be read: {_in_one_line(error)}") from error


def require_rows(rows: Sequence[Row]) -> None:
    """Raise unless a table can hold these rows.

    Raises:
        ModelError: It cannot; the message names the column.
    """
    _joined({}, rows)


class Store:
    """Results in a folder; see :func:`open_store` and :func:`read_store`.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path, lock: int | None = None) -> None:
        self.folder = folder
        self._lock = lock
        if lock is not None:
            self._clean()
        self._parts: list[_Part] = []
        self._kinds: dict[str, str] = {}
        self._done: set[str] = set()
        for part, table, kinds in self._read_all([KEY, ERROR]):
            self._parts.append(part)
            self._kinds = _joined_kinds(self._kinds, kinds)
            jobs = zip(table[KEY].to_pylist(), table[ERROR].to_pylist(), strict=True)
            self._done.update(key for key, error in jobs if error is None)

    def __enter__(self) -> Self:
        """The store itself; it is closed in the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let others write."""
        self.close()

    def close(self) -> None:
        """Let others write. What was committed is on the disk already."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keys(self) -> frozenset[str]:
        """Keys of the jobs whose results are here; those that failed are not among them."""
        return frozenset(self._done)

    def append(self, key: str, configuration: str, rows: Sequence[Row], seconds: float) -> None:
        """Keep the results of one job; when this returns they are on the disk.

        Args:
            key: Name of the job.
            configuration: All that it depends on, as text.
            rows: Its results, flat.
            seconds: How long it took.

        Raises:
            ModelError: As for :meth:`commit`.
        """
        self.commit([Record(key, configuration, rows, seconds)])

    def commit(self, records: Sequence[Record]) -> None:
        """Keep what is known of several jobs in one step: all of it or, if the process is killed, nothing.

        Raises:
            ModelError: The store is open for reading only; a job's results are here already; a row holds what a table
                cannot, or text where other rows hold numbers. Nothing has been written then.
        """
        self._require_lock()
        finished = Counter(record.key for record in records if record.error is None)
        for key, times in finished.items():
            if times > 1 or key in self._done:
                raise ModelError(f"{self.folder} would hold the results of job {key} twice")
        kinds = _joined(self._kinds, [row for record in records for row in record.rows])
        number = self._parts[-1].last + 1 if self._parts else 0
        part, table = _Part(number, number), _table_of(records, kinds)
        with self._writing():
            self._write(part, table)
            self._parts.append(part)
            self._done.update(finished)
            self._kinds = kinds
            while len(self._parts) >= FAN_IN and len({part.rank for part in self._parts[-FAN_IN:]}) == 1:
                self._merge(FAN_IN)

    def compact(self) -> None:
        """Merge everything into one part, which is the fastest to read.

        Raises:
            ModelError: The store is open for reading only.
        """
        self._require_lock()
        if len(self._parts) > 1:
            with self._writing():
                self._merge(len(self._parts))

    def table(self) -> "pa.Table":
        """All rows of all jobs, sorted, with the job's key in the last column."""
        import pyarrow as pa

        everything = self._everything()
        found = everything.filter(everything[PLACE].is_valid())
        present = {name for name in found.column_names if name not in _OWN}
        columns = [name for name in LEADING if name in present] + sorted(present.difference(LEADING))
        by = [name for name in _SORTED_BY if name in present and found.schema.field(name).type != pa.null()]
        ordered = found.sort_by([(name, "ascending") for name in (*by, KEY, PLACE)])
        return ordered.select([*columns, KEY]).combine_chunks()

    def rows(self) -> list[dict[str, Cell]]:
        """The rows of :meth:`table`."""
        return cast("list[dict[str, Cell]]", self.table().to_pylist())

    def timings(self) -> "pa.Table":
        """One row for each job with results: its key, its configuration and the seconds it took."""
        jobs = self._jobs()
        finished = jobs.filter(jobs[ERROR].is_null())
        return finished.select([KEY, CONFIGURATION, SECONDS]).sort_by(KEY).combine_chunks()

    def failures(self) -> list[Record]:
        """The last failure of each job that has no results, sorted by configuration."""
        jobs = self._jobs().to_pylist()
        finished = {job[KEY] for job in jobs if job[ERROR] is None}
        last = {job[KEY]: job for job in jobs if job[KEY] not in finished}
        failed = [Record(k, job[CONFIGURATION], (), job[SECONDS], job[ERROR], job[TRACE]) for k, job in last.items()]
        return sorted(failed, key=lambda record: record.configuration)

    def query(self, sql: str) -> "pa.Table":
        """What duckdb answers. Its tables are ``results``, ``timings`` and ``failures``, joined by ``job_key``.

        Raises:
            ModelError: duckdb cannot answer; its message is passed on.
            ImportError: duckdb is missing.
        """
        require_library("duckdb")
        import duckdb

        failures = _table_of(self.failures(), {}).select([KEY, CONFIGURATION, SECONDS, ERROR, TRACE])
        with duckdb.connect() as connection:
            for name, table in (("results", self.table()), ("timings", self.timings()), ("failures", failures)):
                connection.register(name, table)
            try:
                answer = connection.sql(sql)
                if answer is None:
                    raise ModelError("the query asks nothing; begin it with SELECT")
                found = cast("pa.Table", answer.to_arrow_table())
            except duckdb.Error as error:
                raise ModelError(f"the query cannot be answered: {_in_one_line(error)}") from error
        if twice := [name for name, times in Counter(found.column_names).items() if times > 1]:
            raise ModelError(f"the answer has several columns {twice[0]}; name them apart with AS")
        return found

    def write_table(self, path: Path | None = None) -> Path:
        """Write :meth:`table` as one Parquet file, ``table.parquet`` in the folder unless named otherwise.

        Equal results give equal bytes, with one version of pyarrow.
        """
        target = self.folder / "table.parquet" if path is None else path
        _write_parquet(target, self.table())
        return target

    def _require_lock(self) -> None:
        """Raise unless this store, and nobody else, may write."""
        if self._lock is None:
            raise ModelError(f"{self.folder} is open for reading only; use open_store to write")
        path, held = self.folder / _LOCK, os.fstat(self._lock)
        if not (path.exists() and os.path.samestat(path.stat(), held)):
            raise ModelError(
                f"{path} was deleted or replaced while this process held it, so that another one may write; nothing "
                "more is written here"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Close the store if writing is interrupted: what it knows may not be what is on the disk."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _clean(self) -> None:
        """Delete what a killed writer has left: drafts, and parts that are merged."""
        counting = {part.name for part in self._listed()}
        for path in sorted((self.folder / _PARTS).iterdir()):
            if path.name.endswith(_DRAFT) or (_PART.fullmatch(path.name) and path.name not in counting):
                path.unlink()

    def _listed(self) -> list[_Part]:
        """The parts that count, in the order of their commits."""
        matches = map(_PART.fullmatch, _listing(self.folder / _PARTS))
        found = sorted((_Part(int(m[1]), int(m[2])) for m in matches if m), key=lambda part: (part.first, -part.last))
        counting: list[_Part] = []
        for part in found:  # whoever replaces a part stands before it, next to it or to others that it replaces
            if not (counting and counting[-1].replaces(part)):
                counting.append(part)
        return counting

    def _merge(self, count: int) -> None:
        """One part for the newest of them; they cease to count when it gets its name."""
        import pyarrow as pa

        old = self._parts[-count:]
        merged = _Part(old[0].first, old[-1].last)
        tables = [self._read(part)[0] for part in old]
        self._write(merged, _latest(pa.concat_tables(tables, promote_options="permissive")))
        self._parts[-count:] = [merged]
        for part in old:
            (self.folder / _PARTS / part.name).unlink()

    def _write(self, part: _Part, table: "pa.Table") -> None:
        _write_parquet(self.folder / _PARTS / part.name, table)

    def _read(self, part: _Part, columns: list[str] | None = None) -> "tuple[pa.Table, dict[str, str]]":
        """Columns of a part (all: None), and the kinds of all that it has."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / _PARTS / part.name
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                if missing := [name for name in _OWN if name not in file.schema_arrow.names]:
                    raise pa.ArrowInvalid(f"it has no {missing[0]}")
                return file.read(columns), _kinds_of(file)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise ModelError(f"{path} is damaged ({_in_one_line(error)}); delete it, and its jobs run again") from error

    def _read_all(self, columns: list[str] | None) -> "list[tuple[_Part, pa.Table, dict[str, str]]]":
        """Every part that counts."""
        while True:
            listed = self._listed()
            with suppress(FileNotFoundError):  # a part that a writer has merged since it was listed
                return [(part, *self._read(part, columns)) for part in listed]

    def _everything(self, columns: list[str] | None = None) -> "pa.Table":
        """All parts as one table, in the order of commits."""
        import pyarrow as pa

        tables = [table for _, table, _ in self._read_all(columns)]
        whole = pa.concat_tables([_table_of([], {}), *tables], promote_options="permissive")
        return whole if columns is None else whole.select(columns)

    def _jobs(self) -> "pa.Table":
        """The first line of each record."""
        import pyarrow.compute as pc

        return self._everything(list(_OWN)).filter(pc.field(PLACE).is_null() | (pc.field(PLACE) == 0))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _description(experiment: str) -> dict[str, Any]:
    """What store.json says."""
    package = metadata.version("lookahead-rl")
    return {"format": FORMAT, "version": VERSION, "package": package, "experiment": experiment}


def _require_description(folder: Path, expected: Mapping[str, Any]) -> None:
    """Raise unless store.json says what is expected; None: anything will do."""
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{folder / _FILE} is damaged ({error}); choose another folder") from error
    for name, value in expected.items():
        there = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
        if value is not None and there != value:
            raise ModelError(
                f"{folder} holds results of {name} {there!r}, not {value!r}; they are not mixed: choose another folder"
            )


def _locked(folder: Path) -> int:
    """The descriptor of the store's lock, held until it is closed or the process ends in any way."""
    import fcntl

    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()}".encode())
    except BlockingIOError as error:
        holder = os.read(lock, 32).decode(errors="replace") or "another process"
        os.close(lock)
        raise ModelError(f"{folder} is written to by {holder}; wait for it, or choose another folder") from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _listing(folder: Path) -> list[str]:
    """The names in a folder. What changes while it is read may be missed, so it is read until it stays the same."""
    names: set[str] = set()
    while (again := {path.name for path in folder.iterdir()}) != names:
        names = again
    return sorted(names)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name in one step, when its content is on the disk."""
    draft = path.with_name(f"{path.name}{_DRAFT}")
    with draft.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too
    finally:
        os.close(folder)


def _write_parquet(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with _replacing(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


# Columns of rows have a kind each, which grows with what is put into them.
_WIDER = {
    frozenset(("whole numbers", "reals")): "reals",
    frozenset(("whole numbers", "large whole numbers")): "large whole numbers",
}


def _kind(name: str, value: object) -> str:
    """The kind of a cell.

    Raises:
        ModelError: A table cannot hold it.
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "truth values"
    if isinstance(value, int) and abs(value) <= _WHOLE:
        return "whole numbers" if abs(value) <= _EXACT else "large whole numbers"
    if isinstance(value, float):
        return "reals"
    if isinstance(value, str) and not _SURROGATE.search(value):
        return "text"
    raise ModelError(f"a row holds {name} = {value!r} ({type(value).__name__}); use text, numbers of 64 bits and None")


def _joined_kinds(kinds: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """The kinds that hold both.

    Raises:
        ModelError: There is none for one of the columns.
    """
    joined = dict(kinds)
    for name, new in others.items():
        old = joined.get(name, "nothing")
        if old == "nothing" or new in ("nothing", old):
            joined[name] = new if old == "nothing" else old
        elif (both := frozenset((old, new))) in _WIDER:
            joined[name] = _WIDER[both]
        else:
            raise ModelError(f"the column {name} holds {old} in some rows and {new} in others")
    return joined


def _joined(kinds: Mapping[str, str], rows: Sequence[Row]) -> dict[str, str]:
    """The kinds that hold these rows too."""
    joined = dict(kinds)
    for row in rows:
        if strange := [name for name in row if name in _OWN]:
            raise ModelError(f"a row holds {strange[0]}, a name that the store needs; call the column something else")
        joined = _joined_kinds(joined, {name: _kind(name, value) for name, value in row.items()})
    return joined


def _types() -> "dict[str, pa.DataType]":
    import pyarrow as pa

    return {
        "nothing": pa.null(),
        "truth values": pa.bool_(),
        "large whole numbers": pa.int64(),
        "whole numbers": pa.int64(),
        "reals": pa.float64(),
        "text": pa.string(),
    }


def _kinds_of(file: "pq.ParquetFile") -> dict[str, str]:
    """The kinds of the columns of a part."""
    kinds = {data_type: kind for kind, data_type in _types().items()}
    found = {column.name: kinds[column.type] for column in file.schema_arrow if column.name not in _OWN}
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    for column in (group.column(i) for group in groups for i in range(group.num_columns)):
        name, limits = column.path_in_schema, column.statistics
        if found.get(name) == "whole numbers" and limits is not None and limits.has_min_max:
            found[name] = _kind(name, max(limits.min, limits.max, key=abs))
    return found


def _table_of(records: Sequence[Record], kinds: Mapping[str, str]) -> "pa.Table":
    """One line for each row of each job; a job without rows has one line of its own."""
    import pyarrow as pa

    lines = [(record, place, row) for record in records for place, row in _placed(record)]
    types = _types()
    names = {name: None for _, _, row in lines for name in row}
    columns = {
        KEY: pa.array([record.key for record, _, _ in lines], pa.string()),
        CONFIGURATION: pa.array([record.configuration for record, _, _ in lines], pa.string()),
        SECONDS: pa.array([record.seconds for record, _, _ in lines], pa.float64()),
        ERROR: pa.array([_encodable(record.error) for record, _, _ in lines], pa.string()),
        TRACE: pa.array([_encodable(record.trace) for record, _, _ in lines], pa.string()),
        PLACE: pa.array([place for _, place, _ in lines], pa.int64()),
    }
    for name in names:
        columns[name] = pa.array([row.get(name) for _, _, row in lines], types[kinds[name]])
    return pa.table(columns)


def _encodable(message: str | None) -> str | None:
    """A message as UTF-8 can hold it: names of files may hold what it cannot."""
    return None if message is None else _SURROGATE.sub("?", message)


def _placed(record: Record) -> list[tuple[int | None, Row]]:
    """The rows of a record with their places; where it has none, one that is empty."""
    if record.error is None and record.rows:
        return list(enumerate(record.rows))
    return [(None, {})]


def _latest(lines: "pa.Table") -> "pa.Table":
    """Without the failures of jobs that succeeded or failed again later."""
    import pyarrow as pa

    errors, keys = lines[ERROR].to_pylist(), lines[KEY].to_pylist()
    last = {key: i for i, key in enumerate(keys)}
    return lines.filter(
        pa.array([error is None or last[key] == i for i, (key, error) in enumerate(zip(keys, errors, strict=True))])
    )
