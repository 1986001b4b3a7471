"""Agents that play one side of a zero-sum Markov game: planners, learners from play, best responses."""
