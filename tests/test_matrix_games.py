"""Matrix games: published values, exact properties, and three other methods agree with the kernel."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.optimize import linprog

from lookahead_rl.models import ModelError
from lookahead_rl.models._checks import frozen
from lookahead_rl.solvers import exact_matrix_game, matrix_games, solve_matrix_games
from lookahead_rl.solvers.exact_matrix_game import optimal_policies
from lookahead_rl.solvers.matrix_game_kernels import solve_batch
from lookahead_rl.solvers.matrix_games import MatrixGameSolutions

Matrix = NDArray[np.float64]

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7))
FLOATS = arrays(np.float64, SHAPES, elements=st.floats(-1e3, 1e3))
INTEGERS = arrays(np.int64, SHAPES, elements=st.integers(-3, 3)).map(lambda game: game.astype(np.float64))
GAMES = st.one_of(FLOATS, INTEGERS)


def value_of(game: Matrix) -> float:
    return float(solve_matrix_games(np.asarray(game, dtype=float)[None]).values[0])


def relative_gaps(payoffs: Matrix, mu: Matrix, nu: Matrix) -> Matrix:
    """Duality gaps over ranges, (N,), for games without missing actions; policies must be distributions."""
    assert (mu >= 0).all()
    assert (nu >= 0).all()
    np.testing.assert_allclose(mu.sum(axis=1), 1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(nu.sum(axis=1), 1, rtol=0, atol=1e-14)
    shifted = payoffs - payoffs.min(axis=(1, 2), keepdims=True)
    above = np.einsum("kab,kb->ka", shifted, nu).max(axis=1)
    below = np.einsum("kab,ka->kb", shifted, mu).min(axis=1)
    extent = shifted.max(axis=(1, 2))
    return (above - below) / np.where(extent > 0, extent, 1)


# ---------------------------------------------------------------------------------------------- published values


@pytest.mark.parametrize(
    ("game", "value"),
    [
        ([[1, -1], [-1, 1]], 0),  # matching pennies (von Neumann 1928)
        ([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], 0),  # rock, paper, scissors
        ([[-2, 3], [3, -4]], 1 / 12),  # odd or even: Ferguson, Game Theory, part II, section 1.2
        ([[2, 0, 0], [0, 3, 0], [0, 0, 6]], 1),  # diagonal games: 1 / sum(1 / d), Ferguson, part II, section 3.3
        ([[0, -1, 2], [1, 0, -1], [-2, 1, 0]], 0),  # Mendelsohn's game, reduced: Ferguson, part II, section 3.5
        ([[0, 2, -3, 0], [-2, 0, 0, 3], [3, 0, 0, -4], [0, -3, 4, 0]], 0),  # Morra: Chvatal 1983, chapter 15
        ([[3, 5, 3], [2, 7, 1], [3, 4, 6]], 3),  # a saddle point at the corner
        ([[7]], 7),
    ],
)
def test_published_values(game: list[list[float]], value: float) -> None:
    assert value_of(np.array(game)) == pytest.approx(value, abs=1e-15)


def test_published_policies() -> None:
    _, mu, nu, _ = solve_matrix_games([[[-2, 3], [3, -4]]])
    np.testing.assert_allclose([mu[0], nu[0]], [[7 / 12, 5 / 12]] * 2, atol=1e-15)
    _, mu, nu, _ = solve_matrix_games([[[0, -1, 2], [1, 0, -1], [-2, 1, 0]]])
    np.testing.assert_allclose([mu[0], nu[0]], [[1 / 4, 1 / 2, 1 / 4]] * 2, atol=1e-15)


@given(arrays(np.float64, (2, 2), elements=st.floats(-10, 10)))
def test_two_by_two_closed_form(game: Matrix) -> None:
    (a, b), (c, d) = game
    maximin, minimax = game.min(axis=1).max(), game.max(axis=0).min()
    expected = maximin if maximin == minimax else (a * d - b * c) / (a + d - b - c)
    assert value_of(game) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=9))
def test_diagonal_games_are_worth_the_harmonic_sum(diagonal: list[float]) -> None:
    expected = diagonal[0] if len(diagonal) == 1 else 1 / sum(1 / d for d in diagonal)
    assert value_of(np.diag(diagonal)) == pytest.approx(expected, rel=1e-12)


# ---------------------------------------------------------------------------------------------- properties


@given(GAMES)
@example(np.zeros((3, 4)))
@example(np.ones((1, 6)))
@example(np.full((2, 2), 5e-324) * np.eye(2))
def test_policies_guarantee_the_value(game: Matrix) -> None:
    values, mu, nu, _ = solve_matrix_games(game[None])
    assert relative_gaps(game[None], mu, nu)[0] <= 1e-9
    slack = 1e-9 * np.ptp(game) + 1e-13 * np.abs(game).max()
    assert (mu[0] @ game).min() - slack <= values[0] <= (game @ nu[0]).max() + slack


@given(arrays(np.int64, st.integers(1, 7).map(lambda n: (n, n)), elements=st.integers(-9, 9)))
def test_symmetric_games_are_worth_nothing(matrix: NDArray[np.int64]) -> None:
    assert value_of(matrix - matrix.T) == pytest.approx(0, abs=1e-12)


@given(GAMES)
def test_exchanging_the_players_negates_the_value(game: Matrix) -> None:
    scale = np.abs(game).max() + 1e-300
    assert value_of(-game.T) == pytest.approx(-value_of(game), abs=1e-9 * scale)


@given(GAMES, st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_shifting_and_scaling_the_payoffs_shifts_and_scales_the_value(game: Matrix, shift: float, scale: float) -> None:
    expected = scale * value_of(game) + shift
    slack = 1e-9 * scale * np.ptp(game) + 1e-12 * (abs(shift) + scale * np.abs(game).max())
    assert value_of(scale * game + shift) == pytest.approx(expected, abs=slack)


@given(GAMES, st.data())
def test_the_value_is_monotone_in_the_payoffs(game: Matrix, data: st.DataObject) -> None:
    more = data.draw(arrays(np.float64, game.shape, elements=st.floats(0, 10)))
    assert value_of(game + more) >= value_of(game) - 1e-9 * (np.ptp(game) + np.ptp(game + more))


@given(GAMES, st.data())
def test_a_dominated_row_is_worth_nothing(game: Matrix, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, game.shape[0] - 1))
    larger = np.vstack([game, game[row] - 1.0])
    slack = 1e-9 * (np.ptp(larger) + np.ptp(game))
    assert value_of(larger) == pytest.approx(value_of(game), abs=slack)


@given(GAMES, st.data())
def test_permuting_and_repeating_actions_leaves_the_value(game: Matrix, data: st.DataObject) -> None:
    rows = data.draw(st.permutations(range(game.shape[0])))
    columns = data.draw(st.permutations(range(game.shape[1])))
    shuffled = game[np.ix_([*rows, rows[0]], [*columns, columns[0]])]
    assert value_of(shuffled) == pytest.approx(value_of(game), abs=1e-9 * np.ptp(game) + 1e-300)


# ---------------------------------------------------------------------------------------------- other methods


def exact_value(game: NDArray[np.int64]) -> Fraction:
    """The value by rational arithmetic: some square submatrix solves the game (Shapley and Snow 1950)."""
    for size in range(1, min(game.shape) + 1):
        for rows in combinations(range(game.shape[0]), size):
            for columns in combinations(range(game.shape[1]), size):
                value = kernel_value(game, rows, columns)
                if value is not None:
                    return value
    raise AssertionError("no kernel")


def kernel_value(game: NDArray[np.int64], rows: tuple[int, ...], columns: tuple[int, ...]) -> Fraction | None:
    block = [[Fraction(int(game[a, b])) for b in columns] for a in rows]
    by_column = equalizer(block)
    by_row = equalizer([list(row) for row in zip(*block, strict=True)])
    if by_column is None or by_row is None:
        return None
    (nu, above), (mu, below) = by_column, by_row
    best = max(sum(int(game[a, b]) * y for b, y in zip(columns, nu, strict=True)) for a in range(game.shape[0]))
    worst = min(sum(int(game[a, b]) * x for a, x in zip(rows, mu, strict=True)) for b in range(game.shape[1]))
    return above if best == above == below == worst else None


def equalizer(block: list[list[Fraction]]) -> tuple[list[Fraction], Fraction] | None:
    """The distribution y >= 0 and the number v with block y = v 1, by Gauss-Jordan elimination, or None."""
    size = len(block) + 1
    rows = [[*row, Fraction(-1), Fraction(0)] for row in block] + [
        [Fraction(1)] * (size - 1) + [Fraction(0), Fraction(1)]
    ]
    for c in range(size):
        r = next((r for r in range(c, size) if rows[r][c] != 0), None)
        if r is None:
            return None
        rows[c], rows[r] = rows[r], rows[c]
        rows[c] = [entry / rows[c][c] for entry in rows[c]]
        for other in range(size):
            if other != c:
                rows[other] = [x - rows[other][c] * y for x, y in zip(rows[other], rows[c], strict=True)]
    solution = [row[-1] for row in rows]
    return (solution[:-1], solution[-1]) if min(solution[:-1]) >= 0 else None


@settings(max_examples=60)
@given(arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.integers(-4, 4)))
def test_values_agree_with_rational_arithmetic(game: NDArray[np.int64]) -> None:
    assert value_of(game) == pytest.approx(float(exact_value(game)), abs=1e-14 * (1 + np.abs(game).max()))


def highs_value(game: Matrix) -> float:
    m, n = game.shape
    constraints = np.hstack([-game.T, np.ones((n, 1))])
    answer = linprog(
        np.append(np.zeros(m), -1.0),
        A_ub=constraints,
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(m), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * m + [(None, None)],
    )
    return float(-answer.fun)


@pytest.mark.parametrize("shape", [(3, 3), (2, 9), (10, 4), (20, 20), (50, 50)])
def test_values_agree_with_highs(shape: tuple[int, int]) -> None:
    games = np.random.default_rng(1).normal(size=(5, *shape))
    expected = [highs_value(game) for game in games]
    np.testing.assert_allclose(solve_matrix_games(games).values, expected, atol=1e-7)


def test_values_and_policies_agree_with_quantecon() -> None:
    from quantecon.optimize import minmax

    for game in np.random.default_rng(2).uniform(size=(20, 6, 5)):
        values, mu, nu, _ = solve_matrix_games(game[None])
        expected_value, expected_mu, expected_nu = minmax(game)
        assert values[0] == pytest.approx(expected_value, abs=1e-6)
        np.testing.assert_allclose(mu[0], expected_mu, atol=1e-6)
        np.testing.assert_allclose(nu[0], expected_nu, atol=1e-6)


@settings(max_examples=50)
@given(GAMES.filter(lambda game: np.ptp(game) > 0))
def test_exact_arithmetic_agrees_with_the_kernel(game: Matrix) -> None:
    mu, nu = optimal_policies(game - game.min())
    assert relative_gaps(game[None], mu[None], nu[None])[0] <= 1e-14
    assert value_of(game) == pytest.approx((game @ nu).max(), abs=1e-9 * np.ptp(game) + 1e-13 * np.abs(game).max())


# ---------------------------------------------------------------------------------------------- accuracy


def repeated_rows(rng: np.random.Generator, n: int, shape: tuple[int, int], noise: float) -> Matrix:
    games = rng.uniform(size=(n, *shape))
    half = (shape[0] + 1) // 2
    games[:, half:] = games[:, : shape[0] - half]
    return games + noise * rng.normal(size=games.shape)


def families(n: int, shape: tuple[int, int]) -> dict[str, Matrix]:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(size=(n, shape[0], 1)), rng.uniform(size=(n, 1, shape[1]))
    return {
        "random": rng.uniform(size=(n, *shape)),
        "integer": rng.integers(-2, 3, size=(n, *shape)).astype(float),
        "zero-one": rng.integers(0, 2, size=(n, *shape)).astype(float),
        "sparse": (rng.random((n, *shape)) < 0.15) * rng.uniform(size=(n, *shape)),
        "rank one": rng.normal(size=(n, shape[0], 1)) * rng.normal(size=(n, 1, shape[1])),
        "rank two": rng.normal(size=(n, shape[0], 2)) @ rng.normal(size=(n, 2, shape[1])),
        "constant": np.broadcast_to(rng.normal(size=(n, 1, 1)), (n, *shape)).copy(),
        "repeated rows": repeated_rows(rng, n, shape, 0.0),
        "rows equal to 13 digits": repeated_rows(rng, n, shape, 1e-13),
        "rows equal to 9 digits": repeated_rows(rng, n, shape, 1e-9),
        "rows equal to 7 digits": repeated_rows(rng, n, shape, 1e-7),
        "graded": rng.uniform(size=(n, *shape)) * 10.0 ** rng.uniform(-12, 0, size=(n, *shape)),
        "graded columns": rng.uniform(size=(n, *shape)) * 10.0 ** rng.uniform(-12, 0, size=(n, 1, shape[1])),
        "log-normal": np.exp(8 * rng.normal(size=(n, *shape))),
        "smooth": (x - y) ** 2 * (1 + x * y),
        "offset": 1e5 + rng.uniform(size=(n, *shape)),
        "large offset": 1e12 + rng.uniform(size=(n, *shape)),
    }


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (2, 2), (2, 7), (3, 3), (5, 5), (9, 4), (20, 20), (50, 50)], ids=str)
def test_relative_gap_is_at_most_one_in_a_billion(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """And exact arithmetic, which is slow, is left to few of the games whose rows agree to many digits."""
    exact, defeated = matrix_games._solve_exactly, []
    monkeypatch.setattr(matrix_games, "_solve_exactly", lambda k, game: (defeated.append(k), exact(k, game))[1])
    for name, games in families(10 if shape == (50, 50) else 100, shape).items():
        defeated.clear()
        _, mu, nu, _ = solve_matrix_games(games)
        assert relative_gaps(games, mu, nu).max() <= 1e-9, name
        assert len(defeated) <= (0.3 * len(games) if "digits" in name else 0), name


@pytest.mark.parametrize("exponent", [-300, -12, -5, 5, 12, 300])
def test_accuracy_does_not_depend_on_the_scale(exponent: int) -> None:
    games = np.random.default_rng(4).normal(size=(50, 6, 5))
    scaled = games * 10.0**exponent
    values, mu, nu, _ = solve_matrix_games(scaled)
    assert relative_gaps(scaled, mu, nu).max() <= 1e-12
    np.testing.assert_allclose(values, solve_matrix_games(games).values * 10.0**exponent, rtol=1e-10)


def test_a_game_that_defeats_float64_is_solved_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an unreachable target for the kernel every game takes the exact path, and passes its check."""
    solved: list[int] = []
    exact = matrix_games._solve_exactly

    def counted(index: int, game: Matrix) -> tuple[float, Matrix, Matrix]:
        solved.append(index)
        monkeypatch.setattr(matrix_games, "RELATIVE_GAP", 1e-14)
        return exact(index, game)

    games = np.random.default_rng(5).normal(size=(1, 4, 6))
    expected = solve_matrix_games(games)
    monkeypatch.setattr(matrix_games, "_solve_exactly", counted)
    monkeypatch.setattr(matrix_games, "RELATIVE_GAP", -1.0)
    found = solve_matrix_games(games)
    assert solved == [0]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_an_answer_that_misses_the_guarantee_is_an_error_naming_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_games, "RELATIVE_GAP", -1.0)
    with pytest.raises(ArithmeticError, match=r"payoffs\[0\]: no pair of policies found"):
        solve_matrix_games(np.eye(3)[None])


