"""`make test-emulate`: the CUDA kernels as host code, on the ops' samples.

Builds tests/emulated and runs its tests; arguments are further options of pytest. It needs neither
a GPU nor the CUDA toolkit, and replaces neither: call its results emulated.
"""

from __future__ import annotations

import subprocess
import sys

import sanitizers

BUILD = sanitizers.ROOT / "build" / "emulate"
TARGET = "hashgcn_emulated"


def main() -> int:
    sanitizers.build(BUILD, "-DHASHGCN_EMULATE=ON", target=TARGET)
    environment = sanitizers.environment(
        # New memory is filled, so that what is not written differs from what the reference says.
        ASAN_OPTIONS="detect_leaks=0:max_malloc_fill_size=2147483647",
        HASHGCN_EMULATED=str(BUILD / "tests" / "emulated" / f"lib{TARGET}.so"),
        PYTHONPATH=str(sanitizers.ROOT),
    )
    pytest = [sys.executable, "-m", "pytest", "-m", "emulated", "tests/emulated/test_emulated.py"]
    return subprocess.run(
        [*pytest, *sys.argv[1:]], env=environment, cwd=sanitizers.ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
