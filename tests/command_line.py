"""Runs the command line as a person does: in a process of its own or, faster, in this one."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from unittest import mock

import torch

from hashgcn import cli
from hashgcn.train.interrupt import ENDING


def hashgcn(*arguments: object) -> subprocess.CompletedProcess:
    """A command in this process, without what its own processes print."""
    out, error, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    words, status = ["hashgcn", *map(str, arguments)], 0
    handlers = [(number, signal.getsignal(number)) for number in ENDING]
    try:
        with (
            mock.patch.object(sys, "argv", words),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            cli.main()
    except SystemExit as end:
        status = end.code
    finally:
        torch.set_num_threads(threads)
        for number, handler in handlers:
            signal.signal(number, handler)
    return subprocess.CompletedProcess(words, status, out.getvalue(), error.getvalue())


def hashgcn_process(*arguments: object) -> subprocess.CompletedProcess:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hashgcn", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def hashgcn_started(*arguments: object) -> subprocess.Popen:
    """The same, not waited for; no signal is ignored, as SIGHUP would be under nohup."""
    return subprocess.Popen(
        [sys.executable, "-m", "hashgcn", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in ENDING],
    )