# ---------------------------------------------------------------------------------------------- cycles

# Found by a search. With 100 for the lowest and 200 for the highest payoff the first pivot leaves three degenerate
# rows, on which Dantzig's rule, with the largest pivot among ties, comes back to where it was.
CYCLING = [
    [
        [150, 137, 156, 137, 134, 200],
        [150, 164, 145, 148, 195, 200],
        [150, 128, 147, 155, 187, 200],
        [100, 100, 100, 100, 100, 100],
    ],
    [
        [150, 157, 126, 137, 139, 200],
        [150, 133, 164, 144, 182, 200],
        [150, 140, 145, 156, 118, 200],
        [100, 100, 100, 100, 100, 100],
    ],
    [
        [150, 161, 128, 142, 120, 200],
        [150, 143, 174, 129, 164, 200],
        [150, 132, 143, 156, 165, 200],
        [100, 100, 100, 100, 100, 100],
    ],
]


def unexpected(index: int, game: Matrix) -> tuple[float, Matrix, Matrix]:
    raise AssertionError(f"game {index} was left to exact arithmetic: {game}")


@pytest.mark.parametrize("copies", [1, 20])  # one by one, and in lockstep
@pytest.mark.parametrize("game", CYCLING)
def test_blands_rule_breaks_a_cycle(game: list[list[int]], copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_games, "_solve_exactly", unexpected)
    solved = solve_matrix_games(np.repeat(np.array(game, dtype=float)[None], copies, axis=0))
    np.testing.assert_allclose(solved.values, float(exact_value(np.array(game))), rtol=1e-13)


