"""K-sample lookahead with networks: its parts by their definitions, the algorithm as stable-baselines3 does its own."""

import dataclasses
import itertools
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import (
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
    SimpleMultiObsEnv,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor

from lookahead_rl.agents import AgentError, make_agent
from lookahead_rl.agents.lookahead import CnnPolicy, KSampleLookahead, MlpPolicy, algorithm, critics
from lookahead_rl.agents.lookahead.actors import STD_RANGE, DigitActor, GaussianActor, make_actor, runs
from lookahead_rl.agents.lookahead.critics import MOST_STATEFUL, RANK, AdvantageEnsemble, ValueFunction
from lookahead_rl.agents.lookahead.experience import Experience, Transitions
from lookahead_rl.agents.lookahead.saving import space_from_plain, space_to_plain
from lookahead_rl.agents.lookahead.targets import Evidence, lambda_advantages, temporal_differences
from lookahead_rl.agents.lookahead.weights import candidate_weights, draw, lookahead_law
from lookahead_rl.agents.storage import read_archive, write_archive
from lookahead_rl.solvers.lookahead import lookahead_policy

SMALL: dict[str, Any] = {
    "n_steps": 32,
    "batch_size": 16,
    "advantage_epochs": 2,
    "value_epochs": 2,
    "actor_epochs": 1,
    "policy_kwargs": {"net_arch": [16]},
    "device": "cpu",
    "seed": 0,
}
DIGITS = (spaces.Discrete(5), spaces.MultiDiscrete([3, 2, 4]), spaces.MultiBinary(3))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def small(env: Any, **changes: Any) -> KSampleLookahead:
    policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"
    return KSampleLookahead(policy, env, **(SMALL | changes))


def weights_of(model: KSampleLookahead) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Odd(gym.Env[Any, Any]):
    """Any spaces, nothing else."""

    def __init__(self, action_space: Any, observation_space: Any = None) -> None:
        self.action_space = action_space
        self.observation_space = spaces.Box(-1, 1, (1,)) if observation_space is None else observation_space

    def reset(self, *, seed: int | None = None, options: Any = None):
        return self.observation_space.sample(), {}

    def step(self, action: Any):
        return self.observation_space.sample(), 0.0, False, False, {}


# the operator


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(
            st.lists(st.sampled_from([0.0, 1e-12, 1e-5, 0.1, 1.0, 3.0]), min_size=n, max_size=n).filter(any),
            st.lists(st.integers(-2, 2), min_size=n, max_size=n),
        )
    ),
    st.floats(1, 100),
)
def test_the_operator_is_that_of_the_exact_solver(case: tuple[list[float], list[int]], K: float):
    p, q = np.array(case[0]) / sum(case[0]), np.array(case[1], dtype=np.float64)
    law = lookahead_law(torch.tensor(p)[None], torch.tensor(q)[None], K)[0].numpy()
    np.testing.assert_allclose(law, lookahead_policy(p[None], q[None], K)[0], rtol=1e-9, atol=1e-15)
    assert (law[p == 0] == 0).all()


def test_candidates_are_weighed_by_rank_and_ties_share():
    q = torch.tensor([[0.3, -1.0, 2.0, 0.9], [1.0, 5.0, 1.0, 0.0]])
    rank = [(i / 4) ** 3 - ((i - 1) / 4) ** 3 for i in (1, 2, 3, 4)]
    expected = [[rank[1], rank[0], rank[3], rank[2]]]
    shared = (rank[1] + rank[2]) / 2
    expected.append([shared, rank[3], shared, rank[0]])
    np.testing.assert_allclose(candidate_weights(q, 3.0).numpy(), expected, rtol=1e-12)


def test_many_candidates_give_the_law_of_the_best_of_k():
    """Sampling candidates and weighing them by rank is, on average, the exact operator as m grows."""
    p, q = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.0, 1.0, -1.0, 2.0])
    drawn = draw(p.expand(2000, -1), 64)
    weights = candidate_weights(q[drawn], 4.0)
    law = torch.zeros(2000, 4, dtype=torch.float64).scatter_add(1, drawn, weights).mean(0)
    np.testing.assert_allclose(
        law.numpy(),
        lookahead_policy(p[None].double().numpy() / p.double().sum().item(), q[None].numpy(), 4.0)[0],
        atol=0.02,
    )


def test_draws_follow_the_law_and_never_reach_what_has_no_mass():
    law = torch.tensor([[0.0, 0.7, 0.0, 0.3, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2]])
    drawn = draw(law, 50_000)
    counts = torch.stack([torch.bincount(row, minlength=5) for row in drawn]) / 50_000
    np.testing.assert_allclose(counts.numpy(), law.numpy(), atol=0.01)
    assert (counts[0][[0, 2, 4]] == 0).all()


# actors


def all_codes(actor: DigitActor, batch: int) -> Tensor:
    listed = torch.tensor(list(itertools.product(*(range(n) for n in actor.nvec))))
    return listed[None].expand(batch, -1, -1).contiguous()


def some_actor(space: Any) -> DigitActor:
    actor = make_actor(4, space, [8], torch.nn.ReLU)
    assert isinstance(actor, DigitActor)
    actor.weight.data.normal_()
    actor.embedding.data.normal_()
    return actor


def some_masks(actor: DigitActor, batch: int) -> Tensor:
    masks = torch.rand(batch, sum(actor.nvec)) < 0.5
    masks[:, np.cumsum([0, *actor.nvec[:-1]])] = True
    return masks


