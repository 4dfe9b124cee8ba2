"""How users fare whose codes come from Recommender.fold_in: the table of docs/recipes.md.

    .venv/bin/python benchmarks/fold_in.py gowalla DATA --epochs 2
    .venv/bin/python benchmarks/fold_in.py sample

A tenth of the users is held out of training. Their codes, from their train items, rank items by the
codes of that model; beside them their codes in a model that was trained with them. Judged on test.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np
import torch

from hashgcn import metrics
from hashgcn.data import load
from hashgcn.models import RecallHash
from hashgcn.ops import propagate
from hashgcn.retrieval import HammingIndex, Recommender, pack
from hashgcn.train import loop as training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("root", nargs="?")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    data = load(options.name, options.root)
    users = data.train.num_users
    held = np.random.default_rng(0).permutation(users)[: users // 10]
    others = data.train.where(~np.isin(data.train.users(), held))
    settings = RecallHash(epochs=options.epochs, validation_fraction=0).settings
    own = data.train.rows(held)

    def trained(train):
        trainer = training.Trainer(
            RecallHash.network,
            replace(data, train=train),
            settings,
            torch.device("cpu"),
            None,
            False,
        )
        trainer.run_phase(settings.epochs)
        user_codes, item_codes = (x.numpy() for x in trainer.network.codes(trainer.graph))
        index = HammingIndex(
            item_codes,
            code_length=settings.code_length,
            popularity_bits=settings.num_popularity_bits,
        )
        return trainer, Recommender(user_codes, data.user_ids, index, train)

    def show(name: str, model: Recommender, codes: np.ndarray) -> None:
        ids, _ = model.search(codes, 50, exclude=own)
        found = metrics.evaluate_rankings(ids, held, data.test, (20, 50))
        print(json.dumps({"data": options.name, "codes": name, **found}), flush=True)

    _, whole = trained(data.train)
    show("trained", whole, whole.user_codes[held])
    trainer, model = trained(others)
    show("fold_in", model, model.fold_in(own))
    if data.train.order is not None:
        rows = [slice(*data.train.ptr[u : u + 2]) for u in held]
        in_time = [data.train.ids[row][np.argsort(data.train.order[row])] for row in rows]
        show("fold_in, recent", model, model.fold_in(in_time, recent_fraction=0.1))
    show("embeddings", model, by_embeddings(trainer, own))
    if data.train.order is not None:
        recent = np.concatenate([ids[len(ids) * 9 // 10 :] for ids in in_time])
        lengths = [len(ids) - len(ids) * 9 // 10 for ids in in_time]
        last = np.concatenate([[0], np.cumsum(lengths)]), recent
        show("embeddings, recent", model, by_embeddings(trainer, own, last))


@torch.no_grad()
def by_embeddings(trainer: training.Trainer, own, recent=None) -> np.ndarray:
    """Codes by one propagation of what LightGCN had for the items a layer before; none is empty."""
    network, s, users = trainer.network, trainer.settings, trainer.graph.num_users
    below = propagate(trainer.graph, network.encoder.weight, s.layers - 1, s.first_layer - 1)
    rows = layer(own, below[users:] * trainer.graph.scale[users:, None])
    if recent is not None:
        items = network.encoder(trainer.graph)[1]
        rows += s.recent_scale * layer(recent, items * network.recent.scale[users:, None])
    return pack(np.concatenate([rows, np.ones((len(rows), s.num_popularity_bits))], axis=1))


def layer(own, items: torch.Tensor) -> np.ndarray:
    ptr, ids = own
    return np.add.reduceat(items.numpy()[ids], ptr[:-1]) / np.sqrt(np.diff(ptr))[:, None]


if __name__ == "__main__":
    main()
