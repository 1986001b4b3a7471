"""Solving a large sparse MDP: our solvers beside quantecon's DiscreteDP and mdpsolver, at one certified accuracy.

The instance is a Garnet (10^5 states, 4 actions, 5 successors, gamma 0.99 unless asked otherwise), or, where chains
mix slowly, a square gridworld with slippery moves and random rewards (``--instance grid``). Every solver is run with
tolerances 1e-2, 1e-3, ... until the certified gap of its answer, computed by us from its value and policy alone, is
at most ``--tol``; what is timed is solving with that tolerance, without building models or compiling; our time
includes our certificate. Contenders take turns; each number is the median of its turns; read the ratios, which a busy
machine moves less than the times. Beside the wall clock stands the processor time, summed over threads.

quantecon is tried with each of its iterative methods and three choices of its parameter k. mdpsolver goes on from its
last answer when solve is called again, so each of its turns gets a fresh model; its Gauss-Seidel updates, two hundred
times as slow on the Garnet, are left out, and so is everyone's exact policy iteration, which does not fit into memory
there except ours.

    python benchmarks/value_iteration.py [--json FILE] [--instance garnet|grid] [--states 100000] [--gamma 0.99]
                                         [--tol 1e-6] [--turns 5]
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median

import mdpsolver
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from quantecon.markov import DiscreteDP

from lookahead_rl.models import TabularMDP, garnet_mdp
from lookahead_rl.solvers import certify, policy_iteration, solve, value_iteration

Answer = tuple[NDArray[np.float64], NDArray[np.int64]]
Seconds = tuple[float, float]
"""Wall clock and processor time."""

Contender = Callable[[float], tuple[Seconds, Answer]]
"""Solves to a tolerance of its own kind."""

OURS = "lookahead_rl value_iteration"
TOO_SLOW = 20.0
"""Contenders that take so many times as long as ours get no further turns."""


def clocks() -> Seconds:
    return time.perf_counter(), time.process_time()


def since(begun: Seconds) -> Seconds:
    wall, processor = clocks()
    return wall - begun[0], processor - begun[1]


def ours(model: TabularMDP, solver: Callable[..., object]) -> Contender:
    def run(tolerance: float) -> tuple[Seconds, Answer]:
        begun = clocks()
        solution = solver(model, tolerance)
        return since(begun), (solution.value, solution.policy)

    return run


def quantecon(model: TabularMDP, method: str, k: int) -> Contender:
    states, actions = np.divmod(np.arange(model.r.size), model.n_actions)
    problem = DiscreteDP(model.r.ravel(), model.P_rows, model.gamma, states, actions)

    def run(tolerance: float) -> tuple[Seconds, Answer]:
        begun = clocks()
        result = problem.solve(method=method, epsilon=tolerance, max_iter=10**6, k=k)
        return since(begun), (np.asarray(result.v), np.asarray(result.sigma, dtype=np.int64))

    return run


def with_mdpsolver(model: TabularMDP, method: str, parallel: bool) -> Contender:
    def nested(flat: NDArray[np.generic]) -> list[list[list[float]]]:
        ends = model.P.indptr
        rows = [flat[ends[k] : ends[k + 1]].tolist() for k in range(model.r.size)]
        return [rows[s * model.n_actions : (s + 1) * model.n_actions] for s in range(model.n_states)]

    rewards, probabilities, columns = model.r.tolist(), nested(model.P.data), nested(model.P.indices)

    def run(tolerance: float) -> tuple[Seconds, Answer]:
        problem = mdpsolver.model()
        problem.mdp(discount=model.gamma, rewards=rewards, tranMatProbs=probabilities, tranMatColumns=columns)
        begun = clocks()
        problem.solve(algorithm=method, tolerance=tolerance, parallel=parallel, makeFinalCheck=False)
        seconds = since(begun)
        return seconds, (np.array(problem.getValueVector()), np.array(problem.getPolicy(), dtype=np.int64))

    return run


def contenders(model: TabularMDP) -> dict[str, Contender]:
    found = {OURS: ours(model, value_iteration), "lookahead_rl solve": ours(model, solve)}
    found["lookahead_rl policy_iteration"] = ours(model, policy_iteration)
    for k in (5, 10, 20):
        found[f"quantecon modified_policy_iteration, k={k}"] = quantecon(model, "modified_policy_iteration", k)
    found["quantecon value_iteration"] = quantecon(model, "value_iteration", 0)
    for method in ("vi", "mpi"):
        for parallel in (False, True):
            threads = "all threads" if parallel else "one thread"
            found[f"mdpsolver {method}, {threads}"] = with_mdpsolver(model, method, parallel)
    return found


def instance(name: str, n_states: int, gamma: float) -> TabularMDP:
    if name == "garnet":
        return garnet_mdp(n_states, 4, 5, 0, gamma=gamma, sparse=True)
    return slippery_grid(round(n_states**0.5), gamma)


def slippery_grid(width: int, gamma: float) -> TabularMDP:
    """Four moves, each of which goes astray to either side with probability 0.1; uniform rewards."""
    here = np.arange(width**2)
    row, column = np.divmod(here, width)
    steps = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
    near = [np.clip(row + dy, 0, width - 1) * width + np.clip(column + dx, 0, width - 1) for dy, dx in steps]
    reached = np.stack([np.stack([near[a], near[(a + 1) % 4], near[a - 1]], axis=-1) for a in range(4)], axis=1)
    law = np.tile([0.8, 0.1, 0.1], here.size * 4)
    P = sp.csr_array((law, reached.ravel(), np.arange(0, law.size + 1, 3)), shape=(here.size * 4, here.size))
    r = np.random.default_rng(0).random((here.size, 4))
    return TabularMDP(P, r, gamma, np.full(here.size, 1 / here.size))


def tolerance_for(contender: Contender, model: TabularMDP, tol: float) -> tuple[float, float, Seconds] | None:
    """The largest tolerance 10^-k whose answer has a certified gap within ``tol``; that gap; the time it took."""
    for exponent in range(2, 13):
        seconds, (value, policy) = contender(10.0**-exponent)
        gap = certify(model, value, policy).gap
        if gap <= tol:
            return 10.0**-exponent, gap, seconds
    return None


def peak_bytes(model: TabularMDP, tol: float) -> int:
    """Most bytes allocated at a time during a solve; numpy and scipy report theirs to tracemalloc."""
    tracemalloc.start()
    value_iteration(model, tol)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def race(model: TabularMDP, tol: float, turns: int) -> list[dict[str, object]]:
    """One row for each contender, ours first."""
    running = contenders(model)
    found = {name: tolerance_for(run, model, tol) for name, run in running.items()}
    taken = {name: [] for name, result in found.items() if result}
    for _ in range(turns):
        for name, times in taken.items():
            tolerance, _, first = found[name]
            if first[0] <= TOO_SLOW * found[OURS][2][0]:
                times.append(running[name](tolerance)[0])
    rows = []
    for name, result in found.items():
        if result is None:
            rows.append({"solver": name, "seconds": None})
            continue
        wall, processor = (median(part) for part in zip(*(taken[name] or [result[2]]), strict=True))
        rows.append({"solver": name, "seconds": wall, "processor_seconds": processor, "certified_gap": result[1]})
        rows[-1] |= {"tolerance": result[0], "turns": max(1, len(taken[name]))}
    for row in rows:
        if row["seconds"] is not None:
            row["ratio"] = row["seconds"] / rows[0]["seconds"]
            row["processor_ratio"] = row["processor_seconds"] / rows[0]["processor_seconds"]
    return rows


def show(rows: list[dict[str, object]]) -> None:
    print(f"{'solver':42} {'seconds':>8} {'x ours':>7} {'processor':>10} {'x ours':>7} {'tolerance':>10} {'gap':>8}")
    for row in rows:
        if row["seconds"] is None:
            print(f"{row['solver']:42} accuracy not reached")
            continue
        wall, processor = f"{row['seconds']:8.3f} {row['ratio']:7.2f}", f"{row['processor_seconds']:10.3f}"
        accuracy = f"{row['processor_ratio']:7.2f} {row['tolerance']:10.0e} {row['certified_gap']:8.1e}"
        print(f"{row['solver']:42} {wall} {processor} {accuracy}{'' if row['turns'] > 1 else '  (one turn)'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--instance", choices=("garnet", "grid"), default="garnet")
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()

    begun = time.perf_counter()
    value_iteration(garnet_mdp(10_000, 3, 4, 0, sparse=True), options.tol)
    print(f"compiling, or loading what is compiled: {time.perf_counter() - begun:.2f} s\n")
    model = instance(options.instance, options.states, options.gamma)
    memory = 1.0 + peak_bytes(model, options.tol) / model.nbytes
    rows = race(model, options.tol, options.turns)
    show(rows)
    print(f"\nvalue_iteration's peak memory, the model included: {memory:.2f} times the model")
    if options.json:
        record = {"solver": OURS, "instance": options.instance, "peak_memory_per_model": memory}
        options.json.write_text(json.dumps([*rows, record], indent=1) + "\n")


if __name__ == "__main__":
    main()
