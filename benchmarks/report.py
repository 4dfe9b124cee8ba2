"""A page of benchmark rows: tables, bars of ratios, roofline and scaling curves."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgcn.files import write_atomic, write_text
from hashgcn.runs.report.page import document
from hashgcn.runs.report.style import COLOURS, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]

# What tells one case from another; of rows that agree in all of it the latest counts.
_CASE = ("op", "name", "mode", "shape", "dtype", "input", "note", "curve")
_KEY = (*_CASE, "threads", "instruction_set", "machine")
# Part of the processors that others may have taken before a row is marked.
_DISTURBED = 0.05


def read_rows(files: Iterable[Path]) -> list[Row]:
    """The latest row of every case, in the order in which cases first appear.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is not a row; the message names it.
    """
    latest: dict[str, Row] = {}
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                latest[json.dumps([row[key] for key in _KEY])] = row
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected a benchmark's row, got {error!r}"
                ) from error
    if not latest:
        raise ValueError("expected at least one row, got none")
    return list(latest.values())


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """index.html, which needs no other file, and benchmarks.md with its pictures beside it.

    Returns:
        the two pages. Every row is in them, those that lose too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = _Page("hashgcn benchmarks")
    page.text(
        "Medians of interleaved rounds, 20th and 80th percentile beside them. A ratio is the "
        "baseline's time over ours: above 1 ours is faster. Results were compared before anything "
        "was timed. The bound is the least time that the machine's own ceilings, measured in the "
        "same run, allow for the bytes and operations of the formula. Memory is the peak over what "
        "was resident before. † marks a row during which other processes took more than "
        f"{_DISTURBED:.0%} of the processors."
    )
    for machine, of_machine in _grouped(rows, lambda row: row["machine"]):
        _machine_section(page, machine, of_machine)
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    for name, png in page.pictures.items():
        write_atomic(pictures / name, partial(Path.write_bytes, data=png))
    targets = [folder / "index.html", folder / "benchmarks.md"]
    for target, text in zip(targets, (page.html(), page.markdown()), strict=True):
        write_text(target, text)
    return targets


def _machine_section(page: _Page, machine: dict[str, Any], rows: list[Row]) -> None:
    page.heading(1, f"{machine['cpu']}, {machine['cores']} cores")
    newest = max(rows, key=lambda row: row["date"])
    page.text(
        ", ".join(f"{name} {value}" for name, value in machine.items() if name != "cpu")
        + ". "
        + ", ".join(f"{name} {value}" for name, value in newest["versions"].items())
        + f". Commits {', '.join(sorted({row['commit'] for row in rows}))}; "
        + f"{min(row['date'] for row in rows)[:10]} to {newest['date'][:10]}."
    )
    cases = [row for row in rows if not row["curve"]]
    losing = [
        (row, baseline)
        for row in cases
        for baseline in row["baselines"]
        if baseline["ratio"] < 1 and baseline["agreement"]
    ]
    page.heading(2, "Where ours is slower")
    if losing:
        page.table(
            ("case", "against", "ratio"),
            [(_title(row), baseline["name"], _ratio(baseline)) for row, baseline in losing],
        )
    else:
        page.text("Nowhere against a form that gives the same result.")
    if cases:
        page.heading(2, "Against the machine")
        page.picture("roofline", _roofline(cases))
        if any(row["percent_of_bound"] is not None for row in cases):
            page.picture("percent of the bound", _percents(cases))
    for op, of_op in _grouped(cases, lambda row: row["op"]):
        page.heading(2, op)
        for (name, mode), group in _grouped(of_op, lambda row: (row["name"], row["mode"])):
            page.heading(3, f"{name} ({mode})")
            if any(row["baselines"] for row in group):
                page.picture(f"{op} {name} {mode}", _bars(group))
            page.text(f"Counted: {group[0]['work']['formula']}.")
            page.table(*_case_table(group))
    curves = [row for row in rows if row["curve"]]
    if curves:
        page.heading(2, "Scaling")
    for (op, name), group in _grouped(curves, lambda row: (row["op"], row["name"])):
        page.heading(3, f"{op}: {name}")
        page.picture(f"scaling {op} {name}", _curves(group))
        page.table(*_case_table(group))


