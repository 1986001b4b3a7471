"""What T. Kitamura's note says of softmax and regularised greedy policies, each statement put to the test.

The note (Shumi-Note, github.com/syuntoku14/Shumi-Note, on softmax policies as greedy ones) bounds what a softmax policy
loses, restates the log-sum inequality, and uses it to perturb the value of

    max_pi E_pi Q - eta KL(pi | mu) + tau Ent(pi),        kappa = eta + tau,

for covers in constrained linear MDPs; it ends with the fixed points of mirror descent value iteration and the hope that
some algorithm converges to them. That algorithm is Vieillard et al., Leverage the Average, NeurIPS 2020, and Munchausen
Reinforcement Learning, NeurIPS 2020. The mathematics stands in :mod:`lookahead_rl.solvers.regularised` and
:mod:`lookahead_rl.solvers.regularised_iteration`.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...evaluation.plots import COLOURS, draw
from ...models import FiniteHorizonMDP, TabularMDP, garnet_mdp
from ...solvers import (
    Regularisation,
    backward_induction,
    evaluate_policy,
    perturbation_bounds,
    q_values,
    regularised_error_bound,
    regularised_greedy,
    regularised_rate,
    regularised_sweeps,
    regularised_value_iteration,
    soft_backward_induction,
    softmax_gap_bounds,
    softmax_log_policy,
    softmax_policy,
    value_iteration,
)
from ...solvers.regularised import gap_constant, log_law, over_horizon, softmax_modulus, softmax_reference_bound
from .bounds import compare
from .judging import agree, at_most, bounded, judged
from .ledger import Claim, Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]
Function = Callable[[FloatArray], FloatArray]

NOTE = "T. Kitamura, Shumi-Note (github.com/syuntoku14/Shumi-Note), note on softmax policies"
GAMMA = 0.9


# ------------------------------------------------------------------------------------------------ what is tried


def random_values(rng: np.random.Generator, n_actions: int, n: int = 500) -> FloatArray:
    """Action values (n, A) of all scales, in units of the temperature."""
    return rng.normal(size=(n, n_actions)) * 10.0 ** rng.uniform(-1.0, 1.5, size=(n, 1))


def two_levels(n_actions: int, worse: float) -> FloatArray:
    """Action values (1, A): one action at 0, all others worse by so much."""
    return np.array([[0.0, *[-worse] * (n_actions - 1)]])


def random_problems(
    rng: np.random.Generator, n: int = 100
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray, FloatArray, Regularisation]]:
    """Q, mu and two others like them (A,), and the weights of the regularisers."""
    for _ in range(n):
        A = int(rng.integers(2, 8))
        q, other = rng.normal(size=(2, A)) * 10.0 ** rng.uniform(-1.0, 1.0)
        mu, nu = rng.dirichlet(np.ones(A), size=2)
        yield q, mu, other, nu, Regularisation(*10.0 ** rng.uniform(-1.5, 0.5, size=2))


def objective(pi: FloatArray, q: FloatArray, mu: FloatArray, weights: Regularisation) -> float:
    """E_pi Q - eta KL(pi | mu) + tau Ent(pi), as it is written."""
    held = pi > 0.0
    p, log_p = pi[held], np.log(pi[held])
    return float(p @ q[held] - weights.eta * (p @ (log_p - np.log(mu[held]))) - weights.tau * (p @ log_p))


# ------------------------------------------------------------------------------------------------ what softmax loses


def gap(rng: np.random.Generator) -> Evidence:
    """max Q - E_pi Q beside log A / alpha and the least bound, in units of 1 / alpha."""
    seen, claimed, least, of_entropy = list[float](), list[float](), list[float](), 0.0
    for A in (2, 3, 10, 1000):
        worst = two_levels(A, 1.0 + gap_constant(A))
        bounds = softmax_gap_bounds(np.concatenate([random_values(rng, A), worst]), 1.0)
        seen += bounds.gap.tolist()
        claimed += bounds.log_actions.tolist()
        least += [gap_constant(A)] * bounds.gap.size
        of_entropy = max(of_entropy, float((bounds.gap / bounds.entropy).max()))
    found = compare(seen, claimed, least)
    text = (
        f"No loss exceeds Ent(pi)/alpha (largest part {of_entropy:.4f}), and the least bound by A alone is "
        "W0((A - 1)/e)/alpha, W0 being Lambert's function: "
        + ", ".join(f"{gap_constant(A):.3f} instead of {math.log(A):.3f} (A = {A})" for A in (2, 10, 1000))
        + f". It was met {found.cases:,} times and attained ({found.sharper_largest:.12g} of it) where all actions but "
        "one are worse by (1 + W0)/alpha."
    )
    numbers = {f"A = {A}": gap_constant(A) for A in (2, 10, 1000)} | {"largest part": found.sharper_largest}
    return bounded(found, text, numbers, also=at_most(of_entropy, 1.0), picture=lambda: draw(paint_gaps))


def paint_gaps(axes: "Axes") -> None:
    """Losses of random softmax policies below both bounds."""
    rng, sizes = np.random.default_rng(0), np.unique(np.geomspace(2, 1000, 15).astype(np.int64))
    for A in sizes:
        gaps = softmax_gap_bounds(random_values(rng, int(A), 15), 1.0).gap
        axes.scatter(np.full(gaps.size, A), gaps, s=5, color=COLOURS[5], linewidths=0)
    axes.plot(sizes, np.log(sizes), color=COLOURS[1], label="log A")
    axes.plot(sizes, [gap_constant(int(A)) for A in sizes], color=COLOURS[0], label="W0((A - 1)/e), attained")
    axes.set(xscale="log", xlabel="actions A", ylabel="alpha (max Q - E Q)")
    axes.legend()


def entropy_identity(rng: np.random.Generator) -> Evidence:
    """Ent(pi)/alpha = LSE(alpha Q)/alpha - E_pi Q, and LSE(alpha Q)/alpha >= max Q."""
    off, below = 0.0, 0.0
    for A, alpha in product((2, 10, 100), (0.1, 1.0, 30.0)):
        q = rng.normal(size=(200, A))
        log_pi = softmax_log_policy(q, 1.0 / alpha)
        pi = np.exp(log_pi)
        entropy = -(pi * np.where(pi > 0.0, log_pi, 0.0)).sum(axis=1)
        soft = np.logaddexp.reduce(alpha * q, axis=1) / alpha
        off = max(off, float(np.abs(entropy / alpha - soft + (pi * q).sum(axis=1)).max()))
        below = max(below, float((q.max(axis=1) - soft).max()))
    text = (
        f"Both sides differ by {off:.1e} at most in 1,800 cases; LSE(alpha Q)/alpha is below max Q by {below:.1e} at "
        "most."
    )
    return judged(at_most([off, below], 0.0), text, {"largest difference": off})


def horizon(rng: np.random.Generator) -> Evidence:
    """v* - v^pi of the softmax of q*, on random models and on the worst."""
    lost, claimed, least = list[float](), list[float](), list[float]()
    models = [garnet_mdp(8, 4, 3, rng, gamma=GAMMA) for _ in range(30)]
    for tau, model in product((0.03, 0.3), [*models, None]):
        A = 4 if model else 10
        problem = model or TabularMDP(np.ones((1, A, 1)), tau * two_levels(A, 1.0 + gap_constant(A)), GAMMA, np.ones(1))
        value = value_iteration(problem, tol=1e-12).value
        pi = softmax_policy(q_values(problem, value), tau)
        lost.append(float((value - evaluate_policy(problem, pi).value).max()))
        claimed.append(over_horizon(tau * math.log(A), gamma=GAMMA))
        least.append(over_horizon(tau * gap_constant(A), gamma=GAMMA))
    found = compare(lost, claimed, least)
    text = (
        "The least bound is W0((A - 1)/e) / (alpha (1 - gamma)), for the softmax of q*: it holds in "
        f"{found.cases} cases and is attained ({found.sharper_largest:.9f} of it) by one state with two levels of "
        "reward."
    )
    numbers = {"largest part of log A": found.largest, "largest part of W0": found.sharper_largest}
    return bounded(found, text, numbers)


def soft_optimum(rng: np.random.Generator) -> Evidence:
    """v* - v^pi of the optimum with entropy, on random models and on a tree."""
    lost, claimed, least = list[float](), list[float](), list[float]()
    cases = [(random_stages(rng, 3, H), 3, H, 0.1) for H in (1, 2, 4) for _ in range(10)]
    cases += [(tree(A, H, 0.1), A, H, 0.1) for A, H in ((2, 1), (2, 6), (3, 4), (10, 2))]
    for model, A, H, tau in cases:
        optimum, soft = backward_induction(model).value, soft_backward_induction(model, tau)
        lost.append(float((optimum[0] - soft.policy_value[0]).max()))
        claimed.append(H * tau * math.log(A))
        least.append(tau * gap_constant(A, H))
    found = compare(lost, claimed, least)
    text = (
        "Over H stages the least bound is tau W0((A^H - 1)/e), the loss of one softmax over all A^H paths: "
        f"{gap_constant(2, 6):.3f} instead of {6 * math.log(2):.3f} (A = 2, H = 6), {gap_constant(10, 2):.3f} instead "
        f"of {2 * math.log(10):.3f} (A = 10, H = 2), in units of tau. It holds in {found.cases} cases and is attained "
        f"({found.sharper_largest:.9f} of it) by a tree of which one path is better than all others by the same."
    )
    numbers = {"largest part of H log A": found.largest, "largest part of W0": found.sharper_largest}
    return bounded(found, text, numbers)


def random_stages(rng: np.random.Generator, n_actions: int, H: int) -> FiniteHorizonMDP:
    """A small random problem over H stages."""
    P = rng.dirichlet(np.full(6, 0.3), size=(6, n_actions))
    return FiniteHorizonMDP(P, rng.random((H, 6, n_actions)), H, np.eye(6)[0])


def tree(n_actions: int, H: int, tau: float) -> FiniteHorizonMDP:
    """A^H paths that never meet, the first of them better than all others by (1 + W0) tau."""
    A, n = n_actions, n_actions ** (H - 1)
    P, r = np.zeros((H, n, A, n)), np.zeros((H, n, A))
    for h in range(H):
        for node, a in product(range(n), range(A)):
            P[h, node, a, (A * node + a) % n] = 1.0  # h stages in, the first A^h nodes are met
    r[-1] = -(1.0 + gap_constant(A, H)) * tau
    r[-1, 0, 0] = 0.0
    return FiniteHorizonMDP(P, r, H, np.eye(n)[0])


# ------------------------------------------------------------------------------------------------ log-sum

LOG_SUM: dict[str, tuple[Function, Function]] = {
    "g = x, f = log x": (lambda x: x, np.log),
    "g = x^2, f = x": (np.square, lambda x: x),
    "g = e^x, f = x^2": (np.exp, np.square),
    "g = x, f = -1/x^2 + x": (lambda x: x, lambda x: x - 1.0 / x**2),
}
"""Functions of the inequality, x f(x) being convex but for the last."""


def log_sum_sides(ga: FloatArray, gb: FloatArray, f: Function) -> tuple[float, float]:
    """Both sides of sum g(a) f(g(a)/g(b)) >= (sum g(a)) f(sum g(a) / sum g(b))."""
    total = np.array(ga.sum() / gb.sum())
    return float((ga * f(ga / gb)).sum()), float(ga.sum() * f(total))


def log_sum(rng: np.random.Generator) -> Evidence:
    """The inequality with g(b_i) > 0, for convex x f(x), and where it is an equality."""
    convex, short, equal, broken = list(LOG_SUM)[:3], 0.0, 0.0, 0
    for _ in range(400):
        a, b = rng.uniform(0.05, 3.0, size=(2, int(rng.integers(2, 8))))
        for name, (g, f) in LOG_SUM.items():
            left, right = log_sum_sides(g(a), g(b), f)
            if name in convex:
                short = max(short, (right - left) / max(1.0, abs(right)))
            else:
                broken += right > left + 1e-9
        left, right = log_sum_sides(a, 2.0 * a, np.log)
        equal = max(equal, abs(left - right))
    text = (
        "With g(b_i) > 0 for all i it holds in 1,200 cases (f = log, x and x^2), with equality where g(a_i)/g(b_i) is "
        f"the same for all i. That x f(x) is convex is needed: with f = x - 1/x^2 it fails in {broken} of 400."
    )
    return judged(at_most([short, equal], 0.0), text, {"largest shortfall": short, "failures, not convex": broken})


def log_sum_printed(rng: np.random.Generator) -> Evidence:
    """The inequality where nothing but one g(b_0) is positive."""
    a, b = np.array([1.0, 1.0]), np.array([2.0, -1.0])
    left, right = log_sum_sides(a, b, lambda x: x)
    text = (
        "The printed premise, g(b_0) > 0 for all i, says nothing of i. With f(x) = x, so that x f(x) = x^2 is convex, "
        f"g(a) = (1, 1) and g(b) = (2, -1), of positive sum, the left side is {left:g} and the right side {right:g}. "
        "g(b_i) > 0 is meant; and the step by Jensen's inequality, >= b h(a/b), is left out in print."
    )
    return judged(at_most(right, left), text, {"left": left, "right": right})


# ------------------------------------------------------------------------------------------------ regularised greedy


def printed_value(rng: np.random.Generator) -> Evidence:
    """kappa ln sum mu exp(Q / kappa) beside the maximum."""
    q, mu, weights = np.array([0.0, 1.0]), np.array([0.9, 0.1]), Regularisation(0.5, 0.5)
    printed = float(np.log((mu * np.exp(q)).sum()))
    log_pi, _ = regularised_greedy(q, mu, weights)
    attained = objective(np.exp(log_pi), q, mu, weights)
    only_kl = Regularisation(1.0, 0.0)
    right = abs(float(regularised_greedy(q, mu, only_kl)[1]) - printed)
    text = (
        f"For mu = (.9, .1), Q = (0, 1), eta = tau = .5 the printed value is {printed:.4f}, and a policy attains "
        f"{attained:.4f}, which is the maximum. The exponent eta/kappa of mu is lost; for tau = 0, where it is 1, the "
        f"line is right (to {right:.1e})."
    )
    return judged(agree(printed, attained), text, {"printed": printed, "attained": attained})


def regularised_value(rng: np.random.Generator) -> Evidence:
    """kappa ln sum exp(q / kappa) with q = Q + eta ln mu beside the objective of its policy and of others."""
    off, above = 0.0, 0.0
    for q, mu, _, _, weights in random_problems(rng):
        value = weights.kappa * float(np.logaddexp.reduce((q + weights.eta * np.log(mu)) / weights.kappa))
        log_pi = softmax_log_policy((q + weights.eta * np.log(mu))[None], weights.kappa)[0]
        best = np.exp(log_pi)
        off = max(off, abs(objective(best, q, mu, weights) - value) / max(1.0, abs(value)))
        near = [(1.0 - share) * best + share * rng.dirichlet(np.ones(q.size)) for share in (1e-3, 0.1, 1.0)]
        above = max(above, *(objective(pi, q, mu, weights) - value for pi in near))
    text = (
        f"The policy proportional to exp(q/kappa) attains it to {off:.1e} in 100 problems, and none of 300 other "
        f"policies is above (by {above:.1e} at most)."
    )
    return judged(at_most([off, above], 0.0), text, {"missed by": off, "exceeded by": above})


def perturbation(rng: np.random.Generator) -> Evidence:
    """|V - V'| beside max |q - q'|, and both one-sided bounds."""
    moved, sides, parts = list[float](), 0.0, list[float]()
    for q, mu, other, nu, weights in random_problems(rng):
        for q_other in (other, q + 1.0):
            second = nu if q_other is other else mu
            bounds = perturbation_bounds(q, log_law(mu), q_other, log_law(second), weights)
            change = float(regularised_greedy(q, mu, weights)[1] - regularised_greedy(q_other, second, weights)[1])
            sides = max(sides, change - float(bounds.upper), float(bounds.lower) - change)
            moved.append(abs(change))
            parts.append(float(bounds.supremum))
    found = compare(moved, parts)
    text = (
        f"It holds in {found.cases} cases and is attained ({found.largest:.12g} of it) where Q moves by a constant. "
        f"Both one-sided steps, E_pi'(q - q') <= V - V' <= E_pi(q - q'), hold as well (missed by {sides:.1e} at most)."
    )
    numbers = {"largest part": found.largest, "one-sided": sides}
    return bounded(found, text, numbers, also=at_most(sides, 0.0))


def deterministic_reference(rng: np.random.Generator) -> Evidence:
    """The bound for references with zeros, and another one for references that are softmaxes."""
    weights, q = Regularisation(0.3, 0.2), np.array([0.0, 1.0, 0.5])
    mu, nu = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    bound = float(perturbation_bounds(q, log_law(mu), q, log_law(nu), weights).supremum)
    moved = abs(float(regularised_greedy(q, mu, weights)[1] - regularised_greedy(q, nu, weights)[1]))
    parts, share = list[float](), list[float]()
    for _ in range(100):
        t, (p, other) = 10.0 ** rng.uniform(-2.0, 0.0), rng.normal(size=(2, 3))
        logs = softmax_log_policy(p, t), softmax_log_policy(other, t)
        own = perturbation_bounds(p, logs[0], other, logs[1], weights)
        share.append(float(softmax_reference_bound(p - other, p - other, t, weights)))
        parts.append(max(abs(float(own.lower)), abs(float(own.upper))))
    found = compare(parts, share)
    text = (
        f"For two deterministic references the bound is {bound:g} and the values differ by {moved:g}. References that "
        "are themselves softmaxes, mu ~ exp(p/t), have the finite bound max |Q - Q'| + (eta/t) span(p - p'), which "
        f"held in {found.cases} cases (largest part {found.largest:.3f})."
    )
    kept = math.isinf(bound) and math.isfinite(moved) and found.violations == 0
    return judged(kept, text, {"values differ by": moved, "largest part of the finite bound": found.largest})


def fixed_point(rng: np.random.Generator) -> Evidence:
    """Policies that are regularised greedy with themselves as the reference."""
    weights, q = Regularisation(0.5, 0.2), np.array([0.0, 1.0, 0.5])
    soft = softmax_policy(q[None], weights.tau)[0]
    away = {name: step_from(pi, q, weights) for name, pi in (("softmax", soft), ("one action", np.eye(3)[0]))}
    pair = np.append(softmax_policy(q[None, :2], weights.tau)[0], 0.0)
    reached = rng.dirichlet(np.ones(3))
    for _ in range(300):
        reached = np.exp(regularised_greedy(q, reached, weights)[0])
    far = float(np.abs(reached - soft).max())
    text = (
        f"softmax(Q/tau) is one (it moves by {away['softmax']:.1e}), but so is a single action of Q = 0 (moves by "
        f"{away['one action']:.1e}), and softmax(Q/tau) of any support ({step_from(pair, q, weights):.1e}): what has "
        f"mass zero keeps it. From a reference of full support the iteration reaches softmax(Q/tau), to {far:.1e}."
    )
    only_one = away["softmax"] <= 1e-9 and away["one action"] > 1e-9
    return judged(only_one, text, {"one action moves by": away["one action"], "iterated, away by": far})


def step_from(pi: FloatArray, q: FloatArray, weights: Regularisation) -> float:
    """How far one regularised greedy step with itself as the reference moves a policy."""
    return float(np.abs(np.exp(regularised_greedy(q, pi, weights)[0]) - pi).max())


# ------------------------------------------------------------------------------------------------ smoothness


def lipschitz(rng: np.random.Generator) -> Evidence:
    """|softmax(alpha x) - softmax(alpha y)|_1 over alpha |x - y|, in units of 1 / alpha."""
    seen, distances = list[float](), list[float]()
    for A, d in product((2, 3, 10, 100), (1e-3, 0.3, 1.0, 4.0)):
        middle = np.concatenate([random_values(rng, A, 200), np.zeros((1, A))])
        signs = rng.choice([-1.0, 1.0], size=middle.shape)
        signs[:, :2] = 1.0, -1.0
        signs[-1] = np.where(np.arange(A) == 0, 1.0, -1.0)  # one action, of log-odds zero, against all others
        middle[-1, 0] = math.log(A - 1.0)
        half = 0.5 * d * signs
        move = np.abs(softmax_policy(middle + half, 1.0) - softmax_policy(middle - half, 1.0)).sum(axis=1)
        seen += move.tolist()
        distances += [d] * move.size
    moved, far = np.array(seen), np.array(distances)
    found = compare(moved, 2.0 * far, softmax_modulus(2.0 * far, 1.0))
    steepest = float((moved / far).max())
    text = (
        f"The constant is 1, not 2: the largest quotient met in {found.cases:,} pairs is {steepest:.9f}, as x - y "
        "tends to 0. More exactly |pi - pi'|_1 <= 2 tanh(alpha max |x - y| / 2) <= alpha max |x - y|, of which the "
        f"first is attained at every distance ({found.sharper_largest:.12g} of it), by every number of actions."
    )
    numbers = {"largest quotient": steepest, "largest part of tanh": found.sharper_largest}
    few = slice(None, None, 32)
    return bounded(
        found,
        text,
        numbers,
        picture=lambda: draw(lambda axes: paint_smoothness(axes, far[few], moved[few])),
    )


def paint_smoothness(axes: "Axes", far: FloatArray, moved: FloatArray) -> None:
    """Movements below their bounds."""
    d = np.linspace(0.0, 4.2, 200)
    axes.scatter(far, moved, s=6, color=COLOURS[5], linewidths=0, label="pairs")
    axes.plot(d, np.minimum(2.0 * d, 2.2), color=COLOURS[1], label="constant 2")
    axes.plot(d, np.minimum(d, 2.2), color=COLOURS[2], label="constant 1")
    axes.plot(d, 2.0 * np.tanh(0.5 * d), color=COLOURS[0], label="2 tanh(d/2), attained")
    axes.set(xlabel="d = alpha max |x - y|", ylabel="|softmax - softmax|, 1-norm", ylim=(0.0, 2.2))
    axes.legend()


# ------------------------------------------------------------------------------------------------ iterations


def mirror_descent(model: TabularMDP, weights: Regularisation, n: int) -> Iterator[tuple[FloatArray, FloatArray]]:
    """pi_k and Q_k (S, A) for k = 1, ..., n, by the recursion as it is published."""
    q, pi = np.array(model.r), np.full(model.r.shape, 1.0 / model.n_actions)
    log_pi = np.log(pi)
    for _ in range(n):
        x = (q + weights.eta * log_pi) / weights.kappa
        value = weights.kappa * np.logaddexp.reduce(x, axis=1)
        log_pi = x - np.logaddexp.reduce(x, axis=1)[:, None]
        q = q_values(model, value)
        yield np.exp(log_pi), q


def mdvi(rng: np.random.Generator) -> Evidence:
    """Mirror descent value iteration beside its limit and its rate."""
    model, tau = garnet_mdp(20, 4, 3, rng, gamma=GAMMA), 0.1
    limit = regularised_value_iteration(model, Regularisation(0.0, tau), tol=1e-10)
    curves, rates, last = dict[float, FloatArray](), dict[float, float](), 0.0
    for eta in (0.02, 0.1, 0.5, 2.0):
        weights, n = Regularisation(eta, tau), 400
        run = [(pi, np.abs(q - limit.q).max()) for pi, q in mirror_descent(model, weights, n)]
        curves[eta] = np.array([error for _, error in run])
        rates[eta] = float((curves[eta][199] / curves[eta][99]) ** 0.01)
        last = max(last, float(np.abs(run[-1][0] - limit.policy).max()))
    proven = {eta: regularised_rate(GAMMA, Regularisation(eta, tau)) for eta in curves}
    text = (
        "With an exact model mirror descent value iteration converges in every state, to the optimum with entropy "
        f"whatever eta is: after 400 steps its policies are within {last:.1e} of softmax(Q*_tau / tau). Errors of Q "
        "shrink by "
        + ", ".join(f"{rates[eta]:.3f} (eta = {eta:g}; proven {proven[eta]:.3f})" for eta in curves)
        + " a step."
    )
    kept = last <= 1e-6 and all(rates[eta] <= proven[eta] + 0.01 for eta in curves)
    numbers = {f"eta = {eta:g}": rate for eta, rate in rates.items()} | {"policies within": last}
    return judged(kept, text, numbers, picture=lambda: draw(lambda axes: paint_errors(axes, curves)))


def paint_errors(axes: "Axes", curves: dict[float, FloatArray]) -> None:
    """Errors of the action values, step by step."""
    for colour, (eta, errors) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(np.arange(1, errors.size + 1), errors, color=colour, label=f"eta = {eta:g}")
    axes.set(yscale="log", xlabel="step", ylabel="max |Q - Q*|, tau = .1, gamma = .9")
    axes.legend()


def error_bound(rng: np.random.Generator) -> Evidence:
    """The error after k sweeps beside its bound."""
    seen, bounds = list[float](), list[float]()
    for _ in range(4):
        model = garnet_mdp(12, 3, 3, rng, gamma=GAMMA)
        limit = regularised_value_iteration(model, Regularisation(0.0, 0.1), tol=1e-11).value
        for eta in (0.05, 0.9, 3.0):
            weights, size = Regularisation(eta, 0.1), float(np.abs(model.r).max())
            for sweep in islice(regularised_sweeps(model, weights), 60):
                seen.append(float(np.abs(sweep.value - limit).max()))
                bounds.append(regularised_error_bound(sweep.k, GAMMA, weights, float(np.abs(limit).max()), size))
    found = compare(seen, bounds, rounding=1e-9)
    text = (
        "The error after k sweeps is at most gamma^k |W_0 - V*| + sum_j gamma^(k-j) alpha^j |r| in "
        f"{found.cases} cases (largest part {found.largest:.4f}): linear at rate max(gamma, alpha), alpha = eta / (eta "
        "+ tau)."
    )
    return bounded(found, text, {"largest part": found.largest, "cases": found.cases})


def munchausen(rng: np.random.Generator) -> Evidence:
    """Munchausen value iteration beside mirror descent value iteration."""
    apart = 0.0
    for alpha, tau in product((0.0, 0.5, 0.9, 1.0), (0.05, 1.0)):
        model = garnet_mdp(10, 4, 3, rng, gamma=GAMMA)
        mirrored = mirror_descent(model, Regularisation.munchausen(alpha, tau), 40)
        for (pi, _), own in zip(mirrored, munchausen_policies(model, alpha, tau), strict=False):
            apart = max(apart, float(np.abs(pi - own).max()))
    text = f"Over 40 steps of 8 runs, alpha from 0 to 1, the policies of both differ by {apart:.1e} at most."
    return judged(apart <= 1e-8, text, {"largest difference": apart})


def munchausen_policies(model: TabularMDP, alpha: float, tau: float) -> Iterator[FloatArray]:
    """pi = softmax(q / tau), q <- r + alpha tau log pi + gamma P E_pi(q - tau log pi), as it is published."""
    q = np.array(model.r)
    while True:
        log_pi = softmax_log_policy(q, tau)
        pi = np.exp(log_pi)
        yield pi
        bootstrapped = (pi * (q - tau * np.maximum(log_pi, -1e300))).sum(axis=1)
        q = alpha * tau * log_pi + q_values(model, bootstrapped)


def averaging(rng: np.random.Generator) -> Evidence:
    """tau = 0: values that approach those without regularisation as 1/k."""
    seen, bounds, lost = list[float](), list[float](), 0.0
    for _ in range(5):
        model, eta = garnet_mdp(12, 4, 3, rng, gamma=GAMMA), 0.5
        optimum = value_iteration(model, tol=1e-12).value
        sweeps = list(islice(regularised_sweeps(model, Regularisation(eta, 0.0)), 400))
        most = (GAMMA * float(np.abs(optimum).max()) + eta * math.log(4.0)) / (1.0 - GAMMA)
        seen += [float(np.abs(sweep.value - optimum).max()) for sweep in sweeps]
        bounds += [most / sweep.k for sweep in sweeps]
        lost = max(lost, float((optimum - evaluate_policy(model, np.exp(sweeps[-1].log_policy)).value).max()))
    found, last = compare(seen, bounds), {k: seen[-400 + k - 1] for k in (100, 200, 400)}
    order = math.log2(last[200] / last[400])
    text = (
        "With tau = 0 mirror descent averages action values. Errors of the values are at most "
        f"{found.largest:.3f} of ((gamma |v*| + eta log A)/(1 - gamma))/k, and shrink as k^-{order:.3f}: "
        + ", ".join(f"{error:.3f} after {k}" for k, error in last.items())
        + f" sweeps. The policies, which cool as 1/k, are better than that: they lose {lost:.1e} after 400."
    )
    numbers = {f"k = {k}": error for k, error in last.items()} | {"order": order, "policies lose": lost}
    return bounded(found, text, numbers, also=order > 0.9)


# ------------------------------------------------------------------------------------------------ the claims

VIEILLARD = "Vieillard et al., Leverage the Average, NeurIPS 2020"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "softmax.gap",
        f"{NOTE}, lines 43-49",
        "max Q - E_pi Q <= Ent(pi)/alpha <= log A / alpha for pi ~ exp(alpha Q).",
        gap,
    ),
    Claim(
        "softmax.entropy",
        f"{NOTE}, lines 15-41",
        "Ent(pi)/alpha = log(sum_a exp(alpha Q(a)))/alpha - E_pi Q, and the first term on the right is at least max Q.",
        entropy_identity,
    ),
    Claim(
        "softmax.horizon",
        f"{NOTE}, lines 43-49, in every state",
        "A policy that is a softmax of q* in every state loses at most log A / (alpha (1 - gamma)).",
        horizon,
    ),
    Claim(
        "softmax.soft-optimum",
        "Geist, Scherrer, Pietquin, A Theory of Regularized MDPs, ICML 2019, over H stages",
        "The best policy with entropy at temperature tau loses at most H tau log A.",
        soft_optimum,
    ),
    Claim(
        "softmax.log-sum",
        f"{NOTE}, lines 55-87 (arXiv 2005.03272, Theorem 1)",
        "sum g(a_i) f(g(a_i)/g(b_i)) >= (sum g(a_i)) f(sum g(a_i) / sum g(b_i)) for g(b_i) > 0 and x f(x) convex.",
        log_sum,
    ),
    Claim(
        "softmax.log-sum-printed",
        f"{NOTE}, line 57",
        "The same where g(b_0) > 0, as the premise is printed.",
        log_sum_printed,
    ),
    Claim(
        "softmax.regularised-value-printed",
        f"{NOTE}, lines 104-105",
        "max_pi E_pi Q - eta KL(pi | mu) + tau Ent(pi) = (eta + tau) ln sum_a mu(a) exp(Q(a)/(eta + tau)).",
        printed_value,
    ),
    Claim(
        "softmax.regularised-value",
        f"{NOTE}, lines 106-107 and 128",
        "It is (eta + tau) ln sum_a exp(q(a)/(eta + tau)) with q = Q + eta ln mu, attained by pi ~ exp(q/(eta + tau)).",
        regularised_value,
    ),
    Claim(
        "softmax.perturbation",
        f"{NOTE}, lines 133-153",
        "Two such maxima differ by at most max_a |Q + eta ln mu - Q' - eta ln mu'|.",
        perturbation,
    ),
    Claim(
        "softmax.deterministic-reference",
        f"{NOTE}, line 156",
        "For deterministic references that bound is infinite.",
        deterministic_reference,
    ),
    Claim(
        "softmax.fixed-point",
        f"{NOTE}, lines 160-185",
        "A policy that is regularised greedy for Q* with itself as the reference is softmax(Q*/tau).",
        fixed_point,
    ),
    Claim(
        "softmax.lipschitz",
        "Ghosh, Zhou, Shroff, NeurIPS 2022 (arXiv 2206.11889), the softmax in its cover",
        "|softmax(alpha x) - softmax(alpha y)|_1 <= 2 alpha max |x - y|.",
        lipschitz,
    ),
    Claim(
        "softmax.mirror-descent",
        f"{NOTE}, lines 171 and 187",
        "Some algorithm converges in all states to the pair (Q*, softmax(Q*/tau)).",
        mdvi,
    ),
    Claim(
        "softmax.mirror-descent-rate",
        f"{VIEILLARD}, without errors",
        "It does so linearly where tau > 0.",
        error_bound,
    ),
    Claim(
        "softmax.averaging",
        f"{VIEILLARD}, without errors",
        "With tau = 0 the error after k sweeps is of the order 1/k.",
        averaging,
    ),
    Claim(
        "softmax.munchausen",
        "Vieillard, Pietquin, Geist, Munchausen Reinforcement Learning, NeurIPS 2020, Theorem 1",
        "Adding alpha tau log pi to the reward is mirror descent with eta = alpha tau and entropy (1 - alpha) tau.",
        munchausen,
    ),
)
