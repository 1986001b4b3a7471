"""What commands have left, read back: rows of results, and what they were made with.

======================================  ==================================================================
source                                  rows
======================================  ==================================================================
folder with ``store.json``              those of a sweep; in its folder ``runs``, of a comparison (:mod:`.store`)
folder with ``config.json``             one training run: its exact values or, where no model is known,
                                        the mean returns of its evaluation episodes
``*.json``                              what any command wrote for ``--json``
======================================  ==================================================================

A folder is refused where its format version is another one, not guessed at.
"""

import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..evaluation.report import Cell, Row
from ..models import ModelError

STORE, RUN = "store.json", "config.json"
MOST_VALUES = 50
"""Different values of a setting that are listed one by one."""


@dataclass(frozen=True)
class Source:
    """Results of one command.

    Attributes:
        name: The file or folder.
        kind: ``"store"``, ``"training run"`` or ``"rows"``.
        rows: Flat rows.
        configuration: What they were made with, as far as they say.
        failed: Jobs that have no results.
    """

    name: str
    kind: str
    rows: list[Row]
    configuration: Mapping[str, Any]
    failed: int = 0


def read_source(path: Path) -> Source:
    """The results in a file or folder.

    Raises:
        ModelError: It holds no results, is damaged, or of another version.
        ImportError: Reading a store needs pyarrow.
        OSError: It is missing or cannot be read.
    """
    if path.is_dir():
        store = next((place for place in (path, path / "runs") if (place / STORE).exists()), None)
        if store is not None:
            source = _read_store(store)
        elif (path / RUN).exists():
            source = _read_run(path)
        else:
            raise ModelError(
                f"{path} holds no results: neither {STORE} (a sweep or a comparison) nor {RUN} (a training run) is in "
                "it; name the folder that a command wrote to"
            )
    else:
        source = _read_rows(path)
    if not source.rows:
        raise ModelError(f"{path} holds no results yet: there is not a single row")
    return source


def _read_store(path: Path) -> Source:
    from .store import CONFIGURATION, KEY, SECONDS, read_store

    store = read_store(path)
    timings = {job[KEY]: job for job in store.timings().to_pylist()}
    rows: list[Row] = []
    for row in store.rows():
        key = row.pop(KEY)
        rows.append({**row, "seconds": timings[key][SECONDS]})
    jobs = [mapping_of(job[CONFIGURATION]) for job in timings.values()]
    configuration = {**_json(path / STORE), "jobs": len(jobs), **summarised(jobs)}
    return Source(str(path), "store", rows, configuration, len(store.failures()))


def _read_run(path: Path) -> Source:
    from .checkpoints import FORMAT, VERSION

    content = _json(path / RUN)
    if content.get("format") != FORMAT:
        raise ModelError(f"{path / RUN} is not that of a training run")
    if content.get("version") != VERSION:
        raise ModelError(f"{path} is a training run of version {content.get('version')!r}; this is version {VERSION}")
    job = content.get("configuration", {}).get("job") if isinstance(content.get("configuration"), dict) else None
    if not isinstance(job, dict):
        raise ModelError(f"{path / RUN} is damaged: it does not say what was trained")
    job = cast("dict[str, Any]", job)
    place: dict[str, Cell] = {name: job.get(name) for name in ("agent", "env_id", "seed")}
    for name in ("env_kwargs", "agent_kwargs"):
        place[name] = json.dumps(job.get(name, {}), sort_keys=True)
    rows = _audits(path / "audits.csv") or _evaluations(path / "evaluations.npz")
    return Source(str(path), "training run", [{**place, **row} for row in rows], content)


def _audits(path: Path) -> list[dict[str, Cell]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {name: _number(path, cell) for name, cell in row.items() if name is not None}
            for row in csv.DictReader(file)
        ]


def _number(path: Path, text: str | None) -> Cell:
    if not text:
        return None
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {text!r} is no number") from error


def _evaluations(path: Path) -> list[dict[str, Cell]]:
    """Mean returns of evaluation episodes, with the least and the largest."""
    if not path.exists():
        return []
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            evaluations = list(zip(arrays["timesteps"].tolist(), arrays["results"], strict=True))
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    return [
        {"steps": steps, "value": float(np.mean(returns)), "kind": "estimated", "episodes": len(returns)}
        for steps, returns in evaluations
    ]


def _read_rows(path: Path) -> Source:
    content = _loaded(path)
    if not isinstance(content, list):
        raise ModelError(f"{path} is no list of rows, as commands write for --json")
    rows: list[Row] = []
    for i, row in enumerate(cast("list[object]", content)):
        if not isinstance(row, dict):
            raise ModelError(f"{path}: row {i} is {row!r}; a row maps names to numbers and text")
        cells = cast("dict[str, Any]", row)
        rows.append({name: _cell(value) for name, value in cells.items()})
    return Source(str(path), "rows", rows, {})


def _cell(value: Any) -> Cell:
    """What fits into a table; the rest as JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def _json(path: Path) -> dict[str, Any]:
    content = _loaded(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path} is damaged: it holds no mapping")
    return cast("dict[str, Any]", content)


def _loaded(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no JSON, or damaged: {error}") from error


def mapping_of(text: str) -> dict[str, Any]:
    """The JSON mapping in a text; any other text as it is, under the name ``text``."""
    try:
        content: object = json.loads(text)
    except ValueError:
        content = None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {"text": text}


def summarised(configurations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Many configurations as one: what they share, and of each setting that differs its values."""
    shared: dict[str, Any] = {}
    varied: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in configurations for name in one):
        texts = list(dict.fromkeys(json.dumps(one.get(name), sort_keys=True) for one in configurations))
        values = [json.loads(text) for text in texts]
        if len(values) == 1:
            shared[name] = values[0]
        else:
            varied[name] = values if len(values) <= MOST_VALUES else f"{len(values):,} different values"
    return {"shared": shared, "varied": varied}
