"""``lookahead-rl selfplay``: a population on a two-player game, everybody against everybody, on both sides.

See :mod:`lookahead_rl.experiments.population` for who plays, and :mod:`lookahead_rl.experiments.tournament` for the
numbers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import Progress, TaskID

from ..envs.games import MarkovGameEnv
from ..evaluation.plots import payoff_matrix
from ..evaluation.report import Cell, Figure, Row, Section, format_cell, replace_text, versions, write_page
from ..experiments.environments import Game, make_game
from ..experiments.population import Report, Training, build_population, game_id, save_member
from ..experiments.tournament import EPISODES, Tournament, rank_population, response_options
from ..models._checks import whole_number
from .arguments import parse_addressed, parse_pairs
from .io import print_table, require_writable, write_json

MEMBERS = "members"
"""Subfolder of ``--out`` with a folder for each member, which can be played again."""
RESPONDER = "PPO"
COLUMNS = {
    "member": "member",
    "payoff": "payoff",
    "nash_weight": "weight",
    "nash_skill": "skill",
    "openskill": "openskill",
    "openskill_sigma": "+/-",
    "exploitability": "exploitable",
    "exploitability_lower_bound": "lower bound",
}
"""Columns of the ranking that people read, and what they are called there."""


@dataclass(frozen=True)
class SelfPlay:
    """Let a population play a two-player game: cross-play, exploitability, ratings."""

    env_id: str = "lookahead_rl/Pursuit-v0"
    """A zero-sum game of PettingZoo in which two players move at once, of this package or not (classic/rps-v2)."""
    env_kwargs: tuple[str, ...] = ()
    """Its arguments, as key=value pairs."""
    agents: tuple[str, ...] = ("NashPlanner-v0", "MinimaxQ-v0", "UniformGame-v0")
    """Who plays: registered agents by name (Random-v0 plays any game), members of an earlier run by their folders
    (OUT/members/PPO), agent files: FILE for both sides, or FILE_0,FILE_1."""
    total_timesteps: int = 20_000
    """Environment steps that each agent learns from on each side, all rounds together."""
    rounds: int = 1
    """Rounds of self-play for agents of one side such as PPO: in each they play against what they were after the
    earlier ones, drawn anew for every episode. Every round's checkpoint is a member. With 1, against --opponents."""
    opponents: tuple[str, ...] = ()
    """Who agents of one side play against at first, agents by name or on disk; uniform play by default."""
    episodes: int = EPISODES
    """Episodes of each pairing: for openskill, and for the values where the game has no table of states."""
    seed: int = 0
    """Seed of everything that is drawn."""
    agent_kwargs: tuple[str, ...] = ()
    """Arguments of agents: key=value for each that takes it, AGENT:key=value for one, such as PPO:n_steps=512."""
    best_response: str | None = None
    """The agent that learns to respond to every member. By default PPO where exploitability is not known exactly."""
    best_response_timesteps: int = 20_000
    """Environment steps that it learns from, for each member and side; 0: no responses are learnt."""
    out: Path | None = None
    """Folder, new or empty, for the members, the tables and a page (needs the extras experiments and report)."""
    json: Path | None = None
    """Write one row for each member and for each pairing."""

    def run(self) -> None:
        """Make the population, let it play, print the tables and write the files."""
        self._require_outputs()
        env_id, kwargs = game_id(self.env_id), parse_pairs("--env-kwargs", self.env_kwargs)
        whole_number("episodes", self.episodes, 2)
        whole_number("best_response_timesteps", self.best_response_timesteps, 0)

        def game() -> Game:
            return make_game(env_id, kwargs)

        given = parse_addressed("--agent-kwargs", self.agent_kwargs)
        responder = self._responder(game(), given)
        training = self._training(given, responder)
        origin = {"env_id": env_id, "env_kwargs": kwargs}
        console = Console()
        with _reporter(console) as report:
            members = build_population(game, self.agents, training, origin=origin, report=report)
            if self.out is not None:  # before they play: whatever comes, what was trained is kept
                for member in members:
                    save_member(member, self.out / MEMBERS / quote(member.name, safe=""), origin)
            found = rank_population(
                members,
                game,
                episodes=self.episodes,
                seed=self.seed,
                best_response=responder,
                best_response_timesteps=self.best_response_timesteps,
                agent_kwargs=given,
                report=report,
            )
        self._tell(console, found, origin)

    def _tell(self, console: Console, found: Tournament, origin: Mapping[str, Any]) -> None:
        """Print the tables and write the files."""
        for section in _sections(found):
            print_table(console, section.title, section.rows)
        for line in _notes(found):
            console.print(line, markup=False, highlight=False)
        arguments = json.dumps(origin["env_kwargs"], sort_keys=True)
        rows = _json_rows(found, {**origin, "env_kwargs": arguments, "seed": self.seed})
        if self.json is not None:
            write_json(self.json, rows)
        if self.out is not None:
            self._write(self.out, found, rows, origin)
            console.print(f"Wrote {self.out / 'selfplay.html'} and what it shows.", markup=False, highlight=False)

    def _training(self, given: Mapping[str, Mapping[str, Any]], responder: str | None) -> Training:
        """How members are trained; arguments of a responder that is none of them are not theirs."""
        players = (*self.agents, *self.opponents)
        own = {name: taken for name, taken in given.items() if name in players or name != responder}
        return Training(self.total_timesteps, self.seed, self.rounds, own, self.opponents)

    def _responder(self, game: Game, given: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Who learns to respond; None where nobody needs to.

        Raises:
            AgentError: It cannot.
            ImportError: It needs an extra that is not installed.
        """
        if self.best_response_timesteps == 0:
            return None
        if self.best_response is None and isinstance(game.unwrapped, MarkovGameEnv):
            return None
        responder = RESPONDER if self.best_response is None else self.best_response
        response_options(responder, given, game)
        return responder

    def _require_outputs(self) -> None:
        """Raise now, not after hours of training, unless the files can be written."""
        if find_spec("openskill") is None:
            raise ImportError('selfplay needs openskill: pip install "lookahead-rl[experiments]"')
        if self.json is not None:
            require_writable(self.json)
        if self.out is None:
            return
        for module, extra in (("pyarrow", "experiments"), ("matplotlib", "report")):
            if find_spec(module) is None:
                raise ImportError(f'--out needs {module}: pip install "lookahead-rl[{extra}]"')
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise FileExistsError(f"{self.out} exists and is no empty folder; name a new one")
        self.out.mkdir(parents=True, exist_ok=True)

    def _write(self, out: Path, found: Tournament, rows: Sequence[Row], origin: Mapping[str, Any]) -> None:
        """Tables for programs, and the page."""
        sections = _sections(found)
        for table in ("ranking", "cross_play"):
            _write_parquet(out / f"{table}.parquet", [row for row in rows if row["table"] == table])
        configuration = {name: value for name, value in vars(self).items() if name not in ("out", "json")}
        told = {"made_with": versions(), "configuration": configuration, "rows": list(rows)}
        replace_text(out / "selfplay.json", json.dumps(told, indent=1) + "\n")
        cross = found.cross
        picture = payoff_matrix(cross.names, cross.values, cross.sides).svg
        caption = f"What {cross.sides[0]} is paid in each pairing, {cross.kind}."
        sections[-1] = replace(sections[-1], figures=[Figure(picture, caption)])
        lead = f"{', '.join(member.name for member in found.members)}: every pairing, on both sides."
        title = f"Self-play in {origin['env_id']}"
        write_page(out / "selfplay.html", title, lead, sections, configuration=configuration)


def _sections(found: Tournament) -> list[Section]:
    """The tables, as terminal and page show them."""
    cross = found.cross
    shown = found.ranking()
    columns = {key: name for key, name in COLUMNS.items() if any(row[key] is not None for row in shown)}
    ranking: list[Row] = [{name: _shown(key, row[key]) for key, name in columns.items()} for row in shown]
    corner = f"{cross.sides[0]} \\ {cross.sides[1]}"
    matrix: list[Row] = [
        {corner: name, **dict(zip(cross.names, map(float, cross.values[i]), strict=True))}
        for i, name in enumerate(cross.names)
    ]
    return [Section("Ranking", _notes(found), ranking), Section(f"Paid to {cross.sides[0]}, {cross.kind}", [], matrix)]


def _shown(key: str, value: Cell) -> Cell:
    """Ratings are known to a hundredth at best; rows for programs hold all digits."""
    return round(value, 2) if key.startswith("openskill") and isinstance(value, float) else value


def _notes(found: Tournament) -> list[str]:
    """What the numbers mean, in a few lines."""
    cross = found.cross
    played = 0 if cross.returns is None else cross.returns.shape[2]
    lines = [
        "payoff: what a member wins from the others, on the mean over both sides. weight: Nash averaging's mixture of "
        f"members, which nobody beats (certified within {format_cell(found.nash.gap)}); skill: what a member wins "
        f"against it. openskill: rating with its uncertainty, from {played:,} matches of each pair, each one episode "
        "on either side."
    ]
    if cross.kind == "exact":
        lines.append(
            "exploitable: exploitability, what a best response wins on the mean over both sides, half of NashConv; "
            f"exact. The game is worth {format_cell(cross.nash_value)} to {cross.sides[0]}."
        )
    else:
        width = float((cross.high - cross.low).max()) / 2.0
        lines.append(
            f"Values are estimates from {played:,} episodes each, within {format_cell(width)} at confidence "
            f"{cross.confidence:g} or better."
        )
    if found.responses is not None:
        lines.append(
            f"lower bound: the exploitability that {found.responses.agent} found in {found.responses.steps:,} steps of "
            "learning against each side; a better response may win more."
        )
    return lines


def _json_rows(found: Tournament, common: dict[str, Any]) -> list[Row]:
    """All rows for programs: the ranking's and the pairings'."""
    seconds = {member.name: round(member.seconds, 3) for member in found.members}
    ranking = [
        {"table": "ranking", **common, **row, "kind": found.cross.kind, "seconds": seconds[str(row["member"])]}
        for row in found.ranking()
    ]
    return [*ranking, *({"table": "cross_play", **common, **row} for row in found.pairings())]


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    draft = path.with_name(f"{path.name}.part")
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), draft)
    draft.replace(path)


@contextmanager
def _reporter(console: Console) -> Iterator[Report]:
    """A bar for whatever goes on."""
    with Progress(console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            for other in [name for name in bars if name != what]:
                progress.remove_task(bars.pop(other))
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done)

        yield report
