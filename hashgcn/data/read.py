"""Makes a data set of a source of events: columns, raw ids, filters, split."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from hashgcn.data import filters, splits, times
from hashgcn.data.ids import TEXT
from hashgcn.data.interactions import Dataset
from hashgcn.data.item_file import read_item_file
from hashgcn.data.parts import name_of
from hashgcn.data.progress import Rows
from hashgcn.data.scan import Table, scan

Split = Literal["random", "last", "time", "none"]
SPLITS = get_args(Split)
# Why events do not become pairs, after those that are incomplete, in the order of the steps.
REASONS = (
    "below min_weight",
    "of items outside item_file",
    "repeated",
    "of users above max_items_per_user",
    "outside the core",
    "unknown to train",
)
_COUNTED = "not counting the header and blank lines"
_DROP = "; drop_missing=True (--drop-missing) leaves such events out"


def read_interactions(
    source: Any,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    time: str | int | None = None,
    weight: str | int | None = None,
    test: Any = None,
    format: str | None = None,
    separator: str | None = None,
    quote: str | None = None,
    header: bool = True,
    time_format: str | None = None,
    drop_missing: bool = False,
    min_weight: float | None = None,
    item_file: str | os.PathLike[str] | None = None,
    item_file_column: str | None = None,
    max_items_per_user: int | None = None,
    k_core: int = 0,
    split: Split | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    name: str | None = None,
    progress: bool = True,
) -> Dataset:
    """Makes a data set of events, one row per interaction between a user and an item.

    The steps are, in this order: events below min_weight and, with drop_missing, incomplete ones
    are left out; events of items that item_file lacks are left out; of repeated events of a pair,
    only the first in time counts, and pairs of train are left out of test; users with more than
    max_items_per_user items are left out; pairs outside the k-core are left out; test pairs are
    split off. Users and items without any remaining pair are left out.

    The ids of a text format are integers if every one is written as an int64 is ("7", but not "07"
    or "7.0"), and strings otherwise. Ids of other sources keep their type. With a time, train and
    test know the order of a user's items, which recent_fraction and validation_part=last use.

    Args:
        source: the path of a file: CSV, TSV, JSON lines, Parquet, RecBole's .inter, MovieLens'
            .dat, LightGCN's text or SciPy's .npz, text also as .gz; or of a folder of such files,
            those of its subfolders included, except where a name begins with `_` or `.`; or a
            pattern such as "plays/2024-*.parquet". Several files have one format and the same
            columns, and are read as one, in sorted order of their paths. Or a polars or pandas
            frame, or a sparse matrix of users by items.
        user: the column of user ids, an int if a pandas frame has such names; None for the one that
            the format defines (inter: user_id; movielens, lightgcn, scipy: user).
        item: the column of item ids; None for the one that the format defines (inter: item_id;
            movielens, lightgcn, scipy: item).
        time: a column of numbers, dates or ISO 8601 text; None for the one that the format defines,
            if any. Events of equal time stay in the order of the source. Text without an offset is
            in UTC.
        weight: the column of numbers that min_weight applies to; None for the one that the format
            defines (inter, movielens: rating; scipy: weight).
        test: a source of test events with the same columns. split and test_fraction must be None.
        format: csv, tsv, jsonl, parquet, inter, movielens, lightgcn or scipy; None to tell it from
            the ending of the name.
        separator: the character between the columns of csv and tsv.
        quote: the character around fields of csv and tsv that hold separators or line breaks; ""
            for none; None for the usual: `"` for csv, none for tsv.
        header: whether csv and tsv start with column names; otherwise they are column_1,
            column_2, ...
        time_format: how the text of times is written, in the notation of strptime, e.g. "%d/%m/%Y";
            None for numbers and ISO 8601.
        drop_missing: leave out events that lack a user, an item or, if such columns are used, a
            time or weight (empty, null or NaN). By default, they are an error.
        min_weight: the smallest weight of an event that counts.
        item_file: the path of the ids of all items that are still there: text with one id per line
            (.txt), or CSV, TSV, JSON lines or Parquet; also a folder or a pattern. Ids are compared
            as text. Events of other items are left out.
        item_file_column: the column of ids in such a table; None for the one called like `item`,
            or the only one.
        max_items_per_user: leave out users with more distinct items than this, which are often
            bots; at least 1, None for no limit.
        k_core: users keep at least k items, and items at least k users; 0 keeps all.
        split: which pairs are for test. "random" (default): a random fraction of each user's items,
            in expectation; each user keeps at least one. "last": the last item of every user with
            two or more. "time": the latest fraction of all pairs, except those of users and items
            that train lacks. "none": no pairs, e.g. for a model that goes into production.
        test_fraction: the fraction of split "random" and "time", in (0, 1); 0.2 if None.
        seed: the seed of the random split, in [0, 2^64).
        name: the name of the data set; None for that of the file or folder.
        progress: show how many rows have been read, if reading takes longer than a second.

    Returns:
        Dataset; its left_out counts the events that did not become pairs.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an argument out of range; a missing column (the message lists the existing
            ones); missing ids, times or weights; NaN; text that is no time; no pairs for train or
            for test; a line with more or fewer fields than the first; a damaged file.

    Examples:
        >>> import polars as pl
        >>> from hashgcn.data import read_interactions
        >>> events = pl.DataFrame(
        ...     {
        ...         "listener": ["ann", "ann", "ben", "ben", "ann"],
        ...         "track": [7, 8, 8, 9, 7],
        ...         "played_at": [1, 2, 3, 4, 5],
        ...     }
        ... )
        >>> data = read_interactions(
        ...     events, user="listener", item="track", time="played_at", split="last", name="plays"
        ... )
        >>> data
        Dataset('plays', 2 users, 3 items, 2 train and 2 test pairs)
        >>> data.left_out
        {'repeated': 1}

    Note:
        Cost: O(events log events). Only the columns in use are kept, so peak memory is the unique
        ids plus about 120 bytes per event, or 155 if ids in Parquet are text
        (benchmarks/quality/measure_read_memory.py). LightGCN's text and matrices are read whole.
    """
    split, test_fraction = _check(
        test, min_weight, max_items_per_user, k_core, split, test_fraction, seed
    )
    given = {"user": user, "item": item, "time": time, "weight": weight}
    columns = {use: None if name is None else str(name) for use, name in given.items()}
    options: dict[str, Any] = {
        **{"format": format, "separator": separator, "quote": quote, "header": header}
    }
    if item_file is None and item_file_column is not None:
        raise ValueError(
            f"item_file_column: expected item_file with it, got {item_file_column!r} alone"
        )
    kept = (
        None if item_file is None else read_item_file(item_file, item_file_column, columns["item"])
    )
    if name is None:
        is_path = isinstance(source, (str, os.PathLike))
        name = name_of(Path(source)) if is_path else "frame"
    with Rows(f"reading {name}", progress) as bar:
        options["report"] = bar.update
        sources = [
            _open(part, columns, min_weight, drop_missing, time_format, options, bar.stage)
            for part in ([source] if test is None else [source, test])
        ]
        if split in ("last", "time") and not sources[0].has("time"):
            raise ValueError(
                f"time: expected a column in time= (--time-column), which split={split} needs, "
                "got None"
            )
        bar.stage("numbering ids")
        users, items = (_number(kind, sources) for kind in ("user", "item"))
        parts = [_read(part, users, items, min_weight) for part in sources]
        total = sum(part.events for part in sources)
        incomplete = sum(part.incomplete for part in sources)
        del sources  # they may hold the columns, and what follows needs the most memory
        bar.stage("making pairs")
        in_time = all("time" in part.columns for part in parts)
        if in_time:
            parts = [part.sort("time", maintain_order=True) for part in parts]
        counts = [sum(part.height for part in parts)]
        if not parts[0].height:
            raise ValueError(
                f"min_weight: expected some weights of at least {min_weight}, got none"
            )
        if kept is not None:
            parts = [_of_items(part, items, kept, item_file) for part in parts]
        counts.append(sum(part.height for part in parts))
        if test is not None:
            parts = [
                part.select("user", "item", pl.lit(held).alias("test"))
                for part, held in zip(parts, (False, True), strict=True)
            ]
        pairs = filters.first_of_each(pl.concat(parts))
        counts.append(pairs.height)
        if max_items_per_user is not None:
            pairs = filters.without_larger(pairs, max_items_per_user)
            if not pairs.height:
                raise ValueError(
                    f"max_items_per_user: expected users with at most {max_items_per_user} items, "
                    f"got none"
                )
        counts.append(pairs.height)
        core = filters.k_core(pairs, k_core)
        if not core.height:
            raise ValueError(
                f"k_core: expected a core of {k_core} in {pairs.height} pairs, got none"
            )
        train, held = _split(core, split, test_fraction, seed)
        rows = Dataset.from_pairs(
            name,
            *((part["user"].to_numpy(), part["item"].to_numpy()) for part in (train, held)),
            in_time=in_time,
        )
    counts += [core.height, train.height + held.height]
    left_out = {"incomplete": incomplete} | {
        reason: before - after
        for reason, before, after in zip(REASONS, [total, *counts[:-1]], counts, strict=True)
    }
    return replace(
        rows,
        user_ids=users.ids[rows.user_ids],
        item_ids=items.ids[rows.item_ids],
        left_out={reason: count for reason, count in left_out.items() if count},
        test_is_later=in_time and split in ("last", "time", "none"),
    )


def _of_items(part: pl.DataFrame, items: _Ids, kept: pl.Series, item_file: Any) -> pl.DataFrame:
    """The events of items whose ids, as text, are among those kept."""
    keys = items.keys.cast(pl.String)
    known = keys.is_in(kept.implode())
    if not known.any():
        raise ValueError(
            f"item_file: expected ids of items of the events, such as {keys[0]!r}, in {item_file}, "
            f"got others, such as {kept[0]!r}"
        )
    return part.filter(known[part["item"]])


def _split(
    pairs: pl.DataFrame, split: Split | None, fraction: float, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The train pairs and the test pairs; if split is None, the column `test` marks the latter."""
    if split == "none":
        return pairs, pairs.clear()
    if split is None:
        chosen = pairs["test"].to_numpy()
    elif split == "random":
        chosen = splits.random_of_each(pairs, fraction, seed)
    elif split == "last":
        chosen = splits.last_of_each(pairs)
    else:
        chosen = splits.latest(pairs, fraction)
    train, held = pairs.filter(~chosen), pairs.filter(chosen)
    if split == "time":
        for kind in ("user", "item"):
            known = train.select(kind).unique()
            held = held.join(known, on=kind, how="semi", maintain_order="left")
    for name, part in (("train", train), ("test", held)):
        if not part.height:
            how = "test" if split is None else f"split={split}"
            raise ValueError(
                f"{how}: expected pairs for train and test, got none of {pairs.height} for {name}"
            )
    return train, held