@pytest.mark.parametrize("limit", [0, 10**9])
def test_exact_arithmetic_agrees_under_either_pivot_rule(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_matrix_game, "DEGENERATE_LIMIT", limit)
    for game in np.random.default_rng(8).integers(0, 4, size=(20, 4, 5)):
        if np.ptp(game) > 0:
            mu, nu = optimal_policies((game - game.min()).astype(float))
            assert (mu @ game).min() == pytest.approx(float(exact_value(game)), abs=1e-15)
            assert (game @ nu).max() == pytest.approx(float(exact_value(game)), abs=1e-15)


# ---------------------------------------------------------------------------------------------- warm starts


def assert_bases(payoffs: Matrix, solved: MatrixGameSolutions) -> None:
    """As many rows as columns, at least one of them, and the policies play nothing else."""
    rows, columns = solved.basis[:, : payoffs.shape[1]], solved.basis[:, payoffs.shape[1] :]
    assert (rows.sum(axis=1) == columns.sum(axis=1)).all()
    assert rows.any(axis=1).all()
    assert not solved.mu[~rows].any()
    assert not solved.nu[~columns].any()


def assert_solved(payoffs: Matrix, solved: MatrixGameSolutions, expected: MatrixGameSolutions) -> None:
    assert relative_gaps(payoffs, solved.mu, solved.nu).max() <= 1e-9
    extent = np.ptp(payoffs, axis=(1, 2)) + 1e-15 * np.abs(payoffs).max()
    assert (np.abs(solved.values - expected.values) <= 1e-9 * extent).all()
    assert_bases(payoffs, solved)


