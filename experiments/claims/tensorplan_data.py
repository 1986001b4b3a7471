"""Why TensorPlan stops: data as tensors, contradictions as independent vectors, hypotheses that survive them.

A datum holds what the queries of one state and stage return: Delta_a(theta) = r_a + <u_a, theta> for each action, where
u_a is the expected next feature vector less the state's own. It is consistent with theta if some Delta_a(theta) is
zero.
"""

from dataclasses import dataclass
from itertools import product
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...agents.local.literal import LiteralPlan, LiteralTensorPlan
from ...agents.local.measurement import Observer
from ...envs.simulators import TabularSimulator
from ...models import FiniteHorizonMDP, Planted, TabularMDP, realizable_mdp
from ...solvers.hypotheses import AffineTree, Bank, Datum, Hypotheses, HypothesisTree, Outcome, Program
from ...solvers.hypotheses.tensor import (
    are_triangular,
    contradiction_bound,
    datum_polynomial,
    datum_tensor,
    hardest_data,
    hypothesis_tensor,
    monomials,
    tensor_contradiction_bound,
)
from ...wrappers import LocalAccess, Visit, model_features
from .bounds import compare
from .ledger import Claim, Evidence, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LECTURE = "Szepesvári, lecture Planning under v* realizability (TensorPlan I.)"
PAPER = "Weisz, Amortila, Janzer, Abbasi-Yadkori, Jiang and Szepesvári, COLT 2021"
SHAPES = ((2, 2), (3, 2), (4, 2), (6, 2), (2, 3), (3, 3), (4, 3))
EXACT = 1e-9


@dataclass(frozen=True)
class Run:
    """A plan by TensorPlan to the letter on a deterministic instance whose v* is linear in its features.

    Attributes:
        planted: The instance, its optimal value and theta*.
        horizon: H.
        radius: B.
        plan: What was planned.
        earned: What the plan earns.
    """

    planted: Planted[FiniteHorizonMDP, IntArray]
    horizon: int
    radius: float
    plan: LiteralPlan
    earned: float

    @property
    def theta_star(self) -> FloatArray:
        """theta* (d,)."""
        assert self.planted.theta is not None  # realizable_mdp plants it
        return self.planted.theta


def local(model: FiniteHorizonMDP | TabularMDP, budget: int | None = None) -> LocalAccess:
    """Local access to a deterministic model with features."""
    is_staged = isinstance(model, FiniteHorizonMDP)
    return LocalAccess(
        TabularSimulator(model),
        model_features(model),
        rng=np.random.default_rng(0),
        horizon=model.horizon if is_staged else None,
        gamma=1.0 if is_staged else model.gamma,
        is_deterministic=True,
        state_key=int,
        budget=budget,
    )


def earned(access: LocalAccess, plan: LiteralPlan, stages: int) -> float:
    """Discounted return of an episode played by a plan, in a deterministic model."""
    visit: Visit | None = access.begin()
    total, rng = 0.0, np.random.default_rng(0)
    for h in range(stages):
        if visit is None:
            break
        action, observer = plan.action(access, visit), Observer(access)
        measured = observer.measure(visit)
        total += access.terms.gamma**h * float(measured.rewards[action])
        visit = observer.follow(measured, action, rng)
    return total


def random_runs(rng: np.random.Generator, each: int) -> list[Run]:
    """Plans on random instances, so many of each shape (d, A)."""
    return [_run(d, A, rng) for d, A in SHAPES for _ in range(each)]


def _run(d: int, A: int, rng: np.random.Generator) -> Run:
    S, H = int(rng.integers(3, 11)), int(rng.integers(2, 7))
    planted = realizable_mdp(S, A, H, d, rng)
    access, radius = local(planted.model), 1.6 * H
    plan = LiteralTensorPlan(radius).plan(access, access.begin(), np.random.default_rng(0))
    return Run(planted, H, radius, plan, earned(local(planted.model), plan, H))


# data as tensors


