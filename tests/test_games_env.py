"""The games in PettingZoo: every checker passes, and what is played is the model."""

import hashlib
import pickle
import re
import subprocess
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, render_test, seed_test, state_test
from scipy.stats import chisquare

import lookahead_rl
from lookahead_rl.envs.game_pictures import MATRIX_HEIGHT, MATRIX_LEFT, MATRIX_TOP, MATRIX_WIDTH, numbers
from lookahead_rl.envs.game_registration import GAMES, register_games
from lookahead_rl.envs.games import PLAYERS, MarkovGameEnv
from lookahead_rl.envs.games_vector import VectorGameEnv
from lookahead_rl.envs.pictures import FIRST, INK, PAPER, QUIET, SECOND
from lookahead_rl.envs.pixel_font import text_mask
from lookahead_rl.models import (
    GenerativeModel,
    GoofspielRules,
    GoofspielState,
    MarkovGame,
    ModelError,
    OshiZumoRules,
    OshiZumoState,
    SoccerRules,
    SoccerState,
    matrix_game,
    river_swim,
    tabulate,
)
from lookahead_rl.models.generators import garnet_game, random_linear_game
from lookahead_rl.models.soccer import OPENSPIEL_GRID

IDS = sorted(GAMES)
RAGGED = {"lookahead_rl/Goofspiel-v0", "lookahead_rl/OshiZumo-v0"}
UNMASKED = [env_id for env_id in IDS if env_id not in RAGGED]
"""Four of PettingZoo's checkers choose among all actions whatever ``infos`` say, so ragged games are not for them."""
BILLION = 10**9


def module_of(env_id: str) -> ModuleType:
    return import_module(f"lookahead_rl.envs.{GAMES[env_id]}")


def parallel(env_id: str, **kwargs: Any) -> MarkovGameEnv:
    return pettingzoo.make("parallel", env_id, **kwargs)


def legal(env: Any, infos: dict[str, Any], rng: np.random.Generator) -> dict[str, int]:
    """An action of each player, drawn from those it has."""
    masks = {player: infos[player].get("action_mask", np.ones(env.action_space(player).n)) for player in PLAYERS}
    return {player: int(rng.choice(np.flatnonzero(mask))) for player, mask in masks.items()}


def ragged_game() -> MarkovGame:
    """Two states; in state 0 player_0 has one of two actions, in state 1 player_1 two of three. State 1 is terminal."""
    P = np.zeros((2, 2, 3, 2))
    P[0, 0, :, 0] = P[0, 0, :, 1] = 0.5
    P[1, :, :2, 1] = 1.0
    r = np.zeros((2, 2, 3))
    r[0, 0] = [1.0, 2.0, 3.0]
    return MarkovGame(P, r, 0.9, np.array([1.0, 0.0]), np.array([1, 2]), np.array([3, 2]), np.array([False, True]))


def rollout_digest(env_id: str, seed: int = 7, steps: int = 40) -> str:
    """A hash of everything that one seeded rollout shows."""
    env = parallel(env_id, max_cycles=15)
    digest = hashlib.sha256()
    shown, infos = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        if not env.agents:
            shown, infos = env.reset()
        shown, rewards, ended, cut, infos = env.step(legal(env, infos, rng))
        for player in PLAYERS:
            digest.update(np.asarray(shown[player]).tobytes())
        digest.update(repr((rewards, ended, cut, infos, env.state().tolist())).encode())
    return digest.hexdigest()


# The checkers, with every warning an error


@pytest.mark.parametrize("env_id", UNMASKED)
def test_parallel_api(env_id: str) -> None:
    parallel_api_test(parallel(env_id), num_cycles=50)


@pytest.mark.parametrize("env_id", IDS)
def test_api(env_id: str) -> None:
    api_test(pettingzoo.make("aec", env_id), num_cycles=50)
    api_test(module_of(env_id).env(), num_cycles=50)
    api_test(module_of(env_id).raw_env(), num_cycles=50)


@pytest.mark.parametrize("env_id", IDS)
def test_equal_seeds_give_equal_games(env_id: str) -> None:
    seed_test(lambda: pettingzoo.make("aec", env_id), num_cycles=50)
    assert rollout_digest(env_id) == rollout_digest(env_id)
    assert rollout_digest(env_id) != rollout_digest(env_id, seed=8)


@pytest.mark.parametrize("env_id", UNMASKED)
def test_state(env_id: str) -> None:
    state_test(pettingzoo.make("aec", env_id), parallel(env_id))


@pytest.mark.parametrize("env_id", UNMASKED)
def test_max_cycles(env_id: str) -> None:
    for _ in range(5):  # the check does not seed its actions
        max_cycles_test(module_of(env_id))


