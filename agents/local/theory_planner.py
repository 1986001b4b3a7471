"""TensorPlan with the constants of its proof.

    repeat
        theta+ <- a maximiser of <phi_0(s_0), theta> over what is left of the ball, up to sigma
        m rollouts of T stages: in each state n_c fresh samples of every action estimate Delta_a(theta+); if the least
            |estimate| is more than tau the state is a contradiction: n_d more samples of every action cut out theta+,
            and all begins again; else the action of the least |estimate| is played
    until m rollouts meet no contradiction; act by the same test, with samples as fresh

(Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-Efficient Planning in MDPs under Linear
Realizability of the Optimal State-Value Function, COLT 2021.) With the constants of :mod:`~.theory`, derived there, the
plan is worth v*(s_0) - delta at least, but for probability zeta_total. ``ANY`` hypotheses compete with every
deterministic policy whose value function is linear, of which the best stands for v*; ``OPTIMAL`` ones with v* alone,
and are fewer. The queries are counted out before the first is made, and a budget that could fall short is refused.

No sample is used twice: a test must not depend on the samples that chose theta+, nor the state that a rollout goes on
to on those that chose the action. Nothing is remembered but contradictions.

theta+ satisfies its constraints up to the optimiser's tolerance of 1e-7 (1 + B), which sigma makes up for. Where eps_d
is not far above that, more contradictions may come than are proved possible; what is returned is as sound, since they
are counted and E is the most that the union bound allows for.

Exact answers need none of this: :mod:`~.literal` takes over, with as many rollouts as delta and zeta_total ask for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO, final

import numpy as np
from numpy.typing import NDArray

from ...models._checks import FloatArray, ModelError, real_array, real_number, unit_number, whole_number
from ...solvers.hypotheses.bank import Bank, Datum
from ...solvers.hypotheses.certificates import OptimismCertificate
from ...solvers.hypotheses.program import Hypotheses, Outcome, Program
from ...solvers.hypotheses.tensor import contradiction_bound
from ...solvers.hypotheses.tree import HypothesisTree
from ...wrappers.access import AccessTerms, ExpectationAccess, LocalAccess, SampleMean, Visit
from ..errors import AgentError
from .literal import LiteralPlan, LiteralTensorPlan
from .measurement import NORM_TOLERANCE
from .planner import Access, LocalPlanner, Plan, sampled
from .theory import TheoryConstants

MOST_QUERIES = 10**9
"""Queries that are made where no budget is given."""
MOST_AT_ONCE = 10**15
"""Samples counted in one draw: float64, in which binomial draws are computed, still tells such numbers apart."""


@final
@dataclass(frozen=True, eq=False)
class TheoryReport:
    """What planning found and what it took.

    Attributes:
        constants: The constants planned with.
        program: The last optimistic program; its bank holds the contradictions, in their order.
        thetas: What they contradicted, (n, d).
        certificate: Bounds on the program with their proof; the gap is at most sigma.
        rollouts: Rollouts made.
        queries: Queries made.
    """

    constants: TheoryConstants
    program: Program
    thetas: FloatArray
    certificate: OptimismCertificate
    rollouts: int
    queries: int


@final
@dataclass(frozen=True, eq=False)
class TheoryPlan(Plan):
    """Acts by the test of the rollouts that theta+ passed.

    Attributes:
        theta: theta+ (d,).
        samples: n_c, samples of each action in a test.
        report: What planning found, or None where the plan comes from a file.
    """

    theta: FloatArray
    samples: int
    report: TheoryReport | None

    def action(self, access: Access, visit: Visit) -> int:
        """The action of the least |estimate of Delta_a(theta+)|, from n_c fresh samples of each.

        Raises:
            BudgetExceeded: The samples do not fit the budget.
            ModelError: The access is an expectation oracle, or what it shows breaks its promises.
        """
        return Estimate.of(sampled(access), visit, self.samples).test(self.theta)[0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """theta+ and n_c."""
        return {"theta": self.theta, "samples": np.array(self.samples)}


@final
class TheoryTensorPlan(LocalPlanner):
    """Plans within delta of the optimum, but for a probability, or refuses.

    Args:
        radius: B, bound on the norm of theta*.
        delta: Suboptimality allowed, positive; where answers are random at most H, or 1 / (1 - gamma).
        failure: zeta_total, the probability with which an estimate may mislead, in (0, 1).
        hypotheses: Whom to compete with where answers are random. Where they are exact it is everyone.
        stream: Where the table of constants is written before the first query; None: nowhere.

    Raises:
        ModelError: A number is out of range.
    """

    def __init__(
        self,
        radius: float,
        delta: float,
        *,
        failure: float = 0.05,
        hypotheses: Hypotheses = Hypotheses.ANY,
        stream: TextIO | None = None,
    ) -> None:
        self._radius, self._delta = real_number("radius", radius), real_number("delta", delta)
        self._failure = unit_number("failure", failure)
        self._hypotheses, self._stream = hypotheses, stream
        for name, number in (("radius", self._radius), ("delta", self._delta)):
            if number <= 0.0:
                raise ModelError(f"{name} is {number}; pass a positive number")
        if not 0.0 < self._failure < 1.0:
            raise ModelError(f"failure is {failure}; pass a probability between 0 and 1, both excluded")

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> TheoryPlan | LiteralPlan:
        """Plan for the episode that begins at ``start``.

        Raises:
            AgentError: The queries that may be needed do not fit the budget, or there is none and they are more than
                :data:`MOST_QUERIES`; ``start`` is not at stage 0; or the data contradict the promise that there is
                such a theta*, the message saying with what probability they mislead.
            ModelError: delta exceeds what an episode can be worth, or what the simulator shows breaks its promises.
        """
        if start.stage != 0:
            raise AgentError(
                f"plan() was called at stage {start.stage}; plan at stage 0 and act by the plan from there"
            )
        if isinstance(access, ExpectationAccess) or access.terms.is_deterministic:
            return self._literal(access.terms, start.features.size).plan(access, start, rng)
        constants = self.constants(access.terms, start.features.size)
        self._write(str(constants))
        _require_budget(constants, access)
        return _Search(constants, self._hypotheses, access, start).run()

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> TheoryPlan | LiteralPlan:
        """The plan of these arrays; a report is not kept in files, but that of exact answers is."""
        if "samples" not in arrays:
            return LiteralTensorPlan(self._radius).restore(arrays)
        theta = real_array("theta", arrays["theta"])
        if theta.ndim != 1:
            raise ModelError(f"theta has shape {theta.shape}; expected (d,)")
        return TheoryPlan(theta, whole_number("samples", arrays["samples"][()], 1), None)

    def constants(self, terms: AccessTerms, dim: int) -> TheoryConstants:
        """The constants for random answers.

        Args:
            terms: What is known of the simulator.
            dim: Dimension d of the features.

        Raises:
            ModelError: delta exceeds what an episode can be worth.
        """
        return TheoryConstants(
            dim, terms.n_actions, terms.horizon, self._radius, self._delta, self._failure, terms.gamma
        )

    def _literal(self, terms: AccessTerms, dim: int) -> LiteralTensorPlan:
        """The planner for exact answers.

        m clean rollouts lose B ln(1 / zeta) / m, and each of the theta+ may be accepted by mistake; with a discount the
        stages left out take half of delta.
        """
        hypotheses = contradiction_bound(dim, terms.n_actions) + 1
        odds, share = math.log(hypotheses / self._failure), 1.0 if terms.horizon is not None else 0.5
        m = 1 if terms.is_deterministic else math.ceil(self._radius * odds / (share * self._delta))
        self._write(f"m         {m:<11d}clean rollouts; answers are exact, so there is nothing else to be computed")
        return LiteralTensorPlan(self._radius, rollouts=m, delta=self._delta)

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"{text}\n")


@dataclass(frozen=True, eq=False)
class Estimate:
    """Estimates of r_a and u_a = gamma P_a phi' - phi in one state, each a mean of fresh samples.

    Attributes:
        rewards: (A,).
        increments: (A, d).
    """

    rewards: FloatArray
    increments: FloatArray

    @classmethod
    def of(cls, access: LocalAccess, visit: Visit, n: int) -> "Estimate":
        """From n samples of each action.

        Raises:
            BudgetExceeded: They do not fit the budget.
            ModelError: Features of norm above one, or a reward outside [0, 1].
        """
        _require_norm(float(np.linalg.norm(visit.features)), visit.stage)
        means = [_mean(access, visit, action, n) for action in range(access.terms.n_actions)]
        rewards, following = np.array([mean[0] for mean in means]), np.array([mean[1] for mean in means])
        return cls(rewards, access.terms.gamma * following - visit.features)

    def test(self, theta: FloatArray) -> tuple[int, float]:
        """The action with the least |estimate of Delta_a(theta)|, and that."""
        misses = np.abs(self.rewards + self.increments @ theta)
        action = int(misses.argmin())
        return action, float(misses[action])


@final
class _Search:
    """One call of the planner."""

    def __init__(self, constants: TheoryConstants, hypotheses: Hypotheses, access: LocalAccess, start: Visit) -> None:
        self._constants, self._access, self._start = constants, access, start
        bank = Bank(constants.n_actions, constants.dim)
        self._program = Program(start.features, constants.B, bank, hypotheses, value_range=False)
        self._tree = HypothesisTree(self._program)
        self._thetas: list[FloatArray] = []
        self._rollouts, self._before = 0, access.queries

    def run(self) -> TheoryPlan:
        """Until m rollouts meet no contradiction."""
        while True:
            theta = self._hypothesis()
            visit = self._contradiction(theta)
            if visit is None:
                return TheoryPlan(theta, int(self._constants.n_c), self._report())
            self._cut(visit, theta)

    def _hypothesis(self) -> FloatArray:
        """theta+, in the ball."""
        c, tree = self._constants, self._tree
        optimum = tree.solve(gap=c.sigma - tree.tolerance)
        if optimum.outcome is Outcome.INFEASIBLE:
            raise AgentError(
                f"no theta of norm at most B = {c.B:g} is consistent with the {len(self._thetas)} contradictions: "
                f"either there is no such theta*, or an event of probability {c.zeta_total:g} happened; pass a larger "
                "radius, features that realise v*, or plan again with another seed"
            )
        if optimum.theta is None or optimum.outcome is not Outcome.OPTIMAL:
            raise AgentError(f"the optimiser is stuck within {optimum.upper - optimum.lower:.3g} of its optimum")
        # Hoeffding's inequality is meant for the ball itself; the tolerance taken from sigma pays for it.
        return optimum.theta * (c.B / max(c.B, float(np.linalg.norm(optimum.theta))))

    def _contradiction(self, theta: FloatArray) -> Visit | None:
        """The first state in m rollouts that contradicts theta."""
        for _ in range(int(self._constants.m)):
            self._rollouts += 1
            visit = self._roll_out(theta)
            if visit is not None:
                return visit
        return None

    def _roll_out(self, theta: FloatArray) -> Visit | None:
        """The state that contradicts theta, if this rollout meets one."""
        visit: Visit | None = self._start
        for _ in range(int(self._constants.T)):
            action, miss = Estimate.of(self._access, visit, int(self._constants.n_c)).test(theta)
            if miss > self._constants.tau:
                return visit
            visit = self._next(visit, action)
            if visit is None:
                break
        return None

    def _next(self, visit: Visit, action: int) -> Visit | None:
        """A state drawn anew, or None where the episode is over."""
        reached = self._access.query(visit.handle, action)
        if reached.terminated[0] or reached.stage == self._constants.horizon:
            return None
        return Visit(reached.handles[0], reached.features[0], reached.stage)

    def _cut(self, visit: Visit, theta: FloatArray) -> None:
        """Bank a contradiction."""
        c = self._constants
        if len(self._thetas) >= c.E:
            raise AgentError(
                f"more than E = {c.E:g} contradictions: either no theta* of norm at most B = {c.B:g} realises v*, or "
                f"an event of probability {c.zeta_total:g} happened; pass a larger radius, features that realise v*, "
                "or plan again with another seed"
            )
        cut = Estimate.of(self._access, visit, int(c.n_d))
        cap = c.W if c.horizon is None else c.W - visit.stage
        slack = np.full(c.n_actions, c.eps_d)
        self._program.bank.add(Datum(visit.features, cut.increments, cut.rewards, cap, slack))
        self._thetas.append(theta)

    def _report(self) -> TheoryReport:
        thetas = np.array(self._thetas).reshape(-1, self._constants.dim)
        queries = self._access.queries - self._before
        return TheoryReport(self._constants, self._program, thetas, self._tree.certificate(), self._rollouts, queries)


def _require_budget(constants: TheoryConstants, access: LocalAccess) -> None:
    budget = access.terms.budget
    left = MOST_QUERIES if budget is None else budget - access.queries
    if not constants.feasible(left):
        unlimited = "" if budget is not None else "; no budget was given, which allows no more: pass one that does"
        raise AgentError(constants.refusal(left) + unlimited)


def _mean(access: LocalAccess, visit: Visit, action: int, n: int) -> tuple[float, FloatArray]:
    """Mean reward and mean features of the next state, zero where the episode is over."""
    reward, following = 0.0, np.zeros_like(visit.features)
    for begun in range(0, n, MOST_AT_ONCE):
        mean = access.mean(visit.handle, action, min(MOST_AT_ONCE, n - begun))
        is_last = mean.stage == access.terms.horizon
        _require_promises(mean, is_last)
        reward += mean.n / n * mean.reward
        if not is_last:
            following += mean.n / n * mean.next_features
    return reward, following


def _require_promises(mean: SampleMean, is_last: bool) -> None:
    for reward in mean.rewards:
        if not 0.0 <= reward <= 1.0:
            raise ModelError(
                f"a sample of a transition to stage {mean.stage} paid {reward:.6g}; rewards must lie in [0, 1]: "
                "rescale them before planning"
            )
    if not is_last:
        _require_norm(mean.largest_norm, mean.stage)


def _require_norm(norm: float, stage: int) -> None:
    if not norm <= 1.0 + NORM_TOLERANCE:
        raise ModelError(
            f"the features shown at stage {stage} have norm {norm:.9g}; norms must be at most 1: "
            "divide all features by the largest norm and multiply the radius by it"
        )
