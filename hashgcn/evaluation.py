"""Full-ranking evaluation of codes: every item ranked for every user, seen items left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.ops import hamming_topk, score_tables, unpack_codes


def rank(
    user_words: Tensor,
    item_words: Tensor,
    code_length: int,
    seen: Interactions,
    k: int,
    *,
    batch_users: int = 4096,
) -> np.ndarray:
    """Each user's k best item rows, int64 [m, k], seen items left out; -1 where there are fewer.

    Args:
        user_words, item_words: packed codes, int64 [m or n, ceil(f / 64)], on one device.
        code_length: f.
        seen: items of every user that are not ranked.
        batch_users: users ranked at a time; changes no result.
    """
    device = user_words.device
    ranked = np.empty((len(user_words), k), dtype=np.int64)
    for start in range(0, len(user_words), batch_users):
        users = slice(start, min(start + batch_users, len(user_words)))
        ptr = seen.ptr[users.start : users.stop + 1]
        _, ids = hamming_topk(
            user_words[users],
            item_words,
            k,
            code_length=code_length,
            exclude_ptr=torch.from_numpy(ptr - ptr[0]).to(device),
            exclude_ids=torch.from_numpy(seen.ids[ptr[0] : ptr[-1]]).to(device),
        )
        ranked[users] = ids.cpu().numpy()
    return ranked


def evaluate(
    user_words: Tensor,
    item_words: Tensor,
    code_length: int,
    seen: Interactions,
    relevant: Interactions,
    cutoffs: Sequence[int],
    *,
    batch_users: int = 4096,
) -> dict[str, float]:
    """Recall and NDCG at the cutoffs, averaged over users that have relevant items.

    Ties are broken by item row. The same numbers for any batch size, thread count or device.

    Args:
        user_words, item_words, code_length, seen, batch_users: as in rank.
        relevant: the items that count (validation or test).
        cutoffs: K, one or several.
    """
    ids = rank(user_words, item_words, code_length, seen, max(cutoffs), batch_users=batch_users)
    return metrics.evaluate_rankings(ids, np.arange(len(ids)), relevant, cutoffs)


def evaluate_original_order(
    user_words: Tensor,
    item_words: Tensor,
    code_length: int,
    data: Dataset,
    cutoffs: Sequence[int],
    *,
    batch_users: int = 4096,
) -> dict[str, float]:
    """Test metrics with ties broken by raw item id instead of popularity."""
    order = np.argsort(data.item_ids, kind="stable")
    renumbered = np.argsort(order)

    def renumber(part: Interactions) -> Interactions:
        return Interactions.from_pairs(
            part.users(), renumbered[part.ids], part.num_users, part.num_items
        )

    return evaluate(
        user_words,
        item_words[torch.from_numpy(order).to(item_words.device)],
        code_length,
        renumber(data.train),
        renumber(data.test),
        cutoffs,
        batch_users=batch_users,
    )


def evaluate_ties(
    user_words: Tensor,
    item_words: Tensor,
    code_length: int,
    data: Dataset,
    cutoffs: Sequence[int],
    *,
    batch_users: int = 1024,
) -> dict[str, dict[str, float]]:
    """Test metrics without an order among equal distances: expected value, lower and upper bound.

    From score tables alone: the counts of unseen items at each score, and of test items.

    Returns:
        {"recall@20": {"expected": ..., "lower": ..., "upper": ...}, ...}
    """
    device = user_words.device
    users = np.flatnonzero(data.test.degrees())
    item_codes = unpack_codes(item_words, code_length)
    train, test = (BipartiteGraph.from_interactions(x).to(device) for x in (data.train, data.test))
    parts: dict[str, list[metrics.Bounds]] = {}
    for start in range(0, len(users), batch_users):
        batch = torch.from_numpy(users[start : start + batch_users]).to(device)
        codes = unpack_codes(user_words[batch], code_length)
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
    return evaluate(words, items, 64, data.train, data.test, cutoffs)
