"""Write an agent, register it, make it by name, and audit it: tabular Q-learning (Watkins and Dayan 1992)."""

from collections.abc import Mapping
from typing import Any, final

import gymnasium as gym
import numpy as np

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import SteppingAgent, make_agent, register_agent
from lookahead_rl.evaluation import audit


@final
class QLearning(SteppingAgent):
    """Q-learning with an epsilon-greedy policy and a constant step size."""

    def __init__(self, env: gym.Env, *, seed: int = 0, gamma: float = 0.95, epsilon: float = 0.2) -> None:
        super().__init__(env.observation_space, env.action_space, seed)
        self.env, self.settings = env, {"seed": seed, "gamma": gamma, "epsilon": epsilon}
        self.q = np.zeros((env.observation_space.n, env.action_space.n))
        self.last: int | None = None

    def take_step(self) -> None:
        """Take one step and update q; the base makes ``learn`` of it, with callbacks and a progress bar."""
        if self.last is None:
            self.last = int(self.env.reset(seed=int(self.rng.integers(2**31)))[0])
        action, _ = self.predict(self.last)
        observation, reward, terminated, truncated, _ = self.env.step(int(action))
        target = reward + (not terminated) * self.settings["gamma"] * self.q[observation].max()
        self.q[self.last, action] += 0.1 * (target - self.q[self.last, action])
        self.last = None if terminated or truncated else int(observation)

    def action_probabilities(self, observations: Any) -> np.ndarray:
        """Epsilon-greedy in q."""
        q = self.q[np.asarray(observations)]
        law = np.full(q.shape, self.settings["epsilon"] / q.shape[1])
        law[np.arange(len(q)), q.argmax(axis=1)] += 1 - self.settings["epsilon"]
        return law

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self.settings)

    def memory(self) -> dict[str, Any]:
        """What was learnt."""
        return {"q": self.q, "steps": self.steps, "rng": self.rng.bit_generator.state}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take it over."""
        self.q, self.steps, self.rng.bit_generator.state = memory["q"], memory["steps"], memory["rng"]


register_agent("QLearning-v0", f"{__name__}:QLearning")
env = gym.make("RandomMDP-v0", mdp_seed=3)
agent = make_agent("QLearning-v0", env, seed=0)
for _ in range(4):
    result = audit(agent.learn(5_000), gym.make("RandomMDP-v0", mdp_seed=3), deterministic=True)
    print(f"greedy policy worth {result.value:.4f} of {result.optimal_value:.4f}, regret {result.regret:.4f}")
