"""Steps per second of the native vector environment beside SyncVectorEnv and envpool.

Two comparisons, each on one and the same transition table:

* RandomMDP-v0 in 64 lanes: ``gym.make_vec`` as it comes, beside ``vectorization_mode="sync"``;
* FrozenLake in 1024 lanes: TabularMDP-v0 made from FrozenLake-v1's table, beside envpool's FrozenLake-v1, with one
  thread and with one for each core.

Contenders take turns, and each number is the median of its turns, per second of wall-clock time and per second of
CPU time of all threads. On a machine with nothing else to do read the first; on a busy one the second, since a
contender with more threads is given more of the machine. envpool brings pins of its own, so it runs in a virtual
environment that this script makes: in a temporary folder, or in ``--envpool-venv DIR``, which is kept and used again.

    python benchmarks/vector_envs.py [--json FILE] [--turns 9] [--envpool-venv DIR] [--no-envpool]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import gymnasium as gym
import numpy as np

import lookahead_rl  # noqa: F401  registers the environments

Turn = Callable[[], tuple[float, float]]
"""Takes one turn and returns its steps per second of wall-clock time and of CPU time."""

ENVPOOL_WORKER = """
import sys, time
import envpool, numpy as np
lanes, threads, steps = map(int, sys.argv[1:])
env = envpool.make("FrozenLake-v1", env_type="gymnasium", num_envs=lanes, num_threads=threads)
actions = np.random.default_rng(0).integers(0, 4, size=(16, lanes)).astype(np.int32)
env.reset()
env.step(actions[0])
print("ready", flush=True)
for _ in sys.stdin:
    begun = time.perf_counter(), time.process_time()
    for k in range(steps):
        env.step(actions[k % 16])
    ended = time.perf_counter(), time.process_time()
    print(*(lanes * steps / (b - a) for a, b in zip(begun, ended)), flush=True)
"""


def native_turn(env: gym.vector.VectorEnv, steps: int) -> Turn:
    """A turn of some environment in this process."""
    lanes, n_actions = env.num_envs, env.single_action_space.n
    actions = np.random.default_rng(0).integers(0, n_actions, size=(16, lanes))
    env.reset(seed=0)
    env.step(actions[0])  # compiles what there is to compile

    def turn() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        for k in range(steps):
            env.step(actions[k % 16])
        return lanes * steps / (time.perf_counter() - wall), lanes * steps / (time.process_time() - cpu)

    return turn


def envpool_turn(python: Path, lanes: int, threads: int, steps: int, stack: ExitStack) -> Turn:
    """A turn of envpool in a process of its own, which waits while the others take theirs."""
    command = [str(python), "-c", ENVPOOL_WORKER, str(lanes), str(threads), str(steps)]
    worker = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    stdin, stdout = worker.stdin, worker.stdout
    stack.callback(stdin.close)
    if stdout.readline() != "ready\n":
        raise RuntimeError("envpool did not start; its error is above")

    def turn() -> tuple[float, float]:
        stdin.write("go\n")
        wall, cpu = map(float, stdout.readline().split())
        return wall, cpu

    return turn


def envpool_python(folder: Path) -> Path:
    """The interpreter of a virtual environment with envpool, made in ``folder`` unless it is there."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making a virtual environment for envpool in {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "envpool"], check=True)
    return python


def rates(contenders: dict[str, Turn], turns: int) -> dict[str, tuple[float, float]]:
    """Median steps per wall-clock and per CPU second of each contender, taking turns."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, turn in contenders.items():
            seen[name].append(turn())
    return {name: (median(wall for wall, _ in rs), median(cpu for _, cpu in rs)) for name, rs in seen.items()}


def random_mdp(turns: int) -> list[dict[str, object]]:
    lanes = 64
    contenders = {
        "native": native_turn(gym.make_vec("RandomMDP-v0", num_envs=lanes), 5000),
        "SyncVectorEnv": native_turn(gym.make_vec("RandomMDP-v0", num_envs=lanes, vectorization_mode="sync"), 60),
    }
    return rows("RandomMDP-v0", lanes, rates(contenders, turns), target=50)


def frozen_lake(turns: int, venv: Path) -> list[dict[str, object]]:
    lanes = 1024
    python = envpool_python(venv)
    with ExitStack() as stack:
        contenders = {"native": native_turn(gym.make_vec("TabularMDP-v0", num_envs=lanes), 1000)}
        for threads in sorted({1, os.cpu_count() or 1}):
            contenders[f"envpool, {threads} threads"] = envpool_turn(python, lanes, threads, 150, stack)
        return rows("FrozenLake-v1", lanes, rates(contenders, turns), target=20)


def rows(env_id: str, lanes: int, measured: dict[str, tuple[float, float]], target: float) -> list[dict[str, object]]:
    """One flat row for each contender; the ratios are native's speed over its."""
    native_wall, native_cpu = measured["native"]
    return [
        {
            "benchmark": "vector_envs",
            "env_id": env_id,
            "lanes": lanes,
            "contender": name,
            "steps_per_second": wall,
            "steps_per_cpu_second": cpu,
            "ratio": native_wall / wall,
            "cpu_ratio": native_cpu / cpu,
            "target": target,
        }
        for name, (wall, cpu) in measured.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--turns", type=int, default=9, help="turns of each contender")
    parser.add_argument("--envpool-venv", type=Path, help="where to keep envpool's virtual environment")
    parser.add_argument("--no-envpool", action="store_true", help="leave envpool out")
    arguments = parser.parse_args()
    table = random_mdp(arguments.turns)
    if not arguments.no_envpool:
        with tempfile.TemporaryDirectory() as temporary:
            table += frozen_lake(arguments.turns, arguments.envpool_venv or Path(temporary))
    for row in table:
        print(
            f"{row['env_id']:14} {row['lanes']:5} lanes  {row['contender']:18} {row['steps_per_second']:13,.0f} steps/s"
            f" {row['steps_per_cpu_second']:13,.0f} a CPU second  ratio {row['ratio']:.1f}, {row['cpu_ratio']:.1f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
