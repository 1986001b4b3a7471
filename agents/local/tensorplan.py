"""TensorPlan: optimistic local planning where the optimal value function is linear.

    repeat
        theta+ <- a maximiser of <phi_0(s_0), theta> over the weights that the data do not contradict
        roll out from s_0; in each state query every action and play one with Delta_a(theta+) = 0
    until all rollouts find such an action in every state; act by the same rule for the rest of the episode.

Where no action will do, the state is a contradiction, which removes theta+. The value promised is at least v*(s_0), as
theta* is never removed, and along a trajectory without contradiction it is what the rewards add up to: in a
deterministic world the plan is optimal (Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-Efficient
Planning in MDPs under Linear Realizability of the Optimal State-Value Function, COLT 2021). No planner of this kind can
be polynomial in d, H and the number of actions (Kane, Liu, Lovett, Mahajan, Computational-Statistical Gaps in
Reinforcement Learning, COLT 2022); this one is exact and comes with a certificate, and is practical to d of about 100.

What makes it so: every visited state is banked, not only contradictions; some d and a half are gathered before the
first hard program; the Bellman inequalities of v* are added as cuts; policy iteration on the bank proposes weights; and
the search for theta+ (:mod:`~lookahead_rl.solvers.hypotheses.tree`) goes on where it stood when data come in, taking
turns with rollouts along its most optimistic guess.

*What is tested.* In a deterministic world one rollout meets all that the plan can meet. Where exact answers tell all
successors, and keys are declared, every state that the plan can reach is visited. Otherwise m rollouts are a test and
no proof, and the status says so. Discounted rollouts stop where a deterministic world repeats itself, or after L
stages with gamma^L <= 1e-6, beyond which lies that share of 1 / (1 - gamma).

*Sampled queries.* Means over n samples widen each equation to a slab. The certificate then bounds what hypotheses
within the slabs promise, which is more than they can keep: its gap is the width of what is not known, not a value.
Acting, the plan draws n fresh samples of each action. Where keys are declared a state is estimated once while planning,
so rollouts that meet it again test the same numbers.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models import ModelError
from ...models._checks import FloatArray, real_number, whole_number
from ...solvers.hypotheses.bank import Bank, Datum
from ...solvers.hypotheses.certificates import OptimismCertificate
from ...solvers.hypotheses.incumbents import bank_policy_iteration
from ...solvers.hypotheses.mixed_integer import solve_mixed_integer
from ...solvers.hypotheses.program import Hypotheses, Outcome, Program
from ...solvers.hypotheses.tree import CONSISTENCY, HypothesisTree
from ...wrappers.access import BudgetExceeded, Visit
from .measurement import Measurement, Observer
from .planner import (
    Access,
    LocalPlanner,
    Plan,
    PlanningBudgetExceeded,
    RepeatedContradiction,
    queries_left,
    stages_ahead,
)

WARM_UP = 1.5
"""Data gathered by random rollouts before the first program is solved, in units of d."""
TESTED_TAIL = 1e-6
"""Where rewards are discounted, rollouts that test a plan go on until this share of the largest value is left."""
ROLLOUTS = 10
"""Rollouts that test a plan where not all states it can meet are visited."""
ROUNDING = 1e-6
"""How far bounds may miss each other by rounding alone."""
EXPLORED = 0.1
"""Data gathered between two attempts at a program, in units of d."""
EXPANSIONS = 20
"""Nodes of the tree split in the first attempt; each attempt that brings no new data doubles them."""
TEST_TOLERANCE = 2e-6
"""Delta_a(theta+) counts as zero up to this, relative to 1 + B: well above the 1e-7 of the hypotheses themselves."""
DEVIATION, CONFIDENCE = 0.5, 1e-3
"""Default slabs: what Hoeffding's inequality gives for rewards plus next values that range over one unit."""
FALLBACK_SECONDS = 60.0
"""What HiGHS has for a program that the tree could not settle."""
LARGER_RADIUS = 1e3
"""Where no theta of norm B is consistent, is there one of norm B times this?"""
LARGEST_RADIUS = 25_000.0
"""Beyond this, what counts as zero, :data:`TEST_TOLERANCE` times 1 + B, is more than a twentieth of a reward."""


