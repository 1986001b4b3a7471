"""Promises of constrained problems: validated, frozen, composed of a process; their generator; their files."""

import copy
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from lookahead_rl.models import (
    ConstrainedLinearMDP,
    ConstrainedMDP,
    FiniteHorizonMDP,
    FiniteSupportMeasures,
    HashedSimplexFeatures,
    LinearMDP,
    ModelError,
    TabularMDP,
    load_model,
    random_constrained_linear_mdp,
    random_linear_mdp,
    same_model,
    save_model,
)
from lookahead_rl.models.constrained import process_of

S, A, H, D = 4, 3, 2, 3
RNG = np.random.default_rng(7)
P = RNG.dirichlet(np.ones(S), (S, A))
R, C = RNG.random((S, A)), RNG.random((H, S, A))
PHI, MU = RNG.dirichlet(np.ones(D), (S, A)), RNG.dirichlet(np.ones(S), (H, D))
PROCESS = FiniteHorizonMDP(P, R, H, np.eye(S)[0])
LINEAR = LinearMDP(PHI, MU, RNG.random((H, D)), np.eye(S)[0], H)
HASHED = random_linear_mdp(10**9, A, D, H, 3)
THETA = RNG.random((H, D))


def tabular() -> ConstrainedMDP:
    return ConstrainedMDP(PROCESS, C, 0.5)


def linear() -> ConstrainedLinearMDP:
    return ConstrainedLinearMDP(LINEAR, THETA, 0.5)


def with_terminal() -> FiniteHorizonMDP:
    law, r = P.copy(), R.copy()
    law[3], r[3] = np.eye(S)[3], 0.0
    return FiniteHorizonMDP(law, r, H, np.eye(S)[0], np.arange(S) == 3)


def test_a_problem_has_a_process_and_is_none():
    model = linear()
    assert model.mdp is LINEAR
    assert not isinstance(model, LinearMDP)
    assert process_of(model) is LINEAR
    assert process_of(LINEAR) is LINEAR
    assert (model.n_states, model.n_actions, model.horizon, model.dim) == (S, A, H, D)
    assert model.nbytes == LINEAR.nbytes + 8 * H * D
    assert tabular().nbytes == PROCESS.nbytes + 8 * H * S * A


@pytest.mark.parametrize("model", [tabular(), linear()], ids=["tabular", "linear"])
def test_problems_are_frozen_and_stay_so_when_copied(model: Any):
    field = "c" if isinstance(model, ConstrainedMDP) else "theta_cost"
    assert copy.deepcopy(model) is model
    for one in (model, pickle.loads(pickle.dumps(model))):
        assert same_model(one, model)
        with pytest.raises(AttributeError):
            one.budget = 1.0
        for array in (getattr(one, field), one.mdp.rho):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0


def test_the_arrays_are_copies():
    c = C.copy()
    model = ConstrainedMDP(PROCESS, c, 0.5)
    c[:] = 0.0
    np.testing.assert_array_equal(model.c, C)


@pytest.mark.parametrize("staged", [True, False])
def test_costs_are_those_of_stage_state_and_action_and_nothing_once_the_episode_is_over(staged: bool):
    model, theta = ConstrainedMDP(PROCESS, C if staged else C[0], 0.5), THETA if staged else THETA[0]
    table = np.broadcast_to(model.c, (H, S, A))
    linear_table = np.einsum("sad,hd->hsa", PHI, np.broadcast_to(theta, (H, D)))
    codes, actions = (axis.reshape(-1) for axis in np.meshgrid(np.arange((H + 1) * S), np.arange(A), indexing="ij"))
    after = np.zeros(S * A)
    np.testing.assert_array_equal(model.costs(codes, actions), np.append(table, after))
    found = ConstrainedLinearMDP(LINEAR, theta, 0.5).costs(codes, actions)
    np.testing.assert_allclose(found, np.append(linear_table, after), atol=1e-15)
    for h in range(H):
        np.testing.assert_array_equal(model.stage_costs(h), table[h])


