"""A game seen by one of its players: an environment that every single-agent tool takes, and its exact truth."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

import lookahead_rl  # noqa: F401  registers the games
from lookahead_rl.agents import make_agent
from lookahead_rl.envs.games import PLAYERS, MarkovGameEnv
from lookahead_rl.evaluation import audit
from lookahead_rl.models import MarkovGame, ModelError, matching_pennies
from lookahead_rl.models.generators import garnet_game, random_linear_game
from lookahead_rl.solvers import best_response, evaluate_policy, fix_policy
from lookahead_rl.wrappers import VersusOpponent

SMALL = {"policy_kwargs": {"net_arch": [8]}}
ALGORITHMS = {
    "PPO": {"n_steps": 32, "batch_size": 16, "n_epochs": 1, **SMALL},
    "DQN": {"buffer_size": 200, "learning_starts": 16, "batch_size": 8, "train_freq": 8, **SMALL},
}


def game(kind: str = "parallel", **kwargs: Any) -> Any:
    return pettingzoo.make(kind, "lookahead_rl/RandomMarkovGame-v0", game_seed=1, **kwargs)


def other_than(side: str) -> str:
    return PLAYERS[1 - PLAYERS.index(side)]


def random_law(n_states: int, n_actions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(n_actions), n_states)


def ragged() -> MarkovGame:
    """Three states, the last one terminal; player_0 has 1, 3, 2 actions there and player_1 2, 1, 2."""
    counts_0, counts_1 = np.array([1, 3, 2]), np.array([2, 1, 2])
    inside = (np.arange(3) < counts_0[:, None])[:, :, None] & (np.arange(2) < counts_1[:, None])[:, None, :]
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(3), (3, 3, 2)) * inside[..., None]
    r = rng.normal(size=(3, 3, 2)) * inside
    P[2], r[2] = inside[2, :, :, None] * np.array([0.0, 0.0, 1.0]), 0.0
    return MarkovGame(P, r, 0.9, np.array([0.5, 0.5, 0.0]), counts_0, counts_1, np.array([False, False, True]))


class Remembers:
    """Plays 0, 1, 2, ... modulo n, its recurrent state being the number of the move."""

    def __init__(self, n: int) -> None:
        self.n, self.seen = n, []

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
        move = 0 if state is None or episode_start[0] else int(state[0]) + 1
        self.seen.append((move, bool(episode_start[0])))
        return np.array(move % self.n), (np.array(move),)


class States:
    """States the same law in every state, whatever it is."""

    def __init__(self, law: Any) -> None:
        self.law = law

    def action_probabilities(self, observations: Any) -> Any:
        return np.repeat(np.asarray(self.law)[None], len(observations), axis=0)


class Spy(BaseParallelWrapper):
    """Writes down the actions that are played."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.played: list[dict[str, Any]] = []

    def step(self, actions: dict[str, Any]) -> Any:
        self.played.append(actions)
        return super().step(actions)


def trace(env: VersusOpponent, seed: int, steps: int = 60) -> list[Any]:
    """Everything that a rollout of fixed actions shows."""
    shown, info = env.reset(seed=seed)
    seen: list[Any] = [np.asarray(shown).tolist(), info]
    for i in range(steps):
        shown, reward, terminated, truncated, info = env.step(i % env.action_space.n)
        seen += [np.asarray(shown).tolist(), reward, terminated, truncated, info]
        if terminated or truncated:
            env.reset()
    return seen


# a Gymnasium environment


@pytest.mark.parametrize("observation", ["state", "features"])
@pytest.mark.parametrize("kind", ["parallel", "aec"])
@pytest.mark.parametrize("side", PLAYERS)
def test_both_checkers_pass_without_a_warning(side: str, kind: str, observation: str):
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    env = VersusOpponent(game(kind, observation=observation, render_mode="ansi"), side=side)
    check_env(env, skip_render_check=True)  # it asks for a registered environment
    sb3_check_env(env, skip_render_check=False)


