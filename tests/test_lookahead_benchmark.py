"""Promises of the comparison's command: equal steps, stored runs, the same tables again, tuning with one budget."""

import itertools
import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecNormalize

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed
from benchmarks import _lookahead_rows as rows
from benchmarks import _lookahead_runs as runs
from benchmarks import lookahead, lookahead_tuning
from benchmarks._lookahead_report import Curves
from benchmarks._lookahead_runs import OURS, Setting, Task, plan_run
from benchmarks.lookahead import FIRST_SEED

sys.path.pop(0)

TINY = ["--only", "gym", "large", "--tasks", "CartPole-v1", "LargeActionMDP 10^2", "--algorithms", "PPO", OURS]
TINY += ["--steps", "300", "--seeds", "2", "--jobs", "1"]
CARTPOLE = Task("CartPole-v1", steps=400, every=200)
SMALL = Setting("for tests", {"n_steps": 32, "batch_size": 64, "n_epochs": 1}, n_envs=4)


def command(folder: Path, *arguments: str) -> None:
    lookahead.main([*TINY, "--rows", str(folder / "runs.jsonl"), "--output", str(folder), *arguments])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def scores(folder: Path) -> list[dict[str, object]]:
    found = json.loads((folder / "table.json").read_text())["scores"]
    return [row for row in found if row["measure"] != "seconds"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Label and seed of every run that is trained."""
    train, found = runs.train, []
    monkeypatch.setattr(runs, "train", lambda run: found.append((run.label, run.seed)) or train(run))
    return found


# the command


def test_a_killed_comparison_goes_on_and_a_finished_one_gives_the_same_tables(
    tmp_path: Path, trained: list[tuple[str, int]]
):
    command(tmp_path)
    assert (
        trained == [("PPO", FIRST_SEED), (OURS, FIRST_SEED)] * 2 + [("PPO", FIRST_SEED + 1), (OURS, FIRST_SEED + 1)] * 2
    )  # a seed of every task, then the next
    written = files(tmp_path)
    assert {"table.json", "table.md", "curves-gym.png", "curves-large.png", "steps-to-half.png"} <= set(written)
    before = scores(tmp_path)
    assert {(row["task"], row["algorithm"], row["seeds"]) for row in before} == set(
        itertools.product(("CartPole-v1", "LargeActionMDP 10^2"), ("PPO", OURS), (2,))
    )

    trained.clear()
    command(tmp_path)
    assert trained == []
    assert files(tmp_path) == written

    lines = (tmp_path / "runs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "runs.jsonl").write_text("".join(lines[:-1]))
    command(tmp_path, "--report")
    assert trained == []
    assert {row["seeds"] for row in scores(tmp_path)} == {1, 2}
    command(tmp_path)
    assert trained == [(OURS, FIRST_SEED + 1)]
    assert scores(tmp_path) == before


def test_a_report_of_one_run_tells_no_interval_and_trains_nothing(tmp_path: Path, trained: list[tuple[str, int]]):
    command(tmp_path, "--seeds", "1", "--tasks", "CartPole-v1")
    trained.clear()
    command(tmp_path, "--report")
    assert trained == []
    assert {(row["seeds"], row["low"]) for row in scores(tmp_path)} == {(1, None)}
    (row,) = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith(f"| {OURS} | 1 |")]
    assert "[" not in row


def test_no_run_begins_after_the_minutes_are_over(tmp_path: Path, trained: list[tuple[str, int]]):
    command(tmp_path, "--minutes", "0")
    assert trained == []


def test_a_row_of_another_configuration_is_not_used_and_can_be_dropped(
    tmp_path: Path, trained: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "runs.jsonl"
    whole = lookahead.planned(lookahead.parsed([]))[0]
    rows.append_row(path, {"key": whole.key})
    command(tmp_path, "--seeds", "1", "--tasks", "CartPole-v1", "--algorithms", "PPO")
    command(tmp_path, "--seeds", "1", "--tasks", "CartPole-v1", "--algorithms", "PPO", "--steps", "200")
    assert trained == [("PPO", FIRST_SEED)] * 2
    assert len(rows.read_rows(path)) == 3
    lookahead.main(["--prune", "--rows", str(path)])
    assert rows.read_rows(path) == {whole.key: {"key": whole.key}}
    assert "1 rows are left" in capsys.readouterr().out


def test_rows_of_other_code_of_ours_are_told_and_renewed(
    tmp_path: Path, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
):
    one = ("--seeds", "1", "--tasks", "CartPole-v1")
    command(tmp_path, *one)
    assert "other code" not in (tmp_path / "table.md").read_text()
    for module in (runs, lookahead, sys.modules["benchmarks._lookahead_report"]):
        monkeypatch.setattr(module, "our_code", lambda: "changed")
    trained.clear()
    command(tmp_path, *one)
    assert trained == []
    assert "1 of 1 runs of KSampleLookahead were made by other code" in (tmp_path / "table.md").read_text()
    command(tmp_path, *one, "--renew")
    assert trained == [(OURS, FIRST_SEED)]
    assert "other code" not in (tmp_path / "table.md").read_text()


def test_the_digest_of_our_code_sees_statements_alone():
    source = '"""Of a module."""\n\ndef f(x):\n    """Of a function."""\n    return x + 1  # why\n'
    same, other = "def f(x):\n    return x + 1", "def f(x):\n    return x + 2"
    assert rows._statements(source) == rows._statements(same) != rows._statements(other)


def test_processes_that_append_at_once_lose_and_mix_nothing(tmp_path: Path):
    path, filler = tmp_path / "runs.jsonl", "x" * 20_000
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.starmap(rows.append_row, [(path, {"key": str(i), "filler": filler}) for i in range(400)], chunksize=1)
    assert rows.read_rows(path) == {str(i): {"key": str(i), "filler": filler} for i in range(400)}


def test_a_torn_line_is_named(tmp_path: Path):
    path = tmp_path / "runs.jsonl"
    rows.append_row(path, {"key": "a"})
    path.write_text(path.read_text() + '{"key": ')
    with pytest.raises(ValueError, match=r"line 2 of .*runs\.jsonl is not JSON"):
        rows.read_rows(path)


@pytest.mark.slow  # every process loads torch
def test_runs_in_other_processes_give_the_same_scores(tmp_path: Path):
    planned = [plan_run("CartPole-v1", CARTPOLE, "PPO", SMALL, seed) for seed in (0, 1)]
    found = []
    for jobs in (1, 2):
        path = tmp_path / f"{jobs}.jsonl"
        lookahead.train_missing(planned, path, jobs, float("inf"), renew=False)
        found.append({key: row["checkpoints"]["score"] for key, row in rows.read_rows(path).items()})
    assert found[0] == found[1]
    assert set(found[0]) == {run.key for run in planned}


def test_runs_that_differ_in_anything_are_stored_apart():
    base = plan_run("CartPole-v1", CARTPOLE, "PPO", SMALL, 0)
    others = [
        plan_run("CartPole-v1", CARTPOLE, "PPO", SMALL, 1),
        plan_run("CartPole-v1", replace(CARTPOLE, steps=800), "PPO", SMALL, 0),
        plan_run("CartPole-v1", CARTPOLE, "PPO", replace(SMALL, normalize=True), 0),
        plan_run("CartPole-v1", CARTPOLE, "PPO", replace(SMALL, hyperparameters={"n_steps": 64}), 0),
    ]
    assert len({run.key for run in (base, *others)}) == 5
    assert base.key == plan_run("CartPole-v1", CARTPOLE, "PPO", replace(SMALL, source="another"), 0).key
    assert base.key == plan_run("another name", CARTPOLE, "PPO", SMALL, 0, group="gym", label="variant").key


# runs


def test_every_algorithm_is_measured_at_the_same_steps():
    settings = {
        "PPO": SMALL,
        "A2C": Setting("for tests", n_envs=4),
        "DQN": Setting("for tests", {"learning_starts": 50}),
        OURS: Setting("for tests", {"n_steps": 37, "advantage_epochs": 1}, n_envs=4),
    }
    for algorithm, setting in settings.items():
        measured = runs.train(plan_run("CartPole-v1", CARTPOLE, algorithm, setting, 0))
        assert [point["steps"] for point in measured] == [200, 400], algorithm


def test_the_score_of_a_planted_task_is_zero_for_uniform_play_and_one_for_the_optimum():
    task = lookahead.LARGE["LargeActionMDP 10^6"]
    run = plan_run("large", task, "PPO", Setting("for tests", {"n_steps": 32, "batch_size": 64}, n_envs=2), 3)
    agent = runs.build(run)
    model = runs.gym.make(run.env_id, **run.options).unwrapped.model
    assert run.options["mdp_seed"] == 3
    measured = runs.MEASURES["planted"](run)(agent)
    assert abs(measured["sampled"]) < 0.02  # an untrained network plays almost uniformly

    class Planted:
        def predict(self, observations, state=None, episode_start=None, deterministic=False):
            return model.target[observations[:, : model.n_states].argmax(axis=1)], None

    assert runs.MEASURES["planted"](run)(Planted()) == pytest.approx({"score": 1.0, "sampled": 1.0}, abs=1e-12)


def test_evaluation_shows_a_policy_what_training_showed_it():
    """Normalised observations: the same mean return as stable-baselines3's own evaluation of the same episodes."""
    run = plan_run("Pendulum-v1", Task("Pendulum-v1", 64, 64), "PPO", replace(SMALL, normalize=True), 0)
    agent = runs.build(run).learn(256)
    lanes = runs.gym.make_vec("Pendulum-v1", num_envs=3, vectorization_mode="sync")
    normalizer = agent.model.get_vec_normalize_env()
    assert isinstance(normalizer, VecNormalize)
    returns = []
    for lane in range(3):
        env = runs.gym.make("Pendulum-v1")
        observation, _ = env.reset(seed=runs.EVALUATION_SEED + lane)
        total, over = 0.0, False
        while not over:
            action, _ = agent.predict(normalizer.normalize_obs(observation[None]), deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action[0])
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    assert runs.mean_return(agent, lanes) == pytest.approx(np.mean(returns), rel=1e-4)


@pytest.mark.parametrize("task", ["Taxi-v4", "FrozenLake-v1 8x8"])
def test_audits_of_ours_on_tables_are_the_backward_recursion_with_what_it_predicts(task: str):
    """The expected return of an episode with its time limit, by a recursion over Gymnasium's own table."""
    run = plan_run(task, lookahead.TASKS[task], OURS, lookahead.settings()[task][OURS], 0)
    agent = runs.build(run).learn(256)
    env = runs.gym.make(run.env_id, **run.options)
    table, starts = env.unwrapped.P, env.unwrapped.initial_state_distrib
    laws = {True: np.eye(env.action_space.n)[[int(agent.predict(s, deterministic=True)[0]) for s in table]]}
    laws[False] = np.concatenate([agent.action_probabilities(np.array([s])) for s in table])
    assert np.ptp(laws[False], axis=0).max() > 0.01  # states look different to its networks
    assert (laws[False].argmax(axis=1) == laws[True].argmax(axis=1)).all()
    for deterministic, law in laws.items():
        values = np.zeros(len(table))
        for _ in range(env.spec.max_episode_steps):
            q = [
                [sum(p * (r + (not end) * values[s]) for p, s, r, end in table[i][a]) for a in table[i]] for i in table
            ]
            values = (law * np.array(q)).sum(axis=1)
        found = runs.audit(agent, env, deterministic=deterministic, horizon=env.spec.max_episode_steps)
        assert found.value == pytest.approx(starts @ values, rel=1e-6)


def test_no_algorithm_is_told_which_actions_are_useless():
    run = plan_run("Taxi-v4", lookahead.TASKS["Taxi-v4"], OURS, lookahead.settings()["Taxi-v4"][OURS], 0)
    assert "action_mask" in runs.gym.make("Taxi-v4").reset(seed=0)[1]
    lanes = runs.build(run).model.get_env()
    lanes.reset()
    infos = [*lanes.reset_infos, *lanes.step(np.zeros(lanes.num_envs, dtype=np.int64))[3]]
    assert all("prob" in info and "action_mask" not in info for info in infos)


def test_normalised_observations_are_refused_where_audits_show_plain_ones():
    task = lookahead.LARGE["LargeActionMDP 10^2"]
    with pytest.raises(ValueError, match="norm_obs"):
        plan_run("large", task, "PPO", replace(SMALL, normalize=True), 0)
    plan_run("large", task, "PPO", replace(SMALL, normalize={"norm_obs": False}), 0)


# hyperparameters


def test_every_task_has_a_sourced_setting_of_ours_and_of_ppo_that_the_algorithm_accepts():
    known = lookahead.settings()
    for name, task in lookahead.TASKS.items():
        assert {"PPO", OURS} <= set(known[task.entry or name])
        for algorithm, setting in known[task.entry or name].items():
            assert setting.source
            if task.env_id != "LunarLander-v3":  # needs Box2D
                runs.build(plan_run(name, task, algorithm, setting, 0))


def test_every_ablation_is_a_setting_the_algorithm_accepts():
    asked = lookahead.parsed(["--only", "ablations"])
    ablated = lookahead.ablated(asked, 0)
    assert len({run.key for run in ablated}) == len(lookahead.ABLATIONS)  # each changes something
    for run in ablated:
        runs.build(run)


def test_settings_are_written_as_they_were_read():
    text = (lookahead.DATA / "hyperparameters.json").read_text()
    assert lookahead.settings_text(json.loads(text)) == text


# tuning


def test_tuning_draws_the_same_trials_again_and_begins_with_the_defaults():
    for task, algorithm in itertools.product(("LargeActionMDP 10^2", "Taxi-v4"), lookahead_tuning.RANGES):
        trials = [lookahead_tuning.drawn(task, algorithm, i) for i in range(8)]
        assert trials == [lookahead_tuning.drawn(task, algorithm, i) for i in range(8)]
        assert trials[0] == ({}, False)
        assert len({json.dumps(trial) for trial in trials}) == 8


def test_linear_networks_and_falling_rates_are_drawn_for_every_algorithm_and_accepted():
    for algorithm in lookahead_tuning.RANGES:
        trials = [lookahead_tuning.Trial("Taxi-v4", algorithm, i, 0) for i in range(1, 8)]
        settings = [trial.setting() for trial in trials]
        linear = [one for one in settings if one.hyperparameters["policy_kwargs"]["net_arch"] == []]
        assert linear
        assert any(str(one.hyperparameters["learning_rate"]).startswith("lin_") for one in settings)
        for setting in linear:
            runs.build(plan_run("Taxi-v4", lookahead.TASKS["Taxi-v4"], algorithm, setting, 1000))


def test_trials_of_large_tasks_are_accepted():
    for algorithm in lookahead_tuning.RANGES:
        setting = lookahead_tuning.Trial("LargeActionMDP 10^2", algorithm, 1, 0).setting()
        runs.build(plan_run("large", lookahead.LARGE["LargeActionMDP 10^2"], algorithm, setting, 1000))


def test_trials_drawn_from_other_ranges_are_not_taken_for_todays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookahead_tuning, "SEARCH", tmp_path / "search.jsonl")
    trial = lookahead_tuning.Trial("Taxi-v4", "PPO", 1, 0)
    hyperparameters, normalize = trial.drawn
    row = {**vars(trial), "hyperparameters": hyperparameters, "normalize": normalize, "score": 1.0}
    rows.append_row(lookahead_tuning.SEARCH, row | {"hyperparameters": hyperparameters | {"gamma": 0.5}})
    assert not lookahead_tuning.recorded()
    rows.append_row(lookahead_tuning.SEARCH, row)
    assert list(lookahead_tuning.recorded()) == [trial]


