"""Registration of the games, by name only: in both of PettingZoo's registries, and for ``gymnasium.make_vec``."""

from typing import Final

import gymnasium
from pettingzoo.env_registry.registration import aec_registry, parallel_registry, register

GAMES: Final = {
    "lookahead_rl/RandomMarkovGame-v0": "random_markov_game_v0",
    "lookahead_rl/LinearMarkovGame-v0": "linear_markov_game_v0",
    "lookahead_rl/VanDerWal-v0": "van_der_wal_v0",
    "lookahead_rl/Pursuit-v0": "pursuit_v0",
    "lookahead_rl/Soccer-v0": "soccer_v0",
    "lookahead_rl/Goofspiel-v0": "goofspiel_v0",
    "lookahead_rl/OshiZumo-v0": "oshi_zumo_v0",
}
"""The module of each game, by id."""

MAX_CYCLES: Final = 100


def register_games() -> None:
    """Register every game; what is registered already is left alone."""
    for env_id, name in GAMES.items():
        module = f"lookahead_rl.envs.{name}"
        if env_id not in parallel_registry:
            register("parallel", env_id, f"{module}:parallel_env", max_cycles=MAX_CYCLES)
        if env_id not in aec_registry:
            register("aec", env_id, f"{module}:env", max_cycles=MAX_CYCLES)
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, vector_entry_point=f"{module}:vector_env", max_episode_steps=MAX_CYCLES)
