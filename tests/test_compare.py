"""Measuring agents, running jobs, comparing: by library and by command."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
import scipy.stats

from lookahead_rl.agents import AgentError, make_agent
from lookahead_rl.agents.stepping import SteppingAgent
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.evaluation.statistics import (
    interquartile_mean_interval,
    performance_profile_band,
    student_half_widths,
)
from lookahead_rl.experiments import comparison, measurement
from lookahead_rl.experiments.comparison import Plan, env_parameters, gather
from lookahead_rl.experiments.jobs import Job
from lookahead_rl.experiments.measurement import EPISODES, normalised, yardstick_of
from lookahead_rl.experiments.runs import check, perform
from lookahead_rl.experiments.standings import Run, Standings
from lookahead_rl.models import ModelError
from lookahead_rl.scripts.cli import main
from lookahead_rl.scripts.compare import read_hyperparameters

GAME = "lookahead_rl/RandomMarkovGame-v0"
SMALL = {"n_states": 5, "n_actions": 2, "horizon": 3, "dim": 2}
SMALL_GAME = {"n_states": 4, "branching": 2}


def trained(job):
    """The agent of a job, by hand."""
    return make_agent(job.agent, gym.make(job.env_id, **job.env_kwargs), seed=job.seed, **job.agent_kwargs).learn(
        job.total_timesteps
    )


# measurement


def test_a_table_without_a_discount_is_measured_within_its_time_limit():
    job = Job("ValueIteration-v0", "FrozenLake-v1", 0)
    agent = trained(job)
    P = gym.make("FrozenLake-v1").unwrapped.P
    actions = agent.action_probabilities(np.arange(16)).argmax(axis=1)

    def returns(law):
        """Expected return within 100 steps, summed by hand over Gymnasium's own table."""
        value = np.zeros(16)
        for _ in range(100):
            value = np.array(
                [
                    sum(
                        weight * p * (reward + (not over) * value[s_next])
                        for a, weight in enumerate(law[s])
                        for p, s_next, reward, over in P[s][a]
                    )
                    for s in range(16)
                ]
            )
        return value[0]

    reading = yardstick_of(job).read(agent)
    uniform, value = returns(np.full((16, 4), 0.25)), returns(np.eye(4)[actions])
    assert reading.kind == "exact"
    assert reading.value == pytest.approx(value, abs=1e-12)
    assert yardstick_of(job).uniform_value == pytest.approx(uniform, abs=1e-12)
    optimum = yardstick_of(job).optimal_value
    assert value < optimum < 1.0
    assert reading.score == pytest.approx((value - uniform) / (optimum - uniform), abs=1e-12)


def test_a_table_with_a_discount_has_no_time_limit():
    job = Job("ValueIteration-v0", "FrozenLake-v1", 0, gamma=0.99)
    reading = yardstick_of(job).read(trained(job))
    assert reading.score == pytest.approx(1.0, abs=1e-7)
    assert "0.99" in yardstick_of(job).meaning


def test_a_table_with_neither_discount_nor_time_limit_asks_for_one():
    job = Job("Random-v0", "CliffWalking-v1", 0)
    with pytest.raises(ModelError, match=r"gamma, such as 0\.99, or the argument max_episode_steps"):
        yardstick_of(job)
    assert yardstick_of(replace(job, env_kwargs={"max_episode_steps": 30})).meaning.endswith("within 30 steps")
    assert yardstick_of(replace(job, gamma=0.9)).read(trained(job)).score == 0.0


def test_a_discount_is_refused_where_the_model_has_its_own():
    with pytest.raises(ModelError, match="has its own"):
        yardstick_of(Job("Random-v0", "RandomMDP-v0", 0, gamma=0.9))


@pytest.mark.parametrize("side", ["player_0", "player_1"])
def test_who_learns_a_game_is_worth_what_the_policy_guarantees(side):
    job = Job("MinimaxQ-v0", GAME, 300, env_kwargs=SMALL_GAME, side=side)
    env = pettingzoo.make("parallel", GAME, **SMALL_GAME)
    game = env.unwrapped.model
    agent = make_agent("MinimaxQ-v0", env, side=side).learn(300)
    law = agent.action_probabilities(env.unwrapped.observe(np.arange(4))[side])
    # The worst case by value iteration over the other side's actions, written out.
    axis, worst = ("a", np.min) if side == "player_0" else ("b", np.max)
    r = np.einsum(f"s{axis},sab->s{'b' if axis == 'a' else 'a'}", law, game.r)
    P = np.einsum(f"s{axis},sabt->s{'b' if axis == 'a' else 'a'}t", law, game.P)
    value = np.zeros(4)
    for _ in range(1500):
        value = worst(r + game.gamma * P @ value, axis=1)
    guaranteed = float(game.rho @ value) * (1 if side == "player_0" else -1)
    yardstick = yardstick_of(job)
    reading = yardstick.read(agent)
    assert reading.value == pytest.approx(guaranteed, abs=1e-8)
    assert yardstick.uniform_value < yardstick.optimal_value
    assert reading.score <= 1.0 + 1e-9
    nash = make_agent("NashPlanner-v0", env, side=side).learn(0)
    assert yardstick.read(nash).score == pytest.approx(1.0, abs=1e-8)


