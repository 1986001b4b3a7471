"""A game seen by one of its players: the other one is an opponent, and what remains is a Gymnasium environment.

Fixing the policy nu of player_1 leaves player_0 the decision process

    r_nu(s, a) = sum_b nu(b | s) r(s, a, b),        P_nu(s' | s, a) = sum_b nu(b | s) P(s' | s, a, b),

and the same the other way round, with rewards of the opposite sign. Any single-agent algorithm can learn there;
where the game is one of this package and the opponent states its law, the process is known and every question about
it has an exact answer: its optimal value is the value of a best response to the opponent.
"""

from collections.abc import Mapping
from functools import cached_property
from numbers import Integral
from typing import Any, cast, final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import aec_to_parallel

from ..envs.games import PLAYERS, MarkovGameEnv
from ..models import ModelError, TabularMDP
from ..models._checks import flag
from ..solvers.games.best_responses import remaining_problem
from .exact_view import GameView, KnownProcess, game_view
from .opponents import (
    RULES,
    Player,
    PredictingPlayer,
    Predicts,
    StatesItsLaw,
    StatingPlayer,
    TabledPlayer,
    UniformPlayer,
    opponent_law,
    require_opponent,
    require_predict,
    tabular,
)


@final
class VersusOpponent(KnownProcess, gym.Env[Any, Any]):
    """One side of a two-player game with simultaneous moves, against an opponent.

    Observations, rewards, infos (``"action_mask"``, ``"prob"``) and the end of episodes are those of this side of the
    game. ``reset(seed=)`` seeds the game and the opponent's draws; an opponent that only has ``predict`` draws for
    itself.

    In a game of this package against an opponent whose law is known, ``model`` is the decision process that remains and
    ``solution()`` its optimum, so that :func:`~lookahead_rl.evaluation.audit` takes the environment. Elsewhere
    ``model`` raises ModelError. Actions that a state lacks are in the model copies of action 0, as the rule
    ``"first"`` plays them.

    Args:
        game_env: A PettingZoo game of two players, parallel, or AEC where each cycle is one simultaneous move
            (``metadata["is_parallelizable"]``). Games in which the players take turns are refused.
        opponent: None plays uniformly over the available actions. Or an agent, anything with the ``predict`` of
            stable-baselines3; or, in a game of this package, an array of action probabilities (S, A) or actions (S,).
            Laws in float16 or float32 are normalised within the rounding of their type; others must sum to one.
        side: The player that this environment plays for.
        deterministic: Whether the opponent plays its most likely actions instead of drawing from its law.
        unavailable: What an action that a state lacks does, of either player: ``"refuse"`` (the game's own error) or
            ``"first"`` (it stands for the first available action, so that algorithms without masks can learn).

    Raises:
        ModelError: The game has not two players or takes turns, there is no such side, or the opponent cannot play.
    """

    def __init__(
        self,
        game_env: ParallelEnv[str, Any, Any] | AECEnv[str, Any, Any],
        opponent: Any = None,
        *,
        side: str = PLAYERS[0],
        deterministic: bool = False,
        unavailable: str = "refuse",
    ) -> None:
        if unavailable not in RULES:
            raise ModelError(f"unavailable is {unavailable!r}; pass {' or '.join(map(repr, RULES))}")
        self.game_env = as_parallel(game_env)
        self.side, self.other = side, _other_player(self.game_env, side)
        self.observation_space = self.game_env.observation_space(side)
        self.action_space = self.game_env.action_space(side)
        self.metadata = dict(self.game_env.metadata)
        self.render_mode = cast("Any", self.game_env).render_mode  # PettingZoo asks for it, its class lacks it
        self._deterministic, self._unavailable = flag("deterministic", deterministic), unavailable
        self._observations: dict[str, Any] = {}
        self._infos: dict[str, Any] = {}
        self._truth: tuple[NDArray[np.float64], TabularMDP, Any] | None = None
        self.set_opponent(opponent)

    def set_opponent(self, opponent: Any) -> None:
        """Let another opponent play from the next episode on; ``model`` is what it leaves, at once.

        In self-play: ``vec_env.env_method("set_opponent", opponent)``; a SubprocVecEnv takes what can be pickled, such
        as arrays and models of stable-baselines3. The opponent is not copied: one that goes on learning changes under
        the environment.

        Raises:
            ModelError: It cannot play the other side.
        """
        self._next_player = seated(
            opponent,
            self.game_env,
            self.other,
            deterministic=self._deterministic,
            unavailable=self._unavailable,
        )
        self._opponent = opponent

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of the game and of the opponent's draws; None goes on with the present generators.
            options: Handed to the game.
        """
        super().reset(seed=seed)
        # A seed of its own, lest the game and the opponent draw the same numbers.
        game_seed = None if seed is None else int(self.np_random.integers(2**31))
        self._player = self._next_player
        self._player.begin()
        self._observations, self._infos = self.game_env.reset(seed=game_seed, options=options)
        return self._observations[self.side], dict(self._infos[self.side])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play one action against one of the opponent's.

        Raises:
            ModelError: The action of a player is not available, under the rule ``"refuse"``, or is none; or what the
                opponent states is no law of actions.
        """
        actions = {self.side: self._allowed(self.side, action)}
        if self.other in self.game_env.agents:
            reply = self._player.act(self._observations[self.other], self._infos[self.other], self.np_random)
            actions[self.other] = self._allowed(self.other, reply)
        self._observations, rewards, terminated, truncated, self._infos = self.game_env.step(actions)
        side = self.side
        ends = bool(terminated[side]), bool(truncated[side])
        return self._observations[side], float(rewards[side]), *ends, dict(self._infos[side])

    def action_masks(self) -> NDArray[np.bool_]:
        """Mask (A,) of the actions available now, as MaskablePPO of sb3-contrib asks for it.

        Raises:
            ModelError: The actions are not Discrete.
        """
        n_actions = _n_actions(self.action_space, self.side)
        mask = self._infos.get(self.side, {}).get("action_mask")
        return np.ones(n_actions, dtype=np.bool_) if mask is None else np.asarray(mask, dtype=np.bool_)

    def render(self) -> Any:
        """What the game renders."""
        return self.game_env.render()

    def close(self) -> None:
        """Close the game."""
        self.game_env.close()

    @property
    def model(self) -> TabularMDP:
        """The decision process that the opponent leaves, rewards being this side's.

        Raises:
            ModelError: The game has no model, or the opponent's law is not known or none in this game.
        """
        return self._known()[1]

    def solution(self) -> Any:
        """The exact solution of :attr:`model`: the value is that of a best response to the opponent. Cached.

        Raises:
            ModelError: As :attr:`model`.
        """
        from ..solvers import solve

        law, model, solution = self._known()
        if solution is None:
            solution = solve(model)
            self._truth = law, model, solution
        return solution

    def observe(self, states: ArrayLike) -> NDArray[Any]:
        """What this side sees in these states.

        Args:
            states: (n,) states.

        Raises:
            ModelError: The game has no model, or there is no such state.
        """
        return game_view(self.game_env, self.side).observe(np.asarray(states))

    @cached_property
    def _opponents_view(self) -> GameView:
        return game_view(self.game_env, self.other)

    def _law(self, opponent: Any) -> NDArray[np.float64]:
        """The opponent's action probabilities in every state."""
        return opponent_law(
            self._opponents_view,
            self.other,
            opponent,
            deterministic=self._deterministic,
            unavailable=self._unavailable,
        )

    def _known(self) -> tuple[NDArray[np.float64], TabularMDP, Any]:
        """The opponent's law, the process it leaves, and that process's solution if it was asked for.

        The law is asked for each time, since the opponent may have learnt.
        """
        law, player = self._law(self._opponent), PLAYERS.index(self.other)
        if self._truth is None or not np.array_equal(self._truth[0], law):
            # player_1 is paid what player_0 pays.
            process = remaining_problem(tabular(self._opponents_view), player, law, 1.0 if player else -1.0)
            self._truth = law, process, None
        return self._truth

    def _allowed(self, player: str, action: Any) -> Any:
        """The action itself, or the first available one where the rule says so."""
        return allowed_action(player, action, self._infos.get(player, {}), self._unavailable)


