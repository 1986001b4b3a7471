"""How far a pair of policies in a zero-sum Markov game is from equilibrium, exactly.

Fixing one player's policy leaves the other a Markov decision process, whose optimal value is the best response. The sum
of what the two players gain by best responses,

    NashConv(mu, nu) = max_mu' v^{mu', nu} - min_nu' v^{mu, nu'},

is zero exactly at a Nash equilibrium (Lanctot et al., A Unified Game-Theoretic Approach to Multiagent Reinforcement
Learning, NeurIPS 2017). Policies are asked for their action probabilities in every state; no play is simulated.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..envs.games import PLAYERS
from ..models import LinearMarkovGame, MarkovGame, ModelError
from ..models._checks import flag
from ..models.summaries import Summarised
from ..solvers.games.best_responses import NashGap, nash_gap
from ..solvers.games.linear import met_game
from ..solvers.games.operators import available, require_policy
from ..wrappers.exact_view import GameView, game_view
from ..wrappers.opponents import PlaysSide, mode, moved_to_first, require_law, stated_array, uniform_law
from .policies import FloatArray, IntArray, action_table


@dataclass(frozen=True, eq=False, repr=False)
class Exploitability(Summarised):
    """A pair of policies beside the equilibrium, over n states; numbers without a state are means over rho.

    Attributes:
        states: The states (n,): all of them; in a LinearMarkovGame those that play can meet.
        rho: Probability (n,) that an episode starts there.
        policy_0: Action probabilities (n, A) of player_0.
        policy_1: Action probabilities (n, B) of player_1.
        nash_values: Nash value (n,), paid to player_0.
        gaps: The solvers' answer: the pair's value, both best responses, their certificates.
    """

    shown: ClassVar[tuple[str, ...]] = ("value", "nash_value", "gap")

    states: IntArray
    rho: FloatArray
    policy_0: FloatArray
    policy_1: FloatArray
    nash_values: FloatArray
    gaps: NashGap

    @property
    def value(self) -> float:
        """Expected (discounted) return of player_0 when the two policies meet."""
        return float(self.rho @ self.gaps.value)

    @property
    def nash_value(self) -> float:
        """The same for an equilibrium."""
        return float(self.rho @ self.nash_values)

    @property
    def gap(self) -> float:
        """NashConv: what both players together gain by best responses; 0 exactly at an equilibrium."""
        return float(self.rho @ self.gaps.nash_conv)

    @property
    def gap_bounds(self) -> tuple[float, float]:
        """Certified bounds on ``gap``."""
        certificate = self.gaps.certificate
        return float(self.rho @ certificate.lower), float(self.rho @ certificate.upper)

    @property
    def improvements(self) -> tuple[float, float]:
        """What player_0 and player_1 gain by their best responses; they sum to ``gap``."""
        best_0, best_1 = self.gaps.best_response_0.value, self.gaps.best_response_1.value
        return float(self.rho @ (best_0 - self.gaps.value)), float(self.rho @ (self.gaps.value - best_1))


def exploitability(
    game_env: Any, policy_0: Any = None, policy_1: Any = None, *, deterministic: bool = False
) -> Exploitability:
    """The exact exploitability of a pair of policies.

    Args:
        game_env: A PettingZoo game of this package, parallel or AEC.
        policy_0: Policy of player_0: an agent, anything else :func:`~lookahead_rl.evaluation.audit` takes, an array of
            actions (S,) or action probabilities (S, A); None is uniform play. Laws in float16 or float32 are normalised
            within the rounding of their type; others must sum to one.
        policy_1: The same for player_1.
        deterministic: Take the policies' most likely actions instead of their laws.

    Raises:
        ModelError: The environment is no such game, a policy does not fit it, was made for the other side, or plays an
            action that is not available (named with its state); ``deterministic`` is no bool.
    """
    deterministic = flag("deterministic", deterministic)
    views = game_view(game_env, "player_0"), game_view(game_env, "player_1")
    states, game, nash_values = game_to_solve(views[0])
    mu = law_table(policy_0, views[0], 0, states, game)
    nu = law_table(policy_1, views[1], 1, states, game)
    if deterministic:
        mu, nu = mode(mu), mode(nu)
    return Exploitability(states, game.rho, mu, nu, nash_values, nash_gap(game, mu, nu))


def game_to_solve(view: GameView) -> tuple[IntArray, MarkovGame, FloatArray]:
    """The states (n,) that matter, the game on them, and its Nash value (n,).

    In a LinearMarkovGame the states are those that play can meet; elsewhere all of them.
    """
    solution = view.solution()
    if isinstance(view.model, LinearMarkovGame):
        states, game = met_game(view.model)
        return states, game, solution.support.value
    return np.arange(view.model.n_states), view.model, solution.value


def law_table(
    policy: Any, view: GameView, player: int, states: IntArray, game: MarkovGame, unavailable: str = "refuse"
) -> FloatArray:
    """Action probabilities (n, A) of one player in some states.

    Args:
        policy: As in :func:`exploitability`.
        view: The whole game as that player sees it.
        player: 0 or 1.
        states: (n,), those of ``game``.
        game: The game on these states.
        unavailable: What becomes of the probability of actions that a state lacks: ``"refuse"``, or ``"first"``, which
            moves it to the first available action.

    Raises:
        ModelError: The policy does not fit, was made for the other side, or plays what is not available.
    """
    side, uniform = PLAYERS[player], uniform_law(game, player)
    if policy is None:
        return uniform
    name = f"policy_{player}"
    if isinstance(policy, np.ndarray | list):
        law = stated_array(name, policy, view.model.n_states, view.n_actions)
        require_law(name, law)
        law = law[states]
    elif isinstance(policy, PlaysSide) and policy.side != side:
        raise ModelError(f"the policy of {side} was made for {policy.side}; make it with side={side!r}")
    else:
        law = action_table(policy, view.observe, view.observation_space, states, view.n_actions)
        # Where the episode is over nobody acts.
        law = np.where(game.terminal[:, None], uniform, law)
    if unavailable == "first":
        law = moved_to_first(law, available(game, player))
    return require_policy(game, player, law, name)
