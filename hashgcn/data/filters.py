"""Which pairs stay: the first of each, and those of active users and items."""

from __future__ import annotations

import polars as pl


def first_of_each(pairs: pl.DataFrame) -> pl.DataFrame:
    """Every pair once, at its first place.

    Args:
        pairs: columns user, item and others.

    Deterministic; order is kept. Cost: O(pairs).
    """
    return pairs.unique(["user", "item"], keep="first", maintain_order=True)


def k_core(pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    """The largest part in which every user has k items and every item k users.

    Args:
        pairs: columns user, item and others, no pair twice.
        k: at least 0; 0 and 1 keep everything.

    Returns:
        The part, possibly empty: users and items with fewer are left out until none is left.

    Deterministic; order is kept. Cost: O(pairs) a round, and as many rounds as it takes.
    """
    if k < 2:
        return pairs
    enough = (pl.len().over("user") >= k) & (pl.len().over("item") >= k)
    while True:
        kept = pairs.filter(enough)
        if kept.height == pairs.height:
            return kept
        pairs = kept
