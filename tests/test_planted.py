import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lookahead_rl.models import ModelError, needle_mdp, planted_game, planted_mdp, realizable_mdp, same_model


def backward_recursion(model):
    """v*, (H + 1, S), and q*, (H, S, A), by dynamic programming."""
    v, q = np.zeros((model.horizon + 1, model.n_states)), []
    for h in reversed(range(model.horizon)):
        P, r = model.stage(h)
        q.append(r + (P @ v[h + 1]).reshape(r.shape))
        v[h] = q[-1].max(axis=1)
    return v, np.array(q[::-1])


def action_values(model, v):
    return model.r + model.gamma * (model.P_rows @ v).reshape(model.r.shape)


def matrix_game_value(Q):
    """max_x min_b (x^T Q)_b by linear programming."""
    A, B = Q.shape
    result = linprog(
        np.append(np.zeros(A), -1.0),
        A_ub=np.hstack((-Q.T, np.ones((B, 1)))),
        b_ub=np.zeros(B),
        A_eq=np.append(np.ones(A), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * A + [(None, None)],
    )
    return -result.fun


def unexplained(features, target):
    """Root mean square of what least squares on features (n, d) leaves of a target (n,)."""
    weights = np.linalg.lstsq(features, target, rcond=None)[0]
    return np.sqrt(np.mean((features @ weights - target) ** 2))


@given(
    st.integers(1, 30),
    st.integers(1, 5),
    st.floats(0.0, 0.999),
    st.integers(0, 2**32),
    st.booleans(),
    st.data(),
)
@settings(max_examples=50)
def test_a_planted_value_solves_the_bellman_equation(n_states, n_actions, gamma, seed, sparse, data):
    branching = data.draw(st.integers(1, n_states))
    n_optimal = data.draw(st.integers(1, n_actions))
    planted = planted_mdp(n_states, n_actions, branching, seed, gamma=gamma, n_optimal=n_optimal, sparse=sparse)
    q = action_values(planted.model, planted.value)
    rounding = 1e-15 * (1 + np.abs(planted.value).max())
    assert np.abs(q.max(axis=1) - planted.value).max() <= 8 * rounding
    assert np.abs(q - planted.value[:, None] - planted.advantage).max() <= 8 * rounding
    assert ((planted.advantage == 0).sum(axis=1) == n_optimal).all()
    assert (planted.advantage[planted.advantage < 0] <= -0.05).all()
    assert (planted.advantage[np.arange(n_states), planted.policy] == 0).all()
    assert ((planted.model.r >= 0) & (planted.model.r <= 1)).all()


def test_a_planted_value_is_what_linear_programming_finds():
    # v* is the least v with v >= r_a + gamma P_a v for all a (Puterman 1994, section 6.9.1).
    planted = planted_mdp(12, 3, 4, 0, gamma=0.9)
    model = planted.model
    bellman = model.gamma * model.P_rows - np.repeat(np.eye(12), 3, axis=0)
    result = linprog(np.ones(12), A_ub=bellman, b_ub=-model.r.ravel(), bounds=(None, None))
    np.testing.assert_allclose(result.x, planted.value, atol=1e-9)


def test_the_loss_of_a_policy_is_its_expected_sum_of_advantages():
    planted = planted_mdp(20, 4, 3, 1, gamma=0.8, dim=5)
    model, states = planted.model, np.arange(20)
    actions = np.random.default_rng(0).integers(0, 4, 20)
    resolvent = np.linalg.inv(np.eye(20) - model.gamma * model.P[states, actions])
    value = resolvent @ model.r[states, actions]
    np.testing.assert_allclose(value - planted.value, resolvent @ planted.advantage[states, actions], atol=1e-12)


def test_a_large_planted_mdp_is_exact():
    planted = planted_mdp(100_000, 4, 5, 0, gamma=0.99)
    assert planted.model.is_sparse
    assert np.abs(action_values(planted.model, planted.value).max(axis=1) - planted.value).max() < 1e-12


@pytest.mark.parametrize("dim", [2, 7])
def test_planted_features_are_unit_vectors_in_which_the_value_is_linear(dim):
    planted = planted_mdp(200, 4, 5, 0, gamma=0.97, dim=dim)
    features = planted.model.features
    assert features.shape == (200, dim)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(features @ planted.theta, planted.value, rtol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(planted.theta), 1 / 0.03)
    assert planted_mdp(200, 4, 5, 0).model.features is None


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.floats(0.0, 0.99), st.integers(0, 2**32), st.data())
@settings(max_examples=30)
def test_a_planted_equilibrium_is_a_saddle_point_of_every_shapley_matrix(n_states, A, B, gamma, seed, data):
    support = data.draw(st.none() | st.integers(1, min(A, B)))
    planted = planted_game(n_states, A, B, 1, seed, gamma=gamma, support=support)
    mu, nu = planted.policy
    Q = action_values(planted.model, planted.value)
    assert np.abs(np.einsum("sa,sab->sb", mu, Q).min(axis=1) - planted.value).max() < 1e-14
    assert np.abs(np.einsum("sab,sb->sa", Q, nu).max(axis=1) - planted.value).max() < 1e-14
    assert np.abs(Q - planted.value[:, None, None] - planted.advantage).max() < 1e-14
    assert (np.abs(planted.model.r) <= 1).all()
    assert ((mu > 0).sum(axis=1) == (nu > 0).sum(axis=1)).all()
    if support is not None:
        assert ((mu > 0).sum(axis=1) == support).all()


