"""HashGNN: GraphSAGE, a tanh hash layer, and signs guided by real values."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from hashgcn.devices import copy_to
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import PopularitySettings, Step
from hashgcn.networks.pairs import PairNetwork, PairSettings, bpr, columns, cross_entropy
from hashgcn.networks.sampling import step_generator
from hashgcn.nn.layers import Dense, neighbour_mean, take
from hashgcn.ops import sign_guided


class HashGNNSettings(PairSettings, PopularitySettings):
    """Settings of the network of HashGNN."""

    id_width: int = Field(120, ge=1, description="Width of the embeddings.")
    hidden_width: int = Field(68, ge=1, description="Width of the hidden rows.")
    cross_entropy: float = Field(
        0.1, ge=0, description="Weight of the cross entropy in the loss; that of BPR is 1."
    )


class HashGNNNetwork(PairNetwork):
    """Two layers of GraphSAGE and a tanh layer, whose values guide the training of the signs."""

    settings: HashGNNSettings
    settings_type = HashGNNSettings
    rows_of = {"ids": "nodes", "popularity.level": "items"}

    def __init__(self, graph: BipartiteGraph, settings: HashGNNSettings, seed: int) -> None:
        super().__init__(graph, settings, seed)
        s, g = settings, self.generator
        self.rows = (graph.num_users, graph.num_items)
        width, hidden = s.id_width, s.hidden_width

        def two(inputs: int, outputs: int, bias: bool = True) -> nn.ModuleList:
            return nn.ModuleList(Dense(inputs, outputs, None, bias, g) for _ in range(2))

        initial = torch.empty(sum(self.rows), width, dtype=torch.float32)
        self.ids = nn.Parameter(initial.normal_(0, s.init_std, generator=g))
        # In each pair, the first is for users and the second for items.
        self.encode, self.aggregate = two(width, hidden), two(2 * hidden, hidden, bias=False)
        self.aggregate_again = Dense(2 * hidden, hidden, None, False, g)
        self.hash = two(hidden, s.taste_bits)

    def embeddings(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """The outputs of tanh for all users and all items, in (-1, 1)."""
        m = self.rows[0]

        def joined(x: Tensor) -> Tensor:
            return torch.cat([x, neighbour_mean(graph, x)], 1)

        encoded = [
            dense(x) for dense, x in zip(self.encode, self.ids.split(self.rows), strict=True)
        ]
        first = joined(leaky_relu(torch.cat(encoded), 0.2))
        second = joined(leaky_relu(self.aggregate[0](first), 0.2))
        users = leaky_relu(self.aggregate_again(second[:m]), 0.2)
        items = leaky_relu(self.aggregate[1](first[m:]), 0.2)
        return self.hash[0](users).tanh(), self.hash[1](items).tanh()

    def loss(self, graph: BipartiteGraph, batch: Tensor, step: Step) -> Tensor:
        s = self.settings
        users, positives, negatives = columns(batch)
        generator = step_generator(self.seed, step.progress)
        shape = negatives.shape[1] + 1, len(users)
        drawn = torch.rand(shape, generator=generator, dtype=torch.float32)
        signs = copy_to(drawn < step.progress, users.device)
        p, q = self.embeddings(graph)
        p, positive = (sign_guided(take(x, r), signs[0]) for x, r in ((p, users), (q, positives)))
        negative = sign_guided(take(q, negatives.T.flatten()), signs[1:].flatten())
        negative = negative.view(negatives.shape[1], *p.shape)
        scores = (p * positive).sum(1) + self.item_levels(positives)
        others = (p * negative).sum(2).T + self.item_levels(negatives)
        return s.cross_entropy * cross_entropy(scores, others) + bpr(scores, others)

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        return self.packed(*self.embeddings(graph))
