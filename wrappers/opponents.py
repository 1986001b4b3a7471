"""Opponents: what plays the other side of a game, and its law of actions where that is known.

An opponent is uniform play (None), action probabilities by state, or anything with the ``predict`` of
stable-baselines3. Where it also states its law, its actions are drawn here, from the caller's generator, and the
decision problem that it leaves the other player can be written down (:func:`opponent_law`).

Laws in float16 or float32, as networks state them, are normalised within the rounding of their type.

In states that offer fewer actions than others, a policy made for all of them may ask for one that is not there.
The game refuses it; under the rule ``"first"`` it stands for the first available action, for both players alike.
"""

import inspect
from abc import ABC, abstractmethod
from typing import Any, Protocol, cast, final, runtime_checkable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..envs.games import PLAYERS, MarkovGameEnv
from ..models import LinearMarkovGame, MarkovGame, ModelError
from ..models._checks import entry, first, plain_array, require_distributions, require_finite, require_shape
from ..solvers.games.operators import action_counts, available, double_precision, require_policy
from .exact_view import GameView

FloatArray = NDArray[np.float64]
Info = dict[str, Any]

RULES = ("refuse", "first")
"""What an unavailable action does: it is an error, or stands for the first available one."""


@runtime_checkable
class Predicts(Protocol):
    """A policy of which only the actions are known, as in stable-baselines3's evaluation helpers."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Actions (n,) for a batch of n observations, and the next state of a recurrent policy."""
        ...


@runtime_checkable
class StatesItsLaw(Protocol):
    """A policy that says its action probabilities, as every agent of this package does."""

    def action_probabilities(self, observations: Any) -> FloatArray:
        """Law of the actions (n, A) for a batch of n observations."""
        ...


@runtime_checkable
class PlaysSide(Protocol):
    """An agent made for one side of a game."""

    side: str


class Player(ABC):
    """An opponent at play: one action a step."""

    @abstractmethod
    def act(self, observation: Any, info: Info, rng: np.random.Generator) -> Any:
        """Its action.

        Args:
            observation: What it sees.
            info: What it is told, such as an action mask.
            rng: Where its draws come from.
        """

    @abstractmethod
    def begin(self) -> None:
        """A new episode begins."""


@final
class UniformPlayer(Player):
    """Plays uniformly over the actions that are available.

    Args:
        n_actions: Number of actions.
    """

    def __init__(self, n_actions: int) -> None:
        self._n_actions = n_actions

    def act(self, observation: Any, info: Info, rng: np.random.Generator) -> int:
        """A uniform draw from ``info["action_mask"]``, or from all actions."""
        if "action_mask" not in info:
            return int(rng.integers(self._n_actions))
        return int(rng.choice(np.flatnonzero(info["action_mask"])))

    def begin(self) -> None:
        """Nothing is remembered."""


@final
class TabledPlayer(Player):
    """Plays a table of action probabilities.

    Args:
        law: (S, A).
        game: Where it plays, which knows the state.
    """

    def __init__(self, law: FloatArray, game: MarkovGameEnv) -> None:
        self._law, self._game = law, game

    def act(self, observation: Any, info: Info, rng: np.random.Generator) -> int:
        """A draw from the state's row."""
        return draw(self._law[self._game.state()[0]], rng)

    def begin(self) -> None:
        """Nothing is remembered."""


@final
class StatingPlayer(Player):
    """Plays a policy that states its law; the draws are the caller's.

    Args:
        policy: The policy.
        space: Space of its observations.
        n_actions: Number of actions.
        deterministic: Play its first most likely action.
    """

    def __init__(self, policy: StatesItsLaw, space: spaces.Space[Any], n_actions: int, deterministic: bool) -> None:
        self._policy, self._space, self._deterministic = policy, space, deterministic
        self._shape = (1, n_actions)

    def act(self, observation: Any, info: Info, rng: np.random.Generator) -> int:
        """A draw from the law of the observation.

        Raises:
            ModelError: The law is no distribution over the actions.
        """
        law = self.law(observation)
        return int(np.argmax(law)) if self._deterministic else draw(law, rng)

    def law(self, observation: Any) -> FloatArray:
        """Action probabilities (A,) on an observation.

        Raises:
            ModelError: They are no distribution over the actions.
        """
        name, law = stated_law(self._policy, _batch_of_one(observation, self._space), self._shape)
        require_law(name, law)
        return law[0]

    def begin(self) -> None:
        """Nothing is remembered."""


