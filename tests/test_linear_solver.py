"""Linear models are solved exactly, in work that does not depend on the number of states."""

import tracemalloc
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from lookahead_rl.models import FiniteSupportMeasures, HashedSimplexFeatures, LinearMDP
from lookahead_rl.models.classic import hard_linear_mdp
from lookahead_rl.models.generators import random_linear_game, random_linear_mdp
from lookahead_rl.solvers import (
    LinearSolution,
    Status,
    backward_induction,
    evaluate_policy,
    linear,
    shapley_iteration,
    solve,
)
from lookahead_rl.solvers.linear import certify_weights

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**31)


@dataclass(frozen=True)
class CountedFeatures:
    """Hashed features that note which states they were asked for."""

    inner: HashedSimplexFeatures
    asked: list[NDArray[np.int64]] = field(default_factory=list)

    n_states = property(lambda self: self.inner.n_states)
    action_shape = property(lambda self: self.inner.action_shape)
    dim = property(lambda self: self.inner.dim)
    nbytes = property(lambda self: self.inner.nbytes)
    on_simplex = True

    def __call__(self, states: ArrayLike) -> Array:
        self.asked.append(np.asarray(states))
        return self.inner(states)

    def at(self, states: ArrayLike, actions: ArrayLike) -> Array:
        self.asked.append(np.asarray(states))
        return self.inner.at(states, actions)


def table_mdp(seed: int, *, staged: bool) -> LinearMDP:
    """Tables in place of hashes; the measures reach every state."""
    rng = np.random.default_rng(seed)
    lead = (4,) if staged else ()
    mu = rng.dirichlet(np.ones(7), size=(*lead, 3))
    return LinearMDP(rng.dirichlet(np.ones(3), size=(7, 2)), mu, rng.normal(size=(*lead, 3)), np.full(7, 1 / 7), 4)


def signed_mdp() -> LinearMDP:
    """A two-state law in features off the simplex: phi = (1, x), mu = ((1/2, 1/2), (1/2, -1/2))."""
    x = np.array([[0.9, -0.4], [0.3, -1.0]])
    phi = np.stack([np.ones_like(x), x], axis=-1)
    return LinearMDP(phi, np.array([[0.5, 0.5], [0.5, -0.5]]), np.array([0.25, -1.0]), np.array([0.5, 0.5]), 5)


MODELS = {
    "hashed": lambda: random_linear_mdp(50, 4, 3, 5, 0),
    "table": lambda: table_mdp(0, staged=False),
    "staged table": lambda: table_mdp(1, staged=True),
    "signed table": signed_mdp,
    "hard": lambda: hard_linear_mdp(4, 3, 100, 0),
}


def greedy_table(model: LinearMDP, solution: LinearSolution) -> NDArray[np.int64]:
    every = np.arange(model.n_states)
    return np.stack([solution.policy(every, h) for h in range(model.horizon)])


# ---------------------------------------------------------------------------------------------- agreement


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_the_optimum_of_the_model_written_out(name: str) -> None:
    model = MODELS[name]()
    solution, tabular = solve(model), model.to_tabular()
    staged = backward_induction(tabular)
    every = np.arange(model.n_states)
    for h in range(model.horizon + 1):
        np.testing.assert_allclose(solution.value(every, h), staged.value[h], atol=1e-11)
        np.testing.assert_allclose(solution.action_values(every, h).max(axis=1), staged.value[h], atol=1e-11)
    attained = evaluate_policy(tabular, greedy_table(model, solution))
    np.testing.assert_allclose(attained.value, staged.value, atol=1e-11)
    assert (solution.status, solution.iterations, solution.history) == (Status.CONVERGED, model.horizon, ())


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 5), st.integers(1, 6), st.integers(1, 5))
def test_random_linear_models_agree_with_backward_induction(seed: int, dim: int, horizon: int, support: int) -> None:
    model = random_linear_mdp(12, 3, dim, horizon, seed, support=support)
    solution, staged = backward_induction(model), backward_induction(model.to_tabular())
    np.testing.assert_allclose(solution.value(np.arange(12), 0), staged.value[0], atol=1e-12)
    np.testing.assert_allclose(solution.value(np.arange(12), horizon), 0.0)
    assert solution.weights.shape == (horizon, dim)


def test_one_stage_is_the_best_reward() -> None:
    model = random_linear_mdp(10, 4, 3, 1, 0)
    np.testing.assert_array_equal(solve(model).weights, model.theta)


