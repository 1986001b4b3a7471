"""What Winnicki and Srikant say of other methods: which cycle, which fail, which converge, and at what price."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...models import MarkovGame, garnet_game
from ...models.classic import deep_lookahead_cycle, filar_tolwinski_failure, turn_based_cycle, van_der_wal
from ...solvers import (
    Status,
    contraction,
    filar_tolwinski,
    hoffman_karp,
    joint_action_values,
    lookahead_policy_iteration,
    naive_policy_iteration,
    residual_conditioned_policy_iteration,
    shapley_iteration,
    solve_game,
    two_pair_policy_iteration,
)
from ...solvers.games.hoffman_karp import hoffman_karp_iterates
from ...solvers.games.lookahead import lookahead_iterates
from ...solvers.games.sweeps import GameBackup, GameSweeps
from .bounds import compare
from .ledger import Claim, Evidence, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

PAPER = "Winnicki and Srikant, arXiv 2303.09716"
EXACT = 1e-9


def naive_cycle(_: np.random.Generator) -> Evidence:
    """Naive policy iteration on Van der Wal's game."""
    backups, settled = _iterates(van_der_wal(), 1, np.zeros(2), 9), _iterates(van_der_wal(), 2, np.zeros(2), 9)
    values = [float(backup.v[0]) for backup in backups]
    period = _period(backups)
    verdict = Verdict.HOLDS if period > 1 else Verdict.IN_DOUBT
    return Evidence(
        verdict,
        f"On a game of one live state with V* = 8 the values go {', '.join(f'{v:g}' for v in values[:6])}, ..., a "
        f"cycle of length {period}; with two steps of lookahead it is {_period(settled)}.",
        {"period": period, "optimal_value": 8.0, **{f"value_{k}": v for k, v in enumerate(values[:6])}},
        lambda: _paths({H: _iterates(van_der_wal(), H, np.zeros(2), 12) for H in (1, 2, 3)}, 8.0),
    )


def turn_based(_: np.random.Generator) -> Evidence:
    """Naive policy iteration on a deterministic game in which players move in turn."""
    game = turn_based_cycle()
    backups = _iterates(game, 1, _value_of(game, (1, 0, 0, 1)), 9)
    period, gap = _period(backups), min(_least_gap(game, backup.v) for backup in backups)
    verdict = Verdict.HOLDS if period > 1 and gap > EXACT else Verdict.IN_DOUBT
    return Evidence(
        verdict,
        "Four states, deterministic, gamma = 0.9, one player to move in each: the policies recur with period "
        f"{period}, and no choice is tied (the least gap between two actions is {gap:.3g}). Condon's own game was not "
        "at hand; this one was found by search.",
        {"period": period, "least_gap": gap},
    )


def enough_lookahead(rng: np.random.Generator) -> Evidence:
    """Games on which naive policy iteration cycles, with as much lookahead as Assumption 1 asks for."""
    n, named = 300, [van_der_wal(), turn_based_cycle(), deep_lookahead_cycle()]
    drawn = [integer_game(rng, 0.9) for _ in range(n)]
    cycling = [game for game in (*named, *drawn) if not solves(game, 1)]
    asked = {game.gamma: contraction(game.gamma, 1, math.inf).smallest_lookahead_paper for game in cycling}
    cured = sum(solves(game, asked[game.gamma]) for game in cycling)
    soon = sum(solves(game, 2) for game in cycling)
    told = ", ".join(f"{H} at gamma = {gamma:g}" for gamma, H in sorted(asked.items()))
    verdict = Verdict.FALSE if cured < len(cycling) else Verdict.HOLDS if cycling else Verdict.IN_DOUBT
    return Evidence(
        verdict,
        f"Of {n} random games and {len(named)} made for it naive policy iteration cycles on {len(cycling)} from V = 0. "
        f"With the H of Assumption 1 ({told}) {cured} of these {len(cycling)} are solved, {soon} with H = 2 already.",
        {"games": len(cycling), "cured": cured, "cured_h2": soon},
    )


