"""Promises of exploration: the papers' algorithms at a cost that does not grow, each policy's exact worth on record."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import AgentError, make_agent
from lookahead_rl.agents.exploration.episodes import draw
from lookahead_rl.agents.exploration.linear import LSVIUCBAgent, theory_bonus
from lookahead_rl.agents.exploration.record import LearningRecord
from lookahead_rl.agents.exploration.ucbvi import UCBVIAgent
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.evaluation.plots import episode_curves
from lookahead_rl.models import (
    FiniteHorizonMDP,
    LinearMDP,
    ModelError,
    hard_linear_mdp,
    random_constrained_linear_mdp,
    random_linear_mdp,
    river_swim,
)
from lookahead_rl.solvers.linear import linear_backward_induction
from lookahead_rl.solvers.linear_learning import (
    REFRESH,
    Channel,
    LinearPlan,
    LinearStatistics,
    LinearTotals,
    Transitions,
    stack,
)
from lookahead_rl.solvers.tabular_learning import Bonus, TabularReturns, TransitionCounts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed
from benchmarks._direct_exploration import DirectLSVIUCB, DirectUCBVI

sys.path.pop(0)

TREASURE = {"reward_range": [-0.01, 1.0]}


def dense(seed: int = 0) -> ModelEnv:
    """A linear MDP with tables, S = 100, A = 3, d = 5, H = 4."""
    return ModelEnv(random_constrained_linear_mdp(100, 3, 5, 4, seed).mdp)


def hashed(n_states: int = 1000, horizon: int = 4, **options: Any) -> Any:
    return gym.make("LinearMDP-v0", n_states=n_states, horizon=horizon, **options)


def river() -> ModelEnv:
    """RiverSwim in episodes of 20 steps, as Osband, Russo and Van Roy play it."""
    m = river_swim(6)
    return ModelEnv(FiniteHorizonMDP(m.P, m.r, 20, m.rho))


def dead_ends(seed: int = 0) -> ModelEnv:
    """Two of six states end the episode; law and rewards depend on the stage."""
    rng = np.random.default_rng(seed)
    P, r = rng.dirichlet(np.full(6, 0.3), (5, 6, 3)), rng.random((5, 6, 3))
    P[:, 4:], r[:, 4:] = 0.0, 0.0
    P[:, 4, :, 4], P[:, 5, :, 5] = 1.0, 1.0
    return ModelEnv(FiniteHorizonMDP(P, r, 5, np.eye(1, 6)[0], np.arange(6) >= 4))


def digest(memory: Any) -> str:
    """One word for all that an agent remembers, to the last bit."""
    if isinstance(memory, np.ndarray):
        return hashlib.sha256(memory.tobytes() + str((memory.shape, memory.dtype)).encode()).hexdigest()
    if isinstance(memory, dict):
        return digest(np.frombuffer("".join(f"{k}{digest(v)}" for k, v in sorted(memory.items())).encode(), np.uint8))
    return json.dumps(memory, sort_keys=True)


def known_states(agent: Any) -> tuple[np.ndarray, np.ndarray]:
    """Stages and features of all states that an agent knows."""
    counts = agent.data.counts
    return np.repeat(np.arange(counts.size), counts), np.concatenate(
        [agent.data.features(h) for h in range(counts.size)]
    )


def finished(agent: Any) -> int:
    """Episodes that have ended."""
    return agent.counts.episodes if isinstance(agent, UCBVIAgent) else agent.data.episodes


def finish_episode(agent: Any) -> None:
    while finished(agent) < agent.episodes:
        agent.learn(1)


# The papers' algorithms, refitted from all data in every episode, are the same to 1e-8


@pytest.mark.parametrize(
    ("make_env", "episodes"),
    [(dense, 60), (hashed, 60), *(pytest.param(env, 600, marks=pytest.mark.slow) for env in (dense, hashed))],
)
def test_lsvi_ucb_is_the_direct_implementation_to_1e_8(make_env: Any, episodes: int):
    env = make_env()
    model = env.unwrapped.model
    agent = LSVIUCBAgent(env, seed=5, scale=0.02)
    direct = DirectLSVIUCB(make_env(), agent.beta, episodes, seed=5)
    for k in range(episodes):
        w, inverse = direct.refit()
        assert isinstance(agent.policy, LinearPlan)
        np.testing.assert_allclose(agent.policy.weights[0], w, atol=1e-8)
        np.testing.assert_allclose(agent.policy.inverse, inverse, atol=1e-8)
        if k % 20 == 0:
            stages, phi = known_states(agent)
            laws, bonuses = agent.policy.laws(stages, phi), agent.policy.bonuses(stages, phi)
            for h in range(model.horizon):
                here = stages == h
                exact = np.einsum("nad,de,nae->na", phi[here], inverse[h], phi[here]) ** 0.5
                np.testing.assert_allclose(bonuses[here], exact, atol=1e-8)
                q = direct.action_values(h, phi[here], w, inverse)
                np.testing.assert_array_equal(laws[here].argmax(axis=1), q.argmax(axis=1))
        fit = direct.episode()
        agent.learn(model.horizon)
        assert agent.record.values[-1] == pytest.approx(fit.value, abs=1e-8)
    optimum = linear_backward_induction(model).certificate
    rho = model.initial_distribution()
    assert rho.weights @ optimum.lower - 1e-9 <= agent.record.optimal_value <= rho.weights @ optimum.upper + 1e-9


@pytest.mark.parametrize("bonus", ["CH", "BF"])
@pytest.mark.parametrize(
    ("make_env", "rewards"),
    [(river, (0.0, 1.0)), (lambda: gym.make("DeepSea-v0"), (-0.01, 1.0)), (dead_ends, (0.0, 1.0))],
)
def test_ucbvi_is_the_direct_implementation_to_1e_8(make_env: Any, rewards: tuple[float, float], bonus: Any):
    agent = UCBVIAgent(make_env(), bonus=bonus, reward_range=rewards, seed=5)
    direct = DirectUCBVI(make_env(), bonus, agent.bonus.log_term, agent.bonus.factor, 60, rewards, seed=5)
    for _ in range(60):
        fit = direct.episode()
        np.testing.assert_allclose(agent.counts.action_values, fit.weights, atol=1e-8)
        finish_episode(agent.learn(1))
        assert agent.record.values[-1] == pytest.approx(fit.value, abs=1e-8)


def written_out(channels: list[Channel], data: list[list[Any]], mix: Any, temperature: float, H: int, d: int) -> Any:
    """The equations of the engine from stored transitions: weights (J, H, d) and inverses (H, d, d)."""
    w, inverse, laws = np.zeros((len(channels), H, d)), np.zeros((H, d, d)), {}

    def values(h: int, phi: Any) -> Any:
        b = np.sqrt(np.einsum("ad,de,ae->a", phi, inverse[h], phi))
        q = []
        for j, c in enumerate(channels):
            low, high = (np.broadcast_to(bound, (H,))[h] for bound in (c.low, c.high))
            paid = 0.0 if c.known is None else phi @ np.broadcast_to(c.known, (H, d))[h]
            q.append(paid + c.outer * b + np.clip(phi @ w[j, h] + c.inner * b, low, high))
        logits = np.array(mix) @ np.array(q)
        law = np.eye(len(logits))[logits.argmax()]
        if temperature > 0:
            law = np.exp((logits - logits.max()) / temperature)
            law /= law.sum()
        spread = -(law[law > 0] * np.log(law[law > 0])).sum()
        laws[h, phi.tobytes()] = law
        return [law @ q[j] + c.entropy * spread for j, c in enumerate(channels)]

    for h in range(H - 1, -1, -1):
        gram = np.eye(d) + sum(np.outer(x, x) for x, _, _ in data[h])
        inverse[h] = np.linalg.inv(gram)
        for j, c in enumerate(channels):
            total = np.zeros(d)
            for x, signals, later in data[h]:
                total += x * (0.0 if c.signal is None else signals[c.signal])
                total += x * (values(h + 1, later)[j] if h + 1 < H else 0.0)
            w[j, h] = inverse[h] @ total
    return w, inverse, values, laws


@pytest.mark.parametrize("temperature", [0.0, 0.05])
def test_any_channels_under_one_policy_follow_the_equations_of_the_engine(temperature: float):
    H, A, d, rng = 3, 4, 3, np.random.default_rng(0)
    phi = rng.dirichlet(np.ones(d), (H, 6, A))
    channels = [
        Channel(0, 0.3, high=np.array([3.0, 2.0, 1.0]), entropy=temperature),
        Channel(1, -0.2, low=0.0, high=2.5, known=rng.random((H, d))),
        Channel(None, 0.1, outer=0.7, low=0.0, high=1.5),
    ]
    mix, stacked = (1.0, -0.6, 0.4), stack(channels, H, d)
    statistics, data = LinearStatistics(H, A, d, n_signals=2), [[] for _ in range(H)]
    for h in range(H):
        for s in range(6):
            statistics.add_state(h, phi[h, s])
    for _ in range(40):
        s, a, signals = rng.integers(0, 6, H), rng.integers(0, A, H), rng.random((H, 2))
        later = np.append(s[1:], -1)
        statistics.add_episode(Transitions(np.arange(H), s, a, later, signals))
        for h in range(H):
            data[h].append((phi[h, s[h], a[h]], signals[h], phi[h + 1, s[h + 1]] if h + 1 < H else None))
    plan = statistics.plan(stacked, mix, temperature)
    w, inverse, values, laws = written_out(channels, data, mix, temperature, H, d)
    np.testing.assert_allclose(plan.weights, w, atol=1e-10)
    np.testing.assert_allclose(plan.inverse, inverse, atol=1e-12)
    for h in range(H):
        stages, expected = np.full(6, h), np.array([values(h, phi[h, s]) for s in range(6)])
        np.testing.assert_allclose(plan.values(stages, phi[h]).T, expected, atol=1e-10)
        np.testing.assert_allclose(plan.laws(stages, phi[h]), [laws[h, x.tobytes()] for x in phi[h]], atol=1e-10)
        np.testing.assert_array_equal(plan.laws(stages, phi[h]), plan.known_laws[h, :6])
        mixed = np.tensordot(mix, plan.action_values(stages, phi[h]), 1)
        np.testing.assert_array_equal(mixed.argmax(axis=1), plan.laws(stages, phi[h]).argmax(axis=1))


# closed forms and cited inequalities


def run_statistics(seed: int, n: int, d: int) -> tuple[LinearStatistics, np.ndarray, list[float]]:
    """n one-step episodes on random unit-ball features, each feature's squared norm in the inverse before it came."""
    rng = np.random.default_rng(seed)
    statistics, channels, squares = LinearStatistics(1, 1, d), stack([Channel(0, 0.0)], 1, d), []
    x = rng.standard_normal((n, d))
    x *= (rng.random((n, 1)) ** 0.3) / np.linalg.norm(x, axis=1, keepdims=True)
    for row in x:
        k = statistics.add_state(0, row[None])
        squares.append(
            float(statistics.plan(channels).bonuses(np.zeros(1, dtype=np.int64), row[None, None])[0, 0] ** 2)
        )
        zero = np.zeros(1, dtype=np.int64)
        statistics.add_episode(Transitions(zero, np.array([k]), zero, zero - 1, np.ones((1, 1))))
    return statistics, x, squares


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 6))
def test_bonuses_add_up_to_the_log_determinant_of_the_gram_matrix(seed: int, n: int, d: int):
    """det Lambda_n = prod (1 + b_k^2), and sum min(1, b_k^2) <= 2 log det Lambda_n <= 2 d log(1 + n / d)
    (Abbasi-Yadkori, Pál, Szepesvári, Improved Algorithms for Linear Stochastic Bandits, NeurIPS 2011, Lemma 11).
    """
    statistics, x, squares = run_statistics(seed, n, d)
    log_det = np.linalg.slogdet(np.eye(d) + x.T @ x)[1]
    assert np.log1p(squares).sum() == pytest.approx(log_det, abs=1e-9)
    assert np.minimum(1.0, squares).sum() <= 2 * log_det + 1e-9 <= 2 * d * np.log1p(n / d) + 2e-9
    np.testing.assert_allclose(statistics.gram[0], np.eye(d) + x.T @ x, atol=1e-12)


