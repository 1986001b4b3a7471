"""Access to a simulator, in the levels of planning theory, told apart by type.

Online access is the environment: ``reset`` and ``step``. Generative access is a
:class:`~lookahead_rl.models.GenerativeModel`: any state, any action, in batches. Between them stands *local*
access: a planner may query only states it has been handed, and sees features only there, at the stage it
asks for (Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-efficient Planning in MDPs
under Linear Realizability of the Optimal State-value Function, COLT 2021).

A handed-out state is a :class:`StateHandle`: an object without data, whose identity is the key. The access
remembers which state stands behind each handle of the current episode and knows nothing of other objects, so
no handle that is forged, copied or kept from elsewhere leads to a state that was never handed out. What
Python cannot hide: a planner that reads closures, stack frames or the garbage collector's lists reaches
whatever this process holds. The barrier is against accident and against every use of the public surface.

Queries are counted by the access, never by the agent: a batch of n samples counts n, and a budget is hard.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Self, final
from weakref import WeakKeyDictionary

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..envs.tabular import ModelEnv
from ..models import (
    FiniteHorizonMDP,
    GenerativeModel,
    ModelError,
    Outcomes,
    TabularMDP,
    Tally,
    Transitions,
    tally_transitions,
)
from ..models._checks import flag, whole_number
from ..models.outcomes import outcomes_of
from .bernoulli import BernoulliRewards, require_means

StateModel = TabularMDP | FiniteHorizonMDP
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Features = Callable[[IntArray], FloatArray]
"""Maps state codes (n,) to their features (n, d), each at the stage of its code."""

StateKey = Callable[[int], Hashable]
"""Maps a state code to what makes two states one: ``int`` tells equal states, ``lambda code: code % S`` equal
states of any stage."""


class BudgetExceeded(RuntimeError):
    """A query would exceed the hard budget; nothing was sampled.

    Attributes:
        budget: Number of samples allowed.
        used: Number of samples drawn so far.
        requested: Number of samples asked for.
    """

    def __init__(self, budget: int, used: int, requested: int) -> None:
        super().__init__(
            f"the budget is {budget} queries and {used} are used; {requested} more would exceed it: "
            "plan with what is known, or ask for a larger budget"
        )
        self.budget, self.used, self.requested = budget, used, requested


class HandleError(ValueError):
    """An object is not a handle that this access handed out in the current episode, or has no successors."""


class _Meter:
    """Counts queries against a hard budget; it only goes up."""

    def __init__(self, budget: int | None) -> None:
        self.budget = None if budget is None else whole_number("budget", budget, 0)
        self.used = 0

    def require(self, n: int) -> None:
        """Raise unless n more queries fit."""
        if self.budget is not None and self.used + n > self.budget:
            raise BudgetExceeded(self.budget, self.used, n)


@final
class QueryCounter:
    """A generative model that counts the samples drawn from another, up to a hard budget.

    Args:
        simulator: The generative model to count.
        budget: Number of samples allowed, or None for no limit.

    Raises:
        ModelError: ``budget`` is not an integer >= 0.
    """

    def __init__(self, simulator: GenerativeModel, budget: int | None = None) -> None:
        self._simulator = simulator
        self._meter = _Meter(budget)

    @property
    def n_states(self) -> int:
        """Number of state codes."""
        return self._simulator.n_states

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self._simulator.n_actions

    @property
    def queries(self) -> int:
        """Samples drawn so far; nothing sets this back."""
        return self._meter.used

    @property
    def budget(self) -> int | None:
        """Samples allowed, or None."""
        return self._meter.budget

    def sample(self, states: IntArray, actions: IntArray, rng: np.random.Generator) -> Transitions:
        """One transition for each state and action, each counted.

        Raises:
            BudgetExceeded: Before anything is sampled.
            ModelError: A state or action is out of range; such a call counts nothing.
        """
        n = int(np.size(states))
        self._meter.require(n)
        transitions = self._simulator.sample(states, actions, rng)
        self._meter.used += n
        return transitions

    def initial_states(self, n: int, rng: np.random.Generator) -> IntArray:
        """n independent initial states; these are no queries."""
        return self._simulator.initial_states(n, rng)


@final
class StateHandle:
    """A state that was handed out. Its identity is all there is: no data, no equality, no copies."""

    __slots__ = ("__weakref__",)

    def __new__(cls) -> NoReturn:
        """Refuse: handles are handed out, not made."""
        raise TypeError("a StateHandle is handed out by begin() or query(); it cannot be made")

    def __init_subclass__(cls) -> NoReturn:
        """Refuse: there is one kind of handle."""
        raise TypeError("StateHandle is final")

    def __copy__(self) -> NoReturn:
        """Refuse: identity is the key."""
        raise TypeError("a StateHandle cannot be copied: its identity is the key")

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        """Refuse: identity is the key."""
        self.__copy__()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse: a handle means nothing outside its episode."""
        raise TypeError("a StateHandle cannot be stored: it means nothing outside its episode")

    def __repr__(self) -> str:
        return "<StateHandle>"


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A state handed out.

    Attributes:
        handle: The key to query it with.
        features: Its features (d,) at its stage.
        stage: Its stage h.
    """

    handle: StateHandle
    features: FloatArray
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class Successors:
    """n sampled transitions from one state and action, all reaching one stage.

    Attributes:
        rewards: (n,).
        handles: The n states reached, one handle a sample, even where two samples reach the same state.
        features: (n, d), at the stage reached.
        terminated: (n,) whether the episode ends there; such a state has no successors.
        stage: The stage reached.
    """

    rewards: FloatArray
    handles: tuple[StateHandle, ...]
    features: FloatArray
    terminated: BoolArray
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class SampleMean:
    """What n sampled transitions from one state and action come to, all reaching one stage; no state is handed out.

    Attributes:
        n: Number of samples.
        reward: Their mean reward.
        next_features: Mean features (d,) of the states reached, at their stage; zero counts for a terminated one.
        rewards: The least and the largest reward.
        largest_norm: Largest norm of the features of a state reached that is not terminated; 0 where there is none.
        stage: The stage reached.
    """

    n: int
    reward: float
    next_features: FloatArray
    rewards: tuple[float, float]
    largest_norm: float
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """The exact law of one state and action, as an expectation oracle tells it.

    Attributes:
        reward: Expected reward.
        next_features: Expected features (d,) of the next state, at its stage.
        probabilities: (k,) of the outcomes.
        successors: The k outcomes with their own rewards, handles, features and ends.
    """

    reward: float
    next_features: FloatArray
    probabilities: FloatArray
    successors: Successors


class _Place(NamedTuple):
    """What the access knows of a handle."""

    code: int
    stage: int
    terminated: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Where states come from and what they look like."""

    n_states: int
    initial_states: Callable[[int, np.random.Generator], IntArray]
    features: Features


