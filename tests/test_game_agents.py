"""Agents of zero-sum Markov games: planners, learners from play, best responses; either side, against each other."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
from pettingzoo.utils import BaseParallelWrapper

import lookahead_rl  # noqa: F401  registers the games
from lookahead_rl.agents import Agent, AgentError, load_agent, make_agent
from lookahead_rl.agents.games.fictitious_play import FictitiousPlayAgent
from lookahead_rl.agents.games.minimax_q import MinimaxQAgent
from lookahead_rl.agents.lookup import state_lookup
from lookahead_rl.envs.games import PLAYERS, MarkovGameEnv
from lookahead_rl.evaluation import audit, exploitability
from lookahead_rl.models import MarkovGame, ModelError, matching_pennies, matrix_game, van_der_wal
from lookahead_rl.models.generators import garnet_game, random_linear_game
from lookahead_rl.solvers import best_response, solve_matrix_games
from lookahead_rl.wrappers import VersusOpponent

GAME_AGENTS = (
    "BestResponse-v0",
    "FictitiousPlay-v0",
    "GamePolicyIteration-v0",
    "MinimaxQ-v0",
    "NashPlanner-v0",
    "UniformGame-v0",
)
LEARNERS = {"MinimaxQ-v0": {}, "FictitiousPlay-v0": {}, "model-free": {"knows_model": False}}


def game(observation: str = "features", **kwargs: Any) -> Any:
    return pettingzoo.make(
        "parallel", "lookahead_rl/RandomMarkovGame-v0", game_seed=1, observation=observation, **kwargs
    )


def small(gamma: float = 0.5, seed: int = 0) -> MarkovGameEnv:
    return MarkovGameEnv(garnet_game(4, 3, 3, 3, seed, gamma=gamma), observation="state")


def tiny() -> MarkovGameEnv:
    return MarkovGameEnv(garnet_game(3, 2, 2, 2, 2, gamma=0.5), observation="state")


def ragged() -> MarkovGameEnv:
    """Three states, the last one terminal; player_0 has 1, 3, 2 actions there and player_1 2, 1, 2."""
    counts_0, counts_1 = np.array([1, 3, 2]), np.array([2, 1, 2])
    inside = (np.arange(3) < counts_0[:, None])[:, :, None] & (np.arange(2) < counts_1[:, None])[:, None, :]
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), (3, 3, 2)) * inside[..., None]
    r = rng.normal(size=(3, 3, 2)) * inside
    P[2], r[2] = inside[2, :, :, None] * np.array([0.0, 0.0, 1.0]), 0.0
    rho, ends = np.array([0.5, 0.5, 0.0]), np.array([False, False, True])
    return MarkovGameEnv(MarkovGame(P, r, 0.9, rho, counts_0, counts_1, ends), observation="state")


def learner(name: str, env: Any, side: str = "player_0", **kwargs: Any) -> Any:
    agent_id = "FictitiousPlay-v0" if name == "model-free" else name
    return make_agent(agent_id, env, side=side, **LEARNERS[name], **kwargs)


def pair(agent_id: str, env: Any, steps: int = 0, **kwargs: Any) -> list[Agent]:
    return [make_agent(agent_id, env, side=side, **kwargs).learn(steps) for side in PLAYERS]


def learnt_gap(env: MarkovGameEnv, agent: Any) -> float:
    """The exploitability of what a learner learnt for both sides."""
    return exploitability(env, agent.tables()["mu"], agent.tables()["nu"]).gap


# every agent, on either side


@pytest.mark.parametrize(("one", "other"), list(product(GAME_AGENTS, repeat=2)))
def test_all_agents_play_each_other(one: str, other: str):
    for env in (game(max_cycles=12), ragged()):
        agents = {
            "player_0": make_agent(one, env, side="player_0").learn(30),
            "player_1": make_agent(other, env, side="player_1").learn(30),
        }
        shown, _ = env.reset(seed=0)
        while env.agents:
            shown, *_ = env.step({side: agents[side].predict(shown[side])[0] for side in env.agents})
        assert exploitability(env, *agents.values()).gap >= 0.0


@pytest.mark.parametrize("side", PLAYERS)
@pytest.mark.parametrize("agent_id", GAME_AGENTS)
def test_a_config_is_json_and_makes_the_agent_anew(agent_id: str, side: str):
    env = game()
    agent = make_agent(agent_id, env, side=side, seed=3).learn(40)
    twin = type(agent)(env, **json.loads(json.dumps(agent.config()))).learn(40)
    shown = env.observe(np.arange(20))[side]
    np.testing.assert_array_equal(agent.action_probabilities(shown), twin.action_probabilities(shown))
    np.testing.assert_array_equal(agent.predict(shown)[0], twin.predict(shown)[0])
    assert agent.side == twin.side == side


@pytest.mark.parametrize("observation", ["state", "features"])
@pytest.mark.parametrize("agent_id", GAME_AGENTS)
def test_agents_act_alike_whatever_shows_the_state(agent_id: str, observation: str):
    env = game(observation)
    agent = make_agent(agent_id, env, side="player_1", seed=1).learn(50)
    plain = make_agent(agent_id, game("state"), side="player_1", seed=1).learn(50)
    np.testing.assert_array_equal(
        agent.action_probabilities(env.observe(np.arange(20))["player_1"]), plain.action_probabilities(np.arange(20))
    )


@pytest.mark.parametrize("agent_id", GAME_AGENTS)
def test_agents_are_made_for_the_turn_taking_form_too(agent_id: str):
    env = pettingzoo.make("aec", "lookahead_rl/RandomMarkovGame-v0", game_seed=1)
    agent = make_agent(agent_id, env).learn(10)
    assert exploitability(env, agent).gap > 0.0


@pytest.mark.parametrize("agent_id", ["BestResponse-v0", "MinimaxQ-v0", "FictitiousPlay-v0"])
def test_agents_that_list_states_refuse_games_that_do_not(agent_id: str):
    env = MarkovGameEnv(random_linear_game(10**9, 2, 3, 4, 0))
    with pytest.raises(AgentError, match="which a LinearMarkovGame does not list"):
        make_agent(agent_id, env)


# planning


@pytest.mark.parametrize("planner", [{}, {"lookahead": 3, "rollout": 5}, {"lookahead": 1, "rollout": 1}])
def test_the_plan_is_an_equilibrium_within_its_tolerance(planner: dict[str, Any]):
    for seed in range(4):
        env = MarkovGameEnv(garnet_game(8, 3, 4, 3, seed, gamma=0.8))
        plans = pair("GamePolicyIteration-v0", env, tol=1e-6, **planner)
        assert exploitability(env, *plans).gaps.certificate.upper.max() <= 2e-6
        assert exploitability(env, plans[0], None).value >= exploitability(env, plans[0], None).nash_value - 1e-6


def test_a_plan_that_misses_its_tolerance_says_so():
    """Naive policy iteration, H = 1 and m = infinity, cycles on Van der Wal's game."""
    agent = make_agent("GamePolicyIteration-v0", MarkovGameEnv(van_der_wal()), lookahead=1, rollout=np.inf)
    with pytest.warns(UserWarning, match="planned with a certified gap of .*, not 1e-08"):
        agent.learn(0)


