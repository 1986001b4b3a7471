"""What exploring costs and brings: LSVI-UCB and UCBVI beside direct implementations, and their exact regret.

Speed. The direct implementations (:mod:`benchmarks._direct_exploration`) store transitions, and refit from all of them
in every episode, in vectorised numpy. Both play the same episodes of the same environments; weights (of UCBVI
optimistic action values) and the exact value of every episode's policy must agree to 1e-8, or the benchmark fails. Told
are episodes a second, and episodes a second of learning alone (refitting, planning, deciding, evaluating) without the
environment's own time, measured apart beside them. "early" and "late" are the times of learning of an
episode among the episodes 100 to 600 and among the last 500: of ours they are equal. Times are of the processor.

Quality. The sum of exact regrets after K episodes, means over seeds: practical constants, the theorems' constants, and
uniform play, which pays the same in every episode. "first optimal" is the episode whose policy was the first within
1e-6 of the optimum; on DeepSea-v0 that is the treasure, which uniform play finds once in 2^10 episodes. Slope is that
of log sum of regrets against log K over the second half; 1 is no learning, 1/2 the theorems' rate.

    python benchmarks/exploration.py [--json FILE] [--plot FILE.svg] [--only speed quality] [--episodes 10000]
                                     [--seeds 5]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.progress import track

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import make_agent
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.evaluation.plots import episode_curves
from lookahead_rl.models import FiniteHorizonMDP, random_constrained_linear_mdp, river_swim

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks._direct_exploration import DirectLSVIUCB, DirectUCBVI

sys.path.pop(0)

Row = dict[str, Any]
AGREEMENT = 1e-8
BLOCK = 100  # episodes between two looks at the clock
DEEP_SEA = {"reward_range": [-0.01, 1.0]}


def dense() -> ModelEnv:
    return ModelEnv(random_constrained_linear_mdp(100, 3, 5, 4, 0).mdp)


def small() -> ModelEnv:
    return ModelEnv(random_constrained_linear_mdp(20, 3, 3, 3, 1).mdp)


def linear() -> ModelEnv:
    return ModelEnv(gym.make("LinearMDP-v0").unwrapped.model)


def river() -> ModelEnv:
    m = river_swim(6)
    return ModelEnv(FiniteHorizonMDP(m.P, m.r, 20, m.rho))


def deep_sea(size: int = 10) -> ModelEnv:
    return ModelEnv(gym.make("DeepSea-v0", size=size).unwrapped.model)


ENVIRONMENTS: dict[str, Callable[[], ModelEnv]] = {
    "linear S=100 A=3 d=5 H=4": dense,
    "linear S=20 A=3 d=3 H=3": small,
    "LinearMDP-v0": linear,
    "RiverSwim H=20": river,
    "DeepSea-v0": deep_sea,
}


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and what it returned."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def play(env: ModelEnv, episodes: int) -> None:
    """What an environment does in a race: resets, seeds among them, and steps."""
    for seed in range(episodes):
        env.reset(seed=seed)
        for _ in range(env.model.horizon):
            env.step(0)


def contenders(name: str, agent_id: str, episodes: int, options: Row) -> tuple[Any, Any]:
    """The agent, and its direct implementation, each in an environment of its own."""
    agent = make_agent(agent_id, ENVIRONMENTS[name](), n_episodes=episodes, **options)
    if agent_id == "LSVIUCB-v0":
        return agent, DirectLSVIUCB(ENVIRONMENTS[name](), agent.beta, episodes)
    bonus, rewards = agent.bonus, (agent.bonus.low, agent.bonus.high)
    return agent, DirectUCBVI(ENVIRONMENTS[name](), bonus.kind, bonus.log_term, bonus.factor, episodes, rewards)


def apart(agent: Any, direct: Any, values: list[float]) -> float:
    """Largest difference of what was fitted to all data so far, and of all episodes' values."""
    if isinstance(direct, DirectLSVIUCB):
        fitted = np.abs(agent.policy.weights[0] - direct.refit()[0]).max()
    else:
        direct.refit()
        fitted = np.abs(agent.counts.action_values - direct.q).max()
    return max(float(fitted), float(np.abs(agent.record.values - np.array(values)).max()))


