"""Policy iteration on trajectories: right on average, convergent, and honest about what the paper's form loses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lookahead_rl.models import MarkovGame
from lookahead_rl.models.generators import garnet_game
from lookahead_rl.models.planted import planted_game
from lookahead_rl.solvers import Status, fix_policy, nash_gap, shapley_iteration
from lookahead_rl.solvers.dynamic_programming import evaluate_policy
from lookahead_rl.solvers.games import trajectories as module
from lookahead_rl.solvers.games.linear_values import fit_subset, sharp_rate
from lookahead_rl.solvers.games.sweeps import GameSweeps
from lookahead_rl.solvers.games.trajectories import StepSizes, TrajectorySolution, trajectory_policy_iteration
from lookahead_rl.solvers.games.trajectory_kernels import first_visit_returns

Array = NDArray[np.float64]


def learn(game: MarkovGame, features: Array, seed: int = 0, **changes: Any) -> TrajectorySolution:
    arguments: dict[str, Any] = {"lookahead": 3, "rollout": 4, "iterations": 500, "tol": 1e-12} | changes
    return trajectory_policy_iteration(game, features, rng=np.random.default_rng(seed), **arguments)


def fork(gamma: float = 0.9) -> MarkovGame:
    """s0 leads to s1, which pays 2, or to s2, which pays nothing, evenly; then it is over."""
    P = np.zeros((4, 1, 1, 4))
    P[0, 0, 0, 1] = P[0, 0, 0, 2] = 0.5
    P[1:, 0, 0, 3] = 1
    r = np.array([0.0, 2.0, 0.0, 0.0]).reshape(4, 1, 1)
    return MarkovGame(P, r, gamma, np.array([1.0, 0, 0, 0]), terminal=np.array([False, False, False, True]))


def ragged(game: MarkovGame) -> MarkovGame:
    """The game, with one action fewer for each player in the even states."""
    counts = np.where(np.arange(game.n_states) % 2, 3, 2)
    live = (np.arange(3) < counts[:, None])[:, :, None] & (np.arange(3) < counts[:, None])[:, None, :]
    P = np.asarray(game.P) * live[..., None]
    return replace(game, P=P, r=game.r * live, n_actions_0=counts, n_actions_1=counts)


# ------------------------------------------------------------------------------------------------- convergence


@pytest.mark.parametrize("seed", range(3))
def test_in_a_table_it_reaches_the_nash_value_to_a_certified_gap(seed: int) -> None:
    planted = planted_game(20, 3, 3, 4, seed, gamma=0.7)
    solution = learn(planted.model, np.eye(20), seed, lookahead=4, iterations=4000, tol=0.05)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 0.05
    slack = 1e-12
    assert (solution.certificate.lower <= planted.value + slack).all()
    assert (planted.value <= solution.certificate.upper + slack).all()
    np.testing.assert_allclose(solution.value, planted.value, atol=0.05)
    assert (nash_gap(planted.model, *solution.policy).nash_conv <= 0.05).all()


def test_the_error_falls_like_the_noise_averages_out() -> None:
    """A hundred times the iterations, about a tenth of the error."""
    game = garnet_game(6, 2, 2, 3, 1, gamma=0.7)
    v = shapley_iteration(game, 1e-12).value
    errors = [
        np.mean([np.abs(learn(game, np.eye(6), seed, iterations=n).last_theta - v).max() for seed in range(6)])
        for n in (20, 2000)
    ]
    assert 0.03 < errors[1] / errors[0] < 0.3


def test_history_certifies_every_iterate() -> None:
    game = garnet_game(6, 2, 2, 3, 1, gamma=0.7)
    v = shapley_iteration(game, 1e-12).value
    solution = learn(game, np.eye(6), iterations=50)
    assert len(solution.history) == solution.iterations + 1 == 51
    assert np.abs(solution.last_theta - v).max() <= solution.history[-1] / (1 - game.gamma)
    assert np.abs(solution.value - v).max() <= min(solution.history) / (1 - game.gamma)


def test_theorem_3_bounds_the_limit() -> None:
    """Each update meets all states (up to 1e-9), so delta_FV and delta_app are those of D = S, along the path."""
    game = garnet_game(8, 2, 2, 3, 3, gamma=0.5)
    rng = np.random.default_rng(0)
    v = shapley_iteration(game, 1e-12).value
    phi = np.c_[np.ones(8), v + 0.1 * rng.standard_normal(8)]
    fit, arguments = fit_subset(phi, np.arange(8)), {"lookahead": 5, "rollout": 5, "trajectories": 200}
    beta = sharp_rate(0.5, 5, 5, fit.amplification)
    assert beta < 1
    theta, errors, delta_app = learn(game, phi, iterations=3000, **arguments).last_theta, [], 0.0
    for seed in range(30):  # go on from the limit, one small update at a time, to see the pairs met there
        step = learn(game, phi, seed, iterations=1, start=theta, step_sizes=lambda _: 1e-3, **arguments)
        theta = step.last_theta
        pair_value = evaluate_policy(fix_policy(game, 0, step.policy[0]), step.policy[1]).value
        delta_app = max(delta_app, fit.error(pair_value))
        errors.append(np.abs(phi @ theta - v).max())
    assert max(errors) <= delta_app / (1 - beta) + 0.01  # what noise is left after 3000 updates


# ------------------------------------------------------------------------------- what the paper's form loses


def test_the_literal_form_forgets_what_short_trajectories_miss() -> None:
    """In a table the literal form shrinks the states it did not visit to zero, the residual form leaves them."""
    game = garnet_game(6, 2, 2, 3, 1, gamma=0.7)
    v = shapley_iteration(game, 1e-12).value
    errors: dict[tuple[str, int], float] = {}
    for form in ("residual", "literal"):
        for length, iterations in ((3, 3000), (200, 1000)):
            found = learn(
                game,
                np.eye(6),
                lookahead=6,
                rollout=5,
                trajectories=1,
                length=length,
                iterations=iterations,
                form=form,
            )
            errors[form, length] = float(np.abs(found.last_theta - v).max())
    assert errors["literal", 3] > 0.5
    assert max(errors["residual", 3], errors["residual", 200], errors["literal", 200]) < 0.05


def test_both_forms_agree_where_every_subset_has_full_rank() -> None:
    game = garnet_game(6, 2, 2, 3, 1, gamma=0.7)
    phi = np.random.default_rng(0).standard_normal((6, 2))
    forms = [learn(game, phi, form=form, trajectories=100, iterations=30) for form in ("residual", "literal")]
    np.testing.assert_allclose(forms[0].last_theta, forms[1].last_theta, atol=1e-10)


@pytest.mark.parametrize(
    ("length", "limit"),
    [
        (1, 0.9),  # T_mu^m W (s0) = gamma: what the return of s0 is worth
        (2, 0.95),  # half the time D = {s0, s1} with returns 1.8 and 2, else {s0, s2} with 0 and 0
    ],
)
def test_states_met_along_a_trajectory_bias_the_fit_and_starts_do_not(length: int, limit: float) -> None:
    """Features (1, 1, 0): with unbiased returns D = {s0, s1} fits 1.45 and {s0, s2} fits 0.9, on average 1.175."""
    phi, mostly_s0 = np.array([[1.0], [1.0], [0.0], [0.0]]), [1 - 2e-6, 1e-6, 1e-6, 0]
    solution = learn(
        fork(),
        phi,
        lookahead=1,
        rollout=2,
        trajectories=1,
        length=length,
        iterations=10_000,
        start_distribution=mostly_s0,
        step_sizes=StepSizes(),
    )
    assert solution.last_theta[0] == pytest.approx(limit, abs=0.04)  # four standard deviations of a mean


# --------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("kind", ["dense", "sparse", "ragged"])
def test_returns_of_the_starts_are_right_on_average(kind: str) -> None:
    """In each state within five standard errors of T_{mu,nu}^m W."""
    game = garnet_game(5, 3, 3, 3, 2, gamma=0.8, sparse=kind == "sparse")
    game = ragged(game) if kind == "ragged" else game
    sweeps, m = GameSweeps(game), 3
    ahead = sweeps.backup(np.random.default_rng(0).standard_normal(5))
    sampler = module._Sampler(game, np.random.default_rng(1), 50, m, m, np.full(5, 0.2))
    totals = np.zeros((2, 5))
    for _ in range(2000):
        states, y = sampler.returns(ahead)
        totals[:, states] += np.array([y, y**2])
    mean, square = totals / 2000
    expected = sweeps.chain(ahead.mu, ahead.nu).after(ahead.v, m)
    assert (np.abs(mean - expected) <= 5 * np.sqrt((square - mean**2) / 2000)).all()
    assert sampler.env_steps == 2000 * 50 * m


@pytest.mark.parametrize("seed", range(10))
def test_first_visit_returns_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, gamma, w = int(rng.integers(1, 5)), 0.9, np.append(rng.standard_normal(4), 0.0)
    visited, paid = rng.integers(0, 4, (3, 9)), rng.standard_normal((3, 8))
    ends = rng.integers(0, 9, 3)
    visited[np.arange(3), ends] = 4  # where play ends, in a terminal state
    ends[0], visited[0, 8] = 8, 2  # and one that goes on
    totals, counts = np.empty(5), np.empty(5, np.int64)
    first_visit_returns(visited, paid, ends, m, gamma, w, totals, counts)
    expected: dict[int, list[float]] = {}
    for path, rewards, end in zip(visited.tolist(), paid.tolist(), ends.tolist(), strict=True):
        for s in set(path[: min(9 - m, end)]):
            t = path.index(s)
            last = min(t + m, end)
            value = sum(gamma ** (j - t) * rewards[j] for j in range(t, last)) + gamma ** (last - t) * w[path[last]]
            expected.setdefault(s, []).append(value)
    assert counts.tolist() == [len(expected.get(s, [])) for s in range(5)]
    np.testing.assert_allclose(totals, [sum(expected.get(s, [])) for s in range(5)], atol=1e-12)


def test_equal_seeds_give_equal_results() -> None:
    game = garnet_game(6, 2, 2, 3, 1, gamma=0.7)
    one, two, other = (learn(game, np.eye(6), seed, iterations=50) for seed in (5, 5, 6))
    assert np.array_equal(one.last_theta, two.last_theta)
    assert one.history == two.history
    assert not np.array_equal(one.last_theta, other.last_theta)


def test_environment_steps_are_counted_exactly() -> None:
    whole = learn(garnet_game(6, 2, 2, 3, 1, gamma=0.7), np.eye(6), rollout=5, trajectories=7, length=4, iterations=9)
    assert whole.env_steps == 9 * 7 * (4 - 1 + 5)
    features = np.eye(4)[:, :3]
    # From s0 it takes two steps to the end, of which a rollout of one makes one.
    for rollout, steps in ((1, 1), (2, 2), (9, 2)):
        near = [1 - 2e-12, 1e-12, 1e-12, 0]
        ended = learn(fork(), features, rollout=rollout, trajectories=4, iterations=9, start_distribution=near)
        assert ended.env_steps == 9 * 4 * steps


def test_a_game_that_is_over_is_worth_nothing() -> None:
    P = np.ones((1, 1, 1, 1))
    game = MarkovGame(P, np.zeros((1, 1, 1)), 0.9, np.ones(1), terminal=np.array([True]))
    solution = learn(game, np.zeros((1, 1)), iterations=3)
    assert solution.value.tolist() == [0]
    assert solution.env_steps == 0


# ------------------------------------------------------------------------------------------------------ endings


def test_ctrl_c_returns_the_best_so_far() -> None:
    def step_sizes(k: int) -> float:
        if k == 4:
            raise KeyboardInterrupt
        return 0.5

    solution = learn(garnet_game(6, 2, 2, 3, 1, gamma=0.7), np.eye(6), step_sizes=step_sizes)
    assert solution.status is Status.INTERRUPTED
    assert solution.iterations == 4
    assert np.isfinite(solution.certificate.gap)


def test_divergence_is_said() -> None:
    """Both states lead to the second, on which the value is extrapolated (Tsitsiklis and Van Roy 1996)."""
    P = np.zeros((2, 1, 1, 2))
    P[..., 1] = 1
    game = MarkovGame(P, np.zeros((2, 1, 1)), 0.9, np.array([0.5, 0.5]))
    arguments = {"start": [1.0], "start_distribution": [1 - 1e-12, 1e-12], "step_sizes": lambda _: 1.0}
    solution = learn(game, np.array([[1.0], [2.0]]), lookahead=1, rollout=1, trajectories=1, **arguments)
    assert solution.status is Status.DIVERGED
    cured = learn(game, np.array([[1.0], [2.0]]), lookahead=1, rollout=8, trajectories=1, **arguments)
    assert abs(cured.last_theta[0]) < 1e-6


@pytest.mark.parametrize("exponent", [0.6, 1.0])
def test_step_sizes_follow_their_rule(exponent: float) -> None:
    rule = StepSizes(2.0, 4.0, exponent)
    assert [rule(k) for k in (0, 5)] == [2 / 4**exponent, 2 / 9**exponent]


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exponent": 0.5}, "exponent is 0.5"),
        ({"exponent": 1.1}, "exponent is 1.1"),
        ({"scale": 0.0}, "scale is 0"),
        ({"offset": -1.0}, "offset is -1"),
        ({"scale": 3.0, "offset": 2.0}, "first step size is 1.5"),
    ],
)
def test_step_sizes_that_break_robbins_and_monro_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepSizes(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookahead": 0}, "lookahead is 0"),
        ({"rollout": 0}, "rollout is 0"),
        ({"rollout": np.inf}, "rollout is inf"),
        ({"iterations": 0}, "iterations is 0"),
        ({"trajectories": 0}, "trajectories is 0"),
        ({"length": 0}, "length is 0"),
        ({"form": "best"}, "form is 'best'"),
        ({"tol": -1.0}, "tol is -1"),
        ({"start": [0.0]}, "start has shape"),
        ({"step_sizes": lambda k: 2.0 if k == 3 else 0.1}, r"step_sizes\(3\) is 2.0"),
        ({"step_sizes": lambda _: np.nan}, r"step_sizes\(0\) is nan"),
        ({"start_distribution": [1, 0, 0, 0, 0, 0]}, r"start_distribution\[1\] is 0"),
        ({"start_distribution": np.full(6, 0.1)}, "sums to 0.6"),
        ({"features": np.eye(5)}, r"features has shape \(5, 5\)"),
    ],
)
def test_refusals_name_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"features": np.eye(6)} | changes
    with pytest.raises(ValueError, match=message):
        learn(garnet_game(6, 2, 2, 3, 1, gamma=0.7), **arguments)