@pytest.mark.parametrize("space", DIGITS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_a_law_over_digits_sums_to_one_and_is_what_is_sampled(space: Any, masked: bool):
    actor, features = some_actor(space), torch.randn(2, 4)
    masks = some_masks(actor, 2) if masked else None
    listed = all_codes(actor, 2)
    law = actor.log_prob(features, listed, masks).exp().detach()
    np.testing.assert_allclose(law.sum(1).numpy(), 1, rtol=1e-5)
    drawn = actor.sample(features, 40_000, masks=masks)
    places = [int(np.prod(actor.nvec[j + 1 :])) for j in range(actor.width)]
    counts = torch.stack(
        [torch.bincount(row, minlength=law.shape[1]) for row in (drawn * torch.tensor(places)).sum(-1)]
    )
    np.testing.assert_allclose(counts.numpy() / 40_000, law.numpy(), atol=0.015)


def law_of_runs(width: int) -> dict[tuple[int, int], float]:
    """The probability of each run (length, start), by its definition."""
    harmonic = sum(1 / length for length in range(1, width + 1))
    places = {length: width - length + 1 for length in range(1, width + 1)}
    return {(length, start): 1 / (length * harmonic * n) for length, n in places.items() for start in range(n)}


def reached(width: int, j: int) -> float:
    """The probability that a run covers place ``j``."""
    return sum(p for (length, start), p in law_of_runs(width).items() if start <= j < start + length)


def test_a_run_is_adjacent_places_anywhere_and_shorter_ones_are_likelier():
    n, width = 60_000, 6
    found = runs(torch.zeros(3, n // 3, width)).reshape(n, width)
    lengths, starts, places = found.sum(1), found.int().argmax(1), torch.arange(width)
    assert torch.equal(found, (places >= starts[:, None]) & (places < (starts + lengths)[:, None]))
    for (length, start), p in law_of_runs(width).items():
        share = ((lengths == length) & (starts == start)).double().mean().item()
        assert share == pytest.approx(p, abs=0.006)
    assert runs(torch.zeros(4, 5, 1)).all()


@pytest.mark.parametrize("space", DIGITS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_mutation_redraws_a_run_uniformly_from_what_is_allowed(space: Any, masked: bool):
    actor, n = some_actor(space), 40_000
    masks = some_masks(actor, 2) if masked else None
    codes = torch.zeros(2, n, actor.width, dtype=torch.long)
    assert actor.mutate(codes, 0.0, masks) is codes
    drawn = actor.mutate(codes, 0.4, masks)
    for i, j in np.ndindex(2, actor.width):
        start, size = sum(actor.nvec[:j]), actor.nvec[j]
        allowed = torch.ones(size, dtype=torch.double) if masks is None else masks[i, start : start + size].double()
        changed = 0.4 * reached(actor.width, j)
        expected = changed * allowed / allowed.sum()
        expected[0] += 1 - changed
        share = torch.bincount(drawn[i, :, j], minlength=size) / n
        np.testing.assert_allclose(share.numpy(), expected.numpy(), atol=0.012)
        assert (share[1:][allowed[1:] == 0] == 0).all()


@pytest.mark.parametrize("masked", [False, True])
def test_the_law_of_a_mutated_action_is_what_is_sampled(masked: bool):
    actor, features = some_actor(spaces.Discrete(5)), torch.randn(2, 4)
    masks = some_masks(actor, 2) if masked else None
    law = actor.mutated(actor.log_law(features, masks).exp(), 0.3, masks).detach()
    np.testing.assert_allclose(law.sum(1).numpy(), 1, rtol=1e-6)
    drawn = actor.mutate(actor.sample(features, 40_000, masks), 0.3, masks)[..., 0]
    counts = torch.stack([torch.bincount(row, minlength=5) for row in drawn]) / 40_000
    np.testing.assert_allclose(counts.numpy(), law.numpy(), atol=0.012)
    if masks is not None:
        assert (law[~masks] == 0).all()


@pytest.mark.parametrize("space", DIGITS, ids=str)
def test_without_hidden_layers_a_law_is_linear_in_the_features(space: Any):
    actor, features = make_actor(4, space, [], torch.nn.ReLU), torch.randn(3, 4)
    assert isinstance(actor, DigitActor)
    actor.weight.data.normal_()
    actor.embedding.data.normal_()
    codes = all_codes(actor, 3)
    expected = torch.zeros(codes.shape[:2])
    for j, size in enumerate(actor.nvec):
        hidden = features[:, None] + sum(actor.embedding[i, codes[..., i]] for i in range(j))
        law = (hidden @ actor.weight[j, :, :size] + actor.bias[j, :size]).log_softmax(-1)
        expected = expected + law.expand(-1, codes.shape[1], -1).gather(-1, codes[..., j : j + 1])[..., 0]
    torch.testing.assert_close(actor.log_prob(features, codes), expected)


def test_the_cross_entropy_of_digits_is_estimated_without_bias():
    actor, features = some_actor(spaces.MultiDiscrete([3, 2])), torch.randn(2, 4)
    codes, weights = all_codes(actor, 2), torch.rand(2, 6).softmax(-1)
    exact = -(weights * actor.log_prob(features, codes)).sum(-1).mean()
    estimate = actor.cross_entropy(features, codes, weights, 20_000)
    assert estimate.item() == pytest.approx(exact.item(), abs=0.05)


def test_the_mode_takes_the_first_most_likely_value_of_each_digit():
    actor = make_actor(4, spaces.MultiDiscrete([3, 3]), [8], torch.nn.ReLU)
    assert isinstance(actor, DigitActor)
    actor.weight.data.zero_()
    actor.bias.data[:] = torch.tensor([[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    assert actor.mode(torch.randn(1, 4)).tolist() == [[1, 0]]


def some_gaussian(box: spaces.Box) -> GaussianActor:
    actor = make_actor(4, box, [8], torch.nn.ReLU)
    assert isinstance(actor, GaussianActor)
    torch.nn.init.normal_(actor.head[-1].weight)
    return actor


BOX = spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([0.5, 2.5], np.float32))


def test_a_gaussian_is_cut_off_at_the_faces_of_its_box():
    actor, features, n = some_gaussian(BOX), 3 * torch.randn(3, 4), 40_000
    mean, std = actor._mean_and_std(features)
    assert ((std >= STD_RANGE[0]) & (std <= STD_RANGE[1])).all()
    assert torch.equal(actor.mode(features), mean)
    assert (mean.abs() <= 1).all()
    codes = actor.sample(features, n).detach()
    normal = torch.distributions.Normal(mean[:, None], std[:, None])
    torch.testing.assert_close(actor.log_prob(features, codes), normal.log_prob(codes).sum(-1))
    for bound in (-1.0, -0.5, 0.0, 0.7):  # the cut leaves the distribution function as it was inside
        below = normal.cdf(torch.full((1, 1, 2), bound))[:, 0].detach()
        np.testing.assert_allclose((codes <= bound).float().mean(1).numpy(), below.numpy(), atol=0.015)
    assert (codes.abs() <= 1).all()


def test_codes_of_a_box_are_its_actions_in_units_from_minus_one_to_one():
    actor = some_gaussian(BOX)
    corners = actor.decode(torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert corners.dtype == BOX.dtype
    assert np.array_equal(corners, [BOX.low, BOX.high, (BOX.low + BOX.high) / 2])
    narrow = spaces.Box(np.float32([0.1, -1e9]), np.float32([0.3, 7.7]))
    assert all(narrow.contains(action) for action in some_gaussian(narrow).decode(2 * torch.rand(500, 2) - 1))


def test_mutation_in_a_box_is_uniform_on_a_run_of_coordinates():
    actor = some_gaussian(spaces.Box(-3, 5, (3,)))
    codes = torch.full((1, 30_000, 3), 0.123)
    drawn = actor.mutate(codes, 0.5)
    changed = drawn != codes
    np.testing.assert_allclose(changed[0].double().mean(0).numpy(), [0.5 * reached(3, j) for j in range(3)], atol=0.012)
    for level in (-0.5, 0.0, 0.5):
        assert (drawn[changed] <= level).double().mean().item() == pytest.approx((level + 1) / 2, abs=0.012)
    assert (drawn.abs() <= 1).all()


def test_the_cross_entropy_in_a_box_is_exact():
    actor, features = some_gaussian(BOX), torch.randn(2, 4)
    codes, weights = actor.sample(features, 5), torch.rand(2, 5).softmax(-1)
    exact = -(weights * actor.log_prob(features, codes)).sum(-1).mean()
    torch.testing.assert_close(actor.cross_entropy(features, codes, weights, 1), exact)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([[2, 3], [4, 2]]),
        spaces.MultiDiscrete([2, 3], start=[5, -2]),
        spaces.MultiBinary((2, 2)),
        spaces.Box(-1, 1, (2, 3), np.float64),
    ],
    ids=str,
)
def test_codes_decode_to_actions_of_the_space(space: Any):
    actor = make_actor(4, space, [8], torch.nn.ReLU)
    actions = actor.decode(actor.sample(torch.randn(20, 4), 1)[:, 0])
    assert all(space.contains(action if action.shape else action[()]) for action in actions)


# critics


@pytest.mark.parametrize("most_stateful", [1024, 0])
def test_members_of_the_ensemble_are_separate_networks(most_stateful: int, monkeypatch: pytest.MonkeyPatch):
    """A(s, a) = f(W s + b + V sum_j (e_j(a_j) + U_{j, a_j} s)) written out for each member; without U beyond a size."""
    monkeypatch.setattr(critics, "MOST_STATEFUL", most_stateful)
    space = spaces.MultiDiscrete([3, 4])
    ensemble = AdvantageEnsemble(5, space, 3, [24, 8])
    features, codes = torch.randn(6, 5), torch.stack([space_codes(space, 7) for _ in range(6)])
    together, inputs = ensemble(features[None], codes[None]), ensemble.actions
    for k in range(3):
        hidden = features @ ensemble.weights[0][k] + ensemble.biases[0][k]
        tables = inputs.table[k].view(7, RANK).expand(6, -1, -1)
        if most_stateful:
            tables = tables + (features @ inputs.by_state[k]).view(6, 7, RANK)
        places = torch.stack([codes[..., 0], 3 + codes[..., 1]])
        chosen = sum(tables.gather(1, place[..., None].expand(-1, -1, RANK)) for place in places)
        hidden = hidden[:, None] + chosen @ inputs.widen[k]
        for weight, bias in list(zip(ensemble.weights, ensemble.biases, strict=True))[1:]:
            hidden = hidden.relu() @ weight[k] + bias[k]
        torch.testing.assert_close(together[k], hidden.squeeze(-1), rtol=1e-4, atol=1e-5)
    apart = ensemble(features.expand(3, -1, -1), codes.expand(3, -1, -1, -1))
    torch.testing.assert_close(apart, together)


def test_without_hidden_layers_advantages_are_sums_of_numbers_linear_in_the_features():
    space = spaces.MultiDiscrete([3, 4])
    ensemble, features = AdvantageEnsemble(5, space, 2, []), torch.randn(6, 5)
    first, second = torch.randint(3, (6, 1)), torch.randint(4, (6, 1))

    def at(i: Any, j: Any) -> Tensor:
        return ensemble(features[None], torch.stack([i, j], dim=-1)[None])

    zero = torch.zeros_like(first)
    torch.testing.assert_close(at(first, second) - at(zero, second), at(first, zero) - at(zero, zero))
    doubled = ensemble(2 * features[None], torch.stack([first, second], dim=-1)[None])
    origin = ensemble(0 * features[None], torch.stack([first, second], dim=-1)[None])
    torch.testing.assert_close(doubled - origin, 2 * (at(first, second) - origin), rtol=1e-4, atol=1e-5)


SHAPES = {
    "stateful": (spaces.MultiDiscrete([3, 4]), [24, 8]),
    "stateless": (spaces.Discrete(MOST_STATEFUL + 1), [24]),
    "box": (spaces.Box(-1, 1, (2,)), [8]),
    "linear": (spaces.MultiDiscrete([3, 4]), []),
    "linear and stateless": (spaces.Discrete(MOST_STATEFUL + 1), []),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_rescaling_leaves_advantages_as_they_were(kind: str):
    space, net_arch = SHAPES[kind]
    ensemble, features = AdvantageEnsemble(4, space, 2, net_arch), torch.randn(10, 4)
    actor = make_actor(4, space, [8], torch.nn.ReLU)
    codes = actor.sample(features, 3)
    before = (ensemble.scale * ensemble(features[None], codes[None])).detach()
    for scale in (300.0, 0.01):
        ensemble.rescale(torch.tensor(scale))
        assert ensemble.scale.item() == pytest.approx(scale)
        torch.testing.assert_close(ensemble.scale * ensemble(features[None], codes[None]), before, rtol=1e-4, atol=1e-5)


def test_digits_of_many_values_have_embeddings_that_no_state_moves():
    most, more = (AdvantageEnsemble(4, spaces.Discrete(MOST_STATEFUL + i), 1, [8]) for i in (0, 1))
    assert [size.actions.is_stateful for size in (most, more)] == [True, False]


def space_codes(space: spaces.MultiDiscrete, n: int) -> Tensor:
    return torch.stack([torch.randint(int(k), (n,)) for k in space.nvec], dim=-1)


@pytest.mark.parametrize("net_arch", [[8], []])
def test_rescaling_leaves_the_value_as_it_was(net_arch: list[int]):
    value, features = ValueFunction(4, net_arch, torch.nn.ReLU, 50.0), torch.randn(10, 4)
    before = value(features)
    assert ((before - 50).abs() < 5).all()
    for returns in ([100.0, 300.0, 500.0], [7.0, 7.0]):
        value.rescale(torch.tensor(returns))
        assert value.mean.item() == np.mean(returns)
        torch.testing.assert_close(value(features), before, rtol=1e-4, atol=1e-4)


# experience and targets


def rollout(first: float, n_steps: int = 2, n_envs: int = 3) -> Transitions:
    numbers = first + torch.arange(n_steps * n_envs, dtype=torch.float32).view(n_steps, n_envs)
    zeros = torch.zeros(n_steps, n_envs)
    return Transitions(
        {"x": numbers[..., None]}, {"x": numbers[..., None] + 1}, numbers[..., None], numbers, zeros, zeros
    )


def test_experience_keeps_the_newest_rollouts_and_each_row_whole():
    experience = Experience(2)
    for first in (0.0, 100.0, 200.0):
        experience.append(rollout(first))
    assert experience.size == 12
    rows = experience.rows(torch.arange(12))
    assert sorted(rows.rewards.tolist()) == [*range(100, 106), *range(200, 206)]
    assert isinstance(rows.observations, dict)
    assert isinstance(rows.next_observations, dict)
    assert torch.equal(rows.observations["x"][:, 0], rows.rewards)
    assert torch.equal(rows.next_observations["x"][:, 0], rows.rewards + 1)
    assert [one.rewards[0, 0].item() for one in experience.newest(5)] == [100, 200]


@pytest.mark.parametrize(("buffer_size", "kept"), [(100, 3), (96, 3), (10, 1)])
def test_the_buffer_holds_whole_rollouts_up_to_its_size_and_at_least_one(buffer_size: int, kept: int):
    model = small(Counting(True), buffer_size=buffer_size).learn(5 * 32)
    assert model.experience.size == kept * 32
    assert model.experience.n_rollouts == 5
    assert len(model.experience.newest(9)) == kept


def test_policies_are_fitted_in_the_states_advantages_were_fitted_in(monkeypatch: pytest.MonkeyPatch):
    """With lambda targets the last few rollouts, with one-step targets any kept; as many of them, or as are wanted."""
    monkeypatch.setattr(algorithm, "STEPS_PER_ITERATION", 64)
    model = small(Counting(True))
    for first in range(0, 5 * 32, 32):
        model.experience.append(rollout(float(first), 32, 1))
    assert sorted(model._states_to_improve(["lambda"] * 2, 1000).rewards.tolist()) == [*range(96, 160)]
    assert sorted(model._states_to_improve(["one-step", "lambda"], 1000).rewards.tolist()) == [*range(96, 160)]
    some = model._states_to_improve(["lambda"] * 2, 40)
    assert len(set(some.rewards.tolist()) & {*range(96, 160)}) == 40
    assert isinstance(some.observations, dict)
    assert torch.equal(some.observations["x"][:, 0], some.rewards)
    old = [model._states_to_improve(["one-step"] * 2, n).rewards.tolist() for n in (1000, 40)]
    assert [len(rewards) for rewards in old] == [64, 40]
    assert min(old[0]) < 96
    monkeypatch.setattr(algorithm, "STEPS_PER_ITERATION", 8)
    assert sorted(model._states_to_improve(["lambda"] * 2, 1000).rewards.tolist()) == [*range(128, 160)]


def test_critics_are_averaged_over_gradient_steps():
    """One step of each critic by tau = .25; units change, and what is averaged does not."""
    policy = small(Counting(True)).policy
    shown = torch.linspace(-1, 1, 6)[:, None]
    codes = torch.tensor([0, 1]).expand(6, 2)[..., None]
    start, advantages = policy.values(shown), policy.advantages(shown, codes)
    with torch.no_grad():
        for parameter in [*policy.value.parameters(), *policy.advantage.parameters()]:
            parameter.add_(0.1)
    kept = {name: parameter.clone() for name, parameter in policy.slow.named_parameters()}
    policy.average("value", 0.25)
    for name, parameter in policy.slow["value"].named_parameters():
        expected = 0.75 * kept[f"value.{name}"] + 0.25 * dict(policy.value.named_parameters())[name]
        torch.testing.assert_close(parameter, expected)
    assert not torch.equal(policy.values(shown), start)
    assert torch.equal(policy.advantages(shown, codes), advantages)
    averaged = policy.values(shown)
    policy.rescale_value(torch.tensor([3.0, 9.0, 12.0]))
    policy.rescale_advantage(torch.tensor(7.0))
    torch.testing.assert_close(policy.values(shown), averaged)
    torch.testing.assert_close(policy.advantages(shown, codes), advantages)
    for critic in ("value", "advantage"):
        policy.average(critic, 1.0)
    for name, parameter in policy.slow.named_parameters():
        assert torch.equal(parameter, dict(policy.named_parameters())[name])
        assert not parameter.requires_grad


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_normalisation_is_that_of_today_and_not_of_when_transitions_were_stored(dtype: Any):
    """Raw ones are kept, last observations of episodes too, and shown as VecNormalize now shows them."""
    games = [Counting(True), Counting(False)]
    for game in games:
        game.observation_space = spaces.Box(0, 10, (1,), dtype)
    lanes = VecNormalize(DummyVecEnv([lambda: games[0], lambda: games[1]]), gamma=0.9)
    model = small(lanes, n_steps=12, gamma=0.9).learn(3 * 24)
    (first, *_), shown = model.experience.newest(3), model._newest(3)[0]
    steps = [*range(5), *range(5), 0, 1]
    for stored in (first.observations, first.next_observations - 1):
        torch.testing.assert_close(stored[..., 0], torch.tensor(np.array(steps, dtype))[:, None].expand(-1, 2))
    assert (first.rewards == 1).all()
    for part in ("observations", "next_observations"):
        expected = lanes.normalize_obs(vars(first)[part].numpy())
        np.testing.assert_array_equal(vars(shown)[part].numpy(), expected)
    np.testing.assert_allclose(shown.rewards.numpy(), lanes.normalize_reward(first.rewards.numpy()), rtol=1e-6)
    lanes.obs_rms.mean += 1
    assert not torch.equal(model._newest(3)[0].observations, shown.observations)
    assert model._rows(torch.tensor([0])).observations[0, 0] == model._newest(3)[0].observations[0, 0, 0]


def test_lambda_advantages_are_the_definition():
    rng = np.random.default_rng(0)
    deltas, ends = rng.normal(size=(12, 3)), (rng.random((12, 3)) < 0.3).astype(float)
    expected = np.zeros_like(deltas)
    for t, e in np.ndindex(12, 3):
        for i in range(12 - t):
            expected[t, e] += 0.7**i * deltas[t + i, e]
            if ends[t + i, e]:
                break
    found = lambda_advantages(torch.tensor(deltas), torch.tensor(ends), 0.7)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_lambda_returns_are_those_of_stable_baselines3():
    from stable_baselines3.common.buffers import RolloutBuffer

    rng = np.random.default_rng(1)
    rewards, values, dones = rng.normal(size=(9, 2)), rng.normal(size=(10, 2)), rng.random((9, 2)) < 0.2
    buffer = RolloutBuffer(9, spaces.Box(0, 1, (1,)), spaces.Discrete(2), "cpu", gae_lambda=0.9, gamma=0.8, n_envs=2)
    buffer.rewards, buffer.values = rewards.astype(np.float32), values[:9].astype(np.float32)
    buffer.episode_starts = np.r_[np.zeros((1, 2)), dones[:8]].astype(np.float32)
    buffer.compute_returns_and_advantage(torch.tensor(values[9]), dones[8])
    parts = (rewards, dones.astype(float), values[:9], values[1:])
    deltas = temporal_differences(*(torch.tensor(part) for part in parts), 0.8)
    found = lambda_advantages(deltas, torch.tensor(dones.astype(float)), 0.8 * 0.9)
    np.testing.assert_allclose(found.numpy(), buffer.advantages, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("better", ["one-step", "lambda"])
def test_the_evidence_finds_the_critic_that_is_right(better: str):
    """True advantages are known; one critic sees them through little noise, the other through much."""
    evidence, rng = Evidence(), torch.Generator().manual_seed(0)
    for _ in range(40):
        truth, noise = torch.randn(64, 8, generator=rng), torch.randn(3, 64, 8, generator=rng)
        good, bad, reference = truth + 0.5 * noise[0], truth + 3 * noise[1], truth + 4 * noise[2]
        critics = (good, 100 * bad) if better == "one-step" else (bad, 0.01 * good)
        evidence.add(*critics, reference)
    assert evidence.choice == better


def test_the_evidence_is_silent_where_there_is_nothing_to_choose():
    evidence, rng = Evidence(), torch.Generator().manual_seed(1)
    assert evidence.choice is None
    for _ in range(10):
        critic, reference = torch.randn(2, 64, 8, generator=rng)
        evidence.add(critic, 3 * critic + 1, reference)
    assert evidence.choice is None
    evidence.add(torch.zeros(64, 8), torch.zeros(64, 8), torch.zeros(64, 8))
    assert evidence.choice is None


class Chance:
    """Three states, four actions, a policy and its exact values and advantages."""

    def __init__(self, gamma: float) -> None:
        rng = np.random.default_rng(0)
        self.gamma = gamma
        self.P, self.r = rng.dirichlet(np.ones(3), size=(3, 4)), rng.normal(size=(3, 4, 3))
        self.pi = rng.dirichlet(np.ones(4), size=3)
        expected = (self.P * self.r).sum(-1)
        self.v = np.linalg.solve(
            np.eye(3) - gamma * np.einsum("sa,sat->st", self.pi, self.P), (self.pi * expected).sum(1)
        )
        self.advantage = expected + gamma * self.P @ self.v - self.v[:, None]

    def transitions(self, behaviour: Any, n: int) -> Transitions:
        """One rollout (n, 1) of independent transitions with actions from ``behaviour`` (3, 4)."""
        rng = np.random.default_rng(1)
        s = rng.integers(3, size=n)
        a = (behaviour[s].cumsum(1) < rng.random((n, 1))).sum(1)
        s_next = (self.P[s, a].cumsum(1) < rng.random((n, 1))).sum(1)
        parts = [torch.tensor(part)[:, None] for part in (s, s_next, a[:, None])]
        zeros = torch.zeros(n, 1)
        return Transitions(*parts, torch.tensor(self.r[s, a, s_next], dtype=torch.float32)[:, None], zeros, zeros)


@pytest.mark.parametrize("enumerate_up_to", [256, 1])
def test_the_value_of_a_policy_is_estimated_without_bias_from_actions_of_another(enumerate_up_to: int):
    """With the exact V and A, each critic's moved by a function of the state, r + gamma V(s') - A + E_pi A means V."""
    process = Chance(gamma=0.8)
    model = small(
        Odd(spaces.Discrete(4), spaces.Discrete(3)),
        gamma=0.8,
        policy_kwargs={"net_arch": []},
        enumerate_up_to=enumerate_up_to,
    )
    actor, value, ensemble = model.policy.actor, model.policy.value, model.policy.advantage
    for parameter in (*actor.parameters(), *value.parameters(), *ensemble.parameters()):
        parameter.data.zero_()
    actor.weight.data[0] = torch.tensor(np.log(process.pi))
    value.network[0].weight.data[0] = torch.tensor(process.v)
    ensemble.weights[0].data[:] = torch.randn(2, 3, 1)
    ensemble.actions.by_state.data[:] = torch.tensor(process.advantage)
    for critic in ("value", "advantage"):
        model.policy.average(critic, 1.0)
    model.policy.rescale_advantage(torch.tensor(0.1))
    behaviour = np.full((3, 4), 0.25)
    model.experience.append(process.transitions(behaviour, 40_000))
    states, estimates = model._sampled_values(40_000)
    mistaken = process.v + ((behaviour - process.pi) * process.advantage).sum(1)
    for s in range(3):
        here = estimates[states == s]
        error = here.std().item() / len(here) ** 0.5
        assert abs(mistaken[s] - process.v[s]) > 10 * error
        assert abs(here.mean().item() - process.v[s]) < 4 * error


class NoisyReturns(gym.Env[Any, Any]):
    """Where one-step targets are right: every reward is immediate, and what follows is noise that V cannot explain."""

    observation_space = spaces.Box(0, 1, (1,))
    action_space = spaces.Discrete(64)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any):
        self.t += 1
        reward = float(action % 2) + 0.5 * self.np_random.normal()
        return np.full(1, self.t / 50, np.float32), reward, self.t == 50, False, {}


@pytest.mark.slow
def test_auto_chooses_one_step_targets_where_returns_are_noise():
    model = KSampleLookahead(
        "MlpPolicy", make_vec_env(NoisyReturns, 4, seed=0), n_steps=128, K=1.0, mutation=0.0, gae_lambda=1.0, seed=0
    )
    model.learn(512 * 10)
    assert model.evidence.choice == "one-step"


# the algorithm learns

IDENTITY = {
    "Discrete": (lambda: IdentityEnv(4), 1536),
    "MultiDiscrete": (lambda: IdentityEnvMultiDiscrete(4), 3072),
    "MultiBinary": (lambda: IdentityEnvMultiBinary(3), 3072),
}


SLOW = (pytest.param(name, marks=pytest.mark.slow) for name in ("MultiDiscrete", "MultiBinary"))


@pytest.mark.parametrize("name", ["Discrete", *SLOW])
def test_the_identity_is_learnt_from_small_rollouts(name: str):
    make, steps = IDENTITY[name]
    learner = {"n_steps": 32, "gamma": 0.4, "learning_rate": 3e-3, "target": "one-step", "seed": 0, "device": "cpu"}
    learner |= {"batch_size": 64, "advantage_epochs": 6, "value_epochs": 2, "policy_kwargs": {"net_arch": [32]}}
    model = KSampleLookahead("MlpPolicy", DummyVecEnv([make] * 4), **learner).learn(steps)
    reward, _ = evaluate_policy(model, Monitor(make()), 3)
    assert reward >= 95


class Bandit(Odd):
    """Pays 100 for action 1, in episodes of ten, and counts what is done."""

    def __init__(self, action_space: Any = None) -> None:
        super().__init__(spaces.Discrete(2) if action_space is None else action_space, spaces.Discrete(1))
        self.done: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None):
        self.t = 0
        return 0, {}

    def step(self, action: Any):
        self.t += 1
        self.done.append(np.array(action).tolist())
        return 0, 100.0 * bool(np.all(action == 1)), self.t == 10, False, {}


def test_values_and_advantages_are_the_policys_own_while_everything_done_is_exploration():
    model = small(
        Bandit(),
        exploration=1.0,
        gamma=0.0,
        target="one-step",
        advantage_epochs=8,
        value_epochs=8,
        learning_rate=1e-2,
    ).learn(32 * 20)
    done = model.get_env().get_attr("done")[0]
    assert np.mean(done) == pytest.approx(0.5, abs=0.1)
    state, both = torch.zeros(1, dtype=torch.long), torch.tensor([[[0], [1]]])
    assert model.policy.action_probabilities(state)[0, 1] > 0.95
    assert model.policy.values(state).item() == pytest.approx(100, abs=7)
    advantages = model.policy.advantages(state, both).mean(0)[0]
    assert (advantages[1] - advantages[0]).item() == pytest.approx(100, abs=5)


def settled(action_space: Any, **changes: Any) -> KSampleLookahead:
    """Always takes the first action."""
    model = small(Bandit(action_space), **changes)
    model.policy.actor.bias.data[:, 0] += 50
    return model


@pytest.mark.parametrize("exploration", [0.0, 0.6])
def test_a_share_of_what_is_done_is_exploration_and_nothing_predicted_is(exploration: float):
    model = settled(spaces.Discrete(4), exploration=exploration, n_steps=400)
    drawn, _ = model.predict(np.zeros(200, np.int64))
    assert (drawn == 0).all()
    model.learn(400)
    share = np.bincount(model.get_env().get_attr("done")[0], minlength=4) / 400
    np.testing.assert_allclose(share, [1 - 0.75 * exploration, *[0.25 * exploration] * 3], atol=0.06)


@pytest.mark.parametrize("enumerate_up_to", [256, 1])
def test_a_share_of_the_candidates_is_mutated(enumerate_up_to: int):
    """A policy that has settled, K = 1: the weights are the candidates' own law."""
    for mutation in (0.0, 0.6):
        model = settled(spaces.Discrete(4), mutation=mutation, K=1.0, n_candidates=64, enumerate_up_to=enumerate_up_to)
        states = rollout(0.0, 50, 4).flat()
        states = dataclasses.replace(states, observations=torch.zeros(200, dtype=torch.long))
        codes, weights = model._lookahead(states)
        codes = torch.arange(4).expand(200, 4) if codes is None else codes[..., 0]
        share = torch.zeros(200, 4).scatter_add(1, codes, weights).mean(0)
        np.testing.assert_allclose(share.numpy(), [1 - 0.75 * mutation, *[0.25 * mutation] * 3], atol=0.02)


@pytest.mark.parametrize(("evaluate_every", "evaluated"), [(1, [1, 1, 1, 1]), (3, [1, 0, 0, 1]), (None, [1, 0, 0, 0])])
def test_policies_are_evaluated_as_often_as_asked(evaluate_every: Any, evaluated: list[int]):
    model, found = small(Bandit(), evaluate_every=evaluate_every), []
    for _ in evaluated:
        before = weights_of(model)
        model.learn(32, reset_num_timesteps=False)
        after = weights_of(model)
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert "actor" in changed
        assert ("value" in changed) == ("advantage" in changed)
        found.append(int("advantage" in changed))
    assert found == evaluated


def test_v_begins_where_it_is_told_to_and_a_file_keeps_it(tmp_path: Path):
    model = small(gym.make("CartPole-v1"), policy_kwargs={"net_arch": [16], "initial_value": 300.0})
    shown = torch.rand(5, 4)
    values = model.policy.values(shown)
    assert ((values - 300).abs() < 3).all()
    model.save(tmp_path / "model")
    torch.testing.assert_close(KSampleLookahead.load(tmp_path / "model", device="cpu").policy.values(shown), values)


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(5000), spaces.MultiDiscrete([2, 7, 3]), spaces.MultiDiscrete([[900, 2], [5, 700]])],
    ids=str,
)
@pytest.mark.parametrize("net_arch", [[16], []])
def test_digits_of_any_sizes_are_learnt_with(space: Any, net_arch: list[int]):
    model = small(Bandit(space), policy_kwargs={"net_arch": net_arch}, n_candidates=4).learn(3 * 32)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(model).values())
    assert space.contains(model.predict(np.array(0))[0][()])


@pytest.mark.slow
def test_the_identity_in_a_box_is_learnt():
    env = DummyVecEnv([lambda: IdentityEnvBox(eps=0.5)] * 4)
    model = KSampleLookahead("MlpPolicy", env, seed=0, device="cpu", n_steps=256, gamma=0.4, target="one-step")
    model.learn(12_288)
    reward, _ = evaluate_policy(model, Monitor(IdentityEnvBox(eps=0.5)), 3)
    assert reward >= 90


@pytest.mark.slow
@pytest.mark.parametrize("target", ["auto", "lambda"])
def test_cartpole_is_solved_in_20000_steps(target: Any):
    env = make_vec_env("CartPole-v1", 8)
    model = KSampleLookahead(
        "MlpPolicy", env, exploration=0.02, mutation=0.02, advantage_epochs=16, seed=0, device="cpu", target=target
    ).learn(20_000)
    reward, _ = evaluate_policy(model, make_vec_env("CartPole-v1", 8, seed=1), 16)
    assert reward >= 475


@pytest.mark.parametrize("target", ["one-step", "lambda", "auto"])
@pytest.mark.parametrize("make", [lambda: gym.make("Pendulum-v1"), lambda: IdentityEnvMultiDiscrete(3)])
def test_every_target_learns_in_every_kind_of_action(target: Any, make: Any):
    model = small(make(), target=target, n_critics=3)
    before = weights_of(model)
    model.learn(3 * 32)
    after = weights_of(model)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    for network in ("actor", "value", "advantage"):
        assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith(network))


# what it promises with stable-baselines3


@pytest.mark.parametrize("make", [lambda: gym.make("CartPole-v1"), lambda: IdentityEnvMultiDiscrete(3)])
def test_predictions_have_the_shapes_of_the_space(make: Any):
    env = make()
    model = small(env).learn(32)
    one, _ = env.reset(seed=0)
    batch = model.get_env().reset()
    for deterministic in (True, False):
        action, state = model.predict(one, deterministic=deterministic)
        assert state is None
        assert action.shape == env.action_space.shape
        assert env.action_space.contains(action)
        assert model.predict(batch, deterministic=deterministic)[0].shape == (1, *env.action_space.shape)
    several = DummyVecEnv([make] * 3)
    wide = small(several).learn(96)
    assert wide.predict(several.reset())[0].shape == (3, *env.action_space.shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SimpleMultiObsEnv(random_start=False),
        lambda: SimpleMultiObsEnv(random_start=False, discrete_actions=False),
        lambda: gym.make("FrozenLake-v1"),
    ],
)
def test_dictionaries_and_discrete_observations_are_read(make: Any):
    env = DummyVecEnv([make] * 2)
    model = small(env, n_steps=16, policy_kwargs={}).learn(64)
    assert len(model.predict(env.reset())[0]) == 2


