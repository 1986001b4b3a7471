"""The Gymnasium environments, by id.

Each function here builds a model from plain, JSON-able arguments; its docstring is the environment's page. Behind it
stand the two entry points that Gymnasium calls, for ``gymnasium.make`` and for ``gymnasium.make_vec``. All
environments also take

    observation     "state" (the default: the state's code) or "features" (a float32 vector), see
                    :mod:`~lookahead_rl.envs.observations`
    render_mode     None, "ansi" or "rgb_array"

and the vector environments ``max_episode_steps`` and ``autoreset_mode``, see :mod:`~lookahead_rl.envs.vector`.
``mdp_seed`` chooses the instance; ``reset(seed=)`` chooses the episodes. ``reset(options={"state": s})`` begins in
the state of code s. ``info["prob"]`` is the probability of the transition's outcome; where steps have costs,
``info["cost"]`` is what this one costs.

``env.unwrapped`` has ``model``, ``simulator``, ``solution()`` and ``observe(states)``, see
:class:`~lookahead_rl.envs.model_backed.ModelBacked`.
"""

from collections.abc import Callable
from typing import Any, ClassVar, final

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from ..models import (
    ConstrainedLinearMDP,
    ConstrainedProblem,
    FiniteHorizonMDP,
    LargeActionMDP,
    LinearMDP,
    ModelError,
    TabularMDP,
    deep_sea,
    from_gymnasium,
    garnet_mdp,
    hard_linear_mdp,
    large_action_mdp,
    load_model,
    needle_mdp,
    random_constrained_linear_mdp,
    random_linear_mdp,
    realizable_mdp,
    river_swim,
)
from ..models._checks import whole_number
from ..models.large_action import ActionKind
from .observations import DecisionProcess, Playable
from .signatures import joined_signature
from .tabular import ModelEnv
from .vector import VectorModelEnv

ModelBuilder = Callable[..., Playable | ConstrainedProblem]


@final
class EntryPoint:
    """What ``gymnasium.make`` calls: builds the model and an environment on it.

    Args:
        build: The model from its arguments.
    """

    metadata: ClassVar[dict[str, Any]] = ModelEnv.metadata  # gymnasium.make reads the render modes here

    def __init__(self, build: ModelBuilder) -> None:
        self._build = build
        self.__doc__, self.__signature__ = build.__doc__, joined_signature(self.__call__, build)

    def __call__(
        self,
        *,
        observation: str = "state",
        render_mode: str | None = None,
        **model_arguments: Any,  # those of ``build``, which refuses others by name
    ) -> ModelEnv:
        """The environment of the model with these arguments."""
        return ModelEnv(self._build(**model_arguments), observation, render_mode)


@final
class VectorEntryPoint:
    """What ``gymnasium.make_vec`` calls: builds the model and a vector environment on it.

    Args:
        build: The model from its arguments.
    """

    def __init__(self, build: ModelBuilder) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    def __call__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        observation: str = "state",
        render_mode: str | None = None,
        **model_arguments: Any,  # those of ``build``, which refuses others by name
    ) -> VectorModelEnv:
        """The vector environment of the model with these arguments."""
        model = self._build(**model_arguments)
        return VectorModelEnv(model, num_envs, max_episode_steps, autoreset_mode, observation, render_mode)


def _instance(mdp_seed: int) -> int:
    """The seed of an instance, refused under its own name."""
    return whole_number("mdp_seed", mdp_seed, 0)


def random_mdp(
    n_states: int = 20, n_actions: int = 4, branching: int = 3, gamma: float = 0.95, mdp_seed: int = 0
) -> TabularMDP:
    """RandomMDP-v0: a Garnet.

    ## Description
    A random discounted decision process: each state and action leads to ``branching`` states drawn without replacement,
    with probabilities cut out of [0, 1] by uniform numbers, and pays a reward drawn from U[0, 1] once and for all
    (Archibald, McKinnon, Thomas, On the Generation of Markov Decision Processes, JORS 46, 1995).

    ## Action Space
    ``Discrete(n_actions)``.

    ## Observation Space
    ``Discrete(n_states)``, or indicator vectors of length n_states.

    ## Rewards
    r(s, a) in [0, 1], the same whenever a is played in s.

    ## Starting State
    Uniform.

    ## Episode End
    There are no terminal states: episodes are truncated after 100 steps.

    ## Arguments
    * ``n_states=20``: number of states.
    * ``n_actions=4``: number of actions.
    * ``branching=3``: next states of each state and action.
    * ``gamma=0.95``: the discount of the exact solution.
    * ``mdp_seed=0``: which instance.

    ## Version History
    * v0: initial version
    """
    return garnet_mdp(n_states, n_actions, branching, _instance(mdp_seed), gamma=gamma)


