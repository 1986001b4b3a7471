"""One run of a job: an agent learns, and what it is worth is read off at equal numbers of environment steps.

The rows of a run are the same whenever and wherever it is repeated on one kind of machine, so that results may be kept
under the job's key; times are not part of them. Reading the policy's worth touches nothing that the agent learns from:
an agent that is measured often learns what one learns that is never measured.
"""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, final

from ..agents import Agent, agent_spec
from ..agents.base import require_called_back
from ..agents.local.agent import LocalPlanningAgent
from ..agents.local.planner import PlanningBudgetExceeded
from ..evaluation.report import Row
from .environments import STABLE_BASELINES, make_job_agent, make_training_env, make_truth_env
from .jobs import Job
from .measurement import Yardstick, yardstick_of


@dataclass(frozen=True)
class Outcome:
    """What a job brought.

    Attributes:
        rows: One flat row for each checkpoint, the beginning first; equal for equal jobs.
        seconds: Wall time of learning and planning, measuring left out.
    """

    rows: list[Row]
    seconds: float


def check(job: Job) -> None:
    """Raise unless the job can begin: its agent is registered, its environment exists, and the one fits the other.

    Both are made, which loads what they need; nothing is learnt or solved.

    Raises:
        AgentError: There is no such agent or opponent, it does not take these arguments, or does not suit the
            environment.
        ModelError: There is no such environment, it does not take these arguments, or a discount is missing.
        ImportError: The agent needs an extra that is not installed.
    """
    make_job_agent(job, make_training_env(job))
    yardstick_of(job)


def perform(job: Job) -> Outcome:
    """Run a job.

    Every agent first learns from no step at all, which is when planners plan, and is measured: checkpoint 0. Agents
    that take steps are measured again after equal parts of ``total_timesteps`` and stop at the last. What is measured
    there is what the agent makes of these steps and no other: an algorithm of stable-baselines3 that has just finished
    a rollout has learnt from it. Steps are counted over all environments that are side by side, which step together:
    of a checkpoint that falls between, those before it count.

    Raises:
        AgentError, ModelError, ImportError: As :func:`check`; or what the agent meets while it learns.
    """
    with _single_threaded(job):
        run = _Run(job)
        return run.outcome()


@final
class _Run:
    """A job under way."""

    def __init__(self, job: Job) -> None:
        self._job, self._rows = job, list[Row]()
        self._yardstick: Yardstick = yardstick_of(job)
        self._seconds, self._resumed = 0.0, time.perf_counter()
        self._agent = make_job_agent(job, make_training_env(job))
        # stable-baselines3 calls before it learns from a step: the policy is still that of the step before.
        self._is_behind = agent_spec(job.agent).entry_point == STABLE_BASELINES
        self._steps: int | None = None  # when the callback was called last

    def outcome(self) -> Outcome:
        """Learn and measure."""
        with suppress(PlanningBudgetExceeded):  # the best plan so far is kept
            self._agent.learn(0)
        self._measure(0)
        if self._job.total_timesteps:
            self._agent.learn(self._job.total_timesteps, callback=self._callback)
            require_called_back(self._agent, self._steps is not None)
        while self._steps and len(self._rows) <= self._job.checkpoints:  # it ended before the callback told it to
            self._measure(self._steps)
        self._pause()
        return Outcome(self._rows, self._seconds)

    def _callback(self, agent: Agent, steps: int) -> bool:
        """Measure when a checkpoint is due; stop after the last."""
        before, self._steps = self._steps, steps
        while (steps > self._due()) if self._is_behind else (steps >= self._due()):
            self._measure((before or 0) if self._is_behind else steps)
            if len(self._rows) > self._job.checkpoints:
                return False
        return True

    def _due(self) -> int:
        """Steps of the next checkpoint, rounded up; a planner, which takes none, never comes there."""
        return max(1, -(-self._job.total_timesteps * len(self._rows) // self._job.checkpoints))

    def _measure(self, steps: int) -> None:
        self._pause()
        self._rows.append(_row(self._job, self._agent, self._yardstick, len(self._rows), steps))
        self._resumed = time.perf_counter()

    def _pause(self) -> None:
        self._seconds += time.perf_counter() - self._resumed


def _row(job: Job, agent: Agent, yardstick: Yardstick, checkpoint: int, steps: int) -> Row:
    queries = _queries(job, agent)
    reading = yardstick.read(agent)
    return {
        "agent": job.agent,
        "env_id": job.env_id,
        "seed": job.seed,
        "env_kwargs": _text(job.env_kwargs),
        "agent_kwargs": _text(job.agent_kwargs),
        "checkpoint": checkpoint,
        "steps": steps,
        "queries": queries,
        "value": reading.value,
        "low": reading.low,
        "high": reading.high,
        "kind": reading.kind,
        "meaning": yardstick.meaning,
        "deterministic": reading.deterministic,
        "optimal_value": yardstick.optimal_value,
        "uniform_value": yardstick.uniform_value,
        "score": reading.score,
        "violation": reading.violation,
    }


def _queries(job: Job, agent: Agent) -> int | None:
    """Queries of a local planner: for its plan or, where it searches at every decision, in one episode."""
    if not isinstance(agent, LocalPlanningAgent):
        return None
    if agent.planning_queries:
        return agent.planning_queries
    env: Any = make_truth_env(job)
    observation, _ = env.reset(seed=job.seed)
    over = False
    while not over:
        observation, _, terminated, truncated, _ = env.step(agent.predict(observation)[0])
        over = terminated or truncated
    return agent.execution_queries


def _text(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True)


@contextmanager
def _single_threaded(job: Job) -> Generator[None]:
    """One thread for networks: with several, sums depend on how many there are, and small networks train no faster."""
    if agent_spec(job.agent).extra is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
