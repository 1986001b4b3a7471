"""Solving a large sparse MDP: our solvers beside quantecon's DiscreteDP and mdpsolver, at one certified accuracy.

The instance is a Garnet (10^5 states, 4 actions, 5 successors, gamma 0.99 unless asked otherwise). Every solver is
run with tolerances 1e-2, 1e-3, ... until the certified gap of its answer, computed by us from its value and policy
alone, is at most ``--tol``; what is timed is solving with that tolerance, without building models or compiling; our
time includes our certificate. quantecon and mdpsolver are tried with each of their methods. Contenders take turns;
each number is the median of its turns in wall-clock time; read the ratios, which a busy machine moves less than the
times.

    python benchmarks/value_iteration.py [--json FILE] [--states 100000] [--gamma 0.99] [--tol 1e-6] [--turns 5]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import mdpsolver
import numpy as np
from numpy.typing import NDArray
from quantecon.markov import DiscreteDP

from lookahead_rl.models import TabularMDP, garnet_mdp
from lookahead_rl.solvers import certify, solve, value_iteration

Answer = tuple[NDArray[np.float64], NDArray[np.int64]]
Contender = Callable[[float], tuple[float, Answer]]
"""Solves to a tolerance of its own kind; returns seconds and (value, policy)."""


def ours(model: TabularMDP, solver: Callable[..., object]) -> Contender:
    def run(tolerance: float) -> tuple[float, Answer]:
        begun = time.perf_counter()
        solution = solver(model, tolerance)
        return time.perf_counter() - begun, (solution.value, solution.policy)

    return run


def quantecon(model: TabularMDP, method: str) -> Contender:
    states, actions = np.divmod(np.arange(model.r.size), model.n_actions)
    problem = DiscreteDP(model.r.ravel(), model.P_rows, model.gamma, states, actions)

    def run(tolerance: float) -> tuple[float, Answer]:
        begun = time.perf_counter()
        result = problem.solve(method=method, epsilon=tolerance, max_iter=10**6)
        return time.perf_counter() - begun, (np.asarray(result.v), np.asarray(result.sigma, dtype=np.int64))

    return run


def with_mdpsolver(model: TabularMDP, method: str, update: str, parallel: bool) -> Contender:
    def nested(flat: NDArray[np.generic]) -> list[list[list[float]]]:
        ends = model.P.indptr.reshape(-1)
        rows = [flat[ends[k] : ends[k + 1]].tolist() for k in range(model.r.size)]
        return [rows[s * model.n_actions : (s + 1) * model.n_actions] for s in range(model.n_states)]

    problem = mdpsolver.model()
    problem.mdp(
        discount=model.gamma,
        rewards=model.r.tolist(),
        tranMatProbs=nested(model.P.data),
        tranMatColumns=nested(model.P.indices),
    )

    def run(tolerance: float) -> tuple[float, Answer]:
        begun = time.perf_counter()
        problem.solve(algorithm=method, tolerance=tolerance, update=update, parallel=parallel, makeFinalCheck=False)
        seconds = time.perf_counter() - begun
        return seconds, (np.array(problem.getValueVector()), np.array(problem.getPolicy(), dtype=np.int64))

    return run


def contenders(model: TabularMDP) -> dict[str, Contender]:
    found = {"lookahead_rl value_iteration": ours(model, value_iteration), "lookahead_rl solve": ours(model, solve)}
    for method in ("value_iteration", "modified_policy_iteration"):
        found[f"quantecon {method}"] = quantecon(model, method)
    for method in ("vi", "mpi"):
        for update in ("standard", "gs"):
            parallel = update == "standard"
            found[f"mdpsolver {method} {update}"] = with_mdpsolver(model, method, update, parallel)
    return found


def tolerance_for(contender: Contender, model: TabularMDP, tol: float) -> tuple[float, float] | None:
    """The contender's largest tolerance 10^-k whose answer has a certified gap within ``tol``, and that gap."""
    for exponent in range(2, 16):
        _, (value, policy) = contender(10.0**-exponent)
        gap = certify(model, value, policy).gap
        if gap <= tol:
            return 10.0**-exponent, gap
    return None


def peak_bytes(model: TabularMDP, tol: float) -> int:
    """Largest resident memory during a solve beyond what was resident before, where Linux tells it."""

    def status(field: str) -> int:
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text.split(f"{field}:")[1].split()[0])

    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
    before = status("VmRSS")
    value_iteration(model, tol)
    return status("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()

    begun = time.perf_counter()
    value_iteration(garnet_mdp(10, 2, 2, 0, sparse=True), options.tol)
    print(f"compiling, or loading what is compiled: {time.perf_counter() - begun:.2f} s\n")
    model = garnet_mdp(options.states, 4, 5, 0, gamma=options.gamma, sparse=True)
    memory = 1.0 + peak_bytes(model, options.tol) / model.nbytes
    ready = {name: (run, tolerance_for(run, model, options.tol)) for name, run in contenders(model).items()}
    seconds: dict[str, list[float]] = {name: [] for name, (_, found) in ready.items() if found}
    for _ in range(options.turns):
        for name, taken in seconds.items():
            run, found = ready[name]
            taken.append(run(found[0])[0])

    base = median(seconds["lookahead_rl value_iteration"])
    rows = []
    print(f"{'solver':34} {'seconds':>9} {'x ours':>8} {'tolerance':>10} {'certified gap':>14}")
    for name, (_, found) in ready.items():
        if found is None:
            print(f"{name:34} {'-':>9} {'-':>8} {'-':>10} {'not reached':>14}")
            continue
        middle = median(seconds[name])
        rows.append({"solver": name, "seconds": middle, "ratio": middle / base, "certified_gap": found[1]})
        print(f"{name:34} {middle:9.3f} {middle / base:8.2f} {found[0]:10.0e} {found[1]:14.1e}")
    print(f"\nvalue_iteration's peak memory, the model included: {memory:.2f} times the model")
    if options.json:
        options.json.write_text(
            json.dumps([*rows, {"solver": "peak memory / model", "ratio": memory}], indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
