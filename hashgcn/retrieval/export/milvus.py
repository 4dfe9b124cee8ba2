"""Hand-over to Milvus: rows of a collection."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hashgcn.files import write_atomic
from hashgcn.retrieval.export.bits import plain_bytes
from hashgcn.retrieval.index import HammingIndex


def milvus_rows(index: HammingIndex) -> Iterator[dict[str, Any]]:
    """Yields rows for a Milvus collection: {"id": int or str, "code": bytes}.

    The field "code" is a BINARY_VECTOR of 8 ceil(f / 8) dimensions with the metric HAMMING.

    Note:
        Deterministic. Memory: a copy of the codes.
    """
    index = index.snapshot()
    codes = plain_bytes(index)
    for raw, code in zip(index.ids.tolist(), codes, strict=True):
        yield {"id": raw, "code": code.tobytes()}


def write_milvus(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """Writes a JSON file {"rows": [...]} for Milvus's import; in it "code" is a list of bytes."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write('{"rows": [')
            for at, row in enumerate(milvus_rows(index)):
                file.write(",\n" if at else "\n")
                file.write(json.dumps({**row, "code": list(row["code"])}, ensure_ascii=False))
            file.write("\n]}\n")

    write_atomic(path, write)
