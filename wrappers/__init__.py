"""Ways to look at an environment: simulator access of every level, the truth in info, functional and exact views."""

from .access import (
    AccessTerms,
    BudgetExceeded,
    Expectation,
    ExpectationAccess,
    HandleError,
    LocalAccess,
    QueryCounter,
    StateHandle,
    Successors,
    Visit,
    model_features,
)
from .exact_view import ExactView, exact_view
from .functional import ModelFuncEnv
from .truth import GroundTruth

__all__ = [
    "AccessTerms",
    "BudgetExceeded",
    "ExactView",
    "Expectation",
    "ExpectationAccess",
    "GroundTruth",
    "HandleError",
    "LocalAccess",
    "ModelFuncEnv",
    "QueryCounter",
    "StateHandle",
    "Successors",
    "Visit",
    "exact_view",
    "model_features",
]
