"""What policies are worth, exactly: values, regret, exploitability."""

from .audit import Audit, audit
from .games import Exploitability, exploitability

__all__ = ["Audit", "Exploitability", "audit", "exploitability"]
