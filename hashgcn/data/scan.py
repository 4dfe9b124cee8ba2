"""Opens any source of events as a lazy table, and lists the formats there are."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow
import pyarrow.parquet

from hashgcn.data.lightgcn import parse_lightgcn

# For each format: its name in errors, and the endings of its files.
FORMATS = {
    "csv": ("UTF-8 CSV", (".csv",)),
    "tsv": ("UTF-8 text with tabs between columns", (".tsv",)),
    "jsonl": ("UTF-8 JSON lines", (".jsonl", ".ndjson")),
    "parquet": ("Parquet", (".parquet", ".pq")),
    "inter": ("RecBole's UTF-8 text with typed names", (".inter",)),
    "movielens": ("MovieLens' UTF-8 lines user::item::rating::time", (".dat",)),
    "lightgcn": ("LightGCN's lines `user item item ...`", (".txt",)),
    "scipy": ("SciPy's sparse matrix", (".npz",)),
}
_COMPRESSIBLE = ("csv", "tsv", "jsonl", "inter", "movielens", "lightgcn")
# What readers raise. The name of a Parquet column may be invalid UTF-8: UnicodeDecodeError.
_FAILURES = (
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    *(pyarrow.ArrowException, UnicodeDecodeError),
    *(OSError, EOFError, zlib.error, zipfile.BadZipFile),
)
_BINARY = {b"PAR1": "parquet", b"PK\x03\x04": "scipy"}


@dataclass(frozen=True)
class Table:
    """Events that have not been read yet.

    Attributes:
        label: its name in errors.
        format: a key of FORMATS, or a description of the object in memory.
        frame: at least those of the wanted columns that exist.
        names: the names of all columns.
        text: whether all values are text, of which some may spell numbers.
        usual: for formats with fixed column names, the columns of user, item, time and weight.
    """

    label: str
    format: str
    frame: pl.LazyFrame
    names: list[str]
    text: bool = False
    usual: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what a reader raises into a ValueError that names the file and its format."""
        with _errors(self.label, self.format):
            yield


def scan(
    source: Any,
    wanted: Collection[str],
    *,
    format: str | None = None,
    separator: str | None = None,
    header: bool = True,
) -> Table:
    """Opens a source as a table. Of most files, only the names of the columns are read here.

    LightGCN's text, SciPy's matrices and the wanted columns of Parquet are read at once.

    Args:
        source: a path, a polars DataFrame or LazyFrame, a pandas DataFrame, or a SciPy sparse
            matrix.
        wanted: the columns that will be used.
        format: a key of FORMATS; None to tell it from the ending of the name. This and the
            following arguments are for paths only.
        separator: the ASCII character between the columns of csv and tsv.
        header: whether csv and tsv start with column names; otherwise they are column_1,
            column_2, ...

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, an unknown ending or format, content of another format, a damaged
            file, an object of another kind.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "events.csv")
        ...     _ = file.write_text("who,what\\nann,tea\\n")
        ...     scan(file, ("who", "what")).names
        ['who', 'what']
    """
    if isinstance(source, (str, os.PathLike)):
        return _scan_file(Path(source), wanted, format, separator, header)
    for argument, value, nothing in (
        ("format", format, None),
        ("separator", separator, None),
        ("header", header, True),
    ):
        if value != nothing:
            raise ValueError(f"{argument}: expected {nothing} for data in memory, got {value!r}")
    if isinstance(source, (pl.DataFrame, pl.LazyFrame)):
        frame = source.lazy()
        return Table("source", "a polars frame", frame, frame.collect_schema().names())
    if hasattr(source, "tocsr"):
        return _of_matrix("source", source)
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        names = [str(name) for name in source.columns]
        columns = {name: _of_pandas(source[name]) for name in wanted if name in source.columns}
        return Table("source", "a pandas frame", pl.LazyFrame(columns), names)
    raise ValueError(
        "source: expected a path, a polars or pandas frame or a SciPy sparse matrix, "
        f"got {type(source).__name__}"
    )


