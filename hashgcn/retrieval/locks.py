"""A lock for changes that is free in every new process."""

from __future__ import annotations

import os
import threading

_forks = 0  # between the first process and this one


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class ChangeLock:
    """A context manager for one thread of a process at a time.

    A fork copies a lock as it is, held by a thread that the child does not have: there, nobody
    would ever release it. So that every process has a lock of its own.
    """

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> None:
        # One step of the interpreter: all threads get the same lock.
        self._locks.setdefault(_forks, threading.Lock()).acquire()

    def __exit__(self, *error: object) -> None:
        self._locks[_forks].release()
