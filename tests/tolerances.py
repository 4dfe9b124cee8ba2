"""How far an op may be from its float64 reference, by op and dtype; None is exact."""

from __future__ import annotations

import torch

EXACT = ("hamming_topk", "pack_codes", "unpack_codes")

# Relative to the largest entry of the reference. float32: about ten roundings of sums of a few
# hundred terms; half types: one rounding of the result.
RELATIVE = {
    torch.float64: 1e-12,
    torch.float32: 3e-6,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11,
}


def tolerance(op: str, dtype: torch.dtype) -> float | None:
    return None if op in EXACT or not dtype.is_floating_point else RELATIVE[dtype]
