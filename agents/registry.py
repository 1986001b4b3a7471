"""Agents by name.

    make_agent("PPO", env, seed=0).learn(100_000)
    register_agent("MyAgent-v0", "my_package.agents:MyAgent")

Names are registered with *string* entry points, loaded when an agent is first made, so that listing agents
imports none of their libraries. An installed package registers its agents without being imported, by entry
points of the group ``lookahead_rl.agents`` in its pyproject.toml:

    [project.entry-points."lookahead_rl.agents"]
    "MyAgent-v0" = "my_package.agents:MyAgent"
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from .base import Agent
from .errors import AgentError
from .storage import read_archive

GROUP = "lookahead_rl.agents"
THIS_PACKAGE = "lookahead-rl"

# What each optional extra of this package must make importable.
EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType({"deep": ("torch", "stable_baselines3")})

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ENTRY_POINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class AgentSpec:
    """A registered agent.

    Attributes:
        id: The name it is made by.
        entry_point: ``"package.module:Class"`` of an :class:`Agent`.
        kwargs: Arguments its constructor gets unless ``make_agent`` is given others.
        extra: Optional extra of this package that it needs, or None.
        source: The distribution that registered it.
    """

    id: str
    entry_point: str
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extra: str | None = None
    source: str = THIS_PACKAGE


_specs: dict[str, AgentSpec] = {}
_plugins_listed: list[bool] = []


def register_agent(
    id: str,  # noqa: A002 - Gymnasium's word for it
    entry_point: str,
    *,
    kwargs: Mapping[str, Any] | None = None,
    extra: str | None = None,
) -> None:
    """Register an agent by name; nothing is imported.

    Args:
        id: Letters, digits, ``.``, ``_`` and ``-``, such as ``"MyAgent-v0"``.
        entry_point: ``"package.module:Class"``, a subclass of :class:`Agent`.
        kwargs: Default arguments of its constructor.
        extra: Optional extra of this package that it needs.

    Raises:
        AgentError: The name is taken by something else, or one of the arguments is malformed.
    """
    _add(AgentSpec(id, entry_point, MappingProxyType(dict(kwargs or {})), extra))


def agent_ids() -> tuple[str, ...]:
    """Names of all registered agents, those of installed plugins included, sorted."""
    _list_plugins()
    return tuple(sorted(_specs))


def agent_spec(id: str) -> AgentSpec:  # noqa: A002 - as in register_agent
    """What is registered under a name.

    Args:
        id: The name; ``"module:name"`` imports the module first, as Gymnasium does for environments.

    Raises:
        AgentError: Nothing is; the message lists the nearest names.
        ImportError: The module cannot be imported.
    """
    _list_plugins()
    module, sign, name = str(id).rpartition(":")
    if sign:
        _import(module, f"the module of the agent {id}")
    if name in _specs:
        return _specs[name]
    by_lower_case = {name.lower(): name for name in _specs}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(by_lower_case[one] for one in near)}? " if near else ""
    raise AgentError(
        f"no agent is registered as {name!r}; {hint}registered are: {', '.join(sorted(_specs))}. One of your own is "
        "named with the module that registers it, my_module:MyAgent-v0"
    )


def agent_class(id: str) -> type[Agent]:  # noqa: A002 - as in register_agent
    """The class that is registered under a name, imported now.

    Raises:
        AgentError: Nothing is registered under it, or something that is no :class:`Agent`.
        ImportError: It needs an extra that is not installed, or its module cannot be imported.
    """
    return _load(agent_spec(id))


# The arguments of an agent's constructor are its own; like gymnasium.make, this function passes them on.
def make_agent(id: str, env: Any, *, seed: int = 0, **kwargs: Any) -> Agent:  # noqa: A002 - as in register_agent
    """Make a registered agent for an environment.

    Args:
        id: Registered name, see :func:`agent_ids`.
        env: The environment it will learn and act in.
        seed: Seed of all the agent's own randomness.
        **kwargs: Arguments of the agent's constructor.

    Raises:
        AgentError: The name is unknown (the nearest are listed), an argument is, or the agent cannot handle
            the environment.
        ImportError: The agent needs an extra that is not installed, or its module cannot be imported.
    """
    spec = agent_spec(id)
    registered = _load(spec)
    known = [name for name in inspect.signature(registered).parameters if name not in ("env", "seed", *spec.kwargs)]
    unknown = sorted(kwargs.keys() - set(known) - spec.kwargs.keys())
    if unknown:
        raise AgentError(f"{id} takes no argument {', '.join(unknown)}; it takes: {', '.join(known) or 'none'}")
    return registered(env, **{"seed": seed, **spec.kwargs, **kwargs})


def load_agent(path: str | Path, env: Any) -> Agent:
    """Read an agent of any registered kind from a file, to act and learn in ``env``.

    Raises:
        AgentError: The file is damaged, or its kind of agent is not registered.
        FileNotFoundError: There is no such file.
    """
    entry_point = read_archive(Path(path)).get("agent")
    _list_plugins()
    # Only what is registered is imported: a file cannot name code to run.
    for spec in _specs.values():
        if spec.entry_point == entry_point:
            return _load(spec).load(path, env)
    raise AgentError(f"{path} holds an agent of {entry_point!r}, which is not registered; register it first")


def _add(spec: AgentSpec) -> None:
    if not _ID.fullmatch(spec.id):
        raise AgentError(f"id {spec.id!r} is malformed; use letters, digits, '.', '_' and '-', such as 'MyAgent-v0'")
    if not _ENTRY_POINT.fullmatch(spec.entry_point):
        raise AgentError(f"entry point {spec.entry_point!r} of {spec.id} is not of the form 'package.module:Class'")
    if spec.extra is not None and spec.extra not in EXTRAS:
        raise AgentError(f"extra {spec.extra!r} of {spec.id} is unknown; known are: {', '.join(EXTRAS)}")
    taken = _specs.get(spec.id, spec)
    if taken != spec:
        raise AgentError(f"{spec.id} is already registered by {taken.source} as {taken.entry_point}; choose another id")
    _specs[spec.id] = spec


def _list_plugins() -> None:
    """Add the agents of installed packages, once; a faulty entry is reported by name and left out."""
    if _plugins_listed:
        return
    _plugins_listed.append(True)
    for entry in importlib.metadata.entry_points(group=GROUP):
        source = entry.dist.name if entry.dist is not None else "an unknown package"
        try:
            _add(AgentSpec(entry.name, entry.value, source=source))
        except AgentError as error:
            warnings.warn(f"the agent {entry.name!r} of the package {source} is left out: {error}", stacklevel=3)


def _load(spec: AgentSpec) -> type[Agent]:
    """The class behind a spec, imported now."""
    missing = [name for name in EXTRAS.get(spec.extra or "", ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'{spec.id} needs {" and ".join(missing)}: pip install "{THIS_PACKAGE}[{spec.extra}]"')
    module_name, class_name = spec.entry_point.split(":")
    module = _import(module_name, f"{spec.id} of the package {spec.source}")
    found = vars(module).get(class_name)
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise AgentError(f"{spec.entry_point} of the package {spec.source} is not a subclass of Agent")
    return found


def _import(module: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    # A plugin may fail in any way; whatever it is, its name belongs in the message.
    except Exception as error:
        raise ImportError(f"{what} cannot be imported: {error!r}") from error
