"""Linear MDPs and games: their laws, their features, what they refuse."""

import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lookahead_rl.models import (
    FeatureMap,
    FiniteSupportMeasures,
    HashedSimplexFeatures,
    LinearMarkovGame,
    LinearMDP,
    ModelError,
    TableFeatures,
)
from lookahead_rl.models.features import splitmix64, unit_interval

S, A, B, D, H, K = 7, 3, 2, 4, 5, 3


def simplex(rng, *shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def measures(rng, lead, n_states=S, k=K):
    return FiniteSupportMeasures(rng.integers(0, n_states, (*lead, k)), simplex(rng, *lead, k))


def table_mdp(rng, mu=None, theta=None):
    mu = simplex(rng, H, D, S) if mu is None else mu
    theta = rng.random((H, D)) if theta is None else theta
    return LinearMDP(simplex(rng, S, A, D), mu, theta, simplex(rng, S), H)


def hashed_mdp(n_states, seed=0):
    """Same supports and parameters whatever the number of states; only the features and rho differ."""
    rng = np.random.default_rng(seed)
    mu = FiniteSupportMeasures(rng.integers(0, 1000, (H, D, K)), simplex(rng, H, D, K))
    rho = FiniteSupportMeasures(np.array([0, n_states - 1]), np.array([0.25, 0.75]))
    return LinearMDP(HashedSimplexFeatures(n_states, A, D, seed), mu, rng.random((H, D)), rho, H)


def optimal_value(model):
    """The recursion w_h = theta_h + sum mu_h v_{h+1} over support states, averaged over rho."""
    w = np.zeros(model.dim)
    for h in reversed(range(model.horizon)):
        law = model.stage(h)
        w = law.theta + law.mu @ (model.phi(law.support) @ w).max(axis=-1) if h < H - 1 else law.theta
    rho = model.initial_distribution()
    return rho.weights @ (model.phi(rho.states) @ w).max(axis=-1)


def tabular_optimal_value(tabular):
    v = np.zeros(tabular.n_states)
    for h in reversed(range(tabular.horizon)):
        P, r = tabular.stage(h)
        v = (r + (P @ v).reshape(r.shape)).max(axis=-1)
    return tabular.rho @ v


# --- features ---------------------------------------------------------------------------------------------


def test_splitmix64_gives_the_published_outputs():
    # The widely reproduced outputs of Vigna's splitmix64.c for the seed 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(np.array(1234567, dtype=np.uint64), np.arange(5)).tolist() == expected


def test_hashed_features_keep_their_values():
    phi = HashedSimplexFeatures(2**62, 2, 3, seed=20)
    states = np.array([0, 1, 123_456_789_012, 2**62 - 1])
    for row, s in zip(phi(states), states.tolist(), strict=True):
        assert row.tolist() == [python_features(20, s, a, 3) for a in range(2)]
    multiples = (phi(states) * 2.0**53).astype(np.int64)
    assert (multiples * 2.0**-53 == phi(states)).all()  # exact: no rounding that a platform could change


def python_features(seed, s, a, dim):
    """The same features in Python's own integers."""

    def output(key, index):
        z = (key + (index + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    key = output(output(seed, s), a)
    cuts = [0.0, *sorted((output(key, i) >> 11) / 2**53 for i in range(dim - 1)), 1.0]
    return [right - left for left, right in pairwise(cuts)]


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**62), st.integers(1, 6), st.integers(1, 9), st.data())
@settings(max_examples=60, deadline=None)
def test_hashed_features_lie_exactly_on_the_simplex_without_overflow_warnings(seed, n_states, n_actions, dim, data):
    phi = HashedSimplexFeatures(n_states, n_actions, dim, seed)
    states = np.array(data.draw(st.lists(st.integers(0, n_states - 1), min_size=1, max_size=5)), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = phi(states)
    assert features.shape == (states.size, n_actions, dim)
    assert (features >= 0).all()
    assert (features.sum(axis=-1) == 1.0).all()


def test_a_feature_depends_on_its_own_state_and_action_alone():
    phi = HashedSimplexFeatures(10**9, (A, B), D, seed=4)
    states = np.array([5, 999_999_999, 5, 17])
    together = phi(states)
    assert together.shape == (4, A, B, D)
    for i, s in enumerate(states):
        assert (together[i] == phi(np.array([s]))[0]).all()
    coded = phi.at(np.repeat(states, A * B), np.tile(np.arange(A * B), 4))
    assert (coded.reshape(together.shape) == together).all()
    assert (HashedSimplexFeatures(10**9, A * B, D, seed=4)(states).reshape(together.shape) == together).all()


def test_hashed_uniforms_are_uniform_and_independent_across_counters():
    keys = splitmix64(splitmix64(np.array(7, dtype=np.uint64), np.arange(300)[:, None]), np.arange(20)[None, :])
    u = unit_interval(splitmix64(keys[..., None], np.arange(10)))
    assert stats.kstest(u.reshape(-1), "uniform").pvalue > 1e-3
    assert np.unique(u).size == u.size
    for left, right in [(u[1:], u[:-1]), (u[:, 1:], u[:, :-1]), (u[..., 1:], u[..., :-1])]:
        counts, _, _ = np.histogram2d(left.reshape(-1), right.reshape(-1), bins=8, range=[[0, 1], [0, 1]])
        assert stats.chisquare(counts.reshape(-1)).pvalue > 1e-3


def test_hashed_features_have_the_dirichlet_marginals():
    phi = HashedSimplexFeatures(10**9, 1, 5, seed=11)
    features = phi(np.arange(0, 10**9, 10**5 // 2))[:, 0]
    for i in range(5):
        assert stats.kstest(features[:, i], stats.beta(1, 4).cdf).pvalue > 1e-3
    correlation = np.corrcoef(features.T)
    assert np.allclose(correlation[np.triu_indices(5, 1)], -0.25, atol=0.03)  # Dirichlet(1^5): -1/(d - 1)


@pytest.mark.parametrize("bit", [0, 1, 31, 61])
def test_changing_one_bit_of_the_state_or_seed_changes_half_the_bits_of_the_hash(bit):
    states = np.arange(2000)
    seed = np.array(3, dtype=np.uint64)
    flipped_state = splitmix64(seed, states) ^ splitmix64(seed, states ^ (1 << bit))
    flipped_seed = splitmix64(seed, states) ^ splitmix64(seed ^ np.uint64(1 << bit), states)
    for difference in (flipped_state, flipped_seed):
        bits = np.unpackbits(difference.view(np.uint8))
        assert abs(bits.mean() - 0.5) < 0.01


def test_equal_seeds_give_equal_features_and_others_do_not():
    states = np.arange(50)
    first, again, other = (HashedSimplexFeatures(100, A, D, seed)(states) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).any()


def test_table_features_return_their_rows():
    table = np.random.default_rng(0).normal(size=(S, A, B, D))
    phi = TableFeatures(table)
    assert isinstance(phi, FeatureMap)
    assert (phi(np.array([6, 0, 6])) == table[[6, 0, 6]]).all()
    assert (phi.at(np.array([6, 1]), np.array([5, 2])) == table[[6, 1], [2, 1], [1, 0]]).all()
    assert not phi.table.flags.writeable
    assert not phi.on_simplex


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda phi: phi(np.array([0, 100])), r"states\[1\] is 100; it must lie in \[0, 100\)"),
        (lambda phi: phi(np.array([3, -1])), r"states\[1\] is -1"),
        (lambda phi: phi(np.array([0.0])), "states has dtype float64"),
        (lambda phi: phi(5), "states has dtype int64 and shape \\(\\)"),
        (lambda phi: phi.at(np.array([0]), np.array([3])), r"actions\[0\] is 3; it must lie in \[0, 3\)"),
        (lambda phi: phi.at(np.array([0]), np.array([0, 1])), "one action for each state"),
    ],
)
@pytest.mark.parametrize("phi", [HashedSimplexFeatures(100, A, D, 0), TableFeatures(np.ones((100, A, D)))])
def test_features_refuse_states_and_actions_out_of_range(phi, call, message):
    with pytest.raises(ModelError, match=message):
        call(phi)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, A, D, 0), "n_states is 0"),
        ((2**62 + 1, A, D, 0), "n_states is .* at most"),
        ((1.5, A, D, 0), "n_states is 1.5"),
        ((5, 0, D, 0), "n_actions is 0"),
        ((5, (2, 2, 2), D, 0), "n_actions is .*; pass A, or"),
        ((5, (2, 0), D, 0), "n_actions is 0"),
        ((5, A, 0, 0), "dim is 0"),
        ((5, A, D, -1), "seed is -1"),
        ((5, A, D, 2**64), "seed is .* at most"),
        ((5, A, D, True), "seed is True"),
    ],
)
def test_hashed_features_refuse_bad_sizes(arguments, message):
    with pytest.raises(ModelError, match=message):
        HashedSimplexFeatures(*arguments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.ones((S, D)), r"expected \(S, A, d\)"),
        (np.ones((S, 0, D)), "0 actions"),
        (np.ones((0, A, D)), "0 states"),
        (np.ones((S, A, B, 0)), "0 features"),
        (np.full((S, A, D), np.nan), r"phi\[0, 0, 0\] is nan"),
        (np.full((S, A, D), "x"), "dtype"),
    ],
)
def test_table_features_refuse_bad_tables(table, message):
    with pytest.raises(ModelError, match=message):
        TableFeatures(table)