def test_the_inverse_stays_that_of_the_gram_matrix_over_thousands_of_updates():
    statistics, _, _ = run_statistics(0, 4 * REFRESH - 1, 8)
    product = statistics.gram[0] @ statistics.inverse[0]
    np.testing.assert_allclose(product, np.eye(8), atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60))
def test_weights_keep_the_bound_of_the_paper(seed: int, episodes: int):
    """|w_h| <= 2 H sqrt(d k / lambda) (Jin, Yang, Wang, Jordan, COLT 2020, Lemma B.2)."""
    env = ModelEnv(random_linear_mdp(30, 3, 3, 3, seed))
    agent = LSVIUCBAgent(env, constants="theory", record=False, seed=seed).learn(3 * episodes)
    assert isinstance(agent.policy, LinearPlan)
    norms = np.linalg.norm(agent.policy.weights[0], axis=1)
    assert (norms <= 2 * 3 * np.sqrt(3 * agent.data.episodes) + 1e-9).all()


def test_with_indicators_for_features_the_regression_is_a_mean_and_the_bonus_counts():
    """phi(s, a) = e_(s, a): w = sum r / (n + 1), b = 1 / sqrt(n + 1), as Jin et al. say of the tabular case."""
    statistics, rewards = LinearStatistics(1, 2, 2), [0.2, 0.9, 0.4]
    statistics.add_state(0, np.eye(2))
    zero = np.zeros(1, dtype=np.int64)
    for r in rewards:
        statistics.add_episode(Transitions(zero, zero, zero, zero - 1, np.array([[r]])))
    plan = statistics.plan(stack([Channel(0, 0.5, high=10.0)], 1, 2))
    np.testing.assert_allclose(plan.weights[0, 0], [sum(rewards) / 4, 0.0], atol=1e-15)
    np.testing.assert_allclose(plan.bonuses(zero, np.eye(2)[None])[0], [0.5, 1.0], atol=1e-15)
    np.testing.assert_allclose(plan.action_values(zero, np.eye(2)[None])[0, 0], [0.375 + 0.25, 0.5], atol=1e-15)


