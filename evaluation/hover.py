"""Where the numbers of a plot stand, so that whoever points at a curve, a bar or a cell reads them.

A *series* is what a legend names: a labelled line, error bars, scattered points, or labelled bars; a band belongs to
the series that its ``gid`` names. A *target* is an invisible circle or rectangle over one point, bar or cell, with the
numbers as its ``<title>``: browsers show it as it is, and the report's page makes more of it (keyboard, touch,
highlighting). Nothing here knows of pages.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

MOST_POINTS = 80
"""Targets along one line without markers: closer ones could not be told apart."""
MOST_MARKERS = 400
"""Targets of one series of markers."""
MOST_CELLS = 2500
"""Cells of an image with targets; pages of larger ones would grow too heavy."""
RADIUS = 6.0
SMALLEST = 8.0
"""Width or height of the smallest rectangle, in points: bars of no length are to be found too."""

_GROUP = re.compile(r'<g id="(?:(series|key):(\d+)|[^"]*)">')
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """One point (no size) or rectangle, in points from the upper left corner.

    Attributes:
        box: x, y, width, height.
        text: What it shows, a line each.
        series: Number of its series, or None.
    """

    box: tuple[float, float, float, float]
    text: str
    series: int | None

    def element(self) -> str:
        """As SVG."""
        x, y, width, height = self.box
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        shape = f"rect {place}" if width or height else f'circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS:g}"'
        series = "" if self.series is None else f' data-series="{self.series}"'
        title = f"<title>{html.escape(self.text)}</title>"
        return f'<{shape} class="target"{series}>{title}</{shape.partition(" ")[0]}>'


def name_series(figure: "Figure") -> dict[str, int]:
    """Number the series of a painted figure, and mark what belongs to each, so that :func:`with_targets` finds it."""
    numbers: dict[str, int] = {}
    for axes in figure.axes:
        containers = {id(part): box.get_label() for box in axes.containers for part in _parts(box)}
        for artist in (*axes.lines, *axes.patches, *axes.collections):
            name = artist.get_gid() or containers.get(id(artist)) or artist.get_label()
            if not str(name).startswith("_"):
                artist.set_gid(f"series:{numbers.setdefault(str(name), len(numbers))}")
        legend = axes.get_legend()
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True) if legend else ():
            if handle is not None and text.get_text() in numbers:
                handle.set_gid(f"key:{numbers[text.get_text()]}")
                text.set_gid(f"key:{numbers[text.get_text()]}")
    return numbers


def with_targets(svg: str, figure: "Figure", numbers: dict[str, int]) -> str:
    """The SVG text of a figure that was drawn at 72 dots per inch, with its targets on top."""
    names = {number: name for name, number in numbers.items()}
    found = [target for axes in figure.axes for target in _targets(axes, figure.bbox.height, names)]
    elements = "\n".join(target.element() for target in found)
    # Marks become data, and other ids go: on a page of several figures they would not be unique.
    svg = _GROUP.sub(lambda m: f'<g class="{m[1]}" data-series="{m[2]}">' if m[1] else "<g>", _METADATA.sub("", svg))
    return svg.replace("</svg>", f'<g class="targets" fill="none" pointer-events="all">\n{elements}\n</g>\n</svg>')


def _parts(container: Any) -> Iterator[Any]:
    """The artists of bars or error bars, however nested."""
    for part in container:
        if isinstance(part, tuple | list):
            yield from _parts(part)
        elif part is not None:
            yield part


def _targets(axes: "Axes", height: float, names: dict[int, str]) -> Iterator[Target]:
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer, ErrorbarContainer

    caps = {id(cap) for box in axes.containers if isinstance(box, ErrorbarContainer) for cap in box.lines[1]}
    for line in axes.lines:
        if (series := _series(line)) is not None and id(line) not in caps and line.get_transform() == axes.transData:
            points = np.asarray(line.get_xydata(), dtype=np.float64)
            bare = line.get_marker() in (None, "None", "none", "", " ")
            yield from _points(axes, height, _thinned(points, MOST_POINTS if bare else MOST_MARKERS), names, series)
    for cloud in axes.collections:
        if isinstance(cloud, PathCollection) and (series := _series(cloud)) is not None:
            points = np.asarray(cloud.get_offsets(), dtype=np.float64)
            yield from _points(axes, height, _thinned(points, MOST_MARKERS), names, series)
    for container in axes.containers:
        if isinstance(container, BarContainer):
            yield from _bars(axes, height, container)
    for image in axes.images:
        cells = np.ma.asarray(image.get_array(), dtype=np.float64)
        yield from _cells(axes, height, np.ma.filled(cells, np.nan))


def _series(artist: Any) -> int | None:
    mark, _, number = (artist.get_gid() or "").partition(":")
    return int(number) if mark == "series" else None


def _thinned(points: FloatArray, most: int) -> FloatArray:
    """The points (n, 2), or so many of them from the first to the last."""
    return points[np.unique(np.linspace(0, len(points) - 1, min(most, len(points))).astype(np.int64))]


def _points(axes: "Axes", height: float, points: FloatArray, names: dict[int, str], series: int) -> Iterator[Target]:
    spread = _spread(axes, series)
    points = points[np.isfinite(points).all(axis=1)]
    for (x, y), (left, up) in zip(points, axes.transData.transform(points), strict=True):
        text = [names[series], _said(axes.xaxis, "x", x), _said(axes.yaxis, "y", y), *_limits(spread, x, y)]
        if axes.viewLim.contains(x, y):
            yield Target((left, height - up, 0.0, 0.0), "\n".join(text), series)


def _spread(axes: "Axes", series: int) -> FloatArray:
    """Corners (n, 2) of the bands and error bars of a series."""
    corners = [
        np.asarray(path.vertices, dtype=np.float64)
        for cloud in axes.collections
        if _series(cloud) == series and not np.asarray(cloud.get_offsets()).any()
        for path in cloud.get_paths()
    ]
    return np.concatenate([np.empty((0, 2)), *corners])


def _limits(spread: FloatArray, x: float, y: float) -> list[str]:
    """What a band, or an error bar across or along, says of a point."""
    around = spread[spread[:, 0] == x, 1]
    around = around if around.size else spread[spread[:, 1] == y, 0]
    return [f"from {number_text(around.min())} to {number_text(around.max())}"] if np.unique(around).size > 1 else []


def _bars(axes: "Axes", height: float, container: Any) -> Iterator[Target]:
    flat, label = container.orientation == "horizontal", container.get_label()
    place, measured = (axes.yaxis, axes.xaxis) if flat else (axes.xaxis, axes.yaxis)
    for bar in container:
        middle = bar.get_y() + bar.get_height() / 2 if flat else bar.get_x() + bar.get_width() / 2
        length = bar.get_width() if flat else bar.get_height()
        names = [_tick(place, middle), *([] if label.startswith("_") else [label])]
        text = "\n".join([", ".join(names), _said(measured, "value", length)])
        box = bar.get_window_extent()
        width, tall = max(box.width, SMALLEST), max(box.height, SMALLEST)
        if np.isfinite(length):
            yield Target((box.x0, height - box.y0 - tall, width, tall), text, _series(bar))


def _cells(axes: "Axes", height: float, values: FloatArray) -> Iterator[Target]:
    if values.ndim != 2 or values.size > MOST_CELLS:
        return
    named = axes.axison and axes.xaxis.get_visible()
    for (i, j), value in np.ndenumerate(values):
        corners = axes.transData.transform([[j - 0.5, i - 0.5], [j + 0.5, i + 0.5]])
        left, low = corners.min(axis=0)
        width, tall = np.ptp(corners, axis=0)
        place = f"{_tick(axes.yaxis, i)}, {_tick(axes.xaxis, j)}" if named else f"row {i + 1}, column {j + 1}"
        if np.isfinite(value):
            yield Target((left, height - low - tall, width, tall), f"{place}\n{number_text(value)}", None)


def _tick(axis: "Axis", position: float) -> str:
    """The name of a place on an axis of names: that of the nearest tick."""
    ticks, labels = axis.get_majorticklocs(), [text.get_text() for text in axis.get_ticklabels()]
    if not len(ticks) or len(ticks) != len(labels):
        return number_text(position)
    return labels[int(np.abs(np.asarray(ticks) - position).argmin())] or number_text(position)


def _said(axis: "Axis", otherwise: str, value: float) -> str:
    from matplotlib.category import StrCategoryFormatter
    from matplotlib.ticker import FixedFormatter

    if isinstance(axis.get_major_formatter(), StrCategoryFormatter | FixedFormatter):
        return _tick(axis, value)
    return f"{axis.get_label_text() or otherwise}: {number_text(value)}"


def number_text(value: float) -> str:
    """Whole numbers whole, others to eight significant digits."""
    if float(value).is_integer() and abs(value) < 2**53:
        return f"{value:,.0f}"
    return f"{value:.8g}"
