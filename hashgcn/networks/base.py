"""The interface of networks to training and evaluation, and the settings that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from hashgcn.evaluate.rankings import HammingRanking, Ranking
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.sampling import epoch_generator, padded_batches, user_order
from hashgcn.settings import Settings


class NetworkSettings(Settings):
    """Settings of every network."""

    code_length: int = Field(64, ge=2, le=1024, description="Total number of bits of a code.")
    init_std: float = Field(0.1, gt=0, description="Standard deviation of the initial embeddings.")

    @property
    def num_popularity_bits(self) -> int:
        """g, the number of popularity bits at the end of a code."""
        return 0

    @property
    def taste_bits(self) -> int:
        """f - g, the bits that the encoder produces."""
        return self.code_length - self.num_popularity_bits


class PopularitySettings(NetworkSettings):
    """Settings of networks whose codes may end with popularity bits."""

    popularity_bits: int | None = Field(
        None,
        ge=0,
        description="Number of the code's bits that carry the popularity of an item. Automatic: "
        "7/32 of the code, at most 16; with graded users 1.25 times the root of its length.",
    )

    @model_validator(mode="after")
    def _some_taste_bits(self) -> PopularitySettings:
        if self.num_popularity_bits >= self.code_length:
            raise ValueError(
                f"popularity_bits: expected fewer than code_length {self.code_length}, "
                f"got {self.num_popularity_bits}"
            )
        return self

    @property
    def num_popularity_bits(self) -> int:
        if self.popularity_bits is None:
            return min(16, round(self.code_length * 7 / 32))
        return self.popularity_bits

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {"popularity_bits": self.num_popularity_bits}


class LayerSettings(Settings):
    """Settings of networks whose embeddings are a mean over propagation layers."""

    layers: int = Field(
        3, ge=0, le=16, description="Number of propagation layers; the last layer in the mean."
    )
    first_layer: int = Field(
        1,
        ge=0,
        description="First layer in the mean of the layers; 0 includes the embeddings themselves.",
    )

    @model_validator(mode="after")
    def _some_layer(self) -> LayerSettings:
        if self.first_layer > self.layers:
            raise ValueError(
                f"first_layer: expected at most layers {self.layers}, got {self.first_layer}"
            )
        return self


class UserBatchSettings(Settings):
    """Settings of networks whose batches are users, each compared with all items."""

    batch_users: int | None = Field(
        None,
        ge=1,
        description="Number of users per step; by default 256, or 1/32 of the users if that is "
        "fewer.",
    )

    def users_per_step(self, num_users: int) -> int:
        """batch_users if it is set, else 256 or 1/32 of the users, whichever is fewer."""
        return self.batch_users or min(256, max(1, num_users // 32))


class Step(NamedTuple):
    """The place of a step in a run, which determines its schedules and random draws.

    Attributes:
        epoch: the number of the epoch, from 0.
        step: the number of the step in its epoch, from 0.
        progress: the fraction of all planned steps that come before this one, in [0, 1).
    """

    epoch: int
    step: int
    progress: float


class Network(nn.Module):
    """The trainable part of a method, as training and evaluation see it.

    A subclass draws its initial values from `self.generator`, which is on the CPU, so that they are
    equal on all devices.

    Args:
        graph: the graph of users, items and train pairs.
        settings: the settings, of the class `settings_type`.
        seed: the seed of the initial values and of all batches.
    """

    def __init__(self, graph: BipartiteGraph, settings: Any, seed: int) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed
        self.generator = torch.Generator().manual_seed(seed)

    # The class of `settings`.
    settings_type: ClassVar[type[NetworkSettings]]
    # What the rows of parameters belong to, by name: "users", "items", or "nodes", which are users
    # and then items. Other parameters do not grow with them.
    rows_of: ClassVar[dict[str, str]] = {}

    @classmethod
    def rankings(cls, settings: Any) -> tuple[str, ...]:
        """The names that `ranking` takes. The first one selects the epoch; "codes" is saved."""
        return ("codes",)

    def batches(self, graph: BipartiteGraph, epoch: int) -> Sequence[Tensor]:
        """The int64 batches of an epoch, one per step: here rows of users, padded with -1.

        They depend on the seed and the epoch only, so a resumed run equals an uninterrupted one.
        All epochs have the same number of steps.
        """
        rows = user_order(graph, epoch_generator(self.seed, epoch)).to(graph.user_ptr.device)
        return padded_batches(rows, self.settings.users_per_step(graph.num_users))

    def loss(self, graph: BipartiteGraph, batch: Tensor, step: Step) -> Tensor:
        """The loss of one of the `batches`, 0-d."""
        raise NotImplementedError

    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """The packed codes of all users and of all items."""
        raise NotImplementedError

    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        """The ranking of that name, one of `rankings`, for evaluation."""
        return HammingRanking(*self.codes(graph), self.settings.code_length)
