"""Records of training episodes: stable-baselines3's ``monitor.csv``, and what it takes to go on in the middle of one.

An episode of a Gymnasium environment is a function of its seed and its actions. :class:`TrainingMonitor` begins every
episode from a seed of its own and keeps the actions, so that an environment made anew can be brought to where another
one stood, by playing the unfinished episode again; nothing of the environment itself has to be written. What it shows
at the end must be what was shown before, or it says so.

Agents that begin their episodes from seeds of their own (every agent of this package that is not one of
stable-baselines3) begin a new one after loading, as their documentation says; for these nothing is played again.
"""

# stable-baselines3 leaves many of its types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, final

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.monitor import Monitor, ResultsWriter

from ..agents import AgentError

RECENT = 100
"""Episodes whose mean is logged, as stable-baselines3's ``stats_window_size``."""


class Recorder(Protocol):
    """What records the episodes of one environment."""

    recent: deque[tuple[float, int]]
    """Return and length of the last episodes."""

    def write_to(self, path: Path, env_id: str) -> None:
        """Write the episodes that end from now on to a file, after those it holds already."""
        ...

    def position(self) -> dict[str, Any]:
        """Where the environment stands, as arrays and plain values."""
        ...

    def resume(self, position: Mapping[str, Any], continues: bool) -> None:
        """Go on from what :meth:`position` of another one returned; ``continues`` its episode, or begin the next."""
        ...


@final
class TrainingMonitor(Monitor[Any, Any]):
    """stable-baselines3's Monitor whose episodes can be gone on with.

    Args:
        env: The environment.
        seed: Seed of the run; a reset without a seed gets one from it, ``index`` and the number of the episode.
        index: Which of several environments this is.
    """

    def __init__(self, env: gym.Env[Any, Any], seed: int, index: int) -> None:
        super().__init__(env)
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._origin = (seed, index)
        self._episode, self._episode_seed = 0, 0
        self._actions: list[Any] = []
        self._shown: Any = None
        self._continued: Mapping[str, Any] | None = None

    def write_to(self, path: Path, env_id: str) -> None:
        """See :class:`Recorder`."""
        self.results_writer, self.t_start = _results_writer(path, env_id)

    def reset(  # pyright: ignore[reportIncompatibleMethodOverride] - stable-baselines3's also takes any keyword
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the first time after :meth:`resume`, play the unfinished one again.

        Raises:
            AgentError: The environment does not show what it showed before.
        """
        if self._continued is not None:
            return self._play_again()
        self._episode += 1
        drawn = np.random.SeedSequence((*self._origin, self._episode)).generate_state(1)[0] >> 1
        self._episode_seed, self._actions = int(drawn) if seed is None else seed, []
        self._shown, info = super().reset(seed=self._episode_seed, options=options)
        return self._shown, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, remembered."""
        self._actions.append(np.array(action))
        result = super().step(action)
        self._shown = result[0]
        if result[2] or result[3]:
            self.recent.append((result[4]["episode"]["r"], result[4]["episode"]["l"]))
        return result

    def position(self) -> dict[str, Any]:
        """Episode, its seed, its actions so far, what is shown now, and the last episodes."""
        return {
            "episode": self._episode,
            "seed": self._episode_seed,
            "actions": np.array(self._actions),
            "shown": _as_arrays(self._shown),
            "recent": _as_table(self.recent),
        }

    def resume(self, position: Mapping[str, Any], continues: bool) -> None:
        """See :class:`Recorder`."""
        self._episode = int(position["episode"])
        self.recent.extend(_from_table(position["recent"]))
        self._continued = position if continues and self._episode else None

    def _play_again(self) -> tuple[Any, dict[str, Any]]:
        position, self._continued = cast("Mapping[str, Any]", self._continued), None
        self._episode -= 1
        shown, info = self.reset(seed=int(position["seed"]))
        for action in position["actions"]:
            shown, _, _, _, info = self.step(action)
        if not data_equivalence(_as_arrays(shown), position["shown"]):
            raise AgentError(
                f"{self.unwrapped} does not repeat an episode from its seed and actions, so training cannot be gone on "
                "with from a checkpoint; train with a checkpoint frequency of at least total_timesteps"
            )
        return shown, info


@final
class GameMonitor(BaseParallelWrapper[str, Any, Any]):
    """The same record of a game of PettingZoo, returns being those of one side; agents of games seed their episodes.

    Args:
        env: The game.
        side: Whose returns are written.
    """

    def __init__(self, env: ParallelEnv[str, Any, Any], side: str) -> None:
        super().__init__(env)
        self.recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self.side = side
        self._rewards: list[float] = []
        self._writer: ResultsWriter | None = None
        self._began = time.time()

    def write_to(self, path: Path, env_id: str) -> None:
        """See :class:`Recorder`."""
        self._writer, self._began = _results_writer(path, env_id)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        self._rewards = []
        return super().reset(seed=seed, options=options)

    def step(self, actions: dict[str, Any]) -> Any:
        """One joint move, remembered."""
        result = super().step(actions)
        self._rewards.append(float(result[1].get(self.side, 0.0)))
        if not self.env.agents:
            self.recent.append((round(sum(self._rewards), 6), len(self._rewards)))
            if self._writer is not None:
                r, length = self.recent[-1]
                self._writer.write_row({"r": r, "l": length, "t": round(time.time() - self._began, 6)})
        return result

    def close(self) -> None:
        """Close the game and the file."""
        super().close()
        if self._writer is not None:
            self._writer.close()

    def position(self) -> dict[str, Any]:
        """The last episodes."""
        return {"recent": _as_table(self.recent)}

    def resume(self, position: Mapping[str, Any], continues: bool) -> None:
        """See :class:`Recorder`; the next episode begins anew."""
        self.recent.extend(_from_table(position["recent"]))


@final
class NotedCallback(CallbackList):
    """A callback of stable-baselines3 that is heard of when it ends the training.

    Args:
        callback: The callback.
        stop: Called when it does.
    """

    def __init__(self, callback: BaseCallback, stop: Callable[[], None]) -> None:
        super().__init__([callback])
        self._stop = stop

    def _on_step(self) -> bool:
        goes_on = super()._on_step()
        if not goes_on:
            self._stop()
        return goes_on


def monitor_names(n_envs: int) -> list[str]:
    """The files of so many environments, as stable-baselines3's ``load_results`` finds them."""
    return ["monitor.csv"] if n_envs == 1 else [f"{i}.monitor.csv" for i in range(n_envs)]


def _results_writer(path: Path, env_id: str) -> tuple[ResultsWriter, float]:
    """A writer at the end of a file, begun if it is not there, and when the file was begun."""
    if path.exists():
        with path.open() as file:
            began = float(json.loads(file.readline().removeprefix("#"))["t_start"])
        return ResultsWriter(str(path), override_existing=False), began
    began = time.time()
    return ResultsWriter(str(path), header={"t_start": began, "env_id": env_id}), began


def _as_table(episodes: Sequence[tuple[float, int]] | deque[tuple[float, int]]) -> Any:
    return np.array(list(episodes), dtype=np.float64).reshape(-1, 2)


def _from_table(table: Any) -> list[tuple[float, int]]:
    return [(r, int(length)) for r, length in table.tolist()]


def _as_arrays(shown: Any) -> Any:
    """An observation as arrays that a file can hold."""
    if isinstance(shown, Mapping):
        return {key: _as_arrays(part) for key, part in shown.items()}
    return None if shown is None else np.array(shown)
