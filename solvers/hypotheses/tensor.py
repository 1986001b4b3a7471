"""Data as polynomials: why contradictions end.

A datum is consistent with theta iff the product of its discriminants vanishes, and a product of inner products is an
inner product of tensor products (Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, COLT 2021):

    prod_a Delta_a(theta) = <D, F(theta)>,    D = (r_1, u_1) ⊗ ... ⊗ (r_A, u_A),    F(theta) = (1, theta)^⊗A.

F(theta) is a symmetric tensor: among its (d+1)^A entries stand only the C(d+A, A) monomials of degree at most A in
theta, and <D, F(theta)> is a polynomial Q in them. Let a planner choose theta_1, theta_2, ... and find data Q_1, Q_2,
..., each theta_j consistent with all earlier data and contradicted by its own:

    Q_i(theta_j) = 0 for i < j,    Q_j(theta_j) != 0.

Then Q_j is no combination of Q_1, ..., Q_{j-1}, which all vanish at theta_j: the data are linearly independent, and
there are no more of them than monomials. There is even one less: where some theta* is consistent with all data, their
coefficients are orthogonal to the monomials of theta*, a vector that is not zero since it begins with 1. Hence

    at most C(d+A, A) - 1 contradictions.

Nothing better holds for all data and objectives. For a multi-index m with 1 <= |m| <= A let Q_m be the product over j
and i < m_j of (theta_j - i alpha), some factor repeated until there are A of them, with alpha A <= B: all Q_m vanish
at 0. Let the objective be the sum of coordinates, and let an oracle answer each maximiser by an undisclosed Q_m of the
largest degree k left. There always is one that contradicts it. For alpha m remains consistent until Q_m is disclosed,
so the maximum is at least alpha k; where all Q_m of degree k vanish, every theta_j is one of 0, alpha, 2 alpha, ...
and they add up to at most alpha (k - 1).
"""

from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb

import numpy as np

from ...models._checks import require_room, whole_number
from .bank import Bank, FloatArray, IntArray

MOST_BYTES = 2**30
"""Largest tensor or table of monomials, in bytes."""


def contradiction_bound(dim: int, n_actions: int) -> int:
    """C(d+A, A) - 1: no planner that stays consistent with its data is contradicted more often; see the module.

    Args:
        dim: d >= 1.
        n_actions: A >= 1.

    Raises:
        ModelError: A count is no whole number >= 1.
    """
    d, A = whole_number("dim", dim, 1), whole_number("n_actions", n_actions, 1)
    return comb(d + A, A) - 1


def tensor_contradiction_bound(dim: int, n_actions: int) -> int:
    """(d+1)^A - 1, the bound by the dimension of the tensors (Weisz et al., COLT 2021).

    Raises:
        ModelError: A count is no whole number >= 1.
    """
    d, A = whole_number("dim", dim, 1), whole_number("n_actions", n_actions, 1)
    return (d + 1) ** A - 1


def datum_tensor(rewards: FloatArray, increments: FloatArray) -> FloatArray:
    """D = (r_1, u_1) ⊗ ... ⊗ (r_A, u_A) of rewards (A,) and increments (A, d), flat in C order, ((d+1)^A,).

    Raises:
        ModelError: It would need more than :data:`MOST_BYTES`.
    """
    return _tensor_product(np.column_stack([rewards, increments]))


def hypothesis_tensor(theta: FloatArray, n_actions: int) -> FloatArray:
    """F(theta) = (1, theta)^⊗A of theta (d,), flat in C order, ((d+1)^A,).

    Raises:
        ModelError: It would need more than :data:`MOST_BYTES`.
    """
    return _tensor_product(np.tile(np.append(1.0, theta), (n_actions, 1)))


def datum_polynomial(rewards: FloatArray, increments: FloatArray) -> FloatArray:
    """Coefficients (C(d+A, A),) of prod_a (r_a + <u_a, theta>) in the order of :func:`monomials`.

    Args:
        rewards: r (A,).
        increments: u (A, d).

    Raises:
        ModelError: The table of products would need more than :data:`MOST_BYTES`.
    """
    coefficients = np.ones(1)
    for degree, factor in enumerate(np.column_stack([rewards, increments])):
        terms = np.outer(coefficients, factor)
        coefficients = np.zeros(comb(factor.size + degree, degree + 1))
        np.add.at(coefficients, _products(factor.size, degree), terms)
    return coefficients


