"""What policies are worth, exactly: values, regret, exploitability."""

from .audit import AnyAudit, Audit, audit
from .constrained import ConstrainedAudit
from .games import Exploitability, exploitability
from .large_action import ExactAudit, LargeActionAudit, SimulatedAudit, simulated_audit

__all__ = [
    "AnyAudit",
    "Audit",
    "ConstrainedAudit",
    "ExactAudit",
    "Exploitability",
    "LargeActionAudit",
    "SimulatedAudit",
    "audit",
    "exploitability",
    "simulated_audit",
]
