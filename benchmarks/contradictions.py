"""How often TensorPlan to the letter is contradicted: on random instances, and by oracles that hold back.

Random: deterministic MDPs with 3 to 10 states, 2 to 6 stages and unit features planted around v*. Each plan is checked:
its contradictions are linearly independent, and it earns v*. Adversaries answer the most optimistic hypothesis with a
datum that contradicts it, chosen as late as possible (lookahead_rl.solvers.hypotheses.tensor says how): "products" from
the products of coordinates, where v* = 0; "all" from all Newton polynomials, where the policy to compete with earns 0.

    python benchmarks/contradictions.py [--json FILE] [--instances 1000]
"""

import argparse
import json
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookahead_rl.agents.local.literal import LiteralPlan, LiteralTensorPlan
from lookahead_rl.agents.local.measurement import Observer
from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.models import realizable_mdp
from lookahead_rl.solvers.hypotheses.affine import AffineTree
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Program
from lookahead_rl.solvers.hypotheses.tensor import (
    are_triangular,
    contradiction_bound,
    hardest_data,
    tensor_contradiction_bound,
)
from lookahead_rl.wrappers import LocalAccess, Visit, model_features

FloatArray = NDArray[np.float64]

SHAPES = [(2, 2), (3, 2), (4, 2), (6, 2), (8, 2), (2, 3), (3, 3), (4, 3), (5, 3)]
"""(d, A)."""

RADIUS = 2.0
SPACING = 0.3


def plan_random(d: int, A: int, rng: np.random.Generator) -> tuple[int, int]:
    """Contradictions and queries on a random instance, the plan checked."""
    S, H = int(rng.integers(3, 11)), int(rng.integers(2, 7))
    planted = realizable_mdp(S, A, H, d, rng)
    access = LocalAccess(
        TabularSimulator(planted.model),
        model_features(planted.model),
        rng=np.random.default_rng(0),
        horizon=H,
        is_deterministic=True,
        state_key=int,
    )
    plan = LiteralTensorPlan(1.6 * H).plan(access, access.begin(), np.random.default_rng(0))
    if not are_triangular(plan.contradictions, plan.thetas, plan.tol):
        raise RuntimeError("contradictions are not independent")
    earned, best = play(access, plan), planted.value[0, 0]
    if abs(earned - best) > 1e-5 * (1 + H):
        raise RuntimeError(f"the plan earns {earned}, not {best}")
    return len(plan.contradictions), plan.queries


def play(access: LocalAccess, plan: LiteralPlan) -> float:
    """The return of an episode."""
    visit: Visit | None = access.begin()
    total = 0.0
    while visit is not None:
        action, observer = plan.action(access, visit), Observer(access)
        measured = observer.measure(visit)
        total += measured.rewards[action]
        visit = observer.follow(measured, action, np.random.default_rng(0))
    return total


def disclosures(rewards: FloatArray, increments: FloatArray) -> int:
    """How many of the data contradict the most optimistic hypothesis, each time the first that does disclosed."""
    _, A, d = increments.shape
    bank = Bank(A, d)
    tree = AffineTree(Program(np.full(d, d**-0.5), RADIUS, bank, Hypotheses.ANY, value_range=False))
    while True:
        theta = tree.solve().theta
        if theta is None:
            raise RuntimeError("theta = 0 was cut off")
        is_contradicted = np.abs(rewards + increments @ theta).min(axis=1) > 1e-6
        if not is_contradicted.any():
            return len(bank)
        i = int(is_contradicted.argmax())
        bank.add(Datum(np.zeros(d), increments[i], rewards[i], 1.0, np.zeros(A)))


def products_of_coordinates(rewards: FloatArray, increments: FloatArray) -> NDArray[np.bool_]:
    """Which data are products of A coordinates, or one coordinate alone."""
    distinct = np.array([len(np.unique(u, axis=0)) for u in increments])
    return (rewards == 0).all(axis=1) & ((distinct == rewards.shape[1]) | (distinct == 1))


def measure(d: int, A: int, instances: int) -> dict[str, float]:
    counts, queries = np.array([plan_random(d, A, np.random.default_rng([d, A, i])) for i in range(instances)]).T
    rewards, increments = hardest_data(d, A, SPACING)
    kept = products_of_coordinates(rewards, increments)
    return {
        "dim": d,
        "n_actions": A,
        "instances": instances,
        "mean_contradictions": float(counts.mean()),
        "most_contradictions": int(counts.max()),
        "mean_queries": float(queries.mean()),
        "adversary_products": disclosures(rewards[kept], increments[kept]),
        "d_plus_binomial": d + comb(d, A),
        "adversary_all": disclosures(rewards, increments),
        "bound": contradiction_bound(d, A),
        "tensor_bound": tensor_contradiction_bound(d, A),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=1000, help="in all, spread evenly over the shapes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    each = -(-options.instances // len(SHAPES))
    print(f"{'':8} {'random instances':>32} {'adversaries':>24} {'bounds':>24}")
    print(f"{'d':>3} {'A':>3} {'number':>9} {'mean':>7} {'most':>6} {'queries':>9} ", end="")
    print(f"{'products':>9} {'d+C(d,A)':>9} {'all':>6} {'C(d+A,A)-1':>12} {'(d+1)^A-1':>10}")
    rows = []
    for d, A in SHAPES:
        row = measure(d, A, each)
        rows.append(row)
        print(
            f"{d:3} {A:3} {each:9} {row['mean_contradictions']:7.2f} {row['most_contradictions']:6} "
            f"{row['mean_queries']:9.1f}  {row['adversary_products']:9} {row['d_plus_binomial']:9} "
            f"{row['adversary_all']:6} {row['bound']:12} {row['tensor_bound']:10}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
