"""Populations: everybody against everybody on both sides, Nash averaging and openskill, self-play, the command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pettingzoo
import pytest
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pettingzoo import ParallelEnv

import lookahead_rl  # noqa: F401  registers the games
from lookahead_rl.agents import AgentError, make_agent
from lookahead_rl.envs.games import PLAYERS, MarkovGameEnv
from lookahead_rl.evaluation import CrossPlay, cross_play, exploitability, play_episodes
from lookahead_rl.evaluation.cross_play import require_zero_sum
from lookahead_rl.evaluation.ratings import nash_average, skill_ratings
from lookahead_rl.experiments.environments import make_game
from lookahead_rl.experiments.population import Member, Training, build_population, game_id, save_member
from lookahead_rl.experiments.tournament import rank_population
from lookahead_rl.models import MarkovGame, ModelError
from lookahead_rl.models.generators import garnet_game, random_linear_game
from lookahead_rl.scripts.cli import main
from lookahead_rl.wrappers import VersusOpponent

SMALL = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
RPS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
ROCK, PAPER, SCISSORS = np.eye(3)


def rock_paper_scissors() -> MarkovGameEnv:
    """One throw, then the game is over."""
    P = np.zeros((2, 3, 3, 2))
    P[:, :, :, 1] = 1.0
    model = MarkovGame(P, np.stack([RPS, 0 * RPS]), 1.0, np.array([1.0, 0.0]), terminal=np.array([False, True]))
    return MarkovGameEnv(model)


def always(law: np.ndarray) -> np.ndarray:
    return np.stack([law, law])


THROWS = {"rock": always(ROCK), "paper": always(PAPER), "scissors": always(SCISSORS), "mixed": None}


def garnet(gamma: float = 0.8, **kwargs: Any) -> MarkovGameEnv:
    return MarkovGameEnv(garnet_game(6, 3, 2, 3, 0, gamma=gamma), **kwargs)


def laws(seed: int, n: int = 3) -> dict[str, Any]:
    """Members with random laws in the garnet game."""
    rng = np.random.default_rng(seed)
    return {f"m{k}": (rng.dirichlet(np.ones(3), 6), rng.dirichlet(np.ones(2), 6)) for k in range(n)}


class Pennies(ParallelEnv):
    """A game of another package: 'even' wins what 'odd' loses if both show the same side; four rounds, both seen."""

    metadata: ClassVar = {"name": "pennies_v0", "render_modes": []}
    possible_agents: ClassVar = ["even", "odd"]
    render_mode = None

    def __init__(self, paid_to_odd: Callable[[float], float] = lambda reward: -reward, length: int = 4) -> None:
        self.paid_to_odd, self.length = paid_to_odd, length

    def observation_space(self, agent: str) -> spaces.Space:
        return spaces.Box(-1.0, 1.0, (3,), np.float32)

    def action_space(self, agent: str) -> spaces.Space:
        return spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None):
        self.agents, self.round, self.last = list(self.possible_agents), 0, (0.0, 0.0)
        return self.shown(), {agent: {} for agent in self.agents}

    def shown(self) -> dict[str, Any]:
        return {agent: np.array([self.round / self.length, *self.last], np.float32) for agent in self.possible_agents}

    def step(self, actions: dict[str, Any]):
        self.last = (2.0 * actions["even"] - 1.0, 2.0 * actions["odd"] - 1.0)
        self.round += 1
        reward = self.last[0] * self.last[1]
        over = dict.fromkeys(self.agents, self.round == self.length)
        told = {agent: {} for agent in self.agents}
        answer = self.shown(), {"even": reward, "odd": self.paid_to_odd(reward)}, over, dict.fromkeys(over, False), told
        self.agents = [] if self.round == self.length else self.agents
        return answer


class Shows:
    """Plays heads with a fixed probability, and says so."""

    def __init__(self, heads: float) -> None:
        self.heads = heads

    def action_probabilities(self, observations: Any) -> np.ndarray:
        return np.tile([1.0 - self.heads, self.heads], (len(observations), 1))


COINS = {"heads": Shows(1.0), "tails": Shows(0.0), "fair": Shows(0.5), "uniform": None}


# the matrix


def test_rock_paper_scissors_is_known_exactly():
    found = cross_play(THROWS, rock_paper_scissors())
    np.testing.assert_allclose(found.values[:3, :3], RPS, atol=1e-12)
    np.testing.assert_allclose(found.values[3], 0.0, atol=1e-12)
    np.testing.assert_allclose(found.exploitability, [1.0, 1.0, 1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.guarantees, [[-1, -1, -1, 0], [1, 1, 1, 0]], atol=1e-9)
    assert found.kind == "exact"
    assert found.returns is None
    assert found.nash_value == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_every_entry_is_the_value_of_that_pair_and_both_sides_count(seed: int):
    env, members = garnet(), laws(seed)
    found, names = cross_play(members, env), tuple(members)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            pair = exploitability(env, members[row][0], members[column][1])
            assert found.values[i, j] == pytest.approx(pair.value, abs=1e-9)
            assert found.low[i, j] <= found.values[i, j] <= found.high[i, j]
            if i == j:
                assert found.nash_conv[i] == pytest.approx(pair.gap, abs=1e-8)
                assert pair.value - found.guarantees[0, i] >= -1e-9
    np.testing.assert_array_equal(found.payoffs, -found.payoffs.T)
    assert found.payoffs[0, 1] == pytest.approx((found.values[0, 1] - found.values[1, 0]) / 2)


def test_exact_values_and_episodes_agree():
    """Episodes through the environment, and batches through its table, both within 99.99% intervals of the truth."""
    env, members = garnet(0.3, max_cycles=15), laws(1, 2)
    exact = cross_play(members, env, episodes=1500, confidence=0.9999)
    played = cross_play(members, env, episodes=30, exact=False, confidence=0.9999)
    assert played.kind == "estimated"
    assert played.exploitability is None
    assert ((played.low <= exact.values) & (exact.values <= played.high)).all()
    error = 4.5 * exact.returns.std(axis=2) / np.sqrt(1500)
    assert (np.abs(exact.returns.mean(axis=2) - exact.values) <= error).all()
    assert (played.payoff_margins > 0).sum() == 2  # the diagonal is known


def test_a_planned_equilibrium_cannot_be_exploited_and_nobody_else_is_worth_more():
    env = garnet()
    members: dict[str, Any] = {**laws(2, 2), "uniform": None}
    for agent in ("NashPlanner-v0", "GamePolicyIteration-v0"):
        members[agent] = tuple(make_agent(agent, env, side=side).learn(0) for side in PLAYERS)
    found = cross_play(members, env)
    np.testing.assert_allclose(found.exploitability[-2:], 0.0, atol=1e-6)
    assert (found.exploitability[:3] > 1e-3).all()
    rated = nash_average(found.payoffs, resolution=1e-6)
    np.testing.assert_allclose(rated.weights, [0, 0, 0, 0.5, 0.5], atol=1e-9)


def test_a_linear_game_is_exact_over_the_states_that_play_can_meet():
    large = MarkovGameEnv(random_linear_game(10**9, 2, 3, 4, 0))
    agents = tuple(make_agent("NashPlanner-v0", large, side=side).learn(0) for side in PLAYERS)
    found = cross_play({"nash": agents, "uniform": None}, large, episodes=3)
    assert found.exploitability[0] == pytest.approx(0.0, abs=1e-6)
    assert found.exploitability[1] == pytest.approx(exploitability(large).gap / 2, abs=1e-9)
    assert found.returns.shape == (2, 2, 3)


def test_what_a_state_lacks_stands_for_its_first_action_where_asked():
    env = make_game("lookahead_rl/OshiZumo-v0")
    last = tuple(np.full(env.model.n_states, env.model.r.shape[1 + k] - 1) for k in range(2))
    with pytest.raises(ModelError, match="last cannot play player_0"):
        cross_play({"last": last, "uniform": None}, env)
    found = cross_play({"last": last, "uniform": None}, env, unavailable="first")
    assert np.isfinite(found.values).all()


def test_games_of_others_are_estimated_on_both_sides():
    found = cross_play(COINS, Pennies(), episodes=50, seed=3, confidence=0.9999)
    truth = np.array([[4, -4, 0, 0], [-4, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=float)
    assert ((found.low <= truth) & (truth <= found.high)).all()
    assert found.sides == ("even", "odd")
    assert (found.exploitability, found.guarantees, found.nash_value) == (None, None, None)
    discounted = cross_play(COINS, Pennies(), episodes=2, gamma=0.5)
    assert discounted.values[0, 0] == pytest.approx(1.875)
    assert play_episodes(Pennies(), Shows(1.0), Shows(0.0), 3).tolist() == [-4.0, -4.0, -4.0]


def test_equal_members_earn_equally_and_equal_seeds_play_equally():
    """Common random numbers: a member and its copy cannot be told apart, however few the episodes."""
    twins = {**COINS, "again": Shows(0.5)}
    one, two = (cross_play(twins, Pennies(), episodes=5, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.returns, two.returns)
    np.testing.assert_array_equal(one.returns[2], one.returns[4])
    np.testing.assert_array_equal(one.returns[:, 2], one.returns[:, 4])
    assert not np.array_equal(one.returns, cross_play(twins, Pennies(), episodes=5, seed=8).returns)


def test_models_of_stable_baselines3_play_from_the_seed():
    from stable_baselines3 import PPO

    env = VersusOpponent(Pennies(), side="even")
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, policy_kwargs={"net_arch": [8]}, seed=0)
    one, two = (cross_play({"ppo": model, "uniform": None}, Pennies(), episodes=4) for _ in range(2))
    np.testing.assert_array_equal(one.returns, two.returns)
    assert one.returns.std() > 0.0
    with pytest.raises(ModelError, match=r"ppo cannot play player_0: policy observes Box.*but the environment shows"):
        cross_play({"ppo": model}, garnet(), exact=False, episodes=2)


def test_games_that_are_not_zero_sum_are_refused_with_what_was_seen():
    common = Pennies(lambda reward: reward)
    message = r"pennies_v0 is not zero-sum: in step 1 of .* it paid even 1 and odd 1, together 2"
    with pytest.raises(ModelError, match=message):
        cross_play({"heads": Shows(1.0), "again": Shows(1.0)}, common)
    with pytest.raises(ModelError, match="is not zero-sum: in step 1 of random episode 0"):
        require_zero_sum(common)
    require_zero_sum(Pennies())


def test_what_cannot_be_played_is_refused():
    env = garnet()
    with pytest.raises(ModelError, match="policies is empty"):
        cross_play({}, env)
    with pytest.raises(ModelError, match="member 'x' has 3 policies"):
        cross_play({"x": (None, None, None)}, env)
    agent = make_agent("UniformGame-v0", env)
    with pytest.raises(ModelError, match=r"x cannot play player_1: .* was made for player_0"):
        cross_play({"x": agent}, env)
    with pytest.raises(ModelError, match="exact is True, but the model of pennies_v0 is not known"):
        cross_play(COINS, Pennies(), exact=True)
    with pytest.raises(ModelError, match="episodes is 1"):
        cross_play(COINS, Pennies(), episodes=1)
    with pytest.raises(ModelError, match="x cannot play odd: opponent is str"):
        cross_play({"x": (None, "best")}, Pennies())
    with pytest.raises(ModelError, match="unavailable is 'clip'"):
        cross_play(COINS, Pennies(), unavailable="clip")


def test_an_episode_without_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["lookahead_rl.evaluation.cross_play"], "LONGEST", 50)
    with pytest.raises(ModelError, match="has not ended after 50 steps"):
        cross_play(COINS, Pennies(length=51), episodes=2)


# Nash averaging


@pytest.mark.parametrize(
    ("A", "weights", "skill"),
    [
        # Balduzzi et al.: transitive, cyclic, cyclic with a fourth who loses to all, and one who beats the cycle.
        ([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]], [1, 0, 0], [0, -1, -2]),
        (RPS, [1 / 3] * 3, [0, 0, 0]),
        ([[0, -1, 1, 2], [1, 0, -1, 3], [-1, 1, 0, 4], [-2, -3, -4, 0]], [1 / 3] * 3 + [0], [0, 0, 0, -3]),
        ([[0, -1, 1, -1], [1, 0, -1, -1], [-1, 1, 0, -1], [1, 1, 1, 0]], [0, 0, 0, 1], [-1, -1, -1, 0]),
        (np.zeros((4, 4)), [0.25] * 4, [0] * 4),
        ([[0]], [1], [0]),
        # Two who tie, and one who loses to them by different amounts.
        ([[0, 0, 1], [0, 0, 3], [-1, -3, 0]], [0.5, 0.5, 0], [0, 0, -2]),
    ],
)
def test_nash_averaging_of_populations_that_are_known(A: Any, weights: Any, skill: Any):
    found = nash_average(A)
    np.testing.assert_allclose(found.weights, weights, atol=1e-9)
    np.testing.assert_allclose(found.skill, skill, atol=1e-9)
    assert found.gap <= 1e-9


@settings(max_examples=30, deadline=None)
@example(n=12, rank=1, seed=11336, whole=True)  # copies must not end elsewhere on the face
@given(n=st.integers(1, 12), rank=st.integers(1, 4), seed=st.integers(0, 10**6), whole=st.booleans())
def test_nobody_beats_the_mixture_and_copies_change_nothing(n: int, rank: int, seed: int, whole: bool):
    rng = np.random.default_rng(seed)
    M = rng.integers(-2, 3, (n, n)).astype(float) if whole else rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n))
    A = M - M.T
    found = nash_average(A)
    assert found.gap <= 1e-9 * max(1.0, np.abs(A).max())
    assert found.weights.min() >= 0.0
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.weights @ A @ found.weights == pytest.approx(0.0, abs=1e-9)
    order = rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, 3)]))
    copied = nash_average(A[np.ix_(order, order)])
    shares = np.bincount(order, copied.weights, minlength=n)
    kinds = np.unique(A, axis=0, return_inverse=True)[1].reshape(-1)  # members with equal rows share as one
    np.testing.assert_allclose(np.bincount(kinds, shares), np.bincount(kinds, found.weights), atol=1e-6)
    np.testing.assert_allclose(copied.skill, found.skill[order], atol=1e-6 * max(1.0, np.abs(A).max()))


@pytest.mark.parametrize("seed", range(6))
def test_the_mixture_has_the_greatest_entropy(seed: int):
    """An independent solver of conic programmes agrees, where a whole face of mixtures is beaten by nobody."""
    cvxpy = pytest.importorskip("cvxpy")
    lost = np.random.default_rng(seed).normal(size=(4, 3)) + np.array([[-0.8], [0.7], [0.7], [0.7]])
    A = np.block([[np.zeros((4, 4)), lost], [-lost.T, np.zeros((3, 3))]])
    p = cvxpy.Variable(7)
    problem = cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(cvxpy.entr(p))), [A @ p <= 0, cvxpy.sum(p) == 1, p >= 0])
    problem.solve(solver="CLARABEL")
    np.testing.assert_allclose(nash_average(A).weights, p.value, atol=2e-4)


def test_payoffs_nearer_than_the_resolution_are_equal():
    A = np.array([[0, 1e-5, 1], [-1e-5, 0, 1], [-1, -1, 0]])
    np.testing.assert_allclose(nash_average(A).weights, [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(nash_average(A, resolution=1e-3).weights, [0.5, 0.5, 0])


def test_what_is_no_population_is_refused():
    with pytest.raises(ModelError, match=r"payoffs\[0, 1\] is 1 and payoffs\[1, 0\] is 1; .* must add up to 0"):
        nash_average([[0, 1], [1, 0]])
    with pytest.raises(ModelError, match=r"payoffs has shape \(1, 2\)"):
        nash_average([[0, 1]])
    with pytest.raises(ModelError, match="resolution is -1"):
        nash_average(RPS, resolution=-1)


# openskill


def test_openskill_orders_a_transitive_population_and_not_a_cycle():
    margins = np.sign(np.arange(3)[None, :] - np.arange(3)[:, None]).astype(float)
    first, second, third = skill_ratings(np.repeat(margins[:, :, None], 30, axis=2), 0)
    assert first.mu > second.mu + first.sigma
    assert second.mu > third.mu + third.sigma
    assert first.sigma < 25 / 3
    cycle = skill_ratings(np.repeat(RPS[:, :, None], 100, axis=2), 0)
    assert max(one.mu for one in cycle) - min(one.mu for one in cycle) < 2.0
    assert skill_ratings(np.repeat(RPS[:, :, None], 9, axis=2), 3) == skill_ratings(
        np.repeat(RPS[:, :, None], 9, axis=2), 3
    )


def test_a_match_is_two_episodes_so_that_sides_that_win_by_themselves_do_not_count():
    """player_0 always wins 5; between the two members nothing is left."""
    one, two = skill_ratings(np.full((2, 2, 10), 5.0), 0)
    assert one.mu == two.mu == 25.0
    with pytest.raises(ModelError, match=r"returns has shape \(2, 3, 1\)"):
        skill_ratings(np.zeros((2, 3, 1)), 0)


# populations


def pennies() -> Pennies:
    return Pennies()


def small_game() -> Any:
    return make_game(
        "lookahead_rl/RandomMarkovGame-v0", {"n_states": 4, "branching": 2, "gamma": 0.7, "max_cycles": 20}
    )


def laws_of(members: Any, env: Any) -> CrossPlay:
    return cross_play({member.name: member.policies for member in members}, env, unavailable="first")


def test_what_a_member_learns_depends_on_nobody_else():
    training = Training(64, seed=3, agent_kwargs={"PPO": {"hyperparameters": SMALL}, "": {"decay": 0.99}})
    alone = build_population(small_game, ["MinimaxQ-v0", "PPO"], training)
    among = build_population(small_game, ["UniformGame-v0", "PPO", "NashPlanner-v0", "MinimaxQ-v0"], training)
    one, two = laws_of(alone, small_game()), laws_of(among, small_game())
    order = [3, 1]
    np.testing.assert_array_equal(one.values, two.values[np.ix_(order, order)])
    assert [member.name for member in among] == ["UniformGame-v0", "PPO", "NashPlanner-v0", "MinimaxQ-v0"]
    assert [member.steps for member in among] == [0, 64, 0, 64]
    assert two.exploitability[2] == pytest.approx(0.0, abs=1e-6)
    assert alone[1].policies[0].model.gamma == 0.7


def test_self_play_draws_its_opponents_from_all_earlier_rounds(monkeypatch: pytest.MonkeyPatch):
    met: list[tuple[str, Any]] = []
    plain = VersusOpponent.set_opponent

    def watched(self: Any, opponent: Any) -> None:
        met.append((self.side, opponent))
        plain(self, opponent)

    monkeypatch.setattr(VersusOpponent, "set_opponent", watched)
    steps: list[tuple[str, int, int]] = []
    training = Training(3 * 64, rounds=3, agent_kwargs={"": {"hyperparameters": SMALL}})
    members = build_population(pennies, ["PPO"], training, report=lambda *told: steps.append(told))
    assert [member.name for member in members] == ["PPO.1", "PPO.2", "PPO.3"]
    assert [member.steps for member in members] == [64, 128, 192]
    for side, other in (("even", 1), ("odd", 0)):
        faced = [opponent for played, opponent in met if played == side]
        pool = [None, *(member.policies[other] for member in members[:2])]
        last = [one is pool[2] for one in faced].index(True)  # the third round has begun
        assert {id(one) for one in faced[last:]} == {id(one) for one in pool}
    laws_then = [member.policies[0].action_probabilities(np.zeros((1, 3), np.float32)) for member in members]
    assert not np.array_equal(laws_then[0], laws_then[2])  # checkpoints, not one agent three times
    assert steps[-1] == ("PPO, round 3", 384, 384)
    again = build_population(pennies, ["PPO"], training)
    one, two = (cross_play({m.name: m.policies for m in made}, Pennies(), episodes=4) for made in (members, again))
    np.testing.assert_array_equal(one.returns, two.returns)


def test_fictitious_self_play_of_best_responses_converges_in_rock_paper_scissors():
    """Each round's member answers the average of the earlier ones; their mixture comes near equilibrium."""
    pool = [(always(ROCK), always(ROCK))]
    env = rock_paper_scissors()
    for _ in range(40):
        mean = [np.mean([member[side] for member in pool], axis=0) for side in range(2)]
        answers = [make_agent("BestResponse-v0", env, side=PLAYERS[s], opponent=mean[1 - s]).learn(0) for s in range(2)]
        pool.append(tuple(a.action_probabilities(env.observe(np.arange(2))[PLAYERS[s]]) for s, a in enumerate(answers)))
    average = tuple(np.mean([member[side] for member in pool], axis=0) for side in range(2))
    found = cross_play({"last": pool[-1], "average": average}, env)
    assert found.exploitability[0] == pytest.approx(1.0)
    assert found.exploitability[1] < 0.2


