"""Pictures of the tables: bars beside the published figures, metrics by code length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hashgcn.report import COLOURS, OURS, clean, new_figure
from hashgcn.reproduction.rows import DATA_SETS, METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PUBLISHED = "#b9c4d0"
_FORMS = {"poster's form": COLOURS[0], "popularity bits": OURS}
_TITLES = {
    "recall@50": "Recall@50",
    "recall@100": "Recall@100",
    "ndcg@50": "NDCG@50",
    "ndcg@100": "NDCG@100",
}


def draw(content: dict[str, Any]) -> dict[str, Figure]:
    """table.png and curve.png of what tables.collect returns, as far as there are results."""
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
        drawn["curve.png"] = _curves(content["published"]["Proposed"], lengths)
    return drawn


def _bars(published: dict[str, Any], entries: list[dict[str, Any]]) -> Figure:
    """A row of panels for each data set, one a metric, one bar for each line of the table."""
    data_sets = [name for name in DATA_SETS if any(e["data_set"] == name for e in entries)]
    lines = {name: _bar_lines(name, published, entries) for name in data_sets}
    heights = [len(lines[name]) for name in data_sets]
    figure = new_figure(13, 1.0 + sum(0.27 * height + 0.6 for height in heights))
    panels = figure.subplots(len(data_sets), len(METRICS), squeeze=False, height_ratios=heights)
    for row, name in zip(panels, data_sets, strict=True):
        for axes, metric in zip(row, METRICS, strict=True):
            _bar_panel(axes, lines[name], metric)
            axes.set_title(f"{DATA_SETS[name].title}, {_TITLES[metric]}", fontsize=9)
            if metric != METRICS[0]:
                axes.tick_params(labelleft=False)
    return figure


def _bar_lines(
    data_set: str, published: dict[str, Any], entries: list[dict[str, Any]]
) -> list[tuple[str, dict[str, Any] | None, bool]]:
    """(label, figures by metric or None, whether published), each published row before ours."""
    lines: list[tuple[str, dict[str, Any] | None, bool]] = []
    for name in (*published, None):
        if name is not None and data_set in published[name]:
            figures = {m: {"mean": v, "std": None} for m, v in published[name][data_set].items()}
            lines.append((f"{name}, published", figures, True))
        lines += [
            (entry["title"], entry.get("figures"), False)
            for entry in entries
            if (entry["published"], entry["data_set"]) == (name, data_set)
        ]
    return lines


def _bar_panel(
    axes: Axes, lines: list[tuple[str, dict[str, Any] | None, bool]], metric: str
) -> None:
    longest = max(figures[metric]["mean"] for _, figures, _ in lines if figures)
    for at, (_, figures, is_published) in enumerate(lines):
        if figures is None:
            axes.text(0, at, " not run", va="center", fontsize=7.5, color="#7a8b99")
            continue
        mean, std = figures[metric]["mean"], figures[metric]["std"]
        axes.barh(at, mean, 0.74, color=_PUBLISHED if is_published else OURS)
        if std is not None:
            axes.errorbar(mean, at, xerr=std, color=COLOURS[0], capsize=2, linewidth=1)
        axes.text(mean + (std or 0), at, f" {mean:.4f}", va="center", fontsize=7.5)
    axes.set_xlim(0, 1.24 * longest)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7)
    clean(axes)
    axes.grid(False, axis="y")


def _curves(proposed: dict[str, Any], lengths: dict[str, Any]) -> Figure:
    """Metric by bits, a line for each form, the published figure as a horizontal line."""
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
            if name in proposed:
                axes.axhline(
                    proposed[name][metric],
                    color="#555",
                    linestyle="--",
                    linewidth=1,
                    label="published, bits not stated",
                )
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