@pytest.mark.parametrize("env_id", UNMASKED)
def test_render(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    render_test(lambda **kwargs: pettingzoo.make("aec", env_id, **kwargs))
    assert "v*(s)" in capsys.readouterr().out


def test_equal_seeds_give_equal_games_across_processes() -> None:
    code = (
        "import runpy, sys; names = runpy.run_path(sys.argv[1]); "
        "print(*(names['rollout_digest'](env_id) for env_id in names['IDS']))"
    )
    run = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [rollout_digest(env_id) for env_id in IDS]


# The registries


@pytest.mark.parametrize("env_id", IDS)
def test_both_registries_make_the_same_game(env_id: str) -> None:
    by_parallel, by_turns = parallel(env_id, max_cycles=12), pettingzoo.make("aec", env_id, max_cycles=12)
    assert isinstance(by_parallel, pettingzoo.ParallelEnv)
    assert isinstance(by_turns, pettingzoo.AECEnv)
    rng = np.random.default_rng(0)
    _, infos = by_parallel.reset(seed=3)
    by_turns.reset(seed=3)
    while by_parallel.agents:
        actions = legal(by_parallel, infos, rng)
        shown, rewards, *_, infos = by_parallel.step(actions)
        for player in PLAYERS:
            assert by_turns.agent_selection == player
            by_turns.step(actions[player])
        for player in PLAYERS:
            np.testing.assert_array_equal(by_turns.observe(player), shown[player])
        assert by_turns.rewards == rewards
        np.testing.assert_array_equal(by_turns.state(), by_parallel.state())
    assert by_turns.unwrapped.max_cycles == 12


def test_registering_again_changes_nothing_and_does_not_warn() -> None:
    registry = pettingzoo.env_registry.registration.parallel_registry
    before = dict(registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_games()
        lookahead_rl.register_environments()
    assert registry == before
    assert set(GAMES) <= set(registry)


# What is played is the model


def test_transitions_and_rewards_are_the_models() -> None:
    game = garnet_game(6, 2, 3, 3, 5)
    env = MarkovGameEnv(game, max_cycles=100, observation="state")
    env.reset(seed=0)
    s, a, b, n = 4, 1, 2, 4000
    counts = np.zeros(game.n_states)
    P = game.P_rows[(s * 2 + a) * 3 + b]
    for _ in range(n):
        env.reset(options={"state": s})
        shown, rewards, *_, infos = env.step({"player_0": a, "player_1": b})
        counts[shown["player_0"]] += 1
        assert rewards == {"player_0": game.r[s, a, b], "player_1": -game.r[s, a, b]}
        assert infos["player_0"]["prob"] == P[shown["player_0"]]
    support = P > 0
    assert not counts[~support].any()
    assert chisquare(counts[support], n * P[support]).pvalue > 1e-3


def test_initial_states_follow_rho() -> None:
    game = garnet_game(6, 2, 2, 3, 5)
    env = MarkovGameEnv(game, observation="state")
    env.reset(seed=1)
    counts = np.bincount([env.reset()[0]["player_1"] for _ in range(3000)], minlength=6)
    assert chisquare(counts, 3000 * game.rho).pvalue > 1e-3


def test_both_players_see_the_state_or_its_features() -> None:
    game = garnet_game(6, 2, 2, 3, 5)
    shown, _ = MarkovGameEnv(game, observation="state").reset(seed=0, options={"state": 4})
    assert [type(shown[player]) for player in PLAYERS] == [np.int64, np.int64]
    assert shown == {"player_0": 4, "player_1": 4}
    shown, _ = MarkovGameEnv(game).reset(seed=0, options={"state": 4})
    np.testing.assert_array_equal(shown["player_0"], np.eye(6, dtype=np.float32)[4])
    linear = random_linear_game(50, 2, 3, 4, 1)
    shown, _ = MarkovGameEnv(linear).reset(seed=0, options={"state": 17})
    np.testing.assert_array_equal(shown["player_1"], linear.phi(np.array([17])).astype(np.float32).reshape(-1))
    assert shown["player_0"] is not shown["player_1"]


@pytest.mark.parametrize("observation", ["state", "features"])
@pytest.mark.parametrize("game", [garnet_game(6, 2, 3, 2, 0), random_linear_game(BILLION, 2, 3, 4, 1)])
def test_observations_are_fresh_points_of_their_space(game: Any, observation: str) -> None:
    env = MarkovGameEnv(game, observation=observation)
    shown, _ = env.reset(seed=0)
    for player in PLAYERS:
        assert env.observation_space(player).contains(shown[player])
        assert getattr(shown[player], "base", None) is None
        batch = env.observe(np.array([0, 5, 3]))[player]
        assert len(batch) == 3
        assert all(env.observation_space(player).contains(point) for point in batch)


def test_rewards_are_zero_sum_floats_without_a_negative_zero() -> None:
    env = parallel("lookahead_rl/VanDerWal-v0")
    env.reset(seed=0, options={"state": 1})
    _, rewards, ended, cut, _ = env.step({"player_0": 0, "player_1": 0})
    assert repr(rewards) == "{'player_0': 0.0, 'player_1': 0.0}"
    assert (ended, cut) == (dict.fromkeys(PLAYERS, False), dict.fromkeys(PLAYERS, False))


def test_truncation_comes_after_max_cycles_steps_and_may_be_moved() -> None:
    env = parallel("lookahead_rl/RandomMarkovGame-v0", max_cycles=3)
    both = dict.fromkeys(PLAYERS, 0)
    env.reset(seed=0)
    cuts = [env.step(both)[3]["player_0"] for _ in range(3)]
    assert cuts == [False, False, True]
    assert env.agents == []
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(both)
    env.max_cycles = 1
    env.reset()
    assert env.step(both)[3] == dict.fromkeys(PLAYERS, True)


def test_terminal_states_terminate() -> None:
    env = MarkovGameEnv(ragged_game(), observation="state", max_cycles=10_000)
    env.reset(seed=0)
    ended, shown = {"player_0": False}, {}
    while not ended["player_0"]:
        shown, _, ended, cut, _ = env.step(dict.fromkeys(PLAYERS, 0))
    assert shown == {"player_0": 1, "player_1": 1}
    assert (ended, cut, env.agents) == (dict.fromkeys(PLAYERS, True), dict.fromkeys(PLAYERS, False), [])


# Ragged action sets


def test_ragged_games_show_masks_and_refuse_other_actions() -> None:
    env = MarkovGameEnv(ragged_game())
    _, infos = env.reset(seed=0)
    masks = [infos[player]["action_mask"] for player in PLAYERS]
    assert [mask.tolist() for mask in masks] == [[1, 0], [1, 1, 1]]
    assert {mask.dtype for mask in masks} == {np.dtype(np.int8)}
    assert [env.action_space(player).n for player in PLAYERS] == [2, 3]
    with pytest.raises(ModelError, match=r"actions\['player_0'\] is 1; in state 0 it must be 0 to 0"):
        env.step({"player_0": 1, "player_1": 0})
    _, infos = env.reset(options={"state": 1})
    assert [infos[player]["action_mask"].tolist() for player in PLAYERS] == [[1, 1], [1, 1, 0]]


def test_ragged_games_pass_the_checks_that_heed_masks() -> None:
    def make() -> Any:
        game = ragged_game()
        live = MarkovGame(game.P, game.r, 0.9, game.rho, game.n_actions_0, game.n_actions_1)
        return pettingzoo.utils.parallel_to_aec(MarkovGameEnv(live, max_cycles=20))

    api_test(make(), num_cycles=50)
    seed_test(make, num_cycles=50)


@pytest.mark.parametrize("env_id", sorted(RAGGED))
def test_registered_ragged_games_end_and_are_drawn(env_id: str) -> None:
    """The promises of the checkers that do not heed masks, but for ``max_cycles``, which these games seldom reach."""
    env, rng = parallel(env_id, render_mode="ansi"), np.random.default_rng(2)
    for _ in range(5):
        _, infos = env.reset(seed=0)
        while env.agents:
            assert "v*(s)" in env.render()
            shown, rewards, ended, cut, infos = env.step(legal(env, infos, rng))
            assert env.state_space.contains(env.state())
            assert all(env.observation_space(player).contains(shown[player]) for player in PLAYERS)
        assert (ended, cut) == (dict.fromkeys(PLAYERS, True), dict.fromkeys(PLAYERS, False))
        assert rewards["player_0"] == -rewards["player_1"]


def test_hands_shrink_in_goofspiel() -> None:
    env = parallel("lookahead_rl/Goofspiel-v0")
    _, infos = env.reset(seed=0)
    sizes = []
    while env.agents:
        sizes.append([int(infos[player]["action_mask"].sum()) for player in PLAYERS])
        *_, infos = env.step(dict.fromkeys(PLAYERS, 0))
    assert sizes == [[4, 4], [3, 3], [2, 2]]


def test_soccer_pays_whole_goals() -> None:
    """A player who runs off with the ball that the other has just given away scores in half of the cases."""
    table = tabulate(SoccerRules(), 0.9)
    state = table.index[SoccerState((1, 4), (1, 3), 1)]
    east = table.actions_0[state].index("east")
    assert table.game.r[state, east, east] == 0.5
    env = parallel("lookahead_rl/Soccer-v0", observation="state")
    env.reset(seed=0)
    paid = []
    for _ in range(50):
        env.reset(options={"state": state})
        paid.append(env.step(dict.fromkeys(PLAYERS, east))[1]["player_0"])
    assert set(paid) == {0.0, 1.0}


def test_games_without_ragged_sets_show_no_masks() -> None:
    _, infos = parallel("lookahead_rl/VanDerWal-v0").reset(seed=0)
    assert infos == {player: {"prob": 1.0} for player in PLAYERS}
    assert infos["player_0"] is not infos["player_1"]


# Bad input


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"player_0": 0}, "player_1"),
        ({}, "player_0"),
        ({"player_0": 3, "player_1": 0}, r"player_0'\] is 3"),
        ({"player_0": 0, "player_1": -1}, r"player_1'\] is -1"),
        ({"player_0": 0.0, "player_1": 0}, r"player_0'\] is 0.0"),
        ({"player_0": None, "player_1": 0}, r"player_0'\] is None"),
    ],
)
def test_bad_actions_are_named_and_change_nothing(actions: Any, message: str) -> None:
    env = parallel("lookahead_rl/RandomMarkovGame-v0")
    env.reset(seed=0)
    before = env.state()
    with pytest.raises(ModelError, match=message):
        env.step(actions)
    np.testing.assert_array_equal(env.state(), before)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"observation": "pixels"}, "observation"),
        ({"render_mode": "opengl"}, "render_mode"),
        ({"max_cycles": 0}, "max_cycles"),
        ({"max_cycles": 2.5}, "max_cycles"),
        ({"branching": 21}, "branching"),
        ({"game_seed": None}, "game_seed"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        module_of("lookahead_rl/RandomMarkovGame-v0").parallel_env(**kwargs)


def test_indicators_of_many_states_are_refused_with_the_remedy() -> None:
    game = garnet_game(10_001, 1, 1, 1, 0)
    with pytest.raises(ModelError, match='observation="state"'):
        MarkovGameEnv(game)
    MarkovGameEnv(game, observation="state").reset(seed=0)


@pytest.mark.parametrize("state", [-1, 20, 1.5, "0"])
def test_bad_states_are_named(state: Any) -> None:
    env = parallel("lookahead_rl/RandomMarkovGame-v0")
    with pytest.raises(ModelError, match="state"):
        env.reset(options={"state": state})
    with pytest.raises(ModelError, match="state"):
        env.observe(np.array([0, state]) if isinstance(state, int) else np.array([state]))


def test_nothing_works_before_the_first_reset() -> None:
    env = parallel("lookahead_rl/RandomMarkovGame-v0", render_mode="ansi")
    for call in (env.state, env.render, lambda: env.step(dict.fromkeys(PLAYERS, 0))):
        with pytest.raises(ResetNeeded):
            call()


# What stands behind the environment


def test_the_simulator_codes_pairs_of_actions() -> None:
    env = parallel("lookahead_rl/RandomMarkovGame-v0")
    game, simulator = env.unwrapped.model, env.unwrapped.simulator
    assert isinstance(simulator, GenerativeModel)
    assert (simulator.n_states, simulator.n_actions) == (20, 9)
    drawn = simulator.sample(np.array([3, 4]), np.array([1 * 3 + 2, 5]), np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.rewards, [game.r[3, 1, 2], game.r[4, 1, 2]])


def test_van_der_wals_game_has_value_8() -> None:
    """Van der Wal, JOTA 25 (1978): V* = 8, player_0 plays row 0 and player_1 column 1."""
    solution = pettingzoo.make("aec", "lookahead_rl/VanDerWal-v0").unwrapped.solution()
    np.testing.assert_allclose(solution.value, [8.0, 0.0], atol=1e-8)
    mu, nu = solution.policy
    np.testing.assert_allclose(mu[0], [1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(nu[0], [0.0, 1.0], atol=1e-9)


def test_solutions_are_computed_once_and_certified() -> None:
    env = parallel("lookahead_rl/RandomMarkovGame-v0")
    solution = env.unwrapped.solution()
    assert env.unwrapped.solution() is solution
    assert solution.certificate.gap < 1e-6


@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_drawings_show_the_game_of_the_state(mode: str) -> None:
    env = parallel("lookahead_rl/VanDerWal-v0", render_mode=mode)
    env.reset(seed=0)
    first = env.render()
    env.step({"player_0": 0, "player_1": 0})
    second = env.render()
    if mode == "ansi":
        assert first.splitlines()[:3] == [
            "state 0 of 2   cycle 1",
            "the episode begins",
            "",
        ]
        assert "v*(s) = 8, the value of the game q*(s, a, b) with equilibrium mu, nu:" in first
        assert [line.split()[-2:] for line in first.splitlines()[-2:]] == [["9", "8"], ["8", "7"]]
        assert "played a=0 against b=0   reward +3   return 3" in second
    else:
        assert first.shape == (460, 880, 3)
        assert first.dtype == np.uint8
        assert (first != second).any()


def test_a_drawing_of_many_actions_says_what_it_leaves_out() -> None:
    env = MarkovGameEnv(garnet_game(3, 40, 300, 2, 0), render_mode="ansi")
    env.reset(seed=0)
    assert "the first 10 by 10 of 40 by 300 actions" in env.render()
    assert env.render().splitlines()[-2].split() == ["...", "..."]
    assert all(line.endswith(" ...") for line in env.render().splitlines()[5:-2])
    env.render_mode = "rgb_array"
    image = env.render()
    assert image.shape == (460, 880, 3)
    assert shows(image, "... 30 more", QUIET)
    assert shows(image, "... 290 more", QUIET)


def shows(image: np.ndarray, text: str, colour: tuple[int, int, int] = INK, scale: int = 2) -> bool:
    """Whether a line of text stands somewhere in an image, in this colour."""
    mask = text_mask(text).repeat(scale, axis=0).repeat(scale, axis=1)
    inked = (image == np.array(colour, dtype=np.uint8)).all(axis=2)
    (height, width), (rows, columns) = mask.shape, inked.shape
    found = np.ones((rows - height + 1, columns - width + 1), dtype=bool)
    for i, j in np.argwhere(mask):
        found &= inked[i : i + found.shape[0], j : j + found.shape[1]]
    return bool(found.any())


def drawn(env_id: str, state: int, **kwargs: Any) -> tuple[str, np.ndarray]:
    """A state as text and as an image."""
    frames = []
    for mode in ("ansi", "rgb_array"):
        env = parallel(env_id, render_mode=mode, observation="state", **kwargs)
        env.reset(seed=0, options={"state": state})
        frames.append(env.render())
    return frames[0], frames[1]


def test_pursuit_draws_its_grid() -> None:
    text, image = drawn("lookahead_rl/Pursuit-v0", 1 * 9 + 6, n=3)
    assert text.splitlines()[3:7] == [" .  P  .", " .  .  .", " E  .  .", "P pursues E"]
    assert text.splitlines()[10].split() == ["stay", "north", "east", "south", "west"]
    for name in ("stay", "north", "east", "south", "west"):
        assert shows(image, name)
    for letter, colour in (("P", FIRST), ("E", SECOND)):
        assert shows(image, letter, PAPER)
        assert (image == np.array(colour)).all(axis=2).any()
    text, image = drawn("lookahead_rl/Pursuit-v0", 4 * 9 + 4, n=3)
    assert text.splitlines()[3:7] == ["  .   .   .", "  . [PE]  .", "  .   .   .", "caught: this step pays 1"]
    assert shows(image, "everywhere", QUIET)  # whatever they do


@pytest.mark.parametrize(("ball", "squares"), [(0, (" B  .", "[A]")), (1, ("[B] .", " A "))])
def test_soccer_shows_who_has_the_ball(ball: int, squares: tuple[str, str]) -> None:
    state = tabulate(SoccerRules(), 0.9).index[SoccerState((2, 1), (1, 3), ball)]
    text, image = drawn("lookahead_rl/Soccer-v0", state)
    assert all(square in text for square in squares)
    assert f"{'AB'[ball]} has the ball" in text
    assert shows(image, f"{'AB'[ball]} has the ball")
    assert [line.split()[0] for line in text.splitlines()[-5:]] == ["north", "south", "west", "east", "stand"]


def test_soccer_shows_a_free_ball() -> None:
    text, _ = drawn("lookahead_rl/Soccer-v0", 0, grid=OPENSPIEL_GRID, kick_off_again=False)
    assert "[o]" in text
    assert "the ball is free" in text


def test_goofspiel_shows_hands_prizes_and_lead() -> None:
    rules = GoofspielRules(4)
    state = tabulate(rules, 1.0).index[GoofspielState((1, 2, 4), (2, 3, 4), 4, (1, 2), 3)]
    text, image = drawn("lookahead_rl/Goofspiel-v0", state)
    assert text.splitlines()[3:7] == [
        "player 1   .  2  3  4",
        "prizes     1  2  . [4]",
        "player 0   1  2  .  4",
        "lead of player 0: 3",
    ]
    assert re.findall(r"card \d", text) == ["card 2", "card 3", "card 4", "card 1", "card 2", "card 4"]
    assert shows(image, "lead of player 0: 3")
    assert shows(image, "card 1") or shows(image, "card 1", QUIET)


def test_oshi_zumo_shows_coins_place_and_bids() -> None:
    rules = OshiZumoRules(5, 2)
    state = tabulate(rules, 1.0).index[OshiZumoState(4, 3, -1)]
    text, image = drawn("lookahead_rl/OshiZumo-v0", state, coins=5, size=2)
    assert text.splitlines()[3:6] == [" . [W] .  .  .", "coins 4 and 3", "place -1 of -2 to 2"]
    assert [line.split()[:2] for line in text.splitlines()[-4:]] == [["bid", str(bid)] for bid in (1, 2, 3, 4)]
    assert shows(image, "coins 4 and 3")
    assert shows(image, "bid 4") or shows(image, "bid 4", QUIET)


@pytest.mark.parametrize("size", [30, 200])
def test_boards_without_room_are_left_out(size: int) -> None:
    text, image = drawn("lookahead_rl/OshiZumo-v0", 0, coins=12, size=size)
    assert "W" not in text
    assert f"place 0 of -{size} to {size}" in text
    assert shows(image, f"place 0 of -{size} to {size}")


def test_last_actions_are_called_by_their_names() -> None:
    for env_id, played in (
        ("lookahead_rl/OshiZumo-v0", "played bid 1 against bid 3"),
        ("lookahead_rl/Pursuit-v0", "played stay against east"),
        ("lookahead_rl/Goofspiel-v0", "played card 1 against card 3"),
        ("lookahead_rl/Soccer-v0", "played north against west"),
        ("lookahead_rl/VanDerWal-v0", "played a=0 against b=1"),
    ):
        actions = {"player_0": 0, "player_1": 1 if "Wal" in env_id else 2}
        env = parallel(env_id, render_mode="ansi")
        env.reset(seed=0)
        env.step(actions)
        assert played in env.render()
        turns = pettingzoo.make("aec", env_id, render_mode="ansi")
        turns.reset(seed=0)
        for action in actions.values():
            turns.step(action)
        assert turns.render() == env.render()
        many = lanes(env_id, 2, render_mode="ansi")
        many.reset(seed=0)
        many.step([[*actions.values()]] * 2)
        assert all(played in frame for frame in many.render())


@pytest.mark.parametrize("env_id", sorted(RAGGED))
def test_an_episode_that_is_over_is_said_to_be(env_id: str) -> None:
    env, rng = parallel(env_id, render_mode="ansi"), np.random.default_rng(0)
    _, infos = env.reset(seed=0)
    while env.agents:
        assert "the episode is over" not in env.render()
        *_, infos = env.step(legal(env, infos, rng))
    assert env.render().splitlines()[1].startswith("played ")
    assert env.render().splitlines()[2:] == ["the episode is over"]
    env.render_mode = "rgb_array"
    assert shows(env.render(), "the episode is over", scale=3)
    env.reset(options={"state": int(env.state()[0])})
    env.step(dict.fromkeys(PLAYERS, 0))
    assert shows(env.render(), "the episode is over", scale=3)


def test_numbers_stand_in_the_cells_of_registered_games() -> None:
    for env_id in IDS:
        env = parallel(env_id, render_mode="rgb_array")
        env.reset(seed=0)
        image = env.render()[MATRIX_TOP:][:MATRIX_HEIGHT, MATRIX_LEFT:][:, :MATRIX_WIDTH]
        assert {tuple(colour) for colour in image.reshape(-1, 3)} & {INK, PAPER}


def test_numbers_tell_nearly_equal_payoffs_apart() -> None:
    assert numbers(np.array([[9.0, 8.0], [8.0, 7.0]]), 4) == [["9", "8"], ["8", "7"]]
    assert numbers(np.array([[3.5, 3.25]]), 4) == [["3.50", "3.25"]]
    assert numbers(np.array([[3.00012, 3.00034]]), 4) == [["3.00012", "3.00034"]]
    assert numbers(np.array([[-1e-9, 1.0]]), 3) == [["0", "1"]]
    assert numbers(np.array([[0.0, 0.0]]), 3) == [["0", "0"]]
    assert numbers(np.array([[1e12, 3e-9]]), 3) == [["1e+12", "3e-09"]]


def test_rounding_is_not_drawn() -> None:
    """Payoffs that are equal up to rounding have one colour, and a number that is zero is shown as zero."""
    env = MarkovGameEnv(matrix_game(np.array([[1.0, 1.0 + 1e-12], [1.0 - 1e-12, 1.0]])), render_mode="rgb_array")
    env.reset(seed=0)
    assert shows(env.render(), "q* = 1 everywhere", QUIET)


def test_human_mode_prints_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    env = parallel("lookahead_rl/VanDerWal-v0", render_mode="human")
    env.reset(seed=0)
    env.step(dict.fromkeys(PLAYERS, 0))
    assert capsys.readouterr().out.count("v*(s)") == 2


def test_without_a_render_mode_nothing_is_drawn() -> None:
    env = parallel("lookahead_rl/VanDerWal-v0")
    env.reset(seed=0)
    assert env.render() is None


# Many episodes at once

MODES = list(AutoresetMode)


def lanes(env_id: str, num_envs: int, **kwargs: Any) -> VectorGameEnv:
    env = gym.make_vec(env_id, num_envs=num_envs, **kwargs)
    assert isinstance(env, VectorGameEnv)
    return env


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("mode", MODES)
def test_one_lane_is_the_scalar_environment(env_id: str, mode: AutoresetMode) -> None:
    """Seeded alike both draw the same numbers, so the first episode agrees step by step, its end included."""
    scalar, vector = parallel(env_id, max_cycles=7), lanes(env_id, 1, max_episode_steps=7, autoreset_mode=mode)
    rng = np.random.default_rng(1)
    shown, infos = scalar.reset(seed=4)
    batch, vector_infos = vector.reset(seed=4)
    np.testing.assert_array_equal(batch[0], shown["player_0"])
    while scalar.agents:
        actions = legal(scalar, infos, rng)
        shown, rewards, ended, cut, infos = scalar.step(actions)
        batch, paid, terminated, truncated, vector_infos = vector.step([[actions["player_0"], actions["player_1"]]])
        assert (paid[0], terminated[0], truncated[0]) == (rewards["player_0"], ended["player_0"], cut["player_0"])
        done = terminated[0] or truncated[0]
        last = vector_infos["final_obs"][0] if mode == AutoresetMode.SAME_STEP and done else batch[0]
        np.testing.assert_array_equal(last, shown["player_0"])
        assert done or vector_infos["prob"][0] == infos["player_0"]["prob"]
    assert done


@pytest.mark.parametrize("env_id", IDS)
def test_lanes_sample_the_models_law(env_id: str) -> None:
    env = lanes(env_id, 5000, observation="state")
    game = env.unwrapped.model
    tabular = game if isinstance(game, MarkovGame) else game.to_tabular()
    start = int(np.argmax(tabular.rho))
    env.reset(seed=0, options={"state": start})
    reached, paid, *_ = env.step(np.tile([0, 1], (5000, 1)))
    P = tabular.P_rows[[start * tabular.r[0].size + 1]]
    P = np.asarray(P.toarray() if tabular.is_sparse else P).reshape(-1)
    counts = np.bincount(reached, minlength=tabular.n_states)
    assert not counts[P == 0].any()
    assert counts.max() == 5000 or chisquare(counts[P > 0], 5000 * P[P > 0]).pvalue > 1e-3
    np.testing.assert_allclose(paid, tabular.r[start, 0, 1], atol=1e-12)


def test_lanes_know_the_game_and_draw_it() -> None:
    env = lanes("lookahead_rl/VanDerWal-v0", 2, render_mode="ansi")
    assert env.single_action_space == gym.spaces.MultiDiscrete([2, 2])
    np.testing.assert_allclose(env.unwrapped.solution().value, [8.0, 0.0], atol=1e-8)
    shown, _ = env.reset(seed=0)
    assert env.observation_space.contains(shown)
    env.step(env.action_space.sample())
    assert all("v*(s)" in frame for frame in env.render())


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([[0, 2], [0, 0]], r"actions\[0, 1\] is 2"),
        ([[0, 0], [-1, 0]], r"actions\[1, 0\] is -1"),
        ([0, 1], "shape"),
        ([[0.0, 1.0], [0.0, 0.0]], "dtype"),
    ],
)
def test_bad_joint_actions_are_named(actions: Any, message: str) -> None:
    env = lanes("lookahead_rl/VanDerWal-v0", 2)
    env.reset(seed=0)
    with pytest.raises(ModelError, match=message):
        env.step(actions)


def masks_of(infos: dict[str, Any], lane: int) -> list[list[int]]:
    return [infos[player]["action_mask"][lane].tolist() for player in PLAYERS]


@pytest.mark.parametrize("mode", MODES)
def test_lanes_of_ragged_games_show_masks(mode: AutoresetMode) -> None:
    """A lane is told what the scalar environment would say, laid out as Gymnasium's own vector environments do it."""
    scalar = parallel("lookahead_rl/Goofspiel-v0")
    env = lanes("lookahead_rl/Goofspiel-v0", 3, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    _, infos = env.reset(seed=0)
    for _ in range(3):
        for player in PLAYERS:
            assert infos[player]["action_mask"].shape == (3, 4)
            assert infos[player]["action_mask"].dtype == np.int8
            assert infos[player]["_action_mask"].all()
            assert infos[f"_{player}"].all()
        for lane, state in enumerate(env.unwrapped.states):
            _, told = scalar.reset(options={"state": int(state)})
            assert masks_of(infos, lane) == [told[player]["action_mask"].tolist() for player in PLAYERS]
        actions = [[rng.choice(np.flatnonzero(mask)) for mask in masks_of(infos, lane)] for lane in range(3)]
        _, _, terminated, _, infos = env.step(actions)
    assert terminated.all()
    if mode == AutoresetMode.SAME_STEP:
        assert masks_of(infos, 0) == [[1, 1, 1, 1]] * 2
        assert masks_of(infos["final_info"], 0) == [[1, 0, 0, 0]] * 2
    if mode == AutoresetMode.NEXT_STEP:  # what is asked of a lane that is about to be reset does not matter
        *_, infos = env.step([[3, 3]] * 3)
        assert masks_of(infos, 0) == [[1, 1, 1, 1]] * 2
    if mode == AutoresetMode.DISABLED:
        _, infos = env.reset(options={"reset_mask": np.array([False, True, False])})
        assert masks_of(infos, 1) == [[1, 1, 1, 1]] * 2
        assert infos["_player_0"].tolist() == infos["player_0"]["_action_mask"].tolist() == [False, True, False]


def test_masks_of_lanes_survive_the_list_of_infos() -> None:
    env = gym.wrappers.vector.DictInfoToList(lanes("lookahead_rl/OshiZumo-v0", 2))
    _, infos = env.reset(seed=0)
    assert [info["player_1"]["action_mask"].tolist() for info in infos] == [[1] * 10] * 2


def test_lanes_of_other_games_show_no_masks() -> None:
    _, infos = lanes("lookahead_rl/VanDerWal-v0", 2).reset(seed=0)
    assert set(infos) == {"prob", "_prob"}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ([5, 0], r"actions\[1\] is the pair \(5, 0\); in state \d+ the action of player_0 must be 0 to 1$"),
        ([1, 5], r"actions\[1\] is the pair \(1, 5\); in state \d+ the action of player_1 must be 0 to 2$"),
    ],
)
def test_actions_that_a_lane_lacks_are_named_by_player(pair: list[int], message: str) -> None:
    env = lanes("lookahead_rl/OshiZumo-v0", 2)
    env.reset(seed=0)
    env.step([[9, 9], [7, 6]])
    with pytest.raises(ModelError, match=message):
        env.step([[0, 0], pair])


