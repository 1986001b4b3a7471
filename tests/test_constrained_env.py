"""Promises of environments with costs and budgets: what they tell, who may play them, how policies are audited."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from lookahead_rl.agents import AgentError, make_agent
from lookahead_rl.envs import ModelEnv, VectorModelEnv
from lookahead_rl.evaluation import ConstrainedAudit, audit
from lookahead_rl.models import ConstrainedMDP, FiniteHorizonMDP, ModelError, random_constrained_linear_mdp, save_model
from lookahead_rl.solvers import (
    InfeasibleError,
    StagedPolicy,
    backward_induction,
    evaluate_constrained,
    lagrangian_optimum,
    safest_policy,
    solve,
)
from lookahead_rl.wrappers import GroundTruth
from lookahead_rl.wrappers.exact_view import constrained_view, exact_view

ENV_ID = "ConstrainedLinearMDP-v0"
SMALL = {"n_states": 20, "dim": 4, "mdp_seed": 1}


def small() -> Any:
    return random_constrained_linear_mdp(20, 3, 4, 4, 1)


def drawn(law: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One action (n,) from each of the laws (n, A)."""
    return (rng.random((len(law), 1)) < law.cumsum(axis=1)).argmax(axis=1)


def test_the_environment_is_the_documented_instance():
    model = gym.make(ENV_ID).unwrapped.model
    assert (model.n_states, model.n_actions, model.dim, model.horizon) == (100, 3, 5, 4)
    other = gym.make(ENV_ID, threshold=0.5, mdp_seed=3, support=4).unwrapped.model
    assert other.mdp.mu.states.shape[-1] == 4
    assert other.budget > model.budget


def test_info_tells_what_each_step_costs():
    env = gym.make(ENV_ID)
    model, rng = env.unwrapped.model, np.random.default_rng(0)
    for seed in range(5):
        assert env.reset(seed=seed)[1]["cost"] == 0.0
        over = False
        while not over:
            code, action = env.unwrapped.state, int(rng.integers(3))
            _, _, over, _, info = env.step(action)
            assert type(info["cost"]) is float
            assert info["cost"] == model.costs(np.array([code]), np.array([action]))[0]
            assert 0.0 <= info["cost"] <= 1.0
        assert env.unwrapped.step(action)[4]["cost"] == 0.0  # once the episode is over nothing costs


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_lanes_cost_and_earn_what_their_policy_does(mode: AutoresetMode):
    """The mean over many episodes lies within five standard errors of the exact cost and value."""
    lanes, model = 4000, small()
    env = gym.make_vec(ENV_ID, num_envs=lanes, autoreset_mode=mode.value, **SMALL)
    policy, rng = env.unwrapped.solution().policy, np.random.default_rng(3)
    codes, _ = env.reset(seed=1)
    sums = np.zeros((2, lanes))
    for h in range(model.horizon):
        codes, rewards, terminated, _, infos = env.step(drawn(policy.action_probabilities(codes), rng))
        ended = mode is AutoresetMode.SAME_STEP and h == model.horizon - 1
        assert infos["_cost"].all()
        if ended:  # the last step's cost is where Gymnasium keeps what an ended lane was told
            assert not infos["cost"].any()
            assert infos["final_info"]["_cost"].all()
        sums += rewards, infos["final_info"]["cost"] if ended else infos["cost"]
    assert terminated.all()
    found = evaluate_constrained(model, policy)
    for sample, exact in zip(sums, (found.value, found.cost), strict=True):
        assert abs(sample.mean() - exact) < 5 * sample.std() / np.sqrt(lanes)


def test_a_lane_that_is_cut_and_reset_costs_nothing():
    env = VectorModelEnv(small(), 3, 2)
    env.reset(seed=0)
    costs = [env.step([0, 1, 2])[4]["cost"] for _ in range(3)]
    assert np.all(np.array(costs[:2]) > 0)
    assert not costs[2].any()


def test_other_environments_speak_of_no_costs():
    for env_id in ("LinearMDP-v0", "RandomMDP-v0"):
        env = gym.make(env_id)
        assert "cost" not in env.reset(seed=0)[1] | env.step(0)[4]
        lanes = gym.make_vec(env_id, num_envs=2)
        assert "cost" not in lanes.reset(seed=0)[1] | lanes.step([0, 0])[4]