@pytest.mark.parametrize("opponent", ["uniform", "table", "agent"])
def test_equal_seeds_play_equal_episodes(opponent: str):
    def made() -> VersusOpponent:
        env = game(max_cycles=15)
        choices = {"uniform": None, "table": random_law(20, 3)}
        agent = make_agent("NashPlanner-v0", env, side="player_1", seed=5).learn(0)
        return VersusOpponent(env, choices.get(opponent, agent))

    one, two = made(), made()
    two.reset(seed=99)
    assert trace(one, 3) == trace(two, 3)
    assert trace(one, 3) != trace(one, 4)


@pytest.mark.parametrize("side", PLAYERS)
def test_rewards_and_infos_are_those_of_the_side(side: str):
    env = VersusOpponent(game(), np.zeros(20, dtype=np.int64), side=side)
    r, state = env.game_env.model.r, None
    shown, info = env.reset(seed=0)
    assert info == {"prob": 1.0}
    for _ in range(20):
        state = int(shown.argmax())
        shown, reward, _, _, info = env.step(2)
        assert reward == (r[state, 2, 0] if side == "player_0" else -r[state, 0, 2])
        assert 0.0 < info["prob"] <= 1.0


def test_the_game_and_the_opponent_do_not_draw_the_same_numbers():
    """Seeded alike they would: the first draw of the game would tell the opponent's, in 15 pairs at most."""
    spy = Spy(MarkovGameEnv(garnet_game(8, 1, 8, 8, 0), observation="state"))
    env, starts = VersusOpponent(spy, np.full((8, 8), 1 / 8)), []
    for seed in range(400):
        starts.append(int(env.reset(seed=seed)[0]))
        env.step(0)
    moves = [actions["player_1"] for actions in spy.played]
    assert len(set(zip(starts, moves, strict=True))) > 50


def test_episodes_end_as_the_game_does_and_a_step_needs_a_reset():
    env = VersusOpponent(game(max_cycles=3))
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_render_and_close_pass_through():
    env = VersusOpponent(game(render_mode="ansi"))
    env.reset(seed=0)
    assert env.render() == env.game_env.render() != ""
    assert env.metadata["render_modes"] == env.game_env.metadata["render_modes"]
    env.close()


# opponents


@pytest.mark.parametrize("opponent", ["table", "agent"])
def test_the_opponent_plays_its_law(opponent: str):
    law, spy = random_law(20, 3), Spy(game(observation="state"))
    fictitious = make_agent("FictitiousPlay-v0", game(observation="state"), side="player_1").learn(300)
    versus = VersusOpponent(spy, law if opponent == "table" else fictitious)
    for seed in range(600):
        versus.reset(seed=seed, options={"state": 4})
        versus.step(0)
    expected = law[4] if opponent == "table" else fictitious.action_probabilities(np.array([4]))[0]
    frequencies = np.bincount([actions["player_1"] for actions in spy.played], minlength=3) / 600
    assert 0.0 < expected.max() < 1.0
    assert (np.abs(frequencies - expected) <= 4 * np.sqrt(expected * (1 - expected) / 600) + 1e-9).all()


def test_a_deterministic_opponent_plays_its_most_likely_action():
    law = random_law(20, 3)
    env = VersusOpponent(game(), law, deterministic=True)
    assert env.solution().value == pytest.approx(VersusOpponent(game(), law.argmax(axis=1)).solution().value)
    agent = make_agent("NashPlanner-v0", game(), side="player_1").learn(0)
    table = agent.action_probabilities(game().observe(np.arange(20))["player_1"]).argmax(axis=1)
    traces = [trace(VersusOpponent(game(), one, deterministic=True), 0) for one in (agent, table)]
    assert traces[0] == traces[1]


def test_recurrent_state_is_kept_within_an_episode_and_dropped_between():
    opponent = Remembers(3)
    env = VersusOpponent(game(max_cycles=4), opponent)
    for _ in range(2):
        env.reset(seed=0)
        for _ in range(4):
            env.step(0)
    assert opponent.seen == 2 * [(0, True), (1, False), (2, False), (3, False)]


def test_a_new_opponent_takes_over_with_the_next_episode():
    first, second = Remembers(3), Remembers(3)
    env = VersusOpponent(game(), first)
    env.reset(seed=0)
    env.set_opponent(second)
    env.step(0)
    assert (len(first.seen), len(second.seen)) == (1, 0)
    env.reset()
    env.step(0)
    assert (len(first.seen), len(second.seen)) == (1, 1)


