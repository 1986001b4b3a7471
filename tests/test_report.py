"""The report: one page that needs nothing else, and says what it was given; and the commands that write such pages."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest

from lookahead_rl.agents import make_agent
from lookahead_rl.evaluation import audit
from lookahead_rl.evaluation.optima import METHODS, find_optimum, model_of
from lookahead_rl.evaluation.plots import (
    Curve,
    QueryCurve,
    bars,
    convergence,
    draw,
    episode_curves,
    learning_curves,
    query_curves,
    value_map,
)
from lookahead_rl.evaluation.report import Figure, Section, format_cell, write_page
from lookahead_rl.experiments.gathered import gather_tasks, is_of_a_run
from lookahead_rl.experiments.sources import read_source, summarised
from lookahead_rl.experiments.store import open_store
from lookahead_rl.models import (
    ConstrainedLinearMDP,
    FiniteHorizonMDP,
    LargeActionMDP,
    LinearMarkovGame,
    LinearMDP,
    MarkovGame,
    ModelError,
    TabularMDP,
    matching_pennies,
    save_model,
    two_state_mdp,
)
from lookahead_rl.scripts.cli import main

COMMAND = Path(sys.executable).with_name("lookahead-rl")
ROWS = [{"agent": "<b>PPO</b>", "value": 0.123456789, "steps": 20480}, {"agent": "DQN", "value": None, "steps": 7}]
RUNS = [
    {
        "agent": agent,
        "env_id": "RandomMDP-v0",
        "env_kwargs": "{}",
        "agent_kwargs": "{}",
        "seed": seed,
        "steps": steps,
        "value": base + steps / 1000 + seed / 10,
        "optimal_value": 4.0,
        "uniform_value": 0.0,
        "score": (base + steps / 1000 + seed / 10) / 4.0,
    }
    for agent, base in (("PPO", 0.0), ("DQN", 1.0))
    for seed in (0, 1)
    for steps in (0, 500, 1000)
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    curve = Curve([0, 1000, 2000], [0.1, 0.4, 0.5])
    figures = [
        Figure(learning_curves({"PPO": curve}, optimal=1.0, uniform=0.0), "a curve"),
        Figure(value_map(np.array([[0.1, 0.9]]), [["a", "b"]]), "a map"),
        Figure(bars({"uniform": 2.0, "Nash": 0.0}, "exploitability"), "bars"),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, "A <title>", "lead & more", [Section("Part", ["text < text"], ROWS, figures)])
    return path.read_text(encoding="utf-8")


def test_the_page_is_self_contained(page):
    linked = re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']+)""", page)
    assert linked == []
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#", "", page)


def test_the_policy_of_the_page_lets_nothing_run_but_its_own_script(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert len(script.splitlines()) < 300


def test_configuration_command_line_and_versions_stand_in_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/lookahead-rl", "compare", "--out", "a b"])
    sections = [Section("Part", ["text"], ROWS, configuration={"lr": 0.001, "where": Path("x")})]
    write_page(tmp_path / "p.html", "T", "lead", sections, configuration={"note": "<&>", "seeds": [0, 1]})
    page = (tmp_path / "p.html").read_text()
    assert "lookahead-rl compare --out &#x27;a b&#x27;" in page
    assert "/somewhere" not in page
    assert "&quot;lr&quot;: 0.001" in page
    assert "&quot;note&quot;: &quot;&lt;&amp;&gt;&quot;" in page
    assert re.search(r"numpy \d", page)


def test_cells_keep_the_exact_number_beside_the_short_one(page):
    assert '<td class="number" data-value="0.123456789">0.12346</td>' in page
    assert '<td class="number" data-value="20480">20,480</td>' in page
    assert '<td class="number"></td>' in page


def test_rows_need_not_have_the_same_columns(tmp_path):
    write_page(tmp_path / "p.html", "T", "lead", [Section("Part", [], [{"a": 1}, {"b": True, "a": None}])])
    page = (tmp_path / "p.html").read_text()
    assert '<th scope="row" class="number">1</th><td></td>' in page
    assert '<th scope="row" class="number"></th><td>yes</td>' in page


def test_text_is_escaped(page):
    assert "<b>PPO" not in page
    assert "&lt;b&gt;PPO&lt;/b&gt;" in page
    assert "A &lt;title&gt;" in page


def test_every_figure_is_well_formed_and_has_a_text_alternative(page):
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        root = ET.fromstring(figure)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]


