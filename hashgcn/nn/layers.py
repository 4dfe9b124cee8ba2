"""Layers: LightGCN, dense ones, popularity bits; and sums in an order that is fixed."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hashgcn.graph import BipartiteGraph
from hashgcn.ops import fixed_order_mm, propagate


class LightGCN(nn.Module):
    """Embeddings of users and items, averaged over layers of the graph.

        E^(l+1) = D^-1/2 A D^-1/2 E^(l);   [P; Q] = mean of E^(first_layer), ..., E^(L)

    E^(0) is the parameter `weight`, float32 [m + n, f], normal at first.

    Args:
        num_users, num_items: m and n.
        width: f, numbers in an embedding.
        layers: L >= 0, the last layer of the mean.
        init_std: standard deviation of the initial embeddings.
        generator: where they are drawn from, on the CPU, so that devices start alike; torch's
            default if left out.
        first_layer: of the mean, in [0, L]; 1 leaves out layer 0, what a row knows of itself alone.

    Deterministic; cost, memory and errors are those of ops.propagate.
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
        initial = torch.empty(num_users + num_items, width)
        self.weight = nn.Parameter(initial.normal_(0, init_std, generator=generator))

    def forward(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """P [m, f] and Q [n, f]."""
        # Not slices: each of them would send back a gradient of all rows.
        rows = propagate(graph, self.weight, self.layers, self.first_layer)
        return rows.split(self.rows)


class Dense(nn.Module):
    """x W + b, with values and gradients that do not depend on the number of threads.

    Args:
        inputs, outputs: widths.
        bound: W is uniform in [-bound, bound] at first; sqrt(6 / (inputs + outputs)) if left out.
        bias: whether there is a b, 0 at first.
        generator: where W is drawn from, on the CPU.

    Rows times inputs times outputs multiply-adds forward, twice that backward (fixed_order_mm).
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
        initial = torch.empty(inputs, outputs)
        self.weight = nn.Parameter(initial.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[rows, outputs] of x [rows, inputs]."""
        return _Dense.apply(x, self.weight, self.bias)


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        product = fixed_order_mm(x, weight.detach())
        return product if bias is None else product.add_(bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = (y.detach() for y in ctx.saved_tensors)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            fixed_order_mm(grad, weight.T) if needs_x else None,
            fixed_order_mm(x.T, grad) if needs_weight else None,
            fixed_order_mm(grad.new_ones(1, len(grad)), grad)[0] if needs_bias else None,
        )


def next_layer(graph: BipartiteGraph, x: Tensor) -> Tensor:
    """One propagation, D^-1/2 A D^-1/2 x, of [m + n, f]."""
    return propagate(graph, x, 1, 1)


def neighbour_mean(graph: BipartiteGraph, x: Tensor) -> Tensor:
    """Mean of the neighbours' rows, D^-1 A x, of [m + n, f]; 0 for a node without neighbours."""
    scale = graph.scale.to(x.dtype)[:, None]
    return scale * next_layer(graph, x * torch.where(scale > 0, 1 / scale, 0))


class PopularityBits(nn.Module):
    """Item bits that carry popularity: a learned scalar an item, written as a thermometer.

    The scalar is rounded to a level c in {-g, -g + 2, ..., g}, and (g + c) / 2 of the item's g bits
    are +1, the first ones. A user with +1 in all of them has the inner product of the other bits,
    and c more. The gradient passes the rounding unchanged, so the scalar gets the sum over users of
    dL/ds_ui.

    Args:
        num_items: n.
        bits: g >= 0; 0 gives codes without popularity.
    """

    def __init__(self, num_items: int, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.level = nn.Parameter(torch.zeros(num_items))

    def forward(self) -> Tensor:
        """float32 [n, g] of +1 and -1."""
        level, bits = self.level, self.bits
        plus = ((level.detach() + bits) / 2).round()
        hard = torch.where(torch.arange(bits, device=level.device) < plus[:, None], 1.0, -1.0)
        # Each bit passes on 1/g of its gradient: g bits with the gradient of s_ui make one of it.
        return hard + (level - level.detach())[:, None] / max(bits, 1)


def standard_deviation(*tensors: Tensor) -> Tensor:
    """Standard deviation over all entries of matrices, 0-d float32.

    From sums of squares, for entries whose mean is not large against their spread. The sums do not
    depend on the number of threads, as torch's of a whole tensor do.
    """
    count = sum(x.numel() for x in tensors)
    sums = [sum_in_blocks(x.sum(1)) for x in tensors]
    squares = [sum_in_blocks(torch.linalg.vector_norm(x, dim=1).square()) for x in tensors]
    mean, square = (torch.stack(parts).sum() / count for parts in (sums, squares))
    return (square - mean * mean).clamp(min=1e-30).sqrt().float()


def sum_in_blocks(x: Tensor, block: int = 512) -> Tensor:
    """Sum of a vector in float64, in an order that does not depend on the number of threads."""
    x = x.double()
    while x.numel() > block:
        x = torch.nn.functional.pad(x, (0, -x.numel() % block)).view(-1, block).sum(1)
    return x.sum()
