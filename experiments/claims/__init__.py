"""The claims ledger: what the sources say, each statement an experiment with a verdict.

Claims come in families, one module each with its tuple ``CLAIMS``; a family is loaded when it is asked for.

ledger       what a claim is
judging      how findings become verdicts
bounds       the same of bounds, and of smaller ones
examination  claims chosen, run from a seed, and told as rows and as a table
"""

from importlib import import_module

from .ledger import Claim, Evidence, Verdict

FAMILIES = ("games", "tensorplan", "lookahead", "softmax", "constrained")
"""Modules of this package, in the order of the ledger."""


def ledger(families: tuple[str, ...] = FAMILIES) -> tuple[Claim, ...]:
    """All claims of the families, in their order."""
    return tuple(claim for family in families for claim in import_module(f".{family}", __name__).CLAIMS)


__all__ = ["FAMILIES", "Claim", "Evidence", "Verdict", "ledger"]