def test_the_error_of_a_learnt_model_shrinks_with_the_samples():
    env = small(gamma=0.8, seed=3)
    gaps = [
        np.mean(
            [exploitability(env, *pair("GamePolicyIteration-v0", env, samples=n, seed=seed)).gap for seed in range(4)]
        )
        for n in (1, 30, 1000)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > 0.0
    assert gaps[2] <= 0.1 * gaps[0]


def test_a_learnt_model_keeps_to_the_available_actions():
    env = ragged()
    assert exploitability(env, *pair("GamePolicyIteration-v0", env, samples=200)).gap < 0.5


@pytest.mark.parametrize("planner", [{}, {"lookahead": 2, "rollout": 4}])
def test_linear_games_are_planned_by_their_weights(planner: dict[str, Any]):
    env = MarkovGameEnv(random_linear_game(10**9, 2, 3, 4, 0))
    plans = pair("GamePolicyIteration-v0", env, **planner)
    assert exploitability(env, *plans).gap <= 1e-5  # features are shown in float32
    assert all(plan.memory()["plan"]["weights"].shape == (4,) for plan in plans)


def test_the_nash_planner_plays_the_solution_of_the_environment():
    env = game()
    for agent, policy in zip(pair("NashPlanner-v0", env), env.solution().policy, strict=True):
        shown = env.observe(np.arange(20))[agent.side]
        np.testing.assert_array_equal(agent.action_probabilities(shown), policy)


def test_bad_arguments_of_the_planner_are_refused():
    with pytest.raises(AgentError, match="lookahead is 2 and rollout None; pass both, or neither"):
        make_agent("GamePolicyIteration-v0", game(), lookahead=2)
    with pytest.raises(ModelError, match="samples is 0"):
        make_agent("GamePolicyIteration-v0", game(), samples=0)
    with pytest.raises(AgentError, match="leave samples out"):
        make_agent("GamePolicyIteration-v0", MarkovGameEnv(random_linear_game(10**9, 2, 3, 4, 0)), samples=5)
    with pytest.raises(ValueError, match="lookahead is 0"):
        make_agent("GamePolicyIteration-v0", game(), lookahead=0, rollout=3)
    with pytest.raises(ValueError, match="rollout is 0"):
        make_agent("GamePolicyIteration-v0", game(), lookahead=1, rollout=0)


@pytest.mark.parametrize("tol", ["a", None, 0.0, True])
@pytest.mark.parametrize("agent_id", ["GamePolicyIteration-v0", "BestResponse-v0"])
def test_a_tolerance_is_checked_when_the_agent_is_made(agent_id: str, tol: Any):
    with pytest.raises(ValueError, match=r"tol is .*; pass a positive number"):
        make_agent(agent_id, game(), tol=tol)


def test_more_samples_than_can_be_drawn_are_refused_when_the_agent_is_made():
    """20 states with 3 actions each make 180 triples; the last state of the other game is terminal, 2 and 3 remain."""
    with pytest.raises(
        ModelError,
        match=r"samples is 1,000,000,000,000, so 180 triples \(s, a, b\) would take 180,000,000,000,000 transitions, "
        "more than 1,000,000,000; pass at most 5,555,555$",
    ):
        make_agent("GamePolicyIteration-v0", game(), samples=10**12)
    with pytest.raises(ModelError, match=r"so 5 triples .* pass at most 200,000,000$"):
        make_agent("GamePolicyIteration-v0", ragged(), samples=2 * 10**8 + 1)
    make_agent("GamePolicyIteration-v0", ragged(), samples=2 * 10**8)


def test_numbers_of_numpy_are_arguments_that_go_into_files(tmp_path: Path):
    numbers = {"tol": np.float32(0.5), "lookahead": np.int64(2), "rollout": np.int64(3), "samples": np.int64(4)}
    for agent_id, kwargs in {
        "GamePolicyIteration-v0": numbers,
        "MinimaxQ-v0": {"explore": np.float32(0.5), "decay": np.float32(0.5), "gamma": np.float32(0.5)},
        "FictitiousPlay-v0": {
            "knows_model": np.True_,
            "explore": np.float32(0.5),
            "play_rate": np.float32(0.25),
            "payoff_rate": np.float32(0.5),
        },
    }.items():
        agent = make_agent(agent_id, game(), **kwargs)
        agent.save(tmp_path / agent_id)
        loaded = load_agent(tmp_path / agent_id, game()).config()
        assert loaded == agent.config()
        assert {name: loaded[name] for name in kwargs} == {name: value.item() for name, value in kwargs.items()}


# best responses


@pytest.mark.parametrize("side", PLAYERS)
def test_a_best_response_attains_the_certified_value_exactly(side: str):
    env, player = small(gamma=0.9), PLAYERS.index(side)
    opponent = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    agent = make_agent("BestResponse-v0", env, side=side, opponent=opponent).learn(0)
    report = audit(agent, VersusOpponent(env, opponent, side=side))
    response = best_response(env.model, player, opponent)
    bounds = np.sort((1 - 2 * player) * np.array([response.certificate.lower, response.certificate.upper]), axis=0)
    assert (bounds[0] - 1e-12 <= report.values).all()
    assert (report.values <= bounds[1] + 1e-12).all()
    assert report.regret == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("side", PLAYERS)
def test_a_best_response_attains_its_value_by_simulation(side: str):
    env = MarkovGameEnv(garnet_game(4, 3, 3, 3, 0, gamma=0.5), observation="state", max_cycles=15)
    opponent = make_agent("UniformGame-v0", env, side=PLAYERS[1 - PLAYERS.index(side)])
    agent = make_agent("BestResponse-v0", env, side=side, opponent=opponent).learn(0)
    versus, returns = VersusOpponent(env, opponent, side=side), []
    for seed in range(200):
        state, _ = versus.reset(seed=seed)
        rewards = []
        for _ in range(15):
            state, reward, *_ = versus.step(agent.predict(state)[0])
            rewards.append(reward)
        returns.append(np.array(rewards) @ 0.5 ** np.arange(15))
    optimum = float(env.model.rho @ versus.solution().value)
    assert np.mean(returns) == pytest.approx(optimum, abs=4 * np.std(returns) / np.sqrt(200) + 1e-3)


def test_the_opponent_is_an_agent_an_array_or_uniform():
    env = game()
    nash = make_agent("NashPlanner-v0", env, side="player_1").learn(0)
    table = nash.action_probabilities(env.observe(np.arange(20))["player_1"])
    responses = [make_agent("BestResponse-v0", env, opponent=one).learn(0) for one in (nash, table)]
    shown = env.observe(np.arange(20))["player_0"]
    np.testing.assert_array_equal(*(one.action_probabilities(shown) for one in responses))
    uniform = make_agent("BestResponse-v0", env).learn(0)
    assert exploitability(env, uniform, None).improvements[0] == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ModelError, match=r"made for player_1; make it with side='player_0'"):
        make_agent("BestResponse-v0", env, side="player_1", opponent=nash)
    with pytest.raises(ModelError, match="does not state its law"):
        make_agent("BestResponse-v0", env, opponent="uniform")


