"""Gymnasium and PettingZoo environments over the models, and the registrations.

The classes make an environment of any model; they are loaded when first asked for, since this package is part of
``import lookahead_rl``:

    ModelEnv            gymnasium.Env of a decision process
    VectorModelEnv      gymnasium.vector.VectorEnv of a decision process or a game
    MarkovGameEnv       pettingzoo.ParallelEnv of a game
    simulator_of        the generative model of any model
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .games import MarkovGameEnv
    from .simulators import simulator_of
    from .tabular import ModelEnv
    from .vector import VectorModelEnv

__all__ = ["MarkovGameEnv", "ModelEnv", "VectorModelEnv", "simulator_of"]

_HOME = {
    "MarkovGameEnv": ".games",
    "ModelEnv": ".tabular",
    "VectorModelEnv": ".vector",
    "simulator_of": ".simulators",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for by name (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)