def test_one_side_against_an_opponent_is_worth_its_return_against_it():
    job = Job("BestResponse-v0", GAME, 0, env_kwargs=SMALL_GAME, opponent="NashPlanner-v0")
    best = perform(job).rows[-1]
    assert best["score"] == pytest.approx(1.0, abs=1e-8)
    uniform = perform(Job("Random-v0", GAME, 0, env_kwargs=SMALL_GAME, opponent="NashPlanner-v0")).rows[-1]
    assert uniform["score"] == 0.0
    assert uniform["optimal_value"] == pytest.approx(best["optimal_value"], abs=1e-9)


def test_overspending_never_scores_above_the_optimum():
    job = Job("Random-v0", "ConstrainedLinearMDP-v0", 0)
    env, yardstick = gym.make(job.env_id), yardstick_of(job)
    greedy = make_agent("BackwardInduction-v0", ModelEnv(env.unwrapped.model.mdp)).learn(0)
    reading = yardstick.read(greedy)
    assert reading.violation > 0.0
    assert reading.value > yardstick.optimal_value  # it earns more, and scores less
    assert reading.score < 1.0
    price = env.unwrapped.solution().multiplier
    uniform = audit(make_agent("Random-v0", env), env)
    floor = uniform.value - 2 * price * max(uniform.violation, 0.0)
    charged = reading.value - 2 * price * reading.violation
    assert reading.score == pytest.approx((charged - floor) / (yardstick.optimal_value - floor), abs=1e-12)
    tilted = [Tilted(env, np.array(w)) for w in itertools.product((1.0, 9.0), repeat=env.action_space.n)]
    assert max(yardstick.read(policy).score for policy in tilted) < 1.0


class Tilted:
    """Draws each action with probability proportional to its weight, whatever it sees."""

    def __init__(self, env, weights):
        self.observation_space, self.law = env.observation_space, weights / weights.sum()

    def action_probabilities(self, observations):
        return np.tile(self.law, (len(observations), 1))

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        raise NotImplementedError


def test_uniform_play_scores_nothing_where_actions_cannot_be_listed():
    arguments = {"digits": 3, "base": 3, "horizon": 3, "n_states": 6, "transition_digits": 1}
    job = Job("Random-v0", "LargeActionMDP-v0", 0, env_kwargs=arguments)
    row = perform(job).rows[-1]
    assert (row["score"], row["value"]) == (0.0, row["uniform_value"])
    listed = Job("BackwardInduction-v0", job.env_id, 0, env_kwargs={**arguments, "actions": "index"})
    best = perform(listed).rows[-1]
    assert best["score"] == pytest.approx(1.0, abs=1e-9)
    assert best["uniform_value"] == pytest.approx(row["uniform_value"], abs=1e-9)


def test_where_no_model_is_known_episodes_are_played():
    job = Job("Random-v0", "CartPole-v1", 0)
    rows = perform(job).rows
    (row,) = rows
    assert (row["kind"], row["score"], row["optimal_value"]) == ("estimated", None, None)
    assert row["low"] < row["value"] == row["uniform_value"] < row["high"]
    assert perform(job).rows == rows
    assert perform(replace(job, seed=1)).rows[0]["value"] != row["value"]


class Pictures(gym.Env):
    """Shows noise, pays 1 three times."""

    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), 1.0, self.left == 0, False, {}


def test_networks_that_see_pictures_are_measured(monkeypatch):
    monkeypatch.setitem(gym.registry, "Pictures-v0", gym.envs.registration.EnvSpec("Pictures-v0", Pictures))
    small = {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 4}}}
    job = Job("PPO", "Pictures-v0", 0, agent_kwargs={"policy": "CnnPolicy", "hyperparameters": small})
    (row,) = perform(job).rows
    assert (row["value"], row["uniform_value"]) == (3.0, 3.0)


def test_an_episode_that_never_ends_is_told(monkeypatch):
    monkeypatch.setattr(measurement, "LONGEST", 30)
    job = Job("Random-v0", "Pendulum-v1", 0, env_kwargs={"max_episode_steps": 31})
    with pytest.raises(ModelError, match=r"Pendulum-v1 has not ended after 30 steps; .* max_episode_steps"):
        perform(job)


