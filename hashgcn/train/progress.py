"""What is shown of a phase while it runs: a bar, or a line per epoch where nobody draws one."""

from __future__ import annotations

import sys
import time

from tqdm.auto import tqdm

from hashgcn.train.checkpoint import Entry

# All of it fits 80 columns, and the bar takes what is left.
_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Progress(tqdm):
    """A bar of steps with the epoch, the loss and, in a trial, the latest validation metric.

    Where stderr is no terminal, such as a log file, each epoch is a line of its own instead; a
    notebook draws the bar.

    Args:
        name: of the phase, such as "trial 2".
        epochs, steps: largest number of epochs, and the steps of each.
        done: number of steps that lie behind.
        metric: name of the metric.
        shown: whether anything is shown; nothing is in a process without stderr.
    """

    def __init__(
        self, name: str, epochs: int, steps: int, done: int, metric: str, shown: bool
    ) -> None:
        shown = shown and sys.stderr is not None
        drawn = shown and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self.name, self.epochs, self.steps, self.metric = name, epochs, steps, metric
        self.lines, self.began = shown and not drawn, time.perf_counter()
        super().__init__(
            desc=f"{name} epoch {done // steps + 1}/{epochs}",
            total=epochs * steps,
            initial=done,
            bar_format=_FORMAT,
            disable=not drawn,
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def show(self, loss: float, history: list[Entry]) -> None:
        """Draw the mean loss of the epoch's steps so far."""
        epoch = max(1, -(-self.n // self.steps))
        self.set_description_str(f"{self.name} epoch {epoch}/{self.epochs}", refresh=False)
        self.set_postfix_str(self._values(loss, history))

    def end_epoch(self, history: list[Entry]) -> None:
        """Show the last epoch of a history."""
        entry, now = history[-1], time.perf_counter()
        self.show(entry["loss"], history)
        if self.lines:
            values = self._values(entry["loss"], history)
            seconds = now - self.began
            print(
                f"{self.name} epoch {entry['epoch']}/{self.epochs}: {values}, {seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        self.began = now

    def _values(self, loss: float, history: list[Entry]) -> str:
        text = f"loss={loss:.4f}"
        if history and "validation" in history[-1] and self.name != "refit":
            text += f", {self.metric}={history[-1]['validation'][self.metric]:.4f}"
        return text
