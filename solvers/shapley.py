"""Shapley iteration: value iteration for zero-sum Markov games.

Repeat v <- T v, where T v(s) is the value of the matrix game Q_v(s) (Shapley, Stochastic Games, PNAS 39, 1953). With
gamma < 1, T is a contraction of modulus gamma in the supremum norm. Because T is monotone and
T(v + c) = T v + gamma c, the span of T v - v contracts too, usually faster, and

    T v + gamma / (1 - gamma) min(T v - v)  <=  v*  <=  T v + gamma / (1 - gamma) max(T v - v).

The greedy pair of v guarantees both bounds. The iteration stops once they lie within tol of each other, and
returns T v moved to their middle (MacQueen, Journal of Mathematical Analysis and Applications 14, 1966; van der Wal,
Stochastic Dynamic Programming, 1981). Where there are terminal states, whose value is known, nothing is moved.

With gamma = 1 every pair of policies must terminate. Then T contracts in the supremum norm weighted by the longest
expected play xi, of modulus 1 - 1 / max(xi), and xi takes the place of 1 / (1 - gamma) (:mod:`.game_certificates`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..models import MarkovGame
from ..models._checks import whole_number
from .game_certificates import Play, analyse_play, certify_pair
from .game_operators import shapley_operator
from .policies import require_start, require_tolerance
from .solution import FloatArray, Solution, Status

Pair = tuple[FloatArray, FloatArray]

# In exact arithmetic every sweep narrows the bounds; so many in a row that do not mean that rounding sets the pace.
PATIENCE = 64


@dataclass(frozen=True, eq=False)
class _Sweep:
    """One application of T to some v.

    Attributes:
        value: T v, moved to the middle of its bounds, (S,).
        mu: Greedy policy of player_0 for v (S, A).
        nu: Greedy policy of player_1 for v (S, B).
        gap: Distance of the bounds, rounding apart.
        is_idle: Whether the gap has stopped falling.
    """

    value: FloatArray
    mu: FloatArray
    nu: FloatArray
    gap: float
    is_idle: bool


def shapley_iteration(
    game: MarkovGame, tol: float = 1e-8, *, max_iterations: int = 100_000, start: ArrayLike | None = None
) -> Solution[Pair]:
    """Nash value and an optimal pair of policies by Shapley iteration.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap, in the unit of the rewards.
        max_iterations: Largest number of sweeps, at least 1.
        start: Value (S,) to start from. None: zero.

    Returns:
        value (S,), policy (mu (S, A), nu (S, B)), and one entry of history for each sweep: the gap it promises.
        certificate.lower is guaranteed to player_0 by mu, certificate.upper to player_1 by nu.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
    """
    tol, max_iterations = require_tolerance(tol), whole_number("max_iterations", max_iterations, 1)
    play = analyse_play(game)
    sweeps = _sweeps(game, play, require_start(start, game))
    latest = next(sweeps)
    history = [latest.gap]
    try:
        status = Status.ITERATION_LIMIT
        while len(history) < max_iterations and not _is_done(latest, play, tol):
            latest = next(sweeps)
            history.append(latest.gap)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return _answer(game, play, latest, tol, status, tuple(history))


def _sweeps(game: MarkovGame, play: Play, v: FloatArray) -> Iterator[_Sweep]:
    """Sweeps from v on; each value is moved to the middle of its bounds, which changes no later policy."""
    middle = 0.5 * game.gamma / (1.0 - game.gamma) if game.gamma < 1.0 and not game.terminal.any() else 0.0
    patience = PATIENCE if game.gamma < 1.0 else PATIENCE + game.n_states
    least, idle = np.inf, 0
    while True:
        value, mu, nu, _ = shapley_operator(game, v)
        low, high = float((value - v).min()), float((value - v).max())
        gap = game.gamma * (high - low) * play.longest
        least, idle = (gap, 0) if gap < least else (least, idle + 1)
        v = value + middle * (low + high)
        yield _Sweep(v, mu, nu, gap, idle > patience)


def _is_done(sweep: _Sweep, play: Play, tol: float) -> bool:
    """Whether the promised gap leaves room for rounding within tol, or has stopped falling."""
    rounding = max(play.error(sweep.value) + play.defect(policy, sweep.value) for policy in (sweep.mu, sweep.nu))
    return sweep.is_idle or sweep.gap <= max(0.0, tol - 2 * rounding * play.longest)


def _answer(
    game: MarkovGame, play: Play, sweep: _Sweep, tol: float, status: Status, history: tuple[float, ...]
) -> Solution[Pair]:
    certificate = certify_pair(game, play, sweep.value, sweep.mu, sweep.nu)
    if certificate.gap <= tol:
        status = Status.CONVERGED
    elif status is Status.ITERATION_LIMIT and _is_done(sweep, play, tol):
        status = Status.PRECISION_LIMIT
    return Solution(sweep.value, (sweep.mu, sweep.nu), certificate, status, len(history), history)
