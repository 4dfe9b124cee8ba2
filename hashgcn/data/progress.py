"""A sign of life while events are read."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Rows(tqdm):
    """The number of rows read so far, and what is done with them; gone at the end.

    Args:
        name: what is read.
        shown: whether it is drawn; it is not in a process without stderr, nor in the first second.
    """

    def __init__(self, name: str, shown: bool) -> None:
        shown = shown and sys.stderr is not None
        super().__init__(
            desc=name,
            unit=" rows",
            unit_scale=True,
            disable=not shown,
            leave=False,
            delay=1,
            dynamic_ncols=True,
            mininterval=0.5 if shown and sys.stderr.isatty() else 10,
        )

    def stage(self, text: str) -> None:
        """Say what is done with the rows from now on."""
        now = 0 if self.disable else self._time()
        shown = not self.disable and now >= self.start_t + self.delay
        self.set_postfix_str(text, refresh=shown)
        if shown:
            self.last_print_t = now  # else `close` would take it for never drawn, and leave it
