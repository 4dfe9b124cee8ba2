"""Builds with address and undefined-behaviour sanitizers, and what a process needs to load them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(folder: Path, *options: str, target: str = "all") -> None:
    """Configure without CUDA, with further options, and build; MAX_JOBS: compilers at a time."""
    options = ("-DHASHGCN_CUDA=0", f"-DPython_EXECUTABLE={sys.executable}", *options)
    subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *options], check=True)
    jobs = os.environ.get("MAX_JOBS")
    command = ["cmake", "--build", folder, "--target", target, *(["-j", jobs] if jobs else [])]
    subprocess.run(command, check=True)


def environment(**more: str) -> dict[str, str]:
    """This process's environment for a Python that loads what was built; `more` is added to it."""
    runtimes = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return os.environ | {
        "LD_PRELOAD": " ".join(runtimes),
        # Python and torch keep memory until the end; leaks are not what is looked for.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        **more,
    }
