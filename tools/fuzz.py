"""`make fuzz`: runs the readers of files on inputs that reach new lines, until the time is over.

    python tools/fuzz.py [TARGET ...] [--seconds 20]
    python tools/fuzz.py TARGET --input build/fuzz/TARGET/crash-...

The targets and their seeds are those of tests/fuzz_targets.py. The first form needs atheris
(requirements-fuzz.txt). Inputs that reach new lines stay in build/fuzz/TARGET/corpus, and an input
that breaks a promise, or takes 30 seconds or 4 GB, is kept beside that folder. The second form
repeats such an input; it does not need atheris.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "fuzz"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the readers of files.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=20, help="time per target")
    parser.add_argument("--input", type=Path, help="an input to repeat")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_process:
        fuzz(asked.targets[0], asked.seconds)
    from fuzz_targets import targets

    known = targets()
    unknown = [name for name in asked.targets if name not in known]
    if unknown:
        parser.error(f"TARGET: expected some of {', '.join(known)}, got {unknown[0]!r}")
    if asked.input:
        [name] = asked.targets
        with tempfile.TemporaryDirectory() as folder:
            known[name].check(Path(folder), asked.input.read_bytes())
        return
    failed = []
    for name in asked.targets or known:
        corpus = BUILD / name / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(known[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        print(f"{name}, {asked.seconds} s", flush=True)
        log = BUILD / name / "log.txt"
        with open(log, "w") as file:
            command = [sys.executable, __file__, name, "--in-process", "--seconds"]
            done = subprocess.run(
                [*command, str(asked.seconds)],
                env=os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            failed.append(name)
            print(f"{log}: {log.read_text(errors='replace')[-3000:]}")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one target; the fuzzer then ends the process."""
    import atheris

    with atheris.instrument_imports(include=["hashgcn"]):
        from fuzz_targets import targets
    target = targets()[name]
    folder = BUILD / name / "files"
    folder.mkdir(exist_ok=True)
    options = [
        *(f"-max_total_time={seconds}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=4096"),
        f"-artifact_prefix={BUILD / name}/",
    ]
    command = [sys.argv[0], *options, str(BUILD / name / "corpus")]
    atheris.Setup(command, lambda content: target.check(folder, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
