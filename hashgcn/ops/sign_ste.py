"""The sign with the straight-through gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hashgcn.ops._library import differentiable_once, ops, scalar_like


def sign_ste(x: Tensor, clip: float = math.inf, *, scale: float | Tensor = 1.0) -> Tensor:
    """Sign of x, differentiated straight through: as the identity, or as the identity with a clip.

    Forward: +1 where x >= 0 (0 and -0 included), else -1. Backward, with z = scale x:

        grad * scale where |z| <= clip, else 0,

    the derivative of z held in [-clip, clip]. It integrates over z to 2 clip and is dead outside:
    an entry that has left the interval gets no gradient any more. An infinite clip is the identity.

    Args:
        x: float32, float64, bfloat16 or float16, any shape; contiguity is not needed.
        clip: at least 0, infinity included, in units of z.
        scale: positive finite number or 0-d tensor that x is multiplied with; no gradient. A
            changing tensor never recompiles nor synchronises.

    Returns:
        Tensor of x's shape and dtype that holds +1 and -1.

    Raises:
        ValueError: x holds NaN or has another dtype, clip is negative or NaN, or scale is not a
            positive number.

    Deterministic. Cost: reads and writes each element once, forward and backward; no extra memory,
    and with an infinite clip no x is kept for the backward pass.
    Source: Bengio et al. (arXiv 1308.3432); with clip 1, Courbariaux et al. (arXiv 1602.02830).
    """
    return ops.sign_ste.default(x, scalar_like(scale, "scale", x), clip)


@torch.library.register_fake("hashgcn::sign_ste")
def _(x: Tensor, scale: Tensor, clip: float) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("hashgcn::sign_ste_backward")
def _(grad: Tensor, x: Tensor, scale: Tensor, clip: float) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, ctx.clip = inputs
    ctx.save_for_backward(scale, *(() if ctx.clip == math.inf else (x,)))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    scale, *x = ctx.saved_tensors
    # Within an infinite clip any x is: the gradient stands in for it.
    return ops.sign_ste_backward.default(grad, *(x or (grad,)), scale, ctx.clip), None, None


torch.library.register_autograd("hashgcn::sign_ste", _backward, setup_context=_setup_context)
differentiable_once("sign_ste")
