"""How commands end: signals, closed streams, full disks, missing packages, little memory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from command_line import hashgcn, hashgcn_started

import hashgcn as package

COMMAND = [sys.executable, "-m", "hashgcn"]


def ended(*words: object, before: str = "", **options) -> subprocess.CompletedProcess:
    """A command in a shell, after some words of the shell."""
    line = " ".join([before, *map(str, COMMAND), *map(str, words)])
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_imports(tmp_path, number):
    """At moments from the start of the interpreter to the reading of the data."""
    for delay in (0.05, 0.2, 0.5, 1.0):
        process = hashgcn_started("train", "sample", "--out", tmp_path / "run")
        while not catches(process.pid):  # until then the interpreter answers
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert stderr.splitlines()[-1].startswith("hashgcn: interrupted")
        assert "Traceback" not in stderr


def catches(process: int) -> bool:
    """Whether a process has a handler of SIGHUP by now."""
    with open(f"/proc/{process}/status") as file:
        caught = next(line for line in file if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1)


def test_an_ignored_interrupt_stays_ignored():
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "from hashgcn.cli import signals; signals.catch(); signal.raise_signal(signal.SIGINT); "
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_closed_streams(tmp_path):
    (tmp_path / "train.txt").write_text("".join(f"{u} {u} {u + 1} {u + 2}\n" for u in range(30)))
    (tmp_path / "test.txt").write_text("".join(f"{u} {(u + 9) % 30}\n" for u in range(20)))
    out = tmp_path / "run"
    options = ("--set", "epochs=1", "--code-length", 16)
    done = ended("train", tmp_path, "--out", out, *options, ">&- 2>&- <&-")
    assert done.returncode == 0
    assert package.open_run(out).data  # nothing was printed into a file


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-"])
def test_a_closed_stream(closed):
    done = ended("data info sample", closed)
    assert done.returncode == 0 and done.stderr == ""
    assert bool(done.stdout) == (closed != ">&-")


def test_a_reader_that_has_enough():
    done = ended("data list", "| true")
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("words", [("data", "list"), ("--version",)])
def test_a_full_disk(words):
    done = ended(*words, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == "hashgcn: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("name", ["typer", "pydantic", "torch"])
def test_a_missing_package(tmp_path, name):
    script = (
        f"import sys; sys.modules[{name!r}] = None; sys.argv = ['hashgcn', 'train', 'sample', "
        f"'--out', {str(tmp_path / 'run')!r}]; from hashgcn.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    words = f"hashgcn: this needs {name}, which is not installed: pip install {name}\n"
    assert (done.returncode, done.stderr) == (1, words)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 EiB"),
        RuntimeError("[enforce fail at alloc.cpp] can't allocate memory\nframe #0: c10"),
        OverflowError("Python int too large to convert to C long"),
        ImportError("libtorch.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_what_a_machine_lacks_is_one_line(tmp_path, error):
    with mock.patch("hashgcn.data.catalogue.load", side_effect=error):
        done = hashgcn("train", "sample", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.startswith("hashgcn: ") and done.stderr.count("\n") == 1
    assert str(error).splitlines()[0] in done.stderr


@pytest.mark.parametrize("megabytes", [60, 120, 400])
def test_a_limit_of_memory(tmp_path, megabytes):
    """Whatever does not fit, from the interpreter's libraries to the model."""
    limit = f"ulimit -v {megabytes * 1024};"
    words = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    done = ended("train", "sample", "--out", tmp_path / "run", *words, before=limit)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode != 0


def test_a_name_with_a_dollar_sign(tmp_path):
    path = tmp_path / "a$b_{.csv"
    path.write_text("".join(f"{u},{i}\n" for u in range(9) for i in range(u % 3, 9)))
    columns = ("--no-header", "--user-column", "column_1", "--item-column", "column_2")
    done = hashgcn("data", "info", path, *columns, "--plot", tmp_path / "plot.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_not_built_beside_the_process(tmp_path):
    """As a checkout that Python finds before an installed package."""
    source = Path(package.__file__).parent
    shutil.copytree(source, tmp_path / "hashgcn", ignore=shutil.ignore_patterns("*.so", "lib"))
    words = f"{tmp_path / 'hashgcn'}: expected kernels compiled for Python .*, got none"
    for script in ("import hashgcn; hashgcn.HammingIndex", "import hashgcn.retrieval"):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
        )
        assert re.search(words, done.stderr.splitlines()[-1])
    done = ended("recommend", tmp_path, "--user", 1, cwd=tmp_path)
    assert re.match(f"hashgcn: {words}", done.stderr) and done.stderr.count("\n") == 1
