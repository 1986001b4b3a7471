"""Why optimistic constrained agents act by a softmax: how far policies move, and how many values there are to cover.

Three measurements, each beside what solvers/regularised.py proves.

1. *Smoothness.* The largest |softmax(x) - softmax(y)|_1 found by search among pairs of a given max |x - y| (in units of
   the temperature), for several numbers of actions.
2. *The utility of a policy that weighs reward and utility*, V_g of the policy for Q_r + Y Q_g by backward recursion in
   a random MDP: with the greedy policy it jumps as Y moves.
3. *Covers.* The exact least number of balls of radius eps, in the supremum norm over the states, that cover the values
   E_pi Q_g, pi being greedy in or a softmax of Q_r + Y Q_g for 0 <= Y <= 1, Q_r and Q_g fixed: one parameter. Every
   value is nondecreasing in Y, at the rate Var_pi(Q_g) / tau; so a set of consecutive Y fits into one ball if the
   values at its two ends are within 2 eps, and taking the longest such set again and again is optimal.

    python benchmarks/covering.py [--svg docs/covering.svg] [--json FILE]
"""

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lookahead_rl.solvers import DualSoftmaxValues, softmax_policy
from lookahead_rl.solvers.regularised import softmax_modulus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Row = dict[str, float]

EPS = 0.1
TEMPERATURES = (0.1, 0.03, 0.01)
STATES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
DISTANCES = (0.1, 0.5, 1.0, 2.0, 4.0)
LARGEST_Y = 2.5


# ------------------------------------------------------------------------------------------------ smoothness


def movement(x: Array, y: Array) -> Array:
    """|softmax(x) - softmax(y)|_1 of action values (n, A) in units of the temperature."""
    return np.abs(softmax_policy(x, 1.0) - softmax_policy(y, 1.0)).sum(axis=-1)


def largest_movement(n_actions: int, distance: float, rng: np.random.Generator, draws: int = 5_000) -> float:
    """The largest movement found for max |x - y| = distance: random pairs, then random steps from the best of them."""
    middle = 3.0 * rng.normal(size=(draws, n_actions))
    shift = 0.5 * distance * rng.choice([-1.0, 1.0], size=(draws, n_actions))
    found = movement(middle + shift, middle - shift)
    best = int(found.argmax())
    centre, half, most = middle[best], shift[best], float(found[best])
    for width in np.geomspace(1.0, 1e-4, 40):
        tries = centre + width * rng.normal(size=(500, n_actions))
        found = movement(tries + half, tries - half)
        if (top := int(found.argmax())) >= 0 and found[top] > most:
            centre, most = tries[top], float(found[top])
    return most


# ------------------------------------------------------------------------------------------------ values along Y


def utility_of(q_r: Array, q_g: Array, Y: float, temperature: float) -> Array:
    """E_pi Q_g (N,) of the softmax of Q_r + Y Q_g (N, A); of the greedy policy, which prefers utility, at 0."""
    weighed = q_r + Y * q_g
    if temperature > 0.0:
        return (softmax_policy(weighed, temperature) * q_g).sum(axis=1)
    return np.where(weighed == weighed.max(axis=1, keepdims=True), q_g, -np.inf).max(axis=1)


def random_stages(
    rng: np.random.Generator, n_states: int = 30, n_actions: int = 3, horizon: int = 4
) -> Iterator[Array]:
    """Laws and [0, 1]-valued rewards and utilities of the stages of a random MDP, last stage first: (S, A, S + 2)."""
    for _ in range(horizon):
        P = rng.dirichlet(np.full(n_states, 0.1), size=(n_states, n_actions))
        yield np.concatenate([P, rng.random((n_states, n_actions, 2))], axis=2)


def utility_over_stages(stages: list[Array], Y: float, temperature: float) -> float:
    """V_g in the first state of the policy for Q_r + Y Q_g, where Q_r and Q_g are that policy's own action values."""
    v = np.zeros((len(stages[0]), 2))
    for stage in stages:
        q = stage[:, :, :-2] @ v + stage[:, :, -2:]
        weighed = q[:, :, 0] + Y * q[:, :, 1]
        pi = softmax_policy(weighed, temperature) if temperature > 0.0 else np.eye(q.shape[1])[weighed.argmax(axis=1)]
        v = (pi[:, :, None] * q).sum(axis=1)
    return float(v[0, 1])


# ------------------------------------------------------------------------------------------------ covers


def random_action_values(n_states: int, rng: np.random.Generator, n_actions: int = 3) -> tuple[Array, Array]:
    """Q_r and Q_g (N, A), independent and uniform in [0, 1]."""
    return rng.random((n_states, n_actions)), rng.random((n_states, n_actions))


def greedy_covering_number(q_r: Array, q_g: Array, eps: float) -> int:
    """The least number of balls that cover {E_pi Q_g : 0 <= Y <= 1}, pi greedy; exact, from the policy's jumps."""
    jumps = sorted(jump for s, pair in enumerate(zip(q_r, q_g, strict=True)) for jump in _jumps(s, *pair))
    balls, risen = 1, dict[int, float]()
    for _, state, rise in jumps:
        risen[state] = risen.get(state, 0.0) + rise
        if risen[state] > 2.0 * eps:
            balls, risen = balls + 1, {}
    return balls