def least_lookahead(rng: np.random.Generator) -> Evidence:
    """How little lookahead fails on a game made for it, and how little is enough on random ones."""
    n, gamma, most = 250, 0.9, 6
    failing = [H for H in range(1, most + 1) if not solves(deep_lookahead_cycle(), H)]
    values = [float(backup.v[0]) for backup in _evaluated(deep_lookahead_cycle(), 3, 5)]
    games = [integer_game(rng, gamma) for _ in range(n)]
    parts = {H: sum(solves(game, H) for game in games) / n for H in (1, 2, 3)}
    constants = contraction(gamma, 1, math.inf)
    return Evidence(
        Verdict.HOLDS if max(failing, default=1) > 1 else Verdict.IN_DOUBT,
        f"Not any lookahead will do: on a game of one live state with gamma = {gamma}, m = infinity and V* = "
        f"{10 / 0.325:.4g} the values of the policies from H = 3 go {', '.join(f'{v:.4g}' for v in values)}, ..., and "
        f"of H = 1 to {most} it is {', '.join(map(str, failing))} that cycle. But the assumption's H = "
        f"{constants.smallest_lookahead_paper} ({constants.smallest_lookahead} by the best constant) is sufficient, "
        f"not necessary: of {n} random games of two states {parts[1]:.1%} are solved with H = 1, {parts[2]:.1%} with "
        f"H = 2 and {parts[3]:.1%} with H = 3.",
        {
            "longest_cycling_h": max(failing, default=0),
            "games": n,
            **{f"solved_h{H}": part for H, part in parts.items()},
            "paper_h": constants.smallest_lookahead_paper,
            "best_h": constants.smallest_lookahead,
        },
    )


def solves(game: MarkovGame, lookahead: int) -> bool:
    """Whether policy iteration with so much lookahead and exact evaluation converges from V = 0."""
    solution = lookahead_policy_iteration(game, 1e-6, lookahead=lookahead, rollout=math.inf, max_iterations=200)
    return solution.status is Status.CONVERGED


def integer_game(rng: np.random.Generator, gamma: float) -> MarkovGame:
    """Two states, two actions each, deterministic transitions, rewards 0 to 6."""
    P = np.eye(2)[rng.integers(0, 2, (2, 2, 2))]
    return MarkovGame(P, rng.integers(0, 7, (2, 2, 2)).astype(np.float64), gamma, np.array([0.5, 0.5]))


def filar_tolwinski_fails(_: np.random.Generator) -> Evidence:
    """The algorithm of Filar and Tolwinski, and the same game with its tied actions exchanged."""
    game = filar_tolwinski_failure()
    P, r = np.asarray(game.P).copy(), np.array(game.r)
    P[0] = P[0][:, ::-1]
    exchanged = MarkovGame(P, r, game.gamma, game.rho, n_actions_1=game.n_actions_1)
    stalled, other = filar_tolwinski(game), filar_tolwinski(exchanged)
    verdict = Verdict.HOLDS if stalled.status is Status.STALLED else Verdict.IN_DOUBT
    error = float(np.abs(stalled.value - solve_game(game).value).max())
    return Evidence(
        verdict,
        "On the example of Badger, Huang and Petrik, from V = 0, where two actions are tied, no step of the line "
        f"search is accepted (status {stalled.status.name.lower()}, {error:.3g} from V*). With the tied actions "
        f"exchanged it ends {other.status.name.lower()}: what fails it is how the tie is broken.",
        {"stalled": stalled.status is Status.STALLED, "error": error, "exchanged": other.status.name.lower()},
    )


def monotone(rng: np.random.Generator) -> Evidence:
    """Hoffman and Karp's iterates on random games: do they rise, and how fast do they close in?"""
    n, falls, ratios, off = 40, 0, list[float](), list[float]()
    for _ in range(n):
        game = garnet_game(6, 3, 3, 3, rng, gamma=float(rng.choice([0.5, 0.8, 0.9])))
        best = solve_game(game, 1e-11).value
        iterates, path = hoffman_karp_iterates(GameSweeps(game), np.zeros(6), player=0), list[FloatArray]()
        for backup in iterates:
            path.append(backup.v)
            if backup.residual < 1e-9 or len(path) > 30:
                break
        errors = np.array([np.abs(v - best).max() for v in path])
        falls += sum(
            bool((new < old - 2e-3 * step).any())
            for old, new, step in zip(path[1:], path[2:], errors[1:], strict=False)
        )
        ratios += list(errors[1:] / errors[:-1] / game.gamma)
        off += list(1e-8 / errors[:-1])
    found = compare(ratios, 1.0, rounding=np.array(off) + 1e-3)
    verdict = Verdict.FALSE if falls or found.violations else Verdict.HOLDS
    return Evidence(
        verdict,
        f"{found.cases} iterations on {n} random games: {falls} falls, and no error shrinks by less than "
        f"{found.largest:.3g} gamma.",
        {"games": n, "iterations": found.cases, "falls": falls, "largest_ratio_to_gamma": found.largest},
    )