def product_identity(rng: np.random.Generator) -> Evidence:
    """Random data and hypotheses: the product of discriminants by factors, by tensors, and by polynomials."""
    n, worst = 300, 0.0
    for _ in range(n):
        d, A = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        r, u, theta = rng.normal(size=A), rng.normal(size=(A, d)), rng.normal(size=d)
        factors = float(np.prod(r + u @ theta))
        size = float(np.abs(datum_tensor(r, u)) @ np.abs(hypothesis_tensor(theta, A)))
        tensors = float(datum_tensor(r, u) @ hypothesis_tensor(theta, A))
        polynomials = float(datum_polynomial(r, u) @ monomials(theta, A))
        worst = max(worst, abs(tensors - factors) / size, abs(polynomials - factors) / size)
    return Evidence(
        Verdict.HOLDS if worst < EXACT else Verdict.FALSE,
        f"On {n} random data with up to 4 actions in up to 4 dimensions the two agree to {worst:.0e}; so do the "
        "C(d+A, A) coefficients of the product as a polynomial in theta with its monomials, which are all that the "
        "tensor holds.",
        {"cases": n, "largest_difference": worst},
    )


def contradictions(rng: np.random.Generator, bound: int | None = None) -> Evidence:
    """Contradictions of random plans, and those that an oracle provokes by holding back what contradicts."""
    found = random_runs(rng, 9)
    counts = [len(run.plan.contradictions) for run in found]
    shapes = [(run.theta_star.size, run.plan.contradictions.n_actions) for run in found]
    adversaries = ((2, 2), (3, 2), (4, 2), (2, 3), (3, 3))
    provoked = {shape: _disclosures(*hardest_data(*shape, 0.3)) for shape in adversaries}
    counted, where = [*counts, *provoked.values()], [*shapes, *adversaries]
    claimed = [tensor_contradiction_bound(*shape) + 1 if bound is None else bound for shape in where]
    result = compare(counted, claimed, [contradiction_bound(*shape) for shape in where])
    surplus = np.array(counts) - [d for d, _ in shapes]
    return Evidence(
        result.verdict,
        f"Of {len(found)} random instances the plans met {surplus.mean():+.2g} contradictions beyond d on average, "
        f"{surplus.max():+d} at most, whatever A. An oracle that answers as unhelpfully as it can brings it to "
        f"C(d+A, A) - 1, all there can be, since symmetric tensors have fewer entries: at d = 3, A = 3 to "
        f"{provoked[3, 3]} of the {4**3} claimed.",
        {
            "instances": len(found),
            "mean_beyond_d": float(surplus.mean()),
            "most_beyond_d": int(surplus.max()),
            "violations": result.violations,
            "sharper_violations": result.sharper_violations,
            "sharper_largest_part": result.sharper_largest,
            **{f"provoked_d{d}_A{A}": count for (d, A), count in provoked.items()},
        },
        lambda: _counts(shapes, counts, provoked),
    )


def _disclosures(rewards: FloatArray, increments: FloatArray) -> int:
    """How many data contradict the most optimistic hypothesis, each time the first in order that does disclosed."""
    _, A, d = increments.shape
    bank = Bank(A, d)
    tree = AffineTree(Program(np.full(d, d**-0.5), 2.0, bank, Hypotheses.ANY, value_range=False))
    while True:
        theta = tree.solve().theta
        assert theta is not None  # theta = 0 satisfies all of these data
        is_contradicted = np.abs(rewards + increments @ theta).min(axis=1) > 1e-6
        if not is_contradicted.any():
            return len(bank)
        i = int(is_contradicted.argmax())
        bank.add(Datum(np.zeros(d), increments[i], rewards[i], 1.0, np.zeros(A)))


def _counts(shapes: list[tuple[int, int]], counts: list[int], provoked: dict[tuple[int, int], int]) -> str:
    from ...evaluation.plots import COLOURS, draw

    names = [f"d={d}, A={A}" for d, A in SHAPES]
    x = np.arange(len(SHAPES))

    def paint(axes: "Axes") -> None:
        axes.set_yscale("log")
        axes.plot(x, [(d + 1) ** A for d, A in SHAPES], color=COLOURS[1], marker="_", label="(d+1)^A", linestyle=":")
        axes.plot(x, [comb(d + A, A) - 1 for d, A in SHAPES], color=COLOURS[2], marker="_", label="C(d+A, A) - 1",
                  linestyle=":")  # fmt: skip
        axes.plot([SHAPES.index(s) for s in provoked], list(provoked.values()), "D", color=COLOURS[2], markersize=5,
                  label="provoked")  # fmt: skip
        axes.plot(
            [SHAPES.index(s) for s in shapes], counts, "o", color=COLOURS[0], markersize=4, label="random instances"
        )
        axes.set_xticks(x, names, rotation=30)
        axes.set_ylabel("contradictions")
        axes.legend(loc="upper left", fontsize=8)

    return draw(paint)


