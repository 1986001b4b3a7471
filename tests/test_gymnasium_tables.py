"""Gymnasium's transition tables become models and come back without loss."""

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.models import GymnasiumTable, ModelError, TabularMDP, from_gymnasium, table_of

TABLES = [
    ("FrozenLake-v1", {}),
    ("FrozenLake-v1", {"is_slippery": False}),
    ("FrozenLake8x8-v1", {}),
    ("CliffWalking-v1", {}),
    ("CliffWalkingSlippery-v1", {}),
    ("Taxi-v4", {}),
    ("Taxi-v4", {"is_rainy": True}),
]


def plain(P):
    return {s: {a: [(p, int(t), r, bool(d)) for p, t, r, d in row] for a, row in P[s].items()} for s in P}


def toy(P, rho=None):
    """A table from nested lists."""
    rho = np.eye(len(P))[0] if rho is None else rho
    return GymnasiumTable({s: dict(enumerate(actions)) for s, actions in enumerate(P)}, np.asarray(rho))


def optimal_value(model, gamma, sweeps=5000):
    v = np.zeros(model.n_states)
    for _ in range(sweeps):
        v = (model.r + gamma * (model.P_rows @ v).reshape(model.r.shape)).max(axis=1)
    return v


def assert_same(one, other):
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(one.P, name), getattr(other.P, name))
    for name in ("r", "rho", "terminal", "observations", "outcome_rewards"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.gamma == other.gamma


@pytest.mark.parametrize(("env_id", "kwargs"), TABLES)
def test_every_row_outcome_order_reward_and_flag_comes_back(env_id, kwargs):
    source = gym.make(env_id, **kwargs)
    table = table_of(from_gymnasium(source))
    assert plain(table.P) == plain(source.unwrapped.P)
    assert list(table.P) == list(source.unwrapped.P)
    assert np.array_equal(table.initial_state_distrib, source.unwrapped.initial_state_distrib)


@pytest.mark.parametrize(("env_id", "kwargs"), TABLES)
def test_a_model_comes_back_from_its_table(env_id, kwargs):
    model = from_gymnasium(gym.make(env_id, **kwargs), gamma=0.9)
    assert model.gamma == 0.9
    assert model.is_sparse
    assert_same(from_gymnasium(table_of(model), gamma=0.9), model)


def test_frozen_lake_needs_no_twins_and_its_holes_and_goal_are_terminal():
    model = from_gymnasium(gym.make("FrozenLake-v1"))
    assert model.n_states == model.n_observations == 16
    assert np.flatnonzero(model.terminal).tolist() == [5, 7, 11, 12, 15]


@pytest.mark.parametrize(
    ("env_id", "n_states", "twins"), [("Taxi-v4", 500, [0, 85, 410, 475]), ("CliffWalking-v1", 48, [47])]
)
def test_states_that_live_on_in_the_table_get_terminal_twins(env_id, n_states, twins):
    model = from_gymnasium(gym.make(env_id))
    assert model.n_states == n_states + len(twins)
    assert model.n_observations == n_states
    assert model.observations.tolist() == [*range(n_states), *twins]
    assert np.flatnonzero(model.terminal).tolist() == list(range(n_states, n_states + len(twins)))


def test_frozen_lake_keeps_its_known_value():
    # 14/17 is the success probability of the 4x4 lake; .54203 its value at discount .99.
    assert optimal_value(from_gymnasium(gym.make("FrozenLake-v1")), 1.0)[0] == pytest.approx(14 / 17, abs=1e-9)
    assert optimal_value(from_gymnasium(gym.make("FrozenLake-v1")), 0.99)[0] == pytest.approx(0.54203, abs=5e-6)


def test_the_cliff_costs_thirteen_steps_and_taxi_pays_at_most_twenty():
    # Sutton & Barto, Example 6.6: the optimal path along the cliff takes 13 steps of reward -1.
    assert optimal_value(from_gymnasium(gym.make("CliffWalking-v1")), 1.0, sweeps=100)[36] == -13
    assert optimal_value(from_gymnasium(gym.make("Taxi-v4")), 1.0, sweeps=100).max() == 20


@pytest.mark.parametrize(("env_id", "kwargs"), TABLES)
def test_the_model_walks_with_the_environment(env_id, kwargs):
    """Every observed transition of the real environment is an outcome of the model, seen through observations."""
    env = gym.make(env_id, **kwargs)
    model = from_gymnasium(env)
    outcomes = model.outcomes()
    env.action_space.seed(0)
    s, _ = env.reset(seed=0)
    for step in range(600):
        a = int(env.action_space.sample())
        s_next, reward, terminated, truncated, info = env.step(a)
        row = slice(*outcomes.indptr[[s * model.n_actions + a, s * model.n_actions + a + 1]])
        codes = outcomes.next_states[row]
        assert (info["prob"], s_next, reward, terminated) in list(
            zip(
                outcomes.probabilities[row], model.observations[codes], outcomes.rewards[row], model.terminal[codes],
                strict=True,
            )
        )  # fmt: skip
        s = env.reset(seed=step)[0] if terminated or truncated else s_next


def test_a_state_entered_both_ways_gets_a_twin():
    stay = [(1.0, 1, 0, True)]
    model = from_gymnasium(toy([[[(0.5, 1, 2.0, True), (0.5, 1, 3.0, False)]], [stay]]))
    assert model.observations.tolist() == [0, 1, 1]
    assert model.terminal.tolist() == [False, False, True]
    assert model.outcomes().next_states.tolist() == [2, 1, 2, 2]
    assert model.r[:, 0].tolist() == [2.5, 0.0, 0.0]


def test_a_state_that_pays_on_staying_is_not_terminal():
    model = from_gymnasium(toy([[[(1.0, 1, 0, True)]], [[(1.0, 1, 5.0, True)]]]))
    assert model.terminal.tolist() == [False, False, True]
    assert model.r[1, 0] == 5.0


def test_outcomes_of_probability_zero_are_kept():
    table = toy([[[(0.0, 1, 7.0, True), (1.0, 0, 1.0, False), (0.0, 0, -3.0, True)]], [[(1.0, 1, 0.0, True)]]])
    model = from_gymnasium(table)
    assert model.P.data.tolist() == [0.0, 1.0, 0.0, 1.0, 1.0]
    assert plain(table_of(model).P) == plain(table.P)


def test_a_terminal_state_stays_terminal_beside_outcomes_of_probability_zero():
    P = sp.csr_array((np.array([1.0, 0.0, 1.0]), np.array([1, 0, 1]), np.array([0, 1, 3])), shape=(2, 2))
    model = TabularMDP(P, np.array([2.0, 5.0, 0.0]), 0.9, np.array([1.0, 0.0]), np.array([False, True]))
    assert_same(from_gymnasium(table_of(model), gamma=0.9), model)


@st.composite
def tables(draw):
    n_states, n_actions = draw(st.integers(1, 5)), draw(st.integers(1, 3))

    def row():
        weights = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any))
        return [
            (
                w / sum(weights),
                draw(st.integers(0, n_states - 1)),
                draw(st.sampled_from([0.0, 1.0, -0.1])),
                draw(st.booleans()),
            )
            for w in weights
        ]

    return toy([[row() for _ in range(n_actions)] for _ in range(n_states)])


