"""Pictures of a scene, drawn with numpy alone."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .pixel_font import GLYPH_WIDTH, text_mask

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

HEIGHT: Final = 420
WIDTH: Final = 680

_MAP_TOP, _MAP_LEFT, _MAP_SIZE = 60, 24, 304
_PANEL_LEFT, _PANEL_RIGHT = 364, 656
_CHART_TOP, _ROW = 196, 20

PAPER: Colour = (250, 249, 246)
INK: Colour = (38, 40, 48)
QUIET: Colour = (128, 130, 138)
BEST: Colour = (46, 139, 87)
OTHER: Colour = (150, 162, 188)
HERE: Colour = (226, 53, 53)
LINE: Colour = (222, 221, 216)
FIRST: Colour = (44, 105, 176)  # of player_0
SECOND: Colour = (214, 122, 28)  # of player_1
# Evenly spaced colours of viridis, a perceptually uniform colour map (Smith and van der Walt, matplotlib 2015).
_VIRIDIS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Picture:
    """What a picture shows.

    Attributes:
        headline: One line over everything.
        cells: (rows, columns) values of the states on the map; nan where there is none.
        here: Row and column of the current state.
        facts: Lines beside the map.
        chart: Title of the bars.
        actions: The actions that have a bar, at most ten.
        action_values: Their values.
    """

    headline: str
    cells: NDArray[np.float64]
    here: tuple[int, int]
    facts: list[str]
    chart: str
    actions: tuple[int, ...]
    action_values: NDArray[np.float64]


def draw_picture(picture: Picture) -> Image:
    """The picture as an image (420, 680, 3)."""
    image = np.full((HEIGHT, WIDTH, 3), PAPER, dtype=np.uint8)
    fits = text_width(picture.headline) <= _PANEL_RIGHT - _MAP_LEFT
    write(image, 22, _MAP_LEFT, picture.headline, INK, scale=2 if fits else 1)
    _draw_map(image, picture.cells, picture.here)
    _draw_scale(image, picture.cells)
    for i, fact in enumerate(picture.facts):
        write(image, _MAP_TOP + 24 * i, _PANEL_LEFT, fact, INK)
    write(image, _CHART_TOP - 4, _PANEL_LEFT, picture.chart, QUIET)
    _draw_bars(image, picture.actions, picture.action_values)
    return image


def colours(shares: NDArray[np.float64]) -> Image:
    """Colours (..., 3) of numbers in [0, 1]; that of the paper where they are nan."""
    anchors = np.linspace(0.0, 1.0, len(_VIRIDIS))
    channels = [np.interp(np.nan_to_num(shares), anchors, _VIRIDIS[:, c]) for c in range(3)]
    painted = np.stack(channels, axis=-1).astype(np.uint8)
    painted[np.isnan(shares)] = PAPER
    return painted


def unit_interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values moved and scaled to [0, 1]; 1 where all are equal. nan stays nan."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else values * 0.0 + 1.0


def _draw_map(image: Image, cells: NDArray[np.float64], here: tuple[int, int]) -> None:
    rows, columns = cells.shape
    size = _MAP_SIZE // max(rows, columns)
    grid = colours(unit_interval(cells)).repeat(size, axis=0).repeat(size, axis=1)
    if size >= 8:  # a line between cells, where they are large enough to bear it
        grid[size - 1 :: size] = PAPER
        grid[:, size - 1 :: size] = PAPER
    top, left = _MAP_TOP + (_MAP_SIZE - rows * size) // 2, _MAP_LEFT + (_MAP_SIZE - columns * size) // 2
    image[top : top + rows * size, left : left + columns * size] = grid
    _draw_ring(image, top + here[0] * size, left + here[1] * size, size)


def _draw_ring(image: Image, top: int, left: int, size: int) -> None:
    """A frame around a cell; around a tiny one, at a distance from it."""
    margin = max(0, (15 - size) // 2)
    box = image[top - margin : top + size + margin, left - margin : left + size + margin]
    inside = box[4:-4, 4:-4].copy()
    box[:] = PAPER
    box[1:-1, 1:-1] = HERE
    box[4:-4, 4:-4] = inside


def _draw_scale(image: Image, cells: NDArray[np.float64]) -> None:
    """The colours of v*, from its smallest to its largest value on the map."""
    top = _MAP_TOP + _MAP_SIZE + 10
    low, high = f"{np.nanmin(cells):.4g}", f"{np.nanmax(cells):.4g}"
    image[top : top + 8, _MAP_LEFT : _MAP_LEFT + _MAP_SIZE] = colours(np.linspace(0.0, 1.0, _MAP_SIZE))
    write(image, top + 16, _MAP_LEFT, low, QUIET)
    write(image, top + 16, _MAP_LEFT + _MAP_SIZE // 2 - 12, "v*", QUIET)
    write(image, top + 16, _MAP_LEFT + _MAP_SIZE - text_width(high), high, QUIET)


def _draw_bars(image: Image, actions: tuple[int, ...], values: NDArray[np.float64]) -> None:
    """A bar for each action; the shortest is the worst one shown, not zero."""
    left = _PANEL_LEFT + 12 + max(text_width(str(action)) for action in actions)
    longest = _PANEL_RIGHT - text_width("-0.0001234") - 12 - left
    for i, (action, value, share) in enumerate(zip(actions, values, unit_interval(values), strict=True)):
        top = _CHART_TOP + 20 + _ROW * i
        colour = BEST if value == values.max() else OTHER
        write(image, top, left - 12 - text_width(str(action)), str(action), INK)
        image[top : top + 14, left : left + 8 + round((longest - 8) * share)] = colour
        text = f"{value:.4g}"
        write(image, top, _PANEL_RIGHT - text_width(text), text, INK)


def text_width(text: str, scale: int = 2) -> int:
    """Pixels that a line of text takes."""
    return scale * ((GLYPH_WIDTH + 1) * len(text) - 1)


def write(image: Image, top: int, left: int, text: str, colour: Colour, scale: int = 2) -> None:
    """Write a line of text, as far as it fits."""
    mask = text_mask(text).repeat(scale, axis=0).repeat(scale, axis=1)
    region = image[top : top + mask.shape[0], left : left + mask.shape[1]]
    region[mask[: region.shape[0], : region.shape[1]]] = colour
