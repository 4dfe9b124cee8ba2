"""RecallHash: LightGCN, a hash layer and smooth recall over the whole catalogue."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor

from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.models.base import HashModel, Network
from hashgcn.networks.sampling import step_generator, uniform_negatives
from hashgcn.nn import layers, losses
from hashgcn.nn.signs import ESTIMATORS, HashLayer
from hashgcn.ops import pack_codes, score_tables
from hashgcn.train.settings import Loss, RecallHashSettings


class RecallHashNetwork(Network):
    settings: RecallHashSettings

    def __init__(self, graph: BipartiteGraph, settings: RecallHashSettings) -> None:
        super().__init__(graph, settings)
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
        self.hash = hash_layer(s)
        self.popularity = layers.PopularityBits(graph.num_items, s.num_popularity_bits)
        self.objective = objective(s)

    def loss(self, graph: BipartiteGraph, users: Tensor, progress: float) -> Tensor:
        s = self.settings
        beta = s.beta_start + (s.beta_end - s.beta_start) * progress
        user_codes, item_codes = self.hash(*self.embeddings(graph), beta, users)
        user_codes, item_codes = self._with_popularity(user_codes, item_codes)
        candidates = None
        if s.sampled_items is not None:
            candidates = sampled(
                graph, users, s.sampled_items, step_generator(s.seed, progress), item_codes.dtype
            )
        return self.objective(*score_tables(user_codes, item_codes, users, graph, candidates))

    def embeddings(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """The encoder's rows; a user's with one more propagation, from the recent items alone."""
        users, items = self.encoder(graph)
        if self.recent is not None:
            rows = layers.next_layer(self.recent, torch.cat([users, items]))
            users = users + self.settings.recent_scale * rows[: len(users)]
        return users, items

    @torch.no_grad()
    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users, items = self._with_popularity(*self.embeddings(graph))
        return pack_codes(users), pack_codes(items)

    def learning_rates(self) -> dict[str, float]:
        return super().learning_rates() | {
            "popularity.level": self.settings.popularity_learning_rate
        }

    def _with_popularity(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        bits = self.settings.num_popularity_bits
        if bits == 0:
            return users, items
        ones = users.new_ones(len(users), bits)
        return torch.cat([users, ones], 1), torch.cat([items, self.popularity()], 1)


def sampled(
    graph: BipartiteGraph, users: Tensor, count: int, generator: torch.Generator, dtype: torch.dtype
) -> Candidates:
    """Items that each user lacks, drawn uniformly; their weights add up to what all of them would.

    Args:
        users: int64 [b], rows of the graph; -1 is padding.
        count: of items for each.
        generator: on the CPU.
        dtype: of the weights.
    """
    users = users.clamp(min=0)
    items = uniform_negatives(graph, users, count, generator)
    lacking = graph.num_items - (graph.user_ptr[users + 1] - graph.user_ptr[users])
    return Candidates(
        torch.arange(len(users) + 1, device=users.device) * count,
        items.flatten(),
        (lacking.to(dtype) / count).repeat_interleave(count),
    )


def hash_layer(s: RecallHashSettings) -> HashLayer:
    """The estimator that the settings name; its codes have to be signs while training."""
    layer = ESTIMATORS[s.estimator](s)
    if not layer.signs:
        fit = [name for name, make in ESTIMATORS.items() if make(s).signs]
        raise ValueError(
            f"estimator: expected one of {', '.join(fit)}, whose codes are +1 and -1 while "
            f"training, as losses on score tables ({', '.join(get_args(Loss))}) need; got "
            f"{s.estimator}, which goes with losses on real-valued scores (ops.smooth_rank)"
        )
    return layer


def objective(s: RecallHashSettings) -> torch.nn.Module:
    """The loss on score tables that the settings name."""
    if s.loss == "recall":
        return losses.SmoothRecallLoss(
            s.train_cutoffs, s.score_temperature, s.tau_rank, s.rank, s.exclude_positives, s.mean
        )
    if s.loss == "ndcg":
        return losses.SmoothNDCGLoss(s.score_temperature, max(s.train_cutoffs), s.exclude_positives)
    if s.loss == "softmax":
        return losses.FullSoftmaxLoss(s.score_temperature, s.mean)
    return losses.AllPairsBPRLoss(s.score_temperature)


class RecallHash(HashModel):
    """The poster's method, with popularity bits and recent items.

        P, Q = nn.LightGCN(graph);   P <- P + recent_scale A_recent Q
        codes: signs of P and Q with SignSwish's gradient, then popularity bits (nn.PopularityBits)
        loss: nn.SmoothRecallLoss over all items, of the users of a batch

    A_recent is the normalised graph of the last of each user's items, where their order in time is
    known. `popularity_bits=0, recent_fraction=0, train_cutoffs=(50,)` gives the poster's own form,
    `estimator` the sign another gradient, `loss` another loss.

        model = RecallHash(code_length=64).fit(hashgcn.data.load("sample"))
        ids, scores = model.recommend(["user-0001"], k=10)

    Source: "Optimizing Recall in Deep Graph Hashing Framework for Item Retrieval" (AAAI-24 student
    abstract); popularity bits and recent items are this library's addition.
    """

    network = RecallHashNetwork
    settings_type = RecallHashSettings
    settings: RecallHashSettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        hash_layer(self.settings)  # refused before any data is read