RandomMDP, RandomMDPVector = EntryPoint(random_mdp), VectorEntryPoint(random_mdp)


def linear_model(
    n_states: int = 1000,
    n_actions: int = 4,
    dim: int = 5,
    horizon: int = 8,
    support: int = 5,
    mdp_seed: int = 0,
) -> LinearMDP:
    """LinearMDP-v0: a linear decision process of any size, solved exactly.

    ## Description
    P_h(s' | s, a) = <phi(s, a), mu_h(s')> and r_h(s, a) = <phi(s, a), theta_h> (Jin, Yang, Wang, Jordan, Provably
    Efficient Reinforcement Learning with Linear Function Approximation, COLT 2020). The features lie on the simplex and
    are a hash of (s, a), so they take no memory; each measure mu_h,i reaches ``support`` states. A process of 10^9
    states is made, stepped and solved in the time and memory of one of 10^4.

    ## Action Space
    ``Discrete(n_actions)``.

    ## Observation Space
    ``Discrete((horizon + 1) * n_states)``, the code h * n_states + s; or the features phi(s, .) of all actions followed
    by an indicator of the stage, (n_actions * dim + horizon + 1,) float32.

    ## Rewards
    r_h(s, a) in [0, 1].

    ## Starting State
    Uniform over ``support`` random states, at stage 0.

    ## Episode End
    The last stage terminates: an episode takes ``horizon`` steps.

    ## Arguments
    * ``n_states=1000``: number of states, up to 2^62.
    * ``n_actions=4``: number of actions.
    * ``dim=5``: dimension of the features phi(s, a).
    * ``horizon=8``: steps of an episode.
    * ``support=5``: states that each of the ``dim`` measures of a stage reaches, and first states.
    * ``mdp_seed=0``: which instance.

    ## Version History
    * v0: initial version
    """
    return random_linear_mdp(n_states, n_actions, dim, horizon, _instance(mdp_seed), support=support)


LinearModel, LinearModelVector = EntryPoint(linear_model), VectorEntryPoint(linear_model)


def constrained_linear_model(
    n_states: int = 100,
    n_actions: int = 3,
    dim: int = 5,
    horizon: int = 4,
    threshold: float = 0.9,
    support: int | None = None,
    mdp_seed: int = 0,
) -> ConstrainedLinearMDP:
    """ConstrainedLinearMDP-v0: earn as much as an expected cost per episode allows.

    ## Description
    A linear decision process whose steps have costs in [0, 1], linear in the same features: the random instances of
    Kitamura et al., Provably Efficient RL under Episode-Wise Safety in Constrained MDPs with Linear Function
    Approximation, 2025. An episode may cost ``env.unwrapped.model.budget`` in expectation; nothing ends an episode that
    costs more. ``solution()`` is the best policy within the budget, which randomises.

    ## Action Space
    ``Discrete(n_actions)``.

    ## Observation Space
    ``Discrete((horizon + 1) * n_states)``, the code h * n_states + s; or the features phi(s, .) of all actions followed
    by an indicator of the stage, (n_actions * dim + horizon + 1,) float32.

    ## Rewards
    r_h(s, a) in [0, 1]; ``info["cost"]`` is c_h(s, a) in [0, 1], 0 on resetting.

    ## Starting State
    State 0 at stage 0.

    ## Episode End
    The last stage terminates: an episode takes ``horizon`` steps.

    ## Arguments
    * ``n_states=100``: number of states.
    * ``n_actions=3``: number of actions.
    * ``dim=5``: dimension of the features phi(s, a).
    * ``horizon=4``: steps of an episode.
    * ``threshold=0.9``: the budget is horizon - threshold * u, where u is the largest expected sum of 1 - cost.
    * ``support=None``: each measure reaches all states; with a number, so many, and n_states may be 10^9.
    * ``mdp_seed=0``: which instance.

    ## Version History
    * v0: initial version
    """
    seed = _instance(mdp_seed)
    return random_constrained_linear_mdp(n_states, n_actions, dim, horizon, seed, threshold=threshold, support=support)


