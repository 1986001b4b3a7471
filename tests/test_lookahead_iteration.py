"""Lookahead iteration: what each schedule of evaluations guarantees, where it ends, and what its status says."""

from importlib import import_module
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookahead_rl.models import FiniteHorizonMDP, ModelError, TabularMDP
from lookahead_rl.models.generators import garnet_mdp
from lookahead_rl.solvers import (
    LookaheadRound,
    LookaheadScheme,
    Status,
    backward_induction,
    evaluate_policy,
    lookahead_iteration,
    lookahead_policy,
    lookahead_rounds,
    policy_iteration,
    q_values,
)
from lookahead_rl.solvers.lookahead import approximation_loss

Array = NDArray[np.float64]

SEEDS = st.integers(0, 2**31)
RULES = st.sampled_from(["samples", "order"])
ROUNDING = 1e-11


def two_choices() -> TabularMDP:
    """s0: a leads to s1 for nothing, b ends with 1.  s1: good ends with 3, bad with 0.  s2 is the end."""
    next_states, r = [[1, 2], [2, 2], [2, 2]], np.array([[0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    return TabularMDP(np.eye(3)[next_states], r, 1.0, np.eye(3)[0], np.arange(3) == 2)


def first_policy(a: float, good: float) -> Array:
    return np.array([[a, 1 - a], [good, 1 - good], [0.5, 0.5]])


def garnet(seed: int, gamma: float = 0.9) -> TabularMDP:
    return garnet_mdp(8, 4, 3, seed, gamma=gamma, rewards="normal", sparse=False)


def random_policy(model: TabularMDP, rng: np.random.Generator) -> Array:
    return rng.dirichlet(np.ones(model.n_actions), model.n_states)


def rounds(model: TabularMDP, scheme: LookaheadScheme, n: int, pi0: Array | None = None) -> list[LookaheadRound]:
    return list(islice(lookahead_rounds(model, scheme, pi0), n))


def value_of(model: TabularMDP, pi: Array) -> Array:
    return evaluate_policy(model, pi).value


# ------------------------------------------------------------------------------------------------ the optimum


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([2.0, 4.0, 8.5]), RULES)
def test_evaluating_every_round_ends_at_the_optimum_of_policy_iteration(seed: int, K: float, ties) -> None:
    """Weights eps that decrease to 0 keep the way back short for actions that look bad at first."""
    model = garnet(seed)
    optimum = policy_iteration(model)
    scheme = LookaheadScheme(K=K, ties=ties, eps=[0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 0.0])
    solution = lookahead_iteration(model, scheme)
    assert solution.status is Status.CONVERGED
    assert solution.certificate.gap <= 1e-8
    np.testing.assert_allclose(solution.value, optimum.value, atol=1e-8)
    assert (solution.certificate.lower <= optimum.value).all()
    assert (optimum.value <= solution.certificate.upper + 1e-11).all()
    np.testing.assert_allclose(value_of(model, solution.policy), solution.value, atol=1e-10)
    assert len(solution.history) == solution.iterations
    assert solution.history[-1] == pytest.approx(model.rho @ solution.value)


@pytest.mark.parametrize("seed", [0, 1, 3, 5])
def test_no_mixture_is_needed_where_nothing_good_looks_bad_for_long(seed: int) -> None:
    model = garnet_mdp(30, 5, 3, seed, gamma=0.95, rewards="normal")
    solution = lookahead_iteration(model, LookaheadScheme(K=2), max_iterations=100)
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, policy_iteration(model).value, atol=1e-8)


def test_a_finite_horizon_is_solved_through_its_tabular_form() -> None:
    model = garnet(7)
    staged = FiniteHorizonMDP(model.P, model.r, 4, model.rho)
    solution = lookahead_iteration(staged.to_tabular(), LookaheadScheme(K=8))
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, backward_induction(staged).value.ravel(), atol=1e-8)


# ------------------------------------------------------------------------------------------------ two choices


def frozen_value(n: int) -> float:
    """v(s0) of two_choices after n rounds with the first action values, K = 2: F(a) = .9, F-(good) = .7."""
    a, good = 0.9 ** (2**n), 1 - 0.7 ** (2**n)
    return a * 3 * good + (1 - a)