@dataclass(frozen=True)
class _Source:
    """One source after a first pass: columns user, item and, if used, time and weight."""

    table: Table
    frame: pl.LazyFrame
    events: int
    incomplete: int  # number of events that drop_missing left out
    ids: dict[str, pl.Series]

    def has(self, column: str) -> bool:
        return column in self.frame.collect_schema().names()


@dataclass(frozen=True)
class _Ids:
    """Sorted raw ids; the row of an id is its position."""

    keys: pl.Series  # as they occur in the sources
    ids: np.ndarray


def _check(
    test: Any,
    min_weight: float | None,
    max_items_per_user: int | None,
    k_core: int,
    split: Split | None,
    test_fraction: float | None,
    seed: int,
) -> tuple[Split | None, float]:
    """Checks the arguments; returns the split and the fraction, with their defaults filled in."""
    if test is not None and (split is not None or test_fraction is not None):
        raise ValueError(
            "split, test_fraction: expected None where test is given, "
            f"got {split!r}, {test_fraction!r}"
        )
    if test is None:
        split = "random" if split is None else split
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    if split in ("last", "none") and test_fraction is not None:
        what = "one item of each user" if split == "last" else "no items"
        raise ValueError(
            f"test_fraction: expected None with split={split}, which holds out {what}, "
            f"got {test_fraction}"
        )
    test_fraction = 0.2 if test_fraction is None else test_fraction
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction: expected a number in (0, 1), got {test_fraction}")
    if min_weight is not None and not -np.inf < min_weight < np.inf:
        raise ValueError(f"min_weight: expected a finite number, got {min_weight}")
    most = max_items_per_user
    if most is not None and (most != int(most) or most < 1):
        raise ValueError(f"max_items_per_user: expected an integer >= 1 or None, got {most}")
    if k_core != int(k_core) or k_core < 0:
        raise ValueError(f"k_core: expected an integer >= 0, got {k_core}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: expected an integer in [0, 2^64), got {seed}")
    return split, test_fraction


