"""Linear value functions of games, fitted to some of the states.

A value function is V = Phi theta, with features phi(s) in R^d as the rows of Phi. Least squares on a subset D of the
states, Phi_D holding their features, turns a target y into

    M y,        M = Phi Phi_D^+ P_D,        P_D y = (y(s), s in D),

whose amplification ||M||_inf may exceed one: values far from D are extrapolated. Let V_{k+1} = M_k T_{mu,nu}^m W with
W = T^{H-1} V_k and (mu, nu) = (mu_k, nu_k) its greedy pair. Because T_{mu,nu} W = T W, and ||T W - W|| <= (1 + gamma)
||W - v*||, both ||v^{mu,nu} - W|| <= (1 + gamma) / (1 - gamma) ||W - v*|| and ||v^{mu,nu} - v*|| <= 2 gamma /
(1 - gamma) ||W - v*||, so that V_{k+1} - v* = M_k (T_{mu,nu}^m W - v^{mu,nu}) + (M_k v^{mu,nu} - v^{mu,nu}) +
(v^{mu,nu} - v*) gives

    ||V_{k+1} - v*|| <= beta ||V_k - v*|| + delta_app,
    beta      = gamma^{H-1} [2 gamma + delta_FV gamma^m (1 + gamma)] / (1 - gamma),
    delta_FV  = sup_k ||M_k||_inf,
    delta_app = sup_k ||M_k v^{mu_k,nu_k} - v^{mu_k,nu_k}||.

The suprema need only run over the subsets and pairs that the iteration meets. Winnicki and Srikant (arXiv 2303.09716,
Theorem 2) reach v^{mu,nu} from V_k by way of W, which puts 2 in the place of 2 gamma.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ...models import MarkovGame, ModelError
from ...models._checks import entry, first, plain_array, real_array
from ..policies import require_value
from ..solution import Certificate, FloatArray, IntArray
from .certificates import certify_pair
from .sweeps import GameBackup, GameSweeps

# Values so many times those of the game's policies are out of control.
DIVERGENCE = 1e8

# The amplification is found from M in blocks of so many entries.
_BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class SubsetFit:
    """Least squares on a subset of the states.

    Attributes:
        phi: Features of all states (S, d).
        states: The subset D (n,), distinct.
        weights: Phi_D^+ (d, n): they turn targets on D into theta.
        rank: Rank of Phi_D.
    """

    phi: FloatArray
    states: IntArray
    weights: FloatArray
    rank: int

    def theta(self, y: FloatArray) -> FloatArray:
        """The parameters (d,) fitted to y (S,), of which only the entries in D are read."""
        return self.weights @ y[self.states]

    def error(self, y: FloatArray) -> float:
        """||M y - y|| over all states, for y (S,)."""
        return float(np.abs(self.phi @ self.theta(y) - y).max())

    @cached_property
    def amplification(self) -> float:
        """||M||_inf: how far a target bounded by one can send a fitted value."""
        rows = max(1, _BLOCK // self.states.size)
        blocks = range(0, len(self.phi), rows)
        return max(float(np.abs(self.phi[i : i + rows] @ self.weights).sum(axis=1).max()) for i in blocks)


def fit_subset(phi: FloatArray, states: IntArray) -> SubsetFit:
    """Least squares on ``states`` (n,), by the singular value decomposition of their features; phi is (S, d)."""
    features = phi[states]
    left, scales, right = np.linalg.svd(features, full_matrices=False)
    rank = int((scales > scales[0] * max(features.shape) * np.finfo(np.float64).eps).sum())
    weights = (right[:rank].T / scales[:rank]) @ left[:, :rank].T
    return SubsetFit(phi, states, weights, rank)


def paper_rate(gamma: float, lookahead: int, rollout: float, delta_fv: float) -> float:
    """The contraction factor beta of Winnicki and Srikant (arXiv 2303.09716), Theorem 2.

    Args:
        gamma: Discount, below 1.
        lookahead: H >= 1.
        rollout: m >= 1, or math.inf.
        delta_fv: sup_k ||M_k||_inf.
    """
    return gamma ** (lookahead - 1) * (2.0 + delta_fv * gamma**rollout * (1.0 + gamma)) / (1.0 - gamma)


def sharp_rate(gamma: float, lookahead: int, rollout: float, delta_fv: float) -> float:
    """The factor of this module's head, never above :func:`paper_rate`; the arguments are the same."""
    return gamma ** (lookahead - 1) * (2.0 * gamma + delta_fv * gamma**rollout * (1.0 + gamma)) / (1.0 - gamma)


