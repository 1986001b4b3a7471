"""Promises of large-action MDPs: a planted optimum, rewards that are no sum over digits, nothing as large as N."""

import itertools
import pickle
import tracemalloc
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from lookahead_rl.agents import make_agent
from lookahead_rl.envs.simulators import LargeActionSimulator, simulator_of
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.envs.vector import VectorModelEnv
from lookahead_rl.evaluation import ExactAudit, SimulatedAudit, audit, simulated_audit
from lookahead_rl.models import GenerativeModel, LargeActionMDP, ModelError, large_action_mdp
from lookahead_rl.solvers import backward_induction, evaluate_digits, evaluate_policy, planted_optimum, solve
from lookahead_rl.wrappers import GroundTruth, ModelFuncEnv, exact_view

ENV_ID = "LargeActionMDP-v0"
SEED = 20
SMALL = {
    "pairs": large_action_mdp(4, 3, 4, 5, SEED),
    "odd": large_action_mdp(4, 3, 3, 5, SEED, transition_digits=1),
    "one digit": large_action_mdp(5, 6, 1, 4, SEED),
    "deceptive": large_action_mdp(4, 3, 4, 5, SEED, deceptive=True),
    "deceptive, odd": large_action_mdp(4, 3, 5, 3, SEED, deceptive=True, transition_digits=3),
    "unmoved": large_action_mdp(4, 3, 2, 5, SEED, transition_digits=0, slip=0.0),
    "always slips": large_action_mdp(4, 3, 2, 5, SEED, slip=1.0),
}


def words(model: LargeActionMDP) -> np.ndarray:
    """Every action (N, d), in the order of the indices."""
    return np.array(list(itertools.product(range(model.base), repeat=model.n_digits)))


def gap_by_hand(right: tuple[bool, ...], deceptive: bool) -> float:
    blocks = [right[i : i + 2] for i in range(0, len(right), 2)]
    broken = sum(not all(block) for block in blocks) / len(blocks)
    half = sum(len(block) == 2 and sum(block) == 1 for block in blocks) / len(blocks)
    wrong, missed = right.count(False) / len(right), not all(right)
    return 0.7 * broken + 0.1 * half + 0.3 * missed if deceptive else 0.5 * broken + 0.2 * wrong + 0.3 * missed


def uniform_table(model: LargeActionMDP) -> np.ndarray:
    return np.full((model.horizon, model.n_states, model.n_actions), 1.0 / model.n_actions)


# the model


@pytest.mark.parametrize("name", SMALL)
def test_the_gap_is_what_counting_by_hand_gives(name: str):
    model = SMALL[name]
    for s in range(model.n_states):
        gaps = model.gap(np.full(model.n_actions, s), words(model))
        expected = [gap_by_hand(tuple(r), model.deceptive) for r in (words(model) == model.target[s]).tolist()]
        np.testing.assert_allclose(gaps, expected, atol=1e-15)


@settings(max_examples=300)
@given(d=st.integers(1, 9), base=st.integers(2, 7), deceptive=st.booleans(), seed=st.integers(0, 10**6))
def test_the_gap_is_zero_at_the_target_and_nowhere_else(d: int, base: int, deceptive: bool, seed: int):
    model = large_action_mdp(3, base, d, 2, seed, deceptive=deceptive)
    states, rng = np.arange(3).repeat(20), np.random.default_rng(seed)
    digits = np.where(rng.random((60, d)) < 0.7, model.target[states], rng.integers(0, base, (60, d)))
    gaps, hit = model.gap(states, digits), (digits == model.target[states]).all(axis=1)
    assert (gaps[hit] == 0.0).all()
    assert (gaps[~hit] >= 0.3).all()
    assert (gaps <= (1.1 if deceptive else 1.0) + 1e-12).all()


def test_quality_is_no_sum_over_digits():
    model = large_action_mdp(1, 10, 4, 2, SEED)
    wrong = (model.target[0] + 1) % 10

    def quality(*right: int) -> float:
        return (
            1.0 - model.gap(np.zeros(1, int), np.where(np.isin(np.arange(4), right), model.target[0], wrong)[None])[0]
        )

    assert quality(0, 1) - quality(1) > quality(0, 2) - quality(2) + 0.2
    assert quality(0, 1, 2, 3) - quality(1, 2, 3) > quality(0, 1) - quality(1) + 0.2


