"""What the commands' arguments share: environments by their id and ``key=value`` pairs."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from ..experiments.environments import make_single_env
from ..models import ModelError

Value = int | float | bool | str | list[Any] | dict[str, Any] | None

_WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None}
_INTEGER = re.compile(r"[+-]?\d+")
_REAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=e))(e[+-]?\d+)?", re.IGNORECASE)


def parse_pairs(name: str, pairs: Sequence[str]) -> dict[str, Value]:
    """``["horizon=100", "stochastic=true"]`` as ``{"horizon": 100, "stochastic": True}``.

    Args:
        name: The option that holds the pairs, for the messages.
        pairs: Each ``key=value``; values are integers, reals, true, false, none, lists and dictionaries in JSON, and
            else text.

    Raises:
        ModelError: A pair has no key or no ``=``, a key comes twice, or what begins like JSON is none.
    """
    values: dict[str, Value] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not (sign and key.isidentifier()):
            raise ModelError(f"{name} holds {pair!r}; write key=value, such as horizon=100")
        if key in values:
            raise ModelError(f"{name} gives {key} twice; give it once")
        values[key] = _value(name, text)
    return values


def parse_addressed(name: str, pairs: Sequence[str]) -> dict[str, dict[str, Value]]:
    """``["gamma=0.9", "PPO:n_steps=64"]`` as ``{"": {"gamma": 0.9}, "PPO": {"n_steps": 64}}``.

    Args:
        name: The option that holds the pairs, for the messages.
        pairs: Each ``key=value``, for everyone that takes it, or ``ID:key=value``; ids may hold colons themselves.

    Raises:
        ModelError: As :func:`parse_pairs`.
    """
    by_id: dict[str, list[str]] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        owner, _, own_key = key.rpartition(":")
        by_id.setdefault(owner, []).append(f"{own_key}{sign}{value}")
    return {owner: parse_pairs(name, own) for owner, own in by_id.items()}


def _value(name: str, text: str) -> Value:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ModelError(f"{name} holds {text!r}, which is no JSON: {error}") from error
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _REAL.fullmatch(text) else text


def make_env(env_id: str, pairs: Sequence[str]) -> gym.Env[Any, Any]:
    """The Gymnasium environment of this id, with the arguments of ``--env-kwargs``.

    Raises:
        ModelError: There is no such environment (the nearest ids are named), or it does not take these arguments.
    """
    return make_single_env(env_id, parse_pairs("--env-kwargs", pairs))


def import_from_here() -> None:
    """Let modules of the working folder be imported, as ``python -m`` does: agents and environments of one's own."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
