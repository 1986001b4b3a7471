"""Solve a linear MDP with a billion states exactly, and play it."""

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import make_agent

env = gym.make("LinearMDP-v0", n_states=10**9, n_actions=4, dim=8, horizon=10, mdp_seed=0)
solution = env.unwrapped.solution()
print(f"model: {env.unwrapped.model.nbytes:,} bytes; certified gap {solution.certificate.gap:.1e}")

planner = make_agent("BackwardInduction-v0", env).learn(0)
observation, _ = env.reset(seed=0)
total, over = 0.0, False
while not over:
    action, _ = planner.predict(observation, deterministic=True)
    observation, reward, terminated, truncated, _ = env.step(action)
    total, over = total + float(reward), terminated or truncated
print(f"one episode of the optimal policy among {env.unwrapped.model.n_states:,} states paid {total:.3f}")
