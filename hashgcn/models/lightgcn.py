"""Real-valued LightGCN and its sign-rounded codes: the baseline a user would try first."""

from __future__ import annotations

import torch
from torch import Tensor

from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import HashModel, Network
from hashgcn.nn import layers
from hashgcn.ops import pack_codes
from hashgcn.settings import Settings


class LightGCNNetwork(Network):
    # Of real-valued scores <p_u, q_i>; a setting of tau_score overrides it.
    TEMPERATURE = 0.1

    def __init__(self, graph: BipartiteGraph, settings: Settings) -> None:
        super().__init__(graph, settings)
        if settings.num_popularity_bits:
            raise ValueError(
                f"expected popularity_bits 0 for LightGCN, got {settings.num_popularity_bits}"
            )
        s = settings
        self.encoder = layers.LightGCN(
            graph.num_users,
            graph.num_items,
            s.code_length,
            s.layers,
            s.init_std,
            self.generator,
            first_layer=s.first_layer,
        )

    def loss(self, graph: BipartiteGraph, users: Tensor, progress: float) -> Tensor:
        """Full softmax, mean over the batch's pairs.

        Plain torch on real-valued scores: holds b x n of them, forward and backward.
        """
        real = users[users >= 0]
        p, q = self.encoder(graph)
        begin, end = graph.user_ptr[real], graph.user_ptr[real + 1]
        row = torch.repeat_interleave(torch.arange(len(real), device=real.device), end - begin)
        first = torch.cumsum(end - begin, 0) - (end - begin)
        pair = torch.arange(len(row), device=row.device) + (begin - first)[row]
        scores = p[real] @ q.T / (self.settings.tau_score or self.TEMPERATURE)
        return -scores.log_softmax(1)[row, graph.user_items[pair]].mean()

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users, items = self.encoder(graph)
        return pack_codes(users), pack_codes(items)


class LightGCN(HashModel):
    """Real-valued LightGCN trained by full softmax, whose signs are the codes.

    A yardstick for methods that train codes: nothing in it knows that signs will be taken.
    Popularity bits are not available. Training holds batch x items real-valued scores.
    """

    network = LightGCNNetwork

    def __init__(self, **settings) -> None:
        super().__init__(**{"popularity_bits": 0, "first_layer": 0, **settings})
