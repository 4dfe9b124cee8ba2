"""A picture of training: loss and validation metric by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hashgcn.files import write_atomic
from hashgcn.runs.style import COLOURS, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hashgcn.train.checkpoint import Entry


def training_curves(history: list[Entry], metric: str, epochs: int) -> Figure:
    """Draws the loss of both phases by epoch, and the validation metric if there was validation.

    Args:
        history: the history in metrics.json.
        metric: the validation metric that chose the number of epochs, e.g. "recall@20".
        epochs: the number of epochs that it chose.
    """
    from matplotlib.ticker import MaxNLocator

    selection = [entry for entry in history if entry["phase"] == "selection"]
    figure = new_figure(11, 3.4)
    panels = figure.subplots(1, 2 if selection else 1, squeeze=False)[0]
    for phase, name, style in (("selection", "a part", "o--"), ("refit", "all", "o-")):
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
        panels[1].set(xlabel="epoch", title=f"validation {metric}: {chosen:.4f} at epoch {epochs}")
    for axes in panels:
        clean(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def save_curves(history: list[Entry], metric: str, epochs: int, path: Path) -> None:
    """Writes the picture of training_curves to a PNG file."""
    figure = training_curves(history, metric, epochs)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
