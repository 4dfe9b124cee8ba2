"""The peak of a call's extra memory, and how the C library allocates memory (Linux, glibc)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_STATUS, _CLEAR, _INFO = "/proc/self/status", "/proc/self/clear_refs", "/proc/meminfo"
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # mallopt's numbers


class Peak:
    """Context whose `bytes` is the growth of the resident size to its peak inside.

    It is None where the system does not report it. Freed memory is first returned to the system, so
    that it does not hide what is allocated.
    """

    bytes: int | None = None
    _before: int | None = None

    def __enter__(self) -> Peak:
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)
            with open(_CLEAR, "w") as refs:
                refs.write("5")  # resets the peak of the resident size
            self._before = _field(_STATUS, "VmRSS")
        except (AttributeError, OSError):
            self._before = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            self.bytes = max(0, _field(_STATUS, "VmHWM") - self._before)


def available() -> int:
    """Bytes of memory that are available."""
    return _field(_INFO, "MemAvailable")


def settle() -> None:
    """Fix malloc's thresholds: blocks up to 32 MiB are reused, larger ones are mapped."""
    _mallopt((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 64 << 20))


@contextlib.contextmanager
def reused() -> Iterator[None]:
    """Context in which freed memory of any size is allocated again.

    Otherwise malloc maps fresh pages for blocks above 32 MiB, and their faults take longer than an
    op that reads and writes once. A training step, which allocates the same sizes again and again,
    gets reused memory from most allocators.
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
