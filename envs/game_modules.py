"""What the module of a game consists of: a function that builds the model, and four constructors around it.

    game            the model from plain, JSON-able arguments; its docstring is the environment's page
    looks           what its states look like in a drawing, from the same arguments (only where numbers would not do)
    parallel_env    the ParallelEnv, :class:`~lookahead_rl.envs.games.MarkovGameEnv`
    env, raw_env    its turn-taking (AEC) form, with and without PettingZoo's order-enforcing wrapper
    vector_env      :class:`~lookahead_rl.envs.games_vector.VectorGameEnv`

The constructors take the arguments of the environment and pass those of the model on to ``game``, which refuses unknown
ones by name.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, cast

from gymnasium.vector import AutoresetMode
from pettingzoo import AECEnv
from pettingzoo.utils.conversions import parallel_to_aec_wrapper

from .game_looks import Looks
from .game_observations import Game
from .games import MarkovGameEnv
from .games_vector import VectorGameEnv
from .signatures import joined_signature

GameBuilder = Callable[..., Game]
LooksBuilder = Callable[[Mapping[str, Any]], Looks]
"""Builds the looks of a game from all arguments of its ``game``, by name."""

ParallelConstructor = Callable[..., MarkovGameEnv]


def parallel_fn(game: GameBuilder, name: str, looks: LooksBuilder | None = None) -> ParallelConstructor:
    """The constructor of the ParallelEnv of that name."""

    def parallel_env(
        *,
        max_cycles: int = 100,
        observation: str = "features",
        render_mode: str | None = None,
        **game_arguments: Any,  # those of ``game``
    ) -> MarkovGameEnv:
        """The ParallelEnv of the game with these arguments."""
        return MarkovGameEnv(
            game(**game_arguments),
            max_cycles=max_cycles,
            observation=observation,
            render_mode=render_mode,
            name=name,
            looks=_looks_of(game, looks, game_arguments),
        )

    cast("Any", parallel_env).__signature__ = joined_signature(parallel_env, game)
    return parallel_env


def raw_aec_fn(parallel_env: ParallelConstructor) -> Callable[..., AECEnv[str, Any, Any]]:
    """The constructor of the AEC form without the order-enforcing wrapper that ``aec_wrapper_fn`` adds."""

    def raw_env(**kwargs: Any) -> AECEnv[str, Any, Any]:  # those of ``parallel_env``
        """The AECEnv of the game with these arguments."""
        return parallel_to_aec_wrapper(parallel_env(**kwargs))

    return raw_env


def vector_fn(game: GameBuilder, looks: LooksBuilder | None = None) -> Callable[..., VectorGameEnv]:
    """The constructor of the vector environment, which ``gymnasium.make_vec`` calls."""

    def make_vector_env(
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        observation: str = "features",
        render_mode: str | None = None,
        **game_arguments: Any,  # those of ``game``
    ) -> VectorGameEnv:
        """The vector environment of the game with these arguments."""
        model = game(**game_arguments)
        shown = _looks_of(game, looks, game_arguments)
        return VectorGameEnv(model, num_envs, max_episode_steps, autoreset_mode, observation, render_mode, shown)

    return make_vector_env


def _looks_of(game: GameBuilder, looks: LooksBuilder | None, game_arguments: Mapping[str, Any]) -> Looks | None:
    """The looks of the game that ``game`` makes of these arguments."""
    if looks is None:
        return None
    bound = signature(game).bind(**game_arguments)
    bound.apply_defaults()
    return looks(bound.arguments)
