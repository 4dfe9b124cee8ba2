"""Splits: test gets random pairs of each user, the last pair of each, or the latest overall."""

from __future__ import annotations

import numpy as np
import polars as pl

from hashgcn.data.interactions import Interactions


def random_of_each(pairs: pl.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Chooses a random fraction of each user's pairs, as Interactions.split does.

    Args:
        pairs: has int columns user and item; no pair occurs twice.
        fraction: in [0, 1).
        seed: in [0, 2^64).

    Returns:
        bool [pairs], True for test; the same on every machine.
    """
    users, items = pairs["user"].to_numpy(), pairs["item"].to_numpy()
    counts = (int(users.max()) + 1, int(items.max()) + 1) if len(users) else (0, 0)
    _, held = Interactions.from_pairs(users, items, *counts, in_time=True).split(fraction, seed)
    chosen = np.zeros(len(users), dtype=bool)
    chosen[held.order] = True
    return chosen


def last_of_each(pairs: pl.DataFrame) -> np.ndarray:
    """Chooses the last pair of every user who has two or more.

    Args:
        pairs: has a column user; rows are in order of time.

    Returns:
        bool [pairs], True for test.

    Examples:
        >>> import polars as pl
        >>> last_of_each(pl.DataFrame({"user": [0, 1, 0, 0]})).tolist()
        [False, False, False, True]
    """
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("user")
    last = (place > 0) & (place == pl.len().over("user").cast(pl.Int64) - 1)
    return pairs.select(last.alias("last"))["last"].to_numpy()


def latest(pairs: pl.DataFrame, fraction: float) -> np.ndarray:
    """Chooses the latest fraction of all pairs. Pairs of equal time are never separated.

    Args:
        pairs: has a column time; rows are in order of time.
        fraction: in (0, 1). More pairs are chosen where several have the time of the cut.

    Returns:
        bool [pairs], True for test.

    Examples:
        >>> import polars as pl
        >>> latest(pl.DataFrame({"time": [1, 2, 2, 3]}), 0.5).tolist()
        [False, True, True, True]
    """
    times = pairs["time"].to_numpy()
    return times >= times[min(int((1 - fraction) * len(times)), len(times) - 1)]
