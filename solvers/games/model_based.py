"""Model-based learning of zero-sum Markov games from a generative model.

Every triple (s, a, b) is sampled N times; the game M_hat whose transitions are the empirical frequencies is solved as
if it were the true one M (Zhang, Kakade, Basar, Yang, Model-Based Multi-Agent RL in Zero-Sum Markov Games with
Near-Optimal Sample Complexity, NeurIPS 2020; Winnicki, Srikant, arXiv:2303.09716, Theorem 4).

*The theorem's count.* With rewards known and in [0, 1], 0 < eps <= (1 - gamma)^{-1/2} and

    N  >=  c gamma log(c S A B (1 - gamma)^{-2} / delta) / ((1 - gamma)^3 eps^2),

the pair of M_hat has |Q^{mu,nu} - Q*| <= 2 eps / 3 and |Q_hat - Q*| <= eps with probability 1 - delta, planning errors
apart (their Theorem 3.3). c is an absolute constant that the theorem does not name.

*A proven count.* Let R bound the range of rewards, L be the number of triples sampled, w = gamma R / (1 - gamma) if
rewards are known and R / (1 - gamma) if they are estimated too, and t = w sqrt(log(2 L / delta) / (2 N)). Then with
probability at least 1 - delta

    |v_hat* - v*|  <=  e = t / (1 - gamma).

*Proof.* v* is fixed and has range at most R / (1 - gamma), so gamma v*(s'), with the reward sampled beside it if that
is estimated, has range at most w. By Hoeffding's inequality and a union bound over the triples, Q_hat and Q of v*
differ by at most t at all of them with probability 1 - delta; from here on nothing is random. So |T_hat v* - T v*| <=
t, and as T_hat contracts, |v_hat* - v*| <= |T_hat v* - v*| / (1 - gamma) <= e. QED.

Once the samples are drawn, the range of v* is seen to be at most that of v_hat*, D, plus 2 e, for the e that belongs to
its true range. With the w of that range, gamma (D + 2 e) and R more if rewards are estimated, e = t / (1 - gamma) can
be solved for e, wherever 2 gamma sqrt(log(2 L / delta) / (2 N)) < 1 - gamma; the promise is the smaller of the two.

*Its policies.* Let planning return v_hat with |v_hat - v_hat*| <= g, and mu with T_hat_mu v_hat >= T_hat v_hat - x.
Then mu loses at most (2 e + 2 gamma g + x) / (1 - gamma) in M, and as much holds for nu, so that NashConv is at most
twice that. *Proof.* All operators contract by gamma, and |v_hat - v*| <= e + g. So

    T_mu v*  >=  T_hat_mu v* - t  >=  T_hat_mu v_hat - gamma (e + g) - t  >=  T_hat v_hat - x - gamma (e + g) - t
             >=  T_hat v* - x - 2 gamma (e + g) - t  >=  v* - x - 2 gamma (e + g) - 2 t  =  v* - x - 2 gamma g - 2 e,

and what mu guarantees, the fixed point of T_mu, is at most 1 / (1 - gamma) times as far below v*. QED. A pair that
guarantees certified bounds g apart, with v_hat between them, has x = (1 + 2 gamma) g: T_hat_mu v_hat >= lower -
gamma g and T_hat v_hat <= upper + gamma g. The smooth pair, below, has x = tau (log A + log B).

*Smooth planning.* With policies that are Lipschitz in Q_hat the near-optimal count holds for policies too, not for
values alone (their Theorem 3.6). The saddle points of the matrix games Q_hat(s), regularised by entropy at a
temperature tau = O(eps), are so, with constant 2 / tau (:mod:`..regularised_games`).

The empirical rows are independent, so M_hat is not linear in the features in which M may be: planning is tabular.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ...models import GenerativeModel, MarkovGame, ModelError
from ...models._checks import (
    BoolArray,
    discount,
    initial_distribution,
    real_array,
    real_number,
    require_room,
    require_shape,
    terminal_mask,
    whole_number,
)
from ...models.linear import TABULAR_BYTES
from ...models.summaries import Summarised
from ..regularised_games import regularised_matrix_games, require_temperature
from ..solution import Certificate, FloatArray, IntArray, Solution
from .best_responses import nash_gap
from .operators import joint_action_values
from .planning import Pair
from .safeguarded import solve_game

# Transitions asked for at a time.
BATCH = 2**20

MAX_SAMPLES = 10**9
"""Transitions to draw at most, unless more are asked for: those of a tabular game take about a minute."""


@dataclass(frozen=True)
class LearningErrors:
    """Bounds on the errors of what was learned, over all states.

    Attributes:
        value: On |v_hat - v*|.
        nash_conv: On the NashConv of the pair of policies in the true game.
    """

    value: float
    nash_conv: float


@dataclass(frozen=True, eq=False, repr=False)
class ModelBasedSolution(Summarised):
    """What was learned, and how good it is.

    Attributes:
        game: The empirical game.
        solution: Its solution; the certificate is true of the empirical game.
        policy: The pair mu (S, A), nu (S, B) to play: the solution's, or the smooth one.
        n_samples: Transitions drawn.
        promised: Bounds that hold with probability at least 1 - delta over the sampling; proven, see the module.
        realised: Certified bounds on the errors made, where the true game was given.
    """

    game: MarkovGame
    solution: Solution[Pair]
    policy: Pair
    n_samples: int
    promised: LearningErrors
    realised: LearningErrors | None


def samples_per_triple(
    n_states: int,
    n_actions: tuple[int, int],
    gamma: float,
    eps: float,
    delta: float,
    *,
    constant: float = 1.0,
    reward_range: float = 1.0,
) -> int:
    """The theorem's N: samples of every triple after which Q_hat is within eps of Q*, with known rewards.

    Args:
        n_states: S.
        n_actions: (A, B).
        gamma: Discount, below 1.
        eps: Wanted accuracy, in (0, (1 - gamma)^{-1/2}] times ``reward_range``.
        delta: Allowed probability of failure, in (0, 1].
        constant: c. The theorem says that there is one for all games, not which; with 1 the count shows how N scales
            and promises nothing. :func:`hoeffding_samples` promises.
        reward_range: Largest reward minus the smallest.

    Raises:
        ModelError: A number out of range.
    """
    triples, gamma = _triples(n_states, n_actions), _discount_below_one(gamma)
    scaled, c = _positive("eps", eps) / _positive("reward_range", reward_range), _positive("constant", constant)
    if scaled > (1.0 - gamma) ** -0.5:
        most = (1.0 - gamma) ** -0.5 * reward_range
        raise ModelError(f"eps is {eps}; the theorem holds up to reward_range / sqrt(1 - gamma) = {most:.6g}")
    spread = math.log(max(1.0, c * triples / ((1.0 - gamma) ** 2 * _failure(delta))))
    return max(1, math.ceil(c * gamma * spread / ((1.0 - gamma) ** 3 * scaled**2)))


def hoeffding_samples(
    n_states: int,
    n_actions: tuple[int, int],
    gamma: float,
    eps: float,
    delta: float,
    *,
    reward_range: float = 1.0,
    known_rewards: bool = True,
) -> int:
    """Samples of every triple after which |v_hat* - v*| <= eps with probability 1 - delta; proven, see the module.

    The best responses to the pair of v_hat* then gain at most 4 eps / (1 - gamma) together.

    Args:
        n_states: S.
        n_actions: (A, B).
        gamma: Discount, below 1.
        eps: Wanted accuracy of the value, above 0.
        delta: Allowed probability of failure, in (0, 1].
        reward_range: Largest reward that can be paid minus the smallest.
        known_rewards: Whether the rewards are known, and transitions alone estimated.

    Raises:
        ModelError: A number out of range.
    """
    triples, gamma = _triples(n_states, n_actions), _discount_below_one(gamma)
    width = _width(gamma, _positive("reward_range", reward_range), known_rewards)
    return max(
        1, math.ceil((_root(triples, 1, _failure(delta)) * width / ((1.0 - gamma) * _positive("eps", eps))) ** 2)
    )


def estimate_game(
    simulator: GenerativeModel,
    n_actions: tuple[int, int],
    samples: int,
    *,
    gamma: float,
    rho: ArrayLike,
    rng: np.random.Generator,
    rewards: ArrayLike | None = None,
    n_actions_0: ArrayLike | None = None,
    n_actions_1: ArrayLike | None = None,
    terminal: ArrayLike | None = None,
    max_samples: int = MAX_SAMPLES,
    max_bytes: int = TABULAR_BYTES,
) -> MarkovGame:
    """The empirical game: every triple sampled equally often.

    Args:
        simulator: The true game, to sample from; its action is a*B + b.
        n_actions: (A, B).
        samples: N, samples of each triple.
        gamma: Discount.
        rho: Initial distribution (S,).
        rng: Where the randomness comes from.
        rewards: Known expected rewards (S, A, B), zero outside the action sets. None: means of the samples.
        n_actions_0: Number of actions of player_0 in each state (S,). None: A everywhere.
        n_actions_1: The same for player_1.
        terminal: Mask (S,) of terminal states, from which nothing is sampled. None: there are none.
        max_samples: The most transitions to draw in all; the default takes about a minute in a tabular game.
        max_bytes: The largest game to build.

    Returns:
        A game with P as a CSR array, of at most N outcomes a triple.

    Raises:
        ModelError: samples below 1, numbers of actions that are not the simulator's, a game that may be larger than
            max_bytes, more than max_samples transitions (nothing has been sampled then), or as :class:`MarkovGame`.
    """
    limits = max_samples, max_bytes
    plan = _SamplingPlan.of(simulator, n_actions, samples, n_actions_0, n_actions_1, terminal, limits)
    return _estimate(simulator, plan, rng, gamma, rho, rewards)


def model_based_planning(
    simulator: GenerativeModel,
    n_actions: tuple[int, int],
    samples: int,
    *,
    gamma: float,
    rho: ArrayLike,
    rng: np.random.Generator,
    rewards: ArrayLike | None = None,
    n_actions_0: ArrayLike | None = None,
    n_actions_1: ArrayLike | None = None,
    terminal: ArrayLike | None = None,
    temperature: float | None = None,
    delta: float = 0.05,
    reward_range: float = 1.0,
    tol: float = 1e-8,
    truth: MarkovGame | None = None,
    max_samples: int = MAX_SAMPLES,
) -> ModelBasedSolution:
    """Estimate a game from samples, solve the estimate, and say how good the answer is in the true game.

    Args:
        simulator: The true game, to sample from.
        n_actions: (A, B).
        samples: N, samples of each triple.
        gamma: Discount, below 1.
        rho: Initial distribution (S,).
        rng: Where the randomness comes from.
        rewards: Known expected rewards (S, A, B). None: they are estimated too.
        n_actions_0: As in :func:`estimate_game`.
        n_actions_1: As in :func:`estimate_game`.
        terminal: As in :func:`estimate_game`.
        temperature: tau of the smooth policies, in the unit of the rewards. None: the planner's own pair.
        delta: Probability, in (0, 1], with which the promise may fail.
        reward_range: Largest reward that can be paid minus the smallest (0 in terminal states being one); looked up
            where rewards are known.
        tol: Tolerance of planning.
        truth: The true game, for the realised errors.
        max_samples: As in :func:`estimate_game`.

    Raises:
        ModelError: As :func:`estimate_game`; gamma = 1, delta, reward_range or temperature out of range; estimated
            rewards that differ by more than reward_range.
    """
    gamma, delta = _discount_below_one(gamma), _failure(delta)
    reward_range = _positive("reward_range", reward_range)
    limits = max_samples, TABULAR_BYTES
    plan = _SamplingPlan.of(simulator, n_actions, samples, n_actions_0, n_actions_1, terminal, limits)
    tau = None if temperature is None else require_temperature(temperature)
    game = _estimate(simulator, plan, rng, gamma, rho, rewards)
    solution = solve_game(game, tol)
    g = solution.certificate.gap
    policy, excess = (solution.policy, (1.0 + 2.0 * gamma) * g) if tau is None else _smooth(game, solution.value, tau)
    known, bounds = rewards is not None, solution.certificate
    e = _value_error(plan, bounds, _reward_range(game, reward_range, known), known, gamma, delta)
    promised = LearningErrors(e + g, 2 * (2 * e + 2 * gamma * g + excess) / (1.0 - gamma))
    realised = None if truth is None else _realised(truth, solution.value, policy, tol)
    return ModelBasedSolution(game, solution, policy, plan.n_samples, promised, realised)


def _reward_range(game: MarkovGame, stated: float, known: bool) -> float:
    seen = float(np.ptp(game.r))
    if not known and seen > stated * (1.0 + 1e-9):
        raise ModelError(f"reward_range is {stated}, but mean rewards range over {seen:.6g}; pass what rewards can be")
    return seen if known else stated


def _value_error(
    plan: "_SamplingPlan", bounds: Certificate, reward_range: float, known: bool, gamma: float, delta: float
) -> float:
    """e of the module's page, the smaller of what is known before and after sampling."""
    root = _root(max(1, plan.rows.size), plan.samples, delta)
    before = root * _width(gamma, reward_range, known) / (1.0 - gamma)
    room = 1.0 - gamma - 2.0 * gamma * root
    if room <= 0.0:
        return before
    spread = float(bounds.upper.max() - bounds.lower.min())
    return min(before, root * ((0.0 if known else reward_range) + gamma * spread) / room)


