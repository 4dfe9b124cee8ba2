"""Opens any source of events as a lazy table, and lists the formats there are."""

from __future__ import annotations

import itertools
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow
import pyarrow.parquet

from hashgcn.data.lightgcn import parse_lightgcn
from hashgcn.data.parts import files_of
from hashgcn.data.rows import TAKEN, read_bytes, read_lines, read_rows

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
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


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
        parts: the file and the number of rows of each part; empty unless there are several.
    """

    label: str
    format: str
    frame: pl.LazyFrame
    names: list[str]
    text: bool = False
    usual: dict[str, str] = field(default_factory=dict)
    parts: tuple[tuple[str, int], ...] = ()

    def place(self, row: int) -> tuple[str, int]:
        """The label of the part that holds a row, and its number there; both count from 1."""
        for label, rows in self.parts:
            if row <= rows:
                return label, row
            row -= rows
        return self.label, row

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
    quote: str | None = None,
    header: bool = True,
    report: Callable[[int], object] = lambda rows: None,
) -> Table:
    """Opens a source as a table. Files are read here, polars' lazy frames later.

    Args:
        source: a path of a file, of a folder of files, or a pattern such as `plays/*.csv`, whose
            files are read in sorted order of their paths (see parts.files_of); a polars DataFrame
            or LazyFrame, a pandas DataFrame, or a SciPy sparse matrix.
        wanted: the columns that will be used, besides those of `usual`; if none are, only the
            names are read.
        format: a key of FORMATS; None to tell it from the ending of the name. This and the
            following arguments are for paths only.
        separator: the ASCII character between the columns of csv and tsv.
        quote: the ASCII character around fields of csv and tsv; empty for none; None for the usual:
            `"` for csv, none for tsv.
        header: whether csv and tsv start with column names; otherwise they are column_1,
            column_2, ...
        report: called with the number of rows of each block of a file that has been read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown ending or format, content of another format, a damaged file, files of
            several formats, or with other columns or types of columns than the first; an object of
            another kind.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "events.csv")
        ...     _ = file.write_text("who,what\\nann,tea\\n")
        ...     scan(file, ("who", "what")).names
        ['who', 'what']
    """
    if isinstance(source, (str, os.PathLike)):
        table = _scan_files(Path(source), wanted, format, separator, quote, header, report)
        text = pl.col(pl.Categorical).cast(pl.String)
        return replace(table, frame=table.frame.with_columns(text))
    for argument, value, nothing in (
        ("format", format, None),
        ("separator", separator, None),
        ("quote", quote, None),
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
        _check_unique("source", [name for name in names if name in wanted])
        places = [place for place, name in enumerate(names) if name in wanted]
        columns = {names[at]: _of_pandas(names[at], source.iloc[:, at]) for at in places}
        return Table("source", "a pandas frame", pl.LazyFrame(columns), names)
    raise ValueError(
        "source: expected a path, a polars or pandas frame or a SciPy sparse matrix, "
        f"got {type(source).__name__}"
    )


def _scan_files(
    path: Path,
    wanted: Collection[str],
    format: str | None,
    separator: str | None,
    quote: str | None,
    header: bool,
    report: Callable[[int], object],
) -> Table:
    files = files_of(path)
    if format is None:
        format = _format_of(files[0])
        for file in files:
            if _format_of(file) != format:
                raise ValueError(
                    f"{file}: expected {format}, as {files[0]} is, got {_format_of(file)}; a "
                    "pattern such as 'folder/*.csv' chooses files"
                )
    tables = []
    for file in files:
        tables.append(_scan_file(file, wanted, format, separator, quote, header, report))
        if len(tables) > 1:
            _check_alike(tables[0], tables[-1], wanted, header)
    return tables[0] if len(tables) == 1 else _joined(str(path), tables)


def _check_alike(first: Table, other: Table, wanted: Collection[str], header: bool) -> None:
    """Raises a ValueError unless the used columns of both are the same."""
    used = {*wanted, *first.usual.values(), *other.usual.values()}
    columns = [[x for x in table.names if x in used or not header] for table in (first, other)]
    if sorted(columns[0]) != sorted(columns[1]):
        raise ValueError(
            f"{other.label}: expected the columns {', '.join(map(repr, columns[0])) or 'unknown'} "
            f"as in {first.label}, got {', '.join(map(repr, other.names[:20]))}"
        )


def _joined(label: str, tables: list[Table]) -> Table:
    """The rows of tables in their order, with the columns of the first.

    Integers of different widths become int64, and floats float64.
    """
    # They are in memory already, so that nothing is copied.
    frames = [table.frame.collect() for table in tables]
    types = frames[0].schema
    for table, frame in zip(tables, frames, strict=True):
        for name, first in types.items():
            wider = _wider(first, frame.schema[name])
            if wider is None:
                raise ValueError(
                    f"{name}: expected {first} in {table.label}, as in {tables[0].label}, "
                    f"got {frame.schema[name]}"
                )
            types[name] = wider
    frame = pl.concat((x.select(list(types)).cast(types) for x in frames), rechunk=False)
    parts = tuple((table.label, x.height) for table, x in zip(tables, frames, strict=True))
    return replace(tables[0], label=label, frame=frame.lazy(), parts=parts)


def _wider(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type that holds all values of both; None if there is none."""
    both = (one, other)
    if one == other:
        return one
    if all(x.is_integer() and x != pl.UInt64 for x in both):
        return pl.Int64()
    return pl.Float64() if all(x.is_float() for x in both) else None


