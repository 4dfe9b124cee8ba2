"""Writes interactions to files that other libraries read."""

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
    """Writes interactions in RecBole's .inter format, which read_interactions reads too.

    The file has one line per pair, sorted by user row and then by item row. Its columns are
    user_id:token and item_id:token; timestamp:float where the order in time is known: the
    timestamps of a user's pairs rise in that order; and weight:float where pairs have weights,
    which weight="weight" reads back. Equal content gives equal bytes. Like all text, strings are
    read back as integers if every one of them spells an integer.

    Args:
        path: the file to create or replace, atomically; its folder must exist.
        interactions: m users and n items, at least one pair.
        user_ids: int or str [m], the raw ids of the user rows.
        item_ids: int or str [n], the raw ids of the item rows.

    Raises:
        ValueError: no pairs, the wrong number or kind of ids, or an id that is empty or contains a
            tab or a line break, which the format cannot hold.
        FileNotFoundError: no such folder.

    Examples:
        >>> import pathlib, tempfile
        >>> from hashgcn.data import Interactions, write_inter
        >>> pairs = Interactions.from_pairs([0, 1], [1, 0], num_users=2, num_items=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "toy.inter")
        ...     write_inter(file, pairs, ["ann", "ben"], [7, 8])
        ...     file.read_text().splitlines()
        ['user_id:token\\titem_id:token', 'ann\\t8', 'ben\\t7']
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
        if ids.dtype.kind == "T":
            for one in ids[np.bincount(of_pairs, minlength=size) > 0].tolist():
                if not one or set(one) & set("\t\n\r"):
                    raise ValueError(
                        f"{kind}_ids: expected text without tabs and line breaks, got {one!r}"
                    )
        columns[f"{kind}_id:token"] = ids[of_pairs]
    if interactions.order is not None:
        columns["timestamp:float"] = interactions.order
    if interactions.weights is not None:
        columns["weight:float"] = interactions.weights
    frame = pl.DataFrame(columns)
    write_atomic(path, lambda file: frame.write_csv(file, separator="\t", quote_style="never"))
