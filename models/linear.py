"""Linear Markov decision processes and linear Markov games.

A finite-horizon MDP is linear in features phi(s, a) in R^d when, at each stage h = 0, ..., H - 1,

    P_h(s' | s, a) = <phi(s, a), mu_h(s')>,    r_h(s, a) = <phi(s, a), theta_h>

(Jin, Yang, Wang, Jordan, Provably Efficient Reinforcement Learning with Linear Function Approximation,
COLT 2020, Assumption A). Then every action value is linear: with v_H = 0 and

    w_h = theta_h + sum_{s'} mu_h(s') v_{h+1}(s'),    v_h(s) = max_a <phi(s, a), w_h>,

q_h(s, a) = <phi(s, a), w_h> (their Proposition 2.3). The sum runs over the support of mu_h alone, so
measures of finite support make the exact solution cost the same whatever the number of states.

A discounted zero-sum game is linear when its law and rewards are so in phi(s, a, b) (Xie, Chen, Wang, Yang,
Learning Zero-Sum Simultaneous-Move Markov Games, COLT 2020); its values solve the same equation with
w = theta + gamma sum_{s'} mu(s') v(s') and the value of the matrix game <phi(s, ., .), w> for the maximum.

Not every phi and mu make a law: each <phi(s, a), mu_h(.)> must be a distribution. For features on the
simplex and probability measures that is so by construction; tables are checked entry by entry.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ._checks import (
    PROBABILITY_TOLERANCE,
    FloatArray,
    IntArray,
    ModelError,
    discount,
    entry,
    first,
    frozen,
    initial_distribution,
    real_array,
    require_distributions,
    require_room,
    whole_number,
)
from .features import FeatureMap, TableFeatures
from .finite import FiniteHorizonMDP
from .game import MarkovGame
from .immutable import Immutable
from .measures import FiniteSupportMeasures, require_states_below, scattered
from .summaries import Summarised

NEGATIVE_TOLERANCE = 1e-12
"""A probability <phi, mu(s')> of signed tables may round to this far below zero; it then counts as zero."""

TABULAR_BYTES = 2 * 2**30
"""Default limit on the size of a tabular copy: 2 GiB."""

BLOCK_ENTRIES = 2**22
"""Tables are checked and copied in blocks of about this many probabilities (32 MiB)."""

Measures = FloatArray | FiniteSupportMeasures


@dataclass(frozen=True, eq=False, repr=False)
class LinearLaw(Summarised):
    """Law and rewards of one stage, over the states its measures reach.

    Attributes:
        theta: (d,) rewards are <phi, theta>.
        support: (K,) sorted states; all others have probability zero.
        mu: (d, K) the measures' weights: the probability of support[j] is <phi, mu[:, j]>.
    """

    theta: FloatArray
    support: IntArray
    mu: FloatArray

    def probabilities(self, phi: FloatArray) -> FloatArray:
        """Distributions (n, K) over ``support`` after features (n, d); what rounds below zero is zero."""
        return np.maximum(phi @ self.mu, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class LinearModel(Immutable, ABC):
    """What linear MDPs and linear games share: features phi, measures mu and reward parameters theta."""

    phi: FeatureMap
    mu: Measures
    theta: FloatArray

    @property
    @abstractmethod
    def n_actions(self) -> int | tuple[int, int]:
        """Number of actions A, or (A, B) in a game."""

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.phi.n_states

    @property
    def dim(self) -> int:
        """Dimension d of the features."""
        return self.phi.dim

    @property
    def is_mixture(self) -> bool:
        """Whether phi lies on the simplex and mu are probabilities: s' is drawn from mu_i with i ~ phi."""
        return self.phi.on_simplex and _are_probabilities(self.mu)

    @property
    def is_normalised(self) -> bool:
        """Whether the norms of Assumption A hold: |phi| <= 1 and |theta_h|, |mu_h(S)| <= sqrt(d).

        They are a convention of the regret bounds; scaling phi against mu and theta changes them at will.
        """
        return _is_normalised(self.phi, self.mu, self.theta)

    def support(self) -> IntArray:
        """The states that some measure names, sorted, (K,); all S of them for tables mu."""
        if isinstance(self.mu, FiniteSupportMeasures):
            return self.mu.support()
        return np.arange(self.n_states, dtype=np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class LinearMDP(LinearModel):
    """A linear finite-horizon MDP in validated, read-only arrays.

    Attributes:
        phi: Features: a table (S, A, d) or a :class:`FeatureMap`. Always a map after construction.
        mu: Measures. The same at every stage: a table (d, S), possibly signed, or
            :class:`FiniteSupportMeasures` of shape (d,). One family a stage: (H, d, S), or of shape (H, d).
        theta: Reward parameters (d,), or (H, d).
        rho: Distribution of the state at stage 0: (S,), or a single FiniteSupportMeasures.
        horizon: Number of stages H >= 1.

    Raises:
        ModelError: Naming the entry at fault: shapes, non-finite values, a probability
            <phi(s, a), mu_h(s')> that is negative, a law <phi(s, a), mu_h(.)> that does not sum to one.
    """

    rho: Measures
    horizon: int

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        set_field = object.__setattr__
        set_field(self, "horizon", whole_number("horizon", self.horizon, 1))
        set_field(self, "phi", _feature_map(self.phi, ("A",)))
        set_field(self, "theta", _parameters("theta", self.theta, self.horizon, (self.dim,), "d"))
        set_field(self, "mu", _measures(self.mu, self.phi, self.horizon))
        set_field(self, "rho", _initial(self.rho, self.n_states))
        _require_kernel(self.phi, self.mu)

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self.phi.action_shape[0]

    @property
    def has_staged_law(self) -> bool:
        """Whether mu holds one family a stage."""
        return _is_staged(self.mu)

    @property
    def nbytes(self) -> int:
        """Bytes held by the model; independent of S with hashed features and measures of finite support."""
        return self.phi.nbytes + self.mu.nbytes + self.theta.nbytes + self.rho.nbytes

    def stage(self, h: int) -> LinearLaw:
        """Law and rewards of stage h."""
        if not 0 <= h < self.horizon:
            raise ModelError(f"h is {h}; stages run from 0 to {self.horizon - 1}")
        theta = self.theta if self.theta.ndim == 1 else self.theta[h]
        return LinearLaw(theta, *_reached(self.mu, (h,) if self.has_staged_law else ()))

    def initial_distribution(self) -> FiniteSupportMeasures:
        """rho as a measure of finite support."""
        return _as_finite(self.rho)

    def to_tabular(self, max_bytes: int = TABULAR_BYTES) -> FiniteHorizonMDP:
        """The same problem with its law written out: sparse where the measures have finite support.

        Args:
            max_bytes: The largest result to build.

        Raises:
            ModelError: The result would be larger; nothing has been allocated then.
        """
        _require_room(self.phi, self.mu, self.theta, max_bytes)
        P = _written_out(self.phi, self.mu)
        table = _table(self.phi)
        r = table @ self.theta if self.theta.ndim == 1 else np.einsum("sad,hd->hsa", table, self.theta)
        return FiniteHorizonMDP(P, r, self.horizon, _dense(self.rho, self.n_states))


@dataclass(frozen=True, eq=False, repr=False)
class LinearMarkovGame(LinearModel):
    """A linear discounted zero-sum Markov game in validated, read-only arrays.

    Attributes:
        phi: Features: a table (S, A, B, d) or a :class:`FeatureMap`. Always a map after construction.
        mu: Measures: a table (d, S), possibly signed, or :class:`FiniteSupportMeasures` of shape (d,).
        theta: Reward parameters (d,); player_0 receives <phi, theta> from player_1.
        gamma: Discount in [0, 1].
        rho: Initial distribution: (S,), or a single FiniteSupportMeasures.

    Raises:
        ModelError: As :class:`LinearMDP`, and gamma outside [0, 1].
    """

    gamma: float
    rho: Measures

    def __post_init__(self) -> None:
        """Check every field and replace it by a read-only copy."""
        set_field = object.__setattr__
        set_field(self, "gamma", discount(self.gamma))
        set_field(self, "phi", _feature_map(self.phi, ("A", "B")))
        set_field(self, "theta", _parameters("theta", self.theta, None, (self.dim,), "d"))
        set_field(self, "mu", _measures(self.mu, self.phi, None))
        set_field(self, "rho", _initial(self.rho, self.n_states))
        _require_kernel(self.phi, self.mu)

    @property
    def n_actions(self) -> tuple[int, int]:
        """Numbers of actions (A, B) of player_0 and player_1."""
        return cast("tuple[int, int]", self.phi.action_shape)

    @property
    def nbytes(self) -> int:
        """Bytes held by the model; independent of S with hashed features and measures of finite support."""
        return self.phi.nbytes + self.mu.nbytes + self.theta.nbytes + self.rho.nbytes

    @property
    def law(self) -> LinearLaw:
        """Law and rewards."""
        return LinearLaw(self.theta, *_reached(self.mu, ()))

    def initial_distribution(self) -> FiniteSupportMeasures:
        """rho as a measure of finite support."""
        return _as_finite(self.rho)

    def to_tabular(self, max_bytes: int = TABULAR_BYTES) -> MarkovGame:
        """The same game with its law written out: sparse where the measures have finite support.

        Args:
            max_bytes: The largest result to build.

        Raises:
            ModelError: The result would be larger; nothing has been allocated then.
        """
        _require_room(self.phi, self.mu, self.theta, max_bytes)
        P = _written_out(self.phi, self.mu)
        return MarkovGame(P, _table(self.phi) @ self.theta, self.gamma, _dense(self.rho, self.n_states))


def _feature_map(phi: object, actions: tuple[str, ...]) -> FeatureMap:
    """phi as a map whose actions are single ("A",) or pairs ("A", "B")."""
    features = phi if isinstance(phi, FeatureMap) else TableFeatures(cast("FloatArray", phi))
    if len(features.action_shape) != len(actions):
        raise ModelError(
            f"phi has actions of shape {features.action_shape}; expected ({', '.join(actions)}): "
            "phi(s, a) makes a LinearMDP, phi(s, a, b) a LinearMarkovGame"
        )
    return features


def _require_stage_shape(
    name: str, shape: tuple[int, ...], stage: tuple[int, ...], horizon: int | None, axes: str
) -> None:
    """Raise unless a shape is that of one stage, or of H stages where there is a horizon."""
    if shape == stage or (horizon is not None and shape == (horizon, *stage)):
        return
    staged = "" if horizon is None else f", or (H, {axes}) = {(horizon, *stage)}"
    raise ModelError(f"{name} has shape {shape}; expected ({axes}) = {stage}{staged}")


def _parameters(name: str, data: ArrayLike, horizon: int | None, stage: tuple[int, ...], axes: str) -> FloatArray:
    array = real_array(name, data)
    _require_stage_shape(name, array.shape, stage, horizon, axes)
    return frozen(array)


def _measures(mu: object, phi: FeatureMap, horizon: int | None) -> Measures:
    if not isinstance(mu, FiniteSupportMeasures):
        return _parameters("mu", cast("ArrayLike", mu), horizon, (phi.dim, phi.n_states), "d, S")
    _require_stage_shape("mu", mu.shape, (phi.dim,), horizon, "d")
    require_states_below("mu", mu, phi.n_states)
    return mu


def _initial(rho: object, n_states: int) -> Measures:
    if not isinstance(rho, FiniteSupportMeasures):
        return initial_distribution(cast("ArrayLike", rho), n_states)
    if rho.shape:
        raise ModelError(f"rho is a family of shape {rho.shape}; pass a single measure, with states of shape (k,)")
    require_states_below("rho", rho, n_states)
    return rho


def _is_staged(mu: Measures) -> bool:
    return len(mu.shape) == (2 if isinstance(mu, FiniteSupportMeasures) else 3)


def _are_probabilities(mu: Measures) -> bool:
    if isinstance(mu, FiniteSupportMeasures):
        return True
    return bool((mu >= 0).all() and (np.abs(mu.sum(axis=-1) - 1.0) <= PROBABILITY_TOLERANCE).all())


def _is_normalised(phi: FeatureMap, mu: Measures, theta: FloatArray) -> bool:
    one = 1.0 + PROBABILITY_TOLERANCE
    mass = np.ones(phi.dim) if isinstance(mu, FiniteSupportMeasures) else mu.sum(axis=-1)
    parameters = max(np.linalg.norm(mass, axis=-1).max(), np.linalg.norm(theta, axis=-1).max())
    # Off a table phi lies on the simplex, whose longest points are its corners.
    features = np.linalg.norm(phi.table, axis=-1).max() if isinstance(phi, TableFeatures) else 1.0
    return bool(features <= one and parameters <= np.sqrt(phi.dim) * one)


def _stages(mu: Measures) -> list[tuple[int, ...]]:
    """The indices of the families that mu holds: (0,), ..., (H - 1,), or () alone."""
    return [(h,) for h in range(mu.shape[0])] if _is_staged(mu) else [()]


def _reached(mu: Measures, stage: tuple[int, ...]) -> tuple[IntArray, FloatArray]:
    """The support (K,) of one family and its weights there (d, K)."""
    if not isinstance(mu, FiniteSupportMeasures):
        return frozen(np.arange(mu.shape[-1], dtype=np.int64)), mu[stage]
    support = np.unique(mu.states[stage])
    columns = np.asarray(np.searchsorted(support, mu.states[stage]), dtype=np.int64)
    return frozen(support), frozen(scattered(columns, mu.weights[stage], support.size))


def _as_finite(rho: Measures) -> FiniteSupportMeasures:
    if isinstance(rho, FiniteSupportMeasures):
        return rho
    states = np.flatnonzero(rho)
    return FiniteSupportMeasures(states, rho[states])


def _dense(rho: Measures, n_states: int) -> FloatArray:
    return rho.dense(n_states) if isinstance(rho, FiniteSupportMeasures) else rho


def _require_kernel(phi: FeatureMap, mu: Measures) -> None:
    """Raise unless <phi(s, a), mu_h(.)> is a distribution for each h, s, a."""
    if isinstance(phi, TableFeatures):
        for stage in _stages(mu):
            # Sums of huge entries overflow; what they give is refused below.
            with np.errstate(over="ignore", invalid="ignore"):
                support, weights = _reached(mu, stage)
                _require_probabilities(phi, support, weights, stage)
                _require_unit_mass(phi, weights, stage)
        return
    if not phi.on_simplex:
        raise ModelError("phi is neither a table nor on the simplex, so its law cannot be checked; pass TableFeatures")
    if not isinstance(mu, FiniteSupportMeasures):
        # Any point of the simplex may be a feature, its corners included.
        require_distributions("mu", mu)


def _require_probabilities(phi: TableFeatures, support: IntArray, weights: FloatArray, stage: tuple[int, ...]) -> None:
    if (phi.table >= 0).all() and (weights >= 0).all():
        return
    for begin, P in _blocks(phi, weights):
        bad = ~(P >= -NEGATIVE_TOLERANCE)
        if bad.any():
            row, column = first(bad)
            index = (*stage, *_row_index(phi, begin + row), int(support[column]))
            raise _not_a_law(f"{entry('P', index)} is {P[row, column]:.6g}, a negative probability")


def _require_unit_mass(phi: TableFeatures, weights: FloatArray, stage: tuple[int, ...]) -> None:
    sums = phi.rows @ weights.sum(axis=1)
    bad = ~(np.abs(sums - 1.0) <= PROBABILITY_TOLERANCE)
    if bad.any():
        (row,) = first(bad)
        raise _not_a_law(f"{entry('P', (*stage, *_row_index(phi, row)))} sums to {float(sums[row]):.12g}, not 1")


def _row_index(phi: TableFeatures, row: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(row, phi.table.shape[:-1]))


def _not_a_law(fault: str) -> ModelError:
    return ModelError(
        f"{fault}: phi and mu, as P = <phi, mu>, do not realise a linear kernel; change the one or the other"
    )


def _pairs(phi: FeatureMap) -> int:
    return int(np.prod(phi.action_shape))


def _blocks(phi: FeatureMap, weights: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """(first row, <phi, weights> of the rows from there (n, K)) in blocks of bounded size, over all rows."""
    pairs = _pairs(phi)
    step = max(1, BLOCK_ENTRIES // (max(weights.shape) * pairs))
    for begin in range(0, phi.n_states, step):
        states = np.arange(begin, min(begin + step, phi.n_states))
        yield begin * pairs, phi(states).reshape(-1, phi.dim) @ weights


def _require_room(phi: FeatureMap, mu: Measures, theta: FloatArray, max_bytes: int) -> None:
    """Raise where the law, the rewards and the features of all states would not fit."""
    S, d = phi.n_states, phi.dim
    laws, rewards = len(_stages(mu)), theta.size // d
    # Python integers: the sizes asked about may overflow an int64.
    row = min(S, d * mu.states.shape[-1]) * 12 + 8 if isinstance(mu, FiniteSupportMeasures) else S * 8
    needed = S * _pairs(phi) * (laws * row + 8 * (rewards + d))
    remedy = f"raise max_bytes, or plan with the {d} features, which needs no copy"
    require_room(f"the tabular copy of {S:,} states", needed, max_bytes, remedy)


def _table(phi: FeatureMap) -> FloatArray:
    return phi.table if isinstance(phi, TableFeatures) else phi(np.arange(phi.n_states))


def _written_out(phi: FeatureMap, mu: Measures) -> FloatArray | sp.csr_array:
    """The law: CSR for measures of finite support, else (S, A, S) or (S, A, B, S), with H in front if staged."""
    if isinstance(mu, FiniteSupportMeasures):
        return sp.vstack([_sparse_law(phi, *_reached(mu, stage)) for stage in _stages(mu)], format="csr")
    shape = (phi.n_states, *phi.action_shape, phi.n_states)
    P = np.empty((*mu.shape[:-2], *shape))
    for stage in _stages(mu):
        rows = P[stage].reshape(-1, phi.n_states)
        for begin, block in _blocks(phi, mu[stage]):
            np.maximum(block, 0.0, out=rows[begin : begin + len(block)])
    return P


def _sparse_law(phi: FeatureMap, support: IntArray, weights: FloatArray) -> sp.csr_array:
    compact = sp.vstack([sp.csr_array(np.maximum(block, 0.0)) for _, block in _blocks(phi, weights)], format="csr")
    shape = (compact.shape[0], phi.n_states)
    return sp.csr_array((compact.data, support[compact.indices], compact.indptr), shape=shape)
