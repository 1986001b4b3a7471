"""Pictures of the matrix game played in a state, drawn with numpy alone.

On the left q* as a heat map, with mu along its rows and nu along its columns; on the right the value, the state as the
game's module describes it, and the equilibrium in numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .game_looks import Board, Look
from .pictures import (
    FIRST,
    HERE,
    INK,
    LINE,
    OTHER,
    PAPER,
    QUIET,
    SECOND,
    Colour,
    Image,
    colours,
    text_width,
    unit_interval,
    write,
)

FloatArray = NDArray[np.float64]

HEIGHT: Final = 460
WIDTH: Final = 880

LISTED = 10
"""Actions of each player listed in numbers."""

MARGIN = 24
MATRIX_TOP, MATRIX_LEFT, MATRIX_HEIGHT, MATRIX_WIDTH = 162, 160, 232, 340
LONGEST_BAR = 52  # pixels of probability one
PANEL_LEFT, PANEL_RIGHT, PANEL_BOTTOM = 530, WIDTH - MARGIN, HEIGHT - 28
SMALLEST_SQUARE, LARGEST_SQUARE = 5, 40
LINED = 8  # pixels of the smallest cell that bears a line around it
COLUMN = 150  # pixels of a player's list
PLAYERS = (FIRST, SECOND)


@dataclass(frozen=True, slots=True, eq=False)
class StageGame:
    """What is played in a state, and what it looks like.

    Attributes:
        look: The state, and what its actions are called.
        payoffs: q*(s, a, b), (A, B) over the actions available.
        mu: Equilibrium policy (A,) of player_0.
        nu: Equilibrium policy (B,) of player_1.
        value: v*(s).
    """

    look: Look
    payoffs: FloatArray
    mu: FloatArray
    nu: FloatArray
    value: float


def picture(captions: Sequence[str], stage: StageGame | None) -> Image:
    """Captions, and under them a stage game, as an image (460, 880, 3); without one the last caption stands there."""
    image = np.full((HEIGHT, WIDTH, 3), PAPER, dtype=np.uint8)
    for i, caption in enumerate(captions if stage else captions[:-1]):
        write(image, 20 + 24 * i, MARGIN, caption, INK)
    if stage is None:
        _write_centred(image, HEIGHT // 2, WIDTH // 2, captions[-1], INK, 3)
    else:
        rows, columns = (
            _edges(size, count) for size, count in zip((MATRIX_HEIGHT, MATRIX_WIDTH), stage.payoffs.shape, strict=True)
        )
        _draw_matrix(image, stage.payoffs, rows, columns)
        _draw_policies(image, stage, rows, columns)
        _draw_names(image, stage.look, rows, columns)
        _draw_scale(image, stage.payoffs)
        _draw_panel(image, stage)
    return image


def numbers(payoffs: FloatArray, digits: int) -> list[list[str]]:
    """Payoffs to so many digits of the largest, or to as many as tell the smallest from the largest and two more.

    All have as many decimals as one of them needs.
    """
    largest, spread = float(np.abs(payoffs).max()), float(np.ptp(payoffs))
    if spread > 0:
        digits = max(digits, ceil(log10(largest / spread)) + 2)
    if not 1e-4 <= largest < 1e7:
        return [[f"{q:.{digits}g}" for q in row] for row in payoffs]
    decimals = max(digits - 1 - floor(log10(largest)), 0)
    needed = max(len(f"{q:.{decimals}f}".rstrip("0").partition(".")[2]) for q in payoffs.flat)
    return [[f"{q:.{needed}f}" for q in row] for row in payoffs.round(decimals) + 0.0]  # + 0.0 turns -0 into 0


def _edges(size: int, count: int) -> list[int]:
    """Where each of ``count`` cells begins on so many pixels, and where the last one ends."""
    return [round(size * i / count) for i in range(count + 1)]


def _cells(edges: list[int]) -> NDArray[np.intp]:
    """The cell of each pixel."""
    return np.searchsorted(edges, np.arange(edges[-1]), side="right") - 1


def _span(edges: list[int], i: int) -> slice:
    """The pixels of the bar beside cell i: one at least, with a gap on either side where there is room."""
    begin, end = edges[i], max(edges[i] + 1, edges[i + 1])
    return slice(begin + 2, end - 3) if end - begin >= LINED else slice(begin, end)


def _draw_matrix(image: Image, payoffs: FloatArray, rows: list[int], columns: list[int]) -> None:
    """q* as a heat map, with numbers if all of them fit."""
    shares = unit_interval(payoffs)
    matrix = image[MATRIX_TOP : MATRIX_TOP + MATRIX_HEIGHT, MATRIX_LEFT : MATRIX_LEFT + MATRIX_WIDTH]
    matrix[:] = colours(shares[np.ix_(_cells(rows), _cells(columns))])
    for edges, lines in ((rows, matrix), (columns, matrix.swapaxes(0, 1))):
        if edges[1] >= LINED:
            lines[np.array(edges[1:]) - 1] = PAPER
    if not _fitting(["0"], columns, rows):
        return
    texts = [[_brief(q) for q in row] for row in numbers(payoffs, 3)]
    if scale := _fitting([text for row in texts for text in row], columns, rows):
        for (a, b), share in np.ndenumerate(shares):
            middle, centre = (rows[a] + rows[a + 1]) // 2, (columns[b] + columns[b + 1]) // 2
            _write_centred(matrix, middle, centre, texts[a][b], INK if share > 0.6 else PAPER, scale)


def _brief(number: str) -> str:
    """.25 for 0.25, and 0 for 0.00."""
    if float(number) == 0:
        return "0"
    return number.replace("0.", ".", 1) if number.startswith(("0.", "-0.")) else number


def _fitting(texts: Sequence[str], columns: list[int], rows: list[int]) -> int:
    """The larger of the two sizes of type in which every text fits into every cell, or 0."""
    width, height = (min(b - a for a, b in pairwise(edges)) for edges in (columns, rows))
    for scale in (2, 1):
        if max(text_width(text, scale) for text in texts) <= width - 4 and 7 * scale <= height - 4:
            return scale
    return 0


def _write_centred(image: Image, middle: int, centre: int, text: str, colour: Colour, scale: int) -> None:
    write(image, middle - 7 * scale // 2, centre - text_width(text, scale) // 2, text, colour, scale)


def _draw_policies(image: Image, stage: StageGame, rows: list[int], columns: list[int]) -> None:
    """mu as bars to the left of the rows, nu as bars above the columns; the more likely, the longer."""
    right, bottom = MATRIX_LEFT - 6, MATRIX_TOP - 6
    write(image, bottom - 14, right - LONGEST_BAR, "mu", FIRST)
    write(image, bottom - LONGEST_BAR, right - 22, "nu", SECOND)
    beside = image[MATRIX_TOP : MATRIX_TOP + MATRIX_HEIGHT]
    for a, probability in enumerate(stage.mu):
        beside[_span(rows, a), right - _bar(probability) : right] = FIRST if probability else OTHER
    above = image[:, MATRIX_LEFT : MATRIX_LEFT + MATRIX_WIDTH]
    for b, probability in enumerate(stage.nu):
        above[bottom - _bar(probability) : bottom, _span(columns, b)] = SECOND if probability else OTHER


def _bar(probability: float) -> int:
    return max(1, round(LONGEST_BAR * probability))


def _draw_names(image: Image, look: Look, rows: list[int], columns: list[int]) -> None:
    """The actions beside the bars, where all of a player's fit."""
    width = MATRIX_LEFT - LONGEST_BAR - 16 - MARGIN
    names_0, names_1 = _distinct(look.actions_0), _distinct(look.actions_1)
    if scale := _fitting(names_0, [0, width + 4], rows):
        for a, name in enumerate(names_0):
            left = MARGIN + width - text_width(name, scale)
            write(image, MATRIX_TOP + (rows[a] + rows[a + 1] - 7 * scale) // 2, left, name, INK, scale)
    if scale := _fitting(names_1, columns, [0, 20]):
        for b, name in enumerate(names_1):
            centre = MATRIX_LEFT + (columns[b] + columns[b + 1]) // 2
            _write_centred(image, MATRIX_TOP - LONGEST_BAR - 20, centre, name, INK, scale)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names without their first word if that is the same for all."""
    words = [name.partition(" ") for name in names]
    return [rest or first for first, _, rest in words] if len({first for first, _, _ in words}) == 1 else list(names)


def _draw_scale(image: Image, payoffs: FloatArray) -> None:
    """The colours of q*, from its smallest to its largest entry."""
    top, right = MATRIX_TOP + MATRIX_HEIGHT + 8, MATRIX_LEFT + MATRIX_WIDTH
    ((low, high),) = numbers(np.array([[payoffs.min(), payoffs.max()]]), 4)
    if payoffs.min() == payoffs.max():
        write(image, top + 12, MATRIX_LEFT, f"q* = {low} everywhere", QUIET)
        return
    image[top : top + 6, MATRIX_LEFT:right] = colours(np.linspace(0.0, 1.0, MATRIX_WIDTH))
    write(image, top + 12, MATRIX_LEFT, low, QUIET)
    write(image, top + 12, right - text_width(high), high, QUIET)
    _write_centred(image, top + 19, (MATRIX_LEFT + right) // 2, "q*", QUIET, 2)


def _draw_panel(image: Image, stage: StageGame) -> None:
    """The value, the state, and the equilibrium in numbers."""
    look, top = stage.look, 84
    for line in (f"v*(s) = {stage.value:.5g}", *look.facts):
        write(image, top, PANEL_LEFT, line, INK)
        top += 22
    lines = max(min(count, LISTED) + (count > LISTED) for count in stage.payoffs.shape)
    list_top = PANEL_BOTTOM - 24 - 18 * lines if look.board else MATRIX_TOP
    _draw_board(image[top + 4 : list_top - 14, PANEL_LEFT:PANEL_RIGHT], look.board, look.rows)
    for player, (names, policy) in enumerate(((look.actions_0, stage.mu), (look.actions_1, stage.nu))):
        left = PANEL_RIGHT - COLUMN if player else PANEL_LEFT
        write(image, list_top, left, f"player {player}", PLAYERS[player])
        for a, probability in enumerate(policy[:LISTED]):
            colour = INK if probability else QUIET
            number = f"{probability:.3f}"
            write(image, list_top + 24 + 18 * a, left, names[a][:7], colour)  # as much as there is room for
            write(image, list_top + 24 + 18 * a, left + COLUMN - text_width(number), number, colour)
        if len(policy) > LISTED:
            write(image, list_top + 24 + 18 * LISTED, left, f"... {len(policy) - LISTED:,} more", QUIET)


def _draw_board(area: Image, board: Board, names: Sequence[str]) -> None:
    """The squares of a state in the upper left of an area, as large as there is room; nothing if they would be tiny."""
    if not board:
        return
    margin = max((text_width(name) + 12 for name in names), default=0)
    size = min((area.shape[0] - 1) // len(board), (area.shape[1] - margin - 1) // len(board[0]), LARGEST_SQUARE)
    if size < SMALLEST_SQUARE:
        return
    area[: size * len(board) + 1, margin : margin + size * len(board[0]) + 1] = LINE
    for i, name in enumerate(names):
        write(area, size * i + (size - 14) // 2, 0, name, QUIET)
    for i, row in enumerate(board):
        for j, square in enumerate(row):
            cell = area[size * i + 1 : size * (i + 1), margin + size * j + 1 : margin + size * (j + 1)]
            _draw_square(cell, square.text, None if square.player is None else PLAYERS[square.player], square.marked)


def _draw_square(cell: Image, text: str, colour: Colour | None, marked: bool) -> None:
    size, fill = len(cell), colour or (QUIET if text else PAPER)
    cell[:] = HERE if marked else fill
    cell[3:-3, 3:-3] = fill
    scale = 2 if text_width(text) <= size - 8 and size >= 22 else 1
    if text_width(text, scale) <= size - 2 and 7 * scale <= size - 2:
        _write_centred(cell, size // 2, size // 2, text, PAPER, scale)
