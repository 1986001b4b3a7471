"""Dynamic programming agrees with itself, with other people's solvers and with enumeration, and says how it ended."""

from collections.abc import Callable
from itertools import product

import gymnasium as gym
import mdpsolver
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from quantecon.markov import DiscreteDP
from scipy.optimize import linprog

from lookahead_rl.models import FiniteHorizonMDP, TabularMDP, from_gymnasium
from lookahead_rl.models.classic import chain, gamblers_problem, river_swim, small_gridworld
from lookahead_rl.models.generators import garnet_mdp
from lookahead_rl.models.planted import planted_mdp
from lookahead_rl.solvers import (
    Solution,
    Status,
    backward_induction,
    dynamic_programming,
    evaluate_policy,
    greedy_policy,
    howard,
    policy_iteration,
    solve,
    value_iteration,
)

Array = NDArray[np.float64]
Actions = NDArray[np.int64]

SEEDS = st.integers(0, 2**31)
SOLVERS = [value_iteration, policy_iteration]


def as_sparse(model: TabularMDP) -> TabularMDP:
    return TabularMDP(sp.csr_array(np.asarray(model.P_rows)), model.r, model.gamma, model.rho, model.terminal)


def with_end(model: TabularMDP, gamma: float, chance: float = 0.1) -> TabularMDP:
    """The model with one more state, terminal, which every step enters with this chance."""
    S, A = model.n_states, model.n_actions
    P, r = np.zeros((S + 1, A, S + 1)), np.zeros((S + 1, A))
    P[:S, :, :S], P[:S, :, S], P[S, :, S] = (1 - chance) * np.asarray(model.P), chance, 1.0
    r[:S] = model.r
    return TabularMDP(P, r, gamma, np.eye(1, S + 1)[0], np.arange(S + 1) == S)


def moves(next_states: list[list[int]], r: list[list[float]], gamma: float = 1.0) -> TabularMDP:
    """A deterministic model whose last state is terminal."""
    S = len(next_states)
    return TabularMDP(np.eye(S)[next_states], np.array(r), gamma, np.full(S, 1 / S), np.arange(S) == S - 1)


def contains(solution: Solution[Actions], value: Array, slack: float = 0.0) -> bool:
    bounds = solution.certificate
    return bool((bounds.lower <= value + slack).all() and (value <= bounds.upper + slack).all())


def linear_value(model: TabularMDP, policy: Array | Actions) -> Array:
    """v^pi by numpy's linear solver, terminal states apart."""
    weights = np.eye(model.n_actions)[policy] if policy.ndim == 1 else policy
    P = np.einsum("sa,sat->st", weights, np.asarray(model.P_rows @ np.eye(model.n_states)).reshape(*model.r.shape, -1))
    live = ~model.terminal
    system = np.eye(model.n_states) - model.gamma * P
    v = np.zeros(model.n_states)
    v[live] = np.linalg.solve(system[np.ix_(live, live)], (weights * model.r).sum(axis=1)[live])
    return v


# ---------------------------------------------------------------------------------------------- agreement


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.0, 0.5, 0.95, 0.999]), st.booleans(), st.booleans())
def test_all_solvers_agree(seed: int, gamma: float, sparse: bool, ends: bool) -> None:
    model = garnet_mdp(15, 4, 3, seed, gamma=gamma, rewards="normal", sparse=False)
    model = with_end(model, gamma) if ends else model
    model = as_sparse(model) if sparse else model
    solutions = [solver(model, 1e-8) for solver in (*SOLVERS, solve)]
    for solution in solutions:
        assert solution.status is Status.CONVERGED
        assert solution.certificate.gap <= 1e-8
        np.testing.assert_allclose(solution.value, solutions[0].value, atol=1e-8)
        np.testing.assert_allclose(linear_value(model, solution.policy), solution.value, atol=1e-8)
        assert contains(solution, linear_value(model, solutions[1].policy), 1e-11)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_linear_programming_finds_the_same_value(solver, sparse: bool, seed: int) -> None:
    """v* is the least v with v >= r + gamma P v (Puterman, section 6.9)."""
    model = garnet_mdp(20, 3, 4, seed, gamma=0.9, sparse=sparse)
    bound = np.repeat(np.eye(20), 3, axis=0) - 0.9 * (model.P_rows @ np.eye(20))
    program = linprog(np.ones(20), A_ub=-bound, b_ub=-model.r.ravel(), bounds=(None, None))
    np.testing.assert_allclose(solver(model, 1e-9).value, program.x, atol=1e-7)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(3))
