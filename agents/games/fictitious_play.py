"""Fictitious play in zero-sum Markov games, learnt from play.

Two players play against each other. Each believes that the other one plays in state s by a fixed law, which it
estimates from what it saw played there, and that the pair (a, b) is worth what its own table says. In state s, at
the c-th visit, player_0 answers its beliefs, and player_1 likewise,

    a = argmax_a sum_b Q_0(s, a, b) nu(b | s),        b = argmin_b sum_a mu(a | s) Q_1(s, a, b);

then the beliefs about play move towards what was played, and those about payoffs, more slowly, towards what the
play of the next states is believed to be worth,

    mu(s) += alpha_c (e_a - mu(s)),    Q_0(s, ., .) += beta_c (r(s, ., .) + gamma P(s, ., .) v_0 - Q_0(s, ., .)),

    nu(s) += alpha_c (e_b - nu(s)),    v_0(s) = max_a sum_b Q_0(s, a, b) nu(b | s),   and so for Q_1, v_1.

If every state is visited for ever, the rates fall to zero with infinite sums, and beta_c / alpha_c -> 0, the pair
(mu, nu) converges to equilibrium and Q_0, Q_1 to Q* (Sayin, Parise, Ozdaglar, Fictitious Play in Zero-Sum Stochastic
Games, SIAM Journal on Control and Optimization 60, 2022; in continuous time Leslie, Perkins, Xu, Journal of Economic
Theory 189, 2020). Here alpha_c = c^-x and beta_c = c^-y with x < y. Where the model is not known, only the entry
that was played moves, towards r + gamma v(s'), at the rate of its own visits, and both players explore; beliefs then
include the exploration and are near an equilibrium, the nearer the less is explored.
"""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...envs.games import PLAYERS
from ...models._checks import flag, real_number
from ...solvers.games.operators import available
from ...wrappers.opponents import draw, uniform_law
from ..base import FloatArray
from ..errors import AgentError
from .learning import GameLearner, require_discount, require_fraction


