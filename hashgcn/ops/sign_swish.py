"""The sign with the gradient of SignSwish, alone or with the packed codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.ops._library import differentiable_once, ops, scalar_like


def sign_swish(x: Tensor, beta: float | Tensor) -> Tensor:
    """Sign of x, differentiated as SignSwish.

    Forward: +1 where x >= 0 (0 and -0 included), else -1. Backward: grad * SS'_beta(x) with

        SS'_beta(x) = beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)),

    the derivative of 2 sigma(beta x)(1 + beta x (1 - sigma(beta x))) - 1. It is beta at 0, even in
    x, slightly negative beyond |beta x| of about 2.4, integrates to 2, and is finite for every x
    and infinite beta x. beta gets no gradient.

    Args:
        x: float32, float64, bfloat16 or float16, any shape; contiguity is not needed.
        beta: positive finite number or 0-d tensor: the slope at 0, larger is sharper. A changing
            tensor never recompiles nor synchronises; a changing number makes torch.compile turn
            it into a variable once.

    Returns:
        Tensor of x's shape and dtype that holds +1 and -1.

    Raises:
        ValueError: x holds NaN, has another dtype, or beta is not a positive number.

    Deterministic. Reads and writes each element once; no extra memory, forward or backward.
    Source: the poster's AAGE; SignSwish is from BNN+ (arXiv 1812.11800).
    """
    return ops.sign_swish.default(x, scalar_like(beta, "beta", x))


def sign_swish_pack(x: Tensor, beta: float | Tensor) -> tuple[Tensor, Tensor]:
    """sign_swish(x, beta) and pack_codes(x) in one pass over x.

        codes[i, j] = +1 where x[i, j] >= 0, else -1;   bit j of words[i, w] = (x[i, 64 w + j] >= 0)

    Backward: sign_swish's, from the gradient of the codes.

    Args:
        x: float32, float64, bfloat16 or float16 [N, f], f >= 1; contiguity is not needed.
        beta: positive finite number or 0-d tensor, as in sign_swish.

    Returns:
        codes: [N, f] of x's dtype, +1 and -1, differentiable.
        words: int64 [N, ceil(f / 64)], pack_codes' words; no gradient.

    Raises:
        ValueError: x holds NaN, is not two-dimensional, has another dtype, or beta is not a
            positive number.

    Deterministic, the same codes and words on every device. Cost O(N f): reads and writes each
    element once; no extra memory.
    """
    return ops.sign_swish_pack.default(x, scalar_like(beta, "beta", x))


@torch.library.register_fake("hashgcn::sign_swish")
def _(x: Tensor, beta: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.register_fake("hashgcn::sign_swish_pack")
def _(x: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    words = x.new_empty((x.shape[0], (x.shape[1] + 63) // 64), dtype=torch.int64)
    return x.new_empty(x.shape), words


@torch.library.register_fake("hashgcn::sign_swish_backward")
def _(grad: Tensor, x: Tensor, beta: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(
    ctx: Any, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor, Tensor]
) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor, grad_words: Tensor | None = None) -> tuple[Tensor, None]:
    return ops.sign_swish_backward.default(grad, *ctx.saved_tensors), None


for _op in ("hashgcn::sign_swish", "hashgcn::sign_swish_pack"):
    torch.library.register_autograd(_op, _backward, setup_context=_setup_context)
differentiable_once("sign_swish")
