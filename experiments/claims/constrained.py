"""What is said of learning within a budget in linear MDPs, each statement put to the test.

The algorithms that T. Kitamura's note leads to: the primal-dual one of Ghosh, Zhou, Shroff, Provably Efficient
Model-Free Constrained RL with Linear Function Approximation, NeurIPS 2022; the one that sums hard violations, Ghosh,
Zhou, Shroff, Towards Achieving Sub-linear Regret and Hard Constraint Violation in Model-free RL, AISTATS 2024; the one
that never overspends, Kitamura et al., Provably Efficient RL under Episode-Wise Safety in Constrained MDPs with Linear
Function Approximation, 2025 (arXiv 2502.10138); and LSVI-UCB beneath them, Jin, Yang, Wang, Jordan, COLT 2020. Where
papers ask for a utility of b, costs are c = 1 - u and the budget is H - b.

Regrets and violations are exact, computed from the model for each episode's policy. A bound on regret that exceeds H K,
what K episodes can lose at all, is not tested by K episodes, whatever they lose: such a claim is in doubt here, and the
evidence says from how many episodes on its promise begins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ...agents import make_agent
from ...envs.tabular import ModelEnv
from ...evaluation.plots import COLOURS, INK, draw, episode_curves
from ...models import ConstrainedLinearMDP, ConstrainedMDP, FiniteHorizonMDP, random_constrained_linear_mdp
from ...solvers import (
    DualSoftmaxValues,
    constrained_optimum,
    evaluate_constrained,
    lagrangian_optimum,
    safest_policy,
    soft_backward_induction,
    softmax_policy,
)
from ...solvers.stages import occupancies, stage_laws, staged_problem
from .bounds import ROUNDING, compare
from .judging import at_most, bounded, judged
from .ledger import Claim, Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...agents.constrained.hard_violation import HardViolationSoftmaxAgent
    from ...agents.exploration.record import LearningRecord

FloatArray = NDArray[np.float64]
Promise = Callable[[ConstrainedLinearMDP, int], float]

PRIMAL_DUAL = "Ghosh, Zhou, Shroff, NeurIPS 2022 (arXiv 2206.11889)"
HARD = "Ghosh, Zhou, Shroff, AISTATS 2024"
SAFE = "Kitamura et al., 2025 (arXiv 2502.10138)"
DELTA = 0.05
EPISODES = 600
COVER_EPS = 0.1


# ------------------------------------------------------------------------------------------------ what is tried


def problems(rng: np.random.Generator, n: int) -> list[ConstrainedLinearMDP]:
    """Linear problems, S = 20, A = 3, d = 3, H = 3."""
    return [random_constrained_linear_mdp(20, 3, 3, 3, rng) for _ in range(n)]


def played(agent_id: str, problem: ConstrainedLinearMDP, n_episodes: int, constants: str) -> "LearningRecord":
    """The exact record of a learner's episodes."""
    agent: Any = make_agent(agent_id, ModelEnv(problem), n_episodes=n_episodes, constants=constants)
    return agent.learn(n_episodes * problem.horizon).record


