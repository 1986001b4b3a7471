"""The command line, through its real entry point."""

import json

import pytest

from lookahead_rl.scripts.cli import COMMANDS, main


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out.startswith("lookahead-rl 0.1.0")


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


def test_the_demo_writes_page_and_rows(tmp_path, capsys):
    main(["demo", "--total-timesteps", "64", "--out", str(tmp_path / "d.html"), "--json", str(tmp_path / "d.json")])
    shown = capsys.readouterr().out
    rows = json.loads((tmp_path / "d.json").read_text())
    assert "<svg" in (tmp_path / "d.html").read_text()
    assert {row["agent"] for row in rows} >= {"PPO", "DQN", "optimum", "uniform play", "the Nash pair"}
    assert {row["env_id"] for row in rows} >= {"FrozenLake-v1", "Taxi-v4", "LinearMDP-v0"}
    assert "0.82353" in shown  # 14/17, computed
    for row in rows:
        assert row["value"] <= row["optimal_value"] + 1e-6 or row["env_id"].startswith("lookahead_rl/")


def test_a_wrong_folder_is_one_line_and_status_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--total-timesteps", "64", "--out", str(tmp_path / "missing" / "d.html")])
    assert stop.value.code == 2
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_a_wrong_path_is_found_before_any_training(option, tmp_path, capsys):
    for path in (tmp_path / "missing" / "file", tmp_path):
        with pytest.raises(SystemExit) as stop:
            main(["demo", option, str(path)])
        shown = capsys.readouterr()
        assert stop.value.code == 2
        assert str(path) in shown.err
        assert not shown.out


@pytest.mark.parametrize(("option", "name"), [("--seed", "seed"), ("--total-timesteps", "total_timesteps")])
def test_negative_numbers_are_one_line_and_status_2(option, name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", option, "-1"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"lookahead-rl: {name} is -1; it must be at least 0\n"
