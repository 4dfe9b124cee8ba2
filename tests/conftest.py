from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read when torch loads OpenMP: threads that wait for one another give way. Spinning took most of
# the time of tests with several threads where other work is on the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell starts what it puts into the background with SIGINT ignored, and Python leaves it so.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
import torch  # noqa: E402

REAL_DATA = Path(os.environ.get("HASHGCN_DATA", Path(__file__).parents[2] / "shared" / "data"))

# CUDA errors of one call, after which a process may go on; any other stays with the process.
PASSING_CUDA_ERRORS = ("invalid argument", "invalid configuration", "out of memory", "captur")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def real_data() -> Path:
    """Folder with gowalla and yelp2018, or a skip that says where it was looked for."""
    if not (REAL_DATA / "gowalla" / "train.txt").is_file():
        pytest.skip(f"no real data in {REAL_DATA} (set HASHGCN_DATA)")
    return REAL_DATA


@pytest.fixture
def threads():
    """Sets torch's number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def invoke() -> Callable[..., Any]:
    """invoke(app, *arguments) runs a command of typer in this process, and gives its result."""
    from typer.testing import CliRunner

    def run(app: Any, *arguments: object) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)

    return run


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    """Ends the run at a CUDA error that every later test of this process would fail with."""
    if call.excinfo is None or not call.excinfo.errisinstance(RuntimeError):
        return
    text = str(call.excinfo.value)
    if "CUDA error" in text and not any(words in text for words in PASSING_CUDA_ERRORS):
        item.session.shouldstop = f"{item.nodeid}: {text.splitlines()[0]}"
