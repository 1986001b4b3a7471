"""What an agent is worth now, beside uniform play and the optimum.

Where the model is known the value is exact: the agent states its law in every state, and an equation is solved
(:func:`~lookahead_rl.evaluation.audit`). Elsewhere episodes are played, and the value is their mean with the interval
of Student's t. What is measured follows from the environment:

======================================  ==========================================================================
environment                             value
======================================  ==========================================================================
of this package, one player             its expected return as the model has it: discounted, or over its horizon
within a budget                         the same; the score charges for what the policy overspends
actions that cannot be listed           the same, of the deterministic policy; of uniform play by formula
a game of this package                  what the policy guarantees: its return against a best response
a game against a named opponent         the same as of one player, in the decision process that the opponent leaves
a table of Gymnasium's                  the expected return of an episode cut by its TimeLimit; with ``gamma``, the
                                        discounted return without a limit
any other                               mean return of :data:`EPISODES` episodes, estimated
======================================  ==========================================================================

What a value means follows from the environment and the opponent alone, never from the agent, so that all agents of one
task can be compared.

The *score* is 0 for uniform play and 1 for the optimum,

    score = (value - uniform value) / (optimal value - uniform value),

so that tasks may be pooled. In a game without a named opponent the optimum is the Nash value, the largest that a policy
can guarantee. Within a budget a policy may earn more than the optimum by overspending. With y the price of cost at the
optimum every policy has value - y * violation <= optimal value (weak duality), so any price above y > 0 makes the
optimum within the budget the only best one (an exact penalty: Nocedal and Wright, Numerical Optimization, 2006, section
17.2). The score is that of value - 2 y * max(violation, 0); the violation stands beside it.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast, final

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from ..agents import Agent, AgentError, make_agent
from ..agents.base import sample_rows
from ..agents.baselines import RandomAgent
from ..agents.local.agent import LocalPlanningAgent
from ..envs.games import PLAYERS, MarkovGameEnv
from ..envs.model_backed import ModelBacked
from ..evaluation import AnyAudit, ConstrainedAudit, LargeActionAudit, audit
from ..evaluation.cross_play import LONGEST
from ..evaluation.games import game_to_solve, law_table
from ..evaluation.statistics import student_half_widths
from ..models import LargeActionMDP, MarkovGame, ModelError, TabularMDP
from ..solvers.constrained import InfeasibleError
from ..solvers.games.best_responses import best_response
from ..wrappers import VersusOpponent, exact_view
from ..wrappers.exact_view import game_view
from ..wrappers.opponents import mode
from .environments import make_opponent, make_truth_env, plays_whole_game
from .jobs import Job

EPISODES = 20
"""Evaluation episodes where no model is known; the same ones at every checkpoint of a run."""
CONFIDENCE = 0.95
"""Of the interval around their mean."""
SMALLEST_SPAN = 1e-9
"""Uniform play this near to the optimum, relative to their size, is optimal: there is no score."""
EXACT, ESTIMATED = "exact", "estimated"
UNIFORM = "Random-v0"


@dataclass(frozen=True)
class Reading:
    """What a policy is worth.

    Attributes:
        value: Its value, see the module.
        kind: ``"exact"`` or ``"estimated"``.
        score: 0 for uniform play, 1 for the optimum; None where one of them is not known, or uniform play is optimal.
        deterministic: Whether the most likely actions were measured instead of the law.
        low: Lower limit of an estimate.
        high: Upper limit of an estimate.
        violation: Cost beyond the budget, where there is one.
    """

    value: float
    kind: str
    score: float | None
    deterministic: bool
    low: float | None = None
    high: float | None = None
    violation: float | None = None


class Yardstick(ABC):
    """Measures policies in one environment. Subclasses say what is known there.

    Attributes:
        meaning: What the value is, in a few words.
    """

    meaning: str

    @property
    @abstractmethod
    def optimal_value(self) -> float | None:
        """Value of the optimum; None where it is not known."""

    @property
    @abstractmethod
    def uniform_value(self) -> float | None:
        """Value of uniform play; None where it is not known."""

    @abstractmethod
    def read(self, agent: Agent) -> Reading:
        """What the agent's policy is worth now. Nothing that it learns from is touched.

        Raises:
            AgentError: It has to learn first.
            ModelError: Its value is infinite, or it does not fit the environment.
        """


def yardstick_of(job: Job) -> Yardstick:
    """How the agent of a job is measured; nothing is solved before it is asked.

    Raises:
        ModelError: The environment cannot be made, ``gamma`` is given where the model has its own, or a table of
            Gymnasium's has neither a time limit nor ``gamma``.
        AgentError: There is no such opponent.
    """
    env: Any = make_truth_env(job)
    side = str(job.agent_kwargs.get("side", job.side)) if plays_whole_game(job) else job.side
    game = env.game_env if isinstance(env, VersusOpponent) else env
    if isinstance(game.unwrapped, MarkovGameEnv):
        if job.opponent is None:
            return SecurityYardstick(game, side, job.deterministic)
        if game is env:
            env = VersusOpponent(game, make_opponent(job, game), side=side, unavailable="first")
    base = env.unwrapped
    if isinstance(base, ModelBacked):
        if job.gamma is not None:
            raise ModelError(f"gamma is {job.gamma}, but {job.env_id} has its own; leave it out")
        return ModelYardstick(env, job, None, None)
    try:
        exact_view(env)
    except ModelError as error:
        return EpisodeYardstick(job, str(error))
    if isinstance(base, VersusOpponent):
        return ModelYardstick(env, job, None, None)
    return ModelYardstick(env, job, job.gamma, _time_limit(env, job))


def _time_limit(env: Any, job: Job) -> int | None:
    """The horizon within which a table of Gymnasium's is undiscounted; None with a discount."""
    if job.gamma is not None:
        return None
    limit = None if env.spec is None else env.spec.max_episode_steps
    if limit is None:
        raise ModelError(
            f"{job.env_id} has neither a discount nor a time limit, so returns need not be finite; pass gamma, such as "
            "0.99, or the argument max_episode_steps of the environment, such as 200"
        )
    return int(limit)


