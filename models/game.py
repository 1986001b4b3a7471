"""Two-player zero-sum Markov games with simultaneous moves.

In state s player_0 chooses a and player_1 chooses b at the same time; player_0 receives r(s, a, b) from
player_1, and the state moves to s' with probability P(s' | s, a, b). player_0 maximises and player_1
minimises v(s) = E[sum_t gamma^t r(s_t, a_t, b_t) | s_0 = s] (Shapley, Stochastic Games, PNAS 39, 1953).
"""

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ._checks import (
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    discount,
    entry,
    first,
    frozen,
    initial_distribution,
    plain_array,
    require_positive,
    require_shape,
    terminal_mask,
)
from .immutable import Immutable
from .outcomes import Outcomes, TransitionMatrix, check_law, law_nbytes, outcomes_of, require_absorbing


@dataclass(frozen=True, eq=False, repr=False)
class MarkovGame(Immutable):
    """A zero-sum Markov game in validated, read-only arrays.

    Attributes:
        P: Transition probabilities, dense (S, A, B, S) or scipy CSR (S*A*B, S) with row (s*A + a)*B + b,
            whose stored entries are outcomes. Rows outside the action sets are zero.
        r: Expected rewards (S, A, B) paid to player_0, zero outside the action sets. The constructor also takes
            one reward per outcome, (S, A, B, S) beside a dense P, or (nnz,) in the order of ``P.data`` beside a
            sparse one, whose A and B are then the largest action counts; ``outcome_rewards`` keeps them.
        gamma: Discount in [0, 1].
        rho: Initial distribution (S,).
        n_actions_0: Number of actions of player_0 in each state (S,); its actions are 0, ..., n - 1.
            None: A everywhere.
        n_actions_1: The same for player_1. None: B everywhere.
        terminal: Mask (S,) of terminal states, which stay put and pay 0. None: there are none.
        outcome_rewards: The rewards of single outcomes, or None where r says it all.

    Raises:
        ModelError: Naming the entry at fault: shapes, non-finite values, negative or unnormalised
            probabilities, gamma outside [0, 1], a state in which a player has no action.
    """

    P: TransitionMatrix
    r: FloatArray
    gamma: float
    rho: FloatArray
    n_actions_0: IntArray = cast("IntArray", None)
    n_actions_1: IntArray = cast("IntArray", None)
    terminal: BoolArray = cast("BoolArray", None)
    outcome_rewards: FloatArray | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        set_field = object.__setattr__
        lead = _lead(self.P, self.r, self.n_actions_0, self.n_actions_1)
        n_states = lead[0]
        set_field(self, "n_actions_0", _action_counts("n_actions_0", self.n_actions_0, n_states, lead[1]))
        set_field(self, "n_actions_1", _action_counts("n_actions_1", self.n_actions_1, n_states, lead[2]))
        law = check_law(self.P, self.r, lead, n_states, _live_rows(lead, self.n_actions_0, self.n_actions_1))
        set_field(self, "P", law.P)
        set_field(self, "r", law.r)
        set_field(self, "outcome_rewards", law.outcome_rewards)
        set_field(self, "gamma", discount(self.gamma))
        set_field(self, "rho", initial_distribution(self.rho, n_states))
        set_field(self, "terminal", terminal_mask(self.terminal, n_states))
        if self.terminal.any():
            require_absorbing(self.outcomes(), self.terminal)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.r.shape[0]

    @property
    def is_sparse(self) -> bool:
        """Whether P is a CSR array."""
        return not isinstance(self.P, np.ndarray)

    @property
    def is_ragged(self) -> bool:
        """Whether some state has fewer actions than another."""
        return bool((self.n_actions_0 < self.r.shape[1]).any() or (self.n_actions_1 < self.r.shape[2]).any())

    @property
    def P_rows(self) -> TransitionMatrix:
        """P as a matrix of shape (S*A*B, S): the CSR array itself, or a view of the dense one."""
        return self.P.reshape(-1, self.n_states) if isinstance(self.P, np.ndarray) else self.P

    @property
    def nbytes(self) -> int:
        """Bytes held by the model's arrays."""
        counts = (self.n_actions_0, self.n_actions_1)
        return law_nbytes(self.P, self.r, self.rho, self.terminal, self.outcome_rewards, *counts)

    def outcomes(self) -> Outcomes:
        """The transition law as outcome lists, row (s*A + a)*B + b."""
        return outcomes_of(self.P, self.r, self.outcome_rewards)


def _lead(P: Any, r: ArrayLike, n_actions_0: ArrayLike | None, n_actions_1: ArrayLike | None) -> tuple[int, int, int]:
    """(S, A, B) from the shapes of P and r and the action counts, refusing games without states or actions."""
    if sp.issparse(P):
        lead = plain_array("r", r).shape
        if len(lead) == 1 and n_actions_0 is not None and n_actions_1 is not None:
            n_states = cast("sp.csr_array", P).shape[1]
            lead = (n_states, _most("n_actions_0", n_actions_0), _most("n_actions_1", n_actions_1))
        if len(lead) != 3:
            raise ModelError(
                f"r has shape {lead}; beside a sparse P expected (S, A, B), which gives A and B, or one reward per "
                "outcome and both n_actions_0 and n_actions_1"
            )
    else:
        shape = plain_array("P", P).shape
        if len(shape) != 4:
            raise ModelError(f"P has shape {shape}; expected (S, A, B, S), or scipy CSR of shape (S*A*B, S)")
        lead = shape[:3]
    for count, what in zip(lead, ("states", "actions of player_0", "actions of player_1"), strict=True):
        require_positive("P", count, what)
    return cast("tuple[int, int, int]", lead)


def _most(name: str, counts: ArrayLike) -> int:
    """The largest of some action counts, which :func:`_action_counts` checks afterwards."""
    array = plain_array(name, counts)
    return int(array.max(initial=1)) if array.dtype.kind in "iu" else 1


def _action_counts(name: str, counts: ArrayLike | None, n_states: int, most: int) -> IntArray:
    if counts is None:
        return frozen(np.full(n_states, most, dtype=np.int64))
    array = plain_array(name, counts)
    if array.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {array.dtype}; pass one integer a state")
    require_shape(name, array, (n_states,), "(S,)")
    bad = (array < 1) | (array > most)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; every state needs 1 to {most} actions")
    return frozen(array.astype(np.int64))


def _live_rows(lead: tuple[int, int, int], n_actions_0: IntArray, n_actions_1: IntArray) -> BoolArray | None:
    """Mask (S, A, B) of the pairs of actions that can be played, or None where all can."""
    inside_0 = np.arange(lead[1]) < n_actions_0[:, None]
    inside_1 = np.arange(lead[2]) < n_actions_1[:, None]
    live = inside_0[:, :, None] & inside_1[:, None, :]
    return None if live.all() else live
