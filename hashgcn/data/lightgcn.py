"""Reader of the LightGCN text format."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from hashgcn.data.interactions import Dataset
from hashgcn.data.rows import read_bytes

_OTHER, _DIGIT, _SPACE = range(3)
_KIND = np.full(256, _OTHER, dtype=np.uint8)
_KIND[list(b"0123456789")] = _DIGIT
_KIND[list(b" \t\n")] = _SPACE


def read_lightgcn(folder: str | os.PathLike[str], *, in_time: bool = False) -> Dataset:
    """Reads the data set in a folder's train.txt and test.txt: lines `user item item ...`.

    A line may name a user without items. Blank lines are skipped; repeated users and repeated items
    are merged. If users have several lines, and nine in ten of these lines have the same number of
    fields, 3 to 5, they are rows `user item weight ...` of another format, which is an error. Raw
    ids are integers in [0, 2^63).

    Args:
        folder: holds train.txt and test.txt; its name becomes the name of the data set.
        in_time: whether the items of each line are in order of time.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: a malformed file; the message gives the line and its number. Rows of another
            format.

    Examples:
        >>> import pathlib, tempfile
        >>> from hashgcn.data import read_lightgcn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "train.txt").write_text("0 10 11\\n1 11 12\\n")
        ...     _ = pathlib.Path(folder, "test.txt").write_text("0 12\\n")
        ...     data = read_lightgcn(folder)
        >>> data.train
        Interactions(2 users, 3 items, 4 pairs)

    Note:
        Time: O(bytes + pairs log pairs). Memory: about 20 times the size of the larger file.
    """
    folder = Path(folder)
    train_path, test_path = folder / "train.txt", folder / "test.txt"
    for path in (train_path, test_path):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; expected train.txt and test.txt in {folder}"
            )
    train, test = (
        parse_lightgcn(path, b"".join(read_bytes(path))) for path in (train_path, test_path)
    )
    users = np.concatenate([train[0], test[0]])
    name = folder.resolve().name
    return Dataset.from_pairs(name, train[1:], test[1:], users, in_time=in_time)


def parse_lightgcn(path: Path, text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parses text in the LightGCN format.

    Args:
        path: the name of the text in errors.
        text: the content of a file, see read_lightgcn.

    Returns:
        The user of every line, the user of every pair, and the item of every pair; int64.

    Raises:
        ValueError: malformed text; the message gives the line and its number. Rows of another
            format, see read_lightgcn.
    """
    text = text.replace(b"\r\n", b"\n")
    data = np.frombuffer(text, dtype=np.uint8)
    kind = _KIND[data]
    if (kind == _OTHER).any():
        raise _malformed(path, text, int((kind == _OTHER).argmax()))
    edges = np.flatnonzero(np.diff(kind == _DIGIT, prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        raise ValueError(f"{path}: expected lines `user item item ...`, got an empty file")

    lengths = stops - starts
    # 19 digits always fit uint64, so the sum below cannot wrap around.
    if lengths.max() > 19:
        raise _malformed(path, text, int(starts[lengths.argmax()]))
    values = np.zeros(len(starts), dtype=np.uint64)
    for place in range(int(lengths.max())):
        longer = np.flatnonzero(lengths > place)
        digits = data[starts[longer] + place] - np.uint8(ord("0"))
        values[longer] = values[longer] * np.uint64(10) + digits
    if values.max() > np.iinfo(np.int64).max:
        raise _malformed(path, text, int(starts[values.argmax()]))
    values = values.astype(np.int64)

    lines = np.searchsorted(np.flatnonzero(data == ord("\n")), starts)
    first = np.diff(lines, prepend=-1) != 0
    users = values[first]
    _check_no_rows(path, users, np.bincount(np.cumsum(first) - 1), values[:2])
    return users, users[(np.cumsum(first) - 1)[~first]], values[~first]


def _check_no_rows(path: Path, users: np.ndarray, fields: np.ndarray, start: np.ndarray) -> None:
    """Refuses rows `user item weight ...`: read as items, weights would be everybody's favourites.

    Rows give a user several lines, all of one length; LightGCN's lists differ in length.
    """
    _, place, counts = np.unique(users, return_inverse=True, return_counts=True)
    of_repeated = fields[counts[place] > 1]
    if not len(of_repeated):
        return
    usual = int(np.bincount(of_repeated).argmax())
    if 3 <= usual <= 5 and (of_repeated == usual).sum() >= 0.9 * len(of_repeated):
        raise ValueError(
            f"{path}: expected lines `user item item ...`, a user's items on one line, got "
            f"{len(of_repeated)} lines of users with several, which have {usual} fields like rows "
            "`user item weight`; read those with format='csv', separator=' ', header=False "
            "(--format csv --separator ' ' --no-header), or 'tsv' where tabs are between columns"
        )


def _malformed(path: Path, text: bytes, offset: int) -> ValueError:
    number = text.count(b"\n", 0, offset) + 1
    start = max(text.rfind(separator, 0, offset) for separator in (b" ", b"\t", b"\n")) + 1
    token = re.split(rb"[ \t\n]", text[start : start + 80], maxsplit=1)[0].decode(errors="replace")
    line = text[text.rfind(b"\n", 0, offset) + 1 :].split(b"\n", 1)[0][:80].decode(errors="replace")
    return ValueError(
        f"{path}, line {number}: expected integers in [0, 2^63) of at most 19 digits, "
        f"got {token!r} in {line!r}"
    )
