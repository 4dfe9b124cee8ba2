"""Losses over the whole catalogue, on score tables.

Each takes v_neg, v_pos, neg, pos as `ops.score_tables` returns them, float32 or float64 [b, f + 1]
(`nn.real_score_tables`: [b, bins]), and returns a scalar, to be minimised; gradients flow through
the values to the codes. A row without positives counts nothing. Temperatures are positive, in units
of scores, which lie in [-f, f]; arguments that are not as they are described here are a ValueError.
Deterministic, for any number of threads. Cost O(b f^2), the softmax O(b f); memory O(b f + f^2).
"""

from __future__ import annotations

import math
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


def _check(mean: str = "users", **temperatures: float) -> None:
    if mean not in ("users", "pairs"):
        raise ValueError(f"expected mean users or pairs, got {mean!r}")
    for name, value in temperatures.items():
        if not value > 0:
            raise ValueError(f"expected {name} > 0, got {value}")


class SmoothRecallLoss(nn.Module):
    """Negative smooth recall, averaged over cutoffs N.

        rank_ui = 1 + sum over j != i of sigma((s_uj - s_ui) / tau_score)
        loss = - mean over u, i of sigma((log N - log rank_ui) / tau_rank)        rank="log"
        loss = - mean over u, i of sigma((N - rank_ui) / tau_rank)                rank="linear"

    The gradient of the first does not vanish for badly ranked positives; the second is the poster's
    (what it prints otherwise: docs/method.md).

    Args:
        cutoffs: N >= 1, one or several.
        tau_score: temperature of the comparison of two scores; about f / 18 works.
        tau_rank: temperature of the comparison with N, in log ranks or ranks.
        rank: "log" or "linear".
        exclude_positives: leave the user's other positives out of the rank.
        mean: over "users", of the mean over each user's positives, as Recall is; or over "pairs".
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
        if rank not in ("log", "linear"):
            raise ValueError(f"expected rank log or linear, got {rank!r}")
        _check(mean, tau_score=tau_score, tau_rank=tau_rank)

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        """The loss of a batch, 0-d."""
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives)
        if self.rank == "log":
            ranks = ranks.log()
        loss = ranks.new_zeros(())
        for cutoff in self.cutoffs:
            n = math.log(cutoff) if self.rank == "log" else cutoff
            recall = torch.sigmoid((n - ranks) / self.tau_rank)
            loss = loss - mean_over_positives(recall, pos, self.mean)
        return loss / len(self.cutoffs)


class SmoothNDCGLoss(nn.Module):
    """Negative smooth NDCG, mean over users.

        loss = - mean over u of sum over i of 1 / log2(1 + rank_ui) / ideal_u,
        ideal_u = sum over r <= min(cutoff, positives of u) of 1 / log2(1 + r)

    Args:
        tau_score: as in SmoothRecallLoss, whose smooth rank it is.
        cutoff: bounds the ideal alone; the sum is over all positives.
        exclude_positives: as in SmoothRecallLoss.
    """

    def __init__(
        self, tau_score: float = 4.0, cutoff: int = 100, exclude_positives: bool = True
    ) -> None:
        super().__init__()
        self.tau_score, self.cutoff, self.exclude_positives = tau_score, cutoff, exclude_positives
        if cutoff < 1:
            raise ValueError(f"expected cutoff >= 1, got {cutoff}")
        _check(tau_score=tau_score)

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        """The loss of a batch, 0-d."""
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives)
        gain = (pos / torch.log2(1 + ranks)).sum(1)
        places = torch.arange(self.cutoff + 1, dtype=gain.dtype, device=gain.device)
        ideal = torch.cumsum((places > 0) / torch.log2(places + 1).clamp(min=1), 0)
        count = pos.sum(1).clamp(max=self.cutoff).round().long()  # of shares it may be 2.9999
        return -(gain / ideal[count].clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class FullSoftmaxLoss(nn.Module):
    """Cross entropy of each positive against the whole catalogue, at a temperature.

        loss = - mean over u, i of log(e^(s_ui / t) / sum over all j of e^(s_uj / t))

    Args:
        temperature: t.
        mean: as in SmoothRecallLoss.
    """

    def __init__(self, temperature: float, mean: Literal["users", "pairs"] = "users") -> None:
        super().__init__()
        self.temperature, self.mean = temperature, mean
        _check(mean, temperature=temperature)

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        """The loss of a batch, 0-d."""
        values = torch.cat([v_neg, v_pos], 1) / self.temperature
        # Bounded, so that a padding row, which has no counts at all, gives no NaN.
        counts = torch.cat([neg, pos], 1).log().clamp(min=-1e30)
        total = torch.logsumexp(values + counts, 1, keepdim=True)
        return mean_over_positives(total - v_pos / self.temperature, pos, self.mean)


class AllPairsBPRLoss(nn.Module):
    """BPR over all pairs of a positive i and a negative j of a user, no sampling.

        loss = mean over u of the mean over i, j of softplus((s_uj - s_ui) / t)

    Args:
        temperature: t.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        _check(temperature=temperature)

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        """The loss of a batch, 0-d."""
        t = self.temperature
        pairs = sum_over_levels(
            lambda x: softplus(x / t), lambda x: torch.sigmoid(x / t) / t, neg, v_neg, v_pos
        )
        return mean_over_positives(pairs / neg.sum(1, keepdim=True).clamp(min=1), pos, "users")
