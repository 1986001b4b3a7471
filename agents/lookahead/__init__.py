"""Lookahead reinforcement learning with networks, as an algorithm of stable-baselines3."""

from .algorithm import KSampleLookahead
from .policy import CnnPolicy, LookaheadPolicy, MlpPolicy, MultiInputPolicy

__all__ = ["CnnPolicy", "KSampleLookahead", "LookaheadPolicy", "MlpPolicy", "MultiInputPolicy"]
