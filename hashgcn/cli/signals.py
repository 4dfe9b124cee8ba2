"""How signals end a command."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from hashgcn.train.interrupt import ENDING


class Ended(BaseException):
    """A signal ends the command; nothing but an entry point catches it.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number


def catch() -> None:
    """Make an Ended of the signals that would end this process; those it ignores stay ignored."""
    for number in ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _on_signal)


def release() -> None:
    """From now on, a signal ends the process at once."""
    for number in ENDING:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_DFL)


def _on_signal(number: int, frame: FrameType | None) -> None:
    release()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            # Code that an import runs may lose an exception or turn it into another one.
            if sys.stderr is not None:
                os.write(2, b"hashgcn: interrupted\n")
            os._exit(128 + number)
        frame = frame.f_back
    raise Ended(number)