def test_opponents_on_disk_are_played_against_and_members_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    origin = {"env_id": "small", "env_kwargs": {}}
    training = Training(64, agent_kwargs={"": {"hyperparameters": SMALL}})
    (member,) = build_population(small_game, ["PPO", "UniformGame-v0"], training)[:1]
    save_member(member, tmp_path / "PPO", origin)
    loaded, _ = build_population(small_game, [str(tmp_path / "PPO"), "UniformGame-v0"], Training(0), origin=origin)
    assert loaded.name == "PPO"
    pair = f"{tmp_path}/PPO/player_0.zip,{tmp_path}/PPO/player_1.zip"
    by_file, _ = build_population(small_game, [pair, "UniformGame-v0"], Training(0))
    found = laws_of([member], small_game()).values
    np.testing.assert_array_equal(laws_of([loaded], small_game()).values, found)
    np.testing.assert_array_equal(laws_of([by_file], small_game()).values, found)
    # A member on disk that is called as a round of the learner is, and one that is named by the folder it is in.
    (tmp_path / "PPO").rename(tmp_path / "PPO.1")
    monkeypatch.chdir(tmp_path / "PPO.1")
    rounds = Training(64, rounds=2, agent_kwargs={"": {"hyperparameters": SMALL}})
    names = [one.name for one in build_population(small_game, ["PPO", "../PPO.1"], rounds)]
    assert names == ["PPO.1", "PPO.2", "../PPO.1"]
    assert build_population(small_game, [".", "UniformGame-v0"], Training(0))[0].name == "PPO.1"
    (tmp_path / "PPO.1").rename(tmp_path / "PPO")
    rivals = Training(64, agent_kwargs={"": {"hyperparameters": SMALL}}, opponents=(str(tmp_path / "PPO"),))
    other, _ = build_population(small_game, ["PPO", "UniformGame-v0"], rivals, origin=origin)
    assert not np.array_equal(laws_of([other], small_game()).values, found)


