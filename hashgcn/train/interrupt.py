"""Signals that end a run are acted upon where nothing is lost by it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

# Ctrl-C; what schedulers, containers and `kill` send; what a closed terminal sends.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Caught:
    """The signal that came within `interruptible`.

    Attributes:
        number: its number, 0 if none came.
    """

    def __init__(self) -> None:
        self.number = 0
        self._passes = False

    def __bool__(self) -> bool:
        return self.number != 0

    def come(self, number: int) -> None:
        """Take note of a signal; a KeyboardInterrupt within `passing`."""
        self.number = number
        if self._passes:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Around what changes nothing that is saved: a signal ends it by a KeyboardInterrupt."""
        self._passes = True
        try:
            if self:
                raise KeyboardInterrupt
            yield
        finally:
            self._passes = False


@contextlib.contextmanager
def interruptible() -> Iterator[Caught]:
    """Holds back the first signal that would end the process, until the context is left.

    Its handler from before, Python's or the program's own, then gets it; where that returns, a
    KeyboardInterrupt ends the context. A second signal is not held back.

    Signals that are ignored stay ignored. Nothing is changed outside the main thread, where signals
    cannot be caught, nor for a signal that a program that Python is part of catches (R, for one),
    as that handler could not be put back.
    """
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before: dict[int, Any] = {
        number: handler
        for number in ENDING
        if (handler := signal.getsignal(number)) not in (None, signal.SIG_IGN)
    }

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: Any) -> None:
        put_back()
        caught.come(number)

    try:
        for number in before:
            signal.signal(number, on_signal)
        yield caught
    except KeyboardInterrupt:
        if not caught:
            raise
    finally:
        put_back()
    if caught:
        signal.raise_signal(caught.number)
        raise KeyboardInterrupt
