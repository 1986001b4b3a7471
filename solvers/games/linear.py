"""Linear Markov games of any size: planning in the space of weights.

Where P(s' | s, a, b) = <phi(s, a, b), mu(s')> and r(s, a, b) = <phi(s, a, b), theta>, the action values of any U are
linear, Q_U(s, a, b) = <phi(s, a, b), w(U)> with

    w(U) = theta + gamma sum_s' mu(s') U(s').                                                              (1)

Let D be d triples (s, a, b) whose features Phi_D have rank d. The rows of the law at D determine all of it:

    Phi_D w(U) = r_D + gamma P_D U                                                                         (2)

(Winnicki, Srikant, arXiv:2303.09716, Proposition 1). Only the values on S_D, the union of the supports of the rows
P_D, enter; and S_D is the set of all states with mu(s') != 0, whatever D, since P_D = Phi_D mu and Phi_D is injective.
So an application of T to U solves |S_D| matrix games in place of |S|, and m steps with a pair of policies take
m |S_D| d products; with F the features of S_D averaged over the pair, its exact value is that of d equations,

    w = theta + gamma mu F w,        v^{mu,nu} = F w                                                       (m = inf).

At any other state V*(s) = val <phi(s, ., .), w>.

*Choosing D.* An error of the rows enters Q through Phi Phi_D^+, whose row sums bound how it is amplified. QR with
column pivoting picks triples that keep it small (Golub, Numerische Mathematik 7, 1965). Whoever has theta and mu
needs no D: :func:`solve_linear_game` uses (1), :func:`linear_policy_iteration` reads the law at D alone.

*Certificate.* It is recomputed from the weights. In the states that play can meet, a set that play does not leave, let
v be the values and (mu, nu) the saddle points of the games <phi, w>, and w' = w(v). With c = max(0, max(v - T_mu v)),
v - c / (1 - gamma) lies below what mu guarantees, and likewise above for nu (:mod:`.certificates`); T_mu v is
min_b of the mu-average of <phi, w'>. Rounding is bounded a priori and pushed outwards.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, cast, final

import numpy as np
from numpy.typing import ArrayLike

from ...models import FeatureMap, LinearLaw, LinearMarkovGame, MarkovGame, ModelError
from ...models._checks import BoolArray, frozen, require_room
from ...models.generators import as_generator
from ...models.linear import NEGATIVE_TOLERANCE, TABULAR_BYTES
from ...models.summaries import Summarised
from ..bellman import UNIT_ROUNDOFF
from ..certificates import OUTWARDS, steps_bound, widened
from ..matrix_games import MatrixGameSolutions, solve_checked
from ..policies import require_tolerance
from ..solution import Certificate, FloatArray, GameWork, IntArray, Solution, Status
from .lookahead import lookahead_iterates, require_lookahead, require_rollout
from .planning import Outcome, Pair, run
from .safeguarded import safeguarded_iterates
from .sweeps import GameBackup

Triples = tuple[ArrayLike, ArrayLike]
"""States (n,) and joint actions (n,), the pair (a, b) being coded a*B + b."""

# Features of at most so many numbers are looked through where those of S_D do not span.
FURTHER_ENTRIES = 2**20


@dataclass(frozen=True, eq=False, repr=False)
class Design(Summarised):
    """The triples D at which the law is read.

    Attributes:
        states: (n,).
        joint_actions: (n,); the pair (a, b) is coded a*B + b.
        amplification: ||Phi Phi_D^+|| over the candidates' features Phi, in the supremum norm: an error of the rows at
            D makes an error at most so many times as large in Q at the candidates.
    """

    states: IntArray
    joint_actions: IntArray
    amplification: float


@dataclass(frozen=True, eq=False, repr=False)
class LinearGameSolution(Summarised):
    """The Nash value of a linear Markov game, in d numbers.

    Attributes:
        phi: The game's features.
        weights: w (d,); q(s, a, b) = <phi(s, a, b), w>.
        states: The states (n,) that play can meet.
        support: Value, policies (mu (n, A), nu (n, B)) and certificate on these states, how the solver ended, and what
            planning took (the certificate's n matrix games apart).
        reached: The states S_D (K,) after any move, to which planning was confined.
        design: The triples at which the law was read; None where theta and mu were used.
    """

    shown: ClassVar[tuple[str, ...]] = ("status", "matrix_games", "tabular_matrix_games")

    phi: FeatureMap
    weights: FloatArray
    states: IntArray
    support: Solution[Pair]
    reached: IntArray
    design: Design | None = None

    @property
    def certificate(self) -> Certificate:
        """Bounds (n,) on the values of the states that play can meet."""
        return self.support.certificate

    @property
    def status(self) -> Status:
        """How the solver ended."""
        return self.support.status

    @property
    def matrix_games(self) -> int:
        """Matrix games solved in planning: |S_D| a sweep."""
        return self._sweeps * self.reached.size

    @property
    def tabular_matrix_games(self) -> int:
        """Matrix games that the same sweeps over all states would have solved."""
        return self._sweeps * self.phi.n_states

    @property
    def _sweeps(self) -> int:
        return 0 if self.support.work is None else self.support.work.sweeps

    def action_values(self, states: IntArray) -> FloatArray:
        """The payoffs q(s, a, b) of the stage games (n, A, B) in states (n,)."""
        return self.phi(states) @ self.weights

    def value(self, states: IntArray) -> FloatArray:
        """v* (n,) of states (n,), met or not."""
        return _stage_games(self.action_values(states)).values

    def policy(self, states: IntArray) -> Pair:
        """A saddle point mu (n, A), nu (n, B) of the stage games in states (n,)."""
        solved = _stage_games(self.action_values(states))
        return solved.mu, solved.nu


def solve_linear_game(game: LinearMarkovGame, tol: float = 1e-8, *, max_iterations: int = 10_000) -> LinearGameSolution:
    """Nash value of a linear Markov game, by safeguarded policy iteration in the space of weights.

    The method of :func:`~lookahead_rl.solvers.solve_game` with exact evaluations, which take d equations here: the
    value X of the greedy pair of V is accepted if the span of T X - X is at most gamma times that of T V - V, and else
    V <- T V. Its theorem holds as it stands: the method converges on every game with gamma < 1.

    Args:
        game: The game. Its features need not be independent.
        tol: Wanted bound on the certified gap on the states that play can meet.
        max_iterations: Largest number of sweeps that are compared, at least 1.

    Raises:
        ValueError: A bad tol or max_iterations; gamma = 1, since play never ends.
        ModelError: The features of the states that play can meet do not fit into 2 GiB.
    """
    tol, sweeps = require_tolerance(tol), _Sweeps(game, reached_law(game))
    iterates = safeguarded_iterates(sweeps, np.zeros(sweeps.n_states))
    return _answer(game, sweeps, run(sweeps, iterates, tol, max_iterations), tol)


def linear_policy_iteration(
    game: LinearMarkovGame,
    tol: float = 1e-8,
    *,
    lookahead: int = 2,
    rollout: float = 10,
    design: Triples | None = None,
    candidates: Triples | None = None,
    rng: np.random.Generator | int = 0,
    max_iterations: int = 10_000,
) -> LinearGameSolution:
    """Nash value of a linear Markov game by Algorithm 1 of Winnicki and Srikant, from the rows of the law at D alone.

    The iterates are those of :func:`~lookahead_rl.solvers.lookahead_policy_iteration` on the game written out, from
    V_0 = 0, restricted to S_D; so is what is proved of them.

    Args:
        game: The game.
        tol: Wanted bound on the certified gap on the states that play can meet.
        lookahead: H, at least 1.
        rollout: m, at least 1, or ``math.inf``.
        design: D, at least d triples. None: chosen by :func:`choose_design`.
        candidates: Where D is chosen from, and its amplification measured.
        rng: A seed, or where further candidates come from.
        max_iterations: Largest number of pairs of policies, at least 1.

    Raises:
        ModelError: The features at D, or at the candidates, have rank below d; a triple out of range; features too
            large for memory.
        ValueError: A bad tol, lookahead, rollout or max_iterations; gamma = 1.
    """
    lookahead, rollout = require_lookahead(lookahead), require_rollout(rollout)
    chosen = choose_design(game, candidates, rng) if design is None else _given_design(game, design, candidates)
    tol, sweeps = require_tolerance(tol), _Sweeps(game, identified_law(game, chosen))
    iterates = lookahead_iterates(sweeps, np.zeros(sweeps.n_states), lookahead=lookahead, rollout=rollout)
    return _answer(game, sweeps, run(sweeps, iterates, tol, max_iterations, may_cycle=rollout > 1), tol, chosen)


# The law, and where it is read.


def reached_law(game: LinearMarkovGame) -> LinearLaw:
    """theta and mu on the states that some measure gives mass."""
    law = game.law
    live = (law.mu != 0.0).any(axis=0)
    return law if live.all() else LinearLaw(law.theta, frozen(law.support[live]), frozen(law.mu[:, live]))


def identified_law(game: LinearMarkovGame, design: Design) -> LinearLaw:
    """theta and mu on S_D, by least squares from the rewards and the rows of the law at D.

    Raises:
        ModelError: The features at D have rank below d.
    """
    rows, law = game.phi.at(design.states, design.joint_actions), game.law
    P = law.probabilities(rows)
    live = (P > 0.0).any(axis=0)
    parts, _, rank, _ = np.linalg.lstsq(rows, np.column_stack([rows @ law.theta, P[:, live]]), rcond=None)
    _require_rank(int(rank), game.dim, f"the {len(rows)} triples of D")
    theta, mu = cast("FloatArray", parts[:, 0]), cast("FloatArray", parts[:, 1:])
    return LinearLaw(theta, frozen(law.support[live]), mu)


def choose_design(
    game: LinearMarkovGame, candidates: Triples | None = None, rng: np.random.Generator | int = 0
) -> Design:
    """d triples of full rank, by QR with column pivoting over the candidates.

    Args:
        game: The game.
        candidates: Triples to choose from. None: all triples at the states that moves lead to; if these do not span,
            those of further states too: of all, or of random ones where there are many.
        rng: A seed, or where the further states come from.

    Raises:
        ModelError: The candidates' features have rank below d; the message names it.
    """
    triples = _candidates(game, candidates)
    rows = game.phi.at(*triples)
    rank, order = _pivots(rows)
    if rank < game.dim and candidates is None:
        further = _further_states(game, as_generator(rng))
        triples = _joined(triples, _all_triples(game, further))
        rows = game.phi.at(*triples)
        rank, order = _pivots(rows)
    _require_rank(rank, game.dim, f"the {len(rows)} candidate triples")
    chosen = np.sort(order[: game.dim])
    return Design(triples[0][chosen], triples[1][chosen], _amplification(rows, rows[chosen]))


def _given_design(game: LinearMarkovGame, triples: Triples, candidates: Triples | None) -> Design:
    states, joint_actions = np.array(triples[0]), np.array(triples[1])
    rows = game.phi.at(states, joint_actions)
    _require_rank(int(np.linalg.matrix_rank(rows)), game.dim, f"the {len(rows)} triples of D")
    return Design(states, joint_actions, _amplification(game.phi.at(*_candidates(game, candidates)), rows))


def _candidates(game: LinearMarkovGame, candidates: Triples | None) -> tuple[IntArray, IntArray]:
    if candidates is None:
        return _all_triples(game, reached_law(game).support)
    return np.asarray(candidates[0]), np.asarray(candidates[1])


def _all_triples(game: LinearMarkovGame, states: IntArray) -> tuple[IntArray, IntArray]:
    pairs = math.prod(game.n_actions)
    return np.repeat(states, pairs), np.tile(np.arange(pairs), states.size)


def _joined(one: tuple[IntArray, IntArray], other: tuple[IntArray, IntArray]) -> tuple[IntArray, IntArray]:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _further_states(game: LinearMarkovGame, rng: np.random.Generator) -> IntArray:
    """All states if their features are few, else random ones, more than enough to span if features are generic."""
    if game.n_states * math.prod(game.n_actions) * game.dim <= FURTHER_ENTRIES:
        return np.arange(game.n_states, dtype=np.int64)
    return rng.integers(0, game.n_states, 64 + 4 * game.dim)


def _pivots(rows: FloatArray) -> tuple[int, IntArray]:
    """Rank of rows (n, d), and their order by pivoting: the first ``rank`` of them are independent."""
    from scipy.linalg import qr  # scipy.linalg takes a while to load, and most planning needs none of it

    R, order = qr(rows.T, mode="r", pivoting=True)
    pivots = np.abs(np.diagonal(R))
    rank = np.count_nonzero(pivots > max(rows.shape) * np.finfo(np.float64).eps * pivots[0])
    return int(rank), order.astype(np.int64)


def _amplification(rows: FloatArray, at_design: FloatArray) -> float:
    return float(np.abs(rows @ np.linalg.pinv(at_design)).sum(axis=1).max())


def _require_rank(rank: int, dim: int, where: str) -> None:
    if rank < dim:
        raise ModelError(
            f"phi has rank {rank} on {where}, below d = {dim}, so that the law is not determined there; pass "
            "triples that span, drop redundant features, or use solve, which needs no D"
        )


# Operators in the space of weights.


@final
class _Sweeps:
    """T, T_{mu,nu} and v^{mu,nu} on S_D for a law given by theta and mu there, warm-started and counted.

    Attributes:
        law: theta (d,), S_D (K,), mu (d, K).
        modulus: gamma, below 1, by which T contracts the span.
        latest: The last application of T, or None.

    Raises:
        ValueError: gamma = 1.
        ModelError: The features do not fit into memory.
    """

    def __init__(self, game: LinearMarkovGame, law: LinearLaw) -> None:
        _require_discount(game.gamma)
        _require_feature_room(game, law.support.size)
        self.law: LinearLaw = law
        self.modulus: float = game.gamma
        self.latest: GameBackup | None = None
        self._features = game.phi(law.support)
        n_states, n_0, n_1, _ = self._features.shape
        self._terms = _terms(game, law)
        self._longest = steps_bound(game.gamma * float((self._features @ law.mu.sum(axis=1)).max()))
        self._basis = np.zeros((n_states, n_0 + n_1), dtype=np.bool_)
        self._sweeps = self._mixed = self._evaluations = self._exact_evaluations = 0

    @property
    def n_states(self) -> int:
        """|S_D|."""
        return self.law.support.size

    @property
    def horizon(self) -> float:
        """How far v* may lie from T v where T v - v spans one."""
        return self.modulus * self._longest

    @property
    def work(self) -> GameWork:
        """What has been done so far."""
        n_games = self._sweeps * self.n_states
        return GameWork(self._sweeps, n_games, self._mixed, self._evaluations, self._exact_evaluations)

    def weights(self, v: FloatArray) -> FloatArray:
        """w(v) (d,) for v on S_D, (K,)."""
        return self.law.theta + self.modulus * (self.law.mu @ v)

    def backup(self, v: FloatArray) -> GameBackup:
        """T v and the greedy pair on S_D."""
        start = self._basis if self._sweeps else None
        solved = _stage_games(self._features @ self.weights(v), start)
        values, mu, nu, self._basis = solved
        self._sweeps += 1
        self._mixed += solved.n_mixed
        change = values - v
        self.latest = GameBackup(v, values, mu, nu, float(change.min()), float(change.max()))
        return self.latest

    def distance(self, backup: GameBackup) -> float:
        """Half the span of T v - v."""
        return 0.5 * (backup.high - backup.low)

    def propose(self, backup: GameBackup) -> FloatArray:
        """The value of the greedy pair: its d equations are soon solved."""
        return self.evaluate(backup, math.inf)

    def evaluate(self, backup: GameBackup, rollout: float) -> FloatArray:
        """T_{mu,nu}^m v on S_D for the greedy pair of v; T_{mu,nu} v = T v is known."""
        if rollout == 1:
            return backup.value
        F = self._played(backup.mu, backup.nu)
        if math.isinf(rollout):
            self._exact_evaluations += 1
            return F @ np.linalg.solve(np.eye(F.shape[1]) - self.modulus * (self.law.mu @ F), self.law.theta)
        v = backup.value
        self._evaluations += int(rollout) - 1
        for _ in range(int(rollout) - 1):
            v = F @ self.weights(v)
        return v

    def _played(self, mu: FloatArray, nu: FloatArray) -> FloatArray:
        """Features averaged over a pair of policies, (K, d)."""
        n_states, n_0, n_1, dim = self._features.shape
        over_mu = mu[:, None, :] @ self._features.reshape(n_states, n_0, n_1 * dim)
        return (nu[:, None, :] @ over_mu.reshape(n_states, n_1, dim))[:, 0, :]

    def floor(self, backup: GameBackup) -> float:
        """What rounding alone adds to the certified gap."""
        size = np.abs(self.law.theta) + self.modulus * (np.abs(self.law.mu) @ np.abs(backup.value))
        return 4 * self._terms * UNIT_ROUNDOFF * float((np.abs(self._features) @ size).max()) * self._longest


def _stage_games(payoffs: FloatArray, start: BoolArray | None = None) -> MatrixGameSolutions:
    counts_0, counts_1 = (frozen(np.full(len(payoffs), n, dtype=np.int64)) for n in payoffs.shape[1:])
    return solve_checked(payoffs, counts_0, counts_1, start)


def _answer(
    game: LinearMarkovGame, sweeps: _Sweeps, outcome: Outcome, tol: float, design: Design | None = None
) -> LinearGameSolution:
    """The weights of T v moved to the middle of its bounds, and what they promise."""
    best, history = outcome.best, outcome.history
    weights = sweeps.weights(best.value + 0.5 * game.gamma / (1.0 - game.gamma) * (best.low + best.high))
    states, value, pair, certificate = _certified(game, weights)
    status = outcome.judged(certificate.gap, tol)
    support = Solution(value, pair, certificate, status, len(history), history, sweeps.work)
    return LinearGameSolution(game.phi, weights, states, support, sweeps.law.support, design)


# Certificates.


def certify_game_weights(game: LinearMarkovGame, weights: FloatArray) -> tuple[IntArray, Certificate]:
    """The states (n,) that play can meet, and bounds (n,) on their values, attained by the saddle points of <phi, w>.

    Args:
        game: The game.
        weights: Any weights w (d,); the closer to those of v*, the narrower the bounds.

    Raises:
        ValueError: gamma = 1.
    """
    states, _, _, certificate = _certified(game, weights)
    return states, certificate


def _certified(game: LinearMarkovGame, weights: FloatArray) -> tuple[IntArray, FloatArray, Pair, Certificate]:
    _require_discount(game.gamma)
    states, law = met_states(game), reached_law(game)
    _require_feature_room(game, states.size)
    features = game.phi(states)
    v, mu, nu, _ = _stage_games(features @ weights)
    later = v[np.searchsorted(states, law.support)]
    q = features @ (law.theta + game.gamma * (law.mu @ later))
    size = float((np.abs(features) @ (np.abs(law.theta) + game.gamma * (np.abs(law.mu) @ np.abs(later)))).max())
    unread = 0.0 if game.is_mixture else NEGATIVE_TOLERANCE * law.support.size
    error = _terms(game, law) * UNIT_ROUNDOFF * size + unread * float(np.abs(later).max())
    mass = float((features @ law.mu.sum(axis=1)).max()) + unread
    steps = steps_bound(game.gamma * mass * (1 + 4 * (game.dim + law.support.size) * UNIT_ROUNDOFF))
    low, _ = widened((mu[:, None, :] @ q)[:, 0, :].min(axis=1) - v, error + _defect(mu) * size)
    _, high = widened((q @ nu[:, :, None])[:, :, 0].max(axis=1) - v, error + _defect(nu) * size)
    lower = np.nextafter(v + low * steps * OUTWARDS, -np.inf)
    return states, v, (mu, nu), Certificate(lower, np.nextafter(v + high * steps * OUTWARDS, np.inf))


def _terms(game: LinearMarkovGame, law: LinearLaw) -> int:
    """Roundings behind an entry of T_mu v: sums over a measure's states, features, and actions (zeros add exactly)."""
    return int(np.count_nonzero(law.mu, axis=1).max()) + game.dim + sum(game.n_actions) + 8


def _defect(policy: FloatArray) -> float:
    """Bound on what normalising a policy exactly would change in an average over it."""
    return float(np.abs(policy.sum(axis=1) - 1.0).max()) + policy.shape[1] * UNIT_ROUNDOFF


def met_states(game: LinearMarkovGame) -> IntArray:
    """The states (n,) that play can meet, sorted: those in which it can start, and those to which moves lead."""
    rho = game.initial_distribution()
    return np.union1d(reached_law(game).support, rho.states[rho.weights > 0.0])


def met_game(game: LinearMarkovGame) -> tuple[IntArray, MarkovGame]:
    """The states (n,) that play can meet, sorted, and the game on them, whose state i is the i-th of these."""
    law, rho, states = reached_law(game), game.initial_distribution(), met_states(game)
    features = game.phi(states)
    P = np.zeros((*features.shape[:-1], states.size))
    P[..., np.searchsorted(states, law.support)] = law.probabilities(features)
    initial = np.zeros(states.size)
    np.add.at(initial, np.searchsorted(states, rho.states[rho.weights > 0.0]), rho.weights[rho.weights > 0.0])
    return states, MarkovGame(P, features @ law.theta, game.gamma, initial)


def _require_discount(gamma: float) -> None:
    if gamma == 1.0:
        raise ValueError(
            "game has gamma = 1, but a linear game has no terminal states, so play never ends; use gamma < 1"
        )


def _require_feature_room(game: LinearMarkovGame, n_states: int) -> None:
    needed = 8 * n_states * math.prod(game.n_actions) * (game.dim + 2)
    remedy = "use measures of smaller support, or fewer actions"
    require_room(f"the table of features of {n_states:,} states", needed, TABULAR_BYTES, remedy)
