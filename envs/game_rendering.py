"""What a moment of a Markov game looks like: the matrix game played now, with its equilibrium.

In state s the players play, knowing it or not, the matrix game

    q*(s, a, b) = r(s, a, b) + gamma sum_s' P(s' | s, a, b) v*(s'),

whose value is v*(s) (Shapley 1953). The drawing shows that matrix, rows for player_0 and columns for player_1, and the
equilibrium (mu, nu) along its sides; the text shows the same in numbers.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..models import LinearMarkovGame
from ..solvers import solve_matrix_games
from .game_observations import Game, action_counts, joint_shape
from .pictures import BEST, HEIGHT, INK, OTHER, PAPER, QUIET, WIDTH, Image, colours, text_width, unit_interval, write
from .rendering import Frame, Scene

FloatArray = NDArray[np.float64]

MARGIN = 24
BOARD_LEFT, BOARD_TOP, BOARD_SIZE = 130, 134, 240
LONGEST_BAR = 52  # pixels of probability one
PANEL_LEFT = 400
LISTED = 10  # actions of each player listed in numbers


@dataclass(frozen=True, slots=True, eq=False)
class StageGame:
    """What is played in a state, and what to write over it.

    Attributes:
        captions: Lines of text.
        payoffs: q*(s, a, b), (A, B) over the actions available.
        mu: Equilibrium policy (A,) of player_0.
        nu: Equilibrium policy (B,) of player_1.
        value: v*(s).
    """

    captions: tuple[str, str]
    payoffs: FloatArray
    mu: FloatArray
    nu: FloatArray
    value: float


@final
class GameRenderer:
    """Draws scenes of one game.

    Args:
        game: The game.
        solution: Its exact solution.
    """

    def __init__(self, game: Game, solution: Any) -> None:
        self._game, self._solution = game, solution

    def draw(self, mode: str, scene: Scene) -> Frame:
        """The scene as text (``"ansi"``) or as an image (uint8, always of one size)."""
        payoffs = stage_payoffs(self._game, self._solution, scene.code)
        values, mu, nu, _ = solve_matrix_games(payoffs[None])
        stage = StageGame(self._captions(scene), payoffs, mu[0], nu[0], float(values[0]))
        return describe(stage) if mode == "ansi" else picture(stage)

    def _captions(self, scene: Scene) -> tuple[str, str]:
        where = f"state {scene.code:,} of {self._game.n_states:,}   cycle {scene.steps + 1}"
        if scene.before is None:
            return where, "the episode begins"
        _, joint, reward = scene.before
        a, b = divmod(joint, joint_shape(self._game)[1])
        return where, f"played a = {a}, b = {b}   reward {reward:+.4g}   return {scene.total:.5g}"


def stage_payoffs(game: Game, solution: Any, state: int) -> FloatArray:
    """q*(s, a, b) over the actions available in a state, at a cost that does not grow with the number of states."""
    A, B = action_counts(game, state)
    if isinstance(game, LinearMarkovGame):
        return game.phi(np.array([state]))[0] @ solution.weights
    most_0, most_1 = game.r.shape[1:]
    first = state * most_0 * most_1
    expected = game.P_rows[first : first + most_0 * most_1] @ solution.value
    return (game.r[state] + game.gamma * expected.reshape(most_0, most_1))[:A, :B]


def describe(stage: StageGame) -> str:
    """A stage game as lines of text."""
    rows, columns = np.minimum(stage.payoffs.shape, LISTED)
    numbers = [
        f"{f'a={a}':>6}{stage.mu[a]:>9.3f}  " + "".join(f"{q:>10.4g}" for q in stage.payoffs[a, :columns])
        for a in range(rows)
    ]
    lines = [
        *stage.captions,
        f"v*(s) = {stage.value:.6g}, the value of the game q*(s, a, b) with equilibrium mu, nu:",
        "",
        " " * 17 + "".join(f"{f'b={b}':>10}" for b in range(columns)),
        f"{'mu, nu':>15}  " + "".join(f"{p:>10.3f}" for p in stage.nu[:columns]),
        *numbers,
    ]
    if (rows, columns) != stage.payoffs.shape:
        lines.append(f"(the first {rows} by {columns} of {stage.payoffs.shape[0]} by {stage.payoffs.shape[1]} actions)")
    return "\n".join(lines) + "\n"


def picture(stage: StageGame) -> Image:
    """A stage game as an image (420, 680, 3)."""
    image = np.full((HEIGHT, WIDTH, 3), PAPER, dtype=np.uint8)
    for i, caption in enumerate(stage.captions):
        write(image, 20 + 24 * i, MARGIN, caption, INK)
    rows, columns = (_edges(count) for count in stage.payoffs.shape)
    _draw_board(image, stage.payoffs, rows, columns)
    _draw_policies(image, stage, rows, columns)
    _draw_scale(image, stage.payoffs)
    _draw_numbers(image, stage)
    return image


def _edges(count: int) -> list[int]:
    """Where each of ``count`` cells begins on the board, and where the last one ends."""
    return [round(BOARD_SIZE * i / count) for i in range(count + 1)]


def _draw_board(image: Image, payoffs: FloatArray, rows: list[int], columns: list[int]) -> None:
    """q* as a heat map, with numbers if all of them fit."""
    shares, numbers = unit_interval(payoffs), [[f"{q:.4g}" for q in row] for row in payoffs]
    widest, room = max(text_width(number) for row in numbers for number in row), BOARD_SIZE // len(numbers[0]) - 8
    for a, b in np.ndindex(payoffs.shape):
        top, left = BOARD_TOP + rows[a], BOARD_LEFT + columns[b]
        height, width = rows[a + 1] - rows[a], columns[b + 1] - columns[b]
        image[top : top + height - 1, left : left + width - 1] = colours(shares[a, b])
        if widest <= room and height > 20:
            number, ink = numbers[a][b], INK if shares[a, b] > 0.6 else PAPER
            write(image, top + height // 2 - 7, left + (width - text_width(number)) // 2, number, ink)


def _draw_policies(image: Image, stage: StageGame, rows: list[int], columns: list[int]) -> None:
    """mu as bars to the left of the rows, nu as bars above the columns; the more likely, the longer."""
    write(image, BOARD_TOP + BOARD_SIZE // 2 - 7, MARGIN, "mu", QUIET)
    write(image, BOARD_TOP - LONGEST_BAR + 20, MARGIN + 60, "nu", QUIET)
    for a, probability in enumerate(stage.mu):
        top, bottom = BOARD_TOP + rows[a] + 2, BOARD_TOP + rows[a + 1] - 3
        image[top:bottom, BOARD_LEFT - 6 - _bar(probability) : BOARD_LEFT - 6] = BEST if probability else OTHER
    for b, probability in enumerate(stage.nu):
        left, right = BOARD_LEFT + columns[b] + 2, BOARD_LEFT + columns[b + 1] - 3
        image[BOARD_TOP - 6 - _bar(probability) : BOARD_TOP - 6, left:right] = BEST if probability else OTHER


def _bar(probability: float) -> int:
    return max(1, round(LONGEST_BAR * probability))


def _draw_scale(image: Image, payoffs: FloatArray) -> None:
    """The colours of q*, from its smallest to its largest entry."""
    top, right = BOARD_TOP + BOARD_SIZE + 8, BOARD_LEFT + BOARD_SIZE
    image[top : top + 6, BOARD_LEFT:right] = colours(np.linspace(0.0, 1.0, BOARD_SIZE))
    low, high = f"{payoffs.min():.4g}", f"{payoffs.max():.4g}"
    write(image, top + 12, BOARD_LEFT, low, QUIET)
    write(image, top + 12, right - text_width(high), high, QUIET)
    write(image, top + 12, BOARD_LEFT + BOARD_SIZE // 2 - text_width("q*") // 2, "q*", QUIET)


def _draw_numbers(image: Image, stage: StageGame) -> None:
    """The value and the equilibrium in numbers."""
    write(image, BOARD_TOP - 40, PANEL_LEFT, f"v*(s) = {stage.value:.5g}", INK)
    for player, policy in enumerate((stage.mu, stage.nu)):
        left = PANEL_LEFT + 140 * player
        write(image, BOARD_TOP, left, f"player {player}", QUIET)
        for action, probability in enumerate(policy[:LISTED]):
            colour = INK if probability else QUIET
            write(image, BOARD_TOP + 24 + 20 * action, left, f"{action}  {probability:.3f}", colour)