def test_members_that_do_not_fit_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from lookahead_rl.agents.stable_baselines import StableBaselinesAgent

    origin = {"env_id": "small", "env_kwargs": {"game_seed": 0}}
    uniform = build_population(small_game, ["UniformGame-v0", "NashPlanner-v0"], Training(0))[0]
    save_member(uniform, tmp_path / "u", origin)
    (tmp_path / "no.zip").write_text("no agent")
    (tmp_path / "half").mkdir()
    monkeypatch.setattr(StableBaselinesAgent, "learn", lambda *_: pytest.fail("trained"))

    def refusal(agents: list[str], make: Any = small_game, **kwargs: Any) -> str:
        with pytest.raises((AgentError, ModelError)) as stop:
            build_population(make, agents, Training(64, **kwargs), origin=origin | {"env_kwargs": {"game_seed": 1}})
        return str(stop.value)

    assert "did you mean PPO" in refusal(["PPO", "PP0"])
    assert "there is no such file or folder, and no agent" in refusal(["PPO", "x/y.zip"])
    assert "trained in another game: env_kwargs {'game_seed': 0}" in refusal(["PPO", str(tmp_path / "u")])
    assert "plays player_0, not player_1; name one for each side" in refusal(["PPO", str(tmp_path / "u/player_0.zip")])
    files = f"{tmp_path}/u/player_1.zip,{tmp_path}/u/player_0.zip"
    assert "plays player_1, not player_0" in refusal(["PPO", files])
    assert "names 3 files" in refusal(["PPO", f"{files},{tmp_path}/no.zip"])
    assert "is not an agent file" in refusal(["PPO", str(tmp_path / "no.zip")])
    assert "lacks player_0.zip and player_1.zip" in refusal(["PPO", str(tmp_path / "half")])
    assert "plays player_0, not even" in refusal(["PPO", f"{tmp_path}/u/player_0.zip"], pennies)
    assert "a population of one" in refusal(["PPO"])
    assert "a population of one" in refusal(["Random-v0"], rounds=3)
    assert "PPO named twice" in refusal(["PPO", "PPO"])
    assert "none of these agents takes nonsense" in refusal(["PPO", "Random-v0"], agent_kwargs={"": {"nonsense": 1}})
    assert "PPO takes no argument n_step; it takes: batch_size" in refusal(
        ["PPO", "Random-v0"], agent_kwargs={"PPO": {"n_step": 1}}
    )
    assert "given for DQN, which does not play" in refusal(["PPO", "Random-v0"], agent_kwargs={"DQN": {"gamma": 0.5}})
    assert "hold seed, which is set" in refusal(["PPO", "Random-v0"], agent_kwargs={"PPO": {"seed": 1}})
    assert "hyperparameters of PPO are 3" in refusal(["PPO", "A2C"], agent_kwargs={"PPO": {"hyperparameters": 3}})
    assert "made with a whole game" in refusal(["PPO", "NashPlanner-v0"], pennies)
    assert "TensorPlan-v0 cannot play this game" in refusal(["PPO", "TensorPlan-v0"])
    assert "is not zero-sum" in refusal(["PPO", "Random-v0"], lambda: Pennies(abs))
    assert "rounds is 0" in refusal(["PPO", "Random-v0"], rounds=0)


