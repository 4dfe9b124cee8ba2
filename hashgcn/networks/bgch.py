"""BGCH: a code and a scaler for each layer of LightGCN, with the gradient of a Fourier series."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hashgcn import metrics
from hashgcn.data import Dataset
from hashgcn.devices import copy_to
from hashgcn.evaluate.protocol import HammingRanking, Ranking, WeightedRanking, evaluate
from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import HashModel
from hashgcn.networks.pairs import PairNetwork, bpr, columns, cross_entropy, take
from hashgcn.networks.sampling import step_generator
from hashgcn.nn.layers import Dense, next_layer, sum_in_blocks
from hashgcn.ops import fixed_order_mm, propagate, sign_fourier
from hashgcn.train.settings import BGCHSettings


class BGCHNetwork(PairNetwork):
    settings: BGCHSettings
    rankings = ("codes", "plain")

    def __init__(self, graph: BipartiteGraph, settings: BGCHSettings) -> None:
        super().__init__(graph, settings)
        s, g = settings, self.generator
        self.rows, width = (graph.num_users, graph.num_items), s.taste_bits // s.segments
        initial = torch.empty(sum(self.rows), width)
        self.weight = nn.Parameter(initial.normal_(0, s.init_std, generator=g))
        self.hash = Dense(width, width, 1 / math.sqrt(width), bias=False, generator=g)
        self.hash.requires_grad_(s.trained_hash)
        self.alpha = 10 / width if s.alpha is None else s.alpha

    def layers(self, graph: BipartiteGraph, generator: torch.Generator) -> list[Tensor]:
        """What is hashed, [m + n, width] each: every layer, or their mean."""
        s = self.settings
        tables = self.weight.split(self.rows)
        x = torch.cat([dispersed(table, s.dispersion, generator) for table in tables])
        if s.form == "mean":
            return [propagate(graph, x, s.layers)]
        found = [x]
        for _ in range(s.layers):
            found.append(next_layer(graph, found[-1]))
        return found

    def loss(self, graph: BipartiteGraph, batch: Tensor, progress: float) -> Tensor:
        s, m = self.settings, self.rows[0]
        users, positives, negatives = columns(batch)
        items = torch.cat([positives[:, None], negatives], 1)
        nodes = torch.cat([users[:, None], m + items], 1)
        scores = self.weight.new_zeros(items.shape)
        for x in self.layers(graph, step_generator(s.seed, progress)):
            hidden = self.hash(take(x, nodes.flatten()))
            codes = sign_fourier(hidden, s.fourier_omega, s.fourier_terms)
            if s.form == "layers":
                scale = hidden.detach().abs().mean(1, keepdim=True)
                # The scaler is in the value alone: the gradient is that of the sign.
                codes = codes + ((scale - 1) * codes).detach()
            codes = codes.view(*nodes.shape, -1)
            scores = scores + (codes[:, :1] * codes[:, 1:]).sum(2)
        if s.form == "mean":
            scores = self.alpha * (scores + self.item_levels(items))
        own = take(self.weight, nodes)
        real = (own[:, :1] * own[:, 1:]).sum(2)
        squares = sum(sum_in_blocks(w.square().sum(1)) for w in (self.weight, self.hash.weight))
        return (
            bpr(scores[:, 0], scores[:, 1:])
            + s.reconstruction * cross_entropy(real[:, 0], real[:, 1:])
            + s.l2 / 2 * squares / len(users)
        )

    @torch.no_grad()
    def hashed(self, graph: BipartiteGraph) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden values and scalers of every layer, of all nodes."""
        s = self.settings
        generator = torch.Generator()
        if s.random_dispersion:
            generator.seed()
        else:
            generator.manual_seed(s.seed)
        hidden = [self.hash(x) for x in self.layers(graph, generator)]
        return hidden, [x.abs().mean(1, keepdim=True) for x in hidden]

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        hidden, _ = self.hashed(graph)
        return self.packed(*torch.cat(hidden, 1).split(self.rows))

    @torch.no_grad()
    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        s = self.settings
        hidden, scale = (torch.cat(x, 1).split(self.rows) for x in self.hashed(graph))
        codes = (*self.packed(*hidden), s.code_length)
        if name == "plain" or s.form == "mean":
            return HammingRanking(*codes)
        return WeightedRanking(*codes, tuple(x.contiguous() for x in scale))

    def other_metrics(self, graph: BipartiteGraph, data: Dataset) -> dict[str, dict[str, float]]:
        s = self.settings
        if not s.released_evaluation:
            return {}
        measures = (metrics.recall, metrics.ndcg, metrics.ndcg_of_hits)
        ranking = self.ranking(graph, "codes")
        return {
            "test_released": evaluate(
                *(ranking, data.train, data.test, s.cutoffs),
                measures=measures,
                list_length=max(1000, *s.cutoffs),
            )
        }


def dispersed(x: Tensor, eta: float, generator: torch.Generator) -> Tensor:
    """BGCH's feature dispersion: the strongest direction of x's columns, weakened.

        x - eta (x v) v^T / |v|^2,   v the mean of two runs of two power iterations of x^T x

    Args:
        x: float32 [N, f].
        eta: 0 leaves x as it is.
        generator: of the iterations' normal starts, on the CPU.

    The direction is detached. Deterministic given the generator's state. Cost 17 N f multiply-adds.
    """
    if eta == 0:
        return x
    table, direction = x.detach(), x.new_zeros(x.shape[1])
    for _ in range(2):
        v = copy_to(torch.randn(x.shape[1], generator=generator), x.device)
        for _ in range(2):
            v = fixed_order_mm((table * v).sum(1)[None], table)[0]
        direction = direction + v
    direction = direction / torch.linalg.vector_norm(direction)
    return x - eta * (x * direction).sum(1, keepdim=True) * direction


class BGCH(HashModel):
    """LightGCN with a hash layer on every layer, codes concatenated and scaled.

        x_0: embeddings after feature dispersion;  x_(l+1) = D^-1/2 A D^-1/2 x_l
        code of layer l: a_l sgn(W x_l), a_l = mean |W x_l|, one scaler for each node and layer
        score = sum over l of a_l^u a_l^i <code_l^u, code_l^i>
        loss = BPR on codes + cross entropy of embeddings' inner products + l2 / 2b |parameters|^2

    The sign's gradient is that of a Fourier series (ops.sign_fourier), and passes the scaler by.
    `code_length` counts the bits of all layers; items are ranked with their scalers
    (metrics["test"], bytes_per_item with them) and without ("plain": Hamming distance of the
    concatenated code). `form="mean"` hashes the mean of the layers to one plain code, with
    popularity bits if they are wanted.

    The released code differs: its W is not among the parameters that are trained
    (`trained_hash=False`); it draws the dispersion anew at evaluation, so that scores are random
    (`random_dispersion=True`), and sends gradients through the direction; l2 counts codes too; it
    has 256 numbers and bits a layer. `released_evaluation` adds metrics as it computes them, with
    its NDCG (metrics.ndcg_of_hits on a list of 1000).

    Source: Chen et al., "Bipartite Graph Convolutional Hashing for Effective and Efficient Top-N
    Search in Hamming Space" (WWW 2023, arXiv 2304.00241).
    """

    network = BGCHNetwork
    settings_type = BGCHSettings
    defaults = {
        "code_length": 192,
        "popularity_bits": 0,
        "layers": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "sampling": "users",
        "l2": 1e-4,
        "epochs": 100,
        "patience": 20,
    }
