"""RecallHash: LightGCN, a hash layer and smooth recall over the whole catalogue."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from hashgcn.evaluate.rankings import HammingRanking, Ranking
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.levels import largest_weight
from hashgcn.networks.base import (
    LayerSettings,
    Network,
    PopularitySettings,
    Step,
    UserBatchSettings,
)
from hashgcn.networks.sampling import negative_weights, step_generator, uniform_negatives
from hashgcn.nn import layers, losses, weighted_positives
from hashgcn.nn.signs import ESTIMATORS, default_step
from hashgcn.ops import pack_codes, pack_levels, score_tables


class RecallHashSettings(UserBatchSettings, LayerSettings, PopularitySettings):
    """Settings of the network of RecallHash."""

    recent_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Fraction of each user's items, the last in time, that count as recent where "
        "the order in time is known; 0 for none.",
    )
    recent_scale: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the recent items in the embedding of their user.",
    )
    estimator: Literal["signswish", "ste", "clipped_ste", "fourier"] = Field(
        "signswish", description="Gradient of the sign; see hashgcn.nn."
    )
    beta_start: float = Field(1.0, gt=0, description="Slope of SignSwish at the first step.")
    beta_end: float = Field(1.5, gt=0, description="Slope of SignSwish at the last step.")
    user_levels: Literal[1, 2, 4, 8] = Field(
        2,
        description="L: a user has one of the weights ±1, ±3, ..., ±(2 L - 1) per dimension. "
        "1 gives users codes of +1 and -1, as items have them.",
    )
    level_step: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Distance of the thresholds between a user's weights, in standard deviations "
        "of the embeddings; by default 1.5 / user_levels.",
    )
    popularity_bit_weight: int | None = Field(
        None,
        ge=1,
        description="Weight of users in the popularity bits, an odd number of at most "
        "2 user_levels - 1; that number by default.",
    )
    negative_popularity: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Exponent a: an item that is no positive of a user counts in the loss "
        "popularity^a times, scaled so that the mean over items is 1.",
    )
    loss: Literal["recall", "ndcg", "softmax", "bpr"] = Field(
        "recall", description="Loss over all items; see hashgcn.nn.losses."
    )
    train_cutoffs: tuple[int, ...] = Field(
        (20, 50), min_length=1, description="Cutoffs N of the recall loss; NDCG takes the largest."
    )
    tau_score: float | None = Field(
        None,
        gt=0,
        description="Temperature of score differences; by default 0.056 times the number of bits "
        "that are not popularity bits, times user_levels.",
    )
    tau_rank: float = Field(
        1.0, gt=0, description="Temperature of a rank's distance to the cutoff in the recall loss."
    )
    rank: Literal["log", "linear"] = Field(
        "log", description="Scale on which the recall loss compares a rank with the cutoff."
    )
    mean: Literal["users", "pairs"] = Field(
        "users", description="What the recall and softmax losses average over."
    )
    exclude_positives: bool = Field(
        True, description="Whether a user's other train items are left out of a rank."
    )
    sampled_items: int | None = Field(
        None,
        ge=1,
        description="Number of items drawn per user and step that stand for the catalogue; by "
        "default all items count.",
    )

    @model_validator(mode="after")
    def _cutoffs_from_one(self) -> RecallHashSettings:
        if min(self.train_cutoffs) < 1:
            raise ValueError(
                f"train_cutoffs: expected numbers of at least 1, got {self.train_cutoffs}"
            )
        return self

    @model_validator(mode="after")
    def _a_bit_weight(self) -> RecallHashSettings:
        weight, largest = self.bit_weight, largest_weight(self.user_levels)
        if weight > largest or weight % 2 == 0:
            raise ValueError(
                f"popularity_bit_weight: expected an odd number of at most {largest} with "
                f"user_levels {self.user_levels}, got {weight}"
            )
        return self

    def resolved(self) -> dict[str, Any]:
        step = self.level_step
        return super().resolved() | {
            "tau_score": self.score_temperature,
            "level_step": default_step(self.user_levels) if step is None else step,
            "popularity_bit_weight": self.bit_weight,
        }

    @property
    def num_popularity_bits(self) -> int:
        if self.popularity_bits is None and self.user_levels > 1:
            # Their range then keeps its proportion to the spread of scores, about twice it. On
            # validation parts, 7 of 64 lost 3% of NDCG@20 on Gowalla against 10, and gained 1% on
            # Yelp2018.
            return min(round(1.25 * math.sqrt(self.code_length)), self.code_length - 1)
        return super().num_popularity_bits

    @property
    def score_temperature(self) -> float:
        """tau_score if it is set, else 0.056 times the number of taste bits and of levels."""
        if self.tau_score is None:
            return 0.056 * self.taste_bits * self.user_levels
        return self.tau_score

    @property
    def bit_weight(self) -> int:
        """popularity_bit_weight if it is set, else the largest weight."""
        if self.popularity_bit_weight is None:
            return largest_weight(self.user_levels)
        return self.popularity_bit_weight


class RecallHashNetwork(Network):
    """LightGCN, a hash layer, and a loss on score tables."""

    settings: RecallHashSettings
    settings_type = RecallHashSettings
    rows_of = {"encoder.weight": "nodes", "popularity.level": "items"}
    item_weights: Tensor | None

    @classmethod
    def rankings(cls, settings: Any) -> tuple[str, ...]:
        return ("codes",) if settings.user_levels == 1 else ("codes", "plain_users")

    def __init__(self, graph: BipartiteGraph, settings: RecallHashSettings, seed: int) -> None:
        super().__init__(graph, settings, seed)
        s = settings
        self.encoder = layers.LightGCN(
            graph.num_users,
            graph.num_items,
            s.taste_bits,
            s.layers,
            s.init_std,
            self.generator,
            first_layer=s.first_layer,
        )
        self.recent = graph.recent(s.recent_fraction)
        self.hash = ESTIMATORS[s.estimator](user_levels=s.user_levels, step=s.level_step)
        weights = negative_weights(graph, s.negative_popularity)
        self.register_buffer("item_weights", weights, persistent=False)
        self.popularity = layers.PopularityBits(graph.num_items, s.num_popularity_bits)
        self.objective = objective(s)

    def loss(self, graph: BipartiteGraph, users: Tensor, step: Step) -> Tensor:
        s = self.settings
        beta = s.beta_start + (s.beta_end - s.beta_start) * step.progress
        user_codes, item_codes = self.hash(*self.embeddings(graph), beta, users)
        user_codes, item_codes = self._with_popularity(user_codes, item_codes)
        candidates = None
        if s.sampled_items is not None:
            generator = step_generator(self.seed, step.progress)
            candidates = sampled(graph, users, s.sampled_items, generator, item_codes.dtype)
        tables = score_tables(
            user_codes,
            item_codes,
            users,
            graph,
            candidates,
            levels=s.user_levels,
            item_weights=self.item_weights,
        )
        if s.pair_weights and graph.weights is not None:
            own = weighted_positives(user_codes, item_codes, users, graph, tables[1])
            return self.objective(*tables, *own)
        return self.objective(*tables)

    def embeddings(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """The encoder's rows, plus, for users, one propagation step from their recent items."""
        users, items = self.encoder(graph)
        if self.recent is not None:
            rows = layers.next_layer(self.recent, torch.cat([users, items]))
            users = users + self.settings.recent_scale * rows[: len(users)]
        return users, items

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users, items = self._with_popularity(*self.hash(*self.embeddings(graph), 1.0))
        levels = self.settings.user_levels
        packed = pack_codes(users) if levels == 1 else pack_levels(users, levels)
        return packed, pack_codes(items)

    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        """By the codes; `plain_users` takes the signs of graded users alone, one bit each."""
        users, items = self.codes(graph)
        users = users[:, -1] if name == "plain_users" else users
        return HammingRanking(users.contiguous(), items, self.settings.code_length)

    def _with_popularity(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        s = self.settings
        if s.num_popularity_bits == 0:
            return users, items
        weights = users.new_full((len(users), s.num_popularity_bits), s.bit_weight)
        return torch.cat([users, weights], 1), torch.cat([items, self.popularity()], 1)


def sampled(
    graph: BipartiteGraph, users: Tensor, count: int, generator: torch.Generator, dtype: torch.dtype
) -> Candidates:
    """Draws items uniformly from those that each user lacks.

    A user's weights add up to the number of all items that the user lacks.

    Args:
        graph: the users, their items and the catalogue.
        users: int64 [b], rows of the graph; -1 is padding.
        count: the number of items per user.
        generator: a CPU generator.
        dtype: the dtype of the weights.
    """
    users = users.clamp(min=0)
    items = uniform_negatives(graph, users, count, generator)
    lacking = graph.num_items - (graph.user_ptr[users + 1] - graph.user_ptr[users])
    return Candidates(
        torch.arange(len(users) + 1, device=users.device) * count,
        items.flatten(),
        (lacking.to(dtype) / count).repeat_interleave(count),
    )


def objective(s: RecallHashSettings) -> torch.nn.Module:
    """The loss on score tables that the settings choose."""
    if s.loss == "recall":
        return losses.SmoothRecallLoss(
            s.train_cutoffs, s.score_temperature, s.tau_rank, s.rank, s.exclude_positives, s.mean
        )
    if s.loss == "ndcg":
        return losses.SmoothNDCGLoss(s.score_temperature, max(s.train_cutoffs), s.exclude_positives)
    if s.loss == "softmax":
        return losses.FullSoftmaxLoss(s.score_temperature, s.mean)
    return losses.AllPairsBPRLoss(s.score_temperature)
