"""LightGCN propagation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hashgcn.graph import BipartiteGraph
from hashgcn.ops._arguments import check_tensors, in_float32, whole
from hashgcn.ops._library import call, register_fake, register_gradient


def propagate(graph: BipartiteGraph, x: Tensor, layers: int, first: int = 0) -> Tensor:
    """Mean of layers first to L of E^(l+1) = D^-1/2 A D^-1/2 E^(l).

    Args:
        graph: the bipartite graph; not differentiable.
        x: float32 or float64 [m + n, f], finite: users' rows, then items' (bfloat16 and float16 are
            computed in float32).
        layers: L >= 0.
        first: first layer of the mean, in [0, L]; with 1 x itself is left out.

    Returns:
        Tensor [m + n, f] of x's dtype. A node without neighbours has 0 in all layers but its own.

    Raises:
        ValueError: shapes or dtypes that do not fit, NaN or infinity in x, an id out of range, 2^31
            users or items on the CPU.

    Example:
        >>> import torch
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 1, 3]), torch.tensor([0, 0, 1]), 2)
        >>> x = torch.tensor([[1.0], [0.0], [0.0], [0.0]])  # of two users, then of two items
        >>> propagate(graph, x, layers=2).flatten()
        tensor([0.5000, 0.1179, 0.2357, 0.0000])

    The adjacency is symmetric, so the backward pass is the same op on the gradient, and no
    activation is stored. Deterministic: each row is summed by one thread in a fixed order.
    Cost: 2 L pairs f additions, whatever `first`. Peak extra memory: 64 (m + n) + 8 pairs bytes on
    the CPU, two tensors like x on CUDA.
    """
    check_tensors(x=x, graph=graph)
    x = in_float32(x)
    return _propagate(
        x,
        graph.user_ptr,
        graph.user_items,
        graph.item_ptr,
        graph.item_users,
        graph.scale.to(x.dtype),
        whole("first", first),
        whole("layers", layers),
    )


_propagate = call("propagate")


@register_fake("propagate")
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
    return _jvp(ctx, grad), *[None] * 7


def _jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
    return _propagate(tangent, *ctx.saved_tensors, ctx.first, ctx.layers)


register_gradient("propagate", _backward, _setup_context, _jvp)
