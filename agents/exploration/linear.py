"""Learners of linear MDPs: what they share, and LSVI-UCB.

A learner is told the features phi, the horizon and the number of actions, as the theory has it, and nothing else of the
model: states are told apart by what they show, and tables hold those that were met, whatever their number. Where the
environment shows features, phi is read from the observation, in its float32, and states that show the same are one.

With ``record=True`` the model's law is read too, for the exact worth of each episode's policy, over the states that can
be met (:class:`~lookahead_rl.solvers.linear_learning.LinearTotals`), which the tables then hold from the beginning. The
law enters nothing that is learnt; a state that was not met adds nothing to any sum.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...models import ConstrainedLinearMDP, LinearMDP
from ...models._checks import entry, whole_number
from ...models.features import TableFeatures
from ...solvers.linear import linear_backward_induction
from ...solvers.linear_learning import Channel, LinearPlan, LinearStatistics, LinearTotals, Transitions, stack
from ...wrappers.exact_view import constrained_view, exact_view
from ..base import FloatArray, IntArray, Space, checked_batch
from ..errors import AgentError
from .episodes import EpisodicLearner, Step, draw, require_constants, require_delta, require_range, require_scale

PRACTICAL = 0.01
"""What LSVI-UCB's bonus is multiplied by for practical constants; docs/exploration.md shows why."""


class LinearPolicy(Protocol):
    """A policy as a function of features; a LinearPlan is one."""

    def laws(self, stages: IntArray, features: FloatArray) -> FloatArray:
        """Action probabilities (n, A) at stages (n,) in states of features (n, A, d)."""
        ...


class Shown(NamedTuple):
    """What a batch of observations shows: stages (n,), H after the last, and features (n, A, d)."""

    stages: IntArray
    features: FloatArray


