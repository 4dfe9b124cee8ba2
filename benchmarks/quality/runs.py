"""Trains what has no stored result, each row and seed in a process and a run folder of its own."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import machine
from benchmarks.quality import results
from benchmarks.quality.rows import CUTOFFS, DATA_SETS, POPULARITY, Row
from hashgcn import _numpy
from hashgcn import data as datasets
from hashgcn.data import Dataset
from hashgcn.evaluate import evaluate_popularity
from hashgcn.runs.folder import Run


def folder(work: Path, row: Row, seed: int) -> Path:
    """Run folder of a row and seed; other settings have another one, so that none is resumed."""
    made_of = json.dumps([row.method, results.declared(row, seed)], sort_keys=True)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    return work / row.data_set / row.id / f"seed-{seed}-{digest}"


def check_data(rows: Iterable[Row], root: Path | None) -> None:
    """Raise a ValueError or FileNotFoundError unless the rows' data is where it is read from."""
    for name in dict.fromkeys(row.data_set for row in rows if _is_read(row)):
        if root is None:
            raise ValueError(f"--data: expected the folder that holds {name}/train.txt, got none")
        for file in ("train.txt", "test.txt"):
            if not (root / name / file).is_file():
                raise FileNotFoundError(f"{root / name / file}: no such file (--data)")


def check_device(name: str) -> None:
    """Raise a ValueError unless torch can use the device."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: expected a device of this machine, got {name!r}: {reason}"
        ) from error


def _is_read(row: Row) -> bool:
    """Whether the row's data is read from files, not generated."""
    return DATA_SETS[row.data_set].counts is not None


def run_missing(
    rows: Iterable[Row],
    *,
    data: Path | None,
    stored: Path,
    work: Path,
    device: str = "cpu",
    threads: int = 0,
    progress: bool = True,
) -> list[str]:
    """Train the rows' missing seeds one after the other, and store each result at once.

    Each has a process of its own, so that the peak of memory is that of one run. A run that was
    interrupted or killed continues from its last checkpoint the next time.

    Args:
        rows: see rows.select.
        data: folder that holds gowalla and yelp2018.
        stored: folder of results; a stale result is replaced.
        work: folder of run folders.
        device: as in fit.
        threads: number of CPU threads; 0 for torch's default.
        progress: show progress bars.

    Returns:
        what failed, as texts; the errors themselves are on stderr.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the run has written a checkpoint.
    """
    tasks = [(row, seed) for row in rows for seed in results.missing(stored, row)]
    failed = []
    for number, (row, seed) in enumerate(tasks, 1):
        name = f"{row.data_set} {row.id}, seed {seed}"
        print(f"[{number}/{len(tasks)}] {name}", file=sys.stderr, flush=True)
        options = {
            "data": str((data / row.data_set).resolve()) if data and _is_read(row) else None,
            "stored": str(stored.resolve()),
            "work": str(work.resolve()),
            "device": device,
            "threads": threads,
            "progress": progress,
        }
        status = _in_process({"row": asdict(row), "seed": seed, **options})
        if status:
            failed.append(f"{name} (exit status {status})")
    return failed


def train(
    row: Row,
    seed: int,
    *,
    data: str | None,
    stored: Path,
    work: Path,
    device: str,
    progress: bool,
) -> None:
    """Train one row with one seed, from its checkpoint if there is one, and store the result."""
    loaded = datasets.load(row.data_set, data)
    split = loaded.train
    counts = (split.num_users, split.num_items, split.num_pairs, loaded.test.num_pairs)
    expected = DATA_SETS[row.data_set].counts
    if expected not in (None, counts):
        raise ValueError(
            f"{data}: expected {expected} users, items, train and test pairs of {row.data_set}, "
            f"got {counts}"
        )
    run = Run(folder(work, row, seed))
    measured = (
        _popularity(loaded)
        if row.method == POPULARITY
        else _trained(row, seed, loaded, run, device, progress)
    )
    results.store(
        stored,
        row,
        {
            "seed": seed,
            "method": row.method,
            "settings": results.declared(row, seed),
            **measured,
            "device": device,
            "threads": torch.get_num_threads(),
            "cpu": machine.describe()["cpu"],
            "instruction_set": _numpy.instruction_set(),
            "versions": machine.core_versions(),
            "commit": machine.commit(),
            "date": machine.today(),
        },
    )
    for path in (run.checkpoint, run.previous_checkpoint):
        path.unlink(missing_ok=True)


def _trained(
    row: Row, seed: int, data: Dataset, run: Run, device: str, progress: bool
) -> dict[str, Any]:
    model = results.model(row, seed)
    resume = run.checkpoint.exists() or run.previous_checkpoint.exists()
    model.fit(data, device=device, run=run.folder, resume=resume, progress=progress)
    assert model.metrics is not None
    metrics = model.metrics.to_json()
    left_out = ("history", "order_in_time_known")
    kept = {name: value for name, value in metrics.items() if name not in left_out}
    return {**kept, "ties": model.evaluate(data).ties}


def _popularity(data: Dataset) -> dict[str, Any]:
    """The ranking that is the same for all users; it is counted, not trained."""
    started = time.perf_counter()
    test = evaluate_popularity(data, CUTOFFS)
    return {
        "test": test,
        "rankings": {},
        "bytes_per_item": {},
        "validation": None,
        "epochs": 0,
        "train_seconds": round(time.perf_counter() - started, 3),
        "selection_seconds": 0.0,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def forget(rows: Iterable[Row], stored: Path, work: Path) -> None:
    """Drop results and run folders of the rows' seeds, so that they are missing."""
    for row in rows:
        for seed in row.seeds:
            results.forget(stored, row, seed)
            shutil.rmtree(folder(work, row, seed), ignore_errors=True)


def _in_process(arguments: dict[str, Any]) -> int:
    """Exit status of a process that trains. It stops at a checkpoint when its stdin is closed."""
    command = [sys.executable, "-m", "benchmarks.quality.runs", json.dumps(arguments)]
    # A session of its own: Ctrl-C reaches it through its stdin alone, once.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, start_new_session=True, cwd=machine.ROOT
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.communicate()  # closes its stdin
            raise


def _interrupt_at_end_of_stdin() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)


def _main() -> None:
    arguments = json.loads(sys.argv[1])
    threading.Thread(target=_interrupt_at_end_of_stdin, daemon=True).start()
    threads = arguments.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    row = Row(**arguments.pop("row"))
    stored, work = (Path(arguments.pop(name)) for name in ("stored", "work"))
    try:
        train(row, stored=stored, work=work, **arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit(f"benchmarks: {row.data_set} {row.id}: {error}")


if __name__ == "__main__":
    _main()
