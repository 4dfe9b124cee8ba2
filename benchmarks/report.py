"""The report of measured rows: `python -m benchmarks.report` writes tables and pictures."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import command, markdown
from benchmarks.harness import machine, rows
from benchmarks.harness.rows import KEY, Row
from hashgcn.runs.style import COLOURS, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Fraction of the processors that others may take before a row is marked.
DISTURBED = 0.05
INTRODUCTION = (
    "Medians of interleaved rounds, with the 20th and the 80th percentile beside them. A ratio is "
    "the baseline's time over ours: above 1 ours is faster. Results were compared before anything "
    "was timed. The bound is the least time that the machine's own ceilings, measured in the same "
    "run, allow for the bytes and operations of the formula. Memory is the peak above what was "
    "resident before. † marks a row during which other processes took more than "
    f"{DISTURBED:.0%} of the processors."
)
HEADER = ("case", "contender", "median", "p20 – p80", "memory", "ratio", "remarks")


def main(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Files of rows. Default: benchmarks/results."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/report"),
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B", help="Print how times differ between two files of rows, or two commits."
        ),
    ] = None,
) -> None:
    """Write the report of the rows that `python -m benchmarks.ops` measured."""
    if compare is not None:
        typer.echo(comparison(*map(rows_of, compare)))
        return
    found = files or sorted(machine.RESULTS.glob("ops-*.jsonl"))
    typer.echo(f"saved {write(rows.read(found), out)}")


def write(measured: Sequence[Row], folder: Path) -> Path:
    """Write benchmarks.md, which holds every row, and the pictures beside it.

    Returns:
        the path of benchmarks.md.
    """
    page = Page(folder)
    page.add("# hashgcn benchmarks", INTRODUCTION)
    for described, of_machine in grouped(measured, lambda row: row["machine"]):
        add_machine(page, described, of_machine)
    target = folder / "benchmarks.md"
    target.write_text("\n\n".join(page.parts) + "\n", encoding="utf-8")
    return target


def rows_of(name: str) -> list[Row]:
    """The rows of a file, or of the results that a commit holds."""
    return rows.read([Path(name)]) if Path(name).exists() else rows.parse(machine.stored(name))


# The machine too is the caller's choice.
SAME = tuple(field for field in KEY if field != "machine")


def comparison(before: Sequence[Row], after: Sequence[Row]) -> str:
    """A table of the cases that both have, those that have become slower most first.

    A difference counts where the ranges from the 20th to the 80th percentile do not meet.
    """
    earlier = {json.dumps([row[key] for key in SAME]): row for row in before}
    pairs = [
        (earlier[key], row)
        for row in after
        if (key := json.dumps([row[field] for field in SAME])) in earlier
    ]
    if not pairs:
        raise ValueError("--compare: expected cases that both have, got none")
    pairs.sort(key=lambda pair: pair[0]["median"] / pair[1]["median"])
    lines = []
    for a, b in pairs:
        apart = "slower" if b["p20"] > a["p80"] else "faster" if b["p80"] < a["p20"] else ""
        case = f"{b['op']}: {b['name']} ({b['mode']}), {label(b)}"
        factor = f"{a['median'] / b['median']:.2f}×"
        lines.append((case, seconds(a["median"]), seconds(b["median"]), factor, apart))
    alone = len(before) + len(after) - 2 * len(pairs)
    table = markdown.table(("case", "A", "B", "A / B", ""), lines)
    return f"{table}\n\n{len(pairs)} cases; {alone} that one of them lacks."


class Page:
    """Parts of a Markdown page; pictures are saved beside it as they are added."""

    def __init__(self, folder: Path) -> None:
        self.parts: list[str] = []
        self._pictures = folder / "pictures"
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._names: set[str] = set()

    def add(self, *texts: str) -> None:
        self.parts += texts

    def add_picture(self, title: str, figure: Figure) -> None:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        name, number = stem, 2
        while name in self._names:  # the same picture of another machine
            name, number = f"{stem}-{number}", number + 1
        self._names.add(name)
        figure.savefig(self._pictures / f"{name}.png", dpi=130)
        self.add(f"![{title}](pictures/{name}.png)")


def add_machine(page: Page, described: dict[str, Any], measured: list[Row]) -> None:
    newest = max(measured, key=lambda row: row["date"])
    facts = {name: value for name, value in described.items() if name != "cpu"}
    page.add(
        f"## {described['cpu']}, {described['cores']} cores",
        f"{listed(facts)}. {listed(newest['versions'])}. "
        f"Commits {', '.join(sorted({row['commit'] for row in measured}))}; "
        f"{min(row['date'] for row in measured)} to {newest['date']}.",
        "### Where ours is slower",
    )
    cases = [row for row in measured if not row["curve"]]
    losing = [
        (f"{row['op']}: {row['name']} ({row['mode']}), {label(row)}", b["name"], ratio(b))
        for row in cases
        for b in row["baselines"]
        if b["ratio"] < 1 and b["agreement"]
    ]
    page.add(
        markdown.table(("case", "against", "ratio"), losing)
        if losing
        else "Nowhere against a form that gives the same result."
    )
    if cases:
        page.add("### Against the machine")
        page.add_picture("roofline", roofline(cases))
        if any(row["percent_of_bound"] is not None for row in cases):
            page.add_picture("percent of the bound", percents(cases))
    for op, of_op in grouped(cases, lambda row: row["op"]):
        page.add(f"### {op}")
        for (name, mode), group in grouped(of_op, lambda row: (row["name"], row["mode"])):
            page.add(f"#### {name} ({mode})")
            if any(row["baselines"] for row in group):
                page.add_picture(f"{op} {name} {mode}", bars(group))
            page.add(f"Counted: {group[0]['work']['formula']}.", case_table(group))
    curves = [row for row in measured if row["curve"]]
    if curves:
        page.add("### Scaling")
    for (op, name), group in grouped(curves, lambda row: (row["op"], row["name"])):
        page.add(f"#### {op}: {name}")
        page.add_picture(f"scaling {op} {name}", scaling(group))
        page.add(case_table(group))


def case_table(group: list[Row]) -> str:
    """A row per contender: ours with its case first, then each baseline with its ratio."""
    lines: list[tuple[str, ...]] = []
    for row, text in zip(group, labels(group), strict=True):
        percent = row["percent_of_bound"]
        bound = "" if percent is None else f"{percent:.0f}% of the bound"
        lines.append((f"**{text}**", "**ours**", *times(row), "", bound))
        for baseline in row["baselines"]:
            remarks = [baseline["agreement"], baseline["note"]]
            if baseline["memory_full"]:
                remarks.append(f"whole: {mebibytes(baseline['memory_full'])} by formula")
            remark = "; ".join(filter(None, remarks))
            lines.append(("", baseline["name"], *times(baseline), ratio(baseline), remark))
        lines += [("", name, "", "", "", "", why) for name, why in row["skipped"].items()]
    return markdown.table(HEADER, lines)


# Words


def times(timing: dict[str, Any]) -> tuple[str, str, str]:
    spread = f"{seconds(timing['p20'])} – {seconds(timing['p80'])}"
    return seconds(timing["median"]), spread, mebibytes(timing["memory"])


def ratio(baseline: dict[str, Any]) -> str:
    return f"{baseline['ratio']:.2f}×"


def seconds(value: float) -> str:
    scales = ((1, "s"), (1e3, "ms"), (1e6, "µs"))
    factor, unit = next((scale for scale in scales if value * scale[0] >= 1), scales[-1])
    return f"{value * factor:.3g} {unit}"


def mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:,.1f} MiB"


def number(value: Any) -> str:
    """A size as people write it: 1M, 40,981."""
    if not isinstance(value, int):
        return str(value)
    for power, letter in ((9, "G"), (6, "M")):
        if value >= 10**power and value % 10 ** (power - 1) == 0:
            return f"{value / 10**power:g}{letter}"
    return f"{value:,}"


def listed(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def label(row: Row, sizes: Iterable[str] | None = None, fields: Sequence[str] = KEY) -> str:
    """The sizes and other fields that tell a row from others, and a mark if it was disturbed."""
    shape = row["shape"] if sizes is None else {k: v for k, v in row["shape"].items() if k in sizes}
    parts = [f"{name} {number(value)}" for name, value in shape.items()]
    for field in ("input", "threads", "instruction_set", "note"):
        if field in fields and row[field]:
            plural = "s" if field == "threads" and row[field] > 1 else ""
            parts.append(f"{row[field]} thread{plural}" if field == "threads" else row[field])
    mark = " †" if (row["others"] or 0) > DISTURBED else ""
    return (", ".join(parts) or row["name"]) + mark


def labels(group: list[Row]) -> list[str]:
    """What differs between the rows of a group; what they have in common is left out."""
    if len(group) == 1:
        return [label(group[0])]
    names = {name for row in group for name in row["shape"]}
    sizes = {name for name in names if len({row["shape"].get(name) for row in group}) > 1}
    fields = [field for field in KEY if len({json.dumps(row[field]) for row in group}) > 1]
    return [label(row, sizes, fields) for row in group]


def grouped(found: Iterable[Row], key: Callable[[Row], Any]) -> list[tuple[Any, list[Row]]]:
    """Groups of equal keys, in the order of their first rows."""
    groups: dict[str, tuple[Any, list[Row]]] = {}
    for row in found:
        value = key(row)
        groups.setdefault(json.dumps(value), (value, []))[1].append(row)
    return list(groups.values())


def family(baseline: dict[str, Any]) -> str:
    """A baseline's name without the chunk size that was best for the row."""
    return re.sub(r", chunks of \d+$", "", baseline["name"])


