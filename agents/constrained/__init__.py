"""Learning within a budget: constrained linear MDPs, with regret and violation of each episode on record."""