# --- measures ---------------------------------------------------------------------------------------------


def test_measures_add_up_states_named_twice():
    mu = FiniteSupportMeasures(np.array([[4, 4, 1], [0, 2, 4]]), np.array([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]))
    assert mu.dense(5).tolist() == [[0, 0.5, 0, 0, 0.5], [1, 0, 0, 0, 0]]
    assert mu.support().tolist() == [0, 1, 2, 4]
    assert mu.shape == (2,)
    assert not mu.weights.flags.writeable
    assert not mu.states.flags.writeable


@pytest.mark.parametrize(
    ("states", "weights", "message"),
    [
        ([[0, 1]], [[0.5, 0.4]], r"weights\[0\] sums to 0.9, not 1"),
        ([[0, 1]], [[1.5, -0.5]], r"weights\[0, 1\] is -0.5"),
        ([[0, -1]], [[0.5, 0.5]], r"states\[0, 1\] is -1"),
        ([[0.0, 1.0]], [[0.5, 0.5]], "states has dtype float64"),
        ([[0, 1, 2]], [[0.5, 0.5]], "states has shape"),
        ([[0, 1]], [[0.5, np.inf]], r"weights\[0, 1\] is inf"),
        (np.zeros((2, 0), dtype=int), np.zeros((2, 0)), "0 states of the support"),
        (np.array(3), np.array(1.0), "0 states of the support"),
        (np.array([2**63], dtype=np.uint64), [1.0], r"states\[0\] is 9223372036854775808"),
    ],
)
def test_measures_refuse_what_is_no_distribution(states, weights, message):
    with pytest.raises(ModelError, match=message):
        FiniteSupportMeasures(np.array(states), np.array(weights))