def test_images_are_read():
    env = FakeImageEnv(screen_height=40, screen_width=40)
    arguments = SMALL | {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 16}}, "buffer_size": 64}
    model = KSampleLookahead("CnnPolicy", env, **arguments).learn(32)
    assert env.action_space.contains(model.predict(env.reset()[0])[0][()])


def test_normalised_environments_work():
    env = VecNormalize(make_vec_env("CartPole-v1", 2))
    model = small(env).learn(128)
    assert model.get_vec_normalize_env() is env
    assert model.predict(env.reset())[0].shape == (2,)


def test_equal_seeds_give_equal_results():
    first, second, third = (small(gym.make("CartPole-v1"), seed=seed).learn(96) for seed in (3, 3, 4))
    assert equal(weights_of(first), weights_of(second))
    assert not equal(weights_of(first), weights_of(third))


@pytest.mark.parametrize("target", ["one-step", "lambda", "auto"])
def test_learning_twice_is_learning_once(target: Any):
    once = small(gym.make("CartPole-v1"), target=target).learn(192)
    twice = small(gym.make("CartPole-v1"), target=target).learn(96).learn(96, reset_num_timesteps=False)
    assert once.num_timesteps == twice.num_timesteps == 192
    assert equal(weights_of(once), weights_of(twice))


