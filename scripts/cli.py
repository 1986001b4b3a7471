"""The ``lookahead-rl`` command.

Each command is a frozen dataclass of its arguments with a ``run`` method, in a file of its own, loaded when it is
named: what one command needs delays no other. What a user can mend (an unknown id, a broken model file, a missing
extra) ends the command with one line and exit status 2; an interrupt, with 130.
"""

import difflib
import importlib
import sys
from importlib import metadata
from types import MappingProxyType
from typing import Protocol

import tyro

from ..agents import AgentError
from ..models import ModelError
from .arguments import import_from_here

PROGRAM = "lookahead-rl"


class Command(Protocol):
    """What a command is: arguments that can be run."""

    def run(self) -> None:
        """Do it."""
        ...


COMMANDS = MappingProxyType(
    {
        "compare": "Compare",
        "demo": "Demo",
        "plan": "Plan",
        "report": "Report",
        "reproduce": "Reproduce",
        "selfplay": "SelfPlay",
        "solve": "Solve",
        "sweep": "Sweep",
        "train": "Train",
    }
)
"""The class of each command, in the module of the command's name."""


def command_class(name: str) -> type[Command]:
    """The class of a command, loaded now."""
    return getattr(importlib.import_module(f".{name}", __package__), COMMANDS[name])


def main(args: list[str] | None = None) -> None:
    """Parse ``args`` (the process's own by default) and run the command they name."""
    arguments = sys.argv[1:] if args is None else args
    if arguments == ["--version"]:
        print(f"{PROGRAM} {metadata.version('lookahead-rl')}")
        return
    import_from_here()
    try:
        _parsed(arguments).run()
    except (AgentError, ModelError, ImportError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def _parsed(arguments: list[str]) -> Command:
    """The command that the arguments name, with its own.

    Raises:
        ModelError: There is no such command; the message has the nearest ones.
    """
    name = arguments[0] if arguments else ""
    if name in COMMANDS:
        return tyro.cli(command_class(name), prog=f"{PROGRAM} {name}", args=arguments[1:])
    if name and not name.startswith("-"):
        near = difflib.get_close_matches(name.lower(), COMMANDS, n=3, cutoff=0.5) or COMMANDS
        raise ModelError(f"there is no command {name}; near it: {', '.join(near)} ({PROGRAM} --help has all)")
    return tyro.extras.subcommand_cli_from_dict(
        {name: command_class(name) for name in COMMANDS},
        prog=PROGRAM,
        description="Environments with known answers, and agents that act by looking ahead. --version tells which.",
        args=arguments,
    )
