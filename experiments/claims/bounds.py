"""What was observed of a bound, and what that says of it.

The claimed bound is false where anything exceeds it. It is sharpened where a smaller bound, never exceeded either, is
attained somewhere, up to one part in a hundred: no constant below it would do. Otherwise it holds, as far as was seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .ledger import Verdict

ROUNDING = 1e-9
"""Relative excess that is put down to rounding."""
ATTAINED = 0.99
"""A bound is attained where so much of it was observed."""


@dataclass(frozen=True)
class Comparison:
    """Observations beside a bound, and beside a smaller one.

    Attributes:
        cases: Number of observations.
        violations: How many exceed the claimed bound.
        largest: The largest part of the claimed bound that was observed, 1 where it was attained.
        sharper_violations: How many exceed the smaller bound; 0 without one.
        sharper_largest: The largest part of the smaller bound; 0 without one.
        is_smaller: Whether the smaller bound is below the claimed one in some case.
    """

    cases: int
    violations: int
    largest: float
    sharper_violations: int = 0
    sharper_largest: float = 0.0
    is_smaller: bool = False

    @property
    def verdict(self) -> Verdict:
        """What that says of the claim; in doubt where nothing was observed."""
        if not self.cases:
            return Verdict.IN_DOUBT
        if self.violations:
            return Verdict.FALSE
        sharpened = self.is_smaller and not self.sharper_violations and self.sharper_largest >= ATTAINED
        return Verdict.SHARPENED if sharpened else Verdict.HOLDS


def compare(
    observed: ArrayLike, claimed: ArrayLike, sharper: ArrayLike | None = None, rounding: ArrayLike = 0.0
) -> Comparison:
    """Observations (n,) beside the bounds claimed for them (n,) and, if there are any, smaller ones (n,).

    Args:
        observed: What should be at most the bound, nonnegative.
        claimed: The bound, positive; one number for all or one for each.
        sharper: A smaller bound, positive.
        rounding: What observations may be off by in absolute terms.
    """
    seen = np.atleast_1d(np.asarray(observed, dtype=np.float64))
    if not seen.size:
        return Comparison(0, 0, 0.0)
    violations, largest = _beside(seen, claimed, rounding)
    if sharper is None:
        return Comparison(seen.size, violations, largest)
    is_smaller = bool(np.any(np.asarray(sharper) < np.asarray(claimed)))
    return Comparison(seen.size, violations, largest, *_beside(seen, sharper, rounding), is_smaller)


def _beside(seen: ArrayLike, bound: ArrayLike, rounding: ArrayLike) -> tuple[int, float]:
    """How many exceed a bound beyond rounding, and the largest part of it."""
    bounds = np.asarray(bound, dtype=np.float64)
    parts = np.asarray(seen, dtype=np.float64) / bounds
    excess = ~(parts <= 1.0 + ROUNDING + np.asarray(rounding, dtype=np.float64) / bounds)
    return int(excess.sum()), float(parts.max())
