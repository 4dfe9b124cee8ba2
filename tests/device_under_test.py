"""The device that the CUDA tier runs on: HASHGCN_DEVICE in the environment, a GPU by default.

HASHGCN_DEVICE=cpu rehearses the tests' own code where there is no GPU: large sizes are cut, and
what is about streams, graphs and the device's error flag is skipped.
"""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = os.environ.get("HASHGCN_DEVICE", "cuda")
if DEVICE not in ("cuda", "cpu"):
    raise ValueError(f"HASHGCN_DEVICE: expected cuda or cpu, got {DEVICE!r}")
REHEARSAL = DEVICE == "cpu"

needs_gpu = pytest.mark.skipif(
    REHEARSAL, reason="HASHGCN_DEVICE=cpu: no streams, no graphs, no error flag"
)


def why_not() -> str | None:
    """Why the tier cannot run, if it cannot."""
    if REHEARSAL:
        return None
    if not torch.cuda.is_available():
        return "no CUDA device"
    if not torch._C._dispatch_has_kernel_for_dispatch_key("hashgcn::sign_swish", "CUDA"):
        return "the CUDA library is not built (HASHGCN_CUDA=1 make build)"
    return None


def cut(size: int, by: int = 16) -> int:
    """A size as it is, or in a rehearsal by a factor smaller."""
    return max(1, size // by) if REHEARSAL else size
