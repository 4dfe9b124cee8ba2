"""The pictures in the report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hashgcn.evaluate import Bits
from hashgcn.runs.report.numbers import Distances
from hashgcn.runs.style import COLOURS, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUIET = "#8a97a5"
_SIDES = {"items": OURS, "users": COLOURS[0]}


def quality(
    lines: dict[str, dict[str, float]],
    ties: dict[str, dict[str, float]],
) -> Figure:
    """Recall and NDCG by cutoff, with one line per ranking and a band for the bounds under ties.

    Args:
        lines: the metrics of each ranking; "codes" and "popularity" have the most cutoffs.
        ties: what evaluate_ties returns; empty if scores have no ties.
    """
    figure = new_figure(11, 4)
    colours = {"codes": OURS, "popularity": _QUIET}
    others = [name for name in lines if name not in colours]
    colours |= {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(others)}
    for axes, measure in zip(figure.subplots(1, 2), ("recall", "ndcg"), strict=True):
        if ties:
            cutoffs, found = _by_cutoff(ties, measure)
            low, high = ([one[end] for one in found] for end in ("lower", "upper"))
            label = "codes, range over ties"
            axes.fill_between(cutoffs, low, high, color=OURS, alpha=0.18, linewidth=0, label=label)
        for name, of_cutoffs in lines.items():
            style = {"codes": "o-", "popularity": "o--"}.get(name, "s")
            axes.plot(
                *_by_cutoff(of_cutoffs, measure),
                style,
                color=colours[name],
                markersize=4,
                label=name,
            )
        axes.set_xscale("log")
        cutoffs, _ = _by_cutoff(lines["codes"], measure)
        axes.set_xticks(cutoffs, [str(cutoff) for cutoff in cutoffs])
        axes.minorticks_off()
        axes.set(xlabel="K", title=f"{'NDCG' if measure == 'ndcg' else 'Recall'}@K on test")
        axes.set_ylim(bottom=0)
        clean(axes)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=5,
        frameon=False,
    )
    return figure


def _by_cutoff(found: dict[str, Any], measure: str) -> tuple[list[int], list[Any]]:
    names = [name for name in found if name.startswith(f"{measure}@")]
    return [int(name.split("@")[1]) for name in names], [found[name] for name in names]


def balance(sides: dict[str, Bits], popularity_bits: int) -> Figure:
    """The share of item codes and of user codes in which each bit is set."""
    figure = new_figure(11, 2.9)
    axes = figure.subplots()
    length = len(sides["items"].share)
    for name, bits in sides.items():
        size = 24 if length <= 192 else 8
        axes.scatter(np.arange(length), bits.share, size, _SIDES[name], label=name, linewidths=0)
    axes.axhline(0.5, color=_QUIET, linewidth=1, linestyle="--")
    if popularity_bits:
        first = length - popularity_bits - 0.5
        label = "popularity bits"
        axes.axvspan(first, length - 0.5, label=label, color=COLOURS[2], alpha=0.18, linewidth=0)
    axes.set(xlabel="bit", ylim=(-0.03, 1.03), xlim=(-1, length), title="share of codes with +1")
    clean(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def correlation(sides: dict[str, Bits], popularity_bits: int) -> Figure:
    """The correlation of all pairs of bits, in one square for items and one for users."""
    from matplotlib.colors import LinearSegmentedColormap

    # Transparent at 0, which shows the page's own colour, light or dark.
    red, blue = (0.82, 0.38, 0.24), (0.22, 0.47, 0.74)
    ends = [(*blue, 1), (*blue, 0), (*red, 0), (*red, 1)]
    places = [0, 0.5, 0.5, 1]
    colours = LinearSegmentedColormap.from_list("signed", list(zip(places, ends, strict=True)))
    figure = new_figure(10, 4.4)
    panels = figure.subplots(1, 2)
    for axes, (name, bits) in zip(panels, sides.items(), strict=True):
        table = bits.correlation.copy()
        np.fill_diagonal(table, np.nan)
        shown = axes.imshow(table, cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
        axes.set(xlabel="bit", title=f"{name}: mean |correlation| {bits.mean_correlation:.3f}")
        axes.spines[["top", "right"]].set_visible(False)
        if popularity_bits:
            for line in (axes.axhline, axes.axvline):
                line(len(table) - popularity_bits - 0.5, color=_QUIET, linewidth=0.8)
    bar = figure.colorbar(shown, ax=panels, shrink=0.85, ticks=(-1, -0.5, 0, 0.5, 1))
    bar.outline.set_visible(False)
    return figure


def histograms(found: Distances) -> Figure:
    """Histograms of the distances of test, train and other items, each normalised to 1."""
    figure = new_figure(11, 3.4)
    axes = figure.subplots()
    names = {
        "other": ("items that the user does not have", _QUIET),
        "train": ("train items", COLOURS[1]),
        "test": ("test items, not seen in training", OURS),
    }
    edges = np.arange(len(found.counts["test"]) + 1) - 0.5
    for name, (label, colour) in names.items():
        heights = found.counts[name] / max(found.counts[name].sum(), 1)
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(heights, edges, color=colour, linewidth=1.6, label=label)
    used = np.flatnonzero(sum(found.counts.values()))
    axes.set(
        xlim=(edges[used[0]], edges[used[-1] + 1]),
        xlabel="distance from the user",
        title="share of pairs",
        ylim=(0, None),
    )
    clean(axes)
    axes.legend(frameon=False)
    return figure


def popularity(parts: dict[str, np.ndarray]) -> Figure:
    """The share of each tenth of the catalogue, in one colour of bars per part."""
    figure = new_figure(11, 3.6)
    axes = figure.subplots()
    colours = (_QUIET, COLOURS[2], OURS, COLOURS[0])
    width = 0.84 / len(parts)
    for at, (name, shares) in enumerate(parts.items()):
        places = np.arange(len(shares)) + (at - (len(parts) - 1) / 2) * width
        axes.bar(places, shares, 0.9 * width, color=colours[at], label=name)
    ends = ["1\nmost popular", *map(str, range(2, 10)), "10\nrarest"]
    axes.set_xticks(range(len(ends)), ends)
    axes.set(xlabel="tenth of the catalogue, by train pairs", title="share of pairs")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    clean(axes)
    axes.grid(False, axis="x")
    axes.legend(frameon=False)
    return figure
