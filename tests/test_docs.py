"""The pages of docs: code blocks run as a reader would run them, the menu names every page."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import hashgcn.ops

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


@pytest.mark.parametrize("page", ["data.md", "quickstart.md", "retrieval.md"])
def test_blocks_run_one_after_the_other(page, tmp_path):
    for language, code in blocks(page):
        run(language, code, tmp_path)


@pytest.mark.parametrize("place", range(len(blocks("recipes.md"))))
def test_a_recipe_runs_alone(place, tmp_path):
    language, code = blocks("recipes.md")[place]
    for library in ("implicit", "lightning", "recbole", "torch_geometric"):
        if re.search(rf"^(import|from) {library}\b", code, re.M) and not importlib.util.find_spec(
            library
        ):
            pytest.skip(f"{library} is not installed")
    run(language, code, tmp_path)


def test_the_menu_names_every_page():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"^ +- (?:[\w ]+: )?(\S+\.md)$", menu, re.M)
    docs = ROOT / "docs"
    assert sorted(named) == sorted(str(p.relative_to(docs)) for p in docs.rglob("*.md"))


def test_the_reference_names_every_op():
    page = (ROOT / "docs/reference/ops.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: hashgcn\.ops\.\w+\.(\w+)$", page, re.M)) == sorted(
        hashgcn.ops.__all__
    )
