"""One matrix game by the simplex method in exact integer arithmetic.

For games so ill-conditioned that float64 cannot tell which basis is optimal. The payoffs are scaled to integers
K in [1, 2] * 2**53, a change of at most 2**-53 of their range, and the condensed tableau of
:mod:`.matrix_game_kernels` is kept as integers over one common denominator, which Edmonds's integer pivoting keeps
an exact division away (Edmonds and Maurras, RAIRO 31, 1997; Azulay and Pique, ACM TOMS 27, 2001): with pivot p in
row r and column c, and d the pivot before it,

    T[i, j] <- (T[i, j] p - T[i, c] T[r, j]) / d.

Every comparison is exact, so Bland's rule makes the method finite without exception. Cost: milliseconds for ten
actions, seconds for fifty, because the integers grow with every pivot.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .solution import FloatArray, IntArray

DEGENERATE_LIMIT = 20  # degenerate pivots in a row before Bland's rule takes over

Integers = NDArray[Any]  # object arrays of Python's unbounded int


def optimal_policies(shifted: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Optimal mu (m,) and nu (n,) of the game ``shifted`` (m, n), whose least payoff is 0 and greatest above 0."""
    m, n = shifted.shape
    tableau = _slack_tableau(shifted)
    basic, nonbasic = np.arange(n, n + m, dtype=np.int64), np.arange(-1, n, dtype=np.int64)
    _simplex(tableau, basic, nonbasic)
    mu: list[int] = [0] * m
    nu: list[int] = [0] * n
    for i in np.flatnonzero(basic < n):
        nu[basic[i]] = tableau[i, 0]
    for j in np.flatnonzero(nonbasic >= n):
        mu[nonbasic[j] - n] = tableau[m, j]
    return _normalised(mu), _normalised(nu)


def _slack_tableau(shifted: FloatArray) -> Integers:
    m, n = shifted.shape
    unit = 2**53
    tableau = np.ones((m + 1, n + 1), dtype=object)
    scaled = np.rint(shifted / shifted.max() * unit)
    tableau[:m, 1:] = [[int(entry) + unit for entry in row] for row in scaled]
    tableau[m, 0], tableau[m, 1:] = 0, -1
    return tableau


def _simplex(tableau: Integers, basic: IntArray, nonbasic: IntArray) -> None:
    """Pivot in place until no price is negative."""
    denominator, degenerate = 1, 0
    while (tableau[-1, 1:] < 0).any():
        c = _entering(tableau, nonbasic, degenerate >= DEGENERATE_LIMIT)
        r = _leaving(tableau, c, basic)
        degenerate = degenerate + 1 if tableau[r, 0] == 0 else 0
        denominator = _pivot(tableau, r, c, denominator)
        basic[r], nonbasic[c] = nonbasic[c], basic[r]


def _entering(tableau: Integers, nonbasic: IntArray, bland: bool) -> int:
    """Column of the lowest price, or under Bland's rule of the lowest label with a negative price."""
    negative = 1 + np.flatnonzero(tableau[-1, 1:] < 0)
    return int(min(negative, key=lambda j: nonbasic[j] if bland else tableau[-1, j]))


def _leaving(tableau: Integers, c: int, basic: IntArray) -> int:
    """Row of the smallest ratio of right-hand side to entry of column c; among ties that of the lowest label."""
    rows = np.flatnonzero(tableau[:-1, c] > 0)
    best = int(rows[0])
    for i in rows[1:]:
        difference = tableau[i, 0] * tableau[best, c] - tableau[best, 0] * tableau[i, c]
        if difference < 0 or (difference == 0 and basic[i] < basic[best]):
            best = int(i)
    return best


def _pivot(tableau: Integers, r: int, c: int, denominator: int) -> int:
    """Exchange row r and column c in place; the new common denominator."""
    pivot, row, column = tableau[r, c], tableau[r].copy(), tableau[:, c].copy()
    tableau[:] = (tableau * pivot - np.outer(column, row)) // denominator
    tableau[r], tableau[:, c] = row, -column
    tableau[r, c] = denominator
    return pivot


def _normalised(weights: list[int]) -> FloatArray:
    """Integer weights as probabilities, each rounded once."""
    total = sum(weights)
    return np.array([weight / total for weight in weights])
