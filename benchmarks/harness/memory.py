"""Peak extra memory of a call, and how the C library hands memory out (Linux, glibc)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_STATUS, _CLEAR, _INFO = "/proc/self/status", "/proc/self/clear_refs", "/proc/meminfo"
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # mallopt's numbers


class Peak:
    """Context whose `bytes` is the highest resident size inside it over that before it.

    None where the system does not tell. What was freed before is given back first, so that it does
    not hide what is taken.
    """

    bytes: int | None = None

    def __enter__(self) -> Peak:
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)
            with open(_CLEAR, "w") as refs:
                refs.write("5")  # the highest resident size starts anew
            self._before = _field(_STATUS, "VmRSS")
        except (AttributeError, OSError):
            self._before = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            self.bytes = max(0, _field(_STATUS, "VmHWM") - self._before)


def available() -> int:
    return _field(_INFO, "MemAvailable")


def settle() -> None:
    """Fixes malloc's thresholds at what they adapt to: up to 32 MiB reused, above fresh pages."""
    _mallopt((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 64 << 20))


@contextlib.contextmanager
def reused() -> Iterator[None]:
    """Memory that was freed is handed out again, whatever its size.

    Above 32 MiB malloc maps fresh pages otherwise, and their faults take longer than the work of an
    op that reads and writes once. A training step that allocates the same sizes again and again
    sees reused memory under most allocators.
    """
    _mallopt((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1))
    try:
        yield
    finally:
        settle()


def _mallopt(*options: tuple[int, int]) -> None:
    library = ctypes.CDLL(None)
    for option, value in options:
        if not library.mallopt(option, value):
            raise OSError(f"mallopt refused {value} for {option}")


def _field(path: str, name: str) -> int:
    with open(path) as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
