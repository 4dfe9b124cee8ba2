"""LightGCN propagation in plain torch: a chain of products with sparse matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hashgcn.graph import BipartiteGraph


@dataclass
class Halves:
    """The normalised adjacency as two CSR matrices: [users, items] and its transpose."""

    up: Tensor
    down: Tensor

    @classmethod
    def of(cls, graph: BipartiteGraph) -> Halves:
        m, n = graph.num_users, graph.num_items
        users = torch.repeat_interleave(torch.arange(m), graph.user_ptr.diff())
        items = torch.repeat_interleave(torch.arange(n), graph.item_ptr.diff())
        scale = graph.scale
        up = scale[users] * scale[m + graph.user_items]
        down = scale[m + items] * scale[graph.item_users]
        return cls(
            torch.sparse_csr_tensor(
                graph.user_ptr, graph.user_items, up.float(), (m, n), check_invariants=True
            ),
            torch.sparse_csr_tensor(
                graph.item_ptr, graph.item_users, down.float(), (n, m), check_invariants=True
            ),
        )

    def propagate(self, x: Tensor, layers: int) -> Tensor:
        """The mean of x and its products with the first `layers` powers of the adjacency."""
        users, items = x[: len(self.up)], x[len(self.up) :]
        total = x.clone()
        for _ in range(layers):
            users, items = self.up @ items, self.down @ users
            total[: len(users)] += users
            total[len(users) :] += items
        return total.div_(layers + 1)