# --- linear MDPs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("staged_mu", [True, False])
@pytest.mark.parametrize("staged_theta", [True, False])
@pytest.mark.parametrize("finite", [True, False])
def test_to_tabular_writes_out_the_same_law_and_rewards(staged_mu, staged_theta, finite):
    rng = np.random.default_rng(1)
    lead = (H, D) if staged_mu else (D,)
    mu = measures(rng, lead) if finite else simplex(rng, *lead, S)
    model = table_mdp(rng, mu, rng.normal(size=(H, D) if staged_theta else D))
    tabular = model.to_tabular()
    assert tabular.is_sparse == finite
    assert tabular.has_staged_law == model.has_staged_law == staged_mu
    dense = mu.dense(S) if finite else mu
    for h in range(H):
        P, r = tabular.stage(h)
        expected = model.phi.table @ (dense[h] if staged_mu else dense)
        assert np.allclose((P.toarray() if finite else P).reshape(S, A, S), expected, atol=1e-14)
        assert np.allclose(r, model.phi.table @ (model.theta[h] if staged_theta else model.theta), atol=1e-14)
        law = model.stage(h)
        assert np.allclose(law.probabilities(model.phi.at([2, 6], [0, 1])), expected[[2, 6], [0, 1]][:, law.support])
    assert (tabular.rho == model.rho).all()


@pytest.mark.parametrize("finite", [True, False])
def test_the_d_dimensional_recursion_gives_the_tabular_optimum(finite):
    rng = np.random.default_rng(2)
    model = table_mdp(rng, measures(rng, (H, D)) if finite else None)
    assert optimal_value(model) == pytest.approx(tabular_optimal_value(model.to_tabular()), abs=1e-12)


def test_the_recursion_on_hashed_features_gives_the_tabular_optimum():
    model = hashed_mdp(1500)
    assert optimal_value(model) == pytest.approx(tabular_optimal_value(model.to_tabular()), abs=1e-12)