def test_quantecon_and_mdpsolver_find_the_same_value(solver, seed: int) -> None:
    model = garnet_mdp(40, 3, 4, seed, gamma=0.95, rewards="normal", sparse=False)
    solution = solver(model, 1e-9)
    theirs = DiscreteDP(model.r, np.asarray(model.P), model.gamma).solve(method="policy_iteration")
    np.testing.assert_allclose(solution.value, theirs.v, atol=1e-9)
    np.testing.assert_array_equal(solution.policy, theirs.sigma)
    other = mdpsolver.model()
    other.mdp(discount=model.gamma, rewards=model.r.tolist(), tranMatWithZeros=np.asarray(model.P).tolist())
    other.solve(algorithm="pi", tolerance=1e-11, parallel=False)
    np.testing.assert_allclose(solution.value, other.getValueVector(), atol=1e-8)


@pytest.mark.parametrize("solver", [*SOLVERS, solve])
def test_a_planted_optimum_is_found_where_sweeps_are_compiled(solver) -> None:
    planted = planted_mdp(10_000, 4, 5, 0, gamma=0.99, n_optimal=2)
    assert planted.model.P.nnz > 100_000
    solution = solver(planted.model, 1e-8)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, planted.value, atol=1e-8)
    best = planted.advantage[np.arange(10_000), solution.policy]
    np.testing.assert_array_equal(best, 0.0)


# ---------------------------------------------------------------------------------------------- evaluation


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([0.0, 0.9, 0.9999, 1.0]), st.booleans(), st.booleans())
def test_policies_have_the_value_that_linear_algebra_gives_them(
    seed: int, gamma: float, sparse: bool, mixed: bool
) -> None:
    rng = np.random.default_rng(seed)
    model = garnet_mdp(8, 3, 3, rng, gamma=0.9, rewards="normal", sparse=False)
    model = with_end(model, gamma) if gamma == 1.0 or seed % 2 else TabularMDP(model.P, model.r, gamma, model.rho)
    model = as_sparse(model) if sparse else model
    weights = rng.dirichlet(np.ones(3), size=model.n_states)
    policy = weights if mixed else weights.argmax(axis=1)
    evaluated = evaluate_policy(model, policy)
    expected = linear_value(model, policy)
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose(evaluated.value, expected, atol=1e-10 * scale)
    assert contains(evaluated, expected, 1e-10 * scale)
    assert evaluated.certificate.gap <= 1e-7 * scale
    np.testing.assert_array_equal(evaluated.policy, policy)


def test_a_policy_of_a_large_sparse_model_is_evaluated_to_the_last_digits() -> None:
    model = garnet_mdp(20_000, 2, 4, 0, gamma=0.999)
    policy = np.random.default_rng(0).integers(0, 2, 20_000)
    evaluated = evaluate_policy(model, policy)
    assert evaluated.status is Status.CONVERGED
    P, r = model.P[np.arange(20_000) * 2 + policy], model.r[np.arange(20_000), policy]
    assert np.abs(r + 0.999 * (P @ evaluated.value) - evaluated.value).max() <= 1e-9


def staged_mdp(seed: int, *, horizon: int = 3, n_states: int = 2, n_actions: int = 2) -> FiniteHorizonMDP:
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(n_states), size=(horizon, n_states, n_actions))
    r = rng.normal(size=(horizon, n_states, n_actions))
    return FiniteHorizonMDP(P, r, horizon, np.full(n_states, 1 / n_states))


def unrolled_value(model: FiniteHorizonMDP, policy: Array) -> Array:
    """v^pi (H + 1, S) of action probabilities (H, S, A), from the linear system over all stages at once."""
    last = np.full((1, model.n_states, model.n_actions), 1 / model.n_actions)
    weights = np.concatenate([policy, last]).reshape(-1, model.n_actions)
    return linear_value(model.to_tabular(), weights).reshape(model.horizon + 1, -1)


