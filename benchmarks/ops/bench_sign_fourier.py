"""The sign with the gradient of its Fourier series."""

from __future__ import annotations

import pytest
import torch

from benchmarks.harness.elementwise import race_modes
from benchmarks.harness.harness import Case
from hashgcn import ops
from hashgcn.ops import reference

OMEGA, TERMS = 1.0, 8  # as BGCH runs on Gowalla


# Not backward alone: the plain form computes the factor in its forward pass.
@pytest.mark.parametrize("mode", ["forward", "both"])
def test_sign_fourier(race, quick, size, threads, allocation, mode):
    count = size(10_000_000, 20_000)
    x = torch.randn(count, generator=torch.Generator().manual_seed(0))
    race_modes(
        race,
        lambda work: Case(
            "sign_fourier",
            "sign with the gradient of a Fourier series",
            {"elements": count},
            work,
            mode=mode,
            note=allocation,
        ),
        mode,
        x,
        lambda x: ops.sign_fourier(x, OMEGA, TERMS),
        lambda x: reference.sign_fourier(x, 1.0, OMEGA, TERMS),
        quick,
    )
