"""Hand-over as a Parquet file."""

from __future__ import annotations

import io
import os

from hashgcn.files import write_atomic
from hashgcn.retrieval.export.bits import code_bytes
from hashgcn.retrieval.export.users import GradedUsers
from hashgcn.retrieval.index import HammingIndex


def write_parquet(index: HammingIndex | GradedUsers, path: str | os.PathLike[str]) -> None:
    """Writes a Parquet file in row order: id (int64 or text) and code (binary, code_bytes).

    The code of a graded user is that of their planes, one after another.

    Note:
        Memory: the codes as Python's bytes, some 40 bytes per item, and the content of the file.
    """
    import polars

    index = index.snapshot()
    codes = [code.tobytes() for code in code_bytes(index.codes, index.code_length)]
    kind = polars.String if index.ids.dtype.kind == "T" else polars.Int64
    ids = polars.Series("id", index.ids.tolist(), dtype=kind)
    frame = polars.DataFrame([ids, polars.Series("code", codes, dtype=polars.Binary)])
    content = io.BytesIO()
    frame.write_parquet(content)
    # Not polars itself: its errors, such as those of a full disk, are no OSErrors.
    write_atomic(path, lambda temporary: temporary.write_bytes(content.getbuffer()))