def test_a_response_on_file_needs_no_opponent(tmp_path: Path):
    env = game()
    nash = make_agent("NashPlanner-v0", env, side="player_1").learn(0)
    make_agent("BestResponse-v0", env, opponent=nash).save(tmp_path / "unplanned")
    loaded = load_agent(tmp_path / "unplanned", env).learn(0)
    shown = env.observe(np.arange(20))["player_0"]
    direct = make_agent("BestResponse-v0", env, opponent=nash).learn(0)
    np.testing.assert_array_equal(loaded.action_probabilities(shown), direct.action_probabilities(shown))


# learning from play


def test_minimax_q_is_littmans_update_by_hand():
    """From Q = V = 1 at the rate 1, then 0.9: Q <- (1 - alpha) Q + alpha (r + gamma V(s'))."""
    env = MarkovGameEnv(garnet_game(3, 2, 2, 1, 0, gamma=0.5), observation="state")
    agent = MinimaxQAgent(env, decay=0.9)
    q, values = np.ones((3, 2, 2)), np.ones(3)
    for i, (s, a, b, reward, s_next) in enumerate([(0, 1, 0, 2.0, 1), (0, 1, 0, -1.0, 0), (2, 0, 1, 0.5, 0)]):
        agent.steps = i
        agent.update(s, a, b, reward, s_next)
        q[s, a, b] = (1 - 0.9**i) * q[s, a, b] + 0.9**i * (reward + 0.5 * values[s_next])
        values[s] = solve_matrix_games(q[s][None]).values[0]
        np.testing.assert_allclose(agent.q, q, atol=1e-12)
        np.testing.assert_allclose(agent.values, values, atol=1e-9)