def test_a_billion_states_are_played_solved_and_audited():
    env = gym.make(ENV_ID, n_states=10**9, support=5, threshold=0.95)
    env.reset(seed=0)
    assert 0 <= env.step(1)[4]["cost"] <= 1
    result = audit(env.unwrapped.solution().policy, env)
    assert result.regret == 0.0
    assert result.is_safe
    assert result.certificate.gap < 1e-8


def test_the_optimum_has_no_regret_and_keeps_within_the_budget():
    env, model = gym.make(ENV_ID, **SMALL), small()
    solution = lagrangian_optimum(model)
    for policy in (solution.policy, solution.policy.table()):
        result = audit(policy, env)
        assert isinstance(result, ConstrainedAudit)
        assert result.regret == pytest.approx(0.0, abs=1e-8)
        assert result.violation <= 0
        assert result.is_safe
        assert (result.value, result.cost) == pytest.approx((solution.value, solution.cost), abs=1e-12)
        assert result.multiplier == pytest.approx(solution.multiplier, abs=1e-6)
        low, high = result.regret_bounds
        assert low <= 0.0 <= high < low + 1e-7


def test_a_policy_that_overspends_may_gain_at_most_the_price_of_it():
    env, model = gym.make(ENV_ID, **SMALL), small()
    bold = audit(backward_induction(model.mdp.to_tabular()).policy, env)
    assert bold.violation > 0.1
    assert not bold.is_safe
    assert bold.regret < 0
    assert bold.regret >= -bold.multiplier * bold.violation
    assert bold.violation_bounds[0] <= bold.violation <= bold.violation_bounds[1]
    assert bold.regret_bounds[0] <= bold.regret <= bold.regret_bounds[1]
    cautious = audit(safest_policy(model).policy, env)
    assert cautious.violation < 0
    assert cautious.regret > 0


def test_audits_take_arrays_agents_and_what_samples():
    env, model = gym.make(ENV_ID, **SMALL), small()
    law = np.random.default_rng(0).dirichlet(np.ones(3), (4, 20))
    for policy in (law, law[0], law.argmax(axis=-1), law[0].argmax(axis=-1)):
        found, result = evaluate_constrained(model, policy), audit(policy, env)
        assert (result.value, result.cost) == (found.value, found.cost)
        assert (result.value_bounds, result.cost_bounds) == (found.value_bounds, found.cost_bounds)
    likely = audit(law, env, deterministic=True)
    assert likely.deterministic
    assert likely.cost == audit(law.argmax(axis=-1), env).cost
    uniform = audit(make_agent("Random-v0", env), env)
    assert uniform.value == pytest.approx(evaluate_constrained(model, np.full((20, 3), 1 / 3)).value)


def test_ppo_is_audited_as_it_stands():
    env = gym.make(ENV_ID, observation="features", **SMALL)
    agent = make_agent("PPO", env, seed=0, hyperparameters={"n_steps": 64, "batch_size": 64})
    result = audit(agent, env)
    table = agent.action_probabilities(env.unwrapped.observe(np.arange(80))).reshape(4, 20, 3)
    found = evaluate_constrained(small(), table / table.sum(axis=-1, keepdims=True))
    assert (result.value, result.cost) == pytest.approx((found.value, found.cost), abs=1e-9)
    assert result.violation == result.cost - small().budget


def test_audits_of_tables_leave_terminal_states_alone():
    rng = np.random.default_rng(2)
    P, r, c = rng.dirichlet(np.ones(4), (4, 2)), rng.random((4, 2)), rng.random((4, 2))
    P[3], r[3], c[3] = np.eye(4)[3], 0.0, 0.0
    model = ConstrainedMDP(FiniteHorizonMDP(P, r, 3, np.eye(4)[0], np.arange(4) == 3), c, 2.0)
    env, asked = ModelEnv(model), list[int]()

    class Asked:
        def action_probabilities(self, observations: Any) -> np.ndarray:
            asked.extend(np.asarray(observations).tolist())
            return np.full((len(observations), 2), 0.5)

    result = audit(Asked(), env)
    assert result.cost == pytest.approx(evaluate_constrained(model, np.full((4, 2), 0.5)).cost)
    assert sorted(asked) == [0, 4, 5, 6, 8, 9, 10]


def test_audits_normalise_laws():
    """A law may miss one by 1e-9, the optimum is one over laws that do not."""
    process = FiniteHorizonMDP(np.ones((1, 1, 1)), np.ones((1, 1)), 1, np.ones(1))
    result = audit(np.array([[1.0 - 9e-10]]), ModelEnv(ConstrainedMDP(process, np.array([[0.5]]), 0.6)))
    assert result.cost_bounds[0] <= 0.5 <= result.cost_bounds[1]
    assert result.value_bounds[0] <= 1.0 <= result.value_bounds[1]
    assert result.regret_bounds[0] <= 0.0 <= result.regret_bounds[1]


