"""Plots as SVG text, ready to stand inside a page.

Every function takes plain arrays, draws with matplotlib's Agg-free SVG backend (no display needed) and
returns one ``<svg>`` element. Colours are those of Okabe and Ito (2008), which colour-blind readers can
tell apart. Needs the extra ``report``.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#333a44"
STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "lookahead_rl",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Curve:
    """Exact values of one agent's policy during training.

    Attributes:
        steps: Environment steps taken before each evaluation (n,).
        values: Exact value of the policy at that moment (n,).
    """

    steps: Sequence[int]
    values: Sequence[float]


def draw(paint: Callable[["Axes"], None], size: tuple[float, float] = (5.2, 3.2)) -> str:
    """One figure of ``size`` inches, painted by ``paint(axes)``, as an ``<svg>`` element."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(cast("Any", STYLE)):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), flags=re.DOTALL)


def learning_curves(curves: Mapping[str, Curve], optimal: float, uniform: float) -> str:
    """Exact value against environment steps, between uniform play and the exact optimum.

    Args:
        curves: One curve for each agent's name.
        optimal: Exact optimal value, drawn as the ceiling.
        uniform: Exact value of the uniform policy, drawn as the floor.
    """

    def paint(axes: "Axes") -> None:
        axes.axhline(optimal, color=INK, linewidth=1.4)
        axes.axhline(uniform, color=INK, linewidth=1.0, linestyle=(0, (2, 3)))
        for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
            axes.plot(curve.steps, curve.values, color=colour, marker="o", markersize=3.5, label=name)
        margin = 0.06 * (optimal - uniform)
        start = min(curve.steps[0] for curve in curves.values())
        axes.text(start, optimal + margin / 3, "exact optimum", va="bottom", fontsize=9)
        axes.text(start, uniform - margin / 3, "uniform play", va="top", fontsize=9)
        axes.margins(y=0.14)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("exact value of the policy")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
        axes.legend(loc="best")

    return draw(paint)


def value_map(values: FloatArray, arrows: Sequence[Sequence[str]]) -> str:
    """A grid world's values as shaded cells, each with its number and the optimal action's arrow.

    Args:
        values: (rows, columns) value of each cell; nan where there is none.
        arrows: Text for each cell, such as an arrow, or "" where nothing is chosen.
    """

    def paint(axes: "Axes") -> None:
        rows, columns = values.shape
        axes.imshow(values, cmap="Blues", vmin=0.0, vmax=1.8 * float(np.nanmax(values)))
        for i in range(rows):
            for j in range(columns):
                axes.text(j, i - 0.12, arrows[i][j], ha="center", va="center", fontsize=14)
                if np.isfinite(values[i, j]):
                    axes.text(j, i + 0.28, f"{values[i, j]:.3f}", ha="center", va="center", fontsize=9)
        axes.set_axis_off()

    return draw(paint, (3.6, 3.4))


def bars(heights: Mapping[str, float], label: str) -> str:
    """Horizontal bars with their numbers, for a handful of quantities on one scale."""

    def paint(axes: "Axes") -> None:
        names = list(heights)
        drawn = axes.barh(names, list(heights.values()), color=COLOURS[: len(names)], height=0.55)
        axes.bar_label(drawn, labels=[f"{height:.3g}" for height in heights.values()], padding=4)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)

    return draw(paint, (5.2, 1.0 + 0.45 * len(heights)))
