"""Finite-horizon Markov decision processes.

A FiniteHorizonMDP runs for H stages, h = 0, ..., H - 1: in state s at stage h action a pays r_h(s, a) and
leads to s' with probability P_h(s' | s, a); after stage H - 1 nothing more is paid, so v_H = 0 and
v_h(s) = E[sum_{j >= h} r_j(s_j, a_j) | s_h = s] (Puterman, Markov Decision Processes, 1994, chapter 4).
There is no discount. The law may depend on the stage or not.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ._checks import (
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    entry,
    first,
    frozen,
    initial_distribution,
    plain_array,
    real_array,
    require_positive,
    state_features,
    terminal_mask,
    whole_number,
)
from .immutable import Immutable
from .outcomes import Outcomes, TransitionMatrix, check_law, law_nbytes, outcomes_of, require_absorbing
from .tabular import TabularMDP


@dataclass(frozen=True, eq=False, repr=False)
class FiniteHorizonMDP(Immutable):
    """A finite-horizon MDP in validated, read-only arrays.

    Attributes:
        P: Transition probabilities. The same at every stage: dense (S, A, S), or scipy CSR (S*A, S) with
            row s*A + a. One law a stage: dense (H, S, A, S), or CSR (H*S*A, S) with row (h*S + s)*A + a.
        r: Expected rewards (S, A), or (H, S, A).
        horizon: Number of stages H >= 1.
        rho: Distribution (S,) of the state at stage 0.
        terminal: Mask (S,) of states that stay put and pay 0; an episode ends on entering one. None: there
            are none, and episodes end after stage H - 1.
        features: Features (H + 1, S, d) of states at stages, with features[H] = 0, or None.

    Raises:
        ModelError: Naming the entry at fault, as in :class:`TabularMDP`.
    """

    P: TransitionMatrix
    r: FloatArray
    horizon: int
    rho: FloatArray
    terminal: BoolArray = cast("BoolArray", None)
    features: FloatArray | None = None

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        set_field = object.__setattr__
        horizon = whole_number("horizon", self.horizon, 1)
        set_field(self, "horizon", horizon)
        set_field(self, "r", _rewards(self.r, horizon))
        n_states, n_actions = self.n_states, self.n_actions
        lead = _lead(self.P, horizon, n_states, n_actions)
        set_field(self, "P", check_law(self.P, np.zeros(lead), lead, n_states).P)
        set_field(self, "rho", initial_distribution(self.rho, n_states))
        set_field(self, "terminal", terminal_mask(self.terminal, n_states))
        set_field(self, "features", _stage_features(self.features, horizon, n_states))
        if self.terminal.any():
            for h in range(1 if self.is_stationary else horizon):
                require_absorbing(self.stage_outcomes(h), self.terminal)

    @property
    def n_states(self) -> int:
        """Number of states S at each stage."""
        return self.r.shape[-2]

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self.r.shape[-1]

    @property
    def is_sparse(self) -> bool:
        """Whether P is a CSR array."""
        return not isinstance(self.P, np.ndarray)

    @property
    def has_staged_law(self) -> bool:
        """Whether P holds one law a stage."""
        return self.P_rows.shape[0] != self.n_states * self.n_actions

    @property
    def is_stationary(self) -> bool:
        """Whether neither P nor r depends on the stage."""
        return self.r.ndim == 2 and not self.has_staged_law

    @property
    def P_rows(self) -> TransitionMatrix:
        """P as a matrix of shape (S*A, S), or (H*S*A, S) with one law a stage; a view of the stored data."""
        return self.P.reshape(-1, self.n_states) if isinstance(self.P, np.ndarray) else self.P

    @property
    def nbytes(self) -> int:
        """Bytes held by the model's arrays."""
        return law_nbytes(self.P, self.r, self.rho, self.terminal, self.features)

    def stage(self, h: int) -> tuple[TransitionMatrix, FloatArray]:
        """Law and rewards of stage h: P of shape (S*A, S) and r of shape (S, A)."""
        if not 0 <= h < self.horizon:
            raise ModelError(f"h is {h}; stages run from 0 to {self.horizon - 1}")
        rows = self.n_states * self.n_actions
        P = self.P_rows[h * rows : (h + 1) * rows] if self.has_staged_law else self.P_rows
        return P, self.r if self.r.ndim == 2 else self.r[h]

    def stage_outcomes(self, h: int) -> Outcomes:
        """The transition law of stage h as outcome lists, row s*A + a."""
        P, r = self.stage(h)
        return outcomes_of(P, r, None)

    def to_tabular(self) -> TabularMDP:
        """The same problem as a TabularMDP with gamma = 1 whose states are the codes h*S + s, h = 0, ..., H.

        The codes of stage H are terminal, and so are those of terminal states. The result is sparse and
        holds the transitions of all H stages.
        """
        S, A, H = self.n_states, self.n_actions, self.horizon
        stages = [self._unrolled_stage(h) for h in range(H)]
        last = np.repeat(np.arange(H * S, (H + 1) * S), A)
        columns = np.concatenate([next_codes for next_codes, _, _ in stages] + [last])
        data = np.concatenate([probabilities for _, probabilities, _ in stages] + [np.ones(S * A)])
        counts = np.concatenate([count for _, _, count in stages] + [np.ones(S * A, dtype=np.int64)])
        indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        P = sp.csr_array((data, columns, indptr), shape=((H + 1) * S * A, (H + 1) * S))
        r = np.concatenate([*(self.stage(h)[1] for h in range(H)), np.zeros((S, A))])
        rho = np.concatenate([self.rho, np.zeros(H * S)])
        features = None if self.features is None else self.features.reshape(-1, self.features.shape[-1])
        return TabularMDP(P, r, 1.0, rho, self.terminal_codes(), features)

    def terminal_codes(self) -> BoolArray:
        """Mask ((H + 1)*S,) of the codes h*S + s at which an episode is over."""
        terminal = np.tile(self.terminal, self.horizon + 1)
        terminal[-self.n_states :] = True
        return terminal

    def _unrolled_stage(self, h: int) -> tuple[IntArray, FloatArray, IntArray]:
        """Next codes, probabilities and counts of the outcomes of stage h, over the rows of that stage."""
        outcomes = self.stage_outcomes(h)
        counts = np.diff(outcomes.indptr)
        state = np.repeat(np.arange(counts.size), counts) // self.n_actions
        stage = np.where(self.terminal[state], h, h + 1)
        return stage * self.n_states + outcomes.next_states, outcomes.probabilities, counts


