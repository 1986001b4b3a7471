"""Plan where states are opaque: query only from states that were handed out, within a hard budget of samples.

Depth-two lookahead by sampling (Kearns, Mansour, Ng 2002) on an environment whose features are its planner's only view.
"""

import gymnasium as gym
import numpy as np

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.wrappers import BudgetExceeded, LocalAccess

env = gym.make("RealizableMDP-v0", n_states=100, n_actions=3, horizon=6, dim=8, mdp_seed=1)
access = LocalAccess.from_env(env, rng=np.random.default_rng(0), budget=60)


def best(handle, depth):
    """Largest total reward over the next ``depth`` steps, and the first action that earns it."""
    totals = []
    for action in range(access.terms.n_actions):
        sampled = access.query(handle, action)
        ahead = best(sampled.handles[0], depth - 1)[0] if depth > 1 and not sampled.terminated[0] else 0.0
        totals.append(float(sampled.rewards[0]) + ahead)
    return max(totals), int(np.argmax(totals))


visit = access.begin()
handle, total = visit.handle, 0.0
try:
    for stage in range(access.terms.horizon):
        _, action = best(handle, depth=min(2, access.terms.horizon - stage))
        sampled = access.query(handle, action)
        handle, total = sampled.handles[0], total + float(sampled.rewards[0])
        print(f"stage {stage}: action {action}, {access.queries} queries so far, reward so far {total:.3f}")
except BudgetExceeded as error:
    print(f"stopped: {error}")
