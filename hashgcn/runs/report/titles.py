"""Reads the titles of items from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_FORMATS = ("csv", "tsv", "jsonl", "parquet")


def read_titles(
    path: Path, item_ids: np.ndarray, columns: tuple[str, str] | None = None
) -> np.ndarray:
    """Reads the titles of items from a table with one row per item.

    Args:
        path: a CSV, TSV, JSON lines or Parquet file. Ids are compared as text; of repeated ids, the
            first row counts.
        item_ids: int64 or str [n], raw ids.
        columns: the names of the columns of ids and of titles; None for the first two columns.

    Returns:
        str [n], the title of each item, or its raw id if the table has none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format, a missing column, none of the items' ids, a damaged file.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "titles.csv")
        ...     _ = file.write_text("id,title\\n7,Solaris\\n9,Stalker\\n")
        ...     read_titles(file, np.array([9, 8])).tolist()
        ['Stalker', '8']
    """
    import polars as pl

    from hashgcn.data.scan import scan

    table = scan(path, ())
    if table.format not in _FORMATS:
        raise ValueError(
            f"{path}: expected a table in one of {', '.join(_FORMATS)}, got {table.format}"
        )
    if columns is None:
        if len(table.names) < 2:
            raise ValueError(
                f"{path}: expected columns of ids and of titles, got {', '.join(table.names)}"
            )
        columns = (table.names[0], table.names[1])
    for name in columns:
        if name not in table.names:
            raise ValueError(
                f"{path}: expected column {name!r}, got {', '.join(map(repr, table.names))}"
            )
    wanted = [pl.col(name).cast(pl.String) for name in columns]
    table = scan(path, columns)
    with table.errors():
        found = table.frame.select(wanted).drop_nulls().collect()
    titles: dict[str, str] = {}
    for raw, title in found.iter_rows():
        titles.setdefault(raw, title)
    known = [str(raw) for raw in item_ids.tolist()]
    if not any(raw in titles for raw in known):
        raise ValueError(
            f"{path}: expected ids of the run's items in column {columns[0]!r}, such as "
            f"{known[0]!r}, got {next(iter(titles), 'no row')!r}"
        )
    return np.array([titles.get(raw, raw) for raw in known])
