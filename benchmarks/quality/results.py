"""Stored results: a file of JSON lines per data set, one line per row and seed.

A result is stale if its row declares other settings now.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness.training import AS_GIVEN
from benchmarks.quality.rows import POPULARITY, Row
from hashgcn import settings
from hashgcn.files import write_text
from hashgcn.models import METHODS, HashModel, fields

Result = dict[str, Any]

# What tables read of a result.
_KEYS = {
    *("row", "seed", "method", "settings", "test", "rankings", "validation", "epochs"),
    *("train_seconds", "selection_seconds", "peak_memory_mb", "bytes_per_item"),
    *("cpu", "threads", "versions", "commit"),
}


def model(row: Row, seed: int = 0) -> HashModel:
    """The row's method with its settings: no trials choose others, so all rows try as many.

    Raises:
        ValueError: a method or a setting that does not exist.
    """
    if row.method not in METHODS:
        known = ", ".join((*METHODS, POPULARITY))
        raise ValueError(f"{row.id}: expected a method among {known}, got {row.method!r}")
    return METHODS[row.method](**AS_GIVEN | row.settings, seed=seed)


def with_settings(rows: list[Row], given: list[str]) -> list[Row]:
    """Rows with settings replaced, each where the method has it.

    Args:
        rows: see rows.select.
        given: texts KEY=VALUE.

    Raises:
        ValueError: a text of another form, a setting that no row's method has, a wrong value.
    """
    known = [fields(METHODS[r.method].network) if r.method in METHODS else {} for r in rows]
    wanted = settings.from_text(given, {k: v for of_row in known for k, v in of_row.items()})
    for name in wanted:
        if not any(name in of_row for of_row in known):
            raise ValueError(f"--set: expected a setting of the rows' methods, got {name!r}")
    changed = []
    for row, of_row in zip(rows, known, strict=True):
        mine = {name: value for name, value in wanted.items() if name in of_row}
        if mine:
            made = model(replace(row, settings=row.settings | mine)).settings.as_set()
            mine = {name: made[name] for name in mine}  # numbers, where text was given
        changed.append(replace(row, settings=row.settings | mine))
    return changed


def declared(row: Row, seed: int) -> dict[str, Any]:
    """Every setting of the row, including those at their default."""
    return {"seed": seed} if row.method == POPULARITY else model(row, seed).settings.resolved()


def path(folder: Path, data_set: str) -> Path:
    """The file of a data set's results."""
    return folder / f"{data_set}.jsonl"


def read(folder: Path, row: Row) -> list[Result]:
    """The row's results in the order of seeds, including stale ones.

    Raises:
        ValueError: a line that is no result; the message names it.
    """
    return [result for result in _read(path(folder, row.data_set)) if result["row"] == row.id]


def _read(file: Path) -> list[Result]:
    if not file.exists():
        return []
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            result = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: expected JSON, got {error}") from error
        lacking = _KEYS - result.keys() if isinstance(result, dict) else _KEYS
        if lacking:
            names = ", ".join(sorted(lacking))
            raise ValueError(f"{file}, line {number}: expected a result, got one without {names}")
        found.append(result)
    return found


def store(folder: Path, row: Row, result: Result) -> None:
    """Add a result, in place of the one with its seed."""
    _replace(folder, row, result["seed"], [{"row": row.id, **result}])


def forget(folder: Path, row: Row, seed: int) -> None:
    """Drop the result of a seed, if there is one."""
    _replace(folder, row, seed, [])


def _replace(folder: Path, row: Row, seed: int, new: list[Result]) -> None:
    file = path(folder, row.data_set)
    with _alone(folder):
        kept = [r for r in _read(file) if (r["row"], r["seed"]) != (row.id, seed)]
        ordered = sorted([*kept, *new], key=lambda result: (result["row"], result["seed"]))
        lines = (json.dumps(result, separators=(",", ":")) + "\n" for result in ordered)
        write_text(file, "".join(lines))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder: several processes may train seeds at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def differences(row: Row, result: Result) -> list[str]:
    """How the row that a result was made for differs from what it declares now; [] if it is fresh.

    A setting that did not exist when the result was made counts as its default.
    """
    if result["method"] != row.method:
        return [f"method {result['method']}, now {row.method}"]
    absent = [f"no ranking {name}" for name in row.rankings if not figures(result, name)]
    made, wanted = result["settings"], declared(row, result["seed"])
    defaults: dict[str, Any] = {}
    if row.method in METHODS:
        defaults = METHODS[row.method]().settings.resolved() | AS_GIVEN
    return absent + settings.differences(made, wanted, defaults)


def figures(result: Result, ranking: str) -> dict[str, float]:
    """Test metrics of a ranking; empty if the result lacks it."""
    return result["test"] if ranking == "codes" else result["rankings"].get(ranking, {})


def missing(folder: Path, row: Row) -> list[int]:
    """Seeds of the row without a result, or with a stale one."""
    found = {result["seed"] for result in read(folder, row) if not differences(row, result)}
    return [seed for seed in row.seeds if seed not in found]
