"""One training run of the comparison: an algorithm on an environment from one seed, measured at equal steps.

All algorithms are algorithms of stable-baselines3, trained through the same lines from their hyperparameters as plain
data. None is told which actions are useless in a state (Taxi's masks): PPO, A2C and DQN could not use it. At every
checkpoint the policy of the last update is measured in the same way for all of them, and training stops after the last.
Time spent on measuring is not counted.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, final

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from lookahead_rl.agents import make_agent
from lookahead_rl.agents.stable_baselines import StableBaselinesAgent
from lookahead_rl.agents.vec_env import StableBaselinesVecEnv
from lookahead_rl.evaluation import audit, simulated_audit
from lookahead_rl.evaluation.report import versions

from ._lookahead_rows import Row, append_row, digest, our_code

OURS = "KSampleLookahead"
AGENTS = {"PPO": "PPO", "A2C": "A2C", "DQN": "DQN", "SAC": "SAC", OURS: "KSampleLookahead-v0"}

EVALUATION_SEED = 10_000
EPISODES = 20
"""Evaluation episodes of classic control, the same ones at every checkpoint."""

SAMPLED_EPISODES = 500
"""Episodes that estimate the sampling policy's score where the deterministic one's is exact."""

Measured = dict[str, float]
Measure = Callable[[StableBaselinesAgent], Measured]
"""What an agent is worth; ``score`` is what tables show."""


@dataclass(frozen=True)
class Setting:
    """An algorithm's arguments for one environment, and where they come from.

    Attributes:
        source: Who published them, or which search found them.
        hyperparameters: Arguments of the algorithm as plain data.
        n_envs: Environments that run in parallel.
        normalize: False; True for running normalisation of observations and rewards; or VecNormalize's arguments.
        options: Further arguments of the environment, such as how it takes its actions.
    """

    source: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    n_envs: int = 1
    normalize: bool | Mapping[str, Any] = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """An environment with its budget of steps.

    Attributes:
        env_id: Registered id.
        steps: Environment steps of a run.
        every: Steps between two checkpoints.
        measure: ``"planted"``: exact normalised score against a planted optimum; ``"audit"``: exact expected return;
            ``"episodes"``: mean return of evaluation episodes.
        options: Arguments of the environment.
        instances: Whether a run's seed also chooses the instance (``mdp_seed``).
        entry: Whose settings it takes; "" for those under its own name.
        algorithms: Which algorithms are trained; none named means all that have a setting.
        note: What a reader of its table has to know.
    """

    env_id: str
    steps: int
    every: int
    measure: str = "episodes"
    options: Mapping[str, Any] = field(default_factory=dict)
    instances: bool = False
    entry: str = ""
    algorithms: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Run:
    """What a result is called, and everything it depends on, as plain data.

    Attributes:
        group: Which figure it is drawn in.
        task: Name of the task.
        label: Name of the algorithm, or of its variant.
        algorithm: Name of the algorithm.
        env_id, options, measure, n_envs, normalize, hyperparameters: As in :class:`Task` and :class:`Setting`.
        seed: Of the algorithm, and of the instance where there are any.
        steps: Environment steps.
        every: Steps between two checkpoints.
    """

    group: str
    task: str
    label: str
    algorithm: str
    env_id: str
    options: Mapping[str, Any]
    measure: str
    n_envs: int
    normalize: bool | Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    seed: int
    steps: int
    every: int

    @cached_property
    def key(self) -> str:
        """Digest of what the result depends on; what it is called is no part of that."""
        return digest({name: value for name, value in asdict(self).items() if name not in ("group", "task", "label")})


def plan_run(
    name: str, task: Task, algorithm: str, setting: Setting, seed: int, *, group: str = "", label: str | None = None
) -> Run:
    """The run of an algorithm on a task from a seed.

    Raises:
        ValueError: Observations are normalised where an audit shows the policy plain ones.
    """
    normalized = {} if setting.normalize is True else setting.normalize
    if task.measure != "episodes" and normalized is not False and normalized.get("norm_obs", True):
        raise ValueError(f'{name}: audits show plain observations; pass normalize={{"norm_obs": false}}')
    options = {**task.options, **setting.options, **({"mdp_seed": seed} if task.instances else {})}
    return Run(
        group=group,
        task=name,
        label=label or algorithm,
        algorithm=algorithm,
        env_id=task.env_id,
        options=options,
        measure=task.measure,
        n_envs=setting.n_envs,
        normalize=setting.normalize,
        hyperparameters=setting.hyperparameters,
        seed=seed,
        steps=task.steps,
        every=task.every,
    )


def perform(run: Run, path: Path, until: float = float("inf")) -> Row | None:
    """Train, measure and store; None where the clock is already past ``until``, in seconds of ``time.time``."""
    if time.time() > until:
        return None
    measured = train(run)
    columns = {name: [round(point[name], 6) for point in measured] for name in measured[0]}
    code = our_code() if run.algorithm == OURS else ""
    row = {"key": run.key, "run": asdict(run), "checkpoints": columns, "code": code, "made_with": versions()}
    append_row(path, row)
    return row


def train(run: Run) -> list[Measured]:
    """What the policy was worth at each checkpoint: ``steps``, processor ``seconds`` of training, and measures."""
    torch.set_num_threads(1)
    agent = build(run)
    checkpoints = _Checkpoints(run, partial(MEASURES[run.measure](run), agent))
    agent.learn(run.steps, callback=checkpoints)
    return checkpoints.measured


def build(run: Run) -> StableBaselinesAgent:
    """The run's agent, before it learns."""
    agent = make_agent(AGENTS[run.algorithm], _training_env(run), seed=run.seed, hyperparameters=run.hyperparameters)
    assert isinstance(agent, StableBaselinesAgent)
    return agent