@pytest.mark.parametrize(("kind", "expected"), [("CH", 7 * 3 / 2), ("BF", 14 * 3 / (3 * 4))])
def test_ucbvi_bonuses_are_the_papers_where_one_step_is_all(kind: Any, expected: float):
    """H = 1, L = 3, N = 4: 7 H L / sqrt(N), or 14 H L / (3 N), since nothing varies after the last step."""
    counts, zeros = TransitionCounts(1, 1, 2, is_staged=False, most=1e9), np.zeros(4, dtype=np.int64)
    counts.add_episode(zeros, zeros, zeros, zeros + 1, np.array([0.5, 0.5, 0.25, 0.25]))
    plan = counts.plan(Bonus(kind, 3.0, 1.0, 1e9 - 1.0, 1e9))
    np.testing.assert_allclose(counts.action_values, [[[0.375 + expected, 1e9]]])
    assert plan.actions.tolist() == [[1]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["CH", "BF"]), st.integers(1, 40))
def test_ucbvi_is_optimistic_with_the_papers_constants(seed: int, kind: Any, episodes: int):
    env = dead_ends(seed)
    agent = UCBVIAgent(env, bonus=kind, constants="theory", record=False, seed=seed).learn(5 * episodes)
    assert (agent.plan.values[:, :4] >= env.solution().value[:5, :4] - 1e-9).all()


