"""The weights of pairs, from those of their events."""

from __future__ import annotations

import numpy as np
import polars as pl


def of_pairs(
    events: pl.DataFrame, pairs: pl.DataFrame, ends: np.ndarray | int | None = None
) -> np.ndarray:
    """Combines the weights w_1, w_2, ... of the events of each pair.

        weight of a pair = max w (1 + log(sum w / max w))

    One event counts as its weight says; n equal ones count 1 + log n times as much, since the n-th
    repeat tells less than the first, and nobody has to choose a cap. If all weights are multiplied
    by a number, so are those of the pairs.

    Args:
        events: has int columns user and item, and float64 weight > 0, in the order of places.
        pairs: has columns user and item, and place, that of its first event; no pair occurs twice.
        ends: the place of the first event that does not count: for all, or int [users]; None for
            no end. The first event of a pair always counts.

    Returns:
        float64 [pairs]. Sums have a fixed order.

    Examples:
        >>> import polars as pl
        >>> events = pl.DataFrame(
        ...     {"user": [0, 0, 0, 1], "item": [5, 5, 6, 5], "weight": [2.0, 2.0, 3.0, 1.0]}
        ... )
        >>> pairs = pl.DataFrame({"user": [0, 0, 1], "item": [5, 6, 5], "place": [0, 2, 3]})
        >>> of_pairs(events, pairs).round(2).tolist()
        [3.39, 3.0, 1.0]
        >>> of_pairs(events, pairs, ends=1).tolist()
        [2.0, 3.0, 1.0]

    Note:
        Cost: O(events log events).
    """
    users, items = (events[kind].to_numpy().astype(np.int64) for kind in ("user", "item"))
    weight = events["weight"].to_numpy()
    wide = int(items.max()) + 1
    keys = users * wide + items
    order = np.argsort(keys, kind="stable")
    keys, weight = keys[order], weight[order]
    first = np.diff(keys, prepend=-1) != 0
    if ends is not None:
        end = ends if isinstance(ends, int) else ends[users[order]]
        counts = first | (order < end)
        keys, weight, first = keys[counts], weight[counts], first[counts]
    starts = np.flatnonzero(first)
    largest = np.maximum.reduceat(weight, starts)
    # Relative to the largest, so that no sum overflows.
    total = np.add.reduceat(weight / np.repeat(largest, np.diff(starts, append=len(keys))), starts)
    combined = largest * (1 + np.log(total))
    wanted = pairs["user"].to_numpy().astype(np.int64) * wide + pairs["item"].to_numpy()
    return combined[np.searchsorted(keys[starts], wanted)]


def ends(pairs: pl.DataFrame, chosen: np.ndarray, split: str | None) -> np.ndarray | int | None:
    """Where, in order of time, events cease to count in train, as of_pairs takes it.

    Args:
        pairs: all pairs, with columns user and place.
        chosen: bool [pairs], True for test.
        split: "last": the place of the user's test pair; "time": that of the first test pair of
            all; any other: None, as test pairs are not later than those of train.
    """
    if split not in ("last", "time"):
        return None
    users, places = pairs["user"].to_numpy(), pairs["place"].to_numpy().astype(np.int64)
    if split == "time":
        return int(places[chosen].min())
    found = np.full(int(users.max()) + 1, np.iinfo(np.int64).max)
    found[users[chosen]] = places[chosen]
    return found
