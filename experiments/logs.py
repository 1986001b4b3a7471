"""What a training run writes as it goes: stable-baselines3's files, and the exact values beside them.

=====================  ============================================================================================
``monitor.csv``        return, length and time of each training episode (``0.monitor.csv``, ... for several
                       environments); :mod:`.monitors`
``progress.csv``       a row of stable-baselines3's logger at a time
``evaluations.npz``    ``timesteps`` (n,), ``results`` and ``ep_lengths`` (n, episodes), as its EvalCallback writes them
``audits.csv``         where the model is known: steps, the policy's exact value, the optimum, the regret, the score
``tensorboard/``       event files of the logger, one for each part of the run
=====================  ============================================================================================

The first and the last but one only grow, so that a checkpoint needs to know their sizes alone; of the others it keeps
a copy.
"""

# stable-baselines3 leaves many of its types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat, filter_excluded_keys

from .measurement import Reading, Yardstick

PROGRESS, EVALUATIONS, AUDITS, EVENTS = "progress.csv", "evaluations.npz", "audits.csv", "tensorboard"
AUDIT_COLUMNS = ("steps", "value", "optimal_value", "uniform_value", "regret", "score", "violation")


@final
class ProgressFile(KVWriter):
    """stable-baselines3's ``progress.csv``, gone on with where it ends; columns are added as they come.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._columns = path, list[str]()
        if path.exists():
            with path.open(newline="") as file:
                self._columns = next(csv.reader(file), [])

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row; what has no place in a table (figures, videos) is left out."""
        row = filter_excluded_keys(key_values, key_excluded, "csv")
        row = {key: value for key, value in row.items() if isinstance(value, bool | int | float | str | np.generic)}
        if new := sorted(row.keys() - self._columns):
            self._add_columns(new)
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)

    def close(self) -> None:
        """Nothing is open between rows."""

    def _add_columns(self, new: list[str]) -> None:
        rows: list[dict[str, str]] = []
        if self._path.exists():
            with self._path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        self._columns += new
        draft = self._path.with_name(f"{self._path.name}.part")
        with draft.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        draft.replace(self._path)


@final
class EvaluationFile:
    """Returns and lengths of evaluation episodes, in the file of stable-baselines3's EvalCallback.

    Args:
        path: The file.

    Attributes:
        timesteps: Steps taken before each evaluation.
        results: Returns of its episodes.
        ep_lengths: Their lengths.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.timesteps: list[int] = []
        self.results: list[list[float]] = []
        self.ep_lengths: list[list[int]] = []
        if path.exists():
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                self.timesteps = arrays["timesteps"].tolist()
                self.results = arrays["results"].tolist()
                self.ep_lengths = arrays["ep_lengths"].tolist()

    def append(self, steps: int, returns: Sequence[float], lengths: Sequence[int]) -> None:
        """Add an evaluation, replacing the file in one step."""
        self.timesteps.append(steps)
        self.results.append(list(returns))
        self.ep_lengths.append(list(lengths))
        draft = self._path.with_name(f"{self._path.name}.part")
        with draft.open("wb") as file:
            np.savez(file, timesteps=self.timesteps, results=self.results, ep_lengths=self.ep_lengths)
        draft.replace(self._path)


@final
class AuditFile:
    """Exact values, a row at a time.

    Args:
        path: The file.

    Attributes:
        rows: Those it holds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, float | None]] = []
        if path.exists():
            with path.open(newline="") as file:
                self.rows = [_numbers(row) for row in csv.DictReader(file)]
        else:
            self._write(AUDIT_COLUMNS)

    def append(self, steps: int, reading: Reading, yardstick: Yardstick) -> dict[str, float | None]:
        """Add what a policy is worth after so many steps."""
        optimal = yardstick.optimal_value
        row: dict[str, float | None] = {
            "steps": steps,
            "value": reading.value,
            "optimal_value": optimal,
            "uniform_value": yardstick.uniform_value,
            "regret": None if optimal is None else optimal - reading.value,
            "score": reading.score,
            "violation": reading.violation,
        }
        self.rows.append(row)
        cells = [row[name] for name in AUDIT_COLUMNS[1:]]
        self._write([str(steps), *("" if cell is None else repr(float(cell)) for cell in cells)])
        return row

    def _write(self, cells: Sequence[str]) -> None:
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)


def run_logger(folder: Path, tensorboard: bool) -> Logger:
    """The logger of a run: its table and, if wanted, its event files."""
    outputs: list[KVWriter] = [ProgressFile(folder / PROGRESS)]
    if tensorboard:
        outputs.append(TensorBoardOutputFormat(str(folder / EVENTS)))
    return Logger(str(folder), outputs)


def _numbers(row: Mapping[str, str]) -> dict[str, float | None]:
    """A row of a file, read: steps are whole."""
    found: dict[str, float | None] = {name: float(text) if text else None for name, text in row.items()}
    return {**found, "steps": int(row["steps"])}
