"""Plots as SVG text, ready to stand inside a page.

Every function takes plain arrays, draws with matplotlib's Agg-free SVG backend (no display needed) and
returns one ``<svg>`` element. Colours are those of Okabe and Ito (2008), which colour-blind readers can
tell apart. Needs the extra ``report``.

:func:`draw` lays the exact numbers over every picture (:mod:`.hover`): a painter gets them by labelling what it draws.

* ``axes.plot``, ``errorbar``, ``scatter`` or bars with ``label=name``: each point or bar shows name, x and y, under the
  names that ``set_xlabel`` and ``set_ylabel`` give them; bars without a label show that of the nearest tick. Lines with
  no label (or one that begins with ``_``) show nothing.
* A band: ``axes.fill_between(x, low, high, gid=name)``, at the x of the line: its points then show low and high too,
  and the band is highlighted with its curve.
* ``axes.imshow(matrix)``: each cell shows its number, named by the ticks of both axes.

On a dark page :data:`INK` and :data:`GRID` turn light. Text over filled cells takes :data:`PRINT`, which stays dark.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .hover import name_series, with_targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^v"  # their number shares no divisor with that of the colours: thirty curves can be told apart
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
INK = "#333a44"
GRID = "#e4e7eb"
PRINT = "#20262e"
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
    "grid.color": GRID,
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
    """One figure of ``size`` inches, painted by ``paint(axes)``, as an ``<svg>`` element with its numbers on top."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(cast("Any", STYLE)):
        figure = Figure(figsize=size, dpi=72, layout="constrained")  # SVG's unit: places are those of the file
        paint(figure.subplots())
        series, buffer = name_series(figure), io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        svg = with_targets(buffer.getvalue(), figure, series)
    return re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)


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
            axes.fill_between(
                queries, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0, gid=name
            )
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
            axes.fill_between(
                kept + 1, shown.min(axis=0), shown.max(axis=0), color=colour, alpha=0.15, linewidth=0, gid=name
            )
        axes.set_xlabel("episodes")
        axes.set_ylabel(label)
        if curves:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return draw(paint, (6.8, 3.4))


def convergence(history: FloatArray) -> str:
    """What a solver brings to zero, after each iteration (n,), on a logarithmic axis; zeros are left out."""

    def paint(axes: "Axes") -> None:
        axes.set_yscale("log")
        shown = np.flatnonzero(history > 0)
        axes.plot(shown + 1, history[shown], color=COLOURS[0], marker="o", markersize=3, label="residual")
        axes.set_xlabel("iterations")
        axes.set_ylabel("stopping quantity")

    return draw(paint)


def _levels(axes: "Axes", optimal: float | None, uniform: float | None) -> None:
    """The ceiling and the floor of values, as far as they are known, with their names."""
    across: Any = axes.get_yaxis_transform()  # x as a part of the width, y as it is
    named = {"xycoords": across, "textcoords": "offset points", "fontsize": 9}
    if optimal is not None:
        axes.axhline(optimal, color=INK, linewidth=1.4)
        axes.annotate("exact optimum", (0.02, optimal), (0, 2), va="bottom", **named)
    if uniform is not None and (optimal is None or uniform < optimal):
        axes.axhline(uniform, color=INK, linewidth=1.0, linestyle=(0, (2, 3)))
        axes.annotate("uniform play", (0.02, uniform), (0, -2), va="top", **named)
    axes.margins(y=0.14)


def value_map(values: FloatArray, arrows: Sequence[Sequence[str]]) -> str:
    """A grid world's values as shaded cells, each with its number and the optimal action's arrow.

    Args:
        values: (rows, columns) value of each cell; nan where there is none.
        arrows: Text for each cell, such as an arrow, or "" where nothing is chosen.
    """
    from matplotlib import colormaps

    def paint(axes: "Axes") -> None:
        rows, columns = values.shape
        blues = colormaps["Blues"].with_extremes(bad="#eef1f4")
        axes.imshow(values, cmap=blues, vmin=0.0, vmax=1.8 * float(np.nanmax(values)))
        for i in range(rows):
            for j in range(columns):
                axes.text(j, i - 0.12, arrows[i][j], ha="center", va="center", fontsize=14, color=PRINT)
                if np.isfinite(values[i, j]):
                    number = f"{values[i, j]:.3f}"
                    axes.text(j, i + 0.28, number, ha="center", va="center", fontsize=9, color=PRINT)
        axes.set_axis_off()

    return draw(paint, (3.6, 3.4))


def bars(heights: Mapping[str, float], label: str) -> str:
    """Horizontal bars with their numbers, for a handful of quantities on one scale."""

    def paint(axes: "Axes") -> None:
        names = list(heights)
        axes.barh(names, list(heights.values()), color=[*islice(cycle(COLOURS), len(names))], height=0.55)
        for i, height in enumerate(heights.values()):  # always on the right: the names stand on the left
            axes.annotate(f"{height:.3g}", (max(height, 0.0), i), (4, 0), textcoords="offset points", va="center")
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)

    return draw(paint, (5.2, 1.0 + 0.45 * len(heights)))


