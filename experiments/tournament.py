"""Where the members of a population stand: against each other, against best responses, and in two kinds of rating.

Where values are exact (:mod:`~lookahead_rl.evaluation.cross_play`) so is the exploitability of every member. Elsewhere
a best response is learnt against it on each side. What a learnt response earns is at most what a best response would,
so the exploitability that it shows is a *lower bound*: a small one may mean a strong member or a weak learner. The
members themselves are responses too. Of all these the one that does best in a first series of episodes is measured in a
second one, so that choosing it does not flatter it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents import Agent, AgentError, make_agent
from ..evaluation import exploitability
from ..evaluation.cross_play import CrossPlay, cross_play, play_episodes
from ..evaluation.ratings import NashAverage, Skill, nash_average, skill_ratings
from ..evaluation.report import Row
from ..models import ModelError
from ..models._checks import whole_number
from .environments import Game, takes_games
from .population import MakeGame, Member, Report, agent_options, member_seed, single_agent_env

FloatArray = NDArray[np.float64]

EPISODES = 100
"""Of each pairing, unless told otherwise: the ratings come from them, and elsewhere the values too."""
RESOLUTION = 1e-6
"""Payoffs nearer than this to each other, relative to the largest value, are equal to Nash averaging."""


@dataclass(frozen=True, eq=False)
class Responses:
    """What learnt responses earn against every member.

    Attributes:
        agent: Registered id of the learner.
        steps: Environment steps it was asked to learn from, for each member and side.
        paid: (2, n) to player_0: by member i's player_0 meeting a response, and by a response meeting its player_1.
        low: Lower limits (2, n) of the intervals; ``paid`` itself where values are exact.
        high: Upper limits (2, n).
        by: (2, n) names of who responded: the learner, or a member that did better.
    """

    agent: str
    steps: int
    paid: FloatArray
    low: FloatArray
    high: FloatArray
    by: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def lower_bound(self) -> FloatArray:
        """(n,): the exploitability that the responses show; never more than the true one, but for chance."""
        return np.maximum(0.0, 0.5 * (self.paid[1] - self.paid[0]))

    @property
    def surely(self) -> FloatArray:
        """(n,): the same at the lower end of both intervals."""
        return np.maximum(0.0, 0.5 * (self.low[1] - self.high[0]))


@dataclass(frozen=True, eq=False)
class Tournament:
    """A population measured.

    Attributes:
        members: Who plays.
        cross: Everybody against everybody.
        nash: Nash averaging of the symmetrised matrix.
        skills: Openskill ratings from the episodes.
        responses: What learnt responses earn; None where none were asked for.
        uniform: Exact exploitability of uniform play; None where not known.
    """

    members: tuple[Member, ...]
    cross: CrossPlay
    nash: NashAverage
    skills: tuple[Skill, ...]
    responses: Responses | None
    uniform: float | None

    def ranking(self) -> list[Row]:
        """One row for each member, best first: by Nash averaging, then by the mean payoff."""
        payoffs, n = self.cross.payoffs, len(self.members)
        mean = payoffs.sum(axis=1) / max(n - 1, 1)
        digits = np.round(self.nash.skill / _unit(self.cross))
        order = np.lexsort((-mean, -digits))
        return [{**self._rated(int(i), float(mean[i])), **self._conceded(int(i))} for i in order]

    def pairings(self) -> list[Row]:
        """One row for each entry of the cross-play matrix."""
        cross, played = self.cross, 0 if self.cross.returns is None else self.cross.returns.shape[2]
        return [
            {
                "player_0": cross.names[i],
                "player_1": cross.names[j],
                "value": float(cross.values[i, j]),
                "low": float(cross.low[i, j]),
                "high": float(cross.high[i, j]),
                "kind": cross.kind,
                "episodes": played,
            }
            for i in range(len(cross.names))
            for j in range(len(cross.names))
        ]

    def _rated(self, i: int, mean: float) -> dict[str, Any]:
        member, skill = self.members[i], float(self.nash.skill[i])
        return {
            "member": member.name,
            "agent": member.agent,
            "steps": member.steps,
            "payoff": mean,
            "nash_weight": float(self.nash.weights[i]),
            "nash_skill": 0.0 if abs(skill) < 1e-6 * _unit(self.cross) else skill,
            "nash_gap": self.nash.gap,
            "openskill": self.skills[i].mu,
            "openskill_sigma": self.skills[i].sigma,
        }

    def _conceded(self, i: int) -> dict[str, Any]:
        """What a member concedes to best responses, and to learnt ones."""
        cross, learnt = self.cross, self.responses
        found: dict[str, Any] = {"exploitability": None, "nash_conv": None, "guarantee_0": None, "guarantee_1": None}
        found |= {"value": None, "optimal_value": None, "score": None}
        if cross.guarantees is not None and cross.exploitability is not None:
            conceded = float(cross.exploitability[i])
            score = 1.0 - conceded / self.uniform if self.uniform else None
            found |= {"exploitability": conceded, "nash_conv": 2.0 * conceded}
            found |= {f"guarantee_{k}": float(cross.guarantees[k, i]) for k in range(2)}
            found |= {"value": -conceded, "optimal_value": 0.0, "score": score}
        found |= {
            "exploitability_lower_bound": None if learnt is None else float(learnt.lower_bound[i]),
            "exploitability_surely": None if learnt is None else float(learnt.surely[i]),
            "response_0": None if learnt is None else learnt.by[1][i],
            "response_1": None if learnt is None else learnt.by[0][i],
        }
        return found


def rank_population(
    members: Sequence[Member],
    make_game: MakeGame,
    *,
    episodes: int = EPISODES,
    seed: int = 0,
    best_response: str | None = None,
    best_response_timesteps: int = 0,
    agent_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
    report: Report | None = None,
) -> Tournament:
    """Measure and rate a population.

    Args:
        members: Who plays, see :func:`~lookahead_rl.experiments.population.build_population`.
        make_game: Makes the game anew.
        episodes: Of each pairing, at least 2.
        seed: Seed of the episodes, of the order in which ratings are learnt, and of the responses' learning.
        best_response: Id of the agent that learns to respond to every member on each side; None: no responses.
        best_response_timesteps: Environment steps that it learns from each time.
        agent_kwargs: Arguments by its id, or under ``""`` those it may take; hyperparameters by their names too.
        report: Called as ``report(what, done, total)``.

    Raises:
        ModelError: Two members have one name, a member does not fit the game, rewards do not add up to zero, or a
            number is out of range.
        AgentError: The responder is unknown, or learns whole games.
        ImportError: openskill, or what the responder needs, is not installed.
    """
    whole_number("episodes", episodes, 2)
    names = [member.name for member in members]
    if len({*names}) < len(names):
        raise ModelError(f"two members have one name: {', '.join(names)}")
    options = {} if best_response is None else response_options(best_response, agent_kwargs or {}, make_game())
    cross = cross_play(
        {member.name: member.policies for member in members},
        make_game(),
        episodes=episodes,
        seed=seed,
        unavailable="first",
        report=None if report is None else lambda done, total: report("episodes", done, total),
    )
    responses = None
    if best_response is not None:
        learner = _Responder(
            best_response, whole_number("best_response_timesteps", best_response_timesteps, 0), options
        )
        responses = _respond(members, cross, make_game, learner, episodes, seed, report)
    nash = nash_average(cross.payoffs, resolution=_unit(cross))
    assert cross.returns is not None
    skills = tuple(skill_ratings(cross.returns, seed))
    uniform = 0.5 * exploitability(make_game()).gap if cross.kind == "exact" else None
    return Tournament(tuple(members), cross, nash, skills, responses, uniform)


def response_options(agent: str, agent_kwargs: Mapping[str, Mapping[str, Any]], game: Game) -> dict[str, Any]:
    """The arguments that a responder takes of those given.

    Raises:
        AgentError: There is no such agent, it learns whole games and so responds to nobody, or it does not take an
            argument given under its id.
    """
    if takes_games(agent):
        raise AgentError(f"{agent} is made with a whole game; a response is learnt by agents of one side, such as PPO")
    return agent_options(agent, agent_kwargs, game)[0]


@dataclass(frozen=True)
class _Responder:
    agent: str
    steps: int
    options: Mapping[str, Any]

    def against(self, member: Member, side: int, make_game: MakeGame, seed: int) -> Agent:
        """An agent of ``side`` that has learnt against the member's other one."""
        env = single_agent_env(make_game(), side, member.policies[1 - side])
        agent = make_agent(self.agent, env, seed=member_seed(seed, f"against {member.name}", side), **self.options)
        return agent.learn(self.steps)


