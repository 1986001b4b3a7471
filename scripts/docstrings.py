"""Docstrings as Markdown, read from source files: nothing is imported, so that no page needs an optional extra.

Docstrings here are Google's style in reStructuredText: ``code``, :class:`roles`, indented formulas, and sections
``Args:``, ``Attributes:``, ``Raises:``. Those of environments are Gymnasium's style, with Markdown headings.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import cleandoc
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "lookahead_rl"

Definition = ast.ClassDef | ast.FunctionDef

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\*{0,2}[\w., ]+?)(?: \(.*?\))?:(?= |$)")
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_ROLE = re.compile(r":(?:class|func|mod|meth|attr|data|exc):`([^`]+)`")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?![\s*])([^*\n]*[^*\s])\*(?![\w*])")


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor, as the source writes it; ``default`` is None where there is none."""

    name: str
    annotation: str
    default: str | None


@dataclass(frozen=True)
class Docstring:
    """A docstring taken apart: its text, and the entries (name, text) of each section."""

    text: str
    sections: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict[str, Sequence[tuple[str, str]]])

    @property
    def summary(self) -> str:
        """The first paragraph, in one line."""
        return " ".join(self.text.partition("\n\n")[0].split())

    @property
    def description(self) -> str:
        """What follows the first paragraph."""
        return self.text.partition("\n\n")[2]


# reading


@cache
def module_tree(module: str) -> ast.Module:
    """The syntax of a module of this package."""
    return ast.parse(module_path(module).read_text(encoding="utf-8"))


def module_path(module: str) -> Path:
    """The file of a module of this package."""
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def definition(entry_point: str) -> tuple[str, Definition]:
    """The module and the syntax of what an entry point names, followed through the packages that export it."""
    module, _, name = entry_point.partition(":")
    for node in module_tree(module).body:
        if isinstance(node, Definition) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and any(name == (alias.asname or alias.name) for alias in node.names):
            return definition(f"{module}.{node.module}:{name}")
    raise LookupError(f"{module} defines no {name}")


def docstring_of(node: ast.Module | Definition) -> Docstring:
    """The docstring of a definition, taken apart."""
    return parse(ast.get_docstring(node) or "")


def parse(docstring: str) -> Docstring:
    """A docstring, already without its indentation, taken apart."""
    parts = _SECTION.split(docstring)
    sections = {name: list(_entries(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    return Docstring(parts[0].strip(), sections)


def _entries(body: str) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    for line in body.strip("\n").splitlines():
        found = _ENTRY.match(line)
        if found:
            if name:
                yield name, " ".join(lines)
            name, lines = found[1], [line[found.end() :].strip()]
        else:
            lines.append(line.strip())
    if name:
        yield name, " ".join(lines)


def parameters(node: Definition) -> list[Parameter]:
    """The arguments of a function, or of a class's constructor, without ``self``."""
    function = node if isinstance(node, ast.FunctionDef) else _constructor(node)
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + [*given.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    found = [Parameter(arg.arg, _text(arg.annotation) or "", _text(default)) for arg, default in pairs]
    return [parameter for parameter in found if not (parameter.name == "self" or parameter.name.startswith("_"))]


def _constructor(node: ast.ClassDef) -> ast.FunctionDef:
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return child
    raise LookupError(f"{node.name} has no constructor of its own")


def field_docstrings(node: ast.ClassDef) -> dict[str, tuple[Parameter, str]]:
    """The fields of a dataclass, each with the docstring below it."""
    fields: dict[str, tuple[Parameter, str]] = {}
    for child, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            parameter = Parameter(child.target.id, _text(child.annotation) or "", _text(child.value))
            fields[parameter.name] = parameter, cleandoc(str(text))
    return fields


def _text(node: ast.expr | None) -> str | None:
    return None if node is None else ast.unparse(node).replace("'", '"')


# writing


def markdown(text: str) -> str:
    """reStructuredText as Markdown: code, roles and emphasis kept, formulas left as they are written."""
    blocks = re.split(r"\n\n+", text)
    return "\n\n".join(block if block.startswith("    ") else inline(block) for block in blocks)


def inline(text: str) -> str:
    """The same for one paragraph."""
    text = _ROLE.sub(lambda role: f"``{_target(role[1])}``", text)
    pieces = _CODE.split(text)
    return "".join(f"`{piece}`" if i % 2 else _escape(piece) for i, piece in enumerate(pieces))


def cell(text: str) -> str:
    """The same in one line, for a table."""
    return inline(" ".join(text.split())).replace("|", "\\|")


def code_cell(text: str) -> str:
    """Code in a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def argument_table(given: Sequence[Parameter], meanings: Mapping[str, str]) -> str:
    """Arguments with their types, defaults and meanings."""
    rows = [
        [
            code_cell(p.name),
            code_cell(p.annotation),
            "required" if p.default is None else code_cell(p.default),
            cell(meanings.get(p.name, "")),
        ]
        for p in given
    ]
    return table(("argument", "type", "default", "meaning"), rows)


def entry_list(entries: Sequence[tuple[str, str]]) -> str:
    """Attributes or errors as a list."""
    return "\n".join(f"* `{name}`: {inline(' '.join(text.split()))}" for name, text in entries)


def _target(role: str) -> str:
    return role.rpartition(".")[2] if role.startswith("~") else role.lstrip(".")


def _escape(text: str) -> str:
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[1])
        return f"\0{len(kept) - 1}\0"

    text = _EMPHASIS.sub(keep, text)
    text = re.sub(r"^(\s*)\* ", "\\1\1 ", text, flags=re.MULTILINE)  # bullets
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text.replace("*", r"\*").replace("<", r"\<"))
    text = re.sub(r"^(\s*)([>+-]) ", r"\1\\\2 ", text, flags=re.MULTILINE)
    return re.sub("\0(\\d+)\0", lambda n: f"*{kept[int(n[1])]}*", text.replace("\1", "*"))
