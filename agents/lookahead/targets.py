"""What advantages are fitted to.

With delta = r + gamma V(s') - V(s), V(s') counted as 0 where the process terminated, and V, as A below, the average of
its networks over the last gradient steps, there are two targets:

* *one-step*: delta itself, over all experience. It does not depend on the policy that chose the later actions, so old
  transitions serve as well as new ones; its noise is that of one reward and one transition; but an error of V stands in
  it undiminished.
* *lambda*: sum_i (gamma lambda)^i delta_{t+i} over the rest of the rollout (Schulman et al., High-dimensional
  continuous control using generalized advantage estimation, ICLR 2016), over recent experience. Errors of V matter
  less; it is noisier, and biased towards the policies that made it.

V is fitted accordingly. With lambda targets, to the lambda-returns of the newest rollout. With one-step targets, to all
experience too: for an action a from whatever policy

    r + gamma V(s') - A(s, a) + E_{a' ~ pi} A(s, a')

is an estimate of the present policy's value; it is unbiased once V and A are right, and as precise as one transition
allows, since what a did is taken out again by A. So V may be learnt while most actions are exploration.

Which is better depends on how well V can be learnt, and is measured (:class:`Evidence`) by how well each predicts the
*next* rollout, before that is learnt from. Let f and g be critics fitted to the one-step and to the lambda target; from
each, subtract its mean over actions drawn from the policy in the same state, so that f says how actions rank in a state
and nothing of the state's value. Let G be the advantage with lambda = 1 of the new rollout: given (s, a) its mean is
the policy's advantage, plus what V misses in s, plus what V misses where the rollout is cut. The middle term depends on
s alone, so it is uncorrelated with f and g as centred; the last is small when rollouts hold whole episodes. As

    min over c of E (G - c f)^2 = Var(G) (1 - corr(f, G)^2)

and the noise of G is common to both, the critic with the larger correlation has the smaller error, up to the scale
which lookahead ignores. The noise being large, the differences corr(g, G) - corr(f, G) of successive rollouts, each
unbiased up to the above whatever was learnt from the ones before, are added up until their mean is DECISIVE standard
errors from 0, after MIN_COMPARISONS rollouts at least. Until then half of the ensemble learns from each target, and
actions are ranked by the mean of both; then all of it learns from the better one.
"""

# torch leaves many of its types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from typing import Literal, final

import torch
from torch import Tensor

Target = Literal["one-step", "lambda"]

MIN_COMPARISONS = 4
DECISIVE = 2.0
SMALLEST_DIFFERENCE = 1e-6


def temporal_differences(
    rewards: Tensor, terminated: Tensor, values: Tensor, next_values: Tensor, gamma: float
) -> Tensor:
    """delta = r + gamma V(s') - V(s), of any shape."""
    return rewards + gamma * (1 - terminated) * next_values - values


def lambda_advantages(deltas: Tensor, ends: Tensor, decay: float) -> Tensor:
    """sum_i decay^i delta_{t+i} up to the episode's end, along the first axis (n_steps, n_envs); decay is gamma lambda.

    With V(s) added these are the lambda-returns.
    """
    device, dtype = deltas.device, deltas.dtype
    steps, kept = deltas.cpu().double().numpy(), decay * (1 - ends.cpu().double().numpy())
    total, sums = 0.0 * steps[0], steps.copy()
    for t in reversed(range(len(steps))):
        total = steps[t] + kept[t] * total
        sums[t] = total
    return torch.from_numpy(sums).to(device=device, dtype=dtype)


def correlation(x: Tensor, y: Tensor) -> float:
    """Correlation of two tensors of equal shape; 0 where one is constant."""
    x, y = (x - x.mean()).double(), (y - y.mean()).double()
    norm = (x.square().sum() * y.square().sum()).sqrt().item()
    return (x * y).sum().item() / norm if norm > 0 else 0.0


@final
class Evidence:
    """Which target predicts new rollouts better; see the module's text.

    Attributes:
        tally: Number of rollouts, sum and sum of squares of the differences (lambda minus one-step); (3,) float64.
    """

    def __init__(self) -> None:
        self.tally = torch.zeros(3, dtype=torch.float64)

    def add(self, one_step: Tensor, lambda_: Tensor, reference: Tensor) -> None:
        """Compare centred predictions of one new rollout with its reference, all of one shape."""
        difference = correlation(lambda_, reference) - correlation(one_step, reference)
        self.tally += self.tally.new_tensor([1.0, difference, difference**2])

    @property
    def statistic(self) -> float:
        """Mean difference in standard errors; positive speaks for lambda, 0 where there is too little to say."""
        n, total, squares = self.tally.tolist()
        # Critics that agree differ by rounding alone.
        if n < MIN_COMPARISONS or abs(total) < n * SMALLEST_DIFFERENCE:
            return 0.0
        variance = max(squares - total**2 / n, 0.0) / (n - 1)
        return total / math.sqrt(n * variance) if variance > 0 else math.copysign(math.inf, total)

    @property
    def choice(self) -> Target | None:
        """The better target once the evidence is decisive, else None."""
        if abs(self.statistic) < DECISIVE:
            return None
        return "lambda" if self.statistic > 0 else "one-step"
