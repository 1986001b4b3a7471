"""What B. Yangel's note says of K-sample lookahead, and what is known of best of K, each statement put to the test.

The note (Some Interesting Properties of 1-step K-sample Lookahead Operator, github.com/hr0nix/ml-notes, branch
one-step-lookahead, 2025) defines L_K pi, the law of the best of K actions drawn from pi, and builds an algorithm on it.
Its last section ends before the proof that it announces; that statement is false, as two choices show:

    s0: a leads to s1 and pays nothing, b ends and pays 1;      s1: good ends and pays 3, bad ends and pays 0.

Bounds on how far L_K pi is from pi are from Beirami et al., Theoretical Guarantees on the Best-of-n Alignment Policy,
ICML 2025 (arXiv 2401.01879). What is exact is computed exactly; the mathematics stands in
:mod:`lookahead_rl.solvers.lookahead` and :mod:`lookahead_rl.solvers.lookahead_iteration`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...evaluation.plots import COLOURS, INK, draw
from ...models import TabularMDP, garnet_mdp
from ...solvers import (
    LookaheadRound,
    LookaheadScheme,
    Solution,
    Status,
    compositions_needed,
    evaluate_policy,
    greedy_policy,
    lookahead_iteration,
    lookahead_log_policy,
    lookahead_policy,
    lookahead_rounds,
    q_values,
    value_iteration,
)
from ...solvers.lookahead import (
    Ties,
    approximation_loss,
    improvement_bound,
    kl_bound,
    total_variation_bound,
    win_rate_bound,
)
from .bounds import compare
from .judging import agree, at_most, bounded, judged
from .ledger import Claim, Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

NOTE = (
    "B. Yangel, note on the K-sample lookahead operator (github.com/hr0nix/ml-notes, branch one-step-lookahead, 2025)"
)
BEIRAMI = "Beirami et al., Theoretical Guarantees on the Best-of-n Alignment Policy, ICML 2025"

GAMMA = 0.9
DRAWS = (1.5, 2.0, 4.0, 16.0)
ROUNDS = 150
LAWS = 100


# ------------------------------------------------------------------------------------------------ what is tried


def random_laws(rng: np.random.Generator, n: int = LAWS, most: int = 30) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Laws (1, A) of every evenness, and action values (1, A) of which some tie."""
    for _ in range(n):
        A = int(rng.integers(2, most))
        pi = rng.dirichlet(np.full(A, 10.0 ** rng.uniform(-1.0, 1.0)))[None]
        yield pi, rng.integers(0, int(rng.integers(2, 40)), size=(1, A)).astype(np.float64)


def fine_law(n_actions: int) -> tuple[FloatArray, FloatArray]:
    """A uniform law whose actions are all of different value."""
    return np.full((1, n_actions), 1.0 / n_actions), np.arange(float(n_actions))[None]


def random_models(rng: np.random.Generator, n: int = 12) -> Iterator[tuple[TabularMDP, FloatArray]]:
    """Small Garnets with a policy that draws every action."""
    for _ in range(n):
        model = garnet_mdp(8, 4, 3, rng, gamma=GAMMA)
        yield model, rng.dirichlet(np.ones(4), size=8)