def test_games_may_be_called_by_their_modules_and_turns_are_refused():
    assert game_id("rps_v2") == game_id("pettingzoo.classic.rps_v2") == "classic/rps-v2"
    assert game_id("lookahead_rl/Pursuit-v0") == "lookahead_rl/Pursuit-v0"
    with pytest.raises(ModelError, match="the players of classic/connect_four-v3 take turns"):
        game_id("classic/connect_four-v3")


# the tournament


def test_a_learnt_response_shows_at_most_the_true_exploitability():
    kwargs = {"PPO": SMALL | {"learning_rate": 0.02}}
    members = build_population(small_game, ["NashPlanner-v0", "UniformGame-v0"], Training(0))
    found = rank_population(
        members, small_game, episodes=5, best_response="PPO", best_response_timesteps=256, agent_kwargs=kwargs
    )
    bound, truth = found.responses.lower_bound, found.cross.exploitability
    assert (bound <= truth + 1e-9).all()
    assert bound[1] > 0.2 * truth[1] > 0.0
    best, last = found.ranking()
    assert (best["member"], best["nash_weight"], best["score"]) == ("NashPlanner-v0", 1.0, pytest.approx(1.0))
    assert (last["score"], last["value"]) == (pytest.approx(0.0), pytest.approx(-truth[1]))
    assert last["nash_conv"] == pytest.approx(last["guarantee_1"] - last["guarantee_0"])