def test_lookahead_does_not_preserve_the_order_of_action_values() -> None:
    before, after = rounds(two_choices(), LookaheadScheme(K=2), 2, first_policy(0.9, 0.3))
    np.testing.assert_allclose(before.q[0], [0.9, 1.0])
    np.testing.assert_allclose(after.q[0], [1.53, 1.0])


def test_never_evaluating_again_rises_falls_and_ends_at_one_step_of_improvement() -> None:
    model, scheme = two_choices(), LookaheadScheme(K=2, evaluate_every=None)
    solution = lookahead_iteration(model, scheme, first_policy(0.9, 0.3))
    np.testing.assert_allclose(solution.history[:8], [frozen_value(n) for n in range(8)], rtol=1e-13)
    np.testing.assert_allclose(solution.history[:7], [0.91, 1.429, 1.840, 1.787, 1.369, 1.069, 1.002], atol=6e-4)
    assert solution.history[-1] == pytest.approx(1.0, abs=1e-14)  # the greedy policy of q^{pi_0} takes b
    assert solution.status is Status.STATIONARY
    assert solution.value[0] == pytest.approx(max(solution.history))
    assert solution.certificate.gap >= 3.0 - solution.value[0]


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_evaluating_again_now_and_then_reaches_the_optimum(every: int) -> None:
    scheme = LookaheadScheme(K=2, evaluate_every=every)
    solution = lookahead_iteration(two_choices(), scheme, first_policy(0.9, 0.3))
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, [3.0, 3.0, 0.0], atol=1e-8)
    if every == 5:
        assert min(solution.history[1:]) == pytest.approx(1.069, abs=5e-4)


def naive_iteration(model: TabularMDP, pi: Array, K: int, n: int) -> Array:
    """The value of s0 in every round when probabilities themselves are raised to powers."""
    values = np.empty(n)
    for t in range(n):
        v = value_of(model, pi)
        values[t], q = v[0], q_values(model, v)
        less = ((q[:, None, :] < q[:, :, None]) * pi[:, None, :]).sum(axis=2)
        same = ((q[:, None, :] == q[:, :, None]) * pi[:, None, :]).sum(axis=2)
        law = ((less + same) ** K - less**K) * np.divide(pi, same, out=np.zeros_like(pi), where=same > 0)
        pi = law / law.sum(axis=1, keepdims=True)
    return values


def test_probabilities_in_float64_get_stuck_where_their_logarithms_do_not() -> None:
    """a looks bad until good is found, when its mass is .4^(4^5); a round gives back a factor of 4 at most."""
    model, pi0 = two_choices(), first_policy(0.4, 1e-3)
    assert 0.4 ** (4**5) == 0.0
    np.testing.assert_allclose(naive_iteration(model, pi0, 4, 60)[10:], 1.0)
    solution = lookahead_iteration(model, LookaheadScheme(K=4), pi0)
    assert solution.status is Status.CONVERGED
    assert solution.value[0] == pytest.approx(3.0)
    assert solution.iterations == pytest.approx(4**5 * np.log(1 / 0.4) / np.log(4), rel=0.03)
    mixed = lookahead_iteration(model, LookaheadScheme(K=4, eps=[0.1] * 9 + [0.0]), pi0)
    assert mixed.status is Status.CONVERGED
    assert mixed.iterations < 20


# ------------------------------------------------------------------------------------------------ what is guaranteed


@settings(max_examples=100)
@given(SEEDS, st.floats(1.0, 9.0), RULES)
def test_every_round_is_worth_at_least_the_one_before_at_the_promised_rate(seed: int, K: float, ties) -> None:
    model = garnet(seed)
    optimum = policy_iteration(model, 1e-11).value
    steps = rounds(model, LookaheadScheme(K=K, ties=ties), 6, random_policy(model, np.random.default_rng(seed)))
    for step, following in pairwise(steps):
        assert (following.value >= step.value - ROUNDING).all()
        best = step.q == step.q.max(axis=1, keepdims=True)
        p = (np.exp(step.log_pi) * best).sum(axis=1).min()
        alpha = -np.expm1((K - 1) * np.log1p(-min(p, 1 - 1e-16)))
        rate = 1 - (1 - model.gamma) * alpha
        assert (optimum - following.value).max() <= rate * (optimum - step.value).max() + ROUNDING


