"""``lookahead-rl train`` through its real entry point: its records, and that a killed run comes to the same result."""

import csv
import fcntl
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from lookahead_rl.agents import AgentError, agent_ids, load_agent, make_agent
from lookahead_rl.agents.storage import read_archive
from lookahead_rl.evaluation import audit
from lookahead_rl.experiments.checkpoints import RunFolderError
from lookahead_rl.experiments.environments import (
    make_job_agent,
    make_opponent,
    make_training_env,
    make_truth_env,
    open_env,
)
from lookahead_rl.experiments.jobs import Job
from lookahead_rl.experiments.monitors import TrainingMonitor
from lookahead_rl.experiments.training import TrainingOptions, train
from lookahead_rl.models import ModelError
from lookahead_rl.scripts.cli import main
from lookahead_rl.wrappers import VersusOpponent

GAME = "lookahead_rl/RandomMarkovGame-v0"
SMALL = {"n_steps": 32, "batch_size": 16, "n_epochs": 1, "policy_kwargs": {"net_arch": [8]}}
REPLAY = {"learning_starts": 20, "buffer_size": 60, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}}
ROLLOUTS = {"n_steps": 8, "buffer_size": 24, "advantage_epochs": 2, "policy_kwargs": {"net_arch": [8]}}
TIMES = {"time/fps", "time/time_elapsed"}
QUIET = TrainingOptions(n_eval_episodes=1)

SETTINGS = {
    "PPO": ("CartPole-v1", SMALL | {"learning_rate": "lin_1e-2"}),
    "A2C": ("CartPole-v1", {"n_steps": 8}),
    "DQN": ("CartPole-v1", REPLAY),
    "SAC": ("Pendulum-v1", REPLAY),
    "KSampleLookahead-v0": ("FrozenLake-v1", ROLLOUTS),
}


def slow(name, slower):
    """A parameter that is marked slow if it is one of these."""
    return pytest.param(name, marks=pytest.mark.slow) if name in slower else name


def hyper(agent, steps=80, **others):
    """A small job of an algorithm of stable-baselines3."""
    env_id, hyperparameters = SETTINGS[agent]
    return Job(agent, env_id, steps, agent_kwargs={"hyperparameters": hyperparameters}, **others)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def content(folder):
    """All that a run found, times left out."""
    found = {"agent": (folder / "agent.zip").read_bytes()}
    for path in sorted(folder.glob("*monitor.csv")):
        found[path.name] = [(row["r"], row["l"]) for row in rows_of(path)]
    found["progress"] = [
        {key: value for key, value in row.items() if key not in TIMES} for row in rows_of(folder / "progress.csv")
    ]
    if (folder / "evaluations.npz").exists():
        with np.load(folder / "evaluations.npz") as arrays:
            found["evaluations"] = {name: arrays[name].tolist() for name in arrays.files}
    if (folder / "audits.csv").exists():
        found["audits"] = (folder / "audits.csv").read_text()
    return found


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Disks take milliseconds to say that they have written; only kills of the whole machine need to know."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def silent(line):
    """Nobody to tell."""


def run(job, folder, options=QUIET, **others):
    return train(job, folder, options, tell=silent, **others)


# what is written


def test_the_command_writes_the_files_of_stable_baselines3(tmp_path, capsys):
    folder = tmp_path / "run"
    options = ("--agent", "PPO", "--env-id", "FrozenLake-v1", "--total-timesteps", "128", "--n-eval-episodes", "3")
    sizes = ("--hyperparameters", "n_steps=32", "batch_size=16", "n_epochs=1", 'policy_kwargs={"net_arch":[8]}')
    rest = ("--eval-freq", "40", "--tensorboard", "--out", str(folder), "--json", str(tmp_path / "rows.json"))
    main(["train", *options, *sizes, *rest])
    assert "128 steps" in capsys.readouterr().out
    header = json.loads((folder / "monitor.csv").read_text().splitlines()[0].removeprefix("#"))
    assert header["env_id"] == "FrozenLake-v1"
    assert header["t_start"] <= time.time()
    assert rows_of(folder / "monitor.csv")[0].keys() == {"r", "l", "t"}
    with np.load(folder / "evaluations.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays.files} == {
            "timesteps": (4,),
            "results": (4, 3),
            "ep_lengths": (4, 3),
        }
        assert arrays["timesteps"].tolist() == [40, 80, 120, 128]
    logged = {key for row in rows_of(folder / "progress.csv") for key, value in row.items() if value}
    expected = {"rollout/ep_rew_mean", "time/total_timesteps", "train/loss", "eval/mean_reward", "eval/exact_value"}
    assert logged >= expected
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["steps"] for row in rows] == [0, 40, 80, 120, 128]
    env = gym.make("FrozenLake-v1")
    found = audit(load_agent(folder / "agent.zip", env), env, horizon=100)
    assert (rows[-1]["value"], rows[-1]["optimal_value"]) == (found.value, found.optimal_value)
    assert {"agent", "env_id", "seed", "steps", "value", "optimal_value", "score", "seconds"} <= rows[-1].keys()


