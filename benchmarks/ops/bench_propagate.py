"""LightGCN propagation against chains of sparse products."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from benchmarks.harness import bounds
from benchmarks.harness.race import Case, Contender, Work, close
from benchmarks.harness.sparse_chain import Halves
from hashgcn import ops
from hashgcn.graph import BipartiteGraph

LAYERS = 3


def work(graph: BipartiteGraph, width: int) -> Work:
    pairs, nodes = len(graph.user_items), graph.num_users + graph.num_items
    row = 4 * width
    return Work(
        "2 L pairs f additions; a row of f numbers and an id read for each pair, each layer's rows "
        "written; at the third cache's bandwidth, since popular rows stay there",
        bytes=LAYERS * (2 * pairs * (row + 8) + nodes * row),
        multiply_adds=LAYERS * 2 * pairs * width,
        working_set=min(nodes * row, bounds.COPY_BYTES[1]),
    )


def scipy_chain(graph: BipartiteGraph, x: np.ndarray, layers: int):
    halves = Halves.of(graph)
    up, down = (
        scipy.sparse.csr_matrix(
            (half.values().numpy(), half.col_indices().numpy(), half.crow_indices().numpy()),
            half.shape,
        )
        for half in (halves.up, halves.down)
    )

    def run() -> Tensor:
        users, items = x[: graph.num_users], x[graph.num_users :]
        total = x.copy()
        for _ in range(layers):
            users, items = up @ items, down @ users
            total[: graph.num_users] += users
            total[graph.num_users :] += items
        total /= layers + 1
        return torch.from_numpy(total)

    return run


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("width", [64, 128, 256])
def test_propagate(race, inputs, threads, width, mode):
    graph = inputs.graph
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(graph.num_users + graph.num_items, width, generator=generator)
    halves = Halves.of(graph)
    if mode == "forward":
        ours = Contender("ours", lambda: ops.propagate(graph, x, LAYERS))
    else:
        wanted = torch.zeros_like(x, requires_grad=True)
        ours = Contender(
            "ours",
            lambda result: torch.autograd.grad(result, wanted, x)[0],
            prepare=lambda: ops.propagate(graph, wanted, LAYERS),
        )
    same = "the same sum: the adjacency is symmetric" if mode == "backward" else None
    near = close(1e-4, 1e-6)
    race(
        Case(
            "propagate",
            f"mean of {LAYERS} layers",
            {
                "users": graph.num_users,
                "items": graph.num_items,
                "pairs": len(graph.user_items),
                "width": width,
                "layers": LAYERS,
            },
            work(graph, width),
            mode=mode,
            input=inputs.name,
        ),
        ours,
        [
            Contender(
                "torch.sparse CSR", lambda: halves.propagate(x, LAYERS), check=near, note=same
            ),
            Contender(
                "scipy CSR",
                scipy_chain(graph, x.numpy(), LAYERS),
                check=near,
                note="one thread, whatever is asked",
            ),
        ],
    )
