"""Learning in episodes: one policy an episode, and what it is worth on record.

A learner drives the environment it was made for by ``reset`` and ``step`` alone. It fixes a policy, plays an episode
by it, adds what the episode brought to its statistics, and fixes the next one; ``predict`` acts by the policy that is
fixed at present. An episode may be left unfinished by ``learn`` and is carried on by the next call.

Each episode begins with a seed of its own, drawn from a generator that nothing else draws from. So equal seeds learn
equally whatever is predicted in between, and an agent that was saved between two episodes goes on after loading exactly
as it would have. An episode that was under way when the agent was saved cannot be carried on by another environment:
its steps are kept, and the next call of ``learn`` begins with a new episode.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, cast, final

import numpy as np
from gymnasium import spaces

from ...models._checks import flag, real_number, whole_number
from ..base import FloatArray, IntArray, Space
from ..errors import AgentError
from ..stepping import SteppingAgent
from .record import LearningRecord

CONSTANTS = ("theory", "practical")
REWARD_TOLERANCE = 1e-9
"""A reward may round to this far outside of its range; it is used as it is."""


class Step(NamedTuple):
    """One step of an episode: stage and row of the state, action, row of the next state (-1: none), signals."""

    h: int
    row: int
    action: int
    next_row: int
    signals: tuple[float, ...]


class EpisodicLearner(SteppingAgent):
    """An agent that learns in episodes. Subclasses say how states are told apart, what is kept, and how plans are made.

    Args:
        env: The environment; the learner's while it learns.
        observation_space: What its states show.
        seed: Seed of episodes and of draws from policies.
        record: Whether the exact worth of each episode's policy is recorded, for which the model's law is read.

    Attributes:
        episodes: Episodes begun so far.
    """

    def __init__(self, env: Any, observation_space: Space, seed: int, record: bool) -> None:
        super().__init__(observation_space, cast("Space", env.action_space), seed)
        self._env, self._seed, self._records = env, seed, flag("record", record)
        self._play = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        self._at: tuple[int, int] | None = None
        self._pending: list[Step] = []
        self._worth: list[tuple[float, ...]] = []
        self.episodes = 0

    @abstractmethod
    def locate(self, observation: Any) -> tuple[int, int]:
        """Stage and row of the state that shows this observation; a state not met before gets the next row."""

    @abstractmethod
    def action_at(self, h: int, row: int, u: float) -> int:
        """The present policy's action in a state that was met; u is uniform in [0, 1), for what is drawn."""

    @abstractmethod
    def add_episode(self, steps: list[Step]) -> None:
        """Add what an episode brought to the statistics."""

    @abstractmethod
    def new_policy(self) -> None:
        """Fix the policy of the next episode; after loading, the same policy must follow from what was loaded."""

    @abstractmethod
    def worth(self) -> tuple[float, ...]:
        """Exact expected totals of the signals under the present policy: its return, and its cost if there is one."""

    @abstractmethod
    def yardstick(self) -> float:
        """The optimal value that regrets are measured against."""

    @abstractmethod
    def statistics_memory(self) -> dict[str, Any]:
        """All that was learnt, as :meth:`Agent.memory` has it."""

    @abstractmethod
    def remember_statistics(self, memory: Mapping[str, Any]) -> None:
        """Take over what :meth:`statistics_memory` returned."""

    @abstractmethod
    def known_counts(self) -> IntArray:
        """Number of states (H,) that have rows at each stage."""

    def signals(self, reward: float, info: Mapping[str, Any]) -> tuple[float, ...]:
        """What is learnt of a step; the reward, unless a subclass learns more."""
        return (reward,)

    @property
    def budget(self) -> float | None:
        """What an episode may cost, where there is such a constraint."""
        return None

    @property
    @final
    def record(self) -> LearningRecord:
        """Exact values of the policies of all episodes begun so far.

        Raises:
            AgentError: The agent was made with ``record=False``.
        """
        if not self._records:
            raise AgentError("nothing was recorded; make the agent with record=True")
        worth = _table(self._worth, 1 if self.budget is None else 2)
        costs = None if self.budget is None else worth[:, 1]
        return LearningRecord(worth[:, 0], self.yardstick(), costs, self.budget)

    @final
    def memory(self) -> dict[str, Any]:
        """What the problem was, statistics, steps of an unfinished episode, the record and the generators' states."""
        return {
            "problem": self._problem(),
            "statistics": self.statistics_memory(),
            "pending": np.array([step[:4] for step in self._pending], dtype=np.int64).reshape(-1, 4),
            "pending_signals": _table([step.signals for step in self._pending], 1),
            "worth": _table(self._worth, 1),
            "steps": self.steps,
            "episodes": self.episodes,
            "play": self._play.bit_generator.state,
            "rng": self.rng.bit_generator.state,
        }

    @final
    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over what :meth:`memory` returned, and fix the policy again that was fixed then.

        Raises:
            AgentError: It was learnt in another problem than this agent's, as far as that shows.
        """
        self._require_problem(memory["problem"])
        self.remember_statistics(memory["statistics"])
        signals = cast("list[list[float]]", memory["pending_signals"].tolist())
        places = cast("list[list[int]]", memory["pending"].tolist())
        _require_places(memory["pending"], self.known_counts(), int(cast("spaces.Discrete", self.action_space).n))
        self._pending = [
            Step(h, row, a, next_row, tuple(seen)) for (h, row, a, next_row), seen in zip(places, signals, strict=True)
        ]
        self._worth = [tuple(row) for row in cast("list[list[float]]", memory["worth"].tolist())]
        self.steps = whole_number("steps", memory["steps"], 0)
        self.episodes = whole_number("episodes", memory["episodes"], 0)
        self._play.bit_generator.state = memory["play"]
        self.rng.bit_generator.state = memory["rng"]
        self._at = None
        self.new_policy()

    def _problem(self) -> dict[str, float | None]:
        """What tells problems with equal spaces apart; the optimum only where the model's law may be read."""
        return {"budget": self.budget, "optimal value": self.yardstick() if self._records else None}

    def _require_problem(self, learnt_in: Mapping[str, float | None]) -> None:
        for name, here in self._problem().items():
            there = learnt_in[name]
            if (there is None) != (here is None) or not np.isclose(there or 0.0, here or 0.0, rtol=1e-9, atol=1e-12):
                raise AgentError(
                    f"it was learnt where the {name} is {there}, and here it is {here}: its record would be false; "
                    "make the same environment (the same mdp_seed), and the agent with the same record"
                )

    @final
    def take_step(self) -> None:
        """One step, after a reset where no episode is under way."""
        h, row = self._begin() if self._at is None else self._at
        action = self.action_at(h, row, self._play.random())
        observation, reward, terminated, truncated, info = self._env.step(action)
        later = None if terminated else self.locate(observation)
        signals = self.signals(float(reward), info)
        self._pending.append(Step(h, row, action, -1 if later is None else later[1], signals))
        self._at = later
        if terminated or truncated:
            self._end()

    def _begin(self) -> tuple[int, int]:
        """Begin an episode, and end one that was saved before its end."""
        if self._pending:
            self._end()
        observation, _ = self._env.reset(seed=int(self._play.integers(2**31)))
        self.episodes += 1
        if self._records:
            self._worth.append(self.worth())
        return self.locate(observation)

    def _end(self) -> None:
        self.add_episode(self._pending)
        self._pending, self._at = [], None
        self.new_policy()


