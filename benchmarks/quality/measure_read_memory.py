"""How much memory reading a file of events takes: the figures in read_interactions' docstring.

    python -m benchmarks.quality.measure_read_memory --events 2000000 6000000

The files hold random events of a user, an item and a time, 50 per user and 100 per item, as CSV and
as Parquet, with ids that are integers or texts of 25 characters. Each is read in a process of its
own and split by time. Printed are the peak of memory for both sizes, and its growth per event.
Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

_READ = """
import re, sys
from hashgcn.data import read_interactions
read_interactions(sys.argv[1], user="user", item="item", time="time", split="time")
# ru_maxrss may include the memory of the process that started this one.
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, nargs=2, default=(2_000_000, 6_000_000))
    sizes = parser.parse_args().events
    for format in ("csv", "parquet"):
        for ids in ("integers", "text"):
            peaks = [peak(size, format, ids) for size in sizes]
            slope = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
            both = " and ".join(f"{peak / 1e6:,.0f}" for peak in peaks)
            print(f"{format}, {ids}: {both} MB, {slope:.0f} bytes per event", flush=True)


def peak(size: int, format: str, ids: str) -> int:
    """Peak resident bytes of a process that reads a file of `size` events."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user": random.integers(0, max(size // 50, 1), size),
            "item": random.integers(0, max(size // 100, 1), size),
            "time": random.integers(0, 2**40, size),
        }
    )
    if ids == "text":
        frame = frame.with_columns(pl.col("user", "item").cast(pl.String) + "-" * 20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"events.{format}"
        (frame.write_csv if format == "csv" else frame.write_parquet)(path)
        command = [sys.executable, "-c", _READ, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout) * 1024


if __name__ == "__main__":
    main()
