"""Generative models of our models: any state, any action, in batches.

Every environment steps through one of these, so what a planner samples and what an agent plays are the same law by
construction. State codes are s, or h*S + s where the horizon is finite; the action of a game is the pair (a, b)
coded as a*B + b. Actions of a LargeActionMDP are words of digits, or the numbers that these write.
"""

import math
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models import (
    FiniteHorizonMDP,
    LargeActionMDP,
    MarkovGame,
    ModelError,
    Outcomes,
    TabularMDP,
    Tally,
    Transitions,
)
from ..models._checks import plain_array
from ..models.linear import LinearMarkovGame, LinearMDP, Measures
from ..models.measures import FiniteSupportMeasures
from ..models.outcomes import outcomes_of
from . import sampling_kernels as kernels

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TabularModel = TabularMDP | FiniteHorizonMDP | MarkovGame
LinearModel = LinearMDP | LinearMarkovGame
Model = TabularModel | LinearModel | LargeActionMDP


MOST_CODES = np.iinfo(np.int64).max


class TabularLaw(NamedTuple):
    """The leading arguments of every kernel in :mod:`~lookahead_rl.envs.sampling_kernels`, described there."""

    indptr: IntArray
    outcomes: NDArray[np.void]
    stage_rewards: FloatArray
    n_states: int
    n_actions: int
    law_codes: int
    horizon: int
    ragged: bool


class TabularSimulator:
    """The generative model of a TabularMDP, a FiniteHorizonMDP or a MarkovGame.

    A finite horizon is not unrolled: a law that is the same at every stage is held once. Sampling from a terminal
    state, or from a code of stage H, stays there, pays nothing and is terminated.

    Args:
        model: What to sample from.
    """

    def __init__(self, model: TabularModel) -> None:
        self._law = tabular_law(model)
        self._game = model if isinstance(model, MarkovGame) else None
        self._n_codes = self._law.n_states * (self._law.horizon + 1)

    @property
    def n_states(self) -> int:
        """Number of state codes: S, or (H + 1)*S."""
        return self._n_codes

    @property
    def n_actions(self) -> int:
        """Number of actions: A, or A*B in a game."""
        return self._law.n_actions

    def sample(self, states: ArrayLike, actions: ArrayLike, rng: np.random.Generator) -> Transitions:
        """One transition for each state and action; one uniform number is drawn for each.

        Args:
            states: (n,) codes.
            actions: (n,) actions.
            rng: Where the randomness comes from.

        Raises:
            ModelError: A state or action is out of range, or no action of that state in a game; nothing is sampled.
        """
        states, actions = paired_codes(states, actions)
        moved = _empty_transitions(states.size)
        illegal = kernels.sample(
            *self._law, states, actions, rng.random(states.size),
            moved.next_states, moved.rewards, moved.terminated, moved.probabilities,
        )  # fmt: skip
        if illegal >= 0:
            refuse(illegal, states, actions, self.n_states, self.n_actions, self._game)
        return moved

    def tally(self, state: int, action: int, n: int, rng: np.random.Generator) -> Tally:
        """n transitions of one state and action, counted: a multinomial draw, whose time does not grow with n.

        Args:
            state: A code.
            action: An action.
            n: Number of transitions, at least 1 and below 2^63.
            rng: Where the randomness comes from.

        Raises:
            ModelError: The state or action is out of range, or no action of that state in a game.
        """
        states, actions = paired_codes([state], [action])
        if kernels.first_illegal(*_domain(self._law), states, actions) >= 0:
            refuse(0, states, actions, self.n_states, self.n_actions, self._game)
        row = kernels.row_of(self.n_actions, self._law.law_codes, state, action)
        listed = _empty_transitions(int(self._law.indptr[row + 1] - self._law.indptr[row]))
        k = kernels.list_outcomes(
            *self._law, state, action, listed.next_states, listed.rewards, listed.terminated, listed.probabilities
        )
        p = listed.probabilities[:k]
        counts = rng.multinomial(n, p / p.sum())  # what rounding leaves is spread over the row, as in sample
        seen = np.flatnonzero(counts)
        met = Transitions(listed.next_states[seen], listed.rewards[seen], listed.terminated[seen], p[seen])
        return Tally(met, counts[seen])

    def initial_states(self, n: int, rng: np.random.Generator) -> IntArray:
        """n independent draws from rho, as codes (n,)."""
        states = np.empty(n, np.int64)
        kernels.draw_initial(self._law.indptr, self._law.outcomes, rng.random(n), states)
        return states


