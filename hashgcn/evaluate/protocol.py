"""Full-ranking evaluation: every item ranked for every user, seen items left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.ops import (
    fixed_order_mm,
    hamming_topk,
    pack_codes,
    score_tables,
    unpack_codes,
    weighted_hamming_topk,
)


class Ranking:
    """An order of all items for every user: best score first, then smaller row."""

    # Users ranked at a time are fewer than the caller asks for, where memory would not do.
    most_users: int | None = None

    @property
    def num_users(self) -> int:
        raise NotImplementedError

    @property
    def bytes_per_item(self) -> int:
        """What has to be kept of an item to rank it."""
        raise NotImplementedError

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        """The k best item rows of consecutive users, int64 [users, k], without the excluded rows.

        Args:
            users: rows.
            exclude_ptr, exclude_ids: as in ops.hamming_topk, on the CPU.

        Returns:
            -1 where there are fewer than k items.
        """
        raise NotImplementedError

    def with_items(self, order: Tensor) -> Ranking:
        """The same ranking over items in another order: row r is this one's row order[r]."""
        raise NotImplementedError


@dataclass(frozen=True)
class HammingRanking(Ranking):
    """By Hamming distance of codes.

    Args:
        users, items: packed codes, int64 [m or n, ceil(f / 64)], on one device.
        code_length: f.
    """

    users: Tensor
    items: Tensor
    code_length: int

    @property
    def num_users(self) -> int:
        return len(self.users)

    @property
    def bytes_per_item(self) -> int:
        return (self.code_length + 7) // 8

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        device = self.users.device
        _, ids = hamming_topk(
            self.users[users],
            self.items,
            k,
            code_length=self.code_length,
            exclude_ptr=exclude_ptr.to(device),
            exclude_ids=exclude_ids.to(device),
        )
        return ids

    def with_items(self, order: Tensor) -> HammingRanking:
        return replace(self, items=self.items[order.to(self.items.device)])


@dataclass(frozen=True)
class WeightedRanking(HammingRanking):
    """By a weighted sum of the inner products of segments, of which a row has several.

    Args:
        users, items, code_length: packed codes of all segments one after the other; their lengths
            are equal.
        scales: of users and items, float32 [m or n, segments].
    """

    scales: tuple[Tensor, Tensor]

    @property
    def bytes_per_item(self) -> int:
        scale = self.scales[1]
        return super().bytes_per_item + scale.shape[1] * scale.element_size()

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        device = self.users.device
        _, ids = weighted_hamming_topk(
            self._segments(self.users[users]),
            self._segments(self.items),
            self.scales[0][users],
            self.scales[1],
            k,
            code_length=self.code_length // self.scales[1].shape[1],
            exclude_ptr=exclude_ptr.to(device),
            exclude_ids=exclude_ids.to(device),
        )
        return ids

    def with_items(self, order: Tensor) -> WeightedRanking:
        order = order.to(self.items.device)
        scales = (self.scales[0], self.scales[1][order])
        return replace(self, items=self.items[order], scales=scales)

    def _segments(self, words: Tensor) -> Tensor:
        """int64 [rows, segments, words]."""
        count = self.scales[1].shape[1]
        codes = unpack_codes(words, self.code_length).view(len(words) * count, -1)
        return pack_codes(codes).view(len(words), count, -1)


@dataclass(frozen=True)
class RealRanking(Ranking):
    """By inner products of real-valued embeddings.

    Args:
        users, items: float32 [m or n, f], on one device.
    """

    users: Tensor
    items: Tensor
    most_users = 256

    @property
    def num_users(self) -> int:
        return len(self.users)

    @property
    def bytes_per_item(self) -> int:
        return self.items.shape[1] * self.items.element_size()

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        own = self.users[users]
        scores = own.new_empty(len(own), len(self.items))
        for start in range(0, len(self.items), 512):  # a tile that stays in cache
            tile = slice(start, start + 512)
            scores[:, tile] = fixed_order_mm(own, self.items[tile].T)
        rows = torch.repeat_interleave(torch.arange(len(scores)), exclude_ptr.diff())
        scores[rows.to(scores.device), exclude_ids.to(scores.device)] = -torch.inf
        kept = min(k + 1, scores.shape[1])
        values, ids = scores.topk(kept)
        # topk leaves the order of equal scores open, and which of them it returns last.
        tied = (values[:, 1:] == values[:, :-1]).any(1).nonzero()[:, 0]
        values[tied], ids[tied] = (
            x[:, :kept] for x in scores[tied].sort(descending=True, stable=True)
        )
        ids = ids.masked_fill(values == -torch.inf, -1)[:, :k]
        return torch.nn.functional.pad(ids, (0, k - ids.shape[1]), value=-1)

    def with_items(self, order: Tensor) -> RealRanking:
        return replace(self, items=self.items[order.to(self.items.device)])


@dataclass(frozen=True)
class RerankedRanking(Ranking):
    """The first `depth` items of one ranking, ordered by inner products of real-valued embeddings.

    Args:
        first: what retrieves.
        real: what orders the retrieved.
        depth: items retrieved, at least the k that is asked for.
    """

    first: Ranking
    real: RealRanking
    depth: int
    most_users = 256

    @property
    def num_users(self) -> int:
        return self.first.num_users

    @property
    def bytes_per_item(self) -> int:
        return self.first.bytes_per_item + self.real.bytes_per_item

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        if k > self.depth:
            raise ValueError(f"k: expected at most depth {self.depth}, got {k}")
        ids = self.first.topk(users, self.depth, exclude_ptr, exclude_ids).sort(1)[0]
        own = self.real.users[users]
        scores = (own[:, None] * self.real.items[ids.clamp(min=0)]).sum(2)
        scores = scores.masked_fill(ids < 0, -torch.inf)
        return ids.gather(1, scores.argsort(descending=True, stable=True)[:, :k])

    def with_items(self, order: Tensor) -> RerankedRanking:
        first, real = self.first.with_items(order), self.real.with_items(order)
        return replace(self, first=first, real=real)