def test_a_linear_problem_is_its_own_table():
    model, written = linear(), linear().to_tabular()
    expected = LINEAR.to_tabular()
    np.testing.assert_array_equal(written.mdp.P_rows, expected.P_rows)
    np.testing.assert_array_equal(written.mdp.r, expected.r)
    np.testing.assert_allclose(written.c, np.einsum("sad,hd->hsa", PHI, THETA), atol=1e-15)
    assert written.budget == model.budget
    with pytest.raises(ModelError, match="max_bytes"):
        ConstrainedLinearMDP(HASHED, THETA, 0.5).to_tabular()


@pytest.mark.parametrize("model", [tabular(), linear()], ids=["tabular", "linear"])
def test_weights_make_a_process_of_rewards_and_costs(model: Any):
    written = model if isinstance(model, ConstrainedMDP) else model.to_tabular()
    mixed = model.weighted(2.0, -0.5)
    assert type(mixed) is type(model.mdp)
    r = mixed.r if isinstance(mixed, FiniteHorizonMDP) else mixed.to_tabular().r
    np.testing.assert_allclose(r, 2.0 * written.mdp.r - 0.5 * written.c, atol=1e-14)


@pytest.mark.parametrize("model", [tabular(), linear()], ids=["tabular", "linear"])
def test_what_is_no_stage_and_no_weight_is_named(model: Any):
    stage = model.stage_costs if isinstance(model, ConstrainedMDP) else model.stage_theta_cost
    for h, message in (
        (0.5, "h is 0.5; pass an integer"),
        (H, f"h is {H}; stages run from 0 to {H - 1}"),
        (-1, "h is -1"),
    ):
        with pytest.raises(ModelError, match=message):
            stage(h)
    with pytest.raises(ModelError, match="reward is 'a'; pass a finite number"):
        model.weighted("a", 1)


def outside(index: tuple[int, ...], value: float) -> np.ndarray:
    c = C.copy()
    c[index] = value
    return c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LINEAR, C, 0.5), "mdp is a LinearMDP; pass a FiniteHorizonMDP"),
        ((TabularMDP(P, R, 0.9, np.eye(S)[0]), C, 0.5), "mdp is a TabularMDP"),
        ((PROCESS, C[:1], 0.5), r"c has shape \(1, 4, 3\); expected \(S, A\) = \(4, 3\), or \(H, S, A\) = \(2, 4, 3\)"),
        ((PROCESS, C[0].T, 0.5), r"c has shape \(3, 4\)"),
        ((PROCESS, outside((1, 2, 0), 1.5), 0.5), r"c\[1, 2, 0\] is 1.5; costs must lie in \[0, 1\]"),
        ((PROCESS, outside((0, 3, 2), -1e-6), 0.5), r"c\[0, 3, 2\] is -1e-06"),
        ((PROCESS, outside((0, 0, 0), np.nan), 0.5), r"c\[0, 0, 0\] is nan"),
        ((with_terminal(), C, 0.5), r"c\[0, 3, 0\] is .* but state 3 is terminal; set it to 0"),
        ((PROCESS, C, -0.1), "budget is -0.1; .* pass a number >= 0"),
        ((PROCESS, C, np.inf), "budget is inf; pass a finite number"),
        ((PROCESS, C, np.nan), "budget is nan"),
        ((PROCESS, C, True), "budget is True"),
        ((PROCESS, C, "1"), "budget is '1'"),
        ((PROCESS, C, 10**400), "budget is a whole number that float64 cannot hold"),
    ],
)
def test_what_is_wrong_with_a_table_of_costs_is_named(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ModelError, match=message):
        ConstrainedMDP(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PROCESS, THETA, 0.5), "mdp is a FiniteHorizonMDP; pass a LinearMDP"),
        (
            (LINEAR, THETA[:, :2], 0.5),
            r"theta_cost has shape \(2, 2\); expected \(d,\) = \(3,\), or \(H, d\) = \(2, 3\)",
        ),
        ((LINEAR, THETA.T, 0.5), r"theta_cost has shape \(3, 2\)"),
        ((LINEAR, [0.5, np.inf, 0.5], 0.5), r"theta_cost\[1\] is inf"),
        ((HASHED, [0.5, 1.1, 0.5], 0.5), r"theta_cost\[1\] is 1.1; features on the simplex may be any point"),
        ((HASHED, [THETA[0], [0.5, 0.5, -0.1]], 0.5), r"theta_cost\[1, 2\] is -0.1"),
        ((LINEAR, THETA, -1), "budget is -1"),
    ],
)
def test_what_is_wrong_with_cost_parameters_is_named(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ModelError, match=message):
        ConstrainedLinearMDP(*arguments)


