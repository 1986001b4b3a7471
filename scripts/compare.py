"""``lookahead-rl compare``: agents x environments x seeds at equal environment steps, scored by what is true.

The score of a run is the exact value of its last policy where the model is known, 0 for uniform play and 1 for the
optimum; see :mod:`lookahead_rl.experiments.comparison`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..evaluation.plots import Plot, improvement_matrix, performance_profiles, score_curves, value_curves
from ..evaluation.report import Cell, Figure, Row, Section, format_cell, replace_text, versions, write_page
from ..experiments.comparison import Plan, gather
from ..experiments.engines import Progress as Report
from ..experiments.standings import Standings
from ..models import ModelError
from .arguments import parse_addressed
from .io import print_table, require_writable, write_json

RUNS = "runs"
"""Subfolder of ``--out`` with the store."""
PICTURES = ("scores", "scores-*", "values-*", "profiles", "improvement")
"""Names of the plots that are written."""
COLUMNS = ("agent", "steps", "value", "score", "low", "high", "violation", "queries", "seconds")
"""What the table of one environment shows."""
SCORES = ("score", "low", "high")
Captioned = tuple[Plot, str]
"""A plot with its caption."""
MEASURED = (
    "The score of a run is that of the policy it ended with: 0 for uniform play, 1 for the optimum. Tables show the "
    "interquartile mean, the mean of the middle half of all runs."
)


@dataclass(frozen=True)
class Compare:
    """Compare agents at equal environment steps, scored by exact values where the model is known."""

    agents: tuple[str, ...]
    """Agents by name, such as PPO DQN KSampleLookahead-v0 ValueIteration-v0."""
    env_ids: tuple[str, ...]
    """Environments of Gymnasium or PettingZoo by id, of this package or not."""
    out: Path = Path("comparison")
    """Folder for runs, tables, plots and the page. A comparison that was killed goes on from the runs in it."""
    total_timesteps: int = 20_000
    """Environment steps that each run may learn from."""
    seeds: int = 10
    """Number of seeds of each agent on each environment."""
    seed: int = 0
    """The first of them."""
    instances: int = 1
    """Instances of environments that take mdp_seed or game_seed: 0, 1, ... Each is a task of its own."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of environments: key=value for each that takes it, ENV:key=value for one of them."""
    agent_kwargs: tuple[str, ...] = ()
    """Arguments of agents: key=value for each that takes it, AGENT:key=value for one; also AGENT:n_steps=512."""
    hyperparameters: Path | None = None
    """YAML or JSON file: under each agent's name, under an environment's id or default, its hyperparameters."""
    checkpoints: int = 10
    """How often each policy is measured, at equal numbers of steps, the beginning aside."""
    gamma: float | None = None
    """Discount for Gymnasium's tables (FrozenLake, Taxi); without it returns are undiscounted within the time limit."""
    side: str = "player_0"
    """Which side of games the agents play."""
    opponent: str | None = None
    """Who plays the other side: the id of an agent or a file of one. Else agents of games learn the game itself."""
    deterministic: bool = False
    """Measure the most likely actions of policies instead of their laws."""
    engine: str = "joblib"
    """joblib: processes on this machine; loop: this process alone; ray: a cluster."""
    n_jobs: int | None = None
    """Runs at a time; one on each core by default."""
    json: Path | None = None
    """Write one row for each run."""

    def run(self) -> None:
        """Run the comparison, print its tables and write the files."""
        self._require_outputs()
        plan = self._plan()
        jobs = plan.jobs()  # everything that can be refused is refused here
        console = Console()
        self.out.mkdir(parents=True, exist_ok=True)
        with _bar(console, len(jobs)) as progress:
            found = gather(jobs, self.out / RUNS, engine=self.engine, n_jobs=self.n_jobs, progress=progress)
        plots = _plots(found)
        sections = _sections(found, plots)
        for section in sections:
            if section.rows:
                print_table(console, section.title, section.rows)
                for text in section.paragraphs if section is not sections[0] else ():
                    console.print(f"{text}\n", markup=False, highlight=False)
        for text in (*_left_out(found), found.caution()):
            console.print(text, markup=False, highlight=False)
        self._write(found, sections, plots)
        if self.json is not None:
            write_json(self.json, found.final_rows())
        console.print(f"Wrote {self.out / 'comparison.html'} and what it shows.", markup=False, highlight=False)

    def _plan(self) -> Plan:
        return Plan(
            agents=self.agents,
            env_ids=self.env_ids,
            total_timesteps=self.total_timesteps,
            seeds=self.seeds,
            first_seed=self.seed,
            instances=self.instances,
            env_kwargs=parse_addressed("--env-kwargs", self.env_kwargs),
            agent_kwargs=parse_addressed("--agent-kwargs", self.agent_kwargs),
            hyperparameters={} if self.hyperparameters is None else read_hyperparameters(self.hyperparameters),
            checkpoints=self.checkpoints,
            gamma=self.gamma,
            side=self.side,
            opponent=self.opponent,
            deterministic=self.deterministic,
        )

    def _require_outputs(self) -> None:
        """Raise now, not after hours of training, unless the files can be written."""
        if self.json is not None:
            require_writable(self.json)
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"{self.out} is a file; name a folder")
        for module, extra in (("pyarrow", "experiments"), ("matplotlib", "report")):
            if find_spec(module) is None:
                raise ImportError(f'compare needs {module}: pip install "lookahead-rl[{extra}]"')

    def _write(self, found: Standings, sections: Sequence[Section], plots: Mapping[str, Captioned]) -> None:
        """Everything beside the runs themselves."""
        _replace_bytes(self.out / "comparison.parquet", found.parquet())
        configuration = self._configuration()
        told = {"made_with": versions(), "configuration": configuration, **_told(found)}
        replace_text(self.out / "comparison.json", json.dumps(told, indent=1) + "\n")
        for stale in (path for kind in PICTURES for path in self.out.glob(f"{kind}.*")):
            stale.unlink()  # of an earlier comparison, which may have had more environments
        for name, (plot, _) in plots.items():
            replace_text(self.out / f"{name}.svg", plot.svg)
            _replace_bytes(self.out / f"{name}.png", plot.png())
        lead = f"{', '.join(found.agents)}: {self.total_timesteps:,} environment steps, {len(found.seeds)} seeds each."
        write_page(self.out / "comparison.html", "Comparison", lead, sections, configuration=configuration)

    def _configuration(self) -> dict[str, Any]:
        """What was asked for, the folders aside."""
        asked = {name: value for name, value in vars(self).items() if name not in ("out", "json", "n_jobs", "engine")}
        return {name: str(value) if isinstance(value, Path) else value for name, value in asked.items()}


