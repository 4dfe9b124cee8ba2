"""Draws the batches of an epoch: rows of users, or pairs with sampled negatives.

All random numbers come from CPU generators that are seeded by the run's seed and the place in the
run. So a resumed run needs no state of a generator, and all devices draw the same.
"""

from __future__ import annotations

from typing import Literal
from zlib import crc32

import torch
from torch import Tensor
from torch.nn.functional import pad

from hashgcn.devices import copy_to
from hashgcn.graph import BipartiteGraph
from hashgcn.nn.layers import sum_in_blocks


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The CPU generator of an epoch."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def step_generator(seed: int, progress: float) -> torch.Generator:
    """The CPU generator of a step; progress tells the steps of a run apart, see base.Step."""
    # A hash, because the generator uses only 32 bits of its seed.
    return torch.Generator().manual_seed(crc32(f"{seed} {progress}".encode()))


def user_order(graph: BipartiteGraph, generator: torch.Generator) -> Tensor:
    """All user rows in random order, int64 [users] on the CPU."""
    return torch.randperm(graph.num_users, generator=generator)


def padded_batches(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Splits rows, [N], into batches of `size`; the last batch is padded with -1."""
    return pad(rows, (0, -len(rows) % size), value=-1).split(size)


def pair_batches(
    graph: BipartiteGraph,
    size: int,
    negatives: int,
    generator: torch.Generator,
    sampling: Literal["pairs", "users"] = "pairs",
) -> tuple[Tensor, ...]:
    """Draws as many pairs as the graph has, each with its own negatives.

    The batches are the same on every device. Pairs of users who have every item are left out, as
    nothing is a negative of theirs.

    Args:
        graph: the users, their items and the catalogue.
        size: the number of pairs per batch.
        negatives: the number of negatives per pair, see uniform_negatives.
        generator: a CPU generator.
        sampling: "pairs" takes each pair of the graph once, in random order. "users" draws a user
            uniformly among those with items, then one of the user's items uniformly.

    Returns:
        int64 [size, 2 + negatives] for each step: user, positive, negatives. The last batch may be
        smaller.

    Raises:
        ValueError: there are pairs, and every user with items has all of them.
    """
    device, ptr = graph.user_ptr.device, graph.user_ptr
    degrees, usable = ptr.diff(), torch.arange(len(graph.user_items), device=ptr.device)
    if graph.has_full_user:
        usable = (degrees < graph.num_items).repeat_interleave(degrees).nonzero()[:, 0]
        if len(graph.user_items) and not len(usable):
            raise ValueError(
                "train: expected a user who has some items and lacks others, got users who each "
                f"have all {graph.num_items} or none"
            )
    count = len(usable)
    if sampling == "pairs":
        pair = usable[torch.randperm(count, generator=generator).to(device)]
        users = torch.searchsorted(ptr, pair, right=True) - 1
    else:
        active = ((degrees > 0) & (degrees < graph.num_items)).nonzero()[:, 0]
        draw = torch.rand(2, count, dtype=torch.float64, generator=generator).to(device)
        users = active[(draw[0] * len(active)).long()]
        pair = ptr[users] + (draw[1] * degrees[users]).long()
    columns = [users[:, None], graph.user_items[pair][:, None]]
    columns.append(uniform_negatives(graph, users, negatives, generator))
    return torch.cat(columns, 1).split(size)


def uniform_negatives(
    graph: BipartiteGraph, users: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Draws items that a user does not have, uniformly and independently, without rejection.

    A number r is drawn uniformly from [0, n - degree). The r-th item that the user lacks is
    r + |{j : i_j - j <= r}| for the user's sorted items i_0 < i_1 < ..., because the user lacks
    i_j - j of the items below i_j. The keys user * n + i_j - j increase over the whole graph, so
    one binary search among the pairs counts them.

    Args:
        graph: its user_items increase within each user.
        users: int64 [N], rows of users.
        count: the number of items per row.
        generator: a CPU generator.

    Returns:
        int64 [N, count] on the graph's device. The last item for a user who lacks none: callers
        leave such users out, or weigh what is drawn by 0.

    Examples:
        >>> from hashgcn.graph import BipartiteGraph
        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 2]), torch.tensor([0, 2]), 4)
        >>> generator = torch.Generator().manual_seed(0)
        >>> drawn = uniform_negatives(graph, torch.tensor([0]), 100, generator)
        >>> sorted(set(drawn[0].tolist()))
        [1, 3]
    """
    ptr, n = graph.user_ptr, graph.num_items
    lacking = n - (ptr[users + 1] - ptr[users])
    draw = torch.rand(len(users), count, dtype=torch.float64, generator=generator)
    rank = (copy_to(draw, ptr.device) * lacking[:, None]).long()
    below = torch.searchsorted(graph.lacking_keys, users[:, None] * n + rank, right=True)
    return (rank + below - ptr[users][:, None]).clamp(max=n - 1)


def negative_weights(graph: BipartiteGraph, exponent: float) -> Tensor | None:
    """What each item counts as a negative: its number of users to a power, scaled to a mean of 1.

    Args:
        graph: the users of the items.
        exponent: a >= 0. With a = 1 an item counts as often as it would be drawn as a negative from
            the positives of other users.

    Returns:
        float32 [n]; None, for weights of 1, with a = 0 or without pairs.
    """
    if exponent == 0 or not len(graph.user_items):
        return None
    degrees = graph.item_ptr.diff().double()
    # Not torch.pow, which rounds by the place in a thread's part.
    weights = torch.exp(exponent * degrees.log())
    return (weights * (len(weights) / sum_in_blocks(weights))).float()
