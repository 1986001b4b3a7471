"""A checker of optimism certificates, which knows the data and the proof and nothing of how the proof was found.

A proof is a tree over disjunctions (:mod:`~lookahead_rl.solvers.hypotheses.certificates`). The checker walks it from
node 0, so that every node is met once; asks of each split that its children hold all actions of the datum; and of each
leaf that its constraints hold on its path and its multipliers, all y_k >= 0, give the bound that is stated:

    <c, theta>  <=  sum_k y_k b_k + B ||c - sum_k y_k a_k||,

or, where the leaf is said to be empty, that the same expression with c = 0 is negative. By induction from the leaves,
no theta that satisfies the data exceeds the largest of the bounds.

Rounding is accounted for. A sum of n products of floats, added in any order, misses by at most n u / (1 - n u) times
the sum of their absolute values, where u = 2^-53 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section
3.1); what it may come to is added to every bound, and stated numbers may differ from recomputed ones by no more. With
``exact=True`` everything is computed in rational numbers and square roots are enclosed by integer ones.

Data are floats too: where a hypothesis satisfies the rows that were meant, it may miss the rows that are stored by
rounding. If theta misses no constraint by more than v, weak duality with b_k + v and B + v bounds its value. That is
:attr:`Verified.relaxed_upper`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray

from .certificates import Constraint, Leaf, OptimismCertificate, Split
from .program import Hypotheses, Program

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UNIT_ROUNDOFF = 2.0**-53

UNDERFLOW = float(np.finfo(np.float64).tiny)

LARGEST = 1e300
"""Sums of absolute values beyond this are refused, so that nothing overflows."""

ROOT_BITS = 80
"""Square roots of rationals are enclosed to this relative precision, in bits."""


@final
class InvalidCertificate(ValueError):
    """A certificate does not prove what it states; the message names the node or the field."""


@dataclass(frozen=True)
class Verified:
    """What a certificate proves, rounding included.

    Attributes:
        lower: theta promises at least this, <c, theta>; -inf without theta.
        violation: theta misses no constraint by more than this; 0 without theta.
        upper: No hypothesis that satisfies the first ``n_data`` data promises more; -inf if none does.
        relaxed_upper: No theta that misses each constraint by at most ``violation`` promises more, so that
            lower <= relaxed_upper always; inf if a leaf is empty by less than that.
    """

    lower: float
    violation: float
    upper: float
    relaxed_upper: float


@dataclass(frozen=True, eq=False)
class _Sum:
    """sum_k y_k (p_k + q_k + v) + (B + v) ||c - sum_k y_k a_k||, not yet evaluated.

    ``y``, ``p`` and ``q`` are (k,), ``a`` is (k, m), ``c`` is (m,), ``B`` is ``radius``.
    """

    y: FloatArray
    p: FloatArray
    q: FloatArray
    a: FloatArray
    c: FloatArray
    radius: float

    def noise(self, v: float, where: str) -> float:
        """Bounds the rounding error of evaluating the sum with floats, in any order."""
        y = np.abs(self.y)
        with np.errstate(over="ignore", invalid="ignore"):
            absolute = np.abs(self.c) + y @ np.abs(self.a)
            size = float(y @ np.abs(self.p) + y @ np.abs(self.q) + v * y.sum())
            size += (self.radius + v) * math.hypot(*absolute.tolist())
        return _noise(2 * self.y.size + self.c.size, size, self.radius + v, where)

    def enclosure(self, v: float, where: str, *, exact: bool) -> tuple[float, float, float]:
        """Floats below and above the value, and the rounding error that whoever states the value may have made."""
        noise = self.noise(v, where)
        if exact:
            y, p, q, a, c = (_rationals(array) for array in (self.y, self.p, self.q, self.a, self.c))
            constant = sum(y * (p + q + Fraction(v)), Fraction(0))
            squares = sum((c - y @ a) ** 2, Fraction(0))
            low, high = (constant + (Fraction(self.radius) + Fraction(v)) * root for root in _roots(squares))
            return _below(low), _above(high), noise
        constant = float(self.y @ self.p + self.y @ self.q + v * self.y.sum())
        value = constant + (self.radius + v) * math.hypot(*(self.c - self.y @ self.a).tolist())
        return value - noise, value + noise, noise


def verify(program: Program, certificate: OptimismCertificate, *, exact: bool = False) -> Verified:
    """Check a certificate of a program against its data.

    Args:
        program: The program; data beyond the certificate's ``n_data`` are not looked at.
        certificate: What to check.
        exact: Whether to compute in rational numbers: far slower, and the bounds have no allowance for rounding but
            the last.

    Returns:
        The bounds that are proved.

    Raises:
        InvalidCertificate: The certificate is malformed, its proof is wrong somewhere, or a number in it is not what
            its other parts give.
    """
    n_data = _checked_fields(program, certificate)
    lower, violation = _checked_hypothesis(program, certificate, n_data, exact)
    stated = upper = relaxed = -np.inf
    for index, leaf, chosen in _leaves(program, certificate.nodes, n_data):
        where = f"node {index}"
        claim = _number(f"{where}: bound", leaf.bound)
        total = _weak_duality(program, leaf, claim, chosen, where)
        bound = _checked_bound(total, claim, where, exact)
        stated, upper = max(stated, claim), max(upper, bound)
        relaxed = max(relaxed, _relaxed_bound(total, claim, violation, where, exact))
    if (claim := _number("upper", certificate.upper)) != stated:
        raise InvalidCertificate(f"upper is {claim!r}, but the largest bound of a leaf is {stated!r}")
    return Verified(lower, violation, upper, max(upper, relaxed))


def _checked_fields(program: Program, certificate: object) -> int:
    """The number of data, after a look at the types of all fields."""
    if not isinstance(certificate, OptimismCertificate):
        raise InvalidCertificate(f"expected an OptimismCertificate, got {type(certificate).__name__}")
    n_data = _whole("n_data", certificate.n_data, 0, len(program.bank) + 1)
    nodes = cast("object", certificate.nodes)
    if not isinstance(nodes, tuple) or not nodes:
        raise InvalidCertificate("nodes must be a tuple of at least one node, the root")
    return n_data


def _number(name: str, value: object) -> float:
    """The float itself: a subclass may compare as it likes."""
    number = float(value) if isinstance(value, float) else math.nan
    if math.isnan(number):
        raise InvalidCertificate(f"{name} is {value!r}; expected a float")
    return number


def _whole(name: str, value: object, least: int, end: int) -> int:
    """The integer itself: a subclass may compare as it likes."""
    number = int(value) if not isinstance(value, bool) and isinstance(value, Integral) else least - 1
    if not least <= number < end:
        raise InvalidCertificate(f"{name} is {value!r}; expected an integer in [{least}, {end})")
    return number


def _leaves(program: Program, nodes: tuple[object, ...], n_data: int) -> Iterator[tuple[int, Leaf, IntArray]]:
    """Every leaf with its index and how often each (i, a) was chosen on its path, depth first.

    The counts (n_data, A) are one array, valid until the next leaf is asked for.
    """
    chosen = np.zeros((n_data, program.bank.n_actions), dtype=np.int64)
    reached = np.zeros(len(nodes), dtype=np.bool_)
    path: list[tuple[int, list[int]]] = []
    stack: list[tuple[int, int, tuple[int, list[int]] | None]] = [(0, 0, None)]
    while stack:
        index, depth, choice = stack.pop()
        if reached[index]:
            raise InvalidCertificate(f"node {index} is reached twice; the nodes must form a tree")
        reached[index] = True
        while choice is not None and len(path) >= depth:
            chosen[path.pop()] -= 1
        if choice is not None:
            path.append(choice)
            chosen[choice] += 1
        node = nodes[index]
        if isinstance(node, Leaf):
            yield index, node, chosen
        elif isinstance(node, Split):
            stack.extend((child, depth + 1, turn) for child, turn in _turns(program, node, index, len(nodes), n_data))
        else:
            raise InvalidCertificate(f"node {index} is a {type(node).__name__}; expected a Split or a Leaf")
    if not reached.all():
        raise InvalidCertificate(f"node {int(np.argmin(reached))} is not reached from node 0")


def _turns(
    program: Program, split: Split, index: int, n_nodes: int, n_data: int
) -> list[tuple[int, tuple[int, list[int]]]]:
    """The distinct children of a split, each with the datum and the actions that lead to it."""
    where, bank = f"node {index}", program.bank
    datum = _whole(f"{where}: datum", split.datum, 0, n_data)
    children = cast("object", split.children)
    if not isinstance(children, tuple) or len(split.children) != bank.n_actions:
        raise InvalidCertificate(f"{where}: children must be a tuple of {bank.n_actions} nodes, one for each action")
    turns: dict[int, list[int]] = {}
    for action, child in enumerate(split.children):
        turns.setdefault(_whole(f"{where}: children[{action}]", child, 1, n_nodes), []).append(action)
    rows = np.column_stack([bank.increments[datum], bank.rewards[datum], bank.slack[datum]])
    for child, actions in turns.items():
        if (rows[actions] != rows[actions[0]]).any():
            raise InvalidCertificate(
                f"{where}: actions {actions} of datum {datum} share node {child}, but their rows (u, r, slack) differ"
            )
    return [(child, (datum, actions)) for child, actions in turns.items()]


def _weak_duality(program: Program, leaf: Leaf, claim: float, chosen: IntArray, where: str) -> _Sum:
    """A leaf's side of weak duality, its parts checked; c = 0 where the leaf is said to be empty."""
    if claim == np.inf:
        raise InvalidCertificate(f"{where}: bound is inf")
    _require_leaf(program, leaf, len(chosen), where)
    bank, kinds, data, actions = program.bank, leaf.kinds, leaf.data, leaf.actions
    below, above, cap, sign = (kinds == kind for kind in Constraint)
    on_path = chosen[data, actions] > 0
    always = below & (program.hypotheses is Hypotheses.OPTIMAL)
    holds = always | ((below | above) & on_path) | ((cap | sign) & program.value_range)
    if not holds.all():
        k = int(np.argmin(holds))
        raise InvalidCertificate(
            f"{where}: constraint {k}, {Constraint(int(kinds[k])).name} of datum {data[k]} and action {actions[k]}, "
            "does not hold on the path to the leaf"
        )
    direction = np.where(below | cap, 1.0, -1.0)
    row = np.where((below | above)[:, None], bank.increments[data, actions], bank.features[data])
    p = np.where(below | above, bank.slack[data, actions], np.where(cap, bank.caps[data], 0.0))
    q = np.where(below | above, -direction * bank.rewards[data, actions], 0.0)
    objective = program.objective if claim > -np.inf else np.zeros(bank.dim)
    return _Sum(leaf.multipliers, p, q, direction[:, None] * row, objective, float(program.radius))