def test_the_log_files_are_read_by_stable_baselines3(tmp_path):
    pytest.importorskip("pandas", reason="stable-baselines3 reads its monitor files with pandas")
    from stable_baselines3.common.monitor import load_results

    run(hyper("PPO", n_envs=2), tmp_path / "run")
    assert len(load_results(str(tmp_path / "run"))) == sum(
        len(rows_of(tmp_path / "run" / f"{i}.monitor.csv")) for i in range(2)
    )


def test_the_monitor_counts_each_step_once_whatever_the_parts(tmp_path):
    seen = []
    for frequency in (1000, 30):
        folder = tmp_path / str(frequency)
        run(hyper("PPO", 96, n_envs=2), folder, TrainingOptions(n_eval_episodes=0, checkpoint_freq=frequency))
        seen.append([[(row["r"], row["l"]) for row in rows_of(folder / f"{i}.monitor.csv")] for i in range(2)])
    assert seen[0] == seen[1]
    assert any(seen[0])


def test_configuration_and_versions_are_kept(tmp_path):
    run(hyper("PPO", 32), tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    assert Job.of(found["configuration"]["job"]) == hyper("PPO", 32)
    assert {"lookahead-rl", "torch", "stable-baselines3", "numpy", "python"} <= found["versions"].keys()


# the same result


@pytest.mark.parametrize("agent", [slow(name, {"A2C", "SAC", "KSampleLookahead-v0"}) for name in SETTINGS])
def test_an_algorithm_trained_in_parts_learns_what_it_learns_in_one(agent, tmp_path):
    """Experience, random states, schedules and unfinished episodes go through the checkpoint whole."""
    for frequency in (1000, 30):
        run(hyper(agent), tmp_path / str(frequency), TrainingOptions(n_eval_episodes=0, checkpoint_freq=frequency))
    one, parts = content(tmp_path / "1000"), content(tmp_path / "30")
    assert len(list((tmp_path / "30/checkpoints").iterdir())) == 2
    assert one["agent"] == parts["agent"]
    assert one["monitor.csv"] == parts["monitor.csv"]


def small_ppo(steps, **others):
    return Job("PPO", "CartPole-v1", steps, agent_kwargs={"hyperparameters": SMALL | {"n_steps": 16} | others})


class Interruption(Exception):
    """What ends a run in the middle of these tests."""


def interrupting_at(step):
    def callback(agent, steps):
        if steps >= step:
            raise Interruption

    callback.__qualname__ = "callback"
    return callback


def uninterrupted(agent, steps):
    """The same name, since names are part of the configuration."""


uninterrupted.__qualname__ = "callback"

LEARNERS = {
    **{agent: hyper(agent) for agent in SETTINGS},
    "LSVIUCB-v0": Job("LSVIUCB-v0", "LinearMDP-v0", 50),
    "UCBVI-v0": Job("UCBVI-v0", "DeepSea-v0", 50, agent_kwargs={"reward_range": [-0.01, 1.0]}),
    "MinimaxQ-v0": Job("MinimaxQ-v0", GAME, 100, opponent="Random-v0"),
    "FictitiousPlay-v0": Job("FictitiousPlay-v0", GAME, 50),
    "SoftmaxPrimalDual-v0": Job("SoftmaxPrimalDual-v0", "ConstrainedLinearMDP-v0", 48),
    "HardViolationSoftmax-v0": Job("HardViolationSoftmax-v0", "ConstrainedLinearMDP-v0", 48),
    "SafeOptimisticPessimistic-v0": Job("SafeOptimisticPessimistic-v0", "ConstrainedLinearMDP-v0", 48),
}


SLOWER = SETTINGS.keys() - {"PPO"}  # their seams are tried above
SLOWER |= LEARNERS.keys() - SETTINGS.keys() - {"MinimaxQ-v0"}  # as it does; LSVIUCB-v0 is killed below


@pytest.mark.parametrize("agent", [slow(name, SLOWER) for name in LEARNERS])
def test_every_learner_that_is_interrupted_comes_to_the_same_result(agent, tmp_path):
    episodes = 0 if agent in SETTINGS else 1  # theirs are long
    job, options = LEARNERS[agent], TrainingOptions(n_eval_episodes=episodes, checkpoint_freq=25, eval_freq=25)
    run(job, tmp_path / "whole", options, callback=uninterrupted)
    with pytest.raises(Interruption):
        run(job, tmp_path / "cut", options, callback=interrupting_at(38))
    run(job, tmp_path / "cut", options, callback=uninterrupted)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_no_registered_learner_is_left_out_above():
    games = {"BestResponse-v0", "GamePolicyIteration-v0", "NashPlanner-v0", "UniformGame-v0"}
    exact = {"BackwardInduction-v0", "Random-v0", "ValueIteration-v0"}
    local = {"LSVI-v0", "RolloutPlanner-v0", "SparseSampling-v0", "TensorPlan-v0", "UCT-v0"}
    assert set(agent_ids()) - games - exact - local == LEARNERS.keys()


@pytest.mark.parametrize(
    "job",
    [
        Job("ValueIteration-v0", "FrozenLake-v1", 100),
        Job("UCT-v0", "NeedleMDP-v0", 0, env_kwargs={"n_actions": 3, "horizon": 4, "dim": 4}),
        Job("NashPlanner-v0", GAME, 100, side="player_1"),
    ],
    ids=lambda job: job.agent,
)
def test_agents_that_take_no_steps_are_trained_at_once_and_measured(job, tmp_path):
    done = run(job, tmp_path)
    assert (done.steps, [row["steps"] for row in done.rows]) == (0, [0])
    assert done.rows[0]["kind"] == "exact"
    assert load_agent(done.agent_file, make_truth_env(job))


KILLED = {
    "PPO": ("--env-id", "FrozenLake-v1", "--hyperparameters", "n_steps=16", "batch_size=16", "n_epochs=2"),
    "DQN": ("--env-id", "FrozenLake-v1", "--hyperparameters", "learning_starts=20", "buffer_size=50"),
    "LSVIUCB-v0": ("--env-id", "LinearMDP-v0"),
    "MinimaxQ-v0": ("--env-id", GAME),
}


def forkserver():
    """Processes that begin with everything imported, so that kills hit the training and not the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["lookahead_rl.scripts.cli", "lookahead_rl.scripts.train", "lookahead_rl.experiments.logs", "torch"]
    )
    return context


def killed_at_random(arguments, folder, kills, rng, duration, context):
    """Start the command again and again, kill -9 it, and let the last one finish; how many kills it met at work."""
    met = 0
    command = [
        "train",
        *arguments,
        "--checkpoint-freq",
        "16",
        "--eval-freq",
        "50",
        "--n-eval-episodes",
        "1",
        "--out",
        str(folder),
    ]
    for _ in range(kills):
        process = context.Process(target=main, args=(command,))
        process.start()
        process.join(rng.uniform(0.0, duration))
        met += process.is_alive()
        process.kill()
        process.join()
    process = context.Process(target=main, args=(command,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return met


def compare_with_killed(agent, tmp_path, kills, seed, steps, context):
    arguments, rng = ("--agent", agent, *KILLED[agent], "--total-timesteps", str(steps)), Random(seed)
    began = time.perf_counter()
    killed_at_random(arguments, tmp_path / "whole", 0, rng, 0.0, context)
    duration = time.perf_counter() - began
    met = killed_at_random(arguments, tmp_path / "killed", kills, rng, duration / max(1, kills // 5), context)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob("*.part"))
    return met


def test_a_run_killed_a_few_times_comes_to_the_same_result(tmp_path):
    compare_with_killed("LSVIUCB-v0", tmp_path, 3, 0, 64, multiprocessing.get_context("fork"))


@pytest.mark.slow
@pytest.mark.parametrize("agent", KILLED)
def test_a_run_killed_twenty_times_comes_to_the_same_result(agent, tmp_path):
    assert compare_with_killed(agent, tmp_path, 20, 1, 128, forkserver()) >= 5


@pytest.mark.slow
def test_the_installed_command_goes_on_after_a_kill(tmp_path):
    options = ["train", "--agent", "LSVIUCB-v0", "--env-id", "LinearMDP-v0", "--total-timesteps", "80"]
    options += ["--checkpoint-freq", "8", "--n-eval-episodes", "1"]
    command = [str(Path(sys.executable).with_name("lookahead-rl")), *options, "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run/checkpoints/000002").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "run/result.json").exists()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stdout
    main([*options, "--out", str(tmp_path / "whole")])
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def crashing_after(n, monkeypatch):
    """Let the n-th change of a file's name be the last thing that happens."""
    count = [0]
    replace = Path.replace

    def counted(path, target):
        count[0] += 1
        if count[0] == n:
            raise Interruption
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", counted)


DYING = Job("LSVIUCB-v0", "LinearMDP-v0", 16), TrainingOptions(n_eval_episodes=1, checkpoint_freq=8, eval_freq=8)


@pytest.fixture(scope="module")
def living(tmp_path_factory):
    folder = tmp_path_factory.mktemp("living")
    run(DYING[0], folder, DYING[1])
    return content(folder)


@pytest.mark.parametrize("n", [slow(n, {1, 3, 7, 11}) for n in (1, 2, 3, 5, 7, 9, 11)])
def test_a_run_that_dies_while_it_writes_goes_on(n, living, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        crashing_after(n, patched)
        with pytest.raises(Interruption):
            run(DYING[0], tmp_path, DYING[1])
    run(DYING[0], tmp_path, DYING[1])
    assert content(tmp_path) == living


# folders


def test_a_finished_run_says_so_and_changes_nothing(tmp_path, capsys):
    command = ["train", "--agent", "LSVIUCB-v0", "--env-id", "LinearMDP-v0", "--total-timesteps", "16"]
    command += ["--out", str(tmp_path / "run")]
    main(command)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    first = capsys.readouterr().out
    main(command)
    again = capsys.readouterr().out
    assert "finished; nothing was done" in "".join(again.splitlines()).replace("  ", " ")
    assert again.endswith(first)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """A run that was interrupted after some parts, its job and options, and what it would have found."""
    folder = tmp_path_factory.mktemp("stopped")
    job, options = hyper("DQN", 40), TrainingOptions(n_eval_episodes=0, checkpoint_freq=10)
    run(job, folder / "whole", options, callback=uninterrupted)
    with pytest.raises(Interruption):
        run(job, folder / "run", options, callback=interrupting_at(35))
    return folder / "run", job, options, content(folder / "whole")


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """The same, in a folder of its own."""
    folder, *others = stopped_once
    shutil.copytree(folder, tmp_path / "run")
    return tmp_path / "run", *others


@pytest.mark.parametrize("name", ["agent.zip", "state.json", "positions.zip"])
def test_the_checkpoint_before_a_damaged_one_is_used_and_told_of(name, stopped):
    folder, job, options, expected = stopped
    newest = max((folder / "checkpoints").iterdir())
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 1
    (newest / name).write_bytes(data)
    told = []
    train(job, folder, options, callback=uninterrupted, tell=told.append)
    assert "damaged" in told[0]
    assert told[1].startswith("going on from step 2")
    assert content(folder) == expected


def test_where_every_checkpoint_is_damaged_the_run_is_refused(stopped):
    folder, job, options, _ = stopped
    for checkpoint in (folder / "checkpoints").iterdir():
        (checkpoint / "agent.zip").write_bytes(b"")
    with pytest.raises(RunFolderError, match="every checkpoint"):
        run(job, folder, options, callback=uninterrupted)


def test_a_log_that_was_shortened_is_refused(stopped):
    folder, job, options, _ = stopped
    (folder / "monitor.csv").write_text("#{}\n")
    with pytest.raises(RunFolderError, match=r"monitor\.csv has 4 bytes"):
        run(job, folder, options, callback=uninterrupted)


def test_a_final_agent_that_was_changed_is_written_again(tmp_path):
    job = Job("LSVIUCB-v0", "LinearMDP-v0", 16)
    run(job, tmp_path)
    agent = (tmp_path / "agent.zip").read_bytes()
    (tmp_path / "agent.zip").write_bytes(agent[:-1])
    told = []
    train(job, tmp_path, QUIET, tell=told.append)
    assert "written again" in told[0]
    assert (tmp_path / "agent.zip").read_bytes() == agent


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "job.seed 0 there, 1 here"),
        ({"total_timesteps": 24}, "job.total_timesteps 16 there, 24 here"),
        ({"env_kwargs": {"mdp_seed": 1}}, "job.env_kwargs.mdp_seed None there, 1 here"),
    ],
)
def test_a_folder_with_another_run_is_refused(change, named, tmp_path):
    job = Job("LSVIUCB-v0", "LinearMDP-v0", 16)
    run(job, tmp_path)
    before = content(tmp_path)
    with pytest.raises(RunFolderError, match="name another folder") as refusal:
        run(Job.of({"agent": job.agent, "env_id": job.env_id, "total_timesteps": 16} | change), tmp_path)
    assert named in str(refusal.value)
    assert content(tmp_path) == before


