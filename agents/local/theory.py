"""How many samples TensorPlan needs for a proof: every constant of its analysis with sampled queries.

*Setting.* ||phi|| <= 1, rewards in [0, 1], v*_h(s) = <phi_h(s), theta*> with ||theta*|| <= B, and for any theta

    Delta_a(theta) = r_a + <u_a, theta>,   u_a = gamma P_a phi' - phi,   gamma = 1 with a finite horizon,

so that |Delta_a(theta)| and the spread of one sample of it are at most M = 1 + (1 + gamma) B. The planner repeats:
theta+ maximises v_0(s_0; theta) over what is left of the ball, up to sigma. In m rollouts of T stages every state
estimates all Delta_a(theta+), from n_c fresh samples each; the a of least |estimate| is played if that is at most tau.
Otherwise theta+ is *contradicted*: n_d fresh samples of each action there cut the ball down to those theta with some
|estimate of Delta_a(theta)| <= eps_d (and, with Bellman's inequalities, with every estimate <= eps_d). Once m rollouts
bring no contradiction, the episode is played by the same test. With a finite horizon T = W = H; with a discount
W = 1 / (1 - gamma) and gamma^T B <= delta / 16. The algorithm is that of Weisz, Amortila, Janzer, Abbasi-Yadkori,
Jiang, Szepesvári, On Query-Efficient Planning in MDPs under Linear Realizability of the Optimal State-Value Function,
COLT 2021; its constants are derived here.

*Events.* Each of the following fails with probability at most zeta, given what came before.

1. Hoeffding: the mean of n samples errs by at most M sqrt(ln(2 / zeta) / (2n)), at a theta fixed before they are drawn.
   theta+ is so fixed for the samples of its rollouts and of its cut; theta* always is. The ball needs no cover.
2. If theta+ fails a rollout with probability p, then m rollouts are clean with probability (1 - p)^m <= exp(-p m): an
   accepted theta+ has p <= ln(1 / zeta) / m.

While there are at most E contradictions, these are at most N = (E + 1) (m T A + 1) + 2 E A events: the tests and the
acceptance of each theta+; for each cut A estimates at theta+ and A at theta* (one would do without Bellman's
inequalities). All hold together but with probability N zeta = zeta_total. m grows with ln(1 / zeta) and N with m; from
zeta = zeta_total the iteration climbs to the least solution of both.

*Test.* n_c makes its error g = delta / (8 W), and tau = 2 g. An action that passes has |Delta_a(theta+)| <= 3 g; where
none passes, every |Delta_a(theta+)| > g.

*Soundness.* Follow theta+ up to the first stage whose test fails or whose estimates are wrong, or up to T. Rewards are
nonnegative and <phi, theta+> <= B, so Delta telescopes along the way into

    v^pi(s_0) >= v_0(s_0; theta+) - 3 g W - B (p + T A zeta) - gamma^T B     (the last term with a discount only),

whatever is played afterwards. The terms are 3 delta / 8; delta / 4, by m = 4 B ln(1 / zeta) / delta, and delta / 16, as
T A zeta <= zeta_total / (m (E + 1)) and E >= 14; and delta / 16. With sigma = delta / 4, and as theta* is never cut,
v^pi(s_0) >= v*(s_0) - delta. A rollout goes on to a state drawn anew: the samples that chose the action are biased.

*Contradictions.* With x_a = (r_a, u_a) and f = (1, theta), prod_a Delta_a = <x, F(theta)>, where F is the A-fold tensor
product of f with itself and x the symmetric part of the product of the x_a: vectors in dimension k = C(d + A, A). Let
x_i hold the estimates of cut i, and theta_i be what it contradicted. The eps_d below is at most g / (2 A), so that

    |<x_i, F(theta_i)>| >= (g - eps_d)^A >= g^A / 2 =: mu,     |<x_j, F(theta_i)>| <= eps_d M^(A-1) =: eta  (j < i),

the latter as theta_i survived cut j. u times c and theta over c have the same products; at the best c,
||x|| ||F|| <= M^A. With V_i = lambda I + sum_{j<i} x_j x_j^T, lambda ||F||^2 <= mu^2 / 4 and E eta^2 <= mu^2 / 4,

    mu^2 <= (x_i^T V_i^-1 x_i) (F^T V_i F) <= (x_i^T V_i^-1 x_i) (mu^2 / 4 + mu^2 / 4),

so that every x_i^T V_i^-1 x_i >= 2, while after n contradictions sum_i ln(1 + x_i^T V_i^-1 x_i) = ln det(V_{n+1} /
lambda) <= k ln(1 + 4 n M^(2A) / (k mu^2)) (Lattimore, Szepesvári, Bandit Algorithms, 2020, proof of Lemma 19.4). Hence
n ln 3 <= k ln(1 + 4 n M^(2A) / (k mu^2)), and E is the largest such n. The slabs are eps_d = mu / (2 sqrt(E) M^(A-1)),
and n_d makes that the error of a cut.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ...models._checks import ModelError, discount, real_number, whole_number

LARGEST_EXPONENT = 709.0  # of a float64
ROUNDING = 1.0 + 1e-9  # counts are rounded up from slightly more, which float64 may have lost


class Constant(NamedTuple):
    """One row of the table of constants.

    Attributes:
        name: Its name.
        formula: What it is computed from.
        value: Its value; infinite beyond the range of float64.
        reason: What it is for.
    """

    name: str
    formula: str
    value: float
    reason: str


@dataclass(frozen=True)
class TheoryConstants:
    """The constants with which TensorPlan is delta-sound with probability 1 - zeta_total, see the module.

    Counts are whole floats, infinite beyond the range of float64. The planner's own randomness may fail: the expected
    value of what it plays is at least v*(s_0) - delta - zeta_total W.

    Attributes:
        dim: d >= 1.
        n_actions: A >= 1.
        horizon: Number of stages H >= 1, or None with a discount.
        B: Bound on ||theta*||, positive.
        delta: Suboptimality allowed, 0 < delta <= W.
        zeta_total: Probability that any estimate of the planning misleads, in (0, 1).
        gamma: Discount in [0, 1); 1 with a finite horizon.

    Raises:
        ModelError: A number out of range.
    """

    dim: int
    n_actions: int
    horizon: int | None
    B: float
    delta: float
    zeta_total: float
    gamma: float = 1.0

    def __post_init__(self) -> None:
        """Check every number."""
        set_field = object.__setattr__
        set_field(self, "dim", whole_number("dim", self.dim, 1))
        set_field(self, "n_actions", whole_number("n_actions", self.n_actions, 1))
        set_field(self, "gamma", discount(self.gamma))
        if self.horizon is not None:
            set_field(self, "horizon", whole_number("horizon", self.horizon, 1))
        if (self.horizon is None) != (self.gamma < 1.0):
            raise ModelError(f"horizon is {self.horizon} and gamma is {self.gamma}; pass a horizon, or a gamma below 1")
        for name in ("B", "delta", "zeta_total"):
            set_field(self, name, real_number(name, getattr(self, name)))
        if self.B <= 0.0:
            raise ModelError(f"B is {self.B}; pass a positive bound on the norm of theta*")
        if not 0.0 < self.zeta_total < 1.0:
            raise ModelError(f"zeta_total is {self.zeta_total}; pass a probability between 0 and 1, both excluded")
        if not 0.0 < self.delta <= self.W:
            raise ModelError(f"delta is {self.delta}; it must lie in (0, {self.W:g}], as values lie in [0, {self.W:g}]")

    @property
    def W(self) -> float:
        """Sum of the weights of the stages: H, or 1 / (1 - gamma)."""
        return 1.0 / (1.0 - self.gamma) if self.horizon is None else float(self.horizon)

    @cached_property
    def T(self) -> float:
        """Stages of a rollout: H, or the least T >= 1 with gamma^T B <= delta / 16."""
        if self.horizon is not None:
            return float(self.horizon)
        if self.gamma == 0.0 or self.delta >= 16.0 * self.B:
            return 1.0
        return _count(math.log(16.0) + math.log(self.B) - math.log(self.delta), -math.log(self.gamma))

    @property
    def M(self) -> float:
        """Bound on |Delta_a(theta)| and on the spread of its samples: 1 + (1 + gamma) B."""
        return 1.0 + (1.0 + self.gamma) * self.B

    @property
    def sigma(self) -> float:
        """Slack left to the optimiser: delta / 4."""
        return self.delta / 4.0

    @property
    def tau(self) -> float:
        """Largest estimate of |Delta_a(theta+)| that passes the test: delta / (4 W)."""
        return self.delta / (4.0 * self.W)

    @cached_property
    def k(self) -> float:
        """Dimension of the polynomials of degree A in d variables: C(d + A, A)."""
        k = math.comb(self.dim + self.n_actions, self.n_actions)
        return float(k) if k.bit_length() < 1024 else math.inf  # else beyond float64

    @cached_property
    def E(self) -> float:
        """Most contradictions that there can be, see :func:`most_contradictions`."""
        return most_contradictions(self.k, 2.0 * (self.n_actions * math.log(self.M) - self._log_mu))

    @property
    def log_eps_d(self) -> float:
        """ln(eps_d), which may lie beyond the range of eps_d itself."""
        return self._log_mu - math.log(2.0) - 0.5 * _log(self.E) - (self.n_actions - 1) * math.log(self.M)

    @property
    def eps_d(self) -> float:
        """Half the width of the slabs of a cut: mu / (2 sqrt(E) M^(A-1)), mu = (delta / (8 W))^A / 2."""
        return _exp(self.log_eps_d)

    @cached_property
    def m(self) -> float:
        """Clean rollouts that accept theta+: 4 B ln(1 / zeta) / delta."""
        m, before = self._rollouts(-math.log(self.zeta_total)), 0.0
        while m > before:
            m, before = self._rollouts(_log(self._events(m)) - math.log(self.zeta_total)), m
        return before

    @property
    def N(self) -> float:
        """Events that must not fail: (E + 1)(m T A + 1) + 2 E A."""
        return self._events(self.m)

    @property
    def log_odds(self) -> float:
        """ln(1 / zeta) = ln(N / zeta_total)."""
        return _log(self.N) - math.log(self.zeta_total)

    @property
    def zeta(self) -> float:
        """Probability that one event fails: zeta_total / N."""
        return _exp(-self.log_odds)

    @property
    def n_c(self) -> float:
        """Samples of each action in a test: M^2 ln(2 / zeta) / (2 (delta / (8 W))^2)."""
        return hoeffding_samples(self.M, self._log_g, self.log_odds)

    @property
    def n_d(self) -> float:
        """Samples of each action in a cut: M^2 ln(2 / zeta) / (2 eps_d^2)."""
        return hoeffding_samples(self.M, self.log_eps_d, self.log_odds)

    @property
    def queries_to_plan(self) -> float:
        """(E + 1) m T (A n_c + 1) + E A n_d: the rollouts of each theta+, and the cuts."""
        A = self.n_actions
        return (self.E + 1.0) * self.m * self.T * (A * self.n_c + 1.0) + self.E * A * self.n_d

    @property
    def queries_to_execute(self) -> float:
        """T A n_c: the tests along the episode that is played."""
        return self.T * self.n_actions * self.n_c

    @property
    def total_queries(self) -> float:
        """Most queries of an episode, planned and played."""
        return self.queries_to_plan + self.queries_to_execute

    def feasible(self, budget: int | None) -> bool:
        """Whether the queries fit a budget; without one, whether they are finitely many."""
        return self.total_queries <= budget if budget is not None else math.isfinite(self.total_queries)

    def refusal(self, budget: int | None) -> str:
        """What to tell who asks for guarantees that the budget cannot buy."""
        allowed = "there is no limit, but no computer will make them" if budget is None else f"the budget is {budget}"
        return (
            f"mode='theory' needs {self.total_queries:.2g} queries ({self.E:.3g} contradictions, each of "
            f"{self.n_actions} x {self.n_d:.2g} samples, between rounds of {self.m:.3g} rollouts); {allowed}: "
            "use mode='practical', whose guarantee is its certificate, or a larger delta"
        )

    def describe(self) -> tuple[Constant, ...]:
        """Every constant with its formula, its value and its reason, in the order in which they are computed."""
        finite = self.horizon is not None
        return (
            Constant("T", "H" if finite else "ln(16 B / delta) / ln(1 / gamma)", self.T, "stages of a rollout"),
            Constant("W", "H" if finite else "1 / (1 - gamma)", self.W, "weight of all stages together"),
            Constant("M", "1 + (1 + gamma) B", self.M, "spread of a sample of Delta_a(theta)"),
            Constant("sigma", "delta / 4", self.sigma, "slack of the optimiser"),
            Constant("tau", "delta / (4 W)", self.tau, "a test passes where some estimate is smaller"),
            Constant("k", "C(d + A, A)", self.k, "dimension in which the product of all Delta_a is linear"),
            Constant("E", "n ln 3 = k ln(1 + 4n M^(2A) / (k mu^2))", self.E, "most contradictions there can be"),
            Constant("eps_d", "mu / (2 sqrt(E) M^(A-1))", self.eps_d, "slabs of a cut lie inside its product set"),
            Constant("m", "4 B ln(1 / zeta) / delta", self.m, "clean rollouts: what is missed loses delta / 4"),
            Constant("N", "(E + 1) (m T A + 1) + 2 E A", self.N, "events of the union bound"),
            Constant("zeta", "zeta_total / N", self.zeta, "probability that one event fails"),
            Constant("n_c", "32 M^2 W^2 ln(2 / zeta) / delta^2", self.n_c, "samples a test: its error is tau / 2"),
            Constant("n_d", "M^2 ln(2 / zeta) / (2 eps_d^2)", self.n_d, "samples a cut: theta* survives it"),
            Constant("planning", "(E + 1) m T (A n_c + 1) + E A n_d", self.queries_to_plan, "queries, once an episode"),
            Constant("execution", "T A n_c", self.queries_to_execute, "queries along the episode"),
        )

    def __str__(self) -> str:
        """The table of constants."""
        return "\n".join(f"{c.name:<10}{c.value:<11.4g}{c.formula:<41}{c.reason}" for c in self.describe())

    @property
    def _log_g(self) -> float:
        """ln(g), g = delta / (8 W)."""
        return math.log(self.delta) - math.log(8.0) - math.log(self.W)

    @property
    def _log_mu(self) -> float:
        """ln(mu), mu = g^A / 2."""
        return self.n_actions * self._log_g - math.log(2.0)

    def _rollouts(self, log_odds: float) -> float:
        return _count(4.0 * self.B * log_odds, self.delta)

    def _events(self, m: float) -> float:
        return (self.E + 1.0) * (m * self.T * self.n_actions + 1.0) + 2.0 * self.E * self.n_actions


def most_contradictions(k: float, log_ratio: float) -> float:
    """The largest n with n ln 3 <= k ln(1 + 4n X / k), rounded up.

    No more than n pairs of vectors x_i, f_i in R^k have |<x_i, f_i>| >= mu and |<x_j, f_i>| <= eta for j < i, if
    ||x_i|| ||f_j|| <= mu sqrt(X) for all i, j and n eta^2 <= mu^2 / 4.

    Args:
        k: Dimension, at least 1.
        log_ratio: ln X, at least 0.
    """
    # y = n / k: from above its fixed point a concave increasing map descends to it.
    y, before = 2.0 * (math.log(5.0) + log_ratio + 2.0), math.inf
    while y < before * (1.0 - 1e-15):
        y, before = _log_one_plus(math.log(4.0 * y) + log_ratio) / math.log(3.0), y
    return _count(k * before, 1.0)


def hoeffding_samples(spread: float, log_error: float, log_odds: float) -> float:
    """Samples whose mean errs by more than the error with probability at most zeta: spread^2 ln(2/zeta) / (2 error^2).

    Args:
        spread: Largest minus smallest possible sample.
        log_error: ln of the error.
        log_odds: ln(1 / zeta).
    """
    exponent = 2.0 * (math.log(spread) - log_error) + _log((math.log(2.0) + log_odds) / 2.0)
    return _count(_exp(exponent), 1.0)


def _count(numerator: float, denominator: float) -> float:
    """The least whole number that is surely no less than a positive ratio."""
    ratio = numerator / denominator * ROUNDING
    return float(math.ceil(ratio)) if math.isfinite(ratio) else math.inf


def _log(x: float) -> float:
    return math.log(x) if math.isfinite(x) else math.inf


def _log_one_plus(log_x: float) -> float:
    """ln(1 + x)."""
    return max(log_x, 0.0) + math.log1p(math.exp(-abs(log_x)))


def _exp(x: float) -> float:
    return math.exp(x) if x < LARGEST_EXPONENT else math.inf