def test_rollouts_hold_about_2048_steps_over_all_environments():
    for n_envs, n_steps in ((1, 2048), (8, 256)):
        model = KSampleLookahead("MlpPolicy", make_vec_env("CartPole-v1", n_envs), device="cpu")
        assert model.n_steps == n_steps


class Recorder(BaseCallback):
    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__()
        self.stop_after, self.steps, self.rollouts = stop_after, 0, 0

    def _on_step(self) -> bool:
        self.steps += 1
        assert self.model.num_timesteps == self.locals["env"].num_envs * self.steps
        return self.steps < self.stop_after

    def _on_rollout_end(self) -> None:
        self.rollouts += 1


def test_callbacks_see_every_step_and_can_stop():
    recorder = Recorder()
    small(make_vec_env("CartPole-v1", 2)).learn(128, recorder)
    assert (recorder.steps, recorder.rollouts) == (64, 2)
    stopping = Recorder(stop_after=40)
    model = small(make_vec_env("CartPole-v1", 2)).learn(1000, stopping)
    assert (stopping.steps, stopping.rollouts, model.num_timesteps) == (40, 1, 80)


def test_stable_baselines3s_own_callbacks_work(tmp_path: Path):
    env = make_vec_env("CartPole-v1", 2)
    evaluation = EvalCallback(make_vec_env("CartPole-v1", 1), eval_freq=32, n_eval_episodes=1, verbose=0)
    small(env).learn(128, [evaluation, CheckpointCallback(32, str(tmp_path))])
    assert KSampleLookahead.load(tmp_path / "rl_model_64_steps", device="cpu").num_timesteps == 64


