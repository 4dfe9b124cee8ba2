"""Hand-over to Qdrant: points of a collection."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hashgcn.files import write_atomic
from hashgcn.retrieval.codes import unpack_levels
from hashgcn.retrieval.export.bits import CHUNK
from hashgcn.retrieval.export.users import GradedUsers
from hashgcn.retrieval.index import HammingIndex


def qdrant_rows(index: HammingIndex | GradedUsers) -> Iterator[dict[str, Any]]:
    """Yields points for a Qdrant collection: {"id": row, "vector": [...], "payload": {"id": raw}}.

    Vectors are codes of +1 and -1, of size f. With the distance Dot the score is
    f - 2 x Hamming distance, and binary quantization keeps all of it. The vectors of graded users
    hold their weights: as queries among the points of items they score exactly as here.

    Note:
        Deterministic. Memory: the ids, and a few thousand rows.
    """
    index = index.snapshot()
    ids = index.ids.tolist()
    for start in range(0, len(index), CHUNK):
        signs = unpack_levels(index.codes[start : start + CHUNK], index.code_length)
        for row, sign in enumerate(signs.tolist(), start):
            yield {"id": row, "vector": sign, "payload": {"id": ids[row]}}


def write_qdrant(index: HammingIndex | GradedUsers, path: str | os.PathLike[str]) -> None:
    """Writes qdrant_rows as JSON lines, each of them the arguments of a PointStruct."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            for row in qdrant_rows(index):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    write_atomic(path, write)
