"""What a moment of a Markov game looks like: the state, and the matrix game played there, with its equilibrium.

In state s the players play, knowing it or not, the matrix game

    q*(s, a, b) = r(s, a, b) + gamma sum_s' P(s' | s, a, b) v*(s'),

whose value is v*(s) (Shapley 1953). The drawing shows that matrix, rows for player_0 and columns for player_1, and the
equilibrium (mu, nu) along its sides; the text shows the same in numbers. The state itself and the actions look as the
game's module says (:mod:`~lookahead_rl.envs.game_looks`).
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..models import LinearMarkovGame
from ..solvers import solve_matrix_games
from .game_looks import Board, Look, Looks, numbered
from .game_observations import Game, action_counts, joint_shape
from .game_pictures import LISTED, StageGame, numbers, picture
from .rendering import Frame, Scene

FloatArray = NDArray[np.float64]

NEGLIGIBLE = 1e-7
"""Differences of q* by so little, compared with the largest value of the game, are taken for rounding."""

WIDEST_BOARD = 80  # characters in the text


@final
class GameRenderer:
    """Draws scenes of one game.

    Args:
        game: The game.
        solution: Its exact solution.
        looks: What its states look like; None: their numbers.
    """

    def __init__(self, game: Game, solution: Any, looks: Looks | None = None) -> None:
        self._game, self._solution, self._looks = game, solution, looks

    def draw(self, mode: str, scene: Scene) -> Frame:
        """The scene as text (``"ansi"``) or as an image (uint8, always of one size)."""
        captions = self._captions(scene)
        stage = None if self._is_over(scene.code) else self._stage(scene.code)
        return describe(captions, stage) if mode == "ansi" else picture(captions, stage)

    def _is_over(self, state: int) -> bool:
        return not isinstance(self._game, LinearMarkovGame) and bool(self._game.terminal[state])

    def _stage(self, state: int) -> StageGame:
        payoffs = stage_payoffs(self._game, self._solution, state)
        values, mu, nu, _ = solve_matrix_games(payoffs[None])
        value = settled(values, float(np.abs(payoffs).max()))
        return StageGame(self._look(state), payoffs, mu[0], nu[0], float(value[0]))

    def _look(self, state: int) -> Look:
        if self._looks is None or self._is_over(state):
            return numbered(*action_counts(self._game, state))
        return self._looks(state)

    def _captions(self, scene: Scene) -> tuple[str, ...]:
        over = self._is_over(scene.code)
        cycle = f"after cycle {scene.steps}" if over else f"cycle {scene.steps + 1}"
        where = f"state {scene.code:,} of {self._game.n_states:,}   {cycle}"
        if scene.before is None:
            return where, "the episode is over" if over else "the episode begins"
        before, joint, reward = scene.before
        a, b = divmod(joint, joint_shape(self._game)[1])
        look = self._look(before)
        actions = f"played {look.actions_0[a]} against {look.actions_1[b]}"
        played = f"{actions}   reward {reward:+.4g}   return {scene.total:.5g}"
        return (where, played, "the episode is over") if over else (where, played)


def stage_payoffs(game: Game, solution: Any, state: int) -> FloatArray:
    """q*(s, a, b) over the actions available in a state, at a cost that does not grow with the number of states.

    Entries that differ by rounding only are made equal, so that nothing is drawn that is not there.
    """
    A, B = action_counts(game, state)
    if isinstance(game, LinearMarkovGame):
        q = game.phi(np.array([state]))[0] @ solution.weights
        return settled(q, float(np.abs(q).max()))
    most_0, most_1 = game.r.shape[1:]
    first = state * most_0 * most_1
    expected = game.P_rows[first : first + most_0 * most_1] @ solution.value
    q = (game.r[state] + game.gamma * expected.reshape(most_0, most_1))[:A, :B]
    return settled(q, max(float(np.abs(solution.value).max()), float(np.abs(q).max())))


def settled(payoffs: FloatArray, scale: float) -> FloatArray:
    """Payoffs without differences from each other, and from 0, that are negligible on this scale."""
    if np.ptp(payoffs) <= NEGLIGIBLE * scale:
        payoffs = np.full_like(payoffs, payoffs.mean())
    return np.where(np.abs(payoffs) <= NEGLIGIBLE * scale, 0.0, payoffs)


def describe(captions: Sequence[str], stage: StageGame | None) -> str:
    """Captions, and under them a stage game if there is one, as lines of text."""
    lines = list(captions)
    if stage is not None:
        shown = [*_board(stage.look.board, stage.look.rows), *stage.look.facts]
        lines += [*([""] if shown else []), *shown, "", *_matrix(stage)]
    return "\n".join(lines) + "\n"


def _board(board: Board, names: Sequence[str]) -> list[str]:
    """The rows of a board, marked squares in brackets; none if they would be too long."""
    size = max((len(square.text) for row in board for square in row), default=0)
    labels = [f"{name}  " for name in names] or [""] * len(board)
    margin = max(map(len, labels), default=0)
    rows = [
        f"{label:<{margin}}"
        + "".join(f"{'[' if s.marked else ' '}{s.text or '.':>{size}}{']' if s.marked else ' '}" for s in row)
        for label, row in zip(labels, board, strict=True)
    ]
    return [row.rstrip() for row in rows] if max(map(len, rows), default=0) <= WIDEST_BOARD else []


def _matrix(stage: StageGame) -> list[str]:
    """The matrix game in numbers, its first rows and columns."""
    n_rows, n_columns = stage.payoffs.shape
    rows, columns = min(n_rows, LISTED), min(n_columns, LISTED)
    more_rows, more_columns = ["..."] * (rows < n_rows), ["..."] * (columns < n_columns)
    left_out = [f"  (the first {rows} by {columns} of {n_rows} by {n_columns} actions)"] * any(more_rows + more_columns)
    names_0, names_1 = list(stage.look.actions_0[:rows]), list(stage.look.actions_1[:columns])
    entries = numbers(stage.payoffs[:rows, :columns], 4)
    wide = 2 + max(map(len, [*names_1, "0.000", *(entry for row in entries for entry in row)]))
    first = max(map(len, [*names_0, *more_rows, "nu"]))

    def line(name: str, probability: str, cells: list[str]) -> str:
        return f"  {name:>{first}}  {probability:>5}  {''.join(f'{cell:>{wide}}' for cell in cells)}".rstrip()

    return [
        f"v*(s) = {stage.value:.6g}, the value of the game q*(s, a, b) with equilibrium mu, nu:",
        "",
        line("", "", names_1 + more_columns),
        line("", "mu/nu", [f"{p:.3f}" for p in stage.nu[:columns]] + more_columns),
        *(line(name, f"{p:.3f}", row + more_columns) for name, p, row in zip(names_0, stage.mu, entries, strict=False)),
        *(line(more, "...", []) for more in more_rows),
        *left_out,
    ]
