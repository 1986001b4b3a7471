"""Data are polynomials, and linear independence is what limits contradictions."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from lookahead_rl.models import ModelError
from lookahead_rl.solvers.hypotheses.affine import AffineTree
from lookahead_rl.solvers.hypotheses.bank import Bank, Datum
from lookahead_rl.solvers.hypotheses.program import Hypotheses, Program
from lookahead_rl.solvers.hypotheses.tensor import (
    are_linearly_independent,
    are_triangular,
    contradiction_bound,
    datum_polynomial,
    datum_tensor,
    hardest_data,
    hypothesis_tensor,
    monomials,
    tensor_contradiction_bound,
)

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32))


def datum(rewards: ArrayLike, increments: ArrayLike) -> Datum:
    A, d = np.shape(increments)
    return Datum(np.zeros(d), np.asarray(increments, float), np.asarray(rewards, float), 1.0, np.zeros(A))


def bank_of(*data: Datum) -> Bank:
    bank = Bank(*data[0].increments.shape)
    for x in data:
        bank.add(x)
    return bank


def random_datum(d: int, A: int, rng: np.random.Generator) -> Datum:
    return datum(rng.random(A), rng.normal(size=(A, d)))


@given(SHAPES)
def test_tensor_and_polynomial_are_the_product_of_the_discriminants(shape: tuple[int, int, int]) -> None:
    d, A, seed = shape
    rng = np.random.default_rng(seed)
    x, theta = random_datum(d, A, rng), rng.normal(size=d)
    product = np.prod(x.rewards + x.increments @ theta)
    tensor, lifted = datum_tensor(x.rewards, x.increments), hypothesis_tensor(theta, A)
    assert tensor.shape == lifted.shape == ((d + 1) ** A,)
    scale = float(np.abs(tensor) @ np.abs(lifted))
    assert tensor @ lifted == pytest.approx(product, abs=1e-13 * scale)
    polynomial = datum_polynomial(x.rewards, x.increments)
    assert polynomial.shape == (comb(d + A, A),)
    assert polynomial @ monomials(theta, A) == pytest.approx(product, abs=1e-13 * scale)


def test_polynomial_of_a_known_product() -> None:
    # (1 + 2x)(3 - y) = 3 - y + 6x - 2xy, in the order 1, x, y, xx, xy, yy.
    polynomial = datum_polynomial(np.array([1.0, 3.0]), np.array([[2.0, 0.0], [0.0, -1.0]]))
    assert polynomial.tolist() == [3.0, 6.0, -1.0, 0.0, -2.0, 0.0]
    assert monomials(np.array([2.0, 5.0]), 2).tolist() == [1.0, 2.0, 5.0, 4.0, 10.0, 25.0]


def test_bounds_by_dimension() -> None:
    assert (contradiction_bound(10, 3), tensor_contradiction_bound(10, 3)) == (285, 1330)
    assert contradiction_bound(7, 1) == tensor_contradiction_bound(7, 1) == 7
    for bound in (contradiction_bound, tensor_contradiction_bound):
        with pytest.raises(ModelError, match="dim"):
            bound(0, 2)


def test_tensor_of_absurd_size_is_refused_before_it_is_made() -> None:
    with pytest.raises(ModelError, match="the tensor needs up to"):
        hypothesis_tensor(np.zeros(60), 8)
    with pytest.raises(ModelError, match="the table of monomials needs up to"):
        monomials(np.zeros(200), 6)


@given(SHAPES)
def test_random_data_are_independent_and_combinations_are_not(shape: tuple[int, int, int]) -> None:
    d, A, seed = shape
    rng = np.random.default_rng(seed)
    data = [random_datum(d, A, rng) for _ in range(min(comb(d + A, A), 8))]
    assert are_linearly_independent(bank_of(*data), radius=3.0)
    doubled = datum(2.0 * data[0].rewards, 3.0 * data[0].increments / 1.5)
    assert not are_linearly_independent(bank_of(*data, doubled), radius=3.0)
    assert are_linearly_independent(Bank(A, d), radius=1.0)


def test_triangular_order_proves_independence_and_is_checked() -> None:
    bank = bank_of(datum([0.0], [[1.0, 0.0]]), datum([0.0], [[0.0, 1.0]]))
    assert are_triangular(bank, np.array([[1.0, 1.0], [0.0, 1.0]]), tol=1e-9)
    assert not are_triangular(bank, np.array([[1.0, 1.0], [1e-3, 1.0]]), tol=1e-9)  # the second contradicts the first
    assert not are_triangular(bank, np.array([[1.0, 1.0], [0.0, 0.0]]), tol=1e-9)  # the second contradicts nothing
    assert are_triangular(Bank(1, 2), np.empty((0, 2)), tol=1e-9)


def disclose(rewards: np.ndarray, increments: np.ndarray, radius: float) -> tuple[Bank, np.ndarray, np.ndarray]:
    """Answer each maximiser of the sum of coordinates by the first datum that contradicts it: (bank, thetas, last)."""
    _, A, d = increments.shape
    bank, thetas = Bank(A, d), []
    tree = AffineTree(Program(np.full(d, d**-0.5), radius, bank, Hypotheses.ANY, value_range=False))
    while True:
        theta = tree.solve().theta
        assert theta is not None
        contradicted = np.abs(rewards + increments @ theta).min(axis=1) > 1e-6
        if not contradicted.any():
            return bank, np.array(thetas), theta
        first = int(contradicted.argmax())
        thetas.append(theta)
        bank.add(datum(rewards[first], increments[first]))


@pytest.mark.parametrize(("d", "A"), [(1, 1), (4, 1), (1, 3), (2, 2), (4, 2), (6, 2), (3, 3), (4, 3), (3, 4)])
def test_the_bound_on_contradictions_is_attained(d: int, A: int) -> None:
    rewards, increments = hardest_data(d, A, spacing=0.3)
    assert ((rewards >= 0) & (rewards <= 1)).all()
    assert len(rewards) == contradiction_bound(d, A)
    bank, thetas, last = disclose(rewards, increments, radius=2.0)
    assert len(bank) == contradiction_bound(d, A)
    assert are_triangular(bank, thetas, tol=1e-6)
    assert np.abs(last).max() < 1e-8  # nothing but theta* = 0 is left


@pytest.mark.parametrize(("d", "A"), [(3, 2), (6, 2), (9, 2), (5, 3), (6, 4), (2, 3)])
def test_products_of_coordinates_contradict_d_plus_binomial_times(d: int, A: int) -> None:
    """Without rewards: v* = 0, so that these hypotheses contain the optimal value function."""
    rewards, increments = hardest_data(d, A, spacing=0.3)
    distinct = np.array([len(np.unique(u, axis=0)) for u in increments])
    kept = (rewards == 0).all(axis=1) & ((distinct == A) | (distinct == 1))
    bank, thetas, last = disclose(rewards[kept], increments[kept], radius=2.0)
    assert len(bank) == d + comb(d, A)
    assert are_triangular(bank, thetas, tol=1e-6)
    assert are_linearly_independent(bank, radius=2.0)
    assert np.abs(last).max() < 1e-8
