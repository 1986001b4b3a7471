"""Operators of zero-sum Markov games.

For a value v of shape (S,), the action values and the Shapley operator are

    Q_v(s, a, b) = r(s, a, b) + gamma sum_s' P(s' | s, a, b) v(s'),        (T v)(s) = val Q_v(s),

and a policy of one player makes the game a decision problem of the other:

    (T_mu v)(s) = min_b sum_a mu(a | s) Q_v(s, a, b),      (T^nu v)(s) = max_a sum_b Q_v(s, a, b) nu(b | s).

All three are monotone and with gamma < 1 contractions of modulus gamma in the supremum norm; T_mu v <= T v <= T^nu v,
with equality where mu and nu are optimal in the matrix games Q_v(s) (Shapley, Stochastic Games, PNAS 39, 1953).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models import MarkovGame, ModelError
from ...models._checks import PROBABILITY_TOLERANCE, BoolArray, entry, first, plain_array
from ..matrix_games import MatrixGameSolutions, solve_checked
from ..solution import FloatArray, IntArray

# Spacings at one of the floating-point numbers that are less precise than float64.
SPACINGS = {"float16": 2.0**-10, "float32": 2.0**-23}


def joint_action_values(game: MarkovGame, v: FloatArray) -> FloatArray:
    """Q_v of shape (S, A, B) for v of shape (S,); zero outside the action sets."""
    q = np.asarray(game.P_rows @ v)
    q *= game.gamma
    q = q.reshape(game.r.shape)
    q += game.r
    return q


def shapley_operator(game: MarkovGame, v: FloatArray) -> MatrixGameSolutions:
    """T v (S,) and the greedy pair mu (S, A), nu (S, B), for v of shape (S,)."""
    return solve_checked(joint_action_values(game, v), game.n_actions_0, game.n_actions_1)


def guarantees(game: MarkovGame, mu: FloatArray, nu: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """T_mu v and T^nu v, both (S,), for policies mu (S, A), nu (S, B) and v (S,)."""
    q = joint_action_values(game, v)
    against_mu = (mu[:, None, :] @ q)[:, 0, :]
    against_nu = (q @ nu[:, :, None])[:, :, 0]
    if game.is_ragged:
        against_mu = np.where(available(game, 1), against_mu, np.inf)
        against_nu = np.where(available(game, 0), against_nu, -np.inf)
    return against_mu.min(axis=1), against_nu.max(axis=1)


def available(game: MarkovGame, player: int) -> BoolArray:
    """Mask (S, A) or (S, B) of the actions that a player has in each state."""
    counts = action_counts(game, player)
    return np.arange(game.r.shape[1 + player], dtype=np.int64) < counts[:, None]


def action_counts(game: MarkovGame, player: int) -> IntArray:
    """Numbers of actions (S,) of player 0 or 1."""
    return game.n_actions_1 if player else game.n_actions_0


def require_player(player: int) -> int:
    """0 or 1.

    Raises:
        ValueError: For anything else.
    """
    if isinstance(player, bool) or player not in (0, 1):
        raise ValueError(f"player is {player!r}; pass 0 (maximises) or 1 (minimises)")
    return int(player)


def require_policy(game: MarkovGame, player: int, policy: ArrayLike, name: str | None = None) -> FloatArray:
    """A player's policy as float64 action probabilities (S, A) or (S, B), in :func:`double_precision`.

    Args:
        game: The game.
        player: Whose policy it is, 0 or 1.
        policy: Its action probabilities.
        name: What to call it in errors. None: mu (player 0) or nu (player 1).

    Raises:
        ValueError: Naming the entry that is not a probability of an available action, or the state whose
            probabilities do not sum to one; a ModelError, the player apart.
    """
    player_name = "nu" if require_player(player) else "mu"
    name = player_name if name is None else name
    given, expected = plain_array(name, policy), (game.n_states, game.r.shape[1 + player])
    if given.shape != expected:
        raise ModelError(f"{name} has shape {given.shape}; expected action probabilities of shape {expected}")
    weights = double_precision(name, given)
    bad = ~(weights >= 0.0)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry(name, index)} is {weights[index]:.6g}; probabilities must be >= 0")
    _require_available(name, game, player, weights)
    off = ~(np.abs(weights.sum(axis=1) - 1.0) <= PROBABILITY_TOLERANCE)
    if off.any():
        (s,) = first(off)
        raise ModelError(f"{name}[{s}] sums to {weights[s].sum():.12g}, not 1; normalise that row")
    return weights


def double_precision(name: str, law: NDArray[Any]) -> FloatArray:
    """A float64 copy of action probabilities (..., A).

    Numbers of lower precision, such as what networks compute, do not sum to one in float64: a row of float16 or
    float32 that misses one by no more than A times the spacing of such numbers at one is divided by its sum.

    Raises:
        ModelError: They are no real numbers.
    """
    if law.dtype.kind not in "fiub":
        raise ModelError(f"{name} has dtype {law.dtype}; pass action probabilities (float64)")
    weights = np.array(law, dtype=np.float64, order="C")
    spacing = SPACINGS.get(law.dtype.name)
    if spacing is None or not law.ndim:
        return weights
    with np.errstate(invalid="ignore"):  # infinities are refused by whoever checks the law
        sums = weights.sum(axis=-1, keepdims=True)
        is_near = np.abs(sums - 1.0) <= law.shape[-1] * spacing
    return np.divide(weights, sums, out=weights, where=is_near)


def _require_available(name: str, game: MarkovGame, player: int, weights: FloatArray) -> None:
    outside = ~available(game, player) & (weights > 0.0)
    if outside.any():
        s, a = index = first(outside)
        n_actions = action_counts(game, player)[s]
        raise ModelError(
            f"{entry(name, index)} is {weights[index]:.6g}, but state {s} has only {n_actions} actions, "
            f"0 to {n_actions - 1}; action {a} must have probability 0"
        )