def growth(sums: FloatArray) -> float:
    """The slope of the logarithm of sums over episodes (K,) against log K, between K/2 and K; 0 where all are 0."""
    half, whole = float(sums[sums.size // 2 - 1]), float(sums[-1])
    return float(np.log2(whole / half)) if half > 0.0 and whole > 0.0 else 0.0


@dataclass(frozen=True)
class Trial:
    """What the two kinds of constants did on the same problems.

    Attributes:
        theory: Records with the constants of the theorem.
        practical: Records with constants for which nothing is proven.
        promises: The theorem's bound with constant 1, problem by problem.
        begins: The least number of episodes, up to a factor of two, from which it is below H K; the most of them.
    """

    theory: "list[LearningRecord]"
    practical: "list[LearningRecord]"
    promises: list[float]
    begins: int

    def evidence(
        self,
        text: str,
        part: float,
        growths: tuple[float, float],
        picture: Callable[[], str] | None = None,
    ) -> Evidence:
        """What was found, and whether it tests the bound of which ``part`` was met."""
        text = (
            f"{EPISODES} episodes on two problems: {text}. That is {part:.2g} of the bound with constant 1, which is "
            f"below H K only from some {self.begins:,} episodes on: fewer do not test it."
        )
        numbers = {"part of the bound": part, "growth": growths[0], "growth, practical": growths[1]}
        numbers["begins"] = float(self.begins)
        return judged(at_most(part, 1.0), text, numbers, decided=self.begins <= EPISODES, picture=picture)

    def worst(self, quantity: Callable[["LearningRecord"], FloatArray]) -> float:
        """The largest part of its promise that a sum over the episodes comes to, with the theorem's constants."""
        pairs = zip(self.theory, self.promises, strict=True)
        return max(float(quantity(record).sum()) / promise for record, promise in pairs)

    def growths(self, quantity: Callable[["LearningRecord"], FloatArray]) -> tuple[float, float]:
        """Mean growth of a sum over the episodes with the theorem's constants, and with practical ones."""
        both = [[growth(np.cumsum(quantity(r))) for r in records] for records in (self.theory, self.practical)]
        return float(np.mean(both[0])), float(np.mean(both[1]))


def trial(agent_id: str, rng: np.random.Generator, promise: Promise) -> Trial:
    """Two problems, both constants."""
    chosen = problems(rng, 2)
    theory, practical = (
        [played(agent_id, problem, EPISODES, constants) for problem in chosen] for constants in ("theory", "practical")
    )
    begins = max(first_episode(problem, promise) for problem in chosen)
    return Trial(theory, practical, [promise(problem, EPISODES) for problem in chosen], begins)


def first_episode(problem: ConstrainedLinearMDP, promise: Promise) -> int:
    """The least power of two of episodes at which a promise is below H K."""
    K = 1
    while promise(problem, K) >= problem.horizon * K:
        K *= 2
    return K


def logarithm(problem: ConstrainedLinearMDP, K: int) -> float:
    """log(4 log A d T / delta), T = K H."""
    return float(np.log(4.0 * np.log(problem.n_actions) * problem.dim * K * problem.horizon / DELTA))


def regrets(record: "LearningRecord") -> FloatArray:
    """Regrets (K,)."""
    return record.regrets


def violations(record: "LearningRecord") -> FloatArray:
    """Costs above the budget with their signs (K,)."""
    return record.violations


def hard(record: "LearningRecord") -> FloatArray:
    """max(cost - budget, 0) (K,)."""
    return record.hard_violations


# ------------------------------------------------------------------------------------------------ the optimum


def duality(rng: np.random.Generator) -> Evidence:
    """Linear program and prices, and the price of overspending for random policies."""
    apart, broken, excesses = 0.0, 0.0, list[float]()
    for problem in problems(rng, 12):
        program, prices = constrained_optimum(problem), lagrangian_optimum(problem)
        apart = max(apart, abs(program.value - prices.value), abs(float(prices.certificate.upper) - program.value))
        for _ in range(25):
            pi = rng.dirichlet(np.full(3, 10.0 ** rng.uniform(-2.0, 0.0)), size=(3, 20))
            found = evaluate_constrained(problem, pi)
            excesses.append(found.violation)
            broken = max(broken, found.value - prices.value - prices.multiplier * found.violation)
    over = sum(excess > 0.0 for excess in excesses)
    text = (
        f"On 12 problems the linear program and the least dual bound differ by {apart:.1e} at most. Of {len(excesses)} "
        f"random policies, {over} of which overspend, none earns more than the optimum plus the price of its "
        f"overspending (by {broken:.1e} at most)."
    )
    return judged(at_most([apart, broken], 0.0), text, {"duality gap": apart, "overspend": over})


def randomisation(rng: np.random.Generator) -> Evidence:
    """Where a vertex of the linear program randomises."""
    counts = [randomising_states(problem) for problem in problems(rng, 15)]
    text = (
        f"Of the states that they meet, the linear program's policies randomise in {max(counts)} at most, on 15 "
        f"problems, and in none on {counts.count(0)} of them."
    )
    numbers = {"most states": max(counts), "deterministic": counts.count(0)}
    return judged(True, text, numbers, decided=max(counts) <= 1)  # an optimum that mixes more refutes no other one


def randomising_states(problem: ConstrainedLinearMDP) -> int:
    """In how many of the states and stages that it meets the linear program's policy randomises, beyond rounding."""
    staged = staged_problem(problem)
    mass = occupancies(staged, stage_laws(staged, constrained_optimum(problem).policy))
    return int(sum((x.sum(axis=1) - x.max(axis=1) > ROUNDING).sum() for x in mass))


def slater_price(rng: np.random.Generator) -> Evidence:
    """The best price beside H / xi."""
    seen, claimed, least = list[float](), list[float](), list[float]()
    line = FiniteHorizonMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]), 1, np.ones(1))
    for problem in [*problems(rng, 20), ConstrainedMDP(line, np.array([[0.0, 0.5]]), 0.4)]:
        optimum, safest = lagrangian_optimum(problem), safest_policy(problem).evaluation
        margin = problem.budget - safest.cost
        seen.append(optimum.multiplier)
        claimed.append(problem.horizon / margin)
        least.append((optimum.value - safest.value) / margin)
    found = compare(seen, claimed, least)
    text = (
        f"Prices come to {found.largest:.3f} of H / xi at most. What a safest policy earns may be taken off: the "
        f"price is at most (v* - v(safest)) / xi, in all {found.cases} problems, and is that (to "
        f"{abs(1.0 - found.sharper_largest):.1e}) where value is linear in cost."
    )
    numbers = {"largest part of H / xi": found.largest, "largest part, sharper": found.sharper_largest}
    return bounded(found, text, numbers)


# ------------------------------------------------------------------------------------------------ prices


def price_monotone(rng: np.random.Generator) -> Evidence:
    """The cost of the policy with entropy as its price of cost rises."""
    prices, rise, n = np.geomspace(0.01, 100.0, 12), 0.0, 0
    for problem in problems(rng, 5):
        table = problem.to_tabular()
        for temperature in (0.01, 0.1, 1.0):
            costs = [entropic_cost(table, float(price), temperature) for price in prices]
            rise, n = max(rise, float(np.diff(costs).max())), n + len(costs)
    text = f"With exact values the cost rises with the price by {max(rise, 0.0):.1e} at most, in {n} policies."
    return judged(at_most(rise, 0.0), text, {"largest rise": rise, "policies": n})


def entropic_cost(problem: ConstrainedMDP, price: float, temperature: float) -> float:
    """The cost of softmax((Q_r - price Q_c)/kappa), Q_r with the entropy still to come."""
    soft = soft_backward_induction(problem.weighted(1.0, -price), temperature)
    return evaluate_constrained(problem, soft.policy).cost


def price_without_entropy(rng: np.random.Generator) -> Evidence:
    """The utility of the softmax of its own action values as its price rises, in an example of two stages."""
    prices = np.linspace(0.0, 1.0, 101)
    plain, entropic = (np.array([example_utility(float(Y), e) for Y in prices]) for e in (False, True))
    peak = int(np.argmax(np.maximum.accumulate(plain) - plain))
    top = int(plain[: peak + 1].argmax())
    text = (
        "First action 0 leads to a state x and 299 others to one that pays reward .1; in x action 0 pays reward .8 and "
        "299 others utility 1. At temperature .1 the softmax of Q_r + Y Q_g, its own action values, has utility "
        f"{plain[top]:.4f} at Y = {prices[top]:.2f} and {plain[peak]:.4f} at Y = {prices[peak]:.2f}: as Y rises the "
        "policy in x mixes more and Q_r + Y Q_g of going there falls. With the entropy to come counted in Q_r utility "
        f"rises throughout (least step {float(np.diff(entropic).min()):.1e})."
    )
    fall = float((np.maximum.accumulate(plain) - plain).max())
    return judged(
        fall > ROUNDING and at_most(-np.diff(entropic), 0.0),
        text,
        {"largest fall": fall, "least step with entropy": float(np.diff(entropic).min())},
        picture=lambda: draw(lambda axes: paint_prices(axes, prices, plain, entropic)),
    )


def example_utility(Y: float, with_entropy: bool, temperature: float = 0.1) -> float:
    """V_g of the softmax of Q_r + Y Q_g in the example, with or without the entropy still to come in Q_r."""
    reward, utility = np.zeros((2, 300)), np.ones((2, 300))
    reward[0, 0], utility[0, 0] = 0.8, 0.0
    reward[1], utility[1] = 0.1, 0.0
    pi = softmax_policy(reward + Y * utility, temperature)
    v_r, v_g = (pi * reward).sum(axis=1), (pi * utility).sum(axis=1)
    if with_entropy:
        v_r = v_r - temperature * (pi * np.log(pi)).sum(axis=1)
    towards = np.append(0, np.ones(299, dtype=np.int64))
    first = softmax_policy((v_r + Y * v_g)[towards][None], temperature)[0]
    return float(first @ v_g[towards])


