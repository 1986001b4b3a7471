"""``lookahead-rl solve``: the exact optimum of an environment whose model is known, with its certificate.

An environment of this package, a table of Gymnasium's, a PettingZoo game of this package, or a model file; see
:mod:`lookahead_rl.evaluation.optima`.
"""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from ..evaluation.optima import AUTOMATIC, AnyModel, Optimum, discounted, find_optimum, model_of
from ..evaluation.report import Figure, Row, Section, format_cell, write_page
from ..experiments.environments import open_env
from ..models import ModelError, load_model
from .arguments import parse_pairs
from .io import print_table, require_writable, write_json

MOST_STATES = 1000
"""States in the table of a page."""
CLOSE = 1e-3
"""Relative gap up to which a value is told as one number."""


@dataclass(frozen=True)
class Solve:
    """Solve an environment or a model file exactly: its optimum or Nash value, certified bounds, how it was found."""

    env_id: str | None = None
    """An environment with a known model: of this package, a game of this package, or one of Gymnasium's tables;
    RandomMDP-v0 where no model file is named either."""
    env_kwargs: tuple[str, ...] = ()
    """Its arguments, as key=value pairs: n_states=1000 mdp_seed=3."""
    model: Path | None = None
    """Solve this model file (save_model) instead of an environment."""
    gamma: float | None = None
    """Another discount, where the model has one. Gymnasium's tables carry none and get 0.99 unless told otherwise."""
    tol: float = 1e-8
    """Wanted bound on the certified gap in the worst state, for iterative methods."""
    method: str = AUTOMATIC
    """A solver by name, such as policy-iteration, shapley, linear-program; a wrong name lists those there are."""
    out: Path | None = None
    """Write a page with the optimum state by state (needs the extra report)."""
    json: Path | None = None
    """Write the result as one row."""

    def run(self) -> None:
        """Solve, print what was found and write the files."""
        require_writable(self.out, self.json)
        if self.out is not None and find_spec("matplotlib") is None:
            raise ImportError('--out needs matplotlib: pip install "lookahead-rl[report]"')
        console = Console()
        try:
            model = self._model()
            with console.status(f"Solving {self._name}"):
                optimum = find_optimum(model, self.tol, self.method)
        except ValueError as error:  # what solvers refuse: a bad tol, episodes that need not end, a budget too small
            raise ModelError(str(error)) from error
        row = self._row(optimum)
        console.print(_sentence(self._name, optimum), markup=False, highlight=False)
        print_table(console, self._name, _facts(row))
        if self.json is not None:
            write_json(self.json, [row])
        if self.out is not None:
            self._write_page(self.out, row, optimum)
        written = [str(path) for path in (self.out, self.json) if path is not None]
        if written:
            console.print(f"Wrote {', '.join(written)}.", markup=False, highlight=False)

    @property
    def _name(self) -> str:
        if self.model is not None:
            return self.model.name
        return "RandomMDP-v0" if self.env_id is None else self.env_id

    def _model(self) -> AnyModel:
        """What is to be solved.

        Raises:
            ModelError: There is no such environment or file, or no model of it to see.
        """
        if self.model is None:
            return model_of(open_env(self._name, parse_pairs("--env-kwargs", self.env_kwargs)), self.gamma)
        for option, given in (("--env-id", self.env_id), ("--env-kwargs", self.env_kwargs or None)):
            if given is not None:
                raise ModelError(f"{option} tells of an environment, but --model names a file; leave one of them out")
        return discounted(load_model(self.model), self.gamma)

    def _row(self, optimum: Optimum) -> Row:
        arguments: dict[str, Any] = {} if self.model is not None else {**parse_pairs("--env-kwargs", self.env_kwargs)}
        place: Row = {"env_id": self._name, "env_kwargs": json.dumps(arguments, sort_keys=True)}
        return {**place, **optimum.row(), "tol": self.tol}

    def _write_page(self, path: Path, row: Row, optimum: Optimum) -> None:
        sections = [Section("The optimum", [_sentence(self._name, optimum)], _facts(row), _progress(optimum))]
        states, n = optimum.state_rows(MOST_STATES), optimum.states.size
        if states:
            shown = f" The {len(states):,} of {n:,} that episodes are likeliest to begin in." if len(states) < n else ""
            text = f"Optimal values of states, with their certified bounds.{shown}"
            sections.append(Section("State by state", [text], states))
        made = asdict(self) | ({"env_id": self._name} if self.model is None else {})
        write_page(path, f"The optimum of {self._name}", " ".join(self.env_kwargs), sections, configuration=made)


def _facts(row: Row) -> list[Row]:
    """What the row says beside the environment's name; bounds with all the digits that tell them apart."""
    exact = {name: f"{value:.14g}" for name, value in row.items() if name in ("value", "low", "high")}
    hidden = ("env_id", "env_kwargs", "agent", "optimal_value")
    return [{"what": name, "found": exact.get(name, format_cell(row[name]))} for name in row if name not in hidden]


def _sentence(name: str, optimum: Optimum) -> str:
    what, status = optimum.row()["agent"], str(optimum.status)
    if optimum.gap <= CLOSE * max(1.0, abs(optimum.value)):
        found = f"{name}: the {what} is worth {optimum.value:.6g}, certified to {optimum.gap:.1e}."
    else:
        found = f"{name}: the {what} is worth between {optimum.low:.6g} and {optimum.high:.6g}."
    return f"{found} {status[0].upper()}{status[1:]}."


def _progress(optimum: Optimum) -> list[Figure]:
    """The solver's stopping quantity, where it kept one."""
    from ..evaluation.plots import convergence

    if (optimum.history > 0).sum() < 2:
        return []
    return [Figure(convergence(optimum.history), "The solver's stopping quantity after each iteration.")]
