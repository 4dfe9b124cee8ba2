"""The machine, the libraries and the commit that results were made with."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

from hashgcn import __version__, _numpy

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
LIBRARIES = ("torch", "numpy", "scipy", "faiss-cpu", "usearch", "pytest-benchmark")


@cache
def describe() -> dict[str, str | int]:
    """Processor, its best instruction set, cores, caches and memory."""
    memory = next(iter(_lines("/proc/meminfo", r"MemTotal:\s*(\d+)")), "0")
    models = _lines("/proc/cpuinfo", r"model name\s*: (.*)")
    found: dict[str, str | int] = {
        "cpu": models[0].strip() if models else platform.processor(),
        "instructions": _numpy.instruction_sets()[0],
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
    """Context whose `share` is the fraction of the processors' time that others took inside it.

    Others are processes that this one did not start and, where the kernel reports it, virtual
    machines. A child counts as this process once it has been waited for. None outside Linux.
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
        """Seconds that the processors were busy, in all, and for this process and its children."""
        found = _lines("/proc/stat", r"(?m)^cpu +(.*)$")
        times = os.times()
        if not found:
            return 0.0, 0.0, 0.0
        # user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        ticks = [int(n) / os.sysconf("SC_CLK_TCK") for n in found[0].split()[:8]]
        # All but the last, which is the time on the clock.
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks), sum(times[:4])


def slug() -> str:
    """The machine's name in the names of files."""
    found = describe()
    text = f"{found['cpu']} {found['cores']} cores {found['instructions']}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@cache
def versions() -> dict[str, str]:
    """Versions of hashgcn, Python and the LIBRARIES that are installed."""
    found = {"hashgcn": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def core_versions() -> dict[str, str]:
    """Versions of what results of training depend on."""
    return {name: versions()[name] for name in ("hashgcn", "torch", "numpy", "python")}


@cache
def commit() -> str:
    """The checkout's commit, with a "+" if the code differs from it; "unknown" without git."""
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        changed = _git("status", "--porcelain", "--", "csrc", "hashgcn", "benchmarks/**.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def stored(reference: str) -> dict[str, str]:
    """The texts of the files of results of the ops at a commit, by name.

    Raises:
        ValueError: no such commit, or none with such files.
    """
    folder = RESULTS.relative_to(ROOT).as_posix()
    try:
        names = _git("ls-tree", "--name-only", reference, f"{folder}/").splitlines()
    except (OSError, subprocess.CalledProcessError):
        raise ValueError(f"expected a file or a commit, got {reference!r}") from None
    names = [name for name in names if re.search(r"/ops-[^/]*\.jsonl$", name)]
    if not names:
        raise ValueError(f"expected a commit with {folder}/ops-*.jsonl, got {reference!r}")
    return {f"{reference}:{name}": _git("show", f"{reference}:{name}") for name in names}


def today() -> str:
    """The date, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _lines(path: str, pattern: str) -> list[str]:
    try:
        return re.findall(pattern, Path(path).read_text())
    except OSError:
        return []