@final
class FictitiousPlayAgent(GameLearner):
    """Learns one side of a Markov game by playing both against each other, each answering its beliefs.

    The learnt policy is the (weighted) average of what this side played, which is what the other one believes of it.

    Args:
        env: A PettingZoo game of this package, with a table of states.
        side: The side to play.
        knows_model: Whether the players know rewards and transitions, or see only what play shows.
        explore: Probability of a uniform action while learning; positive where the model is not known.
        play_rate: x of the rates c^-x of beliefs about play, in (0, 1).
        payoff_rate: y of the rates c^-y of beliefs about payoffs, in (x, 1].
        seed: Seed of everything that is drawn.

    Attributes:
        side: The side it plays.
        steps: Environment steps taken so far.
        payoffs: Q_0 and Q_1 (2, S, A, B), both in what player_0 is paid.
        values: v_0 and v_1 (2, S).

    Raises:
        AgentError: The game is a LinearMarkovGame, a rate or explore is out of range.
        ModelError: The environment is no such game, there is no such side, a rate is no number, or knows_model no bool.
        ValueError: The game has gamma = 1 and play need not end (a state is named).
    """

    def __init__(
        self,
        env: Any,
        *,
        side: str = PLAYERS[0],
        knows_model: bool = True,
        explore: float | None = None,
        play_rate: float = 0.7,
        payoff_rate: float = 0.9,
        seed: int = 0,
    ) -> None:
        super().__init__(env, side, seed)
        require_discount(self.game, self.game.gamma)
        knows_model = flag("knows_model", knows_model)
        play_rate, payoff_rate = real_number("play_rate", play_rate), real_number("payoff_rate", payoff_rate)
        if not 0.0 < play_rate < payoff_rate <= 1.0:
            raise AgentError(
                f"play_rate is {play_rate}, payoff_rate {payoff_rate}; pass 0 < play_rate < payoff_rate <= 1"
            )
        self._knows_model, self._rates = knows_model, (play_rate, payoff_rate)
        self._explore = require_fraction("explore", (0.0 if knows_model else 0.1) if explore is None else explore)
        if not knows_model and self._explore == 0.0:
            raise AgentError("explore is 0, but without the model only what is explored is learnt; pass explore > 0")
        self._uniform = [uniform_law(self.game, player) for player in range(2)]
        self._beliefs = [law.copy() for law in self._uniform]
        self._inside = [available(self.game, player) for player in range(2)]
        self.payoffs = np.zeros((2, *self.game.r.shape))
        self.values = np.zeros((2, self.game.n_states))
        self._visits = np.zeros(self.game.n_states, dtype=np.int64)
        self._joint_visits = np.zeros(self.game.r.shape, dtype=np.int64)

    def joint_action(self, s: int) -> tuple[int, int]:
        """Best answers to the beliefs, the first of equal ones; uniform draws where a player explores."""
        worth_0, worth_1 = self._worth(s)
        return self._action(0, s, int(worth_0.argmax())), self._action(1, s, int(worth_1.argmin()))

    def update(self, s: int, a: int, b: int, reward: float, s_next: int) -> None:
        """Beliefs about play, then about payoffs, then what the state is believed to be worth."""
        if self.game.terminal[s]:
            return
        self._visits[s] += 1
        self._joint_visits[s, a, b] += 1
        for belief, action in zip(self._beliefs, (a, b), strict=True):
            belief[s] *= 1.0 - self._visits[s] ** -self._rates[0]
            belief[s, action] += self._visits[s] ** -self._rates[0]
        if self._knows_model:
            self._learn_all_payoffs(s)
        else:
            rate = self._joint_visits[s, a, b] ** -self._rates[1]
            self.payoffs[:, s, a, b] += rate * (
                reward + self.game.gamma * self.values[:, s_next] - self.payoffs[:, s, a, b]
            )
        worth_0, worth_1 = self._worth(s)
        self.values[:, s] = worth_0.max(), worth_1.min()

    def tables(self) -> dict[str, NDArray[Any]]:
        """Both players' beliefs and the numbers of visits."""
        mu, nu = self._beliefs
        counts = {"visits": self._visits, "joint_visits": self._joint_visits}
        return {"mu": mu, "nu": nu, "payoffs": self.payoffs, "values": self.values, **counts}

    def policy(self) -> FloatArray:
        """The average of what this side played (S, A)."""
        return self._beliefs[PLAYERS.index(self.side)]

    def config(self) -> dict[str, Any]:
        """All arguments."""
        play_rate, payoff_rate = self._rates
        return {
            "side": self.side,
            "knows_model": self._knows_model,
            "explore": self._explore,
            "play_rate": play_rate,
            "payoff_rate": payoff_rate,
            "seed": self._seed,
        }

    def _worth(self, s: int) -> tuple[FloatArray, FloatArray]:
        """What each player believes its actions in s to be worth, (A,) and (B,); infinitely bad if missing."""
        mu, nu = self._beliefs[0][s], self._beliefs[1][s]
        inside_0, inside_1 = self._inside[0][s], self._inside[1][s]
        worth_0, worth_1 = self.payoffs[0, s] @ nu, mu @ self.payoffs[1, s]
        return np.where(inside_0, worth_0, -np.inf), np.where(inside_1, worth_1, np.inf)

    def _action(self, player: int, s: int, answer: int) -> int:
        if self._explore > 0.0 and self.rng.random() < self._explore:
            return draw(self._uniform[player][s], self.rng)
        return answer

    def _learn_all_payoffs(self, s: int) -> None:
        """Move Q_0(s, ., .) and Q_1(s, ., .) towards r + gamma P v, from the model."""
        game, size = self.game, self.game.r[s].size
        following = game.P_rows[s * size : (s + 1) * size] @ self.values.T
        target = game.r[s] + game.gamma * following.T.reshape(2, *game.r[s].shape)
        self.payoffs[:, s] += self._visits[s] ** -self._rates[1] * (target - self.payoffs[:, s])
