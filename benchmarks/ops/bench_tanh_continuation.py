"""tanh of a multiple, and its gradient."""

from __future__ import annotations

import pytest
import torch

from benchmarks.harness.elementwise import MODES, race_modes
from benchmarks.harness.harness import Case
from hashgcn import ops
from hashgcn.ops import reference

BETA = 1.3


@pytest.mark.parametrize("mode", MODES)
def test_tanh_continuation(race, quick, size, threads, allocation, mode):
    count = size(10_000_000, 20_000)
    x = torch.randn(count, generator=torch.Generator().manual_seed(0))
    race_modes(
        race,
        lambda work: Case(
            "tanh_continuation",
            "tanh(beta x)",
            {"elements": count},
            work,
            mode=mode,
            note=allocation,
        ),
        mode,
        x,
        lambda x: ops.tanh_continuation(x, BETA),
        lambda x: reference.tanh_continuation(x, BETA),
        quick,
    )