def seated(
    policy: Any,
    game_env: ParallelEnv[str, Any, Any],
    side: str,
    *,
    deterministic: bool = False,
    unavailable: str = "refuse",
) -> Player:
    """A policy ready to play one side of a game.

    Args:
        policy: As the opponent of :class:`VersusOpponent`.
        game_env: The game.
        side: The side it plays.
        deterministic: Whether it plays its most likely actions.
        unavailable: What an action that a state lacks does, for arrays; see :func:`allowed_action` for the others.

    Raises:
        ModelError: It cannot play this side.
    """
    require_opponent(policy, side)
    space = game_env.action_space(side)
    if policy is None:
        return UniformPlayer(_n_actions(space, side))
    if isinstance(policy, np.ndarray | list):
        view = game_view(game_env, side)
        law = opponent_law(view, side, policy, deterministic=deterministic, unavailable=unavailable)
        return TabledPlayer(law, cast("MarkovGameEnv", game_env.unwrapped))
    if isinstance(policy, StatesItsLaw) and isinstance(space, spaces.Discrete):
        return StatingPlayer(policy, game_env.observation_space(side), int(space.n), deterministic)
    if isinstance(policy, Predicts):
        require_predict(policy)
        return PredictingPlayer(policy, deterministic)
    raise ModelError(
        f"opponent is {type(policy).__name__}; pass None (uniform play), an agent such as make_agent(...), a "
        "model of stable-baselines3, anything with predict(observation, ...), or an array of action probabilities, "
        "such as solution.policy[0] or [1]"
    )


