"""The lookahead operator in torch: the law of the best of K draws.

Draw K actions from p and keep the one of largest q. With F(a) = p{b : q(b) <= q(a)} and F-(a) = p{b : q(b) < q(a)},
and with ties broken uniformly over the draws that attain the maximum, the kept action has the law

    L(a) = (F(a)^K - F-(a)^K) p(a) / p{b : q(b) = q(a)},

which is defined for every real K >= 1 and keeps L <= K p: what p forbids stays forbidden.

Where actions are too many to enumerate, m candidates drawn from p stand for it: their empirical law is uniform, and the
operator applied to it weighs the candidate of rank i by (i/m)^K - ((i-1)/m)^K. So K, the size of the policy's step, is
set apart from m, which sets the sampling noise; m = K would take the best candidate alone with probability
1 - (1 - 1/m)^m only.

The law of the best of K: Beirami et al., Theoretical guarantees on the best-of-n alignment policy, ICML 2025.
"""

import torch
from torch import Tensor


def lookahead_law(p: Tensor, q: Tensor, K: float) -> Tensor:
    """Law (B, A) of the best of K draws from each row of ``p`` (B, A) by ``q`` (B, A), in float64.

    F^K - F-^K is evaluated as F^K (1 - (1 - c/F)^K), c the probability of the ties, so that no small probability
    is lost to cancellation.
    """
    p, q = p.double(), q.contiguous()
    ordered, order = q.sort(dim=-1)
    below = torch.searchsorted(ordered, q)
    up_to = torch.searchsorted(ordered, q, right=True)
    F = p.gather(-1, order).cumsum(-1).gather(-1, up_to - 1)
    ties = torch.zeros_like(p).scatter_add(-1, below, p).gather(-1, below)
    # Where nothing ties with an action of probability 0, 0/0 stands for a share of nothing.
    share = torch.where(ties > 0, p / ties, 0.0)
    missed = torch.where(ties > 0, torch.log1p(-(ties / F).clamp(max=1.0)), 0.0)
    return share * F.clamp(max=1.0) ** K * -torch.expm1(K * missed)


def candidate_weights(q: Tensor, K: float) -> Tensor:
    """Weights (B, m) of m candidates drawn from a policy and scored ``q`` (B, m): by rank, ties sharing."""
    return lookahead_law(torch.full_like(q, 1 / q.shape[-1], dtype=torch.float64), q, K)


def draw(law: Tensor, n: int) -> Tensor:
    """``n`` draws from each law along the last axis: (..., A) gives (..., n); probability 0 is never drawn."""
    cumulative = law.cumsum(-1)
    # In (0, 1], so that an action is reached only by its own mass.
    uniform = 1 - torch.rand((*law.shape[:-1], n), dtype=law.dtype, device=law.device)
    return torch.searchsorted(cumulative, uniform * cumulative[..., -1:])
