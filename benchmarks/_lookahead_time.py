"""Wall time of an environment step, training included, beside PPO's in the same process."""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import torch

from lookahead_rl.agents.stable_baselines import StableBaselinesAgent
from lookahead_rl.evaluation.report import versions

from ._lookahead_rows import append_row, digest, our_code
from ._lookahead_runs import OURS, Run, Setting, Task, build, plan_run

TURNS = 5
STEPS = 4096
CONTENDERS = ("PPO", OURS)


def contenders(name: str, task: Task, settings: Mapping[str, Setting]) -> dict[str, Run]:
    """Who takes turns on a task."""
    return {label: plan_run(name, task, label, settings[label], 0) for label in CONTENDERS}


def pace_key(runs: Mapping[str, Run]) -> str:
    """Digest of what their times depend on."""
    return digest({"turns": TURNS, "steps": STEPS, "runs": [run.key for run in runs.values()]})


def measure_paces(runs: Mapping[str, Run], path: Path) -> None:
    """Store milliseconds of a step of each contender, and the ratio to PPO's.

    The contenders take turns, so that a busy machine slows all of them; each has one turn to warm up. Numbers are
    medians over the turns, ratios those within a turn.
    """
    torch.set_num_threads(1)
    agents = {label: build(run) for label, run in runs.items()}
    turns = [{label: _pace(agent) for label, agent in agents.items()} for _ in range(TURNS + 1)][1:]
    pace = [
        {
            "task": run.task,
            "algorithm": label,
            "ms_per_step": median(turn[label] for turn in turns),
            "ratio_to_ppo": median(turn[label] / turn["PPO"] for turn in turns),
        }
        for label, run in runs.items()
    ]
    append_row(path, {"key": pace_key(runs), "pace": pace, "code": our_code(), "made_with": versions()})


def _pace(agent: StableBaselinesAgent) -> float:
    """Milliseconds of an environment step over one turn."""
    before, began = agent.model.num_timesteps, time.perf_counter()
    agent.learn(STEPS)
    return 1000.0 * (time.perf_counter() - began) / (agent.model.num_timesteps - before)
