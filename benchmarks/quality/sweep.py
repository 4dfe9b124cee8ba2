"""What settings do to the validation metrics: the tables of docs/results.md.

    python -m benchmarks.quality.sweep gowalla DATA              # runs that the tables lack
    python -m benchmarks.quality.sweep gowalla DATA --set code_length=32 --set tau_score=1.4
    python -m benchmarks.quality.sweep gowalla DATA --method lightgcn --set layers=2
    python -m benchmarks.quality.sweep --table                   # the tables of the stored runs

A run is a selection alone: it trains without the last fifth of each user's train items, and is
evaluated on them; test is not looked at. `--set validation_part=random --set
validation_fraction=0.1` holds out what training selects on. Each run adds a JSON line to
benchmarks/results/sweep/<data set>.jsonl: all settings, the best epoch, its metrics, the seconds,
and what it was run with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks import markdown
from benchmarks.harness import machine
from benchmarks.harness.training import AS_GIVEN, start
from hashgcn import settings
from hashgcn.data import Dataset, load
from hashgcn.models import METHODS, fields

RESULTS = machine.RESULTS / "sweep"
HELD_OUT = AS_GIVEN | {"validation_part": "last", "validation_fraction": 0.2}
METRICS = ("recall@50", "recall@100", "ndcg@50", "ndcg@100")

# Data sets, settings of all rows that differ from RecallHash's defaults, and a row for each change.
TABLES: list[tuple[tuple[str, ...], dict[str, Any], list[dict[str, Any]]]] = [
    (
        ("gowalla", "yelp2018"),
        {},
        [
            {},
            {"user_levels": 1},
            {"user_levels": 4},
            {"tau_score": 7.86},
            {"popularity_bits": 14},
        ],
    ),
    (
        ("gowalla", "yelp2018"),
        {"user_levels": 1},
        [
            {},
            {"first_layer": 0},
            {"recent_fraction": 0.0},
            {"recent_fraction": 0.05},
            {"recent_fraction": 0.25},
            {"tau_score": 2.4},
            {"tau_score": 3.5},
            {"popularity_bits": 0},
            {"popularity_bits": 10},
            {"popularity_bits": 18},
            {"train_cutoffs": (50,)},
        ],
    ),
    (
        ("gowalla",),
        {"user_levels": 1, "code_length": 32},
        [{}, {"tau_score": 2.0}],
    ),
    (
        ("gowalla",),
        {"user_levels": 1, "code_length": 128, "popularity_bits": 28},
        [
            {},
            {"popularity_bits": 36},
            {"popularity_bits": 44},
            {"tau_score": 7.5},
            {"epochs": 4},
            {"epochs": 5},
            {"epochs": 5, "train_cutoffs": (20, 50, 100)},
        ],
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", help="name of the data set")
    parser.add_argument("root", nargs="?", help="folder that contains its folder")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="run once with this setting"
    )
    parser.add_argument("--method", choices=METHODS, default="recall_hash")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="print the tables and run nothing")
    options = parser.parse_args()
    if options.table:
        print("\n\n".join(filter(None, (table(*spec, options.results) for spec in TABLES))))
        return
    if options.name is None:
        parser.error("expected a data set or --table")
    changes = [settings.from_text(options.set or [], fields(METHODS[options.method].network))]
    if options.set is None and options.method == "recall_hash":
        changes = lacking(options.name, options.results)
    data = load(options.name, options.root)
    options.results.mkdir(parents=True, exist_ok=True)
    for change in changes:
        line = json.dumps(run(data, options.method, change), separators=(",", ":"))
        print(line, flush=True)
        with (options.results / f"{options.name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def run(data: Dataset, method: str, change: dict[str, Any]) -> dict[str, Any]:
    """Select the epoch of a method with changed settings; the line of results."""
    model = METHODS[method](**HELD_OUT | change)
    loop = start(model, data.train, "selection")
    loop.run_epochs(model.settings.train.epochs)
    epoch = loop.chosen_epochs()
    return {
        "method": method,
        "settings": model.settings.resolved(),
        "epoch": epoch,
        "validation": loop.position.history[epoch - 1]["validation"],
        "seconds": round(loop.position.seconds["selection"], 1),
        "threads": torch.get_num_threads(),
        "versions": machine.core_versions(),
        "commit": machine.commit(),
        "date": machine.today(),
    }


def found(name: str, results: Path) -> list[dict[str, Any]]:
    """The data set's runs; a setting that did not exist at the time counts as its default."""
    file = results / f"{name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    entries = [json.loads(line) for line in lines]
    for entry in entries:
        defaults = METHODS[entry["method"]]().settings.resolved() | AS_GIVEN
        entry["settings"] = defaults | entry["settings"]
    return entries


def metrics_of(change: dict[str, Any], entries: list[dict[str, Any]]) -> dict[str, float] | None:
    """Metrics of the latest run of RecallHash with these settings; None if there is none."""
    wanted = METHODS["recall_hash"](**HELD_OUT | change).settings.resolved()
    for entry in reversed(entries):
        if entry["method"] == "recall_hash" and entry["settings"] == wanted:
            return entry["validation"]
    return None


def lacking(name: str, results: Path) -> list[dict[str, Any]]:
    """Rows of the tables that lack a run on this data set, each once."""
    entries = found(name, results)
    rows: list[dict[str, Any]] = []
    for names, common, changes in TABLES:
        for change in [common | change for change in changes] if name in names else []:
            if change not in rows and metrics_of(change, entries) is None:
                rows.append(change)
    return rows


def table(
    names: tuple[str, ...], common: dict[str, Any], changes: list[dict[str, Any]], results: Path
) -> str:
    """Rows that were run, for data sets with at least two of them, as Markdown; "" if none has.

    What the rows have in common stands at the head of their column.
    """
    columns = {}
    for name in names:
        entries = found(name, results)
        of_name = [metrics_of(common | change, entries) for change in changes]
        if sum(metrics is not None for metrics in of_name) > 1:
            columns[name] = of_name
    if not columns:
        return ""
    heads = [head.replace("recall", "R").replace("ndcg", "N") for head in METRICS]
    header = [
        titled(common),
        *(x for n in columns for x in (f"{n.capitalize()} {heads[0]}", *heads[1:])),
    ]
    lines = []
    for change, row in zip(changes, zip(*columns.values(), strict=True), strict=True):
        if any(row):
            values = [f"{metrics[x]:.4f}" if metrics else "" for metrics in row for x in METRICS]
            lines.append([titled(change) or ("no change" if common else "defaults"), *values])
    return markdown.table(header, lines)


def titled(change: dict[str, Any]) -> str:
    return ", ".join(f"`{key}={shown(value)}`" for key, value in change.items())


def shown(value: Any) -> str:
    """A value in the form that `--set` takes."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
