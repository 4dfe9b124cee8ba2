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


def plot_curves(history: list[dict[str, Any]], metric: str, path: Path) -> None:
    """Loss of both phases and the validation metric by epoch, as PNG."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    for phase, style in (("selection", "o--"), ("refit", "s-")):
        entries = [entry for entry in history if entry["phase"] == phase]
        epochs = [entry["epoch"] for entry in entries]
        if entries:
            left.plot(epochs, [entry["loss"] for entry in entries], style, label=phase)
        if phase == "selection" and entries:
            scores = [entry["validation"][metric] for entry in entries]
            right.plot(epochs, scores, "o--", label="validation")
            best = max(scores)
            at = epochs[scores.index(best)]
            right.annotate(
                f"{best:.4f}", (at, best), textcoords="offset points", xytext=(0, -14), ha="center"
            )
    left.set(xlabel="epoch", ylabel="loss", title="training loss")
    left.legend()
    right.set(xlabel="epoch", ylabel=metric, title=f"{metric} on the validation part of train")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
