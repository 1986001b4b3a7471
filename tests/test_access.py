"""Simulator access: counts are hard, and local access hands out nothing that was not earned."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from scipy.stats import chisquare

from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.models import FiniteHorizonMDP, GenerativeModel, ModelError, TabularMDP
from lookahead_rl.wrappers.access import (
    BudgetExceeded,
    ExpectationAccess,
    HandleError,
    LocalAccess,
    QueryCounter,
    StateHandle,
    Visit,
    model_features,
)

S, A, H, D = 7, 3, 4, 5


def staged_model(seed: int = 0) -> FiniteHorizonMDP:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(H + 1, S, D))
    features[H] = 0.0
    P = rng.dirichlet(np.ones(S), size=(H, S, A))
    return FiniteHorizonMDP(P, rng.random((H, S, A)), H, rng.dirichlet(np.ones(S)), None, features)


def discounted_model() -> TabularMDP:
    """A corridor 0, 1, ..., 9 with one-hot features: action 1 goes on, action 0 returns to the start; 9 ends."""
    n = 10
    P = np.zeros((n, 2, n))
    P[:, 0, 0] = 1.0
    P[np.arange(n - 1), 1, np.arange(1, n)] = 1.0
    P[n - 1] = 0.0
    P[n - 1, :, n - 1] = 1.0
    rho = np.eye(n)[0]
    return TabularMDP(P, np.zeros((n, 2)), 0.9, rho, np.eye(n, dtype=bool)[n - 1], np.eye(n))


def local(model: TabularMDP | FiniteHorizonMDP, seed: int = 0, **kwargs: Any) -> LocalAccess:
    horizon = model.horizon if isinstance(model, FiniteHorizonMDP) else None
    rng = np.random.default_rng(seed)
    return LocalAccess(TabularSimulator(model), model_features(model), rng=rng, horizon=horizon, **kwargs)


class Spy:
    """A generative model that remembers how often it was asked."""

    def __init__(self, model: TabularMDP | FiniteHorizonMDP) -> None:
        self.inner = TabularSimulator(model)
        self.n_states, self.n_actions, self.calls = self.inner.n_states, self.inner.n_actions, 0

    def sample(self, states, actions, rng):
        self.calls += 1
        return self.inner.sample(states, actions, rng)

    def initial_states(self, n, rng):
        return self.inner.initial_states(n, rng)


# Counting


def test_counter_counts_every_sample_of_a_batch() -> None:
    counter = QueryCounter(TabularSimulator(discounted_model()))
    assert isinstance(counter, GenerativeModel)
    rng = np.random.default_rng(0)
    counter.sample(np.zeros(5, np.int64), np.zeros(5, np.int64), rng)
    counter.sample(np.zeros(2, np.int64), np.zeros(2, np.int64), rng)
    counter.initial_states(9, rng)
    assert (counter.queries, counter.budget, counter.n_states, counter.n_actions) == (7, None, 10, 2)


def test_budget_is_refused_before_anything_is_sampled() -> None:
    spy = Spy(discounted_model())
    counter = QueryCounter(spy, budget=6)
    rng = np.random.default_rng(0)
    counter.sample(np.zeros(5, np.int64), np.zeros(5, np.int64), rng)
    before = rng.bit_generator.state
    with pytest.raises(BudgetExceeded, match=r"budget is 6 queries and 5 are used; 2 more") as caught:
        counter.sample(np.zeros(2, np.int64), np.zeros(2, np.int64), rng)
    assert (caught.value.budget, caught.value.used, caught.value.requested) == (6, 5, 2)
    assert (spy.calls, counter.queries) == (1, 5)
    assert rng.bit_generator.state == before
    counter.sample(np.zeros(1, np.int64), np.zeros(1, np.int64), rng)
    assert counter.queries == 6


def test_refused_queries_count_nothing() -> None:
    counter = QueryCounter(TabularSimulator(discounted_model()), budget=3)
    with pytest.raises(ModelError):
        counter.sample(np.array([99]), np.array([0]), np.random.default_rng(0))
    assert counter.queries == 0


def test_counts_cannot_be_set() -> None:
    counter = QueryCounter(TabularSimulator(discounted_model()), budget=3)
    access = local(discounted_model(), budget=3)
    for owner, name in ((counter, "queries"), (counter, "budget"), (access, "queries"), (access.terms, "budget")):
        with pytest.raises(AttributeError):
            setattr(owner, name, 0)


@pytest.mark.parametrize("budget", [-1, 1.5, True])
def test_budget_must_be_a_count(budget: Any) -> None:
    with pytest.raises(ModelError, match="budget"):
        QueryCounter(TabularSimulator(discounted_model()), budget)
    with pytest.raises(ModelError, match="budget"):
        local(discounted_model(), budget=budget)


def test_local_budget_is_hard_and_survives_new_episodes() -> None:
    access = local(staged_model(), budget=10)
    start = access.begin()
    access.query(start.handle, 0, 6)
    start = access.begin()
    with pytest.raises(BudgetExceeded, match="6 are used; 5 more"):
        access.query(start.handle, 0, 5)
    access.query(start.handle, 0, 4)
    assert access.queries == 10
    with pytest.raises(BudgetExceeded):
        access.query(start.handle, 0)


# The law and the features


def test_features_arrive_at_the_stage_of_the_state_and_vanish_after_the_last() -> None:
    model = staged_model()
    assert model.features is not None
    access = local(model)
    visit = access.begin()
    assert any(np.array_equal(visit.features, model.features[0, s]) for s in range(S))
    handle = visit.handle
    for h in range(1, H + 1):
        reached = access.query(handle, 1, n=20)
        assert reached.stage == h
        assert reached.features.shape == (20, D)
        distance = np.abs(reached.features[:, None] - model.features[h][None]).max(axis=2).min(axis=1)
        assert not distance.any()
        assert reached.terminated.tolist() == [h == H] * 20
        handle = reached.handles[0]
    assert not reached.features.any()
    with pytest.raises(HandleError, match="ended"):
        access.query(handle, 0)


def test_queries_sample_the_models_law() -> None:
    model = staged_model()
    assert model.features is not None
    key = object()
    access = local(model, seed=3, referee=key)
    visit = access.hand_out(1 * S + 2, 1, referee=key)
    n = 20_000
    reached = access.query(visit.handle, 2, n)
    next_states = np.abs(reached.features[:, None] - model.features[2][None]).max(axis=2).argmin(axis=1)
    counts = np.bincount(next_states, minlength=S)
    assert chisquare(counts, n * model.P[1, 2, 2]).pvalue > 1e-3
    assert set(reached.rewards) == {model.r[1, 2, 2]}


def test_equal_generators_give_equal_samples() -> None:
    one, two = local(staged_model(), seed=8), local(staged_model(), seed=8)
    first, second = one.begin(), two.begin()
    np.testing.assert_array_equal(first.features, second.features)
    a, b = one.query(first.handle, 0, 50), two.query(second.handle, 0, 50)
    np.testing.assert_array_equal(a.features, b.features)


def test_expectation_is_the_exact_law() -> None:
    model = staged_model()
    assert model.features is not None
    key = object()
    access = ExpectationAccess(model, rng=np.random.default_rng(0), referee=key)
    visit = access.hand_out(2 * S + 4, 2, referee=key)
    told = access.query(visit.handle, 1)
    assert told.reward == pytest.approx(model.r[2, 4, 1], abs=1e-12)
    np.testing.assert_allclose(told.next_features, model.P[2, 4, 1] @ model.features[3], atol=1e-12)
    np.testing.assert_array_equal(told.probabilities, model.P[2, 4, 1])
    np.testing.assert_array_equal(told.successors.features, model.features[3])
    assert len(told.successors.handles) == S
    assert access.queries == 1
    onward = access.query(told.successors.handles[5], 0)
    np.testing.assert_allclose(onward.next_features, 0.0)
    assert onward.successors.terminated.all()


def test_expectation_agrees_with_samples() -> None:
    model, key = staged_model(5), object()
    exact = ExpectationAccess(model, rng=np.random.default_rng(0), referee=key)
    sampled = local(model, referee=key)
    told = exact.query(exact.hand_out(3, 0, referee=key).handle, 1)
    n = 20_000
    drawn = sampled.query(sampled.hand_out(3, 0, referee=key).handle, 1, n)
    spread = drawn.features.std(axis=0) / np.sqrt(n)
    assert (np.abs(drawn.features.mean(axis=0) - told.next_features) < 5 * spread).all()


def test_the_expectation_oracle_is_a_type_of_its_own_and_says_so() -> None:
    exact, sampled = ExpectationAccess(staged_model(), rng=np.random.default_rng(0)), local(staged_model())
    assert not isinstance(exact, LocalAccess)
    assert (exact.oracle, sampled.oracle) == ("expectations", "samples")
    budgeted = ExpectationAccess(staged_model(), rng=np.random.default_rng(0), budget=1)
    visit = budgeted.begin()
    budgeted.query(visit.handle, 0)
    with pytest.raises(BudgetExceeded):
        budgeted.query(visit.handle, 0)


def test_terms_tell_the_planner_what_it_may_know() -> None:
    terms = local(staged_model(), budget=5).terms
    assert (terms.n_actions, terms.horizon, terms.gamma, terms.budget) == (A, H, 1.0, 5)
    terms = ExpectationAccess(discounted_model(), rng=np.random.default_rng(0)).terms
    assert (terms.n_actions, terms.horizon, terms.gamma, terms.budget) == (2, None, 0.9, None)


def test_a_model_without_state_features_is_refused() -> None:
    model = TabularMDP(np.ones((1, 1, 1)), np.zeros((1, 1)), 0.5, np.ones(1))
    with pytest.raises(ModelError, match="no state features"):
        model_features(model)


@pytest.mark.parametrize(("action", "n"), [(A, 1), (-1, 1), (0, 0), (0, -3), (0.0, 1), (0, 1.0), (True, 1)])
def test_bad_queries_are_named_and_cost_nothing(action: Any, n: Any) -> None:
    access = local(staged_model())
    visit = access.begin()
    with pytest.raises(ModelError, match=r"action|n "):
        access.query(visit.handle, action, n)
    assert access.queries == 0


def test_features_of_the_wrong_shape_are_refused() -> None:
    simulator = TabularSimulator(discounted_model())
    with pytest.raises(ModelError, match=r"expected \(n, d\)"):
        LocalAccess(simulator, lambda codes: np.zeros(codes.size), rng=np.random.default_rng(0)).begin()


# Keys


def test_keys_tell_equal_states_and_nothing_else() -> None:
    model = discounted_model()
    access = local(model, state_key=int)
    start = access.begin()
    far = access.query(start.handle, 1).handles[0]
    back = access.query(far, 0).handles[0]
    assert back is not start.handle
    assert back != start.handle
    assert access.key(far) == 0  # the first key asked for, though the state is 1
    assert access.key(back) == access.key(start.handle) == 1


def test_keys_need_to_be_declared_and_expire_with_the_episode() -> None:
    undeclared = local(discounted_model())
    with pytest.raises(HandleError, match="state_key"):
        undeclared.key(undeclared.begin().handle)
    access = local(discounted_model(), state_key=int)
    old = access.begin().handle
    access.key(old)
    access.begin()
    with pytest.raises(HandleError):
        access.key(old)


# The referee


def test_only_the_referee_hands_out_states() -> None:
    key = object()
    access = local(staged_model(), referee=key)
    visit = access.hand_out(2, 0, referee=key)
    later = access.hand_out(S + 5, 1, referee=key)
    access.query(visit.handle, 0)
    access.query(later.handle, 0)
    access.hand_out(3, 0, referee=key)  # stage 0 begins an episode
    with pytest.raises(HandleError):
        access.query(visit.handle, 0)
    for impostor in (object(), None, "referee", local(staged_model())):
        with pytest.raises(PermissionError):
            access.hand_out(2, 0, referee=impostor)
    with pytest.raises(PermissionError):
        local(staged_model()).hand_out(2, 0, referee=None)


@pytest.mark.parametrize(("state", "stage"), [((H + 1) * S, 0), (-1, 0), (2, 1), (S, 0), (1.0, 0), (H * S, H)])
def test_the_referees_mistakes_are_named(state: Any, stage: int) -> None:
    key = object()
    with pytest.raises(ModelError, match=r"state|stage"):
        local(staged_model(), referee=key).hand_out(state, stage, referee=key)


# Attacks


def equal_to(handle: StateHandle) -> object:
    """An object that claims to be, hash like and equal a handle."""

    class Impostor:
        __slots__ = ("__weakref__",)
        __class__ = StateHandle  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash(handle)

    return Impostor()


def forgeries(handle: StateHandle) -> Iterator[Any]:
    yield object.__new__(StateHandle)
    yield equal_to(handle)
    yield from (None, 0, 1, 9, "0", id(handle), hash(handle), (handle,), StateHandle, repr(handle))


def test_handles_cannot_be_made_copied_stored_or_subclassed() -> None:
    handle = local(discounted_model()).begin().handle
    for attack in (StateHandle, type(handle), lambda: copy.copy(handle), lambda: copy.deepcopy(handle)):
        with pytest.raises(TypeError):
            attack()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(handle, protocol)
    with pytest.raises(TypeError, match="final"):
        type("Forged", (StateHandle,), {})
    with pytest.raises(TypeError):
        copy.deepcopy([handle])


def test_a_handle_holds_nothing() -> None:
    handle = local(discounted_model()).begin().handle
    with pytest.raises(AttributeError):
        handle.state = 3  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        vars(handle)
    public = [name for name in dir(handle) if not name.startswith("__")]
    assert public == []
    assert repr(handle) == "<StateHandle>"


def test_an_object_turned_into_a_handle_is_still_a_stranger() -> None:
    class Shaped:
        __slots__ = ("__weakref__",)

    access = local(discounted_model())
    access.begin()
    stranger = Shaped()
    stranger.__class__ = StateHandle  # type: ignore[assignment]
    assert type(stranger) is StateHandle
    with pytest.raises(HandleError):
        access.query(stranger, 0)  # type: ignore[arg-type]


def test_no_attribute_of_an_access_leads_to_a_simulator_a_model_or_a_generator() -> None:
    model = discounted_model()
    hidden = (TabularSimulator, TabularMDP, np.random.Generator)
    for access in (local(model), ExpectationAccess(model, rng=np.random.default_rng(0))):
        access.begin()
        seen: dict[int, object] = {}
        pending: list[object] = [access]
        while pending:
            thing = pending.pop()
            assert not isinstance(thing, hidden)
            slots = [name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ())]
            for name in {*slots, *getattr(thing, "__dict__", ())} - {"__weakref__"}:
                value = getattr(thing, name)
                if id(value) not in seen:
                    seen[id(value)] = value
                    pending.append(value)
            pending.extend([thing.__self__] if "__self__" in dir(thing) else [])


def test_arrays_handed_out_are_the_planners_own() -> None:
    model = staged_model()
    assert model.features is not None
    table = model.features.reshape(-1, D)
    key = object()
    views = lambda codes: table[codes[0] : codes[0] + 1]  # noqa: E731  a careless evaluator's features
    access = LocalAccess(TabularSimulator(model), views, rng=np.random.default_rng(0), horizon=H, referee=key)
    reached = access.query(access.hand_out(3, 0, referee=key).handle, 0)
    for array in (reached.features, reached.rewards, reached.terminated, access.begin().features):
        assert array.base is None
        assert not np.shares_memory(array, table)
        array[...] = 0
    np.testing.assert_array_equal(model.features, staged_model().features)


class CorridorAttack(RuleBasedStateMachine):
    """Honest walks and attacks in any order: the states seen are exactly those reached by honest steps.

    In the corridor a state shows its number, and only a step from state k shows state k + 1.
    """

    handles = Bundle("handles")
    expired = Bundle("expired")

    def __init__(self) -> None:
        super().__init__()
        self.access = local(discounted_model())
        self.other = local(discounted_model(), seed=1)
        self.stranger = self.other.query(self.other.begin().handle, 1).handles[0]
        self.known: dict[int, int] = {}  # id of a live handle -> number of its state
        self.alive: list[StateHandle] = []
        self.farthest = 0

    def admit(self, handle: StateHandle, features: np.ndarray) -> StateHandle:
        state = int(features.argmax())
        self.alive.append(handle)
        self.known[id(handle)] = state
        return handle

    @rule(target=handles)
    def begin(self) -> StateHandle:
        self.known.clear()
        visit: Visit = self.access.begin()
        self.farthest = 0
        return self.admit(visit.handle, visit.features)

    @rule(target=handles, handle=handles, action=st.integers(0, 1))
    def step(self, handle: StateHandle, action: int) -> StateHandle:
        if id(handle) not in self.known or self.known[id(handle)] == 9:
            with pytest.raises(HandleError):
                self.access.query(handle, action)
            return handle
        state = self.known[id(handle)]
        reached = self.access.query(handle, action)
        assert int(reached.features[0].argmax()) == (state + 1 if action else 0)
        self.farthest = max(self.farthest, state + action)
        return self.admit(reached.handles[0], reached.features[0])

    @rule(target=expired, handle=consumes(handles))
    def retire(self, handle: StateHandle) -> StateHandle:
        return handle

    @rule(handle=expired)
    def replay(self, handle: StateHandle) -> None:
        if id(handle) not in self.known:
            with pytest.raises(HandleError):
                self.access.query(handle, 1)

    @rule(handle=handles, which=st.integers(0, 11), action=st.integers(0, 1))
    def forge(self, handle: StateHandle, which: int, action: int) -> None:
        before = self.access.queries
        with pytest.raises(HandleError):
            self.access.query(list(forgeries(handle))[which], action)
        with pytest.raises(HandleError):
            self.access.query(self.stranger, action)
        assert self.access.queries == before

    @invariant()
    def nothing_beyond_the_honest_walk_was_seen(self) -> None:
        assert max(self.known.values(), default=0) <= self.farthest


TestCorridorAttack = CorridorAttack.TestCase
TestCorridorAttack.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# Numpy's narrow integers wrap around in sums: neither the count nor the row of a state may follow them.


def test_narrow_counts_do_not_set_the_budget_back() -> None:
    access = local(staged_model(), budget=300)
    visit = access.begin()
    for _ in range(3):
        access.query(visit.handle, 0, np.uint8(100))  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded):
        access.query(visit.handle, 0, np.uint8(100))  # type: ignore[arg-type]
    assert access.queries == 300


@pytest.mark.parametrize("narrow", [np.uint8, np.int8, np.int16, np.uint64])
def test_narrow_actions_read_no_other_state(narrow: Any) -> None:
    n, A = 100, 3
    rng, referee = np.random.default_rng(0), object()
    model = TabularMDP(
        rng.dirichlet(np.ones(n), size=(n, A)), rng.random((n, A)), 0.9, np.full(n, 1 / n), features=np.eye(n)
    )
    access = ExpectationAccess(model, rng=rng, referee=referee)
    for state in (42, 85):  # rows 126 and 255: one more than int8 and uint8 hold
        handle = access.hand_out(state, 0, referee=referee).handle
        told = [access.query(handle, narrow(a)).reward for a in range(A)]
        np.testing.assert_allclose(told, model.r[state], rtol=1e-12)


# Worlds in which one query tells all


def _sparse(P: Any, r: Any, gamma: float = 0.9) -> TabularMDP:
    n_states = np.shape(P)[-1]
    return TabularMDP(P, r, gamma, np.eye(n_states)[0], None, np.eye(n_states))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (discounted_model(), True),
        (staged_model(), False),
        # Two outcomes that name one state: the same answer if they pay the same, else not.
        (_sparse(sp.csr_array(([0.5, 0.5], [0, 0], [0, 2]), shape=(1, 1)), np.ones((1, 1))), True),
        (_sparse(sp.csr_array(([0.5, 0.5], [0, 0], [0, 2]), shape=(1, 1)), np.array([0.0, 1.0])), False),
        (_sparse(sp.csr_array(([1.0, 0.0, 1.0], [0, 1, 1], [0, 2, 3]), shape=(2, 2)), np.ones((2, 1))), True),
        (_sparse(np.array([[[0.5, 0.5]], [[0.0, 1.0]]]), np.ones((2, 1))), False),
    ],
)
def test_terms_say_whether_every_state_and_action_has_one_outcome(model: Any, expected: bool) -> None:
    rng = np.random.default_rng(0)
    assert LocalAccess.from_env(ModelEnv(model), rng=rng).terms.is_deterministic is expected
    assert ExpectationAccess(model, rng=rng).terms.is_deterministic is expected


def test_staged_laws_are_deterministic_only_if_every_stage_is() -> None:
    P = np.tile(np.eye(2)[:, None], (2, 1, 1, 1))
    features = np.concatenate([np.ones((2, 2, 1)), np.zeros((1, 2, 1))])
    rho, rng = np.ones(2) / 2, np.random.default_rng(0)
    sure = FiniteHorizonMDP(P, np.zeros((2, 1)), 2, rho, None, features)
    P[1, 0, 0] = 0.5
    mixed = FiniteHorizonMDP(P, np.zeros((2, 1)), 2, rho, None, features)
    for model, expected in ((sure, True), (mixed, False)):
        assert LocalAccess.from_env(ModelEnv(model), rng=rng).terms.is_deterministic is expected
        rows = FiniteHorizonMDP(sp.csr_array(model.P_rows), model.r, 2, rho, None, features)
        assert LocalAccess.from_env(ModelEnv(rows), rng=rng).terms.is_deterministic is expected


def test_a_simulator_of_unknown_making_promises_nothing_unless_its_maker_does() -> None:
    assert local(discounted_model()).terms.is_deterministic is False
    assert local(discounted_model(), is_deterministic=True).terms.is_deterministic is True
    with pytest.raises(ModelError, match="is_deterministic is 'yes'; pass True or False"):
        local(discounted_model(), is_deterministic="yes")