def _require_leaf(program: Program, leaf: Leaf, n_data: int, where: str) -> None:
    """Raise unless a leaf's parts are arrays of one length whose entries are possible."""
    size = len(_vector(f"{where}: multipliers", leaf.multipliers, None))
    if (leaf.multipliers < 0).any():
        k = int(np.argmax(leaf.multipliers < 0))
        raise InvalidCertificate(f"{where}: multipliers[{k}] is {leaf.multipliers[k]}; multipliers must be >= 0")
    is_value = _indices(f"{where}: kinds", leaf.kinds, len(Constraint), size) >= Constraint.CAP
    _indices(f"{where}: data", leaf.data, n_data, size)
    actions = _indices(f"{where}: actions", leaf.actions, program.bank.n_actions, size)
    if (actions[is_value] != 0).any():
        raise InvalidCertificate(f"{where}: CAP and SIGN concern no action; their entry in actions is 0")


def _vector(name: str, array: object, size: int | None) -> FloatArray:
    if not isinstance(array, np.ndarray):
        raise InvalidCertificate(f"{name} is a {type(array).__name__}; expected an array")
    vector = cast("NDArray[Any]", array)
    if vector.dtype != np.float64 or vector.ndim != 1 or size not in (None, len(vector)):
        raise InvalidCertificate(
            f"{name} has dtype {vector.dtype} and shape {vector.shape}; expected float64 ({size},)"
        )
    if not np.isfinite(vector).all():
        raise InvalidCertificate(f"{name}[{int(np.argmin(np.isfinite(vector)))}] is not finite")
    return vector


