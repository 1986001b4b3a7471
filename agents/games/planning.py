"""Planning agents of zero-sum Markov games: policy iteration with lookahead, and best responses."""

import warnings
from collections.abc import Callable
from typing import Any, cast, final

from numpy.typing import NDArray

from ...envs.games import PLAYERS
from ...models import GenerativeModel, LinearMarkovGame, MarkovGame
from ...models._checks import whole_number
from ...solvers.games.lookahead import require_rollout
from ...solvers.games.model_based import MAX_SAMPLES, estimate_game, require_samples
from ...solvers.games.planning import Pair
from ...solvers.policies import require_tolerance
from ...solvers.solution import Certificate, Status
from ...wrappers.exact_view import game_view
from ...wrappers.opponents import opponent_law
from ..base import FloatArray
from ..errors import AgentError
from ..lookup import look_up, one_hot
from ..planners import GamePlanningAgent, PlanningAgent


@final
class GamePolicyIterationAgent(GamePlanningAgent):
    """Plays the near-equilibrium that policy iteration finds, in the game itself or in an estimate of it.

    Without ``lookahead`` the game is planned by :func:`~lookahead_rl.solvers.solve_game`, otherwise by
    :func:`~lookahead_rl.solvers.lookahead_policy_iteration` with these H and m. A LinearMarkovGame is planned in the
    space of its weights (:func:`~lookahead_rl.solvers.solve_linear_game`,
    :func:`~lookahead_rl.solvers.linear_policy_iteration`), whatever its number of states.

    With ``samples`` the planner does not read the game's transitions and rewards: it draws that many outcomes of every
    state and pair of actions from ``env.unwrapped.simulator`` and plans in the empirical game, whose equilibrium is an
    approximate one of the true game, with an error that falls as one over the root of ``samples``
    (Zhang, Kakade, Başar, Yang, Model-Based Multi-Agent RL in Zero-Sum Markov Games, NeurIPS 2020).

    Args:
        env: A PettingZoo game of this package.
        side: ``"player_0"`` (maximises) or ``"player_1"`` (minimises).
        lookahead: Number of lookahead steps H >= 1; None: the default planner.
        rollout: The m >= 1 of m-step evaluation, possibly infinite; given with ``lookahead`` and only then.
        samples: Outcomes drawn of each triple (s, a, b), at most 10^9 in all, about a minute's; None: the model is
            given.
        tol: Wanted bound on the certified gap, in the game that is planned in.
        seed: Seed of the draws from the mixed policy, and of the samples.

    Attributes:
        side: The side it plays.

    Raises:
        AgentError: ``lookahead`` without ``rollout`` or the other way round; samples of a LinearMarkovGame, whose
            states are not listed.
        ModelError: The environment is no such game, there is no such side, ``lookahead`` or ``samples`` is no whole
            number >= 1, or so many samples would take too long.
        ValueError: ``rollout`` or ``tol`` is out of range.
    """

    def __init__(
        self,
        env: Any,
        *,
        side: str = PLAYERS[0],
        lookahead: int | None = None,
        rollout: float | None = None,
        samples: int | None = None,
        tol: float = 1e-8,
        seed: int = 0,
    ) -> None:
        super().__init__(game_view(env, side), side, seed)
        if (lookahead is None) != (rollout is None):
            raise AgentError(f"lookahead is {lookahead} and rollout {rollout}; pass both, or neither")
        self._simulator = cast("GenerativeModel", env.unwrapped.simulator)
        self._lookahead = None if lookahead is None else whole_number("lookahead", lookahead, 1)
        self._rollout = None if rollout is None else require_rollout(rollout)
        self._tol = require_tolerance(tol)
        self._samples = None if samples is None else _affordable(self._game, samples)

    def plan(self) -> dict[str, NDArray[Any]]:
        """The mixed policy of this side (S, A), or the weights (d,) of a LinearMarkovGame."""
        game = self._game
        if isinstance(game, LinearMarkovGame):
            return {"weights": self._linear_plan(game)}
        planned = game if self._samples is None else self._estimated(game, self._samples)
        return {"policy": self._tabular_plan(planned)[PLAYERS.index(self.side)]}

    def config(self) -> dict[str, Any]:
        """All arguments."""
        return {
            "side": self.side,
            "lookahead": self._lookahead,
            "rollout": self._rollout,
            "samples": self._samples,
            "tol": self._tol,
            "seed": self._seed,
        }

    def _tabular_plan(self, game: MarkovGame) -> Pair:
        from ...solvers import lookahead_policy_iteration, solve_game

        if self._lookahead is None or self._rollout is None:
            solution = solve_game(game, self._tol)
        else:
            H, m = self._lookahead, self._rollout
            solution = lookahead_policy_iteration(game, self._tol, lookahead=H, rollout=m)
        self._warn_if_missed(solution.certificate, solution.status)
        return solution.policy

    def _linear_plan(self, game: LinearMarkovGame) -> FloatArray:
        from ...solvers import linear_policy_iteration, solve_linear_game

        if self._lookahead is None or self._rollout is None:
            solution = solve_linear_game(game, self._tol)
        else:
            H, m = self._lookahead, self._rollout
            solution = linear_policy_iteration(game, self._tol, lookahead=H, rollout=m)
        self._warn_if_missed(solution.certificate, solution.status)
        return solution.weights

    def _warn_if_missed(self, certificate: Certificate, status: Status) -> None:
        """Say so where the plan is not as good as asked for, as when lookahead too short makes the iteration cycle."""
        if not certificate.gap <= self._tol:
            warnings.warn(
                f"planned with a certified gap of {certificate.gap:.3g}, not {self._tol:g}: {status}", stacklevel=5
            )

    def _estimated(self, game: MarkovGame, samples: int) -> MarkovGame:
        """The empirical game; of the true one only its sizes, discount, start and terminal states are read."""
        return estimate_game(
            self._simulator,
            (game.r.shape[1], game.r.shape[2]),
            samples,
            gamma=game.gamma,
            rho=game.rho,
            n_actions_0=game.n_actions_0,
            n_actions_1=game.n_actions_1,
            terminal=game.terminal,
            rng=self.rng.spawn(1)[0],
        )


