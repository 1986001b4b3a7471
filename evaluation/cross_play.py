"""Everybody against everybody, on both sides: the values of all pairings in a population.

Member i has a policy mu_i of player_0 and nu_i of player_1. The cross-play matrix is

    V[i, j] = v^{mu_i, nu_j},        what player_0 is paid when i plays player_0 and j plays player_1,

its symmetrised form, antisymmetric by construction, is what i wins against j on the mean over both sides,

    A[i, j] = (V[i, j] - V[j, i]) / 2.

Where the game has a table of states (linear games: over the states that play can meet) every entry is exact, with the
certified bounds of its evaluation, and so is what each member concedes to best responses,

    NashConv_i = max_mu v^{mu, nu_i} - min_nu v^{mu_i, nu}  >=  0.

Half of it, the exploitability, is what a best response to i wins against it on the mean over both sides; it is zero
exactly at equilibrium (Lanctot et al., NeurIPS 2017).

Elsewhere episodes are played. Episode e begins from the same seed in every pairing, and each side draws its actions
from the same stream (common random numbers), so that differences between pairings are known better than the pairings
themselves. Intervals are Student's t; they are too narrow for few episodes with rare large payoffs, and have no width
where all episodes paid the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast, final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from ..agents.base import sample_rows
from ..envs.games import PLAYERS, MarkovGameEnv
from ..models import LinearMarkovGame, MarkovGame, ModelError
from ..models._checks import discount, flag, unit_number, whole_number
from ..models.summaries import Summarised
from ..solvers.dynamic_programming import evaluate_policy
from ..solvers.games.best_responses import best_response, remaining_problem
from ..wrappers.exact_view import game_view
from ..wrappers.opponents import RULES, Player, StatesItsLaw, StatingPlayer, draw, mode
from ..wrappers.versus import allowed_action, as_parallel, seated
from .games import game_to_solve, law_table
from .policies import stable_baselines_law
from .statistics import student_half_widths

FloatArray = NDArray[np.float64]
Game = ParallelEnv[str, Any, Any]
Report = Callable[[int, int], None]

EPISODES = 100
"""Played for each pairing where values are not exact, unless told otherwise."""
LONGEST = 100_000
"""Steps after which an episode that has not ended is taken for one that never will."""
ZERO_SUM = 1e-6
"""Two rewards that add up to no more than this, relative to their size, add up to zero."""
RECALLED = 10_000
"""Observations of which a policy's law is kept while episodes are played."""


@dataclass(frozen=True, eq=False, repr=False)
class CrossPlay(Summarised):
    """A population played against itself.

    Attributes:
        names: The members (n).
        sides: What the game calls its two players; the first one is called player_0 here.
        values: V (n, n), the expected (discounted) return of player_0, row playing player_0 and column player_1.
        low: Lower limits (n, n): certified where ``kind`` is exact, else of the confidence interval.
        high: Upper limits (n, n).
        kind: ``"exact"`` or ``"estimated"``.
        confidence: Of the intervals.
        guarantees: (2, n), exact: what mu_i is sure to be paid as player_0 (the value of a best response to it), and
            what nu_i as player_1 is sure to pay no more than. None where not known.
        nash_value: Exact value of the game; None where not known.
        returns: (n, n, E), what player_0 was paid in each episode; None where none was played.
    """

    shown: ClassVar[tuple[str, ...]] = ("names", "kind")

    names: tuple[str, ...]
    sides: tuple[str, str]
    values: FloatArray
    low: FloatArray
    high: FloatArray
    kind: str
    confidence: float
    guarantees: FloatArray | None
    nash_value: float | None
    returns: FloatArray | None

    @property
    def payoffs(self) -> FloatArray:
        """A (n, n): what row wins against column on the mean over both sides; antisymmetric."""
        return 0.5 * (self.values - self.values.T)

    @property
    def payoff_margins(self) -> FloatArray:
        """(n, n): half the width of each payoff's interval; certified, or from the episodes played as pairs."""
        if self.kind == "exact" or self.returns is None:
            width = self.high - self.low
            return 0.25 * (width + width.T)
        return student_half_widths(0.5 * (self.returns - self.returns.transpose(1, 0, 2)), self.confidence)

    @property
    def nash_conv(self) -> FloatArray | None:
        """(n,): what best responses on both sides together gain over member i, exact; None where not known."""
        if self.guarantees is None:
            return None
        return np.maximum(0.0, self.guarantees[1] - self.guarantees[0])

    @property
    def exploitability(self) -> FloatArray | None:
        """(n,): half of ``nash_conv``: what best responses win on the mean over both sides. None where not known."""
        return None if self.nash_conv is None else 0.5 * self.nash_conv