class _Register:
    """The states handed out in the current episode: handle -> place, for handles that are still held."""

    def __init__(self, features: Features, state_key: StateKey | None) -> None:
        self._features = features
        self._state_key = state_key
        self.has_keys = state_key is not None
        self.episode = 0
        self.new_episode()

    def new_episode(self) -> None:
        """Forget every handle and key."""
        self.episode += 1
        self._places: WeakKeyDictionary[StateHandle, _Place] = WeakKeyDictionary()
        self._keys: dict[Hashable, int] = {}

    def visit(self, code: int, stage: int) -> Visit:
        """Hand out one state."""
        handle = self._enter(_Place(code, stage, terminated=False))
        return Visit(handle, self._features_of(np.array([code]))[0].copy(), stage)

    def successors(self, reached: Transitions, stage: int) -> Successors:
        """Hand out the states that transitions reached."""
        ends = zip(reached.next_states.tolist(), reached.terminated.tolist(), strict=True)
        handles = tuple(self._enter(_Place(code, stage, terminated)) for code, terminated in ends)
        features = self._features_of(reached.next_states)
        return Successors(np.array(reached.rewards), handles, features, np.array(reached.terminated), stage)

    def mean(self, seen: Tally, stage: int) -> SampleMean:
        """What is told of transitions without handing out the states that they reached."""
        reached, n = seen.transitions, int(seen.counts.sum())
        features = self._features_of(reached.next_states)
        weights = seen.counts / n
        norms = np.linalg.norm(features[~reached.terminated], axis=1)
        return SampleMean(
            n,
            float(weights @ reached.rewards),
            np.where(reached.terminated, 0.0, weights) @ features,
            (float(reached.rewards.min()), float(reached.rewards.max())),
            float(norms.max(initial=0.0)),
            stage,
        )

    def place(self, handle: StateHandle) -> _Place:
        """What stands behind a handle of this episode."""
        # The exact type, so that no object with an __eq__ of its own takes part in the look-up.
        place = self._places.get(handle) if type(handle) is StateHandle else None
        if place is None:
            raise HandleError(
                "this object was not handed out by this access in the current episode; "
                "use the handles received since the last begin()"
            )
        return place

    def key(self, handle: StateHandle) -> int:
        """The declared key of a state, numbered in the order of first sight, which tells nothing else."""
        place = self.place(handle)
        if self._state_key is None:
            raise HandleError("no state_key is declared, so handles have no equality beyond their identity")
        return self._keys.setdefault(self._state_key(place.code), len(self._keys))

    def _enter(self, place: _Place) -> StateHandle:
        handle = object.__new__(StateHandle)
        self._places[handle] = place
        return handle

    def _features_of(self, codes: IntArray) -> FloatArray:
        features = np.array(self._features(codes), dtype=np.float64)  # a copy, whose .base leads nowhere
        if features.ndim != 2 or features.shape[0] != codes.size:
            raise ModelError(f"the features of {codes.size} states have shape {features.shape}; expected (n, d)")
        return features


