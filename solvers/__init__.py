"""Pure numerical functions on models: every one returns its answer with a certificate."""

from .best_responses import NashGap, best_response, fix_policy, nash_gap
from .certificates import certify, certify_policy, certify_stage_policy, certify_stages
from .dynamic_programming import (
    backward_induction,
    evaluate_policy,
    policy_iteration,
    value_iteration,
)
from .game_certificates import certify_game
from .game_operators import joint_action_values, shapley_operator
from .linear import LinearGameSolution, LinearSolution
from .matrix_games import MatrixGameSolutions, solve_matrix_games
from .operators import bellman_operator, greedy_policy, policy_operator, q_values
from .shapley import shapley_iteration
from .solution import Certificate, Solution, Status
from .solve import solve

__all__ = [
    "Certificate",
    "LinearGameSolution",
    "LinearSolution",
    "MatrixGameSolutions",
    "NashGap",
    "Solution",
    "Status",
    "backward_induction",
    "bellman_operator",
    "best_response",
    "certify",
    "certify_game",
    "certify_policy",
    "certify_stage_policy",
    "certify_stages",
    "evaluate_policy",
    "fix_policy",
    "greedy_policy",
    "joint_action_values",
    "nash_gap",
    "policy_iteration",
    "policy_operator",
    "q_values",
    "shapley_iteration",
    "shapley_operator",
    "solve",
    "solve_matrix_games",
    "value_iteration",
]