def _scan_file(
    path: Path,
    wanted: Collection[str],
    format: str,
    separator: str | None,
    quote: str | None,
    header: bool,
    report: Callable[[int], object],
) -> Table:
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    if format not in ("csv", "tsv") and not (separator is quote is None and header):
        raise ValueError(
            f"separator, quote, header: expected none of them for format {format}, "
            f"got {separator!r}, {quote!r}, {header}"
        )
    for argument, value in (("separator", separator), ("quote", quote or None)):
        if value is not None and not (len(value) == 1 and value.isascii() and value not in "\r\n"):
            raise ValueError(f"{argument}: expected one ASCII character, got {value!r}")
    _check_content(path, format)

    with _errors(str(path), format):
        if format == "parquet":
            return Table(str(path), format, *_scan_parquet(path, wanted, report))
        if format == "scipy":
            return _of_matrix(str(path), _load_npz(path))
        if format == "lightgcn":
            _, users, items = parse_lightgcn(path, b"".join(read_bytes(path)))
            usual = {"user": "user", "item": "item"}
            frame = pl.LazyFrame({"user": users, "item": items})
            return Table(str(path), format, frame, list(usual), usual=usual)
        if format == "jsonl":
            return Table(str(path), format, *_scan_json(path, wanted, report), text=True)
        if format == "movielens":
            names = ["user", "item", "rating", "time"]
            usual = dict(zip(("user", "item", "weight", "time"), names, strict=True))
            frame, _ = _scan_rows(path, names, names, "::", report=report)
            return Table(str(path), format, frame, names, True, usual)
        if format == "inter":
            usual = {"user": "user_id", "item": "item_id", "weight": "rating", "time": "timestamp"}
            known = {*wanted, *usual.values()}
            frame, names = _scan_rows(path, known, None, "\t", typed=True, report=report)
            usual = {argument: name for argument, name in usual.items() if name in names}
            return Table(str(path), format, frame, names, True, usual)
        separator = separator or {"csv": ",", "tsv": "\t"}[format]
        sure, quote = quote is not None, {"csv": '"', "tsv": ""}[format] if quote is None else quote
        if quote == separator:
            raise ValueError(f"quote: expected another character than the separator, got {quote!r}")
        frame, names = _scan_rows(
            path, wanted, None if header else (), separator, quote, sure=sure, report=report
        )
        return Table(str(path), format, frame, names, text=True)


def _scan_rows(
    path: Path,
    wanted: Collection[str],
    names: Sequence[str] | None,
    separator: str,
    quote: str = "",
    *,
    sure: bool = False,
    typed: bool = False,
    report: Callable[[int], object],
) -> tuple[pl.LazyFrame, list[str]]:
    """Reads the wanted columns as text; returns them and the names of all columns.

    `names` is None where the first row holds them, followed by their types if `typed`, and empty
    for column_1, column_2, ...
    """

    def parse(rows: bytes, count: int, columns: list[int] | None) -> pl.DataFrame:
        frame = pl.read_csv(
            rows,
            has_header=False,
            columns=columns,
            separator=separator if len(separator) == 1 else TAKEN,
            quote_char=quote or None,
            infer_schema=False,
        )
        if frame.height != count:
            raise ValueError(f"{path}: expected {count} rows in a block, got {frame.height}")
        return frame

    blocks = read_rows(path, separator, quote, sure=sure)
    first, _ = next(blocks, (b"", 0))
    if not first:
        raise ValueError(f"{path}: expected events, got blank lines")
    row = [name or "" for name in parse(first, 1, None).row(0)]
    if names is None:
        names = [name.split(":")[0] for name in row] if typed else row
    else:
        blocks = itertools.chain([(first, 1)], blocks)
        names = names or [f"column_{place}" for place in range(1, len(row) + 1)]
    if len(names) != len(row):
        raise ValueError(f"{path}: expected {len(names)} fields in a row, got {len(row)}: {row}")
    columns = [place for place, name in enumerate(names) if name in wanted]
    used = [names[place] for place in columns]
    _check_unique(str(path), used)
    frames = [pl.DataFrame(schema=dict.fromkeys(used, pl.String))]
    if used:
        for rows, count in blocks:
            frames.append(parse(rows, count, columns))
            frames[-1].columns = used
            report(count)
    return pl.concat(frames, rechunk=False).lazy(), list(names)


