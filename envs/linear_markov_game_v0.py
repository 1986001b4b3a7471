"""``lookahead_rl/LinearMarkovGame-v0``: a linear zero-sum Markov game of any size."""

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import LinearMarkovGame
from ..models._checks import whole_number
from ..models.generators import random_linear_game
from .game_modules import parallel_fn, raw_aec_fn, vector_fn


def game(
    n_states: int = 1000,
    n_actions_0: int = 3,
    n_actions_1: int = 3,
    dim: int = 6,
    support: int = 5,
    gamma: float = 0.95,
    game_seed: int = 0,
) -> LinearMarkovGame:
    """A random linear game on the simplex.

    ## Description
    Rewards and transitions are linear in features phi(s, a, b) on the simplex, and the transition measures have finite
    support (:func:`~lookahead_rl.models.generators.random_linear_game`). Features are computed, not stored, so a game
    of 10^9 states, its exact solution included, costs what one of 10^4 does.

    ## Agents
    player_0, who maximises, and player_1, who minimises: player_1 receives minus player_0's reward.

    ## Action Spaces
    Discrete(n_actions_0) and Discrete(n_actions_1).

    ## Observation Spaces
    phi(s, ., .) flattened, Box(0, 1, (n_actions_0 * n_actions_1 * dim,), float32); with ``observation="state"``
    Discrete(n_states).

    ## Starting State
    Uniform over ``support`` random states.

    ## Episode End
    There are no terminal states; an episode is truncated after ``max_cycles`` steps (100 unless told otherwise).

    Args:
        n_states: S, up to 2^62.
        n_actions_0: Actions of player_0.
        n_actions_1: Actions of player_1.
        dim: Dimension of the features.
        support: States that each of the ``dim`` transition measures reaches.
        gamma: Discount.
        game_seed: Which game; ``reset(seed=)`` chooses the episodes.
    """
    seed = whole_number("game_seed", game_seed, 0)
    return random_linear_game(n_states, n_actions_0, n_actions_1, dim, seed, gamma=gamma, support=support)


parallel_env = parallel_fn(game, "linear_markov_game_v0")
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game)
