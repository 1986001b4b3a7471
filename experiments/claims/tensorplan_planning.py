"""What TensorPlan's plans are worth, and what they cost: soundness, queries, lower bounds."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...agents.local.literal import LiteralTensorPlan
from ...agents.local.theory import TheoryConstants
from ...models import FiniteHorizonMDP, planted_mdp, realizable_mdp
from ...wrappers import ExpectationAccess
from .bounds import compare
from .ledger import Claim, Evidence, Verdict
from .tensorplan_data import LECTURE, PAPER, earned, local, random_runs, stage_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]


def soundness(rng: np.random.Generator) -> Evidence:
    """What plans earn on random deterministic instances, beside v*."""
    found = random_runs(rng, 4)
    loss = [float(run.planted.value[0, 0]) - run.earned for run in found]
    return Evidence(
        Verdict.HOLDS if max(loss) < 1e-5 else Verdict.FALSE,
        f"{len(found)} plans on deterministic instances, delta = 0, one rollout: none loses more than {max(loss):.0e} "
        "of v*.",
        {"plans": len(found), "largest_loss": max(loss)},
    )


def any_policy(rng: np.random.Generator) -> Evidence:
    """Instances in which the value of one random policy is linear in the features, and v* is not."""
    n, worst, misfit, ahead = 20, -np.inf, np.inf, list[float]()
    for _ in range(n):
        model, P, value, theta = _policy_realizing(rng)
        assert model.features is not None
        H, S = model.r.shape[:2]
        best = np.zeros((H + 1, S))
        for h in reversed(range(H)):
            best[h] = (model.r[h] + P[h] @ best[h + 1]).max(axis=1)
        rows = model.features[:H].reshape(H * S, -1)
        misfit = min(misfit, float(np.abs(rows @ np.linalg.lstsq(rows, best[:H].ravel())[0] - best[:H].ravel()).max()))
        access = local(model)
        plan = LiteralTensorPlan(float(np.linalg.norm(theta))).plan(access, access.begin(), np.random.default_rng(0))
        gained = earned(local(model), plan, H)
        worst = max(worst, float(value[0, 0]) - gained)
        ahead.append(gained - float(value[0, 0]))
    return Evidence(
        Verdict.HOLDS if worst < 1e-5 and misfit > 0.01 else Verdict.FALSE,
        f"In {n} instances least squares misses v* by {misfit:.2g} or more, so that it is not realizable, but the "
        f"value of one random policy is. No plan earns less than that policy (by more than {max(worst, 0.0):.0e}); on "
        f"average they earn {np.mean(ahead):.2g} more.",
        {"instances": n, "largest_loss": worst, "least_misfit": misfit, "mean_gain": float(np.mean(ahead))},
    )


def _policy_realizing(rng: np.random.Generator) -> tuple[FiniteHorizonMDP, FloatArray, FloatArray, FloatArray]:
    """A deterministic model with unit features in which a random policy's value is linear; law, value and weights."""
    H, S, A, d = 5, 10, 3, 4
    P, r = np.eye(S)[rng.integers(0, S, (H, S, A))], rng.random((H, S, A))
    value = stage_values(FiniteHorizonMDP(P, r, H, np.eye(S)[0]), P, rng.integers(0, A, (H, S)))
    direction = rng.normal(size=d)
    direction /= np.linalg.norm(direction)
    across = rng.normal(size=(H + 1, S, d))
    across -= (across @ direction)[..., None] * direction
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    along = (value / (1.5 * H))[..., None]
    features = along * direction + np.sqrt(1.0 - along**2) * across
    features[H] = 0.0
    return FiniteHorizonMDP(P, r, H, np.eye(S)[0], features=features), P, value, 1.5 * H * direction