def one_less(rng: np.random.Generator) -> Evidence:
    """The tensor of theta*, beside all the data of random plans."""
    found, worst, spans = random_runs(rng, 4), 0.0, 0
    for run in found:
        bank, A = run.plan.contradictions, run.plan.contradictions.n_actions
        F = hypothesis_tensor(run.theta_star, A)
        for r, u in zip(bank.rewards, bank.increments, strict=True):
            D = datum_tensor(r, u)
            worst = max(worst, abs(float(D @ F)) / float(np.linalg.norm(D) * np.linalg.norm(F)))
        spans += len(bank) >= F.size
    return Evidence(
        Verdict.HOLDS if worst < 1e-7 and not spans else Verdict.FALSE,
        "Because theta* is never contradicted: F(theta*), which begins with 1, is orthogonal to all data of "
        f"{len(found)} plans (cosines up to {worst:.0e}), so they cannot span the space.",
        {"plans": len(found), "largest_cosine": worst, "spanning": spans},
    )


def independent(rng: np.random.Generator) -> Evidence:
    """Whether each hypothesis satisfies the data before it and contradicts its own."""
    found = random_runs(rng, 4)
    kept = sum(are_triangular(run.plan.contradictions, run.plan.thetas, run.plan.tol) for run in found)
    return Evidence(
        Verdict.HOLDS if kept == len(found) else Verdict.FALSE,
        f"In {kept} of {len(found)} plans every hypothesis satisfies all data before it and is contradicted by its "
        "own, which makes the data triangular, so independent.",
        {"plans": len(found), "triangular": kept},
    )


def queries(rng: np.random.Generator) -> Evidence:
    """Queries of random plans in deterministic instances, where one rollout is enough."""
    found = random_runs(rng, 4)
    d, A = (
        np.array(x) for x in zip(*((r.theta_star.size, r.plan.contradictions.n_actions) for r in found), strict=True)
    )
    H = np.array([run.horizon for run in found])
    asked = [run.plan.queries for run in found]
    result = compare(asked, A * H * (d + 1.0) ** A)
    used = np.array([len(run.plan.contradictions) + 1 for run in found])
    rounds = compare(asked, A * H * used)
    return Evidence(
        result.verdict,
        f"{result.violations} of {result.cases} plans made more; the most is {result.largest:.0%} of it. They are at "
        f"most AH for each contradiction and once more: {rounds.largest:.0%} of that at most, since a state once seen "
        "need not be asked again.",
        {"plans": result.cases, "violations": result.violations, "largest_part": result.largest,
         "largest_part_of_rounds": rounds.largest},
    )  # fmt: skip


# hypotheses


def survives(rng: np.random.Generator) -> Evidence:
    """Every deterministic policy of instances whose features, those of a table, hold the values of all."""
    n, H, S, A = 8, 2, 2, 2
    policies = [np.reshape(actions, (H, S)) for actions in product(range(A), repeat=H * S)]
    kept, data = 0, 0
    for _ in range(n):
        P, features = np.eye(S)[rng.integers(0, S, (H, S, A))], np.zeros((H + 1, S, H * S))
        features[:H] = np.eye(H * S).reshape(H, S, H * S)
        model = FiniteHorizonMDP(P, rng.random((H, S, A)), H, np.eye(S)[0], features=features)
        access = local(model)
        found = LiteralTensorPlan(2.0 * H * S).plan(access, access.begin(), np.random.default_rng(0))
        data += len(found.contradictions)
        for policy in policies:
            theta = stage_values(model, P, policy)[:H].ravel()
            kept += bool(found.contradictions.inconsistency(theta).max(initial=0.0) < EXACT)
    return Evidence(
        Verdict.HOLDS if kept == n * len(policies) else Verdict.FALSE,
        f"{kept} of {n * len(policies)} policies, all the deterministic ones of {n} instances with the features of a "
        f"table, remain consistent with all of the {data} contradictions met.",
        {"policies": n * len(policies), "kept": kept, "contradictions": data},
    )


def stage_values(model: FiniteHorizonMDP, P: FloatArray, policy: IntArray) -> FloatArray:
    """v^pi (H + 1, S) of a deterministic policy (H, S), with the model's law P (H, S, A, S)."""
    H, S = policy.shape
    value, states = np.zeros((H + 1, S)), np.arange(S)
    for h in reversed(range(H)):
        value[h] = model.r[h, states, policy[h]] + P[h, states, policy[h]] @ value[h + 1]
    return value


