"""A small training step of every loss, every gradient of the sign and every method, on any device.

Those of methods need pydantic, for their settings; the others need torch and NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hashgcn.data import generate_sample
from hashgcn.graph import BipartiteGraph
from hashgcn.nn import (
    ESTIMATORS,
    AllPairsBPRLoss,
    BSLLoss,
    FullSoftmaxLoss,
    LightGCN,
    Mixture,
    PopularityBits,
    SLAtKLoss,
    SmoothNDCGLoss,
    SmoothRecallLoss,
)
from hashgcn.ops import score_tables

WIDTH, POPULARITY_BITS, BATCH = 27, 5, 48

LOSSES: dict[str, nn.Module] = {
    "recall": SmoothRecallLoss((20, 50), 2.0),
    "linear recall": SmoothRecallLoss((20,), 2.0, 30.0, "linear", mean="pairs"),
    "ndcg": SmoothNDCGLoss(2.0),
    "softmax": FullSoftmaxLoss(4.0),
    "bpr": AllPairsBPRLoss(2.0),
    "bsl and softmax at 20": Mixture([(1.0, BSLLoss(4.0, 3.0)), (0.5, SLAtKLoss(4.0, 2.0))]),
}

# Name: method and settings.
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "RecallHash": ("recall_hash", {}),
    "RecallHash, sampled items": ("recall_hash", {"sampled_items": 30}),
    "LightGCN": ("lightgcn", {"l2": 1e-4}),
    "LightGCN, softmax": ("lightgcn", {"loss": "softmax"}),
    "LightGCN, popular negatives": ("lightgcn", {"loss": "softmax", "negative_popularity": 1.0}),
    "LightGCN, bpr": ("lightgcn", {"loss": "bpr", "batch_pairs": 256}),
    "BGCH": ("bgch", {"batch_pairs": 256}),
    "BGCH, mean": ("bgch", {"form": "mean", "popularity_bits": 5, "batch_pairs": 256}),
    "HashGNN": ("hashgnn", {"popularity_bits": 4, "id_width": 12, "batch_pairs": 256}),
    "HashRec": ("hashrec", {"popularity_bits": 5, "batch_pairs": 256}),
}

STEPS = (*(f"loss {x}" for x in LOSSES), *(f"gradient {x}" for x in ESTIMATORS), *METHODS)

# How often a step copies to the device what the host draws, without waiting
# (hashgcn.devices.copy_to). Nothing else passes between host and device.
COPIES = {
    "RecallHash, sampled items": 1,
    "LightGCN": 1,
    "LightGCN, softmax": 1,
    "LightGCN, popular negatives": 1,
    "BGCH": 4,
    "BGCH, mean": 4,
    "HashGNN": 1,
}
ON_THE_DEVICE_ALONE = [name for name in STEPS if name not in COPIES]


@cache
def graph_on_the_cpu() -> BipartiteGraph:
    """A generated graph whose interactions have some order in time."""
    train = generate_sample(num_users=150, num_items=200, mean_degree=20.0).train
    order = np.random.default_rng(0).permutation(train.num_pairs)
    return replace(train, order=order).graph()


class Composed(nn.Module):
    """LightGCN, a gradient of the sign and a loss over the whole catalogue: no settings."""

    def __init__(self, graph: BipartiteGraph, estimator: str, loss: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        sizes = (graph.num_users, graph.num_items)
        self.encoder = LightGCN(*sizes, WIDTH, 3, generator=generator, first_layer=1)
        self.hash = ESTIMATORS[estimator]()
        self.popularity = PopularityBits(graph.num_items, POPULARITY_BITS)
        self.objective = LOSSES[loss]

    def loss(self, graph: BipartiteGraph, users: Tensor, step: Any) -> Tensor:
        p, q = self.hash(*self.encoder(graph), 1.3, users)
        p = torch.cat([p, p.new_ones(len(p), POPULARITY_BITS)], 1)
        q = torch.cat([q, self.popularity()], 1)
        return self.objective(*score_tables(p, q, users, graph))


def begin(name: str, device: str) -> Callable[[], tuple[Tensor, ...]]:
    """A function that runs the step of STEPS on the device: the loss and all gradients."""
    graph = graph_on_the_cpu().to(device)
    if name in METHODS:
        pytest.importorskip("pydantic", reason="the settings of methods need pydantic")
        from hashgcn.models import METHODS as MODELS

        method, settings = METHODS[name]
        model = MODELS[method](
            **{"code_length": 30, "cutoffs": (20,), "selection_metric": "recall@20"} | settings
        )
        network = model.network(graph, model.settings.network, 0).to(device)
        batch = network.batches(graph, 0)[-1]  # the smallest, or with padding
    else:
        kind, value = name.split(" ", 1)
        estimator, loss = ("signswish", value) if kind == "loss" else (value, "recall")
        network = Composed(graph, estimator, loss).to(device)
        users = torch.randperm(graph.num_users, generator=torch.Generator().manual_seed(2))
        batch = users[:BATCH].to(device)
        batch[-3:] = -1

    at = (0, 0, 0.3)
    if name in METHODS:
        from hashgcn.networks.base import Step

        at = Step(*at)

    def step() -> tuple[Tensor, ...]:
        loss = network.loss(graph, batch, at)
        trained = [p for p in network.parameters() if p.requires_grad]
        found = torch.autograd.grad(loss, trained, allow_unused=True)
        # Popularity scalars without popularity bits get no gradient.
        return loss.detach(), *(g for g in found if g is not None)

    return step
