"""Winnicki and Srikant's main theorem on policy iteration with lookahead, its assumption, and the steps of its proof.

From V_0, Algorithm 1 takes W_k = T^{H-1} V_k, the pair of policies greedy for W_k, and V_{k+1} = T_{mu,nu}^m W_k. Their
Theorem 1 has the constant

    c = gamma^{H-1} (2 + gamma^m (1 + gamma)) / (1 - gamma);

the best one is gamma^{H-1} (2 gamma - gamma^m (1 + gamma)) / (1 - gamma): that it holds is proved in
:mod:`lookahead_rl.solvers.games.lookahead`, that no smaller one does is shown by :func:`worst_case`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...models import MarkovGame, garnet_game
from ...models.classic import van_der_wal
from ...solvers import Status, contraction, lookahead_policy_iteration, shapley_operator, solve_game
from ...solvers.games.sweeps import GameBackup, GameSweeps
from .bounds import compare
from .ledger import Claim, Evidence, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]
Bound = Callable[[float, int, float], float]

PAPER = "Winnicki and Srikant, arXiv 2303.09716"
GAMES = 200
PAIRS = 7
DISCOUNTS = (0.3, 0.5, 0.7, 0.9)
ROLLOUTS = (1, 2, 3, 5, 10, 50, math.inf)
OFF = 1e-9  # of solved values and of rounding, far below every error that is compared


@dataclass(frozen=True)
class Step:
    """One iteration of Algorithm 1.

    Attributes:
        before: ||V_k - v*||.
        after: ||V_{k+1} - v*||.
        gap: ||v^{mu,nu} - W_k||.
        gamma: Discount.
        lookahead: H.
        rollout: m.
    """

    before: float
    after: float
    gap: float
    gamma: float
    lookahead: int
    rollout: float


def paper_constant(gamma: float, lookahead: int, rollout: float) -> float:
    """The constant of Theorem 1."""
    return contraction(gamma, lookahead, rollout).paper


def theorem_1(rng: np.random.Generator, bound: Bound = paper_constant) -> Evidence:
    """One iteration from random values of random games, and from the worst values of the games made for it."""
    worst = _worst_steps()
    steps = [*_random_steps(rng, GAMES), *worst]
    ratios = np.array([step.after / step.before for step in steps])
    off = [3 * OFF / step.before for step in steps]
    claimed = np.array([bound(step.gamma, step.lookahead, step.rollout) for step in steps])
    sharp = np.array([contraction(step.gamma, step.lookahead, step.rollout).sharp for step in steps])
    found = compare(ratios, claimed, sharp, off)
    part, least = float((sharp / claimed).min()), float((ratios / sharp)[-len(worst) :].min())
    few = np.r_[: len(steps) - len(worst) : 16, len(steps) - len(worst) : len(steps) : 2]  # to be told apart
    return Evidence(
        found.verdict,
        f"In {found.cases:,} iterations (random games, and one made for each gamma, H and m) the error shrank by no "
        f"worse a factor than {found.largest:.3g} of the constant; the smaller constant gamma^(H-1) [2 gamma - "
        f"gamma^m (1 + gamma)]/(1 - gamma), down to {part:.2g} times it, was exceeded {found.sharper_violations} "
        f"times, and decision problems of H + 2 states attain at least {least:.4f} of it for each of {len(worst)} "
        "choices of gamma, H and m: none is better.",
        {
            "iterations": found.cases,
            "violations": found.violations,
            "largest_part": found.largest,
            "sharper_violations": found.sharper_violations,
            "sharper_largest_part": found.sharper_largest,
            "least_part_of_the_worst": least,
            "smallest_ratio_of_constants": part,
        },
        lambda: _scatter(sharp[few], claimed[few], ratios[few]),
    )


def proof_bound(rng: np.random.Generator) -> Evidence:
    """The proof's bound on how far the greedy pair's value lies from W."""
    steps = [*_random_steps(rng, GAMES // 4), *_worst_steps()]
    seen = [step.gap / step.before for step in steps]
    bounds = [step.gamma ** (step.lookahead - 1) * (1 + step.gamma) / (1 - step.gamma) for step in steps]
    found = compare(seen, bounds, rounding=[3 * OFF / step.before / (1 - step.gamma) for step in steps])
    return Evidence(
        found.verdict,
        f"{found.violations} of {found.cases:,} iterations exceed it; the most that was reached is "
        f"{found.largest:.4f} of the bound, so it cannot be improved.",
        {"iterations": found.cases, "violations": found.violations, "largest_part": found.largest},
    )


def _random_steps(rng: np.random.Generator, n_games: int) -> list[Step]:
    """Iterations from values about v* and far from it, on small games."""
    steps: list[Step] = []
    for _ in range(n_games):
        n, gamma = int(rng.integers(2, 6)), float(rng.choice(DISCOUNTS))
        game = garnet_game(n, int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(1, n + 1)), rng,
                           gamma=gamma)  # fmt: skip
        v = solve_game(game, OFF).value
        for _ in range(PAIRS):
            error = rng.choice([0.1, 1.0, 10.0]) * (rng.uniform(-1, 1, n) if rng.random() < 0.5 else _signs(rng, n))
            H, m = int(rng.integers(1, 4)), ROLLOUTS[rng.integers(len(ROLLOUTS))]
            steps.append(_step(game, v, error, H, m))
    return steps


def _signs(rng: np.random.Generator, n: int) -> FloatArray:
    return rng.choice([-1.0, 1.0], n)


def _worst_steps() -> list[Step]:
    return [
        _step(game, np.zeros(game.n_states), error, H, m)
        for gamma in DISCOUNTS
        for H in (1, 2, 3, 5)
        for m in ROLLOUTS
        for game, error in [worst_case(gamma, H)]
    ]


def worst_case(gamma: float, lookahead: int) -> tuple[MarkovGame, FloatArray]:
    """A game of one player with v* = 0, and a V with ||V - v*|| = 1 that an iteration makes as bad as can be.

    State 0 chooses between staying, for -2 gamma^H, state 1, where nothing is paid for ever, and, with H > 1, a track
    of H states on which nothing is paid. V is 1 but for state 1 and the end of the track, where it is -1. So W =
    T^{H-1} V has W(0) = gamma^{H-1}, by the start of the track, where W itself is -gamma^{H-1} as in state 1. To stay
    is therefore as good as anything for W, and is preferred here by a hair: T_{mu,nu}^m W (0) is

        gamma^m W(0) - 2 gamma^H (1 - gamma^m) / (1 - gamma)
            =  -gamma^{H-1} [2 gamma - gamma^m (1 + gamma)] / (1 - gamma).
    """
    n = 2 if lookahead == 1 else 2 + lookahead
    actions = 2 if lookahead == 1 else 3
    P, r = np.zeros((n, actions, 1, n)), np.zeros((n, actions, 1))
    P[0, 0, 0, 0] = P[0, 1, 0, 1] = P[1, 0, 0, 1] = 1.0
    r[0, 0, 0] = -2.0 * gamma**lookahead * (1.0 - 1e-9)
    error = np.ones(n)
    error[1] = -1.0
    if lookahead > 1:
        P[0, 2, 0, 2], error[-1] = 1.0, -1.0
        for s in range(2, n):
            P[s, 0, 0, min(s + 1, n - 1)] = 1.0
    counts = np.ones(n, dtype=np.int64)
    counts[0] = actions
    return MarkovGame(P, r, gamma, np.eye(1, n)[0], counts, np.ones(n, dtype=np.int64)), error


def _step(game: MarkovGame, v_star: FloatArray, error: FloatArray, lookahead: int, rollout: float) -> Step:
    sweeps = GameSweeps(game)
    backup = _deepened(sweeps, v_star + error, lookahead)
    after, value = sweeps.evaluate(backup, rollout), sweeps.evaluate(backup, math.inf)
    before, missed, gap = (float(np.abs(x).max()) for x in (error, after - v_star, value - backup.v))
    return Step(before, missed, gap, game.gamma, lookahead, rollout)


def _deepened(sweeps: GameSweeps, v: FloatArray, lookahead: int) -> GameBackup:
    """T applied to W = T^{H-1} V."""
    backup = sweeps.backup(v)
    for _ in range(lookahead - 1):
        backup = sweeps.backup(backup.value)
    return backup


def _scatter(sharp: FloatArray, claimed: FloatArray, ratios: FloatArray) -> str:
    from ...evaluation.plots import COLOURS, INK, draw

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.scatter(claimed, ratios, s=5, color=COLOURS[4], label="the paper's constant", linewidths=0, alpha=0.6)
        axes.scatter(sharp, ratios, s=5, color=COLOURS[0], label="the best constant", linewidths=0, alpha=0.6)
        line = [float(ratios[ratios > 1e-3].min()), float(claimed.max())]
        axes.plot(line, line, color=INK, linewidth=1.0)
        axes.set_ylim(1e-3, None)
        axes.set_xlabel("constant")
        axes.set_ylabel("error after / error before")
        axes.legend(loc="upper left", markerscale=3)

    return draw(paint)


# the assumption


def large_return(_: np.random.Generator) -> Evidence:
    """How much lookahead the best constant and Van der Wal's game need, for longer and longer returns."""
    gammas, rollouts = (0.5, 0.75, 0.9, 0.95, 0.99), (1, 2, 5, 10, 20, math.inf)
    table = [[contraction(gamma, 1, m) for m in rollouts] for gamma in gammas]
    best = np.array([[c.smallest_lookahead for c in row] for row in table])
    paper = np.array([[c.smallest_lookahead_paper for c in row] for row in table])
    needed = [_converging_lookahead(m) for m in rollouts]
    grows = bool((np.diff(best) >= 0).all() and (best[:, -1] > best[:, 0]).all() and needed[-1] > needed[0])
    mitigates = bool((np.diff(best) < 0).any() or (np.diff(needed) < 0).any())
    verdict = Verdict.FALSE if grows and not mitigates else Verdict.HOLDS if mitigates else Verdict.IN_DOUBT
    return Evidence(
        verdict,
        "An artefact of the constant. With the best one, which is attained for every H and m, the lookahead needed "
        f"grows with the return: at gamma = 0.9 from H = {best[2, 0]} for m = 1 over {best[2, 2]} for m = 5 to "
        f"{best[2, -1]} for m = infinity (the paper's constant: {paper[2, 0]}, {paper[2, 2]}, {paper[2, -1]}). Van "
        f"der Wal's game converges with H = {needed[0]} for m = 1 and needs H = {needed[-1]} for m = infinity. No "
        "return can need less than m = 1 does, which is value iteration and converges on every game with H = 1.",
        {
            **{f"best_h_m{m}": int(h) for m, h in zip(rollouts, best[2], strict=True)},
            **{f"paper_h_m{m}": int(h) for m, h in zip(rollouts, paper[2], strict=True)},
            **{f"van_der_wal_h_m{m}": h for m, h in zip(rollouts, needed, strict=True)},
        },
        lambda: _needed_lookahead(0.9),
    )