def _smooth(game: MarkovGame, v: FloatArray, tau: float) -> tuple[Pair, float]:
    """The saddle points of the regularised matrix games Q_v, and by how much T_mu v may miss T v."""
    games = regularised_matrix_games(joint_action_values(game, v), tau, game.n_actions_0, game.n_actions_1)
    return (games.mu, games.nu), tau * math.log(game.r[0].size) + float(games.gaps.max())


def _realised(truth: MarkovGame, v_hat: FloatArray, policy: Pair, tol: float) -> LearningErrors:
    bounds = solve_game(truth, tol).certificate
    off = max(float((bounds.upper - v_hat).max()), float((v_hat - bounds.lower).max()))
    return LearningErrors(off, float(nash_gap(truth, *policy, tol).certificate.upper.max()))


@dataclass(frozen=True, eq=False)
class _SamplingPlan:
    """What is sampled: ``samples`` transitions of every row (s*A + a)*B + b in ``rows`` (L,), in order.

    ``halted`` are the rows of terminal states, which stay put.
    """

    lead: tuple[int, int, int]
    samples: int
    rows: IntArray
    halted: IntArray
    n_actions_0: ArrayLike | None
    n_actions_1: ArrayLike | None
    terminal: BoolArray

    @staticmethod
    def of(
        simulator: GenerativeModel,
        n_actions: tuple[int, int],
        samples: int,
        n_actions_0: ArrayLike | None,
        n_actions_1: ArrayLike | None,
        terminal: ArrayLike | None,
        limits: tuple[int, int],
    ) -> "_SamplingPlan":
        """The plan, refused where it would draw or allocate more than ``limits``, (max_samples, max_bytes)."""
        S, (A, B) = simulator.n_states, n_actions
        if simulator.n_actions != whole_number("n_actions[0]", A, 1) * whole_number("n_actions[1]", B, 1):
            raise ModelError(
                f"n_actions is ({A}, {B}), but the simulator has {simulator.n_actions} joint actions; pass (A, B) with "
                f"A*B = {simulator.n_actions}"
            )
        (max_samples, max_bytes), samples = limits, whole_number("samples", samples, 1)
        needed = S * A * B * (12 * min(samples, S) + 32)
        require_room(f"the empirical game of {S:,} states", needed, max_bytes, "take fewer samples, or raise max_bytes")
        mask = terminal_mask(terminal, S)
        live = _inside(n_actions_0, S, A)[:, :, None] & _inside(n_actions_1, S, B)[:, None, :]
        rows, halted = (np.flatnonzero(live & states[:, None, None]) for states in (~mask, mask))
        require_samples(samples, rows.size, whole_number("max_samples", max_samples, 1), ", or raise max_samples")
        return _SamplingPlan((S, A, B), samples, rows, halted, n_actions_0, n_actions_1, mask)

    @property
    def n_samples(self) -> int:
        """Transitions to draw."""
        return self.samples * self.rows.size


