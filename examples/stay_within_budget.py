"""Learn a linear MDP whose episodes may cost only so much: never above the budget, or now and then."""

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import make_agent

env = gym.make("ConstrainedLinearMDP-v0", mdp_seed=1)
model, optimum = env.unwrapped.model, env.unwrapped.solution()
print(f"budget {model.budget:.3f}; the best policy within it earns {optimum.value:.3f} and costs {optimum.cost:.3f}")

for name in ("SafeOptimisticPessimistic-v0", "HardViolationSoftmax-v0", "SoftmaxPrimalDual-v0", "LSVIUCB-v0"):
    agent = make_agent(name, env, n_episodes=500).learn(500 * model.horizon)
    record = agent.record
    last = slice(-50, None)
    print(
        f"{name:29} overspent in {(record.violations > 1e-9).sum():3} of {record.n_episodes} episodes, by "
        f"{record.cumulative_hard_violations[-1]:5.1f} in all; at last it earns {record.values[last].mean():.3f} and "
        f"costs {record.costs[last].mean():.3f}"
    )
    if name == "SafeOptimisticPessimistic-v0":
        print(f"{'':29} the safe policy was played in {agent.safe_episodes.size} episodes")
