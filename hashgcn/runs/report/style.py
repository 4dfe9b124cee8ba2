"""Pictures and tables of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgcn.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "#12355b"
COLOURS = ("#d1603d", "#5b8e7d", "#e0a458", "#8a6fa8", "#7a8b99", "#b05a7a", "#4f9bd9")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, outside pyplot's state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def clean(axes: Axes) -> None:
    """A light grid behind, no frame above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, which="major")
    axes.set_axisbelow(True)


def training_curves(history: list[dict[str, Any]], metric: str, epochs: int) -> Figure:
    """Loss of both phases and, where some of train was held out, its metric by epoch.

    Args:
        history: of metrics.json.
        metric: that chose.
        epochs: that it chose.
    """
    from matplotlib.ticker import MaxNLocator

    selection = [entry for entry in history if entry["phase"] == "selection"]
    figure = new_figure(11, 3.4)
    panels = figure.subplots(1, 2 if selection else 1, squeeze=False)[0]
    for phase, name, style in (("selection", "on a part", "o--"), ("refit", "on all", "o-")):
        entries = [entry for entry in history if entry["phase"] == phase]
        colour = COLOURS[0] if phase == "selection" else OURS
        panels[0].plot(
            [entry["epoch"] for entry in entries],
            [entry["loss"] for entry in entries],
            style,
            color=colour,
            markersize=4,
            label=f"{name} of train",
        )
    panels[0].set(xlabel="epoch", title="loss")
    if selection:
        panels[0].legend(frameon=False)
        scores = [entry["validation"][metric] for entry in selection]
        at = [entry["epoch"] for entry in selection]
        panels[1].plot(at, scores, "o-", color=OURS, markersize=4)
        chosen = scores[at.index(epochs)]
        panels[1].axvline(epochs, color=COLOURS[0], linewidth=1, linestyle=":")
        panels[1].plot(epochs, chosen, "o", color=COLOURS[0], markersize=8)
        panels[1].set(
            xlabel="epoch", title=f"{metric} on the rest of train: {chosen:.4f} at epoch {epochs}"
        )
    for axes in panels:
        clean(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_curves(history: list[dict[str, Any]], metric: str, epochs: int, path: Path) -> None:
    """training_curves as PNG."""
    figure = training_curves(history, metric, epochs)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def plot_degrees(users: np.ndarray, items: np.ndarray, title: str, path: Path) -> None:
    """Train pairs of users and of items by rank, int [m] and [n], on logarithmic axes, as PNG."""
    figure = new_figure(5, 3.6)
    axes = figure.subplots()
    for degrees, name, colour in ((users, "users", OURS), (items, "items", COLOURS[0])):
        ordered = sorted(degrees[degrees > 0].tolist(), reverse=True)
        axes.plot(range(1, len(ordered) + 1), ordered, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="train pairs", title=title)
    axes.legend()
    clean(axes)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def metrics_table(columns: dict[str, dict[str, float]]) -> str:
    """Metrics side by side, one column for each method, as aligned text."""
    names = list(next(iter(columns.values())))
    width = max(map(len, names))
    widths = {title: max(len(title), 6) for title in columns}
    lines = [" " * width + "".join(f"  {title:>{widths[title]}}" for title in columns)]
    for name in names:
        values = "".join(f"  {values[name]:>{widths[t]}.4f}" for t, values in columns.items())
        lines.append(f"{name:<{width}}{values}")
    return "\n".join(lines)


def ties_table(ties: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Columns of metrics_table for the expected value under ties and its bounds."""
    fields = next(iter(ties.values()))
    return {f"ties {field}": {name: ties[name][field] for name in ties} for field in fields}
