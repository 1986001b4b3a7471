"""Populations of players for a two-player game: trained, planned, or read from disk.

Every member plays both sides. How it comes by its two policies depends on what it is:

=============================  ========================================================================================
member                         its policies
=============================  ========================================================================================
agent of whole games           one agent for each side, learning or planning the game itself
any other agent (PPO, DQN)     one agent for each side, learning in the Gymnasium environment that an opponent leaves it
agents on disk                 one file for each side, or one that plays both
=============================  ========================================================================================

*Self-play.* In round k = 1, ..., K the learner of each side plays against a pool of policies of the other side; at the
beginning of every episode one of them is drawn uniformly. The pool begins with uniform play, or with the opponents that
are named, and after each round gains what the other side's learner has become. To draw a past policy for a whole
episode is to play their average, so this is fictitious self-play (Brown 1951; Heinrich, Lanctot, Silver, ICML 2015)
with the learner's progress in place of a best response. The checkpoint of each round is a member, since the mixture of
all rounds is what fictitious play is about, not the last one.

Training depends on the seed and the member's name alone: other members neither help nor disturb.
"""

import importlib
import inspect
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast, final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pettingzoo.env_registry.registration import aec_registry, parallel_registry

from ..agents import Agent, AgentError, agent_class, agent_ids, agent_spec, load_agent, make_agent
from ..agents.baselines import RandomAgent, UniformGameAgent
from ..agents.planners import PlanningAgent
from ..agents.storage import read_archive
from ..envs.games import MarkovGameEnv
from ..evaluation.cross_play import require_zero_sum
from ..evaluation.report import replace_text
from ..models import ModelError
from ..models._checks import whole_number
from ..wrappers import VersusOpponent
from .environments import Game, takes_games

MakeGame = Callable[[], Game]
Report = Callable[[str, int, int], None]

FILES = ("player_0.zip", "player_1.zip")
"""An agent's file for each side, within a member's folder."""
DESCRIPTION = "member.json"
UNIFORM = "Random-v0"
SET_HERE = ("env", "seed", "side")


@dataclass(frozen=True)
class Training:
    """How the members of a population are trained.

    Attributes:
        total_timesteps: Environment steps of each learner, all rounds together; algorithms of stable-baselines3 take
            whole rollouts.
        seed: Seed of everything that is drawn.
        rounds: Rounds of self-play, see the module; agents of whole games need none.
        agent_kwargs: Arguments of agents by their id; under ``""`` each for those that take it. Hyperparameters of
            stable-baselines3's algorithms may be given by their names; the discount is the game's own unless given.
        opponents: Who the first round is played against, agents by id or on disk; none: uniform play.
    """

    total_timesteps: int
    seed: int = 0
    rounds: int = 1
    agent_kwargs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    opponents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("total_timesteps", 0), ("seed", 0), ("rounds", 1)):
            whole_number(name, getattr(self, name), least)
        if self.rounds > max(self.total_timesteps, 1):
            raise AgentError(f"rounds is {self.rounds}, more than the {self.total_timesteps} steps to share among them")


@dataclass(frozen=True, eq=False)
class Member:
    """Who plays.

    Attributes:
        name: Unique in its population.
        agent: Registered id, or the path it was read from.
        policies: An agent for each side.
        steps: Environment steps that each of them was asked to learn from; 0 for those that take none.
        seconds: Time that took.
    """

    name: str
    agent: str
    policies: tuple[Agent, Agent]
    steps: int
    seconds: float


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A member to be: all that can be refused has been.

    Attributes:
        name: Its name.
        agent: Registered id, or path.
        learners: An agent for each side.
        pools: Whom the learners play against, by the side the pool plays; None where they play the whole game.
        is_ready: Whether there is nothing to learn.
    """

    name: str
    agent: str
    learners: tuple[Agent, Agent]
    pools: tuple[list[Any], list[Any]] | None
    is_ready: bool


@final
class DrawnOpponents(gym.Wrapper[Any, Any, Any, Any]):
    """Lets an opponent drawn uniformly from a pool play each episode.

    Args:
        env: One side of a game.
        pool: Opponents as :class:`~lookahead_rl.wrappers.VersusOpponent` takes them; the list may grow meanwhile.
        seed: Seed of the draws.
    """

    def __init__(self, env: VersusOpponent, pool: list[Any], seed: int) -> None:
        super().__init__(env)
        self._side_of, self._pool, self._rng = env, pool, np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw an opponent and begin an episode."""
        self._side_of.set_opponent(self._pool[int(self._rng.integers(len(self._pool)))])
        return super().reset(seed=seed, options=options)