def normalised(value: float, uniform: float, optimal: float) -> float | None:
    """0 for uniform play, 1 for the optimum; None where uniform play is optimal."""
    if optimal - uniform <= SMALLEST_SPAN * max(1.0, abs(optimal), abs(uniform)):
        return None
    return (value - uniform) / (optimal - uniform)


@final
class ModelYardstick(Yardstick):
    """Exact, from the model of the environment.

    Args:
        env: An environment that :func:`~lookahead_rl.evaluation.audit` takes.
        job: Whose environment it is.
        gamma: Discount, where its table has none.
        horizon: Steps after which episodes are cut, undiscounted; None: as the model has it.
    """

    def __init__(self, env: Any, job: Job, gamma: float | None, horizon: int | None) -> None:
        self._env, self._gamma, self._horizon = env, gamma, horizon
        self._deterministic = job.deterministic
        model = env.unwrapped.model if isinstance(env.unwrapped, ModelBacked | VersusOpponent) else None
        # The law of a policy over digits cannot be listed; what it does deterministically can.
        self._is_unlisted = isinstance(model, LargeActionMDP) and model.actions == "digits"
        self.meaning = _meaning(model, gamma, horizon)

    @property
    def optimal_value(self) -> float:
        """Exact."""
        return self._uniform.optimal_value

    @property
    def uniform_value(self) -> float:
        """Exact, by formula where actions cannot be listed."""
        return self._uniform.uniform_value if isinstance(self._uniform, LargeActionAudit) else self._uniform.value

    def read(self, agent: Agent) -> Reading:
        """An audit."""
        if self._is_unlisted and isinstance(agent, RandomAgent):
            return Reading(self.uniform_value, EXACT, 0.0, False)  # its law is known, though it cannot be listed
        deterministic = self._deterministic or self._is_unlisted
        result = self._audit(agent, deterministic, isinstance(agent, LocalPlanningAgent))
        floor = _charged(self._uniform) if isinstance(self._uniform, ConstrainedAudit) else self.uniform_value
        return Reading(
            value=result.value,
            kind=EXACT,
            score=normalised(_charged(result), floor, self.optimal_value),
            deterministic=deterministic,
            violation=result.violation if isinstance(result, ConstrainedAudit) else None,
        )

    @cached_property
    def _uniform(self) -> AnyAudit:
        """Of uniform play; where laws cannot be listed its value is in every audit."""
        try:
            return self._audit(make_agent(UNIFORM, self._env), self._is_unlisted, False)
        except InfeasibleError as error:
            raise ModelError(str(error)) from error

    def _audit(self, agent: Agent, deterministic: bool, reachable: bool) -> AnyAudit:
        options: dict[str, Any] = {"deterministic": deterministic, "reachable": reachable}
        result = audit(agent, self._env, gamma=self._gamma, horizon=self._horizon, **options)
        if not np.isfinite([result.value, result.optimal_value]).all():
            raise ModelError(
                f"without a discount the value is {result.value} and the optimum {result.optimal_value}; pass gamma "
                "below 1, or a time limit"
            )
        return result


@final
class SecurityYardstick(Yardstick):
    """Exact: what one side of a game of this package guarantees, its return against a best response.

    Where a state lacks an action, its probability counts as that of the first one.

    Args:
        game: The game.
        side: The side that is measured; values are what it is paid.
        deterministic: Measure the most likely actions.
    """

    meaning = "return against a best response"

    def __init__(self, game: Any, side: str, deterministic: bool) -> None:
        self._view, self._player, self._deterministic = game_view(game, side), PLAYERS.index(side), deterministic

    @property
    def optimal_value(self) -> float:
        """The Nash value."""
        _, game, nash_values = self._known
        return self._paid(float(game.rho @ nash_values))

    @property
    def uniform_value(self) -> float:
        """What uniform play guarantees."""
        return self._uniform

    def read(self, agent: Agent) -> Reading:
        """A best response of the other side, solved exactly."""
        value = self._guaranteed(agent, self._deterministic)
        score = normalised(value, self.uniform_value, self.optimal_value)
        return Reading(value, EXACT, score, self._deterministic)

    @cached_property
    def _uniform(self) -> float:
        return self._guaranteed(None, False)

    @cached_property
    def _known(self) -> tuple[NDArray[np.int64], MarkovGame, NDArray[np.float64]]:
        return game_to_solve(self._view)

    def _guaranteed(self, agent: Agent | None, deterministic: bool) -> float:
        states, game, _ = self._known
        law = law_table(agent, self._view, self._player, states, game, "first")
        answer = best_response(game, 1 - self._player, mode(law) if deterministic else law)
        return self._paid(float(game.rho @ answer.value))

    def _paid(self, value: float) -> float:
        """What the side is paid where player_0 is paid ``value``."""
        return value if self._player == 0 else -value


