"""Rewards and costs of a finite horizon, on the states that can be met.

Whatever the policy, at stage h an episode is in one of a set M_h of states: M_0 is the support of rho, M_{h+1} what the
law of stage h can reach from M_h, in a linear process the support of mu_h. Nothing else matters to a policy's value
and cost, and in a linear process with measures of finite support these sets are as small in a billion states as in a
thousand. On them, for rewards and costs alike and from zero after the last stage,

    q_h(s, a) = pay_h(s, a) + sum_{s'} P_h(s' | s, a) v_{h+1}(s'),        v_h(s) = sum_a pi_h(a | s) q_h(s, a)

(Puterman, Markov Decision Processes, 1994, section 4.2), and forwards the *occupancies* x_h(s, a), the probabilities of
being in s at stage h and playing a there, obey

    sum_a x_0(s, a) = rho(s),             sum_a x_{h+1}(s', a) = sum_{s, a} P_h(s' | s, a) x_h(s, a).

Every x >= 0 that does so is that of the policy x_h(s, a) / sum_a' x_h(s, a') (Puterman, section 8.9; Altman,
Constrained Markov Decision Processes, 1999, chapter 3), so that a policy's value and cost are linear in x.

A law may be stored as a product of factors, phi mu in a linear process; it is never multiplied out. Numbers come with a
priori bounds on their rounding errors: a sum of k products is wrong by at most k u / (1 - k u) times the sum of their
sizes, and by what underflow hides unless all of them are zero (Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed., sections 2.1 and 3.1). Where nothing but zeros is added up, the error is zero too.

Rewards and costs are kept in units of their own, powers of two near the largest of either, so that it makes no
difference in which a model is written.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from ..models import ConstrainedLinearMDP, ConstrainedMDP, ConstrainedProblem, ModelError
from ..models._checks import entry, first, plain_array, require_distributions, require_room
from ..models.linear import NEGATIVE_TOLERANCE, TABULAR_BYTES
from ..models.measures import added_up
from ..models.outcomes import TransitionMatrix
from ..models.summaries import Summarised
from .bellman import UNIT_ROUNDOFF
from .certificates import TINY
from .solution import FloatArray, IntArray

Laws = Sequence[FloatArray]
"""For each stage action probabilities (n_h, A) in its states."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage.

    Attributes:
        states: The states (n,) that can be met, sorted.
        pay: Reward and cost (n*A, 2), row i*A + a for states[i] and action a, in the problem's units.
        factors: Matrices whose product is the law (n*A, m) over the next stage's states; none at the last stage.
        size: Sizes (n*A, 2) of the numbers that make up rewards and costs, their absolute values added up; zero only
            where all of them are.
        stray: Bound on the probability that counts as zero although the product of the factors is negative there.
        terms: Most numbers summed, one after another, for one entry of v, with a few to spare.
    """

    states: IntArray
    pay: FloatArray
    factors: tuple[TransitionMatrix, ...]
    size: FloatArray
    stray: float
    terms: int

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return len(self.pay) // self.states.size

    def expected(self, later: FloatArray) -> FloatArray:
        """P v (n*A, ...) of values (m, ...) at the next stage; zero at the last one."""
        return _product(self.factors, later, len(self.pay))

    def reached(self, occupancy: FloatArray) -> FloatArray:
        """Probabilities (m,) of the next stage's states, after occupancies (n, A)."""
        flow = occupancy.reshape(-1)
        for factor in self.factors:
            flow = cast("FloatArray", factor.T @ flow)
        return flow

    def error(self, size: FloatArray, later: FloatArray, inherited: FloatArray) -> FloatArray:
        """Bounds on the errors of q, of the shape of ``size`` (n*A, ...), as a sum over its actions inherits them.

        Args:
            size: Sizes of the payments.
            later: Sizes (m, ...) of the values at the next stage.
            inherited: Bounds (m, ...) on their errors, zero only where nothing but zeros made the value.
        """
        rounding = 2.0 * self.terms * UNIT_ROUNDOFF
        moved = rounding * later + inherited if self.factors else np.zeros_like(size)
        for factor in reversed(self._sizes):
            moved = carried(factor, moved)
        error = (moved + rounding * size + self.stray * later.max(axis=0, initial=0.0)) * (1.0 + 2.0 * rounding)
        return error + TINY * ((moved > 0.0) | (size > 0.0))

    @cached_property
    def _sizes(self) -> tuple[TransitionMatrix, ...]:
        """The factors' absolute values; the factors themselves where these are not negative anyway."""
        return tuple(factor if factor.min() >= 0 else cast("FloatArray", abs(factor)) for factor in self.factors)