class LinearSimulator:
    """The generative model of a LinearMDP or a LinearMarkovGame whose law is a mixture, at any number of states.

    With features on the simplex and probability measures, s' is drawn from mu_i, i ~ phi(s, a), at a cost that does not
    depend on the number of states.

    Args:
        model: What to sample from; ``model.is_mixture`` must hold.

    Raises:
        ModelError: The features or measures are signed, so that there are no components to draw; or there are more
            state codes than int64 numbers.
    """

    def __init__(self, model: LinearModel) -> None:
        if not model.is_mixture:
            raise ModelError("phi or mu is signed, so the law is no mixture to sample from; use model.to_tabular()")
        horizon = model.horizon if isinstance(model, LinearMDP) else 0
        if model.n_states * (horizon + 1) > MOST_CODES:
            raise ModelError(
                f"{model.n_states} states at {horizon + 1} stages have codes beyond int64; use fewer states"
            )
        mu = _finite_support(model.mu)
        families = (-1, *mu.weights.shape[-2:])
        self._phi = model.phi
        self._horizon = horizon
        self._support, self._weights = mu.states.reshape(families), mu.weights.reshape(families)
        self._theta = np.atleast_2d(model.theta)
        rho = model.initial_distribution()
        self._starts, self._rho = rho.states[rho.weights > 0], np.cumsum(rho.weights[rho.weights > 0])

    @property
    def n_states(self) -> int:
        """Number of state codes: (H + 1)*S, or S in a game."""
        return self._phi.n_states * (self._horizon + 1)

    @property
    def n_actions(self) -> int:
        """Number of actions: A, or A*B in a game."""
        return math.prod(self._phi.action_shape)

    def sample(self, states: ArrayLike, actions: ArrayLike, rng: np.random.Generator) -> Transitions:
        """One transition for each state and action; two uniform numbers are drawn for each.

        Args:
            states: (n,) codes.
            actions: (n,) actions.
            rng: Where the randomness comes from.

        Raises:
            ModelError: A state or action is out of range; nothing is sampled.
        """
        states, actions = paired_codes(states, actions)
        illegal = kernels.first_outside(self.n_states, self.n_actions, states, actions)
        if illegal >= 0:
            refuse(illegal, states, actions, self.n_states, self.n_actions)
        moved = _empty_transitions(states.size)
        kernels.sample_mixture(
            self._phi.n_states, self._horizon, self._support, self._weights, self._theta,
            states, self._phi.at(states % self._phi.n_states, actions), rng.random((states.size, 2)),
            moved.next_states, moved.rewards, moved.terminated, moved.probabilities,
        )  # fmt: skip
        return moved

    def initial_states(self, n: int, rng: np.random.Generator) -> IntArray:
        """n independent draws from rho, as codes (n,)."""
        drawn = np.searchsorted(self._rho, rng.random(n), side="right")
        return self._starts[np.minimum(drawn, self._starts.size - 1)]  # the last start takes what rounding leaves


