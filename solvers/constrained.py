"""The most that a policy can earn within its budget, exactly.

    maximise v(pi)  subject to  cost(pi) <= budget

over all policies of a constrained finite-horizon problem. Value and cost are linear in the policy's occupancies
x_h(s, a), and those of all policies form a polytope (:mod:`.stages`). So the problem is a linear program
(:func:`constrained_optimum`; Altman, Constrained Markov Decision Processes, 1999, chapter 3; Puterman, Markov Decision
Processes, 1994, section 8.9). With one constraint some optimal policy randomises in one state of one stage at most.

Its dual has one variable, the price y >= 0 of cost, and weak duality asks for nothing but backward induction:

    max {v(pi) : cost(pi) <= budget}  <=  g(y) = max_pi [v(pi) - y cost(pi)] + y budget,      equal at the best y.

g is the maximum of one line for each deterministic policy. Two of them, one policy that overspends and one that does
not, meet at a price; the best policy at that price lies above the point or shows that it is the minimum of g
(:func:`lagrangian_optimum`: cutting planes in one dimension, as Beutler and Ross use for one constraint, Optimal
Policies for Controlled Markov Chains with a Constraint, Journal of Mathematical Analysis and Applications 112, 1985;
Eisner and Severance, JACM 23, 1976, for the search). There are finitely many lines, so the search ends, and then the
optimum is attained by tossing a coin between the two policies before each episode.

Certificates come from the answer alone. Below: the value of the returned policy, evaluated with bounds on its rounding
errors, provided that its cost, evaluated likewise, is certain not to exceed the budget. Where the program's rounding
left it above, occupancies of a safest policy are mixed in until it is. Above: g at the returned multiplier.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from ..models import ConstrainedProblem
from ..models._checks import real_number, whole_number
from ..models.summaries import Summarised
from .bellman import UNIT_ROUNDOFF
from .solution import Certificate, FloatArray, Status
from .stages import (
    Laws,
    Response,
    StagedPolicy,
    StagedProblem,
    evaluate,
    laws_of,
    occupancies,
    respond,
    shifted,
    stage_laws,
    staged_policy,
    staged_problem,
)

MAX_PRICES = 1000
"""Prices that the search tries unless told otherwise; it mostly ends within ten."""

SCALE = 2.0**16
"""What the program's rows are multiplied by: HiGHS drops coefficients below 1e-9, which probabilities may be."""

ROOM = 8.0 * UNIT_ROUNDOFF
"""The share of its cost that a repaired policy keeps below the budget at the first attempt."""

HIGHEST = 2.0**900
"""The highest price that is tried, in the problem's units: bounds at any price are true, sums at it finite."""

Bounds = tuple[float, float]


class InfeasibleError(ValueError):
    """No policy keeps within the budget.

    Attributes:
        budget: The budget.
        least_cost: Certified bounds (low, high) on the least cost that any policy achieves; low > budget.
    """

    def __init__(self, budget: float, least_cost: Bounds) -> None:
        super().__init__(budget, least_cost)
        self.budget, self.least_cost = budget, least_cost

    def __str__(self) -> str:
        """The least achievable cost beside the budget."""
        low, high = self.least_cost
        digits = 12 if f"{self.budget:.12g}" != f"{low:.12g}" else 17
        return (
            f"no policy keeps within the budget {self.budget:.{digits}g}: an episode costs at least {low:.{digits}g} "
            f"in expectation, which safest_policy achieves up to {high - low:.1g}; raise the budget"
        )


@dataclass(frozen=True, eq=False, repr=False)
class ConstrainedValue(Summarised):
    """What a policy earns and costs in expectation over an episode.

    Attributes:
        value: Its value.
        value_bounds: Certified bounds on it.
        cost: Its cost.
        cost_bounds: Certified bounds on it.
        budget: What an episode may cost.
    """

    value: float
    value_bounds: Bounds
    cost: float
    cost_bounds: Bounds
    budget: float

    @property
    def violation(self) -> float:
        """cost - budget: positive for a policy that overspends."""
        return self.cost - self.budget

    @property
    def is_safe(self) -> bool:
        """Whether the cost is certain not to exceed the budget."""
        return self.cost_bounds[1] <= self.budget