def families(group: list[Row]) -> dict[str, str]:
    """The names of a group's baselines, each with its colour."""
    names = dict.fromkeys(family(baseline) for row in group for baseline in row["baselines"])
    return {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}


# Pictures


def bars(group: list[Row]) -> Figure:
    """The ratio to each baseline, a block of bars per row; the line at 1 is ours."""
    colours = families(group)
    thick = 0.8 / len(colours)
    figure = new_figure(9, 1.1 + len(group) * max(0.35, 0.2 * len(colours)))
    axes = figure.subplots()
    ratios: list[float] = []
    for at, (name, colour) in enumerate(colours.items()):
        found = [
            (place + (at - (len(colours) - 1) / 2) * thick, baseline["ratio"])
            for place, row in enumerate(group)
            for baseline in row["baselines"]
            if family(baseline) == name
        ]
        places, of_name = zip(*found, strict=True)
        # The bars start at 1, so that a loss is one to the left.
        lengths = [value - 1 for value in of_name]
        axes.barh(places, lengths, 0.9 * thick, left=1, color=colour, label=name)
        for place, value in found:
            axes.text(max(value, 1), place, f" {value:.2f}×", va="center", fontsize=7.5)
        ratios += of_name
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, min(ratios) / 1.1), max(1.5, max(ratios) * 1.4))
    axes.axvline(1, color=OURS, linewidth=1.5)
    axes.set_yticks(range(len(group)), labels(group), fontsize=8)
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_xlabel("baseline's time / ours")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    clean(axes)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, frameon=False)
    return figure


