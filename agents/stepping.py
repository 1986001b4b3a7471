"""Agents that learn one environment step at a time."""

from abc import abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Self, final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .base import DiscreteAgent, Space, require_callback, require_steps


class SteppingAgent(DiscreteAgent):
    """An agent to whom learning n steps is n times learning one. Subclasses say what one step is.

    Attributes:
        steps: Environment steps taken so far.
    """

    def __init__(self, observation_space: Space, action_space: Space, seed: int) -> None:
        super().__init__(observation_space, action_space, seed)
        self.steps = 0

    @abstractmethod
    def take_step(self) -> None:
        """Take one environment step, and learn from it."""

    @final
    def learn(self, total_timesteps: int, callback: Any = None, progress_bar: bool = False) -> Self:
        """Take that many more steps; learning twice is learning once, twice as long."""
        n, call = require_steps(total_timesteps), require_callback(callback)
        with _progress(type(self).__name__, n, progress_bar) as turns:
            for _ in turns:
                self.take_step()
                self.steps += 1
                if call is not None and call(self, self.steps) is False:
                    break
        if n == 0 and call is not None:
            call(self, self.steps)
        return self


def step_bars() -> Progress:
    """Bars that count environment steps on the terminal and tell the time that remains."""
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def _progress(name: str, total: int, is_shown: bool) -> Generator[Iterator[int]]:
    """range(total), with a bar on the terminal if one is wanted."""
    if not is_shown:
        yield iter(range(total))
        return
    with step_bars() as bars:
        yield iter(bars.track(range(total), description=name))