def test_self_play_replaces_the_opponent_through_stable_baselines3():
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    vec = make_vec_env(lambda: VersusOpponent(game(max_cycles=10)), n_envs=2, seed=0)
    model = PPO("MlpPolicy", vec, **ALGORITHMS["PPO"], device="cpu", seed=0)
    model.learn(64)
    vec.env_method("set_opponent", make_agent("UniformGame-v0", game(), side="player_1"))
    model.learn(64)
    vec.env_method("set_opponent", model.policy)  # both sides see the same in these games
    model.learn(64)


@pytest.mark.parametrize("side", PLAYERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithms_of_stable_baselines3_learn_against_an_opponent(algorithm: str, side: str):
    env = game(max_cycles=10)
    nash = make_agent("NashPlanner-v0", env, side=other_than(side)).learn(0)
    versus = VersusOpponent(env, nash, side=side)
    learner = make_agent(algorithm, versus, hyperparameters=ALGORITHMS[algorithm]).learn(96)
    report = audit(learner, versus)
    assert report.regret >= 0.0
    # Against an equilibrium strategy nobody does better than the value of the game.
    value = float(env.model.rho @ env.solution().value) * (1 if side == "player_0" else -1)
    assert report.optimal_value == pytest.approx(value, abs=1e-6)


def test_a_trained_algorithm_can_be_the_opponent_and_is_audited_exactly():
    env = game(max_cycles=10)
    learner = make_agent("PPO", VersusOpponent(env), hyperparameters=ALGORITHMS["PPO"]).learn(64)
    versus = VersusOpponent(env, learner, side="player_1")
    law = learner.action_probabilities(env.observe(np.arange(20))["player_0"])
    response = best_response(env.model, 1, law)
    assert audit(response.policy, versus).optimal_value == pytest.approx(-env.model.rho @ response.value)
    raw = VersusOpponent(env, learner.model, side="player_1")
    raw.reset(seed=0)
    raw.step(0)
    with pytest.raises(ModelError, match="does not state its law"):
        audit(response.policy, raw)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ([2.0, -1.0, 0.0], r"\[0, 1\] is -1; probabilities must be >= 0"),
        ([5.0, 5.0, 5.0], r"\[0\] sums to 15, not 1"),
        ([0.5, 0.5], r"has shape \(1, 2\); expected \(n, A\) = \(1, 3\)"),
        ([np.nan, 0.5, 0.5], r"\[0, 0\] is nan"),
        (np.float32([0.3, 0.3, 0.3]), r"\[0\] sums to 0.9"),
        (["a", "b", "c"], "has dtype <U1; pass action probabilities"),
    ],
)
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_stated_law_that_is_none_is_refused_in_play_as_in_the_model(law: Any, message: str, deterministic: bool):
    env = VersusOpponent(game(), States(law), deterministic=deterministic)
    env.reset(seed=0)
    name = r"opponent States\.action_probabilities\(\.\.\.\)"
    with pytest.raises(ModelError, match=f"{name} ?{message}"):
        env.step(0)
    with pytest.raises(ModelError, match=f"{name} ?{message.replace('(1, ', '(20, ')}"):
        _ = env.model


def test_what_a_state_lacks_does_not_make_a_law_of_what_is_none():
    """Moved to the first action, -1/2 of a missing one and 3/2 of the first would make a whole."""
    env = MarkovGameEnv(ragged(), observation="state")
    with pytest.raises(ModelError, match=r"opponent\[0, 1\] is -0.5"):
        VersusOpponent(env, np.array([[1.5, -0.5, 0.0]] * 3), side="player_1", unavailable="first")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_laws_of_networks_play_and_have_a_truth(dtype: Any):
    """0.2 in float32 is 3e-9 above a fifth: the rows sum to 1 + 1.5e-8, as no row of float64 may."""
    model = garnet_game(5, 2, 7, 2, 0, gamma=0.9)
    env, fifths = MarkovGameEnv(model, observation="state"), np.array([0.2] * 5 + [0.0] * 2, dtype)
    assert abs(fifths.astype(np.float64).sum() - 1.0) > 1e-9
    exact = VersusOpponent(env, np.repeat(np.array([[0.2] * 5 + [0.0] * 2]), 5, axis=0)).model
    for opponent in (np.repeat(fifths[None], 5, axis=0), States(fifths)):
        versus = VersusOpponent(env, opponent)
        trace(versus, 0)
        np.testing.assert_allclose(versus.model.r, exact.r, atol=1e-12)
    for law in (fifths.astype(np.float64), fifths * dtype(1.05)):
        with pytest.raises(ModelError, match=r"opponent\[0\] sums to .*, not 1; normalise that row"):
            VersusOpponent(env, np.repeat(law[None], 5, axis=0))