class PlanStatus(Enum):
    """How planning ended; the text tells a person what was shown and what to do."""

    CERTIFIED = (
        "certified: answers are exact, the plan meets no state that contradicts its hypothesis, so it is worth what "
        "that promises, and no hypothesis promises more than the slack above it"
    )
    TESTED = (
        "tested: no hypothesis promises more than the slack above the plan's own, and the plan's rollouts met no "
        "contradiction, which is no proof: after ten of them, and but for a chance of 5 %, up to 26 % of all episodes "
        "may still meet one"
    )
    ROUNDED = (
        "not certified: the hypothesis satisfies the data up to rounding only, and no hypothesis satisfies them "
        "exactly; if features or rewards are rounded, pass the width that this makes of Delta = 0"
    )
    UNPROVED = (
        "not certified: the search reached max_expansions, and the hypothesis is the best one by HiGHS's word; no "
        "contradiction was met, and the certificate is true, but its bounds have not met: raise max_expansions"
    )
    OUT_OF_BUDGET = (
        "the budget ran out: the plan is the best so far and its certificate is true, but rollouts have not confirmed "
        "it; raise the budget"
    )

    def __str__(self) -> str:
        """The text itself."""
        return self.value


class NoHypothesisError(ModelError):
    """The data contradict every hypothesis; the message says whether B is too small or the features do not suffice."""


@dataclass(frozen=True, eq=False)
class PlanReport:
    """What planning found and what it took.

    Attributes:
        theta: The weights (d,) that the plan acts by.
        certificate: Bounds on the optimistic program. With ``OPTIMAL`` hypotheses and exact queries ``upper`` bounds
            v*(s_0); with samples it bounds what hypotheses within the slabs promise.
        program: The program that the certificate is of, with its data.
        status: How planning ended.
        hypotheses: Whom the plan competes with; ``ANY`` where v* turned out not to be linear.
        oracle: What answered the queries: "samples" or "expectations".
        is_exact: Whether the answers were exact.
        width: Half width of the slabs; 0 where the answers are exact.
        contradictions: Rollouts that ended in a state without a consistent action.
        rollouts: Rollouts made, the random ones included.
        queries: Queries spent.
    """

    theta: FloatArray
    certificate: OptimismCertificate
    program: Program
    status: PlanStatus
    hypotheses: Hypotheses
    oracle: str
    is_exact: bool
    width: float
    contradictions: int
    rollouts: int
    queries: int

    @property
    def promised(self) -> float:
        """<phi_0(s_0), theta>: with exact queries in a deterministic world the value of the plan."""
        return float(self.program.objective @ self.theta)


@dataclass(frozen=True)
class TensorPlanSettings:
    """Parameters of the practical planner.

    Attributes:
        radius: B, a bound on the norm of theta*. None: 2 H, or 2 / (1 - gamma), an assumption about the features.
        hypotheses: Whom to compete with.
        samples: Samples n of each state and action where answers are random.
        width: Half width of the slabs. None: 0 where answers are exact, else sqrt(ln(2/.001) / (2 n)), Hoeffding's for
            rewards plus next values that range over one unit. Features rounded to float32 need one too, about 1e-7 B.
        slack: Planning stops when no hypothesis promises more than this above the best one found. None: 0 where
            answers are exact, else a tenth of the largest value.
        rollouts: Rollouts that have to be free of contradictions. None: where answers tell all successors and keys
            are declared, every state that the plan can meet is visited instead; else 10. One where the world is
            deterministic.
        max_expansions: Nodes of the search tree split before a program is left to HiGHS's mixed-integer solver, whose
            best answer after a minute at most is used without proof.

    Raises:
        ModelError: A number is out of range.
    """

    radius: float | None = None
    hypotheses: Hypotheses = Hypotheses.OPTIMAL
    samples: int = 100
    width: float | None = None
    slack: float | None = None
    rollouts: int | None = None
    max_expansions: int = 200_000

    def __post_init__(self) -> None:
        """Check every number."""
        if self.radius is not None and real_number("radius", self.radius) <= 0.0:
            raise ModelError(f"radius is {self.radius}; pass a positive number, a bound on the norm of theta*")
        if self.width is not None and real_number("width", self.width) <= 0.0:
            raise ModelError(f"width is {self.width}; pass a positive number")
        if self.slack is not None and real_number("slack", self.slack) < 0.0:
            raise ModelError(f"slack is {self.slack}; pass a number >= 0")
        whole_number("samples", self.samples, 1)
        if self.rollouts is not None:
            whole_number("rollouts", self.rollouts, 1)
        whole_number("max_expansions", self.max_expansions, 1)


