"""Data sets in folders."""

from __future__ import annotations

from pathlib import Path

from hashgcn.data import Dataset


def write_lightgcn(folder: Path, data: Dataset) -> Path:
    """The data set by its rows in LightGCN's format, in a new folder, which is returned."""
    folder.mkdir()
    for name, part in (("train", data.train), ("test", data.test)):
        rows = (part.ids[part.ptr[u] : part.ptr[u + 1]] for u in range(part.num_users))
        lines = (" ".join(map(str, (u, *items))) for u, items in enumerate(rows))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder
