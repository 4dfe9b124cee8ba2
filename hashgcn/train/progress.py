"""The progress bar of a phase."""

from __future__ import annotations

import sys

from tqdm import tqdm

from hashgcn.train.checkpoint import Entry


class Progress(tqdm):
    """A bar of steps that shows the loss and, in the selection, the latest validation metric.

    Args:
        phase: what the bar is called.
        total, done: number of steps of the phase, and of those that lie behind.
        metric: name of the metric.
        shown: whether the bar is drawn; it is not in a process without stderr.
    """

    def __init__(self, phase: str, total: int, done: int, metric: str, shown: bool) -> None:
        shown = shown and sys.stderr is not None
        super().__init__(
            desc=phase,
            total=total,
            initial=done,
            unit="step",
            disable=not shown,
            dynamic_ncols=True,
            mininterval=0.5 if shown and sys.stderr.isatty() else 10,
        )
        self.metric = metric

    def show(self, loss: float, history: list[Entry]) -> None:
        """Draw the mean loss of the epoch's steps so far."""
        values = {"loss": f"{loss:.4f}"}
        if history and "validation" in history[-1]:
            values[self.metric] = f"{history[-1]['validation'][self.metric]:.4f}"
        self.set_postfix(values)