@final
class LinearTask:
    """A linear MDP as a learner sees it: features, horizon, actions, and how observations are read.

    Args:
        env: An environment of a LinearMDP or a ConstrainedLinearMDP, possibly wrapped.

    Attributes:
        model: The linear MDP; of a constrained one its process.
        constraint: The constrained problem, or None.
        observation_space: What its states show.
        observe: What a batch of codes (n,) shows.

    Raises:
        AgentError: The model is not linear, is not normalised, or a wrapper changes what is shown.
        ModelError: The environment has no model that can be seen.
    """

    def __init__(self, env: Any) -> None:
        view = constrained_view(env) or exact_view(env)
        found = cast("object", view.model)
        self.constraint = found if isinstance(found, ConstrainedLinearMDP) else None
        process = found if self.constraint is None else self.constraint.mdp
        if not isinstance(process, LinearMDP):
            raise AgentError(
                f"this agent learns linear MDPs, but the model is a {type(found).__name__}; make an environment such "
                "as LinearMDP-v0, or with a budget ConstrainedLinearMDP-v0; a FiniteHorizonMDP is learnt by UCBVI-v0"
            )
        if view.observe != env.unwrapped.observe:
            raise AgentError("a wrapper changes what the states of a linear MDP show; leave it out")
        _require_normalised(process)
        self.model: LinearMDP = process
        self.observe = view.observe
        self.observation_space: Space = view.observation_space
        self._shows_codes = isinstance(self.observation_space, spaces.Discrete)

    def read(self, observations: NDArray[Any]) -> Shown:
        """Stages and features of observations (n, ...)."""
        A, d = self.model.n_actions, self.model.dim
        if self._shows_codes:
            return Shown(observations // self.model.n_states, self.model.phi(observations % self.model.n_states))
        features = observations[:, : A * d].astype(np.float64).reshape(-1, A, d)
        return Shown(observations[:, A * d :].argmax(axis=1), features)

    def key(self, observation: Any) -> int | bytes:
        """What tells a state at its stage from others."""
        return int(observation) if self._shows_codes else cast("bytes", observation.tobytes())


class LinearLearner(EpisodicLearner):
    """A learner of linear MDPs. Subclasses say by :meth:`make_policy` which policy follows from the data.

    Args:
        env: An environment of a LinearMDP or a ConstrainedLinearMDP.
        n_signals: Signals learnt of each step.
        seed: Seed of the contract.
        record: Whether the exact worth of each episode's policy is recorded.

    Attributes:
        task: What is known of the problem.
        data: The statistics.
        policy: The present policy.

    Raises:
        AgentError: As :class:`LinearTask`.
        ModelError: As :class:`LinearTask`.
    """

    def __init__(self, env: Any, n_signals: int, seed: int, record: bool) -> None:
        self.task = LinearTask(env)
        super().__init__(env, self.task.observation_space, seed, record)
        model = self.task.model
        self.data = LinearStatistics(model.horizon, model.n_actions, model.dim, n_signals=n_signals)
        self._places: dict[int | bytes, tuple[int, int]] = {}
        self._seen: list[Any] = []
        self.policy: LinearPolicy

    @abstractmethod
    def make_policy(self) -> LinearPolicy:
        """The policy that follows from the statistics, and from nothing that loading would not bring back."""

    @final
    def locate(self, observation: Any) -> tuple[int, int]:
        """Stage and row of a state; its features are computed when it is first met."""
        key = self.task.key(observation)
        place = self._places.get(key)
        if place is None:
            stages, features = self.task.read(np.asarray(observation)[None])
            h = int(stages[0])
            place = self._places[key] = (h, self.data.add_state(h, features[0]))
            self._seen.append(np.array(observation))
        return place

    @final
    def action_at(self, h: int, row: int, u: float) -> int:
        """Drawn from the present policy's law, looked up if the state was known when the policy was made."""
        if isinstance(self.policy, LinearPlan) and row < self.policy.counts[h]:
            return draw(self.policy.known_laws[h, row], u)
        return draw(self.policy.laws(np.array([h]), self.data.features(h)[row : row + 1])[0], u)

    @final
    def action_probabilities(self, observations: Any) -> FloatArray:
        """Laws (n, A) of the present policy; uniform where the episode is over."""
        stages, features = self.task.read(checked_batch(observations, self.observation_space))
        live = stages < self.task.model.horizon
        laws = np.full(features.shape[:2], 1.0 / features.shape[1])
        laws[live] = self.policy.laws(stages[live], features[live])
        return laws

    @final
    def add_episode(self, steps: list[Step]) -> None:
        """Add the steps' features and signals."""
        *places, signals = zip(*steps, strict=True)
        stages, rows, actions, next_rows = np.array(places)
        self.data.add_episode(Transitions(stages, rows, actions, next_rows, np.array(signals)))
        self.after_episode()

    def after_episode(self) -> None:
        """What else changes after an episode, such as multipliers; nothing, unless a subclass says so."""

    @final
    def known_counts(self) -> IntArray:
        """Number of states (H,) met at each stage."""
        return self.data.counts

    @final
    def new_policy(self) -> None:
        """Fix the policy that follows from the statistics."""
        self.policy = self.make_policy()

    @final
    def worth(self) -> tuple[float, ...]:
        """Exact expected return of the present policy, and its cost if steps cost."""
        totals, rows, needed = self._totals
        if isinstance(self.policy, LinearPlan) and (self.policy.counts >= needed).all():
            laws = self.policy.laws_of(totals.stages, rows)
        else:
            laws = self.policy.laws(totals.stages, self.data.features_of(totals.stages, rows))
        return tuple(totals(laws).tolist())

    def yardstick(self) -> float:
        """The optimal value of the process, whatever it costs."""
        return self._optimal_value

    @property
    def budget(self) -> float | None:
        """The constraint's budget, if there is a constraint."""
        return None if self.task.constraint is None else self.task.constraint.budget

    def statistics_memory(self) -> dict[str, Any]:
        """The statistics, and the states met in the order they were."""
        space = self.observation_space
        seen = np.array(self._seen, dtype=space.dtype).reshape(-1, *cast("tuple[int, ...]", space.shape))
        return {"data": self.data.memory(), "seen": seen}

    def remember_statistics(self, memory: Mapping[str, Any]) -> None:
        """Take over statistics and states met."""
        self.data.remember(memory["data"])
        seen = checked_batch(memory["seen"], self.observation_space)
        shown = self.task.read(seen)
        met = np.bincount(shown.stages, minlength=self.data.counts.size)
        if not np.array_equal(met, self.data.counts):
            raise AgentError(f"{met} states were met at the stages, but statistics tell of {self.data.counts}")
        rows = np.zeros_like(shown.stages)
        for h, count in enumerate(met):
            rows[shown.stages == h] = np.arange(count)
        if not np.array_equal(shown.features, self.data.features_of(shown.stages, rows)):
            raise AgentError(
                "the features of the states met are not those they were learnt with; make the same environment (the "
                "same mdp_seed)"
            )
        self._seen = list(seen)
        places = zip(shown.stages.tolist(), rows.tolist(), strict=True)
        self._places = dict(zip(map(self.task.key, self._seen), places, strict=True))
        if len(self._places) != len(self._seen):
            raise AgentError("a state was met twice; the file is damaged")

    @cached_property
    def _totals(self) -> tuple[LinearTotals, IntArray, IntArray]:
        """How policies are evaluated, the rows (N,) of the states that can be met, and how many are then known (H,)."""
        model, constraint = self.task.model, self.task.constraint
        parameters = [model.theta] if constraint is None else [model.theta, constraint.theta_cost]
        totals = LinearTotals(model, parameters)
        shown = self.task.observe(totals.stages * model.n_states + totals.states)
        rows = np.array([self.locate(observation)[1] for observation in shown])
        return totals, rows, self.data.counts.copy()

    @cached_property
    def _optimal_value(self) -> float:
        rho = self.task.model.initial_distribution()
        return float(rho.weights @ linear_backward_induction(self.task.model).value(rho.states, 0))


@final
class LSVIUCBAgent(LinearLearner):
    r"""LSVI-UCB: optimistic least squares in linear MDPs (Jin, Yang, Wang, Jordan, COLT 2020, Algorithm 1).

    Before each episode, backwards over the stages, with Lambda_h = I + sum phi phi^T,

        w_h = Lambda_h^{-1} sum phi (r + max_a Q_{h+1}(s', a)),
        Q_h = min{<phi, w_h> + beta |phi|_{Lambda_h^{-1}}, H - h},

    and the episode is played greedily for Q. (The paper clips at H; with h stages gone by, H - h is as true a bound.)
    For beta = c d H sqrt(log(2 d T / delta)) with a sufficiently large absolute constant c and T = n_episodes * H, the
    regrets of all episodes add up, with probability 1 - delta, to O(sqrt(d^3 H^3 T) log(2 d T / delta)) at most (their
    Theorem 3.1). The promise is about the policies of all episodes together, not about the last one. The paper names
    no c; ``constants="theory"`` takes 1.

    In a ConstrainedLinearMDP costs are ignored, and recorded; regret is then measured against the optimum without the
    constraint.

    Args:
        env: An environment of a LinearMDP or a ConstrainedLinearMDP, its rewards in [0, 1].
        n_episodes: Number of episodes announced; it enters beta. Learning goes on beyond it with the same beta, the
            promise does not.
        constants: ``"theory"``: c = 1. ``"practical"`` (the default): c = 0.01, for which nothing is proven.
        scale: c itself, instead of either.
        delta: Probability with which the promise may fail.
        record: Whether the exact worth of each episode's policy is recorded; False leaves the model's law unread.
        seed: Seed of the contract.

    Attributes:
        beta: Coefficient of the bonus.

    Raises:
        AgentError: The model is not linear, is not normalised, or an argument is out of range; in :meth:`learn`, a
            reward is outside [0, 1].
        ModelError: The environment has no model that can be seen.
    """

    def __init__(
        self,
        env: Any,
        *,
        n_episodes: int = 10_000,
        constants: str = "practical",
        scale: float | None = None,
        delta: float = 0.05,
        record: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(env, 1, seed, record)
        self._n_episodes, self._delta = whole_number("n_episodes", n_episodes, 1), require_delta(delta)
        self._constants, self._scale = require_constants(constants), scale
        model = self.task.model
        self.beta = require_scale(scale, self._constants, PRACTICAL) * theory_bonus(
            model.dim, model.horizon, self._n_episodes, self._delta
        )
        self._channels = stack(
            [Channel(0, self.beta, high=np.arange(model.horizon, 0, -1.0))], model.horizon, model.dim
        )
        self.new_policy()

    def make_policy(self) -> LinearPlan:
        """Greedy for the optimistic action values."""
        return self.data.plan(self._channels)

    def signals(self, reward: float, info: Mapping[str, Any]) -> tuple[float, ...]:
        """The reward."""
        return (require_range("reward", reward, 0.0, 1.0, "scale the model's theta"),)

    def config(self) -> dict[str, Any]:
        """All arguments but the environment."""
        return {
            "n_episodes": self._n_episodes,
            "constants": self._constants,
            "scale": self._scale,
            "delta": self._delta,
            "record": self._records,
            "seed": self._seed,
        }


def theory_bonus(dim: int, horizon: int, n_episodes: int, delta: float) -> float:
    """d H sqrt(log(2 d T / delta)), T = n_episodes * H: beta for c = 1 (Jin et al., COLT 2020, Theorem 3.1)."""
    return dim * horizon * float(np.sqrt(np.log(2.0 * dim * n_episodes * horizon / delta)))


def _require_normalised(model: LinearMDP) -> None:
    """Raise unless the norms are those that bonuses count on."""
    if model.is_normalised:
        return
    if isinstance(model.phi, TableFeatures):
        norms = np.linalg.norm(model.phi.table, axis=-1)
        largest = np.unravel_index(int(norms.argmax()), norms.shape)
        if norms[largest] > 1.0:
            raise AgentError(
                f"{entry('phi', largest)} has norm {norms[largest]:.6g}, but bonuses count on |phi| <= 1; divide phi "
                f"by {norms[largest]:.6g} and multiply mu and theta by it, which leaves the problem as it is"
            )
    raise AgentError(
        "theta_h or mu_h(S) has a norm above sqrt(d), beyond what bonuses count on; divide mu and theta by a number "
        "and multiply phi by it, which leaves the problem as it is, as far as |phi| <= 1 allows"
    )