def test_the_interval_of_an_estimate_holds_the_mean_as_often_as_it_says(monkeypatch):
    yardstick, held = yardstick_of(Job("Random-v0", "CartPole-v1", 0)), 0
    for seed in range(200):
        returns = np.random.default_rng(seed).normal(3.0, 2.0, EPISODES)
        monkeypatch.setattr(yardstick, "_returns", lambda *_, returns=returns: returns)
        reading = yardstick.read(make_agent("Random-v0", gym.make("CartPole-v1")))
        held += reading.low <= 3.0 <= reading.high
    assert 180 <= held <= 198  # 190 expected, deviation 3.1


def test_the_interval_around_a_mean_is_that_of_scipy():
    samples = np.random.default_rng(0).normal(size=(3, 7))
    low, high = scipy.stats.t.interval(0.9, 6, samples.mean(axis=1), scipy.stats.sem(samples, axis=1))
    np.testing.assert_allclose(student_half_widths(samples, 0.9), (high - low) / 2)
    with pytest.raises(ValueError, match="at least two"):
        student_half_widths([1.0])


def test_there_is_no_score_where_uniform_play_is_optimal():
    assert normalised(1.0, 1.0, 1.0) is None
    assert normalised(1e9, 1e9, 1e9 * (1 + 1e-12)) is None
    assert normalised(2.0, 1.0, 3.0) == 0.5


# runs


