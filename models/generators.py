"""Random instances: Garnet MDPs and games, linear MDPs and linear games of any size.

A Garnet (generalised average-reward non-stationary environment test-bench: Archibald, McKinnon, Thomas,
On the Generation of Markov Decision Processes, Journal of the Operational Research Society 46, 1995, pp.
354-361; Bhatnagar, Sutton, Ghavamzadeh, Lee, Natural Actor-Critic Algorithms, Automatica 45, 2009, section
7) gives each state and action b distinct next states, every b-subset being equally likely, whose
probabilities are the gaps that b - 1 independent uniform numbers cut into [0, 1]. Rewards are independent.

A random linear model takes hashed features on the simplex, d measures that are Garnet rows, and theta
uniform on [0, 1]^d: then <phi, mu> is a transition law, rewards lie in [0, 1] and the norms of Jin et al. (COLT
2020), Assumption A, hold, whatever the number of states, which costs neither time nor memory.

Every generator takes ``rng``, a seed or a numpy Generator. One seed gives one model, in every process and on
every platform, for as long as numpy keeps its bit streams (NEP 19 lets a new numpy release change them).
"""

import math
from typing import Literal

import numpy as np
import scipy.sparse as sp

from ._checks import FloatArray, IntArray, ModelError, flag, require_room, unit_number, whole_number
from .constrained import ConstrainedLinearMDP
from .features import HashedSimplexFeatures, TableFeatures
from .game import MarkovGame
from .linear import LinearMarkovGame, LinearMDP
from .measures import FiniteSupportMeasures
from .outcomes import TransitionMatrix
from .tabular import TabularMDP

DENSE_ENTRIES = 2**20
"""Laws of at most so many entries (8 MiB) are stored dense unless the caller says otherwise."""

GARNET_BYTES = 2**32
"""The largest Garnet to build unless the caller says otherwise."""

CONCENTRATION = 0.1
"""Parameter of the Dirichlet laws of random constrained linear MDPs."""

RewardLaw = Literal["uniform", "normal"]


def garnet_mdp(
    n_states: int,
    n_actions: int,
    branching: int,
    rng: np.random.Generator | int,
    *,
    gamma: float = 0.95,
    rewards: RewardLaw = "uniform",
    sparse: bool | None = None,
    max_bytes: int = GARNET_BYTES,
) -> TabularMDP:
    """A Garnet MDP with a uniform initial distribution.

    Args:
        n_states: S.
        n_actions: A.
        branching: Next states b of each state and action, 1 <= b <= S; 1 makes the model deterministic.
        rng: A seed, or where the randomness comes from.
        gamma: Discount.
        rewards: Law of each r(s, a): uniform on [0, 1], or standard normal.
        sparse: Store P as CSR? None: where that is smaller and a dense P has more than 2^20 entries. The
            model is the same either way.
        max_bytes: The largest model to build; building takes a few times as much.

    Raises:
        ModelError: A count out of range, an unknown law of rewards, or a model that would be larger; nothing has been
            allocated then.
    """
    rng = as_generator(rng)
    lead = (whole_number("n_states", n_states, 1), whole_number("n_actions", n_actions, 1))
    _require_law_room("a Garnet MDP", lead, branching, sparse, max_bytes)
    law = random_law(lead[0] * lead[1], n_states, branching, rng)
    r = _random_rewards(lead, rewards, rng)
    return TabularMDP(stored_law(law, lead, sparse), r, gamma, np.full(n_states, 1.0 / n_states))


