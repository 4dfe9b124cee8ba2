"""Interactions of users with items: readers, generated data, raw ids."""

from __future__ import annotations

import os
from pathlib import Path

from hashgcn.data.interactions import Dataset, Interactions
from hashgcn.data.lightgcn import read_lightgcn
from hashgcn.data.sample import generate_sample

__all__ = ["Dataset", "Interactions", "generate_sample", "load", "read_lightgcn"]

_PUBLISHED = ("gowalla", "yelp2018")


def load(name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Dataset:
    """A dataset by name, or from a folder in the LightGCN format.

    Args:
        name: "sample" (generated), "gowalla" or "yelp2018" (read from root), or a folder that holds
            train.txt and test.txt.
        root: the folder that holds the folder `name`, or that folder itself; for named files only.

    Raises:
        ValueError: a name that is neither known nor a folder, a file published elsewhere without
            root, a malformed file.
        FileNotFoundError: no train.txt or test.txt where they are looked for.
    """
    if name == "sample":
        return generate_sample()
    if name in _PUBLISHED:
        if root is None:
            raise ValueError(f"root: expected the folder that holds {name}/train.txt, got None")
        folder = Path(root)
        folder = folder if (folder / "train.txt").is_file() else folder / name
        # Items are numbered by first appearance and lists are not sorted; see docs/reproduction.md.
        return read_lightgcn(folder, in_time=True)
    if Path(name).is_dir():
        return read_lightgcn(name)
    names = ", ".join(repr(known) for known in ("sample", *_PUBLISHED))
    raise ValueError(f"name: expected one of {names} or an existing folder, got {str(name)!r}")