def paint_prices(axes: "Axes", prices: FloatArray, plain: FloatArray, entropic: FloatArray) -> None:
    """Utility against the price."""
    axes.plot(prices, plain, color=COLOURS[1], label="own action values")
    axes.plot(prices, entropic, color=COLOURS[0], label="with the entropy to come")
    axes.set(xlabel="Y", ylabel="utility of softmax((Q_r + Y Q_g)/.1)", yscale="log")
    axes.legend()


def price_search(rng: np.random.Generator, n_episodes: int = 150) -> Evidence:
    """Plans that the paper's grid takes an episode, and what bisection finds with few."""
    from ...agents.constrained.bisection import HALVINGS

    plans, within, priced_at, lower, problem = HALVINGS + 2, 0, 0, 0, problems(rng, 1)[0]
    made = make_agent("HardViolationSoftmax-v0", ModelEnv(problem), n_episodes=n_episodes, record=False)
    agent = cast("HardViolationSoftmaxAgent", made)
    priced = agent.optimistic_plans(agent.reward_bonus, agent.cost_bonus, agent.temperature)
    for _ in range(n_episodes):
        price, _ = agent.plan()
        within, priced_at = within + priced.is_within(priced.at(price)), priced_at + (price > 0.0)
        lower += any(priced.is_within(priced.at(share * price)) for share in (0.25, 0.5, 0.75) if price > 0.0)
        agent.learn(problem.horizon)
    grid, usual = (grid_size(problem.dim, H, K, 3) for H, K in ((problem.horizon, n_episodes), (4, 10_000)))
    text = (
        f"In {within} of {n_episodes} episodes there was such a price; {priced_at} of them needed one above 0. But "
        f"nobody finds it that way: the grid has sqrt(K)/eta points, {grid:.2g} plans an episode here (d = 3, H = 3, A "
        f"= 3, K = {n_episodes}), {usual:.2g} for H = 4 and K = 10,000. The prices are those of bisection, {plans} "
        f"plans at most; in {lower} episodes a quarter, a half or three quarters of the price found would have done, "
        "too. The paper's bound on regret is proven of the grid alone."
    )
    numbers = {"grid": grid, "bisection": plans, "within": within, "above 0": priced_at}
    return judged(within == n_episodes, text, numbers)


def grid_size(d: int, H: int, K: int, n_actions: int) -> float:
    """sqrt(K) / eta with eta = 1/(d^(H-1) K^(1.5 H) (log A)^H)."""
    return float(K**0.5 * d ** (H - 1) * float(K) ** (1.5 * H) * np.log(n_actions) ** H)


# ------------------------------------------------------------------------------------------------ learners


def primal_dual(rng: np.random.Generator) -> Evidence:
    """Regret and signed violation of the primal-dual learner."""
    tried = trial("SoftmaxPrimalDual-v0", rng, primal_dual_promise)
    (theory, practical), (theory_v, practical_v) = tried.growths(regrets), tried.growths(hard)
    text = (
        f"with the theorem's constants regret grows as K^{theory:.2f} and hard violation as K^{theory_v:.2f}, with "
        f"practical ones, for which nothing is proven, as K^{practical:.2f} and K^{practical_v:.2f}"
    )
    return tried.evidence(text, max(map(tried.worst, (regrets, violations))), (theory, practical))


def primal_dual_promise(problem: ConstrainedLinearMDP, K: int) -> float:
    """sqrt(d^3 H^3 T) log(4 log A d T / delta)."""
    d, H = problem.dim, problem.horizon
    return float(np.sqrt(d**3 * H**4 * K)) * logarithm(problem, K)


def hard_violation(rng: np.random.Generator) -> Evidence:
    """Regret and hard violation of the learner that searches for a price in each episode."""
    tried = trial("HardViolationSoftmax-v0", rng, primal_dual_promise)
    theory, practical = tried.growths(hard)
    first, last = (
        float(np.mean([hard(r)[part].mean() for r in tried.practical])) for part in (slice(100), slice(-100, None))
    )
    text = (
        f"hard violation grows as K^{theory:.2f} with the theorem's constants and as K^{practical:.2f} with practical "
        f"ones (prices by bisection), whose episodes overspend by {first:.3f} in the mean of the first hundred and by "
        f"{last:.3f} in that of the last"
    )
    curves = {
        name: np.cumsum([hard(record) for record in records], axis=1)
        for name, records in (("theory", tried.theory), ("practical", tried.practical))
    }
    worst = max(map(tried.worst, (regrets, hard)))
    return tried.evidence(text, worst, (theory, practical), lambda: episode_curves(curves, "sum of hard violations"))