@final
class PredictingPlayer(Player):
    """Plays what a policy predicts, with its own draws, and keeps its recurrent state.

    Args:
        policy: The policy.
        deterministic: What its ``predict`` is told.
    """

    def __init__(self, policy: Predicts, deterministic: bool) -> None:
        self._policy, self._deterministic = policy, deterministic
        self._memory: Any = None
        self._is_first = True

    def act(self, observation: Any, info: Info, rng: np.random.Generator) -> Any:
        """The prediction.

        Raises:
            ModelError: The policy predicts something else than an action and a state.
        """
        starts = np.array([self._is_first])
        answer = self._policy.predict(observation, self._memory, starts, self._deterministic)
        action, self._memory = prediction(f"opponent {type(self._policy).__name__}", answer)
        self._is_first = False
        return action

    def begin(self) -> None:
        """The recurrent state is forgotten."""
        self._memory, self._is_first = None, True


def draw(law: FloatArray, rng: np.random.Generator) -> int:
    """An index drawn with probabilities ``law`` (A,), by inversion."""
    cumulative = law.cumsum()
    return int(cumulative.searchsorted(rng.random() * cumulative[-1], side="right"))


def opponent_law(
    view: GameView, side: str, opponent: Any, *, deterministic: bool = False, unavailable: str = "refuse"
) -> FloatArray:
    """The action probabilities (S, A) of an opponent in every state; uniform where the episode is over.

    Args:
        view: The game as the opponent sees it.
        side: The opponent's side.
        opponent: None (uniform play), action probabilities (S, A), actions (S,), or a policy that states its law.
        deterministic: Take a policy's first most likely actions.
        unavailable: What becomes of the probability of actions that a state lacks: ``"refuse"`` or ``"first"``.

    Raises:
        ModelError: The opponent does not state its law, was made for the other side, the game is too large, or its
            law is none for this game (the entry is named).
    """
    require_opponent(opponent, side)
    player, game = PLAYERS.index(side), tabular(view)
    uniform = uniform_law(game, player)
    if opponent is None:
        return uniform
    name, law = _stated(opponent, view, game.n_states)
    law = np.where(game.terminal[:, None], uniform, law)
    require_law(name, law)
    law = moved_to_first(law, available(game, player)) if unavailable == "first" else law
    law = require_policy(game, player, law, name)
    return mode(law) if deterministic else law


def require_opponent(opponent: Any, side: str) -> None:
    """Refuse a class, and an agent that was made for the other side.

    Raises:
        ModelError: It is one of these.
    """
    require_instance("opponent", opponent)
    if isinstance(opponent, PlaysSide) and opponent.side != side:
        raise ModelError(f"the opponent plays {side}, but was made for {opponent.side}; make it with side={side!r}")


def require_instance(name: str, policy: Any) -> None:
    """Refuse a class where something that acts is meant: it has the methods, and no state to call them with.

    Raises:
        ModelError: It is a class.
    """
    if isinstance(policy, type):
        raise ModelError(f"{name} is the class {policy.__name__} itself; pass an instance of it")


def require_predict(opponent: Predicts) -> None:
    """Refuse an opponent whose ``predict`` cannot be called as :class:`PredictingPlayer` does.

    Raises:
        ModelError: It takes fewer parameters, or others.
    """
    name = f"opponent {type(opponent).__name__}.predict"
    try:
        signature = inspect.signature(opponent.predict)
    except ValueError:  # compiled code need not say what it takes
        return
    try:
        signature.bind(None, None, None, False)
    except TypeError as error:
        raise ModelError(
            f"{name} takes {signature}; it is called as predict(observation, state, episode_start, deterministic), as "
            "stable-baselines3's, so give it these parameters"
        ) from error