def test_beta_is_that_of_the_theorem():
    """d H sqrt(log(2 d T / delta)) at d = 5, H = 4, T = 40,000, delta = 0.05, computed by hand: 20 sqrt(log 8e6)."""
    assert theory_bonus(5, 4, 10_000, 0.05) == pytest.approx(20 * np.sqrt(np.log(8e6)), rel=1e-15)
    assert LSVIUCBAgent(dense(), constants="theory").beta == pytest.approx(79.737, abs=1e-3)


# costs that do not grow


def test_what_is_kept_and_swept_does_not_grow_with_the_episodes():
    agent = LSVIUCBAgent(dense()).learn(4)
    size, swept = agent.data.nbytes, agent.data.counts.tolist()
    agent.learn(4 * 150)
    assert (agent.data.nbytes, agent.data.counts.tolist()) == (size, swept) == (size, [1, 100, 100, 100])
    blind = LSVIUCBAgent(dense(), record=False).learn(4 * 150)
    assert blind.data.nbytes <= size
    assert blind.data.counts.tolist() <= swept
    tabular = UCBVIAgent(river(), record=False).learn(20 * 50)
    size = tabular.counts.nbytes
    assert tabular.learn(20 * 200).counts.nbytes == size


def test_a_billion_states_are_learnt_by_those_that_are_met(monkeypatch: pytest.MonkeyPatch):
    recording, blind = hashed(10**9), hashed(10**9)
    first = LSVIUCBAgent(recording, seed=2).learn(4 * 60)
    assert (first.data.counts <= 25).all()

    def untouched(*_: Any) -> Any:
        raise AssertionError("the model's law was read")

    for name in ("stage", "initial_distribution"):
        monkeypatch.setattr(LinearMDP, name, untouched)
    second = LSVIUCBAgent(blind, seed=2, record=False).learn(4 * 60)
    monkeypatch.undo()
    assert second.data.nbytes < 2**17
    np.testing.assert_allclose(first.policy.weights, second.policy.weights, atol=1e-12)
    assert audit(second, recording).value == pytest.approx(audit(first, recording).value, abs=1e-12)


# the record


