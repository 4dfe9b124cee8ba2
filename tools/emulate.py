"""`make test-emulate`: the CUDA kernels as host code, on the ops' samples.

Builds csrc/emulated and runs the tests marked `emulated`, with options for pytest if there are any.
Needs no GPU and no CUDA toolkit, and is no substitute for a GPU: what it says is called emulated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "emulate"
TARGET = "hashgcn_emulated"


def main() -> int:
    options = ["-DHASHGCN_CUDA=0", "-DHASHGCN_EMULATE=ON", f"-DPython_EXECUTABLE={sys.executable}"]
    subprocess.run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", BUILD, *options], check=True)
    jobs = os.environ.get("MAX_JOBS")
    build = ["cmake", "--build", BUILD, "--target", TARGET, *(["-j", jobs] if jobs else [])]
    subprocess.run(build, check=True)
    runtimes = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(runtimes),
        # Python and torch keep memory until the end. New memory is filled, so that what is not
        # written differs from what the reference says.
        "ASAN_OPTIONS": "detect_leaks=0:max_malloc_fill_size=2147483647",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "HASHGCN_EMULATED": str(BUILD / "csrc" / "emulated" / f"lib{TARGET}.so"),
        "PYTHONPATH": str(ROOT),
    }
    pytest = [sys.executable, "-m", "pytest", "-m", "emulated", "tests/test_emulated.py"]
    return subprocess.run(
        [*pytest, *sys.argv[1:]], env=environment, cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
