"""Bellman operators of finite Markov decision processes.

For a value v of shape (S,), action values and the two operators are

    q(s, a)     = r(s, a) + gamma sum_s' P(s' | s, a) v(s')
    (T v)(s)    = max_a q(s, a)
    (T_pi v)(s) = sum_a pi(a | s) q(s, a)

Both operators are monotone, and with gamma < 1 contractions of modulus gamma in the supremum norm, with fixed
points v* and v^pi (Puterman, Markov Decision Processes, 1994, Propositions 6.2.2 to 6.2.4).
"""

from numpy.typing import ArrayLike

from ..models import TabularMDP
from .bellman import best_rows, decision_rows, row_values
from .policies import policy_rule, require_value, rule_backup
from .solution import FloatArray, IntArray


def q_values(model: TabularMDP, v: ArrayLike) -> FloatArray:
    """Action values q (S, A) of a value v (S,).

    Raises:
        ValueError: Naming the entry of v that is not finite, or its shape.
    """
    value = require_value("v", v, model.n_states)
    return row_values(decision_rows(model), value).reshape(model.r.shape)


def bellman_operator(model: TabularMDP, v: ArrayLike) -> FloatArray:
    """T v (S,): the greatest action value in each state; errors as :func:`q_values`."""
    return q_values(model, v).max(axis=1)


def policy_operator(model: TabularMDP, policy: ArrayLike, v: ArrayLike) -> FloatArray:
    """T_pi v (S,), for a policy of actions (S,) or of action probabilities (S, A).

    Raises:
        ValueError: Naming the entry of policy or v at fault.
    """
    value = require_value("v", v, model.n_states)
    return rule_backup(decision_rows(model), policy_rule(model, policy), value)


def greedy_policy(model: TabularMDP, v: ArrayLike) -> IntArray:
    """The first maximising action in each state (S,); errors as :func:`q_values`."""
    rows, value = decision_rows(model), require_value("v", v, model.n_states)
    return best_rows(rows, row_values(rows, value))[1] - rows.first[:-1]