@settings(max_examples=50)
@given(SEEDS, st.sampled_from([2, 3, 5]), st.floats(1.1, 3.0), RULES)
def test_M_rounds_without_evaluation_are_one_round_with_K_to_the_M(seed: int, M: int, K: float, ties) -> None:
    model = garnet(seed)
    slow = rounds(model, LookaheadScheme(K=K, ties=ties, evaluate_every=M), 3 * M + 1)[::M]
    fast = rounds(model, LookaheadScheme(K=K**M, ties=ties), 4)
    for x, y in zip(slow, fast, strict=True):
        np.testing.assert_allclose(np.exp(x.log_pi), np.exp(y.log_pi), atol=1e-10)
    assert all((y.value >= x.value - ROUNDING).all() for x, y in pairwise(slow))


@settings(max_examples=50)
@given(SEEDS, st.floats(1.0, 9.0), RULES)
def test_never_evaluating_again_is_worth_at_least_the_first_policy(seed: int, K: float, ties) -> None:
    model = garnet(seed)
    steps = rounds(model, LookaheadScheme(K=K, ties=ties, evaluate_every=None), 12)
    assert all((step.value >= steps[0].value - ROUNDING).all() for step in steps)
    assert all(step.critic is steps[0].critic for step in steps)
    greedy = np.eye(model.n_actions)[steps[0].q.argmax(axis=1)]
    limit = rounds(model, LookaheadScheme(K=1e9, ties=ties, evaluate_every=None), 3)[-1]
    np.testing.assert_allclose(np.exp(limit.log_pi), greedy, atol=1e-9)
    optimum = policy_iteration(model).value
    assert (optimum - limit.value).max() <= model.gamma * (optimum - steps[0].value).max() + 1e-7


@settings(max_examples=100)
@given(SEEDS, st.floats(1.0, 9.0), RULES)
def test_stale_action_values_guarantee_the_value_of_the_policy_they_belong_to(seed: int, K: float, ties) -> None:
    """From candidates that improve on mu in one step, lookahead keeps improving on mu."""
    model, rng = garnet(seed), np.random.default_rng(seed)
    mu = random_policy(model, rng)
    v = value_of(model, mu)
    q = q_values(model, v)
    other = random_policy(model, rng)
    better = (other * q).sum(axis=1) >= v
    pi = np.where(better[:, None], other, mu)
    for _ in range(3):
        pi = lookahead_policy(pi, q, K, ties)
        assert ((pi * q).sum(axis=1) >= v - ROUNDING).all()
        assert (value_of(model, pi) >= v - ROUNDING).all()


def test_stale_action_values_can_make_the_current_policy_worse() -> None:
    steps = rounds(two_choices(), LookaheadScheme(K=2, evaluate_every=None), 4, first_policy(0.9, 0.3))
    assert steps[3].value[0] < steps[2].value[0]


@settings(max_examples=100)
@given(SEEDS, st.floats(1.0, 9.0), st.integers(1, 4), RULES)
def test_the_maximum_over_past_action_values_improves_on_all_of_them(seed: int, K: float, n: int, ties) -> None:
    """Candidates: in each state the policy that is best there."""
    model, rng = garnet(seed), np.random.default_rng(seed)
    policies = [random_policy(model, rng) for _ in range(n)]
    values = np.array([value_of(model, mu) for mu in policies])
    critic = np.max([q_values(model, v) for v in values], axis=0)
    pi = np.array(policies)[values.argmax(axis=0), np.arange(model.n_states)]
    for law in (lookahead_policy(pi, critic, K, ties), np.eye(model.n_actions)[critic.argmax(axis=1)]):
        assert (value_of(model, law) >= values.max(axis=0) - ROUNDING).all()


@settings(max_examples=50)
@given(SEEDS, st.floats(1.0, 9.0), st.integers(1, 3))
def test_with_the_maximum_no_round_falls_below_the_best_evaluated_one(seed: int, K: float, every: int) -> None:
    model = garnet(seed)
    best = np.full(model.n_states, -np.inf)
    for t, step in enumerate(rounds(model, LookaheadScheme(K=K, evaluate_every=every, maximum=True), 9)):
        assert (step.value >= best - ROUNDING).all()
        best = np.maximum(best, step.value) if t % every == 0 else best