@dataclass(frozen=True, slots=True)
class AccessTerms:
    """What a planner is told beforehand.

    Attributes:
        n_actions: Number of actions A.
        horizon: Number of stages H, or None where episodes go on and rewards are discounted.
        gamma: Discount; 1 with a finite horizon.
        budget: Queries allowed, or None.
        is_deterministic: Whether each state and action has one outcome, one next state and one reward, so that a
            single sample tells its law. (An expectation oracle is exact either way, which its type says.)
    """

    n_actions: int
    horizon: int | None
    gamma: float
    budget: int | None
    is_deterministic: bool


class _Keeper:
    """Keeps what a planner must not see: the initial law, its randomness, the register and the count."""

    def __init__(
        self,
        source: _Source,
        terms: AccessTerms,
        rng: np.random.Generator,
        state_key: StateKey | None,
        referee: object | None,
    ) -> None:
        self.terms = terms
        self.rng = rng
        self.meter = _Meter(terms.budget)
        self.register = _Register(source.features, state_key)
        self._source = source
        self._referee = referee

    def begin(self) -> Visit:
        """A new episode at an initial state."""
        self.register.new_episode()
        return self.register.visit(int(self._source.initial_states(1, self.rng)[0]), 0)

    def hand_out(self, state: int, stage: int, referee: object) -> Visit:
        """A state of the referee's choice."""
        if self._referee is None or referee is not self._referee:
            raise PermissionError("states are handed out by the holder of the referee object given at construction")
        code, h = whole_number("state", state, 0), whole_number("stage", stage, 0)
        self._require_stage(code, h)
        if h == 0:
            self.register.new_episode()
        return self.register.visit(code, h)

    def ready(self, handle: StateHandle, action: int, n: int) -> tuple[_Place, int, int]:
        """What stands behind a handle, once the query is known to be allowed; action and n as Python's own ints.

        Sums with numpy's narrow ones wrap around: a count could be set back, a row of another state be read.
        """
        place = self.register.place(handle)
        if place.terminated:
            raise HandleError("the episode ended at this state, which has no successors; query another handle")
        action, n = whole_number("action", action, 0), whole_number("n", n, 1)
        if action >= self.terms.n_actions:
            raise ModelError(f"action is {action}; actions run from 0 to {self.terms.n_actions - 1}")
        self.meter.require(n)
        return place, action, n

    def _require_stage(self, code: int, stage: int) -> None:
        n_states, horizon = self._source.n_states, self.terms.horizon
        if code >= n_states:
            raise ModelError(f"state is {code}; states run from 0 to {n_states - 1}")
        if horizon is not None and stage >= horizon:
            raise ModelError(f"stage is {stage}; planners are called at stages 0 to {horizon - 1}")
        if horizon is not None and code // (n_states // (horizon + 1)) != stage:
            raise ModelError(f"state {code} belongs to stage {code // (n_states // (horizon + 1))}, not {stage}")


