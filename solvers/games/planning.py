"""What all planners of zero-sum Markov games share: when to stop, what to return, and noticing that iterates recur.

A planning algorithm is an iterator: it applies T to one v after another, in whatever way it finds them, and hands over
each application. Whatever v is, if T v - v lies between low and high in every state, then

    T v + gamma / (1 - gamma) low  <=  v*  <=  T v + gamma / (1 - gamma) high

(MacQueen, Journal of Mathematical Analysis and Applications 14, 1966; van der Wal, Stochastic Dynamic Programming,
1981), and the greedy pair of v guarantees both bounds. So every planner stops by the same rule, once these bounds are
within tol of each other, and returns the middle between them with the greedy pair. Where there are terminal
states, whose value is known, nothing is moved. With gamma = 1 the longest expected play takes the place of
1 / (1 - gamma) (:mod:`.certificates`).

Where the level of v is free, T v - v may be level before v is; what float64 loses with a v far from v* is won back by
starting again from the answer, for as long as that narrows the certificate.

Methods that need not converge are watched (Brent, BIT 20, 1980): an iterate that is a millionth of the step T v - v
from an earlier one, with the same greedy pair, has come back. An iterate that an iteration of modulus beta brings
closer to v* lies at least (1 - beta) / 2 of that step from all before; so where 1 - beta is small, it takes less. The
planner ends with ``Status.CYCLING`` and the best answer it met.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np
from numpy.typing import ArrayLike

from ...models import MarkovGame
from ...models._checks import whole_number
from ..policies import require_start, require_tolerance
from ..solution import FloatArray, Solution, Status
from .certificates import certify_pair
from .sweeps import GameBackup, GameSweeps

Pair = tuple[FloatArray, FloatArray]

# So many applications in a row that do not narrow the bounds mean, near rounding, that rounding sets the pace.
PATIENCE = 64

# An iterate this close to an earlier one, as a fraction of |T v - v|, has come back.
RECURRENCE = 1e-6


class Operators(Protocol):
    """The operators of a game, as the shared algorithms apply them."""

    @property
    def modulus(self) -> float:
        """beta < 1, by which T contracts :meth:`distance`."""
        ...

    @property
    def horizon(self) -> float:
        """How far v* may lie from T v where T v - v spans one."""
        ...

    @property
    def latest(self) -> GameBackup | None:
        """The last application of T."""
        ...

    def backup(self, v: FloatArray) -> GameBackup:
        """T v and the greedy pair."""
        ...

    def distance(self, backup: GameBackup) -> float:
        """A seminorm of T v - v."""
        ...

    def evaluate(self, backup: GameBackup, rollout: float) -> FloatArray:
        """T_{mu,nu}^m v for the greedy pair of v, 1 <= m <= inf."""
        ...

    def propose(self, backup: GameBackup) -> FloatArray:
        """Where the greedy pair leads from v, evaluated as far as that pays."""
        ...

    def floor(self, backup: GameBackup) -> float:
        """What rounding alone adds to the certified gap."""
        ...


Algorithm = Callable[[GameSweeps, FloatArray], Iterator[GameBackup]]
"""From the operators of a game and a first v to applications of T, for ever, or until the method knows no next v."""


def plan(
    game: MarkovGame,
    algorithm: Algorithm,
    tol: float,
    max_iterations: int,
    start: ArrayLike | None,
    *,
    macqueen: bool = True,
    may_cycle: bool = False,
) -> Solution[Pair]:
    """Run an algorithm on a game until its bounds are within ``tol`` of each other.

    Args:
        game: The game.
        algorithm: What to iterate.
        tol: Wanted bound on the certified gap.
        max_iterations: Largest number of applications that the algorithm hands over.
        start: First v (S,). None: zero.
        macqueen: Whether to stop by the span of T v - v; otherwise by its supremum norm, and nothing is moved.
        may_cycle: Whether to watch for recurring iterates.

    Raises:
        ValueError: A bad tol, max_iterations or start; gamma = 1 and play that need not terminate.
        KeyboardInterrupt: Ctrl-C before the first sweep was over: there is no answer yet.
    """
    tol, v = require_tolerance(tol), require_start(start, require_game(game))
    max_iterations, sweeps = whole_number("max_iterations", max_iterations, 1), GameSweeps(game)
    history: tuple[float, ...] = ()
    answer, gap = None, np.inf
    while True:
        left = max_iterations - len(history)
        outcome = run(sweeps, algorithm(sweeps, v), tol, left, macqueen=macqueen, may_cycle=may_cycle)
        history += outcome.history
        found = _answer(sweeps, outcome, tol, macqueen)
        if answer is None or found.certificate.gap < answer.certificate.gap:
            answer = found
        narrows = found.certificate.gap < 0.5 * gap and sweeps.is_free and len(history) < max_iterations
        if found.status is not Status.PRECISION_LIMIT or not narrows:
            status = answer.status if answer.status is Status.CONVERGED else found.status
            return replace(answer, status=status, iterations=len(history), history=history, work=sweeps.work)
        v, gap = found.value, found.certificate.gap


def _answer(sweeps: GameSweeps, outcome: "Outcome", tol: float, macqueen: bool) -> Solution[Pair]:
    """The best application of T as an answer, certified."""
    best = outcome.best
    value = sweeps.centred(best.value, best.low, best.high) if macqueen else best.value
    certificate = certify_pair(sweeps.game, sweeps.play, value, best.mu, best.nu)
    status = outcome.judged(certificate.gap, tol)
    return Solution(value, (best.mu, best.nu), certificate, status, len(outcome.history), outcome.history)


def require_game(game: object) -> MarkovGame:
    """The game itself.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(game, MarkovGame):
        raise TypeError(
            f"game is a {type(game).__name__}; pass a MarkovGame, such as env.unwrapped.model of a tabular game "
            "(for a LinearMarkovGame: solve_linear_game)"
        )
    return game


