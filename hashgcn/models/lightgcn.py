"""Real-valued LightGCN and its sign-rounded codes: the baseline a user would try first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from hashgcn.evaluation import HammingRanking, Ranking, RealRanking
from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import HashModel, Network, PairNetwork
from hashgcn.nn import layers
from hashgcn.nn.catalogue_softmax import log_partition
from hashgcn.nn.itq import itq
from hashgcn.nn.layers import sum_in_blocks
from hashgcn.ops import fixed_order_mm, pack_codes
from hashgcn.settings import LightGCNSettings


class LightGCNNetwork(PairNetwork):
    settings: LightGCNSettings
    rankings = ("codes", "itq", "real")

    def __init__(self, graph: BipartiteGraph, settings: LightGCNSettings) -> None:
        super().__init__(graph, settings)
        s = settings
        self.encoder = layers.LightGCN(
            graph.num_users, graph.num_items, s.code_length, s.layers, s.init_std, self.generator
        )

    def embeddings(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        s = self.settings
        x = torch.cat(self.encoder(graph))
        if s.score == "cosine":
            x = normalize(x)
        return x.split(self.encoder.rows)

    def batches(self, graph: BipartiteGraph, epoch: int) -> Tensor:
        if self.settings.loss == "bpr":
            return super().batches(graph, epoch)
        return Network.batches(self, graph, epoch)

    def loss(self, graph: BipartiteGraph, batch: Tensor, progress: float) -> Tensor:
        if self.settings.loss == "bpr":
            return self._bpr(graph, batch[batch[:, 0] >= 0])
        return self._softmax(graph, batch[batch >= 0])

    def _softmax(self, graph: BipartiteGraph, users: Tensor) -> Tensor:
        t = self.settings.temperature
        p, q = self.embeddings(graph)
        p = p.index_select(0, users)
        begin, end = graph.user_ptr[users], graph.user_ptr[users + 1]
        degree = end - begin
        row = torch.repeat_interleave(torch.arange(len(users), device=users.device), degree)
        first = torch.cumsum(degree, 0) - degree
        item = graph.user_items[torch.arange(len(row), device=row.device) + (begin - first)[row]]
        own = (p.index_select(0, row) * q.index_select(0, item)).sum(1) / t
        loss = sum_in_blocks(degree * log_partition(p, q, t)) - sum_in_blocks(own)
        if self.settings.l2:
            w = self.encoder.weight
            loss = loss + self.settings.l2 / 2 * len(row) * sum_in_blocks(w.square().sum(1)) / len(
                w
            )
        return loss / len(row)

    def _bpr(self, graph: BipartiteGraph, batch: Tensor) -> Tensor:
        p, q = self.embeddings(graph)
        p, q, r = (
            p.index_select(0, batch[:, 0]),
            q.index_select(0, batch[:, 1]),
            q.index_select(0, batch[:, 2]),
        )
        gap = (p * (q - r)).sum(1)
        loss = sum_in_blocks(softplus(-gap))
        m = self.encoder.rows[0]
        rows = torch.cat([batch[:, 0], m + batch[:, 1], m + batch[:, 2]])
        own = self.encoder.weight.index_select(0, rows)
        loss = loss + self.settings.l2 / 2 * sum_in_blocks(own.square().sum(1))
        return loss / len(batch)

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users, items = self.encoder(graph)
        return pack_codes(users), pack_codes(items)

    @torch.no_grad()
    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        if name == "codes":
            return super().ranking(graph, name)
        users, items = self.embeddings(graph)
        if name == "real":
            return RealRanking(users, items)
        generator = torch.Generator().manual_seed(self.settings.seed)
        rotation = itq(torch.cat([users, items]), generator=generator)
        words = [pack_codes(fixed_order_mm(x, rotation)) for x in (users, items)]
        return HammingRanking(*words, self.settings.code_length)


class LightGCN(HashModel):
    """Real-valued LightGCN."""

    network = LightGCNNetwork
    settings_type = LightGCNSettings

    def __init__(self, **settings) -> None:
        super().__init__(**{"popularity_bits": 0, "layers": 3, "learning_rate": 0.01, **settings})
