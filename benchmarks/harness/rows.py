"""Files of measured rows: JSON lines, in which what many rows share stands once.

A line of conditions says where and with what rows were measured, and gives that a key:

    {"conditions": "9f2c61d0", "machine": {...}, "commit": ..., "threads": 1, ...}

A row names its conditions; fields without a value, and those that follow from others, are left out:

    {"at": "9f2c61d0", "op": "pack_codes", "name": ..., "shape": {...}, "median": 0.00124, ...}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.race import Work, with_ratios
from hashgcn.files import write_text

Row = dict[str, Any]

# What tells one case from another; of the rows that agree in all of it the latest counts.
KEY = (
    *("op", "name", "mode", "shape", "dtype", "input", "note", "curve"),
    *("threads", "instruction_set", "machine"),
)
_CONDITIONS = (
    *("machine", "versions", "commit", "date", "threads", "instruction_set", "ceilings"),
)
_DERIVED = ("ratio", "percent_of_bound")
_DIGITS = 7
_ROW: Row = {
    "note": None,
    "curve": None,
    "memory": None,
    "others": None,
    "baselines": [],
    "skipped": {},
}
_BASELINE: Row = {
    "agreement": None,
    "memory": None,
    "share": 1.0,
    "memory_full": None,
    "note": None,
}


def append(path: Path, row: Row) -> None:
    """Add a row, after its conditions unless the file holds them."""
    conditions, rest = _parts(row)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = f'{{"conditions":"{rest["at"]}"'
    with path.open("a", encoding="utf-8") as file:
        if known not in text:
            file.write(_line({"conditions": rest["at"], **conditions}))
        file.write(_line(rest))


def read(files: Iterable[Path]) -> list[Row]:
    """The latest row of every case, in the order in which the cases first appear.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not a row, which the message names, or no row at all.
    """
    found = {}
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        found[str(path)] = path.read_text(encoding="utf-8")
    return parse(found)


def parse(texts: dict[str, str]) -> list[Row]:
    """The same of the texts of files, by name."""
    latest: dict[str, Row] = {}
    for path, text in texts.items():
        conditions: dict[str, Row] = {}
        for number, line in enumerate(text.splitlines(), 1):
            try:
                content = json.loads(line)
                if "conditions" in content:
                    conditions[content.pop("conditions")] = content
                    continue
                row = _whole(content, conditions)
                latest[json.dumps([row[key] for key in KEY])] = row
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected a benchmark's row, got {error!r}"
                ) from error
    if not latest:
        raise ValueError("expected at least one row, got none")
    return list(latest.values())


def compact(path: Path) -> None:
    """Keep the latest row of every case alone, and the conditions that these have."""
    conditions: dict[str, str] = {}
    lines = []
    for row in read([path]):
        shared, rest = _parts(row)
        conditions[rest["at"]] = _line({"conditions": rest["at"], **shared})
        lines.append(_line(rest))
    write_text(path, "".join([*conditions.values(), *lines]))


def _parts(row: Row) -> tuple[Row, Row]:
    """The conditions of a row, and the rest with their key."""
    conditions = {key: _short(row[key]) for key in _CONDITIONS}
    digest = hashlib.sha256(json.dumps(conditions).encode()).hexdigest()[:8]
    rest = {key: _short(value) for key, value in row.items() if key not in _CONDITIONS}
    rest["work"] = {key: value for key, value in rest["work"].items() if value != 0}
    rest["baselines"] = [
        {key: value for key, value in baseline.items() if value != _BASELINE.get(key, "")}
        for baseline in rest["baselines"]
    ]
    return conditions, {"at": digest, **_short(rest)}


def _short(value: Any) -> Any:
    """Numbers of _DIGITS digits; of an object what has a value and does not follow from others."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list):
        return [_short(part) for part in value]
    if not isinstance(value, dict):
        return value
    found = {key: _short(part) for key, part in value.items() if key not in _DERIVED}
    return {key: part for key, part in found.items() if part not in (None, {}, [])}


def _whole(content: Row, conditions: dict[str, Row]) -> Row:
    row = {**conditions[content.pop("at")], **content}
    row |= {key: value for key, value in _ROW.items() if key not in row}
    row["work"] = asdict(Work(**row["work"]))
    row["baselines"] = [{**_BASELINE, **baseline} for baseline in row["baselines"]]
    return with_ratios(row)


def _line(content: Row) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n"
