"""Training an agent with everything on record, in parts, so that a killed run comes to the same result.

    train(Job("PPO", "CartPole-v1", 100_000), "runs/ppo")

The run is cut into parts. At the end of each the agent is written, with its experience, and so are the places where
its environments stand; the next part *always* goes on from what was written, whether or not the process was killed in
between. So a run that was killed any number of times and one that never was do the same computations, and end in the
same files, bit for bit, times left out.

Agents of stable-baselines3 lose nothing at these seams: experience, random states, schedules and unfinished episodes
are carried over, so the length of the parts changes neither what is learnt nor ``monitor.csv``. Other agents begin a
new episode after loading (their documentation says so), and there the length of the parts is part of the
configuration. A part is at least so many steps as ``checkpoint_freq`` says: on-policy algorithms take whole rollouts.
"""

# stable-baselines3 leaves many of its types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import importlib.util
import json
import platform
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array
from rich.progress import TaskID

from ..agents import Agent, AgentError, agent_class, agent_spec, load_agent
from ..agents.base import require_called_back
from ..agents.local.agent import LocalPlanningAgent
from ..agents.registry import EXTRAS, THIS_PACKAGE
from ..agents.stepping import SteppingAgent, step_bars
from ..agents.storage import read_archive, write_archive
from ..evaluation.report import Row
from ..models._checks import whole_number
from ..wrappers import VersusOpponent
from .checkpoints import Checkpoint, RunFolder, RunFolderError, State
from .environments import (
    is_game,
    make_game,
    make_job_agent,
    make_opponent,
    make_training_env,
    make_truth_env,
    plays_whole_game,
)
from .jobs import Job
from .measurement import EpisodeYardstick, Reading, Yardstick, yardstick_of

if TYPE_CHECKING:
    from .logs import AuditFile, EvaluationFile
    from .monitors import Recorder

PARTS = 10
"""Parts and evaluations of a run where nothing else is said."""

AGENT, POSITIONS = "agent.zip", "positions.zip"
_BAR_STEPS = 64
_EVENT_FILES = "events.out.tfevents.*"
_DISTRIBUTIONS = (THIS_PACKAGE, "gymnasium", "pettingzoo", "stable-baselines3", "torch", "numpy", "scipy", "numba")


