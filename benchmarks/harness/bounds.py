"""The machine's ceilings of bandwidth and arithmetic, measured in the run that they bound."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch

# Bytes that a copy reads and writes: within a core's second cache, the third one, and memory.
COPY_BYTES = (1 << 20, 24 << 20, 512 << 20)
LANES = 192  # of bounds.c
# Passes of its loops: about 20 ms, much longer than a thread takes to start.
POPCOUNT_PASSES, MULTIPLY_PASSES, ADDER_PASSES = 150_000, 5_000_000, 10_000_000
ADDERS = 6  # of bounds.c
REPEATS = 5


@cache
def measure(threads: int) -> dict[str, object]:
    """Ceilings of a number of threads, each the best of several runs.

    Returns:
        "popcounts" and "full_adders" of 64-bit words and "multiply_adds" of float32 per second, and
        "copy": bytes read and written per second, by the number of bytes that a copy touches.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        copy = {size: _copy_rate(size) for size in COPY_BYTES}
    finally:
        torch.set_num_threads(before)
    library = _library()
    words = [np.arange(2048, dtype=np.uint64) for _ in range(threads)]

    def count(at: int) -> None:
        library.popcounts(ctypes.c_void_p(words[at].ctypes.data), len(words[at]), POPCOUNT_PASSES)

    def multiply(at: int) -> None:
        library.multiply_adds(MULTIPLY_PASSES, 0.999)

    def add(at: int) -> None:
        library.full_adders(ADDER_PASSES, ctypes.byref(ctypes.c_uint64()))

    lanes = library.full_adders(0, ctypes.byref(ctypes.c_uint64()))

    with ThreadPoolExecutor(threads) as pool:

        def rate(work: Callable[[int], None], operations: int) -> float:
            return threads * operations / _best(lambda: list(pool.map(work, range(threads))))

        return {
            "copy": copy,
            "popcounts": rate(count, 2048 * POPCOUNT_PASSES),
            "full_adders": rate(add, lanes * ADDERS * ADDER_PASSES),
            "multiply_adds": rate(multiply, LANES * MULTIPLY_PASSES),
        }


def copy_rate(bounds: dict, working_set: int) -> float:
    """Bytes per second of the fastest measured copy that is not smaller than the working set."""
    copy = bounds["copy"]
    return max(copy[size] for size in copy if size >= min(working_set, max(copy)))


def _copy_rate(size: int) -> float:
    source = torch.ones(size // 8)
    target = torch.empty_like(source)
    times = max(1, (64 << 20) // size)

    def copy() -> None:
        for _ in range(times):
            target.copy_(source)

    return times * size / _best(copy)


def _best(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@cache
def _library() -> ctypes.CDLL:
    source = Path(__file__).with_name("bounds.c")
    compiler = os.environ.get("CC", "cc")
    options = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "bounds.so")
        subprocess.run([compiler, *options, source, "-o", target], check=True)
        library = ctypes.CDLL(str(target))
    library.popcounts.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    library.popcounts.restype = ctypes.c_uint64
    library.full_adders.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_uint64)]
    library.full_adders.restype = ctypes.c_int64
    library.multiply_adds.argtypes = [ctypes.c_int64, ctypes.c_float]
    library.multiply_adds.restype = ctypes.c_float
    return library
