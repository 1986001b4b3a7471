"""Who is best in a population: Nash averaging, and ratings learnt from games.

Let A (n, n) be antisymmetric, A[i, j] what member i wins against member j on the mean over both sides. The game in
which both players choose a member has the value 0, and its equilibria p, A p <= 0, are the mixtures that nobody beats.

*Nash averaging* (Balduzzi, Tuyls, Perolat, Graepel, Re-evaluating Evaluation, NeurIPS 2018) rates member i by (A p)_i,
what it wins against the equilibrium p of greatest entropy: 0 on the support of p, and less for those that lose to it.
Members that nobody needs beside the others have no weight, however many opponents they beat, and copies of a member
change nothing. Where the equilibrium is not unique the last point fails for the greatest entropy over members: with
X and Y equal, and Z losing 1 to X and 3 to Y, Z is rated -2, but -5/3 once X is there twice. Here members with equal
rows of A count as one, whose weight they share, so that it always holds; where the equilibrium is unique the two rules
agree.

*How p is computed.* A strictly complementary equilibrium, p - A p > 0, exists (Tucker, Dual Systems of Homogeneous
Linear Relations, 1956), and a linear programme finds one. Its support S is the largest of all, so all equilibria
satisfy A_SS p = 0 and A_NS p <= 0, N being the others; within this face Newton's method with a logarithmic barrier for
p > 0 and A_NS p < 0 finds the greatest entropy. The certificate is computed from p alone: max_i (A p)_i, which is 0 at
an equilibrium.

*Openskill* (Joshy, OpenSkill, JOSS 9, 2024) rates by the Bayesian rule of Weng and Lin (JMLR 12, 2011, Algorithm 1:
full-pair Bradley-Terry): a number mu on one scale with its uncertainty sigma, learnt from one match after the other. It
is transitive by construction, so it hides cycles, and it depends on how often who met whom: copies of a weak member
raise those who beat it. This is why it stands beside Nash averaging and does not replace it.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models import ModelError
from ..models._checks import real_array, real_number, whole_number
from ..models.summaries import Summarised

FloatArray = NDArray[np.float64]

SMALLEST_BARRIER = 1e-10
"""Last weight of the barrier: the entropy is then within n times this of the greatest."""
NEWTON_STEPS = 60
"""At most, for each weight of the barrier; from a good start about six are needed."""
TIE = 1e-9
"""Matches nearer to a draw than this, relative to the largest return, are drawn."""


@dataclass(frozen=True, eq=False, repr=False)
class NashAverage(Summarised):
    """A population rated by the equilibrium of greatest entropy.

    Attributes:
        weights: The equilibrium p (n,).
        skill: What each member wins against it (n,): 0 where it has weight, never more than ``gap``.
        gap: max(A p), computed from the weights: what somebody could still win against them. The value of the game
            is 0, so p is an equilibrium within this.
    """

    shown: ClassVar[tuple[str, ...]] = ("gap",)

    weights: FloatArray
    skill: FloatArray
    gap: float


@dataclass(frozen=True)
class Skill:
    """A rating of openskill's.

    Attributes:
        mu: The estimate; 25 before any match.
        sigma: Its uncertainty, a standard deviation; 25/3 before any match.
    """

    mu: float
    sigma: float


def nash_average(payoffs: ArrayLike, *, resolution: float = 0.0) -> NashAverage:
    """Rate a population by Nash averaging.

    Args:
        payoffs: A (n, n), antisymmetric: what row wins against column.
        resolution: Payoffs are rounded to multiples of this, so that members which differ by less than it, as two
            solvers' equilibria do, are equal; 0 takes them as they are.

    Raises:
        ModelError: A is not square or not antisymmetric (the entry is named), or ``resolution`` is no number >= 0.
        ValueError: An entry is not finite.
    """
    A = _antisymmetric(payoffs)
    step = real_number("resolution", resolution)
    if step < 0.0:
        raise ModelError(f"resolution is {step}; it must be at least 0")
    A = np.rint(A / step) * step if step > 0.0 else A
    _, firsts, kinds = np.unique(A, axis=0, return_index=True, return_inverse=True)
    kinds = kinds.reshape(-1)
    shares = _equilibrium(A[np.ix_(firsts, firsts)])
    weights = (shares / np.bincount(kinds))[kinds]
    skill = A @ weights
    return NashAverage(weights, skill, max(0.0, float(skill.max())))


def skill_ratings(returns: ArrayLike, seed: int) -> list[Skill]:
    """Rate a population by openskill's full-pair Bradley-Terry model.

    A match of i and j is two episodes begun from equal seeds, one with i as player_0 and one with j: whoever is paid
    more in both together wins. Equal sums, to within ``TIE``, are a draw. The ratings depend on the order of the
    matches, which is drawn from ``seed``; parameters are openskill's own (mu 25, sigma 25/3, beta 25/6), except that
    tau = 0, since members do not change.

    Args:
        returns: (n, n, E), what player_0 is paid in episode e when row plays player_0 and column player_1.
        seed: Seed of the order.

    Raises:
        ModelError: ``returns`` has another shape.
        ImportError: openskill is not installed.
    """
    paid = real_array("returns", returns)
    if paid.ndim != 3 or paid.shape[0] != paid.shape[1]:
        raise ModelError(f"returns has shape {paid.shape}; expected (n, n, episodes)")
    if find_spec("openskill") is None:
        raise ImportError('ratings need openskill: pip install "lookahead-rl[experiments]"')
    from openskill.models import BradleyTerryFull

    model: Any = BradleyTerryFull(tau=0.0)
    ratings = [model.rating() for _ in paid]
    margins = paid - paid.transpose(1, 0, 2)
    tie = TIE * max(float(np.abs(paid).max(initial=0.0)), np.finfo(float).tiny)
    matches = np.argwhere(np.triu(np.ones(paid.shape[:2]), 1)[:, :, None] * np.ones(paid.shape[2]) > 0.0)
    for i, j, e in np.random.default_rng(whole_number("seed", seed, 0)).permutation(matches):
        margin = margins[i, j, e]
        ranks = [1, 1] if abs(margin) <= tie else [1, 2] if margin > 0.0 else [2, 1]
        [[ratings[i]], [ratings[j]]] = model.rate([[ratings[i]], [ratings[j]]], ranks=ranks)
    return [Skill(float(rating.mu), float(rating.sigma)) for rating in ratings]


def _antisymmetric(payoffs: ArrayLike) -> FloatArray:
    A = real_array("payoffs", payoffs)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.size:
        raise ModelError(f"payoffs has shape {A.shape}; expected (n, n)")
    excess = np.abs(A + A.T)
    i, j = np.unravel_index(int(excess.argmax()), A.shape)
    if excess[i, j] > 1e-9 * max(1.0, float(np.abs(A).max())):
        raise ModelError(
            f"payoffs[{i}, {j}] is {A[i, j]:g} and payoffs[{j}, {i}] is {A[j, i]:g}; what one wins the other loses, so "
            "they must add up to 0"
        )
    return 0.5 * (A - A.T)


def _equilibrium(A: FloatArray) -> FloatArray:
    """The equilibrium of greatest entropy of an antisymmetric A (n, n)."""
    scale = float(np.abs(A).max())
    if scale == 0.0:
        return np.full(len(A), 1.0 / len(A))
    A = A / scale
    start = _strictly_complementary(A)
    inside = start > -(A @ start)
    p = np.zeros(len(A))
    p[inside] = _greatest_entropy(A[np.ix_(inside, inside)], A[np.ix_(~inside, inside)], start[inside])
    return p


def _strictly_complementary(A: FloatArray) -> FloatArray:
    """An equilibrium p with p - A p > 0, of the largest margin t: maximise t, A p <= 0, p - A p >= t, sum p = 1."""
    from scipy.optimize import linprog

    n = len(A)
    rows = np.block([[A, np.zeros((n, 1))], [A - np.eye(n), np.ones((n, 1))]])
    solved: Any = linprog(
        -np.eye(n + 1)[n],
        A_ub=rows,
        b_ub=np.zeros(2 * n),
        A_eq=np.append(np.ones(n), 0.0)[None],
        b_eq=[1.0],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not solved.success:
        raise ArithmeticError(f"the linear programme of an equilibrium failed: {solved.message}")
    return np.maximum(solved.x[:n], 0.0)


def _greatest_entropy(A: FloatArray, G: FloatArray, start: FloatArray) -> FloatArray:
    """The p > 0 of greatest entropy with A p = 0, G p <= 0 and sum p = 1, from a start with G p < 0."""
    from scipy.linalg import null_space

    equations = np.vstack([A, np.ones(len(start))])
    target = np.eye(len(equations))[-1]
    p = start + np.linalg.lstsq(equations, target - equations @ start)[0]
    face = null_space(equations, rcond=1e-10)
    if not face.size or p.min() <= 0.0:
        p = np.maximum(p, 0.0)
        return p / p.sum()
    barrier = 1.0
    while True:
        p = _centred(p, face, G, barrier)
        if barrier <= SMALLEST_BARRIER:
            return p / p.sum()
        barrier *= 0.1


def _centred(p: FloatArray, face: FloatArray, G: FloatArray, barrier: float) -> FloatArray:
    """The least sum (p - barrier) log p - barrier * sum log(-G p) over p + span(face), by Newton's method."""

    def objective(q: FloatArray) -> float:
        slack = -(G @ q)
        if q.min() <= 0.0 or slack.min(initial=1.0) <= 0.0:
            return np.inf
        return float((q - barrier) @ np.log(q) - barrier * np.log(slack).sum())

    for _ in range(NEWTON_STEPS):
        pull = G / -(G @ p)[:, None]
        gradient = face.T @ (np.log(p) - barrier / p + barrier * pull.sum(axis=0))
        hessian = face.T @ (np.diag((1.0 + barrier / p) / p) + barrier * pull.T @ pull) @ face
        step = -np.linalg.solve(hessian, gradient)
        decrement, move = float(-gradient @ step), face @ step
        if decrement <= 1e-22:
            break
        # At most nine tenths of the way to the boundary: from too near to it Newton's steps no longer lead away.
        nearing = max(float((-move / p).max()), float((pull @ move).max(initial=0.0)))
        length, here = min(1.0, 0.9 / nearing) if nearing > 0.0 else 1.0, objective(p)
        while objective(p + length * move) > here - 0.1 * length * decrement and length > 1e-12:
            length *= 0.5
        p = p + length * move
        if length <= 1e-12:  # rounding hides any further progress
            break
    return p
