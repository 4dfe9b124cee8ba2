"""LightGCN: real-valued embeddings, and what is left of them in codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hashgcn.devices import copy_to
from hashgcn.evaluate.protocol import HammingRanking, Ranking, RealRanking
from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import HashModel
from hashgcn.networks.pairs import PairNetwork, bpr, columns, mean, take
from hashgcn.networks.sampling import epoch_generator, user_order
from hashgcn.nn import layers
from hashgcn.nn.itq import itq
from hashgcn.nn.layers import sum_in_blocks
from hashgcn.nn.tables import log_partition
from hashgcn.ops import fixed_order_mm, smooth_rank
from hashgcn.train.settings import LightGCNSettings


class LightGCNNetwork(PairNetwork):
    settings: LightGCNSettings
    rankings = ("codes", "itq", "real")

    def __init__(self, graph: BipartiteGraph, settings: LightGCNSettings) -> None:
        super().__init__(graph, settings)
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
        self.bias = nn.Parameter(torch.zeros(graph.num_items)) if s.item_bias else None
        self.degrees = graph.user_ptr.diff().cpu()

    def scored(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """Rows whose inner products are the scores: embeddings, and the bias as one number more."""
        users, items = self.embeddings(graph)
        if self.bias is not None:
            users = torch.cat([users, users.new_ones(len(users), 1)], 1)
            items = torch.cat([items, self.bias[:, None]], 1)
        return users, items

    def embeddings(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """Rows of users and items, divided by norms as the score has it."""
        s = self.settings
        users, items = self.encoder(graph)
        if s.score != "dot":
            users = normalize(users)
        if s.score == "cosine":
            items = normalize(items)
        return users, items

    def batches(self, graph: BipartiteGraph, epoch: int) -> Sequence[Tensor]:
        """Pairs with negatives for BPR, else rows of users on the CPU; the last step is shorter."""
        s = self.settings
        if s.loss == "bpr":
            return super().batches(graph, epoch)
        order = user_order(graph, epoch_generator(s.seed, epoch))
        return order.split(s.users_per_step(graph.num_users))

    def loss(self, graph: BipartiteGraph, batch: Tensor, progress: float) -> Tensor:
        if self.settings.loss == "bpr":
            return self.bpr_loss(graph, batch)
        loss = self.recall_loss if self.settings.loss == "recall" else self.softmax_loss
        # Counted on the CPU: the host would wait for the device to tell.
        size = int(self.degrees[batch].sum())
        return loss(graph, copy_to(batch, graph.user_ptr.device), size)

    def recall_loss(self, graph: BipartiteGraph, users: Tensor, size: int) -> Tensor:
        """Negative smooth recall with the log rank, mean over cutoffs and users that have items."""
        s = self.settings
        p, q = self.scored(graph)
        own = p.index_select(0, users)
        ranks = smooth_rank(own, q, users, graph, s.temperature, size=size).log()
        recall = sum(torch.sigmoid(math.log(n) - ranks) for n in s.train_cutoffs)
        degree = graph.user_ptr[users + 1] - graph.user_ptr[users]
        recall = recall / degree.repeat_interleave(degree, output_size=size)
        count = (degree > 0).sum().clamp(min=1)
        return self.decayed(-sum_in_blocks(recall) / (len(s.train_cutoffs) * count))

    def softmax_loss(self, graph: BipartiteGraph, users: Tensor, size: int) -> Tensor:
        """Cross entropy of each of the users' items against all items, mean over these pairs."""
        s = self.settings
        p, q = self.scored(graph)
        p = p.index_select(0, users)
        row, item = graph.positives(users, size)
        degree = graph.user_ptr[users + 1] - graph.user_ptr[users]
        own = (take(p, row) * take(q, item)).sum(1)
        total = sum_in_blocks(degree * log_partition(p, q, s.temperature))
        return self.decayed((total - sum_in_blocks(own) / s.temperature) / max(len(row), 1))

    def decayed(self, loss: Tensor) -> Tensor:
        """A loss over users, with the mean square of embeddings."""
        l2 = self.settings.l2
        return loss + l2 / 2 * mean(self.encoder.weight.square().sum(1)) if l2 else loss

    def bpr_loss(self, graph: BipartiteGraph, batch: Tensor) -> Tensor:
        users, positives, negatives = columns(batch)
        items = torch.cat([positives[:, None], negatives], 1)
        p, q = self.scored(graph)
        scores = (take(p, users)[:, None] * take(q, items)).sum(2)
        rows = torch.cat([users[:, None], items + graph.num_users], 1)
        size = mean(take(self.encoder.weight, rows).square().sum(2)) * rows.shape[1]
        return bpr(scores[:, 0], scores[:, 1:]) + self.settings.l2 / 2 * size

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        return self.packed(*self.embeddings(graph))

    @torch.no_grad()
    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        if name == "codes":
            return super().ranking(graph, name)
        if name == "real":
            return RealRanking(*self.scored(graph))
        users, items = self.embeddings(graph)
        generator = torch.Generator().manual_seed(self.settings.seed)
        rotation = itq(torch.cat([users, items]), generator=generator)
        words = self.packed(*(fixed_order_mm(x, rotation) for x in (users, items)))
        return HammingRanking(*words, self.settings.code_length)


class LightGCN(HashModel):
    """Real-valued LightGCN: the ceiling (metrics["test_real"]), and two ways of rounding it.

        score = <p_u, q_i>, of rows divided by their norms (score="cosine"), of users' rows alone
            ("user"), or as they are ("dot"); + c_i, learned, with item_bias
        loss="recall": - mean over users of sigma(log N - log smooth rank of i), mean over N
        loss="softmax": - mean over pairs of log(e^(s_ui / t) / sum over all items of e^(s_uj / t))
        loss="bpr": mean softplus(s_uj - s_ui), one uniform j for a pair, not among the user's
            train items, + l2 / 2 |embeddings of layer 0 of u, i, j|^2, as published

    The numbers of a row are as many as the bits: metrics["test"] ranks by their signs, "test_itq"
    by the signs after a rotation of all rows (nn.itq), both without the bias. Nothing in training
    knows that signs will be taken. Epochs are chosen by the real-valued ranking
    (`selection_ranking`). As published, BPR has score="dot", no bias, first_layer=0,
    learning_rate=1e-3, batch_pairs=2048, l2=1e-4 and 1000 epochs.

    Source: He et al., "LightGCN" (SIGIR 2020, arXiv 2002.02126).
    """

    network = LightGCNNetwork
    settings_type = LightGCNSettings
