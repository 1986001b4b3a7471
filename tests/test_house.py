"""Promises about the house: what the wheel holds, which way imports run, what loading costs, which habits hold.

Habits that ruff has a rule for (docstrings, bare except, pickle, the global random state) are left to ruff.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("models", "solvers", "envs", "wrappers", "agents", "evaluation", "experiments", "scripts")
MODULES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [
    page for page in [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))] if "```python" in page.read_text()
]


def run_python(*args: str, cwd: Path) -> str:
    """Standard output of a fresh interpreter, which must succeed."""
    done = subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def where(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


# what is shipped


def test_every_package_is_listed_in_pyproject():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [".".join(("lookahead_rl", *path.parent.relative_to(ROOT).parts)) for path in MODULES]
    assert sorted(listed) == sorted({"lookahead_rl", *found})
    assert all((path.parent / "__init__.py").exists() for path in MODULES)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    skipped = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
    shutil.copytree(ROOT, source, ignore=skipped, dirs_exist_ok=True)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run_python("-m", "pip", "wheel", *options, "--wheel-dir", str(target), str(source), cwd=target)
    (built,) = target.glob("lookahead_rl-*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for layer in LAYERS for path in (ROOT / layer).rglob("*") if path.is_file()]
    code = {f"lookahead_rl/{path.relative_to(ROOT).as_posix()}" for path in files if path.parent.name != "__pycache__"}
    assert names == code | {"lookahead_rl/__init__.py", "lookahead_rl/py.typed"}


def test_an_environment_is_made_from_the_wheel_alone(wheel: Path, tmp_path: Path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import gymnasium, lookahead_rl.scripts.cli\n"
        "env = gymnasium.make('lookahead_rl:RandomMDP-v0')\n"
        "print(lookahead_rl.__file__, sys.modules[type(env.unwrapped).__module__].__file__, sep='\\n')\n"
    )
    files = run_python("-c", code, cwd=tmp_path).split()
    assert all(Path(file).is_relative_to(tmp_path) for file in files)


# what loading costs


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, lookahead_rl; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run_python("-c", code, cwd=ROOT / "tests").split())
    assert "lookahead_rl" in loaded
    assert not loaded & {"torch", "stable_baselines3", "numba", "scipy", "matplotlib", "pandas"}


# which way imports run


def relative_imports(path: Path) -> Iterator[tuple[str, str]]:
    """(place, folder or module of the root) for every relative import of a module."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            for name in [node.module] if node.module else [alias.name for alias in node.names]:
                yield where(path, node), ".".join((*base, name)).partition(".")[0]


def absolute_imports(path: Path) -> Iterator[tuple[str, str]]:
    """(place, top-level package) for every absolute import of a module, nested ones too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield where(path, node), (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from ((where(path, node), alias.name.partition(".")[0]) for alias in node.names)


def test_imports_run_downwards_only():
    upwards = [
        f"{place} imports {target}"
        for path in MODULES
        for place, target in relative_imports(path)
        if target in LAYERS and LAYERS.index(target) > LAYERS.index(path.relative_to(ROOT).parts[0])
    ]
    assert upwards == []


def test_modules_import_each_other_relatively():
    assert [place for path in MODULES for place, target in absolute_imports(path) if target == "lookahead_rl"] == []


def test_models_need_numpy_and_scipy_only():
    allowed = {*sys.stdlib_module_names, "numpy", "scipy"}
    models = [path for path in MODULES if path.is_relative_to(ROOT / "models")]
    others = [
        f"{place} imports {target}"
        for path in models
        for place, target in absolute_imports(path)
        if target not in allowed and (path.name, target) != ("openspiel.py", "pyspiel")
    ]
    assert others == []


def test_numba_is_imported_by_kernel_files_only():
    kernels = {path for path in MODULES if path.stem.endswith("_kernels")}
    others = [path for path in MODULES if path not in kernels]
    assert [place for path in others for place, name in absolute_imports(path) if name == "numba"] == []


# which habits hold


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{where(path, node)} {node.name}", node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    sizes = {name: body_lines(node) for name, node in functions()}
    assert [f"{name}: {size} lines" for name, size in sizes.items() if size > 50] == []
    long = sorted(f"{name}: {size} lines" for name, size in sizes.items() if size > 25)
    assert 10 * len(long) <= len(sizes), long


def test_nothing_is_probed_with_hasattr():
    calls = [(path, node) for path in MODULES for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert [where(p, c) for p, c in calls if isinstance(c.func, ast.Name) and c.func.id == "hasattr"] == []


def test_only_makers_relay_keyword_arguments():
    """Gymnasium's and PettingZoo's makers pass any keyword on; elsewhere an unknown keyword must be an error.

    A function that returns Never is that error, whatever keywords the method it overrides was written to take.
    """
    takers = [(name, node) for name, node in functions() if node.args.kwarg]
    relays = [(name, node.name) for name, node in takers if not (node.returns and ast.unparse(node.returns) == "Never")]
    makers = re.compile(r"make\w*|env|raw_env|parallel_env|_\w+")
    assert [place for place, name in relays if not makers.fullmatch(name)] == []


# what people copy


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_example_runs(example: Path, tmp_path: Path):
    assert run_python("-W", "error", str(example), cwd=tmp_path).strip()


# Forty pages written from docstrings, each of which starts a compiler or a network.
GENERATED = ROOT / "docs" / "reference"
PAGES_TO_RUN = [pytest.param(p, marks=pytest.mark.slow if p.is_relative_to(GENERATED) else ()) for p in PAGES]


@pytest.mark.parametrize("page", PAGES_TO_RUN, ids=[path.name for path in PAGES])
def test_code_on_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The blocks of one page run in order in one namespace; a traceback names the page's own lines."""
    monkeypatch.chdir(tmp_path)
    text, namespace = page.read_text(), {"__name__": "__main__"}
    for block in re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        above = "\n" * text.count("\n", 0, block.start(1))
        exec(compile(above + block[1], page, "exec"), namespace)
