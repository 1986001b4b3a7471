"""Regularised value iteration: soft, by Kullback-Leibler divergence, and by both (mirror descent, Munchausen).

Mirror descent value iteration (MDVI: Vieillard et al., Leverage the Average, NeurIPS 2020; Kozuno et al., KL-Entropy-
Regularized RL with a Generative Model is Minimax Optimal, 2022) charges each policy for its distance from the last one
and pays it for its entropy,

    V_k = max_pi E_pi Q_{k-1} - eta KL(pi | pi_{k-1}) + tau Ent(pi),  attained by pi_k,      Q_k = r + gamma P V_k,

with kappa = eta + tau > 0 and alpha = eta / kappa in [0, 1]. eta = 0 is soft value iteration. Munchausen value
iteration (Vieillard, Pietquin, Geist, NeurIPS 2020), which is soft value iteration at temperature kappa with
alpha kappa log pi_k added to the reward, makes the same policies.

**Without memory.** pi_k looks like a softmax of all past action values. With an exact model, one vector of S numbers
holds them: with rho_k = 1 - alpha^k and LSE(x) = log sum_a exp(x_a),

    pi_k ~ exp((rho_k r + gamma P W_{k-1}) / tau),      W_k = tau LSE((rho_k r + gamma P W_{k-1}) / tau).

So MDVI *is* soft value iteration at temperature tau whose rewards fade in; dividing by rho_k, one whose temperature
cools from kappa to tau. *Proof.* Let pi_k = softmax(s_k / kappa) and L_k = kappa LSE(s_k / kappa). Then eta log pi_k =
alpha (s_k - L_k), so s_{k+1} = Q_k + alpha s_k is one choice, and V_{k+1} = L_{k+1} - alpha L_k. Hence
D_k = s_k - gamma P L_{k-1} obeys D_{k+1} = r + alpha D_k. From D_1 = r it is rho_k r / (1 - alpha), and
W = (1 - alpha) L. QED. W_0 = 0 starts MDVI from the uniform policy and Q_0 = r + eta log A, whose constant moves
no policy where there are no terminal states.

**Rate.** T_tau v = tau LSE((r + gamma P v) / tau) is a gamma-contraction, with fixed point V*_tau, the largest expected
discounted sum of rewards and tau times entropies. Rewards that are alpha^k r away from it give

    |W_k - V*_tau|  <=  gamma^k |W_0 - V*_tau| + sum_{j<=k} gamma^{k-j} alpha^j |r|,

of the order of max(gamma, alpha)^k, or k gamma^k where they agree (:func:`regularised_error_bound`). The limits are
V*_tau and softmax(Q*_tau / tau), which know nothing of eta: beside an exact model the divergence only slows the
iteration down. Spans of W_k - W_{k-1}, and with them certificates, shrink faster than gamma^k where chains mix.

**tau = 0.** Then alpha = 1, and with U_k = L_k / k

    pi_k ~ exp((r + gamma (k-1)/k P U_{k-1}) k / eta),      U_k = (eta/k) LSE((r + gamma (k-1)/k P U_{k-1}) k / eta),

soft value iteration that cools as eta / k. Its values approach those without regularisation slowly,

    |U_k - v*|  <=  ((gamma |v*| + eta log A) / (1 - gamma) + gamma^k |U_0|) / k,

by |L_k - k v*| <= gamma |L_{k-1} - (k-1) v*| + gamma |v*| + eta log A. Its policies are softmaxes at temperature eta/k:
they approach the greedy one exponentially in k times the gaps between action values, though where the best two are x
apart it takes k > eta / x sweeps to begin with. So it is the policy whose value is computed and certified
(:mod:`.certificates`), after 1, 2, 4, 7, 11, 17, ... sweeps, until that is within the tolerance of optimal.

**Stopping.** Let tau > 0 and low <= W_k - W_{k-1} <= high. Then T_tau W_k - W_k lies between gamma low + alpha^k min r
and gamma high + alpha^k max r, and T_{pi,tau} W_k - W_k above the first bound even for pi = pi_{k+1}, being
W_{k+1} - W_k + alpha^{k+1} E_pi r, while W_{k+1} - W_k >= gamma low + (alpha^k - alpha^{k+1}) min r. So 1 / (1 - gamma)
times these bounds enclose V*_tau - W_k and V^pi_tau - W_k, as in :mod:`.dynamic_programming` (terminal states, which
change by 0 and pay 0, are among those that low, high, min and max run over). The answer is pi_{k+1}, with W_k moved to
the middle where no terminal state fixes the level; where W_k carried so large a constant that it cost digits, the
iteration goes on from there. With gamma = 1 the longest expected play takes the place of
1 / (1 - gamma), and every policy must terminate: else a play that need not end would collect entropy for ever.

Every answer has two certificates, recomputed from it alone: bounds on the regularised problem
(:mod:`.regularised_certificates`), and bounds on the one without regularisation, for which the policy's own value is
computed. There softmax(Q*_tau / tau) loses at most tau log A / (1 - gamma) (:mod:`.regularised`).
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import ArrayLike

from ..models import FiniteHorizonMDP, TabularMDP
from ..models._checks import ModelError, real_number, unit_number, whole_number
from ..models.summaries import Summarised
from .bellman import COMPILED_FROM, DecisionRows, best_values, decision_rows, row_values
from .certificates import certify_rows, certify_stages
from .chains import Chain, policy_chain, solve_chain
from .policies import Mix, require_start, require_tolerance, rule_backup, rule_error, stages_backwards
from .regularised import (
    Regularisation,
    real_numbers,
    require_positive_temperature,
    require_regularisation,
    softmax_log_policy,
)
from .regularised_certificates import (
    SoftProblem,
    certify_regularised_stages,
    certify_soft,
    require_stages,
    require_tabular,
    soft_maximum,
)
from .solution import Certificate, FloatArray, Status, exactness
from .total_reward import Quotient, quotient

# Sweeps in a row that do not narrow the bounds: near rounding, rounding sets the pace.
PATIENCE = 64

# So many sweeps of the policy alone before its value is solved for otherwise.
MOST_SWEEPS = 100

# Values are kept below this, so that sums and widths of a few of them do not overflow.
LARGEST_VALUE = 1e305

# What stands for infinitely many expected steps, in decisions when to stop: float64 can verify no bound of 1e17.
ENDLESS = 1e18


@dataclass(frozen=True, eq=False, repr=False)
class RegularisedSolution(Summarised):
    """A regularised planner's answer.

    Attributes:
        value: Optimal soft value V*_tau (S,), or (H + 1, S); with tau = 0 the value of the policy.
        q: Action values r + gamma P value, (S, A) or (H, S, A).
        log_policy: Logarithms of the policy, of the shape of q.
        certificate: lower <= V^pi_tau <= V*_tau <= upper, with value between them.
        policy_value: The policy's value without regularisation v^pi, of the shape of value.
        unregularised: lower <= v^pi <= v* <= upper, with policy_value between them.
        regularisation: eta and tau.
        status: How the iteration ended; CONVERGED where the gap of certificate is within the tolerance.
        iterations: Number of sweeps.
        history: The gap that each sweep promises; with tau = 0 the width of the bounds on v* that U_k gives.
    """

    value: FloatArray
    q: FloatArray
    log_policy: FloatArray
    certificate: Certificate
    policy_value: FloatArray
    unregularised: Certificate
    regularisation: Regularisation
    status: Status
    iterations: int
    history: tuple[float, ...]

    @property
    def policy(self) -> FloatArray:
        """Action probabilities, of the shape of q; those below 5e-324 are zero."""
        return np.exp(self.log_policy)

    @property
    def measured_rate(self) -> float:
        """Factor by which the promised gap fell each sweep, over the second half of the sweeps; nan below four."""
        n, half = len(self.history), len(self.history) // 2
        if n < 4 or not self.history[half] > 0.0:
            return np.nan
        return float((self.history[-1] / self.history[half]) ** (1.0 / (n - 1 - half)))


@dataclass(frozen=True, eq=False)
class RegularisedSweep:
    """One sweep of the iteration.

    Attributes:
        k: Its number, from 1.
        log_policy: log pi_k (S, A).
        value: W_k (S,), or with tau = 0 U_k.
    """

    k: int
    log_policy: FloatArray
    value: FloatArray


def regularised_rate(gamma: float, regularisation: Regularisation) -> float:
    """The proven rate max(gamma, eta / (eta + tau)): errors after k sweeps are of its k-th power, with tau = 0 of 1/k.

    Raises:
        ModelError: gamma outside [0, 1].
        TypeError: A regularisation of another kind.
    """
    return max(unit_number("gamma", gamma), require_regularisation(regularisation).alpha)


def regularised_error_bound(
    k: int, gamma: float, regularisation: Regularisation, start_error: float, reward_size: float
) -> float:
    """Bound on |W_k - V*_tau| for the sweeps of :func:`regularised_sweeps`, tau > 0.

    The sum over j is alpha b^(k-1) (1 - x^k) / (1 - x) with b = max(gamma, alpha) and x = min(gamma, alpha) / b.

    Args:
        k: Number of sweeps, at least 0.
        gamma: Discount below 1.
        regularisation: eta and tau > 0.
        start_error: |W_0 - V*_tau|, supremum norm.
        reward_size: |r|, supremum norm.

    Returns:
        The bound, 2.2e-308 where it is smaller but not 0.

    Raises:
        ModelError: A number out of range; tau = 0, where the bound has another form.
        TypeError: A regularisation of another kind.
    """
    n, discount, alpha = min(whole_number("k", k, 0), 10**300), unit_number("gamma", gamma), _alpha(regularisation)
    if discount == 1.0:
        raise ModelError("gamma is 1, where sweeps need not converge; pass gamma < 1")
    error, size = _size("start_error", start_error), _size("reward_size", reward_size)
    if n == 0:
        return error
    base = max(discount, alpha)
    started, faded = _times_power(error, discount, n), 0.0
    if alpha > 0.0 and size > 0.0:
        faded = _times_power(alpha * size, base, n - 1) * _geometric_sum(abs(discount - alpha) / base, n)
    left = (error > 0.0 and discount > 0.0) or (size > 0.0 and alpha > 0.0)
    return max(started + faded, sys.float_info.min) if left else 0.0


def _alpha(regularisation: Regularisation) -> float:
    """alpha, with tau = 0 refused."""
    if require_regularisation(regularisation).tau == 0.0:
        raise ModelError("regularisation has tau = 0, for which values approach v* as 1/k; pass tau > 0")
    return regularisation.alpha


def _size(name: str, value: float) -> float:
    """A number that is not negative."""
    if (size := real_number(name, value)) < 0.0:
        raise ModelError(f"{name} is {size}; a supremum norm is at least 0")
    return size


def _times_power(x: float, base: float, k: int) -> float:
    """x base^k for base <= 1, also where base^k alone underflows."""
    root = base ** (0.5 * k)
    return x * root * root


def _geometric_sum(d: float, k: int) -> float:
    """1 + x + ... + x^(k-1) for x = 1 - d in [0, 1]."""
    if d == 0.0:
        return float(k)
    return -math.expm1(k * math.log1p(-d)) / d if d < 1.0 else 1.0


def regularised_value_iteration(
    model: TabularMDP,
    regularisation: Regularisation,
    tol: float = 1e-8,
    *,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> RegularisedSolution:
    """Optimal soft value and policy by soft, KL-regularised or mirror descent value iteration.

    Args:
        model: The model; with gamma = 1, one in which every policy terminates.
        regularisation: eta and tau; ``Regularisation.munchausen`` for Munchausen value iteration.
        tol: Wanted bound on the certified gap of the regularised problem; with tau = 0, of the one without.
        max_iterations: Largest number of sweeps.
        start: Value W_0 (S,) to start from; with tau = 0 it counts as a first sweep, and no more. None: zero.

    Returns:
        The solution; its policy is the iteration's own next one, which for eta > 0 is still on its way to the softmax
        of q where the iteration ends early.

    Raises:
        ValueError: A bad tol, max_iterations or start; with gamma = 1, a play that need not end, naming a state;
            rewards or weights so large that values may overflow.
        TypeError: A model or a regularisation of another kind.
    """
    tol, max_iterations = require_tolerance(tol), whole_number("max_iterations", max_iterations, 1)
    problem = _problem(model, regularisation)
    run = _Run(problem, _start(start, model), tol)
    try:
        while run.status is None:
            if len(run.history) == max_iterations:
                run.status = Status.ITERATION_LIMIT
            else:
                run.sweep()
    except KeyboardInterrupt:
        run.status = Status.INTERRUPTED
    return run.solution()


def regularised_sweeps(
    model: TabularMDP, regularisation: Regularisation, start: ArrayLike | None = None
) -> Iterator[RegularisedSweep]:
    """The sweeps k = 1, 2, ... without end; arguments and errors as in :func:`regularised_value_iteration`."""
    problem = _problem(model, regularisation)
    return _sweeps(problem, _start(start, model))


def _start(start: ArrayLike | None, model: TabularMDP) -> FloatArray:
    """The value (S,) to start from."""
    return require_start(None if start is None else real_numbers("start", start), model)


def _sweeps(problem: "_Problem", v: FloatArray) -> Iterator[RegularisedSweep]:
    for k in count(1):
        value = np.empty_like(v)
        problem.apply(k, v, value)
        yield RegularisedSweep(k, problem.log_policy(k, v), value.copy())
        v = value


def soft_backward_induction(model: FiniteHorizonMDP, temperature: float) -> RegularisedSolution:
    """Optimal soft values and policy of a finite-horizon MDP: V_h = tau LSE((r_h + P_h V_{h+1}) / tau), V_H = 0.

    One pass is exact, so there is nothing for a divergence between iterations to do.

    Args:
        model: The model.
        temperature: tau > 0, in the unit of the rewards.

    Returns:
        value (H + 1, S), q and log_policy (H, S, A); no history. The status is PRECISION_LIMIT only where rounding
        leaves a gap above 1e-8 of the greatest value.

    Raises:
        ModelError: A temperature that is not positive and finite; rewards or a temperature so large that values may
            overflow.
        TypeError: A model of another kind.
    """
    tau = require_positive_temperature(temperature)
    _require_room(float(np.abs(require_stages(model).r).max()), "temperature", tau, model.n_actions, model.horizon)
    shape = (model.horizon, model.n_states, model.n_actions)
    value, policy_value = np.zeros((2, model.horizon + 1, model.n_states))
    q, log_policy = np.empty(shape), np.empty(shape)
    for h, rows in stages_backwards(model):
        problem = SoftProblem(rows, tau)
        q[h] = problem.action_values(value[h + 1])
        value[h], log_policy[h] = problem.best(q[h]), softmax_log_policy(q[h], tau)
        policy_value[h] = rule_backup(rows, _mix(log_policy[h]), policy_value[h + 1])
    certificate = certify_regularised_stages(model, tau, value, log_policy)
    plain = _below(certify_stages(model, policy_value, np.exp(log_policy)), certificate, policy_value)
    how = exactness(certificate, value)
    regularisation = Regularisation(0.0, tau)
    return RegularisedSolution(
        value, q, log_policy, certificate, policy_value, plain, regularisation, how, model.horizon, ()
    )


def _mix(log_policy: FloatArray) -> Mix:
    """The rule of log pi (S, A)."""
    return Mix(np.exp(log_policy).reshape(-1))


def _below(plain: Certificate, soft: Certificate, policy_value: FloatArray) -> Certificate:
    """Bounds on v*, which is at most V*_tau, since entropies are not negative."""
    return Certificate(plain.lower, np.maximum(np.minimum(plain.upper, soft.upper), policy_value))


def _require_room(reward_size: float, name: str, weight: float, n_actions: int, steps: float) -> None:
    """Raise where values of so many steps may be too large for float64."""
    if not (reward_size + weight * math.log(n_actions)) * steps <= LARGEST_VALUE:
        raise ModelError(
            f"model.r is up to {reward_size:.3g} in size and {name} is {weight:.3g}, so that values over {steps:.3g} "
            f"steps may exceed {LARGEST_VALUE:g}; divide rewards and {name} by the same number"
        )


def _problem(model: object, regularisation: object) -> "_Problem":
    """The problem, refusing what is no model or no regularisation, and values that overflow."""
    problem = _Problem(require_tabular(model), require_regularisation(regularisation))
    weights = problem.regularisation
    name, weight = ("tau", weights.tau) if weights.tau > 0.0 else ("eta", weights.eta)
    _require_room(problem.rows.reward_size, f"regularisation.{name}", weight, problem.model.n_actions, problem.level)
    return problem


@dataclass(frozen=True, eq=False)
class _Problem:
    """A model under regularisation, and its sweeps."""

    model: TabularMDP
    regularisation: Regularisation

    @cached_property
    def rows(self) -> DecisionRows:
        return decision_rows(self.model)

    @cached_property
    def quotient(self) -> Quotient:
        return quotient(self.model)

    @cached_property
    def soft(self) -> SoftProblem:
        return SoftProblem(self.rows, self.regularisation.tau)

    @cached_property
    def longest(self) -> float:
        """Largest expected number of discounted steps, at least 1; ENDLESS if no bound is known."""
        return min(max(1.0, float(self.soft.steps.max())), ENDLESS)

    @cached_property
    def level(self) -> float:
        """How far a constant reward of 1 moves values, up to rounding."""
        return min(self.longest, 1.0 / (1.0 - self.rows.gamma)) if self.rows.gamma < 1.0 else self.longest

    @cached_property
    def is_free(self) -> bool:
        """Whether no terminal state fixes the level of v."""
        return self.rows.gamma < 1.0 and not bool(self.rows.terminal.any())

    @cached_property
    def is_compiled(self) -> bool:
        """Whether sweeps are compiled."""
        return not isinstance(self.rows.P, np.ndarray) and self.rows.P.nnz >= COMPILED_FROM

    @cached_property
    def rewards(self) -> tuple[float, float]:
        """Least and greatest reward."""
        return float(self.rows.r.min()), float(self.rows.r.max())

    def faded(self, k: int) -> float:
        """alpha^k, with all its digits also where alpha is nearly 1."""
        eta, tau = self.regularisation.eta, self.regularisation.tau
        return float(np.exp(-k * np.log1p(tau / eta))) if eta > 0.0 else 0.0

    def numbers(self, k: int) -> tuple[float, float, float]:
        """Weight of the rewards, discount and temperature of sweep k >= 1."""
        eta, tau, gamma = self.regularisation.eta, self.regularisation.tau, self.rows.gamma
        if tau == 0.0:
            # Divided until it is no float any more, eta is as good as the least one.
            return 1.0, gamma if k == 1 else gamma * (k - 1) / k, max(eta / k, math.ulp(0.0))
        weight = -float(np.expm1(-k * np.log1p(tau / eta))) if eta > 0.0 else 1.0
        return weight, gamma, tau

    def apply(self, k: int, v: FloatArray, value: FloatArray) -> tuple[float, float]:
        """Write what sweep k makes of v; the least and greatest entry of value - v."""
        rows, (weight, discount, temperature) = self.rows, self.numbers(k)
        if self.is_compiled and not isinstance(rows.P, np.ndarray):
            from .regularised_kernels import soft_sweep

            P, numbers = rows.P, (weight, discount, temperature)
            return soft_sweep(P.data, P.indices, P.indptr, rows.r, rows.terminal, *numbers, v, value)
        value[:] = np.where(rows.terminal, 0.0, soft_maximum(self._logits(k, v), temperature))
        change = value - v
        return float(change.min()), float(change.max())

    def log_policy(self, k: int, v: FloatArray) -> FloatArray:
        """log pi_k (S, A), for v = W_{k-1}."""
        return softmax_log_policy(self._logits(k, v), self.numbers(k)[2])

    def _logits(self, k: int, v: FloatArray) -> FloatArray:
        """weight r + discount P v, (S, A)."""
        weight, discount, _ = self.numbers(k)
        x = np.asarray(self.rows.P @ v)
        x *= discount
        x += self.rows.r if weight == 1.0 else weight * self.rows.r
        return x.reshape(self.rows.n_states, -1)

    def residual(self, k: int, before: FloatArray, low: float, high: float) -> tuple[float, float]:
        """Bounds on T_tau v - v for the v that sweep k made of ``before``, v - before lying between low and high."""
        gamma = self.rows.gamma
        if self.regularisation.tau > 0.0:
            left, (least, most) = self.faded(k), self.rewards
            return gamma * low + left * least, gamma * high + left * most
        _, discount, temperature = self.numbers(k)
        slack = gamma - discount
        hot = temperature * float(np.log(self.model.n_actions))
        return (
            gamma * low + slack * min(0.0, float(before.min())) - hot,
            gamma * high + slack * max(0.0, float(before.max())),
        )

    def certified(self, log_policy: FloatArray, start: FloatArray, tol: float) -> tuple[FloatArray, Certificate]:
        """v^pi, found from ``start``, and bounds lower <= v^pi <= v* <= upper, the first one tight to ``tol``."""
        rule = _mix(log_policy)
        chain = policy_chain(self.rows, rule, self.rows.terminal)
        exact = rule_error(self.rows, rule, start)
        if self.is_compiled:
            value = self._swept(chain, start, max(tol / self.longest, exact))
        else:
            value = solve_chain(chain, start, exact)
        return value, certify_rows(self.quotient, value, rule)

    def improvement(self, v: FloatArray) -> float:
        """The most by which one action moves v up, max(T v - v)."""
        return float(np.where(self.rows.terminal, 0.0, best_values(self.rows, row_values(self.rows, v)) - v).max())

    def _swept(self, chain: Chain, v: FloatArray, target: float) -> FloatArray:
        """v^pi by sweeps, which suit chains that mix fast, or else as chains are solved for."""
        for _ in range(MOST_SWEEPS):
            change = chain.residual(v)
            low, high = float(change.min()), float(change.max())
            v = v + change + (0.5 * self.rows.gamma * (low + high) * self.level if self.is_free else 0.0)
            if (high - low if self.is_free else max(high, -low)) <= target:
                return v
        return solve_chain(chain, v, target)


@dataclass(eq=False)
class _Run:
    """What the iteration has so far; kept up to date, so that an interrupt loses nothing."""

    problem: _Problem
    value: FloatArray
    tol: float
    status: Status | None = None
    history: list[float] = field(default_factory=list[float])
    middle: float = 0.0
    spare: FloatArray = field(init=False)
    due: int = 1
    least: float = np.inf
    idle: int = 0

    def __post_init__(self) -> None:
        self.value, self.spare = self.value.copy(), np.empty_like(self.value)

    def sweep(self) -> None:
        """One sweep more, and whether it is the last."""
        problem, k = self.problem, len(self.history) + 1
        with np.errstate(over="ignore"):  # a start near the largest float may move by more than that
            low, high = problem.apply(k, self.value, self.spare)
        least, most = problem.residual(k, self.value, low, high)
        gap = (most - least) * problem.longest
        middle = 0.5 * (least + most) * problem.level if problem.is_free else 0.0
        self.middle = middle if math.isfinite(middle) else 0.0
        self.value, self.spare = self.spare, self.value
        self.history.append(gap if problem.longest < ENDLESS else math.inf)
        self.least, self.idle = (gap, 0) if gap < self.least else (self.least, self.idle + 1)
        self._judge(k, gap)

    def _judge(self, k: int, gap: float) -> None:
        if self.problem.regularisation.tau == 0.0:
            if k >= self.due:
                self.due = k + 1 + k // 2
                self._judge_policy(k)
        elif gap <= self.tol or self.idle:
            error = self.problem.soft.error(self._centred())
            floor = 2 * error * self.problem.longest
            if gap <= max(self.tol - floor, floor) or (self.idle >= PATIENCE and gap <= 8 * floor):
                if self.problem.soft.error(self.value) <= 2 * error:
                    self.status = Status.CONVERGED
                else:  # a constant that W_k still carries has cost it digits: go on without
                    self.value, self.middle = self._centred(), 0.0

    def _judge_policy(self, k: int) -> None:
        """With tau = 0: whether the policy is as good as wanted, or as float64 can tell."""
        log_policy = self.problem.log_policy(k + 1, self.value)
        value, certificate = self.problem.certified(log_policy, self.value, 0.1 * self.tol)
        floor = 2 * rule_error(self.problem.rows, _mix(log_policy), value) * self.problem.longest
        endless = self.problem.longest == ENDLESS
        gap = self.problem.improvement(value) * ENDLESS if endless else certificate.gap
        if gap <= max(self.tol, 2 * floor):
            self.status = Status.CONVERGED

    def _centred(self) -> FloatArray:
        """W_k moved to the middle of its bounds, where no terminal state fixes its level."""
        return self.value + self.middle if self.middle else self.value

    def solution(self) -> RegularisedSolution:
        """The answer, certified."""
        problem, regularisation = self.problem, self.problem.regularisation
        log_policy = problem.log_policy(len(self.history) + 1, self.value)
        policy_value, plain = problem.certified(log_policy, self._centred(), 0.1 * self.tol)
        if regularisation.tau > 0.0:
            value = self._centred()
            certificate = certify_soft(problem.soft, value, log_policy)
            plain = _below(plain, certificate, policy_value)
        else:
            value, certificate = policy_value, plain
        q = row_values(problem.rows, value).reshape(log_policy.shape)
        status, history = self._final(certificate), tuple(self.history)
        answer = (value, q, log_policy, certificate, policy_value, plain)
        return RegularisedSolution(*answer, regularisation, status, len(history), history)

    def _final(self, certificate: Certificate) -> Status:
        """The status in the light of the certified gap."""
        if certificate.gap <= self.tol:
            return Status.CONVERGED
        if self.status is Status.CONVERGED or self.status is None:
            return Status.PRECISION_LIMIT
        return self.status
