"""The sign of half of the rows, the others as they are."""

from __future__ import annotations

import pytest
import torch

from benchmarks.harness.elementwise import MODES, race_modes
from benchmarks.harness.harness import Case
from hashgcn import ops
from hashgcn.ops import reference

SCALE = 1.3


@pytest.mark.parametrize("mode", MODES)
def test_sign_guided(race, quick, size, threads, allocation, mode):
    rows, bits = size(156_250, 1_000), 64
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, bits, generator=generator)
    take_sign = torch.rand(rows, generator=generator) < 0.5
    race_modes(
        race,
        lambda work: Case(
            "sign_guided",
            "signs of half of the rows",
            {"rows": rows, "bits": bits},
            work,
            mode=mode,
            note=allocation,
        ),
        mode,
        x,
        lambda x: ops.sign_guided(x, take_sign, scale=SCALE),
        lambda x: reference.sign_guided(x, take_sign, SCALE),
        quick,
        backward_numbers=2,
    )