@dataclass(frozen=True, eq=False, repr=False)
class SafestPolicy(Summarised):
    """A policy of least cost.

    Attributes:
        policy: The policy; among actions of equally small cost it takes one that earns most.
        evaluation: What it earns and costs.
        least_cost: Certified lower bound on the cost of every policy.
    """

    policy: StagedPolicy
    evaluation: ConstrainedValue
    least_cost: float


@dataclass(frozen=True, eq=False, repr=False)
class EpisodeMixture(Summarised):
    """Policies of which one is drawn before each episode and then played to its end.

    Its value and cost are the weighted means of theirs, and so are its occupancies; it is no policy that draws anew at
    every step.

    Attributes:
        policies: One or two deterministic policies: a cautious one within the budget, and a bold one above it.
        weights: Their probabilities.
        values: Value and cost of each (n, 2).
    """

    shown: ClassVar[tuple[str, ...]] = ("weights",)

    policies: tuple[StagedPolicy, ...]
    weights: tuple[float, ...]
    values: FloatArray

    def draw(self, rng: np.random.Generator) -> StagedPolicy:
        """The policy of one episode."""
        return self.policies[int(rng.choice(len(self.policies), p=self.weights))]


@dataclass(frozen=True, eq=False, repr=False)
class ConstrainedSolution(Summarised):
    """A best policy within the budget.

    Attributes:
        policy: The policy, which may randomise at any step.
        multiplier: The price y of cost: the optimum grows by y for each unit of budget. 0: the budget does not bind.
            Infinite where it is larger than any float64, as rewards of 1 for costs of 1e-310 make it.
        certificate: Bounds on the optimum, as arrays of no axes. ``lower`` is that on the policy's value if its cost is
            certain not to exceed the budget. Where rounding hides whether any policy's does, it is -inf.
        evaluation: The policy's value and cost with their bounds.
        status: How the solver ended: converged within 1e-8 of what an episode can earn at most, or why not.
        iterations: Steps of the simplex method, or prices tried.
        history: The certified upper bounds, price after price; empty for the linear program.
        mixture: Policies to draw from before each episode, of the same value and cost as ``policy`` up to rounding;
            None for the linear program.
    """

    shown: ClassVar[tuple[str, ...]] = ("value", "cost")

    policy: StagedPolicy
    multiplier: float
    certificate: Certificate
    evaluation: ConstrainedValue
    status: Status
    iterations: int
    history: tuple[float, ...] = ()
    mixture: EpisodeMixture | None = None

    @property
    def value(self) -> float:
        """Value of the policy."""
        return self.evaluation.value

    @property
    def cost(self) -> float:
        """Cost of the policy."""
        return self.evaluation.cost


def evaluate_constrained(model: ConstrainedProblem, policy: StagedPolicy | ArrayLike) -> ConstrainedValue:
    """What a policy earns and costs, with bounds.

    Args:
        model: The problem.
        policy: As the solvers here return it; integer actions (S,) or (H, S); or probabilities (S, A) or (H, S, A),
            which are divided by their sums.

    Raises:
        ModelError: The policy is of another shape or no policy, naming the entry at fault; ``model`` is no constrained
            problem, or its rewards add up to more than float64 holds.
    """
    problem = staged_problem(model)
    return evaluate_laws(problem, stage_laws(problem, policy))


def certify_constrained(model: ConstrainedProblem, policy: StagedPolicy | ArrayLike, multiplier: float) -> Certificate:
    """Bounds on the optimum from any policy and any multiplier >= 0; the better they are, the narrower.

    The upper one is infinite where it is larger than any float64.

    Raises:
        ModelError: As :func:`evaluate_constrained`; or the multiplier is no finite number.
        ValueError: The multiplier is negative.
    """
    price = real_number("multiplier", multiplier)
    if price < 0:
        raise ValueError(f"multiplier is {multiplier}; prices of cost are >= 0")
    problem = staged_problem(model)
    evaluation = evaluate_laws(problem, stage_laws(problem, policy))
    price = min(HIGHEST, shifted(price, int(problem.exponents[1] - problem.exponents[0])))
    upper = _dual_bound(problem, price, respond(problem, 1.0, -price))
    return _certificate(evaluation, problem.rounded_up(upper, 0))


def safest_policy(model: ConstrainedProblem) -> SafestPolicy:
    """A policy of least cost, whatever the budget.

    Raises:
        ModelError: As :func:`evaluate_constrained` of the model.
    """
    problem = staged_problem(model)
    safest = respond(problem, 0.0, -1.0)
    policy = staged_policy(problem, safest.laws)
    return SafestPolicy(policy, evaluate_laws(problem, safest.laws), _rounded_down(problem, _least_cost(safest), 1))


