"""What the project's files promise each other."""

from __future__ import annotations

import re
from pathlib import Path

import hashgcn.ops
from hashgcn.ops._library import ERRORS

ROOT = Path(__file__).resolve().parent.parent


def requirements(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"}


def test_requirements_are_those_of_the_package():
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", project, re.S | re.M).group(1)
    wanted = {name for name in re.findall(r'"([^"]+)"', block) if not name.startswith("torch")}
    installed = requirements((ROOT / "requirements.txt").read_text())
    assert wanted <= installed


def test_bench_requirements_are_those_of_the_extra():
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^bench = \[(.*?)^\]", project, re.S | re.M).group(1)
    listed = requirements((ROOT / "requirements-bench.txt").read_text())
    assert set(re.findall(r'"([^"]+)"', block)) == listed


def test_every_public_op_is_benchmarked():
    files = {p.stem.removeprefix("bench_") for p in (ROOT / "benchmarks").glob("bench_*.py")}
    stems = {p.stem for p in (ROOT / "hashgcn/ops").glob("[a-z]*.py")}
    # fixed_order_mm multiplies a loss's small tables: it is part of the losses of score_tables.
    assert stems - files == {"fixed_order_mm"}


def test_every_op_has_the_same_stem_in_every_layer():
    glue = {p.name.removesuffix("_cpu.cpp") for p in (ROOT / "csrc/torch").glob("*_cpu.cpp")}
    assert glue == {p.stem for p in (ROOT / "hashgcn/ops").glob("[a-z]*.py")}
    kernels = {p.stem for p in (ROOT / "csrc/cpu").glob("*.cpp")} - {"checks", "isa"}
    assert glue == kernels
    cuda = {p.name.removesuffix("_cuda.cpp") for p in (ROOT / "csrc/torch").glob("*_cuda.cpp")}
    assert glue == cuda - {"errors", "kernels"}
    assert glue - {"fixed_order_mm"} == {p.stem for p in (ROOT / "csrc/cuda").glob("*.cu")} - {
        "errors"
    }


def test_the_kernels_page_names_every_cuda_kernel():
    sources = "\n".join(p.read_text() for p in (ROOT / "csrc/cuda").glob("*.cu*"))
    kernel = r"__global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\("
    page = (ROOT / "docs/kernels.md").read_text()
    named = re.findall(r"\| `(\w+)[^`]*` \|", page)
    assert set(re.findall(kernel, sources)) == set(named)


def test_error_texts_are_those_of_the_device_flag():
    header = (ROOT / "csrc/core/errors.h").read_text()
    block = header[header.index("kErrorTexts") :]
    texts = re.findall(r'"([^;]*?)",\n', re.sub(r'"\s+"', "", block))
    assert [text.split(", got")[0] for text in texts] == list(ERRORS)


def test_schemas_are_in_one_file():
    names = set(re.findall(r'"(\w+)\(', (ROOT / "csrc/torch/schemas.cpp").read_text()))
    public = {name.removesuffix("_backward") for name in names}
    assert public == set(hashgcn.ops.__all__) - {"check_errors", "cuda_kernels"}