@dataclass(frozen=True, eq=False)
class Outcome:
    """How an iteration ended.

    Attributes:
        best: The application of T with the narrowest bounds.
        status: Why it ended; CONVERGED if the bounds promise the tolerance.
        history: The gap that each application promises.
    """

    best: GameBackup
    status: Status
    history: tuple[float, ...]

    def judged(self, gap: float, tol: float) -> Status:
        """The status in the light of the certified gap."""
        if gap <= tol:
            return Status.CONVERGED
        return Status.PRECISION_LIMIT if self.status is Status.CONVERGED else self.status


def run(
    operators: Operators,
    iterates: Iterator[GameBackup],
    tol: float,
    max_iterations: int,
    *,
    macqueen: bool = True,
    may_cycle: bool = False,
) -> Outcome:
    """Iterate until the bounds are within ``tol`` of each other; arguments as in :func:`plan`."""
    max_iterations = whole_number("max_iterations", max_iterations, 1)
    watch = _Watch(operators, tol, macqueen, may_cycle)
    try:
        while watch.status is None:
            if len(watch.history) == max_iterations:
                watch.status = Status.ITERATION_LIMIT
            elif (backup := next(iterates, None)) is None:
                watch.stall()
            else:
                watch.take(backup)
    except KeyboardInterrupt:
        watch.interrupt()
    return watch.outcome()


@final
class _Watch:
    """The best application met so far, and how the run is to end: None while it goes on."""

    def __init__(self, operators: Operators, tol: float, macqueen: bool, may_cycle: bool) -> None:
        self._operators, self._tol, self._macqueen = operators, tol, macqueen
        self.history: list[float] = []
        self.status: Status | None = None
        self._best: GameBackup | None = None
        self._least, self._idle = np.inf, 0
        self._recurs = Recurrence(min(RECURRENCE, 0.25 * (1.0 - operators.modulus))) if may_cycle else None

    def take(self, backup: GameBackup) -> None:
        """Look at one more application."""
        gap = self._operators.horizon * (backup.high - backup.low if self._macqueen else 2 * backup.residual)
        if self._best is None or gap < self._least:
            self._best, self._least, self._idle = backup, gap, 0
        else:
            self._idle += 1
        self.history.append(gap)
        floor = self._operators.floor(backup) if gap <= self._tol or self._idle else 0.0
        if gap <= max(self._tol - floor, 0.0):
            self.status = Status.CONVERGED
        elif self._idle > PATIENCE and self._least <= 2 * floor:
            self.status = Status.PRECISION_LIMIT
        elif self._recurs is not None and self._recurs.at(backup) and gap > 2 * floor:
            self.status = Status.CYCLING

    def stall(self) -> None:
        """The method knows no next iterate: because it fails, or because rounding leaves nothing to improve."""
        at_rounding = self._best is not None and self._least <= 2 * self._operators.floor(self._best)
        self.status = Status.PRECISION_LIMIT if at_rounding else Status.STALLED

    def interrupt(self) -> None:
        """End early; a sweep that the algorithm has not handed over is an answer too."""
        if self._best is None:
            if self._operators.latest is None:
                raise KeyboardInterrupt
            self.take(self._operators.latest)
        if not self.history:
            self.history.append(self._least)
        self.status = Status.INTERRUPTED

    def outcome(self) -> Outcome:
        """What was found."""
        if self._best is None or self.status is None:
            raise RuntimeError("the iteration has not ended")
        return Outcome(self._best, self.status, tuple(self.history))


@final
class Recurrence:
    """Whether a sequence of iterates has come back to an earlier one; keeps a single one of them.

    Args:
        closeness: How near that is, as a fraction of |T v - v|.
    """

    def __init__(self, closeness: float) -> None:
        self._closeness = closeness
        self._anchor: GameBackup | None = None
        self._age: int = 0
        self._span: int = 1

    def at(self, backup: GameBackup) -> bool:
        """Look at the next iterate."""
        if self._anchor is not None and _is_back(backup, self._anchor, self._closeness):
            return True
        self._age += 1
        if self._anchor is None or self._age == self._span:
            self._anchor, self._age = backup, 0
            self._span *= 2
        return False


def _is_back(backup: GameBackup, anchor: GameBackup, closeness: float) -> bool:
    if np.abs(backup.v - anchor.v).max() > closeness * backup.residual:
        return False
    pairs = ((backup.mu, anchor.mu), (backup.nu, anchor.nu))
    return all(bool(np.abs(one - other).max() <= RECURRENCE) for one, other in pairs)