@settings(max_examples=25)
@given(SEEDS)
def test_staged_policies_have_the_value_of_the_unrolled_system(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = staged_mdp(seed, horizon=4, n_states=3, n_actions=3)
    mixed, actions = rng.dirichlet(np.ones(3), size=(4, 3)), rng.integers(0, 3, (4, 3))
    one_hot = np.eye(3)
    for policy, weights in (
        (mixed, mixed),
        (actions, one_hot[actions]),
        (mixed[0], np.stack([mixed[0]] * 4)),
        (actions[0], np.stack([one_hot[actions[0]]] * 4)),
    ):
        evaluated, expected = evaluate_policy(model, policy), unrolled_value(model, weights)
        np.testing.assert_allclose(evaluated.value, expected, atol=1e-12)
        assert contains(evaluated, expected, 1e-13)
        assert evaluated.certificate.gap <= 1e-12


def test_policies_that_go_on_for_ever_are_worth_what_they_collect() -> None:
    """From 0 one may end at once, wander at no cost, pay for ever, gain for ever, or do both in turn."""
    next_states = [[5, 1, 2, 3, 4], [1] * 5, [2] * 5, [3] * 5, [3, 2, 4, 4, 4], [5] * 5]
    r = np.zeros((6, 5))
    r[0], r[2], r[3], r[4] = -2.0, -1.0, 3.0, [0, 0, 1, -1, 0]
    model = moves(next_states, r.tolist())
    value = [evaluate_policy(model, np.array([a, 0, 0, 0, 0, 0])).value[0] for a in range(5)]
    np.testing.assert_array_equal(value, [-2, -2, -np.inf, np.inf, np.inf])
    both = np.zeros((6, 5))
    both[:, 0], both[4] = 1.0, [0, 0, 0.5, 0.5, 0]
    undetermined = evaluate_policy(model, both)
    assert np.isnan(undetermined.value[4])
    assert undetermined.certificate.lower[4] == -np.inf
    assert undetermined.certificate.upper[4] == np.inf
    assert undetermined.status is Status.NOT_CERTIFIED
    np.testing.assert_array_equal(undetermined.value[[0, 1, 2, 3, 5]], [-2, 0, -np.inf, np.inf, 0])


# ---------------------------------------------------------------------------------------------- finite horizon


def return_of(model: FiniteHorizonMDP, policy: Actions, s: int, h: int) -> float:
    """Expected return from state s at stage h, over every path."""
    if h == model.horizon:
        return 0.0
    P, r = model.stage(h)
    a = policy[h, s]
    law = np.asarray(P).reshape(*r.shape, -1)[s, a]
    return float(r[s, a]) + sum(p * return_of(model, policy, t, h + 1) for t, p in enumerate(law) if p > 0)


@pytest.mark.parametrize("seed", range(2))
def test_backward_induction_is_best_among_all_policies(seed: int) -> None:
    model = staged_mdp(seed)
    solution = backward_induction(model)
    returns = np.array(
        [
            [[return_of(model, np.reshape(choice, (3, 2)), s, h) for s in range(2)] for h in range(4)]
            for choice in product(range(2), repeat=6)
        ]
    )
    np.testing.assert_allclose(solution.value, returns.max(axis=0), atol=1e-13)
    attained = [[return_of(model, solution.policy, s, h) for s in range(2)] for h in range(4)]
    np.testing.assert_allclose(attained, solution.value, atol=1e-13)
    assert solution.status is Status.CONVERGED


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=15)
@given(seed=SEEDS, horizon=st.integers(1, 6))
def test_backward_induction_agrees_with_the_unrolled_model(solver, seed: int, horizon: int) -> None:
    model = staged_mdp(seed, horizon=horizon, n_states=4, n_actions=3)
    staged, unrolled = backward_induction(model), solver(model.to_tabular(), 1e-9)
    np.testing.assert_allclose(unrolled.value.reshape(horizon + 1, 4), staged.value, atol=1e-9)
    assert unrolled.status is Status.CONVERGED
    assert (staged.value.shape, staged.policy.shape) == ((horizon + 1, 4), (horizon, 4))
    assert not staged.value[-1].any()


def test_every_layout_of_a_finite_horizon_model_has_one_answer() -> None:
    law = garnet_mdp(5, 3, 3, 0, sparse=False)
    P, r = np.asarray(law.P), law.r
    rows = sp.csr_array(np.asarray(law.P_rows))
    layouts = [
        (P, r),
        (np.stack([P] * 4), r),
        (P, np.stack([r] * 4)),
        (rows, r),
        (sp.csr_array(sp.vstack([rows] * 4)), np.stack([r] * 4)),
    ]
    answers = [backward_induction(FiniteHorizonMDP(law, paid, 4, np.full(5, 0.2))) for law, paid in layouts]
    for answer in answers:
        np.testing.assert_allclose(answer.value, answers[0].value, atol=1e-14)
        np.testing.assert_array_equal(answer.policy, answers[0].policy)
    v = np.zeros(5)
    for h in (3, 2, 1, 0):
        v = (r + np.einsum("sat,t->sa", P, v)).max(axis=1)
        np.testing.assert_allclose(answers[0].value[h], v, atol=1e-14)


