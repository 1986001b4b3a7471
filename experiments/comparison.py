"""Agents beside each other: the same tasks, the same numbers of steps, the same seeds.

A *task* is an environment with its arguments; where an environment is drawn from a family, each instance is a task of
its own. Every agent learns every task from every seed (:mod:`.runs`), and the score of a run is that of its last policy
(:mod:`.measurement`): 0 for uniform play, 1 for the optimum. Scores of all tasks are pooled and told as Agarwal et al.
(NeurIPS 2021) ask for it, see :mod:`.standings`. Tasks without scores, where no model is known or uniform play is
optimal, are told by their values and are no part of what is pooled.
"""

import difflib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from pettingzoo.env_registry.registration import aec_registry, parallel_registry

from ..agents import AgentError, agent_class, agent_spec
from ..models import ModelError
from ..models._checks import whole_number
from .engines import Progress, run_jobs
from .environments import is_game, open_env
from .jobs import Job
from .measurement import discount_is_open
from .runs import check, perform
from .standings import INSTANCE_SEEDS, Run, Standings, task_name
from .store import KEY, SECONDS, Record, open_store

DEFAULT = "default"
"""The entry of a file of hyperparameters for all environments without their own."""
SET_HERE = ("env", "seed", "side", "opponent")
"""Arguments of agents that are those of the plan: the same for all of them."""
_NESTED = "hyperparameters"
"""The argument of agents whose constructor does not name their hyperparameters one by one."""

Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Hyperparameters by agent and environment."""


@dataclass(frozen=True)
class Plan:
    """What is to be compared.

    Attributes:
        agents: Ids of agents.
        env_ids: Ids of environments.
        total_timesteps: Environment steps of a run.
        seeds: How many.
        first_seed: The first of them.
        instances: Instances of each environment that is drawn from a family: its ``mdp_seed`` or ``game_seed`` is
            0, 1, ...; 1 leaves the instance as it is.
        env_kwargs: Arguments of environments by their id; under ``""`` those for each that takes them.
        agent_kwargs: Arguments of agents by their id, hyperparameters among them; under ``""`` for each that takes
            them.
        hyperparameters: Hyperparameters by agent and environment, or ``"default"``.
        checkpoints: How often policies are measured after the beginning.
        gamma: Discount for tables of Gymnasium's; None: undiscounted within their time limit.
        side: Which side of games is played.
        opponent: Who plays the other one.
        deterministic: Measure the most likely actions of policies instead of their laws.
    """

    agents: Sequence[str]
    env_ids: Sequence[str]
    total_timesteps: int
    seeds: int = 1
    first_seed: int = 0
    instances: int = 1
    env_kwargs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    agent_kwargs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    hyperparameters: Entries = field(default_factory=dict[str, Mapping[str, Mapping[str, Any]]])
    checkpoints: int = 10
    gamma: float | None = None
    side: str = "player_0"
    opponent: str | None = None
    deterministic: bool = False

    def jobs(self) -> list[Job]:
        """The runs: agents, within them tasks, within these seeds.

        Every pair of an agent and an environment is tried out before this returns, and nothing is trained.

        Raises:
            AgentError: Agents are none, unknown, named twice, or do not fit an environment (all that do not are told);
                an argument that none of them takes.
            ModelError: The same of environments; or a number out of range.
        """
        self._require_numbers()
        _require_ids("agents", self.agents, AgentError)
        _require_ids("env-ids", self.env_ids, ModelError)
        for agent in self.agents:
            agent_class(agent)
        for env_id in self.env_ids:
            open_env(env_id, self.env_kwargs.get(env_id)).close()
        _require_entries(self.hyperparameters)
        tasks = [(env_id, arguments) for env_id in self.env_ids for arguments in self._instances(env_id)]
        jobs = [self._job(agent, *task) for agent in self.agents for task in tasks]
        self._require_used(jobs)
        # The instances of an environment fit or fit not alike.
        _require_fit(list({(job.agent, job.env_id): job for job in reversed(jobs)}.values())[::-1])
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [replace(job, seed=seed) for job in jobs for seed in seeds]

    def _require_numbers(self) -> None:
        for name, least in (("total_timesteps", 0), ("first_seed", 0), ("seeds", 1), ("instances", 1)):
            whole_number(name, getattr(self, name), least)

    def _instances(self, env_id: str) -> list[dict[str, Any]]:
        """The arguments of each instance of an environment."""
        known = env_parameters(env_id)
        shared = {name: value for name, value in self.env_kwargs.get("", {}).items() if name in known}
        arguments = {**shared, **self.env_kwargs.get(env_id, {})}
        seeded = next((name for name in INSTANCE_SEEDS if name in known), None)
        if self.instances == 1 or seeded is None:
            return [arguments]
        if seeded in arguments:
            raise ModelError(f"{seeded} of {env_id} is given, and so is the number of instances; give one of them")
        return [{**arguments, seeded: instance} for instance in range(self.instances)]

    def _given(self, agent: str) -> dict[str, Any]:
        """Arguments of an agent, hyperparameters side by side with the others."""
        known = inspect.signature(agent_class(agent)).parameters
        shared = {name: value for name, value in self.agent_kwargs.get("", {}).items() if name in known}
        return _flat(agent, {**shared, **self.agent_kwargs.get(agent, {})})

    def _job(self, agent: str, env_id: str, env_kwargs: Mapping[str, Any]) -> Job:
        """The first run of an agent on a task; arguments that are given go before those of the file."""
        entries = self.hyperparameters.get(agent, {})
        arguments = {**_flat(agent, entries.get(env_id, entries.get(DEFAULT, {}))), **self._given(agent)}
        for name in arguments.keys() & {*SET_HERE, *agent_spec(agent).kwargs}:
            raise AgentError(f"the arguments of {agent} hold {name}, which is set for each run; leave it out")
        n_envs = arguments.pop("n_envs", 1)
        known = inspect.signature(agent_class(agent)).parameters
        nested = {name: arguments.pop(name) for name in list(arguments) if _NESTED in known and name not in known}
        played = {"side": self.side, "opponent": self.opponent} if is_game(env_id) else {}
        job = Job(
            agent,
            env_id,
            self.total_timesteps,
            seed=self.first_seed,
            env_kwargs=env_kwargs,
            agent_kwargs={**arguments, **({_NESTED: nested} if nested else {})},
            n_envs=n_envs,
            checkpoints=self.checkpoints,
            deterministic=self.deterministic,
            **played,
        )
        return replace(job, gamma=self.gamma) if self.gamma is not None and discount_is_open(job) else job

    def _require_used(self, jobs: Sequence[Job]) -> None:
        """Refuse arguments that change nothing."""
        taken = {name for job in jobs for name in job.env_kwargs}
        for name in self.env_kwargs.get("", {}).keys() - taken:
            raise ModelError(f"none of these environments takes {name}")
        known = {name for agent in self.agents for name in inspect.signature(agent_class(agent)).parameters}
        for name in self.agent_kwargs.get("", {}).keys() - known:
            raise AgentError(
                f"none of these agents takes {name}; a hyperparameter is given by AGENT:{name}=VALUE, such as "
                f"{self.agents[0]}:{name}=VALUE"
            )
        for ids, named in ((self.agents, self.agent_kwargs), (self.env_ids, self.env_kwargs)):
            for name in named.keys() - {*ids, ""}:
                raise AgentError(
                    f"arguments are given for {name}, which is not compared; compared are: {', '.join(ids)}"
                )
        if self.gamma is not None and all(job.gamma is None for job in jobs):
            raise ModelError(f"gamma is {self.gamma}, but every one of these environments has its own; leave it out")
        if self.instances > 1 and not any({*job.env_kwargs} & {*INSTANCE_SEEDS} for job in jobs):
            raise ModelError(
                f"instances is {self.instances}, but none of these environments takes {' or '.join(INSTANCE_SEEDS)}"
            )
        games = any(is_game(env_id) for env_id in self.env_ids)
        if not games and (self.opponent is not None or self.side != "player_0"):
            raise ModelError("side and opponent are for games, and there is none among these environments")


def compare(
    plan: Plan,
    folder: Path,
    *,
    engine: str = "joblib",
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Standings:
    """Run what a plan asks for, and gather it.

    Args:
        plan: What is to be compared.
        folder: Where runs are kept (a store, see :mod:`.store`). Those that are there already are not repeated, so
            that a comparison that was killed goes on, and one that is asked for again answers at once.
        engine: ``"joblib"``, ``"loop"`` or ``"ray"``, see :func:`~lookahead_rl.experiments.engines.run_jobs`.
        n_jobs: Runs at a time; None: one on each core.
        progress: Called with the number of runs that are finished and of those that failed.

    Raises:
        AgentError, ModelError: As :meth:`Plan.jobs`; the folder is in use or holds other things; runs failed (what
            finished is kept).
        ImportError: pyarrow, or what the engine needs, is missing.
    """
    return gather(plan.jobs(), folder, engine=engine, n_jobs=n_jobs, progress=progress)


def gather(
    jobs: Sequence[Job],
    folder: Path,
    *,
    engine: str = "joblib",
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> Standings:
    """Run jobs that are not in the folder, and gather all of them; arguments as in :func:`compare`."""
    with open_store(folder) as store:
        summary = run_jobs(jobs, store, perform, engine=engine, n_jobs=n_jobs, progress=progress)
        if summary.failures:
            raise AgentError(
                f"{len(summary.failures)} of {summary.total} runs failed, the others are kept in {folder}. "
                f"{_told(summary.failures)}"
            )
        seconds = {row[KEY]: row[SECONDS] for row in store.timings().to_pylist()}
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in store.rows():
            rows.setdefault(str(row.pop(KEY)), []).append(row)
    return Standings([Run(job, rows[job.key], seconds[job.key]) for job in jobs])


def _told(failures: Sequence[Record]) -> str:
    """What went wrong, once for each agent and message."""
    told: dict[tuple[str, str | None], str] = {}
    for record in failures:
        job = Job.of(json.loads(record.configuration))
        place = f"{job.agent} on {task_name(job)} from seed {job.seed}"
        told.setdefault((job.agent, record.error), f"{place}: {record.error}")
    return "; ".join(told.values())


def env_parameters(env_id: str) -> frozenset[str]:
    """Names of the arguments that an environment takes.

    Raises:
        ModelError: Its module cannot be imported.
    """
    if is_game(env_id):
        spec = parallel_registry.get(env_id) or aec_registry[env_id]
        return frozenset(inspect.signature(load_env_creator(str(spec.entry_point))).parameters)
    spec = gym.spec(env_id)
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    own = () if creator is None else inspect.signature(creator).parameters
    return frozenset({*own, "max_episode_steps"})


def _flat(agent: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an agent, hyperparameters side by side with the others."""
    nested = arguments.get(_NESTED, {})
    if not isinstance(nested, Mapping):
        raise AgentError(f"{_NESTED} of {agent} are {nested!r}; write a mapping, such as {{'n_steps': 512}}")
    return {**nested, **{name: value for name, value in arguments.items() if name != _NESTED}}


