"""What planners with local access make of a budget of queries: the exact value of their policies.

A :class:`Trial` makes a planner, lets it plan and play an episode, and values its policy over the states that policy
can meet. Queries are counted by the access, which enforces the budget. What the budget is for depends on the planner:

* one that plans ahead has it for the plan; acting by the plan may ask again, which is told apart;
* one that searches at every decision has it for an episode, so that queries and those of acting are the same.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

import gymnasium as gym

from ..agents import AgentError, agent_class, agent_ids, agent_spec, make_agent
from ..agents.local.agent import LocalPlanningAgent
from ..agents.local.planner import PlanningBudgetExceeded, RepeatedContradiction
from ..agents.local.tensorplan import NoHypothesisError
from ..evaluation.audit import AnyAudit, audit
from ..evaluation.report import Row
from ..wrappers import BudgetExceeded

UNIFORM = "Random-v0"


class Ending(Enum):
    """How planning ended; the text says what the policy is."""

    PLANNED = "planned within the budget"
    RAN_OUT = "budget ran out: best plan so far"
    TOO_SMALL = "budget too small: no plan"
    NO_HYPOTHESIS = "no hypothesis: no plan, see message"
    UNIFORM = "plays uniformly: no queries"


@dataclass(frozen=True)
class Result:
    """What a planner made of its budget.

    Attributes:
        agent: Registered id of the planner.
        seed: Seed of its randomness and of the simulator's.
        budget: Queries it was allowed.
        queries: Queries it made of these.
        execution_queries: Queries made while it played one episode.
        value: Exact value of its policy; None without one.
        optimal_value: Exact value of the optimal policy.
        suboptimality: Their difference.
        score: 0 for uniform play and 1 for the optimum; None where uniform play is optimal.
        seconds: Time for planning and playing.
        oracle: What answered the queries.
        status: How planning ended.
        message: What a planner that gave up said; None where it did not.
    """

    agent: str
    seed: int
    budget: int
    queries: int
    execution_queries: int
    value: float | None
    optimal_value: float
    suboptimality: float | None
    score: float | None
    seconds: float
    oracle: str
    status: Ending
    message: str | None = None

    def row(self) -> Row:
        """The result as a flat row."""
        return {**asdict(self), "status": self.status.value}


@dataclass(frozen=True)
class Trial:
    """One planner with one budget and one seed.

    Attributes:
        agent: Its registered id.
        budget: Queries it is allowed.
        seed: Seed of its randomness and of the simulator's.
        options: Further arguments of its constructor.
    """

    agent: str
    budget: int
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def make(self, env: gym.Env[Any, Any]) -> LocalPlanningAgent:
        """The planner, before it plans.

        Raises:
            AgentError: It is no local planner, does not take these options, or cannot act at all within the budget.
            ModelError: Local planners cannot see this environment.
        """
        require_local_planner(self.agent)
        agent = make_agent(self.agent, env, seed=self.seed, budget=self.budget, **self.options)
        assert isinstance(agent, LocalPlanningAgent)
        return agent

    def run(self, env: gym.Env[Any, Any], uniform: AnyAudit) -> Result:
        """Plan, play an episode and value the policy, beside what uniform play is worth.

        Where the budget runs out the best plan so far is played, if there is one. A planner that refuses the budget
        has no policy: to tell that from other refusals, :meth:`make` one with a large budget first. Neither has one
        that gives up because the data contradict its hypotheses; the result holds what it said.

        Raises:
            AgentError: The planner does not plan with these options.
            ModelError: The environment breaks a promise that the planner relies on.
        """
        try:
            agent = self.make(env)
        except AgentError as refusal:
            return replace(_result(self, uniform, None, 0, Ending.TOO_SMALL), message=str(refusal))
        began = time.perf_counter()
        try:
            status = _plan(agent)
            planned = agent.planning_queries
            _play_episode(agent, env, self.seed)
            seconds, played = time.perf_counter() - began, agent.execution_queries
            policy = audit(agent, env, reachable=True)
        except BudgetExceeded as refusal:
            return replace(_result(self, uniform, None, refusal.used, Ending.TOO_SMALL), message=str(refusal))
        except (NoHypothesisError, RepeatedContradiction) as refusal:
            gave_up = _result(self, uniform, None, agent.planning_queries, Ending.NO_HYPOTHESIS, oracle=agent.oracle)
            return replace(gave_up, seconds=time.perf_counter() - began, message=str(refusal))
        queries = planned or played  # who searches at every decision has nothing to plan
        return _result(self, uniform, policy, queries, status, played, seconds, agent.oracle)


def uniform_play(env: gym.Env[Any, Any]) -> tuple[AnyAudit, Result]:
    """What uniform play is worth, with its row: it asks nothing."""
    uniform = audit(make_agent(UNIFORM, env), env, reachable=True)
    return uniform, _result(Trial(UNIFORM, 0), uniform, uniform, 0, Ending.UNIFORM)


def require_local_planner(agent: str) -> None:
    """Raise unless an agent of this id is registered and plans through local access.

    Raises:
        AgentError: The message lists this package's local planners.
    """
    if not issubclass(agent_class(agent), LocalPlanningAgent):
        # Told by where they live: to load every agent would load torch.
        home = LocalPlanningAgent.__module__.rpartition(".")[0]
        names = [name for name in agent_ids() if agent_spec(name).entry_point.startswith(f"{home}.")]
        raise AgentError(f"{agent} is no local planner; those that are: {', '.join(names)}")


def _plan(agent: LocalPlanningAgent) -> Ending:
    """Let an agent plan; how that ended."""
    try:
        agent.learn(0)
    except PlanningBudgetExceeded:
        return Ending.RAN_OUT
    return Ending.PLANNED


def _play_episode(agent: LocalPlanningAgent, env: gym.Env[Any, Any], seed: int) -> None:
    observation, _ = env.reset(seed=seed)
    over = False
    while not over:
        action, _ = agent.predict(observation)
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated


def _result(
    trial: Trial,
    uniform: AnyAudit,
    policy: AnyAudit | None,
    queries: int,
    status: Ending,
    played: int = 0,
    seconds: float = 0.0,
    oracle: str = "none",
) -> Result:
    return Result(
        agent=trial.agent,
        seed=trial.seed,
        budget=trial.budget,
        queries=queries,
        execution_queries=played,
        value=None if policy is None else policy.value,
        optimal_value=uniform.optimal_value,
        suboptimality=None if policy is None else policy.regret,
        score=None if policy is None or uniform.regret <= 0.0 else 1.0 - policy.regret / uniform.regret,
        seconds=seconds,
        oracle=oracle,
        status=status,
    )