def _converging_lookahead(rollout: float) -> int:
    """The least H with which Van der Wal's game is solved from V = 0."""
    game = van_der_wal()
    for H in range(1, 10):
        if lookahead_policy_iteration(game, lookahead=H, rollout=rollout).status is Status.CONVERGED:
            return H
    return 10


def _needed_lookahead(gamma: float) -> str:
    from ...evaluation.plots import COLOURS, draw

    m = np.unique(np.geomspace(1, 100, 40).astype(int))
    needed = [contraction(gamma, 1, int(k)) for k in m]

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        axes.step(m, [c.smallest_lookahead_paper for c in needed], color=COLOURS[1], label="the paper's constant")
        axes.step(m, [c.smallest_lookahead for c in needed], color=COLOURS[0], label="the best constant")
        axes.set_xlabel("m, steps of the return")
        axes.set_ylabel(f"least H, gamma = {gamma}")
        axes.legend(loc="center right")

    return draw(paint)


# special cases and facts


def value_iteration(rng: np.random.Generator) -> Evidence:
    """Algorithm 1 with m = 1 beside repeated sweeps of T."""
    n, largest = 100, 0.0
    for _ in range(n):
        gamma, H = float(rng.choice(DISCOUNTS)), int(rng.integers(1, 5))
        game = garnet_game(5, 3, 2, 3, rng, gamma=gamma)
        start = 10.0 * rng.normal(size=5)
        sweeps, v = GameSweeps(game), start
        for _ in range(3):
            v = sweeps.evaluate(_deepened(sweeps, v, H), 1)
        w = start
        for _ in range(3 * H):
            w = shapley_operator(game, w).values
        largest = max(largest, float(np.abs(v - w).max()))
    excluded = min(contraction(gamma, 1, 1).paper for gamma in np.linspace(0.0, 0.999, 1000))
    verdict = Verdict.HOLDS if largest <= OFF else Verdict.FALSE
    return Evidence(
        verdict,
        f"With m = 1 three iterations are 3H sweeps of T, to {largest:.0e} on {n} random games. But Theorem 1 does not "
        f"cover it: its constant at H = m = 1 is at least {excluded:.3g} for every gamma, where the best one is gamma.",
        {"games": n, "largest_difference": largest, "least_paper_constant": excluded},
    )


