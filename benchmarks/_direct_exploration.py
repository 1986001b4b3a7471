"""LSVI-UCB and UCBVI as their papers write them down: transitions are stored, every episode refits from all of them.

Nothing here is shared with the package but models and environments: what the fast learners are checked against, and
what their speed is told beside. The regressions are vectorised over the stored data and over the actions, one stage at
a time, in numpy; features of next states are stored with the transitions, so none is computed twice. Episodes begin
with the seeds that the package's learners draw (:mod:`lookahead_rl.agents.exploration.episodes`): both play the same.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookahead_rl.models import FiniteHorizonMDP, LinearMDP

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """What one refit made of all data so far.

    Attributes:
        weights: w (H, d), of LSVI-UCB; of UCBVI the optimistic action values (H, S, A).
        inverse: Inverse Gram matrices (H, d, d), of LSVI-UCB.
        value: Exact expected return of the greedy policy.
    """

    weights: FloatArray
    inverse: FloatArray
    value: float


class Episodes:
    """Seeds of episodes, and the environment they are played in."""

    def __init__(self, env: Any, seed: int) -> None:
        self.env, self.rng = env, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))

    def begin(self) -> int:
        return int(self.env.reset(seed=int(self.rng.integers(2**31)))[0])

    def step(self, action: int) -> tuple[int, float, bool]:
        self.rng.random()
        observation, reward, terminated, *_ = self.env.step(action)
        return int(observation), float(reward), terminated


class DirectLSVIUCB:
    """Jin, Yang, Wang, Jordan, COLT 2020, Algorithm 1, with values clipped at H - h.

    Args:
        env: An environment of a LinearMDP that shows codes.
        beta: Coefficient of the bonus.
        n_episodes: Largest number of episodes to be played.
        seed: As the package's agent.
    """

    def __init__(self, env: Any, beta: float, n_episodes: int, seed: int = 0) -> None:
        self.model: LinearMDP = env.unwrapped.model
        self.beta, self.k, self.play = beta, 0, Episodes(env, seed)
        H, A, d = self.model.horizon, self.model.n_actions, self.model.dim
        self.x, self.r = np.empty((H, n_episodes, d)), np.empty((H, n_episodes))
        self.x_next = np.empty((H, n_episodes, A, d))
        self.states = [self.model.initial_distribution().states, *(self.model.stage(h).support for h in range(H - 1))]
        self.features = [self.model.phi(states) for states in self.states]
        self.laws = [self.model.stage(h) for h in range(H)]
        self.scratch = np.empty((A * max(n_episodes, *(states.size for states in self.states)), d))

    def episode(self) -> Fit:
        """Refit, evaluate, and play one episode."""
        w, inverse = self.refit()
        fit = Fit(w, inverse, self.evaluate(w, inverse))
        S, code, k = self.model.n_states, self.play.begin(), self.k
        phi = self.model.phi(np.array([code % S]))[0]
        for h in range(self.model.horizon):
            action = int(self.action_values(h, phi[None], w, inverse)[0].argmax())
            code, reward, _ = self.play.step(action)
            self.x[h, k], self.r[h, k] = phi[action], reward
            if h + 1 < self.model.horizon:
                self.x_next[h, k] = phi = self.model.phi(np.array([code % S]))[0]
        self.k += 1
        return fit

    def refit(self) -> tuple[FloatArray, FloatArray]:
        H, d, k = self.model.horizon, self.model.dim, self.k
        w, inverse = np.empty((H, d)), np.empty((H, d, d))
        for h in range(H - 1, -1, -1):
            x, target = self.x[h, :k], self.r[h, :k]
            if h + 1 < H:
                target = target + _row_maxima(self.action_values(h + 1, self.x_next[h, :k], w, inverse))
            gram = np.eye(d) + x.T @ x
            w[h], inverse[h] = np.linalg.solve(gram, x.T @ target), np.linalg.inv(gram)
        return w, inverse

    def action_values(self, h: int, phi: FloatArray, w: FloatArray, inverse: FloatArray) -> FloatArray:
        """min{<phi, w_h> + beta |phi|, H - h} (n, A) for features (n, A, d)."""
        rows = phi.reshape(-1, phi.shape[-1])
        turned = np.matmul(rows, inverse[h], out=self.scratch[: len(rows)])
        values = np.sqrt(np.maximum(np.einsum("nd,nd->n", turned, rows), 0.0))
        values *= self.beta
        values += rows @ w[h]
        return np.minimum(values, self.model.horizon - h, out=values).reshape(phi.shape[:2])

    def evaluate(self, w: FloatArray, inverse: FloatArray) -> float:
        """Exact expected return of the greedy policy, over the states that can be met."""
        v = np.zeros(0)
        for h in range(self.model.horizon - 1, -1, -1):
            law, phi = self.laws[h], self.features[h]
            q = law.theta + (law.mu @ v if v.size else 0.0)
            actions = self.action_values(h, phi, w, inverse).argmax(axis=1)
            v = phi[np.arange(len(phi)), actions] @ q
        return float(self.model.initial_distribution().weights @ v)


def _row_maxima(q: FloatArray) -> FloatArray:
    """max_a q (n,): numpy is several times as fast on columns as on many short rows."""
    best = q[:, 0].copy()
    for a in range(1, q.shape[1]):
        np.maximum(best, q[:, a], out=best)
    return best


class DirectUCBVI:
    """Azar, Osband, Munos, ICML 2017, with dense counts and laws; values clipped at (H - h) r_max.

    Args:
        env: An environment of a FiniteHorizonMDP without terminal states that shows codes.
        kind: ``"CH"`` or ``"BF"``.
        log_term: L.
        factor: What bonuses are multiplied by.
        n_episodes: Largest number of episodes to be played.
        reward_range: Least and greatest reward.
        seed: As the package's agent.
    """

    def __init__(
        self,
        env: Any,
        kind: str,
        log_term: float,
        factor: float,
        n_episodes: int,
        reward_range: tuple[float, float] = (0.0, 1.0),
        seed: int = 0,
    ) -> None:
        self.model: FiniteHorizonMDP = env.unwrapped.model
        self.kind, self.log_term, self.factor, self.range = kind, log_term, factor, reward_range
        H, S, A = self.model.horizon, self.model.n_states, self.model.n_actions
        self.play, self.n = Episodes(env, seed), 0
        self.steps, self.paid = np.empty((4, n_episodes * H), dtype=np.int64), np.empty(n_episodes * H)
        self.q = np.broadcast_to(reward_range[1] * np.arange(H, 0, -1.0)[:, None, None], (H, S, A)).copy()
        stages = [self.model.stage(h) for h in range(H)]
        self.P = [(P if isinstance(P, np.ndarray) else P.toarray()).reshape(S, A, S) for P, _ in stages]
        self.rewards = [r for _, r in stages]

    def episode(self) -> Fit:
        """Refit, evaluate, and play one episode."""
        self.refit()
        actions = self.q.argmax(axis=2)
        fit = Fit(self.q.copy(), np.empty(0), self.evaluate(actions))
        H, S, code = self.model.horizon, self.model.n_states, self.play.begin()
        for h in range(H):
            s = code % S
            action = int(actions[h, s])
            code, reward, terminated = self.play.step(action)
            self.steps[:, self.n] = h, s, action, S if terminated else code % S
            self.paid[self.n] = reward
            self.n += 1
            if terminated:
                break
        return fit

    def refit(self) -> None:
        """Count all steps so far, and lower the action values."""
        H, S, A = self.q.shape
        h, s, a, s_next = self.steps[:, : self.n]
        C = 1 if self.model.is_stationary else H
        pair = ((h if C > 1 else 0) * S + s) * A + a
        counts = np.bincount(pair * (S + 1) + s_next, minlength=C * S * A * (S + 1)).reshape(C, S, A, S + 1)
        paid = np.bincount(pair, self.paid[: self.n], minlength=C * S * A).reshape(C, S, A)
        arrivals = np.bincount(h * (S + 1) + s, minlength=(H + 1) * (S + 1)).reshape(H + 1, S + 1)
        low, high = self.range
        W, L, N = H * (high - low), self.log_term, counts.sum(axis=3)
        n = np.maximum(N, 1.0)
        P, mean_reward = counts / n[..., None], paid / n
        uncertainty = 1e4 * H**3 * (S * C) ** 2 * A * (L * (high - low)) ** 2
        v = np.zeros(S + 1)
        for h in range(H - 1, -1, -1):
            c = h if C > 1 else 0
            bonus = 7.0 * W * L / np.sqrt(n[c])
            if self.kind == "BF":
                mean = P[c] @ v
                variance = (P[c] * (v - mean[..., None]) ** 2).sum(axis=2)
                doubt = np.where(arrivals[h + 1] > 0, uncertainty / np.maximum(arrivals[h + 1], 1.0), np.inf)
                doubt = np.minimum(doubt, W**2 if h + 1 < H else 0.0)
                doubt[S] = 0.0
                bonus = np.sqrt(8 * L * variance / n[c]) + 14 * W * L / (3 * n[c]) + np.sqrt(8 * (P[c] @ doubt) / n[c])
            estimate = np.minimum(mean_reward[c] + P[c] @ v + self.factor * bonus, (H - h) * high)
            self.q[h] = np.where(N[c] > 0, np.minimum(self.q[h], estimate), self.q[h])
            v = np.append(self.q[h].max(axis=1), 0.0)

    def evaluate(self, actions: NDArray[np.int64]) -> float:
        """Exact expected return of the actions (H, S)."""
        H, S = actions.shape
        v, states = np.zeros(S), np.arange(S)
        for h in range(H - 1, -1, -1):
            v = self.rewards[h][states, actions[h]] + self.P[h][states, actions[h]] @ v
        return float(self.model.rho @ v)
