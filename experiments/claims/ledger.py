"""What a claim is, and what an experiment may say of it.

A claim is a numbered statement of one of the sources, with the formula restored where the text has lost it, and the
function that puts it to the test. The function returns what it found; its verdict is computed from that, never written
down beforehand, so that a claim that ceases to hold is reported as such.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

Number = int | float | str | bool


class Verdict(Enum):
    """What an experiment says of a claim; the value is the word in tables."""

    HOLDS = "holds"
    SHARPENED = "sharpened"
    FALSE = "false"
    IN_DOUBT = "in doubt"


@dataclass(frozen=True)
class Evidence:
    """What an experiment found.

    Attributes:
        verdict: What that says of the claim.
        text: The finding in one to three sentences, its numbers in them: a counterexample, a sharper constant.
        numbers: The same numbers by name, for programs.
        picture: An ``<svg>`` element where a picture says more (needs the extra report), made when asked for.
    """

    verdict: Verdict
    text: str
    numbers: Mapping[str, Number] = field(default_factory=dict[str, Number])
    picture: Callable[[], str] | None = None


@dataclass(frozen=True)
class Claim:
    """A statement of a source, and how it is tested.

    Attributes:
        id: Short name, family first: ``"games.theorem-1"``.
        source: Author, title and line or theorem number.
        statement: What the source says, in one or two sentences, formulas written out.
        experiment: Puts it to the test with the randomness it is given.
    """

    id: str
    source: str
    statement: str
    experiment: Callable[[np.random.Generator], Evidence]

    @property
    def function(self) -> str:
        """``"module:function"`` of the experiment."""
        return f"{self.experiment.__module__}:{self.experiment.__qualname__}"