def test_a_model_of_a_billion_states_costs_what_one_of_ten_thousand_costs():
    small, large, largest = (hashed_mdp(n) for n in (10**4, 10**9, 2**62))
    assert small.nbytes == large.nbytes == largest.nbytes < 10_000
    assert large.support().size <= H * D * K
    assert 0 < optimal_value(largest) < H
    assert largest.is_mixture
    assert largest.n_states == 2**62


def test_to_tabular_refuses_before_allocating_and_says_how_much_it_would_need():
    with pytest.raises(ModelError, match=r"needs up to [\d,]+ bytes, more than max_bytes = 2,147,483,648; raise"):
        hashed_mdp(2**62).to_tabular()
    model = table_mdp(np.random.default_rng(0))
    with pytest.raises(ModelError, match="needs up to"):
        model.to_tabular(max_bytes=8 * H * S * A * S)
    needed = 8 * (H * S * A * S + S * A * (H + D))
    assert model.to_tabular(max_bytes=needed).n_states == S


def test_rotated_features_and_signed_measures_make_the_same_model():
    rng = np.random.default_rng(3)
    model = table_mdp(rng)
    rotation = stats.ortho_group(D).rvs(random_state=rng)
    rotated = LinearMDP(
        model.phi.table @ rotation, rotation.T @ model.mu, model.theta @ rotation, model.rho, model.horizon
    )
    assert not rotated.is_mixture
    assert model.is_mixture
    assert rotated.is_normalised
    assert np.allclose(rotated.to_tabular().P, model.to_tabular().P, atol=1e-12)
    assert np.allclose(rotated.to_tabular().r, model.to_tabular().r, atol=1e-12)


def test_probabilities_that_round_below_zero_are_zero():
    rng = np.random.default_rng(3)
    rotation = stats.ortho_group(D).rvs(random_state=rng)
    corners = np.eye(D)[rng.integers(0, D, (S, A))]
    mu = np.eye(S)[rng.integers(0, S, D)]
    model = LinearMDP(corners @ rotation, rotation.T @ mu, np.zeros(D), np.eye(S)[0], H)
    assert (model.stage(0).mu.T @ model.phi.rows.T < 0).any()
    assert (model.to_tabular().P >= 0).all()


def test_the_hard_linear_mdp_with_signed_measures_is_accepted():
    # Zhou, Gu, Szepesvari, COLT 2021: P(x_good | x, a) = delta + <m, a>, else x_next, with a in {-1, 1}^(d - 1).
    delta, signs = 0.2, np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    m = np.array([0.05, -0.05])
    phi = np.zeros((3, 4, 4))
    phi[0] = np.column_stack([np.ones(4), signs, np.zeros(4)])
    phi[1:, :, 3] = 1.0
    # State 1 goes on to the absorbing state 2, which pays 1.
    mu = np.array([[0.0, 1 - delta, delta], [0, -m[0], m[0]], [0, -m[1], m[1]], [0, 0, 1]])
    model = LinearMDP(phi, mu, np.array([0, 0, 0, 1.0]), np.eye(3)[0], 3)
    assert np.allclose(model.to_tabular().P[0, :, 2], delta + signs @ m)
    assert not model.is_normalised


def test_is_normalised_reads_the_norms_of_assumption_a():
    rng = np.random.default_rng(4)
    assert table_mdp(rng).is_normalised
    assert not table_mdp(rng, theta=np.full(D, 1.01)).is_normalised
    assert hashed_mdp(10**9).is_normalised
    longer = LinearMDP(2 * simplex(rng, S, A, D), simplex(rng, D, S) / 2, np.zeros(D), simplex(rng, S), H)
    assert not longer.is_normalised


def test_linear_models_are_read_only_copies():
    rng = np.random.default_rng(5)
    phi, mu, theta, rho = simplex(rng, S, A, D), simplex(rng, D, S), rng.random(D), simplex(rng, S)
    model = LinearMDP(phi, mu, theta, rho, H)
    law = model.to_tabular().P.copy()
    for array in (phi, mu, theta, rho):
        array[...] = 0.5
    assert np.array_equal(model.to_tabular().P, law)
    for array in (model.phi.table, model.mu, model.theta, model.rho, model.stage(0).mu, model.stage(0).support):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError):
        model.horizon = 3


