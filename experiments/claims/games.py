"""Claims about planning and learning in zero-sum Markov games: Winnicki and Srikant, arXiv 2303.09716.

The paper: A New Policy Iteration Algorithm For Reinforcement Learning In Zero-Sum Markov Games. Formulas are restored
from its proofs where its text has lost them. The claims stand in the order of the paper.
"""

from . import games_convergence, games_counterexamples, games_features, games_learning

CLAIMS = (
    *games_counterexamples.CLAIMS,
    *games_convergence.CLAIMS,
    *games_features.CLAIMS,
    *games_learning.CLAIMS,
)
