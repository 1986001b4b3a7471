"""Instances that come with their optimum, at any size.

*Planted values.* The value is chosen first and the rewards follow. An MDP with
r(s, a) = v(s) - gamma (P v)(s, a) + adv(s, a), where adv <= 0 and adv(s, .) touches 0 in each state, has
v* = v and q* = v + adv, since max_a [r + gamma P v](s, a) = v(s) is Bellman's equation; its optimal actions
are those of advantage 0. With v = 3/4 a stage plus u, |u| <= 1/8, and advantages in [-1/2, 0] all rewards
lie in [0, 1].

*Planted equilibria.* A zero-sum game with r(s, ., .) = v(s) - gamma P v + G_s has v* = v and optimal mixed
actions (x_s, y_s) as soon as G_s has value 0 and saddle point (x_s, y_s), by Shapley's equation. For any M

    G = M - (M y) 1^T - 1 (x^T M) + (x^T M y) 1 1^T        has G y = 0 and x^T G = 0,

and a penalty on the actions outside the supports of x and y makes each of them strictly worse. All rewards
lie in [-1, 1].

*Planted features.* Around any value function: with e = theta / B and B = ||theta|| >= max |v*|,

    phi(s) = (v*(s) / B) e + sqrt(1 - (v*(s) / B)^2) z(s),    z(s) uniform on the unit sphere orthogonal to e,

has norm one and <phi(s), theta> = v*(s). This is v*-realizability, the assumption of Weisz, Amortila,
Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-Efficient Planning in MDPs under Linear Realizability of
the Optimal State-Value Function, COLT 2021.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ._checks import FloatArray, IntArray, ModelError, discount, flag, frozen, real_number, whole_number
from .finite import FiniteHorizonMDP
from .game import MarkovGame
from .generators import as_generator, deterministic_law, random_law, random_subsets, stored_law
from .summaries import Summarised
from .tabular import TabularMDP

ModelT = TypeVar("ModelT", TabularMDP, FiniteHorizonMDP, MarkovGame)
PolicyT = TypeVar("PolicyT", IntArray, tuple[FloatArray, FloatArray])

MEAN_REWARD = 0.75
LARGEST_DEVIATION = 0.125
LARGEST_GAP = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Planted(Summarised, Generic[ModelT, PolicyT]):
    """A model beside its optimum, which is exact up to rounding.

    Attributes:
        model: The instance.
        value: Optimal value: (S,), or (H + 1, S) with a finite horizon.
        policy: An optimal policy: actions (S,) or (H, S); in a game the pair (mu (S, A), nu (S, B)).
        advantage: q* - v*: (S, A), (H, S, A) or (S, A, B). In a decision process it is <= 0, and 0 exactly
            at the optimal actions. In a game each matrix has value 0 and saddle point ``policy``.
        theta: Where the model has features, the weights (d,) with value = features @ theta; else None.
    """

    model: ModelT
    value: FloatArray
    policy: PolicyT
    advantage: FloatArray
    theta: FloatArray | None = None

    def __post_init__(self) -> None:
        """Make every array read-only."""
        policy = self.policy if isinstance(self.policy, tuple) else (self.policy,)
        theta = () if self.theta is None else (self.theta,)
        for array in (self.value, self.advantage, *policy, *theta):
            frozen(array)


def planted_mdp(
    n_states: int,
    n_actions: int,
    branching: int,
    rng: np.random.Generator | int,
    *,
    gamma: float = 0.95,
    n_optimal: int = 1,
    min_gap: float = 0.05,
    dim: int | None = None,
    sparse: bool | None = None,
) -> Planted[TabularMDP, IntArray]:
    """A discounted MDP on a Garnet law with known optimum; rewards in [0, 1], uniform initial distribution.

    Args:
        n_states: S.
        n_actions: A.
        branching: Next states of each state and action.
        rng: A seed, or where the randomness comes from.
        gamma: Discount in [0, 1).
        n_optimal: Optimal actions in each state, 1 to A, drawn at random; ``policy`` names the first.
        min_gap: Suboptimal actions lose between ``min_gap`` and 1/2, uniformly; 0 < min_gap <= 1/2.
        dim: With d >= 2, the model has unit features (S, d) in which v* is linear, with
            ||theta|| = 1 / (1 - gamma); q* is not linear in them, see :func:`realizable_mdp`.
        sparse: As in :func:`garnet_mdp`.

    Raises:
        ModelError: A number out of range.
    """
    rng = as_generator(rng)
    gamma = _discount_below_one(gamma)
    lead = (whole_number("n_states", n_states, 1), whole_number("n_actions", n_actions, 1))
    law = random_law(lead[0] * lead[1], n_states, branching, rng)
    u = rng.uniform(-LARGEST_DEVIATION, LARGEST_DEVIATION, n_states)
    advantage = _advantages(lead, n_optimal, min_gap, rng)
    r = MEAN_REWARD + u[:, None] - gamma * (law @ u).reshape(lead) + advantage
    value = MEAN_REWARD / (1 - gamma) + u
    features, theta = (None, None) if dim is None else _realizing_features(value, 1 / (1 - gamma), dim, rng)
    rho = np.full(n_states, 1.0 / n_states)
    model = TabularMDP(stored_law(law, lead, sparse), r, gamma, rho, features=features)
    return Planted(model, value, advantage.argmax(axis=-1), advantage, theta)


def planted_game(
    n_states: int,
    n_actions_0: int,
    n_actions_1: int,
    branching: int,
    rng: np.random.Generator | int,
    *,
    gamma: float = 0.95,
    support: int | None = None,
    sparse: bool | None = None,
) -> Planted[MarkovGame, tuple[FloatArray, FloatArray]]:
    """A zero-sum game on a Garnet law with known value and equilibrium; rewards in [-1, 1].

    In each state both players mix over equally many actions, every other action being worse by 1/4 against
    the equilibrium, so that the equilibrium is almost surely the only one.

    Args:
        n_states: S.
        n_actions_0: A, the actions of player_0, who maximises.
        n_actions_1: B, the actions of player_1.
        branching: Next states of each state and pair of actions.
        rng: A seed, or where the randomness comes from.
        gamma: Discount in [0, 1).
        support: Actions that each player mixes over, 1 to min(A, B); 1 gives pure saddle points. None:
            drawn uniformly, state by state.
        sparse: As in :func:`garnet_mdp`.

    Raises:
        ModelError: A number out of range.
    """
    rng = as_generator(rng)
    gamma = _discount_below_one(gamma)
    counts = {"n_states": n_states, "n_actions_0": n_actions_0, "n_actions_1": n_actions_1}
    lead = tuple(whole_number(name, count, 1) for name, count in counts.items())
    n_states, n_actions_0, n_actions_1 = lead
    law = random_law(n_states * n_actions_0 * n_actions_1, n_states, branching, rng)
    value = rng.uniform(-LARGEST_DEVIATION, LARGEST_DEVIATION, n_states)
    sizes = _support_sizes(support, n_states, min(n_actions_0, n_actions_1), rng)
    mu, nu = _mixed_actions(sizes, n_actions_0, rng), _mixed_actions(sizes, n_actions_1, rng)
    advantage = saddle_matrices(rng.uniform(-0.125, 0.125, lead), mu, nu)
    advantage += 0.25 * ((nu == 0)[:, None, :].astype(np.float64) - (mu == 0)[:, :, None])
    r = value[:, None, None] - gamma * (law @ value).reshape(lead) + advantage
    model = MarkovGame(stored_law(law, lead, sparse), r, gamma, np.full(n_states, 1.0 / n_states))
    return Planted(model, value, (mu, nu), advantage)


def saddle_matrices(M: FloatArray, mu: FloatArray, nu: FloatArray) -> FloatArray:
    """G = M - (M y) 1^T - 1 (x^T M) + (x^T M y) 1 1^T, state by state: G y = 0 and x^T G = 0.

    Args:
        M: Any matrices (S, A, B).
        mu: Mixed actions x, (S, A).
        nu: Mixed actions y, (S, B).
    """
    My = np.einsum("sab,sb->sa", M, nu)
    xM = np.einsum("sa,sab->sb", mu, M)
    xMy = np.einsum("sa,sa->s", mu, My)
    return M - My[:, :, None] - xM[:, None, :] + xMy[:, None, None]


def realizable_mdp(
    n_states: int,
    n_actions: int,
    horizon: int,
    dim: int,
    rng: np.random.Generator | int,
    *,
    stochastic: bool = False,
    branching: int = 3,
) -> Planted[FiniteHorizonMDP, IntArray]:
    """A finite-horizon MDP whose v* is linear in its features and whose q* is not.

    Each stage has a law of its own and rewards uniform on [0, 1]; episodes start in state 0. The features
    are planted around v*, found by backward recursion: v*_h(s) = <phi_h(s), theta> with unit features,
    phi_H = 0 and ||theta|| = 3H/2.

    *Not q*-realizable* means here: q*_h(s, a) = <phi_h(s), theta_a> holds for no theta_1, ..., theta_A, that
    is, q* is not linear in phi_h(s) ⊗ e_a, the action features that the features of states give. Of the
    rewards ahead of a state its features tell the best sum alone, so that least squares leaves most of the
    spread of the advantages unexplained as soon as H * S well exceeds d. It cannot mean more: by Bellman's
    equation q*_h(s, a) = r_h(s, a) + <P_h(s, a) phi_{h+1}, theta> is linear, always, in what queries of a
    simulator return. Planners that query can use this; learners that regress on features of (s, a) cannot.

    Args:
        n_states: S.
        n_actions: A.
        horizon: H.
        dim: d >= 2.
        rng: A seed, or where the randomness comes from.
        stochastic: Whether transitions are random (a Garnet law) or deterministic.
        branching: Next states of each state and action where they are random.

    Raises:
        ModelError: A number out of range.
    """
    rng = as_generator(rng)
    counts = {"horizon": horizon, "n_states": n_states, "n_actions": n_actions}
    lead = tuple(whole_number(name, count, 1) for name, count in counts.items())
    horizon, n_states, n_actions = lead
    rows, branching = n_states * n_actions, whole_number("branching", branching, 1)
    law = random_law(horizon * rows, n_states, branching if flag("stochastic", stochastic) else 1, rng)
    r = rng.random(lead)
    value, advantage = np.zeros((horizon + 1, n_states)), np.empty(lead)
    for h in reversed(range(horizon)):
        q = r[h] + (law[h * rows : (h + 1) * rows] @ value[h + 1]).reshape(lead[1:])
        value[h] = q.max(axis=1)
        advantage[h] = q - value[h, :, None]
    features, theta = _realizing_features(value, 1.5 * horizon, dim, rng)
    features[horizon] = 0.0
    model = FiniteHorizonMDP(law, r, horizon, _point_mass(n_states, 0), features=features)
    return Planted(model, value, advantage.argmax(axis=-1), advantage, theta)


def needle_mdp(
    n_actions: int,
    horizon: int,
    dim: int,
    rng: np.random.Generator | int,
    *,
    n_states: int = 256,
) -> Planted[FiniteHorizonMDP, IntArray]:
    """A hidden sequence of H actions: reward 1 for the last of them after all the others, else 0. v* = 1.

    Each stage has one state on track, at a random index, and S - 1 decoys. On track the hidden action leads
    to the state on track of the next stage; whatever else is done, anywhere, leads to a random decoy, fixed
    for that stage, state and action. Unit features with ||theta|| = sqrt(d) give v*: <phi, theta> is 1 on
    track and 0 at decoys.

    What a planner can see. *Rewards*: nothing before the whole sequence is played, one chance in A^H.
    *Indices of states*: nothing, they are redrawn at each stage. *Features*: the component of a uniform
    unit vector along theta / ||theta|| has the size 1 / sqrt(d) that the state on track has exactly, so one
    feature vector betrays nothing, and two on track (the start is) have inner product 1/d beside the
    1 / sqrt(d) of chance; only the Bellman equations, which tie theta to all features at once, tell the
    track. *Repetition*: a state reached by two histories is a decoy. But a query of another state in the stage
    before hits a given decoy with probability 1 / (S - 1), so ruling out its decoys costs the order of S
    queries a stage, S * H in all. A planner that can afford S * A * H queries needs no features: S is the
    yardstick of its budget.

    Args:
        n_actions: A >= 2.
        horizon: H.
        dim: d >= 2.
        rng: A seed, or where the randomness comes from.
        n_states: S >= 2, the states of each stage.

    Raises:
        ModelError: A number out of range.
    """
    rng = as_generator(rng)
    H, S, A = whole_number("horizon", horizon, 1), whole_number("n_states", n_states, 2), n_actions
    stages, hidden = np.arange(H), rng.integers(0, whole_number("n_actions", A, 2), H)
    track = rng.integers(0, S, H + 1)
    next_states = rng.integers(0, S - 1, (H, S, A))
    next_states += next_states >= track[1:, None, None]  # skips the state on track
    next_states[stages, track[:-1], hidden] = track[1:]
    value = np.zeros((H + 1, S))
    value[stages, track[:-1]] = 1.0
    r, advantage, policy = np.zeros((H, S, A)), np.zeros((H, S, A)), np.zeros((H, S), dtype=np.int64)
    r[H - 1, track[H - 1], hidden[H - 1]] = 1.0
    advantage[stages, track[:-1]] = -1.0
    advantage[stages, track[:-1], hidden] = 0.0
    policy[stages, track[:-1]] = hidden
    features, theta = _realizing_features(value, np.sqrt(whole_number("dim", dim, 2)), dim, rng)
    features[H] = 0.0
    law = deterministic_law(next_states, S)
    model = FiniteHorizonMDP(law, r, H, _point_mass(S, int(track[0])), features=features)
    return Planted(model, value, policy, advantage, theta)


def _discount_below_one(gamma: float) -> float:
    if discount(gamma) == 1.0:
        raise ModelError("gamma is 1; an infinite sum of planted rewards needs gamma < 1")
    return float(gamma)


def _point_mass(n_states: int, state: int) -> FloatArray:
    return np.eye(1, n_states, state)[0]


def _advantages(lead: tuple[int, ...], n_optimal: int, min_gap: float, rng: np.random.Generator) -> FloatArray:
    """Advantages of shape ``lead``: 0 at ``n_optimal`` random actions, else uniform in [-1/2, -min_gap]."""
    if not 0.0 < real_number("min_gap", min_gap) <= LARGEST_GAP:
        raise ModelError(f"min_gap is {min_gap}; pass a number in (0, {LARGEST_GAP}]")
    n_actions = lead[-1]
    if whole_number("n_optimal", n_optimal, 1) > n_actions:
        raise ModelError(f"n_optimal is {n_optimal}, but there are {n_actions} actions; pass 1 to {n_actions}")
    rows = rng.uniform(-LARGEST_GAP, -min_gap, (int(np.prod(lead[:-1])), n_actions))
    np.put_along_axis(rows, random_subsets(rows.shape[0], n_actions, n_optimal, rng), values=0.0, axis=1)
    return rows.reshape(lead)


def _realizing_features(
    value: FloatArray, norm: float, dim: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Unit features value.shape + (d,) and theta (d,) of the given norm with features @ theta = value."""
    direction = _unit(rng.standard_normal(whole_number("dim", dim, 2)))
    across = rng.standard_normal((*value.shape, dim))
    for _ in range(2):  # one projection loses digits where a vector is almost parallel; two are enough
        across = _unit(across - (across @ direction)[..., None] * direction)
    along = (value / norm)[..., None]
    return along * direction + np.sqrt(1.0 - along**2) * across, norm * direction


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _support_sizes(support: int | None, n_states: int, most: int, rng: np.random.Generator) -> IntArray:
    if support is None:
        return rng.integers(1, most, n_states, endpoint=True)
    if whole_number("support", support, 1) > most:
        raise ModelError(f"support is {support}, but a player has {most} actions; pass 1 to {most}")
    return np.full(n_states, support)


def _mixed_actions(sizes: IntArray, n_actions: int, rng: np.random.Generator) -> FloatArray:
    """Mixed actions (S, n_actions) on random supports of the given sizes, no two weights further apart than 1 : 2."""
    order = rng.permuted(np.tile(np.arange(n_actions), (sizes.size, 1)), axis=1)
    weights = np.where(order < sizes[:, None], rng.uniform(0.5, 1.0, order.shape), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)