def constrained_optimum(model: ConstrainedProblem) -> ConstrainedSolution:
    """The optimum by the linear program in occupancies, on the states that can be met.

    The program has one variable for each stage, state that can be met and action, and is solved by HiGHS (Huangfu,
    Hall, Mathematical Programming Computation 10, 2018). Where its tolerances leave a gap that float64 need not have,
    or hide whether the budget can be kept, the answer is that of :func:`lagrangian_optimum`.

    Raises:
        InfeasibleError: No policy keeps within the budget.
        ModelError: As :func:`evaluate_constrained` of the model.
    """
    problem = staged_problem(model)
    safest = _feasible(problem)
    solution = _by_program(problem, safest)
    return solution if solution is not None else _lagrangian(problem, safest, MAX_PRICES)


def _by_program(problem: StagedProblem, safest: Response) -> ConstrainedSolution | None:
    """The answer of the linear program; None where it has none, or not the optimum."""
    program = _solve_program(problem)
    if program is None:
        return None
    occupancy, multiplier, iterations = program
    price = respond(problem, 1.0, -multiplier)
    upper = _dual_bound(problem, multiplier, price)
    laws, _ = _within(problem, laws_of(occupancy, price.laws), safest, safest, 0.0)
    solution = _solution(problem, laws, multiplier, [upper], iterations)
    return solution if solution.status is Status.CONVERGED else None


def lagrangian_optimum(model: ConstrainedProblem, *, max_iterations: int = MAX_PRICES) -> ConstrainedSolution:
    """The optimum by backward induction at a few prices of cost, and two policies mixed per episode.

    Each iteration is one backward induction over the states that can be met, so no linear program is solved.

    Args:
        model: The problem.
        max_iterations: Prices to try at most; the search ends by itself, mostly within ten.

    Raises:
        InfeasibleError: No policy keeps within the budget.
        ModelError: ``max_iterations`` is no integer >= 1; or as :func:`evaluate_constrained` of the model.
    """
    problem = staged_problem(model)
    return _lagrangian(problem, _feasible(problem), whole_number("max_iterations", max_iterations, 1))


def _feasible(problem: StagedProblem) -> Response:
    """A safest policy, unless even it is certain to overspend."""
    safest = respond(problem, 0.0, -1.0)
    low = _rounded_down(problem, _least_cost(safest), 1)
    if low > problem.budget:
        raise InfeasibleError(problem.budget, (low, problem.rounded_up(_above(*_of(safest, 1)), 1)))
    return safest


def _least_cost(safest: Response) -> float:
    """Lower bound on the cost of every policy, in the problem's unit."""
    return -_above(safest.best, safest.slack)


def _rounded_down(problem: StagedProblem, number: float, channel: int) -> float:
    return -problem.rounded_up(-number, channel)


def _of(response: Response, channel: int) -> Bounds:
    return float(response.values[channel]), float(response.errors[channel])


def _above(value: float, error: float) -> float:
    return value if error == 0.0 else float(np.nextafter(value + error, np.inf))


def _reach(problem: StagedProblem, safest: Response) -> float:
    """The budget; or, where rounding hides whether it can be kept, the least that is certain to be enough."""
    return max(problem.limit, _above(*_of(safest, 1)))


def _dual_bound(problem: StagedProblem, multiplier: float, price: Response) -> float:
    """g(y), rounded up, in the problem's unit."""
    paid = multiplier * problem.limit
    return _above(price.best + paid, price.slack + 4.0 * UNIT_ROUNDOFF * (abs(price.best) + paid))


def _lagrangian(problem: StagedProblem, safest: Response, max_iterations: int) -> ConstrainedSolution:
    reach = _reach(problem, safest)
    found = _search(problem, safest, reach, max_iterations)
    cautious, bold = found.cautious, found.bold
    _, multiplier = min(found.bounds)
    policies, weights = (cautious,), (1.0,)
    laws = cautious.laws
    if bold is not cautious:
        share = (bold.values[1] - reach) / (bold.values[1] - cautious.values[1])
        laws, share = _within(problem, bold.laws, cautious, safest, float(share))
        policies, weights = (cautious, bold), (share, 1.0 - share)
    mixture = EpisodeMixture(
        tuple(staged_policy(problem, policy.laws) for policy in policies),
        weights,
        shifted(np.stack([policy.values for policy in policies]), problem.exponents),
    )
    bounds = [bound for bound, _ in found.bounds]
    solution = _solution(problem, laws, multiplier, bounds, len(bounds), mixture)
    history = tuple(problem.rounded_up(bound, 0) for bound in bounds)
    ended = found.ended or solution.status is Status.CONVERGED
    return replace(solution, history=history, status=solution.status if ended else Status.ITERATION_LIMIT)


