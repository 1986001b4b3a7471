"""The reference pages in the repository are what the command writes, and every registered name has one."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lookahead_rl.envs.game_registration import GAMES
from lookahead_rl.envs.registration import GYMNASIUM
from lookahead_rl.scripts.docstrings import Parameter, inline, markdown, parameters, parse

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"


def texts(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.md")}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages, written by a process of its own, in which no test has registered anything."""
    folder = tmp_path_factory.mktemp("reference")
    stale = folder / "agents" / "Forgotten-v0.md"
    stale.parent.mkdir()
    stale.write_text("an agent that is no more")
    code = (
        "import sys; from lookahead_rl.scripts.reference import main; main(sys.argv[1:]);"
        "print({'torch', 'stable_baselines3'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--out", str(folder)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "set()\n"  # reading docstrings needs no extra
    return texts(folder)


def test_the_pages_are_what_the_command_writes(written):
    present = texts(FOLDER)
    remedy = "run python -m lookahead_rl.scripts.reference"
    assert sorted(present) == sorted(written), remedy
    assert [name for name in written if present[name] != written[name]] == [], remedy


def test_every_registered_name_has_its_page(written):
    registration = (ROOT / "agents" / "registration.py").read_text()
    agents = {*re.findall(r'register_agent\(\s*"([^"]+)"', registration), "PPO", "A2C", "DQN", "SAC"}
    environments = {*(item.id for item in GYMNASIUM), *(name.partition("/")[2] for name in GAMES)}
    assert {name for name in written if name.startswith("agents/")} == {f"agents/{name}.md" for name in agents}
    assert {name for name in written if name.startswith("environments/")} == {
        f"environments/{name}.md" for name in environments
    }
    for name in agents | environments:
        assert f"/{name}.md)" in written["index.md"]


def test_every_argument_of_a_page_is_explained(written):
    """A row of a table of arguments ends with its meaning."""
    rows = [(name, line) for name, text in written.items() for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert [(name, line) for name, line in rows if line.endswith("|  |") and not name.startswith("commands")] == []


def test_environments_say_what_gymnasium_pages_say(written):
    for item in GYMNASIUM:
        page = written[f"environments/{item.id}.md"]
        for heading in ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"):
            assert f"\n## {heading}\n\n" in page, (item.id, heading)
    for name in GAMES:
        page = written[f"environments/{name.partition('/')[2]}.md"]
        for heading in (
            "Description",
            "Agents",
            "Action Spaces",
            "Observation Spaces",
            "Starting State",
            "Episode End",
        ):
            assert f"\n## {heading}\n\n" in page, (name, heading)


def test_links_lead_somewhere(written):
    for name in written:
        for target in re.findall(r"\]\(([^)#]+)\)", written[name]):
            if not target.startswith("http"):
                assert (FOLDER / name).parent.joinpath(target).resolve().exists(), (name, target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("``a_b`` is :class:`~x.y.Z` or :func:`f`", "`a_b` is `Z` or `f`"),
        ("theta* and v*_h(s) <= <phi, w>", r"theta\* and v\*\_h(s) \<= \<phi, w>"),
        ("*collect*: a share", "*collect*: a share"),
        ("* one ``x``\n* two", "* one `x`\n* two"),
        ("|phi|_{L} where\n> 0 is meant", "|phi|\\_{L} where\n\\> 0 is meant"),
    ],
)
def test_text_becomes_markdown_without_changing_its_meaning(text, expected):
    assert inline(text) == expected


def test_formulas_stay_as_they_are_written():
    text = "Then\n\n    q* = r + <phi, w_h>,\n\nfor *every* s."
    assert markdown(text) == text


def test_a_docstring_is_taken_apart():
    docstring = parse(
        "Do it.\n\nHow.\n\nArgs:\n    a: First,\n        in two lines.\n    b, c: Others.\n\nRaises:\n    E: Why."
    )
    assert (docstring.summary, docstring.description) == ("Do it.", "How.")
    assert docstring.sections == {
        "Args": [("a", "First, in two lines."), ("b, c", "Others.")],
        "Raises": [("E", "Why.")],
    }


def test_arguments_are_read_from_the_source():
    (node,) = ast.parse("def f(a, b: int = 2, *, c: str | None = None, d): ...").body
    assert isinstance(node, ast.FunctionDef)
    assert parameters(node) == [
        Parameter("a", "", None),
        Parameter("b", "int", "2"),
        Parameter("c", "str | None", "None"),
        Parameter("d", "", None),
    ]
