"""The sign of some rows and the others as they are: HashGNN's guidance."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hashgcn.ops._library import ops, scalar_like


def sign_guided(x: Tensor, take_sign: Tensor, *, scale: float | Tensor = 1.0) -> Tensor:
    """Signs of the rows where take_sign, scale x elsewhere, differentiated as scale x.

        out[r] = sgn(x[r]) if take_sign[r] else scale x[r];   backward: grad * scale

    sgn is +1 where x >= 0 (0 and -0 included), else -1. HashGNN draws take_sign for each row with a
    probability that rises from 0 to 1: the real-valued rows guide a training that ends with codes.
    Nowhere dead. Values are real numbers: for losses on real-valued scores. Codes at test are the
    signs (pack_codes).

    Args:
        x: float32, float64, bfloat16 or float16 [rows, f]; contiguity is not needed.
        take_sign: bool [rows], drawn by the caller.
        scale: positive finite number or 0-d tensor that x is multiplied with; no gradient. A
            changing tensor never recompiles nor synchronises.

    Returns:
        Tensor [rows, f] of x's dtype.

    Raises:
        ValueError: x holds NaN, is not two-dimensional or has another dtype, take_sign has another
            shape or dtype, or scale is not a positive number.

    Deterministic. Cost: reads and writes each element once, forward and backward; no extra memory,
    and no x is kept for the backward pass.
    Source: HashGNN (WWW 2020, arXiv 2003.01917).
    """
    return ops.sign_guided.default(x, take_sign, scalar_like(scale, "scale", x))


@torch.library.register_fake("hashgcn::sign_guided")
def _(x: Tensor, take_sign: Tensor, scale: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[2])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (scale,) = ctx.saved_tensors
    # Within an infinite clip any x is: the gradient stands in for it.
    return ops.sign_ste_backward.default(grad, grad, scale, math.inf), None, None


torch.library.register_autograd("hashgcn::sign_guided", _backward, setup_context=_setup_context)