@final
class TensorPlan(LocalPlanner):
    """The practical planner.

    Args:
        settings: Its parameters.
    """

    def __init__(self, settings: TensorPlanSettings | None = None) -> None:
        self._settings = settings or TensorPlanSettings()

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> "TensorPlanPlan":
        """Plan for the episode that begins at ``start``.

        Raises:
            PlanningBudgetExceeded: The budget ran out; the best plan so far is attached, with its certificate.
            BudgetExceeded: The budget does not suffice to query one state.
            NoHypothesisError: The data contradict every hypothesis.
            ModelError: Features of norm above one, rewards outside [0, 1], other features for a key than before.
        """
        search = _Search(self._settings, access, start, rng)
        try:
            return search.run()
        except PlanningBudgetExceeded:
            raise
        except BudgetExceeded as error:
            if not len(search.bank):
                raise
            raise PlanningBudgetExceeded(error, search.cut_short()) from None

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "TensorPlanPlan":
        """The plan with these weights; its report is not kept in files."""
        theta = np.asarray(arrays["theta"], dtype=np.float64)
        if theta.ndim != 1 or not np.isfinite(theta).all():
            raise ValueError("theta is no vector of finite weights")
        is_greedy = bool(arrays["is_greedy"][()])
        return TensorPlanPlan(theta, is_greedy, self._settings.samples, None, None)


