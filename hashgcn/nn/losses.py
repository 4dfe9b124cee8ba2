"""Losses over the whole catalogue, computed from score tables.

Each loss takes v_neg, v_pos, neg and pos, float32 or float64 [b, f + 1], as `ops.score_tables`
returns them (or [b, bins], from `nn.real_score_tables`), and returns a scalar to minimise. The
gradients flow through v_neg and v_pos to the codes. Rows without positives do not count. All
temperatures are positive and in units of scores, which lie in [-f, f]. An argument out of range is
a ValueError.

    >>> import torch
    >>> from hashgcn.graph import BipartiteGraph
    >>> from hashgcn.nn import FullSoftmaxLoss, SmoothRecallLoss
    >>> from hashgcn.ops import score_tables
    >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 1]), torch.tensor([0]), 3)
    >>> user_codes = torch.tensor([[1.0, 1.0]])
    >>> item_codes = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])  # the user has the first
    >>> tables = score_tables(user_codes, item_codes, torch.tensor([0]), graph)
    >>> round(SmoothRecallLoss((1,), tau_score=0.1)(*tables).item(), 4)  # rank 1 for a cutoff of 1
    -0.5
    >>> round(FullSoftmaxLoss(0.1)(*tables).item(), 4)
    0.0

Results do not depend on the number of threads. Cost: O(b f^2), for the softmax O(b f). Memory:
O(b f + f^2).
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
    """The sum over w of counts[w] h(values[w] - at[x]) for every level x, [b, f + 1].

    All rows of `values` and `at` hold the same numbers and differ only in their gradients. So h is
    evaluated on [f + 1, f + 1] instead of [b, f + 1, f + 1], and the gradient comes from two linear
    terms whose value is 0.

    Args:
        function: h, elementwise.
        slope: the derivative of h, elementwise.
        counts: [b, f + 1].
        values: v_neg or v_pos of score_tables.
        at: v_neg or v_pos of score_tables.
    """
    levels = values[:1].detach().sum(0)  # the first row, or zeros in an empty batch
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
    """The smooth rank of a positive at each level, [b, f + 1].

        rank(v) = 1 + sum_w neg[w] sigma((v_neg[w] - v) / tau)

    Unless positives are excluded, sum_w pos[w] sigma((v_pos[w] - v) / tau) - 1/2 is added, where
    the 1/2 is the positive itself.
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
    """The mean of x, [b, f + 1], over all positives, or over each user's and then over users."""
    total = (pos * x).sum(1)
    count = pos.sum(1)
    if mean == "pairs":
        return total.sum() / count.sum().clamp(min=1)
    return (total / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def _check(mean: str = "users", **temperatures: float) -> None:
    if mean not in ("users", "pairs"):
        raise ValueError(f"mean: expected users or pairs, got {mean!r}")
    for name, value in temperatures.items():
        if not value > 0:
            raise ValueError(f"{name}: expected a positive number, got {value}")


class SmoothRecallLoss(nn.Module):
    """Negative smooth recall, averaged over the cutoffs N.

        rank_ui = 1 + sum over j != i of sigma((s_uj - s_ui) / tau_score)
        loss = - mean over u, i of sigma((log N - log rank_ui) / tau_rank)        rank="log"
        loss = - mean over u, i of sigma((N - rank_ui) / tau_rank)                rank="linear"

    With rank="log", the gradient does not vanish for badly ranked positives. rank="linear" is the
    form of the paper (see "Differences from the paper's text" in docs/method.md).

    Args:
        cutoffs: one or more N >= 1.
        tau_score: the temperature of the comparison of two scores; about f / 18 works.
        tau_rank: the temperature of the comparison with N, in units of log ranks or ranks.
        rank: "log" or "linear".
        exclude_positives: whether the user's other positives are left out of the rank.
        mean: "users" averages over each user's positives and then over users, as recall does;
            "pairs" averages over all positives.
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
            raise ValueError(f"cutoffs: expected one or more numbers >= 1, got {list(cutoffs)}")
        if rank not in ("log", "linear"):
            raise ValueError(f"rank: expected log or linear, got {rank!r}")
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
    """Negative smooth NDCG, averaged over users.

        loss = - mean over u of sum over i of 1 / log2(1 + rank_ui) / ideal_u,
        ideal_u = sum over r <= min(cutoff, positives of u) of 1 / log2(1 + r)

    The rank is that of SmoothRecallLoss.

    Args:
        tau_score: the temperature of the comparison of two scores.
        cutoff: limits the ideal only; the sum is over all positives.
        exclude_positives: whether the user's other positives are left out of the rank.
    """

    def __init__(
        self, tau_score: float = 4.0, cutoff: int = 100, exclude_positives: bool = True
    ) -> None:
        super().__init__()
        self.tau_score, self.cutoff, self.exclude_positives = tau_score, cutoff, exclude_positives
        if cutoff < 1:
            raise ValueError(f"cutoff: expected a number >= 1, got {cutoff}")
        _check(tau_score=tau_score)

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        """The loss of a batch, 0-d."""
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives)
        gain = (pos / torch.log2(1 + ranks)).sum(1)
        places = torch.arange(self.cutoff + 1, dtype=gain.dtype, device=gain.device)
        ideal = torch.cumsum((places > 0) / torch.log2(places + 1).clamp(min=1), 0)
        count = pos.sum(1).clamp(max=self.cutoff).round().long()  # shares may add up to 2.9999
        return -(gain / ideal[count].clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class FullSoftmaxLoss(nn.Module):
    """Softmax cross entropy of each positive against the whole catalogue.

        loss = - mean over u, i of log(e^(s_ui / t) / sum over all j of e^(s_uj / t))

    Args:
        temperature: t.
        mean: "users" or "pairs", see SmoothRecallLoss.
    """

    def __init__(self, temperature: float, mean: Literal["users", "pairs"] = "users") -> None:
        super().__init__()
        self.temperature, self.mean = temperature, mean
        _check(mean, temperature=temperature)

    def forward(self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor) -> Tensor:
        """The loss of a batch, 0-d."""
        values = torch.cat([v_neg, v_pos], 1) / self.temperature
        # The bound keeps a padding row, whose counts are all 0, from giving NaN.
        counts = torch.cat([neg, pos], 1).log().clamp(min=-1e30)
        total = torch.logsumexp(values + counts, 1, keepdim=True)
        return mean_over_positives(total - v_pos / self.temperature, pos, self.mean)


class AllPairsBPRLoss(nn.Module):
    """BPR over all pairs of a positive i and a negative j of each user, without sampling.

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
