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

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "numpy", "scipy", "faiss-cpu", "usearch", "pytest-benchmark")


@cache
def describe() -> dict[str, str | int]:
    """Processor, cores, caches and memory."""
    model = next(iter(_lines("/proc/cpuinfo", r"model name\s*:\s*(.*)")), platform.processor())
    memory = next(iter(_lines("/proc/meminfo", r"MemTotal:\s*(\d+)")), "0")
    found: dict[str, str | int] = {
        "cpu": model.strip(),
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