RUNS = {
    "tables": Job("UCBVI-v0", "RealizableMDP-v0", 60, seed=3, env_kwargs=SMALL),
    "features": Job("LSVIUCB-v0", "LinearMDP-v0", 30, seed=3, env_kwargs={"horizon": 3, "dim": 3, "n_states": 50}),
    "a budget": Job(
        "SoftmaxPrimalDual-v0", "ConstrainedLinearMDP-v0", 30, seed=3, agent_kwargs={"n_episodes": 10, "record": False}
    ),
    "a network": Job("PPO", "RandomMDP-v0", 60, 3, agent_kwargs={"hyperparameters": {"n_steps": 20, "batch_size": 10}}),
    "values": Job(
        "DQN",
        "RandomMDP-v0",
        60,
        3,
        agent_kwargs={"hyperparameters": {"learning_starts": 10, "buffer_size": 100, "batch_size": 8}},
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_where_an_agent_that_is_trained_by_hand_does(name):
    job = replace(RUNS[name], checkpoints=3)
    n = job.total_timesteps
    rows = perform(job).rows
    assert [row["steps"] for row in rows] == [0, -(-n // 3), -(-2 * n // 3), n]
    exact = audit(trained(job), gym.make(job.env_id, **job.env_kwargs))
    assert rows[-1]["value"] == exact.value  # from the last step and the last rollout too
    assert rows[-1]["optimal_value"] == exact.optimal_value


@pytest.mark.parametrize("name", RUNS)
def test_measuring_changes_nothing_of_what_is_learnt(name):
    often, once = (perform(replace(RUNS[name], checkpoints=n)).rows for n in (10, 1))
    assert (often[0], often[-1]) == (once[0], {**once[1], "checkpoint": 10})


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"], ids=["a law", "no law"])
def test_estimating_changes_nothing_of_what_is_learnt(env_id):
    short = {"max_episode_steps": 10}
    job = Job("PPO", env_id, 40, 0, short, {"hyperparameters": {"n_steps": 20, "batch_size": 10}})
    often, once = (perform(replace(job, checkpoints=n)).rows for n in (4, 1))
    assert often[-1] == {**once[-1], "checkpoint": 4}


def test_a_run_is_the_same_whenever_it_is_repeated():
    for job in (RUNS["tables"], Job("MinimaxQ-v0", GAME, 50, env_kwargs=SMALL_GAME)):
        assert perform(job).rows == perform(job).rows


def test_planners_are_measured_once_with_the_queries_they_made():
    needle = {"n_actions": 3, "horizon": 4, "dim": 6}
    for agent, most in (("TensorPlan-v0", 500), ("UCT-v0", 500)):
        (row,) = perform(Job(agent, "NeedleMDP-v0", 100, env_kwargs=needle, agent_kwargs={"budget": most})).rows
        assert 0 < row["queries"] <= most
        assert (row["checkpoint"], row["steps"]) == (0, 0)
    assert perform(Job("ValueIteration-v0", "RandomMDP-v0", 100)).rows[0]["queries"] is None


def test_environments_side_by_side_share_the_steps():
    job = replace(RUNS["a network"], n_envs=4, checkpoints=2)
    assert [row["steps"] for row in perform(job).rows] == [0, 28, 60]  # whole steps of all four, none too many


def test_who_stops_early_is_measured_as_it_ended(monkeypatch):
    learn = SteppingAgent.learn
    monkeypatch.setattr(SteppingAgent, "learn", lambda agent, n, **given: learn(agent, min(n, 25), **given))
    rows = perform(replace(RUNS["tables"], checkpoints=3)).rows
    assert [row["steps"] for row in rows] == [0, 20, 25, 25]
    monkeypatch.undo()
    assert rows[-1]["value"] == perform(replace(RUNS["tables"], total_timesteps=25)).rows[-1]["value"]


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (Job("PPOO", "RandomMDP-v0", 10), "did you mean PPO"),
        (Job("PPO", "FrozenLak-v1", 10), "FrozenLake-v1"),
        (Job("SAC", "FrozenLake-v1", 10), "SAC refuses"),
        (Job("LSVIUCB-v0", "RealizableMDP-v0", 10), "linear MDPs"),
        (Job("ValueIteration-v0", "CartPole-v1", 10), "has no attribute P"),
        (Job("UCT-v0", "NeedleMDP-v0", 10, agent_kwargs={"budget": 1}), "budget"),
        (Job("A2C", "CliffWalking-v1", 10), "time limit"),
    ],
)
def test_what_cannot_begin_is_told_without_training(job, why):
    with pytest.raises((AgentError, ModelError), match=why):
        check(job)


# plans


PAIR = Plan(("UCBVI-v0", "Random-v0"), ("RealizableMDP-v0",), 20, seeds=2, env_kwargs={"": SMALL}, checkpoints=2)


def test_a_plan_is_agents_times_instances_times_seeds():
    jobs = replace(PAIR, instances=3, first_seed=5).jobs()
    assert len(jobs) == len({job.key for job in jobs}) == 2 * 3 * 2
    assert {(job.env_kwargs["mdp_seed"], job.seed) for job in jobs} == {(i, s) for i in range(3) for s in (5, 6)}
    assert all(job.env_kwargs["horizon"] == 3 for job in jobs)
    assert all("mdp_seed" not in job.env_kwargs for job in PAIR.jobs())


def test_environments_say_which_arguments_they_take():
    assert {"mdp_seed", "horizon", "observation", "max_episode_steps"} <= env_parameters("RealizableMDP-v0")
    assert {"game_seed", "max_cycles", "n_states"} <= env_parameters(GAME)
    assert {"map_name", "is_slippery"} <= env_parameters("FrozenLake-v1")


def test_hyperparameters_are_those_of_the_environment_or_the_default():
    entries = {
        "PPO": {
            "FrozenLake-v1": {"n_steps": 32, "n_envs": 2, "batch_size": 32},
            "default": {"n_steps": 32, "batch_size": 32, "policy": "MlpPolicy"},
        },
        "LSVIUCB-v0": {"LinearMDP-v0": {"scale": 0.5}},
    }
    plan = Plan(("PPO",), ("FrozenLake-v1", "RandomMDP-v0"), 10, hyperparameters=entries)
    ice, random = plan.jobs()
    assert (ice.agent_kwargs, ice.n_envs) == ({"hyperparameters": {"n_steps": 32, "batch_size": 32}}, 2)
    assert (random.agent_kwargs, random.n_envs) == (
        {"policy": "MlpPolicy", "hyperparameters": {"n_steps": 32, "batch_size": 32}},
        1,
    )
    (changed, _) = replace(plan, agent_kwargs={"PPO": {"n_steps": 64, "device": "cpu"}}).jobs()
    assert changed.agent_kwargs == {"device": "cpu", "hyperparameters": {"n_steps": 64, "batch_size": 32}}
    (own,) = Plan(("LSVIUCB-v0",), ("LinearMDP-v0",), 10, hyperparameters=entries).jobs()
    assert own.agent_kwargs == {"scale": 0.5}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"agents": ()}, "--agents is empty"),
        ({"agents": ("UCBVI-v0", "UCBVI-v0")}, "UCBVI-v0 twice"),
        ({"agents": ("UCBVI",)}, "did you mean UCBVI-v0"),
        ({"env_ids": ("RealizableMDP-v0", "RealizableMDP-v0")}, "RealizableMDP-v0 twice"),
        ({"env_ids": ("RealisableMDP-v0",)}, "RealizableMDP-v0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"total_timesteps": -1}, "total_timesteps is -1"),
        ({"checkpoints": 0}, "checkpoints is 0"),
        (
            {"agents": ("UCBVI-v0", "PPO", "LSVIUCB-v0", "SAC")},
            r"LSVIUCB-v0 on RealizableMDP-v0: .*; SAC on RealizableMDP-v0",
        ),
        ({"env_ids": ("RealizableMDP-v0", "RiverSwim-v0")}, "UCBVI-v0 on RiverSwim-v0"),
        ({"env_kwargs": {"": {"horison": 3}}}, "none of these environments takes horison"),
        ({"env_kwargs": {"RealizableMDP-v0": {"horison": 3}}}, "horison"),
        ({"env_kwargs": {"RiverSwim-v0": {}}}, "RiverSwim-v0, which is not compared"),
        ({"agent_kwargs": {"": {"scal": 3.0}}}, "none of these agents takes scal"),
        ({"agent_kwargs": {"UCBVI-v0": {"scal": 3.0}}}, "no argument scal"),
        ({"agent_kwargs": {"PPO": {}}}, "PPO, which is not compared"),
        ({"gamma": 0.9}, "has its own"),
        ({"instances": 2, "env_kwargs": {"": {"mdp_seed": 3}}}, "mdp_seed of RealizableMDP-v0 is given"),
        ({"agents": ("Random-v0",), "env_ids": ("RiverSwim-v0",), "env_kwargs": {}, "instances": 2}, "takes mdp_seed"),
        ({"opponent": "Random-v0"}, "for games"),
        ({"hyperparameters": {"UCBVI": {}}}, "did you mean UCBVI-v0"),
        ({"hyperparameters": {"UCBVI-v0": {"RealisableMDP-v0": {}}}}, "near are: RealizableMDP-v0"),
        ({"hyperparameters": {"UCBVI-v0": {"scale": 1.0}}}, "'scale', which is no environment"),
        ({"hyperparameters": {"UCBVI-v0": 3}}, "write them under an environment"),
        ({"hyperparameters": {"UCBVI-v0": {"RealizableMDP-v0": 3}}}, "write name: value"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_trained(changes, why, monkeypatch):
    monkeypatch.setattr(comparison, "perform", None)
    with pytest.raises((AgentError, ModelError), match=why):
        replace(PAIR, **changes).jobs()


@pytest.mark.parametrize("opponent", [None, "NashPlanner-v0"])
def test_agents_of_games_and_of_one_side_are_measured_alike(opponent):
    plan = Plan(("MinimaxQ-v0", "DQN", "Random-v0"), (GAME,), 0, env_kwargs={"": SMALL_GAME}, opponent=opponent)
    rows = [perform(job).rows[0] for job in replace(plan, side="player_1").jobs()]
    for name in ("meaning", "optimal_value", "uniform_value"):
        assert len({row[name] for row in rows}) == 1
    assert rows[0]["meaning"].startswith("expected" if opponent else "return against a best response")
    assert rows[2]["score"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"": {"seed": 3}}, "hold seed, which is set for each run"),
        ({"DQN": {"env": 3}}, "hold env,"),
        ({"MinimaxQ-v0": {"side": "player_1"}}, "hold side,"),
        ({"DQN": {"algorithm": "stable_baselines3:PPO"}}, "hold algorithm,"),
        ({"DQN": {"hyperparameters": 3}}, "hyperparameters of DQN are 3"),
    ],
)
def test_what_a_plan_sets_is_no_argument_of_agents(arguments, why):
    with pytest.raises(AgentError, match=why):
        Plan(("MinimaxQ-v0", "DQN"), (GAME,), 10, agent_kwargs=arguments).jobs()


