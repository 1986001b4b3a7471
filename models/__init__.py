"""What a decision problem is: frozen, validated, read-only arrays, and where they come from."""

from ._checks import ModelError
from .classic import (
    big_match,
    car_rental,
    chain,
    deep_lookahead_cycle,
    deep_sea,
    filar_tolwinski_failure,
    gamblers_problem,
    gridworld,
    hard_linear_mdp,
    matching_pennies,
    matrix_game,
    river_swim,
    rock_paper_scissors,
    small_gridworld,
    taxicab,
    toymaker,
    turn_based_cycle,
    two_state_mdp,
    van_der_wal,
)
from .features import FeatureMap, HashedSimplexFeatures, TableFeatures
from .files import load_model, same_model, save_model
from .finite import FiniteHorizonMDP
from .game import MarkovGame
from .generators import garnet_game, garnet_mdp, random_linear_game, random_linear_mdp
from .gymnasium_tables import GymnasiumTable, from_gymnasium, table_of
from .linear import LinearLaw, LinearMarkovGame, LinearMDP
from .measures import FiniteSupportMeasures
from .outcomes import Outcomes
from .planted import Planted, needle_mdp, planted_game, planted_mdp, realizable_mdp
from .simulator import GenerativeModel, Transitions
from .tabular import TabularMDP

__all__ = [
    "FeatureMap",
    "FiniteHorizonMDP",
    "FiniteSupportMeasures",
    "GenerativeModel",
    "GymnasiumTable",
    "HashedSimplexFeatures",
    "LinearLaw",
    "LinearMDP",
    "LinearMarkovGame",
    "MarkovGame",
    "ModelError",
    "Outcomes",
    "Planted",
    "TableFeatures",
    "TabularMDP",
    "Transitions",
    "big_match",
    "car_rental",
    "chain",
    "deep_lookahead_cycle",
    "deep_sea",
    "filar_tolwinski_failure",
    "from_gymnasium",
    "gamblers_problem",
    "garnet_game",
    "garnet_mdp",
    "gridworld",
    "hard_linear_mdp",
    "load_model",
    "matching_pennies",
    "matrix_game",
    "needle_mdp",
    "planted_game",
    "planted_mdp",
    "random_linear_game",
    "random_linear_mdp",
    "realizable_mdp",
    "river_swim",
    "rock_paper_scissors",
    "same_model",
    "save_model",
    "small_gridworld",
    "table_of",
    "taxicab",
    "toymaker",
    "turn_based_cycle",
    "two_state_mdp",
    "van_der_wal",
]
