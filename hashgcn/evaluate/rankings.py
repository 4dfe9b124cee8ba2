"""Orders of all items for every user: by codes, or by real-valued embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hashgcn.data import Interactions
from hashgcn.data.cold import ColdRule
from hashgcn.levels import levels_of
from hashgcn.ops import fixed_order_mm, hamming_topk


class Ranking:
    """An order of all items for every user: best score first, then smaller row."""

    # Bound of the users that are ranked at a time, where memory would not do for more.
    most_users: int | None = None

    @property
    def num_users(self) -> int:
        raise NotImplementedError

    @property
    def bytes_per_item(self) -> int:
        """Bytes that have to be kept per item to rank it."""
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
    """By Hamming distance of codes; of graded users, by the sum of those of their bit planes.

    Plane p of a graded user counts 2^p times, so that the order is that of the scores.

    Args:
        users: packed codes, int64 [m, ceil(f / 64)]; or [m, P, ceil(f / 64)], the bit planes of
            graded codes (see ops.pack_levels).
        items: packed codes, int64 [n, ceil(f / 64)], on the same device.
        code_length: f.
    """

    users: Tensor
    items: Tensor
    code_length: int

    @property
    def num_users(self) -> int:
        return len(self.users)

    @property
    def levels(self) -> int:
        """L: users have weights ±1, ±3, ..., ±(2L - 1); 1 for plain codes."""
        return levels_of(self.users.shape[1]) if self.users.dim() == 3 else 1

    @property
    def bytes_per_item(self) -> int:
        return (self.code_length + 7) // 8

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        device = self.users.device
        return hamming_topk(
            self.users[users],
            self.items,
            k,
            code_length=self.code_length,
            exclude_ptr=exclude_ptr.to(device),
            exclude_ids=exclude_ids.to(device),
        ).ids

    def with_items(self, order: Tensor) -> HammingRanking:
        return replace(self, items=self.items[order.to(self.items.device)])


def best_of(scores: Tensor, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
    """The k columns with the best scores of each row, as Ranking.topk; `scores` are overwritten."""
    rows = torch.repeat_interleave(torch.arange(len(scores)), exclude_ptr.diff())
    scores[rows.to(scores.device), exclude_ids.to(scores.device)] = -torch.inf
    kept = min(k + 1, scores.shape[1])
    values, ids = scores.topk(kept)
    # topk leaves the order of equal scores open, and which of them it returns last.
    tied = (values[:, 1:] == values[:, :-1]).any(1).nonzero()[:, 0]
    values[tied], ids[tied] = (x[:, :kept] for x in scores[tied].sort(descending=True, stable=True))
    ids = ids.masked_fill(values == -torch.inf, -1)[:, :k]
    return torch.nn.functional.pad(ids, (0, k - ids.shape[1]), value=-1)


@dataclass(frozen=True)
class RealRanking(Ranking):
    """By inner products of real-valued embeddings.

    Args:
        users, items: float32 [m or n, f], on one device; as items, too, the signs of codes that
            ops.unpack_codes gives.
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
        return best_of(scores, k, exclude_ptr, exclude_ids)

    def with_items(self, order: Tensor) -> RealRanking:
        return replace(self, items=self.items[order.to(self.items.device)])


def rank(
    ranking: Ranking, seen: Interactions | None, k: int, *, batch_users: int = 4096
) -> np.ndarray:
    """Each user's k best item rows, seen items left out.

    Users and items without pairs in `seen` are cold, whatever the ranking says of them: such users
    get the most popular items, and such items are not ranked (see data.cold).

    Args:
        ranking: what orders the items.
        seen: items of every user that are not ranked, those of train; None ranks all items, and
            then nobody is cold.
        k: number of items, at least 1.
        batch_users: users ranked at a time; changes no result.

    Returns:
        int64 [m, k], best first, -1 where there are fewer.

    Raises:
        ValueError: `seen` has other users than the ranking.

    Deterministic, as the ranking is. Cost and memory: those of its topk for each batch.
    """
    m, size = ranking.num_users, min(batch_users, ranking.most_users or batch_users)
    kept = None
    if seen is None:
        ptr, seen_ids = np.zeros(m + 1, np.int64), np.zeros(0, np.int64)
    else:
        if seen.num_users != m:
            raise ValueError(f"seen: expected {m} users, as in ranking, got {seen.num_users}")
        rule, ptr, seen_ids = ColdRule(seen), seen.ptr, seen.ids
        if rule.items.any():
            kept = np.flatnonzero(~rule.items)
            ranking = ranking.with_items(torch.from_numpy(kept))
            seen_ids = (np.cumsum(~rule.items) - 1)[seen_ids]
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
    if kept is not None:
        ranked = np.append(kept, -1)[ranked]  # -1 stays
    if seen is not None and rule.users.any():
        cold = np.flatnonzero(rule.users)
        ranked[cold] = rule.popular(k, seen.of_users(cold), ~rule.items)[0]
    return ranked