def test_hyperparameters_of_a_file_are_kept_beside_those_given():
    entries = {"PPO": {"default": {"hyperparameters": {"n_steps": 32, "batch_size": 32}}}}
    plan = Plan(("PPO",), ("RandomMDP-v0",), 10, hyperparameters=entries, agent_kwargs={"PPO": {"n_steps": 64}})
    assert plan.jobs()[0].agent_kwargs == {"hyperparameters": {"n_steps": 64, "batch_size": 32}}


# standings


def run(agent, env_id, seed, scores, kind="exact", **env_kwargs):
    rows = [
        {"score": score, "value": 10.0, "steps": 50 * k, "queries": None, "kind": kind, "violation": None}
        | {"optimal_value": 20.0, "uniform_value": 0.0, "meaning": "expected return"}
        for k, score in enumerate(scores)
    ]
    return Run(Job(agent, env_id, 100, seed, env_kwargs), rows, 1.5)


def standings(scores):
    """Final scores: agent -> (runs, tasks)."""
    return Standings(
        [
            run(agent, f"T{t}", seed, [0.0, score / 2, score])
            for agent, table in scores.items()
            for seed, row in enumerate(table)
            for t, score in enumerate(row)
        ]
    )


def test_scores_are_pooled_by_the_interquartile_mean_of_the_runs():
    a = [[0.0, 0.9], [0.2, 1.0], [0.4, 0.8], [0.6, 0.7]]
    found = standings({"A": a, "B": [[0.5, 0.5]] * 4})
    ours, theirs = found.overall()
    assert ours["score"] == pytest.approx(np.mean([0.4, 0.6, 0.7, 0.8]))
    interval = interquartile_mean_interval(a, np.random.default_rng(0))
    assert (ours["low"], ours["high"]) == (interval.low, interval.high)
    assert ours["low"] < ours["score"] < ours["high"]
    assert (theirs["low"], theirs["score"], theirs["high"]) == (0.5, 0.5, 0.5)
    assert (ours["tasks"], ours["runs"], ours["seconds"]) == (2, 8, 1.5)
    curve = found.curves()["A"]
    assert list(curve.at) == [0.0, 50.0, 100.0]
    assert curve.middle == pytest.approx([0.0, ours["score"] / 2, ours["score"]])
    assert [row["score"] for row in found.by_environment()[::2]] == pytest.approx([0.3, 0.85])


