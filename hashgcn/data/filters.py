"""Filters of pairs: the first of each, users with too many items, and the k-core."""

from __future__ import annotations

import numpy as np
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


def without_larger(pairs: pl.DataFrame, most: int) -> pl.DataFrame:
    """Drops all pairs of users who have more than `most` items.

    Args:
        pairs: has a column user, and any others; no pair occurs twice.
        most: at least 1.

    Returns:
        The pairs that are left, in the given order.

    Examples:
        >>> import polars as pl
        >>> pairs = pl.DataFrame({"user": [0, 0, 1, 0], "item": [5, 6, 5, 7]})
        >>> without_larger(pairs, 2).rows()
        [(1, 5)]
    """
    return pairs.filter(pl.len().over("user") <= most)


def k_core(pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    """Keeps the largest set of pairs in which every user has k items and every item has k users.

    Users and items with fewer are removed until none is left, which may leave no pairs at all.

    Args:
        pairs: has columns user and item, rows from 0, and any others; no pair occurs twice.
        k: at least 0; 0 and 1 keep everything.

    Returns:
        The pairs of the core, in the given order.

    Examples:
        >>> import polars as pl
        >>> pairs = pl.DataFrame({"user": [0, 0, 1, 1, 2], "item": [5, 6, 5, 6, 7]})
        >>> k_core(pairs, 2).rows()
        [(0, 5), (0, 6), (1, 5), (1, 6)]

    Note:
        Cost: O(pairs + users + items).
    """
    if k < 2 or not pairs.height:
        return pairs
    from scipy.sparse import coo_array

    sides = [pairs[kind].to_numpy() for kind in ("user", "item")]
    matrix = coo_array((np.ones(pairs.height, np.int8), tuple(x.astype(np.int64) for x in sides)))
    # For users and for items: where the partners of each begin, and the partners.
    partners = [(x.indptr, x.indices) for x in (matrix.tocsr(), matrix.tocsc())]
    degrees = [np.diff(ptr).tolist() for ptr, _ in partners]
    waiting = [(side, at) for side in (0, 1) for at, x in enumerate(degrees[side]) if x < k]
    while waiting:
        side, at = waiting.pop()
        ptr, others = partners[side]
        left = degrees[1 - side]
        for other in others[ptr[at] : ptr[at + 1]].tolist():
            left[other] -= 1
            if left[other] == k - 1:
                waiting.append((1 - side, other))
    # Each pair lowers a degree once for either end, so those of the core are exact.
    enough = [np.array(x) >= k for x in degrees]
    return pairs.filter(enough[0][sides[0]] & enough[1][sides[1]])
