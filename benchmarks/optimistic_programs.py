"""Seconds to the exact optimum of an optimistic program: the hypothesis tree beside HiGHS.

The programs are those of class OPTIMAL with value range over what random episodes show, A = 4 and H = 20:

    generic   deterministic MDPs with S = 1000 states a stage and v* linear in d features, after N = 2 d and 3 d data
    needle    one hidden sequence of actions that pays 1, S = 256, after N = 3 d data, which leave many hypotheses

The tree starts cold, without an incumbent, and ends with a proof: "proof" are the seconds in which the independent
checker goes through it, "expanded" the nodes that were split. HiGHS (scipy's milp, 1.05 ||theta*|| as the radius like
the tree) has no proof to show. Each solver has the time limit for each instance. Numbers are medians over the
instances, of wall-clock time on one thread. Where HiGHS did not finish the median instance, the ratio is a lower bound;
"bound over" and "best under" tell how far its bounds were from the tree's optimum then ("none": no hypothesis found).
Largest sizes: --large.

    python benchmarks/optimistic_programs.py [--json FILE] [--quick] [--large] [--instances 3] [--time-limit 60]
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookahead_rl.models import needle_mdp, realizable_mdp
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.mixed_integer import solve_mixed_integer
from lookahead_rl.solvers.hypotheses.program import Optimum, Outcome, Program
from lookahead_rl.solvers.hypotheses.tree import HypothesisTree
from lookahead_rl.solvers.hypotheses.verification import verify

Row = dict[str, Any]

N_ACTIONS, HORIZON = 4, 20

EXPANSIONS_A_CALL = 20
"""The clock is looked at between so many expansions."""


def rolled_out(kind: str, dim: int, n_data: int, seed: int) -> tuple[Program, float]:
    """The program of random episodes, and v* at the start."""
    if kind == "needle":
        planted = needle_mdp(N_ACTIONS, HORIZON, dim, seed)
    else:
        planted = realizable_mdp(1000, N_ACTIONS, HORIZON, dim, seed)
    model, phi = planted.model, planted.model.features
    next_states = model.P_rows.indices.reshape(HORIZON, model.n_states, N_ACTIONS)
    start, rng, bank = int(model.rho.argmax()), np.random.default_rng(seed), Bank(N_ACTIONS, dim)
    while len(bank) < n_data:
        s = start
        for h in range(min(HORIZON, n_data - len(bank))):
            bank.add(datum(phi, next_states, model.r, h, s))
            s = int(next_states[h, s, rng.integers(N_ACTIONS)])
    radius = 1.05 * float(np.linalg.norm(planted.theta))
    return Program(phi[0, start], radius, bank), float(planted.value[0, start])


def datum(phi: NDArray[np.float64], next_states: NDArray[np.int64], r: NDArray[np.float64], h: int, s: int) -> Datum:
    increments = phi[h + 1, next_states[h, s]] - phi[h, s]
    return Datum(phi[h, s], increments, r[h, s], float(HORIZON - h), np.zeros(N_ACTIONS))


def solve_by_tree(program: Program, time_limit: float) -> tuple[Row, Optimum]:
    begun = time.perf_counter()
    tree = HypothesisTree(program)
    optimum = tree.solve(max_expansions=EXPANSIONS_A_CALL)
    while optimum.outcome is Outcome.LIMIT and time.perf_counter() - begun < time_limit:
        optimum = tree.solve(max_expansions=EXPANSIONS_A_CALL)
    seconds = time.perf_counter() - begun
    certificate = tree.certificate()
    begun = time.perf_counter()
    verified = verify(program, certificate)
    row = {"seconds": seconds, "proof_seconds": time.perf_counter() - begun, "expansions": tree.expansions}
    row |= {"nodes": optimum.nodes, "lower": optimum.lower, "upper": optimum.upper, "proved": verified.upper}
    return row | {"is_solved": optimum.outcome is Outcome.OPTIMAL}, optimum


def solve_by_highs(program: Program, time_limit: float) -> tuple[Row, Optimum]:
    begun = time.perf_counter()
    optimum = solve_mixed_integer(program, time_limit=time_limit)
    row = {"highs_seconds": time.perf_counter() - begun, "highs_nodes": optimum.nodes}
    row |= {"highs_lower": None if optimum.theta is None else optimum.lower, "highs_upper": optimum.upper}
    return row | {"highs_is_solved": optimum.outcome is Outcome.OPTIMAL}, optimum


def measure(kind: str, dim: int, n_data: int, seed: int, time_limit: float) -> Row:
    """Both solvers on one instance; their answers must agree with each other and v*."""
    program, value = rolled_out(kind, dim, n_data, seed)
    ours, optimum = solve_by_tree(program, time_limit)
    theirs, other = solve_by_highs(program, time_limit)
    tol = 1e-6 * (1.0 + program.radius)
    if min(ours["proved"], other.upper) < value - tol:
        raise RuntimeError(f"v* = {value} was cut off: {ours['proved']} by the tree, {other.upper} by HiGHS")
    if ours["is_solved"] and theirs["highs_is_solved"] and abs(optimum.lower - other.lower) > tol:
        raise RuntimeError(f"the optima differ: {optimum.lower} and {other.lower}")
    return {"kind": kind, "dim": dim, "n_data": n_data, "seed": seed, "value": value, **ours, **theirs}


def report(rows: list[Row]) -> str:
    """The instances of one size in a line."""
    first = rows[0]
    ours, theirs = (median(row[name] for row in rows) for name in ("seconds", "highs_seconds"))
    solved, highs_solved = (sum(row[name] for row in rows) for name in ("is_solved", "highs_is_solved"))
    limited = "> " if 2 * highs_solved <= len(rows) else ""
    ratio = f"{limited}{theirs / ours:.0f}x" if 2 * solved > len(rows) else "-"
    gaps = f"{median(row['highs_upper'] - row['lower'] for row in rows):10.3g} {shortfall(rows):>10}" if limited else ""
    return (
        f"{first['kind']:8} {first['dim']:4} {first['n_data']:5} {f'{solved}/{len(rows)}':>7} {ours:9.2f} "
        f"{median(row['expansions'] for row in rows):9.0f} {median(row['proof_seconds'] for row in rows):7.2f} "
        f"{f'{highs_solved}/{len(rows)}':>7} {theirs:9.2f} {ratio:>8} {gaps}"
    )


def shortfall(rows: list[Row]) -> str:
    """By how much the best hypotheses of HiGHS miss the optimum."""
    found = [row["lower"] - row["highs_lower"] for row in rows if row["highs_lower"] is not None]
    return f"{median(found):.3g}" if 2 * len(found) > len(rows) else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds for each solver and instance")
    parser.add_argument("--quick", action="store_true", help="d up to 40 only, and at most 10 s")
    parser.add_argument("--large", action="store_true", help="d = 150 and 200 too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dims = [20, 40] if options.quick else [20, 40, 60, 100, *([150, 200] if options.large else [])]
    time_limit = min(options.time_limit, 10.0) if options.quick else options.time_limit
    sizes = [("generic", d, k * d) for d in dims for k in (2, 3)] + [("needle", d, 3 * d) for d in dims]
    solve_by_tree(rolled_out("generic", 2, 4, 0)[0], time_limit)  # compiles the kernels, or loads them
    print(f"{'':19} {'tree':>42} {'HiGHS':>17}")
    print(f"{'':8} {'d':>4} {'N':>5} {'solved':>7} {'seconds':>9} {'expanded':>9} {'proof':>7} ", end="")
    print(f"{'solved':>7} {'seconds':>9} {'ratio':>8} {'bound over':>10} {'best under':>10}")
    rows: list[Row] = []
    for kind, dim, n_data in sizes:
        measured = [measure(kind, dim, n_data, seed, time_limit) for seed in range(options.instances)]
        print(report(measured), flush=True)
        rows += measured
    if options.json:
        options.json.write_text(json.dumps([row | {"time_limit": time_limit} for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