def game_id(env_id: str) -> str:
    """The registered id of a game, also of one that is called by the name of its module, such as ``"rps_v2"``.

    Raises:
        ModelError: The players of this game take turns.
    """
    known = {*parallel_registry, *aec_registry}
    if env_id not in known:
        last = re.sub(r"_v(\d+)$", r"-v\1", re.split(r"[/.]", env_id)[-1])
        found = sorted(name for name in known if name.rpartition("/")[2] == last)
        env_id = found[0] if len(found) == 1 else env_id
    if env_id in aec_registry and env_id not in parallel_registry:
        raise ModelError(
            f"the players of {env_id} take turns; populations play games in which both move at once. Write it as a "
            "ParallelEnv in which whoever waits has a single action, and register that with PettingZoo"
        )
    return env_id


def build_population(
    make_game: MakeGame,
    agents: Sequence[str],
    training: Training,
    *,
    origin: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> list[Member]:
    """Train, plan and read the members of a population.

    Everything that can be refused is, before anything is trained.

    Args:
        make_game: Makes the game anew; learners step games of their own.
        agents: Ids of registered agents, and agents on disk: a folder that :func:`save_member` wrote, a file that plays
            both sides, or two files joined by a comma.
        training: How they are trained.
        origin: What the game was made from, compared with what members on disk were trained in.
        report: Called as ``report(what, done, total)`` as steps are taken.

    Returns:
        The members in this order; with several rounds one for each checkpoint, ``"PPO.1"``, ``"PPO.2"``, ...

    Raises:
        AgentError: An agent is unknown (the nearest names are listed), named twice or does not fit; a file holds
            another kind of agent, plays the other side, or comes from another game; nobody takes an argument; there
            would be one member alone.
        ModelError: The game has not two players with simultaneous moves, or is not zero-sum.
        ImportError: An agent needs an extra that is not installed.
    """
    names, rivals = _names(agents, training.rounds), _names(training.opponents)
    _require_company(agents, training)
    game = make_game()
    single_agent_env(game, 0, _uniform(game, 1))  # refuses what is no game of two
    require_zero_sum(game, seed=training.seed)
    options = _options([text for text in (*agents, *training.opponents) if text in agent_ids()], training, game)
    alone = Training(training.total_timesteps, training.seed)
    others = [
        _candidate(name, text, make_game, options.get(text, {}), alone, ([], []), origin)
        for name, text in rivals.items()
    ]
    first = [rival.learners[0] for rival in others], [rival.learners[1] for rival in others]
    candidates = [
        _candidate(name, text, make_game, options.get(text, {}), training, first, origin)
        for name, text in names.items()
    ]
    for candidate in others:
        _grow(candidate, alone, make_game, report)
    return [member for candidate in candidates for member in _grow(candidate, training, make_game, report)]


def save_member(member: Member, folder: Path, origin: Mapping[str, Any]) -> None:
    """Write a member to a folder: an agent's file for each side, and what it was trained in.

    Args:
        member: The member.
        folder: A folder of its own; made if missing.
        origin: What the game was made from, such as ``{"env_id": ..., "env_kwargs": {...}}``; plain JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file, policy in zip(FILES, member.policies, strict=True):
        policy.save(folder / file)
    description = {"name": member.name, "agent": member.agent, "steps": member.steps, **origin}
    replace_text(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")


def single_agent_env(game: Game, side: int, opponent: Any) -> VersusOpponent:
    """One side of a game, an action that a state lacks standing for its first available one."""
    return VersusOpponent(game, opponent, side=game.possible_agents[side], unavailable="first")


def member_seed(seed: int, name: str, side: int) -> int:
    """Seed of one side of a member, which depends on nobody else."""
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode()), side]).generate_state(1)[0] >> 1)


def agent_options(
    agent: str, agent_kwargs: Mapping[str, Mapping[str, Any]], game: Game
) -> tuple[dict[str, Any], set[str]]:
    """Of the given arguments those that an agent takes, and their names.

    Names of the agent's hyperparameters go there; its discount is the game's unless given.

    Args:
        agent: Registered id.
        agent_kwargs: Arguments by id; under ``""`` those for each agent that takes them.
        game: The game it will play.

    Raises:
        AgentError: It does not take an argument given under its id.
    """
    spec, alone = agent_spec(agent), agent_kwargs.get(agent, {})
    given = {**agent_kwargs.get("", {}), **alone}
    own = set(inspect.signature(agent_class(agent)).parameters) - {*SET_HERE, *spec.kwargs}
    known = _hyperparameters(agent) - own if "hyperparameters" in own else set[str]()
    named = given.keys() & (own | known)
    unknown = ", ".join(sorted(alone.keys() - named))
    if unknown:
        raise AgentError(f"{agent} takes no argument {unknown}; it takes: {', '.join(sorted(own | known)) or 'none'}")
    nested = given.get("hyperparameters", {})
    if not isinstance(nested, Mapping):
        raise AgentError(f"hyperparameters of {agent} are {nested!r}; write a mapping, such as {{'n_steps': 512}}")
    options = {name: given[name] for name in named & own}
    if known:
        base = game.unwrapped
        discount = {"gamma": float(base.model.gamma)} if isinstance(base, MarkovGameEnv) and "gamma" in known else {}
        options["hyperparameters"] = {**discount, **{name: given[name] for name in named & known}, **nested}
    return options, set(named)


def _hyperparameters(agent: str) -> set[str]:
    """Names of the hyperparameters of an algorithm of stable-baselines3; of other agents none."""
    module, _, name = str(agent_spec(agent).kwargs.get("algorithm", "")).partition(":")
    if not module:
        return set()
    algorithm = vars(importlib.import_module(module))[name]
    others = {"self", "policy", "env", "seed", "device", "_init_setup_model"}
    return set(inspect.signature(algorithm.__init__).parameters) - others


def _options(agents: Sequence[str], training: Training, game: Game) -> dict[str, dict[str, Any]]:
    """For each agent the arguments it takes; none may change nothing."""
    given = training.agent_kwargs
    for name in sorted({name for own in given.values() for name in own} & {*SET_HERE}):
        raise AgentError(f"the arguments of agents hold {name}, which is set for each of them")
    strange = ", ".join(sorted(given.keys() - {*agents, ""}))
    if strange:
        raise AgentError(f"arguments are given for {strange}, which does not play; who plays: {', '.join(agents)}")
    found = {agent: agent_options(agent, given, game) for agent in agents}
    nobody = given.get("", {}).keys() - {name for _, taken in found.values() for name in taken}
    if nobody:
        raise AgentError(f"none of these agents takes {', '.join(sorted(nobody))}")
    return {agent: options for agent, (options, _) in found.items()}


def _names(agents: Sequence[str], rounds: int = 1) -> dict[str, str]:
    """What each agent or path is called in the tables; the rounds of a learner are members of their own.

    Raises:
        AgentError: One is named twice, or is neither an agent nor on disk.
    """
    twice = sorted({text for text in agents if list(agents).count(text) > 1})
    if twice:
        raise AgentError(f"{', '.join(twice)} named twice; equal members tell nothing of each other, name each once")
    short = {text: text if text in agent_ids() else _short_name(text) for text in agents}
    taken = list(short.values())
    taken += [f"{text}.{k}" for text in agents if text in agent_ids() and rounds > 1 for k in range(1, rounds + 1)]
    return {(name if taken.count(name) == 1 else text): text for text, name in short.items()}


def _short_name(text: str) -> str:
    paths = [Path(part) for part in text.split(",")]
    missing = [str(path) for path in paths if not path.exists()]
    if not missing:
        return paths[0].resolve().name if paths[0].is_dir() else paths[0].stem
    if len(paths) == 1 and "/" not in text and Path(text).suffix != ".zip":
        try:
            agent_spec(text)
        except AgentError as error:
            raise AgentError(f"{error}; there is no such file or folder either") from None
    raise AgentError(f"{', '.join(missing)}: there is no such file or folder, and no agent of that id")


def _require_company(agents: Sequence[str], training: Training) -> None:
    """Refuse a population of one before anything is made."""
    learns = [text for text in agents if text in agent_ids() and text != UNIFORM and not takes_games(text)]
    if len(agents) < 2 and not (learns and training.rounds > 1):
        raise AgentError(
            "a population of one has nobody to play; name two agents or more, such as UniformGame-v0 or Random-v0, or "
            "give one that learns several rounds of self-play"
        )


def _uniform(game: Game, side: int) -> Any:
    """Uniform play of a side, whatever its actions are."""
    player = game.possible_agents[side]
    space = game.action_space(player)
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return None
    view: Any = SimpleNamespace(observation_space=game.observation_space(player), action_space=space)
    return make_agent(UNIFORM, view)


def _candidate(
    name: str,
    text: str,
    make_game: MakeGame,
    options: Mapping[str, Any],
    training: Training,
    first: tuple[list[Any], list[Any]],
    origin: Mapping[str, Any] | None,
) -> _Candidate:
    """A member to be, made or read, with everything that can be refused refused."""
    if text not in agent_ids():
        return _Candidate(name, text, _loaded(text, make_game, origin), None, True)
    try:
        if takes_games(text):
            return _Candidate(name, text, _whole_game(name, text, make_game(), options, training.seed), None, False)
        pools = ([*first[0]], [*first[1]])
        made = [_learner(name, text, make_game(), side, options, training, pools[1 - side]) for side in range(2)]
    except (AgentError, ModelError) as error:
        raise AgentError(f"{text} cannot play this game: {error}") from error
    return _Candidate(name, text, (made[0], made[1]), pools, False)


def _whole_game(name: str, agent: str, game: Game, options: Mapping[str, Any], seed: int) -> tuple[Agent, Agent]:
    if not isinstance(game.unwrapped, MarkovGameEnv):
        raise AgentError(
            "it is made with a whole game whose model is known, one of this package; agents of one side play any game, "
            "such as Random-v0 and PPO"
        )
    made = [
        make_agent(agent, game, seed=member_seed(seed, name, i), **{**options, "side": side})
        for i, side in enumerate(game.possible_agents)
    ]
    return made[0], made[1]


def _learner(
    name: str,
    agent: str,
    game: Game,
    side: int,
    options: Mapping[str, Any],
    training: Training,
    pool: list[Any],
) -> Agent:
    """The learner of one side, whose opponents come from the pool."""
    if not pool:
        pool.append(_uniform(game, 1 - side))
    seed = member_seed(training.seed, name, side)
    env: Any = single_agent_env(game, side, pool[0])
    if training.rounds > 1 or len(pool) > 1:
        env = DrawnOpponents(env, pool, seed)
    return make_agent(agent, env, seed=seed, **options)


def _grow(candidate: _Candidate, training: Training, make_game: MakeGame, report: Report | None) -> list[Member]:
    """Let a candidate learn; its members."""
    began = time.perf_counter()
    name, agent, learners = candidate.name, candidate.agent, candidate.learners
    if candidate.is_ready:
        return [Member(name, agent, learners, 0, 0.0)]
    total, done = 2 * training.total_timesteps, 0
    takes_steps = not isinstance(learners[0], PlanningAgent | RandomAgent | UniformGameAgent)
    rounds = training.rounds if candidate.pools is not None and takes_steps else 1
    members: list[Member] = []
    for k in range(1, rounds + 1):
        steps = training.total_timesteps * k // rounds - training.total_timesteps * (k - 1) // rounds
        for learner in learners:
            learner.learn(steps, _reporter(f"{name}, round {k}" if rounds > 1 else name, done, total, report))
            done += steps
        policies, label = learners, name
        if rounds > 1 and candidate.pools is not None:
            policies, label = _checkpoints(learners, make_game), f"{name}.{k}"
            for pool, policy in zip(candidate.pools, policies, strict=True):
                pool.append(policy)
        members.append(Member(label, agent, policies, done // 2 if takes_steps else 0, time.perf_counter() - began))
    return members


def _reporter(what: str, before: int, total: int, report: Report | None) -> Callable[[Agent, int], bool] | None:
    if report is None:
        return None
    start: list[int] = []

    def called(agent: Agent, steps: int) -> bool:
        start[:] = start or [max(0, steps - 1)]
        report(what, min(total, before + steps - start[0]), total)
        return True

    return called


def _checkpoints(learners: tuple[Agent, Agent], make_game: MakeGame) -> tuple[Agent, Agent]:
    """What the learners are now, as agents of their own."""
    copies: list[Agent] = []
    with TemporaryDirectory() as folder:
        for side, learner in enumerate(learners):
            game = make_game()
            learner.save(Path(folder) / FILES[side])
            env = single_agent_env(game, side, _uniform(game, 1 - side))
            copies.append(load_agent(Path(folder) / FILES[side], env))
    return copies[0], copies[1]


def _loaded(text: str, make_game: MakeGame, origin: Mapping[str, Any] | None) -> tuple[Agent, Agent]:
    """A member on disk."""
    paths = [Path(part) for part in text.split(",")]
    if len(paths) > 2:
        raise AgentError(f"{text} names {len(paths)} files; a member has one for each of two sides")
    if paths[0].is_dir():
        _require_origin(paths[0], origin)
        paths = [paths[0] / file for file in FILES]
    made = [_read(paths[side % len(paths)], make_game(), side, len(paths) == 1) for side in range(2)]
    return made[0], made[1]


def _require_origin(folder: Path, origin: Mapping[str, Any] | None) -> None:
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise AgentError(f"{folder} lacks {' and '.join(missing)}; a member's folder holds an agent for each side")
    if origin is None or not (folder / DESCRIPTION).is_file():
        return
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        found = {key: description[key] for key in origin}
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{folder / DESCRIPTION} is damaged: {error!r}") from error
    if found != dict(origin):
        told = ", ".join(f"{key} {found[key]!r}, not {value!r}" for key, value in origin.items() if found[key] != value)
        raise AgentError(f"{folder} was trained in another game: {told}")


def _read(path: Path, game: Game, side: int, is_alone: bool) -> Agent:
    config = cast("dict[str, Any]", read_archive(path).get("config", {}))
    player = game.possible_agents[side]
    if "side" in config and config["side"] != player:
        remedy = f"; name one for each side: {path},OTHER.zip" if is_alone else ""
        raise AgentError(f"{path} plays {config['side']}, not {player}{remedy}")
    env: Any = game if "side" in config else single_agent_env(game, side, _uniform(game, 1 - side))
    try:
        return load_agent(path, env)
    except (AgentError, ModelError) as error:
        raise AgentError(f"{path} cannot play {player} here: {error}") from error
