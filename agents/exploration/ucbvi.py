"""UCBVI: optimism in tabular finite-horizon problems."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...models import FiniteHorizonMDP, LinearMDP
from ...models._checks import whole_number
from ...solvers.dynamic_programming import backward_induction
from ...solvers.tabular_learning import Bonus, BonusKind, TabularPlan, TabularReturns, TransitionCounts
from ...wrappers.exact_view import ExactView, exact_view
from ..base import FloatArray, IntArray, checked_batch
from ..errors import AgentError
from ..lookup import one_hot, state_lookup
from .episodes import EpisodicLearner, Step, require_constants, require_delta, require_range, require_scale

PRACTICAL = 0.002
"""What bonuses are multiplied by for practical constants; docs/exploration.md shows why."""


@final
class UCBVIAgent(EpisodicLearner):
    """UCBVI (Azar, Osband, Munos, Minimax Regret Bounds for Reinforcement Learning, ICML 2017).

    Value iteration on the empirical law with a bonus for what was seldom tried; the equations, the bonuses and the
    regret bounds stand in :mod:`~lookahead_rl.solvers.tabular_learning`. Each episode is played greedily for the
    optimistic action values; the promise is about all episodes together. Counts are pooled over the stages where the
    model says that its law and rewards are the same at all of them.

    Rewards are learnt as means. The paper takes them as known; in this package's environments one visit makes them so.

    Args:
        env: An environment of a FiniteHorizonMDP.
        bonus: ``"BF"`` (Bernstein-Freedman) or ``"CH"`` (Chernoff-Hoeffding).
        n_episodes: Number of episodes announced; it enters the bonuses. Learning goes on beyond it with the same
            bonuses, the promise does not.
        constants: ``"theory"``: the paper's. ``"practical"`` (the default): 0.002 of its bonuses, for which nothing is
            proven.
        scale: What bonuses are multiplied by, instead of either.
        delta: Probability with which the promise may fail.
        reward_range: Least and greatest reward.
        record: Whether the exact worth of each episode's policy is recorded; False leaves the model's law unread.
        seed: Seed of the contract.

    Attributes:
        bonus: The bonus.
        counts: The statistics.
        plan: The present policy and its optimistic values.

    Raises:
        AgentError: The model has no finite horizon or is linear, two states look the same, or an argument is out of
            range; in :meth:`learn`, a reward is outside of its range.
        ModelError: The environment has no model that can be seen, or there is no such bonus.
    """

    def __init__(
        self,
        env: Any,
        *,
        bonus: BonusKind = "BF",
        n_episodes: int = 10_000,
        constants: str = "practical",
        scale: float | None = None,
        delta: float = 0.05,
        reward_range: Sequence[float] = (0.0, 1.0),
        record: bool = True,
        seed: int = 0,
    ) -> None:
        view = exact_view(env)
        self._model = model = _finite_horizon(view.model)
        super().__init__(env, view.observation_space, seed, record)
        self._codes_of = _reader(view, model)
        self._n_episodes, self._delta = whole_number("n_episodes", n_episodes, 1), require_delta(delta)
        self._constants, self._scale = require_constants(constants), scale
        low, high = reward_range
        pairs = model.n_states * (1 if model.is_stationary else model.horizon)
        log_term = float(np.log(5.0 * pairs * model.n_actions * self._n_episodes * model.horizon / self._delta))
        factor = require_scale(scale, self._constants, PRACTICAL)
        self.bonus = Bonus(bonus, log_term, factor, low, high)
        self.counts = TransitionCounts(
            model.horizon, model.n_states, model.n_actions, is_staged=not model.is_stationary, most=high
        )
        self.plan: TabularPlan
        self.new_policy()

    def locate(self, observation: Any) -> tuple[int, int]:
        """Stage and number of a state."""
        return divmod(int(self._codes_of(np.asarray(observation)[None])[0]), self._model.n_states)

    def action_at(self, h: int, row: int, u: float) -> int:
        """The action of the present policy."""
        return int(self.plan.actions[h, row])

    def add_episode(self, steps: list[Step]) -> None:
        """Count the steps."""
        *places, signals = zip(*steps, strict=True)
        stages, states, actions, next_states = np.array(places)
        next_states[next_states < 0] = self._model.n_states
        self.counts.add_episode(stages, states, actions, next_states, np.array(signals).reshape(-1))

    def known_counts(self) -> IntArray:
        """S at every stage."""
        return np.full(self._model.horizon, self._model.n_states)

    def new_policy(self) -> None:
        """Fix the policy that is greedy for the optimistic action values."""
        self.plan = self.counts.plan(self.bonus)

    def worth(self) -> tuple[float, ...]:
        """Exact expected return of the present policy."""
        return (self._returns(self.plan.actions),)

    def yardstick(self) -> float:
        """The optimal value."""
        return self._optimal_value

    def action_probabilities(self, observations: Any) -> FloatArray:
        """One-hot laws (n, A) of the present policy; uniform where the episode is over."""
        codes = self._codes_of(checked_batch(observations, self.observation_space))
        live = ~self._model.terminal_codes()[codes]
        laws = np.full((codes.size, self._model.n_actions), 1.0 / self._model.n_actions)
        laws[live] = one_hot(self.plan.actions.reshape(-1)[codes[live]], self._model.n_actions)
        return laws

    def signals(self, reward: float, info: Mapping[str, Any]) -> tuple[float, ...]:
        """The reward."""
        remedy = "pass the model's range of rewards as reward_range"
        return (require_range("reward", reward, self.bonus.low, self.bonus.high, remedy),)

    def statistics_memory(self) -> dict[str, Any]:
        """The counts."""
        return self.counts.memory()

    def remember_statistics(self, memory: Mapping[str, Any]) -> None:
        """Take over counts."""
        self.counts.remember(memory)

    def config(self) -> dict[str, Any]:
        """All arguments but the environment."""
        return {
            "bonus": self.bonus.kind,
            "n_episodes": self._n_episodes,
            "constants": self._constants,
            "scale": self._scale,
            "delta": self._delta,
            "reward_range": [self.bonus.low, self.bonus.high],
            "record": self._records,
            "seed": self._seed,
        }

    @cached_property
    def _returns(self) -> TabularReturns:
        return TabularReturns(self._model)

    @cached_property
    def _optimal_value(self) -> float:
        return float(self._model.rho @ backward_induction(self._model).value[0])


def _finite_horizon(model: object) -> FiniteHorizonMDP:
    """The model, if the agent can learn it."""
    if isinstance(model, FiniteHorizonMDP):
        return model
    if isinstance(model, LinearMDP):
        raise AgentError("UCBVI keeps tables of a FiniteHorizonMDP, but the model is a LinearMDP; make LSVIUCB-v0")
    raise AgentError(
        f"UCBVI needs a finite horizon, but the model is a {type(model).__name__}; make "
        "lookahead_rl.envs.ModelEnv(FiniteHorizonMDP(model.P, model.r, H, model.rho))"
    )


def _reader(view: ExactView, model: FiniteHorizonMDP) -> Callable[[NDArray[Any]], IntArray]:
    """The codes (n,) of observations (n, ...)."""
    codes = np.arange((model.horizon + 1) * model.n_states)
    if isinstance(view.observation_space, spaces.Discrete) and np.array_equal(view.observe(codes), codes):
        return _unchanged
    return state_lookup(view.observe, codes.size, model.terminal_codes())


def _unchanged(observations: NDArray[Any]) -> IntArray:
    return observations