@settings(max_examples=50)
@given(SEEDS, st.floats(1.0, 50.0), st.floats(0.0, 1.0))
def test_estimated_action_values_lose_at_most_the_approximation_bound(seed: int, K: float, eps: float) -> None:
    model, rng = garnet(seed), np.random.default_rng(seed)
    pi = random_policy(model, rng)
    v = value_of(model, pi)
    q = q_values(model, v)
    law = lookahead_policy(pi, q + rng.uniform(-eps, eps, q.shape), K)
    assert (value_of(model, law) >= v - approximation_loss(eps, model.gamma) - ROUNDING).all()


# ------------------------------------------------------------------------------------------------ schedules


def test_the_critic_is_the_one_the_scheme_names() -> None:
    model, pi0 = garnet(3), random_policy(garnet(3), np.random.default_rng(3))
    delayed = rounds(model, LookaheadScheme(K=3, delay=2), 6, pi0)
    for t, step in enumerate(delayed):
        np.testing.assert_array_equal(step.critic, delayed[max(0, t - 2)].q)
        np.testing.assert_allclose(step.q, q_values(model, value_of(model, np.exp(step.log_pi))), atol=1e-12)
    greatest = rounds(model, LookaheadScheme(K=3, delay=1, maximum=True, eps=[0.0, 0.0, 0.9]), 6, pi0)
    for t, step in enumerate(greatest):
        np.testing.assert_array_equal(step.critic, np.max([s.q for s in greatest[: max(1, t)]], axis=0))
    sparse = rounds(model, LookaheadScheme(K=3, evaluate_every=2, delay=1), 7, pi0)
    for t, step in enumerate(sparse):
        np.testing.assert_array_equal(step.critic, sparse[max(0, t // 2 * 2 - 2)].q)


def test_each_policy_is_the_mixture_of_lookahead_and_the_first_one() -> None:
    model, pi0 = garnet(4), random_policy(garnet(4), np.random.default_rng(4))
    scheme = LookaheadScheme(K=[2.0, 5.0, 1.5], eps=[0.3, 0.0, 0.1], ties="order")
    steps = rounds(model, scheme, 6, pi0)
    for t, (step, following) in enumerate(pairwise(steps)):
        K, eps = [2.0, 5.0, 1.5][min(t, 2)], [0.3, 0.0, 0.1][min(t, 2)]
        ahead = lookahead_policy(np.exp(step.log_pi), step.critic, K, "order")
        np.testing.assert_allclose(np.exp(following.log_pi), (1 - eps) * ahead + eps * pi0, atol=1e-13)


def test_terminal_states_and_uniform_starts() -> None:
    first = rounds(two_choices(), LookaheadScheme(), 1)[0]
    np.testing.assert_allclose(np.exp(first.log_pi), 0.5)
    assert first.value[2] == 0.0


# ------------------------------------------------------------------------------------------------ how it ends


def test_a_constant_mixture_ends_stationary_below_the_optimum() -> None:
    model = garnet(1)
    solution = lookahead_iteration(model, LookaheadScheme(K=4, eps=0.05))
    optimum = policy_iteration(model).value
    assert solution.status is Status.STATIONARY
    assert 0 < (optimum - solution.value).max() <= solution.certificate.gap
    assert (solution.policy >= 0.05 / model.n_actions - 1e-12).all()


def test_never_again_converges_where_one_step_of_improvement_is_optimal() -> None:
    """A bandit: what an action leads to does not depend on the policy, so the bounds may say optimal."""
    bandit = TabularMDP(np.ones((1, 5, 1)), np.arange(5.0)[None], 0.5, np.ones(1))
    solution = lookahead_iteration(bandit, LookaheadScheme(K=2, evaluate_every=None))
    assert solution.status is Status.CONVERGED
    np.testing.assert_allclose(solution.value, [8.0], atol=1e-8)


def test_the_iteration_limit_returns_the_best_policy_found() -> None:
    scheme = LookaheadScheme(K=2, evaluate_every=None)
    solution = lookahead_iteration(two_choices(), scheme, first_policy(0.9, 0.3), max_iterations=6)
    assert solution.status is Status.ITERATION_LIMIT
    assert solution.iterations == len(solution.history) == 6
    assert solution.value[0] == pytest.approx(frozen_value(2))
    np.testing.assert_allclose(solution.policy[0, 0], 0.9**4)


def test_one_draw_changes_nothing_and_says_so() -> None:
    solution = lookahead_iteration(garnet(2), LookaheadScheme(K=1))
    assert solution.status is Status.STATIONARY
    assert solution.iterations <= 5


def test_a_schedule_that_starts_with_one_draw_is_not_stationary_before_its_end() -> None:
    scheme = LookaheadScheme(K=[1.0] * 20 + [4.0], eps=0.0)
    assert lookahead_iteration(two_choices(), scheme, first_policy(0.9, 0.3)).status is Status.CONVERGED


def test_a_tolerance_beyond_float64_is_reported_as_such() -> None:
    bandit = TabularMDP(np.ones((1, 3, 1)), np.array([[1.0, 2.0, 1e6 / 3]]), 0.999, np.ones(1))
    solution = lookahead_iteration(bandit, LookaheadScheme(K=8), tol=1e-9)
    assert solution.status is Status.PRECISION_LIMIT
    assert solution.certificate.gap < 1e-8 * solution.value[0]


def test_an_interrupt_keeps_the_best_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("lookahead_rl.solvers.lookahead_iteration")  # in the package, the function has its name
    real, calls = module.best_of_draws, []

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(module, "best_of_draws", interrupted)
    solution = lookahead_iteration(garnet(0), LookaheadScheme(K=2), tol=1e-12)
    assert solution.status is Status.INTERRUPTED
    assert solution.iterations == 3
    np.testing.assert_allclose(value_of(garnet(0), solution.policy), solution.value, atol=1e-10)


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"K": 0.5}, r"K is 0.5; .* pass K >= 1"),
        ({"K": [2.0, 0.0]}, r"K\[1\] is 0.0"),
        ({"K": []}, r"K is empty"),
        ({"K": "2"}, r"K\[0\] is '2'; pass a finite number"),
        ({"eps": 1.5}, r"eps is 1.5; it must lie in \[0, 1\]"),
        ({"eps": [0.1, 1.0]}, r"eps\[1\] is 1, .* pass a number below 1"),
        ({"evaluate_every": 0}, r"evaluate_every is 0"),
        ({"evaluate_every": 1.5}, r"evaluate_every is 1.5; pass an integer"),
        ({"delay": -1}, r"delay is -1"),
        ({"maximum": 1}, r"maximum is 1; pass True or False"),
        ({"ties": "random"}, r"ties is 'random'"),
    ],
)
def test_a_bad_scheme_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LookaheadScheme(**arguments)


