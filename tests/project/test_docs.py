"""The pages of docs: code blocks run as a reader would run them, the menu names every page."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import command_line
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def run(language: str, code: str, folder: Path) -> None:
    """A block of Python, or of shell lines that call hashgcn, with names of its own."""
    if language == "sh":
        lines = code.replace("\\\n", " ").splitlines()
        for words in (shlex.split(line, comments=True) for line in lines):
            if words:
                assert words[0] == "hashgcn"
                done = command_line.hashgcn(*words[1:])
                assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    elif "sys.modules" in code:  # an import is made to fail
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # of other libraries, as for a reader
            exec(compile(code, "block", "exec"), {"__name__": "__main__"})


def blocks(page: str) -> list[tuple[str, str]]:
    found = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert found and {language for language, _ in found} <= {"python", "sh"}
    return found


@pytest.mark.parametrize("page", ["data.md", "quickstart.md", "retrieval.md"])
def test_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language, code in blocks(page):
        run(language, code, tmp_path)


@pytest.mark.parametrize("place", range(len(blocks("recipes.md"))))
def test_a_recipe_runs_alone(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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


@pytest.mark.parametrize("package", ["data", "models", "nn", "ops", "retrieval"])
def test_the_reference_names_all_that_is_public(package):
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").iterdir()]
    named = set(re.findall(r"^::: (\S+)$", "\n".join(pages), re.M))
    module = importlib.import_module(f"hashgcn.{package}")
    public = {name: getattr(module, name) for name in module.__all__}
    for name, found in public.items():
        if callable(found):  # the others are tables of names
            assert named & {found.__module__, f"{found.__module__}.{name}"}, name


def test_formulas_in_docstrings_survive_markdown():
    # Outside of code <b, d> would become a tag of HTML, and >= at the start a quotation.
    for path in (ROOT / "hashgcn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                continue
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                bare = re.sub(r"`[^`]*`|\A .*", "", paragraph, flags=re.S)
                assert not re.search(r"<[a-zA-Z]|^\s*(\w+: )?>", bare, re.M), f"{path}: {paragraph}"