def test_a_folder_of_another_version_is_refused(stopped):
    folder, job, options, _ = stopped
    config = json.loads((folder / "config.json").read_text())
    config["versions"]["torch"] = "1.0"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunFolderError, match=r"torch '1\.0' there"):
        run(job, folder, options, callback=uninterrupted)
    (folder / "config.json").write_text(json.dumps(config | {"version": 0}))
    with pytest.raises(RunFolderError, match="of format 0"):
        run(job, folder, options, callback=uninterrupted)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match=r"holds thesis\.tex and no run"):
        run(Job("LSVIUCB-v0", "LinearMDP-v0", 16), tmp_path)


def test_two_processes_do_not_train_in_one_folder(stopped):
    folder, job, options, _ = stopped
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunFolderError, match="another process"):
            run(job, folder, options, callback=uninterrupted)


# bad input

REFUSED = {
    ("--agent", "PPQ"): "did you mean PPO?",
    ("--env-id", "CartPol-v1"): "near are: CartPole-v1",
    ("--env-id", "Soccer-v0"): "near are: lookahead_rl/Soccer-v0",
    ("--env-id", "no_such_module:Any-v0"): "No module named 'no_such_module'",
    ("--env-id", "classic/tictactoe-v3"): "take turns",
    ("--env-id", "CliffWalking-v1"): "pass gamma",
    ("--agent", "SAC"): "SAC refuses observations",
    ("--agent", "MinimaxQ-v0"): "pass a Markov game with a known model",
    ("--agent", "LSVIUCB-v0"): "CartPoleEnv has no attribute P",
    ("--agent", "LSVIUCB-v0", "--env-id", "LinearMDP-v0", "--n-envs", "2"): "steps one environment",
    ("--eval-freq", "0"): "eval_freq is 0; it must be at least 1",
    ("--checkpoint-freq", "0"): "checkpoint_freq is 0",
    ("--n-eval-episodes", "-1"): "n_eval_episodes is -1",
    ("--total-timesteps", "-1"): "total_timesteps is -1",
    ("--seed", "-1"): "seed is -1",
    ("--env-kwargs", "sutton=1", "colour=2"): "colour",
    ("--agent-kwargs", "colour=2"): "PPO takes no argument colour",
    ("--hyperparameters", "n_step=3"): "near are: n_steps",
    ("--hyperparameters", "n_steps=many"): "is 'many', of type str; pass int",
    ("--hyperparameters", "gamma=true"): "is True, of type bool; pass float",
    ("--hyperparameters", "learning_rate=lin_x"): "write 'lin_' and a number",
    ("--hyperparameters", "policy_kwargs={net_arch"): "which is no JSON",
    ("--hyperparameters", "n_steps=10000000000000"): "Unable to allocate",
    ("--agent-kwargs", "hyperparameters={}", "--hyperparameters", "n_steps=3"): "are in --agent-kwargs too",
    ("--agent-kwargs", "seed=3"): "agent_kwargs holds seed, which the job itself says",
    ("--env-id", "FrozenLake-v1", "--env-kwargs", "map_name=9x9"): "FrozenLake-v1 cannot be made: KeyError: '9x9'",
    ("--env-id", "classic/rps-v2", "--env-kwargs", "num_actions=4"): "cannot be made: AssertionError: The number of",
    ("--callback", "math:pi"): "callback is float, which cannot be called",
    ("--side", "player_1"): "CartPole-v1 is no game",
    ("--opponent", "PPO"): "CartPole-v1 is no game",
    ("--env-id", GAME, "--opponent", "PPQ"): "near are: PPO",
    ("--env-id", GAME, "--side", "player_2"): "pass 'player_0' or 'player_1'",
    ("--agent", "MinimaxQ-v0", "--env-id", GAME, "--side", "player_2"): "pass 'player_0' or 'player_1'",
    ("--agent", "NashPlanner-v0", "--env-id", GAME, "--opponent", "Random-v0"): "plays against whoever comes",
    ("--callback", "print"): "write module:Name",
    ("--callback", "math:no_such"): "math has no no_such",
    ("--agent", "MinimaxQ-v0", "--env-id", GAME, "--callback", "math:pi"): "cannot be called",
}


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_bad_input_is_one_line_and_status_2_and_leaves_nothing_behind(options, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["train", *options])
    shown = capsys.readouterr()
    assert stop.value.code == 2
    assert shown.err.count("\n") == 1
    assert REFUSED[options] in shown.err
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named_with_its_remedy(tmp_path, capsys, monkeypatch):
    find_spec = importlib_find_spec()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else find_spec(name))
    with pytest.raises(SystemExit):
        main(["train", "--track", "--out", str(tmp_path / "run")])
    assert capsys.readouterr().err == "lookahead-rl: --track needs wandb: pip install wandb\n"