def test_the_probability_of_improvement_counts_pairs_within_tasks():
    found = standings({"A": [[0.0, 0.9], [0.4, 0.5]], "B": [[0.2, 0.5], [0.2, 0.1]]})
    by_pair = {(row["agent"], row["other"]): row for row in found.improvements()}
    # Task 0: 0.0 < 0.2, 0.2 and 0.4 > both; task 1: 0.9 > both, 0.5 = 0.5 counts a half, 0.5 > 0.1.
    assert by_pair["A", "B"]["probability"] == pytest.approx((2 / 4 + 3.5 / 4) / 2)
    assert by_pair["B", "A"]["probability"] == pytest.approx(1 - by_pair["A", "B"]["probability"])
    assert by_pair["B", "A"]["low"] == pytest.approx(1 - by_pair["A", "B"]["high"])


def test_a_profile_is_the_fraction_of_runs_above():
    profile = standings({"A": [[0.1, 0.7], [0.3, 0.7]]}).profiles()["A"]
    last = [max(tau for tau in profile.at if tau <= level) for level in (-0.01, 0.2, 0.5, 0.7)]
    assert [profile.middle[list(profile.at).index(tau)] for tau in last] == [1.0, 0.75, 0.5, 0.0]
    assert all(
        low <= middle <= high for low, middle, high in zip(profile.low, profile.middle, profile.high, strict=True)
    )


def test_the_band_of_a_profile_draws_runs_within_tasks():
    # One task, two runs: none, one or both of two draws exceed 1/2, with probabilities 1/4, 1/2, 1/4.
    low, high = performance_profile_band([[0.0], [1.0]], [0.5, 2.0], 0, confidence=0.4)
    assert (low.tolist(), high.tolist()) == ([0.5, 0.0], [0.5, 0.0])
    low, high = performance_profile_band([[0.0], [1.0]], [0.5], 0, confidence=0.9)
    assert (low.tolist(), high.tolist()) == ([0.0], [1.0])
    low, high = performance_profile_band([[0.0, 1.0], [0.0, 1.0]], [0.5], 0)
    assert (low.tolist(), high.tolist()) == ([0.5], [0.5])  # drawn across tasks it would vary


def test_tasks_without_scores_are_left_out_of_what_is_pooled_and_said_so():
    scored = [run(agent, "T", seed, [0.0, 0.5]) for agent in "AB" for seed in (0, 1)]
    unscored = [run(agent, "E", seed, [None, None], kind="estimated") for agent in "AB" for seed in (0, 1)]
    trivial = [run(agent, "U", seed, [None, None]) for agent in "AB" for seed in (0, 1)]
    found = Standings([*scored, *unscored, *trivial])
    assert found.scored == ("T",)
    assert found.left_out == {
        "E": "its values are estimates, and its optimum is not known",
        "U": "uniform play is optimal",
    }
    assert [row["tasks"] for row in found.overall()] == [1, 1]
    assert {(row["env_id"], row["value"]) for row in found.unscored()} == {("E", 10.0), ("U", 10.0)}
    alone = Standings(unscored)
    assert (alone.overall(), alone.curves(), alone.profiles()) == ([], {}, {})
    assert alone.improvements()[0]["probability"] == 0.5  # values compare within a task


def test_one_seed_has_no_interval_and_few_are_told():
    one = standings({"A": [[0.3]], "B": [[0.5]]})
    assert [(row["low"], row["high"]) for row in (*one.overall(), *one.improvements())] == [(None, None)] * 4
    assert one.curves()["A"].low is None
    assert "no intervals" in one.caution()
    assert "narrower than they say" in standings({"A": [[0.3]] * 4}).caution()
    assert "narrower" not in standings({"A": [[0.3]] * 5}).caution()