def test_the_deceptive_variant_pays_less_for_one_right_digit_of_a_pair_than_for_none():
    model, plain = (large_action_mdp(5, 10, 6, 3, SEED, deceptive=deceptive) for deceptive in (True, False))
    for s, j in itertools.product(range(5), range(6)):
        none = (model.target[s] + 1) % 10
        one = np.where(np.arange(6) == j, model.target[s], none)
        states, stages = np.array([s, s]), np.zeros(2, int)
        # the value of what follows is taken out: the first two digits also decide where to go
        later = (1 - model.slip) * model.value[1, model.next_states(states, np.stack([none, one]))]
        q = model.rewards(stages, states, np.stack([none, one])) + later
        q_plain = plain.rewards(stages, states, np.stack([none, one])) + later
        assert q[1] < q[0] - 0.01
        assert q_plain[1] > q_plain[0] + 0.01


@pytest.mark.parametrize("name", SMALL)
def test_backward_induction_over_all_actions_finds_the_planted_optimum(name: str):
    model = SMALL[name]
    table, planted = backward_induction(model.to_tabular()), planted_optimum(model)
    np.testing.assert_allclose(table.value, planted.value, atol=1e-12)
    np.testing.assert_array_equal(table.policy, np.tile(indices(model, model.target), (model.horizon, 1)))
    assert (planted.certificate.lower <= table.certificate.upper).all()
    assert (table.certificate.lower <= planted.certificate.upper).all()
    assert planted.certificate.gap < 1e-10
    assert solve(model).value is planted.value


def indices(model: LargeActionMDP, digits: np.ndarray) -> np.ndarray:
    return digits @ model.base ** np.arange(model.n_digits)[::-1]