def test_tags_are_balanced(page):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "link"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    assert parser.open == []


def test_the_same_data_give_the_same_picture():
    assert bars({"a": 1.0}, "x") == bars({"a": 1.0}, "x")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8235294117, "0.82353"),
        (1.5e-9, "1.5e-09"),
        (0.0, "0"),
        (20480, "20,480"),
        (None, ""),
        ("x", "x"),
        (True, "yes"),
    ],
)
def test_numbers_read_well(value, text):
    assert format_cell(value) == text


# what a plot says where one points


def titles(svg):
    return [one.text for one in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]


def test_every_marker_tells_name_place_and_value():
    said = titles(learning_curves({"PPO": Curve([0, 1500], [0.125, 1 / 3])}, optimal=1.0, uniform=0.0))
    expected = "environment steps: {}\nexact value of the policy: {}"
    assert said == ["PPO\n" + expected.format("0", "0.125"), "PPO\n" + expected.format("1,500", "0.33333333")]


def test_a_mean_tells_its_band_and_points_outside_the_axes_are_left_out():
    queries = np.array([[1.0, 10.0], [1.0, 10.0]])
    said = titles(query_curves({"UCT": QueryCurve(queries, np.array([[0.0, 1.0], [0.5, 1.0]]))}, 1.0, 0.0))
    assert said[0].endswith("exact value of the policy: 0.25\nfrom 0 to 0.5")
    assert said[1].endswith("exact value of the policy: 1")

    def paint(axes):
        axes.plot([0, 1, 2], [0, 1, 2], label="a")
        axes.set_xlim(-0.5, 1.5)

    assert len(titles(draw(paint))) == 2


def test_long_lines_are_told_at_some_points_and_lines_without_a_name_at_none():
    said = titles(episode_curves({"a": np.cumsum(np.ones((1, 5000)), axis=1)}, "regret"))
    assert said[0] == "a\nepisodes: 1\nregret: 1"
    assert said[-1] == "a\nepisodes: 5,000\nregret: 5,000"
    assert len(said) <= 80
    assert titles(draw(lambda axes: axes.plot([0, 1], [0, 1]))) == []


def test_error_bars_scattered_points_and_grouped_bars_tell_their_numbers():
    def paint(axes):
        axes.errorbar([1.0], [0.5], yerr=[[0.25], [0.125]], label="e", capsize=3)
        axes.scatter([2.0], [0.25], label="s")

    assert titles(draw(paint)) == ["e\nx: 1\ny: 0.5\nfrom 0.25 to 0.625", "s\nx: 2\ny: 0.25"]

    def grouped(axes):
        axes.bar([0.0, 1.0], [2.0, 3.0], width=0.4, label="DQN")
        axes.set_xticks([0.0, 1.0], ["Chain", "Lake"])

    assert titles(draw(grouped)) == ["Chain, DQN\nvalue: 2", "Lake, DQN\nvalue: 3"]


def test_bars_and_cells_tell_their_numbers_and_missing_cells_nothing():
    assert titles(bars({"uniform": 2.0, "Nash <": 0.0}, "gap")) == ["uniform\ngap: 2", "Nash <\ngap: 0"]
    assert titles(value_map(np.array([[0.5, np.nan]]), [["a", "b"]])) == ["row 1, column 1\n0.5"]


def test_curve_band_and_legend_entry_carry_the_same_mark():
    values = np.array([[0.0, 1.0], [0.5, 1.0]])
    curves = {name: QueryCurve(np.array([[1.0, 10.0]] * 2), values) for name in ("a", "b")}
    svg = query_curves(curves, 1.0, 0.0)
    for number in "01":
        assert svg.count(f'<g class="series" data-series="{number}">') == 2
        assert svg.count(f'<g class="key" data-series="{number}">') == 2
    assert 'id="figure' not in svg  # would not be unique on a page of several


def test_what_a_solver_brings_to_zero_is_drawn_without_its_zeros():
    assert len(titles(convergence(np.array([1.0, 0.1, 0.0])))) == 2


# what commands have left


def a_store(folder, rows=RUNS):
    with open_store(folder) as store:
        for seed in (0, 1):
            own = [row for row in rows if row["seed"] == seed]
            store.append(f"key{seed}", json.dumps({"seed": seed, "gamma": 0.9}), own, 1.5)
    return folder


