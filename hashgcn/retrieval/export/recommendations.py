"""Recommendations of many users as a file, which is written batch by batch."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hashgcn.files import write_atomic
from hashgcn.retrieval.results import Recommendations

Batches: TypeAlias = Iterable[tuple[np.ndarray, Recommendations]]


def write_recommendations(batches: Batches, path: str | os.PathLike[str]) -> None:
    """Writes recommendations to a file, atomically and one batch after another.

    The end of the file's name decides what it holds:

        .parquet, .csv: columns user, rank (from 1), item, score and cold, a row for each item
        .jsonl:         {"user", "items", "scores", "cold"}, a line for each user

    Args:
        batches: raw ids of users and their Recommendations, as recommend_in_batches gives them; at
            least one batch.
        path: the file to create or replace; its folder must exist.

    Raises:
        ValueError: another end of the name.
        FileNotFoundError: the folder does not exist.
        OSError: the system's error, for instance on a full disk, with the path.

    Examples:
        >>> import pathlib, tempfile, numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
        >>> from hashgcn.retrieval.export import write_recommendations
        >>> codes = np.array([[1, 1, 1], [1, 1, -1], [-1, 1, 1]], np.int8)
        >>> index = HammingIndex.build(codes, ids=["apple", "pear", "plum"])
        >>> seen = Interactions.from_pairs([0, 1, 1], [0, 1, 2], 2, 3)
        >>> users = pack_codes(codes[:2].astype(np.float32))
        >>> recommender = Recommender(users, ["ann", "ben"], index, seen)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "recs.csv")
        ...     write_recommendations(recommender.recommend_in_batches(k=1), file)
        ...     file.read_text().splitlines()
        ['user,rank,item,score,cold', 'ann,1,pear,1,false', 'ben,1,apple,1,false']

    Note:
        Equal recommendations give equal bytes of text; Parquet has a row group for each batch.
        Memory: that of a few batches. After an error, also of the batches themselves, a file that
        was there is untouched.
    """
    write = check_path(path)
    write_atomic(path, lambda temporary: write(temporary, batches))


def check_path(path: str | os.PathLike[str]) -> Callable[[Path, Batches], None]:
    """The writer of files of that name; a ValueError if its end is that of none."""
    writer = _WRITERS.get(Path(path).suffix)
    if writer is None:
        expected = ", ".join(_WRITERS)
        raise ValueError(f"path: expected a name that ends in {expected}, got {str(path)!r}")
    return writer


def _columns(batches: Batches) -> Iterator[dict[str, np.ndarray]]:
    """A row for each item of each user, batch by batch."""
    for users, found in batches:
        places = np.arange(found.ids.shape[1])
        kept = places < found.counts[:, None]
        yield {
            "user": np.repeat(users, found.counts),
            "rank": np.broadcast_to(places + 1, kept.shape)[kept],
            "item": found.ids[kept],
            "score": found.scores[kept],
            "cold": np.repeat(found.cold, found.counts),
        }


def _write_parquet(path: Path, batches: Batches) -> None:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    def table(columns: dict[str, np.ndarray]) -> pyarrow.Table:
        return pyarrow.table(
            {
                name: pyarrow.array(values.tolist(), pyarrow.string())
                if values.dtype.kind == "T"
                else pyarrow.array(values)
                for name, values in columns.items()
            }
        )

    tables = map(table, _columns(batches))
    first = next(tables)
    with open(path, "wb") as file, ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for one in tables:
            writer.write_table(one)


def _write_csv(path: Path, batches: Batches) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, columns in enumerate(_columns(batches)):
            if not number:
                writer.writerow(columns)
            columns["cold"] = np.where(columns["cold"], "true", "false")
            writer.writerows(zip(*(x.tolist() for x in columns.values()), strict=True))


def _write_lines(path: Path, batches: Batches) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for users, found in batches:
            for user, one in zip(users.tolist(), found.to_dicts(), strict=True):
                file.write(json.dumps({"user": user, **one}, ensure_ascii=False) + "\n")


_WRITERS = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_lines}