def require_samples(samples: int, triples: int, most: int, or_else: str = "") -> int:
    """Samples of every triple as an int >= 1.

    Args:
        samples: Of one triple.
        triples: Their number.
        most: Transitions to draw in all, at most.
        or_else: What else to say that can be done.

    Raises:
        ModelError: There would be more, or ``samples`` is no whole number >= 1.
    """
    samples = whole_number("samples", samples, 1)
    if samples * triples > most:
        raise ModelError(
            f"samples is {samples:,}, so {triples:,} triples (s, a, b) would take {samples * triples:,} transitions, "
            f"more than {most:,}; pass at most {most // triples:,}{or_else}"
        )
    return samples


def _inside(counts: ArrayLike | None, n_states: int, most: int) -> BoolArray:
    """Mask (S, A) of the actions in play; MarkovGame checks the counts' range."""
    if counts is None:
        return np.ones((n_states, most), dtype=np.bool_)
    array = np.asarray(counts)
    require_shape("the numbers of actions", array, (n_states,), "(S,)")
    return np.arange(most) < array[:, None]


def _estimate(
    simulator: GenerativeModel,
    plan: _SamplingPlan,
    rng: np.random.Generator,
    gamma: float,
    rho: ArrayLike,
    rewards: ArrayLike | None,
) -> MarkovGame:
    gamma, rho = discount(gamma), initial_distribution(rho, plan.lead[0])
    known = None if rewards is None else real_array("rewards", rewards)
    if known is not None:
        require_shape("rewards", known, plan.lead, "(S, A, B)")
    S, pairs = plan.lead[0], plan.lead[1] * plan.lead[2]
    sums, parts = np.zeros(S * pairs), [(plan.halted, plan.halted // pairs, np.ones(plan.halted.size))]
    for rows, n in _batches(plan):
        moved = simulator.sample(np.repeat(rows // pairs, n), np.repeat(rows % pairs, n), rng)
        outcomes = np.repeat(np.arange(rows.size), n) * S + moved.next_states
        seen, counts = np.unique(outcomes, return_counts=True)
        parts.append((rows[seen // S], seen % S, counts / plan.samples))
        sums[rows] += moved.rewards.reshape(-1, n).sum(axis=1)
    row, column, frequency = (np.concatenate(part) for part in zip(*parts, strict=True))
    P = sp.coo_array((frequency, (row, column)), shape=(S * pairs, S)).tocsr()
    r = (sums / plan.samples).reshape(plan.lead) if known is None else known
    return MarkovGame(P, r, gamma, rho, *_counts(plan), plan.terminal)


def _counts(plan: _SamplingPlan) -> tuple[IntArray, IntArray]:
    S, A, B = plan.lead
    counts_0 = np.full(S, A) if plan.n_actions_0 is None else np.asarray(plan.n_actions_0)
    return counts_0, np.full(S, B) if plan.n_actions_1 is None else np.asarray(plan.n_actions_1)


def _batches(plan: _SamplingPlan) -> Iterator[tuple[IntArray, int]]:
    """Rows and how often to sample each, at most BATCH transitions at a time."""
    step = max(1, BATCH // plan.samples)
    for begin in range(0, plan.rows.size, step):
        for done in range(0, plan.samples, BATCH):
            yield plan.rows[begin : begin + step], min(BATCH, plan.samples - done)


def _triples(n_states: int, n_actions: tuple[int, int]) -> int:
    A, B = n_actions
    return (
        whole_number("n_states", n_states, 1) * whole_number("n_actions[0]", A, 1) * whole_number("n_actions[1]", B, 1)
    )


def _root(triples: int, samples: int, delta: float) -> float:
    """sqrt(log(2 L / delta) / (2 N))."""
    return math.sqrt(math.log(2 * triples / delta) / (2 * samples))


def _width(gamma: float, reward_range: float, known_rewards: bool) -> float:
    """Range of gamma v*(s'), with the reward if it is estimated."""
    return (gamma if known_rewards else 1.0) * reward_range / (1.0 - gamma)


def _discount_below_one(gamma: float) -> float:
    if discount(gamma) == 1.0:
        raise ModelError("gamma is 1; errors of the model add up over an unbounded time, so gamma < 1 is needed")
    return float(gamma)


def _positive(name: str, value: float) -> float:
    number = real_number(name, value)
    if number <= 0.0:
        raise ModelError(f"{name} is {number}; pass a positive number")
    return number


def _failure(delta: float) -> float:
    number = real_number("delta", delta)
    if not 0.0 < number <= 1.0:
        raise ModelError(f"delta is {number}; pass a probability in (0, 1]")
    return number
