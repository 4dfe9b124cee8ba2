"""The sign with the gradient of its Fourier series."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.ops._library import differentiable_once, ops, scalar_like


def sign_fourier(
    x: Tensor, omega: float = 1.0, terms: int = 8, *, scale: float | Tensor = 1.0
) -> Tensor:
    """Sign of x, differentiated as a Fourier series of the sign, as BGCH does.

    Forward: +1 where x >= 0 (0 and -0 included), else -1. Backward, with z = scale x:

        grad * scale * clamp((4 omega / pi) sum over odd i < terms of cos(i omega z), -1, 1)

    The sum is the derivative of the series of sgn(sin(omega z)); the clamp is on the factor, not on
    the gradient. It has the period 2 pi / omega: 1 at 0, of both signs in between, -1 around
    |omega z| = pi, where entries are pushed the wrong way. Finite for every x: 0 where |omega z| is
    2^30 pi or more, infinity included.

    Args:
        x: float32, float64, bfloat16 or float16, any shape; contiguity is not needed.
        omega: positive finite number, in units of 1 / z.
        terms: in [2, 65536]; odd numbers below it are summed, terms // 2 of them. 8, with omega 1,
            is what BGCH runs with on Gowalla and Yelp2018; its code's default is 20.
        scale: positive finite number or 0-d tensor that x is multiplied with; no gradient. A
            changing tensor never recompiles nor synchronises.

    Returns:
        Tensor of x's shape and dtype that holds +1 and -1.

    Raises:
        ValueError: x holds NaN or has another dtype, omega or scale is not a positive number, or
            terms is out of range.

    Deterministic. Cost: reads and writes each element once; two sines an element in the backward
    pass, however many terms, since the sum is sin(n omega z) / (2 sin(omega z)) with n the even
    one of terms and terms - 1. No extra memory.
    Source: BGCH (WWW 2023, arXiv 2304.00241).
    """
    return ops.sign_fourier.default(x, scalar_like(scale, "scale", x), omega, terms)


@torch.library.register_fake("hashgcn::sign_fourier")
def _(x: Tensor, scale: Tensor, omega: float, terms: int) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("hashgcn::sign_fourier_backward")
def _(grad: Tensor, x: Tensor, scale: Tensor, omega: float, terms: int) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.omega, ctx.terms = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    x_grad = ops.sign_fourier_backward.default(grad, *ctx.saved_tensors, ctx.omega, ctx.terms)
    return x_grad, None, None, None


torch.library.register_autograd("hashgcn::sign_fourier", _backward, setup_context=_setup_context)
differentiable_once("sign_fourier")
