"""Environments by their ids, of Gymnasium's registry and of PettingZoo's, and what an agent of a job sees of them.

A :class:`~lookahead_rl.experiments.jobs.Job` names an environment and an agent. What the agent is handed follows from
both:

=====================  =====================  ==================================================================
id is                  agent                  it is made with
=====================  =====================  ==================================================================
Gymnasium's            any                    the environment, or ``n_envs`` of them side by side
a game of PettingZoo   takes games (``side``  the game itself, its arguments ``side`` and, where it takes one,
                       is an argument)        ``opponent``
a game of PettingZoo   any other              one side of it against the opponent, a Gymnasium environment
=====================  =====================  ==================================================================
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
from pettingzoo import ParallelEnv
from pettingzoo.env_registry.exceptions import PettingZooRegistryError
from pettingzoo.env_registry.registration import aec_registry, parallel_registry
from pettingzoo.env_registry.registration import make as make_pettingzoo

from ..agents import Agent, AgentError, agent_class, agent_ids, agent_spec, load_agent, make_agent
from ..agents.storage import read_archive
from ..envs.games import PLAYERS
from ..models import ModelError
from ..wrappers import VersusOpponent
from ..wrappers.versus import as_parallel
from .jobs import Job

Game = ParallelEnv[str, Any, Any]
AnyEnv = gym.Env[Any, Any] | Game
Wrap = Callable[[Any, int], Any]

STABLE_BASELINES = "lookahead_rl.agents.stable_baselines:StableBaselinesAgent"
_NEAR = 3


def is_game(env_id: str) -> bool:
    """Whether an id is that of a PettingZoo game, with simultaneous moves or with turns."""
    return env_id in parallel_registry or env_id in aec_registry


def make_single_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> gym.Env[Any, Any]:
    """The Gymnasium environment of this id.

    Args:
        env_id: Registered id; ``"module:Id-v0"`` imports the module that registers it first.
        env_kwargs: Its arguments.

    Raises:
        ModelError: There is no such environment (the nearest ids are named), it is a game, or it does not take these
            arguments.
    """
    if is_game(env_id):
        raise ModelError(f"{env_id} is a game of PettingZoo, where a Gymnasium environment is needed")
    try:
        return gym.make(env_id, **(env_kwargs or {}))
    except gym.error.UnregisteredEnv as error:
        raise ModelError(_unknown(env_id)) from error
    except ImportError as error:
        raise ModelError(f"{env_id} cannot be made: {_line(error)}") from error
    except (TypeError, gym.error.Error) as error:  # an argument of another name, an id that is malformed
        raise ModelError(_line(error)) from error
    except ModelError:
        raise
    except Exception as error:  # constructors of other packages refuse in any way they like
        raise ModelError(f"{env_id} cannot be made: {type(error).__name__}: {_line(error)}") from error


def make_game(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> Game:
    """The PettingZoo game of this id, its moves simultaneous.

    Raises:
        ModelError: There is no such game (the nearest ids are named), its players take turns, or it does not take
            these arguments.
    """
    if not is_game(env_id):
        raise ModelError(_unknown(env_id))
    kind = "parallel" if env_id in parallel_registry else "aec"
    try:
        return as_parallel(make_pettingzoo(kind, env_id, **(env_kwargs or {})))
    except (TypeError, ImportError, PettingZooRegistryError) as error:
        raise ModelError(f"{env_id} cannot be made: {_line(error)}") from error
    except ModelError:
        raise
    except Exception as error:  # constructors of other packages refuse in any way they like
        raise ModelError(f"{env_id} cannot be made: {type(error).__name__}: {_line(error)}") from error


def open_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> AnyEnv:
    """The environment of an id, whichever registry has it.

    Raises:
        ModelError: As :func:`make_single_env` and :func:`make_game`.
    """
    return make_game(env_id, env_kwargs) if is_game(env_id) else make_single_env(env_id, env_kwargs)


def takes_games(agent: str) -> bool:
    """Whether agents of this id are made with a whole game, for one of its sides.

    Raises:
        AgentError: No agent is registered under it.
        ImportError: It needs an extra that is not installed.
    """
    return "side" in inspect.signature(agent_class(agent)).parameters


def plays_whole_game(job: Job) -> bool:
    """Whether the agent of a job is handed a game, rather than one side of it."""
    return is_game(job.env_id) and takes_games(job.agent)


def make_training_env(job: Job, wrap: Wrap | None = None) -> Any:
    """What the agent of a job is made with: see the table of the module.

    Args:
        job: The job.
        wrap: ``wrap(env, i)`` is put in place of the i-th environment or of the game, such as a monitor around it.

    Returns:
        A Gymnasium environment, a PettingZoo game, or for ``n_envs > 1`` a VecEnv of stable-baselines3.

    Raises:
        ModelError: The environment cannot be made, or an option of games is given where there is none.
        AgentError: The agent steps one environment and ``n_envs`` is larger; there is no such opponent, or it does not
            play this game.
    """
    wrapped: Wrap = wrap or _as_it_is
    if job.n_envs == 1:
        return wrapped(make_truth_env(job), 0)
    if agent_spec(job.agent).entry_point != STABLE_BASELINES:
        raise AgentError(
            f"n_envs is {job.n_envs}, but {job.agent} steps one environment; several are for the agents of "
            "stable-baselines3"
        )
    from stable_baselines3.common.vec_env import DummyVecEnv

    return DummyVecEnv([lambda i=i: wrapped(make_truth_env(job), i) for i in range(job.n_envs)])


def make_truth_env(job: Job) -> AnyEnv:
    """One environment of the kind that the agent of a job acts in: what it is evaluated and audited in.

    Returns:
        A Gymnasium environment, or the game where the agent plays a side of a whole game.

    Raises:
        ModelError, AgentError: As :func:`make_training_env`.
    """
    if not is_game(job.env_id):
        if job.opponent is not None or job.side != PLAYERS[0]:
            option = "opponent" if job.opponent is not None else "side"
            raise ModelError(f"{option} is {getattr(job, option)!r}, but {job.env_id} is no game; leave it out")
        return make_single_env(job.env_id, job.env_kwargs)
    game = make_game(job.env_id, job.env_kwargs)
    if takes_games(job.agent):
        side = job.agent_kwargs.get("side", job.side)
        if side not in game.possible_agents:
            raise ModelError(f"side is {side!r}; pass {' or '.join(map(repr, game.possible_agents))}")
        return game
    # Algorithms without masks learn too: an action that a state lacks stands for its first available one.
    return VersusOpponent(game, make_opponent(job, game), side=job.side, unavailable="first")


def agent_arguments(job: Job, env: Any) -> dict[str, Any]:
    """Arguments of the agent of a job, beside its seed: its own, and the side and opponent of a game.

    Args:
        job: The job.
        env: What :func:`make_training_env` returned.

    Raises:
        AgentError: They hold the environment or the seed; it plays a game and takes no opponent, but one is given; or
            there is no such opponent.
    """
    arguments = dict(job.agent_kwargs)
    if given := [name for name in ("env", "seed") if name in arguments]:
        raise AgentError(f"agent_kwargs holds {given[0]}, which the job itself says; leave it out")
    if not plays_whole_game(job):
        return arguments
    arguments.setdefault("side", job.side)
    if job.opponent is None:
        return arguments
    if "opponent" not in inspect.signature(agent_class(job.agent)).parameters:
        raise AgentError(f"opponent is {job.opponent!r}, but {job.agent} plays against whoever comes; leave it out")
    return {"opponent": make_opponent(job, env), **arguments}


def make_job_agent(job: Job, env: Any) -> Agent:
    """The agent of a job, made with what :func:`make_training_env` returned.

    Raises:
        AgentError: There is no such agent, it does not take these arguments, or the environment does not suit it.
        ModelError: The environment has no model, and the agent needs one.
        ImportError: It needs an extra that is not installed.
    """
    return make_agent(job.agent, env, seed=job.seed, **agent_arguments(job, env))


def make_opponent(job: Job, game: Any) -> Agent | None:
    """Who plays the other side in a game: None (uniform play) where the job names nobody.

    An agent named by its id plays as it is made: planners plan, learners have learnt nothing.

    Raises:
        AgentError: The job's opponent is neither a registered id nor the file of an agent, or it cannot play.
        ModelError: The game has not two players, or there is no such side.
    """
    if job.opponent is None:
        return None
    opposite = VersusOpponent(game, side=job.side).other
    if job.opponent in agent_ids():
        whole = takes_games(job.opponent)
        env = game if whole else VersusOpponent(game, side=opposite, unavailable="first")
        return make_agent(job.opponent, env, seed=job.seed, **({"side": opposite} if whole else {})).learn(0)
    path = Path(job.opponent)
    if not path.is_file():
        near = difflib.get_close_matches(job.opponent, agent_ids(), n=_NEAR)
        hint = f"; near are: {', '.join(near)}" if near else ""
        raise AgentError(f"opponent is {job.opponent!r}, neither the id of an agent nor the file of one{hint}")
    whole = "side" in cast("dict[str, Any]", read_archive(path).get("config", {}))
    return load_agent(path, game if whole else VersusOpponent(game, side=opposite, unavailable="first"))


def _as_it_is(env: Any, index: int) -> Any:
    return env


def _unknown(env_id: str) -> str:
    """What to say of an id that no registry has."""
    known = [*gym.registry, *parallel_registry, *aec_registry]
    short: dict[str, str] = {}
    for name in known:
        short.setdefault(name.rpartition("/")[2].lower(), name)
        short[name.lower()] = name
    wanted = env_id.rpartition(":")[2].lower()
    matches = difflib.get_close_matches(wanted, short, n=2 * _NEAR)
    near = list(dict.fromkeys(short[match] for match in matches))[:_NEAR]
    hint = f"near are: {', '.join(near)}" if near else "gymnasium.pprint_registry() lists those there are"
    return f"no environment is registered as {env_id!r}; {hint}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
