"""A matrix product whose bits do not depend on the number of threads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.ops._library import ops


def fixed_order_mm(x: Tensor, matrix: Tensor) -> Tensor:
    """x @ matrix, each element summed in the order of the inner index.

    For training code that must give the same bits with any number of threads: BLAS libraries let
    that number decide in which order they sum. Meant for small matrices, such as a loss's tables of
    levels.

    Args:
        x: float32 or float64 [b, k].
        matrix: the same dtype, [k, l]; gets no gradient.

    Returns:
        Tensor [b, l], differentiable in x.

    Raises:
        ValueError: shapes or dtypes that do not fit; `matrix` requires a gradient.

    Example:
        >>> fixed_order_mm(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[4.0, 6.0]]

    Deterministic. Cost: b k l multiply-adds, no extra memory.
    """
    if matrix.requires_grad:
        raise ValueError(
            "hashgcn::fixed_order_mm: expected matrix without gradient, got one with it"
        )
    return ops.fixed_order_mm.default(x, matrix)


@torch.library.register_fake("hashgcn::fixed_order_mm")
def _(x: Tensor, matrix: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], matrix.shape[1]))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (matrix,) = ctx.saved_tensors
    return ops.fixed_order_mm.default(grad, matrix.T), None


torch.library.register_autograd("hashgcn::fixed_order_mm", _backward, setup_context=_setup_context)