def _open(
    source: Any,
    columns: dict[str, str | None],
    min_weight: float | None,
    drop_missing: bool,
    time_format: str | None,
    options: dict[str, Any],
    stage: Callable[[str], None],
) -> _Source:
    """Checks the columns in use, names them user, item, ..., and collects the unique ids."""
    table = scan(source, [name for name in columns.values() if name is not None], **options)
    stage("checking columns")
    used = {}
    for argument, asked in columns.items():
        name = table.usual.get(argument) if asked is None else asked
        if argument == "weight":
            if min_weight is None and asked is not None:
                raise ValueError(
                    f"weight: expected min_weight with it, which is its only use, got {asked!r}"
                )
            if min_weight is not None and name is None:
                raise ValueError("weight: expected the column that min_weight applies to, got None")
            if min_weight is None:
                continue
        if name is None and argument in ("user", "item"):
            raise ValueError(
                f"{argument}: expected a column of {table.label} in {argument}= "
                f"(--{argument}-column), one of {_listed(table.names)}, got None"
            )
        if name is None:
            continue
        if name not in table.names:
            raise ValueError(
                f"{argument}: expected a column of {table.label}, which has "
                f"{_listed(table.names)}, got {name!r}"
            )
        used[argument] = name
    with table.errors():
        frame = table.frame.select(pl.col(name).alias(use) for use, name in used.items())
        types = frame.collect_schema()
    if time_format is not None and "time" not in types:
        raise ValueError(f"time_format: expected a time column with it, got {time_format!r} alone")
    ids = {kind: _id_column(kind, types[kind], table.label) for kind in ("user", "item")}
    if table.text:
        frame = frame.with_columns(pl.col("user", "item").replace("", None))
    frame = frame.with_row_index("row", offset=1)
    everything = frame.select(pl.len())
    if drop_missing:
        frame = frame.filter(~pl.any_horizontal(_missing(name, types[name]) for name in types))
    survey = [frame.select(column.unique()) for column in ids.values()]
    survey += [frame.select(pl.len().alias("events"), *_faults(types)), everything]
    with table.errors():
        users, items, counts, total = pl.collect_all(survey, engine="streaming")
    row = counts.row(0, named=True)
    _report_faults(table, frame, types, row)
    if not row["events"]:
        raise ValueError(f"{table.label}: expected events, got none")
    numbers = [name for name in ("time", "weight") if types.get(name) == pl.String]
    if "time" in types and (time_format is not None or row.get("time no number")):
        frame = _with_times(table, frame, types["time"], time_format)
        numbers = [name for name in numbers if name != "time"]
    frame = frame.with_columns(*ids.values(), *(_as_number(name, row) for name in numbers))
    unique = {"user": users["user"], "item": items["item"]}
    incomplete = total.item() - row["events"]
    return _Source(table, frame, row["events"], incomplete, unique)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:20]))
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _id_column(kind: str, dtype: pl.DataType, label: str) -> pl.Expr:
    if dtype.is_integer():
        return pl.col(kind).cast(pl.Int64, strict=False)
    if dtype == pl.String or dtype in (pl.Categorical, pl.Enum):
        return pl.col(kind).cast(pl.String)
    advice = ""
    if dtype.is_float():
        advice = (
            "; where an id is missing, pandas turns integers into floats: convert the column with "
            "astype('Int64')"
        )
    raise ValueError(f"{kind}: expected integers or strings in {label}, got {dtype}{advice}")


