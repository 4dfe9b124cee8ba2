"""What a row says of its machine, its libraries and its commit."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

from hashgcn import __version__
from hashgcn.cli import info

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "numpy", "scipy", "faiss-cpu", "usearch", "pytest-benchmark")


@cache
def describe() -> dict[str, str | int]:
    """Processor, cores, caches and memory."""
    memory = next(iter(_lines("/proc/meminfo", r"MemTotal:\s*(\d+)")), "0")
    found: dict[str, str | int] = {
        "cpu": info.cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory) / 2**20),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (index / "type").read_text().strip()
        if kind != "Instruction":
            found[f"l{(index / 'level').read_text().strip()}"] = (
                (index / "size").read_text().strip()
            )
    return found


class Others:
    """Context whose `share` is the part of the processors' time that others took inside it.

    Other processes and, where the kernel tells, other virtual machines; None outside Linux.
    """

    share: float | None = None

    def __enter__(self) -> Others:
        self._before = self._now()
        return self

    def __exit__(self, *error: object) -> None:
        busy, total, own = (b - a for a, b in zip(self._before, self._now(), strict=True))
        if total > 0:
            self.share = max(0.0, busy - own) / total

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Busy and all seconds of the processors, and busy ones of this process."""
        found = _lines("/proc/stat", r"(?m)^cpu +(.*)$")
        times = os.times()
        if not found:
            return 0.0, 0.0, 0.0
        # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        ticks = [int(n) / os.sysconf("SC_CLK_TCK") for n in found[0].split()[:8]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks), times.user + times.system


def slug() -> str:
    """Of a results file: one a machine."""
    found = describe()
    text = f"{found['cpu']} {found['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@cache
def versions() -> dict[str, str]:
    found = {"hashgcn": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str:
    """Of the checkout, "+" if kernels or package differ from it."""
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", "csrc", "hashgcn", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def today() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _lines(path: str, pattern: str) -> list[str]:
    try:
        return re.findall(pattern, Path(path).read_text())
    except OSError:
        return []