@pytest.mark.parametrize(
    ("agent_id", "make_env", "options"),
    [
        ("LSVIUCB-v0", dense, {}),
        ("LSVIUCB-v0", lambda: hashed(observation="features"), {}),
        ("LSVIUCB-v0", lambda: hashed(mdp_seed=1), {"constants": "theory"}),
        ("LSVIUCB-v0", lambda: ModelEnv(hard_linear_mdp(4, 4, 50, 0)), {}),
        ("UCBVI-v0", dead_ends, {}),
        ("UCBVI-v0", lambda: gym.make("DeepSea-v0", observation="features"), TREASURE),
    ],
)
def test_what_is_recorded_is_the_audit_of_the_policy_played(agent_id: str, make_env: Any, options: dict[str, Any]):
    env = make_env()
    agent = make_agent(agent_id, env, seed=1, **options)
    assert agent.record.n_episodes == 0
    for steps in (0, 1, 50, 33):
        finish_episode(agent.learn(steps))
        before = audit(agent, env)
        agent.learn(1)
        assert agent.record.n_episodes == agent.episodes
        assert agent.record.values[-1] == pytest.approx(before.value, abs=1e-12)
        assert agent.record.optimal_value == pytest.approx(before.optimal_value, abs=1e-12)
        if finished(agent) < agent.episodes:
            assert audit(agent, env).value == pytest.approx(before.value, abs=1e-12)
    assert (agent.record.regrets >= -1e-12).all()


def test_costs_are_recorded_where_steps_cost_and_ignored_by_lsvi_ucb():
    env = gym.make("ConstrainedLinearMDP-v0")
    model = env.unwrapped.model
    agent = make_agent("LSVIUCB-v0", env, scale=0.0).learn(model.horizon * 200)
    record = agent.record
    assert record.budget == model.budget
    assert record.optimal_value == pytest.approx(linear_backward_induction(model.mdp).certificate.upper[0], abs=1e-9)
    plain = make_agent("LSVIUCB-v0", ModelEnv(model.mdp), scale=0.0).learn(model.horizon * 200)
    np.testing.assert_allclose(record.values, plain.record.values, atol=1e-12)
    assert record.costs is not None
    tabular = model.to_tabular()
    laws = agent.action_probabilities(np.arange(model.horizon * model.n_states)).reshape(
        model.horizon, -1, model.n_actions
    )
    distribution, cost = tabular.mdp.rho, 0.0
    for h in range(model.horizon):
        pairs = distribution[:, None] * laws[h]
        cost += (pairs * tabular.stage_costs(h)).sum()
        distribution = pairs.reshape(-1) @ tabular.mdp.stage(h)[0]
    agent.learn(1)
    assert agent.record.costs is not None
    assert agent.record.costs[-1] == pytest.approx(cost, abs=1e-10)


def test_a_record_adds_up():
    record = LearningRecord(np.array([1.0, 2.5, 2.0]), 2.0, np.array([0.5, 1.5, 1.0]), 1.0)
    np.testing.assert_array_equal(record.regrets, [1.0, -0.5, 0.0])
    np.testing.assert_array_equal(record.cumulative_regrets, [1.0, 0.5, 0.5])
    np.testing.assert_array_equal(record.violations, [-0.5, 0.5, 0.0])
    np.testing.assert_array_equal(record.hard_violations, [0.0, 0.5, 0.0])
    np.testing.assert_array_equal(record.cumulative_violations, [-0.5, 0.0, 0.0])
    np.testing.assert_array_equal(record.cumulative_hard_violations, [0.0, 0.5, 0.5])
    assert (record.n_episodes, record.total_regret) == (3, 0.5)
    with pytest.raises(AgentError, match="cost nothing"):
        _ = LearningRecord(np.ones(1), 1.0).violations


def test_totals_of_any_laws_are_those_of_the_written_out_problem():
    problem = random_constrained_linear_mdp(20, 3, 4, 5, 3)
    totals = LinearTotals(problem.mdp, [problem.mdp.theta, problem.theta_cost])
    rng = np.random.default_rng(0)
    laws = rng.dirichlet(np.ones(3), totals.states.size)
    table = np.full((5, 20, 3), 1 / 3)
    table[totals.stages, totals.states] = laws
    from lookahead_rl.solvers import evaluate_policy

    tabular = problem.to_tabular()
    costs = FiniteHorizonMDP(tabular.mdp.P, tabular.c, 5, tabular.mdp.rho)
    expected = [p.rho @ evaluate_policy(p, table).value[0] for p in (tabular.mdp, costs)]
    np.testing.assert_allclose(totals(laws), expected, atol=1e-12)
    actions = table.argmax(axis=2)
    assert TabularReturns(costs)(actions) == pytest.approx(
        costs.rho @ evaluate_policy(costs, actions).value[0], abs=1e-12
    )


