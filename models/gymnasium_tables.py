"""Gymnasium's transition tables as models, there and back without loss.

Gymnasium's toy texts hold ``P[s][a] -> [(probability, s', reward, terminated), ...]`` and
``initial_state_distrib`` (Brockman et al., OpenAI Gym, 2016; Towers et al., Gymnasium, 2024). In such a table
termination belongs to transitions; in a :class:`TabularMDP` it belongs to states. The model therefore has

* the table's states 0, ..., S - 1 under their own numbers. One of them is terminal where the table treats
  it so: it is only ever entered with ``terminated``, and its own outcomes all stay put, pay 0 and terminate
  (FrozenLake's holes and goal);
* for every other state that some transition enters with ``terminated``, a terminal *twin* behind them, in
  which such transitions end (the four destinations of Taxi, the goal of CliffWalking). A twin shows its
  original's number: ``model.observations[twin]`` is the state Gymnasium would show.

Outcomes are stored in the table's order, those of probability zero included, so that :func:`table_of`
recovers each row exactly.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ._checks import (
    PROBABILITY_TOLERANCE,
    BoolArray,
    FloatArray,
    IntArray,
    ModelError,
    first,
    real_array,
    require_distributions,
    require_positive,
)
from .tabular import TabularMDP

TableRow = Sequence[tuple[float, int, float, bool]]
Table = Mapping[int, Mapping[int, TableRow]]


@dataclass(frozen=True, eq=False)
class GymnasiumTable:
    """A transition table as Gymnasium's toy texts hold it.

    Attributes:
        P: ``P[s][a]`` lists the outcomes (probability, s', reward, terminated).
        initial_state_distrib: Distribution (S,) of the first state.
    """

    P: Table
    initial_state_distrib: FloatArray


def from_gymnasium(env: object, gamma: float = 0.99) -> TabularMDP:
    """The model of an environment that holds its transition table, as a sparse :class:`TabularMDP`.

    Wrappers are looked through: time limits and the like are not part of the model.

    Args:
        env: FrozenLake-v1, Taxi-v4, CliffWalking-v1, or anything else (a :class:`GymnasiumTable` too) with
            the attributes ``P`` and ``initial_state_distrib``.
        gamma: Discount in [0, 1]; the table has none.

    Raises:
        ModelError: The table is missing, is not what the environment follows (Taxi with a fickle
            passenger), or has an outcome ``P[s][a][i]`` that is not one.
    """
    source = getattr(env, "unwrapped", env)
    table = _attribute(source, "P")
    rho = real_array("initial_state_distrib", cast("ArrayLike", _attribute(source, "initial_state_distrib")))
    if getattr(source, "fickle_passenger", False):
        raise ModelError(
            f"{type(source).__name__} has fickle_passenger=True: its passenger changes the destination outside the "
            "table P, which is then not the law of the environment; import it with fickle_passenger=False"
        )
    outcomes, n_states, n_actions = _outcomes(table)
    require_positive("P", n_states, "states")
    require_positive("P", n_actions, "actions")
    if rho.shape != (n_states,):
        raise ModelError(f"initial_state_distrib has shape {rho.shape}; P has {n_states} states")
    require_distributions("initial_state_distrib", rho)
    return _model(outcomes, n_states, n_actions, rho, gamma)


def table_of(model: TabularMDP) -> GymnasiumTable:
    """The model's transition table; the inverse of :func:`from_gymnasium`.

    Outcomes keep the order in which the model stores them, and one terminates exactly if its state is
    terminal. Terminal states that show an earlier state (twins) are folded back into it.

    Raises:
        ModelError: States share an observation that are not a state and its terminal twins.
    """
    n_states, A = _require_foldable(model), model.n_actions
    probabilities, next_states, rewards, counts = _stored_outcomes(model)
    shown, ends = model.observations[next_states], model.terminal[next_states]
    events = list(zip(probabilities.tolist(), shown.tolist(), rewards.tolist(), ends.tolist(), strict=True))
    stops = np.cumsum(counts).tolist()
    rows = [events[stop - count : stop] for stop, count in zip(stops, counts.tolist(), strict=True)]
    P = {s: {a: rows[s * A + a] for a in range(A)} for s in range(n_states)}
    return GymnasiumTable(P, model.rho[:n_states])


class _Outcome(NamedTuple):
    row: int
    probability: float
    next_state: int
    reward: float
    terminated: bool


def _attribute(source: object, name: str) -> object:
    value = getattr(source, name, None)
    if value is None:
        raise ModelError(
            f"{type(source).__name__} has no attribute {name}, so its law cannot be read; environments with a table "
            "(FrozenLake-v1, Taxi-v4, CliffWalking-v1) can be imported, and TabularMDP(P, r, gamma, rho) takes arrays"
        )
    return value


def _outcomes(table: object) -> tuple[list[_Outcome], int, int]:
    """All outcomes in the order of states, actions and the lists; the numbers of states and of actions."""
    states = [_entries(actions, f"P[{s}]") for s, actions in enumerate(_entries(table, "P"))]
    n_actions = len(states[0]) if states else 0
    outcomes: list[_Outcome] = []
    for s, actions in enumerate(states):
        if len(actions) != n_actions:
            raise ModelError(f"P[{s}] has {len(actions)} actions but P[0] has {n_actions}; every state needs the same")
        for a, events in enumerate(actions):
            name = f"P[{s}][{a}]"
            row = [
                _Outcome(s * n_actions + a, *_checked(event, len(states), f"{name}[{i}]"))
                for i, event in enumerate(_entries(events, name))
            ]
            total = sum(outcome.probability for outcome in row)
            if abs(total - 1.0) > PROBABILITY_TOLERANCE:
                raise ModelError(f"{name} sums to {total:.12g}, not 1; normalise that row or fix the entry at fault")
            outcomes += row
    return outcomes, len(states), n_actions


def _entries(table: object, name: str) -> list[Any]:
    """The values of a mapping with the keys 0, ..., n - 1, or of a sequence."""
    if isinstance(table, Mapping):
        values = cast("Mapping[int, Any]", table)
        for key in range(len(values)):
            if key not in values:
                raise ModelError(f"{name}[{key}] is missing; {name} needs the keys 0, ..., {len(values) - 1}")
        return [values[key] for key in range(len(values))]
    if isinstance(table, list | tuple):
        return list(cast("Sequence[Any]", table))
    raise ModelError(f"{name} is a {type(table).__name__}; expected P[s][a] -> [(probability, s', reward, terminated)]")


def _checked(event: object, n_states: int, name: str) -> tuple[float, int, float, bool]:
    if not isinstance(event, list | tuple) or len(cast("Sequence[Any]", event)) != 4:
        raise ModelError(f"{name} is {event!r}; expected (probability, s', reward, terminated)")
    probability, next_state, reward, terminated = cast("Sequence[Any]", event)
    if not _is_number(probability) or not 0 <= probability <= 1 + PROBABILITY_TOLERANCE:
        raise ModelError(f"{name} has probability {probability!r}; it must lie in [0, 1]")
    if not _is_integer(next_state) or not 0 <= next_state < n_states:
        raise ModelError(f"{name} leads to {next_state!r}; states run from 0 to {n_states - 1}")
    if not _is_number(reward) or not abs(reward) <= sys.float_info.max:
        raise ModelError(f"{name} has reward {reward!r}; it must be a finite number")
    if not isinstance(terminated, bool | np.bool_):
        raise ModelError(f"{name} has terminated {terminated!r}; it must be True or False")
    return float(probability), int(next_state), float(reward), bool(cast("bool", terminated))


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or isinstance(value, float | np.floating)


def _model(outcomes: Sequence[_Outcome], n_states: int, n_actions: int, rho: FloatArray, gamma: float) -> TabularMDP:
    row = np.array([o.row for o in outcomes], dtype=np.int64)
    target = np.array([o.next_state for o in outcomes], dtype=np.int64)
    terminal = _terminal_states(outcomes, n_states, n_actions)
    ends = np.array([o.terminated for o in outcomes], dtype=np.bool_) & ~terminal[target]
    originals = np.unique(target[ends])
    target[ends] = n_states + np.searchsorted(originals, target[ends])
    # Each action has one outcome in a twin: to stay.
    stay = np.ones(originals.size * n_actions)
    twins = n_states + np.repeat(np.arange(originals.size), n_actions)
    counts = np.concatenate([np.bincount(row, minlength=n_states * n_actions), stay.astype(np.int64)])
    P = sp.csr_array(
        (
            np.concatenate([[o.probability for o in outcomes], stay]),
            np.concatenate([target, twins]),
            np.concatenate([[0], np.cumsum(counts)]),
        ),
        shape=(counts.size, n_states + originals.size),
    )
    return TabularMDP(
        P,
        np.concatenate([[o.reward for o in outcomes], np.zeros_like(stay)]),
        gamma,
        np.concatenate([rho, np.zeros(originals.size)]),
        np.concatenate([terminal, np.ones(originals.size, dtype=np.bool_)]),
        observations=np.concatenate([np.arange(n_states), originals]),
    )


def _terminal_states(outcomes: Sequence[_Outcome], n_states: int, n_actions: int) -> BoolArray:
    """Mask (S,) of the states that the table itself treats as terminal."""
    terminal = np.ones(n_states, dtype=np.bool_)
    for o in outcomes:
        state = o.row // n_actions
        if o.probability > 0 and (o.next_state != state or o.reward != 0):
            terminal[state] = False
        if not o.terminated:
            terminal[o.next_state] = False
    return terminal


def _require_foldable(model: TabularMDP) -> int:
    """The number of states of the table: those before the twins."""
    n_states = model.n_observations
    hidden = model.observations[:n_states] != np.arange(n_states)
    if hidden.any():
        (s,) = first(hidden)
        raise ModelError(
            f"state {s} shows observation {model.observations[s]}; states before the twins show themselves"
        )
    lives = ~model.terminal[n_states:] | (model.rho[n_states:] > 0)
    if lives.any():
        s = n_states + first(lives)[0]
        raise ModelError(
            f"state {s} shows observation {model.observations[s]} but is live or initial; a table can fold only "
            "terminal twins, so give that state an observation of its own"
        )
    return n_states


def _stored_outcomes(model: TabularMDP) -> tuple[FloatArray, IntArray, FloatArray, IntArray]:
    """Probabilities, next states, rewards and counts a row, in stored order; a dense model's zeros are left out."""
    if isinstance(model.P, np.ndarray):
        outcomes = model.outcomes()
        return outcomes.probabilities, outcomes.next_states, outcomes.rewards, np.diff(outcomes.indptr)
    counts = np.diff(model.P.indptr).astype(np.int64)
    rewards = np.repeat(model.r.reshape(-1), counts) if model.outcome_rewards is None else model.outcome_rewards
    return cast("FloatArray", model.P.data), model.P.indices.astype(np.int64), rewards, counts