class _Access(ABC):
    """What sampled and expected local access share: all but the query.

    Each method calls a closure, so that no attribute leads to the simulator or to a state.
    """

    __slots__ = ("_begin", "_episode", "_hand_out", "_has_keys", "_key", "_queries", "_terms")

    def __init__(self, keeper: _Keeper) -> None:
        def begin() -> Visit:
            return keeper.begin()

        def hand_out(state: int, stage: int, referee: object) -> Visit:
            return keeper.hand_out(state, stage, referee)

        def key(handle: StateHandle) -> int:
            return keeper.register.key(handle)

        def queries() -> int:
            return keeper.meter.used

        def episode() -> int:
            return keeper.register.episode

        self._begin, self._hand_out, self._key, self._queries = begin, hand_out, key, queries
        self._episode = episode
        self._terms = keeper.terms
        self._has_keys = keeper.register.has_keys

    @property
    @abstractmethod
    def oracle(self) -> str:
        """What answers the queries, "samples" or "expectations"; to be named beside every result."""

    @property
    def terms(self) -> AccessTerms:
        """What the planner is told beforehand: n_actions, horizon, gamma, budget, is_deterministic."""
        return self._terms

    @property
    def queries(self) -> int:
        """Queries made so far; nothing sets this back."""
        return self._queries()

    @property
    def episode(self) -> int:
        """Number of the current episode. Handles and keys of another one mean nothing in it."""
        return self._episode()

    @property
    def has_keys(self) -> bool:
        """Whether a ``state_key`` is declared, so that :meth:`key` answers."""
        return self._has_keys

    def begin(self) -> Visit:
        """Begin an episode: an initial state drawn from rho, at stage 0. All earlier handles and keys expire."""
        return self._begin()

    def hand_out(self, state: int, stage: int, *, referee: object) -> Visit:
        """Hand out a state in which the planner is called; stage 0 begins an episode, as :meth:`begin` does.

        Args:
            state: State code.
            stage: Its stage h.
            referee: The very object that was given at construction, which the planner does not have.

        Raises:
            PermissionError: ``referee`` is another object, or none was given.
            ModelError: The state is out of range or belongs to another stage.
        """
        return self._hand_out(state, stage, referee)

    def key(self, handle: StateHandle) -> int:
        """A number that two handles of an episode share exactly if their states have the same declared key.

        Numbers count the keys in the order in which they were first asked for; they tell nothing else.

        Raises:
            HandleError: No ``state_key`` was declared, or the handle is not one of this episode.
        """
        return self._key(handle)