@dataclass(frozen=True, eq=False)
class StagedProblem:
    """A constrained problem on the states that can be met.

    Attributes:
        n_states: Number of all states S.
        stages: The H stages.
        rho: Probabilities (n_0,) of the first stage's states.
        budget: What an episode may cost, in the model's unit.
        exponents: The units of reward and cost (2,) in the stages: two to these powers.
    """

    n_states: int
    stages: tuple[Stage, ...]
    rho: FloatArray
    budget: float
    exponents: IntArray

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self.stages[0].n_actions

    @cached_property
    def limit(self) -> float:
        """The budget in the unit of costs, exactly; or the largest float64, which no episode costs."""
        return min(shifted(self.budget, -int(self.exponents[1])), float(np.finfo(np.float64).max))

    @cached_property
    def most(self) -> float:
        """Bound on what an episode earns, in the unit of rewards."""
        return sum(float(stage.size[:, 0].max()) for stage in self.stages)

    def written(self, number: float, channel: int) -> float:
        """A sum of rewards (channel 0) or costs (1) in the model's unit."""
        return shifted(number, int(self.exponents[channel]))

    def rounded_up(self, number: float, channel: int) -> float:
        """The least float64 in the model's unit that is not below a number in that of the stages."""
        found = self.written(number, channel)
        exact = shifted(found, -int(self.exponents[channel])) >= number
        return found if exact else float(np.nextafter(found, np.inf))

    def start(self, values: FloatArray, size: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expectation over rho of values (n_0, ...), and a bound on its error given their sizes and errors."""
        rounding = 2.0 * (self.rho.size + 4) * UNIT_ROUNDOFF
        return self.rho @ values, carried(self.rho, error + rounding * size) * (1.0 + 2.0 * rounding)


@dataclass(frozen=True, eq=False, repr=False)
class StagedPolicy(Summarised):
    """A randomised policy that looks at the stage, on the states that can be met; uniform where no policy ever comes.

    Attributes:
        n_states: Number of all states S.
        states: For each stage the states (n_h,) that can be met, sorted.
        laws: For each stage action probabilities (n_h, A) there.
    """

    shown: ClassVar[tuple[str, ...]] = ("horizon", "n_actions")

    n_states: int
    states: tuple[IntArray, ...]
    laws: tuple[FloatArray, ...]

    @property
    def horizon(self) -> int:
        """Number of stages H."""
        return len(self.states)

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return self.laws[0].shape[1]

    def action_probabilities(self, observations: ArrayLike) -> FloatArray:
        """Action probabilities (n, A).

        Args:
            observations: Codes h*S + s (n,), what an environment with ``observation="state"`` shows.

        Raises:
            ModelError: Naming a code that is out of range, or the shape or type of what are no codes.
        """
        codes = plain_array("observations", observations)
        n_codes = self.n_states * (self.horizon + 1)
        wanted = f"pass integers h*S + s in [0, {n_codes})"
        if codes.dtype.kind not in "iu" or codes.ndim != 1:
            raise ModelError(f"observations have dtype {codes.dtype} and shape {codes.shape}; {wanted}, of shape (n,)")
        bad = (codes < 0) | (codes >= n_codes)
        if bad.any():
            raise ModelError(f"{entry('observations', first(bad))} is {codes[first(bad)]}; {wanted}")
        h, s = np.divmod(codes.astype(np.int64), self.n_states)
        law = np.full((*codes.shape, self.n_actions), 1.0 / self.n_actions)
        for stage, (states, known) in enumerate(zip(self.states, self.laws, strict=True)):
            at = np.flatnonzero(h == stage)
            place = np.minimum(np.searchsorted(states, s[at]), states.size - 1)
            met = states[place] == s[at]
            law[at[met]] = known[place[met]]
        return law

    def table(self, max_bytes: int = TABULAR_BYTES) -> FloatArray:
        """Action probabilities (H, S, A) of all states.

        Raises:
            ModelError: The table would be larger than ``max_bytes``.
        """
        shape = (self.horizon, self.n_states, self.n_actions)
        remedy = "ask action_probabilities(codes) for those of some states, or raise max_bytes"
        require_room(f"a table of {shape}", 8 * math.prod(shape), max_bytes, remedy)
        law = np.full(shape, 1.0 / self.n_actions)
        for h, (states, known) in enumerate(zip(self.states, self.laws, strict=True)):
            law[h, states] = known
        return law


def _product(factors: tuple[TransitionMatrix, ...], later: FloatArray, n_rows: int) -> FloatArray:
    """The product of matrices with values (m, ...); of no matrices zero."""
    if not factors:
        return np.zeros((n_rows, *later.shape[1:]))
    for factor in reversed(factors):
        later = cast("FloatArray", factor @ later)
    return later


def carried(factor: TransitionMatrix, bound: FloatArray) -> FloatArray:
    """The product of two arrays >= 0, raised by what underflow may hide wherever anything but zeros is added up."""
    moved = cast("FloatArray", factor @ bound)
    touched = moved > 0.0
    if not touched.all():
        touched = cast("FloatArray", (factor > 0.0) @ (bound > 0.0).astype(np.float64)) > 0.0
    return moved + TINY * touched


def shifted(numbers: Any, exponent: Any) -> Any:
    """Numbers times two to a power, without a word where float64 ends."""
    with np.errstate(over="ignore", under="ignore"):
        found = np.ldexp(numbers, exponent)
    return found if isinstance(numbers, np.ndarray) else float(found)


def exponents_of(sizes: FloatArray) -> IntArray:
    """The powers of two at or below sizes, 0 for a size of 0."""
    return np.where(sizes > 0.0, np.frexp(sizes)[1] - 1, 0).astype(np.int64)


def staged_problem(model: ConstrainedProblem) -> StagedProblem:
    """A constrained problem on the states that can be met.

    Raises:
        ModelError: ``model`` is none; or an episode may earn more than float64 holds.
    """
    if isinstance(model, ConstrainedLinearMDP):
        start = model.mdp.initial_distribution()
        possible = start.weights > 0
        states, place = np.unique(start.states[possible], return_inverse=True)
        rho = added_up(place, start.weights[possible], states.size)
        units = exponents_of(np.array([np.abs(model.mdp.theta).max(), np.abs(model.theta_cost).max()]))
        return _in_units(model, _linear_stages(model, states, units), rho, units)
    if isinstance(cast("Any", model), ConstrainedMDP):
        states = np.flatnonzero(model.mdp.rho)
        return _in_units(model, _tabular_stages(model, states), model.mdp.rho[states], np.zeros(2, np.int64))
    raise ModelError(f"model is {type(model).__name__}; pass a ConstrainedMDP or a ConstrainedLinearMDP")


def _in_units(
    model: ConstrainedProblem, stages: Iterable[Stage], rho: FloatArray, exponents: IntArray
) -> StagedProblem:
    """The problem of these stages, whose units ``exponents`` tells, in units in which the largest lie in [1, 2)."""
    found = tuple(stages)
    finer = exponents_of(np.max([np.abs(stage.pay).max(axis=0) for stage in found], axis=0))
    scaled = tuple(
        replace(
            stage,
            pay=shifted(stage.pay, -finer),
            size=np.where(stage.size > 0.0, np.maximum(shifted(stage.size, -finer), TINY), 0.0),
        )
        for stage in found
    )
    problem = StagedProblem(model.n_states, scaled, rho, model.budget, exponents + finer)
    if problem.written(problem.most, 0) == np.inf:
        raise ModelError(
            f"an episode of {model.horizon} stages may earn more than the largest float64; divide the rewards by a "
            "constant"
        )
    return problem


def _linear_stages(model: ConstrainedLinearMDP, states: IntArray, units: IntArray) -> Iterator[Stage]:
    mdp = model.mdp
    for h in range(mdp.horizon):
        law = mdp.stage(h)
        phi = mdp.phi(states).reshape(-1, mdp.dim)
        parameters = shifted(np.stack([law.theta, model.stage_theta_cost(h)], axis=1), -units)
        last = h == mdp.horizon - 1
        yield Stage(
            states=states,
            pay=phi @ parameters,
            factors=() if last else (phi, law.mu),
            size=carried(np.abs(phi), np.abs(parameters)),
            stray=0.0 if mdp.is_mixture else NEGATIVE_TOLERANCE * law.support.size,
            terms=mdp.dim + law.support.size + mdp.n_actions + 8,
        )
        states = law.support


def _tabular_stages(model: ConstrainedMDP, states: IntArray) -> Iterator[Stage]:
    mdp = model.mdp
    for h in range(mdp.horizon):
        P, r = mdp.stage(h)
        rows = (states[:, None] * mdp.n_actions + np.arange(mdp.n_actions)).reshape(-1)
        law = sp.csr_array(P[rows])
        law.eliminate_zeros()
        later = np.unique(law.indices).astype(np.int64)
        pay = np.stack([r[states].reshape(-1), model.stage_costs(h)[states].reshape(-1)], axis=1)
        yield Stage(
            states=states,
            pay=pay,
            factors=() if h == mdp.horizon - 1 else (law[:, later],),
            size=np.abs(pay),
            stray=0.0,
            terms=int(np.diff(law.indptr).max()) + mdp.n_actions + 8,
        )
        states = later


def evaluate(problem: StagedProblem, laws: Laws) -> tuple[FloatArray, FloatArray]:
    """Value and cost (2,) of a policy in the problem's units, and bounds (2,) on their errors."""
    v = error = np.zeros((0, 2))
    for stage, law in zip(reversed(problem.stages), reversed(laws), strict=True):
        error = stage.error(stage.size, np.abs(v), error)
        error = _mean(law, error) + TINY * _mean(law > 0.0, error > 0.0)
        v = _mean(law, stage.pay + stage.expected(v))
    return problem.start(v, np.abs(v), error)


def _mean(law: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    """sum_a law(s, a) q(s, a) (n, 2) of q (n*A, 2); of truth values, whether any of them is."""
    return np.einsum("na,nac->nc", law, q.reshape(*law.shape, 2))


@dataclass(frozen=True, eq=False)
class Response:
    """A policy that maximises a weighted sum of value and cost, all in the problem's units.

    Attributes:
        laws: The policy, deterministic.
        values: Its value and cost (2,).
        errors: Bounds (2,) on their errors.
        best: The maximum of the weighted sum over all policies.
        slack: Bound on its error.
    """

    laws: Laws
    values: FloatArray
    errors: FloatArray
    best: float
    slack: float


def respond(problem: StagedProblem, reward: float, cost: float) -> Response:
    """A policy that maximises reward * value + cost * cost; of equally good actions it takes one that earns most."""
    weights, A = np.array([reward, cost]), problem.n_actions
    v, error, laws = np.zeros((0, 2)), np.zeros(0), list[FloatArray]()
    for stage in reversed(problem.stages):
        q = (stage.pay + stage.expected(v)).reshape(-1, A, 2)
        size = carried(stage.size, np.abs(weights))
        error = stage.error(size, np.abs(v) @ np.abs(weights), error).reshape(-1, A).max(axis=1)
        score = q @ weights
        choice = np.where(score == score.max(axis=1, keepdims=True), q[..., 0], -np.inf).argmax(axis=1)
        laws.append(np.eye(A)[choice])
        v = np.take_along_axis(q, choice[:, None, None], axis=1)[:, 0]
    best, slack = problem.start(v @ weights, np.abs(v) @ np.abs(weights), error)
    values, errors = evaluate(problem, laws[::-1])
    return Response(laws[::-1], values, errors, float(best), float(slack))


def occupancies(problem: StagedProblem, laws: Laws) -> list[FloatArray]:
    """x_h (n_h, A) of a policy, stage by stage."""
    met, found = problem.rho, list[FloatArray]()
    for stage, law in zip(problem.stages, laws, strict=True):
        found.append(np.maximum(met, 0.0)[:, None] * law)
        met = stage.reached(found[-1]) if stage.factors else met
    return found


def laws_of(occupancy: Sequence[FloatArray], elsewhere: Laws) -> Laws:
    """The policy of occupancies; where there is none, it does what the laws ``elsewhere`` do."""
    return [_conditional(x, law) for x, law in zip(occupancy, elsewhere, strict=True)]


def _conditional(x: FloatArray, elsewhere: FloatArray) -> FloatArray:
    total = x.sum(axis=1, keepdims=True)
    law = np.where(total > 0.0, x / np.where(total > 0.0, total, 1.0), elsewhere)
    return law / law.sum(axis=1, keepdims=True)


def staged_policy(problem: StagedProblem, laws: Laws) -> StagedPolicy:
    """Laws with the states that they are of."""
    return StagedPolicy(problem.n_states, tuple(stage.states for stage in problem.stages), tuple(laws))


def stage_laws(problem: StagedProblem, policy: StagedPolicy | ArrayLike) -> Laws:
    """A policy's action probabilities, for each stage (n_h, A) in the states that can be met, divided by their sums.

    Args:
        problem: The problem.
        policy: As solvers return it; or integer actions (S,) or (H, S); or action probabilities (S, A) or (H, S, A).

    Raises:
        ModelError: Naming the entry or shape at fault.
    """
    if isinstance(policy, StagedPolicy):
        _require_same_shape(problem, policy)
        codes = (h * problem.n_states + stage.states for h, stage in enumerate(problem.stages))
        return [normalised(policy.action_probabilities(some)) for some in codes]
    array = plain_array("policy", policy)
    S, A, H = problem.n_states, problem.n_actions, len(problem.stages)
    stage_shape = (S,) if array.dtype.kind in "iu" else (S, A)
    if array.dtype.kind not in "iuf" or array.shape not in (stage_shape, (H, *stage_shape)):
        raise ModelError(
            f"policy has dtype {array.dtype} and shape {array.shape}; expected integer actions {(S,)} or {(H, S)}, or "
            f"float action probabilities {(S, A)} or {(H, S, A)}"
        )
    law = one_hot_laws(array, A) if array.dtype.kind in "iu" else array.astype(np.float64)
    require_distributions("policy", law)
    staged = np.broadcast_to(law, (H, S, A))
    return [normalised(staged[h, stage.states]) for h, stage in enumerate(problem.stages)]


def normalised(law: FloatArray) -> FloatArray:
    """Laws (n, A) divided by their sums: the optimum is one over policies, whose laws sum to one."""
    return law / law.sum(axis=1, keepdims=True)


def _require_same_shape(problem: StagedProblem, policy: StagedPolicy) -> None:
    has = (policy.n_states, policy.n_actions, policy.horizon)
    expected = (problem.n_states, problem.n_actions, len(problem.stages))
    if has != expected:
        raise ModelError(
            "policy is one of {} states, {} actions and {} stages, the model has {}, {} and {}; pass a policy of this "
            "model".format(*has, *expected)
        )
    for h, law in enumerate(policy.laws):
        require_distributions(f"policy.laws[{h}]", law)


def one_hot_laws(actions: IntArray, n_actions: int) -> FloatArray:
    """Action probabilities (..., A) of actions (...).

    Raises:
        ModelError: Naming the entry out of range.
    """
    bad = (actions < 0) | (actions >= n_actions)
    if bad.any():
        index = first(bad)
        raise ModelError(f"{entry('policy', index)} is {actions[index]}; actions run from 0 to {n_actions - 1}")
    return np.eye(n_actions)[actions]