class LargeActionSimulator:
    """The generative model of a LargeActionMDP, at a cost that does not depend on the number of actions.

    Args:
        model: What to sample from.
    """

    def __init__(self, model: LargeActionMDP) -> None:
        self._model = model
        self._starts = np.flatnonzero(model.rho)
        self._rho = np.cumsum(model.rho[self._starts])

    @property
    def n_states(self) -> int:
        """Number of state codes, (H + 1)*S."""
        return self._model.n_states * (self._model.horizon + 1)

    @property
    def n_actions(self) -> int:
        """Number of actions N, of any size."""
        return self._model.n_actions

    def sample(self, states: ArrayLike, actions: ArrayLike, rng: np.random.Generator) -> Transitions:
        """One transition for each state and action; one uniform number is drawn for each.

        Args:
            states: (n,) codes.
            actions: (n, d) digits; or (n,) indices, while int64 holds them.
            rng: Where the randomness comes from.

        Raises:
            ModelError: A state, digit or index is out of range; nothing is sampled.
        """
        model, states, digits = self._model, state_codes(states, self.n_states), self._digits(actions)
        if states.size != len(digits):
            raise ModelError(f"{states.size} states but {len(digits)} actions; pass one action for each state")
        h, s = np.divmod(states, model.n_states)
        over = h == model.horizon
        stage = np.where(over, 0, h) if over.any() else h
        rewards, aim = model.rewards(stage, s, digits), model.next_states(s, digits)
        s_next = _slipped(aim, rng.random(s.size), model.slip, model.n_states)
        probabilities = np.where(s_next == aim, 1.0 - model.slip, 0.0) + model.slip / model.n_states
        moved = Transitions(states - s + model.n_states + s_next, rewards, h >= model.horizon - 1, probabilities)
        if over.any():
            moved.next_states[over], moved.rewards[over], moved.probabilities[over] = states[over], 0.0, 1.0
        return moved

    def initial_states(self, n: int, rng: np.random.Generator) -> IntArray:
        """n independent draws from rho, as codes (n,)."""
        drawn = np.searchsorted(self._rho, rng.random(n), side="right")
        return self._starts[np.minimum(drawn, self._starts.size - 1)]  # the last start takes what rounding leaves

    def _digits(self, actions: ArrayLike) -> IntArray:
        array = plain_array("actions", actions)
        if array.ndim < 2:
            return self._model.digits_of(code_array("actions", array))
        digits = digit_array("actions", array, self._model.n_digits)
        outside = (digits < 0) | (digits >= self._model.base)
        if outside.any():
            i, j = np.unravel_index(int(np.argmax(outside)), digits.shape)
            raise ModelError(f"actions[{i}, {j}] is {digits[i, j]}; digits run from 0 to {self._model.base - 1}")
        return digits


def _slipped(aim: IntArray, uniform: FloatArray, slip: float, n_states: int) -> IntArray:
    """Where one arrives: where one aims unless the uniform number is below ``slip``; then its place there decides."""
    s_next, slips = aim.copy(), np.flatnonzero(uniform < slip)
    s_next[slips] = np.minimum(uniform[slips] / slip * n_states, n_states - 1).astype(np.int64) if slips.size else 0
    return s_next


Simulator = TabularSimulator | LinearSimulator | LargeActionSimulator


def simulator_of(model: Model) -> Simulator:
    """The generative model of any of our models; a linear one with signed features is written out as a table.

    Raises:
        ModelError: A linear model with signed features is too large for a table, or this is no model of ours.
    """
    if not isinstance(model, Model):
        raise ModelError(f"model is a {type(model).__name__}; pass one of the models of lookahead_rl.models")
    if isinstance(model, LargeActionMDP):
        return LargeActionSimulator(model)
    if not isinstance(model, LinearMDP | LinearMarkovGame):
        return TabularSimulator(model)
    return LinearSimulator(model) if model.is_mixture else TabularSimulator(model.to_tabular())


def paired_codes(states: ArrayLike, actions: ArrayLike) -> tuple[IntArray, IntArray]:
    """States and actions as int64 arrays of one length.

    Raises:
        ModelError: They are not integers, not one-dimensional, or of different lengths.
    """
    states, actions = code_array("states", states), code_array("actions", actions)
    if states.size != actions.size:
        raise ModelError(f"{states.size} states but {actions.size} actions; pass one action for each state")
    return states, actions


def code_array(name: str, values: ArrayLike) -> IntArray:
    """Integers as a writable, contiguous int64 array (n,): the one layout the kernels are compiled for."""
    array = plain_array(name, values)
    if array.ndim != 1:
        raise ModelError(f"{name} has shape {array.shape}; pass a one-dimensional array")
    if array.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {array.dtype}; pass integers")
    return array if array.dtype == np.int64 and array.flags.carray else array.astype(np.int64, order="C")


def digit_array(name: str, values: ArrayLike, n_digits: int) -> IntArray:
    """Integers as an int64 array (n, n_digits)."""
    array = plain_array(name, values)
    if array.ndim != 2 or array.shape[1] != n_digits:
        raise ModelError(f"{name} has shape {array.shape}; pass {n_digits} digits for each action")
    if array.dtype.kind not in "iu":
        raise ModelError(f"{name} has dtype {array.dtype}; pass integers")
    return array.astype(np.int64, copy=False)