def test_linear_programming_agrees_with_a_planted_game():
    planted = planted_game(40, 4, 3, 5, 0, gamma=0.9)
    values = [matrix_game_value(Q) for Q in action_values(planted.model, planted.value)]
    np.testing.assert_allclose(values, planted.value, atol=1e-9)


def test_actions_outside_a_planted_support_are_strictly_worse():
    planted = planted_game(50, 5, 4, 5, 1, support=2)
    mu, nu = planted.policy
    against_nu = np.einsum("sab,sb->sa", planted.advantage, nu)
    against_mu = np.einsum("sa,sab->sb", mu, planted.advantage)
    np.testing.assert_allclose(against_nu, np.where(mu > 0, 0.0, -0.25), atol=1e-15)
    np.testing.assert_allclose(against_mu, np.where(nu > 0, 0.0, 0.25), atol=1e-15)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize(("S", "A", "H", "d"), [(1, 1, 1, 2), (7, 2, 3, 2), (40, 3, 6, 10), (5, 4, 9, 30)])
def test_the_value_of_a_realizable_mdp_is_linear_in_its_features(S, A, H, d, stochastic):
    planted = realizable_mdp(S, A, H, d, 0, stochastic=stochastic, branching=min(3, S))
    model = planted.model
    v, q = backward_recursion(model)
    assert np.abs(model.features @ planted.theta - v).max() < 1e-10
    assert np.abs(planted.value - v).max() < 1e-10
    assert np.abs(planted.advantage - (q - v[:-1, :, None])).max() < 1e-10
    assert (planted.policy == q.argmax(axis=2)).all()
    assert (np.linalg.norm(model.features, axis=2) <= 1 + 1e-14).all()
    assert (model.features[H] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(planted.theta), 1.5 * H)
    assert ((model.r >= 0) & (model.r <= 1)).all()
    assert model.rho[0] == 1
    assert (np.diff(model.P_rows.indptr) == (min(3, S) if stochastic else 1)).all()


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_action_values_of_a_realizable_mdp_are_not_linear_in_its_features(stochastic):
    planted = realizable_mdp(300, 3, 5, 8, 0, stochastic=stochastic)
    model = planted.model
    v, q = backward_recursion(model)
    pooled = model.features[:-1].reshape(-1, 8)
    assert unexplained(pooled, v[:-1].ravel()) < 1e-12
    for a in range(3):
        spread = planted.advantage[:, :, a].std()
        assert spread > 0.2
        assert unexplained(pooled, q[:, :, a].ravel()) > 0.9 * spread
        for h in range(5):  # nor with weights of its own at each stage
            assert unexplained(model.features[h], q[h, :, a]) > 0.9 * planted.advantage[h, :, a].std()


def test_action_values_are_linear_in_what_a_query_returns():
    planted = realizable_mdp(50, 3, 4, 6, 0, stochastic=True)
    model = planted.model
    _, q = backward_recursion(model)
    for h in range(4):
        P, r = model.stage(h)
        returned = np.column_stack((r.ravel(), P @ model.features[h + 1]))
        np.testing.assert_allclose(returned @ np.append(1.0, planted.theta), q[h].ravel(), atol=1e-12)


@pytest.mark.parametrize(("A", "H", "d", "S"), [(2, 1, 2, 2), (4, 12, 8, 16), (4, 100, 60, 256)])
def test_the_needle_has_value_one_and_features_that_say_so(A, H, d, S):
    planted = needle_mdp(A, H, d, 0, n_states=S)
    model = planted.model
    v, q = backward_recursion(model)
    np.testing.assert_array_equal(planted.value, v)
    np.testing.assert_array_equal(planted.advantage, q - v[:-1, :, None])
    assert model.rho @ v[0] == 1.0
    assert (v[:-1].sum(axis=1) == 1.0).all()
    assert np.abs(model.features @ planted.theta - v).max() < 1e-13
    np.testing.assert_allclose(np.linalg.norm(model.features[:-1], axis=2), 1.0, rtol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(planted.theta), np.sqrt(d))
    assert model.r.sum() == 1.0


