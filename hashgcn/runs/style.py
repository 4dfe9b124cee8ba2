"""How every picture of the package looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
