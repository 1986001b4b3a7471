"""Any local planner as an agent of the common contract.

A local planner is called first with the initial state of an episode, then with each state on its way (Weisz, Amortila,
Janzer, Abbasi-Yadkori, Jiang, Szepesvári, COLT 2021). The agent is its referee: it holds the environment, tells states
from observations and hands them out through accesses, which count the queries; a planner sees nothing else. Each call
gets an access of its own, with its own budget and its own samples.

*The policy is a function of the state.* What is drawn while planning for the state of code c, by the simulator and by
the planner, depends on the agent's seed and on c alone; actions are kept. So the law is one-hot, the order of questions
does not matter, and what an audit values is what is played.

*The budget* is that of an episode, and hard. A planner that plans ahead has all of it for the plan; the queries that
its plan makes when it acts are counted apart. A planner that searches at every decision has budget // H for each of the
H decisions of an episode; where rewards are discounted H is the effective horizon, the least L with gamma^L <= 1%.
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self, cast, final

import numpy as np

from ...envs.tabular import ModelEnv
from ...models import FiniteHorizonMDP, TabularMDP
from ...models._checks import whole_number
from ...wrappers.access import AccessTerms, ExpectationAccess, LocalAccess, Visit, model_features
from ...wrappers.bernoulli import BernoulliRewards
from ...wrappers.exact_view import exact_view
from ..base import DiscreteAgent, FloatArray, Space, checked_batch, require_callback, require_steps
from ..errors import AgentError
from ..lookup import one_hot, state_lookup
from .planner import Access, LocalPlanner, Plan, PlanningBudgetExceeded, sampled, stages_ahead
from .search import DecisionTimePlanner

ORACLES = ("samples", "expectations")
WEIGHTS = ("theta", "weights")
"""Arrays of a plan whose last axis is that of the features."""


class LocalPlanningAgent(DiscreteAgent):
    """An agent that plans through local access. Subclasses are final and make the planner.

    With a finite horizon each initial state gets a plan of its own, made when an episode is first seen to begin there;
    states of later stages, and states of stage 0 in which no episode begins, are acted in by the plan of the latest
    initial state. With one initial state the policy is therefore a function of the state, without condition. In
    discounted problems one plan serves all states. Where the budget runs out in planning, :meth:`learn` raises, and
    acting follows the best plan so far.

    Args:
        env: An environment of this package whose states have features, possibly wrapped.
        planner: How to plan.
        budget: Queries an episode may take, or None for no limit, see above.
        oracle: What answers queries: ``"samples"``, or ``"expectations"``, a stronger one.
        bernoulli_rewards: Let the simulator pay 0 or 1 with the model's rewards as means.
        seed: Seed of the simulator's randomness and the planner's.

    Attributes:
        budget: Queries an episode may take, or None.
        oracle: What answers queries.
        planning_queries: Queries spent on plans so far.
        execution_queries: Queries spent on decisions so far. Each state is decided once.

    Raises:
        AgentError: Two states look the same; the planner searches at every decision and the budget is too small for
            that, or None; there is no such oracle.
        ModelError: The environment has no such model, or the budget is no whole number.
    """

    def __init__(
        self,
        env: Any,
        planner: LocalPlanner,
        *,
        budget: int | None,
        oracle: str = "samples",
        bernoulli_rewards: bool = False,
        seed: int = 0,
    ) -> None:
        view = exact_view(env)
        super().__init__(view.observation_space, cast("Space", env.action_space), seed)
        self._referee = Referee(env, oracle, bernoulli_rewards)
        self._states_in = state_lookup(view.observe, self._referee.over.size, self._referee.over)
        self._planner, self._seed = planner, seed
        self.budget = None if budget is None else whole_number("budget", budget, 0)
        self._share = self._budget_of_a_decision()
        self.oracle, self._bernoulli_rewards = oracle, bernoulli_rewards
        self.planning_queries, self.execution_queries = 0, 0
        self._plans: dict[int, Plan] = {}
        self._start: int | None = None
        self._actions: dict[tuple[int | None, int], int] = {}

    @property
    @final
    def plan(self) -> Plan | None:
        """The plan that is followed, or None before there is one and where every decision is searched for."""
        return None if self._start is None else self._plans[self._start]

    @abstractmethod
    def knobs(self) -> dict[str, Any]:
        """The planner's parameters, as keyword arguments of the constructor."""

    @final
    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Plan from an initial state, unless that was done. No step is taken; the callback is called once.

        Raises:
            PlanningBudgetExceeded: The budget ran out. The best plan so far is kept, and acted by.
            BudgetExceeded: The budget does not suffice for any plan.
        """
        require_steps(total_timesteps)
        call = require_callback(callback)
        self._follow(None)
        if call is not None:
            call(self, 0)
        return self

    @final
    def action_probabilities(self, observations: Any) -> FloatArray:
        """The one-hot laws (n, A) of the planner's actions; plans, if that was not done."""
        codes = self._states_in(checked_batch(observations, self.observation_space)).tolist()
        actions = np.array([self._action(code) for code in codes], dtype=np.int64)
        return one_hot(actions, self._referee.terms.n_actions)

    @final
    def config(self) -> dict[str, Any]:
        """Budget, kind of rewards, seed, and the planner's parameters."""
        access = {"budget": self.budget, "bernoulli_rewards": self._bernoulli_rewards, "seed": self._seed}
        return access | self.knobs()

    @final
    def memory(self) -> dict[str, Any]:
        """The plans by initial state, which of them is followed, what they cost, and the generator's state."""
        return {
            "plans": {str(start): plan.arrays() for start, plan in self._plans.items()},
            "start": self._start,
            "planning_queries": self.planning_queries,
            "rng": self.rng.bit_generator.state,
        }

    @final
    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over plans and a generator's state.

        Raises:
            AgentError: A plan is missing, is for a state in which no episode begins, or is for other features.
        """
        start, plans = memory["start"], memory["plans"]
        starts = {str(code): code for code in np.flatnonzero(self._referee.begins).tolist()}
        for name in sorted(plans.keys() - starts.keys()):
            raise AgentError(f"a plan is from state {name!r}, in which no episode begins; plan again with learn(0)")
        self._plans = {starts[name]: self._restored(name, arrays) for name, arrays in plans.items()}
        if start is not None and whole_number("start", start, 0) not in self._plans:
            raise AgentError(f"the plan from state {start} is missing; plan again with learn(0)")
        self._start, self._actions = start, {}
        self.planning_queries = whole_number("planning_queries", memory["planning_queries"], 0)
        self.rng.bit_generator.state = memory["rng"]

    def _restored(self, name: str, arrays: Mapping[str, Any]) -> Plan:
        """The plan from the state of this name; its weights have to be those of this environment's features."""
        plan, dim = self._planner.restore(arrays), self._referee.dim
        for kind, array in plan.arrays().items():
            if kind in WEIGHTS and array.shape[-1:] != (dim,):
                raise AgentError(
                    f"{kind} of the plan from state {name} has shape {array.shape}, but states have {dim} features; "
                    "plan again with learn(0)"
                )
        return plan

    def _budget_of_a_decision(self) -> int | None:
        """Queries of one decision: a share of the episode's, or no limit where they are counted apart."""
        if not isinstance(self._planner, DecisionTimePlanner):
            return None
        terms = self._referee.terms
        decisions, least = stages_ahead(terms, 0), self._planner.least_queries(terms)
        if self.budget is None or self.budget < decisions * least:
            raise AgentError(
                f"budget is {self.budget}, but {type(self._planner).__name__} queries at every decision: an episode of "
                f"{decisions} decisions at {least} queries or more takes a budget of {decisions * least} at least"
            )
        return self.budget // decisions

    def _action(self, code: int) -> int:
        """The action in a state; any will do where the episode is over."""
        if self._referee.over[code]:
            return 0
        with suppress(PlanningBudgetExceeded):  # learn raises it; to act, the best plan so far has to do
            self._follow(code)
        name = (self._start, code)
        if name not in self._actions:
            self._actions[name] = self._decide(code)
        return self._actions[name]

    def _follow(self, code: int | None) -> None:
        """Follow the plan of the episode that is in this state; None: of any episode."""
        if isinstance(self._planner, DecisionTimePlanner):
            return
        if code is not None and self._referee.terms.horizon is not None and self._referee.begins[code]:
            start = code
        elif self._start is None:
            start = self._referee.initial_state(self._generator(0))
        else:
            return
        if start not in self._plans:
            self._make_plan(start)
        self._start = start

    def _make_plan(self, start: int) -> None:
        simulated, own = self._generator(1, start).spawn(2)
        access, visit = self._referee.call(start, simulated, self.budget)
        before = access.queries
        try:
            self._plans[start] = self._planner.plan(access, visit, own)
        except PlanningBudgetExceeded as error:
            self._plans[start], self._start = error.plan, start
            raise
        finally:
            self.planning_queries += access.queries - before

    def _decide(self, code: int) -> int:
        simulated, own = self._generator(2, code).spawn(2)
        access, visit = self._referee.call(code, simulated, self._share)
        before = access.queries
        try:
            if isinstance(self._planner, DecisionTimePlanner):
                return self._planner.search(sampled(access), visit, own)
            return self._plans[cast("int", self._start)].action(access, visit)
        finally:
            self.execution_queries += access.queries - before

    def _generator(self, *purpose: int) -> np.random.Generator:
        """A generator for one purpose: 0 an initial state, (1, code) a plan, (2, code) an action."""
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=purpose))