def importlib_find_spec():
    import importlib.util

    return importlib.util.find_spec


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_what_an_algorithm_finds_wrong_while_it_learns_is_told_as_ours(tmp_path):
    never = Job("DQN", "CartPole-v1", 40, agent_kwargs={"hyperparameters": REPLAY | {"train_freq": 0}})
    with pytest.raises(AgentError, match="DQN cannot learn with these hyperparameters: Should at least collect"):
        run(never, tmp_path / "dqn")
    wild = small_ppo(48, learning_rate=1e30)
    for frequency, said in ((48, "PPO diverged: .* a smaller learning_rate"), (16, "training has diverged")):
        with pytest.raises(AgentError, match=said):
            run(wild, tmp_path / str(frequency), TrainingOptions(n_eval_episodes=0, checkpoint_freq=frequency))


def test_ctrl_c_is_one_line_and_status_130(tmp_path, capsys, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookahead_rl.experiments.training.train", stopped)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--out", str(tmp_path / "[red]run")])
    assert stop.value.code == 130
    assert capsys.readouterr().out == (
        f"Stopped; the same command goes on from the last checkpoint in {tmp_path / '[red]run'}.\n"
    )


def test_a_run_against_a_file_that_has_changed_is_another_run(tmp_path):
    game = open_env(GAME)
    for side in ("player_0", "player_1"):
        make_agent("UniformGame-v0", game, side=side).learn(0).save(tmp_path / f"{side}.zip")
    rival = tmp_path / "player_1.zip"
    run(Job("MinimaxQ-v0", GAME, 16, opponent=str(rival)), tmp_path / "run")
    make_agent("NashPlanner-v0", game, side="player_1").learn(0).save(rival)
    with pytest.raises(RunFolderError, match="opponent_digest"):
        run(Job("MinimaxQ-v0", GAME, 16, opponent=str(rival)), tmp_path / "run")


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, replace = set(), Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))

    def replacing(path, target):
        if path.parent.name == "checkpoints":
            assert {one.stat().st_ino for one in (path, *path.iterdir())} <= synced
            assert (path.parents[1] / "audits.csv").stat().st_ino in synced
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replacing)
    run(DYING[0], tmp_path, DYING[1])
    assert (tmp_path / "checkpoints").stat().st_ino in synced


