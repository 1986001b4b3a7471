"""What the constructors of environments take, for whoever asks: arguments of their own and those of the model."""

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any


def joined_signature(constructor: Callable[..., Any], build: Callable[..., Any]) -> Signature:
    """The signature of a constructor that passes the arguments it does not name on to ``build``.

    All of them are by name: ``inspect.signature`` and help show what is passed on instead of ``**model_arguments``.
    """
    own = [one for one in signature(constructor).parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    passed = signature(build).parameters.values()
    return Signature([one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*own, *passed)])