def _require_ids(name: str, ids: Sequence[str], error: type[ValueError]) -> None:
    if not ids:
        raise error(f"--{name} is empty; name at least one")
    twice = sorted({one for one in ids if list(ids).count(one) > 1})
    if twice:
        raise error(f"--{name} names {', '.join(twice)} twice; name each once")


def _require_entries(entries: Entries) -> None:
    """Refuse names in a file of hyperparameters that nothing is registered under: they would change nothing."""
    for agent, by_env in entries.items():
        agent_spec(agent)
        if not isinstance(by_env, Mapping):
            raise AgentError(
                f"hyperparameters of {agent} are {by_env!r}; write them under an environment or {DEFAULT!r}"
            )
        for env_id, values in by_env.items():
            if env_id != DEFAULT and not is_game(env_id) and env_id.rpartition(":")[2] not in gym.registry:
                near = difflib.get_close_matches(env_id, [DEFAULT, *gym.registry, *parallel_registry], n=3)
                hint = f"; near are: {', '.join(near)}" if near else ""
                raise ModelError(f"hyperparameters of {agent} are for {env_id!r}, which is no environment{hint}")
            if not isinstance(values, Mapping):
                raise AgentError(f"hyperparameters of {agent} for {env_id} are {values!r}; write name: value")


def _require_fit(jobs: Sequence[Job]) -> None:
    """Refuse pairs that cannot be, all of them told."""
    unfit: list[str] = []
    for job in jobs:
        try:
            check(job)
        except (AgentError, ModelError) as error:
            unfit.append(f"{job.agent} on {job.env_id}: {error}")
    if unfit:
        raise AgentError(f"nothing was trained, since not every agent fits every environment. {'; '.join(unfit)}")