ConstrainedLinearModel, ConstrainedLinearModelVector = (
    EntryPoint(constrained_linear_model),
    VectorEntryPoint(constrained_linear_model),
)


def hard_linear_model(horizon: int = 6, dim: int = 5, n_episodes: int = 1000, mdp_seed: int = 0) -> LinearMDP:
    """HardLinearMDP-v0: the lower bound for learning linear decision processes.

    ## Description
    A chain of ``horizon`` linear bandits: the action whose signs match a hidden vector reaches the rewarding state a
    little more often, too little to be learnt in ``n_episodes`` episodes (Zhou, Gu, Szepesvári, Nearly Minimax Optimal
    Reinforcement Learning for Linear Mixture Markov Decision Processes, COLT 2021).

    ## Action Space
    ``Discrete(2 ** (dim - 1))``, sign vectors in lexicographic order.

    ## Observation Space
    ``Discrete((horizon + 1) * (horizon + 2))``, the code h * n_states + s with n_states = horizon + 2; or the features
    phi(s, .) of all actions followed by an indicator of the stage.

    ## Rewards
    1 in the last state, which is never left, else 0.

    ## Starting State
    State 0 at stage 0.

    ## Episode End
    The last stage terminates: an episode takes ``horizon`` steps.

    ## Arguments
    * ``horizon=6``: steps of an episode.
    * ``dim=5``: dimension of the features, and one more than the number of hidden signs.
    * ``n_episodes=1000``: the number of episodes in which it is hard; more make the actions more alike.
    * ``mdp_seed=0``: the hidden signs.

    ## Version History
    * v0: initial version
    """
    return hard_linear_mdp(horizon, dim, n_episodes, _instance(mdp_seed))


HardLinearMDP, HardLinearMDPVector = EntryPoint(hard_linear_model), VectorEntryPoint(hard_linear_model)


def realizable_model(
    n_states: int = 64,
    n_actions: int = 4,
    horizon: int = 6,
    dim: int = 5,
    stochastic: bool = False,
    mdp_seed: int = 0,
) -> FiniteHorizonMDP:
    """RealizableMDP-v0: the optimal value is linear in features, the optimal action values are not.

    ## Description
    v*_h(s) = <phi_h(s), theta> for unknown theta in R^dim, and q* is linear in no features of this kind: the setting of
    Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-Efficient Planning in MDPs under Linear
    Realizability of the Optimal State-Value Function, COLT 2021. Each stage has a law and rewards of its own.

    ## Action Space
    ``Discrete(n_actions)``.

    ## Observation Space
    ``Discrete((horizon + 1) * n_states)``, the code h * n_states + s; or the features phi_h(s), (dim,) float32.

    ## Rewards
    r_h(s, a) in [0, 1].

    ## Starting State
    State 0 at stage 0.

    ## Episode End
    The last stage terminates: an episode takes ``horizon`` steps.

    ## Arguments
    * ``n_states=64``: number of states.
    * ``n_actions=4``: number of actions.
    * ``horizon=6``: steps of an episode.
    * ``dim=5``: dimension of the features phi_h(s).
    * ``stochastic=False``: whether each state and action leads to one state or to three.
    * ``mdp_seed=0``: which instance.

    ## Version History
    * v0: initial version
    """
    return realizable_mdp(n_states, n_actions, horizon, dim, _instance(mdp_seed), stochastic=stochastic).model


RealizableMDP, RealizableMDPVector = EntryPoint(realizable_model), VectorEntryPoint(realizable_model)


