# pyright: reportUntypedFunctionDecorator=false
# numba ships no types for its decorators.
"""Best-first search over affine subspaces: the compiled half of :mod:`.affine`.

A *row* is a datum and an action, i * A + a: a unit normal u (or zero) and an offset r; it holds where
r + <u, theta> = 0. A *node* is a row and a parent; the rows on its way from the root cut out an affine subspace

    { p + w : Q w = 0 },    Q (k, d) orthonormal,    p its point nearest the origin.

With rho^2 = B^2 - ||p||^2 and g = c - Q^T Q c, its maximum over the ball is <c, p> + rho ||g||, at p + rho g / ||g||.
What one more row does depends on three numbers: its *width* ||u - Q^T Q u||, its *level* r + <u, p> and its *slope*
<u, g>. It holds somewhere iff |level| <= width * rho, everywhere iff |level| + width * rho = 0; letting it hold moves p
by t = -level / width along the unit vector it adds to Q:

    <c, p'> = <c, p> + t * slope / width,    rho'^2 = rho^2 - t^2,    ||g'||^2 = ||g||^2 - (slope / width)^2.

Open nodes stand in a binary heap by bound, the newest first among equals.

Short vectors are looped over: numba takes seconds to compile an array expression, and BLAS longer to call than to run.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SOLVED, EMPTY, PAUSED, FULL = 0, 1, 2, 3
"""How a search ends: a node consistent with all data on top, no open node, the work done, no room for nodes."""

CLOSED, CONSISTENT = -1, -2
"""What an examination may find instead of a datum to branch on."""

NARROW = 1e-8
"""Squared widths below this are computed anew: as differences of squares they have lost half their digits."""

NO_LENGTH = 1e-14
"""An objective is constant on a section where ||g|| <= NO_LENGTH * ||c||."""


class Rows(NamedTuple):
    """Data: unit normals (N*A, d), offsets (N*A,), tolerances (N*A,) within which a row counts as holding; A."""

    normals: FloatArray
    offsets: FloatArray
    tolerances: FloatArray
    n_actions: int


class Tree(NamedTuple):
    """Parents and rows of all nodes; node 0 is the root. The heap's bounds and nodes."""

    parents: IntArray
    rows: IntArray
    heap_bounds: FloatArray
    heap_nodes: IntArray


class Subspace(NamedTuple):
    """The k rows that hold (of ``path``), Q (of which k rows are in use), p and g, each (d,) or (d, d)."""

    path: IntArray
    Q: FloatArray
    p: FloatArray
    g: FloatArray


class Numbers(NamedTuple):
    """Squared width, level and slope of every row, (N*A,) each."""

    squares: FloatArray
    levels: FloatArray
    slopes: FloatArray


@njit(cache=True)
def search(tree: Tree, counts: IntArray, data: Rows, c: FloatArray, radius: float, most: int, theta: FloatArray) -> int:
    """Examine up to ``most`` nodes, best bound first, until one is consistent with all data.

    A solved node stays open, on top of the heap: data to come may contradict it.

    Args:
        tree: The nodes, in place.
        counts: (3,) numbers of nodes, of open nodes and of examinations so far, in place.
        data: The rows.
        c: Objective (d,).
        radius: B.
        most: Examinations allowed.
        theta: (d,) out: the maximiser, where the search is SOLVED.
    """
    bounds = np.empty(data.n_actions)
    for _ in range(most):
        if counts[1] == 0:
            return EMPTY
        if counts[0] + c.size + data.n_actions > tree.parents.size:
            return FULL
        node, stated = tree.heap_nodes[0], tree.heap_bounds[0]
        _pop(tree, counts)
        counts[2] += 1
        chosen, node, bound = _examine(node, tree, counts, data, c, radius, theta, bounds)
        if chosen == CONSISTENT:
            _push(tree, counts, bound, node)
            if tree.heap_nodes[0] == node:
                return SOLVED
        for a in range(data.n_actions if chosen >= 0 else 0):
            if bounds[a] > -np.inf:
                child = _append(tree, counts, node, chosen * data.n_actions + a)
                _push(tree, counts, min(bounds[a], stated), child)
    return PAUSED


