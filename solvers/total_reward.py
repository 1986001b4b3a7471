"""Total reward without discount: what makes gamma = 1 well posed.

**Free components.** An end component is a set of states with a choice of actions that never leaves it. Where
those actions pay nothing, a player may wander or stay for ever at no cost: v = T v then has solutions above v*
(any constant on the component), and a greedy policy may wander for ever. So the maximal end components of the
actions that pay nothing are merged into single states, whose rows are the actions leaving the component and
one more, *stop*, which ends the episode with reward 0 (the quotient of Haddad and Monmege, Theoretical Computer
Science 735, 2018, and of Baier et al., CAV 2017, Theorem 1, there for probabilities of reaching a goal).

*The quotient has the same optimal value.* A policy of the model turns into one of the quotient that takes the
same actions out of the components, in the same random order, and stops where the model's policy stays inside
for ever; nothing was paid in between, so the values agree. Conversely a policy of the quotient is followed in
the model by walking, at no cost, to the state whose action it takes, or by staying inside for ever.

**Potentials.** A potential is a function h, zero in terminal states, with h >= r + P h + slack in all others, for
a number slack > 0 and every action. Let tau be the number of steps until termination. Telescoping,
E[sum_{t<n} r_t] <= h(s) - E[h(s_n)] - slack E[min(tau, n)], so a policy with E[tau] infinite has value -infinity,
and one that attains v^pi(s) >= lower(s) has

    E[tau] <= (h(s) - lower(s)) / slack.

Telescoping v instead, v^pi(s) - v(s) = E[sum_{t<tau} (r + P v - v)] <= max(0, max(T v - v)) E[tau]. Hence

    v*(s) <= v(s) + max(0, max(T v - v)) (h(s) - lower(s)) / slack        and        v*(s) <= h(s).

The optimal value of the same process with every reward raised by slack is a potential, if it is finite: if
every policy terminates, or if going on for ever costs something on average (each step of Taxi costs 1).
Its inequality is checked from the array alone, so it need not be computed exactly. This is the argument of
Bertsekas and Tsitsiklis, Mathematics of Operations Research 16, 1991, made quantitative.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ..models import TabularMDP
from ..models._checks import BoolArray
from .bellman import DecisionRows, as_csr, best_values, decision_rows, defect, rounding_error, row_values
from .howard import UnboundedRewardError, choice_towards, howard
from .solution import FloatArray, IntArray

MOST_POLICIES = 1000
"""Steps of policy iteration in search of a potential."""


@dataclass(frozen=True, eq=False)
class Potential:
    """A function h (S,) with h >= r + P h + slack outside terminal states, and that slack."""

    h: FloatArray
    slack: float


@dataclass(frozen=True, eq=False)
class Quotient:
    """A model, or with gamma = 1 the model with its free components merged.

    Attributes:
        model_rows: The rows of the model.
        rows: The rows of the quotient; where something is merged its last state is the end that *stop* leads to.
        merged: State of the quotient (S,) for each state of the model.
        free: Mask (S*A,) of the model's rows inside free components.
        origin: The model's row for each row of the quotient, -1 for *stop* and for the end.
    """

    model_rows: DecisionRows
    rows: DecisionRows
    merged: IntArray
    free: BoolArray
    origin: IntArray

    def merge_value(self, value: FloatArray) -> FloatArray:
        """A value on the quotient's states: the greatest over the states merged into each."""
        merged = np.full(self.rows.n_states, -np.inf)
        np.maximum.at(merged, self.merged, value)
        merged[self.rows.terminal] = 0.0
        return merged

    def merge_rule(self, rule: IntArray) -> IntArray:
        """The quotient's rows for chosen rows (S,) of the model; components that it never leaves stop."""
        place = np.full(self.free.size, -1, dtype=np.int64)
        real = np.flatnonzero(self.origin >= 0)
        place[self.origin[real]] = real
        choice = self.rows.first[1:] - 1  # *stop* is the last row of its state
        leaves = place[rule] >= 0
        choice[self.merged[leaves]] = place[rule[leaves]]
        return choice

    def lift_choice(self, choice: IntArray) -> IntArray:
        """The model's rows (S,) for a policy of the quotient: walk to the row it takes, or stay inside."""
        wanted = self.origin[choice][self.merged]
        leaves = wanted >= 0
        owner = self.model_rows.owner
        is_exit = np.zeros(self.merged.size, dtype=np.bool_)
        is_exit[owner[wanted[leaves]]] = True
        lifted = choice_towards(self.model_rows, is_exit, self.free)
        lifted[is_exit] = wanted[is_exit]
        stays = ~leaves
        inside = np.flatnonzero(self.free)
        first_inside = np.full(self.merged.size, -1, dtype=np.int64)
        first_inside[owner[inside][::-1]] = inside[::-1]
        lifted[stays] = np.where(first_inside >= 0, first_inside, self.model_rows.first[:-1])[stays]
        return lifted

    @cached_property
    def start(self) -> IntArray:
        """A policy that terminates, one row for each state; -1 where no policy does."""
        return choice_towards(self.rows, self.rows.terminal, np.ones(self.rows.r.size, dtype=np.bool_))

    @cached_property
    def potential(self) -> Potential | None:
        """A verified potential, or None where none was found."""
        if (self.start < 0).any():
            return None
        size = float(np.abs(self.rows.r).max()) or 1.0
        for halvings in range(24):
            found = _potential(self.rows, self.start, size / 2**halvings)
            if found is not None:
                return found
        return None


