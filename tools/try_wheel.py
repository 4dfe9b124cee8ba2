"""Installs the newest wheel of a folder into fresh environments and runs what it promises.

    python tools/try_wheel.py dist [VERSION...]

One environment sees this one's torch and other dependencies, but not its hashgcn; for each VERSION
another has that torch instead, from a package index.
"""

from __future__ import annotations

import site
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

_CHECK = """
import sys
from pathlib import Path
import hashgcn
import torch
print("torch", torch.__version__, end=": ")
assert torch.__version__.partition("+")[0] in sys.argv[1:] or not sys.argv[1:]
assert sys.prefix in hashgcn.__file__, hashgcn.__file__
data = hashgcn.data.load("sample")
model = hashgcn.models.RecallHash(code_length=32, epochs=1, validation_fraction=0)
model.fit(data, progress=False)
items, scores = model.recommend(["user-0003"], k=3)
assert items.shape == (1, 3)
assert model.metrics["test"]["recall@20"] > 2 * model.metrics["popularity_ranking"]["recall@20"]
assert (Path(hashgcn.__file__).parent / "py.typed").is_file()
print("installed, trained and recommended")
"""


def main(folder: Path, versions: list[str]) -> None:
    wheel, source = (
        max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)
        for pattern in ("hashgcn-*.whl", "hashgcn-*.tar.gz")
    )
    if wheel is None or source is None:
        sys.exit(f"{folder}: expected a wheel and a source distribution; make wheel")
    with zipfile.ZipFile(wheel) as archive:
        missing = {"hashgcn/lib/libhashgcn_cpu.so", "hashgcn/py.typed"} - set(archive.namelist())
    assert not missing, f"{wheel}: {missing} missing"
    with tarfile.open(source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    here = Path(__file__).resolve().parent.parent
    needed = {str(path.relative_to(here)) for path in (here / "csrc").rglob("*.*")}
    assert needed | {"CMakeLists.txt", "setup.py"} <= packed, needed - packed
    for version in (None, *versions):
        try_in_environment(wheel, version)
    size = wheel.stat().st_size / 2**20
    print(f"{wheel}: {size:.1f} MiB; {source.name} is whole")


def try_in_environment(wheel: Path, version: str | None) -> None:
    """Import, train, recommend and the command line, with this environment's torch or another."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        python = Path(scratch) / "bin" / "python"
        ask = [python, "-c", "import site; print(site.getsitepackages()[0])"]
        packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
        options = ["-q", "--disable-pip-version-check"]
        if version is not None:
            install = [python, "-m", "pip", "install", *options, f"torch=={version}"]
            subprocess.run(install, check=True)
        # A line of its own path: dependencies come after the wheel's own files.
        lines = "\n".join(site.getsitepackages())
        (Path(packages) / "dependencies.pth").write_text(lines + "\n")
        options += ["--no-deps", "--no-index", "--ignore-installed"]
        subprocess.run([python, "-m", "pip", "install", *options, wheel], check=True)
        expected = [] if version is None else [version]
        subprocess.run([python, "-I", "-c", _CHECK, *expected], cwd=scratch, check=True)
        command = Path(scratch) / "bin" / "hashgcn"
        done = subprocess.run([command, "info"], cwd=scratch, check=True, capture_output=True)
        print(done.stdout.decode(), end="", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