def garnet_game(
    n_states: int,
    n_actions_0: int,
    n_actions_1: int,
    branching: int,
    rng: np.random.Generator | int,
    *,
    gamma: float = 0.95,
    rewards: RewardLaw = "uniform",
    sparse: bool | None = None,
    max_bytes: int = GARNET_BYTES,
) -> MarkovGame:
    """A Garnet zero-sum game with a uniform initial distribution (Pérolat, Scherrer, Piot, Pietquin,
    Approximate Dynamic Programming for Two-Player Zero-Sum Markov Games, ICML 2015, section 6).

    Args:
        n_states: S.
        n_actions_0: A, the actions of player_0, who maximises.
        n_actions_1: B, the actions of player_1.
        branching: Next states b of each state and pair of actions, 1 <= b <= S.
        rng: A seed, or where the randomness comes from.
        gamma: Discount.
        rewards: Law of each r(s, a, b): uniform on [0, 1], or standard normal.
        sparse: As in :func:`garnet_mdp`.
        max_bytes: As in :func:`garnet_mdp`.

    Raises:
        ModelError: A count out of range, an unknown law of rewards, or a game that would be larger than max_bytes;
            nothing has been allocated then.
    """
    rng = as_generator(rng)
    counts = {"n_states": n_states, "n_actions_0": n_actions_0, "n_actions_1": n_actions_1}
    lead = tuple(whole_number(name, count, 1) for name, count in counts.items())
    _require_law_room("a Garnet game", lead, branching, sparse, max_bytes)
    law = random_law(lead[0] * lead[1] * lead[2], n_states, branching, rng)
    r = _random_rewards(lead, rewards, rng)
    return MarkovGame(stored_law(law, lead, sparse), r, gamma, np.full(n_states, 1.0 / n_states))


def random_linear_mdp(
    n_states: int,
    n_actions: int,
    dim: int,
    horizon: int,
    rng: np.random.Generator | int,
    *,
    support: int = 5,
) -> LinearMDP:
    """A linear MDP with measures and reward parameters of its own at each stage.

    Episodes start uniformly in one of ``support`` random states.

    Args:
        n_states: S, up to 2^62.
        n_actions: A.
        dim: Dimension d of the features.
        horizon: H.
        rng: A seed, or where the randomness comes from.
        support: States that each of the H d measures reaches, 1 to S.

    Raises:
        ModelError: A number out of range.
    """
    rng = as_generator(rng)
    phi = HashedSimplexFeatures(n_states, n_actions, dim, _hash_seed(rng))
    stages = (whole_number("horizon", horizon, 1), dim)
    mu = _random_measures(stages, n_states, support, rng)
    return LinearMDP(phi, mu, rng.random(stages), _random_start(n_states, support, rng), horizon)


def random_constrained_linear_mdp(
    n_states: int,
    n_actions: int,
    dim: int,
    horizon: int,
    rng: np.random.Generator | int,
    *,
    threshold: float = 0.9,
    support: int | None = None,
    max_bytes: int = GARNET_BYTES,
) -> ConstrainedLinearMDP:
    """A constrained linear MDP with measures, reward and cost parameters of its own at each stage, starting in state 0.

    The law is that of the experiments of Kitamura, Ghosh, Kozuno, Kumagai, Kasaura, Hoshino, Hosoe, Matsuo, Provably
    Efficient RL under Episode-Wise Safety in Constrained MDPs with Linear Function Approximation, 2025: features
    phi(s, a) and measures mu_h,i from Dirichlet(0.1), parameters theta_h and theta^u_h uniform on [0, 1]^d and divided
    by their largest entry. They ask for utility <phi, theta^u> of at least a share ``threshold`` of u_max, the largest
    that any policy has; here costs are one minus it, theta_cost = 1 - theta^u, and budget = H - threshold * u_max. So a
    policy of utility u_max keeps within the budget with (1 - threshold) u_max to spare. The default is not theirs: at
    0.68 the best policy keeps within the budget by itself in about three instances of four (of S = 100, A = 3, d = 5,
    H = 4), at 0.9 in one of 30.

    With ``support`` the instance may be of any size: features are then hashed, from Dirichlet(1), and each measure is
    a Garnet row on ``support`` states, as in :func:`random_linear_mdp`; parameters and budget are drawn as above.

    Args:
        n_states: S; with ``support`` up to 2^62.
        n_actions: A.
        dim: Dimension d of the features.
        horizon: H.
        rng: A seed, or where the randomness comes from.
        threshold: The least utility asked for, as a share of the largest there is, in [0, 1].
        support: States that each of the H d measures reaches, 1 to S. None: Dirichlet measures on all of them.
        max_bytes: The largest instance to build.

    Raises:
        ModelError: A number out of range, or an instance that would be larger; nothing has been allocated then.
    """
    rng, share = as_generator(rng), unit_number("threshold", threshold)
    lead = (whole_number("n_states", n_states, 1), whole_number("n_actions", n_actions, 1))
    stages = (whole_number("horizon", horizon, 1), whole_number("dim", dim, 1))
    if support is None:
        needed, remedy = 8 * math.prod(stages[1:]) * lead[0] * (lead[1] + stages[0]), "pass support, or raise max_bytes"
        require_room(f"an instance with {lead[0]:,} states", needed, whole_number("max_bytes", max_bytes, 0), remedy)
        phi = TableFeatures(rng.dirichlet(np.full(dim, CONCENTRATION), lead))
        mu = rng.dirichlet(np.full(n_states, CONCENTRATION), stages)
    else:
        phi = HashedSimplexFeatures(n_states, n_actions, dim, _hash_seed(rng))
        mu = _random_measures(stages, n_states, support, rng)
    theta, utility = _largest_one(rng.random(stages)), _largest_one(rng.random(stages))
    start = FiniteSupportMeasures(np.zeros(1, np.int64), np.ones(1))
    most = _largest_return(LinearMDP(phi, mu, utility, start, horizon))
    budget = max(0.0, horizon - share * most)  # u_max may round to more than H
    return ConstrainedLinearMDP(LinearMDP(phi, mu, theta, start, horizon), 1.0 - utility, budget)


