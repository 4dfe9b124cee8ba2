"""Full-ranking evaluation: every item ranked for every user, seen items left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions
from hashgcn.evaluate.rankings import HammingRanking, Ranking, rank
from hashgcn.graph import Candidates
from hashgcn.ops import score_tables, unpack_codes


def evaluate(
    ranking: Ranking,
    seen: Interactions | None,
    relevant: Interactions,
    cutoffs: Sequence[int],
    *,
    batch_users: int = 4096,
) -> dict[str, float]:
    """Recall and NDCG at the cutoffs, averaged over users that have relevant items.

    Ties are broken by item row. The same numbers for any batch size or thread count, and of codes
    on any device.

    Args:
        ranking, seen, batch_users: as in rank.
        relevant: the items that count (validation or test).
        cutoffs: K, one or several.

    Returns:
        {"recall@K": mean, "ndcg@K": mean, ...}, as metrics.evaluate_rankings.

    Raises:
        ValueError: as metrics.evaluate_rankings.
    """
    ids = rank(ranking, seen, max(cutoffs), batch_users=batch_users)
    return metrics.evaluate_rankings(ids, np.arange(len(ids)), relevant, cutoffs)


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
    train, test = (x.graph().to(device) for x in (data.train, data.test))
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


def evaluate_popularity(data: Dataset, cutoffs: Sequence[int]) -> dict[str, float]:
    """Test metrics of ranking by train popularity: equal codes for all, so that rows decide."""
    words = torch.zeros(data.train.num_users, 1, dtype=torch.int64)
    items = torch.zeros(data.train.num_items, 1, dtype=torch.int64)
    return evaluate(HammingRanking(words, items, 64), data.train, data.test, cutoffs)


@dataclass(frozen=True)
class Evaluation:
    """Test metrics of codes, and what else one has to know to judge them.

    Attributes:
        test: the metrics, by name.
        popularity: those of ranking by popularity, the same for all users.
        original_order: those with ties broken by raw item id instead of popularity.
        ties: by metric, its "expected" value under a random order of ties, its "lower" and its
            "upper" bound.
    """

    test: dict[str, float]
    popularity: dict[str, float]
    original_order: dict[str, float]
    ties: dict[str, dict[str, float]]


def evaluate_codes(
    ranking: HammingRanking, data: Dataset, cutoffs: Sequence[int], *, batch_users: int = 4096
) -> Evaluation:
    """Everything of Evaluation.

    Raises:
        ValueError: a data set without test pairs.
    """
    if not data.test.num_pairs:
        raise ValueError(f"data: expected test pairs to evaluate, got none in {data.name}")
    return Evaluation(
        evaluate(ranking, data.train, data.test, cutoffs, batch_users=batch_users),
        evaluate_popularity(data, cutoffs),
        evaluate_original_order(ranking, data, cutoffs, batch_users=batch_users),
        evaluate_ties(ranking, data, cutoffs),
    )
