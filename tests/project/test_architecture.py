"""Which layer may use which: read from includes and imports, so that the rule cannot lapse."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Folder of csrc: folders it may include from besides its own.
INCLUDES = {
    "core": set(),
    "cpu": {"core"},
    "cuda": {"core"},
    "torch": {"core", "cpu", "cuda"},
    "numpy": {"core", "cpu"},
}
# What only csrc/torch may include, and what csrc/core and csrc/cpu may not.
TORCH = re.compile(r"torch/|ATen/|c10/")
CUDA_RUNTIME = re.compile(r"cuda|cub/")

# The layers of the package, from below: a module imports from its own layer and those before it.
# A name stands for itself and for what is below it; the longest name counts.
LAYERS = (
    ("hashgcn",),
    ("hashgcn._numpy", "hashgcn.devices", "hashgcn.errors", "hashgcn.files", "hashgcn.settings"),
    ("hashgcn.graph",),
    ("hashgcn.ops", "hashgcn.data"),
    ("hashgcn.metrics", "hashgcn.retrieval"),
    ("hashgcn.nn",),
    ("hashgcn.evaluate",),
    ("hashgcn.networks",),
    ("hashgcn.train",),
    ("hashgcn.runs.folder", "hashgcn.runs.curves", "hashgcn.runs.style"),
    ("hashgcn.models",),
    ("hashgcn.runs", "hashgcn.compat"),
    ("hashgcn.cli",),
    ("hashgcn.__main__",),
)
TORCH_FREE = (
    "data",
    "errors",
    "files",
    "metrics",
    "retrieval",
    "runs.folder",
    "settings",
    "cli.app",
)
# What a part of the package must not load, though its layer would allow it.
UNKNOWN_TO = {
    "hashgcn.ops": ("hashgcn.data", "pydantic", "polars", "matplotlib", "typer"),
    "hashgcn.nn": ("hashgcn.data", "pydantic", "polars", "matplotlib", "typer"),
    "hashgcn.train.loop": ("hashgcn.retrieval", "hashgcn.runs", "matplotlib", "polars", "typer"),
    "hashgcn.retrieval": ("torch", "pydantic", "polars", "matplotlib", "typer"),
}


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#include\s+[<"]([^>"]+)[>"]', path.read_text(), re.M)


@pytest.mark.parametrize("folder", INCLUDES)
def test_includes(folder):
    files = [
        p for p in (ROOT / "csrc" / folder).iterdir() if p.suffix in (".h", ".cpp", ".cu", ".cuh")
    ]
    assert files
    for path in files:
        for include in includes(path):
            at = f"{path.relative_to(ROOT)} includes {include}"
            if include.startswith("../"):
                assert include.split("/")[1] in INCLUDES[folder], at
            if folder != "torch":
                assert not TORCH.match(include), at
            if folder in ("cpu", "numpy"):
                assert not CUDA_RUNTIME.match(include), at


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted((ROOT / "hashgcn").rglob("*.py"))}
MODULES = {*FILES, "hashgcn._numpy"}


def imported(path: Path, at_the_top: bool = False) -> set[str]:
    """Every module that a file imports, in functions too or not; without those for types alone."""
    found, tree = set(), without_types(ast.parse(path.read_text()))
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            # `from package import module` imports the module, `from module import name` does not.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


def without_types(tree: ast.Module) -> ast.Module:
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return tree


def layer_of(module: str) -> int:
    names = [(name, at) for at, layer in enumerate(LAYERS) for name in layer]
    above = [x for x in names if module == x[0] or module.startswith(f"{x[0]}.")]
    return max(above, key=lambda x: len(x[0]))[1]


def test_modules_import_from_below():
    wrong = [
        f"{module} imports {other}"
        for module, path in FILES.items()
        for other in imported(path)
        if other in MODULES and layer_of(other) > layer_of(module)
    ]
    assert wrong == []


def test_imports_have_no_cycle():
    """Through imports in functions as well."""
    order = graphlib.TopologicalSorter(
        {module: imported(path) & MODULES - {module} for module, path in FILES.items()}
    )
    order.prepare()


@pytest.mark.parametrize("name", TORCH_FREE)
def test_torch_is_not_imported(name):
    files = [m for m in FILES if m == f"hashgcn.{name}" or m.startswith(f"hashgcn.{name}.")]
    assert files
    assert [m for m in files if "torch" in imported(FILES[m], at_the_top=True)] == []


@pytest.mark.parametrize("module", UNKNOWN_TO)
def test_what_a_module_does_not_load(module):
    code = f"import sys, {module};print([x for x in {UNKNOWN_TO[module]!r} if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_layers_do_not_call_the_namespace_of_ops():
    for path in (ROOT / "hashgcn").rglob("*.py"):
        if path.parent.name != "ops":
            assert "torch.ops" not in path.read_text(), path


def test_importing_the_package_is_light():
    code = (
        "import sys, hashgcn;"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'pydantic', 'polars'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_retrieval_works_where_torch_cannot_be_imported(tmp_path):
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
import hashgcn
from hashgcn.retrieval import HammingIndex, Recommender
codes = np.sign(np.random.default_rng(0).normal(size=(50, 64)))
index = HammingIndex.build(codes)
index.save({str(tmp_path / "items.hgx")!r})
ids, distances = HammingIndex.load({str(tmp_path / "items.hgx")!r}).search(codes[:3], k=1)
assert ids[:, 0].tolist() == [0, 1, 2] and not distances.any()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
