"""Registration of every environment, by name only.

Gymnasium and PettingZoo keep the strings and import what they name when an environment is made. Registering again,
as a reloaded module or the ``lookahead_rl:`` prefix does, changes nothing.
"""

from dataclasses import dataclass
from typing import Final

import gymnasium

from .game_registration import register_games


@dataclass(frozen=True)
class Registration:
    """How one Gymnasium environment is registered.

    Attributes:
        id: Its id.
        entry_point: Its name in :mod:`lookahead_rl.envs.gymnasium_envs`; the vector environment's has "Vector" behind.
        max_episode_steps: Steps to truncation; None where a horizon ends the episodes.
        reward_threshold: The optimal expected return of the default instance, where episodes end by themselves.
    """

    id: str
    entry_point: str
    max_episode_steps: int | None = None
    reward_threshold: float | None = None


GYMNASIUM: Final = (
    Registration("RandomMDP-v0", "RandomMDP", max_episode_steps=100),
    Registration("RiverSwim-v0", "RiverSwim", max_episode_steps=100),
    Registration("TabularMDP-v0", "TabularModel", max_episode_steps=1000),
    Registration("LinearMDP-v0", "LinearModel", reward_threshold=5.3103425124508306),
    Registration("ConstrainedLinearMDP-v0", "ConstrainedLinearModel", reward_threshold=3.402394582289083),
    Registration("HardLinearMDP-v0", "HardLinearMDP", reward_threshold=2.0947796433863872),
    Registration("RealizableMDP-v0", "RealizableMDP", reward_threshold=4.795428302569551),
    Registration("NeedleMDP-v0", "NeedleMDP", reward_threshold=1.0),
    Registration("DeepSea-v0", "DeepSea", reward_threshold=0.99),
    Registration("LargeActionMDP-v0", "LargeActionModel", reward_threshold=20.51945176296246),
)


def register_environments() -> None:
    """Register the environments with Gymnasium and PettingZoo."""
    for registration in GYMNASIUM:
        _register_gymnasium(registration)
    register_games()


def _register_gymnasium(registration: Registration) -> None:
    entry_point = f"lookahead_rl.envs.gymnasium_envs:{registration.entry_point}"
    known = gymnasium.registry.get(registration.id)
    if known is not None and known.entry_point == entry_point:
        return
    gymnasium.register(
        id=registration.id,
        entry_point=entry_point,
        vector_entry_point=f"{entry_point}Vector",
        max_episode_steps=registration.max_episode_steps,
        reward_threshold=registration.reward_threshold,
    )