@pytest.mark.parametrize("opponent", ["self", None])
def test_minimax_q_becomes_hard_to_exploit(opponent: Any):
    env = tiny()
    agent = MinimaxQAgent(env, opponent=opponent, decay=0.01 ** (1 / 4000))
    before = learnt_gap(env, agent)
    assert learnt_gap(env, agent.learn(4000)) <= 0.1 * before
    np.testing.assert_allclose(agent.values, env.solution().value, atol=0.02)


@pytest.mark.parametrize("side", PLAYERS)
def test_minimax_q_learns_a_skewed_game_of_pennies(side: str):
    """val [[3, -1], [-1, 1]] = 1/3, both playing (1/3, 2/3); learnt from the payoffs, which are not random."""
    env = MarkovGameEnv(matrix_game([[3.0, -1.0], [-1.0, 1.0]]), observation="state")
    agent = make_agent("MinimaxQ-v0", env, side=side).learn(200)
    np.testing.assert_allclose(agent.action_probabilities(np.array([0])), [[1 / 3, 2 / 3]], atol=1e-6)
    assert agent.values[0] == pytest.approx(1 / 3, abs=1e-6)


def test_minimax_q_learns_against_the_opponent_it_is_given():
    env = MarkovGameEnv(garnet_game(2, 2, 2, 2, 0), observation="state")
    agent = MinimaxQAgent(env, opponent=np.zeros(2, dtype=np.int64)).learn(200)
    assert (agent.q[:, :, 0] != 1.0).all()
    assert (agent.q[:, :, 1] == 1.0).all()  # never played, never learnt about