def test_where_nothing_is_exact_members_count_as_responses_too():
    """PPO learns nothing in no steps, yet heads is exploited: tails and heads are there."""
    coins = {name: coin for name, coin in COINS.items() if coin is not None}
    members = [Member(name, name, (coin, coin), 0, 0.0) for name, coin in coins.items()]
    told = rank_population(
        members,
        pennies,
        episodes=40,
        best_response="PPO",
        best_response_timesteps=0,
        agent_kwargs={"": {"hyperparameters": SMALL}},
    )
    bound = dict(zip(("heads", "tails", "fair"), told.responses.lower_bound, strict=True))
    assert bound["heads"] == bound["tails"] == 4.0
    assert told.responses.by[0][0] == "tails"
    assert told.responses.by[1][0] == "heads"
    assert bound["fair"] < 1.5
    assert told.cross.exploitability is None
    assert told.ranking()[0]["score"] is None
    with pytest.raises(AgentError, match="a response is learnt by agents of one side"):
        rank_population(members, pennies, episodes=2, best_response="BestResponse-v0")
    with pytest.raises(ModelError, match="two members have one name: heads, heads"):
        rank_population([members[0], members[0]], pennies, episodes=2)


# the command


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [{key: cell for key, cell in row.items() if key != "seconds"} for row in json.loads(path.read_text())]