def read_hyperparameters(path: Path) -> dict[str, Any]:
    """Hyperparameters by agent and environment, from a YAML or JSON file.

    Raises:
        ModelError: It is not of this form, or says two things under one name.
        ImportError: It is YAML, and pyyaml is missing.
        OSError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_single) if path.suffix == ".json" else _parsed_yaml(text)
    except ValueError as error:
        raise ModelError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} holds no mapping; write agents' names, under them an environment's id or default")
    return dict(content)


def _single(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """Pairs as a mapping.

    Raises:
        ValueError: A name comes twice.
    """
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} comes twice; give it once")
    return dict(pairs)


def _parsed_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        ValueError: It is none, or a name comes twice.
    """
    if find_spec("yaml") is None:
        raise ImportError('hyperparameters in YAML need pyyaml: pip install "lookahead-rl[experiments]"')
    import yaml

    def require_single(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            _single([(key.value, None) for key, _ in node.value])
        for child in node.value if isinstance(node, yaml.CollectionNode) else ():
            for one in child if isinstance(child, tuple) else (child,):
                require_single(one)

    try:
        require_single(yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _sections(found: Standings, plots: Mapping[str, Captioned]) -> list[Section]:
    """The page, part by part; its tables are also what the terminal shows."""
    measured = [MEASURED] if found.scored else []
    title = "All tasks with scores" if found.scored else "No task has scores"
    told = [*measured, *_left_out(found), found.caution()]
    sections = [Section(title, told, _columns(found.overall()), _figures(plots, "scores", "profiles"))]
    for number, family in enumerate(found.families()):
        rows = [row for row in found.by_environment() if row["env_id"] == family]
        drawn = _figures(plots, f"scores-{number}")
        sections.append(Section(family, [_reference(rows[0])], _columns(rows, COLUMNS), drawn))
    for number, task in enumerate(found.left_out):
        rows = [row for row in found.unscored() if row["env_id"] == task]
        drawn = _figures(plots, f"values-{number}")
        sections.append(Section(task, [_reference(rows[0])], _columns(rows, COLUMNS), drawn))
    if len(found.agents) > 1:
        text = "How probable it is that a run of one agent ends above a run of another on the same task."
        once = found.improvements()[::2]  # the other ones are one minus these
        sections.append(Section("Probability of improvement", [text], _columns(once), _figures(plots, "improvement")))
    return sections


def _told(found: Standings) -> dict[str, Any]:
    """Every number of the page, for programs."""
    return {
        "left_out": found.left_out,
        "intervals": found.caution(),
        "overall": found.overall(),
        "environments": found.by_environment(),
        "unscored": found.unscored(),
        "improvements": found.improvements(),
        "curves": {agent: asdict(curve) for agent, curve in found.curves().items()},
        "profiles": {agent: asdict(curve) for agent, curve in found.profiles().items()},
    }


def _reference(row: Row) -> str:
    """What values mean, and what scores 0 and 1 stand for."""
    several = f", means over {row['instances']} instances" if row.get("instances", 1) != 1 else ""
    known = {"Optimum": row["optimal_value"], "Uniform play": row["uniform_value"]}
    told = [f"{name} {format_cell(value)}." for name, value in known.items() if value is not None]
    return " ".join([f"Value: {row['meaning']}, {row['kind']}{several}.", *told])


def _plots(found: Standings) -> dict[str, Captioned]:
    """Plots with their captions, by the names of their files."""
    plots: dict[str, Captioned] = {}
    if found.scored:
        caption = "Scores while learning: interquartile means over all tasks with scores; bands are their intervals."
        plots["scores"] = (score_curves(found.curves()), caption)
        caption = "Performance profiles: the fraction of runs whose final score exceeds tau; bands are their intervals."
        plots["profiles"] = (performance_profiles(found.profiles()), caption)
    families = found.families()
    for number, family in enumerate(families if len(families) > 1 else ()):
        plots[f"scores-{number}"] = (score_curves(found.curves(family)), f"{family}: scores while learning.")
    for number, task in enumerate(found.left_out):
        drawn = value_curves(found.value_curves(task), "environment steps", *found.levels(task))
        plots[f"values-{number}"] = (drawn, f"{task}: values while learning, interquartile means; bands are intervals.")
    if len(found.agents) > 1:
        names = {agent: i for i, agent in enumerate(found.agents)}
        matrix = np.full((len(names), len(names)), np.nan)
        for row in found.improvements():
            matrix[names[str(row["agent"])], names[str(row["other"])]] = row["probability"]
        plots["improvement"] = (
            improvement_matrix(found.agents, matrix),
            "Probability that a run of the row's agent ends above one of the column's.",
        )
    return plots


def _figures(plots: Mapping[str, Captioned], *names: str) -> list[Figure]:
    """Those of these plots that there are."""
    return [Figure(plots[name][0].svg, plots[name][1]) for name in names if name in plots]


def _left_out(found: Standings) -> list[str]:
    if not found.left_out:
        return []
    told = "; ".join(f"{task}: {reason}" for task, reason in found.left_out.items())
    pooled = "No task has scores, so nothing is pooled" if not found.scored else "Left out of what is pooled"
    return [f"{pooled}. {told}."]


def _columns(rows: Sequence[Row], names: Sequence[str] | None = None) -> list[Row]:
    """Rows with these columns (None: all), those left out that are empty throughout; scores to four decimals."""
    kept = [name for name in (rows[0] if rows else ()) if names is None or name in names]
    filled = [name for name in kept if any(row[name] is not None for row in rows)]
    return [
        {name: _rounded(row[name]) if name in SCORES and "score" in row else row[name] for name in filled}
        for row in rows
    ]


def _rounded(cell: Cell) -> Cell:
    return round(cell, 4) + 0.0 if isinstance(cell, float) else cell  # + 0.0: no negative zero


def _replace_bytes(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Report]:
    """A bar of runs that are finished."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        bar = bars.add_task("runs", total=total)

        def report(finished: int, failed: int) -> None:
            bars.update(bar, completed=finished, description=f"runs ({failed} failed)" if failed else "runs")

        yield report