def optimism(rng: np.random.Generator) -> Evidence:
    """What every hypothesis of random plans says of the start, beside v*."""
    found = random_runs(rng, 4)
    short, n = 0.0, 0
    for run in found:
        access = local(run.planted.model)
        phi = access.begin().features
        promised = np.append(run.plan.thetas @ phi, run.plan.theta @ phi)
        n += promised.size
        short = max(short, float((run.planted.value[0, 0] - promised).max()))
    return Evidence(
        Verdict.HOLDS if short < 1e-6 else Verdict.FALSE,
        f"{n} hypotheses of {len(found)} plans promise at least v* at the start; none falls short by more than "
        f"{max(short, 0.0):.0e}.",
        {"hypotheses": n, "largest_shortfall": short},
    )


def induced(rng: np.random.Generator) -> Evidence:
    """Which actions are consistent with theta* in planted instances, and which are optimal."""
    checked, wrong = 0, 0
    for seed in range(20):
        planted = realizable_mdp(8, 3, 4, 4, rng, stochastic=bool(seed % 2))
        model = planted.model
        assert planted.theta is not None
        assert model.features is not None  # realizable_mdp plants both
        following = (model.P_rows @ np.eye(8)).reshape(4, 8, 3, 8)
        q = model.r + np.einsum("hsat,ht->hsa", following, model.features[1:] @ planted.theta)
        consistent = np.abs(q - (model.features[:4] @ planted.theta)[..., None]) < 1e-8
        checked += consistent.size
        wrong += int((consistent != (planted.advantage > -1e-8)).sum())
    return Evidence(
        Verdict.HOLDS if not wrong else Verdict.FALSE,
        f"Of {checked:,} actions in 20 instances {wrong} are consistent with theta* without being optimal, or the "
        "other way round.",
        {"actions": checked, "wrong": wrong},
    )


# questions left open


def bellman_consistency(rng: np.random.Generator) -> Evidence:
    """Planning with Bellman's optimality equation as the test: how often is it contradicted?"""
    n, most, beyond, over, optimal = 0, 0, -np.inf, 0, 0
    for d, A in ((2, 2), (3, 2), (5, 2), (3, 3), (4, 4)):
        for _ in range(6):
            planted = realizable_mdp(8, A, 5, d, rng)
            count, value = _bellman_contradictions(planted, 8.0)
            optimal += abs(value - float(planted.value[0, 0])) < 1e-3
            n, most, beyond = n + 1, max(most, count), max(beyond, count - d)
            over += count > tensor_contradiction_bound(d, A) + 1
    return Evidence(
        Verdict.FALSE if over else Verdict.IN_DOUBT,
        f"On {n} random instances a planner that tests v_h(s) = max_a q_h(s, a) met {most} contradictions at most, "
        f"{beyond:+g} beyond d, and found v* {optimal} times. That bounds nothing: the maximum is no polynomial, and "
        "no argument known gives a number that cannot be exceeded.",
        {"instances": n, "most": most, "most_beyond_d": int(beyond), "over_the_bound": over, "optimal": optimal},
    )


def _bellman_contradictions(planted: Planted[FiniteHorizonMDP, IntArray], radius: float) -> tuple[int, float]:
    """Contradictions of a deterministic instance, and what the plan then earns."""
    model = planted.model
    assert model.features is not None
    H, S, A = model.r.shape
    following = (model.P_rows @ np.eye(S)).reshape(H, S, A, S).argmax(axis=3)
    bank = Bank(A, model.features.shape[2])
    tree = HypothesisTree(Program(model.features[0, 0], radius, bank, Hypotheses.OPTIMAL, value_range=False))
    while True:
        theta = tree.solve().theta
        assert theta is not None  # theta* satisfies every datum
        s, total = 0, 0.0
        for h in range(H):
            u = model.features[h + 1, following[h, s]] - model.features[h, s]
            delta = model.r[h, s] + u @ theta
            if abs(delta.max()) > 1e-4:
                bank.add(Datum(model.features[h, s], u, model.r[h, s], float(H - h), np.zeros(A)))
                break
            a = int(delta.argmax())
            s, total = int(following[h, s, a]), total + float(model.r[h, s, a])
        else:
            return len(bank), total


