"""Verdicts of experiments that find more than numbers beside a bound (:mod:`.bounds`)."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from .bounds import ROUNDING, Comparison
from .ledger import Evidence, Number, Verdict


def judged(
    kept: bool,
    text: str,
    numbers: Mapping[str, Number],
    *,
    sharper: bool = False,
    decided: bool = True,
    picture: Callable[[], str] | None = None,
) -> Evidence:
    """The evidence with the verdict that follows from what was found.

    Args:
        kept: Whether the statement survived; otherwise the text has its counterexample, and the verdict is false.
        text: What was found.
        numbers: The same by name.
        sharper: Whether something stronger survived too, and is attained.
        decided: Whether what was run can settle the statement, had it survived; otherwise it is in doubt.
        picture: As :class:`Evidence` has it.
    """
    if not kept:
        verdict = Verdict.FALSE
    elif not decided:
        verdict = Verdict.IN_DOUBT
    else:
        verdict = Verdict.SHARPENED if sharper else Verdict.HOLDS
    return Evidence(verdict, text, dict(numbers), picture)


def bounded(
    found: Comparison,
    text: str,
    numbers: Mapping[str, Number],
    *,
    also: bool = True,
    picture: Callable[[], str] | None = None,
) -> Evidence:
    """The evidence of observations beside a bound; false if what was ``also`` to be does not hold, too."""
    return Evidence(found.verdict if also else Verdict.FALSE, text, dict(numbers), picture)


def at_most(found: ArrayLike, bound: ArrayLike) -> bool:
    """Whether all numbers found are at most their bounds, up to rounding."""
    most = np.asarray(bound, dtype=np.float64)
    return bool((np.asarray(found) <= most + ROUNDING * np.maximum(1.0, np.abs(most))).all())


def agree(left: ArrayLike, right: ArrayLike) -> bool:
    """Whether two computations of the same numbers agree, up to rounding."""
    return bool(np.allclose(left, right, rtol=ROUNDING, atol=ROUNDING))