def random_linear_game(
    n_states: int,
    n_actions_0: int,
    n_actions_1: int,
    dim: int,
    rng: np.random.Generator | int,
    *,
    gamma: float = 0.95,
    support: int = 5,
) -> LinearMarkovGame:
    """A linear discounted zero-sum game. It starts uniformly in one of ``support`` random states.

    Args:
        n_states: S, up to 2^62.
        n_actions_0: A, the actions of player_0, who maximises.
        n_actions_1: B, the actions of player_1.
        dim: Dimension d of the features.
        rng: A seed, or where the randomness comes from.
        gamma: Discount.
        support: States that each of the d measures reaches, 1 to S.

    Raises:
        ModelError: A number out of range.
    """
    rng = as_generator(rng)
    A, B = whole_number("n_actions_0", n_actions_0, 1), whole_number("n_actions_1", n_actions_1, 1)
    phi = HashedSimplexFeatures(n_states, (A, B), dim, _hash_seed(rng))
    mu = _random_measures((dim,), n_states, support, rng)
    return LinearMarkovGame(phi, mu, rng.random(dim), gamma, _random_start(n_states, support, rng))


def as_generator(rng: np.random.Generator | int) -> np.random.Generator:
    """The Generator itself, or the one that an integer >= 0 seeds.

    Raises:
        ModelError: ``rng`` is neither (None would hide which instance was drawn).
    """
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(whole_number("rng", rng, 0))


def random_law(n_rows: int, n_states: int, branching: int, rng: np.random.Generator) -> sp.csr_array:
    """A CSR matrix of independent Garnet rows, (n_rows, S): b distinct columns each, in increasing order."""
    columns, probabilities = _garnet_rows("branching", branching, n_rows, n_states, rng)
    indptr = np.arange(n_rows + 1) * int(branching)
    return sp.csr_array((probabilities.reshape(-1), columns.reshape(-1), indptr), shape=(n_rows, n_states))


def deterministic_law(next_states: IntArray, n_states: int) -> sp.csr_array:
    """The CSR law (rows, S) that leads row k, in C order, to next_states[k] with probability one."""
    n_rows = next_states.size
    return sp.csr_array((np.ones(n_rows), next_states.reshape(-1), np.arange(n_rows + 1)), shape=(n_rows, n_states))


def random_subsets(n_rows: int, n: int, k: int, rng: np.random.Generator) -> IntArray:
    """Independent uniformly distributed k-subsets of range(n), one a row, (n_rows, k), each in increasing order.

    Floyd's algorithm on all rows at once (Bentley, Floyd, Programming Pearls: A Sample of Brilliance,
    Communications of the ACM 30, 1987): memory and random numbers n_rows * k, comparisons n_rows * k^2,
    whatever n. Subsets of more than half are drawn by what they leave out.
    """
    if 2 * k > n:
        kept = np.ones((n_rows, n), dtype=np.bool_)
        np.put_along_axis(kept, random_subsets(n_rows, n, n - k, rng), values=False, axis=1)
        return np.nonzero(kept)[1].reshape(n_rows, k)
    drawn = np.empty((n_rows, k), dtype=np.int64)
    for i in range(k):
        largest = n - k + i
        candidate = rng.integers(0, largest, size=n_rows, endpoint=True)
        repeated = (drawn[:, :i] == candidate[:, None]).any(axis=1)
        drawn[:, i] = np.where(repeated, largest, candidate)
    return np.sort(drawn, axis=1)