def satisfiability(rng: np.random.Generator) -> Evidence:
    """Formulas of three literals a clause, written as data of three actions, and put to the exact optimiser."""
    n, variables, agree, satisfiable = 30, 6, 0, 0
    worlds = np.array(list(product((0, 1), repeat=variables)))
    for _ in range(n):
        clauses = [(rng.choice(variables, 3, replace=False), rng.integers(0, 2, 3)) for _ in range(26)]
        true = np.all([np.any(worlds[:, where] == wanted, axis=1) for where, wanted in clauses], axis=0)
        satisfiable += bool(true.any())
        agree += (_optimise(clauses, variables) is Outcome.OPTIMAL) == bool(true.any())
    return Evidence(
        Verdict.HOLDS if agree == n else Verdict.IN_DOUBT,
        "Its argmax decides satisfiability: theta_j is 0 or 1 by the datum theta_j (theta_j - 1) = 0, and a clause of "
        f"three literals is a datum of three actions. On {n} random formulas of {variables} variables and 26 clauses, "
        f"{satisfiable} of them satisfiable, the optimiser and a look through all assignments agree {agree} times. So "
        "the argmax is NP-hard for A = 3; Kane, Liu, Lovett and Mahajan (COLT 2022) show that no planner is efficient "
        "unless NP = RP.",
        {"formulas": n, "agree": agree, "satisfiable": satisfiable},
    )


def _optimise(clauses: list[tuple[IntArray, IntArray]], variables: int) -> Outcome:
    """How the optimiser ends on the data of a formula."""
    bank, unit = Bank(3, variables), np.eye(variables)
    for j in range(variables):
        bank.add(Datum(np.zeros(variables), unit[[j, j, j]], np.array([0.0, -1.0, -1.0]), 1.0, np.zeros(3)))
    for where, wanted in clauses:
        bank.add(Datum(np.zeros(variables), unit[where], -wanted.astype(np.float64), 1.0, np.zeros(3)))
    program = Program(np.ones(variables), variables**0.5 + 1.0, bank, Hypotheses.ANY, value_range=False)
    return AffineTree(program).solve().outcome


CLAIMS = (
    Claim(
        "tensorplan.induced-policy",
        f"{LECTURE}, section An optimistic planner",
        "When v* is realizable and theta+ = theta*, any action with v_h(s; theta) = r_a(s) + <P_a(s), v_{h+1}(.; "
        "theta)> is a maximising one.",
        induced,
    ),
    Claim(
        "tensorplan.optimism",
        f"{LECTURE}, section An optimistic planner",
        "v_0(s_0; theta+) >= v*_0(s_0), whichever hypothesis the planner has come to.",
        optimism,
    ),
    Claim(
        "tensorplan.bellman-equation",
        f"{LECTURE}, section An optimistic planner",
        "It is open whether the planner works when it is Bellman's optimality equation that hypotheses must satisfy.",
        bellman_consistency,
    ),
    Claim(
        "tensorplan.tensors",
        f"{LECTURE}, section Boundedness",
        "prod_a Delta(s, a, h, theta) = <D(s, h), F(theta)>, with D the tensor product of the data of all actions and "
        "F(theta) that of (1, theta) with itself, A times.",
        product_identity,
    ),
    Claim(
        "tensorplan.independence",
        f"{LECTURE}, section Boundedness",
        "The data at which TensorPlan finds inconsistencies are linearly independent.",
        independent,
    ),
    Claim(
        "tensorplan.contradictions",
        f"{LECTURE}, section Boundedness; {PAPER}",
        "TensorPlan meets at most (d + 1)^A contradictions.",
        contradictions,
    ),
    Claim(
        "tensorplan.one-less",
        f"{LECTURE}, section Boundedness, the question in brackets",
        "Of the (d + 1)^A dimensions one is never used: the contradictions are at most (d + 1)^A - 1.",
        one_less,
    ),
    Claim(
        "tensorplan.survival",
        f"{LECTURE}, section Soundness",
        "No correct hypothesis is ever eliminated: the weights of a deterministic policy that they realize stay in "
        "Theta.",
        survives,
    ),
    Claim(
        "tensorplan.queries",
        f"{LECTURE}, Summary",
        "With exact answers TensorPlan makes at most m A H (d + 1)^A queries; m = 1 where nothing is random.",
        queries,
    ),
    Claim(
        "tensorplan.computation",
        f"{LECTURE}, Notes",
        "TensorPlan cannot be implemented efficiently, the lecturer suspects.",
        satisfiability,
    ),
)
