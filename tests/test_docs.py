"""The code blocks of pages, run as a reader would run them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def run(language: str, code: str, folder: Path) -> None:
    """A block of Python, or of shell lines that call hashgcn."""
    if language == "python":
        commands = [[sys.executable, "-c", code]]
    else:
        lines = code.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines if line.strip()]
        assert all(line[0] == "hashgcn" for line in words if line)
        commands = [[sys.executable, "-m", "hashgcn.cli", *line[1:]] for line in words if line]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", ["data.md", "retrieval.md"])
def test_blocks_run_one_after_the_other(page, tmp_path):
    blocks = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert {language for language, _ in blocks} == {"python", "sh"}
    for language, code in blocks:
        run(language, code, tmp_path)
