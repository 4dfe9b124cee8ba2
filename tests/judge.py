"""Whether an op's result is right: equal to the reference, or as near to float64 as the CPU's."""

from __future__ import annotations

import torch
from samples import as_tuple, in_float64
from tolerances import EXACT, tolerance
from torch import Tensor

from hashgcn.ops import reference

# Elementwise ops with a gradient: x first, and 0-d tensors that the reference takes as numbers.
ESTIMATORS = ("sign_swish", "sign_ste", "sign_fourier", "tanh_continuation", "sign_guided")


def expected(op: str, args: tuple):
    """The reference's result for the arguments of an op's schema."""
    if op in ESTIMATORS:
        numbers = (float(a) if isinstance(a, Tensor) and a.dim() == 0 else a for a in args[1:])
        return getattr(reference, op)(args[0], *numbers)
    if op.removesuffix("_backward") in ESTIMATORS:
        grad, x, *parameters = args
        x = x.detach().requires_grad_()
        output = expected(op.removesuffix("_backward"), (x, *parameters))
        return torch.autograd.grad(output, x, grad)[0]
    if op == "smooth_rank":
        u, i, users, ptr, ids, _, size, tau, *candidates, item_weights, exclude = args
        chosen = candidates if candidates[0] is not None else ()
        ranks = reference.smooth_rank(
            u, i, users, ptr, ids, float(tau), chosen, exclude, item_weights
        )
        return torch.nn.functional.pad(ranks, (0, size - len(ranks)), value=1)
    if op == "propagate":
        x, user_ptr, user_items, *_, first, layers = args
        return reference.propagate(x, user_ptr, user_items, layers, first)
    if op == "fixed_order_mm":
        return args[0] @ args[1]
    if op == "score_tables_backward":
        grads, inputs = args[:2], [x.clone().requires_grad_() for x in args[4:6]]
        forward = (*inputs, *args[6:12], *args[13:])
        outputs = expected("score_tables", forward)[:2]
        return gradients(outputs, inputs, grads)
    if op == "smooth_rank_backward":
        grad, u, i, users, ptr, ids, offsets, *rest = args
        tau, *candidates, _, item_weights, exclude = rest
        inputs = [x.clone().requires_grad_() for x in (u, i)]
        weights = (*candidates, item_weights, exclude)
        forward = (*inputs, users, ptr, ids, offsets, len(grad), tau, *weights)
        return gradients([expected("smooth_rank", forward)], inputs, [grad])
    return getattr(reference, op)(*args)


def gradients(outputs, inputs, grads):
    """Gradients of inputs, 0 for those that an empty output does not depend on."""
    found = torch.autograd.grad(outputs, inputs, grads, allow_unused=True)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
    )


def assert_close(op: str, got, want) -> None:
    for mine, theirs in zip(as_tuple(got), as_tuple(want), strict=True):
        assert mine.shape == theirs.shape
        bound = tolerance(op, mine.dtype)
        if bound is None or mine.numel() == 0:
            assert torch.equal(mine, theirs)
        else:
            scale = max(1.0, theirs.abs().max().item())
            assert (mine.double() - theirs).abs().max().item() <= bound * scale


def assert_is_the_references(case: tuple[str, str, tuple]) -> None:
    """The op's value on a sample, on the CPU."""
    op, _, args = case
    want = expected(op, args if tolerance(op, torch.float64) is None else in_float64(args))
    assert_close(op, getattr(torch.ops.hashgcn, op)(*args), want)


FACTOR = 4  # as many times the CPU's error are right, whose sums have another order

# Codes are the same bits on every device, whatever their gradient.
SIGNS = ("sign_ste", "sign_fourier", "sign_swish")


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