def test_a_cost_outside_the_unit_interval_is_named_by_stage_state_and_action():
    phi = np.tile(np.array([0.5, 0.5]), (2, 2, 1))
    phi[1, 0] = [1.0, 0.0]
    mdp = LinearMDP(phi, np.full((2, 2), 0.5), np.zeros(2), np.eye(2)[0], 3)
    fine = np.tile([1.0, 0.0], (3, 1))
    ConstrainedLinearMDP(mdp, fine, 1.0)
    wrong = fine + np.array([[0.0, 0.0], [0.0, 0.0], [0.1, -0.1]])
    with pytest.raises(ModelError, match=r"s = 1, a = 0 at h = 2 is 1.1; costs must lie in \[0, 1\]"):
        ConstrainedLinearMDP(mdp, wrong, 1.0)
    with pytest.raises(ModelError, match=r"s = 1, a = 0 is 1.1; costs"):
        ConstrainedLinearMDP(mdp, wrong[2], 1.0)
    # Off the simplex's corners parameters may exceed what no cost does.
    ConstrainedLinearMDP(LinearMDP(phi[:1].repeat(2, 0), mdp.mu, np.zeros(2), mdp.rho, 3), [1.5, -0.5], 1.0)


def test_costs_may_round_out_of_the_unit_interval_and_no_further():
    ConstrainedMDP(PROCESS, outside((0, 0, 0), 1.0 + 1e-15), 0.5)
    with pytest.raises(ModelError, match=r"c\[0, 0, 0\] is 1.0000000001"):
        ConstrainedMDP(PROCESS, outside((0, 0, 0), 1.0 + 1e-10), 0.5)


def greatest(model: ConstrainedLinearMDP, theta: np.ndarray) -> float:
    """The most that any policy collects of <phi, theta_h> from state 0, by backward induction on the table."""
    table = LinearMDP(model.mdp.phi, model.mdp.mu, theta, model.mdp.rho, model.horizon).to_tabular()
    v = np.zeros(table.n_states)
    for h in reversed(range(table.horizon)):
        law, r = table.stage(h)
        v = (r + (law @ v).reshape(r.shape)).max(axis=1)
    return float(v[0])


@pytest.mark.parametrize("support", [None, 6])
def test_random_problems_follow_their_recipe(support: int | None):
    model = random_constrained_linear_mdp(50, 3, 5, 4, 11, threshold=0.8, support=support)
    utility = 1.0 - model.theta_cost
    assert (model.n_states, model.n_actions, model.dim, model.horizon) == (50, 3, 5, 4)
    assert model.theta_cost.shape == model.mdp.theta.shape == (4, 5)
    for parameters in (model.mdp.theta, utility):
        np.testing.assert_allclose(parameters.max(axis=1), 1.0, atol=1e-15)
        assert parameters.min() >= 0.0
    assert model.mdp.is_mixture
    assert model.mdp.is_normalised
    np.testing.assert_array_equal(model.mdp.initial_distribution().states, [0])
    assert model.budget == pytest.approx(4 - 0.8 * greatest(model, utility), abs=1e-12)


def test_tables_come_from_dirichlet_laws_of_parameter_one_tenth():
    """A coordinate of Dirichlet(a, ..., a) in d dimensions has variance (d - 1) / (d^2 (a d + 1))."""
    model = random_constrained_linear_mdp(400, 5, 5, 3, 5)
    for points, d in ((model.mdp.phi(np.arange(400)), 5), (np.asarray(model.mdp.mu), 400)):
        expected = (d - 1) / (d**2 * (0.1 * d + 1))
        assert points.var() == pytest.approx(expected, rel=0.1)


