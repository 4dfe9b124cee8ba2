"""`make kernels`: writes what the compiler makes of every CUDA kernel to build/kernels.md.

Needs nvcc but no GPU. Registers, shared memory and spills are those that ptxas reports; widths of
loads are taken from the PTX. The table holds for one version of nvcc.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "build" / "kernels.md"
ARCHITECTURES = ("80", "90")
OPTIONS = ["-std=c++17", "-O3", "-DUSE_CUDA", "-Xcompiler", "-fPIC"]  # as CMakeLists.txt has them

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<arch>\d+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.S,
)
LOAD = re.compile(r"\bld(?:\.global)?(?:\.\w+)*?(?:\.v(\d))?\.[bfsu](\d+)\s+\{?%")


@dataclass
class Kernel:
    """One kernel for one architecture; sizes in bytes."""

    registers: int
    shared: int
    stack: int
    spills: int
    load: int  # the widest from global memory


def compile_source(source: Path, folder: str) -> tuple[str, dict[str, str]]:
    """The report of ptxas, and the PTX of each architecture."""
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    keep = ["--keep", f"--keep-dir={folder}"]
    out = ["-Xptxas=-v", "-c", str(source), "-o", f"{folder}/{source.stem}.o"]
    command = ["nvcc", *OPTIONS, *targets, *keep, *out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    ptx = {a: (Path(folder) / f"{source.stem}.compute_{a}.ptx").read_text() for a in ARCHITECTURES}
    return done.stderr, ptx


def widest_loads(ptx: str) -> dict[str, int]:
    """Bytes of the widest load, by kernel."""
    found = {}
    for body in ptx.split(".visible .entry ")[1:] + ptx.split("\n.entry ")[1:]:
        name = re.match(r"\w+", body)[0]
        body = body[: body.index("\n}")]
        lines = (line for line in body.splitlines() if not re.search(r"\.(param|shared)", line))
        widths = [int(v or 1) * int(bits) // 8 for v, bits in LOAD.findall("\n".join(lines))]
        found[name] = max(widths, default=0)
    return found


def kernels_of(source: Path) -> dict[str, dict[str, Kernel]]:
    """The kernels of a source, by mangled name and architecture."""
    with tempfile.TemporaryDirectory() as folder:
        said, ptx = compile_source(source, folder)
    loads = {arch: widest_loads(text) for arch, text in ptx.items()}
    found: dict[str, dict[str, Kernel]] = {}
    for match in ENTRY.finditer(said):
        name, arch = match["name"], match["arch"]
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        found.setdefault(name, {})[arch] = Kernel(
            registers=int(match["registers"]),
            shared=int(shared[1]) if shared else 0,
            stack=int(match["stack"]),
            spills=int(match["stores"]) + int(match["loads"]),
            load=loads[arch][name],
        )
    return found


def readable(mangled: list[str]) -> list[str]:
    """Names with template arguments, without namespaces and parameters."""
    done = subprocess.run(
        ["c++filt", "--no-params"],
        input="\n".join(mangled),
        capture_output=True,
        text=True,
        check=True,
    )
    names = [re.sub(r"\b\w+::|^void ", "", name) for name in done.stdout.splitlines()]
    return [n.replace("> >", ">>").replace("__half", "half").replace("__nv_", "") for n in names]


def page(rows: list[tuple[str, str, dict[str, Kernel]]], version: str) -> str:
    def both(kernels: dict[str, Kernel], attribute: str) -> str:
        values = [getattr(kernels[a], attribute) for a in ARCHITECTURES]
        return str(values[0]) if len(set(values)) == 1 else " / ".join(map(str, values))

    columns = ("registers", "shared", "stack", "spills", "load")
    lines = [
        "# What the compiler makes of the CUDA kernels",
        "",
        f"Written by `make kernels` with nvcc {version}: for compute capability 8.0 / 9.0 where",
        "they differ. Registers, stack, spills (stores and loads) are a thread's; shared memory,",
        "static, is a block's; load is the widest load from global memory. Sizes are in bytes.",
        "",
        "| file | kernel | " + " | ".join(columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    for file, name, kernels in rows:
        values = " | ".join(both(kernels, column) for column in columns)
        lines.append(f"| {file} | `{name}` | {values} |")
    spilling = sorted({name for _, name, k in rows if any(k[a].spills for a in ARCHITECTURES)})
    wide = sorted({name for _, name, k in rows if all(k[a].load >= 16 for a in ARCHITECTURES)})
    for what, names in (("spill registers", spilling), ("load 16 bytes at once", wide)):
        lines += ["", f"Kernels that {what}: {', '.join(f'`{n}`' for n in names) or 'none'}."]
    return "\n".join([*lines, ""])


def main() -> None:
    sources = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
    jobs = int(os.environ.get("MAX_JOBS", os.cpu_count() or 1))
    with ThreadPoolExecutor(jobs) as pool:
        compiled = list(pool.map(kernels_of, sources))
    rows = []
    for source, found in zip(sources, compiled, strict=True):
        names = readable(list(found))
        rows += [(source.stem, n, k) for n, k in zip(names, found.values(), strict=True)]
    rows.sort(key=lambda row: row[:2])
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows, re.search(r"release ([\d.]+)", said)[1]))
    print(f"{len(rows)} kernels in {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
