"""Sweeps: what is kept through kills at any moment, how jobs are run, ``lookahead-rl sweep`` through its entry point.

A run is killed for real, by SIGKILL at random moments, and stopped in thought, before each step that touches the disk.
"""

import contextlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.experiments import engines, store
from lookahead_rl.experiments.engines import Queue, run_jobs, work
from lookahead_rl.experiments.grids import read_grid
from lookahead_rl.experiments.jobs import Job
from lookahead_rl.experiments.runs import perform as perform_for_real
from lookahead_rl.experiments.store import Record, open_store, read_store
from lookahead_rl.models import ModelError
from lookahead_rl.scripts.cli import main

LOOP = ("--engine", "loop")
SMALL = """\
defaults:
  checkpoints: 2
jobs:
  - agent: UCBVI-v0
    env_id: DeepSea-v0
    env_kwargs: {size: 4}
    agent_kwargs: {n_episodes: 5, reward_range: [[-0.01, 1.0]]}
    seed: {range: [0, 3]}
    total_timesteps: 20
"""


@dataclass(frozen=True)
class Found:
    rows: list
    seconds: float = 0.5


def rows_of(job):
    return [{"agent": job.agent, "seed": job.seed, "steps": i, "value": job.seed / 3 if i else None} for i in range(2)]


def perform(job):
    if job.agent == "fails":
        raise RuntimeError(f"seed {job.seed} does not converge")
    return Found(rows_of(job))


def seeds(n, agent="a"):
    return [Job(agent, "e", 1, seed=seed) for seed in range(n)]


def kept(folder, jobs, **options):
    """The summary and the bytes of the final table."""
    with open_store(folder) as results:
        summary = run_jobs(jobs, results, perform, engine="loop", **options)
        results.compact()
        return summary, results.write_table().read_bytes()


def require_whole(folder, jobs):
    """Raise unless everything that is there is there once, whole and right; returns the keys."""
    results, known = read_store(folder), {job.key: job for job in jobs}
    lines = Counter(row["job_key"] for row in results.rows())
    assert lines.keys() == results.keys() <= known.keys()
    assert set(lines.values()) <= {2}
    assert results.timings()["job_key"].to_pylist() == sorted(results.keys())
    said = [(row["job_key"], row["agent"], row["seed"], row["steps"], row["value"]) for row in results.rows()]
    due = [(key, *row.values()) for key in sorted(results.keys()) for row in rows_of(known[key])]
    assert sorted(said, key=str) == sorted(due, key=str)
    return results.keys()