def zero_violation(rng: np.random.Generator) -> Evidence:
    """The largest excess over the budget of any episode of the safe learner."""
    largest, episodes, safe = -np.inf, 0, list[int]()
    for problem in problems(rng, 3):
        for constants in ("theory", "practical"):
            agent: Any = make_agent(
                "SafeOptimisticPessimistic-v0", ModelEnv(problem), n_episodes=EPISODES, constants=constants
            )
            record = agent.learn(EPISODES * problem.horizon).record
            largest, episodes = max(largest, float(record.violations.max())), episodes + record.n_episodes
            safe.append(agent.safe_episodes.size)
    text = (
        f"The largest cost minus budget of the policies of {episodes:,} episodes on three problems is {largest:.4f}. "
        f"With the theorem's constants {min(safe[::2])} or more of the {EPISODES} episodes of a run are the safe "
        f"policy's, with practical ones, for which nothing is proven, {min(safe[1::2])} to {max(safe[1::2])}."
    )
    return judged(at_most(largest, 0.0), text, {"largest excess": largest, "episodes": episodes})


def safe_regret(rng: np.random.Generator) -> Evidence:
    """Regret of the safe learner."""
    tried = trial("SafeOptimisticPessimistic-v0", rng, safe_promise)
    theory, practical = tried.growths(regrets)
    text = (
        f"regret grows as K^{theory:.2f} with the theorem's constants, which only play the safe policy, and as "
        f"K^{practical:.2f} with practical ones"
    )
    return tried.evidence(text, tried.worst(regrets), (theory, practical))


def safe_promise(problem: ConstrainedLinearMDP, K: int) -> float:
    """H^2 sqrt(d^3 K) + d^3 H^4 / xi^2 + H^4 sqrt(d^5 K) / xi, without logarithms."""
    d, H = problem.dim, problem.horizon
    xi = problem.budget - safest_policy(problem).evaluation.cost
    return float(H**2 * np.sqrt(d**3 * K) + d**3 * H**4 / xi**2 + H**4 * np.sqrt(d**5 * K) / xi)


def lsvi_ucb(rng: np.random.Generator) -> Evidence:
    """Regret of LSVI-UCB without a budget."""
    tried = trial("LSVIUCB-v0", rng, lsvi_promise)
    theory, practical = tried.growths(regrets)
    text = (
        f"regret grows as K^{theory:.2f} with c = 1 and as K^{practical:.2f} with c = .01, for which nothing is proven"
    )
    return tried.evidence(text, tried.worst(regrets), (theory, practical))


def lsvi_promise(problem: ConstrainedLinearMDP, K: int) -> float:
    """sqrt(d^3 H^3 T) log(2 d T / delta)."""
    d, H = problem.dim, problem.horizon
    return float(np.sqrt(d**3 * H**4 * K) * np.log(2.0 * d * K * H / DELTA))


# ------------------------------------------------------------------------------------------------ covers


def values_along(Y: FloatArray, rewards: FloatArray, temperature: float) -> FloatArray:
    """E_pi Q_g (n, S) for prices Y (n,): two actions, Q_g = (1, 0), and Q_r = (0, y_s); greedy at temperature 0."""
    ahead = Y[:, None] - rewards
    return (ahead >= 0.0).astype(np.float64) if temperature == 0.0 else 0.5 + 0.5 * np.tanh(0.5 * ahead / temperature)


def balls(n_states: int, temperature: float, eps: float = COVER_EPS) -> int:
    """The least number of balls that cover these values, 0 <= Y <= 1; as they rise with Y, the longest runs do."""
    rewards = (np.arange(n_states) + 0.5) / n_states
    count, start = 0, 0.0
    while start < 1.0:
        first, low, high = values_along(np.array([start]), rewards, temperature), start, 1.0
        for _ in range(45):  # the end of the longest run that fits into one ball
            middle = 0.5 * (low + high)
            near = (values_along(np.array([middle]), rewards, temperature) - first).max() <= 2.0 * eps
            low, high = (middle, high) if near else (low, middle)
        count, start = count + 1, high if high < 1.0 else 1.0
    return count