def test_other_files_beside_the_event_files_are_left_alone(tmp_path):
    options = TrainingOptions(n_eval_episodes=0, tensorboard=True, checkpoint_freq=8)

    def profiling(agent, steps):
        (tmp_path / "run/tensorboard/plugins").mkdir(exist_ok=True)

    run(DYING[0], tmp_path / "run", options, callback=profiling)
    assert (tmp_path / "run/tensorboard/plugins").is_dir()


# callbacks and tracking


def test_a_callback_that_returns_false_ends_the_run(tmp_path):
    done = run(Job("LSVIUCB-v0", "LinearMDP-v0", 60), tmp_path, callback=lambda agent, steps: steps < 17)
    assert done.steps == 17
    assert done.rows[-1]["steps"] == 17


@pytest.mark.parametrize("agent", ["LSVIUCB-v0", "PPO", "PPO by its own"])
def test_a_callback_that_ends_the_run_in_the_last_step_of_a_part_ends_it_there(agent, tmp_path):
    def once(agent, steps):
        return steps != 16

    class Once(BaseCallback):
        def _on_step(self):
            return self.num_timesteps != 16

    options = TrainingOptions(n_eval_episodes=0, checkpoint_freq=16)
    job = Job(agent, "LinearMDP-v0", 48) if agent == "LSVIUCB-v0" else small_ppo(48)
    done = run(job, tmp_path, options, callback=Once if agent == "PPO by its own" else once)
    assert done.steps == 16


