"""The exact value of a policy, and what it loses against the optimum.

In a finite model the value of a policy pi solves v = r_pi + gamma P_pi v, so it needs no episodes: the policy is
asked for its action probabilities in every state, once, and the equation is solved (Puterman, Markov Decision
Processes, 1994, sections 4.2 and 6.1). Beside it stands v*, so that

    regret = sum_s rho(s) (v*(s) - v^pi(s))

is known, and known state by state. Both values carry certificates: bounds recomputed from the answers, float
rounding included.

A time limit is not part of a discounted problem and is ignored, unless ``horizon`` asks for it: the expected return
of an episode cut after that many steps is what averages of episode returns (``ep_rew_mean``) estimate.

In a LinearMDP with measures of finite support a policy can meet few states at each stage: those of rho first, then
those the measures name. The audit runs over these alone, whatever the number of states.

A policy whose answers are expensive can be asked only in the states that it meets itself (``reachable``). The value
there does not depend on what it does elsewhere, so nothing is lost: its certificates are as true.

Where actions cannot be listed (LargeActionMDP) the law of a sampling policy cannot be either: :mod:`.large_action`.
Where steps have costs and episodes a budget, both sums count: :mod:`.constrained`.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..models import FiniteHorizonMDP, LinearMDP, ModelError, TabularMDP
from ..models._checks import flag, plain_array, whole_number
from ..models.measures import added_up
from ..models.summaries import Summarised
from ..solvers.dynamic_programming import backward_induction, evaluate_policy
from ..solvers.solution import Certificate, Status
from ..wrappers.exact_view import ConstrainedView, ExactView, constrained_view, exact_view, large_action_view
from ..wrappers.opponents import mode
from .constrained import ConstrainedAudit, audit_constrained
from .large_action import LargeActionAudit, audit_large_action
from .linear_support import reachable_states, support_values
from .policies import FloatArray, IntArray, action_table, array_table
from .reachable import BoolArray, Table, met_states


@dataclass(frozen=True, eq=False, repr=False)
class Audit(Summarised):
    """The exact value of a policy beside the optimum, over n states.

    Attributes:
        states: Codes (n,) of the states: s, or h*S + s with a finite horizon (h < H). All of them; those that this
            policy meets, if only they were asked for; in a LinearMDP those that some policy can meet.
        rho: Probability (n,) that an episode starts there.
        policy: Action probabilities (n, A) of the policy; uniform where the episode is over.
        values: v^pi (n,).
        optimal_values: v* (n,).
        value_certificate: Bounds on v^pi (n,).
        certificate: Bounds on v* (n,).
        status: How the optimum was found.
        gamma: Discount.
        horizon: Steps after which episodes are cut or over, or None.
        deterministic: Whether the policy's most likely actions were audited instead of its laws.
    """

    shown: ClassVar[tuple[str, ...]] = ("value", "optimal_value", "regret")

    states: IntArray
    rho: FloatArray
    policy: FloatArray
    values: FloatArray
    optimal_values: FloatArray
    value_certificate: Certificate
    certificate: Certificate
    status: Status
    gamma: float
    horizon: int | None
    deterministic: bool

    @property
    def value(self) -> float:
        """Expected (discounted) return of an episode, sum_s rho(s) v^pi(s)."""
        return self._expected(self.values)

    @property
    def optimal_value(self) -> float:
        """The same for the optimal policy."""
        return self._expected(self.optimal_values)

    @property
    def regret(self) -> float:
        """optimal_value - value; at least 0 up to rounding."""
        return self.optimal_value - self.value

    @property
    def regrets(self) -> FloatArray:
        """v* - v^pi (n,)."""
        return self.optimal_values - self.values

    @property
    def value_bounds(self) -> tuple[float, float]:
        """Certified bounds on ``value``."""
        return self._expected_bounds(self.value_certificate)

    @property
    def optimal_bounds(self) -> tuple[float, float]:
        """Certified bounds on ``optimal_value``; infinite where nothing is certified."""
        return self._expected_bounds(self.certificate)

    @property
    def regret_bounds(self) -> tuple[float, float]:
        """Certified bounds on ``regret``."""
        (low, high), (optimal_low, optimal_high) = self.value_bounds, self.optimal_bounds
        return max(0.0, optimal_low - high), optimal_high - low

    def _expected(self, values: FloatArray) -> float:
        starts = self.rho > 0  # values may be infinite elsewhere
        return float(self.rho[starts] @ values[starts])

    def _expected_bounds(self, bounds: Certificate) -> tuple[float, float]:
        """Expected bounds, moved outwards by what the rounding of a sum of n products may hide."""
        rounding = (self.rho.size + 2) * 2.0**-53
        low, high = self._expected(bounds.lower), self._expected(bounds.upper)
        size = max(self._expected(np.abs(bounds.lower)), self._expected(np.abs(bounds.upper)))
        return (low - rounding * size, high + rounding * size) if np.isfinite(size) else (low, high)


AnyAudit = Audit | LargeActionAudit | ConstrainedAudit
"""What :func:`audit` finds."""


def audit(
    policy: Any,
    env: Any,
    *,
    gamma: float | None = None,
    horizon: int | None = None,
    deterministic: bool = False,
    reachable: bool = False,
) -> AnyAudit:
    """The exact value of a policy in an environment with a known model, and its regret.

    Args:
        policy: An agent; an algorithm or policy of stable-baselines3; an object with ``action_probabilities``, or
            only ``predict`` (whose deterministic predictions are audited); or an array: actions (S,), action
            probabilities (S, A), or with a finite horizon one of these for each stage, (H, S) or (H, S, A); digits
            (S, d) or (H, S, d) where actions are digits. Arrays
            are indexed by what ``observation="state"`` shows. Laws in float16 or float32 are normalised within the
            rounding of their type; others must sum to one.
        env: An environment of this package or one of Gymnasium's with a transition table, possibly wrapped (the
            policy is shown what the wrappers show; rewards are the model's own).
        gamma: Discount. None: the model's own; for Gymnasium's tables 0.99; with ``horizon`` 1.
        horizon: Cut episodes after this many steps: the value is then an episode's expected return, and the optimum
            is over all policies, also those that look at the clock.
        deterministic: Audit the policy's most likely actions instead of its law, as ``predict`` does.
        reachable: Ask the policy only in the states that it meets from rho, in each once, and audit these: for
            policies that pay for every answer. With ``horizon``, however late it meets them. A LinearMDP and a
            constrained problem are audited where some policy can go, a LargeActionMDP everywhere, either way.

    Returns:
        The audit; of a LargeActionMDP a :class:`LargeActionAudit`, whose ``method`` says whether it is exact; of a
        constrained problem a :class:`ConstrainedAudit`, with the policy's cost and violation beside its regret.
        Exploration that an algorithm adds while it trains (DQN's) is not part of its policy.

    Raises:
        ModelError: The environment has no model that can be seen, a wrapper makes another decision problem of it,
            the policy does not fit it or keeps a memory, or ``horizon`` is given for a finite-horizon model.
        AgentError: The policy's actions are not Discrete, or it has to learn first.
        InfeasibleError: No policy keeps within the budget of a constrained problem.
        ValueError: With gamma = 1, from some state no policy terminates, or the total reward is unbounded.
    """
    horizon = None if horizon is None else whole_number("horizon", horizon, 1)
    deterministic, reachable = flag("deterministic", deterministic), flag("reachable", reachable)
    large = large_action_view(env)
    if large is not None:
        _refuse_other_episodes(gamma, horizon, "a LargeActionMDP")
        return audit_large_action(policy, large, deterministic)
    constrained = constrained_view(env)
    if constrained is not None:
        _refuse_other_episodes(gamma, horizon, "a constrained problem")
        ask = partial(_table, policy, constrained, deterministic)
        return audit_constrained(constrained.model, ask, constrained.solution(), deterministic)
    view = exact_view(env, 1.0 if gamma is None and horizon is not None else gamma)
    table = partial(_table, policy, view, deterministic)
    if isinstance(view.model, LinearMDP | FiniteHorizonMDP) and horizon is not None:
        raise ModelError(f"horizon is {horizon}, but the model already ends after {view.model.horizon} steps")
    if isinstance(view.model, LinearMDP):
        return _audit_linear(table, view.model, deterministic)
    met, law = met_states(view.model, table) if reachable else _all_states(view.model, table)
    if isinstance(view.model, FiniteHorizonMDP):
        return _on(met, _audit_stages(law, view, view.model, deterministic))
    return _on(met, _audit_tabular(met, law, view, view.model, deterministic, horizon))


def _refuse_other_episodes(gamma: float | None, horizon: int | None, kind: str) -> None:
    """Raise where a problem of a horizon of its own, and no discount, is asked about with others."""
    if horizon is not None or gamma not in (None, 1.0):
        passed = [f"{name} is {value}" for name, value in (("gamma", gamma), ("horizon", horizon)) if value is not None]
        raise ModelError(f"{' and '.join(passed)}, but {kind} has its own gamma and horizon; leave them out")


def _table(policy: Any, view: ExactView | ConstrainedView, deterministic: bool, states: IntArray) -> FloatArray:
    """The policy's action probabilities (n, A) in states (n,)."""
    if isinstance(policy, np.ndarray | list):
        law = array_table(plain_array("policy", policy), view.model, states)
        return mode(law) if deterministic else law
    law = action_table(policy, view.observe, view.observation_space, states, view.model.n_actions)
    return mode(law) if deterministic else law


def _all_states(model: TabularMDP | FiniteHorizonMDP, table: Table) -> tuple[BoolArray, FloatArray]:
    """Every state, as :func:`met_states` tells of those that are met."""
    over = model.terminal if isinstance(model, TabularMDP) else model.terminal_codes()[: -model.n_states]
    law = np.full((over.size, model.n_actions), 1.0 / model.n_actions)
    live = np.flatnonzero(~over)
    if live.size:
        law[live] = table(live)
    return np.ones(over.size, dtype=np.bool_), law


def _on(met: BoolArray, result: Audit) -> Audit:
    """The audit of some of its states, which the policy does not leave."""
    if met.all():
        return result
    return replace(
        result,
        states=result.states[met],
        rho=result.rho[met],
        policy=result.policy[met],
        values=result.values[met],
        optimal_values=result.optimal_values[met],
        value_certificate=_part(result.value_certificate, met),
        certificate=_part(result.certificate, met),
    )


def _audit_tabular(
    met: BoolArray, law: FloatArray, view: ExactView, model: TabularMDP, deterministic: bool, horizon: int | None
) -> Audit:
    if horizon is None:
        optimum, where = view.solution(), ()
        # What is done elsewhere changes no value asked for, but with gamma = 1 it must end: the optimum does.
        evaluated = evaluate_policy(model, np.where(met[:, None], law, np.eye(model.n_actions)[optimum.policy]))
    else:
        cut, where = _cut(model, horizon), (0,)
        evaluated, optimum = evaluate_policy(cut, law), backward_induction(cut)
    return Audit(
        states=np.arange(model.n_states),
        rho=model.rho,
        policy=law,
        values=evaluated.value[where],
        optimal_values=optimum.value[where],
        value_certificate=_part(evaluated.certificate, where),
        certificate=_part(optimum.certificate, where),
        status=optimum.status,
        gamma=model.gamma,
        horizon=horizon,
        deterministic=deterministic,
    )


def _cut(model: TabularMDP, horizon: int) -> FiniteHorizonMDP:
    """Episodes of a discounted model, cut after ``horizon`` steps; the discount moves into the rewards."""
    discounts = model.gamma ** np.arange(horizon)
    r = model.r if model.gamma == 1.0 else discounts[:, None, None] * model.r
    return FiniteHorizonMDP(model.P, r, horizon, model.rho, model.terminal)


def _audit_stages(law: FloatArray, view: ExactView, model: FiniteHorizonMDP, deterministic: bool) -> Audit:
    S, A, H = model.n_states, model.n_actions, model.horizon
    evaluated, optimum = evaluate_policy(model, law.reshape(H, S, A)), view.solution()
    return Audit(
        states=np.arange(H * S),
        rho=np.append(model.rho, np.zeros((H - 1) * S)),
        policy=law,
        values=evaluated.value[:H].reshape(-1),
        optimal_values=optimum.value[:H].reshape(-1),
        value_certificate=_part(evaluated.certificate, slice(H), H * S),
        certificate=_part(optimum.certificate, slice(H), H * S),
        status=optimum.status,
        gamma=1.0,
        horizon=H,
        deterministic=deterministic,
    )


def _part(certificate: Certificate, where: Any, size: int = -1) -> Certificate:
    """The bounds at an index, flattened."""
    return Certificate(certificate.lower[where].reshape(size), certificate.upper[where].reshape(size))


def _audit_linear(table: Table, model: LinearMDP, deterministic: bool) -> Audit:
    stages = reachable_states(model)
    codes = np.concatenate([h * model.n_states + states for h, states in enumerate(stages)])
    law = table(codes)
    ends = np.cumsum([states.size for states in stages])
    values, value_certificate = support_values(model, stages, np.split(law, ends[:-1])).flat()
    optimal_values, certificate = support_values(model, stages).flat()
    return Audit(
        states=codes,
        rho=np.append(_start(model, stages[0]), np.zeros(codes.size - stages[0].size)),
        policy=law,
        values=values,
        optimal_values=optimal_values,
        value_certificate=value_certificate,
        certificate=certificate,
        status=Status.CONVERGED,
        gamma=1.0,
        horizon=model.horizon,
        deterministic=deterministic,
    )


def _start(model: LinearMDP, states: IntArray) -> FloatArray:
    """Probabilities of the starting states (n_0,), sorted."""
    rho = model.initial_distribution()
    possible = rho.weights > 0
    return added_up(np.searchsorted(states, rho.states[possible]), rho.weights[possible], states.size)
