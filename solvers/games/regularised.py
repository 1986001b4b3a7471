"""Shapley iteration for entropy-regularised zero-sum Markov games.

Both players are paid for their entropy, at a temperature tau > 0: with Q_v as in :mod:`.operators`

    (T_tau v)(s) = max_mu min_nu  mu Q_v(s) nu + tau Ent(mu) - tau Ent(nu)

in states that are not terminal; its pair is the logit equilibrium of the stage game (:mod:`..regularised_games`).
T_tau is monotone and T_tau(v + c) = T_tau v + gamma c, hence for gamma < 1 a gamma-contraction, whose fixed point
V*_tau is the value of the game with these payments. So Shapley iteration, its stopping rule and its bounds stay as
they are (:mod:`.shapley`, :mod:`.planning`).

**Certificate.** What mu guarantees against every opponent is the fixed point of

    (T_{mu,tau} v)(s) = min_nu mu Q_v(s) nu + tau Ent(mu) - tau Ent(nu) = tau Ent(mu) - tau LSE(-mu Q_v(s) / tau),

and T^{nu,tau} likewise from above; with xi a bound on expected discounted steps (:mod:`.certificates`)

    v - max(0, max(v - T_{mu,tau} v)) xi  <=  V^{mu, best}_tau  <=  V*_tau  <=  V^{best, nu}_tau
                                          <=  v + max(0, max(T^{nu,tau} v - v)) xi.

**Distance from Nash.** Entropies lie between 0 and the logarithms of the numbers of actions. In V^{mu, best}_tau an
opponent's entropy only lowers what player_0 is paid, and player_0's own is worth at most tau log A xi: without either,
mu guarantees at least V^{mu, best}_tau - tau log A xi. Likewise for nu. So in the game without entropy

    NashConv(mu, nu)  <=  V^{best, nu}_tau - V^{mu, best}_tau + tau (log A + log B) xi,

where the first difference is at most the certified gap.

**Warm starts.** Each stage game is solved from its last pair, by two or three steps of Newton's method instead of six
at high temperatures and seventeen at low ones.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ...models import MarkovGame
from ...models._checks import BoolArray, whole_number
from ...models.summaries import Summarised
from ..bellman import UNIT_ROUNDOFF
from ..certificates import OUTWARDS, widened
from ..policies import require_start, require_tolerance, require_value
from ..regularised_games import RegularisedGameSolutions, regularised_matrix_games, require_temperature
from ..solution import Certificate, FloatArray, Status
from .best_responses import NashGap, nash_gap
from .certificates import Play, analyse_play
from .operators import available, joint_action_values, require_policy
from .planning import PATIENCE, Pair, require_game


@dataclass(frozen=True, eq=False, repr=False)
class RegularisedGameSolution(Summarised):
    """The logit equilibrium of a Markov game.

    Attributes:
        game: The game.
        value: Its value V*_tau (S,), entropies included.
        policy: The pair (mu (S, A), nu (S, B)).
        certificate: Bounds on V*_tau; mu guarantees the lower one to player_0, nu the upper one to player_1, entropies
            included.
        nash_bound: What is proven of NashConv in the game without entropy: gap + tau (log A + log B) xi, (S,).
        temperature: tau.
        status: How the iteration ended.
        iterations: Number of sweeps.
        history: The gap that each sweep promises.
    """

    game: MarkovGame
    value: FloatArray
    policy: Pair
    certificate: Certificate
    nash_bound: FloatArray
    temperature: float
    status: Status
    iterations: int
    history: tuple[float, ...]

    @cached_property
    def nash(self) -> NashGap:
        """How far the pair is from equilibrium in the game without entropy, certified; computed when asked for."""
        return nash_gap(self.game, *self.policy)


def regularised_shapley_iteration(
    game: MarkovGame,
    temperature: float,
    tol: float = 1e-8,
    *,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> RegularisedGameSolution:
    """Value and logit equilibrium of an entropy-regularised Markov game.

    Args:
        game: The game.
        temperature: tau > 0, in the unit of the rewards.
        tol: Wanted bound on the certified gap of the regularised game.
        max_iterations: Largest number of sweeps.
        start: Value (S,) to start from. None: zero.

    Raises:
        ValueError: A bad temperature, also one too low for float64 beside a stage game's range; a bad tol,
            max_iterations or start; gamma = 1 and play that need not terminate.
        KeyboardInterrupt: Ctrl-C before the first sweep was over: there is no answer yet.
    """
    v, tau, tol = require_start(start, require_game(game)), require_temperature(temperature), require_tolerance(tol)
    max_iterations = whole_number("max_iterations", max_iterations, 1)
    run = _Run(game, analyse_play(game), tau, v)
    try:
        while run.status is None:
            if len(run.history) == max_iterations:
                run.status = Status.ITERATION_LIMIT
            else:
                run.sweep(tol)
    except KeyboardInterrupt:
        if run.stages is None:
            raise
        run.status = Status.INTERRUPTED
    return run.solution(tol)


def certify_regularised_game(
    game: MarkovGame, temperature: float, value: ArrayLike, mu: ArrayLike, nu: ArrayLike
) -> Certificate:
    """Bounds on V*_tau that a pair of policies attains, between which ``value`` lies too.

    Args:
        game: The game.
        temperature: tau > 0.
        value: Any value (S,); the closer to V*_tau, the narrower the bounds.
        mu: A policy of player_0 (S, A).
        nu: A policy of player_1 (S, B).

    Raises:
        ValueError: A bad temperature; naming the entry of value, mu or nu at fault; gamma = 1 and play that need not
            terminate.
    """
    tau, v = require_temperature(temperature), require_value("value", value, game.n_states)
    pair = require_policy(game, 0, mu), require_policy(game, 1, nu)
    return _certify(game, analyse_play(game), tau, v, pair)


def _certify(game: MarkovGame, play: Play, tau: float, value: FloatArray, pair: Pair) -> Certificate:
    live, (mu, nu) = ~game.terminal, pair
    v = np.where(live, value, 0.0)
    q = joint_action_values(game, v)
    below = -_best_answer(-(mu[:, None, :] @ q)[:, 0, :], available(game, 1), mu, tau)
    above = _best_answer((q @ nu[:, :, None])[:, :, 0], available(game, 0), nu, tau)
    rounding = play.error(v) + 8 * (sum(game.r.shape[1:]) + 8) * UNIT_ROUNDOFF * tau * (1.0 + np.log(game.r[0].size))
    low, _ = widened(np.append(0.0, (below - v)[live]), rounding + _defect(play, mu, v, tau))
    _, high = widened(np.append(0.0, (above - v)[live]), rounding + _defect(play, nu, v, tau))
    lower = np.where(live, np.nextafter(v + low * play.steps * OUTWARDS, -np.inf), 0.0)
    upper = np.where(live, np.nextafter(v + high * play.steps * OUTWARDS, np.inf), 0.0)
    return Certificate(np.minimum(lower, value), np.maximum(upper, value))


def _best_answer(payoffs: FloatArray, live: BoolArray, opponent: FloatArray, tau: float) -> FloatArray:
    """tau LSE(payoffs / tau) - tau Ent(opponent), (S,)."""
    x = np.where(live, payoffs, -np.inf)
    best = x.max(axis=1, keepdims=True)
    total = np.exp((x - best) / tau).sum(axis=1)
    negentropy = (opponent * np.log(np.where(opponent > 0.0, opponent, 1.0))).sum(axis=1)
    return best[:, 0] + tau * (np.log(total) + negentropy)


def _defect(play: Play, policy: FloatArray, v: FloatArray, tau: float) -> float:
    """Bound on what normalising a policy exactly would change: the entropy moves by log + 1 for each unit of mass."""
    mass = float(np.abs(policy.sum(axis=1) - 1.0).max()) + policy.shape[1] * UNIT_ROUNDOFF
    return play.defect(policy, v) + 2 * tau * mass * (2.0 + np.log(policy.shape[1]))


@dataclass(eq=False)
class _Run:
    """What the iteration has so far; kept up to date, so that an interrupt loses nothing."""

    game: MarkovGame
    play: Play
    tau: float
    value: FloatArray
    stages: RegularisedGameSolutions | None = None
    status: Status | None = None
    history: list[float] = field(default_factory=list[float])
    least: float = np.inf
    idle: int = 0

    def sweep(self, tol: float) -> None:
        """One sweep more, and whether it is the last."""
        game, gamma = self.game, self.game.gamma
        q = joint_action_values(game, self.value)
        start = None if self.stages is None else (self.stages.mu, self.stages.nu)
        stages = regularised_matrix_games(q, self.tau, game.n_actions_0, game.n_actions_1, start=start)
        value = np.where(game.terminal, 0.0, stages.values)
        change = gamma * (value - self.value)
        low, high = float(change.min()), float(change.max())
        is_free = gamma < 1.0 and not game.terminal.any()
        if is_free:
            value = value + 0.5 * (low + high) * self.play.longest
        else:
            low, high = min(0.0, low), max(0.0, high)
        gap = (high - low + float(stages.gaps.max())) * self.play.longest
        self.value, self.stages = value, stages
        self.history.append(gap)
        self.least, self.idle = (gap, 0) if gap < self.least else (self.least, self.idle + 1)
        if (gap <= 2 * tol and self.certificate().gap <= tol) or self.idle >= PATIENCE:
            self.status = Status.CONVERGED

    @property
    def pair(self) -> Pair:
        """The pair of the last sweep."""
        if self.stages is None:
            raise RuntimeError("there has been no sweep")
        return self.stages.mu, self.stages.nu

    def certificate(self) -> Certificate:
        """Bounds from the answer."""
        return _certify(self.game, self.play, self.tau, self.value, self.pair)

    def solution(self, tol: float) -> RegularisedGameSolution:
        """The answer, certified."""
        certificate = self.certificate()
        status = self.status or Status.ITERATION_LIMIT
        if certificate.gap <= tol:
            status = Status.CONVERGED
        elif status is Status.CONVERGED:
            status = Status.PRECISION_LIMIT
        logs = np.log(self.game.n_actions_0.max()) + np.log(self.game.n_actions_1.max())
        bound = certificate.upper - certificate.lower + self.tau * logs * self.play.steps
        history = tuple(self.history)
        answer = (self.game, self.value, self.pair, certificate, bound)
        return RegularisedGameSolution(*answer, self.tau, status, len(history), history)