def test_the_log_has_stable_baselines3s_keys(tmp_path: Path):
    model = small(gym.make("CartPole-v1"))
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(96)
    model.logger.close()
    header, *rows = (tmp_path / "progress.csv").read_text().splitlines()
    keys = {
        *("rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "time/iterations", "time/total_timesteps"),
        *("train/value_loss", "train/advantage_loss", "train/actor_loss", "train/entropy", "train/target"),
        *("train/learning_rate", "train/n_updates"),
    }
    assert keys <= set(header.split(","))
    assert len(rows) == 3


def test_a_registered_agent_leaves_torch_as_it_found_it():
    hyperparameters = {key: value for key, value in SMALL.items() if key not in ("device", "seed")}
    state = torch.get_rng_state()
    agent = make_agent("KSampleLookahead-v0", gym.make("FrozenLake-v1"), seed=1, hyperparameters=hyperparameters)
    agent.learn(64)
    assert torch.equal(torch.get_rng_state(), state)
    law = agent.action_probabilities(np.arange(16))
    np.testing.assert_allclose(law.sum(1), 1, rtol=1e-12)
    assert law.min() > 0


# the end of an episode


class Counting(gym.Env[Any, Any]):
    """Observes its step; ends at 5, by termination or by a time limit."""

    observation_space = spaces.Box(0, 10, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, terminates: bool) -> None:
        self.terminates = terminates

    def reset(self, *, seed: int | None = None, options: Any = None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any):
        self.t += 1
        over = self.t == 5
        return np.full(1, self.t, np.float32), 1.0, over and self.terminates, over and not self.terminates, {}


@pytest.mark.parametrize("terminates", [True, False])
def test_transitions_lead_to_their_own_episodes_last_observation(terminates: bool):
    model = small(Counting(terminates)).learn(32)
    (kept,) = model.experience.newest()
    assert torch.equal(kept.next_observations, kept.observations + 1)
    last = kept.observations[..., 0] == 4
    assert torch.equal(kept.ends.bool(), last)
    assert torch.equal(kept.terminated.bool(), last & terminates)


@pytest.mark.parametrize(("terminates", "value"), [(True, [5, 4, 3, 2, 1]), (False, [2] * 5)])
def test_a_time_limit_is_no_end_for_the_value(terminates: bool, value: list[float]):
    """One more reward of 1 a step: worth 5, 4, ... until it ends; 1 / (1 - gamma) where a limit merely cuts it."""
    gamma = 1.0 if terminates else 0.5
    arguments = SMALL | {"n_steps": 64, "value_epochs": 40, "policy_kwargs": {"net_arch": [32]}}
    model = KSampleLookahead("MlpPolicy", Counting(terminates), gamma=gamma, learning_rate=5e-3, **arguments)
    model.learn(64 * 8)
    shown = torch.arange(5.0)[:, None]
    np.testing.assert_allclose(model.policy.values(shown).detach().numpy(), value, atol=0.35)


# masks


class Masked(gym.Env[Any, Any]):
    """Allows other values each step, by one convention or the other, and remembers what it allowed."""

    observation_space = spaces.Box(-1, 1, (3,))

    def __init__(self, action_space: Any, in_info: bool) -> None:
        self.action_space, self.in_info = action_space, in_info
        self.nvec = [int(action_space.n)] if isinstance(action_space, spaces.Discrete) else [2, 3]
        self.violations = self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return self._shown()

    def _shown(self):
        self.mask = self.np_random.random(sum(self.nvec)) < 0.4
        self.mask[np.cumsum([0, *self.nvec[:-1]]) + self.np_random.integers(self.nvec)] = True
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), {"action_mask": self.mask} if self.in_info else {}

    def step(self, action: Any):
        digits = np.atleast_1d(action) + np.cumsum([0, *self.nvec[:-1]])
        self.violations += not self.mask[digits].all()
        self.steps, self.t = self.steps + 1, self.t + 1
        observation, info = self._shown()
        return observation, float(digits[0]), False, self.t == 7, info


