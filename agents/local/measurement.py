"""What the queries of one state tell: all of its actions, as a datum for the bank.

    r_a,    P_a phi',    u_a = gamma P_a phi' - phi,    Delta_a(theta) = r_a + <u_a, theta>

A next state counts for zero where the episode ends: terminated, or at stage H, where phi_H = 0 whatever is shown. With
an expectation oracle r_a and P_a phi' are exact, and so they are, with one sample, where the simulator is
deterministic. Otherwise they are means over n samples; the next state of a rollout is then sampled afresh, since the
samples that chose the action favour it.

What local access promises is checked where it arrives: features of norm at most one, rewards in [0, 1], one feature
vector for one declared key.
"""

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ...models._checks import BoolArray, FloatArray, ModelError, whole_number
from ...solvers.hypotheses.bank import Datum
from ...wrappers.access import ExpectationAccess, StateHandle, Successors, Visit
from .planner import Access, sampled

NORM_TOLERANCE = 1e-9
"""By how much the norm of features may exceed one: rounding."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """What is known of a state after each of its actions was queried.

    Attributes:
        visit: The state.
        rewards: r_a (A,), expected or mean.
        next_features: P_a phi' (A, d), expected or mean, zero where the episode ends.
        increments: u_a = gamma P_a phi' - phi, (A, d).
        cap: Largest possible value of the state: H - h, or 1 / (1 - gamma).
        laws: For each action the states reached and their probabilities, where answers are exact; else empty.
    """

    visit: Visit
    rewards: FloatArray
    next_features: FloatArray
    increments: FloatArray
    cap: float
    laws: tuple[tuple[Successors, FloatArray], ...]

    def datum(self, slack: float = 0.0) -> Datum:
        """The state's disjunction, each slab of half width ``slack``."""
        return Datum(self.visit.features, self.increments, self.rewards, self.cap, np.full(self.rewards.size, slack))

    def discriminants(self, theta: FloatArray) -> FloatArray:
        """Delta_a(theta), (A,)."""
        return self.rewards + self.increments @ theta