@given(st.integers(0, 10**6), st.sampled_from([-0.4, -1e-6, 1e-6, 0.3, np.nan, np.inf]))
@settings(max_examples=60, deadline=None)
def test_one_corrupted_number_in_phi_or_mu_is_refused_and_named(seed, by):
    rng = np.random.default_rng(seed)
    phi, mu = simplex(rng, S, A, D), simplex(rng, H, D, S)
    target = phi if rng.random() < 0.5 else mu
    index = tuple(int(rng.integers(n)) for n in target.shape)
    target[index] += by
    with pytest.raises(ModelError) as refusal:
        LinearMDP(phi, mu, np.zeros(D), simplex(rng, S), H)
    message = str(refusal.value)
    if not np.isfinite(by):
        assert f"[{', '.join(map(str, index))}] is {by}" in message
    elif target is phi:
        assert f"P[0, {index[0]}, {index[1]}" in message
        assert "linear kernel" in message
    else:
        assert f"P[{index[0]}, " in message


def test_refusals_name_stage_state_action_and_next_state():
    rng = np.random.default_rng(6)
    phi, mu = simplex(rng, S, A, D), simplex(rng, H, D, S)
    phi[4, 2] = [1.0, 0, 0, 0]
    mu[3, 0] = [0.5, -0.25, 0.75, 0, 0, 0, 0]
    with pytest.raises(ModelError, match=r"P\[3, \d, \d, 1\] is -0\.\d+, a negative probability: phi and mu"):
        LinearMDP(phi, mu, np.zeros(D), simplex(rng, S), H)
    stationary = simplex(rng, D, S)
    phi[4, 2] = [0.5, 0, 0, 0.48]
    with pytest.raises(ModelError, match=r"P\[4, 2\] sums to 0.98, not 1"):
        LinearMDP(phi, stationary, np.zeros(D), simplex(rng, S), H)


def test_negative_probabilities_are_found_in_every_block(monkeypatch):
    monkeypatch.setattr("lookahead_rl.models.linear.BLOCK_ENTRIES", 1)
    rng = np.random.default_rng(7)
    phi, mu = simplex(rng, S, A, D), simplex(rng, D, S)
    phi[6, 2] = [1.25, -0.25, 0, 0]
    mu[:2] = np.eye(S)[[3, 5]]
    with pytest.raises(ModelError, match=r"P\[6, 2, 5\] is -0.25"):
        LinearMDP(phi, mu, np.zeros(D), simplex(rng, S), H)
    good = LinearMDP(simplex(rng, S, A, D), mu, np.zeros(D), simplex(rng, S), H)
    assert np.allclose(good.to_tabular().P, good.phi.table @ mu)


def test_a_negative_probability_is_named_by_its_state_not_its_place_in_the_support():
    phi = np.full((S, A, 2), 0.5)
    phi[2, 1] = [1.25, -0.25]
    mu = FiniteSupportMeasures([[3, 6], [5, 6]], [[0.5, 0.5], [1.0, 0.0]])
    with pytest.raises(ModelError, match=r"P\[2, 1, 5\] is -0\.25, a negative probability"):
        LinearMDP(phi, mu, np.zeros(2), np.full(S, 1 / S), H)


class Unvouched:
    """A feature map of one's own that does not vouch for the simplex."""

    n_states, action_shape, dim, nbytes, on_simplex = S, (A,), D, 0, False

    def __call__(self, states):
        return np.full((len(states), A, D), 1 / D)

    def at(self, states, actions):
        return np.full((len(states), D), 1 / D)


def bad_models():
    rng = np.random.default_rng(8)
    phi, mu, theta, rho = simplex(rng, S, A, D), simplex(rng, D, S), rng.random(D), simplex(rng, S)
    hashed, pair = HashedSimplexFeatures(S, A, D, 0), HashedSimplexFeatures(S, (A, B), D, 0)
    outside = FiniteSupportMeasures(np.full((D, 1), S), np.ones((D, 1)))
    unnormalised = mu * 0.5
    return [
        ((phi, mu, theta, rho, 0), "horizon is 0"),
        ((phi, mu, theta, rho, 2.0), "horizon is 2.0"),
        ((pair, mu, theta, rho, H), r"phi has actions of shape \(3, 2\); expected \(A\)"),
        ((phi[..., :3], mu, theta, rho, H), "theta has shape"),
        ((phi, mu[:3], theta, rho, H), "mu has shape"),
        ((phi, simplex(rng, H + 1, D, S), theta, rho, H), r"mu has shape .*or \(H, d, S\) = \(5, 4, 7\)"),
        ((phi, measures(rng, (D + 1,)), theta, rho, H), "mu has shape"),
        ((phi, outside, theta, rho, H), r"mu.states\[0, 0\] is 7; states run from 0 to 6"),
        ((phi, mu, np.array([0, 1, np.nan, 0]), rho, H), r"theta\[2\] is nan"),
        ((phi, mu, theta, rho * 0.5, H), "rho sums to 0.5"),
        ((phi, mu, theta, measures(rng, (D,)), H), "rho is a family of shape"),
        ((phi, mu, theta, FiniteSupportMeasures(np.array([9]), np.ones(1)), H), r"rho.states\[0\] is 9"),
        ((hashed, unnormalised, theta, rho, H), r"mu\[0\] sums to 0.5"),
        ((Unvouched(), mu, theta, rho, H), "neither a table nor on the simplex"),
        ((None, mu, theta, rho, H), "phi has dtype object"),
    ]