@dataclass(frozen=True, eq=False)
class _Search:
    """Where the search for the best price ended.

    Attributes:
        cautious: A policy within the budget.
        bold: One above it; the cautious one itself if the budget does not bind.
        bounds: Upper bounds on the optimum, each with its price.
        ended: Whether the best price was found.
    """

    cautious: Response
    bold: Response
    bounds: list[tuple[float, float]]
    ended: bool


def _search(problem: StagedProblem, safest: Response, reach: float, max_iterations: int) -> _Search:
    cautious, bold = safest, respond(problem, 1.0, 0.0)
    bounds = [(_dual_bound(problem, 0.0, bold), 0.0)]
    if _above(*_of(bold, 1)) <= reach:
        return _Search(bold, bold, bounds, True)
    while len(bounds) < max_iterations:
        (earned, _), (spent, _) = _of(bold, 0), _of(bold, 1)
        (kept, _), (saved, _) = _of(cautious, 0), _of(cautious, 1)
        if spent <= saved:  # rounding does not tell them apart
            return _Search(cautious, cautious, bounds, True)
        price = min(HIGHEST, max(0.0, (earned - kept) / (spent - saved)))
        new = respond(problem, 1.0, -price)
        bounds.append((_dual_bound(problem, price, new), price))
        # Where even the best policy lies on the line through the two, up to rounding, they meet at the minimum of g.
        if new.best - (earned - price * spent) <= 2.0 * new.slack:
            return _Search(cautious, bold, bounds, True)
        if _above(*_of(new, 1)) > reach:
            bold = new
        else:
            cautious = new
    return _Search(cautious, bold, bounds, False)


def _within(
    problem: StagedProblem, laws: Laws, cautious: Response, safest: Response, share: float
) -> tuple[Laws, float]:
    """The policy of mixed occupancies, at least ``share`` of them cautious, that is certain to keep within reach."""
    reach, frugal = _reach(problem, safest), _above(*_of(cautious, 1))
    bold_x, cautious_x = occupancies(problem, laws), occupancies(problem, cautious.laws)
    for attempt in range(60):
        mixed = [(1.0 - share) * x + share * y for x, y in zip(bold_x, cautious_x, strict=True)]
        candidate = laws_of(mixed, laws) if share > 0.0 else laws
        values, errors = evaluate(problem, candidate)
        spent = _above(float(values[1]), float(errors[1]))
        if spent <= reach:
            return candidate, share
        # Cost is linear in the share but for rounding, for which every further attempt leaves more room.
        share += (1.0 - share) * min(1.0, 2.0**attempt * (spent - reach + ROOM * spent) / (spent - frugal))
    return cautious.laws, 1.0


def evaluate_laws(problem: StagedProblem, laws: Laws) -> ConstrainedValue:
    """What a policy earns and costs, given for each stage by its laws (n_h, A) in the states that can be met."""
    (value, cost), (value_error, cost_error) = (pair.tolist() for pair in evaluate(problem, laws))
    return ConstrainedValue(
        value=problem.written(value, 0),
        value_bounds=_bounds(problem, value, value_error, 0),
        cost=problem.written(cost, 1),
        cost_bounds=_bounds(problem, cost, cost_error, 1),
        budget=problem.budget,
    )


def _bounds(problem: StagedProblem, number: float, error: float, channel: int) -> Bounds:
    low, high = -_above(-number, error), _above(number, error)
    return _rounded_down(problem, low, channel), problem.rounded_up(high, channel)


def _certificate(evaluation: ConstrainedValue, upper: float) -> Certificate:
    lower = evaluation.value_bounds[0] if evaluation.is_safe else -np.inf
    return Certificate(np.array(lower), np.array(upper))