@pytest.mark.parametrize("name", SMALL)
def test_uniform_play_is_worth_its_closed_form(name: str):
    model = SMALL[name]
    evaluated = evaluate_policy(model.to_tabular(), uniform_table(model))
    np.testing.assert_allclose(model.uniform_values, evaluated.value, atol=1e-12)
    assert model.uniform_value == pytest.approx(float(model.rho @ evaluated.value[0]), abs=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_a_deterministic_policy_is_worth_what_its_table_is_worth(name: str):
    model = SMALL[name]
    digits = np.random.default_rng(SEED).integers(0, model.base, (model.horizon, *model.target.shape))
    exact = evaluate_digits(model, digits)
    table = evaluate_policy(model.to_tabular(), indices(model, digits))
    np.testing.assert_allclose(exact.value, table.value, atol=1e-12)
    assert (exact.certificate.lower <= table.value).all()
    assert (table.value <= exact.certificate.upper).all()
    assert exact.certificate.gap < 1e-10


def test_indices_and_digits_name_the_same_actions():
    model = SMALL["odd"]
    np.testing.assert_array_equal(model.digits_of(np.arange(27)), words(model))


def test_one_seed_gives_one_instance_of_the_documented_distribution():
    one, same, other = (large_action_mdp(2000, 10, 3, 4, seed) for seed in (1, 1, 2))
    for name in ("target", "successors", "w", "value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))
    zeta = one.value[0] - 4.0
    for draws, low, high in ((one.w, 0.5, 1.5), (zeta, 0.0, 1.0)):
        assert low <= draws.min() < low + 0.01
        assert high - 0.01 < draws.max() <= high
        assert draws.mean() == pytest.approx((low + high) / 2, abs=0.03)
    np.testing.assert_allclose(one.value, [[(4 - h) + (4 - h) / 4 * z for z in zeta] for h in range(5)], atol=1e-12)


@pytest.mark.parametrize("digits", [9, 18, 100])
def test_nothing_is_as_large_as_the_number_of_actions(digits: int):
    gym.make(ENV_ID, digits=2).reset(seed=0)  # imports are not counted
    tracemalloc.start()
    env = gym.make(ENV_ID, digits=digits, observation="features")
    env.reset(seed=SEED)
    while not env.step(env.action_space.sample())[2]:
        pass
    assert audit(env.unwrapped.solution().policy, env).score == 1.0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert env.unwrapped.model.n_actions == 10**digits
    assert peak < 2**24


def test_a_table_of_too_many_actions_is_refused_with_its_size():
    with pytest.raises(ModelError, match=r"a table of 1,000,000 actions needs up to 28,000,000,000 bytes, more than"):
        large_action_mdp(50, 10, 6, 20, SEED).to_tabular()
    with pytest.raises(ModelError, match=r"needs up to .* bytes, more than max_bytes = 1,000"):
        SMALL["pairs"].to_tabular(max_bytes=1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": 1}, "base is 1; it must be at least 2"),
        ({"digits": 0}, "digits is 0"),
        ({"n_states": 0}, "n_states is 0"),
        ({"horizon": 2.0}, r"horizon is 2\.0; pass an integer"),
        ({"slip": 1.5}, r"slip is 1\.5; it must lie in \[0, 1\]"),
        ({"deceptive": 1}, "deceptive is 1; pass True or False"),
        ({"mdp_seed": -1}, "mdp_seed is -1"),
        ({"transition_digits": 7}, "transition_digits is 7, but an action has 6 digits; pass at most 6"),
        ({"base": 10**6}, r"a model needs up to .* bytes, .*; lower base, transition_digits or n_states"),
        ({"actions": "words"}, 'actions is \'words\'; pass "digits" or "index"'),
        ({"actions": "index"}, r"there are 1,000,000 of them; indices go up to 100,000: use \"digits\""),
        ({"observation": "pixels"}, "observation is 'pixels'"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str):
    with pytest.raises(ModelError, match=message):
        gym.make(ENV_ID, **change)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", [[0, 3]], r"target\[0, 1\] is 3; digits run from 0 to 2"),
        ("target", [[0.0, 1.0]], "target has dtype float64"),
        ("target", [0, 1], r"target has shape \(2,\)"),
        ("successors", [[1] * 9], r"successors\[0, 0\] is 1; states run from 0 to 0"),
        ("successors", [[0] * 8], r"successors has shape \(1, 8\)"),
        ("w", [0.0], r"w\[0\] is 0\.0; prices must be positive"),
        ("value", [[1.0], [0.5]], r"value\[1, 0\] is 0\.5; after the last stage every value is 0"),
        ("value", [[0.0]], r"value has shape \(1, 1\)"),
        ("value", [[np.nan], [0.0]], r"value\[0, 0\] is nan"),
        ("rho", [0.5], "rho sums to 0.5"),
    ],
)
def test_inconsistent_models_are_refused(field: str, value: Any, message: str):
    data: dict[str, Any] = {
        "target": [[0, 1]],
        "base": 3,
        "successors": [[0] * 9],
        "slip": 0.2,
        "w": [1.0],
        "value": [[1.0], [0.0]],
        "rho": [1.0],
    }
    LargeActionMDP(**data)
    with pytest.raises(ModelError, match=message):
        LargeActionMDP(**(data | {field: value}))


# the simulator


@pytest.mark.parametrize("name", ["pairs", "odd", "one digit", "always slips", "unmoved"])
def test_transitions_follow_the_written_out_law(name: str):
    model = SMALL[name]
    simulator, rng, table = simulator_of(model), np.random.default_rng(SEED), model.to_tabular()
    assert isinstance(simulator, GenerativeModel)
    for s, a in rng.integers((model.n_states, model.n_actions), size=(6, 2)).tolist():
        h = int(rng.integers(model.horizon))
        moved = simulator.sample(np.full(4000, h * model.n_states + s), np.full(4000, a), rng)
        stage, reached = np.divmod(moved.next_states, model.n_states)
        p = table.P[s, a]
        counts = np.bincount(reached, minlength=model.n_states)
        assert counts[p == 0].sum() == 0
        assert (p > 0).sum() == 1 or chisquare(counts[p > 0], 4000 * p[p > 0] / p.sum()).pvalue > 1e-4
        np.testing.assert_allclose(moved.probabilities, p[reached], atol=1e-15)
        np.testing.assert_allclose(moved.rewards, table.r[h, s, a], atol=1e-12)
        assert (stage == h + 1).all()
        assert (moved.terminated == (h == model.horizon - 1)).all()
    starts = np.bincount(simulator.initial_states(4000, np.random.default_rng(SEED)), minlength=model.n_states)
    assert chisquare(starts).pvalue > 1e-4


def test_digits_and_indices_are_sampled_alike():
    model = SMALL["pairs"]
    states, digits = np.array([0, 5, 19]), np.array([[0, 1, 2, 0], [2, 2, 2, 2], [1, 0, 0, 1]])
    one, other = (
        LargeActionSimulator(model).sample(states, actions, np.random.default_rng(1))
        for actions in (digits, indices(model, digits))
    )
    np.testing.assert_array_equal(one.next_states, other.next_states)
    np.testing.assert_array_equal(one.rewards, other.rewards)


def test_an_episode_that_is_over_stays_over():
    model = SMALL["pairs"]
    moved = simulator_of(model).sample(np.array([20, 23]), np.array([3, 80]), np.random.default_rng(1))
    assert moved.next_states.tolist() == [20, 23]
    assert (moved.rewards == 0).all()
    assert moved.terminated.all()
    assert (moved.probabilities == 1).all()


@pytest.mark.parametrize(
    ("states", "actions", "message"),
    [
        ([24], [[0, 0, 0, 0]], r"states\[0\] is 24; states run from 0 to 23"),
        ([0, 1], [[0, 0, 0, 0], [0, 3, 0, 0]], r"actions\[1, 1\] is 3; digits run from 0 to 2"),
        ([0], [[0, -1, 0, 0]], r"actions\[0, 1\] is -1"),
        ([0], [[0, 0, 0]], r"actions has shape \(1, 3\); pass 4 digits for each action"),
        ([0], [[0.0, 0, 0, 0]], "actions has dtype float64; pass integers"),
        ([0], [81], r"actions\[0\] is 81; actions run from 0 to 80"),
        ([0, 1], [0], "2 states but 1 actions"),
    ],
)
def test_illegal_states_and_actions_are_named(states: list, actions: list, message: str):
    with pytest.raises(ModelError, match=message):
        simulator_of(SMALL["pairs"]).sample(states, actions, np.random.default_rng(1))


def test_indices_beyond_int64_are_refused():
    with pytest.raises(ModelError, match=r"10\^19 actions have indices beyond int64; pass their digits"):
        simulator_of(large_action_mdp(2, 10, 19, 2, SEED)).sample([0], [5], np.random.default_rng(1))


# the environments


def scripted(actions: str) -> LargeActionMDP:
    """Six states in a ring, no slip, one start: the first digit says how far to go."""
    ring = (np.arange(6)[:, None] + np.arange(3)) % 6
    target, value = np.arange(12).reshape(6, 2) % 3, np.vander(np.arange(1.0, 7.0), 4)[:, :3].T
    return LargeActionMDP(
        target, 3, ring, 0.0, np.ones(6), np.vstack([value, np.zeros(6)]), np.eye(6)[0], False, actions
    )


def assert_same(one: Any, other: Any) -> None:
    """Equal in structure, types and values."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, np.ndarray) and one.dtype == object:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("observation", ["state", "features"])
@pytest.mark.parametrize("actions", ["digits", "index"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_lanes_step_as_gymnasiums_sync_vector_env_does(mode: AutoresetMode, actions: str, observation: str):
    model = scripted(actions)
    sync = SyncVectorEnv([lambda: ModelEnv(model, observation)] * 4, autoreset_mode=mode)
    ours = VectorModelEnv(model, 4, None, mode, observation)
    assert sync.action_space == ours.action_space
    ours.action_space.seed(SEED)
    for part, other in zip(sync.reset(seed=1), ours.reset(seed=1), strict=True):
        assert_same(part, other)
    for _ in range(15):
        chosen = ours.action_space.sample()
        for part, other in zip(sync.step(chosen), ours.step(chosen), strict=True):
            assert_same(part, other)


@pytest.mark.parametrize("kwargs", [{}, {"deceptive": True, "digits": 5}, {"digits": 2, "actions": "index"}])
@pytest.mark.parametrize("observation", ["state", "features"])
def test_both_checkers_pass(kwargs: dict[str, Any], observation: str):
    from gymnasium.utils.env_checker import check_env
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    env = gym.make(ENV_ID, observation=observation, render_mode="ansi", **kwargs)
    check_env(env.unwrapped)
    sb3_check_env(env, skip_render_check=False)


def test_features_are_the_state_and_the_share_of_stages_gone_by():
    env = gym.make(ENV_ID, observation="features", n_states=4, horizon=5)
    shown, _ = env.reset(options={"state": 4 * 3 + 2})
    np.testing.assert_array_equal(shown, np.array([0, 0, 1, 0, 3 / 5], np.float32))
    assert (env.unwrapped.state, shown.dtype) == (14, np.float32)


def test_the_optimal_policy_earns_the_optimum_and_uniform_play_its_closed_form():
    env = gym.make_vec(ENV_ID, num_envs=20_000, digits=3)
    model, rng = env.unwrapped.model, np.random.default_rng(SEED)
    for value, play in (
        (model.optimal_value, lambda shown: model.target[shown % 50]),
        (model.uniform_value, lambda shown: rng.integers(0, 10, (shown.size, 3))),
    ):
        shown, _ = env.reset(seed=SEED)
        returns = np.zeros(20_000)
        for _ in range(20):
            shown, rewards, terminated, _, _ = env.step(play(shown))
            returns += rewards
        assert terminated.all()
        assert abs(returns.mean() - value) < 4 * returns.std() / np.sqrt(20_000)


def test_specs_survive_json_and_only_the_default_has_a_threshold():
    env = gym.make(ENV_ID, digits=3, deceptive=True, actions="index", mdp_seed=4)
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    one, other = env.unwrapped.model, again.unwrapped.model
    assert all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))
    assert env.action_space == again.action_space == gym.spaces.Discrete(1000)
    assert env.spec.reward_threshold is None
    default = gym.make(ENV_ID, observation="features")
    assert default.spec.reward_threshold == pytest.approx(default.unwrapped.model.optimal_value, abs=1e-12)


@pytest.mark.parametrize("vector", [False, True])
def test_pickled_environments_go_on_alike(vector: bool):
    env = gym.make_vec(ENV_ID, num_envs=3) if vector else gym.make(ENV_ID)
    env.reset(seed=SEED)
    copied = pickle.loads(pickle.dumps(env))
    action = env.action_space.sample()
    for one, other in zip(env.step(action), copied.step(action), strict=True):
        np.testing.assert_equal(one, other)
    with pytest.raises(ValueError, match="read-only"):
        copied.unwrapped.model.target[0] = 1


@pytest.mark.parametrize("action", [5, [1, 2], [0.5] * 6, [10] * 6, None, "012345"])
def test_actions_that_are_no_digits_are_refused(action: Any):
    env = gym.make(ENV_ID, disable_env_checker=True)
    env.reset(seed=SEED)
    with pytest.raises(ModelError, match="actions"):
        env.step(action)


def test_lanes_refuse_actions_of_the_wrong_number_and_change_nothing():
    env = gym.make_vec(ENV_ID, num_envs=3)
    env.reset(options={"state": 7})
    for actions in (np.zeros((2, 6), int), np.zeros(3, int), np.full((3, 6), 10)):
        with pytest.raises(ModelError, match="actions"):
            env.step(actions)
    assert env.unwrapped.states.tolist() == [7, 7, 7]


def test_the_digits_of_lanes_about_to_be_reset_are_ignored():
    env = gym.make_vec(ENV_ID, num_envs=3, horizon=1)
    env.reset(seed=SEED)
    assert env.step(np.zeros((3, 6), int))[2].all()
    shown, rewards, _, _, _ = env.step(np.full((3, 6), -99))
    assert (shown < 50).all()
    assert (rewards == 0).all()


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_episodes_are_drawn_from_beginning_to_end(mode: str):
    env = gym.make(ENV_ID, deceptive=True, digits=12, horizon=3, render_mode=mode)
    env.reset(seed=SEED)
    frames = [env.render()]
    for _ in range(3):
        env.step(np.arange(12) % 10)
        frames.append(env.render())
    if mode == "ansi":
        assert "action 0 1 2 3 4 5 6 7 8 9 0 1" in frames[1]
        assert "12 right" in frames[0]
    else:
        assert {frame.shape for frame in frames} == {(420, 680, 3)}


def test_the_truth_in_info_is_the_price_of_the_gap():
    env = GroundTruth(gym.make(ENV_ID))
    env.reset(seed=SEED)
    model, code = env.unwrapped.model, env.unwrapped.state
    action = np.zeros(6, int)
    info = env.step(action)[-1]
    assert info["regret"] == pytest.approx(model.w[code] * model.gap(np.array([code]), action[None])[0])


def test_functional_views_take_digits_and_tables_take_few_indices():
    func = ModelFuncEnv(SMALL["pairs"])
    assert func.action_space == gym.spaces.MultiDiscrete([3] * 4)
    assert func.terminal(func.transition(16, np.zeros(4, int), np.random.default_rng(0)), np.random.default_rng(0))
    view = exact_view(gym.make(ENV_ID, digits=2, n_states=5, actions="index"))
    assert view.solution().value.shape == (21, 5)
    with pytest.raises(ModelError, match="the actions of this large-action MDP are digits"):
        exact_view(gym.make(ENV_ID))


def test_a_tabular_planner_finds_the_target_among_indices():
    env = gym.make(ENV_ID, digits=2, n_states=6, horizon=4, actions="index")
    result = audit(make_agent("BackwardInduction-v0", env).learn(0), env)
    assert (result.score, type(result)) == (1.0, ExactAudit)


# the audit


class Fixed:
    """Plays the target, but for its last ``n_wrong`` digits; told apart from the target by a batch of observations."""

    def __init__(self, model: LargeActionMDP, n_wrong: int) -> None:
        self.digits = np.where(
            np.arange(model.n_digits) < model.n_digits - n_wrong, model.target, (model.target + 1) % model.base
        )

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
        return self.digits[observation[:, :-1].argmax(axis=1)], None


@pytest.mark.parametrize("digits", [6, 18])
def test_a_deterministic_policy_is_audited_exactly_whatever_the_number_of_actions(digits: int):
    env = gym.make(ENV_ID, digits=digits, observation="features", slip=0.0, n_states=8)
    model = env.unwrapped.model
    result = audit(Fixed(model, 2), env)
    assert isinstance(result, ExactAudit)
    # all gaps are equal, so the loss is that gap times the prices met on the way
    gap, s, lost = model.gap(np.zeros(1, int), Fixed(model, 2).digits[:1])[0], np.arange(8), np.zeros(8)
    for _ in range(20):
        lost += gap * model.w[s]
        s = model.next_states(s, Fixed(model, 2).digits[s])
    assert result.regret == pytest.approx(lost.mean(), abs=1e-10)
    assert result.value_bounds[0] <= result.optimal_value - lost.mean() <= result.value_bounds[1]
    assert audit(Fixed(model, 0), env).score == 1.0


def test_laws_over_indices_are_audited_exactly():
    env = gym.make(ENV_ID, digits=2, base=4, n_states=5, horizon=6, actions="index")
    model = env.unwrapped.model
    law = np.random.default_rng(SEED).dirichlet(np.ones(16), size=(6, 5))
    table = evaluate_policy(model.to_tabular(), law)
    result = audit(law, env)
    np.testing.assert_allclose(result.values, table.value, atol=1e-12)
    mode = audit(law, env, deterministic=True)
    np.testing.assert_allclose(mode.values, evaluate_policy(model.to_tabular(), law.argmax(2)).value, atol=1e-12)
    assert audit(make_agent("Random-v0", env), env).score == pytest.approx(0.0, abs=1e-12)


def test_a_sampling_policy_over_digits_is_simulated_and_says_so():
    env = gym.make(ENV_ID, observation="features")
    result = audit(make_agent("Random-v0", env, seed=SEED), env)
    assert isinstance(result, SimulatedAudit)
    assert result.n_episodes == 4096
    assert "empirical Bernstein" in result.method
    low, high = result.value_bounds
    assert low < env.unwrapped.model.uniform_value < high
    assert high - low < 0.4
    assert result.score_bounds[0] < 0.0 < result.score_bounds[1]


def test_simulation_and_recursion_agree_and_the_interval_covers():
    env = gym.make(ENV_ID, observation="features", n_states=6, horizon=5)
    policy = Fixed(env.unwrapped.model, 3)
    exact = audit(policy, env).value
    estimates = [simulated_audit(policy, env, n_episodes=200, confidence=0.8, seed=seed) for seed in range(100)]
    errors = np.array([estimate.value - exact for estimate in estimates])
    assert abs(errors.mean()) < 4 * errors.std() / 10
    assert sum(e.value_bounds[0] <= exact <= e.value_bounds[1] for e in estimates) >= 80
    assert estimates[0] != estimates[1]
    assert estimates[0].value == simulated_audit(policy, env, n_episodes=200, seed=0).value


def test_the_interval_is_that_of_maurer_and_pontil():
    """Theorem 4 at delta / 2 on either side, for losses in [0, R]."""
    env = gym.make(ENV_ID, observation="features", n_states=6, horizon=5)
    model, n, delta = env.unwrapped.model, 1000, 0.1
    result = simulated_audit(Fixed(model, 3), env, n_episodes=n, confidence=1 - delta)
    R, log = 1.1 * 5 * model.w.max(), np.log(2 / (delta / 2))
    reach = np.sqrt(2 * result.deviation**2 * log / n) + 7 * R * log / (3 * (n - 1))
    np.testing.assert_allclose(result.value_bounds, (result.value - reach, result.value + reach), rtol=1e-12)


def test_more_confidence_and_fewer_episodes_widen_the_interval():
    env = gym.make(ENV_ID, observation="features", n_states=6, horizon=5)
    policy = Fixed(env.unwrapped.model, 3)
    widths = [
        np.ptp(simulated_audit(policy, env, n_episodes=n, confidence=confidence).value_bounds)
        for n, confidence in ((4000, 0.9), (4000, 0.999), (400, 0.999))
    ]
    assert widths == sorted(widths)


def test_models_of_stable_baselines_are_audited_by_their_actions():
    from stable_baselines3 import PPO

    env = gym.make(ENV_ID, observation="features", digits=3, n_states=5, horizon=4)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, seed=0, device="cpu")
    assert isinstance(audit(model, env), SimulatedAudit)
    exact = audit(model, env, deterministic=True)
    assert isinstance(exact, ExactAudit)
    digits, _ = model.predict(env.unwrapped.observe(np.arange(20)), deterministic=True)
    by_hand = evaluate_digits(env.unwrapped.model, digits.reshape(4, 5, 3))
    assert exact.value == pytest.approx(float(by_hand.value[0].mean()), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_episodes": 1}, "n_episodes is 1; it must be at least 2"),
        ({"confidence": 1.0}, r"confidence is 1\.0; it must lie between 0 and 1"),
        ({"seed": -1}, "seed is -1"),
        ({"deterministic": None}, "deterministic is None"),
    ],
)
def test_bad_arguments_of_the_simulation_are_named(arguments: dict[str, Any], message: str):
    env = gym.make(ENV_ID, observation="features")
    with pytest.raises(ModelError, match=message):
        simulated_audit(Fixed(env.unwrapped.model, 0), env, **arguments)


def test_what_cannot_be_audited_is_refused():
    env = gym.make(ENV_ID)
    model = env.unwrapped.model
    for policy, message in (
        (model.target[:, :5], r"policy has dtype int64 and shape \(50, 5\); expected integer digits \(S, d\)"),
        (np.where(model.target == 0, 10, model.target), r"policy\[.*\] is 10; digits run from 0 to 9"),
        (model.target / 2, "policy has dtype float64"),
        ("PPO", "policy str has no predict"),
        (Fixed, "policy is the class Fixed itself"),
        (make_agent("Random-v0", gym.make(ENV_ID, observation="features")), "policy observes Box"),
    ):
        with pytest.raises(ModelError, match=message):
            audit(policy, env)
    for arguments in ({"gamma": 0.9}, {"horizon": 5}):
        with pytest.raises(ModelError, match="leave them out"):
            audit(model.target, env, **arguments)
    with pytest.raises(ModelError, match=r"has no LargeActionMDP; audit\(policy, env\)"):
        simulated_audit(Fixed(model, 0), gym.make("RandomMDP-v0"))


def test_models_of_any_number_of_digits_are_told():
    """Python writes no number of more than 4,300 digits."""
    model = large_action_mdp(2, 10, 5000, 3, 0)
    assert "5000" in repr(model)
    with pytest.raises(ModelError, match=r"a table of 10\^5000 actions needs up to 10\^100 or more bytes"):
        model.to_tabular()
    with pytest.raises(ModelError, match=r"there are 10\^5000 of them"):
        large_action_mdp(2, 10, 5000, 3, 0, actions="index")
    with pytest.raises(ModelError, match=r"10\^100 or more bytes.*lower base"):
        large_action_mdp(2, 10, 5000, 3, 0, transition_digits=5000)


@pytest.mark.parametrize("indices", [np.array([1.5]), np.array([[1]]), np.array(["1"])])
def test_indices_that_are_no_whole_numbers_are_refused(indices: np.ndarray):
    with pytest.raises(ModelError, match=r"actions has dtype .* and shape .*; pass integers \(n,\)"):
        large_action_mdp(2, 10, 3, 3, 0).digits_of(indices)
