"""Tables of the stored results, as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

from benchmarks import markdown as md
from benchmarks.quality import pictures, results
from benchmarks.quality.rows import (
    ABLATION_BASE,
    DATA_SETS,
    METRICS,
    PUBLISHED,
    Row,
    published,
)
from hashgcn.files import write_atomic, write_text

Content = dict[str, Any]
Entry = dict[str, Any]
_HEADINGS = {"recall@50": "R@50", "recall@100": "R@100", "ndcg@50": "N@50", "ndcg@100": "N@100"}
_FORMS = ("the paper's form", "popularity bits", "popularity bits and recent items")


class Spread(TypedDict):
    """Mean and standard deviation over seeds; None for one seed."""

    mean: float
    std: float | None


def listed(rows: Iterable[Row], stored: Path) -> list[dict[str, Any]]:
    """Data set, id, groups and the stored seeds of each row."""
    found = []
    for row in rows:
        entry = _entry(row, next(iter(row.rankings)), results.read(stored, row))
        state = _seeds([entry]) if entry["seeds"] else entry["absent"]
        entry = {"data_set": row.data_set, "id": row.id, "groups": list(row.groups)}
        found.append({**entry, "stored": state})
    return found


def listing(found: Iterable[dict[str, Any]]) -> str:
    """What `listed` found, one line per row."""
    lines = [
        [" ".join(value) if isinstance(value, list) else value for value in row.values()]
        for row in found
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def write(rows: Sequence[Row], stored: Path, folder: Path) -> list[Path]:
    """Write reproduction.json, reproduction.md and, where there are results, the pictures.

    Returns:
        the files. Equal results give equal texts.
    """
    content = collect(rows, stored)
    drawn = pictures.draw(content)
    texts = {
        "reproduction.json": json.dumps(content, indent=1) + "\n",
        "reproduction.md": markdown(content, list(drawn)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, figure in drawn.items():
        write_atomic(folder / name, partial(figure.savefig, format="png", dpi=130))
    return [folder / name for name in (*texts, *drawn)]


def collect(rows: Sequence[Row], stored: Path) -> Content:
    """Everything that tables and pictures show.

    Returns:
        {"published": the published figures by name, data set and metric,
         "rows": an entry per row and ranking: what the row declares, its seeds, its costs, and its
             figures with mean, standard deviation (None for one seed), difference to the published
             figure in percent, and bounds under ties,
         "lengths": points by data set, form and metric, and the shortest code that reaches the
             published figure,
         "ablation": differences to the base in percent, by data set and row}
    """
    entries = [
        _entry(row, ranking, results.read(stored, row)) for row in rows for ranking in row.rankings
    ]
    return {
        "published": {
            name: {at: dict(zip(METRICS, values, strict=True)) for at, values in on.items()}
            for name, on in PUBLISHED.items()
        },
        "rows": entries,
        "lengths": _lengths(entries),
        "ablation": _ablation(entries),
    }


def _entry(row: Row, ranking: str, found: list[results.Result]) -> Entry:
    changes = {result["seed"]: results.differences(row, result) for result in found}
    counted = [result for result in found if not changes[result["seed"]]]
    entry = {
        "row": row.id,
        "ranking": ranking,
        "data_set": row.data_set,
        "title": row.title(ranking),
        "groups": list(row.groups),
        "published": row.published,
        "settings": row.settings,
        "seeds": [result["seed"] for result in counted],
        "missing": [s for s in row.seeds if s not in changes or changes[s]],
        "stale": {seed: change for seed, change in changes.items() if change},
    }
    if not counted:
        return entry | {"absent": "stale" if changes else "not run"}
    return entry | {
        "epochs": [result["epochs"] for result in counted],
        "capped": any(map(_is_capped, counted)),
        "figures": {metric: _figure(row, ranking, counted, metric) for metric in METRICS},
        "train_seconds": _spread([result["train_seconds"] for result in counted]),
        "selection_seconds": _spread([result["selection_seconds"] for result in counted]),
        "peak_memory_mb": max(result["peak_memory_mb"] for result in counted),
        "bytes_per_item": counted[0]["bytes_per_item"].get(ranking),
        "made": sorted({_made(result) for result in counted}),
    }


def _is_capped(result: results.Result) -> bool:
    """Whether validation chose the last epoch that the settings allow."""
    return bool(result["validation"]) and result["epochs"] == result["settings"].get("epochs")


def _figure(row: Row, ranking: str, counted: list[results.Result], metric: str) -> dict[str, Any]:
    spread = _spread([results.figures(result, ranking)[metric] for result in counted])
    reference = published(row).get(metric)
    with_ties = [result for result in counted if ranking == "codes" and "ties" in result]
    ties = [result["ties"][metric] for result in with_ties]
    return {
        **spread,
        "published": reference,
        "percent": reference and percent(spread["mean"], reference),
        "ties": {name: statistics.fmean(tie[name] for tie in ties) for name in ties[0]}
        if ties
        else None,
    }


def _spread(values: list[float]) -> Spread:
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def _made(result: results.Result) -> str:
    return ", ".join(
        (
            f"{result['cpu']}, {result['threads']} threads",
            *(f"{name} {version}" for name, version in result["versions"].items()),
            f"commit {result['commit']}".replace("+", " with changes"),
        )
    )


def percent(value: float, reference: float) -> float:
    """How far a value is above the reference, in percent of the reference."""
    return 100 * (value / reference - 1)


def _lengths(entries: list[Entry]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entries:
        if "curve" not in entry["groups"]:
            continue
        form, bits = _form(entry), entry["settings"]["code_length"]
        for metric in METRICS:
            at = (
                found.setdefault(entry["data_set"], {})
                .setdefault(form, {})
                .setdefault(metric, {"points": [], "not_run": [], "shortest": None})
            )
            if "figures" not in entry:
                at["not_run"].append(bits)
                continue
            figure = entry["figures"][metric]
            at["points"].append({"bits": bits, "mean": figure["mean"], "std": figure["std"]})
            reached = figure["published"] is not None and figure["mean"] >= figure["published"]
            if reached and at["shortest"] is None:
                at["shortest"] = bits
    return found


def _form(entry: Entry) -> str:
    settings = entry["settings"]
    if settings.get("popularity_bits") == 0:
        return _FORMS[0]
    return _FORMS[1 if settings.get("recent_fraction") == 0 else 2]


def _ablation(entries: list[Entry]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    run = [entry for entry in entries if "ablation" in entry["groups"] and "figures" in entry]
    for base in (entry for entry in run if entry["row"] == ABLATION_BASE):
        found[base["data_set"]] = {
            entry["row"]: {
                metric: percent(figure["mean"], base["figures"][metric]["mean"])
                for metric, figure in entry["figures"].items()
            }
            for entry in run
            if entry["data_set"] == base["data_set"]
        }
    return found


def markdown(content: Content, drawn: Iterable[str] = ()) -> str:
    """The tables that `content` has rows for, and the pictures that were drawn."""
    drawn = list(drawn)
    sections = {
        "Table": (_table, "table", "table.png"),
        "Cost": (_costs, "table", ""),
        "Code length": (_curve, "curve", "curve.png"),
        "Ablation": (_ablations, "ablation", ""),
        "Ties": (_ties, "table", ""),
    }
    parts = ["# The published table and ours"]
    for title, (make, group, picture) in sections.items():
        entries = [entry for entry in content["rows"] if group in entry["groups"]]
        if entries:
            entries.sort(key=lambda entry: list(DATA_SETS).index(entry["data_set"]))
            parts += [f"## {title}", *make(content, entries)]
            parts += [f"![{title}]({picture})"] if picture in drawn else []
    stale = [
        f"- {DATA_SETS[entry['data_set']].title}, {entry['row']}, seed {seed}: {'; '.join(change)}"
        for entry in content["rows"]
        for seed, change in entry["stale"].items()
    ]
    stale = list(dict.fromkeys(stale))  # once for all rankings of a row
    if stale:
        parts += [
            "## Stale results",
            "Made with other settings than their rows declare now, and left out:",
            "\n".join(stale),
        ]
    made = sorted({text for entry in content["rows"] for text in entry.get("made", ())})
    if made:
        parts += ["## Made with", "\n".join(f"- {text}" for text in made)]
    return "\n\n".join(parts) + "\n"


def _table(content: Content, entries: list[Entry]) -> list[str]:
    data_sets = _data_sets(entries)
    lines = []
    for name in (*PUBLISHED, None):
        of_name = [entry for entry in entries if entry["published"] == name]
        figures = content["published"].get(name, {})
        if any(data_set in figures for data_set in data_sets):
            cells = [
                f"{figures[data_set][metric]:.5f}" if data_set in figures else ""
                for data_set in data_sets
                for metric in METRICS
            ]
            lines.append([f"**{name}**, published", "", *cells])
        for title, on in _by_title(of_name):
            cells = [
                _cell(on.get(data_set), metric) for data_set in data_sets for metric in METRICS
            ]
            lines.append([title, _seeds(on.values()), *cells])
    text = (
        "Test metrics: mean ± standard deviation over seeds; in brackets the difference to the "
        "published row above, in percent. The published code length is not stated. † marks rows "
        "for which validation chose the last epoch that their settings allow."
    )
    return [text, _grid(["", "seeds", *_columns(data_sets)], lines)]


def _costs(content: Content, entries: list[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        line = [DATA_SETS[entry["data_set"]].title, entry["title"]]
        if "figures" not in entry:
            lines.append([*line, entry["absent"], "", "", "", ""])
            continue
        size = entry["bytes_per_item"]
        lines.append(
            [
                *line,
                ", ".join(map(str, entry["epochs"])) + (" †" if entry["capped"] else ""),
                f"{entry['train_seconds']['mean']:.1f}",
                f"{entry['selection_seconds']['mean']:.1f}",
                f"{entry['peak_memory_mb']:.0f}",
                "" if size is None else f"{size:g}",
            ]
        )
    text = (
        "Epochs of each seed; seconds of the refit and of the selection that chose its epochs, "
        "means over seeds; the largest peak of memory; bytes that are stored per item."
    )
    header = ["", "", "epochs", "refit, s", "selection, s", "peak, MB", "bytes per item"]
    return [text, _grid(header, lines)]


def _curve(content: Content, entries: list[Entry]) -> list[str]:
    lines = [
        [
            DATA_SETS[entry["data_set"]].title,
            entry["title"],
            _seeds([entry]),
            *(_cell(entry, metric) for metric in METRICS),
        ]
        for form in _FORMS
        for entry in entries
        if _form(entry) == form
    ]
    parts = [
        "RecallHash by code length; in brackets the difference to the published Proposed, in "
        "percent.",
        _grid(["", "", "seeds", *_HEADINGS.values()], lines),
    ]
    shortest = [
        [DATA_SETS[data_set].title, form, *(_shortest(of_form[metric]) for metric in METRICS)]
        for data_set, forms in content["lengths"].items()
        if data_set in PUBLISHED["Proposed"]
        for form, of_form in forms.items()
    ]
    if shortest:
        parts += [
            "The shortest code, in bits, whose mean reaches the published Proposed; ≤ where "
            "shorter ones have not been run:",
            _grid(["", "", *_HEADINGS.values()], shortest),
        ]
    return parts


def _shortest(of_metric: dict[str, Any]) -> str:
    run, reached = [point["bits"] for point in of_metric["points"]], of_metric["shortest"]
    if reached is None:
        return f"none of {', '.join(map(str, run))}" if run else "not run"
    return ("≤ " if any(bits < reached for bits in of_metric["not_run"]) else "") + str(reached)


def _ablations(content: Content, entries: list[Entry]) -> list[str]:
    lines = []
    for entry in entries:
        of_base = content["ablation"].get(entry["data_set"], {}).get(entry["row"], {})
        if entry["row"] == ABLATION_BASE:
            of_base = {}
        lines.append(
            [
                DATA_SETS[entry["data_set"]].title,
                entry["title"],
                _seeds([entry]),
                *(_cell(entry, metric, of_base) for metric in METRICS),
            ]
        )
    text = (
        "The paper's form at 64 bits (recall loss, signswish) with one change; in brackets the "
        "difference to it, in percent."
    )
    return [text, _grid(["", "", "seeds", *_HEADINGS.values()], lines)]


def _ties(content: Content, entries: list[Entry]) -> list[str]:
    data_sets = _data_sets(entries)
    lines = []
    for title, on in _by_title(entries):
        figures = [
            on.get(data_set, {}).get("figures", {}).get(metric, {}).get("ties")
            for data_set in data_sets
            for metric in METRICS
        ]
        if any(figures):
            cells = [
                f"{t['expected']:.4f} [{t['lower']:.4f}, {t['upper']:.4f}]" if t else ""
                for t in figures
            ]
            lines.append([title, *cells])
    if not lines:
        return ["No results yet."]
    text = (
        "The same rankings without an order among equal distances: the mean over random orders, "
        "and in brackets the bounds, with test items last and first among their equals; means over "
        "seeds."
    )
    return [text, _grid(["", *_columns(data_sets)], lines)]


def _cell(entry: Entry | None, metric: str, differences: dict[str, float] | None = None) -> str:
    """A figure with its difference to the published one, or with one of `differences`."""
    if entry is None:
        return ""
    if "figures" not in entry:
        return entry["absent"]
    figure = entry["figures"][metric]
    difference = figure["percent"] if differences is None else differences.get(metric)
    parts = [f"{figure['mean']:.4f}"]
    parts += [f"± {figure['std']:.4f}"] if figure["std"] is not None else []
    parts += [f"({difference:+.1f}%)"] if difference is not None else []
    parts += ["†"] if entry["capped"] else []
    return " ".join(parts)


def _seeds(entries: Iterable[Entry]) -> str:
    """How many seeds a line has: "3", "1 of 3", or one text per data set where they differ."""
    texts = []
    for entry in entries:
        there, gone = len(entry["seeds"]), len(entry["missing"])
        texts.append(f"{there} of {there + gone}" if gone else str(there))
    return ", ".join(texts if len(set(texts)) > 1 else texts[:1])


def _by_title(entries: Iterable[Entry]) -> list[tuple[str, dict[str, Entry]]]:
    """Entries of the same row on several data sets, under the row's title."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        found.setdefault(entry["title"], {})[entry["data_set"]] = entry
    return list(found.items())


def _data_sets(entries: Iterable[Entry]) -> list[str]:
    named = {entry["data_set"] for entry in entries}
    return [name for name in DATA_SETS if name in named]


def _columns(data_sets: list[str]) -> list[str]:
    return [f"{DATA_SETS[name].title} {text}" for name in data_sets for text in _HEADINGS.values()]


def _grid(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return md.table(header, lines, right=True)
