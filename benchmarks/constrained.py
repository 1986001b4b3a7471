"""Learning within a budget: regret and violation of each episode's policy, and episodes per second.

1. *Regret and violation* on ConstrainedLinearMDP-v0 (S = 100, A = 3, d = 5, H = 4), K = 10,000 episodes on each of ten
   instances, practical constants; the constants were chosen on other instances (mdp_seed 1000 and on). All numbers are
   exact, computed from the model for each episode's policy. "first", "tenth" and "final" are mean regrets of the first
   hundredth, the first tenth and the last tenth of the episodes, "ratio" the largest final / first on any instance;
   "overspent" counts episodes whose cost exceeds the budget by more than 1e-9, "worst" is the largest excess; "hard"
   and "signed" are sums of max(cost - budget, 0) and of cost - budget over an instance's episodes; "growth" is the
   slope of the logarithm of the sum of hard violations over that of episodes between K / 2 and K, the largest and the
   pooled one; "safe" counts the episodes of the safe policy. Numbers are medians over instances, but for the extremes.
2. *Speed*: episodes a second of processor time after 10,000 episodes, with the environment's own time and of learning
   alone, beside implementations that store transitions and refit from all (benchmarks/_direct_constrained.py), which
   were given 10,000 episodes of random actions; and the largest difference of values, costs and prices over the first
   thousand episodes of both, which must be 1e-8 at most.

    python benchmarks/constrained.py [--plot docs/constrained_regret.svg] [--json FILE] [--read FILE] [--quick]
        [--seeds 10] [--episodes 10000] [--jobs 1] [--only regret|speed]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import make_agent
from lookahead_rl.envs.tabular import ModelEnv

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks._direct_constrained import Direct, DirectOptimistic, DirectSafe

sys.path.pop(0)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
Array = NDArray[np.float64]

AGENTS = {
    "SafeOptimisticPessimistic-v0": "C3",
    "HardViolationSoftmax-v0": "C0",
    "SoftmaxPrimalDual-v0": "C2",
    "LSVIUCB-v0": "C7",
}
WITHOUT_BUDGET = "LSVIUCB-v0"
POINTS = 250
ROUNDING = 1e-9
AGREEMENT = 1e-8


# ------------------------------------------------------------------------------------------------ regret and violation


def made(name: str, mdp_seed: int, n_episodes: int) -> tuple[Any, ModelEnv]:
    """An agent and its environment."""
    env = ModelEnv(gym.make("ConstrainedLinearMDP-v0", mdp_seed=mdp_seed).unwrapped.model)
    return make_agent(name, env, n_episodes=n_episodes, seed=mdp_seed), env


def learnt(task: tuple[str, int, int]) -> Row:
    """One agent on one instance."""
    name, mdp_seed, K = task
    agent, env = made(name, mdp_seed, K)
    begun = time.process_time()
    record = agent.learn(K * env.model.horizon).record
    seconds = time.process_time() - begun
    optimum = env.solution()
    regrets, violations = optimum.value - record.values, record.violations
    hard = np.cumsum(record.hard_violations)
    shown = np.unique(np.geomspace(1, K, POINTS).round().astype(int)) - 1
    return {
        "agent": name,
        "mdp_seed": mdp_seed,
        "K": K,
        "optimum": optimum.value,
        "multiplier": float(optimum.multiplier),
        "budget": env.model.budget,
        "regret": float(regrets.sum()),
        "first": float(regrets[: max(1, K // 100)].mean()),
        "final": float(regrets[-max(1, K // 10) :].mean()),
        "overspent": int((violations > ROUNDING).sum()),
        "worst": float(violations.max()),
        "hard": float(hard[-1]),
        "signed": float(violations.sum()),
        "half": float(hard[K // 2 - 1]),
        "safe": len(agent.safe_episodes) if name.startswith("Safe") else 0,
        "seconds": seconds,
        "episodes": (shown + 1).tolist(),
        "regrets": np.cumsum(regrets)[shown].tolist(),
        "hards": hard[shown].tolist(),
    }


def growth(rows: list[Row]) -> float:
    """Slope of the logarithm of the sum of violations between K / 2 and K; 0 where there is no violation."""
    half, whole = (sum(row[name] for row in rows) for name in ("half", "hard"))
    return float(np.log2(whole / half)) if half > 0.0 else 0.0 if whole == 0.0 else float("inf")


def regret_line(rows: list[Row]) -> str:
    """One agent on all instances."""
    middle = {
        name: median(row[name] for row in rows) for name in ("regret", "first", "final", "hard", "signed", "safe")
    }
    ratio = max(row["final"] / row["first"] for row in rows)
    tenth = median(float(np.interp(row["K"] // 10, row["episodes"], row["regrets"])) / (row["K"] // 10) for row in rows)
    return (
        f"{rows[0]['agent']:29} {middle['regret']:8.1f} {middle['first']:7.4f} {tenth:7.4f} {middle['final']:8.4f} "
        f"{ratio:6.3f} {sum(row['overspent'] for row in rows):9,} {max(row['worst'] for row in rows):8.4f} "
        f"{middle['hard']:8.1f} {middle['signed']:8.1f} {max(growth([row]) for row in rows):7.3f} {growth(rows):7.3f} "
        f"{middle['safe']:5.0f}"
    )


def regrets(mdp_seeds: range, n_episodes: int, jobs: int) -> list[Row]:
    """All agents on all instances, printed as they come."""
    print(
        f"{'':29} {'regret':>8} {'first':>7} {'tenth':>7} {'final':>8} {'ratio':>6} {'overspent':>9} {'worst':>8} "
        f"{'hard':>8} {'signed':>8} {'growth':>7} {'pooled':>7} {'safe':>5}"
    )
    rows: list[Row] = []
    with ProcessPoolExecutor(jobs) as pool:
        for name in AGENTS:
            rows += pool.map(learnt, [(name, mdp_seed, n_episodes) for mdp_seed in mdp_seeds])
            print(regret_line(rows[-len(mdp_seeds) :]), flush=True)
    return rows


# ------------------------------------------------------------------------------------------------ speed


def direct(name: str, agent: Any, env: Any, n_episodes: int, seed: int) -> Direct:
    """The direct implementation with an agent's constants."""
    if name == "SafeOptimisticPessimistic-v0":
        used = agent.used
        constants = (used.reward_bonus, used.cost_bonus, used.exploration_bonus, used.exploration_reward)
        return DirectSafe(env, *constants, used.temperature, used.ceiling, safe_law(agent.problem), n_episodes, seed)
    step = agent.step if name == "SoftmaxPrimalDual-v0" else None
    return DirectOptimistic(
        env, (agent.reward_bonus, agent.cost_bonus), 1.0 / agent.temperature, agent.ceiling, step, n_episodes, seed
    )


