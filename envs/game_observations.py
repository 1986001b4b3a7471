"""What the players of a Markov game see, and which actions they have.

Both players see the same: ``"state"`` is the state, int64; ``"features"`` a float32 vector, the indicator e_s in a
tabular game and phi(s, ., .) flattened to (A*B*d,) in a linear one, where it determines rewards and transitions.
"""

from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..models import FeatureMap, LinearMarkovGame, MarkovGame, ModelError, TableFeatures
from .observations import MOST_INDICATORS, Observer, indicators

Game = MarkovGame | LinearMarkovGame

PLAYERS: tuple[str, str] = ("player_0", "player_1")


def game_observer(game: Game, kind: str) -> Observer:
    """The observer of a game.

    Args:
        game: Whose states are shown.
        kind: ``"state"`` or ``"features"``.

    Raises:
        ModelError: Another kind, indicators of too many states, or no game.
    """
    if not isinstance(game, Game):
        raise ModelError(
            f"game is a {type(game).__name__}; pass a MarkovGame or a LinearMarkovGame "
            "(decision processes are Gymnasium environments)"
        )
    if kind == "state":
        return Observer(spaces.Discrete(game.n_states), np.copy)
    if kind != "features":
        raise ModelError(f'observation is {kind!r}; pass "state" or "features"')
    return _linear_features(game) if isinstance(game, LinearMarkovGame) else _indicators(game.n_states)


def action_counts(game: Game, state: int) -> tuple[int, int]:
    """Numbers of actions of player_0 and player_1 in a state."""
    if isinstance(game, LinearMarkovGame):
        return game.n_actions
    return int(game.n_actions_0[state]), int(game.n_actions_1[state])


def action_masks(game: Game, states: NDArray[np.int64]) -> dict[str, NDArray[np.int8]]:
    """For each player a mask (n, A) or (n, B) of its actions in n states; nothing in a linear game, which has all."""
    if isinstance(game, LinearMarkovGame):
        return {}
    counts = zip(PLAYERS, joint_shape(game), (game.n_actions_0, game.n_actions_1), strict=True)
    return {player: (np.arange(most) < n_actions[states, None]).astype(np.int8) for player, most, n_actions in counts}


def joint_shape(game: Game) -> tuple[int, int]:
    """Largest numbers of actions (A, B)."""
    return game.n_actions if isinstance(game, LinearMarkovGame) else (game.r.shape[1], game.r.shape[2])


def _indicators(n_states: int) -> Observer:
    if n_states > MOST_INDICATORS:
        raise ModelError(
            f'observation="features" of a tabular game would show indicator vectors of length {n_states}; '
            f'use observation="state" (indicators go up to {MOST_INDICATORS} states)'
        )

    return Observer(spaces.Box(0.0, 1.0, (n_states,), np.float32), partial(indicators, n_states))


def _linear_features(game: LinearMarkovGame) -> Observer:
    size = int(np.prod(game.n_actions)) * game.dim
    if isinstance(game.phi, TableFeatures):
        table = game.phi.table.astype(np.float32)
        low, high = float(table.min()), float(table.max())
    else:
        low, high = 0.0, 1.0  # a linear game's features are a table or lie on the simplex
    return Observer(spaces.Box(low, high, (size,), np.float32), partial(_flat_features, game.phi, size))


def _flat_features(phi: FeatureMap, size: int, states: NDArray[np.int64]) -> NDArray[Any]:
    return phi(states).reshape(states.size, size).astype(np.float32)
