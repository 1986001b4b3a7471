"""Exact evaluation inside a stable-baselines3 training run.

Where stable-baselines3's EvalCallback plays some episodes and averages noisy returns, AuditCallback computes
the exact value of the policy as it stands (:func:`lookahead_rl.evaluation.audit`): a learning curve without
noise, with the optimum known. Needs the extra ``deep``.
"""

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from .audit import AnyAudit, audit
from .constrained import ConstrainedAudit


class AuditCallback(BaseCallback):
    """Audit the policy every ``every`` environment steps, and once before training.

    Logs ``eval/exact_value`` and ``eval/regret``, where there is a budget ``eval/violation`` too, and keeps everything
    in ``audits``.

    Args:
        env: Environment with a known model, as :func:`audit` takes it; need not be the training environment.
        every: Environment steps between two audits, at least 1.
        gamma: Discount for environments whose table carries none (Gymnasium's); None for those that do.
        deterministic: Audit the greedy policy instead of the one that samples its actions.

    Attributes:
        steps: Environment steps taken before each audit.
        audits: The audits, in order.

    Raises:
        ValueError: ``every`` is below 1.
    """

    def __init__(self, env: Any, every: int, *, gamma: float | None = None, deterministic: bool = False) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}; pass the number of environment steps between audits, at least 1")
        self.env = env
        self.every = every
        self.gamma = gamma
        self.deterministic = deterministic
        self.steps: list[int] = []
        self.audits: list[AnyAudit] = []

    def _on_training_start(self) -> None:
        if not self.steps:
            self._audit()

    def _on_step(self) -> bool:
        if self.num_timesteps - self.steps[-1] >= self.every:
            self._audit()
        return True

    def _on_training_end(self) -> None:
        if self.num_timesteps > self.steps[-1]:
            self._audit()

    def _audit(self) -> None:
        result = audit(self.model, self.env, gamma=self.gamma, deterministic=self.deterministic)
        self.steps.append(self.num_timesteps)
        self.audits.append(result)
        self.logger.record("eval/exact_value", result.value)
        self.logger.record("eval/regret", result.regret)
        if isinstance(result, ConstrainedAudit):
            self.logger.record("eval/violation", result.violation)
