"""What methods share whose batches are pairs of a user and an item with sampled negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import Network, NetworkSettings
from hashgcn.networks.sampling import epoch_generator, pair_batches
from hashgcn.nn.layers import PopularityBits, sum_in_blocks, take
from hashgcn.ops import pack_codes
from hashgcn.settings import Settings


class PairSettings(Settings):
    """Settings of networks that are trained on pairs with sampled negatives."""

    batch_pairs: int = Field(4096, ge=1, description="Number of pairs per step.")
    negatives: int = Field(
        1,
        ge=1,
        le=1000,
        description="Number of items per pair that are drawn uniformly from those that the user "
        "lacks.",
    )
    sampling: Literal["pairs", "users"] = Field(
        "pairs",
        description="How an epoch is drawn: each pair once, or as many draws of a user and then of "
        "one of the user's items.",
    )
    l2: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the squared parameters in the loss.",
    )


class PairNetwork(Network):
    """A network that is trained on pairs of a user and an item, with sampled negatives.

    If the codes have popularity bits, the level of an item is added to its score in training.
    """

    def __init__(self, graph: BipartiteGraph, settings: NetworkSettings, seed: int) -> None:
        super().__init__(graph, settings, seed)
        self.popularity = PopularityBits(graph.num_items, settings.num_popularity_bits)

    def batches(self, graph: BipartiteGraph, epoch: int) -> Sequence[Tensor]:
        """int64 [pairs, 2 + negatives] for each step: user, positive, negatives."""
        s = self.settings
        return pair_batches(
            graph, s.batch_pairs, s.negatives, epoch_generator(self.seed, epoch), s.sampling
        )

    def item_levels(self, items: Tensor) -> Tensor:
        """The amounts that popularity adds to the scores of items, in the shape of `items`."""
        return take(self.popularity().sum(1), items)

    def packed(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The packed codes of real-valued rows, with popularity bits at the end."""
        bits = self.settings.num_popularity_bits
        if bits:
            users = torch.cat([users, users.new_ones(len(users), bits)], 1)
            items = torch.cat([items, self.popularity()], 1)
        return pack_codes(users), pack_codes(items)


def columns(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The users, [b], positives, [b], and negatives, [b, k], of a batch of pairs."""
    return batch[:, 0], batch[:, 1], batch[:, 2:]


def mean(x: Tensor) -> Tensor:
    """The mean of all entries, summed in a fixed order."""
    return sum_in_blocks(x.flatten()) / x.numel()


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """The mean of softplus(negative - positive), scores [b, k] of negatives, [b] of positives."""
    return mean(softplus(negative - positive[:, None]))


def cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """The mean sigmoid cross entropy of scores [b] with label 1 and [b, k] with label 0."""
    return mean(torch.cat([softplus(-positive), softplus(negative).flatten()]))
