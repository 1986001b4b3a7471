"""Fitted policy iteration: Theorem 2 holds, divergence is said, a table gives lookahead policy iteration."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookahead_rl.models import MarkovGame, ModelError
from lookahead_rl.models.classic import van_der_wal
from lookahead_rl.models.generators import garnet_game
from lookahead_rl.models.planted import planted_game
from lookahead_rl.solvers import Status, nash_gap, shapley_iteration, shapley_operator
from lookahead_rl.solvers.games.fitted import FittedSolution, fitted_policy_iteration
from lookahead_rl.solvers.games.linear_values import fit_subset, geometric_bound, paper_rate, sharp_rate

Array = NDArray[np.float64]


def drifting_pair(gamma: float) -> MarkovGame:
    """Two states, no choice and no reward; both lead to the second (Tsitsiklis and Van Roy 1996, section 3)."""
    P = np.zeros((2, 1, 1, 2))
    P[..., 1] = 1
    return MarkovGame(P, np.zeros((2, 1, 1)), gamma, np.array([0.5, 0.5]))


def drift(gamma: float, lookahead: int, rollout: float, max_iterations: int = 2000) -> FittedSolution:
    """V = theta (1, 2), fitted on the first state."""
    return fitted_policy_iteration(
        drifting_pair(gamma),
        [[1.0], [2.0]],
        lookahead=lookahead,
        rollout=rollout,
        subsets=[0],
        start=[1.0],
        max_iterations=max_iterations,
    )


def lookahead_iterates(game: MarkovGame, lookahead: int, rollout: float, n: int) -> Array:
    """V_0 = 0, V_1, ... of lookahead policy iteration, written out with dense matrices."""
    v, path = np.zeros(game.n_states), []
    for _ in range(n + 1):
        path.append(v)
        for _ in range(lookahead - 1):
            v = shapley_operator(game, v).values
        _, mu, nu, _ = shapley_operator(game, v)
        P = np.einsum("sa,sb,sabt->st", mu, nu, np.asarray(game.P))
        r = np.einsum("sa,sb,sab->s", mu, nu, game.r)
        if rollout == math.inf:
            v = np.linalg.solve(np.eye(game.n_states) - game.gamma * P, r)
        else:
            for _ in range(int(rollout)):
                v = r + game.gamma * P @ v
    return np.array(path)


# -------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("gamma", [0.51, 0.7, 0.9])
def test_one_step_of_lookahead_and_rollout_diverges_for_gamma_above_a_half(gamma: float) -> None:
    solution = drift(gamma, 1, 1)
    assert solution.status is Status.DIVERGED
    assert solution.delta_fv == pytest.approx(2)
    k = np.arange(solution.iterations + 1)
    np.testing.assert_allclose(solution.thetas[:, 0], (2 * gamma) ** k, rtol=1e-9)
    assert solution.theta[0] == 1  # the best one found is the start
    assert (solution.certificate.lower <= 0).all()
    assert (solution.certificate.upper >= 0).all()


def test_below_a_half_it_converges() -> None:
    assert drift(0.45, 1, 1).status is Status.CONVERGED


@pytest.mark.parametrize(("lookahead", "rollout"), [(1, 8), (8, 1), (4, 5), (1, math.inf)])
def test_rollout_and_lookahead_both_cure_it(lookahead: int, rollout: float) -> None:
    """theta <- 2 gamma^{H + m - 1} theta."""
    solution = drift(0.9, lookahead, rollout)
    assert solution.status in {Status.SETTLED, Status.CONVERGED}
    k = np.arange(min(31, solution.iterations))
    np.testing.assert_allclose(solution.thetas[k, 0], (2 * 0.9 ** (lookahead + rollout - 1)) ** k, rtol=1e-9)


def test_naive_policy_iteration_in_a_table_cycles_and_says_so() -> None:
    """Van der Wal 1978: with H = 1, m = infinity the value goes round 4 and 12; the Nash value is 8."""
    game = van_der_wal()
    table = np.eye(2)[:, : 1 if game.terminal.any() else 2]
    cycling = fitted_policy_iteration(game, table, lookahead=1, rollout=math.inf)
    assert cycling.status is Status.CYCLING
    assert cycling.certificate.lower[0] <= 8 <= cycling.certificate.upper[0]
    cured = fitted_policy_iteration(game, table, lookahead=2, rollout=math.inf)
    assert cured.status is Status.CONVERGED
    assert cured.value[0] == pytest.approx(8)


# --------------------------------------------------------------------------------------------------- Theorem 2


def random_run(rng: np.random.Generator) -> tuple[FittedSolution, Array, MarkovGame]:
    """A run on a Garnet game, and ||V_k - v*|| for each k."""
    lookahead, rollout = int(rng.integers(1, 7)), [1, 2, 5, math.inf][rng.integers(4)]
    game = garnet_game(12, 2, 3, 3, rng, gamma=rng.choice([0.3, 0.5, 0.7, 0.8]))
    phi = rng.standard_normal((12, 4))
    subset = rng.choice(12, rng.integers(6, 13), replace=False)
    start = rng.standard_normal(4) * rng.choice([0, 1, 10])
    solution = fitted_policy_iteration(
        game, phi, lookahead=lookahead, rollout=rollout, subsets=subset, start=start, max_iterations=30
    )
    errors = np.abs(solution.thetas @ phi.T - shapley_iteration(game, 1e-12).value).max(axis=1)
    return solution, errors, game


def test_theorem_2_bounds_every_iterate_of_250_random_runs_and_is_nearly_reached() -> None:
    rng = np.random.default_rng(0)
    closest = {"beta": 0.0, "beta_sharp": 0.0}
    for _ in range(250):
        solution, errors, _ = random_run(rng)
        assert solution.beta_sharp <= solution.beta
        for name, rate in (("beta", solution.beta), ("beta_sharp", solution.beta_sharp)):
            bounds = np.array([geometric_bound(rate, solution.delta_app, k, errors[0]) for k in range(errors.size)])
            assert (errors <= bounds * (1 + 1e-9)).all()
            closest[name] = max(closest[name], float((errors[1:] / bounds[1:]).max()))
    assert closest["beta_sharp"] > 0.99


def test_what_a_run_says_of_itself_is_true() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        solution, errors, game = random_run(rng)
        nash = shapley_iteration(game, 1e-12)
        assert (solution.certificate.lower <= nash.certificate.upper).all()
        assert (nash.certificate.lower <= solution.certificate.upper).all()
        assert ((solution.certificate.lower <= solution.value) & (solution.value <= solution.certificate.upper)).all()
        assert errors[0] <= solution.start_error + 1e-9
        for k, error in enumerate(errors):
            assert error <= solution.error_bound(k) * (1 + 1e-9)
            assert error <= solution.history[k] / (1 - game.gamma) * (1 + 1e-9)
        if solution.status is Status.SETTLED:
            assert errors[-1] <= solution.asymptotic_bound + 1e-6
        assert (nash_gap(game, *solution.policy).nash_conv <= solution.certificate.gap * (1 + 1e-9)).all()


def test_more_lookahead_offsets_an_amplifying_fit() -> None:
    """beta falls in H by a factor gamma a step; m only mends the part that delta_FV multiplies (Remark 4)."""
    for rate in (paper_rate, sharp_rate):
        assert rate(0.9, 31, 5, 3.0) == pytest.approx(0.9**30 * rate(0.9, 1, 5, 3.0))
        rates = [rate(0.9, 10, m, 3.0) for m in (1, 2, 5, 20, math.inf)]
        assert rates == sorted(rates, reverse=True)
    assert sharp_rate(0.9, 10, math.inf, 3.0) == pytest.approx(2 * 0.9**10 / 0.1)
    # H = 1, m = infinity in Theorem 1: gamma^{H-1} (2 + gamma^m (1 + gamma)) / (1 - gamma).
    assert paper_rate(0.5, 4, 5, 1.0) == pytest.approx(0.5**3 * (2 + 0.5**5 * 1.5) / 0.5)


def test_more_lookahead_brings_the_limit_closer_to_what_the_features_can_hold() -> None:
    rng = np.random.default_rng(4)
    errors = {1: [], 8: []}
    for _ in range(20):
        game = garnet_game(20, 2, 2, 3, rng, gamma=0.8)
        phi = np.c_[np.ones(20), rng.standard_normal((20, 4))]
        v = shapley_iteration(game, 1e-10).value
        for lookahead, found in errors.items():
            solution = fitted_policy_iteration(game, phi, lookahead=lookahead, rollout=1, max_iterations=500)
            found.append(np.abs(phi @ solution.thetas[-1] - v).max())
    assert np.median(errors[8]) < np.median(errors[1])


@pytest.mark.parametrize(("rate", "k", "expected"), [(0.5, 2, 2.5), (1.0, 3, 10.0), (2.0, 2, 10.0), (0.5, math.inf, 2)])
def test_geometric_bound(rate: float, k: float, expected: float) -> None:
    start = {0.5: 4.0, 1.0: 7.0, 2.0: 1.75}[rate]
    assert geometric_bound(rate, 1.0, k, start) == pytest.approx(expected)


def test_bounds_that_would_overflow_are_infinite() -> None:
    assert geometric_bound(10.0, 0.0, 400, 1.0) == math.inf
    assert geometric_bound(1.0, 1.0, math.inf, 1.0) == math.inf


# ---------------------------------------------------------------------------------------------- exact recovery


@pytest.mark.parametrize("rollout", [1, 3, math.inf])
@pytest.mark.parametrize("lookahead", [1, 2, 4])
def test_a_table_on_all_states_is_lookahead_policy_iteration(lookahead: int, rollout: float) -> None:
    game = garnet_game(15, 3, 2, 3, 7, gamma=0.8)
    path = lookahead_iterates(game, lookahead, rollout, 6)
    solution = fitted_policy_iteration(game, np.eye(15), lookahead=lookahead, rollout=rollout, max_iterations=6)
    np.testing.assert_allclose(solution.thetas, path[: solution.iterations + 1], atol=1e-9)
    assert solution.delta_fv == pytest.approx(1)
    assert solution.delta_app < 1e-12


@pytest.mark.parametrize("rollout", [1, 6, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_nash_values_that_the_features_hold_are_recovered_from_some_states(seed: int, rollout: float) -> None:
    planted = planted_game(30, 3, 3, 4, seed, gamma=0.7)
    rng = np.random.default_rng(seed)
    phi = np.c_[planted.value, rng.standard_normal((30, 3))]
    subset = rng.choice(30, 15, replace=False)
    solution = fitted_policy_iteration(game := planted.model, phi, lookahead=6, rollout=rollout, subsets=subset)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, planted.value, atol=1e-8)
    assert (nash_gap(game, *solution.policy).nash_conv <= 1e-7).all()


@pytest.mark.parametrize("seed", range(5))
def test_fits_are_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    phi, y, states = rng.standard_normal((20, 4)), rng.standard_normal(20), rng.choice(20, 9, replace=False)
    fit = fit_subset(phi, states)
    theta, *_ = np.linalg.lstsq(phi[states], y[states], rcond=None)
    np.testing.assert_allclose(fit.theta(y), theta, atol=1e-12)
    M = phi @ np.linalg.solve(phi[states].T @ phi[states], phi[states].T)
    assert fit.amplification == pytest.approx(np.abs(M).sum(axis=1).max())
    assert fit.error(y) == pytest.approx(np.abs(M @ y[states] - y).max())


# ------------------------------------------------------------------------------------------ subsets that change


def test_subsets_may_change_and_delta_fv_is_their_worst() -> None:
    game, phi = garnet_game(10, 2, 2, 3, 0, gamma=0.5), np.random.default_rng(0).standard_normal((10, 2))
    subsets = [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    solution = fitted_policy_iteration(
        game, phi, lookahead=5, rollout=4, subsets=lambda k: subsets[k % 3], max_iterations=12
    )
    worst = max(fit_subset(phi, np.array(states)).amplification for states in subsets)
    assert solution.delta_fv == pytest.approx(worst)
    assert solution.status is Status.ITERATION_LIMIT
    one_by_one = np.zeros(2)
    for k in range(4):
        once = fitted_policy_iteration(
            game, phi, lookahead=5, rollout=4, subsets=subsets[k % 3], max_iterations=1, start=one_by_one
        )
        one_by_one = once.thetas[1]
        np.testing.assert_allclose(solution.thetas[k + 1], one_by_one, atol=1e-10)


def test_ctrl_c_returns_the_best_so_far() -> None:
    def subsets(k: int) -> list[int]:
        if k == 3:
            raise KeyboardInterrupt
        return [0, 1, 2, 3]

    game = garnet_game(10, 2, 2, 3, 0, gamma=0.5)
    phi = np.random.default_rng(0).standard_normal((10, 2))
    solution = fitted_policy_iteration(game, phi, lookahead=3, rollout=2, subsets=subsets)
    assert solution.status is Status.INTERRUPTED
    assert solution.iterations == 3
    v = shapley_iteration(game, 1e-10).value
    assert ((solution.certificate.lower <= v + 1e-9) & (v <= solution.certificate.upper + 1e-9)).all()


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookahead": 0}, "lookahead is 0"),
        ({"rollout": 0}, "rollout is 0"),
        ({"rollout": 1.5}, "rollout is 1.5"),
        ({"rollout": math.nan}, "rollout is nan"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"tol": 0.0}, "tol is 0"),
        ({"start": [1.0]}, "start has shape"),
        ({"subsets": []}, "non-empty"),
        ({"subsets": [0, 10]}, r"subsets\[1\] is 10; states are 0 to 9"),
        ({"subsets": [-1, 3]}, r"subsets\[0\] is -1"),
        ({"subsets": [0.5, 1.0]}, "dtype float64"),
        ({"subsets": [4, 5, 4]}, r"subsets\[2\] is 4 once more"),
        ({"subsets": [3]}, "features have rank 1 on subset D_0 of 1 states, not d = 2"),
        ({"subsets": lambda k: [0, 1] if k < 2 else [k]}, "rank 1 on subset D_2"),
        ({"subsets": lambda _: [99, 0]}, r"subsets\(0\)\[0\] is 99"),
        ({"features": np.ones((10, 2))}, "rank 1 on subset D_0 of 10"),
        ({"features": np.ones((9, 2))}, r"features has shape \(9, 2\)"),
        ({"features": np.zeros((10, 0))}, "d >= 1"),
        ({"features": np.full((10, 1), np.nan)}, r"features\[0, 0\] is nan"),
    ],
)
def test_refusals_name_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    features = np.random.default_rng(0).standard_normal((10, 2))
    arguments: dict[str, Any] = {"features": features, "lookahead": 2, "rollout": 2} | changes
    with pytest.raises(ValueError, match=message):
        fitted_policy_iteration(garnet_game(10, 2, 2, 3, 0, gamma=0.5), **arguments)


def ending(gamma: float) -> MarkovGame:
    P = np.zeros((2, 1, 1, 2))
    P[..., 1] = 1
    return MarkovGame(P, np.array([[[1.0]], [[0.0]]]), gamma, np.array([1.0, 0.0]), terminal=np.array([False, True]))


@pytest.mark.parametrize(
    ("game", "features", "message"),
    [
        (lambda: ending(1.0), [[1.0], [0.0]], "gamma = 1"),
        (lambda: ending(0.9), np.eye(2), r"features\[1, 1\] is 1, but state 1 is terminal"),
    ],
)
def test_values_that_could_not_be_right_are_refused(
    game: Callable[[], MarkovGame], features: Array, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        fitted_policy_iteration(game(), features, lookahead=1, rollout=1)


def test_terminal_states_are_worth_nothing() -> None:
    solution = fitted_policy_iteration(ending(0.9), [[1.0], [0.0]], lookahead=1, rollout=3)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, [1, 0])
