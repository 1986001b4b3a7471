"""T and T_{mu,nu} of one game, as planners apply them: compiled, warm-started, counted.

A *sweep* is one application of the Shapley operator: the payoffs Q_v(s) of some states at a time, and their matrix
games, each started from the basis in which the same state's last game ended. As v settles, bases stay, and a sweep
costs little more than the payoffs. The *joint evaluation* of a greedy pair,

    T_{mu,nu} v = r_{mu,nu} + gamma P_{mu,nu} v,        r_{mu,nu}(s) = sum_ab mu(a | s) nu(b | s) r(s, a, b),

runs on the chain of the pair, which keeps the outcomes of the actions played and nothing else.

How far v is from v* is judged by a seminorm |T v - v| that T contracts, by a modulus beta < 1: half the span, with
beta = gamma, where no terminal state fixes the level of v, since T is monotone and T(v + c) = T v + gamma c; with
terminal states the supremum norm, with beta = gamma; and with gamma = 1 the supremum norm weighted by 1 / xi, with
beta = 1 - 1 / max(xi), for the longest expected play xi (:mod:`.certificates`).
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import scipy.sparse as sp

from ...models import MarkovGame
from ..bellman import as_csr
from ..chains import Chain, solve_chain, solve_iteratively
from ..matrix_games import RELATIVE_GAP, solve_checked
from ..solution import FloatArray, GameWork
from .certificates import Play, analyse_play

# A pair is evaluated exactly to this fraction of the step that led to it.
EXACTNESS = 1e-8

# Evaluation stops when its changes vary by this fraction of what they varied by at first, or after so many steps; the
# first pairs do not last, and are not followed far.
SETTLED = 0.05
LONGEST_EVALUATION = 200
STEPS_PER_PROPOSAL = 2

# So many payoffs at a time stay in a core's cache between their computation and their solution.
BLOCK_PAYOFFS = 2**15


@dataclass(frozen=True, eq=False)
class GameBackup:
    """One application of T.

    Attributes:
        v: What T was applied to (S,).
        value: T v (S,).
        mu: Greedy policy of player_0 for v (S, A).
        nu: Greedy policy of player_1 for v (S, B).
        low: Least entry of T v - v.
        high: Greatest entry of T v - v.
    """

    v: FloatArray
    value: FloatArray
    mu: FloatArray
    nu: FloatArray
    low: float
    high: float

    @property
    def residual(self) -> float:
        """Supremum norm of T v - v."""
        return max(-self.low, self.high)


@final
class GameSweeps:
    """The operators of one game, with the bases of its matrix games and counts of the work done.

    Args:
        game: The game.

    Attributes:
        game: The game.
        play: How long it can last, and how exactly it is computed.
        is_free: Whether the level of v is free: gamma < 1 and no terminal state.
        modulus: beta, by which T contracts :meth:`distance`.
        latest: The last application of T, or None.

    Raises:
        ValueError: gamma = 1 and play that need not terminate.
    """

    def __init__(self, game: MarkovGame) -> None:
        self.game: MarkovGame = game
        self.play: Play = analyse_play(game)
        self.is_free: bool = game.gamma < 1.0 and not bool(game.terminal.any())
        self.modulus: float = game.gamma if game.gamma < 1.0 else 1.0 - 1.0 / self.play.longest
        self.latest: GameBackup | None = None
        self._bases = np.zeros((game.n_states, game.r.shape[1] + game.r.shape[2]), dtype=np.bool_)
        self._step = max(1, BLOCK_PAYOFFS // (game.r.shape[1] * game.r.shape[2]))
        self._sweeps = self._proposals = self._further = self._mixed = self._evaluations = self._exact_evaluations = 0

    @property
    def horizon(self) -> float:
        """How far v* may lie from T v where T v - v spans one: gamma / (1 - gamma), or the longest play."""
        return self.game.gamma * self.play.longest

    @property
    def work(self) -> GameWork:
        """What has been done so far."""
        n_games = self._sweeps * self.game.n_states + self._further
        return GameWork(self._sweeps, n_games, self._mixed, self._evaluations, self._exact_evaluations)

    def backup(self, v: FloatArray) -> GameBackup:
        """T v and the greedy pair, for v of shape (S,)."""
        n_states, n_0, n_1 = self.game.r.shape
        value, mu, nu = np.empty(n_states), np.empty((n_states, n_0)), np.empty((n_states, n_1))
        for begin in range(0, n_states, self._step):
            states = slice(begin, min(begin + self._step, n_states))
            self._solve(states, v, value[states], mu[states], nu[states])
        self._sweeps += 1
        change = value - v
        self.latest = GameBackup(v, value, mu, nu, float(change.min()), float(change.max()))
        return self.latest

    def _solve(self, states: slice, v: FloatArray, value: FloatArray, mu: FloatArray, nu: FloatArray) -> None:
        """Values and policies of the matrix games Q_v of some states, written to the last three."""
        from ..matrix_game_kernels import solve_batch

        payoffs, gaps = self._payoffs(states, v), np.empty(value.size)
        counts_0, counts_1 = self.game.n_actions_0[states], self.game.n_actions_1[states]
        bases, is_warm = self._bases[states], self._sweeps > 0
        self._mixed += solve_batch(payoffs, counts_0, counts_1, value, mu, nu, gaps, bases, is_warm)
        for k in np.flatnonzero(~(gaps <= RELATIVE_GAP)):
            one, s = slice(k, k + 1), states.start + int(k)
            if not np.isfinite(np.ptp(payoffs[k])):
                raise ValueError(f"game: the stage game of state {s} ranges over more than float64 holds; scale r down")
            value[one], mu[one], nu[one], _ = solve_checked(payoffs[one], counts_0[one], counts_1[one])

    def _payoffs(self, states: slice, v: FloatArray) -> FloatArray:
        """Q_v (n, A, B) of some states."""
        game = self.game
        payoffs = np.empty((states.stop - states.start, *game.r.shape[1:]))
        if isinstance(game.P, np.ndarray):
            np.matmul(game.P[states].reshape(-1, game.n_states), v, out=payoffs.reshape(-1))
            payoffs *= game.gamma
            payoffs += game.r[states]
            return payoffs
        from .sweep_kernels import stage_payoffs

        P = game.P
        stage_payoffs(P.data, P.indices, P.indptr, game.r.reshape(-1), game.gamma, v, states.start, payoffs)
        return payoffs

    def floor(self, backup: GameBackup) -> float:
        """What rounding alone adds to the certified gap."""
        value, play = backup.value, self.play
        error = max(play.error(value) + play.defect(policy, value) for policy in (backup.mu, backup.nu))
        return 2 * error * play.longest

    def distance(self, backup: GameBackup) -> float:
        """The seminorm of T v - v, which is zero exactly where v differs from v* at most in level, if that is free."""
        return 0.5 * (backup.high - backup.low) if self.is_free else self.residual(backup)

    def residual(self, backup: GameBackup) -> float:
        """The supremum norm of T v - v; with gamma = 1 the weighted one."""
        if self.game.gamma < 1.0:
            return backup.residual
        live = ~self.game.terminal
        return float(np.max(np.abs(backup.value - backup.v)[live] / self.play.steps[live], initial=0.0))

    def centred(self, v: FloatArray, low: float, high: float) -> FloatArray:
        """v, whose last change lay between low and high, moved to where it is going, if its level is free."""
        factor = self.game.gamma / (1.0 - self.game.gamma) if self.is_free else 0.0
        return v + factor * (0.5 * low + 0.5 * high) if factor else v

    def chain(self, mu: FloatArray, nu: FloatArray) -> Chain:
        """The chain of a pair of policies mu (S, A), nu (S, B); rows of terminal states are zero."""
        if self.game.terminal.any():
            mu = mu * ~self.game.terminal[:, None]
        return pair_chain(self.game, mu, nu)

    def evaluate(self, backup: GameBackup, rollout: float) -> FloatArray:
        """T_{mu,nu}^m v for the greedy pair of v, 1 <= m <= inf; T_{mu,nu} v = T v is known."""
        if rollout == 1:
            return backup.value
        chain = self.chain(backup.mu, backup.nu)
        if math.isinf(rollout):
            return self.solve(chain, backup.value, EXACTNESS * backup.residual / self.play.longest)
        return self.follow(chain, backup.value, int(rollout) - 1)

    def propose(self, backup: GameBackup) -> FloatArray:
        """Where the greedy pair leads from v: :meth:`settle`, from T v moved to the middle of its bounds."""
        self._proposals += 1
        value = self.centred(backup.value, backup.low, backup.high)
        most = min(LONGEST_EVALUATION, STEPS_PER_PROPOSAL * self._proposals)
        return self.settle(self.chain(backup.mu, backup.nu), value, SETTLED, most)

    def follow(self, chain: Chain, v: FloatArray, steps: int) -> FloatArray:
        """T_{mu,nu} applied so many times."""
        self._evaluations += steps
        return chain.after(v, steps)

    def settle(self, chain: Chain, v: FloatArray, fraction: float, most: int) -> FloatArray:
        """T_{mu,nu} applied until its changes vary by a fraction of what the first varied by, then centred.

        Args:
            chain: The chain of the pair.
            v: Where to start (S,).
            fraction: When to stop.
            most: Largest number of applications, at least 1.
        """
        from .sweep_kernels import chain_step

        P, other, first = as_csr(chain.P), np.empty_like(v), np.inf
        v = v.copy()
        low = high = 0.0
        for step in range(most):
            low, high = chain_step(P.data, P.indices, P.indptr, chain.r, chain.gamma, v, other)
            self._evaluations += 1
            v, other = other, v
            spread = high - low if self.is_free else max(-low, high)
            first = spread if step == 0 else first
            if spread <= fraction * first:
                break
        return self.centred(v, low, high)

    def solve(self, chain: Chain, start: FloatArray, target: float) -> FloatArray:
        """v^{mu,nu} to a residual of at most ``target``, where float64 allows."""
        self.count(exact=1)
        if chain.gamma < 1.0 and not isinstance(chain.P, np.ndarray):
            return solve_iteratively(chain, start, target)  # from so near, LU factors take longer
        return solve_chain(chain, start, target)

    def count(self, *, matrix_games: int = 0, mixed_games: int = 0, evaluations: int = 0, exact: int = 0) -> None:
        """Take note of work done elsewhere, ``exact`` being the policies whose value was solved for."""
        self._further += matrix_games
        self._mixed += mixed_games
        self._evaluations += evaluations
        self._exact_evaluations += exact


def pair_chain(game: MarkovGame, mu: FloatArray, nu: FloatArray) -> Chain:
    """The chain of a pair mu (S, A), nu (S, B); actions of weight zero leave nothing behind."""
    n_states = game.n_states
    if isinstance(game.P, np.ndarray):
        weights = (mu[:, :, None] * nu[:, None, :]).reshape(n_states, 1, -1)
        P = (weights @ game.P.reshape(n_states, -1, n_states))[:, 0, :]
        return Chain(P, (weights @ game.r.reshape(n_states, -1, 1))[:, 0, 0], game.gamma)
    from .sweep_kernels import pair_rows, pair_sizes

    rows, r = game.P, np.empty(n_states)
    ends = np.empty(n_states + 1, dtype=rows.indptr.dtype)
    pair_sizes(rows.indptr, mu, nu, ends)
    data, indices = np.empty(ends[-1]), np.empty(ends[-1], dtype=rows.indices.dtype)
    pair_rows(rows.data, rows.indices, rows.indptr, game.r.reshape(-1), mu, nu, data, indices, r)
    return Chain(sp.csr_array((data, indices, ends), shape=(n_states, n_states)), r, game.gamma)