@pytest.mark.parametrize(("arguments", "message"), bad_models())
def test_linear_mdps_refuse_and_name_what_is_wrong(arguments, message):
    with pytest.raises(ModelError, match=message):
        LinearMDP(*arguments)


def test_stages_out_of_range_are_refused():
    model = table_mdp(np.random.default_rng(0))
    for h in (-1, H):
        with pytest.raises(ModelError, match="stages run from 0 to 4"):
            model.stage(h)


def test_mixture_sampling_has_the_law_of_the_model():
    """Component i with probability phi_i, then a state of mu_i: what simulators of huge models do."""
    rng = np.random.default_rng(9)
    model = hashed_mdp(50 * 1000)
    phi = model.phi.at(np.array([31]), np.array([1]))
    law = model.stage(2)
    component = rng.choice(D, size=20_000, p=phi[0])
    drawn = model.mu.weights[2][component].cumsum(axis=1)
    column = (rng.random((20_000, 1)) > drawn).sum(axis=1)
    counts = Counter(model.mu.states[2][component, column].tolist())
    expected = law.probabilities(phi)[0]
    observed = np.array([counts[s] for s in law.support.tolist()])
    assert stats.chisquare(observed, 20_000 * expected).pvalue > 1e-3


# --- linear games -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("finite", [True, False])
def test_linear_games_write_out_the_same_law_and_payoffs(finite):
    rng = np.random.default_rng(10)
    mu = measures(rng, (D,)) if finite else simplex(rng, D, S)
    game = LinearMarkovGame(simplex(rng, S, A, B, D), mu, rng.normal(size=D), 0.9, simplex(rng, S))
    assert game.n_actions == (A, B)
    tabular = game.to_tabular()
    P = tabular.P_rows.toarray() if finite else tabular.P_rows
    assert np.allclose(P.reshape(S, A, B, S), game.phi.table @ (mu.dense(S) if finite else mu), atol=1e-14)
    assert np.allclose(tabular.r, game.phi.table @ game.theta)
    assert (tabular.gamma, tabular.r.shape) == (0.9, (S, A, B))


def test_a_linear_game_of_a_billion_states_is_small():
    rng = np.random.default_rng(11)
    rho = FiniteSupportMeasures(np.array([0]), np.ones(1))
    phi = HashedSimplexFeatures(10**9, (A, B), D, 1)
    game = LinearMarkovGame(phi, measures(rng, (D,), 10**9), rng.random(D), 0.9, rho)
    assert game.nbytes < 1000
    assert game.is_normalised
    assert game.is_mixture
    assert game.initial_distribution() is rho
    assert (game.law.support == game.support()).all()
    with pytest.raises(ModelError, match="needs up to"):
        game.to_tabular()


def test_linear_games_refuse_single_actions_stages_and_bad_discounts():
    rng = np.random.default_rng(12)
    phi, mu, theta, rho = simplex(rng, S, A, B, D), simplex(rng, D, S), rng.random(D), simplex(rng, S)
    for arguments, message in [
        ((simplex(rng, S, A, D), mu, theta, 0.9, rho), r"expected \(A, B\)"),
        ((phi, simplex(rng, H, D, S), theta, 0.9, rho), r"mu has shape \(5, 4, 7\); expected \(d, S\) = \(4, 7\)$"),
        ((phi, mu, theta, 1.5, rho), "gamma is 1.5"),
        ((phi, mu * 0.98, theta, 0.9, rho), r"P\[0, 0, 0\] sums to 0.98"),
    ]:
        with pytest.raises(ModelError, match=message):
            LinearMarkovGame(*arguments)