def _missing(column: str, dtype: pl.DataType) -> pl.Expr:
    """Null; for times and weights also NaN and the empty string."""
    missing = pl.col(column).is_null()
    if column in ("time", "weight") and (dtype == pl.String or dtype.is_float()):
        missing |= pl.col(column).cast(pl.Float64, strict=False).is_nan().fill_null(False)
        missing |= pl.col(column).cast(pl.String) == ""
    return missing


def _faults(types: pl.Schema) -> list[pl.Expr]:
    """Counts of everything that may be wrong with the columns."""
    counts = [pl.col(kind).null_count().alias(f"{kind} missing") for kind in ("user", "item")]
    counts += [
        _outside_int64(kind).sum().alias(f"{kind} outside")
        for kind in ("user", "item")
        if types[kind].is_integer()
    ]
    for name in ("time", "weight"):
        if name not in types:
            continue
        column = pl.col(name)
        counts.append(column.null_count().alias(f"{name} missing"))
        if types[name] == pl.String:
            number = column.cast(pl.Float64, strict=False)
            integer = column.cast(pl.Int64, strict=False)
            counts.append(integer.null_count().alias(f"{name} no integer"))
            counts.append(number.null_count().alias(f"{name} no number"))
            counts.append(number.is_nan().sum().alias(f"{name} NaN"))
        elif types[name].is_float():
            counts.append(column.is_nan().sum().alias(f"{name} NaN"))
    return counts


