"""The Markov chain of a policy, and its value: the solution of (I - gamma P_pi) v = r_pi.

Small and banded chains are solved directly (LU with iterative refinement), large ones by BiCGSTAB (van der Vorst,
SIAM Journal on Scientific and Statistical Computing 13, 1992), restarted from the residual until that meets a target;
neither is trusted, since every answer is certified afterwards from its residual (:mod:`.certificates`).

With gamma = 1 the value exists where the chain ends almost surely in a terminal state, or in a closed class
that pays nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse.csgraph import breadth_first_order, connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import LinearOperator, bicgstab, splu

from ..models._checks import BoolArray
from ..models.outcomes import TransitionMatrix
from .bellman import DecisionRows, as_csr
from .policies import Mix, Rule, state_sums
from .solution import FloatArray, IntArray

# LU factors of a sparse chain may take this many bytes before BiCGSTAB takes over.
DIRECT_BYTES = 2**30

# Direct solution of a dense chain up to this many states: half a minute's work on one core.
DIRECT_STATES = 6000

# Iterations of BiCGSTAB between restarts.
ROUND = 100

# A residual this small, relative to the value, is rounding: nothing is gained by factors that cost more than the rest.
ROUNDING = 16 * 2.0**-52

_Solver = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Chain:
    """A policy's chain; rows of P and entries of r are zero in the states where it has ended.

    Attributes:
        P: Transition probabilities (S, S), dense or CSR.
        r: Expected rewards (S,).
        gamma: Discount in [0, 1].
    """

    P: TransitionMatrix
    r: FloatArray
    gamma: float

    def step(self, v: FloatArray) -> FloatArray:
        """T_pi v = r + gamma P v, (S,)."""
        value = np.asarray(self.P @ v)
        value *= self.gamma
        value += self.r
        return value

    def after(self, v: FloatArray, sweeps: int) -> FloatArray:
        """T_pi applied so many times, (S,)."""
        for _ in range(sweeps):
            v = self.step(v)
        return v

    def residual(self, v: FloatArray) -> FloatArray:
        """T_pi v - v, (S,)."""
        return self.step(v) - v

    def with_rewards(self, r: FloatArray) -> "Chain":
        """The same chain with other rewards (S,)."""
        return replace(self, r=r)

    @cached_property
    def system(self) -> sp.csc_array:
        """I - gamma P as a sparse matrix."""
        return sp.csc_array(sp.eye_array(self.r.size) - self.gamma * as_csr(self.P))

    @cached_property
    def is_small(self) -> bool:
        """Whether LU factors are sure to fit; for a sparse chain judged by its bandwidth."""
        n_states = self.r.size
        if isinstance(self.P, np.ndarray):
            return n_states <= DIRECT_STATES
        if n_states <= 1000:
            return True
        # A state with k neighbours forces a bandwidth of k / 2; and the ordering takes time quadratic in k.
        most = int(np.bincount(self.P.indices, minlength=n_states).max())
        fits = n_states * most * 12 <= DIRECT_BYTES
        return fits and n_states * (2 * _bandwidth(self.P) + 1) * 12 <= DIRECT_BYTES


def policy_chain(rows: DecisionRows, rule: Rule, ended: BoolArray) -> Chain:
    """The chain of a rule, with zero rows where it has ended."""
    if isinstance(rule, Mix):
        mix = sp.csr_array((rule.weights, np.arange(rows.r.size), rows.first), shape=(rows.n_states, rows.r.size))
        chain = Chain(cast("TransitionMatrix", mix @ rows.P), np.asarray(mix @ rows.r), rows.gamma)
    else:
        chain = Chain(rows.P[rule], rows.r[rule], rows.gamma)
    return _ending(chain, ended) if ended.any() else chain


def _ending(chain: Chain, ended: BoolArray) -> Chain:
    """The chain with zero rows where it has ended."""
    live = (~ended).astype(np.float64)
    if isinstance(chain.P, np.ndarray):
        return Chain(chain.P * live[:, None], chain.r * live, chain.gamma)
    left = chain.P.copy()
    left.data *= np.repeat(live, np.diff(left.indptr))
    left.eliminate_zeros()
    return Chain(left, chain.r * live, chain.gamma)


def solve_chain(chain: Chain, start: FloatArray, target: float) -> FloatArray:
    """v with |r + gamma P v - v| <= target where float64 allows, else with a residual as small as was found.

    Args:
        chain: The chain; with gamma = 1 it must end almost surely from every state.
        start: Where an iterative solution starts, (S,).
        target: Wanted bound on the residual. A direct solution goes as far as refinement helps.
    """
    if chain.gamma == 0.0:
        return chain.r.copy()
    return _solve_directly(chain) if chain.is_small else solve_iteratively(chain, start, target)


def _solve_directly(chain: Chain) -> FloatArray:
    """LU and iterative refinement while it helps (Higham, Accuracy and Stability, 2nd ed., chapter 12)."""
    solver = _dense_factors(chain) if isinstance(chain.P, np.ndarray) else _factors(chain.system, "COLAMD")
    v = solver(chain.r)
    residual = chain.residual(v)
    for _ in range(3):
        better = v + solver(residual)
        remaining = chain.residual(better)
        if not np.abs(remaining).max() < np.abs(residual).max():
            break
        v, residual = better, remaining
    return v


def _dense_factors(chain: Chain) -> _Solver:
    factors = lu_factor(np.eye(chain.r.size) - chain.gamma * np.asarray(chain.P), overwrite_a=True)
    return lambda b: np.asarray(lu_solve(factors, b))


def _factors(matrix: sp.csc_array, order: Literal["COLAMD", "NATURAL"]) -> _Solver:
    """Sparse LU without pivoting, which a (weakly) diagonally dominant matrix does not need (Higham, section 9.5)."""
    return cast("Any", splu(matrix, permc_spec=order, diag_pivot_thresh=0.0)).solve


def _bandwidth(P: sp.csr_array) -> int:
    """Bandwidth of P after the reverse Cuthill-McKee ordering, which bounds the fill of LU factors."""
    pattern = sp.csr_array(P + P.T)
    order = reverse_cuthill_mckee(pattern, symmetric_mode=True)
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    row = np.repeat(place, np.diff(pattern.indptr))
    return int(np.abs(row - place[pattern.indices]).max(initial=0))


def solve_iteratively(chain: Chain, start: FloatArray, target: float) -> FloatArray:
    """BiCGSTAB, restarted from the residual; where it turns out slow, symmetric Gauss-Seidel sweeps join in."""
    system = _operator(start.size, lambda x: x - chain.gamma * np.asarray(chain.P @ x))
    v, residual, preconditioner = start, chain.residual(start), None
    while True:
        norm = float(np.abs(residual).max())
        if norm <= target:
            return v
        rtol = min(0.1, 0.5 * target / norm)
        with np.errstate(over="ignore", invalid="ignore"):  # a breakdown shows as no progress
            correction, unfinished = bicgstab(system, residual, rtol=rtol, maxiter=ROUND, M=preconditioner)
            better = v + correction
            remaining = chain.residual(better)
        progress = np.abs(remaining).max() < 0.5 * norm
        if not progress and (preconditioner is not None or norm <= ROUNDING * np.abs(v).max()):
            return v
        if (unfinished or not progress) and preconditioner is None:
            preconditioner = _symmetric_gauss_seidel(chain)
        if progress:
            v, residual = better, remaining


def _symmetric_gauss_seidel(chain: Chain) -> Any:
    """The inverse of (D + L) D^-1 (D + U), for I - gamma P = L + D + U; exact for chains that go one way."""
    diagonal = chain.system.diagonal()
    forward = _factors(sp.csc_array(sp.tril(chain.system)), "NATURAL")
    backward = _factors(sp.csc_array(sp.triu(chain.system)), "NATURAL")
    return _operator(diagonal.size, lambda x: backward(diagonal * forward(x)))


def _operator(size: int, product: _Solver) -> Any:
    return cast("Any", LinearOperator)((size, size), matvec=product, dtype=np.float64)


def closed_classes(P: sp.csr_array, ended: BoolArray) -> IntArray:
    """Label (S,) of the closed class of each state, -1 outside: sets the chain never leaves, where it has not ended."""
    graph = _edges(P)
    n_classes, label = connected_components(graph, directed=True, connection="strong")
    row = np.repeat(np.arange(label.size), np.diff(graph.indptr))
    is_open = np.zeros(n_classes, dtype=np.bool_)
    is_open[label[row[label[row] != label[graph.indices]]]] = True
    is_open[label[ended]] = True
    return np.where(is_open[label], -1, label)


@dataclass(frozen=True, eq=False)
class Fate:
    """Where the total reward of a policy is known without solving for it, gamma = 1.

    Attributes:
        ended: Mask (S,): terminal, or in a closed class that pays nothing. The value is 0.
        to_minus: Mask (S,): reaches a closed class in which some reward is negative.
        to_plus: Mask (S,): reaches a closed class in which some reward is positive.
    """

    ended: BoolArray
    to_minus: BoolArray
    to_plus: BoolArray

    @property
    def settled(self) -> BoolArray:
        """Where one of them holds."""
        return self.ended | self.to_minus | self.to_plus


def fate(rows: DecisionRows, rule: Rule) -> Fate:
    """The fate of each state under a rule; both infinities together mean that the total is not determined."""
    P = as_csr(policy_chain(rows, rule, rows.terminal).P)
    in_class = closed_classes(P, rows.terminal) >= 0
    loses = in_class & _pays(rows, rule, np.minimum(rows.r, 0.0))
    gains = in_class & _pays(rows, rule, np.maximum(rows.r, 0.0))
    to_minus, to_plus = can_reach(P, loses), can_reach(P, gains)
    return Fate(rows.terminal | (in_class & ~to_minus & ~to_plus), to_minus, to_plus)


def _pays(rows: DecisionRows, rule: Rule, r: FloatArray) -> BoolArray:
    """Mask (S,): whether a row that the rule uses has a nonzero entry in r (R,)."""
    if isinstance(rule, Mix):
        return state_sums(rows, rule.weights * (r != 0.0)) > 0.0
    return r[rule] != 0.0


def can_reach(P: sp.csr_array, targets: BoolArray) -> BoolArray:
    """Mask (S,) of the states from which the chain reaches ``targets`` with positive probability."""
    return step_towards(_edges(P), targets) >= 0


def step_towards(graph: sp.csr_array, targets: BoolArray) -> IntArray:
    """For each state the next one on a shortest path to ``targets`` in a directed graph.

    Targets are their own next state; -1 marks states from which there is no path.
    """
    n_states = targets.size
    row = np.repeat(np.arange(n_states), np.diff(graph.indptr))
    source = np.flatnonzero(targets)
    heads = np.concatenate([graph.indices, np.full(source.size, n_states)])
    tails = np.concatenate([row, source])
    backwards = sp.csr_array((np.ones(heads.size), (heads, tails)), shape=(n_states + 1, n_states + 1))
    _, previous = breadth_first_order(backwards, n_states)
    step = previous[:-1].astype(np.int64)
    step[step < 0] = -1
    step[targets] = source
    return step


def _edges(P: sp.csr_array) -> sp.csr_array:
    """P without its stored zeros and with each entry once: scipy's strong components may loop for ever on doubles."""
    if P.has_canonical_format and (P.data > 0).all():
        return P
    graph = P.copy()
    graph.sum_duplicates()
    graph.eliminate_zeros()
    return graph
