"""Planners that see the world through local access alone, and the agents they make."""

from .agent import LocalPlanningAgent
from .literal import LiteralPlan, LiteralTensorPlan
from .planner import LocalPlanner, Plan, PlanningBudgetExceeded, RepeatedContradiction
from .tensorplan import NoHypothesisError, PlanReport, PlanStatus, TensorPlan, TensorPlanPlan, TensorPlanSettings
from .theory import TheoryConstants
from .theory_planner import TheoryPlan, TheoryTensorPlan

__all__ = [
    "LiteralPlan",
    "LiteralTensorPlan",
    "LocalPlanner",
    "LocalPlanningAgent",
    "NoHypothesisError",
    "Plan",
    "PlanReport",
    "PlanStatus",
    "PlanningBudgetExceeded",
    "RepeatedContradiction",
    "TensorPlan",
    "TensorPlanPlan",
    "TensorPlanSettings",
    "TheoryConstants",
    "TheoryPlan",
    "TheoryTensorPlan",
]