def test_a_store_is_read_back_with_times_and_configuration(tmp_path):
    source = read_source(a_store(tmp_path / "store"))
    assert sorted(map(str, source.rows)) == sorted(str({**row, "seconds": 1.5}) for row in source.rows)
    assert [row["value"] for row in source.rows if row["agent"] == "DQN" and row["seed"] == 1] == [1.1, 1.6, 2.1]
    assert source.configuration["shared"] == {"gamma": 0.9}
    assert source.configuration["varied"] == {"seed": [0, 1]}
    assert source.failed == 0


def test_the_store_of_a_comparison_is_found_in_its_folder(tmp_path):
    a_store(tmp_path / "comparison" / "runs")
    assert len(read_source(tmp_path / "comparison").rows) == len(RUNS)


def a_training_run(folder, audits=""):
    folder.mkdir()
    job = {"agent": "PPO", "env_id": "RandomMDP-v0", "seed": 3, "env_kwargs": {"mdp_seed": 1}, "agent_kwargs": {}}
    config = {"format": "lookahead-rl training run", "version": 1, "configuration": {"job": job}, "versions": {}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "audits.csv").write_text(f"steps,value,optimal_value,violation\n{audits}")
    np.savez(folder / "evaluations.npz", timesteps=[0, 64], results=[[1.0, 2.0], [3.0, 5.0]])
    return folder


def test_exact_values_of_a_training_run_are_read_back(tmp_path):
    source = read_source(a_training_run(tmp_path / "run", "0,1.5,2.0,\n64,-1e-9,2.0,\n"))
    place = {"agent": "PPO", "env_id": "RandomMDP-v0", "seed": 3, "env_kwargs": '{"mdp_seed": 1}', "agent_kwargs": "{}"}
    values = [{"steps": 0, "value": 1.5}, {"steps": 64, "value": -1e-9}]
    assert source.rows == [{**place, **row, "optimal_value": 2.0, "violation": None} for row in values]


def test_a_training_run_without_a_model_is_told_by_its_episodes(tmp_path):
    rows = read_source(a_training_run(tmp_path / "run")).rows
    assert [(row["steps"], row["value"], row["kind"]) for row in rows] == [
        (0, 1.5, "estimated"),
        (64, 4.0, "estimated"),
    ]


@pytest.mark.slow
def test_what_train_leaves_is_read_back(tmp_path, capsys):
    command = ["train", "--agent", "A2C", "--env-id", "RandomMDP-v0", "--total-timesteps", "60", "--seed", "3"]
    main([*command, "--out", str(tmp_path / "run")])
    source = read_source(tmp_path / "run")
    assert {(row["agent"], row["env_id"], row["seed"]) for row in source.rows} == {("A2C", "RandomMDP-v0", 3)}
    assert source.rows[-1]["steps"] == 60
    assert 0 < source.rows[-1]["value"] < source.rows[-1]["optimal_value"]
    assert source.configuration["versions"]


def test_configurations_of_many_jobs_become_one():
    jobs = [{"a": 1, "b": {"c": i % 3}, "seed": i} for i in range(100)]
    assert summarised(jobs) == {
        "shared": {"a": 1},
        "varied": {"b": [{"c": 0}, {"c": 1}, {"c": 2}], "seed": "100 different values"},
    }


def test_curves_are_means_over_the_runs_with_their_spread():
    (task,) = gather_tasks([{**row, "source": "s"} for row in RUNS])
    assert (task.name, task.along, task.optimal, task.uniform) == ("RandomMDP-v0", "steps", 4.0, 0.0)
    curve = task.curves["DQN"]
    assert list(curve.at) == [0, 500, 1000]
    assert list(curve.middle) == pytest.approx([1.05, 1.55, 2.05])
    assert list(curve.low) == pytest.approx([1.0, 1.5, 2.0])
    assert list(curve.high) == pytest.approx([1.1, 1.6, 2.1])
    assert [row["steps"] for row in task.last] == [1000] * 4
    summary = {row["agent"]: row for row in task.summary()}
    assert summary["PPO"]["value"] == pytest.approx(1.05)
    assert summary["PPO"]["largest"] == pytest.approx(1.1 / 4)