def prediction(name: str, answer: object) -> tuple[Any, Any]:
    """The actions and the state that ``predict`` returned.

    Raises:
        ModelError: It returned something else.
    """
    if not isinstance(answer, tuple) or len(cast("tuple[Any, ...]", answer)) != 2:
        raise ModelError(f"{name} predicts {type(answer).__name__}, not (actions, state)")
    return cast("tuple[Any, Any]", answer)


def require_law(name: str, law: FloatArray) -> None:
    """Refuse what is no law of actions (n, A).

    Raises:
        ModelError: Naming the entry that is no probability, or the row that does not sum to one.
    """
    require_finite(name, law)
    require_distributions(name, law)


def tabular(view: GameView) -> MarkovGame:
    """The game as a table.

    Raises:
        ModelError: It has too many states.
    """
    return view.model.to_tabular() if isinstance(view.model, LinearMarkovGame) else view.model


def uniform_law(game: MarkovGame, player: int) -> FloatArray:
    """Uniform play over the actions that player 0 or 1 has in each state: (S, A) or (S, B)."""
    return available(game, player) / action_counts(game, player)[:, None]


def mode(law: FloatArray) -> FloatArray:
    """The laws (n, A) that put all mass on the first most likely action."""
    return np.eye(law.shape[1])[law.argmax(axis=1)]


def actions_table(name: str, actions: NDArray[Any], n_actions: int) -> FloatArray:
    """One-hot laws (..., A) of integer actions (...).

    Raises:
        ModelError: They are no integers from 0 to A - 1.
    """
    if actions.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {actions.dtype}; actions are integers from 0 to {n_actions - 1}")
    outside = (actions < 0) | (actions >= n_actions)
    if outside.any():
        index = first(outside)
        raise ModelError(f"{entry(name, index)} is {actions[index]}; actions run from 0 to {n_actions - 1}")
    return np.eye(n_actions)[actions]


def stated_array(name: str, policy: Any, n_states: int, n_actions: int) -> FloatArray:
    """The action probabilities (S, A) that an array of them, or of actions (S,), gives; not checked to be a law.

    Raises:
        ModelError: It has another shape or type, or an action is out of range.
    """
    array, shape = plain_array(name, policy), (n_states, n_actions)
    if array.dtype.kind in "iu" and array.shape == shape[:1]:
        return actions_table(name, array, n_actions)
    if array.dtype.kind == "f" and array.shape == shape:
        return double_precision(name, array)
    raise ModelError(
        f"{name} has dtype {array.dtype} and shape {array.shape}; expected integer actions of shape {shape[:1]}, or "
        f"float action probabilities of shape {shape}"
    )


def stated_law(policy: StatesItsLaw, observations: Any, shape: tuple[int, int]) -> tuple[str, FloatArray]:
    """What an opponent says it does: how to call it in errors, and its law (n, A), not checked to be one.

    Raises:
        ModelError: It has another shape, or no numbers.
    """
    name = f"opponent {type(policy).__name__}.action_probabilities(...)"
    law = double_precision(name, plain_array(name, policy.action_probabilities(observations)))
    require_shape(name, law, shape, "(n, A)")
    return name, law


def _stated(opponent: Any, view: GameView, n_states: int) -> tuple[str, FloatArray]:
    """What the opponent says of itself in every state, and how to call it in errors."""
    if isinstance(opponent, np.ndarray | list):
        return "opponent", stated_array("opponent", cast("Any", opponent), n_states, view.n_actions)
    if isinstance(opponent, StatesItsLaw):
        return stated_law(opponent, view.observe(np.arange(n_states)), (n_states, view.n_actions))
    raise ModelError(
        f"the opponent {type(opponent).__name__} does not state its law, so the decision problem it leaves is not "
        "known; pass an agent of this package (make_agent wraps algorithms of stable-baselines3), anything with "
        "action_probabilities(observations), or an array of action probabilities"
    )


def moved_to_first(law: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """The law (S, A) with all probability outside the action sets moved to action 0."""
    moved = np.where(inside, law, 0.0)
    moved[:, 0] += np.where(inside, 0.0, law).sum(axis=1)
    return moved


def _batch_of_one(observation: Any, space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: np.asarray(part)[None] for key, part in observation.items()}
    return np.asarray(observation)[None]
