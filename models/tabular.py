"""Finite Markov decision processes with a discount.

A TabularMDP is (S, A, P, r, gamma, rho): in state s action a pays r(s, a) in expectation and leads to s'
with probability P(s' | s, a); the value of a policy pi is v(s) = E[sum_t gamma^t r(s_t, a_t) | s_0 = s],
and rho is the distribution of s_0 (Puterman, Markov Decision Processes, 1994, chapter 6).

Terminal states are named, not guessed: they stay where they are and pay nothing, and an episode ends on
entering one. With gamma = 1 the value is the expected total reward until then.
"""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ._checks import (
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    discount,
    initial_distribution,
    plain_array,
    require_positive,
    state_features,
    state_observations,
    terminal_mask,
)
from .immutable import Immutable
from .outcomes import Outcomes, TransitionMatrix, check_law, law_nbytes, outcomes_of, require_absorbing


@dataclass(frozen=True, eq=False, repr=False)
class TabularMDP(Immutable):
    """A finite discounted MDP in validated, read-only arrays.

    Attributes:
        P: Transition probabilities, dense (S, A, S) or a scipy CSR array of shape (S*A, S) with row
            s*A + a. The stored entries of a sparse P are outcomes: a row may name one state twice.
        r: Expected rewards (S, A). The constructor also takes one reward per outcome: (S, A, S) beside a
            dense P, or (nnz,) in the order of ``P.data`` beside a sparse one; ``outcome_rewards`` keeps them.
        gamma: Discount in [0, 1].
        rho: Initial distribution (S,).
        terminal: Mask (S,) of terminal states, whose rows stay put and pay 0. None: there are none.
        features: State features (S, d), or None.
        observations: Observation (S,) in 0, ..., S - 1 that each state shows. None: its own index. Two states
            share one where an importer splits a state into a live one and a terminal twin
            (:func:`from_gymnasium`), so that whoever acts on observations sees what the source shows.
        outcome_rewards: The rewards of single outcomes, or None where r says it all.

    Raises:
        ModelError: Naming the entry at fault: shapes, non-finite values, negative or unnormalised
            probabilities, gamma outside [0, 1], no states or no actions, a terminal state that moves or pays.
    """

    P: TransitionMatrix
    r: FloatArray
    gamma: float
    rho: FloatArray
    terminal: BoolArray = cast("BoolArray", None)
    features: FloatArray | None = None
    observations: IntArray = cast("IntArray", None)
    outcome_rewards: FloatArray | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        lead, n_states = tabular_shape(self.P)
        law = check_law(self.P, self.r, lead, n_states)
        set_field = object.__setattr__
        set_field(self, "P", law.P)
        set_field(self, "r", law.r)
        set_field(self, "outcome_rewards", law.outcome_rewards)
        set_field(self, "gamma", discount(self.gamma))
        set_field(self, "rho", initial_distribution(self.rho, n_states))
        set_field(self, "terminal", terminal_mask(self.terminal, n_states))
        set_field(self, "features", state_features(self.features, (n_states,), "(S, d)"))
        set_field(self, "observations", state_observations(self.observations, n_states))
        if self.terminal.any():
            require_absorbing(self.outcomes(), self.terminal)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.r.shape[0]

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self.r.shape[1]

    @property
    def n_observations(self) -> int:
        """One more than the largest observation."""
        return int(self.observations.max()) + 1

    @property
    def is_sparse(self) -> bool:
        """Whether P is a CSR array."""
        return not isinstance(self.P, np.ndarray)

    @property
    def P_rows(self) -> TransitionMatrix:
        """P as a matrix of shape (S*A, S): the CSR array itself, or a view of the dense one."""
        return self.P.reshape(-1, self.n_states) if isinstance(self.P, np.ndarray) else self.P

    @property
    def nbytes(self) -> int:
        """Bytes held by the model's arrays."""
        others = (self.rho, self.terminal, self.features, self.observations, self.outcome_rewards)
        return law_nbytes(self.P, self.r, *others)

    def outcomes(self) -> Outcomes:
        """The transition law as outcome lists, row s*A + a."""
        return outcomes_of(self.P, self.r, self.outcome_rewards)


def tabular_shape(P: TransitionMatrix) -> tuple[tuple[int, int], int]:
    """((S, A), S) from the shape of P, refusing models without states or actions."""
    if sp.issparse(P):
        rows, n_states = P.shape
        require_positive("P", n_states, "states")
        if rows % n_states:
            raise ModelError(f"P has shape {P.shape}; expected (S*A, S), a whole number of rows for each state")
        n_actions = rows // n_states
    else:
        shape = plain_array("P", cast("ArrayLike", P)).shape
        if len(shape) != 3:
            raise ModelError(f"P has shape {shape}; expected (S, A, S), or a scipy CSR array of shape (S*A, S)")
        n_states, n_actions = shape[0], shape[1]
    require_positive("P", n_states, "states")
    require_positive("P", n_actions, "actions")
    return (n_states, n_actions), n_states
