"""Sweep files: a page of YAML that stands for thousands of jobs.

    defaults:
      total_timesteps: 20000
      seed: {range: [0, 10]}
    jobs:
      - agent: [PPO, A2C]
        env_id: RandomMDP-v0
        env_kwargs: {mdp_seed: {range: [0, 50]}}
      - agent: LSVIUCB-v0
        env_id: LinearMDP-v0
        agent_kwargs: {n_episodes: 1000}

A block is the product of its choices: a list stands for each of its entries, ``{range: [a, b]}`` for the whole numbers
from a to b - 1, ``{range: [a, b, step]}`` for those in steps, at any depth. A list that is itself a value is the entry
of another list: ``net_arch: [[64, 64]]``. A block's entry replaces that of the defaults. The names are those of a
:class:`~lookahead_rl.experiments.jobs.Job`.

The language is YAML 1.2's core (``1e-3`` is a number, ``on`` is text), without what runs code or grows: no tags, no
anchors and aliases; a key stands once. Everything that is wrong is told with the file and the line.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from ..agents import AgentError
from ..models import ModelError
from .jobs import Job

if TYPE_CHECKING:
    import yaml

MOST_JOBS = 1_000_000
"""Jobs that one file may stand for."""
DEEPEST = 50
"""Lists and mappings in each other."""
LONGEST_WORD = 1000
"""Characters of a value without quotes."""

_NEEDED = ("agent", "env_id", "total_timesteps")
_FIELDS = tuple(one.name for one in fields(Job))
_NULL = re.compile(r"~|null|Null|NULL|")
_TRUTH = re.compile(r"true|True|TRUE|false|False|FALSE")
_WHOLE = re.compile(r"[-+]?[0-9]+")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan")


@dataclass(frozen=True)
class PlacedJob:
    """A job and where the file says so.

    Attributes:
        job: The job.
        lines: Line of each of its values.
    """

    job: Job
    lines: Mapping[str, int]

    def line_of(self, name: str, message: str) -> int:
        """Where to look for what a message says of the agent (``name="agent"``) or environment (``"env_id"``)."""
        arguments = "agent_kwargs" if name == "agent" else "env_kwargs"
        return self.lines.get(arguments if "argument" in message else name, self.lines[name])


@dataclass(frozen=True)
class Grid:
    """The jobs of a file.

    Attributes:
        path: The file.
        jobs: Its different jobs, in its order.
        repeated: How many more it names, equal to one of these.
    """

    path: Path
    jobs: tuple[PlacedJob, ...]
    repeated: int

    def check(self, jobs: Iterable[PlacedJob], progress: Callable[[int, int], None] | None = None) -> None:
        """Raise unless each of these jobs can begin, as :func:`~lookahead_rl.experiments.runs.check` sees it.

        Jobs that differ in seeds, steps and checkpoints alone, or in the seed of the instance, are checked once.

        Args:
            jobs: Some of the grid's.
            progress: Called with the number of checks that are made and of all.

        Raises:
            ModelError: One cannot; the message names the line and what :func:`check` says.
        """
        from .runs import check

        different = list({_kind(placed.job): placed for placed in reversed(list(jobs))}.values())[::-1]
        for i, placed in enumerate(different):
            try:
                check(placed.job)
            # Constructors of other packages refuse in any way they like.
            except Exception as error:
                known = isinstance(error, AgentError | ModelError | ImportError)
                said = " ".join(f"{'' if known else f'{type(error).__name__}: '}{error}".split())
                line = placed.line_of("agent" if isinstance(error, AgentError) else "env_id", said)
                raise ModelError(f"{self.path}, line {line}: {said}") from error
            if progress is not None:
                progress(i + 1, len(different))


@dataclass(frozen=True)
class _Value:
    """Something in the file: a scalar, a list of values or a mapping to values, each with its line."""

    line: int
    content: Any

    def plain(self) -> Any:
        """What Python would write."""
        if isinstance(self.content, list):
            return [item.plain() for item in self.content]
        if isinstance(self.content, dict):
            return {key: value.plain() for key, (_, value) in self.content.items()}
        return self.content


def _kind(job: Job) -> str:
    """What says whether a job can begin."""
    instance = {name: value for name, value in job.env_kwargs.items() if not name.endswith("seed")}
    return replace(job, seed=0, total_timesteps=0, checkpoints=1, env_kwargs=instance).key


def read_grid(path: str | Path) -> Grid:
    """The jobs of a sweep file.

    Raises:
        ModelError: The file is no YAML, or asks for something that is no job; the message names the line.
        ImportError: PyYAML is missing.
        OSError: It cannot be read.
    """
    if find_spec("yaml") is None:
        raise ImportError('sweep files need PyYAML: pip install "lookahead-rl[experiments]"')
    return _Reader(Path(path)).grid()


class _Reader:
    """Reads one file, and knows its name for the messages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def grid(self) -> Grid:
        page = self._mapping(self._page(), "the file", ("defaults", "jobs"))
        if "jobs" not in page:
            self._refuse(1, "there are no jobs; write jobs: and a list of blocks, each with agent, env_id, ...")
        defaults = self._mapping(page["defaults"][1], "defaults", _FIELDS) if "defaults" in page else {}
        listed = page["jobs"][1]
        blocks = listed.content if isinstance(listed.content, list) else [listed]
        placed = [one for block in blocks for one in self._jobs(block, defaults)]
        if not placed:
            self._refuse(page["jobs"][0], "jobs holds none; write a list of blocks, each with agent, env_id, ...")
        different = {one.job.key: one for one in reversed(placed)}  # of equal jobs the first
        return Grid(self._path, tuple(reversed(different.values())), len(placed) - len(different))

    def _require_few(self, count: int, line: int) -> None:
        if count > MOST_JOBS:
            self._refuse(line, f"up to here the file stands for {count:,} jobs; it may for {MOST_JOBS:,}")

    def _jobs(self, block: _Value, defaults: Mapping[str, tuple[int, _Value]]) -> Iterator[PlacedJob]:
        """The jobs of a block."""
        own = self._mapping(block, "a block of jobs", _FIELDS)
        given = {**defaults, **own}
        if missing := [name for name in _NEEDED if name not in given]:
            self._refuse(block.line, f"a job needs {', '.join(missing)}")
        choices = {name: self._choices(value) for name, (_, value) in given.items()}
        self._count += math.prod(map(len, choices.values()))
        self._require_few(self._count, block.line)
        for chosen in product(*choices.values()):
            lines = {name: line for name, (line, _) in zip(choices, chosen, strict=True)}
            try:
                job = Job.of({name: value for name, (_, value) in zip(choices, chosen, strict=True)})
            except ModelError as error:
                name = re.match(r"\w*", str(error))  # messages begin with the name of what is wrong
                self._refuse(lines.get(name[0] if name else "", block.line), str(error))
            yield PlacedJob(job, lines)

    def _choices(self, value: _Value) -> Sequence[tuple[int, Any]]:
        """What a value stands for: plain values with their lines."""
        if isinstance(value.content, list):
            if not value.content:
                self._refuse(value.line, "an empty list stands for no job at all; [[]] is the value []")
            return [choice for item in value.content for choice in self._choices_of_an_entry(item)]
        return self._choices_of_an_entry(value)

    def _choices_of_an_entry(self, value: _Value) -> Sequence[tuple[int, Any]]:
        """The same for an entry of a list of choices, in which a list is a value."""
        if not isinstance(value.content, dict):
            return [(value.line, value.plain())]
        if [*value.content] == ["range"]:
            return [(value.line, number) for number in self._range(value.content["range"][1])]
        choices = {key: self._choices(item) for key, (_, item) in value.content.items()}
        self._require_few(math.prod(map(len, choices.values())), value.line)
        chosen = product(*([plain for _, plain in each] for each in choices.values()))
        return [(value.line, dict(zip(choices, values, strict=True))) for values in chosen]

    def _range(self, value: _Value) -> range:
        """The numbers of ``{range: [a, b]}`` or ``{range: [a, b, step]}``."""
        ends = value.plain()
        whole = isinstance(ends, list) and all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
        if not whole or len(ends) not in (2, 3) or 0 in ends[2:]:
            self._refuse(value.line, f"range is {ends!r}; write {{range: [0, 10]}} for 0 to 9, or [0, 10, 2] in steps")
        numbers = range(*ends)
        if not 0 < len(numbers) <= MOST_JOBS:
            self._refuse(value.line, f"range {ends} holds {len(numbers):,} numbers; it needs 1 to {MOST_JOBS:,}")
        return numbers

    def _mapping(self, value: _Value, what: str, known: Sequence[str]) -> dict[str, tuple[int, _Value]]:
        """The entries of a mapping with nothing but known names, each with the line of its name."""
        if not isinstance(value.content, dict):
            self._refuse(value.line, f"{what} is {value.plain()!r}; write it as a mapping with: {', '.join(known)}")
        for name, (line, _) in value.content.items():
            if name not in known:
                near = get_close_matches(name, known, n=2, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}? " if near else ""
                self._refuse(line, f"{what} has no {name}; {hint}it has: {', '.join(known)}")
        return value.content

    def _page(self) -> _Value:
        """What the file holds."""
        import yaml

        loader = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader
        text = self._path.read_bytes()
        try:
            self._require_plain(yaml.parse(text, loader))
            node = yaml.compose(text, loader)
        except yaml.MarkedYAMLError as error:
            line = 1 if error.problem_mark is None else error.problem_mark.line + 1
            self._refuse(line, f"this is no YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            self._refuse(1, f"this is no YAML: {' '.join(str(error).split())}")
        return _Value(1, None) if node is None else self._value(node)

    def _require_plain(self, events: "Iterable[yaml.Event]") -> None:
        """Refuse what names code (tags) and what grows (aliases, depth)."""
        import yaml

        depth = 0
        for event in events:
            line = event.start_mark.line + 1
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                self._refuse(line, f"lists and mappings stand more than {DEEPEST} deep in each other")
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                self._refuse(line, f"& and * ({event.anchor}) are not taken; write out what is meant")
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
                tag = event.tag.replace("tag:yaml.org,2002:", "!!")
                self._refuse(line, f"the tag {tag} is not taken; leave it out")

    def _value(self, node: "yaml.Node") -> _Value:
        """A node of the file with everything in it."""
        import yaml

        line = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            return _Value(line, [self._value(item) for item in node.value])
        if isinstance(node, yaml.ScalarNode):
            if not node.style and len(node.value) > LONGEST_WORD:
                self._refuse(line, f"a word of {len(node.value):,} characters; put text into quotes")
            return _Value(line, node.value if node.style else _scalar(node.value))
        entries: dict[str, tuple[int, _Value]] = {}
        for key, value in node.value:
            name, where = self._value(key).content, key.start_mark.line + 1
            if not isinstance(name, str):
                self._refuse(where, f"a key is {self._value(key).plain()!r}; keys are text")
            if name in entries:
                self._refuse(where, f"{name} stands twice, in line {entries[name][0]} already")
            entries[name] = (where, self._value(value))
        return _Value(line, entries)

    def _refuse(self, line: int, message: str) -> Never:
        raise ModelError(f"{self._path}, line {line}: {message}")


def _scalar(text: str) -> str | int | float | bool | None:
    """What a word without quotes means."""
    if _NULL.fullmatch(text):
        return None
    if _TRUTH.fullmatch(text):
        return text.lower() == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _REAL.fullmatch(text) else text