@final
class EpisodeYardstick(Yardstick):
    """Estimated, from episodes that begin with the same seeds at every reading.

    Args:
        job: Whose environment it is.
        reason: Why nothing is exact here.
    """

    meaning = f"mean return of {EPISODES} episodes"

    def __init__(self, job: Job, reason: str) -> None:
        self._job, self.reason = job, reason

    @property
    def optimal_value(self) -> None:
        """Not known."""
        return

    @property
    def uniform_value(self) -> float | None:
        """Estimated, from episodes that begin with the same seeds; None where actions have no bounds."""
        return self._uniform

    def read(self, agent: Agent) -> Reading:
        """Play the episodes."""
        returns = self._returns(agent, self._job.deterministic)
        mean, reach = float(returns.mean()), float(student_half_widths(returns, CONFIDENCE))
        return Reading(mean, ESTIMATED, None, self._job.deterministic, mean - reach, mean + reach)

    @cached_property
    def _uniform(self) -> float | None:
        try:
            uniform = make_agent(UNIFORM, self._lanes[0])
        except AgentError:
            return None
        return float(self._returns(uniform, False).mean())

    @cached_property
    def _lanes(self) -> list[Any]:
        return [make_truth_env(self._job) for _ in range(EPISODES)]

    def _returns(self, agent: Agent, deterministic: bool) -> NDArray[np.float64]:
        """Undiscounted returns (EPISODES,), those under way being played side by side."""
        player = agent if isinstance(agent.action_space, spaces.Discrete) else _twin(agent, self._lanes[0])
        rng = np.random.default_rng(np.random.SeedSequence(self._job.seed, spawn_key=(1,)))
        returns, live = np.zeros(EPISODES), list(range(EPISODES))
        shown = {i: self._lanes[i].reset(seed=int(rng.integers(2**31)))[0] for i in live}
        for _ in range(LONGEST):
            batch = [shown[i] for i in live]
            space = self._lanes[0].observation_space  # an algorithm may turn images round for itself
            observations = concatenate(space, batch, create_empty_array(space, len(batch)))
            for i, action in zip(tuple(live), _actions(player, observations, deterministic, rng), strict=True):
                shown[i], reward, terminated, truncated, _ = self._lanes[i].step(action)
                returns[i] += float(reward)
                if terminated or truncated:
                    live.remove(i)
            if not live:
                return returns
        raise ModelError(
            f"an episode of {self._job.env_id} has not ended after {LONGEST:,} steps; limit its length, as by the "
            "argument max_episode_steps"
        )


def _twin(agent: Agent, env: Any) -> Agent:
    """An equal agent: what it draws, the other one, which may be learning, does not."""
    twin = type(agent)(env, **agent.config())
    twin.remember(copy.deepcopy(agent.memory()))
    return twin


def _actions(agent: Agent, observations: Any, deterministic: bool, rng: np.random.Generator) -> Any:
    """Draws from the agent's law by the given generator, where that law can be listed."""
    if not isinstance(agent.action_space, spaces.Discrete):
        return agent.predict(observations, deterministic=deterministic)[0]
    law = agent.action_probabilities(observations)
    chosen = law.argmax(axis=1) if deterministic else sample_rows(law, rng)
    return chosen + agent.action_space.start


def _charged(result: AnyAudit) -> float:
    """The value, less what overspending costs at twice the best price."""
    if not isinstance(result, ConstrainedAudit):
        return result.value
    return result.value - 2.0 * result.multiplier * max(result.violation, 0.0)


def _meaning(model: object, gamma: float | None, horizon: int | None) -> str:
    if horizon is not None:
        return f"expected return within {horizon} steps"
    if isinstance(model, TabularMDP):
        gamma = model.gamma
    return "expected return" if gamma in (None, 1.0) else f"expected return, discounted by {gamma:g}"


def discount_is_open(job: Job) -> bool:
    """Whether the model of the job's environment is a table of Gymnasium's, which carries no discount."""
    env = make_truth_env(job)
    base = cast("Any", env).unwrapped
    if plays_whole_game(job) or isinstance(base, ModelBacked | VersusOpponent):
        return False
    try:
        exact_view(env)
    except ModelError:
        return False
    return True