def test_audits_refuse_what_makes_no_sense_here():
    env = gym.make(ENV_ID, **SMALL)
    for passed in ({"horizon": 3}, {"gamma": 0.9}):
        (name, number), *_ = passed.items()
        with pytest.raises(
            ModelError, match=f"^{name} is {number}, but a constrained problem has its own .* leave them"
        ):
            audit(np.zeros(20, int), env, **passed)
    model = small()
    tight = type(model)(model.mdp, model.theta_cost, 0.0)
    with pytest.raises(InfeasibleError, match="an episode costs at least"):
        audit(np.zeros(20, int), ModelEnv(tight))
    other = StagedPolicy(20, tuple(np.arange(20) for _ in range(4)), tuple(np.full((20, 2), 0.5) for _ in range(4)))
    with pytest.raises(ModelError, match="shape"):
        audit(other, env)


@pytest.mark.parametrize("agent_id", ["BackwardInduction-v0", "ValueIteration-v0", "UCT-v0"])
def test_planners_that_would_ignore_the_budget_refuse(agent_id: str):
    with pytest.raises((ModelError, AgentError), match="has a budget, which an agent of unconstrained problems would"):
        make_agent(agent_id, gym.make(ENV_ID, **SMALL))


def test_the_refusal_names_what_works():
    model = gym.make(ENV_ID, **SMALL).unwrapped.model
    free = ModelEnv(model.mdp)
    agent = make_agent("BackwardInduction-v0", free).learn(0)
    assert audit(agent, free).regret == pytest.approx(0.0, abs=1e-12)
    assert audit(agent, ModelEnv(model)).violation > 0
    assert solve(model).evaluation.is_safe


def test_no_single_state_has_an_optimal_value_within_a_budget():
    with pytest.raises(ModelError, match="with a budget on whole episodes no single state has an optimal value"):
        GroundTruth(gym.make(ENV_ID, **SMALL))
    with pytest.raises(ModelError, match="has a budget"):
        exact_view(gym.make(ENV_ID, **SMALL))
    assert constrained_view(gym.make("LinearMDP-v0")) is None


def test_a_file_of_a_constrained_problem_is_an_environment(tmp_path: Path):
    save_model(small(), tmp_path / "problem.npz")
    env = gym.make("TabularMDP-v0", model_path=str(tmp_path / "problem.npz"))
    env.reset(seed=4)
    assert 0 < env.step(0)[4]["cost"] <= 1
    assert env.unwrapped.model.budget == small().budget


def test_stable_baselines_sees_the_costs():
    from lookahead_rl.agents.vec_env import StableBaselinesVecEnv

    lanes = StableBaselinesVecEnv(gym.make_vec(ENV_ID, num_envs=2, autoreset_mode="SameStep", **SMALL))
    lanes.reset()
    for _ in range(4):
        *_, dones, infos = lanes.step(np.zeros(2, int))
        assert all(0 <= info["cost"] <= 1 for info in infos)
    assert dones.all()
    assert all(info["cost"] > 0 for info in infos)


def test_the_callback_logs_the_violation(monkeypatch: pytest.MonkeyPatch):
    from stable_baselines3.common.logger import Logger

    from lookahead_rl.evaluation.callbacks import AuditCallback

    logged: list[tuple[str, Any]] = []
    monkeypatch.setattr(Logger, "record", lambda _, key, value, exclude=None: logged.append((key, value)))
    env = gym.make(ENV_ID, observation="features", **SMALL)
    agent = make_agent("PPO", env, seed=0, hyperparameters={"n_steps": 64, "batch_size": 64})
    callback = AuditCallback(env, every=64)
    agent.learn(64, callback)
    assert all(isinstance(result, ConstrainedAudit) for result in callback.audits)
    violations = [value for key, value in logged if key == "eval/violation"]
    assert violations == [result.violation for result in callback.audits]


def test_pictures_are_those_of_the_process_at_the_best_price():
    env = gym.make(ENV_ID, render_mode="ansi", **SMALL).unwrapped
    env.reset(seed=0)
    model, price = env.model, env.solution().multiplier
    v = backward_induction(model.weighted(1.0, -price)).value(np.array([0]), 0)[0]
    assert f"v*(s)  {v:.5g}" in env.render()
