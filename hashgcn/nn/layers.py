"""The encoder and popularity bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hashgcn.graph import BipartiteGraph
from hashgcn.ops import propagate


class LightGCN(nn.Module):
    """Embeddings of users and items, averaged over layers of the graph.

    Args:
        num_users, num_items: m and n.
        width: numbers in an embedding.
        layers: L >= 0, the last layer of the mean.
        init_std: standard deviation of the initial embeddings.
        generator: where they are drawn from (on the CPU, so that devices start alike).
        first_layer: of the mean, in [0, L]; 1 leaves out layer 0, what a row knows of itself alone.
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
        """P [m, width] and Q [n, width]."""
        # Not slices: each of them would send back a gradient of all rows.
        rows = propagate(graph, self.weight, self.layers, self.first_layer)
        return rows.split(self.rows)


class PopularityBits(nn.Module):
    """Item bits that carry popularity: a learned scalar an item, written as a thermometer.

    The scalar is rounded to a level c in {-g, -g + 2, ..., g}, and (g + c) / 2 of the item's g bits
    are +1, the first ones. A user with +1 in all of them scores <taste bits> + c exactly. The
    gradient passes the rounding unchanged, so the scalar gets the sum over users of dL/ds_ui.

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
    """Standard deviation over all entries, 0-d float32.

    From sums of squares, for entries whose mean is not large against their spread.
    Sums by rows, then by blocks: torch's sum of a whole tensor is split by the number of threads,
    which would make training depend on it.
    """
    count = sum(x.numel() for x in tensors)
    total = sum(sum_in_blocks(x.sum(1)) for x in tensors)
    square = sum(sum_in_blocks(torch.linalg.vector_norm(x, dim=1).square()) for x in tensors)
    mean = total / count
    return (square / count - mean * mean).clamp(min=1e-30).sqrt().float()


def sum_in_blocks(x: Tensor, block: int = 512) -> Tensor:
    """Sum of a vector in float64, in an order that does not depend on the number of threads."""
    x = x.double()
    while x.numel() > block:
        x = torch.nn.functional.pad(x, (0, -x.numel() % block)).view(-1, block).sum(1)
    return x.sum()
