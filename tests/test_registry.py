"""The registry of agents: names, plugins, and what it says when something is wrong."""

import importlib
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from lookahead_rl.agents import AgentError, AgentSpec, agent_ids, agent_spec, load_agent, make_agent, register_agent
from lookahead_rl.agents import registry as registry_module
from lookahead_rl.agents.baselines import RandomAgent


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The registry, put back after the test."""
    monkeypatch.setattr(registry_module, "_specs", dict(registry_module._specs))
    monkeypatch.setattr(registry_module, "_plugins_listed", [True])
    return registry_module


def install_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entries: dict[str, str]) -> None:
    """Pretend that the package `someones-agents` is installed with these entry points."""
    info = tmp_path / "someones_agents-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someones-agents\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[lookahead_rl.agents]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setattr(registry_module, "_plugins_listed", [])


BUILT_IN = {
    "A2C", "BackwardInduction-v0", "BestResponse-v0", "DQN", "FictitiousPlay-v0", "GamePolicyIteration-v0",
    "MinimaxQ-v0", "NashPlanner-v0", "PPO", "Random-v0", "SAC", "UniformGame-v0", "ValueIteration-v0",
}  # fmt: skip


def test_the_agents_of_this_package_are_listed_sorted():
    assert set(agent_ids()) >= BUILT_IN
    assert list(agent_ids()) == sorted(agent_ids())


def test_listing_and_registering_import_no_agent_and_no_library():
    code = (
        "import sys, lookahead_rl.agents as a; a.agent_ids(); a.register_agent('X-v0', 'nowhere.at_all:X')\n"
        "print([m for m in sys.modules if m in ('torch', 'stable_baselines3', 'numba', 'nowhere')"
        " or m.startswith('lookahead_rl.agents.p')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(AgentError, match=r"'ppo'; did you mean PPO\?"):
        agent_spec("ppo")
    with pytest.raises(AgentError, match="did you mean ValueIteration-v0 or "):
        make_agent("ValueIteration-v1", None)
    with pytest.raises(AgentError, match=r"'zzz'; registered are: A2C, "):
        agent_spec("zzz")


@pytest.mark.usefixtures("registry")
def test_a_name_may_begin_with_the_module_that_registers_it(tmp_path, monkeypatch):
    code = "from lookahead_rl.agents import register_agent\n"
    code += "register_agent('Handmade-v0', 'lookahead_rl.agents.baselines:RandomAgent')\n"
    (tmp_path / "handmade_agents.py").write_text(code)
    (tmp_path / "broken_agents.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert agent_spec("handmade_agents:Handmade-v0") == agent_spec("Handmade-v0")
    with pytest.raises(AgentError, match="no agent is registered as 'Handmad-v0'; did you mean Handmade-v0"):
        agent_spec("handmade_agents:Handmad-v0")
    with pytest.raises(ImportError, match="the module of the agent absent_agents:X-v0 cannot be imported: ModuleNot"):
        agent_spec("absent_agents:X-v0")
    with pytest.raises(ImportError, match="ZeroDivisionError"):
        agent_spec("broken_agents:X-v0")


def test_an_unknown_argument_lists_the_known_ones():
    env = gym.make("FrozenLake-v1")
    with pytest.raises(AgentError, match="Random-v0 takes no argument lr, temperature; it takes: none"):
        make_agent("Random-v0", env, temperature=1.0, lr=2)
    with pytest.raises(AgentError, match="ValueIteration-v0 takes no argument discount; it takes: gamma, tol"):
        make_agent("ValueIteration-v0", env, discount=0.9)


def test_a_registered_agent_is_made_with_its_default_arguments(registry: types.ModuleType):
    register_agent("Myopic-v0", "lookahead_rl.agents.planners:ValueIterationAgent", kwargs={"gamma": 0.0})
    env = gym.make("FrozenLake-v1")
    assert make_agent("Myopic-v0", env).config()["gamma"] == 0.0
    assert make_agent("Myopic-v0", env, gamma=0.5, seed=3).config() == {"gamma": 0.5, "tol": 1e-8, "seed": 3}
    assert "Myopic-v0" in agent_ids()


def test_registering_twice_the_same_is_fine_and_something_else_is_not(registry: types.ModuleType):
    register_agent("Mine-v0", "mine:Agent")
    register_agent("Mine-v0", "mine:Agent")
    with pytest.raises(AgentError, match="Mine-v0 is already registered by lookahead-rl as mine:Agent"):
        register_agent("Mine-v0", "mine:Other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "a:B"), "id '' is malformed"),
        (("two words", "a:B"), "id 'two words' is malformed"),
        (("X-v0", "a.b.C"), r"entry point 'a.b.C' of X-v0 is not of the form 'package.module:Class'"),
        (("X-v0", "a:b; import os"), "is not of the form"),
    ],
)
def test_malformed_registrations_are_refused(arguments: tuple[str, str], message: str):
    with pytest.raises(AgentError, match=message):
        register_agent(*arguments)
    with pytest.raises(AgentError, match="extra 'shallow' of X-v0 is unknown; known are: deep"):
        register_agent("X-v0", "a:B", extra="shallow")


def test_what_is_no_agent_is_refused_when_made(registry: types.ModuleType):
    register_agent("Path-v0", "pathlib:Path")
    with pytest.raises(AgentError, match="pathlib:Path of the package lookahead-rl is not a subclass of Agent"):
        make_agent("Path-v0", None)


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    found = registry_module.importlib.util.find_spec
    monkeypatch.setattr(
        registry_module.importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    with pytest.raises(ImportError, match=r'PPO needs torch: pip install "lookahead-rl\[deep\]"'):
        make_agent("PPO", gym.make("FrozenLake-v1"))
    assert make_agent("Random-v0", gym.make("FrozenLake-v1")) is not None


def test_installed_packages_add_agents_without_being_imported(
    registry: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "someones_agents.py").write_text("from lookahead_rl.agents.baselines import RandomAgent as Theirs\n")
    install_plugins(monkeypatch, tmp_path, {"Theirs-v0": "someones_agents:Theirs"})
    assert "Theirs-v0" in agent_ids()
    assert agent_spec("Theirs-v0") == AgentSpec("Theirs-v0", "someones_agents:Theirs", source="someones-agents")
    assert "someones_agents" not in sys.modules
    assert isinstance(make_agent("Theirs-v0", gym.make("FrozenLake-v1")), RandomAgent)
    monkeypatch.delitem(sys.modules, "someones_agents")


def test_a_broken_plugin_is_named_and_hides_no_other(
    registry: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "broken_agents.py").write_text("1 / 0\n")
    entries = {"Broken-v0": "broken_agents:Broken", "PPO": "broken_agents:PPO", "No colon": "broken", "Gone-v0": "g:G"}
    install_plugins(monkeypatch, tmp_path, entries)
    with pytest.warns(UserWarning, match="of the package someones-agents is left out") as caught:
        names = set(agent_ids())
    messages = sorted(str(warning.message) for warning in caught)
    assert len(messages) == 2
    assert "'No colon' of the package someones-agents is left out" in messages[0]
    assert "'PPO' of the package someones-agents is left out: PPO is already registered by lookahead-rl" in messages[1]
    assert names >= BUILT_IN | {"Broken-v0", "Gone-v0"}
    env = gym.make("FrozenLake-v1")
    with pytest.raises(ImportError, match="Broken-v0 of the package someones-agents cannot be imported: ZeroDivision"):
        make_agent("Broken-v0", env)
    with pytest.raises(ImportError, match="Gone-v0 of the package someones-agents cannot be imported: ModuleNotFound"):
        make_agent("Gone-v0", env)
    assert isinstance(make_agent("Random-v0", env), RandomAgent)


def test_a_file_cannot_name_code_to_import(tmp_path: Path):
    from lookahead_rl.agents.storage import read_archive, write_archive

    path, env = tmp_path / "agent", gym.make("FrozenLake-v1")
    make_agent("Random-v0", env).save(path)
    content: dict[str, Any] = read_archive(path)
    (tmp_path / "evil.py").write_text("raise SystemExit('code from a file ran')\n")
    write_archive(path, {**content, "agent": "evil:Agent"})
    with pytest.raises(AgentError, match="holds an agent of 'evil:Agent', which is not registered"):
        load_agent(path, env)
    assert "evil" not in sys.modules
