"""`make gpu-check`: everything that wants a GPU, in parts that can fail without stopping the rest.

    python tools/gpu_check.py [PART ...] [--minutes 9] [--data FOLDER] [--device cuda]

Parts, in this order: build (the CUDA library, if it does not load), tests (the cuda tier on real
shapes), bench (benchmarks/gpu.py), train (Gowalla and Yelp2018, if --data holds them), memcheck and
racecheck (the ops' samples under compute-sanitizer). Nothing is downloaded. What each part said is
in build/gpu-check/PART.log, rows of the benchmarks and a summary in build/gpu-check; the exit
status is 1 if a part failed, ran out of time or could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("build", "tests", "bench", "train", "memcheck", "racecheck")
LIVE = """
import sys, torch
from hashgcn import ops
live = torch._C._dispatch_has_kernel_for_dispatch_key("hashgcn::sign_swish", "CUDA")
sys.exit(0 if torch.cuda.is_available() and live else 1)
"""


def is_live() -> bool:
    """Whether torch sees a GPU and the ops have kernels for it."""
    command = [sys.executable, "-c", LIVE]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def commands(part: str, options: argparse.Namespace) -> list[list[str]] | str:
    """What a part runs, one after the other; or why it cannot."""
    python = [sys.executable]
    pytest = [*python, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider"]
    if part == "build":
        if is_live():
            return []
        build = ["cmake", "-G", "Ninja", "-S", ROOT, "-B", ROOT / "build" / "cmake"]
        build += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_INSTALL_PREFIX={ROOT}"]
        steps = [[*build, "-DHASHGCN_CUDA=1"], ["cmake", "--build", ROOT / "build" / "cmake"]]
        steps = [*steps, ["cmake", "--install", ROOT / "build" / "cmake"], [*python, "-c", LIVE]]
        return [[str(word) for word in step] for step in steps]
    if part in ("tests", "memcheck", "racecheck") and not is_live():
        return "expected a GPU and the CUDA library: all tests would be skipped"
    if part == "tests":
        return [pytest]
    if part == "bench":
        quick = ["--quick"] if options.device == "cpu" else []
        rows = str(options.out / "rows.jsonl")
        script = str(ROOT / "benchmarks" / "gpu.py")
        return [[*python, script, "--device", options.device, "--out", rows, *quick]]
    if part == "train":
        if options.data is None:
            return "expected --data, the folder that holds gowalla and yelp2018"
        return [
            [
                *(*python, "-m", "hashgcn", "train", name, "--data", str(options.data / name)),
                *("--device", options.device, "--out", str(options.out / name)),
            ]
            for name in ("gowalla", "yelp2018")
        ]
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(sanitizer).exists():
        return "expected compute-sanitizer on PATH"
    tool = [sanitizer, "--tool", part, "--error-exitcode", "1", "--target-processes", "all"]
    return [[*tool, *pytest, "-x", "-k", "equals_the_cpu or equal_the_cpu"]]


def run(part: str, options: argparse.Namespace, end: float) -> dict[str, object]:
    """Status of a part, "passed", "failed", "out of time" or why it could not run, and seconds."""
    started = time.monotonic()
    found = commands(part, options)
    status = found if isinstance(found, str) else "passed"
    with open(options.out / f"{part}.log", "w", encoding="utf-8") as log:
        for command in found if isinstance(found, list) else []:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            left = end - time.monotonic()
            environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
            try:
                done = subprocess.run(
                    command,
                    cwd=ROOT,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    timeout=max(left, 1),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                status = "out of time"
            except OSError as error:
                status = f"failed: {error}"
            else:
                status = "passed" if done.returncode == 0 else f"failed, status {done.returncode}"
            if status != "passed":
                break
    return {"status": status, "seconds": round(time.monotonic() - started, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    parser.add_argument("--data", type=Path, help="folder that holds gowalla and yelp2018")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-check")
    options = parser.parse_args()
    options.out = options.out.resolve()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"PART: expected some of {', '.join(PARTS)}, got {unknown[0]!r}")
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    summary: dict[str, object] = {}
    for part in [part for part in PARTS if part in options.parts or not options.parts]:
        summary[part] = result = run(part, options, end)
        (options.out / "summary.json").write_text(
            json.dumps(summary, indent=1) + "\n", encoding="utf-8"
        )
        print(f"{part}: {result['status']}, {result['seconds']} s", flush=True)
        tail = (
            (options.out / f"{part}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        )
        for line in tail[-3:] if result["status"] != "passed" or part != "bench" else tail[1:]:
            print(f"    {line}", flush=True)
    return 0 if all(r["status"] == "passed" for r in summary.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
