"""``lookahead_rl/VanDerWal-v0``: the game on which naive policy iteration cycles."""

from dataclasses import replace

import numpy as np
from pettingzoo.utils.conversions import aec_wrapper_fn

from ..models import MarkovGame
from ..models.classic import van_der_wal
from .game_modules import parallel_fn, raw_aec_fn, vector_fn


def game() -> MarkovGame:
    """Van der Wal's game, at discount 3/4.

    ## Description
    One state matters, with rewards [[3, 6], [2, 1]]; row 0 against column 1 leads with probability 2/3 to a state in
    which nothing more is paid (:func:`~lookahead_rl.models.classic.van_der_wal`). The value is 8, row 0 against
    column 1 an equilibrium, and naive policy iteration goes 12, 4, 12, 4, ... for ever.

    ## Agents
    player_0, who maximises, and player_1, who minimises: player_1 receives minus player_0's reward.

    ## Action Spaces
    Discrete(2) and Discrete(2).

    ## Observation Spaces
    The indicator of the state, Box(0, 1, (2,), float32); with ``observation="state"`` Discrete(2).

    ## Starting State
    State 0.

    ## Episode End
    State 1 is no terminal state here: play goes on in it for nothing, so that every episode has ``max_cycles`` steps
    (100 unless told otherwise).
    """
    return replace(van_der_wal(), terminal=np.zeros(2, dtype=np.bool_))


parallel_env = parallel_fn(game, "van_der_wal_v0")
raw_env = raw_aec_fn(parallel_env)
env = aec_wrapper_fn(parallel_env)
vector_env = vector_fn(game)
