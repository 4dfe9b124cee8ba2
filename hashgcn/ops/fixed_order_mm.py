"""A matrix product whose bits do not depend on the number of threads."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hashgcn.ops._arguments import check_tensors, in_float32, without_tangent
from hashgcn.ops._library import call, register_fake, register_gradient


def fixed_order_mm(x: Tensor, matrix: Tensor) -> Tensor:
    """x @ matrix, each element summed in the order of the inner index.

    For training code that must give the same bits with any number of threads: BLAS libraries let
    that number decide in which order they sum. Meant for small matrices, such as a loss's tables of
    levels.

    Args:
        x: float32 or float64 [b, k] (bfloat16 and float16 are computed in float32).
        matrix: the same dtype, [k, l]; gets no gradient.

    Returns:
        Tensor [b, l], differentiable in x.

    Raises:
        ValueError: shapes or dtypes that do not fit; `matrix` requires a gradient.

    Example:
        >>> import torch
        >>> fixed_order_mm(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[4.0, 6.0]]

    Deterministic, and in full precision whatever torch is allowed to round in its own products
    (TF32, bfloat16): counts stay exact. Cost: b k l multiply-adds, no extra memory.
    """
    check_tensors(x=x, matrix=matrix)
    if matrix.requires_grad:
        raise ValueError(
            "hashgcn::fixed_order_mm: expected matrix without gradient, got one with it"
        )
    without_tangent("matrix", matrix)
    return _fixed_order_mm(in_float32(x), in_float32(matrix))


_fixed_order_mm = call("fixed_order_mm")


@register_fake("fixed_order_mm")
def _(x: Tensor, matrix: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], matrix.shape[1]))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (matrix,) = ctx.saved_tensors
    return _fixed_order_mm(grad, matrix.T), None


def _jvp(ctx: Any, tangent: Tensor, _: Tensor | None) -> Tensor:
    (matrix,) = ctx.saved_tensors
    return _fixed_order_mm(tangent, matrix)


register_gradient("fixed_order_mm", _backward, _setup_context, _jvp)