def _training_env(run: Run) -> VecEnv:
    if run.measure == "planted":  # steps all lanes at once
        lanes = gym.make_vec(run.env_id, num_envs=run.n_envs, autoreset_mode="SameStep", **run.options)
        env: VecEnv = StableBaselinesVecEnv(lanes)
    else:
        env = DummyVecEnv([lambda: WithoutMasks(gym.make(run.env_id, **run.options))] * run.n_envs)
    if run.normalize is False:
        return env
    # Returns are discounted as the algorithm discounts them.
    arguments = {} if run.normalize is True else run.normalize
    return VecNormalize(env, gamma=run.hyperparameters.get("gamma", 0.99), **arguments)


@final
class WithoutMasks(gym.Wrapper):
    """An environment that keeps to itself which actions are useless."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, _without_mask(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, _without_mask(info)


def _without_mask(info: dict[str, Any]) -> dict[str, Any]:
    return {name: told for name, told in info.items() if name != "action_mask"}


@final
class _Checkpoints(BaseCallback):
    """Measures every so many steps, keeps the time of training apart, and ends the run after the last checkpoint.

    Time is the processor's, so that a busy machine does not make an algorithm look slow.
    """

    def __init__(self, run: Run, measure: Callable[[], Measured]) -> None:
        super().__init__()
        self.measured: list[Measured] = []
        self._run, self._measure = run, measure
        self._seconds = 0.0

    def _on_training_start(self) -> None:
        self._resumed = time.process_time()

    def _on_step(self) -> bool:
        due = self._run.every * (len(self.measured) + 1)
        if self.num_timesteps >= due:
            self._seconds += time.process_time() - self._resumed
            self.measured.append({"steps": due, "seconds": self._seconds, **self._measure()})
            self._resumed = time.process_time()
        return due + (self.num_timesteps >= due) * self._run.every <= self._run.steps


def _planted(run: Run) -> Measure:
    """Exact score of the deterministic policy, 0 for uniform play and 1 for the optimum; the sampling one's beside."""
    env = gym.make(run.env_id, **run.options)

    def measure(agent: StableBaselinesAgent) -> Measured:
        exact = audit(agent, env, deterministic=True)
        sampled = simulated_audit(agent, env, n_episodes=SAMPLED_EPISODES, seed=EVALUATION_SEED)
        return {"score": exact.score, "sampled": sampled.score}

    return measure


def _audited(run: Run) -> Measure:
    """Exact expected return of an episode, with its time limit, under the deterministic policy; the regret beside."""
    env = gym.make(run.env_id, **run.options)
    lanes = _evaluation_lanes(run)
    horizon = env.spec.max_episode_steps

    def measure(agent: StableBaselinesAgent) -> Measured:
        exact = audit(agent, env, deterministic=True, horizon=horizon)
        return {"score": exact.value, "regret": exact.regret, "episodes": mean_return(agent, lanes)}

    return measure


def _played(run: Run) -> Measure:
    """Mean return of evaluation episodes under the deterministic policy."""
    lanes = _evaluation_lanes(run)
    return lambda agent: {"score": mean_return(agent, lanes)}


MEASURES: dict[str, Callable[[Run], Measure]] = {"planted": _planted, "audit": _audited, "episodes": _played}


def mean_return(agent: StableBaselinesAgent, lanes: gym.vector.VectorEnv) -> float:
    """Mean return of the deterministic policy over one episode in every lane, the same ones at every call."""
    normalizer = agent.model.get_vec_normalize_env()
    observations, _ = lanes.reset(seed=EVALUATION_SEED)
    returns, over = np.zeros(lanes.num_envs), np.zeros(lanes.num_envs, dtype=np.bool_)
    while not over.all():
        shown: NDArray[Any] = observations if normalizer is None else normalizer.normalize_obs(observations)
        actions, _ = agent.predict(shown, deterministic=True)
        observations, rewards, terminated, truncated, _ = lanes.step(actions)
        returns += np.where(over, 0.0, rewards)
        over |= terminated | truncated
    return float(returns.mean())


def _evaluation_lanes(run: Run) -> gym.vector.VectorEnv:
    return gym.make_vec(run.env_id, num_envs=EPISODES, vectorization_mode="sync", **run.options)
