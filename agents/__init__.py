"""Agents: one contract, one registry, made by name."""

from .base import Agent, Callback, DiscreteAgent
from .errors import AgentError
from .registration import register_agents
from .registry import AgentSpec, agent_class, agent_ids, agent_spec, load_agent, make_agent, register_agent
from .stepping import SteppingAgent

__all__ = [
    "Agent",
    "AgentError",
    "AgentSpec",
    "Callback",
    "DiscreteAgent",
    "SteppingAgent",
    "agent_class",
    "agent_ids",
    "agent_spec",
    "load_agent",
    "make_agent",
    "register_agent",
]

register_agents()
