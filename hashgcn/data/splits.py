"""Which pairs are for test: a random part of each user's, the last of each, or the latest."""

from __future__ import annotations

import numpy as np
import polars as pl

from hashgcn.data.interactions import Interactions


def random_of_each(pairs: pl.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """A random fraction of each user's pairs, bool [pairs]; see Interactions.split.

    Args:
        pairs: int columns user, item, no pair twice.
        fraction: in [0, 1).
        seed: in [0, 2^64).

    Deterministic on every machine. Cost: O(pairs log pairs).
    """
    users, items = pairs["user"].to_numpy(), pairs["item"].to_numpy()
    counts = (int(users.max()) + 1, int(items.max()) + 1) if len(users) else (0, 0)
    _, held = Interactions.from_pairs(users, items, *counts, in_time=True).split(fraction, seed)
    chosen = np.zeros(len(users), dtype=bool)
    chosen[held.order] = True
    return chosen


def last_of_each(pairs: pl.DataFrame) -> np.ndarray:
    """The last pair of every user that has two or more, bool [pairs].

    Args:
        pairs: column user, in order of time.

    Deterministic. Cost: O(pairs).
    """
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("user")
    last = (place > 0) & (place == pl.len().over("user").cast(pl.Int64) - 1)
    return pairs.select(last.alias("last"))["last"].to_numpy()


def latest(pairs: pl.DataFrame, fraction: float) -> np.ndarray:
    """The latest fraction of all pairs, bool [pairs]; pairs of one time are never parted.

    Args:
        pairs: column time, in order of time.
        fraction: in (0, 1); the share is larger where many pairs are of the time of the cut.

    Deterministic. Cost: O(pairs).
    """
    times = pairs["time"].to_numpy()
    return times >= times[min(int((1 - fraction) * len(times)), len(times) - 1)]
