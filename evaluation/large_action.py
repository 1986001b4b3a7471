"""What a policy is worth where actions cannot be listed, beside the planted optimum.

In a LargeActionMDP what a policy loses is what its gaps cost (:mod:`lookahead_rl.models.large_action`),

    V* - V^pi = E_pi[sum_h w(s_h) gap(s_h, a_h)],

so it is enough to know the actions' gaps and where they aim. A deterministic policy is asked once for every stage and
state, a policy over action indices for its laws; both are evaluated exactly, whatever the number of actions. The law of
a sampling policy over digits cannot be listed: its loss is estimated by playing it. The loss X of an episode lies in
[0, R], R = 1.1 H max w, so with n episodes of mean x and sample variance v, and confidence 1 - delta,

    |x - E X| <= sqrt(2 v log(4 / delta) / n) + 7 R log(4 / delta) / (3 (n - 1)),

the empirical Bernstein bound (Maurer, Pontil, Empirical Bernstein Bounds and Sample Variance Penalization, COLT 2009,
Theorem 4, on either side). It holds at every n, with no assumption on the law of X. The noise of the transitions is not
part of X: it is that of returns less the planted values.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast, final

import numpy as np
import scipy.sparse as sp
from gymnasium import spaces

from ..envs.simulators import LargeActionSimulator
from ..models import LargeActionMDP, ModelError
from ..models._checks import flag, plain_array, real_number, whole_number
from ..models.summaries import Summarised
from ..solvers.large_action import LARGEST_GAP, Conduct, evaluate_conduct, evaluate_digits, planted_optimum
from ..solvers.solution import Certificate
from ..wrappers.exact_view import LargeActionView, large_action_view
from ..wrappers.opponents import mode
from .policies import BLOCK_ENTRIES, FloatArray, IntArray, Predictor, action_table, array_table, predictor

EPISODES = 4096
"""Episodes that estimate a value unless another number is asked for."""


@dataclass(frozen=True, eq=False, repr=False)
class LargeActionAudit(Summarised, ABC):
    """The value of a policy in a large-action MDP, beside the optimum and uniform play.

    Attributes:
        value: Expected return of an episode, or its estimate.
        value_bounds: Bounds on it; :attr:`method` says of which kind.
        optimal_value: Expected return of the optimal policy, exact.
        uniform_value: Expected return of uniformly drawn digits, exact.
        certificate: Bounds (H + 1, S) on v*.
        deterministic: Whether the policy's deterministic actions were audited instead of its samples.
    """

    shown: ClassVar[tuple[str, ...]] = ("value", "optimal_value", "regret", "score", "method")

    value: float
    value_bounds: tuple[float, float]
    optimal_value: float
    uniform_value: float
    certificate: Certificate
    deterministic: bool

    @property
    @abstractmethod
    def method(self) -> str:
        """How the value was found and what its bounds promise."""

    @property
    def regret(self) -> float:
        """optimal_value - value."""
        return self.optimal_value - self.value

    @property
    def regret_bounds(self) -> tuple[float, float]:
        """Bounds on ``regret``, as good as those on ``value``."""
        low, high = self.value_bounds
        return max(0.0, self.optimal_value - high), self.optimal_value - low

    @property
    def score(self) -> float:
        """(value - uniform_value) / (optimal_value - uniform_value): 0 for uniform play, 1 for the optimum."""
        return self._scored(self.value)

    @property
    def score_bounds(self) -> tuple[float, float]:
        """Bounds on ``score``, as good as those on ``value``."""
        low, high = self.value_bounds
        return self._scored(low), self._scored(high)

    def _scored(self, value: float) -> float:
        return (value - self.uniform_value) / (self.optimal_value - self.uniform_value)


@final
@dataclass(frozen=True, eq=False, repr=False)
class ExactAudit(LargeActionAudit):
    """An exact value, from what the policy does at every stage and state.

    Attributes:
        values: v^pi (H + 1, S).
        optimal_values: v* (H + 1, S).
        value_certificate: Bounds (H + 1, S) on v^pi.
    """

    values: FloatArray
    optimal_values: FloatArray
    value_certificate: Certificate

    @property
    def method(self) -> str:
        """Backward recursion."""
        return "exact: backward recursion over all stages and states; the bounds are certain"


@final
@dataclass(frozen=True, eq=False, repr=False)
class SimulatedAudit(LargeActionAudit):
    """An estimate, from episodes.

    Attributes:
        n_episodes: How many.
        confidence: Probability with which ``value_bounds`` hold the value.
        deviation: Standard deviation of an episode's loss.
        seed: Seed of the episodes.
    """

    n_episodes: int
    confidence: float
    deviation: float
    seed: int

    @property
    def method(self) -> str:
        """Simulation."""
        return (
            f"simulated: mean loss of {self.n_episodes:,} episodes; the bounds hold with probability "
            f"{self.confidence:g} (empirical Bernstein)"
        )


def audit_large_action(policy: object, view: LargeActionView, deterministic: bool) -> LargeActionAudit:
    """The value of a policy: exact where it can be, else estimated from :data:`EPISODES` episodes.

    Args:
        policy: As in :func:`~lookahead_rl.evaluation.audit`; arrays hold digits (S, d) or (H, S, d), or what arrays
            hold elsewhere where actions are indices.
        view: The environment.
        deterministic: Audit the policy's deterministic actions instead of its samples.

    Raises:
        ModelError: The policy does not fit the environment.
    """
    model = view.model
    if model.actions == "index":
        return _exact(model, *evaluate_conduct(model, _listed_conduct(policy, view, deterministic)), deterministic)
    if isinstance(policy, np.ndarray | list):
        digits = plain_array("policy", cast("Any", policy))
    else:
        ask = predictor(policy, view.observation_space)
        if ask.samples and not deterministic:
            return _simulated(ask, view, EPISODES, 0.95, False, 0)
        digits = _table_of_digits(ask, view)
    solution = evaluate_digits(model, digits)
    return _exact(model, solution.value, solution.certificate, deterministic)


def simulated_audit(
    policy: object,
    env: Any,
    *,
    n_episodes: int = EPISODES,
    confidence: float = 0.95,
    deterministic: bool = False,
    seed: int = 0,
) -> SimulatedAudit:
    """The value of a policy in a large-action MDP, estimated by playing it.

    Args:
        policy: An agent, an algorithm or policy of stable-baselines3, or an object with ``predict``.
        env: An environment of a LargeActionMDP, possibly wrapped.
        n_episodes: Episodes to play, at least 2; all of them side by side, as far as memory goes.
        confidence: Wanted probability of the bounds, in (0, 1).
        deterministic: Play the policy's deterministic actions.
        seed: Seed of starts and transitions; the policy's own randomness is its own.

    Raises:
        ModelError: A number out of range, the environment has another model, or the policy does not fit it.
    """
    view = large_action_view(env)
    if view is None:
        raise ModelError(f"{env} has no LargeActionMDP; audit(policy, env) evaluates policies elsewhere, exactly")
    confidence = real_number("confidence", confidence)
    if not 0.0 < confidence < 1.0:
        raise ModelError(f"confidence is {confidence}; it must lie between 0 and 1")
    n_episodes, seed = whole_number("n_episodes", n_episodes, 2), whole_number("seed", seed, 0)
    ask = predictor(policy, view.observation_space)
    return _simulated(ask, view, n_episodes, confidence, flag("deterministic", deterministic), seed)


def _exact(model: LargeActionMDP, values: FloatArray, certificate: Certificate, deterministic: bool) -> ExactAudit:
    bounds = (float(model.rho @ certificate.lower[0]), float(model.rho @ certificate.upper[0]))
    return ExactAudit(
        value=float(model.rho @ values[0]),
        value_bounds=(math.nextafter(bounds[0], -math.inf), math.nextafter(bounds[1], math.inf)),
        optimal_value=model.optimal_value,
        uniform_value=model.uniform_value,
        certificate=planted_optimum(model).certificate,
        deterministic=deterministic,
        values=values,
        optimal_values=model.value,
        value_certificate=certificate,
    )


def _listed_conduct(policy: object, view: LargeActionView, deterministic: bool) -> Conduct:
    """What a policy over indices does: its laws state by state, summed to expected gaps and to laws of aims."""
    model = view.model
    S, N, H, K = model.n_states, model.n_actions, model.horizon, model.successors.shape[1]
    digits, gaps, heads = model.digits_of(np.arange(N)), np.empty((H, S)), np.empty((H, S, K))
    for s in range(S):
        codes = np.arange(H) * S + s
        if isinstance(policy, np.ndarray | list):
            law = array_table(plain_array("policy", cast("Any", policy)), model, codes)
        else:
            law = action_table(policy, view.observe, view.observation_space, codes, N)
        law = mode(law) if deterministic else law
        gaps[:, s] = law @ model.gap(np.full(N, s), digits)
        heads[:, s] = law.reshape(H, K, -1).sum(axis=2)
    columns, ends = model.successors.reshape(-1), np.arange(S + 1) * K
    return Conduct(gaps, [sp.csr_array((head.reshape(-1), columns, ends), shape=(S, S)) for head in heads])


def _table_of_digits(ask: Predictor, view: LargeActionView) -> IntArray:
    """The deterministic digits (H, S, d) of a policy."""
    model = view.model
    codes = np.arange(model.horizon * model.n_states)
    answers = [_digits(ask, view, block, True) for block in _blocks(codes, view.observation_space)]
    return np.concatenate(answers).reshape(model.horizon, model.n_states, model.n_digits)


def _blocks(codes: IntArray, space: spaces.Space[Any]) -> Iterator[IntArray]:
    """The codes in parts that are observed at once."""
    size = max(1, BLOCK_ENTRIES // spaces.flatdim(space))
    for begin in range(0, codes.size, size):
        yield codes[begin : begin + size]


def _digits(ask: Predictor, view: LargeActionView, codes: IntArray, deterministic: bool) -> IntArray:
    """The policy's digits (n, d) in states (n,)."""
    model = view.model
    actions = plain_array("policy.predict(...)", ask(view.observe(codes), deterministic))
    shape = (codes.size, model.n_digits) if model.actions == "digits" else (codes.size,)
    if actions.shape != shape or actions.dtype.kind not in "iu":
        raise ModelError(
            f"policy.predict(...) has dtype {actions.dtype} and shape {actions.shape}; expected integers {shape}"
        )
    return actions if model.actions == "digits" else model.digits_of(actions)


