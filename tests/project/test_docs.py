"""The pages: code runs as a reader would run it, outputs and tables are current, links are whole.

`python tests/project/test_docs.py [PAGE...]` runs the pages and writes the outputs into them.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import importlib.util
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT / "tests"), str(DOCS)]

import command_line  # noqa: E402

BLOCK = re.compile(
    r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<code>.*?)^```\n"
    r"(?P<shown>\n<!-- output(?P<of> of one machine)? -->\n```text\n(?P<output>.*?)^```$)?",
    re.M | re.S,
)
# Libraries that recipes are for and that the project does not need.
OTHERS = ("implicit", "lightning", "recbole", "torch_geometric")
TEXTS = [*DOCS.rglob("*.md"), *(ROOT / n for n in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]


class Block(NamedTuple):
    """A block of code of a page, what a page shows as its output, and whether that is compared."""

    language: str
    title: str
    code: str
    output: str | None
    is_compared: bool

    def __str__(self) -> str:
        return self.code.strip().splitlines()[-1]


def blocks(path: Path) -> list[Block]:
    """The blocks that run; those of `text` do not."""
    found = []
    for match in BLOCK.finditer(path.read_text(encoding="utf-8")):
        language, options, code, output = match.group("language", "options", "code", "output")
        assert language in ("python", "sh", "text"), language
        title = re.search(r'title="(.+)"', options)
        if language != "text":
            compared = output is not None and match["of"] is None
            found.append(Block(language, title[1] if title else "", code, output, compared))
    return found


def run(block: Block, folder: Path, names: dict | None = None) -> str:
    """What a block prints; a server is started and goes on."""
    if block.title:
        (folder / block.title).write_text(block.code)
        return ""
    if block.language == "sh":
        lines = block.code.replace("\\\n", " ").splitlines()
        return "".join(map(shell, filter(None, (shlex.split(x, comments=True) for x in lines))))
    printed = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("default")  # of other libraries, as for a reader
        exec(compile(block.code, "block", "exec"), {"__name__": "__main__", **(names or {})})
    return printed.getvalue()


def shell(words: list[str]) -> str:
    """What a line prints: a call of hashgcn, or of curl."""
    if words[0] == "curl":
        try:
            with urllib.request.urlopen(words[-1], timeout=10) as answer:
                return answer.read().decode() + "\n"
        except urllib.error.HTTPError as error:
            return error.read().decode() + "\n"
    assert words[0] == "hashgcn"
    done = command_line.hashgcn(*words[1:])
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def server(folder: Path) -> Iterator[None]:
    """serve.py of the tutorial, in a process where importing torch fails."""
    code = "import sys; sys.modules['torch'] = None; exec(open('serve.py').read())"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 8000), 1):
                break
            assert process.poll() is None, "serve.py has ended"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def outputs(path: Path, folder: Path) -> Iterator[tuple[Block, str]]:
    """Every block of a page with what it prints, one after the other in one folder."""
    with contextlib.ExitStack() as servers:
        for block in blocks(path):
            yield block, run(block, folder)
            if block.title == "serve.py":
                servers.enter_context(server(folder))


def shape(output: str) -> list[str]:
    """Lines of an output without numbers and ids, which may differ between machines."""
    lines = re.sub(r"[A-Za-z]+-\d+", "ID", output).splitlines()
    lines = [re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?", "#", line) for line in lines]
    return [" ".join(line.split()) for line in lines]


ALONE = ("recipes.md",)
RUN = sorted(
    str(path.relative_to(DOCS))
    for path in DOCS.rglob("*.md")
    if blocks(path) and path.name not in ALONE
)


@pytest.mark.docs
@pytest.mark.parametrize("page", RUN)
def test_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block, printed in outputs(DOCS / page, tmp_path):
        if block.is_compared:
            assert shape(block.output) == shape(printed), f"{page}: {block.code}"
        else:
            assert block.output is not None or not printed or block.language == "sh", block.code


@pytest.mark.docs
@pytest.mark.parametrize("block", blocks(DOCS / "recipes.md"), ids=str)
def test_a_recipe_runs_alone(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for library in OTHERS:
        uses = re.search(rf"^(import|from) {library}\b", block.code, re.M)
        if uses and not importlib.util.find_spec(library):
            pytest.skip(f"{library} is not installed")
    run(block, tmp_path)


def test_the_readme_begins_as_the_site_does_and_its_loss_runs(tmp_path):
    import torch

    from hashgcn.data import generate_sample

    first, loss = (x for x in blocks(ROOT / "README.md"))
    assert first == blocks(DOCS / "index.md")[0]
    graph = generate_sample(num_users=60, num_items=45).train.graph()
    users, items = (torch.randn(n, 32, requires_grad=True) for n in (60, 45))
    names = {"user_emb": users, "item_emb": items, "users": torch.arange(9), "graph": graph}
    run(loss, tmp_path, names)
    assert users.grad[:9].any() and items.grad.any()


def test_tables_are_current():
    import tables

    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.update(text) == text, f"{page.name}: run `python docs/tables.py`"


def test_the_menu_names_every_page():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"^ +- (?:[\w ]+: )?(\S+\.md)$", menu, re.M)
    assert sorted(named) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as the site makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"', text)
    for link in (a or b for a, b in links):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{path.name}: {link}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_stand_in_tables(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    for paragraph in re.split(r"\n\s*\n", text):
        if not paragraph.lstrip().startswith(("|", "#", "    ")):
            assert len(re.findall(r"\b0\.\d{3,}", paragraph)) < 3, f"{path.name}: {paragraph}"


def test_no_text_speaks_of_a_poster():  # it is the paper
    folders = [ROOT / name for name in ("docs", "hashgcn", "csrc", "benchmarks", "tools")]
    files = [p for f in folders for p in f.rglob("*") if p.suffix in (".md", ".py", ".h", ".cpp")]
    named = [
        path
        for path in [*files, *TEXTS]
        if re.search(r"\bposter\b", path.read_text(encoding="utf-8"), re.I)
    ]
    assert not named


@pytest.mark.parametrize(
    "package", ["compat", "data", "evaluate", "metrics", "models", "nn", "ops", "retrieval"]
)
def test_the_reference_names_all_that_is_public(package):
    pages = [path.read_text(encoding="utf-8") for path in (DOCS / "reference").iterdir()]
    named = set(re.findall(r"^::: (\S+)$", "\n".join(pages), re.M))
    module = importlib.import_module(f"hashgcn.{package}")
    for name in getattr(module, "__all__", ()):
        found = getattr(module, name)
        if callable(found):  # the others are tables of names
            places = {module.__name__, found.__module__, f"{found.__module__}.{name}"}
            assert named & places, name


class Example(NamedTuple):
    """A docstring with an example, and where it is."""

    name: str
    docstring: str
    file: Path
    line: int


def docstrings() -> Iterator[Example]:
    """Every docstring of the package."""
    for path in sorted((ROOT / "hashgcn").rglob("*.py*")):
        if path.suffix in (".py", ".pyi"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    name = getattr(node, "name", path.stem)
                    text, line = ast.get_docstring(node) or "", getattr(node, "lineno", 1)
                    yield Example(f"{path.relative_to(ROOT)}::{name}", text, path, line)


@pytest.mark.parametrize(
    "example", [x for x in docstrings() if ">>>" in x.docstring], ids=lambda x: x.name
)
def test_examples_of_docstrings_print_what_they_say(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for library in OTHERS:
        uses = re.search(rf">>> (import|from) {library}\b", example.docstring)
        if uses and not importlib.util.find_spec(library):
            pytest.skip(f"{library} is not installed")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    places = example.file.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(places).removesuffix(".__init__"))
    test = doctest.DocTestParser().get_doctest(
        *(example.docstring, dict(vars(module)), example.name, str(example.file), example.line)
    )
    report = io.StringIO()
    done = doctest.DocTestRunner(optionflags=flags).run(test, out=report.write)
    assert done.failed == 0, report.getvalue()


def test_formulas_in_docstrings_survive_markdown():
    # Outside of code <b, d> would become a tag of HTML, and >= at the start a quotation.
    for example in docstrings():
        for paragraph in re.split(r"\n\s*\n", example.docstring):
            bare = re.sub(r"`[^`]*`|\A .*|>>>.*", "", paragraph, flags=re.S)
            assert not re.search(r"<[a-zA-Z]|^\s*(\w+: )?>", bare, re.M), example


def write_outputs(path: Path) -> None:
    """Put what the blocks of a page print into the page."""
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        printed = [text for _, text in outputs(path, Path(name))]
        os.chdir(ROOT)
    text, parts, end = path.read_text(encoding="utf-8"), [], 0
    runs = (match for match in BLOCK.finditer(text) if match["language"] != "text")
    for match, new in zip(runs, printed, strict=True):
        if match["output"] is not None:
            lines = "\n".join(line.rstrip() for line in new.strip("\n").splitlines())
            parts += [text[end : match.start("output")], lines, "\n"]
            end = match.end("output")
    path.write_text("".join([*parts, text[end:]]), encoding="utf-8")


if __name__ == "__main__":
    for page in sys.argv[1:] or RUN:
        write_outputs(DOCS / page)
        print(f"wrote {page}")
    readme, shown = ROOT / "README.md", blocks(DOCS / "index.md")[0].output
    text = readme.read_text(encoding="utf-8")
    old = next(BLOCK.finditer(text))
    start, stop = old.span("output")
    readme.write_text(text[:start] + (shown or "") + text[stop:], encoding="utf-8")
