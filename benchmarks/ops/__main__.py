"""Times the ops against other libraries: `python -m benchmarks.ops`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import command
from benchmarks.harness.machine import ROOT
from hashgcn import _numpy

FOLDER = Path(__file__).parent
NO_TESTS = 5  # pytest's status where no case is marked for narrower instruction sets


def main(
    ops: Annotated[
        list[str] | None,
        typer.Argument(metavar="OP", help="Names of files bench_OP.py. Default: the usual ones."),
    ] = None,
    threads: Annotated[str, typer.Option(help="Numbers of threads, separated by commas.")] = "1,2",
    cpu: Annotated[
        list[str] | None,
        typer.Option(
            help="A narrower instruction set to time as well; may be repeated. "
            "Default: avx2 where AVX-512 is available."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that contains the folder gowalla.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="File to append rows to. Default: the machine's file of results."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Use tiny sizes, to test the suite.")
    ] = False,
) -> None:
    """Time the ops against plain torch and other libraries.

    All results are compared before anything is timed. Each row is stored as soon as it is measured,
    so an interrupted run keeps its rows. The files scaling and train run only when they are named.

    Example: python -m benchmarks.ops hamming_topk --threads 2
    """
    missing = [
        name for name in ("pytest", "pytest_benchmark") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise ValueError(
            f"expected {' and '.join(missing)} to be installed; pip install 'hashgcn[bench]'"
        )
    known = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    unknown = [op for op in ops or [] if op not in known]
    if unknown:
        raise ValueError(f"OP: expected one of {', '.join(known)}, got {unknown[0]!r}")
    available = _numpy.instruction_sets()
    if cpu is None:
        cpu = ["avx2"] if available[0] == "avx512" else []
    wrong = [name for name in cpu if name not in available]
    if wrong:
        raise ValueError(f"--cpu: expected some of {', '.join(available)}, got {wrong[0]!r}")

    files = [str(FOLDER / f"bench_{op}.py") for op in ops or []] or [str(FOLDER)]
    pytest = [sys.executable, "-m", "pytest", *files, "-q", "-W", "default"]
    pytest += ["--benchmark-quiet", "--threads", threads, *(["--quick"] if quick else [])]
    pytest += ["--rows", str(rows.resolve())] if rows else []
    environment = dict(os.environ)
    if data is not None:
        environment["HASHGCN_DATA"] = str(data.resolve())
    runs: list[tuple[list[str], dict[str, str]]] = [([], {})]
    runs += [(["-m", "narrow"], {"HASHGCN_CPU": name}) for name in cpu]
    failed = 0
    for options, variables in runs:
        done = subprocess.run(
            [*pytest, *options], cwd=ROOT, env=environment | variables, check=False
        )
        failed = failed or (0 if done.returncode == NO_TESTS else done.returncode)
    if failed:
        raise typer.Exit(failed)


app = command.app(main)

if __name__ == "__main__":
    app()