@dataclass(frozen=True)
class Plot:
    """A picture that can be written in several forms.

    Attributes:
        paint: Paints it on axes.
        size: Width and height in inches.
    """

    paint: Callable[["Axes"], None]
    size: tuple[float, float]

    @cached_property
    def svg(self) -> str:
        """As an ``<svg>`` element, its numbers on top."""
        return draw(self.paint, self.size)

    def png(self, dpi: int = 150) -> bytes:
        """As the bytes of a PNG file on white ground, equal for equal pictures."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        with rc_context(cast("Any", STYLE)):
            figure = Figure(figsize=self.size, layout="constrained")
            self.paint(figure.subplots())
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return buffer.getvalue()


@dataclass(frozen=True)
class ScoreCurve:
    """A statistic of one agent's runs along an axis, with the limits of its interval.

    Attributes:
        at: Where it is known (n,).
        middle: The statistic (n,).
        low: Lower limits (n,), or None where there are none.
        high: Upper limits (n,), or None.
    """

    at: Sequence[float]
    middle: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def score_curves(curves: Mapping[str, ScoreCurve]) -> Plot:
    """Normalised scores against environment steps, between uniform play and the optimum, with interval bands.

    Args:
        curves: One curve for each agent's name.
    """

    def paint(axes: "Axes") -> None:
        for colour, marker, (name, curve) in zip(cycle(COLOURS), cycle(MARKERS), curves.items(), strict=False):
            axes.plot(curve.at, curve.middle, color=colour, marker=marker, markersize=3.5, label=name)
            _interval_band(axes, name, curve, colour)
        _levels(axes, 1.0, 0.0)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("score (interquartile mean)")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
        _legend_beside(axes, curves)

    return Plot(paint, (6.8, 3.4))


def value_curves(
    curves: Mapping[str, ScoreCurve], label: str, optimal: float | None = None, uniform: float | None = None
) -> Plot:
    """Values of agents, whatever they are told along, with bands.

    Args:
        curves: One curve for each agent's name.
        label: What curves are told along; queries, of which runs make powers, on a logarithmic axis.
        optimal: Exact optimal value, drawn as the ceiling if it is known.
        uniform: Value of uniform play, drawn as the floor if it is known.
    """

    def paint(axes: "Axes") -> None:
        for colour, marker, (name, curve) in zip(cycle(COLOURS), cycle(MARKERS), curves.items(), strict=False):
            axes.plot(curve.at, curve.middle, color=colour, marker=marker, markersize=3.5, label=name)
            _interval_band(axes, name, curve, colour)
        if label.startswith("queries") and all(min(curve.at) > 0 for curve in curves.values()):
            axes.set_xscale("log")
        _levels(axes, optimal, uniform)
        axes.set_xlabel(label)
        axes.set_ylabel("value of the policy")
        _legend_beside(axes, curves)

    return Plot(paint, (6.8, 3.4))


def performance_profiles(profiles: Mapping[str, ScoreCurve]) -> Plot:
    """The fraction of runs with a score above tau, as a function of tau, with interval bands.

    Args:
        profiles: One profile for each agent's name.
    """

    def paint(axes: "Axes") -> None:
        for colour, style, (name, profile) in zip(cycle(COLOURS), cycle(DASHES), profiles.items(), strict=False):
            axes.plot(profile.at, profile.middle, color=colour, linestyle=style, drawstyle="steps-post", label=name)
            _interval_band(axes, name, profile, colour, step="post")
        axes.set_xlabel("score tau")
        axes.set_ylabel("fraction of runs with score > tau")
        axes.set_ylim(-0.03, 1.03)
        _legend_beside(axes, profiles)

    return Plot(paint, (6.8, 3.4))


def improvement_matrix(names: Sequence[str], probabilities: FloatArray) -> Plot:
    """The probability that a run of the agent of a row ends above one of the agent of a column.

    Args:
        names: Agents (n,).
        probabilities: (n, n); nan on the diagonal.
    """

    def paint(axes: "Axes") -> None:
        axes.imshow(probabilities, cmap="RdBu", vmin=-0.4, vmax=1.4)  # pale enough for dark print everywhere
        for (i, j), probability in np.ndenumerate(probabilities):
            if np.isfinite(probability):
                axes.text(j, i, f"{probability:.2f}", ha="center", va="center", color=PRINT)
        axes.set_xticks(range(len(names)), list(names), rotation=30, ha="right")
        axes.set_yticks(range(len(names)), list(names))
        axes.set_xlabel("above a run of")
        axes.set_ylabel("a run of")
        axes.grid(visible=False)

    side = 1.8 + 0.7 * len(names)
    return Plot(paint, (side + 1.0, side))


def _interval_band(axes: "Axes", name: str, curve: ScoreCurve, colour: str, step: Any = None) -> None:
    """The interval of a curve, where it has one."""
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.at, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0, gid=name, step=step)


def _legend_beside(axes: "Axes", names: Mapping[str, object]) -> None:
    """A legend on the right of the axes: curves may lie anywhere within."""
    if names:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def payoff_matrix(names: Sequence[str], values: FloatArray, sides: tuple[str, str]) -> Plot:
    """What the player of the rows is paid in every pairing: blue where it gains, red where it pays.

    Args:
        names: Members (n,).
        values: (n, n), row against column.
        sides: What the players of rows and columns are called.
    """

    def paint(axes: "Axes") -> None:
        reach = 2.0 * max(float(np.abs(values).max()), np.finfo(np.float64).tiny)  # pale enough for dark print
        axes.imshow(values, cmap="RdBu", vmin=-reach, vmax=reach)
        for (i, j), value in np.ndenumerate(values):
            axes.text(j, i, f"{value:.3g}", ha="center", va="center", color=PRINT, fontsize=9)
        axes.set_xticks(range(len(names)), list(names), rotation=30, ha="right")
        axes.set_yticks(range(len(names)), list(names))
        axes.set_ylabel(f"as {sides[0]}")
        axes.set_xlabel(f"as {sides[1]}")
        axes.grid(visible=False)

    side = 1.8 + 0.7 * len(names)
    return Plot(paint, (side + 1.0, side))
