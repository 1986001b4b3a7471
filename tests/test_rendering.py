"""Promises of the pictures and the text panels."""

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lookahead_rl.envs.optimum import optimal_action_values, optimal_values
from lookahead_rl.envs.pictures import BEST, HEIGHT, HERE, PAPER, WIDTH, draw_picture, write
from lookahead_rl.envs.pixel_font import GLYPHS, text_mask
from lookahead_rl.envs.registration import GYMNASIUM
from lookahead_rl.envs.rendering import LISTED_ACTIONS, Renderer, Scene
from lookahead_rl.envs.tabular import ModelEnv
from lookahead_rl.envs.vector import VectorModelEnv
from lookahead_rl.models import FiniteHorizonMDP, TabularMDP, deep_sea, garnet_mdp, random_linear_mdp, two_state_mdp
from lookahead_rl.solvers import q_values

IDS = [registration.id for registration in GYMNASIUM]
SEED = 20


def one_state() -> TabularMDP:
    return TabularMDP(np.ones((1, 1, 1)), np.ones((1, 1)), 0.5, np.ones(1))


def many_states() -> TabularMDP:
    return garnet_mdp(30_000, 2, 1, SEED, gamma=0.5)


MODELS = {
    "one state": one_state,
    "two states": two_state_mdp,
    "more states than cells": many_states,
    "many actions": lambda: garnet_mdp(5, 2000, 2, SEED, gamma=0.5),
    "10^9 states": lambda: random_linear_mdp(10**9, 4, 5, 6, SEED),
    "a long horizon": lambda: FiniteHorizonMDP(np.ones((1, 1, 1)), np.ones((1, 1)), 1000, np.ones(1)),
    "a wide sea": lambda: deep_sea(150, SEED),
}


def count(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == np.array(colour)).all(axis=2).sum())


@pytest.mark.parametrize("name", MODELS)
def test_every_size_of_model_is_drawn(name: str):
    env = ModelEnv(MODELS[name](), render_mode="rgb_array")
    env.reset(seed=SEED)
    for image in (env.render(), env.step(0) and env.render()):
        assert isinstance(image, np.ndarray)
        assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert count(image, HERE) > 20
        assert count(image, BEST) >= 14 * 8


@pytest.mark.parametrize("name", MODELS)
def test_text_panels_stay_short(name: str):
    env = ModelEnv(MODELS[name](), render_mode="ansi")
    env.reset(seed=SEED)
    env.step(0)
    text = str(env.render())
    assert len(text.splitlines()) <= 10 + LISTED_ACTIONS
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("env_id", IDS)
def test_every_environment_draws_itself(env_id: str):
    for mode, kind in (("ansi", str), ("rgb_array", np.ndarray)):
        env = gym.make(env_id, render_mode=mode)
        env.reset(seed=SEED)
        first = env.render()
        env.step(np.zeros(env.action_space.shape, int))
        assert isinstance(first, kind)
        assert not np.array_equal(first, env.render())


def test_the_panel_tells_state_value_return_and_regret():
    """The numbers are those of Puterman 1994, section 6.2: v* = (-60/7, -20), and action 1 costs 10 - 19 + 60/7."""
    env = ModelEnv(two_state_mdp(), render_mode="ansi")
    env.reset(options={"state": 0})
    assert "the episode begins" in env.render()
    assert re.search(r"v\*\(s\) +-8\.5714", env.render())
    env.step(1)
    text = env.render()
    assert "state 1 of 2  step 1" in text
    assert re.search(r"v\*\(s\) +-20\n", text)
    assert re.search(r"return +10\n", text)
    assert re.search(r"regret +0\.42857\n", text)
    env.step(0)
    assert re.search(r"return +9\n", env.render())
    env.reset()
    assert re.search(r"return +0\n", env.render())


def test_optimal_actions_have_no_regret():
    env = ModelEnv(deep_sea(5, SEED), render_mode="ansi")
    env.reset(seed=SEED)
    for h in range(5):
        env.step(int(env.solution().policy[h, env.state % 5]))
        assert re.search(r"regret +0\n", env.render())