def require_constants(constants: object) -> str:
    """The name of a choice of constants.

    Raises:
        AgentError: It is none.
    """
    if constants not in CONSTANTS:
        raise AgentError(f"constants is {constants!r}; pass {' or '.join(map(repr, CONSTANTS))}")
    return cast("str", constants)


def require_scale(scale: object, constants: str, practical: float) -> float:
    """What the bonuses of the theory are multiplied by: ``scale`` if one is given, else what ``constants`` stands for.

    Raises:
        AgentError: It is negative.
    """
    if scale is None:
        return 1.0 if constants == "theory" else practical
    if not (number := real_number("scale", scale)) >= 0.0:
        raise AgentError(f"scale is {number}; it must be at least 0")
    return number


def require_delta(delta: object) -> float:
    """A probability of failure in (0, 1).

    Raises:
        AgentError: It is none.
    """
    if not 0.0 < (number := real_number("delta", delta)) < 1.0:
        raise AgentError(f"delta is {number}; a probability of failure lies strictly between 0 and 1")
    return number


def require_range(name: str, value: float, low: float, high: float, remedy: str) -> float:
    """A signal within its range.

    Raises:
        AgentError: It lies outside.
    """
    if not low - REWARD_TOLERANCE <= value <= high + REWARD_TOLERANCE:
        raise AgentError(f"a step showed the {name} {value:.6g}, outside [{low:g}, {high:g}]; {remedy}")
    return value


def _table(rows: list[tuple[float, ...]], width: int) -> FloatArray:
    """Rows of equal length as an array; of this width where there are none."""
    return np.array(rows, dtype=np.float64) if rows else np.zeros((0, width))


def _require_places(places: IntArray, counts: IntArray, n_actions: int) -> None:
    """Raise unless the steps (m, 4) of an unfinished episode, read from a file, are between states that there are."""
    later = np.append(counts[1:], 0)
    h = places[:, 0]
    is_stage = (h >= 0) & (h < counts.size)
    most = np.stack(
        [np.where(is_stage, counts[h % counts.size], 0), np.full(h.size, n_actions), later[h % counts.size]]
    )
    if not is_stage.all() or (places[:, 1:3] < 0).any() or (places[:, 3] < -1).any() or (places[:, 1:] >= most.T).any():
        raise AgentError("the steps of the unfinished episode are between states that there are not")


def draw(law: FloatArray, u: float) -> int:
    """The action at which the cumulative law passes u in [0, 1)."""
    masses = cast("list[float]", law.tolist())
    threshold, total, last = u * sum(masses), 0.0, 0
    for a, mass in enumerate(masses):
        if mass > 0.0:
            total, last = total + mass, a
            if threshold < total:
                break
    return last