# Shapes and batches on both sides of the limits up to which games are solved in lockstep.
BATCHES = [(30, (2, 2)), (3, (5, 5)), (250, (5, 5)), (20, (9, 8)), (20, (3, 17)), (10, (33, 34))]


@pytest.mark.parametrize(("n_games", "shape"), BATCHES, ids=str)
def test_the_basis_of_a_game_solves_it_again(n_games: int, shape: tuple[int, int]) -> None:
    payoffs = np.random.default_rng(9).normal(size=(n_games, *shape))
    cold = solve_matrix_games(payoffs)
    warm = solve_matrix_games(payoffs, start=cold.basis)
    assert_bases(payoffs, cold)
    assert_solved(payoffs, warm, cold)
    np.testing.assert_array_equal(warm.basis, cold.basis)
    np.testing.assert_allclose(warm.mu, cold.mu, rtol=0, atol=1e-12)


@pytest.mark.parametrize("change", [1e-10, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("n_games", "shape"), BATCHES, ids=str)
def test_a_start_from_similar_games_is_as_good_as_a_cold_one(
    n_games: int, shape: tuple[int, int], change: float
) -> None:
    rng = np.random.default_rng(10)
    payoffs = rng.uniform(size=(n_games, *shape))
    moved = payoffs + change * rng.uniform(-1, 1, size=payoffs.shape)
    assert_solved(moved, solve_matrix_games(moved, start=solve_matrix_games(payoffs).basis), solve_matrix_games(moved))


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (2, 2), (4, 3), (9, 7), (17, 17), (35, 34)], ids=str)
def test_no_start_misleads(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one send games to exact arithmetic, the families aside that rounding may defeat."""
    rng = np.random.default_rng(11)
    n_games, n_labels = 12, sum(shape)
    previous = np.zeros((n_games, n_labels), dtype=bool)
    for name, payoffs in families(n_games, shape).items():
        cold = solve_matrix_games(payoffs)
        random = rng.random((n_games, n_labels)) < 0.5
        balanced = np.zeros((n_games, n_labels), dtype=bool)
        for marks in balanced:
            size = rng.integers(1, min(shape) + 1)
            marks[rng.permutation(shape[0])[:size]] = True
            marks[shape[0] + rng.permutation(shape[1])[:size]] = True
        with monkeypatch.context() as patch:
            if "digits" not in name:
                patch.setattr(matrix_games, "_solve_exactly", unexpected)
            for start in (previous, random, balanced, np.ones_like(random)):
                assert_solved(payoffs, solve_matrix_games(payoffs, start=start), cold)
        previous = cold.basis


@given(GAMES, st.data())
def test_any_start_gives_the_value(game: Matrix, data: st.DataObject) -> None:
    start = data.draw(arrays(np.bool_, (1, sum(game.shape))))
    assert_solved(game[None], solve_matrix_games(game[None], start=start), solve_matrix_games(game[None]))


@pytest.mark.parametrize("n_games", [5, 120])
def test_ragged_games_start_warm(n_games: int) -> None:
    rng = np.random.default_rng(12)
    payoffs = rng.normal(size=(n_games, 6, 8))
    counts_0, counts_1 = rng.integers(1, 7, n_games), rng.integers(1, 9, n_games)
    cold = solve_matrix_games(payoffs, counts_0, counts_1)
    for start in (cold.basis, rng.random(cold.basis.shape) < 0.5):
        warm = solve_matrix_games(payoffs, counts_0, counts_1, start)
        np.testing.assert_allclose(warm.values, cold.values, atol=1e-12)
        np.testing.assert_array_equal(warm.basis, cold.basis)
        assert not warm.basis[:, :6][np.arange(6) >= counts_0[:, None]].any()
        assert not warm.basis[:, 6:][np.arange(8) >= counts_1[:, None]].any()


def test_the_start_is_left_alone() -> None:
    payoffs = np.random.default_rng(13).normal(size=(4, 3, 3))
    start = np.ones((4, 6), dtype=bool)
    solve_matrix_games(payoffs, start=start)
    assert start.all()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros((2, 5), dtype=bool), r"start has shape \(2, 5\)"),
        (np.zeros((3, 4), dtype=bool), r"start has shape \(3, 4\)"),
        (np.zeros((2, 4), dtype=np.int64), "start has dtype int64; pass the basis of an earlier solution"),
        (np.zeros((2, 4)), "start has dtype float64"),
    ],
)
def test_a_bad_start_is_named(start: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        solve_matrix_games(np.zeros((2, 2, 2)), start=start)


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize(("n_games", "shape"), [(4, (3, 3)), (200, (3, 3)), (200, (7, 6))], ids=str)
def test_games_without_a_saddle_point_are_counted(n_games: int, shape: tuple[int, int], is_warm: bool) -> None:
    payoffs = np.random.default_rng(14).integers(0, 5, size=(n_games, *shape)).astype(float)
    mixed = payoffs.min(axis=2).max(axis=1) < payoffs.max(axis=1).min(axis=1)
    solved = solve_matrix_games(payoffs)
    counts_0, counts_1 = (frozen(np.full(n_games, count)) for count in shape)
    rest = (solved.values, solved.mu, solved.nu, np.empty(n_games), solved.basis)
    assert 0 < mixed.sum() < n_games
    assert solve_batch(payoffs, counts_0, counts_1, *rest, is_warm) == mixed.sum()


# ---------------------------------------------------------------------------------------------- batches and input


def test_ragged_games_are_solved_as_if_cut_out() -> None:
    rng = np.random.default_rng(6)
    games = rng.normal(size=(60, 5, 6))
    counts_0, counts_1 = rng.integers(1, 6, 60), rng.integers(1, 7, 60)
    values, mu, nu, _ = solve_matrix_games(games, counts_0, counts_1)
    for k, (m, n) in enumerate(zip(counts_0, counts_1, strict=True)):
        alone = solve_matrix_games(games[k : k + 1, :m, :n])
        assert values[k] == pytest.approx(alone.values[0], abs=1e-14)
        np.testing.assert_allclose(mu[k], np.pad(alone.mu[0], (0, 5 - m)), atol=1e-14)
        np.testing.assert_allclose(nu[k], np.pad(alone.nu[0], (0, 6 - n)), atol=1e-14)


def test_the_answer_unpacks_and_the_input_is_left_alone() -> None:
    games = np.arange(12.0).reshape(1, 3, 4)
    kept = games.copy()
    answer = solve_matrix_games(games)
    values, mu, nu, basis = answer
    assert values is answer.values
    assert mu is answer.mu
    assert nu is answer.nu
    assert basis is answer.basis
    np.testing.assert_array_equal(games, kept)


def test_an_empty_batch_has_an_empty_answer() -> None:
    values, mu, nu, _ = solve_matrix_games(np.zeros((0, 2, 3)))
    assert (values.shape, mu.shape, nu.shape) == ((0,), (0, 2), (0, 3))


@pytest.mark.parametrize(
    ("payoffs", "counts", "message"),
    [
        (np.eye(2), None, r"payoffs has shape \(2, 2\); expected \(N, A, B\)"),
        ([[[0.0, np.nan]]], None, r"payoffs\[0, 0, 1\] is nan"),
        ([[[0.0, np.inf]]], None, r"payoffs\[0, 0, 1\] is inf"),
        (np.zeros((1, 0, 2)), None, "payoffs describes 0 rows"),
        (np.zeros((1, 2, 0)), None, "payoffs describes 0 columns"),
        ([[["a"]]], None, "payoffs has dtype"),
        (np.zeros((2, 2, 2)), [2, 0], r"n_actions_0\[1\] is 0; every game needs 1 to 2 actions"),
        (np.zeros((2, 2, 2)), [2, 3], r"n_actions_0\[1\] is 3"),
        (np.zeros((2, 2, 2)), [2], r"n_actions_0 has shape \(1,\)"),
        (np.zeros((2, 2, 2)), [1.0, 2.0], "n_actions_0 has dtype float64"),
        (np.array([[[1.7e308, -1.7e308], [-1.7e308, 1.7e308]]]), None, r"payoffs\[0\] ranges over more than float64"),
        (np.tile([[1.7e308, -1.7e308], [0, 1]], (9, 1, 1)), None, r"payoffs\[0\] ranges over more than float64"),
        (np.tile([[1.7e308, -1.7e308], [0, 1]], (2, 1, 1)), None, r"payoffs\[0\] ranges over more than float64"),
    ],
)
def test_bad_input_is_named(payoffs: object, counts: list[float] | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        solve_matrix_games(payoffs, counts)
