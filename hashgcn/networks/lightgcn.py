"""LightGCN: real-valued embeddings, from which codes are made after training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import normalize

from hashgcn.devices import copy_to
from hashgcn.evaluate.rankings import HammingRanking, Ranking, RealRanking
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import LayerSettings, NetworkSettings, Step, UserBatchSettings
from hashgcn.networks.pairs import PairNetwork, PairSettings, bpr, columns, mean
from hashgcn.networks.sampling import epoch_generator, negative_weights, user_order
from hashgcn.nn import layers
from hashgcn.nn.itq import itq
from hashgcn.nn.layers import sum_in_blocks, take
from hashgcn.nn.tables import log_partition
from hashgcn.ops import fixed_order_mm, smooth_rank


class LightGCNSettings(PairSettings, UserBatchSettings, LayerSettings, NetworkSettings):
    """Settings of the network of LightGCN; those of pairs matter only with loss="bpr"."""

    sampling: Literal["pairs", "users"] = Field(
        "users",
        description="How an epoch is drawn: each pair once, or as many draws of a user and then of "
        "one of the user's items.",
    )
    loss: Literal["recall", "softmax", "bpr"] = Field(
        "recall", description="Smooth recall or softmax over all items, or BPR on sampled pairs."
    )
    score: Literal["cosine", "user", "dot"] = Field(
        "cosine",
        description="Which rows are divided by their norms: both, those of users, or none.",
    )
    ranking_score: Literal["cosine", "user", "dot"] | None = Field(
        None, description="The same in the ranking `real`, where None means as in training."
    )
    item_bias: bool = Field(
        True, description="Whether a learned number per item is added to its scores."
    )
    temperature: float = Field(
        0.085,
        gt=0,
        description="Temperature of scores in ranks and in the softmax; 0.1 works better for the "
        "softmax.",
    )
    negative_popularity: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="In the softmax, an item counts as its number of users to this power; 1 is "
        "what the positives of other users in a batch amount to, taken as negatives.",
    )
    train_cutoffs: tuple[int, ...] = Field(
        (20, 50, 100), min_length=1, description="Cutoffs N of the recall loss."
    )

    @model_validator(mode="after")
    def _popularity_in_softmax(self) -> LightGCNSettings:
        if self.negative_popularity and self.loss != "softmax":
            raise ValueError(
                f'negative_popularity: expected 0 without loss="softmax", '
                f"got {self.negative_popularity}"
            )
        return self


class LightGCNNetwork(PairNetwork):
    """Real-valued embeddings; their signs are taken after training."""

    settings: LightGCNSettings
    settings_type = LightGCNSettings
    rows_of = {"encoder.weight": "nodes", "bias": "items", "popularity.level": "items"}
    item_weights: Tensor | None

    @classmethod
    def rankings(cls, settings: Any) -> tuple[str, ...]:
        return ("real", "codes", "itq")

    def __init__(self, graph: BipartiteGraph, settings: LightGCNSettings, seed: int) -> None:
        super().__init__(graph, settings, seed)
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
        bias = torch.zeros(graph.num_items, dtype=torch.float32)
        self.bias = nn.Parameter(bias) if s.item_bias else None
        self.degrees = graph.user_ptr.diff().cpu()
        weights = negative_weights(graph, s.negative_popularity)
        self.register_buffer("item_weights", weights, persistent=False)

    def scored(self, graph: BipartiteGraph, score: str) -> tuple[Tensor, Tensor]:
        """Rows whose inner products are the scores: embeddings, and the bias as one more column."""
        users, items = self.embeddings(graph, score)
        if self.bias is not None:
            users = torch.cat([users, users.new_ones(len(users), 1)], 1)
            items = torch.cat([items, self.bias[:, None]], 1)
        return users, items

    def embeddings(self, graph: BipartiteGraph, score: str) -> tuple[Tensor, Tensor]:
        """The rows of users and items, normalised as the setting `score` has it."""
        users, items = self.encoder(graph)
        if score != "dot":
            users = normalize(users)
        if score == "cosine":
            items = normalize(items)
        return users, items

    def batches(self, graph: BipartiteGraph, epoch: int) -> Sequence[Tensor]:
        """Batches of pairs for BPR, else of user rows on the CPU; the last one may be smaller."""
        s = self.settings
        if s.loss == "bpr":
            return super().batches(graph, epoch)
        order = user_order(graph, epoch_generator(self.seed, epoch))
        return order.split(s.users_per_step(graph.num_users))

    def loss(self, graph: BipartiteGraph, batch: Tensor, step: Step) -> Tensor:
        if self.settings.loss == "bpr":
            return self.bpr_loss(graph, batch)
        loss = self.recall_loss if self.settings.loss == "recall" else self.softmax_loss
        # Counted on the CPU, so that the host need not wait for the device.
        size = int(self.degrees[batch].sum())
        return loss(graph, copy_to(batch, graph.user_ptr.device), size)

    def recall_loss(self, graph: BipartiteGraph, users: Tensor, size: int) -> Tensor:
        """Negative smooth recall on log ranks, averaged over cutoffs and over users with items."""
        s = self.settings
        p, q = self.scored(graph, s.score)
        own = p.index_select(0, users)
        ranks = smooth_rank(own, q, users, graph, s.temperature, size=size).log()
        recall = sum(torch.sigmoid(math.log(n) - ranks) for n in s.train_cutoffs)
        degree = graph.user_ptr[users + 1] - graph.user_ptr[users]
        if s.pair_weights and graph.weights is not None:
            row, pair = graph.pairs_of(users, size)
            share = graph.weights[pair] / graph.user_weights[users[row]]
            recall = recall * share.to(p.dtype)
        else:
            recall = recall / degree.repeat_interleave(degree, output_size=size)
        count = (degree > 0).sum().clamp(min=1)
        return self.decayed(-sum_in_blocks(recall) / (len(s.train_cutoffs) * count))

    def softmax_loss(self, graph: BipartiteGraph, users: Tensor, size: int) -> Tensor:
        """Softmax cross entropy of the users' items against all items, averaged over pairs by
        their weights.

        Weights of items count in the sum over all items alone: those of the users' own items would
        add a constant.
        """
        s = self.settings
        p, q = self.scored(graph, s.score)
        p = p.index_select(0, users)
        row, pair = graph.pairs_of(users, size)
        own = (take(p, row) * take(q, graph.user_items[pair])).sum(1)
        total = log_partition(p, q, s.temperature, weights=self.item_weights)
        if s.pair_weights and graph.weights is not None:
            own, weights = own * graph.weights[pair], graph.user_weights[users]
            total = sum_in_blocks(weights.to(p.dtype) * total)
            count = sum_in_blocks(weights).to(p.dtype)
            loss = (total - sum_in_blocks(own) / s.temperature) / torch.where(count > 0, count, 1)
            return self.decayed(loss)
        degree = graph.user_ptr[users + 1] - graph.user_ptr[users]
        total = sum_in_blocks(degree * total)
        return self.decayed((total - sum_in_blocks(own) / s.temperature) / max(len(row), 1))

    def decayed(self, loss: Tensor) -> Tensor:
        """The loss plus l2 / 2 times the mean squared norm of the embeddings."""
        l2 = self.settings.l2
        return loss + l2 / 2 * mean(self.encoder.weight.square().sum(1)) if l2 else loss

    def bpr_loss(self, graph: BipartiteGraph, batch: Tensor) -> Tensor:
        users, positives, negatives = columns(batch)
        items = torch.cat([positives[:, None], negatives], 1)
        p, q = self.scored(graph, self.settings.score)
        scores = (take(p, users)[:, None] * take(q, items)).sum(2)
        rows = torch.cat([users[:, None], items + graph.num_users], 1)
        size = mean(take(self.encoder.weight, rows).square().sum(2)) * rows.shape[1]
        return bpr(scores[:, 0], scores[:, 1:]) + self.settings.l2 / 2 * size

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        return self.packed(*self.embeddings(graph, self.settings.score))

    @torch.no_grad()
    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        s = self.settings
        if name == "codes":
            return super().ranking(graph, name)
        if name == "real":
            return RealRanking(*self.scored(graph, s.ranking_score or s.score))
        users, items = self.embeddings(graph, s.score)
        generator = torch.Generator().manual_seed(self.seed)
        rotation = itq(torch.cat([users, items]), generator=generator)
        words = self.packed(*(fixed_order_mm(x, rotation) for x in (users, items)))
        return HammingRanking(*words, s.code_length)