def _solution(
    problem: StagedProblem,
    laws: Laws,
    multiplier: float,
    bounds: list[float],
    iterations: int,
    mixture: EpisodeMixture | None = None,
) -> ConstrainedSolution:
    """The answer in the model's units, given upper bounds on the optimum and a price in the problem's."""
    evaluation = evaluate_laws(problem, laws)
    certificate = _certificate(evaluation, problem.rounded_up(min(bounds), 0))
    reward_unit, cost_unit = problem.exponents.tolist()
    status = Status.CONVERGED
    if not evaluation.is_safe:
        status = Status.BUDGET_UNRESOLVED
    elif shifted(certificate.gap, -reward_unit) > 1e-8 * problem.most:
        status = Status.PRECISION_LIMIT
    return ConstrainedSolution(
        policy=staged_policy(problem, laws),
        multiplier=shifted(multiplier, reward_unit - cost_unit),
        certificate=certificate,
        evaluation=evaluation,
        status=status,
        iterations=iterations,
        mixture=mixture,
    )


@dataclass(frozen=True, eq=False)
class _Program:
    """The linear program in occupancies, and in the flows between the factors of a law, which are free of sign.

    Attributes:
        pay: Reward and cost (n, 2) of each variable.
        flow: Matrix (m, n) of the equations.
        masses: Their right-hand sides (m,).
        least: Lower bounds (n,).
        starts: For each stage its first occupancy.
    """

    pay: FloatArray
    flow: sp.csr_array
    masses: FloatArray
    least: FloatArray
    starts: list[int]


def _occupancy_program(problem: StagedProblem) -> _Program:
    """What a stage's occupancies add up to in each state is what arrives there; rho arrives at the first stage."""
    blocks: dict[tuple[int, int], Any] = {}
    widths, owners, source, arriving = list[int](), list[int](), -1, None
    for stage in problem.stages:
        owners.append(len(widths))
        widths.append(len(stage.pay))
        blocks[owners[-1], owners[-1]] = sp.kron(sp.eye_array(stage.states.size), np.ones((1, problem.n_actions)))
        if arriving is not None:
            blocks[owners[-1], source] = arriving
        source = owners[-1]
        for factor in stage.factors[:-1]:
            widths.append(factor.shape[1])
            blocks[len(widths) - 1, len(widths) - 1] = sp.eye_array(factor.shape[1])
            blocks[len(widths) - 1, source] = -sp.csr_array(factor.T)
            source = len(widths) - 1
        arriving = -sp.csr_array(stage.factors[-1].T) if stage.factors else None
    grid = [[blocks.get((i, j)) for j in range(len(widths))] for i in range(len(widths))]
    begins = np.cumsum([0, *widths])
    pay, least = np.zeros((begins[-1], 2)), np.full(begins[-1], -np.inf)
    for owner, stage in zip(owners, problem.stages, strict=True):
        pay[begins[owner] : begins[owner + 1]] = stage.pay
        least[begins[owner] : begins[owner + 1]] = 0.0
    flow = sp.block_array(grid, format="csr")
    masses = np.zeros(flow.shape[0])
    masses[: problem.rho.size] = problem.rho
    return _Program(pay, flow, masses, least, [int(begins[owner]) for owner in owners])


def _solve_program(problem: StagedProblem) -> tuple[list[FloatArray], float, int] | None:
    """Occupancies of a best policy, the price of cost and the number of steps; None where HiGHS finds no answer."""
    from scipy.optimize import linprog  # takes a while to import

    program = _occupancy_program(problem)
    limit = min(problem.limit, 4.0 * len(problem.stages))  # more than an episode costs, and a number to HiGHS
    found = cast("Any", linprog)(
        -program.pay[:, 0],
        A_ub=SCALE * program.pay[:, 1][None],
        b_ub=[SCALE * limit],
        A_eq=SCALE * program.flow,
        b_eq=SCALE * program.masses,
        bounds=np.stack([program.least, np.full_like(program.least, np.inf)], axis=1),
        method="highs",
    )
    if found.status != 0:
        return None
    x = np.maximum(found.x, 0.0)  # HiGHS keeps x >= 0 up to its tolerance
    occupancy = [
        x[begin : begin + len(stage.pay)].reshape(-1, problem.n_actions)
        for begin, stage in zip(program.starts, problem.stages, strict=True)
    ]
    return occupancy, max(0.0, -SCALE * float(found.ineqlin.marginals[0])), int(found.nit)
