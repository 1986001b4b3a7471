"""What an algorithm of stable-baselines3 has learnt, as arrays and plain values that a file can hold.

Networks and optimisers are named by the algorithm itself, by the hooks that stable-baselines3 gives algorithms for
saving. Hyperparameters are plain data: numbers, text, lists, dictionaries, and names of torch's activations.

Experience is kept apart (:func:`experience_memory`): the filled part of a replay buffer, and the last episodes' returns
and lengths, of which logs show the mean.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import inspect
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.save_util import recursive_getattr

from .base import KeepsExperience
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
    """Take over what :func:`algorithm_memory` of an algorithm with equal hyperparameters returned.

    Raises:
        AgentError: A tensor is missing, unknown or not finite, or has another shape or dtype; or a counter is none.
    """
    parameters: dict[str, Any] = model.get_parameters()
    for name, state in memory["networks"].items():
        require_arrays(name, state, parameters[name])
        parameters[name] = to_tensors(state)
    for name, state in memory["optimizers"].items():
        _require_optimizer_state(name, state, recursive_getattr(model, name))
        parameters[name]["state"] = {int(i): to_tensors(entries) for i, entries in state.items()}
    model.set_parameters(parameters, device=model.device)
    for name, array in memory["tensors"].items():
        if array is not None:
            tensor = recursive_getattr(model, name)
            require_arrays("the algorithm", {name: array}, {name: tensor})
            tensor.data = torch.from_numpy(array).to(model.device)
    found = vars(model)
    for name in _COUNTERS:
        if name in found:
            setattr(model, name, _checked_counter(name, memory["counters"][name], found[name]))


def experience_memory(model: BaseAlgorithm) -> dict[str, Any]:
    """What an algorithm learns from again and again, and the last episodes that its log shows.

    Raises:
        AgentError: Its replay buffer is of a kind that keeps more than arrays of transitions.
    """
    episodes = [[float(info["r"]), float(info["l"])] for info in model.ep_info_buffer or ()]
    memory: dict[str, Any] = {
        "episodes": np.array(episodes, dtype=np.float64).reshape(-1, 2),
        "successes": np.array(model.ep_success_buffer or (), dtype=np.float64),
    }
    if (buffer := _replay_buffer(model)) is not None:
        n = buffer.size()
        memory["replay"] = {
            "arrays": {name: array[:n] for name, array in _buffer_arrays(buffer).items()},
            "position": buffer.pos,
            "is_full": bool(buffer.full),
        }
    if isinstance(model, KeepsExperience):
        memory["kept"] = model.experience_memory()
    return memory


def remember_experience(model: BaseAlgorithm, memory: Mapping[str, Any]) -> None:
    """Take over what :func:`experience_memory` of an algorithm with equal hyperparameters returned.

    Raises:
        AgentError: The experience is of other sizes than this algorithm's.
    """
    window = model._stats_window_size  # pyright: ignore[reportPrivateUsage]
    episodes = cast("list[list[float]]", memory["episodes"].tolist())
    model.ep_info_buffer = deque(({"r": r, "l": int(n), "t": 0.0} for r, n in episodes), maxlen=window)
    model.ep_success_buffer = deque(cast("list[float]", memory["successes"].tolist()), maxlen=window)
    if (buffer := _replay_buffer(model)) is not None:
        _remember_buffer(buffer, memory["replay"])
    if isinstance(model, KeepsExperience):
        model.remember_experience(memory["kept"])


def _replay_buffer(model: BaseAlgorithm) -> ReplayBuffer | None:
    buffer = vars(model).get("replay_buffer")
    if buffer is not None and type(buffer) not in (ReplayBuffer, DictReplayBuffer, NStepReplayBuffer):
        raise AgentError(
            f"a {type(buffer).__name__} keeps more than arrays of transitions, which a file cannot hold; use "
            "stable-baselines3's ReplayBuffer, DictReplayBuffer or NStepReplayBuffer"
        )
    return buffer


def _buffer_arrays(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """The arrays (buffer_size, n_envs, ...) of a replay buffer; those of a dictionary as ``name/key``."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in vars(buffer).items():
        if isinstance(value, np.ndarray):
            found[name] = value
        elif isinstance(value, dict):
            parts = cast("dict[str, Any]", value).items()
            found |= {f"{name}/{key}": part for key, part in parts if isinstance(part, np.ndarray)}
    return found


