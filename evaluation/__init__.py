"""What policies are worth, exactly: values, regret, exploitability."""

from .audit import AnyAudit, Audit, audit
from .constrained import ConstrainedAudit
from .cross_play import CrossPlay, cross_play, play_episodes
from .games import Exploitability, exploitability
from .large_action import ExactAudit, LargeActionAudit, SimulatedAudit, simulated_audit

__all__ = [
    "AnyAudit",
    "Audit",
    "ConstrainedAudit",
    "CrossPlay",
    "ExactAudit",
    "Exploitability",
    "LargeActionAudit",
    "SimulatedAudit",
    "audit",
    "cross_play",
    "exploitability",
    "play_episodes",
    "simulated_audit",
]