# the truth


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), side=st.sampled_from(PLAYERS), A=st.integers(1, 3), B=st.integers(1, 3))
def test_the_audit_is_that_of_the_remaining_decision_problem(seed: int, side: str, A: int, B: int):
    model = garnet_game(4, A, B, 2, seed, gamma=0.9)
    player = PLAYERS.index(side)
    law, reply = random_law(4, (B, A)[player], seed), random_law(4, (A, B)[player], seed + 1)
    versus = VersusOpponent(MarkovGameEnv(model), law, side=side)
    report, sign = audit(reply, versus), 1 - 2 * player
    assert report.value == pytest.approx(
        sign * model.rho @ evaluate_policy(fix_policy(model, 1 - player, law), reply).value, abs=1e-9
    )
    response = best_response(model, player, law)
    assert report.optimal_value == pytest.approx(sign * model.rho @ response.value, abs=1e-6)
    assert audit(response.policy, versus).regret_bounds[0] <= 1e-9


@pytest.mark.parametrize("side", PLAYERS)
def test_the_audited_value_is_the_mean_return_of_play(side: str):
    model = garnet_game(3, 2, 2, 2, 4, gamma=0.5)
    law, reply = random_law(3, 2, 0), np.array([0, 1, 1])
    versus = VersusOpponent(MarkovGameEnv(model, observation="state", max_cycles=20), law, side=side)
    returns = []
    for seed in range(400):
        state, _ = versus.reset(seed=seed)
        total = 0.0
        for t in range(20):
            state, reward, *_ = versus.step(int(reply[state]))
            total += 0.5**t * reward
        returns.append(total)
    error = 4 * np.std(returns) / np.sqrt(400) + 1e-5
    assert np.mean(returns) == pytest.approx(audit(reply, versus).value, abs=error)


def test_the_model_follows_the_opponent():
    versus = VersusOpponent(game(), None)
    uniform = versus.model
    assert versus.model is uniform
    assert versus.solution() is versus.solution()
    versus.set_opponent(np.zeros(20, dtype=np.int64))
    assert not np.array_equal(versus.model.r, uniform.r)
    np.testing.assert_array_equal(versus.model.r, fix_policy(game().model, 1, np.eye(3)[np.zeros(20, int)]).r)


def test_the_audit_sees_through_wrappers_and_discounts():
    versus = VersusOpponent(game(), None)
    policy = np.zeros(20, dtype=np.int64)
    wrapped = gym.wrappers.TimeLimit(gym.wrappers.RecordEpisodeStatistics(versus), 10)
    assert audit(policy, wrapped).value == audit(policy, versus).value
    assert audit(policy, versus, gamma=0.5).optimal_value < audit(policy, versus).optimal_value
    assert audit(policy, versus, horizon=3).value > 0.0


def test_a_small_linear_game_has_a_truth_and_a_large_one_says_why_not():
    small = MarkovGameEnv(random_linear_game(6, 2, 3, 4, 0), observation="state")
    uniform = np.full((6, 3), 1 / 3)
    response = best_response(small.model.to_tabular(), 0, uniform)
    assert audit(response.policy, VersusOpponent(small)).regret == pytest.approx(0.0, abs=1e-6)
    large = VersusOpponent(MarkovGameEnv(random_linear_game(10**9, 2, 3, 4, 0)))
    large.reset(seed=0)
    large.step(1)
    with pytest.raises(ModelError, match="tabular copy of 1,000,000,000 states"):
        _ = large.model


# actions that a state lacks


