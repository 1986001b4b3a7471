"""What a sweep of regularised value iteration costs beside one of plain value iteration, and a whole solution.

Each model is a Garnet. Plain value iteration is this package's own, with every sweep over all actions
(``evaluation_sweeps=0``): the time of its operator alone. Soft value iteration and mirror descent value iteration are
timed with all their bookkeeping. Contenders take turns; times are medians of the turns, in milliseconds, and ratios
medians of the ratios within a turn, by the wall clock and by processor time, which a busy machine moves less. The last
columns are mirror descent with a table of policies in memory, written out in numpy, and its ratio. Compiling is done
before.

With ``--solve`` whole solutions of the first model are timed instead, certificates included, to a gap of 1e-6.

    python benchmarks/regularised_sweeps.py [--json FILE] [--turns 21] [--states 100000] [--solve]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from lookahead_rl.models import TabularMDP, garnet_mdp
from lookahead_rl.solvers import Regularisation, regularised_value_iteration, value_iteration
from lookahead_rl.solvers.bellman import backup, decision_rows
from lookahead_rl.solvers.regularised_iteration import _Problem, _Run

SOFT, BOTH = Regularisation(0.0, 0.1), Regularisation(0.4, 0.1)
GAMMA = 0.99


def instances(n_states: int) -> dict[str, Callable[[], TabularMDP]]:
    """The models, by name, built when it is their turn."""
    found: dict[str, Callable[[], TabularMDP]] = {}
    for n_actions, branching in ((4, 5), (2, 2), (2, 5), (2, 20), (4, 2), (4, 20), (10, 2), (10, 5), (10, 20)):
        found[f"sparse, {n_states:,} states, A = {n_actions:2}, b = {branching:2}"] = lambda a=n_actions, b=branching: (
            garnet_mdp(n_states, a, b, 0, gamma=GAMMA, sparse=True)
        )
    found["dense, 2,000 states, A =  4"] = lambda: garnet_mdp(2000, 4, 2000, 0, gamma=GAMMA, sparse=False)
    return found


def sweeper(model: TabularMDP, regularisation: Regularisation) -> Callable[[], None]:
    run = _Run(_Problem(model, regularisation), np.zeros(model.n_states), 1e-300)
    return run.sweep


def plain_sweeper(model: TabularMDP) -> Callable[[], None]:
    rows, v = decision_rows(model), [np.zeros(model.n_states)]

    def sweep() -> None:
        v[0] = backup(rows, v[0]).value

    return sweep


def literal_sweeper(model: TabularMDP, regularisation: Regularisation) -> Callable[[], None]:
    eta, kappa = regularisation.eta, regularisation.kappa
    state: list[NDArray[np.float64]] = [np.zeros(model.n_states), np.full(model.r.shape, -np.log(model.n_actions))]

    def sweep() -> None:
        v, log_pi = state
        logits = (model.r + GAMMA * (model.P_rows @ v).reshape(log_pi.shape) + eta * log_pi) / kappa
        best = logits.max(axis=1)
        total = best + np.log(np.exp(logits - best[:, None]).sum(axis=1))
        state[:] = kappa * total, logits - total[:, None]

    return sweep


def seconds(sweep: Callable[[], None], sweeps: int) -> tuple[float, float]:
    """Wall clock and processor time of a sweep."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(sweeps):
        sweep()
    return (time.perf_counter() - wall) / sweeps, (time.process_time() - processor) / sweeps


def measure(name: str, model: TabularMDP, turns: int) -> dict[str, object]:
    contenders = {
        "plain": plain_sweeper(model),
        "soft": sweeper(model, SOFT),
        "both": sweeper(model, BOTH),
        "literal": literal_sweeper(model, BOTH),
    }
    for sweep in contenders.values():
        sweep()
    taken = {contender: [] for contender in contenders}
    for _ in range(turns):
        for contender, sweep in contenders.items():
            taken[contender].append(seconds(sweep, 3))
    row: dict[str, object] = {"instance": name}
    for contender, times in taken.items():
        row[f"{contender}_ms"] = 1e3 * median(wall for wall, _ in times)
        pairs = list(zip(times, taken["plain"], strict=True))
        row[f"{contender}_ratio"] = median(mine[0] / plain[0] for mine, plain in pairs)
        row[f"{contender}_processor_ratio"] = median(mine[1] / plain[1] for mine, plain in pairs)
    return row


def show(row: dict[str, object]) -> None:
    mine = "  ".join(
        f"{row[f'{name}_ms']:8.2f} {row[f'{name}_ratio']:6.2f} {row[f'{name}_processor_ratio']:6.2f}"
        for name in ("soft", "both")
    )
    print(f"{row['instance']:40} {row['plain_ms']:8.2f}  {mine}  {row['literal_ms']:8.2f} {row['literal_ratio']:6.2f}")


def solutions(model: TabularMDP, turns: int) -> list[dict[str, object]]:
    """Whole solutions, certificates included, to a gap of 1e-6."""
    rows = []
    for name, regularisation in {"soft, tau = .1": SOFT, "both, eta = .4, tau = .1": BOTH}.items():
        times, plain = [], []
        for _ in range(turns):
            begun = time.perf_counter()
            solution = regularised_value_iteration(model, regularisation, 1e-6)
            middle = time.perf_counter()
            value_iteration(model, 1e-6, evaluation_sweeps=0)
            times.append(middle - begun)
            plain.append(time.perf_counter() - middle)
        row = {"regularisation": name, "seconds": median(times), "plain_seconds": median(plain)}
        row |= {"sweeps": solution.iterations, "gap": solution.certificate.gap, "measured_rate": solution.measured_rate}
        rows.append(row | {"unregularised_gap": solution.unregularised.gap})
        print(
            f"{name}: {row['seconds']:.2f} s, {row['sweeps']} sweeps, certified gap {row['gap']:.1e}, without "
            f"regularisation {solution.unregularised.gap:.2g}; plain value iteration {row['plain_seconds']:.2f} s"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--turns", type=int, default=21)
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--solve", action="store_true", help="time whole solutions instead")
    options = parser.parse_args()

    begun = time.perf_counter()
    compiled = garnet_mdp(30_000, 4, 5, 0, gamma=GAMMA, sparse=True)
    plain_sweeper(compiled)()
    sweeper(compiled, SOFT)()
    print(f"compiling, or loading what is compiled: {time.perf_counter() - begun:.2f} s\n")
    if options.solve:
        rows = solutions(garnet_mdp(options.states, 4, 5, 0, gamma=GAMMA, sparse=True), options.turns)
    else:
        titles = "  ".join(f"{name:>8} {'ratio':>6} {'proc.':>6}" for name in ("soft", "both"))
        print(f"{'milliseconds a sweep':40} {'plain':>8}  {titles}  {'literal':>8} {'ratio':>6}")
        rows = []
        for name, build in instances(options.states).items():
            rows.append(measure(name, build(), options.turns))
            show(rows[-1])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
