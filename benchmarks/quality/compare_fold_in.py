"""How users fare whose codes come from Recommender.fold_in: the table of docs/recipes.md.

    python -m benchmarks.quality.compare_fold_in gowalla DATA --epochs 2
    python -m benchmarks.quality.compare_fold_in sample

A tenth of the users is left out of training. Their codes are made from their train items and rank
the items by the codes of that model; for comparison they also get codes from a model that was
trained with them. Both are evaluated on test.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from benchmarks.harness.training import start
from hashgcn import metrics
from hashgcn.data import Interactions, load
from hashgcn.models import RecallHash
from hashgcn.ops import propagate
from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
from hashgcn.train.loop import Loop


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="name of the data set")
    parser.add_argument("root", nargs="?", help="folder that contains its folder")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    data = load(options.name, options.root)
    train = data.train
    held = np.random.default_rng(0).permutation(train.num_users)[: train.num_users // 10]
    others = train.where(~np.isin(train.users(), held))
    model = RecallHash(epochs=options.epochs, validation_fraction=0)
    network = model.settings.network
    own = train.of_users(held)

    def trained(part: Interactions) -> tuple[Loop, Recommender]:
        loop = start(model, part, "refit")
        loop.run_epochs(options.epochs)
        users, items = (words.numpy() for words in loop.network.codes(loop.graph))
        index = HammingIndex(
            items, code_length=network.code_length, popularity_bits=network.num_popularity_bits
        )
        return loop, Recommender(users, data.user_ids, index, part)

    def show(name: str, recommender: Recommender, codes: np.ndarray) -> None:
        ids = recommender.search(codes, 50, deny=own).ids
        found = metrics.evaluate_rankings(ids, held, data.test, (20, 50))
        print(json.dumps({"data": options.name, "codes": name, **found}), flush=True)

    _, whole = trained(train)
    show("trained", whole, whole.user_codes[held])
    loop, recommender = trained(others)
    show("fold_in", recommender, recommender.fold_in(own))
    if train.order is None:
        show("embeddings", recommender, by_embeddings(loop, own))
        return
    rows = [slice(*train.ptr[user : user + 2]) for user in held]
    in_time = [train.ids[row][np.argsort(train.order[row])] for row in rows]
    show("fold_in, recent", recommender, recommender.fold_in(in_time, recent_fraction=0.1))
    show("embeddings", recommender, by_embeddings(loop, own))
    recent = np.concatenate([ids[len(ids) * 9 // 10 :] for ids in in_time])
    lengths = [len(ids) - len(ids) * 9 // 10 for ids in in_time]
    last = Interactions(np.concatenate([[0], np.cumsum(lengths)]), recent, train.num_items)
    show("embeddings, recent", recommender, by_embeddings(loop, own, last))


@torch.no_grad()
def by_embeddings(loop: Loop, own: Interactions, recent: Interactions | None = None) -> np.ndarray:
    """Codes by one propagation of what LightGCN has for the items one layer below."""
    network, graph = loop.network, loop.graph
    s, users = network.settings, graph.num_users
    below = propagate(graph, network.encoder.weight, s.layers - 1, s.first_layer - 1)
    rows = layer(own, below[users:] * graph.scale[users:, None])
    if recent is not None:
        items = network.encoder(graph)[1]
        rows += s.recent_scale * layer(recent, items * network.recent.scale[users:, None])
    return pack_codes(np.concatenate([rows, np.ones((len(rows), s.num_popularity_bits))], axis=1))


def layer(own: Interactions, items: torch.Tensor) -> np.ndarray:
    """The normalised sums of each user's items; no user is without one."""
    sums = np.add.reduceat(items.numpy()[own.ids], own.ptr[:-1])
    return sums / np.sqrt(own.degrees())[:, None]


if __name__ == "__main__":
    main()
