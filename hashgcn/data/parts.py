"""The files that a path names: one, all of a folder, or all that fit a pattern."""

from __future__ import annotations

import glob
from collections import defaultdict
from pathlib import Path

# A folder with both of these is a split data set, see hashgcn.data.lightgcn.
_SPLIT = {"train.txt", "test.txt"}


def files_of(source: Path) -> list[Path]:
    """Finds the files that together are one log, sorted by path.

    A path that exists is meant as it is, even if it looks like a pattern. Of a folder, all files
    count, those of its subfolders too, except those with a name, or in a folder with one, that
    begins with `_` or `.`. In a pattern, `*` stands for any characters of a name, `?` for one,
    `[...]` for one of several, and `**` for any folders; folders that fit count as above.

    Args:
        source: a file, a folder or a pattern.

    Returns:
        One file or more.

    Raises:
        FileNotFoundError: no such file, or none that fits.
        ValueError: a folder without files, or among the files train.txt and test.txt of one folder,
            which are no parts of one log.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.csv", "a.csv", "_SUCCESS"):
        ...         _ = pathlib.Path(folder, name).write_text("u,i")
        ...     [file.name for file in files_of(pathlib.Path(folder))]
        ['a.csv', 'b.csv']
    """
    if source.is_file():
        return [source]
    if source.is_dir():
        files = _inside(source)
        if not files:
            raise ValueError(f"{source}: expected files of events in the folder, got none")
    elif glob.has_magic(str(source)):
        found = map(Path, glob.glob(str(source), recursive=True))
        files = [file for path in found for file in (_inside(path) if path.is_dir() else [path])]
        if not files:
            raise FileNotFoundError(f"{source}: no file fits this pattern")
    else:
        raise FileNotFoundError(f"{source}: no such file")
    files = sorted(set(files))  # `**` finds a file once by itself and once in each of its folders
    names = defaultdict(set)
    for file in files:
        names[file.parent].add(file.name)
    for folder, of_folder in names.items():
        if of_folder >= _SPLIT:
            raise ValueError(
                f"{source}: expected parts of one log, got LightGCN's split {folder}/train.txt and "
                "test.txt: name their folder, without arguments that say how events are read"
            )
    return files


def are_events(source: Path) -> bool:
    """Whether a path names a log and no folder in LightGCN's format; nothing is read."""
    if source.is_dir():
        return not any((source / name).exists() for name in _SPLIT) and bool(_inside(source))
    return source.is_file() or glob.has_magic(str(source))


def name_of(source: Path) -> str:
    """What a log is called: as the file without its endings, or the last folder without a pattern.

    Examples:
        >>> import pathlib
        >>> [name_of(pathlib.Path(path)) for path in ("a/plays.csv.gz", "plays/2024-*/*.parquet")]
        ['plays', 'plays']
    """
    path = source.absolute()
    while not path.exists() and glob.has_magic(path.name):
        path = path.parent
    return path.name if path.is_dir() else path.name.split(".")[0]


def _inside(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(x[0] in "_." for x in path.relative_to(folder).parts)
    ]
