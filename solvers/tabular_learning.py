r"""Learning in episodes of a tabular finite-horizon MDP: optimistic value iteration on counts.

With N(s, a) and N(s, a, s') the numbers of times a was played in s and led to s', r_hat the mean reward and
P_hat = N(s, a, s') / N(s, a), a plan goes backwards over the stages from v_H = 0,

    q_h(s, a) = min{ q_h(s, a) of the plan before,  (H - h) r_max,  r_hat(s, a) + (P_hat v_{h+1})(s, a) + b_h(s, a) },
    v_h(s) = max_a q_h(s, a),

and q_h(s, a) = (H - h) r_max where a was never played in s: UCBVI (Azar, Osband, Munos, ICML 2017, Algorithms 1 and 2,
which clip at H). Its bonuses, for rewards in [0, 1], with L = ln(5 S A T / delta) and T the number of steps announced:

    "CH"   b = 7 H L / sqrt(N(s, a))                                                       (Chernoff-Hoeffding)
    "BF"   b = sqrt(8 L Var_{P_hat}(v_{h+1}) / N(s, a)) + 14 H L / (3 N(s, a))
               + sqrt(8 E_{P_hat}[min{100^2 H^3 S^2 A L^2 / N_{h+1}(s'), H^2}] / N(s, a))    (Bernstein-Freedman)

where N_{h+1}(s') counts the visits of s' at stage h + 1. With probability 1 - delta the regret of K = T / H episodes is
at most 20 H L sqrt(S A T) + 250 H^2 S^2 A L^2 for "CH" (Theorem 1), and
30 L sqrt(H S A T) + 2500 H^2 S^2 A L^2 + 4 H sqrt(T L) for "BF" (Theorem 2).

Two remarks. Rewards in [low, high] scale the bonuses by high - low. The paper's law is the same at every stage, and so
counts are pooled over stages; where it is not, N counts each stage apart, which is the same algorithm on the H S pairs
of stage and state, and S is H S in L and in the bonuses.

Of each pair the successors that were seen are kept with their counts. So a plan costs O(H S A + n), n the successors
seen (H times those, where counts are pooled), after ten episodes or ten thousand, once all were seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from ..models import FiniteHorizonMDP, ModelError
from ..models._checks import real_array, real_number, require_shape, whole_number
from .solution import FloatArray, IntArray

BonusKind = Literal["CH", "BF"]
FIRST_ROOM = 64
"""Successors that tables have room for at first; the room doubles."""


@dataclass(frozen=True)
class Bonus:
    """What makes estimates optimistic.

    Attributes:
        kind: ``"CH"`` or ``"BF"``, see the module.
        log_term: L.
        factor: What the bonus is multiplied by; 1 in theory.
        low: Least reward.
        high: Greatest reward.

    Raises:
        ModelError: There is no such kind, a number is out of range.
    """

    kind: BonusKind
    log_term: float
    factor: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Check every field."""
        if self.kind not in ("CH", "BF"):
            raise ModelError(f'bonus is {self.kind!r}; pass "CH" (Chernoff-Hoeffding) or "BF" (Bernstein-Freedman)')
        for name in ("log_term", "factor"):
            if not real_number(name, getattr(self, name)) >= 0.0:
                raise ModelError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if not real_number("low", self.low) < real_number("high", self.high):
            raise ModelError(f"rewards range from {self.low} to {self.high}; the range must not be empty")


@dataclass(frozen=True, eq=False)
class TabularPlan:
    """What counts make of a problem.

    Attributes:
        actions: (H, S) the policy: first maximisers.
        values: (H, S) optimistic values.
    """

    actions: IntArray
    values: FloatArray