def geometric_bound(rate: float, floor: float, k: float, start_error: float) -> float:
    """Bound on e_k where e_{j+1} <= rate e_j + floor and e_0 <= start_error.

    That is rate^k start_error + floor (1 - rate^k) / (1 - rate); with k = math.inf the bound on the limit superior,
    floor / (1 - rate), which is infinite where rate >= 1.
    """
    if k == math.inf:
        return floor / (1.0 - rate) if rate < 1.0 else math.inf
    if rate == 1.0:
        return start_error + k * floor
    if rate > 1.0 and k * math.log(rate) > 700.0:  # rate^k would overflow
        return math.inf
    power = rate**k
    return power * start_error + floor * (1.0 - power) / (1.0 - rate)


def require_features(features: ArrayLike, game: MarkovGame) -> FloatArray:
    """Features of states (S, d), zero in terminal states, of a game with gamma < 1.

    Raises:
        ModelError: Naming the entry at fault; gamma = 1, where no fit is known to converge.
    """
    if game.gamma == 1.0:
        raise ModelError("game has gamma = 1; fitted values are contracted by discounting alone, so use gamma < 1")
    phi = real_array("features", features)
    if phi.ndim != 2 or len(phi) != game.n_states or not phi.shape[1]:
        raise ModelError(f"features has shape {phi.shape}; expected (S, d) with S = {game.n_states} and d >= 1")
    wrong = game.terminal[:, None] & (phi != 0.0)
    if wrong.any():
        index = first(wrong)
        raise ModelError(f"{entry('features', index)} is {phi[index]:.6g}, but state {index[0]} is terminal; make it 0")
    return phi


def require_theta(start: ArrayLike | None, phi: FloatArray) -> FloatArray:
    """Parameters (d,) to start from, zero by default."""
    if start is None:
        return np.zeros_like(phi[0])
    return require_value("start", start, phi.shape[1])


def require_subset(name: str, states: ArrayLike, n_states: int) -> IntArray:
    """Distinct states (n,), at least one.

    Raises:
        ModelError: Naming the entry that is no state or comes twice.
    """
    array = plain_array(name, states)
    if array.ndim != 1 or not array.size:
        raise ModelError(f"{name} has shape {array.shape}; pass a non-empty list of states")
    if array.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {array.dtype}; pass states, which are integers")
    bad = (array < 0) | (array >= n_states)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {array[index]}; states are 0 to {n_states - 1}")
    subset = array.astype(np.int64)
    _, places = np.unique(subset, return_index=True)
    if places.size < subset.size:
        (i,) = first(~np.isin(np.arange(subset.size), places))
        raise ModelError(f"{name}[{i}] is {subset[i]} once more; name each state once")
    return subset


def deepen(sweeps: GameSweeps, backup: GameBackup, steps: int) -> GameBackup:
    """T applied ``steps`` more times to what a backup arrived at; the last application."""
    for _ in range(steps):
        backup = sweeps.backup(backup.value)
    return backup


def certify_lookahead(sweeps: GameSweeps, value: FloatArray, ahead: GameBackup) -> Certificate:
    """Bounds on the Nash value that the greedy pair of W = ``ahead.v`` attains, which enclose ``value`` (S,) too."""
    bounds = certify_pair(sweeps.game, sweeps.play, ahead.v, ahead.mu, ahead.nu)
    return Certificate(np.minimum(bounds.lower, value), np.maximum(bounds.upper, value))


def is_out_of_control(game: MarkovGame, value: FloatArray, start: FloatArray, amplification: float) -> bool:
    """Whether a value (S,) is far beyond what policies are worth, as fits amplify it, and beyond the start (S,)."""
    worth = max(1.0, amplification) * float(np.abs(game.r).max()) / (1.0 - game.gamma)
    return not float(np.abs(value).max()) <= DIVERGENCE * max(worth, float(np.abs(start).max()))
