"""Trains what has no stored result, each row and seed in a process and a run folder of its own."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.quality import results
from benchmarks.quality.rows import DATA_SETS, Row
from hashgcn import data as datasets
from hashgcn.cli import info
from hashgcn.runs.folder import Run, write_settings

# Of metrics.json, what a result leaves out: long, or the row Popularity.
_LEFT_OUT = ("history", "popularity_ranking")


def folder(work: Path, row: Row, seed: int) -> Path:
    """Run folder of a row and seed; other settings have another one, so that none is resumed."""
    made_of = json.dumps([row.method, results.declared(row, seed)], sort_keys=True)
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:8]
    return work / row.data_set / row.id / f"seed-{seed}-{digest}"


def check_data(rows: Iterable[Row], root: Path | None) -> None:
    """ValueError or FileNotFoundError if the rows' data is not where load will look for it."""
    for name in dict.fromkeys(row.data_set for row in rows if _is_read(row)):
        if root is None:
            raise ValueError(f"--data: expected the folder that holds {name}/train.txt, got none")
        for file in ("train.txt", "test.txt"):
            if not (root / name / file).is_file():
                raise FileNotFoundError(f"{root / name / file}: no such file (--data)")


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
    """Train the rows' missing seeds, one after the other; each result is stored when it is there.

    Processes of their own, so that peak memory is one run's. An interrupted run, or a killed one,
    goes on from its last checkpoint when it is called for again.

    Args:
        rows: see rows.select.
        data: folder that holds gowalla and yelp2018.
        stored: folder of results; a stale result is replaced.
        work: folder of run folders.
        device, progress: as in fit; threads: CPU threads, 0 for torch's default.

    Returns:
        what failed, as text; the errors are on stderr.

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
            "stored": str(stored),
            "work": str(work),
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
    method = results.model(row, seed)
    run = Run(folder(work, row, seed))
    run.folder.mkdir(parents=True, exist_ok=True)
    write_settings(run, row.method, row.data_set, data, method.settings)
    resume = run.has_checkpoint()
    method.fit(loaded, device=device, run=run.folder, resume=resume, progress=progress)
    results.store(stored, row, _result(row, seed, method, device))
    for path in (run.checkpoint, run.previous_checkpoint):
        path.unlink(missing_ok=True)


def _result(row: Row, seed: int, method: Any, device: str) -> results.Result:
    found = info.collect()
    checkout = info.checkout()
    measured = {k: v for k, v in method.metrics.items() if k not in _LEFT_OUT}
    return {
        "seed": seed,
        "method": row.method,
        "settings": method.settings.resolved(),
        "bytes_per_item": {},  # by ranking; of Popularity none
        **measured,
        "device": device,
        "threads": found["threads"],
        "cpu": found["cpu"],
        "instruction_set": found["instruction_set"],
        "versions": {
            "hashgcn": found["version"],
            **{name: found[name] for name in ("torch", "numpy", "python")},
        },
        "commit": checkout and checkout["commit"],
        "dirty": checkout and checkout["dirty"],
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
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
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
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
    import torch

    threads = arguments.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    row = Row(**arguments.pop("row"))
    stored, work = (Path(arguments.pop(name)) for name in ("stored", "work"))
    try:
        train(row, stored=stored, work=work, **arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"hashgcn: {row.data_set} {row.id}: {error}")


if __name__ == "__main__":
    _main()
