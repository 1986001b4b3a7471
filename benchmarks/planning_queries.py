"""Queries until a planner acts well: TensorPlan beside others that see the world through the same local access.

Three races over several instances each. Queries are counted by the access, which enforces the budget: a planner's own,
of its plan or, where it searches at every decision, of an episode. Values are exact, those of the policy it ends with.

    needle    one sequence of 100 actions out of 4^100 pays 1 (NeedleMDP-v0, A = 4, H = 100, d = 60). TensorPlan may
              make 1,000 queries, the others ten times as many
    generic   deterministic transitions, v* linear in the features (RealizableMDP-v0, A = 4, H = 20, S = 1000), d = 20,
              40 and 60. TensorPlan may make 20 d queries, LSVI and UCT at d = 40 ten times as many
    sampled   the same with random transitions and rewards of 0 or 1 (A = 3, H = 8, S = 200, d = 30). TensorPlan may
              make 350,000 queries. The others make do with fewer, on three of the ten instances: to value what searches
              at every decision it must search in each of hundreds of states

"asked" is the median of the queries made and "most" their maximum; "acting" is the median of those made in one episode;
"short of v*" is v*(s_0) - v(s_0), its mean and its maximum over the instances. Seconds are the median of planning and
playing one episode; they are no race, nothing takes turns here.

    python benchmarks/planning_queries.py [--json FILE] [--only needle generic sampled] [--quick]
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.evaluation.trials import Trial, uniform_play

Row = dict[str, Any]


@dataclass(frozen=True)
class Race:
    """Trials in several instances of one kind of environment."""

    name: str
    env_id: str
    env_kwargs: dict[str, Any]
    trials: tuple[Trial, ...]
    instances: int


def needle() -> list[Race]:
    others = ("LSVI-v0", "UCT-v0", "SparseSampling-v0", "RolloutPlanner-v0")
    trials = (Trial("TensorPlan-v0", 1_000), *(Trial(name, 10_000) for name in others))
    return [Race("needle", "NeedleMDP-v0", {"n_actions": 4, "horizon": 100, "dim": 60}, trials, 5)]


def generic() -> list[Race]:
    races = []
    for dim in (20, 40, 60):
        others = ("LSVI-v0", "UCT-v0") if dim == 40 else ()
        trials = (Trial("TensorPlan-v0", 20 * dim), *(Trial(name, 200 * dim) for name in others))
        sizes = {"n_states": 1000, "n_actions": 4, "horizon": 20, "dim": dim}
        races.append(Race(f"generic, d = {dim}", "RealizableMDP-v0", sizes, trials, 5))
    return races


def sampled() -> list[Race]:
    noise, sizes = {"bernoulli_rewards": True}, {"n_states": 200, "n_actions": 3, "horizon": 8, "dim": 30}
    stochastic = sizes | {"stochastic": True}
    tensorplan = Trial("TensorPlan-v0", 350_000, options={**noise, "samples": 400})
    others = tuple(
        Trial(name, budget, options=noise)
        for name, budget in (("LSVI-v0", 35_000), ("UCT-v0", 8_000), ("RolloutPlanner-v0", 8_000))
    )
    return [
        Race("sampled", "RealizableMDP-v0", stochastic, (tensorplan,), 10),
        Race("sampled, the others", "RealizableMDP-v0", stochastic, others, 3),
    ]


RACES: dict[str, Callable[[], list[Race]]] = {"needle": needle, "generic": generic, "sampled": sampled}


def run(race: Race, instances: int) -> list[Row]:
    rows: list[Row] = []
    for mdp_seed in range(instances):
        env = gym.make(race.env_id, **race.env_kwargs, mdp_seed=mdp_seed)
        place = {"race": race.name, "env_id": race.env_id, **race.env_kwargs, "mdp_seed": mdp_seed}
        uniform, result = uniform_play(env)
        results = [*(trial.run(env, uniform) for trial in race.trials), result]
        rows += [{**place, **result.row()} for result in results]
    return rows


def show(name: str, instances: int, rows: list[Row]) -> None:
    print(f"\n{name} (instances: {instances})")
    print(f"{'planner':17} {'budget':>8} {'asked':>8} {'most':>8} {'acting':>8} {'value':>8}", end=" ")
    print(f"{'short of v*':>17} {'seconds':>8}")
    for agent in dict.fromkeys(row["agent"] for row in rows):
        trials = [row for row in rows if row["agent"] == agent]
        asked, acting = [row["queries"] for row in trials], [row["execution_queries"] for row in trials]
        print(f"{agent:17} {trials[0]['budget']:8,} {median(asked):8,.0f} {max(asked):8,}", end=" ")
        short = [row["suboptimality"] for row in trials]
        if None in short:
            print(f"{median(acting):8,.0f} {'no plan in ' + str(short.count(None)):>26}")
            continue
        value, seconds = mean(row["value"] for row in trials), median(row["seconds"] for row in trials)
        print(f"{median(acting):8,.0f} {value:8.4f} {mean(short):8.4f} {max(short):8.4f} {seconds:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", choices=tuple(RACES), default=tuple(RACES))
    parser.add_argument("--quick", action="store_true", help="one instance of each")
    options = parser.parse_args()

    begun = time.perf_counter()
    warm_up = gym.make("NeedleMDP-v0", n_actions=2, horizon=3, dim=4)
    Trial("TensorPlan-v0", 1_000).run(warm_up, uniform_play(warm_up)[0])
    print(f"compiling, or loading what is compiled: {time.perf_counter() - begun:.1f} s")
    rows: list[Row] = []
    for race in (race for name in options.only for race in RACES[name]()):
        instances = 1 if options.quick else race.instances
        found = run(race, instances)
        show(race.name, instances, found)
        rows += found
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
