"""TensorPlan as an agent of the common contract, in its three modes."""

import sys
from typing import Any, final

from ...solvers.hypotheses.program import Hypotheses
from ..errors import AgentError
from .agent import LocalPlanningAgent
from .literal import LiteralTensorPlan
from .planner import LocalPlanner
from .tensorplan import TensorPlan, TensorPlanSettings
from .theory_planner import TheoryTensorPlan

CLASSES = {"v*": Hypotheses.OPTIMAL, "any": Hypotheses.ANY}


@final
class TensorPlanAgent(LocalPlanningAgent):
    """Plans optimistically where the optimal value is linear in the features of states.

    ``plan.report`` tells what was found and proved; ``learn`` plans.

    Args:
        env: An environment of this package whose states have features.
        budget: Queries that planning an episode may take, or None; acting is counted apart.
        mode: ``"practical"`` (:class:`~.tensorplan.TensorPlan`); ``"literal"``, the lecture's algorithm for exact
            answers (:class:`~.literal.LiteralTensorPlan`); ``"theory"``, with the constants of the theorem, which it
            prints, and which refuses budgets that could not be met (:class:`~.theory_planner.TheoryTensorPlan`).
        radius: B, a bound on the norm of theta*. None, in practical mode: 2 H, or 2 / (1 - gamma), an assumption.
        hypotheses: ``"v*"``: compete with the optimal policy; ``"any"``: with every deterministic policy whose value
            is linear. Practical mode falls back to ``"any"`` where the data show that v* is not linear; literal mode
            is always ``"any"``.
        samples: Samples of each state and action, where answers are random.
        width: Half width of the slabs; None: 0 where answers are exact, else by Hoeffding's inequality.
        slack: How much more than the plan a hypothesis may promise; None: 0, or a tenth of the largest value where
            answers are random.
        rollouts: Rollouts without contradiction that are asked for, where the world is random; None: visit every state
            that the plan can meet where answers tell them, else 10 (100 in literal mode).
        max_expansions: In practical mode, nodes of the search tree split before a program is left to HiGHS, unproved.
        delta: In theory mode, the suboptimality allowed.
        failure: In theory mode, the probability of failure allowed.
        oracle: ``"samples"``, or ``"expectations"``, a stronger one.
        bernoulli_rewards: Let the simulator pay 0 or 1 with the model's rewards as means.
        seed: Seed of the simulator's randomness and the planner's.

    Raises:
        AgentError: There is no such mode, class of hypotheses or oracle; a mode needs a radius.
        ModelError: The environment has no such model, or a number is out of range.
    """

    def __init__(
        self,
        env: Any,
        *,
        budget: int | None = 100_000,
        mode: str = "practical",
        radius: float | None = None,
        hypotheses: str = "v*",
        samples: int = 100,
        width: float | None = None,
        slack: float | None = None,
        rollouts: int | None = None,
        max_expansions: int = 200_000,
        delta: float = 0.5,
        failure: float = 0.1,
        oracle: str = "samples",
        bernoulli_rewards: bool = False,
        seed: int = 0,
    ) -> None:
        if hypotheses not in CLASSES:
            raise AgentError(f"hypotheses is {hypotheses!r}; pass {' or '.join(map(repr, CLASSES))}")
        settings = TensorPlanSettings(radius, CLASSES[hypotheses], samples, width, slack, rollouts, max_expansions)
        planner = _planner(mode, settings, delta, failure)
        super().__init__(env, planner, budget=budget, oracle=oracle, bernoulli_rewards=bernoulli_rewards, seed=seed)
        self._knobs: dict[str, Any] = {
            "mode": mode,
            "radius": radius,
            "hypotheses": hypotheses,
            "samples": samples,
            "width": width,
            "slack": slack,
            "rollouts": rollouts,
            "max_expansions": max_expansions,
            "delta": delta,
            "failure": failure,
            "oracle": oracle,
        }

    def knobs(self) -> dict[str, Any]:
        """All parameters of the planner."""
        return self._knobs


def _planner(mode: str, settings: TensorPlanSettings, delta: float, failure: float) -> LocalPlanner:
    """The planner of a mode."""
    if mode == "practical":
        return TensorPlan(settings)
    if mode not in ("literal", "theory"):
        raise AgentError(f"mode is {mode!r}; pass 'practical', 'literal' or 'theory'")
    if settings.radius is None:
        raise AgentError(f"mode {mode!r} needs radius, a bound on the norm of theta*; pass one")
    if mode == "literal":
        return LiteralTensorPlan(settings.radius, rollouts=settings.rollouts or 100)
    return TheoryTensorPlan(settings.radius, delta, failure=failure, hypotheses=settings.hypotheses, stream=sys.stdout)