def _outside_int64(column: str) -> pl.Expr:
    return pl.col(column).is_not_null() & pl.col(column).cast(pl.Int64, strict=False).is_null()


def _report_faults(
    table: Table, frame: pl.LazyFrame, types: pl.Schema, counts: dict[str, int]
) -> None:
    """Raises an error for the first faulty column, and names the first faulty row."""

    def fail(column: str, expected: str, got: str, fault: pl.Expr, advice: str = "") -> None:
        raise _first_fault(table, frame, column, expected, got, fault, advice)

    for column in types.names():
        missing = counts[f"{column} missing"]
        if counts.get(f"{column} outside"):
            fail(column, "an id in [-2^63, 2^63)", "{}", _outside_int64(column))
        what = {"user": "an id", "item": "an id"}.get(column, f"a {column}")
        if missing:
            fail(column, what, f"{missing} missing", pl.col(column).is_null(), _DROP)
        if counts.get(f"{column} NaN"):
            value = pl.col(column).cast(pl.Float64, strict=False)
            fail(column, "a number", f"{counts[f'{column} NaN']} NaN", value.is_nan(), _DROP)
    if "weight" in types:
        if counts.get("weight no number"):
            value = pl.col("weight").cast(pl.Float64, strict=False)
            fail("weight", "a number", "{!r}", value.is_null())
        if types["weight"] != pl.String and not types["weight"].is_numeric():
            raise ValueError(f"weight: expected numbers in {table.label}, got {types['weight']}")
    if "time" in types and types["time"] != pl.String:
        known = types["time"].is_numeric() or types["time"] in (pl.Date, pl.Datetime)
        if not known:
            raise ValueError(
                f"time: expected numbers, dates or ISO 8601 text in {table.label}, "
                f"got {types['time']}"
            )