class MaskedByMethod(Masked):
    def action_masks(self):
        return self.mask


@pytest.mark.parametrize("space", [spaces.Discrete(5), spaces.MultiDiscrete([2, 3])], ids=str)
@pytest.mark.parametrize("by_method", [False, True])
@pytest.mark.parametrize("enumerate_up_to", [256, 1])
def test_what_is_masked_is_never_done(space: Any, by_method: bool, enumerate_up_to: int):
    kind = MaskedByMethod if by_method else Masked
    envs = [kind(space, in_info=not by_method) for _ in range(2)]
    model = small(DummyVecEnv([lambda env=env: env for env in envs]), exploration=0.3, enumerate_up_to=enumerate_up_to)
    model.learn(512)
    assert all(env.steps == 256 and env.violations == 0 for env in envs)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(model).values())


@pytest.mark.parametrize("stopped_by", ["callback", "mask"])
def test_a_rollout_cut_short_leaves_masks_and_transitions_right(stopped_by: str):
    env = Masked(spaces.Discrete(5), in_info=True)
    model = small(env).learn(64)
    if stopped_by == "callback":
        model.learn(64, callback=lambda seen, _: seen["self"].num_timesteps < 69, reset_num_timesteps=False)
    else:
        shown = env._shown
        env._shown = lambda: (shown()[0], {"action_mask": np.zeros(5, bool)})
        with pytest.raises(AgentError, match="forbids every value"):
            model.learn(64, reset_num_timesteps=False)
        env._shown = shown
    model.learn(64, reset_num_timesteps=False)
    assert env.violations == 0


def test_predictions_respect_masks():
    model = small(Masked(spaces.MultiDiscrete([2, 3]), True)).learn(64)
    observation, mask = np.zeros(3, np.float32), np.array([0, 1, 1, 0, 1], bool)
    drawn = {tuple(model.predict(observation, action_masks=mask)[0]) for _ in range(60)}
    assert drawn == {(1, 0), (1, 2)}
    batch = np.stack([mask, ~mask])
    assert model.predict(np.zeros((2, 3), np.float32), deterministic=True, action_masks=batch)[0][1].tolist() == [0, 1]


def test_what_a_mask_forbids_has_probability_zero_in_the_exact_law():
    model = small(Masked(spaces.Discrete(5), True), mutation=0.5).learn(32)
    (kept,) = model.experience.newest()
    candidates, weights = model._lookahead(kept.flat())
    assert candidates is None
    assert (weights[~kept.flat().masks] == 0).all()
    np.testing.assert_allclose(weights.sum(1).numpy(), 1, rtol=1e-5)


def test_a_mask_that_forbids_everything_is_an_error():
    env = Masked(spaces.MultiDiscrete([2, 3]), True)
    model = small(env).learn(32)
    with pytest.raises(AgentError, match="environment 0 forbids every value of digit 1"):
        model.predict(np.zeros(3, np.float32), action_masks=np.array([1, 1, 0, 0, 0]))
    with pytest.raises(AgentError, match=r"shape \(3,\); expected \(5,\)"):
        model.predict(np.zeros(3, np.float32), action_masks=np.ones(3))
    with pytest.raises(AgentError, match="a Box has no action masks"):
        small(gym.make("Pendulum-v1")).predict(np.zeros(3, np.float32), action_masks=np.ones(3))


# files


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_a_loaded_model_predicts_the_same_and_learns_on(name: str, tmp_path: Path):
    env = gym.make(name)
    model = small(env, target="auto", policy_kwargs={"net_arch": [16], "activation_fn": torch.nn.Tanh}).learn(96)
    model.save(tmp_path / "model")
    loaded = KSampleLookahead.load(tmp_path / "model", env=gym.make(name), device="cpu")
    shown = np.stack([env.observation_space.sample() for _ in range(20)])
    for deterministic in (True, False):
        torch.manual_seed(5)
        expected, _ = model.predict(shown, deterministic=deterministic)
        torch.manual_seed(5)
        assert np.array_equal(loaded.predict(shown, deterministic=deterministic)[0], expected)
    assert equal(weights_of(model), weights_of(loaded))
    assert torch.equal(model.evidence.tally, loaded.evidence.tally)
    optimizers = model.policy.advantage_optimizer, loaded.policy.advantage_optimizer
    first, second = (optimizer.state_dict()["state"] for optimizer in optimizers)
    assert all(torch.equal(first[i][key], second[i][key]) for i in first for key in first[i])
    assert loaded.learn(64, reset_num_timesteps=False).num_timesteps == 160
    alone = KSampleLookahead.load(tmp_path / "model.zip", device="cpu")
    assert alone.observation_space == env.observation_space
    assert np.array_equal(alone.predict(shown, deterministic=True)[0], model.predict(shown, deterministic=True)[0])


def test_code_that_a_file_cannot_hold_is_handed_over_again(tmp_path: Path):
    def rate(progress: float) -> float:
        return 1e-3 * progress

    model = small(gym.make("CartPole-v1"), learning_rate=rate).learn(32)
    model.save(tmp_path / "model")
    with pytest.raises(AgentError, match="custom_objects with learning_rate"):
        KSampleLookahead.load(tmp_path / "model")
    loaded = KSampleLookahead.load(tmp_path / "model", device="cpu", custom_objects={"learning_rate": rate})
    assert equal(weights_of(loaded), weights_of(model))


def test_another_environments_spaces_are_refused(tmp_path: Path):
    small(gym.make("CartPole-v1")).save(tmp_path / "model")
    with pytest.raises(AgentError, match="written for observation_space Box"):
        KSampleLookahead.load(tmp_path / "model", env=gym.make("Acrobot-v1"))
    env = gym.make("CartPole-v1")
    env = gym.wrappers.TransformAction(env, lambda action: action % 2, spaces.Discrete(3))
    with pytest.raises(AgentError, match=r"written for action_space Discrete\(2\)"):
        KSampleLookahead.load(tmp_path / "model", env=env)


