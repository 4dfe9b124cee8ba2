"""Installs the newest wheel of a folder into fresh environments, and tries it there.

    python tools/try_wheel.py dist [VERSION...]

One environment has this one's torch and other dependencies, but not its hashgcn. For each VERSION
there is another with that torch from a package index; the sources that include torch's headers are
compiled against it, with warnings as errors. With HASHGCN_CUDA=1 the wheel must hold the CUDA
library, which a torch with CUDA loads even without a GPU.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CUDA = os.environ.get("HASHGCN_CUDA", "auto")  # as for the build

_CHECK = """
import sys
from pathlib import Path
import hashgcn
import torch
print("torch", torch.__version__, end=": ")
assert torch.__version__.partition("+")[0] in sys.argv[1:] or not sys.argv[1:]
package = Path(hashgcn.__file__).parent
assert sys.prefix in str(package), package
if torch.version.cuda is not None and (package / "lib" / "libhashgcn_cuda.so").exists():
    import hashgcn.ops
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("hashgcn::")]
    bare = [name for name in names if not has_kernel(name, "CUDA")]
    assert names and not bare, f"ops without a CUDA kernel: {bare}"
    print(f"CUDA kernels of {len(names)} ops loaded", end=", ")
data = hashgcn.data.load("sample")
model = hashgcn.models.RecallHash(code_length=32, epochs=1, validation_fraction=0)
model.fit(data, progress=False)
items, scores = model.recommend(["user-0003"], k=3)
assert items.shape == (1, 3)
found = model.evaluate(data)
assert found.test == model.metrics.test
assert found.test["recall@20"] > 2 * found.popularity["recall@20"]
assert (package / "py.typed").is_file() and (package / "models" / "methods.pyi").is_file()
print("installed, trained and recommended")
"""


def main(folder: Path, versions: list[str]) -> None:
    wheel, source = (
        max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)
        for pattern in ("hashgcn-*.whl", "hashgcn-*.tar.gz")
    )
    if wheel is None or source is None:
        sys.exit(f"{folder}: expected a wheel and a source distribution; make wheel")
    wanted = {"hashgcn/lib/libhashgcn_cpu.so", "hashgcn/py.typed"}
    if CUDA == "1":
        wanted.add("hashgcn/lib/libhashgcn_cuda.so")
    with zipfile.ZipFile(wheel) as archive:
        missing = wanted - set(archive.namelist())
    assert not missing, f"{wheel}: {missing} missing"
    with tarfile.open(source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    needed = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.*")}
    assert needed | {"CMakeLists.txt", "setup.py"} <= packed, needed - packed
    for version in (None, *versions):
        try_in_environment(wheel, version)
    size = wheel.stat().st_size / 2**20
    print(f"{wheel}: {size:.1f} MiB; {source.name} is whole")


def try_in_environment(wheel: Path, version: str | None) -> None:
    """Compile, import, train, recommend and run the command line with some version of torch."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        python = Path(scratch) / "bin" / "python"
        ask = [python, "-c", "import site; print(site.getsitepackages()[0])"]
        packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
        options = ["-q", "--disable-pip-version-check"]
        if version is not None:
            # Few of its modules are imported, and compiling all of them would take too long.
            install = [python, "-m", "pip", "install", *options, "--no-compile"]
            subprocess.run([*install, f"torch=={version}"], check=True)
            compile_glue(Path(packages) / "torch", Path(scratch) / "glue")
        # A .pth file, so that dependencies come after the wheel's own files.
        lines = "\n".join(site.getsitepackages())
        (Path(packages) / "dependencies.pth").write_text(lines + "\n")
        options += ["--no-deps", "--no-index", "--ignore-installed"]
        subprocess.run([python, "-m", "pip", "install", *options, wheel], check=True)
        expected = [] if version is None else [version]
        subprocess.run([python, "-I", "-c", _CHECK, *expected], cwd=scratch, check=True)
        command = Path(scratch) / "bin" / "hashgcn"
        done = subprocess.run([command, "info"], cwd=scratch, check=True, capture_output=True)
        print(done.stdout.decode(), end="", flush=True)


def compile_glue(torch: Path, build: Path) -> None:
    """Compile the sources that include torch's headers against those in the folder `torch`."""
    options = [
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DHASHGCN_TORCH={torch}",
        f"-DHASHGCN_CUDA={CUDA}",
        "-DHASHGCN_WERROR=ON",
        "-DCMAKE_BUILD_TYPE=None",  # without optimisation, as nothing is run
    ]
    jobs = ["-j", os.environ["MAX_JOBS"]] if "MAX_JOBS" in os.environ else []
    for command in (
        ["cmake", "-G", "Ninja", "-S", ROOT, "-B", build, *options],
        ["cmake", "--build", build, "--target", "glue", *jobs],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{torch}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