def quotient(model: TabularMDP) -> Quotient:
    """The model itself with gamma < 1; with gamma = 1 its free components merged."""
    rows = decision_rows(model)
    none = np.zeros(rows.r.size, dtype=np.bool_)
    plain = Quotient(rows, rows, np.arange(rows.n_states), none, np.arange(rows.r.size))
    if model.gamma < 1.0:
        return plain
    label = free_components(rows)
    return plain if (label < 0).all() else _merge(rows, label)


def free_components(rows: DecisionRows) -> IntArray:
    """Label (S,) of the maximal end component of rows that pay nothing around each state, -1 outside.

    Rows that may leave their strongly connected component are taken away until none does (de Alfaro, Formal
    Verification of Probabilistic Systems, 1997, algorithm 3.1).
    """
    P = as_csr(rows.P)
    row = np.repeat(np.arange(rows.r.size), np.diff(P.indptr))[P.data > 0]
    head = P.indices[P.data > 0].astype(np.int64)
    stays = (rows.r == 0.0) & ~rows.terminal[rows.owner]
    while True:
        stays = _without_dead_ends(rows, row, head, stays)
        kept = stays[row]
        tail = rows.owner[row[kept]]
        graph = sp.csr_array((np.ones(tail.size), (tail, head[kept])), shape=(rows.n_states, rows.n_states))
        _, label = connected_components(graph, directed=True, connection="strong")
        crosses = np.zeros_like(stays)
        crosses[row[kept][label[tail] != label[head[kept]]]] = True
        if not crosses.any():
            has_row = np.zeros(rows.n_states, dtype=np.bool_)
            has_row[rows.owner[stays]] = True
            return np.where(has_row, label, -1)
        stays &= ~crosses


def _without_dead_ends(rows: DecisionRows, row: IntArray, head: IntArray, stays: BoolArray) -> BoolArray:
    """Take away the rows that may enter a state without rows, until none does; each outcome is looked at once."""
    order = np.argsort(head, kind="stable")
    entering, begin = row[order], np.searchsorted(head[order], np.arange(rows.n_states + 1))
    stays = stays.copy()
    left = np.bincount(rows.owner[stays], minlength=rows.n_states)
    dead = np.flatnonzero(left == 0)
    while dead.size:
        lost = np.unique(entering[_ranges(begin[dead], begin[dead + 1])])
        lost = lost[stays[lost]]
        stays[lost] = False
        touched, count = np.unique(rows.owner[lost], return_counts=True)
        left[touched] -= count
        dead = touched[left[touched] == 0]
    return stays


def _ranges(begin: IntArray, end: IntArray) -> IntArray:
    """The integers of the ranges [begin_i, end_i), one after another."""
    sizes = end - begin
    offset = np.repeat(begin - np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)[:-1]]), sizes)
    return offset + np.arange(offset.size)


def _merge(rows: DecisionRows, label: IntArray) -> Quotient:
    P = as_csr(rows.P)
    n_states = rows.n_states
    single = np.where(label < 0, label.max() + 1 + np.arange(n_states), label)
    names, merged = np.unique(single, return_inverse=True)
    end = names.size
    free = _inside(rows, P, label)
    kept = np.flatnonzero(~free)
    stops = np.unique(merged[label >= 0])
    owner = np.concatenate([merged[rows.owner[kept]], stops, [end]])
    origin = np.concatenate([kept, np.full(stops.size + 1, -1)])
    order = np.argsort(owner, kind="stable")
    moved = sp.csr_array((P.data, merged[P.indices], P.indptr), shape=(P.shape[0], end + 1))[kept]
    n_stops = stops.size + 1
    to_end = sp.csr_array((np.ones(n_stops), np.full(n_stops, end), np.arange(n_stops + 1)), shape=(n_stops, end + 1))
    P_merged = sp.csr_array(sp.vstack([moved, to_end], format="csr"))[order]
    r = np.concatenate([rows.r[kept], np.zeros(n_stops)])[order]
    first = np.searchsorted(owner[order], np.arange(end + 2))
    terminal = np.zeros(end + 1, dtype=np.bool_)
    terminal[merged[rows.terminal]] = True
    terminal[end] = True
    return Quotient(rows, DecisionRows(P_merged, r, first, 1.0, terminal), merged, free, origin[order])


def _inside(rows: DecisionRows, P: sp.csr_array, label: IntArray) -> BoolArray:
    """Mask of the rows that pay nothing and stay inside their free component."""
    row = np.repeat(np.arange(rows.r.size), np.diff(P.indptr))
    leaves = (P.data > 0) & (label[rows.owner[row]] != label[P.indices])
    inside = (rows.r == 0.0) & (label[rows.owner] >= 0)
    inside[row[leaves]] = False
    return inside


def _potential(rows: DecisionRows, start: IntArray, slack: float) -> Potential | None:
    raised = rows.with_rewards(rows.r + slack * ~rows.terminal[rows.owner])
    h = np.zeros(rows.n_states)
    try:
        for evaluated in islice(howard(raised, start, h, slack / 8), MOST_POLICIES):
            h = evaluated.value
    except UnboundedRewardError:
        return None
    h = np.where(rows.terminal, 0.0, h)
    left = (h - best_values(rows, row_values(rows, h)))[~rows.terminal]
    verified = float(left.min(initial=slack)) - rounding_error(rows, h) - defect(rows, h)
    return Potential(h, verified) if verified > 0.0 else None
