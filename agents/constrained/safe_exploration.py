r"""Optimism about rewards and pessimism about costs: no episode's policy overspends.

OPSE-LCMDP (Kitamura, Ghosh, Kozuno, Kumagai, Kasaura, Hoshino, Hosoe, Matsuo, Provably Efficient RL under Episode-Wise
Safety in Constrained MDPs with Linear Function Approximation, 2025, arXiv 2502.10138), in costs: c = 1 - u, budget =
H - b, lambda the price. With b_h(s, a) = |phi(s, a)| in the norm of Lambda_h^{-1}, Lambda_h = I + sum phi phi^T,
Phat_h v = phi^T Lambda_h^{-1} sum phi v(s'), and n = H - 1 - h stages to come after this one, backwards over the stages

    Q^r_h = r_h + clip(Phat v^r_{h+1} + C_r b_h, 0, n (1 + kappa log A)),    v^r_h = sum_a pi_h Q^r_h + kappa Ent pi_h,
    Q^+_h = B b_h + clip(Phat v^+_{h+1} + C_+ b_h, 0, B n),                  v^+_h = sum_a pi_h Q^+_h,
    Q^u_h = 1 - c_h + clip(Phat v^u_{h+1} - C_u b_h, 0, n),                  v^u_h = sum_a pi_h Q^u_h,
    pi_h  ~ exp((Q^r_h + Q^+_h + lambda Q^u_h) / kappa).

Q^+ draws to where little is known; Q^u is pessimistic: the cost to come, Q^c_h = (H - h) - Q^u_h, is

    Q^c_h = c_h + clip(Phat v^c_{h+1} + n (1 - Phat 1) + C_u b_h, 0, n),

too high, if anything. Let v^c_0(lambda) be that of the first state under pi. If v^c_0(C_lambda) > budget the *safe
policy* is played; else, if v^c_0(0) <= budget, the policy of price 0; else that of a price in [0, C_lambda] found by
bisection, at whose upper end v^c_0 <= budget.

What is known beforehand: the functions r and c, as the paper has it (only the law is learnt); and the *safe policy*,
one whose cost is at most budget - xi with xi > 0. It is handed over by whoever makes the agent, and audited against the
model: an unsafe one is refused.

With C_r, C_u = O~(d H), C_+ = O~(d^2 H^3 / xi), B = O~(d H^2 / xi), kappa = Omega~(xi^3 H^-4 d^-1 K^-1/2) and
C_lambda = O~(d H^4 / xi^2) all of this holds together with high probability: no episode's policy costs more than the
budget; the regret is O~(H^2 sqrt(d^3 K) + d^3 H^4 / xi^2 + H^4 sqrt(d^5 K) / xi); and the safe policy is played in
O~(d^3 H^4 / xi^2) episodes.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from ...models._checks import plain_array
from ...solvers.constrained import evaluate_constrained
from ...solvers.linear_learning import Channel, Channels, stack
from ...solvers.stages import StagedPolicy, stage_laws, staged_problem
from ..base import FloatArray, IntArray
from ..errors import AgentError
from ..exploration.linear import LinearPolicy, LinearTask
from .learner import ConstrainedLearner, log_actions

SAFEST = "safest"


@dataclass(frozen=True)
class SafeConstants:
    """The constants of the module.

    Attributes:
        reward_bonus: C_r.
        cost_bonus: C_u.
        exploration_bonus: C_+.
        exploration_reward: B.
        temperature: kappa.
        ceiling: C_lambda.
    """

    reward_bonus: float
    cost_bonus: float
    exploration_bonus: float
    exploration_reward: float
    temperature: float
    ceiling: float


def theory_constants(dim: int, horizon: int, n_episodes: int, margin: float, delta: float) -> SafeConstants:
    """The orders of the paper with constant 1 and sqrt(log(2 d T / delta)), T = n_episodes * H, for each logarithm."""
    d, H, xi = dim, horizon, margin
    log = float(np.sqrt(np.log(2.0 * d * n_episodes * H / delta)))
    return SafeConstants(
        reward_bonus=d * H * log,
        cost_bonus=d * H * log,
        exploration_bonus=d**2 * H**3 * log**2 / xi,
        exploration_reward=d * H**2 * log / xi,
        temperature=xi**3 / (H**4 * d * float(np.sqrt(n_episodes))),
        ceiling=d * H**4 / xi**2,
    )


def practical_constants(horizon: int) -> SafeConstants:
    """Constants that were chosen by experiment, on instances apart from those that benchmarks report."""
    H = horizon
    return SafeConstants(
        reward_bonus=0.75 * H,
        cost_bonus=0.0625 * H,
        exploration_bonus=0.5 * H,
        exploration_reward=0.5 * H,
        temperature=0.003,
        ceiling=300.0,
    )


@final
class SafeOptimisticPessimisticAgent(ConstrainedLearner):
    """Learns without ever playing a policy that overspends, from one that is known to be safe.

    The module says how.

    It is told more than the other learners: the safe policy, and rewards and costs as functions.

    Args:
        env: An environment of a ConstrainedLinearMDP, its rewards in [0, 1].
        safe_policy: A policy that costs less than the budget; prior knowledge. Integer actions (S,) or (H, S), or
            action probabilities (S, A) or (H, S, A); or a policy that a solver returned. ``"safest"``: one of least
            cost, computed from the model.
        n_episodes: Number of episodes announced, K; it enters the theory's constants.
        constants: ``"theory"``: those of the module, with 1 for the constants that the paper leaves open and
            sqrt(log(2 d T / delta)) for each logarithm; they are so cautious that only the safe policy is played in any
            number of episodes that one waits for. ``"practical"`` (the default): :func:`practical_constants`, for which
            nothing is proven.
        delta: Probability with which the promise may fail.
        record: Whether the exact worth of each episode's policy is recorded.
        seed: Seed of the contract.

    Attributes:
        used: The constants.
        margin: xi, how much less than the budget the safe policy costs.

    Raises:
        AgentError: The safe policy is not safe (its cost is named beside the budget), or acts differently in states of
            equal features; the environment has no costs, its model is not linear or not normalised, or an argument is
            out of range; in :meth:`learn`, a reward is outside [0, 1].
        InfeasibleError: No policy keeps within the budget; the least cost that is achievable is named.
        ModelError: The environment has no model that can be seen, or the safe policy is no policy of it.
    """

    def __init__(
        self,
        env: Any,
        *,
        safe_policy: StagedPolicy | ArrayLike | str = SAFEST,
        n_episodes: int = 10_000,
        constants: str = "practical",
        delta: float = 0.05,
        record: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(env, n_episodes, constants, delta, record, seed)
        self._told, policy = self._read_safe_policy(safe_policy)
        self.margin = self._audited(policy)
        self._safe = SafePolicy(self.task, policy)
        H, d = self.problem.horizon, self.problem.dim
        theory = self._constants == "theory"
        self.used = (
            theory_constants(d, H, self._n_episodes, self.margin, self._delta) if theory else practical_constants(H)
        )
        self._plans = self.priced_plans(self._channels(), True, self.used.temperature)
        self.new_policy()

    @property
    def safe_episodes(self) -> IntArray:
        """Which of the episodes begun so far were played by the safe policy, in order."""
        return np.flatnonzero(np.isnan(self.prices))

    def plan(self) -> tuple[float, LinearPolicy]:
        """The safe policy, the plan of price 0, or that of the price found."""
        if not self._plans.is_within(self._plans.at(self.used.ceiling)):
            return float("nan"), self._safe
        if self._plans.is_within(free := self._plans.at(0.0)):
            return 0.0, free
        price = self._plans.least_price(self.used.ceiling)
        return price, self._plans.at(price)

    def config(self) -> dict[str, Any]:
        """All arguments but the environment, a safe policy that was passed as its array."""
        return super().config() | {"safe_policy": self._told}

    def _channels(self) -> Channels:
        """Rewards, exploration, savings: the channels of the module."""
        used, mdp, H = self.used, self.problem.mdp, self.problem.horizon
        theta = np.array([mdp.stage(h).theta for h in range(H)])
        # <phi, mu_h(S)> = 1, so these are the parameters of 1 - cost.
        saved = np.array([mdp.stage(h).mu.sum(axis=1) - self.problem.stage_theta_cost(h) for h in range(H)])
        later = np.arange(H - 1, -1, -1.0)
        most = later * (1.0 + used.temperature * log_actions(mdp.n_actions))
        reward = Channel(None, used.reward_bonus, 0.0, most, known=theta, entropy=used.temperature)
        explored = used.exploration_reward
        exploration = Channel(None, used.exploration_bonus, 0.0, explored * later, outer=explored)
        saving = Channel(None, -used.cost_bonus, 0.0, later, known=saved)
        return stack([reward, exploration, saving], H, mdp.dim)

    def _read_safe_policy(self, told: StagedPolicy | ArrayLike | str) -> tuple[Any, StagedPolicy | ArrayLike]:
        """What was told, as plain values, and the policy it means."""
        if not isinstance(told, str):
            array = told.table() if isinstance(told, StagedPolicy) else plain_array("safe_policy", told)
            return array.tolist(), array
        if told != SAFEST:
            raise AgentError(f"safe_policy is {told!r}; pass an array of actions or probabilities, or {SAFEST!r}")
        return told, self._safest.policy

    def _audited(self, policy: StagedPolicy | ArrayLike) -> float:
        """The margin of a policy that is safe."""
        audited = evaluate_constrained(self.problem, policy)
        if not audited.cost_bounds[1] < audited.budget:
            raise AgentError(
                f"safe_policy costs {audited.cost:.12g} in expectation, and the budget is {audited.budget:.12g}; pass "
                f"one that costs less (the least that any policy costs is {self._safest.evaluation.cost:.12g})"
            )
        return audited.budget - audited.cost_bounds[1]


@final
class SafePolicy:
    """A policy over states as a function of what they show.

    Args:
        task: How states are shown.
        policy: The policy.

    Raises:
        AgentError: Two states of a stage show the same features, and it acts differently there.
    """

    def __init__(self, task: LinearTask, policy: StagedPolicy | ArrayLike) -> None:
        assert task.constraint is not None
        problem = staged_problem(task.constraint)
        self._table: dict[tuple[int, bytes], FloatArray] = {}
        for h, (stage, laws) in enumerate(zip(problem.stages, stage_laws(problem, policy), strict=True)):
            shown = task.read(task.observe(h * problem.n_states + stage.states))
            for s, features, law in zip(stage.states, shown.features, laws, strict=True):
                known = self._table.setdefault((h, features.tobytes()), law)
                if not np.array_equal(known, law):
                    raise AgentError(
                        f"safe_policy acts differently in state {s} and in another of stage {h} whose features are the "
                        "same; a learner of features cannot, so let it act alike there"
                    )

    def laws(self, stages: IntArray, features: FloatArray) -> FloatArray:
        """Action probabilities (n, A); uniform in states that cannot be met."""
        n_actions = features.shape[1]
        uniform = np.full(n_actions, 1.0 / n_actions)
        keys = zip(stages.tolist(), features, strict=True)
        return np.array([self._table.get((h, x.tobytes()), uniform) for h, x in keys]).reshape(-1, n_actions)