def _scan_file(
    path: Path, wanted: Collection[str], format: str | None, separator: str | None, header: bool
) -> Table:
    if path.is_dir():
        raise ValueError(
            f"{path}: expected a file, got a folder; to read several files, pass a polars frame, "
            "e.g. polars.scan_parquet('folder/*.parquet')"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    format = _format_of(path) if format is None else format
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    if format not in ("csv", "tsv") and (separator is not None or not header):
        raise ValueError(
            f"separator, header: expected neither for format {format}, got {separator!r}, {header}"
        )
    if separator is not None and not (len(separator) == 1 and separator.isascii()):
        raise ValueError(f"separator: expected one ASCII character, got {separator!r}")
    _check_content(path, format)

    with _errors(str(path), format):
        if format == "parquet":
            return Table(str(path), format, *_scan_parquet(path, wanted))
        if format == "scipy":
            return _of_matrix(str(path), _load_npz(path))
        if format == "lightgcn":
            data = path.read_bytes()
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            _, users, items = parse_lightgcn(path, data)
            usual = {"user": "user", "item": "item"}
            frame = pl.LazyFrame({"user": users, "item": items})
            return Table(str(path), format, frame, list(usual), usual=usual)
        if format == "jsonl":
            names = pl.scan_ndjson(path).collect_schema().names()
            as_text = dict.fromkeys([name for name in wanted if name in names], pl.String)
            frame = pl.scan_ndjson(path, schema_overrides=as_text)
            return Table(str(path), format, frame, names, text=True)
        if format == "movielens":
            usual = {"user": "user", "item": "item", "weight": "rating", "time": "time"}
            frame = _scan_text(path, "\x01", lambda names: ["line"], header=False, quotes=False)
            fields = pl.col("line").str.split_exact("::", len(usual) - 1)
            frame = frame.select(fields.struct.rename_fields(list(usual.values())).alias("line"))
            return Table(str(path), format, frame.unnest("line"), list(usual.values()), True, usual)
        if format == "inter":
            frame = _scan_text(path, "\t", _without_types, quotes=False)
            names = frame.collect_schema().names()
            usual = {"user": "user_id", "item": "item_id", "weight": "rating", "time": "timestamp"}
            usual = {argument: name for argument, name in usual.items() if name in names}
            return Table(str(path), format, frame, names, True, usual)
        separator = separator or {"csv": ",", "tsv": "\t"}[format]
        frame = _scan_text(path, separator, None if header else _numbered, header=header)
        return Table(str(path), format, frame, frame.collect_schema().names(), text=True)


def _scan_parquet(path: Path, wanted: Collection[str]) -> tuple[pl.LazyFrame, list[str]]:
    """Reads the wanted columns; returns them and the names of all columns.

    This goes through pyarrow, because polars' own reader ends the process if a single bit of a file
    is wrong: in the count of a run of levels, for example, for which it then allocates 2^61 bytes.
    Each text is stored once, plus 4 bytes per event that has it.
    """
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        columns = [name for name in names if name in wanted]
        if len(set(columns)) < len(columns):
            raise ValueError(f"{path}: expected unique column names, got {', '.join(columns)}")
        frames = [_of_arrow(file.schema_arrow.empty_table().select(columns))]
        lacking = file.metadata.num_rows
        for batch in file.iter_batches(columns=columns):
            batch.validate(full=True)  # polars trusts lengths, indices and UTF-8
            frames.append(_of_arrow(batch))
            lacking -= batch.num_rows
        if lacking:  # pyarrow skips the end of a damaged column silently
            raise pyarrow.ArrowInvalid(f"{lacking} rows of {file.metadata.num_rows} are missing")
    frame = pl.concat(frames, rechunk=False)
    return frame.lazy().with_columns(pl.col(pl.Categorical).cast(pl.String)), names


def _of_arrow(batch: Any) -> pl.DataFrame:
    # Column by column, as one column of a batch keeps the memory of the whole batch, text included.
    columns = zip(batch.schema.names, batch.columns, strict=True)
    frame = pl.DataFrame({name: pl.from_arrow(column) for name, column in columns})
    return frame.with_columns(pl.col(pl.String).cast(pl.Categorical))


def _scan_text(
    path: Path,
    separator: str,
    rename: Callable[[list[str]], list[str]] | None,
    *,
    header: bool = True,
    quotes: bool = True,
) -> pl.LazyFrame:
    """A plain or gzip file with separators, all columns as text; blank lines are rows of nulls."""
    return pl.scan_csv(
        path,
        separator=separator,
        has_header=header,
        quote_char='"' if quotes else None,
        infer_schema=False,  # polars would look at the first rows only
        with_column_names=rename,
        glob=False,
    )


def _numbered(names: list[str]) -> list[str]:
    return [f"column_{place}" for place in range(1, len(names) + 1)]


def _without_types(names: list[str]) -> list[str]:
    return [name.split(":")[0] for name in names]


def _format_of(path: Path) -> str:
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    for format, (_, endings) in FORMATS.items():
        if ending in endings:
            if name.endswith(".gz") and format not in _COMPRESSIBLE:
                raise ValueError(f"{path}: expected .gz for text only, got {ending}.gz")
            return format
    known = ", ".join(ending for _, endings in FORMATS.values() for ending in endings)
    raise ValueError(
        f"{path}: expected a name that ends in one of {known} (for text also .gz), or format= "
        f"(--format), got {path.name!r}"
    )


def _check_content(path: Path, format: str) -> None:
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        raise ValueError(f"{path}: expected events, got an empty file")
    found = _BINARY.get(start)
    if found != (format if format in _BINARY.values() else None):
        # npz is a zip archive, and so are many other files.
        got = {
            "parquet": "a Parquet file",
            "scipy": "a zip archive",
            None: f"{start!r} at its start",
        }
        raise ValueError(f"{path}: expected {FORMATS[format][0]} ({format}), got {got[found]}")


def _load_npz(path: Path) -> Any:
    from scipy.sparse import load_npz

    # A zip archive with other arrays can raise anything. The file is opened here because NumPy
    # leaves its own open if it is not an archive.
    with _errors(str(path), "scipy", (Exception,)), open(path, "rb") as file:
        return load_npz(file)


def _of_matrix(label: str, matrix: Any) -> Table:
    """The nonzero entries of a sparse matrix; repeated ones are summed, as SciPy defines them."""
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        raise ValueError(
            f"{label}: expected a matrix of real numbers, got {matrix.dtype} in {matrix.ndim} "
            "dimensions"
        )
    if hasattr(matrix, "check_format"):
        try:
            matrix.check_format()  # SciPy's kernels trust the indices
        except ValueError as error:
            raise ValueError(f"{label}: expected a valid sparse matrix, got {error}") from error
    entries = matrix.tocoo(copy=True)
    entries.sum_duplicates()
    if np.isnan(np.asarray(entries.data, dtype=np.float64)).any():
        raise ValueError(f"{label}: expected a matrix without NaN, got NaN")
    stored = entries.data != 0
    columns = {
        "user": entries.row[stored].astype(np.int64),
        "item": entries.col[stored].astype(np.int64),
        "weight": entries.data[stored],
    }
    usual = {name: name for name in columns}
    return Table(label, "scipy", pl.LazyFrame(columns), list(columns), usual=usual)


def _of_pandas(column: Any) -> pl.Series:
    """A pandas column; missing values, NaN included, become nulls."""
    try:
        # pandas has no type hints here, so mypy picks polars' overload for frames.
        return pl.from_pandas(column)  # type: ignore[return-value]
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise ValueError(f"{column.name}: expected values of one type, got {error}") from error


@contextmanager
def _errors(
    label: str, format: str, failures: tuple[type[BaseException], ...] = _FAILURES
) -> Iterator[None]:
    try:
        yield
    except failures as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        expected = FORMATS[format][0] if format in FORMATS else format
        raise ValueError(f"{label}: expected {expected}, got a damaged one: {reason}") from error
