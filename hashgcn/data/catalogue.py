"""Data sets by name: which ones there are, where they are published, how they are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hashgcn.data.interactions import Dataset
from hashgcn.data.lightgcn import read_lightgcn
from hashgcn.data.parts import are_events
from hashgcn.data.sample import generate_sample

# The commit pins the content, and a file's git blob id is its checksum.
HOME = (
    "https://raw.githubusercontent.com/gusye1234/LightGCN-PyTorch/"
    "947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data"
)

# No published file is larger: amazon-book's train.txt is 2,433,373 numbers of at most 6 bytes each.
MOST = 1 << 24


@dataclass(frozen=True)
class Published:
    """A public data set in LightGCN's split.

    Attributes:
        about: a one-line description.
        blobs: the git blob id of each file.
        in_time: whether the items of each line are in order of time, and those of test are later.
    """

    about: str
    blobs: dict[str, str]
    in_time: bool


PUBLISHED = {
    # Their lists are in order of time, as docs/results.md shows: they are not sorted, and items are
    # numbered by first appearance.
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
    # Whether its lists are in order of time is not known.
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
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    progress: bool = True,
    **reading: Any,
) -> Dataset:
    """Loads a data set by name, from a folder in the LightGCN format, or from files of events.

    Args:
        name: "sample" (generated), a published data set (read from root; fetch downloads it), a
            folder with train.txt and test.txt, or a file of events, a folder of such files or a
            pattern such as "plays/*.parquet".
        root: for published data sets only: the folder that contains the folder `name`, or the
            folder `name` itself.
        progress: for events only: show how many rows have been read, if that takes long.
        reading: for events only: other arguments of read_interactions.

    Raises:
        ValueError: a name that is neither known nor a folder or file, a published data set without
            root or with the folder of another, reading arguments without a file, a malformed file.
        FileNotFoundError: train.txt or test.txt is missing.

    Examples:
        >>> import hashgcn
        >>> hashgcn.data.load("sample")
        Dataset('sample', 2,000 users, 1,500 items, 56,396 train and 14,071 test pairs)
    """
    dataset = _load(name, root, progress, reading)
    path = None if root is None else str(Path(root).resolve())
    known = str(name) in ("sample", *PUBLISHED)
    where = str(name) if known else str(Path(name).resolve())
    for argument in ("test", "item_file"):
        if reading.get(argument) is not None:
            reading[argument] = str(Path(reading[argument]).resolve())
    return replace(dataset, origin={"name": where, "root": path, **reading})


def _load(
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    progress: bool,
    reading: dict[str, Any],
) -> Dataset:
    if is_file_of_events(name, bool(reading)):
        from hashgcn.data.read import read_interactions

        return read_interactions(name, progress=progress, **reading)
    if reading:
        argument = next(iter(reading))
        raise ValueError(f"{argument}: expected a file of events with it, got {str(name)!r}")
    if name == "sample":
        return generate_sample()
    if name in PUBLISHED:
        if root is None:
            raise ValueError(
                f"root: expected the folder that holds {name}/train.txt, got None; "
                f"`hashgcn data fetch {name}` downloads it"
            )
        folder = Path(root)
        if not (folder / "train.txt").is_file():
            folder = folder / name
        elif folder.resolve().name in PUBLISHED.keys() - {name}:
            raise ValueError(f"root: expected the folder of {name}, got another one, {root}")
        in_time = PUBLISHED[str(name)].in_time
        return replace(read_lightgcn(folder, in_time=in_time), test_is_later=in_time)
    if Path(name).is_dir():
        return read_lightgcn(name)
    names = ", ".join(map(repr, ("sample", *PUBLISHED)))
    raise ValueError(
        f"name: expected one of {names} or an existing folder or file, got {str(name)!r}"
    )


def is_file_of_events(name: str | os.PathLike[str], described: bool = False) -> bool:
    """Whether load reads events: as there are files of them, or as reading arguments are given."""
    return name not in ("sample", *PUBLISHED) and (described or are_events(Path(name)))


def fetch(
    name: str,
    root: str | os.PathLike[str],
    *,
    home: str = HOME,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Path:
    """Downloads a published data set from its public home.

    Files that exist are checked and kept, and an interrupted download is resumed.

    Args:
        name: a key of PUBLISHED.
        root: the folder that will contain the folder `name`; made if it does not exist.
        home: the address of a mirror that has NAME/train.txt and NAME/test.txt.
        progress: called with the name of the file, the number of bytes received and the total,
            None if unknown.

    Returns:
        The folder `name` with the files.

    Raises:
        ConnectionError: no server, or the connection broke; call again to resume.
        ValueError: a name that is not published, or a file with other content than the published,
            or of more than 16 MiB.
    """
    from hashgcn.data.download import download  # load needs no urllib, which imports slowly

    if name not in PUBLISHED:
        raise ValueError(f"name: expected one of {', '.join(PUBLISHED)}, got {name!r}")
    folder = Path(root) / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, blob in PUBLISHED[name].blobs.items():
        report = None if progress is None else partial(progress, file)
        download(f"{home.rstrip('/')}/{name}/{file}", folder / file, blob, MOST, report)
    return folder
