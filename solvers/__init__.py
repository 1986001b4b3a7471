"""Pure numerical functions on models: every one returns its answer with a certificate."""

from .certificates import certify, certify_policy, certify_stage_policy, certify_stages
from .constrained import (
    ConstrainedSolution,
    ConstrainedValue,
    EpisodeMixture,
    InfeasibleError,
    SafestPolicy,
    certify_constrained,
    constrained_optimum,
    evaluate_constrained,
    lagrangian_optimum,
    safest_policy,
)
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
from .games.regularised import RegularisedGameSolution, certify_regularised_game, regularised_shapley_iteration
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
from .regularised import (
    DualSoftmaxValues,
    GapBounds,
    PerturbationBounds,
    Regularisation,
    perturbation_bounds,
    regularised_greedy,
    regularised_log_greedy,
    softmax_gap_bounds,
    softmax_log_policy,
    softmax_policy,
    temperature_for_gap,
)
from .regularised_certificates import certify_regularised, certify_regularised_stages
from .regularised_games import RegularisedGameSolutions, regularised_matrix_games
from .regularised_iteration import (
    RegularisedSolution,
    RegularisedSweep,
    regularised_error_bound,
    regularised_rate,
    regularised_sweeps,
    regularised_value_iteration,
    soft_backward_induction,
)
from .solution import Certificate, GameWork, Solution, Status
from .solve import solve
from .stages import StagedPolicy

__all__ = [
    "Certificate",
    "ConstrainedSolution",
    "ConstrainedValue",
    "Contraction",
    "Design",
    "DualSoftmaxValues",
    "EpisodeMixture",
    "FittedSolution",
    "GameWork",
    "GapBounds",
    "InfeasibleError",
    "LearningErrors",
    "LinearGameSolution",
    "LinearSolution",
    "LookaheadRound",
    "LookaheadScheme",
    "MatrixGameSolutions",
    "ModelBasedSolution",
    "NashGap",
    "PerturbationBounds",
    "Regularisation",
    "RegularisedGameSolution",
    "RegularisedGameSolutions",
    "RegularisedSolution",
    "RegularisedSweep",
    "SafestPolicy",
    "Solution",
    "StagedPolicy",
    "Status",
    "StepSizes",
    "TrajectorySolution",
    "backward_induction",
    "bellman_operator",
    "best_of_k",
    "best_response",
    "certify",
    "certify_constrained",
    "certify_game",
    "certify_game_weights",
    "certify_policy",
    "certify_regularised",
    "certify_regularised_game",
    "certify_regularised_stages",
    "certify_stage_policy",
    "certify_stages",
    "choose_design",
    "compositions_needed",
    "constrained_optimum",
    "contraction",
    "estimate_game",
    "evaluate_constrained",
    "evaluate_digits",
    "evaluate_policy",
    "filar_tolwinski",
    "fitted_policy_iteration",
    "fix_policy",
    "greedy_policy",
    "hoeffding_samples",
    "hoffman_karp",
    "joint_action_values",
    "lagrangian_optimum",
    "linear_policy_iteration",
    "lookahead_iteration",
    "lookahead_log_policy",
    "lookahead_policy",
    "lookahead_policy_iteration",
    "lookahead_rounds",
    "model_based_planning",
    "naive_policy_iteration",
    "nash_gap",
    "perturbation_bounds",
    "planted_optimum",
    "policy_iteration",
    "policy_operator",
    "q_values",
    "regularised_error_bound",
    "regularised_greedy",
    "regularised_log_greedy",
    "regularised_matrix_games",
    "regularised_rate",
    "regularised_shapley_iteration",
    "regularised_sweeps",
    "regularised_value_iteration",
    "residual_conditioned_policy_iteration",
    "safest_policy",
    "samples_per_triple",
    "shapley_iteration",
    "shapley_operator",
    "soft_backward_induction",
    "softmax_gap_bounds",
    "softmax_log_policy",
    "softmax_policy",
    "solve",
    "solve_game",
    "solve_linear_game",
    "solve_matrix_games",
    "temperature_for_gap",
    "trajectory_policy_iteration",
    "two_pair_policy_iteration",
    "value_iteration",
]