@final
class Referee:
    """Holds an environment and hands its states out, through an access for each call of a planner.

    Args:
        env: An environment of this package whose states have features.
        oracle: ``"samples"`` or ``"expectations"``.
        bernoulli_rewards: Whether sampled rewards are drawn as 0 or 1; expectations are those of the model either way.

    Attributes:
        terms: What planners are told, the budget aside.
        over: Mask of the state codes in which the episode is over.
        begins: Mask of the state codes in which an episode may begin.
        dim: Number of features d of a state.

    Raises:
        AgentError: There is no such oracle.
        ModelError: It is no such environment, or a reward is no mean of draws of 0 or 1.
    """

    def __init__(self, env: Any, oracle: str, bernoulli_rewards: bool) -> None:
        if oracle not in ORACLES:
            raise AgentError(f"oracle is {oracle!r}; pass {' or '.join(map(repr, ORACLES))}")
        rng = np.random.default_rng(0)  # nothing is drawn from it
        self.terms: AccessTerms = LocalAccess.from_env(env, rng=rng, bernoulli_rewards=bernoulli_rewards).terms
        base = cast("ModelEnv", env.unwrapped)
        self._model = cast("TabularMDP | FiniteHorizonMDP", base.model)
        self._features = model_features(self._model)
        self._simulator = BernoulliRewards(base.simulator) if bernoulli_rewards else base.simulator
        self._shows_samples, self._token = oracle == "samples", object()
        self._unlimited: ExpectationAccess | None = None
        model = self._model
        self.over = model.terminal if isinstance(model, TabularMDP) else model.terminal_codes()
        self.begins = np.zeros(self.over.size, dtype=np.bool_)
        self.begins[: model.n_states] = model.rho > 0
        self.dim = self._features(np.zeros(1, dtype=np.int64)).shape[-1]

    def initial_state(self, rng: np.random.Generator) -> int:
        """The code of a state drawn from rho."""
        return int(self._simulator.initial_states(1, rng)[0])

    def call(self, code: int, rng: np.random.Generator, budget: int | None) -> tuple[Access, Visit]:
        """An access and the state of this code, handed out by it."""
        access = self._sampling(rng, budget) if self._shows_samples else self._expecting(rng, budget)
        # Without a horizon nothing depends on the stage, and each call begins an episode.
        stage = 0 if self.terms.horizon is None else code // self._model.n_states
        return access, access.hand_out(code, stage, referee=self._token)

    def _sampling(self, rng: np.random.Generator, budget: int | None) -> LocalAccess:
        """What ``LocalAccess.from_env`` gives, without reading the model's law anew for each decision."""
        return LocalAccess(
            self._simulator,
            self._features,
            rng=rng,
            horizon=self.terms.horizon,
            gamma=self.terms.gamma,
            budget=budget,
            state_key=int,
            referee=self._token,
            is_deterministic=self.terms.is_deterministic,
        )

    def _expecting(self, rng: np.random.Generator, budget: int | None) -> ExpectationAccess:
        """One access serves all calls without a budget: it lists the whole model, and nothing in it is drawn."""
        if budget is None and self._unlimited is not None:
            return self._unlimited
        access = ExpectationAccess(self._model, rng=rng, budget=budget, state_key=int, referee=self._token)
        if budget is None:
            self._unlimited = access
        return access
