"""HashRec: the hash stage of CIGAR, matrix factorisation with tanh in place of the sign."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import HashModel
from hashgcn.networks.pairs import PairNetwork, bpr, columns, mean, take
from hashgcn.ops import tanh_continuation
from hashgcn.train.settings import HashRecSettings


class HashRecNetwork(PairNetwork):
    settings: HashRecSettings

    def __init__(self, graph: BipartiteGraph, settings: HashRecSettings) -> None:
        super().__init__(graph, settings)
        s = settings
        rows, width = (graph.num_users, graph.num_items), s.taste_bits
        self.users, self.items = (
            nn.Parameter(torch.empty(n, width).normal_(0, s.init_std, generator=self.generator))
            for n in rows
        )
        self.alpha = 10 / width if s.alpha is None else s.alpha

    def loss(self, graph: BipartiteGraph, batch: Tensor, progress: float) -> Tensor:
        users, positives, negatives = columns(batch)
        epoch = math.floor(progress * self.settings.epochs + 1e-6)
        beta = math.sqrt(1 + 10 * epoch)
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


class HashRec(HashModel):
    """CIGAR's hash stage: codes of matrix factorisation, no graph.

        p = tanh(beta P_u), q = tanh(beta Q_i), beta = sqrt(1 + 10 (epoch - 1));  at test signs
        loss = mean of -log sigma(alpha (<p, q_pos> - <p, q_neg>)), alpha = 10 / f,
               + l2 / 2 (|P_u|^2 + |Q_pos|^2 + |Q_neg|^2)

    As in the released code, which computes a quantisation term and leaves it out, and sums over the
    batch instead of averaging (the same to Adam). It differs from the released code in Adam, which
    also moves rows outside a batch there, in a learning rate that follows the trainer's schedule,
    and in ties, which are broken by row and not at random. Candidates come from all items, not from
    multi-index hashing.

    Source: Kang, McAuley, "Candidate Generation with Binary Codes for Large-Scale Top-N
    Recommendation" (CIKM 2019, arXiv 1909.05475); "HashRec" is what later tables call it.
    """

    network = HashRecNetwork
    settings_type = HashRecSettings
    defaults = {
        "popularity_bits": 0,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "batch_pairs": 10_000,
        "sampling": "users",
        "l2": 1e-3,
        "epochs": 100,
        "patience": 30,
    }
