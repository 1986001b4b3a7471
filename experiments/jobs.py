"""What one run of an agent on an environment depends on, as plain data.

A :class:`Job` is named by the hash of all of it, so that a result found under that name is the result of exactly this
job: whoever has the table need not run it again, and equal jobs are one job. An opponent that is a file counts by its
content.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

from ..models import ModelError
from ..models._checks import discount, flag, whole_number

KEY_DIGITS = 32


@dataclass(frozen=True)
class Job:
    """One agent on one environment from one seed.

    Attributes:
        agent: Its registered id.
        env_id: Registered id of the environment, of Gymnasium's registry or PettingZoo's.
        total_timesteps: Environment steps to learn from; 0 for agents that plan.
        seed: Seed of the agent and of the environment's episodes.
        env_kwargs: Arguments of the environment, such as ``{"mdp_seed": 3}``: the instance.
        agent_kwargs: Arguments of the agent, such as ``{"hyperparameters": {"n_steps": 512}}``.
        n_envs: Environments that step side by side; more than one only for agents of stable-baselines3.
        checkpoints: How often the policy is measured after the beginning, at equal numbers of steps.
        gamma: Discount for environments whose table carries none (Gymnasium's own); None for those that do.
        side: Which side of a game the agent plays.
        opponent: Who plays the other side of a game: the id of an agent, or the file of one. None: agents of games
            learn the game itself, and others meet uniform play.
        deterministic: Measure the most likely actions of a policy instead of its law.

    Raises:
        ModelError: A value has the wrong type or lies out of its range, or is not plain data.
    """

    agent: str
    env_id: str
    total_timesteps: int
    seed: int = 0
    env_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    agent_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    n_envs: int = 1
    checkpoints: int = 10
    gamma: float | None = None
    side: str = "player_0"
    opponent: str | None = None
    deterministic: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("agent", "env_id", "side"):
            _require_text(name, getattr(self, name))
        if self.opponent is not None:
            _require_text("opponent", self.opponent)
        flag("deterministic", self.deterministic)
        if self.gamma is not None and (self.gamma != 1.0 or isinstance(self.gamma, bool)):
            discount(self.gamma)
        # Kept as copies in plain types: a job says the same for ever, whatever its maker does to what it was made of.
        plain: dict[str, Any] = {"gamma": None if self.gamma is None else float(self.gamma)}
        for name, least in (("total_timesteps", 0), ("seed", 0), ("n_envs", 1), ("checkpoints", 1)):
            plain[name] = whole_number(name, getattr(self, name), least)
        for name in ("env_kwargs", "agent_kwargs"):
            plain[name] = _plain_arguments(name, getattr(self, name))
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> Self:
        """The job of a mapping, such as one line of a file.

        Raises:
            ModelError: It has a key that jobs have not, lacks one they need, or a value is unfit.
        """
        known = [one.name for one in fields(cls)]
        unknown = [str(name) for name in configuration if name not in known]
        if unknown:
            raise ModelError(f"a job has no {', '.join(unknown)}; it has: {', '.join(known)}")
        missing = [name for name in ("agent", "env_id", "total_timesteps") if name not in configuration]
        if missing:
            raise ModelError(f"a job needs {', '.join(missing)}")
        return cls(**configuration)

    @cached_property
    def key(self) -> str:
        """Name of the job: 128 bits of the SHA-256 of its configuration and its opponent's file, in hexadecimal."""
        return hashlib.sha256(f"{self.text}{self.opponent_digest or ''}".encode()).hexdigest()[:KEY_DIGITS]

    @cached_property
    def opponent_digest(self) -> str | None:
        """SHA-256 of the opponent's file, when it is first asked for; None where the opponent is no file."""
        if self.opponent is None or not Path(self.opponent).is_file():
            return None
        return hashlib.sha256(Path(self.opponent).read_bytes()).hexdigest()

    @cached_property
    def text(self) -> str:
        """The whole configuration as canonical JSON."""
        whole = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _require_text(name: str, value: object) -> None:
    if not (isinstance(value, str) and value):
        raise ModelError(f"{name} is {value!r}; pass text")


def _plain_arguments(name: str, arguments: object) -> dict[str, Any]:
    """A copy in dictionaries and lists, what JSON would change or cannot hold being refused."""
    if not isinstance(arguments, Mapping):
        raise ModelError(f"{name} is {arguments!r}; pass a mapping, such as {{'mdp_seed': 3}}")
    given = cast("Mapping[object, object]", arguments)
    for key in given:
        if not isinstance(key, str):
            raise ModelError(f"{name} has the key {key!r}; keys are text")
    return {str(key): _plain(f"{name}[{key!r}]", value) for key, value in given.items()}


def _plain(where: str, value: object) -> Any:
    if isinstance(value, Mapping):
        return _plain_arguments(where, cast("object", value))
    if isinstance(value, list | tuple):
        return [_plain(f"{where}[{i}]", item) for i, item in enumerate(cast("list[object]", value))]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ModelError(f"{where} is {value!r}; use finite numbers, text, lists and mappings")
