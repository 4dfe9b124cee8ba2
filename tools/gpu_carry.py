"""`make gpu-carry`: fetches what a GPU machine without a network lacks, and lists what to carry.

    python tools/gpu_carry.py [--data FOLDER]

Such a machine has torch, NumPy, SciPy and other packages; training also needs pydantic. It is
unpacked with its dependencies into build/gpu-carry/site, for Python 3.12 on Linux x86-64. The files
of Gowalla and Yelp2018 go into build/gpu-carry/data. `make gpu-check` finds both. The libraries are
carried as they were built here; `make gpu-check` builds what is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "gpu-carry"
PACKAGES = ("pydantic",)
PYTHON = "3.12"
# Names of the same wheels, for a C library of 2014 or later: pip compares names, not ages.
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
DATASETS = ("gowalla", "yelp2018")
MOST = 64 * 2**20  # bytes that may be carried, including the checkout's own files
# Files that are built here and ignored by git, with their sources.
BUILT = {
    "hashgcn/lib/libhashgcn_cpu.so": "csrc",
    "hashgcn/lib/libhashgcn_cuda.so": "csrc",
    f"hashgcn/_numpy.cpython-{PYTHON.replace('.', '')}-*.so": "csrc",
    "build/gpu_facts.so": "benchmarks/gpu/facts.cu",
}


def fetch() -> None:
    site = FOLDER / "site"
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    command += ["--target", str(site), "--no-compile", "--only-binary=:all:"]
    command += ["--implementation", "cp", "--python-version", PYTHON]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run([*command, *PACKAGES], check=True)


def copy(data: Path) -> None:
    for name in DATASETS:
        target = FOLDER / "data" / name
        target.mkdir(parents=True, exist_ok=True)
        for file in ("train.txt", "test.txt"):
            if not (data / name / file).is_file():
                raise SystemExit(f"--data: expected {name}/{file} in it, got {data}")
            shutil.copyfile(data / name / file, target / file)


def size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def is_older(path: Path, source: Path) -> bool:
    files = [source] if source.is_file() else source.rglob("*.*")
    return path.stat().st_mtime < max(file.stat().st_mtime for file in files)


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder that contains gowalla and yelp2018")
    options = parser.parse_args(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    fetch()
    if options.data is not None:
        copy(options.data)
    print("Carry these, which git ignores, beside the checkout's own files:")
    total = size(FOLDER)
    print(f"    {os.path.relpath(FOLDER, ROOT)}  {total / 2**20:.1f} MiB")
    for pattern, source in BUILT.items():
        found = sorted(ROOT.glob(pattern))
        for path in found:
            total += size(path)
            note = f", older than {source}: rebuild it" if is_older(path, ROOT / source) else ""
            print(f"    {path.relative_to(ROOT)}  {size(path) / 2**20:.1f} MiB{note}")
        if not found:
            print(f"    {pattern}: not here; `make gpu-check` builds it there")
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    tree = sum(size(ROOT / name) for name in listed if name)
    print(f"In all {(total + tree) / 2**20:.1f} MiB, {tree / 2**20:.1f} of them the checkout.")
    commit = git("rev-parse", "--short=10", "HEAD").strip()
    print(f'There: make gpu-check GPU_CHECK="--commit {commit}"')
    if total + tree > MOST:
        print(f"That is more than {MOST / 2**20:.0f} MiB.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
