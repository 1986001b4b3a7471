"""Learners within a budget as their papers write them down: transitions are stored, every episode refits from them all.

Nothing here is shared with the package but models and environments: what the fast learners are checked against, and
what their speed is told beside. Regressions are vectorised over the stored data and over actions, one stage at a time,
in numpy; features of next states are stored with the transitions, and Gram matrices and bonuses are computed once an
episode, for all of its passes. Utilities g stand as in the papers, at least b in sum: g = -cost, b = -budget, or
g = 1 - cost, b = H - budget. Episodes begin with the seeds that the package's learners draw
(:mod:`lookahead_rl.agents.exploration.episodes`), so both play the same ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookahead_rl.models import ConstrainedLinearMDP

FloatArray = NDArray[np.float64]
HALVINGS = 24


@dataclass(frozen=True, eq=False)
class Fit:
    """What was played in an episode: the multiplier (nan: the safe policy), value and cost, all weights w (J, H, d)."""

    multiplier: float
    value: float
    cost: float
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass at a multiplier: weights w (J, H, d), and the utility of the first state."""

    multiplier: float
    weights: FloatArray
    utility: float


class Direct(ABC):
    """Storage, play and exact evaluation; subclasses say what is estimated and which multiplier is played.

    Args:
        env: An environment of a ConstrainedLinearMDP that shows codes and begins in one state.
        n_estimates: J, values estimated.
        n_episodes: Largest number of episodes to be played.
        seed: As the package's agents.
    """

    def __init__(self, env: Any, n_estimates: int, n_episodes: int, seed: int) -> None:
        self.env, self.problem = env, env.unwrapped.model
        assert isinstance(self.problem, ConstrainedLinearMDP)
        self.mdp, self.H, self.J = self.problem.mdp, self.problem.horizon, n_estimates
        self.b = -self.problem.budget
        self.rng, self.k = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))), 0
        A, d = self.mdp.n_actions, self.mdp.dim
        self.x, self.x_next = np.empty((self.H, n_episodes, d)), np.empty((self.H, n_episodes, A, d))
        self.r, self.g = np.empty((self.H, n_episodes)), np.empty((self.H, n_episodes))
        self.states = [self.mdp.initial_distribution().states, *(self.mdp.stage(h).support for h in range(self.H - 1))]
        self.features = [self.mdp.phi(states) for states in self.states]
        self.theta = np.array([self.mdp.stage(h).theta for h in range(self.H)])
        self.theta_cost = np.array([self.problem.stage_theta_cost(h) for h in range(self.H)])
        self.mu = [self.mdp.stage(h).mu for h in range(self.H)]
        self.inverse = np.empty((self.H, d, d))
        self.bonus_next = np.empty((self.H, n_episodes, A))

    @abstractmethod
    def q(self, h: int, phi: FloatArray, bonus: FloatArray, w: FloatArray) -> FloatArray:
        """Action values (J, n, A) of features (n, A, d) with these bonuses (n, A) for weights w (J, H, d)."""

    @abstractmethod
    def law(self, q: FloatArray, multiplier: float) -> FloatArray:
        """Action probabilities (n, A) for action values (J, n, A)."""

    @abstractmethod
    def choose(self) -> Pass:
        """What is played next; a pass of multiplier nan is the safe policy."""

    def values(self, q: FloatArray, law: FloatArray) -> FloatArray:
        """Values (J, n)."""
        return (law * q).sum(axis=2)

    def observed(self, h: int) -> FloatArray:
        """What is regressed beside next values, (J, k)."""
        return np.zeros((self.J, self.k))

    def safe_law(self, h: int, states: NDArray[np.int64]) -> FloatArray:
        """Action probabilities (n, A) of the safe policy."""
        raise NotImplementedError

    def episode(self) -> Fit:
        """Refit, evaluate, and play one episode."""
        self.refit()
        chosen = self.choose()
        value, cost = self.evaluate(chosen)
        self.play(chosen)
        self.k += 1
        return Fit(chosen.multiplier, value, cost, chosen.weights)

    def fill(self, n_episodes: int) -> None:
        """Play and store episodes of random actions, without a fit."""
        for _ in range(n_episodes):
            self.play(None)
            self.k += 1

    def refit(self) -> None:
        """Gram matrices and bonuses from all data."""
        for h in range(self.H):
            x = self.x[h, : self.k]
            self.inverse[h] = np.linalg.inv(np.eye(x.shape[1]) + x.T @ x)
        for h in range(self.H - 1):
            self.bonus_next[h, : self.k] = self.bonus(h + 1, self.x_next[h, : self.k])

    def bonus(self, h: int, phi: FloatArray) -> FloatArray:
        """|phi| in the norm of the inverse Gram matrix (n, A)."""
        rows = phi.reshape(-1, phi.shape[-1])
        squares = ((rows @ self.inverse[h]) * rows).sum(axis=1)
        return np.sqrt(np.maximum(squares, 0.0)).reshape(phi.shape[:2])

    def sweep(self, multiplier: float) -> Pass:
        """One pass backwards over the stages."""
        w, k = np.zeros((self.J, self.H, self.mdp.dim)), self.k
        for h in range(self.H - 1, -1, -1):
            target = self.observed(h)
            if h + 1 < self.H:
                q = self.q(h + 1, self.x_next[h, :k], self.bonus_next[h, :k], w)
                target = target + self.values(q, self.law(q, multiplier))
            w[:, h] = target @ self.x[h, :k] @ self.inverse[h]
        phi = self.features[0]
        q = self.q(0, phi, self.bonus(0, phi), w)
        first = self.values(q, self.law(q, multiplier))[-1]
        return Pass(multiplier, w, float(self.mdp.initial_distribution().weights @ first))

    def bisect(self, high: float) -> Pass:
        """The upper end after halving [0, high]."""
        low = 0.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            if self.sweep(middle).utility >= self.b:
                high = middle
            else:
                low = middle
        return self.sweep(high)

    def policy(self, h: int, states: NDArray[np.int64], phi: FloatArray, chosen: Pass) -> FloatArray:
        """Action probabilities (n, A) of what is played."""
        if np.isnan(chosen.multiplier):
            return self.safe_law(h, states)
        return self.law(self.q(h, phi, self.bonus(h, phi), chosen.weights), chosen.multiplier)

    def evaluate(self, chosen: Pass) -> tuple[float, float]:
        """Exact value and cost, over the states that can be met."""
        v = np.zeros((0, 2))
        for h in range(self.H - 1, -1, -1):
            w = np.stack([self.theta[h], self.theta_cost[h]], axis=1)
            if v.size:
                w = w + self.mu[h] @ v
            law = self.policy(h, self.states[h], self.features[h], chosen)
            v = np.einsum("na,naj->nj", law, self.features[h] @ w)
        value, cost = self.mdp.initial_distribution().weights @ v
        return float(value), float(cost)

    def play(self, chosen: Pass | None) -> None:
        """One episode, stored; None: of random actions."""
        S, code = self.mdp.n_states, int(self.env.reset(seed=int(self.rng.integers(2**31)))[0])
        phi = self.mdp.phi(np.array([code % S]))
        for h in range(self.H):
            law = np.ones(phi.shape[1])
            if chosen is not None:
                law = self.policy(h, np.array([code % S]), phi, chosen)[0]
            law = law.cumsum()
            action = int(np.searchsorted(law, self.rng.random() * law[-1], side="right"))
            observation, reward, *_, info = self.env.step(action)
            self.x[h, self.k], self.r[h, self.k], self.g[h, self.k] = phi[0, action], reward, -info["cost"]
            code = int(observation)
            phi = self.mdp.phi(np.array([code % S]))
            self.x_next[h, self.k] = phi[0]


