"""LightGCN propagation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hashgcn.graph import BipartiteGraph
from hashgcn.ops._library import ops


def propagate(graph: BipartiteGraph, x: Tensor, layers: int, first: int = 0) -> Tensor:
    """Mean of layers first to L of E^(l+1) = D^-1/2 A D^-1/2 E^(l).

    Args:
        graph: the bipartite graph; not differentiable.
        x: float32 or float64 [m + n, f], finite: users' rows, then items'.
        layers: L >= 0.
        first: first layer of the mean, in [0, L]; with 1 x itself is left out.

    Returns:
        Tensor [m + n, f] of x's dtype. A node without neighbours has 0 in all layers but its own.

    Raises:
        ValueError: shapes or dtypes that do not fit, NaN or infinity in x, an id out of range, 2^31
            users or items on the CPU.

    Example:
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 1, 3]), torch.tensor([0, 0, 1]), 2)
        >>> x = torch.tensor([[1.0], [0.0], [0.0], [0.0]])  # of two users, then of two items
        >>> propagate(graph, x, layers=2).flatten()
        tensor([0.5000, 0.1179, 0.2357, 0.0000])

    The adjacency is symmetric, so the backward pass is the same op on the gradient, and no
    activation is stored. Deterministic: each row is summed by one thread in a fixed order.
    Cost: 2 L pairs f additions, whatever `first`. Peak extra memory: 64 (m + n) + 8 pairs bytes on
    the CPU, two tensors like x on CUDA.
    """
    return ops.propagate.default(
        x,
        graph.user_ptr,
        graph.user_items,
        graph.item_ptr,
        graph.item_users,
        graph.scale.to(x.dtype),
        first,
        layers,
    )


@torch.library.register_fake("hashgcn::propagate")
def _(
    x: Tensor,
    user_ptr: Tensor,
    user_items: Tensor,
    item_ptr: Tensor,
    item_users: Tensor,
    scale: Tensor,
    first: int,
    layers: int,
) -> Tensor:
    return x.new_empty(x.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, *graph, ctx.first, ctx.layers = inputs
    ctx.save_for_backward(*graph)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x = ops.propagate.default(grad, *ctx.saved_tensors, ctx.first, ctx.layers)
    return grad_x, *[None] * 7


torch.library.register_autograd("hashgcn::propagate", _backward, setup_context=_setup_context)
