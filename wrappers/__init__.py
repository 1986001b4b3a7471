"""Ways to look at an environment: simulator access, the truth in info, functional, exact and single-player views."""

from .access import (
    AccessTerms,
    BudgetExceeded,
    Expectation,
    ExpectationAccess,
    HandleError,
    LocalAccess,
    QueryCounter,
    SampleMean,
    StateHandle,
    Successors,
    Visit,
    model_features,
)
from .bernoulli import BernoulliRewards
from .exact_view import ExactView, exact_view
from .functional import ModelFuncEnv
from .truth import GroundTruth
from .versus import VersusOpponent

__all__ = [
    "AccessTerms",
    "BernoulliRewards",
    "BudgetExceeded",
    "ExactView",
    "Expectation",
    "ExpectationAccess",
    "GroundTruth",
    "HandleError",
    "LocalAccess",
    "ModelFuncEnv",
    "QueryCounter",
    "SampleMean",
    "StateHandle",
    "Successors",
    "VersusOpponent",
    "Visit",
    "exact_view",
    "model_features",
]
