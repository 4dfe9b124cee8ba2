"""HashGNN: GraphSAGE, a tanh hash layer, and signs that are guided by real values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from hashgcn import metrics
from hashgcn.data import Dataset
from hashgcn.devices import copy_to
from hashgcn.evaluate.protocol import HammingRanking, RealRanking, RerankedRanking, evaluate
from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import HashModel
from hashgcn.networks.pairs import PairNetwork, bpr, columns, cross_entropy, take
from hashgcn.networks.sampling import step_generator
from hashgcn.nn.layers import Dense, neighbour_mean
from hashgcn.ops import sign_guided
from hashgcn.train.settings import HashGNNSettings


class HashGNNNetwork(PairNetwork):
    settings: HashGNNSettings

    def __init__(self, graph: BipartiteGraph, settings: HashGNNSettings) -> None:
        super().__init__(graph, settings)
        s, g = settings, self.generator
        self.rows = (graph.num_users, graph.num_items)
        width, hidden = s.id_width, s.hidden_width

        def two(inputs: int, outputs: int, bias: bool = True) -> nn.ModuleList:
            return nn.ModuleList(Dense(inputs, outputs, None, bias, g) for _ in range(2))

        initial = torch.empty(sum(self.rows), width)
        self.ids = nn.Parameter(initial.normal_(0, s.init_std, generator=g))
        # Users, then items.
        self.encode, self.aggregate = two(width, hidden), two(2 * hidden, hidden, bias=False)
        self.aggregate_again = Dense(2 * hidden, hidden, None, False, g)
        self.hash = two(hidden, s.taste_bits)

    def embeddings(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """tanh outputs of all users and items, in (-1, 1)."""
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

    def sign_share(self, progress: float) -> float:
        """The guidance's beta: how likely a row is its sign."""
        if self.settings.guidance == "run":
            return progress
        epoch = math.floor(progress * self.settings.epochs + 1e-6)
        return min(1.0, 0.02 * (epoch // 2))

    def loss(self, graph: BipartiteGraph, batch: Tensor, progress: float) -> Tensor:
        s = self.settings
        users, positives, negatives = columns(batch)
        drawn = torch.rand(
            negatives.shape[1] + 1, len(users), generator=step_generator(s.seed, progress)
        )
        signs = copy_to(drawn < self.sign_share(progress), users.device)
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

    def other_metrics(self, graph: BipartiteGraph, data: Dataset) -> dict[str, dict[str, float]]:
        s = self.settings
        if not s.released_evaluation:
            return {}
        with torch.no_grad():
            real = RealRanking(*self.embeddings(graph))
        codes = HammingRanking(*self.codes(graph), s.code_length)
        measures = (metrics.recall, metrics.ndcg, metrics.ndcg_of_hits)
        reranked = RerankedRanking(codes, real, depth=max(500, *s.cutoffs))
        return {"test_released": evaluate(reranked, None, data.test, s.cutoffs, measures=measures)}


class HashGNN(HashModel):
    """GraphSAGE embeddings, codes by tanh and sign, trained with guidance.

        x = leaky_relu(Dense(id));  AGG(x) = leaky_relu([x, mean of neighbours' x] W), without bias
        users: AGG of AGG (users and items share the inner W);  items: AGG
        z = tanh(Dense);  codes are signs of z
        loss = 0.1 (mean sigmoid cross entropy of positives and negatives) + BPR, on guided rows

    A guided row is the sign of z with probability beta, else z, and its gradient is z's; a user and
    its positive share a draw, negatives draw anew. beta rises from 0 to 1 over the run, so that
    training ends with codes; "a pair" here is a positive with 10 negatives.

    The released code differs: it samples 10 and 5 neighbours where all are averaged here; beta
    rises by 0.02 every second epoch and is 0.18 at the end of its 20 epochs
    (`guidance="released"`); batches of 256 pairs. `released_evaluation` adds its metrics to those
    of codes: the first 500 items by codes, ordered by the real-valued z, train items not left out,
    and with the other measures its NDCG (metrics.ndcg_of_hits, on a list of the largest cutoff).

    Source: Tan et al., "Learning to Hash with Graph Neural Networks for Recommender Systems" (WWW
    2020, arXiv 2003.01917).
    """

    network = HashGNNNetwork
    settings_type = HashGNNSettings
    defaults = {
        "popularity_bits": 0,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "negatives": 10,
        "epochs": 20,
        "patience": 10,
    }