@final
class LocalAccess(_Access):
    """Sampled local access to a generative model.

    Args:
        simulator: The generative model, over state codes.
        features: Features of state codes.
        rng: Where samples come from; the planner must not hold it.
        horizon: Number of stages H where codes are h*S + s, or None.
        gamma: Discount, for the planner's information.
        budget: Number of samples allowed, or None.
        state_key: What makes two states one, if anything; see :meth:`key`.
        referee: An object whose holder may :meth:`hand_out` states. None: nobody may.
        is_deterministic: A promise to the planner that each state and action has one outcome. It is not checked.
    """

    __slots__ = ("_mean", "_query")

    def __init__(
        self,
        simulator: GenerativeModel,
        features: Features,
        *,
        rng: np.random.Generator,
        horizon: int | None = None,
        gamma: float = 1.0,
        budget: int | None = None,
        state_key: StateKey | None = None,
        referee: object | None = None,
        is_deterministic: bool = False,
    ) -> None:
        terms = AccessTerms(simulator.n_actions, horizon, gamma, budget, flag("is_deterministic", is_deterministic))
        source = _Source(simulator.n_states, simulator.initial_states, features)
        keeper = _Keeper(source, terms, rng, state_key, referee)
        super().__init__(keeper)

        def query(handle: StateHandle, action: int, n: int) -> Successors:
            place, action, n = keeper.ready(handle, action, n)
            reached = simulator.sample(np.full(n, place.code), np.full(n, action), keeper.rng)
            keeper.meter.used += n
            return keeper.register.successors(reached, place.stage + 1)

        def mean(handle: StateHandle, action: int, n: int) -> SampleMean:
            place, action, n = keeper.ready(handle, action, n)
            seen = tally_transitions(simulator, place.code, action, n, keeper.rng)
            keeper.meter.used += n
            return keeper.register.mean(seen, place.stage + 1)

        self._query, self._mean = query, mean

    @classmethod
    def from_env(
        cls,
        env: gym.Env[Any, Any],
        *,
        rng: np.random.Generator,
        budget: int | None = None,
        state_key: StateKey | None = None,
        referee: object | None = None,
        bernoulli_rewards: bool = False,
    ) -> Self:
        """Local access to the simulator of one of our environments, with the features of its model.

        Args:
            env: The environment, possibly wrapped; wrappers change nothing here.
            rng: As in the constructor.
            budget: As in the constructor.
            state_key: As in the constructor.
            referee: As in the constructor.
            bernoulli_rewards: Draw each reward as 0 or 1 with the model's reward as mean, see
                :class:`~lookahead_rl.wrappers.BernoulliRewards`.

        Raises:
            ModelError: ``env`` is another environment, its model has no state features, or ``bernoulli_rewards`` is
                asked for and a reward lies outside [0, 1].
        """
        base = env.unwrapped
        if not isinstance(base, ModelEnv):
            raise ModelError(
                f"the simulator of {type(base).__name__} is not known; pass an environment of this package"
            )
        model = _with_features(base.model)
        (horizon, gamma), is_deterministic = _time(model), _has_one_outcome(model)
        simulator: GenerativeModel = base.simulator
        if flag("bernoulli_rewards", bernoulli_rewards):
            rewards = _possible_rewards(model)
            require_means("r", rewards)
            simulator = BernoulliRewards(simulator)
            is_deterministic = is_deterministic and bool(np.isin(rewards, (0.0, 1.0)).all())
        return cls(
            simulator,
            model_features(model),
            rng=rng,
            horizon=horizon,
            gamma=gamma,
            budget=budget,
            state_key=state_key,
            referee=referee,
            is_deterministic=is_deterministic,
        )

    @property
    def oracle(self) -> str:
        """The word "samples"."""
        return "samples"

    def query(self, handle: StateHandle, action: int, n: int = 1) -> Successors:
        """n samples of (reward, next state) from a handed-out state, with the next states' features.

        Raises:
            HandleError: The handle was not handed out in this episode, or its episode has ended.
            BudgetExceeded: n more samples would exceed the budget; nothing is sampled.
            ModelError: The action is out of range or n < 1.
        """
        return self._query(handle, action, n)

    def mean(self, handle: StateHandle, action: int, n: int) -> SampleMean:
        """The mean of n samples from a handed-out state, which count as n queries.

        Its law is that of the mean of ``query(handle, action, n)``. It takes little memory whatever n is, and little
        time too where the simulator is a :class:`~lookahead_rl.models.TallyingModel`.

        Raises:
            HandleError: The handle was not handed out in this episode, or its episode has ended.
            BudgetExceeded: n more samples would exceed the budget; nothing is sampled.
            ModelError: The action is out of range or n < 1.
        """
        return self._mean(handle, action, n)


