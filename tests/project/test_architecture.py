"""Which layer may use which: read from includes and imports, so that the rule cannot lapse."""

from __future__ import annotations

import ast
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
    "emulated": {"cuda"},
    "numpy": {"core", "cpu"},
}
# What only csrc/torch and its stand-in may include, and what csrc/core and csrc/cpu may not.
TORCH = re.compile(r"torch/|ATen/|c10/")
CUDA_RUNTIME = re.compile(r"cuda|cub/")

# Module of hashgcn: modules of hashgcn it may import besides itself.
IMPORTS = {
    "reference": set(),
    "ids": set(),
    "data": {"files", "ids"},
    "files": set(),
    "metrics": {"data"},
    "settings": set(),
    "run": {"files"},
    "devices": set(),
    "graph": {"data"},
    "ops": {"graph"},
    "retrieval": {"data", "files", "ids", "_numpy"},
    "nn": {"devices", "graph", "ops"},
    "sampling": {"devices", "graph"},
    "models": {
        *("data", "devices", "evaluation", "graph", "metrics", "nn", "ops"),
        *("retrieval", "sampling", "settings", "training"),
    },
    "evaluation": {"data", "graph", "metrics", "ops"},
    "report": {"files"},
    "html_page": {"report"},
    "benchmark_report": {"files", "html_page", "report"},
    "finished_run": {"data", "evaluation", "retrieval", "run"},
    "run_report": {
        *("data", "evaluation", "files", "finished_run", "html_page"),
        *("metrics", "report", "retrieval"),
    },
    "info": {"_numpy", "ops"},
    "checkpoint": {"data", "files", "run"},
    "training": {
        *("checkpoint", "data", "evaluation", "graph", "models"),
        *("ops", "report", "retrieval", "run", "settings"),
    },
    "reproduction": {
        *("data", "evaluation", "files", "info", "models", "report"),
        *("retrieval", "run", "settings"),
    },
    "estimator": {"data", "files", "models", "retrieval"},
    "recbole": {"data", "graph", "models", "ops", "retrieval", "settings"},
    "cli_data": {"data", "report"},
    "cli_export": {"retrieval", "run"},
    "cli": {
        *("_numpy", "benchmark_report", "cli_data", "cli_export", "data", "evaluation"),
        *("finished_run", "info", "models", "report", "reproduction", "retrieval", "run"),
        *("run_report", "settings"),
    },
    "__main__": {"cli"},
    "__init__": set(),
}
TORCH_FREE = (
    *("benchmark_report", "cli_data", "cli_export", "data", "files", "html_page", "ids", "metrics"),
    *("report", "retrieval", "run", "settings"),
)


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
            if folder not in ("torch", "emulated"):
                assert not TORCH.match(include), at
            if folder in ("cpu", "numpy"):
                assert not CUDA_RUNTIME.match(include), at


def module_of(path: Path) -> str:
    return path.relative_to(ROOT / "hashgcn").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """First names below hashgcn that a file imports, and "torch" if it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found = [
                f"{node.module}.{a.name}" if node.module == "hashgcn" else node.module
                for a in node.names
            ]
        else:
            continue
        for name in found:
            parts = name.split(".")
            if parts[0] == "hashgcn" and len(parts) > 1:
                names.add(parts[1])
            elif parts[0] == "torch":
                names.add("torch")
    return names - {"__version__"}


@pytest.mark.parametrize("path", sorted((ROOT / "hashgcn").rglob("*.py")), ids=lambda p: p.stem)
def test_imports(path):
    module = module_of(path)
    found = imported(path)
    assert found - {"torch", module} <= IMPORTS[module]
    if module in TORCH_FREE:
        assert "torch" not in found


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
distances, ids = HammingIndex.load({str(tmp_path / "items.hgx")!r}).search(codes[:3], k=1)
assert ids[:, 0].tolist() == [0, 1, 2] and not distances.any()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
