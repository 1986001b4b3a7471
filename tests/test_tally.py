"""Counted transitions: the law of sampling, whatever n is, and means that count as the queries they stand for."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.models import (
    FiniteHorizonMDP,
    GenerativeModel,
    ModelError,
    TabularMDP,
    Tally,
    TallyingModel,
    Transitions,
    garnet_game,
    tally_transitions,
)
from lookahead_rl.wrappers import (
    BernoulliRewards,
    BudgetExceeded,
    HandleError,
    LocalAccess,
    QueryCounter,
    model_features,
)

RNG = np.random.default_rng
S, A, H, N = 5, 2, 3, 200_000


def staged(seed: int = 0) -> FiniteHorizonMDP:
    """State 4 is terminal."""
    rng = RNG(seed)
    P = rng.dirichlet(np.ones(S), size=(H, S, A))
    P[:, -1] = np.eye(S)[-1]
    r = rng.random((H, S, A))
    r[:, -1] = 0.0
    features = rng.normal(size=(H + 1, S, 2)) / 10
    features[H] = 0.0
    return FiniteHorizonMDP(P, r, H, np.eye(S)[0], np.eye(S, dtype=bool)[-1], features)


def paid_by_outcome() -> TabularMDP:
    P = RNG(1).dirichlet(np.ones(S), size=(S, A))
    return TabularMDP(P, RNG(2).random((S, A, S)), 0.9, np.eye(S)[0], features=np.eye(S))


def frequencies(tally: Tally) -> dict[tuple[int, float, bool], tuple[int, float]]:
    """Count and probability of each transition, which must all differ."""
    moved = tally.transitions
    events = zip(moved.next_states.tolist(), moved.rewards.tolist(), moved.terminated.tolist(), strict=True)
    found = dict(zip(events, zip(tally.counts.tolist(), moved.probabilities.tolist(), strict=True), strict=True))
    assert len(found) == tally.counts.size
    assert (tally.counts > 0).all()
    return found


def counted_one_by_one(simulator: GenerativeModel, state: int, action: int) -> dict[Any, tuple[int, float]]:
    counter = QueryCounter(simulator)
    assert not isinstance(counter, TallyingModel)
    found = frequencies(tally_transitions(counter, state, action, N, RNG(1)))
    assert counter.queries == N
    return found


@pytest.mark.parametrize("toss", [False, True])
@pytest.mark.parametrize(("model", "state"), [(staged(), 0), (staged(), S + 2), (paid_by_outcome(), 3)])
def test_counts_have_the_law_of_samples(model: Any, state: int, toss: bool) -> None:
    simulator: Any = TabularSimulator(model)
    if toss:
        simulator = BernoulliRewards(simulator)
    assert isinstance(simulator, TallyingModel)
    found = frequencies(simulator.tally(state, 1, N, RNG(0)))
    sampled = counted_one_by_one(simulator, state, 1)
    assert found.keys() == sampled.keys()
    for counts in (found, sampled):
        expected = np.array([N * found[event][1] for event in counts])
        assert expected.sum() == pytest.approx(N)
        assert chisquare([count for count, _ in counts.values()], expected).pvalue > 1e-3
        assert [p for _, p in counts.values()] == pytest.approx(expected / N)


def test_tosses_over_a_simulator_that_cannot_count_have_the_same_law() -> None:
    simulator = BernoulliRewards(QueryCounter(TabularSimulator(paid_by_outcome())))
    found = frequencies(tally_transitions(simulator, 3, 1, N, RNG(0)))
    assert chisquare([count for count, _ in found.values()], [N * p for _, p in found.values()]).pvalue > 1e-3


def test_past_the_last_stage_and_in_terminal_states_nothing_moves() -> None:
    simulator = TabularSimulator(staged())
    for code in (H * S + 1, S + 4):
        assert frequencies(simulator.tally(code, 0, 9, RNG(0))) == {(code, 0.0, True): (9, 1.0)}


def test_numbers_of_transitions_far_beyond_memory_are_counted() -> None:
    tally = TabularSimulator(staged()).tally(0, 0, 10**15, RNG(0))
    assert tally.counts.sum() == 10**15
    np.testing.assert_allclose(tally.counts / 1e15, tally.transitions.probabilities, atol=1e-6)


def test_what_is_out_of_range_is_named() -> None:
    simulator = TabularSimulator(staged())
    with pytest.raises(ModelError, match=r"states\[0\] is 20; states run from 0 to 19"):
        simulator.tally(20, 0, 1, RNG(0))
    with pytest.raises(ModelError, match=r"actions\[0\] is 2; actions run from 0 to 1"):
        simulator.tally(0, 2, 1, RNG(0))
    with pytest.raises(ModelError, match=r"actions\[0\] is -1"):
        simulator.tally(0, -1, 1, RNG(0))


def test_games_are_counted_too() -> None:
    simulator = TabularSimulator(garnet_game(6, 3, 2, 4, RNG(0)))
    found = frequencies(simulator.tally(2, 4, N, RNG(0)))
    assert chisquare([count for count, _ in found.values()], [N * p for _, p in found.values()]).pvalue > 1e-3


# Local access


def local(simulator: GenerativeModel, model: FiniteHorizonMDP, budget: int | None = None) -> LocalAccess:
    return LocalAccess(simulator, model_features(model), rng=RNG(0), horizon=H, budget=budget)


def test_a_mean_is_that_of_the_samples_of_a_query() -> None:
    """Of the very samples, where the simulator draws them: the generator gives both the same numbers."""
    model = staged()
    sampling = QueryCounter(TabularSimulator(model))
    first, second = local(sampling, model), local(sampling, model)
    mean, drawn = first.mean(first.begin().handle, 1, 100_000), second.query(second.begin().handle, 1, 100_000)
    alive = ~drawn.terminated
    assert mean.reward == pytest.approx(drawn.rewards.mean())
    np.testing.assert_allclose(mean.next_features, (drawn.features * alive[:, None]).mean(axis=0), atol=1e-12)
    assert mean.rewards == (drawn.rewards.min(), drawn.rewards.max())
    assert mean.largest_norm == np.linalg.norm(drawn.features[alive], axis=1).max()
    assert (mean.n, mean.stage) == (100_000, drawn.stage)


def test_a_mean_of_counts_is_near_the_expectation() -> None:
    model = staged()
    access = local(TabularSimulator(model), model)
    mean = access.mean(access.begin().handle, 1, 10**12)
    assert model.features is not None
    assert mean.reward == pytest.approx(model.r[0, 0, 1])
    np.testing.assert_allclose(mean.next_features, model.P[0, 0, 1, :-1] @ model.features[1, :-1], atol=1e-5)
    assert access.queries == 10**12


def test_a_budget_is_refused_before_anything_is_counted() -> None:
    model = staged()
    access = local(TabularSimulator(model), model, budget=10)
    start = access.begin()
    access.mean(start.handle, 0, 9)
    with pytest.raises(BudgetExceeded, match="budget is 10 queries and 9 are used; 2 more"):
        access.mean(start.handle, 0, 2)
    assert access.queries == 9


def test_means_are_told_of_handed_out_states_alone() -> None:
    model = staged()
    access = local(TabularSimulator(model), model)
    start = access.begin()
    access.begin()
    with pytest.raises(HandleError):
        access.mean(start.handle, 0, 1)
    for action, n in ((2, 1), (0, 0)):
        with pytest.raises(ModelError):
            access.mean(access.begin().handle, action, n)


def test_transitions_that_differ_in_anything_are_counted_apart() -> None:
    class Fickle:
        n_states, n_actions = 3, 1

        def sample(self, states: Any, actions: Any, rng: np.random.Generator) -> Transitions:
            n = len(states)
            k = np.arange(n) % 4
            return Transitions(np.minimum(k, 1), (k == 2) * 1.0, k == 3, np.full(n, 0.25))

        def initial_states(self, n: int, rng: np.random.Generator) -> Any:
            return np.zeros(n, np.int64)

    found = frequencies(tally_transitions(Fickle(), 0, 0, N, RNG(0)))
    assert {event: count for event, (count, _) in found.items()} == {
        (0, 0.0, False): N // 4,
        (1, 0.0, False): N // 4,
        (1, 1.0, False): N // 4,
        (1, 0.0, True): N // 4,
    }