@pytest.fixture
def no_waiting(monkeypatch):
    """Disks take milliseconds to say that they have written; only kills of the whole machine need to know."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


# the store


def test_what_is_appended_is_read_back(tmp_path):
    with open_store(tmp_path / "new" / "store") as results:
        results.append("k1", '{"seed": 1}', [{"seed": 1, "value": None}, {"seed": 1, "value": 0.1}], 2.5)
        results.append("k0", '{"seed": 0}', [{"seed": 0, "value": 3, "note": "x"}], 1.5)
        results.append("none", "{}", [], 0.0)
        assert results.keys() == {"k0", "k1", "none"}
    again = read_store(tmp_path / "new" / "store")
    assert again.keys() == {"k0", "k1", "none"}
    assert again.rows() == [
        {"seed": 0, "value": 3.0, "note": "x", "job_key": "k0"},
        {"seed": 1, "value": None, "note": None, "job_key": "k1"},
        {"seed": 1, "value": 0.1, "note": None, "job_key": "k1"},
    ]
    assert again.timings().to_pylist()[1] == {"job_key": "k1", "job_configuration": '{"seed": 1}', "job_seconds": 2.5}
    assert again.table().schema.field("value").type == pa.float64()


@settings(max_examples=4)
@given(st.permutations(range(12)), st.integers(2, 5), st.lists(st.integers(0, 11), max_size=4))
def test_the_table_does_not_depend_on_order_interruptions_or_merges(tmp_path_factory, order, fan_in, stops):
    folder = tmp_path_factory.mktemp("order")
    jobs = seeds(12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "FAN_IN", fan_in)
        patch.setattr(os, "fsync", lambda descriptor: None)
        results = open_store(folder / "shuffled")
        for i, place in enumerate(order):
            if i in stops:
                results.close()
                results = open_store(folder / "shuffled")
            results.append(jobs[place].key, jobs[place].text, rows_of(jobs[place]), float(i))
        results.close()
    with open_store(folder / "straight") as straight:
        straight.commit([Record(job.key, job.text, rows_of(job), 0.0) for job in jobs])
        assert read_store(folder / "shuffled").write_table().read_bytes() == straight.write_table().read_bytes()


@pytest.mark.usefixtures("no_waiting")
def test_thousands_of_commits_are_a_few_dozen_files(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FAN_IN", 4)
    with open_store(tmp_path) as results:
        for i in range(100):
            results.append(str(i), "{}", [{"seed": i}], 0.0)
            assert len(list((tmp_path / "parts").iterdir())) <= 3 * 4
        assert [row["seed"] for row in results.rows()] == list(range(100))
        results.compact()
        assert [path.name for path in (tmp_path / "parts").iterdir()] == ["000000000-000000099.parquet"]


def test_results_are_kept_once(tmp_path):
    with open_store(tmp_path) as results:
        results.append("k", "{}", [{"seed": 1}], 0.0)
        for records in ([Record("k", "{}")], [Record("new", "{}"), Record("new", "{}")]):
            with pytest.raises(ModelError, match=r"would hold the results of job (k|new) twice"):
                results.commit(records)
        assert results.keys() == {"k"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"seed": "text"}, "the column seed holds whole numbers in some rows and text in others"),
        ({"seed": True}, "the column seed holds whole numbers in some rows and truth values in others"),
        ({"seed": np.int64(3)}, r"a row holds seed = np.int64\(3\) \(int64\)"),
        ({"seed": [1]}, r"a row holds seed = \[1\] \(list\)"),
        ({"seed": 1 << 63}, "numbers of 64 bits"),
        ({"job_key": "mine"}, "a row holds job_key, a name that the store needs"),
    ],
)
def test_what_no_table_can_hold_is_refused_and_nothing_written(row, said, tmp_path):
    with open_store(tmp_path) as results:
        results.append("k", "{}", [{"seed": 1}], 0.0)
        with pytest.raises(ModelError, match=said):
            results.append("other", "{}", [{"seed": 2}, row], 0.0)
        assert results.keys() == {"k"}
        assert len(results.rows()) == 1
    assert len(list((tmp_path / "parts").iterdir())) == 1


@pytest.mark.parametrize("first", [0, 1])
def test_a_whole_number_that_reals_do_not_hold_is_refused_beside_reals(first, tmp_path):
    values = [0.5, (1 << 60) + 1]
    with open_store(tmp_path) as results:
        results.append("k", "{}", [{"value": values[first]}], 0.0)
    with open_store(tmp_path) as results:  # what was read back knows it too
        with pytest.raises(ModelError, match=r"the column value holds .*large whole numbers"):
            results.append("other", "{}", [{"value": values[1 - first]}], 0.0)
        assert [row["value"] for row in results.rows()] == [values[first]]


def test_a_store_whose_lock_was_deleted_writes_nothing_more(tmp_path):
    first = open_store(tmp_path)
    (tmp_path / "store.lock").unlink()
    with open_store(tmp_path) as second:
        second.append("second", "{}", [{"seed": 2}], 0.0)
        with pytest.raises(ModelError, match=r"store\.lock was deleted or replaced"):
            first.append("first", "{}", [{"seed": 1}], 0.0)
        assert read_store(tmp_path).keys() == {"second"}
    first.close()


def test_a_store_whose_merge_was_interrupted_writes_nothing_more_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FAN_IN", 2)
    results, synced, fsync = open_store(tmp_path), [], os.fsync
    results.append("a", "{}", [{"seed": 1}], 0.0)

    def interrupted(descriptor):
        synced.append(descriptor)
        fsync(descriptor)
        if len(synced) == 4:  # the merged part has its name
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            results.append("b", "{}", [{"seed": 2}], 0.0)
    with pytest.raises(ModelError, match="use open_store to write"):
        results.append("c", "{}", [{"seed": 3}], 0.0)
    with open_store(tmp_path) as again:
        again.append("c", "{}", [{"seed": 3}], 0.0)
        assert [row["seed"] for row in again.rows()] == [1, 2, 3]


def test_a_folder_without_its_parts_is_told_of(tmp_path):
    open_store(tmp_path).close()
    (tmp_path / "parts").rmdir()
    with pytest.raises(ModelError, match="has lost its folder parts"):
        read_store(tmp_path)


def test_a_changed_bit_among_the_numbers_changes_no_result(tmp_path):
    values = np.random.default_rng(1).random(300).tolist()
    with open_store(tmp_path) as results:
        results.commit([Record(str(i), "{}", [{"value": value}]) for i, value in enumerate(values)])
    (part,) = (tmp_path / "parts").iterdir()
    whole, damaged = part.read_bytes(), 0
    column = pq.ParquetFile(part).metadata.row_group(0).column(6)
    end = column.dictionary_page_offset + column.total_compressed_size
    for place in range(column.dictionary_page_offset + 100, end, 100):
        changed_part = bytearray(whole)
        changed_part[place] ^= 1
        part.write_bytes(changed_part)
        try:
            assert sorted(row["value"] for row in read_store(tmp_path).rows()) == sorted(values)
        except ModelError:
            damaged += 1
    assert damaged > 10


def test_a_file_of_other_columns_among_the_parts_is_named(tmp_path):
    open_store(tmp_path).close()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "parts/000000000-000000000.parquet")
    with pytest.raises(ModelError, match=r"is damaged \(it has no job_key\)"):
        read_store(tmp_path)


def test_columns_of_an_answer_that_share_a_name_are_refused(tmp_path):
    with open_store(tmp_path) as results:
        results.append("k", "{}", [{"seed": 1, "value": 0.5}], 0.0)
        with pytest.raises(ModelError, match="several columns seed; name them apart with AS"):
            results.query("SELECT seed, value AS seed FROM results")


# jobs


def test_a_job_does_not_change_with_what_it_was_made_of():
    arguments, jobs = {"sizes": [0]}, []
    for size in range(3):
        arguments["sizes"][0] = size
        jobs.append(Job("a", "e", 1, env_kwargs=arguments))
    assert [job.env_kwargs for job in jobs] == [{"sizes": [size]} for size in range(3)]
    assert len({job.key for job in jobs}) == 3


def test_equal_jobs_have_equal_keys_whatever_the_types_of_their_numbers():
    assert Job("a", "e", np.int64(1), seed=np.int64(3), gamma=1).key == Job("a", "e", 1, seed=3, gamma=1.0).key
    with pytest.raises(ModelError, match="gamma is True"):
        Job("a", "e", 1, gamma=True)


def test_a_job_against_another_file_of_the_same_name_is_another_job(tmp_path):
    (tmp_path / "rival.zip").write_bytes(b"weak")
    jobs = [Job("a", "e", 1, opponent=str(tmp_path / "rival.zip")) for _ in range(2)]
    before = jobs[0].key
    (tmp_path / "rival.zip").write_bytes(b"strong")
    assert jobs[1].key != before == jobs[0].key


@pytest.mark.usefixtures("no_waiting")
def test_failures_are_kept_apart_until_the_job_succeeds(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FAN_IN", 3)
    with open_store(tmp_path) as results:
        for i in range(7):  # merged in between
            results.commit([Record("k", "{}", (), 1.0, f"failed {i}", "where")])
        assert results.keys() == set()
        assert [(record.error, record.trace) for record in results.failures()] == [("failed 6", "where")]
        assert results.query("SELECT job_error FROM failures").to_pylist() == [{"job_error": "failed 6"}]
        assert results.table().num_rows == results.timings().num_rows == 0
        results.append("k", "{}", [{"seed": 1}], 0.0)
        assert results.failures() == []
        results.compact()
    assert read_store(tmp_path).failures() == []
    assert pq.read_table(tmp_path / "parts").num_rows == 1


def test_duckdb_answers_over_results_timings_and_failures(tmp_path):
    with open_store(tmp_path) as results:
        run_jobs([*seeds(4), *seeds(2, "fails")], results, perform, engine="loop")
        sql = "SELECT seed, sum(steps) AS n, any_value(job_seconds) AS s FROM results JOIN timings USING (job_key)"
        assert results.query(f"{sql} GROUP BY seed ORDER BY seed").to_pylist()[3] == {"seed": 3, "n": 1, "s": 0.5}
        assert results.query("SELECT count(*) AS n FROM failures").to_pylist() == [{"n": 2}]
        for sql, said in (
            ("SELECT * FROM nothing", "the query cannot be answered: .*nothing"),
            ("SELECT CAST(agent AS INT) FROM results", "the query cannot be answered: .*Could not convert"),
            ("", "the query asks nothing; begin it with SELECT"),
        ):
            with pytest.raises(ModelError, match=said):
                results.query(sql)


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    with open_store(tmp_path), pytest.raises(ModelError, match=f"is written to by process {os.getpid()}; wait for it"):
        open_store(tmp_path)
    with open_store(tmp_path):
        pass


def test_a_reader_cannot_write(tmp_path):
    open_store(tmp_path).close()
    reader = read_store(tmp_path)
    for write in (lambda: reader.append("k", "{}", [], 0.0), reader.compact):
        with pytest.raises(ModelError, match="is open for reading only"):
            write()


def changed(folder, **entries):
    description = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps(description | entries))


@pytest.mark.parametrize("entry", [{"version": 2}, {"package": "0.0.9"}, {"format": "other"}, {"experiment": "x"}])
def test_results_of_another_version_are_refused_and_left_alone(entry, tmp_path):
    with open_store(tmp_path) as results:
        results.append("k", "{}", [{"seed": 1}], 0.0)
    changed(tmp_path, **entry)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ModelError, match=f"holds results of {next(iter(entry))} .*choose another folder"):
        open_store(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    if "package" in entry:
        assert read_store(tmp_path).keys() == {"k"}
    else:
        with pytest.raises(ModelError, match="choose another folder"):
            read_store(tmp_path)


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match=r"is no folder of results and not empty \(it holds thesis.tex\)"):
        open_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ModelError, match="holds no results"):
        read_store(tmp_path)


def test_a_damaged_part_is_named_and_its_jobs_run_again_without_it(tmp_path):
    with open_store(tmp_path) as results:
        results.append("k", "{}", [{"seed": 1}], 0.0)
    (part,) = (tmp_path / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(ModelError, match=rf"{part.name} is damaged .*; delete it"):
        open_store(tmp_path)
    part.unlink()
    assert read_store(tmp_path).keys() == set()


@pytest.mark.usefixtures("no_waiting")
def test_readers_see_every_commit_once_while_parts_are_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FAN_IN", 2)
    counts, right, over = [], [], threading.Event()
    with open_store(tmp_path) as results:

        def read():
            while not over.is_set():
                seen = [row["seed"] for row in read_store(tmp_path).rows()]
                right.append(sorted(seen) == list(range(len(seen))))
                counts.append(len(seen))

        reader = threading.Thread(target=read)
        reader.start()
        for i in range(60):
            results.append(str(i), "{}", [{"seed": i}], 0.0)
        over.set()
        reader.join()
    assert all(right)
    assert counts == sorted(counts)
    assert len(counts) > 1


# kills


class KilledError(BaseException):
    """The process ends here."""


class Disk:
    """Counts the steps that touch the disk; from the one numbered ``last`` on nothing happens any more."""

    def __init__(self, patch, last=None):
        self.last, self.steps = last, 0
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (os, "ftruncate")):
            patch.setattr(owner, name, self.counted(getattr(owner, name)))
        written = pq.write_table

        def write_table(table, file, **options):
            whole = io.BytesIO()
            written(table, whole, **options)
            for half in (whole.getvalue()[: whole.tell() // 2], whole.getvalue()[whole.tell() // 2 :]):
                self.step()
                file.write(half)

        patch.setattr(pq, "write_table", write_table)

    def step(self):
        self.steps += 1
        if self.last is not None and self.steps > self.last:
            raise KilledError

    def counted(self, function):
        def stepping(*args, **options):
            self.step()
            return function(*args, **options)

        return stepping


def sweep_of(folder, jobs, done):
    """Two jobs a commit, and everything that a sweep does in the end; ``done`` learns what commits promise."""
    with open_store(folder) as results:
        there = results.keys()
        left = [job for job in jobs if job.key not in there]
        for i in range(0, len(left), 2):
            results.commit([Record(job.key, job.text, rows_of(job), 0.0) for job in left[i : i + 2]])
            done.update(job.key for job in left[i : i + 2])
        results.compact()
        return results.write_table().read_bytes()


@pytest.mark.usefixtures("no_waiting")
def test_a_stop_before_any_step_on_the_disk_loses_nothing_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "FAN_IN", 2)
    jobs = seeds(6)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        undisturbed = sweep_of(tmp_path / "undisturbed", jobs, set())
    assert disk.steps > 25
    for last in range(disk.steps):
        folder, done = tmp_path / str(last), set()
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, last)
            with pytest.raises(KilledError):
                sweep_of(folder, jobs, done)
        if (folder / "store.json").exists():
            assert done <= require_whole(folder, jobs)
        assert sweep_of(folder, jobs, set()) == undisturbed
        assert not list(folder.rglob("*.draft"))


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    with open_store(tmp_path) as results:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
            real = getattr(owner, name)

            def noted(*args, name=name, real=real):
                kind = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else "file"
                steps.append(f"{name} {kind}")
                return real(*args)

            monkeypatch.setattr(owner, name, noted)
        results.append("a", "{}", [], 0.0)
        results.append("b", "{}", [], 0.0)
        results.compact()
    written = ["fsync file", "replace file", "fsync folder"]
    assert steps == [*written, *written, *written, "unlink file", "unlink file"]


CHILD = """
import os, sys, time
from lookahead_rl.experiments import engines, store
from lookahead_rl.experiments.jobs import Job

