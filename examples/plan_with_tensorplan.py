"""Find one sequence of actions among 4^30 in a few hundred queries: plan, check the proof, act, value the policy.

TensorPlan (Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, COLT 2021) is told that the optimal value is
linear in the features it sees, and nothing else. States reach it as opaque handles, one query at a time.
"""

import gymnasium as gym

import lookahead_rl  # noqa: F401  registers the environments
from lookahead_rl.agents import make_agent
from lookahead_rl.evaluation import audit
from lookahead_rl.solvers.hypotheses.verification import verify

env = gym.make("NeedleMDP-v0", n_actions=4, horizon=30, dim=20, mdp_seed=3)
agent = make_agent("TensorPlan-v0", env, budget=600).learn(0)
print(f"planned with {agent.planning_queries} of {agent.budget} queries, answered by {agent.oracle}")

# What the best hypothesis promises, and a proof that none promises more. The checker shares no code with the solver.
report = agent.plan.report
certificate = report.certificate
print(report.status)
print(f"promised {certificate.lower:.6f}; nodes of the proof that nothing promises more: {len(certificate.nodes)}")
proved = verify(report.program, certificate)  # raises InvalidCertificate where the proof is wrong
print(f"proved, rounding included: between {proved.lower:.6f} and {proved.upper:.6f}")

observation, _ = env.reset(seed=0)
paid, over = 0.0, False
while not over:
    action, _ = agent.predict(observation)
    observation, reward, terminated, truncated, _ = env.step(action)
    paid, over = paid + reward, terminated or truncated
print(f"the episode paid {paid:g}; acting took {agent.execution_queries} more queries")

result = audit(agent, env, reachable=True)
print(f"exact value {result.value:.6f}, optimum {result.optimal_value:.6f}; it meets {result.states.size} states")
