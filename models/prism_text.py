"""The lines of PRISM's explicit model files: what they look like, and how they are refused.

The forms are those of the appendix Explicit Model Files of PRISM's manual and, for games, those that PRISM-games' class
io.PrismExplicitExporter writes. A pattern takes linear time on every line, and no number is long enough to be slow.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from ._checks import ModelError


class Form(NamedTuple):
    """What a line looks like.

    Attributes:
        shape: To a person.
        pattern: As a pattern, with one group for each part.
    """

    shape: str
    pattern: re.Pattern[str]


_COUNT = r"(\d{1,18})"
_NUMBER = r"(-?(?:\d{1,300}/\d{1,300}|(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,4})?))"


def _form(shape: str, pattern: str) -> Form:
    """A form from a pattern in which N stands for a count, X for a number and a space for some spaces."""
    spelled = pattern.replace(" ", " +").replace("N", _COUNT).replace("X", _NUMBER)
    return Form(shape, re.compile(spelled, re.ASCII))


GAME = _form("states:players choices transitions", "N:N N N")
NO_GAME = _form("states choices transitions", "N N( N)?( N)?")
CONCURRENT = _form("state choice successor probability [action,action]", r"N N N X \[([^\[\]\s]+)\]")
TURN_BASED = _form("state:owner choice successor probability action", r"N:N N N X(?: \S+)?")
STATE_REWARDS = _form("states entries", "N N")
STATE_REWARD = _form("state reward", "N X")
TRANSITION_REWARDS = _form("states choices entries", "N N N")
TRANSITION_REWARD = _form("state choice successor reward", "N N N X")
LABELS = _form('0="label" 1="label"', r'(\d+="[^"]+"(?: \d+="[^"]+")*)')
LABELLED = _form("state: label label", r"N:((?: \d{1,18})+)")
VARIABLES = _form("(variable,variable)", r"\(([^()\s]+)\)")
STATE = _form("state:(value,value)", r"N:\(([^()\s]+)\)")


@dataclass(frozen=True)
class PrismText:
    """A file's lines that are neither blank nor comments.

    Attributes:
        path: The file.
        lines: At least one (number, text).
    """

    path: str
    lines: tuple[tuple[int, str], ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "PrismText":
        """The lines of a file; a ModelError where it has none or is no text."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"{os.fspath(path)} is no text; pass a file that PRISM exported") from error
        if text.startswith("\ufeff"):
            raise ModelError(f"{os.fspath(path)} begins with a byte order mark; save it as UTF-8 without one")
        numbered = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
        lines = tuple((number, line) for number, line in numbered if line and not line.startswith("#"))
        if not lines:
            raise ModelError(f"{os.fspath(path)} is empty; pass a file that PRISM exported")
        return cls(os.fspath(path), lines)

    def fault(self, number: int, what: str) -> ModelError:
        """The error to raise for a line."""
        return ModelError(f"{self.path}, line {number}: {what}")

    def header(self, form: Form) -> tuple[str, ...]:
        """The parts of the first line."""
        return self._parts(*self.lines[0], form)

    def body(self, form: Form) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The number and the parts of every further line."""
        return ((number, self._parts(number, line, form)) for number, line in self.lines[1:])

    def _parts(self, number: int, line: str, form: Form) -> tuple[str, ...]:
        match = form.pattern.fullmatch(line)
        if match is None:
            remedy = "write spaces for its tabs" if "\t" in line else "export the model again"
            raise self.fault(number, f"{line[:80]!r} is not of the form {form.shape!r}; {remedy}")
        return match.groups()

    def index(self, number: int, what: str, digits: str, count: int) -> int:
        """An index in [0, count) from a line."""
        index = int(digits)
        if index >= count:
            raise self.fault(number, f"there is no {what} {index}; there are {count}, counted from 0")
        return index

    def number(self, number: int, digits: str) -> float:
        """The float64 nearest to a decimal or a rational from a line."""
        numerator, _, denominator = digits.partition("/")
        if denominator and not int(denominator):
            raise self.fault(number, f"{digits[:40]} divides by zero")
        value = Fraction(int(numerator), int(denominator)) if denominator else float(digits)
        if abs(value) > sys.float_info.max:
            raise self.fault(number, f"{digits[:40]} is beyond the range of float64")
        return float(value)

    def require_same(self, what: str, announced: str, other: "PrismText", found: int) -> None:
        """Raise unless the first line announces as many as another file has."""
        if found != int(announced):
            number, _ = self.lines[0]
            told = f"it announces {int(announced)} {what}, but {other.path} has {found}; use the files of one export"
            raise self.fault(number, told)

    def require_count(self, what: str, found: int, announced: str) -> None:
        """Raise unless the file holds as many as its first line says."""
        if found != int(announced):
            number, _ = self.lines[0]
            raise self.fault(number, f"it announces {int(announced)} {what}, but the file has {found}; export it again")
