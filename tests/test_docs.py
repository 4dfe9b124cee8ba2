"""The code blocks of pages, run as a reader would run them."""

from __future__ import annotations

import importlib.util
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


def blocks(page: str) -> list[tuple[str, str]]:
    found = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert found and {language for language, _ in found} <= {"python", "sh"}
    return found


def test_blocks_of_the_data_page_run_one_after_the_other(tmp_path):
    for language, code in blocks("data.md"):
        run(language, code, tmp_path)


@pytest.mark.parametrize("place", range(len(blocks("recipes.md"))))
def test_a_recipe_runs_alone(place, tmp_path):
    language, code = blocks("recipes.md")[place]
    for library in ("implicit", "lightning", "torch_geometric"):
        if re.search(rf"^(import|from) {library}\b", code, re.M) and not importlib.util.find_spec(
            library
        ):
            pytest.skip(f"{library} is not installed")
    run(language, code, tmp_path)