def test_instances_of_one_environment_are_told_together():
    runs = [run("A", "M", seed, [0.0, 0.1 + i], mdp_seed=i) for i in (0, 1) for seed in (0, 1)]
    found = Standings(runs)
    assert found.families() == ["M"]
    assert len(found.tasks) == 2
    (row,) = found.by_environment()
    assert (row["instances"], row["score"]) == (2, pytest.approx(0.6))


def test_agents_with_different_runs_are_not_compared():
    with pytest.raises(ModelError, match="every seed"):
        Standings([run("A", "T", 0, [0.0]), run("B", "T", 1, [0.0])])


def test_who_takes_no_steps_is_worth_the_same_throughout():
    planner = Run(Job("P", "T", 100), run("P", "T", 0, [1.0]).rows, 0.1)
    found = Standings([run("A", "T", 0, [0.0, 0.2, 0.4]), planner])
    assert list(found.curves()["P"].middle) == [1.0, 1.0, 1.0]


# the command

COMMAND = [
    *("compare", "--agents", "UCBVI-v0", "Random-v0", "BackwardInduction-v0", "--env-ids", "RealizableMDP-v0"),
    *(
        "--env-kwargs",
        "horizon=3",
        "n_states=5",
        "n_actions=2",
        "dim=2",
        "--total-timesteps",
        "30",
        "--checkpoints",
        "2",
        "--seeds",
        "2",
        "--instances",
        "2",
    ),
    *("--engine", "loop"),
]
NUMBERS = ("comparison.parquet", "scores.png", "scores.svg", "profiles.svg", "improvement.svg")


