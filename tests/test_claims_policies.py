"""The ledger's claims of policies: K-sample lookahead, softmax and regularised policies, learning within a budget.

Verdicts are computed by the experiments. What they are for seed 0 stands in the tables here; and each family is run
with something broken, upon which the verdict has to change.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lookahead_rl.agents.constrained import safe_exploration
from lookahead_rl.experiments.claims import Claim, Evidence, Verdict, constrained, ledger, lookahead, softmax
from lookahead_rl.experiments.claims.bounds import compare
from lookahead_rl.experiments.claims.examination import examine
from lookahead_rl.experiments.claims.judging import at_most, bounded, judged
from lookahead_rl.solvers import Regularisation

HOLDS, SHARPENED, FALSE, IN_DOUBT = Verdict.HOLDS, Verdict.SHARPENED, Verdict.FALSE, Verdict.IN_DOUBT

QUICK = {
    "lookahead.improvement": SHARPENED,
    "lookahead.policy-improvement": HOLDS,
    "lookahead.composition": HOLDS,
    "lookahead.composition-ties": FALSE,
    "lookahead.kl-equality": FALSE,
    "lookahead.total-variation": SHARPENED,
    "lookahead.win-rate": HOLDS,
    "lookahead.ranking": FALSE,
    "lookahead.frozen": FALSE,
    "softmax.gap": SHARPENED,
    "softmax.entropy": HOLDS,
    "softmax.soft-optimum": SHARPENED,
    "softmax.log-sum": HOLDS,
    "softmax.log-sum-printed": FALSE,
    "softmax.regularised-value-printed": FALSE,
    "softmax.regularised-value": HOLDS,
    "softmax.perturbation": HOLDS,
    "softmax.deterministic-reference": HOLDS,
    "softmax.fixed-point": FALSE,
    "softmax.lipschitz": SHARPENED,
    "softmax.munchausen": HOLDS,
    "constrained.randomisation": HOLDS,
    "constrained.price-bound": SHARPENED,
    "constrained.price-without-entropy": HOLDS,
    "constrained.cover-size": HOLDS,
}

SLOW = {
    "lookahead.approximation": HOLDS,
    "lookahead.one-step": HOLDS,
    "lookahead.kl": HOLDS,
    "lookahead.law": HOLDS,
    "lookahead.every-m": HOLDS,
    "lookahead.logarithm-any-policy": FALSE,
    "lookahead.robustness": HOLDS,
    "lookahead.past-maximum": HOLDS,
    "lookahead.stale": FALSE,
    "softmax.mirror-descent": HOLDS,
    "softmax.averaging": HOLDS,
    "softmax.mirror-descent-rate": HOLDS,
    "constrained.cover-greedy": HOLDS,
    "softmax.horizon": SHARPENED,
    "lookahead.logarithm": SHARPENED,
    "lookahead.convergence": HOLDS,
    "lookahead.speed": FALSE,
    "lookahead.float64": FALSE,
    "constrained.duality": HOLDS,
    "constrained.price-monotone": HOLDS,
    "constrained.price-search": HOLDS,
    "constrained.primal-dual": IN_DOUBT,
    "constrained.hard-violation": IN_DOUBT,
    "constrained.zero-violation": HOLDS,
    "constrained.safe-regret": IN_DOUBT,
    "constrained.lsvi-ucb": IN_DOUBT,
    "constrained.cover-softmax": HOLDS,
}

CLAIMS = {claim.id: claim for claim in ledger(("lookahead", "softmax", "constrained"))}


def found(claim_id: str, seed: int = 0) -> Evidence:
    return examine(CLAIMS[claim_id], seed).evidence


def run(experiment: Callable[[np.random.Generator], Evidence]) -> Verdict:
    return experiment(np.random.default_rng(0)).verdict


# the ledger


def test_every_claim_of_these_families_is_documented_here():
    assert set(CLAIMS) == {*QUICK, *SLOW}
    assert len(CLAIMS) >= 22


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_claim_names_its_source_and_is_run_by_a_function_of_its_family(claim: Claim):
    family = claim.id.partition(".")[0]
    assert claim.function.startswith(f"lookahead_rl.experiments.claims.{family}:")
    assert any(character.isdigit() for character in claim.source), "a year, a line or a theorem's number"
    assert claim.statement.endswith(".")


@pytest.mark.parametrize("claim_id", QUICK)
def test_verdict_is_the_documented_one(claim_id: str):
    evidence = found(claim_id)
    assert evidence.verdict is QUICK[claim_id], evidence.text
    assert evidence.numbers
    assert all(isinstance(x, int | float | str) for x in evidence.numbers.values())


@pytest.mark.slow
@pytest.mark.parametrize("claim_id", SLOW)
def test_verdict_of_a_longer_experiment_is_the_documented_one(claim_id: str):
    evidence = found(claim_id)
    assert evidence.verdict is SLOW[claim_id], evidence.text


def test_rounding_of_a_linear_program_is_no_randomisation():
    rng = np.random.default_rng([1, zlib.crc32(b"constrained.randomisation")])
    problem = constrained.problems(rng, 10)[-1]  # its policy mixes 1.5e-6 into a mass of 1.5e-9
    assert constrained.randomising_states(problem) == 1


@pytest.mark.parametrize("claim_id", ["softmax.gap"])
def test_equal_seeds_find_equal_numbers_and_other_seeds_the_same_verdict(claim_id: str):
    assert found(claim_id, 3).numbers == found(claim_id, 3).numbers
    assert found(claim_id, 3).verdict is found(claim_id, 0).verdict


@pytest.mark.slow
def test_picture_is_drawn_when_asked_for():
    picture = found("lookahead.frozen").picture
    assert picture is not None
    assert picture().startswith("<svg")


@pytest.mark.slow
def test_every_picture_is_an_svg_of_moderate_size():
    pictures = [evidence.picture for evidence in map(found, CLAIMS) if evidence.picture is not None]
    assert len(pictures) >= 8
    for picture in pictures:
        text = picture()
        assert text.startswith("<svg")
        assert len(text) < 200_000


# how findings become verdicts


def test_a_statement_that_did_not_survive_is_false_whatever_else_was_found():
    assert judged(False, "", {}, sharper=True).verdict is FALSE
    assert judged(False, "", {}, decided=False).verdict is FALSE
    assert bounded(compare([1.0], [2.0]), "", {}, also=False).verdict is FALSE


def test_a_survivor_is_in_doubt_where_nothing_was_settled_and_else_holds_or_is_sharpened():
    assert judged(True, "", {}, decided=False, sharper=True).verdict is IN_DOUBT
    assert judged(True, "", {}).verdict is HOLDS
    assert judged(True, "", {}, sharper=True).verdict is SHARPENED
    assert bounded(compare([1.0], [2.0], [1.0]), "", {}).verdict is SHARPENED


def test_bounds_allow_for_rounding_and_for_no_more():
    assert at_most([1.0 + 1e-12, 5.0], [1.0, 6.0])
    assert not at_most([1.0 + 1e-6], [1.0])
    assert not at_most(np.nan, 1.0)


# what a broken formula does to a verdict


def scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """The function, its value times a factor."""
    return lambda *arguments, **options: factor * function(*arguments, **options)


@pytest.mark.parametrize(
    ("module", "name", "factor", "experiment", "verdict"),
    [
        (lookahead, "kl_bound", 0.9, lookahead.kl, FALSE),
        (lookahead, "win_rate_bound", 0.95, lookahead.win_rate, FALSE),
        (lookahead, "approximation_loss", 0.9, lookahead.robustness, FALSE),
        (lookahead, "total_variation_bound", 0.9, lookahead.total_variation, HOLDS),
        (lookahead, "improvement_bound", 1.01, lookahead.improvement, HOLDS),
        (softmax, "gap_constant", 0.9, softmax.gap, HOLDS),
        (softmax, "gap_constant", 1.1, softmax.horizon, HOLDS),
        (softmax, "over_horizon", 0.4, softmax.horizon, FALSE),
        (softmax, "softmax_modulus", 0.9, softmax.lipschitz, HOLDS),
        (softmax, "regularised_error_bound", 0.9, softmax.error_bound, FALSE),
        (softmax, "regularised_rate", 0.9, softmax.mdvi, FALSE),
    ],
)
def test_a_wrong_constant_is_found_out(
    module: ModuleType,
    name: str,
    factor: float,
    experiment: Callable[[np.random.Generator], Evidence],
    verdict: Verdict,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, name, scaled(getattr(module, name), factor))
    assert run(experiment) is verdict


def test_a_law_of_one_draw_more_is_no_law_of_k_draws(monkeypatch: pytest.MonkeyPatch):
    right = lookahead.lookahead_policy
    monkeypatch.setattr(lookahead, "lookahead_policy", lambda pi, q, K, ties="samples": right(pi, q, K + 1, ties))
    assert run(lookahead.law_of_best) is FALSE
    assert run(lookahead.composition) is FALSE


def test_the_least_of_all_past_values_is_no_critic(monkeypatch: pytest.MonkeyPatch):
    right = lookahead.rounds

    def pessimistic(*arguments: Any) -> Any:
        return [replace(step, critic=-step.critic) for step in right(*arguments)]

    monkeypatch.setattr(lookahead, "rounds", pessimistic)
    assert run(lookahead.past_maximum) is FALSE


def test_looking_ahead_for_the_worst_action_improves_nothing(monkeypatch: pytest.MonkeyPatch):
    right = lookahead.lookahead_policy
    monkeypatch.setattr(lookahead, "lookahead_policy", lambda pi, q, K, ties="samples": right(pi, -q, K, ties))
    assert run(lookahead.improvement) is FALSE
    assert run(lookahead.policy_improvement) is FALSE


def test_the_frozen_claim_holds_where_the_first_policy_ranks_rightly(monkeypatch: pytest.MonkeyPatch):
    """The counterexample is in the policy, not in the verdict: with pi(good) = .5 a looks best from the first."""
    first = lookahead.first_policy
    monkeypatch.setattr(lookahead, "first_policy", lambda: first(0.9, 0.5))
    assert run(lookahead.frozen) is HOLDS


def test_the_printed_value_is_right_without_entropy(monkeypatch: pytest.MonkeyPatch):
    """With tau = 0 the exponent of mu is 1, so that what is printed is the maximum."""
    monkeypatch.setattr(softmax, "Regularisation", lambda eta, tau: Regularisation(1.0, 0.0))
    assert run(softmax.printed_value) is HOLDS


def test_a_value_without_its_reference_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(softmax, "objective", lambda pi, q, mu, weights: float(pi @ q))
    assert run(softmax.regularised_value) is FALSE


def test_munchausen_without_its_bonus_is_another_iteration(monkeypatch: pytest.MonkeyPatch):
    plain = softmax.munchausen_policies
    monkeypatch.setattr(softmax, "munchausen_policies", lambda model, alpha, tau: plain(model, 0.0, tau))
    assert run(softmax.munchausen) is FALSE


@pytest.mark.slow
def test_a_cost_that_rises_with_its_price_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constrained, "entropic_cost", scaled(constrained.entropic_cost, -1.0))
    assert run(constrained.price_monotone) is FALSE


def test_lemma_6_would_not_need_the_entropy_if_utility_rose_without_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constrained, "example_utility", lambda Y, with_entropy, temperature=0.1: Y)
    assert run(constrained.price_without_entropy) is FALSE


def test_a_price_that_is_too_low_breaks_duality(monkeypatch: pytest.MonkeyPatch):
    right = constrained.lagrangian_optimum

    def cheap(problem: Any) -> Any:
        answer = right(problem)
        return replace(answer, multiplier=0.01 * answer.multiplier)

    drawn = constrained.problems
    monkeypatch.setattr(constrained, "problems", lambda rng, n: drawn(rng, 2))
    monkeypatch.setattr(constrained, "lagrangian_optimum", cheap)
    assert run(constrained.duality) is FALSE


def test_too_few_balls_are_no_cover(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constrained, "softmax_balls", lambda temperature, eps=0.1: 3)
    monkeypatch.setattr(constrained, "balls", lambda n_states, temperature: 13)
    assert run(constrained.cover_softmax) is FALSE


def test_a_learner_that_is_optimistic_of_costs_overspends(monkeypatch: pytest.MonkeyPatch):
    right = safe_exploration.practical_constants
    monkeypatch.setattr(
        safe_exploration, "practical_constants", lambda horizon: replace(right(horizon), cost_bonus=-3.0)
    )
    monkeypatch.setattr(constrained, "EPISODES", 40)
    drawn = constrained.problems
    monkeypatch.setattr(constrained, "problems", lambda rng, n: drawn(rng, 1))
    assert run(constrained.zero_violation) is FALSE


def test_a_promise_that_was_tested_holds_and_one_that_was_broken_is_false(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constrained, "EPISODES", 40)
    monkeypatch.setattr(constrained, "lsvi_promise", lambda problem, K: 0.99 * problem.horizon * K)
    assert run(constrained.lsvi_ucb) is HOLDS
    monkeypatch.setattr(constrained, "lsvi_promise", lambda problem, K: 1e-3 * K)
    assert run(constrained.lsvi_ucb) is FALSE
    monkeypatch.setattr(constrained, "lsvi_promise", lambda problem, K: 100.0 * problem.horizon * np.sqrt(K))
    assert run(constrained.lsvi_ucb) is IN_DOUBT
