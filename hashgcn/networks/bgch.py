"""BGCH: one code and scaler per layer of LightGCN, with a Fourier series as the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from hashgcn.devices import copy_to
from hashgcn.evaluate.rankings import Ranking, RealRanking
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import PopularitySettings, Step
from hashgcn.networks.pairs import PairNetwork, PairSettings, bpr, columns, cross_entropy
from hashgcn.networks.sampling import step_generator
from hashgcn.nn.layers import Dense, next_layer, sum_in_blocks, take
from hashgcn.ops import fixed_order_mm, propagate, sign_fourier


class BGCHSettings(PairSettings, PopularitySettings):
    """Settings of the network of BGCH."""

    layers: int = Field(2, ge=0, le=16, description="Number of propagation layers.")
    form: Literal["layers", "mean"] = Field(
        "layers",
        description="Whether each layer has a code with a scaler, or the mean of the layers has "
        "one code.",
    )
    trained_hash: bool = Field(
        True, description="Whether the hash layer is trained, or keeps its initial values."
    )
    fourier_omega: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="Frequency of the sign's gradient."
    )
    fourier_terms: int = Field(
        8,
        ge=2,
        le=65536,
        description="Upper bound of the odd frequencies that the series of the sign's gradient "
        "sums over.",
    )
    dispersion: float = Field(
        0.1, ge=0, allow_inf_nan=False, description="Strength of feature dispersion; 0 for none."
    )
    reconstruction: float = Field(
        1.0, ge=0, description="Weight of the cross entropy of embeddings in the loss."
    )
    alpha: float | None = Field(
        None,
        gt=0,
        description='Factor of the scores with form "mean"; by default 10 divided by the number of '
        "bits that are not popularity bits.",
    )

    @model_validator(mode="after")
    def _form(self) -> BGCHSettings:
        if self.code_length % self.segments:
            raise ValueError(
                f"code_length: expected a multiple of layers + 1 = {self.segments}, for codes of "
                f"equal length, got {self.code_length}"
            )
        if self.form == "layers" and self.num_popularity_bits:
            raise ValueError(
                "popularity_bits: expected 0 with form layers, whose codes are scaled, got "
                f"{self.num_popularity_bits}; form mean takes them"
            )
        return self

    @property
    def segments(self) -> int:
        """Number of codes per row."""
        return self.layers + 1 if self.form == "layers" else 1


class BGCHNetwork(PairNetwork):
    """LightGCN with a hash layer on every layer, or on the mean of the layers."""

    settings: BGCHSettings
    settings_type = BGCHSettings
    rows_of = {"weight": "nodes", "popularity.level": "items"}

    @classmethod
    def rankings(cls, settings: Any) -> tuple[str, ...]:
        return ("scaled", "codes") if settings.form == "layers" else ("codes",)

    def __init__(self, graph: BipartiteGraph, settings: BGCHSettings, seed: int) -> None:
        super().__init__(graph, settings, seed)
        s, g = settings, self.generator
        self.rows, width = (graph.num_users, graph.num_items), s.taste_bits // s.segments
        initial = torch.empty(sum(self.rows), width, dtype=torch.float32)
        self.weight = nn.Parameter(initial.normal_(0, s.init_std, generator=g))
        self.hash = Dense(width, width, 1 / math.sqrt(width), bias=False, generator=g)
        self.hash.requires_grad_(s.trained_hash)
        self.alpha = 10 / width if s.alpha is None else s.alpha

    def layers(self, graph: BipartiteGraph, generator: torch.Generator) -> list[Tensor]:
        """The rows to hash, [m + n, width] each: those of every layer, or their mean alone."""
        s = self.settings
        tables = self.weight.split(self.rows)
        x = torch.cat([dispersed(table, s.dispersion, generator) for table in tables])
        if s.form == "mean":
            return [propagate(graph, x, s.layers)]
        found = [x]
        for _ in range(s.layers):
            found.append(next_layer(graph, found[-1]))
        return found

    def loss(self, graph: BipartiteGraph, batch: Tensor, step: Step) -> Tensor:
        s, m = self.settings, self.rows[0]
        users, positives, negatives = columns(batch)
        items = torch.cat([positives[:, None], negatives], 1)
        nodes = torch.cat([users[:, None], m + items], 1)
        scores = self.weight.new_zeros(items.shape)
        for x in self.layers(graph, step_generator(self.seed, step.progress)):
            hidden = self.hash(take(x, nodes.flatten()))
            codes = sign_fourier(hidden, omega=s.fourier_omega, terms=s.fourier_terms)
            if s.form == "layers":
                scale = hidden.detach().abs().mean(1, keepdim=True)
                # The scaler changes the value only; the gradient is that of the sign.
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
    def hashed(self, graph: BipartiteGraph) -> list[Tensor]:
        """The real values behind the codes, [m + n, width] for every hashed layer."""
        generator = torch.Generator().manual_seed(self.seed)
        return [self.hash(x) for x in self.layers(graph, generator)]

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        return self.packed(*torch.cat(self.hashed(graph), 1).split(self.rows))

    @torch.no_grad()
    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        if name == "codes":
            return super().ranking(graph, name)
        hidden = self.hashed(graph)
        # Signs times their scaler, so that the inner product is the sum over layers.
        scales = [x.abs().mean(1, keepdim=True) for x in hidden]
        scaled = [torch.where(x >= 0, s, -s) for x, s in zip(hidden, scales, strict=True)]
        users, items = torch.cat(scaled, 1).split(self.rows)
        return ScaledRanking(users, items, self.settings.segments)


@dataclass(frozen=True)
class ScaledRanking(RealRanking):
    """Ranks by inner products of codes in segments, each of which has a scaler.

    Args:
        users: float32 [m, f], signs times the scaler of their segment.
        items: float32 [n, f], signs times the scaler of their segment.
        segments: the number of segments per row.
    """

    segments: int

    @property
    def bytes_per_item(self) -> int:
        return (self.items.shape[1] + 7) // 8 + self.segments * self.items.element_size()


def dispersed(x: Tensor, eta: float, generator: torch.Generator) -> Tensor:
    """BGCH's feature dispersion: weakens the dominant direction v of the rows of x.

        x - eta (x v) v^T / |v|^2,   v the mean of two runs of two power iterations of x^T x

    v gets no gradient. This costs 17 N f multiply-adds.

    Args:
        x: float32 [N, f].
        eta: the strength; 0 leaves x as it is.
        generator: a CPU generator that draws the initial vectors of the power iterations.
    """
    if eta == 0:
        return x
    table, direction = x.detach(), x.new_zeros(x.shape[1])
    for _ in range(2):
        drawn = torch.randn(x.shape[1], generator=generator, dtype=torch.float32)
        v = copy_to(drawn, x.device)
        for _ in range(2):
            v = fixed_order_mm((table * v).sum(1)[None], table)[0]
        direction = direction + v
    direction = direction / torch.linalg.vector_norm(direction)
    return x - eta * (x * direction).sum(1, keepdim=True) * direction
