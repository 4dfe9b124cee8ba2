"""The command line: its entry point, and how errors and signals end it."""

from __future__ import annotations

import os
import sys

from hashgcn.cli import signals
from hashgcn.cli.tables import printable

__all__ = ["main"]


def main() -> None:
    """Entry point of a process: what its user can cause ends it with one line on stderr.

    The process's signals and standard streams are the command's. Imports wait until signals are
    caught.
    """
    _open_streams()
    signals.catch()
    try:
        status = _run()
        _flush()
    except signals.Ended as end:
        status = 128 + end.number
        print("hashgcn: interrupted", file=sys.stderr)
    except OSError as error:  # of the flush
        status = _failed(error)
    finally:
        signals.release()
    sys.exit(status)


def _run() -> int:
    """Run the command; returns its exit status."""
    try:
        from hashgcn.cli.app import app

        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name == "hashgcn":
            raise
        return _failed(f"this needs {name}, which is not installed: pip install {name}")
    except MemoryError as error:
        return _failed(f"out of memory: {error}")
    # Torch raises RuntimeErrors where memory, threads or a device do not suffice.
    except (ValueError, OSError, OverflowError, ImportError, RuntimeError) as error:
        return _failed(error)
    return 0


def _failed(error: object) -> int:
    """Print one line; returns the exit status."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # NumPy gives advice first where its own libraries cannot be loaded.
    cause = next((line for line in lines if line.startswith("Original error was")), lines[0])
    print(f"hashgcn: {printable(cause)}", file=sys.stderr)
    return 1


def _open_streams() -> None:
    """Open what was closed when the process began, or files would get the streams' numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _flush() -> None:
    """Write what is left of stdout, so that an error is known; it is dropped then."""
    try:
        sys.stdout.flush()
    except OSError:
        # The interpreter would try it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