def test_the_command_writes_the_same_tables_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    game = ["--env-id", "lookahead_rl/RandomMarkovGame-v0", "--env-kwargs", "n_states=4", "branching=2", "gamma=0.7"]
    agents = ["--agents", "NashPlanner-v0", "MinimaxQ-v0", "UniformGame-v0", "--agent-kwargs", "MinimaxQ-v0:decay=0.99"]
    options = ["selfplay", *game, *agents, "--total-timesteps", "200", "--episodes", "20", "--seed", "5"]
    code = "import sys; from lookahead_rl.scripts.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *options, "--json", "one.json", "--out", "one"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("COLUMNS", "80")
    main([*options, "--json", str(tmp_path / "two.json")])
    shown = [text.partition("Wrote")[0] for text in (done.stdout, capsys.readouterr().out)]
    assert shown[0] == shown[1]
    assert "Ranking" in shown[0]
    rows = rows_of(tmp_path / "one.json")
    assert rows == rows_of(tmp_path / "two.json")
    assert [row["table"] for row in rows] == ["ranking"] * 3 + ["cross_play"] * 9
    assert rows[0]["member"] == "NashPlanner-v0"
    assert rows[0]["exploitability"] == pytest.approx(0.0, abs=1e-6)
    assert {"agent", "env_id", "seed", "steps", "value", "optimal_value", "score"} <= rows[0].keys()
    import pyarrow.parquet as pq

    read = pq.read_table(tmp_path / "one" / "cross_play.parquet").to_pylist()
    assert [row["value"] for row in read] == [row["value"] for row in rows[3:]]
    assert pq.read_table(tmp_path / "one" / "ranking.parquet").num_rows == 3
    page = (tmp_path / "one" / "selfplay.html").read_text()
    assert "<svg" in page
    assert "NashPlanner-v0" in page


