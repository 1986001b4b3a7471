"""Dynamic programming for finite MDPs: value iteration, policy iteration, backward induction.

**Value iteration** repeats v <- T v. With gamma < 1 the span of T v - v shrinks by gamma a sweep, often by much
more (by what the chains forget in a step), and bounds the error on both sides; the iteration stops when

    gamma / (1 - gamma) (max(T v - v) - min(T v - v)) <= tol

and returns T v moved to the middle of the bounds (MacQueen 1966; Puterman, Markov Decision Processes, 1994,
Theorem 6.6.3 and section 6.6.2). Each T is followed by some sweeps of T_pi of the greedy policy pi, which cost 1/A as
much (modified policy iteration: Puterman and Shin, Management Science 24, 1978). With gamma < 1 that converges from
every start: a constant added to v changes neither pi nor any span, and a low enough start rises to v*.

**Policy iteration** solves for v^pi (:mod:`.howard`). **Backward induction** is v_h = T_h v_{h+1} from v_H = 0
(Puterman, section 4.5).

With gamma = 1 all of them work on the quotient of :mod:`.total_reward`.

Every answer is certified from model, value and policy alone (:mod:`.certificates`), and ``status`` tells what
the certificate says: a solver that stops early, is interrupted, or meets the limits of float64 still returns its
best answer with true bounds.
"""

from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models import FiniteHorizonMDP, LinearMDP, TabularMDP
from ..models._checks import whole_number
from .bellman import (
    Backup,
    DecisionRows,
    as_csr,
    backup,
    best_rows,
    decision_rows,
    defect,
    rounding_error,
    row_values,
)
from .certificates import certify_rows, certify_stage_policy, certify_stages, policy_bounds
from .chains import closed_classes, fate, policy_chain, solve_chain
from .howard import UnboundedRewardError, howard
from .linear import LinearSolution, linear_backward_induction
from .policies import (
    Mix,
    Rule,
    policy_rule,
    require_start,
    require_tolerance,
    rule_backup,
    rule_error,
    stage_rules,
    stages_backwards,
)
from .solution import FloatArray, IntArray, Solution, Status, exactness
from .total_reward import Quotient, quotient


def value_iteration(
    model: TabularMDP,
    tol: float = 1e-8,
    *,
    evaluation_sweeps: int = 40,
    max_iterations: int = 100_000,
    start: ArrayLike | None = None,
) -> Solution[IntArray]:
    """Optimal value and policy by value iteration.

    With gamma = 1 sweeps find v* where going on for ever costs something; elsewhere (status NOT_CERTIFIED) they may
    end above it, with a policy that never terminates, so policy iteration takes their place.

    Args:
        model: The model.
        tol: Wanted bound on the certified gap.
        evaluation_sweeps: Most sweeps of the greedy policy alone after a sweep over all actions: 2 after the first,
            4 after the second, and so on up to this number. 0 is value iteration as in the books, and what gamma = 1
            gets.
        max_iterations: Largest number of sweeps over all actions.
        start: Value (S,) to start from. Default: zero.

    Returns:
        value (S,), policy (S,), and one entry of history for each sweep over all actions: the bound on the gap
        after it.

    Raises:
        ValueError: A bad tol, evaluation_sweeps, max_iterations or start; with gamma = 1, a state from which no policy
            terminates, or an unbounded total reward.
    """
    tol, max_iterations = require_tolerance(tol), whole_number("max_iterations", max_iterations, 1)
    evaluation_sweeps = whole_number("evaluation_sweeps", evaluation_sweeps, 0)
    problem, start = _problem(model), require_start(start, model)
    if model.gamma == 1.0 and problem.potential is None:
        run = _improve(problem, problem.start, tol, max_iterations)
    else:
        sweeps = evaluation_sweeps if model.gamma < 1.0 else 0
        run = _sweep(problem, problem.merge_value(start), tol, sweeps, max_iterations)
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


def _sweep(problem: Quotient, v: FloatArray, tol: float, evaluation_sweeps: int, max_iterations: int) -> _Run:
    """Value iteration."""
    rows, run, chain, best, idle = problem.rows, _Run(v, problem.rows.first[:-1]), None, np.inf, 0
    try:
        for _ in range(max_iterations):
            step = backup(rows, v)
            if evaluation_sweeps and (chain is None or not np.array_equal(step.choice, run.choice)):
                chain = policy_chain(rows, step.choice, rows.terminal)
            run.value, run.choice = _centred(rows, step), step.choice
            gap = _spread(rows, step) * _horizon(problem, run.value)
            run.history.append(gap)
            best, idle = (gap, 0) if gap < best else (best, idle + 1)
            if _is_done(problem, run.value, gap, tol, idle):
                run.status = Status.CONVERGED
                break
            # The policies of the first sweeps do not last; evaluating them for long would be wasted.
            v = run.value if chain is None else chain.after(run.value, min(2 * len(run.history), evaluation_sweeps))
    except KeyboardInterrupt:
        run.status = Status.INTERRUPTED
    return run


def _improve(problem: Quotient, choice: IntArray, tol: float, max_iterations: int) -> _Run:
    """Policy iteration."""
    rows, run = problem.rows, _Run(np.zeros(problem.rows.n_states), choice)
    target = tol / (8 * max(1.0, _horizon(problem, run.value)))
    try:
        for step in howard(rows, choice, run.value, target):
            run.value, run.choice = step.value, step.choice
            run.history.append((max(0.0, step.high) - min(0.0, step.low)) * _horizon(problem, run.value))
            if _is_done(problem, run.value, run.history[-1], tol, 0):
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


def _floor(problem: Quotient, v: FloatArray) -> float:
    """What rounding alone adds to the certified gap."""
    return 2 * (rounding_error(problem.rows, v) + defect(problem.rows, v)) * _horizon(problem, v)


def _is_done(problem: Quotient, v: FloatArray, gap: float, tol: float, idle: int) -> bool:
    """Whether the gap is within what rounding leaves of tol, or has long been so small that only rounding moves it."""
    if gap > tol and not idle:
        return False
    floor = _floor(problem, v)
    return gap <= max(tol - floor, floor) or (idle >= 64 and gap <= 8 * floor)


def _first_choice(problem: Quotient, model: TabularMDP, start: ArrayLike | None) -> IntArray:
    rows = problem.rows
    if start is None:
        return problem.start if rows.gamma == 1.0 else best_rows(rows, rows.r)[1]
    rule = policy_rule(model, start, "start")
    if isinstance(rule, Mix):
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


def _chain_value(rows: DecisionRows, rule: Rule) -> FloatArray:
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
