"""What a decision problem is: frozen, validated, read-only arrays, and where they come from."""

from ._checks import ModelError
from .bidding_games import (
    GoofspielRules,
    GoofspielState,
    OshiZumoRules,
    OshiZumoState,
    goofspiel_game,
    oshi_zumo_game,
)
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
from .constrained import ConstrainedLinearMDP, ConstrainedMDP, ConstrainedProblem
from .features import FeatureMap, HashedSimplexFeatures, TableFeatures
from .files import load_model, same_model, save_model
from .finite import FiniteHorizonMDP
from .game import MarkovGame
from .generators import garnet_game, garnet_mdp, random_constrained_linear_mdp, random_linear_game, random_linear_mdp
from .gymnasium_tables import GymnasiumTable, from_gymnasium, table_of
from .large_action import LargeActionMDP, large_action_mdp
from .linear import LinearLaw, LinearMarkovGame, LinearMDP
from .measures import FiniteSupportMeasures
from .openspiel import from_openspiel, openspiel_table
from .outcomes import Outcomes
from .planted import Planted, needle_mdp, planted_game, planted_mdp, realizable_mdp
from .prism import from_prism
from .pursuit import pursuit_game
from .rules import GameRules, GameTable, tabulate
from .simulator import GenerativeModel, Tally, TallyingModel, Transitions, tally_transitions
from .soccer import OPENSPIEL_GRID, SoccerRules, SoccerState, soccer_game
from .tabular import TabularMDP

__all__ = [
    "OPENSPIEL_GRID",
    "ConstrainedLinearMDP",
    "ConstrainedMDP",
    "ConstrainedProblem",
    "FeatureMap",
    "FiniteHorizonMDP",
    "FiniteSupportMeasures",
    "GameRules",
    "GameTable",
    "GenerativeModel",
    "GoofspielRules",
    "GoofspielState",
    "GymnasiumTable",
    "HashedSimplexFeatures",
    "LargeActionMDP",
    "LinearLaw",
    "LinearMDP",
    "LinearMarkovGame",
    "MarkovGame",
    "ModelError",
    "OshiZumoRules",
    "OshiZumoState",
    "Outcomes",
    "Planted",
    "SoccerRules",
    "SoccerState",
    "TableFeatures",
    "TabularMDP",
    "Tally",
    "TallyingModel",
    "Transitions",
    "big_match",
    "car_rental",
    "chain",
    "deep_lookahead_cycle",
    "deep_sea",
    "filar_tolwinski_failure",
    "from_gymnasium",
    "from_openspiel",
    "from_prism",
    "gamblers_problem",
    "garnet_game",
    "garnet_mdp",
    "goofspiel_game",
    "gridworld",
    "hard_linear_mdp",
    "large_action_mdp",
    "load_model",
    "matching_pennies",
    "matrix_game",
    "needle_mdp",
    "openspiel_table",
    "oshi_zumo_game",
    "planted_game",
    "planted_mdp",
    "pursuit_game",
    "random_constrained_linear_mdp",
    "random_linear_game",
    "random_linear_mdp",
    "realizable_mdp",
    "river_swim",
    "rock_paper_scissors",
    "same_model",
    "save_model",
    "small_gridworld",
    "soccer_game",
    "table_of",
    "tabulate",
    "tally_transitions",
    "taxicab",
    "toymaker",
    "turn_based_cycle",
    "two_state_mdp",
    "van_der_wal",
]
