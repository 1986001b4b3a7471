"""Learn to choose among ten thousand actions, and know exactly how good the choice is.

An action of LargeActionMDP is a word of digits; each state has one right word, and the optimum is planted. K-sample
lookahead learns by drawing candidates from its policy, ranking them by what it knows of their advantage, and making the
better ones more likely: no action is ever listed. A score of 0 is uniform play, 1 the optimum; both are known exactly,
and so is the value of what was learnt.

PPO has stable-baselines3's defaults here, lookahead its own. ``python -m benchmarks.lookahead`` compares them tuned, on
many instances.
"""

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import Agent, make_agent
from lookahead_rl.agents.vec_env import StableBaselinesVecEnv
from lookahead_rl.evaluation import audit

WORDS = {"n_states": 5, "base": 10, "digits": 4, "horizon": 10, "mdp_seed": 3, "observation": "features"}
LANES, STEPS, ROUNDS = 16, 2048, 3


def learner(name: str) -> Agent:
    """An agent in lanes that are stepped all at once, with one rollout and one update every STEPS steps."""
    lanes = gym.make_vec("LargeActionMDP-v0", num_envs=LANES, autoreset_mode="SameStep", **WORDS)
    return make_agent(name, StableBaselinesVecEnv(lanes), seed=0, hyperparameters={"n_steps": STEPS // LANES})


env = gym.make("LargeActionMDP-v0", **WORDS)
model = env.unwrapped.model
print(f"{model.n_actions:,} actions; optimum {model.optimal_value:.3f}, uniform play {model.uniform_value:.3f}")

agents = {name: learner(name) for name in ("KSampleLookahead-v0", "PPO")}
print(f"{'steps':>6}", *(f"{name:>20}" for name in agents))
for n in range(1, ROUNDS + 1):
    results = [audit(agent.learn(STEPS), env, deterministic=True) for agent in agents.values()]
    print(f"{n * STEPS:6}", *(f"{result.score:20.3f}" for result in results))

best = max(results, key=lambda result: result.score)
low, high = best.value_bounds
print(f"the better policy is worth {best.value:.6f}, certainly between {low:.12f} and {high:.12f}")
