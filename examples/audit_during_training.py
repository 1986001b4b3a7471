"""Watch the exact value of a policy while PPO trains it, without playing a single evaluation episode."""

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import make_agent
from lookahead_rl.evaluation.callbacks import AuditCallback

env = gym.make("RiverSwim-v0")
callback = AuditCallback(env, every=1024)
make_agent("PPO", gym.make("RiverSwim-v0"), seed=0).learn(4096, callback=callback)

for steps, result in zip(callback.steps, callback.audits, strict=True):
    print(f"{steps:5d} steps: exact value {result.value:.4f}, regret {result.regret:.4f}")
