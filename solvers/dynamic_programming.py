"""Dynamic programming for finite MDPs: value iteration, policy iteration, backward induction.

**Value iteration** repeats v <- T v. With gamma < 1 the span of T v - v shrinks by gamma a sweep, often by much
more (by what the chains forget in a step), and bounds the error on both sides; the iteration stops when

    gamma / (1 - gamma) (max(T v - v) - min(T v - v)) <= tol

and returns T v moved to the middle of the bounds (MacQueen 1966; Puterman, Markov Decision Processes, 1994,
Theorem 6.6.3 and section 6.6.2). An action with q(s, a) below (T v)(s) by more than that bound is optimal for no
v* within the bounds, so it is left out of later sweeps, which makes them A times cheaper in the end (action
elimination: MacQueen, Operations Research 15, 1967; Puterman, section 6.7). **Policy iteration** solves for v^pi
(:mod:`.howard`). **Backward induction** is v_h = T_h v_{h+1} from v_H = 0 (Puterman, section 4.5).

With gamma = 1 all of them work on the quotient of :mod:`.total_reward`.

Every answer is certified from model, value and policy alone (:mod:`.certificates`), and ``status`` tells what
the certificate says: a solver that stops early, is interrupted, or meets the limits of float64 still returns its
best answer with true bounds.
"""

from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models import FiniteHorizonMDP, LinearMDP, TabularMDP
from ..models._checks import whole_number
from .bellman import Backup, DecisionRows, as_csr, backup, best_rows, decision_rows, rounding_error, row_values
from .certificates import certify_rows, certify_stage_policy, certify_stages, policy_bounds
from .chains import closed_classes, fate, policy_chain, solve_chain
from .howard import UnboundedRewardError, howard
from .linear import LinearSolution, linear_backward_induction
from .policies import (
    is_deterministic,
    policy_rule,
    require_start,
    require_tolerance,
    rule_backup,
    rule_error,
    stage_rules,
    stages_backwards,
)
from .solution import Certificate, FloatArray, IntArray, Solution, Status, exactness
from .total_reward import Quotient, quotient, total_error


def value_iteration(
    model: TabularMDP, tol: float = 1e-8, *, max_iterations: int = 100_000, start: ArrayLike | None = None
) -> Solution[IntArray]:
    """Optimal value and policy by value iteration.

    Args:
        model: The model.
        tol: Wanted bound on the certified gap.
        max_iterations: Largest number of sweeps.
        start: Value (S,) to start from. Default: zero.

    Returns:
        value (S,), policy (S,), and one entry of history for each sweep: the bound on the gap after it.

    Raises:
        ValueError: A bad tol, max_iterations or start; with gamma = 1, a state from which no policy terminates,
            or an unbounded total reward.
    """
    tol, max_iterations = require_tolerance(tol), whole_number("max_iterations", max_iterations, 1)
    problem, start = _problem(model), require_start(start, model)
    run = _sweep(problem, problem.merge_value(start), tol, max_iterations)
    return _solution(problem, run, tol)


def policy_iteration(
    model: TabularMDP, tol: float = 1e-8, *, max_iterations: int = 1000, start: ArrayLike | None = None
) -> Solution[IntArray]:
    """Optimal value and policy by policy iteration.

    Args:
        model: The model.
        tol: Wanted bound on the certified gap; the iteration ends earlier when no action improves the policy.
        max_iterations: Largest number of policies evaluated.
        start: Policy (S,) to start from; with gamma = 1 it must terminate from every state. Default: the
            greedy policy of zero, or one that terminates.

    Returns:
        value (S,), policy (S,), and one entry of history for each policy: the bound on its gap.

    Raises:
        ValueError: A bad tol, max_iterations or start; with gamma = 1, a state from which no policy terminates,
            or an unbounded total reward.
    """
    tol, max_iterations = require_tolerance(tol), whole_number("max_iterations", max_iterations, 1)
    problem = _problem(model)
    run = _improve(problem, _first_choice(problem, model, start), tol, max_iterations)
    return _solution(problem, run, tol)


@overload
def backward_induction(model: FiniteHorizonMDP) -> Solution[IntArray]: ...
@overload
def backward_induction(model: LinearMDP) -> LinearSolution: ...
def backward_induction(model: FiniteHorizonMDP | LinearMDP) -> Solution[IntArray] | LinearSolution:
    """Optimal values and policy of a finite-horizon MDP.

    Args:
        model: The model. A LinearMDP may have any number of states: its solution is H vectors of weights.

    Returns:
        value (H + 1, S) and policy (H, S), or the weights of a linear MDP; no history. The status is
        PRECISION_LIMIT only where rounding leaves a gap above 1e-8 of the greatest value.
    """
    if isinstance(model, LinearMDP):
        return linear_backward_induction(model)
    value = np.zeros((model.horizon + 1, model.n_states))
    policy = np.zeros((model.horizon, model.n_states), dtype=np.int64)
    for h, rows in stages_backwards(model):
        value[h], choice = best_rows(rows, row_values(rows, value[h + 1]))
        policy[h] = choice - rows.first[:-1]
    certificate = certify_stages(model, value, policy)
    return Solution(value, policy, certificate, exactness(certificate, value), model.horizon, ())