def _respond(
    members: Sequence[Member],
    cross: CrossPlay,
    make_game: MakeGame,
    responder: _Responder,
    episodes: int,
    seed: int,
    report: Report | None,
) -> Responses:
    n = len(members)
    found, by = np.empty((3, 2, n)), [[""] * n, [""] * n]
    for k in range(2 * n):
        side, i = divmod(k, n)  # of the responder
        if report is not None:
            report(f"{responder.agent} against {members[i].name}", k, 2 * n)
        learnt = responder.against(members[i], side, make_game, seed)
        found[:, 1 - side, i], by[1 - side][i] = _measured(
            members, i, side, (responder.agent, learnt), cross, make_game(), episodes, seed
        )
    paid, low, high = found
    return Responses(responder.agent, responder.steps, paid, low, high, (tuple(by[0]), tuple(by[1])))


def _measured(
    members: Sequence[Member],
    i: int,
    side: int,
    learnt: tuple[str, Agent],
    cross: CrossPlay,
    game: Game,
    episodes: int,
    seed: int,
) -> tuple[FloatArray, str]:
    """What player_0 is paid, with limits (3,), when the best known response of ``side`` meets member i; its name."""
    sign, name = 1.0 - 2.0 * side, learnt[0]
    by_members = sign * (cross.values[:, i] if side == 0 else cross.values[i])
    j = int(by_members.argmax())

    def pair(policy: Any) -> tuple[Any, Any]:
        return (policy, members[i].policies[1]) if side == 0 else (members[i].policies[0], policy)

    if cross.kind == "exact":
        value = float(cross_play({name: pair(learnt[1])}, game, unavailable="first").values[0, 0])
        if by_members[j] > sign * value:
            value, name = float(sign * by_members[j]), members[j].name
        return np.full(3, value), name
    first = play_episodes(game, *pair(learnt[1]), episodes, seed=seed + 1, unavailable="first")
    chosen = learnt[1]
    if by_members[j] > sign * first.mean():
        name, chosen = members[j].name, members[j].policies[side]
    again = cross_play(
        {name: pair(chosen)}, game, episodes=episodes, seed=seed + 2, unavailable="first", confidence=cross.confidence
    )
    return np.array([again.values[0, 0], again.low[0, 0], again.high[0, 0]]), name


def _unit(cross: CrossPlay) -> float:
    """Payoffs this near to each other are equal."""
    largest = float(np.abs(cross.values).max())
    if not np.isfinite(largest):
        raise ModelError("a value is not finite")
    return RESOLUTION * largest if largest > 0.0 else 1.0
