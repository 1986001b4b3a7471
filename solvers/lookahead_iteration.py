"""K-sample lookahead iteration with exact action values, under any schedule of evaluations.

From a policy pi_0 that draws every action,

    pi_{t+1} = (1 - eps_t) L_{K_t}(pi_t, q_t) + eps_t pi_0,

where L_K is the law of the best of K draws (:mod:`.lookahead`) and the critic q_t is q^{pi_t} after every M rounds, or
the action values of an older policy, or the maximum over those of all evaluated ones. With T_pi v the Bellman operator
of pi, E_{L_K pi} q >= E_pi q gives what each schedule guarantees, for eps = 0:

* **Every round.** v^{pi_t} rises in every state and converges to v*: from some round on the maximisers of the limit of
  q^{pi_t} stand strictly on top, where (1 - mass)^K is what is left of the others. One round gains

      |v* - v^{pi_{t+1}}|  <=  (1 - (1 - gamma) alpha) |v* - v^{pi_t}|,      alpha = 1 - (1 - p)^(K-1),

  with p the least mass that pi_t gives the maximisers of q^{pi_t} in a state. There is no rate for all models,
  since p may be arbitrarily small: an action that looked bad for n rounds has mass p^(K^n).
* **Every M rounds.** The same with K^M for K, seen at the evaluations; in between a value may fall.
* **Never again.** pi_t is L_{K^t} pi_0 for q^{pi_0}. It is worth at least pi_0 in every round, need not rise from
  one round to the next, and converges to the greedy policy of q^{pi_0}: one step of policy improvement, which is not
  the optimum in general (one-step RL: Brandfonbrener et al., NeurIPS 2021). Lookahead does not preserve the order of
  action values: the states it leads to become worth more, some sooner than others.
* **Delayed.** Whatever policy mu the critic belongs to, v^{pi'} >= v^mu for pi' = L_K pi wherever E_pi q^mu >= v^mu
  in all states, which lookahead preserves; that pi' improves on pi does not follow.
* **Maximum over the past.** No policy is worth less than the best evaluated so far, in any state (generalised policy
  improvement: Barreto et al., NeurIPS 2017, Theorem 1): if E_pi max_i q^{mu_i} >= max_i v^{mu_i} for the candidates'
  policy pi, then L_K preserves that and v^{L_K pi} is at least as large, and so is E_pi of the next maximum.

Policies are kept as logarithms. In float64 the iteration from probabilities themselves gets stuck: p^(K^n) is zero
after a few rounds, and an action of mass zero is never drawn again, however good it becomes. Logarithms reach
p^(K^n) for K^n up to 10^308 / log(1/p); yet the way back takes about K^n log(1/p) / log K rounds, as a round
multiplies a small mass by K at most, so that even on small random models the value may stay below v* for thousands of
rounds. With eps > 0 it takes log(1/(eps pi_0(a))) / log K, but the policy pays for what it draws from pi_0, and values
may fall; let eps decrease to 0.

No schedule is trusted: the answer's certificate (:mod:`.certificates`) is computed from model, value and policy alone,
and the status says CONVERGED only where it bounds v* within the tolerance.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from ..models import TabularMDP
from ..models._checks import BoolArray, ModelError, entry, first, flag, require_shape, unit_number, whole_number
from .bellman import UNIT_ROUNDOFF, DecisionRows, decision_rows, row_values
from .certificates import certify
from .chains import fate, policy_chain, solve_chain
from .lookahead import Ties, best_of_draws, require_draws, require_laws, require_ties
from .policies import Mix, require_tolerance, rule_error
from .solution import Certificate, FloatArray, Solution, Status, exactness

# Log-probabilities that move by less, relatively, do not move.
STILL = 1e-12


@dataclass(frozen=True)
class LookaheadScheme:
    """How each policy is made from the one before.

    Attributes:
        K: Number of draws of a round, real and >= 1; or one number a round, of which the last one stays.
        eps: Weight in [0, 1) of the first policy in the next one; or one number a round, of which the last one stays.
        ties: Whether tied draws are equally likely ("samples"), or the lowest index is taken ("order").
        evaluate_every: Rounds M from one evaluation to the next; None: only the first policy is evaluated.
        delay: How many evaluations the critic lags behind; the first one serves until there are so many.
        maximum: Whether the critic is the maximum over all action values that far back, not the last of them.

    Raises:
        ModelError: Naming the attribute, or its entry, that is out of range.
    """

    K: float | Sequence[float] = 2.0
    eps: float | Sequence[float] = 0.0
    ties: Ties = "samples"
    evaluate_every: int | None = 1
    delay: int = 0
    maximum: bool = False

    def __post_init__(self) -> None:
        """Check every attribute."""
        set_field = object.__setattr__
        set_field(self, "K", tuple(require_draws(K, name) for name, K in _entries("K", self.K)))
        set_field(self, "eps", tuple(_weight(name, eps) for name, eps in _entries("eps", self.eps)))
        require_ties(self.ties)
        if self.evaluate_every is not None:
            whole_number("evaluate_every", self.evaluate_every, 1)
        whole_number("delay", self.delay, 0)
        flag("maximum", self.maximum)

    def evaluates(self, t: int) -> bool:
        """Whether the policy of round t is evaluated for the critic."""
        return t == 0 if self.evaluate_every is None else t % self.evaluate_every == 0

    def next_policy(self, log_pi: FloatArray, critic: FloatArray, log_pi0: FloatArray, t: int) -> FloatArray:
        """log pi_{t+1} (S, A) from log pi_t, the critic and log pi_0, all (S, A)."""
        ahead = best_of_draws(log_pi, critic, _at(self.K, t), self.ties)
        eps = _at(self.eps, t)
        return np.logaddexp(np.log1p(-eps) + ahead, np.log(eps) + log_pi0) if eps > 0.0 else ahead

    @property
    def memory(self) -> int:
        """For how many rounds without movement something may still be about to change."""
        schedules = cast("tuple[tuple[float, ...], ...]", (self.K, self.eps))
        return (self.evaluate_every or 1) * (self.delay + 1) + max(len(schedule) for schedule in schedules)


@dataclass(frozen=True, eq=False)
class LookaheadRound:
    """One round of the iteration.

    Attributes:
        log_pi: Logarithms (S, A) of the policy.
        value: Its value (S,), exact.
        q: Its action values (S, A).
        critic: The action values (S, A) from which the next policy is made.
    """

    log_pi: FloatArray
    value: FloatArray
    q: FloatArray
    critic: FloatArray


def lookahead_iteration(
    model: TabularMDP,
    scheme: LookaheadScheme,
    pi0: ArrayLike | None = None,
    tol: float = 1e-8,
    *,
    max_iterations: int = 10_000,
) -> Solution[FloatArray]:
    """Policies of growing lookahead, until one is certified optimal within the tolerance.

    Args:
        model: The model; for a finite horizon, ``model.to_tabular()``.
        scheme: How each policy is made from the one before.
        pi0: First policy (S, A), which draws every action. None: the uniform one.
        tol: Wanted bound on the certified gap.
        max_iterations: Largest number of policies.

    Returns:
        value (S,) and policy (S, A), the last one where it converged, otherwise the one of greatest rho v; and one
        entry of history for each policy, evaluated for the critic or not: its expected value rho v. The status
        is STATIONARY where nothing moves any more and the gap is still above tol: sooner or later so where the first
        policy alone is evaluated and its greedy policy is not optimal, or where eps stays positive.

    Raises:
        ModelError: A bad pi0 (naming its entry or row), tol or max_iterations; with gamma = 1, a policy of infinite or
            undetermined value (naming round and state).
    """
    tol, max_iterations = require_tolerance(tol), whole_number("max_iterations", max_iterations, 1)
    rounds, run = lookahead_rounds(model, scheme, pi0), _Run(model, tol)
    try:
        while len(run.history) < max_iterations and run.idle <= scheme.memory:
            run.add(next(rounds))
            if run.status is Status.CONVERGED:
                break
    except KeyboardInterrupt:
        run.status = Status.INTERRUPTED
    return run.solution()


def lookahead_rounds(
    model: TabularMDP, scheme: LookaheadScheme, pi0: ArrayLike | None = None
) -> Iterator[LookaheadRound]:
    """The rounds t = 0, 1, ... without end; arguments and errors as in :func:`lookahead_iteration`."""
    return _rounds(_Evaluator(decision_rows(model)), scheme, _first_logarithms(model, pi0))


def _rounds(evaluator: "_Evaluator", scheme: LookaheadScheme, log_pi0: FloatArray) -> Iterator[LookaheadRound]:
    log_pi, critic = log_pi0, _Critic(scheme.delay, scheme.maximum)
    for t in count():
        value = evaluator.value(np.exp(log_pi), t)
        q = row_values(evaluator.rows, value).reshape(log_pi.shape)
        if scheme.evaluates(t):
            critic.add(q)
        yield LookaheadRound(log_pi, value, q, critic.q)
        log_pi = scheme.next_policy(log_pi, critic.q, log_pi0, t)


@dataclass(eq=False)
class _Evaluator:
    """Exact values of policies (S, A); with gamma = 1, which states are settled depends on the supports alone."""

    rows: DecisionRows
    support: BoolArray = field(init=False)
    settled: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        self.support, self.settled = np.zeros(self.rows.r.size, dtype=np.bool_), self.rows.terminal

    def value(self, pi: FloatArray, t: int) -> FloatArray:
        """v^pi (S,) of the policy of round t."""
        rule = Mix(pi.ravel())
        if self.rows.gamma == 1.0:
            self._settle(rule, t)
        start = np.zeros(self.rows.n_states)
        return solve_chain(policy_chain(self.rows, rule, self.settled), start, rule_error(self.rows, rule, start))

    def _settle(self, rule: Mix, t: int) -> None:
        # A chain that leaves a class with a chance that rounding hides stays there, as far as float64 can tell.
        support = rule.weights > UNIT_ROUNDOFF
        if np.array_equal(support, self.support):
            return
        fates = fate(self.rows, Mix(np.where(support, rule.weights, 0.0)))
        infinite = fates.to_minus | fates.to_plus
        if infinite.any():
            raise ModelError(
                f"model has gamma = 1, but from state {int(np.argmax(infinite))} the policy of round {t} goes on for "
                "ever, gaining or losing; use eps > 0, or gamma < 1"
            )
        self.support, self.settled = support, fates.settled


@dataclass(eq=False)
class _Critic:
    """What the last evaluations come to: ``q`` (S, A), known from the first one on."""

    delay: int
    maximum: bool
    q: FloatArray = field(init=False)
    waiting: deque[FloatArray] = field(default_factory=deque[FloatArray])
    evaluations: int = 0

    def add(self, q: FloatArray) -> None:
        """Take note of an evaluation."""
        self.waiting.append(q)
        self.evaluations += 1
        if self.evaluations == 1:
            self.q = q
        if len(self.waiting) > self.delay:
            old = self.waiting.popleft()
            self.q = np.maximum(self.q, old) if self.maximum else old


@dataclass(eq=False)
class _Run:
    """What the iteration has so far; kept up to date, so that an interrupt loses nothing."""

    model: TabularMDP
    tol: float
    status: Status = Status.ITERATION_LIMIT
    history: list[float] = field(default_factory=list[float])
    idle: int = 0
    last: LookaheadRound = field(init=False)
    best: LookaheadRound = field(init=False)
    target: float = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.tol * max(1.0 - self.model.gamma, 1e-3)

    def add(self, step: LookaheadRound) -> None:
        """Compare a round with those before it."""
        worth = float(self.model.rho @ step.value)
        if not self.history or worth >= max(self.history):
            self.best = step
        self.idle = self.idle + 1 if self.history and _is_still(step.log_pi, self.last.log_pi) else 0
        self.last = step
        self.history.append(worth)
        self._judge(step)

    def _judge(self, step: LookaheadRound) -> None:
        """Certify the policy once no action improves it by much; where that was not enough, ask for half as much."""
        residual = float((step.q.max(axis=1) - step.value).max())
        if residual > self.target:
            return
        if _certificate(self.model, step).gap <= self.tol:
            self.best, self.status = step, Status.CONVERGED
        self.target = 0.5 * residual

    def solution(self) -> Solution[FloatArray]:
        """The answer, certified."""
        step, certificate, status = self.best, _certificate(self.model, self.best), self.status
        if certificate.gap <= self.tol:
            status = Status.CONVERGED
        elif status is Status.ITERATION_LIMIT and self.idle:
            match exactness(certificate, step.value):
                case Status.CONVERGED:
                    status = Status.PRECISION_LIMIT
                case Status.NOT_CERTIFIED:
                    status = Status.NOT_CERTIFIED
                case _:
                    status = Status.STATIONARY
        return Solution(step.value, np.exp(step.log_pi), certificate, status, len(self.history), tuple(self.history))


def _certificate(model: TabularMDP, step: LookaheadRound) -> Certificate:
    return certify(model, step.value, np.exp(step.log_pi))


def _is_still(log_pi: FloatArray, before: FloatArray) -> bool:
    return bool(np.isclose(log_pi, before, rtol=STILL, atol=STILL).all())


def _first_logarithms(model: TabularMDP, pi0: ArrayLike | None) -> FloatArray:
    """log pi_0 (S, A), refusing a policy that leaves an action out."""
    if pi0 is None:
        return np.full(model.r.shape, -np.log(model.n_actions))
    law = require_laws("pi0", pi0)
    require_shape("pi0", law, model.r.shape, "(S, A)")
    never = (law == 0.0) & ~model.terminal[:, None]
    if never.any():
        raise ModelError(
            f"{entry('pi0', first(never))} is 0, and lookahead never draws what its first policy does not; give every "
            "action some probability"
        )
    with np.errstate(divide="ignore"):
        return np.log(law)


def _entries(name: str, value: float | Sequence[float]) -> list[tuple[str, float]]:
    """A schedule's entries with their names."""
    if not isinstance(value, Sequence):
        return [(name, value)]
    if not value:
        raise ModelError(f"{name} is empty; pass a number, or one number a round")
    return [(entry(name, (t,)), number) for t, number in enumerate(value)]


def _weight(name: str, eps: float) -> float:
    number = unit_number(name, eps)
    if number == 1.0:
        raise ModelError(f"{name} is 1, with which no policy leaves the first one; pass a number below 1")
    return number


def _at(schedule: float | Sequence[float], t: int) -> float:
    """Entry t of a checked schedule, the last one once they have run out."""
    numbers = cast("tuple[float, ...]", schedule)
    return numbers[min(t, len(numbers) - 1)]