@njit(cache=True)
def _examine(
    node: int,
    tree: Tree,
    counts: IntArray,
    data: Rows,
    c: FloatArray,
    radius: float,
    theta: FloatArray,
    bounds: FloatArray,
) -> tuple[int, int, float]:
    """Follow what is forced, close the node or choose a datum to branch on: (that, last node of the chain, bound)."""
    d = c.size
    space = Subspace(np.empty(d, np.int64), np.empty((d, d)), np.zeros(d), np.empty(d))
    k = _descend(node, tree, data, radius, space)
    numbers = Numbers(np.empty(data.offsets.size), np.empty(data.offsets.size), np.empty(data.offsets.size))
    _measure(k, data, space, numbers)
    settled = np.zeros(data.offsets.size // data.n_actions, np.bool_)
    for j in range(k):
        settled[space.path[j] // data.n_actions] = True
    node, k = _propagate(node, k, tree, counts, data, radius, space, numbers, settled)
    rho = _reach(space.p, radius)
    if k < 0 or _is_repeated(k, data, space, numbers, rho):
        return CLOSED, node, -np.inf
    length = _objective(k, data, c, space, numbers)
    value, step = _inner(c, space.p), rho / length if length > 0.0 else 0.0
    for n in range(d):
        theta[n] = space.p[n] + step * space.g[n]
    chosen = _branch(k, data, space, numbers, settled, rho, length, bounds)
    for a in range(data.n_actions):
        bounds[a] += value
    return chosen, node, value + rho * length


@njit(cache=True)
def _descend(node: int, tree: Tree, data: Rows, radius: float, space: Subspace) -> int:
    """Rebuild a node's subspace from the root; returns k."""
    k, above = 0, node
    while above > 0:
        above = tree.parents[above]
        k += 1
    for j in range(k):
        space.path[k - 1 - j] = tree.rows[node]
        node = tree.parents[node]
    for j in range(k):
        _adopt(space.path[j], j, data, radius, space)
    return k


@njit(cache=True)
def _adopt(row: int, k: int, data: Rows, radius: float, space: Subspace) -> float:
    """Let a row hold: extend Q and p in place; returns t. Rounding must not carry p out of the ball."""
    u, q = data.normals[row], space.Q[k]
    width = _remainder(u, space.Q, k, q)
    rho = _reach(space.p, radius)
    t = min(max(-(data.offsets[row] + _inner(u, space.p)) / width, -rho), rho)
    for n in range(q.size):
        q[n] /= width
        space.p[n] += t * q[n]
    return t


@njit(cache=True)
def _propagate(
    node: int,
    k: int,
    tree: Tree,
    counts: IntArray,
    data: Rows,
    radius: float,
    space: Subspace,
    numbers: Numbers,
    settled: BoolArray,
) -> tuple[int, int]:
    """Unit propagation, the forced rows appended as a chain of nodes: (its last node, k), k = -1 where one is empty."""
    i, unchanged, spare = 0, 0, np.empty(space.p.size)
    rho = _reach(space.p, radius)
    while unchanged < settled.size:
        unchanged += 1
        if not settled[i]:
            n_possible, row = _possible(i, k, data, space, numbers, rho, spare)
            if n_possible == 0:
                return node, -1
            settled[i] = n_possible == 1
            if n_possible == 1 and row >= 0:
                t = _adopt(row, k, data, radius, space)
                _update(numbers, data, space, k, t)
                rho = _reach(space.p, radius)
                node = _append(tree, counts, node, row)
                space.path[k] = row
                k, unchanged = k + 1, 0
        i = (i + 1) % settled.size
    return node, k


@njit(cache=True)
def _possible(
    i: int, k: int, data: Rows, space: Subspace, numbers: Numbers, rho: float, spare: FloatArray
) -> tuple[int, int]:
    """How many rows of a datum hold somewhere, and the last of them; (1, -1) where one holds everywhere."""
    n_possible, last = 0, -1
    for row in range(i * data.n_actions, (i + 1) * data.n_actions):
        spread = _width(row, k, data, space, numbers, spare) * rho
        level, tolerance = abs(numbers.levels[row]), data.tolerances[row]
        if level + spread <= 2 * tolerance:
            return 1, -1
        if level <= spread + tolerance:
            n_possible, last = n_possible + 1, row
    return n_possible, last


@njit(cache=True)
def _is_repeated(k: int, data: Rows, space: Subspace, numbers: Numbers, rho: float) -> bool:
    """Whether an action of lower index than the one taken, of any datum on the path, holds everywhere."""
    spare = np.empty(space.p.size)
    for j in range(k):
        taken = space.path[j]
        for row in range(taken - taken % data.n_actions, taken):
            spread = _width(row, k, data, space, numbers, spare) * rho
            if abs(numbers.levels[row]) + spread <= data.tolerances[row]:
                return True
    return False


@njit(cache=True)
def _branch(
    k: int,
    data: Rows,
    space: Subspace,
    numbers: Numbers,
    settled: BoolArray,
    rho: float,
    length: float,
    bounds: FloatArray,
) -> int:
    """The datum, violated at the maximiser, with the fewest children and among those the least sum of their bounds."""
    chosen, fewest, least = CONSISTENT, data.n_actions + 1, np.inf
    trial, spare = np.empty(data.n_actions), np.empty(space.p.size)
    step = rho / length if length > 0.0 else 0.0
    for i in range(settled.size):
        first = i * data.n_actions
        is_violated = not settled[i]
        for row in range(first, first + data.n_actions):
            reached = numbers.levels[row] + step * numbers.slopes[row]
            is_violated = is_violated and abs(reached) > data.tolerances[row]
        if is_violated:
            n_children, total = 0, 0.0
            for a in range(data.n_actions):
                trial[a] = _child_bound(first + a, k, data, space, numbers, rho, length, spare)
                if trial[a] > -np.inf:
                    n_children, total = n_children + 1, total + trial[a]
            if n_children < fewest or (n_children == fewest and total < least):
                chosen, fewest, least = i, n_children, total
                for a in range(data.n_actions):
                    bounds[a] = trial[a]
    return chosen


@njit(cache=True)
def _child_bound(
    row: int, k: int, data: Rows, space: Subspace, numbers: Numbers, rho: float, length: float, spare: FloatArray
) -> float:
    """The bound where a row holds too, less <c, p>; -inf where it holds nowhere."""
    width = _width(row, k, data, space, numbers, spare)
    if abs(numbers.levels[row]) > width * rho + data.tolerances[row]:
        return -np.inf
    t = min(max(-numbers.levels[row] / width, -rho), rho)
    along = numbers.slopes[row] / width
    # Rounded up: the child's own examination makes good what is too high, nothing what is too low.
    left = length * length * (1.0 + 1e-15) - along * along if k + 1 < space.p.size else 0.0
    return t * along + np.sqrt((rho - t) * (rho + t) * max(left, 0.0))


@njit(cache=True)
def _measure(k: int, data: Rows, space: Subspace, numbers: Numbers) -> None:
    """The squared width and the level of every row."""
    shares = np.dot(data.normals, space.Q[:k].T)
    for row in range(data.offsets.size):
        u = data.normals[row]
        numbers.squares[row] = _inner(u, u) - _inner(shares[row], shares[row])
        numbers.levels[row] = data.offsets[row] + _inner(u, space.p)


@njit(cache=True)
def _update(numbers: Numbers, data: Rows, space: Subspace, k: int, t: float) -> None:
    """Bring widths and levels up to date with row k of Q, along which p has moved by t."""
    for row in range(data.offsets.size):
        share = _inner(data.normals[row], space.Q[k])
        numbers.squares[row] -= share * share
        numbers.levels[row] += t * share


@njit(cache=True)
def _objective(k: int, data: Rows, c: FloatArray, space: Subspace, numbers: Numbers) -> float:
    """Set g and the slopes; returns ||g||, zero where g is nothing but rounding and its direction means nothing."""
    length = _remainder(c, space.Q, k, space.g)
    if k == c.size or length <= NO_LENGTH * np.sqrt(_inner(c, c)):
        for n in range(c.size):
            space.g[n] = 0.0
        length = 0.0
    for row in range(data.offsets.size):
        numbers.slopes[row] = _inner(data.normals[row], space.g)
    return length


@njit(cache=True)
def _width(row: int, k: int, data: Rows, space: Subspace, numbers: Numbers, spare: FloatArray) -> float:
    if k == space.p.size:
        return 0.0
    if numbers.squares[row] >= NARROW:
        return np.sqrt(numbers.squares[row])
    return _remainder(data.normals[row], space.Q, k, spare)


@njit(cache=True)
def _remainder(u: FloatArray, Q: FloatArray, k: int, w: FloatArray) -> float:
    """Write u less its part in the span of k rows of Q to w, returning its norm.

    Projecting twice is enough for full accuracy (Parlett, The Symmetric Eigenvalue Problem, 1980, section 6.9).
    """
    for n in range(w.size):
        w[n] = u[n]
    for _ in range(2):
        for j in range(k):
            share = 0.0
            for n in range(w.size):
                share += Q[j, n] * w[n]
            for n in range(w.size):
                w[n] -= share * Q[j, n]
    return np.sqrt(_inner(w, w))


@njit(cache=True)
def _inner(x: FloatArray, y: FloatArray) -> float:
    """<x, y>."""
    total = 0.0
    for n in range(x.size):
        total += x[n] * y[n]
    return total


@njit(cache=True)
def _reach(p: FloatArray, radius: float) -> float:
    """rho: the radius of the ball's section through p."""
    return np.sqrt(max(radius * radius - _inner(p, p), 0.0))


@njit(cache=True)
def _append(tree: Tree, counts: IntArray, parent: int, row: int) -> int:
    node = int(counts[0])
    tree.parents[node], tree.rows[node] = parent, row
    counts[0] += 1
    return node


@njit(cache=True)
def _push(tree: Tree, counts: IntArray, bound: float, node: int) -> None:
    bounds, nodes, hole = tree.heap_bounds, tree.heap_nodes, int(counts[1])
    counts[1] += 1
    while hole > 0:
        above = (hole - 1) // 2
        if not _precedes(bound, node, bounds[above], nodes[above]):
            break
        bounds[hole], nodes[hole] = bounds[above], nodes[above]
        hole = above
    bounds[hole], nodes[hole] = bound, node


@njit(cache=True)
def _pop(tree: Tree, counts: IntArray) -> None:
    """Remove the first open node."""
    counts[1] -= 1
    bounds, nodes, size, hole = tree.heap_bounds, tree.heap_nodes, int(counts[1]), 0
    bound, node = bounds[size], nodes[size]
    while 2 * hole + 1 < size:
        below = 2 * hole + 1
        if below + 1 < size and _precedes(bounds[below + 1], nodes[below + 1], bounds[below], nodes[below]):
            below += 1
        if _precedes(bound, node, bounds[below], nodes[below]):
            break
        bounds[hole], nodes[hole] = bounds[below], nodes[below]
        hole = below
    bounds[hole], nodes[hole] = bound, node


@njit(cache=True)
def _precedes(bound: float, node: int, other_bound: float, other_node: int) -> bool:
    return bound > other_bound or (bound == other_bound and node > other_node)