def contractions(rng: np.random.Generator) -> Evidence:
    """T on pairs of values: monotone, shifted by constants, contracting."""
    n, monotone, ratios, shifts = 1000, 0, [], []
    for _ in range(n // 10):
        gamma = float(rng.choice(DISCOUNTS))
        game = garnet_game(4, 3, 3, 2, rng, gamma=gamma)
        for _ in range(10):
            v, gain, c = rng.normal(size=4), rng.random(4), rng.normal()
            Tv, Tw, Tc = (shapley_operator(game, x).values for x in (v, v + gain, v + c))
            monotone += bool((Tw >= Tv - OFF).all())
            ratios.append(np.abs(Tw - Tv).max() / np.abs(gain).max() / gamma)
            shifts.append(np.abs(Tc - Tv - gamma * c).max())
    found, worst = compare(ratios, 1.0, rounding=OFF), float(max(shifts))
    holds = found.verdict is Verdict.HOLDS and monotone == n and worst <= OFF
    return Evidence(
        Verdict.HOLDS if holds else Verdict.FALSE,
        f"On {n:,} pairs of values: monotone in {monotone:,}, contracting by at most {found.largest:.4f} gamma, and "
        f"T(V + c) = TV + gamma c to {worst:.0e}.",
        {"pairs": n, "monotone": monotone, "largest_ratio_to_gamma": found.largest, "largest_shift_error": worst},
    )


CLAIMS = (
    Claim(
        "games.operators",
        f"{PAPER}, section 4",
        "The Shapley operator T, (TV)(s) = val Q_V(s), is monotone and contracts the distance to V* by gamma, and "
        "T(V + c) = TV + gamma c.",
        contractions,
    ),
    Claim(
        "games.theorem-1",
        f"{PAPER}, Theorem 1",
        "If c = gamma^(H-1) [2 + gamma^m (1 + gamma)]/(1 - gamma) < 1, Algorithm 1 with lookahead H and return m has "
        "||V_k - V*|| <= c^k ||V_0 - V*||.",
        theorem_1,
    ),
    Claim(
        "games.proof-27-29",
        f"{PAPER}, section 10, inequalities (27) and (29)",
        "The pair that is greedy for W = T^(H-1) V has ||V^{mu,nu} - W|| <= gamma^(H-1) (1 + gamma)/(1 - gamma) "
        "||V - V*||.",
        proof_bound,
    ),
    Claim(
        "games.large-return",
        f"{PAPER}, the remark below Assumption 1",
        "A large return m can mitigate the amount of lookahead that is needed.",
        large_return,
    ),
    Claim(
        "games.value-iteration",
        f"{PAPER}, Remark 3",
        "Value iteration for Markov games is a special case of Algorithm 1: V_{k+1} = TV_k with H = m = 1.",
        value_iteration,
    ),
)
