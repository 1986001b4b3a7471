"""Let two agents meet in a Markov game, measure how exploitable each is, and train PPO against one of them."""

import pettingzoo

import lookahead_rl  # noqa: F401  registers the games
from lookahead_rl.agents import make_agent
from lookahead_rl.evaluation import audit, exploitability
from lookahead_rl.wrappers import VersusOpponent

game = pettingzoo.make("parallel", "lookahead_rl/RandomMarkovGame-v0", n_states=5, gamma=0.8, game_seed=1)
agents = {
    "player_0": make_agent("GamePolicyIteration-v0", game, side="player_0").learn(0),
    "player_1": make_agent("MinimaxQ-v0", game, side="player_1", decay=0.998).learn(3_000),
}

observations, _ = game.reset(seed=0)
paid = 0.0
while game.agents:
    actions = {side: agents[side].predict(observations[side])[0] for side in game.agents}
    observations, rewards, *_ = game.step(actions)
    paid += rewards["player_0"]
print(f"player_0 was paid {paid:.2f} in {game.max_cycles} moves")

result = exploitability(game, *agents.values())
print(f"playing on is worth {result.value:.4f}, equilibrium play {result.nash_value:.4f}")
print("best responses would gain player_0 {:.4f} and player_1 {:.4f}".format(*result.improvements))

# What minimax-Q leaves player_0 is a Gymnasium environment whose best policy is known.
versus = VersusOpponent(game, agents["player_1"], side="player_0")
ppo = make_agent("PPO", versus, hyperparameters={"n_steps": 128, "learning_rate": 0.02, "gamma": 0.8})
for _ in range(4):
    report = audit(ppo.learn(128), versus)
    print(f"PPO earns {report.value:.4f} against it, a best response {report.optimal_value:.4f}")
best = make_agent("BestResponse-v0", game, side="player_0", opponent=agents["player_1"]).learn(0)
print(f"the best response itself: {audit(best, versus).value:.4f}")
