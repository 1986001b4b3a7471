"""The ``lookahead-rl`` command.

Each command is a frozen dataclass of its arguments with a ``run`` method, in a file of its own. What a user can
mend (an unknown id, a broken model file, a missing extra) ends the command with one line and exit status 2.
"""

import sys
from importlib import metadata
from typing import Protocol

import tyro

from ..agents import AgentError
from ..models import ModelError
from .demo import Demo
from .plan import Plan


class Command(Protocol):
    """What a command is: arguments that can be run."""

    def run(self) -> None:
        """Do it."""
        ...


COMMANDS = {"demo": Demo, "plan": Plan}


def main(args: list[str] | None = None) -> None:
    """Parse ``args`` (the process's own by default) and run the command they name."""
    arguments = sys.argv[1:] if args is None else args
    if arguments == ["--version"]:
        print(f"lookahead-rl {metadata.version('lookahead-rl')}")
        return
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="lookahead-rl",
        description="Environments with known answers, and agents that act by looking ahead.",
        args=arguments,
    )
    try:
        command.run()
    except (AgentError, ModelError, ImportError, OSError) as error:
        print(f"lookahead-rl: {error}", file=sys.stderr)
        raise SystemExit(2) from None
