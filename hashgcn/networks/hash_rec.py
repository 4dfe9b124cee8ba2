"""HashRec, the hash stage of CIGAR: matrix factorisation with tanh in place of the sign."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import PopularitySettings, Step
from hashgcn.networks.pairs import PairNetwork, PairSettings, bpr, columns, mean
from hashgcn.nn.layers import take
from hashgcn.ops import tanh_continuation


class HashRecSettings(PairSettings, PopularitySettings):
    """Settings of the network of HashRec."""

    alpha: float | None = Field(
        None,
        gt=0,
        description="Factor of score differences; by default 10 divided by the number of bits that "
        "are not popularity bits.",
    )


class HashRecNetwork(PairNetwork):
    """Matrix factorisation on the tanh of embeddings, which gets steeper with every epoch."""

    settings: HashRecSettings
    settings_type = HashRecSettings
    rows_of = {"users": "users", "items": "items", "popularity.level": "items"}

    def __init__(self, graph: BipartiteGraph, settings: HashRecSettings, seed: int) -> None:
        super().__init__(graph, settings, seed)
        s = settings
        rows, width = (graph.num_users, graph.num_items), s.taste_bits
        self.users, self.items = (
            nn.Parameter(
                torch.empty(n, width, dtype=torch.float32).normal_(
                    0, s.init_std, generator=self.generator
                )
            )
            for n in rows
        )
        self.alpha = 10 / width if s.alpha is None else s.alpha

    def loss(self, graph: BipartiteGraph, batch: Tensor, step: Step) -> Tensor:
        users, positives, negatives = columns(batch)
        beta = math.sqrt(1 + 10 * step.epoch)
        items = torch.cat([positives[:, None], negatives], 1)
        p, q = take(self.users, users), take(self.items, items)
        codes = tanh_continuation(p, beta)[:, None] * tanh_continuation(q, beta)
        scores = self.alpha * (codes.sum(2) + self.item_levels(items))
        size = (
            self.settings.l2
            / 2
            * (mean(p.square().sum(1)) + items.shape[1] * mean(q.square().sum(2)))
        )
        return bpr(scores[:, 0], scores[:, 1:]) + size

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        return self.packed(self.users, self.items)