def _simulated(
    ask: Predictor, view: LargeActionView, n_episodes: int, confidence: float, deterministic: bool, seed: int
) -> SimulatedAudit:
    simulator, rng = LargeActionSimulator(view.model), np.random.default_rng(seed)
    starts = _blocks(simulator.initial_states(n_episodes, rng), view.observation_space)
    losses = np.concatenate([_losses(ask, view, simulator, codes, deterministic, rng) for codes in starts])
    model, variance, x = view.model, float(losses.var(ddof=1)), float(losses.mean())
    largest = LARGEST_GAP * model.horizon * float(model.w.max())
    log = math.log(4.0 / (1.0 - confidence))
    reach = math.sqrt(2.0 * variance * log / n_episodes) + 7.0 * largest * log / (3.0 * (n_episodes - 1))
    best = model.optimal_value
    return SimulatedAudit(
        value=best - x,
        value_bounds=(best - min(x + reach, largest), best - max(x - reach, 0.0)),
        optimal_value=best,
        uniform_value=model.uniform_value,
        certificate=planted_optimum(model).certificate,
        deterministic=deterministic,
        n_episodes=n_episodes,
        confidence=confidence,
        deviation=math.sqrt(variance),
        seed=seed,
    )


def _losses(
    ask: Predictor,
    view: LargeActionView,
    simulator: LargeActionSimulator,
    codes: IntArray,
    deterministic: bool,
    rng: np.random.Generator,
) -> FloatArray:
    """sum_h w gap of one episode from each of the codes (n,)."""
    model, lost = view.model, np.zeros(codes.size)
    for _ in range(model.horizon):
        digits, states = _digits(ask, view, codes, deterministic), codes % model.n_states
        moved = simulator.sample(codes, digits, rng)
        lost += model.w[states] * model.gap(states, digits)
        codes = moved.next_states
    return lost
