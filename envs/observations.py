"""What an agent sees of a state: its code, or a feature vector.

``"state"`` shows the code, an int64: s, or h*S + s where the horizon is finite. Where a model was made from a
Gymnasium table some states are twins of another one (see :func:`lookahead_rl.models.from_gymnasium`); an agent
sees the original's code.

``"features"`` shows a float32 vector:

    model.features[s]             where the model has features of states (of states at stages)
    (phi(s, .), e_h)              in a linear MDP: the features of all actions, and the stage as an indicator
    (e_s, h / H)                  in a large-action MDP: an indicator of the state, and the share of stages gone by
    e_s, or (e_s, e_h)            otherwise: indicators of the state (and the stage)

The stage indicator has H + 1 entries: the last one says that the episode is over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..models import FiniteHorizonMDP, LargeActionMDP, ModelError, TabularMDP
from ..models.features import FeatureMap, TableFeatures
from ..models.linear import LinearMDP

ObservationKind = Literal["state", "features"]
DecisionProcess = TabularMDP | FiniteHorizonMDP | LinearMDP
"""Those whose actions can be listed."""

Playable = DecisionProcess | LargeActionMDP
"""What an environment is made of."""

MOST_INDICATORS = 10_000
"""States beyond which indicator vectors are refused: 40 kB an observation."""


@dataclass(frozen=True, eq=False)
class Observer:
    """Shows states to an agent.

    Attributes:
        space: Space of one observation.
        observe: Observations of a batch of codes (n,): int64 (n,), or float32 (n, d); always a fresh array.
    """

    space: spaces.Space[Any]
    observe: Callable[[NDArray[np.int64]], NDArray[Any]]

    def each(self, codes: NDArray[np.int64]) -> list[Any]:
        """The observations of codes one by one: np.int64 numbers, or float32 vectors that own their data."""
        shown = self.observe(codes)
        return list(shown) if shown.ndim == 1 else [vector.copy() for vector in shown]


def observer_of(model: Playable, kind: str) -> Observer:
    """The observer of a model.

    Args:
        model: Whose states are shown.
        kind: ``"state"`` or ``"features"``.

    Raises:
        ModelError: Another kind, indicators of more than :data:`MOST_INDICATORS` states, or no decision process.
    """
    require_playable(model)
    if kind == "state":
        return _codes(model)
    if kind != "features":
        raise ModelError(f'observation is {kind!r}; pass "state" or "features"')
    if isinstance(model, LargeActionMDP):
        return _state_and_time(model)
    if isinstance(model, LinearMDP):
        return _linear_features(model)
    return _indicators(model) if model.features is None else _feature_table(model.features)


def require_playable(model: object) -> None:
    """Raise unless this is a decision process."""
    if not isinstance(model, Playable):
        raise ModelError(
            f"model is a {type(model).__name__}; pass a TabularMDP, FiniteHorizonMDP, LinearMDP or LargeActionMDP "
            "(games are PettingZoo environments)"
        )


# What an observer shows is a function of a module with its first arguments given, so that environments can be pickled.


def _rows(table: NDArray[Any], codes: NDArray[np.int64]) -> NDArray[Any]:
    return table[codes]


def indicators(width: int, codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Indicator vectors (n, width) of codes (n,)."""
    shown = np.zeros((codes.size, width), dtype=np.float32)
    shown[np.arange(codes.size), codes] = 1.0
    return shown


def _codes(model: Playable) -> Observer:
    if isinstance(model, TabularMDP):
        return Observer(spaces.Discrete(model.n_observations), partial(_rows, model.observations))
    return Observer(spaces.Discrete((model.horizon + 1) * model.n_states), np.copy)


def _feature_table(features: NDArray[np.float64]) -> Observer:
    table = features.reshape(-1, features.shape[-1]).astype(np.float32)
    return Observer(spaces.Box(table.min(axis=0), table.max(axis=0), dtype=np.float32), partial(_rows, table))


def _linear_features(model: LinearMDP) -> Observer:
    low, high = _range_of(model.phi)
    size = model.n_actions * model.dim
    stages = np.eye(model.horizon + 1, dtype=np.float32)
    least = np.append(np.full(size, low, np.float32), np.zeros_like(stages[0]))
    most = np.append(np.full(size, high, np.float32), np.ones_like(stages[0]))
    return Observer(spaces.Box(least, most, dtype=np.float32), partial(_phi_and_stage, model.phi, stages))


def _phi_and_stage(phi: FeatureMap, stages: NDArray[np.float32], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    h, s = np.divmod(codes, phi.n_states)
    features = phi(s).reshape(codes.size, int(np.prod(phi.action_shape)) * phi.dim)
    return np.concatenate([features.astype(np.float32), stages[h]], axis=1)


def _range_of(phi: FeatureMap) -> tuple[float, float]:
    """Smallest and largest feature; of a map that is no table only that it lies on the simplex is known."""
    if isinstance(phi, TableFeatures):
        return float(phi.table.min()), float(phi.table.max())
    return (0.0, 1.0) if phi.on_simplex else (-np.inf, np.inf)


def _state_and_time(model: LargeActionMDP) -> Observer:
    _require_few(model.n_states)
    space = spaces.Box(0.0, 1.0, (model.n_states + 1,), np.float32)
    return Observer(space, partial(_indicators_and_time, model.n_states, model.horizon))


def _indicators_and_time(n_states: int, horizon: int, codes: NDArray[np.int64]) -> NDArray[np.float32]:
    h, s = np.divmod(codes, n_states)
    shown = indicators(n_states + 1, s)
    shown[:, -1] = h / horizon
    return shown


def _indicators(model: TabularMDP | FiniteHorizonMDP) -> Observer:
    _require_few(model.n_observations if isinstance(model, TabularMDP) else model.n_states)
    return _state_indicators(model) if isinstance(model, TabularMDP) else _staged_indicators(model)


def _require_few(seen: int) -> None:
    if seen > MOST_INDICATORS:
        raise ModelError(
            f'observation="features" of a model without features would show indicator vectors of length {seen}; give '
            f'the model features, or use observation="state" (indicators go up to {MOST_INDICATORS} states)'
        )


def _state_indicators(model: TabularMDP) -> Observer:
    seen = model.n_observations
    return Observer(spaces.Box(0.0, 1.0, (seen,), np.float32), partial(_shown_indicators, seen, model.observations))


def _shown_indicators(width: int, observations: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    return indicators(width, observations[codes])


def _staged_indicators(model: FiniteHorizonMDP) -> Observer:
    S, stages = model.n_states, model.horizon + 1
    return Observer(spaces.Box(0.0, 1.0, (S + stages,), np.float32), partial(_indicator_pairs, S, stages))


def _indicator_pairs(n_states: int, n_stages: int, codes: NDArray[np.int64]) -> NDArray[np.float32]:
    h, s = np.divmod(codes, n_states)
    return np.concatenate([indicators(n_states, s), indicators(n_stages, h)], axis=1)