def test_an_unavailable_action_is_refused_with_the_remedies():
    versus = VersusOpponent(MarkovGameEnv(ragged(), observation="state"))
    _, info = versus.reset(seed=0, options={"state": 0})
    np.testing.assert_array_equal(info["action_mask"], [1, 0, 0])
    np.testing.assert_array_equal(versus.action_masks(), [True, False, False])
    with pytest.raises(
        ModelError, match=r"actions\['player_0'\] is 2, which is not available now: .*unavailable=.first."
    ):
        versus.step(2)


@pytest.mark.parametrize("side", PLAYERS)
def test_an_unavailable_action_can_stand_for_the_first_as_the_model_says(side: str):
    env = MarkovGameEnv(ragged(), observation="state")
    versus = VersusOpponent(env, side=side, unavailable="first")
    check_env(versus, skip_render_check=True)
    last = versus.action_space.n - 1
    assert audit(np.full(3, last), versus).value == pytest.approx(
        audit(np.where(np.array([0, 1, 2]) == (1 - PLAYERS.index(side)), last, 0), versus).value
    )
    versus.reset(seed=0)
    with pytest.raises(ModelError, match="is 17"):
        versus.step(17)
    make_agent("PPO", versus, hyperparameters=ALGORITHMS["PPO"]).learn(32)


def test_the_rule_holds_for_the_opponent_too():
    env = MarkovGameEnv(ragged(), observation="state")
    always_last = np.full(3, 2)
    with pytest.raises(ModelError, match=r"opponent\[0, 2\] is 1, but state 0 has only 1 actions"):
        VersusOpponent(env, always_last, side="player_1")
    folded = VersusOpponent(env, always_last, side="player_1", unavailable="first")
    np.testing.assert_array_equal(folded.model.r, VersusOpponent(env, np.array([0, 2, 0]), side="player_1").model.r)

    class Last:
        def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
            return np.array(2), state

    trace(VersusOpponent(env, Last(), side="player_1", unavailable="first"), 0)


def test_uniform_play_keeps_to_the_available_actions():
    trace(VersusOpponent(MarkovGameEnv(ragged(), observation="state"), side="player_1", unavailable="first"), 0, 200)


@pytest.mark.parametrize("unavailable", ["refuse", "first"])
@pytest.mark.parametrize("action", ["a", None, np.array([0]), np.array(1.7), 1.0, True, 3, -1])
def test_what_is_no_action_is_refused_under_either_rule(action: Any, unavailable: str):
    versus = VersusOpponent(MarkovGameEnv(ragged(), observation="state"), unavailable=unavailable)
    versus.reset(seed=0, options={"state": 0})
    with pytest.raises(ModelError, match=r"actions\['player_0'\] is "):
        versus.step(action)


@pytest.mark.parametrize("action", [2, np.int32(2), np.array(2)])
def test_a_missing_action_is_the_first_in_all_its_forms(action: Any):
    spy = Spy(MarkovGameEnv(ragged(), observation="state"))
    versus = VersusOpponent(spy, unavailable="first")
    versus.reset(seed=0, options={"state": 0})
    versus.step(action)
    assert spy.played[0]["player_0"] == 0


# other games, and what is refused


class Guess(ParallelEnv):
    """A game of another package: 'hider' picks a number, 'seeker' is paid 1 for guessing it; three moves."""

    metadata: ClassVar = {"name": "guess_v0", "render_modes": []}
    possible_agents: ClassVar = ["hider", "seeker"]
    render_mode = None

    def observation_space(self, agent: str) -> spaces.Space:
        return spaces.Box(0.0, 1.0, (1,), np.float32)

    def action_space(self, agent: str) -> spaces.Space:
        return spaces.Discrete(4)

    def reset(self, seed: int | None = None, options: Any = None):
        self.agents, self.moves = list(self.possible_agents), 0
        return self.shown(), {agent: {} for agent in self.agents}

    def shown(self) -> dict[str, Any]:
        return {agent: np.array([self.moves / 3], np.float32) for agent in self.possible_agents}

    def step(self, actions: dict[str, Any]):
        self.moves += 1
        hit = float(actions["hider"] == actions["seeker"])
        over = dict.fromkeys(self.agents, self.moves == 3)
        answer = (
            self.shown(),
            {"hider": -hit, "seeker": hit},
            over,
            dict.fromkeys(self.agents, False),
            {agent: {} for agent in self.agents},
        )
        self.agents = [] if self.moves == 3 else self.agents
        return answer


