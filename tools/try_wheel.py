"""Installs the newest wheel of a folder into a fresh environment and runs what it promises.

The environment sees this one's torch and other dependencies, but not its hashgcn.
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
assert sys.prefix in hashgcn.__file__, hashgcn.__file__
data = hashgcn.data.load("sample")
model = hashgcn.models.RecallHash(code_length=32, epochs=1, validation_fraction=0)
model.fit(data, progress=False)
items, scores = model.recommend(["user-0003"], k=3)
assert items.shape == (1, 3)
assert (Path(hashgcn.__file__).parent / "py.typed").is_file()
"""


def main(folder: Path) -> None:
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
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        python = Path(scratch) / "bin" / "python"
        ask = [python, "-c", "import site; print(site.getsitepackages()[0])"]
        packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
        # A line of its own path: dependencies come after the wheel's own files.
        lines = "\n".join(site.getsitepackages())
        (Path(packages) / "dependencies.pth").write_text(lines + "\n")
        options = ["-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
        subprocess.run(
            [python, "-m", "pip", "install", *options, "--ignore-installed", wheel], check=True
        )
        subprocess.run([python, "-I", "-c", _CHECK], cwd=scratch, check=True)
        command = Path(scratch) / "bin" / "hashgcn"
        done = subprocess.run([command, "info"], cwd=scratch, check=True, capture_output=True)
        print(done.stdout.decode(), end="")
    size = wheel.stat().st_size / 2**20
    print(f"{wheel}: installed, trained and recommended; {size:.1f} MiB; {source.name} is whole")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