def _first_fault(
    table: Table,
    frame: pl.LazyFrame,
    column: str,
    expected: str,
    got: str,
    fault: pl.Expr,
    advice: str = "",
) -> ValueError:
    """An error with the number and the value of the first row for which `fault` holds."""
    with table.errors():
        first = frame.filter(fault).head(1).collect()
    label, row = table.place(first["row"].item())
    return ValueError(
        f"{column}: expected {expected} in every row of {label}, got "
        f"{got.format(first[column].item())} (row {row}, {_COUNTED}){advice}"
    )


def _with_times(
    table: Table, frame: pl.LazyFrame, dtype: pl.DataType, time_format: str | None
) -> pl.LazyFrame:
    """Text as times: numbers that order them."""
    if dtype != pl.String:
        raise ValueError(f"time_format: expected text in the time column, got {dtype}")
    with table.errors():
        text = frame.select("time").collect()["time"]
    parsed = times.parse(text, time_format)
    if parsed.null_count():
        expected, advice = f"text in the format {time_format!r}", ""
        if time_format is None:
            expected = "numbers, dates or ISO 8601 text"
            advice = "; time_format= (--time-format) says how other text is written"
        fault = pl.lit(parsed.is_null())
        raise _first_fault(table, frame, "time", expected, "{!r}", fault, advice)
    return frame.with_columns(parsed.alias("time"))


def _as_number(column: str, counts: dict[str, int]) -> pl.Expr:
    """Text as int64 if all of it fits, else as float64 if it does, else as it is."""
    if not counts[f"{column} no integer"]:
        return pl.col(column).cast(pl.Int64)
    if not counts[f"{column} no number"]:
        return pl.col(column).cast(pl.Float64)
    return pl.col(column)


def _number(kind: str, sources: Sequence[_Source]) -> _Ids:
    """The sorted ids of all users or of all items."""
    types = {source.ids[kind].dtype for source in sources if not source.table.text}
    text = [source.ids[kind] for source in sources if source.table.text]
    integers = bool(text) and all(_are_integers(ids) for ids in text)
    if text:
        types.add(pl.Int64() if integers else pl.String())
    if len(types) > 1:
        raise ValueError(
            f"{kind}: expected ids of one type, got integers and strings in "
            f"{' and '.join(source.table.label for source in sources)}"
        )
    every = pl.concat(
        source.ids[kind].cast(pl.Int64) if integers else source.ids[kind] for source in sources
    )
    every = every.unique().sort()
    ids = every.to_numpy()
    keys = every.cast(pl.String) if integers and all(s.table.text for s in sources) else every
    return _Ids(keys, ids if ids.dtype.kind == "i" else ids.astype(TEXT))


def _are_integers(ids: pl.Series) -> bool:
    """Whether each is spelled exactly as its int64 is, so that nothing is lost."""
    return bool((ids.cast(pl.Int64, strict=False).cast(pl.String) == ids).fill_null(False).all())


def _read(source: _Source, users: _Ids, items: _Ids, min_weight: float | None) -> pl.DataFrame:
    """The user and item rows, uint32, and the time if there is one, in the source's order."""
    frame = source.frame
    if min_weight is not None:
        frame = frame.filter(pl.col("weight") >= min_weight)
    for kind, ids in (("user", users), ("item", items)):
        rows = pl.int_range(len(ids.keys), dtype=pl.UInt32, eager=True)
        keys = pl.LazyFrame({kind: ids.keys, f"{kind} row": rows})
        if source.table.text and ids.keys.dtype != pl.String:
            frame = frame.with_columns(pl.col(kind).cast(pl.Int64))
        frame = frame.join(keys, on=kind, how="left", maintain_order="left")
    kept = [pl.col(f"{kind} row").alias(kind) for kind in ("user", "item")]
    if source.has("time"):
        kept.append(pl.col("time"))
    with source.table.errors():
        return frame.select(kept).collect(engine="streaming")
