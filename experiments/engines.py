"""Many jobs at once, their results kept as they come: in a loop, on the cores of one machine, on a cluster.

An engine hands batches of jobs to workers and takes back what they found. A worker goes on with its batch for a quarter
of a second and returns what it has, beside the jobs it has not begun; so small jobs share the cost of a commit, large
ones have one each, and a kill costs no more than *each worker's job in hand and the quarter of a second before it*.
Only the process that started the sweep writes: a worker that outlives it changes nothing.

Workers are processes that stay for the whole sweep, so imports and compiled kernels are paid for once, and each has one
thread: several would get into each other's way, and sums depend on their number. They ignore Ctrl-C, which the process
that started them answers.

A job that fails, in whatever way, is kept as a failure. One that takes its worker down with it (out of memory, a crash
in compiled code) is found by running those that were in hand alone, one after another.
"""

import logging
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Protocol

from ..evaluation.report import Row
from ..models import ModelError
from ..models._checks import whole_number
from .jobs import Job
from .store import Record, Store, require_rows

SLICE = 0.25
"""Seconds after which a worker returns what it has."""
LARGEST_BATCH = 64
"""Jobs handed to a worker at a time, at most."""


class Found(Protocol):
    """What running a job gives."""

    @property
    def rows(self) -> Sequence[Row]:
        """Its results, equal however often it is run."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...


Perform = Callable[[Job], Found]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Summary:
    """What became of a list of jobs.

    Attributes:
        total: Different jobs in the list.
        found: How many of them had results already.
        ran: How many have results now that had none before.
        failures: Those that have none, with what they said.
        seconds: Time it took.
    """

    total: int
    found: int
    ran: int
    failures: tuple[Record, ...]
    seconds: float


@dataclass(frozen=True)
class Batch:
    """What comes back from a worker.

    Attributes:
        records: Of the jobs that it has run.
        left: Those that it has not begun.
        seconds: Time it took.
    """

    records: list[Record]
    left: list[Job]
    seconds: float


def run_jobs(
    jobs: Sequence[Job],
    store: Store,
    perform: Perform,
    *,
    engine: str = "joblib",
    n_jobs: int | None = None,
    progress: Progress | None = None,
    address: str | None = None,
) -> Summary:
    """Run the jobs that have no results in the store, and keep what they find.

    Args:
        jobs: What to run; equal jobs are one.
        store: Where results are kept, open for writing.
        perform: Runs one job; a function that other processes can import.
        engine: ``"joblib"``, processes on this machine; ``"loop"``, this process alone; ``"ray"``, a Ray cluster.
        n_jobs: Jobs at a time. None: one for each core, of the cluster for Ray. The loop takes one at a time.
        progress: Called after each commit with the numbers of jobs that have results and of those that failed.
        address: The Ray cluster to join. None: the one that this machine belongs to or, if it belongs to none, one
            that is begun here and ends with the call.

    Returns:
        What became of them. Jobs that fail are listed there and kept in the store; the next call runs them again.

    Raises:
        ModelError: There is no such engine, or ``n_jobs`` is below one.
        ImportError: The engine's library is missing.
        KeyboardInterrupt: Ctrl-C, when the workers have been stopped. What was committed stays.
    """
    require_engine(engine, n_jobs)
    begun, done = time.perf_counter(), store.keys()
    different = {job.key: job for job in jobs}
    queue = Queue([job for key, job in different.items() if key not in done])
    found = len(different) - len(queue)
    finished, failed = found, 0
    for batch in ENGINES[engine](queue, perform, n_jobs, address):
        for record in _keep(store, batch.records):
            finished += record.error is None
            failed += record.error is not None
        if progress is not None:
            progress(finished, failed)
    failures = tuple(record for record in store.failures() if record.key in different)
    return Summary(len(different), found, finished - found, failures, time.perf_counter() - begun)


def require_engine(engine: str, n_jobs: int | None = None) -> None:
    """Raise unless there is such an engine, and so many jobs at a time can be.

    Raises:
        ModelError: There is none of this name, or ``n_jobs`` is below one.
        ImportError: Its library is missing.
    """
    if engine not in ENGINES:
        raise ModelError(f"there is no engine {engine!r}; there are: {', '.join(ENGINES)}")
    if n_jobs is not None:
        whole_number("n_jobs", n_jobs, 1)
    extra = {"joblib": "experiments", "ray": "ray"}.get(engine)
    if extra is not None and find_spec(engine) is None:
        raise ImportError(f'the engine {engine} needs {engine}: pip install "lookahead-rl[{extra}]"')


class Queue:
    """The jobs without results, cut into batches that take a worker about :data:`SLICE` seconds."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting = deque(jobs)
        self._in_hand: dict[str, Job] = {}
        self._pace = SLICE  # seconds a job took in the last batch

    def __len__(self) -> int:
        """How many there are, waiting or in hand."""
        return len(self._waiting) + len(self._in_hand)

    def batches(self) -> Iterator[list[Job]]:
        """Batches to hand out, until none waits."""
        while self._waiting:
            yield self.take()

    def take(self) -> list[Job]:
        """The next batch; none waits if it is empty."""
        size = min(len(self._waiting), LARGEST_BATCH, max(1, round(SLICE / self._pace)))
        batch = [self._waiting.popleft() for _ in range(size)]
        self._in_hand.update((job.key, job) for job in batch)
        return batch

    def take_back(self, batch: Batch) -> Batch:
        """What a worker has run is done; what it has left comes first again."""
        for key in (*(record.key for record in batch.records), *(job.key for job in batch.left)):
            del self._in_hand[key]
        self._waiting.extendleft(reversed(batch.left))
        self._pace = max(1e-6, batch.seconds / len(batch.records))
        return batch

    def in_hand(self) -> list[Job]:
        """The jobs that were handed out and have not come back."""
        return list(self._in_hand.values())