def safe_law(problem: Any) -> Any:
    """The law of a policy of least cost, by dense backward induction."""
    table = problem.to_tabular()
    H, S, A = problem.horizon, problem.n_states, problem.n_actions
    law, v = np.zeros((H, S, A)), np.zeros(S)
    for h in range(H - 1, -1, -1):
        P, _ = table.mdp.stage(h)
        q = table.stage_costs(h) + np.asarray(P @ v).reshape(S, A)
        law[h, np.arange(S), q.argmin(axis=1)], v = 1.0, q.min(axis=1)
    return lambda h, states: law[h, states]


def difference(name: str, n_episodes: int, mdp_seed: int = 1000) -> float:
    """Largest difference of values, costs and prices over the first episodes of both."""
    agent, env = made(name, mdp_seed, 10_000)
    other = direct(name, agent, env, n_episodes, mdp_seed)
    agent.learn(n_episodes * env.model.horizon)
    fits = [other.episode() for _ in range(n_episodes)]
    theirs = np.array([(fit.value, fit.cost, np.nan_to_num(fit.multiplier, nan=-1.0)) for fit in fits])
    ours = np.stack([agent.record.values, agent.record.costs, np.nan_to_num(agent.prices, nan=-1.0)], axis=1)
    return float(np.abs(ours - theirs).max())


@dataclass(frozen=True)
class Rates:
    """Episodes a second of processor time, the environment's included and left out."""

    playing: float
    learning: float


def rates(env: ModelEnv, episode: Callable[[], Any], n_episodes: int) -> Rates:
    """Medians over so many episodes."""
    within = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal within
            begun = time.process_time()
            result = function(*arguments, **options)
            within += time.process_time() - begun
            return result

        return call

    env.reset, env.step = timed(env.reset), timed(env.step)  # type: ignore[method-assign]
    playing, learning = np.empty(n_episodes), np.empty(n_episodes)
    for k in range(n_episodes):
        begun, before = time.process_time(), within
        episode()
        playing[k] = time.process_time() - begun
        learning[k] = playing[k] - (within - before)
    return Rates(float(1.0 / np.median(playing)), float(1.0 / np.median(learning)))


