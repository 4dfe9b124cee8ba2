"""Stored results, one JSON file a row; a result is stale if its row declares other settings now."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.popularity import Popularity
from benchmarks.quality.rows import Row
from hashgcn import models
from hashgcn.files import write_text
from hashgcn.runs.folder import read_json

Result = dict[str, Any]

# What tables read of a result.
_KEYS = {
    *("seed", "method", "settings", "validation", "epochs", "train_seconds", "selection_seconds"),
    *("peak_rss_mb", "bytes_per_item", "cpu", "threads", "versions", "commit", "dirty"),
}


def model(row: Row, seed: int = 0) -> Any:
    """The row's method with its settings; ValueError for a method or settings that do not exist."""
    return method(row)(**row.settings, seed=seed)


def method(row: Row) -> Any:
    """The row's class; ValueError if there is none of that name."""
    exported = {name: getattr(models, name) for name in models.__all__}
    known = {name: value for name, value in exported.items() if isinstance(value, type)}
    known[Popularity.__name__] = Popularity
    if row.method not in known:
        raise ValueError(
            f"{row.id}: expected a method among {', '.join(known)}, got {row.method!r}"
        )
    return known[row.method]


def with_settings(rows: list[Row], given: dict[str, Any]) -> list[Row]:
    """Rows with settings replaced, each where the method has it; ValueError where none has."""
    known = [type(model(row).settings).model_fields.keys() for row in rows]
    for name in given:
        if not any(name in fields for fields in known):
            raise ValueError(f"--set: expected a setting of the rows' methods, got {name!r}")
    changed = []
    for row, fields in zip(rows, known, strict=True):
        mine = {name: value for name, value in given.items() if name in fields}
        settings = model(replace(row, settings=row.settings | mine)).settings
        mine = {name: getattr(settings, name) for name in mine}  # numbers, where text was given
        changed.append(replace(row, settings=row.settings | mine))
    return changed


def declared(row: Row, seed: int) -> dict[str, Any]:
    """Every setting of the row, defaults included."""
    return model(row, seed).settings.resolved()


def path(folder: Path, row: Row) -> Path:
    return folder / row.data_set / f"{row.id}.json"


def read(folder: Path, row: Row) -> list[Result]:
    """The row's results by ascending seed, stale ones included; none if there is no file.

    Raises:
        ValueError: a file that does not hold results of this row.
    """
    file = path(folder, row)
    if not file.exists():
        return []
    content = read_json(file)
    if (content.get("row"), content.get("data_set")) != (row.id, row.data_set):
        raise ValueError(f"{file}: expected results of {row.id} on {row.data_set}, got others")
    found = content.get("results")
    results: list[Any] = found if isinstance(found, list) else [None]
    for result in results:
        lacking = _KEYS - result.keys() if isinstance(result, dict) else _KEYS
        if lacking:
            names = ", ".join(sorted(lacking))
            raise ValueError(f"{file}: expected results, got one without {names}")
    return results


def write(folder: Path, row: Row, results: list[Result]) -> None:
    """Replace the row's file: sorted by seed, a value a line, so that differences read well."""
    file = path(folder, row)
    ordered = sorted(results, key=lambda result: result["seed"])
    content = {"row": row.id, "data_set": row.data_set, "results": ordered}
    write_text(file, json.dumps(content, indent=1) + "\n")


def store(folder: Path, row: Row, result: Result) -> None:
    """Add a result, in place of the one with its seed."""
    with _alone(folder, row):
        others = [other for other in read(folder, row) if other["seed"] != result["seed"]]
        write(folder, row, [*others, result])


def forget(folder: Path, row: Row, seed: int) -> None:
    """Drop the result of a seed, if there is one, and a file without results."""
    with _alone(folder, row):
        kept = [result for result in read(folder, row) if result["seed"] != seed]
        if kept:
            write(folder, row, kept)
        else:
            path(folder, row).unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path, row: Row) -> Iterator[None]:
    """Lock the data set's folder: processes may train seeds of one row side by side."""
    file = path(folder, row)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def differences(row: Row, result: Result) -> list[str]:
    """What a result was made with that the row does not declare now; none: it is not stale.

    A setting that did not exist when the result was made counts as its default.
    """
    wanted, made = declared(row, result["seed"]), result["settings"]
    if result["method"] != row.method:
        return [f"method {result['method']}, now {row.method}"]
    made = method(row)().settings.resolved() | made
    return [f"no {name}" for name in row.rankings if name not in result] + [
        f"{name} {made[name]}, now {wanted.get(name, 'no setting')}"
        for name in made
        if name not in wanted or made[name] != wanted[name]
    ]


def fresh(folder: Path, row: Row) -> list[Result]:
    """The row's results that are not stale, by ascending seed."""
    return [result for result in read(folder, row) if not differences(row, result)]


def missing(folder: Path, row: Row) -> list[int]:
    """Seeds of the row without a result, or with a stale one."""
    found = {result["seed"] for result in fresh(folder, row)}
    return [seed for seed in row.seeds if seed not in found]