# ---------------------------------------------------------------------------------------------- gamma = 1


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=20)
@given(seed=SEEDS, chance=st.sampled_from([0.01, 0.3]))
def test_where_every_policy_terminates_the_total_reward_is_certified(solver, seed: int, chance: float) -> None:
    model = with_end(garnet_mdp(10, 3, 3, seed, rewards="normal", sparse=False), 1.0, chance)
    solution = solver(model, 1e-8)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-8
    np.testing.assert_allclose(linear_value(model, solution.policy), solution.value, atol=1e-8)
    program = linprog(
        np.ones(10),
        A_ub=np.asarray(model.P)[:10, :, :10].reshape(30, 10) - np.repeat(np.eye(10), 3, axis=0),
        b_ub=-model.r[:10].ravel(),
        bounds=(None, None),
    )
    np.testing.assert_allclose(solution.value[:10], program.x, atol=1e-6)


UNDISCOUNTED: dict[str, Callable[[], TabularMDP]] = {
    "gambler": gamblers_problem,
    "gridworld": small_gridworld,
    "frozen lake": lambda: from_gymnasium(gym.make("FrozenLake-v1"), gamma=1.0),
    "large frozen lake": lambda: from_gymnasium(gym.make("FrozenLake-v1", map_name="8x8"), gamma=1.0),
    "cliff": lambda: from_gymnasium(gym.make("CliffWalking-v1"), gamma=1.0),
    "taxi": lambda: from_gymnasium(gym.make("Taxi-v4"), gamma=1.0),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", UNDISCOUNTED)
def test_without_discount_the_answer_is_certified_and_attained_by_its_policy(solver, name: str) -> None:
    """So the policy does not wander for ever, even where that costs nothing, as on the frozen lake."""
    model = UNDISCOUNTED[name]()
    solution = solver(model, 1e-8)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-8
    attained = evaluate_policy(model, solution.policy)
    np.testing.assert_allclose(attained.value, solution.value, atol=1e-8)
    assert not solution.value[model.terminal].any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_on_the_large_frozen_lake_the_goal_is_reached_for_certain(solver) -> None:
    """Sutton's and others' exercise: along the edges of the 8x8 map no slip leads into a hole."""
    solution = solver(UNDISCOUNTED["large frozen lake"](), 1e-9)
    assert solution.value[0] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_cliff_costs_thirteen_steps(solver) -> None:
    """Sutton, Barto 2018, Example 6.6: the best path from the start has 13 steps of -1."""
    assert solver(UNDISCOUNTED["cliff"](), 1e-9).value[36] == pytest.approx(-13.0, abs=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_costly_cycle_is_certified_though_some_policies_never_end(solver) -> None:
    """0 -> 1 pays 1, 1 -> 0 costs 2: each round loses 1. Ending costs 0 from state 0 and 5 from state 1."""
    solution = solver(moves([[1, 2], [0, 2], [2, 2]], [[1.0, 0.0], [-2.0, -5.0], [0.0, 0.0]]), 1e-9)
    assert solution.status is Status.CONVERGED
    np.testing.assert_array_equal(solution.value, [0.0, -2.0, 0.0])
    np.testing.assert_array_equal(solution.policy[:2], [1, 0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_cycle_that_pays_as_much_as_it_costs_is_not_certified_from_above(solver) -> None:
    """0 -> 1 pays 1, 1 -> 0 costs 1, ending is free: v* = (1, 0), yet v* + c solves v = T v for every c >= 0."""
    solution = solver(moves([[1, 2], [0, 2], [2, 2]], [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]), 1e-9)
    assert solution.status is Status.NOT_CERTIFIED
    assert "gamma < 1" in str(solution.status)
    np.testing.assert_allclose(solution.value, [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(solution.certificate.lower, [1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(solution.certificate.upper, [np.inf, np.inf, 0.0])
    assert solution.certificate.gap == np.inf


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_policy_is_not_given_up_for_an_equal_action_that_never_ends(solver) -> None:
    """The same cycle; while state 2 improves, going on is as good as ending in state 1, and would close the cycle."""
    r = [[1.0, 0.0], [-1.0, 0.0], [-0.5, 0.0], [0.0, 0.0]]
    solution = solver(moves([[1, 3], [0, 3], [0, 3], [3, 3]], r), 1e-9)
    np.testing.assert_allclose(solution.value, [1.0, 0.0, 0.5, 0.0], atol=1e-12)
    np.testing.assert_array_equal(solution.policy[:3], [0, 1, 0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_cycle_that_gains_for_ever_is_refused(solver) -> None:
    model = moves([[1, 2], [0, 2], [2, 2]], [[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    message = r"model has gamma = 1 and an unbounded total reward: around state [01] a policy collects.*gamma < 1"
    with pytest.raises(ValueError, match=message):
        solver(model, 1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_state_from_which_no_policy_ends_is_refused(solver) -> None:
    model = moves([[3, 3], [2, 2], [1, 1], [3, 3]], [[0.0, 0.0], [1.0, 1.0], [-2.0, -2.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"gamma = 1, but no policy terminates from state 1; name the terminal"):
        solver(model)


@pytest.mark.parametrize("solver", SOLVERS)
def test_wandering_at_no_cost_beats_a_loss_and_is_left_for_a_gain(solver) -> None:
    """States 0 and 1 form a free cycle; the way out of 0 costs 3, that of 1 pays ``gain``."""
    for gain, value in ((-1.0, 0.0), (2.0, 2.0)):
        model = moves([[1, 2], [0, 2], [2, 2]], [[0.0, -3.0], [0.0, gain], [0.0, 0.0]])
        solution = solver(model, 1e-9)
        assert solution.status is Status.CONVERGED
        np.testing.assert_allclose(solution.value, [value, value, 0.0], atol=1e-12)
        np.testing.assert_allclose(evaluate_policy(model, solution.policy).value, solution.value, atol=1e-12)


def mostly_free_mdp(seed: int) -> TabularMDP:
    """Five states, two actions and an end. Half the actions pay nothing and lead to one or two of the five; the others
    pay or cost, and end with probability 1/2, so that no policy is paid for ever."""
    rng = np.random.default_rng(seed)
    P, r = np.zeros((6, 2, 6)), np.zeros((6, 2))
    P[5, :, 5] = 1.0
    for s, a in np.ndindex(5, 2):
        for s_next in rng.integers(0, 5, 2):
            P[s, a, s_next] += 0.5
        if rng.random() < 0.5:
            P[s, a], r[s, a] = 0.5 * P[s, a] + 0.5 * np.eye(6)[5], rng.integers(-4, 5)
    return TabularMDP(P, r, 1.0, np.full(6, 1 / 6), np.arange(6) == 5)


def collected(model: TabularMDP, policy: Actions) -> Array:
    """The total reward of 2^20 steps, by doubling."""
    at = np.arange(model.n_states)
    P, v = np.asarray(model.P)[at, policy], model.r[at, policy]
    for _ in range(20):
        P, v = P @ P, v + P @ v
    return v


@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=60)
@given(seed=SEEDS)
@example(seed=2816)
@example(seed=7977)
def test_among_free_actions_the_best_of_all_policies_is_found(solver, seed: int) -> None:
    model = mostly_free_mdp(seed)
    returns = np.array([collected(model, np.array([*choice, 0])) for choice in product(range(2), repeat=5)])
    solution = solver(model, 1e-9)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, returns.max(axis=0), atol=1e-8)
    np.testing.assert_allclose(collected(model, solution.policy), solution.value, atol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(4))
def test_without_discount_outcomes_named_several_times_change_nothing(solver, seed: int) -> None:
    model = mostly_free_mdp(seed)
    P = sp.csr_array(np.asarray(model.P_rows))
    P = sp.csr_array((np.repeat(P.data / 4, 4), np.repeat(P.indices, 4), 4 * P.indptr), shape=P.shape)
    doubled = TabularMDP(P, model.r, 1.0, model.rho, model.terminal)
    solution = solver(doubled, 1e-9)
    np.testing.assert_allclose(solution.value, solver(model, 1e-9).value, atol=1e-9)
    for choice in product(range(2), repeat=5):
        policy = np.array([*choice, 0])
        np.testing.assert_allclose(evaluate_policy(doubled, policy).value, collected(model, policy), atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_model_that_never_pays_and_never_ends_is_worth_nothing(solver) -> None:
    model = TabularMDP(np.full((3, 2, 3), 1 / 3), np.zeros((3, 2)), 1.0, np.full(3, 1 / 3))
    solution = solver(model)
    assert solution.status is Status.CONVERGED
    np.testing.assert_array_equal(solution.value, 0.0)


# ---------------------------------------------------------------------------------------------- statuses


def interrupt_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, calls: int) -> None:
    plain, count = getattr(owner, name), iter(range(calls))

    def interrupted(*arguments: object) -> object:
        if next(count, None) is None:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("calls", [0, 1, 5])
@pytest.mark.parametrize("gamma", [0.99, 1.0])
def test_interrupted_value_iteration_returns_true_bounds(
    monkeypatch: pytest.MonkeyPatch, calls: int, gamma: float
) -> None:
    model = with_end(garnet_mdp(30, 3, 4, 0, sparse=False), gamma, 0.01)
    best = policy_iteration(model, 1e-9).value
    interrupt_after(monkeypatch, dynamic_programming, "backup", calls)
    solution = value_iteration(model, 1e-9)
    assert (solution.status, solution.iterations) == (Status.INTERRUPTED, calls)
    assert len(solution.history) == calls
    assert 1e-9 < solution.certificate.gap < np.inf
    assert contains(solution, best, 1e-9)


@pytest.mark.parametrize("calls", [0, 1])
def test_interrupted_policy_iteration_returns_true_bounds(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    model = garnet_mdp(60, 6, 4, 0, gamma=0.99, sparse=False)
    best = policy_iteration(model, 1e-9)
    assert best.iterations > 2
    interrupt_after(monkeypatch, howard, "solve_chain", calls)
    solution = policy_iteration(model, 1e-9)
    assert (solution.status, solution.iterations) == (Status.INTERRUPTED, calls)
    assert 1e-9 < solution.certificate.gap < np.inf
    assert contains(solution, best.value, 1e-9)


@pytest.mark.parametrize(("solver", "limit"), [(value_iteration, 1), (value_iteration, 4), (policy_iteration, 1)])
def test_the_iteration_limit_is_told_and_the_bounds_are_true(solver, limit: int) -> None:
    model = garnet_mdp(60, 6, 4, 0, gamma=0.99, sparse=False)
    best = policy_iteration(model, 1e-9).value
    solution = solver(model, 1e-9, max_iterations=limit)
    assert (solution.status, solution.iterations) == (Status.ITERATION_LIMIT, limit)
    assert "raise max_iterations" in str(solution.status)
    assert 1e-9 < solution.certificate.gap < np.inf
    assert contains(solution, best, 1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gamma", [0.5, 0.999, 1.0])
def test_an_unreachable_tolerance_ends_where_rounding_does(solver, gamma: float) -> None:
    model = garnet_mdp(30, 3, 4, 0, gamma=gamma, sparse=False)
    model = with_end(model, 1.0) if gamma == 1.0 else model
    solution = solver(model, 1e-18)
    assert solution.status is Status.PRECISION_LIMIT
    assert "larger tol" in str(solution.status)
    assert 1e-18 < solution.certificate.gap <= 1e-6
    assert solution.iterations < 1000


@pytest.mark.parametrize("solver", SOLVERS)
def test_history_ends_below_the_tolerance_and_counts_the_iterations(solver) -> None:
    solution = solver(garnet_mdp(50, 3, 4, 0, gamma=0.95), 1e-6)
    assert len(solution.history) == solution.iterations
    assert solution.history[-1] <= 1e-6 < solution.history[0]


def test_value_iteration_from_the_value_ends_at_once() -> None:
    model = garnet_mdp(50, 3, 4, 0, gamma=0.95)
    best = value_iteration(model, 1e-10)
    again = value_iteration(model, 1e-6, start=best.value)
    assert (again.status, again.iterations) == (Status.CONVERGED, 1)
    far = value_iteration(model, 1e-6, start=np.random.default_rng(0).normal(size=50) * 1e6)
    np.testing.assert_allclose(far.value, best.value, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.95, 1.0])
def test_policy_iteration_from_the_optimum_ends_at_once(gamma: float) -> None:
    model = with_end(garnet_mdp(50, 3, 4, 0, sparse=False), gamma)
    best = policy_iteration(model, 1e-9)
    again = policy_iteration(model, 1e-9, start=best.policy)
    assert (again.status, again.iterations) == (Status.CONVERGED, 1)
    np.testing.assert_array_equal(again.policy, best.policy)


def test_the_span_stops_far_sooner_than_the_contraction() -> None:
    """MacQueen 1966: at gamma = 0.9999 a garnet's span, not gamma^n, sets the pace."""
    solution = value_iteration(garnet_mdp(200, 4, 5, 0, gamma=0.9999), 1e-4)
    assert solution.status is Status.CONVERGED
    assert solution.iterations < 200


@given(seed=SEEDS, gamma=st.sampled_from([0.0, 0.7, 0.99]), sweeps=st.sampled_from([0, 1, 7, 100]), ends=st.booleans())
@settings(max_examples=30)
def test_sweeps_of_the_policy_between_change_the_pace_and_not_the_answer(
    seed: int, gamma: float, sweeps: int, ends: bool
) -> None:
    model = garnet_mdp(12, 3, 3, seed, gamma=gamma, rewards="normal")
    model = with_end(model, gamma) if ends else model
    start = np.where(model.terminal, 0.0, np.random.default_rng(seed).normal(0.0, 100.0, model.n_states))
    solution = value_iteration(model, 1e-9, evaluation_sweeps=sweeps, start=start)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, policy_iteration(model, 1e-9).value, atol=2e-9)


@pytest.mark.parametrize("sweeps", [-1, 1.5])
def test_a_bad_number_of_evaluation_sweeps_is_named(sweeps: float) -> None:
    with pytest.raises(ValueError, match="evaluation_sweeps is"):
        value_iteration(chain(), evaluation_sweeps=sweeps)


@pytest.mark.parametrize("sweeps", [0, 10, 40])
def test_a_gap_that_stands_still_for_long_is_not_taken_for_the_limit_of_precision(sweeps: int) -> None:
    """Two rewards at the ends of a corridor: for hundreds of sweeps the bounds do not move while the news travels."""
    n, at = 3000, np.arange(3000)
    columns = np.stack([np.minimum(at + 1, n - 1), at, np.maximum(at - 1, 0), at], axis=1).ravel()
    P = sp.csr_array((np.tile([0.9, 0.1], 2 * n), columns, np.arange(0, 4 * n + 1, 2)), shape=(2 * n, n))
    r = np.zeros((n, 2))
    r[0], r[-1] = 0.001, 1.0
    model = TabularMDP(P, r, 0.999, np.full(n, 1 / n))
    solution = value_iteration(model, 1e-6, evaluation_sweeps=sweeps)
    assert solution.status is Status.CONVERGED


# ---------------------------------------------------------------------------------------------- corner cases


@pytest.mark.parametrize("solver", [*SOLVERS, solve])
def test_one_state(solver) -> None:
    model = TabularMDP(np.ones((1, 2, 1)), np.array([[1.0, 3.0]]), 0.9, np.ones(1))
    solution = solver(model)
    np.testing.assert_allclose(solution.value, [30.0])
    assert (solution.policy[0], solution.status) == (1, Status.CONVERGED)


@pytest.mark.parametrize("solver", [*SOLVERS, solve])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_nothing_but_terminal_states(solver, gamma: float) -> None:
    model = TabularMDP(np.eye(3)[:, None], np.zeros((3, 1)), gamma, np.full(3, 1 / 3), np.ones(3, dtype=bool))
    solution = solver(model)
    np.testing.assert_array_equal(solution.value, 0.0)
    assert (solution.status, solution.certificate.gap) == (Status.CONVERGED, 0.0)
    np.testing.assert_array_equal(evaluate_policy(model, np.zeros(3, dtype=int)).value, 0.0)


@pytest.mark.parametrize("solver", [*SOLVERS, solve])
def test_without_a_future_the_best_reward_is_taken(solver) -> None:
    model = garnet_mdp(20, 4, 3, 0, gamma=0.0)
    solution = solver(model)
    np.testing.assert_array_equal(solution.value, model.r.max(axis=1))
    np.testing.assert_array_equal(solution.policy, model.r.argmax(axis=1))
    assert solution.status is Status.CONVERGED


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_states_that_nothing_reaches_change_nothing_and_are_solved(solver, gamma: float) -> None:
    model = with_end(garnet_mdp(6, 3, 3, 0, sparse=False), gamma)
    P, r = np.zeros((8, 3, 8)), np.zeros((8, 3))
    P[:7, :, :7], r[:7] = np.asarray(model.P), model.r
    P[7, 0, 2] = P[7, 1, 3] = P[7, 2, 6] = 1.0
    wider = TabularMDP(P, r, gamma, np.eye(1, 8)[0], np.append(model.terminal, False))
    value, expected = solver(wider, 1e-9).value, solver(model, 1e-9).value
    np.testing.assert_allclose(value[:7], expected, atol=2e-9)
    assert value[7] == pytest.approx(gamma * max(expected[2], expected[3], 0.0), abs=2e-9)


def test_the_model_is_left_as_it_was() -> None:
    model = garnet_mdp(20, 3, 4, 0, sparse=True)
    data, r = model.P.data.copy(), model.r.copy()
    for solver in (*SOLVERS, solve):
        solver(model)
    np.testing.assert_array_equal(model.P.data, data)
    np.testing.assert_array_equal(model.r, r)


@pytest.mark.parametrize("place", [0, 5000, 9999])
def test_a_slowly_mixing_chain_of_ten_thousand_states_is_solved(place: int) -> None:
    """A biased walk at gamma = 0.9999, paid in one place: sweeps alone would need a hundred thousand rounds."""
    n, at = 10_000, np.arange(10_000)
    right, left = np.minimum(at + 1, n - 1), np.maximum(at - 1, 0)
    columns = np.stack([right, left, right, left], axis=1).ravel()
    data = np.tile([0.55, 0.45, 0.45, 0.55], n)
    P = sp.csr_array((data, columns, np.arange(0, 4 * n + 1, 2)), shape=(2 * n, n))
    model = TabularMDP(P, np.repeat(at == place, 2).reshape(n, 2), 0.9999, np.full(n, 1 / n))
    solution = solve(model, 1e-6)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-6
    np.testing.assert_array_equal(solution.policy[:place], 0)
    np.testing.assert_array_equal(solution.policy[place + 1 :], 1)


@pytest.mark.parametrize("model", [chain(), river_swim(), river_swim(30, gamma=0.99)], ids=["chain", "river", "long"])
def test_solve_is_greedy_in_what_it_returns(model: TabularMDP) -> None:
    solution = solve(model, 1e-9)
    assert solution.status is Status.CONVERGED
    np.testing.assert_array_equal(greedy_policy(model, solution.value), solution.policy)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tol": 0.0}, "tol is 0.0; pass a positive number"),
        ({"tol": -1e-8}, "tol is -1e-08"),
        ({"tol": np.nan}, "tol is nan"),
        ({"tol": np.inf}, "tol is inf"),
        ({"max_iterations": 0}, "max_iterations is 0; it must be at least 1"),
        ({"max_iterations": 2.5}, "max_iterations is 2.5; pass an integer"),
        ({"max_iterations": True}, "max_iterations is True; pass an integer"),
    ],
)
def test_bad_arguments_are_named(solver, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver(small_gridworld(), **arguments)


@pytest.mark.parametrize(
    ("solver", "start", "message"),
    [
        (value_iteration, np.zeros(3), r"start has shape \(3,\); expected \(16,\)"),
        (value_iteration, np.full(16, np.nan), r"start\[0\] is nan; every entry must be finite"),
        (value_iteration, np.arange(16.0), r"start\[15\] is 15.0, but the state is terminal; its value is 0"),
        (policy_iteration, np.zeros(3, dtype=int), r"start has shape \(3,\); expected one action for each state"),
        (policy_iteration, np.arange(16), r"start\[4\] is 4; actions are 0..3"),
        (policy_iteration, np.full((16, 4), 0.25), r"start has shape \(16, 4\); policy iteration starts from one"),
        (policy_iteration, np.zeros(16, dtype=int), r"start never terminates from state 1.*leave start out"),
    ],
)
def test_bad_starts_are_named(solver, start: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver(small_gridworld(), start=start)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.zeros(5, dtype=int), r"policy has shape \(5,\); expected one action for each state, \(16,\)"),
        (np.full(16, 4), r"policy\[0\] is 4; actions are 0..3"),
        (np.full(16, -1), r"policy\[0\] is -1; actions are 0..3"),
        (np.full((16, 4), 0.2), r"policy\[0\] sums to 0.8, not 1; normalise that row"),
        (np.tile([1.5, -0.5, 0, 0], (16, 1)), r"policy\[0, 1\] is -0.5; probabilities must be >= 0"),
        (np.full((16, 4), np.nan), r"policy\[0, 0\] is nan"),
        (np.zeros(16), r"policy has dtype float and shape \(16,\); expected action probabilities"),
        (np.full(16, "up"), "policy has dtype <U2; pass integer actions"),
    ],
)
def test_bad_policies_are_named(policy: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_policy(small_gridworld(), policy)


def test_bad_staged_policies_are_named() -> None:
    model = staged_mdp(0)
    wrong = np.zeros((3, 2), dtype=int)
    wrong[1, 0] = 2
    for policy, message in (
        (wrong, r"policy\[1, 0\] is 2; actions are 0..1"),
        (np.zeros((2, 2), dtype=int), r"policy has shape \(2, 2\); expected \(3, 2\), one rule for each stage"),
        (np.full((3, 2, 2), 0.25), r"policy\[0, 0\] sums to 0.5, not 1"),
        (np.zeros((3, 2, 2)), r"policy\[0, 0\] sums to 0, not 1"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_policy(model, policy)


def test_only_models_are_solved() -> None:
    with pytest.raises(TypeError, match="model is a str; pass one of the models"):
        solve("FrozenLake-v1")