def evaluate_policy(
    model: TabularMDP | FiniteHorizonMDP, policy: ArrayLike
) -> Solution[IntArray] | Solution[FloatArray]:
    """The exact value of a policy, with bounds on both sides: lower <= v^policy <= upper.

    With gamma = 1 the value is minus or plus infinity where the policy goes on for ever losing or gaining
    rewards of one sign, and nan, with infinite bounds, where it goes on with rewards of both signs.

    Args:
        model: The model.
        policy: Actions (S,), or action probabilities (S, A). With a finite horizon also one of these for each
            stage: (H, S), or (H, S, A).

    Returns:
        value (S,), or (H + 1, S); policy as passed. One iteration, no history.

    Raises:
        ValueError: Naming the entry of the policy that is out of shape or range, or does not sum to one.
    """
    given = np.asarray(policy)
    if isinstance(model, FiniteHorizonMDP):
        value = _stage_values(model, given)
        certificate = certify_stage_policy(model, value, given)
    else:
        rows, rule = decision_rows(model), policy_rule(model, given)
        value = _chain_value(rows, rule)
        certificate = policy_bounds(rows, value, rule)
    return Solution(value, given, certificate, exactness(certificate, value), 1, ())


def _problem(model: TabularMDP) -> Quotient:
    """The model's quotient, refusing states from which no policy terminates."""
    problem = quotient(model)
    if model.gamma == 1.0 and (problem.start < 0).any():
        state = int(np.argmax(problem.start[problem.merged] < 0))
        raise ValueError(
            f"model has gamma = 1, but no policy terminates from state {state}; name the terminal states, "
            "or use gamma < 1"
        )
    return problem


@dataclass(eq=False)
class _Run:
    """What an iteration has so far, on the quotient; kept up to date, so that an interrupt loses nothing."""

    value: FloatArray
    choice: IntArray
    status: Status = Status.ITERATION_LIMIT
    history: list[float] = field(default_factory=list[float])


def _sweep(problem: Quotient, v: FloatArray, tol: float, max_iterations: int) -> _Run:
    """Value iteration with elimination of actions."""
    rows, run, best, idle = problem.rows, _Run(v, problem.rows.first[:-1]), np.inf, 0
    race = _Contenders(rows, np.arange(rows.r.size), _horizon(problem, v) * float(np.ptp(rows.r)))
    latest = None
    try:
        for _ in range(max_iterations):
            step = backup(race.rows, v)
            latest, run.value = (race, step), _centred(rows, step)
            gap = _spread(rows, step) * _horizon(problem, run.value)
            run.history.append(gap)
            best, idle = (gap, 0) if gap < best else (best, idle + 1)
            if _is_done(problem, run.value, gap, tol, idle):
                run.status = Status.CONVERGED
                break
            if rows.gamma < 1.0 and gap < race.gap / 30:
                race = race.without_losers(v, gap)
            v = run.value
    except KeyboardInterrupt:
        run.status = Status.INTERRUPTED
    if latest is not None:
        run.choice = latest[0].origin[latest[1].choice]
    return run


@dataclass(frozen=True, eq=False)
class _Contenders:
    """The rows that may still be optimal.

    Attributes:
        rows: These rows.
        origin: Their places among all rows.
        gap: Bound on the gap when they were found.
    """

    rows: DecisionRows
    origin: IntArray
    gap: float

    def without_losers(self, v: FloatArray, gap: float) -> "_Contenders":
        """Leave out what is worse than the best by more than the gap that T v certifies, if that is worth it."""
        if self.origin.size < 1.3 * v.size:
            return replace(self, gap=gap)
        q = row_values(self.rows, v)
        best = np.maximum.reduceat(q, self.rows.first[:-1])
        kept = q >= best[self.rows.owner] - gap - 4 * rounding_error(self.rows, v)
        if np.count_nonzero(kept) > 0.7 * kept.size:
            return replace(self, gap=gap)
        return _Contenders(self.rows.subset(kept), self.origin[kept], gap)