@given(tables())
@settings(max_examples=150, deadline=None)
def test_any_table_survives_the_round_trip(table):
    model = from_gymnasium(table, gamma=0.5)
    assert plain(table_of(model).P) == plain(table.P)
    assert_same(from_gymnasium(table_of(model), gamma=0.5), model)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_any_sparse_model_of_terminal_and_live_states_survives_the_round_trip(seed):
    rng = np.random.default_rng(seed)
    S, A = int(rng.integers(2, 7)), int(rng.integers(1, 4))
    P, r = rng.dirichlet(np.ones(S), (S, A)), rng.normal(size=(S, A, S))
    terminal = rng.random(S) < 0.4
    P[terminal], r[terminal] = np.eye(S)[terminal][:, None], 0.0
    rows = sp.csr_array(P.reshape(-1, S))
    model = TabularMDP(rows, r.reshape(-1, S)[P.reshape(-1, S) > 0], 0.9, rng.dirichlet(np.ones(S)), terminal)
    assert_same(from_gymnasium(table_of(model), 0.9), model)
    dense = table_of(TabularMDP(P, r, 0.9, model.rho, terminal))
    assert plain(dense.P) == plain(table_of(model).P)


def test_rewards_without_outcomes_are_the_expected_ones():
    model = TabularMDP(np.full((2, 1, 2), 0.5), np.array([[1.0], [2.0]]), 0.9, np.array([1.0, 0]))
    rows = [[(0.5, 0, r, False), (0.5, 1, r, False)] for r in (1.0, 2.0)]
    assert plain(table_of(model).P) == {s: {0: row} for s, row in enumerate(rows)}