# learning on, saving, seeds


CASES = [
    pytest.param("LSVIUCB-v0", hashed, {}, id="LSVI-UCB"),
    pytest.param("LSVIUCB-v0", lambda: hashed(observation="features"), {"record": False}, id="LSVI-UCB on features"),
    pytest.param("UCBVI-v0", lambda: gym.make("DeepSea-v0"), TREASURE, id="UCBVI"),
]


@pytest.mark.parametrize(("agent_id", "make_env", "options"), CASES)
def test_episodes_are_carried_on_by_the_next_call_and_predicting_changes_nothing(
    agent_id: str, make_env: Any, options: dict[str, Any]
):
    once = make_agent(agent_id, make_env(), seed=3, **options).learn(201)
    env = make_env()
    parts = make_agent(agent_id, env, seed=3, **options)
    shown, _ = make_env().reset(seed=0)
    for n in (1, 6, 0, 93, 101):
        parts.learn(n)
        parts.predict(shown)
    ours, theirs = ({k: v for k, v in a.memory().items() if k != "rng"} for a in (once, parts))
    assert digest(ours) == digest(theirs)


@pytest.mark.parametrize(("agent_id", "make_env", "options"), CASES)
@pytest.mark.parametrize("steps", [120, 123])
def test_a_loaded_agent_goes_on_as_the_saved_one_would_have(
    agent_id: str, make_env: Any, options: dict[str, Any], steps: int, tmp_path: Path
):
    agent = make_agent(agent_id, make_env(), seed=4, **options).learn(steps)
    agent.save(tmp_path / "agent")
    twin = type(agent).load(tmp_path / "agent", make_env())
    assert digest(twin.memory()) == digest(agent.memory())
    codes = make_env().unwrapped.observe(np.arange(30))
    np.testing.assert_array_equal(twin.action_probabilities(codes), agent.action_probabilities(codes))
    agent.learn(80)
    twin.learn(80)
    if steps == 120:  # whole episodes of 4 and of 10 steps
        assert digest(twin.memory()) == digest(agent.memory())
    else:
        assert twin.steps == agent.steps


@pytest.mark.slow
def test_equal_seeds_learn_equally_in_every_process():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_exploration import *\n"
        "print(digest(LSVIUCBAgent(hashed(), seed=8).learn(200).memory()))\n"
        "print(digest(UCBVIAgent(river(), seed=8).learn(200).memory()))\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    ours = [digest(LSVIUCBAgent(hashed(), seed=8).learn(200).memory())]
    ours += [digest(UCBVIAgent(river(), seed=8).learn(200).memory())]
    assert done.stdout.split() == ours, done.stderr


def test_actions_are_drawn_by_their_masses():
    law = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    assert [draw(law, u) for u in (0.0, 0.2499, 0.25, 0.999999)] == [1, 1, 3, 3]
    assert draw(np.array([0.3, 0.3, 0.4]) / 3, 1 - 2**-53) == 2


# quality


def test_lsvi_ucb_with_practical_constants_has_sublinear_regret():
    agent = LSVIUCBAgent(dense(1)).learn(4 * 600)
    sums = agent.record.cumulative_regrets
    assert agent.record.regrets[-100:].mean() < 0.1 * agent.record.regrets[:100].mean()
    assert sums[-1] < 1.5 * sums[299]


def test_with_the_constants_of_the_theorem_estimates_stay_at_their_greatest_for_long():
    """beta = 80 and b >= 1 / sqrt(k + 1): w + beta b falls below H = 4 after hundreds of episodes at the earliest."""
    agent = LSVIUCBAgent(dense(), constants="theory").learn(4 * 300)
    stages, phi = known_states(agent)
    np.testing.assert_array_equal(agent.policy.values(stages, phi)[0], 4.0 - stages)
    assert np.ptp(agent.record.values) == 0.0


def test_ucbvi_finds_the_treasure_that_uniform_play_would_seek_a_thousand_episodes():
    """On DeepSea-v0 one plan in 2^10 finds it; UCBVI needs about the 55 cells to be seen."""
    agent = UCBVIAgent(gym.make("DeepSea-v0"), **TREASURE).learn(10 * 300)
    found = int(np.argmax(agent.record.regrets < 1e-9))
    assert 10 < found < 150
    assert agent.record.regrets[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("bonus", "least"), [("BF", 3.38), ("CH", 2.9)])