def _rewards(r: ArrayLike, horizon: int) -> FloatArray:
    array = real_array("r", r)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[0] != horizon):
        raise ModelError(f"r has shape {array.shape}; expected (S, A) or (H, S, A) with H = {horizon}")
    require_positive("r", array.shape[-2], "states")
    require_positive("r", array.shape[-1], "actions")
    return frozen(array)


def _lead(P: Any, horizon: int, n_states: int, n_actions: int) -> tuple[int, ...]:
    """Shape of the index of P's rows: (S, A), or (H, S, A) with one law a stage."""
    shape: tuple[int, ...] = plain_array("P", P).shape if not sp.issparse(P) else cast("sp.csr_array", P).shape
    stationary = (n_states * n_actions,) if sp.issparse(P) else (n_states, n_actions)
    staged = (horizon * stationary[0],) if sp.issparse(P) else (horizon, *stationary)
    if shape == (*stationary, n_states):
        return (n_states, n_actions)
    if shape == (*staged, n_states):
        return (horizon, n_states, n_actions)
    raise ModelError(
        f"P has shape {shape}; with r of shape (.., {n_states}, {n_actions}) and H = {horizon} "
        f"expected {(*stationary, n_states)}, or {(*staged, n_states)} with one law a stage"
    )


def _stage_features(features: ArrayLike | None, horizon: int, n_states: int) -> FloatArray | None:
    array = state_features(features, (horizon + 1, n_states), "(H + 1, S, d)")
    if array is not None and array[-1].any():
        index = (horizon, *first(array[-1] != 0))
        raise ModelError(f"{entry('features', index)} is not 0; after the last stage every feature is 0")
    return array
