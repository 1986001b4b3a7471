"""The claims ledger: every verdict is the documented one, and no verdict is written down beforehand."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from lookahead_rl.experiments.claims import FAMILIES, Claim, Evidence, Verdict, ledger
from lookahead_rl.experiments.claims import games_convergence as convergence
from lookahead_rl.experiments.claims import games_counterexamples as counterexamples
from lookahead_rl.experiments.claims import games_features as features
from lookahead_rl.experiments.claims import games_learning as learning
from lookahead_rl.experiments.claims import tensorplan_data as data
from lookahead_rl.experiments.claims import tensorplan_planning as planning
from lookahead_rl.experiments.claims.bounds import compare
from lookahead_rl.experiments.claims.examination import (
    BEGIN,
    END,
    Finding,
    choose_claims,
    documented_verdicts,
    examine,
    markdown_table,
    with_table,
)
from lookahead_rl.models import ModelError
from lookahead_rl.scripts.cli import main
from lookahead_rl.solvers import contraction
from lookahead_rl.solvers.games.linear_values import paper_rate

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "claims.md").read_text(encoding="utf-8")
MINE = {claim.id: claim for claim in ledger(("games", "tensorplan"))}
SLOW = {
    "games.assumption-1",
    "games.certificates",
    "games.enough-lookahead",
    "games.hoffman-karp",
    "games.lemma-2",
    "games.proof-27-29",
    "games.proposition-1",
    "games.shapley-slower",
    "games.theorem-1",
    "games.theorem-2",
    "games.theorem-4",
    "games.theorem-4-horizon",
    "games.trajectories",
    "games.unbiased",
    "tensorplan.contradictions",
    "tensorplan.needle",
    "tensorplan.rollouts",
}
"""Those that take longest; others, and what breaks them, run every time."""


def words(text: str) -> str:
    """A finding without its numbers, which may differ in their last digits between machines."""
    return re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?%?", "#", text)


# the ledger


def test_there_are_enough_claims_and_no_two_share_a_name() -> None:
    names = [claim.id for claim in ledger()]
    assert len(names) == len({*names}) >= 30
    assert {name.partition(".")[0] for name in names} == {*FAMILIES}
    assert all(sum(name.startswith(f"{family}.") for name in names) >= 10 for family in FAMILIES)


@pytest.mark.parametrize("claim", ledger(), ids=lambda claim: claim.id)
def test_a_claim_says_what_where_and_by_which_function(claim: Claim) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z0-9-]+", claim.id)
    assert len(claim.source) > 10
    assert claim.statement.endswith(".")
    module, name = claim.function.split(":")
    assert getattr(import_module(module), name) is claim.experiment


def test_the_page_has_every_claim_once_in_the_ledgers_order() -> None:
    assert [*documented_verdicts(PAGE)] == [claim.id for claim in ledger()]


@pytest.mark.parametrize("name", [pytest.param(i, marks=pytest.mark.slow) if i in SLOW else i for i in MINE])
def test_the_verdict_is_the_documented_one(name: str) -> None:
    found = examine(MINE[name])
    assert found.evidence.verdict is documented_verdicts(PAGE)[name], found.evidence.text
    (line,) = markdown_table([found]).splitlines()[2:]
    assert words(line) in words(PAGE), "the table is old: lookahead-rl reproduce --markdown docs/claims.md"


@pytest.mark.slow
@pytest.mark.parametrize("claim", ledger(FAMILIES[2:]), ids=lambda claim: claim.id)
def test_the_table_has_the_verdict_of_every_other_claim(claim: Claim) -> None:
    assert examine(claim).evidence.verdict is documented_verdicts(PAGE)[claim.id]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", MINE)
def test_the_verdict_does_not_hang_on_the_seed(name: str, seed: int) -> None:
    found = examine(MINE[name], seed)
    assert found.evidence.verdict is documented_verdicts(PAGE)[name], found.evidence.text


def test_numbers_have_names_that_no_row_uses_otherwise() -> None:
    found = examine(MINE["games.turn-based-cycles"])
    assert not found.evidence.numbers.keys() & Finding(found.claim, Evidence(Verdict.HOLDS, ""), 0, 0.0).row().keys()
    assert found.row()["period"] == 3


def test_a_claim_finds_the_same_alone_and_among_others() -> None:
    claim = MINE["tensorplan.tensors"]
    examine(MINE["games.equation-16"])
    assert examine(claim, 5).evidence.numbers == examine(claim, 5).evidence.numbers
    assert examine(claim, 5).evidence.numbers != examine(claim, 6).evidence.numbers


# broken bounds are found out


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_theorem_1_is_false_of_any_constant_below_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "GAMES", 10)

    def smaller(gamma: float, lookahead: int, rollout: float) -> float:
        return 0.999 * contraction(gamma, lookahead, rollout).sharp

    assert convergence.theorem_1(rng(), smaller).verdict is Verdict.FALSE


def test_theorem_1_holds_and_no_more_of_the_best_constant_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "GAMES", 10)

    def best(gamma: float, lookahead: int, rollout: float) -> float:
        return contraction(gamma, lookahead, rollout).sharp

    assert convergence.theorem_1(rng(), best).verdict is Verdict.HOLDS


def test_theorem_2_is_false_without_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "RUNS", 10)

    def without(gamma: float, lookahead: int, rollout: float, delta_fv: float) -> float:
        return paper_rate(gamma, lookahead, rollout, delta_fv) - gamma ** (lookahead - 1) / (1.0 - gamma)

    assert features.theorem_2(rng(), without).verdict is Verdict.FALSE


def test_fewer_contradictions_than_an_oracle_provokes_are_no_bound() -> None:
    assert data.contradictions(rng(), bound=8).verdict is Verdict.FALSE


@pytest.mark.parametrize("gamma", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("lookahead", [1, 2, 4, 7])
@pytest.mark.parametrize("rollout", [1, 2, 9, math.inf])
def test_the_worst_case_attains_the_best_constant(gamma: float, lookahead: int, rollout: float) -> None:
    game, error = convergence.worst_case(gamma, lookahead)
    step = convergence._step(game, np.zeros(game.n_states), error, lookahead, rollout)
    best = contraction(gamma, lookahead, rollout).sharp
    assert step.before == 1.0
    assert best * (1 - 1e-7) <= step.after <= best * (1 + 1e-12)


def test_large_returns_would_mitigate_if_the_needed_lookahead_fell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "_converging_lookahead", lambda rollout: 3 if rollout == 1 else 1)
    assert convergence.large_return(rng()).verdict is Verdict.HOLDS


def test_the_literal_form_would_hold_if_it_forgot_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_learned_error", lambda *_: 0.02)
    assert features.literal_form(rng()).verdict is Verdict.HOLDS


def test_as_much_lookahead_as_assumed_would_not_be_enough_if_one_game_went_on_cycling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counterexamples, "solves", lambda game, lookahead: lookahead > 1 and game.n_states < 4)
    assert counterexamples.enough_lookahead(rng()).verdict is Verdict.FALSE


def test_bertsekas_alone_refutes_that_one_method_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counterexamples, "two_pair_policy_iteration", counterexamples.naive_policy_iteration)
    assert counterexamples.only_convergent(rng()).verdict is Verdict.IN_DOUBT


def test_theorem_4_is_tried_only_where_it_promises_something() -> None:
    """Its eps is at most (1 - gamma)^(-1/2)."""
    assert learning._eps(learning.SIZES[0], 24, learning.GAMMA, 1.0) <= (1.0 - learning.GAMMA) ** -0.5


def test_a_plan_that_loses_is_not_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = data.random_runs

    def poorer(rng: np.random.Generator, each: int) -> list[data.Run]:
        return [data.Run(r.planted, r.horizon, r.radius, r.plan, r.earned - 0.1) for r in runs(rng, 1)]

    monkeypatch.setattr(planning, "random_runs", poorer)
    assert planning.soundness(rng()).verdict is Verdict.FALSE


@pytest.mark.parametrize(
    ("observed", "claimed", "sharper", "verdict"),
    [
        ([0.5, 1.0], 2.0, None, Verdict.HOLDS),
        ([0.5, 1.0], 2.0, 1.0, Verdict.SHARPENED),
        ([0.5, 1.0], 2.0, 1.5, Verdict.HOLDS),  # smaller, but nobody attains it
        ([0.5, 1.0], 2.0, 0.9, Verdict.HOLDS),  # smaller, but exceeded
        ([0.5, 1.0], 1.0, 1.0, Verdict.HOLDS),  # attained, but no smaller
        ([0.5, 1.0], 0.99, 0.9, Verdict.FALSE),
        ([0.5, math.nan], 2.0, None, Verdict.FALSE),
        ([], 1.0, None, Verdict.IN_DOUBT),
    ],
)
def test_verdicts_follow_from_what_was_observed(
    observed: list[float], claimed: float, sharper: float | None, verdict: Verdict
) -> None:
    assert compare(observed, claimed, sharper).verdict is verdict


# the command


def test_the_command_runs_a_claim_and_writes_its_row_and_page(tmp_path: Path) -> None:
    chosen = ["--claims", "games.turn-based-cycles", "games.large-return"]
    command = [str(Path(sys.executable).with_name("lookahead-rl")), "reproduce", *chosen]
    files = ["--json", "rows.json", "--out", "page.html"]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["claim"] for row in rows] == ["games.turn-based-cycles", "games.large-return"]
    assert {"claim", "source", "statement", "verdict", "evidence", "function", "seed", "seconds"} <= rows[0].keys()
    assert [row["verdict"] for row in rows] == ["holds", "false"]
    assert "2 claims: 1 holds, 1 false" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert "An artefact of the constant" in page
    assert page.count("<svg") == 1
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)


def test_the_list_has_every_claim_and_runs_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookahead_rl.scripts.reproduce.examine", lambda *_: pytest.fail("ran"))
    main(["reproduce", "--list"])
    shown = capsys.readouterr().out
    assert all(claim.id in shown for claim in ledger())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--claims", "games.theorem-11"], "there is no claim games.theorem-11; near it: games.theorem-1"),
        (["--claims", "theorem"], "there is no claim theorem; near it: "),
        (["--family", "game"], "there is no family game; near it: games"),
        (["--claims", "games.theorem-1", "--seed", "-1"], "seed"),
        (["--claims", "games.theorem-1", "--out", "nowhere/page.html"], "folder of nowhere"),
        (["--family", "games", "--markdown", "page.md"], "leave out --claims and --family"),
    ],
)
def test_bad_input_ends_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", *arguments])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in told
    assert len(told.splitlines()) == 1


def test_the_table_of_a_page_is_replaced_and_read_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    claims = (MINE["games.turn-based-cycles"], MINE["games.large-return"])
    monkeypatch.setattr("lookahead_rl.scripts.reproduce.choose_claims", lambda *_: claims)
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nstale\n{END}\n\nafter\n")
    main(["reproduce", "--markdown", str(page)])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    assert documented_verdicts(text) == {claims[0].id: Verdict.HOLDS, claims[1].id: Verdict.FALSE}
    with pytest.raises(ModelError, match="no place for the table"):
        with_table("a page without one", "")


@pytest.mark.parametrize("choose", [choose_claims, lambda: choose_claims((), FAMILIES)])
def test_all_claims_are_chosen_where_none_is_named(choose: Callable[[], tuple[Claim, ...]]) -> None:
    assert choose() == ledger()