def test_callbacks_of_stable_baselines3_are_made_anew_for_each_part(tmp_path, monkeypatch):
    module = "from stable_baselines3.common.callbacks import BaseCallback\nparts = []\n"
    module += "class Count(BaseCallback):\n    def _on_training_start(self):\n        parts.append(self)\n"
    module += "    def _on_step(self):\n        return True\n"
    (tmp_path / "counting_callback.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    options = ("--total-timesteps", "64", "--checkpoint-freq", "32", "--n-eval-episodes", "0")
    sizes = ("--hyperparameters", "n_steps=32", "batch_size=16")
    main(["train", *options, *sizes, "--callback", "counting_callback:Count"])
    parts = sys.modules.pop("counting_callback").parts
    assert len({id(one) for one in parts}) == 2


def test_tracking_hands_the_configuration_to_wandb(tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text("calls = []\ndef init(**arguments):\n    calls.append(arguments)\n")
    monkeypatch.syspath_prepend(tmp_path)
    options = ("--agent", "LSVIUCB-v0", "--env-id", "LinearMDP-v0", "--total-timesteps", "8", "--track")
    main(["train", *options, "--wandb-project-name", "mine", "--out", str(tmp_path / "run")])
    (call,) = sys.modules.pop("wandb").calls
    assert (call["project"], call["sync_tensorboard"], call["resume"]) == ("mine", True, "allow")
    assert call["config"]["job"]["total_timesteps"] == 8
    assert list((tmp_path / "run/tensorboard").iterdir())


# experience in files


@pytest.mark.parametrize("agent", ["DQN", "SAC", "KSampleLookahead-v0"])
def test_experience_is_in_the_file_only_if_asked_for(agent, tmp_path):
    job = hyper(agent)
    learner = make_job_agent(job, make_training_env(job)).learn(40)
    learner.save(tmp_path / "plain.zip")
    learner.save(tmp_path / "whole.zip", with_experience=True)
    assert "experience" not in read_archive(tmp_path / "plain.zip")
    assert (tmp_path / "plain.zip").stat().st_size < (tmp_path / "whole.zip").stat().st_size
    again = load_agent(tmp_path / "whole.zip", make_training_env(job))
    again.save(tmp_path / "again.zip", with_experience=True)
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "whole.zip").read_bytes()


@pytest.mark.parametrize("full", [False, True])
def test_only_the_filled_part_of_a_replay_buffer_is_written(full, tmp_path):
    job = hyper("DQN")
    learner = make_job_agent(job, make_training_env(job)).learn(100 if full else 40)
    learner.save(tmp_path / "a.zip", with_experience=True)
    replay = read_archive(tmp_path / "a.zip")["experience"]["replay"]
    assert {len(array) for array in replay["arrays"].values()} == {60 if full else 40}
    again = load_agent(tmp_path / "a.zip", make_training_env(job)).model.replay_buffer
    assert (again.pos, again.full) == ((40, True) if full else (40, False))
    assert np.array_equal(again.rewards, learner.model.replay_buffer.rewards)


@pytest.mark.parametrize("agent", ["DQN", "KSampleLookahead-v0"])
def test_experience_of_other_sizes_is_refused(agent, tmp_path):
    job = hyper(agent)
    learner = make_job_agent(job, make_training_env(job)).learn(40)
    learner.save(tmp_path / "a.zip", with_experience=True)
    with pytest.raises(AgentError, match="as many environments"):
        load_agent(tmp_path / "a.zip", make_training_env(hyper(agent, n_envs=2)))


def test_schedules_run_over_the_whole_length():
    job = hyper("DQN", 1000)
    agent = make_job_agent(job, make_training_env(job))
    agent.run_schedules_over(1000)
    agent.learn(50)
    share = agent.model.num_timesteps / 1000 / agent.model.exploration_fraction
    assert agent.model.exploration_rate == pytest.approx(1.0 - 0.95 * share)


# environments


class Restless(gym.Wrapper):
    """Shows what no seed decides."""

    def step(self, action):
        observation, *rest = self.env.step(action)
        return (observation + np.float32(os.urandom(1)[0]) / 1000, *rest)


def test_an_environment_that_does_not_repeat_itself_is_told_of():
    first = TrainingMonitor(Restless(gym.make("CartPole-v1")), seed=0, index=0)
    first.reset()
    for _ in range(4):
        first.step(0)
    second = TrainingMonitor(Restless(gym.make("CartPole-v1")), seed=0, index=0)
    second.resume(first.position(), continues=True)
    with pytest.raises(AgentError, match="does not repeat an episode"):
        second.reset()


def test_a_monitor_goes_on_in_the_middle_of_an_episode():
    one = TrainingMonitor(gym.make("CartPole-v1"), seed=3, index=1)
    one.reset()
    for _ in range(4):
        shown, *_ = one.step(1)
    other = TrainingMonitor(gym.make("CartPole-v1"), seed=3, index=1)
    other.resume(one.position(), continues=True)
    assert np.array_equal(other.reset(seed=99)[0], shown)
    for monitor in (one, other):
        over = False
        while not over:
            over = monitor.step(0)[2]
    assert one.recent == other.recent
    assert np.array_equal(one.reset()[0], other.reset()[0])


def test_environments_of_both_registries_are_made_by_their_ids():
    assert isinstance(open_env("CartPole-v1"), gym.Env)
    assert open_env("gymnasium:CartPole-v1").unwrapped.spec.id == "CartPole-v1"
    assert open_env(GAME).possible_agents == ["player_0", "player_1"]
    assert isinstance(make_training_env(Job("PPO", "classic/rps-v2", 10)), VersusOpponent)
    for name in ("CartPol-v1", "lookahead_rl/Socer-v0", "a/b", ""):
        with pytest.raises(ModelError):
            open_env(name)


def test_opponents_are_agents_by_id_or_from_files(tmp_path):
    game = open_env(GAME)
    make_agent("NashPlanner-v0", game, side="player_1").learn(0).save(tmp_path / "nash.zip")
    single = VersusOpponent(open_env(GAME), side="player_1", unavailable="first")
    make_agent("PPO", single, hyperparameters=SMALL).learn(32).save(tmp_path / "ppo.zip")
    values = []
    for opponent in ("NashPlanner-v0", str(tmp_path / "nash.zip"), str(tmp_path / "ppo.zip")):
        job = Job("DQN", GAME, 10, opponent=opponent)
        assert make_opponent(job, game) is not None
        values.append(float(make_truth_env(job).solution().value @ make_truth_env(job).model.rho))
    assert math.isclose(values[0], values[1])
    assert values[2] >= values[0] - 1e-9  # nobody holds player_0 below the value of the game