def test_a_curve_shows_only_places_that_all_of_its_runs_share():
    rows = [row for row in RUNS if not (row["seed"] == 1 and row["steps"] == 500)]
    (task,) = gather_tasks([{**row, "source": "s"} for row in rows])
    assert list(task.curves["PPO"].at) == [0, 1000]


def test_runs_that_differ_in_their_arguments_are_told_apart():
    other = [{**row, "agent_kwargs": '{"gamma": 0.9, "n": 2}', "source": "s"} for row in RUNS]
    one = [{**row, "agent_kwargs": '{"gamma": 0.5, "n": 2}', "source": "s"} for row in RUNS]
    (task,) = gather_tasks(one + other)
    assert sorted(task.curves) == ["DQN gamma=0.5", "DQN gamma=0.9", "PPO gamma=0.5", "PPO gamma=0.9"]
    worlds = [{**row, "env_kwargs": f"mdp_seed={i}", "source": "s"} for i in (0, 1) for row in RUNS]
    assert [task.name for task in gather_tasks(worlds)] == ["RandomMDP-v0 mdp_seed=0", "RandomMDP-v0 mdp_seed=1"]


def test_the_same_seed_in_two_sources_is_two_runs():
    (task,) = gather_tasks([{**row, "source": source} for source in "ab" for row in RUNS])
    assert len(task.last) == 8
    assert {row["source"] for row in task.table()} == {"a", "b"}


def test_optima_that_disagree_are_not_drawn():
    rows = [{**row, "optimal_value": 4.0 + row["seed"], "source": "s"} for row in RUNS]
    assert gather_tasks(rows)[0].optimal is None


def test_rows_of_other_things_are_no_runs():
    assert is_of_a_run(RUNS[0])
    assert not is_of_a_run({"claim": "a", "value": 1.0})
    assert not is_of_a_run({**RUNS[0], "value": None})