def test_ucbvi_swims_the_river(bonus: Any, least: float):
    agent = UCBVIAgent(river(), bonus=bonus).learn(20 * 250)
    assert agent.record.optimal_value == pytest.approx(3.3972639591508393, abs=1e-12)
    assert agent.record.values[-25:].mean() > least


# bad input


def unnormalised(factor: float) -> ModelEnv:
    model = random_constrained_linear_mdp(5, 2, 3, 2, 0).mdp
    assert isinstance(model.mu, np.ndarray)
    return ModelEnv(LinearMDP(factor * model.phi(np.arange(5)), model.mu / factor, model.theta / factor, model.rho, 2))


@pytest.mark.parametrize(
    ("agent_id", "make_env", "options", "message"),
    [
        (
            "LSVIUCB-v0",
            lambda: unnormalised(2.0),
            {},
            r"phi\[\d, \d\] has norm .*divide phi by .* and multiply mu and theta",
        ),
        ("LSVIUCB-v0", lambda: unnormalised(0.1), {}, r"theta_h or mu_h\(S\) has a norm above sqrt\(d\)"),
        ("LSVIUCB-v0", river, {}, "learns linear MDPs, but the model is a FiniteHorizonMDP.*UCBVI-v0"),
        ("LSVIUCB-v0", lambda: gym.make("RandomMDP-v0"), {}, "learns linear MDPs, but the model is a TabularMDP"),
        ("LSVIUCB-v0", lambda: Shifted(hashed()), {}, "a wrapper changes what the states"),
        ("LSVIUCB-v0", dense, {"constants": "best"}, "constants is 'best'; pass 'theory' or 'practical'"),
        ("LSVIUCB-v0", dense, {"delta": 1.0}, "delta is 1.0; a probability of failure"),
        ("LSVIUCB-v0", dense, {"scale": -1.0}, "scale is -1.0; it must be at least 0"),
        ("UCBVI-v0", dense, {}, "the model is a LinearMDP; make LSVIUCB-v0"),
        ("UCBVI-v0", lambda: gym.make("FrozenLake-v1"), {}, r"needs a finite horizon, .*FiniteHorizonMDP\(model.P"),
        ("UCBVI-v0", river, {"constants": None}, "constants is None"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_a_remedy(
    agent_id: str, make_env: Any, options: dict[str, Any], message: str
):
    with pytest.raises(AgentError, match=message):
        make_agent(agent_id, make_env(), **options)


class Shifted(gym.ObservationWrapper[Any, Any, Any]):
    """Shows every state as another one of the same space."""

    def observation(self, observation: Any) -> Any:
        return (observation + 1) % self.observation_space.n


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UCBVIAgent(river(), bonus="XX"), "bonus is 'XX'; pass"),
        (lambda: UCBVIAgent(river(), reward_range=(1.0, 1.0)), "the range must not be empty"),
        (lambda: LSVIUCBAgent(dense(), n_episodes=0), "n_episodes is 0; it must be at least 1"),
        (lambda: LinearStatistics(2, 2, 2, ridge=0.0), "ridge is 0.0"),
        (lambda: stack([], 2, 2), "channels is empty"),
        (lambda: stack([Channel(0, 1.0, low=2.0, high=1.0)], 2, 2), r"channels\[0\].low is 2.0 at stage 0, above"),
        (lambda: stack([Channel(0, np.nan)], 2, 2), r"channels\[0\].inner is nan"),
        (lambda: stack([Channel(0, 1.0, high=np.ones(3))], 2, 2), r"channels\[0\].high is .* shape \(2,\)"),
        (lambda: LinearStatistics(2, 2, 2).plan(stack([Channel(1, 1.0)], 2, 2)), "regresses signal 1; there are 1"),
        (
            lambda: LinearStatistics(2, 2, 2).plan(stack([Channel(0, 1.0)], 2, 2), temperature=-1.0),
            "temperature is -1.0",
        ),
        (lambda: LinearStatistics(2, 2, 2).add_state(0, np.ones((3, 2))), r"phi has shape \(3, 2\)"),
    ],
)
def test_arguments_out_of_range_are_named(make: Any, message: str):
    with pytest.raises(ModelError, match=message):
        make()


