"""Rankings that codes have to beat: popularity, ItemKNN, EASE, and ALS where it is installed."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from hashgcn.data import Interactions
from hashgcn.evaluate.rankings import Ranking, RealRanking, best_of

# Items whose similarities are computed at a time: it bounds the memory, and changes no result.
_ITEMS = 256
# Of EASE: the matrix and its inverse in float64, a copy that LAPACK makes, the result in float32.
_EASE_BYTES = 28


@dataclass(frozen=True, eq=False)
class HistoryRanking(Ranking):
    """By the sum of an item's weights for the items that a user has.

        score of u and i = sum over the items j of u of weights[j, i]

    Args:
        history: the items of every user.
        weights: [items of history, n], a SciPy CSR matrix or a float32 array.
    """

    history: sparse.csr_matrix
    weights: Any
    most_users = 256

    @property
    def num_users(self) -> int:
        return self.history.shape[0]

    @property
    def bytes_per_item(self) -> int:
        """Of a sparse matrix 8 for each weight, a number and its row; else 4."""
        size = 8 * self.weights.nnz if sparse.issparse(self.weights) else 4 * self.weights.size
        return round(size / max(self.weights.shape[1], 1))

    def topk(self, users: slice, k: int, exclude_ptr: Tensor, exclude_ids: Tensor) -> Tensor:
        scores = self.history[users] @ self.weights
        dense = scores.toarray() if sparse.issparse(scores) else scores
        return best_of(torch.from_numpy(dense), k, exclude_ptr, exclude_ids)

    def with_items(self, order: Tensor) -> HistoryRanking:
        return replace(self, weights=self.weights[:, order.numpy()])


def history_of(train: Interactions) -> sparse.csr_matrix:
    """The train pairs as a float32 SciPy CSR matrix of ones, [m, n]."""
    ones = np.ones(train.num_pairs, np.float32)
    shape = (train.num_users, train.num_items)
    return sparse.csr_matrix((ones, train.ids, train.ptr), shape=shape)


def popularity(train: Interactions) -> RealRanking:
    """The same order for all users: items by their number of users, equally popular ones by row."""
    items = torch.from_numpy(train.popularity().astype(np.float32))[:, None]
    return RealRanking(items.new_ones(train.num_users, 1), items)


def item_knn(
    train: Interactions, *, neighbours: int = 100, shrinkage: float = 10.0
) -> HistoryRanking:
    """Items like those that a user has, by the cosine of their columns of the train matrix.

        s_ij = c_ij / (sqrt(d_i d_j) + shrinkage), with c_ij users of both i and j and d_i of i
        score of u and i = sum of s_ij over the items j of u that are among i's nearest

        >>> from hashgcn.data import Interactions
        >>> from hashgcn.evaluate import item_knn, rank
        >>> train = Interactions.from_pairs([0, 0, 1, 1, 2], [0, 1, 0, 2, 0], 3, 3)
        >>> rank(item_knn(train, neighbours=2), train, 2).tolist()
        [[2, -1], [1, -1], [1, 2]]

    Args:
        train: the train pairs.
        neighbours: number of most similar items that each item keeps, of equal ones those of
            smaller row, at least 1.
        shrinkage: at least 0; the larger, the less do items with few users count.

    Raises:
        ValueError: an argument out of range.

    Cost: the sum of squares of the users' numbers of items, and n^2 for n items; memory:
    `neighbours` numbers with their rows per item, and the similarities of 256 items at a time.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours: expected at least 1, got {neighbours}")
    if not 0 <= shrinkage < math.inf:
        raise ValueError(f"shrinkage: expected a finite number of at least 0, got {shrinkage}")
    history = history_of(train)
    columns, root = history.T.tocsr(), np.sqrt(train.popularity().astype(np.float64))
    parts = [np.zeros((3, 0))]
    for start in range(0, train.num_items, _ITEMS):
        common = (columns[start : start + _ITEMS] @ history).toarray()
        rows = np.arange(start, start + len(common))
        # Where nobody has both, the root may be 0, too.
        scale = np.maximum(np.outer(root[rows], root) + shrinkage, np.finfo(float).tiny)
        similar = torch.from_numpy((common / scale).astype(np.float32))
        itself = torch.arange(len(rows) + 1), torch.from_numpy(rows)
        near = best_of(similar.clone(), neighbours, *itself).numpy()
        item = np.repeat(np.arange(len(rows)), neighbours)[near.ravel() >= 0]
        near = near[near >= 0]
        value = similar.numpy()[item, near]
        parts.append(np.stack([item + start, near, value])[:, value > 0])
    item, near, value = np.concatenate(parts, 1)
    at = (near.astype(np.int64), item.astype(np.int64))
    shape = (train.num_items, train.num_items)
    return HistoryRanking(history, sparse.csr_matrix((value.astype(np.float32), at), shape=shape))


def ease(train: Interactions, *, ridge: float = 100.0) -> HistoryRanking:
    """The linear model of items by items that restores train best without using an item itself.

        G = X^T X + ridge I, P = G^-1;  B_ij = -P_ij / P_jj, B_jj = 0;  score of u and j = (X B)_uj

        >>> from hashgcn.data import Interactions
        >>> from hashgcn.evaluate import ease, rank
        >>> train = Interactions.from_pairs([0, 0, 1, 1, 2], [0, 1, 0, 2, 0], 3, 3)
        >>> rank(ease(train, ridge=1), train, 2).tolist()
        [[2, -1], [1, -1], [1, 2]]

    Args:
        train: the train pairs, X with users as rows.
        ridge: above 0; the larger, the less do rare pairs of items count.

    Raises:
        ValueError: an argument out of range; more items than memory allows.

    Cost: n^3 for n items; memory: 28 n^2 bytes, of which 4 n^2 stay. The last bits of B depend on
    the number of threads of NumPy's BLAS.

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019, arXiv
    1905.03375).
    """
    if not 0 < ridge < math.inf:
        raise ValueError(f"ridge: expected a finite number above 0, got {ridge}")
    most = math.isqrt(_free_bytes() // _EASE_BYTES)
    if train.num_items > most:
        raise ValueError(
            f"train: expected at most {most:,} items, which is what EASE's matrix of items by "
            f"items has memory for, got {train.num_items:,}"
        )
    history = history_of(train)
    gram = (history.T @ history).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return HistoryRanking(history, weights)


def als(
    train: Interactions, *, regularization: float = 0.01, alpha: float = 1.0, seed: int = 0
) -> RealRanking:
    """Matrix factorisation by alternating least squares, with 64 factors, from package implicit.

    Args:
        train: the train pairs.
        regularization, alpha: as implicit's AlternatingLeastSquares has them.
        seed: of the initial factors.

    Raises:
        ImportError: implicit is not installed.
    """
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=64,
        regularization=regularization,
        alpha=alpha,
        use_gpu=False,
        random_state=seed,
    )
    model.fit(history_of(train), show_progress=False)
    users, items = (
        torch.from_numpy(np.ascontiguousarray(x, np.float32))
        for x in (model.user_factors, model.item_factors)
    )
    return RealRanking(users, items)


def _free_bytes() -> int:
    """Memory of the machine that no process uses; where the system does not say, all of it."""
    free = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(free) * os.sysconf("SC_PAGE_SIZE")