def test_the_command_plays_what_it_wrote_and_refuses_what_it_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    game = [
        "selfplay",
        "--env-id",
        "lookahead_rl/RandomMarkovGame-v0",
        "--env-kwargs",
        "n_states=4",
        "branching=2",
        "gamma=0.7",
    ]
    short = ["--total-timesteps", "64", "--episodes", "2"]
    out = tmp_path / "out"
    main([*game, *short, "--agents", "MinimaxQ-v0", "UniformGame-v0", "--out", str(out)])
    told = str(tmp_path / "again.json")
    main([*game, *short, "--agents", str(out / "members" / "MinimaxQ-v0"), "NashPlanner-v0", "--json", told])
    assert {row.get("member") for row in rows_of(Path(told))} >= {"MinimaxQ-v0", "NashPlanner-v0"}
    capsys.readouterr()
    for options, message in (
        ([*game, "--out", str(out)], "exists and is no empty folder"),
        ([*game, "--agents", "NashPlaner-v0", "PPO"], "did you mean NashPlanner-v0"),
        ([*game, "--agent-kwargs", "MinimaxQ-v0:dacay=0.9"], "MinimaxQ-v0 takes no argument dacay"),
        ([*game, "--agent-kwargs", "PPO:n_steps=64"], "given for PPO, which does not play"),
        ([*game, "--episodes", "1"], "episodes is 1; it must be at least 2"),
        ([*game, "--best-response", "NashPlanner-v0"], "a response is learnt by agents of one side"),
        (["selfplay", "--env-id", "lookahead_rl/Pursit-v0"], "lookahead_rl/Pursuit-v0"),
        (["selfplay", "--env-id", "classic/tictactoe-v3"], "take turns"),
        (["selfplay", "--env-id", "CartPole-v1"], "CartPole-v1"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(options)
        error = capsys.readouterr().err
        assert stop.value.code == 2
        assert message in error
        assert error.count("\n") == 1


def test_rock_paper_scissors_of_pettingzoo_is_played_from_its_registry(tmp_path: Path):
    pytest.importorskip("pygame")
    env = pettingzoo.make("parallel", game_id("rps_v2"))
    found = cross_play({"uniform": None, "rock": np_policy(0), "paper": np_policy(1)}, env, episodes=5)
    assert found.values[2, 1] == -found.values[1, 2] == 15.0
    assert found.kind == "estimated"


def np_policy(action: int) -> Any:
    class Always:
        def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
            return np.array(action), None

    return Always()