class Explosive:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_hostile_file_is_refused_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("pickle.zip").write_bytes(pickle.dumps(Explosive()))
    small(gym.make("CartPole-v1")).save("good.zip")
    with zipfile.ZipFile("good.zip") as good, zipfile.ZipFile("swapped.zip", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, pickle.dumps(Explosive()) if name == "arrays/0.npy" else good.read(name))
    with zipfile.ZipFile("good.zip") as good, zipfile.ZipFile("edited.zip", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            bad.writestr(name, data.replace(b'"n_candidates": 16', b'"n_candidates": []'))
    for name in ("pickle", "swapped", "edited"):
        with pytest.raises(AgentError, match=name):
            KSampleLookahead.load(name)
    for policy in (MlpPolicy, CnnPolicy):
        with pytest.raises(AgentError, match=r"pickle.zip was not read.*use KSampleLookahead\.load"):
            policy.load("pickle.zip")
    with pytest.raises(FileNotFoundError):
        KSampleLookahead.load("absent")
    assert not Path("exploded").exists()


@pytest.mark.parametrize("change", ["shape", "nan", "negative"])
def test_optimiser_state_that_would_be_written_out_of_bounds_is_refused(change: str, tmp_path: Path):
    model = small(gym.make("CartPole-v1")).learn(64)
    model.save(tmp_path / "good.zip")
    content = read_archive(tmp_path / "good.zip")
    i, state = next(iter(content["memory"]["optimizers"]["policy.actor_optimizer"].items()))
    state["exp_avg_sq"] = {
        "shape": np.zeros(1, np.float32),
        "nan": np.full_like(state["exp_avg_sq"], np.nan),
        "negative": np.full_like(state["exp_avg_sq"], -1.0),
    }[change]
    write_archive(tmp_path / "bad.zip", content)
    with pytest.raises(AgentError, match=rf"policy\.actor_optimizer has no sound exp_avg_sq of parameter {i}"):
        KSampleLookahead.load(tmp_path / "bad.zip", device="cpu")


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "good.zip"
    small(gym.make("CartPole-v1")).learn(64).save(path)
    return path


def hyperparameter(name: str, value: Any) -> Any:
    return lambda content: content["hyperparameters"].update({name: value})


def counter(name: str, value: Any) -> Any:
    return lambda content: content["memory"]["counters"].update({name: value})


def tensor(change: Any) -> Any:
    def edit(content: Any) -> None:
        networks = content["memory"]["networks"]["policy"]
        networks["actor.bias"] = change(networks["actor.bias"])

    return edit


def action_space(**plain: Any) -> Any:
    return lambda content: content.update(action_space=plain)


def of_the_optimiser(change: Any) -> Any:
    return lambda content: change(next(iter(content["memory"]["optimizers"]["policy.actor_optimizer"].values())))


def tally(value: Any) -> Any:
    return lambda content: content["memory"]["tensors"].update({"evidence.tally": value})


HOSTILE = {
    "nan": (tensor(lambda bias: bias * np.nan), "actor.bias of the policy is not finite"),
    "float64": (tensor(lambda bias: bias + np.float64(1e300)), "actor.bias of the policy is float64"),
    "no tensor": (tensor(lambda bias: None), "actor.bias of the policy is missing"),
    "no exp_avg": (of_the_optimiser(lambda state: state.pop("exp_avg")), "no sound exp_avg of parameter"),
    "step": (of_the_optimiser(lambda state: state["step"].fill(-1.0)), "no sound step of parameter"),
    "net_arch": (hyperparameter("policy_kwargs", {"net_arch": [10**6, 10**6]}), r"expected float32 of .*1000000\)"),
    "n_critics": (hyperparameter("n_critics", 10**9), r"expected float32 of shape \(1000000000, "),
    "digits": (action_space(kind="MultiBinary", n=[10**12]), "actions have 1000000000000 digits"),
    "actions": (action_space(kind="Discrete", n=10**12, start=0, dtype="int64"), r"shape \(1, 1000000000000\)"),
    "tensorboard_log": (hyperparameter("tensorboard_log", "chosen"), "hyperparameters tensorboard_log are none that"),
    "num_timesteps": (counter("num_timesteps", -1), "num_timesteps is -1; expected a count"),
    "_n_updates": (counter("_n_updates", 0.5), "_n_updates is 0.5; expected a count"),
    "progress": (counter("_current_progress_remaining", np.nan), "_current_progress_remaining is nan"),
    "n_envs": (lambda content: content.update(n_envs=0), "n_envs is 0"),
    "tally": (tally(np.zeros(2)), r"evidence.tally of the algorithm is float64 of shape \(2,\)"),
    "nan tally": (tally(np.full(3, np.nan)), "evidence.tally of the algorithm is not finite"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_says_what_no_algorithm_wrote_is_refused(what: str, good_file: Path, tmp_path: Path):
    change, message = HOSTILE[what]
    content = read_archive(good_file)
    change(content)
    write_archive(tmp_path / "bad.zip", content)
    with pytest.raises(AgentError, match=message):
        KSampleLookahead.load(tmp_path / "bad.zip", device="cpu")


def test_a_model_loaded_without_an_environment_says_that_it_cannot_learn(good_file: Path):
    model = KSampleLookahead.load(good_file, device="cpu")
    with pytest.raises(AgentError, match=r"no environment to learn on; call set_env"):
        model.learn(32)
    model.set_env(gym.make("CartPole-v1"))
    model.learn(32)


def test_activations_are_given_by_name_or_class_and_layers_as_any_sequence(tmp_path: Path):
    by_name, by_class = (
        small(gym.make("CartPole-v1"), policy_kwargs={"net_arch": arch, "activation_fn": activation})
        for arch, activation in (((8, 8), "Tanh"), ([8, 8], torch.nn.Tanh))
    )
    assert equal(weights_of(by_name), weights_of(by_class))
    assert isinstance(by_name.policy.actor.trunk[1], torch.nn.Tanh)
    by_name.save(tmp_path / "model")
    assert equal(weights_of(KSampleLookahead.load(tmp_path / "model", device="cpu")), weights_of(by_name))


def test_a_policy_is_not_written_without_its_algorithm(tmp_path: Path):
    with pytest.raises(AgentError, match=r"use KSampleLookahead\.save"):
        small(gym.make("CartPole-v1")).policy.save(str(tmp_path / "policy.pt"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "space",
    [
        *DIGITS,
        spaces.Discrete(3, start=-1),
        spaces.Discrete(4, dtype=np.int32),
        spaces.Box(np.array([0.0, -np.inf]), np.array([1.0, np.inf]), dtype=np.float64),
        spaces.Box(0, 255, (3, 4, 4), np.uint8),
        spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,))}),
    ],
    ids=str,
)
def test_spaces_are_rebuilt_from_plain_data(space: Any):
    assert space_from_plain(space_to_plain(space)) == space


def test_a_space_that_cannot_be_written_is_refused():
    with pytest.raises(AgentError, match="Text"):
        space_to_plain(spaces.Text(3))


# errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": 0.5}, "K is 0.5; pass a real number of at least 1"),
        ({"K": float("nan")}, "K is nan"),
        ({"K": "4"}, "K is '4'; pass a real number"),
        ({"gamma": None}, "gamma is None; pass a number between 0 and 1"),
        ({"n_candidates": 0}, "n_candidates is 0; pass a whole number"),
        ({"n_candidates": 2.5}, "n_candidates is 2.5; pass a whole number"),
        ({"n_steps": 0}, "n_steps is 0; pass a whole number"),
        ({"buffer_size": 0}, "buffer_size is 0; pass a whole number"),
        ({"evaluate_every": 0}, "evaluate_every is 0; pass a whole number"),
        ({"exploration": 1.1}, "exploration is 1.1; pass a number between 0 and 1"),
        ({"mutation": -0.1}, "mutation is -0.1"),
        ({"tau": 1.5}, "tau is 1.5; pass a number between 0 and 1"),
        ({"tau": 0.0}, "tau is 0, so no critic would ever be used"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"gae_lambda": float("nan")}, "gae_lambda is nan"),
        ({"target": "best"}, "target is 'best'; choose"),
        ({"n_critics": 1}, "n_critics has to be at least 2"),
        ({"enumerate_up_to": 2.5}, "enumerate_up_to is 2.5; pass a whole number"),
        ({"policy_kwargs": {"net_arch": {"qf": [8]}}}, "they are pi, vf and af"),
        ({"policy_kwargs": {"net_arch": [8, 0]}}, r"net_arch for pi is \[8, 0\]; pass whole numbers"),
        ({"policy_kwargs": {"net_arch": {"vf": [2.5]}}}, r"net_arch for vf is \[2.5\]"),
        ({"policy_kwargs": {"net_arch": 8}}, "net_arch for pi is 8"),
        ({"policy_kwargs": {"activation_fn": "Tan"}}, "activation_fn'] is 'Tan'; pass a module of torch.nn"),
        ({"policy_kwargs": {"activation_fn": "Linear"}}, "made without arguments"),
        ({"policy_kwargs": {"n_critics": 2}}, "n_critics stands in policy_kwargs; pass it to KSampleLookahead"),
        ({"policy_kwargs": {"layers": [8]}}, "policy_kwargs has 'layers', but MlpPolicy takes activation_fn"),
        ({"policy_kwargs": {"initial_value": np.inf}}, "initial_value is inf; pass a finite number"),
        ({"policy_kwargs": {"optimizer_class": "Adam"}}, "optimizer_class is 'Adam'; pass a class"),
        ({"policy_kwargs": [64]}, r"policy_kwargs is \[64\]; pass a dictionary"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(changes: dict[str, Any], message: str):
    with pytest.raises(AgentError, match=message):
        small(gym.make("CartPole-v1"), **changes)


def test_advantages_without_hidden_layers_are_refused_in_a_box_alone():
    with pytest.raises(AgentError, match=r"net_arch\['af'\] is empty; in a Box"):
        small(gym.make("Pendulum-v1"), policy_kwargs={"net_arch": []})
    small(gym.make("Pendulum-v1"), policy_kwargs={"net_arch": {"pi": [], "vf": [], "af": [8]}}).learn(64)


def test_an_action_space_without_an_actor_is_named():
    unbounded = spaces.Box(np.array([0.0, -np.inf]), np.ones(2), dtype=np.float64)
    too_wide, empty = spaces.Box(-1e308, 1e308, dtype=np.float64), spaces.Box(-1, 1, (0,))
    for space in (spaces.Tuple([spaces.Discrete(2)]), spaces.Box(0, 5, (2,), np.int64), unbounded, too_wide, empty):
        with pytest.raises(AgentError, match=rf"actions are in {space.__class__.__name__}.*Discrete, MultiDiscrete"):
            small(Odd(space))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=1),
        spaces.MultiDiscrete([[2, 3], [2, 2]]),
        spaces.MultiDiscrete([2, 3], start=[1, 0]),
        spaces.Box(-1, 1, ()),
        spaces.Box(-1, 1, (0,)),
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Text(3),
        spaces.Dict({"a": spaces.Text(3)}),
        spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}),
    ],
    ids=str,
)
def test_observations_that_cannot_be_read_are_named(space: Any):
    with pytest.raises(AgentError, match=r"(?s)observations are in .*; KSampleLookahead reads"):
        small(Odd(spaces.Discrete(2), space))


@pytest.mark.parametrize(
    ("policy", "space", "message"),
    [
        ("MultiInputPolicy", spaces.Box(-1, 1, (2,)), "use MlpPolicy or CnnPolicy, not MultiInputPolicy"),
        ("MlpPolicy", spaces.Dict({"a": spaces.Discrete(2)}), "use MultiInputPolicy, not MlpPolicy"),
        ("CnnPolicy", spaces.Box(-1, 1, (2,)), "holds no images"),
    ],
)
def test_a_policy_for_other_observations_is_refused(policy: str, space: Any, message: str):
    with pytest.raises(AgentError, match=message):
        KSampleLookahead(policy, Odd(spaces.Discrete(2), space), **SMALL)


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([3, 2]), spaces.Box(-1, 1, (2,))], ids=str)
def test_no_action_is_drawn_from_a_law_of_nan(space: Any):
    model = small(Odd(space))
    next(parameter for name, parameter in model.policy.actor.named_parameters() if "bias" in name).data.fill_(np.nan)
    for deterministic in (True, False):
        with pytest.raises(AgentError, match="the policy's law is not finite"):
            model.predict(np.zeros(1, np.float32), deterministic=deterministic)
    with pytest.raises(AgentError, match="the policy's law is not finite"):
        model.learn(32)


class Rich(Counting):
    """Pays so much that returns overflow, after 64 steps."""

    def __init__(self) -> None:
        super().__init__(True)
        self.count, self.most = 0, 3e38

    def step(self, action: Any):
        self.count += 1
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward if self.count <= 64 else self.most, terminated, truncated, info


@pytest.mark.parametrize("target", ["one-step", "lambda", "auto"])
def test_rewards_that_overflow_are_named_and_the_last_good_networks_kept(target: Any):
    env = Rich()
    model = small(env, target=target, buffer_size=64).learn(64)
    before, optimizer = weights_of(model), model.policy.value_optimizer.state_dict()["state"][0]["exp_avg"].clone()
    kept, tally = model.experience.rows(torch.arange(64)), model.evidence.tally.clone()
    with pytest.raises(AgentError, match=r"network overflowed float32 by step 96 .*scale rewards"):
        model.learn(32, reset_num_timesteps=False)
    assert equal(weights_of(model), before)
    assert torch.equal(model.policy.value_optimizer.state_dict()["state"][0]["exp_avg"], optimizer)
    assert torch.equal(model.evidence.tally, tally)
    # The oldest rollout was overwritten; nothing of the one that failed is left.
    assert model.experience.size == 32
    assert torch.equal(model.experience.newest()[0].rewards.flatten(), kept.rewards[32:])
    env.most = 1.0
    model.learn(64, reset_num_timesteps=False)
    assert not equal(weights_of(model), before)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(model).values())


MASKS = {
    "one for two": (np.ones(5, bool), "there are 1 action masks for 2 observations"),
    "three for two": (np.ones((3, 5), bool), "there are 3 action masks for 2 observations"),
    "logits": (np.zeros((2, 5)) - 1.0, "action masks hold float64"),
    "nan": (np.full((2, 5), np.nan), "action masks hold float64"),
    "twos": (np.full((2, 5), 2), "action masks hold int64 such as"),
    "ragged": ([[1, 1], [1, 1, 1]], "action masks have different lengths"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_that_are_no_masks_are_refused(kind: str):
    model = small(Masked(spaces.MultiDiscrete([2, 3]), True))
    masks, message = MASKS[kind]
    with pytest.raises(AgentError, match=message):
        model.predict(np.zeros((2, 3), np.float32), action_masks=masks)


class MaskedByAttribute(Masked):
    action_masks = np.ones(5, bool)


class Forgetful(Masked):
    """Gives masks for three steps."""

    def _shown(self):
        observation, info = super()._shown()
        return observation, info if self.t < 3 else {}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda: Masked(spaces.Discrete(5), False), "environment 1 gives no action mask"),
        (lambda: Forgetful(spaces.Discrete(5), True), "environment 1 gives no action mask"),
        (lambda: MaskedByAttribute(spaces.Discrete(5), True), "is no method of the environment"),
    ],
)
def test_an_environment_without_its_mask_is_named(second: Any, message: str):
    first = MaskedByAttribute if "method" in message else Masked
    with pytest.raises(AgentError, match=message):
        small(DummyVecEnv([lambda: first(spaces.Discrete(5), True), second])).learn(64)


class Broken(Counting):
    """Says something that is no number at its 40th step, the last of an episode."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(True)
        self.what, self.value, self.count = what, value, 0

    def step(self, action: Any):
        self.count += 1
        observation, reward, terminated, truncated, info = super().step(action)
        if self.count == 40 and self.what == "reward":
            reward = self.value
        if self.count == 40 and self.what == "observation":
            observation = np.full(1, self.value, np.float32)
        return observation, reward, terminated, truncated, info


class Distant(Counting):
    """Counts in numbers that float32 cannot hold."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def step(self, action: Any):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation.astype(np.float64) + 1e200, reward, terminated, truncated, info


def test_what_networks_would_see_as_infinite_is_named():
    with pytest.raises(AgentError, match=r"the observation of environment 0 is not finite at step .*float32"):
        small(Distant(True)).learn(64)


@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_and_nothing_is_learnt_from_it(what: str, value: float, tmp_path: Path):
    env = DummyVecEnv([lambda: Counting(True), lambda: Broken(what, value)])
    model = small(env).learn(64)
    before = weights_of(model)
    model.save(tmp_path / "good")
    with pytest.raises(AgentError, match=rf"the {what} of environment 1 is not finite at step 40 .*{value}"):
        model.learn(64, reset_num_timesteps=False)
    assert equal(weights_of(model), before)
    assert equal(weights_of(KSampleLookahead.load(tmp_path / "good", device="cpu")), before)
    assert model.experience.n_rollouts == 1
    model.learn(64, reset_num_timesteps=False)
    assert not equal(weights_of(model), before)
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(model).values())


def test_one_bad_transition_leaves_networks_and_checkpoints_good(tmp_path: Path):
    model = small(Broken("reward", np.nan), n_steps=16)
    with pytest.raises(AgentError, match="the reward of environment 0 is not finite at step 40"):
        model.learn(1000, CheckpointCallback(8, str(tmp_path)))
    once, twice = (small(Counting(True), n_steps=16).learn(16 * n) for n in (1, 2))
    assert equal(weights_of(model), weights_of(twice))
    assert {path.name for path in tmp_path.iterdir()} == {f"rl_model_{n}_steps.zip" for n in (8, 16, 24, 32)}
    assert equal(weights_of(KSampleLookahead.load(tmp_path / "rl_model_32_steps", device="cpu")), weights_of(once))
