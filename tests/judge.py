"""Whether an op's result on a device is right: judged against float64, beside the CPU's error."""

from __future__ import annotations

import torch
from samples import as_tuple, in_float64
from tolerances import EXACT, tolerance
from torch import Tensor

FACTOR = 4  # as many times the CPU's error are right, whose sums have another order

# Codes are the same bits on every device, whatever their gradient.
SIGNS = ("sign_ste", "sign_fourier", "sign_swish", "sign_swish_pack")


@torch.no_grad()
def run(op: str, args: tuple) -> tuple[Tensor, ...]:
    return as_tuple(getattr(torch.ops.hashgcn, op)(*args))


def assert_right(op: str, got: tuple[Tensor, ...], args: tuple) -> None:
    """got, an op's results on a device, against the op on the CPU with args, which are there."""
    theirs = run(op, args)
    # Exact ones take float32 alone.
    exact = theirs if op in EXACT else run(op, in_float64(args))
    for number, results in enumerate(zip(got, theirs, exact, strict=True)):
        assert_near(op, *results, f"{op}, result {number}")


def assert_near(op: str, mine: Tensor, theirs: Tensor, exact: Tensor, what: str) -> None:
    """A result of the device; the CPU's in the same dtype, and in float64."""
    mine = mine.cpu()
    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
    if tolerance(op, mine.dtype) is None or op in SIGNS:
        assert torch.equal(mine, theirs), f"{what}: {int((mine != theirs).sum())} differ"
    elif mine.numel():
        largest = exact.abs().max().item()
        errors = [(x.double() - exact).abs().max().item() for x in (mine, theirs)]
        assert_error(op, mine.dtype, *errors, largest, what)


def assert_error(
    op: str, dtype: torch.dtype, mine: float, cpus: float, largest: float, what: str
) -> None:
    """Largest errors of the device and of the CPU, and the largest entry of the exact result."""
    bound = FACTOR * cpus + tolerance(op, dtype) * largest
    assert mine <= bound, (
        f"{what}: {mine:.3g} from float64, of {largest:.3g}; the CPU {cpus:.3g}, bound {bound:.3g}"
    )