def allowed_action(player: str, action: Any, info: Mapping[str, Any], unavailable: str) -> Any:
    """The action itself, or the first available one where the rule says so.

    Args:
        player: Whose action it is.
        action: The action.
        info: What the game told that player, such as ``"action_mask"``.
        unavailable: ``"refuse"`` or ``"first"``.

    Raises:
        ModelError: It is not available, and the rule says nothing of another one.
    """
    mask = info.get("action_mask")
    if mask is None:
        return action
    number = action[()] if isinstance(action, np.ndarray) and action.ndim == 0 else action
    if isinstance(number, bool) or not isinstance(number, Integral) or not 0 <= int(number) < len(mask):
        return action  # the game says that it is none
    if mask[int(number)]:
        return action
    if unavailable == "refuse":
        raise ModelError(
            f"actions[{player!r}] is {int(number)}, which is not available now: choose by action_masks(), or make "
            'the first available action stand for it with VersusOpponent(..., unavailable="first")'
        )
    return int(np.argmax(mask))


def as_parallel(game_env: Any) -> ParallelEnv[str, Any, Any]:
    """A PettingZoo game as a ParallelEnv.

    Raises:
        ModelError: It is none, or its players take turns.
    """
    if isinstance(game_env, ParallelEnv):
        return game_env
    if not isinstance(game_env, AECEnv):
        raise ModelError(
            f"game_env is {type(game_env).__name__}; pass a game of PettingZoo, such as "
            'pettingzoo.make("parallel", "lookahead_rl/RandomMarkovGame-v0")'
        )
    if not game_env.metadata.get("is_parallelizable", False):
        raise ModelError(
            f"the players of {game_env} take turns; pass a game with simultaneous moves: a ParallelEnv, or an AEC "
            'environment whose metadata["is_parallelizable"] is True'
        )
    return aec_to_parallel(game_env)


def _other_player(game_env: ParallelEnv[str, Any, Any], side: str) -> str:
    players = list(game_env.possible_agents)
    if len(players) != 2:
        raise ModelError(f"game_env has {len(players)} players ({', '.join(players)}); a game of two is needed")
    if side not in players:
        raise ModelError(f"side is {side!r}; pass {' or '.join(map(repr, players))}")
    return players[1 - players.index(side)]


def _n_actions(space: spaces.Space[Any], player: str) -> int:
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise ModelError(f"the actions of {player} are in {space}, which has no list from 0 on; pass an opponent")
    return int(space.n)