def only_convergent(_: np.random.Generator) -> Evidence:
    """Other methods on the games that naive policy iteration, and lookahead, cycle on."""
    games = {
        "Van der Wal's": van_der_wal(),
        "the turn-based": turn_based_cycle(),
        "the one for H = 3": deep_lookahead_cycle(),
        "Filar and Tolwinski's": filar_tolwinski_failure(),
    }
    methods = {
        "two-pair": two_pair_policy_iteration,
        "residual-conditioned": residual_conditioned_policy_iteration,
        "safeguarded": solve_game,
        "Hoffman-Karp": hoffman_karp,
    }
    solved = {
        name: sum(method(game).status is Status.CONVERGED for game in games.values())
        for name, method in methods.items()
    }
    verdict = Verdict.FALSE if solved["two-pair"] == len(games) else Verdict.IN_DOUBT
    return Evidence(
        verdict,
        "Bertsekas's method of two pairs (2021) was known: the paper's own section 1 names it, as one that converges "
        f"and stores more. It solves no decision problem, and {solved['two-pair']} of {len(games)} games on which "
        "others cycle or stall. Later methods that are proved to converge solve as many: residual-conditioned policy "
        f"iteration {solved['residual-conditioned']}, the safeguarded method of this package {solved['safeguarded']}.",
        {"games": len(games), **{name.replace("-", "_"): count for name, count in solved.items()}},
    )


def slower_in_practice(rng: np.random.Generator) -> Evidence:
    """Shapley's iteration beside naive policy iteration, by the matrix games they solve."""
    n, ratios, cycled = 15, {0.9: list[float](), 0.97: list[float]()}, 0
    for gamma, found in ratios.items():
        for _ in range(n):
            game = garnet_game(20, 3, 3, 4, rng, gamma=gamma)
            naive, shapley = naive_policy_iteration(game, 1e-6), shapley_iteration(game, 1e-6, macqueen=False)
            cycled += naive.status is not Status.CONVERGED
            if naive.status is Status.CONVERGED and naive.work is not None and shapley.work is not None:
                found.append(shapley.work.sweeps / naive.work.sweeps)
    medians = {gamma: float(np.median(found)) for gamma, found in ratios.items()}
    least = min(min(found) for found in ratios.values())
    verdict = Verdict.HOLDS if min(medians.values()) > 1.0 else Verdict.FALSE
    return Evidence(
        verdict,
        f"Of {2 * n} random games of 20 states, {2 * n - cycled} are solved by naive policy iteration; to an error of "
        f"1e-6 Shapley's iteration takes {medians[0.9]:.3g} (gamma = 0.9) and {medians[0.97]:.3g} (0.97) times as "
        f"many sweeps of matrix games, medians, and nowhere less than {least:.2g} times.",
        {"games": 2 * n, "cycled": cycled, "ratio_gamma_0.9": medians[0.9], "ratio_gamma_0.97": medians[0.97]},
    )


def _iterates(game: MarkovGame, lookahead: int, start: FloatArray, n: int) -> list[GameBackup]:
    """T applied to the first n of W_0, W_1, ...; with H = 1 these are the values V_k themselves."""
    iterates = lookahead_iterates(GameSweeps(game), start, lookahead=lookahead, rollout=math.inf)
    return [next(iterates) for _ in range(n)]


