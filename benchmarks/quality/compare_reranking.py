"""What re-ranking by real values gains over codes alone: the table of docs/serving.md.

    python -m benchmarks.quality.compare_reranking         # the generated sample
    python -m benchmarks.quality.compare_reranking DATA    # and DATA/gowalla, after two epochs

Prints test recall over all users: by codes alone, re-ranked by the user's real values against the
items' codes, and re-ranked by real-valued vectors of both.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from benchmarks import markdown
from hashgcn import metrics
from hashgcn.data import Dataset, load
from hashgcn.models import RecallHash
from hashgcn.models.base import loop_of
from hashgcn.retrieval import HammingIndex, pack_codes, search_reranked

CUTOFFS = (20, 50, 100)


@dataclass
class Vectors:
    """An index, the users' codes, and the real values of both, whose signs the codes are."""

    index: HammingIndex
    codes: np.ndarray
    users: np.ndarray
    items: np.ndarray


def main() -> None:
    data = load("sample")
    lines = lines_of("sample, SVD, 32 bits", data, svd(data), 200)
    lines += lines_of(
        "sample, `RecallHash`", data, recall_hash(data, RecallHash(user_levels=1, trials=1)), 400
    )
    if len(sys.argv) > 1:
        data = load("gowalla", sys.argv[1])
        model = RecallHash(user_levels=1, epochs=2, validation_fraction=0)
        lines += lines_of("Gowalla, `RecallHash`", data, recall_hash(data, model), 400)
    print(markdown.table(("data", "ranking", *(f"R@{k}" for k in CUTOFFS)), lines))


def svd(data: Dataset) -> Vectors:
    """32 singular vectors of the train matrix."""
    train = data.train
    matrix = csr_matrix(
        (np.ones(train.num_pairs), train.ids, train.ptr), (train.num_users, train.num_items)
    )
    users, weights, items = svds(matrix, 32, random_state=0)
    users, items = (users * weights).astype(np.float32), items.T.astype(np.float16)
    return Vectors(HammingIndex.build(items), pack_codes(users), users, items)


def recall_hash(data: Dataset, model: RecallHash) -> Vectors:
    """Embeddings of a trained model, popularity bits included."""
    network, graph, _ = loop_of(model, data.train).run()
    user_codes, item_codes = (words.numpy() for words in network.codes(graph))
    with torch.no_grad():
        users, items = (x.numpy() for x in network.embeddings(graph))
        levels = network.popularity().numpy()
    # In units of a code's +1 and -1, as popularity is.
    users, items = (x / np.abs(x).mean(axis=1, keepdims=True) for x in (users, items))
    users = np.concatenate([users, np.ones((len(users), levels.shape[1]), np.float32)], axis=1)
    items = np.concatenate([items, levels], axis=1).astype(np.float16)
    settings = model.settings.network
    index = HammingIndex(
        item_codes,
        code_length=settings.code_length,
        popularity_bits=settings.num_popularity_bits,
    )
    return Vectors(index, user_codes, users, items)


def lines_of(name: str, data: Dataset, model: Vectors, depth: int) -> list[list[str]]:
    """Lines of the table; `depth` candidates are re-ranked."""
    k, train = max(CUTOFFS), data.train

    def reranked(item_vectors: np.ndarray | None) -> np.ndarray:
        return search_reranked(
            model.index,
            model.codes,
            k,
            depth=depth,
            query_vectors=model.users,
            item_vectors=item_vectors,
            deny=train,
        ).ids

    found = {
        "codes": model.index.search(model.codes, k, deny=train).ids,
        "asymmetric": reranked(None),
        "vectors": reranked(model.items),
    }
    lines = []
    for way, ids in found.items():
        values = metrics.evaluate_rankings(ids, np.arange(len(ids)), data.test, CUTOFFS)
        lines.append([name, way, *(f"{values[f'recall@{k}']:.4f}" for k in CUTOFFS)])
    return lines


if __name__ == "__main__":
    main()
