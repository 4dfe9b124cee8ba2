"""`make sanitize`: tests of the CPU kernels with address and undefined-behaviour sanitizers.

Once for each instruction set of the processor.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import sanitizers

ROOT = sanitizers.ROOT
BUILD = ROOT / "build" / "sanitize"
PACKAGE = BUILD / "package"  # a copy of the package with the sanitized libraries


def main() -> None:
    sanitizers.build(BUILD, "-DHASHGCN_SANITIZE=ON")
    shutil.rmtree(PACKAGE, ignore_errors=True)
    compiled = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "hashgcn", PACKAGE / "hashgcn", ignore=compiled)
    subprocess.run(["cmake", "--install", BUILD, "--prefix", PACKAGE], check=True)
    environment = sanitizers.environment(PYTHONPATH=str(PACKAGE))
    code = f"""
import hashgcn
assert hashgcn.__file__.startswith({str(PACKAGE)!r}), hashgcn.__file__
from hashgcn import _numpy
print(*_numpy.instruction_sets())
"""
    sets = subprocess.check_output(
        [sys.executable, "-c", code], env=environment, cwd=PACKAGE, text=True
    ).split()
    tests = ["ops/test_ops.py", "ops/test_errors.py", "nn/test_losses.py"]
    tests += ["retrieval/test_numpy_module.py"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        # Not the checkout's package, which pyproject.toml has tests import.
        f"--override-ini=pythonpath={ROOT / 'tests'}",
        "-k",
        "not compile and not opcheck and not gradcheck and not instruction_set",
    ]
    for name in sets:
        subprocess.run(
            [*command, *(str(ROOT / "tests" / test) for test in tests)],
            check=True,
            env=environment | {"HASHGCN_CPU": name},
            cwd=PACKAGE,
        )


if __name__ == "__main__":
    main()
