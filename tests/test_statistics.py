"""Promises of the statistics of comparisons: known values, brute force, scipy as the second method."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from lookahead_rl.evaluation.statistics import (
    interquartile_mean,
    interquartile_mean_interval,
    performance_profile,
    probability_of_improvement,
    probability_of_improvement_interval,
)

# Few values, so that ties are common.
SCORES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 7), st.integers(1, 4)), elements=st.integers(-3, 3).map(lambda i: i / 4)
)


def test_the_interquartile_mean_is_the_mean_of_the_middle_half():
    assert interquartile_mean(np.arange(8.0).reshape(4, 2)) == (2 + 3 + 4 + 5) / 4
    assert interquartile_mean([[0.0], [1.0], [2.0], [3.0], [1000.0]]) == 2.0


def test_an_outlier_moves_the_interquartile_mean_by_nothing():
    runs = np.linspace(0.0, 1.0, 10)[:, None]
    assert interquartile_mean(runs) == interquartile_mean(np.where(runs == 1.0, 1e9, runs))


@given(SCORES)
def test_the_interquartile_mean_agrees_with_sorting(scores: np.ndarray):
    ordered = np.sort(scores, axis=None)
    cut = ordered.size // 4
    assert interquartile_mean(scores) == pytest.approx(ordered[cut : ordered.size - cut].mean(), abs=1e-12)


@given(SCORES, st.data())
def test_the_probability_of_improvement_agrees_with_every_pair_and_with_mann_and_whitney(x: np.ndarray, data):
    y = data.draw(hnp.arrays(np.float64, (5, x.shape[1]), elements=st.integers(-3, 3).map(lambda i: i / 4)))
    pairs = [
        np.mean([(a > b) + 0.5 * (a == b) for a, b in itertools.product(x[:, t], y[:, t])]) for t in range(x.shape[1])
    ]
    u = stats.mannwhitneyu(x, y, axis=0, method="asymptotic").statistic / (x.shape[0] * y.shape[0])
    assert probability_of_improvement(x, y) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert probability_of_improvement(x, y) == pytest.approx(u.mean(), abs=1e-12)
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1.0, abs=1e-12)


@given(SCORES, st.lists(st.integers(-4, 4).map(lambda i: i / 4), min_size=1, max_size=6))
def test_the_performance_profile_counts_runs_above_the_threshold(scores: np.ndarray, thresholds: list[float]):
    counted = [np.mean(scores > tau) for tau in thresholds]
    np.testing.assert_allclose(performance_profile(scores, thresholds), counted, atol=1e-12)


def test_runs_are_drawn_within_their_task_only():
    """Tasks of constant scores leave nothing to draw: pooled draws would spread over 0 to 3."""
    scores = np.tile([0.0, 1.0, 2.0, 3.0], (5, 1))
    interval = interquartile_mean_interval(scores, np.random.default_rng(0))
    assert (interval.estimate, interval.low, interval.high) == (1.5, 1.5, 1.5)


def test_the_interval_agrees_with_the_bootstrap_of_scipy():
    scores = np.random.default_rng(1).normal(size=(10, 3))

    def statistic(*tasks: np.ndarray, axis: int) -> np.ndarray:
        return stats.trim_mean(np.concatenate(tasks, axis=axis), 0.25, axis=axis)

    theirs = stats.bootstrap(
        tuple(scores.T), statistic, vectorized=True, method="percentile", n_resamples=20_000, rng=2
    ).confidence_interval
    ours = interquartile_mean_interval(scores, np.random.default_rng(3), n_resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Ten normal runs of one task: the interquartile mean of the normal law is 0."""
    rng = np.random.default_rng(4)
    intervals = [interquartile_mean_interval(rng.normal(size=(10, 1)), rng, n_resamples=500) for _ in range(200)]
    assert 0.83 <= np.mean([one.low <= 0.0 <= one.high for one in intervals]) <= 0.97


def test_a_lower_confidence_gives_limits_further_in():
    scores = np.random.default_rng(5).normal(size=(10, 2))
    wide, narrow = (
        interquartile_mean_interval(scores, np.random.default_rng(6), confidence=level) for level in (0.95, 0.5)
    )
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    assert (wide.confidence, narrow.confidence) == (0.95, 0.5)


def test_the_interval_of_the_probability_of_improvement_holds_the_estimate():
    rng = np.random.default_rng(7)
    x, y = rng.normal(0.5, 1.0, (10, 3)), rng.normal(0.0, 1.0, (8, 3))
    interval = probability_of_improvement_interval(x, y, rng)
    assert interval.estimate == probability_of_improvement(x, y)
    assert 0.0 < interval.low < interval.estimate < interval.high < 1.0
    above = probability_of_improvement_interval(x + 100.0, y, rng)
    assert (above.low, above.estimate, above.high) == (1.0, 1.0, 1.0)


def test_intervals_are_the_same_from_the_same_generator():
    scores = np.random.default_rng(8).normal(size=(6, 2))
    assert interquartile_mean_interval(scores, np.random.default_rng(9)) == interquartile_mean_interval(
        scores, np.random.default_rng(9)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: interquartile_mean([1.0, 2.0]), r"scores has shape \(2,\); pass \(n_runs, n_tasks\)"),
        (lambda rng: interquartile_mean(np.empty((0, 2))), "at least one run"),
        (lambda rng: interquartile_mean([[0.0, np.nan]]), r"scores\[0, 1\] is nan"),
        (lambda rng: interquartile_mean_interval([[1.0, 2.0]], rng), "at least two"),
        (lambda rng: interquartile_mean_interval([[1.0], [2.0]], rng, confidence=95), "confidence"),
        (lambda rng: interquartile_mean_interval([[1.0], [2.0]], rng, n_resamples=0), "n_resamples is 0"),
        (lambda rng: probability_of_improvement([[1.0]], [[1.0, 2.0]]), "x holds 1 tasks and y 2"),
        (lambda rng: performance_profile([[1.0]], [[0.5]]), "thresholds has shape"),
    ],
)
def test_bad_scores_are_refused_with_a_remedy(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))


def test_the_memory_of_an_improvement_interval_is_linear_in_the_runs():
    x, y = np.random.default_rng(0).normal(size=(2, 400, 1))
    tracemalloc.start()
    probability_of_improvement_interval(x, y, np.random.default_rng(1), n_resamples=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 400 * 8 * 20


def test_randomness_is_a_generator_or_a_seed():
    runs = np.arange(6.0).reshape(3, 2)
    assert interquartile_mean_interval(runs, 3) == interquartile_mean_interval(runs, np.random.default_rng(3))
    for interval in (interquartile_mean_interval, lambda x, rng: probability_of_improvement_interval(x, x, rng)):
        with pytest.raises(ValueError, match="rng is"):
            interval(runs, np.random.RandomState(0))
