"""Full-ranking evaluation: every item ranked for every user, seen items left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions
from hashgcn.data.cold import ColdRule, count_cold
from hashgcn.evaluate.rankings import HammingRanking, Ranking, rank
from hashgcn.graph import Candidates
from hashgcn.ops import score_tables, unpack_codes, unpack_levels


def evaluate(
    ranking: Ranking,
    seen: Interactions | None,
    relevant: Interactions,
    cutoffs: Sequence[int],
    *,
    batch_users: int = 4096,
) -> dict[str, float]:
    """Recall and NDCG at the cutoffs, averaged over users that have relevant items.

    Ties are broken by item row. Cold users count: they get the most popular items, as rank says. A
    relevant item that is cold counts as one that is not found. The same numbers for any batch size
    or thread count, and of codes on any device.

    Args:
        ranking, seen, batch_users: as in rank.
        relevant: the items that count (validation or test).
        cutoffs: K, one or several.

    Returns:
        {"recall@K": mean, "ndcg@K": mean, ...}, as metrics.evaluate_rankings.

    Raises:
        ValueError: no cutoffs, or one that is no integer >= 1; `relevant` has other users than the
            ranking or other items than `seen`; as rank and metrics.evaluate_rankings.
    """
    cutoffs = _checked(cutoffs)
    shape = (ranking.num_users, relevant.num_items if seen is None else seen.num_items)
    if (relevant.num_users, relevant.num_items) != shape:
        raise ValueError(
            f"relevant: expected {shape[0]} users and {shape[1]} items, as in ranking and seen, "
            f"got {relevant.num_users} and {relevant.num_items}"
        )
    ids = rank(ranking, seen, max(cutoffs), batch_users=batch_users)
    return metrics.evaluate_rankings(ids, np.arange(len(ids)), relevant, cutoffs)


def evaluate_original_order(
    ranking: Ranking, data: Dataset, cutoffs: Sequence[int], *, batch_users: int = 4096
) -> dict[str, float]:
    """Test metrics with ties broken by raw item id instead of popularity."""
    order = np.argsort(data.item_ids, kind="stable")
    return evaluate(
        ranking.with_items(torch.from_numpy(order)),
        _renumbered(data.train, order),
        _renumbered(data.test, order),
        cutoffs,
        batch_users=batch_users,
    )


def evaluate_ties(
    ranking: HammingRanking, data: Dataset, cutoffs: Sequence[int], *, batch_users: int = 1024
) -> dict[str, dict[str, float]]:
    """Test metrics without an order among equal distances: expected value, lower and upper bound.

    From score tables alone: the counts of unseen items at each score, and of test items. The scores
    of cold users are the numbers of users of the items, those that the rule for them ranks by.

    Returns:
        {"recall@20": {"expected": ..., "lower": ..., "upper": ...}, ...}
    """
    cutoffs, rule = _checked(cutoffs), ColdRule(data.train)
    ranked = np.flatnonzero(~rule.items)
    train, test = (_without_cold(part, rule) for part in (data.train, data.test))
    unranked = data.test.degrees() - test.degrees()
    parts: dict[str, list[metrics.Bounds]] = {}

    def count(users: np.ndarray, unseen: np.ndarray, wanted: np.ndarray) -> None:
        for cutoff in cutoffs:
            bounds = metrics.tie_expected(unseen, wanted, cutoff, unranked=unranked[users])
            parts.setdefault(f"recall@{cutoff}", []).append(bounds.recall)
            parts.setdefault(f"ndcg@{cutoff}", []).append(bounds.ndcg)

    device, length, levels = ranking.users.device, ranking.code_length, ranking.levels
    item_codes = unpack_codes(ranking.items[torch.from_numpy(ranked).to(device)], length)
    train_graph, test_graph = (x.graph().to(device) for x in (train, test))
    known = np.flatnonzero((data.test.degrees() > 0) & ~rule.users)
    for start in range(0, len(known), batch_users):
        users = known[start : start + batch_users]
        batch = torch.from_numpy(users).to(device)
        codes = unpack_levels(ranking.users[batch], length)
        unseen = score_tables(codes, item_codes, batch, train_graph, levels=levels)[2]
        nothing = Candidates(batch.new_zeros(len(batch) + 1), batch.new_zeros(0))
        wanted = score_tables(codes, item_codes, batch, test_graph, nothing, levels=levels)[3]
        count(users, unseen.cpu().numpy(), wanted.cpu().numpy())
    cold = np.flatnonzero((data.test.degrees() > 0) & rule.users)
    values, level = np.unique(rule.popularity[ranked], return_inverse=True)
    bars = max(len(values), 1)
    tied = np.bincount(level, minlength=bars)
    for start in range(0, len(cold), batch_users):
        users = cold[start : start + batch_users]
        own = test.of_users(users)
        at = own.users() * bars + level[own.ids]
        table = np.bincount(at, minlength=len(users) * bars).reshape(len(users), bars)
        count(users, np.broadcast_to(tied, table.shape), table)
    return {
        name: {
            field: float(np.concatenate([getattr(part, field) for part in of_batches]).mean())
            for field in metrics.Bounds._fields
        }
        for name, of_batches in parts.items()
    }


def evaluate_popularity(data: Dataset, cutoffs: Sequence[int]) -> dict[str, float]:
    """Test metrics of ranking by train popularity, ties by row, the same for all users."""
    order = ColdRule(data.train).order
    users, items = (
        torch.zeros(count, 1, dtype=torch.int64)
        for count in (data.train.num_users, data.train.num_items)
    )
    # Equal codes for all: rows decide, here in the order of popularity.
    train, test = (_renumbered(part, order) for part in (data.train, data.test))
    return evaluate(HammingRanking(users, items, 64), train, test, cutoffs)


def _checked(cutoffs: Sequence[int]) -> tuple[int, ...]:
    found = tuple(cutoffs)
    wrong = [x for x in found if isinstance(x, bool) or not isinstance(x, Integral) or x < 1]
    if not found or wrong:
        raise ValueError(
            f"cutoffs: expected integers >= 1, got {repr(wrong[0]) if wrong else 'none'}"
        )
    return found


def _renumbered(part: Interactions, order: np.ndarray) -> Interactions:
    """The same pairs over items in another order: row r is item order[r]."""
    rows = np.argsort(order)[part.ids]
    return Interactions.from_pairs(part.users(), rows, part.num_users, part.num_items)


def _without_cold(part: Interactions, rule: ColdRule) -> Interactions:
    """The pairs with items that are not cold, over these items alone."""
    left = part.where(~rule.items[part.ids])
    rows = np.cumsum(~rule.items) - 1
    return Interactions(left.ptr, rows[left.ids], int(np.count_nonzero(~rule.items)))


@dataclass(frozen=True)
class Evaluation:
    """Test metrics of codes, and what else one has to know to judge them.

    Attributes:
        test: the metrics, by name.
        popularity: those of ranking by popularity, the same for all users.
        original_order: those with ties broken by raw item id instead of popularity.
        ties: by metric, its "expected" value under a random order of ties, its "lower" and its
            "upper" bound.
        cold_test_users: number of users with test items and none in train, who count in all
            metrics: they get the most popular items.
        cold_test_items: number of items with test users and none in train, which are never found.
    """

    test: dict[str, float]
    popularity: dict[str, float]
    original_order: dict[str, float]
    ties: dict[str, dict[str, float]]
    cold_test_users: int = 0
    cold_test_items: int = 0


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
        *count_cold(data.train, data.test),
    )