def test_tuning_never_sees_an_instance_of_the_comparison():
    seeds = {lookahead_tuning.FIRST_INSTANCE + rung for rung in range(len(lookahead_tuning.RUNGS))}
    assert not seeds & {run.seed for run in lookahead.planned(lookahead.parsed(["--only", "large"]))}


def test_tuning_gives_every_algorithm_one_budget_keeps_the_best_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lookahead_tuning, "SEARCH", tmp_path / "search.jsonl")

    def row(trial: lookahead_tuning.Trial) -> dict[str, object]:
        hyperparameters, normalize = trial.drawn
        found = {"hyperparameters": hyperparameters, "normalize": normalize, "seconds": 0.0}
        return {**vars(trial), "steps": trial.steps, "score": -abs(trial.number - 5.1), **found}

    monkeypatch.setattr(lookahead_tuning.Trial, "score", row)
    tried = {}
    for algorithm in ("PPO", OURS):
        for trial in itertools.islice(lookahead_tuning.search("Taxi-v4", algorithm), 3):
            lookahead_tuning.record(trial.score())
        rest = []
        for trial in lookahead_tuning.search("Taxi-v4", algorithm):
            rest.append(trial)
            lookahead_tuning.record(trial.score())
        tried[algorithm] = [(trial.number, trial.steps) for trial in rest]
    first, last = (steps for _, steps in lookahead_tuning.RUNGS)
    assert tried["PPO"] == [*((i, first) for i in range(3, 8)), (5, last), (6, last)]
    assert tried[OURS] == tried["PPO"]


# statistics of runs


def test_steps_to_a_score_are_linear_between_checkpoints_and_infinite_where_it_is_never_reached():
    measured = {"score": np.array([[0.1, 0.3, 0.7], [0.6, 0.2, 0.9], [0.0, 0.1, 0.2]])}
    curves = Curves("large", "task", "PPO", True, np.array([100, 200, 300]), measured)
    assert curves.steps_to(0.5).tolist() == [250.0, 100.0, np.inf]