def _improve(problem: Quotient, choice: IntArray, tol: float, max_iterations: int) -> _Run:
    """Policy iteration."""
    rows, run = problem.rows, _Run(np.zeros(problem.rows.n_states), choice)
    target = tol / (8 * max(1.0, _horizon(problem, run.value)))
    try:
        for step in howard(rows, choice, run.value, target):
            run.value, run.choice = step.value, step.choice
            run.history.append((max(0.0, step.high) - min(0.0, step.low)) * _horizon(problem, run.value))
            if run.history[-1] <= _goal(problem, run.value, tol):
                break
            if len(run.history) == max_iterations:
                return run
        run.status = Status.CONVERGED
    except KeyboardInterrupt:
        run.status = Status.INTERRUPTED
    except UnboundedRewardError as error:
        state = int(np.argmax(problem.merged == error.state))
        raise ValueError(
            f"model has gamma = 1 and an unbounded total reward: around state {state} a policy collects reward for "
            "ever; name the terminal states, or use gamma < 1"
        ) from error
    return run


def _spread(rows: DecisionRows, step: Backup) -> float:
    """Span of T v - v; with gamma = 1 the span that includes zero."""
    return step.high - step.low if rows.gamma < 1.0 else max(0.0, step.high) - min(0.0, step.low)


def _centred(rows: DecisionRows, step: Backup) -> FloatArray:
    """T v moved to the middle of the bounds, where no terminal state fixes its level."""
    if rows.gamma == 1.0 or rows.terminal.any():
        return step.value
    return step.value + rows.gamma / (1.0 - rows.gamma) * 0.5 * (step.low + step.high)


def _horizon(problem: Quotient, v: FloatArray) -> float:
    """How far v* may lie from T v when T v - v spans one; 1 where nothing is known."""
    if problem.rows.gamma < 1.0:
        return problem.rows.gamma / max(1.0 - problem.rows.gamma, 1e-300)
    if problem.potential is None:
        return 1.0
    return max(1.0, float((problem.potential.h - v).max()) / problem.potential.slack)


def _goal(problem: Quotient, v: FloatArray, tol: float) -> float:
    """What rounding leaves of tol, or what it allows at best."""
    floor = 2 * total_error(problem.rows, v) * _horizon(problem, v)
    return max(tol - floor, floor)


def _is_done(problem: Quotient, v: FloatArray, gap: float, tol: float, idle: int) -> bool:
    """Whether the gap is small enough, or has not shrunk in so many sweeps that only rounding moves it."""
    if gap > tol and not idle:
        return False
    # Without discount news travels one state a sweep, and the gap may stay the same for as long.
    patience = 64 if problem.rows.gamma < 1.0 else 64 + v.size
    return idle >= patience or gap <= _goal(problem, v, tol)


def _first_choice(problem: Quotient, model: TabularMDP, start: ArrayLike | None) -> IntArray:
    rows = problem.rows
    if start is None:
        return problem.start if rows.gamma == 1.0 else best_rows(rows, rows.r)[1]
    rule = policy_rule(model, start, "start")
    if not is_deterministic(rule):
        raise ValueError(f"start has shape {np.shape(start)}; policy iteration starts from one action for each state")
    choice = problem.merge_rule(rule)
    if rows.gamma == 1.0:
        stuck = closed_classes(as_csr(policy_chain(rows, choice, rows.terminal).P), rows.terminal) >= 0
        if stuck.any():
            state = int(np.argmax(stuck[problem.merged]))
            raise ValueError(f"start never terminates from state {state}, but model has gamma = 1; leave start out")
    return choice


def _solution(problem: Quotient, run: _Run, tol: float) -> Solution[IntArray]:
    """The answer on the model's states, certified."""
    rows = problem.model_rows
    value = np.where(rows.terminal, 0.0, run.value[problem.merged])
    rule = problem.lift_choice(run.choice) if problem.rows is not rows else run.choice
    certificate = certify_rows(problem, value, rule)
    status = run.status
    if certificate.gap <= tol:
        status = Status.CONVERGED
    elif status is Status.CONVERGED:
        status = Status.PRECISION_LIMIT if np.isfinite(certificate.upper).all() else Status.NOT_CERTIFIED
    return Solution(value, rule - rows.first[:-1], certificate, status, len(run.history), tuple(run.history))


def _stage_values(model: FiniteHorizonMDP, policy: NDArray[Any]) -> FloatArray:
    value, rules = np.zeros((model.horizon + 1, model.n_states)), stage_rules(model, policy)
    for h, rows in stages_backwards(model):
        value[h] = rule_backup(rows, rules[h], value[h + 1])
    return value


def _chain_value(rows: DecisionRows, rule: IntArray | FloatArray) -> FloatArray:
    """v^pi (S,), infinite or nan where the total reward is."""
    start = np.zeros(rows.n_states)
    if rows.gamma < 1.0:
        chain = policy_chain(rows, rule, rows.terminal)
        return solve_chain(chain, start, rule_error(rows, rule, start))
    fates = fate(rows, rule)
    chain = policy_chain(rows, rule, fates.settled)
    value = solve_chain(chain, start, rule_error(rows, rule, start))
    value[fates.to_minus] = -np.inf
    value[fates.to_plus] = np.where(fates.to_minus[fates.to_plus], np.nan, np.inf)
    return value
