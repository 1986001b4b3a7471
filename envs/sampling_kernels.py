"""The transition of a tabular model, written once, for every environment and simulator.

A law is a list of outcomes grouped into rows, one row for each state and action (each pair of actions, in a
game), and one last row for the initial distribution. A row of n outcomes with probabilities p is drawn from by the
alias method (Walker, ACM Transactions on Mathematical Software 3, 1977): with u uniform on [0, 1), outcome
i = floor(n u) is kept if n u - i < threshold_i and replaced by alias_i if not, where

    p_i = (threshold_i + sum_{j: alias_j = i} (1 - threshold_j)) / n.

It takes the same time for every row and hardly ever branches on chance, which is what stepping many lanes costs.

The small functions are inlined by numba itself: a call that passes arrays counts references, which takes longer than
the transition.

All kernels take the law as the same leading arguments (see :class:`~lookahead_rl.envs.simulators.TabularLaw`):

    indptr, outcomes    where each row begins, and the records of :data:`OUTCOME`
    stage_rewards       r of shape (H*S*A,) where rewards depend on the stage but the law does not; else empty
    n_states, n_actions S and A (A*B in a game)
    law_codes           number of state codes with rows of their own: S, or H*S with one law a stage
    horizon             H, or 0 for a discounted model
    ragged              whether some rows are empty: pairs of actions that a game's state does not have
"""

import numpy as np
from numba import njit

OUTCOME = np.dtype(
    [
        ("threshold", np.float64),
        ("probability", np.float64),
        ("reward", np.float64),
        ("next_state", np.int64),
        ("alias", np.int32),  # place in its row
        ("terminated", np.bool_),
    ],
    align=True,
)

NEXT_STEP, SAME_STEP, DISABLED = 0, 1, 2


@njit(cache=True)
def fill_aliases(indptr, outcomes):
    """Fill ``threshold`` and ``alias`` of all rows, in linear time (Vose, IEEE Transactions on Software Engineering 17,
    1991). What rounding leaves between the sum of a row and 1 is spread over the row in proportion.
    """
    widest = (indptr[1:] - indptr[:-1]).max()
    share, small, large = np.empty(widest), np.empty(widest, np.int32), np.empty(widest, np.int32)
    for row in range(indptr.size - 1):
        items = outcomes[indptr[row] : indptr[row + 1]]
        n_small, n_large = 0, 0
        mean = items.probability.sum() / max(items.size, 1)
        for i in range(items.size):
            items[i].threshold, items[i].alias = 1.0, i
            share[i] = items[i].probability / mean
            if share[i] < 1.0:
                small[n_small] = i
                n_small += 1
            else:
                large[n_large] = i
                n_large += 1
        while n_small > 0 and n_large > 0:  # a small share is filled up from a large one
            n_small -= 1
            poor, rich = small[n_small], large[n_large - 1]
            items[poor].threshold, items[poor].alias = share[poor], rich
            share[rich] -= 1.0 - share[poor]
            if share[rich] < 1.0:
                n_large -= 1
                small[n_small] = rich
                n_small += 1


@njit(inline="always", cache=True)
def pick(indptr, outcomes, row, u):
    """Index of the outcome of ``row`` that ``u`` in [0, 1) selects."""
    first = indptr[row]
    place = u * (indptr[row + 1] - first)
    i = first + int(place)
    return i if place - int(place) < outcomes[i].threshold else first + outcomes[i].alias


@njit(inline="always", cache=True)
def row_of(n_actions, law_codes, code, action):
    """Row of a state code and an action."""
    s = code if code < law_codes else code % law_codes
    return s * n_actions + action


@njit(inline="always", cache=True)
def effect(outcome, stage_rewards, n_states, n_actions, horizon, code, action):
    """What an outcome of a state code before stage H does: (next code, reward, terminated, probability)."""
    reward = outcome.reward if stage_rewards.size == 0 else stage_rewards[code * n_actions + action]
    if horizon == 0:
        return outcome.next_state, reward, outcome.terminated, outcome.probability
    s = code % n_states
    if outcome.terminated and outcome.next_state == s:  # s itself is terminal: it keeps its stage
        return code, reward, True, outcome.probability
    next_code = code - s + n_states + outcome.next_state
    return next_code, reward, outcome.terminated or next_code >= horizon * n_states, outcome.probability


@njit(inline="always", cache=True)
def transition(indptr, outcomes, stage_rewards, n_states, n_actions, law_codes, horizon, ragged, code, action, u):
    """One transition: (next code, reward, terminated, probability of the outcome)."""
    if horizon > 0 and code >= horizon * n_states:
        return code, 0.0, True, 1.0
    outcome = outcomes[pick(indptr, outcomes, row_of(n_actions, law_codes, code, action), u)]
    return effect(outcome, stage_rewards, n_states, n_actions, horizon, code, action)


@njit(cache=True)
def first_outside(n_states, n_actions, states, actions):
    """First i whose state or action is out of range; -1 if none is."""
    for i in range(states.size):
        if not (0 <= states[i] < n_states and 0 <= actions[i] < n_actions):
            return i
    return -1


@njit(cache=True)
def first_illegal(indptr, n_states, n_actions, law_codes, horizon, ragged, states, actions):
    """First i whose state or action is out of range or whose row is empty; -1 if all are legal."""
    n_codes = (horizon + 1) * n_states
    for i in range(states.size):
        if not (0 <= states[i] < n_codes and 0 <= actions[i] < n_actions):
            return i
        if ragged:
            row = row_of(n_actions, law_codes, states[i], actions[i])
            if indptr[row] == indptr[row + 1]:
                return i
    return -1