class Found:
    def __init__(self, rows):
        self.rows, self.seconds = rows, 0.5

def perform(job):
    end = time.perf_counter() + float(job.agent_kwargs.get("busy", 0))
    while time.perf_counter() < end:
        pass
    if job.agent == "dies" and job.seed == 7:
        os.kill(os.getpid(), 9)
    row = {"agent": job.agent, "seed": job.seed}
    return Found([{**row, "steps": 0, "value": None}, {**row, "steps": 1, "value": job.seed / 3}])

def sweep(folder, engine, agent, n, busy, n_jobs=2):
    jobs = [Job(agent, "e", 1, seed=seed, agent_kwargs={"busy": float(busy)}) for seed in range(int(n))]
    with store.open_store(folder) as results:
        summary = engines.run_jobs(jobs, results, perform, engine=engine, n_jobs=int(n_jobs))
        results.compact()
        results.write_table()
    return summary

if __name__ == "__main__":
    engines.SLICE, store.FAN_IN = 0.004, 3
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(2, 1)  # what engines print is no answer of ours
            summary = sweep(*line.split())
            os._exit(len(summary.failures))
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
"""


class Sweeper:
    """Starts sweeps in processes of their own, without the cost of an interpreter for each."""

    def __init__(self, folder):
        script = folder / "sweeper.py"
        script.write_text(CHILD)
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, *options):
        """Start one; returns its process, which leads a group with its workers."""
        self.process.stdin.write(" ".join(map(str, options)) + "\n")
        return int(self.process.stdout.readline())

    def status(self):
        """Wait for its end."""
        return int(self.process.stdout.readline())

    def finish(self, folder, *options):
        """Run one to its end; the bytes of its table."""
        self.start(folder, *options)
        assert self.status() == 0
        return (Path(folder) / "table.parquet").read_bytes()

    def killed(self, folder, delay, first_commit, *options):
        """Run one for so many seconds, from its beginning or its first commit, and kill it with all its workers.

        Whether it came to its end before.
        """
        before = parts_in(folder)
        group = self.start(folder, *options)
        with contextlib.suppress(ProcessLookupError):
            while first_commit and parts_in(folder) <= before:
                os.kill(group, 0)
                time.sleep(0.002)
            time.sleep(delay)
            os.killpg(group, signal.SIGKILL)
        return self.status() == 0


def parts_in(folder):
    return {path.name for path in folder.glob("parts/*.parquet")}


@pytest.fixture
def sweeper(tmp_path):
    started = Sweeper(tmp_path)
    yield started
    started.process.stdin.close()
    started.process.wait()
    started.process.stdout.close()


def kill_again_and_again(sweeper, tmp_path, kills, longest, engine, n, busy):
    """Kill sweeps at random moments and let each go on where it was, until it is finished; then begin another."""
    rng = np.random.default_rng()
    options = (engine, "a", n, busy)
    jobs = [Job("a", "e", 1, seed=seed, agent_kwargs={"busy": busy}) for seed in range(n)]
    undisturbed = sweeper.finish(tmp_path / "undisturbed", *options)
    folder, seen, hits = tmp_path / "0", frozenset(), 0
    while hits < kills:
        if sweeper.killed(folder, rng.uniform(0.0, longest), rng.random() < 0.8, *options):
            assert (folder / "table.parquet").read_bytes() == undisturbed
            folder, seen = folder.with_name(f"after-{hits}-{time.monotonic_ns()}"), frozenset()
            continue
        hits += 1
        if (folder / "store.json").exists():
            now = require_whole(folder, jobs)
            assert seen <= now
            seen = now
    assert sweeper.finish(folder, *options) == undisturbed
    assert require_whole(folder, jobs) == {job.key for job in jobs}


def test_kills_at_random_moments_lose_nothing_and_double_nothing(sweeper, tmp_path):
    kill_again_and_again(sweeper, tmp_path, kills=3, longest=0.1, engine="loop", n=20, busy=0.001)


@pytest.mark.slow
def test_fifty_kills_of_a_sweep_by_processes_lose_nothing_and_double_nothing(sweeper, tmp_path):
    kill_again_and_again(sweeper, tmp_path, kills=50, longest=1.5, engine="joblib", n=400, busy=0.01)


def command(*args, cwd):
    """A run of the command in a process group of its own."""
    code = "from lookahead_rl.scripts.cli import main; main()"
    with (cwd / "said.txt").open("w") as said:
        arguments = [sys.executable, "-c", code, "sweep", *args]
        return subprocess.Popen(arguments, start_new_session=True, cwd=cwd, stdout=said, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_kills_of_the_command_itself_leave_the_table_of_an_undisturbed_run(tmp_path):
    (tmp_path / "jobs.yaml").write_text(SMALL.replace("[0, 3]", "[0, 600]"))
    rng = np.random.default_rng()
    assert command("jobs.yaml", "--out", "undisturbed", *LOOP, cwd=tmp_path).wait() == 0
    options = ("jobs.yaml", "--out", "killed", "--n-jobs", "2")
    for _ in range(10):
        running = command(*options, cwd=tmp_path)
        time.sleep(rng.uniform(1.0, 10.0))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert command(*options, cwd=tmp_path).wait() == 0
    tables = [(tmp_path / name / "table.parquet").read_bytes() for name in ("undisturbed", "killed")]
    assert tables[0] == tables[1]


# engines


def test_only_what_is_missing_is_run(tmp_path):
    ran = []

    def noted(job):
        ran.append(job.seed)
        return perform(job)

    with open_store(tmp_path) as results:
        first = run_jobs([*seeds(3), *seeds(3)], results, noted, engine="loop")
        second = run_jobs(seeds(5), results, noted, engine="loop")
    assert ran == [0, 1, 2, 3, 4]
    assert (first.total, first.found, first.ran, first.failures) == (3, 0, 3, ())
    assert (second.total, second.found, second.ran) == (5, 3, 2)


def test_a_failing_job_is_kept_with_its_message_and_run_again_next_time(tmp_path):
    jobs = [*seeds(2), *seeds(1, "fails"), *seeds(2, "b")]
    summary, table = kept(tmp_path / "failing", jobs)
    assert (summary.ran, len(summary.failures)) == (4, 1)
    assert summary.failures[0].error == "RuntimeError: seed 0 does not converge"
    assert "in perform" in summary.failures[0].trace
    assert table == kept(tmp_path / "healthy", [*seeds(2), *seeds(2, "b")])[1]
    with open_store(tmp_path / "failing") as results:
        mended = run_jobs(jobs, results, lambda job: Found(rows_of(job)), engine="loop")
    assert (mended.found, mended.ran, mended.failures) == (4, 1, ())


class UnspeakableError(Exception):
    """An error that cannot be told."""

    def __str__(self):
        raise ValueError


def raising(error):
    raise error


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (lambda: Found([{"agent": 3}]), "the column agent holds text in some rows and whole numbers in others"),
        (lambda: Found([{"value": object()}]), "a row holds value = <object"),
        (lambda: None, "AttributeError: 'NoneType' object has no attribute 'rows'"),
        (lambda: sys.exit(3), "SystemExit: 3"),
        (lambda: raising(OSError("no \udcff")), "OSError: no ?"),
        (lambda: raising(UnspeakableError()), "UnspeakableError: <exception str() failed>"),
        (lambda: Found([{"note": "\ud800"}]), "a row holds note = "),
    ],
)
def test_whatever_a_job_does_the_others_are_kept(found, said, tmp_path):
    def odd(job):
        return found() if job.seed == 2 else perform(job)

    with open_store(tmp_path) as results:
        summary = run_jobs(seeds(4), results, odd, engine="loop")
        assert results.keys() == {job.key for job in seeds(4) if job.seed != 2}
    assert [said in failure.error for failure in summary.failures] == [True]


def test_ctrl_c_keeps_what_was_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "SLICE", 1e-9)

    def stopped(job):
        if job.seed == 3:
            raise KeyboardInterrupt
        return perform(job)

    with open_store(tmp_path) as results, pytest.raises(KeyboardInterrupt):
        run_jobs(seeds(6), results, stopped, engine="loop")
    assert require_whole(tmp_path, seeds(3)) == {job.key for job in seeds(3)}


def test_a_worker_returns_what_it_has_after_its_slice(monkeypatch):
    jobs = seeds(5)
    monkeypatch.setattr(engines, "SLICE", 1e-9)
    batch = work(perform, jobs)
    assert [record.key for record in batch.records] == [jobs[0].key]
    assert batch.left == jobs[1:]


def test_batches_take_about_a_slice(monkeypatch):
    monkeypatch.setattr(engines, "SLICE", 10.0)
    jobs = seeds(200)
    queue = Queue(jobs)
    assert queue.take() == jobs[:1]  # nothing is known of them yet
    queue.take_back(engines.Batch([Record(jobs[0].key, "")], [], 5.0))
    assert queue.take() == jobs[1:3]  # two of five seconds each
    queue.take_back(engines.Batch([Record(jobs[1].key, "")], [jobs[2]], 1e-3))
    assert queue.take() == jobs[2:66]  # no more than 64, what was left before first
    assert queue.in_hand() == jobs[2:66]
    assert len(queue) == 198
    assert [len(batch) for batch in queue.batches()] == [64, 64, 6]


def test_progress_counts_results_and_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "SLICE", 1e-9)
    told = []
    kept(tmp_path, seeds(2))
    kept(tmp_path, [*seeds(3), *seeds(1, "fails")], progress=lambda *counts: told.append(counts))
    assert told == [(3, 0), (3, 1)]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"engine": "slurm"}, ModelError, "there is no engine 'slurm'; there are: joblib, loop, ray"),
        ({"n_jobs": 0}, ModelError, "n_jobs is 0; it must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused(options, error, said, tmp_path):
    with open_store(tmp_path) as results, pytest.raises(error, match=said):
        run_jobs(seeds(1), results, perform, **options)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    for place in (engines, store):
        monkeypatch.setattr(place, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'stored results need pyarrow: pip install "lookahead-rl\[experiments\]"'):
        open_store(tmp_path)
    with pytest.raises(ImportError, match=r'needs ray: pip install "lookahead-rl\[ray\]"'):
        engines.require_engine("ray")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "n_jobs"), [("joblib", 2), ("joblib", 1), ("ray", 2)])
def test_a_job_that_takes_its_worker_down_is_told_and_the_others_are_kept(engine, n_jobs, sweeper, tmp_path):
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    sweeper.start(tmp_path / "out", engine, "dies", 40, 0.001, n_jobs)
    assert os.waitstatus_to_exitcode(sweeper.status()) == 1
    results = read_store(tmp_path / "out")
    assert len(results.keys()) == 39
    (failure,) = results.failures()
    assert json.loads(failure.configuration)["seed"] == 7
    assert failure.error.startswith("its process ended: ")


@pytest.mark.slow
def test_every_engine_finds_the_same_table(sweeper, tmp_path):
    options = ("a", 60, 0.001)
    tables = {name: sweeper.finish(tmp_path / name, name, *options) for name in engines.ENGINES if find_spec(name)}
    loop = sweeper.finish(tmp_path / "loop", "loop", *options)
    assert tables == dict.fromkeys(tables, loop)
    assert tables.keys() >= {"joblib"}


@pytest.mark.slow
def test_ctrl_c_stops_the_workers_too(tmp_path):
    (tmp_path / "jobs.yaml").write_text(SMALL.replace("[0, 3]", "[0, 100000]"))
    running = command("jobs.yaml", "--out", "out", "--n-jobs", "2", cwd=tmp_path)
    while not ((tmp_path / "out" / "parts").exists() and len(list((tmp_path / "out" / "parts").iterdir())) > 3):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait() == 130
    said = (tmp_path / "said.txt").read_text()
    assert "Stopped with the results of " in said
    assert "Traceback" not in said
    assert len(read_store(tmp_path / "out").keys()) > 3
    left = subprocess.run(["pgrep", "-g", str(running.pid), "-f", "popen_loky"], capture_output=True, check=False)
    assert not left.stdout


# the command


def swept(tmp_path, *options, page=SMALL):
    """The rows that the command writes."""
    (tmp_path / "jobs.yaml").write_text(page)
    files = ("--out", str(tmp_path / "out"), "--json", str(tmp_path / "rows.json"))
    main(["sweep", str(tmp_path / "jobs.yaml"), *files, *options])
    return json.loads((tmp_path / "rows.json").read_text())


def refused(capsys, tmp_path, page, *options):
    """The one line with which the command ends before anything runs."""
    with pytest.raises(SystemExit) as stop:
        swept(tmp_path, *options, page=page)
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert not (tmp_path / "out" / "parts").exists()
    return shown


@pytest.mark.parametrize("engine", [LOOP, pytest.param(("--n-jobs", "2"), marks=pytest.mark.slow)], ids=" ".join)
def test_the_command_finds_what_a_loop_finds_and_again_runs_nothing(engine, tmp_path, capsys, monkeypatch):
    (tmp_path / "jobs.yaml").write_text(SMALL)
    running = command("jobs.yaml", "--out", "out", "--json", "rows.json", *engine, cwd=tmp_path)
    assert running.wait() == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["seed"], row["checkpoint"]) for row in rows] == [(s, k) for s in range(3) for k in range(3)]
    for row in rows:
        assert row.keys() >= {"agent", "env_id", "seed", "steps", "value", "optimal_value", "score", "seconds"}
        assert not any(isinstance(cell, list | dict) for cell in row.values())
    table = (tmp_path / "out" / "table.parquet").read_bytes()
    assert "jobs.yaml: 3 jobs, 0 with results in out, 3 to run" in (tmp_path / "said.txt").read_text()
    monkeypatch.setattr("lookahead_rl.scripts.sweep.perform", None)
    assert swept(tmp_path, *LOOP) == rows
    assert (tmp_path / "out" / "table.parquet").read_bytes() == table
    assert "3 with results" in capsys.readouterr().out
    with open_store(tmp_path / "loop") as results:
        run_jobs(
            [placed.job for placed in read_grid(tmp_path / "jobs.yaml").jobs], results, perform_for_real, engine="loop"
        )
        assert results.write_table().read_bytes() == table


def test_environments_of_the_working_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "envs_of_mine.py").write_text("import gymnasium as gym\ngym.register('Mine-v0', 'no.such:Thing')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    page = "jobs: {agent: Random-v0, env_id: envs_of_mine:Mine-v0, total_timesteps: 0}"
    with pytest.raises(SystemExit):
        swept(tmp_path, *LOOP, page=page)
    assert sys.modules.pop("envs_of_mine")


def test_a_query_answers_and_a_dry_run_runs_nothing(tmp_path, capsys):
    counted = ("--query", "SELECT seed, sum(steps) AS n, list(steps) AS l FROM results GROUP BY seed ORDER BY seed")
    assert swept(tmp_path, *LOOP, *counted) == [{"seed": seed, "n": 30, "l": "[0, 10, 20]"} for seed in range(3)]
    longer = SMALL.replace("[0, 3]", "[0, 5]")
    assert len(swept(tmp_path, *counted, "--dry-run", page=longer)) == 3
    assert "5 jobs, 3 with results" in capsys.readouterr().out
    assert swept(tmp_path, "--dry-run", "--query", "SELECT * FROM failures") == []


def test_failing_jobs_end_the_command_with_status_1_and_are_named(tmp_path, capsys, monkeypatch):
    def sometimes(job):
        if job.seed == 1:
            raise RuntimeError("it does not converge")
        return perform_for_real(job)

    monkeypatch.setattr("lookahead_rl.scripts.sweep.perform", sometimes)
    with pytest.raises(SystemExit) as stop:
        swept(tmp_path, *LOOP)
    assert stop.value.code == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 jobs failed" in shown
    assert '"seed":1' in shown
    assert "RuntimeError: it does not converge" in shown
    assert {row["seed"] for row in json.loads((tmp_path / "rows.json").read_text())} == {0, 2}
    monkeypatch.undo()
    assert {row["seed"] for row in swept(tmp_path, *LOOP)} == {0, 1, 2}


def test_ctrl_c_before_anything_runs_ends_the_command_too(tmp_path, monkeypatch):
    def stopped(job):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookahead_rl.experiments.runs.check", stopped)
    with pytest.raises(SystemExit) as stop:
        swept(tmp_path, *LOOP)
    assert stop.value.code == 130
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_command_with_one_line_and_status_130(tmp_path, capsys, monkeypatch):
    def stopped(job):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookahead_rl.scripts.sweep.perform", stopped)
    with pytest.raises(SystemExit) as stop:
        swept(tmp_path, *LOOP)
    assert stop.value.code == 130
    assert "Stopped with the results of 0 of 3 jobs; the same command goes on from there" in capsys.readouterr().out


# sweep files


def grid_of(tmp_path, page):
    path = tmp_path / "jobs.yaml"
    path.write_bytes(page if isinstance(page, bytes) else page.encode())
    return read_grid(path)


def test_lists_and_ranges_are_choices_and_blocks_override_defaults(tmp_path):
    page = """
