"""The error of agents and their files."""


class AgentError(ValueError):
    """An agent cannot do what is asked, or cannot be made, written or read; the message says why and what to do."""
