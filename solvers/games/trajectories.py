"""Lookahead policy iteration that evaluates its policies on trajectories.

Algorithm 3 of Winnicki and Srikant (arXiv 2303.09716): values V_k = Phi theta_k are moved by stochastic approximation
towards m-step returns of the lookahead pair. In iteration k, with W_k = T^{H-1} V_k from the model,

    (mu_k, nu_k) greedy for W_k,
    y_k(s) = mean of r_t + ... + gamma^{m-1} r_{t+m-1} + gamma^m W_k(s_{t+m}) over first visits s_t = s,  s in D_k,
    theta_{k+1} = theta_k + alpha_k Phi_{D_k}^+ (y_k - Phi_{D_k} theta_k),

on trajectories that start from a distribution positive everywhere; D_k holds the states met in their first ``length``
steps. The paper writes (1 - alpha_k) theta_k + alpha_k Phi_{D_k}^+ y_k, which is the same where Phi_{D_k} has full rank
d. Where it has not, that form shrinks what D_k does not determine towards zero, time and again; the residual form
above leaves it alone, and is the default.

What is promised. Given D_k, the returns should be right on average: E[y_k(s) | D_k] = (T_{mu_k,nu_k}^m W_k)(s). That
holds if D_k consists of the starts (``length`` 1, the default), which do not depend on what happens afterwards.
On longer trajectories the very transitions that make up a return also decide which states are fitted beside it, and
shared features carry the coincidence into theta as a bias; the features of a table, one state each, share nothing.

*   Where the returns are so unbiased, every Phi_{D_k} has rank d and the step sizes obey Robbins and Monro, limsup
    ||V_k - v*|| <= delta_app / (1 - beta) almost surely, if beta < 1 (Theorem 3; beta as in :mod:`.linear_values`).
*   With the features of a table, the residual form and such step sizes, V_k -> v* almost surely wherever
    lookahead policy iteration contracts, for trajectories of any length (asynchronous stochastic approximation:
    Tsitsiklis, Machine Learning 16, 1994).
*   Elsewhere nothing is proved; the certificate holds all the same.

The model makes ||T V_k - V_k|| known, so the answer is the iterate for which it is least, and certified.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lstsq

from ...models import MarkovGame, ModelError
from ...models._checks import initial_distribution, real_number, whole_number
from ...models.summaries import Summarised
from ..policies import require_tolerance
from ..solution import Certificate, FloatArray, GameWork, IntArray, Status
from .linear_values import certify_lookahead, deepen, is_out_of_control, require_features, require_theta
from .lookahead import require_lookahead
from .sweeps import GameBackup, GameSweeps

Form = Literal["residual", "literal"]


@dataclass(frozen=True)
class StepSizes:
    """alpha_k = scale / (offset + k)^exponent, k = 0, 1, ..., which obeys Robbins and Monro.

    Their conditions, sum alpha_k = inf and sum alpha_k^2 < inf (Annals of Mathematical Statistics 22, 1951), hold
    exactly for exponents in (1/2, 1].

    Attributes:
        scale: Positive.
        offset: Positive; alpha_0 = scale / offset^exponent must not exceed 1.
        exponent: In (1/2, 1].

    Raises:
        ModelError: Naming the number out of range.
    """

    scale: float = 1.0
    offset: float = 1.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        """Check every number."""
        for name in ("scale", "offset"):
            if not real_number(name, getattr(self, name)) > 0.0:
                raise ModelError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0.5 < real_number("exponent", self.exponent) <= 1.0:
            raise ModelError(f"exponent is {self.exponent}; step sizes average the noise out for 1/2 < exponent <= 1")
        if self(0) > 1.0:
            raise ModelError(f"scale is {self.scale}, so the first step size is {self(0):.6g}; it must not exceed 1")

    def __call__(self, k: int) -> float:
        """alpha_k."""
        return self.scale / (self.offset + k) ** self.exponent


@dataclass(frozen=True, eq=False, repr=False)
class TrajectorySolution(Summarised):
    """What policy iteration on trajectories arrived at.

    Attributes:
        theta: Parameters (d,) of the iterate with the least ||T V - V||, which is the best one certified.
        value: V = Phi theta (S,).
        policy: The pair (mu (S, A), nu (S, B)) that is greedy for T^{H-1} V.
        certificate: Bounds (S,) on the Nash value, which the pair attains; value lies between them.
        status: How the iteration ended.
        iterations: Number of updates K.
        history: ||T V_k - V_k|| for k = 0, ..., K; V_k lies within history[k] / (1 - gamma) of v*.
        last_theta: theta_K (d,), the subject of the limit theorems.
        env_steps: Number of transitions sampled.
        work: Counts of what the lookahead did.
    """

    theta: FloatArray
    value: FloatArray
    policy: tuple[FloatArray, FloatArray]
    certificate: Certificate
    status: Status
    iterations: int
    history: tuple[float, ...]
    last_theta: FloatArray
    env_steps: int
    work: GameWork


def trajectory_policy_iteration(
    game: MarkovGame,
    features: ArrayLike,
    *,
    lookahead: int,
    rollout: int,
    rng: np.random.Generator,
    iterations: int = 10_000,
    trajectories: int | None = None,
    length: int = 1,
    step_sizes: Callable[[int], float] | None = None,
    start_distribution: ArrayLike | None = None,
    start: ArrayLike | None = None,
    form: Form = "residual",
    tol: float = 1e-3,
) -> TrajectorySolution:
    """Lookahead policy iteration with values V = Phi theta, learned from m-step returns.

    The model serves the lookahead, H S matrix games an iteration; the pairs of policies are evaluated on trajectories
    alone.

    Args:
        game: The game, gamma < 1.
        features: Phi (S, d), zero in terminal states.
        lookahead: H >= 1.
        rollout: m >= 1 steps to a return.
        rng: Where the randomness comes from.
        iterations: Largest number of updates, at least 1.
        trajectories: Trajectories an update. None: 4 d. With about as many states fitted as there are features, a fit
            follows the noise; many fewer or many more are better.
        length: Steps of a trajectory whose states are fitted; it is played on for another m - 1 steps, or until it
            terminates. 1 fits the starts only, and is free of bias whatever the features.
        step_sizes: alpha_k in (0, 1] for k = 0, 1, ...; None: StepSizes(10, 10).
        start_distribution: Where trajectories start (S,), positive in every state that is not terminal.
            None: uniform over these.
        start: theta_0 (d,). None: zero.
        form: "residual", or "literal" as the paper writes it.
        tol: The iteration stops once the certified gap is within it.

    Raises:
        ModelError: Naming the argument at fault.
        ValueError: A bad start or tol; an unknown form; a step size out of range, naming k.
    """
    phi, tol = require_features(features, game), require_tolerance(tol)
    lookahead, rollout = require_lookahead(lookahead), whole_number("rollout", rollout, 1)
    iterations, theta = whole_number("iterations", iterations, 1), require_theta(start, phi)
    if step_sizes is not None and not callable(step_sizes):
        raise ModelError(f"step_sizes is {step_sizes!r}; pass a function of k, such as StepSizes(10, 10)")
    if form not in ("residual", "literal"):
        raise ValueError(f"form is {form!r}; pass 'residual' or 'literal'")
    n = 4 * phi.shape[1] if trajectories is None else whole_number("trajectories", trajectories, 1)
    steps = whole_number("length", length, 1) - 1 + rollout
    sampler = _Sampler(game, _require_generator(rng), n, steps, rollout, _start_law(start_distribution, game))
    update = _Update(phi, StepSizes(10.0, 10.0) if step_sizes is None else step_sizes, form)
    search = _Search(GameSweeps(game), tol, lookahead)
    return _run(search, _iterates(search, sampler, update, theta), sampler, iterations)


@dataclass(frozen=True, eq=False)
class _Iterate:
    """V_k: its parameters theta (d,), its values (S,), what lookahead made of it, and ||T V_k - V_k||."""

    theta: FloatArray
    value: FloatArray
    ahead: GameBackup
    residual: float


@final
class _Sampler:
    """Trajectories of a game under changing policies, with the number of steps made so far.

    Args:
        game: The game.
        rng: Where the randomness comes from.
        n: Number of trajectories at a time.
        steps: Length of each, T.
        rollout: Steps m to a return.
        start_law: Distribution of the starts (S,).
    """

    def __init__(
        self, game: MarkovGame, rng: np.random.Generator, n: int, steps: int, rollout: int, start_law: FloatArray
    ) -> None:
        self.game, self.rollout, self.env_steps = game, rollout, 0
        self._rng = rng
        self._starts = np.cumsum(start_law)
        self._starts /= self._starts[-1]  # the last entry is 1, above every draw
        self._law = game.outcomes()
        self._visited, self._paid = np.zeros((n, steps + 1), np.int64), np.zeros((n, steps))
        self._ends = np.zeros(n, np.int64)
        self._totals, self._counts = np.zeros(game.n_states), np.zeros(game.n_states, np.int64)

    def returns(self, ahead: GameBackup) -> tuple[IntArray, FloatArray]:
        """States D (n,) met and their mean returns (n,) under the greedy pair of W = ``ahead.v``."""
        from .trajectory_kernels import first_visit_returns, play  # numba takes its time to start

        law, game, n = self._law, self.game, self._ends.size
        self._visited[:, 0] = np.searchsorted(self._starts, self._rng.random(n), side="right")
        play(
            law.indptr, law.next_states, law.probabilities, law.rewards, game.terminal, ahead.mu, ahead.nu,
            self._rng.random((*self._paid.shape, 3)), self._visited, self._paid, self._ends,
        )  # fmt: skip
        self.env_steps += int(self._ends.sum())
        first_visit_returns(
            self._visited, self._paid, self._ends, self.rollout, game.gamma, ahead.v, self._totals, self._counts
        )
        states = np.flatnonzero(self._counts)
        return states, self._totals[states] / self._counts[states]


@dataclass(frozen=True, eq=False)
class _Update:
    """The step from theta_k to theta_{k+1}.

    Attributes:
        phi: Features (S, d).
        step_sizes: alpha_k.
        form: Of the update.
    """

    phi: FloatArray
    step_sizes: Callable[[int], float]
    form: Form

    def __call__(self, k: int, theta: FloatArray, states: IntArray, y: FloatArray) -> FloatArray:
        """theta_{k+1} (d,) from theta_k and the returns y (n,) of the states (n,)."""
        alpha = float(self.step_sizes(k))
        if not 0.0 < alpha <= 1.0:
            raise ValueError(f"step_sizes({k}) is {alpha}; step sizes lie in (0, 1]")
        phi = self.phi[states]
        if self.form == "literal":
            return (1.0 - alpha) * theta + alpha * _least_squares(phi, y)
        return theta + alpha * _least_squares(phi, y - phi @ theta)


def _least_squares(phi: FloatArray, y: FloatArray) -> FloatArray:
    """Phi_D^+ y by an orthogonal factorisation with column pivoting, a third of the time of singular values."""
    if not y.size:  # every trajectory started in a terminal state
        return np.zeros(int(phi.shape[1]))
    cond = max(phi.shape) * float(np.finfo(np.float64).eps)
    return lstsq(phi, y, cond=cond, lapack_driver="gelsy", check_finite=False)[0]


@dataclass(frozen=True, eq=False)
class _Search:
    """What judges the iterates: the game's operators, the wanted gap, and the lookahead H."""

    sweeps: GameSweeps
    tol: float
    lookahead: int

    def promised_gap(self, iterate: _Iterate) -> float:
        """Bound on the certified gap, rounding apart: W and v* differ by less, and V lies within its own error."""
        gamma = self.sweeps.game.gamma
        error = iterate.residual / (1.0 - gamma)
        return (2.0 * gamma ** (self.lookahead - 1) + 1.0) * error

    def certificate(self, iterate: _Iterate) -> Certificate:
        """Bounds from an iterate and its lookahead pair."""
        return certify_lookahead(self.sweeps, iterate.value, iterate.ahead)

    def verdict(self, iterate: _Iterate, start: _Iterate) -> Status | None:
        """The status with which the iteration ends at an iterate, if it does."""
        if is_out_of_control(self.sweeps.game, iterate.value, start.value, 1.0):
            return Status.DIVERGED
        if self.promised_gap(iterate) <= self.tol and self.certificate(iterate).gap <= self.tol:
            return Status.CONVERGED
        return None


