"""Interactions as files that other libraries read."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from hashgcn.data.ids import raw_ids
from hashgcn.data.interactions import Interactions
from hashgcn.files import write_atomic


def write_inter(
    path: str | os.PathLike[str],
    interactions: Interactions,
    user_ids: ArrayLike,
    item_ids: ArrayLike,
) -> None:
    """Interactions as RecBole's .inter, which read_interactions reads too.

    Columns user_id:token and item_id:token, and timestamp:float where the order in time is known:
    then a user's k-th pair in time has the k-th largest. One line for each pair, by user, then item
    row. Strings that are all written as integers are read back as integers, as of any text.

    Args:
        path: the file to create or replace, atomically; its folder exists.
        interactions: m users, n items; at least one pair.
        user_ids: int or str [m]; item_ids: [n]: raw ids of the rows.

    Raises:
        ValueError: no pairs, ids of another number or kind, an empty one or one with a tab or a
            line break, which the format cannot hold.
        FileNotFoundError: no such folder.

    Equal content gives equal bytes. Cost O(pairs).
    """
    if not interactions.num_pairs:
        raise ValueError("interactions: expected at least one pair, got none")
    shape = (interactions.num_users, interactions.num_items)
    rows = (interactions.users(), interactions.ids)
    columns = {}
    for (kind, ids), size, of_pairs in zip(
        (("user", user_ids), ("item", item_ids)), shape, rows, strict=True
    ):
        ids = raw_ids(f"{kind}_ids", ids)
        if len(ids) != size:
            raise ValueError(f"{kind}_ids: expected {size} ids, one for each row, got {len(ids)}")
        if ids.dtype.kind == "U":
            for one in ids[np.bincount(of_pairs, minlength=size) > 0].tolist():
                if not one or set(one) & set("\t\n\r"):
                    raise ValueError(
                        f"{kind}_ids: expected text without tabs and line breaks, got {one!r}"
                    )
        columns[f"{kind}_id:token"] = ids[of_pairs]
    if interactions.order is not None:
        columns["timestamp:float"] = interactions.order
    frame = pl.DataFrame(columns)
    write_atomic(path, lambda file: frame.write_csv(file, separator="\t", quote_style="never"))