def test_the_greedy_action_is_the_first_maximiser() -> None:
    phi = np.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0]] * 3])
    model = LinearMDP(phi, np.eye(2), np.array([0.0, 1.0]), np.array([1.0, 0.0]), 2)
    np.testing.assert_array_equal(solve(model).policy(np.array([0, 1]), 1), [1, 0])


# ---------------------------------------------------------------------------------------------- any number of states


def on_states(n_states: int) -> LinearMDP:
    """The same measures, rewards and support whatever the number of states."""
    rng = np.random.default_rng(3)
    phi = CountedFeatures(HashedSimplexFeatures(n_states, 4, 6, 11))
    mu = FiniteSupportMeasures(rng.integers(0, 1000, (8, 6, 5)), rng.dirichlet(np.ones(5), size=(8, 6)))
    rho = FiniteSupportMeasures(np.array([3, 900, 5]), np.array([0.5, 0.5, 0.0]))
    return LinearMDP(phi, mu, rng.random((8, 6)), rho, 8)


@pytest.mark.parametrize("n_states", [1000, 10**9, 2**62])
def test_features_are_asked_for_only_where_a_measure_leads(n_states: int) -> None:
    """And each met state's as often as in a model of a thousand states; the answer is the same."""
    model, small = on_states(n_states), on_states(1000)
    solution, expected = solve(model), solve(small)
    asked, as_often = (np.concatenate(m.phi.asked) for m in (model, small))
    assert asked.size == as_often.size <= 4 * 8 * 30
    assert set(asked) <= {*model.support().tolist(), 3, 900}
    np.testing.assert_array_equal(solution.weights, expected.weights)
    np.testing.assert_array_equal(solution.initial_states, [3, 900])
    assert model.nbytes == small.nbytes


def test_memory_does_not_grow_with_the_number_of_states() -> None:
    peaks = []
    for n_states in (10**4, 10**9):
        model = random_linear_mdp(n_states, 4, 8, 20, 0)
        tracemalloc.start()
        assert solve(model).status is Status.CONVERGED
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= 2 * peaks[0]


def test_features_evaluated_in_blocks_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_linear_mdp(200, 4, 3, 5, 0, support=40)
    whole = solve(model)
    monkeypatch.setattr(linear, "BLOCK_ENTRIES", 1)
    single = solve(model)
    np.testing.assert_allclose(single.weights, whole.weights, rtol=1e-13)
    np.testing.assert_allclose(single.certificate.upper, whole.certificate.upper, rtol=1e-13)


# ---------------------------------------------------------------------------------------------- certificates


def exact_values(model: LinearMDP, weights: Array | None) -> tuple[list[Fraction], list[Fraction]]:
    """v* and the value of the policy greedy in the weights, at stage 0 of all states, on rationals."""
    phi = [[[Fraction(x) for x in row] for row in rows] for rows in model.phi(np.arange(model.n_states)).tolist()]
    best = followed = [Fraction(0)] * model.n_states
    for h in reversed(range(model.horizon)):
        law = model.stage(h)
        mu = [[Fraction(p) for p in row] for row in law.mu.tolist()]
        reach = law.support.tolist()

        def stage_q(v: list[Fraction], theta: Array = law.theta, mu=mu, reach=reach) -> list[list[Fraction]]:
            w = [
                Fraction(t) + sum(p * v[s] for p, s in zip(row, reach, strict=True))
                for t, row in zip(theta.tolist(), mu, strict=True)
            ]
            return [[sum(f * x for f, x in zip(row, w, strict=True)) for row in rows] for rows in phi]

        best = [max(q) for q in stage_q(best)]
        if weights is not None:
            greedy = (model.phi(np.arange(model.n_states)) @ weights[h]).argmax(axis=1)
            followed = [q[a] for q, a in zip(stage_q(followed), greedy, strict=True)]
    return best, followed