class DirectOptimistic(Direct):
    """Ghosh, Zhou, Shroff: NeurIPS 2022 with ``step``, AISTATS 2024 by bisection without; g = -cost.

    Args:
        env: See :class:`Direct`.
        betas: Coefficients of the bonus, of rewards and utilities.
        alpha: Of the softmax.
        ceiling: xi, or sqrt K.
        step: eta; None: bisection.
        n_episodes: See :class:`Direct`.
        seed: See :class:`Direct`.
    """

    def __init__(
        self,
        env: Any,
        betas: tuple[float, float],
        alpha: float,
        ceiling: float,
        step: float | None,
        n_episodes: int,
        seed: int = 0,
    ) -> None:
        super().__init__(env, 2, n_episodes, seed)
        self.betas, self.alpha, self.ceiling, self.step, self.multiplier = betas, alpha, ceiling, step, 0.0

    def observed(self, h: int) -> FloatArray:
        return np.stack([self.r[h, : self.k], self.g[h, : self.k]])

    def q(self, h: int, phi: FloatArray, bonus: FloatArray, w: FloatArray) -> FloatArray:
        most = np.array([self.H - h, 0.0])[:, None, None]
        return np.minimum(np.moveaxis(phi @ w[:, h].T, 2, 0) + np.multiply.outer(self.betas, bonus), most)

    def law(self, q: FloatArray, multiplier: float) -> FloatArray:
        return softmax(self.alpha * (q[0] + multiplier * q[1]))

    def choose(self) -> Pass:
        if self.step is not None:
            swept = self.sweep(self.multiplier)
            self.multiplier = min(max(self.multiplier + self.step * (self.b - swept.utility), 0.0), self.ceiling)
            return swept
        if (free := self.sweep(0.0)).utility >= self.b:
            return free
        if (dearest := self.sweep(self.ceiling)).utility < self.b:
            return dearest
        return self.bisect(self.ceiling)