def work(perform: Perform, jobs: Sequence[Job]) -> Batch:
    """Run jobs for :data:`SLICE` seconds, one at least; in a worker."""
    begun, records = time.perf_counter(), list[Record]()
    for job in jobs:
        if records and time.perf_counter() - begun > SLICE:
            break
        records.append(_record(perform, job))
    return Batch(records, list(jobs[len(records) :]), time.perf_counter() - begun)


def _record(perform: Perform, job: Job) -> Record:
    """What a job finds, or how it fails."""
    begun = time.perf_counter()
    try:
        found = perform(job)
        rows = [dict(row) for row in found.rows]
        require_rows(rows)
        return Record(job.key, job.text, rows, float(found.seconds))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it may fail in any way, and the others go on
        # Not f"{error}", which may fail in turn.
        said = "".join(traceback.TracebackException.from_exception(error).format_exception_only()).strip()
        return _failure(
            job, said.removeprefix(f"{type(error).__module__}."), time.perf_counter() - begun, traceback.format_exc()
        )


def _failure(job: Job, error: str, seconds: float = 0.0, trace: str | None = None) -> Record:
    return Record(job.key, job.text, (), seconds, error, trace)


def _keep(store: Store, records: Sequence[Record]) -> list[Record]:
    """Commit records; those whose rows do not fit the others become failures."""
    try:
        store.commit(records)
        return list(records)
    except ModelError as error:
        if len(records) > 1:
            return [kept for record in records for kept in _keep(store, [record])]
        failed = replace(records[0], rows=(), error=str(error))
        store.commit([failed])
        return [failed]


def _in_a_loop(queue: Queue, perform: Perform, n_jobs: int | None, address: str | None) -> Iterator[Batch]:
    """One job after another in this process."""
    while len(queue):
        yield queue.take_back(work(perform, queue.take()))


def _by_joblib(queue: Queue, perform: Perform, n_jobs: int | None, address: str | None) -> Iterator[Batch]:
    """On the cores of this machine."""
    from joblib import cpu_count

    while len(queue):  # once more for what the last workers left
        try:
            for batch in _parallel(perform, queue.batches(), n_jobs or cpu_count()):
                yield queue.take_back(batch)
        except BrokenProcessPool:
            for job in queue.in_hand():
                yield queue.take_back(_alone(perform, job))


def _parallel(perform: Perform, batches: Iterable[list[Job]], at_once: int) -> Iterator[Batch]:
    """Batches as they come back from joblib's workers, of which so many work at once.

    With one worker joblib would run jobs in this process, where a crash ends everything and sums depend on its threads;
    so there are two then, and one waits.
    """
    from joblib import Parallel, delayed, parallel_config

    one_by_one: Any = 1  # joblib takes a number too, which its annotation does not say
    with parallel_config("loky", inner_max_num_threads=1, initializer=_ignore_interrupts):
        run: Any = Parallel(
            n_jobs=max(2, at_once),
            pre_dispatch="1" if at_once == 1 else "2 * n_jobs",
            return_as="generator_unordered",
            batch_size=one_by_one,
            max_nbytes=None,
        )
        yield from run(delayed(work)(perform, batch) for batch in batches)


def _alone(perform: Perform, job: Job) -> Batch:
    """Run one job while no other is in hand, so that we know which one takes its worker down."""
    try:
        (batch,) = _parallel(perform, [[job]], 1)
        return batch
    except BrokenProcessPool as error:
        return Batch([_failure(job, f"its process ended: {' '.join(str(error).split())}")], [], SLICE)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _by_ray(queue: Queue, perform: Perform, n_jobs: int | None, address: str | None) -> Iterator[Batch]:
    """On a Ray cluster, which is begun here if there is none to join."""
    import ray

    begun_here = not ray.is_initialized()
    if begun_here:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield from _ray_batches(queue, perform, n_jobs or 2 * int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if begun_here:
            ray.shutdown()


def _ray_batches(queue: Queue, perform: Perform, most: int) -> Iterator[Batch]:
    """Batches as they come back from a cluster that is given at most so many at a time."""
    import ray
    from ray.exceptions import RayError

    submit = ray.remote(num_cpus=1, max_retries=0)(work).remote
    given: dict[ray.ObjectRef, list[Job]] = {}
    alone: deque[list[Job]] = deque()
    while len(queue):
        while len(given) < most and (batch := alone.popleft() if alone else queue.take()):
            given[submit(perform, batch)] = batch
        for reference in ray.wait(list(given), num_returns=1)[0]:
            jobs = given.pop(reference)
            try:
                yield queue.take_back(ray.get(reference))
            except RayError as error:
                if len(jobs) > 1:  # one of them has taken the worker down
                    alone.extend([job] for job in jobs)
                    continue
                message = f"its process ended: {' '.join(str(error).split())}"
                yield queue.take_back(Batch([_failure(jobs[0], message)], [], SLICE))


Engine = Callable[[Queue, Perform, int | None, str | None], Iterator[Batch]]
ENGINES: Mapping[str, Engine] = MappingProxyType({"joblib": _by_joblib, "loop": _in_a_loop, "ray": _by_ray})
"""How jobs are run, by name; the first is the default."""
