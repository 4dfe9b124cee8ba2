"""Losses over the whole catalogue, computed from score tables.

Each loss takes v_neg, v_pos, neg and pos, float32 or float64 [b, bins], as `ops.score_tables` and
`nn.real_score_tables` return them, and returns a scalar to minimise. The number of bins does not
matter. If `neg` adds up weights of items instead of counting them, sums over negatives are weighted
sums, and means over negatives are weighted means. The gradients flow through v_neg and v_pos to the
codes. Rows without positives do not count. All temperatures are positive and in units of scores. An
argument out of range is a ValueError.

If positives have weights, `nn.weighted_positives` gives two more tables, v_own and own. Means over
positives are then weighted means; neither the rank of a positive nor what it is compared with
changes.

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

Results do not depend on the number of threads. Cost: O(b bins^2) with O(b bins + bins^2) memory,
and O(b bins) for FullSoftmaxLoss, BSLLoss and SLAtKLoss.
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
    """The sum over w of counts[w] h(values[w] - at[x]) for every level x, [b, bins].

    All rows of `values` and `at` hold the same numbers and differ only in their gradients. So h is
    evaluated on [bins, bins] instead of [b, bins, bins], and the gradient comes from two linear
    terms whose value is 0.

    Args:
        function: h, elementwise.
        slope: the derivative of h, elementwise.
        counts: [b, bins].
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
    at: Tensor | None = None,
) -> Tensor:
    """The smooth rank of a positive at each level, [b, bins].

        rank(v) = 1 + sum_w neg[w] sigma((v_neg[w] - v) / tau)

    Unless positives are excluded, sum_w pos[w] sigma((v_pos[w] - v) / tau) - 1/2 is added, where
    the 1/2 is the positive itself. The gradient of v goes to `at`, by default v_pos.
    """
    at = v_pos if at is None else at

    def above(x: Tensor) -> Tensor:
        return torch.sigmoid(x / tau)

    def slope(x: Tensor) -> Tensor:
        return torch.sigmoid(x / tau) * torch.sigmoid(-x / tau) / tau

    ranks = 1 + sum_over_levels(above, slope, neg, v_neg, at)
    if not exclude_positives:
        ranks = ranks + sum_over_levels(above, slope, pos, v_pos, at) - 0.5
    return ranks


def mean_over_positives(x: Tensor, pos: Tensor, mean: Literal["users", "pairs"]) -> Tensor:
    """The mean of x, [b, bins], over all positives, or over each user's and then over users.

    `pos` holds their numbers, or their weights.
    """
    total = (pos * x).sum(1)
    count = pos.sum(1)
    if mean == "pairs":
        return total.sum() / _or_one(count.sum())
    return (total / _or_one(count)).sum() / (count > 0).sum().clamp(min=1)


def _or_one(x: Tensor) -> Tensor:
    """x, and 1 where it is 0."""
    return torch.where(x > 0, x, 1)