def _indices(name: str, array: object, end: int, size: int) -> IntArray:
    if not isinstance(array, np.ndarray):
        raise InvalidCertificate(f"{name} is a {type(array).__name__}; expected an array")
    indices = cast("NDArray[Any]", array)
    if indices.dtype.kind != "i" or indices.shape != (size,):
        raise InvalidCertificate(
            f"{name} has dtype {indices.dtype} and shape {indices.shape}; expected integers ({size},)"
        )
    bad = (indices < 0) | (indices >= end)
    if bad.any():
        k = int(np.argmax(bad))
        raise InvalidCertificate(f"{name}[{k}] is {indices[k]}; expected an index in [0, {end})")
    return indices


def _checked_bound(total: _Sum, stated: float, where: str, exact: bool) -> float:
    """What a leaf's multipliers prove, if it is what they are said to prove."""
    low, high, noise = total.enclosure(0.0, where, exact=exact)
    if stated == -np.inf:
        if not high < 0.0:
            raise InvalidCertificate(f"{where} is said to be empty, but {high:.6g} >= 0 proves nothing")
        return -np.inf
    if not low - noise <= stated <= high + noise:
        raise InvalidCertificate(f"{where}: bound is {stated!r}, but its multipliers give {(low + high) / 2!r}")
    return high


def _relaxed_bound(total: _Sum, stated: float, violation: float, where: str, exact: bool) -> float:
    """What the multipliers prove of a theta that misses no constraint by more than ``violation``."""
    if violation == 0.0:
        return -np.inf  # nothing beyond the bound itself
    high = total.enclosure(violation, where, exact=exact)[1]
    if stated == -np.inf:
        return -np.inf if high < 0.0 else np.inf
    return high


