"""What an algorithm of stable-baselines3 has learnt, as arrays and plain values that a file can hold.

Networks and optimisers are named by the algorithm itself, by the hooks that stable-baselines3 gives algorithms for
saving. Hyperparameters are plain data: numbers, text, lists, dictionaries, and names of torch's activations.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr

from .errors import AgentError

# What of an algorithm's progress is neither tensor nor hyperparameter.
_COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_n_calls",
    "exploration_rate",
    "_current_progress_remaining",
)


def algorithm_memory(model: BaseAlgorithm) -> dict[str, Any]:
    """Tensors of networks and optimisers, further tensors, and counters."""
    parameters = model.get_parameters()
    networks = {name: state for name, state in parameters.items() if not name.endswith("optimizer")}
    optimizers = {name: state["state"] for name, state in parameters.items() if name.endswith("optimizer")}
    # The names of further tensors, such as SAC's entropy coefficient; algorithms override it to extend saving.
    _, tensors = model._get_torch_save_params()  # pyright: ignore[reportPrivateUsage]
    found = vars(model)
    return {
        "networks": {name: to_arrays(state) for name, state in networks.items()},
        "optimizers": {name: to_arrays(state) for name, state in optimizers.items()},
        "tensors": {name: to_arrays(recursive_getattr(model, name)) for name in tensors},
        "counters": {name: found[name] for name in _COUNTERS if name in found},
    }


def remember_algorithm(model: BaseAlgorithm, memory: Mapping[str, Any]) -> None:
    """Take over what :func:`algorithm_memory` of an algorithm with equal hyperparameters returned."""
    parameters: dict[str, Any] = model.get_parameters()
    for name, state in memory["networks"].items():
        parameters[name] = to_tensors(state)
    for name, state in memory["optimizers"].items():
        weights = [weight for group in recursive_getattr(model, name).param_groups for weight in group["params"]]
        _require_optimizer_state(name, state, weights)
        parameters[name]["state"] = {int(i): to_tensors(entries) for i, entries in state.items()}
    model.set_parameters(parameters, device=model.device)
    for name, array in memory["tensors"].items():
        if array is not None:
            recursive_getattr(model, name).data = torch.from_numpy(array).to(model.device)
    found = vars(model)
    for name in _COUNTERS:
        if name in found:
            setattr(model, name, memory["counters"][name])


def _require_optimizer_state(name: str, state: Mapping[str, Any], weights: list[torch.Tensor]) -> None:
    """Optimisers write into these arrays without looking at their sizes."""
    for i, entries in state.items():
        if not (i.isdecimal() and int(i) < len(weights)):
            raise AgentError(f"{name} has a state for the parameter {i!r}, of which there are {len(weights)}")
        for entry, array in entries.items():
            shape = () if entry == "step" else tuple(weights[int(i)].shape)
            is_sound = isinstance(array, np.ndarray) and array.dtype.kind == "f" and bool(np.isfinite(array).all())
            if not (is_sound and array.shape == shape and (not entry.endswith("sq") or bool((array >= 0).all()))):
                raise AgentError(f"{name} has no sound {entry} of parameter {i}: expected finite floats, shape {shape}")


def require_plain(where: str, value: object) -> None:
    """Refuse what a file could not hold, before hours of training rather than after."""
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            require_plain(f"{where}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(cast("list[object]", value)):
            require_plain(f"{where}[{i}]", item)
    elif not is_plain(value):
        raise AgentError(
            f"{where} is {value!r}; use plain numbers, text, lists and dictionaries, such as 'ReLU' for "
            "torch.nn.ReLU and 'lin_3e-4' for a rate that falls linearly to 0"
        )


def is_plain(value: object) -> bool:
    """Whether a file can hold ``value``: numbers, text, None, and lists and dictionaries of these."""
    if isinstance(value, Mapping):
        return all(is_plain(item) for item in cast("Mapping[object, object]", value).values())
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in cast("list[object]", value))
    return value is None or isinstance(value, bool | int | float | str)


def activation(name: object) -> type[torch.nn.Module]:
    """The module of torch.nn of that name."""
    found = vars(torch.nn).get(str(name))
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        raise AgentError(f"policy_kwargs['activation_fn'] is {name!r}; name a module of torch.nn, such as 'ReLU'")
    return found


def to_arrays(value: Any) -> Any:
    """Tensors in nested dictionaries as arrays; keys as text."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, Mapping):
        return {str(key): to_arrays(item) for key, item in cast("Mapping[object, Any]", value).items()}
    return value


def to_tensors(value: Any) -> Any:
    """Arrays in nested dictionaries as tensors."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(cast("NDArray[Any]", value))
    if isinstance(value, Mapping):
        return {key: to_tensors(item) for key, item in cast("Mapping[str, Any]", value).items()}
    return value