def rows_of(path):
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in json.loads(path.read_text())]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command writes in a process of its own, and what it prints."""
    folder = tmp_path_factory.mktemp("compare")
    command = [*COMMAND, "--out", str(folder / "out"), "--json", str(folder / "rows.json")]
    entry = "from lookahead_rl.scripts.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", entry, *command], capture_output=True, text=True, check=True)
    return folder, done.stdout


def test_the_command_writes_tables_plots_and_page(written):
    folder, shown = written
    assert "BackwardInduction-v0" in shown
    assert "narrower than they say" in " ".join(shown.split())
    rows = json.loads((folder / "rows.json").read_text())
    assert len(rows) == 3 * 2 * 2
    assert all(row["kind"] == "exact" and row["optimal_value"] > row["uniform_value"] for row in rows)
    by_agent = {row["agent"]: row["score"] for row in rows}
    assert by_agent["Random-v0"] == 0.0
    assert by_agent["BackwardInduction-v0"] == pytest.approx(1.0, abs=1e-9)
    page = (folder / "out" / "comparison.html").read_text()
    assert page.count("<svg") >= 3
    assert "<h2>RealizableMDP-v0 dim=2 horizon=3 n_actions=2 n_states=5</h2>\n<p>Value: expected return, exact" in page
    told = json.loads((folder / "out" / "comparison.json").read_text())
    assert told["configuration"]["env_ids"] == ["RealizableMDP-v0"]
    assert len(told["improvements"]) == 6
    assert (folder / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_comparison_elsewhere_says_the_same(written, tmp_path):
    folder, _ = written
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores-7.svg").write_text("of an earlier comparison")
    main([*COMMAND, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "rows.json")])
    assert rows_of(tmp_path / "rows.json") == rows_of(folder / "rows.json")
    assert not (tmp_path / "out" / "scores-7.svg").exists()
    for name in NUMBERS:
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_the_same_comparison_again_trains_nothing(written, monkeypatch):
    folder, _ = written
    before = json.loads((folder / "rows.json").read_text())
    monkeypatch.setattr(comparison, "perform", None)
    plan = replace(PAIR, agents=(*PAIR.agents, "BackwardInduction-v0"), total_timesteps=30, instances=2)
    assert gather(plan.jobs(), folder / "out" / "runs").final_rows() == before  # wall times too


def test_a_comparison_that_was_stopped_goes_on(tmp_path, monkeypatch):
    jobs = PAIR.jobs()
    whole = gather(jobs, tmp_path / "whole", engine="loop").final_rows()
    calls = itertools.count()

    def stopped(job):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return perform(job)

    monkeypatch.setattr(comparison, "perform", stopped)
    with pytest.raises(KeyboardInterrupt):
        gather(jobs, tmp_path / "part", engine="loop")
    done = next(calls)
    resumed = gather(jobs, tmp_path / "part", engine="loop").final_rows()
    assert next(calls) <= done + len(jobs) + 1
    drop = ({name: cell for name, cell in row.items() if name != "seconds"} for row in (*resumed, *whole))
    told = list(drop)
    assert told[: len(jobs)] == told[len(jobs) :]


def test_runs_that_fail_are_told_and_the_others_kept(tmp_path, monkeypatch):
    def failing(job):
        if job.agent == "UCBVI-v0" and job.seed == 1:
            raise AgentError("it diverged")
        return perform(job)

    monkeypatch.setattr(comparison, "perform", failing)
    with pytest.raises(AgentError, match=r"1 of 4 runs failed.*it diverged"):
        gather(PAIR.jobs(), tmp_path, engine="loop")
    monkeypatch.setattr(comparison, "perform", perform)
    assert len(gather(PAIR.jobs(), tmp_path, engine="loop").runs) == 4


def test_hyperparameters_come_from_yaml_and_json(tmp_path, monkeypatch):
    yaml, plain, planned = tmp_path / "h.yml", tmp_path / "h.json", []
    yaml.write_text("UCBVI-v0:\n  RealizableMDP-v0: {scale: 0.25}\n  default: {scale: 1.0}\n")
    plain.write_text('{"UCBVI-v0": {"RealizableMDP-v0": {"scale": 0.25}, "default": {"scale": 1.0}}}')
    assert read_hyperparameters(yaml) == read_hyperparameters(plain)

    def stop(jobs, *_, **__):
        planned.extend(jobs)
        raise AgentError("enough")

    monkeypatch.setattr(sys.modules["lookahead_rl.scripts.compare"], "gather", stop)
    with pytest.raises(SystemExit):
        main([*COMMAND, "--agents", "UCBVI-v0", "--hyperparameters", str(yaml), "--out", str(tmp_path / "out")])
    assert {job.agent_kwargs["scale"] for job in planned} == {0.25}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--agents", "PPOO"], "did you mean PPO"),
        (["--env-ids", "RealisableMDP-v0"], "RealizableMDP-v0"),
        (["--agents", "LSVIUCB-v0"], "LSVIUCB-v0 on RealizableMDP-v0: this agent learns linear MDPs"),
        (["--seeds", "0"], "seeds is 0"),
        (["--env-kwargs", "horizon"], "--env-kwargs holds 'horizon'"),
        (["--engine", "hadoop"], "no engine 'hadoop'"),
        (["--n-jobs", "0"], "n_jobs is 0"),
        (["--hyperparameters", "missing.yml"], "missing.yml"),
        (["--json", "missing/rows.json"], "missing"),
    ],
)
def test_bad_input_is_one_line_and_status_2(options, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([*COMMAND, *options])
    shown = capsys.readouterr().err
    assert stop.value.code == 2
    assert told in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "comparison" / "comparison.html").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.yml", b"UCBVI-v0: ["),
        ("list.yml", b"- UCBVI-v0"),
        ("text.yml", b"just text"),
        ("twice.yml", b"UCBVI-v0: {default: {scale: 0.1, scale: 0.2}}"),
        ("twice.json", b'{"UCBVI-v0": {}, "UCBVI-v0": {}}'),
        ("bytes.yml", b"\xff\xfe\x00"),
    ],
)
def test_a_file_of_hyperparameters_that_is_none_is_refused(name, content, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SystemExit):
        main([*COMMAND, "--hyperparameters", str(path), "--out", str(tmp_path / "out")])
    assert str(path) in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "letter.txt").write_text("dear")
    with pytest.raises(SystemExit):
        main([*COMMAND, "--out", str(tmp_path)])
    assert "runs" in capsys.readouterr().err
    assert (tmp_path / "runs" / "letter.txt").read_text() == "dear"


def test_estimates_are_told_as_such(tmp_path, capsys):
    options = ["--agents", "Random-v0", "--env-ids", "CartPole-v1", "--env-kwargs", "max_episode_steps=20"]
    main([*COMMAND, *options, "--instances", "1", "--out", str(tmp_path / "out")])
    shown = " ".join(capsys.readouterr().out.split())
    assert "estimated. Uniform play" in shown
    assert "No task has scores, so nothing is pooled" in shown
    assert "narrower than they say" in (tmp_path / "out" / "comparison.html").read_text()
    assert "values while learning" in (tmp_path / "out" / "comparison.html").read_text()
    assert (tmp_path / "out" / "values-0.png").exists()


@pytest.mark.slow
def test_processes_find_what_the_loop_finds(tmp_path):
    main([*COMMAND, "--out", str(tmp_path / "a"), "--json", str(tmp_path / "a.json")])
    parallel = [
        *COMMAND,
        "--engine",
        "joblib",
        "--n-jobs",
        "2",
        "--agents",
        "UCBVI-v0",
        "Random-v0",
        "BackwardInduction-v0",
    ]
    main([*parallel, "--out", str(tmp_path / "b"), "--json", str(tmp_path / "b.json")])
    assert rows_of(tmp_path / "a.json") == rows_of(tmp_path / "b.json")