def stored_law(law: sp.csr_array, lead: tuple[int, ...], sparse: bool | None) -> TransitionMatrix:
    """A law (rows, S) as CSR, or dense ``lead + (S,)``; where ``sparse`` is None, by size."""
    n_entries = law.shape[0] * law.shape[1]
    if sparse is None:
        sparse = n_entries > DENSE_ENTRIES and 2 * law.nnz < n_entries
    return law if flag("sparse", sparse) else law.toarray().reshape(*lead, law.shape[1])


def _require_law_room(what: str, lead: tuple[int, ...], branching: int, sparse: bool | None, max_bytes: int) -> None:
    """Refuse a model of states and actions ``lead`` that would take more than ``max_bytes``."""
    n_rows, width = math.prod(lead), min(whole_number("branching", branching, 1), lead[0])
    index = 4 if n_rows * width < 2**31 else 8
    as_rows, dense = n_rows * (width * (8 + index) + index), 8 * n_rows * lead[0]
    if sparse is None:
        sparse = dense > 8 * DENSE_ENTRIES and 2 * width < lead[0]
    needed = (as_rows if sparse else dense) + 8 * n_rows
    remedy = "pass fewer states, actions or branching, or raise max_bytes"
    require_room(f"{what} with {lead[0]:,} states", needed, whole_number("max_bytes", max_bytes, 0), remedy)


def _garnet_rows(
    name: str, branching: int, n_rows: int, n_states: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Next states (n_rows, b), distinct and in increasing order, and their probabilities."""
    branching = whole_number(name, branching, 1)
    if branching > n_states:
        raise ModelError(f"{name} is {branching}, but there are {n_states} states; pass 1 to {n_states}")
    columns = random_subsets(n_rows, n_states, branching, rng)
    cuts = np.sort(rng.random((n_rows, branching - 1)), axis=1)
    return columns, np.diff(cuts, axis=1, prepend=0.0, append=1.0)


def _random_measures(
    family: tuple[int, ...], n_states: int, support: int, rng: np.random.Generator
) -> FiniteSupportMeasures:
    states, weights = _garnet_rows("support", support, int(np.prod(family)), n_states, rng)
    return FiniteSupportMeasures(states.reshape(*family, -1), weights.reshape(*family, -1))


def _random_start(n_states: int, support: int, rng: np.random.Generator) -> FiniteSupportMeasures:
    support = int(support)
    return FiniteSupportMeasures(random_subsets(1, n_states, support, rng)[0], np.full(support, 1.0 / support))


def _largest_one(parameters: FloatArray) -> FloatArray:
    """The parameters (H, d), those of each stage divided by the largest among them."""
    return parameters / parameters.max(axis=1, keepdims=True)


def _largest_return(mdp: LinearMDP) -> float:
    """v* at the start of a linear MDP, to float64: w_h = theta_h + mu_h max_a <phi, w_{h+1}>."""
    w = mdp.stage(mdp.horizon - 1).theta
    for h in range(mdp.horizon - 2, -1, -1):
        law = mdp.stage(h)
        w = law.theta + law.mu @ (mdp.phi(law.support) @ w).max(axis=1)
    rho = mdp.initial_distribution()
    return float(rho.weights @ (mdp.phi(rho.states) @ w).max(axis=1))


def _hash_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**63))


def _random_rewards(shape: tuple[int, ...], law: RewardLaw, rng: np.random.Generator) -> FloatArray:
    if law == "uniform":
        return rng.random(shape)
    if law == "normal":
        return rng.standard_normal(shape)
    raise ModelError(f"rewards is {law!r}; pass 'uniform' or 'normal'")
