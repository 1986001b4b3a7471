"""How long an exact audit takes beside a Monte-Carlo estimate that is good to three digits.

The policy is stable-baselines3's PPO, its environment has 10,000 states that show 64 features. ``audit`` asks the
policy about all states in batched passes, solves for its value and for the optimum, and is good to eight digits or
more. The estimate plays 4,096 episodes at once in the native vector environment, asking the policy about all lanes
together; from their time and their spread follows the time until two standard errors are a thousandth of the value.

    python benchmarks/audit.py [--json FILE]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from lookahead_rl.agents import make_agent
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.envs.vector import VectorModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.models.planted import planted_mdp

LANES = 4096
DIGITS = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    model = planted_mdp(10_000, 4, 5, 0, gamma=0.95, dim=64).model
    env = ModelEnv(model, "features")
    agent = make_agent("PPO", env, hyperparameters={"n_steps": 256}).learn(256)
    audit(agent, env)  # the first call pays for imports and compilation

    began = time.perf_counter()
    result = audit(agent, env)
    audit_seconds = time.perf_counter() - began

    lanes = VectorModelEnv(model, LANES, observation="features")
    steps = int(np.ceil(np.log(DIGITS / 10) / np.log(model.gamma)))
    began = time.perf_counter()
    shown, _ = lanes.reset(seed=0)
    returns = np.zeros(LANES)
    for t in range(steps):
        shown, rewards, *_ = lanes.step(agent.predict(shown)[0])
        returns += model.gamma**t * rewards
    played_seconds = time.perf_counter() - began
    episodes = (2 * returns.std() / (DIGITS * abs(result.value))) ** 2
    estimate_seconds = played_seconds * episodes / LANES

    low, high = result.value_bounds
    print(
        f"exact value {result.value:.9f} +- {(high - low) / 2:.1e}, regret {result.regret:.6f}: {audit_seconds:.3f} s"
    )
    print(f"{LANES} episodes: {returns.mean():.6f} +- {2 * returns.std() / LANES**0.5:.1e}: {played_seconds:.3f} s")
    print(f"three digits by simulation: {episodes:.0f} episodes, {estimate_seconds:.2f} s")
    print(f"ratio: {estimate_seconds / audit_seconds:.1f}")
    if arguments.json is not None:
        row = {"audit_seconds": audit_seconds, "estimate_seconds": estimate_seconds, "value": result.value}
        arguments.json.write_text(json.dumps([row]))


if __name__ == "__main__":
    main()