def _case_table(group: list[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One line a contender: ours with its case first, then each baseline with its ratio."""
    lines: list[tuple[str, ...]] = []
    labels = _labels(group, _KEY)
    for row, label in zip(group, labels, strict=True):
        percent = row["percent_of_bound"]
        bound = "" if percent is None else f"{percent:.0f}% of the bound"
        lines.append((f"**{label}**", "**ours**", *_times(row), "", bound))
        for baseline in row["baselines"]:
            remarks = [baseline["agreement"], baseline["note"]]
            if baseline["memory_full"]:
                remarks.append(f"whole: {_bytes(baseline['memory_full'])} by formula")
            remark = "; ".join(filter(None, remarks))
            lines.append(("", baseline["name"], *_times(baseline), _ratio(baseline), remark))
        lines += [("", name, "", "", "", "", why) for name, why in row["skipped"].items()]
    return ("case", "contender", "median", "p20 – p80", "memory", "ratio", "remarks"), lines


def _times(timing: dict[str, Any]) -> tuple[str, str, str]:
    spread = f"{_seconds(timing['p20'])} – {_seconds(timing['p80'])}"
    return _seconds(timing["median"]), spread, _bytes(timing["memory"])


def _ratio(baseline: dict[str, Any]) -> str:
    return f"{baseline['ratio']:.2f}×"


def _seconds(value: float) -> str:
    scales = ((1, "s"), (1e3, "ms"), (1e6, "µs"))
    factor, unit = next((scale for scale in scales if value * scale[0] >= 1), scales[-1])
    return f"{value * factor:.3g} {unit}"


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:,.1f} MiB"


def _number(value: Any) -> str:
    """Sizes as people say them: 1M, 40,981."""
    if not isinstance(value, int):
        return str(value)
    for power, letter in ((9, "G"), (6, "M")):
        if value >= 10**power and value % 10 ** (power - 1) == 0:
            return f"{value / 10**power:g}{letter}"
    return f"{value:,}"


def _title(row: Row) -> str:
    return f"{row['op']}: {row['name']} ({row['mode']}), {_describe(row, _KEY)}{_mark(row)}"


def _describe(row: Row, fields: Sequence[str]) -> str:
    """The sizes, and of the other fields those that a reader needs to tell rows apart."""
    parts = [f"{name} {_number(value)}" for name, value in row["shape"].items()]
    threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    words = {"threads": threads}
    parts += [
        words.get(field, str(row[field]))
        for field in ("input", "threads", "instruction_set", "note")
        if field in fields and row[field]
    ]
    return ", ".join(parts)


def _labels(group: list[Row], fields: Sequence[str]) -> list[str]:
    """What differs between the rows of a group; what is common is left out."""
    if len(group) == 1:
        return [_describe(group[0], fields) + _mark(group[0])]
    shapes = [row["shape"] for row in group]
    varying = {k for shape in shapes for k in shape if len({s.get(k) for s in shapes}) > 1}
    kept = [f for f in fields if len({json.dumps(row[f]) for row in group}) > 1]
    labels = []
    for row in group:
        shape = {name: value for name, value in row["shape"].items() if name in varying}
        labels.append((_describe({**row, "shape": shape}, kept) or row["name"]) + _mark(row))
    return labels


def _mark(row: Row) -> str:
    return " †" if (row["others"] or 0) > _DISTURBED else ""


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> list[tuple[Any, list[Row]]]:
    """Groups of equal keys, in the order of their first rows."""
    groups: dict[str, tuple[Any, list[Row]]] = {}
    for row in rows:
        value = key(row)
        groups.setdefault(json.dumps(value), (value, []))[1].append(row)
    return list(groups.values())


def _family(baseline: dict[str, Any]) -> str:
    """A baseline's name without the chunk size that was best for the row."""
    return re.sub(r", chunks of \d+$", "", baseline["name"])


def _bars(group: list[Row]) -> Figure:
    """Ratios to each baseline, a block of bars a row; the line at 1 is ours."""
    families = list(dict.fromkeys(_family(b) for row in group for b in row["baselines"]))
    thick = 0.8 / len(families)
    figure = new_figure(9, 1.1 + len(group) * max(0.35, 0.2 * len(families)))
    axes = figure.subplots()
    for at, family in enumerate(families):
        places, ratios, stated = [], [], []
        for row_at, row in enumerate(group):
            for baseline in row["baselines"]:
                if _family(baseline) == family:
                    places.append(row_at + (at - (len(families) - 1) / 2) * thick)
                    ratios.append(baseline["ratio"])
                    stated.append(f" {baseline['ratio']:.2f}×")
        # Bars start at 1, so that one to the left is a loss at sight.
        lengths = [ratio - 1 for ratio in ratios]
        colour = COLOURS[at % len(COLOURS)]
        bars = axes.barh(places, lengths, 0.9 * thick, left=1, color=colour, label=family)
        for bar, ratio, text in zip(bars, ratios, stated, strict=True):
            y = bar.get_y() + bar.get_height() / 2
            axes.text(max(ratio, 1), y, text, va="center", fontsize=7.5)
    axes.set_xscale("log")
    low = min(b["ratio"] for row in group for b in row["baselines"])
    high = max(b["ratio"] for row in group for b in row["baselines"])
    axes.set_xlim(min(0.8, low / 1.1), max(1.5, high * 1.4))
    axes.axvline(1, color=OURS, linewidth=1.5)
    axes.set_yticks(range(len(group)), _labels(group, _KEY), fontsize=8)
    axes.set_ylim(len(group) - 0.5, -0.5)
    axes.set_xlabel("baseline's time / ours")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    clean(axes)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8, frameon=False)
    return figure


def _roofline(cases: list[Row]) -> Figure:
    """Operations a second against operations a byte, under the machine's ceilings."""
    threads = max(row["threads"] for row in cases)
    best = next(row["instruction_set"] for row in cases if row["threads"] == threads)
    chosen = [r for r in cases if r["threads"] == threads and r["instruction_set"] == best]
    ceilings = chosen[0]["ceilings"]
    colours = {op: (OURS, *COLOURS)[at % 8] for at, op in enumerate({r["op"]: 0 for r in chosen})}
    figure = new_figure(14, 4.4)
    plots = figure.subplots(1, 3)
    panels = (
        ("multiply_adds", "multiply-adds"),
        ("popcounts", "popcounts of 64-bit words"),
        ("full_adders", "full adders of 64-bit words"),
    )
    for axes, (field, title) in zip(plots, panels, strict=True):
        points = [row for row in chosen if row["work"][field] and row["work"]["bytes"]]
        intensity = [row["work"][field] / row["work"]["bytes"] for row in points]
        low = min([0.05, *intensity]) / 2
        high = max([50, *intensity]) * 2
        for (size, rate), style in zip(ceilings["copy"].items(), (":", "--", "-"), strict=True):
            ends = (low, min(high, ceilings[field] / rate))
            axes.plot(
                ends,
                [rate * end for end in ends],
                style,
                color="#555",
                linewidth=1,
                label=f"copy of {int(size) / 2**20:g} MiB, {rate / 1e9:.0f} GB/s",
            )
        axes.axhline(ceilings[field], color="#555", linewidth=1)
        axes.text(high, ceilings[field] * 1.1, f"{ceilings[field] / 1e9:.0f} G/s", ha="right")
        for op, of_op in _grouped(points, lambda row: row["op"]):
            axes.plot(
                [row["work"][field] / row["work"]["bytes"] for row in of_op],
                [row["work"][field] / row["median"] for row in of_op],
                "o",
                color=colours[op],
                label=op,
                markersize=5,
                alpha=0.8,
            )
        axes.set(xscale="log", yscale="log", xlim=(low, high), title=title)
        axes.set(xlabel="operations / byte", ylabel="operations / s")
        axes.legend(fontsize=7, frameon=False, loc="lower right")
        clean(axes)
    figure.suptitle(f"{threads} threads, {best}", fontsize=10)
    return figure


def _percents(cases: list[Row]) -> Figure:
    """Percent of the bound, the median over the cases of a name; a line from worst to best."""
    names = [
        (f"{op}: {name} ({mode})", sorted(row["percent_of_bound"] for row in of_name))
        for (op, name, mode), of_name in _grouped(
            (row for row in cases if row["percent_of_bound"] is not None),
            lambda row: (row["op"], row["name"], row["mode"]),
        )
    ]
    figure = new_figure(9, 0.8 + 0.27 * len(names))
    axes = figure.subplots()
    medians = [statistics.median(found) for _, found in names]
    axes.barh(range(len(names)), medians, color=OURS, alpha=0.85)
    for at, ((_, found), median) in enumerate(zip(names, medians, strict=True)):
        axes.plot([found[0], found[-1]], [at, at], color=COLOURS[0], linewidth=1.5)
        axes.text(max(found[-1], median) + 1, at, f"{median:.0f}%", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [name for name, _ in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("percent of the bound: median of the cases, and their range")
    axes.set_xlim(0, max(100, *(found[-1] for _, found in names)) * 1.08)
    clean(axes)
    return figure


def _curves(group: list[Row]) -> Figure:
    """Time against each varied size, log-log, with the spread of the rounds."""
    axes_of = _grouped(group, lambda row: row["curve"])
    columns = min(3, len(axes_of))
    lines = -(-len(axes_of) // columns)
    figure = new_figure(3.6 * columns, 3.1 * lines + 0.4)
    families = list(dict.fromkeys(_family(b) for row in group for b in row["baselines"]))
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for panel in panels[len(axes_of) :]:
        panel.set_axis_off()
    for panel, (curve, rows) in zip(panels, axes_of, strict=False):
        timings: dict[str, list[tuple[int, dict[str, Any]]]] = {"ours": []}
        for row in sorted(rows, key=lambda row: _position(row, curve)):
            timings["ours"].append((_position(row, curve), row))
            for baseline in row["baselines"]:
                timings.setdefault(_family(baseline), []).append((_position(row, curve), baseline))
        for name, points in timings.items():
            at = families.index(name) if name in families else -1
            colour = OURS if at < 0 else COLOURS[at % len(COLOURS)]
            x = [position for position, _ in points]
            panel.plot(x, [t["median"] for _, t in points], "o-", color=colour, markersize=3.5)
            low, high = ([t[p] for _, t in points] for p in ("p20", "p80"))
            panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.set(xscale="log", yscale="log", xlabel=curve, ylabel="seconds")
        fixed = {k: v for k, v in rows[0]["shape"].items() if k != curve}
        text = ", ".join(f"{k} {_number(v)}" for k, v in fixed.items())
        threads = "" if curve == "threads" else f", {rows[0]['threads']} threads"
        panel.set_title(text + threads, fontsize=7.5)
        if curve == "threads":
            panel.set_xticks([_position(row, curve) for row in rows])
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.minorticks_off()
        clean(panel)
    handles = [("ours", OURS)]
    handles += [(name, COLOURS[at % len(COLOURS)]) for at, name in enumerate(families)]
    for name, colour in handles:
        panels[0].plot([], [], "o-", color=colour, label=name, markersize=3.5)
    figure.legend(loc="outside upper left", ncols=3, fontsize=8, frameon=False)
    return figure


def _position(row: Row, curve: str) -> int:
    return row["threads"] if curve == "threads" else row["shape"][curve]


class _Page:
    """Headings, text, tables and pictures, as Markdown and as HTML."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.pictures: dict[str, bytes] = {}
        self._parts: list[tuple[str, Any]] = []

    def heading(self, level: int, text: str) -> None:
        self._parts.append(("heading", (level + 1, text)))

    def text(self, text: str) -> None:
        self._parts.append(("text", text))

    def table(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        self._parts.append(("table", (header, lines)))

    def picture(self, name: str, figure: Figure) -> None:
        file = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".png"
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        number = 2
        while file in self.pictures:  # of another machine
            file = re.sub(r"(-\d+)?\.png$", f"-{number}.png", file)
            number += 1
        self.pictures[file] = buffer.getvalue()
        self._parts.append(("picture", (name, file)))

    def markdown(self) -> str:
        out = [f"# {self.title}"]
        for kind, content in self._parts:
            if kind == "heading":
                out.append(f"{'#' * content[0]} {content[1]}")
            elif kind == "text":
                out.append(content)
            elif kind == "picture":
                out.append(f"![{content[0]}](pictures/{content[1]})")
            else:
                header, lines = content
                rows = [header, ["---"] * len(header), *lines]
                out.append("\n".join("| " + " | ".join(row) + " |" for row in rows))
        return "\n\n".join(out) + "\n"

    def html(self) -> str:
        out = [f"<h1>{html.escape(self.title)}</h1>"]
        for kind, content in self._parts:
            if kind == "heading":
                out.append(f"<h{content[0]}>{html.escape(content[1])}</h{content[0]}>")
            elif kind == "text":
                out.append(f"<p>{html.escape(content)}</p>")
            elif kind == "picture":
                name, file = content
                data = base64.b64encode(self.pictures[file]).decode()
                alt = html.escape(name, quote=True)
                out.append(f'<img alt="{alt}" src="data:image/png;base64,{data}"/>')
            else:
                out.append(_html_table(*content))
        return document(self.title, "\n".join(out))


def _html_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def cell(tag: str, text: str) -> str:
        bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text))
        number = ' class="number"' if re.match(r"-?[\d,.]+( |×|$)", text) else ""
        return f"<{tag}{number}>{bold}</{tag}>"

    rows = []
    for line in lines:
        first = ' class="first"' if line[0] else ""
        rows.append(f"<tr{first}>" + "".join(cell("td", text) for text in line) + "</tr>")
    head = "".join(cell("th", text) for text in header)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