@dataclass(frozen=True, eq=False)
class _Table:
    """A population in a game whose states are listed: the game on them, and every member's laws."""

    game: MarkovGame
    nash_value: float
    laws: tuple[list[FloatArray], list[FloatArray]]


def cross_play(
    policies: Mapping[str, Any],
    game_env: Any,
    *,
    episodes: int | None = None,
    seed: int = 0,
    exact: bool | None = None,
    gamma: float | None = None,
    deterministic: bool = False,
    unavailable: str = "refuse",
    confidence: float = 0.95,
    report: Report | None = None,
) -> CrossPlay:
    """Play every member of a population against every member, itself included, on both sides.

    Args:
        policies: For each member's name a pair (policy of player_0, policy of player_1), or one policy that plays both.
            A policy is None (uniform play), an agent, a model of stable-baselines3, anything with its ``predict``, or,
            in a game of this package, an array as :func:`~lookahead_rl.evaluation.exploitability` takes it. Where
            values are exact, a policy that only has ``predict`` is taken by its deterministic predictions.
        game_env: A zero-sum PettingZoo game of two players with simultaneous moves, of this package or not.
        episodes: Episodes of each pairing, for the returns. None: 100 where values come from them, else none.
        seed: Seed of the episodes, and of the draws from laws that are known: those of agents, and of models of
            stable-baselines3 over Discrete actions. Other policies draw for themselves, from what they hold.
        exact: None: exact values where the game is one of this package. False: by episodes even there, which end
            after ``max_cycles``: what would follow is missing from the estimate.
        gamma: Discount of the episodes' returns; None: the game's own, 1 where the game says none.
        deterministic: Take the policies' most likely actions instead of their laws.
        unavailable: What an action that a state lacks does, ``"refuse"`` or ``"first"``, as in
            :class:`~lookahead_rl.wrappers.VersusOpponent`.
        confidence: Of the intervals around estimates.
        report: Called as ``report(done, total)`` after each pairing.

    Raises:
        ModelError: The game is none of these; a member does not fit it (named); observed rewards do not add up to zero;
            an episode does not end; a value is not finite; an argument is out of range.
    """
    members, game = _pairs(policies), _two_players(game_env)
    is_known = isinstance(game_env.unwrapped, MarkovGameEnv)
    is_exact = is_known if exact is None else flag("exact", exact)
    if unavailable not in RULES:
        raise ModelError(f"unavailable is {unavailable!r}; pass {' or '.join(map(repr, RULES))}")
    count = whole_number("episodes", (0 if is_exact else EPISODES) if episodes is None else episodes, 0)
    if not is_exact and count < 2:
        raise ModelError(f"episodes is {count}; values are not exact here, and an interval needs at least 2")
    unit_number("confidence", confidence)
    rules = {"deterministic": flag("deterministic", deterministic), "unavailable": unavailable}
    table = _tabulate(members, game, deterministic, unavailable) if is_known and is_exact else None
    if is_exact and table is None:
        raise ModelError(f"exact is True, but the model of {game} is not known; leave it out")
    returns = None
    if count:
        play = _player(members, game, table, rules, (count, whole_number("seed", seed, 0), _gamma(game, gamma)))
        returns = _play_all(len(members), count, play, report)
    sides = (game.possible_agents[0], game.possible_agents[1])
    if table is not None:
        return _exact(tuple(members), sides, table, returns, confidence)
    assert returns is not None
    values, width = returns.mean(axis=2), student_half_widths(returns, confidence)
    return CrossPlay(
        tuple(members), sides, values, values - width, values + width, "estimated", confidence, None, None, returns
    )