@final
class ExpectationAccess(_Access):
    """Local access that tells exact expectations: a stronger oracle than sampling, and a type of its own.

    Results obtained through it are not results of local planning with samples, and must say so. One query
    is one state and action.

    Args:
        model: The model, whose state features are shown.
        rng: Where initial states come from.
        budget: Number of queries allowed, or None.
        state_key: As in :class:`LocalAccess`.
        referee: As in :class:`LocalAccess`.

    Raises:
        ModelError: The model has no state features.
    """

    __slots__ = ("_query",)

    def __init__(
        self,
        model: StateModel,
        *,
        rng: np.random.Generator,
        budget: int | None = None,
        state_key: StateKey | None = None,
        referee: object | None = None,
    ) -> None:
        table = model if isinstance(model, TabularMDP) else model.to_tabular()
        outcomes = table.outcomes()
        source = _Source(
            table.n_states, lambda n, rng: rng.choice(table.n_states, size=n, p=table.rho), model_features(model)
        )
        terms = AccessTerms(table.n_actions, *_time(model), budget, _has_one_outcome(table))
        keeper = _Keeper(source, terms, rng, state_key, referee)
        super().__init__(keeper)

        def query(handle: StateHandle, action: int) -> Expectation:
            place, action, _ = keeper.ready(handle, action, 1)
            row = place.code * table.n_actions + action
            outcome = slice(outcomes.indptr[row], outcomes.indptr[row + 1])
            reached = _outcome_transitions(outcomes, outcome, table.terminal)
            keeper.meter.used += 1
            return _expectation(reached, keeper.register.successors(reached, place.stage + 1))

        self._query = query

    @property
    def oracle(self) -> str:
        """The word "expectations"."""
        return "expectations"

    def query(self, handle: StateHandle, action: int) -> Expectation:
        """The exact law of a handed-out state and an action.

        Raises:
            HandleError: The handle was not handed out in this episode, or its episode has ended.
            BudgetExceeded: One more query would exceed the budget.
            ModelError: The action is out of range.
        """
        return self._query(handle, action)


def model_features(model: object) -> Features:
    """The state features of a model, as a function of state codes.

    Raises:
        ModelError: The model has none.
    """
    features = _with_features(model).features
    assert features is not None
    table = features.reshape(-1, features.shape[-1])
    return lambda codes: table[codes]


def _with_features(model: object) -> StateModel:
    if not isinstance(model, StateModel) or model.features is None:
        raise ModelError(f"this {type(model).__name__} has no state features; local access shows states by features")
    return model


def _time(model: StateModel) -> tuple[int | None, float]:
    """Horizon and discount."""
    return (None, model.gamma) if isinstance(model, TabularMDP) else (model.horizon, 1.0)


def _has_one_outcome(model: StateModel) -> bool:
    """Whether each state and action leads to one next state and pays one reward."""
    if isinstance(model.P, np.ndarray):
        return bool((np.count_nonzero(model.P, axis=-1) == 1).all())
    law = model.outcomes() if isinstance(model, TabularMDP) else outcomes_of(model.P, np.zeros(model.P.shape[0]), None)
    first = np.repeat(law.indptr[:-1], np.diff(law.indptr))
    return bool(((law.next_states == law.next_states[first]) & (law.rewards == law.rewards[first])).all())


def _possible_rewards(model: StateModel) -> FloatArray:
    """Every reward that a transition can pay, indexed as the model's own."""
    if isinstance(model, FiniteHorizonMDP) or model.outcome_rewards is None:
        return model.r
    stored = model.P if isinstance(model.P, np.ndarray) else model.P.data
    return np.where(stored > 0, model.outcome_rewards, 0.0)


def _outcome_transitions(outcomes: Outcomes, chosen: slice, terminal: BoolArray) -> Transitions:
    reached = outcomes.next_states[chosen]
    return Transitions(reached, outcomes.rewards[chosen], terminal[reached], outcomes.probabilities[chosen])


def _expectation(reached: Transitions, successors: Successors) -> Expectation:
    weights = reached.probabilities.copy()
    return Expectation(float(weights @ successors.rewards), weights @ successors.features, weights, successors)