def _own(
    v_pos: Tensor, pos: Tensor, v_own: Tensor | None, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The scores and weights of the positives; their numbers where they have no weights."""
    if v_own is None or own is None:
        return v_pos, pos
    return v_own, own


def softmax_terms(
    v_neg: Tensor,
    v_pos: Tensor,
    neg: Tensor,
    pos: Tensor,
    temperature: float,
    at: Tensor | None = None,
) -> Tensor:
    """-log of the softmax over all items, for a positive at each level, [b, bins].

    The gradient of the positive's own score goes to `at`, by default v_pos.
    """
    at = v_pos if at is None else at
    values = torch.cat([v_neg, v_pos], 1) / temperature
    return _log_sum(values, torch.cat([neg, pos], 1)) - at / temperature


def _log_sum(values: Tensor, counts: Tensor) -> Tensor:
    """log of the sum over w of counts[w] e^values[w], [b, 1]."""
    # The bound keeps a row whose counts are all 0, such as padding, from giving NaN.
    return torch.logsumexp(values + counts.log().clamp(min=-1e30), 1, keepdim=True)


def _log_mean(values: Tensor, counts: Tensor) -> Tensor:
    """log of the mean of e^values, each of them counted so often, [b, 1]; 0 where none is."""
    total = counts.sum(1, keepdim=True)
    some = total > 0
    return torch.where(some, _log_sum(values, counts) - torch.where(some, total, 1).log(), 0)


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

    def forward(
        self,
        v_neg: Tensor,
        v_pos: Tensor,
        neg: Tensor,
        pos: Tensor,
        v_own: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        at, own = _own(v_pos, pos, v_own, own)
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives, at)
        if self.rank == "log":
            ranks = ranks.log()
        loss = ranks.new_zeros(())
        for cutoff in self.cutoffs:
            n = math.log(cutoff) if self.rank == "log" else cutoff
            recall = torch.sigmoid((n - ranks) / self.tau_rank)
            loss = loss - mean_over_positives(recall, own, self.mean)
        return loss / len(self.cutoffs)


class SmoothNDCGLoss(nn.Module):
    """Negative smooth NDCG, averaged over users.

        loss = - mean over u of sum over i of 1 / log2(1 + rank_ui) / ideal_u,
        ideal_u = sum over r <= min(cutoff, positives of u) of 1 / log2(1 + r)

    The rank is that of SmoothRecallLoss.

    Args:
        tau_score: the temperature of the comparison of two scores.
        cutoff: limits the ideal only; the sum is over all positives. Their weights, if they have
            some, are scaled to a mean of 1 for each user.
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

    def forward(
        self,
        v_neg: Tensor,
        v_pos: Tensor,
        neg: Tensor,
        pos: Tensor,
        v_own: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        at, weights = _own(v_pos, pos, v_own, own)
        ranks = smooth_ranks(v_neg, v_pos, neg, pos, self.tau_score, self.exclude_positives, at)
        gain = (weights / torch.log2(1 + ranks)).sum(1)
        if own is not None:
            gain = gain * pos.sum(1) / _or_one(own.sum(1))
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

    def forward(
        self,
        v_neg: Tensor,
        v_pos: Tensor,
        neg: Tensor,
        pos: Tensor,
        v_own: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        at, own = _own(v_pos, pos, v_own, own)
        terms = softmax_terms(v_neg, v_pos, neg, pos, self.temperature, at)
        return mean_over_positives(terms, own, self.mean)


class BSLLoss(nn.Module):
    """Bilateral softmax loss: positives are pooled like negatives, at a temperature of their own.

        loss = mean over u of
               r log(mean over j of e^(s_uj / t2)) - log(mean over i of e^(s_ui / t1)),  r = t2 / t1

    where j runs over the negatives of u and i over its positives. The smaller t2, the more the
    hardest negatives count; the smaller t1, the more the best positives.

    Args:
        temperature: t1, of the positives.
        temperature_negative: t2, of the negatives; None for t1.
        ratio: r > 0; None for t2 / t1, as published. The released code sets r and has t1 = t2.
        pooled: whether a user's positives are pooled, as published; else each stands alone, and the
            last term is the mean over i of s_ui / t1, as in the released code for graph models.
        mean: "users", or "pairs", where a user counts as often as it has positives.

    Source: Wu et al., "BSL: Understanding and Improving Softmax Loss for Recommendation" (ICDE
    2024, arXiv 2312.12882).
    """

    def __init__(
        self,
        temperature: float,
        temperature_negative: float | None = None,
        ratio: float | None = None,
        pooled: bool = True,
        mean: Literal["users", "pairs"] = "users",
    ) -> None:
        super().__init__()
        self.temperature, self.pooled, self.mean = temperature, pooled, mean
        self.temperature_negative = (
            temperature if temperature_negative is None else temperature_negative
        )
        _check(mean, temperature=temperature, temperature_negative=self.temperature_negative)
        self.ratio = self.temperature_negative / temperature if ratio is None else ratio
        _check(ratio=self.ratio)

    def forward(
        self,
        v_neg: Tensor,
        v_pos: Tensor,
        neg: Tensor,
        pos: Tensor,
        v_own: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        at, own = _own(v_pos, pos, v_own, own)
        positive = at / self.temperature
        if self.pooled:
            positive = _log_mean(positive, own)
        negative = _log_mean(v_neg / self.temperature_negative, neg)
        return mean_over_positives(self.ratio * negative - positive, own, self.mean)


class SLAtKLoss(nn.Module):
    """Softmax loss at K: a positive counts more, the further its score is above the K-th best.

        loss = mean over u, i of
               sigma((s_ui - beta_u) / tau) log(sum over all j of e^((s_uj - s_ui) / t))

    beta_u is the score of the user's K-th best item, own items included, or of the last one if
    there are fewer than K. It is a constant for the gradient, which reaches s_ui through both
    factors. The released code takes beta_u from sampled items, anew every few epochs.

    Args:
        temperature: t, of the softmax.
        tau_weight: tau, of the weights.
        cutoff: K >= 1; a number of items, or their total weight if `neg` adds up weights.
        mean: "users" or "pairs", see SmoothRecallLoss.

    Source: Yang et al., "Breaking the Top-K Barrier: Advancing Top-K Ranking Metrics Optimization
    in Recommender Systems" (KDD 2025, arXiv 2508.05673).
    """

    def __init__(
        self,
        temperature: float,
        tau_weight: float,
        cutoff: int = 20,
        mean: Literal["users", "pairs"] = "users",
    ) -> None:
        super().__init__()
        self.temperature, self.tau_weight = temperature, tau_weight
        self.cutoff, self.mean = cutoff, mean
        if cutoff < 1:
            raise ValueError(f"cutoff: expected a number >= 1, got {cutoff}")
        _check(mean, temperature=temperature, tau_weight=tau_weight)

    def forward(
        self,
        v_neg: Tensor,
        v_pos: Tensor,
        neg: Tensor,
        pos: Tensor,
        v_own: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        at, own = _own(v_pos, pos, v_own, own)
        # In float64, which adds the shares of nn.real_score_tables without rounding.
        at_least = (neg.double() + pos.double()).flip(1).cumsum(1).flip(1)
        wanted = at_least[:, :1].clamp(max=self.cutoff)
        level = (at_least >= wanted).sum(1, keepdim=True) - 1
        beta = v_pos.detach().gather(1, level)
        weight = torch.sigmoid((at - beta) / self.tau_weight)
        terms = softmax_terms(v_neg, v_pos, neg, pos, self.temperature, at)
        return mean_over_positives(weight * terms, own, self.mean)


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

    def forward(
        self,
        v_neg: Tensor,
        v_pos: Tensor,
        neg: Tensor,
        pos: Tensor,
        v_own: Tensor | None = None,
        own: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        t = self.temperature
        at, own = _own(v_pos, pos, v_own, own)
        pairs = sum_over_levels(
            lambda x: softplus(x / t), lambda x: torch.sigmoid(x / t) / t, neg, v_neg, at
        )
        total = neg.sum(1, keepdim=True)
        return mean_over_positives(pairs / _or_one(total), own, "users")


class Mixture(nn.Module):
    """A weighted sum of losses on the same tables.

        loss = sum of weight * part

    Args:
        parts: one or more pairs of a finite weight >= 0 and a loss of this module, or any other
            torch module that takes the tables.

    Example:
        >>> from hashgcn.nn import FullSoftmaxLoss, SmoothRecallLoss
        >>> loss = Mixture([(1.0, SmoothRecallLoss((50,))), (0.1, FullSoftmaxLoss(4.0))])
    """

    def __init__(self, parts: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in parts]
        self.losses = nn.ModuleList(loss for _, loss in parts)
        if not self.weights or not all(0 <= weight < math.inf for weight in self.weights):
            raise ValueError(
                f"parts: expected one or more with finite weights >= 0, got weights {self.weights}"
            )

    def forward(
        self, v_neg: Tensor, v_pos: Tensor, neg: Tensor, pos: Tensor, *own: Tensor
    ) -> Tensor:
        """The loss of a batch, 0-d."""
        loss = v_neg.new_zeros(())
        for weight, part in zip(self.weights, self.losses, strict=True):
            loss = loss + weight * part(v_neg, v_pos, neg, pos, *own)
        return loss
