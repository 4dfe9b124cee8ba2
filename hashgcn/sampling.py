"""What an epoch is made of: rows of users, or pairs with sampled negatives.

Everything is drawn from a generator on the CPU that (seed, epoch) seeds: an epoch can be drawn
again without the state of a generator, by a resumed run and on any device alike.
"""

from __future__ import annotations

from typing import Literal
from zlib import crc32

import torch
from torch import Tensor
from torch.nn.functional import pad

from hashgcn.graph import BipartiteGraph


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of an epoch, on the CPU."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def step_generator(seed: int, progress: float) -> torch.Generator:
    """The generator of a step, on the CPU; progress is the step's place in the run."""
    # Of a seed the generator takes 32 bits.
    return torch.Generator().manual_seed(crc32(f"{seed} {progress}".encode()))


def batches(rows: Tensor, size: int) -> Tensor:
    """Rows in their order, `size` at a time.

    Args:
        rows: int64 [N, ...].
        size: at least 1.

    Returns:
        int64 [ceil(N / size), size, ...]; the last batch is padded with -1.
    """
    missing = -len(rows) % size
    padded = pad(rows, (0, 0) * (rows.dim() - 1) + (0, missing), value=-1)
    return padded.view(-1, size, *rows.shape[1:])


def user_batches(graph: BipartiteGraph, size: int, generator: torch.Generator) -> Tensor:
    """All user rows in random order, int64 [steps, size], padded with -1."""
    order = torch.randperm(graph.num_users, generator=generator)
    return batches(order.to(graph.user_ptr.device), size)


def pair_batches(
    graph: BipartiteGraph,
    size: int,
    negatives: int,
    generator: torch.Generator,
    sampling: Literal["pairs", "users"] = "pairs",
) -> Tensor:
    """As many pairs as the graph has, each with negatives drawn anew.

    Args:
        graph: users, their items and the catalogue.
        size: pairs in a batch.
        negatives: for each pair, see uniform_negatives.
        generator: on the CPU.
        sampling: "pairs": each pair of the graph once, in random order. "users": a user, uniform
            among those with items, then one of the user's items, uniform.

    Returns:
        int64 [steps, size, 2 + negatives]: user, positive, negatives; padded with -1.

    Raises:
        ValueError: a user who has every item.

    Deterministic given the generator's state, the same on every device. Cost: a sort of the pairs'
    length and `negatives` binary searches for each of them.
    """
    device, ptr = graph.user_ptr.device, graph.user_ptr
    degrees = ptr.diff()
    count = len(graph.user_items)
    if sampling == "pairs":
        pair = torch.randperm(count, generator=generator).to(device)
        users = torch.searchsorted(ptr, pair, right=True) - 1
    else:
        active = degrees.nonzero()[:, 0]
        draw = torch.rand(2, count, dtype=torch.float64, generator=generator).to(device)
        users = active[(draw[0] * len(active)).long()]
        pair = ptr[users] + (draw[1] * degrees[users]).long()
    columns = [users[:, None], graph.user_items[pair][:, None]]
    columns.append(uniform_negatives(graph, users, negatives, generator))
    return batches(torch.cat(columns, 1), size)


def uniform_negatives(
    graph: BipartiteGraph, users: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Items that a user does not have, uniform and independent.

    Without rejection: r is uniform in [0, n - degree), and the r-th item that the user lacks is
    r + |{j : i_j - j <= r}| for the user's sorted items i_0 < i_1 < ..., since i_j - j of the items
    below i_j are lacking. The keys user * n + i_j - j rise over the whole graph, so one binary
    search counts.

    Args:
        graph: its user_items rise inside a row.
        users: int64 [N], rows.
        count: of items for each of them.
        generator: on the CPU.

    Returns:
        int64 [N, count] on the graph's device.

    Raises:
        ValueError: a user who has every item.

    Deterministic given the generator's state. Cost: N count binary searches among the pairs.
    """
    ptr, n = graph.user_ptr, graph.num_items
    degrees = ptr.diff()
    lacking = n - degrees[users]
    if len(users) and lacking.min() == 0:
        user = users[lacking.argmin()].item()
        raise ValueError(f"graph: expected users who lack some item, got user {user} with all {n}")
    owner = torch.repeat_interleave(torch.arange(graph.num_users, device=ptr.device), degrees)
    place = torch.arange(len(owner), device=ptr.device) - ptr[owner]
    keys = owner * n + graph.user_items - place
    draw = torch.rand(len(users), count, dtype=torch.float64, generator=generator).to(ptr.device)
    rank = (draw * lacking[:, None]).long()
    below = torch.searchsorted(keys, users[:, None] * n + rank, right=True) - ptr[users][:, None]
    return rank + below
