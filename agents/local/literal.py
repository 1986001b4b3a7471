"""TensorPlan to the letter, for exact queries.

    repeat
        theta+ <- argmax <phi_0(s_0), theta>    over ||theta|| <= B consistent with the data of all contradictions
        m rollouts from s_0: in each state query every action and play the one with the least |Delta_a(theta+)|;
            if that is not zero, the state's datum is a contradiction: keep it and start again
    until m rollouts meet no contradiction; then play by the same rule

(Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang, Szepesvári, On Query-Efficient Planning in MDPs under Linear
Realizability of the Optimal State-Value Function, COLT 2021, for queries without error.) Only contradictions are
remembered, and nothing is required of theta but consistency, so the plan competes with every deterministic policy whose
value function is linear in the features with weights of norm at most B:

* *Contradictions* number at most C(d+A, A) - 1 where there is such a policy
  (:func:`~lookahead_rl.solvers.hypotheses.tensor.contradiction_bound`).
* *Optimism*: <phi_0(s_0), theta+> is at least the value of each such policy.
* *Soundness*: let p be the probability that the plan meets a contradiction. Along its way up to there the Bellman
  equation holds, so v^pi(s_0) >= <phi_0(s_0), theta+> - p B, rewards being nonnegative. One clean rollout shows p = 0
  where the simulator is deterministic. Otherwise m clean rollouts have probability (1 - p)^m <= exp(-p m): but for a
  probability zeta, p <= ln(1/zeta) / m.
* *Discounted*, rollouts stop after H_eff = ceil(log(2 (B + 1/(1 - gamma)) / delta) / (1 - gamma)) stages. As
  gamma^H <= exp(-(1 - gamma) H), what follows is worth at most delta / 2 by either account.

The optimisation is exact (:class:`~lookahead_rl.solvers.hypotheses.affine.AffineTree`) and may take exponential time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ...models._checks import FloatArray, ModelError, real_array, real_number, whole_number
from ...solvers.hypotheses.affine import AffineTree
from ...solvers.hypotheses.bank import Bank, Datum
from ...solvers.hypotheses.program import Hypotheses, Optimum, Outcome, Program
from ...solvers.hypotheses.tensor import contradiction_bound
from ...wrappers.access import Visit
from ..errors import AgentError
from .measurement import Measurement, Observer
from .planner import Access, LocalPlanner, Plan, RepeatedContradiction

SOLVER_TOLERANCE = 1e-10
"""Of the optimiser; rollouts must be more tolerant, or a contradiction that was resolved would return."""


@final
@dataclass(frozen=True, eq=False)
class LiteralPlan(Plan):
    """What TensorPlan found out, and how it acts.

    Attributes:
        theta: theta+ (d,), which the last rollouts did not contradict.
        value: <phi_0(s_0), theta+>: no policy competed with is worth more.
        contradictions: The data kept, n of them, in their order.
        thetas: The hypotheses that they contradicted, (n, d).
        bound: What the number of contradictions cannot exceed, C(d+A, A) - 1.
        rollouts: Rollouts made.
        queries: Queries made while planning.
        nodes: Nodes of the optimiser's tree.
        tol: Discriminants count as zero within tol.
    """

    theta: FloatArray
    value: float
    contradictions: Bank
    thetas: FloatArray
    bound: int
    rollouts: int
    queries: int
    nodes: int
    tol: float

    def action(self, access: Access, visit: Visit) -> int:
        """The action with the least |Delta_a(theta+)|; costs a query of each action.

        Raises:
            AgentError: The access does not answer exactly.
            BudgetExceeded: The queries do not fit the budget.
        """
        return _consistent_action(_exact_observer(access).measure(visit), self.theta)[0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """theta, the contradictions, what they contradicted, and the counts."""
        bank = self.contradictions
        return {
            "theta": self.theta,
            "thetas": self.thetas,
            "features": bank.features,
            "increments": bank.increments,
            "rewards": bank.rewards,
            "caps": bank.caps,
            "numbers": np.array([self.value, self.tol]),
            "counts": np.array([self.rollouts, self.queries, self.nodes]),
        }


@final
class LiteralTensorPlan(LocalPlanner):
    """Plans by TensorPlan without deviation, for deterministic simulators and expectation oracles.

    Args:
        radius: B, bound on the norm of theta.
        rollouts: m, where transitions may be random; a deterministic simulator needs one.
        delta: Where rewards are discounted, twice the loss allowed for cutting rollouts.
        tol: A discriminant counts as zero within tol * (1 + B), at least 100 times what the optimiser leaves.
        max_nodes: Nodes that the optimiser may examine for one theta+; None: as many as it takes.

    Raises:
        ModelError: A number is out of range.
    """

    def __init__(
        self,
        radius: float,
        *,
        rollouts: int = 100,
        delta: float = 0.01,
        tol: float = 1e-7,
        max_nodes: int | None = None,
    ) -> None:
        self._radius = real_number("radius", radius)
        self._rollouts = whole_number("rollouts", rollouts, 1)
        self._delta, self._tol = real_number("delta", delta), real_number("tol", tol)
        self._max_nodes = None if max_nodes is None else whole_number("max_nodes", max_nodes, 1)
        for name, number in (("radius", self._radius), ("delta", self._delta)):
            if number <= 0.0:
                raise ModelError(f"{name} is {number}; pass a positive number")
        if not 100 * SOLVER_TOLERANCE <= self._tol < 1.0:
            raise ModelError(f"tol is {tol}; pass a number in [{100 * SOLVER_TOLERANCE:g}, 1)")

    def plan(self, access: Access, start: Visit, rng: np.random.Generator) -> LiteralPlan:
        """Plan for the episode that begins at ``start``.

        Raises:
            AgentError: The access does not answer exactly; ``start`` is not at stage 0; no theta of norm at most B is
                consistent with the data; or the optimiser reached ``max_nodes``.
            BudgetExceeded: The queries needed do not fit the budget.
            ModelError: What the simulator shows breaks its promises, see :class:`~.measurement.Observer`.
            RepeatedContradiction: A banked datum contradicts again.
        """
        observer = _exact_observer(access)
        if start.stage != 0:
            raise AgentError(
                f"plan() was called at stage {start.stage}; plan at stage 0 and act by the plan from there"
            )
        before, bank = access.queries, Bank(access.terms.n_actions, start.features.size)
        program = Program(start.features, self._radius, bank, Hypotheses.ANY, value_range=False)
        tree, tol = AffineTree(program, tol=SOLVER_TOLERANCE), self._tol * (1.0 + self._radius)
        thetas: list[FloatArray] = []
        rollouts = 0
        while True:
            theta, optimum = self._hypothesis(tree, bank, tol)
            made, contradiction = self._roll_out(observer, access, start, theta, tol, rng)
            rollouts += made
            if contradiction is None:
                break
            _require_new(contradiction, bank)
            thetas.append(theta)
            bank.add(contradiction)
        return LiteralPlan(
            theta=theta,
            value=optimum.lower,
            contradictions=bank,
            thetas=np.array(thetas).reshape(-1, theta.size),
            bound=contradiction_bound(theta.size, bank.n_actions),
            rollouts=rollouts,
            queries=access.queries - before,
            nodes=optimum.nodes,
            tol=tol,
        )

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> LiteralPlan:
        """The plan of these arrays."""
        theta, thetas = real_array("theta", arrays["theta"]), real_array("thetas", arrays["thetas"])
        increments = real_array("increments", arrays["increments"])
        if theta.ndim != 1 or increments.ndim != 3 or thetas.shape != (len(increments), theta.size):
            raise ModelError(
                f"theta of shape {theta.shape}, thetas of shape {thetas.shape} and increments of shape "
                f"{increments.shape} are not those of a plan, which are (d,), (n, d) and (n, A, d)"
            )
        bank = Bank(increments.shape[1], theta.size)
        parts = (real_array(name, arrays[name]) for name in ("features", "rewards", "caps"))
        for phi, r, cap, u in zip(*parts, increments, strict=True):
            bank.add(Datum(phi, u, r, float(cap), np.zeros(bank.n_actions)))
        value, tol = real_array("numbers", arrays["numbers"])
        rollouts, queries, nodes = (int(count) for count in arrays["counts"])
        bound = contradiction_bound(theta.size, bank.n_actions)
        return LiteralPlan(theta, float(value), bank, thetas, bound, rollouts, queries, nodes, float(tol))

    def stages(self, access: Access) -> int:
        """Length of a rollout: H, or H_eff where rewards are discounted."""
        terms = access.terms
        if terms.horizon is not None:
            return terms.horizon
        span = 1.0 / (1.0 - terms.gamma)
        return max(1, ceil(log(2.0 * (self._radius + span) / self._delta) * span))

    def _hypothesis(self, tree: AffineTree, bank: Bank, tol: float) -> tuple[FloatArray, Optimum]:
        """theta+, known to be consistent with the bank."""
        optimum = tree.solve(max_nodes=self._max_nodes)
        if optimum.theta is None:
            raise AgentError(self._reason(optimum, len(bank)))
        misses = bank.inconsistency(optimum.theta)
        if (misses > tol).any():
            raise RepeatedContradiction(
                f"datum {int(misses.argmax())} of the bank contradicts theta+ again, its least discriminant being "
                f"{misses.max():.3g} where {tol:.3g} is allowed; this is a bug unless the data are very nearly "
                "degenerate: please report it, and pass a larger tol"
            )
        return optimum.theta, optimum

    def _reason(self, optimum: Optimum, n_data: int) -> str:
        """Why there is no theta+."""
        if optimum.outcome is Outcome.LIMIT:
            return (
                f"the optimiser examined max_nodes = {self._max_nodes} nodes for one theta+ over {n_data} data without "
                "an answer; allow more, or plan with TensorPlan-v0"
            )
        return (
            f"no theta of norm at most B = {self._radius:g} is consistent with the {n_data} data seen: no "
            "deterministic policy has a value function linear in these features with such weights; pass a larger "
            "radius, or features that realise one"
        )

    def _roll_out(
        self, observer: Observer, access: Access, start: Visit, theta: FloatArray, tol: float, rng: np.random.Generator
    ) -> tuple[int, Datum | None]:
        """Rollouts up to the first contradiction: how many were made, and the contradiction."""
        most = 1 if access.terms.is_deterministic else self._rollouts
        for made in range(1, most + 1):
            visit: Visit | None = start
            for _ in range(self.stages(access)):
                measurement = observer.measure(visit)
                action, miss = _consistent_action(measurement, theta)
                if miss > tol:
                    return made, measurement.datum()
                visit = observer.follow(measurement, action, rng)
                if visit is None:
                    break
        return most, None


def _exact_observer(access: Access) -> Observer:
    observer = Observer(access)
    if not observer.is_exact:
        raise AgentError(
            "samples of a simulator that is not known to be deterministic have errors, and this planner takes every "
            "difference from zero for a contradiction; use an ExpectationAccess, a deterministic simulator (declared "
            "by is_deterministic), or TensorPlan-v0, which allows for errors"
        )
    return observer


def _require_new(datum: Datum, bank: Bank) -> None:
    is_known = (bank.increments == datum.increments).all(axis=(1, 2)) & (bank.rewards == datum.rewards).all(axis=1)
    if is_known.any():
        raise RepeatedContradiction(
            f"datum {int(is_known.argmax())} of the bank, with which theta+ is consistent, contradicts it in a "
            "rollout; this is a bug: please report it"
        )


def _consistent_action(measurement: Measurement, theta: FloatArray) -> tuple[int, float]:
    """The action whose discriminant is nearest zero, and by how much it misses."""
    misses = np.abs(measurement.discriminants(theta))
    action = int(misses.argmin())
    return action, float(misses[action])
