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

from hashgcn.devices import copy_to
from hashgcn.graph import BipartiteGraph


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of an epoch, on the CPU."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def step_generator(seed: int, progress: float) -> torch.Generator:
    """The generator of a step, on the CPU; progress is the step's place in the run."""
    # Of a seed the generator takes 32 bits.
    return torch.Generator().manual_seed(crc32(f"{seed} {progress}".encode()))


def user_order(graph: BipartiteGraph, generator: torch.Generator) -> Tensor:
    """All user rows in random order, int64 [users], on the CPU."""
    return torch.randperm(graph.num_users, generator=generator)


def padded_batches(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Rows [N] in their order, `size` at a time; the last batch is padded with -1."""
    return pad(rows, (0, -len(rows) % size), value=-1).split(size)


def pair_batches(
    graph: BipartiteGraph,
    size: int,
    negatives: int,
    generator: torch.Generator,
    sampling: Literal["pairs", "users"] = "pairs",
) -> tuple[Tensor, ...]:
    """As many pairs as the graph has, each with negatives drawn anew.

    Args:
        graph: users, their items and the catalogue.
        size: pairs in a batch.
        negatives: for each pair, see uniform_negatives.
        generator: on the CPU.
        sampling: "pairs": each pair of the graph once, in random order. "users": a user, uniform
            among those with items, then one of the user's items, uniform.

    Returns:
        for each step int64 [size, 2 + negatives]: user, positive, negatives. The last step has
        the pairs that are left.

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
    return torch.cat(columns, 1).split(size)


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
    lacking = n - (ptr[users + 1] - ptr[users])
    if graph.has_full_user and len(users) and lacking.min() == 0:
        user = users[lacking.argmin()].item()
        raise ValueError(f"graph: expected users who lack some item, got user {user} with all {n}")
    draw = torch.rand(len(users), count, dtype=torch.float64, generator=generator)
    rank = (copy_to(draw, ptr.device) * lacking[:, None]).long()
    below = torch.searchsorted(graph.lacking_keys, users[:, None] * n + rank, right=True)
    return rank + below - ptr[users][:, None]