def monomials(theta: FloatArray, n_actions: int) -> FloatArray:
    """The monomials of degree at most A in theta, (C(d+A, A),): 1 first, then by the variables they contain."""
    return np.prod(np.append(1.0, theta)[_monomials(theta.size + 1, n_actions)], axis=1)


def are_linearly_independent(bank: Bank, radius: float) -> bool:
    """Whether data are numerically of full rank as polynomials in theta / B, each scaled to norm one.

    The singular values of many polynomials spread widely: data that are independent, but hardly, may be called
    dependent here. :func:`are_triangular` is the sharper test where the hypotheses they contradicted are known.

    Args:
        bank: The data.
        radius: B, the scale of theta.
    """
    if len(bank) == 0:
        return True
    rows = np.array([datum_polynomial(r, radius * u) for r, u in zip(bank.rewards, bank.increments, strict=True)])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return bool((norms > 0).all() and np.linalg.matrix_rank(rows / norms) == len(bank))


def are_triangular(bank: Bank, thetas: FloatArray, tol: float) -> bool:
    """Whether each hypothesis satisfies all earlier data and contradicts its own: a proof of linear independence.

    A product vanishes iff a factor does, so the factors are tested and no product is formed.

    Args:
        bank: Contradictions in their order, n of them.
        thetas: The hypotheses that they contradicted, (n, d).
        tol: Discriminants count as zero within tol.
    """
    misses = np.abs(bank.rewards[:, :, None] + bank.increments @ thetas.T).min(axis=1)
    return bool((np.triu(misses, 1) <= tol).all() and (misses.diagonal() > tol).all())


def _tensor_product(factors: FloatArray) -> FloatArray:
    require_room("the tensor", 8 * factors.shape[1] ** factors.shape[0], MOST_BYTES, "use datum_polynomial")
    product = np.ones(1)
    for factor in factors:
        product = np.multiply.outer(product, factor).ravel()
    return product


@lru_cache(maxsize=32)
def _monomials(n_variables: int, degree: int) -> IntArray:
    """The variables of each monomial of a degree, ascending, (C(n + degree - 1, degree), degree)."""
    count = comb(n_variables + degree - 1, degree)
    require_room("the table of monomials", 8 * count * (degree + n_variables), MOST_BYTES, "take fewer actions")
    chosen = list(combinations_with_replacement(range(n_variables), degree))
    return np.array(chosen, dtype=np.int64).reshape(count, degree)


@lru_cache(maxsize=32)
def _products(n_variables: int, degree: int) -> IntArray:
    """Index, among the monomials of one degree more, of each monomial times each variable, (count, n_variables)."""
    index = {tuple(m): k for k, m in enumerate(_monomials(n_variables, degree + 1).tolist())}
    shorter = _monomials(n_variables, degree).tolist()
    return np.array([[index[tuple(sorted([*m, j]))] for j in range(n_variables)] for m in shorter])


def hardest_data(dim: int, n_actions: int, spacing: float) -> tuple[FloatArray, FloatArray]:
    """The data Q_m of the module that an oracle can hold back, by decreasing degree: C(d+A, A) - 1 of them.

    They are those of states with features 0 whose actions lead to states with features -e_j; the policy that takes the
    first action is worth 0 everywhere, so its weights are theta = 0.

    Args:
        dim: d >= 1.
        n_actions: A >= 1.
        spacing: alpha > 0. Rewards are at most alpha (A - 1).

    Returns:
        Rewards (n, A) and increments (n, A, d).
    """
    rewards: list[list[float]] = []
    increments: list[FloatArray] = []
    for degree in range(n_actions, 0, -1):
        for m in _monomials(dim, degree):
            factors = np.append(m, np.repeat(m[0], n_actions - degree))  # the first factor, theta_j, is repeated
            rewards.append([spacing * int((m[:i] == j).sum()) if i < degree else 0.0 for i, j in enumerate(factors)])
            increments.append(-np.eye(dim)[factors])
    return np.array(rewards), np.array(increments)