def needle_model(n_actions: int = 4, horizon: int = 5, dim: int = 8, mdp_seed: int = 0) -> FiniteHorizonMDP:
    """NeedleMDP-v0: one hidden sequence of actions pays.

    ## Description
    At each stage one state is on track, hidden among decoys. The right action there leads to the next state on track,
    anything else to decoys for good. Rewards show nothing before the whole sequence has been played, one chance in
    n_actions ** horizon; the features make v* linear, so a planner that queries a simulator can find the needle.

    ## Action Space
    ``Discrete(n_actions)``.

    ## Observation Space
    ``Discrete((horizon + 1) * n_states)`` with n_states = 256, the code h * n_states + s; or the features of s at stage
    h, (dim,) float32.

    ## Rewards
    1 for the last action of the hidden sequence, else 0.

    ## Starting State
    The state on track of stage 0.

    ## Episode End
    The last stage terminates: an episode takes ``horizon`` steps.

    ## Arguments
    * ``n_actions=4``: number of actions.
    * ``horizon=5``: steps of an episode, and length of the hidden sequence.
    * ``dim=8``: dimension of the features phi_h(s).
    * ``mdp_seed=0``: which instance.

    ## Version History
    * v0: initial version
    """
    return needle_mdp(n_actions, horizon, dim, _instance(mdp_seed)).model


NeedleMDP, NeedleMDPVector = EntryPoint(needle_model), VectorEntryPoint(needle_model)


def river_swim_model(n_states: int = 6, gamma: float = 0.95) -> TabularMDP:
    """RiverSwim-v0: swim against the current for a large reward, or rest for a small one.

    ## Description
    A chain of states. Swimming left always succeeds; swimming right succeeds with probability 0.35 in the middle of the
    river (Strehl, Littman, JCSS 74, 2008; the numbers of Osband, Russo, Van Roy, NeurIPS 2013). Agents that do not
    explore rest at the left bank.

    ## Action Space
    ``Discrete(2)``: 0 swims left, 1 swims right.

    ## Observation Space
    ``Discrete(n_states)``, 0 being the left bank; or indicator vectors.

    ## Rewards
    0.005 for left at the left bank, 1 for right at the right bank, else 0.

    ## Starting State
    The left bank.

    ## Episode End
    There are no terminal states: episodes are truncated after 100 steps.

    ## Arguments
    * ``n_states=6``: length of the river.
    * ``gamma=0.95``: the discount of the exact solution.

    ## Version History
    * v0: initial version
    """
    return river_swim(n_states, gamma=gamma)


RiverSwim, RiverSwimVector = EntryPoint(river_swim_model), VectorEntryPoint(river_swim_model)


def deep_sea_model(size: int = 10, mdp_seed: int = 0) -> FiniteHorizonMDP:
    """DeepSea-v0: one plan out of 2 ** size finds the treasure.

    ## Description
    A diver sinks one row a step through a grid and moves left or right; which action moves right is drawn for each
    cell. Every step right costs a little, and only always moving right finds the treasure (Osband, Van Roy, Russo, Wen,
    Deep Exploration via Randomized Value Functions, JMLR 20, 2019).

    ## Action Space
    ``Discrete(2)``.

    ## Observation Space
    ``Discrete((size + 1) * size)``, the code row * size + column; or indicators of column and row, (2 * size + 1,)
    float32.

    ## Rewards
    -0.01 / size for a step right, and 1 for it in the last row and column; 0 for a step left.

    ## Starting State
    The upper left corner.

    ## Episode End
    The last row terminates: an episode takes ``size`` steps.

    ## Arguments
    * ``size=10``: rows and columns.
    * ``mdp_seed=0``: the meaning of the actions.

    ## Version History
    * v0: initial version
    """
    return deep_sea(size, _instance(mdp_seed))


DeepSea, DeepSeaVector = EntryPoint(deep_sea_model), VectorEntryPoint(deep_sea_model)


