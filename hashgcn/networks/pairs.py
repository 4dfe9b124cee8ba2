"""What methods share that are trained on pairs of a user and an item, with sampled negatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import Network
from hashgcn.networks.sampling import epoch_generator, pair_batches
from hashgcn.nn.layers import PopularityBits, sum_in_blocks
from hashgcn.ops import pack_codes
from hashgcn.train.settings import PairSettings


class PairNetwork(Network):
    """A network that is trained on pairs of a user and an item, with sampled negatives.

    Popularity bits, where a method has them, add the item's level to its score in training.
    """

    settings: PairSettings

    def __init__(self, graph: BipartiteGraph, settings: PairSettings) -> None:
        super().__init__(graph, settings)
        self.popularity = PopularityBits(graph.num_items, settings.num_popularity_bits)

    def batches(self, graph: BipartiteGraph, epoch: int) -> Sequence[Tensor]:
        """For each step int64 [pairs, 2 + negatives]: user, positive, negatives."""
        s = self.settings
        return pair_batches(
            graph, s.batch_pairs, s.negatives, epoch_generator(s.seed, epoch), s.sampling
        )

    def item_levels(self, items: Tensor) -> Tensor:
        """What popularity adds to the scores of items, of the rows' shape."""
        return take(self.popularity().sum(1), items)

    def packed(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of real-valued rows, with popularity bits at their end."""
        bits = self.settings.num_popularity_bits
        if bits:
            users = torch.cat([users, users.new_ones(len(users), bits)], 1)
            items = torch.cat([items, self.popularity()], 1)
        return pack_codes(users), pack_codes(items)

    def learning_rates(self) -> dict[str, float]:
        return super().learning_rates() | {
            "popularity.level": self.settings.popularity_learning_rate
        }


def columns(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Users [b], positives [b] and negatives [b, k] of a batch of pairs."""
    return batch[:, 0], batch[:, 1], batch[:, 2:]


def take(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows], rows of any shape, whose gradient is summed in an order that is fixed.

    Of torch's two ways indexing sorts on CUDA, where index_select adds with atomics; on the CPU
    index_select adds in order, where indexing does not.
    """
    if x.is_cuda:
        return x[rows]
    return x.index_select(0, rows.flatten()).view(*rows.shape, *x.shape[1:])


def mean(x: Tensor) -> Tensor:
    """Mean of all entries, summed in a fixed order."""
    return sum_in_blocks(x.flatten()) / x.numel()


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Mean of softplus(negative - positive) over pairs and negatives, [b] and [b, k]."""
    return mean(softplus(negative - positive[:, None]))


def cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """Mean sigmoid cross entropy of scores [b] of label 1 and [b, k] of label 0."""
    return mean(torch.cat([softplus(-positive), softplus(negative).flatten()]))
