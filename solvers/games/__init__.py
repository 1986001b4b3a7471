"""Planners of two-player zero-sum Markov games, and what they share.

operators, sweeps       T, T_mu, T^nu; T and T_{mu,nu} compiled, warm-started and counted
certificates            bounds recomputed from an answer
planning                when planners stop and what they return
shapley, hoffman_karp, lookahead, filar_tolwinski, residual_conditioned, two_pair, safeguarded
planners of games written out; the last is solve_game
linear                  planning in the space of weights of linear games
fitted, trajectories    values that are linear in features: by least squares, from trajectories
model_based             planning in a model estimated from samples
best_responses          what a policy leaves to the opponent; the Nash gap
"""
