"""Linear value functions that data do not contradict, and the most optimistic of them, found and certified."""

from .affine import AffineTree, solve_affine
from .bank import Bank, Datum
from .certificates import Constraint, Leaf, OptimismCertificate, Split
from .incumbents import bank_policy_iteration
from .mixed_integer import solve_mixed_integer
from .program import Hypotheses, Optimum, Outcome, Program
from .tensor import contradiction_bound
from .tree import HypothesisTree
from .verification import InvalidCertificate, Verified, verify

__all__ = [
    "AffineTree",
    "Bank",
    "Constraint",
    "Datum",
    "Hypotheses",
    "HypothesisTree",
    "InvalidCertificate",
    "Leaf",
    "OptimismCertificate",
    "Optimum",
    "Outcome",
    "Program",
    "Split",
    "Verified",
    "bank_policy_iteration",
    "contradiction_bound",
    "solve_affine",
    "solve_mixed_integer",
    "verify",
]
