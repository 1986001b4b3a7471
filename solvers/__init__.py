"""Pure numerical functions on models: every one returns its answer with a certificate."""

from .certificates import certify, certify_policy, certify_stage_policy, certify_stages
from .dynamic_programming import (
    backward_induction,
    evaluate_policy,
    policy_iteration,
    value_iteration,
)
from .games.best_responses import NashGap, best_response, fix_policy, nash_gap
from .games.certificates import certify_game
from .games.filar_tolwinski import filar_tolwinski
from .games.fitted import FittedSolution, fitted_policy_iteration
from .games.hoffman_karp import hoffman_karp
from .games.linear import (
    Design,
    LinearGameSolution,
    certify_game_weights,
    choose_design,
    linear_policy_iteration,
    solve_linear_game,
)
from .games.lookahead import Contraction, contraction, lookahead_policy_iteration, naive_policy_iteration
from .games.model_based import (
    LearningErrors,
    ModelBasedSolution,
    estimate_game,
    hoeffding_samples,
    model_based_planning,
    samples_per_triple,
)
from .games.operators import joint_action_values, shapley_operator
from .games.residual_conditioned import residual_conditioned_policy_iteration
from .games.safeguarded import solve_game
from .games.shapley import shapley_iteration
from .games.trajectories import StepSizes, TrajectorySolution, trajectory_policy_iteration
from .games.two_pair import two_pair_policy_iteration
from .large_action import evaluate_digits, planted_optimum
from .linear import LinearSolution
from .lookahead import best_of_k, compositions_needed, lookahead_log_policy, lookahead_policy
from .lookahead_iteration import LookaheadRound, LookaheadScheme, lookahead_iteration, lookahead_rounds
from .matrix_games import MatrixGameSolutions, solve_matrix_games
from .operators import bellman_operator, greedy_policy, policy_operator, q_values
from .regularised_games import RegularisedGameSolutions, regularised_matrix_games
from .solution import Certificate, GameWork, Solution, Status
from .solve import solve

__all__ = [
    "Certificate",
    "Contraction",
    "Design",
    "FittedSolution",
    "GameWork",
    "LearningErrors",
    "LinearGameSolution",
    "LinearSolution",
    "LookaheadRound",
    "LookaheadScheme",
    "MatrixGameSolutions",
    "ModelBasedSolution",
    "NashGap",
    "RegularisedGameSolutions",
    "Solution",
    "Status",
    "StepSizes",
    "TrajectorySolution",
    "backward_induction",
    "bellman_operator",
    "best_of_k",
    "best_response",
    "certify",
    "certify_game",
    "certify_game_weights",
    "certify_policy",
    "certify_stage_policy",
    "certify_stages",
    "choose_design",
    "compositions_needed",
    "contraction",
    "estimate_game",
    "evaluate_digits",
    "evaluate_policy",
    "filar_tolwinski",
    "fitted_policy_iteration",
    "fix_policy",
    "greedy_policy",
    "hoeffding_samples",
    "hoffman_karp",
    "joint_action_values",
    "linear_policy_iteration",
    "lookahead_iteration",
    "lookahead_log_policy",
    "lookahead_policy",
    "lookahead_policy_iteration",
    "lookahead_rounds",
    "model_based_planning",
    "naive_policy_iteration",
    "nash_gap",
    "planted_optimum",
    "policy_iteration",
    "policy_operator",
    "q_values",
    "regularised_matrix_games",
    "residual_conditioned_policy_iteration",
    "samples_per_triple",
    "shapley_iteration",
    "shapley_operator",
    "solve",
    "solve_game",
    "solve_linear_game",
    "solve_matrix_games",
    "trajectory_policy_iteration",
    "two_pair_policy_iteration",
    "value_iteration",
]
