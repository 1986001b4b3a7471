"""Exploration by optimism in finite-horizon problems, with the exact worth of each episode's policy on record."""
