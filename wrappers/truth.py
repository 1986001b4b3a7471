"""The right answers, in info: for watching an agent, never for training it."""

from typing import Any, final

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from ..envs.optimum import optimal_values, regret
from ..envs.tabular import ModelEnv
from ..models import ConstrainedProblem, ModelError


@final
class GroundTruth(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the truth about each step to ``info``.

    ``info["v_star"]`` is v*(s) of the state s that is observed; ``info["regret"]``, after a step, is
    max_a' q*(s, a') - q*(s, a) >= 0 of the action a just taken in the state s before it. The regrets of an episode,
    discounted, add up in expectation to v*(s_0) - v^pi(s_0) (Kakade, Langford, Approximately Optimal Approximate
    Reinforcement Learning, ICML 2002, Lemma 6.1).

    Args:
        env: One of this package's Gymnasium environments, possibly wrapped.

    Raises:
        ModelError: ``env`` is not one of them, so that its model is not known; or it has a budget.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        base = env.unwrapped
        if not isinstance(base, ModelEnv):
            raise ModelError(f"the model of {type(base).__name__} is not known; wrap an environment of this package")
        if isinstance(base.model, ConstrainedProblem):
            raise ModelError(
                "with a budget on whole episodes no single state has an optimal value; audit(policy, env) tells what a "
                "policy loses and what it spends"
            )
        self._model = base.model
        self._base = base

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; adds ``info["v_star"]``."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "v_star": self._v_star()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step; adds ``info["v_star"]`` and ``info["regret"]``."""
        code = self._base.state
        observation, reward, terminated, truncated, info = self.env.step(action)
        lost = regret(self._model, self._base.solution(), code, action)
        truth = {"v_star": self._v_star(), "regret": lost}
        return observation, reward, terminated, truncated, {**info, **truth}

    def _v_star(self) -> float:
        return float(optimal_values(self._model, self._base.solution(), np.array([self._base.state]))[0])