class DirectSafe(Direct):
    """OPSE-LCMDP of Kitamura et al., 2025; g = 1 - cost.

    Args:
        env: See :class:`Direct`.
        c_r: C_r.
        c_u: C_u.
        c_plus: C_+.
        b_plus: B.
        kappa: Temperature.
        c_lambda: C_lambda.
        safe_law: Stage and states (n,) to the safe policy's action probabilities (n, A).
        n_episodes: See :class:`Direct`.
        seed: See :class:`Direct`.
    """

    def __init__(
        self,
        env: Any,
        c_r: float,
        c_u: float,
        c_plus: float,
        b_plus: float,
        kappa: float,
        c_lambda: float,
        safe_law: Callable[[int, NDArray[np.int64]], FloatArray],
        n_episodes: int,
        seed: int = 0,
    ) -> None:
        super().__init__(env, 3, n_episodes, seed)
        self.b = self.H - self.problem.budget
        self.c_r, self.c_u, self.c_plus, self.b_plus = c_r, c_u, c_plus, b_plus
        self.kappa, self.c_lambda, self._safe_law = kappa, c_lambda, safe_law

    def safe_law(self, h: int, states: NDArray[np.int64]) -> FloatArray:
        return self._safe_law(h, states)

    def q(self, h: int, phi: FloatArray, bonus: FloatArray, w: FloatArray) -> FloatArray:
        later = self.H - 1 - h
        v_r, v_plus, v_u = np.moveaxis(phi @ w[:, h].T, 2, 0)
        most = later * (1.0 + self.kappa * np.log(self.mdp.n_actions))
        q_r = phi @ self.theta[h] + np.clip(self.c_r * bonus + v_r, 0.0, most)
        q_plus = self.b_plus * bonus + np.clip(self.c_plus * bonus + v_plus, 0.0, self.b_plus * later)
        q_u = 1.0 - phi @ self.theta_cost[h] + np.clip(-self.c_u * bonus + v_u, 0.0, later)
        return np.stack([q_r, q_plus, q_u])

    def law(self, q: FloatArray, multiplier: float) -> FloatArray:
        return softmax((q[0] + q[1] + multiplier * q[2]) / self.kappa)

    def values(self, q: FloatArray, law: FloatArray) -> FloatArray:
        v = super().values(q, law)
        v[0] -= self.kappa * (law * np.log(np.where(law > 0.0, law, 1.0))).sum(axis=1)
        return v

    def choose(self) -> Pass:
        if (dearest := self.sweep(self.c_lambda)).utility < self.b:
            return Pass(np.nan, dearest.weights, dearest.utility)
        if (free := self.sweep(0.0)).utility >= self.b:
            return free
        return self.bisect(self.c_lambda)


def softmax(scores: FloatArray) -> FloatArray:
    """Action probabilities (n, A) of scores (n, A)."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