def rank(
    ranking: Ranking, seen: Interactions | None, k: int, *, batch_users: int = 4096
) -> np.ndarray:
    """Each user's k best item rows, seen items left out.

    Args:
        ranking: what orders the items.
        seen: items of every user that are not ranked; None ranks all items.
        k: number of items, at least 1.
        batch_users: users ranked at a time; changes no result.

    Returns:
        int64 [m, k], best first, -1 where there are fewer.

    Deterministic, as the ranking is. Cost and memory: those of its topk for each batch.
    """
    m, size = ranking.num_users, min(batch_users, ranking.most_users or batch_users)
    ptr = np.zeros(m + 1, np.int64) if seen is None else seen.ptr
    seen_ids = np.zeros(0, np.int64) if seen is None else seen.ids
    ranked = np.empty((m, k), dtype=np.int64)
    for start in range(0, m, size):
        users = slice(start, min(start + size, m))
        own = ptr[users.start : users.stop + 1]
        ids = ranking.topk(
            users,
            k,
            torch.from_numpy(own - own[0]),
            torch.from_numpy(seen_ids[own[0] : own[-1]]),
        )
        ranked[users] = ids.cpu().numpy()
    return ranked


def evaluate(
    ranking: Ranking,
    seen: Interactions | None,
    relevant: Interactions,
    cutoffs: Sequence[int],
    *,
    batch_users: int = 4096,
    measures: Sequence[metrics.Measure] = (metrics.recall, metrics.ndcg),
    list_length: int | None = None,
) -> dict[str, float]:
    """Recall and NDCG at the cutoffs, averaged over users that have relevant items.

    Ties are broken by item row. The same numbers for any batch size or thread count, and of codes
    on any device.

    Args:
        ranking, seen, batch_users: as in rank.
        relevant: the items that count (validation or test).
        cutoffs: K, one or several.
        measures: see metrics.evaluate_rankings.
        list_length: items retrieved for a user, at least the largest cutoff, which is the default;
            metrics.ndcg_of_hits alone depends on it.

    Returns:
        {"recall@K": mean, "ndcg@K": mean, ...}, as metrics.evaluate_rankings.

    Raises:
        ValueError: as metrics.evaluate_rankings.
    """
    length = max(cutoffs) if list_length is None else list_length
    ids = rank(ranking, seen, length, batch_users=batch_users)
    return metrics.evaluate_rankings(ids, np.arange(len(ids)), relevant, cutoffs, measures)


def evaluate_original_order(
    ranking: Ranking, data: Dataset, cutoffs: Sequence[int], *, batch_users: int = 4096
) -> dict[str, float]:
    """Test metrics with ties broken by raw item id instead of popularity."""
    order = np.argsort(data.item_ids, kind="stable")
    renumbered = np.argsort(order)

    def renumber(part: Interactions) -> Interactions:
        return Interactions.from_pairs(
            part.users(), renumbered[part.ids], part.num_users, part.num_items
        )

    return evaluate(
        ranking.with_items(torch.from_numpy(order)),
        renumber(data.train),
        renumber(data.test),
        cutoffs,
        batch_users=batch_users,
    )


def evaluate_ties(
    ranking: HammingRanking, data: Dataset, cutoffs: Sequence[int], *, batch_users: int = 1024
) -> dict[str, dict[str, float]]:
    """Test metrics without an order among equal distances: expected value, lower and upper bound.

    From score tables alone: the counts of unseen items at each score, and of test items.

    Returns:
        {"recall@20": {"expected": ..., "lower": ..., "upper": ...}, ...}
    """
    device, length = ranking.users.device, ranking.code_length
    users = np.flatnonzero(data.test.degrees())
    item_codes = unpack_codes(ranking.items, length)
    train, test = (BipartiteGraph.from_interactions(x).to(device) for x in (data.train, data.test))
    parts: dict[str, list[metrics.Bounds]] = {}
    for start in range(0, len(users), batch_users):
        batch = torch.from_numpy(users[start : start + batch_users]).to(device)
        codes = unpack_codes(ranking.users[batch], length)
        unseen = score_tables(codes, item_codes, batch, train)[2]
        nothing = Candidates(batch.new_zeros(len(batch) + 1), batch.new_zeros(0))
        wanted = score_tables(codes, item_codes, batch, test, nothing)[3]
        for cutoff in cutoffs:
            bounds = metrics.tie_expected(unseen.cpu().numpy(), wanted.cpu().numpy(), cutoff)
            parts.setdefault(f"recall@{cutoff}", []).append(bounds.recall)
            parts.setdefault(f"ndcg@{cutoff}", []).append(bounds.ndcg)
    return {
        name: {
            field: float(np.concatenate([getattr(part, field) for part in of_batches]).mean())
            for field in metrics.Bounds._fields
        }
        for name, of_batches in parts.items()
    }


def popularity_ranking(data: Dataset, cutoffs: Sequence[int]) -> dict[str, float]:
    """Test metrics of ranking by train popularity: equal codes for all, so that rows decide."""
    words = torch.zeros(data.train.num_users, 1, dtype=torch.int64)
    items = torch.zeros(data.train.num_items, 1, dtype=torch.int64)
    return evaluate(HammingRanking(words, items, 64), data.train, data.test, cutoffs)
