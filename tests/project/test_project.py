"""What the project's files promise each other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import hashgcn._numpy
import hashgcn.ops

ROOT = Path(__file__).resolve().parents[2]


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


def test_every_op_has_the_same_stem_in_every_layer():
    glue = {p.name.removesuffix("_cpu.cpp") for p in (ROOT / "csrc/torch").glob("*_cpu.cpp")}
    composed = {"pack_levels"}  # of other ops
    modules = {p.stem for p in (ROOT / "hashgcn/ops").glob("[a-z]*.py")}
    assert glue == modules - composed - {"reference"}
    shared = {"checks", "isa", "processors"}
    assert glue == {p.stem for p in (ROOT / "csrc/cpu").glob("*.cpp")} - shared
    # An op may land without its CUDA half; `make lint` then says so.
    cuda = {p.name.removesuffix("_cuda.cpp") for p in (ROOT / "csrc/torch").glob("*_cuda.cpp")}
    kernels = {p.stem for p in (ROOT / "csrc/cuda").glob("*.cu")}
    assert cuda - {"errors"} == kernels - {"errors"} <= glue


def test_schemas_are_in_one_file():
    names = set(re.findall(r'"(\w+)\(', (ROOT / "csrc/torch/schemas.cpp").read_text()))
    public = {name.removesuffix("_backward") for name in names}
    composed = {"pack_levels", "unpack_levels"}
    assert public == set(hashgcn.ops.__all__) - composed - {"TopK", "check_errors"}


def test_every_package_is_installed():
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^packages = \[(.*?)\]", project, re.M).group(1)
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for path in (ROOT / "hashgcn").rglob("__init__.py")
    }
    assert set(re.findall(r'"([^"]+)"', listed)) == found


def test_stubs_name_what_is_there():
    package = (ROOT / "hashgcn/__init__.pyi").read_text()
    assert set(re.findall(r"import (\w+) as \1", package)) == set(hashgcn.__all__) - {"__version__"}
    module = (ROOT / "hashgcn/_numpy.pyi").read_text()
    public = {name for name in dir(hashgcn._numpy) if not name.startswith("_")}
    assert set(re.findall(r"^def (\w+)\(", module, re.M)) == public


def test_versions_agree():
    for name in ("pyproject.toml", "CITATION.cff"):
        stated = re.search(r'^version[:=\s]+"?([\d.]+)"?$', (ROOT / name).read_text(), re.M)
        assert stated.group(1) == hashgcn.__version__, name


def test_the_oldest_torch_is_the_same_everywhere():
    project = (ROOT / "pyproject.toml").read_text()
    [oldest] = set(re.findall(r'"torch>=([\d.]+)"', project))
    target = re.search(
        r"TORCH_TARGET_VERSION=0x(..)(..)0{12}", (ROOT / "CMakeLists.txt").read_text()
    )
    assert ".".join(str(int(part, 16)) for part in target.groups()) == oldest
    assert f" TORCH={oldest}.0 " in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("library", ["cpu", "cuda"])
def test_the_op_libraries_use_torchs_stable_abi_alone(library):
    path = ROOT / f"hashgcn/lib/libhashgcn_{library}.so"
    if not path.exists():
        pytest.skip(f"{path.name} was not built")
    command = ["nm", "--dynamic", "--undefined-only", "--format=just-symbols", path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = [name for name in done.stdout.split() if "@" not in name]
    # C++ names of torch would tie the library to the torch that it was built with.
    assert not [name for name in names if re.match(r"_ZNK?(2at|3c10|5torch)", name)]
    assert any(name.startswith("aoti_torch_") for name in names)
    # A kernel that glue calls and that was not linked; torch would say so only where it is loaded.
    assert not [name for name in names if "7hashgcn" in name]
