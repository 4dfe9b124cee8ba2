"""What the CUDA tier consists of, tried without a GPU: its tests' code, its judge, its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest
import torch
from device_under_test import why_not
from judge import assert_near
from kernel_samples import more_samples
from samples import all_samples, ids_of
from tolerances import RELATIVE

TESTS = Path(__file__).resolve().parents[1]


def pytest_in(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )


def test_the_tier_runs_on_the_cpu():
    """All that is not slow, and the samples of one op alone."""
    chosen = "not opcheck and not learns and (fixed_order_mm or not (equals_the_cpu or two_runs))"
    arguments = ("-m", "cuda", "ops/test_cuda.py", "-k", chosen)
    done = pytest_in(TESTS, *arguments, HASHGCN_DEVICE="cpu")
    assert done.returncode == 0, done.stdout + done.stderr


def test_why_the_tier_does_not_run():
    if torch.cuda.is_available():
        pytest.skip("a CUDA device")
    assert why_not() == "no CUDA device"


def test_ids_of_samples_are_unique():
    ids = [ids_of(case) for case in (*all_samples(), *more_samples())]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_judge_allows_four_times_the_cpus_error_and_the_tolerance(dtype):
    exact = torch.tensor([-8.0, 2.0, 0.0], dtype=torch.float64)
    bound = 8 * RELATIVE[dtype]

    def judge(mine: float, cpus: float) -> None:
        results = [exact + torch.tensor([0.0, 0.0, error * bound]) for error in (mine, cpus)]
        assert_near("propagate", *(x.to(dtype) for x in results), exact, "x")

    judge(0.9, 0)
    judge(-1.3, 0.1)
    for mine, cpus in ((1.1, 0), (-1.5, 0.1), (float("nan"), 0)):
        with pytest.raises(AssertionError, match="x: .* from float64, of 8; the CPU "):
            judge(mine, cpus)
    with pytest.raises(AssertionError):
        assert_near("propagate", exact.half(), exact.to(dtype), exact, "x")


@pytest.mark.parametrize("op", ["hamming_topk", "sign_ste"])
def test_the_judge_allows_no_error_of_what_is_exact(op):
    want = torch.tensor([-1.0, 1.0])
    assert_near(op, want.clone(), want, want, "x")
    with pytest.raises(AssertionError, match="x: 1 differ"):
        assert_near(op, want + torch.tensor([0, 1e-7]), want, want, "x")


@pytest.mark.parametrize(
    ("error", "lasts"),
    [
        (RuntimeError("CUDA error: device-side assert triggered\nand more"), True),
        (RuntimeError("hashgcn: CUDA error of earlier work: an illegal memory access"), True),
        (RuntimeError("CUDA error: invalid configuration argument"), False),
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), False),
        (RuntimeError("CUDA out of memory"), False),
        (AssertionError("a child said: CUDA error: unspecified launch failure"), False),
        (None, False),
    ],
    ids=["assert", "earlier work", "configuration", "capture", "memory", "a child", "none"],
)
def test_which_errors_end_a_process(error, lasts):
    def run() -> None:
        if error is not None:
            raise error

    item = SimpleNamespace(nodeid="test_x.py::test_y", session=SimpleNamespace(shouldstop=False))
    conftest.pytest_runtest_makereport(item, pytest.CallInfo.from_call(run, "call"))
    first = str(error).splitlines()[0]
    assert item.session.shouldstop == (f"test_x.py::test_y: {first}" if lasts else False)
