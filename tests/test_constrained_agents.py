"""Learning within a budget: the numbers of the algorithms, what they promise, and what they refuse."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import brentq

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import AgentError, agent_ids, load_agent, make_agent
from lookahead_rl.agents.constrained.safe_exploration import theory_constants
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.models import ConstrainedLinearMDP, LinearMDP, ModelError, random_constrained_linear_mdp
from lookahead_rl.solvers import InfeasibleError, constrained_optimum, evaluate_constrained, safest_policy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed
from benchmarks._direct_constrained import Direct, DirectOptimistic, DirectSafe

sys.path.pop(0)

PRIMAL_DUAL, HARD, SAFE = "SoftmaxPrimalDual-v0", "HardViolationSoftmax-v0", "SafeOptimisticPessimistic-v0"
NAMES = (PRIMAL_DUAL, HARD, SAFE)
H = 3


def problem(seed: int = 0, n_states: int = 12, threshold: float = 0.9, support: int | None = None) -> Any:
    return random_constrained_linear_mdp(n_states, 3, 3, H, seed, threshold=threshold, support=support)


def made(name: str, model: ConstrainedLinearMDP | None = None, observation: str = "state", **kwargs: Any) -> Any:
    env = ModelEnv(problem() if model is None else model, observation=observation)
    return make_agent(name, env, **({"n_episodes": 400} | kwargs))


def one_stage(reward: tuple[float, float] = (0.9, 0.1), cost: tuple[float, float] = (0.8, 0.2), budget: float = 0.35):
    """Two actions, one stage: the price that balances the budget is known in closed form."""
    mdp = LinearMDP(np.eye(2)[None], np.ones((2, 1)), np.array(reward), np.ones(1), 1)
    return ConstrainedLinearMDP(mdp, np.array(cost), budget)


# ------------------------------------------------------------------------------------------------ the numbers


def direct(name: str, agent: Any, n_episodes: int, seed: int) -> Direct:
    """The direct implementation with an agent's constants, in an environment of its own."""
    env = ModelEnv(agent.problem)
    if name != SAFE:
        step = agent.step if name == PRIMAL_DUAL else None
        return DirectOptimistic(
            env, (agent.reward_bonus, agent.cost_bonus), 1.0 / agent.temperature, agent.ceiling, step, n_episodes, seed
        )
    used, policy = agent.used, safest_policy(agent.problem).policy
    return DirectSafe(
        env,
        used.reward_bonus,
        used.cost_bonus,
        used.exploration_bonus,
        used.exploration_reward,
        used.temperature,
        used.ceiling,
        lambda h, states: policy.action_probabilities(h * agent.problem.n_states + states),
        n_episodes,
        seed,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_numbers_stay_those_of_refitting_over_inverses_that_are_computed_anew(name: str):
    test_numbers_are_those_of_refitting_from_all_transitions(name, 800)


@pytest.mark.parametrize(("name", "n"), [(PRIMAL_DUAL, 300), (HARD, 200), (SAFE, 120)])
def test_numbers_are_those_of_refitting_from_all_transitions(name: str, n: int):
    agent = made(name, seed=5)
    other = direct(name, agent, n, 5)
    agent.learn(n * H)
    fits = [other.episode() for _ in range(n)]
    record = agent.record
    np.testing.assert_allclose(record.values, [fit.value for fit in fits], rtol=0, atol=1e-8)
    np.testing.assert_allclose(record.costs, [fit.cost for fit in fits], rtol=0, atol=1e-8)
    np.testing.assert_allclose(agent.prices, [fit.multiplier for fit in fits], rtol=0, atol=1e-8)
    assert np.nanmax(agent.prices) > 0.0
    assert np.nanstd(agent.prices) > 0.0


def test_the_estimated_cost_charges_the_mass_that_data_do_not_account_for_as_dearly_as_possible():
    """Q^c = c + clip(Phat v^c + n (1 - Phat 1) + C_u b, 0, n), from the transitions, is H - h less what is saved."""
    agent, n_episodes = made(SAFE, seed=1), 60
    other = direct(SAFE, agent, n_episodes, 1)
    agent.learn(n_episodes * H)
    for _ in range(n_episodes):
        other.episode()
    price, C_u = 0.7, agent.used.cost_bonus
    plan = agent._plans.at(price)
    for h in range(H - 1):
        later, n = other.x_next[h, :n_episodes], H - 1 - h
        stages = np.full(n_episodes, h + 1)
        v_cost = (H - 1 - h) - plan.values(stages, later)[-1]
        x = other.x[h, :n_episodes]
        inverse = np.linalg.inv(np.eye(3) + x.T @ x)
        phi = other.features[h]
        expected = phi @ inverse @ x.T @ v_cost
        mass = phi @ inverse @ x.T @ np.ones(n_episodes)
        bonus = np.sqrt(np.einsum("nad,de,nae->na", phi, inverse, phi))
        costs = phi @ agent.problem.stage_theta_cost(h)
        q_cost = costs + np.clip(expected + n * (1.0 - mass) + C_u * bonus, 0.0, n)
        saved = plan.action_values(np.full(len(phi), h), phi)[-1]
        np.testing.assert_allclose((H - h) - saved, q_cost, rtol=0, atol=1e-9)


def test_constants_of_the_theory_are_those_of_the_papers():
    model, K, delta = problem(), 900, 0.1
    d, A, T = 3, 3, K * H
    slater = model.budget - safest_policy(model).evaluation.cost
    agent = made(PRIMAL_DUAL, model, n_episodes=K, constants="theory", delta=delta)
    xi = 2 * H / slater
    assert agent.ceiling == pytest.approx(xi)
    assert agent.step == pytest.approx(xi / np.sqrt(K * H**2))
    assert 1 / agent.temperature == pytest.approx(np.log(A) * K / (2 * (1 + xi + H)))
    beta = d * H * np.sqrt(np.log(4 * np.log(A) * d * T / delta))
    assert agent.reward_bonus == agent.cost_bonus == pytest.approx(beta)
    agent = made(HARD, model, n_episodes=K, constants="theory", delta=delta)
    assert agent.ceiling == pytest.approx(30.0)
    assert 1 / agent.temperature == pytest.approx(np.log(A) * np.sqrt(K) / (4 * H))
    assert agent.reward_bonus == agent.cost_bonus == pytest.approx(beta)
    agent = made(SAFE, model, n_episodes=K, constants="theory", delta=delta)
    log = np.log(2 * d * T / delta)
    assert agent.margin == pytest.approx(slater)
    assert agent.used == theory_constants(d, H, K, agent.margin, delta)
    assert agent.used.reward_bonus == agent.used.cost_bonus == pytest.approx(d * H * np.sqrt(log))
    assert agent.used.exploration_bonus == pytest.approx(d**2 * H**3 * log / slater)
    assert agent.used.exploration_reward == pytest.approx(d * H**2 * np.sqrt(log) / slater)
    assert agent.used.temperature == pytest.approx(slater**3 / (H**4 * d * np.sqrt(K)))
    assert agent.used.ceiling == pytest.approx(d * H**4 / slater**2)


def test_values_to_come_are_cut_at_what_the_stages_left_can_bring():
    agent = made(SAFE)
    used, left = agent.used, np.array([2.0, 1.0, 0.0])
    bounds = [left * (1 + used.temperature * np.log(3)), left * used.exploration_reward, left]
    np.testing.assert_allclose(agent._plans.channels.high, bounds)
    np.testing.assert_array_equal(agent._plans.channels.low, 0.0)


def test_a_slater_margin_that_is_passed_replaces_the_models():
    assert made(PRIMAL_DUAL, slater=0.5).ceiling == pytest.approx(2 * H / 0.5)


def test_in_one_stage_the_price_is_the_root_in_closed_form():
    model = one_stage()
    agent = made(SAFE, model).learn(200)
    used, bonus = agent.used, 1.0 / np.sqrt(np.diag(agent.data.gram[0]))
    gain = np.array([0.9, 0.1]) + used.exploration_reward * bonus
    share = (0.35 - 0.2) / (0.8 - 0.2)  # of the dear action, at which an episode costs 0.35
    price = (gain[0] - gain[1] - used.temperature * np.log(share / (1 - share))) / (0.8 - 0.2)
    agent.learn(1)
    assert agent.prices[-1] == pytest.approx(price, abs=1e-4)
    cost = float(agent.record.costs[-1])
    assert model.budget - 0.01 <= cost <= model.budget

    def excess(y: float) -> float:
        scores = (gain - y * np.array([0.8, 0.2])) / used.temperature
        weights = np.exp(scores - scores.max())
        return float(weights @ [0.8, 0.2] / weights.sum() - model.budget)

    assert agent.prices[-1] == pytest.approx(brentq(excess, 0.0, 10.0, xtol=1e-10), abs=1e-4)


# ------------------------------------------------------------------------------------------------ the promises


def test_no_episode_overspends_and_regret_falls_under_pessimism():
    agent = made(SAFE, problem(1), n_episodes=800).learn(800 * H)
    record = agent.record
    assert record.violations.max() <= 0.0
    assert record.optimal_value == pytest.approx(constrained_optimum(agent.problem).value)
    assert record.regrets[-20:].mean() <= 0.5 * record.regrets[:20].mean()
    assert 0 < agent.safe_episodes.size < 800
    assert agent.safe_episodes[0] == 0


def test_the_safe_policy_is_played_exactly_where_no_price_is_enough():
    agent = made(SAFE, seed=2)
    for _ in range(120):
        agent.learn(H)
        dearest = agent._plans.at(agent.used.ceiling)
        assert np.isnan(agent._price) == (not agent._plans.is_within(dearest))
        if not np.isnan(agent._price):
            assert agent._plans.is_within(agent.policy)
    assert np.isnan(agent.prices[agent.safe_episodes]).all()
    safest = safest_policy(agent.problem)
    np.testing.assert_allclose(agent.record.costs[agent.safe_episodes], safest.evaluation.cost, rtol=1e-12)


def test_with_the_theorys_constants_only_the_safe_policy_is_played():
    agent = made(SAFE, constants="theory").learn(50 * H)
    np.testing.assert_array_equal(agent.safe_episodes, np.arange(50))


def test_the_price_found_is_feasible_by_the_estimate_and_hardly_less_is_not():
    agent = made(HARD, seed=3)
    found = 0
    for _ in range(200):
        agent.learn(H)
        price, plans = agent._price, agent._plans
        if 0.0 < price < agent.ceiling:
            found += 1
            assert plans.is_within(agent.policy)
            assert not plans.is_within(plans.at(price - 2 * agent.ceiling * 2.0**-24))
        else:
            assert price == 0.0 or not plans.is_within(agent.policy)
    assert found > 20


@pytest.mark.parametrize("name", [HARD, SAFE])
def test_a_budget_that_does_not_bind_has_the_price_zero(name: str):
    agent = made(name, replace(problem(), budget=float(H))).learn(40 * H)
    played = agent.prices[~np.isnan(agent.prices)]
    assert played.size > 0
    np.testing.assert_array_equal(played, 0.0)


@pytest.mark.parametrize("slater", [None, 30.0])
def test_the_price_of_the_primal_dual_learner_follows_the_estimated_cost_up_to_its_ceiling(slater: float | None):
    agent, price = made(PRIMAL_DUAL, seed=4, n_episodes=25, slater=slater), 0.0
    for _ in range(100):
        cost = agent._plans.cost(agent.policy)
        agent.learn(H)
        price = min(max(price + agent.step * (cost - agent.problem.budget), 0.0), agent.ceiling)
        assert agent.price == pytest.approx(price, abs=1e-12)
    assert 0.0 < agent.prices.max() <= agent.ceiling
    assert slater is None or agent.prices.max() == agent.ceiling


def test_hard_violations_of_the_learner_by_bisection_are_fewer_than_without_the_budget():
    model, K = problem(1), 500
    agent = made(HARD, model, n_episodes=K).learn(K * H)
    careless = make_agent("LSVIUCB-v0", ModelEnv(model), n_episodes=K).learn(K * H)
    assert agent.record.hard_violations[-50:].mean() < 0.2 * careless.record.hard_violations[-50:].mean()


def test_pessimistic_estimates_are_no_less_than_the_exact_costs():
    model = problem(2)
    agent = made(SAFE, model, n_episodes=200, record=False).learn(200 * H)
    h, s = np.divmod(np.arange(H * 12), 12)
    for price in (0.0, 0.5, 2.0, 50.0):
        plan = agent._plans.at(price)
        exact = evaluate_constrained(model, plan.laws(h, model.mdp.phi(s)).reshape(H, 12, 3)).cost
        assert agent._plans.cost(plan) >= exact


# ------------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize("name", NAMES)
def test_learning_in_pieces_is_learning_at_once_even_within_an_episode(name: str):
    whole, pieces = made(name, seed=7).learn(100), made(name, seed=7)
    for steps in (1, 4, 30, 2, 63):
        pieces.learn(steps)
    np.testing.assert_array_equal(whole.record.costs, pieces.record.costs)
    np.testing.assert_array_equal(whole.prices, pieces.prices)
    assert whole.prices.size == whole.record.n_episodes == 34


@pytest.mark.parametrize("name", NAMES)
def test_a_file_brings_back_all_and_learning_goes_on_from_it(name: str, tmp_path: Path):
    agent = made(name, seed=8).learn(40 * H)
    agent.save(tmp_path / "agent")
    back = load_agent(tmp_path / "agent", ModelEnv(agent.problem))
    np.testing.assert_array_equal(back.prices, agent.prices)
    for one in (agent, back):
        one.learn(25 * H)
    np.testing.assert_array_equal(back.record.values, agent.record.values)
    np.testing.assert_array_equal(back.prices, agent.prices)
    codes = np.arange(H * 12)
    np.testing.assert_array_equal(back.action_probabilities(codes), agent.action_probabilities(codes))


def test_a_safe_policy_that_was_passed_comes_back_from_a_file(tmp_path: Path):
    model = problem()
    table = safest_policy(model).policy.table()
    agent = made(SAFE, model, safe_policy=table, seed=9).learn(20 * H)
    agent.save(tmp_path / "agent")
    back = load_agent(tmp_path / "agent", ModelEnv(model))
    np.testing.assert_array_equal(back.learn(20 * H).prices, agent.learn(20 * H).prices)
    named = made(SAFE, model, seed=9).learn(40 * H)
    np.testing.assert_array_equal(named.record.values, agent.record.values)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_record_the_same_is_learnt(name: str):
    agents = [made(name, seed=1, record=record).learn(60 * H) for record in (True, False)]
    np.testing.assert_allclose(agents[0].prices, agents[1].prices, rtol=0, atol=1e-9)
    codes = np.arange(H * 12)
    laws = [agent.action_probabilities(codes) for agent in agents]
    np.testing.assert_allclose(*laws, rtol=0, atol=1e-9)
    with pytest.raises(AgentError, match="record=True"):
        _ = agents[1].record


@pytest.mark.parametrize("name", NAMES)
def test_laws_are_what_is_played(name: str):
    agent = made(name, seed=2).learn(30 * H)
    codes = np.arange(H * 12)
    laws = agent.action_probabilities(codes)
    evaluated = evaluate_constrained(agent.problem, laws.reshape(H, 12, 3))
    agent.learn(1)
    assert evaluated.cost == pytest.approx(agent.record.costs[-1], abs=1e-12)
    assert evaluated.value == pytest.approx(agent.record.values[-1], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_learnt_from_as_states_are(name: str):
    agent = made(name, observation="features", seed=1).learn(60 * H)
    assert np.isfinite(agent.record.costs).all()
    assert name != SAFE or agent.record.violations.max() <= 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_billion_states_are_no_more_than_those_that_can_be_met(name: str):
    agent = made(name, problem(n_states=10**9, support=3)).learn(20 * H)
    assert agent.data.counts.sum() < 30
    assert agent.record.n_episodes == 20


@pytest.mark.parametrize("name", NAMES)
def test_every_learner_within_a_budget_is_registered(name: str):
    assert name in agent_ids()


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("name", NAMES)
def test_an_infeasible_budget_is_refused_with_the_least_cost(name: str):
    model = problem()
    least = safest_policy(model).evaluation.cost
    with pytest.raises(InfeasibleError, match=f"at least {least:.6f}"[:-1]) as refused:
        made(name, replace(model, budget=0.5 * least))
    assert refused.value.least_cost[0] == pytest.approx(least)


@pytest.mark.parametrize("name", NAMES)
def test_an_environment_without_costs_is_refused_with_what_to_make(name: str):
    with pytest.raises(AgentError, match=r"make ConstrainedLinearMDP-v0.*LSVIUCB-v0"):
        make_agent(name, ModelEnv(problem().mdp))
    with pytest.raises(AgentError, match="this agent learns linear MDPs"):
        make_agent(name, gym.make("DeepSea-v0"))


@pytest.mark.parametrize("name", NAMES)
def test_features_of_norm_above_one_are_refused(name: str):
    model = problem()
    mdp = replace(model.mdp, phi=2.0 * model.mdp.phi.table, mu=model.mdp.mu / 2.0, theta=model.mdp.theta / 2.0)
    with pytest.raises(AgentError, match=r"phi\[.*\] has norm .*; divide phi by"):
        made(name, ConstrainedLinearMDP(mdp, model.theta_cost / 2.0, model.budget))


@pytest.mark.parametrize("name", [PRIMAL_DUAL, SAFE])
def test_a_budget_without_any_slack_is_refused_where_slack_is_needed(name: str):
    model = one_stage(budget=0.2)
    with pytest.raises(AgentError, match=r"Slater's condition|costs less"):
        made(name, model)
    assert made(HARD, model).learn(5).record.n_episodes == 5


def test_an_unsafe_safe_policy_is_refused_with_its_cost():
    model = problem()
    bold = np.asarray(constrained_optimum(replace(model, budget=float(H))).policy.table())
    cost = evaluate_constrained(model, bold).cost
    assert cost > model.budget
    with pytest.raises(AgentError, match=f"safe_policy costs {str(cost)[:8]}.*budget is {str(model.budget)[:8]}"):
        made(SAFE, model, safe_policy=bold)
    with pytest.raises(AgentError, match="pass an array of actions or probabilities, or 'safest'"):
        made(SAFE, model, safe_policy="best")
    with pytest.raises(ModelError, match="policy has dtype"):
        made(SAFE, model, safe_policy=np.zeros((2, 2)))


def test_a_safe_policy_that_tells_states_of_equal_features_apart_is_refused():
    phi = np.tile(np.eye(2)[None], (2, 1, 1))
    mdp = LinearMDP(phi, np.full((2, 2), 0.5), np.array([0.9, 0.1]), np.full(2, 0.5), 2)
    model = ConstrainedLinearMDP(mdp, np.array([0.8, 0.2]), 1.2)
    with pytest.raises(AgentError, match="acts differently in state 1"):
        made(SAFE, model, safe_policy=np.array([0, 1]))
    assert made(SAFE, model, safe_policy=np.array([1, 1])).margin == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        (SAFE, {"constants": "best"}, "pass 'theory' or 'practical'"),
        (HARD, {"constants": None}, "pass 'theory' or 'practical'"),
        (PRIMAL_DUAL, {"slater": 0.0}, "slater is 0.0; it must be positive"),
        (PRIMAL_DUAL, {"delta": 1.0}, "delta is 1.0"),
    ],
)
def test_an_argument_out_of_range_is_named(name: str, kwargs: dict[str, Any], message: str):
    with pytest.raises(AgentError, match=message):
        made(name, **kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_of_episodes_below_one_is_refused(name: str):
    with pytest.raises(ModelError, match="n_episodes is 0"):
        made(name, n_episodes=0)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_prices_are_refused(name: str):
    agent = made(name).learn(5 * H)
    memory = agent.memory()
    memory["statistics"]["prices"] = memory["statistics"]["prices"][:-1]
    with pytest.raises(AgentError, match="the file is damaged"):
        agent.remember(memory)