def large_action_model(
    n_states: int = 50,
    base: int = 10,
    digits: int = 6,
    horizon: int = 20,
    deceptive: bool = False,
    slip: float = 0.2,
    transition_digits: int | None = None,
    actions: ActionKind = "digits",
    mdp_seed: int = 0,
) -> LargeActionMDP:
    """LargeActionMDP-v0: base ** digits actions, one of them right in each state, and the optimum known.

    ## Description
    An action is a word of digits. What it earns falls with its distance from the state's target word, which counts
    pairs of digits that are both right, single digits, and the whole word; the first two digits also decide where to
    go, but for a slip to a random state. Values are planted: v*_h(s) = (H - h) + (H - h) / H zeta(s), zeta in [0, 1].
    The deceptive variant pays less for one right digit of a pair than for none. The default has 10^6 actions; 10^18
    cost no more time or memory.

    ## Action Space
    ``MultiDiscrete([base] * digits)``; with ``actions="index"`` ``Discrete(base ** digits)``, of at most 10^5: the
    number that the digits write, most significant digit first.

    ## Observation Space
    ``Discrete((horizon + 1) * n_states)``, the code h * n_states + s; or an indicator of s followed by h / horizon,
    (n_states + 1,) float32.

    ## Rewards
    r_h(s, a) = v*_h(s) - E[v*_{h+1}(s')] - w(s) gap(s, a), w in [0.5, 1.5]; the gap is 0 at the target, else at least
    0.3 and at most 1 (1.1 where deceptive).

    ## Starting State
    Uniform, at stage 0.

    ## Episode End
    The last stage terminates: an episode takes ``horizon`` steps.

    ## Arguments
    * ``n_states=50``: number of states.
    * ``base=10``: values of a digit.
    * ``digits=6``: digits of an action.
    * ``horizon=20``: steps of an episode.
    * ``deceptive=False``: which gap.
    * ``slip=0.2``: probability of a random next state.
    * ``transition_digits=None``: how many leading digits decide where to go; two, unless given.
    * ``actions="digits"``: or ``"index"``.
    * ``mdp_seed=0``: which instance.

    ## Version History
    * v0: initial version
    """
    return large_action_mdp(
        n_states,
        base,
        digits,
        horizon,
        _instance(mdp_seed),
        deceptive=deceptive,
        slip=slip,
        transition_digits=transition_digits,
        actions=actions,
    )


LargeActionModel, LargeActionModelVector = EntryPoint(large_action_model), VectorEntryPoint(large_action_model)


def tabular_model(
    model_path: str | None = None,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    gamma: float | None = None,
) -> DecisionProcess | ConstrainedProblem:
    """TabularMDP-v0: any model from a file, or any Gymnasium environment that holds its transition table.

    ## Description
    With ``model_path``, the decision process that :func:`~lookahead_rl.models.save_model` wrote. With ``env_id``, a
    copy of that environment made from its table ``P`` (FrozenLake-v1, Taxi-v4, CliffWalking-v1 and their like): the
    same law, with an exact solution, a simulator and a fast vector environment. With neither, FrozenLake-v1.

    ## Action Space
    ``Discrete(n_actions)`` of the model; the source's own actions.

    ## Observation Space
    The model's states, the source's own numbers; or the model's features (indicators if it has none).

    ## Rewards
    The model's; of single outcomes where these differ.

    ## Starting State
    Drawn from the model's initial distribution.

    ## Episode End
    On entering a terminal state, or after the last stage of a finite horizon. Truncated after 1000 steps; pass
    ``max_episode_steps`` to ``gymnasium.make`` for another number, -1 for none.

    ## Arguments
    * ``model_path=None``: an .npz file.
    * ``env_id=None``: an environment's id, passed to ``gymnasium.make``.
    * ``env_kwargs=None``: its arguments.
    * ``gamma=None``: the discount of the exact solution of ``env_id``, 0.99 unless given. A file has its own.

    ## Version History
    * v0: initial version
    """
    if model_path is None:
        source = gym.make("FrozenLake-v1" if env_id is None else env_id, **(env_kwargs or {}))
        return from_gymnasium(source, 0.99 if gamma is None else gamma)
    if env_id is not None or env_kwargs is not None or gamma is not None:
        raise ModelError("model_path goes alone: a file has no env_id, no env_kwargs, and a gamma of its own")
    model = load_model(model_path)
    if not isinstance(model, DecisionProcess | ConstrainedProblem):
        raise ModelError(f"{model_path} holds a {type(model).__name__}; games are PettingZoo environments")
    return model


TabularModel, TabularModelVector = EntryPoint(tabular_model), VectorEntryPoint(tabular_model)