def test_one_sequence_of_actions_in_all_finds_the_needle():
    planted = needle_mdp(3, 8, 4, 0, n_states=10)
    value = np.zeros(10)
    for h in reversed(range(8)):
        P, r = planted.model.stage(h)
        value = (r + (P @ value).reshape(r.shape)).mean(axis=1)
    np.testing.assert_allclose(planted.model.rho @ value, 3.0**-8, rtol=1e-12)


def test_neither_indices_nor_similar_features_betray_the_track():
    hits, indices = [], []
    for seed in range(20):
        planted = needle_mdp(4, 100, 60, seed, n_states=64)
        features, track = planted.model.features, planted.value[:-1].argmax(axis=1)
        hidden = planted.policy[np.arange(100), track]
        indices.append(track)
        for h in range(99):
            P, _ = planted.model.stage(h)
            successors = P.indices[4 * track[h] : 4 * track[h] + 4]
            hits.append((features[h + 1, successors] @ features[0, track[0]]).argmax() == hidden[h])
    # By chance 1/4. An inner product of 1/d beside a noise of 1/sqrt(d) adds a few hundredths.
    assert np.mean(hits) < 0.31
    assert len(np.unique(np.concatenate(indices))) == 64


def test_random_play_at_ten_times_the_budget_of_a_planner_sees_no_reward():
    planted = needle_mdp(4, 100, 60, 3)
    policy_rng = np.random.default_rng(0)
    state = np.repeat(planted.value[0].argmax(), 1000)
    for h in range(100):
        P, r = planted.model.stage(h)
        row = state * 4 + policy_rng.integers(0, 4, 1000)
        assert not r.ravel()[row].any()
        state = P.indices[row]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: planted_mdp(5, 2, 2, 0, gamma=1.0), "gamma is 1; an infinite sum of planted rewards needs gamma < 1"),
        (lambda: planted_mdp(5, 2, 2, 0, n_optimal=3), "n_optimal is 3, but there are 2 actions; pass 1 to 2"),
        (lambda: planted_mdp(5, 2, 2, 0, min_gap=0.0), "min_gap is 0.0; pass a number in"),
        (lambda: planted_mdp(5, 2, 2, 0, min_gap=0.6), "min_gap is 0.6; pass a number in"),
        (lambda: planted_mdp(5, 2, 2, 0, dim=1), "dim is 1; it must be at least 2"),
        (lambda: planted_game(5, 2, 3, 2, 0, support=3), "support is 3, but a player has 2 actions; pass 1 to 2"),
        (lambda: planted_game(5, 2, 3, 6, 0), "branching is 6, but there are 5 states"),
        (lambda: realizable_mdp(5, 2, 0, 4, 0), "horizon is 0"),
        (lambda: realizable_mdp(2, 2, 3, 4, 0, stochastic=True), "branching is 3, but there are 2 states"),
        (lambda: needle_mdp(1, 5, 4, 0), "n_actions is 1; it must be at least 2"),
        (lambda: needle_mdp(2, 5, 4, 0, n_states=1), "n_states is 1; it must be at least 2"),
        (lambda: needle_mdp(2, 5, 1, 0), "dim is 1; it must be at least 2"),
        (lambda: needle_mdp(2, 5, 4, None), "rng is None"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ModelError, match=message):
        build()


def test_narrow_integers_are_the_same_sizes():
    game = {"n_states": 100, "n_actions_0": 10, "n_actions_1": 10, "branching": 3, "rng": 0, "support": 4}
    process = {"n_states": 100, "n_actions": 10, "horizon": 20, "dim": 20, "rng": 0}
    for generator, sizes in ((planted_game, game), (realizable_mdp, process)):
        narrow = {name: np.uint8(size) for name, size in sizes.items()}
        assert same_model(generator(**narrow).model, generator(**sizes).model)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: realizable_mdp(8, 2, 3, 4, 0, stochastic=0.5), "stochastic is 0.5; pass True or False"),
        (lambda: realizable_mdp(8, 2, 3, 4, 0, branching=0), "branching is 0; it must be at least 1"),
        (lambda: planted_mdp(8, 2, 3, 0, min_gap="wide"), "min_gap is 'wide'; pass a finite number"),
        (lambda: planted_mdp(8, 2, 3, 0, min_gap=np.nan), "min_gap is nan; pass a finite number"),
    ],
)
def test_arguments_of_another_kind_are_named(build, message):
    with pytest.raises(ModelError, match=message):
        build()
