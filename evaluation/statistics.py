"""How sure a comparison of learning algorithms is, from a handful of runs (Agarwal, Schwarzer, Castro, Courville and
Bellemare, "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021).

Scores are arrays (n_runs, n_tasks): one column for each task, normalised so that columns may be pooled, and in each
column the runs of one algorithm. From them come

* the interquartile mean: the mean of the middle half of all n_runs * n_tasks scores. It needs fewer runs than the
  median to be known as well, and one lucky or failed run does not move it as it moves the mean;
* its stratified bootstrap interval: runs are drawn anew with replacement within each task, never across tasks, and
  the percentiles of the statistic over the draws are the limits. Few runs make it too narrow: below five, read it as
  the spread seen and no more;
* the probability of improvement of X over Y: the mean over tasks of P(X > Y) + P(X = Y) / 2 for a run of each, which
  is the statistic U of Mann and Whitney (1947) over its largest value;
* the performance profile: the fraction of all runs whose score exceeds tau, as a function of tau.

Beside them stands Student's interval around a mean of independent samples, such as the returns of episodes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models._checks import plain_array, real_array, unit_number, whole_number
from ..models.generators import as_generator

FloatArray = NDArray[np.float64]
N_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval.

    Attributes:
        estimate: The statistic of the runs themselves.
        low: Lower limit.
        high: Upper limit.
        confidence: Share of the bootstrap's draws between the limits.
    """

    estimate: float
    low: float
    high: float
    confidence: float


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the scores (n_runs, n_tasks) without the lowest and the highest quarter, tasks pooled.

    A quarter of a number that four does not divide is rounded down, as the paper's library does.

    Raises:
        ValueError: ``scores`` is no such array, or an entry is not finite.
    """
    return float(_middle_mean(_scores("scores", scores).reshape(1, -1))[0])


def interquartile_mean_interval(
    scores: ArrayLike, rng: np.random.Generator | int, *, confidence: float = 0.95, n_resamples: int = N_RESAMPLES
) -> Interval:
    """The interquartile mean of scores (n_runs, n_tasks) with its stratified bootstrap interval.

    Raises:
        ValueError: As for :func:`interquartile_mean`; fewer than two runs; ``confidence`` is not in [0, 1]; ``rng`` is
            neither a Generator nor a seed.
    """
    runs, rng = _several("scores", scores), as_generator(rng)

    def statistic(drawn: FloatArray) -> FloatArray:
        return _middle_mean(drawn.reshape(len(drawn), -1))

    return _percentiles(statistic(runs[None]), statistic(_resample(runs, rng, n_resamples)), confidence)


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """Mean over tasks of P(X > Y) + P(X = Y) / 2 for a run of each of two algorithms.

    Args:
        x: Scores (n_runs, n_tasks) of the algorithm that may be the better one.
        y: Scores (m_runs, n_tasks) of the other on the same tasks.

    Raises:
        ValueError: ``x`` or ``y`` is no such array, an entry is not finite, or their tasks differ in number.
    """
    ours, theirs = _same_tasks(_scores("x", x), _scores("y", y))
    return float(_wins(ours[None], theirs[None])[0])


def probability_of_improvement_interval(
    x: ArrayLike,
    y: ArrayLike,
    rng: np.random.Generator | int,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """The probability of improvement with its stratified bootstrap interval; runs of both are drawn anew.

    Raises:
        ValueError: As for :func:`probability_of_improvement`; fewer than two runs; ``confidence`` is not in [0, 1];
            ``rng`` is neither a Generator nor a seed.
    """
    rng = as_generator(rng)
    ours, theirs = _same_tasks(_several("x", x), _several("y", y))
    drawn = _wins(_resample(ours, rng, n_resamples), _resample(theirs, rng, n_resamples))
    return _percentiles(_wins(ours[None], theirs[None]), drawn, confidence)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Fraction (n,) of all runs, tasks pooled, with a score above each of the thresholds (n,).

    Raises:
        ValueError: ``scores`` is no array (n_runs, n_tasks), or an entry of either is not finite.
    """
    levels = real_array("thresholds", thresholds)
    if levels.ndim != 1:
        raise ValueError(f"thresholds has shape {levels.shape}; expected (n,)")
    ordered = np.sort(_scores("scores", scores), axis=None)
    return 1.0 - np.searchsorted(ordered, levels, side="right") / ordered.size