@final
class BestResponseAgent(PlanningAgent):
    """Plays an exact best response to a given opponent: the worst that can happen to it.

    The opponent leaves a decision process, which is solved by policy iteration
    (:func:`~lookahead_rl.solvers.best_response`). Its law is read once, when this agent is made: what it learns later
    is not responded to. Only the law is kept in files.

    Args:
        env: A PettingZoo game of this package, with a table of states.
        side: The side of this agent; the opponent plays the other one.
        opponent: An agent, or anything else that states its law; action probabilities (S, A) or actions (S,); None:
            uniform play.
        tol: Wanted bound on the certified gap of the response.
        seed: Seed of the contract; the response is deterministic.

    Attributes:
        side: The side it plays.

    Raises:
        AgentError: The game is a LinearMarkovGame.
        ModelError: The environment is no such game, there is no such side, the opponent does not state its law, or its
            law is none for this game (the entry is named).
        ValueError: ``tol`` is no positive number.
    """

    def __init__(
        self, env: Any, *, side: str = PLAYERS[0], opponent: Any = None, tol: float = 1e-8, seed: int = 0
    ) -> None:
        view = game_view(env, side)
        super().__init__(view.observation_space, view.action_space, seed)
        self.side, self._view, self._tol = side, view, require_tolerance(tol)
        self._game = tabular_game(view.model, "a best response")
        self._opponent = listed_opponent(env, side, opponent)

    def plan(self) -> dict[str, NDArray[Any]]:
        """Actions of the response in each state (S,)."""
        from ...solvers import best_response

        return {"actions": best_response(self._game, PLAYERS.index(self.side), self._opponent, self._tol).policy}

    def law_of(self, plan: dict[str, NDArray[Any]]) -> Callable[[NDArray[Any]], FloatArray]:
        """One-hot laws, looked up by observation."""
        return look_up(self._view.observe, one_hot(plan["actions"], self._view.n_actions), self._game.terminal)

    def config(self) -> dict[str, Any]:
        """All arguments, the opponent as its law."""
        return {"side": self.side, "opponent": self._opponent.tolist(), "tol": self._tol, "seed": self._seed}


def _affordable(game: MarkovGame | LinearMarkovGame, samples: int) -> int:
    """The number of samples, refused where drawing them of every triple is impossible or would take too long."""
    if isinstance(game, LinearMarkovGame):
        raise AgentError("samples of every state cannot be drawn in a LinearMarkovGame; leave samples out")
    live = ~game.terminal
    return require_samples(samples, int(game.n_actions_0[live] @ game.n_actions_1[live]), MAX_SAMPLES)


def tabular_game(game: MarkovGame | LinearMarkovGame, what: str) -> MarkovGame:
    """The game, refused if its states are not listed.

    Raises:
        AgentError: It is a LinearMarkovGame.
    """
    if isinstance(game, LinearMarkovGame):
        raise AgentError(
            f"{what} is a table over all states, which a LinearMarkovGame does not list; make the environment with "
            "MarkovGameEnv(game.to_tabular()), if it is small, or play GamePolicyIteration-v0"
        )
    return game


def listed_opponent(env: Any, side: str, opponent: Any) -> FloatArray:
    """The action probabilities (S, A) of the opponent of ``side``.

    Raises:
        ModelError: It does not state its law, was made for the wrong side, or its law is none for this game.
    """
    other = PLAYERS[1 - PLAYERS.index(side)]
    return opponent_law(game_view(env, other), other, opponent)
