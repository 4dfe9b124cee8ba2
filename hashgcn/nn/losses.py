"""Losses over a user's whole catalogue, on score tables.

Each takes v_neg, v_pos, neg, pos as `hashgcn.ops.score_tables` returns them ([b, f + 1] each;
`nn.real_score_tables` returns such tables of real-valued scores) and returns a scalar; gradients
flow through the values to the codes. A row without positives counts nothing. Cost O(b f^2), memory
O(b f + f^2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from hashgcn.ops import fixed_order_mm


def sum_over_levels(
    function: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
    counts: Tensor,
    values: Tensor,
    at: Tensor,
) -> Tensor:
    """Sum over w of counts[w] h(values[w] - at[x]) for every level x, [b, f + 1].

    All rows of values and at hold the same numbers and differ in their gradients alone, so h is
    evaluated on [f + 1, f + 1] and not on [b, f + 1, f + 1]; the linear terms have the value 0 and
    the exact gradient.

    Args:
        function, slope: h and its derivative, elementwise.
        counts: [b, f + 1]; values, at: v_neg or v_pos of score_tables.
    """
    levels = values[:1].detach().sum(0)  # of the first row, if there is one
    difference = levels[:, None] - levels
    h, dh = function(difference), slope(difference)
    return (
        fixed_order_mm(counts, h)
        + fixed_order_mm(counts * (values - values.detach()), dh)
        - fixed_order_mm(counts, dh) * (at - at.detach())
    )


def smooth_ranks(
    v_neg: Tensor,
    v_pos: Tensor,
    neg: Tensor,
    pos: Tensor,
    tau: float,
    exclude_positives: bool = True,
) -> Tensor:
    """Smooth rank of a positive at each level, [b, f + 1].

    rank(v) = 1 + sum_w neg[w] sigma((v_neg[w] - v) / tau), and with positives left in
    + sum_w pos[w] sigma((v_pos[w] - v) / tau) - 1/2 (the positive itself does not count).
    """

    def above(x: Tensor) -> Tensor:
        return torch.sigmoid(x / tau)

    def slope(x: Tensor) -> Tensor:
        return torch.sigmoid(x / tau) * torch.sigmoid(-x / tau) / tau

    ranks = 1 + sum_over_levels(above, slope, neg, v_neg, v_pos)
    if not exclude_positives:
        ranks = ranks + sum_over_levels(above, slope, pos, v_pos, v_pos) - 0.5
    return ranks


def mean_over_positives(x: Tensor, pos: Tensor, mean: Literal["users", "pairs"]) -> Tensor:
    """Mean of x [b, f + 1] over positives: over pairs, or over each user's and then over users."""
    total = (pos * x).sum(1)
    count = pos.sum(1)
    if mean == "pairs":
        return total.sum() / count.sum().clamp(min=1)
    return (total / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class SmoothRecallLoss(nn.Module):
    """Negative smooth recall, averaged over cutoffs.

    Linear: - sigma((N - rank) / tau_rank). Log: - sigma((log N - log rank) / tau_rank), whose
    gradient does not vanish for badly ranked positives.

    The poster prints the comparison inside the rank the other way round, which counts the items
    below the positive, and a K_phi of rank - N, which would have to fall; both are corrected here.
    It divides by the number of pairs; recall is a mean over users: `mean` offers both.

    Args:
        cutoffs: N, one or several.
        tau_score: temperature of the comparison of two scores; about f / 18 works.
        tau_rank: temperature of the comparison with N (in ranks if linear, in log ranks if log).
        rank: "log" or "linear".
        exclude_positives: leave the user's other positives out of the rank.
        mean: over "users" or "pairs".
    """

    def __init__(
        self,
        cutoffs: Sequence[int] = (50,),
        tau_score: float = 4.0,
        tau_rank: float = 1.0,
        rank: Literal["log", "linear"] = "log",
        exclude_positives: bool = True,
        mean: Literal["users", "pairs"] = "users",
    ) -> None:
        super().__init__()
        self.cutoffs, self.tau_score, self.tau_rank = tuple(cutoffs), tau_score, tau_rank
        self.rank, self.exclude_positives, self.mean = rank, exclude_positives, mean
        if not self.cutoffs or min(self.cutoffs) < 1:
            raise ValueError(f"expected cutoffs >= 1, at least one, got {list(cutoffs)}")

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives)
        if self.rank == "log":
            ranks = ranks.log()
        loss = ranks.new_zeros(())
        for cutoff in self.cutoffs:
            n = torch.log(ranks.new_tensor(cutoff)) if self.rank == "log" else cutoff
            recall = torch.sigmoid((n - ranks) / self.tau_rank)
            loss = loss - mean_over_positives(recall, pos, self.mean)
        return loss / len(self.cutoffs)


class SmoothNDCGLoss(nn.Module):
    """Negative smooth NDCG: - sum of pos / log2(1 + rank), over the ideal of min(cutoff, |pos|).

    Args:
        tau_score, exclude_positives: as in SmoothRecallLoss.
        cutoff: bounds the ideal alone; the sum is over all positives.
    """

    def __init__(
        self, tau_score: float = 4.0, cutoff: int = 100, exclude_positives: bool = True
    ) -> None:
        super().__init__()
        self.tau_score, self.cutoff, self.exclude_positives = tau_score, cutoff, exclude_positives

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives)
        gain = (pos / torch.log2(1 + ranks)).sum(1)
        places = torch.arange(self.cutoff + 1, dtype=gain.dtype, device=gain.device)
        ideal = torch.cumsum((places > 0) / torch.log2(places + 1).clamp(min=1), 0)
        count = pos.sum(1).clamp(max=self.cutoff).round().long()  # of shares it may be 2.9999
        return -(gain / ideal[count].clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class FullSoftmaxLoss(nn.Module):
    """Cross entropy of each positive against the whole catalogue, at a temperature.

    - mean of log(e^(v / t) / sum_w (neg[w] e^(v_neg[w] / t) + pos[w] e^(v_pos[w] / t)))

    Args:
        temperature: t, in units of the scores.
        mean: over "users" or "pairs".
    """

    def __init__(self, temperature: float, mean: Literal["users", "pairs"] = "users") -> None:
        super().__init__()
        self.temperature, self.mean = temperature, mean

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        values = torch.cat([v_neg, v_pos], 1) / self.temperature
        # Bounded, so that a padding row, which has no counts at all, gives no NaN.
        counts = torch.cat([neg, pos], 1).log().clamp(min=-1e30)
        total = torch.logsumexp(values + counts, 1, keepdim=True)
        return mean_over_positives(total - v_pos / self.temperature, pos, self.mean)


class AllPairsBPRLoss(nn.Module):
    """BPR over all pairs of a positive and a negative, no sampling.

    mean over a user's pairs of softplus((v_neg - v_pos) / t), then over users.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        t = self.temperature
        pairs = sum_over_levels(
            lambda x: softplus(x / t), lambda x: torch.sigmoid(x / t) / t, neg, v_neg, v_pos
        )
        return mean_over_positives(pairs / neg.sum(1, keepdim=True).clamp(min=1), pos, "users")