def _jumps(state: int, r: Array, g: Array) -> Iterator[tuple[float, int, float]]:
    """(Y, state, rise of Q_g) wherever the greedy action for r + Y g changes, Y <= 1: an upper envelope of lines."""
    Y, a = 0.0, int(np.lexsort((g, r))[-1])
    while True:
        steeper = np.flatnonzero(g > g[a])
        crossings = (r[a] - r[steeper]) / (g[steeper] - g[a])
        if not steeper.size or (next_Y := max(Y, float(crossings.min()))) > 1.0:
            return
        met = steeper[crossings <= next_Y]
        b = int(met[g[met].argmax()])
        yield next_Y, state, float(g[b] - g[a])
        Y, a = next_Y, b


def softmax_covering_number(q_r: Array, q_g: Array, temperature: float, eps: float) -> int:
    """The least number of balls that cover {E_pi Q_g : 0 <= Y <= 1}, pi a softmax; exact but for rounding."""
    last, balls, Y = utility_of(q_r, q_g, 1.0, temperature), 1, 0.0
    while (last - (start := utility_of(q_r, q_g, Y, temperature))).max() > 2.0 * eps:
        low, high = Y, 1.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            near = (utility_of(q_r, q_g, middle, temperature) - start).max() <= 2.0 * eps
            low, high = (middle, high) if near else (low, middle)
        balls, Y = balls + 1, high
    return balls


def covering_bound(temperature: float, eps: float) -> int:
    """How many balls are enough for any Q_r and Q_g in [0, 1] and any number of states.

    Y moves the policy by 2 tanh(|Y - Y'| / (4 tau)) in the 1-norm, and E_pi Q_g by half of that.
    """
    return int(np.ceil(1.0 / (4.0 * temperature * np.arctanh(2.0 * eps))))


# ------------------------------------------------------------------------------------------------ measured


def measure(seed: int) -> dict[str, list[Row]]:
    """All numbers, as rows of tables."""
    rng = np.random.default_rng(seed)
    moves = [
        {
            "actions": A,
            "distance": d,
            "found": largest_movement(A, d, rng),
            "proven": float(softmax_modulus(2 * d, 1.0)),
        }
        for A in (2, 3, 10, 100)
        for d in DISTANCES
    ]
    stages = list(random_stages(rng))
    Y = np.linspace(0.0, LARGEST_Y, 4001)
    utilities = [
        {"Y": y, **{_name(t): utility_over_stages(stages, y, t) for t in (0.0, 0.03, 0.1)}} for y in Y.tolist()
    ]
    covers: list[Row] = []
    all_r, all_g = random_action_values(STATES[-1], rng)
    for n_states in STATES:
        q_r, q_g = all_r[:n_states], all_g[:n_states]
        smooth = {_name(t): softmax_covering_number(q_r, q_g, t, EPS) for t in TEMPERATURES}
        covers.append({"states": n_states, "greedy": greedy_covering_number(q_r, q_g, EPS), **smooth})
    classes = [
        {
            "temperature": t,
            "log covering number": DualSoftmaxValues(5, 4.0, 40.0, 100.0, 8.0, t).log_covering_number(EPS),
        }
        for t in (1.0, 1e-2, 1e-4, 1e-6)
    ]
    return {"movement": moves, "utility": utilities, "covers": covers, "classes": classes}


def _name(temperature: float) -> str:
    return f"tau = {temperature:g}" if temperature else "greedy"


def print_tables(found: dict[str, list[Row]]) -> None:
    print("largest |softmax(x) - softmax(y)|_1 found by search, and 2 tanh(d/2), for max |x - y| = d temperatures")
    print(f"{'A':>5}" + "".join(f"{f'd = {d:g}':>20}" for d in DISTANCES))
    for A in sorted({row["actions"] for row in found["movement"]}):
        cells = [f"{r['found']:10.6f} {r['proven']:9.6f}" for r in found["movement"] if r["actions"] == A]
        print(f"{A:5g}" + "".join(cells))
    rows = found["utility"]
    print(f"\nlargest change of V_g while Y moves by {rows[1]['Y']:g}, and V_g at Y = 0 and {LARGEST_Y:g}")
    for name in [key for key in rows[0] if key != "Y"]:
        jump = max(abs(b[name] - a[name]) for a, b in pairwise(rows))
        print(f"{name:>12} {jump:.6f}   {rows[0][name]:.4f} {rows[-1][name]:.4f}")
    print(f"\nleast number of balls of radius {EPS} that cover E_pi Q_g, 0 <= Y <= 1; last line: enough for any states")
    names = ["greedy", *map(_name, TEMPERATURES)]
    print(f"{'states':>8}" + "".join(f"{name:>12}" for name in names))
    for row in found["covers"]:
        print(f"{row['states']:8g}" + "".join(f"{row[name]:12g}" for name in names))
    print(f"{'any':>8}{'none':>12}" + "".join(f"{covering_bound(t, EPS):12d}" for t in TEMPERATURES))
    print("\nlog covering number proven for the whole class (d = 5, H = 4, |w| <= 40, |M| <= 100, Y <= 8, eps = 0.1)")
    for row in found["classes"]:
        print(f"{_name(row['temperature']):>14} {row['log covering number']:8.1f}")


