"""Lookahead policy iteration with linear value functions.

Algorithm 2 of Winnicki and Srikant (arXiv 2303.09716). With features Phi (S, d), a lookahead of H >= 1 steps and a
rollout of m >= 1 steps (m may be infinite), repeat

    V_k = Phi theta_k,                                        W_k = T^{H-1} V_k,
    (mu_k, nu_k) greedy for W_k:                              T_{mu_k,nu_k} W_k = T W_k,
    theta_{k+1} = argmin_theta sum_{s in D_k} (phi(s) theta - (T_{mu_k,nu_k}^m W_k)(s))^2,

where the features of the states D_k have full rank d. With the features of a table and D_k = S this is lookahead
policy iteration itself. The error obeys

    ||V_k - v*|| <= beta^k ||V_0 - v*|| + delta_app (1 - beta^k) / (1 - beta),

where beta < 1 calls for enough lookahead (Theorem 2; proved, with a smaller beta, in :mod:`.linear_values`). Without
it the iterates may grow for ever, already for one policy (Tsitsiklis, Van Roy, Machine Learning 22, 1996), or cycle;
either is noticed and said.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from ...models import MarkovGame, ModelError
from ...models._checks import whole_number
from ...models.summaries import Summarised
from ..policies import require_tolerance
from ..solution import Certificate, FloatArray, GameWork, IntArray, Status
from .linear_values import (
    SubsetFit,
    certify_lookahead,
    deepen,
    fit_subset,
    geometric_bound,
    is_out_of_control,
    paper_rate,
    require_features,
    require_subset,
    require_theta,
    sharp_rate,
)
from .lookahead import require_lookahead, require_rollout
from .planning import RECURRENCE
from .sweeps import GameBackup, GameSweeps

# Changes below this fraction of the values are rounding.
ROUNDING = 1e-14

Subsets = ArrayLike | Callable[[int], ArrayLike]


@dataclass(frozen=True, eq=False, repr=False)
class FittedSolution(Summarised):
    """What fitted policy iteration arrived at.

    Attributes:
        theta: Parameters (d,) of the iterate with the least ||T V - V||, which is the best one certified.
        value: V = Phi theta (S,).
        policy: The pair (mu (S, A), nu (S, B)) that is greedy for T^{H-1} V.
        certificate: Bounds (S,) on the Nash value, which the pair attains; value lies between them.
        status: How the iteration ended.
        iterations: Number of fits K.
        history: ||T V_k - V_k|| for k = 0, ..., K; V_k lies within history[k] / (1 - gamma) of v*.
        thetas: All parameters (K + 1, d), the start first.
        delta_fv: sup_k ||M_k||_inf over the subsets met.
        delta_app: sup_k ||M_k v^{mu_k,nu_k} - v^{mu_k,nu_k}|| over the subsets and pairs met, k < K.
        beta: Contraction factor of Theorem 2 at delta_fv.
        beta_sharp: The smaller one of :func:`~lookahead_rl.solvers.games.linear_values.sharp_rate`.
        start_error: Bound on ||V_0 - v*||, from the certificate.
        work: Counts of what was done.
    """

    theta: FloatArray
    value: FloatArray
    policy: tuple[FloatArray, FloatArray]
    certificate: Certificate
    status: Status
    iterations: int
    history: tuple[float, ...]
    thetas: FloatArray
    delta_fv: float
    delta_app: float
    beta: float
    beta_sharp: float
    start_error: float
    work: GameWork

    def error_bound(self, k: int) -> float:
        """Bound on ||V_k - v*||, k <= K, from beta_sharp, delta_app and start_error."""
        return geometric_bound(self.beta_sharp, self.delta_app, k, self.start_error)

    @property
    def asymptotic_bound(self) -> float:
        """delta_app / (1 - beta_sharp), infinite where beta_sharp >= 1.

        It bounds the limit superior of ||V_k - v*|| if going on would meet no pair with a larger error than delta_app,
        as where the iteration settled and its pair did, too.
        """
        return geometric_bound(self.beta_sharp, self.delta_app, math.inf, self.start_error)


def fitted_policy_iteration(
    game: MarkovGame,
    features: ArrayLike,
    *,
    lookahead: int,
    rollout: float,
    subsets: Subsets | None = None,
    max_iterations: int = 1000,
    start: ArrayLike | None = None,
    tol: float = 1e-8,
) -> FittedSolution:
    """Lookahead policy iteration with values V = Phi theta, fitted on subsets of the states.

    The lookahead is computed in all states, H S matrix games an iteration, and so is the value of each pair met, which
    delta_app needs; the fit alone is confined to D_k. The amplification of a subset of n states takes S n d operations,
    once for each subset.

    Args:
        game: The game, gamma < 1.
        features: Phi (S, d), zero in terminal states.
        lookahead: H >= 1.
        rollout: m >= 1, or math.inf.
        subsets: The states D to fit on (n,), or a function from k = 0, 1, ... to those of iteration k.
            None: all states.
        max_iterations: Largest number of fits, at least 1.
        start: theta_0 (d,). None: zero.
        tol: Wanted bound on the certified gap. The iteration stops once that is reached, or once no value moves by more
            than a quarter of (1 - gamma) tol where the features hold no value of a pair met, or than rounding moves it.

    Raises:
        ModelError: Naming the argument at fault; a subset on which the features are not of full rank.
        ValueError: A bad start or tol.
    """
    phi, tol = require_features(features, game), require_tolerance(tol)
    lookahead, rollout = require_lookahead(lookahead), require_rollout(rollout)
    max_iterations, theta = whole_number("max_iterations", max_iterations, 1), require_theta(start, phi)
    sweeps = GameSweeps(game)
    iterates = _iterates(sweeps, phi, _fits(phi, subsets), lookahead, rollout, theta)
    path = _Path(game, next(iterates), tol, is_autonomous=not callable(subsets))
    status = None
    try:
        while status is None and len(path.history) <= max_iterations:
            status = path.add(next(iterates))
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return _answer(sweeps, path, lookahead, rollout, status or Status.ITERATION_LIMIT)


@dataclass(frozen=True, eq=False)
class _Iterate:
    """V_k, what lookahead made of it, and the fit it came from (zeros at the start).

    Attributes:
        theta: Its parameters (d,).
        value: V_k (S,).
        ahead: W_k, T W_k and their greedy pair.
        residual: ||T V_k - V_k||.
        amplification: ||M||_inf of the fit.
        misfit: ||M v^{mu,nu} - v^{mu,nu}|| for the pair that was evaluated.
    """

    theta: FloatArray
    value: FloatArray
    ahead: GameBackup
    residual: float
    amplification: float
    misfit: float


def _iterates(
    sweeps: GameSweeps,
    phi: FloatArray,
    fits: Iterator[SubsetFit],
    lookahead: int,
    rollout: float,
    theta: FloatArray,
) -> Iterator[_Iterate]:
    """V_0, V_1, ..., each fit drawn when it is needed."""
    amplification = misfit = 0.0
    while True:
        v = phi @ theta
        backup = sweeps.backup(v)
        ahead = deepen(sweeps, backup, lookahead - 1)
        yield _Iterate(theta, v, ahead, backup.residual, amplification, misfit)
        chain = sweeps.chain(ahead.mu, ahead.nu)
        pair_value = sweeps.solve(chain, ahead.value, 1e-13 * float(np.abs(ahead.value).max()))
        # T_{mu,nu} W = T W, so the first of the m steps is done.
        rolled = pair_value if rollout == math.inf else sweeps.follow(chain, ahead.value, int(rollout) - 1)
        fit = next(fits)
        theta, amplification, misfit = fit.theta(rolled), fit.amplification, fit.error(pair_value)


def _fits(phi: FloatArray, subsets: Subsets | None) -> Iterator[SubsetFit]:
    """The fits on D_0, D_1, ..., each checked to be of full rank."""
    if not callable(subsets):
        states = np.arange(len(phi)) if subsets is None else require_subset("subsets", subsets, len(phi))
        fit = _full_rank_fit(phi, states, 0)
        while True:
            yield fit
    for k in count():
        yield _full_rank_fit(phi, require_subset(f"subsets({k})", subsets(k), len(phi)), k)


def _full_rank_fit(phi: FloatArray, states: IntArray, k: int) -> SubsetFit:
    fit = fit_subset(phi, states)
    if fit.rank < phi.shape[1]:
        raise ModelError(
            f"features have rank {fit.rank} on subset D_{k} of {fit.states.size} states, not d = {phi.shape[1]}; "
            "add states to it, or leave out features that depend on the others"
        )
    return fit


@final
class _Path:
    """Where the iteration has been, and whether it has anywhere left to go."""

    def __init__(self, game: MarkovGame, start: _Iterate, tol: float, *, is_autonomous: bool) -> None:
        self.game, self.start, self.latest, self.best = game, start, start, start
        self.thetas, self.history = [start.theta], [start.residual]
        self.delta_fv = self.delta_app = 0.0
        self.tol = tol
        self._is_autonomous = is_autonomous
        self._anchor = start.value

    def add(self, iterate: _Iterate) -> Status | None:
        """Take one more iterate; the status with which the iteration ends there, if it does."""
        change = float(np.abs(iterate.value - self.latest.value).max())
        self.history.append(iterate.residual)
        self.thetas.append(iterate.theta)
        self.delta_fv, self.delta_app = max(self.delta_fv, iterate.amplification), max(self.delta_app, iterate.misfit)
        self.latest = iterate
        if iterate.residual < self.best.residual:
            self.best = iterate
        if self._has_settled(iterate, change):
            return Status.SETTLED
        if is_out_of_control(self.game, iterate.value, self.start.value, self.delta_fv):
            return Status.DIVERGED
        return Status.CYCLING if self._is_autonomous and self._has_been_at(iterate.value, change) else None

    def _has_settled(self, iterate: _Iterate, change: float) -> bool:
        """Whether the promised gap is within tol, or the features keep it from narrowing, or rounding does."""
        rounding, left = ROUNDING * float(np.abs(iterate.value).max()), 1.0 - self.game.gamma
        if 3.0 * iterate.residual <= left * self.tol or change <= rounding:
            return True
        return change <= 0.25 * left * self.tol and self.delta_app > rounding / left

    def _has_been_at(self, value: FloatArray, change: float) -> bool:
        """Whether a value is, beside its last change, the anchor, which moves on at powers of two (Brent 1980)."""
        is_back = bool(np.abs(value - self._anchor).max() <= RECURRENCE * change)
        n = len(self.thetas) - 1
        if n & (n - 1) == 0:
            self._anchor = value
        return is_back


def _answer(sweeps: GameSweeps, path: _Path, lookahead: int, rollout: float, status: Status) -> FittedSolution:
    best, gamma = path.best, sweeps.game.gamma
    certificate = certify_lookahead(sweeps, best.value, best.ahead)
    if certificate.gap <= path.tol:
        status = Status.CONVERGED
    elif status is Status.SETTLED and path.delta_app <= ROUNDING * np.abs(best.value).max() / (1.0 - gamma):
        status = Status.PRECISION_LIMIT  # the features hold every value that mattered
    v = path.start.value
    return FittedSolution(
        theta=best.theta,
        value=best.value,
        policy=(best.ahead.mu, best.ahead.nu),
        certificate=certificate,
        status=status,
        iterations=len(path.history) - 1,
        history=tuple(path.history),
        thetas=np.array(path.thetas[: len(path.history)]),
        delta_fv=path.delta_fv,
        delta_app=path.delta_app,
        beta=paper_rate(gamma, lookahead, rollout, path.delta_fv),
        beta_sharp=sharp_rate(gamma, lookahead, rollout, path.delta_fv),
        start_error=float(np.maximum(certificate.upper - v, v - certificate.lower).max()),
        work=sweeps.work,
    )