def test_the_best_actions_are_listed_and_marked():
    env = ModelEnv(garnet_mdp(4, 40, 2, SEED), render_mode="ansi")
    env.reset(seed=SEED)
    q = q_values(env.model, env.solution().value)[env.state]
    listed = {int(a): text for a, text in re.findall(r"q\*\(s, *(\d+)\)(.*)", env.render())}
    assert set(listed) == set(np.argsort(q)[-LISTED_ACTIONS:].tolist())
    assert [a for a, text in listed.items() if "best" in text] == [q.argmax()]


@pytest.mark.parametrize(
    "model",
    [
        garnet_mdp(6, 3, 2, SEED, sparse=True),
        deep_sea(4, SEED),
        FiniteHorizonMDP(np.full((2, 3, 2), 0.5), np.arange(6.0).reshape(2, 3), 3, np.array([1.0, 0.0])),
        random_linear_mdp(7, 3, 3, 4, SEED),
    ],
    ids=["discounted", "staged", "stationary", "linear"],
)
def test_values_of_single_states_agree_with_the_table(model: Any):
    env = ModelEnv(model)
    table = model
    while not isinstance(table, TabularMDP):
        table = table.to_tabular()
    codes = np.arange(table.n_states)
    values = optimal_values(model, env.solution(), codes)
    expected = q_values(table, values)
    actual = [optimal_action_values(model, env.solution(), int(code)) for code in codes]
    np.testing.assert_allclose(actual, expected, atol=1e-9)
    np.testing.assert_allclose(values, expected.max(axis=1), atol=1e-7)


def test_a_map_marks_the_current_cell():
    """DeepSea is drawn a row for each stage; the mark moves down with the diver."""
    env = ModelEnv(deep_sea(8, SEED), render_mode="rgb_array")
    rows = []
    for h in (0, 3, 7):
        env.reset(options={"state": 8 * h + h})
        marked = np.argwhere((np.asarray(env.render()) == np.array(HERE)).all(axis=2))
        rows.append(marked.mean(axis=0))
    steps = np.diff(np.array(rows), axis=0)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps[:, 0], steps[:, 1], atol=1)


def test_lanes_are_drawn_one_by_one():
    env = VectorModelEnv(garnet_mdp(9, 2, 2, SEED), 3, max_episode_steps=2, render_mode="rgb_array")
    env.reset(options={"state": [1, 5, 1]})
    frames = env.render()
    assert isinstance(frames, tuple)
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[0], frames[2])
    assert not np.array_equal(frames[0], frames[1])
    scalar = ModelEnv(env.model, render_mode="rgb_array")
    scalar.reset(options={"state": 1})
    np.testing.assert_array_equal(frames[0], scalar.render())


def test_lanes_forget_the_episode_before():
    env = VectorModelEnv(garnet_mdp(9, 2, 2, SEED), 2, max_episode_steps=2, render_mode="ansi")
    env.reset(seed=SEED)
    for steps in (1, 2, 0, 1):
        env.step([0, 1])
        assert all(f"step {steps}" in str(frame) for frame in env.render() or ())


def test_rendering_without_a_mode_is_explained():
    env = ModelEnv(one_state())
    env.reset(seed=SEED)
    with pytest.warns(UserWarning, match="make the environment with render_mode"):
        assert env.render() is None


def test_images_change_nothing_about_the_episode():
    plain, drawn = (ModelEnv(garnet_mdp(9, 2, 2, SEED), render_mode=mode) for mode in (None, "rgb_array"))
    for env in (plain, drawn):
        env.reset(seed=SEED)
    for _ in range(10):
        drawn.render()
        assert plain.step(1) == drawn.step(1)


def test_text_is_legible_and_stays_inside():
    assert len({mask.tobytes() for mask in GLYPHS.values()}) == len(GLYPHS)
    assert text_mask("v* 12").shape == (7, 30)
    assert text_mask("Ab").tolist() != text_mask("ab").tolist()
    assert not text_mask("é").any()
    image = np.full((30, 50, 3), PAPER, dtype=np.uint8)
    write(image, 5, 20, "long text", HERE)
    assert count(image, HERE) > 0


def test_equal_values_have_one_colour():
    image = draw_picture(Renderer(one_state(), ModelEnv(one_state()).solution())._picture(Scene(0, 0, 0.0, None)))
    assert count(image, (253, 231, 37)) > 40_000