def test_the_report_command_draws_all_sources_together(tmp_path):
    a_store(tmp_path / "store")
    (tmp_path / "claims.json").write_text(json.dumps([{"claim": "A < B", "verdict": "holds", "evidence": [1, 2]}]))
    arguments = ["report", "store", "claims.json", "--out", "r.html", "--title", "What <we> found", "--json", "r.json"]
    done = subprocess.run([COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Wrote r.html, r.json." in done.stdout
    page = (tmp_path / "r.html").read_text()
    assert "What &lt;we&gt; found" in page
    assert "A &lt; B" in page
    assert "4 runs in 1 environment, read from store, claims.json." in page
    assert page.count("<figure>") == 2
    assert "environment steps: 500" in page
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [row["steps"] for row in rows] == [1000] * 4


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("lookahead-rl: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.json", "[]", "not a single row"),
        ("x.json", '{"a": 1}', "no list of rows"),
        ("x.json", '[{"a": 1}, 2]', "row 1 is 2"),
        ("x.json", '[{"a": ', "no JSON, or damaged"),
        ("x.json", "\u0000", "no JSON, or damaged"),
        ("folder/other.txt", "", "neither store.json"),
        ("folder/store.json", '{"format": "lookahead-rl results", "version": 99}', "version 99"),
        ("folder/config.json", '{"format": "lookahead-rl training run", "version": 99}', "version 99"),
        ("folder/config.json", '{"format": "other"}', "not that of a training run"),
        ("folder/config.json", "[]", "no mapping"),
        ("folder/config.json", '{"format": "lookahead-rl training run", "version": 1}', "what was trained"),
    ],
)
def test_sources_without_results_are_refused_with_why(tmp_path, capsys, name, text, why):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    source = path if path.suffix == ".json" and path.parent == tmp_path else path.parent
    assert why in refusal(capsys, "report", source, "--out", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_report_names_what_is_missing(tmp_path, capsys):
    assert "at least one source" in refusal(capsys, "report")
    assert "nowhere" in refusal(capsys, "report", tmp_path / "nowhere", "--out", tmp_path / "r.html")
    assert "missing" in refusal(capsys, "report", tmp_path, "--out", tmp_path / "missing" / "r.html")


def test_a_damaged_table_of_a_training_run_is_named(tmp_path, capsys):
    config = {"format": "lookahead-rl training run", "version": 1, "configuration": {"job": {"agent": "a"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "not a single row" in refusal(capsys, "report", tmp_path, "--out", tmp_path / "r.html")
    (tmp_path / "audits.csv").write_text("steps,value\n0,x\n")
    assert "'x' is no number" in refusal(capsys, "report", tmp_path, "--out", tmp_path / "r.html")


def test_damaged_evaluations_are_named(tmp_path, capsys):
    run = a_training_run(tmp_path / "run")
    for damage in (b"", (run / "evaluations.npz").read_bytes()[:100]):
        (run / "evaluations.npz").write_bytes(damage)
        assert "evaluations.npz is damaged" in refusal(capsys, "report", run, "--out", tmp_path / "r.html")


def test_values_that_are_not_finite_and_arguments_that_are_no_json_do_not_stop_a_report(tmp_path, capsys):
    rows = [{**row, "env_kwargs": "{n", "score": None, "value": float("nan") if row["steps"] else -1.0} for row in RUNS]
    rows.append({**RUNS[0], "env_kwargs": "{n", "agent": "A", "value": float("inf"), "score": None})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    main(["report", str(tmp_path / "rows.json"), "--out", str(tmp_path / "r.html")])
    assert "5 runs in 1 environment" in (tmp_path / "r.html").read_text()


# the exact optimum


@pytest.mark.parametrize(
    "env_id",
    ["RandomMDP-v0", "LinearMDP-v0", "ConstrainedLinearMDP-v0", "LargeActionMDP-v0", "DeepSea-v0", "FrozenLake-v1"],
)
def test_the_optimum_is_that_of_an_audit_and_lies_within_its_bounds(env_id):
    env = gym.make(env_id)
    optimum = find_optimum(model_of(env))
    if env_id != "ConstrainedLinearMDP-v0":
        assert optimum.value == pytest.approx(audit(make_agent("Random-v0", env), env).optimal_value, rel=1e-8)
    if env.spec.reward_threshold is not None and env_id != "FrozenLake-v1":
        assert optimum.value == pytest.approx(env.spec.reward_threshold, rel=1e-9)
    assert optimum.low <= optimum.value <= optimum.high
    assert optimum.gap < 1e-6


@pytest.mark.parametrize("env_id", ["lookahead_rl/RandomMarkovGame-v0", "lookahead_rl/LinearMarkovGame-v0"])
def test_the_optimum_of_a_game_is_its_nash_value(env_id):
    optimum = find_optimum(model_of(pettingzoo.make("parallel", env_id)))
    assert optimum.low <= optimum.value <= optimum.high
    assert optimum.gap < 1e-6
    assert optimum.row()["agent"] == "Nash pair"


def test_matching_pennies_is_worth_nothing_to_either_player():
    optimum = find_optimum(matching_pennies())
    assert optimum.value == pytest.approx(0.0, abs=1e-12)
    assert optimum.low <= 0.0 <= optimum.high


ENVS = {
    TabularMDP: "RandomMDP-v0",
    FiniteHorizonMDP: "DeepSea-v0",
    LinearMDP: "LinearMDP-v0",
    LargeActionMDP: "LargeActionMDP-v0",
    ConstrainedLinearMDP: "ConstrainedLinearMDP-v0",
    LinearMarkovGame: "lookahead_rl/LinearMarkovGame-v0",
    MarkovGame: "lookahead_rl/RandomMarkovGame-v0",
}


@pytest.mark.parametrize("kind", list(ENVS), ids=lambda kind: kind.__name__)
def test_every_method_finds_the_same_optimum_or_says_that_it_does_not(kind):
    env_id = ENVS[kind]
    model = model_of(pettingzoo.make("parallel", env_id) if "/" in env_id else gym.make(env_id))
    assert isinstance(model, kind)
    truth = find_optimum(model)
    for method in METHODS[kind]:
        found = find_optimum(model, method=method)
        assert found.method == method
        assert max(found.low, truth.low) <= min(found.high, truth.high)  # both enclosures are true
        if found.solved == "converged":
            assert found.value == pytest.approx(truth.value, abs=2e-7)


def test_the_least_likely_starts_are_left_out_of_a_long_table():
    model = FiniteHorizonMDP(np.full((3, 1, 3), 1 / 3), np.zeros((3, 1)), 2, np.array([0.2, 0.3, 0.5]))
    rows = find_optimum(model).state_rows(2)
    assert [(row["state"], row["initial probability"]) for row in rows] == [(1, 0.3), (2, 0.5)]


def test_solve_prints_and_writes_the_certified_optimum(tmp_path):
    arguments = ["solve", "--env-kwargs", "n_states=30", "mdp_seed=3", "--json", "s.json"]
    done = subprocess.run([COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "s.json").read_text())
    env = gym.make("RandomMDP-v0", n_states=30, mdp_seed=3)
    truth = audit(make_agent("Random-v0", env), env)
    assert row["value"] == pytest.approx(truth.optimal_value, abs=1e-7)
    assert row["low"] <= truth.optimal_value <= row["high"]
    assert row["env_kwargs"] == '{"mdp_seed": 3, "n_states": 30}'
    assert {"env_id", "optimal_value", "gap", "status", "iterations", "seconds", "method", "tol"} <= row.keys()
    assert "certified to" in done.stdout
    main([*arguments[:4], "--out", str(tmp_path / "s.html")])
    page = (tmp_path / "s.html").read_text()
    assert "State by state" in page
    assert len(re.findall(r'<th scope="row" class="number">\d+</th>', page)) == 30


def test_a_method_that_fails_is_told_by_its_bounds_not_by_a_number(capsys):
    main(["solve", "--env-id", "lookahead_rl/VanDerWal-v0", "--method", "naive"])
    told = " ".join(capsys.readouterr().out.split())
    assert "the Nash pair is worth between 4 and 10. Cycles:" in told  # V* = 8


def test_solve_reads_model_files(tmp_path, capsys):
    save_model(two_state_mdp(), tmp_path / "m.npz")
    main(["solve", "--model", str(tmp_path / "m.npz"), "--json", str(tmp_path / "m.json")])
    (row,) = json.loads((tmp_path / "m.json").read_text())
    assert row["env_id"] == "m.npz"
    assert row["value"] == pytest.approx(find_optimum(two_state_mdp()).value)
    main(["solve", "--model", str(tmp_path / "m.npz"), "--gamma", "0", "--json", str(tmp_path / "m.json")])
    (row,) = json.loads((tmp_path / "m.json").read_text())
    assert row["value"] == pytest.approx(float(two_state_mdp().rho @ two_state_mdp().r.max(axis=1)))
    save_model(FiniteHorizonMDP(np.ones((1, 1, 1)), np.ones((1, 1)), 2, np.ones(1)), tmp_path / "c.npz")
    assert "no discount of its own" in refusal(capsys, "solve", "--model", tmp_path / "c.npz", "--gamma", "0.5")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--env-id", "RandomMPD-v0"], "near are: RandomMDP-v0"),
        (["--env-id", "lookahead_rl/Persuit-v0"], "near are: lookahead_rl/Pursuit-v0"),
        (["--env-id", "CartPole-v1"], "its law cannot be read"),
        (["--method", "shapley"], "choose automatic, value-iteration, policy-iteration"),
        (["--tol", "-1"], "tol is -1"),
        (["--tol", "nan"], "tol is nan"),
        (["--gamma", "2"], "gamma is 2"),
        (["--gamma", "1"], "no policy terminates from state 0"),
        (["--env-id", "LinearMDP-v0", "--gamma", "0.5"], "a finite horizon has no discount"),
        (["--env-kwargs", "states"], "write key=value"),
        (["--model", "missing.npz"], "missing.npz"),
        (["--model", "missing.npz", "--env-kwargs", "n_states=3"], "leave one of them out"),
        (["--model", "missing.npz", "--env-id", "RandomMDP-v0"], "leave one of them out"),
        (["--env-id", ""], "Malformed"),
        (["--env-id", "DeepSea-v0", "--tol", "nan"], "tol is nan"),
        (["--env-id", "ConstrainedLinearMDP-v0", "--tol", "0"], "tol is 0"),
        (["--out", "missing/s.html"], "missing"),
    ],
)
def test_what_cannot_be_solved_is_one_line(arguments, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert why in refusal(capsys, "solve", *arguments)


def test_a_budget_that_nothing_keeps_is_one_line(capsys):
    said = refusal(capsys, "solve", "--env-id", "ConstrainedLinearMDP-v0", "--env-kwargs", "budget=-1.0")
    assert "budget" in said


def test_models_of_no_kind_are_refused():
    with pytest.raises(ModelError, match="pass one of the models"):
        find_optimum(object(), method="shapley")
