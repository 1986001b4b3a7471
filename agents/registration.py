"""Registration of every agent of this package, by name only."""

from .registry import register_agent

STABLE_BASELINES = ("PPO", "A2C", "DQN", "SAC")


def register_agents() -> None:
    """Register the agents; nothing is imported before one is made."""
    register_agent("Random-v0", "lookahead_rl.agents.baselines:RandomAgent")
    register_agent("UniformGame-v0", "lookahead_rl.agents.baselines:UniformGameAgent")
    register_agent("ValueIteration-v0", "lookahead_rl.agents.planners:ValueIterationAgent")
    register_agent("BackwardInduction-v0", "lookahead_rl.agents.planners:BackwardInductionAgent")
    register_agent("NashPlanner-v0", "lookahead_rl.agents.planners:NashPlannerAgent")
    register_agent("GamePolicyIteration-v0", "lookahead_rl.agents.games.planning:GamePolicyIterationAgent")
    register_agent("BestResponse-v0", "lookahead_rl.agents.games.planning:BestResponseAgent")
    register_agent("MinimaxQ-v0", "lookahead_rl.agents.games.minimax_q:MinimaxQAgent")
    register_agent("FictitiousPlay-v0", "lookahead_rl.agents.games.fictitious_play:FictitiousPlayAgent")
    register_agent("TensorPlan-v0", "lookahead_rl.agents.local.tensorplan_agent:TensorPlanAgent")
    register_agent("LSVI-v0", "lookahead_rl.agents.local.lsvi:LSVIAgent")
    register_agent("UCT-v0", "lookahead_rl.agents.local.uct:UCTAgent")
    register_agent("SparseSampling-v0", "lookahead_rl.agents.local.sparse_sampling:SparseSamplingAgent")
    register_agent("RolloutPlanner-v0", "lookahead_rl.agents.local.rollouts:RolloutAgent")
    register_agent("LSVIUCB-v0", "lookahead_rl.agents.exploration.linear:LSVIUCBAgent")
    register_agent("UCBVI-v0", "lookahead_rl.agents.exploration.ucbvi:UCBVIAgent")
    register_agent("SoftmaxPrimalDual-v0", "lookahead_rl.agents.constrained.primal_dual:SoftmaxPrimalDualAgent")
    register_agent(
        "HardViolationSoftmax-v0", "lookahead_rl.agents.constrained.hard_violation:HardViolationSoftmaxAgent"
    )
    register_agent(
        "SafeOptimisticPessimistic-v0",
        "lookahead_rl.agents.constrained.safe_exploration:SafeOptimisticPessimisticAgent",
    )
    for name in STABLE_BASELINES:
        register_agent(
            name,
            "lookahead_rl.agents.stable_baselines:StableBaselinesAgent",
            kwargs={"algorithm": f"stable_baselines3:{name}"},
            extra="deep",
        )
    register_agent(
        "KSampleLookahead-v0",
        "lookahead_rl.agents.stable_baselines:StableBaselinesAgent",
        kwargs={"algorithm": "lookahead_rl.agents.lookahead:KSampleLookahead"},
        extra="deep",
    )