GOOD = [[[(1.0, 0, 0.0, False)], [(0.5, 0, 0.0, False), (0.5, 1, 1.0, True)]], [[(1.0, 1, 0, True)]] * 2]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ((0.5, 2, 0.0, False), r"P\[0\]\[1\]\[1\] leads to 2; states run from 0 to 1"),
        ((0.5, -1, 0.0, False), r"P\[0\]\[1\]\[1\] leads to -1"),
        ((0.5, 1.0, 0.0, False), r"P\[0\]\[1\]\[1\] leads to 1.0"),
        ((0.5, 1, np.nan, False), r"P\[0\]\[1\]\[1\] has reward nan"),
        ((0.5, 1, -np.inf, False), r"P\[0\]\[1\]\[1\] has reward -inf"),
        ((0.5, 1, 10**400, False), r"P\[0\]\[1\]\[1\] has reward 1000"),
        ((0.5, 1, "1", False), r"P\[0\]\[1\]\[1\] has reward '1'"),
        ((-0.5, 1, 0.0, False), r"P\[0\]\[1\]\[1\] has probability -0.5"),
        ((np.nan, 1, 0.0, False), r"P\[0\]\[1\]\[1\] has probability nan"),
        ((0.48, 1, 0.0, False), r"P\[0\]\[1\] sums to 0.98, not 1"),
        ((0.5, 1, 0.0, 1), r"P\[0\]\[1\]\[1\] has terminated 1"),
        ((0.5, 1, 0.0), r"P\[0\]\[1\]\[1\] is \(0.5, 1, 0.0\); expected"),
        (0.5, r"P\[0\]\[1\]\[1\] is 0.5; expected"),
    ],
)
def test_bad_outcomes_are_refused_by_name(outcome, message):
    table = toy(GOOD)
    table.P[0][1] = [table.P[0][1][0], outcome]
    with pytest.raises(ModelError, match=message):
        from_gymnasium(table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (GymnasiumTable({0: {0: []}}, np.ones(1)), r"P\[0\]\[0\] sums to 0, not 1"),
        (GymnasiumTable({}, np.ones(0)), "0 states"),
        (GymnasiumTable({0: {}}, np.ones(1)), "0 actions"),
        (GymnasiumTable({1: {0: [(1.0, 0, 0, False)]}}, np.ones(1)), r"P\[0\] is missing; P needs the keys 0, ..., 0"),
        (GymnasiumTable([[[(1.0, 0, 0, False)]], []], np.ones(1)), r"P\[1\] has 0 actions but P\[0\] has 1"),
        (GymnasiumTable(np.ones((2, 1, 2)), np.ones(1)), "P is a ndarray; expected"),
        (toy(GOOD, [1.0]), r"initial_state_distrib has shape \(1,\); P has 2 states"),
        (toy(GOOD, [0.5, 0.4]), "initial_state_distrib sums to 0.9"),
        (toy(GOOD, [np.nan, 1.0]), r"initial_state_distrib\[0\] is nan"),
    ],
)
def test_bad_tables_are_refused(table, message):
    with pytest.raises(ModelError, match=message):
        from_gymnasium(table)


def test_environments_without_a_table_are_refused_with_what_can_be_imported():
    with pytest.raises(ModelError, match=r"BlackjackEnv has no attribute P, .*FrozenLake-v1.* can be imported"):
        from_gymnasium(gym.make("Blackjack-v1"))
    source = gym.make("FrozenLake-v1").unwrapped
    del source.initial_state_distrib
    with pytest.raises(ModelError, match="FrozenLakeEnv has no attribute initial_state_distrib"):
        from_gymnasium(source)


def test_a_taxi_that_does_not_follow_its_table_is_refused():
    with pytest.raises(ModelError, match="fickle_passenger=True: its passenger changes the destination"):
        from_gymnasium(gym.make("Taxi-v4", fickle_passenger=True))


def test_bad_discounts_are_refused():
    with pytest.raises(ModelError, match=r"gamma is 1\.5"):
        from_gymnasium(gym.make("FrozenLake-v1"), gamma=1.5)


@pytest.mark.parametrize(
    ("observations", "terminal", "rho", "message"),
    [
        ([0, 0, 1], [False, False, True], [1, 0, 0], "state 1 shows observation 0; states before the twins"),
        ([0, 1, 1], [False, False, False], [1, 0, 0], "state 2 shows observation 1 but is live or initial"),
        ([0, 1, 1], [False, False, True], [0.5, 0, 0.5], "state 2 shows observation 1 but is live or initial"),
    ],
)
def test_only_terminal_twins_can_be_folded(observations, terminal, rho, message):
    model = TabularMDP(np.eye(3)[:, None], np.zeros((3, 1)), 0.9, rho, terminal, observations=observations)
    with pytest.raises(ModelError, match=message):
        table_of(model)