def play_episodes(
    game_env: Any,
    policy_0: Any,
    policy_1: Any,
    episodes: int,
    *,
    seed: int = 0,
    gamma: float | None = None,
    deterministic: bool = False,
    unavailable: str = "refuse",
) -> FloatArray:
    """What player_0 is paid in each of so many episodes (E,); arguments as in :func:`cross_play`.

    Raises:
        ModelError: As :func:`cross_play`.
    """
    game = _two_players(game_env)
    rules = {"deterministic": flag("deterministic", deterministic), "unavailable": unavailable}
    (seat_0,), (seat_1,) = _seats({"the policy": (policy_0, policy_1)}, game, rules)
    count, first = whole_number("episodes", episodes, 1), whole_number("seed", seed, 0)
    return _play(game, [seat_0, seat_1], count, first, _gamma(game, gamma), unavailable)


def require_zero_sum(game_env: Any, *, episodes: int = 10, steps: int = 1000, seed: int = 0) -> None:
    """Play random actions and refuse a game whose observed rewards do not add up to zero.

    Games of this package are zero-sum by construction. Of others only what was seen is known; every episode that is
    played later is checked as well.

    Args:
        game_env: A PettingZoo game of two players with simultaneous moves.
        episodes: At most so many.
        steps: At most so many in all.
        seed: Seed of the episodes and actions.

    Raises:
        ModelError: It is no such game, or it is not zero-sum: what was seen is told.
    """
    game = _two_players(game_env)
    if isinstance(game.unwrapped, MarkovGameEnv):
        return
    rng, taken = np.random.default_rng(whole_number("seed", seed, 0)), 0
    for episode in range(episodes):
        _, infos = game.reset(seed=int(rng.integers(2**31)))
        step = 0
        while game.agents and taken < steps:
            actions = {side: _any_action(game, side, infos.get(side, {}), rng) for side in game.agents}
            _, rewards, _, _, infos = game.step(actions)
            step, taken = step + 1, taken + 1
            _require_zero(game, rewards, f"step {step} of random episode {episode}")


