"""``lookahead-rl reproduce``: what the sources claim, each statement an experiment with a verdict.

The claims and what puts them to the test: :mod:`lookahead_rl.experiments.claims`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ..evaluation.report import Figure, Row, Section, replace_text, write_page
from ..experiments.claims import Claim, Verdict
from ..experiments.claims.examination import Finding, choose_claims, examine, markdown_table, tally, with_table
from ..models import ModelError
from ..models._checks import whole_number
from .io import require_writable, write_json

STYLES = {Verdict.HOLDS: "green", Verdict.SHARPENED: "cyan", Verdict.FALSE: "red", Verdict.IN_DOUBT: "yellow"}

TITLES = {
    "games": "Policy iteration with lookahead in zero-sum Markov games",
    "tensorplan": "Planning where the optimal values are linear (TensorPlan)",
    "lookahead": "The best of K sampled actions",
    "softmax": "Softmax and regularised greedy policies",
    "constrained": "Constrained linear decision problems",
}


@dataclass(frozen=True)
class Reproduce:
    """Put the claims of the sources to the test: which hold, can be sharpened, are false, or stay in doubt."""

    claims: tuple[str, ...] = ()
    """Claims by name, such as games.theorem-1; all where neither these nor families are given."""
    family: tuple[str, ...] = ()
    """Families of claims: games, tensorplan, lookahead, softmax, constrained."""
    seed: int = 0
    """Seed of the experiments."""
    list: bool = False
    """Print the claims with their sources, and run nothing."""
    out: Path | None = None
    """Write a page with the table, every statement and what was found, with pictures (needs the extra report)."""
    json: Path | None = None
    """Write one row for each claim, with its numbers."""
    markdown: Path | None = None
    """Replace the table of claims in this Markdown page, such as docs/claims.md."""

    def run(self) -> None:
        """Run the experiments, print the table and write the files."""
        whole_number("seed", self.seed, 0)
        claims = choose_claims(self.claims, self.family)
        console = Console()
        if self.list:
            _print_list(console, claims)
            return
        self._require_outputs()
        findings = _examine_all(claims, self.seed, console)
        _print_findings(console, findings)
        if self.json is not None:
            write_json(self.json, [finding.row() for finding in findings])
        if self.markdown is not None:
            page = self.markdown.read_text(encoding="utf-8")
            replace_text(self.markdown, with_table(page, markdown_table(findings)))
        if self.out is not None:
            _write_page(self.out, findings)
        written = [str(path) for path in (self.out, self.markdown, self.json) if path is not None]
        if written:
            console.print(f"Wrote {', '.join(written)}.", markup=False, highlight=False)

    def _require_outputs(self) -> None:
        """Raise now, not after the experiments, unless the files can be written."""
        require_writable(self.out, self.markdown, self.json)
        if self.markdown is not None:
            with_table(self.markdown.read_text(encoding="utf-8"), "")
            if self.claims or self.family:
                raise ModelError("--markdown replaces the table of all claims; leave out --claims and --family")
        if self.out is not None and find_spec("matplotlib") is None:
            raise ImportError('--out needs matplotlib: pip install "lookahead-rl[report]"')


def _examine_all(claims: Sequence[Claim], seed: int, console: Console) -> list[Finding]:
    """What was found of every claim, with a bar meanwhile."""
    findings: list[Finding] = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(claims))
        for claim in claims:
            progress.update(bar, description=claim.id)
            findings.append(examine(claim, seed))
            progress.advance(bar)
    return findings


def _print_list(console: Console, claims: Sequence[Claim]) -> None:
    table = _table("claim")
    for claim in claims:
        table.add_row(Text.assemble((claim.id, "bold"), f" {claim.source}\n{claim.statement}"))
    console.print(table)


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    table = _table("claim, and what was found")
    table.add_column("verdict", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for finding in findings:
        verdict = finding.evidence.verdict
        told = Text.assemble((finding.claim.id, "bold"), f"\n{finding.evidence.text}")
        table.add_row(told, Text(verdict.value, STYLES[verdict]), f"{finding.seconds:.2f}")
    console.print(table)
    console.print(_counted(findings), highlight=False)


def _table(head: str) -> Table:
    """A table whose first column takes the room there is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 1, 0))
    table.add_column(head, ratio=1)
    return table


def _counted(findings: Sequence[Finding]) -> str:
    parts = [f"{n} {verdict.value}" for verdict, n in tally(findings).items() if n]
    seconds = sum(finding.seconds for finding in findings)
    noun = "claim" if len(findings) == 1 else "claims"
    return f"{len(findings)} {noun}: {', '.join(parts)}; {seconds:.1f} seconds."


def _write_page(path: Path, findings: Sequence[Finding]) -> None:
    """The verdicts counted, then each family: what is said and where, what was found, pictures."""
    text = (
        "Every verdict is computed by an experiment from what it finds: a claim holds where nothing contradicts it, is "
        "sharpened where a better constant is attained, false where there is a counterexample, and in doubt where the "
        "experiment cannot decide. No number of experiments proves what holds: proofs are cited where they are known."
    )
    families = [
        (name, [*group]) for name, group in groupby(findings, key=lambda finding: finding.claim.id.partition(".")[0])
    ]
    rows = [{"family": name} | {v.value: n for v, n in tally(group).items()} for name, group in families]
    sections = [Section("Verdicts", [_counted(findings), text], rows)]
    sections += [_section(name, group) for name, group in families]
    configuration = {"seed": findings[0].seed, "claims": [finding.claim.id for finding in findings]}
    lead = f"{len(findings)} statements put to the test, each by an experiment of its own; seed {findings[0].seed}."
    write_page(path, "The sources' claims, true and false", lead, sections, configuration=configuration)


def _section(family: str, findings: Sequence[Finding]) -> Section:
    """A family's claims as one table, with their pictures; functions and numbers folded away."""
    rows: list[Row] = [
        {
            "claim": finding.claim.id,
            "verdict": finding.evidence.verdict.value,
            "claimed": f"{finding.claim.statement} ({finding.claim.source})",
            "found": finding.evidence.text,
        }
        for finding in findings
    ]
    figures = [
        Figure(
            finding.evidence.picture(),
            f"{finding.claim.id} ({finding.evidence.verdict.value}): {finding.claim.statement}",
        )
        for finding in findings
        if finding.evidence.picture is not None
    ]
    numbers = {
        f.claim.id: {"function": f.claim.function, "seconds": round(f.seconds, 2), **f.evidence.numbers}
        for f in findings
    }
    return Section(TITLES[family], [_counted(findings)], rows, figures, numbers)
