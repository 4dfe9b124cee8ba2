"""Filters of pairs: the first occurrence of each, and the k-core."""

from __future__ import annotations

import polars as pl


def first_of_each(pairs: pl.DataFrame) -> pl.DataFrame:
    """Keeps the first row of every pair of a user and an item, in the given order.

    Args:
        pairs: has columns user and item, and any others.

    Examples:
        >>> import polars as pl
        >>> pairs = pl.DataFrame({"user": [0, 1, 0], "item": [5, 5, 5], "time": [1, 2, 3]})
        >>> first_of_each(pairs)["time"].to_list()
        [1, 2]
    """
    return pairs.unique(["user", "item"], keep="first", maintain_order=True)


def k_core(pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    """Keeps the largest set of pairs in which every user has k items and every item has k users.

    Users and items with fewer are removed until none is left, which may leave no pairs at all.

    Args:
        pairs: has columns user and item, and any others; no pair occurs twice.
        k: at least 0; 0 and 1 keep everything.

    Returns:
        The pairs of the core, in the given order.

    Examples:
        >>> import polars as pl
        >>> pairs = pl.DataFrame({"user": [0, 0, 1, 1, 2], "item": [5, 6, 5, 6, 7]})
        >>> k_core(pairs, 2).rows()
        [(0, 5), (0, 6), (1, 5), (1, 6)]

    Note:
        Cost: O(pairs) per round, for as many rounds as it takes.
    """
    if k < 2:
        return pairs
    enough = (pl.len().over("user") >= k) & (pl.len().over("item") >= k)
    while True:
        kept = pairs.filter(enough)
        if kept.height == pairs.height:
            return kept
        pairs = kept
