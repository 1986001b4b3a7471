"""Zero-sum matrix games: values and optimal mixed policies of a whole batch at once.

The game M (A x B) pays M(a, b) from the column player to the row player. Its value

    val(M) = max_mu min_b (mu M)(b) = min_nu max_a (M nu)(a)

exists in mixed policies (von Neumann, Mathematische Annalen 100, 1928). For any pair (mu, nu) the duality gap
max_a (M nu)(a) - min_b (mu M)(b) >= 0 bounds how far either policy is from optimal, whatever produced it.

Guarantee: every answer returned has a duality gap, evaluated from the answer, of at most RELATIVE_GAP times the range
of the payoffs. The float64 kernel nearly always gets there with digits to spare; the rare game that rounding
defeats (pairs of rows equal to eight digits, say) is solved in exact integer arithmetic.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..models._checks import (
    BoolArray,
    ModelError,
    entry,
    first,
    frozen,
    plain_array,
    real_array,
    require_positive,
    require_shape,
)
from .exact_matrix_game import optimal_policies
from .solution import FloatArray, IntArray

RELATIVE_GAP = 1e-9
"""Largest duality gap of an answer, as a fraction of the range of the game's payoffs."""


class MatrixGameSolutions(NamedTuple):
    """Solutions of N matrix games.

    Attributes:
        values: Values of the games (N,), in the unit of the payoffs.
        mu: Optimal policies of the row player, who maximises (N, A); zero outside the action set.
        nu: Optimal policies of the column player, who minimises (N, B).
        basis: Where the simplex method ended (N, A + B): True for the rows of positive shadow price, which mu may play,
            and, from A on, for the basic columns, which nu may play; as many of the ones as of the others. It starts
            the next solution of similar games.
    """

    values: FloatArray
    mu: FloatArray
    nu: FloatArray
    basis: BoolArray

    @property
    def n_mixed(self) -> int:
        """Number of games in which a player mixes."""
        return int(np.count_nonzero((self.mu.max(axis=1) < 1.0) | (self.nu.max(axis=1) < 1.0)))


def solve_matrix_games(
    payoffs: ArrayLike,
    n_actions_0: ArrayLike | None = None,
    n_actions_1: ArrayLike | None = None,
    start: ArrayLike | None = None,
) -> MatrixGameSolutions:
    """Values and optimal policies of N zero-sum matrix games.

    Args:
        payoffs: (N, A, B), paid to player_0, the row player, who maximises.
        n_actions_0: (N,) number of rows in play, which are the first ones. None: A in every game.
        n_actions_1: (N,) number of columns in play. None: B in every game.
        start: The basis (N, A + B) of a solution of similar games: their ``basis``. It saves pivots where the games
            have moved little, and never changes the values by more than the guarantee. None: a cold start.

    Returns:
        Values (N,), mu (N, A) and nu (N, B), of a duality gap at most RELATIVE_GAP times each game's payoff range,
        and the basis (N, A + B).

    Raises:
        ModelError: Naming the payoff that is not finite, the action count out of bounds, the game whose range
            overflows float64, or a start of the wrong shape or type.
        ArithmeticError: Naming a game whose answer misses the guarantee; no answer is returned then.
    """
    games, counts_0, counts_1 = require_games(payoffs, n_actions_0, n_actions_1)
    return solve_checked(games, counts_0, counts_1, _start(start, games.shape))


def require_games(
    payoffs: ArrayLike, n_actions_0: ArrayLike | None, n_actions_1: ArrayLike | None
) -> tuple[FloatArray, IntArray, IntArray]:
    """Payoffs (N, A, B) as fresh float64 and both action counts (N,), read-only.

    Raises:
        ModelError: Naming the payoff that is not finite or the action count out of bounds.
    """
    games = real_array("payoffs", payoffs)
    if games.ndim != 3:
        raise ModelError(f"payoffs has shape {games.shape}; expected (N, A, B), a single game being payoffs[None]")
    require_positive("payoffs", games.shape[1], "rows")
    require_positive("payoffs", games.shape[2], "columns")
    counts_0 = _counts("n_actions_0", n_actions_0, games.shape[0], games.shape[1])
    counts_1 = _counts("n_actions_1", n_actions_1, games.shape[0], games.shape[2])
    return games, counts_0, counts_1


def solve_checked(
    games: FloatArray, counts_0: IntArray, counts_1: IntArray, start: BoolArray | None = None
) -> MatrixGameSolutions:
    """:func:`solve_matrix_games` for C-ordered float64 payoffs, int64 counts and a start known to be in order.

    The counts are read-only, as a game's are: numba would compile the kernel once more for writable ones.
    """
    from .matrix_game_kernels import solve_batch  # numba's start-up would show in programs that solve no game

    n_games, most_0, most_1 = games.shape
    values, gaps = np.empty(n_games), np.empty(n_games)
    mu, nu = np.empty((n_games, most_0)), np.empty((n_games, most_1))
    basis = np.zeros((n_games, most_0 + most_1), dtype=np.bool_) if start is None else start.copy()
    solve_batch(games, counts_0, counts_1, values, mu, nu, gaps, basis, start is not None)
    # "Not at most" rather than "above", so that a gap that is not a number counts as missed.
    for k in np.flatnonzero(~(gaps <= RELATIVE_GAP)):
        m, n = counts_0[k], counts_1[k]
        values[k], mu[k, :m], nu[k, :n] = _solve_exactly(int(k), games[k, :m, :n])
    return MatrixGameSolutions(values, mu, nu, basis)


def _start(start: ArrayLike | None, shape: tuple[int, ...]) -> BoolArray | None:
    if start is None:
        return None
    basis = plain_array("start", start)
    if basis.dtype != np.bool_:
        raise ModelError(f"start has dtype {basis.dtype}; pass the basis of an earlier solution, which is boolean")
    require_shape("start", basis, (shape[0], shape[1] + shape[2]), "(N, A + B)")
    return basis


def _counts(name: str, counts: ArrayLike | None, n_games: int, most: int) -> IntArray:
    if counts is None:
        return frozen(np.full(n_games, most, dtype=np.int64))
    array = np.array(counts)
    if array.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {array.dtype}; pass one integer a game")
    require_shape(name, array, (n_games,), "(N,)")
    bad = (array < 1) | (array > most)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; every game needs 1 to {most} actions")
    return frozen(array.astype(np.int64))


def _solve_exactly(index: int, game: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Value and policies of one game by exact arithmetic, verified like every other answer."""
    low = float(game.min())
    extent = float(game.max()) - low
    if not np.isfinite(extent):
        raise ModelError(f"payoffs[{index}] ranges over more than float64 holds; divide all payoffs by a constant")
    shifted = game - low
    mu, nu = optimal_policies(shifted)
    below, above = (mu @ shifted).min(), (shifted @ nu).max()
    if not above - below <= RELATIVE_GAP * extent:
        raise ArithmeticError(
            f"payoffs[{index}]: no pair of policies found with a duality gap within {RELATIVE_GAP:g} of the range; "
            f"the best one has {(above - below) / extent:.3g}"
        )
    return float(low + 0.5 * (below + above)), mu, nu