def softmax_balls(temperature: float, eps: float = COVER_EPS) -> int:
    """How many are enough for any number of states: Y moves E_pi Q_g by tanh(|Y - Y'| / (4 tau)) at most."""
    return int(np.ceil(1.0 / (4.0 * temperature * np.arctanh(2.0 * eps))))


def cover_greedy(rng: np.random.Generator) -> Evidence:
    """Covers of greedy values as states are added."""
    sizes = (1, 3, 10, 30, 100, 300)
    found = {S: balls(S, 0.0) for S in sizes}
    soft = {S: balls(S, 0.03) for S in sizes}
    text = (
        f"Two actions, Q_g = (1, 0) and Q_r = (0, y), y different in each state: the values of the greedy policies for "
        f"Q_r + Y Q_g, 0 <= Y <= 1, take {found[10]}, {found[100]}, {found[300]} balls of radius {COVER_EPS} with 10, "
        f"100, 300 states, one more than states each; those of softmaxes at temperature .03 {soft[10]}, {soft[100]}, "
        f"{soft[300]}."
    )
    kept = all(found[S] == S + 1 for S in sizes)
    numbers = {f"S = {S}": n for S, n in found.items()}
    return judged(kept, text, numbers, picture=lambda: draw(lambda axes: paint_covers(axes, found, soft)))


def paint_covers(axes: "Axes", greedy: dict[int, int], soft: dict[int, int]) -> None:
    """Balls against states."""
    axes.loglog(list(greedy), list(greedy.values()), color=INK, marker="o", label="greedy")
    axes.loglog(list(soft), list(soft.values()), color=COLOURS[0], marker="s", label="softmax, tau = .03")
    axes.axhline(softmax_balls(0.03), color=COLOURS[0], linewidth=1.0, linestyle=(0, (5, 3)))
    axes.set(xlabel="states", ylabel=f"balls of radius {COVER_EPS:g}")
    axes.legend()


def cover_softmax(rng: np.random.Generator) -> Evidence:
    """Covers of softmax values beside what is enough for any states."""
    cases = [(S, tau) for S in (10, 100, 1000) for tau in (0.1, 0.03, 0.01)]
    found = compare([balls(S, tau) for S, tau in cases], [softmax_balls(tau) for _, tau in cases])
    text = (
        f"1/(4 tau artanh(2 eps)), rounded up, balls are enough in all {found.cases} cases, up to 1,000 states "
        f"({', '.join(f'{softmax_balls(tau)} at tau = {tau:g}' for tau in (0.1, 0.03, 0.01))}; eps = {COVER_EPS}), and "
        f"needed ({found.largest:.3f} of them)."
    )
    return bounded(found, text, {"largest part": found.largest})


def cover_size(rng: np.random.Generator) -> Evidence:
    """How near parameters have to be, and how many balls that makes."""
    seen, eps = list[float](), 0.1
    for tau in (1.0, 0.1, 0.01):
        kind = DualSoftmaxValues(5, 4.0, 40.0, 100.0, 8.0, tau)
        e_Q, e_Y = kind.resolution(eps)
        for _ in range(40):
            q = rng.uniform(0.0, 4.0, size=(2, 50, 4))
            near = np.clip(q + e_Q * rng.choice([-1.0, 1.0], size=q.shape), 0.0, 4.0)
            Y = float(rng.uniform(0.0, 8.0 - e_Y))
            moved = [dual_values(*pair, tau) for pair in ((q, Y), (near, Y + e_Y))]
            seen.append(float(np.abs(moved[0] - moved[1]).max()))
    sizes = [DualSoftmaxValues(5, 4.0, 40.0, 100.0, 8.0, t).log_covering_number(eps) for t in (1e-2, 1e-4, 1e-6, 1e-8)]
    steps = np.diff(sizes)
    found = compare(seen, eps)
    text = (
        f"Parameters within the resolution had values within eps in {found.cases} cases (largest part "
        f"{found.largest:.3f}). For d = 5 and H = 4 the logarithm of the number of balls of radius .1 is "
        f"{sizes[0]:.0f} at tau = .01, and grows by {steps.min():.1f} to {steps.max():.1f} with every factor of "
        "100: as log(1/tau)."
    )
    even = at_most(np.ptp(steps), 0.01 * steps.max())
    return bounded(found, text, {"largest part": found.largest, "growth": float(steps.max())}, also=even)