def speed(name: str, n_episodes: int, n_equal: int, mdp_seed: int = 1000) -> Row:
    """Rates after ``n_episodes`` of the fast agent and of the direct implementation."""
    agent, env = made(name, mdp_seed, n_episodes)
    H = env.model.horizon
    agent.learn(n_episodes * H)
    ours = rates(env, lambda: agent.learn(H), 1000)
    _, other_env = made(name, mdp_seed, n_episodes)
    other = direct(name, agent, other_env, n_episodes + 20, mdp_seed)
    other.fill(n_episodes)
    theirs = rates(other_env, other.episode, 10)
    row = {"agent": name, "ours": asdict(ours), "direct": asdict(theirs), "n_equal": n_equal}
    return row | {"difference": difference(name, n_equal)}


def speed_line(row: Row) -> str:
    """One agent beside the direct implementation."""
    ours, theirs = row["ours"], row["direct"]
    ratios = [ours[key] / theirs[key] for key in ("playing", "learning")]
    return (
        f"{row['agent']:29} {ours['playing']:8.0f} {theirs['playing']:8.1f} {ratios[0]:7.0f} {ours['learning']:12.0f} "
        f"{theirs['learning']:8.1f} {ratios[1]:7.0f} {row['difference']:11.1e}"
    )


def speeds(n_episodes: int, n_equal: int) -> list[Row]:
    """All agents with a budget, printed as they come; numbers that differ are an error."""
    print(f"\n{'episodes a second':29} {'ours':>8} {'direct':>8} {'ratio':>7} {'learning':>12} {'direct':>8} ", end="")
    print(f"{'ratio':>7} {'difference':>11}")
    rows: list[Row] = []
    for name in AGENTS:
        if name == WITHOUT_BUDGET:
            continue
        rows.append(speed(name, n_episodes, n_equal))
        print(speed_line(rows[-1]), flush=True)
        if not rows[-1]["difference"] <= AGREEMENT:
            raise SystemExit(f"{name}: the direct implementation is {rows[-1]['difference']:.1e} away")
    return rows


# ------------------------------------------------------------------------------------------------ picture


def band(axes: "Axes", rows: list[Row], curve: str, floor: float) -> None:
    """Median over instances, and the range between the least and the greatest."""
    name, x = rows[0]["agent"], rows[0]["episodes"]
    curves = np.maximum([row[curve] for row in rows], floor)
    axes.plot(x, np.median(curves, axis=0), color=AGENTS[name], label=name)
    axes.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=AGENTS[name], alpha=0.15, linewidth=0)


def draw(rows: list[Row], path: Path) -> None:
    """Regret and hard violation of all agents."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    for name in AGENTS:
        own = [row for row in rows if row["agent"] == name]
        if name != WITHOUT_BUDGET:
            band(left, own, "regrets", -np.inf)
        band(right, own, "hards", 1e-2)
    K = rows[0]["episodes"][-1]
    left.set(title="regret against the best policy within the budget", xlabel="episode", ylabel="sum")
    right.set(title="hard violation, max(cost - budget, 0)", xlabel="episode", ylabel="sum", xscale="log", yscale="log")
    reference = np.geomspace(K / 100, K, 20)
    right.plot(reference, 0.3 * np.sqrt(reference), color="black", linestyle=":", linewidth=1)
    right.annotate("square root", (K / 10, 0.12 * np.sqrt(K / 10)), fontsize=8)
    right.annotate("0 throughout", (1.3, 1.3e-2), fontsize=8, color="C3")
    left.axhline(0.0, color="black", linewidth=0.5)
    right.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes; times are those of processes")
    parser.add_argument("--only", choices=("regret", "speed"))
    parser.add_argument("--quick", action="store_true", help="two instances, 500 episodes")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", type=Path, help="take regrets from a file that --json wrote")
    options = parser.parse_args()
    n_seeds, K = (2, 500) if options.quick else (options.seeds, options.episodes)
    rows: Row = {} if options.read is None else json.loads(options.read.read_text())
    if options.read is None and options.only != "speed":
        rows["regret"] = regrets(range(n_seeds), K, options.jobs)
    if options.read is None and options.only != "regret":
        rows["speed"] = speeds(K, 100 if options.quick else 1000)
    if options.json:
        options.json.write_text(json.dumps(rows) + "\n")
    if options.plot:
        draw(rows["regret"], options.plot)


if __name__ == "__main__":
    main()
