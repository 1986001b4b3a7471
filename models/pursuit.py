"""Pursuit and evasion on a square grid: a zero-sum game that mixes slowly.

Random games mix so fast that any planner looks good on them. Here many moves lie between two captures, so that value
iteration goes at the pace of the discount. One law M moves both players, one step on the grid that may slip; unless
they have met, the law of the pair is the product

    P(p', e' | p, e, a, b) = M(p' | p, a) M(e' | e, b).

Slips make the game. Without them v* = 1 where the players meet and 0 elsewhere, for the evader can always step out of
the pursuer's reach: at a distance of two or more he stays where he is; next to the pursuer he moves to another
neighbour of his own cell, which is not next to the pursuer, since cells of one colour of the chequered grid are not.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._checks import FloatArray, IntArray, discount, require_room, unit_number, whole_number
from .game import MarkovGame
from .linear import TABULAR_BYTES

STEPS = np.array([(0, 0), (-1, 0), (0, 1), (1, 0), (0, -1)])
"""Row and column steps of the actions: stay, north, east, south, west."""


def pursuit_game(n: int, *, slip: float = 0.1, gamma: float = 0.99, max_bytes: int = TABULAR_BYTES) -> MarkovGame:
    """Pursuit on an n x n grid: player_0 pursues player_1, who pays 1 for each capture.

    In state p n^2 + e the pursuer is in cell p and the evader in cell e, cells counted row by row. Both choose at the
    same time to stay or to move north, east, south or west. Each, independently of the other, slips with probability
    ``slip``: it stays where it is, as does one who would leave the grid. Two who trade places pass each other.

    Where p = e the evader is caught: whatever the actions, that step pays 1 and sets the two in opposite corners, each
    of the four placements having probability 1/4. Play begins with such a placement and never ends. With slip = 0, and
    with slip = 1, v* = 1 where p = e and 0 elsewhere.

    Args:
        n: Rows and columns, at least 2; S = n^4.
        slip: Probability that a player does not move, in [0, 1].
        gamma: Discount.
        max_bytes: The largest game to build: up to 1,525 n^4 bytes, for n >= 69, whose indices take eight bytes, up
            to 2,025 n^4; and about twice that while it is being built.

    Raises:
        ModelError: An argument out of range, or a game that would be larger; nothing has been allocated then.
    """
    n, slip, gamma = whole_number("n", n, 2), unit_number("slip", slip), discount(gamma)
    _require_room(n, whole_number("max_bytes", max_bytes, 0))
    n_cells = n * n
    r, rho = np.zeros((n_cells, n_cells, 5, 5)), np.zeros(n_cells**2)
    r[np.arange(n_cells), np.arange(n_cells)] = 1.0
    rho[_opposite_corners(n)] = 0.25
    return MarkovGame(_joint_law(n, slip), r.reshape(-1, 5, 5), gamma, rho)


def _require_room(n: int, max_bytes: int) -> None:
    # For every state 25 rows: their ends and rewards, and at most four outcomes each; then rho, masks and counts.
    needed = n**4 * (25 * (4 * (8 + _index_type(n).itemsize) + _index_type(n).itemsize + 8) + 25)
    require_room(f"a pursuit game with {n**4:,} states", needed, max_bytes, "pass a smaller n, or raise max_bytes")


def _index_type(n: int) -> np.dtype[Any]:
    """The integers that count the at most 100 n^4 outcomes."""
    return np.dtype(np.int32 if 100 * n**4 < 2**31 else np.int64)


def _opposite_corners(n: int) -> IntArray:
    """The four states (4,), ascending, in which the players stand in opposite corners."""
    corner = np.array([0, n - 1, n * n - n, n * n - 1])
    return corner * n * n + corner[::-1]


def _joint_law(n: int, slip: float) -> sp.csr_array:
    """P as CSR (25 n^4, n^4), outcomes of probability zero left out and next states ascending in each row."""
    cells, weights = _one_player(n, slip)
    cells, n_cells = cells.astype(_index_type(n)), n * n
    next_states = _of_pursuer(cells) * n_cells + _of_evader(cells)
    probabilities = _of_pursuer(weights) * _of_evader(weights)
    met = np.arange(n_cells)
    next_states[met, met], probabilities[met, met] = _opposite_corners(n).reshape(2, 2), 0.25
    happens = probabilities > 0
    indptr = np.zeros(25 * n_cells**2 + 1, dtype=cells.dtype)
    np.cumsum(happens.sum(axis=(4, 5)), out=indptr[1:])
    shape = (25 * n_cells**2, n_cells**2)
    return sp.csr_array((probabilities[happens], next_states[happens], indptr), shape=shape)


def _one_player(n: int, slip: float) -> tuple[IntArray, FloatArray]:
    """M as two outcomes, next cells ascending (n^2, 5, 2) with their probabilities; a certain one comes first."""
    position = np.stack(np.divmod(np.arange(n * n), n), axis=1)
    moved = np.clip(position[:, None] + STEPS, 0, n - 1) @ np.array([n, 1])
    here = np.broadcast_to(np.arange(n * n)[:, None], moved.shape)
    cells, weights = (
        np.stack((here, moved), axis=2),
        np.where((moved == here)[:, :, None], [1.0, 0.0], [slip, 1 - slip]),
    )
    order = np.argsort(cells, axis=2, kind="stable")
    return np.take_along_axis(cells, order, axis=2), np.take_along_axis(weights, order, axis=2)


def _of_pursuer(table: NDArray[Any]) -> NDArray[Any]:
    """A table (cell, action, outcome) on the first of each two axes (p, e, a, b, outcome, outcome)."""
    return table[:, None, :, None, :, None]


def _of_evader(table: NDArray[Any]) -> NDArray[Any]:
    """The same on the second of each two."""
    return table[None, :, None, :, None, :]