def dual_values(q: FloatArray, Y: float, temperature: float) -> FloatArray:
    """E_pi Q_r and E_pi Q_g (2, S) of the softmax of Q_r + Y Q_g, q being both (2, S, A)."""
    return (softmax_policy(q[0] + Y * q[1], temperature) * q).sum(axis=2)


# ------------------------------------------------------------------------------------------------ the claims

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "constrained.duality",
        "Altman, Constrained Markov Decision Processes, 1999, chapter 3",
        "max {v(pi) : cost(pi) <= budget} = min_y max_pi [v(pi) - y (cost(pi) - budget)]; so regret >= -y violation.",
        duality,
    ),
    Claim(
        "constrained.randomisation",
        "Beutler, Ross, Journal of Mathematical Analysis and Applications 112, 1985; Altman, 1999",
        "With one constraint some optimal policy randomises in one state of one stage at most.",
        randomisation,
    ),
    Claim(
        "constrained.price-bound",
        f"{PRIMAL_DUAL}, on Slater's condition",
        "If some policy costs at most budget - xi, the best price of cost is at most H / xi.",
        slater_price,
    ),
    Claim(
        "constrained.price-monotone",
        f"{SAFE}, Lemma 6",
        "The utility of softmax((Q_r + lambda Q_u)/kappa), Q_r with the entropy to come, rises with lambda.",
        price_monotone,
    ),
    Claim(
        "constrained.price-without-entropy",
        f"After {SAFE}, Lemma 6, and the policies of {HARD}",
        "Lemma 6 needs that entropy: the utility of the softmax of its own Q_r + Y Q_g need not rise with Y.",
        price_without_entropy,
    ),
    Claim(
        "constrained.price-search",
        f"{HARD}, Algorithm 1",
        "A price whose estimate is within the budget is found by raising it from 0 in steps of "
        "eta = d^(1-H) K^(-1.5H) (log A)^(-H), up to sqrt K.",
        price_search,
    ),
    Claim(
        "constrained.primal-dual",
        f"{PRIMAL_DUAL}, Theorem 1",
        "Regret and signed violation of K episodes are O~(sqrt(d^3 H^3 T)), T = K H.",
        primal_dual,
    ),
    Claim(
        "constrained.hard-violation",
        f"{HARD}, main theorem",
        "Regret and hard violation of K episodes are O~(sqrt(d^3 H^4 K)).",
        hard_violation,
    ),
    Claim(
        "constrained.zero-violation",
        f"{SAFE}, Theorem 3",
        "Given a safe policy with a margin, no episode's policy overspends.",
        zero_violation,
    ),
    Claim(
        "constrained.safe-regret",
        f"{SAFE}, Theorem 3",
        "Its regret is O~(H^2 sqrt(d^3 K) + d^3 H^4 / xi^2 + H^4 sqrt(d^5 K) / xi).",
        safe_regret,
    ),
    Claim(
        "constrained.lsvi-ucb",
        "Jin, Yang, Wang, Jordan, COLT 2020, Theorem 3.1",
        "The regret of LSVI-UCB is O(sqrt(d^3 H^3 T) log(2 d T / delta)), with probability 1 - delta.",
        lsvi_ucb,
    ),
    Claim(
        "constrained.cover-greedy",
        f"{PRIMAL_DUAL}, why policies are softmaxes; T. Kitamura, Shumi-Note, note on softmax policies, line 91",
        "The values E_pi Q_g of greedy policies for Q_r + Y Q_g have no finite cover: it grows with the states.",
        cover_greedy,
    ),
    Claim(
        "constrained.cover-softmax",
        f"{PRIMAL_DUAL}, why policies are softmaxes",
        "Those of softmaxes have one, whatever the number of states: along Y 1/(4 tau artanh(2 eps)) balls.",
        cover_softmax,
    ),
    Claim(
        "constrained.cover-size",
        f"{PRIMAL_DUAL}, its covering lemma",
        "The whole class, Q_j = <w_j, phi> + |phi|_M cut to [0, H], has a cover of logarithm O(d^2 log(1/(tau eps))).",
        cover_size,
    ),
)
