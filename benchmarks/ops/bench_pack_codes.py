"""Signs to bits."""

from __future__ import annotations

import torch

from benchmarks.harness.compiled import compiled
from benchmarks.harness.harness import Case, Contender, Work, equal
from hashgcn import ops
from hashgcn.ops import reference


def test_pack_codes(race, quick, size, threads, allocation):
    rows, bits = size(156_250, 1_000), 64
    x = torch.randn(rows, bits, generator=torch.Generator().manual_seed(0))
    race(
        Case(
            "pack_codes",
            "signs to bits",
            {"rows": rows, "bits": bits},
            Work("4 bytes read and a bit written for each number", 4 * x.numel() + 8 * rows),
            note=allocation,
        ),
        Contender("ours", lambda: ops.pack_codes(x)),
        [
            Contender("torch eager", lambda: reference.pack_codes(x), check=equal),
            compiled("torch.compile", reference.pack_codes, (x,), equal, quick),
            Contender("x.clone()", lambda: x.clone(), note="a copy: reads and writes each number"),
        ],
    )
