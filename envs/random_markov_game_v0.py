"""``lookahead_rl/RandomMarkovGame-v0``: a random zero-sum Markov game."""

from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame
from ..models._checks import whole_number
from ..models.generators import garnet_game
from .game_modules import parallel_fn, raw_aec_fn, vector_fn


def game(
    n_states: int = 20,
    n_actions_0: int = 3,
    n_actions_1: int = 3,
    branching: int = 5,
    gamma: float = 0.95,
    game_seed: int = 0,
) -> MarkovGame:
    """A Garnet game: random transitions, random rewards.

    ## Description
    Each state and pair of actions leads to ``branching`` random states with random probabilities and pays player_0 a
    reward drawn from [0, 1] (:func:`~lookahead_rl.models.generators.garnet_game`).

    ## Agents
    player_0, who maximises, and player_1, who minimises: player_1 receives minus player_0's reward.

    ## Action Spaces
    Discrete(n_actions_0) and Discrete(n_actions_1).

    ## Observation Spaces
    The indicator of the state, Box(0, 1, (n_states,), float32); with ``observation="state"`` Discrete(n_states).

    ## Starting State
    Uniform over the states.

    ## Episode End
    There are no terminal states; an episode is truncated after ``max_cycles`` steps (100 unless told otherwise).

    Args:
        n_states: S.
        n_actions_0: Actions of player_0.
        n_actions_1: Actions of player_1.
        branching: Next states of each state and pair of actions.
        gamma: Discount.
        game_seed: Which game; ``reset(seed=)`` chooses the episodes.
    """
    seed = whole_number("game_seed", game_seed, 0)
    return garnet_game(n_states, n_actions_0, n_actions_1, branching, seed, gamma=gamma)


parallel_env = parallel_fn(game, "random_markov_game_v0")
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game)
