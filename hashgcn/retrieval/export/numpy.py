"""Hand-over as arrays of NumPy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hashgcn.files import write_atomic
from hashgcn.retrieval.export.bits import code_bytes
from hashgcn.retrieval.index import HammingIndex


def write_numpy(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """Writes an .npz file for numpy.load: codes (code_bytes), ids (int64 or str), code_length."""
    index = index.snapshot()

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(
                file,
                codes=code_bytes(index.codes, index.code_length),
                ids=index.ids,
                code_length=index.code_length,
            )

    write_atomic(path, write)