@dataclass(frozen=True)
class TrainingOptions:
    """What is recorded of a run, and how often.

    Attributes:
        eval_freq: Steps from one measurement to the next; None: a tenth of the run.
        n_eval_episodes: Episodes that are played at each, deterministically; 0: none.
        checkpoint_freq: Steps from one checkpoint to the next; None: a tenth of the run.
        audit: Whether the exact value is logged where the model is known.
        tensorboard: Whether event files are written.
        threads: Threads of torch. Sums depend on their number, so it is part of the configuration.

    Raises:
        ModelError: A number is out of range.
    """

    eval_freq: int | None = None
    n_eval_episodes: int = 10
    checkpoint_freq: int | None = None
    audit: bool = True
    tensorboard: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        """Check every number."""
        for name, least in (("eval_freq", 1), ("n_eval_episodes", 0), ("checkpoint_freq", 1), ("threads", 1)):
            if (value := getattr(self, name)) is not None:
                whole_number(name, value, least)

    def over(self, total_timesteps: int) -> "TrainingOptions":
        """The same with the frequencies that ``None`` stands for in a run of so many steps."""
        part = max(1, -(-total_timesteps // PARTS))
        return replace(self, eval_freq=self.eval_freq or part, checkpoint_freq=self.checkpoint_freq or part)


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: Where everything is.
        steps: Environment steps taken; fewer than asked for where a callback stopped the run or the agent takes none.
        seconds: Wall time of all parts.
        rows: What was measured, a flat row each; the last is the final agent's.
        was_finished: Whether the folder held this run finished, and nothing was done.
    """

    folder: Path
    steps: int
    seconds: float
    rows: list[Row]
    was_finished: bool

    @property
    def agent_file(self) -> Path:
        """The final agent, for ``load_agent(run.agent_file, env)``."""
        return self.folder / AGENT


def train(
    job: Job,
    folder: str | Path,
    options: TrainingOptions | None = None,
    *,
    callback: Any = None,
    progress_bar: bool = False,
    tell: Callable[[str], None] | None = None,
    started: Callable[[dict[str, Any]], None] | None = None,
) -> TrainedRun:
    """Train the agent of a job, or go on where an earlier process stopped.

    Args:
        job: What is trained, on what, how long, from which seed. ``checkpoints`` has no meaning here.
        folder: Where everything is written; if it holds this very run, unfinished, that is gone on with.
        options: What is recorded.
        callback: A function (agent, steps) -> bool, or for agents of stable-baselines3 one of its callbacks; or a class
            of these, made anew for each part; or a list of such. What a callback remembers is not in the checkpoints,
            so a class is what does the same in a run that was killed.
        progress_bar: Show progress on the terminal.
        tell: Called with a line for people where something is worth it; print by default.
        started: Called with the whole configuration when everything is found sound and training begins.

    Raises:
        AgentError: There is no such agent, it does not take these arguments or does not suit the environment, or a
            callback is none.
        ModelError: There is no such environment, it does not take these arguments, or a discount is missing.
        RunFolderError: The folder holds something else, or another process is training there.
        ImportError: stable-baselines3 or tensorboard is missing.
    """
    _require_packages(options or TrainingOptions())
    settings = (options or TrainingOptions()).over(job.total_timesteps)
    run = _Run(job, settings, _callbacks(callback), progress_bar, tell or print)
    configuration = {
        "job": asdict(job),
        "opponent_digest": job.opponent_digest,
        "options": asdict(settings),
        "callbacks": [_name(one) for one in run.callbacks],
    }
    versions = _versions(job)
    where = RunFolder(Path(folder), configuration, versions, tell or print)
    if (found := where.result()) is None:
        run.require_sound()  # before anything is written
        with where, _threads(settings.threads):
            if started is not None:
                started(configuration)
            found = where.result() or run.execute(where)
            return TrainedRun(where.path, found["steps"], found["seconds"], found["rows"], False)
    return TrainedRun(where.path, found["steps"], found["seconds"], found["rows"], True)


@dataclass(eq=False)
class _Stage:
    """A part of the run under way: everything that is made anew for it."""

    agent: Agent
    env: Any
    recorders: "list[Recorder]"
    logger: Any
    evaluations: "EvaluationFile"
    audits: "AuditFile | None"

    def close(self) -> None:
        """Close environments and logs."""
        self.env.close()
        self.logger.close()


@final
class _Run:
    """A run: what it consists of, and what is the same in all of its parts."""

    def __init__(
        self,
        job: Job,
        options: TrainingOptions,
        callbacks: list[Any],
        progress_bar: bool,
        tell: Callable[[str], None],
    ) -> None:
        self.job, self.options, self.callbacks, self._tell = job, options, callbacks, tell
        self._shows_bar = progress_bar
        self._whole_game = plays_whole_game(job)
        yardstick = yardstick_of(job) if options.audit else None
        self._yardstick: Yardstick | None = None if isinstance(yardstick, EpisodeYardstick) else yardstick

    def require_sound(self) -> None:
        """Raise unless the agent suits the environment and can be written: made once, and thrown away."""
        env = make_training_env(self.job)
        agent = make_job_agent(self.job, env)
        self._callbacks_of(agent)
        env.close()

    def execute(self, folder: RunFolder) -> dict[str, Any]:
        """Train to the end, from the last checkpoint or from the beginning."""
        checkpoint = folder.latest()
        if checkpoint is None:
            checkpoint = self._begin(folder)
        else:
            self._tell(f"going on from step {checkpoint.state.steps:,} of {self.job.total_timesteps:,}")
        with self._progress(checkpoint.state.steps) as tick:
            while not checkpoint.state.is_over:
                checkpoint = self._part(folder, checkpoint, tick)
        return self._finish(folder, checkpoint)

    # parts

    def _begin(self, folder: RunFolder) -> Checkpoint:
        """The checkpoint before any step."""
        stage = self._stage(folder, None)
        try:
            return self._write(folder, stage, State())
        finally:
            stage.close()

    def _part(self, folder: RunFolder, checkpoint: Checkpoint, tick: Callable[[int], None]) -> Checkpoint:
        """Learn up to the next checkpoint, and write it."""
        began, before = time.perf_counter(), checkpoint.state
        stage = self._stage(folder, checkpoint, learns=True)
        watch = _Watch(self, stage, before, tick)
        total, frequency = self.job.total_timesteps, cast("int", self.options.checkpoint_freq)
        target = min(total, (before.steps // frequency + 1) * frequency)
        try:
            if before.steps == 0:
                watch.measure_beginning()
            self._learn(stage.agent, target - before.steps, watch)
            # Stopped by a callback, or an agent that takes no steps: it is over as well.
            is_over = watch.steps >= total or watch.steps < target or watch.is_stopped
            watch.end_part(is_over)
            seconds = before.seconds + time.perf_counter() - began
            after = State(before.part + 1, watch.steps, is_over, watch.evaluations, seconds)
        finally:
            stage.close()
        return self._write(folder, stage, after)

    def _learn(self, agent: Agent, steps: int, watch: "_Watch") -> None:
        given = [watch.noting(one) for one in self._callbacks_of(agent)]
        if _is_stable_baselines(agent):
            agent.learn(steps, callback=[watch, *given])
            return

        def all_of_them(one: Agent, taken: int) -> bool:
            goes_on = [call(one, taken) for call in (watch, *given)]  # everybody is called, whoever says stop
            return all(goes_on)

        agent.learn(steps, callback=all_of_them)
        require_called_back(agent, watch.was_called)

    def _finish(self, folder: RunFolder, checkpoint: Checkpoint) -> dict[str, Any]:
        """Write the final agent, as it is read from the last checkpoint, and what the run found."""
        stage = self._stage(folder, checkpoint)
        try:
            stage.agent.save(folder.path / AGENT)
            state = checkpoint.state
            rows = _rows(self.job, stage, state)
        finally:
            stage.close()
        found = {"steps": state.steps, "seconds": state.seconds, "rows": rows}
        folder.finish(found)
        return found

    # what a part is made of

    def _stage(self, folder: RunFolder, checkpoint: Checkpoint | None, *, learns: bool = False) -> _Stage:
        """Agent, environments and logs as a checkpoint has them, or as they begin; event files if it learns now."""
        from .logs import AUDITS, EVALUATIONS, EVENTS, PROGRESS, AuditFile, EvaluationFile, run_logger
        from .monitors import monitor_names

        names = monitor_names(self.job.n_envs)
        folder.restore(checkpoint, (PROGRESS, EVALUATIONS), (*names, AUDITS))
        _keep_events(folder.path / EVENTS, () if checkpoint is None else checkpoint.state.events)
        recorders: list[Recorder] = []
        env = make_training_env(self.job, lambda one, i: self._recorded(one, i, recorders))
        if checkpoint is None:
            agent = make_job_agent(self.job, env)
        else:
            agent = load_agent(checkpoint.folder / AGENT, env)
            positions = read_archive(checkpoint.folder / POSITIONS)["environments"]
            for recorder, position in zip(recorders, positions, strict=True):
                recorder.resume(position, continues=_is_stable_baselines(agent))
        for recorder, name in zip(recorders, names, strict=True):
            recorder.write_to(folder.path / name, self.job.env_id)
        logger = run_logger(folder.path, self.options.tensorboard and learns)
        self._prepare(agent, logger)
        audits = None if self._yardstick is None else AuditFile(folder.path / AUDITS)
        return _Stage(agent, env, recorders, logger, EvaluationFile(folder.path / EVALUATIONS), audits)

    def _recorded(self, env: Any, index: int, recorders: "list[Recorder]") -> Any:
        from .monitors import GameMonitor, TrainingMonitor

        if self._whole_game:
            recorder: Any = GameMonitor(env, self._side)
        else:
            recorder = TrainingMonitor(env, self.job.seed, index)
        recorders.append(recorder)
        return recorder

    def _prepare(self, agent: Agent, logger: Any) -> None:
        """Hand an algorithm of stable-baselines3 its logger, and the length of the whole run."""
        if _is_stable_baselines(agent):
            model = cast("Any", agent).model
            model.set_logger(logger)
            if self.job.total_timesteps:
                cast("Any", agent).run_schedules_over(self.job.total_timesteps)

    def _write(self, folder: RunFolder, stage: _Stage, state: State) -> Checkpoint:
        from .logs import AUDITS, EVALUATIONS, EVENTS, PROGRESS
        from .monitors import monitor_names

        def fill(where: Path) -> None:
            stage.agent.save(where / AGENT, with_experience=True)
            write_archive(where / POSITIONS, {"environments": [one.position() for one in stage.recorders]})
            for name in (PROGRESS, EVALUATIONS):
                if (folder.path / name).exists():
                    (where / name).write_bytes((folder.path / name).read_bytes())

        growing = [folder.path / name for name in (*monitor_names(self.job.n_envs), AUDITS)]
        sizes = {path.name: path.stat().st_size for path in growing if path.exists()}
        events = tuple(sorted(path.name for path in (folder.path / EVENTS).glob(_EVENT_FILES)))
        return folder.write(replace(state, sizes=sizes, events=events), fill)

    # measuring

    def read(self, agent: Agent) -> Reading | None:
        """The exact value, where it is known and wanted."""
        return None if self._yardstick is None else self._yardstick.read(agent)

    @property
    def yardstick(self) -> Yardstick:
        """How exact values are found, where they are."""
        return cast("Yardstick", self._yardstick)

    def play(self, agent: Agent, evaluation: int) -> tuple[list[float], list[int]]:
        """Returns and lengths of evaluation episodes, by the agent's most likely actions."""
        episodes = range(self.options.n_eval_episodes)
        keys = [np.random.SeedSequence(self.job.seed, spawn_key=(1, evaluation, episode)) for episode in episodes]
        seeds, width = [int(key.generate_state(1)[0] >> 1) for key in keys], len(self._lanes)
        found = [_play(agent, self._lanes, seeds[at : at + width]) for at in range(0, len(seeds), width)]
        return [one for returns, _ in found for one in returns], [one for _, lengths in found for one in lengths]

    @property
    def _side(self) -> str:
        return str(self.job.agent_kwargs.get("side", self.job.side))

    @cached_property
    def _lanes(self) -> list[Any]:
        """Environments to evaluate in, side by side: one where an opponent would have to be made for each."""
        if is_game(self.job.env_id):
            game = make_game(self.job.env_id, self.job.env_kwargs)
            return [VersusOpponent(game, make_opponent(self.job, game), side=self._side, unavailable="first")]
        is_planner = issubclass(agent_class(self.job.agent), LocalPlanningAgent)  # plays one episode at a time
        return [make_truth_env(self.job) for _ in range(1 if is_planner else self.options.n_eval_episodes)]

    # what people see and hand in

    def _callbacks_of(self, agent: Agent) -> list[Any]:
        """The callbacks of a part; classes are made anew."""
        from stable_baselines3.common.callbacks import BaseCallback

        made = [one() if isinstance(one, type) else one for one in self.callbacks]
        for one in made:
            if not (callable(one) or (isinstance(one, BaseCallback) and _is_stable_baselines(agent))):
                raise AgentError(
                    f"callback is {type(one).__name__}, which cannot be called; {self.job.agent} takes functions "
                    "(agent, steps) -> bool (stable-baselines3's callbacks work with its own algorithms)"
                )
        return made

    @contextmanager
    def _progress(self, steps: int) -> Generator[Callable[[int], None]]:
        """A bar over the whole run, if one is wanted: what to call with the steps taken."""
        if not self._shows_bar:
            yield lambda _: None
            return
        with step_bars() as bars:
            task: TaskID = bars.add_task(self.job.agent, total=self.job.total_timesteps, completed=steps)
            yield lambda taken: bars.update(task, completed=min(taken, self.job.total_timesteps))


@final
class _Watch:
    """The callback of a part: counts steps, measures the policy when it is due, and writes logs."""

    def __init__(self, run: _Run, stage: _Stage, state: State, tick: Callable[[int], None]) -> None:
        self._run, self._stage, self._tick = run, stage, tick
        self.steps, self.evaluations = state.steps, state.evaluations
        self._frequency = cast("int", run.options.eval_freq)
        self._due = self._next_due()
        self.is_stopped, self.was_called = False, False

    def noting(self, callback: Any) -> Any:
        """The same callback, whose end of the training is remembered: in a part's last step it shows nowhere."""
        if not callable(callback):
            from .monitors import NotedCallback

            return NotedCallback(callback, self._stop)

        def noted(agent: Agent, steps: int) -> bool:
            if callback(agent, steps) is not False:
                return True
            self._stop()
            return False

        return noted

    def _stop(self) -> None:
        self.is_stopped = True

    def __call__(self, agent: Agent, steps: int) -> bool:
        """Count, and measure where it is due; what the run ends with is measured at the end."""
        self.was_called = True
        if steps // _BAR_STEPS != self.steps // _BAR_STEPS:
            self._tick(steps)
        self.steps = steps
        if self._due <= steps < self._run.job.total_timesteps:
            self._measure()
            self._due = self._next_due()
        return True

    def measure_beginning(self) -> None:
        """The exact value of what has learnt nothing, from agents that act before they learn."""
        stage = self._stage
        if stage.audits is not None and _acts_untrained(stage.agent) and self._run.job.total_timesteps:
            self._audit()
            self._dump()

    def end_part(self, is_over: bool) -> None:
        """Measure the final policy, and leave nothing in the logger that the next part would not know of."""
        if is_over:
            self._measure()
        else:
            self._dump()
        self._tick(self.steps)

    def _next_due(self) -> int:
        return (self.steps // self._frequency + 1) * self._frequency

    def _measure(self) -> None:
        stage = self._stage
        if self._run.options.n_eval_episodes:
            returns, lengths = self._run.play(stage.agent, self.evaluations)
            stage.evaluations.append(self.steps, returns, lengths)
            stage.logger.record("eval/mean_reward", float(np.mean(returns)))
            stage.logger.record("eval/mean_ep_length", float(np.mean(lengths)))
        self.evaluations += 1
        self._audit()
        self._dump()

    def _audit(self) -> None:
        reading = self._run.read(self._stage.agent)
        if reading is None or self._stage.audits is None:
            return
        row = self._stage.audits.append(self.steps, reading, self._run.yardstick)
        for name, key in (("exact_value", "value"), ("regret", "regret"), ("violation", "violation")):
            if row[key] is not None:
                self._stage.logger.record(f"eval/{name}", row[key])

    def _dump(self) -> None:
        stage = self._stage
        if not _is_stable_baselines(stage.agent):
            recent = [episode for one in stage.recorders for episode in one.recent]
            if recent:
                stage.logger.record("rollout/ep_rew_mean", float(np.mean([r for r, _ in recent])))
                stage.logger.record("rollout/ep_len_mean", float(np.mean([length for _, length in recent])))
        stage.logger.record("time/total_timesteps", self.steps, exclude="tensorboard")
        stage.logger.dump(self.steps)


def _play(agent: Agent, envs: list[Any], seeds: list[int]) -> tuple[list[float], list[int]]:
    """Returns and lengths of one episode of each seed, side by side."""
    shown = {i: envs[i].reset(seed=seed)[0] for i, seed in enumerate(seeds)}
    returns, lengths, live = [0.0] * len(seeds), [0] * len(seeds), list(shown)
    while live:
        for i, action in zip(tuple(live), _actions(agent, envs[0], [shown[i] for i in live]), strict=True):
            shown[i], reward, terminated, truncated, _ = envs[i].step(action)
            returns[i], lengths[i] = returns[i] + float(reward), lengths[i] + 1
            if terminated or truncated:
                live.remove(i)
    return returns, lengths


def _actions(agent: Agent, env: Any, observations: list[Any]) -> list[Any]:
    if len(observations) == 1:
        return [agent.predict(observations[0], deterministic=True)[0]]
    space = env.observation_space
    batch = concatenate(space, observations, create_empty_array(space, len(observations)))
    return list(agent.predict(batch, deterministic=True)[0])


def _rows(job: Job, stage: _Stage, state: State) -> list[Row]:
    """A flat row for each measurement: exact values where they are known, means of episodes otherwise."""
    common: dict[str, Any] = {
        "agent": job.agent,
        "env_id": job.env_id,
        "seed": job.seed,
        "env_kwargs": json.dumps(job.env_kwargs, sort_keys=True),
        "agent_kwargs": json.dumps(job.agent_kwargs, sort_keys=True),
    }
    played = {
        steps: float(np.mean(returns))
        for steps, returns in zip(stage.evaluations.timesteps, stage.evaluations.results, strict=True)
    }
    exact = {} if stage.audits is None else {int(cast("float", row["steps"])): row for row in stage.audits.rows}
    rows: list[Row] = []
    for steps in sorted(played.keys() | exact.keys()):
        row = exact.get(steps, {})
        rows.append(
            {
                **common,
                "steps": steps,
                "value": row["value"] if row else played[steps],
                "kind": "exact" if row else "estimated",
                "optimal_value": row.get("optimal_value"),
                "uniform_value": row.get("uniform_value"),
                "score": row.get("score"),
                "mean_return": played.get(steps),
                "seconds": state.seconds,
            }
        )
    return rows


def _is_stable_baselines(agent: Agent) -> bool:
    from ..agents.stable_baselines import StableBaselinesAgent

    return isinstance(agent, StableBaselinesAgent)


def _acts_untrained(agent: Agent) -> bool:
    return isinstance(agent, SteppingAgent) or _is_stable_baselines(agent)


def _callbacks(given: Any) -> list[Any]:
    listed = cast("list[Any]", given) if isinstance(given, list) else [given]
    return [one for one in listed if one is not None]


def _name(callback: Any) -> str:
    named = callback if isinstance(callback, type) or callable(callback) else type(callback)
    return str(getattr(named, "__qualname__", type(named).__qualname__))


def _keep_events(folder: Path, names: tuple[str, ...]) -> None:
    """Delete the event files that a checkpoint does not know: what they hold is written again."""
    for path in folder.glob(_EVENT_FILES):
        if path.name not in names:
            path.unlink()


@contextmanager
def _threads(n: int) -> Generator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _require_packages(options: TrainingOptions) -> None:
    missing = [name for name in EXTRAS["deep"] if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'training needs {" and ".join(missing)}: pip install "{THIS_PACKAGE}[deep]"')
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ImportError("event files need tensorboard: pip install tensorboard")


def _versions(job: Job) -> dict[str, str]:
    """Versions of what computes: Python, the packages below, and the one that the agent comes from."""
    names = map(_canonical, dict.fromkeys((*_DISTRIBUTIONS, agent_spec(job.agent).source)))
    installed = _installed()
    found = {name: installed[name] for name in names if name in installed}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}


@cache
def _installed() -> dict[str, str]:
    """Versions of all that is installed; what a broken installation has left has no name."""
    named = [(one.metadata["Name"], one.version) for one in metadata.distributions()]
    return {_canonical(name): version for name, version in named if name}


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


__all__ = ["RunFolderError", "TrainedRun", "TrainingOptions", "train"]