def test_rewards_outside_of_their_range_stop_the_learning():
    with pytest.raises(AgentError, match=r"reward -0.001, outside \[0, 1\]; pass the model's range .* as reward_range"):
        UCBVIAgent(gym.make("DeepSea-v0")).learn(100)
    model = random_linear_mdp(20, 2, 4, 2, 0)
    dear = LinearMDP(model.phi, model.mu, np.full(4, -0.2), model.rho, 2)
    with pytest.raises(AgentError, match=r"reward -0.2, outside \[0, 1\]; scale the model's theta"):
        LSVIUCBAgent(ModelEnv(dear), record=False).learn(10)


def test_without_a_record_there_is_none_to_see():
    with pytest.raises(AgentError, match="make the agent with record=True"):
        _ = LSVIUCBAgent(dense(), record=False).record


def test_learning_goes_on_beyond_the_episodes_announced_with_the_same_bonus():
    agent = LSVIUCBAgent(dense(), n_episodes=5)
    beta = agent.beta
    assert agent.learn(4 * 20).record.n_episodes == 20
    assert agent.beta == beta == 0.01 * theory_bonus(5, 4, 5, 0.05)


def test_a_time_limit_that_cuts_episodes_leaves_later_stages_unvisited():
    agent = LSVIUCBAgent(gym.wrappers.TimeLimit(hashed(), 2), record=False).learn(60)
    assert agent.episodes == 30
    grams = np.trace(agent.data.gram, axis1=1, axis2=2)
    np.testing.assert_array_equal(grams > 5.0, [True, True, False, False])


@pytest.mark.parametrize(
    ("agent_id", "make_env", "place", "value"),
    [
        ("LSVIUCB-v0", hashed, ("statistics", "data", "gram"), np.zeros((1, 2, 2))),
        ("LSVIUCB-v0", hashed, ("statistics", "data", "arrivals"), np.full((4, 5, 25), np.nan)),
        ("LSVIUCB-v0", hashed, ("statistics", "seen"), np.zeros(0, dtype=np.int64)),
        ("UCBVI-v0", river, ("statistics", "head"), np.full(12, 99)),
        ("UCBVI-v0", river, ("statistics", "visits"), np.full((1, 6, 2), -5)),
        ("UCBVI-v0", river, ("pending",), np.array([[0, 0, 0, 6]])),
        ("LSVIUCB-v0", hashed, ("pending",), np.array([[0, 99, 0, 0]])),
        ("LSVIUCB-v0", hashed, ("pending",), np.array([[4, 0, 0, -1]])),
        ("LSVIUCB-v0", hashed, ("pending",), np.array([[3, 0, 0, 0]])),
    ],
)
def test_damaged_statistics_are_refused(agent_id: str, make_env: Any, place: tuple[str, ...], value: Any):
    agent = make_agent(agent_id, make_env()).learn(40)
    memory = agent.memory()
    part = memory
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    memory["pending_signals"] = np.zeros((len(memory["pending"]), 1))
    with pytest.raises((AgentError, ModelError)):
        make_agent(agent_id, make_env()).remember(memory)


# pictures


def test_regret_curves_show_every_agent_with_its_seeds():
    curves = {"LSVI-UCB": np.cumsum(np.ones((3, 2000)), axis=1), "uniform": np.cumsum(np.full((1, 50), 2.0), axis=1)}
    picture = episode_curves(curves, "regret")
    assert picture.startswith("<svg")
    for text in ("LSVI-UCB", "uniform", "regret", "episodes"):
        assert text in picture
    with pytest.raises(ValueError, match="'a' have shape"):
        episode_curves({"a": np.ones(3)}, "regret")


@pytest.mark.parametrize("other", [{"mdp_seed": 1}, {"threshold": 0.95}], ids=["other features", "other budget"])
def test_what_was_learnt_in_one_problem_is_refused_in_another(other: dict[str, Any], tmp_path: Path):
    words = {"n_states": 6, "dim": 3, "horizon": 2, "mdp_seed": 0}
    agent = make_agent("LSVIUCB-v0", gym.make("ConstrainedLinearMDP-v0", **words)).learn(8)
    agent.save(tmp_path / "agent")
    with pytest.raises(AgentError, match=r"make the\s+same\s+environment"):
        type(agent).load(tmp_path / "agent", gym.make("ConstrainedLinearMDP-v0", **(words | other)))


def test_features_of_another_instance_are_refused_without_a_record(tmp_path: Path):
    agent = make_agent("LSVIUCB-v0", gym.make("LinearMDP-v0", n_states=9, horizon=2), record=False).learn(8)
    agent.save(tmp_path / "agent")
    with pytest.raises(AgentError, match="features of"):
        type(agent).load(tmp_path / "agent", gym.make("LinearMDP-v0", n_states=9, horizon=2, mdp_seed=5))
