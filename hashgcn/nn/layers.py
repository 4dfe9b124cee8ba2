"""Layers: LightGCN, dense layers, popularity bits; and sums in a fixed order."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hashgcn.graph import BipartiteGraph
from hashgcn.ops import fixed_order_mm, propagate
from hashgcn.ops._library import no_jvp, once


class LightGCN(nn.Module):
    """Propagates embeddings of users and items over the graph, and averages the layers.

        E^(l+1) = D^-1/2 A D^-1/2 E^(l);   [P; Q] = mean of E^(first_layer), ..., E^(L)

    E^(0) is the parameter `weight`, float32 [m + n, f], with normal initial values.

    Args:
        num_users: m.
        num_items: n.
        width: f, the width of an embedding.
        layers: L >= 0, the last layer in the mean.
        init_std: the standard deviation of the initial embeddings.
        generator: a CPU generator that draws them, equal for all devices; None for torch's default.
        first_layer: the first layer in the mean, in [0, L]; 1 leaves out the embeddings themselves.

    Examples:
        >>> import torch
        >>> from hashgcn.graph import BipartiteGraph
        >>> from hashgcn.nn import LightGCN
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 2]), 3)
        >>> users, items = LightGCN(num_users=2, num_items=3, width=8, layers=2)(graph)
        >>> users.shape, items.shape
        (torch.Size([2, 8]), torch.Size([3, 8]))

    Note:
        Cost, memory and errors are those of ops.propagate.
        Source: He et al., "LightGCN" (SIGIR 2020, arXiv 2002.02126).
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        width: int,
        layers: int,
        init_std: float = 0.1,
        generator: torch.Generator | None = None,
        *,
        first_layer: int = 0,
    ) -> None:
        super().__init__()
        self.rows = (num_users, num_items)
        self.first_layer, self.layers = first_layer, layers
        initial = torch.empty(num_users + num_items, width, dtype=torch.float32)
        self.weight = nn.Parameter(initial.normal_(0, init_std, generator=generator))

    def forward(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """P, [m, f], and Q, [n, f]."""
        # Not slices: the backward pass of each would make a gradient of all rows.
        rows = propagate(graph, self.weight, self.layers, self.first_layer)
        return rows.split(self.rows)


class Dense(nn.Module):
    """x W + b. Values and gradients do not depend on the number of threads.

    Args:
        inputs: the width of x.
        outputs: the width of the result.
        bound: W is initially uniform in [-bound, bound]; None for sqrt(6 / (inputs + outputs)).
        bias: whether there is a b, which is initially 0.
        generator: a CPU generator that draws W; None for torch's default.

    Note:
        Cost: rows * inputs * outputs multiply-adds forward, twice that backward.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bound: float | None = None,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        bound = math.sqrt(6 / (inputs + outputs)) if bound is None else bound
        initial = torch.empty(inputs, outputs, dtype=torch.float32)
        self.weight = nn.Parameter(initial.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps x, [rows, inputs], to [rows, outputs]."""
        return _Dense.apply(x, self.weight, self.bias)


class _Dense(torch.autograd.Function):
    jvp = staticmethod(no_jvp("Dense"))

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        product = fixed_order_mm(x, weight.detach())
        return product if bias is None else product.add_(bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], _: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad

        def gradients(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor | None, ...]:
            return (
                fixed_order_mm(grad, weight.T) if needs_x else None,
                fixed_order_mm(x.T, grad) if needs_weight else None,
                fixed_order_mm(grad.new_ones(1, len(grad)), grad)[0] if needs_bias else None,
            )

        return once("Dense", gradients, grad, *ctx.saved_tensors)


def next_layer(graph: BipartiteGraph, x: Tensor) -> Tensor:
    """One propagation step, D^-1/2 A D^-1/2 x, for x of shape [m + n, f]."""
    return propagate(graph, x, 1, 1)


def neighbour_mean(graph: BipartiteGraph, x: Tensor) -> Tensor:
    """The mean of the neighbours' rows, D^-1 A x, [m + n, f]; 0 for a node without neighbours."""
    scale = graph.scale.to(x.dtype)[:, None]
    return scale * next_layer(graph, x * torch.where(scale > 0, 1 / scale, 0))


class PopularityBits(nn.Module):
    """Item bits that encode popularity: one learned scalar per item, as a thermometer.

    The scalar is rounded to a level c in {-g, -g + 2, ..., g}. The first (g + c) / 2 of the item's
    g bits are +1, the others -1. The code of a user has +1 in all g places, so these bits add c to
    the score. The gradient passes through the rounding unchanged: the scalar gets the sum of
    dL/ds_ui over users.

    Args:
        num_items: n.
        bits: g >= 0; 0 for codes without popularity.

    Examples:
        >>> import torch
        >>> from hashgcn.nn import PopularityBits
        >>> popularity = PopularityBits(num_items=2, bits=4)
        >>> popularity.level.data = torch.tensor([2.0, -4.0])
        >>> popularity().tolist()
        [[1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, -1.0, -1.0]]
    """

    def __init__(self, num_items: int, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.level = nn.Parameter(torch.zeros(num_items, dtype=torch.float32))

    def forward(self) -> Tensor:
        """The bits, float32 [n, g] of +1 and -1."""
        level, bits = self.level, self.bits
        plus = ((level.detach() + bits) / 2).round()
        hard = torch.where(torch.arange(bits, device=level.device) < plus[:, None], 1.0, -1.0)
        hard = hard.to(level.dtype)
        # Each of the g bits gets the gradient of s_ui and passes on 1/g of it.
        return hard + (level - level.detach())[:, None] / max(bits, 1)


def standard_deviation(*tensors: Tensor) -> Tensor:
    """The standard deviation of all entries of some matrices, 0-d float32.

    It is computed from sums of squares, which suits entries whose mean is not large compared with
    their spread. Unlike torch's sum of a whole tensor, it does not depend on the number of threads.
    """
    count = sum(x.numel() for x in tensors)
    sums = [sum_in_blocks(x.sum(1)) for x in tensors]
    squares = [sum_in_blocks(torch.linalg.vector_norm(x, dim=1).square()) for x in tensors]
    mean, square = (torch.stack(parts).sum() / count for parts in (sums, squares))
    return (square - mean * mean).clamp(min=1e-30).sqrt().float()


def take(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows] for rows of any shape; its gradient is summed in a fixed order.

    In the backward pass on CUDA, indexing sorts, while index_select adds with atomics. On the CPU,
    index_select adds in order, which indexing does not.
    """
    if x.is_cuda:
        return x[rows]
    return x.index_select(0, rows.flatten()).view(*rows.shape, *x.shape[1:])


def sum_in_blocks(x: Tensor, block: int = 512) -> Tensor:
    """The float64 sum of a vector, in an order that does not depend on the number of threads."""
    x = x.double()
    while x.numel() > block:
        x = torch.nn.functional.pad(x, (0, -x.numel() % block)).view(-1, block).sum(1)
    return x.sum()
