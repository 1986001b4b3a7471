"""Winnicki and Srikant's Theorem 4: a game estimated from samples, and planned in as if it were the true one."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...envs.simulators import TabularSimulator
from ...models import MarkovGame, garnet_game, random_linear_game
from ...solvers import choose_design, estimate_game, model_based_planning, solve_game
from .ledger import Claim, Evidence, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

PAPER = "Winnicki and Srikant, arXiv 2303.09716"
DELTA = 0.05
GAMMA = 0.8
SIZES = (300, 1000, 3000)
"""Samples of each triple, enough for the theorem to promise an eps of at most (1 - gamma)^(-1/2)."""


def accuracy(rng: np.random.Generator, constant: float = 1.0) -> Evidence:
    """Errors of games learned from N samples of each triple, beside the eps that the theorem grants to that N."""
    gamma, sizes, games = GAMMA, SIZES, 12
    errors = np.zeros((len(sizes), games))
    for g in range(games):
        game = garnet_game(6, 2, 2, 3, rng, gamma=gamma)
        for i, N in enumerate(sizes):
            learned = model_based_planning(
                TabularSimulator(game), (2, 2), N, gamma=gamma, rho=game.rho, rng=rng, rewards=game.r, truth=game
            )
            assert learned.realised is not None  # the truth was given
            errors[i, g] = learned.realised.value
    eps = np.array([_eps(N, 24, gamma, constant) for N in sizes])
    kept = float((errors <= eps[:, None]).mean(axis=1).min())
    slope = float(np.polyfit(np.log(sizes), np.log(errors.mean(axis=1)), 1)[0])
    needed = float((errors.max(axis=1) / eps).max() ** 2) * constant
    return Evidence(
        Verdict.HOLDS if kept >= 1.0 - DELTA else Verdict.IN_DOUBT,
        f"{games} games, gamma = {gamma}, {sizes[0]:,} to {sizes[-1]:,} samples a triple: the error of the value falls "
        f"like N^{slope:.2f}, and at each N at least {kept:.0%} of the runs are within the eps of the theorem, its "
        f"unnamed constant set to {constant:g}; on these games {needed:.2g} would do.",
        {"games": games, "kept": kept, "slope": slope, "constant_needed": needed},
        lambda: _errors(np.array(sizes), errors, eps),
    )


def _eps(N: int, triples: int, gamma: float, constant: float) -> float:
    """The eps for which the theorem asks for N samples, with known rewards in [0, 1]."""
    spread = math.log(max(math.e, constant * triples / ((1.0 - gamma) ** 2 * DELTA)))
    return math.sqrt(constant * gamma * spread / ((1.0 - gamma) ** 3 * N))


def _errors(sizes: FloatArray, errors: FloatArray, eps: FloatArray) -> str:
    from ...evaluation.plots import COLOURS, draw

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot(
            np.repeat(sizes, errors.shape[1]), errors.ravel(), "o", color=COLOURS[0], markersize=3, label="errors"
        )
        axes.plot(sizes, eps, color=COLOURS[1], label="eps of the theorem, constant 1")
        axes.set_xlabel("samples of each triple")
        axes.set_ylabel("|V_hat - V*|")
        axes.legend(loc="upper right")
        axes.set_ylim(None, 3.0 * float(eps.max()))

    return draw(paint)


def horizon(rng: np.random.Generator) -> Evidence:
    """How errors at a fixed number of samples grow with 1/(1 - gamma), on random games and on a hard chain."""
    gammas, N = np.array([0.9, 0.95, 0.98]), 2000
    random, hard = np.zeros(gammas.size), np.zeros(gammas.size)
    games = [garnet_game(6, 2, 2, 3, rng) for _ in range(6)]
    for i, gamma in enumerate(gammas.tolist()):
        random[i] = np.mean([_value_error(replace(game, gamma=gamma), N, rng) for game in games for _ in range(4)])
        hard[i] = _hard_chain_error(gamma, N, rng)
    powers = [float(np.polyfit(-np.log(1.0 - gammas), np.log(errors), 1)[0]) for errors in (random, hard)]
    holds = max(powers) < 1.75
    decided = powers[1] > 1.25
    return Evidence(
        Verdict.HOLDS if holds and decided else Verdict.IN_DOUBT if holds else Verdict.FALSE,
        f"With N fixed the error should grow like (1 - gamma)^(-3/2). It grows with the power {powers[0]:.2f} on "
        f"random games, and {powers[1]:.2f} on a chain that stays with probability (4 gamma - 1)/(3 gamma), after "
        "Azar, Munos and Kappen (2013): no smaller power would do.",
        {"power_random": powers[0], "power_hard": powers[1]},
    )


def _hard_chain_error(gamma: float, samples: int, rng: np.random.Generator) -> float:
    """The mean error of the value 1 / (1 - gamma p) of a state that pays 1 and stays with probability p, estimated."""
    stay = (4.0 * gamma - 1.0) / (3.0 * gamma)
    estimates = rng.binomial(samples, stay, 20_000) / samples
    return float(np.abs(1.0 / (1.0 - gamma * estimates) - 1.0 / (1.0 - gamma * stay)).mean())


def _value_error(game: MarkovGame, samples: int, rng: np.random.Generator) -> float:
    estimate = estimate_game(
        TabularSimulator(game), game.r.shape[1:], samples, gamma=game.gamma, rho=game.rho, rng=rng, rewards=game.r
    )
    return float(np.abs(solve_game(estimate, 1e-8).value - solve_game(game, 1e-8).value).max())


def empirical_linear(rng: np.random.Generator) -> Evidence:
    """The estimate of a linear game: is it linear, and does planning from its rows at D plan in it?"""
    S, A, B, d, N = 30, 2, 2, 4, 100
    game = random_linear_game(S, A, B, d, rng, gamma=0.8)
    truth = game.to_tabular()
    estimate = estimate_game(TabularSimulator(truth), (A, B), N, gamma=0.8, rho=truth.rho, rng=rng, rewards=truth.r)
    design, rows = choose_design(game), game.phi(np.arange(S)).reshape(-1, d)
    at = design.states * A * B + design.joint_actions
    laws = [model.P_rows @ np.eye(S) for model in (truth, estimate)]
    read = rows @ np.linalg.lstsq(rows[at], laws[1][at])[0]
    ranks = [int(np.linalg.matrix_rank(law, tol=1e-9)) for law in laws]
    v_hat, v_read = solve_game(estimate, 1e-8).value, _fixed_point(truth, read)
    apart, off = float(np.abs(v_hat - v_read).max()), float(np.abs(v_hat - solve_game(truth, 1e-8).value).max())
    negative = float(-read.min())
    return Evidence(
        Verdict.FALSE if ranks[1] > d and apart > 1e-3 else Verdict.HOLDS,
        f"A game of {S} states and d = {d}: its law has rank {ranks[0]}, the law estimated from {N} samples a triple "
        f"rank {ranks[1]}, so it is not linear in the features. The rows at D stand for a law with entries down to "
        f"{-negative:.2g} and values up to {apart:.2g} from those of the estimate, which are themselves off by "
        f"{off:.2g}. (That the theorem's accuracy is reached some other way is not refuted by it.)",
        {
            "rank_true": ranks[0],
            "rank_estimated": ranks[1],
            "apart": apart,
            "sampling_error": off,
            "negative": negative,
        },
    )


def _fixed_point(game: MarkovGame, P: FloatArray) -> FloatArray:
    """200 sweeps with rows P (S A B, S) in the place of the game's; they need not be probabilities."""
    from ...solvers import solve_matrix_games

    v = np.zeros(game.n_states)
    for _ in range(200):
        v = solve_matrix_games(game.r + game.gamma * (P @ v).reshape(game.r.shape)).values
    return v


CLAIMS = (
    Claim(
        "games.theorem-4",
        f"{PAPER}, Theorem 4, after Zhang et al. (2020), Theorem 3.3",
        "For 0 < eps <= (1 - gamma)^(-1/2), with C gamma log(C |S||A||B|/((1 - gamma)^2 delta))/((1 - gamma)^3 eps^2) "
        "samples of each triple, planning in the estimate is eps-accurate with probability 1 - delta.",
        accuracy,
    ),
    Claim(
        "games.theorem-4-horizon",
        f"{PAPER}, Theorem 4",
        "The samples needed grow like (1 - gamma)^(-3).",
        horizon,
    ),
    Claim(
        "games.theorem-4-linear",
        f"{PAPER}, section 8 and Theorem 4",
        "In the model estimated from samples of a linear game one plans as in the game itself: by Proposition 1, with "
        "computations that depend on d and not on |S|.",
        empirical_linear,
    ),
)