def _remember_buffer(buffer: ReplayBuffer, memory: Mapping[str, Any]) -> None:
    arrays, into = memory["arrays"], _buffer_arrays(buffer)
    position, is_full = int(memory["position"]), bool(memory["is_full"])
    n = buffer.buffer_size if is_full else position
    for name in sorted(arrays.keys() | into.keys()):
        expected = _described(into[name][:n]) if name in into else "none"
        if name not in arrays or _described(arrays[name]) != expected:
            raise AgentError(
                f"{name} of the replay buffer is {_described(arrays.get(name))}; expected {expected}: load it with the "
                "hyperparameters and as many environments as it was filled with"
            )
    if not 0 <= position < buffer.buffer_size:
        raise AgentError(f"the replay buffer's position is {position}; it has {buffer.buffer_size} places")
    for name, array in arrays.items():
        into[name][:n] = array
    buffer.pos, buffer.full = position, is_full


def require_arrays(where: str, arrays: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse arrays that cannot take the place of ``tensors``, which may be on the meta device: sizes alone matter.

    Raises:
        AgentError: One is missing, unknown or not finite, or has another shape or dtype.
    """
    for name in sorted(arrays.keys() | tensors.keys()):
        array, tensor = arrays.get(name), tensors.get(name)
        if tensor is None or not _is_alike(array, tensor):
            expected = "no such tensor" if tensor is None else _described(tensor)
            raise AgentError(f"{name} of {where} is {_described(array)}; expected {expected}")
        if not np.isfinite(cast("NDArray[Any]", array)).all():
            raise AgentError(
                f"{name} of {where} is not finite: training has diverged; use an earlier file, or a smaller "
                "learning_rate"
            )


def _is_alike(array: Any, like: Any) -> bool:
    if not isinstance(like, torch.Tensor):
        return type(array) is type(like)
    return isinstance(array, np.ndarray) and _described(cast("NDArray[Any]", array)) == _described(like)


def _described(tensor: Any) -> str:
    if not isinstance(tensor, np.ndarray | torch.Tensor):
        return "missing" if tensor is None else repr(tensor)
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _require_optimizer_state(name: str, state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Optimisers write into these arrays without looking at them."""
    all_expected = _state_after_a_step(optimizer)
    for i, entries in state.items():
        expected = all_expected.get(i)
        if expected is None:
            raise AgentError(f"{name} has a state for the parameter {i!r}, which {type(optimizer).__name__} has not")
        for entry in sorted(entries.keys() | expected.keys()):
            array, like = entries.get(entry), expected.get(entry)
            is_known = entry in entries and entry in expected and _is_alike(array, like)
            numbers = np.asarray(array) if is_known else np.array(np.nan)
            is_signed = entry != "step" and "sq" not in entry
            if not (np.isfinite(numbers).all() and (is_signed or (numbers >= 0).all())):
                wanted = f"finite {_described(like)}" if entry in expected else "none"
                raise AgentError(f"{name} has no sound {entry} of parameter {i}: expected {wanted}")


def _state_after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """What the optimiser keeps of each parameter, found by a step of its copy."""
    stepped = copy.deepcopy(optimizer)
    for weight in (weight for group in stepped.param_groups for weight in group["params"]):
        weight.grad = torch.zeros_like(weight)
    stepped.step()
    return {str(i): entries for i, entries in stepped.state_dict()["state"].items()}


def _checked_counter(name: str, value: Any, like: Any) -> int | float:
    """A count below 2^63, or a finite number where ``like`` is one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (is_number and (isinstance(like, float) or (isinstance(value, int) and 0 <= value < 2**63))):
        raise AgentError(f"{name} is {value!r}; expected {'a finite number' if isinstance(like, float) else 'a count'}")
    return value


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


def activation(given: object) -> type[torch.nn.Module]:
    """The module of torch.nn of that name, or the module itself.

    Raises:
        AgentError: It is neither, or is not made without arguments.
    """
    found = vars(torch.nn).get(given) if isinstance(given, str) else given
    if isinstance(found, type) and issubclass(found, torch.nn.Module):
        parameters = inspect.signature(found).parameters.values()
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if all(one.default is not one.empty or one.kind in optional for one in parameters):
            return found
    raise AgentError(
        f"policy_kwargs['activation_fn'] is {given!r}; pass a module of torch.nn that is made without arguments, or "
        "its name, such as 'ReLU'"
    )


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
