"""Pictures of the tables: bars beside the published figures, and metrics by code length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.quality.rows import DATA_SETS, METRICS
from hashgcn.runs.style import COLOURS, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PUBLISHED = "#b9c4d0"
_FORMS = {
    "the paper's form": COLOURS[0],
    "popularity bits": COLOURS[1],
    "popularity bits and recent items": OURS,
}
_CEILING = ("lightgcn-64-recall", "real")  # row and ranking
_TITLES = {
    "recall@50": "Recall@50",
    "recall@100": "Recall@100",
    "ndcg@50": "NDCG@50",
    "ndcg@100": "NDCG@100",
}


def draw(content: dict[str, Any]) -> dict[str, Figure]:
    """table.png and curve.png of what tables.collect returns, where there are results."""
    entries = [entry for entry in content["rows"] if "table" in entry["groups"]]
    drawn = {}
    if any("figures" in entry for entry in entries):
        drawn["table.png"] = _bars(content["published"], entries)
    lengths = {
        data_set: forms
        for data_set, forms in content["lengths"].items()
        if any(of_metric["points"] for form in forms.values() for of_metric in form.values())
    }
    if lengths:
        ceilings = {
            entry["data_set"]: entry["figures"]
            for entry in content["rows"]
            if (entry["row"], entry["ranking"]) == _CEILING and "figures" in entry
        }
        drawn["curve.png"] = _curves(content["published"]["Proposed"], lengths, ceilings)
    return drawn


@dataclass(frozen=True)
class _Bar:
    label: str
    at: float
    figures: dict[str, Any] | str  # by metric, or the reason why there are none
    published: dict[str, float]  # by metric, those of the row that it is compared with
    is_published: bool


def _bars(published: dict[str, Any], entries: list[dict[str, Any]]) -> Figure:
    """A row of panels per data set, a panel per metric, a bar per line of the table."""
    selected = {entry["data_set"] for entry in entries}
    bars = {name: _bars_of(name, published, entries) for name in DATA_SETS if name in selected}
    # A data set without published figures and without results has no bar to draw.
    data_sets = [name for name in bars if any(isinstance(b.figures, dict) for b in bars[name])]
    heights = [bars[name][-1].at + 1 for name in data_sets]
    figure = new_figure(13, sum(0.25 * height + 0.6 for height in heights))
    panels = figure.subplots(len(data_sets), len(METRICS), squeeze=False, height_ratios=heights)
    for row, name in zip(panels, data_sets, strict=True):
        for axes, metric in zip(row, METRICS, strict=True):
            _bar_panel(axes, bars[name], metric)
            axes.set_title(f"{DATA_SETS[name].title}, {_TITLES[metric]}", fontsize=9)
            if metric != METRICS[0]:
                axes.tick_params(labelleft=False)
    return figure


def _bars_of(data_set: str, published: dict[str, Any], entries: list[dict[str, Any]]) -> list[_Bar]:
    """From top to bottom: each published row, then our rows that are compared with it."""
    bars: list[_Bar] = []
    at = 0.0
    for name in (*published, None):
        reference = published.get(name or "", {}).get(data_set, {})
        group: list[tuple[str, dict[str, Any] | str, bool]] = []
        if reference:
            quoted = {metric: {"mean": value, "std": None} for metric, value in reference.items()}
            group.append((f"{name}, published", quoted, True))
        group += [
            (entry["title"], entry.get("figures") or entry["absent"], False)
            for entry in entries
            if (entry["published"], entry["data_set"]) == (name, data_set)
        ]
        for label, figures, is_published in group:
            bars.append(_Bar(label, at, figures, reference, is_published))
            at += 1
        at += 0.6 if group else 0
    return bars


def _bar_panel(axes: Axes, bars: list[_Bar], metric: str) -> None:
    for bar in bars:
        if not bar.is_published and bar.published:
            ends = (bar.at - 0.5, bar.at + 0.5)
            axes.plot([bar.published[metric]] * 2, ends, color="#7a8b99", linewidth=1, zorder=3)
        if isinstance(bar.figures, str):
            axes.text(0, bar.at, f" {bar.figures}", va="center", fontsize=7.5, color="#7a8b99")
            continue
        mean, std = bar.figures[metric]["mean"], bar.figures[metric]["std"] or 0
        axes.barh(bar.at, mean, 0.74, color=_PUBLISHED if bar.is_published else OURS)
        if std:
            axes.errorbar(mean, bar.at, xerr=std, color=COLOURS[0], capsize=2, linewidth=1)
        reached = max(mean + std, bar.published.get(metric, 0))
        axes.text(reached, bar.at, f" {mean:.4f}", va="center", fontsize=7.5)
    longest = max(bar.figures[metric]["mean"] for bar in bars if isinstance(bar.figures, dict))
    axes.set_xlim(0, 1.24 * longest)
    axes.set_ylim(bars[-1].at + 0.6, -0.6)
    axes.set_yticks([bar.at for bar in bars], [bar.label for bar in bars], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    clean(axes)
    axes.grid(False, axis="y")


def _curves(proposed: dict[str, Any], lengths: dict[str, Any], ceilings: dict[str, Any]) -> Figure:
    """Metrics by bits, a line per form; levels of the published row and of real numbers."""
    figure = new_figure(13, 0.6 + 2.9 * len(lengths))
    panels = figure.subplots(len(lengths), len(METRICS), squeeze=False)
    for row, (name, forms) in zip(panels, lengths.items(), strict=True):
        for axes, metric in zip(row, METRICS, strict=True):
            for form, of_form in forms.items():
                points = of_form[metric]["points"]
                axes.errorbar(
                    [point["bits"] for point in points],
                    [point["mean"] for point in points],
                    [point["std"] or 0 for point in points],
                    fmt="o-",
                    color=_FORMS[form],
                    markersize=4,
                    capsize=2,
                    label=form,
                )
            level = partial(axes.axhline, color="#555", linewidth=1)
            if name in proposed:
                level(proposed[name][metric], linestyle="--", label="published, bits not stated")
            if name in ceilings:
                mean = ceilings[name][metric]["mean"]
                level(mean, linestyle=":", label="real-valued LightGCN, 64 numbers and a bias")
            bits = sorted({p["bits"] for f in forms.values() for p in f[metric]["points"]})
            axes.set_xscale("log", base=2)
            axes.set_xticks(bits, [str(b) for b in bits])
            axes.minorticks_off()
            axes.tick_params(labelsize=7.5)
            axes.set_title(f"{DATA_SETS[name].title}, {_TITLES[metric]}", fontsize=9)
            axes.set_xlabel("bits", fontsize=8)
            clean(axes)
    handles = {
        label: handle
        for axes in panels.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        *(handles.values(), handles.keys()),
        loc="outside upper left",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    return figure