@settings(max_examples=25)
@given(SEEDS, st.booleans(), st.floats(-16, 1))
def test_bounds_of_any_weights_enclose_the_greedy_policy_and_the_optimum(
    seed: int, hashed: bool, magnitude: float
) -> None:
    rng = np.random.default_rng(seed)
    model = random_linear_mdp(8, 3, 2, 3, rng, support=3) if hashed else table_mdp(seed, staged=bool(seed % 2))
    exact = solve(model)
    weights = exact.weights + rng.normal(size=exact.weights.shape) * 10.0**magnitude * (rng.random() < 0.8)
    best, followed = exact_values(model, weights)
    states, bounds = certify_weights(model, weights)
    np.testing.assert_array_equal(states, exact.initial_states)
    for state, lower, upper in zip(states, bounds.lower, bounds.upper, strict=True):
        assert Fraction(lower) <= followed[state] <= best[state]
        assert best[state] <= Fraction(upper)
    for state, lower, upper in zip(states, exact.certificate.lower, exact.certificate.upper, strict=True):
        assert Fraction(lower) <= best[state] <= Fraction(upper)
    assert exact.certificate.gap <= 1e-12


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("error", [1e-3, -1e-3, 1e3])
def test_corrupted_weights_widen_the_bounds_by_their_error_wherever_they_stand(name: str, error: float) -> None:
    """By the largest error they make in the value of a state that can be met, up to rounding."""
    model = MODELS[name]()
    solution = solve(model)
    assert solution.certificate.gap <= 1e-10
    widened = 0
    for h, j in np.ndindex(solution.weights.shape):
        weights = solution.weights.copy()
        weights[h, j] += error
        corrupted = replace(solution, weights=weights)
        met = solution.initial_states if h == 0 else model.stage(h - 1).support
        wrong = np.abs(corrupted.value(met, h) - solution.value(met, h)).max()
        _, bounds = certify_weights(model, weights)
        assert bounds.gap >= wrong * (1 - 1e-9) - 1e-10
        assert (bounds.lower <= solution.certificate.upper).all()
        assert (solution.certificate.lower <= bounds.upper).all()
        widened += bounds.gap >= abs(error) / 100
    assert widened >= solution.weights.size / 2


def test_weights_with_the_right_value_and_the_wrong_action_are_found_out() -> None:
    """One state, phi(a) the unit vectors, rewards 1 and 0: swapped weights promise 1 a stage and collect 0."""
    model = LinearMDP(np.eye(2)[None], np.ones((2, 1)), np.array([1.0, 0.0]), np.ones(1), 2)
    right = solve(model).weights
    np.testing.assert_array_equal(right, [[2.0, 1.0], [1.0, 0.0]])
    for h in range(2):
        weights = right.copy()
        weights[h] = weights[h, ::-1]
        _, bounds = certify_weights(model, weights)
        assert bounds.lower[0] <= 1.0
        assert 2.0 <= bounds.upper[0] <= 2.0 + 1e-12


def test_the_certificate_is_recomputed_from_the_weights() -> None:
    model = random_linear_mdp(1000, 4, 5, 6, 0)
    solution = solve(model)
    states, bounds = certify_weights(model, solution.weights)
    np.testing.assert_array_equal(states, solution.initial_states)
    np.testing.assert_array_equal(bounds.lower, solution.certificate.lower)
    np.testing.assert_array_equal(bounds.upper, solution.certificate.upper)
    assert (bounds.lower <= solution.value(states, 0)).all()
    assert (solution.value(states, 0) <= bounds.upper).all()


# ---------------------------------------------------------------------------------------------- games


@settings(max_examples=10)
@given(SEEDS)
def test_a_linear_game_has_the_value_of_the_game_written_out(seed: int) -> None:
    game = random_linear_game(15, 2, 3, 3, seed, gamma=0.8)
    solution, expected = solve(game, 1e-9), shapley_iteration(game.to_tabular(), 1e-9)
    np.testing.assert_allclose(solution.support.value, expected.value[solution.states], atol=2e-9)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-9
    q = game.to_tabular().r + 0.8 * np.einsum("sabt,t->sab", written_law(game), expected.value)
    np.testing.assert_allclose(solution.action_values(np.arange(15)), q, atol=1e-8)


def written_law(game: object) -> Array:
    tabular = game.to_tabular()
    return (tabular.P_rows @ np.eye(tabular.n_states)).reshape(*tabular.r.shape, -1)


def test_a_linear_game_on_a_thousand_million_states() -> None:
    solution = solve(random_linear_game(10**9, 3, 3, 4, 0, gamma=0.9))
    assert solution.status is Status.CONVERGED
    assert solution.states.size <= 25
    assert solution.weights.shape == (4,)


# ---------------------------------------------------------------------------------------------- bad input


def test_bad_stages_and_states_are_named() -> None:
    solution = solve(random_linear_mdp(10, 2, 3, 4, 0))
    for h in (-1, 5):
        with pytest.raises(ValueError, match=rf"h is {h}; stages run from 0 to 4"):
            solution.value(np.array([0]), h)
    with pytest.raises(ValueError, match=r"states\[1\] is 10; it must lie in \[0, 10\)"):
        solution.policy(np.array([0, 10]), 0)