def test_fictitious_play_is_its_update_by_hand():
    """The first visit takes over what was played and paid; the second moves by 2^-x and 2^-y."""
    env = MarkovGameEnv(garnet_game(3, 2, 2, 2, 0, gamma=0.5), observation="state")
    agent, r, P = FictitiousPlayAgent(env, play_rate=0.5, payoff_rate=1.0), env.model.r, np.asarray(env.model.P)
    agent.update(1, 0, 1, 0.0, 2)
    mu, nu, q = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.stack([r[1], r[1]])
    values = np.zeros((2, 3))
    values[:, 1] = r[1, :, 1].max(), r[1, 0].min()
    np.testing.assert_allclose(agent.values, values, atol=1e-12)
    agent.update(1, 1, 1, 0.0, 2)
    mu += 2**-0.5 * (np.array([0.0, 1.0]) - mu)
    q += 0.5 * (r[1] + 0.5 * np.moveaxis(P[1] @ values.T, -1, 0) - q)
    np.testing.assert_allclose(agent.payoffs[:, 1], q, atol=1e-12)
    np.testing.assert_allclose(agent.values[:, 1], [(q[0] @ nu).max(), (mu @ q[1]).min()], atol=1e-12)
    np.testing.assert_allclose(agent.policy()[1], mu, atol=1e-12)


@pytest.mark.parametrize("kwargs", [{}, {"knows_model": False}])
def test_fictitious_play_becomes_hard_to_exploit(kwargs: dict[str, Any]):
    env = tiny()
    agent = FictitiousPlayAgent(env, **kwargs)
    gaps = [learnt_gap(env, agent.learn(steps)) for steps in (0, 500, 3500)]
    assert gaps[0] > gaps[1]
    assert gaps[2] <= 0.2 * gaps[0]


@pytest.mark.parametrize("side", PLAYERS)
def test_fictitious_play_finds_the_mixture_of_a_matrix_game(side: str):
    env = MarkovGameEnv(matrix_game([[3.0, -1.0], [-1.0, 1.0]]), observation="state")
    agent = FictitiousPlayAgent(env, side=side).learn(5000)
    np.testing.assert_allclose(agent.action_probabilities(np.array([0])), [[1 / 3, 2 / 3]], atol=0.05)


def test_fictitious_play_converges_where_the_discounted_game_has_terminal_states():
    env = ragged()
    assert learnt_gap(env, FictitiousPlayAgent(env).learn(1000)) <= 1e-3


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_play_episodes_to_their_end(name: str):
    class Count(BaseParallelWrapper):
        resets = 0

        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            self.resets += 1
            return super().reset(seed, options)

    env = Count(game(max_cycles=10))
    agent = learner(name, env)
    for steps in (25, 5, 20):
        agent.learn(steps)
    assert env.resets == 5


def test_both_sides_of_one_learner_are_the_two_learners():
    """A learner plays both sides, so equal seeds learn the same tables whichever side they then play."""
    for name in LEARNERS:
        one, other = (learner(name, small(), side, seed=4).learn(300) for side in PLAYERS)
        for key, table in one.tables().items():
            np.testing.assert_array_equal(table, other.tables()[key])