def test_games_of_other_packages_can_be_played_whatever_their_players_are_called():
    env = VersusOpponent(Guess(), Remembers(4), side="seeker")
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    assert [env.step(i)[1] for i in range(3)] == [1.0, 1.0, 1.0]
    trace(VersusOpponent(Guess(), side="hider"), 0)
    with pytest.raises(ModelError, match="with a known model"):
        _ = env.model


def test_what_is_no_such_game_or_opponent_is_refused():
    for side in ("player_2", None):
        with pytest.raises(ModelError, match=r"side is .*; pass 'player_0' or 'player_1'"):
            VersusOpponent(game(), side=side)
    with pytest.raises(ModelError, match="game_env is TimeLimit; pass a game of PettingZoo"):
        VersusOpponent(gym.make("RandomMDP-v0"))
    with pytest.raises(ModelError, match=r"made for player_0; make it with side='player_1'"):
        VersusOpponent(game(), make_agent("UniformGame-v0", game(), side="player_0"))
    with pytest.raises(ModelError, match="opponent is str; pass None"):
        VersusOpponent(game(), "optimal")
    with pytest.raises(ModelError, match=r"opponent\[0\] sums to 0.9"):
        VersusOpponent(game(), np.full((20, 3), 0.3))
    with pytest.raises(ModelError, match=r"opponent has dtype float64 and shape \(20,\); expected integer actions"):
        VersusOpponent(game(), np.zeros(20))
    with pytest.raises(ModelError, match=r"opponent\[2\] is 3; actions run from 0 to 2"):
        VersusOpponent(game(), np.array([0, 1, 3] + 17 * [0]))
    with pytest.raises(ModelError, match="pass 'refuse' or 'first'"):
        VersusOpponent(game(), unavailable="clip")
    with pytest.raises(ModelError, match="with a known model"):
        VersusOpponent(Guess(), np.zeros(4, dtype=int), side="hider")


def test_a_class_is_no_opponent_but_its_instances_are():
    for kind in (Remembers, States):
        with pytest.raises(ModelError, match=f"opponent is the class {kind.__name__} itself; pass an instance of it"):
            VersusOpponent(game(), kind)


def test_an_opponent_that_cannot_be_asked_is_refused_before_play():
    class Short:
        def predict(self, observation: Any, deterministic: bool = False) -> Any:
            return 0, None

    class Compiled:
        predict = staticmethod(max)  # says nothing of its parameters

    with pytest.raises(
        ModelError,
        match=r"opponent Short\.predict takes \(observation: Any, deterministic.*it is called as predict\(observation, "
        r"state, episode_start, deterministic\)",
    ):
        VersusOpponent(game(), Short())
    VersusOpponent(game(), Compiled())


def test_a_prediction_is_an_action_and_a_state():
    class Bare:
        def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
            return 0

    env = VersusOpponent(game(), Bare())
    env.reset(seed=0)
    with pytest.raises(ModelError, match=r"opponent Bare predicts int, not \(actions, state\)"):
        env.step(0)


def test_games_with_turns_and_crowds_are_refused():
    class Turns(AECEnv):
        metadata: ClassVar = {"name": "turns_v0", "is_parallelizable": False}
        possible_agents: ClassVar = list(PLAYERS)

    class Crowd(Guess):
        possible_agents: ClassVar = ["a", "b", "c"]

    with pytest.raises(ModelError, match="take turns; pass a game with simultaneous moves"):
        VersusOpponent(Turns())
    with pytest.raises(ModelError, match="has 3 players"):
        VersusOpponent(Crowd(), side="a")


def test_the_best_reply_to_half_and_half_in_matching_pennies_is_anything():
    versus = VersusOpponent(MarkovGameEnv(matching_pennies(gamma=0.5)), np.full((1, 2), 0.5))
    assert versus.solution().value == pytest.approx([0.0])
    assert audit(np.array([1]), versus).regret == pytest.approx(0.0, abs=1e-12)