def _checked_hypothesis(
    program: Program, certificate: OptimismCertificate, n_data: int, exact: bool
) -> tuple[float, float]:
    """Lower bound and violation of theta, if they are what is stated."""
    lower, violation = _number("lower", certificate.lower), _number("violation", certificate.violation)
    if violation < 0.0:
        raise InvalidCertificate(f"violation is {violation!r}; it cannot be negative")
    if certificate.theta is None:
        if lower != -np.inf or violation != 0.0:
            raise InvalidCertificate(
                f"lower is {lower!r} and violation {violation!r}; without theta they are -inf and 0"
            )
        return -np.inf, 0.0
    theta, nothing = _vector("theta", certificate.theta, program.bank.dim), np.zeros(program.bank.dim)
    value = _Sum(theta, program.objective, nothing, np.zeros((theta.size, 0)), np.zeros(0), 0.0)
    low, high, noise = value.enclosure(0.0, "lower", exact=exact)
    if not low - noise <= lower <= high + noise:
        raise InvalidCertificate(f"lower is {lower!r}, but theta promises {(low + high) / 2!r}")
    noise = _violation_noise(program, theta, n_data)
    worst = _violation(program, theta, n_data, exact)
    if not abs(violation - worst) <= 2.0 * noise:
        raise InvalidCertificate(f"violation is {violation!r}, but theta misses a constraint by {worst!r}")
    return low, worst if exact else worst + noise


def _violation(program: Program, theta: FloatArray, n_data: int, exact: bool) -> float:
    """By how much theta misses the worst constraint; rounded up where ``exact``, not enclosed otherwise."""
    bank, convert = program.bank, _rationals if exact else np.asarray
    point, slack = convert(theta), convert(bank.slack[:n_data])
    delta = convert(bank.rewards[:n_data]) + convert(bank.increments[:n_data]) @ point
    values = convert(bank.features[:n_data]) @ point
    norm = _roots(sum(point**2, Fraction(0)))[1] if exact else math.hypot(*theta.tolist())
    worst = [convert(np.zeros(1)), np.array([norm]) - convert(np.array([float(program.radius)]))]
    if n_data:
        worst.append((np.abs(delta) - slack).min(axis=1))
    if program.hypotheses is Hypotheses.OPTIMAL:
        worst.append((delta - slack).reshape(-1))
    if program.value_range:
        worst += [-values, values - convert(bank.caps[:n_data])]
    largest = np.concatenate(worst).max()
    return _above(largest) if exact else float(largest)


def _violation_noise(program: Program, theta: FloatArray, n_data: int) -> float:
    """Bounds the rounding error of :func:`_violation`."""
    bank, size = program.bank, np.abs(theta)
    with np.errstate(over="ignore", invalid="ignore"):
        deltas = np.abs(bank.rewards[:n_data]) + np.abs(bank.increments[:n_data]) @ size + bank.slack[:n_data]
        values = np.abs(bank.features[:n_data]) @ size + bank.caps[:n_data]
        largest = max(deltas.max(initial=0.0), values.max(initial=0.0), math.hypot(*theta.tolist()) + program.radius)
    return _noise(theta.size, float(largest), 0.0, "violation")


def _noise(n_terms: int, size: float, factor: float, where: str) -> float:
    """Rounding error of ``n_terms`` products and sums whose absolute values add up to ``size``."""
    if not max(size, factor) < LARGEST:
        raise InvalidCertificate(f"{where}: numbers as large as {size:.3g} leave no room for floating point")
    # 10: the last few operations; 2: the quotient 1 / (1 - n u) and the rounding of size itself.
    return (n_terms + 10) * (2.0 * UNIT_ROUNDOFF * size + UNDERFLOW * (1.0 + factor))


def _rationals(array: FloatArray) -> NDArray[Any]:
    """The same numbers as fractions."""
    exact = np.empty(array.shape, dtype=object)
    exact.reshape(-1)[:] = [Fraction(x) for x in array.reshape(-1).tolist()]
    return exact


def _roots(square: Fraction) -> tuple[Fraction, Fraction]:
    """Rationals below and above the square root of a rational."""
    if square == 0:
        return Fraction(0), Fraction(0)
    scale = square.denominator << ROOT_BITS
    root = math.isqrt((square.numerator * square.denominator) << (2 * ROOT_BITS))
    return Fraction(root, scale), Fraction(root + 1, scale)


def _above(x: Fraction) -> float:
    """The least float >= x, or the next."""
    return float(x) if Fraction(float(x)) >= x else math.nextafter(float(x), math.inf)


def _below(x: Fraction) -> float:
    """The largest float <= x, or the one before."""
    return -_above(-x)