def roofline(cases: list[Row]) -> Figure:
    """Operations per second against operations per byte, under the machine's ceilings."""
    threads = max(row["threads"] for row in cases)
    best = next(row["instruction_set"] for row in cases if row["threads"] == threads)
    chosen = [r for r in cases if r["threads"] == threads and r["instruction_set"] == best]
    ceilings = chosen[0]["ceilings"]
    colours = {op: (OURS, *COLOURS)[at % 8] for at, op in enumerate({r["op"]: 0 for r in chosen})}
    figure = new_figure(14, 4.4)
    panels = {
        "multiply_adds": "multiply-adds",
        "popcounts": "popcounts of 64-bit words",
        "full_adders": "full adders of 64-bit words",
    }
    for axes, (field, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        points = [row for row in chosen if row["work"][field] and row["work"]["bytes"]]
        intensity = [row["work"][field] / row["work"]["bytes"] for row in points]
        low = min([0.05, *intensity]) / 2
        high = max([50, *intensity]) * 2
        for (size, rate), style in zip(ceilings["copy"].items(), (":", "--", "-"), strict=True):
            ends = (low, min(high, ceilings[field] / rate))
            text = f"copy of {int(size) / 2**20:g} MiB, {rate / 1e9:.0f} GB/s"
            heights = [rate * end for end in ends]
            axes.plot(ends, heights, style, color="#555", linewidth=1, label=text)
        axes.axhline(ceilings[field], color="#555", linewidth=1)
        axes.text(high, ceilings[field] * 1.1, f"{ceilings[field] / 1e9:.0f} G/s", ha="right")
        for op, of_op in grouped(points, lambda row: row["op"]):
            x = [row["work"][field] / row["work"]["bytes"] for row in of_op]
            y = [row["work"][field] / row["median"] for row in of_op]
            axes.plot(x, y, "o", color=colours[op], label=op, markersize=5, alpha=0.8)
        axes.set(xscale="log", yscale="log", xlim=(low, high), title=title)
        axes.set(xlabel="operations / byte", ylabel="operations / s")
        axes.legend(fontsize=7, frameon=False, loc="lower right")
        clean(axes)
    figure.suptitle(f"{threads} threads, {best}", fontsize=10)
    return figure


def percents(cases: list[Row]) -> Figure:
    """Percent of the bound, the median over the cases of a name; a line from worst to best."""
    bounded = [row for row in cases if row["percent_of_bound"] is not None]
    names = {
        f"{op}: {name} ({mode})": sorted(row["percent_of_bound"] for row in of_name)
        for (op, name, mode), of_name in grouped(
            bounded, lambda row: (row["op"], row["name"], row["mode"])
        )
    }
    figure = new_figure(9, 0.8 + 0.27 * len(names))
    axes = figure.subplots()
    for at, found in enumerate(names.values()):
        median = statistics.median(found)
        axes.barh(at, median, color=OURS, alpha=0.85)
        axes.plot([found[0], found[-1]], [at, at], color=COLOURS[0], linewidth=1.5)
        axes.text(max(found[-1], median) + 1, at, f"{median:.0f}%", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), list(names), fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("percent of the bound: median of the cases, and their range")
    axes.set_xlim(0, max(100, *(found[-1] for found in names.values())) * 1.08)
    clean(axes)
    return figure


def scaling(group: list[Row]) -> Figure:
    """Time against each varied size on logarithmic axes, with the spread of the rounds."""
    panels = grouped(group, lambda row: row["curve"])
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(3.6 * columns, 3.1 * lines + 0.4)
    colours = {"ours": OURS, **families(group)}
    all_axes = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, panel in zip_longest(all_axes, panels):
        if panel is None:
            axes.set_axis_off()
        else:
            curve_panel(axes, panel[0], panel[1], colours)
    for name, colour in colours.items():
        all_axes[0].plot([], [], "o-", color=colour, label=name, markersize=3.5)
    figure.legend(loc="outside upper left", ncols=3, fontsize=8, frameon=False)
    return figure


def curve_panel(axes: Axes, curve: str, group: list[Row], colours: dict[str, str]) -> None:
    def position(row: Row) -> int:
        return row["threads"] if curve == "threads" else row["shape"][curve]

    timings: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for row in sorted(group, key=position):
        timings.setdefault("ours", []).append((position(row), row))
        for baseline in row["baselines"]:
            timings.setdefault(family(baseline), []).append((position(row), baseline))
    for name, points in timings.items():
        x = [place for place, _ in points]
        low, median, high = ([t[p] for _, t in points] for p in ("p20", "median", "p80"))
        axes.plot(x, median, "o-", color=colours[name], markersize=3.5)
        axes.fill_between(x, low, high, color=colours[name], alpha=0.2, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel=curve, ylabel="seconds")
    fixed = {name: number(v) for name, v in group[0]["shape"].items() if name != curve}
    threads = "" if curve == "threads" else f", {group[0]['threads']} threads"
    axes.set_title(listed(fixed) + threads, fontsize=7.5)
    if curve == "threads":
        axes.set_xticks([position(row) for row in group])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
    clean(axes)


app = command.app(main)

if __name__ == "__main__":
    app()