def test_a_linear_game_of_a_billion_states_plays_and_solves() -> None:
    env = parallel("lookahead_rl/LinearMarkovGame-v0", n_states=BILLION, render_mode="ansi", max_cycles=10)
    env.reset(seed=0, options={"state": BILLION - 1})
    while env.agents:
        _, rewards, *_ = env.step({player: env.action_space(player).sample() for player in env.agents})
    assert 0.0 <= rewards["player_0"] <= 1.0
    assert "of 1,000,000,000" in env.render()


@pytest.mark.parametrize("kind", ["state", "features"])
@pytest.mark.parametrize("env_id", GAMES)
@pytest.mark.parametrize("form", ["parallel", "aec"])
def test_games_can_be_pickled(env_id, form, kind):
    env = pettingzoo.make(form, env_id, observation=kind)
    env.reset(seed=1)
    copied = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(env.unwrapped.state(), copied.unwrapped.state())


@pytest.mark.parametrize("action", [None, "0", 0.0, True, np.array([0]), np.array(0.5), [0]])
def test_actions_that_are_no_integer_are_named(action):
    env = pettingzoo.make("parallel", "lookahead_rl/VanDerWal-v0")
    env.reset(seed=0)
    with pytest.raises(ModelError, match=r"actions\['player_1'\] is .*; pass an integer"):
        env.step({"player_0": 0, "player_1": action})


def test_an_action_of_an_unknown_player_is_refused():
    env = pettingzoo.make("parallel", "lookahead_rl/VanDerWal-v0")
    env.reset(seed=0)
    with pytest.raises(ModelError, match="actions has an entry for 'player_2'; the players are player_0, player_1"):
        env.step({"player_0": 0, "player_1": 0, "player_2": 0})


def test_decision_processes_are_no_games():
    with pytest.raises(ModelError, match="game is a TabularMDP; pass a MarkovGame"):
        MarkovGameEnv(river_swim())


def test_narrow_joint_actions_do_not_wrap_around():
    game = matrix_game(np.arange(400.0).reshape(2, 200))
    env = VectorGameEnv(game, num_envs=1)
    env.reset(seed=0)
    _, rewards, *_ = env.step(np.array([[1, 199]], dtype=np.uint8))
    assert rewards == [399.0]