# ------------------------------------------------------------------------------------------------ drawn


def draw(found: dict[str, list[Row]], path: Path, seed: int) -> None:
    """The three panels as an SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from lookahead_rl.evaluation.plots import STYLE

    with rc_context({**STYLE, "axes.titlesize": 11.5, "axes.titlelocation": "left", "axes.titleweight": "bold"}):
        figure = Figure(figsize=(11.4, 3.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _draw_movement(left, np.random.default_rng(seed))
        _draw_utility(middle, found["utility"])
        _draw_covers(right, found["covers"])
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _draw_movement(axes: "Axes", rng: np.random.Generator) -> None:
    from lookahead_rl.evaluation.plots import COLOURS, INK

    for A, colour in zip((2, 5, 50), (COLOURS[5], COLOURS[2], COLOURS[4]), strict=True):
        d = 6.0 * rng.random(150)
        signs = rng.choice([-1.0, 1.0], size=(d.size, A))
        signs[:, :2] = 1.0, -1.0
        middle, shift = 2.0 * rng.random((d.size, 1)) * rng.normal(size=(d.size, A)), 0.5 * d[:, None] * signs
        moved = movement(middle + shift, middle - shift)
        axes.scatter(d, moved, s=9, color=colour, alpha=0.7, linewidths=0, label=f"random, A = {A}")
    d = np.linspace(0.0, 6.0, 200)
    axes.plot(d, 2.0 * np.tanh(0.5 * d), color=COLOURS[0], linewidth=2.2)
    axes.plot(d, d, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.text(5.95, 2.05, "2 tanh(d/2), attained", color=COLOURS[0], ha="right", va="bottom")
    axes.text(1.5, 1.83, "d, the\nLipschitz\nbound", color=INK, ha="right", va="center", linespacing=1.15)
    axes.set(xlim=(0, 6), ylim=(0, 2.25), xlabel="d = max |q − q′| / τ", ylabel="|π − π′|₁")
    axes.set_title("A softmax moves with q / τ")
    axes.legend(loc="lower right", markerscale=1.8, handletextpad=0.1, borderaxespad=0.2)


def _draw_utility(axes: "Axes", rows: list[Row]) -> None:
    from lookahead_rl.evaluation.plots import COLOURS, INK

    Y = np.array([row["Y"] for row in rows])
    for temperature, colour in ((0.1, COLOURS[4]), (0.03, COLOURS[1])):
        values = [row[_name(temperature)] for row in rows]
        axes.plot(Y, values, color=colour, linewidth=2.0, label=f"softmax, τ = {temperature:g}")
    greedy = np.array([row[_name(0.0)] for row in rows])
    levels = np.where(np.diff(greedy, prepend=greedy[0]) == 0.0, greedy, np.nan)
    axes.plot(Y, greedy, color=INK, linewidth=0.6, linestyle=(0, (1, 2)))
    axes.plot(Y, levels, color=INK, linewidth=2.0, label="greedy")
    axes.set(xlim=(0, LARGEST_Y), xlabel="multiplier Y", ylabel="utility of the policy for r + Y g")
    axes.set_title("A greedy policy jumps")
    axes.legend(loc="lower right")


def _draw_covers(axes: "Axes", rows: list[Row]) -> None:
    from lookahead_rl.evaluation.plots import COLOURS, INK

    states = [row["states"] for row in rows]
    axes.loglog(states, [row["greedy"] for row in rows], color=INK, marker="o", markersize=4)
    axes.text(0.7 * states[-3], 1.2 * rows[-3]["greedy"], "greedy", ha="right", color=INK)
    for temperature, colour in zip(TEMPERATURES, (COLOURS[4], COLOURS[1], COLOURS[3]), strict=True):
        axes.loglog(states, [row[_name(temperature)] for row in rows], color=colour, marker="o", markersize=4)
        bound = covering_bound(temperature, EPS)
        axes.axhline(bound, color=colour, linewidth=1.1, linestyle=(0, (5, 3)))
        axes.text(1.0, 1.08 * bound, f"softmax, τ = {temperature:g}", color=colour, va="bottom")
    axes.text(0.98, 0.03, "dashed: enough for any states", color=INK, ha="right", transform=axes.transAxes)
    axes.set(ylim=(0.8, None), xlabel="states", ylabel=f"balls of radius {EPS:g} that cover the utilities")
    axes.minorticks_off()
    axes.set_title("Its values have no finite cover")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg", type=Path, help="draw the three panels; needs matplotlib, the extra [report]")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = measure(options.seed)
    print_tables(found)
    if options.svg:
        draw(found, options.svg, options.seed)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
