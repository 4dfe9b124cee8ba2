"""Hand-over as arrays of NumPy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hashgcn.files import encode_ids, write_atomic
from hashgcn.retrieval.export.bits import code_bytes
from hashgcn.retrieval.export.users import GradedUsers
from hashgcn.retrieval.index import HammingIndex


def write_numpy(index: HammingIndex | GradedUsers, path: str | os.PathLike[str]) -> None:
    """Writes an .npz file for numpy.load: codes (code_bytes), code_length and the ids.

    Ids that are integers are `ids`, int64 [n]. Of strings the UTF-8 of id i is
    text[offsets[i]:offsets[i + 1]], where text is uint8 and offsets int64 [n + 1]: an array of
    strings would take the length of the longest for each. hashgcn.files.decode_ids reads both.
    """
    index = index.snapshot()
    arrays: dict[str, Any] = {
        "codes": code_bytes(index.codes, index.code_length),
        "code_length": np.array(index.code_length),
        **encode_ids(index.ids),
    }

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)

    write_atomic(path, write)