def race(name: str, agent_id: str, episodes: int, **options: Any) -> list[Row]:
    """Both implementations over the same episodes, taking turns of a hundred."""
    env = ENVIRONMENTS[name]()
    H = env.model.horizon
    make_agent(agent_id, ENVIRONMENTS[name](), **options).learn(5 * H)  # compiles
    agent, direct = contenders(name, agent_id, episodes, options)
    seconds: dict[str, list[float]] = {"ours": [], "direct": [], "playing": []}
    values, largest = list[float](), 0.0
    for _ in track(range(episodes // BLOCK), description=f"{agent_id} {name}"):
        seconds["ours"].append(spent(partial(agent.learn, BLOCK * H))[0])
        time_taken, fits = spent(lambda: [direct.episode().value for _ in range(BLOCK)])
        seconds["direct"].append(time_taken)
        seconds["playing"].append(spent(partial(play, env, BLOCK))[0])
        values += fits
        largest = max(largest, apart(agent, direct, values))
    if not largest <= AGREEMENT:
        raise SystemExit(f"{agent_id} on {name}: the direct implementation is {largest:.1e} away")
    label = agent_id + (f" {options['bonus']}" if "bonus" in options else "")
    shared = {"agent": label, "env": name, "episodes": len(values), "apart": largest}
    playing = np.array(seconds["playing"]) / BLOCK
    shared["playing_us"] = 1e6 * float(playing.mean())
    return [
        shared | {"implementation": who} | pace(np.array(seconds[who]) / BLOCK, playing) for who in ("ours", "direct")
    ]


def pace(each: np.ndarray, playing: np.ndarray) -> Row:
    """Episodes a second from the seconds of an episode, block by block, with the environment's part and without."""
    learning = each - playing
    return {
        "episodes_per_second": float(1 / each.mean()),
        "learning_per_second": float(1 / learning.mean()),
        "early_us": 1e6 * float(np.median(learning[1:6])),
        "late_us": 1e6 * float(np.median(learning[-5:])),
    }


def show_race(rows: list[Row]) -> None:
    ours, direct = rows
    print(
        f"\n{ours['agent']} on {ours['env']}, {ours['episodes']:,} episodes; largest difference {ours['apart']:.1e}",
        end="",
    )
    print(f"; the environment takes {ours['playing_us']:.0f} us an episode")
    print(f"{'':8} {'episodes/s':>11} {'learning alone':>15} {'early us':>9} {'late us':>9}")
    for row in rows:
        print(
            f"{row['implementation']:8} {row['episodes_per_second']:11,.0f} {row['learning_per_second']:15,.0f}", end=""
        )
        print(f" {row['early_us']:9,.0f} {row['late_us']:9,.0f}")
    ratios = [ours[key] / direct[key] for key in ("episodes_per_second", "learning_per_second")]
    ratios += [direct[key] / ours[key] for key in ("early_us", "late_us")]
    print(f"{'ratio':8} {ratios[0]:11.1f} {ratios[1]:15.1f} {ratios[2]:9.1f} {ratios[3]:9.1f}")


def speed(episodes: int) -> list[Row]:
    """Every agent beside its direct implementation; UCBVI's, slower by far, over a fifth of the episodes."""
    rows: list[Row] = []
    for name in ("linear S=100 A=3 d=5 H=4", "LinearMDP-v0"):
        rows += race(name, "LSVIUCB-v0", episodes)
        show_race(rows[-2:])
    for name, options in (("RiverSwim H=20", {}), ("DeepSea-v0", DEEP_SEA)):
        for bonus in ("CH", "BF"):
            rows += race(name, "UCBVI-v0", max(6 * BLOCK, episodes // 5), bonus=bonus, **options)
            show_race(rows[-2:])
    return rows


CONTENDERS: dict[str, list[tuple[str, str, Row]]] = {
    "linear S=100 A=3 d=5 H=4": [
        ("LSVI-UCB, practical", "LSVIUCB-v0", {}),
        ("LSVI-UCB, c = 0.1", "LSVIUCB-v0", {"scale": 0.1}),
        ("LSVI-UCB, theory", "LSVIUCB-v0", {"constants": "theory"}),
    ],
    "linear S=20 A=3 d=3 H=3": [
        ("LSVI-UCB, practical", "LSVIUCB-v0", {}),
        ("LSVI-UCB, c = 0.1", "LSVIUCB-v0", {"scale": 0.1}),
    ],
    "LinearMDP-v0": [
        ("LSVI-UCB, practical", "LSVIUCB-v0", {}),
        ("LSVI-UCB, c = 0.1", "LSVIUCB-v0", {"scale": 0.1}),
        ("LSVI-UCB, theory", "LSVIUCB-v0", {"constants": "theory"}),
    ],
    "RiverSwim H=20": [
        ("UCBVI BF, practical", "UCBVI-v0", {"bonus": "BF"}),
        ("UCBVI CH, practical", "UCBVI-v0", {"bonus": "CH"}),
        ("UCBVI BF, theory", "UCBVI-v0", {"bonus": "BF", "constants": "theory"}),
    ],
    "DeepSea-v0": [
        ("UCBVI BF, practical", "UCBVI-v0", {"bonus": "BF", **DEEP_SEA}),
        ("UCBVI CH, practical", "UCBVI-v0", {"bonus": "CH", **DEEP_SEA}),
        ("UCBVI BF, theory", "UCBVI-v0", {"bonus": "BF", "constants": "theory", **DEEP_SEA}),
    ],
}


def uniform_regret(env: ModelEnv) -> float:
    """What uniform play loses in each episode, exactly."""
    return audit(make_agent("Random-v0", env), env).regret


def quality(episodes: int, seeds: int) -> tuple[list[Row], dict[str, dict[str, np.ndarray]]]:
    """Exact regret of every contender, and its curves (seeds, K) by environment and name."""
    rows: list[Row] = []
    curves: dict[str, dict[str, np.ndarray]] = {}
    for name, entered in CONTENDERS.items():
        env, K = ENVIRONMENTS[name](), episodes if entered[0][1] == "LSVIUCB-v0" else max(2, episodes // 5)
        loss = uniform_regret(env)
        curves[name] = {"uniform": loss * np.arange(1.0, K + 1)[None]}
        for label, agent_id, options in entered:
            sums = [
                make_agent(agent_id, env, n_episodes=K, seed=seed, **options).learn(K * env.model.horizon).record
                for seed in track(range(seeds), description=f"{label} on {name}")
            ]
            curves[name][label] = np.array([record.cumulative_regrets for record in sums])
            found = [int(np.argmax(r.regrets < 1e-6)) + 1 if (r.regrets < 1e-6).any() else None for r in sums]
            rows.append(quality_row(name, label, curves[name][label], loss, found))
    return rows, curves


def quality_row(name: str, label: str, sums: np.ndarray, loss: float, found: list[int | None]) -> Row:
    mean, K = sums.mean(axis=0), sums.shape[1]
    block = max(1, K // 10)
    slope = np.log(mean[-1] / mean[K // 2 - 1]) / np.log(K / (K // 2))
    return {
        "env": name,
        "agent": label,
        "episodes": K,
        "seeds": len(sums),
        "regret": float(mean[-1]),
        "uniform_regret": loss * K,
        "first_tenth": float(mean[block - 1] / block),
        "last_tenth": float((mean[-1] - mean[-block - 1]) / block) if block < K else 0.0,
        "slope": float(slope),
        "first_optimal_episode": found,
    }


def show_quality(rows: list[Row]) -> None:
    for name in dict.fromkeys(row["env"] for row in rows):
        group = [row for row in rows if row["env"] == name]
        first = group[0]
        print(f"\nexact regret on {name}, {first['episodes']:,} episodes, mean of {first['seeds']} seeds")
        print(f"{'':22} {'sum':>10} {'first tenth':>12} {'last tenth':>11} {'slope':>6}  first optimal episode")
        per_episode = first["uniform_regret"] / first["episodes"]
        print(f"{'uniform':22} {first['uniform_regret']:10,.1f} {per_episode:12.4f} {per_episode:11.4f} {1.0:6.2f}")
        for row in group:
            found = [str(k) if k else "none" for k in row["first_optimal_episode"]]
            print(
                f"{row['agent']:22} {row['regret']:10,.1f} {row['first_tenth']:12.4f} {row['last_tenth']:11.4f}", end=""
            )
            print(f" {row['slope']:6.2f}  {', '.join(found)}")
        if name == "DeepSea-v0":
            print("uniform play finds the treasure once in 2^10 = 1,024 episodes")


def plot(path: Path, curves: dict[str, dict[str, np.ndarray]]) -> None:
    """One picture for each environment, the name of it added to the file's."""
    for i, (name, sums) in enumerate(curves.items()):
        target = path.with_stem(f"{path.stem}-{i + 1}") if len(curves) > 1 else path
        target.write_text(episode_curves(sums, f"sum of exact regrets, {name}") + "\n")
        print(f"{target}: {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="draw the regret curves (quality) into files of this name")
    parser.add_argument("--only", nargs="+", choices=("speed", "quality"), default=("speed", "quality"))
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()

    rows: list[Row] = []
    if "speed" in arguments.only:
        rows += speed(arguments.episodes)
    if "quality" in arguments.only:
        measured, curves = quality(arguments.episodes, arguments.seeds)
        show_quality(measured)
        rows += measured
        if arguments.plot:
            plot(arguments.plot, curves)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
