"""Runs the command line as a person does."""

from __future__ import annotations

import subprocess
import sys


def hashgcn(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "hashgcn.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
