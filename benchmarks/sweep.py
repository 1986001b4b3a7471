"""What a sweep costs beside a plain loop over the same jobs, and how fast a finished one is seen to be finished.

* **throughput**: 1,000 jobs in a plain loop, one process that keeps nothing, and by ``run_jobs`` on two processes that
  keep everything; the start of the processes counts. The jobs are short runs of LSVI-UCB, real ones;
* **overhead**: what 1,000 jobs that do nothing cost each, workers started, everything kept;
* **resume**: the command on a finished sweep of 10,000 jobs: read the file, see that nothing is missing, write the
  table and the summary. The interpreter's start counts.

Contenders take turns, numbers are medians. On a machine with other work all of them lose, the sweep most, so the load
is told too.

    python benchmarks/sweep.py [--json FILE] [--turns 3] [--jobs 1000] [--finished 10000]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from lookahead_rl.experiments.engines import run_jobs
from lookahead_rl.experiments.jobs import Job
from lookahead_rl.experiments.runs import Outcome, perform
from lookahead_rl.experiments.store import open_store

N_JOBS = 2
PAGE = """
jobs:
  agent: Random-v0
  env_id: DeepSea-v0
  total_timesteps: 0
  seed: {{range: [0, {n}]}}
"""


def short_runs(n: int) -> list[Job]:
    size = {"n_states": 20, "horizon": 4}
    return [Job("LSVIUCB-v0", "LinearMDP-v0", 240, s, size, {"n_episodes": 60}, checkpoints=2) for s in range(n)]


def nothing(job: Job) -> Outcome:
    """A job that takes no time."""
    return Outcome([{"agent": job.agent, "env_id": job.env_id, "seed": job.seed, "value": 0.0}], 0.0)


def loop_seconds(jobs: list[Job]) -> float:
    begun = time.perf_counter()
    for job in jobs:
        perform(job)
    return time.perf_counter() - begun


def sweep_seconds(jobs: list[Job], what=perform) -> float:
    """Time of a sweep; its processes are new."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with open_store(folder) as store:
            summary = run_jobs(jobs, store, what, n_jobs=N_JOBS)
        assert summary.ran == len(jobs)
        return time.perf_counter() - begun


def resume_seconds(n: int, turns: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        page, out = Path(folder, "jobs.yaml"), Path(folder, "out")
        page.write_text(PAGE.format(n=n), encoding="utf-8")
        jobs = [Job("Random-v0", "DeepSea-v0", 0, seed) for seed in range(n)]
        with open_store(out) as store:
            run_jobs(jobs, store, eleven_rows, n_jobs=N_JOBS)
        command = [sys.executable, "-c", "from lookahead_rl.scripts.cli import main; main()"]
        taken = []
        for _ in range(turns):
            begun = time.perf_counter()
            done = subprocess.run([*command, "sweep", str(page), "--out", str(out)], capture_output=True, check=True)
            taken.append(time.perf_counter() - begun)
            assert b" 0 to run" in done.stdout
        return taken


def eleven_rows(job: Job) -> Outcome:
    """As many rows as a run with ten checkpoints has, in no time."""
    row = {"agent": job.agent, "env_id": job.env_id, "env_kwargs": "{}", "agent_kwargs": "{}", "seed": job.seed}
    rows = [{**row, "steps": k, "value": k / 10, "optimal_value": 1.0, "score": k / 10} for k in range(11)]
    return Outcome(rows, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--turns", type=int, default=3, help="turns of each contender")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of a sweep")
    parser.add_argument("--finished", type=int, default=10_000, help="jobs of the finished sweep")
    arguments = parser.parse_args()
    n, turns, jobs = arguments.jobs, arguments.turns, short_runs(arguments.jobs)
    perform(jobs[0])  # compiles what there is to compile
    loops, sweeps, empties = [], [], []
    for _ in range(turns):
        loops.append(loop_seconds(jobs))
        sweeps.append(sweep_seconds(jobs))
        empties.append(sweep_seconds(jobs, nothing))
    resumed = resume_seconds(arguments.finished, turns)
    measured = [
        ("a plain loop, ms a job", 1e3 * median(loops) / n, None),
        (f"a sweep on {N_JOBS} processes, ms a job", 1e3 * median(sweeps) / n, None),
        ("throughput, sweep over loop", median(loops) / median(sweeps), "at least 1.7"),
        ("overhead, ms a job", 1e3 * median(empties) / n, "under 20"),
        (f"resume of {arguments.finished:,} finished jobs, s", median(resumed), "under 5"),
        ("load of the machine, one minute", os.getloadavg()[0], None),
    ]
    rows = [{"benchmark": "sweep", "what": what, "value": value, "target": goal} for what, value, goal in measured]
    for row in rows:
        print(f"{row['what']:45} {row['value']:8.3f}   {row['target'] or ''}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