def performance_profile_band(
    scores: ArrayLike,
    thresholds: ArrayLike,
    rng: np.random.Generator | int,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> tuple[FloatArray, FloatArray]:
    """Limits (n,), (n,) of the stratified bootstrap for a performance profile, at each threshold by itself.

    Raises:
        ValueError: As for :func:`performance_profile`; fewer than two runs; ``confidence`` is not in [0, 1]; ``rng`` is
            neither a Generator nor a seed.
    """
    runs, levels, rng = _several("scores", scores), real_array("thresholds", thresholds), as_generator(rng)
    tail = 0.5 * (1.0 - unit_number("confidence", confidence))
    drawn = _resample(runs, rng, n_resamples).reshape(n_resamples, -1)
    fractions = np.array([(drawn > level).mean(axis=1) for level in levels]).reshape(-1, n_resamples)
    low, high = np.quantile(fractions, [tail, 1.0 - tail], axis=1)
    return low, high


def student_half_widths(samples: ArrayLike, confidence: float = 0.95) -> FloatArray:
    """Half the width (...) of Student's interval around the means of samples (..., n).

    Raises:
        ValueError: Fewer than two samples; an entry is not finite; ``confidence`` is not in [0, 1].
    """
    from scipy.stats import t

    drawn = real_array("samples", samples)
    count = drawn.shape[-1] if drawn.ndim else 0
    if count < 2:
        raise ValueError(f"samples has shape {drawn.shape}; an interval needs at least two")
    quantile = float(t.ppf(0.5 + 0.5 * unit_number("confidence", confidence), count - 1))
    return np.asarray(quantile * drawn.std(axis=-1, ddof=1) / np.sqrt(count))


def _middle_mean(scores: FloatArray) -> FloatArray:
    """Interquartile mean (n,) of each row (n, m)."""
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(scores, 0.25, axis=1), dtype=np.float64)


def _wins(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Probability of improvement (b,) of runs (b, n, tasks) over runs (b, m, tasks)."""
    total = np.zeros(len(ours))
    # One run of ours at a time: all pairs at once would take memory quadratic in the number of runs.
    for x in ours.transpose(1, 0, 2):
        total += (x[:, None] > theirs).sum(axis=(1, 2)) + 0.5 * (x[:, None] == theirs).sum(axis=(1, 2))
    return total / (ours.shape[1] * theirs.shape[1] * ours.shape[2])


def _resample(runs: FloatArray, rng: np.random.Generator, n_resamples: int) -> FloatArray:
    """Runs (b, n_runs, n_tasks), drawn with replacement within each column of ``runs`` (n_runs, n_tasks)."""
    size = (whole_number("n_resamples", n_resamples, 1), *runs.shape)
    return runs[rng.integers(runs.shape[0], size=size), np.arange(runs.shape[1])]


def _percentiles(estimate: FloatArray, drawn: FloatArray, confidence: float) -> Interval:
    tail = 0.5 * (1.0 - unit_number("confidence", confidence))
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Interval(float(estimate[0]), float(low), float(high), confidence)


def _scores(name: str, scores: ArrayLike) -> FloatArray:
    if plain_array(name, scores).ndim != 2:
        raise ValueError(f"{name} has shape {np.shape(scores)}; pass (n_runs, n_tasks), one task as scores[:, None]")
    array = real_array(name, scores)
    if not array.size:
        raise ValueError(f"{name} has shape {array.shape}; at least one run of one task is needed")
    return array


def _several(name: str, scores: ArrayLike) -> FloatArray:
    array = _scores(name, scores)
    if len(array) < 2:
        raise ValueError(f"{name} holds one run; an interval needs at least two, and means little below five")
    return array


def _same_tasks(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x holds {x.shape[1]} tasks and y {y.shape[1]}; compare runs of the same tasks")
    return x, y