def two_choices() -> TabularMDP:
    """The example of the module; s2 is the end."""
    next_states, r = [[1, 2], [2, 2], [2, 2]], np.array([[0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    return TabularMDP(
        np.eye(3)[next_states], r, 1.0, np.array([1.0, 0.0, 0.0]), terminal=np.array([False, False, True])
    )


def first_policy(a: float = 0.9, good: float = 0.3) -> FloatArray:
    """The policy of the example that takes ``a`` and ``good`` with these probabilities."""
    return np.array([[a, 1.0 - a], [good, 1.0 - good], [0.5, 0.5]])


def rounds(model: TabularMDP, pi: FloatArray, n: int, scheme: LookaheadScheme) -> list[LookaheadRound]:
    """The first n rounds of the iteration."""
    return list(islice(lookahead_rounds(model, scheme, pi), n))


def mean(pi: FloatArray, q: FloatArray) -> FloatArray:
    """E_pi q in every state."""
    return (pi * q).sum(axis=1)


# ------------------------------------------------------------------------------------------------ the operator


def enumerated(pi: FloatArray, q: FloatArray, K: int, ties: str) -> FloatArray:
    """The law of the best of K draws from pi (A,) by going through all A^K of them."""
    law = np.zeros(pi.size)
    for drawn in product(range(pi.size), repeat=K):
        chance = float(np.prod(pi[list(drawn)]))
        top = max(q[a] for a in drawn)
        best = [a for a in drawn if q[a] == top]
        taken = best if ties == "samples" else [min(best)] if ties == "order" else sorted(set(best))
        np.add.at(law, taken, chance / len(taken))
    return law


def law_of_best(rng: np.random.Generator) -> Evidence:
    """The closed form beside enumeration, with ties."""
    rules: tuple[Ties, Ties] = ("samples", "order")
    worst, n_laws = 0.0, 0
    for _ in range(40):
        A, K = int(rng.integers(2, 5)), int(rng.integers(1, 6))
        pi, q = rng.dirichlet(np.ones(A)), rng.integers(0, 3, size=A).astype(np.float64)
        for ties in rules:
            difference = lookahead_policy(pi[None], q[None], K, ties)[0] - enumerated(pi, q, K, ties)
            worst, n_laws = max(worst, float(np.abs(difference).max())), n_laws + 1
    text = (
        f"F^K - F-^K, shared among tied actions as the policy shares or given to the first, misses enumeration of all "
        f"A^K draws by {worst:.1e} at most in {n_laws} laws. The printed indicator is no law where several actions "
        "attain the maximum: it needs such a rule."
    )
    return judged(worst <= 1e-12, text, {"largest difference": worst, "laws": n_laws})


def improvement(rng: np.random.Generator) -> Evidence:
    """How much E q rises in one state."""
    kept, sharper, attained = True, True, 0.0
    for pi, q in random_laws(rng):
        K, before = float(rng.choice(DRAWS)), mean(pi, q)
        after, top = mean(lookahead_policy(pi, q, K), q), q.max(axis=1)
        chance = pi[q == top].sum()[None]
        least = improvement_bound(before, top, np.minimum(chance, 1.0), K)
        kept, sharper = kept and at_most(before, after), sharper and at_most(least, after)
    for p, K in product((0.01, 0.3, 0.9), DRAWS):
        pi, q = np.array([[p, 1.0 - p]]), np.array([[1.0, 0.0]])
        gain = mean(lookahead_policy(pi, q, K), q) - improvement_bound([p], [1.0], [p], K)
        attained = max(attained, float(np.abs(gain).max()))
    text = (
        "More is true: E_L q >= v + (1 - (1 - p)^(K-1)) (max q - v), v = E_pi q and p being the mass of the best "
        f"actions, {'held' if sharper else 'did not hold'} in {LAWS} laws, and is attained where q takes two values "
        f"only (to {attained:.1e})."
    )
    numbers = {"laws": LAWS, "distance where q takes two values": attained}
    return judged(kept, text, numbers, sharper=sharper and attained <= 1e-12)


def policy_improvement(rng: np.random.Generator) -> Evidence:
    """Values of L_K(pi, q^pi) beside those of pi, in all states."""
    least, gains = np.inf, list[float]()
    for model, pi in random_models(rng, 40):
        value = evaluate_policy(model, pi).value
        ahead = lookahead_policy(pi, q_values(model, value), float(rng.choice(DRAWS)))
        gain = evaluate_policy(model, ahead).value - value
        least, _ = min(least, float(gain.min())), gains.append(float(gain.mean()))
    text = (
        f"The least gain of a state of 40 random models, L_K pi against pi, is {least:.4g}; the mean is "
        f"{np.mean(gains):.4g}."
    )
    return judged(at_most(-least, 0.0), text, {"least gain": least, "mean gain": float(np.mean(gains))})


def approximation_of_max(rng: np.random.Generator) -> Evidence:
    """E of the best of K as a function of K."""
    shape, short, stuck = 0.0, 0.0, 0.0
    for pi, q in random_laws(rng):
        expected = np.array([mean(lookahead_policy(pi, q, K), q)[0] for K in range(1, 25)])
        rise = np.diff(expected)
        shape = max(shape, float(-rise.min()), float(np.diff(rise).max()))
        limit = mean(lookahead_policy(pi, q, 1e12 / pi[q == q.max()].sum()), q)[0]
        short = max(short, float(q.max() - limit))
    never = np.array([[0.0, 1.0]])
    stuck = float(mean(lookahead_policy(never, np.array([[1.0, 0.0]]), 1e12), np.array([[1.0, 0.0]]))[0])
    text = (
        "E of the best of K never falls with K and gains less with each draw, and its limit is the largest q (missed "
        f"by {short:.1e} at most) among the actions that pi draws: with no mass on the best one it stays at {stuck:g}."
    )
    return judged(at_most([shape, short], 0.0), text, {"against the shape": shape, "short of the limit": short})


# ------------------------------------------------------------------------------------------------ composition


def composition(rng: np.random.Generator) -> Evidence:
    """L_K1 after L_K2 beside L_{K1 K2}."""
    worst = 0.0
    for pi, q in random_laws(rng):
        first, second = rng.uniform(1.0, 20.0, size=2)
        for ties in ("samples", "order"):
            twice = lookahead_policy(lookahead_policy(pi, q, first, ties), q, second, ties)
            worst = max(worst, float(np.abs(twice - lookahead_policy(pi, q, first * second, ties)).max()))
    text = (
        f"L_K L_M pi and L_KM pi differ by {worst:.1e} at most in {2 * LAWS} pairs, for real K and M, where any draw "
        "that attains the maximum is equally likely, or the first action in a fixed order is taken."
    )
    return judged(worst <= 1e-12, text, {"largest difference": worst})


def composition_of_any_ties(rng: np.random.Generator) -> Evidence:
    """The same where each *distinct* action that attains the maximum is equally likely."""
    pi, q, K = np.array([0.9, 0.1]), np.zeros(2), 3
    once = enumerated(pi, q, K, "distinct")
    twice, nine = enumerated(once, q, K, "distinct")[0], enumerated(pi, q, K * K, "distinct")[0]
    text = (
        "Let every distinct action among the best of the draws be equally likely. For pi = (.9, .1), both actions of "
        f"equal value and K = 3, two lookaheads take the first action with probability {twice:.4f}, one of nine draws "
        f"with {nine:.4f}."
    )
    return judged(agree(twice, nine), text, {"twice three draws": float(twice), "nine draws": float(nine)})


def logarithm_uniform(rng: np.random.Generator) -> Evidence:
    """Compositions from the uniform law until the best of N actions has mass 1 - delta, by composing."""
    dots: list[tuple[int, int, int]] = []
    kept = exact = True
    for N, K, delta in product((10, 1000, 100_000), (2, 8), (0.5, 0.05)):
        n, needed = composed_until(N, K, delta), compositions_needed(1.0 / N, K, delta)
        enough = int(np.ceil(np.log(N * np.log(1.0 / delta)) / np.log(K)))
        kept, exact = kept and n <= 1 + np.log2(N) + 3, exact and n == needed <= max(enough, 0)
        if delta == 0.05:
            dots.append((N, K, n))
    text = (
        "From the uniform law the least number is log_K(log(1/delta) / -log(1 - 1/N)), rounded up, at most "
        "log_K(N log(1/delta)): composing the operator itself, N = 10, 1,000, 100,000, took exactly so many, "
        f"{dots[-2][2]} for 100,000 actions with K = 2 and {dots[-1][2]} with K = 8 (delta = .05)."
    )
    numbers = {f"N = {N}, K = {K}": n for N, K, n in dots}
    return judged(kept, text, numbers, sharper=exact, picture=lambda: draw(lambda axes: paint_compositions(axes, dots)))


def composed_until(n_actions: int, K: int, delta: float) -> int:
    """How many lookaheads it takes."""
    pi, q = fine_law(n_actions)
    log_pi, n = np.log(pi), 0
    while -np.expm1(log_pi[0, -1]) > delta:
        log_pi, n = lookahead_log_policy(log_pi, q, K), n + 1
    return n


def paint_compositions(axes: "Axes", dots: Sequence[tuple[int, int, int]]) -> None:
    """Compositions against the number of actions."""
    sizes = np.geomspace(5, 3e5, 200)
    for K, colour in ((2, COLOURS[0]), (8, COLOURS[1])):
        proven = np.ceil(np.log(np.log(0.05) / np.log1p(-1.0 / sizes)) / np.log(K))
        axes.plot(sizes, proven, color=colour, label=f"K = {K}, proven")
        own = [(N, n) for N, k, n in dots if k == K]
        axes.scatter(*zip(*own, strict=True), color=colour, zorder=3, label=f"K = {K}, composed")
    axes.set(xscale="log", xlabel="actions, uniform law", ylabel="lookaheads until the best has .95")
    axes.legend()


def logarithm_general(rng: np.random.Generator) -> Evidence:
    """Two actions, the better one rare."""
    masses = (0.5, 1e-3, 1e-30, 1e-300)
    n = [compositions_needed(p, 2, 0.05) for p in masses]
    log_pi = np.log([[masses[-1], 1.0]])
    for _ in range(n[-1] - 1):
        log_pi = lookahead_log_policy(log_pi, [[1.0, 0.0]], 2)
    before = float(np.exp(log_pi[0, 0]))
    text = (
        "What counts is the mass p of the best action, not N. With two actions, K = 2 and .95 wanted, p = .5, 1e-3, "
        f"1e-30, 1e-300 take {n[0]}, {n[1]}, {n[2]}, {n[3]} lookaheads (after {n[3] - 1} of them the mass is "
        f"{before:.3f}), and with p = 0 no number is enough."
    )
    return judged(max(n) <= 2 * n[0], text, {f"p = {p:g}": k for p, k in zip(masses, n, strict=True)})


# ------------------------------------------------------------------------------------------------ distances


def divergence(pi: FloatArray, law: FloatArray) -> float:
    """KL(law | pi)."""
    held = law > 0.0
    return float((law[held] * np.log(law[held] / pi[held])).sum())


def kl(rng: np.random.Generator) -> Evidence:
    """KL(L_K pi | pi) beside log K - (K - 1)/K."""
    cases = [(K, divergence(pi, lookahead_policy(pi, q, K))) for pi, q in random_laws(rng) for K in DRAWS]
    found = compare([distance for _, distance in cases], [kl_bound(K) for K, _ in cases])
    sizes = np.unique(np.geomspace(2, 1e5, 9).astype(np.int64))
    approach = {
        K: [divergence(pi, lookahead_policy(pi, q, K)) / kl_bound(K) for pi, q in map(fine_law, sizes)] for K in DRAWS
    }
    near = min(curve[-1] for curve in approach.values())
    text = (
        f"The divergence is at most {found.largest:.4f} of log K - (K - 1)/K in {found.cases:,} cases, and {near:.6f} "
        "of it or more for 100,000 equally likely actions: approached as atoms vanish."
    )
    numbers = {"largest share": found.largest, "share for 100,000 actions": near}
    return bounded(found, text, numbers, picture=lambda: draw(lambda axes: paint_shares(axes, sizes, approach)))


def paint_shares(axes: "Axes", sizes: NDArray[np.int64], shares: dict[float, list[float]]) -> None:
    """Divergence as a share of its bound."""
    for colour, (K, curve) in zip(COLOURS, shares.items(), strict=False):
        axes.plot(sizes, curve, color=colour, marker="o", markersize=3.5, label=f"K = {K:g}")
    axes.axhline(1.0, color=INK, linewidth=1.0, linestyle=(0, (2, 3)))
    axes.set(xscale="log", xlabel="actions, equally likely", ylabel="KL / (log K - (K - 1)/K)")
    axes.legend()


def kl_equality(rng: np.random.Generator) -> Evidence:
    """The same as an equality."""
    pi, q = fine_law(2)
    found = {K: divergence(pi, lookahead_policy(pi, q, K)) for K in (2, 4, 16)}
    text = "For two equally likely actions the divergence is " + ", ".join(
        f"{found[K]:.4f} (K = {K}; formula {kl_bound(K):.4f})" for K in found
    )
    same = all(agree(found[K], kl_bound(K)) for K in found)
    return judged(same, text + ".", {f"K = {K}": value for K, value in found.items()})


def total_variation(rng: np.random.Generator) -> Evidence:
    """The total variation distance, beside Pinsker's bound and the least one."""
    cases = [(K, moved(pi, q, K)) for pi, q in random_laws(rng) for K in DRAWS]
    for K in DRAWS:
        u = K ** (-1.0 / (K - 1.0))
        cases.append((K, moved(np.array([[u, 1.0 - u]]), np.array([[0.0, 1.0]]), K)))
    least = [total_variation_bound(K) for K, _ in cases]
    found = compare([distance for _, distance in cases], [pinsker(K) for K, _ in cases], least)
    text = (
        "The least bound is K^(-1/(K-1)) (1 - 1/K): "
        + ", ".join(f"{total_variation_bound(K):.3f} instead of {pinsker(K):.3f} (K = {K})" for K in (2, 4, 16))
        + f". It holds in {found.cases:,} cases and is attained (up to {found.sharper_largest:.12g} of it) by two "
        "actions, the worse one of probability K^(-1/(K-1))."
    )
    numbers = {f"K = {K:g}": total_variation_bound(K) for K in DRAWS} | {"largest share": found.sharper_largest}
    return bounded(found, text, numbers)


def moved(pi: FloatArray, q: FloatArray, K: float) -> float:
    """The total variation distance of L_K pi from pi."""
    return 0.5 * float(np.abs(lookahead_policy(pi, q, K) - pi).sum())


def pinsker(K: float) -> float:
    """sqrt(KL / 2) of the bound on the divergence."""
    return float(np.sqrt(0.5 * kl_bound(K)))


def win_rate(rng: np.random.Generator) -> Evidence:
    """The chance that a draw of L_K pi beats one of pi, ties counting one half."""
    cases = [(K, wins(pi, q, K)) for pi, q in random_laws(rng) for K in DRAWS]
    found = compare([rate for _, rate in cases], [win_rate_bound(K) for K, _ in cases])
    near = min(wins(*fine_law(1_000), K) / win_rate_bound(K) for K in DRAWS)
    text = (
        f"The win rate is at most {found.largest:.4f} of K/(K + 1) in {found.cases:,} cases, and {near:.6f} of it or "
        "more for 1,000 equally likely actions: approached as atoms vanish."
    )
    return bounded(found, text, {"largest share": found.largest, "share for 1,000 actions": near})


def wins(pi: FloatArray, q: FloatArray, K: float) -> float:
    """The win rate of L_K pi."""
    law, beaten = lookahead_policy(pi, q, K)[0], np.sign(q[0][:, None] - q[0][None])
    return float(law @ (0.5 + 0.5 * beaten) @ pi[0])


# ------------------------------------------------------------------------------------------------ the algorithm


def convergence(rng: np.random.Generator) -> Evidence:
    """The iteration with exact action values, on random models."""
    runs = {"uniform": list[Solution[FloatArray]](), "random": list[Solution[FloatArray]]()}
    for model, pi in random_models(rng):
        for (start, found), K in product(runs.items(), (2.0, 4.0)):
            first = None if start == "uniform" else pi
            found.append(lookahead_iteration(model, LookaheadScheme(K=K), first, tol=1e-6, max_iterations=ROUNDS))
    certified = {start: sum(run.status is Status.CONVERGED for run in found) for start, found in runs.items()}
    fell = max(float(-np.diff(run.history, prepend=-np.inf).min()) for found in runs.values() for run in found)
    counts = [run.iterations for run in runs["uniform"]]
    text = (
        f"From the uniform policy {certified['uniform']} of {len(counts)} runs on random models end within 1e-6 of the "
        f"optimum, certified, after {int(np.median(counts))} rounds in the median and {max(counts)} at most; from "
        f"random policies {certified['random']} do within {ROUNDS} rounds, any others being on their way back from "
        f"rare actions. No value ever fell (by {max(fell, 0.0):.1e} at most). For exact q and a first policy that "
        "draws every action convergence is proven."
    )
    numbers = {"certified": certified["uniform"], "runs": len(counts), "certified from random": certified["random"]}
    return judged(at_most(fell, 0.0), text, numbers, decided=certified["uniform"] == len(counts))


def speed(rng: np.random.Generator) -> Evidence:
    """Rounds in the example of two choices from the uniform policy, as good becomes one action among more and more."""
    sizes = (10, 30, 100, 300, 1000)
    found = [rounds_until_optimal(1.0 / N) for N in sizes]
    bandit = [compositions_needed(1.0 / N, 4, 1e-8) for N in sizes]
    text = (
        "The lookaheads undo what they did: while good is rare a looks bad and its mass falls to p^(K^n), from where "
        "it grows by a factor of K a round. In the example of two choices, from the uniform policy with K = 4, good "
        "being one of "
        + ", ".join(f"{N:,}" for N in sizes)
        + " actions takes "
        + ", ".join(map(str, found))
        + " rounds, where one choice among as many actions takes "
        + ", ".join(map(str, bandit))
        + "."
    )
    kept = all(n <= 4 * one for n, one in zip(found, bandit, strict=True))
    return judged(
        kept,
        text,
        {f"N = {N}": n for N, n in zip(sizes, found, strict=True)},
        picture=lambda: draw(lambda axes: paint_rounds(axes, sizes, found, bandit)),
    )


def rounds_until_optimal(good: float) -> int:
    """Rounds until the policy is certified optimal."""
    return lookahead_iteration(two_choices(), LookaheadScheme(K=4), first_policy(0.5, good)).iterations


def paint_rounds(axes: "Axes", sizes: Sequence[int], found: Sequence[int], bandit: Sequence[int]) -> None:
    """Rounds against the number of actions."""
    axes.plot(sizes, found, color=COLOURS[1], marker="o", label="two choices in a row")
    axes.plot(sizes, bandit, color=COLOURS[0], marker="s", label="one choice")
    axes.set(xscale="log", yscale="log", xlabel="actions, of which one is good", ylabel="rounds until optimal")
    axes.legend()


def underflow(rng: np.random.Generator) -> Evidence:
    """The algorithm with probabilities as float64 numbers."""
    model, pi = two_choices(), first_policy(0.4, 1e-3)
    for _ in range(100):
        pi = lookahead_policy(pi, q_values(model, evaluate_policy(model, pi).value), 4)
    value, mass = float(evaluate_policy(model, pi).value[0]), float(pi[0, 0])
    logs = lookahead_iteration(model, LookaheadScheme(K=4), first_policy(0.4, 1e-3))
    mixed = lookahead_iteration(model, LookaheadScheme(K=4, eps=[0.1] * 9 + [0.0]), first_policy(0.4, 1e-3))
    text = (
        "p^(K^n) is zero in float64 after a few rounds, and what has mass zero is never drawn again: in the example of "
        f"two choices with pi(good) = .001 a keeps mass {mass:g}, and the value is {value:g} after 100 rounds, the "
        f"optimum being 3. With logarithms it reaches {logs.value[0]:g} after {logs.iterations} rounds, with a tenth "
        f"of the first policy mixed in for nine rounds after {mixed.iterations}."
    )
    numbers = {"value in float64": value, "rounds with logarithms": logs.iterations, "rounds mixed": mixed.iterations}
    return judged(agree(value, 3.0), text, numbers)


def robustness(rng: np.random.Generator) -> Evidence:
    """What errors of q cost, and a model where they cost all that they can."""
    largest = 0.0
    for model, pi in random_models(rng, 40):
        value, eps, K = evaluate_policy(model, pi).value, float(rng.uniform(0.01, 1.0)), float(rng.choice((2, 16, 1e3)))
        noisy = q_values(model, value) + eps * rng.choice([-1.0, 1.0], size=pi.shape)
        lost = float((value - evaluate_policy(model, lookahead_policy(pi, noisy, K)).value).max())
        largest = max(largest, lost / approximation_loss(eps, GAMMA))
    share = misled_share()
    text = (
        f"At most {largest:.3f} of 2 eps / (1 - gamma) was lost in 40 random models with errors of size eps, for K up "
        f"to 1,000; {share:.4f} of it where an action drawn almost always is underrated and a worse one overrated. The "
        "bound is free of K, and so is the loss that attains it once K is large."
    )
    return judged(at_most([largest, share], 1.0), text, {"random": largest, "adversarial": share})


def misled_share(eps: float = 0.1) -> float:
    """The share of 2 eps / (1 - gamma) that is lost in one state: rewards 1 and 1 - 1.999 eps, the better one usual."""
    model = TabularMDP(np.ones((1, 2, 1)), np.array([[1.0, 1.0 - 1.999 * eps]]), GAMMA, np.ones(1))
    pi = np.array([[1.0 - 1e-6, 1e-6]])
    value = evaluate_policy(model, pi).value
    wrong = q_values(model, value) + np.array([-eps, eps])
    lost = value - evaluate_policy(model, lookahead_policy(pi, wrong, 1e9)).value
    return float(lost[0]) / approximation_loss(eps, GAMMA)


# ------------------------------------------------------------------------------------------------ without evaluation


def ranking(rng: np.random.Generator) -> Evidence:
    """Action values before and after one lookahead."""
    before, after = rounds(two_choices(), first_policy(), 2, LookaheadScheme(K=2))
    flips = [ranks_flip(model, pi) for model, pi in random_models(rng, 100)]
    (a, b), (later_a, later_b) = before.q[0].tolist(), after.q[0].tolist()
    text = (
        f"In the example of two choices, pi(a) = .9 and pi(good) = .3: q(a) = {a:.2f} < q(b) = {b:.2f}, and after one "
        f"lookahead with K = 2 q(a) = {later_a:.2f} > q(b) = {later_b:.2f}. Two actions of some state swap ranks in "
        f"{sum(flips)} of 100 random models."
    )
    same = (a < b) == (later_a < later_b) and not any(flips)
    return judged(same, text, {"q(a)": a, "q(a) later": later_a, "q(b)": b, "random models": sum(flips)})


def ranks_flip(model: TabularMDP, pi: FloatArray) -> bool:
    """Whether one lookahead changes the order of two actions in some state, by more than rounding."""
    before, after = (step.q for step in rounds(model, pi, 2, LookaheadScheme(K=2)))
    old, new = (q[:, :, None] - q[:, None, :] for q in (before, after))
    return bool(((old > 1e-9) & (new < -1e-9)).any())


def frozen(rng: np.random.Generator) -> Evidence:
    """The example with the first policy's action values for ever, and evaluated anew."""
    schedules = {"never": None, "every round": 1, "every 5 rounds": 5}
    schemes = {name: LookaheadScheme(K=2, evaluate_every=M) for name, M in schedules.items()}
    curves = {
        name: [float(step.value[0]) for step in rounds(two_choices(), first_policy(), 14, scheme)]
        for name, scheme in schemes.items()
    }
    last = {name: curve[-1] for name, curve in curves.items()}
    first = ", ".join(f"{value:.3f}" for value in curves["never"][:8])
    text = (
        f"In the example of two choices the value runs {first}, ... to {last['never']:.3f} with the first policy's q, "
        f"and to {last['every round']:.3f}, the optimum, where it is evaluated every round (every 5 rounds: "
        f"{last['every 5 rounds']:.3f})."
    )
    return judged(
        agree(last["never"], 3.0),
        text,
        last | {"best on the way": max(curves["never"])},
        picture=lambda: draw(lambda axes: paint_frozen(axes, curves)),
    )


def paint_frozen(axes: "Axes", curves: dict[str, list[float]]) -> None:
    """Values of the rounds."""
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(curve, color=colour, marker="o", markersize=3.5, label=f"evaluated {name}")
    axes.axhline(3.0, color=INK, linewidth=1.0, linestyle=(0, (2, 3)))
    axes.set(xlabel="round", ylabel="value of the policy")
    axes.legend()


def one_step(rng: np.random.Generator) -> Evidence:
    """What holds of a q that is never computed again."""
    short = below = apart = 0.0
    falls = 0
    for model, pi in random_models(rng, 30):
        run = rounds(model, pi, 30, LookaheadScheme(K=4, evaluate_every=None))
        values = np.array([step.value for step in run])
        optimum = value_iteration(model, tol=1e-10).value
        greedy = evaluate_policy(model, greedy_policy(model, values[0])).value
        below = max(below, float((values[0] - values).max()))
        apart = max(apart, float(np.abs(values[-1] - greedy).max()))
        share = np.abs(optimum - values[-1]).max() / np.abs(optimum - values[0]).max()
        short, falls = max(short, float(share)), falls + bool((np.diff(values @ model.rho) < -1e-9).any())
    text = (
        f"In 30 random models no round is worth less than the first policy (by {below:.1e} at most); the limit is the "
        f"greedy policy of its q (to {apart:.1e}), and of what was missing at most {short:.3f} is left (gamma = "
        f"{GAMMA}). From one round to the next the value fell in {falls} of them."
    )
    numbers = {"largest share left": short, "distance of the limit": apart, "models with a fall": falls}
    return judged(at_most([below, apart], 0.0) and at_most(short, GAMMA), text, numbers)


def every_m(rng: np.random.Generator) -> Evidence:
    """M rounds with one q beside one round with K^M."""
    apart = fell = 0.0
    for (model, pi), M in product(random_models(rng, 10), (2, 3)):
        slow = rounds(model, pi, 6 * M + 1, LookaheadScheme(K=2, evaluate_every=M))[::M]
        quick = rounds(model, pi, 7, LookaheadScheme(K=2**M))
        values = np.array([step.value for step in slow])
        apart = max(apart, float(np.abs(values - [step.value for step in quick]).max()))
        fell = max(fell, float(-np.diff(values, axis=0).min()))
    text = (
        f"At the evaluations the values of both agree to {apart:.1e} in 20 runs, and fall by {max(fell, 0.0):.1e} at "
        "most."
    )
    return judged(at_most([apart, fell], 0.0), text, {"largest difference": apart, "largest fall": fell})


def stale(rng: np.random.Generator) -> Evidence:
    """Critics that lag behind by some evaluations."""
    fall, below, met, n = 0.0, 0.0, 0, 0
    models = [(two_choices(), first_policy()), *random_models(rng)]
    for (model, pi), delay in product(models, (1, 2, 4)):
        run = rounds(model, pi, 12, LookaheadScheme(K=2, delay=delay))
        for t, (step, after) in enumerate(pairwise(run)):
            fall, older = max(fall, float((step.value - after.value).max())), run[max(t - delay, 0)].value
            n += 1
            if at_most(older, mean(np.exp(step.log_pi), step.critic)):
                met, below = met + 1, max(below, float((older - after.value).max()))
    text = (
        f"With a q that lags one to four evaluations behind, a state's value falls by as much as {fall:.3f} from one "
        f"round to the next. What holds: where E_pi q^mu >= v^mu in all states, mu being the policy whose q it is, L_K "
        f"pi is worth at least mu (missed by {max(below, 0.0):.1e} at most); that was so in {met} of {n} rounds."
    )
    return judged(at_most(fall, 0.0), text, {"largest fall": fall, "below the older policy": below, "rounds": met})


def past_maximum(rng: np.random.Generator) -> Evidence:
    """The critic that is the maximum of all action values so far: its lookahead policies, and its greedy ones."""
    below = greedy = 0.0
    models = [(two_choices(), first_policy()), *random_models(rng)]
    for (model, pi), K in product(models, (2, 4)):
        run = rounds(model, pi, 15, LookaheadScheme(K=K, maximum=True))
        best = np.maximum.accumulate([step.value for step in run])
        below = max(below, *(float((old - step.value).max()) for old, step in zip(best, run[1:], strict=False)))
        chosen = np.eye(model.n_actions)[run[-1].critic.argmax(axis=1)]
        greedy = max(greedy, float((best[-1] - evaluate_policy(model, chosen).value).max()))
    text = (
        f"In {2 * len(models)} runs no policy is worth less, in any state, than the best before it (by {below:.1e} at "
        f"most), nor is the one that is greedy in the maximum of all (by {greedy:.1e})."
    )
    numbers = {"below the best before": below, "greedy, below": greedy, "runs": 2 * len(models)}
    return judged(at_most([below, greedy], 0.0), text, numbers)


# ------------------------------------------------------------------------------------------------ the claims

OPERATOR, REPEATED = f"{NOTE}, line 5", f"{NOTE}, Repeated application"
ALGORITHM, EVALUATION = f"{NOTE}, Lookahead-based RL", f"{NOTE}, Repeated policy evaluation"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "lookahead.law",
        OPERATOR,
        "L_K pi(a) = E 1[a = argmax of q among K draws from pi] is a policy: F(a)^K - F-(a)^K for F = pi{q <= q(a)}.",
        law_of_best,
    ),
    Claim(
        "lookahead.approximation",
        f"{NOTE}, line 7",
        "L_K approximates the maximum over actions: E_{L_K pi} q rises with K, concavely, to max q.",
        approximation_of_max,
    ),
    Claim(
        "lookahead.improvement",
        f"{NOTE}, line 13",
        "E_{L_K pi} q >= E_pi q.",
        improvement,
    ),
    Claim(
        "lookahead.policy-improvement",
        f"{NOTE}, lines 9-13",
        "L_K(pi, q^pi) is worth at least pi in every state.",
        policy_improvement,
    ),
    Claim(
        "lookahead.composition",
        f"{REPEATED}, line 22",
        "Looking ahead with K draws twice, by the same q, is looking ahead with K^2 draws.",
        composition,
    ),
    Claim(
        "lookahead.composition-ties",
        f"{REPEATED}, line 22",
        "That the same q selects within groups and across them is enough for it, however ties are broken.",
        composition_of_any_ties,
    ),
    Claim(
        "lookahead.logarithm",
        f"{REPEATED}, line 24",
        "O(log N) compositions are enough for max q among N actions, from the uniform policy.",
        logarithm_uniform,
    ),
    Claim(
        "lookahead.logarithm-any-policy",
        f"{REPEATED}, line 24",
        "O(log N) compositions are enough for max q among N actions, from any policy.",
        logarithm_general,
    ),
    Claim(
        "lookahead.kl",
        f"{BEIRAMI}, Theorem 3.1",
        "KL(L_K pi | pi) <= log K - (K - 1)/K.",
        kl,
    ),
    Claim(
        "lookahead.kl-equality",
        f"{BEIRAMI}, abstract, on the formula in use before",
        "KL(L_K pi | pi) = log K - (K - 1)/K.",
        kl_equality,
    ),
    Claim(
        "lookahead.total-variation",
        f"{BEIRAMI}, Theorem 3.1, with Pinsker's inequality",
        "The total variation distance of L_K pi from pi is at most ((log K - (K - 1)/K) / 2)^(1/2).",
        total_variation,
    ),
    Claim(
        "lookahead.win-rate",
        f"{BEIRAMI}, section 5",
        "L_K pi beats pi with probability K/(K + 1) at most, ties counting one half.",
        win_rate,
    ),
    Claim(
        "lookahead.convergence",
        f"{ALGORITHM}, line 36",
        "pi <- L_K(pi, q^pi), again and again, converges to the optimal policy.",
        convergence,
    ),
    Claim(
        "lookahead.speed",
        f"{ALGORITHM}, line 36",
        "It does so fast even among many actions N: read as composition promises, in O(log N) rounds from the uniform "
        "policy.",
        speed,
    ),
    Claim(
        "lookahead.float64",
        f"{ALGORITHM}, lines 31-36, as a program would run it",
        "It converges, too, where probabilities are numbers of float64.",
        underflow,
    ),
    Claim(
        "lookahead.robustness",
        f"{ALGORITHM}, lines 36-38",
        "It is robust: with q within eps of q^pi, L_K pi loses at most 2 eps / (1 - gamma) against pi, for every K.",
        robustness,
    ),
    Claim(
        "lookahead.ranking",
        f"{EVALUATION}, last version",
        "q^pi and q^{L_K pi} rank the actions identically.",
        ranking,
    ),
    Claim(
        "lookahead.frozen",
        f"{EVALUATION}, line 42",
        "The policy need not be evaluated again: composing with the first q leads to the optimal policy as well.",
        frozen,
    ),
    Claim(
        "lookahead.one-step",
        "Brandfonbrener, Whitney, Ranganath, Bruna, Offline RL Without Off-Policy Evaluation, NeurIPS 2021",
        "Composing with q^{pi_0} alone is one step of policy iteration: no round is worth less than pi_0, the limit is "
        "greedy in q^{pi_0} and leaves at most gamma of what was missing.",
        one_step,
    ),
    Claim(
        "lookahead.every-m",
        f"{EVALUATION}, last version",
        "Evaluating every M rounds only keeps what evaluating every round has, with K^M for K.",
        every_m,
    ),
    Claim(
        "lookahead.stale",
        f"{EVALUATION}, last version",
        "What would follow from equal ranks: lookahead by an older policy's q improves on the present policy, too.",
        stale,
    ),
    Claim(
        "lookahead.past-maximum",
        "Barreto et al., Successor Features for Transfer in RL, NeurIPS 2017, Theorem 1",
        "A policy greedy in the maximum of all past policies' q is worth at least the best of them; so are those of "
        "pi <- L_K(pi, that maximum).",
        past_maximum,
    ),
)