def rollouts(rng: np.random.Generator) -> Evidence:
    """How often a hypothesis that promises too much passes m rollouts, for the lecture's m and for a smaller one.

    From the start a state is reached with probability p > delta / B that the features let a hypothesis overrate by B;
    everything pays nothing. So every promise above delta is an error, and is accepted if all rollouts miss that state.
    """
    B, delta, zeta, H, n = 2.0, 0.5, 0.05, 2, 250
    lecture = math.ceil(2.0 * ((H + 2.0 * B) / delta) ** 2 * math.log(2.0 / zeta))
    m = math.ceil(B * math.log(1.0 / zeta) / delta)
    p = 1.001 * delta / B
    failures = {k: _overpromised(p, B, delta, k, n, rng) for k in (m, m // 4)}
    deviation = math.sqrt(zeta * (1.0 - zeta) / n)
    kept = failures[m] <= zeta + 3.0 * deviation
    needed = failures[m // 4] > zeta + 3.0 * deviation
    verdict = Verdict.SHARPENED if kept and needed and m < lecture else Verdict.HOLDS
    return Evidence(
        verdict,
        "B ln(1/zeta)/delta are enough: a hypothesis that meets a contradiction with probability p loses at most pB. "
        f"With H = {H}, B = {B:g}, delta = {delta}, zeta = {zeta} that is m = {m} rollouts in place of {lecture}; in "
        f"the worst case {failures[m]:.1%} of {n} plans promise too much, with a quarter of them "
        f"{failures[m // 4]:.0%}.",
        {"m": m, "m_lecture": lecture, "failures": failures[m], "failures_quarter": failures[m // 4], "zeta": zeta},
        lambda: _orders(B, zeta, H),
    )


def _overpromised(p: float, B: float, delta: float, m: int, n: int, rng: np.random.Generator) -> float:
    """The part of n plans that promise more than delta above what they earn, which is nothing."""
    P = np.zeros((2, 3, 1, 3))
    P[0, 0, 0], P[0, 1, 0, 1], P[0, 2, 0, 2], P[1, :, 0] = (0.0, 1.0 - p, p), 1.0, 1.0, np.eye(3)
    features = np.zeros((3, 3, 2))
    features[:2, 1], features[:2, 2] = (1.0, 0.0), (0.0, 1.0)
    features[0, 0] = (1.0 - p, p)
    model = FiniteHorizonMDP(P, np.zeros((2, 3, 1)), 2, np.eye(3)[0], features=features)
    failed = 0
    for _ in range(n):
        access = ExpectationAccess(model, rng=rng, state_key=int)
        plan = LiteralTensorPlan(B, rollouts=m).plan(access, access.begin(), rng)
        failed += plan.value > delta
    return failed / n


def _orders(B: float, zeta: float, H: int) -> str:
    from ...evaluation.plots import COLOURS, draw

    delta = np.geomspace(0.01, 1.0, 50)

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot(
            delta, 2.0 * ((H + 2.0 * B) / delta) ** 2 * math.log(2.0 / zeta), color=COLOURS[1], label="the lecture's m"
        )
        axes.plot(delta, B * math.log(1.0 / zeta) / delta, color=COLOURS[0], label="B ln(1/zeta)/delta")
        axes.set_xlabel("delta")
        axes.set_ylabel("rollouts")
        axes.legend(loc="upper right")

    return draw(paint)


def discounted(rng: np.random.Generator) -> Evidence:
    """Plans for discounted rewards, rollouts cut off, beside v*."""
    n, gamma, delta, worst = 10, 0.7, 0.02, -np.inf
    for _ in range(n):
        planted = planted_mdp(12, 2, 1, rng, gamma=gamma, dim=3)
        access = local(planted.model)
        planner, start = LiteralTensorPlan(1.0 / (1.0 - gamma), delta=delta), access.begin()
        plan = planner.plan(access, start, np.random.default_rng(0))
        assert planted.model.features is not None  # dim was given
        state = int(np.abs(planted.model.features - start.features).sum(axis=1).argmin())
        worst = max(worst, float(planted.value[state]) - earned(local(planted.model), plan, planner.stages(access)))
    return Evidence(
        Verdict.HOLDS if worst <= delta else Verdict.FALSE,
        f"{n} deterministic instances, gamma = {gamma}, rollouts cut so that delta = {delta}: the most that was lost "
        f"of v* is {max(worst, 0.0):.2g}.",
        {"instances": n, "largest_loss": worst, "delta": delta},
    )


# what queries buy


def needle(_: np.random.Generator) -> Evidence:
    """Needles of growing length: TensorPlan and others at the same number of queries."""
    import gymnasium as gym

    from ..trials import Trial, uniform_play

    budget, horizons, planners = 2000, (5, 10, 20, 40), ("TensorPlan-v0", "UCT-v0", "LSVI-v0")
    asked, values = list[int](), {name: list[float]() for name in planners}
    for horizon in horizons:
        env = gym.make("lookahead_rl:NeedleMDP-v0", n_actions=3, horizon=horizon, dim=20, mdp_seed=1)
        uniform = uniform_play(env)[0]
        for name in planners:
            result = Trial(name, budget).run(env, uniform)
            values[name].append(0.0 if result.value is None else result.value)
            if name == "TensorPlan-v0":
                asked.append(result.queries)
    power = float(np.polyfit(np.log(horizons), np.log(asked), 1)[0])
    found = min(values["TensorPlan-v0"]) > 0.999 and power < 3.0
    text = "; ".join(f"{name.removesuffix('-v0')} {', '.join(f'{v:.2g}' for v in vs)}" for name, vs in values.items())
    return Evidence(
        Verdict.HOLDS if found else Verdict.IN_DOUBT,
        "One hidden sequence of H actions among 3^H pays 1, d = 20. TensorPlan finds it with "
        f"{', '.join(f'{q:,}' for q in asked)} queries at H = {', '.join(map(str, horizons))}, a power {power:.2g} of "
        f"H. Values with {budget:,} queries: {text}.",
        {
            "budget": budget,
            "power_of_h": power,
            **{f"queries_h{h}": q for h, q in zip(horizons, asked, strict=True)},
            **{f"{name}_h{h}": v for name, vs in values.items() for h, v in zip(horizons, vs, strict=True)},
        },
        lambda: _needles(horizons, asked, values),
    )


def _needles(horizons: tuple[int, ...], asked: list[int], values: dict[str, list[float]]) -> str:
    from ...evaluation.plots import COLOURS, draw

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.plot(horizons, asked, color=COLOURS[0], marker="o", label="queries of TensorPlan")
        axes.plot(horizons, [3.0**h for h in horizons], color=COLOURS[1], linestyle=":", label="sequences, 3^H")
        axes.set_ylim(1, 1e8)
        axes.set_xticks(horizons, [str(h) for h in horizons])
        axes.minorticks_off()
        axes.set_xlabel("H")
        axes.legend(loc="upper left")

    return draw(paint)


def polynomial(_: np.random.Generator) -> Evidence:
    """The constants of a proof of the theorem, and how they grow."""
    base, far = (
        {"dim": 4.0, "horizon": 10.0, "B": 10.0, "delta": 0.5},
        {"dim": 32.0, "horizon": 80.0, "B": 80.0, "delta": 0.06},
    )
    powers = {name: _power(base, name) for name in base}
    later = {name: _power(far, name) for name in base}
    by_actions = [_total(A, base) for A in (1, 2, 3, 4)]
    step = float(np.diff(np.log10(by_actions)).mean())
    is_bounded = all(later[name] <= 1.25 * powers[name] for name in base)
    return Evidence(
        Verdict.HOLDS if is_bounded else Verdict.FALSE,
        "At A = 2, d = 4, H = 10, B = 10, delta = 1/2 the queries of a proof with every constant worked out grow with "
        f"the powers {powers['dim']:.2g} of d, {powers['horizon']:.2g} of H, {powers['B']:.2g} of B and "
        f"{powers['delta']:.2g} of 1/delta, and with no higher ones eight times further out. But they are "
        f"{by_actions[1]:.0e}, and each further action multiplies them by 10^{step:.0f}: a polynomial that no "
        "computer pays.",
        {
            **{f"power_{name}": power for name, power in powers.items()},
            **{f"later_power_{name}": power for name, power in later.items()},
            "queries_A2": by_actions[1],
            "queries_A4": by_actions[3],
        },
    )


def _total(n_actions: int, numbers: dict[str, float]) -> float:
    return TheoryConstants(
        dim=int(numbers["dim"]),
        n_actions=n_actions,
        horizon=int(numbers["horizon"]),
        B=numbers["B"],
        delta=numbers["delta"],
        zeta_total=0.05,
    ).total_queries


def _power(at: dict[str, float], name: str) -> float:
    """The power of a number, or of 1/delta, with which the queries of two actions grow where it is doubled."""
    factor = 0.5 if name == "delta" else 2.0
    return math.log2(_total(2, at | {name: at[name] * factor}) / _total(2, at))


def every_action(rng: np.random.Generator) -> Evidence:
    """One state, one step, theta* known: how many queries find the one action that pays?"""
    counts, draws = (4, 16, 64, 256), 4000
    mean = {
        A: float(1 + np.argmax(rng.permuted(np.tile(np.arange(A), (draws, 1)), axis=1) == 0, axis=1).mean())
        for A in counts
    }
    for_half = {A: _sound_queries(A) for A in counts}
    power = float(np.polyfit(np.log(counts), np.log([for_half[A] for A in counts]), 1)[0])
    asked = {A: _planned_queries(A) for A in (4, 16, 64)}
    result = compare([for_half[A] for A in counts], list(counts))
    verdict = Verdict.HOLDS if power > 0.95 and not result.violations else Verdict.FALSE
    return Evidence(
        verdict,
        "One action of A pays 1, v* = 1 = phi theta* says so and not which. Whoever queries n of them plays it with "
        "probability (n + 1)/A at best, so being 1/2-sound takes A/2 - 1 queries: "
        f"{', '.join(str(for_half[A]) for A in counts)} at A = {', '.join(map(str, counts))}; to find it for sure "
        f"takes (A + 1)/2 on average ({mean[64]:.3g} at A = 64). TensorPlan asks "
        f"{', '.join(str(q) for q in asked.values())} at A = 4, 16, 64.",
        {
            "power_of_A": power,
            **{f"needed_A{A}": q for A, q in for_half.items()},
            **{f"asked_A{A}": q for A, q in asked.items()},
        },
    )


def _sound_queries(n_actions: int) -> int:
    """The least n with which the paying action is played with probability 1/2 or more."""
    return next(n for n in range(n_actions) if (n + 1) / n_actions >= 0.5)


def _planned_queries(n_actions: int) -> int:
    r = np.zeros((1, 1, n_actions))
    r[0, 0, n_actions // 2] = 1.0
    P, features = np.ones((1, 1, n_actions, 1)), np.zeros((2, 1, 1))
    features[0] = 1.0
    access = local(FiniteHorizonMDP(P, r, 1, np.ones(1), features=features))
    return LiteralTensorPlan(1.0).plan(access, access.begin(), np.random.default_rng(0)).queries


def not_q_star(rng: np.random.Generator) -> Evidence:
    """q* of instances whose v* is linear, fitted by their features action by action, and by what queries return."""
    unexplained, left = list[float](), 0.0
    for _ in range(20):
        planted = realizable_mdp(30, 3, 5, 5, rng, stochastic=True)
        model = planted.model
        assert model.features is not None
        H, S, A = model.r.shape
        following = (model.P_rows @ np.eye(S)).reshape(H, S, A, S)
        expected = np.einsum("hsat,htd->hsad", following, model.features[1:])
        q = planted.value[:H, :, None] + planted.advantage
        rows = model.features[:H].reshape(H * S, -1)
        fits = [rows @ np.linalg.lstsq(rows, q[:, :, a].ravel())[0] for a in range(A)]
        residual = np.stack(fits, axis=1).reshape(q.shape) - q
        unexplained.append(float((residual**2).mean() / (planted.advantage**2).mean()))
        left = max(left, float(np.abs(model.r + expected @ planted.theta - q).max()))
    return Evidence(
        Verdict.HOLDS if min(unexplained) > 0.1 and left < 1e-9 else Verdict.FALSE,
        "In 20 instances with v* linear in phi(s), the best linear q(s, a) = <phi(s), theta_a> leaves "
        f"{min(unexplained):.0%} to {max(unexplained):.0%} of the advantages' mean square unexplained. From r_a(s) "
        f"and the expected next features, which only queries return, q* follows to {left:.0e}.",
        {"least_unexplained": min(unexplained), "most_unexplained": max(unexplained), "error_from_queries": left},
    )


CLAIMS = (
    Claim(
        "tensorplan.theorem",
        f"{LECTURE}, Theorem; {PAPER}",
        "There is a delta-sound local planner for B-realizable v* that makes poly((dH/delta)^A, B) queries: "
        "polynomially many in d, H, 1/delta and B for fixed A.",
        polynomial,
    ),
    Claim(
        "tensorplan.every-action",
        f"{LECTURE}, below the Theorem",
        "Even with theta* known one needs Theta(A) queries to act well, so the cost must grow at least linearly with "
        "A.",
        every_action,
    ),
    Claim(
        "tensorplan.not-q-star",
        f"{LECTURE}, below the Theorem",
        "A realizable v* does not give q* away: it takes queries, although theta* is known.",
        not_q_star,
    ),
    Claim(
        "tensorplan.needle",
        f"{LECTURE}, Theorem; {PAPER}",
        "Queries grow polynomially in H where blind search takes A^H.",
        needle,
    ),
    Claim(
        "tensorplan.rollouts",
        f"{LECTURE}, section Soundness",
        "m of order (H + B)^2/delta^2 rollouts without inconsistency show that v^pi_0(s_0) >= v_0(s_0; theta+) - "
        "delta.",
        rollouts,
    ),
    Claim(
        "tensorplan.soundness",
        f"{LECTURE}, section Soundness",
        "If v* is B-realizable, TensorPlan stops with v^pi_0(s_0) >= v*_0(s_0) - delta.",
        soundness,
    ),
    Claim(
        "tensorplan.any-policy",
        f"{LECTURE}, section An optimistic planner",
        "TensorPlan competes with every deterministic policy whose value is realizable, though v* be not.",
        any_policy,
    ),
    Claim(
        "tensorplan.discounted",
        f"{PAPER}, abstract",
        "The result extends to infinite horizons with a discount.",
        discounted,
    ),
)