@final
class Observer:
    """Queries every action of a state.

    Where answers are exact and the access declares keys, a state seen before in the same episode costs nothing; with a
    finite horizon a state is a key at a stage. Keys are numbered anew in each episode, so what an earlier one told is
    forgotten. Queries are counted by the access.

    Args:
        access: Where to query.
        samples: Samples n of each action. An expectation oracle is asked once, and so is a deterministic simulator.

    Raises:
        ModelError: ``samples`` is no whole number >= 1, or the access states neither a horizon nor gamma < 1.
    """

    def __init__(self, access: Access, samples: int = 1) -> None:
        self.is_exact = isinstance(access, ExpectationAccess) or access.terms.is_deterministic
        self.access, self._terms = access, access.terms
        self._samples = 1 if self.is_exact else whole_number("samples", samples, 1)
        if self._terms.horizon is None and not self._terms.gamma < 1.0:
            raise ModelError(
                f"values need not be finite: gamma is {self._terms.gamma} and there is no horizon; "
                "declare a horizon or gamma < 1 with the access"
            )
        self._episode = access.episode
        self._shown: dict[tuple[int, int], FloatArray] = {}
        self._known: dict[tuple[int, int], Measurement] = {}

    def measure(self, visit: Visit) -> Measurement:
        """Query each action of a state.

        Raises:
            BudgetExceeded: The queries do not fit the budget.
            HandleError: The handle is not one of this episode, or has no successors.
            ModelError: Features of norm above one, a reward outside [0, 1], other features than before for one key.
        """
        self._forget_earlier_episodes()
        self._check_features(visit.handle, visit.features, visit.stage)
        if not (self.access.has_keys and self.is_exact):
            return self._query(visit)
        name = self._name(visit.handle, visit.stage)
        if name not in self._known:
            self._known[name] = self._query(visit)
        return replace(self._known[name], visit=visit)

    def follow(self, measurement: Measurement, action: int, rng: np.random.Generator) -> Visit | None:
        """A state reached by an action from a measured one, by its probability; None where the episode ends there.

        Where answers are random this is one more query.

        Raises:
            BudgetExceeded: The query does not fit the budget.
            HandleError: The handle is not one of this episode.
            ModelError: As in :meth:`measure`.
        """
        if measurement.laws:
            reached, weights = measurement.laws[action]
            k = 0 if weights.size == 1 else int(rng.choice(weights.size, p=weights))
        else:
            reached, k = self._sample(measurement.visit, action), 0
        if self._ended(reached)[k]:
            return None
        return Visit(reached.handles[k], reached.features[k], reached.stage)

    def successors(self, measurement: Measurement, action: int) -> list[Visit]:
        """Every state that an action may reach from a measured one and that has successors; answers must be exact."""
        reached, weights = measurement.laws[action]
        going_on = np.flatnonzero(~self._ended(reached) & (weights > 0.0))
        return [Visit(reached.handles[k], reached.features[k], reached.stage) for k in going_on]

    def name(self, visit: Visit) -> tuple[int, int]:
        """What makes two states of an episode one, where keys are declared."""
        return self._name(visit.handle, visit.stage)

    def _forget_earlier_episodes(self) -> None:
        if self._episode != self.access.episode:
            self._episode = self.access.episode
            self._shown.clear()
            self._known.clear()

    def _query(self, visit: Visit) -> Measurement:
        terms = self._terms
        cap = 1.0 / (1.0 - terms.gamma) if terms.horizon is None else float(terms.horizon - visit.stage)
        laws = tuple(self._law(visit, a) for a in range(terms.n_actions)) if self.is_exact else ()
        told = (
            [self._expected(*law) for law in laws] if laws else [self._mean(visit, a) for a in range(terms.n_actions)]
        )
        rewards, next_features = np.array([r for r, _ in told]), np.array([features for _, features in told])
        return Measurement(visit, rewards, next_features, terms.gamma * next_features - visit.features, cap, laws)

    def _law(self, visit: Visit, action: int) -> tuple[Successors, FloatArray]:
        """The states reached and their probabilities, by an exact answer."""
        if isinstance(self.access, ExpectationAccess):
            law = self.access.query(visit.handle, action)
            self._check(law.successors, visit.stage, action)
            return law.successors, law.probabilities
        return self._sample(visit, action), np.ones(1)

    def _expected(self, reached: Successors, weights: FloatArray) -> tuple[float, FloatArray]:
        """Expected reward and next features."""
        return float(weights @ reached.rewards), np.where(self._ended(reached), 0.0, weights) @ reached.features

    def _mean(self, visit: Visit, action: int) -> tuple[float, FloatArray]:
        """Mean reward and next features of the samples."""
        mean = sampled(self.access).mean(visit.handle, action, self._samples)
        ends = mean.stage == self._terms.horizon
        _require_rewards(np.array(mean.rewards), visit.stage, action)
        if not ends:
            _require_norm(mean.largest_norm, mean.stage)
        return mean.reward, np.zeros_like(mean.next_features) if ends else mean.next_features

    def _sample(self, visit: Visit, action: int) -> Successors:
        """One sample."""
        reached = sampled(self.access).query(visit.handle, action)
        self._check(reached, visit.stage, action)
        return reached

    def _ended(self, reached: Successors) -> BoolArray:
        """Which of the states have no successors."""
        return reached.terminated | (reached.stage == self._terms.horizon)

    def _check(self, reached: Successors, stage: int, action: int) -> None:
        _require_rewards(reached.rewards, stage, action)
        for k in np.flatnonzero(~self._ended(reached)):
            self._check_features(reached.handles[k], reached.features[k], reached.stage)

    def _check_features(self, handle: StateHandle, features: FloatArray, stage: int) -> None:
        _require_norm(float(np.linalg.norm(features)), stage)
        if not self.access.has_keys:
            return
        before = self._shown.setdefault(self._name(handle, stage), features)
        if not np.array_equal(before, features):
            raise ModelError(
                f"one declared key was shown with features {before} and {features} at stage {stage}; states of one "
                "key must have the same features: declare a finer state_key"
            )

    def _name(self, handle: StateHandle, stage: int) -> tuple[int, int]:
        """What makes two states one: the declared key, and the stage where there are stages."""
        return self.access.key(handle), -1 if self._terms.horizon is None else stage


def _require_rewards(rewards: FloatArray, stage: int, action: int) -> None:
    bad = ~((rewards >= 0.0) & (rewards <= 1.0))
    if bad.any():
        raise ModelError(
            f"a query of action {action} at stage {stage} paid {rewards[bad][0]:.6g}; rewards must lie in [0, 1]: "
            "rescale them before planning"
        )


def _require_norm(norm: float, stage: int) -> None:
    if not norm <= 1.0 + NORM_TOLERANCE:
        raise ModelError(
            f"the features shown at stage {stage} have norm {norm:.9g}; norms must be at most 1: "
            "divide all features by the largest norm and multiply the radius by it"
        )
