"""Games learned from a generative model: empirical frequencies, proven promises, realised errors."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from lookahead_rl.envs.simulators import LinearSimulator, TabularSimulator
from lookahead_rl.models import MarkovGame, ModelError, matrix_game
from lookahead_rl.models.generators import garnet_game, random_linear_game
from lookahead_rl.solvers import joint_action_values, nash_gap, shapley_iteration, solve_matrix_games
from lookahead_rl.solvers.games import model_based as module
from lookahead_rl.solvers.games.model_based import (
    ModelBasedSolution,
    estimate_game,
    hoeffding_samples,
    model_based_planning,
    samples_per_triple,
)

Array = NDArray[np.float64]

GAME = garnet_game(6, 2, 3, 3, 0, gamma=0.6)


def learned(seed: int, samples: int, game: MarkovGame = GAME, **options: object) -> ModelBasedSolution:
    options = {"rewards": game.r, "truth": game} | options
    return model_based_planning(
        TabularSimulator(game), game.r.shape[1:], samples, gamma=game.gamma, rho=game.rho,
        rng=np.random.default_rng(seed), **options,
    )  # fmt: skip


def estimated(seed: int, samples: int, game: MarkovGame = GAME, **options: object) -> MarkovGame:
    return estimate_game(
        TabularSimulator(game), game.r.shape[1:], samples, gamma=game.gamma, rho=game.rho,
        rng=np.random.default_rng(seed), **options,
    )  # fmt: skip


def dense(game: MarkovGame) -> Array:
    return game.P_rows @ np.eye(game.n_states)


def ragged_game() -> MarkovGame:
    """Three states, the last of them terminal, with (2, 2), (1, 2) and (2, 1) actions."""
    P, r = np.zeros((3, 2, 2, 3)), np.zeros((3, 2, 2))
    P[0], P[1, 0], P[2, :, 0, 2] = [0.25, 0.5, 0.25], [0.0, 0.5, 0.5], 1.0
    r[0], r[1, 0] = [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.25]
    return MarkovGame(P, r, 0.9, np.array([1.0, 0.0, 0.0]), np.array([2, 1, 2]), np.array([2, 2, 1]), np.arange(3) == 2)


# ---------------------------------------------------------------------------------------------- the empirical game


def test_frequencies_pass_a_chi_square_test_against_the_law() -> None:
    samples, truth = 20_000, dense(GAME)
    counts = samples * dense(estimated(0, samples))
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    p_values = []
    for row, seen in zip(truth, counts, strict=True):
        assert (seen[row == 0] == 0).all()
        p_values.append(chisquare(seen[row > 0], samples * row[row > 0]).pvalue)
    assert min(p_values) > 1e-4 / len(p_values)
    assert chisquare(np.histogram(p_values, 4, (0, 1))[0]).pvalue > 1e-4


def test_rewards_are_the_means_of_what_was_paid_unless_they_are_known() -> None:
    """Rewards of single outcomes: 3 with probability 1/4, -1 with 3/4."""
    P, r = np.zeros((2, 1, 1, 2)), np.zeros((2, 1, 1, 2))
    P[:] = [0.25, 0.75]
    r[:] = [3.0, -1.0]
    game = MarkovGame(P, r, 0.5, np.array([1.0, 0.0]))
    estimate = estimated(1, 1000, game)
    np.testing.assert_allclose(estimate.r.reshape(-1), 4 * dense(estimate)[:, 0] - 1, atol=1e-12)
    np.testing.assert_array_equal(estimated(1, 10, game, rewards=game.r).r, game.r)


def test_every_pair_of_actions_in_play_outside_terminal_states_is_sampled_and_no_other() -> None:
    game = ragged_game()
    shape = {"n_actions_0": game.n_actions_0, "n_actions_1": game.n_actions_1, "terminal": game.terminal}
    estimate = estimated(0, 400, game, **shape)
    np.testing.assert_array_equal(dense(estimate).sum(axis=1), dense(game).sum(axis=1))
    np.testing.assert_array_equal(estimate.terminal, game.terminal)
    np.testing.assert_array_equal(estimate.n_actions_1, game.n_actions_1)
    np.testing.assert_allclose(estimate.r, game.r, atol=1e-12)
    solution = learned(0, 400, game, **shape)
    assert solution.n_samples == 400 * (4 + 2)
    assert solution.realised.value <= solution.promised.value


def test_the_samples_drawn_are_those_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    sample = TabularSimulator.sample

    def counted(self: TabularSimulator, states: Array, actions: Array, rng: np.random.Generator) -> object:
        drawn.append(states.size)
        return sample(self, states, actions, rng)

    monkeypatch.setattr(TabularSimulator, "sample", counted)
    assert learned(0, 7).n_samples == sum(drawn) == 7 * GAME.r.size


@pytest.mark.parametrize("batch", [1, 16, 50, 10**6])
def test_batches_bound_what_is_asked_at_a_time_and_change_nothing(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    whole, asked = estimated(3, 40), []
    monkeypatch.setattr(module, "BATCH", batch)
    sample = TabularSimulator.sample

    def watched(self: TabularSimulator, states: Array, actions: Array, rng: np.random.Generator) -> object:
        asked.append(states.size)
        return sample(self, states, actions, rng)

    monkeypatch.setattr(TabularSimulator, "sample", watched)
    parts = estimated(3, 40)
    assert max(asked) <= batch
    np.testing.assert_allclose(dense(parts), dense(whole), atol=1e-15)
    np.testing.assert_allclose(parts.r, whole.r, atol=1e-14)


def test_equal_seeds_give_equal_results_and_other_seeds_others() -> None:
    one, same, other = learned(5, 50), learned(5, 50), learned(6, 50)
    np.testing.assert_array_equal(dense(one.game), dense(same.game))
    np.testing.assert_array_equal(one.solution.value, same.solution.value)
    np.testing.assert_array_equal(one.policy[0], same.policy[0])
    assert one.realised == same.realised
    assert one.realised != other.realised


def test_a_linear_simulator_serves_as_well() -> None:
    game = random_linear_game(8, 2, 2, 3, 0, gamma=0.5, support=3)
    estimate = estimate_game(
        LinearSimulator(game), (2, 2), 20_000, gamma=0.5, rho=np.full(8, 1 / 8), rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(dense(estimate), dense(game.to_tabular()), atol=0.02)
    np.testing.assert_allclose(estimate.r, game.to_tabular().r, atol=1e-9)


# ---------------------------------------------------------------------------------------------- promises


@pytest.mark.parametrize("temperature", [None, 0.01])
@pytest.mark.parametrize("known", [True, False])
def test_realised_errors_stay_below_the_promised_ones(known: bool, temperature: float | None) -> None:
    """delta = 1e-3 and 40 seeds: a violation would be a fault."""
    for seed in range(40):
        game = garnet_game(4, 2, 2, 2, seed, gamma=0.5)
        rewards = game.r if known else None
        solution = learned(seed, 30, game, rewards=rewards, temperature=temperature, delta=1e-3, tol=1e-6)
        assert solution.realised.value <= solution.promised.value
        assert solution.realised.nash_conv <= solution.promised.nash_conv


def test_the_promise_is_nearly_met_by_a_game_made_for_it() -> None:
    """One coin decides between 1 and 0 for ever, and the range of v* is the whole one; delta = 1/2."""
    P = np.zeros((3, 1, 1, 3))
    P[0, 0, 0], P[1, 0, 0, 1], P[2, 0, 0, 2] = [0.0, 0.5, 0.5], 1.0, 1.0
    game = MarkovGame(P, np.array([0.0, 1.0, 0.0]).reshape(3, 1, 1), 0.5, np.eye(3)[0])
    runs = [learned(seed, 400, game, delta=0.5) for seed in range(60)]
    ratios = [run.realised.value / run.promised.value for run in runs]
    assert max(ratios) <= 1.0
    assert max(ratios) >= 0.3


def test_errors_fall_as_the_root_of_the_number_of_samples() -> None:
    sizes, seeds = (50, 200, 800, 3200), range(12)
    errors = [np.mean([learned(seed, n, tol=1e-6).realised.value for seed in seeds]) for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert -0.65 <= slope <= -0.35
    promised = [learned(0, n, tol=1e-6).promised.value for n in sizes]
    assert all(more / less >= 1.99 for more, less in pairwise(promised))
    assert promised[-2] / promised[-1] <= 2.5  # the range of v* is then known well


def test_realised_errors_are_those_of_the_true_game() -> None:
    solution, exact = learned(2, 25), shapley_iteration(GAME, 1e-11)
    off = np.abs(solution.solution.value - exact.value).max()
    conv = nash_gap(GAME, *solution.policy).largest
    assert off <= solution.realised.value <= off + 1e-7
    assert conv <= solution.realised.nash_conv <= conv + 1e-6
    assert learned(2, 25, truth=None).realised is None


def test_the_proven_count_is_the_one_at_which_the_promise_reaches_eps() -> None:
    n = hoeffding_samples(6, (2, 3), 0.6, 0.3, 0.05, reward_range=float(np.ptp(GAME.r)))
    w = 0.6 * np.ptp(GAME.r) / 0.4
    assert n == math.ceil(math.log(2 * 36 / 0.05) / 2 * (w / (0.4 * 0.3)) ** 2)
    assert learned(0, n, delta=0.05).promised.value <= 0.3 + 1e-6
    assert hoeffding_samples(6, (2, 3), 0.6, 0.3, 0.05, known_rewards=False) > hoeffding_samples(
        6, (2, 3), 0.6, 0.3, 0.05
    )
    assert hoeffding_samples(6, (2, 3), 0.0, 0.3, 0.05) == 1


def test_the_theorems_count_is_its_formula() -> None:
    n = samples_per_triple(10, (3, 2), 0.9, 0.5, 0.1, constant=2.0)
    assert n == math.ceil(2 * 0.9 * math.log(2 * 60 / (0.01 * 0.1)) / (0.001 * 0.25))
    assert samples_per_triple(10, (3, 2), 0.9, 5.0, 0.1, constant=2.0, reward_range=10.0) == n
    scaled = samples_per_triple(10, (3, 2), 0.9, 0.05, 0.1) / samples_per_triple(10, (3, 2), 0.9, 0.5, 0.1)
    assert abs(scaled - 100) <= 0.1


# ---------------------------------------------------------------------------------------------- smooth policies


def test_smooth_policies_solve_the_regularised_games_of_the_estimate() -> None:
    solution = learned(0, 100, temperature=0.1)
    q = joint_action_values(solution.game, solution.solution.value)
    mu, nu = solution.policy
    for matrix, x, y in zip(q, mu, nu, strict=True):
        weights = np.exp(matrix @ y / 0.1)
        np.testing.assert_allclose(x, weights / weights.sum(), atol=1e-9)


def test_smooth_policies_move_by_at_most_their_lipschitz_constant_where_plain_ones_jump() -> None:
    """Matching pennies in which one stake is 1 + eps or 1 - eps of the others, seen through a saddle that vanishes."""
    tau, eps = 0.2, 1e-6
    payoffs = np.array([[1.0, 1.0 + eps], [1.0, 1.0 - eps]])
    one, other = (learned(0, 1, matrix_game(m), temperature=tau).policy for m in (payoffs, payoffs[::-1]))
    moved = sum(np.abs(x - y).sum() for x, y in zip(one, other, strict=True))
    assert moved <= 2 * (2 * eps) / tau + 1e-9
    plain = [solve_matrix_games(m[None]).mu[0] for m in (payoffs, payoffs[::-1])]
    assert np.abs(plain[0] - plain[1]).sum() >= 1.0


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples is 0; it must be at least 1"),
        ({"delta": 0.0}, r"delta is 0.0; pass a probability in \(0, 1\]"),
        ({"delta": 1.5}, "delta is 1.5"),
        ({"temperature": 0.0}, "temperature is 0.0; pass a positive number"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"reward_range": 0.0}, "reward_range is 0.0"),
        ({"reward_range": 0.1, "rewards": None}, "reward_range is 0.1, but mean rewards range over"),
        ({"rewards": np.zeros((2, 2))}, r"rewards has shape \(2, 2\); expected \(S, A, B\)"),
        ({"n_actions_0": np.ones(3, np.int64)}, r"expected \(S,\)"),
        ({"terminal": np.zeros(6)}, "terminal has dtype float64"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], message: str) -> None:
    options = {"samples": 5} | options
    with pytest.raises(ModelError, match=message):
        learned(0, **options)


def test_shapes_that_are_not_the_simulators_are_refused() -> None:
    with pytest.raises(ModelError, match=r"n_actions is \(3, 3\), but the simulator has 6 joint actions"):
        estimate_game(TabularSimulator(GAME), (3, 3), 5, gamma=0.5, rho=GAME.rho, rng=np.random.default_rng(0))
    with pytest.raises(ModelError, match="gamma is 1"):
        model_based_planning(TabularSimulator(GAME), (2, 3), 5, gamma=1.0, rho=GAME.rho, rng=np.random.default_rng(0))


def test_a_game_too_large_for_memory_is_refused_before_it_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TabularSimulator, "sample", None)
    with pytest.raises(ModelError, match=r"needs up to \d,\d+ bytes, more than max_bytes = 1,000"):
        estimated(0, 100, max_bytes=1000)
    game = random_linear_game(10**9, 2, 2, 3, 0)
    with pytest.raises(ModelError, match="empirical game of 1,000,000,000 states needs up to"):
        estimate_game(LinearSimulator(game), (2, 2), 1, gamma=0.5, rho=np.ones(1), rng=np.random.default_rng(0))


def test_more_samples_than_time_allows_are_refused_before_any_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TabularSimulator, "sample", None)
    message = (
        r"36 triples \(s, a, b\) would take 36,000,000,000,000 transitions, more than 1,000,000,000; pass at most "
    )
    for run in (estimated, learned):
        with pytest.raises(ModelError, match=f"{message}27,777,777, or raise max_samples"):
            run(0, 10**12)
    with pytest.raises(ModelError, match="max_samples is 0; it must be at least 1"):
        estimated(0, 5, max_samples=0)
    monkeypatch.undo()
    assert learned(0, 5, max_samples=180).n_samples == 180
    with pytest.raises(ModelError, match="more than 179; pass at most 4"):
        learned(0, 5, max_samples=179)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, (2, 2), 0.9, 0.0, 0.1), "eps is 0.0; pass a positive number"),
        ((5, (2, 2), 0.9, -1.0, 0.1), "eps is -1.0"),
        ((5, (2, 2), 0.9, 0.1, 0.0), "delta is 0.0"),
        ((5, (2, 2), 0.9, 0.1, 2.0), "delta is 2.0"),
        ((5, (2, 2), 1.0, 0.1, 0.1), "gamma is 1"),
        ((5, (0, 2), 0.9, 0.1, 0.1), r"n_actions\[0\] is 0"),
        ((0, (2, 2), 0.9, 0.1, 0.1), "n_states is 0"),
    ],
)
def test_counts_refuse_numbers_out_of_range(arguments: tuple[object, ...], message: str) -> None:
    for count in (samples_per_triple, hoeffding_samples):
        with pytest.raises(ModelError, match=message):
            count(*arguments)


def test_the_theorem_is_not_used_beyond_its_range() -> None:
    with pytest.raises(ModelError, match=r"eps is 4; the theorem holds up to reward_range / sqrt\(1 - gamma\) = 3.16"):
        samples_per_triple(5, (2, 2), 0.9, 4, 0.1)
