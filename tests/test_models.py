"""Tabular MDPs, finite-horizon MDPs and Markov games: what they hold, convert to, and refuse."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.models import FiniteHorizonMDP, MarkovGame, ModelError, TabularMDP, same_model

S, A, B, H = 4, 3, 2, 5


def simplex(rng, *shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def rows(P):
    return sp.csr_array(P.reshape(-1, P.shape[-1]))


def data(seed=0, **changes):
    """Sound arguments of a TabularMDP, by name, with some changed."""
    rng = np.random.default_rng(seed)
    sound = {"P": simplex(rng, S, A, S), "r": rng.normal(size=(S, A)), "gamma": 0.9, "rho": simplex(rng, S)}
    return sound | changes


def staged_data(seed=0, **changes):
    rng = np.random.default_rng(seed)
    P, r = simplex(rng, H, S, A, S), rng.normal(size=(H, S, A))
    return {"P": P, "r": r, "horizon": H, "rho": simplex(rng, S)} | changes


def game_data(seed=0, **changes):
    rng = np.random.default_rng(seed)
    P, r = simplex(rng, S, A, B, S), rng.normal(size=(S, A, B))
    return {"P": P, "r": r, "gamma": 0.9, "rho": simplex(rng, S)} | changes


def ragged_data():
    counts = np.array([1, A, 2, A])
    sound = game_data(n_actions_0=counts)
    outside = np.arange(A) >= counts[:, None]
    sound["P"][outside], sound["r"][outside] = 0.0, 0.0
    return sound


def with_terminal(sound):
    """The last state made terminal."""
    sound["P"][..., S - 1, :, :] = np.eye(S)[S - 1]
    sound["r"][..., S - 1, :] = 0.0
    return sound | {"terminal": np.arange(S) == S - 1}


def changed(array, index, value):
    copy = np.array(array, dtype=float)
    copy[index] = value
    return copy


ALL = {
    "tabular": (TabularMDP, data),
    "finite horizon": (FiniteHorizonMDP, staged_data),
    "game": (MarkovGame, game_data),
}
each_class = pytest.mark.parametrize(("cls", "sound"), ALL.values(), ids=ALL)


def arrays_of(model):
    held = [getattr(model, name) for name in type(model).__dataclass_fields__]
    parts = [x for matrix in held if sp.issparse(matrix) for x in (matrix.data, matrix.indices, matrix.indptr)]
    return [x for x in (*held, *parts) if isinstance(x, np.ndarray)]


# --- what a model holds -----------------------------------------------------------------------------------


@each_class
@pytest.mark.parametrize("sparse", [False, True])
def test_models_keep_read_only_copies(cls, sound, sparse):
    arguments = sound()
    if sparse:
        arguments["P"] = rows(arguments["P"])
    model = cls(**arguments)
    law = (model.P.data if sparse else model.P).copy()
    for source in (arguments["P"].data if sparse else arguments["P"], arguments["r"], arguments["rho"]):
        source[...] = 7.0
    assert np.array_equal(model.P.data if sparse else model.P, law)
    assert model.r.max() < 7.0
    assert model.rho.max() <= 1.0
    assert model.is_sparse == sparse
    assert arrays_of(model)
    for array in arrays_of(model):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError):
        model.r = np.zeros(3)


@each_class
def test_sparse_and_dense_models_have_one_law(cls, sound):
    arguments = sound()
    arguments["P"] = arguments["P"] * (arguments["P"] > 0.1)
    arguments["P"] /= arguments["P"].sum(axis=-1, keepdims=True)
    dense, sparse = cls(**arguments), cls(**arguments | {"P": rows(arguments["P"])})
    assert np.array_equal(sparse.P_rows.toarray(), dense.P_rows)
    pairs = (
        [(dense.stage_outcomes(h), sparse.stage_outcomes(h)) for h in range(H)]
        if cls is FiniteHorizonMDP
        else [(dense.outcomes(), sparse.outcomes())]
    )
    for one, other in pairs:
        for name in ("indptr", "next_states", "probabilities", "rewards"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        assert (one.probabilities > 0).all()
        assert np.allclose(np.add.reduceat(one.probabilities, one.indptr[:-1]), 1.0)


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_array", "lil_array"])
def test_any_scipy_matrix_is_taken(form):
    arguments = data()
    model = TabularMDP(**arguments | {"P": getattr(sp, form)(rows(arguments["P"]))})
    assert model.P.format == "csr"
    assert np.array_equal(model.P.toarray(), arguments["P"].reshape(-1, S))


def test_sparse_rows_keep_duplicate_outcomes_in_their_order():
    P = sp.csr_array((np.array([0.25, 0.5, 0.25, 1.0]), np.array([1, 0, 1, 1]), np.array([0, 3, 4])), shape=(2, 2))
    model = TabularMDP(P, np.array([4.0, -1.0, 8.0, 3.0]), 0.5, [1, 0])
    outcomes = model.outcomes()
    assert outcomes.next_states.tolist() == [1, 0, 1, 1]
    assert outcomes.probabilities.tolist() == [0.25, 0.5, 0.25, 1.0]
    assert outcomes.rewards.tolist() == [4.0, -1.0, 8.0, 3.0]
    assert outcomes.indptr.tolist() == [0, 3, 4]
    assert model.r.tolist() == [[2.5], [3.0]]


def test_outcomes_of_probability_zero_are_left_out_but_stored():
    P = sp.csr_array((np.array([0.0, 1.0, 1.0]), np.array([1, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    model = TabularMDP(P, np.array([9.0, 1.0, 2.0]), 0.5, [1, 0])
    assert model.P.nnz == 3
    assert model.outcomes().rewards.tolist() == [1.0, 2.0]


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_rewards_of_outcomes_give_the_expected_rewards(seed):
    rng = np.random.default_rng(seed)
    for cls, arguments in ((TabularMDP, data(seed)), (MarkovGame, game_data(seed))):
        paid = rng.normal(size=arguments["P"].shape)
        model = cls(**arguments | {"r": paid})
        assert np.allclose(model.r, (arguments["P"] * paid).sum(axis=-1))
        assert np.array_equal(model.outcome_rewards, paid)
        outcomes = model.outcomes()
        per_row = np.add.reduceat(outcomes.probabilities * outcomes.rewards, outcomes.indptr[:-1])
        assert np.allclose(per_row, model.r.reshape(-1))


def test_bytes_count_what_is_held():
    dense = TabularMDP(**data())
    assert dense.nbytes == 8 * (S * A * S + S * A + S + S) + S
    sparse = TabularMDP(**data(P=rows(data()["P"])))
    nnz = S * A * S
    assert sparse.nbytes == 12 * nnz + 4 * (S * A + 1) + 8 * (S * A + S + S) + S
    assert MarkovGame(**game_data()).nbytes > 8 * S * A * B * S


def test_observations_default_to_the_states():
    assert TabularMDP(**data()).observations.tolist() == [0, 1, 2, 3]
    assert TabularMDP(**data()).n_observations == 4
    assert TabularMDP(**data(observations=[0, 1, 2, 1])).n_observations == 3


def test_games_know_their_action_sets():
    whole, ragged = MarkovGame(**game_data()), MarkovGame(**ragged_data())
    assert whole.n_actions_0.tolist() == [A] * S
    assert whole.n_actions_1.tolist() == [B] * S
    assert not whole.is_ragged
    assert ragged.n_actions_0.tolist() == [1, 3, 2, 3]
    assert ragged.is_ragged
    sparse = MarkovGame(**ragged_data() | {"P": rows(ragged_data()["P"])})
    assert np.array_equal(sparse.outcomes().indptr, ragged.outcomes().indptr)


# --- finite horizon ---------------------------------------------------------------------------------------


def finite_value(model):
    v = np.zeros((model.horizon + 1, model.n_states))
    for h in reversed(range(model.horizon)):
        P, r = model.stage(h)
        v[h] = (r + (P @ v[h + 1]).reshape(r.shape)).max(axis=-1)
    return v


@pytest.mark.parametrize("staged_law", [True, False])
@pytest.mark.parametrize("staged_rewards", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_to_tabular_has_the_law_and_value_of_the_stages(staged_law, staged_rewards, sparse, terminal):
    arguments = staged_data()
    if terminal:
        arguments = with_terminal(arguments)
    arguments["P"] = arguments["P"] if staged_law else arguments["P"][0]
    arguments["r"] = arguments["r"] if staged_rewards else arguments["r"][0]
    if sparse:
        arguments["P"] = rows(arguments["P"])
    model = FiniteHorizonMDP(**arguments)
    assert model.is_stationary == (not staged_law and not staged_rewards)
    tabular = model.to_tabular()
    assert tabular.n_states == (H + 1) * S
    assert tabular.gamma == 1.0
    assert tabular.terminal[H * S :].all()
    assert np.array_equal(tabular.terminal, model.terminal_codes())
    P = tabular.P.toarray().reshape(H + 1, S, A, H + 1, S)
    for h in range(H):
        stage_P, stage_r = model.stage(h)
        stage_P = stage_P.toarray() if sparse else stage_P
        live = ~model.terminal
        assert np.allclose(P[h, live, :, h + 1], stage_P.reshape(S, A, S)[live])
        assert np.array_equal(tabular.r.reshape(H + 1, S, A)[h], stage_r)
    v = np.zeros(tabular.n_states)
    for _ in range(H + 1):
        v = (tabular.r + (tabular.P @ v).reshape(tabular.r.shape)).max(axis=1)
    assert np.allclose(v.reshape(H + 1, S), finite_value(model), atol=1e-13)
    assert np.allclose(tabular.rho.reshape(H + 1, S)[0], model.rho)


def test_to_tabular_keeps_the_features_of_each_code():
    features = np.concatenate([np.random.default_rng(0).normal(size=(H, S, 2)), np.zeros((1, S, 2))])
    model = FiniteHorizonMDP(**staged_data(features=features))
    assert np.array_equal(model.to_tabular().features, features.reshape(-1, 2))


# --- refusals ---------------------------------------------------------------------------------------------


def refused(cls, arguments, message):
    with pytest.raises(ModelError, match=message):
        cls(**arguments)


COMMON = [
    ({"rho": [0.5, 0.5, 0, 0.1]}, r"rho sums to 1\.1, not 1; normalise that row or fix the entry at fault"),
    ({"rho": [1.5, -0.5, 0, 0]}, r"rho\[1\] is -0\.5; probabilities must be >= 0"),
    ({"rho": [1.0, 0, 0]}, r"rho has shape \(3,\); expected \(S,\) = \(4,\)"),
    ({"rho": [np.nan, 0, 0, 1]}, r"rho\[0\] is nan; every entry must be finite"),
    ({"rho": ["a", "b", "c", "d"]}, r"rho has dtype <U1; pass real numbers \(float64\)"),
    ({"rho": np.ones(4, dtype=complex) / 4}, "rho has dtype complex128"),
    ({"rho": None}, "rho has dtype object"),
    ({"terminal": [0, 0, 0, 1]}, "terminal has dtype int64; pass a boolean mask"),
    ({"terminal": [True]}, r"terminal has shape \(1,\); expected \(S,\)"),
    ({"P": None}, r"P has shape \(\)"),
    ({"r": None}, r"r has dtype object|P has shape|r has shape"),
]


@each_class
@pytest.mark.parametrize(("changes", "message"), COMMON)
def test_every_model_refuses_bad_distributions_and_masks(cls, sound, changes, message):
    refused(cls, sound(**changes), message)


@pytest.mark.parametrize(
    ("gamma", "message"),
    [
        (1.01, r"gamma is 1\.01; it must lie in \[0, 1\]"),
        (-1e-9, "gamma is -1e-09; it must lie in"),
        (np.nan, "gamma is nan; it must lie in"),
        (10**400, r"0; it must lie in \[0, 1\]"),
        (True, r"gamma is True; pass a number in \[0, 1\]"),
        ("0.9", "gamma is '0.9'; pass a number"),
        (None, "gamma is None; pass a number"),
    ],
)
@pytest.mark.parametrize(("cls", "sound"), [(TabularMDP, data), (MarkovGame, game_data)])
def test_gamma_outside_the_unit_interval_is_refused(cls, sound, gamma, message):
    refused(cls, sound(gamma=gamma), message)


@pytest.mark.parametrize("gamma", [0, 1, np.float32(0.5), np.int64(1), 0.0])
def test_gamma_may_be_any_real_number_in_the_interval(gamma):
    assert TabularMDP(**data(gamma=gamma)).gamma == float(gamma)


P, R = data()["P"], data()["r"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"P": changed(P, (1, 2, 3), P[1, 2, 3] - 0.02)}, r"P\[1, 2\] sums to 0\.98, not 1; normalise that row or fix"),
        ({"P": changed(P, (1, 2, 3), -0.25)}, r"P\[1, 2, 3\] is -0\.25; probabilities must be >= 0"),
        ({"P": changed(P, (3, 0, 1), np.inf)}, r"P\[3, 0, 1\] is inf; every entry must be finite"),
        ({"P": rows(changed(P, (1, 2, 3), P[1, 2, 3] - 0.02))}, r"P\[1, 2\] sums to 0\.98, not 1"),
        ({"P": rows(changed(P, (1, 2, 3), -0.25))}, r"P\[1, 2, 3\] is -0\.25"),
        ({"P": rows(changed(P, (0, 0, 2), np.nan))}, r"P\[0, 0, 2\] is nan"),
        ({"P": P[:, :, :3]}, r"P has shape \(4, 3, 3\); expected \(S, A, S\) = \(4, 3, 4\)"),
        ({"P": P[0]}, r"P has shape \(3, 4\); expected \(S, A, S\), or a scipy CSR array of shape \(S\*A, S\)"),
        ({"P": rows(P)[:11]}, r"P has shape \(11, 4\); expected \(S\*A, S\), a whole number of rows"),
        ({"P": np.zeros((0, A, 0))}, "P describes 0 states; at least one is needed"),
        ({"P": np.zeros((S, 0, S))}, "P describes 0 actions; at least one is needed"),
        ({"P": sp.csr_array((0, 4))}, "P describes 0 actions"),
        ({"r": R[:3]}, r"r has shape \(3, 3\); expected \(4, 3\), or one reward per outcome of P: \(4, 3, 4\)"),
        ({"r": changed(R, (2, 1), np.nan)}, r"r\[2, 1\] is nan; every entry must be finite"),
        ({"features": np.ones((3, 2))}, r"features has shape \(3, 2\); expected \(S, d\) with \(4,\) first and d >= 1"),
        ({"features": np.ones((4, 0))}, r"features has shape \(4, 0\)"),
        ({"features": np.full((4, 1), np.nan)}, r"features\[0, 0\] is nan"),
        ({"observations": [0, 1, 2, 4]}, r"observations\[3\] is 4; it must lie in \[0, 4\)"),
        ({"observations": [0, -1, 2, 3]}, r"observations\[1\] is -1; it must lie in"),
        ({"observations": [0, 1, 2]}, r"observations has shape \(3,\); expected \(S,\) = \(4,\)"),
        ({"observations": [0.0, 1, 2, 3]}, "observations has dtype float64; pass one integer a state"),
        (
            {"terminal": np.arange(S) == 1},
            r"state 1 is terminal, but goes to state 0 .* make each of its rows stay put",
        ),
    ],
)
def test_tabular_models_refuse_and_say_where(changes, message):
    refused(TabularMDP, data(**changes), message)


def test_a_terminal_state_must_pay_nothing():
    sound = with_terminal(data())
    TabularMDP(**sound)
    refused(TabularMDP, sound | {"r": changed(sound["r"], (3, 1), 2.0)}, "state 3 is terminal, but pays 2; set its")
    staged = with_terminal(staged_data())
    FiniteHorizonMDP(**staged)
    refused(FiniteHorizonMDP, staged | {"r": changed(staged["r"], (2, 3, 1), 2.0)}, "state 3 is terminal, but pays 2")


STAGED = staged_data()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon is 0; it must be at least 1"),
        ({"horizon": 5.0}, r"horizon is 5\.0; pass an integer >= 1"),
        ({"horizon": True}, "horizon is True; pass an integer"),
        ({"horizon": 4}, r"r has shape \(5, 4, 3\); expected \(S, A\) or \(H, S, A\) with H = 4"),
        (
            {"P": STAGED["P"][:4]},
            r"P has shape \(4, 4, 3, 4\); .* expected \(4, 3, 4\), or \(5, 4, 3, 4\) with one law",
        ),
        ({"P": rows(STAGED["P"])[:-1]}, r"P has shape \(59, 4\); .* expected \(12, 4\), or \(60, 4\)"),
        ({"P": changed(STAGED["P"], (2, 1, 0, 3), -0.5)}, r"P\[2, 1, 0, 3\] is -0\.5"),
        ({"P": rows(changed(STAGED["P"], (2, 1, 0, 3), -0.5))}, r"P\[2, 1, 0, 3\] is -0\.5"),
        ({"P": changed(STAGED["P"], (4, 3, 2), 0.2)}, r"P\[4, 3, 2\] sums to 0\.8, not 1"),
        ({"r": changed(STAGED["r"], (1, 2, 0), -np.inf)}, r"r\[1, 2, 0\] is -inf"),
        ({"r": np.zeros((H, 0, A))}, "r describes 0 states"),
        ({"r": np.zeros((S, 0))}, "r describes 0 actions"),
        ({"features": np.zeros((H, S, 2))}, r"features has shape \(5, 4, 2\); expected \(H \+ 1, S, d\)"),
        (
            {"features": np.ones((H + 1, S, 2))},
            r"features\[5, 0, 0\] is not 0; after the last stage every feature is 0",
        ),
    ],
)
def test_finite_horizon_models_refuse_and_say_where(changes, message):
    refused(FiniteHorizonMDP, staged_data(**changes), message)


@pytest.mark.parametrize("h", [-1, H])
def test_stages_out_of_range_are_refused(h):
    with pytest.raises(ModelError, match=f"h is {h}; stages run from 0 to 4"):
        FiniteHorizonMDP(**STAGED).stage(h)


GAME = game_data()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"P": changed(GAME["P"], (1, 2, 0), 0.2)}, r"P\[1, 2, 0\] sums to 0\.8, not 1"),
        ({"P": rows(changed(GAME["P"], (1, 2, 0), 0.2))}, r"P\[1, 2, 0\] sums to 0\.8, not 1"),
        ({"P": rows(changed(GAME["P"], (1, 2, 0, 3), -0.2))}, r"P\[1, 2, 0, 3\] is -0\.2"),
        ({"P": GAME["P"][:, :, 0]}, r"P has shape \(4, 3, 4\); expected \(S, A, B, S\), or scipy CSR"),
        ({"P": GAME["P"][..., :3]}, r"P has shape \(4, 3, 2, 3\); expected \(S, A, B, S\) = \(4, 3, 2, 4\)"),
        ({"P": rows(GAME["P"]), "r": np.zeros(S)}, r"r has shape \(4,\); beside a sparse P expected \(S, A, B\)"),
        ({"P": rows(GAME["P"]), "r": np.zeros((S, A, B + 1))}, r"P has shape \(24, 4\); expected .* = \(36, 4\)"),
        ({"P": np.zeros((S, 0, B, S))}, "P describes 0 actions of player_0"),
        ({"P": np.zeros((S, A, 0, S))}, "P describes 0 actions of player_1"),
        ({"n_actions_0": [3, 3, 0, 3]}, r"n_actions_0\[2\] is 0; every state needs 1 to 3 actions"),
        ({"n_actions_1": [2, 3, 2, 2]}, r"n_actions_1\[1\] is 3; every state needs 1 to 2 actions"),
        ({"n_actions_1": [2.0, 2, 2, 2]}, "n_actions_1 has dtype float64; pass one integer a state"),
        ({"n_actions_0": [3, 3]}, r"n_actions_0 has shape \(2,\); expected \(S,\)"),
        ({"n_actions_0": [2, 3, 3, 3]}, r"P\[0, 2, 0\] sums to 1, but lies outside the action set; leave"),
    ],
)
def test_games_refuse_and_say_where(changes, message):
    refused(MarkovGame, game_data(**changes), message)


def test_rewards_outside_the_action_sets_must_be_zero():
    ragged = ragged_data()
    refused(MarkovGame, ragged | {"r": changed(ragged["r"], (0, 1, 1), 3.0)}, r"r\[0, 1, 1\] is 3, but lies outside")


def test_broken_sparse_structure_is_refused():
    broken = rows(P)
    broken.indices = broken.indices.copy()
    broken.indices[5] = 4
    refused(TabularMDP, data(P=broken), r"P\.indices leave \[0, 4\); rebuild the matrix")
    broken = rows(P)
    broken.indptr = broken.indptr[::-1].copy()
    refused(TabularMDP, data(P=broken), r"P\.indptr does not describe 12 rows of 48 entries; rebuild the matrix")


@given(
    st.sampled_from(list(ALL.values())),
    st.sampled_from(["P", "r", "rho"]),
    st.sampled_from([np.nan, np.inf, -np.inf, -0.5, -1e-6, 1e-6, 0.3, 1e308]),
    st.booleans(),
    st.integers(0, 10**6),
)
@settings(max_examples=250, deadline=None)
def test_one_corrupted_entry_anywhere_is_refused_and_named(class_and_data, name, by, sparse, seed):
    cls, sound = class_and_data
    arguments = sound(seed)
    array = arguments[name]
    index = tuple(int(i) for i in np.random.default_rng(seed).integers(0, array.shape))
    array[index] += by
    entry = f"{name}[{', '.join(map(str, index))}]"
    row = f"{name}[{', '.join(map(str, index[:-1]))}]" if len(index) > 1 else name
    if name == "P" and sparse:
        arguments["P"] = rows(array)
    if name == "r" and np.isfinite(by):
        assert cls(**arguments).r[index] == array[index]
        return
    with pytest.raises(ModelError) as refusal:
        cls(**arguments)
    message = str(refusal.value)
    if not np.isfinite(by):
        assert message.startswith(f"{entry} is {by};")
        assert "finite" in message
    elif array[index] < 0:
        assert message.startswith(f"{entry} is -")
    else:
        assert message.startswith(f"{row} sums to ")


@pytest.mark.parametrize("name", ["P", "r", "rho", "terminal", "features", "observations"])
def test_lists_that_are_no_arrays_are_named(name):
    arguments = {"P": np.ones((1, 1, 1)), "r": [[0.0]], "gamma": 0.5, "rho": [1.0]}
    with pytest.raises(ModelError, match=f"{name} has rows of different lengths; pass a rectangular array"):
        TabularMDP(**{**arguments, name: [[1.0, 2.0], [3.0]]})


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("sparse", [False, True])
def test_copies_of_a_model_are_read_only_too(again, sparse):
    P = np.random.default_rng(0).dirichlet(np.ones(3), size=(3, 2))
    law = TabularMDP(rows(P) if sparse else P, np.ones((3, 2)), 0.9, np.eye(3)[0])
    copied = again(law)
    held = copied.P.data if sparse else copied.P
    for array in (held, copied.r, copied.rho, copied.terminal):
        assert not np.asarray(array).flags.writeable
    assert same_model(law, copied)