def _any_action(game: Game, side: str, info: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """Some available action, drawn from a seed of the given generator."""
    space, mask = game.action_space(side), info.get("action_mask")
    if mask is not None:
        return int(rng.choice(np.flatnonzero(mask)))
    space.seed(int(rng.integers(2**31)))
    return space.sample()


def _pairs(policies: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    if not policies:
        raise ModelError("policies is empty; name at least one member")
    for name in policies:
        if not (isinstance(cast("object", name), str) and name):
            raise ModelError(f"policies has the key {name!r}; members have names")
    members: dict[str, tuple[Any, Any]] = {}
    for name, policy in policies.items():
        pair = cast("tuple[Any, ...]", policy) if isinstance(policy, tuple) else (policy, policy)
        if len(pair) != 2:
            raise ModelError(f"member {name!r} has {len(pair)} policies; pass one for each of two players")
        members[name] = pair[0], pair[1]
    return members


def _two_players(game_env: Any) -> Game:
    game = as_parallel(game_env)
    players = list(game.possible_agents)
    if len(players) != 2:
        raise ModelError(f"game_env has {len(players)} players ({', '.join(players)}); a game of two is needed")
    return game


def _gamma(game: Game, gamma: float | None) -> float:
    if gamma is not None:
        return discount(gamma)
    base = game.unwrapped
    return float(base.model.gamma) if isinstance(base, MarkovGameEnv) else 1.0


def _tabulate(members: Mapping[str, tuple[Any, Any]], game_env: Game, deterministic: bool, unavailable: str) -> _Table:
    """Every member's laws in the states that matter."""
    views = [game_view(game_env, side) for side in PLAYERS]
    states, game, nash = game_to_solve(views[0])
    laws: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for name, pair in members.items():
        for player in range(2):
            try:
                law = law_table(pair[player], views[player], player, states, game, unavailable)
            except ModelError as error:
                raise ModelError(f"{name} cannot play {PLAYERS[player]}: {error}") from error
            laws[player].append(mode(law) if deterministic else law)
    return _Table(game, float(game.rho @ nash), laws)


def _exact(
    names: tuple[str, ...], sides: tuple[str, str], table: _Table, returns: FloatArray | None, confidence: float
) -> CrossPlay:
    """The matrix and the guarantees, from the model."""
    game, (mus, nus) = table.game, table.laws
    bounds = np.empty((3, len(mus), len(nus)))
    for i, mu in enumerate(mus):
        remaining = remaining_problem(game, 0, mu, 1.0)
        for j, nu in enumerate(nus):
            solved = evaluate_policy(remaining, nu)
            limits = solved.value, solved.certificate.lower, solved.certificate.upper
            bounds[:, i, j] = [game.rho @ limit for limit in limits]
    if not np.isfinite(bounds[0]).all():
        i, j = np.argwhere(~np.isfinite(bounds[0]))[0]
        raise ModelError(
            f"{names[i]} against {names[j]} is worth {bounds[0, i, j]}: without a discount play goes on for ever; "
            "pass a game with gamma below 1"
        )
    guarantees = np.array(
        [
            [game.rho @ best_response(game, 1, mu).value for mu in mus],
            [game.rho @ best_response(game, 0, nu).value for nu in nus],
        ]
    )
    values, low, high = bounds
    return CrossPlay(names, sides, values, low, high, "exact", confidence, guarantees, table.nash_value, returns)


def _player(
    members: Mapping[str, tuple[Any, Any]],
    game: Game,
    table: _Table | None,
    rules: Mapping[str, Any],
    how: tuple[int, int, float],
) -> Callable[[int, int], FloatArray]:
    """How a pairing (i, j) is played: in the table where there is one, which is faster than asking the policies."""
    base = game.unwrapped
    if table is not None and isinstance(base, MarkovGameEnv) and not isinstance(base.model, LinearMarkovGame):
        mus, nus = table.laws
        return lambda i, j: _play_table(base, mus[i], nus[j], *how)
    seats = _seats(members, game, rules)
    return lambda i, j: _play(game, [seats[0][i], seats[1][j]], *how, rules["unavailable"])


def _seats(
    members: Mapping[str, tuple[Any, Any]], game: Game, rules: Mapping[str, Any]
) -> tuple[list[Player], list[Player]]:
    """Every member ready to play each side."""
    seats: tuple[list[Player], list[Player]] = ([], [])
    for name, pair in members.items():
        for player, side in enumerate(game.possible_agents):
            try:
                seats[player].append(_seat(pair[player], game, side, rules))
            except ModelError as error:
                raise ModelError(f"{name} cannot play {side}: {error}") from error
    return seats


def _seat(policy: Any, game: Game, side: str, rules: Mapping[str, Any]) -> Player:
    """A policy ready to play; its draws are the caller's wherever its law is known."""
    law = None
    if isinstance(game.action_space(side), spaces.Discrete):
        law = stable_baselines_law(policy, game.observation_space(side))
    # An agent around such a model states its law itself.
    seat = seated(policy if law is None or isinstance(policy, StatesItsLaw) else _States(law), game, side, **rules)
    return _RecallingPlayer(seat, rules["deterministic"]) if isinstance(seat, StatingPlayer) else seat


@final
class _States:
    """States a law that is given as a function."""

    def __init__(self, law: Callable[[Any], FloatArray]) -> None:
        self._law = law

    def action_probabilities(self, observations: Any) -> FloatArray:
        """Law (n, A) of the actions."""
        return self._law(observations)


@final
class _RecallingPlayer(Player):
    """Plays a policy that states its law, and asks it once for each thing it sees: it learns nothing meanwhile."""

    def __init__(self, player: StatingPlayer, deterministic: bool) -> None:
        self._player, self._deterministic = player, deterministic
        self._laws: dict[bytes, FloatArray] = {}

    def act(self, observation: Any, info: dict[str, Any], rng: np.random.Generator) -> int:
        """A draw from the law of the observation."""
        if not isinstance(observation, np.ndarray | np.generic):  # several arrays, under names
            return self._player.act(observation, info, rng)
        seen = observation.tobytes()
        law = self._laws.get(seen)
        if law is None:
            law = self._player.law(observation)
            if len(self._laws) < RECALLED:
                self._laws[seen] = law
        return int(np.argmax(law)) if self._deterministic else draw(law, rng)

    def begin(self) -> None:
        """What was seen stays true."""


def _play_all(n: int, episodes: int, play: Callable[[int, int], FloatArray], report: Report | None) -> FloatArray:
    """The returns (n, n, episodes) of ``play(i, j)`` for all pairings."""
    returns = np.empty((n, n, episodes))
    for i in range(n):
        for j in range(n):
            returns[i, j] = play(i, j)
            if report is not None:
                report(i * n + j + 1, n * n)
    return returns


def _play_table(
    base: MarkovGameEnv, mu: FloatArray, nu: FloatArray, episodes: int, seed: int, gamma: float
) -> FloatArray:
    """What player_0 is paid in each episode (E,), all played at once with the simulator that the game itself uses.

    A terminal state is never left and pays nothing, so that episodes which are over play on at no account.
    """
    streams = np.random.SeedSequence([seed, episodes]).spawn(3)
    moves, draws_0, draws_1 = (np.random.default_rng(stream) for stream in streams)
    states, total = base.simulator.initial_states(episodes, moves), np.zeros(episodes)
    for step in range(base.max_cycles):
        a, b = sample_rows(mu[states], draws_0), sample_rows(nu[states], draws_1)
        moved = base.simulator.sample(states, a * nu.shape[1] + b, moves)
        total += gamma**step * moved.rewards
        states = moved.next_states
    return total


def _play(game: Game, seats: Sequence[Player], episodes: int, seed: int, gamma: float, unavailable: str) -> FloatArray:
    return np.array([_episode(game, seats, seed, e, gamma, unavailable) for e in range(episodes)])


def _episode(game: Game, seats: Sequence[Player], seed: int, episode: int, gamma: float, unavailable: str) -> float:
    """What player_0 is paid; the game and each side draw from streams that depend on seed and episode alone."""
    streams = np.random.SeedSequence([seed, episode]).spawn(3)
    rngs = [np.random.default_rng(stream) for stream in streams[1:]]
    sides, total, factor = game.possible_agents, 0.0, 1.0
    for seat in seats:
        seat.begin()
    observations, infos = game.reset(seed=int(streams[0].generate_state(1)[0] >> 1))
    for step in range(1, LONGEST + 1):
        actions: dict[str, Any] = {}
        for seat, side, rng in zip(seats, sides, rngs, strict=True):
            if side in game.agents:
                action = seat.act(observations[side], infos[side], rng)
                actions[side] = allowed_action(side, action, infos[side], unavailable)
        observations, rewards, _, _, infos = game.step(actions)
        _require_zero(game, rewards, f"step {step} of episode {episode}, seed {seed}")
        total += factor * float(rewards.get(sides[0], 0.0))
        factor *= gamma
        if not game.agents:
            return total
    raise ModelError(f"an episode of {game} has not ended after {LONGEST:,} steps; limit its length, as by max_cycles")


def _require_zero(game: Game, rewards: Mapping[str, Any], where: str) -> None:
    paid = {side: float(reward) for side, reward in rewards.items()}
    if abs(sum(paid.values())) > ZERO_SUM * max(1.0, *map(abs, paid.values())):
        told = " and ".join(f"{side} {reward:g}" for side, reward in paid.items())
        raise ModelError(
            f"{game} is not zero-sum: in {where} it paid {told}, together {sum(paid.values()):g}; values, "
            "exploitability and ratings here are those of games in which one player pays the other"
        )