@pytest.mark.parametrize("name", LEARNERS)
def test_learning_goes_on_after_loading(name: str, tmp_path: Path):
    env = game()
    agent = learner(name, env, seed=2).learn(100)
    agent.save(tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent", env)
    assert loaded.steps == 100
    assert loaded.learn(50).steps == 150
    for key, table in loaded.tables().items():
        assert table.shape == agent.tables()[key].shape


@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_table_of_another_game_is_refused(name: str, tmp_path: Path):
    learner(name, MarkovGameEnv(garnet_game(4, 3, 3, 2, 0), observation="state")).save(tmp_path / "agent")
    agent = learner(name, MarkovGameEnv(garnet_game(5, 3, 3, 2, 0), observation="state"))
    memory = learner(name, MarkovGameEnv(garnet_game(4, 3, 3, 2, 0))).memory()
    with pytest.raises(AgentError, match="but the game needs"):
        agent.remember(memory)


def test_a_progress_bar_counts_the_steps(capsys: pytest.CaptureFixture[str]):
    make_agent("MinimaxQ-v0", game()).learn(25, progress_bar=True)
    assert "25/25" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"explore": 1.5}, r"explore is 1.5; pass a number in \[0, 1\]"),
        ({"decay": -0.1}, "decay is -0.1"),
        ({"gamma": "1"}, "gamma is '1'"),
    ],
)
def test_bad_arguments_of_minimax_q_are_refused(kwargs: dict[str, Any], message: str):
    with pytest.raises(AgentError, match=message):
        make_agent("MinimaxQ-v0", game(), **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"play_rate": 0.9, "payoff_rate": 0.8},
            "pass 0 < play_rate < payoff_rate <= 1",
        ),
        ({"knows_model": False, "explore": 0.0}, "only what is explored is learnt"),
        ({"play_rate": "a"}, "play_rate is 'a'; pass a finite number"),
        ({"payoff_rate": None}, "payoff_rate is None; pass a finite number"),
        ({"knows_model": "no"}, "knows_model is 'no'; pass True or False"),
        ({"knows_model": None}, "knows_model is None; pass True or False"),
        ({"knows_model": 1}, "knows_model is 1; pass True or False"),
    ],
)
def test_bad_arguments_of_fictitious_play_are_refused(kwargs: dict[str, Any], message: str):
    with pytest.raises((AgentError, ModelError), match=message):
        make_agent("FictitiousPlay-v0", game(), **kwargs)


def test_without_a_discount_only_games_that_end_are_learnt():
    endless = MarkovGameEnv(garnet_game(3, 2, 2, 2, 0, gamma=1.0), observation="state")
    for agent_id in ("MinimaxQ-v0", "FictitiousPlay-v0"):
        with pytest.raises(ValueError, match="gamma = 1, but play around state 0 need not end"):
            make_agent(agent_id, endless)
    with pytest.raises(ValueError, match="need not end"):
        make_agent("MinimaxQ-v0", game(), gamma=1.0)
    make_agent("MinimaxQ-v0", endless, gamma=0.5).learn(10)
    assert make_agent("MinimaxQ-v0", ragged(), gamma=1).learn(50).config()["gamma"] == 1.0


def test_a_decay_for_the_length_of_the_run_learns_what_the_default_does_not():
    env = tiny()
    fitting, default = (MinimaxQAgent(env, decay=decay) for decay in (0.01 ** (1 / 2000), 0.01**1e-6))
    assert learnt_gap(env, fitting.learn(2000)) < 0.5 * learnt_gap(env, default.learn(2000))


def test_states_that_look_the_same_are_no_place_to_learn():
    with pytest.raises(AgentError, match="states 0 and 2 look the same"):
        state_lookup(lambda states: states % 2, 3)


def test_pennies_are_learnt_by_both_learners():
    env = MarkovGameEnv(matching_pennies(gamma=0.5), observation="state")
    for agent_id in ("MinimaxQ-v0", "FictitiousPlay-v0"):
        assert learnt_gap(env, make_agent(agent_id, env).learn(1000)) <= 0.1
