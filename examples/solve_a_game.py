"""Solve Van der Wal's game, on which naive policy iteration cycles, and measure how exploitable play is."""

import pettingzoo

import lookahead_rl  # noqa: F401  registers the games
from lookahead_rl.evaluation import exploitability

game = pettingzoo.make("parallel", "lookahead_rl/VanDerWal-v0")
solution = game.unwrapped.solution()
print(f"Nash value {solution.value.round(6)}, certified to {solution.certificate.gap:.1e}")
print(f"the Nash pair can be exploited by {exploitability(game, *solution.policy).gap:.1e}")
print(f"uniform play can be exploited by {exploitability(game, None, None).gap:.4f}")
