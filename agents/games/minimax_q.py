"""Minimax-Q: Q-learning in zero-sum Markov games (Littman, ICML 1994).

After the joint action (a, o) in s paid r and led to s',

    Q(s, a, o) <- (1 - alpha) Q(s, a, o) + alpha (r + gamma V(s')),        V(s) = val Q(s, ., .),

where val is the value of a matrix game, whose optimal policies in s are the ones played there. As in the paper Q and V
start at 1, policies at uniform; each player explores, that is plays uniformly, with a fixed probability; and the rate
alpha falls geometrically from 1.

If every triple is visited for ever and the rates alpha_n(s, a, o) of its visits satisfy sum alpha_n = infinity and
sum alpha_n^2 < infinity, Q converges to Q* with probability one (Littman, Szepesvari, ICML 1996). The geometric rates
of the paper have a finite sum: they stop near Q* rather than converge to it.
"""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...envs.games import PLAYERS
from ...solvers.matrix_games import solve_checked
from ...wrappers.opponents import draw, uniform_law
from ..base import FloatArray
from .learning import GameLearner, require_discount, require_fraction
from .planning import listed_opponent

SELF = "self"


@final
class MinimaxQAgent(GameLearner):
    """Learns one side of a Markov game by minimax-Q; a step solves one matrix game, from its last basis on.

    Q is what player_0 is paid, whichever side is played, so that one table holds the policies of both. The learnt
    policy is the optimal one of the matrix games Q(s, ., .), without exploration; in states never met it is uniform.

    Args:
        env: A PettingZoo game of this package, with a table of states.
        side: The side to play.
        opponent: Who plays the other side while this agent learns. ``"self"``: the policy that Q gives that side,
            exploring as this one does (MM in the paper); None: uniform play (MR in the paper). Or an agent, anything
            else that states its law, action probabilities (S, A), actions (S,): the law is read once, when this agent
            is made, and kept in files. Actions that the opponent never plays are never learnt about.
        explore: Probability of a uniform action.
        decay: Factor of the learning rate a step. The default, the paper's, brings it to 0.01 in 10^6 steps; in a much
            shorter run it stays near 1, and Q is little more than what was sampled last; for one of n steps pass
            0.01 ** (1 / n).
        gamma: Discount, below 1 where play need not end; None: the game's own.
        seed: Seed of everything that is drawn.

    Attributes:
        side: The side it plays.
        steps: Environment steps taken so far.
        q: What is learnt of q* (S, A, B), paid to player_0.
        values: The values of these matrix games (S,).

    Raises:
        AgentError: The game is a LinearMarkovGame, or explore, decay or gamma is out of range.
        ModelError: The environment is no such game, there is no such side, the opponent does not state its law, or its
            law is none for this game (the entry is named).
        ValueError: gamma = 1 and play need not end (a state is named).
    """

    def __init__(
        self,
        env: Any,
        *,
        side: str = PLAYERS[0],
        opponent: Any = SELF,
        explore: float = 0.2,
        decay: float = 0.01**1e-6,
        gamma: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(env, side, seed)
        self._explore = require_fraction("explore", explore)
        self._decay = require_fraction("decay", decay)
        self._gamma = require_discount(self.game, self.game.gamma if gamma is None else gamma)
        is_self = isinstance(opponent, str) and opponent == SELF
        self._opponent = None if is_self else listed_opponent(env, side, opponent)
        self._uniform = [uniform_law(self.game, player) for player in range(2)]
        self._policies = [law.copy() for law in self._uniform]
        live = ~self.game.terminal
        self.values = live.astype(np.float64)
        self.q = np.where(live[:, None, None], np.ones(self.game.r.shape), 0.0)
        self._basis = solve_checked(self.q, self.game.n_actions_0, self.game.n_actions_1).basis

    def joint_action(self, s: int) -> tuple[int, int]:
        """The policies' draws; uniform ones where a learning player explores."""
        a, b = (self._action(player, s) for player in range(2))
        return a, b

    def update(self, s: int, a: int, b: int, reward: float, s_next: int) -> None:
        """The rule of the module, and the matrix game of s solved again."""
        if self.game.terminal[s]:
            return
        alpha = self._decay**self.steps
        self.q[s, a, b] += alpha * (reward + self._gamma * self.values[s_next] - self.q[s, a, b])
        at, counts_0, counts_1 = slice(s, s + 1), self.game.n_actions_0, self.game.n_actions_1
        solved = solve_checked(self.q[at], counts_0[at], counts_1[at], self._basis[at])
        self.values[s], self._basis[s] = solved.values[0], solved.basis[0]
        self._policies[0][s], self._policies[1][s] = solved.mu[0], solved.nu[0]

    def tables(self) -> dict[str, NDArray[Any]]:
        """Q, V, both policies, and where the next solution of each matrix game starts."""
        mu, nu = self._policies
        return {"q": self.q, "values": self.values, "mu": mu, "nu": nu, "basis": self._basis}

    def policy(self) -> FloatArray:
        """The optimal policy of this side in the games Q(s, ., .), (S, A)."""
        return self._policies[PLAYERS.index(self.side)]

    def config(self) -> dict[str, Any]:
        """All arguments, an opponent as its law."""
        return {
            "side": self.side,
            "opponent": SELF if self._opponent is None else self._opponent.tolist(),
            "explore": self._explore,
            "decay": self._decay,
            "gamma": self._gamma,
            "seed": self._seed,
        }

    def _action(self, player: int, s: int) -> int:
        if self._opponent is not None and PLAYERS[player] != self.side:
            return draw(self._opponent[s], self.rng)
        laws = self._uniform if self.rng.random() < self._explore else self._policies
        return draw(laws[player][s], self.rng)
