"""tanh in place of the sign, sharpened while training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.ops._library import differentiable_once, ops, scalar_like


def tanh_continuation(x: Tensor, beta: float | Tensor) -> Tensor:
    """tanh(beta x), which goes to the sign of x as beta rises.

    Backward: grad * beta (1 - tanh(beta x)^2), from x: it keeps its digits where tanh is 1 to
    rounding. It is beta at 0, integrates to 2 and falls as e^(-2 |beta x|): entries far from 0 are
    dead. Values are real numbers in (-1, 1), not codes: for losses on real-valued scores. Codes at
    test are the signs (pack_codes).

    Args:
        x: float32, float64, bfloat16 or float16, any shape; contiguity is not needed.
        beta: positive finite number or 0-d tensor: the slope at 0; no gradient. A changing tensor
            never recompiles nor synchronises; CIGAR raises it as sqrt(1 + 10 (epoch - 1)).

    Returns:
        Tensor of x's shape and dtype.

    Raises:
        ValueError: x holds NaN, has another dtype, or beta is not a positive number.

    Deterministic. Cost: reads and writes each element once, forward and backward; no extra memory.
    Source: HashNet (arXiv 1702.00758); CIGAR's hash stage, HashRec (arXiv 1909.05475).
    """
    return ops.tanh_continuation.default(x, scalar_like(beta, "beta", x))


@torch.library.register_fake("hashgcn::tanh_continuation")
def _(x: Tensor, beta: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("hashgcn::tanh_continuation_backward")
def _(grad: Tensor, x: Tensor, beta: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return ops.tanh_continuation_backward.default(grad, *ctx.saved_tensors), None


torch.library.register_autograd(
    "hashgcn::tanh_continuation", _backward, setup_context=_setup_context
)
differentiable_once("tanh_continuation")
