"""Signs to bits, and back."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.harness.compiled import compiled
from benchmarks.harness.race import Case, Contender, Work, equal
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
            Work("4 bytes read and a bit written per number", 4 * x.numel() + 8 * rows),
            note=allocation,
        ),
        Contender("ours", lambda: ops.pack_codes(x)),
        [
            Contender("torch eager", lambda: reference.pack_codes(x), check=equal),
            compiled("torch.compile", reference.pack_codes, (x,), equal, quick),
            Contender("x.clone()", lambda: x.clone(), note="a copy: reads and writes each number"),
        ],
    )


def test_unpack_codes(race, quick, size, threads, allocation):
    rows, bits = size(156_250, 1_000), 64
    words = ops.pack_codes(torch.randn(rows, bits, generator=torch.Generator().manual_seed(0)))
    plain = partial(reference.unpack_codes, code_length=bits)
    race(
        Case(
            "unpack_codes",
            "bits to signs",
            {"rows": rows, "bits": bits},
            Work("a bit read and 4 bytes written per number", 4 * rows * bits + 8 * rows),
            dtype="int64 words",
            note=allocation,
        ),
        Contender("ours", lambda: ops.unpack_codes(words, bits)),
        [
            Contender("torch eager", lambda: plain(words), check=equal),
            compiled("torch.compile", plain, (words,), equal, quick),
        ],
    )