@final
class TransitionCounts:
    """All that a tabular learner keeps of its data.

    Args:
        horizon: H.
        n_states: S.
        n_actions: A.
        is_staged: Whether each stage has a law and rewards of its own.
        most: Greatest reward, at which action values begin.

    Attributes:
        episodes: Episodes added.

    Raises:
        ModelError: A number is out of range.
    """

    def __init__(self, horizon: int, n_states: int, n_actions: int, *, is_staged: bool, most: float = 1.0) -> None:
        H, S = whole_number("horizon", horizon, 1), whole_number("n_states", n_states, 1)
        rows = (H if is_staged else 1, S, whole_number("n_actions", n_actions, 1))
        self.episodes, self._n_slots = 0, 0
        self._visits, self._paid = np.zeros(rows, dtype=np.int64), np.zeros(rows)
        self._arrivals = np.zeros((H, S), dtype=np.int64)
        self._head = np.full(self._visits.size, -1)
        self._slots = np.zeros((3, FIRST_ROOM), dtype=np.int64)
        self._q = np.broadcast_to(most * np.arange(H, 0, -1.0)[:, None, None], (H, *rows[1:])).copy()

    @property
    def visits(self) -> IntArray:
        """N (C, S, A), C = H or 1; a copy."""
        return self._visits.copy()

    @property
    def action_values(self) -> FloatArray:
        """Optimistic action values (H, S, A) of the last plan; a copy."""
        return self._q.copy()

    @property
    def nbytes(self) -> int:
        """Bytes held; they grow with the successors seen, not with the episodes."""
        arrays = (self._visits, self._paid, self._arrivals, self._head, self._slots, self._q)
        return sum(array.nbytes for array in arrays)

    def add_episode(
        self, stages: IntArray, states: IntArray, actions: IntArray, next_states: IntArray, rewards: FloatArray
    ) -> None:
        """Count the m steps of an episode, all of shape (m,); a next state S ended the episode."""
        from .tabular_learning_kernels import add_transitions

        while self._n_slots + stages.size > self._slots.shape[1]:
            self._slots = np.concatenate([self._slots, np.zeros_like(self._slots)], axis=1)
        self._n_slots = int(
            add_transitions(
                stages, states, actions, next_states, rewards,
                self._visits, self._paid, self._arrivals, self._head, self._slots, self._n_slots,
            )
        )  # fmt: skip
        self.episodes += 1

    def plan(self, bonus: Bonus) -> TabularPlan:
        """The plan that the counts make; it lowers the action values for good."""
        from .tabular_learning_kernels import optimistic_backup

        H, S, A = self._q.shape
        span, pairs = bonus.high - bonus.low, S * len(self._visits)
        v, choice = np.empty((H + 1, S + 1)), np.empty((H, S), dtype=np.int64)
        uncertainty = 1e4 * H**3 * pairs**2 * A * (bonus.log_term * span) ** 2
        optimistic_backup(
            bonus.kind == "BF", bonus.factor, bonus.high, H * span, bonus.log_term, uncertainty,
            self._visits, self._paid, self._arrivals, self._head, self._slots, self._q, v, choice,
        )  # fmt: skip
        return TabularPlan(choice, v[:H, :S].copy())

    def memory(self) -> dict[str, Any]:
        """Everything, as arrays and numbers."""
        return {
            "episodes": self.episodes,
            "visits": self._visits.copy(),
            "arrivals": self._arrivals.copy(),
            "paid": self._paid.copy(),
            "head": self._head.copy(),
            "slots": self._slots[:, : self._n_slots].copy(),
            "q": self._q.copy(),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over what :meth:`memory` returned.

        Raises:
            ModelError: An array is of another shape or kind, or names what is not there.
        """
        counts = {name: whole_array(name, memory[name]) for name in ("visits", "arrivals", "head", "slots")}
        sums = {name: real_array(name, memory[name]) for name in ("paid", "q")}
        ours = {
            "visits": self._visits,
            "arrivals": self._arrivals,
            "head": self._head,
            "paid": self._paid,
            "q": self._q,
        }
        for name, array in ours.items():
            require_shape(name, (counts | sums)[name], array.shape, "that of this problem")
        slots, n_slots = counts["slots"], counts["slots"].shape[-1]
        require_shape("slots", slots, (3, n_slots), "(3, n)")
        # A chain leads from later slots to earlier ones, so none is endless.
        places: IntArray = np.arange(n_slots, dtype=np.int64)
        leads_nowhere = bool(np.any(counts["head"] >= n_slots)) or bool(np.any(np.greater_equal(slots[0], places)))
        if leads_nowhere or np.any(slots[1:] < 0) or np.any(slots[1] > self._q.shape[1]):
            raise ModelError("slots or head lead to what is not there; the file is damaged")
        self.episodes, self._n_slots = whole_number("episodes", memory["episodes"], 0), n_slots
        self._visits, self._arrivals, self._head = counts["visits"], counts["arrivals"], counts["head"]
        self._paid, self._q = sums["paid"], sums["q"]
        self._slots = np.zeros((3, max(FIRST_ROOM, 1 << n_slots.bit_length())), dtype=np.int64)
        self._slots[:, :n_slots] = slots


@final
class TabularReturns:
    """Exact expected returns of deterministic policies.

    Args:
        model: The law.
    """

    def __init__(self, model: FiniteHorizonMDP) -> None:
        stages = range(1 if model.is_stationary else model.horizon)
        outcomes = [model.stage_outcomes(h) for h in stages]
        counts = np.concatenate([np.diff(found.indptr) for found in outcomes])
        self._indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        self._next_states = np.concatenate([found.next_states for found in outcomes]).astype(np.int64)
        self._probabilities = np.concatenate([found.probabilities for found in outcomes])
        self._rewards = np.array([model.stage(h)[1] for h in stages])
        self._rho = model.rho.copy()

    def __call__(self, actions: IntArray) -> float:
        """Expected return of the actions (H, S)."""
        from .tabular_learning_kernels import expected_return

        law = (self._indptr, self._next_states, self._probabilities, self._rewards, self._rho)
        return float(expected_return(actions, *law, np.empty((2, self._rho.size))))


def whole_array(name: str, data: NDArray[Any]) -> IntArray:
    """A copy of an int64 array of numbers from -1 on.

    Raises:
        ModelError: It is none.
    """
    if data.dtype != np.int64 or bool(np.any(data < -1)):
        raise ModelError(f"{name} holds no counts or places; the file is damaged")
    return data.copy()
