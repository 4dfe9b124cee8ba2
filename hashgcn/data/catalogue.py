"""Datasets by name: which there are, where they are published, how they are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hashgcn.data.interactions import Dataset
from hashgcn.data.lightgcn import read_lightgcn
from hashgcn.data.sample import generate_sample

# The commit pins the content; a file's git blob id is its checksum.
HOME = (
    "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/"
    "947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data"
)


@dataclass(frozen=True)
class Published:
    """A public dataset in LightGCN's split.

    Args:
        about: one line.
        blobs: git blob id of each file.
        in_time: the items of a line stand in order of time.
    """

    about: str
    blobs: dict[str, str]
    in_time: bool


PUBLISHED = {
    # Items are numbered by first appearance and lists are not sorted; see docs/reproduction.md.
    "gowalla": Published(
        "check-ins of 29,858 users at 40,981 places",
        {
            "train.txt": "a27782bd7a1d4d0744148dc0460ea94da74763f2",
            "test.txt": "9ed5af4b5d21511f33740b4e22e3852f45671800",
        },
        in_time=True,
    ),
    "yelp2018": Published(
        "reviews of 38,048 businesses by 31,668 users",
        {
            "train.txt": "cda12361055ba448ae4bd1070f6000c16dea8f22",
            "test.txt": "30dfbc3437b27b74cb2970b435a5ec93ad9f2468",
        },
        in_time=True,
    ),
    # Not known to be in order of time.
    "amazon-book": Published(
        "ratings of 91,599 books by 52,643 users",
        {
            "train.txt": "6ef55159c5f1fd7f6d86eb9ff290d0cc2854ac99",
            "test.txt": "09e5da4e0bf46c751c4ba0f4375e414fd13512cd",
        },
        in_time=False,
    ),
}


def load(
    name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None, **reading: Any
) -> Dataset:
    """A dataset by name, from a folder in the LightGCN format, or from a file of events.

    Args:
        name: "sample" (generated), a published one (read from root, see fetch), a folder that holds
            train.txt and test.txt, or a file.
        root: the folder that holds the folder `name`, or that folder itself; for published ones
            only.
        reading: arguments of read_interactions, for a file only.

    Raises:
        ValueError: a name that is neither known nor a folder or file, a published one without root
            or with the folder of another, arguments of reading without a file, a malformed file.
        FileNotFoundError: no train.txt or test.txt where they are looked for.
    """
    if is_file_of_events(name, bool(reading)):
        from hashgcn.data.read import read_interactions

        return read_interactions(name, **reading)
    if reading:
        argument = next(iter(reading))
        raise ValueError(f"{argument}: expected a file of events with it, got {str(name)!r}")
    if name == "sample":
        return generate_sample()
    if name in PUBLISHED:
        if root is None:
            raise ValueError(
                f"root: expected the folder that holds {name}/train.txt, got None; "
                f"`hashgcn data fetch {name}` makes one"
            )
        folder = Path(root)
        if not (folder / "train.txt").is_file():
            folder = folder / name
        elif folder.resolve().name in PUBLISHED.keys() - {name}:
            raise ValueError(f"root: expected the folder of {name}, got another's, {root}")
        return read_lightgcn(folder, in_time=PUBLISHED[str(name)].in_time)
    if Path(name).is_dir():
        return read_lightgcn(name)
    names = ", ".join(map(repr, ("sample", *PUBLISHED)))
    raise ValueError(
        f"name: expected one of {names} or an existing folder or file, got {str(name)!r}"
    )


def is_file_of_events(name: str | os.PathLike[str], described: bool = False) -> bool:
    """Whether load reads a file: one that is there, or one whose reading has been described."""
    return name not in ("sample", *PUBLISHED) and (described or Path(name).is_file())


def fetch(
    name: str,
    root: str | os.PathLike[str],
    *,
    home: str = HOME,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Path:
    """Fetch a published dataset from its public home into a folder of its name.

    Files that are there are checked and kept; an interrupted transfer is resumed.

    Args:
        name: of PUBLISHED.
        root: the folder that gets the folder `name`; made if it is not there.
        home: address of a mirror, under which NAME/train.txt and NAME/test.txt are found.
        progress: called with the file's name, the bytes there are, the bytes in all or None.

    Returns:
        The folder with the files.

    Raises:
        ConnectionError, ValueError: as download.
        ValueError: a name that is not published.
    """
    from hashgcn.data.download import download  # not needed to load, and urllib takes its time

    if name not in PUBLISHED:
        raise ValueError(f"name: expected one of {', '.join(PUBLISHED)}, got {name!r}")
    folder = Path(root) / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, blob in PUBLISHED[name].blobs.items():
        report = None if progress is None else partial(progress, file)
        download(f"{home.rstrip('/')}/{name}/{file}", folder / file, blob, report)
    return folder
