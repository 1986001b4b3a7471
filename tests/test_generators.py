import subprocess
import sys
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lookahead_rl.models import ModelError, garnet_game, garnet_mdp, random_linear_game, random_linear_mdp, same_model
from lookahead_rl.models.generators import random_subsets


@pytest.mark.parametrize(("n", "k"), [(5, 2), (6, 3), (5, 3), (6, 4), (4, 4), (5, 1)])
def test_every_subset_of_next_states_is_equally_likely(n, k):
    rows = random_subsets(60_000, n, k, np.random.default_rng(0))
    subsets = {subset: i for i, subset in enumerate(combinations(range(n), k))}
    counts = np.bincount([subsets[tuple(row)] for row in rows.tolist()], minlength=len(subsets))
    assert stats.chisquare(counts).pvalue > 1e-3 or len(subsets) == 1


@given(st.integers(1, 40), st.data(), st.integers(0, 2**32))
def test_subsets_are_distinct_increasing_and_in_range(n, data, seed):
    k = data.draw(st.integers(0, n))
    rows = random_subsets(7, n, k, np.random.default_rng(seed))
    assert rows.shape == (7, k)
    assert (np.diff(rows, axis=1) > 0).all()
    assert ((rows >= 0) & (rows < n)).all()


def test_subsets_of_a_huge_range_need_no_memory_for_it():
    rows = random_subsets(10, 2**62, 3, np.random.default_rng(0))
    assert rows.max() > 2**60


def test_probabilities_are_gaps_of_sorted_uniforms():
    # A gap of b - 1 uniforms is Beta(1, b - 1) (David, Nagaraja, Order Statistics, 2003, section 6.4).
    law = garnet_mdp(2000, 2, 4, 1, sparse=True).P_rows
    gaps = law.data.reshape(-1, 4)
    assert np.abs(gaps.sum(axis=1) - 1).max() < 1e-15
    for column in gaps.T:
        assert stats.kstest(column, stats.beta(1, 3).cdf).pvalue > 1e-3


def test_rewards_follow_the_law_asked_for():
    uniform = garnet_mdp(1000, 3, 1, 2).r.ravel()
    normal = garnet_mdp(1000, 3, 1, 2, rewards="normal").r.ravel()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3


@pytest.mark.parametrize("branching", [1, 3, 8])
def test_dense_and_sparse_storage_hold_the_same_model(branching):
    dense = garnet_mdp(8, 3, branching, 5, sparse=False)
    sparse = garnet_mdp(8, 3, branching, 5, sparse=True)
    assert not dense.is_sparse
    assert sparse.is_sparse
    np.testing.assert_array_equal(dense.P_rows, sparse.P_rows.toarray())
    np.testing.assert_array_equal(dense.r, sparse.r)
    assert (np.count_nonzero(dense.P, axis=2) == branching).all()


def test_size_decides_the_storage():
    assert not garnet_mdp(100, 4, 5, 0).is_sparse
    assert garnet_mdp(1000, 4, 5, 0).is_sparse
    assert not garnet_mdp(1000, 4, 700, 0).is_sparse  # CSR would be larger
    assert garnet_game(600, 2, 2, 5, 0).is_sparse


