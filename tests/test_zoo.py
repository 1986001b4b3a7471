"""rl_zoo3 trains our algorithm, and the hyperparameters shipped for it are ones that the algorithm takes."""

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml

from lookahead_rl.scripts import zoo

HAS_ZOO = importlib.util.find_spec("rl_zoo3") is not None
needs_zoo = pytest.mark.skipif(not HAS_ZOO, reason="rl_zoo3 is not installed: pip install 'lookahead-rl[zoo]'")

ENTRIES = yaml.safe_load(zoo.CONF_FILE.read_text())
ENVIRONMENTS = [name for name in ENTRIES if name != "default"]
# What rl_zoo3 takes out of an entry before it calls the algorithm.
OF_THE_ZOO = {"n_timesteps", "policy", "n_envs", "normalize", "env_kwargs"}


def run_zoo(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lookahead_rl.scripts.zoo", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


# what needs no rl_zoo3


def test_the_environments_of_the_comparison_have_hyperparameters():
    assert {*ENVIRONMENTS} >= {
        "CartPole-v1",
        "Acrobot-v1",
        "MountainCar-v0",
        "Pendulum-v1",
        "LunarLander-v3",
        "FrozenLake-v1",
        "Taxi-v4",
        "LargeActionMDP-v0",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_the_algorithm_is_made_with_the_hyperparameters(name: str):
    from stable_baselines3.common.utils import LinearSchedule

    from lookahead_rl.agents.lookahead import KSampleLookahead

    entry = ENTRIES[name]
    given = {key: value for key, value in entry.items() if key not in OF_THE_ZOO}
    rate = given.get("learning_rate")
    if isinstance(rate, str):  # as rl_zoo3 reads it
        given["learning_rate"] = LinearSchedule(float(rate.removeprefix("lin_")), 0.0, 1.0)
    assert {*given} <= {*inspect.signature(KSampleLookahead).parameters}
    assert isinstance(entry["n_timesteps"], int)
    env_id = "CartPole-v1" if name == "default" else name
    if env_id == "LunarLander-v3":
        pytest.importorskip("Box2D", reason="LunarLander-v3 needs Box2D: pip install 'gymnasium[box2d]'")
    env = gym.make(env_id, **entry.get("env_kwargs", {}))
    model = KSampleLookahead(entry["policy"], env, device="cpu", **given)
    assert all(vars(model)[key] == value for key, value in given.items())


def test_they_are_those_of_the_comparison():
    import json

    data = json.loads((Path(__file__).parents[1] / "benchmarks/lookahead_data/hyperparameters.json").read_text())
    names = {"FrozenLake-v1": "FrozenLake-v1 8x8", "LargeActionMDP-v0": "LargeActionMDP 10^6"}
    for name in ENVIRONMENTS:
        setting = data[names.get(name, name)]["KSampleLookahead"]
        entry = ENTRIES[name]
        assert {key: value for key, value in entry.items() if key not in OF_THE_ZOO} == setting["hyperparameters"]
        assert (entry["n_envs"], entry.get("normalize", False)) == (setting["n_envs"], setting["normalize"])


def test_the_file_is_named_unless_another_is():
    assert zoo.train_arguments(["--algo", "ksl"]) == ["--algo", "ksl", "--conf-file", str(zoo.CONF_FILE)]
    for args in (["--algo", "ppo", "--env", "FrozenLake-v1"], ["--algo", "ksl", "-conf", "my.hyperparameters"]):
        assert zoo.train_arguments(args) == args


def test_what_the_file_says_of_the_environment_is_said_of_the_one_that_evaluates():
    args = ["--algo", "ksl", "--env", "FrozenLake-v1"]
    assert zoo.train_arguments(args)[-2:] == ["--eval-env-kwargs", "map_name:'8x8'"]
    assert "--eval-env-kwargs" not in zoo.train_arguments([*args, "--env-kwargs", "map_name:'4x4'"])


def test_an_unknown_program_is_one_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        zoo.main(["trian"])
    assert stop.value.code == 2
    assert "'trian'" in capsys.readouterr().err


@pytest.mark.skipif(HAS_ZOO, reason="rl_zoo3 is installed")
def test_without_rl_zoo3_the_command_names_the_extra(tmp_path):
    done = run_zoo("train", "--algo", "ksl", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith('the zoo needs rl_zoo3: pip install "lookahead-rl[zoo]"\n')


# what needs it


@needs_zoo
def test_the_zoo_trains_saves_evaluates_enjoys_and_goes_on(tmp_path):
    from lookahead_rl.agents.lookahead import KSampleLookahead

    steps = ("-n", "512", "--eval-freq", "256", "--seed", "1", "--device", "cpu", "-params", "n_steps:32")
    done = run_zoo("train", "--algo", "ksl", "--env", "CartPole-v1", *steps, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "logs/ksl/CartPole-v1_1"
    assert np.load(folder / "evaluations.npz")["timesteps"].tolist() == [256, 512]
    assert {"config.yml", "args.yml", "command.txt"} <= {path.name for path in (folder / "CartPole-v1").iterdir()}
    assert len([*folder.glob("*.monitor.csv")]) == ENTRIES["CartPole-v1"]["n_envs"]
    # All of it is in the file, but for the rate, which falls.
    model = KSampleLookahead.load(folder / "CartPole-v1.zip", custom_objects={"learning_rate": 1e-3})
    assert (model.K, model.tau, model.n_steps) == (4.0, 0.1, 32)

    enjoyed = run_zoo(
        "enjoy", "--algo", "ksl", "--env", "CartPole-v1", "-f", "logs", "--no-render", "-n", "600", cwd=tmp_path
    )
    assert enjoyed.returncode == 0, enjoyed.stderr
    assert "Mean reward" in enjoyed.stdout
    again = ("-i", str(folder / "CartPole-v1.zip"), *steps)
    continued = run_zoo("train", "--algo", "ksl", "--env", "CartPole-v1", *again, cwd=tmp_path)
    assert continued.returncode == 0, continued.stderr
    assert (tmp_path / "logs/ksl/CartPole-v1_2/CartPole-v1.zip").exists()


@needs_zoo
def test_the_zoo_trains_on_our_environments(tmp_path):
    given = ("--gym-packages", "lookahead_rl", "--env-kwargs", "digits:3", "n_states:4", "observation:'features'")
    steps = ("-n", "256", "--eval-freq", "128", "--seed", "1", "--device", "cpu", "-params", "n_steps:16")
    for more in (given, ()):  # the second time with the file's own arguments of the environment
        done = run_zoo("train", "--algo", "ksl", "--env", "LargeActionMDP-v0", *steps, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for number, digits in ((1, 3), (2, 6)):
        folder = tmp_path / f"logs/ksl/LargeActionMDP-v0_{number}"
        assert (folder / "evaluations.npz").exists()
        from lookahead_rl.agents.lookahead import KSampleLookahead

        assert KSampleLookahead.load(folder / "LargeActionMDP-v0.zip").action_space.nvec.tolist() == [10] * digits
