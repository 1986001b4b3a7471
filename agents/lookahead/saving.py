"""Spaces and hyperparameters as plain data: what, beside tensors, makes an algorithm anew.

Spaces are rebuilt from their own arguments, so that a file says what observations and actions are without code that
would make them.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import inspect
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from ..base import Space
from ..errors import AgentError
from ..torch_memory import is_plain

# Arguments that belong to where an algorithm runs, not to what it is.
_ELSEWHERE = ("self", "policy", "env", "device", "tensorboard_log", "_init_setup_model")


def space_to_plain(space: Space) -> dict[str, Any]:
    """The kind of a space and the arguments that make it.

    Raises:
        AgentError: It is none that stable-baselines3's features extractors take.
    """
    if isinstance(space, spaces.Box):
        return {"kind": "Box", "low": space.low, "high": space.high, "dtype": np.dtype(cast("Any", space.dtype)).name}
    if isinstance(space, spaces.Discrete):
        dtype = np.dtype(cast("Any", space.dtype)).name
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": dtype}
    if isinstance(space, spaces.MultiDiscrete):
        dtype = np.dtype(cast("Any", space.dtype)).name
        return {"kind": "MultiDiscrete", "nvec": space.nvec, "start": space.start, "dtype": dtype}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n}
    if isinstance(space, spaces.Dict):
        parts = cast("Mapping[str, Space]", space.spaces)
        return {"kind": "Dict", "spaces": {key: space_to_plain(part) for key, part in parts.items()}}
    raise AgentError(f"{space} cannot be written; Box, Discrete, MultiDiscrete, MultiBinary and Dict can")


def space_from_plain(plain: Mapping[str, Any]) -> Space:
    """The space that :func:`space_to_plain` described."""
    match plain["kind"]:
        case "Box":
            return spaces.Box(plain["low"], plain["high"], dtype=cast("Any", np.dtype(plain["dtype"]).type))
        case "Discrete":
            return spaces.Discrete(plain["n"], start=plain["start"], dtype=np.dtype(plain["dtype"]).type)
        case "MultiDiscrete":
            return spaces.MultiDiscrete(
                plain["nvec"], dtype=cast("Any", np.dtype(plain["dtype"]).type), start=plain["start"]
            )
        case "MultiBinary":
            return spaces.MultiBinary(plain["n"])
        case "Dict":
            return spaces.Dict({key: space_from_plain(part) for key, part in plain["spaces"].items()})
        case kind:
            raise AgentError(f"there is no space of the kind {kind!r}")


def hyperparameter_names(algorithm: type[BaseAlgorithm]) -> list[str]:
    """The arguments that say what an algorithm is: those that a file may hold."""
    return [name for name in inspect.signature(algorithm.__init__).parameters if name not in _ELSEWHERE]


def hyperparameters(model: BaseAlgorithm) -> tuple[dict[str, Any], list[str]]:
    """Arguments of ``model`` by name: those that are plain data, and the names of those that are not.

    A class of activations is plain by its name in torch.nn.
    """
    held = {"stats_window_size": "_stats_window_size"}
    plain: dict[str, Any] = {}
    others: list[str] = []
    for name in hyperparameter_names(type(model)):
        value = vars(model)[held.get(name, name)]
        value = _with_named_activation(value) if name == "policy_kwargs" else value
        if is_plain(value):
            plain[name] = value
        else:
            others.append(name)
    return plain, others


def _with_named_activation(policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    named = dict(policy_kwargs)
    chosen = named.get("activation_fn")
    if isinstance(chosen, type) and vars(torch.nn).get(chosen.__name__) is chosen:
        named["activation_fn"] = chosen.__name__
    return named
