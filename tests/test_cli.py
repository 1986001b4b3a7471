"""The command line, through its real entry point."""

import json
from dataclasses import dataclass

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


@pytest.mark.parametrize(
    ("name", "near"), [("solv", "near it: solve"), ("SWEEP", "near it: sweep"), ("help", "--help has all")]
)
def test_an_unknown_command_names_the_nearest_and_loads_none(name, near, capsys, monkeypatch):
    monkeypatch.setattr("lookahead_rl.scripts.cli.command_class", lambda name: pytest.fail(f"loaded {name}"))
    with pytest.raises(SystemExit) as stop:
        main([name])
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert near in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["--unknown"], ["solve", "--unknown"]])
def test_missing_commands_and_unknown_options_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupt_is_one_line_and_status_130(capsys, monkeypatch):
    @dataclass(frozen=True)
    class Endless:
        """What is interrupted."""

        def run(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("lookahead_rl.scripts.cli.command_class", lambda name: Endless)
    with pytest.raises(SystemExit) as stop:
        main(["solve"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "lookahead-rl: interrupted\n"


def test_two_results_are_not_written_to_one_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["solve", "--out", str(tmp_path / "x"), "--json", f"{tmp_path}/./x"])
    assert stop.value.code == 2
    assert "named twice" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_the_demo_writes_page_and_rows(tmp_path, capsys):
    main(["demo", "--total-timesteps", "2048", "--out", str(tmp_path / "d.html"), "--json", str(tmp_path / "d.json")])
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