defaults:
  total_timesteps: 100
  seed: {range: [0, 2]}
jobs:
  - agent: [A, B]
    env_id: E
    env_kwargs: {mdp_seed: {range: [3, 8, 2]}, name: on}
    agent_kwargs: [{}, {lr: [1e-3, "1e-3"], net: [[64, 64]]}]
  - {agent: C, env_id: E, seed: 7, total_timesteps: 0, gamma: ~}
  - {agent: C, env_id: E, seed: [7, 7], total_timesteps: 0}
"""
    grid = grid_of(tmp_path, page)
    jobs = [placed.job for placed in grid.jobs]
    assert len(jobs) == 2 * 2 * 3 * 3 + 1
    assert grid.repeated == 2
    assert {job.env_kwargs["mdp_seed"] for job in jobs[:-1]} == {3, 5, 7}
    assert {job.env_kwargs["name"] for job in jobs[:-1]} == {"on"}
    arguments = [{}, {"lr": 1e-3, "net": [64, 64]}, {"lr": "1e-3", "net": [64, 64]}]
    assert [job.agent_kwargs for job in jobs[:3]] == arguments
    assert jobs[-1] == Job("C", "E", 0, seed=7)
    assert {(job.agent, job.seed, job.total_timesteps) for job in jobs[:-1]} == {
        (agent, seed, 100) for agent in "AB" for seed in (0, 1)
    }
    assert grid.jobs[0].lines == {
        "total_timesteps": 3, "seed": 4, "agent": 6, "env_id": 7, "env_kwargs": 8, "agent_kwargs": 9,
    }  # fmt: skip


GOOD = "jobs:\n- {agent: A, env_id: E, total_timesteps: 1%s}\n"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("", "line 1: the file is None"),
        ("jobs: []", "line 1: jobs holds none"),
        ("\ndefaults: {seed: 1}", "line 1: there are no jobs"),
        ("jobs: 3", "line 1: a block of jobs is 3"),
        ("\njobz: 3", "line 2: the file has no jobz; did you mean jobs?"),
        ("jobs:\n- agent: A", "line 2: a job needs env_id, total_timesteps"),
        (GOOD % ",\n sede: 1", "line 3: a block of jobs has no sede; did you mean side or seed?"),
        (GOOD % ", seed: [0,\n -2]", "line 3: seed is -2; it must be at least 0"),
        (GOOD % ", seed: 1.5", "line 2: seed is 1.5; pass an integer"),
        (GOOD % ", seed: []", "line 2: an empty list stands for no job at all"),
        (GOOD % ",\n env_kwargs: 3", "line 3: env_kwargs is 3; pass a mapping"),
        (GOOD % ",\n env_kwargs: {a: .inf}", r"line 3: env_kwargs\['a'\] is inf; use finite numbers"),
        (GOOD % ", seed: {range: [0, x]}", r"line 2: range is \[0, 'x'\]; write {range: \[0, 10\]}"),
        (GOOD % ", seed: {range: [0, 9, 0]}", r"line 2: range is \[0, 9, 0\]"),
        (GOOD % ", seed: {range: [3, 3]}", r"line 2: range \[3, 3\] holds 0 numbers"),
        (GOOD % ", seed: {range: [0, 9000000000]}", "holds 9,000,000,000 numbers; it needs 1 to 1,000,000"),
        (GOOD % ", seed: {range: [0, 9999]}, n_envs: {range: [1, 9999]}", "stands for 99,970,002 jobs"),
        (GOOD % ", env_kwargs: {a: {range: [0, 9999]}, b: {range: [0, 9999]}}", "stands for 99,980,001 jobs"),
        ("jobs:\n- {agent: A,\n agent: B}", "line 3: agent stands twice, in line 2 already"),
        ("jobs:\n- {agent: A, 1: B}", "line 2: a key is 1; keys are text"),
        ("a: &x [1]\nb: *x", r"line 1: & and \* \(x\) are not taken"),
        ("jobs:\n- !!python/object/apply:os.system [ls]", "line 2: the tag !!python/object/apply:os.system is not"),
        ("jobs:\n- [", "line 3: this is no YAML: did not find expected node content"),
        ("jobs:\n- a\n\tb: 1", "line 3: this is no YAML: "),
        (b"jobs: \xff\xfe", "line 1: this is no YAML: .*invalid"),
        ("[" * 100_000, "line 1: lists and mappings stand more than 50 deep in each other"),
        (GOOD % (", seed: " + "9" * 5000), "line 2: a word of 5,000 characters"),
        ("a: 1\n---\nb: 1", "line 2: this is no YAML: but found another document"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(page, said, tmp_path):
    with pytest.raises(ModelError, match=f"jobs.yaml, {said}" if said.startswith("line") else said):
        grid_of(tmp_path, page)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("UCBVI-v0", "UCBV-v0"), "line 4: no agent is registered as 'UCBV-v0'; did you mean UCBVI-v0"),
        (("DeepSea-v0", "DeepSee-v0"), "line 5: .*DeepSea-v0"),
        (("size: 4", "depth: 4"), "line 6: .*unexpected keyword argument 'depth'"),
        (("n_episodes: 5", "episodes: 5"), "line 7: UCBVI-v0 takes no argument episodes"),
        (("DeepSea-v0\n    env_kwargs: {size: 4}", "LinearMDP-v0"), "line 4: UCBVI keeps tables of a FiniteHorizonMDP"),
        (("- agent: UCBVI-v0", "- agent: [UCBVI-v0,\n       PPO2]"), "line 5: no agent is registered as 'PPO2'"),
    ],
)
def test_one_bad_job_names_its_line_and_nothing_runs(change, said, tmp_path, capsys):
    assert re.search(f"jobs.yaml, {said}", refused(capsys, tmp_path, SMALL.replace(*change), *LOOP))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--json", "no/such/folder.json"), "no/such/folder.json"),
        (("--query", "SELEC 1"), "the query cannot be read: "),
        (("--n-jobs", "0", "--engine", "joblib"), "n_jobs is 0"),
        (("--address", "auto"), "--address is for --engine ray, not joblib"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(options, said, tmp_path, capsys):
    assert said in refused(capsys, tmp_path, SMALL, *options)


def test_a_folder_of_another_version_is_one_line_and_status_2(tmp_path, capsys):
    open_store(tmp_path / "out").close()
    (tmp_path / "out" / "parts").rmdir()
    changed(tmp_path / "out", version=2)
    assert "holds results of version 2, not 1" in refused(capsys, tmp_path, SMALL, *LOOP)


def test_equal_pairs_are_checked_once(tmp_path, monkeypatch):
    checked = []
    monkeypatch.setattr("lookahead_rl.experiments.runs.check", checked.append)
    page = SMALL.replace("{size: 4}", "{size: [4, 5], mdp_seed: [0, 1]}")
    grid = grid_of(tmp_path, page)
    told = []
    grid.check(grid.jobs, lambda *counts: told.append(counts))
    assert len(grid.jobs) == 12
    assert [job.env_kwargs["size"] for job in checked] == [4, 5]
    assert told == [(1, 2), (2, 2)]