def test_a_large_sparse_garnet_needs_memory_linear_in_its_size():
    tracemalloc.start()
    model = garnet_mdp(100_000, 4, 5, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.P_rows.nnz == 2_000_000
    assert peak < 4 * model.nbytes  # one bit for each entry of a dense P would already be 20 GB


PRINT_MODELS = """
from lookahead_rl.models import garnet_game, garnet_mdp, random_linear_game, random_linear_mdp
print(garnet_mdp(9, 2, 3, 7).P.tobytes().hex(), garnet_mdp(9, 2, 3, 7, rewards="normal").r.tobytes().hex())
print(garnet_game(5, 2, 3, 3, 7).P.tobytes().hex(), garnet_game(5, 2, 3, 3, 7).r.tobytes().hex())
print(random_linear_mdp(10**9, 2, 3, 4, 7).mu.states.tolist(), random_linear_game(10**9, 2, 2, 3, 7).phi.seed)
"""


def test_one_seed_gives_one_model_in_every_process():
    runs = [
        subprocess.run(
            [sys.executable, "-c", PRINT_MODELS], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": s}
        ).stdout
        for s in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 1000


def test_a_seed_names_this_instance_on_every_platform():
    model = garnet_mdp(4, 2, 2, 0)
    assert np.argwhere(model.P[0]).tolist() == [[0, 0], [0, 2], [1, 1], [1, 3]]
    assert model.P[0, 0, 0] == 0.5436249914654229
    assert model.r[3, 1] == 0.6471895115742501


def test_an_integer_seeds_a_fresh_generator_and_a_generator_goes_on():
    rng = np.random.default_rng(3)
    first, second = garnet_mdp(6, 2, 2, rng), garnet_mdp(6, 2, 2, rng)
    np.testing.assert_array_equal(first.P, garnet_mdp(6, 2, 2, 3).P)
    assert (first.r != second.r).all()


def test_games_have_garnet_rows_for_every_pair_of_actions():
    game = garnet_game(6, 2, 3, 4, 0, gamma=0.5)
    assert game.P.shape == (6, 2, 3, 6)
    assert (np.count_nonzero(game.P, axis=3) == 4).all()
    assert game.gamma == 0.5
    assert ((game.r >= 0) & (game.r <= 1)).all()
    assert not game.is_ragged


@pytest.mark.parametrize("seed", range(3))
def test_random_linear_models_satisfy_the_assumptions_of_linear_mdps(seed):
    mdp = random_linear_mdp(30, 3, 4, 5, seed, support=6)
    assert mdp.is_mixture
    assert mdp.is_normalised
    table = mdp.to_tabular()
    assert ((table.r >= 0) & (table.r <= 1)).all()
    game = random_linear_game(30, 3, 2, 4, seed, gamma=0.8, support=6)
    assert game.is_mixture
    assert game.is_normalised
    assert game.to_tabular().r.shape == (30, 3, 2)


def test_the_size_of_a_linear_model_does_not_depend_on_the_number_of_states():
    small, large = (random_linear_mdp(n, 4, 5, 6, 0) for n in (100, 2**62))
    assert small.nbytes == large.nbytes
    assert large.mu.states.max() > 2**60
    assert random_linear_game(2**62, 2, 2, 3, 0).nbytes == random_linear_game(100, 2, 2, 3, 0).nbytes


def test_each_stage_of_a_linear_mdp_has_its_own_law_and_rewards():
    model = random_linear_mdp(1000, 2, 3, 4, 0)
    assert len(np.unique(model.theta)) == model.theta.size == 12
    assert len(np.unique(model.mu.weights)) == model.mu.weights.size == 60


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: garnet_mdp(5, 2, 6, 0), "branching is 6, but there are 5 states; pass 1 to 5"),
        (lambda: garnet_mdp(5, 2, 0, 0), "branching is 0"),
        (lambda: garnet_mdp(0, 2, 1, 0), "n_states is 0"),
        (lambda: garnet_mdp(5, 2.0, 1, 0), "n_actions is 2.0; pass an integer"),
        (lambda: garnet_mdp(5, 2, 1, None), "rng is None"),
        (lambda: garnet_mdp(5, 2, 1, -1), "rng is -1"),
        (lambda: garnet_mdp(5, 2, 1, 0, gamma=1.5), "gamma is 1.5"),
        (lambda: garnet_mdp(5, 2, 1, 0, rewards="cauchy"), "rewards is 'cauchy'; pass 'uniform' or 'normal'"),
        (lambda: garnet_game(5, 2, 0, 1, 0), "n_actions_1 is 0"),
        (lambda: random_linear_mdp(5, 2, 3, 0, 0), "horizon is 0"),
        (lambda: random_linear_mdp(5, 2, 3, 4, 0, support=6), "support is 6, but there are 5 states; pass 1 to 5"),
        (lambda: random_linear_mdp(2**62 + 1, 2, 3, 4, 0), "n_states is 4611686018427387905; it must be at most"),
        (lambda: random_linear_game(5, 2, 2, 0, 0), "dim is 0"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ModelError, match=message):
        build()


NARROW = [
    (garnet_mdp, {"n_states": 100, "n_actions": 10, "branching": 3, "rng": 0}),
    (garnet_game, {"n_states": 100, "n_actions_0": 10, "n_actions_1": 5, "branching": 3, "rng": 0}),
    (random_linear_mdp, {"n_states": 100, "n_actions": 10, "dim": 20, "horizon": 20, "rng": 0, "support": 20}),
    (
        random_linear_game,
        {"n_states": 100, "n_actions_0": 10, "n_actions_1": 20, "dim": 20, "rng": 0, "support": 20},
    ),
]


@pytest.mark.parametrize(("generator", "sizes"), NARROW)
def test_narrow_integers_are_the_same_sizes(generator, sizes):
    narrow = {name: np.uint8(size) for name, size in sizes.items()}
    assert same_model(generator(**narrow), generator(**sizes))


@pytest.mark.parametrize("sparse", [0, 1, "no", 0.5, [False]])
def test_storage_is_a_yes_or_no(sparse):
    with pytest.raises(ModelError, match=r"sparse is .*; pass True or False"):
        garnet_mdp(5, 2, 3, 0, sparse=sparse)


def test_a_linear_game_names_the_player_whose_actions_are_missing():
    with pytest.raises(ModelError, match="n_actions_1 is 0; it must be at least 1"):
        random_linear_game(5, 2, 0, 3, 0)


def test_models_too_large_for_memory_are_refused_before_they_are_built() -> None:
    for build in (
        lambda **size: garnet_mdp(10**9, 4, 5, 0, **size),
        lambda **size: garnet_game(10**9, 4, 4, 5, 0, **size),
    ):
        with pytest.raises(
            ModelError, match=r"with 1,000,000,000 states needs up to [\d,]+ bytes, more than max_bytes"
        ):
            build()
    with pytest.raises(ModelError, match="raise max_bytes"):
        garnet_game(1000, 5, 5, 10, 0, sparse=False, max_bytes=10**8)
    game = garnet_game(300, 3, 3, 4, 0, sparse=True)
    law = game.P.data.nbytes + game.P.indices.nbytes + game.P.indptr.nbytes + game.r.nbytes
    garnet_game(300, 3, 3, 4, 0, sparse=True, max_bytes=law)
    with pytest.raises(ModelError, match="max_bytes"):
        garnet_game(300, 3, 3, 4, 0, sparse=True, max_bytes=law - 100)
