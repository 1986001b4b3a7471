r"""Learning in episodes of a linear MDP: regression with bonuses, from statistics that do not grow with the data.

At each stage h the data are transitions (s, a, signals, s'), signals being what a step shows (its reward, its cost).
With Lambda_h = ridge I + sum phi phi^T over them, b_h(s, a) = (phi^T Lambda_h^{-1} phi)^{1/2} and v_{j,H} = 0, a plan
goes backwards over the stages; channel j estimates

    w_{j,h}    = Lambda_h^{-1} sum phi (signal_j + v_{j,h+1}(s')),
    q_{j,h}    = <phi, known_{j,h}> + outer_j b_h + clip(<phi, w_{j,h}> + inner_j b_h, low_{j,h}, high_{j,h}),
    pi_h(. | s) = softmax(sum_j mix_j q_{j,h}(s, .) / temperature),    greedy (first maximiser) at temperature 0,
    v_{j,h}(s) = sum_a pi_h(a | s) q_{j,h}(s, a) + entropy_j Ent(pi_h(. | s)),

all channels under one policy. Special cases:

* LSVI-UCB (Jin, Yang, Wang, Jordan, COLT 2020, Algorithm 1): one channel, inner = beta, high = H, temperature 0.
* Primal-dual for constrained linear MDPs (Ghosh, Zhou, Shroff, NeurIPS 2022): channels of reward and utility with
  inner = beta, high = H, mix = (1, multiplier), temperature = 1 / alpha.
* Pessimism: inner < 0. An auxiliary value that only bonuses feed: signal None, outer > 0. Values with the entropy of
  their policy: entropy_j = temperature (all three: Kitamura et al., 2025).

The sum over data is one over next states: sum phi v(s') = sum_{s'} M_h(s') v(s'), with M_h(s') the sum of phi over the
visits of stage h that led to s'. So what is kept is Lambda_h, its inverse, sum phi signal and M_h, of sizes d^2, d^2,
d and d for each state met at the next stage, and a plan costs the same after ten episodes and after ten thousand, once
the states are met. The inverse follows each transition by Sherman and Morrison's formula in d^2 steps, and is computed
anew from Lambda every :data:`REFRESH` episodes, so that rounding does not add up.

How the pieces are used:

    statistics = LinearStatistics(horizon, n_actions, dim, n_signals=2)
    channels = stack([Channel(0, beta, high=H), Channel(1, -beta, low=0.0)], horizon, dim)
    row = statistics.add_state(h, phi)              # once for each state at each stage, phi (A, d)
    statistics.add_episode(transitions)             # what one episode brought
    plan = statistics.plan(channels, mix=(1.0, -y), temperature=0.1)    # any number of times, for any mix
    plan.laws(stages, phi)                          # (n, A) in states met or not, of features (n, A, d)
    LinearTotals(model, (model.theta, theta_cost))(laws)    # exact expected totals of a policy, (2,)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models import LinearMDP, ModelError
from ..models._checks import frozen, real_array, real_number, require_shape, whole_number
from ..models.measures import added_up
from . import linear_learning_kernels as kernels
from .linear import met_states
from .solution import FloatArray, IntArray

REFRESH = 256
"""Episodes after which inverses are computed anew."""

FIRST_ROOM = 16
"""States a table has room for at first; the room doubles."""


@dataclass(frozen=True, eq=False)
class Channel:
    """How one action value is estimated; the equation is that of the module.

    Attributes:
        signal: Which signal is regressed, from 0; None: next values alone.
        inner: Coefficient of the bonus inside of the clip; negative for pessimism.
        low: Least estimate, one number or one a stage (H,).
        high: Greatest estimate, one number or one a stage (H,).
        outer: Coefficient of the bonus outside of the clip.
        known: Parameters (d,) or (H, d) of what is known to be paid, added outside of the clip; None: zero.
        entropy: Coefficient of the policy's entropy in the value.
    """

    signal: int | None
    inner: float
    low: float | FloatArray = -np.inf
    high: float | FloatArray = np.inf
    outer: float = 0.0
    known: FloatArray | None = None
    entropy: float = 0.0


class Channels(NamedTuple):
    """J channels as arrays, in the order that the compiled passes take; :func:`stack` makes them.

    Attributes:
        signal: (J,) int64, -1 for none.
        inner: (J,).
        outer: (J,).
        entropy: (J,).
        low: (J, H).
        high: (J, H).
        known: (J, H, d).
    """

    signal: IntArray
    inner: FloatArray
    outer: FloatArray
    entropy: FloatArray
    low: FloatArray
    high: FloatArray
    known: FloatArray


def stack(channels: Sequence[Channel], horizon: int, dim: int) -> Channels:
    """Channels for H stages and d features.

    Raises:
        ModelError: A coefficient is not finite, a bound is nan or of another shape, low exceeds high.
    """
    if not channels:
        raise ModelError("channels is empty; a plan needs one at least")
    low = np.array([_bound(f"channels[{j}].low", c.low, horizon) for j, c in enumerate(channels)])
    high = np.array([_bound(f"channels[{j}].high", c.high, horizon) for j, c in enumerate(channels)])
    for j, h in np.argwhere(low > high):
        raise ModelError(f"channels[{j}].low is {low[j, h]} at stage {h}, above high = {high[j, h]}")
    return Channels(
        np.array([-1 if c.signal is None else whole_number("signal", c.signal, 0) for c in channels], dtype=np.int64),
        np.array([real_number(f"channels[{j}].inner", c.inner) for j, c in enumerate(channels)]),
        np.array([real_number(f"channels[{j}].outer", c.outer) for j, c in enumerate(channels)]),
        np.array([real_number(f"channels[{j}].entropy", c.entropy) for j, c in enumerate(channels)]),
        low,
        high,
        np.array([_parameters(f"channels[{j}].known", c.known, horizon, dim) for j, c in enumerate(channels)]),
    )


class Transitions(NamedTuple):
    """What m steps of an episode brought.

    Attributes:
        stages: (m,) int64.
        rows: (m,) int64 states, by their rows at their stages.
        actions: (m,) int64.
        next_rows: (m,) int64 next states, by their rows at the next stages; -1 after the last stage.
        signals: (m, G) float64.
    """

    stages: IntArray
    rows: IntArray
    actions: IntArray
    next_rows: IntArray
    signals: FloatArray


class Tables(NamedTuple):
    """What a compiled pass reads of the statistics: views, n being the room for states at a stage.

    Attributes:
        features: (H, A, d, n).
        counts: (H,) states known at each stage.
        bonus: (H, A, n).
        inverse: (H, d, d).
        sums: (G, H, d).
        arrivals: (H, d, n).
    """

    features: FloatArray
    counts: IntArray
    bonus: FloatArray
    inverse: FloatArray
    sums: FloatArray
    arrivals: FloatArray


@final
class LinearPlan:
    """A policy with the action values it follows, fixed once made; it can be asked about any features.

    Attributes:
        channels: The J channels.
        mix: (J,) weights of the channels in what the policy follows.
        temperature: Of the softmax; 0: greedy.
        weights: w (J, H, d).
        inverse: Inverse Gram matrices (H, d, d).
        counts: Number of states (H,) that were known when the plan was made.
        known_laws: (H, n, A) action probabilities in these, by row; what stands beyond counts means nothing.
    """

    def __init__(
        self,
        channels: Channels,
        mix: FloatArray,
        temperature: float,
        weights: FloatArray,
        inverse: FloatArray,
        counts: IntArray,
        known_laws: FloatArray,
    ) -> None:
        self.channels, self.mix, self.temperature = channels, mix, temperature
        self.weights, self.inverse, self.counts, self.known_laws = weights, inverse, counts, known_laws

    def laws(self, stages: IntArray, features: FloatArray) -> FloatArray:
        """Action probabilities (n, A) at stages (n,) in states of features (n, A, d)."""
        return self._act(stages, features)[2]

    def laws_of(self, stages: IntArray, rows: IntArray) -> FloatArray:
        """Action probabilities (n, A) in states that were known, by their rows (n,) at their stages (n,)."""
        _, room, n_actions = self.known_laws.shape
        return np.take(self.known_laws.reshape(-1, n_actions), stages * room + rows, axis=0)

    def values(self, stages: IntArray, features: FloatArray) -> FloatArray:
        """Estimated values (J, n)."""
        return self._act(stages, features)[1]

    def action_values(self, stages: IntArray, features: FloatArray) -> FloatArray:
        """Estimated action values (J, n, A)."""
        return self._act(stages, features)[0]

    def bonuses(self, stages: IntArray, features: FloatArray) -> FloatArray:
        """b = |phi| in the norm of the inverse Gram matrix, (n, A)."""
        squares = np.einsum("nad,nde,nae->na", features, self.inverse[stages], features)
        return np.sqrt(np.maximum(squares, 0.0))

    def _act(self, stages: IntArray, features: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        n, n_actions, _ = features.shape
        stages, features = np.require(stages, np.int64, ["C", "W"]), np.require(features, np.float64, ["C", "W"])
        q, values = np.empty((self.mix.size, n, n_actions)), np.empty((self.mix.size, n))
        laws = np.empty((n, n_actions))
        kernels.act(
            *self.channels, self.mix, self.temperature, stages, features, self.inverse, self.weights, q, values, laws
        )
        return q, values, laws


@final
class LinearStatistics:
    """All that a linear learner keeps of its data.

    Args:
        horizon: H.
        n_actions: A.
        dim: d.
        n_signals: G, signals observed at each step.
        ridge: Positive; lambda in the literature.

    Attributes:
        episodes: Episodes added.
        counts: States known at each stage (H,).

    Raises:
        ModelError: A number is out of range.
    """

    def __init__(self, horizon: int, n_actions: int, dim: int, *, n_signals: int = 1, ridge: float = 1.0) -> None:
        H, A = whole_number("horizon", horizon, 1), whole_number("n_actions", n_actions, 1)
        d, G = whole_number("dim", dim, 1), whole_number("n_signals", n_signals, 1)
        if not real_number("ridge", ridge) > 0.0:
            raise ModelError(f"ridge is {ridge}; it must be positive")
        self.episodes, self.ridge = 0, float(ridge)
        self.counts: IntArray = np.zeros(H, dtype=np.int64)
        self._gram = np.tile(ridge * np.eye(d), (H, 1, 1))
        self._inverse = np.tile(np.eye(d) / ridge, (H, 1, 1))
        self._sums = np.zeros((G, H, d))
        self._features, self._arrivals = np.zeros((H, A, d, FIRST_ROOM)), np.zeros((H, d, FIRST_ROOM))
        self._bonus = np.zeros((H, A, FIRST_ROOM))
        self._has_bonus = True
        self._checked: Channels | None = None

    @property
    def gram(self) -> FloatArray:
        """Lambda (H, d, d), a copy."""
        return self._gram.copy()

    @property
    def inverse(self) -> FloatArray:
        """Inverses of Lambda (H, d, d), a copy."""
        return self._inverse.copy()

    @property
    def nbytes(self) -> int:
        """Bytes held; they grow with the states met, not with the episodes."""
        return sum(array.nbytes for array in (*self._growing(), self._gram, self._inverse, self._sums))

    def features(self, h: int) -> FloatArray:
        """phi (n, A, d) of the states known at stage h, a view."""
        return self._features[h, :, :, : self.counts[h]].transpose(2, 0, 1)

    def features_of(self, stages: IntArray, rows: IntArray) -> FloatArray:
        """phi (n, A, d) of the states in these rows (n,) of these stages (n,)."""
        return self._features[stages, :, :, rows]

    def add_state(self, h: int, phi: FloatArray) -> int:
        """Make a state of stage h known by its features (A, d), and return its row.

        Raises:
            ModelError: The features are of another shape.
        """
        require_shape("phi", phi, self._features.shape[1:3], "(A, d)")
        row = int(self.counts[h])
        if row == self._features.shape[3]:
            self._features, self._arrivals, self._bonus = (_doubled(table) for table in self._growing())
        self._features[h, :, :, row] = phi
        self.counts[h] = row + 1
        self._has_bonus = False
        return row

    def add_episode(self, transitions: Transitions) -> None:
        """Add what an episode brought: O(m d^2) for m steps."""
        kernels.add_transitions(*transitions, self._features, self._gram, self._inverse, self._sums, self._arrivals)
        self.episodes += 1
        if self.episodes % REFRESH == 0:
            inverse = np.linalg.inv(self._gram)
            self._inverse = (inverse + inverse.transpose(0, 2, 1)) / 2.0
        self._has_bonus = False

    def plan(self, channels: Channels, mix: ArrayLike | None = None, temperature: float = 0.0) -> LinearPlan:
        """The plan that these data make: O(n A d (d + J)) for n states known, all stages together.

        Bonuses are computed once for all plans between two episodes; a further plan, for another mix, saves d^2.

        Args:
            channels: How action values are estimated.
            mix: (J,) weights of the channels in what the policy follows; None: their sum.
            temperature: Of the softmax; 0: greedy, ties to the first action.

        Raises:
            ModelError: The mix is not finite or of another shape, the temperature is negative, there is no such signal.
        """
        weights_of_channels, tables = self._require(channels, mix, temperature), self.tables()
        n_channels, (H, A, room) = channels.inner.size, self._bonus.shape
        w, laws = np.empty((n_channels, *self._gram.shape[:2])), np.empty((H, room, A))
        values = np.empty((2, n_channels, room))
        kernels.backward(*channels, weights_of_channels, float(temperature), *tables, values, w, laws)
        inverse, counts = self._inverse.copy(), self.counts.copy()
        return LinearPlan(channels, weights_of_channels, float(temperature), w, inverse, counts, laws)

    def tables(self) -> Tables:
        """What a compiled pass reads, bonuses up to date."""
        self._refresh_bonus()
        return Tables(self._features, self.counts, self._bonus, self._inverse, self._sums, self._arrivals)

    def memory(self) -> dict[str, Any]:
        """Everything, as arrays and numbers."""
        n = int(self.counts.max())
        return {
            "episodes": self.episodes,
            "counts": self.counts.copy(),
            "gram": self._gram.copy(),
            "inverse": self._inverse.copy(),
            "sums": self._sums.copy(),
            "features": self._features[..., :n].copy(),
            "arrivals": self._arrivals[..., :n].copy(),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Take over what :meth:`memory` returned.

        Raises:
            ModelError: An array is of another shape or kind, or holds no finite numbers.
        """
        n = int(np.max(memory["counts"], initial=0))
        H, A, d, _ = self._features.shape
        room = max(FIRST_ROOM, 1 << (n - 1).bit_length()) if n else FIRST_ROOM
        shapes = {"gram": (H, d, d), "inverse": (H, d, d), "sums": self._sums.shape}
        shapes |= {"features": (H, A, d, n), "arrivals": (H, d, n)}
        arrays: dict[str, FloatArray] = {}
        for name, shape in shapes.items():
            arrays[name] = real_array(name, memory[name])
            require_shape(name, arrays[name], shape, "that of this problem")
        require_shape("counts", memory["counts"], (H,), "(H,)")
        if memory["counts"].dtype != np.int64 or (memory["counts"] < 0).any():
            raise ModelError("counts holds no numbers of states; the file is damaged")
        self.episodes = whole_number("episodes", memory["episodes"], 0)
        self.counts = memory["counts"].copy()
        self._gram, self._inverse, self._sums = arrays["gram"], arrays["inverse"], arrays["sums"]
        self._features, self._arrivals = np.zeros((H, A, d, room)), np.zeros((H, d, room))
        self._features[..., :n], self._arrivals[..., :n] = arrays["features"], arrays["arrivals"]
        self._bonus, self._has_bonus = np.zeros((H, A, room)), False

    def _growing(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self._features, self._arrivals, self._bonus

    def _refresh_bonus(self) -> None:
        if not self._has_bonus:
            kernels.norms(self._features, self.counts, self._inverse, self._bonus)
            self._has_bonus = True

    def _require(self, channels: Channels, mix: ArrayLike | None, temperature: float) -> FloatArray:
        """``mix`` as an array, all arguments of a plan being in order."""
        weights = np.ones(channels.inner.size) if mix is None else real_array("mix", mix)
        require_shape("mix", weights, channels.inner.shape, "(J,)")
        if not real_number("temperature", temperature) >= 0.0:
            raise ModelError(f"temperature is {temperature}; it must be at least 0 (0: greedy)")
        if channels is not self._checked:
            if channels.signal.max() >= len(self._sums):
                raise ModelError(f"a channel regresses signal {channels.signal.max()}; there are {len(self._sums)}")
            require_shape("channels.known", channels.known, (weights.size, *self._gram.shape[:2]), "(J, H, d)")
            self._checked = channels
        return weights


@final
class LinearTotals:
    """Exact expected totals of policies in a linear MDP, over the states that can be met, whatever their number S.

    w_h = theta_h + sum_{s'} mu_h(s') v_{h+1}(s'), v_h(s) = sum_a pi_h(a | s) <phi(s, a), w_h>, as in :mod:`.linear`.

    Args:
        model: The law.
        parameters: G arrays (d,) or (H, d): signal g pays <phi, parameters[g]>. None: the model's rewards.

    Attributes:
        stages: (N,) stage of each state that can be met, in order.
        states: (N,) the states.

    Raises:
        ModelError: Parameters of another shape.
    """

    def __init__(self, model: LinearMDP, parameters: Sequence[FloatArray] | None = None) -> None:
        met = [met_states(model, h) for h in range(model.horizon)]
        signals = [model.theta] if parameters is None else parameters
        names = [f"parameters[{g}]" for g in range(len(signals))]
        self.states: IntArray = frozen(np.concatenate(met))
        self.stages: IntArray = frozen(np.repeat(np.arange(model.horizon), [s.size for s in met]))
        self._features: FloatArray = np.ascontiguousarray(model.phi(self.states).transpose(1, 2, 0))
        self._ends = np.cumsum([0, *(s.size for s in met)])
        reached = [model.stage(h).mu for h in range(model.horizon - 1)]
        self._reached = np.concatenate([np.zeros((model.dim, met[0].size)), *reached], axis=1)
        self._parameters = np.array(
            [_parameters(name, p, model.horizon, model.dim) for name, p in zip(names, signals, strict=True)]
        )
        rho = model.initial_distribution()
        possible = rho.weights > 0.0
        places = np.searchsorted(met[0], rho.states[possible])
        self._rho = added_up(places, rho.weights[possible], met[0].size)

    def __call__(self, laws: FloatArray) -> FloatArray:
        """Totals (G,) of the policy with these action probabilities (N, A) in :attr:`states` at :attr:`stages`."""
        require_shape("laws", laws, (self.states.size, len(self._features)), "(N, A)")
        v, totals = np.empty((2, len(laws))), np.empty(len(self._parameters))
        kernels.expected_totals(laws, self._features, self._ends, self._reached, self._parameters, self._rho, v, totals)
        return totals


def _doubled(table: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([table, np.zeros_like(table)], axis=-1)


def _bound(name: str, bound: float | FloatArray, horizon: int) -> FloatArray:
    array = np.asarray(bound, dtype=np.float64)
    if array.shape not in ((), (horizon,)) or np.isnan(array).any():
        raise ModelError(f"{name} is {bound}; pass one number, or one a stage of shape {(horizon,)}")
    return np.broadcast_to(array, (horizon,))


def _parameters(name: str, parameters: FloatArray | None, horizon: int, dim: int) -> FloatArray:
    array = np.zeros(dim) if parameters is None else real_array(name, parameters)
    if array.shape not in ((dim,), (horizon, dim)):
        raise ModelError(f"{name} has shape {array.shape}; expected (d,) = {(dim,)} or (H, d) = {(horizon, dim)}")
    return np.broadcast_to(array, (horizon, dim))
