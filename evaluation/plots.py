"""Plots as SVG text, ready to stand inside a page.

Every function takes plain arrays, draws with matplotlib's Agg-free SVG backend (no display needed) and
returns one ``<svg>`` element. Colours are those of Okabe and Ito (2008), which colour-blind readers can
tell apart. Needs the extra ``report``.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^v"  # their number shares no divisor with that of the colours: thirty curves can be told apart
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
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


@dataclass(frozen=True)
class QueryCurve:
    """Exact values of one planner's policies at several budgets, for several seeds.

    Attributes:
        queries: Queries made while planning (n_seeds, n_budgets).
        values: Exact value of the policy planned with them (n_seeds, n_budgets); nan where there is no plan.
    """

    queries: FloatArray
    values: FloatArray

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.queries.shape != self.values.shape or self.values.ndim != 2:
            shapes = f"{self.queries.shape} and {self.values.shape}"
            raise ValueError(f"queries and values have shapes {shapes}; expected (n_seeds, n_budgets) for both")


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
        _levels(axes, optimal, uniform)
        for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
            axes.plot(curve.steps, curve.values, color=colour, marker="o", markersize=3.5, label=name)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("exact value of the policy")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
        axes.legend(loc="best")

    return draw(paint)


def query_curves(curves: Mapping[str, QueryCurve], optimal: float, uniform: float) -> str:
    """Exact value against queries (on a logarithmic axis), between uniform play and the exact optimum.

    Lines are means over the seeds, drawn where every seed has a plan and made queries; bands reach from the worst seed
    to the best.

    Args:
        curves: One curve for each planner's name.
        optimal: Exact optimal value, drawn as the ceiling.
        uniform: Exact value of the uniform policy, drawn as the floor.
    """

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        _levels(axes, optimal, uniform)
        for colour, marker, (name, curve) in zip(cycle(COLOURS), cycle(MARKERS), curves.items(), strict=False):
            drawn = (np.isfinite(curve.values) & (curve.queries > 0)).all(axis=0)
            queries, values = curve.queries[:, drawn].mean(axis=0), curve.values[:, drawn]
            axes.plot(queries, values.mean(axis=0), color=colour, marker=marker, markersize=4.5, label=name)
            axes.fill_between(queries, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel("queries of the simulator")
        axes.set_ylabel("exact value of the policy")
        if curves:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the axes: curves may lie anywhere

    return draw(paint, (6.8, 3.4))


def episode_curves(curves: Mapping[str, FloatArray], label: str) -> str:
    """What adds up over episodes, such as regret, for several seeds: lines are means, bands reach from least to most.

    Args:
        curves: For each agent's name its sums after 1, ..., K episodes, (n_seeds, K).
        label: What is added up.

    Raises:
        ValueError: Curves of another shape than (n_seeds, K), or of no seeds or episodes.
    """
    for name, sums in curves.items():
        if sums.ndim != 2 or not sums.size:
            raise ValueError(f"the curves of {name!r} have shape {sums.shape}; expected (n_seeds, K)")

    def paint(axes: "Axes") -> None:
        for colour, style, (name, sums) in zip(cycle(COLOURS), cycle(DASHES), curves.items(), strict=False):
            # A few hundred points say all that a line of this width can.
            kept = np.unique(np.linspace(0, sums.shape[1] - 1, 400).astype(np.int64))
            shown = sums[:, kept]
            axes.plot(kept + 1, shown.mean(axis=0), color=colour, linestyle=style, linewidth=1.6, label=name)
            axes.fill_between(kept + 1, shown.min(axis=0), shown.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel("episodes")
        axes.set_ylabel(label)
        if curves:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return draw(paint, (6.8, 3.4))


def _levels(axes: "Axes", optimal: float, uniform: float) -> None:
    """The ceiling and the floor of exact values, with their names."""
    across, margin = axes.get_yaxis_transform(), 0.02 * (optimal - uniform)  # x as a part of the width, y as it is
    axes.axhline(optimal, color=INK, linewidth=1.4)
    axes.axhline(uniform, color=INK, linewidth=1.0, linestyle=(0, (2, 3)))
    axes.text(0.02, optimal + margin, "exact optimum", va="bottom", fontsize=9, transform=across)
    axes.text(0.02, uniform - margin, "uniform play", va="top", fontsize=9, transform=across)
    axes.margins(y=0.14)


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