def refuse(
    i: int, states: IntArray, actions: IntArray, n_states: int, n_actions: int, game: MarkovGame | None = None
) -> NoReturn:
    """Raise the ModelError that says what is wrong with states[i] or actions[i], which a game's state may lack."""
    state, action = int(states[i]), int(actions[i])
    if not 0 <= state < n_states:
        refuse_state(i, states, n_states)
    if not 0 <= action < n_actions:
        raise ModelError(f"actions[{i}] is {action}; actions run from 0 to {n_actions - 1}")
    assert game is not None  # nothing else has ragged action sets
    pair, counts = divmod(action, game.r.shape[2]), (int(game.n_actions_0[state]), int(game.n_actions_1[state]))
    player = 0 if pair[0] >= counts[0] else 1
    raise ModelError(
        f"actions[{i}] is the pair {pair}; in state {state} the action of player_{player} "
        f"must be 0 to {counts[player] - 1}"
    )


def _domain(law: TabularLaw) -> tuple[IntArray, int, int, int, int, bool]:
    """The arguments of a kernel that looks at legality alone."""
    return law.indptr, law.n_states, law.n_actions, law.law_codes, law.horizon, law.ragged


def _empty_transitions(n: int) -> Transitions:
    return Transitions(np.empty(n, np.int64), np.empty(n), np.empty(n, np.bool_), np.empty(n))


def _finite_support(mu: Measures) -> FiniteSupportMeasures:
    """Measures given by a table, as measures supported on every state."""
    if isinstance(mu, FiniteSupportMeasures):
        return mu
    return FiniteSupportMeasures(np.broadcast_to(np.arange(mu.shape[-1]), mu.shape), mu)


def state_codes(states: ArrayLike, n_states: int) -> IntArray:
    """States as codes (n,) in [0, n_states).

    Raises:
        ModelError: Naming the state at fault.
    """
    codes = code_array("states", states)
    outside = (codes < 0) | (codes >= n_states)
    if outside.any():
        refuse_state(int(np.argmax(outside)), codes, n_states)
    return codes


def refuse_state(i: int, states: IntArray, n_states: int) -> NoReturn:
    """Raise the ModelError that says what is wrong with states[i]."""
    raise ModelError(f"states[{i}] is {states[i]}; states run from 0 to {n_states - 1}")


def tabular_law(model: TabularModel) -> TabularLaw:
    """The law of a tabular model as the kernels take it."""
    if isinstance(model, FiniteHorizonMDP):
        return _finite_law(model)
    S, rows = model.n_states, model.r.size
    table = _with_initial(model.outcomes(), model.terminal, model.rho)
    ragged = isinstance(model, MarkovGame) and model.is_ragged
    return TabularLaw(*table, np.empty(0), S, rows // S, S, 0, ragged)


def _finite_law(model: FiniteHorizonMDP) -> TabularLaw:
    S, A, H = model.n_states, model.n_actions, model.horizon
    codes = H * S if model.has_staged_law else S
    rewards_vary = model.r.ndim == 3 and not model.has_staged_law
    r = np.zeros((S, A)) if rewards_vary else np.broadcast_to(model.r, (codes // S, S, A))
    table = _with_initial(outcomes_of(model.P, r, None), model.terminal, model.rho)
    return TabularLaw(*table, model.r.reshape(-1) if rewards_vary else np.empty(0), S, A, codes, H, False)


def _with_initial(outcomes: Outcomes, terminal: BoolArray, rho: FloatArray) -> tuple[IntArray, NDArray[np.void]]:
    """Row boundaries and outcome records, the initial distribution being the last row."""
    starts = np.flatnonzero(rho)
    indptr = np.append(outcomes.indptr, outcomes.indptr[-1] + starts.size)
    records = np.empty(indptr[-1], dtype=kernels.OUTCOME)
    records["probability"] = np.concatenate([outcomes.probabilities, rho[starts]])
    records["reward"] = np.concatenate([outcomes.rewards, np.zeros(starts.size)])
    records["next_state"] = np.concatenate([outcomes.next_states, starts])
    records["terminated"] = terminal[records["next_state"]]
    kernels.fill_aliases(indptr, records)
    return indptr, records
