"""The file of items that are still there: one id per line, or a column of a table."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from hashgcn.data.parts import files_of
from hashgcn.data.rows import read_lines
from hashgcn.data.scan import scan

_TABLES = ("csv", "tsv", "jsonl", "parquet", "inter")


def read_item_file(
    path: str | os.PathLike[str], column: str | None = None, item: str | None = None
) -> pl.Series:
    """Reads the ids of items from a file, a folder of files or all that fit a pattern.

    Args:
        path: text with one id per line if its name ends in .txt or .txt.gz, where blank lines do
            not count; else CSV, TSV, JSON lines, Parquet or .inter with a column of ids.
        column: the column; None for the one called `item`, or the only one there is.
        item: the name of the column of items in the events.

    Returns:
        The ids as text, each once, sorted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, another format, no such column, a missing id, no ids.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "stock.txt")
        ...     _ = file.write_text("9\\n7\\n")
        ...     read_item_file(file).to_list()
        ['7', '9']
    """
    files = files_of(Path(path))
    if files[0].name.lower().removesuffix(".gz").endswith(".txt"):
        if column is not None:
            raise ValueError(
                f"item_file_column: expected None for {path}, which has one id per line, "
                f"got {column!r}"
            )
        found = pl.concat([_lines(file) for file in files])
    else:
        found = _column(path, column, item)
    if not len(found):
        raise ValueError(f"item_file: expected ids of items in {path}, got none")
    return found.unique().sort()


def _lines(path: Path) -> pl.Series:
    lines = [line.rstrip(b"\r") for _, text in read_lines(path) for line in text.split(b"\n")]
    return pl.Series("item", [line.decode() for line in lines if line], pl.String)


def _column(path: str | os.PathLike[str], column: str | None, item: str | None) -> pl.Series:
    table = scan(path, ())
    if table.format not in _TABLES:
        raise ValueError(
            f"item_file: expected text with one id per line, or a table in one of "
            f"{', '.join(_TABLES)}, got {table.format} in {path}"
        )
    if column is None:
        column = item if len(table.names) > 1 else table.names[0]
    if column not in table.names:
        raise ValueError(
            f"item_file_column: expected a column of {path}, one of "
            f"{', '.join(map(repr, table.names))}, got {column!r}"
        )
    table = scan(path, (column,))
    with table.errors():
        found = table.frame.select(pl.col(column)).collect().to_series()
    if not (found.dtype.is_integer() or found.dtype == pl.String):
        raise ValueError(
            f"item_file: expected integers or strings in column {column!r} of {path}, "
            f"got {found.dtype}"
        )
    found = found.cast(pl.String)
    missing = found.is_null() | (found == "")
    if missing.any():
        where, row = table.place(int(missing.arg_max() or 0) + 1)
        raise ValueError(
            f"item_file: expected an id in every row of {where}, got {missing.sum()} missing "
            f"(row {row}, not counting the header and blank lines)"
        )
    return found