@njit(cache=True)
def sample(
    indptr, outcomes, stage_rewards, n_states, n_actions, law_codes, horizon, ragged,
    states, actions, uniforms, next_states, rewards, terminated, probabilities,
):  # fmt: skip
    """Fill the last four arrays with one transition for each state and action.

    Returns the index of the first illegal state or action, having written nothing, or -1.
    """
    illegal = first_illegal(indptr, n_states, n_actions, law_codes, horizon, ragged, states, actions)
    if illegal >= 0:
        return illegal
    for i in range(states.size):
        next_states[i], rewards[i], terminated[i], probabilities[i] = transition(
            indptr, outcomes, stage_rewards, n_states, n_actions, law_codes, horizon, ragged,
            states[i], actions[i], uniforms[i],
        )  # fmt: skip
    return -1


@njit(cache=True)
def list_outcomes(
    indptr, outcomes, stage_rewards, n_states, n_actions, law_codes, horizon, ragged,
    code, action, next_states, rewards, terminated, probabilities,
):  # fmt: skip
    """Fill the last four arrays with all transitions of a legal state and action; returns how many there are."""
    if horizon > 0 and code >= horizon * n_states:
        next_states[0], rewards[0], terminated[0], probabilities[0] = code, 0.0, True, 1.0
        return 1
    row = row_of(n_actions, law_codes, code, action)
    first = indptr[row]
    n = indptr[row + 1] - first
    for i in range(n):
        next_states[i], rewards[i], terminated[i], probabilities[i] = effect(
            outcomes[first + i], stage_rewards, n_states, n_actions, horizon, code, action
        )
    return n


@njit(inline="always", cache=True)
def pick_weight(weights, u):
    """Index i of the weight with w_1 + ... + w_{i-1} <= u < w_1 + ... + w_i; the last positive one where none is."""
    total, last = 0.0, 0
    for i in range(weights.size):
        if weights[i] > 0.0:
            last = i
            total += weights[i]
            if u < total:
                break
    return last


@njit(inline="always", cache=True)
def mixture_probability(phi, support, weights, s_next):
    """sum_i phi_i mu_i(s'): the probability of s' whatever component and outcome led to it."""
    total = 0.0
    for i in range(phi.size):
        for j in range(support.shape[1]):
            if support[i, j] == s_next:
                total += phi[i] * weights[i, j]
    return total


@njit(cache=True)
def sample_mixture(
    n_states, horizon, support, weights, theta, states, phi, uniforms, next_states, rewards, terminated, probabilities
):
    """Fill the last four arrays with transitions of a linear model whose law is a mixture of measures.

    A component i ~ phi(s, a) is drawn with the first of two uniforms (n, 2), a next state from mu_i with the second.
    The measures are given by their states ``support`` and ``weights``, (1, d, k) or (H, d, k), and the rewards by
    ``theta``, (1, d) or (H, d): one entry, or one a stage; ``phi`` (n, d) are the features of states and actions.
    """
    for i in range(states.size):
        h = states[i] // n_states
        if h == horizon > 0:
            next_states[i], rewards[i], terminated[i], probabilities[i] = states[i], 0.0, True, 1.0
            continue
        law = h if support.shape[0] > 1 else 0
        component = pick_weight(phi[i], uniforms[i, 0])
        s_next = support[law, component, pick_weight(weights[law, component], uniforms[i, 1])]
        next_states[i] = s_next + (h + 1) * n_states if horizon > 0 else s_next
        rewards[i] = (phi[i] * theta[h if theta.shape[0] > 1 else 0]).sum()
        terminated[i] = h + 1 == horizon
        probabilities[i] = mixture_probability(phi[i], support[law], weights[law], s_next)


@njit(cache=True)
def draw_initial(indptr, outcomes, uniforms, states):
    """Fill ``states`` with draws from the last row, the initial distribution."""
    row = indptr.size - 2
    for i in range(states.size):
        states[i] = outcomes[pick(indptr, outcomes, row, uniforms[i])].next_state


@njit(cache=True)
def settle(mode, limit, elapsed, finished, rewards, terminated, probabilities, truncated):
    """Book one step of every lane: count it, truncate it, and say which lanes begin a new episode now.

    On entry ``finished`` marks the lanes whose episode ended at the previous step; in NEXT_STEP mode this step is their
    reset, and their transition is discarded: reward 0, probability 1, nothing ended. On return it marks the lanes
    whose episode ended at this step. A lane that is to begin a new episode now has ``elapsed`` 0.

    Returns:
        The number of lanes to restart: those with ``elapsed`` 0.
    """
    restarts = 0
    for i in range(elapsed.size):
        if mode == NEXT_STEP and finished[i]:
            rewards[i], terminated[i], truncated[i], probabilities[i] = 0.0, False, False, 1.0
            finished[i] = False
            elapsed[i] = 0
            restarts += 1
            continue
        elapsed[i] += 1
        truncated[i] = elapsed[i] >= limit
        finished[i] = terminated[i] or truncated[i]
        if mode == SAME_STEP and finished[i]:
            elapsed[i] = 0
            restarts += 1
    return restarts
