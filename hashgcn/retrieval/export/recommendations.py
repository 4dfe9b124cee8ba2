"""Recommendations of all users as a file, which is written in batches of users."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.cold import ColdUsers
from hashgcn.data.ids import raw_ids
from hashgcn.files import write_atomic
from hashgcn.retrieval.recommender import Recommender
from hashgcn.retrieval.results import Recommendations

if TYPE_CHECKING:
    from hashgcn.retrieval.filters import ItemFilter

_COLUMNS = ("user", "rank", "item", "score", "cold")

Batches = Iterator[tuple[np.ndarray, Recommendations]]


def write_recommendations(
    recommender: Recommender,
    path: str | os.PathLike[str],
    k: int = 10,
    *,
    users: ArrayLike | Iterable | None = None,
    exclude_seen: bool = True,
    allow: ItemFilter | None = None,
    deny: ItemFilter | None = None,
    ignore_unknown: bool = False,
    cold_users: ColdUsers = "popular",
    untrained_items: bool = False,
    popularity_weight: float | None = None,
    batch_users: int = 4096,
    progress: Callable[[int], object] | None = None,
    num_threads: int = 0,
) -> None:
    """Writes the k best items of each user to a file: what Recommender.recommend gives.

    The end of the file's name decides what it holds:

        .parquet, .csv: columns user, rank (from 1), item, score and cold, a row for each item
        .jsonl:         {"user", "items", "scores", "cold"}, a line for each user

    Args:
        recommender: it may change meanwhile: the file is of one state of it.
        path: the file to create or replace, atomically; its folder must exist.
        k: number of items per user, k >= 1.
        users: raw ids [Q], in the order of the file; None for all users, in the order of user_ids.
        exclude_seen: as in recommend.
        allow: as in recommend. Lists for each user are in the order of `users`.
        deny: as in recommend.
        ignore_unknown: as in recommend.
        cold_users: as in recommend.
        untrained_items: as in recommend.
        popularity_weight: as in recommend.
        batch_users: number of users at a time, at least 1; it changes no result.
        progress: is called with the number of users of every batch once it is written.
        num_threads: as in recommend.

    Raises:
        ValueError: another end of the name, and as in recommend. The file is then as it was.
        OSError: the system's error, for instance on a full disk, with the path.

    Examples:
        >>> import pathlib, tempfile, numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
        >>> from hashgcn.retrieval.export import write_recommendations
        >>> codes = np.array([[1, 1, 1], [1, 1, -1], [-1, 1, 1]], np.int8)
        >>> index = HammingIndex.build(codes, ids=["apple", "pear", "plum"])
        >>> seen = Interactions.from_pairs([0, 1, 1], [0, 1, 2], 2, 3)
        >>> recommender = Recommender(pack_codes(codes[:2]), ["ann", "ben"], index, seen)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "recs.csv")
        ...     write_recommendations(recommender, file, k=2, deny=["plum"])
        ...     file.read_text().splitlines()
        ['user,rank,item,score,cold', 'ann,1,pear,1,false', 'ben,1,apple,1,false']

    Note:
        Deterministic. Memory beside the recommender: that of batch_users users, and the rows of the
        items in allow and deny. Parquet has a row group for each batch.
    """
    writer = _WRITERS.get(Path(path).suffix)
    if writer is None:
        expected = ", ".join(_WRITERS)
        raise ValueError(f"path: expected a name that ends in {expected}, got {str(path)!r}")
    if batch_users < 1:
        raise ValueError(f"batch_users: expected a number >= 1, got {batch_users}")
    state = recommender.state
    ids = None if users is None else raw_ids("users", users)
    rows = np.arange(len(state.users)) if ids is None else state.known_rows(ids, cold_users)
    if ids is None:
        state.check_cold(rows, state.users.ids_of, cold_users)
    filters = state.filters(allow, deny, len(rows), ignore_unknown, untrained_items)
    kinds = [state.users.kind if ids is None else ids.dtype.kind, state.index.ids_of]
