"""Claims chosen, run from a seed, and told: as flat rows, and as the table of a Markdown page.

A claim draws its randomness from the seed and its own name, so that what is found does not depend on which other
claims are run beside it.
"""

import difflib
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...models import ModelError
from . import FAMILIES, ledger
from .ledger import Claim, Evidence, Number, Verdict

BEGIN, END = "<!-- claims -->", "<!-- end of claims -->"
"""Lines of a Markdown page between which its table of claims stands."""


@dataclass(frozen=True)
class Finding:
    """A claim, and what its experiment found.

    Attributes:
        claim: The claim.
        evidence: What was found.
        seed: Where the randomness came from.
        seconds: How long that took.
    """

    claim: Claim
    evidence: Evidence
    seed: int
    seconds: float

    def row(self) -> dict[str, Number]:
        """One flat row: what was claimed, what was found, by which function, and every number by its name."""
        return {
            "claim": self.claim.id,
            "source": self.claim.source,
            "statement": self.claim.statement,
            "verdict": self.evidence.verdict.value,
            "evidence": self.evidence.text,
            "function": self.claim.function,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            **self.evidence.numbers,
        }


def examine(claim: Claim, seed: int = 0) -> Finding:
    """Put a claim to the test."""
    rng = np.random.default_rng([seed, zlib.crc32(claim.id.encode())])
    began = time.perf_counter()
    evidence = claim.experiment(rng)
    return Finding(claim, evidence, seed, time.perf_counter() - began)


def choose_claims(ids: Sequence[str] = (), families: Sequence[str] = ()) -> tuple[Claim, ...]:
    """The claims of these names and those of these families, in the ledger's order; all where neither is given.

    Raises:
        ModelError: There is no claim or family of a name; the message has the nearest ones.
    """
    for family in families:
        _require_known("family", family, FAMILIES)
    loaded = {*families, *(i.partition(".")[0] for i in ids)} & {*FAMILIES}
    named = ledger(tuple(family for family in FAMILIES if family in loaded)) if loaded or ids else ledger()
    if not (ids or families):
        return named
    known = [claim.id for claim in named]
    for i in ids:
        if i not in known:
            _require_known("claim", i, [claim.id for claim in ledger()])
    return tuple(claim for claim in named if claim.id in ids or claim.id.partition(".")[0] in families)


def _require_known(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
        raise ModelError(f"there is no {kind} {name}; near it: {', '.join(near)} (--list has all)")


def tally(findings: Sequence[Finding]) -> dict[Verdict, int]:
    """How many claims have which verdict."""
    return {verdict: sum(f.evidence.verdict is verdict for f in findings) for verdict in Verdict}


def markdown_table(findings: Sequence[Finding]) -> str:
    """One line for each claim: its name, source, statement, verdict, and what was found."""
    head = "| claim | source | statement | verdict | found |\n| --- | --- | --- | --- | --- |\n"
    cells = [
        (f"`{f.claim.id}`", f.claim.source, f.claim.statement, f"**{f.evidence.verdict.value}**", f.evidence.text)
        for f in findings
    ]
    return head + "".join(f"| {' | '.join(_escaped(cell) for cell in row)} |\n" for row in cells)


def with_table(page: str, table: str) -> str:
    """A Markdown page with its table of claims replaced.

    Raises:
        ModelError: The page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ModelError(f"the page has no place for the table: write the lines {BEGIN} and {END} where it belongs")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def documented_verdicts(page: str) -> Mapping[str, Verdict]:
    """The verdict of every claim in the table of a Markdown page."""
    rows = re.findall(r"^\| `([^`]+)` .*?\| \*\*([a-z ]+)\*\* \|", page, flags=re.MULTILINE)
    return {name: Verdict(verdict) for name, verdict in rows}


def _escaped(cell: str) -> str:
    """Text that is one cell of a Markdown table."""
    return re.sub(r"([|*_<>\\])", r"\\\1", cell) if not cell.startswith(("`", "**")) else cell