@final
class TensorPlanPlan(Plan):
    """Acts by theta+: at each state every action is queried, and one that is consistent is played.

    Args:
        theta: Weights (d,).
        is_greedy: Whether the action of the largest Delta_a is meant (``OPTIMAL`` hypotheses, whose Delta_a are never
            positive) instead of the one nearest to zero.
        samples: Samples n of each action where answers are random.
        observer: What knows the states of the planning episode, for reuse in the same access; or None.
        report: What planning found, or None where the plan comes from a file.

    Attributes:
        report: What planning found, or None.
    """

    def __init__(
        self, theta: FloatArray, is_greedy: bool, samples: int, observer: Observer | None, report: PlanReport | None
    ) -> None:
        self.report = report
        self._theta, self._is_greedy, self._samples, self._observer = theta, is_greedy, samples, observer

    def action(self, access: Access, visit: Visit) -> int:
        """The consistent action."""
        known = self._observer is not None and self._observer.access is access
        observer = self._observer if known and self._observer is not None else Observer(access, self._samples)
        return chosen_action(observer.measure(visit), self._theta, self._is_greedy)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights and the rule."""
        return {"theta": self._theta, "is_greedy": np.array(self._is_greedy)}


def chosen_action(measurement: Measurement, theta: FloatArray, is_greedy: bool) -> int:
    """The action with the largest discriminant, or with the one nearest to zero."""
    discriminants = measurement.discriminants(theta)
    return int(discriminants.argmax() if is_greedy else np.abs(discriminants).argmin())


@final
class _Search:
    """One call of the planner: the bank, the tree over it, and the rollouts that feed both."""

    def __init__(self, settings: TensorPlanSettings, access: Access, start: Visit, rng: np.random.Generator) -> None:
        terms = access.terms
        self._settings, self._access, self._start, self._rng = settings, access, start, rng
        self._observer = Observer(access, settings.samples)
        self._explored_stages, self._tested_stages = stages_ahead(terms, 0), stages_ahead(terms, 0, TESTED_TAIL)
        scale = terms.horizon if terms.horizon is not None else 1.0 / (1.0 - terms.gamma)
        self._radius = _radius(settings, scale)
        self._width = _width(settings, self._observer.is_exact)
        self._slack = settings.slack if settings.slack is not None else 0.0 if self._observer.is_exact else scale / 10
        self._measured: list[Measurement] = []
        self._known: dict[Hashable, Measurement] = {}
        self._contradictions = self._rollouts = 0
        self._expansions = EXPANSIONS
        if terms.budget is not None:
            queries_left(access, terms.n_actions * (1 if self._observer.is_exact else settings.samples))
        self._restart(settings.hypotheses)

    def run(self) -> TensorPlanPlan:
        """Until a hypothesis stands that nothing better is possible than, and that no rollout contradicts."""
        self._explore(math.ceil(WARM_UP * self.bank.dim))
        while True:
            self._propose()
            optimum = self._tree.solve(gap=self._slack, max_expansions=self._expansions)
            if optimum.outcome is Outcome.INFEASIBLE:
                self._give_way()
            elif optimum.outcome is Outcome.OPTIMAL and optimum.theta is not None:
                if self._stands(optimum.theta):
                    return self.best_plan(PlanStatus.CERTIFIED if self._tests_all else PlanStatus.TESTED)
            elif self._asked < self._settings.max_expansions:
                self._asked += self._expansions
                self._feed()
            elif (theta := self._unproved_optimum()) is None:
                self._give_way()
            elif self._stands(theta):
                return self.best_plan(PlanStatus.UNPROVED)

    def cut_short(self) -> TensorPlanPlan:
        """The plan where the budget ran out: the best by the data so far, after one more attempt at the program."""
        self._propose()
        self._tree.solve(gap=self._slack, max_expansions=EXPANSIONS)
        return self.best_plan(PlanStatus.OUT_OF_BUDGET)

    def best_plan(self, status: PlanStatus) -> TensorPlanPlan:
        """The plan by the best hypothesis so far."""
        theta = self._tree.incumbent
        if theta is None:
            theta = bank_policy_iteration(self._program, np.zeros(self.bank.dim))
        elif not self._observer.is_exact:
            theta = self._averaged(theta)
        is_greedy = self._program.hypotheses is Hypotheses.OPTIMAL
        certificate = self._tree.certificate()
        if status in (PlanStatus.CERTIFIED, PlanStatus.TESTED) and certificate.upper < certificate.lower - ROUNDING:
            status = PlanStatus.ROUNDED
        report = PlanReport(
            theta, certificate, self._program, status, self._program.hypotheses, self._access.oracle,
            self._observer.is_exact, self._width, self._contradictions, self._rollouts, self._access.queries,
        )  # fmt: skip
        return TensorPlanPlan(theta, is_greedy, self._settings.samples, self._observer, report)

    def _restart(self, hypotheses: Hypotheses) -> None:
        """A program of another kind, over the data so far."""
        self.bank = Bank(self._access.terms.n_actions, self._start.features.size)
        for measurement in self._measured:
            self.bank.add(measurement.datum(self._width))
        self._program = Program(self._start.features, self._radius, self.bank, hypotheses)
        self._tree = HypothesisTree(self._program)
        self._asked = 0  # expansions asked of the tree, which may come to a halt before it has made them

    def _propose(self) -> None:
        """Offer what policy iteration on the bank finds from the most optimistic guess."""
        guess = self._tree.top_point()
        if guess is not None:
            self._tree.offer(bank_policy_iteration(self._program, guess))

    def _unproved_optimum(self) -> FloatArray | None:
        """The best hypothesis by the mixed-integer solver, offered to the tree, which goes on knowing it."""
        theta = solve_mixed_integer(self._program, time_limit=FALLBACK_SECONDS).theta
        if theta is not None:
            self._tree.offer(theta)
        return self._tree.incumbent

    def _averaged(self, theta: FloatArray) -> FloatArray:
        """Weights fitted to all samples, if they are a hypothesis too: the extreme one leans on the widest slabs."""
        fitted = bank_policy_iteration(self._program, theta)
        return fitted if self._program.violation(fitted) <= self._tree.tolerance else theta

    def _feed(self) -> None:
        """Gather data along the most optimistic guess, and at random; work harder where there is nothing new."""
        before = len(self.bank)
        guess = self._tree.top_point()
        if guess is not None:
            self._roll_out(guess)
        self._explore(before + math.ceil(EXPLORED * self.bank.dim))
        if len(self.bank) == before:
            self._expansions *= 2

    @property
    def _tests_all(self) -> bool:
        """Whether the test of a plan meets every state that the plan can meet."""
        if not self._observer.is_exact:
            return False
        return self._access.terms.is_deterministic or (self._settings.rollouts is None and self._access.has_keys)

    def _stands(self, theta: FloatArray) -> bool:
        """Whether a consistent action is found everywhere the test goes, and theta still satisfies all data."""
        if self._access.terms.is_deterministic:
            is_consistent = self._roll_out(theta)
        elif self._tests_all:
            is_consistent = self._walk(theta)
        else:
            is_consistent = all(self._roll_out(theta) for _ in range(self._settings.rollouts or ROLLOUTS))
        return is_consistent and self._program.violation(theta) <= self._tree.tolerance

    def _explore(self, size: int) -> None:
        """Random rollouts until the bank holds ``size`` data, or one brings nothing new."""
        before = -1
        while before < len(self.bank) < size:
            before = len(self.bank)
            self._rollouts += 1
            visit: Visit | None = self._start
            for _ in range(self._explored_stages):
                if visit is None or len(self.bank) >= size:
                    break
                action = int(self._rng.integers(self.bank.n_actions))
                visit = self._observer.follow(self._measure(visit)[1], action, self._rng)

    def _roll_out(self, theta: FloatArray) -> bool:
        """One rollout by theta; whether every state on the way had a consistent action."""
        self._rollouts += 1
        visit: Visit | None = self._start
        closes = self._access.terms.is_deterministic and self._access.has_keys
        met: set[Hashable] = set()
        for _ in range(self._tested_stages):
            if visit is None or (closes and self._observer.name(visit) in met):  # from here on it repeats itself
                break
            if closes:
                met.add(self._observer.name(visit))
            measurement = self._consistent(visit, theta)
            if measurement is None:
                return False
            visit = self._observer.follow(measurement, self._chosen(measurement, theta), self._rng)
        return True

    def _walk(self, theta: FloatArray) -> bool:
        """Visit every state that the plan can meet; whether all of them had a consistent action."""
        ahead, met = [self._start], {self._observer.name(self._start)}
        while ahead:
            measurement = self._consistent(ahead.pop(), theta)
            if measurement is None:
                return False
            for visit in self._observer.successors(measurement, self._chosen(measurement, theta)):
                if (name := self._observer.name(visit)) not in met:
                    met.add(name)
                    ahead.append(visit)
        return True

    def _chosen(self, measurement: Measurement, theta: FloatArray) -> int:
        return chosen_action(measurement, theta, self._program.hypotheses is Hypotheses.OPTIMAL)

    def _consistent(self, visit: Visit, theta: FloatArray) -> Measurement | None:
        """What is known of a state, or None where it has no consistent action."""
        tolerance = TEST_TOLERANCE * (1.0 + self._radius) + self._width
        is_new, measurement = self._measure(visit)
        if bool(np.any(np.abs(measurement.discriminants(theta)) <= tolerance)):
            return measurement
        self._contradictions += 1
        if not is_new and self._tree.incumbent is theta:
            raise RepeatedContradiction(f"a datum of stage {visit.stage} contradicts a hypothesis it had admitted")
        return None

    def _measure(self, visit: Visit) -> tuple[bool, Measurement]:
        """Whether a state tells something new, which is banked then, and what is known of it, queried if need be."""
        name = (self._access.key(visit.handle), visit.stage) if self._access.has_keys else None
        if self._access.terms.horizon is None and name is not None:
            name = name[:1]
        if name in self._known:
            return False, self._known[name]
        measurement = self._observer.measure(visit)
        if name is not None:
            self._known[name] = measurement
        datum = measurement.datum(self._width)
        if self._observer.is_exact and _holds(self.bank, datum):
            return False, measurement
        self._measured.append(measurement)
        self.bank.add(datum)
        return True, measurement

    def _give_way(self) -> None:
        """No hypothesis is left: widen the slabs, or compete with less, or say why it cannot go on."""
        if not self._observer.is_exact:
            self._width *= 2.0
            self._restart(self._program.hypotheses)
            return
        self._require_radius()
        if self._program.hypotheses is Hypotheses.ANY:
            raise NoHypothesisError(
                "the features make the value function of no deterministic policy linear: the data of "
                f"{len(self.bank)} states contradict every theta; add features, or pass width if they are rounded"
            )
        self._restart(Hypotheses.ANY)

    def _require_radius(self) -> None:
        """Raise if a larger theta would be consistent, and not by the larger tolerance of a larger radius alone."""
        radius = min(LARGER_RADIUS * self._radius, LARGEST_RADIUS)
        larger = Program(self._start.features, radius, self.bank, self._program.hypotheses)
        theta = HypothesisTree(larger).solve(max_expansions=EXPANSIONS * self.bank.dim).theta
        norm = 0.0 if theta is None else float(np.linalg.norm(theta))
        if theta is not None and larger.violation(theta) <= CONSISTENCY * (1.0 + norm):
            raise NoHypothesisError(
                f"radius is {self._radius:.6g}, too small: no theta of that norm is consistent with the data of "
                f"{len(self.bank)} states, but one of norm {norm:.6g} is; pass a larger radius"
            )


def _holds(bank: Bank, datum: Datum) -> bool:
    """Whether a datum is in the bank: without keys a state may be met again."""
    same = (bank.increments == datum.increments).all(axis=(1, 2)) & (bank.rewards == datum.rewards).all(axis=1)
    return bool((same & (bank.features == datum.features).all(axis=1) & (bank.caps == datum.cap)).any())


def _radius(settings: TensorPlanSettings, scale: float) -> float:
    """B; the largest value is ``scale``."""
    radius = 2.0 * scale if settings.radius is None else settings.radius
    if radius > LARGEST_RADIUS:
        raise ModelError(
            f"radius is {radius:.6g}, at which rounding hides rewards; pass at most {LARGEST_RADIUS:g}, a bound on the "
            "norm of theta*"
        )
    return radius


def _width(settings: TensorPlanSettings, is_exact: bool) -> float:
    """Half width of the slabs."""
    if settings.width is not None:
        return settings.width
    if is_exact:
        return 0.0
    return DEVIATION * math.sqrt(2.0 * math.log(2.0 / CONFIDENCE) / settings.samples)