def _scan_json(
    path: Path, wanted: Collection[str], report: Callable[[int], object]
) -> tuple[pl.LazyFrame, list[str]]:
    """Reads the wanted keys as text; returns them and the names of all keys of the first lines."""
    names: list[str] = []
    frames: list[pl.DataFrame] = []
    for number, text in read_lines(path):
        lines = [(number + at, line) for at, line in enumerate(text.split(b"\n")) if line.strip()]
        if not frames:
            names = list(dict.fromkeys(x for line in lines[:100] for x in _json(path, *line, ())))
            frames.append(pl.DataFrame(schema={x: pl.String for x in names if x in wanted}))
        if not frames[0].width:
            break
        if _SURROGATE.search(text):
            for at, line in lines:
                if _SURROGATE.search(line):
                    _json(path, at, line, wanted)
        frames.append(_parse_json(path, lines, frames[0].schema))
        report(len(lines))
    if not frames:
        raise ValueError(f"{path}: expected events, got none")
    return pl.concat(frames, rechunk=False).lazy(), names


def _parse_json(path: Path, lines: list[tuple[int, bytes]], schema: pl.Schema) -> pl.DataFrame:
    try:
        frame = pl.read_ndjson(b"\n".join(line for _, line in lines), schema=schema)
        if frame.height == len(lines):
            return frame
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        pass
    if len(lines) == 1:
        raise _no_json(path, *lines[0])
    half = len(lines) // 2
    return pl.concat(_parse_json(path, part, schema) for part in (lines[:half], lines[half:]))


def _json(path: Path, number: int, line: bytes, wanted: Collection[str]) -> dict[str, Any]:
    """The object of a line. Lone surrogates, which UTF-8 lacks, are an error in wanted values."""
    try:
        found = json.loads(line)
        used = {key: value for key, value in found.items() if key in wanted}
        json.dumps(used, ensure_ascii=False).encode()
    except (ValueError, AttributeError, RecursionError) as error:
        raise _no_json(path, number, line) from error
    return found


def _no_json(path: Path, number: int, line: bytes) -> ValueError:
    content = line[:80].decode(errors="replace")
    return ValueError(f"{path}, line {number}: expected a JSON object, got {content!r}")


def _scan_parquet(
    path: Path, wanted: Collection[str], report: Callable[[int], object]
) -> tuple[pl.LazyFrame, list[str]]:
    """Reads the wanted columns, text as categories; returns them and the names of all columns.

    This goes through pyarrow, because polars' own reader ends the process if a single bit of a file
    is wrong: in the count of a run of levels, for example, for which it then allocates 2^61 bytes.
    Each text is stored once, plus 4 bytes per event that has it.
    """
    with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
        names = file.schema_arrow.names
        columns = [name for name in names if name in wanted]
        _check_unique(str(path), columns)
        frames = [_of_arrow(file.schema_arrow.empty_table().select(columns))]
        lacking = file.metadata.num_rows
        for batch in file.iter_batches(columns=columns):
            batch.validate(full=True)  # polars trusts lengths, indices and UTF-8
            frames.append(_of_arrow(batch))
            lacking -= batch.num_rows
            report(batch.num_rows)
        if lacking:  # pyarrow skips the end of a damaged column silently
            raise pyarrow.ArrowInvalid(f"{lacking} rows of {file.metadata.num_rows} are missing")
    return pl.concat(frames, rechunk=False).lazy(), names


def _of_arrow(batch: Any) -> pl.DataFrame:
    # Column by column, as one column of a batch keeps the memory of the whole batch, text included.
    columns = zip(batch.schema.names, batch.columns, strict=True)
    frame = pl.DataFrame({name: pl.from_arrow(column) for name, column in columns})
    return frame.with_columns(pl.col(pl.String).cast(pl.Categorical))


def _check_unique(label: str, columns: list[str]) -> None:
    if len(set(columns)) < len(columns):
        raise ValueError(f"{label}: expected unique column names, got {', '.join(columns)}")


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
        one_row = "; of a csr_array, matrix[[row]] is a matrix" if matrix.ndim == 1 else ""
        raise ValueError(
            f"{label}: expected a matrix of real numbers, got {matrix.dtype} in {matrix.ndim} "
            f"dimensions{one_row}"
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


def _of_pandas(name: str, column: Any) -> pl.Series:
    """A pandas column; missing values, NaN included, become nulls."""
    try:
        # pandas has no type hints here, so mypy picks polars' overload for frames.
        return pl.from_pandas(column.rename(name))  # type: ignore[return-value]
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}: expected values of one type, got {error}") from error


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