def _iterates(search: _Search, sampler: _Sampler, update: _Update, theta: FloatArray) -> Iterator[_Iterate]:
    """V_0, V_1, ..."""
    k = 0
    while True:
        v = update.phi @ theta
        backup = search.sweeps.backup(v)
        ahead = deepen(search.sweeps, backup, search.lookahead - 1)
        yield _Iterate(theta, v, ahead, backup.residual)
        theta = update(k, theta, *sampler.returns(ahead))
        k += 1


def _run(search: _Search, iterates: Iterator[_Iterate], sampler: _Sampler, iterations: int) -> TrajectorySolution:
    latest = best = start = next(iterates)
    history, status = [start.residual], None
    try:
        while status is None and len(history) <= iterations:
            latest = next(iterates)
            history.append(latest.residual)
            best = latest if latest.residual < best.residual else best
            status = search.verdict(latest, start)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    certificate = search.certificate(best)
    if certificate.gap <= search.tol:
        status = Status.CONVERGED
    return TrajectorySolution(
        best.theta,
        best.value,
        (best.ahead.mu, best.ahead.nu),
        certificate,
        status or Status.ITERATION_LIMIT,
        len(history) - 1,
        tuple(history),
        latest.theta,
        sampler.env_steps,
        search.sweeps.work,
    )


def _require_generator(rng: object) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise ModelError(f"rng is {rng!r}; pass a numpy.random.Generator, such as numpy.random.default_rng(0)")
    return rng


def _start_law(start_distribution: ArrayLike | None, game: MarkovGame) -> FloatArray:
    """Exploring starts (S,)."""
    live = ~game.terminal
    if start_distribution is None:
        return live / live.sum() if live.any() else game.rho
    law = initial_distribution(start_distribution, game.n_states, "start_distribution")
    missing = live & (law == 0.0)
    if missing.any():
        s = int(np.argmax(missing))
        raise ModelError(
            f"start_distribution[{s}] is 0; exploring starts need a positive probability of every state that is not "
            "terminal"
        )
    return law
