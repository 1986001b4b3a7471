"""What the pages say and their own blocks cannot show: links, the index, and an agent that is installed by its page."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "index.md", DOCS / "howto.md", DOCS / "zoo.md", *sorted((DOCS / "tutorials").glob("*.md"))]
WRITE_AN_AGENT = DOCS / "tutorials" / "write-an-agent.md"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if ":" not in target and not (page.parent / target).exists()] == []


def test_the_index_names_every_page():
    targets = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text())}
    pages = {*DOCS.glob("*.md"), *(DOCS / "tutorials").glob("*.md")} - {DOCS / "index.md"}
    assert sorted(path.name for path in pages - targets) == []


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's agent in a module, and the metadata that its pyproject.toml would install."""
    folder, text = tmp_path_factory.mktemp("package"), WRITE_AN_AGENT.read_text()
    block = re.search(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    toml = re.search(r"^```toml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert block
    assert toml
    (folder / "my_agents.py").write_text(block[1])
    project = tomllib.loads(toml[1])["project"]
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    installed = folder / "my_agents-0.1.dist-info"
    installed.mkdir()
    (installed / "entry_points.txt").write_text("\n".join(lines))
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    return folder


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_agent_is_made_by_its_entry_point_and_by_hand_and_has_no_page_here(package: Path):
    (by_hand,) = re.findall(
        r"^    from lookahead_rl\.agents import make_agent, register_agent\n.*?(?=^\S)",
        WRITE_AN_AGENT.read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    lines = [
        "import gymnasium as gym, lookahead_rl",
        "from lookahead_rl.agents import agent_ids, make_agent",
        "from lookahead_rl.scripts.reference import own_agents",
        "env = gym.make('RandomMDP-v0')",
        "print(type(make_agent('ExpectedSarsa-v0', env, seed=0).learn(10)).__module__)",
        *(line.removeprefix("    ").replace("ExpectedSarsa-v0", "Mine-v0") for line in by_hand.splitlines()),
        "print(agent.config()['epsilon'])",
        "print('ExpectedSarsa-v0' in agent_ids(), 'ExpectedSarsa-v0' in {spec.id for spec in own_agents()})",
    ]
    assert run("\n".join(lines), package).split() == ["my_agents", "0.2", "True", "False"]
