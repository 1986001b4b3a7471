"""Environments with known answers, and agents that act by looking ahead.

Importing this package registers its environments with Gymnasium and PettingZoo and its agents with
:mod:`lookahead_rl.agents`. Registration stores names only: torch, stable-baselines3, numba and scipy
are loaded when something that needs them is first made.
"""

from .envs.registration import register_environments

__version__ = "0.1.0"

register_environments()