@pytest.mark.parametrize(
    ("pi0", "message"),
    [
        ([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]], r"pi0\[0, 1\] is 0, .* give every action some probability"),
        ([[0.5, 0.4], [0.5, 0.5], [0.5, 0.5]], r"pi0\[0\] sums to 0.9, not 1"),
        ([[0.5, 0.5]], r"pi0 has shape \(1, 2\); expected \(S, A\) = \(3, 2\)"),
        ([[np.nan, 0.5], [0.5, 0.5], [0.5, 0.5]], r"pi0\[0, 0\] is nan"),
    ],
)
def test_a_bad_first_policy_is_refused(pi0: list[list[float]], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        lookahead_iteration(two_choices(), LookaheadScheme(), pi0)


def test_a_terminal_state_may_leave_actions_out() -> None:
    pi0 = first_policy(0.9, 0.3)
    pi0[2] = [1.0, 0.0]
    assert lookahead_iteration(two_choices(), LookaheadScheme(), pi0).status is Status.CONVERGED


def test_an_infinite_value_is_named_with_its_round_and_state() -> None:
    endless = TabularMDP(np.ones((1, 2, 1)), np.array([[1.0, 0.0]]), 1.0, np.ones(1))
    with pytest.raises(ModelError, match=r"gamma = 1, but from state 0 the policy of round 0 goes on for ever"):
        lookahead_iteration(endless, LookaheadScheme())


def test_a_policy_that_all_but_stops_ending_is_refused_in_its_round() -> None:
    paid = TabularMDP(np.eye(2)[[[0, 1], [1, 1]]], np.array([[1.0, 0.0], [0.0, 0.0]]), 1.0, np.eye(2)[0], [False, True])
    with pytest.raises(ModelError, match=r"from state 0 the policy of round 6 goes on for ever"):  # 2^-64 to end
        lookahead_iteration(paid, LookaheadScheme(K=2))


@pytest.mark.parametrize(("name", "value"), [("tol", 0.0), ("max_iterations", 0)])
def test_bad_stopping_rules_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        lookahead_iteration(two_choices(), LookaheadScheme(), **{name: value})
