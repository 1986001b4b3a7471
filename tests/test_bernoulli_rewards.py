"""Rewards drawn as 0 or 1: the law keeps its means and its next states, and nothing outside [0, 1] passes."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import binomtest

from lookahead_rl.envs.simulators import TabularSimulator
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.models import GenerativeModel, ModelError, TabularMDP, Transitions
from lookahead_rl.wrappers import BernoulliRewards, LocalAccess

RNG = np.random.default_rng


def two_states(r: Any) -> TabularMDP:
    """State 0 stays with probability 1/4 under its one action; state 1 is for ever."""
    P = np.array([[[0.25, 0.75]], [[0.0, 1.0]]])
    return TabularMDP(P, r, 0.5, np.array([1.0, 0.0]), features=np.eye(2))


def draws(model: TabularMDP, n: int = 20_000) -> Transitions:
    toss = BernoulliRewards(TabularSimulator(model))
    return toss.sample(np.zeros(n, np.int64), np.zeros(n, np.int64), RNG(0))


def test_rewards_are_zero_or_one_with_the_reward_as_mean() -> None:
    rewards = draws(two_states(np.array([[0.3], [0.0]]))).rewards
    assert set(rewards.tolist()) == {0.0, 1.0}
    assert binomtest(int(rewards.sum()), rewards.size, 0.3).pvalue > 1e-3


def test_next_states_are_those_of_the_simulator() -> None:
    model = two_states(np.array([[0.3], [0.0]]))
    plain = TabularSimulator(model).sample(np.zeros(50, np.int64), np.zeros(50, np.int64), RNG(0))
    tossed = draws(model, 50)
    np.testing.assert_array_equal(tossed.next_states, plain.next_states)
    np.testing.assert_array_equal(tossed.terminated, plain.terminated)
    assert BernoulliRewards(TabularSimulator(model)).initial_states(3, RNG(0)).tolist() == [0, 0, 0]


def test_rewards_of_single_outcomes_keep_their_means() -> None:
    """Staying pays .9 on average, leaving .2."""
    moved = draws(two_states(np.array([[[0.9, 0.2]], [[0.0, 0.0]]])))
    for state, mean in ((0, 0.9), (1, 0.2)):
        paid = moved.rewards[moved.next_states == state]
        assert binomtest(int(paid.sum()), paid.size, mean).pvalue > 1e-3


def test_probabilities_are_those_of_next_state_and_reward_together() -> None:
    moved = draws(two_states(np.array([[0.3], [0.0]])), 200)
    chances = {(0, 0.0): 0.25 * 0.7, (0, 1.0): 0.25 * 0.3, (1, 0.0): 0.75 * 0.7, (1, 1.0): 0.75 * 0.3}
    expected = [chances[pair] for pair in zip(moved.next_states.tolist(), moved.rewards.tolist(), strict=True)]
    np.testing.assert_allclose(moved.probabilities, expected, rtol=1e-12)


def test_rewards_of_zero_and_one_stay_what_they_are() -> None:
    assert not draws(two_states(np.zeros((2, 1))), 1000).rewards.any()
    assert draws(two_states(np.ones((2, 1))), 1000).rewards.all()


def test_it_is_a_generative_model() -> None:
    toss = BernoulliRewards(TabularSimulator(two_states(np.zeros((2, 1)))))
    assert isinstance(toss, GenerativeModel)
    assert (toss.n_states, toss.n_actions) == (2, 1)


@pytest.mark.parametrize("reward", [-0.1, 1.5])
def test_rewards_outside_the_unit_interval_are_named(reward: float) -> None:
    model = two_states(np.array([[reward], [0.0]]))
    with pytest.raises(ModelError, match=rf"rewards\[0\] is {reward}; the mean of a draw .* rescale the rewards"):
        draws(model, 3)
    with pytest.raises(ModelError, match=rf"r\[0, 0\] is {reward}; the mean"):
        LocalAccess.from_env(ModelEnv(model), rng=RNG(0), bernoulli_rewards=True)


def test_what_an_impossible_outcome_would_pay_is_no_matter() -> None:
    P = sp.csr_array(([1.0, 0.0, 1.0], [0, 1, 1], [0, 2, 3]), shape=(2, 2))
    for r, message in ((np.array([0.5, 9.0, 0.0]), None), (np.array([0.5, 0.0, 9.0]), r"r\[2\] is 9")):
        env = ModelEnv(TabularMDP(P, r, 0.5, np.array([1.0, 0.0]), features=np.eye(2)))
        if message is None:
            assert LocalAccess.from_env(env, rng=RNG(0), bernoulli_rewards=True).terms.n_actions == 1
        else:
            with pytest.raises(ModelError, match=message):
                LocalAccess.from_env(env, rng=RNG(0), bernoulli_rewards=True)


def test_local_access_draws_rewards_when_asked_to() -> None:
    env = gym.make("RealizableMDP-v0", n_states=20, n_actions=2, horizon=4, dim=5, mdp_seed=0)
    r = env.unwrapped.model.r
    access = LocalAccess.from_env(env, rng=RNG(0), bernoulli_rewards=True)
    start = access.begin()
    rewards = access.query(start.handle, 1, 20_000).rewards
    assert set(rewards.tolist()) == {0.0, 1.0}
    assert access.queries == 20_000
    assert np.abs(rewards.mean() - r[0, :, 1]).min() < 0.02


@pytest.mark.parametrize(("rewards", "expected"), [([0.0, 1.0], True), ([0.5, 1.0], False)])
def test_drawn_rewards_make_a_deterministic_world_random(rewards: list[float], expected: bool) -> None:
    model = TabularMDP(np.eye(2)[:, None], np.array(rewards)[:, None], 0.5, np.ones(2) / 2, features=np.eye(2))
    terms = LocalAccess.from_env(ModelEnv(model), rng=RNG(0), bernoulli_rewards=True).terms
    assert terms.is_deterministic is expected
    assert LocalAccess.from_env(ModelEnv(model), rng=RNG(0)).terms.is_deterministic