def _evaluated(game: MarkovGame, lookahead: int, n: int) -> list[GameBackup]:
    """T applied to V_1, ..., V_n, the exact values of the pairs of policies."""
    sweeps, values = GameSweeps(game), list[FloatArray]()
    for backup in _iterates(game, lookahead, np.zeros(game.n_states), n):
        values.append(sweeps.evaluate(backup, math.inf))
    return [sweeps.backup(v) for v in values]


def _period(backups: list[GameBackup]) -> int:
    """After how many iterations the last value was last met; 0 where it is new, 1 where it stays."""
    last = backups[-1].v
    for k in range(1, len(backups)):
        if np.abs(backups[-1 - k].v - last).max() <= EXACT * (1.0 + np.abs(last).max()):
            return k
    return 0


def _value_of(game: MarkovGame, actions: tuple[int, ...]) -> FloatArray:
    """The value (S,) of one action in each state, in a game in which one player moves at a time."""
    states = np.arange(game.n_states)
    a = np.minimum(actions, game.n_actions_0 - 1)
    b = np.minimum(actions, game.n_actions_1 - 1)
    P = np.asarray(game.P)[states, a, b]
    return np.asarray(np.linalg.solve(np.eye(game.n_states) - game.gamma * P, game.r[states, a, b]), dtype=np.float64)


def _least_gap(game: MarkovGame, v: FloatArray) -> float:
    """The least difference between two actions of whoever moves, in a game of two actions each."""
    q = joint_action_values(game, v)
    return min(
        float(np.ptp(q[s, :A, :B])) for s, (A, B) in enumerate(zip(game.n_actions_0, game.n_actions_1, strict=True))
    )


def _paths(paths: dict[int, list[GameBackup]], optimal: float) -> str:
    from ...evaluation.plots import COLOURS, INK, draw

    def paint(axes: "Axes") -> None:
        axes.axhline(optimal, color=INK, linewidth=1.2)
        for colour, (H, backups) in zip(COLOURS, paths.items(), strict=False):
            values = [float(backup.v[0]) for backup in backups]
            axes.plot(values, color=colour, marker="o", markersize=4, label=f"H = {H}")
        axes.set_xlabel("iteration")
        axes.set_ylabel("W(0); V* = 8")
        axes.legend(loc="upper right", ncols=3)
        axes.margins(y=0.25)

    return draw(paint)


CLAIMS = (
    Claim(
        "games.naive-cycles",
        f"{PAPER}, section 1, after Van der Wal (1978)",
        "Naive policy iteration, which evaluates greedy pairs of policies exactly, does not converge in general.",
        naive_cycle,
    ),
    Claim(
        "games.turn-based-cycles",
        f"{PAPER}, section 5, after Condon (1990)",
        "Naive policy iteration need not converge in games in which the players move in turn.",
        turn_based,
    ),
    Claim(
        "games.enough-lookahead",
        f"{PAPER}, abstract and section 5.1",
        "The only addition that naive policy iteration needs to converge on all discounted games are lookahead "
        "policies, H being as large as Assumption 1 asks.",
        enough_lookahead,
    ),
    Claim(
        "games.assumption-1",
        f"{PAPER}, the remark below Assumption 1",
        "The lookahead H must be sufficiently large.",
        least_lookahead,
    ),
    Claim(
        "games.filar-tolwinski",
        f"{PAPER}, section 1, after Pérolat et al. (2016)",
        "The algorithm of Filar and Tolwinski, naive policy iteration with a line search, does not converge in "
        "general.",
        filar_tolwinski_fails,
    ),
    Claim(
        "games.hoffman-karp",
        f"{PAPER}, section 5, equation (5), after Hoffman and Karp (1966)",
        "V_{k+1} = min_nu V^{mu_k,nu} with mu_k greedy for V_k rises from k = 1 on, and its error shrinks by gamma or "
        "faster.",
        monotone,
    ),
    Claim(
        "games.only-convergent",
        f"{PAPER}, abstract",
        "The only known convergent version of policy iteration for games has to solve decision problems.",
        only_convergent,
    ),
    Claim(
        "games.shapley-slower",
        f"{PAPER}, section 2, after Van der Wal (1978)",
        "Shapley's value iteration is slower in practice than naive policy iteration.",
        slower_in_practice,
    ),
)