def test_a_seed_is_a_problem():
    for support in (None, 5):
        one, same, other = (random_constrained_linear_mdp(30, 3, 4, 3, seed, support=support) for seed in (1, 1, 2))
        assert same_model(one, same)
        assert not same_model(one, other)


def test_the_default_budget_mostly_binds_and_the_papers_mostly_does_not():
    def binds(threshold: float, seed: int) -> bool:
        model = random_constrained_linear_mdp(100, 3, 5, 4, seed, threshold=threshold)
        v, cost = np.zeros(100), np.zeros(100)
        table = model.to_tabular()
        for h in reversed(range(4)):
            law, r = table.mdp.stage(h)
            q = r + (law @ v).reshape(r.shape)
            best, spent = q.argmax(axis=1), table.stage_costs(h) + (law @ cost).reshape(r.shape)
            v, cost = q.max(axis=1), np.take_along_axis(spent, best[:, None], 1)[:, 0]
        return bool(cost[0] > model.budget)

    assert np.mean([binds(0.9, seed) for seed in range(20)]) >= 0.9
    assert np.mean([binds(0.68, seed) for seed in range(20)]) <= 0.25


def test_weights_of_a_state_named_often_add_up_to_what_they_are():
    rng = np.random.default_rng(0)
    states, weights = rng.integers(0, 5, (3, 400)), rng.dirichlet(np.ones(400), 3)
    dense = FiniteSupportMeasures(states, weights).dense(6)
    for row, where, parts in zip(dense, states, weights, strict=True):
        np.testing.assert_array_equal(row, [math.fsum(parts[where == s]) for s in range(6)])


def test_a_budget_that_rounds_below_zero_is_zero():
    assert random_constrained_linear_mdp(3, 2, 1, 5, 6, threshold=1.0).budget == 0.0


def test_a_billion_states_take_no_room():
    model = random_constrained_linear_mdp(10**9, 3, 5, 4, 0, support=5)
    assert model.nbytes < 10_000
    assert isinstance(model.mdp.phi, HashedSimplexFeatures)
    assert isinstance(model.mdp.mu, FiniteSupportMeasures)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((0, 3, 5, 4, 0), {}, "n_states is 0"),
        ((9, 3.0, 5, 4, 0), {}, "n_actions is 3.0"),
        ((9, 3, 0, 4, 0), {}, "dim is 0"),
        ((9, 3, 5, 0, 0), {}, "horizon is 0"),
        ((9, 3, 5, 4, None), {}, "rng is None"),
        ((9, 3, 5, 4, 0), {"threshold": 1.1}, "threshold is 1.1"),
        ((9, 3, 5, 4, 0), {"support": 10}, "support is 10, but there are 9 states"),
        ((10**9, 3, 5, 4, 0), {}, "pass support, or raise max_bytes"),
    ],
)
def test_bad_arguments_of_the_generator_are_named(arguments: tuple[Any, ...], keywords: dict[str, Any], message: str):
    with pytest.raises(ModelError, match=message):
        random_constrained_linear_mdp(*arguments, **keywords)


@pytest.mark.parametrize(
    "model",
    [
        tabular(),
        linear(),
        ConstrainedMDP(FiniteHorizonMDP(sp.csr_array(P.reshape(-1, S)), R, H, np.eye(S)[0]), C[0], 1.0),
        ConstrainedLinearMDP(HASHED, THETA, 0.0),
    ],
    ids=["tabular", "linear", "sparse", "hashed"],
)
def test_files_hold_problems_bit_for_bit(model: Any, tmp_path: Path):
    path = tmp_path / "problem.npz"
    save_model(model, path)
    loaded = load_model(path)
    assert type(loaded) is type(model)
    assert same_model(loaded, model)
    assert not same_model(loaded, model.mdp)


def test_a_file_with_a_wrong_cost_is_refused(tmp_path: Path):
    path = tmp_path / "problem.npz"
    save_model(tabular(), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(C[1, 2, 1].tobytes(), np.float64(7.0).tobytes()))
    with pytest.raises(ModelError, match=r"cannot be loaded: c\[1, 2, 1\] is 7"):
        load_model(path)
