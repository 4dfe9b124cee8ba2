"""What the second stage of search gains: the table of docs/retrieval.md.

    .venv/bin/python benchmarks/rerank.py           # the generated sample
    .venv/bin/python benchmarks/rerank.py DATA      # and DATA/gowalla, with two epochs of training

Prints Recall on test of all users: by codes alone, re-ranked by the user's real values against the
items' codes, and by real-valued vectors of both.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from hashgcn import metrics
from hashgcn.data import Dataset, load
from hashgcn.models import RecallHash
from hashgcn.retrieval import HammingIndex, pack, search_reranked
from hashgcn.train.loop import Trainer

CUTOFFS = (20, 50, 100)


def main() -> None:
    print("| | R@20 | R@50 | R@100 |\n|---|---|---|---|")
    data = load("sample")
    show("sample, SVD, 32 bits", data, svd(data), 200)
    show("sample, `RecallHash`", data, recall_hash(data, RecallHash()), 400)
    if len(sys.argv) > 1:
        data = load("gowalla", sys.argv[1])
        model = RecallHash(epochs=2, validation_fraction=0)
        show("Gowalla, `RecallHash`", data, recall_hash(data, model), 400)


def svd(data: Dataset) -> tuple[HammingIndex, np.ndarray, np.ndarray, np.ndarray]:
    """Index, users' codes, and vectors of both, whose signs the codes are."""
    train = data.train
    matrix = csr_matrix(
        (np.ones(train.num_pairs), train.ids, train.ptr), (train.num_users, train.num_items)
    )
    users, weights, items = svds(matrix, 32, random_state=0)
    users, items = (users * weights).astype(np.float32), items.T.astype(np.float16)
    return HammingIndex.build(items), pack(users), users, items


def recall_hash(
    data: Dataset, model: RecallHash
) -> tuple[HammingIndex, np.ndarray, np.ndarray, np.ndarray]:
    """The same of a trained model, popularity bits included."""
    trainer = Trainer(model.network, data, model.settings, torch.device("cpu"), None, False)
    recommender, network = trainer.finish().recommender, trainer.network
    with torch.no_grad():
        users, items = (x.numpy() for x in network.embeddings(trainer.graph))
        levels = network.popularity().numpy()
    # In units of a code's +1 and -1, as popularity is.
    users, items = (x / np.abs(x).mean(axis=1, keepdims=True) for x in (users, items))
    users = np.concatenate([users, np.ones((len(users), levels.shape[1]), np.float32)], axis=1)
    items = np.concatenate([items, levels], axis=1).astype(np.float16)
    index = HammingIndex(
        recommender.index.codes,
        code_length=model.settings.code_length,
        popularity_bits=model.settings.num_popularity_bits,
    )
    return index, recommender.user_codes, users, items


def show(
    name: str,
    data: Dataset,
    model: tuple[HammingIndex, np.ndarray, np.ndarray, np.ndarray],
    depth: int,
) -> None:
    index, codes, users, items = model
    options = {"exclude": (data.train.ptr, data.train.ids)}
    found = {"codes": index.search(codes, max(CUTOFFS), **options)[1]}
    options |= {"depth": depth, "query_vectors": users}
    found["asymmetric"] = search_reranked(index, codes, max(CUTOFFS), **options)[1]
    options |= {"item_vectors": items}
    found["vectors"] = search_reranked(index, codes, max(CUTOFFS), **options)[1]
    for way, rows in found.items():
        values = metrics.evaluate_rankings(rows, np.arange(len(rows)), data.test, CUTOFFS)
        shown = " | ".join(f"{values[f'recall@{k}']:.4f}" for k in CUTOFFS)
        print(f"| {name}: {way} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
