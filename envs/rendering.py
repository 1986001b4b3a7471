"""What an episode looks like: the state, its value against the optimum, and what the last action cost.

``"ansi"`` is a panel of text, ``"rgb_array"`` an image of fixed size drawn with numpy alone. Both show v* over the
states (over a window of them where there are many), q* of the actions of the current state (of the best of many; in
a large-action MDP of actions with i right digits), and the regret v*(s) - q*(s, a) of the last step: 0 for an
optimal action.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..models import LargeActionMDP, TabularMDP
from .observations import Playable
from .optimum import optimal_action_values, optimal_values, regret, target_action_values
from .pictures import Image, Picture, draw_picture, unit_interval

Frame = str | Image

WINDOW = 10_000
"""States on a map."""

STAGE_MAP = 100
"""A finite horizon of at most so many stages and states is drawn whole, a row for each stage."""

LISTED_ACTIONS = 10
SPARKLINE = 60
EIGHTHS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Scene:
    """One lane at one moment.

    Attributes:
        code: The current state.
        steps: Steps taken in the episode.
        total: Sum of the rewards so far.
        before: State, action (a number, or a list of digits) and reward of the last step; None at the beginning of
            an episode.
    """

    code: int
    steps: int
    total: float
    before: tuple[int, Any, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """Action values to show.

    Attributes:
        title: What the bars are.
        row: How a row of text begins, to be formatted with its number.
        actions: The numbers (n,) of the rows.
        values: Their values (n,).
    """

    title: str
    row: str
    actions: NDArray[np.int64]
    values: NDArray[np.float64]


@final
class Tape:
    """Remembers of every lane what a scene needs.

    Args:
        n_lanes: Number of lanes.
    """

    def __init__(self, n_lanes: int) -> None:
        self._codes = np.zeros(n_lanes, np.int64)
        self._actions = np.zeros(n_lanes, np.int64)
        self._rewards = np.zeros(n_lanes)
        self._totals = np.zeros(n_lanes)
        self._steps = np.zeros(n_lanes, np.int64)

    def begin(self, fresh: NDArray[np.bool_]) -> None:
        """The lanes of this mask begin an episode."""
        self._steps[fresh], self._totals[fresh] = 0, 0.0

    def record(self, codes: NDArray[np.int64], actions: NDArray[np.int64], rewards: NDArray[np.float64]) -> None:
        """Every lane has taken an action in its state and was paid."""
        self._codes[:], self._rewards[:] = codes, rewards
        self._actions = actions.copy()
        self._totals += rewards
        self._steps += 1

    def scenes(self, codes: NDArray[np.int64]) -> Iterator[Scene]:
        """The scenes of all lanes, which are in these states now."""
        for i, code in enumerate(codes.tolist()):
            last = (int(self._codes[i]), self._actions[i].tolist(), float(self._rewards[i]))
            steps = int(self._steps[i])
            yield Scene(code, steps, float(self._totals[i]), last if steps else None)


@final
class Renderer:
    """Draws scenes of one model.

    Args:
        model: The decision process.
        solution: Its exact solution.
    """

    def __init__(self, model: Playable, solution: Any) -> None:
        self._model, self._solution = model, solution

    def draw(self, mode: str, scene: Scene) -> Frame:
        """The scene as text (``"ansi"``) or as an image (uint8, always of one size)."""
        return self._text(scene) if mode == "ansi" else draw_picture(self._picture(scene))

    def _text(self, scene: Scene) -> str:
        first, here = self._window(scene.code, SPARKLINE)
        values = self._values(self._stage(scene.code), first, SPARKLINE)
        chart = self._chart(scene.code)
        lines = [self._headline(scene), *self._facts(scene), ""]
        for a, value, length in zip(chart.actions, chart.values, unit_interval(chart.values), strict=True):
            best = "  best" if value == chart.values.max() else ""
            lines.append(f"{chart.row.format(a)} {'█' * (2 + round(22 * length)):<24} {value:.5g}{best}")
        marks = "".join(EIGHTHS[round(7 * x)] for x in unit_interval(values))
        lines += ["", f"v* {marks}", f"   {' ' * here}^ state {first + here:,}"]
        return "\n".join(lines) + "\n"

    def _picture(self, scene: Scene) -> Picture:
        chart = self._chart(scene.code)
        cells, here = self._map(scene.code)
        return Picture(
            headline=self._headline(scene),
            cells=cells,
            here=here,
            facts=self._facts(scene),
            chart=chart.title,
            actions=tuple(chart.actions.tolist()),
            action_values=chart.values,
        )

    def _headline(self, scene: Scene) -> str:
        text = f"state {self._shown(scene.code):,} of {self._n_shown:,}"
        if isinstance(self._model, TabularMDP):
            return f"{text}  step {scene.steps}"
        return f"{text}  stage {self._stage(scene.code)} of {self._model.horizon}"

    def _facts(self, scene: Scene) -> list[str]:
        value = optimal_values(self._model, self._solution, np.array([scene.code]))[0]
        facts = [f"v*(s)  {value:.5g}", f"return {scene.total:.5g}"]
        if scene.before is None:
            return [*facts, "the episode begins"]
        code, action, reward = scene.before
        played = " ".join(map(str, action)) if isinstance(action, list) else action
        lost = regret(self._model, self._solution, code, action)
        return [*facts, f"action {played}", f"reward {reward:.5g}", f"regret {lost:.5g}"]

    def _chart(self, code: int) -> Chart:
        if isinstance(self._model, LargeActionMDP):
            d = self._model.n_digits
            n_right = np.unique(np.linspace(0, d, min(d + 1, LISTED_ACTIONS)).round().astype(np.int64))
            values = target_action_values(self._model, code, n_right)
            return Chart("q*(s, a), first i digits right", "{:>3} right", n_right, values)
        q = optimal_action_values(self._model, self._solution, code)
        actions = _listed(q)
        title = "q*(s, a)" if len(actions) == q.size else f"q*(s, a), best {len(actions)} of {q.size:,}"
        return Chart(title, "q*(s,{:>3})", actions, q[actions])

    def _map(self, code: int) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """v* on a grid of cells (nan where there is no state), and the current cell."""
        if not isinstance(self._model, TabularMDP) and max(self._n_shown, self._model.horizon) <= STAGE_MAP:
            codes = np.arange((self._model.horizon + 1) * self._model.n_states)
            values = optimal_values(self._model, self._solution, codes)
            return values.reshape(self._model.horizon + 1, -1), (self._stage(code), self._shown(code))
        first, here = self._window(code, WINDOW)
        values = self._values(self._stage(code), first, WINDOW)
        columns = int(np.ceil(np.sqrt(values.size)))
        cells = np.full((-(-values.size // columns), columns), np.nan)
        cells.reshape(-1)[: values.size] = values
        return cells, divmod(here, columns)

    def _window(self, code: int, size: int) -> tuple[int, int]:
        """First state of the window of states shown, and the current state's place in it."""
        s = self._shown(code)
        return s // size * size, s % size

    def _values(self, stage: int, first: int, size: int) -> NDArray[np.float64]:
        """v* at a stage of the states shown from ``first`` on, ``size`` of them at most."""
        shown = np.arange(first, min(first + size, self._n_shown), dtype=np.int64)
        codes = self._originals[shown] if isinstance(self._model, TabularMDP) else stage * self._model.n_states + shown
        return optimal_values(self._model, self._solution, codes)

    def _stage(self, code: int) -> int:
        return code // self._model.n_states

    def _shown(self, code: int) -> int:
        """The state as an agent sees it, without its stage."""
        return (
            int(self._model.observations[code]) if isinstance(self._model, TabularMDP) else code % self._model.n_states
        )

    @property
    def _n_shown(self) -> int:
        return self._model.n_observations if isinstance(self._model, TabularMDP) else self._model.n_states

    @cached_property
    def _originals(self) -> NDArray[np.int64]:
        """For each observation the first state that shows it: twins come behind their originals."""
        assert isinstance(self._model, TabularMDP)
        first = np.zeros(self._model.n_observations, np.int64)
        first[self._model.observations[::-1]] = np.arange(self._model.n_states)[::-1]
        return first


def _listed(q: NDArray[np.float64]) -> NDArray[np.int64]:
    """The actions to list, in order: all of them, or the best where there are many."""
    if q.size <= LISTED_ACTIONS:
        return np.arange(q.size)
    return np.sort(np.argpartition(-q, LISTED_ACTIONS - 1)[:LISTED_ACTIONS])
