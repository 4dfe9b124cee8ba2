"""Runs commands in process groups of their own, within a time, into a log that they share."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

LAST_LINES = 12


@dataclass(frozen=True)
class Command:
    """What one process runs.

    Attributes:
        share: of the time of those that follow one another.
        says: patterns of which its output holds each, if it did what it should.
        check: what is wrong with what it left behind, empty if nothing is.
    """

    name: str
    words: list[str]
    share: float = 1.0
    says: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    check: Callable[[], str] = lambda: ""


@dataclass
class Outcome:
    """What came of a process, or of several: passed, failed, out of time or not run."""

    status: str
    reason: str = ""
    seconds: float = 0.0
    last_lines: list[str] = field(default_factory=list)


class Log:
    """A file for lines of several processes, each after its name; written as they come.

    Attributes:
        shows: whether lines that are not indented are printed too.
    """

    def __init__(self, file: TextIO, shows: bool = False) -> None:
        self.file, self.shows, self._lock = file, shows, threading.Lock()

    def write(self, name: str, line: str) -> None:
        with self._lock:
            self.file.write(f"{name}: {line}\n")
            self.file.flush()
            if self.shows and line[:1].strip():
                print(f"    {line}", flush=True)


class Groups:
    """The process groups that are running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ended = False
        self._running: set[subprocess.Popen[str]] = set()

    def run(
        self, command: Command, seconds: float, environment: dict[str, str], log: Log
    ) -> Outcome:
        """Waits for a command, or ends it and all that it started after so many seconds."""
        if seconds < 1 or self._ended:
            return Outcome("out of time", "not started")
        started = time.monotonic()
        log.write(command.name, "  $ " + " ".join(command.words))
        try:
            process = subprocess.Popen(
                command.words,
                cwd=self.folder,
                env=environment | command.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return Outcome("failed", str(error))
        self._running.add(process)
        last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        unsaid = set(command.says)

        def read() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in map(str.rstrip, lines):
                    last.append(line)
                    unsaid.difference_update([p for p in unsaid if re.search(p, line)])
                    log.write(command.name, line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._end(process)
        reader.join(5)  # what has left the group may keep the pipe open
        status, reason = "passed", ""
        if code is None:
            status, reason = "out of time", f"ended after {seconds:.0f} s"
        elif code < 0:
            status, reason = "failed", f"ended by {signal.Signals(-code).name}"
        elif code > 0:
            status, reason = "failed", f"exit status {code}"
        elif unsaid:
            status, reason = "failed", f"expected its output to hold {', '.join(sorted(unsaid))}"
        else:
            try:
                reason = command.check()
            except Exception as error:  # what it left behind is not what was expected
                reason = f"{type(error).__name__}: {error}"
            status = "failed" if reason else "passed"
        outcome = Outcome(status, reason, round(time.monotonic() - started, 1), list(last))
        log.write(command.name, f"  = {status} {reason} {outcome.seconds} s")
        return outcome

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Also what the process has left behind in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold on to it
            process.wait(10)
        self._running.discard(process)

    def end_all(self) -> None:
        """What runs is ended, and nothing starts any more."""
        self._ended = True
        for process in list(self._running):
            self._end(process)
