"""The sign with the clipped straight-through gradient."""

from __future__ import annotations

import pytest
import torch

from benchmarks.harness.elementwise import MODES, race_modes
from benchmarks.harness.harness import Case
from hashgcn import ops
from hashgcn.ops import reference

CLIP = 1.0


@pytest.mark.parametrize("mode", MODES)
def test_sign_ste(race, quick, size, threads, allocation, mode):
    count = size(10_000_000, 20_000)
    x = torch.randn(count, generator=torch.Generator().manual_seed(0))
    race_modes(
        race,
        lambda work: Case(
            "sign_ste",
            "sign with the clipped straight-through gradient",
            {"elements": count},
            work,
            mode=mode,
            note=allocation,
        ),
        mode,
        x,
        lambda x: ops.sign_ste(x, CLIP),
        lambda x: reference.sign_ste(x, 1.0, CLIP),
        quick,
    )
